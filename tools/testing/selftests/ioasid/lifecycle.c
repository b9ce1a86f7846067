// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ends of all kinds: killed processes, files that are passed on, duplicated and
 * closed in any order, calls that race with the end of what they work on. And
 * what can be seen of a context from outside.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_utils.h"
#include "ioasid_utils.h"

#define MEM_PAGES	16
#define COPY		256
#define BIG_SIZE	(128UL << 20)

/* An id that nothing has been given so far. */
#define NO_SUCH_ID	0x12345678U

/* Everything that a user of a device has. */
struct user {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	char *mem;
};

static int user_open(struct user *user)
{
	int rc;

	user->iommu = iommu_open();
	if (user->iommu < 0)
		return user->iommu;
	rc = dev_open_bind(&user->dev, user->iommu);
	if (rc)
		return rc;
	rc = ioasid_alloc(user->iommu, &user->ioasid);
	if (rc)
		return rc;
	user->mem = mem_alloc(MEM_PAGES * PAGE);
	if (!user->mem)
		return -ENOMEM;
	memset(user->mem, 0, MEM_PAGES * PAGE);
	return 0;
}

static int user_map_attach(struct user *user)
{
	int rc = ioasid_map(user->iommu, user->ioasid, READ_WRITE, user->mem,
			    TEST_IOVA, MEM_PAGES * PAGE);

	return rc ? rc : vfio_attach(user->dev.fd, user->ioasid);
}

static void user_close(struct user *user)
{
	dev_close(&user->dev);
	if (user->iommu >= 0)
		close(user->iommu);
	user->iommu = -1;
	if (user->mem)
		munmap(user->mem, MEM_PAGES * PAGE);
	user->mem = NULL;
}

/* Whether the device, attached to where user_map_attach() maps, can do DMA. */
static bool user_can_copy(struct user *user)
{
	fill_pattern(user->mem, COPY, 5);
	memset(user->mem + PAGE, 0, COPY);
	if (dev_dma_copy(&user->dev, TEST_IOVA, TEST_IOVA + PAGE, COPY))
		return false;
	return has_pattern(user->mem + PAGE, COPY, 5);
}

/* ---- SIGKILL in every phase ---- */

enum phase {
	PHASE_OPENED,
	PHASE_BOUND,
	PHASE_ALLOCATED,
	PHASE_MAPPED,
	PHASE_ATTACHED,
	PHASE_BIG_MAP,
	PHASE_BIG_ATTACH,
	PHASE_DMA,
	PHASE_LOOP,
};

FIXTURE(killed) {
	struct user user;
	struct counts counts;
};

FIXTURE_VARIANT(killed) {
	enum phase phase;
	/* How long the victim may go on in its phase, in milliseconds. */
	int delay;
};

FIXTURE_VARIANT_ADD(killed, opened) {
	.phase = PHASE_OPENED,
};

FIXTURE_VARIANT_ADD(killed, bound) {
	.phase = PHASE_BOUND,
};

FIXTURE_VARIANT_ADD(killed, allocated) {
	.phase = PHASE_ALLOCATED,
};

FIXTURE_VARIANT_ADD(killed, mapped) {
	.phase = PHASE_MAPPED,
};

FIXTURE_VARIANT_ADD(killed, attached) {
	.phase = PHASE_ATTACHED,
};

FIXTURE_VARIANT_ADD(killed, big_map) {
	.phase = PHASE_BIG_MAP,
	.delay = 100,
};

FIXTURE_VARIANT_ADD(killed, big_attach) {
	.phase = PHASE_BIG_ATTACH,
	.delay = 100,
};

FIXTURE_VARIANT_ADD(killed, dma) {
	.phase = PHASE_DMA,
	.delay = 10,
};

FIXTURE_VARIANT_ADD(killed, loop) {
	.phase = PHASE_LOOP,
	.delay = 500,
};

FIXTURE_SETUP(killed)
{
	COUNTS_BEGIN(&self->counts);
	self->user.iommu = -1;
	if (dev_find_alone(&self->user.dev, 1) < 1)
		SKIP(return, "no DMA device in an IOMMU group of its own");
}

FIXTURE_TEARDOWN(killed)
{
	user_close(&self->user);
	COUNTS_END(&self->counts);
}

/* Maps and unmaps until the end of the process. */
static void *loop_thread(void *arg)
{
	struct user *user = arg;
	unsigned int i = 0;

	for (;;) {
		__u64 iova = TEST_IOVA + (i++ * 7 % 64) * PAGE;

		ioasid_map(user->iommu, user->ioasid, READ_WRITE, user->mem,
			   iova, 4 * PAGE);
		ioasid_unmap(user->iommu, user->ioasid, iova, 4 * PAGE, NULL);
	}
	return NULL;
}

static void loop_forever(struct user *user)
{
	pthread_t thread;
	int i;

	for (i = 0; i < 3; i++)
		pthread_create(&thread, NULL, loop_thread, user);
	for (;;) {
		vfio_attach(user->dev.fd, user->ioasid);
		vfio_detach(user->dev.fd);
	}
}

/* Tells when the phase is reached; @ready is written once. */
static void victim(struct user *user, enum phase phase, int ready)
{
	char *big = NULL;
	int rc = 0;

	user->iommu = iommu_open();
	rc |= dev_open(&user->dev);
	if (phase >= PHASE_BOUND)
		rc |= dev_bind(&user->dev, user->iommu);
	if (phase >= PHASE_ALLOCATED)
		rc |= ioasid_alloc(user->iommu, &user->ioasid);
	user->mem = mem_alloc(MEM_PAGES * PAGE);
	if (phase >= PHASE_MAPPED)
		rc |= ioasid_map(user->iommu, user->ioasid, READ_WRITE,
				 user->mem, TEST_IOVA, MEM_PAGES * PAGE);
	if (phase == PHASE_BIG_MAP || phase == PHASE_BIG_ATTACH)
		big = mem_alloc(BIG_SIZE);
	if (phase == PHASE_BIG_ATTACH)
		rc |= ioasid_map(user->iommu, user->ioasid, READ_WRITE, big,
				 TEST_IOVA + (1 << 30), BIG_SIZE);
	else if (phase >= PHASE_ATTACHED)
		rc |= vfio_attach(user->dev.fd, user->ioasid);
	if (user->iommu < 0 || rc)
		_exit(1);

	if (phase == PHASE_DMA)
		dev_dma_start(&user->dev, TEST_IOVA, COPY, true);
	if (write(ready, "", 1) != 1)
		_exit(2);
	if (phase == PHASE_BIG_MAP)
		ioasid_map(user->iommu, user->ioasid, READ_WRITE, big,
			   TEST_IOVA + (1 << 30), BIG_SIZE);
	else if (phase == PHASE_BIG_ATTACH)
		vfio_attach(user->dev.fd, user->ioasid);
	else if (phase == PHASE_LOOP)
		loop_forever(user);
	for (;;)
		pause();
}

TEST_F(killed, leaves_nothing)
{
	struct counts now;
	double start;
	int status, pipes[2];
	pid_t pid;
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(pipes[0]);
		victim(&self->user, variant->phase, pipes[1]);
	}
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	close(pipes[0]);
	usleep(variant->delay * 1000);
	start = seconds();
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_GT(10, seconds() - start);
	EXPECT_TRUE(counts_settle(&self->counts, &now)) {
		TH_LOG("%ld pins left", now.pins - self->counts.pins);
	}

	/* The device is as good as new. */
	ASSERT_EQ(0, user_open(&self->user));
	ASSERT_EQ(0, user_map_attach(&self->user));
	EXPECT_TRUE(user_can_copy(&self->user));
}

/* ---- what is left when a call was interrupted ---- */

FIXTURE(user) {
	struct user user;
	struct counts counts;
};

FIXTURE_SETUP(user)
{
	COUNTS_BEGIN(&self->counts);
	self->user.iommu = -1;
	if (dev_find_alone(&self->user.dev, 1) < 1)
		SKIP(return, "no DMA device in an IOMMU group of its own");
	ASSERT_EQ(0, user_open(&self->user));
}

FIXTURE_TEARDOWN(user)
{
	user_close(&self->user);
	COUNTS_END(&self->counts);
}

/*
 * The victim cannot tell what its MAP_DMA returned, but somebody else has the
 * context, too: the mapping is there as a whole or not at all.
 */
TEST_F(user, killed_in_map)
{
	struct iommu_ioasid_info info;
	int delay, status;
	pid_t pid;

	ASSERT_EQ(0, user_map_attach(&self->user));
	for (delay = 10; delay <= 160; delay *= 2) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			char *big = mem_alloc(BIG_SIZE);

			ioasid_map(self->user.iommu, self->user.ioasid,
				   READ_WRITE, big, TEST_IOVA + (1 << 30),
				   BIG_SIZE);
			for (;;)
				pause();
		}
		usleep(delay * 1000);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));

		ASSERT_EQ(0, ioasid_totals(self->user.iommu, self->user.ioasid,
					   &info));
		EXPECT_EQ(info.mapped_bytes, info.pinned_bytes);
		if (info.num_mappings == 2) {
			EXPECT_EQ(MEM_PAGES * PAGE + BIG_SIZE,
				  info.mapped_bytes);
			EXPECT_EQ(0, ioasid_unmap(self->user.iommu,
						  self->user.ioasid,
						  TEST_IOVA + (1 << 30),
						  BIG_SIZE, NULL));
		} else {
			EXPECT_EQ(1, info.num_mappings);
			EXPECT_EQ(MEM_PAGES * PAGE, info.mapped_bytes);
		}
		/* The range is free, whatever became of the call. */
		EXPECT_EQ(0, ioasid_map(self->user.iommu, self->user.ioasid,
					READ_WRITE, self->user.mem,
					TEST_IOVA + (1 << 30), PAGE));
		EXPECT_EQ(0, ioasid_unmap(self->user.iommu, self->user.ioasid,
					  TEST_IOVA + (1 << 30), PAGE, NULL));
	}
	EXPECT_TRUE(user_can_copy(&self->user));
}

/* ---- calls that wait for memory ---- */

#define LATE_PAGES	4
#define LATE_IOVA	(TEST_IOVA + (1 << 30))

/* Memory of the process that is not there before late_give(). */
struct late {
	int uffd;
	char *mem;
};

static int late_open(struct late *late)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	late->mem = mem_alloc(LATE_PAGES * PAGE);
	late->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	reg.range.start = (uintptr_t)late->mem;
	reg.range.len = LATE_PAGES * PAGE;
	if (!late->mem || late->uffd < 0 ||
	    ioctl(late->uffd, UFFDIO_API, &api) ||
	    ioctl(late->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return 0;
}

/* Return: whether somebody has come to wait for the memory. */
static bool late_wanted(struct late *late)
{
	struct pollfd pollfd = { .fd = late->uffd, .events = POLLIN };
	struct uffd_msg msg;

	return poll(&pollfd, 1, 10000) == 1 &&
	       read(late->uffd, &msg, sizeof(msg)) == sizeof(msg);
}

static int late_give(struct late *late)
{
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)late->mem,
		.range.len = LATE_PAGES * PAGE,
	};

	return ioctl(late->uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

static void late_close(struct late *late)
{
	close(late->uffd);
	munmap(late->mem, LATE_PAGES * PAGE);
}

/* A call in a thread of its own. */
struct waiter {
	struct user *user;
	struct dma_device *dev;
	struct late late;
	pthread_t thread;
	int rc;
};

static void *wait_in_map(void *arg)
{
	struct waiter *waiter = arg;

	waiter->rc = ioasid_map(waiter->user->iommu, waiter->user->ioasid,
				READ_WRITE, waiter->late.mem, LATE_IOVA,
				LATE_PAGES * PAGE);
	return NULL;
}

static void *wait_in_attach(void *arg)
{
	struct waiter *waiter = arg;

	waiter->rc = vfio_attach(waiter->dev->fd, waiter->user->ioasid);
	return NULL;
}

static void *wait_in_free(void *arg)
{
	struct waiter *waiter = arg;

	waiter->rc = ioasid_free(waiter->user->iommu, waiter->user->ioasid);
	return NULL;
}

/* Return: whether the IOASID cannot be found, because it is being freed. */
static bool user_ioasid_hidden(struct user *user)
{
	struct iommu_ioasid_info info;
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		if (ioasid_totals(user->iommu, user->ioasid, &info) == -ENOENT)
			return true;
		usleep(1000);
	}
	return false;
}

/* A FREE waits for a MAP under way. If it is killed it has done nothing. */
TEST_F(user, killed_in_free)
{
	struct waiter map = { .user = &self->user };
	struct iommu_ioasid_info info;
	int status;
	pid_t pid;

	ASSERT_EQ(0, late_open(&map.late));
	ASSERT_EQ(0, vfio_attach(self->user.dev.fd, self->user.ioasid));
	ASSERT_EQ(0, pthread_create(&map.thread, NULL, wait_in_map, &map));
	ASSERT_TRUE(late_wanted(&map.late));
	ASSERT_EQ(0, vfio_detach(self->user.dev.fd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ioasid_free(self->user.iommu, self->user.ioasid);
		_exit(0);
	}
	EXPECT_TRUE(user_ioasid_hidden(&self->user));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, ioasid_totals(self->user.iommu, self->user.ioasid, &info));

	ASSERT_EQ(0, late_give(&map.late));
	pthread_join(map.thread, NULL);
	EXPECT_EQ(0, map.rc);
	ASSERT_EQ(0, ioasid_totals(self->user.iommu, self->user.ioasid, &info));
	EXPECT_EQ(1, info.num_mappings);
	EXPECT_EQ(0, info.pinned_bytes);
	EXPECT_EQ(0, ioasid_free(self->user.iommu, self->user.ioasid));
	late_close(&map.late);
}

/* An attach under way wins over a FREE that came later. */
TEST_F(user, free_during_attach)
{
	struct waiter attach = { .user = &self->user, .dev = &self->user.dev };
	struct waiter free = { .user = &self->user };
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, late_open(&attach.late));
	ASSERT_EQ(0, ioasid_map(self->user.iommu, self->user.ioasid, READ_WRITE,
				attach.late.mem, LATE_IOVA, LATE_PAGES * PAGE));
	ASSERT_EQ(0, pthread_create(&attach.thread, NULL, wait_in_attach,
				    &attach));
	ASSERT_TRUE(late_wanted(&attach.late));
	ASSERT_EQ(0, pthread_create(&free.thread, NULL, wait_in_free, &free));
	EXPECT_TRUE(user_ioasid_hidden(&self->user));
	/* There is nothing to be found, so nothing to free. */
	EXPECT_EQ(-ENOENT, ioasid_free(self->user.iommu, self->user.ioasid));
	ASSERT_EQ(0, late_give(&attach.late));
	pthread_join(attach.thread, NULL);
	pthread_join(free.thread, NULL);
	EXPECT_EQ(0, attach.rc);
	EXPECT_EQ(-EBUSY, free.rc);

	ASSERT_EQ(0, ioasid_totals(self->user.iommu, self->user.ioasid, &info));
	EXPECT_EQ(1, info.num_devices);
	EXPECT_EQ(LATE_PAGES * PAGE, info.pinned_bytes);
	ASSERT_EQ(0, vfio_detach(self->user.dev.fd));
	EXPECT_EQ(0, ioasid_free(self->user.iommu, self->user.ioasid));
	late_close(&attach.late);
}

/* Two that need the same memory: it is pinned, and paid for, once. */
TEST_F(user, attach_during_attach)
{
	struct waiter one = { .user = &self->user, .dev = &self->user.dev };
	struct waiter two = { .user = &self->user };
	struct counts before, now;
	struct dma_device dev[2];

	if (dev_find_alone(dev, 2) < 2)
		SKIP(return, "no second DMA device in a group of its own");
	ASSERT_EQ(0, dev_open_bind(&dev[1], self->user.iommu));
	two.dev = &dev[1];
	ASSERT_EQ(0, late_open(&one.late));
	ASSERT_EQ(0, ioasid_map(self->user.iommu, self->user.ioasid, READ_WRITE,
				one.late.mem, LATE_IOVA, LATE_PAGES * PAGE));
	ASSERT_EQ(0, counts_read(&before));
	ASSERT_EQ(0, pthread_create(&one.thread, NULL, wait_in_attach, &one));
	ASSERT_TRUE(late_wanted(&one.late));
	ASSERT_EQ(0, pthread_create(&two.thread, NULL, wait_in_attach, &two));
	usleep(50000);
	ASSERT_EQ(0, late_give(&one.late));
	pthread_join(one.thread, NULL);
	pthread_join(two.thread, NULL);
	EXPECT_EQ(0, one.rc);
	EXPECT_EQ(0, two.rc);
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(LATE_PAGES, now.pins - before.pins);
	EXPECT_EQ(LATE_PAGES * PAGE, now.locked - before.locked);

	dev_close(&dev[1]);
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(LATE_PAGES, now.pins - before.pins);
	ASSERT_EQ(0, vfio_detach(self->user.dev.fd));
	EXPECT_TRUE(counts_settle(&before, &now));
	late_close(&one.late);
}

/*
 * A process that is killed while @call waits for its memory. Return: 0, or what
 * went wrong.
 */
static int kill_while(struct user *user, void *(*call)(void *arg), bool map)
{
	int pipes[2], status;
	char byte = 0;
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	pid = fork();
	if (!pid) {
		struct waiter waiter = { .user = user, .dev = &user->dev };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (late_open(&waiter.late))
			_exit(1);
		if (map)
			wait_in_map(&waiter);
		pthread_create(&waiter.thread, NULL, call, &waiter);
		byte = late_wanted(&waiter.late);
		if (write(pipes[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	if (read(pipes[0], &byte, 1) != 1)
		byte = 0;
	close(pipes[0]);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return -ECHILD;
	return byte ? 0 : -ETIMEDOUT;
}

TEST_F(user, killed_waiting_in_map)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, user_map_attach(&self->user));
	ASSERT_EQ(0, kill_while(&self->user, wait_in_map, false));
	ASSERT_EQ(0, ioasid_totals(self->user.iommu, self->user.ioasid, &info));
	EXPECT_EQ(1, info.num_mappings);
	EXPECT_EQ(MEM_PAGES * PAGE, info.pinned_bytes);
	EXPECT_EQ(0, ioasid_map(self->user.iommu, self->user.ioasid, READ_WRITE,
				self->user.mem, LATE_IOVA, PAGE));
	EXPECT_TRUE(user_can_copy(&self->user));
}

TEST_F(user, killed_waiting_in_attach)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, kill_while(&self->user, wait_in_attach, true));
	ASSERT_EQ(0, ioasid_totals(self->user.iommu, self->user.ioasid, &info));
	EXPECT_EQ(1, info.num_mappings);
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(0, info.pinned_bytes);
	/* The memory went with its process. */
	EXPECT_EQ(-EFAULT, vfio_attach(self->user.dev.fd, self->user.ioasid));
	ASSERT_EQ(0, ioasid_unmap_all(self->user.iommu, self->user.ioasid,
				      NULL));
	ASSERT_EQ(0, user_map_attach(&self->user));
	EXPECT_TRUE(user_can_copy(&self->user));
}

/* ---- files ---- */

TEST_F(user, dup)
{
	struct iommu_ioasid_info info;
	int copy = dup(self->user.iommu);

	ASSERT_LE(0, copy);
	ASSERT_EQ(0, user_map_attach(&self->user));
	ASSERT_EQ(0, ioasid_totals(copy, self->user.ioasid, &info));
	EXPECT_EQ(1, info.num_mappings);
	close(self->user.iommu);
	self->user.iommu = copy;
	EXPECT_TRUE(user_can_copy(&self->user));
	EXPECT_EQ(0, ioasid_unmap_all(copy, self->user.ioasid, NULL));
	EXPECT_FALSE(user_can_copy(&self->user));
}

/* Two opens have nothing in common. */
TEST_F(user, open_twice)
{
	int other = iommu_open();
	__u32 dev_id;

	ASSERT_LE(0, other);
	/* A device is bound once. */
	EXPECT_GT(0, vfio_bind(self->user.dev.fd, other, &dev_id));
	EXPECT_GT(0, vfio_bind(self->user.dev.fd, self->user.iommu, &dev_id));
	ASSERT_EQ(0, user_map_attach(&self->user));
	close(other);
	EXPECT_TRUE(user_can_copy(&self->user));
}

/* Only /dev/iommu is what a device can be bound to. */
TEST_F(user, bind_to_something_else)
{
	int null = open("/dev/null", O_RDWR);
	__u32 dev_id;

	dev_close(&self->user.dev);
	ASSERT_EQ(0, dev_open(&self->user.dev));
	EXPECT_GT(0, vfio_bind(self->user.dev.fd, null, &dev_id));
	EXPECT_GT(0, vfio_bind(self->user.dev.fd, -1, &dev_id));
	EXPECT_GT(0, vfio_bind(self->user.dev.fd, 1000, &dev_id));
	EXPECT_EQ(0, dev_bind(&self->user.dev, self->user.iommu));
	close(null);
}

/*
 * The device works until it is closed, though nobody can change anything any
 * more; then the whole context goes.
 */
TEST_F(user, close_iommu_first)
{
	struct counts now;

	ASSERT_EQ(0, user_map_attach(&self->user));
	close(self->user.iommu);
	self->user.iommu = -1;
	EXPECT_TRUE(user_can_copy(&self->user));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(MEM_PAGES, now.pins - self->counts.pins);
	dev_close(&self->user.dev);
	EXPECT_TRUE(counts_settle(&self->counts, &now));
}

/* Takes a file of another process, as if it had been passed on. */
static int get_fd(pid_t pid, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	int copy = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	int rc = copy < 0 ? -errno : copy;

	close(pidfd);
	return rc;
}

/* The numbers that a child tells its parent. */
struct passed {
	int iommu;
	int device;
	__u32 ioasid;
};

FIXTURE(fresh) {
	struct user user;
	struct counts counts;
};

FIXTURE_SETUP(fresh)
{
	COUNTS_BEGIN(&self->counts);
	self->user.iommu = -1;
	if (dev_find_alone(&self->user.dev, 1) < 1)
		SKIP(return, "no DMA device in an IOMMU group of its own");
}

FIXTURE_TEARDOWN(fresh)
{
	user_close(&self->user);
	COUNTS_END(&self->counts);
}

/* A process opens all and passes it on, with its own memory mapped, and ends. */
TEST_F(fresh, files_passed_on)
{
	struct user *user = &self->user;
	struct iommu_ioasid_info info;
	struct passed passed;
	int pipes[2], status;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (user_open(user) || user_map_attach(user))
			_exit(1);
		fill_pattern(user->mem, COPY, 9);
		passed.iommu = user->iommu;
		passed.device = user->dev.fd;
		passed.ioasid = user->ioasid;
		if (write(pipes[1], &passed, sizeof(passed)) < 0)
			_exit(2);
		for (;;)
			pause();
	}
	close(pipes[1]);
	ASSERT_EQ(sizeof(passed), read(pipes[0], &passed, sizeof(passed)));
	close(pipes[0]);
	user->iommu = get_fd(pid, passed.iommu);
	ASSERT_LE(0, user->iommu);
	user->dev.fd = get_fd(pid, passed.device);
	ASSERT_LE(0, user->dev.fd);
	user->ioasid = passed.ioasid;
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, ioasid_totals(user->iommu, user->ioasid, &info));
	EXPECT_EQ(1, info.num_mappings);
	EXPECT_EQ(MEM_PAGES * PAGE, info.pinned_bytes);

	/* The page of the child is still there for the device. */
	user->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, user->mem);
	memset(user->mem, 0, PAGE);
	ASSERT_EQ(0, ioasid_map(user->iommu, user->ioasid, READ_WRITE,
				user->mem, TEST_IOVA + MEM_PAGES * PAGE,
				PAGE));
	ASSERT_EQ(0, dev_take_over(&user->dev));
	ASSERT_EQ(0, dev_dma_copy(&user->dev, TEST_IOVA,
				  TEST_IOVA + MEM_PAGES * PAGE, COPY));
	EXPECT_TRUE(has_pattern(user->mem, COPY, 9));
	EXPECT_EQ(0, ioasid_unmap_all(user->iommu, user->ioasid, NULL));
}

/* ---- races ---- */

struct race {
	struct user *user;
	pthread_t threads[8];
	int num;
	bool stop;
	unsigned int seed;
	__u32 spare;
	/* The first result that no call may have. */
	int wrong;
	const char *who;
};

static bool race_on(struct race *race)
{
	return !__atomic_load_n(&race->stop, __ATOMIC_RELAXED);
}

static void race_wrong(struct race *race, int rc, const char *who)
{
	int none = 0;

	if (__atomic_compare_exchange_n(&race->wrong, &none, rc, false,
					__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		race->who = who;
}

static void race_start(struct race *race, void *(*run)(void *))
{
	if (!pthread_create(&race->threads[race->num], NULL, run, race))
		race->num++;
}

static void race_end(struct race *race)
{
	__atomic_store_n(&race->stop, true, __ATOMIC_RELAXED);
	while (race->num)
		pthread_join(race->threads[--race->num], NULL);
}

static void *race_device_info(void *arg)
{
	struct race *race = arg;
	struct iommu_group_member members[4];
	__u32 dev_id = race->user->dev.dev_id;

	while (race_on(race)) {
		struct iommu_device_info info = {
			.num_members = 4,
			.members = (uintptr_t)members,
		};
		int rc = iommu_device_info(race->user->iommu, dev_id, &info);

		if (rc && rc != -ENOENT)
			race_wrong(race, rc, "DEVICE_GET_INFO");
		rc = iommu_device_cookie(race->user->iommu, dev_id, 1);
		if (rc && rc != -ENOENT)
			race_wrong(race, rc, "DEVICE_SET_COOKIE");
	}
	return NULL;
}

/* Who unbinds does not queue up behind those who only look. */
TEST_F(user, unbind_against_get_info)
{
	struct race race = { .user = &self->user };
	double start, alone, longest = 0;
	__u32 ioasid;
	int i;

	/* What the device itself needs for it: it may be reset. */
	start = seconds();
	dev_close(&self->user.dev);
	alone = seconds() - start;
	ASSERT_EQ(0, dev_open_bind(&self->user.dev, self->user.iommu));
	for (i = 0; i < 4; i++)
		race_start(&race, race_device_info);
	for (i = 0; i < (alone > 1.0 ? 3 : 10); i++) {
		__u32 id = self->user.dev.dev_id;

		usleep(50000);
		start = seconds();
		dev_close(&self->user.dev);
		if (seconds() - start > longest)
			longest = seconds() - start;
		EXPECT_EQ(-ENOENT, iommu_device_cookie(self->user.iommu, id,
						       1));
		ASSERT_EQ(0, dev_open_bind(&self->user.dev, self->user.iommu));
	}
	race_end(&race);
	EXPECT_EQ(0, race.wrong) {
		TH_LOG("from %s", race.who);
	}
	EXPECT_GT(2 * alone + 1.0, longest) {
		TH_LOG("%d ms, alone %d ms", (int)(longest * 1000),
		       (int)(alone * 1000));
	}
	ASSERT_EQ(0, ioasid_alloc(self->user.iommu, &ioasid));
}

static unsigned int race_random(unsigned int *state)
{
	*state = *state * 1103515245 + 12345;
	return *state >> 16;
}

static void *race_map(void *arg)
{
	struct race *race = arg;
	unsigned int state = __atomic_add_fetch(&race->seed, 77,
						__ATOMIC_RELAXED);

	while (race_on(race)) {
		unsigned int n = race_random(&state);
		__u64 iova = TEST_IOVA + (n % 32) * PAGE;
		__u64 length = (1 + n / 32 % 8) * PAGE;
		__u64 unmapped;
		int rc;

		if (n & 0x4000) {
			rc = ioasid_map(race->user->iommu, race->user->ioasid,
					READ_WRITE, race->user->mem, iova,
					length);
			if (rc && rc != -EEXIST)
				race_wrong(race, rc, "MAP_DMA");
		} else if (n & 0x2000) {
			rc = ioasid_map_alloc(race->user->iommu,
					      race->user->ioasid, READ_ONLY,
					      race->user->mem, length, &iova);
			if (rc)
				race_wrong(race, rc, "MAP_DMA, ALLOC_IOVA");
			/* Somebody may have taken it away with ALL. */
			ioasid_unmap(race->user->iommu, race->user->ioasid,
				     iova, length, NULL);
		} else {
			rc = ioasid_unmap(race->user->iommu,
					  race->user->ioasid, iova, length,
					  &unmapped);
			if (rc && rc != -EINVAL)
				race_wrong(race, rc, "UNMAP_DMA");
			if (!rc && unmapped > length)
				race_wrong(race, -ERANGE, "UNMAP_DMA");
		}
	}
	return NULL;
}

static void *race_unmap_all(void *arg)
{
	struct race *race = arg;

	while (race_on(race)) {
		int rc = ioasid_unmap_all(race->user->iommu,
					  race->user->ioasid, NULL);

		if (rc)
			race_wrong(race, rc, "UNMAP_DMA, ALL");
		usleep(2000);
	}
	return NULL;
}

static void *race_attach(void *arg)
{
	struct race *race = arg;
	unsigned int state = 3;

	while (race_on(race)) {
		unsigned int n = race_random(&state) % 4;
		int rc;

		if (!n)
			rc = vfio_detach(race->user->dev.fd);
		else
			rc = vfio_attach(race->user->dev.fd, n == 1 ?
					 race->spare : race->user->ioasid);
		/* The kernel may choose addresses outside of windows to come. */
		if (n && rc == -EADDRINUSE &&
		    dev_num_windows(&race->user->dev, race->user->iommu))
			continue;
		if (rc)
			race_wrong(race, rc, n ? "attach" : "detach");
	}
	return NULL;
}

static void *race_look(void *arg)
{
	struct race *race = arg;
	struct iommu_range ranges[4];
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d",
		 race->user->iommu);
	while (race_on(race)) {
		struct iommu_ioasid_info info = {
			.num_ranges = 4,
			.ranges = (uintptr_t)ranges,
		};
		int rc = ioasid_info(race->user->iommu, race->user->ioasid,
				     &info);

		if (rc)
			race_wrong(race, rc, "IOASID_GET_INFO");
		else if (info.pinned_bytes > info.mapped_bytes ||
			 info.mapped_bytes % PAGE)
			race_wrong(race, -ERANGE, "IOASID_GET_INFO");
		if (file_read(path, text, sizeof(text)) < 0)
			race_wrong(race, -EIO, "fdinfo");
		rc = ioasid_free(race->user->iommu, NO_SUCH_ID);
		if (rc != -ENOENT)
			race_wrong(race, rc, "IOASID_FREE");
		usleep(1000);
	}
	return NULL;
}

TEST_F_TIMEOUT(user, everything_at_once, 60)
{
	struct iommu_ioasid_info info;
	struct race race = { .user = &self->user };
	double end = seconds() + 4;

	ASSERT_EQ(0, ioasid_alloc(self->user.iommu, &race.spare));
	ASSERT_EQ(0, ioasid_map(self->user.iommu, race.spare, READ_WRITE,
				self->user.mem, TEST_IOVA, PAGE));
	race_start(&race, race_map);
	race_start(&race, race_map);
	race_start(&race, race_map);
	race_start(&race, race_unmap_all);
	race_start(&race, race_attach);
	race_start(&race, race_look);
	while (seconds() < end && !race.wrong)
		usleep(100000);
	race_end(&race);
	EXPECT_EQ(0, race.wrong) {
		TH_LOG("from %s", race.who);
	}

	/* All of it is still in order. */
	ASSERT_EQ(0, ioasid_unmap_all(self->user.iommu, self->user.ioasid,
				      NULL));
	ASSERT_EQ(0, vfio_detach(self->user.dev.fd));
	ASSERT_EQ(0, ioasid_totals(self->user.iommu, self->user.ioasid, &info));
	EXPECT_EQ(0, info.num_mappings);
	EXPECT_EQ(0, info.mapped_bytes);
	EXPECT_EQ(0, info.pinned_bytes);
	ASSERT_EQ(0, ioasid_free(self->user.iommu, race.spare));
	ASSERT_EQ(0, user_map_attach(&self->user));
	EXPECT_TRUE(user_can_copy(&self->user));
}

/* Allocates and frees an IOASID; its number is the same again and again. */
static void *race_free(void *arg)
{
	struct race *race = arg;

	while (race_on(race)) {
		__u32 ioasid;
		int rc = ioasid_alloc(race->user->iommu, &ioasid);

		if (rc) {
			race_wrong(race, rc, "IOASID_ALLOC");
			continue;
		}
		__atomic_store_n(&race->spare, ioasid, __ATOMIC_RELAXED);
		if (race_random(&race->seed) % 2)
			usleep(500);
		do {
			rc = ioasid_free(race->user->iommu, ioasid);
		} while (rc == -EBUSY);
		if (rc)
			race_wrong(race, rc, "IOASID_FREE");
	}
	return NULL;
}

static void *race_use(void *arg)
{
	struct race *race = arg;

	while (race_on(race)) {
		__u32 ioasid = __atomic_load_n(&race->spare, __ATOMIC_RELAXED);
		int rc = ioasid_map(race->user->iommu, ioasid, READ_WRITE,
				    race->user->mem, TEST_IOVA, 4 * PAGE);

		if (rc && rc != -ENOENT && rc != -EEXIST)
			race_wrong(race, rc, "MAP_DMA");
		rc = ioasid_unmap(race->user->iommu, ioasid, TEST_IOVA,
				  4 * PAGE, NULL);
		if (rc && rc != -ENOENT)
			race_wrong(race, rc, "UNMAP_DMA");
	}
	return NULL;
}

static void *race_attach_spare(void *arg)
{
	struct race *race = arg;

	while (race_on(race)) {
		int rc = vfio_attach(race->user->dev.fd,
				     __atomic_load_n(&race->spare,
						     __ATOMIC_RELAXED));

		if (rc && rc != -ENOENT)
			race_wrong(race, rc, "attach");
		rc = vfio_detach(race->user->dev.fd);
		if (rc)
			race_wrong(race, rc, "detach");
	}
	return NULL;
}

TEST_F_TIMEOUT(user, free_against_use, 60)
{
	struct race race = { .user = &self->user };
	double end = seconds() + 4;

	race_start(&race, race_free);
	race_start(&race, race_use);
	race_start(&race, race_use);
	race_start(&race, race_attach_spare);
	while (seconds() < end && !race.wrong)
		usleep(100000);
	race_end(&race);
	EXPECT_EQ(0, race.wrong) {
		TH_LOG("from %s", race.who);
	}
	ASSERT_EQ(0, user_map_attach(&self->user));
	EXPECT_TRUE(user_can_copy(&self->user));
}

/* ---- seen from outside ---- */

TEST_F(user, fdinfo)
{
	struct user *user = &self->user;
	char path[64], text[4096], line[256];
	struct iommu_ioasid_info info;
	__u32 second;

	ASSERT_EQ(0, ioasid_alloc(user->iommu, &second));
	ASSERT_EQ(0, iommu_device_cookie(user->iommu, user->dev.dev_id,
					 0xc00c1e));
	ASSERT_EQ(0, user_map_attach(user));
	ASSERT_EQ(0, ioasid_map(user->iommu, second, READ_WRITE, user->mem, 0,
				3 * PAGE));
	ASSERT_EQ(0, ioasid_totals(user->iommu, user->ioasid, &info));

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", user->iommu);
	ASSERT_LT(0, file_read(path, text, sizeof(text)));
	/* The device, two address spaces and the page table of one of them */
	EXPECT_NE(NULL, strstr(text, "\nioasid-objects:\t4\n")) {
		TH_LOG("%s", text);
	}
	snprintf(line, sizeof(line), " ioasid %u automatic charged %ld\n",
		 user->ioasid, tables_charged());
	EXPECT_NE(NULL, strstr(text, "\nhwpt:\t"));
	EXPECT_NE(NULL, strstr(text, line)) {
		TH_LOG("no line with '%s'", line);
	}
	snprintf(line, sizeof(line), "\ndevice:\t%u group %d cookie 0x%x %s\n",
		 user->dev.dev_id, user->dev.group, 0xc00c1e, user->dev.name);
	EXPECT_NE(NULL, strstr(text, line)) {
		TH_LOG("no line '%s'", line + 1);
	}
	snprintf(line, sizeof(line),
		 "\nioasid:\t%u type kernel parent 0 devices 1 accesses 0 tables %u mappings 1 mapped %lu pinned %lu windows %d\n",
		 user->ioasid, info.num_tables, MEM_PAGES * PAGE,
		 MEM_PAGES * PAGE, !!dev_num_windows(&user->dev, user->iommu));
	EXPECT_NE(NULL, strstr(text, line)) {
		TH_LOG("no line '%s'", line + 1);
	}
	snprintf(line, sizeof(line),
		 "\nioasid:\t%u type kernel parent 0 devices 0 accesses 0 tables 0 mappings 1 mapped %lu pinned 0 windows 0\n",
		 second, 3 * PAGE);
	EXPECT_NE(NULL, strstr(text, line)) {
		TH_LOG("no line '%s'", line + 1);
	}

	/* It follows what happens. */
	dev_close(&user->dev);
	ASSERT_EQ(0, ioasid_free(user->iommu, second));
	ASSERT_LT(0, file_read(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "\nioasid-objects:\t1\n"));
	EXPECT_EQ(NULL, strstr(text, "\ndevice:"));
}

#define TRACING "/sys/kernel/tracing"

TEST_F(user, tracepoints)
{
	struct user *user = &self->user;
	static char text[65536];
	char line[160];

	if (access(TRACING "/trace", F_OK))
		SKIP(return, "tracefs is not mounted");
	/* Opening it like this empties it. */
	close(open(TRACING "/trace", O_WRONLY | O_TRUNC));
	ASSERT_EQ(0, file_write(TRACING "/events/ioasid/enable", "1"));
	EXPECT_EQ(0, user_map_attach(user));
	EXPECT_EQ(-EEXIST, ioasid_map(user->iommu, user->ioasid, READ_WRITE,
				      user->mem, TEST_IOVA, PAGE));
	EXPECT_EQ(0, ioasid_unmap_all(user->iommu, user->ioasid, NULL));
	EXPECT_EQ(-ENOENT, vfio_attach(user->dev.fd, NO_SUCH_ID));
	EXPECT_EQ(0, vfio_detach(user->dev.fd));
	ASSERT_EQ(0, file_write(TRACING "/events/ioasid/enable", "0"));
	ASSERT_LT(0, file_read(TRACING "/trace", text, sizeof(text)));

	snprintf(line, sizeof(line), "ioasid_map: ioasid=%u iova=0x%llx length=0x%lx",
		 user->ioasid, TEST_IOVA, MEM_PAGES * PAGE);
	EXPECT_NE(NULL, strstr(text, line)) {
		TH_LOG("no '%s' in\n%s", line, text);
	}
	/* Calls that fail are shown, too. */
	snprintf(line, sizeof(line), "result=%d", -EEXIST);
	EXPECT_NE(NULL, strstr(text, line));
	snprintf(line, sizeof(line), "ioasid_unmap: ioasid=%u", user->ioasid);
	EXPECT_NE(NULL, strstr(text, line));
	snprintf(line, sizeof(line), "unmapped=0x%lx", MEM_PAGES * PAGE);
	EXPECT_NE(NULL, strstr(text, line));
	snprintf(line, sizeof(line), "ioasid_attach: dev=%s pasid=0 ioasid=%u result=0",
		 user->dev.name, user->ioasid);
	EXPECT_NE(NULL, strstr(text, line));
	snprintf(line, sizeof(line), "result=%d", -ENOENT);
	EXPECT_NE(NULL, strstr(text, line));
	snprintf(line, sizeof(line), "ioasid_detach: dev=%s", user->dev.name);
	EXPECT_NE(NULL, strstr(text, line));
}

TEST_HARNESS_MAIN
