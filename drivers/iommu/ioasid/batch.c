// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many maps and unmaps at once.
 *
 * What can be done without the lock is done for all of them first. Then they take
 * effect one by one under the lock, but for what costs most: what is unmapped
 * leaves page tables, and IOMMUs' caches, together, at the end or when something
 * needs it earlier. A map needs it where the addresses were mapped before, because
 * an IOMMU must never know two translations of one.
 */
#include "ioasid_private.h"
#include "trace.h"

/* Entries with no pins where some are needed; drops and takes the lock. */
static void pin_rest(struct ioasid *ioas, struct ioasid_batch_entry *entry,
		     unsigned int num, struct ioasid_removal *removal)
{
	unsigned int i;

	ioasid_removal_flush(removal);
	mutex_unlock(&ioas->lock);
	for (i = 0; i < num; i++)
		if (!entry[i].unmap && !entry[i].args.pinned)
			entry[i].pin_rc = ioasid_map_pin(&entry[i].args);
	mutex_lock(&ioas->lock);
}

static bool meets_pending(const struct ioasid_removal *removal,
			  const struct ioasid_map *args)
{
	return args->first <= removal->last &&
	       args->first + args->length - 1 >= removal->first;
}

static int do_map(struct ioasid *ioas, struct ioasid_batch_entry *entry,
		  unsigned int num, struct ioasid_removal *removal)
{
	int rc;

	if (meets_pending(removal, &entry->args))
		ioasid_removal_flush(removal);
	for (;;) {
		rc = ioasid_map_locked(ioas, &entry->args);
		if (rc != -EAGAIN || entry->args.pinned)
			return rc;
		if (entry->pin_rc)
			return entry->pin_rc;
		pin_rest(ioas, entry, num, removal);
	}
}

/* Drops and takes the lock: unmap_lock comes first. */
static int unmap_accessed(struct ioasid_removal *removal, unsigned long first,
			  unsigned long last)
{
	struct ioasid *ioas = removal->ioas;
	int rc = -EINTR;

	ioasid_removal_flush(removal);
	mutex_unlock(&ioas->lock);
	if (ioasid_lock_killable(&ioas->unmap_lock)) {
		mutex_lock(&ioas->lock);
		return rc;
	}
	mutex_lock(&ioas->lock);
	rc = ioasid_removal_accessed(removal, first, last);
	/* Others may look at what leaves as soon as unmap_lock is free. */
	ioasid_removal_flush(removal);
	mutex_unlock(&ioas->unmap_lock);
	return rc;
}

static int do_unmap(struct ioasid_removal *removal,
		    const struct ioasid_batch_entry *entry)
{
	unsigned long last = entry->args.first + entry->args.length - 1;
	int rc;

	rc = ioasid_removal_range(removal, entry->args.first, last);
	if (rc == -EAGAIN)
		rc = unmap_accessed(removal, entry->args.first, last);
	return rc;
}

/* Return: how many took effect; why not more is in @rc. */
static unsigned int do_entries(struct ioasid *ioas,
			       struct ioasid_batch_entry *entry,
			       unsigned int num,
			       struct ioasid_removal *removal, int *rc)
{
	unsigned int i;

	*rc = -EINTR;
	if (ioasid_lock_killable(&ioas->lock))
		return 0;
	for (i = 0; i < num; i++) {
		if (ioasid_killed())
			*rc = -EINTR;
		else if (entry[i].unmap)
			*rc = do_unmap(removal, &entry[i]);
		else
			*rc = do_map(ioas, &entry[i], num - i, removal);
		if (*rc)
			break;
		cond_resched();
	}
	ioasid_removal_flush(removal);
	mutex_unlock(&ioas->lock);
	return i;
}

/**
 * ioasid_batch - Do maps and unmaps
 * @ioas: The address space; its type allows it
 * @entry: What to do. Maps are prepared; ioasid_map_finish() is called for all of
 *         them here.
 * @num: How many
 * @done: Output: how many took effect
 * @unmapped: Increased by the lengths of mappings that were unmapped
 *
 * Context: No lock is held; sleeps for user memory, calls in-kernel accesses back.
 *
 * Return: 0, or what the first entry that failed has failed with.
 */
int ioasid_batch(struct ioasid *ioas, struct ioasid_batch_entry *entry,
		 unsigned int num, unsigned int *done, u64 *unmapped)
{
	bool pin = ioasid_keeps_pins(ioas);
	struct ioasid_removal removal;
	unsigned int i;
	int rc;

	for (i = 0; pin && i < num; i++) {
		if (!entry[i].unmap)
			entry[i].pin_rc = ioasid_map_pin(&entry[i].args);
		/* Nothing behind it will take effect. */
		if (entry[i].pin_rc)
			break;
	}
	ioasid_removal_begin(&removal, ioas, false);
	*done = do_entries(ioas, entry, num, &removal, &rc);
	*unmapped += removal.bytes;
	ioasid_free_mappings(&removal.gone);
	for (i = 0; i < num; i++)
		if (!entry[i].unmap)
			ioasid_map_finish(&entry[i].args,
					  i < *done ? 0 : rc);
	trace_ioasid_batch(ioas->obj.id, num, *done, rc);
	return rc;
}
