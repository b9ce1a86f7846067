// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP: how mappings come to be there.
 *
 * Memory is pinned before the lock is taken if it looks as if that were needed, and
 * what the range is held against comes after it. With the lock held nothing is
 * waited for but page tables: the range is looked at, the tables get the mapping,
 * and then it is in the tree, so nobody ever sees one that may still fail. (Several
 * that belong together are kept from being used until all are there: ioas_copy.c.)
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

/* ---- the mapping that is being made ---- */

static struct mapping *mapping_new(struct ioasid *ioas,
				   const struct ioasid_map *args)
{
	struct shadow *shadow;

	if (!ioas->parent)
		return mapping_alloc(args->mem);
	shadow = shadow_alloc(ioas);
	return shadow ? &shadow->map : NULL;
}

/* Frees it, but what it holds. */
static void mapping_abort(struct mapping *map)
{
	if (unlikely(map->dirty))
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
	if (unlikely(map->dirty))
		dirty_bits_free(map->dirty);
	if (map->is_shadow) {
		shadow_free(to_shadow(map));
		return;
	}
	if (map->pinned)
		pinned_mem_unpin(map->mem);
	mapping_put(map);
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
 * Context: No lock is held; allocates memory.
 *
 * Return: 0, then ioasid_map_finish() follows; or an errno, with nothing changed.
 */
int ioasid_map_prepare(struct ioasid *ioas, struct ioasid_map *args)
{
	struct dirty_bits *dirty = NULL;
	struct mapping *map;
	int rc;

	/* A child shows its parent's memory, others have their own. */
	if (!args->mem != !!ioas->parent)
		return -EINVAL;
	if (ioas->type == IOMMU_IOASID_TYPE_PREREG) {
		rc = check_registered(ioas, args->mem);
		if (rc)
			return rc;
	}
	if (ioas->dirty) {
		dirty = dirty_bits_alloc(args->length, PAGE_SHIFT);
		if (IS_ERR(dirty))
			return PTR_ERR(dirty);
	}
	map = mapping_new(ioas, args);
	if (!map) {
		dirty_bits_free(dirty);
		return -ENOMEM;
	}
	map->mem = args->mem;
	map->offset = args->offset;
	map->prot = args->prot | IOMMU_CACHE;
	map->state = args->hold ? MAPPING_LEAVING : MAPPING_LIVE;
	map->dirty = dirty;
	args->map = map;
	args->pinned = false;
	if (args->replace)
		INIT_LIST_HEAD(&args->replaced);
	return 0;
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
	int rc = pinned_mem_pin(args->mem);

	args->pinned = !rc;
	return rc;
}

/**
 * ioasid_map_settle - The slow part of ioasid_map_finish()
 * @args: What ioasid_map_locked() has mapped, or not
 * @rc: What that said, 0 if the mapping is there
 *
 * Context: No lock is held; may sleep.
 */
void ioasid_map_settle(struct ioasid_map *args, int rc)
{
	if (args->pinned) {
		pinned_mem_unpin(args->mem);
		/* keep_pin() took it. */
		if (!rc)
			pinned_mem_put(args->mem);
	}
	if (rc)
		mapping_abort(args->map);
	if (args->replace)
		ioasid_free_mappings(&args->replaced);
}

/* ---- where ---- */

/**
 * ioasid_choose_range - Choose the address of a new mapping
 * @ioas: The address space
 * @args: What to map; @args->first is set
 *
 * Context: ioas->lock is held.
 *
 * Return: 0 or -ENOSPC.
 */
int ioasid_choose_range(struct ioasid *ioas, struct ioasid_map *args)
{
	const struct iova_ranges *ranges = ioas->allowed ?: ioas->permitted;
	unsigned long align[] = { max(args->align, ioas->alignment),
				  max(args->least_align, ioas->alignment) };
	unsigned int i;
	int rc;

	lockdep_assert_held(&ioas->lock);

	for (i = 0; i < ARRAY_SIZE(align); i++) {
		if (ioas->num_windows)
			rc = ioasid_choose_in_windows(ioas, ranges, args,
						      align[i]);
		else
			rc = mapping_find_room(&ioas->mappings, ranges,
					       ioas->next_first, args->length,
					       align[i], args->phase,
					       &args->first);
		if (!rc || align[0] == align[1])
			break;
	}
	return rc;
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
	if (*num && (busy || spans_touch(ioas, args->first, last) ||
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
 * where the mapping belongs, if nothing is replaced.
 */
static __always_inline int check_place(struct ioasid *ioas,
				       struct ioasid_map *args,
				       struct mapping_place *place)
{
	unsigned int replaced = 0;
	unsigned long last;
	int rc;

	if (!IS_ALIGNED(args->first | args->length | args->offset,
			ioas->alignment))
		return -EINVAL;
	if (args->alloc) {
		rc = ioasid_choose_range(ioas, args);
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
	rc = ioasid_check_room(ioas, args->first, last, 1L - replaced);
	if (unlikely(ioas->num_windows) && !rc &&
	    !ioasid_window_holds(ioas, args->first, last, args->offset))
		rc = -EINVAL;
	if (rc && args->replace)
		end_replace(ioas, args);
	return rc;
}

/* ---- page tables ---- */

/* Takes a mapping out of the tables that stand before @end in the list. */
static void leave_tables(struct ioasid *ioas, const struct mapping *map,
			 struct iommufd_hw_pagetable *end)
{
	struct iommufd_hw_pagetable *pt = end;

	list_for_each_entry_continue_reverse(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		pgtable_unmap(pt, map);
		pgtable_sync(pt);
	}
}

static __always_inline int enter_tables(struct ioasid *ioas,
					const struct mapping *map)
{
	struct iommufd_hw_pagetable *pt;
	int rc;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		rc = pgtable_map(pt, map);
		if (unlikely(rc)) {
			leave_tables(ioas, map, pt);
			return rc;
		}
	}
	return 0;
}

static void restore_in_table(struct iommufd_hw_pagetable *pt,
			     const struct mapping *new)
{
	struct mapping *old;

	for_each_mapping(old, &pt->ioas->mappings, new->first, new->last)
		pgtable_restore(pt, old);
}

/* In the tree are still the old ones. */
static int replace_in_table(struct iommufd_hw_pagetable *pt,
			    const struct mapping *new)
{
	struct mapping *old;
	int rc;

	if (!pt->overwrites) {
		for_each_mapping(old, &pt->ioas->mappings, new->first,
				 new->last)
			pgtable_unmap(pt, old);
		pgtable_sync(pt);
	}
	rc = pgtable_map(pt, new);
	if (rc)
		restore_in_table(pt, new);
	return rc;
}

static noinline int replace_in_tables(struct ioasid *ioas, const struct mapping *new)
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
	list_for_each_entry_continue_reverse(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		pgtable_unmap(pt, new);
		pgtable_sync(pt);
		restore_in_table(pt, new);
	}
	return rc;
}

/* ---- the tree ---- */

static noinline void replace_in_tree(struct ioasid *ioas, struct ioasid_map *args)
{
	struct mapping *new = args->map;
	struct mapping *old = mapping_find(&ioas->mappings, new->first), *next;

	for (; old && old->first <= new->last; old = next) {
		next = mapping_erase(&ioas->mappings, old);
		ioasid_count_mapping(ioas, old, false);
		if (old->is_shadow)
			shadow_leave(to_shadow(old));
		list_add_tail(&old->entry, &args->replaced);
		cond_resched();
	}
	WARN_ON(mapping_insert(&ioas->mappings, new));
}

/* ---- MAP ---- */

/* What has been looked up and entered: now nothing can fail any more. */
static __always_inline void add_mapping(struct ioasid *ioas,
					struct ioasid_map *args,
					const struct mapping_place *place)
{
	struct mutex *tree_lock = tree_lock_of(ioas);
	struct mapping *map = args->map;

	mutex_lock(tree_lock);
	if (unlikely(args->replace))
		replace_in_tree(ioas, args);
	else
		mapping_link(&ioas->mappings, map, place);
	ioasid_count_mapping(ioas, map, true);
	mutex_unlock(tree_lock);
}

/* The mapping has the pin now, unless the last pinner has gone meanwhile. */
static __always_inline void keep_pin(struct ioasid_map *args)
{
	if (args->map->pinned)
		args->pinned = false;
	else
		pinned_mem_get(args->mem);
}

static void shadow_abort(struct ioasid *ioas, struct shadow *shadow)
{
	guard(mutex)(tree_lock_of(ioas));
	shadow_leave(shadow);
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
	struct mapping *map = args->map;
	struct mapping_place place __uninitialized;
	int rc;

	lockdep_assert_held(&ioas->lock);

	rc = check_place(ioas, args, &place);
	if (rc)
		return rc;
	map->first = args->first;
	map->last = args->first + args->length - 1;
	map->pinned = ioasid_keeps_pins(ioas);
	if (map->pinned && !args->pinned)
		rc = -EAGAIN;
	else if (ioas->parent)
		rc = shadow_enter(to_shadow(map), args->offset, args->length,
				  args->prot);
	if (unlikely(rc))
		goto err_replace;
	rc = unlikely(args->replace) ? replace_in_tables(ioas, map) :
				       enter_tables(ioas, map);
	if (unlikely(rc))
		goto err_shadow;
	add_mapping(ioas, args, &place);
	if (args->alloc)
		ioas->next_first = args->first + args->length;
	if (args->pinned)
		keep_pin(args);
	return 0;

err_shadow:
	/* That would not mean what it means here. */
	if (rc == -EAGAIN)
		rc = -EIO;
	if (ioas->parent)
		shadow_abort(ioas, to_shadow(map));
err_replace:
	if (args->replace)
		end_replace(ioas, args);
	return rc;
}

static __always_inline int pin_and_map(struct ioasid *ioas,
				       struct ioasid_map *args)
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
		if (likely(rc != -EAGAIN) || args->pinned)
			return rc;
		if (rc_pin)
			return rc_pin;
		rc_pin = ioasid_map_pin(args);
	}
}

/**
 * ioasid_map - Add a mapping
 * @ioas: The address space; its type allows it
 * @args: What to map. On success the mapping takes over the caller's reference to
 *        the memory.
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
		ioasid_map_finish(args, rc);
	}
	trace_ioasid_map(ioas->obj.id, args->first, args->length, args->prot,
			 rc);
	return rc;
}

/* ---- cuts ---- */

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
	    (ioas->num_windows &&
	     !(ioasid_window_holds(ioas, map->first, last, 0) &&
	       ioasid_window_holds(ioas, last + 1, map->last, 0))) ||
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
