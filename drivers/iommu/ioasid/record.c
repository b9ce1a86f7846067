// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory for many small records of a context.
 *
 * A mapping of a page is made and ended in fewer instructions than it takes to
 * allocate and free its record where each is charged to the caller by itself. So a
 * context takes 4 KiB at a time, charged to who needs it first, and gives
 * records out of that, which go back when all in them are free. What is free is
 * used again before more is taken. Processes that share a context share this, too:
 * what one was charged for can be used by another.
 *
 * Where KASAN or KMSAN looks for the use of memory that is freed or was not set, each
 * record lies by itself, so that they see each.
 */
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "ioasid_private.h"

#define RECORD_BLOCK_SIZE SZ_4K

/**
 * struct record - A record and where it lies
 * @block: Where it lies, NULL if it lies by itself
 * @next: As long as it is free: the next free one
 * @data: What the user has of it
 */
struct record {
	struct record_block *block __aligned(sizeof(u64));
	union {
		struct record *next;
		DECLARE_FLEX_ARRAY(u64, data);
	};
};

/**
 * struct record_block - Records that lie together
 * @entry: In the pool's blocks, if one is free
 * @pool: The pool
 * @free: The first that is free, or NULL
 * @used: How many are not
 */
struct record_block {
	struct list_head entry;
	struct record_pool *pool;
	struct record *free;
	unsigned int used;
} __aligned(sizeof(u64));

/**
 * record_pool_init - Prepare a pool
 * @pool: The pool
 * @size: Size of its records, in bytes
 */
void record_pool_init(struct record_pool *pool, size_t size)
{
	spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->blocks);
	pool->size = ALIGN(offsetof(struct record, data) + size, sizeof(u64));
	if (IS_ENABLED(CONFIG_KASAN) || IS_ENABLED(CONFIG_KMSAN))
		pool->per_block = 1;
	else
		pool->per_block = (RECORD_BLOCK_SIZE -
				   sizeof(struct record_block)) / pool->size;
}

/**
 * record_pool_end - Undo record_pool_init()
 * @pool: The pool; all records are free
 */
void record_pool_end(struct record_pool *pool)
{
	struct record_block *block, *next;

	list_for_each_entry_safe(block, next, &pool->blocks, entry) {
		WARN_ON(block->used);
		kfree(block);
	}
}

static struct record_block *block_alloc(struct record_pool *pool)
{
	unsigned int i = pool->per_block;
	struct record_block *block;
	struct record *record;

	block = kmalloc(sizeof(*block) + i * pool->size, GFP_KERNEL_ACCOUNT);
	if (!block)
		return NULL;
	block->pool = pool;
	block->free = NULL;
	block->used = 0;
	while (i--) {
		record = (void *)(block + 1) + i * pool->size;
		record->block = block;
		record->next = block->free;
		block->free = record;
	}
	return block;
}

static __always_inline void *take(struct record_pool *pool,
				  struct record_block *block)
{
	struct record *record = block->free;

	block->free = record->next;
	if (++block->used == pool->per_block)
		list_del(&block->entry);
	return record->data;
}

/* Others may have freed some meanwhile: then there is one block more. */
static noinline void *record_alloc_new(struct record_pool *pool)
{
	struct record_block *block = block_alloc(pool);

	if (!block)
		return NULL;
	guard(spinlock)(&pool->lock);
	list_add(&block->entry, &pool->blocks);
	return take(pool, block);
}

static noinline void *record_alloc_alone(size_t size)
{
	struct record *record = kmalloc(sizeof(*record) + size, GFP_KERNEL_ACCOUNT);

	if (!record)
		return NULL;
	record->block = NULL;
	return record->data;
}

/**
 * record_alloc - Get a record
 * @pool: The pool, or NULL if there is no context
 * @size: Size of the record, in bytes
 *
 * Context: May sleep.
 *
 * Return: The record, not initialized, for record_free(), or NULL.
 */
void *record_alloc(struct record_pool *pool, size_t size)
{
	struct record_block *block;
	void *data = NULL;

	if (!pool)
		return record_alloc_alone(size);
	spin_lock(&pool->lock);
	block = list_first_entry_or_null(&pool->blocks, struct record_block,
					 entry);
	if (likely(block))
		data = take(pool, block);
	spin_unlock(&pool->lock);
	return likely(data) ? data : record_alloc_new(pool);
}

/**
 * record_free - Free a record
 * @data: The record
 *
 * One block that is not used stays until the pool ends.
 */
void record_free(void *data)
{
	struct record *record = container_of(data, struct record, data);
	struct record_block *block = record->block;
	struct record_pool *pool;
	bool spare;

	if (!block) {
		kfree(record);
		return;
	}
	pool = block->pool;
	if (want_init_on_free())
		memset(data, 0, pool->size - offsetof(struct record, data));
	spin_lock(&pool->lock);
	record->next = block->free;
	block->free = record;
	if (block->used-- == pool->per_block)
		list_add(&block->entry, &pool->blocks);
	spare = !block->used &&
		(pool->per_block == 1 || !list_is_singular(&pool->blocks));
	if (spare)
		list_del(&block->entry);
	spin_unlock(&pool->lock);
	if (spare)
		kfree(block);
}
