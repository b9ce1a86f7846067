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
 * folio says nothing about what else of it the process maps. Files are pinned
 * by folio. The kind of an extent says how it was pinned; extents of different
 * kinds never merge, because their pin counts differ.
 *
 * pinned_mem.lock is held while pages are faulted in. The caller holds no lock
 * of an address space or a group.
 */
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/folio_batch.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/user.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

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

static int mem_extents_grow(struct mem_extents *extents)
{
	bool embedded = extents->extent == &extents->first;
	unsigned int max = embedded ? 8 : extents->max * 2;
	struct mem_extent *extent;

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
			      unsigned long num_pages, enum extent_kind kind)
{
	int rc;

	if (unlikely(extents->num == extents->max)) {
		rc = mem_extents_grow(extents);
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
 *
 * Return: 0, or -ENOMEM with nothing appended.
 */
int mem_extents_add(struct mem_extents *extents, unsigned long pfn,
		    unsigned long num_pages, enum extent_kind kind)
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
	return mem_extents_append(extents, pfn, num_pages, kind);
}

/**
 * mem_extents_find - Find the extent that holds a page
 * @extents: The list
 * @index: Index of the page, less than num_pages
 *
 * Return: Index of the extent.
 */
unsigned int mem_extents_find(const struct mem_extents *extents,
			      unsigned long index)
{
	unsigned int low = 0, high = extents->num;

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

static int charge_mm(const struct mem_owner *owner, unsigned long num_pages,
		     bool may_exceed)
{
	int rc;

	if (ioasid_should_fail() || mmap_write_lock_killable(owner->mm))
		return -EINTR;
	rc = __account_locked_vm(owner->mm, num_pages, true, owner->task,
				 may_exceed);
	mmap_write_unlock(owner->mm);
	return rc;
}

static int charge_user(const struct mem_owner *owner, unsigned long num_pages,
		       bool may_exceed)
{
	unsigned long limit = task_rlimit(owner->task, RLIMIT_MEMLOCK) >>
			      PAGE_SHIFT;
	long old = atomic_long_read(&owner->user->locked_vm);

	do {
		if (!may_exceed && (old > limit || num_pages > limit - old))
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&owner->user->locked_vm, &old,
					  old + num_pages));
	return 0;
}

static int charge(const struct pinned_mem *mem, const struct mem_owner *owner,
		  bool may_exceed)
{
	int rc = 0;

	switch (mem->account) {
	case PINNED_MEM_ACCOUNT_MM:
		rc = charge_mm(owner, mem->num_pages, may_exceed);
		break;
	case PINNED_MEM_ACCOUNT_USER:
		rc = charge_user(owner, mem->num_pages, may_exceed);
		break;
	case PINNED_MEM_ACCOUNT_NONE:
		break;
	}
	if (!rc)
		atomic64_add(mem->num_pages, &owner->mm->pinned_vm);
	return rc;
}

/* Whatever the limit; less than 0 is a refund. */
static void add_charge(const struct pinned_mem *mem,
		       const struct mem_owner *owner, long num_pages)
{
	switch (mem->account) {
	case PINNED_MEM_ACCOUNT_MM:
		mmap_write_lock(owner->mm);
		__account_locked_vm(owner->mm, abs(num_pages), num_pages > 0,
				    owner->task, true);
		mmap_write_unlock(owner->mm);
		break;
	case PINNED_MEM_ACCOUNT_USER:
		atomic_long_add(num_pages, &owner->user->locked_vm);
		break;
	case PINNED_MEM_ACCOUNT_NONE:
		break;
	}
	atomic64_add(num_pages, &owner->mm->pinned_vm);
}

static void uncharge(const struct pinned_mem *mem,
		     const struct mem_owner *owner)
{
	add_charge(mem, owner, -(long)mem->num_pages);
}

/* ---- process memory ---- */

static long pin_user_chunk(struct pinned_mem *mem, unsigned long addr,
			   unsigned long num_pages, struct page **pages)
{
	unsigned int gup_flags = FOLL_LONGTERM;
	int locked = 1;
	long got;

	if (mem->writable)
		gup_flags |= FOLL_WRITE;

	if (ioasid_should_fail())
		return -EFAULT;
	/* It may also pin less than it was asked for. */
	if (num_pages > 1 && ioasid_should_fail())
		num_pages--;

	if (mem->owner.mm == current->mm)
		return pin_user_pages_fast(addr, num_pages, gup_flags, pages);

	if (ioasid_should_fail() || mmap_read_lock_killable(mem->owner.mm))
		return -EINTR;
	got = pin_user_pages_remote(mem->owner.mm, addr, num_pages, gup_flags, pages,
				    &locked);
	if (locked)
		mmap_read_unlock(mem->owner.mm);
	return got;
}

/* Pages that follow each other, from the first one on */
static unsigned long count_run(struct page **pages, unsigned long num_pages)
{
	unsigned long i;

	for (i = 1; i < num_pages; i++)
		if (pages[i] != pages[i - 1] + 1)
			break;
	return i;
}

static int add_user_pages(struct mem_extents *extents, struct page **pages,
			  unsigned long num_pages)
{
	unsigned long num = count_run(pages, num_pages), done = 0;
	int rc;

	/* Only the first run may go on where the chunk before has ended. */
	rc = mem_extents_add(extents, page_to_pfn(pages[0]), num,
			     EXTENT_PINNED_PER_PAGE);
	while (!rc) {
		done += num;
		if (done == num_pages)
			return 0;
		num = count_run(pages + done, num_pages - done);
		rc = mem_extents_append(extents, page_to_pfn(pages[done]), num,
					EXTENT_PINNED_PER_PAGE);
	}
	unpin_user_pages(pages + done, num_pages - done);
	return rc;
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

static int pin_user(struct pinned_mem *mem)
{
	struct page *stack_pages[PIN_STACK_PAGES];
	struct page **pages = stack_pages;
	unsigned long done = 0;
	int rc = 0;

	if (mem->num_pages > PIN_STACK_PAGES) {
		pages = kmalloc_array(PIN_CHUNK_PAGES, sizeof(*pages),
				      GFP_KERNEL);
		if (!pages)
			return -ENOMEM;
	}

	while (done < mem->num_pages) {
		unsigned long want = min(mem->num_pages - done, chunk_pages());
		long got;

		got = pin_user_chunk(mem, mem->start + done * PAGE_SIZE, want,
				     pages);
		if (got <= 0) {
			rc = got ?: -EFAULT;
			break;
		}
		rc = add_user_pages(&mem->extents, pages, got);
		if (rc)
			break;
		done += got;
		if (ioasid_killed()) {
			rc = -EINTR;
			break;
		}
		cond_resched();
	}
	if (pages != stack_pages)
		kfree(pages);

	/* Memory that cannot be pinned has many errnos; users know one. */
	if (rc && rc != -ENOMEM && rc != -EINTR)
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

static int end_run(struct mem_extents *extents, struct folio_run *run)
{
	int rc = 0;

	if (run->num_pages)
		rc = mem_extents_add(extents, run->pfn, run->num_pages,
				     EXTENT_PINNED_PER_FOLIO);
	if (!rc)
		*run = (struct folio_run){};
	return rc;
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
		unsigned long num_pages = folio_nr_pages(folio);
		unsigned long skip = next - folio->index;
		unsigned long pfn = folio_pfn(folio) + skip;

		if (skip >= num_pages)
			break;
		if (!folio_test_uptodate(folio)) {
			rc = -EAGAIN;
			break;
		}
		if (pfn != run.pfn + run.num_pages) {
			rc = end_run(&mem->extents, &run);
			if (rc)
				break;
			run.pfn = pfn;
		}
		num_pages = min(num_pages - skip, end - next);
		run.num_pages += num_pages;
		run.num_folios++;
		next += num_pages;
	}
	rc_run = end_run(&mem->extents, &run);
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

	while (mem->extents.num_pages < mem->num_pages) {
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

static int pin_file(struct pinned_mem *mem)
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
	/* As for process memory; -EINVAL says that the file has shrunk. */
	if (rc && rc != -ENOMEM && rc != -EINTR && rc != -EINVAL)
		rc = -EFAULT;
out_unmap:
	if (rc && mem->writable)
		mapping_unmap_writable(mapping);
	return rc;
}

/* ---- release ---- */

static void release_per_folio(unsigned long pfn, unsigned long num_pages,
			      bool dirty)
{
	while (num_pages) {
		struct folio *folio = pfn_folio(pfn);
		unsigned long num = min(num_pages, folio_nr_pages(folio) -
					(pfn - folio_pfn(folio)));

		if (dirty) {
			folio_lock(folio);
			folio_mark_dirty(folio);
			folio_unlock(folio);
		}
		unpin_folio(folio);
		pfn += num;
		num_pages -= num;
		cond_resched();
	}
}

static void pinned_mem_release(struct pinned_mem *mem)
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

/* ---- memory ---- */

static void mem_owner_set(struct mem_owner *owner,
			  enum pinned_mem_account account)
{
	owner->mm = current->mm;
	mmgrab(owner->mm);
	owner->task = current->group_leader;
	get_task_struct(owner->task);
	owner->may_exceed = capable(CAP_IPC_LOCK);
	owner->user = NULL;
	if (account == PINNED_MEM_ACCOUNT_USER)
		owner->user = get_uid(current_user());
}

/**
 * mem_owner_put - Let go of who was charged
 * @owner: Who
 */
void mem_owner_put(struct mem_owner *owner)
{
	free_uid(owner->user);
	put_task_struct(owner->task);
	mmdrop(owner->mm);
}

/**
 * pinned_mem_new - Make the record of a piece of memory
 * @source: Where it comes from; the caller sets what belongs to that
 * @start: As in struct pinned_mem
 * @num_pages: Size in pages
 * @writable: Devices may write
 * @account: What it counts against; the current process is charged
 *
 * Return: Memory with one reference, or NULL.
 */
struct pinned_mem *pinned_mem_new(enum pinned_mem_source source,
				  unsigned long start, unsigned long num_pages,
				  bool writable,
				  enum pinned_mem_account account)
{
	struct pinned_mem *mem;

	mem = kzalloc_obj(*mem, GFP_KERNEL_ACCOUNT);
	if (!mem)
		return NULL;
	refcount_set(&mem->refs, 1);
	mutex_init(&mem->lock);
	mem->state = PINNED_MEM_REGISTERED;
	mem->source = source;
	mem->account = account;
	mem->writable = writable;
	mem->start = start;
	mem->num_pages = num_pages;
	mem_extents_init(&mem->extents);
	mem_owner_set(&mem->owner, account);
	return mem;
}

/**
 * pinned_mem_from_user - Register memory of the calling process
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
struct pinned_mem *pinned_mem_from_user(unsigned long addr,
					unsigned long length, bool writable,
					enum pinned_mem_account account)
{
	unsigned long start = addr & PAGE_MASK;
	unsigned long last = (addr + length - 1) & PAGE_MASK;
	struct pinned_mem *mem;

	mem = pinned_mem_new(PINNED_MEM_USER, start,
			     ((last - start) >> PAGE_SHIFT) + 1, writable,
			     account);
	return mem ?: ERR_PTR(-ENOMEM);
}

/**
 * pinned_mem_from_file - Register a range of a shmem or hugetlbfs file
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
struct pinned_mem *pinned_mem_from_file(int fd, unsigned long offset,
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
	mem = pinned_mem_new(PINNED_MEM_FILE, start, last - start + 1,
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
 * pinned_mem_put - Drop a reference
 * @mem: The memory. With the last reference no pin is left.
 */
void pinned_mem_put(struct pinned_mem *mem)
{
	if (!refcount_dec_and_test(&mem->refs))
		return;
	WARN_ON(mem->state == PINNED_MEM_PINNED);
	if (mem->source == PINNED_MEM_DMA_BUF)
		pinned_mem_put_dma_buf(mem);
	else if (mem->file)
		fput(mem->file);
	mem_owner_put(&mem->owner);
	mutex_destroy(&mem->lock);
	kfree(mem);
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
	bool remote;
	int rc;

	/* Its exporter keeps the memory until it says otherwise. */
	if (mem->source == PINNED_MEM_DMA_BUF)
		return 0;
	if (ioasid_lock_killable(&mem->lock))
		return -EINTR;
	if (mem->state == PINNED_MEM_PINNED) {
		refcount_inc(&mem->num_pins);
		mutex_unlock(&mem->lock);
		return 0;
	}

	rc = -EFAULT;
	/* A file is there without whoever has registered it. */
	remote = mem->owner.mm != current->mm &&
		 (mem->source == PINNED_MEM_USER ||
		  mem->account == PINNED_MEM_ACCOUNT_MM);
	if (remote && !mmget_not_zero(mem->owner.mm))
		goto out_unlock;
	rc = charge(mem, &mem->owner, mem->owner.may_exceed);
	if (rc)
		goto out_mmput;
	rc = mem->source == PINNED_MEM_FILE ? pin_file(mem) : pin_user(mem);
	if (rc) {
		pinned_mem_release(mem);
		uncharge(mem, &mem->owner);
		goto out_mmput;
	}
	mem->state = PINNED_MEM_PINNED;
	refcount_set(&mem->num_pins, 1);
out_mmput:
	if (remote)
		mmput_async(mem->owner.mm);
out_unlock:
	mutex_unlock(&mem->lock);
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
	if (!refcount_dec_and_mutex_lock(&mem->num_pins, &mem->lock))
		return;
	pinned_mem_release(mem);
	if (mem->source == PINNED_MEM_FILE && mem->writable)
		mapping_unmap_writable(mem->file->f_mapping);
	uncharge(mem, &mem->owner);
	mem->state = PINNED_MEM_REGISTERED;
	mutex_unlock(&mem->lock);
}

static bool is_charged(const struct pinned_mem *mem,
		       const struct mem_owner *owner)
{
	return mem->owner.mm == owner->mm && mem->owner.user == owner->user;
}

/**
 * pinned_mem_take_over - Charge the current process for memory from now on
 * @mem: Memory of a file
 * @old: Output: who was charged, for pinned_mem_give_back() or mem_owner_put()
 *
 * Context: No lock of an address space or a group is held.
 *
 * Return: 0, or with nothing changed -ENOMEM: over RLIMIT_MEMLOCK; -EINTR: fatal
 * signal.
 */
int pinned_mem_take_over(struct pinned_mem *mem, struct mem_owner *old)
{
	struct mem_owner owner;
	int rc = 0;

	bool move;

	mem_owner_set(&owner, mem->account);
	mutex_lock(&mem->lock);
	move = mem->state == PINNED_MEM_PINNED && !is_charged(mem, &owner);
	if (move)
		rc = charge(mem, &owner, owner.may_exceed);
	if (!rc) {
		if (move)
			uncharge(mem, &mem->owner);
		*old = mem->owner;
		mem->owner = owner;
	}
	mutex_unlock(&mem->lock);
	if (rc)
		mem_owner_put(&owner);
	return rc;
}

/**
 * pinned_mem_give_back - Undo pinned_mem_take_over()
 * @mem: The memory
 * @old: Who is charged again, even beyond the limit
 *
 * Context: As pinned_mem_take_over().
 */
void pinned_mem_give_back(struct pinned_mem *mem, struct mem_owner *old)
{
	mutex_lock(&mem->lock);
	swap(mem->owner, *old);
	if (mem->state == PINNED_MEM_PINNED && !is_charged(mem, old)) {
		add_charge(mem, &mem->owner, mem->num_pages);
		uncharge(mem, old);
	}
	mutex_unlock(&mem->lock);
	mem_owner_put(old);
}
