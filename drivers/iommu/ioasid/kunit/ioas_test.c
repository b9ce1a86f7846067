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
	mutex_init(&priv->ioas.tree_lock);
	priv->ioas.root = &priv->ioas;
	INIT_LIST_HEAD(&priv->ioas.tables);
	INIT_LIST_HEAD(&priv->ioas.reserved);
	priv->ioas.last = ULONG_MAX;
	priv->ioas.permitted = iova_ranges_alloc(1);
	KUNIT_ASSERT_NOT_NULL(test, priv->ioas.permitted);
	for (i = 0; i < ARRAY_SIZE(priv->pt); i++) {
		priv->pt[i].domain = &priv->domain[i];
		priv->pt[i].filled = true;
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
	mutex_destroy(&priv->ioas.tree_lock);
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
	KUNIT_EXPECT_EQ(test, priv->ioas.alignment, SZ_4K);
	expect_permitted(test, 0, SZ_1M, SZ_1G - 1);
	add_table(test, 1);
	KUNIT_EXPECT_EQ(test, priv->ioas.alignment, SZ_64K);
	KUNIT_EXPECT_EQ(test, priv->ioas.permitted->num, 1);
	expect_permitted(test, 0, SZ_1M, SZ_512M - 1);
	remove_table(test, 0);
	expect_permitted(test, 0, SZ_64K, SZ_512M - 1);
	remove_table(test, 1);
	KUNIT_EXPECT_EQ(test, priv->ioas.alignment, 1);
	expect_permitted(test, 0, 0, ULONG_MAX);
	/* One without a format narrows nothing yet. */
	priv->pt[0].filled = false;
	add_table(test, 0);
	KUNIT_EXPECT_EQ(test, priv->ioas.alignment, 1);
	expect_permitted(test, 0, 0, ULONG_MAX);
	remove_table(test, 0);
}

/* One whose format is not known yet demands nothing. */
static void ioas_test_not_filled(struct kunit *test)
{
	struct ioas_test *priv = test->priv;

	priv->domain[0].geometry.aperture_end = 0;
	priv->pt[0].filled = false;
	add_table(test, 0);
	KUNIT_EXPECT_EQ(test, priv->ioas.alignment, 1);
	KUNIT_EXPECT_EQ(test, priv->ioas.permitted->num, 1);
	expect_permitted(test, 0, 0, ULONG_MAX);
}

/* In-kernel users of whole pages, and mappings that are to be cut */
static void ioas_test_alignment(struct kunit *test)
{
	struct ioas_test *priv = test->priv;
	struct ioasid *ioas = &priv->ioas;

	guard(mutex)(&ioas->lock);
	ioasid_update_alignment(ioas);
	KUNIT_EXPECT_EQ(test, ioas->alignment, 1);
	ioas->num_page_users = 1;
	ioasid_update_alignment(ioas);
	KUNIT_EXPECT_EQ(test, ioas->alignment, PAGE_SIZE);
	ioas->num_page_users = 0;
	ioas->single_pages = true;
	ioasid_update_alignment(ioas);
	KUNIT_EXPECT_EQ(test, ioas->alignment, PAGE_SIZE);
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
	const unsigned long last = SZ_128M + 4 * PAGE_SIZE - 1;

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

/* A mapping of 16 pages of memory that nobody has pinned */
static struct mapping *add_mapping(struct kunit *test, unsigned long first)
{
	struct ioas_test *priv = test->priv;
	struct pinned_mem *mem = kunit_kzalloc(test, sizeof(*mem), GFP_KERNEL);
	struct mapping *map = kunit_kzalloc(test, sizeof(*map), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_ASSERT_NOT_NULL(test, map);
	refcount_set(&mem->refs, 1);
	mem->source = PINNED_MEM_USER;
	map->mem = mem;
	map->first = first;
	map->last = first + 16 * PAGE_SIZE - 1;
	map->state = MAPPING_LIVE;
	KUNIT_ASSERT_EQ(test, mapping_insert(&priv->ioas.mappings, map), 0);
	priv->ioas.num_mappings++;
	return map;
}

/* Tables with large entries, in-kernel users and memory of devices cannot do it. */
static void ioas_test_cut(struct kunit *test)
{
	struct mapping *map = add_mapping(test, SZ_1M), *tail;
	unsigned int limit = ioasid_dma_entry_limit;
	struct ioas_test *priv = test->priv;
	unsigned long at = SZ_1M + 3 * PAGE_SIZE;
	struct ioasid *ioas = &priv->ioas;

	/* Nothing is cut where a mapping ends, or where none is. */
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, map->last), 0);
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, map->first - 1), 0);
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, map->last + 1), 0);
	KUNIT_EXPECT_EQ(test, ioas->num_mappings, 1);

	map->state = MAPPING_LEAVING;
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, at - 1), -EBUSY);
	map->state = MAPPING_LIVE;
	map->mem->source = PINNED_MEM_DMA_BUF;
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, at - 1), -EOPNOTSUPP);
	map->mem->source = PINNED_MEM_USER;
	map->num_accesses = 1;
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, at - 1), -EINVAL);
	map->num_accesses = 0;
	add_table(test, 0);
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, at - 1), -EINVAL);
	ioas->single_pages = true;
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, at), -EINVAL);
	ioasid_dma_entry_limit = 1;
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, at - 1), -ENOSPC);
	ioasid_dma_entry_limit = limit;
	KUNIT_EXPECT_EQ(test, ioas->num_mappings, 1);
	KUNIT_EXPECT_EQ(test, map->last, SZ_1M + 16 * PAGE_SIZE - 1);

	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, at - 1), 0);
	KUNIT_EXPECT_EQ(test, ioas->num_mappings, 2);
	KUNIT_EXPECT_EQ(test, map->last, at - 1);
	tail = mapping_find(&ioas->mappings, at);
	KUNIT_ASSERT_PTR_NE(test, tail, map);
	KUNIT_EXPECT_EQ(test, tail->first, at);
	KUNIT_EXPECT_EQ(test, tail->offset, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, refcount_read(&map->mem->refs), 2);
	/* The same again finds it done. */
	KUNIT_EXPECT_EQ(test, ioasid_cut(ioas, at - 1), 0);
	KUNIT_EXPECT_EQ(test, ioas->num_mappings, 2);
	mapping_erase(&ioas->mappings, tail);
	mapping_release(tail);
}

/* What a copy is made of */
static void ioas_test_parts(struct kunit *test)
{
	struct mapping *one = add_mapping(test, SZ_1M);
	struct mapping *two = add_mapping(test, SZ_1M + 16 * PAGE_SIZE);
	unsigned long at = SZ_1M + 5 * PAGE_SIZE;
	struct ioas_test *priv = test->priv;
	struct ioasid *ioas = &priv->ioas;
	struct ioasid_parts parts = {};

	two->offset = 7;
	KUNIT_ASSERT_EQ(test, ioasid_get_parts(ioas, at, 20 * PAGE_SIZE,
					       &parts), 0);
	KUNIT_ASSERT_EQ(test, parts.num, 2);
	KUNIT_EXPECT_PTR_EQ(test, parts.part[0].mem, one->mem);
	KUNIT_EXPECT_EQ(test, parts.part[0].offset, 5 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, parts.part[0].length, 11 * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, parts.part[1].mem, two->mem);
	KUNIT_EXPECT_EQ(test, parts.part[1].offset, 7);
	KUNIT_EXPECT_EQ(test, parts.part[1].length, 9 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, refcount_read(&one->mem->refs), 2);
	ioasid_put_parts(&parts);
	KUNIT_EXPECT_EQ(test, refcount_read(&one->mem->refs), 1);
	KUNIT_EXPECT_EQ(test, refcount_read(&two->mem->refs), 1);

	/* Not mapped at the start, at the end, or at all */
	KUNIT_EXPECT_EQ(test, ioasid_get_parts(ioas, SZ_1M - 1, 2, &parts),
			-ENOENT);
	KUNIT_EXPECT_EQ(test, ioasid_get_parts(ioas, at, 28 * PAGE_SIZE,
					       &parts), -ENOENT);
	KUNIT_EXPECT_EQ(test, ioasid_get_parts(ioas, 0, SZ_1M, &parts),
			-ENOENT);
	KUNIT_EXPECT_EQ(test, refcount_read(&one->mem->refs), 1);
	KUNIT_EXPECT_EQ(test, refcount_read(&two->mem->refs), 1);
}

/* What is promised may not be taken away, and what there is not cannot be. */
static void ioas_test_allowed(struct kunit *test)
{
	struct iova_ranges *allowed = iova_ranges_alloc(1);
	struct ioas_test *priv = test->priv;
	struct ioasid *ioas = &priv->ioas;

	KUNIT_ASSERT_NOT_NULL(test, allowed);
	priv->domain[0].geometry.aperture_end = SZ_1G - 1;
	add_table(test, 0);
	iova_ranges_set(allowed, SZ_512M, SZ_1G);
	KUNIT_EXPECT_EQ(test, ioasid_set_allowed(ioas, allowed), -EADDRINUSE);
	KUNIT_EXPECT_NULL(test, ioas->allowed);
	iova_ranges_set(allowed, SZ_512M, SZ_1G - 1);
	KUNIT_ASSERT_EQ(test, ioasid_set_allowed(ioas, allowed), 0);
	KUNIT_EXPECT_PTR_EQ(test, ioas->allowed, allowed);
	KUNIT_EXPECT_EQ(test, ioasid_reserve_for_test(ioas, SZ_1G - 1, SZ_1G),
			-EADDRINUSE);
	KUNIT_EXPECT_EQ(test, ioas->num_reserved, 0);
	KUNIT_EXPECT_EQ(test, ioasid_set_allowed(ioas, NULL), 0);
	KUNIT_EXPECT_NULL(test, ioas->allowed);
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
	KUNIT_CASE(ioas_test_not_filled),
	KUNIT_CASE(ioas_test_alignment),
	KUNIT_CASE(ioas_test_disjoint),
	KUNIT_CASE(ioas_test_msi_window),
	KUNIT_CASE(ioas_test_cut),
	KUNIT_CASE(ioas_test_parts),
	KUNIT_CASE(ioas_test_allowed),
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
