/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the module and the built-in half share about vIOMMUs, and what event
 * queues have in common.
 */
#ifndef _IOASID_VIOMMU_H
#define _IOASID_VIOMMU_H

#include "ioasid_private.h"

/**
 * struct ioasid_eventq - A queue that a user reads through a file descriptor
 * @obj: Its identifier. users counts, above 1, the open file and what reports to
 *       the queue.
 * @rcu: Frees it
 * @refs: References to the memory: one of the object's, one of the file's
 * @read_lock: Held by the one reader. It sleeps for user memory, so nothing but
 *             readers may wait for it.
 * @lock: Protects everything below
 * @deliver: What waits to be read
 * @file_counts: The open file is counted in @obj's users
 * @ended: The object is gone, nothing comes any more
 * @wait: Who polls
 */
struct ioasid_eventq {
	struct iommufd_object obj;
	struct rcu_head rcu;
	refcount_t refs;
	struct mutex read_lock;	/* see above */
	spinlock_t lock;	/* see above */
	struct list_head deliver;
	bool file_counts;
	bool ended;
	wait_queue_head_t wait;
};

/**
 * struct ioasid_vevent - An event of a vIOMMU that waits to be read
 * @entry: In ioasid_eventq.deliver
 * @header: What precedes the event for the user
 * @len: Length of @data in bytes, not 0
 * @data: The event, as the driver has reported it
 */
struct ioasid_vevent {
	struct list_head entry;
	struct iommufd_vevent_header header;
	size_t len;
	u8 data[] __counted_by(len);
};

/**
 * struct ioasid_veventq - Events of one type of a vIOMMU
 * @common: What all queues have
 * @viommu: The vIOMMU, which is used by it
 * @entry: In iommufd_viommu.veventqs, under its veventqs_rwsem
 * @type: enum iommu_veventq_type
 * @depth: Most events that may wait
 * @num_events: Events that wait
 * @sequence: Number of the next event
 * @lost: The newest event was lost: after those that wait, the user is told so
 * @lost_sequence: Its number
 *
 * @num_events and what follows is under @common.lock.
 */
struct ioasid_veventq {
	struct ioasid_eventq common;
	struct iommufd_viommu *viommu;
	struct list_head entry;
	enum iommu_veventq_type type;
	u32 depth;
	u32 num_events;
	u32 sequence;
	bool lost;
	u32 lost_sequence;
};

/* The queue for events of that type, or NULL */
static inline struct ioasid_veventq *
viommu_find_veventq(const struct iommufd_viommu *viommu,
		    enum iommu_veventq_type type)
{
	struct ioasid_veventq *veventq;

	lockdep_assert_held(&viommu->veventqs_rwsem);

	list_for_each_entry(veventq, &viommu->veventqs, entry)
		if (veventq->type == type)
			return veventq;
	return NULL;
}

/**
 * struct ioasid_mmap_range - Device memory that a user may map
 * @owner: The object that it belongs to, and that is used as long as a user has
 *         it mapped
 * @addr: Physical address
 *
 * Where it is in iommufd_ctx.mmaps says the offset and the length, in bytes.
 */
struct ioasid_mmap_range {
	struct iommufd_object *owner;
	phys_addr_t addr;
};

/*
 * Counts something that is built on an object in its users, without a hold.
 * That needs an object that can be found: one whose ioctl may still fail, or
 * that is being ended, would go without a look at users. The caller's locks keep
 * the memory of the object.
 */
static inline bool ioasid_object_use(struct iommufd_ctx *ictx,
				     struct iommufd_object *obj)
{
	bool found;

	xa_lock(&ictx->objects);
	found = xa_load(&ictx->objects, obj->id) == obj;
	if (found)
		refcount_inc(&obj->users);
	xa_unlock(&ictx->objects);
	return found;
}

#endif
