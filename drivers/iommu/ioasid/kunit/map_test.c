// SPDX-License-Identifier: GPL-2.0-only
/* Tests of the tree of mappings. */
#include <kunit/test.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include "../ioasid_private.h"

struct map_test {
	struct mapping_tree root;
	struct iova_ranges *ranges;
};

static int map_test_init(struct kunit *test)
{
	struct map_test *priv = kunit_kzalloc(test, sizeof(*priv), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, priv);
	priv->root = MAPPING_TREE_INIT;
	priv->ranges = iova_ranges_alloc(8);
	KUNIT_ASSERT_NOT_NULL(test, priv->ranges);
	iova_ranges_set(priv->ranges, 0, ULONG_MAX);
	test->priv = priv;
	return 0;
}

static void map_test_exit(struct kunit *test)
{
	struct map_test *priv = test->priv;
	struct mapping *map, *next;

	rbtree_postorder_for_each_entry_safe(map, next, &priv->root.root, node)
		mapping_release(map);
	kfree(priv->ranges);
}

static struct mapping *new_map(struct kunit *test, unsigned long first,
			       unsigned long last)
{
	struct mapping *map = mapping_alloc(NULL);

	KUNIT_ASSERT_NOT_NULL(test, map);
	map->first = first;
	map->last = last;
	map->state = MAPPING_LIVE;
	return map;
}

static struct mapping *add_map(struct kunit *test, unsigned long first,
			       unsigned long last)
{
	struct map_test *priv = test->priv;
	struct mapping *map = new_map(test, first, last);

	KUNIT_ASSERT_EQ(test, 0, mapping_insert(&priv->root, map));
	return map;
}

static void map_test_overlap(struct kunit *test)
{
	static const struct iova_range overlapping[] = {
		{ 0x1000, 0x1000 }, { 0x1fff, 0x1fff }, { 0, 0x1000 },
		{ 0x1fff, 0x2000 }, { 0, ULONG_MAX },	{ 0x1400, 0x1500 },
		{ ULONG_MAX, ULONG_MAX },
	};
	struct map_test *priv = test->priv;
	unsigned int i;

	add_map(test, 0x1000, 0x1fff);
	add_map(test, ULONG_MAX - 0xfff, ULONG_MAX);
	for (i = 0; i < ARRAY_SIZE(overlapping); i++) {
		struct mapping *map = new_map(test, overlapping[i].first,
					      overlapping[i].last);

		KUNIT_EXPECT_EQ(test, -EEXIST,
				mapping_insert(&priv->root, map));
		mapping_release(map);
	}
	add_map(test, 0, 0xfff);
	add_map(test, 0x2000, ULONG_MAX - 0x1000);
}

/* Where it belongs: below, between and above others, or nowhere */
static void map_test_place(struct kunit *test)
{
	static const struct iova_range free[] = {
		{ 0, 0xfff }, { 0x2000, 0x2fff }, { 0x2800, 0x2800 },
		{ 0x5000, ULONG_MAX }, { ULONG_MAX, ULONG_MAX },
	};
	static const struct iova_range taken[] = {
		{ 0, ULONG_MAX }, { 0, 0x1000 }, { 0x1fff, 0x2000 },
		{ 0x2fff, 0x3000 }, { 0x4fff, ULONG_MAX }, { 0x3500, 0x3600 },
	};
	struct map_test *priv = test->priv;
	struct mapping_place place;
	unsigned int i;

	/* Of an empty tree */
	KUNIT_EXPECT_EQ(test, 0, mapping_find_place(&priv->root, 0, ULONG_MAX,
						    &place));
	KUNIT_EXPECT_NULL(test, place.parent);
	KUNIT_EXPECT_PTR_EQ(test, place.link, &priv->root.root.rb_node);

	add_map(test, 0x1000, 0x1fff);
	add_map(test, 0x3000, 0x4fff);
	for (i = 0; i < ARRAY_SIZE(free); i++) {
		KUNIT_EXPECT_EQ(test, 0, mapping_find_place(&priv->root,
							    free[i].first,
							    free[i].last,
							    &place));
		KUNIT_ASSERT_NOT_NULL(test, place.parent);
		KUNIT_EXPECT_NULL(test, *place.link);
	}
	for (i = 0; i < ARRAY_SIZE(taken); i++)
		KUNIT_EXPECT_EQ(test, -EEXIST,
				mapping_find_place(&priv->root, taken[i].first,
						   taken[i].last, &place));
}

/* In whatever order they come, they are in order then. */
static void map_test_link(struct kunit *test)
{
	const unsigned int num = 101;
	struct map_test *priv = test->priv;
	struct mapping_place place;
	struct mapping *map;
	unsigned int i;

	for (i = 0; i < num; i++) {
		/* All numbers below @num, each once */
		unsigned long first = (unsigned long)(i * 37 % num) << 12;

		map = new_map(test, first, first + 0xfff);
		KUNIT_ASSERT_EQ(test, 0, mapping_find_place(&priv->root, first,
							    map->last, &place));
		mapping_link(&priv->root, map, &place);
		KUNIT_EXPECT_EQ(test, -EEXIST,
				mapping_find_place(&priv->root, first, first,
						   &place));
	}
	i = 0;
	for_each_mapping(map, &priv->root, 0, ULONG_MAX)
		KUNIT_EXPECT_EQ(test, map->first, (unsigned long)i++ << 12);
	KUNIT_EXPECT_EQ(test, i, num);
}

static void map_test_find(struct kunit *test)
{
	struct map_test *priv = test->priv;
	struct mapping *a = add_map(test, 0x1000, 0x1fff);
	struct mapping *b = add_map(test, 0x3000, 0x4fff);
	struct mapping *map;
	unsigned int num = 0;

	KUNIT_EXPECT_PTR_EQ(test, a, mapping_find(&priv->root, 0));
	KUNIT_EXPECT_PTR_EQ(test, a, mapping_find(&priv->root, 0x1fff));
	KUNIT_EXPECT_PTR_EQ(test, b, mapping_find(&priv->root, 0x2000));
	KUNIT_EXPECT_PTR_EQ(test, b, mapping_find(&priv->root, 0x4fff));
	KUNIT_EXPECT_NULL(test, mapping_find(&priv->root, 0x5000));
	KUNIT_EXPECT_PTR_EQ(test, b, mapping_next(a));
	KUNIT_EXPECT_NULL(test, mapping_next(b));

	for_each_mapping(map, &priv->root, 0x1fff, 0x3000)
		num++;
	KUNIT_EXPECT_EQ(test, num, 2);
	for_each_mapping(map, &priv->root, 0x2000, 0x2fff)
		num++;
	KUNIT_EXPECT_EQ(test, num, 2);

	mapping_erase(&priv->root, a);
	mapping_release(a);
	KUNIT_EXPECT_PTR_EQ(test, b, mapping_find(&priv->root, 0));
}

static int find_room(struct kunit *test, unsigned long from,
		     unsigned long length, unsigned long align,
		     unsigned long phase, unsigned long *first)
{
	struct map_test *priv = test->priv;

	return mapping_find_room(&priv->root, priv->ranges, from, length, align,
				 phase, first);
}

static void map_test_room(struct kunit *test)
{
	struct map_test *priv = test->priv;
	unsigned long first;

	/* Never address 0. */
	KUNIT_EXPECT_EQ(test, 0, find_room(test, 0, 0x1000, 0x1000, 0, &first));
	KUNIT_EXPECT_EQ(test, first, 0x1000);

	/* Between mappings, if it fits with its alignment. */
	add_map(test, 0x1000, 0x1fff);
	add_map(test, 0x4000, 0x4fff);
	KUNIT_EXPECT_EQ(test, 0, find_room(test, 0, 0x2000, 0x1000, 0, &first));
	KUNIT_EXPECT_EQ(test, first, 0x2000);
	KUNIT_EXPECT_EQ(test, 0, find_room(test, 0, 0x3000, 0x1000, 0, &first));
	KUNIT_EXPECT_EQ(test, first, 0x5000);
	KUNIT_EXPECT_EQ(test, 0,
			find_room(test, 0, 0x1000, 0x4000, 0x3000, &first));
	KUNIT_EXPECT_EQ(test, first, 0x3000);

	/* From a place on, and round again. */
	iova_ranges_set(priv->ranges, 0, 0x5fff);
	KUNIT_EXPECT_EQ(test, 0,
			find_room(test, 0x3000, 0x1000, 0x1000, 0, &first));
	KUNIT_EXPECT_EQ(test, first, 0x3000);
	KUNIT_EXPECT_EQ(test, 0,
			find_room(test, 0x4000, 0x2000, 0x1000, 0, &first));
	KUNIT_EXPECT_EQ(test, first, 0x2000);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			find_room(test, 0, 0x3000, 0x1000, 0, &first));

	/* Not across what is reserved. */
	iova_ranges_cut(priv->ranges, 0x3000, 0x3fff);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			find_room(test, 0, 0x2000, 0x1000, 0, &first));
	KUNIT_EXPECT_EQ(test, 0, find_room(test, 0, 0x1000, 0x1000, 0, &first));
	KUNIT_EXPECT_EQ(test, first, 0x2000);
}

static void map_test_room_at_the_end(struct kunit *test)
{
	struct map_test *priv = test->priv;
	unsigned long first;

	add_map(test, 0, ULONG_MAX - 0x2000);
	KUNIT_EXPECT_EQ(test, 0, find_room(test, 0, 0x1000, 0x1000, 0, &first));
	KUNIT_EXPECT_EQ(test, first, ULONG_MAX - 0x1fff);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			find_room(test, 0, 0x2000, 0x2000, 0x1000, &first));
	add_map(test, ULONG_MAX - 0x1fff, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			find_room(test, 0, 0x1000, 0x1000, 0, &first));
	iova_ranges_cut(priv->ranges, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, -ENOSPC, find_room(test, 0, 1, 1, 0, &first));
}

/* The chosen range is always free, and -ENOSPC always true. */
static void map_test_room_random(struct kunit *test)
{
	struct map_test *priv = test->priv;
	unsigned long used = 0, size = 0x100000;
	struct rnd_state rnd;
	unsigned long first;
	unsigned int i;

	prandom_seed_state(&rnd, 4711);
	iova_ranges_set(priv->ranges, 0x1000, size - 1);
	for (i = 0; i < 2000; i++) {
		unsigned long length =
			((prandom_u32_state(&rnd) % 8) + 1) << 12;
		struct mapping *map;

		if (!find_room(test, prandom_u32_state(&rnd) % size, length,
			       0x1000, 0, &first)) {
			add_map(test, first, first + length - 1);
			used += length;
		} else {
			KUNIT_ASSERT_GT(test, length, 0x1000);
		}
		if (size - 0x1000 - used >= 0x1000 && i % 3)
			continue;
		map = mapping_find(&priv->root, prandom_u32_state(&rnd) % size);
		if (!map)
			continue;
		used -= mapping_length(map);
		mapping_erase(&priv->root, map);
		mapping_release(map);
	}
}

static void map_test_split(struct kunit *test)
{
	struct map_test *priv = test->priv;
	struct pinned_mem *mem =
		kunit_kzalloc(test, sizeof(*mem), GFP_KERNEL);
	struct mapping *head, *tail;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	refcount_set(&mem->refs, 1);
	refcount_set(&mem->num_pins, 1);
	head = add_map(test, 0x10000, 0x1ffff);
	head->offset = 0x234000;
	head->mem = mem;
	head->prot = IOMMU_READ;
	head->pinned = true;

	tail = mapping_split(&priv->root, head, 0x13000);
	KUNIT_ASSERT_FALSE(test, IS_ERR(tail));
	KUNIT_EXPECT_EQ(test, head->last, 0x12fff);
	KUNIT_EXPECT_EQ(test, head->offset, 0x234000);
	KUNIT_EXPECT_EQ(test, tail->first, 0x13000);
	KUNIT_EXPECT_EQ(test, tail->last, 0x1ffff);
	KUNIT_EXPECT_EQ(test, tail->offset, 0x237000);
	KUNIT_EXPECT_EQ(test, tail->prot, IOMMU_READ);
	KUNIT_EXPECT_TRUE(test, tail->pinned);
	KUNIT_EXPECT_EQ(test, refcount_read(&mem->refs), 2);
	KUNIT_EXPECT_EQ(test, refcount_read(&mem->num_pins), 2);
	KUNIT_EXPECT_PTR_EQ(test, tail, mapping_find(&priv->root, 0x13000));
	KUNIT_EXPECT_PTR_EQ(test, head, mapping_find(&priv->root, 0x12fff));
}

static void map_test_rebase(struct kunit *test)
{
	struct pinned_mem *mems = kunit_kcalloc(test, 2, sizeof(*mems),
						GFP_KERNEL);
	struct mapping *map = add_map(test, 0x1000, 0x1fff);
	struct pinned_mem *old;

	KUNIT_ASSERT_NOT_NULL(test, mems);
	map->mem = &mems[0];
	mapping_rebase(map, &mems[1], 0x5000, &old);
	KUNIT_EXPECT_PTR_EQ(test, old, &mems[0]);
	KUNIT_EXPECT_PTR_EQ(test, map->mem, &mems[1]);
	KUNIT_EXPECT_EQ(test, map->offset, 0x5000);
}

static struct kunit_case map_test_cases[] = {
	KUNIT_CASE(map_test_overlap),
	KUNIT_CASE(map_test_place),
	KUNIT_CASE(map_test_link),
	KUNIT_CASE(map_test_find),
	KUNIT_CASE(map_test_room),
	KUNIT_CASE(map_test_room_at_the_end),
	KUNIT_CASE(map_test_room_random),
	KUNIT_CASE(map_test_split),
	KUNIT_CASE(map_test_rebase),
	{}
};

static struct kunit_suite map_test_suite = {
	.name = "ioasid_map",
	.init = map_test_init,
	.exit = map_test_exit,
	.test_cases = map_test_cases,
};

kunit_test_suite(map_test_suite);
