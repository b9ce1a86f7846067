// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty bits in kernel memory.
 *
 * Drivers of IOMMUs report what devices have written into a struct iova_bitmap.
 * The kernel's own, which is built as a part of this file, has its bits in the
 * memory of a process and pins that whenever a driver sets one, so a process
 * could keep whatever lock is held there for as long as it likes; and a bit that
 * it cannot set is lost. What only this file can do, because it sees into the
 * structure, is to make one whose bits are there already.
 */
#include "../iommufd/iova_bitmap.c"

#include "ioasid_private.h"

/**
 * ioasid_fill_bits - Let an IOMMU driver set bits in kernel memory
 * @window: The bits, and what they stand for
 * @fn: Calls the driver, with an iova_bitmap for exactly this range
 * @opaque: For @fn
 *
 * Return: What @fn returns.
 */
int ioasid_fill_bits(const struct dirty_window *window, iova_bitmap_fn_t fn,
		     void *opaque)
{
	/* With no index left it drops what is outside of the range. */
	struct iova_bitmap bitmap = {
		.mapped = {
			.iova = window->first,
			.length = window->length,
			.pgshift = window->shift,
			.pgoff = offset_in_page(window->bits->bits),
			.npages = window->bits->num_pages,
			.pages = window->bits->pages,
		},
	};

	return fn(&bitmap, window->first, window->length, opaque);
}
EXPORT_SYMBOL_NS_GPL(ioasid_fill_bits, "IOMMUFD_INTERNAL");
