// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which mappings of an address space hold pins.
 *
 * Invariant under ioasid.lock: as long as a root has a pinner, every mapping of it
 * holds a pin, and every page table has every mapping. What is registered for
 * others always holds one. Shadows never hold any: their root has a pinner as
 * long as anybody needs their memory. Pinning needs the lock dropped, so:
 *
 *  - MAP pins first if it sees that this is needed, and looks again with the lock
 *    held before the mapping is there.
 *  - An attachment counts itself as a pinner, so that every MAP from then on pins,
 *    then pins what is there already, and only then makes a page table.
 *  - When the last pinner goes, its page table is gone already, and mappings
 *    drop their pins, but for those that in-kernel accesses use.
 */
#include "ioasid_private.h"

/**
 * mark_pinned - Note that a mapping holds a pin
 * @ioas: The address space
 * @map: The mapping, in the tree or about to be
 *
 * Context: ioas->lock is held.
 */
void mark_pinned(struct ioasid *ioas, struct mapping *map)
{
	map->pinned = true;
	WRITE_ONCE(ioas->pinned_bytes,
		   ioas->pinned_bytes + mapping_length(map));
}

static void mark_unpinned(struct ioasid *ioas, struct mapping *map)
{
	map->pinned = false;
	WRITE_ONCE(ioas->pinned_bytes,
		   ioas->pinned_bytes - mapping_length(map));
}

/**
 * ioasid_pin_mapping - Pin the memory of a mapping in the tree
 * @ioas: The address space, a root
 * @map: A mapping without a pin
 *
 * Context: ioas->lock is held, and dropped and taken again: @map may be gone
 * afterwards, and so may be its pin.
 *
 * Return: 0, also if the mapping has gone; or what pinned_mem_pin() says.
 */
int ioasid_pin_mapping(struct ioasid *ioas, struct mapping *map)
{
	struct pinned_mem *mem = map->mem;
	unsigned long first = map->first;
	bool keep = false, gone = false;
	int rc;

	lockdep_assert_held(&ioas->lock);

	pinned_mem_get(mem);
	mutex_unlock(&ioas->lock);
	rc = pinned_mem_pin(mem);
	mutex_lock(&ioas->lock);
	/* The reference to the memory rules out another one there. */
	map = mapping_find(&ioas->mappings, first);
	if (!map || map->mem != mem || map->first != first) {
		/* Gone: then it does not matter that it cannot be pinned. */
		gone = rc != -EINTR;
	} else if (!rc && !map->pinned) {
		mark_pinned(ioas, map);
		keep = true;
	}
	if (!keep) {
		mutex_unlock(&ioas->lock);
		if (!rc)
			pinned_mem_unpin(mem);
		pinned_mem_put(mem);
		mutex_lock(&ioas->lock);
		return gone ? 0 : rc;
	}
	pinned_mem_put(mem);
	return 0;
}

static int pin_all(struct ioasid *ioas)
{
	struct mapping *map;
	unsigned long first;
	int rc;

	map = mapping_find(&ioas->mappings, 0);
	while (map) {
		if (map->pinned) {
			map = mapping_next(map);
			cond_resched();
			continue;
		}
		first = map->first;
		rc = ioasid_pin_mapping(ioas, map);
		if (rc)
			return rc;
		/* What comes to be there meanwhile is pinned by its MAP. */
		map = mapping_find(&ioas->mappings, first);
	}
	return 0;
}

/**
 * ioasid_unpin_idle - Unpin what nobody needs pinned
 * @ioas: The address space
 *
 * Does nothing while pins are kept. Mappings that in-kernel accesses use keep
 * theirs anyway.
 *
 * Context: No lock is held.
 */
void ioasid_unpin_idle(struct ioasid *ioas)
{
	struct pinned_mem *mem;
	struct mapping *map;
	unsigned long first;

	mutex_lock(&ioas->lock);
	map = mapping_find(&ioas->mappings, 0);
	while (map && !ioasid_keeps_pins(ioas)) {
		if (!map->pinned || map->num_accesses) {
			map = mapping_next(map);
			cond_resched();
			continue;
		}
		first = map->first;
		mem = map->mem;
		mark_unpinned(ioas, map);
		pinned_mem_get(mem);
		mutex_unlock(&ioas->lock);
		pinned_mem_unpin(mem);
		pinned_mem_put(mem);
		cond_resched();
		mutex_lock(&ioas->lock);
		map = mapping_find(&ioas->mappings, first);
	}
	mutex_unlock(&ioas->lock);
}

static void root_put(struct ioasid *root, unsigned int num)
{
	bool last;

	mutex_lock(&root->lock);
	WRITE_ONCE(root->num_pinners, root->num_pinners - num);
	last = !root->num_pinners;
	WARN_ON(last && !list_empty(&root->tables));
	mutex_unlock(&root->lock);
	if (last)
		ioasid_unpin_idle(root);
}

static int root_get(struct ioasid *root, unsigned int num)
{
	int rc;

	mutex_lock(&root->lock);
	WRITE_ONCE(root->num_pinners, root->num_pinners + num);
	/* What is registered for others is pinned as long as it is there. */
	rc = root->type == IOMMU_IOASID_TYPE_PREREG ? 0 : pin_all(root);
	mutex_unlock(&root->lock);
	if (rc)
		root_put(root, num);
	return rc;
}

/**
 * ioasid_pinners_get - Have the memory of all mappings pinned from now on
 * @ioas: The address space
 * @num: How many attachments this stands for
 *
 * Context: No lock is held; sleeps for user memory.
 *
 * Return: 0, or what pinned_mem_pin() says, with nothing changed.
 */
int ioasid_pinners_get(struct ioasid *ioas, unsigned int num)
{
	bool held;
	int rc;

	if (!ioas->parent)
		return root_get(ioas, num);

	/* All pinners of a child are one of its root. */
	rc = root_get(ioas->root, 1);
	if (rc)
		return rc;
	mutex_lock(&ioas->lock);
	WRITE_ONCE(ioas->num_pinners, ioas->num_pinners + num);
	held = ioas->holds_root;
	ioas->holds_root = true;
	mutex_unlock(&ioas->lock);
	if (held)
		root_put(ioas->root, 1);
	return 0;
}

/**
 * ioasid_pinners_put - Undo ioasid_pinners_get()
 * @ioas: The address space. If this is its last pinner it has no page table.
 * @num: As it was taken
 *
 * Context: No lock is held.
 */
void ioasid_pinners_put(struct ioasid *ioas, unsigned int num)
{
	bool last;

	if (!ioas->parent) {
		root_put(ioas, num);
		return;
	}
	mutex_lock(&ioas->lock);
	WRITE_ONCE(ioas->num_pinners, ioas->num_pinners - num);
	last = !ioas->num_pinners;
	WARN_ON(last && !list_empty(&ioas->tables));
	if (last)
		ioas->holds_root = false;
	mutex_unlock(&ioas->lock);
	if (last)
		root_put(ioas->root, 1);
}
