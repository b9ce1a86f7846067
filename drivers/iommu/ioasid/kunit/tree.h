/* SPDX-License-Identifier: GPL-2.0-only */
/* Address spaces one below the other, for tests: no tables, no devices. */
#ifndef IOASID_KUNIT_TREE_H
#define IOASID_KUNIT_TREE_H

#include <kunit/test.h>

#include "../ioasid_private.h"

#define PAGES(num)	((num) * PAGE_SIZE)

#define TREE_DEPTH 4

/**
 * struct test_tree - A root, its child, the child of that, and so on
 * @ioas: The address spaces, the root first
 */
struct test_tree {
	struct ioasid ioas[TREE_DEPTH];
};

struct test_tree *tree_init(struct kunit *test);
void tree_exit(struct test_tree *tree);
struct mapping *tree_map(struct kunit *test, struct ioasid *root,
			 unsigned long first, unsigned long length,
			 unsigned int prot);
int tree_try_show(struct kunit *test, struct ioasid *child,
		  unsigned long first, unsigned long source,
		  unsigned long length, unsigned int prot,
		  struct shadow **shadow);
struct shadow *tree_show(struct kunit *test, struct ioasid *child,
			 unsigned long first, unsigned long source,
			 unsigned long length);
unsigned long tree_source(const struct shadow *shadow);
bool tree_shown(struct ioasid *parent, unsigned long first, unsigned long last);
void tree_unmap(struct ioasid *ioas, struct mapping *map);
void tree_expect_piece(struct kunit *test, const struct mapping *map,
		       unsigned long addr, const struct mapping *source,
		       unsigned long offset, unsigned long length);

#endif
