// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows: what may be mapped where there are some, and what stays of them. What
 * is special about windows that are tables in hardware is in tce.c; the test IOMMU
 * stands in for that machine's here.
 */
#include <errno.h>
#include <string.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	64
#define FIXED		IOMMU_WINDOW_CREATE_FIXED
#define MIB		0x100000ULL

FIXTURE(windows) {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(windows)
{
	if (!DEVICE_BEGIN())
		return;
	MEM_BEGIN(MEM_PAGES * PAGE);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
}

FIXTURE_TEARDOWN(windows)
{
	DEVICE_END();
}

static int create(struct _test_data_windows *self, __u64 page_size, __u64 iova,
		  __u64 length)
{
	return ioasid_window_create(self->iommu, self->ioasid, FIXED, page_size,
				    &iova, length);
}

static int drop(struct _test_data_windows *self, __u64 iova)
{
	return ioasid_window_remove(self->iommu, self->ioasid, iova);
}

static int map_at(struct _test_data_windows *self, __u64 iova, __u64 length)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  iova, length);
}

static bool permits(struct _test_data_windows *self,
		    const struct iommu_range *want, __u32 num)
{
	return ioasid_permits(self->iommu, self->ioasid, want, num);
}

TEST_F(windows, are_known)
{
	__u64 value = 0;

	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_WINDOWS, 0, &value));
	EXPECT_EQ(IOMMU_IOASID_MAX_WINDOWS, value);
	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_TYPE_OPS,
				     IOMMU_IOASID_TYPE_KERNEL, &value));
	EXPECT_TRUE(value & 1 << IOMMU_IOASID_OP_WINDOW);
	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_TYPE_OPS,
				     IOMMU_IOASID_TYPE_PREREG, &value));
	EXPECT_FALSE(value & 1 << IOMMU_IOASID_OP_WINDOW);
	/* What the kernel has, whatever the machine is */
	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_DEVICE_EEH, 0,
				     &value));
	EXPECT_GE(1, value);
}

TEST_F(windows, permit_what_they_hold)
{
	const struct iommu_range want[] = {
		{ 16 * MIB, 32 * MIB - 1 }, { 64 * MIB, 96 * MIB - 1 },
	};

	ASSERT_EQ(0, create(self, PAGE, 64 * MIB, 32 * MIB));
	ASSERT_EQ(0, create(self, PAGE, 16 * MIB, 16 * MIB));
	EXPECT_TRUE(permits(self, want, 2));
	EXPECT_EQ(0, map_at(self, 16 * MIB, PAGE));
	EXPECT_EQ(0, map_at(self, 96 * MIB - PAGE, PAGE));
	EXPECT_EQ(-EINVAL, map_at(self, 16 * MIB - PAGE, PAGE));
	EXPECT_EQ(-EINVAL, map_at(self, 32 * MIB - PAGE, 2 * PAGE));
	EXPECT_EQ(-EINVAL, map_at(self, 0, PAGE));
	/* The last one goes, and all may be mapped again. */
	EXPECT_EQ(-EBUSY, drop(self, 16 * MIB));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(0, drop(self, 16 * MIB));
	EXPECT_TRUE(permits(self, want + 1, 1));
	EXPECT_EQ(0, drop(self, 64 * MIB));
	EXPECT_EQ(0, map_at(self, 0, PAGE));
}

/* Where one window ends and the next begins, a mapping still cannot be in both. */
TEST_F(windows, side_by_side)
{
	const struct iommu_range want = { 16 * MIB, 48 * MIB - 1 };

	ASSERT_EQ(0, create(self, PAGE, 16 * MIB, 16 * MIB));
	ASSERT_EQ(0, create(self, PAGE, 32 * MIB, 16 * MIB));
	EXPECT_TRUE(permits(self, &want, 1));
	EXPECT_EQ(-EINVAL, map_at(self, 32 * MIB - PAGE, 2 * PAGE));
	EXPECT_EQ(0, map_at(self, 32 * MIB - PAGE, PAGE));
	EXPECT_EQ(0, map_at(self, 32 * MIB, PAGE));
}

TEST_F(windows, errors)
{
	__u64 iova = 0, huge = 1ULL << 63;
	__u32 prereg, exact;
	struct iommu_range range = { 0, MIB - 1 };
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.num_ranges = 1,
		.ranges = (uintptr_t)&range,
	};
	int i;

	EXPECT_EQ(-ENOENT, ioasid_window_create(self->iommu, 12345, 0, PAGE,
						&iova, MIB));
	EXPECT_EQ(-ENOENT, ioasid_window_remove(self->iommu, 12345, 0));
	EXPECT_EQ(-EINVAL, create(self, PAGE + 1, 0, MIB));
	EXPECT_EQ(-EINVAL, create(self, 2048, 0, MIB));
	EXPECT_EQ(-EINVAL, create(self, 0, 0, MIB));
	EXPECT_EQ(-EINVAL, create(self, PAGE, 0, 0));
	EXPECT_EQ(-EINVAL, create(self, PAGE, 0, MIB + 512));
	EXPECT_EQ(-EINVAL, create(self, PAGE, 512, MIB));
	EXPECT_EQ(-EOVERFLOW, create(self, PAGE, -2 * PAGE, 4 * PAGE));
	iova = PAGE;
	EXPECT_EQ(-EINVAL, ioasid_window_create(self->iommu, self->ioasid, 0,
						PAGE, &iova, MIB));
	EXPECT_EQ(-EOPNOTSUPP, ioasid_window_create(self->iommu, self->ioasid,
						    1 << 7, PAGE, &iova, MIB));
	ASSERT_EQ(0, ioasid_alloc_prereg(self->iommu, &prereg));
	iova = 0;
	EXPECT_EQ(-EINVAL, ioasid_window_create(self->iommu, prereg, 0, PAGE,
						&iova, MIB));
	EXPECT_EQ(-EINVAL, ioasid_window_remove(self->iommu, prereg, 0));
	ASSERT_EQ(0, ioasid_alloc_call(self->iommu, &cmd, &exact));
	EXPECT_EQ(-EINVAL, ioasid_window_create(self->iommu, exact, 0, PAGE,
						&iova, MIB));

	ASSERT_EQ(0, create(self, PAGE, 16 * MIB, 16 * MIB));
	EXPECT_EQ(-EEXIST, create(self, PAGE, 31 * MIB, 16 * MIB));
	EXPECT_EQ(-EEXIST, create(self, PAGE, 0, huge));
	EXPECT_EQ(-ENOENT, drop(self, 17 * MIB));
	EXPECT_EQ(-ENOENT, drop(self, 32 * MIB));
	for (i = 1; i < IOMMU_IOASID_MAX_WINDOWS; i++)
		ASSERT_EQ(0, create(self, PAGE, (16 + 16 * i) * MIB, 16 * MIB));
	EXPECT_EQ(-ENOSPC, create(self, PAGE, 0, MIB));
}

/* Nothing is opened without a device. */
TEST_F(windows, need_a_device)
{
	__u64 iova = 0;
	__u32 ioasid;
	int iommu;

	iommu = iommu_open();
	ASSERT_LE(0, iommu);
	ASSERT_EQ(0, ioasid_alloc(iommu, &ioasid));
	EXPECT_EQ(-EPERM, ioasid_window_create(iommu, ioasid, 0, PAGE, &iova,
					       MIB));
	close(iommu);
}

/* The first window leaves nothing outside. */
TEST_F(windows, not_over_mappings)
{
	ASSERT_EQ(0, map_at(self, 16 * MIB, PAGE));
	EXPECT_EQ(-EBUSY, create(self, PAGE, 32 * MIB, MIB));
	EXPECT_EQ(-EBUSY, create(self, 16 * PAGE, 16 * MIB, 16 * MIB));
	/* It has left nothing. */
	EXPECT_EQ(0, map_at(self, 0, PAGE));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, 0, PAGE, NULL));
	EXPECT_EQ(0, create(self, PAGE, 16 * MIB, MIB));
	/* But the second may be anywhere. */
	EXPECT_EQ(0, create(self, PAGE, 64 * MIB, MIB));
}

TEST_F(windows, pages_of_their_own)
{
	const size_t large = 16 * PAGE;
	char *aligned;
	__u64 iova;

	ASSERT_EQ(0, create(self, PAGE, 16 * MIB, 16 * MIB));
	ASSERT_EQ(0, create(self, 16 * PAGE, 64 * MIB, 16 * MIB));
	EXPECT_EQ(0, map_at(self, 16 * MIB, PAGE));
	EXPECT_EQ(-EINVAL, map_at(self, 64 * MIB, PAGE));
	EXPECT_EQ(-EINVAL, map_at(self, 64 * MIB + PAGE, 16 * PAGE));
	EXPECT_EQ(0, map_at(self, 64 * MIB, 16 * PAGE));
	/* What is chosen suits the window. */
	ASSERT_EQ(0, ioasid_map_alloc(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, PAGE, &iova));
	EXPECT_TRUE(iova >= 16 * MIB && iova < 32 * MIB);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, drop(self, 16 * MIB));
	aligned = (char *)(((uintptr_t)self->mem + large - 1) & -large);
	EXPECT_EQ(-EINVAL, ioasid_map_alloc(self->iommu, self->ioasid,
					    READ_WRITE, aligned, PAGE, &iova));
	ASSERT_EQ(0, ioasid_map_alloc(self->iommu, self->ioasid, READ_WRITE,
				      aligned, large, &iova));
	EXPECT_TRUE(iova >= 64 * MIB && iova < 80 * MIB && !(iova % (16 * PAGE)));
}

/* A place is found between what is there. */
TEST_F(windows, are_placed)
{
	__u64 first = 0, second = 0, third = 0;

	if (test_device_instead("reserved=0x0 0xfffff reserved", &self->dev, self->iommu))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_window_create(self->iommu, self->ioasid, 0, PAGE,
					  &first, MIB));
	EXPECT_EQ(MIB, first);
	ASSERT_EQ(0, ioasid_window_create(self->iommu, self->ioasid, 0, 4 * MIB,
					  &second, 8 * MIB));
	EXPECT_EQ(4 * MIB, second);
	ASSERT_EQ(0, ioasid_window_create(self->iommu, self->ioasid, 0, PAGE,
					  &third, 2 * MIB));
	EXPECT_EQ(2 * MIB, third);
	third = 0;
	EXPECT_EQ(-EADDRINUSE,
		  ioasid_window_create(self->iommu, self->ioasid, 0, PAGE,
				       &third, 1ULL << 63));
	EXPECT_EQ(-EADDRINUSE, create(self, PAGE, 0, MIB));
	EXPECT_EQ(0, test_device_end(&self->dev));
}

/* They outlive the devices, which see what is mapped in them. */
TEST_F(windows, outlive_devices)
{
	const struct iommu_range want = { TEST_IOVA, TEST_IOVA + 16 * MIB - 1 };
	int i;

	if (test_device_instead(NULL, &self->dev, self->iommu))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, create(self, PAGE, TEST_IOVA, 16 * MIB));
	ASSERT_EQ(0, map_at(self, TEST_IOVA, 4 * PAGE));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
		EXPECT_TRUE(permits(self, &want, 1));
		fill_pattern(self->mem, PAGE, i);
		ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA,
					  TEST_IOVA + 2 * PAGE, PAGE));
		EXPECT_TRUE(has_pattern(self->mem + 2 * PAGE, PAGE, i));
		ASSERT_EQ(0, vfio_detach(self->dev.fd));
	}
	EXPECT_TRUE(permits(self, &want, 1));
	EXPECT_EQ(0, test_device_end(&self->dev));
}

TEST_F(windows, end_of_addresses)
{
	const __u64 half = 1ULL << 63;
	__u64 iova = 0;

	/* Nothing is left behind the last address, and nothing before the first. */
	ASSERT_EQ(0, create(self, PAGE, half, half));
	ASSERT_EQ(0, create(self, PAGE, 0, half / 2));
	EXPECT_EQ(-EADDRINUSE,
		  ioasid_window_create(self->iommu, self->ioasid, 0, PAGE,
				       &iova, half / 2 + PAGE));
	iova = 0;
	ASSERT_EQ(0, ioasid_window_create(self->iommu, self->ioasid, 0, PAGE,
					  &iova, half / 2));
	EXPECT_EQ(half / 2, iova);
}

/* The next address for such a page would be behind the last one. */
TEST_F(windows, end_of_aligned_addresses)
{
	const __u64 half = 1ULL << 63;
	__u64 iova = 0;

	ASSERT_EQ(0, create(self, PAGE, 0, half + PAGE));
	EXPECT_EQ(-EADDRINUSE,
		  ioasid_window_create(self->iommu, self->ioasid, 0, half,
				       &iova, half));
}

TEST_F(windows, of_a_child)
{
	__u64 base = TEST_IOVA;
	__u32 child, parent;

	ASSERT_EQ(0, ioasid_alloc_prereg(self->iommu, &parent));
	ASSERT_EQ(0, ioasid_map(self->iommu, parent, READ_WRITE, self->mem, 0,
				4 * PAGE));
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, parent, &child));
	ASSERT_EQ(0, ioasid_window_create(self->iommu, child, FIXED, 4096,
					  &base, 16 * MIB));
	EXPECT_EQ(0, ioasid_show(self->iommu, child, READ_WRITE, 0, TEST_IOVA,
				 PAGE));
	EXPECT_EQ(-EINVAL, ioasid_show(self->iommu, child, READ_WRITE, PAGE,
				       TEST_IOVA + 16 * MIB, PAGE));
	/* Smaller than the CPU's pages, where these are larger. */
	EXPECT_EQ(0, ioasid_show(self->iommu, child, READ_WRITE, 4096,
				 TEST_IOVA + MIB, 4096));
	EXPECT_EQ(-EINVAL, ioasid_show(self->iommu, child, READ_WRITE, 4096,
				       TEST_IOVA + MIB + 4096, 2048));
}

/* Only behind IOMMUs that freeze a device on errors */
TEST_F(windows, eeh_is_for_others)
{
	struct iommu_device_eeh cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_EEH_GET_STATE,
	};
	struct {
		struct iommu_device_eeh cmd;
		__u64 more;
	} longer = { .more = 0 };
	static const __u32 ops[] = {
		IOMMU_EEH_DISABLE, IOMMU_EEH_ENABLE, IOMMU_EEH_UNFREEZE_IO,
		IOMMU_EEH_UNFREEZE_DMA, IOMMU_EEH_GET_STATE,
		IOMMU_EEH_RESET_DEACTIVATE, IOMMU_EEH_RESET_HOT,
		IOMMU_EEH_RESET_FUNDAMENTAL, IOMMU_EEH_CONFIGURE,
		IOMMU_EEH_INJECT_ERR,
	};
	size_t i;

	EXPECT_EQ(-ENOENT, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd));
	/* What lies behind the structure must be zero, and memory. */
	EXPECT_EQ(-EFAULT, iommu_call(self->iommu, IOMMU_DEVICE_EEH, NULL));
	longer.cmd = cmd;
	longer.cmd.size = sizeof(longer);
	EXPECT_EQ(-ENOENT, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &longer));
	longer.more = 1;
	EXPECT_EQ(-E2BIG, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &longer));
	if (test_device_instead(NULL, &self->dev, self->iommu))
		SKIP(return, "no test IOMMU");
	cmd.dev_id = self->dev.dev_id;
	EXPECT_EQ(-EOPNOTSUPP, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd));
	for (i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		cmd.op = ops[i];
		EXPECT_EQ(-EOPNOTSUPP,
			  iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd));
	}
	cmd.op = IOMMU_EEH_GET_STATE;
	cmd.err_type = 1;
	EXPECT_EQ(-EINVAL, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd));
	cmd.err_type = 0;
	cmd.__reserved = 1;
	EXPECT_EQ(-EINVAL, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd));
	cmd.__reserved = 0;
	cmd.flags = 1;
	EXPECT_EQ(-EOPNOTSUPP, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd));
	cmd.flags = 0;
	cmd.size--;
	EXPECT_EQ(-EINVAL, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd));
	cmd.size++;
	cmd.op = 77;
	EXPECT_EQ(-EINVAL, iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd));
	EXPECT_EQ(0, test_device_end(&self->dev));
}

TEST_HARNESS_MAIN
