// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything that can fail inside a call is made to fail, one after the other:
 * allocations, and what CONFIG_IOASID_FAULT_INJECTION adds to them. The call
 * fails cleanly and leaves everything as it was, or it does without; then it
 * works.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "access_utils.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"
#include "uring_utils.h"

#define MEM_PAGES	24
#define SCATTERED	12
#define MAX_POINTS	800
#define MAX_ERRORS	8

FIXTURE(fail_nth) {
	int iommu;
	int fresh;
	int group;
	int access;
	char access_cdev[2][64];
	struct dma_device dev;
	struct dma_device second;
	__u32 ioasid;
	__u32 other;
	__u32 hwpt;
	__u32 parent;
	__u32 fault;
	int queue;
	struct uring ring;
	__u64 iova;
	char *mem;
	int memfd;
	int hugefd;
	int fail_nth;
	bool only_ours;
	struct counts counts;
};

static int fault_config(const char *name, const char *file, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", name, file);
	return file_write(path, value);
}

/* Let everything be something that may fail, quietly. */
static int fault_setup(void)
{
	int rc = 0;

	rc |= fault_config("failslab", "ignore-gfp-wait", "N");
	rc |= fault_config("failslab", "verbose", "0");
	rc |= fault_config("fail_page_alloc", "ignore-gfp-wait", "N");
	rc |= fault_config("fail_page_alloc", "ignore-gfp-highmem", "N");
	rc |= fault_config("fail_page_alloc", "min-order", "0");
	rc |= fault_config("fail_page_alloc", "verbose", "0");
	rc |= fault_config("fail_ioasid", "verbose", "0");
	return rc;
}

/* @times failures in a row of what is not an allocation, the @space-th first. */
static int fail_in_a_row(int space, int times)
{
	char text[16];
	int rc = 0;

	snprintf(text, sizeof(text), "%d", space);
	rc |= fault_config("fail_ioasid", "space", text);
	snprintf(text, sizeof(text), "%d", times);
	rc |= fault_config("fail_ioasid", "times", text);
	rc |= fault_config("fail_ioasid", "task-filter", "Y");
	rc |= file_write("/proc/self/make-it-fail", "1");
	rc |= fault_config("fail_ioasid", "probability", "100");
	return rc;
}

/* Return: how many of the failures have not happened, or a negative errno. */
static int fail_no_more(void)
{
	char text[16];
	int rc;

	rc = fault_config("fail_ioasid", "probability", "0");
	if (!rc)
		rc = file_write("/proc/self/make-it-fail", "0");
	if (!rc)
		rc = file_read("/sys/kernel/debug/fail_ioasid/times", text,
			       sizeof(text));
	return rc < 0 ? rc : atoi(text);
}

FIXTURE_SETUP(fail_nth)
{
	self->iommu = -1;
	self->fresh = -1;
	self->group = -1;
	self->access = -1;
	self->memfd = -1;
	self->hugefd = -1;
	self->queue = -1;
	self->ring.fd = -1;
	self->dev.fd = -1;
	self->second.fd = -1;
	test_iommu_remove_all();
	if (!DEVICE_BEGIN())
		return;
	self->fail_nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (self->fail_nth < 0 || fault_setup())
		SKIP(return, "the kernel has no fault injection");
	/*
	 * Allocations of the platform must not fail: in 7.2, that of POWER reads a
	 * property that it could not copy.
	 */
	self->only_ours = dev_num_windows(&self->dev, self->iommu);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->other));
	MEM_BEGIN(MEM_PAGES * PAGE);
	self->memfd = memfd_create("ioasid", MFD_CLOEXEC);
	ASSERT_LE(0, self->memfd);
	ASSERT_EQ(0, ftruncate(self->memfd, MEM_PAGES * PAGE));
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

FIXTURE_TEARDOWN(fail_nth)
{
	dev_close(&self->dev);
	dev_close(&self->second);
	test_iommu_remove_all();
	uring_close(&self->ring);
	close_fd(&self->access);
	close_fd(&self->queue);
	close_fd(&self->group);
	close_fd(&self->fresh);
	close_fd(&self->iommu);
	close_fd(&self->memfd);
	close_fd(&self->hugefd);
	COUNTS_END(&self->counts);
}

/**
 * struct step - A call that is made to fail, and its surroundings
 * @call: The call
 * @prepare: What must be there before, or NULL
 * @undo: Takes back what @call, and @prepare, have done
 * @errors: What the call may say, and does say for some failure: none if it
 *          needs nothing that could fail, or does without
 * @any_error: VFIO and PCI have errnos of their own
 * @may_lose: Where there is a gap in between, what is attached may be lost
 */
struct step {
	int (*call)(struct _test_data_fail_nth *self);
	int (*prepare)(struct _test_data_fail_nth *self);
	int (*undo)(struct _test_data_fail_nth *self);
	int errors[MAX_ERRORS];
	bool any_error;
	bool may_lose;
};

/* What must not have changed after a call that failed. */
struct state {
	struct counts counts;
	struct iommu_ioasid_info info;
	struct iommu_ioasid_info other;
	char fdinfo[1024];
	char fresh[1024];
};

static void fdinfo_read(int fd, char *text, size_t size)
{
	char path[64];

	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file_read(path, text, size);
}

static int state_read(struct _test_data_fail_nth *self, struct state *state)
{
	int rc;

	memset(state, 0, sizeof(*state));
	rc = counts_read(&state->counts);
	if (!rc)
		rc = ioasid_totals(self->iommu, self->ioasid, &state->info);
	/* The one that is being freed may not be there. */
	ioasid_totals(self->iommu, self->other, &state->other);
	fdinfo_read(self->iommu, state->fdinfo, sizeof(state->fdinfo));
	fdinfo_read(self->fresh, state->fresh, sizeof(state->fresh));
	return rc;
}

/* What was charged for tables is given back soon after them. */
static int state_settle(struct _test_data_fail_nth *self,
			const struct state *want, struct state *state)
{
	double end = seconds() + 2;
	int rc;

	for (;;) {
		rc = state_read(self, state);
		if (rc || !memcmp(want, state, sizeof(*want)))
			return rc;
		if (seconds() > end)
			return -EUCLEAN;
		usleep(1000);
	}
}

/* When nothing is left to be given back */
static int state_read_later(struct _test_data_fail_nth *self,
			    struct state *state)
{
	static struct state last;
	int rc;

	do {
		last = *state;
		usleep(20000);
		rc = state_read(self, state);
	} while (!rc && memcmp(&last, state, sizeof(last)));
	return rc;
}

static void arm(struct _test_data_fail_nth *self, int nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d", nth);

	if (pwrite(self->fail_nth, text, length, 0) != length)
		abort();
}

/* Return: whether the point was reached, and failed. */
static bool disarm(struct _test_data_fail_nth *self)
{
	char text[16] = "";
	ssize_t n = pread(self->fail_nth, text, sizeof(text) - 1, 0);

	arm(self, 0);
	return n > 0 && !atoi(text);
}

static int find_error(const struct step *step, int rc)
{
	int i;

	for (i = 0; i < MAX_ERRORS && step->errors[i]; i++)
		if (step->errors[i] == rc)
			return i;
	return -1;
}

/*
 * One point after the other, or only those of ours. Return: a bit for each of
 * step->errors that was seen.
 */
static unsigned int run_once(struct __test_metadata *_metadata,
			     struct _test_data_fail_nth *self,
			     const struct step *step,
			     const struct state *before, bool only_ours)
{
	static struct state after;
	unsigned int seen = 0;
	bool hit = true;
	int nth, rc, rc_after, i;

	for (nth = 1; hit && nth <= MAX_POINTS; nth++) {
		if (step->prepare)
			ASSERT_EQ(0, step->prepare(self));
		if (only_ours && fail_in_a_row(nth, 1))
			abort();
		if (!only_ours)
			arm(self, nth);
		rc = step->call(self);
		hit = only_ours ? !fail_no_more() : disarm(self);
		EXPECT_TRUE(hit || !rc);
		if (!rc) {
			ASSERT_EQ(0, step->undo(self)) {
				TH_LOG("after failure %d", nth);
			}
			continue;
		}
		i = find_error(step, rc);
		EXPECT_TRUE(step->any_error || i >= 0 ||
			    (self->only_ours && (rc == -EIO || rc == -EINTR))) {
			TH_LOG("failure %d: errno %d", nth, -rc);
		}
		if (i >= 0)
			seen |= 1 << i;
		rc_after = self->only_ours && step->may_lose ?
			   state_read_later(self, &after) :
			   state_settle(self, before, &after);
		EXPECT_EQ(0, rc_after) {
			TH_LOG("failure %d, errno %d: something is left behind",
			       nth, -rc);
		}
		/* With nothing in its way it works. */
		ASSERT_EQ(0, step->call(self)) {
			TH_LOG("after failure %d, errno %d", nth, -rc);
		}
		ASSERT_EQ(0, step->undo(self));
	}
	EXPECT_FALSE(hit);
	return seen;
}

static void run(struct __test_metadata *_metadata,
		struct _test_data_fail_nth *self, const struct step *step)
{
	static struct state before, after;
	unsigned int seen = 0;
	int tries, i;

	/* First without a failure, for the pages that the test itself touches. */
	if (step->prepare)
		ASSERT_EQ(0, step->prepare(self));
	ASSERT_EQ(0, state_read(self, &before));
	ASSERT_EQ(0, step->call(self));
	ASSERT_EQ(0, step->undo(self));
	/* A default window stays, if something is mapped there. */
	if (self->only_ours && !step->prepare)
		ASSERT_EQ(0, state_read_later(self, &before));

	/*
	 * Checkers of the kernel allocate now and then, too, which shifts the
	 * numbers of what follows: go back for what was missed.
	 */
	for (tries = 0; tries < 4; tries++) {
		seen |= run_once(_metadata, self, step, &before,
				 self->only_ours || tries == 1);
		for (i = 0; i < MAX_ERRORS && seen & (1 << i); i++)
			;
		if (i == MAX_ERRORS || !step->errors[i] || self->only_ours)
			break;
	}
	/* A test that never makes anything fail tests nothing. */
	for (i = 0; i < MAX_ERRORS && step->errors[i] && !self->only_ours;
	     i++) {
		EXPECT_TRUE(seen & (1 << i)) {
			TH_LOG("errno %d was never seen", -step->errors[i]);
		}
	}

	if (step->prepare)
		ASSERT_EQ(0, step->prepare(self));
	EXPECT_EQ(0, state_settle(self, &before, &after));
	if (step->prepare) {
		ASSERT_EQ(0, step->call(self));
		ASSERT_EQ(0, step->undo(self));
	}
}

/* RUN(.call = this, .undo = that): members of a struct step that is used once */
#define RUN(...) run(_metadata, self, &(const struct step){ __VA_ARGS__ })

static int nothing(struct _test_data_fail_nth *self)
{
	return 0;
}

/* ---- contexts and address spaces ---- */

static int call_open(struct _test_data_fail_nth *self)
{
	int fd = iommu_open();

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int call_alloc(struct _test_data_fail_nth *self)
{
	return ioasid_alloc(self->iommu, &self->other);
}

static int call_free(struct _test_data_fail_nth *self)
{
	return ioasid_free(self->iommu, self->other);
}

static int call_ioasid_info(struct _test_data_fail_nth *self)
{
	struct iommu_range ranges[4];
	struct iommu_ioasid_info info = {
		.num_ranges = 4,
		.ranges = (uintptr_t)ranges,
	};

	return ioasid_info(self->iommu, self->ioasid, &info);
}

static int call_device_info(struct _test_data_fail_nth *self)
{
	struct iommu_group_member members[4];
	struct iommu_range ranges[4];
	struct iommu_device_info info = {
		.num_ranges = 4,
		.ranges = (uintptr_t)ranges,
		.num_members = 4,
		.members = (uintptr_t)members,
	};

	return iommu_device_info(self->iommu, self->dev.dev_id, &info);
}

static int call_cookie(struct _test_data_fail_nth *self)
{
	return iommu_device_cookie(self->iommu, self->dev.dev_id, 0);
}

static int call_extension(struct _test_data_fail_nth *self)
{
	__u64 value;

	return iommu_extension(self->iommu, IOMMU_EXT_TYPE_OPS, 1, &value);
}

TEST_F_TIMEOUT(fail_nth, open, 60)
{
	RUN(.call = call_open, .undo = nothing, .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, alloc, 60)
{
	ASSERT_EQ(0, ioasid_free(self->iommu, self->other));
	RUN(.call = call_alloc, .undo = call_free, .errors = { -ENOMEM });
}

/* A wait that is interrupted when there is nothing to wait for is over. */
TEST_F_TIMEOUT(fail_nth, free, 60)
{
	RUN(.call = call_free, .undo = call_alloc);
}

TEST_F_TIMEOUT(fail_nth, ioasid_get_info, 60)
{
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	RUN(.call = call_ioasid_info, .undo = nothing, .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, device_get_info, 60)
{
	RUN(.call = call_device_info, .undo = nothing,
	    .errors = { -ENOMEM, -EOPNOTSUPP });
}

TEST_F_TIMEOUT(fail_nth, device_set_cookie, 60)
{
	RUN(.call = call_cookie, .undo = nothing);
}

TEST_F_TIMEOUT(fail_nth, check_extension, 60)
{
	RUN(.call = call_extension, .undo = nothing);
}

/* ---- mappings ---- */

static int call_map(struct _test_data_fail_nth *self)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  TEST_IOVA, MEM_PAGES * PAGE);
}

static int call_map_page(struct _test_data_fail_nth *self)
{
	return ioasid_map(self->iommu, self->ioasid, READ_ONLY, self->mem,
			  TEST_IOVA, PAGE);
}

static int call_map_file(struct _test_data_fail_nth *self)
{
	return ioasid_map_file(self->iommu, self->ioasid, READ_WRITE,
			       self->memfd, 0, TEST_IOVA, MEM_PAGES * PAGE);
}

static int call_map_two_of_file(struct _test_data_fail_nth *self)
{
	return ioasid_map_file(self->iommu, self->ioasid, READ_ONLY,
			       self->memfd, 0, TEST_IOVA, 2 * PAGE);
}

static int call_map_huge(struct _test_data_fail_nth *self)
{
	return ioasid_map_file(self->iommu, self->ioasid, READ_WRITE,
			       self->hugefd, 0, TEST_IOVA + HUGE_SIZE,
			       HUGE_SIZE);
}

static int call_map_alloc(struct _test_data_fail_nth *self)
{
	return ioasid_map_alloc(self->iommu, self->ioasid, READ_WRITE,
				self->mem, 4 * PAGE, &self->iova);
}

static int call_unmap_all(struct _test_data_fail_nth *self)
{
	return ioasid_unmap_all(self->iommu, self->ioasid, NULL);
}

static int call_attach(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->dev.fd, self->ioasid);
}

static int call_detach(struct _test_data_fail_nth *self)
{
	return vfio_detach(self->dev.fd);
}

static int make_huge_file(struct _test_data_fail_nth *self)
{
	self->hugefd = memfd_create("ioasid", MFD_CLOEXEC | MFD_HUGETLB |
				    (21U << 26));
	if (self->hugefd < 0)
		return -errno;
	return fallocate(self->hugefd, 0, 0, HUGE_SIZE) ? -errno : 0;
}

/* Pages that nobody has looked at since they were given to the file. */
static int renew_file(struct _test_data_fail_nth *self)
{
	if (fallocate(self->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      0, MEM_PAGES * PAGE))
		return -errno;
	return fallocate(self->memfd, 0, 0, 2 * PAGE) ? -errno : 0;
}

/* Pages of the file, in the opposite order of the process's memory. */
static int make_scattered(struct _test_data_fail_nth *self)
{
	int i;

	for (i = 0; i < SCATTERED; i++) {
		char *page = mmap(self->mem + i * PAGE, PAGE,
				  PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED | MAP_POPULATE,
				  self->memfd, (SCATTERED - 1 - i) * PAGE);

		if (page == MAP_FAILED)
			return -errno;
	}
	return 0;
}

static int call_map_scattered(struct _test_data_fail_nth *self)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  TEST_IOVA, SCATTERED * PAGE);
}

/* Memory of all kinds. */
static int map_several(struct _test_data_fail_nth *self)
{
	int rc = call_map_scattered(self);

	if (!rc)
		rc = ioasid_map(self->iommu, self->ioasid, READ_ONLY,
				self->mem + 16 * PAGE, TEST_IOVA + 16 * PAGE,
				PAGE);
	if (!rc)
		rc = ioasid_map_file(self->iommu, self->ioasid, READ_WRITE,
				     self->memfd, 4 * PAGE,
				     TEST_IOVA + 18 * PAGE, 4 * PAGE);
	return rc ? rc : call_map_huge(self);
}

/* What map_several() needs. */
static int make_several(struct _test_data_fail_nth *self)
{
	int rc = make_huge_file(self);

	return rc ? rc : make_scattered(self);
}

TEST_F_TIMEOUT(fail_nth, map_idle, 60)
{
	RUN(.call = call_map, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR });
}

TEST_F_TIMEOUT(fail_nth, map, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_map, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, map_scattered, 60)
{
	ASSERT_EQ(0, make_scattered(self));
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_map_scattered, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, map_page, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_map_page, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, map_file, 60)
{
	ASSERT_EQ(0, call_attach(self));
	/* Its pages are made once; the file keeps them. */
	ASSERT_EQ(0, fallocate(self->memfd, 0, 0, MEM_PAGES * PAGE));
	RUN(.call = call_map_file, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EINVAL, -EPERM });
}

TEST_F_TIMEOUT(fail_nth, map_file_not_read_yet, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_map_two_of_file, .prepare = renew_file,
	    .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EINVAL, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, map_huge, 60)
{
	if (make_huge_file(self))
		SKIP(return, "no free huge page");
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_map_huge, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EINVAL, -EPERM });
}

TEST_F_TIMEOUT(fail_nth, map_alloc_iova, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_map_alloc, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

/* A second table: what the first one holds already is taken out again. */
TEST_F_TIMEOUT(fail_nth, map_two_tables, 60)
{
	struct dma_device dev[2];
	struct iommu_ioasid_info info;
	int space;

	if (dev_find_alone(dev, 2) < 2)
		SKIP(return, "no second DMA device in a group of its own");
	self->second = dev[1];
	ASSERT_EQ(0, dev_open_bind(&self->second, self->iommu));
	ASSERT_EQ(0, call_attach(self));
	/* The device gets one of its own if the first one is refused. */
	for (space = 1; space < 32; space++) {
		ASSERT_EQ(0, fail_in_a_row(space, 1));
		vfio_attach(self->second.fd, self->ioasid);
		ASSERT_LE(0, fail_no_more());
		ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
		if (info.num_tables == 2)
			break;
		ASSERT_EQ(0, vfio_detach(self->second.fd));
	}
	ASSERT_EQ(2, info.num_tables);
	RUN(.call = call_map_page, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

/* It needs no memory, and is all or nothing. */
TEST_F_TIMEOUT(fail_nth, unmap, 60)
{
	if (make_several(self))
		SKIP(return, "no free huge page");
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_unmap_all, .prepare = map_several, .undo = nothing,
	    .errors = { -EINTR });
}

/* ---- windows ---- */

#define WINDOW_PAGE	0x10000ULL
#define WINDOW_SIZE	0x4000000ULL

static int call_window(struct _test_data_fail_nth *self)
{
	self->iova = 0;
	return ioasid_window_create(self->iommu, self->ioasid, 0, WINDOW_PAGE,
				    &self->iova, WINDOW_SIZE);
}

static int call_window_remove(struct _test_data_fail_nth *self)
{
	return ioasid_window_remove(self->iommu, self->ioasid, self->iova);
}

TEST_F_TIMEOUT(fail_nth, window_create_idle, 60)
{
	RUN(.call = call_window, .undo = call_window_remove,
	    .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, window_create, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_window, .undo = call_window_remove,
	    .errors = { -ENOMEM });
}

/* It is opened in both, or in none. */
TEST_F_TIMEOUT(fail_nth, window_create_two_devices, 60)
{
	struct dma_device dev[2];

	if (dev_find_alone(dev, 2) < 2)
		SKIP(return, "no second DMA device in a group of its own");
	self->second = dev[1];
	ASSERT_EQ(0, dev_open_bind(&self->second, self->iommu));
	ASSERT_EQ(0, call_attach(self));
	ASSERT_EQ(0, vfio_attach(self->second.fd, self->ioasid));
	RUN(.call = call_window, .undo = call_window_remove,
	    .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, window_remove, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_window_remove, .prepare = call_window,
	    .undo = nothing);
}

/* ---- attachment ---- */

#define ATTACH_ERRORS { -ENOMEM, -EINTR, -EFAULT, -EBUSY, -EINVAL, -EOPNOTSUPP }

static int call_attach_other(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->dev.fd, self->other);
}

static int call_attach_second(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->second.fd, self->ioasid);
}

static int call_detach_second(struct _test_data_fail_nth *self)
{
	return vfio_detach(self->second.fd);
}

static int map_other(struct _test_data_fail_nth *self)
{
	return ioasid_map(self->iommu, self->other, READ_WRITE, self->mem,
			  TEST_IOVA, 4 * PAGE);
}

/* Whether the device still does what it was told. */
static bool can_copy(struct _test_data_fail_nth *self, struct dma_device *dev)
{
	fill_pattern(self->mem, 64, 1);
	memset(self->mem + PAGE, 0, 64);
	return !dev_dma_copy(dev, TEST_IOVA, TEST_IOVA + PAGE, 64) &&
	       has_pattern(self->mem + PAGE, 64, 1);
}

/* The two devices of one group in place of the one that is alone. */
static int use_group(struct _test_data_fail_nth *self)
{
	struct dma_device pair[2];
	int rc;

	if (!dev_find_shared(pair))
		return -ENODEV;
	dev_close(&self->dev);
	self->dev = pair[0];
	self->second = pair[1];
	rc = dev_open_bind(&self->dev, self->iommu);
	return rc ? rc : dev_open_bind(&self->second, self->iommu);
}

TEST_F_TIMEOUT(fail_nth, attach, 60)
{
	ASSERT_EQ(0, call_map(self));
	RUN(.call = call_attach, .undo = call_detach, .errors = ATTACH_ERRORS);
	ASSERT_EQ(0, call_attach(self));
	EXPECT_TRUE(can_copy(self, &self->dev));
}

TEST_F_TIMEOUT(fail_nth, attach_several_mappings, 60)
{
	if (make_several(self))
		SKIP(return, "no free huge page");
	ASSERT_EQ(0, map_several(self));
	RUN(.call = call_attach, .undo = call_detach,
	    .errors = { -ENOMEM, -EINTR, -EFAULT, -EBUSY, -EINVAL, -EOPNOTSUPP, -EPERM });
}

/* The memory belongs to another process. */
TEST_F_TIMEOUT(fail_nth, attach_foreign_memory, 60)
{
	int fds[2], status;
	char byte = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(fds));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		self->mem = mem_alloc(MEM_PAGES * PAGE);
		byte = self->mem && !call_map(self);
		if (byte)
			memset(self->mem, 1, MEM_PAGES * PAGE);
		if (write(fds[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	EXPECT_EQ(1, read(fds[0], &byte, 1));
	EXPECT_EQ(1, byte);
	RUN(.call = call_attach, .undo = call_detach, .errors = ATTACH_ERRORS);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	close(fds[0]);
	close(fds[1]);
}

/* One that could share the table of another gets its own if it must. */
TEST_F_TIMEOUT(fail_nth, attach_to_table, 60)
{
	struct dma_device dev[2];

	if (dev_find_alone(dev, 2) < 2)
		SKIP(return, "no second DMA device in a group of its own");
	self->second = dev[1];
	ASSERT_EQ(0, dev_open_bind(&self->second, self->iommu));
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_attach(self));
	if (self->only_ours)
		RUN(.call = call_attach_second, .undo = call_detach_second,
		    .errors = ATTACH_ERRORS);
	else
		RUN(.call = call_attach_second, .undo = call_detach_second,
		    .errors = { -ENOMEM, -EBUSY });
	EXPECT_TRUE(can_copy(self, &self->dev));
}

TEST_F_TIMEOUT(fail_nth, attach_second_of_group, 60)
{
	if (use_group(self))
		SKIP(return, "no two DMA devices in one IOMMU group");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_attach_second, .undo = call_detach_second,
	    .errors = { -ENOMEM });
	EXPECT_TRUE(can_copy(self, &self->second));
}

/* A move that fails leaves the device where it was, with its DMA. */
TEST_F_TIMEOUT(fail_nth, replace, 60)
{
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_attach(self));
	ASSERT_EQ(0, map_other(self));
	RUN(.call = call_attach_other, .undo = call_attach,
	    .errors = ATTACH_ERRORS, .may_lose = true);
	EXPECT_TRUE(can_copy(self, &self->dev));
}

TEST_F_TIMEOUT(fail_nth, replace_group, 60)
{
	if (use_group(self))
		SKIP(return, "no two DMA devices in one IOMMU group");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_attach(self));
	ASSERT_EQ(0, call_attach_second(self));
	ASSERT_EQ(0, map_other(self));
	RUN(.call = call_attach_other, .undo = call_attach,
	    .errors = ATTACH_ERRORS, .may_lose = true);
	EXPECT_TRUE(can_copy(self, &self->dev));
	EXPECT_TRUE(can_copy(self, &self->second));
}

TEST_F_TIMEOUT(fail_nth, detach, 60)
{
	if (make_several(self))
		SKIP(return, "no free huge page");
	ASSERT_EQ(0, map_several(self));
	RUN(.call = call_detach, .prepare = call_attach, .undo = nothing);
}

/*
 * A move fails, and so does the way back: then there is no DMA, but the device
 * can still move elsewhere.
 */
TEST_F_TIMEOUT(fail_nth, replace_and_back, 60)
{
	struct iommu_ioasid_info info;
	bool blocked = false;
	int space, left = 0;

	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_attach(self));
	ASSERT_EQ(0, map_other(self));
	for (space = 1; left < 2 && !blocked && space < MAX_POINTS; space++) {
		ASSERT_EQ(0, fail_in_a_row(space, 2));
		call_attach_other(self);
		left = fail_no_more();
		ASSERT_LE(0, left);
		ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
		if (!left && info.num_devices == 1)
			blocked = !can_copy(self, &self->dev);
		ASSERT_EQ(0, call_attach_other(self));
		ASSERT_EQ(0, call_attach(self));
	}
	EXPECT_TRUE(blocked);
	EXPECT_TRUE(can_copy(self, &self->dev));
}

/* ---- devices ---- */

static int reopen(struct _test_data_fail_nth *self)
{
	dev_close(&self->dev);
	return dev_open(&self->dev);
}

static int call_bind(struct _test_data_fail_nth *self)
{
	return vfio_bind(self->dev.fd, self->iommu, &self->dev.dev_id);
}

static int call_bind_second(struct _test_data_fail_nth *self)
{
	return vfio_bind(self->second.fd, self->iommu, &self->second.dev_id);
}

static int close_device(struct _test_data_fail_nth *self)
{
	dev_close(&self->dev);
	return 0;
}

static int close_second(struct _test_data_fail_nth *self)
{
	dev_close(&self->second);
	return 0;
}

static int open_second(struct _test_data_fail_nth *self)
{
	return dev_open(&self->second);
}

TEST_F_TIMEOUT(fail_nth, bind, 60)
{
	RUN(.call = call_bind, .prepare = reopen, .undo = close_device,
	    .errors = { -ENOMEM, -EBUSY }, .any_error = true);
}

TEST_F_TIMEOUT(fail_nth, bind_second_of_group, 60)
{
	if (use_group(self))
		SKIP(return, "no two DMA devices in one IOMMU group");
	dev_close(&self->second);
	RUN(.call = call_bind_second, .prepare = open_second,
	    .undo = close_second, .errors = { -ENOMEM, -EBUSY },
	    .any_error = true);
}

/*
 * Closing a device asks for nothing that could be refused. Only what is ours is
 * made to fail: the IOMMU core complains if its drivers need memory here.
 */
TEST_F_TIMEOUT(fail_nth, close_attached, 60)
{
	if (make_several(self))
		SKIP(return, "no free huge page");
	ASSERT_EQ(0, map_several(self));
	ASSERT_EQ(0, call_attach(self));
	ASSERT_EQ(0, fail_in_a_row(1, 1000));
	dev_close(&self->dev);
	EXPECT_EQ(1000, fail_no_more());
}

/* ---- dirty tracking ---- */

/* In place of the address space that cannot be tracked */
static int use_dirty(struct _test_data_fail_nth *self)
{
	int rc = ioasid_free(self->iommu, self->ioasid);

	return rc ? rc : ioasid_alloc_dirty(self->iommu, &self->ioasid);
}

/* With a device whose IOMMU can track */
static int use_dirty_device(struct _test_data_fail_nth *self)
{
	int rc;

	if (test_iommu_missing())
		return -ENODEV;
	rc = use_dirty(self);
	return rc ? rc : test_device_begin("page_sizes=0x1000", &self->second,
					   self->iommu);
}

static int call_start(struct _test_data_fail_nth *self)
{
	return dirty_start(self->iommu, self->ioasid);
}

static int call_stop(struct _test_data_fail_nth *self)
{
	return dirty_stop(self->iommu, self->ioasid);
}

static int touch_page(struct _test_data_fail_nth *self)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.iova = TEST_IOVA + 3 * PAGE,
		.length = 8,
	};

	if (self->second.fd < 0)
		return 0;
	return test_device_try(&self->second, &command) ? -EIO : 0;
}

static int map_touch(struct _test_data_fail_nth *self)
{
	int rc = call_map(self);

	return rc ? rc : touch_page(self);
}

/* What was written must not be forgotten by a call that fails. */
static int check_touched(struct _test_data_fail_nth *self, int rc, __u64 bits)
{
	if (rc || self->second.fd < 0)
		return rc;
	return bits & 1 << 3 ? 0 : -ENODATA;
}

static int call_dirty_get(struct _test_data_fail_nth *self)
{
	__u64 bits;
	int rc;

	rc = dirty_get(self->iommu, self->ioasid, 0, TEST_IOVA,
		       MEM_PAGES * PAGE, PAGE, &bits);
	return check_touched(self, rc, bits);
}

static int call_unmap_dirty(struct _test_data_fail_nth *self)
{
	__u64 bits;
	int rc;

	rc = ioasid_unmap_dirty(self->iommu, self->ioasid, TEST_IOVA,
				MEM_PAGES * PAGE, PAGE, &bits);
	return check_touched(self, rc, bits);
}

TEST_F_TIMEOUT(fail_nth, dirty_map, 60)
{
	ASSERT_EQ(0, use_dirty(self));
	RUN(.call = call_map, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR });
}

TEST_F_TIMEOUT(fail_nth, dirty_start, 60)
{
	ASSERT_EQ(0, use_dirty(self));
	ASSERT_EQ(0, call_map(self));
	RUN(.call = call_start, .undo = call_stop, .errors = { -EINTR });
}

TEST_F_TIMEOUT(fail_nth, dirty_start_device, 60)
{
	if (use_dirty_device(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_attach_second(self));
	RUN(.call = call_start, .undo = call_stop, .errors = { -EINTR, -EIO });
}

TEST_F_TIMEOUT(fail_nth, dirty_stop, 60)
{
	ASSERT_EQ(0, use_dirty(self));
	RUN(.call = call_stop, .prepare = call_start, .undo = nothing,
	    .errors = { -EINTR });
}

TEST_F_TIMEOUT(fail_nth, dirty_get, 60)
{
	ASSERT_EQ(0, use_dirty(self));
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_start(self));
	RUN(.call = call_dirty_get, .undo = nothing,
	    .errors = { -EINTR, -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, dirty_get_device, 60)
{
	if (use_dirty_device(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_attach_second(self));
	ASSERT_EQ(0, call_start(self));
	RUN(.call = call_dirty_get, .prepare = touch_page, .undo = nothing,
	    .errors = { -EINTR, -ENOMEM, -EIO });
}

TEST_F_TIMEOUT(fail_nth, dirty_unmap, 60)
{
	ASSERT_EQ(0, use_dirty(self));
	ASSERT_EQ(0, call_start(self));
	RUN(.call = call_unmap_dirty, .prepare = call_map, .undo = nothing,
	    .errors = { -EINTR, -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, dirty_unmap_device, 60)
{
	if (use_dirty_device(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, call_attach_second(self));
	ASSERT_EQ(0, call_start(self));
	RUN(.call = call_unmap_dirty, .prepare = map_touch, .undo = nothing,
	    .errors = { -EINTR, -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, dirty_attach, 60)
{
	if (use_dirty_device(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_start(self));
	RUN(.call = call_attach_second, .undo = call_detach_second,
	    .errors = { -ENOMEM, -EINTR, -EFAULT, -EBUSY, -EINVAL, -EOPNOTSUPP, -EIO });
}

/* ---- devices of VFIO groups ---- */

static int open_group(struct _test_data_fail_nth *self)
{
	char path[32];

	dev_close(&self->dev);
	snprintf(path, sizeof(path), "/dev/vfio/%d", self->dev.group);
	self->group = open(path, O_RDWR | O_CLOEXEC);
	return self->group < 0 ? -errno : 0;
}

static int open_fresh(struct _test_data_fail_nth *self)
{
	self->fresh = iommu_open();
	return self->fresh < 0 ? self->fresh : 0;
}

static int call_set_container(struct _test_data_fail_nth *self)
{
	return ioctl(self->group, VFIO_GROUP_SET_CONTAINER, &self->fresh) ?
		       -errno : 0;
}

static int unset_container(struct _test_data_fail_nth *self)
{
	int rc = ioctl(self->group, VFIO_GROUP_UNSET_CONTAINER) ? -errno : 0;

	close_fd(&self->fresh);
	return rc;
}

static int prepare_container(struct _test_data_fail_nth *self)
{
	int rc = open_fresh(self);

	return rc ? rc : call_set_container(self);
}

static int call_get_device_fd(struct _test_data_fail_nth *self)
{
	int fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, self->dev.name);

	if (fd < 0)
		return -errno;
	self->dev.fd = fd;
	return 0;
}

static int close_group_device(struct _test_data_fail_nth *self)
{
	dev_close(&self->dev);
	return unset_container(self);
}

TEST_F_TIMEOUT(fail_nth, group_set_container, 60)
{
	if (open_group(self))
		SKIP(return, "VFIO has no groups");
	RUN(.call = call_set_container, .prepare = open_fresh,
	    .undo = unset_container, .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, group_get_device, 300)
{
	if (open_group(self))
		SKIP(return, "VFIO has no groups");
	RUN(.call = call_get_device_fd, .prepare = prepare_container,
	    .undo = close_group_device,
	    .errors = { -ENOMEM, -EBUSY, -EINVAL, -EOPNOTSUPP },
	    .any_error = true);
}

/* ---- in-kernel access ---- */

static int open_access(struct _test_data_fail_nth *self)
{
	self->access = vfio_open(self->access_cdev[0]);
	return self->access < 0 ? self->access : 0;
}

static int bind_access(struct _test_data_fail_nth *self)
{
	__u32 id;

	return vfio_bind(self->access, self->iommu, &id);
}

static int close_access(struct _test_data_fail_nth *self)
{
	close_fd(&self->access);
	return 0;
}

static int attach_access(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->access, self->ioasid);
}

static int open_attached_access(struct _test_data_fail_nth *self)
{
	int rc = open_access(self);

	if (!rc)
		rc = bind_access(self);
	return rc ? rc : attach_access(self);
}

static int attach_access_other(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->access, self->other);
}

static int detach_access(struct _test_data_fail_nth *self)
{
	return vfio_detach(self->access);
}

/* Memory that is in use stays pinned to the end of the attachment. */
static int attach_access_again(struct _test_data_fail_nth *self)
{
	int rc = detach_access(self);

	return rc ? rc : attach_access(self);
}

static int call_pin(struct _test_data_fail_nth *self)
{
	return access_pin(self->access, TEST_IOVA, 2 * PAGE, PIN_WRITE);
}

/* From one mapping into the next one, which may be pinned or not. */
static int call_pin_two(struct _test_data_fail_nth *self)
{
	int rc = access_pin(self->access, TEST_IOVA, 16 * PAGE, PIN_WRITE);

	if (rc && attach_access_again(self))
		return -EIO;
	return rc;
}

static int unpin_access(struct _test_data_fail_nth *self)
{
	int rc = access_unpin(self->access, TEST_IOVA, 2 * PAGE);

	return rc ? rc : attach_access_again(self);
}

static int unpin_two(struct _test_data_fail_nth *self)
{
	int rc = access_unpin(self->access, TEST_IOVA, 16 * PAGE);

	return rc ? rc : attach_access_again(self);
}

static int call_unpin(struct _test_data_fail_nth *self)
{
	return access_unpin(self->access, TEST_IOVA, 2 * PAGE);
}

static int call_access_read(struct _test_data_fail_nth *self)
{
	char bytes[16];

	return access_read(self->access, TEST_IOVA, bytes, sizeof(bytes));
}

static int map_pinned(struct _test_data_fail_nth *self)
{
	int rc = call_map(self);

	return rc ? rc : call_pin(self);
}

static int attach_pinned(struct _test_data_fail_nth *self)
{
	int rc = open_access(self);

	if (!rc)
		rc = bind_access(self);
	if (!rc)
		rc = attach_access(self);
	return rc ? rc : call_pin(self);
}

TEST_F_TIMEOUT(fail_nth, access_bind, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	RUN(.call = bind_access, .prepare = open_access, .undo = close_access,
	    .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, access_attach, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, open_access(self));
	ASSERT_EQ(0, bind_access(self));
	RUN(.call = attach_access, .undo = detach_access);
}

TEST_F_TIMEOUT(fail_nth, access_replace, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, open_attached_access(self));
	RUN(.call = attach_access_other, .prepare = call_pin,
	    .undo = attach_access);
}

TEST_F_TIMEOUT(fail_nth, access_pin, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, open_attached_access(self));
	RUN(.call = call_pin, .undo = unpin_access,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

/* A pin is written down where it may be tracked. */
TEST_F_TIMEOUT(fail_nth, dirty_access_pin, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, use_dirty(self));
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, open_attached_access(self));
	RUN(.call = call_pin, .undo = unpin_access,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, access_pin_two_mappings, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, 8 * PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + 8 * PAGE, TEST_IOVA + 8 * PAGE,
				8 * PAGE));
	ASSERT_EQ(0, open_attached_access(self));
	RUN(.call = call_pin_two, .undo = unpin_two,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, access_unpin, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, open_attached_access(self));
	RUN(.call = call_unpin, .prepare = call_pin, .undo = nothing);
}

TEST_F_TIMEOUT(fail_nth, access_rw, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, open_attached_access(self));
	RUN(.call = call_access_read, .undo = attach_access_again,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, access_unmap, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, open_attached_access(self));
	RUN(.call = call_unmap_all, .prepare = map_pinned, .undo = nothing,
	    .errors = { -EINTR });
}

TEST_F_TIMEOUT(fail_nth, access_close, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, call_map(self));
	RUN(.call = close_access, .prepare = attach_pinned, .undo = nothing);
}

/* ---- registered memory, children, batches ---- */

/* The other address space shows what the first one has registered. */
static int use_prereg(struct _test_data_fail_nth *self)
{
	int rc = ioasid_free(self->iommu, self->ioasid);

	if (!rc)
		rc = ioasid_free(self->iommu, self->other);
	if (!rc)
		rc = ioasid_alloc_prereg(self->iommu, &self->ioasid);
	return rc ? rc : ioasid_alloc_child(self->iommu, self->ioasid,
					    &self->other);
}

/* As use_prereg(), but the first one pins when it must. */
static int use_parent(struct _test_data_fail_nth *self)
{
	int rc = ioasid_free(self->iommu, self->other);

	return rc ? rc : ioasid_alloc_child(self->iommu, self->ioasid,
					    &self->other);
}

/* All kinds of memory and several mappings of it behind one of the child */
static int use_pieces(struct _test_data_fail_nth *self)
{
	int rc = use_prereg(self);

	if (!rc)
		rc = call_attach_other(self);
	if (!rc)
		rc = make_scattered(self);
	if (!rc)
		rc = call_map_scattered(self);
	if (!rc)
		rc = ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + 14 * PAGE,
				TEST_IOVA + SCATTERED * PAGE, 4 * PAGE);
	return rc ? rc : ioasid_map_file(self->iommu, self->ioasid, READ_WRITE,
					 self->memfd, 0,
					 TEST_IOVA + (SCATTERED + 4) * PAGE,
					 4 * PAGE);
}

static int call_show(struct _test_data_fail_nth *self)
{
	return ioasid_show(self->iommu, self->other, READ_WRITE,
			   TEST_IOVA + PAGE, TEST_IOVA,
			   (SCATTERED + 6) * PAGE);
}

static int call_hide(struct _test_data_fail_nth *self)
{
	return ioasid_unmap_all(self->iommu, self->other, NULL);
}

static int call_alloc_exact(struct _test_data_fail_nth *self)
{
	struct iommu_range ranges[] = {
		{ 0, TEST_IOVA - 1 },
		{ 2 * TEST_IOVA, 3 * TEST_IOVA - 1 },
	};
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.parent = self->ioasid,
		.num_ranges = 2,
		.ranges = (uintptr_t)ranges,
		.page_size = 2 * PAGE,
	};

	return ioasid_alloc_call(self->iommu, &cmd, &self->other);
}

TEST_F_TIMEOUT(fail_nth, alloc_child, 60)
{
	ASSERT_EQ(0, use_prereg(self));
	ASSERT_EQ(0, call_free(self));
	RUN(.call = call_alloc_exact, .undo = call_free, .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, prereg_map, 60)
{
	ASSERT_EQ(0, use_prereg(self));
	RUN(.call = call_map, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, prereg_map_file, 60)
{
	ASSERT_EQ(0, use_prereg(self));
	ASSERT_EQ(0, fallocate(self->memfd, 0, 0, MEM_PAGES * PAGE));
	RUN(.call = call_map_file, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EINVAL, -EPERM });
}

TEST_F_TIMEOUT(fail_nth, child_map, 60)
{
	ASSERT_EQ(0, use_pieces(self));
	RUN(.call = call_show, .undo = call_hide,
	    .errors = { -ENOMEM, -EINTR });
}

TEST_F_TIMEOUT(fail_nth, child_unmap, 60)
{
	ASSERT_EQ(0, use_pieces(self));
	RUN(.call = call_hide, .prepare = call_show, .undo = nothing,
	    .errors = { -EINTR });
}

/* The child's device has the root pin its memory. */
TEST_F_TIMEOUT(fail_nth, child_attach, 60)
{
	ASSERT_EQ(0, use_parent(self));
	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, ioasid_show(self->iommu, self->other, READ_WRITE,
				 TEST_IOVA, TEST_IOVA, 8 * PAGE));
	RUN(.call = call_attach_other, .undo = call_detach,
	    .errors = ATTACH_ERRORS);
	ASSERT_EQ(0, call_attach_other(self));
	EXPECT_TRUE(can_copy(self, &self->dev));
}

static int call_revoke(struct _test_data_fail_nth *self)
{
	return ioasid_revoke(self->iommu, self->ioasid, TEST_IOVA,
			     MEM_PAGES * PAGE, NULL);
}

static int map_and_show(struct _test_data_fail_nth *self)
{
	int rc = call_map(self);

	return rc ? rc : ioasid_show(self->iommu, self->other, READ_WRITE,
				     TEST_IOVA + PAGE, TEST_IOVA, 8 * PAGE);
}

static int show_pinned(struct _test_data_fail_nth *self)
{
	int rc = map_and_show(self);

	return rc ? rc : call_pin(self);
}

TEST_F_TIMEOUT(fail_nth, revoke, 60)
{
	ASSERT_EQ(0, use_prereg(self));
	ASSERT_EQ(0, call_attach_other(self));
	RUN(.call = call_revoke, .prepare = map_and_show, .undo = nothing,
	    .errors = { -EINTR });
}

/* An in-kernel user of the child has to let go. */
TEST_F_TIMEOUT(fail_nth, revoke_access, 60)
{
	if (access_missing(self->access_cdev))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, use_prereg(self));
	ASSERT_EQ(0, open_access(self));
	ASSERT_EQ(0, bind_access(self));
	ASSERT_EQ(0, attach_access_other(self));
	RUN(.call = call_revoke, .prepare = show_pinned, .undo = nothing,
	    .errors = { -EINTR });
}

static int call_replace(struct _test_data_fail_nth *self)
{
	return ioasid_map(self->iommu, self->ioasid,
			  READ_WRITE | IOMMU_MAP_DMA_REPLACE,
			  self->mem + 2 * PAGE, TEST_IOVA, 8 * PAGE);
}

/* Two that will be replaced, of which one shows pages that do not follow */
static int map_to_replace(struct _test_data_fail_nth *self)
{
	int rc = ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			    TEST_IOVA, 4 * PAGE);

	return rc ? rc : ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				    self->mem + 16 * PAGE, TEST_IOVA + 4 * PAGE,
				    2 * PAGE);
}

TEST_F_TIMEOUT(fail_nth, map_replace, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_replace, .prepare = map_to_replace,
	    .undo = call_unmap_all, .errors = { -ENOMEM, -EINTR, -EFAULT });
}

/* After a failure the device finds what it found before. */
TEST_F_TIMEOUT(fail_nth, map_replace_keeps_old, 60)
{
	unsigned int failed = 0;
	bool hit = true;
	int nth, rc;

	ASSERT_EQ(0, call_attach(self));
	ASSERT_EQ(0, map_to_replace(self));
	for (nth = 1; hit && nth <= MAX_POINTS; nth++) {
		ASSERT_EQ(0, fail_in_a_row(nth, 1));
		rc = call_replace(self);
		hit = !fail_no_more();
		if (rc) {
			failed++;
			EXPECT_TRUE(can_copy(self, &self->dev));
			continue;
		}
		ASSERT_EQ(0, call_unmap_all(self));
		ASSERT_EQ(0, map_to_replace(self));
	}
	EXPECT_FALSE(hit);
	EXPECT_LT(0, failed);
}

/* What a batch has done before it failed is undone, so that nothing differs. */
static int finish_batch(struct _test_data_fail_nth *self, int rc, __u32 done,
			__u32 num)
{
	struct iommu_ioasid_info info;

	if (!rc)
		return done == num ? 0 : -EIO;
	if (ioasid_totals(self->iommu, self->ioasid, &info) ||
	    info.num_mappings != done || call_unmap_all(self))
		return -EIO;
	return rc;
}

static void fill_batch(struct _test_data_fail_nth *self,
		       struct iommu_batch_entry *entries, unsigned int num)
{
	unsigned int i;

	for (i = 0; i < num; i++)
		entries[i] = (struct iommu_batch_entry){
			.flags = READ_WRITE,
			.iova = TEST_IOVA + 2 * i * PAGE,
			.src = (uintptr_t)self->mem + i * PAGE,
			.length = PAGE,
		};
}

static int call_batch(struct _test_data_fail_nth *self)
{
	struct iommu_batch_entry entries[4];
	__u32 num = 4;
	int rc;

	fill_batch(self, entries, num);
	rc = ioasid_batch(self->iommu, self->ioasid, entries, &num, NULL);
	return finish_batch(self, rc, num, 4);
}

static int call_uring(struct _test_data_fail_nth *self)
{
	struct iommu_batch_entry entries[4];
	struct iommu_map_batch cmd = {
		.size = sizeof(cmd),
		.ioasid = self->ioasid,
		.num_entries = 4,
		.entries = (uintptr_t)entries,
	};
	int rc;

	fill_batch(self, entries, 4);
	rc = uring_call(&self->ring, self->iommu, IOMMU_MAP_BATCH, &cmd, 0);
	/* It may not have come that far. */
	if (rc && cmd.num_entries == 4)
		cmd.num_entries = 0;
	return finish_batch(self, rc, cmd.num_entries, 4);
}

/* The mappings go one by one: they need nothing, but for a signal. */
static int call_batch_unmap(struct _test_data_fail_nth *self)
{
	struct iommu_batch_entry entries[4] = {};
	__u32 num = 4, i;
	int rc;

	for (i = 0; i < num; i++) {
		entries[i].flags = IOMMU_BATCH_ENTRY_UNMAP;
		entries[i].iova = TEST_IOVA + 2 * i * PAGE;
		entries[i].length = PAGE;
	}
	rc = ioasid_batch(self->iommu, self->ioasid, entries, &num, NULL);
	/* The same ones come back, so that nothing differs. */
	while (rc && num--)
		if (ioasid_map(self->iommu, self->ioasid, READ_WRITE,
			       self->mem + num * PAGE,
			       TEST_IOVA + 2 * num * PAGE, PAGE))
			return -EIO;
	return rc;
}

TEST_F_TIMEOUT(fail_nth, batch, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_batch, .undo = call_unmap_all,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, batch_unmap, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_batch_unmap, .prepare = call_batch, .undo = nothing,
	    .errors = { -EINTR });
}

TEST_F_TIMEOUT(fail_nth, batch_uring, 60)
{
	struct step step = {
		.call = call_uring,
		.undo = call_unmap_all,
		/* Most of it is done by a thread that nothing fails for. */
		.errors = { -ENOMEM },
		/* io_uring has errnos of its own. */
		.any_error = true,
	};

	if (uring_open(&self->ring, 0))
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, call_attach(self));
	run(_metadata, self, &step);
}

static int call_event_fd(struct _test_data_fail_nth *self)
{
	self->queue = event_open(self->iommu);
	return self->queue < 0 ? self->queue : 0;
}

static int close_event_fd(struct _test_data_fail_nth *self)
{
	close_fd(&self->queue);
	return 0;
}

TEST_F_TIMEOUT(fail_nth, event_fd, 60)
{
	struct step step = {
		.call = call_event_fd,
		.undo = close_event_fd,
		.errors = { -ENOMEM },
		/* A file that cannot be allocated */
		.any_error = true,
	};

	run(_metadata, self, &step);
}

/* ---- iommufd's interface ---- */

static int call_ioas_alloc(struct _test_data_fail_nth *self)
{
	return ioas_alloc(self->iommu, &self->other);
}

static int call_ioas_destroy(struct _test_data_fail_nth *self)
{
	return iommufd_destroy(self->iommu, self->other);
}

static int call_ioas_map(struct _test_data_fail_nth *self)
{
	return ioas_map(self->iommu, self->ioasid, IOAS_RW, self->mem,
			TEST_IOVA, MEM_PAGES * PAGE);
}

static int call_ioas_map_file(struct _test_data_fail_nth *self)
{
	return ioas_map_file(self->iommu, self->ioasid, IOAS_RW, self->memfd, 0,
			     TEST_IOVA, MEM_PAGES * PAGE);
}

/* Parts of the two mappings of make_source() */
static int call_ioas_copy(struct _test_data_fail_nth *self)
{
	return ioas_copy(self->iommu, self->other, TEST_IOVA + 2 * PAGE,
			 self->ioasid, TEST_IOVA, 8 * PAGE, IOAS_RW);
}

static int make_source(struct _test_data_fail_nth *self)
{
	int rc = ioas_map(self->iommu, self->other, IOAS_RW, self->mem,
			  TEST_IOVA, 5 * PAGE);

	return rc ? rc : ioas_map(self->iommu, self->other, IOAS_RW,
				  self->mem + 8 * PAGE, TEST_IOVA + 5 * PAGE,
				  8 * PAGE);
}

static int call_ioas_unmap(struct _test_data_fail_nth *self)
{
	return ioas_unmap(self->iommu, self->ioasid, 0, ~0ULL, NULL);
}

static int allow(struct _test_data_fail_nth *self, __u32 num)
{
	struct iommu_iova_range ranges[2] = {
		{ .start = TEST_IOVA, .last = 2 * TEST_IOVA - 1 },
		{ .start = 0x100000, .last = 0x1fffff },
	};
	struct iommu_ioas_allow_iovas cmd = {
		.size = sizeof(cmd),
		.ioas_id = self->ioasid,
		.num_iovas = num,
		.allowed_iovas = (uintptr_t)ranges,
	};

	return iommu_call(self->iommu, IOMMU_IOAS_ALLOW_IOVAS, &cmd);
}

static int call_ioas_allow(struct _test_data_fail_nth *self)
{
	return allow(self, 2);
}

static int ioas_allow_all(struct _test_data_fail_nth *self)
{
	return allow(self, 0);
}

static int call_ioas_ranges(struct _test_data_fail_nth *self)
{
	struct iommu_iova_range ranges[4];
	__u64 alignment;
	__u32 num = 4;

	return ioas_ranges(self->iommu, self->ioasid, ranges, &num, &alignment);
}

static int call_huge_pages_off(struct _test_data_fail_nth *self)
{
	return ioas_huge_pages(self->iommu, self->ioasid, false);
}

static int huge_pages_on(struct _test_data_fail_nth *self)
{
	return ioas_huge_pages(self->iommu, self->ioasid, true);
}

static int call_change_process(struct _test_data_fail_nth *self)
{
	return ioas_change_process(self->iommu);
}

TEST_F_TIMEOUT(fail_nth, ioas_alloc, 60)
{
	ASSERT_EQ(0, ioasid_free(self->iommu, self->other));
	RUN(.call = call_ioas_alloc, .undo = call_ioas_destroy,
	    .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, ioas_destroy, 60)
{
	RUN(.call = call_ioas_destroy, .undo = call_ioas_alloc);
}

TEST_F_TIMEOUT(fail_nth, ioas_map, 60)
{
	struct step step = {
		.call = call_ioas_map,
		.undo = call_ioas_unmap,
		.errors = { -ENOMEM, -EINTR, -EFAULT },
	};

	ASSERT_EQ(0, call_attach(self));
	run(_metadata, self, &step);
	/* The same counted against the user */
	ASSERT_EQ(0, drop_ipc_lock());
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, ioas_map_single_pages, 60)
{
	ASSERT_EQ(0, call_huge_pages_off(self));
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_ioas_map, .undo = call_ioas_unmap,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, ioas_map_file, 60)
{
	ASSERT_EQ(0, call_attach(self));
	ASSERT_EQ(0, fallocate(self->memfd, 0, 0, MEM_PAGES * PAGE));
	RUN(.call = call_ioas_map_file, .undo = call_ioas_unmap,
	    .errors = { -ENOMEM, -EINTR, -EINVAL, -EPERM });
}

TEST_F_TIMEOUT(fail_nth, ioas_copy, 60)
{
	ASSERT_EQ(0, make_source(self));
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_ioas_copy, .undo = call_ioas_unmap,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, ioas_unmap, 60)
{
	ASSERT_EQ(0, make_source(self));
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_ioas_unmap, .prepare = call_ioas_copy, .undo = nothing,
	    .errors = { -EINTR });
}

TEST_F_TIMEOUT(fail_nth, ioas_allow_iovas, 60)
{
	RUN(.call = call_ioas_allow, .undo = ioas_allow_all,
	    .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, ioas_iova_ranges, 60)
{
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_ioas_ranges, .undo = nothing, .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, option, 60)
{
	ASSERT_EQ(0, make_source(self));
	RUN(.call = call_huge_pages_off, .undo = huge_pages_on);
}

TEST_F_TIMEOUT(fail_nth, ioas_change_process, 60)
{
	ASSERT_EQ(0, call_attach(self));
	/* The native interface counts against the process. */
	ASSERT_EQ(0, call_map_file(self));
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioasid, TEST_IOVA,
			       self->other, TEST_IOVA, 4 * PAGE, IOAS_RW));
	RUN(.call = call_change_process, .undo = nothing,
	    .errors = { -ENOMEM, -EINTR });
}

/* ---- page tables that the user names ---- */

static int call_hwpt_alloc(struct _test_data_fail_nth *self)
{
	return hwpt_alloc(self->iommu, self->dev.dev_id, self->ioasid, 0,
			  &self->hwpt);
}

static int call_hwpt_destroy(struct _test_data_fail_nth *self)
{
	return iommufd_destroy(self->iommu, self->hwpt);
}

static int call_attach_hwpt(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->dev.fd, self->hwpt);
}

static int call_fault_queue(struct _test_data_fail_nth *self)
{
	self->queue = fault_queue_alloc(self->iommu, &self->fault);
	return self->queue < 0 ? self->queue : 0;
}

static int end_fault_queue(struct _test_data_fail_nth *self)
{
	close_fd(&self->queue);
	return iommufd_destroy(self->iommu, self->fault);
}

static int call_hw_info(struct _test_data_fail_nth *self)
{
	char data[256];
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd),
		.dev_id = self->dev.dev_id,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)data,
	};

	return iommu_call(self->iommu, IOMMU_GET_HW_INFO, &cmd);
}

/* A device behind an IOMMU that can do everything, and memory for its tables */
static int use_able_device(struct _test_data_fail_nth *self)
{
	int rc;

	if (test_iommu_missing())
		return -ENODEV;
	rc = test_device_begin("pri=1", &self->second, self->iommu);
	if (!rc)
		rc = call_ioas_map(self);
	return rc ? rc : hwpt_alloc(self->iommu, self->second.dev_id,
				    self->ioasid, IOMMU_HWPT_ALLOC_NEST_PARENT,
				    &self->parent);
}

static int call_hwpt_nested(struct _test_data_fail_nth *self)
{
	struct ioasid_test_hwpt_data data = { .table = TEST_IOVA, .levels = 4 };

	return hwpt_alloc_data(self->iommu, self->second.dev_id, self->parent,
			       IOMMU_HWPT_FAULT_ID_VALID, self->fault, &data,
			       sizeof(data), &self->hwpt);
}

static int call_attach_nested(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->second.fd, self->hwpt);
}

static int call_invalidate(struct _test_data_fail_nth *self)
{
	struct ioasid_test_invalidate range = { .last = ~0ULL };
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = self->hwpt,
		.data_uptr = (uintptr_t)&range,
		.data_type = IOASID_TEST_DATA_TYPE,
		.entry_len = sizeof(range),
		.entry_num = 1,
	};

	return iommu_call(self->iommu, IOMMU_HWPT_INVALIDATE, &cmd);
}

static int call_hwpt_track(struct _test_data_fail_nth *self)
{
	return hwpt_track(self->iommu, self->hwpt, true);
}

static int hwpt_track_off(struct _test_data_fail_nth *self)
{
	return hwpt_track(self->iommu, self->hwpt, false);
}

static int call_hwpt_dirty(struct _test_data_fail_nth *self)
{
	__u64 bits = 0;
	int rc;

	rc = hwpt_dirty(self->iommu, self->hwpt, 0, TEST_IOVA, MEM_PAGES * PAGE,
			PAGE, &bits);
	return check_touched(self, rc, bits);
}

static int use_tracked_device(struct _test_data_fail_nth *self)
{
	int rc = use_able_device(self);

	if (!rc)
		rc = hwpt_alloc(self->iommu, self->second.dev_id, self->ioasid,
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &self->hwpt);
	return rc ? rc : call_attach_nested(self);
}

TEST_F_TIMEOUT(fail_nth, hwpt_alloc, 60)
{
	struct step step = {
		.call = call_hwpt_alloc,
		.undo = call_hwpt_destroy,
		.errors = { -ENOMEM, -EINTR, -EFAULT, -EOPNOTSUPP },
	};
	struct iommu_device_info info = {};

	if (self->only_ours)
		SKIP(return, "page tables of windows have no names");
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	/* It may find out that it cannot. */
	if (info.caps & IOMMU_DEVICE_CAP_ENFORCE_SNOOP)
		step.errors[4] = -EINVAL;
	ASSERT_EQ(0, call_ioas_map(self));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, hwpt_destroy, 60)
{
	if (self->only_ours)
		SKIP(return, "page tables of windows have no names");
	ASSERT_EQ(0, call_ioas_map(self));
	ASSERT_EQ(0, call_hwpt_alloc(self));
	RUN(.call = call_hwpt_destroy, .undo = call_hwpt_alloc);
}

TEST_F_TIMEOUT(fail_nth, hwpt_attach, 60)
{
	if (self->only_ours)
		SKIP(return, "page tables of windows have no names");
	ASSERT_EQ(0, call_ioas_map(self));
	ASSERT_EQ(0, call_hwpt_alloc(self));
	RUN(.call = call_attach_hwpt, .undo = call_detach,
	    .errors = { -ENOMEM, -EBUSY, -EINVAL });
	ASSERT_EQ(0, call_attach_hwpt(self));
	EXPECT_TRUE(can_copy(self, &self->dev));
}

TEST_F_TIMEOUT(fail_nth, hwpt_replace, 60)
{
	if (self->only_ours)
		SKIP(return, "page tables of windows have no names");
	ASSERT_EQ(0, call_ioas_map(self));
	ASSERT_EQ(0, call_hwpt_alloc(self));
	ASSERT_EQ(0, call_attach(self));
	RUN(.call = call_attach_hwpt, .undo = call_attach,
	    .errors = { -ENOMEM, -EBUSY, -EINVAL });
	EXPECT_TRUE(can_copy(self, &self->dev));
}

TEST_F_TIMEOUT(fail_nth, hw_info, 60)
{
	RUN(.call = call_hw_info, .undo = nothing,
	    .errors = { -ENOMEM, -ENODEV });
}

TEST_F_TIMEOUT(fail_nth, fault_queue, 60)
{
	struct step step = {
		.call = call_fault_queue,
		.undo = end_fault_queue,
		.errors = { -ENOMEM, -EMFILE },
		/* A file that cannot be allocated */
		.any_error = true,
	};

	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, hwpt_nested, 60)
{
	if (use_able_device(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, call_fault_queue(self));
	RUN(.call = call_hwpt_nested, .undo = call_hwpt_destroy,
	    .errors = { -ENOMEM });
}

TEST_F_TIMEOUT(fail_nth, hwpt_nested_attach, 60)
{
	if (use_able_device(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, call_fault_queue(self));
	ASSERT_EQ(0, call_hwpt_nested(self));
	RUN(.call = call_attach_nested, .undo = call_detach_second,
	    .errors = { -ENOMEM, -EBUSY, -EINVAL });
}

TEST_F_TIMEOUT(fail_nth, hwpt_invalidate, 60)
{
	if (use_able_device(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, call_fault_queue(self));
	ASSERT_EQ(0, call_hwpt_nested(self));
	ASSERT_EQ(0, call_attach_nested(self));
	RUN(.call = call_invalidate, .undo = nothing);
}

TEST_F_TIMEOUT(fail_nth, hwpt_set_dirty, 60)
{
	if (use_tracked_device(self))
		SKIP(return, "no test IOMMU");
	RUN(.call = call_hwpt_track, .undo = hwpt_track_off,
	    .errors = { -EINTR, -EIO });
}

/* What a call that fails has cleared the next one reports. */
TEST_F_TIMEOUT(fail_nth, hwpt_get_dirty, 60)
{
	if (use_tracked_device(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, call_hwpt_track(self));
	RUN(.call = call_hwpt_dirty, .prepare = touch_page, .undo = nothing,
	    .errors = { -ENOMEM, -EINTR, -EIO });
}

/* ---- containers ---- */

static int call_type1_map(struct _test_data_fail_nth *self)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)self->mem,
		.iova = TEST_IOVA,
		.size = MEM_PAGES * PAGE,
	};

	return ioctl(self->iommu, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static int type1_unmap(struct _test_data_fail_nth *self, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};

	return ioctl(self->iommu, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -errno : 0;
}

static int call_type1_unmap(struct _test_data_fail_nth *self)
{
	return type1_unmap(self, TEST_IOVA, MEM_PAGES * PAGE);
}

/* As the container of a program that knows the first version only */
static int use_type1(struct _test_data_fail_nth *self)
{
	int rc = iommufd_vfio_ioas(self->iommu, self->ioasid);

	if (!rc && ioctl(self->iommu, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU))
		rc = -errno;
	return rc ? rc : call_attach(self);
}

TEST_F_TIMEOUT(fail_nth, type1_map, 60)
{
	ASSERT_EQ(0, use_type1(self));
	RUN(.call = call_type1_map, .undo = call_type1_unmap,
	    .errors = { -ENOMEM, -EINTR, -EFAULT });
}

TEST_F_TIMEOUT(fail_nth, type1_unmap, 60)
{
	ASSERT_EQ(0, use_type1(self));
	RUN(.call = call_type1_unmap, .prepare = call_type1_map,
	    .undo = nothing, .errors = { -EINTR });
}

/*
 * A hole may fail to be cut when one of its borders has been; what is mapped is
 * the same then.
 */
TEST_F_TIMEOUT(fail_nth, type1_cut, 60)
{
	const __u64 iova = TEST_IOVA + 4 * PAGE, size = 4 * PAGE;
	struct iommu_ioasid_info info;
	unsigned int failed = 0;
	bool hit = true;
	int nth, rc;

	ASSERT_EQ(0, use_type1(self));
	for (nth = 1; hit && nth <= MAX_POINTS; nth++) {
		ASSERT_EQ(0, call_type1_map(self));
		arm(self, nth);
		rc = type1_unmap(self, iova, size);
		hit = disarm(self);
		ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
		EXPECT_EQ((MEM_PAGES - (rc ? 0 : 4)) * PAGE, info.mapped_bytes);
		EXPECT_EQ(MEM_PAGES * PAGE - (rc ? 0 : size),
			  info.pinned_bytes);
		if (rc) {
			failed++;
			EXPECT_TRUE(rc == -ENOMEM || rc == -EINTR);
			ASSERT_EQ(0, type1_unmap(self, iova, size));
		}
		fill_pattern(self->mem, 64, nth);
		ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA,
					  TEST_IOVA + 8 * PAGE, 64));
		EXPECT_TRUE(has_pattern(self->mem + 8 * PAGE, 64, nth));
		ASSERT_EQ(0, call_type1_unmap(self));
	}
	EXPECT_FALSE(hit);
	EXPECT_LT(1, failed);
}

TEST_HARNESS_MAIN
