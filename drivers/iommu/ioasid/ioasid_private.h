/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * I/O address space graphs behind /dev/iommu: the object model.
 *
 * A context (struct iommufd_ctx) is one open of /dev/iommu. It owns I/O address
 * spaces (struct ioasid), and devices and in-kernel accesses are bound to it.
 * An address space is a tree of mappings; each mapping is a slice of pinned
 * memory (struct pinned_mem), which knows how to pin its source and holds the
 * result as extents of physically contiguous pages. Below an address space
 * hang page tables in hardware format (struct iommufd_hw_pagetable), one for
 * each kind that its attached devices need; they are caches of the mappings
 * that can be dropped and made again at any time. Users can also ask for one,
 * and for tables that they fill themselves and that the IOMMU walks before it
 * walks one of the kernel's.
 *
 * An address space can have a parent: then its mappings show memory that the parent
 * maps, by the parent's addresses. Such a mapping (struct shadow) holds no
 * memory of its own. What it shows stays as long as the mapping does: UNMAP in
 * the parent is refused, or takes the shadows out first. All address spaces below
 * one root are a tree.
 *
 * The members of an IOMMU group share their fate: a slot (struct ioasid_slot)
 * says which address space the group's DMA with one PASID sees.
 *
 * Names: "first" and "last" are inclusive, "end" is exclusive. Addresses and
 * lengths are bytes unless a name says pages.
 *
 * Locks, outermost first:
 *
 *	ioasid.revoke_lock	of the root: one REVOKE at a time in a tree
 *	ioasid.unmap_lock	in-kernel accesses are called back under it. The
 *				parent's is held when a child's is taken.
 *	locks of their drivers
 *	iommufd_access.lock
 *	ioasid_group.lock
 *	ioasid.lock		two of them are never held together
 *	ioasid.tree_lock	of the root, for a short time
 *	iommu_group's mutex	of the IOMMU core
 *	iommufd_ctx.sw_msi_lock
 *
 * ioasid.lock is held as long as page tables change, which can take long. Who maps
 * in a child looks at the parent, which may be busy with that: so what a child
 * reads there (mappings and their state) changes under both locks and may be
 * read under either. No child ever waits for its parent's or sibling's page tables.
 *
 *	pinned_mem.lock		no lock of an address space or group is held
 *	mmap_lock
 *
 * On their own: iommufd_ctx.groups_lock, compat_lock. Below all: record_pool.lock.
 *
 * Memory is pinned and released, user memory is copied and in-kernel accesses
 * are called back with no ioasid.lock or ioasid_group.lock held. VFIO calls in
 * under its dev_set->lock, so no ioctl takes a VFIO lock, and none sleeps for
 * user memory while it holds a device. Attach, and an access that pins, do
 * sleep for user memory under the locks of their callers; a fatal signal ends
 * that. What drivers copy from user memory themselves they copy with page faults
 * off, see hwpt.c.
 */
#ifndef _IOASID_PRIVATE_H
#define _IOASID_PRIVATE_H

#include <linux/interval_tree.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/iova_bitmap.h>
#include <linux/list.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/iommu.h>

#include "backend/backend.h"
#include "fault_inject.h"

struct dma_buf_attachment;
struct ioasid_attach_handle;
struct ioasid_fault;
struct iopf_group;
struct phys_vec;
struct pinned_mem;
struct seq_file;

/* ------------------------------------------------------------------------- */
/* Ranges of addresses that may be mapped (range.c) */

struct iova_range {
	unsigned long first;
	unsigned long last;
};

/**
 * struct iova_ranges - Disjoint ranges in ascending order
 * @num: Ranges in use
 * @max: Room in @range
 * @range: The ranges
 */
struct iova_ranges {
	unsigned int num;
	unsigned int max;
	struct iova_range range[] __counted_by(max);
};

struct iova_ranges *iova_ranges_alloc(unsigned int max);
struct iova_ranges *iova_ranges_dup(const struct iova_ranges *ranges);
void iova_ranges_set(struct iova_ranges *ranges, unsigned long first,
		     unsigned long last);
void iova_ranges_cut(struct iova_ranges *ranges, unsigned long first,
		     unsigned long last);
bool iova_ranges_touch(const struct iova_ranges *ranges, unsigned long first,
		       unsigned long last);

/* Whether one range of the set holds all of [first, last] */
static inline bool iova_ranges_contain(const struct iova_ranges *ranges,
				       unsigned long first, unsigned long last)
{
	unsigned int i = ranges->num;

	while (i--)
		if (ranges->range[i].first <= first)
			return ranges->range[i].last >= last;
	return false;
}

/* ------------------------------------------------------------------------- */
/* Memory for small records (record.c) */

/**
 * struct record_pool - Where a context's records of one kind come from
 * @lock: Protects the blocks
 * @blocks: struct record_block, those with free records
 * @size: What a record takes, in bytes
 * @per_block: How many there are in a block
 */
struct record_pool {
	spinlock_t lock;
	struct list_head blocks;
	unsigned int size;
	unsigned int per_block;
};

void record_pool_init(struct record_pool *pool, size_t size);
void record_pool_end(struct record_pool *pool);
void *record_alloc(struct record_pool *pool, size_t size);
void record_free(void *data);

/* ------------------------------------------------------------------------- */
/* Pinned memory (pin.c) */

/* How the pages of an extent are held, and so how they must be let go. */
enum extent_kind {
	EXTENT_PINNED_PER_PAGE,
	EXTENT_PINNED_PER_FOLIO,
};

#define MEM_EXTENT_INDEX_BITS (BITS_PER_LONG - 1)

/**
 * struct mem_extent - Physically contiguous run of pages
 * @pfn: First page frame
 * @index: Index of that page in the memory, in pages
 * @kind: enum extent_kind
 *
 * A run ends where the next one starts, the last one at extents.num_pages.
 */
struct mem_extent {
	unsigned long pfn;
	unsigned long index : MEM_EXTENT_INDEX_BITS;
	unsigned long kind : 1;
};

/**
 * struct mem_extents - Page frames of a piece of memory, compressed
 * @num: Extents in use
 * @max: Room in @extent
 * @num_pages: Pages that all extents hold together
 * @extent: The extents, by ascending index. Points to @first until there is
 *          more than one.
 * @first: The only extent of most small memory
 */
struct mem_extents {
	unsigned int num;
	unsigned int max;
	unsigned long num_pages;
	struct mem_extent *extent;
	struct mem_extent first;
};

void mem_extents_init(struct mem_extents *extents);
int mem_extents_add(struct mem_extents *extents, unsigned long pfn,
		    unsigned long num_pages, enum extent_kind kind,
		    unsigned long left);
void mem_extents_fit(struct mem_extents *extents);
unsigned long count_page_run(struct page **pages, unsigned long num_pages);
unsigned int mem_extents_search(const struct mem_extents *extents,
				unsigned long index);
void mem_extents_clear(struct mem_extents *extents);

/* Index of the extent that holds a page; @index is less than num_pages. */
static inline unsigned int mem_extents_find(const struct mem_extents *extents,
					    unsigned long index)
{
	return extents->num == 1 ? 0 : mem_extents_search(extents, index);
}

/* Index of the first page behind an extent */
static inline unsigned long mem_extent_end(const struct mem_extents *extents,
					   unsigned int i)
{
	return i + 1 < extents->num ? extents->extent[i + 1].index :
				      extents->num_pages;
}

static inline unsigned long mem_extent_pages(const struct mem_extents *extents,
					     unsigned int i)
{
	return mem_extent_end(extents, i) - extents->extent[i].index;
}

enum pinned_mem_state {
	PINNED_MEM_REGISTERED,	/* the source is known, nothing is held */
	PINNED_MEM_PINNED,	/* charged, pinned, extents are valid */
};

enum pinned_mem_source {
	PINNED_MEM_USER,	/* virtual memory of a process */
	PINNED_MEM_FILE,	/* shmem or hugetlbfs file */
	PINNED_MEM_DMA_BUF,	/* memory of a device */
};

/* Whose limit what is pinned counts against. pinned_vm counts it in any case. */
enum pinned_mem_account {
	PINNED_MEM_ACCOUNT_MM,		/* the process's locked_vm */
	PINNED_MEM_ACCOUNT_USER,	/* the user's, as io_uring does it */
	PINNED_MEM_ACCOUNT_NONE,	/* nobody's */
};

/**
 * struct mem_owner - Who is charged for memory
 * @refs: References: one for each piece of memory, one of the context
 * @mm: Whose locked_vm and pinned_vm are charged; held by mmgrab()
 * @task: Whose RLIMIT_MEMLOCK counts: the registering thread group's leader
 * @cred: Of the registering task. The locked_vm of their user is charged with
 *        PINNED_MEM_ACCOUNT_USER
 * @may_exceed: They had CAP_IPC_LOCK
 * @rcu: Frees it
 *
 * Constant. The context keeps the last one: as long as the same process comes
 * with the same rights, its memory has the same owner.
 */
struct mem_owner {
	refcount_t refs;
	bool may_exceed;
	struct mm_struct *mm;
	struct task_struct *task;
	const struct cred *cred;
	struct rcu_head rcu;
};

/**
 * struct pinned_mem - A run of memory that can be pinned for DMA
 * @refs: References: one for each mapping, one more for that beside it
 * @num_pins: Users that need it pinned
 * @lock: Protects @state, the first and the last pin and changes of @extents.
 *        See pin.c; as a mutex, it is held over what sleeps
 * @source: enum pinned_mem_source
 * @account: enum pinned_mem_account
 * @state: enum pinned_mem_state
 * @writable: Devices may write
 * @has_mapping: A mapping lies beside it, see struct mem_with_mapping
 * @owner: Who is charged, a reference; its mm is the one that PINNED_MEM_USER
 *         lies in. It changes, under @lock, when another process takes over a
 *         file. NULL for PINNED_MEM_DMA_BUF
 * @file: The file of PINNED_MEM_FILE
 * @dma_buf: What there is to know of PINNED_MEM_DMA_BUF
 * @start: Page-aligned address, or index of the first page in the file
 * @num_pages: Size of the run
 * @extents: The pages. While the caller holds a pin they do not change and
 *           may be read without @lock.
 *
 * There is one for each page that is mapped by itself, so its size matters.
 */
struct pinned_mem {
	refcount_t refs;
	refcount_t num_pins;
	atomic_t lock;
	enum pinned_mem_source source : 4;
	enum pinned_mem_account account : 4;
	u8 state;
	bool writable;
	bool has_mapping;
	struct mem_owner *owner;
	union {
		struct file *file;
		struct pinned_dma_buf *dma_buf;
	};
	unsigned long start;
	unsigned long num_pages;
	struct mem_extents extents;
};

struct iommufd_ctx;

struct pinned_mem *pinned_mem_from_user(struct iommufd_ctx *ictx,
					unsigned long addr,
					unsigned long length, bool writable,
					enum pinned_mem_account account);
struct pinned_mem *pinned_mem_from_file(struct iommufd_ctx *ictx, int fd,
					unsigned long offset,
					unsigned long length, bool writable,
					enum pinned_mem_account account);
struct pinned_mem *pinned_mem_new(enum pinned_mem_source source,
				  unsigned long start, unsigned long num_pages,
				  bool writable);
int pinned_mem_take_over(struct iommufd_ctx *ictx, struct pinned_mem *mem,
			 struct mem_owner **old);
void pinned_mem_give_back(struct pinned_mem *mem, struct mem_owner *old);
void mem_owner_put(struct mem_owner *owner);
void mem_owner_forget(struct iommufd_ctx *ictx);
void pinned_mem_get(struct pinned_mem *mem);
void pinned_mem_put_many(struct pinned_mem *mem, unsigned int num);
int pinned_mem_pin(struct pinned_mem *mem);

/* Drops a reference. */
static inline void pinned_mem_put(struct pinned_mem *mem)
{
	pinned_mem_put_many(mem, 1);
}

void pinned_mem_pin_again(struct pinned_mem *mem);
void pinned_mem_unpin(struct pinned_mem *mem);

/* ------------------------------------------------------------------------- */
/* Memory of devices (dmabuf.c) */

struct mapping;
struct iommufd_hw_pagetable;

#ifdef CONFIG_DMA_SHARED_BUFFER
struct pinned_mem *pinned_mem_from_dma_buf(int fd, unsigned long offset,
					   unsigned long length, bool writable);
void pinned_mem_put_dma_buf(struct pinned_mem *mem);
int dma_buf_enter(struct iommufd_hw_pagetable *pt, const struct mapping *map);
void dma_buf_take_out(struct iommufd_hw_pagetable *pt,
		      const struct mapping *map);
#else
static inline struct pinned_mem *
pinned_mem_from_dma_buf(int fd, unsigned long offset, unsigned long length,
			bool writable)
{
	return ERR_PTR(-ENOTTY);
}

static inline void pinned_mem_put_dma_buf(struct pinned_mem *mem)
{
}

static inline int dma_buf_enter(struct iommufd_hw_pagetable *pt,
				const struct mapping *map)
{
	return -EOPNOTSUPP;
}

static inline void dma_buf_take_out(struct iommufd_hw_pagetable *pt,
				    const struct mapping *map)
{
}
#endif

/* ------------------------------------------------------------------------- */
/* Mappings (map.c) */

/*
 * A LEAVING mapping is about to be removed or replaced: it may wait for in-kernel
 * accesses to let go. It still translates, but takes no new ones, nor children's
 * mappings. So is one of several that are added together, until all are there.
 */
enum mapping_state {
	MAPPING_LIVE,
	MAPPING_LEAVING,
};

/**
 * struct mapping - A range of an address space and the memory that it shows
 * @node: In struct ioasid's mappings
 * @entry: In a list of mappings that have been taken out
 * @shadows: Mappings of children (struct shadow) that show some of it and of nothing
 *           else; under tree_lock
 * @first: First address
 * @last: Last address
 * @offset: Where the slice starts in @mem, in bytes
 * @mem: The memory; the mapping holds a reference. In a shadow, that of the first
 *       piece, without a reference
 * @prot: IOMMU_READ, IOMMU_WRITE, IOMMU_CACHE
 * @state: enum mapping_state
 * @pinned: The mapping holds a pin of @mem
 * @is_shadow: It is the map of a struct shadow
 * @beside_mem: It lies in a struct mem_with_mapping, not necessarily with @mem
 * @num_accesses: Pins that in-kernel accesses hold in the range
 * @dirty: What was written and not reported yet, if the address space may be
 *         tracked, else NULL
 *
 * What a child could look at changes under ioasid.lock and tree_lock, the rest
 * under ioasid.lock. @is_shadow and @prot are constant, @mem and @offset from the
 * time on when the mapping is in the tree.
 */
struct mapping {
	union {
		struct rb_node node;
		struct list_head entry;
	};
	struct hlist_head shadows;
	unsigned long first;
	unsigned long last;
	unsigned long offset;
	struct pinned_mem *mem;
	unsigned int prot;
	u8 state;
	bool pinned;
	bool is_shadow;
	bool beside_mem;
	unsigned int num_accesses;
	struct dirty_bits *dirty;
};

/* What has no other value at first */
static inline void mapping_init(struct mapping *map)
{
	INIT_HLIST_HEAD(&map->shadows);
	map->offset = 0;
	map->mem = NULL;
	map->state = MAPPING_LIVE;
	map->pinned = false;
	map->is_shadow = false;
	map->beside_mem = false;
	map->num_accesses = 0;
	map->dirty = NULL;
}

/**
 * struct mem_with_mapping - Memory, and room for a mapping that shows it
 * @mem: The memory
 * @map: The mapping, if @mem.has_mapping. It holds a reference to @mem for where
 *       it lies, whatever memory it shows.
 *
 * Most memory has one mapping, and most mappings have memory of their own. One
 * allocation costs half of two, and they make up much of what a small mapping
 * costs.
 */
struct mem_with_mapping {
	struct pinned_mem mem;
	struct mapping map;
};

static inline unsigned long mapping_length(const struct mapping *map)
{
	return map->last - map->first + 1;
}

/**
 * struct mapping_piece - Memory behind an address of a mapping
 * @mem: The memory
 * @offset: Where in @mem, in bytes
 * @length: How far it goes from there, in bytes
 * @before: How much of the piece lies before that
 */
struct mapping_piece {
	struct pinned_mem *mem;
	unsigned long offset;
	unsigned long length;
	unsigned long before;
};

/**
 * struct mapping_tree - Mappings by address
 * @root: struct mapping
 * @hint: The one that was added last, or NULL
 * @next: The one behind it, NULL if it is the last one. If @hint is NULL, one behind
 *        which has been taken out last, or NULL
 *
 * Many programs map and unmap in ascending order: then nothing needs to be searched.
 */
struct mapping_tree {
	struct rb_root root;
	struct mapping *hint;
	struct mapping *next;
};

#define MAPPING_TREE_INIT ((struct mapping_tree){ .root = RB_ROOT })

/**
 * struct mapping_place - Where a mapping belongs in a tree
 * @parent: The node above it
 * @link: The pointer to it
 * @next: The mapping behind it, or NULL
 */
struct mapping_place {
	struct rb_node *parent;
	struct rb_node **link;
	struct mapping *next;
};

struct mapping *mapping_alloc(struct pinned_mem *mem);
void mapping_release(struct mapping *map);
void mapping_put(struct mapping *map);
struct mapping *mapping_find(const struct mapping_tree *tree,
			     unsigned long first);
struct mapping *mapping_next(struct mapping *map);
int mapping_find_place(struct mapping_tree *tree, unsigned long first,
		       unsigned long last, struct mapping_place *place);
int mapping_insert(struct mapping_tree *tree, struct mapping *map);
struct mapping *mapping_erase(struct mapping_tree *tree, struct mapping *map);
int mapping_find_room(struct mapping_tree *tree, const struct iova_ranges *ranges,
		      unsigned long from, unsigned long length,
		      unsigned long align, unsigned long phase,
		      unsigned long *first);
struct mapping *mapping_split(struct mapping_tree *tree, struct mapping *map,
			      unsigned long at);
void mapping_rebase(struct mapping *map, struct pinned_mem *mem,
		    unsigned long offset, struct pinned_mem **old);
bool mapping_is_aligned(const struct mapping *map, unsigned long alignment);

/*
 * Puts a mapping, first and last set, where mapping_find_place() has found that it
 * belongs.
 */
static inline void mapping_link(struct mapping_tree *tree, struct mapping *map,
				const struct mapping_place *place)
{
	rb_link_node(&map->node, place->parent, place->link);
	rb_insert_color(&map->node, &tree->root);
	tree->hint = map;
	tree->next = place->next;
}

/* Iterates over the mappings that touch [from, to]. */
#define for_each_mapping(map, tree, from, to)                           \
	for ((map) = mapping_find(tree, from);                          \
	     (map) && (map)->first <= (to); (map) = mapping_next(map))

/* ------------------------------------------------------------------------- */
/* Mappings of children (shadow.c) */

/**
 * struct shadow_piece - Where a piece of a shadow starts, and its memory
 * @start: From the mapping's first address, in bytes
 * @mem: The memory
 * @offset: Where the piece starts in @mem, in bytes
 */
struct shadow_piece {
	unsigned long start;
	struct pinned_mem *mem;
	unsigned long offset;
};

/**
 * struct shadow_span - What a shadow has that shows more than one piece
 * @node: In the parent's spans, by the addresses there that it shows
 * @shadow: The shadow
 * @num: How many pieces
 * @piece: They, in ascending order
 */
struct shadow_span {
	struct interval_tree_node node;
	struct shadow *shadow;
	unsigned int num;
	struct shadow_piece piece[] __counted_by(num);
};

/**
 * struct shadow - A mapping of a child
 * @map: The mapping
 * @ioas: The child
 * @sibling: In the shadows of the parent's mapping that it shows, if it has no @span
 * @span: If it shows several mappings, or several pieces of one
 * @entry: In the child's revoked
 * @entered: The parent knows it
 * @revoking: A REVOKE is about to take it out: it takes no new accesses and
 *            shadows any more
 *
 * All but @map and @ioas is protected by the tree_lock.
 */
struct shadow {
	struct mapping map;
	struct ioasid *ioas;
	struct hlist_node sibling;
	struct shadow_span *span;
	struct list_head entry;
	bool entered;
	bool revoking;
};

static inline struct shadow *to_shadow(const struct mapping *map)
{
	return container_of(map, struct shadow, map);
}

struct shadow *shadow_alloc(struct ioasid *ioas);
void shadow_free(struct shadow *shadow);
int shadow_enter(struct shadow *shadow, unsigned long source,
		 unsigned long length, unsigned int prot);
void shadow_leave(struct shadow *shadow);
void shadow_piece_at(const struct shadow *shadow, unsigned long skip,
		     struct mapping_piece *piece);
bool shadow_is_aligned(const struct shadow *shadow, unsigned long alignment);

/* Iterates over the spans that show some of [from, to]. */
#define for_each_span(it, parent, from, to)                             \
	for ((it) = interval_tree_iter_first(&(parent)->spans, from, to); \
	     (it); (it) = interval_tree_iter_next(it, from, to))

/* Whether it takes no new accesses and no new mappings of children any more */
static inline bool mapping_is_leaving(const struct mapping *map)
{
	return map->state == MAPPING_LEAVING ||
	       (map->is_shadow && READ_ONCE(to_shadow(map)->revoking));
}

/* The memory behind an address of a mapping, up to the end of the piece */
static inline void mapping_piece_at(const struct mapping *map,
				    unsigned long addr,
				    struct mapping_piece *piece)
{
	unsigned long skip = addr - map->first;

	if (map->is_shadow && to_shadow(map)->span) {
		shadow_piece_at(to_shadow(map), skip, piece);
		return;
	}
	piece->mem = map->mem;
	piece->offset = map->offset + skip;
	piece->length = mapping_length(map) - skip;
	piece->before = skip;
}

/* ------------------------------------------------------------------------- */
/* Dirty tracking (dirty.c, dirty_table.c, iova_bitmap.c) */

struct ioasid;

/**
 * struct dirty_bits - A bit for each page of a mapping
 * @num_pages: Pages that @bits lies in
 * @bits: The bits
 * @pages: Those pages
 */
struct dirty_bits {
	unsigned long num_pages;
	unsigned long *bits;
	struct page *pages[] __counted_by(num_pages);
};

/**
 * struct dirty_report - A bitmap of the user that is to be filled
 * @first: First address
 * @last: Last address
 * @shift: A bit is for 1 << @shift bytes, which is at least a page and divides
 *         the range
 * @bitmap: Its u64 words; bit n % 64 of word n / 64 is for the n-th such part
 * @chunk: The kernel's copy of a part of it; dirty_report_begin() sets it
 */
struct dirty_report {
	unsigned long first;
	unsigned long last;
	unsigned int shift;
	u64 __user *bitmap;
	unsigned long *chunk;
};

/* Smallest page that a bit can be asked for; a limit of what a call needs */
#define DIRTY_LEAST_PAGE_SIZE 512

/**
 * struct dirty_window - What a range of bits stands for
 * @bits: The bits
 * @first: Address that the first one stands for
 * @length: Length of what all stand for, in bytes
 * @shift: Each stands for 1 << @shift bytes
 */
struct dirty_window {
	struct dirty_bits *bits;
	unsigned long first;
	unsigned long length;
	unsigned int shift;
};

/*
 * Memory of a device is not tracked: its exporter may take it out of a table
 * at any time, and nobody may look at its entries meanwhile.
 */
static inline bool may_be_dirty(const struct mapping *map)
{
	return map->mem->source != PINNED_MEM_DMA_BUF;
}

static inline struct dirty_window dirty_window_of(const struct mapping *map)
{
	return (struct dirty_window){
		.bits = map->dirty,
		.first = map->first,
		.length = mapping_length(map),
		.shift = PAGE_SHIFT,
	};
}

struct dirty_bits *dirty_bits_alloc(unsigned long length, unsigned int shift);
void dirty_bits_free(struct dirty_bits *bits);
int dirty_split(const struct mapping *head, struct mapping *tail);
void dirty_mark(struct mapping *map, unsigned long first, unsigned long last);
void dirty_collect(const struct mapping *map, unsigned long first,
		   unsigned long last, unsigned int shift,
		   unsigned long *window);
void dirty_forget(struct mapping *map, unsigned long first, unsigned long last,
		  unsigned int shift, const unsigned long *window);
int dirty_start(struct ioasid *ioas);
int dirty_stop(struct ioasid *ioas);
int dirty_get(struct ioasid *ioas, struct dirty_report *report, bool clear);
int dirty_report_begin(struct dirty_report *report);
int dirty_report_gone(const struct dirty_report *report,
		      const struct list_head *gone);
void dirty_report_end(struct dirty_report *report);
void dirty_extent_bounds(const struct mapping *map, unsigned long addr,
			 unsigned long *first, unsigned long *last);
int dirty_track_table(struct iommufd_hw_pagetable *pt, bool on);
int dirty_read_table(struct iommufd_hw_pagetable *pt,
		     const struct dirty_report *report, bool clear);
int ioasid_fill_bits(const struct dirty_window *window, iova_bitmap_fn_t fn,
		     void *opaque);

/* ------------------------------------------------------------------------- */
/* Contexts and objects (main.c, object.c) */

#define IOASID_NUM_FEW 16

/**
 * struct iommufd_ctx - One open of /dev/iommu
 * @file: The open file. References to the context are references to it.
 * @objects: Identifiers: IOASIDs, devices, accesses
 * @few: What the smallest identifiers find, without a walk of @objects
 * @mems: struct mem_with_mapping
 * @shadows: struct shadow
 * @num_objects: How many identifiers are taken
 * @num_bound: Bound devices and accesses
 * @object_wait: Where the end of an object waits for calls that still use it
 * @groups_lock: Protects @groups and ioasid_group.refs
 * @groups: struct ioasid_group by number of the IOMMU group
 * @sw_msi_lock: Protects @sw_msi_list, @num_sw_msi and the bitmaps
 * @sw_msi_list: MSI doorbell pages that have an IOVA
 * @num_sw_msi: How many those are
 * @compat_lock: Protects @compat_ioas, @compat_made and @no_iommu
 * @compat_ioas: The address space of devices that come through a VFIO group, or
 *               NULL
 * @compat_made: It was made for them, and the context uses it
 * @account_mm: What iommufd's calls pin counts against the process, not the user
 * @event_lock: Protects @events and ioasid.num_devices
 * @events: Where events go, or NULL
 * @no_iommu: VFIO has put a no-IOMMU device into the context
 * @mmaps: Ranges of device memory that drivers of vIOMMUs offer for mmap()
 * @owner: Who has registered memory last, or NULL; a reference
 */
struct iommufd_ctx {
	struct file *file;
	struct xarray objects;
	struct iommufd_object __rcu *few[IOASID_NUM_FEW];
	struct record_pool mems;
	struct record_pool shadows;
	atomic_t num_objects;
	atomic_t num_bound;
	wait_queue_head_t object_wait;

	struct mutex groups_lock;
	struct xarray groups;

	struct mutex sw_msi_lock;
	struct list_head sw_msi_list;
	unsigned int num_sw_msi;

	struct mutex compat_lock;
	struct ioasid *compat_ioas;
	bool compat_made;
	bool no_iommu;

	bool account_mm;

	spinlock_t event_lock;
	struct ioasid_events *events;

	struct maple_tree mmaps;

	struct mem_owner __rcu *owner;
};

int ioasid_object_init(struct iommufd_ctx *ictx, struct iommufd_object *obj,
		       enum iommufd_object_type type);
void ioasid_object_abort(struct iommufd_ctx *ictx, struct iommufd_object *obj);
void ioasid_object_publish(struct iommufd_ctx *ictx,
			   struct iommufd_object *obj);
struct iommufd_object *ioasid_object_get(struct iommufd_ctx *ictx, u32 id,
					 enum iommufd_object_type type);
bool ioasid_object_tryget(struct iommufd_object *obj);
void ioasid_object_put(struct iommufd_ctx *ictx, struct iommufd_object *obj);
int ioasid_object_retire(struct iommufd_ctx *ictx, struct iommufd_object *obj);
void ioasid_object_remove(struct iommufd_ctx *ictx, struct iommufd_object *obj);
bool ioasid_object_bury(struct iommufd_ctx *ictx, struct iommufd_object *obj);
void ioasid_object_destroy(struct iommufd_object *obj);
bool ioasid_object_user_owned(enum iommufd_object_type type);

/**
 * struct ioasid_ucmd - An ioctl under way
 * @ictx: The context
 * @ubuffer: The user's structure
 * @user_size: Its size
 * @cmd: The kernel's copy of the structure, as long as the kernel's version
 * @new_obj: An object that the call has made. It is published when the results
 *           have been copied to the user, and destroyed if that fails.
 */
struct ioasid_ucmd {
	struct iommufd_ctx *ictx;
	void __user *ubuffer;
	u32 user_size;
	void *cmd;
	struct iommufd_object *new_obj;
};

#define IOASID_ALWAYS_OUTPUT U32_MAX

/* Room for the structure of any ioctl */
#define IOASID_CMD_MAX 112

/**
 * struct ioasid_ioctl - What the dispatcher knows about an ioctl
 * @size: Size of its structure
 * @min_size: Size of the first version of the structure
 * @flags: Flags that it knows
 * @output_flags: Flags with which it has results, IOASID_ALWAYS_OUTPUT if it
 *                has always
 * @result: Where the only result is, if that is a u64 of the first version, in bytes
 *          from the start; 0 if the whole structure is returned
 * @execute: Does it. No lock is held. Return: 0 or a negative errno.
 */
struct ioasid_ioctl {
	unsigned int size;
	unsigned int min_size;
	u32 flags;
	u32 output_flags;
	unsigned int result;
	int (*execute)(struct ioasid_ucmd *ucmd);
};

/* Copies the first @size bytes of the kernel's structure back to the user. */
static inline int ioasid_respond(const struct ioasid_ucmd *ucmd, size_t size)
{
	return copy_to_user(ucmd->ubuffer, ucmd->cmd,
			    min_t(size_t, ucmd->user_size, size)) ?
		       -EFAULT : 0;
}

const struct ioasid_ioctl *ioasid_native_ioctl(unsigned int cmd);
const struct ioasid_ioctl *ioasid_iommufd_ioctl(unsigned int cmd);
int ioasid_type1_ioctl(struct iommufd_ctx *ictx, unsigned int cmd,
		       unsigned long arg);
void ioasid_set_compat(struct iommufd_ctx *ictx, struct ioasid *ioas);
void ioasid_leave_compat(struct ioasid *ioas);

/* ------------------------------------------------------------------------- */
/* I/O address spaces (ioas.c) */

/**
 * struct ioasid - An I/O address space
 * @obj: Its identifier. users counts attachments, by device or access, and
 *       children, above 1.
 * @rcu: Frees it
 * @ictx: The context that it belongs to
 * @type: enum iommu_ioasid_type
 * @ops: What that allows, a bit for each enum iommu_ioasid_op
 * @snoop: enum iommu_snoop_policy
 * @addr_width: As asked for at allocation, in bits, 0 if not
 * @dirty: May be tracked: mappings have bits, tables are of that kind
 * @auto_pasid: Tables that are made for attachments can be used with PASIDs
 * @exact: @permitted is what the user has asked for and does not change
 * @depth: 0 for a root
 * @last: Last address that @addr_width allows
 * @page_size: What mappings must be aligned to at least and at most, 0 if the user
 *             has not said
 * @parent: Whose addresses its mappings are mapped in, NULL for a root. It, and
 *          so all above it, is used by this
 * @root: What there is above, or itself
 * @revoke_lock: Of a root: held by the one REVOKE in the tree. No IOASID that has
 *               a parent ends meanwhile
 * @tree_lock: Of a root: see the top
 * @unmap_lock: Held by the one UNMAP that may be waiting for accesses
 * @lock: Protects everything below
 * @mappings: struct mapping
 * @num_mappings: How many
 * @mapped_bytes: Sum of their lengths
 * @pinned_bytes: Sum of the lengths of those that hold a pin
 * @next_first: Where the search for a free range starts
 * @alignment: What addresses and lengths must be multiples of. The native
 *             interface wants pages besides.
 * @num_pinners: Attachments of devices, done or about to be, page tables that the
 *               user has asked for, and children that have such: as long as there
 *               is one, every mapping is pinned
 * @num_devices: Attachments of devices that are done; under ictx->event_lock
 * @tables: struct iommufd_hw_pagetable
 * @num_tables: How many
 * @single_pages: Page tables hold nothing larger than PAGE_SIZE, so that mappings
 *                can be cut
 * @reserved: struct reserved_range
 * @num_reserved: How many
 * @allowed: What devices may not take away from @permitted, and where addresses
 *           are chosen; NULL if the user has not said
 * @permitted: What may be mapped: @last and all tables reach it, and it is not
 *             reserved
 * @windows: struct ioasid_window, by addresses; if there are any, nothing is
 *           permitted outside
 * @num_windows: How many
 * @window_page: Smallest of their pages, 0 as long as the user has asked for none
 * @accesses: struct iommufd_access
 * @num_accesses: How many
 * @num_page_users: How many of these want mappings that are aligned to pages
 * @num_access_ends: Counts pins of accesses that have ended
 * @access_wait: Where an UNMAP waits for that
 * @tracking: What is written is noted
 * @pins: What in-kernel accesses have pinned, if @dirty
 * @holds_root: It counts as a pinner of its root
 * @num_children: IOASIDs with this parent; under tree_lock
 * @spans: Those of their mappings that show several pieces (struct shadow_span), by
 *         addresses here; under tree_lock
 * @num_shadows: How many mappings they have; under tree_lock
 * @revoked: Mappings (struct shadow) that a REVOKE is about to take out; under
 *           tree_lock
 * @revoke_entry: In the list of what that REVOKE changes; under revoke_lock
 *
 * @tracking and the counters may be read without @lock for show.
 */
struct ioasid {
	struct iommufd_object obj;
	struct rcu_head rcu;
	struct iommufd_ctx *ictx;
	enum iommu_ioasid_type type;
	enum iommu_snoop_policy snoop;
	u64 ops;
	unsigned int addr_width;
	bool dirty;
	bool auto_pasid;
	bool exact;
	u8 depth;
	unsigned long last;
	unsigned long page_size;
	struct ioasid *parent;
	struct ioasid *root;

	struct mutex revoke_lock;
	struct mutex tree_lock;
	struct mutex unmap_lock;
	struct mutex lock;
	struct mapping_tree mappings;
	unsigned long num_mappings;
	u64 mapped_bytes;
	u64 pinned_bytes;
	unsigned long next_first;
	unsigned long alignment;
	unsigned int num_pinners;
	unsigned int num_devices;
	struct list_head tables;
	unsigned int num_tables;
	bool single_pages;
	struct list_head reserved;
	unsigned int num_reserved;
	struct iova_ranges *permitted;
	struct iova_ranges *allowed;
	struct list_head windows;
	unsigned int num_windows;
	unsigned long window_page;
	struct list_head accesses;
	unsigned int num_accesses;
	unsigned int num_page_users;
	unsigned int num_access_ends;
	wait_queue_head_t access_wait;
	bool tracking;
	struct rb_root_cached pins;
	bool holds_root;

	unsigned int num_children;
	struct rb_root_cached spans;
	unsigned long num_shadows;
	struct list_head revoked;
	struct list_head revoke_entry;
};

static inline struct ioasid *to_ioasid(struct iommufd_object *obj)
{
	return container_of(obj, struct ioasid, obj);
}

/**
 * struct ioasid_params - What an address space shall be
 * @type: Its type
 * @parent: Its parent, which the caller keeps meanwhile, or NULL
 * @snoop: Its snoop policy
 * @addr_width: Bits of its largest address, 0 for all
 * @dirty: It may be tracked what is written
 * @page_size: What mappings are aligned to, 0 if the devices shall decide
 * @ranges: What may be mapped, NULL if the devices shall decide; taken over on
 *          success
 */
struct ioasid_params {
	enum iommu_ioasid_type type;
	struct ioasid *parent;
	enum iommu_snoop_policy snoop;
	unsigned int addr_width;
	bool dirty;
	unsigned long page_size;
	struct iova_ranges *ranges;
};

/**
 * struct ioasid_map - What MAP needs to know of a mapping
 * @first: First address; an output if @alloc
 * @length: In bytes, not 0
 * @mem: The memory, NULL if @offset is an address of the parent
 * @offset: Where it starts in @mem, in bytes
 * @phase: What the source's address or offset is, for a chosen @first that
 *         allows large pages
 * @align: For a chosen @first: preferred alignment, a power of two
 * @least_align: For a chosen @first: what will do
 * @prot: IOMMU_READ, IOMMU_WRITE
 * @alloc: Choose @first
 * @replace: Take the place of what lies inside of the range, where it cannot be
 *           tracked what is written
 * @hold: Leave it in MAPPING_LEAVING: there will be more before it may be used
 * @pinned: A pin of @mem is held for it
 * @map: The mapping that is being made
 * @replaced: Mappings that were replaced, if @replace
 */
struct ioasid_map {
	unsigned long first;
	unsigned long length;
	struct pinned_mem *mem;
	unsigned long offset;
	unsigned long phase;
	unsigned long align;
	unsigned long least_align;
	unsigned int prot;
	bool alloc;
	bool replace;
	bool hold;
	bool pinned;
	struct mapping *map;
	struct list_head replaced;
};

u64 ioasid_type_ops(u32 type);

/* Whether an address space allows an operation */
static inline bool ioasid_may(const struct ioasid *ioas, enum iommu_ioasid_op op)
{
	return ioas->ops & BIT_ULL(op);
}

struct ioasid *ioasid_alloc(struct iommufd_ctx *ictx,
			    const struct ioasid_params *params);
void ioasid_destroy(struct ioasid *ioas);
int ioasid_set_single_pages(struct ioasid *ioas, bool on);
int ioasid_set_allowed(struct ioasid *ioas, struct iova_ranges *allowed);
int ioasid_check_alignment(struct ioasid *ioas, unsigned long alignment);
void ioasid_update_alignment(struct ioasid *ioas);
bool reserved_bounds(const struct iommu_resv_region *region,
		     unsigned long *first, unsigned long *last);
int ioasid_reserve(struct ioasid *ioas, struct iommufd_device *idev);
void ioasid_unreserve(struct ioasid *ioas, struct iommufd_device *idev);
int ioasid_update_permitted(struct ioasid *ioas);
struct iova_ranges *ioasid_ranges_without_windows(const struct ioasid *ioas);
void ioasid_widen_permitted(struct ioasid *ioas);

/* window.c */

/**
 * struct ioasid_window - A part of an address space that may be mapped
 * @entry: In ioasid.windows
 * @first: First address
 * @last: Last address
 * @page_size: What mappings in it are aligned to
 * @levels: Of its table in hardware at most, 0 if the backend shall decide
 * @automatic: It came with a device; else the user has asked for it
 * @kept: A page table has had it
 */
struct ioasid_window {
	struct list_head entry;
	unsigned long first;
	unsigned long last;
	unsigned long page_size;
	unsigned int levels;
	bool automatic;
	bool kept;
};

/**
 * struct ioasid_window_limits - What windows a device can have
 * @num: How many, 0 if they only say what the user wants to map
 * @levels: How many levels their tables can have
 * @page_sizes: What their pages can be, a bit each
 */
struct ioasid_window_limits {
	unsigned int num;
	unsigned int levels;
	u64 page_sizes;
};

bool ioasid_window_holds(const struct ioasid *ioas, unsigned long first,
			 unsigned long last, unsigned long offset);
int ioasid_check_windows(const struct ioasid *ioas);
void ioasid_cut_windows(const struct ioasid *ioas, struct iova_ranges *ranges);
int ioasid_choose_in_windows(struct ioasid *ioas,
			     const struct iova_ranges *ranges,
			     struct ioasid_map *args, unsigned long align);
int ioasid_default_window(struct ioasid *ioas, unsigned long first,
			  unsigned long last, unsigned long page_size);
void ioasid_keep_windows(struct ioasid *ioas);
void ioasid_end_default_windows(struct ioasid *ioas);
bool ioasid_needs_windows(const struct ioasid *ioas);
void ioasid_free_windows(struct ioasid *ioas);
int ioasid_window_create(struct ioasid *ioas, struct ioasid_window *args,
			 bool fixed);
int ioasid_window_remove(struct ioasid *ioas, unsigned long first);

/* ioas_pin.c */

/**
 * ioasid_keeps_pins - Whether all mappings hold pins
 * @ioas: The address space
 *
 * Context: ioas->lock is held, or the caller looks again later.
 *
 * Return: Whether they do.
 */
static inline bool ioasid_keeps_pins(const struct ioasid *ioas)
{
	return ioas->type == IOMMU_IOASID_TYPE_PREREG ||
	       (READ_ONCE(ioas->num_pinners) && !ioas->parent);
}

void mark_pinned(struct ioasid *ioas, struct mapping *map);
int ioasid_pinners_get(struct ioasid *ioas, unsigned int num);
void ioasid_pinners_put(struct ioasid *ioas, unsigned int num);
int ioasid_pin_mapping(struct ioasid *ioas, struct mapping *map);
void ioasid_unpin_idle(struct ioasid *ioas);

/* ioas_map.c */

int ioasid_map(struct ioasid *ioas, struct ioasid_map *args);
int ioasid_map_prepare(struct ioasid *ioas, struct ioasid_map *args);
int ioasid_map_pin(struct ioasid_map *args);
int ioasid_map_locked(struct ioasid *ioas, struct ioasid_map *args);
void ioasid_map_settle(struct ioasid_map *args, int rc);
int ioasid_choose_range(struct ioasid *ioas, struct ioasid_map *args);
int ioasid_cut(struct ioasid *ioas, unsigned long last);

/**
 * ioasid_map_finish - Undo ioasid_map_prepare(), but what has become of it
 * @args: What ioasid_map_locked() has mapped, or not
 * @rc: What that said, 0 if the mapping is there
 *
 * Context: No lock is held; may sleep.
 */
static inline void ioasid_map_finish(struct ioasid_map *args, int rc)
{
	if (unlikely(rc || args->pinned || args->replace))
		ioasid_map_settle(args, rc);
}

/* ioas_copy.c */

/**
 * struct ioasid_parts - Memory that lies behind a range
 * @part: For each piece of it: mem, a reference, offset and length
 * @num: How many
 */
struct ioasid_parts {
	struct ioasid_map *part;
	unsigned int num;
};

int ioasid_get_parts(struct ioasid *ioas, unsigned long first,
		     unsigned long length, struct ioasid_parts *parts);
void ioasid_put_parts(struct ioasid_parts *parts);
int ioasid_map_parts(struct ioasid *ioas, struct ioasid_map *args,
		     struct ioasid_parts *parts);

/* ioas_unmap.c */

/**
 * struct ioasid_removal - Mappings that are being taken out
 * @ioas: The address space
 * @keep_dirty: Save what page tables know about them
 * @bytes: Sum of their lengths
 * @first: First address of what is pending
 * @last: Last address of what is pending
 * @pending_bytes: Sum of the lengths of what is pending. If it fills the range,
 *                 there are no holes
 * @one_by_one: Page tables must be told of each one
 * @pending: Taken out of the tree, and still in page tables and the parent's shadows
 * @gone: Taken out of everything, IOMMUs' caches included
 */
struct ioasid_removal {
	struct ioasid *ioas;
	bool keep_dirty;
	u64 bytes;
	unsigned long first;
	unsigned long last;
	unsigned long pending_bytes;
	bool one_by_one;
	struct list_head pending;
	struct list_head gone;
};

/* Nothing is pending. */
static inline void ioasid_removal_reset(struct ioasid_removal *removal)
{
	removal->first = ULONG_MAX;
	removal->last = 0;
	removal->pending_bytes = 0;
	removal->one_by_one = removal->keep_dirty;
}

/* Begins to take mappings out of an address space. */
static inline void ioasid_removal_begin(struct ioasid_removal *removal,
					struct ioasid *ioas, bool keep_dirty)
{
	removal->ioas = ioas;
	removal->keep_dirty = keep_dirty;
	removal->bytes = 0;
	INIT_LIST_HEAD(&removal->pending);
	INIT_LIST_HEAD(&removal->gone);
	ioasid_removal_reset(removal);
}

/* Keeps the counters when a mapping is added or taken out; under ioas->lock. */
static inline void ioasid_count_mapping(struct ioasid *ioas,
					const struct mapping *map, bool added)
{
	u64 length = mapping_length(map);

	if (!added)
		length = -length;
	WRITE_ONCE(ioas->num_mappings, ioas->num_mappings + (added ? 1 : -1));
	WRITE_ONCE(ioas->mapped_bytes, ioas->mapped_bytes + length);
	if (map->pinned)
		WRITE_ONCE(ioas->pinned_bytes, ioas->pinned_bytes + length);
}

/*
 * Whether children show some of a range as a piece among others. Those that show a
 * single piece are in the lists of the mappings there. Under the tree_lock.
 */
static inline bool spans_touch(struct ioasid *parent, unsigned long first,
			       unsigned long last)
{
	lockdep_assert_held(&parent->root->tree_lock);
	return unlikely(!RB_EMPTY_ROOT(&parent->spans.rb_root)) &&
	       interval_tree_iter_first(&parent->spans, first, last);
}

int ioasid_unmap(struct ioasid *ioas, unsigned long first, unsigned long last,
		 struct dirty_report *report, bool revoke, u64 *unmapped);
void ioasid_removal_add(struct ioasid_removal *removal, struct mapping *map);
int ioasid_removal_range(struct ioasid_removal *removal, unsigned long first,
			 unsigned long last);
int ioasid_removal_accessed(struct ioasid_removal *removal,
			    unsigned long first, unsigned long last);
void ioasid_removal_flush(struct ioasid_removal *removal);
void ioasid_free_mappings(struct list_head *gone);
void ioasid_mapping_free(struct mapping *map);
void ioasid_set_range_state(struct ioasid *ioas, unsigned long first,
			    unsigned long last, enum mapping_state state);
int ioasid_release_accesses(struct ioasid *ioas, unsigned long first,
			    unsigned long last);
void ioasid_revoke_access(struct ioasid *ioas, struct iommufd_access *access);

/* revoke.c */

int ioasid_revoke(struct ioasid *parent, unsigned long first,
		  unsigned long last);

/* batch.c */

/**
 * struct ioasid_batch_entry - A map or an unmap among many
 * @unmap: It is an unmap of args.first and args.length
 * @pin_rc: Why it could not be pinned
 * @args: What to map
 */
struct ioasid_batch_entry {
	bool unmap;
	int pin_rc;
	struct ioasid_map args;
};

int ioasid_batch(struct ioasid *ioas, struct ioasid_batch_entry *entry,
		 unsigned int num, unsigned int *done, u64 *unmapped);

static inline struct ioasid *ioasid_get(struct iommufd_ctx *ictx, u32 id)
{
	struct iommufd_object *obj =
		ioasid_object_get(ictx, id, IOMMUFD_OBJ_IOAS);

	return IS_ERR(obj) ? ERR_CAST(obj) : to_ioasid(obj);
}

/* Ends what ioasid_get() began. */
static inline void ioasid_put(struct ioasid *ioas)
{
	ioasid_object_put(ioas->ictx, &ioas->obj);
}

/* ------------------------------------------------------------------------- */
/* Page tables (pgtable.c) */

#define IOASID_MAX_SW_MSI 64

/* Largest entry of a page table that tells what is written, in bytes */
#define PGTABLE_LARGEST_DIRTY BIT(30)

struct ioasid_sw_msi_bitmap {
	DECLARE_BITMAP(bits, IOASID_MAX_SW_MSI);
};

/**
 * struct iommufd_hw_pagetable - A page table below an address space
 * @obj: Its identifier. users counts, above 1, slots that use it and objects that
 *       are built on it; under the lock of the address space
 * @rcu: Frees it
 * @ictx: The context
 * @entry: In ioasid.tables
 * @ioas: The address space. That of @parent if it is nested
 * @domain: The IOMMU driver's view of it
 * @parent: The page table that translates its output again, if it is nested: the
 *          user fills it, and it holds no mappings
 * @viommu: What it was made by, or NULL. @viommu or else @parent is used by it
 * @fault: Who is told of page faults, or NULL; used by it
 * @iommu_dev: The IOMMU instance that it was made for; others may share it
 * @backend: Who gives it to devices
 * @windows: It has nothing but windows, see struct ioasid_backend
 * @own_map: Its backend enters what is mapped, and iommu_map() must not
 * @overwrites: See there
 * @ended: It has no windows any more, and what was entered is lost. Who attaches
 *         another table in its place may set it at any time, until then
 *         ->attach() and ->replace() know for sure
 * @ops: Key: the driver
 * @pasid: Key: made to be usable with PASIDs, if the driver can
 * @coherent: Key: DMA is made to snoop
 * @automatic: It was made for an attachment, and goes with the last one. Others
 *             the user has asked for, and ends
 * @nest_parent: Nested tables may be built on it
 * @dirty: Its driver can tell what is written
 * @filled: It holds all mappings
 * @lost_first: What was written from here
 * @lost_last: to here is not known any more, if that is not less: all of it may be
 * @num_losses: Counts when that became more
 * @charged: Pages that its memory is charged for as locked memory; the backend's
 * @gather: Pending invalidations
 * @sw_msi: MSI pages that are mapped, by sw_msi_page.id; under sw_msi_lock.
 *          They stay as long as the table.
 * @sw_msi_start: Where the window with them starts, if there are any
 *
 * Protected by the lock of the address space. What says whom it belongs to and
 * what kind it is does not change.
 */
struct iommufd_hw_pagetable {
	struct iommufd_object obj;
	struct rcu_head rcu;
	struct iommufd_ctx *ictx;
	struct list_head entry;
	struct ioasid *ioas;
	struct iommu_domain *domain;
	struct iommufd_hw_pagetable *parent;
	struct iommufd_viommu *viommu;
	struct ioasid_fault *fault;
	struct iommu_device *iommu_dev;
	const struct ioasid_backend *backend;
	bool windows;
	bool own_map;
	bool overwrites;
	bool ended;
	const struct iommu_ops *ops;
	bool pasid;
	bool coherent;
	bool automatic;
	bool nest_parent;
	bool dirty;
	bool filled;
	unsigned long lost_first;
	unsigned long lost_last;
	unsigned int num_losses;
	unsigned long charged;
	struct iommu_iotlb_gather gather;
	struct ioasid_sw_msi_bitmap sw_msi;
	phys_addr_t sw_msi_start;
};

static inline struct iommufd_hw_pagetable *to_hwpt(struct iommufd_object *obj)
{
	return container_of(obj, struct iommufd_hw_pagetable, obj);
}

/* hwpt.c */

struct iommufd_hw_pagetable *ioasid_get_hwpt(struct iommufd_ctx *ictx, u32 id);
void ioasid_hwpt_destroy(struct iommufd_hw_pagetable *pt);
int ioasid_hwpt_alloc(struct ioasid_ucmd *ucmd);
int ioasid_hwpt_invalidate(struct ioasid_ucmd *ucmd);
int ioasid_hwpt_set_dirty(struct ioasid_ucmd *ucmd);
int ioasid_hwpt_get_dirty(struct ioasid_ucmd *ucmd);
int ioasid_get_hw_info(struct ioasid_ucmd *ucmd);

struct iommu_domain *pgtable_alloc_domain(struct iommufd_device *idev,
					  bool pasid, bool dirty);
struct iommufd_hw_pagetable *pgtable_new(struct iommufd_device *idev,
					 struct iommu_domain *domain,
					 enum iommufd_object_type type);
void pgtable_free(struct iommufd_hw_pagetable *pt);
int pgtable_add(struct iommufd_hw_pagetable *pt, struct ioasid *ioas,
		struct iommufd_device *idev);
void pgtable_remove(struct iommufd_hw_pagetable *pt);
struct iommufd_hw_pagetable *pgtable_create(struct ioasid *ioas,
					    struct iommufd_device *idev);
void pgtable_abort(struct iommufd_hw_pagetable *pt);
void pgtable_get(struct iommufd_hw_pagetable *pt);
bool pgtable_put(struct iommufd_hw_pagetable *pt);
void pgtable_dispose(struct iommufd_hw_pagetable *pt);
int pgtable_fill(struct iommufd_hw_pagetable *pt);
int pgtable_check_fill(struct iommufd_hw_pagetable *pt);
int pgtable_map(struct iommufd_hw_pagetable *pt, const struct mapping *map);
void pgtable_restore(struct iommufd_hw_pagetable *pt,
		     const struct mapping *map);
void pgtable_unmap(struct iommufd_hw_pagetable *pt, const struct mapping *map);
void pgtable_unmap_range(struct iommufd_hw_pagetable *pt, unsigned long first,
			 unsigned long last);
void pgtable_sync(struct iommufd_hw_pagetable *pt);
int ioasid_map_nosync(struct iommu_domain *domain, unsigned long iova,
		      phys_addr_t phys, size_t size, int prot, gfp_t gfp);
int ioasid_sync_map(struct iommu_domain *domain, unsigned long iova,
		    size_t size);

/**
 * struct mem_charge - Locked memory that a table counts as
 * @work: Gives it back
 * @mm: Who is charged, by mmgrab()
 * @pages: For how much
 */
struct mem_charge {
	struct work_struct work;
	struct mm_struct *mm;
	unsigned long pages;
};

void mem_uncharge_later(struct mem_charge *charge);
bool pgtable_track(struct iommufd_hw_pagetable *pt, bool on);
int pgtable_clear_dirty(struct iommufd_hw_pagetable *pt);
int pgtable_read_dirty(struct iommufd_hw_pagetable *pt,
		       const struct dirty_window *window, unsigned long first,
		       unsigned long last, bool clear);
void pgtable_keep_dirty(struct iommufd_hw_pagetable *pt, struct mapping *map);
int pgtable_check_device(const struct ioasid *ioas,
			 const struct iommufd_device *idev);
bool pgtable_fits(const struct iommufd_hw_pagetable *pt,
		  const struct iommufd_device *idev);
bool pgtable_suits(const struct iommufd_hw_pagetable *pt,
		   const struct iommufd_device *idev);

/* ------------------------------------------------------------------------- */
/* Devices and groups (device.c, attach.c) */

/**
 * struct iommufd_device - A bound device
 * @obj: Its identifier
 * @rcu: Frees it
 * @ictx: The context; a reference is held
 * @dev: The device, valid as long as it is bound
 * @group: Its group; a reference is held
 * @backend: Who gives it page tables
 * @can_enforce: Its IOMMU can make all its DMA snoop
 * @cookie: What the user calls it
 * @vdev: The vDEVICE that stands for it in a vIOMMU, or NULL; under group->lock
 * @leaving: It is being unbound: no vDEVICE any more; under group->lock
 */
struct iommufd_device {
	struct iommufd_object obj;
	struct rcu_head rcu;
	struct iommufd_ctx *ictx;
	struct device *dev;
	struct ioasid_group *group;
	const struct ioasid_backend *backend;
	bool can_enforce;
	u64 cookie;
	struct iommufd_vdevice *vdev;
	bool leaving;
};

/**
 * struct ioasid_slot - The address space of a group's DMA with one PASID
 * @ioas: The address space
 * @pt: The page table
 * @handle: What the IOMMU core knows the attachment by
 * @devices: Attached struct iommufd_device by identifier
 * @num_devices: How many
 */
struct ioasid_slot {
	struct ioasid *ioas;
	struct iommufd_hw_pagetable *pt;
	struct ioasid_attach_handle *handle;
	struct xarray devices;
	unsigned int num_devices;
};

/**
 * struct ioasid_group - An IOMMU group with a bound device
 * @refs: Devices that are bound or being bound; under ictx->groups_lock
 * @num_owned: Devices with which the context owns the group's DMA
 * @ictx: The context
 * @group: The IOMMU core's group; a reference is held
 * @lock: Protects @slots and attachment
 * @slots: struct ioasid_slot by PASID
 * @sw_msi_start: Where the MSI window of the group's devices starts, or
 *                PHYS_ADDR_MAX if the kernel need not map their MSI pages
 * @sw_msi_pages: Size of the window in pages
 * @sw_msi: MSI pages that the devices need, by sw_msi_page.id; under
 *          ictx->sw_msi_lock
 */
struct ioasid_group {
	unsigned int refs;
	atomic_t num_owned;
	struct iommufd_ctx *ictx;
	struct iommu_group *group;
	struct mutex lock;
	struct xarray slots;
	phys_addr_t sw_msi_start;
	unsigned long sw_msi_pages;
	struct ioasid_sw_msi_bitmap sw_msi;
};

/*
 * What the IOMMU core keeps for an attachment; it leads back to the group. @dev_id
 * is a device of the slot, for who is told of faults.
 */
struct ioasid_attach_handle {
	struct iommu_attach_handle handle;
	struct ioasid_group *group;
	u32 dev_id;
};

static inline struct iommufd_device *to_idev(struct iommufd_object *obj)
{
	return container_of(obj, struct iommufd_device, obj);
}

struct iommufd_device *ioasid_get_device(struct iommufd_ctx *ictx, u32 id);
int ioasid_device_members(struct iommufd_device *idev,
			  struct iommu_group_member **members,
			  unsigned int *num, bool *viable);

/**
 * struct sw_msi_page - An MSI doorbell page that devices reach by an IOVA
 * @entry: In iommufd_ctx.sw_msi_list
 * @sw_msi_start: Start of the window that the IOVA lies in
 * @msi_addr: Physical address of the page
 * @pgoff: Index of the page in the window
 * @id: Its bit in the bitmaps
 */
struct sw_msi_page {
	struct list_head entry;
	phys_addr_t sw_msi_start;
	phys_addr_t msi_addr;
	unsigned int pgoff;
	unsigned int id;
};

#ifdef CONFIG_IRQ_MSI_IOMMU
int ioasid_sw_msi_install(struct iommufd_hw_pagetable *pt,
			  const struct sw_msi_page *page);
#endif

/* ------------------------------------------------------------------------- */
/* In-kernel accesses (access.c) */

/**
 * struct iommufd_access - An in-kernel user of an address space
 * @obj: Its identifier
 * @rcu: Frees it
 * @ictx: The context; a reference is held
 * @ops: Of the user
 * @data: Of the user
 * @entry: In ioasid.accesses
 * @lock: Held from the look at @ioas to the end of a pin or transfer
 * @ioas: The address space for new pins, NULL if not attached
 * @ioas_unpin: The address space that pins belong to. Differs from @ioas only
 *              while the user is called to let go at the end of an attachment,
 *              and does not change while there are pins.
 * @num_pins: Ranges that the user has pinned; under the lock of @ioas_unpin
 * @locks: It is internal: what it has pinned cannot be unmapped
 * @first: First address of the only range that it pins then
 * @last: Last address of that
 */
struct iommufd_access {
	struct iommufd_object obj;
	struct rcu_head rcu;
	struct iommufd_ctx *ictx;
	const struct iommufd_access_ops *ops;
	void *data;
	struct list_head entry;
	struct mutex lock;
	struct ioasid *ioas;
	struct ioasid *ioas_unpin;
	unsigned int num_pins;
	bool locks;
	unsigned long first;
	unsigned long last;
};

void ioasid_access_unmap(struct iommufd_access *access, unsigned long first,
			 unsigned long last);
void ioasid_access_notify(struct ioasid *ioas, unsigned long first,
			  unsigned long last);
bool access_locks(const struct ioasid *ioas, unsigned long first,
		  unsigned long last);

/**
 * ioasid_access_locked - Whether some of a range must not be unmapped
 * @ioas: The address space
 * @first: First address
 * @last: Last address
 *
 * Context: ioas->lock is held.
 *
 * Return: Whether an internal access has some of it pinned.
 */
static inline bool ioasid_access_locked(const struct ioasid *ioas,
					unsigned long first, unsigned long last)
{
	lockdep_assert_held(&ioas->lock);
	return !list_empty(&ioas->accesses) && access_locks(ioas, first, last);
}

struct iommufd_access *ioasid_access_create_internal(struct ioasid *ioas);
void ioasid_access_destroy_internal(struct iommufd_access *access);

/* ------------------------------------------------------------------------- */
/* Faults and events (eventq.c) */

int ioasid_fault_queue_alloc(struct ioasid_ucmd *ucmd);
int ioasid_fault_handler(struct iopf_group *group);
void ioasid_fault_flush(struct iommufd_hw_pagetable *pt,
			const struct ioasid_attach_handle *handle,
			const struct device *dev);
struct ioasid_fault *ioasid_fault_get(struct iommufd_ctx *ictx, u32 id);
struct iommufd_object *ioasid_fault_object(struct ioasid_fault *fault);
void ioasid_fault_destroy(struct iommufd_object *obj);
int ioasid_veventq_alloc(struct ioasid_ucmd *ucmd);
void ioasid_veventq_destroy(struct iommufd_object *obj);
void ioasid_eventqs_orphan(struct iommufd_ctx *ictx);

/* ------------------------------------------------------------------------- */
/* Events of address spaces (event.c) */

int ioasid_event_fd(struct ioasid_ucmd *ucmd);
void ioasid_count_devices(struct ioasid *ioas, int num);
void ioasid_revoked_event(struct ioasid *ioas, const struct mapping *map);
void ioasid_window_lost_event(struct ioasid *ioas, unsigned long first,
			      unsigned long last);
void ioasid_events_orphan(struct iommufd_ctx *ictx);

/* ------------------------------------------------------------------------- */
/* vIOMMUs (viommu.c) */

int ioasid_viommu_alloc(struct ioasid_ucmd *ucmd);
void ioasid_viommu_destroy(struct iommufd_object *obj);
int ioasid_vdevice_alloc(struct ioasid_ucmd *ucmd);
void ioasid_vdevice_destroy(struct iommufd_object *obj);
int ioasid_hw_queue_alloc(struct ioasid_ucmd *ucmd);
void ioasid_hw_queue_destroy(struct iommufd_object *obj);
void ioasid_device_leave_viommu(struct iommufd_device *idev);
int ioasid_mmap(struct iommufd_ctx *ictx, struct vm_area_struct *vma);

/* The table that a vIOMMU's nested tables are built on. For drivers it has a
 * name only.
 */
static inline struct iommufd_hw_pagetable *
viommu_table(const struct iommufd_viommu *viommu)
{
	return (struct iommufd_hw_pagetable *)viommu->hwpt;
}

/* ------------------------------------------------------------------------- */
/* The kernel's selftests (test/mock*.c) */

#ifdef CONFIG_IOMMUFD_TEST
int ioasid_mock_ioctl(struct ioasid_ucmd *ucmd);
void ioasid_mock_destroy(struct iommufd_object *obj);
bool ioasid_mock_device(struct device *dev);
int ioasid_mock_dma_buf_map(struct dma_buf_attachment *attachment,
			    struct phys_vec *phys);
size_t ioasid_mock_memory_limit(void);
int ioasid_mock_init(void);
void ioasid_mock_exit(void);
#else
static inline bool ioasid_mock_device(struct device *dev)
{
	return false;
}

static inline int ioasid_mock_init(void)
{
	return 0;
}

static inline void ioasid_mock_exit(void)
{
}
#endif

/* For them: an address range that no device reserves but a test does */
int ioasid_reserve_for_test(struct ioasid *ioas, unsigned long first,
			    unsigned long last);

/* ------------------------------------------------------------------------- */
/* Module parameters (main.c), show (fdinfo.c) */

struct device *ioasid_device(void);

extern unsigned int ioasid_dma_entry_limit;
extern unsigned int ioasid_max_objects;

/*
 * What speaks against more mappings, besides those that are there: -ENOSPC, -EINVAL,
 * or 0. Under ioas->lock.
 */
static inline int ioasid_check_room(const struct ioasid *ioas,
				    unsigned long first, unsigned long last,
				    long more)
{
	if (ioas->num_mappings + more > READ_ONCE(ioasid_dma_entry_limit))
		return -ENOSPC;
	return iova_ranges_contain(ioas->permitted, first, last) ? 0 : -EINVAL;
}

void ioasid_show_fdinfo(struct seq_file *seq, struct iommufd_ctx *ictx);

#endif
