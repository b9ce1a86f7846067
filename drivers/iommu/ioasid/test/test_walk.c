// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an IOMMU does in hardware: walks page tables, and keeps what it finds.
 *
 * It reads tables as the specifications of their formats say, with none of the
 * code that writes them. A translation that was found is used until the driver
 * drops it; so a flush that is missing shows as DMA to the old place.
 *
 * Everything here runs under test_dma_lock, held for reading, except for the
 * dropping of translations, which runs under it, held for writing.
 */
#include <linux/bitfield.h>
#include <linux/mem_encrypt.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>

#include "test_iommu.h"

DEFINE_RWLOCK(test_dma_lock);

#define TLB_SHIFT	12
#define TLB_MASK	GENMASK_ULL(TLB_SHIFT - 1, 0)
/*
 * Beyond this nothing is kept, in all IOMMUs together: dropping it must not take
 * long, and users decide how many page tables there are.
 */
#define TLB_MAX		65536
static atomic_t tlb_total;

/* A kept translation: page frame number of 4 KiB, and */
#define TLB_READ	0x1UL
#define TLB_WRITE	0x2UL
#define TLB_DIRTY	0x4UL	/* the page table says that it was written */
#define TLB_FLAGS	3

/* ---- translations that were found ---- */

/**
 * test_tlb_init - Begin without any translation
 * @tlb: The cache
 */
void test_tlb_init(struct test_tlb *tlb)
{
	xa_init(&tlb->entries);
	atomic_set(&tlb->num, 0);
}

/**
 * test_tlb_drop - Drop the translations of a range
 * @tlb: The cache
 * @first: First address
 * @last: Last address
 */
void test_tlb_drop(struct test_tlb *tlb, u64 first, u64 last)
{
	unsigned long index;
	void *entry;

	lockdep_assert_held_write(&test_dma_lock);

	xa_for_each_range(&tlb->entries, index, entry, first >> TLB_SHIFT,
			  last >> TLB_SHIFT) {
		xa_erase(&tlb->entries, index);
		atomic_dec(&tlb->num);
		atomic_dec(&tlb_total);
	}
}

/**
 * test_tlb_drop_all - Drop all translations
 * @tlb: The cache
 */
void test_tlb_drop_all(struct test_tlb *tlb)
{
	xa_destroy(&tlb->entries);
	atomic_sub(atomic_xchg(&tlb->num, 0), &tlb_total);
}

static void tlb_keep(struct test_tlb *tlb, u64 iova, phys_addr_t phys,
		     unsigned long flags)
{
	void *entry = xa_mk_value((phys >> TLB_SHIFT) << TLB_FLAGS | flags);
	void *old;

	if (atomic_read(&tlb_total) >= TLB_MAX)
		return;
	old = xa_store(&tlb->entries, iova >> TLB_SHIFT, entry,
		       GFP_NOWAIT | __GFP_NOWARN);
	if (!old) {
		atomic_inc(&tlb->num);
		atomic_inc(&tlb_total);
	}
}

static bool tlb_find(struct test_tlb *tlb, u64 iova, bool write,
		     bool track_dirty, phys_addr_t *phys, unsigned long *flags)
{
	void *entry = xa_load(&tlb->entries, iova >> TLB_SHIFT);
	unsigned long value;

	if (!entry)
		return false;
	value = xa_to_value(entry);
	/* A missing permission may have been granted meanwhile. */
	if (!(value & (write ? TLB_WRITE : TLB_READ)))
		return false;
	if (write && track_dirty && !(value & TLB_DIRTY))
		return false;
	*phys = (phys_addr_t)(value >> TLB_FLAGS) << TLB_SHIFT |
		(iova & TLB_MASK);
	*flags = value & GENMASK(TLB_FLAGS - 1, 0);
	return true;
}

/**
 * test_memory - Memory by its physical address
 * @phys: The address
 *
 * Return: Where the kernel has it, NULL if it is no memory.
 */
void *test_memory(phys_addr_t phys)
{
	return pfn_to_online_page(PHYS_PFN(phys)) ? phys_to_virt(phys) : NULL;
}

/* ---- AMD I/O page tables, version 1 ---- */

/*
 * AMD I/O Virtualization Technology (IOMMU) Specification, 48882, section
 * 2.2.3: I/O Page Tables for Host Translations.
 */
#define AMDV1_PRESENT	BIT_ULL(0)
#define AMDV1_DIRTY	BIT_ULL(6)
#define AMDV1_NEXT	GENMASK_ULL(11, 9)
#define AMDV1_ADDRESS	GENMASK_ULL(51, 12)
#define AMDV1_READ	BIT_ULL(61)
#define AMDV1_WRITE	BIT_ULL(62)

/* In a leaf: the size is in the address, as ones up to the bit below it. */
#define AMDV1_NEXT_SIZED	7

static u64 amdv1_leaf_mask(u64 entry, unsigned int shift)
{
	if (FIELD_GET(AMDV1_NEXT, entry) == AMDV1_NEXT_SIZED)
		shift = __ffs64(~(entry | TLB_MASK)) + 1;
	return GENMASK_ULL(shift - 1, 0);
}

static enum ioasid_test_fault amdv1_walk(const struct test_domain *tdom,
					 u64 iova, bool write,
					 phys_addr_t *phys,
					 unsigned long *flags)
{
	u64 need = write ? AMDV1_WRITE : AMDV1_READ;
	u64 allowed = AMDV1_READ | AMDV1_WRITE;
	u64 top = READ_ONCE(tdom->top);
	u64 table = top & ~TLB_MASK, raw, entry, mask, *at;
	unsigned int level = top & TEST_TOP_LEVELS, next, shift;

	shift = TLB_SHIFT + 9 * level;
	if (shift < 64 && iova >> shift)
		return IOASID_TEST_FAULT_NOT_PRESENT;

	for (;; level = next) {
		shift = TLB_SHIFT + 9 * (level - 1);
		at = test_memory(table);
		if (!at)
			return IOASID_TEST_FAULT_TABLE;
		at += (iova >> shift) & 511;
		raw = READ_ONCE(*at);
		entry = __sme_clr(raw);
		if (!(entry & AMDV1_PRESENT))
			return IOASID_TEST_FAULT_NOT_PRESENT;
		allowed &= entry;
		next = FIELD_GET(AMDV1_NEXT, entry);
		if (!next || next == AMDV1_NEXT_SIZED)
			break;
		if (next != level - 1)
			return IOASID_TEST_FAULT_TABLE;
		table = entry & AMDV1_ADDRESS;
	}
	if (!(allowed & need))
		return IOASID_TEST_FAULT_PERMISSION;

	if (write && READ_ONCE(tdom->track_dirty)) {
		u64 seen = raw;

		while (!try_cmpxchg64(at, &seen, seen | AMDV1_DIRTY)) {
			/* It may be a race with another write, or be gone. */
			if ((seen ^ raw) & ~AMDV1_DIRTY)
				return IOASID_TEST_FAULT_NOT_PRESENT;
		}
		entry |= AMDV1_DIRTY;
	}

	mask = amdv1_leaf_mask(entry, shift);
	*phys = ((entry & AMDV1_ADDRESS) & ~mask) | (iova & mask);
	*flags = (allowed & AMDV1_READ ? TLB_READ : 0) |
		 (allowed & AMDV1_WRITE ? TLB_WRITE : 0) |
		 (entry & AMDV1_DIRTY ? TLB_DIRTY : 0);
	return IOASID_TEST_FAULT_NONE;
}

static enum ioasid_test_fault translate(struct test_domain *tdom, u64 iova,
					bool write, phys_addr_t *phys,
					unsigned long *flags, bool *hit)
{
	enum ioasid_test_fault fault;

	*hit = tlb_find(&tdom->tlb, iova, write, READ_ONCE(tdom->track_dirty),
			phys, flags);
	if (*hit)
		return IOASID_TEST_FAULT_NONE;
	fault = amdv1_walk(tdom, iova, write, phys, flags);
	if (!fault)
		tlb_keep(&tdom->tlb, iova, *phys, *flags);
	return fault;
}

/* ---- IA-32e paging in the parent's addresses ---- */

/* Intel VT-d specification, section 3.6: First-Stage Translation */
#define FS_PRESENT	BIT_ULL(0)
#define FS_WRITE	BIT_ULL(1)
#define FS_USER		BIT_ULL(2)
#define FS_PAGE		BIT_ULL(7)
#define FS_ADDRESS	GENMASK_ULL(51, 12)

static enum ioasid_test_fault nested_walk(const struct test_nested *nested,
					  u64 iova, bool write,
					  phys_addr_t *phys,
					  unsigned long *flags)
{
	unsigned int shift = TLB_SHIFT + 9 * nested->levels;
	u64 allowed = FS_WRITE | FS_USER, entry, mask;
	enum ioasid_test_fault fault;
	u64 table = nested->table;
	unsigned long parent_flags;
	phys_addr_t at;
	u64 *memory;
	bool hit;

	if (iova >> shift)
		return IOASID_TEST_FAULT_NOT_PRESENT;
	do {
		shift -= 9;
		fault = translate(nested->parent,
				  table + ((iova >> shift) & 511) * 8, false,
				  &at, &parent_flags, &hit);
		if (fault)
			return fault;
		memory = test_memory(at);
		if (!memory)
			return IOASID_TEST_FAULT_NO_MEMORY;
		entry = READ_ONCE(*memory);
		if (!(entry & FS_PRESENT))
			return IOASID_TEST_FAULT_NOT_PRESENT;
		allowed &= entry;
		table = entry & FS_ADDRESS;
		if (entry & FS_PAGE && shift > TLB_SHIFT + 18)
			return IOASID_TEST_FAULT_TABLE;
	} while (shift > TLB_SHIFT && !(entry & FS_PAGE));

	mask = GENMASK_ULL(shift - 1, 0);
	if (table & mask)
		return IOASID_TEST_FAULT_TABLE;
	if (!(allowed & FS_USER) || (write && !(allowed & FS_WRITE)))
		return IOASID_TEST_FAULT_PERMISSION;
	fault = translate(nested->parent, table | (iova & mask), write, phys,
			  flags, &hit);
	if (!fault && !(allowed & FS_WRITE))
		*flags &= ~TLB_WRITE;
	return fault;
}

/**
 * test_is_nested - Whether a page table is in user memory
 * @domain: The domain
 *
 * Return: Whether it is.
 */
bool test_is_nested(const struct iommu_domain *domain)
{
	return domain->type == IOMMU_DOMAIN_NESTED;
}

/**
 * test_translate - Translate an address
 * @domain: What the device is attached to
 * @iova: The address
 * @write: For a write
 * @phys: Output: physical address; valid up to the next multiple of 4 KiB
 * @hit: Output: it needed no walk
 *
 * Return: IOASID_TEST_FAULT_NONE, or why not.
 */
enum ioasid_test_fault test_translate(struct iommu_domain *domain, u64 iova,
				      bool write, phys_addr_t *phys, bool *hit)
{
	enum ioasid_test_fault fault;
	struct test_nested *nested;
	unsigned long flags;

	lockdep_assert_held_read(&test_dma_lock);

	if (!test_is_nested(domain))
		return translate(to_test_domain(domain), iova, write, phys,
				 &flags, hit);

	nested = to_test_nested(domain);
	*hit = tlb_find(&nested->tlb, iova, write,
			READ_ONCE(nested->parent->track_dirty), phys, &flags);
	if (*hit)
		return IOASID_TEST_FAULT_NONE;
	fault = nested_walk(nested, iova, write, phys, &flags);
	if (!fault)
		tlb_keep(&nested->tlb, iova, *phys, flags);
	return fault;
}
