// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA windows: the parts of an address space that may be mapped, each with pages of
 * its own.
 *
 * Some IOMMUs translate nothing but such windows, and each is a table of its own
 * in hardware; with others a window only says what the user wants to map. If an
 * IOASID has none, then all of it may be mapped, unless a device comes whose IOMMU
 * needs windows: it brings the one that it has by default.
 *
 * Windows stay when devices leave, so that those that come next get the same.
 */
#include <linux/cleanup.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "ioasid_private.h"

static struct ioasid_window *window_find(const struct ioasid *ioas,
					 unsigned long first,
					 unsigned long last)
{
	struct ioasid_window *window;

	list_for_each_entry(window, &ioas->windows, entry)
		if (window->first <= first && window->last >= last)
			return window;
	return NULL;
}

/**
 * ioasid_window_holds - Whether a range can be mapped as far as windows go
 * @ioas: An address space that has windows
 * @first: First address
 * @last: Last address
 * @offset: Where the memory starts in its page, or in the parent
 *
 * Context: ioas->lock is held.
 *
 * Return: Whether it lies in one window, on its pages.
 */
bool ioasid_window_holds(const struct ioasid *ioas, unsigned long first,
			 unsigned long last, unsigned long offset)
{
	const struct ioasid_window *window = window_find(ioas, first, last);

	return window && IS_ALIGNED(first | (last + 1), window->page_size) &&
	       IS_ALIGNED(offset, min(window->page_size, PAGE_SIZE));
}

/**
 * ioasid_check_windows - Hold what there is against the windows
 * @ioas: The address space
 *
 * Context: ioas->lock is held.
 *
 * Return: 0, or -EADDRINUSE: a mapping or something that was promised is outside,
 * or not on the pages of its window.
 */
int ioasid_check_windows(const struct ioasid *ioas)
{
	const struct iova_ranges *allowed = ioas->allowed;
	struct mapping *map;
	unsigned int i;

	lockdep_assert_held(&ioas->lock);

	if (!ioas->num_windows)
		return 0;
	for (i = 0; allowed && i < allowed->num; i++)
		if (!window_find(ioas, allowed->range[i].first,
				 allowed->range[i].last))
			return -EADDRINUSE;
	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
		if (!ioasid_window_holds(ioas, map->first, map->last, 0))
			return -EADDRINUSE;
		cond_resched();
	}
	return 0;
}

/**
 * ioasid_needs_windows - Whether nothing can be mapped without windows
 * @ioas: The address space
 *
 * Context: ioas->lock is held.
 *
 * Return: Whether it has a page table that has nothing else.
 */
bool ioasid_needs_windows(const struct ioasid *ioas)
{
	const struct iommufd_hw_pagetable *pt;

	list_for_each_entry(pt, &ioas->tables, entry)
		if (pt->filled && pt->windows)
			return true;
	return false;
}

/**
 * ioasid_cut_windows - Take out what lies outside of all windows
 * @ioas: The address space
 * @ranges: The ranges; each window needs room for one more
 *
 * Context: ioas->lock is held.
 */
void ioasid_cut_windows(const struct ioasid *ioas, struct iova_ranges *ranges)
{
	const struct ioasid_window *window;
	unsigned long first = 0;

	if (!ioas->num_windows) {
		if (ioasid_needs_windows(ioas))
			ranges->num = 0;
		return;
	}
	list_for_each_entry(window, &ioas->windows, entry) {
		if (first < window->first)
			iova_ranges_cut(ranges, first, window->first - 1);
		first = window->last + 1;
	}
	if (first)
		iova_ranges_cut(ranges, first, ULONG_MAX);
}

/**
 * ioasid_choose_in_windows - Choose the address of a new mapping in a window
 * @ioas: An address space that has windows
 * @ranges: What may be chosen
 * @args: What to map; @args->first is set
 * @align: Preferred alignment
 *
 * Context: ioas->lock is held.
 *
 * Return: 0 or -ENOSPC.
 */
int ioasid_choose_in_windows(struct ioasid *ioas,
			     const struct iova_ranges *ranges,
			     struct ioasid_map *args, unsigned long align)
{
	DEFINE_FLEX(struct iova_ranges, one, range, max, 1);
	struct ioasid_window *window;
	unsigned long first, last;
	unsigned int i;

	list_for_each_entry(window, &ioas->windows, entry) {
		if (!IS_ALIGNED(args->length, window->page_size))
			continue;
		for (i = 0; i < ranges->num; i++) {
			first = max(ranges->range[i].first, window->first);
			last = min(ranges->range[i].last, window->last);
			if (first > last)
				continue;
			iova_ranges_set(one, first, last);
			if (!mapping_find_room(&ioas->mappings, one,
					       ioas->next_first, args->length,
					       max(align, window->page_size),
					       ALIGN_DOWN(args->phase,
							  window->page_size),
					       &args->first))
				return 0;
		}
	}
	return -ENOSPC;
}

/* ---- the list ---- */

/* What the pages of windows are at least, once the user has asked for one */
static void update_window_page(struct ioasid *ioas)
{
	const struct ioasid_window *window;
	unsigned long least = ULONG_MAX;
	bool asked = false;

	list_for_each_entry(window, &ioas->windows, entry) {
		least = min(least, window->page_size);
		asked |= !window->automatic;
	}
	if (!asked)
		least = 0;
	/* What is mapped in smaller pieces can be unmapped so. */
	if (!asked && ioas->window_page < PAGE_SIZE &&
	    !RB_EMPTY_ROOT(&ioas->mappings.root))
		least = ioas->window_page;
	WRITE_ONCE(ioas->window_page, least);
}

static void list_window(struct ioasid *ioas, struct ioasid_window *window)
{
	struct ioasid_window *next;

	list_for_each_entry(next, &ioas->windows, entry)
		if (next->first > window->first)
			break;
	list_add_tail(&window->entry, &next->entry);
	WRITE_ONCE(ioas->num_windows, ioas->num_windows + 1);
	update_window_page(ioas);
}

static void unlist_window(struct ioasid *ioas, struct ioasid_window *window)
{
	list_del(&window->entry);
	WRITE_ONCE(ioas->num_windows, ioas->num_windows - 1);
	update_window_page(ioas);
}

static bool window_touches(const struct ioasid *ioas, unsigned long first,
			   unsigned long last)
{
	const struct ioasid_window *window;

	list_for_each_entry(window, &ioas->windows, entry)
		if (window->first <= last && window->last >= first)
			return true;
	return false;
}

/**
 * ioasid_default_window - Let an address space have the window of a device
 * @ioas: An address space that has no windows
 * @first: First address of the window
 * @last: Last address
 * @page_size: Its pages
 *
 * It goes with the last page table, unless something is mapped there then.
 *
 * Context: ioas->lock is held.
 *
 * Return: 0 or -ENOMEM.
 */
int ioasid_default_window(struct ioasid *ioas, unsigned long first,
			  unsigned long last, unsigned long page_size)
{
	struct ioasid_window *window;
	int rc;

	lockdep_assert_held(&ioas->lock);

	window = kzalloc_obj(*window, GFP_KERNEL_ACCOUNT);
	if (!window)
		return -ENOMEM;
	window->first = first;
	window->last = last;
	window->page_size = page_size;
	window->levels = 1;
	window->automatic = true;
	list_window(ioas, window);
	rc = ioasid_update_permitted(ioas);
	if (rc) {
		unlist_window(ioas, window);
		kfree(window);
	}
	return rc;
}

/**
 * ioasid_keep_windows - Note that a page table has all windows
 * @ioas: The address space
 *
 * Context: ioas->lock is held.
 */
void ioasid_keep_windows(struct ioasid *ioas)
{
	struct ioasid_window *window;

	list_for_each_entry(window, &ioas->windows, entry)
		window->kept = true;
}

/**
 * ioasid_end_default_windows - Undo ioasid_default_window()
 * @ioas: An address space that has no page table any more
 *
 * One that no table has had goes also if something is mapped there. The caller
 * updates what is permitted.
 *
 * Context: ioas->lock is held.
 */
void ioasid_end_default_windows(struct ioasid *ioas)
{
	struct ioasid_window *window, *next;
	struct mapping *map;

	lockdep_assert_held(&ioas->lock);

	list_for_each_entry_safe(window, next, &ioas->windows, entry) {
		if (!window->automatic)
			continue;
		map = mapping_find(&ioas->mappings, window->first);
		if (window->kept && map && map->first <= window->last)
			continue;
		unlist_window(ioas, window);
		kfree(window);
	}
}

/**
 * ioasid_free_windows - Free the windows of an address space that ends
 * @ioas: The address space
 */
void ioasid_free_windows(struct ioasid *ioas)
{
	struct ioasid_window *window, *next;

	list_for_each_entry_safe(window, next, &ioas->windows, entry)
		kfree(window);
}

/* ---- windows that the user asks for ---- */

/* The first place between what is not permitted and other windows. */
static int choose_window(struct ioasid *ioas, struct ioasid_window *window,
			 const struct iova_ranges *ranges)
{
	unsigned long length = window->last - window->first + 1;
	const struct ioasid_window *other;
	unsigned long first, last, aligned;
	unsigned int i;
	bool end;

	for (i = 0; i < ranges->num; i++) {
		first = ranges->range[i].first;
		end = false;
		list_for_each_entry(other, &ioas->windows, entry) {
			last = ALIGN(first, window->page_size) + length - 1;
			if (other->last >= first && other->first <= last)
				end = check_add_overflow(other->last, 1, &first);
			if (end)
				break;
		}
		aligned = ALIGN(first, window->page_size);
		if (end || aligned < first ||
		    check_add_overflow(aligned, length - 1, &last) ||
		    last > ranges->range[i].last)
			continue;
		window->first = aligned;
		window->last = last;
		return 0;
	}
	return -EADDRINUSE;
}

/* A window that only the user cares about */
static int place_window(struct ioasid *ioas, struct ioasid_window *window,
			bool fixed)
{
	struct iova_ranges *ranges;
	int rc = 0;

	ranges = ioasid_ranges_without_windows(ioas);
	if (!ranges)
		return -ENOMEM;
	if (!fixed)
		rc = choose_window(ioas, window, ranges);
	else if (!iova_ranges_contain(ranges, window->first, window->last))
		rc = -EADDRINUSE;
	kfree(ranges);
	return rc;
}

/* In those before @end, or in all if that is NULL */
static void close_in_tables(struct ioasid *ioas, struct ioasid_window *window,
			    const struct iommufd_hw_pagetable *end)
{
	struct iommufd_hw_pagetable *pt;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (pt == end)
			break;
		if (pt->filled && pt->windows)
			pt->backend->window_remove(pt, window);
	}
}

/* The first table says where it is. Return: 1 if there is no such table. */
static int open_in_tables(struct ioasid *ioas, struct ioasid_window *window,
			  bool fixed)
{
	struct iommufd_hw_pagetable *pt;
	int rc, found = 1;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled || !pt->windows)
			continue;
		rc = pt->backend->window_create(pt, window, fixed);
		if (rc > 0)
			continue;
		if (rc) {
			close_in_tables(ioas, window, pt);
			return rc;
		}
		found = 0;
		fixed = true;
	}
	return found;
}

static unsigned long least_table_page(const struct ioasid *ioas)
{
	const struct iommufd_hw_pagetable *pt;
	unsigned long size = 1;

	list_for_each_entry(pt, &ioas->tables, entry)
		if (pt->filled && !pt->windows)
			size = max(size, 1UL << __ffs(pt->domain->pgsize_bitmap));
	return size;
}

/* With the first window, nothing may be mapped outside of it any more. */
static bool leaves_out_mappings(struct ioasid *ioas,
				const struct ioasid_window *window)
{
	struct mapping *map;

	if (ioas->num_windows > 1)
		return false;
	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
		if (map->first < window->first || map->last > window->last ||
		    !mapping_is_aligned(map, window->page_size))
			return true;
		cond_resched();
	}
	return false;
}

static int open_window(struct ioasid *ioas, struct ioasid_window *window,
		       bool fixed)
{
	int rc;

	if (ioas->exact || ioas->allowed)
		return -EINVAL;
	if (ioas->num_windows >= IOMMU_IOASID_MAX_WINDOWS)
		return -ENOSPC;
	if (fixed && window_touches(ioas, window->first, window->last))
		return -EEXIST;
	if (window->page_size < max(least_table_page(ioas), ioas->page_size) ||
	    (ioas->dirty && window->page_size < PAGE_SIZE))
		return -EOPNOTSUPP;
	if (fixed && window->last > ioas->last)
		return -EADDRINUSE;
	rc = open_in_tables(ioas, window, fixed);
	if (rc > 0)
		return place_window(ioas, window, fixed);
	if (!rc && (window->last > ioas->last ||
		    window_touches(ioas, window->first, window->last))) {
		close_in_tables(ioas, window, NULL);
		rc = -EADDRINUSE;
	}
	return rc;
}

/**
 * ioasid_window_create - Open a window
 * @ioas: The address space
 * @args: The window; if not @fixed, @args->first is an output, and on input 0
 * @fixed: It must be at @args->first
 *
 * Context: No lock is held.
 *
 * Return: 0, or as IOMMU_WINDOW_CREATE.
 */
int ioasid_window_create(struct ioasid *ioas, struct ioasid_window *args,
			 bool fixed)
{
	struct ioasid_window *window;
	unsigned long page;
	int rc;

	window = kmemdup(args, sizeof(*args), GFP_KERNEL_ACCOUNT);
	if (!window)
		return -ENOMEM;
	guard(mutex)(&ioas->lock);
	rc = open_window(ioas, window, fixed);
	if (rc)
		goto err_free;
	page = ioas->window_page;
	list_window(ioas, window);
	rc = leaves_out_mappings(ioas, window) ? -EBUSY :
						 ioasid_update_permitted(ioas);
	if (rc)
		goto err_close;
	args->first = window->first;
	args->last = window->last;
	return 0;

err_close:
	unlist_window(ioas, window);
	WRITE_ONCE(ioas->window_page, page);
	close_in_tables(ioas, window, NULL);
err_free:
	kfree(window);
	return rc;
}

/**
 * ioasid_window_remove - Close a window
 * @ioas: The address space
 * @first: Its first address
 *
 * Context: No lock is held.
 *
 * Return: 0; -ENOENT: no window starts there; -EBUSY: something is mapped in it, or
 * it was promised.
 */
int ioasid_window_remove(struct ioasid *ioas, unsigned long first)
{
	struct ioasid_window *window;
	struct mapping *map;

	guard(mutex)(&ioas->lock);
	window = window_find(ioas, first, first);
	if (!window || window->first != first)
		return -ENOENT;
	map = mapping_find(&ioas->mappings, first);
	if ((map && map->first <= window->last) || ioas->exact || ioas->allowed)
		return -EBUSY;
	close_in_tables(ioas, window, NULL);
	unlist_window(ioas, window);
	kfree(window);
	ioasid_widen_permitted(ioas);
	return 0;
}
