// SPDX-License-Identifier: GPL-2.0-only
/* Tests of the memory for small records. */
#include <kunit/test.h>
#include <linux/slab.h>

#include "../ioasid_private.h"

#define SIZE 44
#define PER_BLOCK 3
#define NUM (3 * PER_BLOCK + 1)

struct record_test {
	struct record_pool pool;
	u8 *record[NUM];
};

static int record_test_init(struct kunit *test)
{
	struct record_test *priv = kunit_kzalloc(test, sizeof(*priv),
						 GFP_KERNEL);

	if (!priv)
		return -ENOMEM;
	record_pool_init(&priv->pool, SIZE);
	/* Whatever checks this kernel makes */
	priv->pool.per_block = PER_BLOCK;
	test->priv = priv;
	return 0;
}

static void record_test_exit(struct kunit *test)
{
	struct record_test *priv = test->priv;

	record_pool_end(&priv->pool);
}

static void fill(struct kunit *test)
{
	struct record_test *priv = test->priv;
	unsigned int i;

	for (i = 0; i < NUM; i++) {
		priv->record[i] = record_alloc(&priv->pool, SIZE);
		KUNIT_ASSERT_NOT_NULL(test, priv->record[i]);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED((uintptr_t)priv->record[i],
						   sizeof(u64)));
		memset(priv->record[i], i, SIZE);
	}
}

static size_t num_blocks(struct kunit *test)
{
	struct record_test *priv = test->priv;

	return list_count_nodes(&priv->pool.blocks);
}

/* Nothing of a record is part of another. */
static void record_test_disjoint(struct kunit *test)
{
	struct record_test *priv = test->priv;
	unsigned int i;

	fill(test);
	for (i = 0; i < NUM; i++) {
		KUNIT_EXPECT_NULL(test, memchr_inv(priv->record[i], i, SIZE));
		record_free(priv->record[i]);
	}
}

/* What is free is used before anything is allocated. */
static void record_test_reuse(struct kunit *test)
{
	struct record_test *priv = test->priv;
	unsigned int i;

	fill(test);
	/* Of four blocks three are full. */
	KUNIT_EXPECT_EQ(test, num_blocks(test), 1);
	record_free(priv->record[0]);
	KUNIT_EXPECT_EQ(test, num_blocks(test), 2);
	KUNIT_EXPECT_PTR_EQ(test, record_alloc(&priv->pool, SIZE),
			    (void *)priv->record[0]);
	KUNIT_EXPECT_EQ(test, num_blocks(test), 1);
	for (i = 0; i < NUM; i++)
		record_free(priv->record[i]);
}

/* Of blocks that nobody uses, one stays. */
static void record_test_spare(struct kunit *test)
{
	struct record_test *priv = test->priv;
	unsigned int i;

	fill(test);
	for (i = 0; i < NUM; i++)
		record_free(priv->record[i]);
	KUNIT_EXPECT_EQ(test, num_blocks(test), 1);
	fill(test);
	for (i = NUM; i--;)
		record_free(priv->record[i]);
	KUNIT_EXPECT_EQ(test, num_blocks(test), 1);
}

/* Every second one is in use: nothing goes, and nothing more is needed. */
static void record_test_holes(struct kunit *test)
{
	struct record_test *priv = test->priv;
	unsigned int i;

	fill(test);
	for (i = 0; i < NUM; i += 2)
		record_free(priv->record[i]);
	KUNIT_EXPECT_EQ(test, num_blocks(test), 4);
	for (i = 0; i < NUM; i += 2)
		priv->record[i] = record_alloc(&priv->pool, SIZE);
	for (i = 1; i < NUM; i += 2)
		KUNIT_EXPECT_NULL(test, memchr_inv(priv->record[i], i, SIZE));
	KUNIT_EXPECT_EQ(test, num_blocks(test), 1);
	for (i = 0; i < NUM; i++)
		record_free(priv->record[i]);
}

/* Where there is no context */
static void record_test_alone(struct kunit *test)
{
	u8 *record = record_alloc(NULL, SIZE);

	KUNIT_ASSERT_NOT_NULL(test, record);
	memset(record, 1, SIZE);
	record_free(record);
}

/* What a kernel that is not checked does: a block is a page at most. */
static void record_test_block_size(struct kunit *test)
{
	struct record_test *priv = test->priv;
	struct record_pool pool;

	record_pool_init(&pool, sizeof(struct mem_with_mapping));
	KUNIT_EXPECT_GE(test, pool.size,
			(unsigned int)sizeof(struct mem_with_mapping));
	KUNIT_EXPECT_LE(test, pool.per_block * pool.size,
			(unsigned int)SZ_4K);
	KUNIT_EXPECT_GE(test, pool.per_block, 1);
	KUNIT_EXPECT_EQ(test, priv->pool.size % sizeof(u64), 0);
	record_pool_end(&pool);
}

static struct kunit_case record_test_cases[] = {
	KUNIT_CASE(record_test_disjoint),
	KUNIT_CASE(record_test_reuse),
	KUNIT_CASE(record_test_spare),
	KUNIT_CASE(record_test_holes),
	KUNIT_CASE(record_test_alone),
	KUNIT_CASE(record_test_block_size),
	{}
};

static struct kunit_suite record_test_suite = {
	.name = "ioasid_record",
	.init = record_test_init,
	.exit = record_test_exit,
	.test_cases = record_test_cases,
};

kunit_test_suite(record_test_suite);
