// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU_TEST_CMD: what tests look into, and what they set.
 */
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "mock.h"

/* ---- address spaces ---- */

/**
 * mock_add_reserved - IOMMU_TEST_OP_ADD_RESERVED
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -EINVAL: no length; -EOVERFLOW: the range wraps; -ENOENT: no such
 * IOASID; or as ioasid_reserve_for_test().
 */
int mock_add_reserved(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	unsigned long first = cmd->add_reserved.start;
	unsigned long length = cmd->add_reserved.length;
	struct ioasid *ioas;
	unsigned long last;
	int rc;

	if (!length)
		return -EINVAL;
	if (check_add_overflow(first, length - 1, &last))
		return -EOVERFLOW;
	ioas = ioasid_get(ucmd->ictx, cmd->id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = ioasid_reserve_for_test(ioas, first, last);
	ioasid_put(ioas);
	return rc;
}

/* What stock pins and maps at a time; see ioasid_mock_memory_limit(). */
#define MOCK_DEFAULT_MEMORY_LIMIT SZ_64K
#define MOCK_MIN_MEMORY_LIMIT (sizeof(unsigned long) + sizeof(u32))

static size_t memory_limit = MOCK_DEFAULT_MEMORY_LIMIT;

/**
 * mock_set_memory_limit - IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -EINVAL: with so little memory there is no progress.
 */
int mock_set_memory_limit(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	if (cmd->memory_limit.limit < MOCK_MIN_MEMORY_LIMIT)
		return -EINVAL;
	WRITE_ONCE(memory_limit, cmd->memory_limit.limit);
	return 0;
}

/**
 * ioasid_mock_memory_limit - How much memory an operation may use meanwhile
 *
 * A test makes it small to see long operations done in many steps.
 *
 * Return: The limit in bytes, 12 or more. It is for all contexts.
 */
size_t ioasid_mock_memory_limit(void)
{
	return READ_ONCE(memory_limit);
}

/* ---- user memory ---- */

/* The address of the byte in memory may be of the past when this returns. */
static int user_to_phys(unsigned long addr, phys_addr_t *phys)
{
	struct page *page;
	int rc;

	rc = get_user_pages_fast(addr & PAGE_MASK, 1, 0, &page);
	if (rc < 0)
		return rc;
	if (rc != 1)
		return -EFAULT;
	*phys = page_to_phys(page) + offset_in_page(addr);
	put_page(page);
	return 0;
}

static int check_page_refs(unsigned long addr, unsigned int refs)
{
	struct page *page;
	int rc;

	rc = get_user_pages_fast(addr, 1, 0, &page);
	if (rc < 0)
		return rc;
	if (rc != 1)
		return -EFAULT;
	/* Pins of large folios are counted elsewhere, for all their pages. */
	if (!PageCompound(page) &&
	    page_ref_count(page) / GUP_PIN_COUNTING_BIAS != refs)
		rc = -EIO;
	put_page(page);
	return rc < 0 ? rc : 0;
}

/**
 * mock_check_refs - IOMMU_TEST_OP_MD_CHECK_REFS
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -EINVAL: not whole pages; -EFAULT: not memory; -EIO: a page is not
 * pinned that often; -EINTR: fatal signal.
 */
int mock_check_refs(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	unsigned long addr = cmd->check_refs.uptr;
	unsigned long end;
	int rc = 0;

	if (!PAGE_ALIGNED(addr) || !PAGE_ALIGNED(cmd->check_refs.length) ||
	    check_add_overflow(addr, cmd->check_refs.length, &end))
		return -EINVAL;
	for (; !rc && addr != end; addr += PAGE_SIZE) {
		if (fatal_signal_pending(current))
			return -EINTR;
		rc = check_page_refs(addr, cmd->check_refs.refs);
		cond_resched();
	}
	return rc;
}

/* ---- page tables ---- */

/* For ioasid_object_put() */
static struct iommufd_hw_pagetable *
get_table(struct iommufd_ctx *ictx, u32 id, struct mock_table **table)
{
	struct iommufd_object *obj =
		ioasid_object_get(ictx, id, IOMMUFD_OBJ_HWPT_PAGING);
	struct iommufd_hw_pagetable *hwpt;

	if (IS_ERR(obj))
		return ERR_CAST(obj);
	hwpt = to_hwpt(obj);
	*table = to_mock_table(hwpt->domain);
	if (*table)
		return hwpt;
	ioasid_object_put(ictx, obj);
	return ERR_PTR(-EINVAL);
}

/*
 * Whether the table may be walked at an address, as long as the lock of the
 * address space is held. Who has exported memory of a device takes it out of the
 * table without that lock; such memory is nothing that a user can compare with.
 */
static bool can_walk(struct iommufd_hw_pagetable *hwpt, unsigned long iova)
{
	const struct mapping *map;

	lockdep_assert_held(&hwpt->ioas->lock);

	map = mapping_find(&hwpt->ioas->mappings, iova);
	return map && map->first <= iova &&
	       map->mem->source != PINNED_MEM_DMA_BUF;
}

static int check_page(struct iommufd_hw_pagetable *hwpt, unsigned long iova,
		      unsigned long addr)
{
	phys_addr_t phys;
	int rc;

	rc = user_to_phys(addr, &phys);
	if (rc)
		return rc;
	guard(mutex)(&hwpt->ioas->lock);
	if (!can_walk(hwpt, iova) ||
	    iommu_iova_to_phys(hwpt->domain, iova) != phys)
		return -EINVAL;
	return 0;
}

/**
 * mock_check_map - IOMMU_TEST_OP_MD_CHECK_MAP
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -ENOENT: no such HWPT of the kernel's; -EINVAL: it is not of a mock
 * device, or the ranges are not of whole pages of it, or it maps something else;
 * -EFAULT: not memory; -EINTR: fatal signal.
 */
int mock_check_map(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	unsigned long length = cmd->check_map.length;
	unsigned long iova = cmd->check_map.iova;
	unsigned long addr = cmd->check_map.uptr;
	struct iommufd_hw_pagetable *hwpt;
	unsigned long page_size, end;
	struct mock_table *table;
	int rc = 0;

	hwpt = get_table(ucmd->ictx, cmd->id, &table);
	if (IS_ERR(hwpt))
		return PTR_ERR(hwpt);
	page_size = 1UL << __ffs(table->domain.pgsize_bitmap);
	if (!IS_ALIGNED(iova | addr | length, page_size) ||
	    check_add_overflow(addr, length, &end)) {
		rc = -EINVAL;
		goto out_put;
	}
	for (; !rc && addr != end; addr += page_size, iova += page_size) {
		if (fatal_signal_pending(current)) {
			rc = -EINTR;
			break;
		}
		rc = check_page(hwpt, iova, addr);
		cond_resched();
	}
out_put:
	ioasid_object_put(ucmd->ictx, &hwpt->obj);
	return rc;
}

/* Return: 0 or -EINVAL: nothing is mapped there. */
static int set_page_dirty_at(struct iommufd_hw_pagetable *hwpt,
			     struct mock_table *table, unsigned long iova)
{
	int rc;

	guard(mutex)(&hwpt->ioas->lock);
	if (!can_walk(hwpt, iova))
		return -EINVAL;
	do {
		rc = table->iommu.ops->set_dirty(&table->iommu, iova);
	} while (rc == -EAGAIN);
	return rc ? -EINVAL : 0;
}

static int set_pages_dirty(struct iommufd_hw_pagetable *hwpt,
			   struct mock_table *table,
			   struct iommu_test_cmd *cmd,
			   const unsigned long *bits, unsigned long num)
{
	unsigned long i;
	u64 done = 0;

	for_each_set_bit(i, bits, num) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!set_page_dirty_at(hwpt, table,
				       cmd->dirty.iova +
					       i * cmd->dirty.page_size))
			done++;
		cond_resched();
	}
	cmd->dirty.out_nr_dirty = done;
	return 0;
}

static int copy_bits_and_set(struct iommufd_hw_pagetable *hwpt,
			     struct mock_table *table,
			     struct iommu_test_cmd *cmd, unsigned long num)
{
	unsigned long *bits __free(kvfree) =
		kvcalloc(BITS_TO_LONGS(num), sizeof(*bits), GFP_KERNEL_ACCOUNT);

	if (!bits)
		return -ENOMEM;
	if (copy_from_user(bits, u64_to_user_ptr(cmd->dirty.uptr),
			   BITS_TO_BYTES(num)))
		return -EFAULT;
	return set_pages_dirty(hwpt, table, cmd, bits, num);
}

#define MOCK_MAX_DIRTY_BITS (SZ_16M * BITS_PER_BYTE)

/**
 * mock_set_dirty - IOMMU_TEST_OP_DIRTY
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -ENOENT: no such HWPT of the kernel's; -EINVAL: it is not of a mock
 * device, or not tracked, or the range is not of whole pages; -EOVERFLOW: the
 * range wraps or is too large; -EFAULT; -ENOMEM; -EINTR: fatal signal.
 */
int mock_set_dirty(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	unsigned long page_size = cmd->dirty.page_size;
	unsigned long length = cmd->dirty.length;
	unsigned long iova = cmd->dirty.iova;
	struct iommufd_hw_pagetable *hwpt;
	struct mock_table *table;
	unsigned long last;
	int rc = -EINVAL;

	if (!page_size || !length || iova % page_size || length % page_size ||
	    !cmd->dirty.uptr)
		return -EINVAL;
	if (check_add_overflow(iova, length - 1, &last) ||
	    length / page_size > MOCK_MAX_DIRTY_BITS)
		return -EOVERFLOW;

	hwpt = get_table(ucmd->ictx, cmd->id, &table);
	if (IS_ERR(hwpt))
		return PTR_ERR(hwpt);
	if (READ_ONCE(table->track_dirty) && table->iommu.ops->set_dirty)
		rc = copy_bits_and_set(hwpt, table, cmd, length / page_size);
	ioasid_object_put(ucmd->ictx, &hwpt->obj);
	return rc ? rc : ioasid_respond(ucmd, sizeof(*cmd));
}

/* ---- caches ---- */

/**
 * mock_check_iotlb - IOMMU_TEST_OP_MD_CHECK_IOTLB
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -ENOENT: no such HWPT of the user's; -EINVAL: it is not of a mock
 * device, or there is no such entry, or it is something else.
 */
int mock_check_iotlb(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	struct iommufd_object *obj = ioasid_object_get(ucmd->ictx, cmd->id,
						       IOMMUFD_OBJ_HWPT_NESTED);
	struct mock_nested *nested;
	int rc = -EINVAL;

	if (IS_ERR(obj))
		return PTR_ERR(obj);
	nested = to_mock_nested(to_hwpt(obj)->domain);
	if (nested && cmd->check_iotlb.id < MOCK_NESTED_DOMAIN_IOTLB_NUM &&
	    READ_ONCE(nested->iotlb[cmd->check_iotlb.id]) ==
		    cmd->check_iotlb.iotlb)
		rc = 0;
	ioasid_object_put(ucmd->ictx, obj);
	return rc;
}

/**
 * mock_check_device_cache - IOMMU_TEST_OP_DEV_CHECK_CACHE
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: 0; -ENOENT: no such device; -EINVAL: it is not a mock device, or there
 * is no such entry, or it is something else.
 */
int mock_check_device_cache(struct ioasid_ucmd *ucmd,
			    struct iommu_test_cmd *cmd)
{
	struct iommufd_object *obj =
		ioasid_object_get(ucmd->ictx, cmd->id, IOMMUFD_OBJ_DEVICE);
	struct device *dev;
	int rc = -EINVAL;

	if (IS_ERR(obj))
		return PTR_ERR(obj);
	dev = to_idev(obj)->dev;
	if (ioasid_mock_device(dev) &&
	    cmd->check_dev_cache.id < MOCK_DEV_CACHE_NUM &&
	    READ_ONCE(to_mock_device(dev)->cache[cmd->check_dev_cache.id]) ==
		    cmd->check_dev_cache.cache)
		rc = 0;
	ioasid_object_put(ucmd->ictx, obj);
	return rc;
}
