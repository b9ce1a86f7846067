// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP: how mappings come to be there.
 *
 * Memory is pinned before the lock is taken if it looks as if that were needed, and
 * what the range is held against comes after it. With the lock held nothing is
 * waited for but page tables: the range is looked at, the tables get the mapping,
 * and then it is in the tree, so nobody ever sees one that may still fail.
 *
 * A mapping that takes the place of others is entered when the IOMMUs have
 * forgotten those, because some of them must never know two translations of an
 * address. If it cannot be entered, the others come back.
 */
#include <linux/sizes.h>
#include <linux/slab.h>

#include "ioasid_private.h"
#include "trace.h"

static struct mutex *tree_lock_of(const struct ioasid *ioas)
{
	return &ioas->root->tree_lock;
}

/* ---- the mappings that are being made ---- */

static struct mapping *mapping_new(struct ioasid *ioas,
				   const struct ioasid_slice *slice, unsigned int prot)
{
	struct dirty_bits *dirty = NULL;
	struct shadow *shadow;
	struct mapping *map;

	if (ioas->dirty) {
		dirty = dirty_bits_alloc(slice->length, PAGE_SHIFT);
		if (IS_ERR(dirty))
			return ERR_CAST(dirty);
	}
	if (ioas->parent) {
		shadow = shadow_alloc(ioas);
		map = shadow ? &shadow->map : NULL;
	} else {
		map = mapping_alloc(slice->mem);
	}
	if (!map) {
		dirty_bits_free(dirty);
		return ERR_PTR(-ENOMEM);
	}
	map->mem = slice->mem;
	map->offset = slice->offset;
	map->prot = prot | IOMMU_CACHE;
	map->dirty = dirty;
	return map;
}

/* Frees it, but what it holds. */
static void mapping_abort(struct mapping *map)
{
	dirty_bits_free(map->dirty);
	if (map->is_shadow)
		shadow_free(to_shadow(map));
	else
		mapping_release(map);
}

/**
 * ioasid_mapping_free - Free a mapping and let go of its memory
 * @map: The mapping, in no tree and no page table, invalidations included
 *
 * Context: May sleep. No lock of an address space or a group is held.
 */
void ioasid_mapping_free(struct mapping *map)
{
	if (!map->is_shadow) {
		if (map->pinned)
			pinned_mem_unpin(map->mem);
		pinned_mem_put(map->mem);
	}
	mapping_abort(map);
}

/**
 * ioasid_free_mappings - Free mappings and let go of their memory
 * @gone: A list of mappings, as for ioasid_mapping_free()
 */
void ioasid_free_mappings(struct list_head *gone)
{
	struct mapping *map, *next;

	list_for_each_entry_safe(map, next, gone, entry) {
		ioasid_mapping_free(map);
		cond_resched();
	}
}

/**
 * ioasid_count_mapping - Keep the counters
 * @ioas: The address space
 * @map: A mapping
 * @added: It has been added; else it was taken out
 *
 * Context: ioas->lock is held.
 */
void ioasid_count_mapping(struct ioasid *ioas, const struct mapping *map,
			  bool added)
{
	u64 length = mapping_length(map);

	if (!added)
		length = -length;
	WRITE_ONCE(ioas->num_mappings, ioas->num_mappings + (added ? 1 : -1));
	WRITE_ONCE(ioas->mapped_bytes, ioas->mapped_bytes + length);
	if (map->pinned)
		WRITE_ONCE(ioas->pinned_bytes, ioas->pinned_bytes + length);
}

/* ---- pins ---- */

static void unpin_slices(struct ioasid_map *args, unsigned int num)
{
	while (num--)
		pinned_mem_unpin(args->slice[num].mem);
}

/**
 * ioasid_map_pin - Pin what is to be mapped
 * @args: What to map, prepared and not pinned
 *
 * Context: No lock is held; sleeps for user memory.
 *
 * Return: 0, or what pinned_mem_pin() says, with nothing changed.
 */
int ioasid_map_pin(struct ioasid_map *args)
{
	unsigned int i;
	int rc;

	for (i = 0; i < args->num_slices; i++) {
		rc = pinned_mem_pin(args->slice[i].mem);
		if (rc) {
			unpin_slices(args, i);
			return rc;
		}
	}
	args->pinned = true;
	return 0;
}

/* ---- where ---- */

static int choose_range(struct ioasid *ioas, struct ioasid_map *args)
{
	const struct iova_ranges *ranges = ioas->allowed ?: ioas->permitted;
	unsigned long align[] = { max(args->align, ioas->alignment),
				  max(args->least_align, ioas->alignment) };
	unsigned int i;
	int rc;

	for (i = 0; i < ARRAY_SIZE(align); i++) {
		rc = mapping_find_room(&ioas->mappings, ranges,
				       ioas->next_first, args->length, align[i],
				       args->phase, &args->first);
		if (!rc || align[0] == align[1])
			break;
	}
	return rc;
}

static bool slices_aligned(const struct ioasid *ioas,
			   const struct ioasid_map *args)
{
	unsigned long bits = args->first | args->length;
	unsigned int i;

	for (i = 0; i < args->num_slices; i++)
		bits |= args->slice[i].offset | args->slice[i].length;
	return IS_ALIGNED(bits, ioas->alignment);
}

/*
 * Whether what lies in the range may be replaced; counts it. Then it is leaving, so
 * that no child begins to show it, until it has gone or end_replace().
 */
static int begin_replace(struct ioasid *ioas, const struct ioasid_map *args,
			 unsigned long last, unsigned int *num)
{
	struct mapping *map, *found = mapping_find(&ioas->mappings, args->first);
	const struct iommufd_hw_pagetable *pt;
	bool busy = false;

	if (found && found->first < args->first)
		return -EINVAL;
	/* What was written would be lost if the old mappings had to come back. */
	list_for_each_entry(pt, &ioas->tables, entry)
		if (pt->dirty)
			return -EINVAL;
	guard(mutex)(tree_lock_of(ioas));
	for (map = found; map && map->first <= last; map = mapping_next(map)) {
		/* Its exporter may not let it come back. */
		if (map->last > last || map->mem->source == PINNED_MEM_DMA_BUF)
			return -EINVAL;
		if (map->num_accesses || mapping_is_leaving(map) ||
		    !hlist_empty(&map->shadows))
			busy = true;
		++*num;
		cond_resched();
	}
	if (busy ||
	    (*num && spans_touch(ioas, args->first, last)) ||
	    (*num &&
	     ioasid_access_locked(ioas, args->first, last)))
		return -EBUSY;
	for (map = found; map && map->first <= last; map = mapping_next(map))
		map->state = MAPPING_LEAVING;
	return 0;
}

static void end_replace(struct ioasid *ioas, const struct ioasid_map *args)
{
	ioasid_set_range_state(ioas, args->first,
			       args->first + args->length - 1, MAPPING_LIVE);
}

/*
 * Everything that speaks against the range, in the documented order. @place is
 * where a single new mapping belongs, if nothing is replaced.
 */
static int check_place(struct ioasid *ioas, struct ioasid_map *args,
		       struct mapping_place *place)
{
	unsigned int replaced = 0;
	unsigned long last;
	int rc;

	if (!slices_aligned(ioas, args))
		return -EINVAL;
	if (args->alloc) {
		rc = choose_range(ioas, args);
		if (rc)
			return rc;
	}
	last = args->first + args->length - 1;
	if (args->replace)
		rc = begin_replace(ioas, args, last, &replaced);
	else
		rc = mapping_find_place(&ioas->mappings, args->first, last,
					place);
	if (rc)
		return rc;
	if (ioas->num_mappings - replaced + args->num_slices >
	    READ_ONCE(ioasid_dma_entry_limit))
		rc = -ENOSPC;
	else if (!iova_ranges_contain(ioas->permitted, args->first, last))
		rc = -EINVAL;
	if (rc && args->replace)
		end_replace(ioas, args);
	return rc;
}

static void set_addresses(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned long first = args->first;
	unsigned int i;

	for (i = 0; i < args->num_slices; i++) {
		struct mapping *map = args->slice[i].map;

		map->first = first;
		first += args->slice[i].length;
		map->last = first - 1;
		map->pinned = args->pinned && ioasid_keeps_pins(ioas);
	}
}

/* ---- page tables ---- */

static int enter_mapping(struct ioasid *ioas, struct mapping *map)
{
	struct iommufd_hw_pagetable *pt;
	int rc;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		rc = pgtable_map(pt, map);
		if (rc)
			goto err_unmap;
	}
	return 0;

err_unmap:
	list_for_each_entry_continue_reverse(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		pgtable_unmap(pt, map);
		pgtable_sync(pt);
	}
	return rc;
}

static void take_out_mapping(struct ioasid *ioas, struct mapping *map)
{
	struct iommufd_hw_pagetable *pt;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		pgtable_unmap(pt, map);
		pgtable_sync(pt);
	}
}

static int enter_slices(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned int i;
	int rc;

	for (i = 0; i < args->num_slices; i++) {
		rc = enter_mapping(ioas, args->slice[i].map);
		if (rc)
			goto err_unmap;
	}
	return 0;

err_unmap:
	while (i--)
		take_out_mapping(ioas, args->slice[i].map);
	return rc;
}

/* In the tree are still the old ones. */
static int replace_in_table(struct iommufd_hw_pagetable *pt,
			    const struct mapping *new)
{
	struct mapping *old;
	int rc;

	for_each_mapping(old, &pt->ioas->mappings, new->first, new->last)
		pgtable_unmap(pt, old);
	pgtable_sync(pt);
	rc = pgtable_map(pt, new);
	if (rc)
		for_each_mapping(old, &pt->ioas->mappings, new->first, new->last)
			pgtable_restore(pt, old);
	return rc;
}

static void undo_replace(struct iommufd_hw_pagetable *pt,
			 const struct mapping *new)
{
	struct mapping *old;

	pgtable_unmap(pt, new);
	pgtable_sync(pt);
	for_each_mapping(old, &pt->ioas->mappings, new->first, new->last)
		pgtable_restore(pt, old);
}

static int replace_in_tables(struct ioasid *ioas, const struct mapping *new)
{
	struct iommufd_hw_pagetable *pt;
	int rc;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		rc = replace_in_table(pt, new);
		if (rc)
			goto err_undo;
	}
	return 0;

err_undo:
	list_for_each_entry_continue_reverse(pt, &ioas->tables, entry)
		if (pt->filled)
			undo_replace(pt, new);
	return rc;
}

/* ---- the tree ---- */

static void link_slices(struct ioasid *ioas, struct ioasid_map *args,
			const struct mapping_place *place)
{
	unsigned int i;

	guard(mutex)(tree_lock_of(ioas));
	if (args->num_slices == 1) {
		mapping_link(&ioas->mappings, args->slice[0].map, place);
		ioasid_count_mapping(ioas, args->slice[0].map, true);
		return;
	}
	for (i = 0; i < args->num_slices; i++) {
		WARN_ON(mapping_insert(&ioas->mappings, args->slice[i].map));
		ioasid_count_mapping(ioas, args->slice[i].map, true);
		cond_resched();
	}
}

static void replace_in_tree(struct ioasid *ioas, struct ioasid_map *args)
{
	struct mapping *new = args->slice[0].map, *old;

	guard(mutex)(tree_lock_of(ioas));
	while ((old = mapping_find(&ioas->mappings, new->first)) &&
	       old->first <= new->last) {
		mapping_erase(&ioas->mappings, old);
		ioasid_count_mapping(ioas, old, false);
		if (old->is_shadow)
			shadow_leave(to_shadow(old));
		list_add_tail(&old->entry, &args->replaced);
		cond_resched();
	}
	WARN_ON(mapping_insert(&ioas->mappings, new));
	ioasid_count_mapping(ioas, new, true);
}

static int add_mappings(struct ioasid *ioas, struct ioasid_map *args,
			const struct mapping_place *place)
{
	int rc;

	if (args->replace) {
		rc = replace_in_tables(ioas, args->slice[0].map);
		if (!rc)
			replace_in_tree(ioas, args);
	} else {
		rc = enter_slices(ioas, args);
		if (!rc)
			link_slices(ioas, args, place);
	}
	return rc;
}

static int add_shadow(struct ioasid *ioas, struct ioasid_map *args,
		      const struct mapping_place *place)
{
	struct shadow *shadow = to_shadow(args->slice[0].map);
	int rc;

	rc = shadow_enter(shadow, args->slice[0].offset, args->length,
			  args->prot);
	if (rc)
		return rc;
	rc = add_mappings(ioas, args, place);
	if (rc) {
		guard(mutex)(tree_lock_of(ioas));
		shadow_leave(shadow);
	}
	return rc;
}

/* ---- MAP ---- */

/* It is pinned at once, and children could not be told when it goes. */
static int check_registered(const struct ioasid *ioas,
			    const struct pinned_mem *mem)
{
	if (!atomic_read(&ioas->ictx->num_bound))
		return -EPERM;
	return mem->source == PINNED_MEM_DMA_BUF ? -EOPNOTSUPP : 0;
}

/**
 * ioasid_map_prepare - Do what MAP does without a lock
 * @ioas: The address space
 * @args: What to map
 *
 * Context: No lock is held; sleeps for user memory.
 *
 * Return: 0, then ioasid_map_finish() follows; or an errno, with nothing changed.
 */
int ioasid_map_prepare(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned int i, num = args->num_slices;
	struct mapping *map;
	int rc;

	INIT_LIST_HEAD(&args->replaced);
	args->pinned = false;
	for (i = 0; i < num; i++) {
		/* A child shows its parent's memory, others have their own. */
		rc = !args->slice[i].mem == !!ioas->parent ? 0 : -EINVAL;
		if (!rc && ioas->type == IOMMU_IOASID_TYPE_PREREG)
			rc = check_registered(ioas, args->slice[i].mem);
		if (rc)
			goto err_abort;
		map = mapping_new(ioas, &args->slice[i], args->prot);
		if (IS_ERR(map)) {
			rc = PTR_ERR(map);
			goto err_abort;
		}
		args->slice[i].map = map;
	}
	return 0;

err_abort:
	while (i--)
		mapping_abort(args->slice[i].map);
	return rc;
}

/* The mappings have the pins now, unless the last pinner has gone meanwhile. */
static void settle_pins(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned int i;

	args->pinned = !ioasid_keeps_pins(ioas);
	for (i = 0; args->pinned && i < args->num_slices; i++)
		pinned_mem_get(args->slice[i].mem);
}

/**
 * ioasid_map_locked - Do what MAP does with the lock held
 * @ioas: The address space
 * @args: What to map, prepared
 *
 * Context: ioas->lock is held.
 *
 * Return: 0; -EAGAIN: the memory must be pinned first; or an errno in the order that
 * struct iommu_map_dma documents, with nothing changed.
 */
int ioasid_map_locked(struct ioasid *ioas, struct ioasid_map *args)
{
	struct mapping_place place;
	int rc;

	lockdep_assert_held(&ioas->lock);

	rc = check_place(ioas, args, &place);
	if (rc)
		return rc;
	if (ioasid_keeps_pins(ioas) && !args->pinned) {
		rc = -EAGAIN;
	} else {
		set_addresses(ioas, args);
		rc = ioas->parent ? add_shadow(ioas, args, &place) :
				    add_mappings(ioas, args, &place);
	}
	if (rc && args->replace)
		end_replace(ioas, args);
	if (rc)
		return rc;
	if (args->alloc)
		ioas->next_first = args->first + args->length;
	if (args->pinned)
		settle_pins(ioas, args);
	return 0;
}

/**
 * ioasid_map_finish - Undo ioasid_map_prepare(), but what has become of it
 * @ioas: The address space
 * @args: What ioasid_map_locked() has mapped, or not
 * @rc: What that said, 0 if the mappings are there
 *
 * Context: No lock is held; may sleep.
 */
void ioasid_map_finish(struct ioasid *ioas, struct ioasid_map *args, int rc)
{
	unsigned int i;

	if (args->pinned)
		unpin_slices(args, args->num_slices);
	for (i = 0; i < args->num_slices; i++) {
		if (rc)
			mapping_abort(args->slice[i].map);
		else if (args->pinned)
			pinned_mem_put(args->slice[i].mem);
	}
	if (args->replace)
		ioasid_free_mappings(&args->replaced);
}

static int pin_and_map(struct ioasid *ioas, struct ioasid_map *args)
{
	int rc, rc_pin = 0;

	if (ioasid_keeps_pins(ioas))
		rc_pin = ioasid_map_pin(args);
	for (;;) {
		if (ioasid_lock_killable(&ioas->lock))
			return -EINTR;
		/* What is wrong with the range is said first. */
		rc = ioasid_map_locked(ioas, args);
		mutex_unlock(&ioas->lock);
		if (rc != -EAGAIN || args->pinned)
			return rc;
		if (rc_pin)
			return rc_pin;
		rc_pin = ioasid_map_pin(args);
	}
}

/**
 * ioasid_map - Add mappings
 * @ioas: The address space; its type allows it
 * @args: What to map. On success the mappings take over the caller's references
 *        to the memory of the slices.
 *
 * Context: No lock is held; sleeps for user memory.
 *
 * Return: 0, or an errno in the order that struct iommu_map_dma documents, with
 * nothing changed.
 */
int ioasid_map(struct ioasid *ioas, struct ioasid_map *args)
{
	int rc;

	rc = ioasid_map_prepare(ioas, args);
	if (!rc) {
		rc = pin_and_map(ioas, args);
		ioasid_map_finish(ioas, args, rc);
	}
	trace_ioasid_map(ioas->obj.id, args->first, args->length, args->prot,
			 rc);
	return rc;
}

/* ---- what is mapped ---- */

static unsigned int count_pieces(const struct mapping *map)
{
	return map->is_shadow && to_shadow(map)->span ?
		       to_shadow(map)->span->num : 1;
}

/* Return: how many slices; they reach up to @next. */
static unsigned int fill_slices(struct ioasid *ioas, struct ioasid_slice *slice,
				unsigned int max, unsigned long first,
				unsigned long last, unsigned long *next)
{
	struct mapping_piece piece;
	unsigned int num = 0;
	struct mapping *map;

	*next = first;
	for_each_mapping(map, &ioas->mappings, first, last) {
		if (map->first > *next)
			break;
		do {
			if (num == max)
				return num;
			mapping_piece_at(map, *next, &piece);
			pinned_mem_get(piece.mem);
			slice[num].mem = piece.mem;
			slice[num].offset = piece.offset;
			slice[num].length = min(piece.length - 1,
						last - *next) + 1;
			*next += slice[num++].length;
			cond_resched();
		} while (*next != last + 1 && *next != map->last + 1);
		cond_resched();
	}
	return num;
}

/**
 * ioasid_get_slices - Find the memory behind a range
 * @ioas: The address space
 * @first: First address
 * @length: In bytes, not 0; the range does not wrap
 * @args: Output: slices and length, for ioasid_put_slices()
 *
 * Context: No lock is held.
 *
 * Return: 0; -ENOENT: some of it is not mapped; -ENOMEM; -EINTR.
 */
int ioasid_get_slices(struct ioasid *ioas, unsigned long first,
		      unsigned long length, struct ioasid_map *args)
{
	unsigned long last = first + length - 1, next;
	struct ioasid_slice *slice;
	unsigned int max = 0;
	struct mapping *map;

	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	for_each_mapping(map, &ioas->mappings, first, last) {
		max += count_pieces(map);
		cond_resched();
	}
	mutex_unlock(&ioas->lock);
	if (!max)
		return -ENOENT;
	if (ioasid_killed())
		return -EINTR;
	slice = kvcalloc(max, sizeof(*slice), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!slice)
		return -ENOMEM;

	args->slice = slice;
	args->length = length;
	mutex_lock(&ioas->lock);
	args->num_slices = fill_slices(ioas, slice, max, first, last, &next);
	mutex_unlock(&ioas->lock);
	if (next == last + 1)
		return 0;
	ioasid_put_slices(args);
	return -ENOENT;
}

/**
 * ioasid_put_slices - Undo ioasid_get_slices()
 * @args: The slices, if they have not been mapped
 */
void ioasid_put_slices(struct ioasid_map *args)
{
	unsigned int i;

	for (i = 0; i < args->num_slices; i++)
		pinned_mem_put(args->slice[i].mem);
	kvfree(args->slice);
}

/**
 * ioasid_cut - Divide the mapping that holds an address, if there is one
 * @ioas: The address space
 * @last: Becomes the last address of the first part
 *
 * Context: No lock is held.
 *
 * Return: 0, also if there is nothing to divide; -EINVAL: page tables may hold
 * it as something larger, in-kernel accesses use it, or the parts would not be
 * aligned; -EBUSY: it is being removed, or a child shows it; -EOPNOTSUPP: memory of a device, or a
 * child's; -ENOSPC: too many mappings; -ENOMEM; -EINTR.
 */
int ioasid_cut(struct ioasid *ioas, unsigned long last)
{
	struct mapping *map;
	int rc = 0;

	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	map = mapping_find(&ioas->mappings, last);
	if (!map || map->first > last || map->last == last)
		goto out_unlock;
	/* Nobody begins to show it: that would show both parts. */
	mutex_lock(tree_lock_of(ioas));
	rc = -EBUSY;
	if (map->state != MAPPING_LIVE || !hlist_empty(&map->shadows) ||
	    spans_touch(ioas, map->first, map->last))
		goto out_tree;
	rc = -EOPNOTSUPP;
	if (map->is_shadow || map->mem->source == PINNED_MEM_DMA_BUF)
		goto out_tree;
	rc = -EINVAL;
	if (!IS_ALIGNED((last + 1) | (map->offset + (last + 1 - map->first)),
			ioas->alignment) || map->num_accesses ||
	    (!list_empty(&ioas->tables) && !ioas->single_pages))
		goto out_tree;
	rc = -ENOSPC;
	if (ioas->num_mappings >= READ_ONCE(ioasid_dma_entry_limit))
		goto out_tree;
	map = mapping_split(&ioas->mappings, map, last + 1);
	rc = PTR_ERR_OR_ZERO(map);
	if (!rc)
		WRITE_ONCE(ioas->num_mappings, ioas->num_mappings + 1);
out_tree:
	mutex_unlock(tree_lock_of(ioas));
out_unlock:
	mutex_unlock(&ioas->lock);
	return rc;
}
