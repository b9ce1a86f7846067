// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of a device whose address space changes. Where its IOMMU translates
 * interrupt messages, the kernel maps the page that they go to, the doorbell, in a
 * window of every address space that the device is attached to; nothing that a
 * program does there may remove it. Elsewhere there is less to lose.
 */
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "msi_utils.h"

#define MEM_PAGES	16
#define ROOT		0x2000000ULL

FIXTURE(doorbell) {
	int iommu;
	int msi;
	struct dma_device dev;
	__u32 root;
	__u32 ioasid;
	__u32 other;
	char *mem;
	struct counts counts;
};

FIXTURE_VARIANT(doorbell) {
	bool child;
};

FIXTURE_VARIANT_ADD(doorbell, root) {
	.child = false,
};

/* IOASIDs that show registered memory */
FIXTURE_VARIANT_ADD(doorbell, child) {
	.child = true,
};

static int alloc(struct _test_data_doorbell *self, __u32 *ioasid)
{
	return self->root ? ioasid_alloc_child(self->iommu, self->root, ioasid) :
			    ioasid_alloc(self->iommu, ioasid);
}

/* A page of the memory at @iova, also with REPLACE */
static int map(struct _test_data_doorbell *self, __u32 ioasid, __u32 flags,
	       unsigned int page, __u64 iova)
{
	__u64 src = self->root ? ROOT + page * PAGE :
				 (uintptr_t)self->mem + page * PAGE;

	return ioasid_show(self->iommu, ioasid, READ_WRITE | flags, src, iova,
			   PAGE);
}

/* Also shows that it has DMA, to that page and no other. */
static bool dma_is_to(struct _test_data_doorbell *self, unsigned int page)
{
	size_t i;

	memset(self->mem, 0x11, MEM_PAGES * PAGE);
	fill_pattern(self->mem + page * PAGE, 64, page);
	if (dev_dma_copy(&self->dev, TEST_IOVA, TEST_IOVA + 64, 64))
		return false;
	for (i = 0; i < MEM_PAGES; i++)
		if (i != page && !all_bytes(self->mem + i * PAGE, PAGE, 0x11))
			return false;
	return has_pattern(self->mem + page * PAGE + 64, 64, page);
}

FIXTURE_SETUP(doorbell)
{
	self->msi = -1;
	if (!DEVICE_BEGIN())
		return;
	if (self->dev.kind != &edu_kind)
		SKIP(return, "its interrupts are no messages on a bus");
	if (dev_num_windows(&self->dev, self->iommu))
		SKIP(return, "messages are no business of its windows");
	MEM_BEGIN(MEM_PAGES * PAGE);
	self->root = 0;
	if (variant->child) {
		ASSERT_EQ(0, ioasid_alloc_prereg(self->iommu, &self->root));
		ASSERT_EQ(0, ioasid_map(self->iommu, self->root, READ_WRITE,
					self->mem, ROOT, MEM_PAGES * PAGE));
	}
	ASSERT_EQ(0, alloc(self, &self->ioasid));
	ASSERT_EQ(0, alloc(self, &self->other));
	ASSERT_EQ(0, map(self, self->ioasid, 0, 1, TEST_IOVA));
	ASSERT_EQ(0, map(self, self->other, 0, 2, TEST_IOVA));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	self->msi = msi_open(&self->dev);
	ASSERT_LE(0, self->msi);
	ASSERT_TRUE(msi_arrives(&self->dev, self->msi));
	ASSERT_TRUE(dma_is_to(self, 1));
}

FIXTURE_TEARDOWN(doorbell)
{
	if (self->msi >= 0)
		close(self->msi);
	DEVICE_END();
}

#define EXPECT_MSI() EXPECT_TRUE(msi_arrives(&self->dev, self->msi))

/* Nothing can be mapped over it, by whatever command. */
TEST_F(doorbell, is_not_covered)
{
	__u64 at[] = { msi_first, msi_last + 1 - PAGE, msi_first + PAGE };
	struct iommu_batch_entry entry = {
		.flags = READ_WRITE | IOMMU_MAP_DMA_REPLACE,
		.length = PAGE,
		.src = self->root ? ROOT : (uintptr_t)self->mem,
	};
	__u32 num;
	size_t i;

	for (i = 0; i < sizeof(at) / sizeof(*at); i++) {
		EXPECT_EQ(-EINVAL, map(self, self->ioasid, 0, 3, at[i]));
		EXPECT_EQ(-EINVAL, map(self, self->ioasid,
				       IOMMU_MAP_DMA_REPLACE, 3, at[i]));
		entry.iova = at[i];
		num = 1;
		EXPECT_EQ(-EINVAL, ioasid_batch(self->iommu, self->ioasid,
						&entry, &num, NULL));
		if (!self->root)
			EXPECT_EQ(-EINVAL, ioas_map(self->iommu, self->ioasid,
						    IOAS_RW, self->mem, at[i],
						    PAGE));
	}
	EXPECT_MSI();
	/* Beside it there is room, which shares tables with it. */
	ASSERT_EQ(0, map(self, self->ioasid, 0, 3, msi_first - PAGE));
	ASSERT_EQ(0, map(self, self->ioasid, 0, 4, msi_last + 1));
	EXPECT_MSI();
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, msi_first - PAGE,
				  msi_last - msi_first + 1 + 2 * PAGE, NULL));
	EXPECT_MSI();
}

TEST_F(doorbell, outlives_unmap)
{
	__u64 unmapped = 0;

	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, &unmapped));
	EXPECT_EQ(PAGE, unmapped);
	EXPECT_MSI();
	EXPECT_FALSE(dma_is_to(self, 1));
	/* Of nothing, and of the window alone */
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, msi_first,
				  msi_last - msi_first + 1, &unmapped));
	EXPECT_EQ(0, unmapped);
	EXPECT_MSI();
	ASSERT_EQ(0, map(self, self->ioasid, 0, 3, TEST_IOVA));
	EXPECT_TRUE(dma_is_to(self, 3));
	EXPECT_MSI();
}

TEST_F(doorbell, outlives_revoke)
{
	__u64 unmapped = 0;

	if (!self->root) {
		ASSERT_EQ(0, ioasid_revoke(self->iommu, self->ioasid, 0,
					   1ULL << 32, NULL));
		EXPECT_MSI();
		return;
	}
	ASSERT_EQ(0, ioasid_revoke(self->iommu, self->root, ROOT,
				   MEM_PAGES * PAGE, &unmapped));
	EXPECT_EQ(MEM_PAGES * PAGE, unmapped);
	EXPECT_MSI();
	EXPECT_FALSE(dma_is_to(self, 1));
}

/* It comes back with the page table. */
TEST_F(doorbell, outlives_detach)
{
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_FALSE(dma_is_to(self, 1));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_MSI();
	EXPECT_TRUE(dma_is_to(self, 1));
}

/* Every table that the device is moved to has it. */
TEST_F(doorbell, moves_along)
{
	__u32 again, hwpt;
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, vfio_attach(self->dev.fd, i & 1 ? self->ioasid :
							       self->other));
		EXPECT_MSI();
		EXPECT_TRUE(dma_is_to(self, i & 1 ? 1 : 2));
	}
	/* One that was empty, and one that the program has asked for */
	ASSERT_EQ(0, alloc(self, &again));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, again));
	EXPECT_MSI();
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->dev.dev_id, self->other, 0,
				&hwpt));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, hwpt));
	EXPECT_MSI();
	EXPECT_TRUE(dma_is_to(self, 2));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, again));
	EXPECT_MSI();
	/* Mapped when the doorbell is there */
	ASSERT_EQ(0, map(self, again, 0, 5, TEST_IOVA));
	EXPECT_TRUE(dma_is_to(self, 5));
	EXPECT_MSI();
}

/* Where it would be in the way of a mapping, the device stays where it is. */
TEST_F(doorbell, conflicts)
{
	ASSERT_EQ(0, map(self, self->other, 0, 3, msi_first));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->other));
	EXPECT_MSI();
	EXPECT_TRUE(dma_is_to(self, 1));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->other, msi_first, PAGE,
				  NULL));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->other));
	EXPECT_MSI();
	EXPECT_TRUE(dma_is_to(self, 2));
}

/* Two devices share an address space, and each has its own interrupt. */
TEST_F(doorbell, two_devices)
{
	struct dma_device two[2];
	int msi;

	if (dev_find_alone(two, 2) < 2)
		SKIP(return, "there is one device");
	ASSERT_EQ(0, dev_open_bind(&two[1], self->iommu));
	ASSERT_EQ(0, vfio_attach(two[1].fd, self->ioasid));
	msi = msi_open(&two[1]);
	ASSERT_LE(0, msi);
	EXPECT_TRUE(msi_arrives(&two[1], msi));
	EXPECT_MSI();
	/* One leaves. */
	ASSERT_EQ(0, vfio_attach(two[1].fd, self->other));
	EXPECT_TRUE(msi_arrives(&two[1], msi));
	EXPECT_MSI();
	dev_close(&two[1]);
	close(msi);
	EXPECT_MSI();
}

TEST_HARNESS_MAIN
