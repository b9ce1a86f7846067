// SPDX-License-Identifier: GPL-2.0-only
/* Tests of the ranges of addresses that may be mapped. */
#include <kunit/test.h>
#include <linux/slab.h>

#include "../ioasid_private.h"

static struct iova_ranges *new_ranges(struct kunit *test, unsigned int max)
{
	struct iova_ranges *ranges = iova_ranges_alloc(max);

	KUNIT_ASSERT_NOT_NULL(test, ranges);
	iova_ranges_set(ranges, 0, ULONG_MAX);
	return ranges;
}

static void expect_range(struct kunit *test, const struct iova_ranges *ranges,
			 unsigned int i, unsigned long first,
			 unsigned long last)
{
	KUNIT_ASSERT_LT(test, i, ranges->num);
	KUNIT_EXPECT_EQ(test, ranges->range[i].first, first);
	KUNIT_EXPECT_EQ(test, ranges->range[i].last, last);
}

static void range_test_cut(struct kunit *test)
{
	struct iova_ranges *ranges = new_ranges(test, 3);

	/* In the middle, at both ends, across a hole, over everything. */
	iova_ranges_cut(ranges, 0x4000, 0x4fff);
	iova_ranges_cut(ranges, 0x8000, 0x8fff);
	KUNIT_EXPECT_EQ(test, ranges->num, 3);
	expect_range(test, ranges, 0, 0, 0x3fff);
	expect_range(test, ranges, 1, 0x5000, 0x7fff);
	expect_range(test, ranges, 2, 0x9000, ULONG_MAX);

	iova_ranges_cut(ranges, 0, 0xfff);
	iova_ranges_cut(ranges, ULONG_MAX - 0xfff, ULONG_MAX);
	expect_range(test, ranges, 0, 0x1000, 0x3fff);
	expect_range(test, ranges, 2, 0x9000, ULONG_MAX - 0x1000);

	iova_ranges_cut(ranges, 0x3000, 0x9fff);
	KUNIT_EXPECT_EQ(test, ranges->num, 2);
	expect_range(test, ranges, 0, 0x1000, 0x2fff);
	expect_range(test, ranges, 1, 0xa000, ULONG_MAX - 0x1000);

	iova_ranges_cut(ranges, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, ranges->num, 0);
	kfree(ranges);
}

static void range_test_cut_nothing(struct kunit *test)
{
	struct iova_ranges *ranges = new_ranges(test, 2);

	iova_ranges_set(ranges, 0x1000, 0x1fff);
	iova_ranges_cut(ranges, 0, 0xfff);
	iova_ranges_cut(ranges, 0x2000, 0x2fff);
	KUNIT_EXPECT_EQ(test, ranges->num, 1);
	expect_range(test, ranges, 0, 0x1000, 0x1fff);
	kfree(ranges);
}

static void range_test_contain(struct kunit *test)
{
	struct iova_ranges *ranges = new_ranges(test, 2);

	iova_ranges_cut(ranges, 0x4000, 0x4fff);
	KUNIT_EXPECT_TRUE(test, iova_ranges_contain(ranges, 0, 0x3fff));
	KUNIT_EXPECT_TRUE(test, iova_ranges_contain(ranges, 0x5000, ULONG_MAX));
	KUNIT_EXPECT_TRUE(test, iova_ranges_contain(ranges, ULONG_MAX,
						    ULONG_MAX));
	KUNIT_EXPECT_FALSE(test, iova_ranges_contain(ranges, 0, 0x4000));
	KUNIT_EXPECT_FALSE(test, iova_ranges_contain(ranges, 0x3000, 0x5fff));
	KUNIT_EXPECT_FALSE(test, iova_ranges_contain(ranges, 0x4fff, 0x5000));
	kfree(ranges);
}

static void range_test_touch(struct kunit *test)
{
	struct iova_ranges *ranges = new_ranges(test, 3);

	iova_ranges_set(ranges, 0x1000, 0x5fff);
	iova_ranges_cut(ranges, 0x3000, 0x3fff);
	KUNIT_EXPECT_TRUE(test, iova_ranges_touch(ranges, 0x1000, 0x1000));
	KUNIT_EXPECT_TRUE(test, iova_ranges_touch(ranges, 0x5fff, ULONG_MAX));
	KUNIT_EXPECT_TRUE(test, iova_ranges_touch(ranges, 0, ULONG_MAX));
	KUNIT_EXPECT_TRUE(test, iova_ranges_touch(ranges, 0, 0x1000));
	/* From one range over the hole to the other, and from the hole on */
	KUNIT_EXPECT_TRUE(test, iova_ranges_touch(ranges, 0x2fff, 0x4000));
	KUNIT_EXPECT_TRUE(test, iova_ranges_touch(ranges, 0x3000, 0x4000));
	KUNIT_EXPECT_FALSE(test, iova_ranges_touch(ranges, 0x3000, 0x3fff));
	KUNIT_EXPECT_FALSE(test, iova_ranges_touch(ranges, 0, 0xfff));
	KUNIT_EXPECT_FALSE(test, iova_ranges_touch(ranges, 0x6000, ULONG_MAX));
	ranges->num = 0;
	KUNIT_EXPECT_FALSE(test, iova_ranges_touch(ranges, 0, ULONG_MAX));
	kfree(ranges);
}

static struct kunit_case range_test_cases[] = {
	KUNIT_CASE(range_test_cut),
	KUNIT_CASE(range_test_cut_nothing),
	KUNIT_CASE(range_test_contain),
	KUNIT_CASE(range_test_touch),
	{}
};

static struct kunit_suite range_test_suite = {
	.name = "ioasid_range",
	.test_cases = range_test_cases,
};

kunit_test_suite(range_test_suite);
