// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many mappings of what another address space maps: all of them or none.
 *
 * They are added one after the other under one hold of the lock. Until the last one
 * is there they are all leaving, so that no child begins to show what may have to
 * be taken back.
 */
#include <linux/slab.h>

#include "ioasid_private.h"
#include "trace.h"

/* ---- what is mapped ---- */

static unsigned int count_pieces(const struct mapping *map)
{
	return map->is_shadow && to_shadow(map)->span ?
		       to_shadow(map)->span->num : 1;
}

/* Up to parts->num. Return: whether they reach up to @last; sets their number. */
static bool fill_parts(struct ioasid *ioas, struct ioasid_parts *parts,
		       unsigned long first, unsigned long last)
{
	unsigned int max = parts->num;
	unsigned long cur = first;
	struct mapping_piece piece;
	struct ioasid_map *part;
	struct mapping *map;

	parts->num = 0;
	for_each_mapping(map, &ioas->mappings, first, last) {
		if (map->first > cur)
			return false;
		do {
			if (parts->num == max)
				return false;
			mapping_piece_at(map, cur, &piece);
			pinned_mem_get(piece.mem);
			part = &parts->part[parts->num++];
			part->mem = piece.mem;
			part->offset = piece.offset;
			part->length = min(piece.length - 1, last - cur) + 1;
			cur += part->length;
			cond_resched();
			if (cur == last + 1)
				return true;
		} while (cur != map->last + 1);
	}
	return false;
}

/**
 * ioasid_get_parts - Find the memory behind a range
 * @ioas: The address space
 * @first: First address
 * @length: In bytes, not 0; the range does not wrap
 * @parts: Output, for ioasid_put_parts()
 *
 * Context: No lock is held.
 *
 * Return: 0; -ENOENT: some of it is not mapped; -ENOMEM; -EINTR.
 */
int ioasid_get_parts(struct ioasid *ioas, unsigned long first,
		     unsigned long length, struct ioasid_parts *parts)
{
	unsigned long last = first + length - 1;
	struct mapping *map;
	bool all;

	parts->num = 0;
	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	for_each_mapping(map, &ioas->mappings, first, last) {
		parts->num += count_pieces(map);
		cond_resched();
	}
	mutex_unlock(&ioas->lock);
	if (!parts->num)
		return -ENOENT;
	if (ioasid_killed())
		return -EINTR;
	parts->part = kvcalloc(parts->num, sizeof(*parts->part),
			       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!parts->part)
		return -ENOMEM;

	mutex_lock(&ioas->lock);
	all = fill_parts(ioas, parts, first, last);
	mutex_unlock(&ioas->lock);
	if (all)
		return 0;
	ioasid_put_parts(parts);
	return -ENOENT;
}

/**
 * ioasid_put_parts - Undo ioasid_get_parts()
 * @parts: The parts. After ioasid_map_parts() none has a reference any more.
 */
void ioasid_put_parts(struct ioasid_parts *parts)
{
	unsigned int i;

	for (i = 0; i < parts->num; i++) {
		pinned_mem_put(parts->part[i].mem);
		cond_resched();
	}
	kvfree(parts->part);
}

/* ---- mapping it ---- */

static void finish_parts(struct ioasid_parts *parts, unsigned int num, int rc)
{
	while (num--) {
		ioasid_map_finish(&parts->part[num], rc);
		cond_resched();
	}
}

static int prepare_parts(struct ioasid *ioas, const struct ioasid_map *args,
			 struct ioasid_parts *parts)
{
	unsigned int i;
	int rc;

	for (i = 0; i < parts->num; i++) {
		parts->part[i].prot = args->prot;
		parts->part[i].hold = true;
		rc = ioasid_map_prepare(ioas, &parts->part[i]);
		if (rc) {
			finish_parts(parts, i, rc);
			return rc;
		}
		cond_resched();
	}
	return 0;
}

/* What is pinned before one cannot be is let go by finish_parts(). */
static int pin_parts(struct ioasid_parts *parts)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; !rc && i < parts->num; i++) {
		if (!parts->part[i].pinned)
			rc = ioasid_map_pin(&parts->part[i]);
		cond_resched();
	}
	return rc;
}

/* What speaks against all of them together; each is looked at again. */
static int check_parts(struct ioasid *ioas, const struct ioasid_map *args,
		       const struct ioasid_parts *parts)
{
	unsigned long last = args->first + args->length - 1;
	struct mapping_place place;
	int rc;

	rc = mapping_find_place(&ioas->mappings, args->first, last, &place);
	return rc ?: ioasid_check_room(ioas, args->first, last, parts->num);
}

static int place_parts(struct ioasid *ioas, struct ioasid_map *args,
		       struct ioasid_parts *parts)
{
	unsigned long first;
	unsigned int i;
	int rc = 0;

	if (args->alloc)
		rc = ioasid_choose_range(ioas, args);
	if (!rc)
		rc = check_parts(ioas, args, parts);
	if (rc)
		return rc;
	first = args->first;
	for (i = 0; i < parts->num; i++) {
		parts->part[i].first = first;
		first += parts->part[i].length;
		cond_resched();
	}
	return 0;
}

/* Takes the first ones out again; nobody has begun to use them. */
static void undo_parts(struct ioasid *ioas, struct ioasid_parts *parts,
		       unsigned int num)
{
	struct ioasid_removal removal;
	struct ioasid_map *part;

	ioasid_removal_begin(&removal, ioas, false);
	scoped_guard(mutex, &ioas->root->tree_lock)
		for (part = parts->part; part < parts->part + num; part++) {
			ioasid_removal_add(&removal, part->map);
			cond_resched();
		}
	ioasid_removal_flush(&removal);
	for (part = parts->part; part < parts->part + num; part++) {
		if (part->pinned)
			pinned_mem_put(part->mem);
		part->pinned |= part->map->pinned;
		part->map->pinned = false;
		cond_resched();
	}
}

static int map_parts_locked(struct ioasid *ioas, struct ioasid_map *args,
			    struct ioasid_parts *parts)
{
	unsigned int i;
	int rc;

	lockdep_assert_held(&ioas->lock);

	rc = place_parts(ioas, args, parts);
	if (rc)
		return rc;
	for (i = 0; i < parts->num; i++) {
		rc = ioasid_killed() ? -EINTR :
				       ioasid_map_locked(ioas, &parts->part[i]);
		if (rc) {
			undo_parts(ioas, parts, i);
			return rc;
		}
		cond_resched();
	}
	ioasid_set_range_state(ioas, args->first,
			       args->first + args->length - 1, MAPPING_LIVE);
	if (args->alloc)
		ioas->next_first = args->first + args->length;
	return 0;
}

static int pin_and_map_parts(struct ioasid *ioas, struct ioasid_map *args,
			     struct ioasid_parts *parts)
{
	bool pinned = false;
	int rc;

	for (;;) {
		if (ioasid_lock_killable(&ioas->lock))
			return -EINTR;
		rc = map_parts_locked(ioas, args, parts);
		mutex_unlock(&ioas->lock);
		if (rc != -EAGAIN || pinned)
			return rc;
		rc = pin_parts(parts);
		if (rc)
			return rc;
		pinned = true;
	}
}

/**
 * ioasid_map_parts - Add mappings of parts of memory, one behind the other
 * @ioas: The address space; its type allows it
 * @args: Where, and how: as for ioasid_map(), but not with replace
 * @parts: What to map; their lengths together are that of @args. On success the
 *         mappings take over the references.
 *
 * Context: No lock is held; sleeps for user memory.
 *
 * Return: As ioasid_map().
 */
int ioasid_map_parts(struct ioasid *ioas, struct ioasid_map *args,
		     struct ioasid_parts *parts)
{
	int rc;

	rc = prepare_parts(ioas, args, parts);
	if (!rc) {
		rc = pin_and_map_parts(ioas, args, parts);
		finish_parts(parts, parts->num, rc);
	}
	if (!rc)
		parts->num = 0;
	trace_ioasid_map(ioas->obj.id, args->first, args->length, args->prot,
			 rc);
	return rc;
}
