// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues that a user reads through a file descriptor: page faults of devices,
 * and events of vIOMMUs.
 *
 * The memory of a queue belongs to the object and to the open file together,
 * and the file is counted in the object's users: as long as it is open,
 * IOMMU_DESTROY is -EBUSY. The file keeps the queue but not the context. When
 * /dev/iommu and all devices are closed, the objects end, and what is left is a
 * queue that gets nothing any more: poll() says EPOLLHUP. Otherwise no user can
 * tell this from a context that lives on, but for the memory that it would pin.
 *
 * A group of page faults is in one of two places: deliver, or handed_out after
 * the user has read it. Whoever takes it out answers it, once, and frees it:
 * the user's write(), or ioasid_fault_flush() when the attachment that faulted
 * ends. All of that is under ioasid_fault.lock, so after the flush nobody looks
 * at the attachment or the device any more. Only the handler, which IOMMU
 * drivers call, adds to deliver without it.
 *
 * User memory is copied with no lock held but read_lock. A reader that sleeps
 * for it keeps other readers waiting, never faults, answers, detach or the end of
 * an object.
 *
 * Locks, outermost first:
 *
 *	iommufd_viommu.veventqs_rwsem
 *	ioasid_fault.lock	under ioasid_group.lock and ioasid.lock in a
 *				flush
 *	ioasid_eventq.lock
 *	the lock of a device's fault parameter, under ioasid_fault.lock only
 */
#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "viommu.h"

/**
 * struct ioasid_fault - A queue of page faults
 * @common: What all queues have. deliver has struct iopf_group by node.
 * @lock: See above
 * @handed_out: Groups that the user has read and not answered, by cookie
 * @next_cookie: Where the search for a cookie starts. They are not used again
 *               soon, so that a late answer does not meet another group.
 * @num_unread: Groups in deliver; under common.lock
 */
struct ioasid_fault {
	struct ioasid_eventq common;
	struct mutex lock;	/* see above */
	struct xarray handed_out;
	u32 next_cookie;
	unsigned int num_unread;
};

/* ---- what all queues have ---- */

static struct ioasid_eventq *to_eventq(struct iommufd_object *obj)
{
	return container_of(obj, struct ioasid_eventq, obj);
}

static struct ioasid_fault *to_fault(struct ioasid_eventq *queue)
{
	return container_of(queue, struct ioasid_fault, common);
}

static struct ioasid_veventq *to_veventq(struct ioasid_eventq *queue)
{
	return container_of(queue, struct ioasid_veventq, common);
}

static void eventq_init(struct ioasid_eventq *queue)
{
	refcount_set(&queue->refs, 1);
	mutex_init(&queue->read_lock);
	spin_lock_init(&queue->lock);
	INIT_LIST_HEAD(&queue->deliver);
	init_waitqueue_head(&queue->wait);
}

static void veventq_drop_events(struct ioasid_veventq *veventq)
{
	struct ioasid_vevent *event, *next;

	list_for_each_entry_safe(event, next, &veventq->common.deliver, entry)
		kfree(event);
}

static void eventq_put(struct ioasid_eventq *queue)
{
	if (!refcount_dec_and_test(&queue->refs))
		return;
	mutex_destroy(&queue->read_lock);
	if (queue->obj.type == IOMMUFD_OBJ_FAULT) {
		struct ioasid_fault *fault = to_fault(queue);

		mutex_destroy(&fault->lock);
		xa_destroy(&fault->handed_out);
		kfree_rcu(fault, common.rcu);
	} else {
		struct ioasid_veventq *veventq = to_veventq(queue);

		veventq_drop_events(veventq);
		kfree_rcu(veventq, common.rcu);
	}
}

/* Drops what the open file adds to the object's users, once. */
static void eventq_uncount_file(struct ioasid_eventq *queue)
{
	guard(spinlock)(&queue->lock);
	if (queue->file_counts)
		refcount_dec(&queue->obj.users);
	queue->file_counts = false;
}

/* Ends the object's share in the queue; a file that is open goes on. */
static void eventq_end(struct ioasid_eventq *queue)
{
	scoped_guard(spinlock, &queue->lock) {
		queue->file_counts = false;
		queue->ended = true;
	}
	wake_up_all(&queue->wait);
	eventq_put(queue);
}

/**
 * ioasid_eventqs_orphan - Let open files no longer keep their queues in use
 * @ictx: The context, which is about to end
 *
 * Afterwards the objects of queues can be ended like all others, and a file that
 * is still open keeps nothing but the memory of its queue.
 *
 * Context: No call on the context is under way, nor comes any more.
 */
void ioasid_eventqs_orphan(struct iommufd_ctx *ictx)
{
	struct iommufd_object *obj;
	unsigned long id;

	xa_for_each(&ictx->objects, id, obj)
		if (obj->type == IOMMUFD_OBJ_FAULT ||
		    obj->type == IOMMUFD_OBJ_VEVENTQ)
			eventq_uncount_file(to_eventq(obj));
}

static bool eventq_has_news(struct ioasid_eventq *queue)
{
	lockdep_assert_held(&queue->lock);

	return !list_empty(&queue->deliver) ||
	       (queue->obj.type == IOMMUFD_OBJ_VEVENTQ &&
		to_veventq(queue)->lost);
}

static __poll_t eventq_fops_poll(struct file *file,
				 struct poll_table_struct *wait)
{
	struct ioasid_eventq *queue = file->private_data;
	__poll_t events = 0;

	poll_wait(file, &queue->wait, wait);
	if (queue->obj.type == IOMMUFD_OBJ_FAULT)
		events |= EPOLLOUT;
	guard(spinlock)(&queue->lock);
	if (eventq_has_news(queue))
		events |= EPOLLIN | EPOLLRDNORM;
	if (queue->ended)
		events |= EPOLLHUP;
	return events;
}

static int eventq_fops_release(struct inode *inode, struct file *file)
{
	struct ioasid_eventq *queue = file->private_data;

	eventq_uncount_file(queue);
	eventq_put(queue);
	return 0;
}

static struct file *eventq_file(struct ioasid_eventq *queue, const char *name,
				const struct file_operations *fops)
{
	struct file *file = anon_inode_getfile(name, fops, queue, O_RDWR);

	if (IS_ERR(file))
		return file;
	refcount_inc(&queue->refs);
	refcount_inc(&queue->obj.users);
	queue->file_counts = true;
	return file;
}

/*
 * Makes the file of a queue, tells the user its number at @out_fd, and gives it
 * to him. That cannot be taken back, so it is the last step of the ioctl, and
 * the results are copied here and not by the dispatcher.
 */
static int eventq_hand_over(struct ioasid_ucmd *ucmd, size_t size, u32 *out_fd,
			    struct ioasid_eventq *queue, const char *name,
			    const struct file_operations *fops)
{
	int rc;

	if (ioasid_should_fail())
		return -EMFILE;

	FD_PREPARE(fdf, O_CLOEXEC, eventq_file(queue, name, fops));
	if (fdf.err)
		return fdf.err;
	*out_fd = fd_prepare_fd(fdf);
	rc = ioasid_respond(ucmd, size);
	if (rc)
		return rc;
	fd_publish(fdf);
	return 0;
}

/* ---- page faults ---- */

static void fault_end_group(struct iopf_group *group,
			    enum iommu_page_response_code code)
{
	iopf_group_response(group, code);
	iopf_free_group(group);
}

/* Page requests that wait for the user to read them, in groups */
#define MAX_UNREAD 65536

/**
 * ioasid_fault_handler - Queue the page faults of a device for the user
 * @group: The faults of a page request group. The queue owns it afterwards.
 *
 * Context: Called by the driver of the IOMMU, in process context. It must not
 * call for an attachment any more when that has ended; see
 * ioasid_fault_flush().
 *
 * Return: 0, or -ENOSPC if the user reads too slowly: then the core answers.
 */
int ioasid_fault_handler(struct iopf_group *group)
{
	struct iommufd_hw_pagetable *pt =
		group->attach_handle->domain->iommufd_hwpt;
	struct ioasid_fault *fault = pt->fault;
	struct ioasid_eventq *queue = &fault->common;

	/* From now on nobody but the queue, or who has called, answers it. */
	iopf_group_dequeue(group);

	scoped_guard(spinlock, &queue->lock) {
		if (fault->num_unread == MAX_UNREAD)
			return -ENOSPC;
		fault->num_unread++;
		list_add_tail(&group->node, &queue->deliver);
	}
	wake_up_interruptible_poll(&queue->wait, EPOLLIN | EPOLLRDNORM);
	return 0;
}

static bool fault_is_of(const struct iopf_group *group,
			const struct ioasid_attach_handle *handle,
			const struct device *dev)
{
	if (handle && group->attach_handle != &handle->handle)
		return false;
	return !dev || group->fault_param->dev == dev;
}

static void fault_answer_all(struct ioasid_fault *fault,
			     const struct ioasid_attach_handle *handle,
			     const struct device *dev)
{
	struct iopf_group *group, *next;
	unsigned long cookie;
	LIST_HEAD(unread);

	guard(mutex)(&fault->lock);
	scoped_guard(spinlock, &fault->common.lock)
		list_for_each_entry_safe(group, next, &fault->common.deliver,
					 node)
			if (fault_is_of(group, handle, dev)) {
				list_move_tail(&group->node, &unread);
				fault->num_unread--;
			}

	list_for_each_entry_safe(group, next, &unread, node) {
		fault_end_group(group, IOMMU_PAGE_RESP_INVALID);
		cond_resched();
	}

	xa_for_each(&fault->handed_out, cookie, group) {
		if (!fault_is_of(group, handle, dev))
			continue;
		xa_erase(&fault->handed_out, cookie);
		fault_end_group(group, IOMMU_PAGE_RESP_INVALID);
		cond_resched();
	}
}

/**
 * ioasid_fault_flush - Answer what an attachment has left unanswered
 * @pt: The page table that was attached, with a fault queue or without
 * @handle: The attachment; NULL for all
 * @dev: A device that has left it while others stay; NULL for all. With NULL the
 *       attachment has ended. The driver must have reported what it knows of by
 *       then, and report nothing of it any more: nobody else can wait for that.
 *
 * The answer is that the request is invalid. Afterwards nothing in the queue
 * refers to what was flushed.
 *
 * Context: Process context. Does not sleep for user memory.
 */
void ioasid_fault_flush(struct iommufd_hw_pagetable *pt,
			const struct ioasid_attach_handle *handle,
			const struct device *dev)
{
	struct ioasid_fault *fault = pt->fault;

	if (fault)
		fault_answer_all(fault, handle, dev);
}

static u32 fault_dev_id(const struct iopf_group *group)
{
	const struct ioasid_attach_handle *handle =
		container_of(group->attach_handle, struct ioasid_attach_handle,
			     handle);

	/* Another device of the group takes over when that one leaves. */
	return READ_ONCE(handle->dev_id);
}

/* @faults is all zero. */
static void fault_describe(const struct iopf_group *group,
			   struct iommu_hwpt_pgfault *faults)
{
	const struct iommu_fault_page_request *request;
	const struct iopf_fault *iopf;
	u32 dev_id = fault_dev_id(group);

	list_for_each_entry(iopf, &group->faults, list) {
		request = &iopf->fault.prm;
		faults->flags = request->flags;
		faults->dev_id = dev_id;
		faults->pasid = request->pasid;
		faults->grpid = request->grpid;
		faults->perm = request->perm;
		faults->addr = request->addr;
		faults->cookie = group->cookie;
		faults++;
	}
}

static int fault_new_cookie(struct ioasid_fault *fault,
			    struct iopf_group *group)
{
	if (ioasid_should_fail())
		return -ENOMEM;
	return xa_alloc_cyclic(&fault->handed_out, &group->cookie, group,
			       xa_limit_32b, &fault->next_cookie,
			       GFP_KERNEL_ACCOUNT);
}

/*
 * Moves the next group from deliver to handed_out and describes it in @faults,
 * for kvfree(). The group itself may be answered at any time from now on.
 * Return: the length of @faults, 0 if no group waits, -EINVAL if it is longer
 * than @room, or -ENOMEM.
 */
static ssize_t fault_hand_out(struct ioasid_fault *fault, size_t room,
			      struct iommu_hwpt_pgfault **faults)
{
	struct iopf_group *group;
	size_t size;
	int rc;

	guard(mutex)(&fault->lock);
	scoped_guard(spinlock, &fault->common.lock)
		group = list_first_entry_or_null(&fault->common.deliver,
						 struct iopf_group, node);
	if (!group)
		return 0;
	size = array_size(group->fault_count, sizeof(**faults));
	if (size > room)
		return -EINVAL;

	*faults = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!*faults)
		return -ENOMEM;
	rc = fault_new_cookie(fault, group);
	if (rc) {
		kvfree(*faults);
		return rc;
	}
	scoped_guard(spinlock, &fault->common.lock) {
		list_del(&group->node);
		fault->num_unread--;
	}
	fault_describe(group, *faults);
	return size;
}

/*
 * Undoes fault_hand_out(), unless the group has been answered. The caller still
 * has the read_lock, so no other group has got the cookie.
 */
static void fault_take_back(struct ioasid_fault *fault, u32 cookie)
{
	struct ioasid_eventq *queue = &fault->common;
	struct iopf_group *group;

	guard(mutex)(&fault->lock);
	group = xa_erase(&fault->handed_out, cookie);
	if (!group)
		return;
	scoped_guard(spinlock, &queue->lock) {
		list_add(&group->node, &queue->deliver);
		fault->num_unread++;
	}
	wake_up_interruptible_poll(&queue->wait, EPOLLIN | EPOLLRDNORM);
}

static ssize_t fault_read_group(struct ioasid_fault *fault, char __user *buf,
				size_t room)
{
	struct iommu_hwpt_pgfault *faults;
	ssize_t size;

	lockdep_assert_held(&fault->common.read_lock);

	size = fault_hand_out(fault, room, &faults);
	if (size <= 0)
		return size;
	if (copy_to_user(buf, faults, size)) {
		fault_take_back(fault, faults->cookie);
		size = -EFAULT;
	}
	kvfree(faults);
	return size;
}

/* Does not block. Groups are read whole, as many as there is room for. */
static ssize_t fault_fops_read(struct file *file, char __user *buf,
			       size_t count, loff_t *ppos)
{
	struct ioasid_fault *fault = to_fault(file->private_data);
	size_t done = 0;
	ssize_t rc;

	if (*ppos || count % sizeof(struct iommu_hwpt_pgfault))
		return -ESPIPE;

	ACQUIRE(mutex_intr, lock)(&fault->common.read_lock);
	rc = ACQUIRE_ERR(mutex_intr, &lock);
	if (rc)
		return rc;

	do {
		rc = fault_read_group(fault, buf + done, count - done);
		if (rc > 0)
			done += rc;
	} while (rc > 0);
	return done ? done : rc;
}

static int fault_answer(struct ioasid_fault *fault,
			const struct iommu_hwpt_page_response *response)
{
	struct iopf_group *group;

	static_assert((int)IOMMUFD_PAGE_RESP_SUCCESS ==
		      (int)IOMMU_PAGE_RESP_SUCCESS);
	static_assert((int)IOMMUFD_PAGE_RESP_INVALID ==
		      (int)IOMMU_PAGE_RESP_INVALID);

	if (response->code != IOMMUFD_PAGE_RESP_SUCCESS &&
	    response->code != IOMMUFD_PAGE_RESP_INVALID)
		return -EINVAL;

	guard(mutex)(&fault->lock);
	group = xa_erase(&fault->handed_out, response->cookie);
	if (!group)
		return -EINVAL;
	fault_end_group(group, response->code);
	return 0;
}

static ssize_t fault_fops_write(struct file *file, const char __user *buf,
				size_t count, loff_t *ppos)
{
	struct ioasid_fault *fault = to_fault(file->private_data);
	struct iommu_hwpt_page_response response;
	size_t done;
	int rc = 0;

	if (*ppos || count % sizeof(response))
		return -ESPIPE;

	for (done = 0; done < count; done += sizeof(response)) {
		if (copy_from_user(&response, buf + done, sizeof(response)))
			rc = -EFAULT;
		else
			rc = fault_answer(fault, &response);
		if (rc)
			break;
	}
	return done ? done : rc;
}

static const struct file_operations fault_fops = {
	.owner = THIS_MODULE,
	.read = fault_fops_read,
	.write = fault_fops_write,
	.poll = eventq_fops_poll,
	.release = eventq_fops_release,
};

/**
 * ioasid_fault_queue_alloc - IOMMU_FAULT_QUEUE_ALLOC
 * @ucmd: The call. The results are copied here.
 *
 * Context: No lock is held.
 *
 * Return: 0; -EOPNOTSUPP: flags; -EMFILE, -ENFILE: too many open files; -EFAULT;
 * -ENOSPC: too many objects in the context; -ENOMEM.
 */
int ioasid_fault_queue_alloc(struct ioasid_ucmd *ucmd)
{
	struct iommu_fault_alloc *cmd = ucmd->cmd;
	struct ioasid_fault *fault;
	int rc;

	if (cmd->flags)
		return -EOPNOTSUPP;

	fault = kzalloc_obj(*fault, GFP_KERNEL_ACCOUNT);
	if (!fault)
		return -ENOMEM;
	eventq_init(&fault->common);
	mutex_init(&fault->lock);
	xa_init_flags(&fault->handed_out, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	rc = ioasid_object_init(ucmd->ictx, &fault->common.obj,
				IOMMUFD_OBJ_FAULT);
	if (rc) {
		kfree(fault);
		return rc;
	}
	ucmd->new_obj = &fault->common.obj;

	cmd->out_fault_id = fault->common.obj.id;
	return eventq_hand_over(ucmd, sizeof(*cmd), &cmd->out_fault_fd,
				&fault->common, "[iommufd-pgfault]",
				&fault_fops);
}

/**
 * ioasid_fault_destroy - Free a fault queue
 * @obj: Its object, which has ended. No page table reports to it any more.
 */
void ioasid_fault_destroy(struct iommufd_object *obj)
{
	struct ioasid_fault *fault = to_fault(to_eventq(obj));

	/* The end of each attachment has flushed it; nothing may wait for ever. */
	if (WARN_ON_ONCE(!list_empty(&fault->common.deliver) ||
			 !xa_empty(&fault->handed_out)))
		fault_answer_all(fault, NULL, NULL);
	eventq_end(&fault->common);
}

/**
 * ioasid_fault_get - Look a fault queue up and take a short hold of it
 * @ictx: The context
 * @id: Its identifier
 *
 * Return: The queue, for ioasid_object_put() of ioasid_fault_object(), or
 * -ENOENT.
 */
struct ioasid_fault *ioasid_fault_get(struct iommufd_ctx *ictx, u32 id)
{
	struct iommufd_object *obj =
		ioasid_object_get(ictx, id, IOMMUFD_OBJ_FAULT);

	return IS_ERR(obj) ? ERR_CAST(obj) : to_fault(to_eventq(obj));
}

/**
 * ioasid_fault_object - The object of a fault queue
 * @fault: The queue
 *
 * Return: The object. A page table that reports to the queue is counted in its
 * users.
 */
struct iommufd_object *ioasid_fault_object(struct ioasid_fault *fault)
{
	return &fault->common.obj;
}

/* ---- events of vIOMMUs ---- */

/*
 * Reads the next event, or that the newest ones were lost. The event stays in
 * the queue until it is copied: nobody else takes one out. Return: as
 * fault_hand_out(), or -EFAULT.
 */
static ssize_t veventq_read_event(struct ioasid_veventq *veventq,
				  char __user *buf, size_t room)
{
	struct ioasid_eventq *queue = &veventq->common;
	struct iommufd_vevent_header header = {};
	struct ioasid_vevent *event;
	size_t len = 0;

	lockdep_assert_held(&queue->read_lock);

	scoped_guard(spinlock, &queue->lock) {
		event = list_first_entry_or_null(&queue->deliver,
						 struct ioasid_vevent, entry);
		if (event) {
			header = event->header;
			len = event->len;
		} else if (veventq->lost) {
			header.flags = IOMMU_VEVENTQ_FLAG_LOST_EVENTS;
			header.sequence = veventq->lost_sequence;
		} else {
			return 0;
		}
	}

	if (room < sizeof(header) || room - sizeof(header) < len)
		return -EINVAL;
	if (copy_to_user(buf, &header, sizeof(header)) ||
	    (event && copy_to_user(buf + sizeof(header), event->data, len)))
		return -EFAULT;

	scoped_guard(spinlock, &queue->lock) {
		if (event) {
			list_del(&event->entry);
			veventq->num_events--;
		} else if (veventq->lost_sequence == header.sequence) {
			veventq->lost = false;
		}
	}
	kfree(event);
	return sizeof(header) + len;
}

/* Does not block. Events are read whole, as many as there is room for. */
static ssize_t veventq_fops_read(struct file *file, char __user *buf,
				 size_t count, loff_t *ppos)
{
	struct ioasid_veventq *veventq = to_veventq(file->private_data);
	size_t done = 0;
	ssize_t rc;

	if (*ppos)
		return -ESPIPE;
	if (count < sizeof(struct iommufd_vevent_header))
		return -EINVAL;

	ACQUIRE(mutex_intr, lock)(&veventq->common.read_lock);
	rc = ACQUIRE_ERR(mutex_intr, &lock);
	if (rc)
		return rc;

	do {
		rc = veventq_read_event(veventq, buf + done, count - done);
		if (rc > 0)
			done += rc;
	} while (rc > 0);
	return done ? done : rc;
}

static const struct file_operations veventq_fops = {
	.owner = THIS_MODULE,
	.read = veventq_fops_read,
	.poll = eventq_fops_poll,
	.release = eventq_fops_release,
};

static struct ioasid_veventq *veventq_new(struct ioasid_ucmd *ucmd,
					  struct iommufd_viommu *viommu)
{
	const struct iommu_veventq_alloc *cmd = ucmd->cmd;
	struct ioasid_veventq *veventq;
	int rc;

	veventq = kzalloc_obj(*veventq, GFP_KERNEL_ACCOUNT);
	if (!veventq)
		return ERR_PTR(-ENOMEM);
	eventq_init(&veventq->common);
	INIT_LIST_HEAD(&veventq->entry);
	veventq->type = cmd->type;
	veventq->depth = cmd->veventq_depth;
	rc = ioasid_object_init(ucmd->ictx, &veventq->common.obj,
				IOMMUFD_OBJ_VEVENTQ);
	if (rc) {
		kfree(veventq);
		return ERR_PTR(rc);
	}
	veventq->viommu = viommu;
	refcount_inc(&viommu->obj.users);
	ucmd->new_obj = &veventq->common.obj;
	return veventq;
}

static int veventq_join(struct ioasid_veventq *veventq)
{
	struct iommufd_viommu *viommu = veventq->viommu;

	guard(rwsem_write)(&viommu->veventqs_rwsem);
	if (viommu_find_veventq(viommu, veventq->type))
		return -EEXIST;
	list_add_tail(&veventq->entry, &viommu->veventqs);
	return 0;
}

/* More than any hardware has */
#define VEVENTQ_MAX_DEPTH BIT(19)

/**
 * ioasid_veventq_alloc - IOMMU_VEVENTQ_ALLOC
 * @ucmd: The call. The results are copied here.
 *
 * Context: No lock is held.
 *
 * Return: 0; -EOPNOTSUPP: flags, the reserved field, no type; -EINVAL: the depth
 * is 0 or too large; -ENOENT: no such vIOMMU; -EEXIST: it has a queue of that
 * type; -EMFILE, -ENFILE: too many open files; -EFAULT; -ENOSPC: too many objects
 * in the context; -ENOMEM.
 */
int ioasid_veventq_alloc(struct ioasid_ucmd *ucmd)
{
	struct iommu_veventq_alloc *cmd = ucmd->cmd;
	struct ioasid_veventq *veventq;
	struct iommufd_object *obj;
	int rc;

	if (cmd->flags || cmd->__reserved ||
	    cmd->type == IOMMU_VEVENTQ_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->veventq_depth || cmd->veventq_depth > VEVENTQ_MAX_DEPTH)
		return -EINVAL;

	obj = ioasid_object_get(ucmd->ictx, cmd->viommu_id, IOMMUFD_OBJ_VIOMMU);
	if (IS_ERR(obj))
		return PTR_ERR(obj);
	veventq = veventq_new(ucmd,
			      container_of(obj, struct iommufd_viommu, obj));
	ioasid_object_put(ucmd->ictx, obj);
	if (IS_ERR(veventq))
		return PTR_ERR(veventq);
	rc = veventq_join(veventq);
	if (rc)
		return rc;

	cmd->out_veventq_id = veventq->common.obj.id;
	return eventq_hand_over(ucmd, sizeof(*cmd), &cmd->out_veventq_fd,
				&veventq->common, "[iommufd-viommu-event]",
				&veventq_fops);
}

/**
 * ioasid_veventq_destroy - Free an event queue of a vIOMMU
 * @obj: Its object, which has ended or was never published
 *
 * Context: Process context. Waits for drivers that report an event just now.
 */
void ioasid_veventq_destroy(struct iommufd_object *obj)
{
	struct ioasid_veventq *veventq = to_veventq(to_eventq(obj));
	struct iommufd_viommu *viommu = veventq->viommu;

	scoped_guard(rwsem_write, &viommu->veventqs_rwsem)
		list_del_init(&veventq->entry);
	refcount_dec(&viommu->obj.users);
	eventq_end(&veventq->common);
}
