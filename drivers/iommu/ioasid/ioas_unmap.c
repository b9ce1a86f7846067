// SPDX-License-Identifier: GPL-2.0-only
/*
 * UNMAP: how mappings go.
 *
 * A mapping goes in this order: in-kernel accesses have let go of it; it is taken
 * out of every page table; every IOMMU has forgotten it; it is not in the tree
 * and not in the parent's shadows any more; and then, with no lock held, its
 * memory is let go. Many mappings go through each of these steps together:
 * neighbours leave a page table at once, and each IOMMU is flushed once.
 */
#include "ioasid_private.h"
#include "trace.h"

/* Tries to let in-kernel accesses go, each followed by a wait of this long. */
#define ACCESS_TRIES 10
#define ACCESS_WAIT (HZ / 20)

/* ---- in-kernel accesses ---- */

/* One that cuts the range has come after the check: it is not meant. */
static bool mapping_leaves(const struct mapping *map, unsigned long first,
			   unsigned long last)
{
	return map->first >= first && map->last <= last;
}

static bool range_accessed(struct ioasid *ioas, unsigned long first,
			   unsigned long last)
{
	struct mapping *map;

	for_each_mapping(map, &ioas->mappings, first, last) {
		if (map->num_accesses && mapping_leaves(map, first, last))
			return true;
		cond_resched();
	}
	return false;
}

/* Return: what is left of the time, or -ERESTARTSYS. */
static long wait_for_access_end(struct ioasid *ioas, unsigned int seen,
				long time)
{
	if (ioasid_should_fail())
		return -ERESTARTSYS;
	return wait_event_killable_timeout(ioas->access_wait,
					   READ_ONCE(ioas->num_access_ends) !=
						   seen, time);
}

/* Drops and takes ioas->lock. Return: 0, -EBUSY after a while, or -EINTR. */
static int wait_for_accesses(struct ioasid *ioas, unsigned long first,
			     unsigned long last)
{
	long left = ACCESS_WAIT;

	while (left > 0 && range_accessed(ioas, first, last)) {
		unsigned int seen = ioas->num_access_ends;

		mutex_unlock(&ioas->lock);
		left = wait_for_access_end(ioas, seen, left);
		mutex_lock(&ioas->lock);
	}
	if (!range_accessed(ioas, first, last))
		return 0;
	return left < 0 ? -EINTR : -EBUSY;
}

/**
 * ioasid_set_range_state - Change the state of mappings
 * @ioas: The address space
 * @first: First address
 * @last: Last address; what lies inside of the range is meant
 * @state: The new state
 *
 * Context: ioas->lock is held.
 */
void ioasid_set_range_state(struct ioasid *ioas, unsigned long first,
			    unsigned long last, enum mapping_state state)
{
	struct mapping *map;

	lockdep_assert_held(&ioas->lock);

	guard(mutex)(&ioas->root->tree_lock);
	for_each_mapping(map, &ioas->mappings, first, last) {
		if (mapping_leaves(map, first, last))
			map->state = state;
		cond_resched();
	}
}

/*
 * Tells accesses of each mapping that is in use, by its own range: drivers may
 * look at every page of what they are told. Drops and takes ioas->lock.
 */
static void notify_accesses(struct ioasid *ioas, struct iommufd_access *only,
			    unsigned long first, unsigned long last)
{
	struct mapping *map = mapping_find(&ioas->mappings, first);
	struct iova_range range;

	while (map && map->first <= last) {
		if (!map->num_accesses) {
			map = mapping_next(map);
			cond_resched();
			continue;
		}
		range.first = map->first;
		range.last = map->last;
		mutex_unlock(&ioas->lock);
		if (only)
			ioasid_access_unmap(only, range.first, range.last);
		else
			ioasid_access_notify(ioas, range.first, range.last);
		mutex_lock(&ioas->lock);
		if (range.last >= last)
			return;
		map = mapping_find(&ioas->mappings, range.last + 1);
	}
}

/**
 * ioasid_release_accesses - Ask in-kernel accesses to let go of a range
 * @ioas: The address space
 * @first: First address
 * @last: Last address
 *
 * Context: ioas->unmap_lock and ioas->lock are held; ioas->lock is dropped and taken
 * again.
 *
 * Return: 0: what lies inside of the range is leaving and not accessed. -EBUSY:
 * someone does not let go. -EINTR: fatal signal. All is live then.
 */
int ioasid_release_accesses(struct ioasid *ioas, unsigned long first,
			    unsigned long last)
{
	unsigned int tries;
	int rc = -EBUSY;

	lockdep_assert_held(&ioas->unmap_lock);

	ioasid_set_range_state(ioas, first, last, MAPPING_LEAVING);
	for (tries = 0; tries < ACCESS_TRIES && rc == -EBUSY; tries++) {
		notify_accesses(ioas, NULL, first, last);
		rc = wait_for_accesses(ioas, first, last);
	}
	if (rc)
		ioasid_set_range_state(ioas, first, last, MAPPING_LIVE);
	return rc;
}

/* ---- removal ---- */

/* Return: the mapping that was behind it. */
static __always_inline struct mapping *
removal_add(struct ioasid_removal *removal, struct mapping *map)
{
	unsigned long length = mapping_length(map);
	struct ioasid *ioas = removal->ioas;
	struct mapping *next;

	removal->bytes += length;
	removal->pending_bytes += length;
	removal->first = min(removal->first, map->first);
	removal->last = max(removal->last, map->last);
	if (unlikely(map->mem->source == PINNED_MEM_DMA_BUF))
		removal->one_by_one = true;
	ioasid_count_mapping(ioas, map, false);
	next = mapping_erase(&ioas->mappings, map);
	list_add_tail(&map->entry, &removal->pending);
	return next;
}

/**
 * ioasid_removal_add - Take a mapping out of the tree
 * @removal: What is being taken out
 * @map: A mapping in the tree that may go. It goes from page tables and from the
 *       parent's shadows at the next ioasid_removal_flush()
 *
 * Context: The tree_lock is held, and the lock of the address space until the
 * flush.
 */
void ioasid_removal_add(struct ioasid_removal *removal, struct mapping *map)
{
	lockdep_assert_held(&removal->ioas->lock);
	lockdep_assert_held(&removal->ioas->root->tree_lock);

	removal_add(removal, map);
}

/* Undoes removal_add() of what was pending last, up to @kept. */
static noinline void put_back(struct ioasid_removal *removal,
			      const struct list_head *kept)
{
	struct ioasid *ioas = removal->ioas;
	struct mapping *map;

	while (removal->pending.prev != kept) {
		map = list_last_entry(&removal->pending, struct mapping, entry);
		list_del(&map->entry);
		removal->bytes -= mapping_length(map);
		removal->pending_bytes -= mapping_length(map);
		WARN_ON(mapping_insert(&ioas->mappings, map));
		ioasid_count_mapping(ioas, map, true);
		cond_resched();
	}
	if (list_empty(&removal->pending))
		ioasid_removal_reset(removal);
}

/* What follows each other, in either direction, leaves a page table at once. */
struct run {
	struct iommufd_hw_pagetable *pt;
	unsigned long first;
	unsigned long last;
	bool empty;
};

static void run_end(struct run *run)
{
	if (!run->empty)
		pgtable_unmap_range(run->pt, run->first, run->last);
	run->empty = true;
}

static void run_add(struct run *run, const struct mapping *map)
{
	if (!run->empty && run->last + 1 == map->first) {
		run->last = map->last;
	} else if (!run->empty && map->last + 1 == run->first) {
		run->first = map->first;
	} else {
		run_end(run);
		run->empty = false;
		run->first = map->first;
		run->last = map->last;
	}
}

/*
 * No IOMMU tells what it takes out, so the last look at whether an entry is dirty
 * comes right before. Whoever has exported memory of a device may have taken it
 * out already.
 */
static noinline void take_out_runs(const struct ioasid_removal *removal,
				   struct iommufd_hw_pagetable *pt)
{
	struct run run = { .pt = pt, .empty = true };
	struct mapping *map;

	list_for_each_entry(map, &removal->pending, entry) {
		if (map->mem->source == PINNED_MEM_DMA_BUF) {
			run_end(&run);
			pgtable_unmap(pt, map);
		} else if (removal->keep_dirty) {
			pgtable_keep_dirty(pt, map);
			pgtable_unmap(pt, map);
		} else {
			run_add(&run, map);
		}
		cond_resched();
	}
	run_end(&run);
}

static __always_inline void take_out_of_table(const struct ioasid_removal *removal,
					      struct iommufd_hw_pagetable *pt)
{
	if (!removal->one_by_one &&
	    removal->pending_bytes - 1 == removal->last - removal->first)
		pgtable_unmap_range(pt, removal->first, removal->last);
	else
		take_out_runs(removal, pt);
	pgtable_sync(pt);
}

static void leave_parent(struct ioasid_removal *removal)
{
	struct mapping *map;

	guard(mutex)(&removal->ioas->root->tree_lock);
	list_for_each_entry(map, &removal->pending, entry) {
		shadow_leave(to_shadow(map));
		cond_resched();
	}
}

/* What was pending is gone, and nothing can be added after it. */
static __always_inline void removal_flush(struct ioasid_removal *removal)
{
	struct ioasid *ioas = removal->ioas;
	struct iommufd_hw_pagetable *pt;

	if (list_empty(&removal->pending))
		return;
	list_for_each_entry(pt, &ioas->tables, entry)
		if (pt->filled)
			take_out_of_table(removal, pt);
	if (ioas->parent)
		leave_parent(removal);
}

/**
 * ioasid_removal_flush - Take mappings out of page tables, and flush IOMMUs
 * @removal: What is being taken out. The caller frees @removal->gone with no lock
 *           held.
 *
 * Context: The lock of the address space is held. Allocates nothing.
 */
void ioasid_removal_flush(struct ioasid_removal *removal)
{
	lockdep_assert_held(&removal->ioas->lock);
	removal_flush(removal);
	list_splice_tail_init(&removal->pending, &removal->gone);
	ioasid_removal_reset(removal);
}

/* ---- what may be removed ---- */

/* Who uses what lies in a range */
struct range_use {
	bool accessed;
	bool shown;
};

/* Return: -EINVAL if the range cuts a mapping; -EBUSY if it must stay. */
static int look_at(struct ioasid *ioas, unsigned long first,
		   unsigned long last, struct range_use *use)
{
	struct mapping *map = mapping_find(&ioas->mappings, first);

	lockdep_assert_held(&ioas->root->tree_lock);

	use->accessed = false;
	use->shown = spans_touch(ioas, first, last);
	if (map && map->first < first)
		return -EINVAL;
	for (; map && map->first <= last; map = mapping_next(map)) {
		if (map->last > last)
			return -EINVAL;
		/* What leaves is still being asked for. */
		if (map->num_accesses || map->state == MAPPING_LEAVING)
			use->accessed = true;
		if (!hlist_empty(&map->shadows))
			use->shown = true;
		cond_resched();
	}
	return ioasid_access_locked(ioas, first, last) ? -EBUSY : 0;
}

static int look_at_range(struct ioasid *ioas, unsigned long first,
			 unsigned long last, struct range_use *use)
{
	guard(mutex)(&ioas->root->tree_lock);
	return look_at(ioas, first, last, use);
}

/* Takes out what leaves: other mappings have come meanwhile. */
static void collect_leaving(struct ioasid_removal *removal, unsigned long first,
			    unsigned long last)
{
	struct mapping *map = mapping_find(&removal->ioas->mappings, first);

	while (map && map->first <= last) {
		if (mapping_leaves(map, first, last) &&
		    map->state == MAPPING_LEAVING)
			map = removal_add(removal, map);
		else
			map = mapping_next(map);
		cond_resched();
	}
}

/* Why collect_all() has stopped */
static noinline int why_not(struct ioasid *ioas, unsigned long first,
			    unsigned long last)
{
	struct range_use use;
	int rc;

	rc = look_at(ioas, first, last, &use);
	if (rc)
		return rc;
	return use.shown ? -EBUSY : -EAGAIN;
}

/*
 * Takes out all of a range, and puts it back if it meets something that must stay:
 * that is rare, and to look at each mapping twice costs more.
 */
static __always_inline bool collect_all(struct ioasid_removal *removal,
					unsigned long first, unsigned long last)
{
	struct ioasid *ioas = removal->ioas;
	struct mapping *map = mapping_find(&ioas->mappings, first);
	const struct list_head *kept = removal->pending.prev;

	if (ioasid_access_locked(ioas, first, last) ||
	    spans_touch(ioas, first, last) || (map && map->first < first))
		return false;
	while (map && map->first <= last) {
		if (unlikely(map->last > last || map->num_accesses ||
			     map->state == MAPPING_LEAVING ||
			     !hlist_empty(&map->shadows))) {
			put_back(removal, kept);
			return false;
		}
		map = removal_add(removal, map);
		cond_resched();
	}
	return true;
}

static __always_inline int removal_range(struct ioasid_removal *removal,
					 unsigned long first,
					 unsigned long last)
{
	struct mutex *tree_lock = &removal->ioas->root->tree_lock;
	int rc = 0;

	/* Nobody begins to show what is not in the tree any more. */
	mutex_lock(tree_lock);
	if (unlikely(!collect_all(removal, first, last)))
		rc = why_not(removal->ioas, first, last);
	mutex_unlock(tree_lock);
	return rc;
}

/**
 * ioasid_removal_range - Take out of the tree what lies in a range
 * @removal: What is being taken out
 * @first: First address
 * @last: Last address
 *
 * Context: The lock of the address space is held until ioasid_removal_flush().
 *
 * Return: 0; -EINVAL: the range cuts a mapping; -EBUSY: a child shows some of it, or
 * it must stay; -EAGAIN: in-kernel accesses must be asked to let go first, or are
 * being asked, see ioasid_removal_accessed(). Nothing is taken out then.
 */
int ioasid_removal_range(struct ioasid_removal *removal, unsigned long first,
			 unsigned long last)
{
	lockdep_assert_held(&removal->ioas->lock);
	return removal_range(removal, first, last);
}

/* Whether children have begun to show something before it was leaving */
static bool leaving_is_shown(struct ioasid *ioas, unsigned long first,
			     unsigned long last)
{
	struct mapping *map;

	for_each_mapping(map, &ioas->mappings, first, last) {
		if (map->state == MAPPING_LEAVING &&
		    (!hlist_empty(&map->shadows) ||
		     spans_touch(ioas, map->first, map->last)))
			return true;
		cond_resched();
	}
	return false;
}

/**
 * ioasid_removal_accessed - As ioasid_removal_range(), and ask accesses to let go
 * @removal: What is being taken out; nothing is pending
 * @first: First address
 * @last: Last address
 *
 * Context: The lock of the address space is held until ioasid_removal_flush(), but
 * dropped and taken again here; its unmap_lock is held.
 *
 * Return: As ioasid_removal_range(), with -EBUSY if an access does not let go;
 * -EINTR: fatal signal.
 */
int ioasid_removal_accessed(struct ioasid_removal *removal,
			    unsigned long first, unsigned long last)
{
	struct ioasid *ioas = removal->ioas;
	struct range_use use;
	bool shown;
	int rc;

	lockdep_assert_held(&ioas->unmap_lock);

	rc = look_at_range(ioas, first, last, &use);
	if (!rc)
		rc = ioasid_release_accesses(ioas, first, last);
	if (rc)
		return rc;
	scoped_guard(mutex, &ioas->root->tree_lock) {
		shown = leaving_is_shown(ioas, first, last);
		if (!shown)
			collect_leaving(removal, first, last);
	}
	if (shown)
		ioasid_set_range_state(ioas, first, last, MAPPING_LIVE);
	return shown ? -EBUSY : 0;
}

/* ---- UNMAP ---- */

static int unmap_asking(struct ioasid_removal *removal, unsigned long first,
			unsigned long last)
{
	int rc;

	guard(mutex)(&removal->ioas->lock);
	rc = ioasid_removal_accessed(removal, first, last);
	removal_flush(removal);
	return rc;
}

static noinline int unmap_accessed(struct ioasid_removal *removal,
				   unsigned long first, unsigned long last)
{
	struct ioasid *ioas = removal->ioas;
	int rc;

	if (ioasid_lock_killable(&ioas->unmap_lock))
		return -EINTR;
	rc = unmap_asking(removal, first, last);
	mutex_unlock(&ioas->unmap_lock);
	return rc;
}

static __always_inline int unmap_directly(struct ioasid_removal *removal,
					  unsigned long first,
					  unsigned long last)
{
	struct ioasid *ioas = removal->ioas;
	int rc;

	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	if (removal->keep_dirty && !ioas->tracking)
		rc = -EINVAL;
	else
		rc = removal_range(removal, first, last);
	if (likely(!rc))
		removal_flush(removal);
	mutex_unlock(&ioas->lock);
	return unlikely(rc == -EAGAIN) ? unmap_accessed(removal, first, last) :
					 rc;
}

/* What children show of the range goes first, and nobody can show it again. */
static int begin_revoke(struct ioasid *ioas, unsigned long first,
			unsigned long last)
{
	struct range_use use;
	int rc;

	guard(mutex)(&ioas->lock);
	rc = look_at_range(ioas, first, last, &use);
	return rc ?: ioasid_release_accesses(ioas, first, last);
}

static int revoke_range(struct ioasid_removal *removal, unsigned long first,
			unsigned long last)
{
	struct ioasid *ioas = removal->ioas;
	int rc;

	lockdep_assert_held(&ioas->unmap_lock);

	rc = begin_revoke(ioas, first, last);
	if (rc)
		return rc;
	rc = ioasid_revoke(ioas, first, last);
	guard(mutex)(&ioas->lock);
	if (rc) {
		ioasid_set_range_state(ioas, first, last, MAPPING_LIVE);
		return rc;
	}
	/* Nobody shows what leaves any more; other mappings may have come. */
	scoped_guard(mutex, &ioas->root->tree_lock)
		collect_leaving(removal, first, last);
	removal_flush(removal);
	return 0;
}

static int unmap_revoking(struct ioasid_removal *removal, unsigned long first,
			  unsigned long last)
{
	struct ioasid *ioas = removal->ioas;
	int rc = -EINTR;

	if (ioasid_lock_killable(&ioas->root->revoke_lock))
		return rc;
	if (!ioasid_lock_killable(&ioas->unmap_lock)) {
		rc = revoke_range(removal, first, last);
		mutex_unlock(&ioas->unmap_lock);
	}
	mutex_unlock(&ioas->root->revoke_lock);
	return rc;
}

/**
 * ioasid_unmap - Remove mappings
 * @ioas: The address space; its type allows it
 * @first: First address
 * @last: Last address; [0, ULONG_MAX] removes all
 * @report: Where to report what was written, begun and for this range, or NULL
 * @revoke: Remove what descendants show of the range, too; not with @report
 * @unmapped: Output: sum of the lengths of what was removed
 *
 * What a MAP under way is about to add is not there yet.
 *
 * Context: No lock is held; calls in-kernel accesses back.
 *
 * Return: 0; -EINVAL: the range cuts a mapping, or is not tracked; -EBUSY: a child
 * shows some of it, or an in-kernel access does not let go; -EINTR: fatal signal.
 * Nothing was removed then. -EFAULT: @report could be begun, but now it cannot be
 * written; the mappings are gone.
 */
int ioasid_unmap(struct ioasid *ioas, unsigned long first, unsigned long last,
		 struct dirty_report *report, bool revoke, u64 *unmapped)
{
	struct ioasid_removal removal __uninitialized;
	int rc;

	ioasid_removal_begin(&removal, ioas, report);
	rc = revoke ? unmap_revoking(&removal, first, last) :
		      unmap_directly(&removal, first, last);
	*unmapped = removal.bytes;
	if (!rc && report)
		rc = dirty_report_gone(report, &removal.pending);
	/* Flushed above: now the memory may go. */
	ioasid_free_mappings(&removal.pending);
	trace_ioasid_unmap(ioas->obj.id, first, last, *unmapped, rc);
	return rc;
}

/**
 * ioasid_revoke_access - Ask one in-kernel user to let go of everything
 * @ioas: The address space
 * @access: The user
 *
 * Context: ioas->lock is not held. The callback runs.
 */
void ioasid_revoke_access(struct ioasid *ioas, struct iommufd_access *access)
{
	guard(mutex)(&ioas->lock);
	notify_accesses(ioas, access, 0, ULONG_MAX);
}
