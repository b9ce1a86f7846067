// SPDX-License-Identifier: GPL-2.0-only
/*
 * REVOKE: take memory away from children that show it, and from theirs.
 *
 * Three phases. First all mappings that would go are marked, down the tree, so that
 * nobody builds anything on them any more. Then in-kernel accesses are asked to
 * let go of them; if one does not, the marks are taken back, and nothing has
 * changed. The third phase does not fail and allocates nothing: from the leaves to
 * the root, whole mappings, never parts of them, leave all page tables of each
 * child, which is flushed once. The caller lets the memory go after that.
 *
 * A child may unmap a marked mapping by itself at any time. Children do not end
 * while the revoke_lock is held.
 */
#include "ioasid_private.h"

static void mark_mapping(struct ioasid *parent, const struct mapping *map,
			 struct list_head *children);

/* As deep as the tree is, IOMMU_IOASID_MAX_DEPTH at most. */
static void mark_shadow(struct shadow *shadow, struct list_head *children)
{
	struct ioasid *child = shadow->ioas;

	if (shadow->revoking)
		return;
	WRITE_ONCE(shadow->revoking, true);
	list_add_tail(&shadow->entry, &child->revoked);
	if (list_empty(&child->revoke_entry))
		list_add_tail(&child->revoke_entry, children);
	mark_mapping(child, &shadow->map, children);
	cond_resched();
}

/* Marks what children show of a mapping, and collects these children. */
static void mark_mapping(struct ioasid *parent, const struct mapping *map,
			 struct list_head *children)
{
	struct interval_tree_node *node;
	struct shadow *shadow;

	hlist_for_each_entry(shadow, &map->shadows, sibling)
		mark_shadow(shadow, children);
	for_each_span(node, parent, map->first, map->last)
		mark_shadow(container_of(node, struct shadow_span,
					 node)->shadow, children);
}

static void mark_range(struct ioasid *parent, unsigned long first,
		       unsigned long last, struct list_head *children)
{
	struct mapping *map;

	guard(mutex)(&parent->root->tree_lock);
	for_each_mapping(map, &parent->mappings, first, last) {
		if (map->state == MAPPING_LEAVING)
			mark_mapping(parent, map, children);
		cond_resched();
	}
}

/*
 * The next mapping of a child that is to go and in use. Those that are not are moved
 * to @idle. What goes by itself is on no list any more.
 */
static struct mapping *find_accessed(struct ioasid *child,
				     struct list_head *idle)
{
	struct shadow *shadow, *next;

	lockdep_assert_held(&child->lock);

	guard(mutex)(&child->root->tree_lock);
	list_for_each_entry_safe(shadow, next, &child->revoked, entry) {
		if (shadow->map.num_accesses)
			return &shadow->map;
		list_move_tail(&shadow->entry, idle);
		cond_resched();
	}
	return NULL;
}

static int release_child(struct ioasid *child)
{
	unsigned long first, last;
	struct mapping *map;
	LIST_HEAD(idle);
	int rc = 0;

	lockdep_assert_held(&child->unmap_lock);

	guard(mutex)(&child->lock);
	while (!rc && (map = find_accessed(child, &idle))) {
		first = map->first;
		last = map->last;
		if (ioasid_killed())
			rc = -EINTR;
		else if (ioasid_access_locked(child, first, last))
			rc = -EBUSY;
		else
			rc = ioasid_release_accesses(child, first, last);
		/* The mark is enough from now on. */
		if (!rc)
			ioasid_set_range_state(child, first, last,
					       MAPPING_LIVE);
	}
	guard(mutex)(&child->root->tree_lock);
	list_splice(&idle, &child->revoked);
	return rc;
}

static int release_children(const struct list_head *children)
{
	struct ioasid *child;
	int rc = 0;

	list_for_each_entry(child, children, revoke_entry) {
		if (ioasid_lock_killable(&child->unmap_lock))
			return -EINTR;
		rc = release_child(child);
		mutex_unlock(&child->unmap_lock);
		if (rc)
			break;
	}
	return rc;
}

static void unmark_child(struct ioasid *child)
{
	struct shadow *shadow, *next;

	guard(mutex)(&child->root->tree_lock);
	list_for_each_entry_safe(shadow, next, &child->revoked, entry) {
		WRITE_ONCE(shadow->revoking, false);
		list_del_init(&shadow->entry);
		cond_resched();
	}
}

static void take_out_of(struct ioasid *child)
{
	struct shadow *shadow, *next;
	struct ioasid_removal removal;
	struct mapping *map;

	ioasid_removal_begin(&removal, child, false);
	scoped_guard(mutex, &child->lock) {
		scoped_guard(mutex, &child->root->tree_lock) {
			list_for_each_entry_safe(shadow, next, &child->revoked,
						 entry) {
				list_del_init(&shadow->entry);
				ioasid_removal_add(&removal, &shadow->map);
				cond_resched();
			}
		}
		ioasid_removal_flush(&removal);
		list_for_each_entry(map, &removal.gone, entry)
			ioasid_revoked_event(child, map);
	}
	ioasid_free_mappings(&removal.gone);
}

/**
 * ioasid_revoke - Take out what descendants show of a range
 * @parent: The address space
 * @first: First address
 * @last: Last address. The mappings there are leaving, so that no child can begin
 *        to show them.
 *
 * Context: The root's revoke_lock and @parent->unmap_lock are held. Calls in-kernel
 * accesses of descendants back.
 *
 * Return: 0: no page table below any descendant reaches the range any more, the
 * IOMMUs' caches included. -EBUSY: an in-kernel access does not let go; -EINTR:
 * fatal signal. Nothing was taken out then.
 */
int ioasid_revoke(struct ioasid *parent, unsigned long first,
		  unsigned long last)
{
	struct ioasid *child, *next;
	LIST_HEAD(children);
	int rc;

	lockdep_assert_held(&parent->root->revoke_lock);

	mark_range(parent, first, last, &children);
	rc = release_children(&children);
	/*
	 * Parents stand before their children, and must go after them: what a child
	 * shows may be unmapped by anybody as soon as the child does not show it
	 * any more.
	 */
	list_for_each_entry_safe_reverse(child, next, &children, revoke_entry) {
		if (rc)
			unmark_child(child);
		else
			take_out_of(child);
		list_del_init(&child->revoke_entry);
		cond_resched();
	}
	return rc;
}
