// SPDX-License-Identifier: GPL-2.0-only
/*
 * On a machine that does not remap interrupts, a device can raise any interrupt
 * by DMA. It is not bound, unless the administrator allows it.
 */
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_utils.h"
#include "ioasid_utils.h"

#define ALLOW	"allow_unsafe_interrupts"

FIXTURE(unsafe) {
	struct dma_device dev;
	int iommu;
};

FIXTURE_SETUP(unsafe)
{
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_LT(0, dev_find_alone(&self->dev, 1));
	self->dev.fd = -1;
	ASSERT_EQ(0, param_set(ALLOW, 0));
	ASSERT_EQ(0, dev_open(&self->dev));
}

FIXTURE_TEARDOWN(unsafe)
{
	dev_close(&self->dev);
	close(self->iommu);
	EXPECT_EQ(0, param_set(ALLOW, 0));
}

TEST_F(unsafe, refused)
{
	EXPECT_EQ(-EPERM, dev_bind(&self->dev, self->iommu));
}

TEST_F(unsafe, allowed)
{
	struct iommu_device_info info = {};

	ASSERT_EQ(0, param_set(ALLOW, 1));
	ASSERT_EQ(0, dev_bind(&self->dev, self->iommu));
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_FALSE(info.caps & IOMMU_DEVICE_CAP_ISOLATED_MSI);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_VIABLE);
}

/* Nor does its IOMMU make DMA snoop. */
TEST_F(unsafe, no_snoop_control)
{
	struct iommu_device_info info = {};
	__u32 automatic, enforce, off;

	ASSERT_EQ(0, param_set(ALLOW, 1));
	ASSERT_EQ(0, dev_bind(&self->dev, self->iommu));
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	EXPECT_FALSE(info.caps & IOMMU_DEVICE_CAP_ENFORCE_SNOOP);
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_AUTO,
				       &automatic));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_ENFORCE,
				       &enforce));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_OFF, &off));
	EXPECT_EQ(-EINVAL, vfio_attach(self->dev.fd, enforce));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, off));
	EXPECT_EQ(-EINVAL, vfio_attach(self->dev.fd, enforce));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, automatic));
	EXPECT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(0, ioasid_free(self->iommu, enforce));
}

TEST_HARNESS_MAIN
