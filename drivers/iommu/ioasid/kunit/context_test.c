// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what VFIO asks for that no guest has: groups without an IOMMU.
 */
#include <kunit/test.h>
#include <linux/iommufd.h>

#include "../ioasid_private.h"

static struct iommufd_ctx *new_context(struct kunit *test)
{
	struct iommufd_ctx *ictx = kunit_kzalloc(test, sizeof(*ictx),
						 GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ictx);
	mutex_init(&ictx->compat_lock);
	return ictx;
}

/* Groups with an IOMMU and groups without cannot share a context. */
static void context_test_no_iommu_first(struct kunit *test)
{
	struct iommufd_ctx *ictx = new_context(test);
	u32 id;

	KUNIT_EXPECT_EQ(test, iommufd_vfio_compat_set_no_iommu(ictx), 0);
	KUNIT_EXPECT_EQ(test, iommufd_vfio_compat_set_no_iommu(ictx), 0);
	KUNIT_EXPECT_EQ(test, iommufd_vfio_compat_ioas_create(ictx), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommufd_vfio_compat_ioas_get_id(ictx, &id),
			-ENODEV);
	mutex_destroy(&ictx->compat_lock);
}

static void context_test_no_iommu_second(struct kunit *test)
{
	struct ioasid *ioas = kunit_kzalloc(test, sizeof(*ioas), GFP_KERNEL);
	struct iommufd_ctx *ictx = new_context(test);
	u32 id;

	KUNIT_ASSERT_NOT_NULL(test, ioas);
	ioas->obj.id = 7;
	ictx->compat_ioas = ioas;
	KUNIT_EXPECT_EQ(test, iommufd_vfio_compat_set_no_iommu(ictx), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommufd_vfio_compat_ioas_create(ictx), 0);
	KUNIT_EXPECT_EQ(test, iommufd_vfio_compat_ioas_get_id(ictx, &id), 0);
	KUNIT_EXPECT_EQ(test, id, 7);
	mutex_destroy(&ictx->compat_lock);
}

/* VFIO asks without knowing whether there is anything to ask about. */
static void context_test_has_no_group(struct kunit *test)
{
	struct iommufd_ctx *ictx = new_context(test);

	KUNIT_EXPECT_FALSE(test, iommufd_ctx_has_group(NULL, NULL));
	KUNIT_EXPECT_FALSE(test, iommufd_ctx_has_group(ictx, NULL));
	mutex_destroy(&ictx->compat_lock);
}

static struct kunit_case context_test_cases[] = {
	KUNIT_CASE(context_test_no_iommu_first),
	KUNIT_CASE(context_test_no_iommu_second),
	KUNIT_CASE(context_test_has_no_group),
	{}
};

static struct kunit_suite context_test_suite = {
	.name = "ioasid_context",
	.test_cases = context_test_cases,
};

kunit_test_suite(context_test_suite);
