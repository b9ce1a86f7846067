// SPDX-License-Identifier: GPL-2.0-only
/*
 * What AMD's IOMMU can do in Linux 7.2, and what it cannot: its driver knows how to
 * walk page tables of a virtual machine below those of the kernel, but nobody calls
 * that code. Programs must be told so, and not later than when they make such a
 * table.
 */
#include <errno.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"

FIXTURE(amd) {
	int iommu;
	struct dma_device dev;
	__u32 ioas;
	__u32 hwpt;
	struct iommu_hw_info_amd hardware;
	struct counts counts;
};

/* Return: the kind of IOMMU that the device is behind, or a negative errno. */
static int hardware_of(struct _test_data_amd *self)
{
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd),
		.dev_id = self->dev.dev_id,
		.data_len = sizeof(self->hardware),
		.data_uptr = (uintptr_t)&self->hardware,
	};
	int rc = iommu_call(self->iommu, IOMMU_GET_HW_INFO, &cmd);

	return rc ? rc : (int)cmd.out_data_type;
}

FIXTURE_SETUP(amd)
{
	if (!DEVICE_BEGIN())
		return;
	if (hardware_of(self) != IOMMU_HW_INFO_TYPE_AMD)
		SKIP(return, "the IOMMU is not AMD's");
	ASSERT_EQ(0, ioas_alloc(self->iommu, &self->ioas));
}

FIXTURE_TEARDOWN(amd)
{
	DEVICE_END();
}

/* A page table of a virtual machine, below the page table or vIOMMU @pt_id */
static int alloc_nested(struct _test_data_amd *self, __u32 pt_id)
{
	struct iommu_hwpt_amd_guest guest = {};
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.dev_id = self->dev.dev_id,
		.pt_id = pt_id,
		.data_type = IOMMU_HWPT_DATA_AMD_GUEST,
		.data_len = sizeof(guest),
		.data_uptr = (uintptr_t)&guest,
	};

	return iommu_call(self->iommu, IOMMU_HWPT_ALLOC, &cmd);
}

static int alloc_viommu(struct _test_data_amd *self, __u32 parent, __u32 *id)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3,
		.dev_id = self->dev.dev_id,
		.hwpt_id = parent,
	};
	int rc = iommu_call(self->iommu, IOMMU_VIOMMU_ALLOC, &cmd);

	*id = cmd.out_viommu_id;
	return rc;
}

TEST_F(amd, says_what_it_is)
{
	EXPECT_NE(0, self->hardware.efr);
}

/* It is no parent of others, and may not become one. */
TEST_F(amd, not_nested)
{
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->dev.dev_id, self->ioas, 0,
				&self->hwpt));
	EXPECT_EQ(-EOPNOTSUPP, alloc_nested(self, self->hwpt));
	EXPECT_EQ(-EOPNOTSUPP, alloc_nested(self, self->ioas));
}

/*
 * What the tables of a virtual machine would be below. The driver makes it where
 * the hardware has all that is needed; not even then is there anything below it.
 */
TEST_F(amd, nest_parent)
{
	__u32 parent, viommu;
	int rc;

	rc = hwpt_alloc(self->iommu, self->dev.dev_id, self->ioas,
			IOMMU_HWPT_ALLOC_NEST_PARENT, &parent);
	if (rc) {
		EXPECT_EQ(-EOPNOTSUPP, rc);
		return;
	}
	EXPECT_EQ(-EOPNOTSUPP, alloc_nested(self, parent));
	ASSERT_EQ(0, alloc_viommu(self, parent, &viommu));
	EXPECT_EQ(-EOPNOTSUPP, alloc_nested(self, viommu));
}

/* Page tables of the kernel below others are made by software, as anywhere. */
TEST_F(amd, child)
{
	__u32 root, child;

	ASSERT_EQ(0, ioasid_alloc(self->iommu, &root));
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, root, &child));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, child));
}

TEST_HARNESS_MAIN
