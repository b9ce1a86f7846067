// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP_DMA with REPLACE, alone and in a MAP_BATCH: what takes the place of what,
 * what cannot, and what devices see meanwhile.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "access_utils.h"
#include "batch.h"
#include "iommufd_utils.h"

TEST_F(batch, replace)
{
	struct iommu_ioasid_info info;
	struct counts now;

	/* Over nothing, over the same range, over several, and some nothing */
	ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, 0, 0, 4));
	ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, 8, 0, 4));
	EXPECT_TRUE(device_copies(self, 0, 8, 3, 11, 1));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 4, 2));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 4, 8, 2));
	ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, 16, 0, 16));
	EXPECT_TRUE(device_copies(self, 1, 17, 15, 31, 2));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_mappings);
	EXPECT_EQ(16 * PAGE, info.mapped_bytes);
	EXPECT_EQ(self->child ? 0 : 16 * PAGE, info.pinned_bytes);
	/* With other permissions */
	ASSERT_EQ(0, map_one(self, READ_ONLY | REPLACE, 16, 0, 16));
	EXPECT_FALSE(device_copies(self, 1, 17, 15, 31, 3));

	if (self->child)
		return;
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(16, now.pins - self->counts.pins);
	EXPECT_EQ(16 * PAGE, now.locked - self->counts.locked);
}

/* The old mappings are as they were, and the device still sees them. */
#define EXPECT_NOT_REPLACED(error, call) do { \
	struct iommu_ioasid_info __before, __after; \
	EXPECT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &__before)); \
	EXPECT_EQ((error), (call)); \
	EXPECT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &__after)); \
	EXPECT_EQ(0, memcmp(&__before, &__after, sizeof(__before))); \
	EXPECT_TRUE(device_copies(self, 1, 1, 6, 6, __LINE__)); \
} while (0)

TEST_F(batch, replace_fails)
{
	const __u32 flags = READ_WRITE | REPLACE;
	__u64 bad = PAGE;

	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 4));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 4, 4, 4));
	/* What cuts, at either end */
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 1, 7));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 0, 7));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 2, 1));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, REPLACE, 16, 0, 8));
	EXPECT_NOT_REPLACED(-EINVAL,
			    map_one(self, flags | IOMMU_MAP_DMA_ALLOC_IOVA, 16,
				    0, 8));
	/* Memory that is not there, all or some of it */
	EXPECT_NOT_REPLACED(self->child ? -ENOENT : -EFAULT,
			    ioasid_show(self->iommu, self->ioasid, flags, bad,
					at(0), 8 * PAGE));
	munmap(self->mem + 60 * PAGE, 4 * PAGE);
	if (!self->child)
		EXPECT_NOT_REPLACED(-EFAULT, map_one(self, flags, 56, 0, 8));
	/* Where nothing may be */
	EXPECT_NOT_REPLACED(-EINVAL,
			    ioasid_show(self->iommu, self->ioasid, flags,
					source(self, 16), msi_first, PAGE));
	ASSERT_EQ(0, map_one(self, flags, 16, 0, 8));
}

TEST_F(batch, replace_in_a_batch)
{
	unsigned int i;

	fill_maps(self, 32, 1);
	EXPECT_BATCH(0, 32, 32, 0);
	for (i = 0; i < 32; i++) {
		self->entries[i] = map_entry(self, 32 + i, i, 1);
		self->entries[i].flags |= REPLACE;
	}
	/* Replaced is not unmapped. */
	self->entries[32] = unmap_entry(16, 2);
	EXPECT_BATCH(0, 33, 33, 2);
	EXPECT_PAGES(30);
	EXPECT_TRUE(device_copies(self, 1, 33, 31, 63, 1));

	/* One that fails leaves the old one. */
	self->entries[0].src = source(self, 0);
	self->entries[1].src = PAGE;
	EXPECT_BATCH(self->child ? -ENOENT : -EFAULT, 3, 1, 0);
	EXPECT_TRUE(device_copies(self, 0, 0, 1, 33, 2));
	EXPECT_TRUE(device_copies(self, 2, 34, 1, 33, 3));
}

TEST_F(batch, replace_tracked)
{
	__u32 ioasid;

	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &ioasid));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, ioasid, READ_WRITE | REPLACE,
				      self->mem, TEST_IOVA, PAGE));
}

/* Nor where the user can have a page table tell what is written */
TEST_F(batch, replace_in_tracked_table)
{
	__u32 hwpt;

	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 4));
	if (hwpt_alloc(self->iommu, self->dev.dev_id, self->ioasid,
		       IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt)) {
		/* Not every IOMMU can. */
		EXPECT_EQ(0, map_one(self, READ_WRITE | REPLACE, 8, 0, 4));
		return;
	}
	EXPECT_EQ(-EINVAL, map_one(self, READ_WRITE | REPLACE, 8, 0, 4));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	EXPECT_EQ(0, map_one(self, READ_WRITE | REPLACE, 8, 0, 4));
}

/* What an exporter may take back cannot come back when a map fails. */
TEST_F(batch, replace_device_memory)
{
	const __u32 flags = READ_WRITE | REPLACE;
	int fd;

	if (self->child)
		return;
	fd = dmabuf_make(self->iommu, 4 * PAGE);
	if (fd < 0)
		SKIP(return, "no memory that stands for that of a device");
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 8));
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->ioasid, IOAS_RW, fd, 0,
				   at(8), 4 * PAGE));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 12, 12, 4));
	fill_pattern(self->mem, BYTES, 1);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, at(0), at(9), BYTES));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 8, 4));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 0, 16));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 8, 8));
	self->entries[0] = map_entry(self, 32, 16, 1);
	self->entries[1] = map_entry(self, 16, 0, 16);
	self->entries[1].flags = flags;
	EXPECT_BATCH(-EINVAL, 2, 1, 0);
	/* The device still finds there what it has written. */
	ASSERT_EQ(0, dev_dma_copy(&self->dev, at(9), at(13), BYTES));
	EXPECT_TRUE(has_pattern(self->mem + 13 * PAGE, BYTES, 1));

	/* Around it, and where it was, others are replaced. */
	EXPECT_EQ(0, map_one(self, flags, 16, 0, 8));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, at(8), 4 * PAGE,
				  NULL));
	EXPECT_EQ(0, map_one(self, flags, 16, 0, 16));
	EXPECT_TRUE(device_copies(self, 8, 24, 13, 29, 2));
	close(fd);
}

/* One that takes the place of others needs no more entries than it frees. */
TEST_F(batch, replace_at_the_limit)
{
	long limit = param_get("dma_entry_limit");
	int rc[4];

	ASSERT_LT(0, limit);
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 1));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 1, 1, 1));
	ASSERT_EQ(0, param_set("dma_entry_limit", 2));
	rc[0] = map_one(self, READ_WRITE | REPLACE, 2, 2, 1);
	rc[1] = map_one(self, READ_WRITE | REPLACE, 2, 1, 1);
	rc[2] = map_one(self, READ_WRITE | REPLACE, 4, 0, 4);
	rc[3] = map_one(self, READ_WRITE | REPLACE, 2, 4, 1);
	ASSERT_EQ(0, param_set("dma_entry_limit", limit));
	EXPECT_EQ(-ENOSPC, rc[0]);
	EXPECT_EQ(0, rc[1]);
	EXPECT_EQ(0, rc[2]);
	EXPECT_EQ(0, rc[3]);
	EXPECT_TRUE(device_copies(self, 3, 7, 4, 2, 1));
}

TEST_F(batch, replace_what_is_shown)
{
	const __u32 flags = READ_WRITE | REPLACE;
	__u32 below;

	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->ioasid, &below));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 4));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 4, 4, 4));
	ASSERT_EQ(0, ioasid_show(self->iommu, below, READ_WRITE, at(2), at(0),
				 PAGE));
	EXPECT_NOT_REPLACED(-EBUSY, map_one(self, flags, 16, 0, 4));
	EXPECT_NOT_REPLACED(-EBUSY, map_one(self, flags, 16, 0, 8));
	EXPECT_EQ(0, map_one(self, flags, 4, 4, 4));
	self->entries[0] = map_entry(self, 4, 4, 4);
	self->entries[1] = map_entry(self, 16, 0, 4);
	self->entries[0].flags = flags;
	self->entries[1].flags = flags;
	EXPECT_BATCH(-EBUSY, 2, 1, 0);
	/* Nor is it unmapped by a batch. */
	self->entries[1] = unmap_entry(0, 4);
	EXPECT_BATCH(-EBUSY, 2, 1, 0);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, below, NULL));
	EXPECT_BATCH(0, 2, 2, 4);
}

TEST_F(batch, replace_what_is_pinned)
{
	int device = access_open(self->iommu, self->ioasid);

	if (device == -ENODEV)
		SKIP(return, "no access test device");
	ASSERT_LE(0, device);
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 4));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 4, 4, 4));
	ASSERT_EQ(0, access_pin(device, at(2), PAGE, PIN_WRITE));
	EXPECT_NOT_REPLACED(-EBUSY,
			    map_one(self, READ_WRITE | REPLACE, 16, 0, 8));
	EXPECT_EQ(0, access_poke(device, at(2), "poke", 5));
	EXPECT_EQ(0, strcmp(self->mem + 2 * PAGE, "poke"));
	ASSERT_EQ(0, access_unpin(device, at(2), PAGE));
	ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, 16, 0, 8));
	EXPECT_EQ(0, access_write(device, at(2), "new", 4));
	EXPECT_EQ(0, strcmp(self->mem + 18 * PAGE, "new"));

	/* An unmap asks for pins back, in a batch too. */
	ASSERT_EQ(0, access_pin(device, at(2), PAGE, PIN_WRITE));
	ASSERT_EQ(0, access_policy(device, IOASID_ACCESS_STUBBORN));
	self->entries[0] = map_entry(self, 0, 16, 1);
	self->entries[1] = unmap_entry(0, 8);
	EXPECT_BATCH(-EBUSY, 2, 1, 0);
	ASSERT_EQ(0, access_policy(device, IOASID_ACCESS_RELEASE));
	self->entries[0] = map_entry(self, 0, 17, 1);
	EXPECT_BATCH(0, 2, 2, 8);
	EXPECT_EQ(0, access_num_pins(device));
	close(device);
}

TEST_F_TIMEOUT(batch, stream_replace, 60)
{
	unsigned int n;

	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, HALF));
	if (begin_stream(self))
		SKIP(return, "no test IOMMU");
	for (n = 1; n < 20; n++) {
		ASSERT_EQ(0, test_device_progress(&self->dev, 1));
		ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, n % 2 * HALF,
				     0, HALF));
		EXPECT_TRUE(device_finds(self, n % 2 ? NEW : OLD));
	}
	/* One that the IOMMU's driver refuses */
	ASSERT_EQ(0, test_iommu_fail("a", "map", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, map_one(self, READ_WRITE | REPLACE, 0, 0, HALF));
	EXPECT_TRUE(device_finds(self, NEW));
	end_stream(_metadata, self);
}

TEST_HARNESS_MAIN
