// SPDX-License-Identifier: GPL-2.0-only
/* Tests of mappings of children: what is behind them, and who finds them. */
#include <linux/prandom.h>

#include "tree.h"

#define READ_WRITE	(IOMMU_READ | IOMMU_WRITE)

/* Where the parent maps in these tests, and where the children do */
#define SOURCE	0x100000UL
#define FIRST	0x40000000UL

struct shadow_test {
	struct test_tree *tree;
	struct ioasid *root;
	struct ioasid *child;
	struct ioasid *grandchild;
};

static int shadow_test_init(struct kunit *test)
{
	struct shadow_test *priv = kunit_kzalloc(test, sizeof(*priv), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, priv);
	priv->tree = tree_init(test);
	priv->root = &priv->tree->ioas[0];
	priv->child = &priv->tree->ioas[1];
	priv->grandchild = &priv->tree->ioas[2];
	test->priv = priv;
	return 0;
}

static void shadow_test_exit(struct kunit *test)
{
	struct shadow_test *priv = test->priv;

	if (priv)
		tree_exit(priv->tree);
}

/* Some of one mapping needs no memory for pieces, wherever it lies there. */
static void shadow_test_one_piece(struct kunit *test)
{
	static const unsigned int parts[][2] = {
		{ 0, 8 }, { 0, 1 }, { 7, 1 }, { 3, 2 },
	};
	struct shadow_test *priv = test->priv;
	struct shadow *shadow;
	struct mapping *map;
	unsigned int i;

	map = tree_map(test, priv->root, SOURCE, PAGES(8), READ_WRITE);
	map->offset = PAGES(5);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		unsigned long start = PAGES(parts[i][0]);
		unsigned long length = PAGES(parts[i][1]);

		shadow = tree_show(test, priv->child, FIRST, SOURCE + start,
				   length);
		KUNIT_EXPECT_NULL(test, shadow->span);
		KUNIT_EXPECT_FALSE(test, hlist_empty(&map->shadows));
		KUNIT_EXPECT_EQ(test, priv->root->num_shadows, 1);
		tree_expect_piece(test, &shadow->map, FIRST, map,
				  PAGES(5) + start, length);
		tree_expect_piece(test, &shadow->map, FIRST + length - 1, map,
				  PAGES(5) + start + length - 1, 1);
		tree_unmap(priv->child, &shadow->map);
		KUNIT_EXPECT_EQ(test, priv->root->num_shadows, 0);
	}
}

/* Three mappings; from inside the first one to inside the last one */
static void shadow_test_pieces(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct mapping *a, *b, *c;
	struct shadow *shadow;

	a = tree_map(test, priv->root, SOURCE, PAGES(4), READ_WRITE);
	b = tree_map(test, priv->root, SOURCE + PAGES(4), PAGES(1), READ_WRITE);
	c = tree_map(test, priv->root, SOURCE + PAGES(5), PAGES(9), READ_WRITE);
	c->offset = PAGES(100);
	shadow = tree_show(test, priv->child, FIRST, SOURCE + PAGES(2),
			   PAGES(6));
	KUNIT_ASSERT_NOT_NULL(test, shadow->span);
	KUNIT_ASSERT_EQ(test, shadow->span->num, 3);
	KUNIT_EXPECT_EQ(test, shadow->span->node.start, SOURCE + PAGES(2));
	KUNIT_EXPECT_EQ(test, shadow->span->node.last, SOURCE + PAGES(8) - 1);
	KUNIT_EXPECT_PTR_EQ(test, shadow->map.mem, a->mem);
	KUNIT_EXPECT_EQ(test, shadow->map.offset, PAGES(2));

	/* The first byte of each, the last one, and one between */
	tree_expect_piece(test, &shadow->map, FIRST, a, PAGES(2), PAGES(2));
	tree_expect_piece(test, &shadow->map, FIRST + PAGES(1), a, PAGES(3),
			  PAGES(1));
	tree_expect_piece(test, &shadow->map, FIRST + PAGES(2) - 1, a,
			  PAGES(4) - 1, 1);
	tree_expect_piece(test, &shadow->map, FIRST + PAGES(2), b, 0, PAGES(1));
	tree_expect_piece(test, &shadow->map, FIRST + PAGES(3) - 1, b,
			  PAGES(1) - 1, 1);
	tree_expect_piece(test, &shadow->map, FIRST + PAGES(3), c, PAGES(100),
			  PAGES(3));
	tree_expect_piece(test, &shadow->map, FIRST + PAGES(6) - 1, c,
			  PAGES(103) - 1, 1);
}

static void shadow_test_piece_before(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct mapping_piece piece;
	struct shadow *shadow;

	tree_map(test, priv->root, SOURCE, PAGES(4), READ_WRITE);
	tree_map(test, priv->root, SOURCE + PAGES(4), PAGES(4), READ_WRITE);
	shadow = tree_show(test, priv->child, FIRST, SOURCE + PAGES(1),
			   PAGES(6));
	/* Of the mapping, not of what it shows */
	shadow_piece_at(shadow, 0, &piece);
	KUNIT_EXPECT_EQ(test, piece.before, 0);
	shadow_piece_at(shadow, PAGES(2), &piece);
	KUNIT_EXPECT_EQ(test, piece.before, PAGES(2));
	shadow_piece_at(shadow, PAGES(3), &piece);
	KUNIT_EXPECT_EQ(test, piece.before, 0);
	shadow_piece_at(shadow, PAGES(6) - 1, &piece);
	KUNIT_EXPECT_EQ(test, piece.before, PAGES(3) - 1);
}

/* Many pieces, so that looking for one takes steps */
static void shadow_test_many_pieces(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct mapping *maps[37];
	struct shadow *shadow;
	unsigned long at = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		maps[i] = tree_map(test, priv->root, SOURCE + at,
				   PAGES(1 + i % 3), READ_WRITE);
		at += PAGES(1 + i % 3);
	}
	shadow = tree_show(test, priv->child, FIRST, SOURCE, at);
	KUNIT_EXPECT_EQ(test, shadow->span->num, ARRAY_SIZE(maps));
	for (i = 0, at = FIRST; i < ARRAY_SIZE(maps); i++) {
		unsigned long length = mapping_length(maps[i]);

		tree_expect_piece(test, &shadow->map, at, maps[i], 0, length);
		at += length;
		tree_expect_piece(test, &shadow->map, at - 1, maps[i],
				  length - 1, 1);
	}
}

/* Memory that goes on across two mappings is one piece, if it does go on. */
static void shadow_test_joined(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct shadow *shadow;
	struct mapping *map;

	map = tree_map(test, priv->root, SOURCE, PAGES(16), READ_WRITE);
	tree_show(test, priv->child, FIRST, SOURCE, PAGES(4));
	tree_show(test, priv->child, FIRST + PAGES(4), SOURCE + PAGES(4),
		  PAGES(4));
	/* A hole in the memory, then back, then the same once more */
	tree_show(test, priv->child, FIRST + PAGES(8), SOURCE + PAGES(9),
		  PAGES(1));
	tree_show(test, priv->child, FIRST + PAGES(9), SOURCE, PAGES(1));
	tree_show(test, priv->child, FIRST + PAGES(10), SOURCE, PAGES(1));

	shadow = tree_show(test, priv->grandchild, 0, FIRST + PAGES(1),
			   PAGES(6));
	KUNIT_EXPECT_EQ(test, shadow->span->num, 1);
	tree_expect_piece(test, &shadow->map, 0, map, PAGES(1), PAGES(6));
	tree_expect_piece(test, &shadow->map, PAGES(3), map, PAGES(4),
			  PAGES(3));
	tree_expect_piece(test, &shadow->map, PAGES(6) - 1, map, PAGES(7) - 1,
			  1);

	shadow = tree_show(test, priv->grandchild, SOURCE, FIRST, PAGES(11));
	KUNIT_EXPECT_EQ(test, shadow->span->num, 4);
	tree_expect_piece(test, &shadow->map, SOURCE, map, 0, PAGES(8));
	tree_expect_piece(test, &shadow->map, SOURCE + PAGES(8), map, PAGES(9),
			  PAGES(1));
	tree_expect_piece(test, &shadow->map, SOURCE + PAGES(9), map, 0,
			  PAGES(1));
	tree_expect_piece(test, &shadow->map, SOURCE + PAGES(10), map, 0,
			  PAGES(1));
}

/* Pages that random mappings of each level show, asked for step by step */
static void expect_same(struct kunit *test, struct test_tree *tree,
			unsigned int level, const struct shadow *shadow)
{
	unsigned long at;

	for (at = shadow->map.first; at < shadow->map.last; at += PAGE_SIZE) {
		const struct mapping *map = &shadow->map;
		struct mapping_piece piece, origin;
		unsigned long addr = at;
		unsigned int i = level;

		while (i) {
			addr = tree_source(to_shadow(map)) + (addr - map->first);
			map = mapping_find(&tree->ioas[--i].mappings, addr);
		}
		mapping_piece_at(map, addr, &origin);
		mapping_piece_at(&shadow->map, at, &piece);
		KUNIT_ASSERT_PTR_EQ(test, piece.mem, origin.mem);
		KUNIT_ASSERT_EQ(test, piece.offset, origin.offset);
	}
}

static void shadow_test_depth(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct test_tree *tree = priv->tree;
	const unsigned int size = 64;
	unsigned int level, at, num;
	struct shadow *shadow;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 815);
	for (at = 0; at < size; at += num) {
		num = min(1 + prandom_u32_state(&rnd) % 7, size - at);
		tree_map(test, priv->root, PAGES(at), PAGES(num), READ_WRITE);
	}
	for (level = 1; level < TREE_DEPTH; level++) {
		for (at = 0; at < size; at += num) {
			num = min(1 + prandom_u32_state(&rnd) % 20, size - at);
			shadow = tree_show(test, &tree->ioas[level], PAGES(at),
					   PAGES(prandom_u32_state(&rnd) %
						 (size - num + 1)),
					   PAGES(num));
			expect_same(test, tree, level, shadow);
		}
		KUNIT_EXPECT_EQ(test, tree->ioas[level - 1].num_shadows,
				tree->ioas[level].num_mappings);
	}
}

/* ---- what cannot be shown ---- */

/* Nothing comes of it. */
static void expect_refused(struct kunit *test, int want, struct ioasid *child,
			   unsigned long source, unsigned long length,
			   unsigned int prot)
{
	bool touched = tree_shown(child->parent, source, source + length - 1);
	unsigned long before = child->parent->num_shadows;
	struct shadow *shadow;

	KUNIT_EXPECT_EQ(test, want, tree_try_show(test, child, FIRST, source,
						  length, prot, &shadow));
	KUNIT_EXPECT_NULL(test, shadow);
	KUNIT_EXPECT_EQ(test, child->parent->num_shadows, before);
	KUNIT_EXPECT_EQ(test, touched, tree_shown(child->parent, source,
						  source + length - 1));
}

static void shadow_test_holes(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct ioasid *child = priv->child;

	expect_refused(test, -ENOENT, child, SOURCE, PAGES(1), IOMMU_READ);
	tree_map(test, priv->root, SOURCE, PAGES(4), READ_WRITE);
	tree_map(test, priv->root, SOURCE + PAGES(5), PAGES(4), READ_WRITE);
	/* At the beginning, in the middle, at the end; all of it */
	expect_refused(test, -ENOENT, child, SOURCE - PAGES(1), PAGES(2),
		       IOMMU_READ);
	expect_refused(test, -ENOENT, child, SOURCE, PAGES(6), IOMMU_READ);
	expect_refused(test, -ENOENT, child, SOURCE + PAGES(5), PAGES(5),
		       IOMMU_READ);
	expect_refused(test, -ENOENT, child, SOURCE + PAGES(4), PAGES(1),
		       IOMMU_READ);
	expect_refused(test, -ENOENT, child, SOURCE + PAGES(9), PAGES(1),
		       IOMMU_READ);
	expect_refused(test, -ENOENT, child, 0, SOURCE, IOMMU_READ);
}

static void shadow_test_permissions(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct shadow *shadow;

	tree_map(test, priv->root, SOURCE, PAGES(2), IOMMU_READ);
	tree_map(test, priv->root, SOURCE + PAGES(2), PAGES(2), READ_WRITE);
	tree_map(test, priv->root, SOURCE + PAGES(4), PAGES(2), IOMMU_WRITE);
	expect_refused(test, -EPERM, priv->child, SOURCE, PAGES(2), READ_WRITE);
	expect_refused(test, -EPERM, priv->child, SOURCE + PAGES(1), PAGES(2),
		       IOMMU_WRITE);
	expect_refused(test, -EPERM, priv->child, SOURCE + PAGES(2), PAGES(4),
		       IOMMU_READ);
	/* What lies at the lower address is said. */
	expect_refused(test, -EPERM, priv->child, SOURCE + PAGES(3), PAGES(4),
		       READ_WRITE);
	expect_refused(test, -ENOENT, priv->child, SOURCE - PAGES(1), PAGES(2),
		       IOMMU_WRITE);

	/* Nor can a child give what it has not got. */
	tree_show(test, priv->child, 0, SOURCE, PAGES(4));
	expect_refused(test, -EPERM, priv->grandchild, PAGES(2), PAGES(1),
		       READ_WRITE);
	KUNIT_ASSERT_EQ(test, tree_try_show(test, priv->child, FIRST,
					    SOURCE + PAGES(2), PAGES(4),
					    IOMMU_WRITE, &shadow), 0);
	expect_refused(test, -EPERM, priv->grandchild, FIRST, PAGES(1),
		       IOMMU_READ);
}

/* What is just being unmapped, by itself or by a REVOKE */
static void shadow_test_leaving(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct shadow *shadow;
	struct mapping *map;

	tree_map(test, priv->root, SOURCE, PAGES(2), READ_WRITE);
	map = tree_map(test, priv->root, SOURCE + PAGES(2), PAGES(2),
		       READ_WRITE);
	shadow = tree_show(test, priv->child, 0, SOURCE + PAGES(2), PAGES(2));
	map->state = MAPPING_LEAVING;
	expect_refused(test, -EBUSY, priv->child, SOURCE + PAGES(1), PAGES(2),
		       IOMMU_READ);
	map->state = MAPPING_LIVE;
	WRITE_ONCE(shadow->revoking, true);
	expect_refused(test, -EBUSY, priv->grandchild, 0, PAGES(1), IOMMU_READ);
	WRITE_ONCE(shadow->revoking, false);
	tree_show(test, priv->grandchild, 0, 0, PAGES(1));
}

static void shadow_test_device_memory(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct mapping *map;

	tree_map(test, priv->root, SOURCE, PAGES(2), READ_WRITE);
	map = tree_map(test, priv->root, SOURCE + PAGES(2), PAGES(2),
		       READ_WRITE);
	map->mem->source = PINNED_MEM_DMA_BUF;
	expect_refused(test, -EINVAL, priv->child, SOURCE, PAGES(3),
		       IOMMU_READ);
	expect_refused(test, -EINVAL, priv->child, SOURCE + PAGES(2), PAGES(1),
		       IOMMU_READ);
	tree_show(test, priv->child, FIRST, SOURCE, PAGES(2));
	map->mem->source = PINNED_MEM_USER;
}

/* Roots may map bytes; children show pages. */
static void shadow_test_unaligned(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	unsigned long half = PAGE_SIZE / 2;
	struct mapping *map;

	/* One that begins and one that ends inside of a page */
	tree_map(test, priv->root, SOURCE, PAGES(2) + half, READ_WRITE);
	map = tree_map(test, priv->root, SOURCE + PAGES(2) + half,
		       PAGES(2) - half, READ_WRITE);
	map->offset = half;
	expect_refused(test, -EINVAL, priv->child, SOURCE, PAGES(3),
		       IOMMU_READ);
	expect_refused(test, -EINVAL, priv->child, SOURCE + PAGES(2), PAGES(1),
		       IOMMU_READ);
	expect_refused(test, -EINVAL, priv->child, SOURCE, half, IOMMU_READ);
	/* Whole pages of them will do. */
	tree_show(test, priv->child, 0, SOURCE, PAGES(2));
	tree_show(test, priv->child, PAGES(2), SOURCE + PAGES(3), PAGES(1));

	/* One whose memory does not begin with a page */
	map = tree_map(test, priv->root, SOURCE + PAGES(8), PAGES(2),
		       READ_WRITE);
	map->offset = half;
	KUNIT_EXPECT_EQ(test, priv->root->num_shadows, 2);
	expect_refused(test, -EINVAL, priv->child, SOURCE + PAGES(8), PAGES(1),
		       IOMMU_READ);
}

/* A child that maps in larger pages needs such pieces. */
static void shadow_test_large_alignment(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct ioasid *child = priv->child;
	struct shadow *shadow;

	child->alignment = PAGES(4);
	tree_map(test, priv->root, SOURCE, PAGES(8), READ_WRITE);
	tree_map(test, priv->root, SOURCE + PAGES(8), PAGES(2), READ_WRITE);
	tree_map(test, priv->root, SOURCE + PAGES(10), PAGES(6), READ_WRITE);
	/* One piece that begins elsewhere, and one of several */
	expect_refused(test, -EINVAL, child, SOURCE + PAGES(2), PAGES(4),
		       IOMMU_READ);
	expect_refused(test, -EINVAL, child, SOURCE + PAGES(4), PAGES(8),
		       IOMMU_READ);
	expect_refused(test, -EINVAL, child, SOURCE + PAGES(8), PAGES(4),
		       IOMMU_READ);
	shadow = tree_show(test, child, FIRST, SOURCE + PAGES(4), PAGES(4));
	KUNIT_EXPECT_TRUE(test, shadow_is_aligned(shadow, PAGES(4)));
	KUNIT_EXPECT_FALSE(test, shadow_is_aligned(shadow, PAGES(8)));
	KUNIT_EXPECT_TRUE(test, mapping_is_aligned(&shadow->map, PAGES(4)));
}

/* ---- who finds them ---- */

static void shadow_test_touch(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct ioasid *root = priv->root;
	struct shadow *a, *b, *c;

	tree_map(test, root, SOURCE, PAGES(4), READ_WRITE);
	tree_map(test, root, SOURCE + PAGES(4), PAGES(4), READ_WRITE);
	tree_map(test, root, SOURCE + PAGES(8), PAGES(4), READ_WRITE);
	KUNIT_EXPECT_FALSE(test, tree_shown(root, 0, ULONG_MAX));

	/* A mapping is shown as a whole. */
	a = tree_show(test, priv->child, FIRST, SOURCE + PAGES(5), PAGES(2));
	b = tree_show(test, priv->child, 0, SOURCE + PAGES(5), PAGES(2));
	KUNIT_EXPECT_FALSE(test, tree_shown(root, 0, SOURCE + PAGES(4) - 1));
	KUNIT_EXPECT_TRUE(test, tree_shown(root, 0, SOURCE + PAGES(4)));
	KUNIT_EXPECT_TRUE(test, tree_shown(root, SOURCE + PAGES(8) - 1,
					   ULONG_MAX));
	KUNIT_EXPECT_FALSE(test, tree_shown(root, SOURCE + PAGES(8),
					    ULONG_MAX));
	/* By the parent's addresses, not by the child's */
	KUNIT_EXPECT_FALSE(test, tree_shown(root, FIRST, FIRST + PAGES(2) - 1));
	KUNIT_EXPECT_FALSE(test, tree_shown(priv->child, 0, ULONG_MAX));

	/* Pieces of two mappings, where they lie */
	c = tree_show(test, priv->child, PAGES(8), SOURCE + PAGES(7), PAGES(3));
	KUNIT_EXPECT_EQ(test, root->num_shadows, 3);
	tree_unmap(priv->child, &a->map);
	KUNIT_EXPECT_TRUE(test, tree_shown(root, SOURCE + PAGES(4),
					   SOURCE + PAGES(4)));
	tree_unmap(priv->child, &b->map);
	KUNIT_EXPECT_FALSE(test, tree_shown(root, 0, SOURCE + PAGES(7) - 1));
	KUNIT_EXPECT_TRUE(test, tree_shown(root, SOURCE + PAGES(7),
					   SOURCE + PAGES(7)));
	KUNIT_EXPECT_TRUE(test, tree_shown(root, SOURCE + PAGES(10) - 1,
					   SOURCE + PAGES(10)));
	KUNIT_EXPECT_FALSE(test, tree_shown(root, SOURCE + PAGES(10),
					    ULONG_MAX));
	KUNIT_EXPECT_EQ(test, root->num_shadows, 1);
	tree_unmap(priv->child, &c->map);
	KUNIT_EXPECT_FALSE(test, tree_shown(root, 0, ULONG_MAX));
}

/* One that leaves while a REVOKE is about to take it out is not on its list. */
static void shadow_test_leave(struct kunit *test)
{
	struct shadow_test *priv = test->priv;
	struct ioasid *child = priv->child;
	struct shadow *shadow;
	struct mapping *map;

	map = tree_map(test, priv->root, SOURCE, PAGES(2), READ_WRITE);
	shadow = tree_show(test, child, FIRST, SOURCE, PAGES(2));
	scoped_guard(mutex, &priv->root->tree_lock) {
		WRITE_ONCE(shadow->revoking, true);
		list_add_tail(&shadow->entry, &child->revoked);
		shadow_leave(shadow);
		KUNIT_EXPECT_TRUE(test, list_empty(&child->revoked));
		KUNIT_EXPECT_FALSE(test, shadow->revoking);
		KUNIT_EXPECT_EQ(test, priv->root->num_shadows, 0);
		KUNIT_EXPECT_TRUE(test, hlist_empty(&map->shadows));
		mapping_erase(&child->mappings, &shadow->map);
	}
	/* It can show something again. */
	mutex_lock(&child->lock);
	KUNIT_EXPECT_EQ(test, 0, shadow_enter(shadow, SOURCE, PAGES(2),
					      IOMMU_READ));
	mutex_unlock(&child->lock);
	KUNIT_EXPECT_TRUE(test, tree_shown(priv->root, SOURCE, SOURCE));
	scoped_guard(mutex, &priv->root->tree_lock)
		shadow_leave(shadow);
	shadow_free(shadow);
}

static struct kunit_case shadow_test_cases[] = {
	KUNIT_CASE(shadow_test_one_piece),
	KUNIT_CASE(shadow_test_pieces),
	KUNIT_CASE(shadow_test_piece_before),
	KUNIT_CASE(shadow_test_many_pieces),
	KUNIT_CASE(shadow_test_joined),
	KUNIT_CASE(shadow_test_depth),
	KUNIT_CASE(shadow_test_holes),
	KUNIT_CASE(shadow_test_permissions),
	KUNIT_CASE(shadow_test_leaving),
	KUNIT_CASE(shadow_test_device_memory),
	KUNIT_CASE(shadow_test_unaligned),
	KUNIT_CASE(shadow_test_large_alignment),
	KUNIT_CASE(shadow_test_touch),
	KUNIT_CASE(shadow_test_leave),
	{}
};

static struct kunit_suite shadow_test_suite = {
	.name = "ioasid_shadow",
	.init = shadow_test_init,
	.exit = shadow_test_exit,
	.test_cases = shadow_test_cases,
};

kunit_test_suite(shadow_test_suite);
