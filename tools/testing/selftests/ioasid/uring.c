// SPDX-License-Identifier: GPL-2.0-only
/* MAP_BATCH by io_uring */
#include <limits.h>
#include <linux/io_uring.h>
#include <sys/ioctl.h>

#include "batch.h"
#include "uring_utils.h"

static void by_uring(struct __test_metadata *_metadata,
		     struct _test_data_batch *self, unsigned int flags)
{
	struct iommu_map_batch cmd = {
		.size = sizeof(cmd),
		.ioasid = self->ioasid,
		.num_entries = 512,
		.entries = (uintptr_t)self->entries,
	}, bad;
	struct uring ring;
	struct counts now;
	long charge = self->child ? MEM_PAGES : 512;

	if (uring_open(&ring, flags))
		SKIP(return, "no io_uring");
	fill_maps(self, 512, 1);
	ASSERT_EQ(0, uring_call(&ring, self->iommu, IOMMU_MAP_BATCH, &cmd, 0));
	EXPECT_EQ(512, cmd.num_entries);
	EXPECT_PAGES(512);
	EXPECT_TRUE(device_copies(self, 1, 1, 511, 511, 1));
	/* This process pays, whichever thread has done it. */
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(charge, now.pins - self->counts.pins);
	EXPECT_EQ(charge * PAGE, now.locked - self->counts.locked);

	self->entries[0] = unmap_entry(0, 511);
	self->entries[1] = map_entry(self, 0, 511, 1);
	cmd.num_entries = 2;
	EXPECT_EQ(-EEXIST, uring_call(&ring, self->iommu, IOMMU_MAP_BATCH, &cmd,
				      0));
	EXPECT_EQ(1, cmd.num_entries);
	EXPECT_EQ(511 * PAGE, cmd.unmapped);
	EXPECT_PAGES(1);

	cmd.num_entries = 1;
	bad = cmd;
	EXPECT_EQ(-EINVAL, uring_call(&ring, self->iommu, IOMMU_MAP_BATCH, &bad,
				      1));
	EXPECT_EQ(-EFAULT, uring_call(&ring, self->iommu, IOMMU_MAP_BATCH, NULL,
				      0));
	bad.size--;
	EXPECT_EQ(-EINVAL, uring_call(&ring, self->iommu, IOMMU_MAP_BATCH, &bad,
				      0));
	bad = cmd;
	bad.flags = 1;
	EXPECT_EQ(-EOPNOTSUPP, uring_call(&ring, self->iommu, IOMMU_MAP_BATCH,
					  &bad, 0));
	bad = cmd;
	bad.ioasid = UINT_MAX;
	EXPECT_EQ(-ENOENT, uring_call(&ring, self->iommu, IOMMU_MAP_BATCH, &bad,
				      0));
	/* Commands that are none, and one that is not for io_uring */
	EXPECT_EQ(-ENOTTY, uring_call(&ring, self->iommu, _IO(';', 0xff),
				      &cmd, 0));
	EXPECT_EQ(-ENOTTY, uring_call(&ring, self->iommu, 0, &cmd, 0));
	EXPECT_EQ(-ENOTTY, uring_call(&ring, self->iommu, IOMMU_IOASID_FREE,
				      &cmd, 0));
	EXPECT_PAGES(1);
	EXPECT_EQ(0, uring_call(&ring, self->iommu, IOMMU_MAP_BATCH, &cmd, 0));
	uring_close(&ring);
}

TEST_F(batch, uring)
{
	__u64 value = 0;

	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_URING_CMD, 0,
				     &value));
	EXPECT_EQ(1, value);
	by_uring(_metadata, self, 0);
}

/* A thread of the kernel takes the requests. */
TEST_F(batch, uring_polled)
{
	by_uring(_metadata, self, IORING_SETUP_SQPOLL);
}

TEST_HARNESS_MAIN
