// SPDX-License-Identifier: GPL-2.0-only
/* What tests of nested address spaces share. */
#include <linux/slab.h>

#include "tree.h"

/* First addresses in the parent, in pages, by struct shadow */
static DEFINE_XARRAY(sources);

/**
 * tree_source - Tell what a mapping shows
 * @shadow: A mapping of tree_show() or tree_try_show()
 *
 * Return: Its first address in the parent.
 */
unsigned long tree_source(const struct shadow *shadow)
{
	return xa_to_value(xa_load(&sources, (unsigned long)shadow)) <<
	       PAGE_SHIFT;
}

static void init_ioas(struct ioasid *ioas, struct ioasid *parent)
{
	ioas->parent = parent;
	ioas->root = parent ? parent->root : ioas;
	ioas->depth = parent ? parent->depth + 1 : 0;
	ioas->alignment = parent ? PAGE_SIZE : 1;
	ioas->mappings = MAPPING_TREE_INIT;
	ioas->spans = RB_ROOT_CACHED;
	mutex_init(&ioas->revoke_lock);
	mutex_init(&ioas->tree_lock);
	mutex_init(&ioas->unmap_lock);
	lockdep_set_subclass(&ioas->unmap_lock, ioas->depth);
	mutex_init(&ioas->lock);
	INIT_LIST_HEAD(&ioas->tables);
	INIT_LIST_HEAD(&ioas->accesses);
	INIT_LIST_HEAD(&ioas->revoked);
	INIT_LIST_HEAD(&ioas->revoke_entry);
	init_waitqueue_head(&ioas->access_wait);
}

/**
 * tree_init - Make a tree
 * @test: The test
 *
 * Return: The tree, for tree_exit(). Its memory goes with the test.
 */
struct test_tree *tree_init(struct kunit *test)
{
	struct test_tree *tree = kunit_kzalloc(test, sizeof(*tree), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, tree);
	for (i = 0; i < TREE_DEPTH; i++)
		init_ioas(&tree->ioas[i], i ? &tree->ioas[i - 1] : NULL);
	return tree;
}

/**
 * tree_exit - Undo tree_init(), with all mappings
 * @tree: The tree
 */
void tree_exit(struct test_tree *tree)
{
	struct mapping *map;
	unsigned int i = TREE_DEPTH;

	while (i--) {
		struct ioasid *ioas = &tree->ioas[i];

		while ((map = mapping_find(&ioas->mappings, 0)))
			tree_unmap(ioas, map);
		mutex_destroy(&ioas->lock);
		mutex_destroy(&ioas->unmap_lock);
		mutex_destroy(&ioas->tree_lock);
		mutex_destroy(&ioas->revoke_lock);
	}
}

/**
 * tree_map - Put a mapping into a root
 * @test: The test
 * @root: The root
 * @first: First address
 * @length: In bytes
 * @prot: IOMMU_READ, IOMMU_WRITE
 *
 * Return: The mapping. It has memory of its own, which nobody has pinned and which
 * stays as long as the test.
 */
struct mapping *tree_map(struct kunit *test, struct ioasid *root,
			 unsigned long first, unsigned long length,
			 unsigned int prot)
{
	struct pinned_mem *mem = kunit_kzalloc(test, sizeof(*mem), GFP_KERNEL);
	struct mapping *map;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	/* One is the test's. */
	refcount_set(&mem->refs, 2);
	mem->source = PINNED_MEM_USER;
	map = mapping_alloc(NULL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	map->first = first;
	map->last = first + length - 1;
	map->mem = mem;
	map->prot = prot;
	map->state = MAPPING_LIVE;
	guard(mutex)(&root->lock);
	guard(mutex)(&root->tree_lock);
	KUNIT_EXPECT_EQ(test, mapping_insert(&root->mappings, map), 0);
	ioasid_count_mapping(root, map, true);
	return map;
}

/**
 * tree_try_show - Let a child map some of its parent, if that can be
 * @test: The test
 * @child: The child
 * @first: First address
 * @source: First address in the parent
 * @length: In bytes
 * @prot: IOMMU_READ, IOMMU_WRITE
 * @shadow: Output: the mapping, or NULL
 *
 * Return: What shadow_enter() says.
 */
int tree_try_show(struct kunit *test, struct ioasid *child,
		  unsigned long first, unsigned long source,
		  unsigned long length, unsigned int prot,
		  struct shadow **shadow)
{
	struct shadow *new = shadow_alloc(child);
	int rc;

	KUNIT_ASSERT_NOT_NULL(test, new);
	new->map.first = first;
	new->map.last = first + length - 1;
	new->map.prot = prot;
	new->map.state = MAPPING_LIVE;
	guard(mutex)(&child->lock);
	rc = shadow_enter(new, source, length, prot);
	*shadow = rc ? NULL : new;
	if (rc) {
		shadow_free(new);
		return rc;
	}
	KUNIT_ASSERT_FALSE(test,
			   xa_is_err(xa_store(&sources, (unsigned long)new,
					      xa_mk_value(source >> PAGE_SHIFT),
					      GFP_KERNEL)));
	guard(mutex)(&child->root->tree_lock);
	KUNIT_EXPECT_EQ(test, mapping_insert(&child->mappings, &new->map), 0);
	ioasid_count_mapping(child, &new->map, true);
	return 0;
}

/**
 * tree_show - Let a child map some of its parent, to be read
 * @test: The test, which ends if it cannot be
 * @child: The child
 * @first: First address
 * @source: First address in the parent
 * @length: In bytes
 *
 * Return: The mapping.
 */
struct shadow *tree_show(struct kunit *test, struct ioasid *child,
			 unsigned long first, unsigned long source,
			 unsigned long length)
{
	struct shadow *shadow;

	KUNIT_ASSERT_EQ(test, tree_try_show(test, child, first, source, length,
					    IOMMU_READ, &shadow), 0);
	return shadow;
}

/**
 * tree_unmap - Take a mapping out of an address space, and free it
 * @ioas: The address space
 * @map: The mapping
 */
void tree_unmap(struct ioasid *ioas, struct mapping *map)
{
	scoped_guard(mutex, &ioas->lock) {
		guard(mutex)(&ioas->root->tree_lock);
		mapping_erase(&ioas->mappings, map);
		ioasid_count_mapping(ioas, map, false);
		if (map->is_shadow)
			shadow_leave(to_shadow(map));
	}
	xa_erase(&sources, (unsigned long)to_shadow(map));
	ioasid_mapping_free(map);
}

/**
 * tree_shown - Tell whether children show some of a range
 * @parent: The address space
 * @first: First address
 * @last: Last address
 *
 * Return: Whether a child shows a mapping that lies there, or pieces there.
 */
bool tree_shown(struct ioasid *parent, unsigned long first, unsigned long last)
{
	struct mapping *map;

	guard(mutex)(&parent->root->tree_lock);
	for_each_mapping(map, &parent->mappings, first, last)
		if (!hlist_empty(&map->shadows))
			return true;
	return spans_touch(parent, first, last);
}

/**
 * tree_expect_piece - Hold what is behind an address against what must be
 * @test: The test
 * @map: A mapping
 * @addr: An address in it
 * @source: The mapping of the root that the memory there must be of
 * @offset: Where in its memory
 * @length: How far the piece must go
 */
void tree_expect_piece(struct kunit *test, const struct mapping *map,
		       unsigned long addr, const struct mapping *source,
		       unsigned long offset, unsigned long length)
{
	struct mapping_piece piece;

	mapping_piece_at(map, addr, &piece);
	KUNIT_EXPECT_PTR_EQ(test, piece.mem, source->mem);
	KUNIT_EXPECT_EQ(test, piece.offset, offset);
	KUNIT_EXPECT_EQ(test, piece.length, length);
}
