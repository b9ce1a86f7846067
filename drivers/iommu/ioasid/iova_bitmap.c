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
 * @bits: The bits, one for each page from @first on
 * @first: Address that the first bit stands for
 * @length: Length of what all bits stand for, in bytes
 * @fn: Calls the driver, with an iova_bitmap for exactly this range
 * @opaque: For @fn
 *
 * Return: What @fn returns.
 */
int ioasid_fill_bits(struct dirty_bits *bits, unsigned long first,
		     unsigned long length, iova_bitmap_fn_t fn, void *opaque)
{
	/* With no index left it drops what is outside of the range. */
	struct iova_bitmap bitmap = {
		.mapped = {
			.iova = first,
			.length = length,
			.pgshift = PAGE_SHIFT,
			.pgoff = offset_in_page(bits->bits),
			.npages = bits->num_pages,
			.pages = bits->pages,
		},
	};

	return fn(&bitmap, first, length, opaque);
}
EXPORT_SYMBOL_NS_GPL(ioasid_fill_bits, "IOMMUFD_INTERNAL");
