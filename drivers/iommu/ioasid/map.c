// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of an address space: disjoint ranges in a red-black tree by address.
 *
 * Everything here is under a lock of the caller: to look, the lock of the address
 * space or the tree_lock; to change, both. Nothing here knows page tables; memory
 * is only referenced.
 */
#include <linux/slab.h>

#include "ioasid_private.h"

/**
 * mapping_alloc - Make a mapping
 * @mem: The memory that it will show, or NULL. Where nobody else knows it yet, the
 *       mapping lies beside it.
 *
 * Return: A mapping, as mapping_init() leaves it, for mapping_release(), or NULL.
 */
struct mapping *mapping_alloc(struct pinned_mem *mem)
{
	struct mapping *map;

	if (ioasid_should_fail())
		return NULL;
	if (!mem || refcount_read(&mem->refs) > 1 || mem->has_mapping) {
		map = kmalloc_obj(*map, GFP_KERNEL_ACCOUNT);
		if (map)
			mapping_init(map);
		return map;
	}
	mem->has_mapping = true;
	pinned_mem_get(mem);
	map = &container_of(mem, struct mem_with_mapping, mem)->map;
	mapping_init(map);
	map->beside_mem = true;
	return map;
}

/**
 * mapping_release - Free a mapping
 * @map: The mapping, in no tree; its memory has been let go
 */
void mapping_release(struct mapping *map)
{
	struct mem_with_mapping *both;

	if (!map->beside_mem) {
		kfree(map);
		return;
	}
	both = container_of(map, struct mem_with_mapping, map);
	both->mem.has_mapping = false;
	pinned_mem_put(&both->mem);
}

/**
 * mapping_put - Let go of a mapping's memory, and free it
 * @map: The mapping, in no tree, without a pin
 */
void mapping_put(struct mapping *map)
{
	struct mem_with_mapping *both;

	both = container_of(map, struct mem_with_mapping, map);
	if (map->beside_mem && map->mem == &both->mem) {
		both->mem.has_mapping = false;
		pinned_mem_put_many(&both->mem, 2);
		return;
	}
	pinned_mem_put(map->mem);
	mapping_release(map);
}

/**
 * mapping_find - Find the mapping at or behind an address
 * @tree: The tree
 * @first: The address
 *
 * Return: The first mapping whose last address is not below @first, or NULL.
 */
struct mapping *mapping_find(const struct mapping_tree *tree,
			     unsigned long first)
{
	struct mapping *found = NULL, *hint = tree->hint, *next = tree->next;
	struct rb_node *node = tree->root.rb_node;

	if (next && next->first <= first && first <= next->last)
		return next;
	if (hint && hint->last < first && (!next || first < next->first))
		return next;
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

/* Whether the range lies between the hint and its successor */
static bool place_behind_hint(const struct mapping_tree *tree,
			      unsigned long first, unsigned long last,
			      struct mapping_place *place)
{
	struct mapping *hint = tree->hint, *next = tree->next;

	if (!hint || hint->last >= first || (next && next->first <= last))
		return false;
	/* One of the two has no child on the side of the other. */
	if (hint->node.rb_right) {
		place->parent = &next->node;
		place->link = &next->node.rb_left;
	} else {
		place->parent = &hint->node;
		place->link = &hint->node.rb_right;
	}
	place->next = next;
	return true;
}

/**
 * mapping_find_place - Find where a new mapping belongs
 * @tree: The tree
 * @first: First address
 * @last: Last address
 * @place: Output, for mapping_link() as long as nobody changes the tree
 *
 * Return: 0, or -EEXIST if a mapping overlaps the range.
 */
int mapping_find_place(struct mapping_tree *tree, unsigned long first,
		       unsigned long last, struct mapping_place *place)
{
	struct rb_node **link = &tree->root.rb_node;
	struct rb_node *parent = NULL;
	struct mapping *next = NULL;

	if (place_behind_hint(tree, first, last, place))
		return 0;
	while (*link) {
		struct mapping *cur = rb_entry(*link, struct mapping, node);

		parent = *link;
		if (last < cur->first) {
			next = cur;
			link = &parent->rb_left;
		} else if (first > cur->last) {
			link = &parent->rb_right;
		} else {
			return -EEXIST;
		}
	}
	place->parent = parent;
	place->link = link;
	place->next = next;
	return 0;
}

/**
 * mapping_insert - Put a mapping into a tree
 * @tree: The tree
 * @map: The mapping, first and last set
 *
 * Return: 0, or -EEXIST if it overlaps another; then the tree is as before.
 */
int mapping_insert(struct mapping_tree *tree, struct mapping *map)
{
	struct mapping_place place;
	int rc;

	rc = mapping_find_place(tree, map->first, map->last, &place);
	if (!rc)
		mapping_link(tree, map, &place);
	return rc;
}

/**
 * mapping_erase - Take a mapping out of a tree
 * @tree: The tree
 * @map: The mapping; the caller owns it again
 *
 * Return: The mapping that was behind it, or NULL.
 */
struct mapping *mapping_erase(struct mapping_tree *tree, struct mapping *map)
{
	/* What is behind the hint is known. */
	if (map == tree->hint) {
		tree->hint = NULL;
	} else {
		if (map != tree->next)
			tree->hint = NULL;
		tree->next = mapping_next(map);
	}
	rb_erase(&map->node, &tree->root);
	return tree->next;
}

/* The lowest address from @from on that is @phase modulo @align; 0 on wrap. */
static bool align_up_to_phase(unsigned long from, unsigned long align,
			      unsigned long phase, unsigned long *res)
{
	unsigned long gap = (phase - from) & (align - 1);

	return !check_add_overflow(from, gap, res);
}

/* The lowest place for @length inside [first, last], between mappings. */
static bool find_room_in(struct mapping_tree *tree, unsigned long first,
			 unsigned long last, unsigned long length,
			 unsigned long align, unsigned long phase,
			 unsigned long *res)
{
	struct mapping *map = mapping_find(tree, first);
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
 * @tree: The tree of mappings to avoid
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
int mapping_find_room(struct mapping_tree *tree, const struct iova_ranges *ranges,
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
			if (find_room_in(tree, max(range->first, floors[pass]),
					 range->last, length, align, phase,
					 first))
				return 0;
		}
	return -ENOSPC;
}

/**
 * mapping_split - Cut a mapping in two
 * @tree: The tree
 * @map: A live mapping in the tree, not a shadow, without pins of in-kernel accesses
 * @at: First address of the second part; not the mapping's first one
 *
 * No page table may hold the mapping as an entry larger than the parts: the
 * parts can be unmapped separately from now on. A pin that the mapping holds
 * is shared: each part holds one.
 *
 * Return: The second part, or -ENOMEM with nothing changed.
 */
struct mapping *mapping_split(struct mapping_tree *tree, struct mapping *map,
			      unsigned long at)
{
	struct mapping *tail;
	int rc;

	tail = mapping_alloc(NULL);
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
		mapping_release(tail);
		return ERR_PTR(rc);
	}
	pinned_mem_get(tail->mem);
	if (tail->pinned)
		pinned_mem_pin_again(tail->mem);

	map->last = at - 1;
	WARN_ON(mapping_insert(tree, tail));
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

/**
 * mapping_is_aligned - Hold a mapping against an alignment
 * @map: The mapping
 * @alignment: A power of two
 *
 * Return: Whether its addresses, and where its memory starts, are multiples of it.
 */
bool mapping_is_aligned(const struct mapping *map, unsigned long alignment)
{
	return IS_ALIGNED(map->first | (map->last + 1) | map->offset,
			  alignment) &&
	       (!map->is_shadow ||
		shadow_is_aligned(to_shadow(map), alignment));
}
