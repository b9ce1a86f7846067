// SPDX-License-Identifier: GPL-2.0-only
/* Tests of the extents of pinned memory. No page is pinned. */
#include <kunit/test.h>

#include "../ioasid_private.h"

static void pin_test_merge(struct kunit *test)
{
	struct mem_extents extents;

	mem_extents_init(&extents);
	KUNIT_EXPECT_EQ(test, 0, mem_extents_add(&extents, 100, 4,
						 EXTENT_PINNED_PER_PAGE,
						 1000));
	KUNIT_EXPECT_EQ(test, 0, mem_extents_add(&extents, 104, 1,
						 EXTENT_PINNED_PER_PAGE,
						 1000));
	KUNIT_EXPECT_EQ(test, extents.num, 1);
	KUNIT_EXPECT_EQ(test, mem_extent_pages(&extents, 0), 5);

	/* Contiguous, but held in another way. */
	KUNIT_EXPECT_EQ(test, 0, mem_extents_add(&extents, 105, 1,
						 EXTENT_PINNED_PER_FOLIO,
						 1000));
	/* Below, and with a gap. */
	KUNIT_EXPECT_EQ(test, 0, mem_extents_add(&extents, 99, 1,
						 EXTENT_PINNED_PER_FOLIO,
						 1000));
	KUNIT_EXPECT_EQ(test, 0, mem_extents_add(&extents, 101, 7,
						 EXTENT_PINNED_PER_FOLIO,
						 1000));
	KUNIT_EXPECT_EQ(test, extents.num, 4);
	KUNIT_EXPECT_EQ(test, extents.num_pages, 14);
	KUNIT_EXPECT_TRUE(test,
			  extents.extent[1].kind == EXTENT_PINNED_PER_FOLIO);
	KUNIT_EXPECT_TRUE(test, extents.extent[3].index == 7);
	KUNIT_EXPECT_EQ(test, mem_extent_pages(&extents, 3), 7);
	mem_extents_clear(&extents);
	KUNIT_EXPECT_EQ(test, extents.num, 0);
}

static void pin_test_find(struct kunit *test)
{
	struct mem_extents extents;
	unsigned long index = 0;
	unsigned int i, j;

	/* Runs of 1, 2, 3, … pages, none of them next to another. */
	mem_extents_init(&extents);
	for (i = 0; i < 100; i++)
		KUNIT_ASSERT_EQ(test, 0,
				mem_extents_add(&extents, i * 1000, i + 1,
						EXTENT_PINNED_PER_PAGE,
						 1000));
	KUNIT_EXPECT_EQ(test, extents.num, 100);
	for (i = 0; i < 100; i++)
		for (j = 0; j <= i; j++)
			KUNIT_ASSERT_EQ(test, i,
					mem_extents_find(&extents, index++));
	KUNIT_EXPECT_EQ(test, index, extents.num_pages);
	mem_extents_clear(&extents);
}

/* No more room than the pages could need, and in the end not much more. */
static void pin_test_room(struct kunit *test)
{
	const unsigned long total = 3000, used = 2100;
	struct mem_extents extents;
	unsigned long i;

	mem_extents_init(&extents);
	for (i = 0; i < used; i++) {
		KUNIT_ASSERT_EQ(test, 0,
				mem_extents_add(&extents, i * 2, 1,
						EXTENT_PINNED_PER_PAGE,
						total - i));
		KUNIT_ASSERT_LE(test, extents.max, total);
	}
	KUNIT_EXPECT_EQ(test, 0, mem_extents_add(&extents, i * 2, total - used,
						 EXTENT_PINNED_PER_FOLIO,
						 total - used));
	mem_extents_fit(&extents);
	KUNIT_EXPECT_EQ(test, extents.num, used + 1);
	KUNIT_EXPECT_LE(test, extents.max, used + used / 8 +
				PAGE_SIZE / sizeof(struct mem_extent));
	KUNIT_EXPECT_EQ(test, extents.num_pages, total);
	for (i = 0; i < used; i++) {
		KUNIT_ASSERT_EQ(test, extents.extent[i].pfn, i * 2);
		KUNIT_ASSERT_EQ(test, mem_extent_pages(&extents, i), 1);
	}
	KUNIT_EXPECT_EQ(test, mem_extent_pages(&extents, used), total - used);
	mem_extents_clear(&extents);
}

/* Nobody looks at what these point to. */
static struct page *some_page(unsigned long index)
{
	return pfn_to_page(0) + index;
}

/* Wherever a run ends, it is found, and nothing behind it counts. */
static void pin_test_count_run(struct kunit *test)
{
	struct page *pages[70];
	unsigned long i, num;

	for (num = 1; num <= ARRAY_SIZE(pages); num++) {
		for (i = 0; i < num; i++)
			pages[i] = some_page(1000 + i);
		KUNIT_ASSERT_EQ(test, count_page_run(pages, num), num);
		for (i = 1; i < num; i++) {
			pages[i] = some_page(1000 + i - 1);
			KUNIT_ASSERT_EQ(test, count_page_run(pages, num), i);
			pages[i] = some_page(1000 + i + 1);
			KUNIT_ASSERT_EQ(test, count_page_run(pages, num), i);
			pages[i] = some_page(1000 + i);
		}
	}
	/* The same pages in another order */
	swap(pages[20], pages[21]);
	KUNIT_EXPECT_EQ(test, count_page_run(pages, ARRAY_SIZE(pages)), 20);
}

static struct kunit_case pin_test_cases[] = {
	KUNIT_CASE(pin_test_merge),
	KUNIT_CASE(pin_test_find),
	KUNIT_CASE(pin_test_room),
	KUNIT_CASE(pin_test_count_run),
	{}
};

static struct kunit_suite pin_test_suite = {
	.name = "ioasid_pin",
	.test_cases = pin_test_cases,
};

kunit_test_suite(pin_test_suite);
