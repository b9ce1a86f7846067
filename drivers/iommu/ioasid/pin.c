// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinned memory: sources of memory, their accounting, and extents.
 *
 * Memory is registered first: the source is checked and referenced, nothing
 * is held. Its first pin charges the whole length, takes a long-term pin of
 * every page and writes the page frames down as extents, so that nobody needs
 * to ask a page table for them later. The last unpin lets go.
 *
 * Process memory is pinned page by page, whatever folios the pages belong to: a
 * folio says nothing about what else of it the process maps. Pages of hugetlb
 * are the exception, because a process maps them as a whole or not at all: they
 * are pinned by folio, as files are. The kind of an extent says how it was
 * pinned; extents of different kinds never merge, because their pin counts
 * differ.
 *
 * pinned_mem.lock is held while pages are faulted in. The caller holds no lock
 * of an address space or a group.
 */
#include <linux/cred.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/folio_batch.h>
#include <linux/hugetlb.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/user.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/unroll.h>
#include <linux/vmalloc.h>
#include <linux/wait_bit.h>

#include "ioasid_private.h"

/* Process memory is pinned in chunks of this many pages. */
#define PIN_CHUNK_PAGES (PAGE_SIZE / sizeof(struct page *))
/* Up to this many pages need no buffer from the allocator. */
#define PIN_STACK_PAGES 16
/*
 * Files are pinned in chunks of this many folios. The page cache is looked up by
 * batches, and what a chunk does not take of its last one is looked up again.
 */
#define PIN_CHUNK_FOLIOS (16 * FOLIO_BATCH_SIZE)
/* Whether pages follow each other is found out for so many at once. */
#define RUN_STEP 16

/* ---- the lock ---- */

/*
 * As a mutex, but a mutex would be a quarter of what is kept of memory that may
 * be a single page.
 */
enum mem_lock_state {
	MEM_UNLOCKED,
	MEM_LOCKED,
	MEM_AWAITED,	/* locked, and somebody may be waiting */
};

#ifdef CONFIG_LOCKDEP
static struct lock_class_key mem_lock_key;
static struct lockdep_map mem_lock_map =
	STATIC_LOCKDEP_MAP_INIT("pinned_mem.lock", &mem_lock_key);
#endif

static bool trylock_mem(struct pinned_mem *mem)
{
	int old = MEM_UNLOCKED;

	return atomic_try_cmpxchg_acquire(&mem->lock, &old, MEM_LOCKED);
}

/* Who has waited does not know whether others still do. */
static bool trylock_mem_awaited(struct pinned_mem *mem)
{
	return atomic_xchg(&mem->lock, MEM_AWAITED) == MEM_UNLOCKED;
}

static noinline void await_mem(struct pinned_mem *mem)
{
	wait_var_event(&mem->lock, trylock_mem_awaited(mem));
}

static noinline int await_mem_killable(struct pinned_mem *mem)
{
	int rc = wait_var_event_killable(&mem->lock, trylock_mem_awaited(mem));

	if (rc)
		lock_map_release(&mem_lock_map);
	return rc ? -EINTR : 0;
}

static void lock_mem(struct pinned_mem *mem)
{
	lock_map_acquire(&mem_lock_map);
	if (unlikely(!trylock_mem(mem)))
		await_mem(mem);
}

static int lock_mem_killable(struct pinned_mem *mem)
{
	if (ioasid_should_fail())
		return -EINTR;
	lock_map_acquire(&mem_lock_map);
	if (unlikely(!trylock_mem(mem)))
		return await_mem_killable(mem);
	return 0;
}

static void unlock_mem(struct pinned_mem *mem)
{
	lock_map_release(&mem_lock_map);
	if (unlikely(atomic_xchg(&mem->lock, MEM_UNLOCKED) == MEM_AWAITED))
		wake_up_var(&mem->lock);
}

/* ---- extents ---- */

/**
 * mem_extents_init - Make an empty list of extents
 * @extents: The list
 */
void mem_extents_init(struct mem_extents *extents)
{
	extents->num = 0;
	extents->max = 1;
	extents->num_pages = 0;
	extents->extent = &extents->first;
}

static void mem_extents_set(struct mem_extents *extents, unsigned long pfn,
			    unsigned long num_pages, enum extent_kind kind)
{
	extents->num = 1;
	extents->num_pages = num_pages;
	extents->first = (struct mem_extent){ .pfn = pfn, .kind = kind };
}

/* @most: There will never be more extents than this. */
static int mem_extents_grow(struct mem_extents *extents, unsigned long most)
{
	bool embedded = extents->extent == &extents->first;
	unsigned long max = embedded ? 16 : 2UL * extents->max;
	struct mem_extent *extent;

	max = min3(max, most, (unsigned long)UINT_MAX);
	if (max == extents->max)
		return -ENOMEM;
	/* The allocator tries again where it fails once. */
	if (ioasid_should_fail())
		return -ENOMEM;
	extent = kvrealloc(embedded ? NULL : extents->extent,
			   array_size(max, sizeof(*extent)),
			   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!extent)
		return -ENOMEM;
	if (embedded)
		*extent = extents->first;
	extents->extent = extent;
	extents->max = max;
	return 0;
}

/* As mem_extents_add(), for pages that do not follow the last ones in memory */
static int mem_extents_append(struct mem_extents *extents, unsigned long pfn,
			      unsigned long num_pages, enum extent_kind kind,
			      unsigned long left)
{
	int rc;

	if (unlikely(extents->num == extents->max)) {
		rc = mem_extents_grow(extents, extents->num + left);
		if (rc)
			return rc;
	}
	extents->extent[extents->num++] = (struct mem_extent){
		.pfn = pfn,
		.index = extents->num_pages,
		.kind = kind,
	};
	extents->num_pages += num_pages;
	return 0;
}

/**
 * mem_extents_add - Append pages
 * @extents: The list
 * @pfn: First page frame
 * @num_pages: How many contiguous pages, not 0
 * @kind: How they are pinned
 * @left: How many pages at most will be appended from now on, with these
 *
 * Return: 0, or -ENOMEM with nothing appended.
 */
int mem_extents_add(struct mem_extents *extents, unsigned long pfn,
		    unsigned long num_pages, enum extent_kind kind,
		    unsigned long left)
{
	const struct mem_extent *extent;

	if (extents->num) {
		extent = &extents->extent[extents->num - 1];
		if (extent->kind == kind &&
		    extent->pfn + (extents->num_pages - extent->index) == pfn) {
			extents->num_pages += num_pages;
			return 0;
		}
	}
	return mem_extents_append(extents, pfn, num_pages, kind, left);
}

/* What the allocator has given for the extents, in bytes */
static size_t mem_extents_room(const struct mem_extents *extents)
{
	size_t size = extents->max * sizeof(*extents->extent);

	return is_vmalloc_addr(extents->extent) ? PAGE_ALIGN(size) :
						  roundup_pow_of_two(size);
}

/**
 * mem_extents_fit - Give back room that is not needed, if it is much
 * @extents: The list, of more than a page; nothing will be appended any more
 */
void mem_extents_fit(struct mem_extents *extents)
{
	size_t size = extents->num * sizeof(*extents->extent);
	struct mem_extent *extent;

	if (mem_extents_room(extents) <= PAGE_ALIGN(size) + size / 8)
		return;
	/* Other allocators would give a power of two. */
	extent = __vmalloc(size, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!extent)
		return;
	memcpy(extent, extents->extent, size);
	kvfree(extents->extent);
	extents->extent = extent;
	extents->max = extents->num;
}

/**
 * mem_extents_search - The slow part of mem_extents_find()
 * @extents: The list
 * @index: Index of the page, less than num_pages
 *
 * Return: Index of the extent.
 */
unsigned int mem_extents_search(const struct mem_extents *extents,
				unsigned long index)
{
	unsigned int low = 0, high = extents->num, guess;

	/* Often all extents are of one size, or nearly. */
	guess = min(index / (extents->num_pages / high), high - 1);
	if (extents->extent[guess].index > index) {
		high = guess;
	} else {
		low = guess;
		if (low + 1 == high || extents->extent[low + 1].index > index)
			return low;
		low++;
	}

	while (high - low > 1) {
		unsigned int mid = low + (high - low) / 2;

		if (extents->extent[mid].index <= index)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/**
 * mem_extents_clear - Empty a list and free its memory
 * @extents: The list; its pages have been let go
 */
void mem_extents_clear(struct mem_extents *extents)
{
	if (extents->extent != &extents->first)
		kvfree(extents->extent);
	mem_extents_init(extents);
}

/* ---- accounting ---- */

static int charge_mm(const struct mem_owner *owner, unsigned long num_pages)
{
	int rc;

	if (ioasid_should_fail() || mmap_write_lock_killable(owner->mm))
		return -EINTR;
	rc = __account_locked_vm(owner->mm, num_pages, true, owner->task,
				 owner->may_exceed);
	mmap_write_unlock(owner->mm);
	return rc;
}

static noinline int charge_user(const struct mem_owner *owner, unsigned long num_pages)
{
	unsigned long limit = task_rlimit(owner->task, RLIMIT_MEMLOCK) >>
			      PAGE_SHIFT;
	struct user_struct *user = owner->cred->user;
	long old = atomic_long_read(&user->locked_vm);

	do {
		if (!owner->may_exceed &&
		    (old > limit || num_pages > limit - old))
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &old,
					  old + num_pages));
	return 0;
}

static int charge(const struct pinned_mem *mem, const struct mem_owner *owner)
{
	int rc = 0;

	switch (mem->account) {
	case PINNED_MEM_ACCOUNT_MM:
		rc = charge_mm(owner, mem->num_pages);
		break;
	case PINNED_MEM_ACCOUNT_USER:
		rc = charge_user(owner, mem->num_pages);
		break;
	case PINNED_MEM_ACCOUNT_NONE:
		break;
	}
	if (!rc)
		atomic64_add(mem->num_pages, &owner->mm->pinned_vm);
	return rc;
}

/* As charge(), but whatever the limit, or a refund; neither fails. */
static __always_inline void change_charge(const struct pinned_mem *mem,
					  const struct mem_owner *owner,
					  bool more)
{
	unsigned long num_pages = mem->num_pages;
	struct mm_struct *mm = owner->mm;

	switch (mem->account) {
	case PINNED_MEM_ACCOUNT_MM:
		mmap_write_lock(mm);
		__account_locked_vm(mm, num_pages, more, owner->task, true);
		mmap_write_unlock(mm);
		break;
	case PINNED_MEM_ACCOUNT_USER:
		atomic_long_add(more ? num_pages : -num_pages,
				&owner->cred->user->locked_vm);
		break;
	case PINNED_MEM_ACCOUNT_NONE:
		break;
	}
	atomic64_add(more ? num_pages : -num_pages, &mm->pinned_vm);
}

static void charge_again(const struct pinned_mem *mem,
			 const struct mem_owner *owner)
{
	change_charge(mem, owner, true);
}

static void uncharge(const struct pinned_mem *mem,
		     const struct mem_owner *owner)
{
	change_charge(mem, owner, false);
}

/* ---- process memory ---- */

/* Pages that are still to be pinned */
static unsigned long pages_left(const struct pinned_mem *mem)
{
	return mem->num_pages - mem->extents.num_pages;
}

static unsigned long next_user_addr(const struct pinned_mem *mem)
{
	return mem->start + mem->extents.num_pages * PAGE_SIZE;
}

static noinline long pin_remote_chunk(struct mm_struct *mm, unsigned long addr,
				      unsigned long num_pages,
				      unsigned int gup_flags,
				      struct page **pages)
{
	int locked = 1;
	long got;

	if (ioasid_should_fail() || mmap_read_lock_killable(mm))
		return -EINTR;
	got = pin_user_pages_remote(mm, addr, num_pages, gup_flags, pages,
				    &locked);
	if (locked)
		mmap_read_unlock(mm);
	return got;
}

static __always_inline long pin_user_chunk(struct pinned_mem *mem,
					   unsigned long addr,
					   unsigned long num_pages,
					   struct page **pages)
{
	unsigned int gup_flags = FOLL_LONGTERM |
				 (mem->writable ? FOLL_WRITE : 0);
	struct mm_struct *mm = mem->owner->mm;

	if (ioasid_should_fail())
		return -EFAULT;
	/* It may also pin less than it was asked for. */
	if (num_pages > 1 && ioasid_should_fail())
		num_pages--;

	if (unlikely(mm != current->mm))
		return pin_remote_chunk(mm, addr, num_pages, gup_flags, pages);
	return pin_user_pages_fast(addr, num_pages, gup_flags, pages);
}

/* Whether RUN_STEP pages follow each other, and the first one is @page */
static bool is_run(struct page **pages, struct page *page)
{
	unsigned long differs = 0, want = (unsigned long)page;
	unsigned int i;

	unrolled_full
	for (i = 0; i < RUN_STEP; i++, want += sizeof(*page))
		differs |= (unsigned long)pages[i] ^ want;
	return !differs;
}

/**
 * count_page_run - Count pages that follow each other
 * @pages: The pages
 * @num_pages: How many they are, not 0
 *
 * Return: How many of them follow each other in memory, from the first one on.
 */
unsigned long count_page_run(struct page **pages, unsigned long num_pages)
{
	unsigned long i = 1;

	/* Where no page follows another, one look shall be enough. */
	if (num_pages == 1 || pages[1] != pages[0] + 1)
		return 1;
	while (num_pages - i >= RUN_STEP && is_run(pages + i, pages[0] + i))
		i += RUN_STEP;
	while (i < num_pages && pages[i] == pages[0] + i)
		i++;
	/* Page frames need not, in memory models that are hardly used. */
	return page_range_contiguous(pages[0], i) ? i : 1;
}

/* As mem_extents_add() of a page, if there is room, and it follows no other */
static bool add_lone_page(struct mem_extents *extents, struct page **pages)
{
	if (pages[1] == pages[0] + 1 || extents->num == extents->max)
		return false;
	extents->extent[extents->num++] = (struct mem_extent){
		.pfn = page_to_pfn(pages[0]),
		.index = extents->num_pages,
		.kind = EXTENT_PINNED_PER_PAGE,
	};
	extents->num_pages++;
	return true;
}

static int add_user_pages(struct pinned_mem *mem, struct page **pages,
			  unsigned long num_pages)
{
	struct mem_extents *extents = &mem->extents;
	unsigned long num = count_page_run(pages, num_pages), done = 0;
	int rc;

	/* Only the first run may go on where the chunk before has ended. */
	rc = mem_extents_add(extents, page_to_pfn(pages[0]), num,
			     EXTENT_PINNED_PER_PAGE, pages_left(mem));
	while (!rc) {
		done += num;
		while (done + 1 < num_pages &&
		       add_lone_page(extents, pages + done))
			done++;
		if (done == num_pages)
			return 0;
		num = count_page_run(pages + done, num_pages - done);
		rc = mem_extents_append(extents, page_to_pfn(pages[done]), num,
					EXTENT_PINNED_PER_PAGE,
					pages_left(mem));
	}
	unpin_user_pages(pages + done, num_pages - done);
	return rc;
}

/*
 * A page of hugetlb is one entry of the page table, and what unmaps or moves
 * memory does so with the whole of it. So one pin is enough for all pages from
 * the one that is pinned to the last one of the folio. Goes on until there is no
 * such page any more.
 */
static int pin_hugetlb(struct pinned_mem *mem)
{
	unsigned long left;
	int rc;

	while ((left = pages_left(mem))) {
		unsigned long num_pages;
		struct folio *folio;
		struct page *page;
		long got;

		got = pin_user_chunk(mem, next_user_addr(mem), 1, &page);
		if (got <= 0)
			return got ?: -EFAULT;
		folio = page_folio(page);
		if (!folio_test_hugetlb(folio))
			return add_user_pages(mem, &page, 1);
		num_pages = folio_nr_pages(folio) - folio_page_idx(folio, page);
		rc = mem_extents_add(&mem->extents, page_to_pfn(page),
				     min(num_pages, left),
				     EXTENT_PINNED_PER_FOLIO, left);
		if (rc) {
			unpin_folio(folio);
			return rc;
		}
		if (ioasid_killed())
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static bool is_hugetlb(struct page *page)
{
	return folio_test_hugetlb(page_folio(page));
}

/*
 * Says only how to begin: what is pinned tells what it is. Who maps less than a page
 * of hugetlb shall not pay for those who do.
 */
static bool may_be_hugetlb(const struct pinned_mem *mem)
{
	struct mm_struct *mm = mem->owner->mm;
	const struct vm_area_struct *vma;
	bool huge;

	if (!IS_ENABLED(CONFIG_HUGETLB_PAGE) ||
	    mem->num_pages < PMD_SIZE / PAGE_SIZE)
		return false;
	mmap_read_lock(mm);
	vma = vma_lookup(mm, mem->start);
	huge = vma && is_vm_hugetlb_page(vma);
	mmap_read_unlock(mm);
	return huge;
}

static unsigned long chunk_pages(void)
{
#ifdef CONFIG_IOMMUFD_TEST
	size_t limit = ioasid_mock_memory_limit() / sizeof(struct page *);

	return clamp(limit, 1UL, PIN_CHUNK_PAGES);
#else
	return PIN_CHUNK_PAGES;
#endif
}

/* Room for PIN_STACK_PAGES or, made when it is needed, for chunk_pages() */
struct page_buffer {
	struct page **pages;
	struct page *few[PIN_STACK_PAGES];
};

static int make_room(struct page_buffer *buffer)
{
	struct page **pages;

	if (buffer->pages != buffer->few)
		return 0;
	pages = kmalloc_array(PIN_CHUNK_PAGES, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	buffer->pages = pages;
	return 0;
}

static int pin_chunks(struct pinned_mem *mem, struct page_buffer *buffer)
{
	bool huge = may_be_hugetlb(mem);

	for (;;) {
		unsigned long left;
		int rc = 0;
		long got;

		if (huge)
			rc = pin_hugetlb(mem);
		left = pages_left(mem);
		if (rc || !left)
			return rc;
		if (left > PIN_STACK_PAGES) {
			rc = make_room(buffer);
			if (rc)
				return rc;
		}
		got = pin_user_chunk(mem, next_user_addr(mem),
				     min(left, chunk_pages()), buffer->pages);
		if (got <= 0)
			return got ?: -EFAULT;
		rc = add_user_pages(mem, buffer->pages, got);
		if (rc || left == got)
			return rc;
		if (ioasid_killed())
			return -EINTR;
		/* What comes next is probably of the same kind. */
		huge = is_hugetlb(buffer->pages[got - 1]);
		cond_resched();
	}
}

static noinline int pin_many_pages(struct pinned_mem *mem)
{
	struct page_buffer buffer;
	int rc;

	buffer.pages = buffer.few;
	rc = pin_chunks(mem, &buffer);
	if (buffer.pages != buffer.few)
		kfree(buffer.pages);
	if (!rc && mem->extents.max > PAGE_SIZE / sizeof(struct mem_extent))
		mem_extents_fit(&mem->extents);
	return rc;
}

static int pin_one_page(struct pinned_mem *mem)
{
	struct page *page;
	long got;

	got = pin_user_chunk(mem, mem->start, 1, &page);
	if (got <= 0)
		return got ?: -EFAULT;
	mem_extents_set(&mem->extents, page_to_pfn(page), 1,
			EXTENT_PINNED_PER_PAGE);
	return 0;
}

static int pin_user(struct pinned_mem *mem)
{
	int rc = mem->num_pages == 1 ? pin_one_page(mem) :
				       pin_many_pages(mem);

	/* Memory that cannot be pinned has many errnos; users know one. */
	if (unlikely(rc) && rc != -ENOMEM && rc != -EINTR)
		rc = -EFAULT;
	return rc;
}

/* ---- files ---- */

static unsigned int *file_seals(struct file *file)
{
	if (shmem_file(file))
		return &SHMEM_I(file_inode(file))->seals;
#ifdef CONFIG_HUGETLBFS
	if (is_file_hugepages(file))
		return &HUGETLBFS_I(file_inode(file))->seals;
#endif
	return NULL;
}

static int check_seals(struct file *file)
{
	unsigned int *seals = file_seals(file);

	if (READ_ONCE(*seals) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	return 0;
}

/*
 * fallocate() leaves folios with what the memory held before. Reading them
 * through the page cache clears them; they must not reach a device before, nor
 * be cleared by the CPU's first touch after a device has written them.
 */
static int make_uptodate(struct file *file, pgoff_t index)
{
	struct folio *folio;

	if (!shmem_file(file))
		return -EIO;
	folio = ioasid_should_fail() ? ERR_PTR(-EIO) :
				       shmem_read_folio(file->f_mapping, index);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	folio_put(folio);
	return 0;
}

static pgoff_t next_index(const struct pinned_mem *mem)
{
	return mem->start + mem->extents.num_pages;
}

/* Pages of folios that follow each other in the file and in memory */
struct folio_run {
	unsigned long pfn;
	unsigned long num_pages;
	long num_folios;
};

static int end_run(struct pinned_mem *mem, struct folio_run *run)
{
	int rc = 0;

	if (run->num_pages)
		rc = mem_extents_add(&mem->extents, run->pfn, run->num_pages,
				     EXTENT_PINNED_PER_FOLIO, pages_left(mem));
	if (!rc)
		*run = (struct folio_run){};
	return rc;
}

/* Whether a folio is the page that is @index in the file, and goes on with a run */
static bool goes_on(const struct folio_run *run, const struct folio *folio,
		    unsigned long index)
{
	return folio_pfn(folio) == run->pfn + run->num_pages &&
	       folio->index == index && !folio_test_large(folio) &&
	       folio_test_uptodate(folio);
}

/*
 * Takes over the pins of @folios. Return: 0, -EAGAIN if the page at
 * next_index() is not up to date, or an errno. What was added is in the
 * extents; it may be less than @num, or nothing: somebody may punch holes into
 * the file, so that a folio is not where the one before it has ended.
 */
static int add_folios(struct pinned_mem *mem, struct folio **folios, long num)
{
	unsigned long next = next_index(mem), end = mem->start + mem->num_pages;
	struct folio_run run = {};
	int rc = 0, rc_run;
	long i;

	for (i = 0; i < num; i++) {
		struct folio *folio = folios[i];
		unsigned long num_pages, skip, pfn;

		if (goes_on(&run, folio, next) && next < end) {
			run.num_pages++;
			run.num_folios++;
			next++;
			continue;
		}
		num_pages = folio_nr_pages(folio);
		skip = next - folio->index;
		pfn = folio_pfn(folio) + skip;
		if (skip >= num_pages)
			break;
		if (!folio_test_uptodate(folio)) {
			rc = -EAGAIN;
			break;
		}
		if (pfn != run.pfn + run.num_pages) {
			rc = end_run(mem, &run);
			if (rc)
				break;
			run.pfn = pfn;
		}
		num_pages = min(num_pages - skip, end - next);
		run.num_pages += num_pages;
		run.num_folios++;
		next += num_pages;
	}
	rc_run = end_run(mem, &run);
	/* What was not added begins with the run that could not be. */
	i -= run.num_folios;
	if (i < num)
		unpin_folios(folios + i, num - i);
	return rc_run ?: rc;
}

static long pin_folio_chunk(struct pinned_mem *mem, loff_t last,
			    struct folio **folios)
{
	long max = PIN_CHUNK_FOLIOS;
	pgoff_t offset;

	if (ioasid_should_fail())
		return -EINVAL;
	/* It may also pin less than it was asked for. */
	if (ioasid_should_fail())
		max = 1;
	return memfd_pin_folios(mem->file, (loff_t)next_index(mem) << PAGE_SHIFT,
				last, folios, max, &offset);
}

static int map_writable(struct address_space *mapping)
{
	return ioasid_should_fail() ? -EPERM : mapping_map_writable(mapping);
}

static int pin_file_folios(struct pinned_mem *mem, struct folio **folios)
{
	loff_t end = min((loff_t)(mem->start + mem->num_pages) << PAGE_SHIFT,
			 i_size_read(file_inode(mem->file)));
	int rc;

	while (pages_left(mem)) {
		long num = pin_folio_chunk(mem, end - 1, folios);

		if (num <= 0)
			return num ?: -EFAULT;
		rc = add_folios(mem, folios, num);
		if (rc == -EAGAIN)
			rc = make_uptodate(mem->file, next_index(mem));
		if (rc)
			return rc;
		if (ioasid_killed())
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static noinline int pin_file(struct pinned_mem *mem)
{
	struct address_space *mapping = mem->file->f_mapping;
	struct folio **folios;
	int rc;

	/* Keeps F_SEAL_WRITE away as long as devices may write. */
	if (mem->writable) {
		rc = map_writable(mapping);
		if (rc)
			return rc;
		rc = check_seals(mem->file);
		if (rc)
			goto out_unmap;
	}

	folios = kmalloc_array(PIN_CHUNK_FOLIOS, sizeof(*folios), GFP_KERNEL);
	if (!folios) {
		rc = -ENOMEM;
		goto out_unmap;
	}
	rc = pin_file_folios(mem, folios);
	kfree(folios);
	if (!rc && mem->extents.max > PAGE_SIZE / sizeof(struct mem_extent))
		mem_extents_fit(&mem->extents);
	/* As for process memory; -EINVAL says that the file has shrunk. */
	if (rc && rc != -ENOMEM && rc != -EINTR && rc != -EINVAL)
		rc = -EFAULT;
out_unmap:
	if (rc && mem->writable)
		mapping_unmap_writable(mapping);
	return rc;
}

/* ---- release ---- */

/*
 * Whoever makes it clean afterwards writes it out, with all that devices have
 * written to it until now.
 */
static void make_dirty(struct folio *folio)
{
	if (folio_test_dirty(folio))
		return;
	folio_lock(folio);
	folio_mark_dirty(folio);
	folio_unlock(folio);
}

static void release_page(struct page *page, bool dirty)
{
	if (dirty)
		make_dirty(page_folio(page));
	unpin_user_page(page);
}

static void release_per_folio(unsigned long pfn, unsigned long num_pages,
			      bool dirty)
{
	while (num_pages) {
		struct folio *folio = pfn_folio(pfn);
		unsigned long num = min(num_pages, folio_nr_pages(folio) -
					(pfn - folio_pfn(folio)));

		if (dirty)
			make_dirty(folio);
		unpin_folio(folio);
		pfn += num;
		num_pages -= num;
		cond_resched();
	}
}

static noinline void release_extents(struct pinned_mem *mem)
{
	struct mem_extents *extents = &mem->extents;
	unsigned int i;

	for (i = 0; i < extents->num; i++) {
		unsigned long pfn = extents->extent[i].pfn;
		unsigned long num_pages = mem_extent_pages(extents, i);

		switch ((enum extent_kind)extents->extent[i].kind) {
		case EXTENT_PINNED_PER_PAGE:
			unpin_user_page_range_dirty_lock(pfn_to_page(pfn),
							 num_pages,
							 mem->writable);
			break;
		case EXTENT_PINNED_PER_FOLIO:
			release_per_folio(pfn, num_pages, mem->writable);
			break;
		}
		cond_resched();
	}
	mem_extents_clear(extents);
}

static void pinned_mem_release(struct pinned_mem *mem)
{
	const struct mem_extents *extents = &mem->extents;

	if (extents->num_pages != 1 ||
	    extents->first.kind != EXTENT_PINNED_PER_PAGE) {
		release_extents(mem);
		return;
	}
	release_page(pfn_to_page(extents->first.pfn), mem->writable);
	mem_extents_init(&mem->extents);
}

/* ---- memory ---- */

/* Anybody else shares no mm, has another limit or other rights. */
static bool mem_owner_is_current(const struct mem_owner *owner)
{
	return owner->mm == current->mm &&
	       owner->task == current->group_leader &&
	       owner->cred == current_cred();
}

static void mem_owner_keep(struct iommufd_ctx *ictx, struct mem_owner *owner)
{
	struct mem_owner *old;

	if (owner)
		refcount_inc(&owner->refs);
	old = unrcu_pointer(xchg(&ictx->owner, RCU_INITIALIZER(owner)));
	if (old)
		mem_owner_put(old);
}

static noinline struct mem_owner *mem_owner_new(struct iommufd_ctx *ictx)
{
	struct mem_owner *owner = kzalloc_obj(*owner, GFP_KERNEL_ACCOUNT);

	if (!owner)
		return NULL;
	refcount_set(&owner->refs, 1);
	owner->mm = current->mm;
	mmgrab(owner->mm);
	owner->task = current->group_leader;
	get_task_struct(owner->task);
	owner->cred = get_current_cred();
	owner->may_exceed = capable(CAP_IPC_LOCK);
	mem_owner_keep(ictx, owner);
	return owner;
}

/* Who calls, with a reference; NULL if there is no memory */
static struct mem_owner *mem_owner_get(struct iommufd_ctx *ictx)
{
	struct mem_owner *owner;

	rcu_read_lock();
	owner = rcu_dereference(ictx->owner);
	if (owner && (!mem_owner_is_current(owner) ||
		      !refcount_inc_not_zero(&owner->refs)))
		owner = NULL;
	rcu_read_unlock();
	return owner ?: mem_owner_new(ictx);
}

/**
 * mem_owner_put - Let go of who was charged
 * @owner: Who
 */
void mem_owner_put(struct mem_owner *owner)
{
	if (!refcount_dec_and_test(&owner->refs))
		return;
	put_cred(owner->cred);
	put_task_struct(owner->task);
	mmdrop(owner->mm);
	kfree_rcu(owner, rcu);
}

/**
 * mem_owner_forget - Let go of who has registered memory last
 * @ictx: The context; nobody registers any more
 */
void mem_owner_forget(struct iommufd_ctx *ictx)
{
	mem_owner_keep(ictx, NULL);
}

static __always_inline struct pinned_mem *
make_mem(struct record_pool *pool, struct mem_owner *owner,
	 enum pinned_mem_source source, unsigned long start, unsigned long num_pages,
	 bool writable, enum pinned_mem_account account)
{
	struct mem_with_mapping *both;
	struct pinned_mem *mem;

	both = record_alloc(pool, sizeof(*both));
	if (!both)
		return NULL;
	mem = &both->mem;
	refcount_set(&mem->refs, 1);
	refcount_set(&mem->num_pins, 0);
	atomic_set(&mem->lock, MEM_UNLOCKED);
	mem->state = PINNED_MEM_REGISTERED;
	mem->source = source;
	mem->account = account;
	mem->writable = writable;
	mem->has_mapping = false;
	mem->owner = owner;
	mem->file = NULL;
	mem->start = start;
	mem->num_pages = num_pages;
	mem_extents_init(&mem->extents);
	return mem;
}

/* Memory that is charged to who calls, when it is pinned */
static __always_inline struct pinned_mem *
make_charged(struct iommufd_ctx *ictx, enum pinned_mem_source source,
	     unsigned long start, unsigned long num_pages, bool writable,
	     enum pinned_mem_account account)
{
	struct mem_owner *owner = mem_owner_get(ictx);
	struct pinned_mem *mem;

	if (!owner)
		return NULL;
	mem = make_mem(&ictx->mems, owner, source, start, num_pages, writable,
		       account);
	if (!mem)
		mem_owner_put(owner);
	return mem;
}

/**
 * pinned_mem_new - Make the record of a piece of memory that is not charged
 * @source: Where it comes from; the caller sets what belongs to that
 * @start: As in struct pinned_mem
 * @num_pages: Size in pages
 * @writable: Devices may write
 *
 * Return: Memory with one reference, or NULL.
 */
struct pinned_mem *pinned_mem_new(enum pinned_mem_source source,
				  unsigned long start, unsigned long num_pages,
				  bool writable)
{
	return make_mem(NULL, NULL, source, start, num_pages, writable,
			PINNED_MEM_ACCOUNT_NONE);
}

/**
 * pinned_mem_from_user - Register memory of the calling process
 * @ictx: The context
 * @addr: Address
 * @length: Length in bytes, not 0; @addr + @length does not wrap
 * @writable: Devices may write
 * @account: What it counts against when it is pinned
 *
 * The pages that @addr and @length touch are meant; a slice of the result
 * starts at offset_in_page(@addr).
 *
 * Return: Memory with one reference, or -ENOMEM.
 */
struct pinned_mem *pinned_mem_from_user(struct iommufd_ctx *ictx,
					unsigned long addr,
					unsigned long length, bool writable,
					enum pinned_mem_account account)
{
	unsigned long start = addr & PAGE_MASK;
	unsigned long last = (addr + length - 1) & PAGE_MASK;
	struct pinned_mem *mem;

	mem = make_charged(ictx, PINNED_MEM_USER, start,
			   ((last - start) >> PAGE_SHIFT) + 1, writable,
			   account);
	return mem ?: ERR_PTR(-ENOMEM);
}

/**
 * pinned_mem_from_file - Register a range of a shmem or hugetlbfs file
 * @ictx: The context
 * @fd: File of the calling process
 * @offset: Offset in the file in bytes
 * @length: Length in bytes, not 0; @offset + @length does not wrap
 * @writable: Devices may write
 * @account: What it counts against when it is pinned
 *
 * Return: Memory with one reference, or -EBADF: no such file; -EINVAL: not such
 * a file, or shorter than the range; -EACCES: not opened for the access;
 * -EPERM: sealed against it; -ENOMEM.
 */
struct pinned_mem *pinned_mem_from_file(struct iommufd_ctx *ictx, int fd,
					unsigned long offset,
					unsigned long length, bool writable,
					enum pinned_mem_account account)
{
	unsigned long start = offset >> PAGE_SHIFT;
	unsigned long last = (offset + length - 1) >> PAGE_SHIFT;
	struct pinned_mem *mem;
	struct file *file;
	u64 size;
	int rc;

	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);

	rc = -EINVAL;
	if (!file_seals(file))
		goto err_put;
	rc = -EACCES;
	if (!(file->f_mode & FMODE_READ) ||
	    (writable && (!(file->f_mode & FMODE_WRITE) ||
			  IS_APPEND(file_inode(file)))))
		goto err_put;
	if (writable) {
		rc = check_seals(file);
		if (rc)
			goto err_put;
	}
	rc = -EINVAL;
	size = i_size_read(file_inode(file));
	if (offset > size || length > size - offset)
		goto err_put;

	rc = -ENOMEM;
	mem = make_charged(ictx, PINNED_MEM_FILE, start, last - start + 1,
			   writable, account);
	if (!mem)
		goto err_put;
	mem->file = file;
	return mem;

err_put:
	fput(file);
	return ERR_PTR(rc);
}

/**
 * pinned_mem_get - Take another reference
 * @mem: Memory that the caller holds a reference to
 */
void pinned_mem_get(struct pinned_mem *mem)
{
	refcount_inc(&mem->refs);
}

/**
 * pinned_mem_put_many - Drop references
 * @mem: The memory. With the last reference no pin is left.
 * @num: How many
 */
void pinned_mem_put_many(struct pinned_mem *mem, unsigned int num)
{
	if (!refcount_sub_and_test(num, &mem->refs))
		return;
	WARN_ON(mem->state == PINNED_MEM_PINNED);
	if (mem->source == PINNED_MEM_DMA_BUF)
		pinned_mem_put_dma_buf(mem);
	else if (mem->file)
		fput(mem->file);
	if (mem->owner)
		mem_owner_put(mem->owner);
	record_free(container_of(mem, struct mem_with_mapping, mem));
}

static int charge_and_pin(struct pinned_mem *mem)
{
	int rc = charge(mem, mem->owner);

	if (rc)
		return rc;
	rc = mem->source == PINNED_MEM_FILE ? pin_file(mem) : pin_user(mem);
	if (rc) {
		pinned_mem_release(mem);
		uncharge(mem, mem->owner);
		return rc;
	}
	mem->state = PINNED_MEM_PINNED;
	refcount_set(&mem->num_pins, 1);
	return 0;
}

static int pin_first(struct pinned_mem *mem)
{
	struct mm_struct *mm = mem->owner->mm;
	/* A file is there without whoever has registered it. */
	bool remote = unlikely(mm != current->mm) &&
		      (mem->source == PINNED_MEM_USER ||
		       mem->account == PINNED_MEM_ACCOUNT_MM);
	int rc;

	if (remote && !mmget_not_zero(mm))
		return -EFAULT;
	rc = charge_and_pin(mem);
	if (remote)
		mmput_async(mm);
	return rc;
}

/**
 * pinned_mem_pin - Charge and pin memory
 * @mem: The memory
 *
 * While the pin is held, @mem->extents are there to read. Dropped with
 * pinned_mem_unpin().
 *
 * Context: May sleep for user memory. No lock of an address space or a group
 * is held.
 *
 * Return: 0; -ENOMEM: over RLIMIT_MEMLOCK, or out of memory; -EFAULT: not
 * accessible, or the process that registered it is gone; -EPERM, -EINVAL: the
 * file was sealed or truncated meanwhile; -EINTR: fatal signal. Nothing is left
 * charged or pinned by a failure.
 */
int pinned_mem_pin(struct pinned_mem *mem)
{
	int rc = 0;

	/* Its exporter keeps the memory until it says otherwise. */
	if (mem->source == PINNED_MEM_DMA_BUF)
		return 0;
	if (lock_mem_killable(mem))
		return -EINTR;
	if (mem->state == PINNED_MEM_PINNED)
		refcount_inc(&mem->num_pins);
	else
		rc = pin_first(mem);
	unlock_mem(mem);
	return rc;
}

/**
 * pinned_mem_pin_again - Take another pin of pinned memory
 * @mem: Memory that the caller holds a pin of
 */
void pinned_mem_pin_again(struct pinned_mem *mem)
{
	if (mem->source == PINNED_MEM_DMA_BUF)
		return;
	refcount_inc(&mem->num_pins);
}

/**
 * pinned_mem_unpin - Drop a pin
 * @mem: The memory. After the last pin the pages are let go, dirty if devices
 *       could write them, and the charge is refunded.
 *
 * No page table may reach the memory on behalf of the caller any more, its
 * invalidations included.
 *
 * Context: May sleep. No lock of an address space or a group is held.
 */
void pinned_mem_unpin(struct pinned_mem *mem)
{
	if (mem->source == PINNED_MEM_DMA_BUF)
		return;
	if (refcount_read(&mem->num_pins) > 1 &&
	    refcount_dec_not_one(&mem->num_pins))
		return;
	lock_mem(mem);
	if (refcount_dec_and_test(&mem->num_pins)) {
		pinned_mem_release(mem);
		if (mem->source == PINNED_MEM_FILE && mem->writable)
			mapping_unmap_writable(mem->file->f_mapping);
		uncharge(mem, mem->owner);
		mem->state = PINNED_MEM_REGISTERED;
	}
	unlock_mem(mem);
}

static bool is_charged(const struct pinned_mem *mem,
		       const struct mem_owner *owner)
{
	return mem->owner->mm == owner->mm &&
	       (mem->account != PINNED_MEM_ACCOUNT_USER ||
		mem->owner->cred->user == owner->cred->user);
}

/**
 * pinned_mem_take_over - Charge the current process for memory from now on
 * @ictx: The context
 * @mem: Memory of a file
 * @old: Output: who was charged, for pinned_mem_give_back() or mem_owner_put()
 *
 * Context: No lock of an address space or a group is held.
 *
 * Return: 0, or with nothing changed -ENOMEM: over RLIMIT_MEMLOCK, or out of
 * memory; -EINTR: fatal signal.
 */
int pinned_mem_take_over(struct iommufd_ctx *ictx, struct pinned_mem *mem,
			 struct mem_owner **old)
{
	struct mem_owner *owner = mem_owner_get(ictx);
	int rc = 0;
	bool move;

	if (!owner)
		return -ENOMEM;
	lock_mem(mem);
	move = mem->state == PINNED_MEM_PINNED && !is_charged(mem, owner);
	if (move)
		rc = charge(mem, owner);
	if (!rc) {
		if (move)
			uncharge(mem, mem->owner);
		*old = mem->owner;
		mem->owner = owner;
	}
	unlock_mem(mem);
	if (rc)
		mem_owner_put(owner);
	return rc;
}

/**
 * pinned_mem_give_back - Undo pinned_mem_take_over()
 * @mem: The memory
 * @old: Who is charged again, even beyond the limit; takes over the reference
 *
 * Context: As pinned_mem_take_over().
 */
void pinned_mem_give_back(struct pinned_mem *mem, struct mem_owner *old)
{
	struct mem_owner *cur;

	lock_mem(mem);
	cur = mem->owner;
	if (mem->state == PINNED_MEM_PINNED && !is_charged(mem, old)) {
		charge_again(mem, old);
		uncharge(mem, cur);
	}
	mem->owner = old;
	unlock_mem(mem);
	mem_owner_put(cur);
}
