// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty tracking of one page table, as iommufd's interface has it: which pages
 * were written by way of this table, read from it when somebody asks.
 *
 * Nothing is kept but in the table itself. The bits of a part of the range, a
 * window, are read into kernel memory with the lock of the address space held, and
 * added to those of the user with no lock held. An entry of the table has one bit
 * for all of its pages; where the range that is asked for cuts one, it is looked at
 * and not cleared.
 *
 * What was cleared for a call that fails in the end is not forgotten: it counts as
 * written in the next.
 */
#include <linux/bitmap.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "ioasid_private.h"

static unsigned long window_last(const struct dirty_window *window)
{
	return window->first + (window->length - 1);
}

/**
 * dirty_track_table - Start or stop tracking of one page table
 * @pt: The page table; its address space is not one that may be tracked
 * @on: Start
 *
 * Nothing is dirty when it starts.
 *
 * Context: No lock is held.
 *
 * Return: 0; -EINTR: fatal signal; or what the driver says.
 */
int dirty_track_table(struct iommufd_hw_pagetable *pt, bool on)
{
	struct ioasid *ioas = pt->ioas;
	int rc = 0;

	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	if (on && pt->filled)
		rc = pgtable_clear_dirty(pt);
	if (!rc) {
		pt->lost_first = ULONG_MAX;
		pt->lost_last = 0;
		rc = pt->domain->dirty_ops->set_dirty_tracking(pt->domain, on);
	}
	mutex_unlock(&ioas->lock);
	return rc;
}

/*
 * Widens [addr, addr] to the largest entry that may hold both @addr and the byte
 * before it. Return: whether there may be one.
 */
static bool entry_across(const struct iommufd_hw_pagetable *pt,
			 const struct mapping *map, unsigned long addr,
			 unsigned long *first, unsigned long *last)
{
	unsigned long ext_first, ext_last, sizes;
	const struct mem_extents *extents;
	const struct mem_extent *extent;
	struct mapping_piece piece;
	unsigned int bit;
	phys_addr_t phys;

	*first = addr;
	*last = addr;
	if (pt->ioas->single_pages)
		return false;
	mapping_piece_at(map, addr, &piece);
	extents = &piece.mem->extents;
	extent = &extents->extent[mem_extents_find(extents, piece.offset >>
							    PAGE_SHIFT)];
	phys = PFN_PHYS(extent->pfn) +
	       (piece.offset - ((unsigned long)extent->index << PAGE_SHIFT));
	dirty_extent_bounds(map, addr, &ext_first, &ext_last);

	sizes = pt->domain->pgsize_bitmap;
	for_each_set_bit(bit, &sizes, BITS_PER_LONG) {
		unsigned long mask = BIT(bit) - 1;

		if (!(addr & mask) || (addr & ~mask) < ext_first ||
		    (addr | mask) > ext_last || (phys ^ addr) & mask)
			continue;
		*first = addr & ~mask;
		*last = addr | mask;
	}
	return *first != addr;
}

/*
 * What of a mapping lies in the window. Where the edges of what is asked for may
 * cut an entry, which has one bit only, that is looked at and stays as it is.
 */
static int read_mapping(struct iommufd_hw_pagetable *pt,
			const struct mapping *map,
			const struct dirty_window *window,
			const struct dirty_report *report, bool clear)
{
	unsigned long last = min3(window_last(window), map->last, report->last);
	unsigned long first = max3(window->first, map->first, report->first);
	unsigned long cut_first, cut_last;
	int rc;

	if (!may_be_dirty(map))
		return 0;
	if (first > map->first &&
	    entry_across(pt, map, first, &cut_first, &cut_last)) {
		rc = pgtable_read_dirty(pt, window, cut_first, cut_last, false);
		if (rc || cut_last >= last)
			return rc;
		first = cut_last + 1;
	}
	if (last < map->last &&
	    entry_across(pt, map, last + 1, &cut_first, &cut_last)) {
		rc = pgtable_read_dirty(pt, window, cut_first, cut_last, false);
		if (rc || cut_first <= first)
			return rc;
		last = cut_first - 1;
	}
	return pgtable_read_dirty(pt, window, first, last, clear);
}

static void mark_lost(struct iommufd_hw_pagetable *pt,
		      const struct dirty_window *window, unsigned long first,
		      unsigned long last)
{
	unsigned long from = max3(first, pt->lost_first, window->first);
	unsigned long to = min3(last, pt->lost_last, window_last(window));
	unsigned long bit;

	if (from > to)
		return;
	bit = (from - window->first) >> window->shift;
	bitmap_set(window->bits->bits, bit,
		   ((to - window->first) >> window->shift) - bit + 1);
}

/* All of the range must be mapped. With no window that is all that is looked at. */
static int read_range_locked(struct iommufd_hw_pagetable *pt,
			     const struct dirty_window *window,
			     const struct dirty_report *report, bool clear,
			     unsigned long first, unsigned long last)
{
	unsigned long cur = first;
	struct mapping *map;
	int rc;

	for_each_mapping(map, &pt->ioas->mappings, first, last) {
		if (map->first > cur)
			return -EINVAL;
		if (window && pt->filled) {
			rc = read_mapping(pt, map, window, report, clear);
			if (rc)
				return rc;
		}
		if (map->last >= last)
			return 0;
		cur = map->last + 1;
		cond_resched();
	}
	return -EINVAL;
}

/* Fills the window; all of it that is asked for must be mapped. */
static int read_window(struct iommufd_hw_pagetable *pt,
		       const struct dirty_window *window,
		       const struct dirty_report *report, bool clear)
{
	unsigned long first = max(window->first, report->first);
	unsigned long last = min(window_last(window), report->last);
	int rc;

	if (ioasid_lock_killable(&pt->ioas->lock))
		return -EINTR;
	rc = read_range_locked(pt, window, report, clear, first, last);
	mark_lost(pt, window, first, last);
	pgtable_sync(pt);
	mutex_unlock(&pt->ioas->lock);
	return rc;
}

static int check_mapped(struct iommufd_hw_pagetable *pt,
			const struct dirty_report *report)
{
	int rc;

	if (ioasid_lock_killable(&pt->ioas->lock))
		return -EINTR;
	rc = read_range_locked(pt, NULL, report, false, report->first,
			       report->last);
	mutex_unlock(&pt->ioas->lock);
	return rc;
}

/*
 * What the user's bitmap is copied in. Its words are u64; where the first byte of
 * one has the first bits, nothing beside those that are asked for is touched.
 */
#define COPY_BITS (IS_ENABLED(CONFIG_CPU_BIG_ENDIAN) ? 64 : BITS_PER_BYTE)

/*
 * The bits of one window. @copy has room for what the user has of it, which shows
 * before anything in it is cleared that it can be written. @cleared is set to the
 * last address of which something may have been cleared.
 */
static int report_window(struct iommufd_hw_pagetable *pt,
			 const struct dirty_window *window,
			 const struct dirty_report *report, bool clear,
			 unsigned long *copy, unsigned long *cleared)
{
	unsigned long first = max(window->first, report->first);
	unsigned long last = min(window_last(window), report->last);
	unsigned long from = (first - window->first) >> report->shift;
	unsigned long num = ((last - first) >> report->shift) + 1;
	unsigned long bit = (first - report->first) >> report->shift;
	u8 __user *user = (u8 __user *)report->bitmap +
			  round_down(bit, COPY_BITS) / BITS_PER_BYTE;
	unsigned long cur = from, end;
	size_t size;
	int rc;

	bit %= COPY_BITS;
	size = round_up(bit + num, COPY_BITS) / BITS_PER_BYTE;
	if (copy_from_user(copy, user, size) || copy_to_user(user, copy, size))
		return -EFAULT;
	if (clear)
		*cleared = last;
	rc = read_window(pt, window, report, clear);
	for_each_set_bitrange_from(cur, end, window->bits->bits, from + num)
		bitmap_set(copy, bit + (cur - from), end - cur);
	return copy_to_user(user, copy, size) ? -EFAULT : rc;
}

/* What was cleared for a report that did not get to its end */
static void note_lost(struct iommufd_hw_pagetable *pt, unsigned long first,
		      unsigned long last)
{
	guard(mutex)(&pt->ioas->lock);
	pt->lost_first = min(pt->lost_first, first);
	pt->lost_last = max(pt->lost_last, last);
	WRITE_ONCE(pt->num_losses, pt->num_losses + 1);
}

/* What was lost before it was read has been reported as far as it was asked for. */
static void forget_lost(struct iommufd_hw_pagetable *pt,
			const struct dirty_report *report,
			unsigned int num_losses)
{
	guard(mutex)(&pt->ioas->lock);
	if (pt->num_losses != num_losses)
		return;
	if (report->first <= pt->lost_first && report->last >= pt->lost_last) {
		pt->lost_first = ULONG_MAX;
		pt->lost_last = 0;
	} else if (report->first <= pt->lost_first &&
		   report->last >= pt->lost_first) {
		pt->lost_first = report->last + 1;
	} else if (report->last >= pt->lost_last &&
		   report->first <= pt->lost_last) {
		pt->lost_last = report->first - 1;
	}
}

static int report_windows(struct iommufd_hw_pagetable *pt,
			  struct dirty_window *window,
			  const struct dirty_report *report, bool clear,
			  unsigned long *copy)
{
	unsigned long bits = ((window->length - 1) >> window->shift) + 1;
	unsigned long cleared = 0;
	int rc;

	for (;;) {
		bitmap_zero(window->bits->bits, bits);
		rc = report_window(pt, window, report, clear, copy, &cleared);
		if (rc)
			break;
		if (window_last(window) >= report->last)
			return 0;
		window->first += window->length;
		cond_resched();
	}
	if (cleared)
		note_lost(pt, report->first, cleared);
	return rc;
}

/**
 * dirty_read_table - Report what was written by way of one page table
 * @pt: The page table; its address space is not one that may be tracked
 * @report: What about and where to; bits are added to those that the bitmap has
 * @clear: Do not report it again
 *
 * What a call that fails may have cleared counts as written in the next.
 *
 * Context: No lock is held.
 *
 * Return: 0; -EFAULT: the bitmap cannot be written; -EINVAL: not all of the range
 * is mapped; -ENOMEM; -EINTR: fatal signal; or what the driver says.
 */
int dirty_read_table(struct iommufd_hw_pagetable *pt,
		     const struct dirty_report *report, bool clear)
{
	struct dirty_window window = {
		.length = max(PGTABLE_LARGEST_DIRTY, 1UL << report->shift),
		.shift = report->shift,
	};
	unsigned int num_losses = READ_ONCE(pt->num_losses);
	unsigned long *copy;
	int rc;

	window.first = report->first & ~(window.length - 1);
	rc = check_mapped(pt, report);
	if (rc)
		return rc;
	window.bits = dirty_bits_alloc(window.length, window.shift);
	if (IS_ERR(window.bits))
		return PTR_ERR(window.bits);
	rc = -ENOMEM;
	copy = kvzalloc((window.length >> window.shift) / 8 + 2 * sizeof(u64),
			GFP_KERNEL_ACCOUNT);
	if (copy)
		rc = report_windows(pt, &window, report, clear, copy);
	if (!rc && clear)
		forget_lost(pt, report, num_losses);
	kvfree(copy);
	dirty_bits_free(window.bits);
	return rc;
}
