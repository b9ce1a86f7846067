// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of an address space: disjoint ranges in a red-black tree by address.
 *
 * Everything here is under the lock of the address space, taken by the caller.
 * Nothing here knows page tables; memory is only referenced.
 */
#include <linux/slab.h>

#include "ioasid_private.h"

/**
 * mapping_find - Find the mapping at or behind an address
 * @root: The tree
 * @first: The address
 *
 * Return: The first mapping whose last address is not below @first, or NULL.
 */
struct mapping *mapping_find(struct rb_root *root, unsigned long first)
{
	struct rb_node *node = root->rb_node;
	struct mapping *found = NULL;

	while (node) {
		struct mapping *map = rb_entry(node, struct mapping, node);

		if (map->last < first) {
			node = node->rb_right;
		} else {
			found = map;
			if (map->first <= first)
				break;
			node = node->rb_left;
		}
	}
	return found;
}

/**
 * mapping_next - The mapping behind a mapping
 * @map: A mapping in a tree
 *
 * Return: The next mapping by address, or NULL.
 */
struct mapping *mapping_next(struct mapping *map)
{
	return rb_entry_safe(rb_next(&map->node), struct mapping, node);
}

/**
 * mapping_insert - Put a mapping into a tree
 * @root: The tree
 * @map: The mapping, first and last set
 *
 * Return: 0, or -EEXIST if it overlaps another; then the tree is as before.
 */
int mapping_insert(struct rb_root *root, struct mapping *map)
{
	struct rb_node **link = &root->rb_node;
	struct rb_node *parent = NULL;

	while (*link) {
		struct mapping *cur = rb_entry(*link, struct mapping, node);

		parent = *link;
		if (map->last < cur->first)
			link = &parent->rb_left;
		else if (map->first > cur->last)
			link = &parent->rb_right;
		else
			return -EEXIST;
	}
	rb_link_node(&map->node, parent, link);
	rb_insert_color(&map->node, root);
	return 0;
}

/**
 * mapping_erase - Take a mapping out of a tree
 * @root: The tree
 * @map: The mapping; the caller owns it again
 */
void mapping_erase(struct rb_root *root, struct mapping *map)
{
	rb_erase(&map->node, root);
}

/* The lowest address from @from on that is @phase modulo @align; 0 on wrap. */
static bool align_up_to_phase(unsigned long from, unsigned long align,
			      unsigned long phase, unsigned long *res)
{
	unsigned long gap = (phase - from) & (align - 1);

	return !check_add_overflow(from, gap, res);
}

/* The lowest place for @length inside [first, last], between mappings. */
static bool find_room_in(struct rb_root *root, unsigned long first,
			 unsigned long last, unsigned long length,
			 unsigned long align, unsigned long phase,
			 unsigned long *res)
{
	struct mapping *map = mapping_find(root, first);
	unsigned long cur = first;

	while (align_up_to_phase(cur, align, phase, &cur)) {
		unsigned long cur_last;

		if (check_add_overflow(cur, length - 1, &cur_last) ||
		    cur_last > last)
			return false;
		while (map && map->last < cur) {
			map = mapping_next(map);
			cond_resched();
		}
		if (!map || map->first > cur_last) {
			*res = cur;
			return true;
		}
		if (map->last == ULONG_MAX)
			return false;
		cur = map->last + 1;
		cond_resched();
	}
	return false;
}

/**
 * mapping_find_room - Find a free range of addresses
 * @root: The tree of mappings to avoid
 * @ranges: Where the range may lie
 * @from: Address to start from; the search goes on from the lowest address if
 *        there is no room behind it
 * @length: Length of the range in bytes, not 0
 * @align: A power of two
 * @phase: What the result is modulo @align
 * @first: Output: start of the range
 *
 * Address 0 is never chosen, so that programs can use it as "none".
 *
 * Return: 0, or -ENOSPC.
 */
int mapping_find_room(struct rb_root *root, const struct iova_ranges *ranges,
		      unsigned long from, unsigned long length,
		      unsigned long align, unsigned long phase,
		      unsigned long *first)
{
	unsigned long floors[] = { max(from, 1UL), 1 };
	unsigned int pass, i;

	for (pass = 0; pass < ARRAY_SIZE(floors); pass++)
		for (i = 0; i < ranges->num; i++) {
			const struct iova_range *range = &ranges->range[i];

			if (range->last < floors[pass])
				continue;
			if (find_room_in(root, max(range->first, floors[pass]),
					 range->last, length, align, phase,
					 first))
				return 0;
		}
	return -ENOSPC;
}

/**
 * mapping_split - Cut a mapping in two
 * @root: The tree
 * @map: A live mapping in the tree, without pins of in-kernel accesses
 * @at: First address of the second part; not the mapping's first one
 *
 * No page table may hold the mapping as an entry larger than the parts: the
 * parts can be unmapped separately from now on. A pin that the mapping holds
 * is shared: each part holds one.
 *
 * Return: The second part, or -ENOMEM with nothing changed.
 */
struct mapping *mapping_split(struct rb_root *root, struct mapping *map,
			      unsigned long at)
{
	struct mapping *tail;
	int rc;

	tail = kzalloc_obj(*tail, GFP_KERNEL_ACCOUNT);
	if (!tail)
		return ERR_PTR(-ENOMEM);

	tail->first = at;
	tail->last = map->last;
	tail->offset = map->offset + (at - map->first);
	tail->mem = map->mem;
	tail->prot = map->prot;
	tail->state = map->state;
	tail->pinned = map->pinned;
	rc = dirty_split(map, tail);
	if (rc) {
		kfree(tail);
		return ERR_PTR(rc);
	}
	pinned_mem_get(tail->mem);
	if (tail->pinned)
		pinned_mem_pin_again(tail->mem);

	map->last = at - 1;
	WARN_ON(mapping_insert(root, tail));
	return tail;
}

/**
 * mapping_rebase - Give a mapping another source of the same memory
 * @map: A live mapping that holds no pin
 * @mem: The new source; the mapping takes over the caller's reference
 * @offset: Where the slice starts in @mem, in bytes
 * @old: Output: the old source, with the mapping's reference to it
 *
 * Later pins come from, and are charged to, the new source.
 */
void mapping_rebase(struct mapping *map, struct pinned_mem *mem,
		    unsigned long offset, struct pinned_mem **old)
{
	WARN_ON(map->pinned);
	*old = map->mem;
	map->mem = mem;
	map->offset = offset;
}
