// SPDX-License-Identifier: GPL-2.0-only
/* Tests of what an address space permits, with tables that no guest has. */
#include <kunit/test.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "../ioasid_private.h"

/* An address space and two tables, which are not in it yet. */
struct ioas_test {
	struct ioasid ioas;
	struct iommufd_hw_pagetable pt[2];
	struct iommu_domain domain[2];
};

static int ioas_test_init(struct kunit *test)
{
	struct ioas_test *priv = kunit_kzalloc(test, sizeof(*priv), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, priv);
	mutex_init(&priv->ioas.lock);
	INIT_LIST_HEAD(&priv->ioas.tables);
	INIT_LIST_HEAD(&priv->ioas.reserved);
	priv->ioas.last = ULONG_MAX;
	priv->ioas.permitted = iova_ranges_alloc(1);
	KUNIT_ASSERT_NOT_NULL(test, priv->ioas.permitted);
	for (i = 0; i < ARRAY_SIZE(priv->pt); i++) {
		priv->pt[i].domain = &priv->domain[i];
		priv->domain[i].pgsize_bitmap = SZ_4K | SZ_2M;
		priv->domain[i].geometry.aperture_end = ULONG_MAX;
	}
	test->priv = priv;
	return 0;
}

static void ioas_test_exit(struct kunit *test)
{
	struct ioas_test *priv = test->priv;

	kfree(priv->ioas.permitted);
	mutex_destroy(&priv->ioas.lock);
}

static void add_table(struct kunit *test, unsigned int i)
{
	struct ioas_test *priv = test->priv;

	guard(mutex)(&priv->ioas.lock);
	list_add_tail(&priv->pt[i].entry, &priv->ioas.tables);
	priv->ioas.num_tables++;
	KUNIT_EXPECT_EQ(test, ioasid_update_permitted(&priv->ioas), 0);
}

static void remove_table(struct kunit *test, unsigned int i)
{
	struct ioas_test *priv = test->priv;

	guard(mutex)(&priv->ioas.lock);
	list_del(&priv->pt[i].entry);
	priv->ioas.num_tables--;
	ioasid_widen_permitted(&priv->ioas);
}

static void expect_permitted(struct kunit *test, unsigned int i,
			     unsigned long first, unsigned long last)
{
	struct ioas_test *priv = test->priv;

	KUNIT_ASSERT_LT(test, i, priv->ioas.permitted->num);
	KUNIT_EXPECT_EQ(test, priv->ioas.permitted->range[i].first, first);
	KUNIT_EXPECT_EQ(test, priv->ioas.permitted->range[i].last, last);
}

/* What all tables reach, in the largest of their smallest pages. */
static void ioas_test_apertures(struct kunit *test)
{
	struct ioas_test *priv = test->priv;

	priv->domain[0].geometry.aperture_start = SZ_1M;
	priv->domain[0].geometry.aperture_end = SZ_1G - 1;
	priv->domain[1].geometry.aperture_start = SZ_64K;
	priv->domain[1].geometry.aperture_end = SZ_512M - 1;
	priv->domain[1].pgsize_bitmap = SZ_64K | SZ_2M;

	add_table(test, 0);
	KUNIT_EXPECT_EQ(test, priv->ioas.alignment, PAGE_SIZE);
	expect_permitted(test, 0, SZ_1M, SZ_1G - 1);
	add_table(test, 1);
	KUNIT_EXPECT_EQ(test, priv->ioas.alignment, SZ_64K);
	KUNIT_EXPECT_EQ(test, priv->ioas.permitted->num, 1);
	expect_permitted(test, 0, SZ_1M, SZ_512M - 1);
	remove_table(test, 0);
	expect_permitted(test, 0, SZ_64K, SZ_512M - 1);
	remove_table(test, 1);
	KUNIT_EXPECT_EQ(test, priv->ioas.alignment, PAGE_SIZE);
	expect_permitted(test, 0, 0, ULONG_MAX);
}

/* Two that reach nothing together leave nothing to map. */
static void ioas_test_disjoint(struct kunit *test)
{
	struct ioas_test *priv = test->priv;

	priv->domain[0].geometry.aperture_end = SZ_1M - 1;
	priv->domain[1].geometry.aperture_start = SZ_1M;
	add_table(test, 0);
	add_table(test, 1);
	KUNIT_EXPECT_EQ(test, priv->ioas.permitted->num, 0);
	KUNIT_EXPECT_FALSE(test, iova_ranges_contain(priv->ioas.permitted, 0,
						     PAGE_SIZE - 1));
	remove_table(test, 0);
	expect_permitted(test, 0, SZ_1M, ULONG_MAX);
}

/* Pages of interrupts stay in a table, so nothing else may come there. */
static void ioas_test_msi_window(struct kunit *test)
{
	struct ioas_test *priv = test->priv;
	const unsigned long last =
		SZ_128M + IOASID_MAX_SW_MSI * PAGE_SIZE - 1;

	priv->pt[1].sw_msi_start = SZ_128M;
	__set_bit(3, priv->pt[1].sw_msi.bits);
	add_table(test, 0);
	KUNIT_EXPECT_EQ(test, priv->ioas.permitted->num, 1);
	add_table(test, 1);
	KUNIT_EXPECT_EQ(test, priv->ioas.permitted->num, 2);
	expect_permitted(test, 0, 0, SZ_128M - 1);
	expect_permitted(test, 1, last + 1, ULONG_MAX);
	remove_table(test, 1);
	expect_permitted(test, 0, 0, ULONG_MAX);
}

static void ioas_test_reserved_bounds(struct kunit *test)
{
	struct iommu_resv_region region = {
		.start = SZ_1M,
		.length = SZ_4K,
		.type = IOMMU_RESV_RESERVED,
	};
	unsigned long first, last;

	KUNIT_EXPECT_TRUE(test, reserved_bounds(&region, &first, &last));
	KUNIT_EXPECT_EQ(test, first, SZ_1M);
	KUNIT_EXPECT_EQ(test, last, SZ_1M + SZ_4K - 1);

	/* One that says it goes on behind the last address ends there. */
	region.start = ULONG_MAX - SZ_4K + 1;
	region.length = SZ_8K;
	KUNIT_EXPECT_TRUE(test, reserved_bounds(&region, &first, &last));
	KUNIT_EXPECT_EQ(test, first, ULONG_MAX - SZ_4K + 1);
	KUNIT_EXPECT_EQ(test, last, ULONG_MAX);

	region.length = 0;
	KUNIT_EXPECT_FALSE(test, reserved_bounds(&region, &first, &last));
	/* Of use before the device has a driver only. */
	region.length = SZ_4K;
	region.type = IOMMU_RESV_DIRECT_RELAXABLE;
	KUNIT_EXPECT_FALSE(test, reserved_bounds(&region, &first, &last));
}

static struct kunit_case ioas_test_cases[] = {
	KUNIT_CASE(ioas_test_apertures),
	KUNIT_CASE(ioas_test_disjoint),
	KUNIT_CASE(ioas_test_msi_window),
	KUNIT_CASE(ioas_test_reserved_bounds),
	{}
};

static struct kunit_suite ioas_test_suite = {
	.name = "ioasid_ioas",
	.init = ioas_test_init,
	.exit = ioas_test_exit,
	.test_cases = ioas_test_cases,
};

kunit_test_suite(ioas_test_suite);
