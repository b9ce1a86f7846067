// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty tracking: which pages of an address space were written.
 *
 * IOMMUs note writes in the entries of page tables, where they are lost when
 * the entry goes, and in-kernel users note nothing. So each mapping of an
 * address space that may be tracked has a bit for each page.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "ioasid_private.h"

/* ---- the bits of a mapping ---- */

/**
 * dirty_bits_alloc - Make the bits of a mapping, all clear
 * @length: Length of the mapping in bytes
 *
 * Return: The bits, for dirty_bits_free(), or an error pointer: -EINVAL: more
 * than INT_MAX pages; -ENOMEM.
 */
struct dirty_bits *dirty_bits_alloc(unsigned long length)
{
	unsigned long i, num_pages, num = DIV_ROUND_UP(length, PAGE_SIZE);
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
		unsigned long a = max(map->first + (bit << PAGE_SHIFT), first);
		unsigned long z = map->first + ((end - 1) << PAGE_SHIFT);
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
	bits = dirty_bits_alloc(mapping_length(tail));
	if (IS_ERR(bits))
		return PTR_ERR(bits);
	tail->dirty = bits;
	dirty_collect(head, tail->first, tail->last, PAGE_SHIFT, bits->bits);
	return 0;
}
