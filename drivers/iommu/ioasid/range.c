// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of addresses: what is left of an address space after the apertures of
 * its page tables and the reserved regions of its devices are taken off.
 *
 * The functions take no locks; the caller protects the ranges.
 */
#include <linux/slab.h>

#include "ioasid_private.h"

/**
 * iova_ranges_alloc - Allocate an empty set of ranges
 * @max: Room in ranges. Cutting n times into one range needs n + 1.
 *
 * Return: The ranges, for kfree(), or NULL.
 */
struct iova_ranges *iova_ranges_alloc(unsigned int max)
{
	struct iova_ranges *ranges;

	ranges = kzalloc(struct_size(ranges, range, max), GFP_KERNEL_ACCOUNT);
	if (ranges)
		ranges->max = max;
	return ranges;
}

/**
 * iova_ranges_dup - Copy a set of ranges
 * @ranges: The set
 *
 * Return: The copy, for kfree(), or NULL.
 */
struct iova_ranges *iova_ranges_dup(const struct iova_ranges *ranges)
{
	return kmemdup(ranges, struct_size(ranges, range, ranges->max),
		       GFP_KERNEL_ACCOUNT);
}

/**
 * iova_ranges_set - Make a set of one range
 * @ranges: The set, with room for at least one
 * @first: First address
 * @last: Last address
 */
void iova_ranges_set(struct iova_ranges *ranges, unsigned long first,
		     unsigned long last)
{
	ranges->num = 1;
	ranges->range[0].first = first;
	ranges->range[0].last = last;
}

static void iova_ranges_delete(struct iova_ranges *ranges, unsigned int i)
{
	ranges->num--;
	memmove(&ranges->range[i], &ranges->range[i + 1],
		(ranges->num - i) * sizeof(ranges->range[0]));
}

static void iova_ranges_split(struct iova_ranges *ranges, unsigned int i,
			      unsigned long first, unsigned long last)
{
	if (WARN_ON_ONCE(ranges->num == ranges->max)) {
		/* Too little is safe, too much is not. */
		ranges->range[i].last = first - 1;
		return;
	}
	memmove(&ranges->range[i + 1], &ranges->range[i],
		(ranges->num - i) * sizeof(ranges->range[0]));
	ranges->num++;
	ranges->range[i].last = first - 1;
	ranges->range[i + 1].first = last + 1;
}

/**
 * iova_ranges_cut - Take addresses out of a set
 * @ranges: The set. It needs room for one more if [@first, @last] lies in the
 *          middle of a range.
 * @first: First address to take out
 * @last: Last address to take out
 */
void iova_ranges_cut(struct iova_ranges *ranges, unsigned long first,
		     unsigned long last)
{
	unsigned int i = 0;

	while (i < ranges->num) {
		struct iova_range *range = &ranges->range[i];

		if (range->last < first) {
			i++;
		} else if (range->first > last) {
			return;
		} else if (range->first >= first && range->last <= last) {
			iova_ranges_delete(ranges, i);
		} else if (range->first >= first) {
			range->first = last + 1;
			return;
		} else if (range->last <= last) {
			range->last = first - 1;
			i++;
		} else {
			iova_ranges_split(ranges, i, first, last);
			return;
		}
	}
}

/**
 * iova_ranges_touch - Look for addresses in a set
 * @ranges: The set
 * @first: First address
 * @last: Last address
 *
 * Return: Whether the set holds any of them.
 */
bool iova_ranges_touch(const struct iova_ranges *ranges, unsigned long first,
		       unsigned long last)
{
	unsigned int i;

	for (i = 0; i < ranges->num; i++)
		if (ranges->range[i].first <= last &&
		    ranges->range[i].last >= first)
			return true;
	return false;
}
