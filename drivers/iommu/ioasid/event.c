// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to address spaces, for a user to read from a file.
 *
 * The queue has room for a fixed number of events, so that nobody who reports one
 * allocates. When it is full, events are lost until the user has read that they
 * were. The open file and the context share the queue, and neither keeps the
 * other.
 *
 * Locks, outermost first:
 *
 *	ioasid_events.read_lock	one reader at a time; sleeps for user memory
 *	link_lock		how contexts and queues know each other
 *	iommufd_ctx.event_lock	under any lock of an address space
 *	ioasid_events.lock
 */
#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kfifo.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "ioasid_private.h"

#define NUM_EVENTS 1024

/**
 * struct ioasid_events - A queue of events
 * @ictx: The context, NULL when that has gone; under link_lock
 * @read_lock: Keeps readers from each other
 * @lock: Protects what follows
 * @lost: Events were lost behind the last one that is queued
 * @ended: The context has gone
 * @wait: Where readers wait
 * @fifo: The events
 */
struct ioasid_events {
	struct iommufd_ctx *ictx;
	struct mutex read_lock;	/* see above */
	spinlock_t lock;	/* see above */
	bool lost;
	bool ended;
	wait_queue_head_t wait;
	DECLARE_KFIFO(fifo, struct iommu_event, NUM_EVENTS);
};

static DEFINE_MUTEX(link_lock);

static bool has_events(struct ioasid_events *events)
{
	guard(spinlock)(&events->lock);
	return events->lost || !kfifo_is_empty(&events->fifo);
}

static void push_event(struct iommufd_ctx *ictx, const struct iommu_event *event)
{
	struct ioasid_events *events = ictx->events;

	lockdep_assert_held(&ictx->event_lock);

	if (!events)
		return;
	scoped_guard(spinlock, &events->lock)
		if (events->lost || !kfifo_put(&events->fifo, *event))
			events->lost = true;
	wake_up(&events->wait);
}

/**
 * ioasid_count_devices - Note that devices were attached or detached
 * @ioas: The address space
 * @num: How many more there are
 *
 * Tells the user when there are some and were none before, and the other way round.
 */
void ioasid_count_devices(struct ioasid *ioas, int num)
{
	struct iommu_event event = { .ioasid = ioas->obj.id };
	unsigned int old;

	guard(spinlock)(&ioas->ictx->event_lock);
	old = ioas->num_devices;
	WRITE_ONCE(ioas->num_devices, old + num);
	if (!old == !ioas->num_devices)
		return;
	event.type = old ? IOMMU_EVENT_UNUSED : IOMMU_EVENT_USED;
	push_event(ioas->ictx, &event);
}

/**
 * ioasid_revoked_event - Tell the user that a REVOKE takes a mapping out
 * @ioas: The address space
 * @map: The mapping
 *
 * Context: Any lock of an address space may be held. Allocates nothing.
 */
void ioasid_revoked_event(struct ioasid *ioas, const struct mapping *map)
{
	struct iommu_event event = {
		.type = IOMMU_EVENT_REVOKED,
		.ioasid = ioas->obj.id,
		.iova = map->first,
		.length = mapping_length(map),
	};

	guard(spinlock)(&ioas->ictx->event_lock);
	push_event(ioas->ictx, &event);
}

/**
 * ioasid_window_lost_event - Tell the user that a window is closed for a device
 * @ioas: The address space
 * @first: First address of the window
 * @last: Last address
 *
 * Context: As ioasid_revoked_event().
 */
void ioasid_window_lost_event(struct ioasid *ioas, unsigned long first,
			      unsigned long last)
{
	struct iommu_event event = {
		.type = IOMMU_EVENT_WINDOW_LOST,
		.ioasid = ioas->obj.id,
		.iova = first,
		.length = last - first + 1,
	};

	guard(spinlock)(&ioas->ictx->event_lock);
	push_event(ioas->ictx, &event);
}

/* ---- the file ---- */

/* The next events, which stay. Return: how many. */
static unsigned int peek_events(struct ioasid_events *events,
				struct iommu_event *buf, unsigned int room)
{
	unsigned int num;

	guard(spinlock)(&events->lock);
	num = kfifo_out_peek(&events->fifo, buf, room);
	if (!num && events->lost) {
		buf[0] = (struct iommu_event){ .type = IOMMU_EVENT_LOST };
		num = 1;
	}
	return num;
}

static void skip_events(struct ioasid_events *events, unsigned int num)
{
	guard(spinlock)(&events->lock);
	if (kfifo_is_empty(&events->fifo))
		events->lost = false;
	else
		kfifo_skip_count(&events->fifo, num);
}

#define READ_AT_ONCE 16

/* Return: bytes that were read, 0 if there is nothing, or -EFAULT. */
static ssize_t read_events(struct ioasid_events *events, char __user *ubuf,
			   size_t count)
{
	struct iommu_event buf[READ_AT_ONCE];
	size_t done = 0, size;
	unsigned int num;

	while (count - done >= sizeof(*buf)) {
		num = peek_events(events, buf,
				  min(READ_AT_ONCE,
				      (count - done) / sizeof(*buf)));
		if (!num)
			break;
		size = num * sizeof(*buf);
		if (copy_to_user(ubuf + done, buf, size))
			return done ? done : -EFAULT;
		skip_events(events, num);
		done += size;
	}
	return done;
}

static ssize_t events_read(struct file *file, char __user *ubuf, size_t count,
			   loff_t *pos)
{
	struct ioasid_events *events = file->private_data;
	ssize_t rc;

	if (count < sizeof(struct iommu_event))
		return -EINVAL;
	for (;;) {
		/* What comes before the end is read before the end. */
		bool ended = READ_ONCE(events->ended);

		if (mutex_lock_interruptible(&events->read_lock))
			return -ERESTARTSYS;
		rc = read_events(events, ubuf, count);
		mutex_unlock(&events->read_lock);
		if (rc || ended)
			return rc;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(events->wait,
					     has_events(events) ||
						     READ_ONCE(events->ended)))
			return -ERESTARTSYS;
	}
}

static __poll_t events_poll(struct file *file, struct poll_table_struct *wait)
{
	struct ioasid_events *events = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &events->wait, wait);
	if (READ_ONCE(events->ended))
		mask |= EPOLLHUP;
	if (has_events(events))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}

static void unlink_events(struct ioasid_events *events)
{
	struct iommufd_ctx *ictx = events->ictx;

	lockdep_assert_held(&link_lock);

	if (!ictx)
		return;
	guard(spinlock)(&ictx->event_lock);
	ictx->events = NULL;
	events->ictx = NULL;
}

static void events_free(struct ioasid_events *events)
{
	mutex_destroy(&events->read_lock);
	kvfree(events);
}

static int events_release(struct inode *inode, struct file *file)
{
	struct ioasid_events *events = file->private_data;

	scoped_guard(mutex, &link_lock)
		unlink_events(events);
	events_free(events);
	return 0;
}

static const struct file_operations events_fops = {
	.owner = THIS_MODULE,
	.read = events_read,
	.poll = events_poll,
	.release = events_release,
};

static struct ioasid_events *events_new(void)
{
	struct ioasid_events *events;

	events = kvzalloc_obj(*events, GFP_KERNEL_ACCOUNT);
	if (!events)
		return NULL;
	mutex_init(&events->read_lock);
	spin_lock_init(&events->lock);
	init_waitqueue_head(&events->wait);
	INIT_KFIFO(events->fifo);
	return events;
}

static int link_events(struct iommufd_ctx *ictx, struct ioasid_events *events)
{
	guard(mutex)(&link_lock);
	guard(spinlock)(&ictx->event_lock);
	if (ictx->events)
		return -EBUSY;
	ictx->events = events;
	events->ictx = ictx;
	return 0;
}

/**
 * ioasid_event_fd - Open the file that tells what happens to address spaces
 * @ucmd: IOMMU_EVENT_FD; its structure is copied to the user here
 *
 * Return: 0; -EBUSY: there is one already; -ENOMEM; as open() fails without a file
 * descriptor.
 */
int ioasid_event_fd(struct ioasid_ucmd *ucmd)
{
	struct iommu_event_fd *cmd = ucmd->cmd;
	struct ioasid_events *events;
	struct file *file;
	int fd, rc;

	events = events_new();
	if (!events)
		return -ENOMEM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		events_free(events);
		return fd;
	}
	file = anon_inode_getfile("[ioasid-events]", &events_fops, events,
				  O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		events_free(events);
		return PTR_ERR(file);
	}
	cmd->fd = fd;
	rc = link_events(ucmd->ictx, events);
	if (!rc)
		rc = ioasid_respond(ucmd, sizeof(*cmd));
	if (rc) {
		put_unused_fd(fd);
		fput(file);
		return rc;
	}
	fd_install(fd, file);
	return 0;
}

/**
 * ioasid_events_orphan - Let an open file know that its context has gone
 * @ictx: The context, about to be freed
 */
void ioasid_events_orphan(struct iommufd_ctx *ictx)
{
	struct ioasid_events *events;

	guard(mutex)(&link_lock);
	events = ictx->events;
	if (!events)
		return;
	unlink_events(events);
	WRITE_ONCE(events->ended, true);
	wake_up_all(&events->wait);
}
