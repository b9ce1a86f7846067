// SPDX-License-Identifier: GPL-2.0-only
/* Tests of the bits of a mapping, and of how drivers and users see them. */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "../ioasid_private.h"

#define FIRST	0x40000000UL

static void init_map(struct kunit *test, struct mapping *map,
		     unsigned long num_pages)
{
	memset(map, 0, sizeof(*map));
	map->first = FIRST;
	map->last = FIRST + num_pages * PAGE_SIZE - 1;
	map->dirty = dirty_bits_alloc(num_pages * PAGE_SIZE, PAGE_SHIFT);
	KUNIT_ASSERT_FALSE(test, IS_ERR(map->dirty));
}

static unsigned long weight(const struct mapping *map)
{
	return bitmap_weight(map->dirty->bits,
			     mapping_length(map) >> PAGE_SHIFT);
}

static void dirty_test_alloc(struct kunit *test)
{
	static const unsigned long nums[] = {
		1, 63, 64, 65, 1000, 32767, 32768, 32769, 100000, 1 << 20,
	};
	struct mapping map;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		init_map(test, &map, nums[i]);
		KUNIT_EXPECT_EQ(test, weight(&map), 0);
		dirty_mark(&map, map.first, map.last);
		KUNIT_EXPECT_EQ(test, weight(&map), nums[i]);
		dirty_bits_free(map.dirty);
	}
	if (BITS_PER_LONG == 64)
		KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
				    dirty_bits_alloc((1UL << 31) * PAGE_SIZE,
						     PAGE_SHIFT));
	dirty_bits_free(NULL);
}

/* What a driver does when it has found a dirty entry of @length bytes. */
struct driver_write {
	unsigned long first;
	unsigned long length;
};

static int driver(struct iova_bitmap *bitmap, unsigned long first,
		  size_t length, void *opaque)
{
	const struct driver_write *write = opaque;

	iova_bitmap_set(bitmap, write->first, write->length);
	return -EXDEV;
}

static void driver_sets(struct kunit *test, struct mapping *map,
			unsigned long page, unsigned long num)
{
	struct driver_write write = {
		.first = map->first + page * PAGE_SIZE,
		.length = num * PAGE_SIZE,
	};
	struct dirty_window window = dirty_window_of(map);

	/* Its errors come through. */
	KUNIT_EXPECT_EQ(test, -EXDEV,
			ioasid_fill_bits(&window, driver, &write));
}

static void dirty_test_driver(struct kunit *test)
{
	/* Bits in a word, in several pages, in memory that is not contiguous. */
	static const unsigned long nums[] = { 1, 64, 40000, 1 << 20 };
	struct mapping map;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		unsigned long num = nums[i];

		init_map(test, &map, num);
		driver_sets(test, &map, 0, 1);
		driver_sets(test, &map, num - 1, 1);
		KUNIT_EXPECT_EQ(test, weight(&map), min(num, 2UL));
		KUNIT_EXPECT_TRUE(test, test_bit(0, map.dirty->bits));
		KUNIT_EXPECT_TRUE(test, test_bit(num - 1, map.dirty->bits));
		driver_sets(test, &map, num / 4, num - num / 4);
		KUNIT_EXPECT_EQ(test, weight(&map),
				num - num / 4 + (num >= 4));
		driver_sets(test, &map, 0, num);
		KUNIT_EXPECT_EQ(test, weight(&map), num);
		dirty_bits_free(map.dirty);
	}
}

/* What a driver should not report has no place, and no memory is touched. */
static void dirty_test_driver_outside(struct kunit *test)
{
	struct driver_write before = { FIRST - PAGE_SIZE, PAGE_SIZE };
	struct driver_write behind = { FIRST + 64 * PAGE_SIZE, PAGE_SIZE };
	struct driver_write across = { FIRST + 63 * PAGE_SIZE, SZ_2M };
	struct dirty_window window;
	struct mapping map;

	init_map(test, &map, 64);
	window = dirty_window_of(&map);
	ioasid_fill_bits(&window, driver, &before);
	ioasid_fill_bits(&window, driver, &behind);
	ioasid_fill_bits(&window, driver, &across);
	KUNIT_EXPECT_EQ(test, weight(&map), 0);
	dirty_bits_free(map.dirty);
}

#define WINDOW_BITS 256

/* Against a model that looks at one page after the other */
static void try_window(struct kunit *test, struct mapping *map,
		       unsigned long first, unsigned int shift,
		       unsigned long num)
{
	unsigned long last = first + (num << shift) - 1;
	DECLARE_BITMAP(window, WINDOW_BITS) = {};
	DECLARE_BITMAP(model, WINDOW_BITS) = {};
	unsigned long page, total = mapping_length(map) >> PAGE_SHIFT;
	unsigned long *before;

	before = bitmap_alloc(total, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, before);
	bitmap_copy(before, map->dirty->bits, total);
	for (page = 0; page < total; page++) {
		unsigned long addr = map->first + page * PAGE_SIZE;

		if (addr >= first && addr <= last && test_bit(page, before))
			__set_bit((addr - first) >> shift, model);
	}
	dirty_collect(map, first, last, shift, window);
	KUNIT_EXPECT_TRUE(test, bitmap_equal(window, model, WINDOW_BITS));
	KUNIT_EXPECT_TRUE(test, bitmap_equal(map->dirty->bits, before, total));

	/* All that was reported goes, and nothing else. */
	dirty_forget(map, first, last, shift, window);
	for (page = 0; page < total; page++) {
		unsigned long addr = map->first + page * PAGE_SIZE;
		bool inside = addr >= first && addr <= last;

		KUNIT_EXPECT_EQ(test, test_bit(page, map->dirty->bits),
				test_bit(page, before) && !inside);
	}
	bitmap_copy(map->dirty->bits, before, total);
	bitmap_free(before);
}

static void dirty_test_window(struct kunit *test)
{
	const unsigned long num = 300;
	struct rnd_state rnd;
	struct mapping map;
	unsigned int i;

	prandom_seed_state(&rnd, 4711);
	init_map(test, &map, num);
	for (i = 0; i < num / 2; i++) {
		unsigned long page = prandom_u32_state(&rnd) % num;
		unsigned long len = prandom_u32_state(&rnd) % 4 ? 1 : 5;

		dirty_mark(&map, map.first + page * PAGE_SIZE,
			   map.first + min(num, page + len) * PAGE_SIZE - 1);
		i += len;
	}
	try_window(test, &map, FIRST, PAGE_SHIFT, WINDOW_BITS);
	for (i = 0; i < 200; i++) {
		unsigned int order = prandom_u32_state(&rnd) % 7;
		unsigned int shift = PAGE_SHIFT + order;
		unsigned long first = FIRST - 100 * PAGE_SIZE +
			prandom_u32_state(&rnd) % 500 * PAGE_SIZE;

		try_window(test, &map, round_down(first, 1UL << shift), shift,
			   1 + prandom_u32_state(&rnd) % WINDOW_BITS);
	}
	/* One bit for everything */
	try_window(test, &map, 0, BITS_PER_LONG - 2, 1);
	dirty_bits_free(map.dirty);
}

static void dirty_test_split(struct kunit *test)
{
	struct mapping head, tail = {};

	init_map(test, &head, 200);
	dirty_mark(&head, FIRST + 90 * PAGE_SIZE, FIRST + 110 * PAGE_SIZE - 1);
	dirty_mark(&head, head.last, head.last);
	tail.first = FIRST + 100 * PAGE_SIZE;
	tail.last = head.last;
	KUNIT_ASSERT_EQ(test, dirty_split(&head, &tail), 0);
	head.last = tail.first - 1;
	KUNIT_EXPECT_EQ(test, weight(&head), 10);
	KUNIT_EXPECT_EQ(test, weight(&tail), 11);
	KUNIT_EXPECT_TRUE(test, test_bit(0, tail.dirty->bits));
	KUNIT_EXPECT_TRUE(test, test_bit(9, tail.dirty->bits));
	KUNIT_EXPECT_TRUE(test, test_bit(99, tail.dirty->bits));
	dirty_bits_free(head.dirty);
	dirty_bits_free(tail.dirty);

	head.dirty = NULL;
	tail.dirty = NULL;
	KUNIT_EXPECT_EQ(test, dirty_split(&head, &tail), 0);
	KUNIT_EXPECT_NULL(test, tail.dirty);
}

static struct kunit_case dirty_test_cases[] = {
	KUNIT_CASE(dirty_test_alloc),
	KUNIT_CASE(dirty_test_driver),
	KUNIT_CASE(dirty_test_driver_outside),
	KUNIT_CASE(dirty_test_window),
	KUNIT_CASE(dirty_test_split),
	{}
};

static struct kunit_suite dirty_test_suite = {
	.name = "ioasid_dirty",
	.test_cases = dirty_test_cases,
};

kunit_test_suite(dirty_test_suite);
