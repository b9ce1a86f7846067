// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty tracking: which pages of an address space were written.
 *
 * IOMMUs note writes in the entries of page tables, where they are lost when
 * the entry goes, and in-kernel users note nothing. So each mapping of an
 * address space that may be tracked has a bit for each page, from when it is
 * made. What page tables know is moved there when somebody asks, and before a
 * table goes; in-kernel users set the bits of what they write. A page that they
 * hold pinned counts as written as long as they do.
 *
 * A bit is cleared only by a call that has put it into the user's bitmap, and
 * that bitmap is filled from kernel memory with no lock held. If the page is
 * written again in between it does not matter that the new bit goes, too: the
 * program learns of the page when the call returns, and looks at it then.
 *
 * An entry of a page table has one bit for all of its pages, which must be moved
 * as a whole. Entries never go beyond an extent, so extents are what is read.
 */
#include <linux/bitmap.h>
#include <linux/interval_tree.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "ioasid_private.h"
#include "trace.h"

/* What is moved out of page tables without letting others have the lock */
#define READ_STEP	SZ_128M

#define CHUNK_BYTES	PAGE_SIZE
#define CHUNK_BITS	(CHUNK_BYTES * BITS_PER_BYTE)

/* ---- the bits of a mapping ---- */

/**
 * dirty_bits_alloc - Make the bits of a range, all clear
 * @length: Length of the range in bytes
 * @shift: Each stands for 1 << @shift bytes
 *
 * Return: The bits, for dirty_bits_free(), or an error pointer: -EINVAL: more
 * than INT_MAX; -ENOMEM.
 */
struct dirty_bits *dirty_bits_alloc(unsigned long length, unsigned int shift)
{
	unsigned long i, num_pages, num = ((length - 1) >> shift) + 1;
	size_t size = BITS_TO_LONGS(num) * sizeof(long);
	struct dirty_bits *bits;
	unsigned long *words;

	if (num > INT_MAX)
		return ERR_PTR(-EINVAL);
	words = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!words)
		return ERR_PTR(-ENOMEM);
	num_pages = DIV_ROUND_UP(offset_in_page(words) + size, PAGE_SIZE);
	bits = kvzalloc(struct_size(bits, pages, num_pages),
			GFP_KERNEL_ACCOUNT);
	if (!bits) {
		kvfree(words);
		return ERR_PTR(-ENOMEM);
	}

	bits->num_pages = num_pages;
	bits->bits = words;
	for (i = 0; i < num_pages; i++) {
		void *at = (void *)words - offset_in_page(words) +
			   i * PAGE_SIZE;

		bits->pages[i] = is_vmalloc_addr(at) ? vmalloc_to_page(at) :
						       virt_to_page(at);
	}
	return bits;
}

/**
 * dirty_bits_free - Undo dirty_bits_alloc()
 * @bits: The bits or NULL
 */
void dirty_bits_free(struct dirty_bits *bits)
{
	if (!bits)
		return;
	kvfree(bits->bits);
	kvfree(bits);
}

static unsigned long bit_of(const struct mapping *map, unsigned long addr)
{
	return (addr - map->first) >> PAGE_SHIFT;
}

/**
 * dirty_mark - Note that a part of a mapping was written
 * @map: The mapping, which has bits
 * @first: First address of the part
 * @last: Last address of the part
 *
 * Context: The lock of the address space is held.
 */
void dirty_mark(struct mapping *map, unsigned long first, unsigned long last)
{
	unsigned long bit = bit_of(map, first);

	bitmap_set(map->dirty->bits, bit, bit_of(map, last) - bit + 1);
}

/**
 * dirty_collect - Copy the bits of a mapping into those of a window
 * @map: The mapping, which has bits
 * @first: First address of the window, a multiple of its page size
 * @last: Last address of the window
 * @shift: Its page size as a power of two, at least PAGE_SHIFT
 * @window: Its bits; those of pages that were written are set
 *
 * Context: Nobody else changes the mapping.
 */
void dirty_collect(const struct mapping *map, unsigned long first,
		   unsigned long last, unsigned int shift,
		   unsigned long *window)
{
	unsigned long from = max(map->first, first);
	unsigned long to = min(map->last, last);
	unsigned long bit, end, num;

	if (from > to)
		return;
	bit = bit_of(map, from);
	num = bit_of(map, to) + 1;
	for_each_set_bitrange_from(bit, end, map->dirty->bits, num) {
		unsigned long a = max(map->first + (bit << PAGE_SHIFT), from);
		unsigned long z = min(map->first + ((end << PAGE_SHIFT) - 1),
				      to);
		unsigned long n = (a - first) >> shift;

		bitmap_set(window, n, ((z - first) >> shift) - n + 1);
	}
}

/**
 * dirty_forget - Clear those bits of a mapping that are set in a window
 * @map: The mapping, which has bits
 * @first: First address of the window, a multiple of its page size
 * @last: Last address of the window
 * @shift: Its page size as a power of two, at least PAGE_SHIFT
 * @window: Its bits
 *
 * Context: The lock of the address space is held.
 */
void dirty_forget(struct mapping *map, unsigned long first, unsigned long last,
		  unsigned int shift, const unsigned long *window)
{
	unsigned long from = max(map->first, first);
	unsigned long to = min(map->last, last);
	unsigned long bit, end, num;

	if (from > to)
		return;
	bit = (from - first) >> shift;
	num = ((to - first) >> shift) + 1;
	for_each_set_bitrange_from(bit, end, window, num) {
		unsigned long a = max(first + (bit << shift), from);
		unsigned long z = min(first + ((end << shift) - 1), to);
		unsigned long n = bit_of(map, a);

		bitmap_clear(map->dirty->bits, n, bit_of(map, z) - n + 1);
	}
}

/**
 * dirty_split - Divide the bits of a mapping that is being cut in two
 * @head: The first part, as long as the mapping was
 * @tail: The second part, first and last set
 *
 * The first part keeps room for all bits.
 *
 * Return: 0, or -ENOMEM with nothing changed.
 */
int dirty_split(const struct mapping *head, struct mapping *tail)
{
	struct dirty_bits *bits;

	if (!head->dirty)
		return 0;
	bits = dirty_bits_alloc(mapping_length(tail), PAGE_SHIFT);
	if (IS_ERR(bits))
		return PTR_ERR(bits);
	tail->dirty = bits;
	dirty_collect(head, tail->first, tail->last, PAGE_SHIFT, bits->bits);
	return 0;
}

/* ---- what page tables know ---- */

/**
 * dirty_extent_bounds - The part of a mapping that iommu_map() enters at once
 * @map: The mapping
 * @addr: An address in it
 * @first: Output: first address of the part with @addr
 * @last: Output: its last address
 *
 * Context: The lock of the address space is held; @map is pinned.
 */
void dirty_extent_bounds(const struct mapping *map, unsigned long addr,
			 unsigned long *first, unsigned long *last)
{
	const struct mem_extents *extents;
	struct mapping_piece piece;
	unsigned long start, end;
	unsigned int i;

	*first = map->first;
	*last = map->last;
	if (!may_be_dirty(map))
		return;
	mapping_piece_at(map, addr, &piece);
	extents = &piece.mem->extents;
	i = mem_extents_find(extents, piece.offset >> PAGE_SHIFT);
	start = (unsigned long)extents->extent[i].index << PAGE_SHIFT;
	end = start + (mem_extent_pages(extents, i) << PAGE_SHIFT);
	*first = addr - min(piece.before, piece.offset - start);
	*last = addr + (min(piece.length, end - piece.offset) - 1);
}

/* Widens a range so that it cuts no extent of a mapping. */
static void widen_to_extents(struct ioasid *ioas, unsigned long *first,
			     unsigned long *last)
{
	struct mapping *map;
	unsigned long other;

	map = mapping_find(&ioas->mappings, *first);
	if (map && map->first < *first)
		dirty_extent_bounds(map, *first, first, &other);
	map = mapping_find(&ioas->mappings, *last);
	if (map && map->first <= *last)
		dirty_extent_bounds(map, *last, &other, last);
}

/* Moves what page tables know into the bits of mappings; cuts no extent. */
static int read_tables(struct ioasid *ioas, unsigned long first,
		       unsigned long last, bool clear)
{
	struct iommufd_hw_pagetable *pt;
	struct dirty_window window;
	struct mapping *map;
	int rc = 0;

	lockdep_assert_held(&ioas->lock);

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		for_each_mapping(map, &ioas->mappings, first, last) {
			if (!may_be_dirty(map))
				continue;
			window = dirty_window_of(map);
			if (ioasid_killed())
				rc = -EINTR;
			else if (pgtable_read_dirty(pt, &window,
						    max(first, map->first),
						    min(last, map->last), clear))
				rc = -EIO;
			if (rc)
				break;
			cond_resched();
		}
		pgtable_sync(pt);
		if (rc)
			return rc;
	}
	return 0;
}

/* A part of the range, from @cur on. Updates @cur, to 0 behind the last part. */
static int read_step(struct ioasid *ioas, unsigned long *cur,
		     unsigned long last, bool clear)
{
	unsigned long from = *cur, to;
	struct mapping *map;
	int rc;

	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	rc = ioas->tracking ? 0 : -EINVAL;
	map = mapping_find(&ioas->mappings, from);
	*cur = 0;
	if (!rc && map && map->first <= last && !list_empty(&ioas->tables)) {
		from = max(from, map->first);
		to = last - from < READ_STEP ? last : from + READ_STEP - 1;
		widen_to_extents(ioas, &from, &to);
		rc = read_tables(ioas, from, to, clear);
		if (to < last)
			*cur = to + 1;
	}
	mutex_unlock(&ioas->lock);
	return rc;
}

static int read_range(struct ioasid *ioas, unsigned long first,
		      unsigned long last, bool clear)
{
	unsigned long cur = first;
	int rc;

	do {
		rc = read_step(ioas, &cur, last, clear);
		cond_resched();
	} while (!rc && cur);
	return rc;
}

/* ---- start and stop ---- */

static void stop_tables(struct ioasid *ioas)
{
	struct iommufd_hw_pagetable *pt;

	/* What a driver goes on tracking is not looked at. */
	list_for_each_entry(pt, &ioas->tables, entry)
		pgtable_track(pt, false);
}

static int start_tables(struct ioasid *ioas)
{
	struct iommufd_hw_pagetable *pt;

	list_for_each_entry(pt, &ioas->tables, entry)
		if (!pgtable_track(pt, true))
			return -EIO;
	/* What they noted before is not asked for. */
	return read_tables(ioas, 0, ULONG_MAX, true);
}

static int start_locked(struct ioasid *ioas)
{
	struct mapping *map;
	int rc;

	if (ioas->tracking)
		return 0;
	rc = start_tables(ioas);
	if (rc) {
		stop_tables(ioas);
		return rc;
	}
	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
		bitmap_zero(map->dirty->bits, bit_of(map, map->last) + 1);
		cond_resched();
	}
	WRITE_ONCE(ioas->tracking, true);
	return 0;
}

/**
 * dirty_start - Start tracking
 * @ioas: The address space, allocated as one that may be tracked
 *
 * Nothing is dirty then. If it is being tracked nothing changes.
 *
 * Context: No lock is held.
 *
 * Return: 0; -EINTR: fatal signal; -EIO: the driver of an IOMMU fails. Nothing
 * is tracked then.
 */
int dirty_start(struct ioasid *ioas)
{
	int rc = -EINTR;

	if (!ioasid_lock_killable(&ioas->lock)) {
		rc = start_locked(ioas);
		mutex_unlock(&ioas->lock);
	}
	trace_ioasid_dirty_track(ioas->obj.id, true, rc);
	return rc;
}

/**
 * dirty_stop - Stop tracking
 * @ioas: The address space
 *
 * What was written and not asked for yet is forgotten.
 *
 * Context: No lock is held.
 *
 * Return: 0, or -EINTR with nothing changed.
 */
int dirty_stop(struct ioasid *ioas)
{
	int rc = -EINTR;

	if (!ioasid_lock_killable(&ioas->lock)) {
		if (ioas->tracking)
			stop_tables(ioas);
		WRITE_ONCE(ioas->tracking, false);
		mutex_unlock(&ioas->lock);
		rc = 0;
	}
	trace_ioasid_dirty_track(ioas->obj.id, false, rc);
	return rc;
}

/* ---- the user's bitmap ---- */

static unsigned long num_bits(const struct dirty_report *report)
{
	return ((report->last - report->first) >> report->shift) + 1;
}

/* The range of the chunk of bits that starts with bit @bit */
static void chunk_bounds(const struct dirty_report *report, unsigned long bit,
			 unsigned long *first, unsigned long *last)
{
	unsigned long num = min(num_bits(report) - bit, CHUNK_BITS);

	*first = report->first + (bit << report->shift);
	*last = *first + ((num << report->shift) - 1);
}

static int copy_chunk(const struct dirty_report *report, unsigned long bit)
{
	unsigned long num = min(num_bits(report) - bit, CHUNK_BITS);

	if (bitmap_empty(report->chunk, num))
		return 0;
	return copy_to_user(report->bitmap + bit / 64, report->chunk,
			    BITS_TO_U64(num) * sizeof(u64)) ?
		       -EFAULT : 0;
}

/**
 * dirty_report_begin - Get ready to report
 * @report: Where to; all but the chunk is set
 *
 * The user's bitmap is all zero afterwards, so only what is dirty need be
 * written; and who has none that can be written learns of it here.
 *
 * Context: No lock is held.
 *
 * Return: 0, then dirty_report_end() undoes this; -EFAULT; -ENOMEM; -EINTR:
 * fatal signal.
 */
int dirty_report_begin(struct dirty_report *report)
{
	u8 __user *bytes = (u8 __user *)report->bitmap;
	size_t left = BITS_TO_U64(num_bits(report)) * sizeof(u64);

	while (left) {
		size_t part = min_t(size_t, left, SZ_1M);

		if (ioasid_killed())
			return -EINTR;
		if (clear_user(bytes, part))
			return -EFAULT;
		bytes += part;
		left -= part;
		cond_resched();
	}
	report->chunk = kmalloc(CHUNK_BYTES, GFP_KERNEL_ACCOUNT);
	return report->chunk ? 0 : -ENOMEM;
}

/**
 * dirty_report_end - Undo dirty_report_begin()
 * @report: The report
 */
void dirty_report_end(struct dirty_report *report)
{
	kfree(report->chunk);
}

/**
 * dirty_report_gone - Report what is dirty in mappings that were removed
 * @report: Where to, begun
 * @gone: The mappings, by ascending address, all in the range of @report
 *
 * Context: No lock is held.
 *
 * Return: 0; -EFAULT: the bitmap cannot be written any more.
 */
int dirty_report_gone(const struct dirty_report *report,
		      const struct list_head *gone)
{
	const struct mapping *map =
		list_first_entry(gone, struct mapping, entry);
	unsigned long bit, first, last;
	int rc;

	for (bit = 0; bit < num_bits(report); bit += CHUNK_BITS) {
		chunk_bounds(report, bit, &first, &last);
		bitmap_zero(report->chunk, CHUNK_BITS);
		list_for_each_entry_from(map, gone, entry) {
			dirty_collect(map, first, last, report->shift,
				      report->chunk);
			if (map->last > last)
				break;
			cond_resched();
		}
		rc = copy_chunk(report, bit);
		if (rc || list_entry_is_head(map, gone, entry))
			return rc;
	}
	return 0;
}

/* What in-kernel users have pinned may be written at any time. */
static void collect_pins(struct ioasid *ioas, const struct mapping *map,
			 const struct dirty_report *report,
			 unsigned long first, unsigned long last)
{
	unsigned long from = max(first, map->first);
	unsigned long to = min(last, map->last);
	struct interval_tree_node *pin;

	if (!map->num_accesses || !(map->prot & IOMMU_WRITE))
		return;
	for (pin = interval_tree_iter_first(&ioas->pins, from, to); pin;
	     pin = interval_tree_iter_next(pin, from, to)) {
		unsigned long bit = (max(pin->start, from) - first) >>
				    report->shift;
		unsigned long end = (min(pin->last, to) - first) >>
				    report->shift;

		bitmap_set(report->chunk, bit, end - bit + 1);
		cond_resched();
	}
}

static int collect_chunk(struct ioasid *ioas, const struct dirty_report *report,
			 unsigned long bit)
{
	unsigned long first, last;
	struct mapping *map;

	chunk_bounds(report, bit, &first, &last);
	bitmap_zero(report->chunk, CHUNK_BITS);
	if (ioasid_killed())
		return -EINTR;

	guard(mutex)(&ioas->lock);
	if (!ioas->tracking)
		return -EINVAL;
	for_each_mapping(map, &ioas->mappings, first, last) {
		dirty_collect(map, first, last, report->shift, report->chunk);
		collect_pins(ioas, map, report, first, last);
		cond_resched();
	}
	return 0;
}

static void forget_chunk(struct ioasid *ioas, const struct dirty_report *report,
			 unsigned long bit)
{
	unsigned long first, last;
	struct mapping *map;

	chunk_bounds(report, bit, &first, &last);
	guard(mutex)(&ioas->lock);
	for_each_mapping(map, &ioas->mappings, first, last) {
		dirty_forget(map, first, last, report->shift, report->chunk);
		cond_resched();
	}
}

/*
 * The call fails after it has reported some of the range. What exactly is not
 * known any more, so all that can have been written there counts as written.
 */
static void unforget(struct ioasid *ioas, unsigned long first,
		     unsigned long last)
{
	struct mapping *map;

	guard(mutex)(&ioas->lock);
	for_each_mapping(map, &ioas->mappings, first, last) {
		if (map->prot & IOMMU_WRITE)
			dirty_mark(map, max(first, map->first),
				   min(last, map->last));
		cond_resched();
	}
}

static int report_range(struct ioasid *ioas, const struct dirty_report *report,
			bool clear)
{
	unsigned long bit;
	int rc = 0;

	for (bit = 0; bit < num_bits(report); bit += CHUNK_BITS) {
		rc = collect_chunk(ioas, report, bit);
		if (!rc)
			rc = copy_chunk(report, bit);
		if (rc)
			break;
		if (clear)
			forget_chunk(ioas, report, bit);
		cond_resched();
	}
	if (rc && clear && bit)
		unforget(ioas, report->first,
			 report->first + ((bit << report->shift) - 1));
	return rc;
}

/**
 * dirty_get - Report what was written
 * @ioas: The address space
 * @report: What about and where to; the caller has set all but the chunk
 * @clear: Do not report it again
 *
 * Context: No lock is held.
 *
 * Return: 0, or as struct iommu_dirty_get documents; then nothing is forgotten.
 */
int dirty_get(struct ioasid *ioas, struct dirty_report *report, bool clear)
{
	int rc = -EINVAL;

	if (READ_ONCE(ioas->tracking))
		rc = dirty_report_begin(report);
	if (!rc) {
		rc = read_range(ioas, report->first, report->last, clear);
		if (!rc)
			rc = report_range(ioas, report, clear);
		dirty_report_end(report);
	}
	trace_ioasid_dirty_get(ioas->obj.id, report->first, report->last,
			       1UL << report->shift, rc);
	return rc;
}
