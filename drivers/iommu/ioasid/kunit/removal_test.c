// SPDX-License-Identifier: GPL-2.0-only
/* Tests of what may be unmapped, and of how it goes. There are no page tables. */
#include "tree.h"

#define READ_WRITE	(IOMMU_READ | IOMMU_WRITE)
#define FIRST		0x100000UL

struct removal_test {
	struct test_tree *tree;
	struct ioasid *root;
	struct ioasid *child;
	struct ioasid_removal removal;
};

static int removal_test_init(struct kunit *test)
{
	struct removal_test *priv = kunit_kzalloc(test, sizeof(*priv),
						  GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, priv);
	priv->tree = tree_init(test);
	priv->root = &priv->tree->ioas[0];
	priv->child = &priv->tree->ioas[1];
	ioasid_removal_begin(&priv->removal, priv->root, false);
	test->priv = priv;
	return 0;
}

static void removal_test_exit(struct kunit *test)
{
	struct removal_test *priv = test->priv;

	if (!priv)
		return;
	ioasid_free_mappings(&priv->removal.gone);
	tree_exit(priv->tree);
}

/* [FIRST, + 4) [+ 4, + 6) hole [+ 8, + 9), in pages */
static void map_three(struct kunit *test, struct mapping *maps[3])
{
	struct removal_test *priv = test->priv;
	struct ioasid *root = priv->root;

	maps[0] = tree_map(test, root, FIRST, PAGES(4), READ_WRITE);
	maps[1] = tree_map(test, root, FIRST + PAGES(4), PAGES(2), READ_WRITE);
	maps[2] = tree_map(test, root, FIRST + PAGES(8), PAGES(1), READ_WRITE);
}

static int take_out(struct removal_test *priv, unsigned long first,
		    unsigned long last)
{
	guard(mutex)(&priv->removal.ioas->lock);
	return ioasid_removal_range(&priv->removal, first, last);
}

static int take_out_accessed(struct removal_test *priv, unsigned long first,
			     unsigned long last)
{
	guard(mutex)(&priv->removal.ioas->unmap_lock);
	guard(mutex)(&priv->removal.ioas->lock);
	return ioasid_removal_accessed(&priv->removal, first, last);
}

static void flush(struct removal_test *priv)
{
	guard(mutex)(&priv->removal.ioas->lock);
	ioasid_removal_flush(&priv->removal);
}

static void expect_untouched(struct kunit *test)
{
	struct removal_test *priv = test->priv;
	const struct ioasid_removal *removal = &priv->removal;

	KUNIT_EXPECT_TRUE(test, list_empty(&removal->pending));
	KUNIT_EXPECT_TRUE(test, list_empty(&removal->gone));
	KUNIT_EXPECT_EQ(test, removal->bytes, 0);
	KUNIT_EXPECT_GT(test, removal->first, removal->last);
	KUNIT_EXPECT_EQ(test, priv->root->num_mappings, 3);
	KUNIT_EXPECT_EQ(test, priv->root->mapped_bytes, PAGES(7));
}

/* A range that begins or ends inside of a mapping takes out nothing. */
static void removal_test_cuts(struct kunit *test)
{
	struct removal_test *priv = test->priv;
	struct mapping *maps[3];

	map_three(test, maps);
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out(priv, FIRST + PAGES(1),
						ULONG_MAX));
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out(priv, maps[0]->last,
						maps[0]->last));
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out(priv, 0, FIRST));
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out(priv, FIRST,
						maps[1]->last - 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out(priv, FIRST,
						maps[2]->last - 1));
	expect_untouched(test);
	/* Where there is nothing, nothing is wrong. */
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, 0, FIRST - 1));
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, maps[1]->last + 1,
					  maps[2]->first - 1));
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, maps[2]->last + 1, ULONG_MAX));
	expect_untouched(test);
}

static void removal_test_whole(struct kunit *test)
{
	struct removal_test *priv = test->priv;
	struct ioasid_removal *removal = &priv->removal;
	struct mapping *maps[3];

	map_three(test, maps);
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, maps[1]->first, maps[1]->last));
	KUNIT_EXPECT_EQ(test, removal->first, maps[1]->first);
	KUNIT_EXPECT_EQ(test, removal->last, maps[1]->last);
	KUNIT_EXPECT_EQ(test, removal->bytes, PAGES(2));
	KUNIT_EXPECT_EQ(test, priv->root->num_mappings, 2);
	/* Across the hole; what has been taken out is not found again. */
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, removal->first, FIRST);
	KUNIT_EXPECT_EQ(test, removal->last, maps[2]->last);
	KUNIT_EXPECT_EQ(test, removal->bytes, PAGES(7));
	KUNIT_EXPECT_EQ(test, priv->root->num_mappings, 0);
	KUNIT_EXPECT_EQ(test, priv->root->mapped_bytes, 0);
	KUNIT_EXPECT_NULL(test, mapping_find(&priv->root->mappings, 0));
	KUNIT_EXPECT_EQ(test, 3, list_count_nodes(&removal->pending));
	KUNIT_EXPECT_TRUE(test, list_empty(&removal->gone));

	/* What is pending then starts anew. */
	flush(priv);
	KUNIT_EXPECT_TRUE(test, list_empty(&removal->pending));
	KUNIT_EXPECT_EQ(test, 3, list_count_nodes(&removal->gone));
	KUNIT_EXPECT_GT(test, removal->first, removal->last);
	KUNIT_EXPECT_EQ(test, removal->bytes, PAGES(7));
	flush(priv);
	KUNIT_EXPECT_EQ(test, 3, list_count_nodes(&removal->gone));
}

/* What a child shows stays, and so does all that was asked for with it. */
static void removal_test_shadows(struct kunit *test)
{
	struct removal_test *priv = test->priv;
	struct mapping *maps[3];
	struct shadow *shadow;

	map_three(test, maps);
	shadow = tree_show(test, priv->child, 0, FIRST + PAGES(3), PAGES(2));
	KUNIT_EXPECT_EQ(test, -EBUSY, take_out(priv, FIRST, maps[0]->last));
	KUNIT_EXPECT_EQ(test, -EBUSY, take_out(priv, maps[1]->first,
					       maps[1]->last));
	KUNIT_EXPECT_EQ(test, -EBUSY, take_out(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, -EBUSY, take_out_accessed(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, maps[0]->state, MAPPING_LIVE);
	KUNIT_EXPECT_EQ(test, maps[2]->state, MAPPING_LIVE);
	/* What is wrong with the range is said first. */
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out(priv, FIRST + PAGES(1),
						maps[0]->last));
	expect_untouched(test);

	KUNIT_EXPECT_EQ(test, 0, take_out(priv, maps[2]->first, ULONG_MAX));
	tree_unmap(priv->child, &shadow->map);
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, priv->removal.bytes, PAGES(7));
	flush(priv);
}

/* A child's mapping shows something until page tables do not have it any more. */
static void removal_test_of_child(struct kunit *test)
{
	struct removal_test *priv = test->priv;
	struct mapping *maps[3];

	map_three(test, maps);
	tree_show(test, priv->child, 0, FIRST, PAGES(6));
	tree_show(test, priv->child, PAGES(6), FIRST + PAGES(8), PAGES(1));
	ioasid_removal_begin(&priv->removal, priv->child, false);
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, 0, PAGES(6) - 1));
	KUNIT_EXPECT_EQ(test, priv->child->num_mappings, 1);
	KUNIT_EXPECT_EQ(test, priv->root->num_shadows, 2);
	flush(priv);
	KUNIT_EXPECT_EQ(test, priv->root->num_shadows, 1);
	KUNIT_EXPECT_FALSE(test, tree_shown(priv->root, FIRST, maps[1]->last));
	KUNIT_EXPECT_TRUE(test, tree_shown(priv->root, FIRST, maps[2]->last));
}

/* In-kernel users are asked; if they do not let go then nothing goes. */
static void removal_test_accesses(struct kunit *test)
{
	struct removal_test *priv = test->priv;
	struct mapping *maps[3];

	map_three(test, maps);
	maps[1]->num_accesses = 1;
	KUNIT_EXPECT_EQ(test, -EAGAIN, take_out(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, -EAGAIN, take_out(priv, maps[1]->first,
						maps[1]->last));
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out(priv, 0, maps[1]->first));
	KUNIT_EXPECT_EQ(test, -EBUSY, take_out_accessed(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, maps[0]->state, MAPPING_LIVE);
	KUNIT_EXPECT_EQ(test, maps[1]->state, MAPPING_LIVE);
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out_accessed(priv, 0, FIRST));
	expect_untouched(test);
	/* Nobody has to be asked about the others. */
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, 0, maps[0]->last));
	flush(priv);
	KUNIT_EXPECT_EQ(test, 0, take_out_accessed(priv, maps[2]->first,
						   ULONG_MAX));
	flush(priv);
	maps[1]->num_accesses = 0;
	KUNIT_EXPECT_EQ(test, 0, take_out_accessed(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, priv->root->num_mappings, 0);
	KUNIT_EXPECT_EQ(test, priv->removal.bytes, PAGES(7));
	flush(priv);
}

/* What a child shows is said before anybody is asked. */
static void removal_test_shadow_first(struct kunit *test)
{
	struct removal_test *priv = test->priv;
	struct mapping *maps[3];

	map_three(test, maps);
	tree_show(test, priv->child, 0, FIRST, PAGES(1));
	maps[2]->num_accesses = 1;
	KUNIT_EXPECT_EQ(test, -EBUSY, take_out(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, -EAGAIN, take_out(priv, maps[2]->first,
						ULONG_MAX));
	maps[2]->num_accesses = 0;
	expect_untouched(test);
}

/* An internal access is not asked: what it has pinned stays. */
static void removal_test_locked(struct kunit *test)
{
	struct removal_test *priv = test->priv;
	struct iommufd_access *access;
	struct mapping *maps[3];

	access = kunit_kzalloc(test, sizeof(*access), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, access);
	map_three(test, maps);
	access->locks = true;
	access->num_pins = 1;
	access->first = FIRST;
	access->last = FIRST + PAGE_SIZE - 1;
	scoped_guard(mutex, &priv->root->lock)
		list_add(&access->entry, &priv->root->accesses);
	KUNIT_EXPECT_EQ(test, -EBUSY, take_out(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, -EBUSY, take_out_accessed(priv, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, -EINVAL, take_out(priv, 0, FIRST));
	expect_untouched(test);
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, maps[1]->first, ULONG_MAX));
	access->num_pins = 0;
	KUNIT_EXPECT_EQ(test, 0, take_out(priv, 0, ULONG_MAX));
	scoped_guard(mutex, &priv->root->lock)
		list_del(&access->entry);
	flush(priv);
}

static struct kunit_case removal_test_cases[] = {
	KUNIT_CASE(removal_test_cuts),
	KUNIT_CASE(removal_test_whole),
	KUNIT_CASE(removal_test_shadows),
	KUNIT_CASE(removal_test_of_child),
	KUNIT_CASE(removal_test_accesses),
	KUNIT_CASE(removal_test_shadow_first),
	KUNIT_CASE(removal_test_locked),
	{}
};

static struct kunit_suite removal_test_suite = {
	.name = "ioasid_removal",
	.init = removal_test_init,
	.exit = removal_test_exit,
	.test_cases = removal_test_cases,
};

kunit_test_suite(removal_test_suite);
