// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOASID_ALLOC with ranges and a page size: what is accepted, what may be mapped
 * then, and that no device takes any of it away. And who pays for page tables.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	64
#define MAX_RANGES	IOMMU_IOASID_MAX_RANGES
#define MIB		0x100000ULL

FIXTURE(ranges) {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(ranges)
{
	if (!DEVICE_BEGIN())
		return;
	MEM_BEGIN(MEM_PAGES * PAGE);
}

FIXTURE_TEARDOWN(ranges)
{
	DEVICE_END();
}

static int alloc(struct _test_data_ranges *self,
		 const struct iommu_range *ranges, __u32 num)
{
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.num_ranges = num,
		.ranges = (uintptr_t)ranges,
	};

	return ioasid_alloc_call(self->iommu, &cmd, &self->ioasid);
}

static int alloc_sized(struct _test_data_ranges *self, __u64 size)
{
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.page_size = size,
	};

	return ioasid_alloc_call(self->iommu, &cmd, &self->ioasid);
}

static int map(struct _test_data_ranges *self, __u64 iova, __u64 length)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  iova, length);
}

/* There is more of it than a test needs. */
static void align_mem(struct _test_data_ranges *self, __u64 size)
{
	self->mem = (char *)(((uintptr_t)self->mem + size - 1) & -size);
}

/* GET_INFO names these ranges and no others. */
static bool info_has(struct _test_data_ranges *self,
		     const struct iommu_range *ranges, __u32 num)
{
	return ioasid_permits(self->iommu, self->ioasid, ranges, num);
}

static __u64 alignment(struct _test_data_ranges *self)
{
	struct iommu_ioasid_info info;

	return ioasid_totals(self->iommu, self->ioasid, &info) ?
		       0 : info.alignment;
}

/* An IOMMU as it is told to be, in place of the machine's */
static int use_iommu(struct _test_data_ranges *self, const char *settings)
{
	return test_device_instead(settings, &self->dev, self->iommu);
}

/* ---- what is accepted ---- */

TEST_F(ranges, alloc_errors)
{
	struct {
		const char *what;
		__u32 width;
		__u32 num;
		struct iommu_range ranges[2];
	} cases[] = {
		{ "empty", 0, 1, { { 2 * MIB, MIB - 1 } } },
		{ "not in order", 0, 2,
		  { { 2 * MIB, 3 * MIB - 1 }, { 0, MIB - 1 } } },
		{ "the same twice", 0, 2, { { 0, MIB - 1 }, { 0, MIB - 1 } } },
		{ "overlapping", 0, 2,
		  { { 0, MIB - 1 }, { MIB - PAGE, 2 * MIB - 1 } } },
		{ "touching", 0, 2, { { 0, MIB - 1 }, { MIB, 2 * MIB - 1 } } },
		{ "beyond the width", 32, 1, { { 0, 1ULL << 32 } } },
		{ "far beyond the width", 32, 2,
		  { { 0, MIB - 1 }, { 1ULL << 40, (1ULL << 40) + MIB - 1 } } },
	};
	struct iommu_ioasid_alloc cmd;
	struct iommu_range *many;
	__u32 ioasid, i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		cmd = (struct iommu_ioasid_alloc){
			.type = IOMMU_IOASID_TYPE_KERNEL,
			.addr_width = cases[i].width,
			.num_ranges = cases[i].num,
			.ranges = (uintptr_t)cases[i].ranges,
		};
		EXPECT_EQ(-EINVAL,
			  ioasid_alloc_call(self->iommu, &cmd, &ioasid)) {
			TH_LOG("%s", cases[i].what);
		}
	}

	many = calloc(MAX_RANGES + 1, sizeof(*many));
	ASSERT_NE(NULL, many);
	for (i = 0; i <= MAX_RANGES; i++)
		many[i] = (struct iommu_range){
			i * 2 * MIB, i * 2 * MIB + MIB - 1,
		};
	EXPECT_EQ(-EINVAL, alloc(self, many, MAX_RANGES + 1));
	EXPECT_EQ(-EINVAL, alloc(self, many, UINT_MAX));
	EXPECT_EQ(-EFAULT, alloc(self, (void *)8, 1));
	ASSERT_EQ(0, alloc(self, many, MAX_RANGES));
	EXPECT_TRUE(info_has(self, many, MAX_RANGES));
	/* Without a number there is no array. */
	EXPECT_EQ(0, alloc(self, (void *)8, 0));
	free(many);
}

TEST_F(ranges, page_sizes)
{
	__u64 bad[] = { 1, PAGE / 2, 3 * PAGE, PAGE + 1, ULLONG_MAX };
	__u64 good[] = { PAGE, 2 * PAGE, 16 * PAGE, HUGE_SIZE };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, alloc_sized(self, bad[i])) {
			TH_LOG("page size 0x%llx", bad[i]);
		}
	}
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		ASSERT_EQ(0, alloc_sized(self, good[i]));
		EXPECT_EQ(good[i], alignment(self));
		ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
		EXPECT_EQ(good[i], alignment(self));
	}
	ASSERT_EQ(0, alloc_sized(self, 0));
	EXPECT_EQ(PAGE, alignment(self));
}

/* Any type takes them, with a parent or without. */
TEST_F(ranges, prereg_and_child)
{
	struct iommu_range ranges[] = { { 4 * MIB, 8 * MIB - 1 } };
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_PREREG,
		.num_ranges = 1,
		.ranges = (uintptr_t)ranges,
		.page_size = 2 * PAGE,
	};
	__u32 prereg;

	ASSERT_EQ(0, ioasid_alloc_call(self->iommu, &cmd, &prereg));
	self->ioasid = prereg;
	align_mem(self, 2 * PAGE);
	EXPECT_EQ(-EINVAL, map(self, 2 * MIB, 2 * PAGE));
	EXPECT_EQ(-EINVAL, map(self, 4 * MIB, PAGE));
	ASSERT_EQ(0, map(self, 4 * MIB, 4 * PAGE));
	cmd.type = IOMMU_IOASID_TYPE_KERNEL;
	cmd.parent = prereg;
	cmd.page_size = PAGE;
	ASSERT_EQ(0, ioasid_alloc_call(self->iommu, &cmd, &self->ioasid));
	EXPECT_TRUE(info_has(self, ranges, 1));
	EXPECT_EQ(-EINVAL, ioasid_show(self->iommu, self->ioasid, READ_WRITE,
				       4 * MIB, MIB, PAGE));
	EXPECT_EQ(0, ioasid_show(self->iommu, self->ioasid, READ_WRITE,
				 4 * MIB + PAGE, 4 * MIB + PAGE, PAGE));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
}

/* ---- what may be mapped ---- */

TEST_F(ranges, map)
{
	const struct iommu_range ranges[] = {
		{ 16 * MIB, 17 * MIB - 1 },
		{ 32 * MIB, 32 * MIB + 4 * PAGE - 1 },
	};
	__u64 iova;
	int i;

	ASSERT_EQ(0, alloc(self, ranges, 2));
	/* Before a device is attached, with one, and after */
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(info_has(self, ranges, 2));
		EXPECT_EQ(-EINVAL, map(self, 0, PAGE));
		EXPECT_EQ(-EINVAL, map(self, 16 * MIB - PAGE, PAGE));
		EXPECT_EQ(-EINVAL, map(self, 16 * MIB - PAGE, 2 * PAGE));
		EXPECT_EQ(-EINVAL, map(self, 17 * MIB - PAGE, 2 * PAGE));
		EXPECT_EQ(-EINVAL, map(self, 17 * MIB, PAGE));
		EXPECT_EQ(-EINVAL, map(self, 32 * MIB, 5 * PAGE));
		ASSERT_EQ(0, map(self, 16 * MIB, PAGE));
		ASSERT_EQ(0, map(self, 17 * MIB - PAGE, PAGE));
		ASSERT_EQ(0, map(self, 32 * MIB, 4 * PAGE));
		ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
		ASSERT_EQ(0, i ? vfio_detach(self->dev.fd) :
				 vfio_attach(self->dev.fd, self->ioasid));
	}

	/* Whatever the kernel chooses is within them, and one will not fit. */
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, ioasid_map_alloc(self->iommu, self->ioasid,
					      READ_WRITE, self->mem, MIB / 16,
					      &iova));
		EXPECT_LE(16 * MIB, iova);
		EXPECT_GE(17 * MIB - MIB / 16, iova);
	}
	EXPECT_EQ(-ENOSPC, ioasid_map_alloc(self->iommu, self->ioasid,
					    READ_WRITE, self->mem, 2 * MIB,
					    &iova));
}

TEST_F(ranges, no_room)
{
	const struct iommu_range range = { MIB, MIB + 4 * PAGE - 1 };
	__u64 iova, sum = 0;
	int i;

	ASSERT_EQ(0, alloc(self, &range, 1));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, ioasid_map_alloc(self->iommu, self->ioasid,
					      READ_WRITE, self->mem, PAGE,
					      &iova));
		sum += iova - MIB;
	}
	EXPECT_EQ(6 * PAGE, sum);
	EXPECT_EQ(-ENOSPC, ioasid_map_alloc(self->iommu, self->ioasid,
					    READ_WRITE, self->mem, PAGE,
					    &iova));
}

TEST_F(ranges, page_size_of_maps)
{
	const __u64 size = 4 * PAGE;
	__u64 iova = 0;
	int i;

	ASSERT_EQ(0, alloc_sized(self, size));
	/* From the start, and with a device */
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EINVAL, map(self, TEST_IOVA, PAGE));
		EXPECT_EQ(-EINVAL, map(self, TEST_IOVA + PAGE, size));
		EXPECT_EQ(-EINVAL, map(self, TEST_IOVA, size + PAGE));
		EXPECT_EQ((uintptr_t)self->mem % size ? -EINVAL : 0,
			  map(self, TEST_IOVA, size));
		ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
		align_mem(self, size);
		EXPECT_EQ(-EINVAL,
			  ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				     self->mem + PAGE, TEST_IOVA, size));
		ASSERT_EQ(0, map(self, TEST_IOVA, 2 * size));
		EXPECT_EQ(-EINVAL, ioasid_unmap(self->iommu, self->ioasid,
						TEST_IOVA + PAGE, size, NULL));
		ASSERT_EQ(0, ioasid_map_alloc(self->iommu, self->ioasid,
					      READ_WRITE, self->mem, size,
					      &iova));
		EXPECT_EQ(0, iova % size);
		ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
		ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	}
}

/* ---- devices that would take some of it away ---- */

static bool is_attached(struct _test_data_ranges *self)
{
	struct iommu_ioasid_info info;

	return ioasid_totals(self->iommu, self->ioasid, &info) ||
	       info.num_devices || info.num_tables || info.pinned_bytes;
}

/* Where the interrupts are, no memory can be shown. */
TEST_F(ranges, msi_window)
{
	struct iommu_range around = { msi_first - MIB, msi_last + MIB };
	struct iommu_range beside[] = {
		{ msi_first - MIB, msi_first - 1 },
		{ msi_last + 1, msi_last + MIB },
	};
	struct iommu_range into = { msi_first - MIB, msi_first + PAGE - 1 };

	if (dev_num_windows(&self->dev, self->iommu))
		SKIP(return, "messages are no business of its windows");
	ASSERT_EQ(0, alloc(self, &around, 1));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_FALSE(is_attached(self));
	EXPECT_TRUE(info_has(self, &around, 1));
	/* A program that never attaches it may use it all. */
	EXPECT_EQ(0, map(self, msi_first, PAGE));
	ASSERT_EQ(0, alloc(self, &into, 1));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, alloc(self, beside, 2));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_TRUE(info_has(self, beside, 2));
	EXPECT_EQ(0, map(self, msi_first - PAGE, PAGE));
	EXPECT_EQ(0, map(self, msi_last + 1, PAGE));
}

TEST_F(ranges, what_the_iommu_reaches)
{
	struct iommu_range found[16];
	struct iommu_device_info info = {
		.num_ranges = 16,
		.ranges = (uintptr_t)found,
	};
	struct iommu_range wide;
	__u32 num;

	/* All that the device permits is no restriction. */
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	num = info.num_ranges;
	ASSERT_GE(16, num);
	ASSERT_EQ(0, alloc(self, found, num));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_TRUE(info_has(self, found, num));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));

	/* One page more is one too many. */
	if (found[num - 1].last == ULLONG_MAX)
		return;
	wide = found[num - 1];
	wide.last += PAGE;
	ASSERT_EQ(0, alloc(self, &wide, 1));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_FALSE(is_attached(self));
}

TEST_F(ranges, aperture)
{
	struct iommu_range inside = { 0x200000, 0x3fffff };
	struct iommu_range low = { 0x80000, 0x3fffff };
	struct iommu_range high = { 0x200000, 0xc0000fff };
	struct iommu_range reserved = { 0x600000, 0x900fff };

	if (use_iommu(self, "aperture=0x100000 0xbfffffff;"
		      "reserved=0x800000 0x8fffff reserved"))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, alloc(self, &low, 1));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, alloc(self, &high, 1));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, alloc(self, &reserved, 1));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_FALSE(is_attached(self));
	ASSERT_EQ(0, alloc(self, &inside, 1));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_TRUE(info_has(self, &inside, 1));
	/* Nor is a device moved to where it does not fit. */
	ASSERT_EQ(0, alloc(self, &low, 1));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_EQ(-EADDRINUSE, vfio_attach_pasid(self->dev.fd, 1,
						 self->ioasid));
	EXPECT_EQ(0, test_device_end(&self->dev));
}

/* What a second device would take from the first one */
TEST_F(ranges, second_device)
{
	struct iommu_range range = { 0x200000, 0x7fffff };
	struct dma_device second;

	if (use_iommu(self, NULL))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, test_iommu_make("b", "aperture=0x300000 0xffffffff"));
	ASSERT_EQ(0, test_device_make("b", "two", NULL, &second));
	ASSERT_EQ(0, dev_open_bind(&second, self->iommu));
	ASSERT_EQ(0, alloc(self, &range, 1));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(second.fd, self->ioasid));
	EXPECT_TRUE(info_has(self, &range, 1));
	EXPECT_EQ(0, map(self, 0x200000, PAGE));
	dev_close(&second);
	EXPECT_EQ(0, test_device_end(&self->dev));
}

/* The same for what must be a multiple of what */
TEST_F(ranges, large_pages)
{
	struct iommu_ioasid_info info;
	char settings[64];

	snprintf(settings, sizeof(settings), "page_sizes=0x%lx",
		 2 * PAGE | PAGE);
	if (use_iommu(self, settings))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, alloc_sized(self, 2 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(2 * PAGE, info.alignment);
	align_mem(self, 2 * PAGE);
	EXPECT_EQ(-EINVAL, map(self, TEST_IOVA, PAGE));
	EXPECT_EQ(0, map(self, TEST_IOVA, 2 * PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  test_device_fill(&self->dev, TEST_IOVA, 2 * PAGE, 0x77));
	EXPECT_EQ(0, test_device_end(&self->dev));
}

/*
 * Two pages of a file, in both orders: they follow each other in memory in one of
 * them at most.
 */
static int map_pairs(struct _test_data_ranges *self, char *room, int fd, int rc[2])
{
	unsigned int i, n;

	for (i = 0; i < 2; i++) {
		for (n = 0; n < 2; n++)
			if (mmap(room + n * PAGE, PAGE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd,
				 (n ^ i) * PAGE) == MAP_FAILED)
				return -errno;
		rc[i] = ioasid_map(self->iommu, self->ioasid, READ_WRITE, room,
				   TEST_IOVA + i * 2 * PAGE, 2 * PAGE);
	}
	return 0;
}

/* No page of the IOMMU fits: nothing is mapped, and nothing is left pinned. */
TEST_F(ranges, too_small_pieces)
{
	char settings[64], *room;
	unsigned int i, done = 0;
	struct counts now;
	int fd, rc[2];

	snprintf(settings, sizeof(settings), "page_sizes=0x%lx", -(2 * PAGE));
	if (use_iommu(self, settings))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, alloc_sized(self, 0));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	room = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	room += (unsigned long)room & PAGE;
	fd = memfd_create("pairs", 0);
	ASSERT_EQ(0, ftruncate(fd, 2 * PAGE));

	ASSERT_EQ(0, map_pairs(self, room, fd, rc));
	for (i = 0; i < 2; i++) {
		if (!rc[i])
			done++;
		else
			EXPECT_EQ(-EINVAL, rc[i]);
	}
	EXPECT_GE(1, done);
	counts_read(&now);
	EXPECT_EQ(self->counts.pinned + done * 2 * PAGE, now.pinned);
	close(fd);
	EXPECT_EQ(0, test_device_end(&self->dev));
}

/* An IOMMU whose smallest page is two of the CPU's */
TEST_F(ranges, large_pages_only)
{
	char settings[64], *huge;

	snprintf(settings, sizeof(settings), "page_sizes=0x%lx", -(2 * PAGE));
	if (use_iommu(self, settings))
		SKIP(return, "no test IOMMU");
	huge = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_HUGETLB | HUGE_2M, -1, 0);
	if (huge == MAP_FAILED)
		SKIP(return, "no free huge page");

	/* Too large for who has asked for less, whether something is mapped or not */
	ASSERT_EQ(0, alloc_sized(self, PAGE));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_FALSE(is_attached(self));
	EXPECT_EQ(PAGE, alignment(self));
	EXPECT_EQ(0, map(self, TEST_IOVA + PAGE, PAGE));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_EQ(-EADDRINUSE, vfio_attach_pasid(self->dev.fd, 1,
						 self->ioasid));
	EXPECT_FALSE(is_attached(self));

	/* Not for who has asked for as much, and it is not moved from there. */
	ASSERT_EQ(0, alloc_sized(self, 2 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_EQ(2 * PAGE, alignment(self));
	EXPECT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE, huge,
				TEST_IOVA, 2 * PAGE));
	ASSERT_EQ(0, alloc_sized(self, PAGE));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_FALSE(is_attached(self));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  test_device_fill(&self->dev, TEST_IOVA, 2 * PAGE, 0x77));

	/* Who has not asked can map less, until the device comes. */
	ASSERT_EQ(0, alloc_sized(self, 0));
	ASSERT_EQ(0, map(self, TEST_IOVA, PAGE));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_EQ(2 * PAGE, alignment(self));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      huge, TEST_IOVA, PAGE));
	EXPECT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				huge + 2 * PAGE, TEST_IOVA, 4 * PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  test_device_fill(&self->dev, TEST_IOVA, 4 * PAGE, 0x55));
	EXPECT_EQ(0x55, huge[6 * PAGE - 8]);
	munmap(huge, HUGE_SIZE);
	EXPECT_EQ(0, test_device_end(&self->dev));
}

/* ---- who pays for page tables ---- */

#define CGROUPS		"/tmp/ioasid-cgroup"
#define OURS		CGROUPS "/tables"

static int cgroup_begin(void)
{
	char text[16];

	if (mkdir(CGROUPS, 0755) && errno != EEXIST)
		return -errno;
	if (mount("cgroup2", CGROUPS, "cgroup2", 0, NULL))
		return -errno;
	file_write(CGROUPS "/cgroup.subtree_control", "+memory");
	if (mkdir(OURS, 0755) && errno != EEXIST)
		return -errno;
	snprintf(text, sizeof(text), "%d", getpid());
	return file_write(OURS "/cgroup.procs", text);
}

static void cgroup_end(void)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", getpid());
	file_write(CGROUPS "/cgroup.procs", text);
	rmdir(OURS);
	umount(CGROUPS);
	rmdir(CGROUPS);
}

/* Bytes of page tables that are charged to us, or -1 */
static long table_bytes(void)
{
	char text[8192], *at;

	if (file_read(OURS "/memory.stat", text, sizeof(text)) < 0)
		return -1;
	at = strstr(text, "\nsec_pagetables ");
	return at ? atol(at + strlen("\nsec_pagetables ")) : -1;
}

/* The statistics of a control group lag behind, by seconds at most. */
static long table_bytes_within(long low, long high)
{
	double end = seconds() + 10;
	long bytes;

	do {
		bytes = table_bytes();
		if (bytes >= low && bytes <= high)
			break;
		usleep(100000);
	} while (seconds() < end);
	return bytes;
}

/* Each mapping is in a part of the table of its own. */
TEST_F(ranges, tables_are_charged)
{
	const unsigned int num = 32;
	long before, with, after, most;
	unsigned int i;

	if (dev_num_windows(&self->dev, self->iommu))
		SKIP(return, "tables of windows are charged as a whole");
	if (cgroup_begin()) {
		cgroup_end();
		SKIP(return, "no memory control group can be made");
	}
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	before = table_bytes();
	EXPECT_LE(0, before);
	for (i = 0; i < num; i++)
		ASSERT_EQ(0, map(self, (1ULL << 32) + i * (1ULL << 30), PAGE));
	most = num * PAGE / 2;
	with = table_bytes_within(before + most, LONG_MAX);
	EXPECT_LE(before + most, with);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_free(self->iommu, self->ioasid));
	after = table_bytes_within(0, before);
	EXPECT_GE(before, after);
	dev_close(&self->dev);
	cgroup_end();
}

TEST_HARNESS_MAIN
