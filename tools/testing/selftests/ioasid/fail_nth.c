// SPDX-License-Identifier: GPL-2.0-only
/*
 * -ENOMEM: every allocation that a call makes is made to fail, one after the
 * other. The call fails cleanly and leaves everything as it was, or it does
 * without.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ioasid_utils.h"

#define MEM_PAGES	64
#define MAX_ALLOCATIONS	500

FIXTURE(fail_nth) {
	int iommu;
	struct edu edu;
	__u32 ioasid;
	__u32 other;
	char *mem;
	int memfd;
	int fail_nth;
	struct counts counts;
};

static int fault_config(const char *name, const char *file, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", name, file);
	return file_write(path, value);
}

/* Let every allocation be one that may fail, quietly. */
static int fault_setup(void)
{
	int rc = 0;

	rc |= fault_config("failslab", "ignore-gfp-wait", "N");
	rc |= fault_config("failslab", "verbose", "0");
	rc |= fault_config("fail_page_alloc", "ignore-gfp-wait", "N");
	rc |= fault_config("fail_page_alloc", "ignore-gfp-highmem", "N");
	rc |= fault_config("fail_page_alloc", "min-order", "0");
	rc |= fault_config("fail_page_alloc", "verbose", "0");
	return rc;
}

FIXTURE_SETUP(fail_nth)
{
	COUNTS_BEGIN(&self->counts);
	if (edu_find_alone(&self->edu, 1) < 1)
		SKIP(return, "no edu device in an IOMMU group of its own");
	self->fail_nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (self->fail_nth < 0 || fault_setup())
		SKIP(return, "the kernel has no fault injection");
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, edu_open_bind(&self->edu, self->iommu));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->other));
	self->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0x11, MEM_PAGES * PAGE);
	self->memfd = memfd_create("ioasid", MFD_CLOEXEC);
	ASSERT_LE(0, self->memfd);
	ASSERT_EQ(0, ftruncate(self->memfd, MEM_PAGES * PAGE));
}

FIXTURE_TEARDOWN(fail_nth)
{
	edu_close(&self->edu);
	close(self->iommu);
	close(self->memfd);
	close(self->fail_nth);
	COUNTS_END(&self->counts);
}

/**
 * struct step - A call that is made to fail, and its surroundings
 * @call: The call
 * @prepare: What must be there before, or NULL
 * @undo: Takes back what @call has done
 * @cannot_fail: It needs no memory, or does without
 */
struct step {
	int (*call)(struct _test_data_fail_nth *self);
	int (*prepare)(struct _test_data_fail_nth *self);
	int (*undo)(struct _test_data_fail_nth *self);
	bool cannot_fail;
};

/* What must not have changed after a call that failed. */
struct state {
	struct counts counts;
	struct iommu_ioasid_info info;
	struct iommu_ioasid_info other;
	char fdinfo[1024];
};

static int state_read(struct _test_data_fail_nth *self, struct state *state)
{
	char path[64];
	int rc;

	memset(state, 0, sizeof(*state));
	rc = counts_read(&state->counts);
	if (!rc)
		rc = ioasid_totals(self->iommu, self->ioasid, &state->info);
	/* The one that is being freed may not be there. */
	ioasid_totals(self->iommu, self->other, &state->other);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->iommu);
	file_read(path, state->fdinfo, sizeof(state->fdinfo));
	return rc;
}

static void arm(struct _test_data_fail_nth *self, int nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d", nth);

	if (pwrite(self->fail_nth, text, length, 0) != length)
		abort();
}

/* Return: whether the allocation was reached, and failed. */
static bool disarm(struct _test_data_fail_nth *self)
{
	char text[16] = "";
	ssize_t n = pread(self->fail_nth, text, sizeof(text) - 1, 0);

	arm(self, 0);
	return n > 0 && !atoi(text);
}

static void run(struct __test_metadata *_metadata,
		struct _test_data_fail_nth *self, const struct step *step)
{
	static struct state before, after;
	int nth, rc, failed = 0;
	bool hit = true;

	for (nth = 1; hit && nth <= MAX_ALLOCATIONS; nth++) {
		if (step->prepare)
			ASSERT_EQ(0, step->prepare(self));
		ASSERT_EQ(0, state_read(self, &before));
		arm(self, nth);
		rc = step->call(self);
		hit = disarm(self);
		if (!hit)
			EXPECT_EQ(0, rc);
		if (!rc) {
			ASSERT_EQ(0, step->undo(self));
			continue;
		}
		failed++;
		EXPECT_EQ(-ENOMEM, rc) {
			TH_LOG("allocation %d", nth);
		}
		EXPECT_FALSE(step->cannot_fail) {
			TH_LOG("allocation %d", nth);
		}
		ASSERT_EQ(0, state_read(self, &after));
		EXPECT_EQ(0, memcmp(&before, &after, sizeof(before))) {
			TH_LOG("allocation %d: something is left behind", nth);
		}
		/* With memory it works. */
		rc = step->call(self);
		ASSERT_EQ(0, rc);
		ASSERT_EQ(0, step->undo(self));
	}
	EXPECT_FALSE(hit);
	/* A test that never makes anything fail tests nothing. */
	if (!step->cannot_fail)
		EXPECT_LT(0, failed);
}

/* ---- the calls ---- */

static int call_alloc(struct _test_data_fail_nth *self)
{
	return ioasid_alloc(self->iommu, &self->other);
}

static int call_free(struct _test_data_fail_nth *self)
{
	return ioasid_free(self->iommu, self->other);
}

static int call_map(struct _test_data_fail_nth *self)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  TEST_IOVA, MEM_PAGES * PAGE);
}

static int call_map_page(struct _test_data_fail_nth *self)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  TEST_IOVA, PAGE);
}

static int call_map_file(struct _test_data_fail_nth *self)
{
	return ioasid_map_file(self->iommu, self->ioasid, READ_WRITE,
			       self->memfd, 0, TEST_IOVA, MEM_PAGES * PAGE);
}

static int call_map_alloc(struct _test_data_fail_nth *self)
{
	__u64 iova;

	return ioasid_map_alloc(self->iommu, self->ioasid, READ_WRITE,
				self->mem, 4 * PAGE, &iova);
}

static int call_unmap_all(struct _test_data_fail_nth *self)
{
	return ioasid_unmap_all(self->iommu, self->ioasid, NULL);
}

static int call_attach(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->edu.fd, self->ioasid);
}

static int call_detach(struct _test_data_fail_nth *self)
{
	return vfio_detach(self->edu.fd);
}

static int call_attach_other(struct _test_data_fail_nth *self)
{
	return vfio_attach(self->edu.fd, self->other);
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

	return iommu_device_info(self->iommu, self->edu.dev_id, &info);
}

static int nothing(struct _test_data_fail_nth *self)
{
	return 0;
}

/* ---- each of them ---- */

TEST_F_TIMEOUT(fail_nth, alloc, 60)
{
	struct step step = { .call = call_alloc, .undo = call_free };

	ASSERT_EQ(0, ioasid_free(self->iommu, self->other));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, free, 60)
{
	struct step step = {
		.call = call_free,
		.undo = call_alloc,
		.cannot_fail = true,
	};

	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, map_idle, 60)
{
	struct step step = { .call = call_map, .undo = call_unmap_all };

	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, map, 60)
{
	struct step step = { .call = call_map, .undo = call_unmap_all };

	ASSERT_EQ(0, call_attach(self));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, map_page, 60)
{
	struct step step = { .call = call_map_page, .undo = call_unmap_all };

	ASSERT_EQ(0, call_attach(self));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, map_file, 60)
{
	struct step step = { .call = call_map_file, .undo = call_unmap_all };

	ASSERT_EQ(0, call_attach(self));
	/* Its pages are made once; the file keeps them. */
	ASSERT_EQ(0, fallocate(self->memfd, 0, 0, MEM_PAGES * PAGE));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, map_alloc_iova, 60)
{
	struct step step = { .call = call_map_alloc, .undo = call_unmap_all };

	ASSERT_EQ(0, call_attach(self));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, unmap, 60)
{
	struct step step = {
		.call = call_unmap_all,
		.prepare = call_map,
		.undo = nothing,
		.cannot_fail = true,
	};

	ASSERT_EQ(0, call_attach(self));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, attach, 60)
{
	struct step step = { .call = call_attach, .undo = call_detach };

	ASSERT_EQ(0, call_map(self));
	run(_metadata, self, &step);
}

/* A move that fails leaves the device where it was, with its DMA. */
TEST_F_TIMEOUT(fail_nth, replace, 60)
{
	struct step step = { .call = call_attach_other, .undo = call_attach };

	ASSERT_EQ(0, call_map(self));
	ASSERT_EQ(0, call_attach(self));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->other, READ_WRITE, self->mem,
				TEST_IOVA, 8 * PAGE));
	run(_metadata, self, &step);
	fill_pattern(self->mem, 64, 1);
	ASSERT_EQ(0, edu_dma_copy(&self->edu, TEST_IOVA,
				  TEST_IOVA + 32 * PAGE, 64));
	EXPECT_TRUE(has_pattern(self->mem + 32 * PAGE, 64, 1));
}

TEST_F_TIMEOUT(fail_nth, detach, 60)
{
	struct step step = {
		.call = call_detach,
		.prepare = call_attach,
		.undo = nothing,
		.cannot_fail = true,
	};

	ASSERT_EQ(0, call_map(self));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, ioasid_get_info, 60)
{
	struct step step = { .call = call_ioasid_info, .undo = nothing };

	ASSERT_EQ(0, call_attach(self));
	run(_metadata, self, &step);
}

TEST_F_TIMEOUT(fail_nth, device_get_info, 60)
{
	struct step step = { .call = call_device_info, .undo = nothing };

	run(_metadata, self, &step);
}

/* VFIO and PCI have errnos of their own; but the next try must work. */
TEST_F_TIMEOUT(fail_nth, bind, 60)
{
	struct state before, after;
	bool hit = true;
	int nth, rc;

	edu_close(&self->edu);
	ASSERT_EQ(0, state_read(self, &before));
	for (nth = 1; hit && nth <= MAX_ALLOCATIONS; nth++) {
		ASSERT_EQ(0, edu_open(&self->edu));
		arm(self, nth);
		rc = vfio_bind(self->edu.fd, self->iommu, &self->edu.dev_id);
		hit = disarm(self);
		if (!hit)
			EXPECT_EQ(0, rc);
		edu_close(&self->edu);
		ASSERT_EQ(0, state_read(self, &after));
		EXPECT_EQ(0, memcmp(&before, &after, sizeof(before))) {
			TH_LOG("allocation %d", nth);
		}
	}
	EXPECT_FALSE(hit);
	EXPECT_EQ(0, edu_open_bind(&self->edu, self->iommu));
}

TEST_HARNESS_MAIN
