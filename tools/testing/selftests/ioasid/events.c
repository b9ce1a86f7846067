// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file of EVENT_FD: when address spaces begin and cease to be used, what was
 * revoked, and how such a file is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "access_utils.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

#define REG		0x123400000000ULL
/* So many events wait to be read at most */
#define MAX_WAITING	1024

FIXTURE(events) {
	int iommu;
	int events;
	struct dma_device dev;
	__u32 ioasid;
	__u32 other;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(events)
{
	self->events = -1;
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->other));
	MEM_BEGIN(8 * PAGE);
	self->events = event_open(self->iommu);
	ASSERT_LE(0, self->events);
}

FIXTURE_TEARDOWN(events)
{
	if (self->events >= 0)
		close(self->events);
	DEVICE_END();
}

/* Return: what poll() says at once. */
static int polled(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	if (poll(&pollfd, 1, 0) < 0)
		return -errno;
	return pollfd.revents;
}

/* Whether the next event is this one */
static bool next_is(int fd, __u32 type, __u32 ioasid)
{
	struct iommu_event event = {};

	return !event_next(fd, &event) && event.type == type &&
	       event.ioasid == ioasid && !event.iova && !event.length;
}

static bool nothing_next(int fd)
{
	struct iommu_event event;

	return event_next(fd, &event) == -EAGAIN;
}

#define EXPECT_USED(id) \
	EXPECT_TRUE(next_is(self->events, IOMMU_EVENT_USED, (id)))
#define EXPECT_UNUSED(id) \
	EXPECT_TRUE(next_is(self->events, IOMMU_EVENT_UNUSED, (id)))
#define EXPECT_NOTHING() EXPECT_TRUE(nothing_next(self->events))

/* ---- used and unused ---- */

TEST_F(events, attach_and_detach)
{
	int i;

	EXPECT_NOTHING();
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
		EXPECT_EQ(POLLIN, polled(self->events));
		EXPECT_USED(self->ioasid);
		EXPECT_EQ(0, polled(self->events));
		/* To the same again changes nothing. */
		ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
		EXPECT_NOTHING();
		ASSERT_EQ(0, vfio_detach(self->dev.fd));
		EXPECT_UNUSED(self->ioasid);
		EXPECT_NOTHING();
	}
	/* Mapping is nothing that happens by itself. */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_NOTHING();
}

TEST_F(events, move)
{
	struct iommu_event event[2];

	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_USED(self->ioasid);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->other));
	ASSERT_EQ(2 * sizeof(*event), read(self->events, event, sizeof(event)));
	/* The one begins before the other ends. */
	EXPECT_EQ(IOMMU_EVENT_USED, event[0].type);
	EXPECT_EQ(self->other, event[0].ioasid);
	EXPECT_EQ(IOMMU_EVENT_UNUSED, event[1].type);
	EXPECT_EQ(self->ioasid, event[1].ioasid);
	EXPECT_NOTHING();
	dev_close(&self->dev);
	EXPECT_UNUSED(self->other);
	EXPECT_NOTHING();
}

/* The first who comes, and the last who goes */
TEST_F(events, two_devices)
{
	struct dma_device devs[2];

	if (dev_find_alone(devs, 2) < 2)
		SKIP(return, "no second DMA device");
	ASSERT_EQ(0, dev_open_bind(&devs[1], self->iommu));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_USED(self->ioasid);
	ASSERT_EQ(0, vfio_attach(devs[1].fd, self->ioasid));
	EXPECT_NOTHING();
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->other));
	EXPECT_USED(self->other);
	EXPECT_NOTHING();
	dev_close(&devs[1]);
	EXPECT_UNUSED(self->ioasid);
	EXPECT_NOTHING();
}

TEST_F(events, refused_attach)
{
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE, NULL,
				TEST_IOVA, PAGE));
	EXPECT_EQ(-EFAULT, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_NOTHING();
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->other));
	EXPECT_USED(self->other);
	EXPECT_EQ(-EFAULT, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_NOTHING();
}

/* A child is used for itself; its parent is not. */
TEST_F(events, child)
{
	__u32 child;

	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->ioasid, &child));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, child));
	EXPECT_USED(child);
	EXPECT_NOTHING();
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_UNUSED(child);
	EXPECT_NOTHING();
}

/* In-kernel users are not hardware. */
TEST_F(events, access)
{
	int device = access_open(self->iommu, self->ioasid);

	if (device == -ENODEV)
		SKIP(return, "no access test device");
	ASSERT_LE(0, device);
	EXPECT_NOTHING();
	close(device);
	EXPECT_NOTHING();
}

/* ---- PASIDs ---- */

TEST_F(events, pasids)
{
	if (test_device_instead(NULL, &self->dev, self->iommu))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, vfio_attach_pasid(self->dev.fd, 1, self->ioasid));
	EXPECT_USED(self->ioasid);
	ASSERT_EQ(0, vfio_attach_pasid(self->dev.fd, 2, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_NOTHING();
	ASSERT_EQ(0, vfio_attach_pasid(self->dev.fd, 2, self->other));
	EXPECT_USED(self->other);
	ASSERT_EQ(0, vfio_detach_pasid(self->dev.fd, 1));
	EXPECT_NOTHING();
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_UNUSED(self->ioasid);
	ASSERT_EQ(0, vfio_attach_pasid(self->dev.fd, 2, self->ioasid));
	EXPECT_USED(self->ioasid);
	EXPECT_UNUSED(self->other);
	ASSERT_EQ(0, vfio_detach_pasid(self->dev.fd, 2));
	EXPECT_UNUSED(self->ioasid);
	EXPECT_NOTHING();
	EXPECT_EQ(0, test_device_end(&self->dev));
}

/* ---- what was revoked ---- */

TEST_F(events, revoked)
{
	struct iommu_event event;
	__u32 prereg, child;

	ASSERT_EQ(0, ioasid_alloc_prereg(self->iommu, &prereg));
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, prereg, &child));
	ASSERT_EQ(0, ioasid_map(self->iommu, prereg, READ_WRITE, self->mem, REG,
				4 * PAGE));
	ASSERT_EQ(0, ioasid_show(self->iommu, child, READ_WRITE, REG + PAGE,
				 TEST_IOVA, 2 * PAGE));
	ASSERT_EQ(0, ioasid_revoke(self->iommu, prereg, REG, 4 * PAGE, NULL));
	ASSERT_EQ(0, event_next(self->events, &event));
	EXPECT_EQ(IOMMU_EVENT_REVOKED, event.type);
	EXPECT_EQ(child, event.ioasid);
	EXPECT_EQ(TEST_IOVA, event.iova);
	EXPECT_EQ(2 * PAGE, event.length);
	EXPECT_NOTHING();
}

/* The same page, shown @num times, is taken away. */
static int revoke_many(struct _test_data_events *self, unsigned int num)
{
	struct iommu_batch_entry *entries = calloc(num, sizeof(*entries));
	__u32 prereg, child, done = num;
	unsigned int i;
	int rc;

	if (!entries)
		return -ENOMEM;
	for (i = 0; i < num; i++)
		entries[i] = (struct iommu_batch_entry){
			.flags = READ_ONLY,
			.iova = TEST_IOVA + i * PAGE,
			.src = REG,
			.length = PAGE,
		};
	rc = ioasid_alloc_prereg(self->iommu, &prereg);
	if (!rc)
		rc = ioasid_alloc_child(self->iommu, prereg, &child);
	if (!rc)
		rc = ioasid_map(self->iommu, prereg, READ_WRITE, self->mem, REG,
				PAGE);
	if (!rc)
		rc = ioasid_batch(self->iommu, child, entries, &done, NULL);
	if (!rc)
		rc = ioasid_revoke(self->iommu, prereg, REG, PAGE, NULL);
	free(entries);
	return rc;
}

TEST_F(events, lost)
{
	unsigned int revoked = 0, lost = 0;
	struct iommu_event event;

	ASSERT_EQ(0, revoke_many(self, 2 * MAX_WAITING));
	while (!event_next(self->events, &event)) {
		/* It comes where the others would be. */
		EXPECT_EQ(0, lost);
		if (event.type == IOMMU_EVENT_LOST) {
			lost++;
			EXPECT_EQ(0, event.ioasid);
			EXPECT_EQ(0, event.iova);
			EXPECT_EQ(0, event.length);
		} else {
			revoked += event.type == IOMMU_EVENT_REVOKED;
		}
	}
	EXPECT_EQ(1, lost);
	EXPECT_GE(MAX_WAITING, revoked);
	EXPECT_LE(MAX_WAITING - 1, revoked);
	/* There is room again. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_USED(self->ioasid);
	EXPECT_NOTHING();
}

TEST_F(events, not_lost_yet)
{
	struct iommu_event event;
	unsigned int revoked = 0;

	ASSERT_EQ(0, revoke_many(self, MAX_WAITING - 1));
	while (!event_next(self->events, &event))
		revoked += event.type == IOMMU_EVENT_REVOKED;
	EXPECT_EQ(MAX_WAITING - 1, revoked);
}

/* ---- the file ---- */

TEST_F(events, read_sizes)
{
	struct iommu_event events[4];
	char *byte = (char *)events;
	void *nowhere = mmap(NULL, PAGE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* Whether there is something or not */
	EXPECT_EQ(-1, read(self->events, events, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, read(self->events, events, sizeof(*events) - 1));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_EQ(-1, read(self->events, events, sizeof(*events) - 1));
	EXPECT_EQ(EINVAL, errno);
	/* Nowhere to put it: it is not lost. */
	EXPECT_EQ(-1, read(self->events, nowhere, sizeof(*events)));
	EXPECT_EQ(EFAULT, errno);

	/* Whole ones only, and what does not fit waits. */
	memset(events, 0xee, sizeof(events));
	EXPECT_EQ(2 * sizeof(*events),
		  read(self->events, events, 3 * sizeof(*events) - 1));
	EXPECT_EQ(IOMMU_EVENT_USED, events[0].type);
	EXPECT_EQ(IOMMU_EVENT_UNUSED, events[1].type);
	EXPECT_TRUE(all_bytes(byte + 2 * sizeof(*events),
			      2 * sizeof(*events), 0xee));
	EXPECT_EQ(sizeof(*events), read(self->events, events, sizeof(events)));
	EXPECT_EQ(IOMMU_EVENT_USED, events[0].type);
	EXPECT_NOTHING();
}

static void *attach_later(void *arg)
{
	struct _test_data_events *self = arg;

	usleep(100000);
	return (void *)(long)vfio_attach(self->dev.fd, self->ioasid);
}

TEST_F(events, waits)
{
	struct pollfd pollfd = { .fd = self->events, .events = POLLIN };
	pthread_t thread;
	void *rc;

	ASSERT_EQ(0, fcntl(self->events, F_SETFL, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, attach_later, self));
	EXPECT_USED(self->ioasid);
	pthread_join(thread, &rc);
	EXPECT_EQ(NULL, rc);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_UNUSED(self->ioasid);
	ASSERT_EQ(0, pthread_create(&thread, NULL, attach_later, self));
	EXPECT_EQ(1, poll(&pollfd, 1, 5000));
	EXPECT_EQ(POLLIN, pollfd.revents);
	pthread_join(thread, NULL);
	EXPECT_USED(self->ioasid);
}

TEST_F(events, one_file_at_a_time)
{
	int again, other = iommu_open();

	EXPECT_EQ(-EBUSY, event_open(self->iommu));
	ASSERT_EQ(FD_CLOEXEC, fcntl(self->events, F_GETFD));
	/* Another context has its own. */
	ASSERT_LE(0, other);
	again = event_open(other);
	ASSERT_LE(0, again);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_TRUE(nothing_next(again));
	close(again);
	close(other);

	/* What nobody has read goes with the file. */
	ASSERT_EQ(0, close(self->events));
	self->events = event_open(self->iommu);
	ASSERT_LE(0, self->events);
	EXPECT_NOTHING();
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_UNUSED(self->ioasid);
	/* Without a file nothing is kept. */
	ASSERT_EQ(0, close(self->events));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	self->events = event_open(self->iommu);
	ASSERT_LE(0, self->events);
	EXPECT_NOTHING();
}

TEST_F(events, no_file_descriptor)
{
	struct rlimit old, limit;

	ASSERT_EQ(0, close(self->events));
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	limit = old;
	limit.rlim_cur = 3;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	self->events = event_open(self->iommu);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(-EMFILE, self->events);
	/* The place for it is free. */
	self->events = event_open(self->iommu);
	EXPECT_LE(0, self->events);
}

TEST_F(events, nowhere_to_tell)
{
	struct iommu_event_fd *cmd = mem_alloc(PAGE);

	ASSERT_NE(NULL, cmd);
	ASSERT_EQ(0, close(self->events));
	cmd->size = sizeof(*cmd);
	ASSERT_EQ(0, mprotect(cmd, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, iommu_call(self->iommu, IOMMU_EVENT_FD, cmd));
	self->events = event_open(self->iommu);
	EXPECT_LE(0, self->events);
}

/* It does not keep the context, and says when that has gone. */
TEST_F(events, hang_up)
{
	struct iommu_event event;

	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	close(self->iommu);
	self->iommu = -1;
	/* The device keeps it. */
	EXPECT_EQ(POLLIN, polled(self->events));
	EXPECT_USED(self->ioasid);
	EXPECT_EQ(0, polled(self->events));
	dev_close(&self->dev);
	EXPECT_EQ(POLLIN | POLLHUP, polled(self->events));
	EXPECT_UNUSED(self->ioasid);
	EXPECT_EQ(POLLHUP, polled(self->events) & POLLHUP);
	EXPECT_EQ(-ENODATA, event_next(self->events, &event));
	EXPECT_EQ(-ENODATA, event_next(self->events, &event));
}

static void *close_later(void *arg)
{
	struct _test_data_events *self = arg;

	usleep(100000);
	dev_close(&self->dev);
	close(self->iommu);
	return NULL;
}

TEST_F(events, hang_up_while_waiting)
{
	struct iommu_event event;
	pthread_t thread;

	ASSERT_EQ(0, fcntl(self->events, F_SETFL, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, close_later, self));
	EXPECT_EQ(-ENODATA, event_next(self->events, &event));
	pthread_join(thread, NULL);
	self->iommu = -1;
}

TEST_HARNESS_MAIN
