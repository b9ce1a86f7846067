// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of children: what memory is behind them, and how the parent finds them.
 *
 * A child maps a range of its parent's addresses. The memory behind that is looked
 * up once, and kept in pieces with the mapping: the parent may itself be a child,
 * whose mappings have pieces already, so depth costs nothing. The parent finds
 * mappings of its children by its own addresses: those that show one piece of one
 * mapping are in a list of that, the others are in an interval tree. As long as
 * one is there, what it shows stays mapped in the parent, and so pinned as long
 * as the root keeps its pins; that is why pieces hold no references.
 *
 * All of this is under the tree_lock, which is held to look and to write down only,
 * never to wait for page tables or user memory.
 */
#include <linux/slab.h>

#include "ioasid_private.h"

/**
 * shadow_alloc - Make a mapping of a child
 * @ioas: The child
 *
 * Return: The mapping, which shows nothing, for shadow_free(), or NULL.
 */
struct shadow *shadow_alloc(struct ioasid *ioas)
{
	struct shadow *shadow;

	if (ioasid_should_fail())
		return NULL;
	shadow = record_alloc(ioas->ictx ? &ioas->ictx->shadows : NULL,
			      sizeof(*shadow));
	if (!shadow)
		return NULL;
	mapping_init(&shadow->map);
	shadow->map.is_shadow = true;
	shadow->ioas = ioas;
	shadow->span = NULL;
	shadow->entered = false;
	shadow->revoking = false;
	return shadow;
}

/**
 * shadow_free - Free a mapping of a child
 * @shadow: The mapping; it shows nothing
 */
void shadow_free(struct shadow *shadow)
{
	WARN_ON_ONCE(shadow->entered);
	if (unlikely(shadow->span))
		kvfree(shadow->span);
	record_free(shadow);
}

/* ---- pieces ---- */

/* Of one mapping: far from what counters can count */
#define MAX_PIECES BIT(28)

/*
 * What is being looked up, and where it is put: what there is no room for is only
 * counted.
 */
struct search {
	struct shadow *shadow;
	struct shadow_span *span;
	unsigned int room;
	unsigned int num;
	struct shadow_piece last;
};

/* Neighbours are joined where they can be. */
static void add_piece(struct search *search, unsigned long start,
		      const struct mapping_piece *piece)
{
	struct shadow_piece *last = &search->last;

	if (search->num && last->mem == piece->mem &&
	    last->offset + (start - last->start) == piece->offset)
		return;
	*last = (struct shadow_piece){
		.start = start,
		.mem = piece->mem,
		.offset = piece->offset,
	};
	if (search->num < search->room)
		search->span->piece[search->num] = *last;
	if (search->num <= MAX_PIECES)
		search->num++;
}

static int check_source(const struct mapping *map, unsigned int prot)
{
	if (mapping_is_leaving(map))
		return -EBUSY;
	if (prot & ~map->prot)
		return -EPERM;
	return map->mem->source == PINNED_MEM_DMA_BUF ? -EINVAL : 0;
}

/* Looks up what is behind a range of the parent. */
static int find_pieces(struct search *search, struct mapping *map,
		       unsigned long first, unsigned long last,
		       unsigned int prot)
{
	unsigned long alignment = min(search->shadow->ioas->alignment,
				      PAGE_SIZE);
	struct mapping_piece piece;
	unsigned long cur = first;
	int rc;

	search->num = 0;
	for (; map && map->first <= cur; map = mapping_next(map)) {
		rc = check_source(map, prot);
		if (rc)
			return rc;
		do {
			mapping_piece_at(map, cur, &piece);
			piece.length = min(piece.length, last - cur + 1);
			/* Below that, tables cannot have what lies in several. */
			if (!IS_ALIGNED(cur | piece.offset | piece.length,
					alignment))
				return -EINVAL;
			add_piece(search, cur - first, &piece);
			if (piece.length > last - cur)
				return 0;
			cur += piece.length;
			if (ioasid_killed())
				return -EINTR;
			cond_resched();
		} while (cur - 1 != map->last);
	}
	return -ENOENT;
}

static void enter_span(struct search *search, unsigned long first,
		       unsigned long last)
{
	struct shadow *shadow = search->shadow;
	struct shadow_span *span = search->span;

	span->num = search->num;
	span->shadow = shadow;
	span->node.start = first;
	span->node.last = last;
	interval_tree_insert(&span->node, &shadow->ioas->parent->spans);
	shadow->span = span;
	shadow->map.mem = span->piece[0].mem;
	shadow->map.offset = span->piece[0].offset;
	shadow->entered = true;
	shadow->ioas->parent->num_shadows++;
}

/*
 * Shows a part of one mapping. Return: as shadow_enter(), or 1: it is not one
 * mapping, or it has pieces.
 */
static __always_inline int enter_one(struct shadow *shadow, unsigned long first,
				     unsigned long last, unsigned int prot)
{
	struct ioasid *parent = shadow->ioas->parent;
	struct mapping *map = mapping_find(&parent->mappings, first);
	struct mapping_piece piece __uninitialized;
	int rc;

	if (!map || first < map->first || last > map->last)
		return 1;
	rc = check_source(map, prot);
	if (rc)
		return rc;
	mapping_piece_at(map, first, &piece);
	if (piece.length <= last - first)
		return 1;
	/* What children map is aligned to pages at least, or to a window's. */
	if (!IS_ALIGNED(first | piece.offset | (last + 1),
			shadow->ioas->alignment))
		return -EINVAL;
	shadow->map.mem = piece.mem;
	shadow->map.offset = piece.offset;
	hlist_add_head(&shadow->sibling, &map->shadows);
	shadow->entered = true;
	parent->num_shadows++;
	return 0;
}

/* Return: as shadow_enter(), or how many pieces there should be room for. */
static int try_show(struct search *search, unsigned long first,
		    unsigned long last, unsigned int prot)
{
	struct ioasid *parent = search->shadow->ioas->parent;
	struct mapping *map;
	int rc;

	guard(mutex)(&parent->root->tree_lock);
	/* It may have become one piece meanwhile. */
	rc = enter_one(search->shadow, first, last, prot);
	if (rc <= 0)
		return rc;
	map = mapping_find(&parent->mappings, first);
	rc = find_pieces(search, map, first, last, prot);
	if (rc)
		return rc;
	if (search->num > MAX_PIECES)
		return -ENOMEM;
	if (search->num > search->room)
		return search->num;
	enter_span(search, first, last);
	return 0;
}

static struct shadow_span *span_alloc(unsigned int room)
{
	if (ioasid_should_fail())
		return NULL;
	return kvmalloc(struct_size_t(struct shadow_span, piece, room),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
}

static noinline int enter_pieces(struct shadow *shadow, unsigned long first,
				 unsigned long last, unsigned int prot)
{
	struct search search = { .shadow = shadow };
	int rc;

	/* More may be needed when the memory for them is there. */
	while ((rc = try_show(&search, first, last, prot)) > 0) {
		kvfree(search.span);
		search.room = rc;
		search.span = span_alloc(search.room);
		if (!search.span)
			return -ENOMEM;
	}
	if (!shadow->span)
		kvfree(search.span);
	if (rc)
		return rc;
	if (shadow_is_aligned(shadow, shadow->ioas->alignment))
		return 0;
	scoped_guard(mutex, &shadow->ioas->root->tree_lock)
		shadow_leave(shadow);
	return -EINVAL;
}

/**
 * shadow_enter - Let a mapping show a range of the parent
 * @shadow: The mapping, not in the child's tree yet
 * @source: First address in the parent
 * @length: In bytes, not 0; the range does not wrap
 * @prot: What of IOMMU_READ and IOMMU_WRITE it needs
 *
 * From now on the range stays mapped in the parent.
 *
 * Context: The child's lock is held; may allocate.
 *
 * Return: 0; -ENOENT: some of the range is not mapped; -EPERM: some is mapped
 * without the permission; -EBUSY: some is about to be unmapped; -EINVAL: memory of
 * a device, or something that ends inside of a page, or is not aligned as the child
 * needs it; -ENOMEM; -EINTR: fatal signal. Nothing has changed then.
 */
int shadow_enter(struct shadow *shadow, unsigned long source,
		 unsigned long length, unsigned int prot)
{
	struct mutex *tree_lock = &shadow->ioas->root->tree_lock;
	unsigned long last = source + length - 1;
	int rc;

	lockdep_assert_held(&shadow->ioas->lock);

	mutex_lock(tree_lock);
	rc = enter_one(shadow, source, last, prot);
	mutex_unlock(tree_lock);
	return unlikely(rc > 0) ? enter_pieces(shadow, source, last, prot) : rc;
}

/**
 * shadow_leave - Undo shadow_enter()
 * @shadow: The mapping. No page table has it any more, invalidations included.
 *
 * Context: The tree_lock is held.
 */
void shadow_leave(struct shadow *shadow)
{
	struct ioasid *parent = shadow->ioas->parent;

	lockdep_assert_held(&parent->root->tree_lock);

	if (shadow->span)
		interval_tree_remove(&shadow->span->node, &parent->spans);
	else
		__hlist_del(&shadow->sibling);
	shadow->entered = false;
	parent->num_shadows--;
	if (unlikely(shadow->revoking))
		list_del(&shadow->entry);
	WRITE_ONCE(shadow->revoking, false);
}

/**
 * shadow_piece_at - Find the memory at a place in a mapping of several pieces
 * @shadow: The mapping
 * @skip: The place, in bytes from its first address
 * @piece: Output: what is there, up to the end of that piece
 */
void shadow_piece_at(const struct shadow *shadow, unsigned long skip,
		     struct mapping_piece *piece)
{
	const struct shadow_span *span = shadow->span;
	unsigned int low = 0, high = span->num;
	const struct shadow_piece *found;
	unsigned long end;

	while (high - low > 1) {
		unsigned int mid = low + (high - low) / 2;

		if (span->piece[mid].start <= skip)
			low = mid;
		else
			high = mid;
	}
	found = &span->piece[low];
	end = high < span->num ? span->piece[high].start :
				 mapping_length(&shadow->map);
	piece->mem = found->mem;
	piece->offset = found->offset + (skip - found->start);
	piece->length = end - skip;
	piece->before = skip - found->start;
}

/**
 * shadow_is_aligned - Hold the pieces of a mapping against an alignment
 * @shadow: The mapping
 * @alignment: A power of two
 *
 * Return: Whether all start at multiples of it, in the mapping and in memory.
 */
bool shadow_is_aligned(const struct shadow *shadow, unsigned long alignment)
{
	const struct shadow_span *span = shadow->span;
	unsigned int i;

	if (!IS_ALIGNED(shadow->map.offset, alignment))
		return false;
	for (i = 0; span && i < span->num; i++)
		if (!IS_ALIGNED(span->piece[i].start | span->piece[i].offset,
				alignment))
			return false;
	return true;
}
