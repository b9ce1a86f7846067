// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two interfaces on one file: what one has made the other uses, and devices see
 * no difference. An IOAS is an IOASID, and a HWPT is one of its page tables.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	64
#define MEM_SIZE	(MEM_PAGES * PAGE)
#define HALF		(MEM_SIZE / 2)
#define ADDR(n)		(TEST_IOVA + (n) * PAGE)

#define OLD		0x1111111111111111ULL
#define NEW		0x2222222222222222ULL
#define MARK		0xa5a5a5a5a5a5a5a5ULL

FIXTURE(front)
{
	struct counts begin;
	struct dma_device one;
	struct dma_device two;
	int iommu;
	__u32 ioas;
	__u32 ioasid;
	char *mem;
};

FIXTURE_SETUP(front)
{
	const char *missing = test_iommu_missing();

	self->one.fd = -1;
	self->two.fd = -1;
	self->iommu = -1;
	self->mem = NULL;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->begin);
	self->mem = mem_alloc(MEM_SIZE);
	ASSERT_NE(NULL, self->mem);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
}

FIXTURE_TEARDOWN(front)
{
	if (!self->mem)
		return;
	dev_close(&self->one);
	dev_close(&self->two);
	if (self->iommu >= 0)
		close(self->iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	munmap(self->mem, MEM_SIZE);
	COUNTS_END(&self->begin);
}

/* An IOMMU with two devices that are bound, an IOAS, and an IOASID */
static int begin(struct _test_data_front *self, const char *settings)
{
	int rc = test_device_begin(settings, &self->one, self->iommu);

	if (!rc)
		rc = test_device_make("a", "two", NULL, &self->two);
	if (!rc)
		rc = dev_open_bind(&self->two, self->iommu);
	if (!rc)
		rc = ioas_alloc(self->iommu, &self->ioas);
	return rc ? rc : ioasid_alloc(self->iommu, &self->ioasid);
}

static void set_words(void *mem, size_t length, __u64 pattern)
{
	__u64 *word = mem;
	size_t i;

	for (i = 0; i < length / 8; i++)
		word[i] = pattern;
}

static int hwpt_of_one(struct _test_data_front *self, __u32 pt_id, __u32 *hwpt)
{
	return hwpt_alloc(self->iommu, self->one.dev_id, pt_id, 0, hwpt);
}

/* VmPin and VmLck since the test has begun, in pages */
static long pages_pinned(struct _test_data_front *self)
{
	struct counts now;

	if (counts_read(&now))
		return -1;
	return (now.pinned - self->begin.pinned) / (long)PAGE;
}

static long pages_locked(struct _test_data_front *self)
{
	struct counts now;

	if (counts_read(&now))
		return -1;
	return (now.locked - self->begin.locked) / (long)PAGE;
}

/* ---- one object, two names for it ---- */

TEST_F(front, native_calls_on_an_ioas)
{
	struct iommu_ioasid_info info;
	__u64 unmapped;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioas, READ_WRITE, self->mem,
				ADDR(0), PAGE));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW,
			      self->mem + PAGE, ADDR(1), PAGE));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioas));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioas, READ_ONLY,
				self->mem + 2 * PAGE, ADDR(2), PAGE));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioas, &info));
	EXPECT_EQ(IOMMU_IOASID_TYPE_KERNEL, info.type);
	EXPECT_EQ(1, info.num_devices);
	EXPECT_EQ(1, info.num_tables);
	EXPECT_EQ(3, info.num_mappings);
	EXPECT_EQ(3 * PAGE, info.mapped_bytes);
	EXPECT_EQ(3 * PAGE, info.pinned_bytes);
	EXPECT_EQ(0, info.state);

	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(0), 2 * PAGE, MARK));
	EXPECT_TRUE(all_bytes(self->mem, 2 * PAGE, 0xa5));
	EXPECT_EQ(IOASID_TEST_FAULT_PERMISSION,
		  test_device_fill(&self->one, ADDR(2), 8, MARK));
	EXPECT_EQ(0, test_device_compare(&self->one, ADDR(2), PAGE, 0));

	/* Each takes away what the other has mapped. */
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, ADDR(0), PAGE,
				&unmapped));
	EXPECT_EQ(PAGE, unmapped);
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioas, ADDR(1), PAGE,
				  &unmapped));
	EXPECT_EQ(PAGE, unmapped);
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, ADDR(0), 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, ADDR(1), 8, MARK));

	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioas));
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioas));
	EXPECT_EQ(-ENOENT, iommufd_destroy(self->iommu, self->ioas));
}

TEST_F(front, iommufd_calls_on_an_ioasid)
{
	struct iommu_iova_range ranges[4];
	struct iommu_ioasid_info info;
	__u64 alignment, unmapped;
	__u32 num = 4, hwpt;

	ASSERT_EQ(0, begin(self, "width=40"));
	ASSERT_EQ(0, ioas_ranges(self->iommu, self->ioasid, ranges, &num,
				 &alignment));
	EXPECT_EQ(1, num);
	EXPECT_EQ(0, ranges[0].start);
	EXPECT_EQ(~0UL, ranges[0].last);
	EXPECT_EQ(1, alignment);

	ASSERT_EQ(0, ioas_map(self->iommu, self->ioasid, IOAS_RW, self->mem,
			      ADDR(0), HALF));
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioasid, ADDR(1), self->ioas,
			       ADDR(0), PAGE, IOAS_RW));
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioas, ADDR(0), self->ioasid,
			       ADDR(MEM_PAGES), PAGE, IOAS_RW));
	ASSERT_EQ(0, hwpt_of_one(self, self->ioasid, &hwpt));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(1, info.num_tables);
	EXPECT_EQ(HALF + PAGE, info.pinned_bytes);

	num = 4;
	ASSERT_EQ(0, ioas_ranges(self->iommu, self->ioasid, ranges, &num,
				 &alignment));
	EXPECT_EQ(1, num);
	EXPECT_EQ((1ULL << 40) - 1, ranges[0].last);
	EXPECT_LT(1, alignment);

	ASSERT_EQ(0, vfio_attach(self->one.fd, hwpt));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_devices);
	EXPECT_EQ(1, info.num_tables);
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(0), HALF, OLD));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(MEM_PAGES), PAGE, MARK));
	EXPECT_TRUE(all_bytes(self->mem, PAGE, 0x11));
	EXPECT_TRUE(all_bytes(self->mem + PAGE, PAGE, 0xa5));
	EXPECT_TRUE(all_bytes(self->mem + 2 * PAGE, HALF - 2 * PAGE, 0x11));

	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, hwpt));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->ioasid));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioasid, 0, ~0ULL,
				&unmapped));
	EXPECT_EQ(HALF + PAGE, unmapped);
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->ioasid));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioasid));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->ioasid));
	EXPECT_EQ(-ENOENT, ioasid_free(self->iommu, self->ioasid));
}

/* What a device is attached to has a name, which others may use. */
TEST_F(front, attach_tells_the_table)
{
	__u32 ids[2] = {}, table, same;
	struct iommu_ioasid_info info;
	int i;

	ASSERT_EQ(0, begin(self, NULL));
	ids[0] = self->ioas;
	ids[1] = self->ioasid;
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, ioas_map(self->iommu, ids[i], IOAS_RW, self->mem,
				      ADDR(0), PAGE));
		table = ids[i];
		ASSERT_EQ(0, vfio_attach_id(self->one.fd, &table));
		EXPECT_NE(ids[i], table);
		same = table;
		ASSERT_EQ(0, vfio_attach_id(self->two.fd, &same));
		EXPECT_EQ(table, same);
		ASSERT_EQ(0, ioasid_totals(self->iommu, ids[i], &info));
		EXPECT_EQ(2, info.num_devices);
		EXPECT_EQ(1, info.num_tables);
		/* It goes with whom it was made for. */
		EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, table));
		/* To go where one is changes nothing. */
		same = ids[i];
		ASSERT_EQ(0, vfio_attach_id(self->one.fd, &same));
		EXPECT_EQ(table, same);
		same = table;
		ASSERT_EQ(0, vfio_attach_id(self->one.fd, &same));
		EXPECT_EQ(table, same);

		ASSERT_EQ(0, vfio_detach(self->one.fd));
		EXPECT_EQ(0, test_device_fill(&self->two, ADDR(0), 8, MARK));
		EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
			  test_device_fill(&self->one, ADDR(0), 8, MARK));
		EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, table));
		ASSERT_EQ(0, vfio_detach(self->two.fd));
		EXPECT_EQ(-ENOENT, iommufd_destroy(self->iommu, table));
		EXPECT_EQ(-ENOENT, vfio_attach_id(self->one.fd, &table));
		ASSERT_EQ(0, ioasid_totals(self->iommu, ids[i], &info));
		EXPECT_EQ(0, info.num_tables);
		EXPECT_EQ(0, info.pinned_bytes);
	}
}

/* One that the user has asked for stays, and keeps the memory pinned. */
TEST_F(front, hwpt_outlives_its_devices)
{
	struct iommu_ioasid_info info;
	__u32 hwpt, table;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, hwpt_of_one(self, self->ioas, &hwpt));
	ASSERT_EQ(0, vfio_attach(self->one.fd, hwpt));
	/* Who asks for the address space does not get it. */
	table = self->ioas;
	ASSERT_EQ(0, vfio_attach_id(self->two.fd, &table));
	EXPECT_NE(hwpt, table);
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	ASSERT_EQ(0, vfio_detach(self->two.fd));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      ADDR(0), MEM_SIZE));
	EXPECT_EQ(MEM_PAGES, pages_pinned(self));
	ASSERT_EQ(0, vfio_attach(self->two.fd, hwpt));
	EXPECT_EQ(0, test_device_fill(&self->two, ADDR(0), MEM_SIZE, MARK));
	EXPECT_TRUE(all_bytes(self->mem, MEM_SIZE, 0xa5));
	/* Mapped afterwards: in two tables at once */
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioas));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      ADDR(MEM_PAGES), PAGE));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(MEM_PAGES), 8, OLD));
	EXPECT_EQ(0, test_device_fill(&self->two, ADDR(MEM_PAGES), 8, NEW));
	EXPECT_TRUE(all_bytes(self->mem, 8, 0x22));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioas, &info));
	EXPECT_EQ(2, info.num_devices);
	EXPECT_EQ(2, info.num_tables);
	dev_close(&self->one);
	dev_close(&self->two);
	EXPECT_EQ(MEM_PAGES + 1, pages_pinned(self));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	EXPECT_EQ(0, pages_pinned(self));
}

/* What is read in one way would be missing in the other. */
TEST_F(front, dirty_has_one_owner)
{
	__u64 bits = 0;
	__u32 tracked, hwpt, table;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &tracked));
	ASSERT_EQ(0, ioas_map(self->iommu, tracked, IOAS_RW, self->mem, ADDR(0),
			      MEM_SIZE));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->one.dev_id, tracked,
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt));
	ASSERT_EQ(0, vfio_attach(self->one.fd, hwpt));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_track(self->iommu, hwpt, true));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_track(self->iommu, hwpt, false));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_dirty(self->iommu, hwpt, 0, ADDR(0),
					  MEM_SIZE, PAGE, &bits));
	ASSERT_EQ(0, dirty_start(self->iommu, tracked));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(7), 8, MARK));
	ASSERT_EQ(0, dirty_get(self->iommu, tracked, 0, ADDR(0), MEM_SIZE, PAGE,
			       &bits));
	EXPECT_TRUE(bits & 1ULL << 7);

	/* One without the flag is as good there, and so is one made for it. */
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	ASSERT_EQ(0, hwpt_of_one(self, tracked, &hwpt));
	table = tracked;
	ASSERT_EQ(0, vfio_attach(self->one.fd, hwpt));
	ASSERT_EQ(0, vfio_attach_id(self->two.fd, &table));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_track(self->iommu, table, true));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_dirty(self->iommu, table, 0, ADDR(0),
					  MEM_SIZE, PAGE, &bits));
	ASSERT_EQ(0, dirty_get(self->iommu, tracked, 0, ADDR(0), MEM_SIZE, PAGE,
			       &bits));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(7), 8, MARK));
	EXPECT_EQ(0, test_device_fill(&self->two, ADDR(9), 8, MARK));
	ASSERT_EQ(0, dirty_get(self->iommu, tracked, 0, ADDR(0), MEM_SIZE, PAGE,
			       &bits));
	EXPECT_TRUE(bits & 1ULL << 7);
	EXPECT_TRUE(bits & 1ULL << 9);

	/* Others have their HWPTs to themselves. */
	EXPECT_EQ(-EINVAL, dirty_start(self->iommu, self->ioas));
	table = self->ioas;
	ASSERT_EQ(0, vfio_attach_id(self->two.fd, &table));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_track(self->iommu, table, true));
}

TEST_F(front, snoop_policy)
{
	__u32 enforce, off, hwpt;

	ASSERT_EQ(0, begin(self, "snoop_control=1"));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_ENFORCE,
				       &enforce));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_OFF, &off));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_of_one(self, off, &hwpt));
	ASSERT_EQ(0, test_iommu_fail("a", "enforce", 0, EINVAL));
	EXPECT_EQ(-EINVAL, hwpt_of_one(self, enforce, &hwpt));
	ASSERT_EQ(0, hwpt_of_one(self, enforce, &hwpt));
	ASSERT_EQ(0, vfio_attach(self->one.fd, hwpt));

	/* One that cannot is not let in by the name of the table either. */
	dev_close(&self->two);
	ASSERT_EQ(0, test_device_remove("a", "two"));
	ASSERT_EQ(0, test_iommu_make("b", NULL));
	ASSERT_EQ(0, test_device_make("b", "two", NULL, &self->two));
	ASSERT_EQ(0, dev_open_bind(&self->two, self->iommu));
	EXPECT_EQ(-EINVAL, hwpt_alloc(self->iommu, self->two.dev_id, enforce, 0,
				      &hwpt));
	EXPECT_EQ(-EINVAL, vfio_attach(self->two.fd, hwpt));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->two.dev_id, off, 0, &hwpt));
	EXPECT_EQ(0, vfio_attach(self->two.fd, hwpt));
	EXPECT_NE(0, vfio_attach(self->one.fd, hwpt));
}

TEST_F(front, address_width)
{
	struct iommu_iova_range range;
	__u64 alignment;
	__u32 narrow, wide, hwpt, num = 1;

	ASSERT_EQ(0, begin(self, "width=36"));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 32, 0, &narrow));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 40, 0, &wide));
	ASSERT_EQ(0, ioas_ranges(self->iommu, narrow, &range, &num,
				 &alignment));
	EXPECT_EQ((1ULL << 32) - 1, range.last);
	EXPECT_EQ(-EINVAL, ioas_map(self->iommu, narrow, IOAS_RW, self->mem,
				    1ULL << 32, PAGE));
	EXPECT_EQ(0, ioas_map(self->iommu, narrow, IOAS_RW, self->mem,
			      (1ULL << 32) - PAGE, PAGE));
	EXPECT_EQ(0, hwpt_of_one(self, narrow, &hwpt));
	EXPECT_EQ(-EINVAL, hwpt_of_one(self, wide, &hwpt));

	/* An IOAS promises nothing, but keeps what it has. */
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      1ULL << 36, PAGE));
	EXPECT_EQ(-EADDRINUSE, hwpt_of_one(self, self->ioas, &hwpt));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, 1ULL << 36, PAGE,
				NULL));
	ASSERT_EQ(0, hwpt_of_one(self, self->ioas, &hwpt));
	EXPECT_EQ(-EINVAL, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
				    1ULL << 36, PAGE));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	EXPECT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      1ULL << 36, PAGE));
}

/* What is promised, whoever asks and whoever comes */
TEST_F(front, allowed_ranges)
{
	struct iommu_iova_range range = {
		.start = 1ULL << 35,
		.last = (1ULL << 35) + MEM_SIZE - 1,
	};
	struct iommu_ioas_allow_iovas allow = {
		.size = sizeof(allow),
		.num_iovas = 1,
		.allowed_iovas = (uintptr_t)&range,
	};
	__u64 iova;
	__u32 hwpt;

	ASSERT_EQ(0, begin(self, "width=36"));
	allow.ioas_id = self->ioasid;
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_IOAS_ALLOW_IOVAS, &allow));
	/* The kernel chooses there, and only there; a program may not care. */
	ASSERT_EQ(0, ioasid_map_alloc(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, HALF, &iova));
	EXPECT_LE(range.start, iova);
	EXPECT_GE(range.last, iova + HALF - 1);
	EXPECT_EQ(-ENOSPC, ioasid_map_alloc(self->iommu, self->ioasid,
					    READ_WRITE, self->mem, MEM_SIZE,
					    &iova));
	EXPECT_EQ(0, ioas_map(self->iommu, self->ioasid, IOAS_RW, self->mem,
			      ADDR(0), PAGE));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(0, test_device_fill(&self->one, iova, HALF, MARK));
	EXPECT_TRUE(all_bytes(self->mem, HALF, 0xa5));

	/* A device that cannot reach all of it is not let in. */
	range.start = MSI_FIRST - 2 * 0x100000;
	range.last = MSI_FIRST + 0xffff;
	allow.ioas_id = self->ioas;
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_IOAS_ALLOW_IOVAS, &allow));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->two.fd, self->ioas));
	range.start = 1ULL << 36;
	range.last = (1ULL << 36) + PAGE - 1;
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_IOAS_ALLOW_IOVAS, &allow));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->two.fd, self->ioas));
	EXPECT_EQ(-EADDRINUSE, hwpt_of_one(self, self->ioas, &hwpt));
	/* Nor is one moved there. */
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->one.fd, self->ioas));
	EXPECT_EQ(0, test_device_fill(&self->one, iova, 8, OLD));
	allow.num_iovas = 0;
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_IOAS_ALLOW_IOVAS, &allow));
	EXPECT_EQ(0, vfio_attach(self->two.fd, self->ioas));
}

static int fill_pasid(struct dma_device *dev, __u32 pasid, __u64 iova)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_PASID,
		.pasid = pasid,
		.iova = iova,
		.length = 8,
		.pattern = MARK,
	};

	return test_device_try(dev, &command);
}

/* A native IOASID may have PASIDs; who has an IOAS asks for a table with them. */
TEST_F(front, pasids)
{
	__u32 hwpt;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      ADDR(0), PAGE));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioasid, IOAS_RW,
			      self->mem + PAGE, ADDR(0), PAGE));
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->one.fd, 5, self->ioas));
	ASSERT_EQ(0, hwpt_of_one(self, self->ioas, &hwpt));
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->one.fd, 5, hwpt));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	EXPECT_EQ(0, pages_pinned(self));
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 5, self->ioasid));
	EXPECT_EQ(0, fill_pasid(&self->one, 5, ADDR(0)));
	EXPECT_TRUE(all_bytes(self->mem + PAGE, 8, 0xa5));

	/* Its plain DMA needs a table of the same kind. */
	EXPECT_EQ(-EINVAL, vfio_attach(self->one.fd, self->ioas));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->one.dev_id, self->ioas,
				IOMMU_HWPT_ALLOC_PASID, &hwpt));
	ASSERT_EQ(0, vfio_attach(self->one.fd, hwpt));
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 6, hwpt));
	EXPECT_EQ(0, fill_pasid(&self->one, 6, ADDR(0)));
	EXPECT_TRUE(all_bytes(self->mem, 8, 0xa5));
	EXPECT_EQ(-EINVAL, vfio_attach(self->one.fd, self->ioas));
	EXPECT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, hwpt));
	/* From one to the other */
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 6, self->ioasid));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->one.fd, 6, self->ioas));
	EXPECT_EQ(0, fill_pasid(&self->one, 6, ADDR(0)));

	ASSERT_EQ(0, vfio_detach_pasid(self->one.fd, 5));
	ASSERT_EQ(0, vfio_detach_pasid(self->one.fd, 6));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED, fill_pasid(&self->one, 6, ADDR(0)));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioas));
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->one.fd, 5, self->ioasid));
}

/* The native interface maps pages. The other maps bytes, while nobody minds. */
TEST_F(front, parts_of_pages)
{
	struct iommu_ioasid_info info;
	__u64 unmapped;
	__u32 hwpt;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioasid, IOAS_RW,
			      self->mem + 0x123, ADDR(0) + 5, 100));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(PAGE, info.alignment);
	EXPECT_EQ(100, info.mapped_bytes);
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, ADDR(1) + 512, 512));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem + 512, ADDR(1), PAGE));
	EXPECT_EQ(-EINVAL, ioasid_unmap(self->iommu, self->ioasid, ADDR(0) + 5,
					100, NULL));
	EXPECT_EQ(-EEXIST, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, ADDR(0), PAGE));
	/* No table can hold it. */
	EXPECT_EQ(-EADDRINUSE, hwpt_of_one(self, self->ioasid, &hwpt));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(0, pages_pinned(self));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, ADDR(0), PAGE,
				  &unmapped));
	EXPECT_EQ(100, unmapped);

	/* And with a table there is none. */
	ASSERT_EQ(0, hwpt_of_one(self, self->ioasid, &hwpt));
	EXPECT_EQ(-EINVAL, ioas_map(self->iommu, self->ioasid, IOAS_RW,
				    self->mem + 0x123, ADDR(0) + 5, 100));
	EXPECT_EQ(-EINVAL, ioas_map(self->iommu, self->ioasid, IOAS_RW,
				    self->mem + 512, ADDR(0), PAGE));
	if (PAGE == 4096)
		return;
	/* The IOMMU's pages are smaller than the CPU's. */
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioasid, IOAS_RW,
			      self->mem + 4096, ADDR(0) + 8192, 4096));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, ADDR(1) + 4096, 4096));
	ASSERT_EQ(0, vfio_attach(self->one.fd, hwpt));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(0) + 8192, 4096, MARK));
	EXPECT_TRUE(all_bytes(self->mem, 4096, 0));
	EXPECT_TRUE(all_bytes(self->mem + 4096, 4096, 0xa5));
	EXPECT_TRUE(all_bytes(self->mem + 8192, PAGE - 8192, 0));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, ADDR(0), 8, MARK));
}

/* ---- copies of mappings ---- */

static int copy(struct _test_data_front *self, unsigned int from,
		unsigned int to, unsigned int num, __u32 flags)
{
	return ioas_copy(self->iommu, self->ioas, ADDR(from), self->ioasid,
			 ADDR(to), num * PAGE, flags);
}

/* Pinned and charged once, as long as one of them is there */
TEST_F(front, copies_share_pins)
{
	ASSERT_EQ(0, iommufd_account_mm(self->iommu, true));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      ADDR(0), 8 * PAGE));
	EXPECT_EQ(0, pages_pinned(self));
	ASSERT_EQ(0, copy(self, 2, 10, 3, IOAS_RW));
	EXPECT_EQ(0, pages_pinned(self));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioas));
	EXPECT_EQ(8, pages_pinned(self));
	EXPECT_EQ(8, pages_locked(self));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	ASSERT_EQ(0, copy(self, 0, 0, 1, IOAS_RW));
	EXPECT_EQ(8, pages_pinned(self));
	EXPECT_EQ(8, pages_locked(self));

	EXPECT_EQ(0, test_device_fill(&self->two, ADDR(10), 3 * PAGE, MARK));
	EXPECT_EQ(0, test_device_compare(&self->one, ADDR(2), 3 * PAGE, MARK));
	EXPECT_EQ(0, test_device_compare(&self->one, ADDR(0), 2 * PAGE, 0));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(0), 8, OLD));
	EXPECT_EQ(0, test_device_compare(&self->two, ADDR(0), 8, OLD));

	/* The source goes first. */
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, ADDR(0), 8 * PAGE,
				NULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, ADDR(0), 8, OLD));
	EXPECT_EQ(8, pages_pinned(self));
	EXPECT_EQ(0, test_device_fill(&self->two, ADDR(11), PAGE, NEW));
	EXPECT_TRUE(all_bytes(self->mem + 3 * PAGE, PAGE, 0x22));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioasid, ADDR(10), 3 * PAGE,
				NULL));
	EXPECT_EQ(8, pages_pinned(self));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioasid, ADDR(0), PAGE,
				NULL));
	EXPECT_EQ(0, pages_pinned(self));
	EXPECT_EQ(0, pages_locked(self));
}

/* The address space that it was copied from is gone, and the copy works. */
TEST_F(front, copy_outlives_its_source)
{
	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      ADDR(0), MEM_SIZE));
	ASSERT_EQ(0, copy(self, 1, 0, 2, IOAS_RW));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, self->ioas));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(MEM_PAGES, pages_pinned(self));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(0), 2 * PAGE, MARK));
	EXPECT_TRUE(all_bytes(self->mem, PAGE, 0));
	EXPECT_TRUE(all_bytes(self->mem + PAGE, 2 * PAGE, 0xa5));
	EXPECT_TRUE(all_bytes(self->mem + 3 * PAGE, PAGE, 0));
}

/* All parts or none: also if the last one has no place, and pinned or not */
TEST_F(front, copies_are_whole)
{
	unsigned int attached;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      ADDR(0), PAGE));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW,
			      self->mem + 4 * PAGE, ADDR(1), PAGE));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW,
			      self->mem + 6 * PAGE, ADDR(2), PAGE));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioasid, IOAS_RW,
			      self->mem + 8 * PAGE, ADDR(12), PAGE));
	for (attached = 0; attached < 2; attached++) {
		if (attached)
			ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
		EXPECT_EQ(-EEXIST, copy(self, 0, 10, 3, IOAS_RW));
		EXPECT_EQ(-EEXIST, copy(self, 0, 11, 3, IOAS_RW));
		EXPECT_EQ(attached, pages_pinned(self));
		ASSERT_EQ(0, copy(self, 0, 20, 3, IOAS_RW));
		EXPECT_EQ(4 * attached, pages_pinned(self));
		if (!attached)
			ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioasid,
						ADDR(20), 3 * PAGE, NULL));
	}
	EXPECT_EQ(0, test_device_compare(&self->one, ADDR(20), 3 * PAGE, 0));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, ADDR(10), 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, ADDR(11), 8, MARK));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(12), 8, MARK));
}

TEST_F(front, copies_may_do_less)
{
	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_READ, self->mem,
			      ADDR(0), PAGE));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW,
			      self->mem + PAGE, ADDR(1), PAGE));
	EXPECT_EQ(-EPERM, copy(self, 0, 0, 1, IOAS_RW));
	EXPECT_EQ(-EPERM, copy(self, 0, 0, 2, IOAS_RW));
	EXPECT_EQ(-EPERM, copy(self, 0, 0, 1, IOMMU_IOAS_MAP_WRITEABLE));
	ASSERT_EQ(0, copy(self, 0, 0, 2, IOAS_READ));
	ASSERT_EQ(0, copy(self, 1, 2, 1, IOAS_RW));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(0, test_device_compare(&self->one, ADDR(0), 3 * PAGE, 0));
	EXPECT_EQ(IOASID_TEST_FAULT_PERMISSION,
		  test_device_fill(&self->one, ADDR(0), 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_PERMISSION,
		  test_device_fill(&self->one, ADDR(1), 8, MARK));
	EXPECT_EQ(0, test_device_fill(&self->one, ADDR(2), 8, MARK));
	EXPECT_EQ(0, test_device_compare(&self->one, ADDR(1), 8, MARK));
}

/* Across the borders of mappings, and not a page more */
TEST_F(front, copies_of_parts)
{
	struct iommu_ioasid_info info;
	unsigned int i;

	ASSERT_EQ(0, begin(self, NULL));
	for (i = 0; i < MEM_PAGES; i++)
		set_words(self->mem + i * PAGE, PAGE, i);
	/* Behind each other here, not there */
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW,
			      self->mem + 8 * PAGE, ADDR(0), 4 * PAGE));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      ADDR(4), 4 * PAGE));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW,
			      self->mem + 20 * PAGE, ADDR(8), PAGE));
	ASSERT_EQ(0, copy(self, 2, 20, 7, IOAS_RW));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(3, info.num_mappings);
	EXPECT_EQ(7 * PAGE, info.mapped_bytes);

	/* A hole, before, within and behind, or something there */
	EXPECT_EQ(-ENOENT, copy(self, 8, 40, 2, IOAS_RW));
	EXPECT_EQ(-ENOENT, copy(self, 9, 40, 1, IOAS_RW));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, ADDR(4), 4 * PAGE,
				NULL));
	EXPECT_EQ(-ENOENT, copy(self, 2, 40, 7, IOAS_RW));
	EXPECT_EQ(-ENOENT, copy(self, 6, 40, 3, IOAS_RW));
	EXPECT_EQ(-EEXIST, copy(self, 0, 18, 4, IOAS_RW));
	EXPECT_EQ(-EEXIST, copy(self, 0, 26, 4, IOAS_RW));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(3, info.num_mappings);

	/* Of a copy, and into the same address space */
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioasid, ADDR(21),
			       self->ioasid, ADDR(2), 5 * PAGE, IOAS_RW));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	for (i = 0; i < 5; i++)
		EXPECT_EQ(0, test_device_compare(&self->one, ADDR(2 + i), PAGE,
						 i < 1 ? 11 : i - 1));
	EXPECT_EQ(0, test_device_compare(&self->one, ADDR(26), PAGE, 20));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_compare(&self->one, ADDR(27), 8, 0));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_compare(&self->one, ADDR(7), 8, 0));
	/* A table fails in the middle: nothing is left, in it or elsewhere. */
	ASSERT_EQ(0, test_iommu_fail("a", "map", 1, ENOMEM));
	EXPECT_EQ(-ENOMEM, ioas_copy(self->iommu, self->ioasid, ADDR(20),
				     self->ioasid, ADDR(40), 7 * PAGE,
				     IOAS_RW));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_compare(&self->one, ADDR(40), 8, 0));
	EXPECT_EQ(0, ioas_copy(self->iommu, self->ioasid, ADDR(20),
			       self->ioasid, ADDR(40), 7 * PAGE, IOAS_RW));
}

/* ---- a device that streams meanwhile ---- */

static int stream(struct dma_device *dev, __u32 flags, __u64 iova, __u64 length)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_COMPARE,
		.flags = IOASID_TEST_FOREVER | flags,
		.iova = iova,
		.length = length,
		.step = 64,
		.pattern = OLD,
		.pattern2 = NEW,
	};

	return test_device_run(dev, 0, &command);
}

/* From address space to address space, by all names that they have */
static void move_about(struct __test_metadata *_metadata,
		       struct _test_data_front *self, const char *settings,
		       __u32 flags, struct ioasid_test_status *status)
{
	__u32 to[6], id;
	int i;

	ASSERT_EQ(0, begin(self, settings));
	set_words(self->mem, HALF, OLD);
	set_words(self->mem + HALF, HALF, NEW);
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_READ, self->mem,
			      TEST_IOVA, HALF));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioasid, IOAS_READ,
			      self->mem + HALF, TEST_IOVA, HALF));
	to[0] = self->ioas;
	to[1] = self->ioasid;
	ASSERT_EQ(0, hwpt_of_one(self, self->ioas, &to[2]));
	ASSERT_EQ(0, hwpt_of_one(self, self->ioasid, &to[3]));
	ASSERT_EQ(0, hwpt_of_one(self, self->ioas, &to[4]));
	/* One that was made for another device */
	to[5] = self->ioasid;
	ASSERT_EQ(0, vfio_attach_id(self->two.fd, &to[5]));

	ASSERT_EQ(0, vfio_attach(self->one.fd, to[0]));
	ASSERT_EQ(0, stream(&self->one, flags, TEST_IOVA, HALF));
	for (i = 0; i < 60; i++) {
		id = to[(i * 7 + i / 6) % 6];
		ASSERT_EQ(0, test_device_progress(&self->one, 0));
		ASSERT_EQ(0, vfio_attach_id(self->one.fd, &id));
	}
	ASSERT_EQ(0, test_device_progress(&self->one, 0));
	ASSERT_EQ(0, test_device_stop(&self->one, 0, status));
	EXPECT_EQ(0, status->mismatches);
	EXPECT_LT(0, status->matches);
	EXPECT_LT(0, status->matches2);
	dev_close(&self->one);
	dev_close(&self->two);
	for (i = 2; i < 5; i++)
		EXPECT_EQ(0, iommufd_destroy(self->iommu, to[i]));
	EXPECT_EQ(2, context_objects(self->iommu));
	EXPECT_EQ(0, pages_pinned(self));
}

TEST_F_TIMEOUT(front, replace_loses_nothing, 60)
{
	struct ioasid_test_status status;

	move_about(_metadata, self, "hitless=1", 0, &status);
	EXPECT_EQ(0, status.faults);
}

TEST_F_TIMEOUT(front, replace_with_a_gap, 60)
{
	struct ioasid_test_status status;

	move_about(_metadata, self, "hitless=0", IOASID_TEST_KEEP_GOING,
		   &status);
	EXPECT_LT(0, status.faults);
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED, status.fault);
}

/* ---- small pages ---- */

#define HUGE_PAGES	2

/* Memory in huge pages, all of it @pattern; NULL if there is none */
static char *huge_alloc(__u64 pattern)
{
	char *mem = mmap(NULL, HUGE_PAGES * HUGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	set_words(mem, HUGE_PAGES * HUGE_SIZE, pattern);
	return mem;
}

TEST_F_TIMEOUT(front, huge_pages_off, 60)
{
	const size_t size = HUGE_PAGES * HUGE_SIZE;
	__u32 hwpt;
	char *mem;

	mem = huge_alloc(OLD);
	if (!mem)
		SKIP(return, "no two free huge pages");
	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, mem, TEST_IOVA,
			      size));
	ASSERT_EQ(0, ioas_huge_pages(self->iommu, self->ioas, false));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioas));
	EXPECT_EQ(0, test_device_compare(&self->one, TEST_IOVA, size, OLD));
	EXPECT_EQ(0, test_device_fill(&self->one, TEST_IOVA, size, NEW));
	EXPECT_TRUE(all_bytes(mem, size, 0x22));
	/* What is a part of a mapping is no mapping all the same. */
	EXPECT_EQ(-ENOENT, ioas_unmap(self->iommu, self->ioas, TEST_IOVA, PAGE,
				      NULL));
	EXPECT_EQ(-EINVAL, ioasid_unmap(self->iommu, self->ioas, TEST_IOVA,
					PAGE, NULL));

	/* A native one can be told, too, but not too late. */
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioas, TEST_IOVA,
			       self->ioasid, TEST_IOVA, size, IOAS_RW));
	ASSERT_EQ(0, hwpt_of_one(self, self->ioasid, &hwpt));
	EXPECT_EQ(-EINVAL, ioas_huge_pages(self->iommu, self->ioasid, false));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	ASSERT_EQ(0, ioas_huge_pages(self->iommu, self->ioasid, false));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	EXPECT_EQ(0, test_device_compare(&self->two, TEST_IOVA, size, NEW));
	ASSERT_EQ(0, ioas_huge_pages(self->iommu, self->ioasid, true));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioasid, TEST_IOVA, size,
				NULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->two, TEST_IOVA, 8, OLD));
	EXPECT_EQ(0, test_device_compare(&self->one, TEST_IOVA, size, NEW));
	munmap(mem, size);
}

/* ---- a container of type1's first version ---- */

static int type1_map(int iommu, void *mem, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)mem,
		.iova = iova,
		.size = size,
	};

	return ioctl(iommu, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static int type1_unmap(int iommu, __u64 iova, __u64 size, __u64 *unmapped)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};
	int rc = ioctl(iommu, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -errno : 0;

	*unmapped = unmap.size;
	return rc;
}

/* Nothing is cut that a page of a window holds: it could only be taken out as a whole. */
TEST_F(front, type1_cuts_no_window_pages)
{
	const __u64 large = 16 * PAGE, other = TEST_IOVA + 4 * large;
	__u64 first = TEST_IOVA, second = other, unmapped;
	char *mem = mem_alloc(2 * large);

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, iommufd_vfio_ioas(self->iommu, self->ioas));
	ASSERT_EQ(0, ioctl(self->iommu, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	ASSERT_EQ(0, ioasid_window_create(self->iommu, self->ioas,
					  IOMMU_WINDOW_CREATE_FIXED, large,
					  &first, 2 * large));
	ASSERT_EQ(0, ioasid_window_create(self->iommu, self->ioas,
					  IOMMU_WINDOW_CREATE_FIXED, PAGE,
					  &second, 2 * large));
	ASSERT_EQ(0, type1_map(self->iommu, mem, TEST_IOVA, 2 * large));
	EXPECT_EQ(-ENOENT, type1_unmap(self->iommu, TEST_IOVA, PAGE, &unmapped));
	EXPECT_EQ(-ENOENT, type1_unmap(self->iommu, TEST_IOVA + large / 2, large,
				       &unmapped));
	EXPECT_EQ(0, type1_unmap(self->iommu, TEST_IOVA, large, &unmapped));
	EXPECT_EQ(large, unmapped);
	ASSERT_EQ(0, type1_map(self->iommu, mem, other, 2 * large));
	EXPECT_EQ(0, type1_unmap(self->iommu, other, PAGE, &unmapped));
	EXPECT_EQ(PAGE, unmapped);
}

/* Holes are cut into huge pages, next to what a device reads all the time. */
TEST_F_TIMEOUT(front, type1_cuts_holes, 60)
{
	const __u64 size = HUGE_PAGES * HUGE_SIZE, keep = HUGE_SIZE / 32;
	struct ioasid_test_status status;
	__u64 unmapped, at, holes = 0;
	struct iommu_ioasid_info info;
	char *mem;

	mem = huge_alloc(OLD);
	if (!mem)
		SKIP(return, "no two free huge pages");
	ASSERT_EQ(0, begin(self, NULL));
	EXPECT_EQ(-1, ioctl(self->iommu, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(ENODEV, errno);
	ASSERT_EQ(0, iommufd_vfio_ioas(self->iommu, self->ioas));
	ASSERT_EQ(0, ioctl(self->iommu, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	ASSERT_EQ(0, type1_map(self->iommu, mem, TEST_IOVA, size));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioas));
	/* In the middle of the first huge page */
	at = TEST_IOVA + HUGE_SIZE / 2;
	ASSERT_EQ(0, stream(&self->one, 0, at, keep));
	ASSERT_EQ(0, test_device_progress(&self->one, 0));

	/* Right before it, right behind, and across the border of huge pages */
	ASSERT_EQ(0, type1_unmap(self->iommu, at - PAGE, PAGE, &unmapped));
	EXPECT_EQ(PAGE, unmapped);
	holes += unmapped;
	ASSERT_EQ(0, test_device_progress(&self->one, 0));
	ASSERT_EQ(0, type1_unmap(self->iommu, at + keep, 3 * PAGE, &unmapped));
	EXPECT_EQ(3 * PAGE, unmapped);
	holes += unmapped;
	ASSERT_EQ(0, test_device_progress(&self->one, 0));
	ASSERT_EQ(0, type1_unmap(self->iommu, TEST_IOVA + HUGE_SIZE - PAGE,
				 2 * PAGE, &unmapped));
	EXPECT_EQ(2 * PAGE, unmapped);
	holes += unmapped;
	/* Across a hole that is there: what is left of it */
	ASSERT_EQ(0, type1_unmap(self->iommu, at - 3 * PAGE, 3 * PAGE,
				 &unmapped));
	EXPECT_EQ(2 * PAGE, unmapped);
	holes += unmapped;
	ASSERT_EQ(0, test_device_progress(&self->one, 0));
	ASSERT_EQ(0, test_device_stop(&self->one, 0, &status));
	EXPECT_EQ(0, status.faults);
	EXPECT_EQ(0, status.mismatches);
	EXPECT_LT(0, status.matches);

	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, at - 3 * PAGE, 8, NEW));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, at - PAGE, 8, NEW));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, at + keep, 8, NEW));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  test_device_fill(&self->one, TEST_IOVA + HUGE_SIZE, 8, NEW));
	EXPECT_EQ(0, test_device_fill(&self->one, at, keep, NEW));
	EXPECT_TRUE(all_bytes(mem + HUGE_SIZE / 2, keep, 0x22));
	EXPECT_TRUE(all_bytes(mem + HUGE_SIZE / 2 - PAGE, PAGE, 0x11));
	EXPECT_TRUE(all_bytes(mem + HUGE_SIZE / 2 + keep, PAGE, 0x11));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioas, &info));
	EXPECT_EQ(size - holes, info.mapped_bytes);

	/* And something else goes in. */
	ASSERT_EQ(0, type1_map(self->iommu, self->mem, at - PAGE, PAGE));
	EXPECT_EQ(0, test_device_fill(&self->one, at - PAGE, PAGE, MARK));
	EXPECT_TRUE(all_bytes(self->mem, PAGE, 0xa5));
	ASSERT_EQ(0, type1_unmap(self->iommu, TEST_IOVA, size, &unmapped));
	EXPECT_EQ(size - holes + PAGE, unmapped);
	EXPECT_EQ(0, pages_pinned(self));
	munmap(mem, size);
}

/* ---- whatever devices the machine has ---- */

#define COPY		512

FIXTURE(machine)
{
	struct counts begin;
	struct dma_device dev[2];
	int iommu;
	__u32 ioas;
	__u32 other;
	char *mem;
};

FIXTURE_SETUP(machine)
{
	self->iommu = -1;
	self->mem = NULL;
	COUNTS_BEGIN(&self->begin);
	if (dev_find_alone(self->dev, 2) < 2)
		SKIP(return, "no two DMA devices in groups of their own");
	self->mem = mem_alloc(MEM_SIZE);
	ASSERT_NE(NULL, self->mem);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, dev_open_bind(&self->dev[0], self->iommu));
	ASSERT_EQ(0, dev_open_bind(&self->dev[1], self->iommu));
	ASSERT_EQ(0, ioas_alloc(self->iommu, &self->ioas));
	ASSERT_EQ(0, ioas_alloc(self->iommu, &self->other));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      TEST_IOVA, MEM_SIZE));
}

FIXTURE_TEARDOWN(machine)
{
	if (!self->mem)
		return;
	dev_close(&self->dev[0]);
	dev_close(&self->dev[1]);
	close(self->iommu);
	munmap(self->mem, MEM_SIZE);
	COUNTS_END(&self->begin);
}

/* Whether device @i copies from page to page in its address space */
static bool copies(struct _test_data_machine *self, int i, unsigned int seed)
{
	char *to = self->mem + (8 + i) * PAGE;

	fill_pattern(self->mem, COPY, seed);
	memset(to, 0, COPY);
	return !dev_dma_copy(&self->dev[i], ADDR(0), ADDR(8 + i), COPY) &&
	       has_pattern(to, COPY, seed);
}

TEST_F(machine, by_all_names)
{
	__u32 hwpt, parent, table;
	int rc;

	if (dev_num_windows(&self->dev[0], self->iommu))
		SKIP(return, "page tables of windows have no names");
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->dev[0].dev_id, self->ioas, 0,
				&hwpt));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, hwpt));
	table = self->ioas;
	ASSERT_EQ(0, vfio_attach_id(self->dev[1].fd, &table));
	EXPECT_NE(hwpt, table);
	EXPECT_TRUE(copies(self, 0, 1));
	EXPECT_TRUE(copies(self, 1, 2));
	/* One moves, one does not. */
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioas));
	EXPECT_TRUE(copies(self, 0, 3));
	EXPECT_TRUE(copies(self, 1, 4));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	rc = hwpt_alloc(self->iommu, self->dev[1].dev_id, self->ioas,
			IOMMU_HWPT_ALLOC_NEST_PARENT, &parent);
	if (!rc) {
		ASSERT_EQ(0, vfio_attach(self->dev[1].fd, parent));
		EXPECT_TRUE(copies(self, 1, 5));
	} else {
		EXPECT_EQ(-EOPNOTSUPP, rc);
	}
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioas, TEST_IOVA, MEM_SIZE,
				  NULL));
	EXPECT_FALSE(copies(self, 0, 6));
	EXPECT_FALSE(copies(self, 1, 7));
}

TEST_F(machine, copies_of_mappings)
{
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioas));
	ASSERT_EQ(0, vfio_attach(self->dev[1].fd, self->other));
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioas, ADDR(0), self->other,
			       ADDR(0), 10 * PAGE, IOAS_RW));
	EXPECT_TRUE(copies(self, 0, 1));
	EXPECT_TRUE(copies(self, 1, 2));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, TEST_IOVA, MEM_SIZE,
				NULL));
	EXPECT_FALSE(copies(self, 0, 3));
	EXPECT_TRUE(copies(self, 1, 4));
}

TEST_F(machine, small_pages)
{
	__u64 unmapped;

	ASSERT_EQ(0, ioas_huge_pages(self->iommu, self->ioas, false));
	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioas));
	EXPECT_TRUE(copies(self, 0, 1));
	ASSERT_EQ(0, iommufd_vfio_ioas(self->iommu, self->ioas));
	ASSERT_EQ(0, ioctl(self->iommu, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	/* Around what it copies */
	ASSERT_EQ(0, type1_unmap(self->iommu, ADDR(1), 7 * PAGE, &unmapped));
	EXPECT_TRUE(copies(self, 0, 2));
	ASSERT_EQ(0, type1_unmap(self->iommu, ADDR(9), PAGE, &unmapped));
	EXPECT_TRUE(copies(self, 0, 3));
	ASSERT_EQ(0, type1_unmap(self->iommu, ADDR(8), PAGE, &unmapped));
	EXPECT_FALSE(copies(self, 0, 4));
}

TEST_F(machine, what_it_is_told)
{
	struct iommu_iova_range ranges[16];
	struct iommu_hw_info info = {
		.size = sizeof(info),
		.dev_id = self->dev[0].dev_id,
	};
	__u64 alignment;
	__u32 num = 16, i;

	ASSERT_EQ(0, vfio_attach(self->dev[0].fd, self->ioas));
	ASSERT_EQ(0, ioas_ranges(self->iommu, self->ioas, ranges, &num,
				 &alignment));
	ASSERT_LT(0, num);
	EXPECT_LT(1, alignment);
	EXPECT_EQ(0, PAGE % alignment);
	for (i = 1; i < num; i++)
		EXPECT_LT(ranges[i - 1].last, ranges[i].start);
	for (i = 0; i < num; i++)
		EXPECT_TRUE(ranges[i].last < msi_first ||
			    ranges[i].start > msi_last);
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_GET_HW_INFO, &info));
	if (!access("/sys/class/iommu/dmar0", F_OK))
		EXPECT_EQ(IOMMU_HW_INFO_TYPE_INTEL_VTD, info.out_data_type);
	/* Where QEMU has it */
	if (!access("/sys/class/iommu/smmu3.0x0000000009050000", F_OK))
		EXPECT_EQ(IOMMU_HW_INFO_TYPE_ARM_SMMUV3, info.out_data_type);
}

TEST_HARNESS_MAIN
