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
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include "ioasid_private.h"

/* Process memory is pinned in chunks of this many pages. */
#define PIN_CHUNK_PAGES (PAGE_SIZE / sizeof(struct page *))
/* Up to this many pages need no buffer from the allocator. */
#define PIN_STACK_PAGES 16
/* Files are pinned in chunks of this many folios. */
#define PIN_CHUNK_FOLIOS 64

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
	struct mem_extent *extent;
	int rc;

	if (extents->num) {
		extent = &extents->extent[extents->num - 1];
		if (extent->kind == kind &&
		    extent->pfn + (extents->num_pages - extent->index) == pfn) {
			extents->num_pages += num_pages;
			return 0;
		}
	}

	if (extents->num == extents->max) {
		rc = mem_extents_grow(extents);
		if (rc)
			return rc;
	}
	extent = &extents->extent[extents->num++];
	extent->pfn = pfn;
	extent->index = extents->num_pages;
	extent->kind = kind;
	extents->num_pages += num_pages;
	return 0;
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

static int pinned_mem_charge(struct pinned_mem *mem)
{
	int rc;

	if (ioasid_should_fail() || mmap_write_lock_killable(mem->mm))
		return -EINTR;
	rc = __account_locked_vm(mem->mm, mem->num_pages, true, mem->task,
				 mem->may_exceed);
	mmap_write_unlock(mem->mm);
	if (!rc)
		atomic64_add(mem->num_pages, &mem->mm->pinned_vm);
	return rc;
}

static void pinned_mem_uncharge(struct pinned_mem *mem)
{
	mmap_write_lock(mem->mm);
	__account_locked_vm(mem->mm, mem->num_pages, false, mem->task, true);
	mmap_write_unlock(mem->mm);
	atomic64_sub(mem->num_pages, &mem->mm->pinned_vm);
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

	if (mem->mm == current->mm)
		return pin_user_pages_fast(addr, num_pages, gup_flags, pages);

	if (ioasid_should_fail() || mmap_read_lock_killable(mem->mm))
		return -EINTR;
	got = pin_user_pages_remote(mem->mm, addr, num_pages, gup_flags, pages,
				    &locked);
	if (locked)
		mmap_read_unlock(mem->mm);
	return got;
}

static int add_user_pages(struct mem_extents *extents, struct page **pages,
			  unsigned long num_pages)
{
	unsigned long start, i;
	int rc;

	for (start = 0; start < num_pages; start = i) {
		unsigned long pfn = page_to_pfn(pages[start]);

		for (i = start + 1; i < num_pages; i++)
			if (page_to_pfn(pages[i]) != pfn + (i - start))
				break;
		rc = mem_extents_add(extents, pfn, i - start,
				     EXTENT_PINNED_PER_PAGE);
		if (rc) {
			unpin_user_pages(pages + start, num_pages - start);
			return rc;
		}
	}
	return 0;
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
		unsigned long want = min(mem->num_pages - done,
					 PIN_CHUNK_PAGES);
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

/*
 * Takes over the pins of @folios. Return: 0, -EAGAIN if the page at
 * next_index() is not up to date, or an errno. What was added is in the
 * extents; it may be less than @num, or nothing: somebody may punch holes into
 * the file, so that a folio is not where the one before it has ended.
 */
static int add_folios(struct pinned_mem *mem, struct folio **folios, long num)
{
	long i;
	int rc = 0;

	for (i = 0; i < num; i++) {
		struct folio *folio = folios[i];
		unsigned long skip = next_index(mem) - folio->index;
		unsigned long num_pages;

		if (skip >= folio_nr_pages(folio))
			break;
		if (!folio_test_uptodate(folio)) {
			rc = -EAGAIN;
			break;
		}
		num_pages = min(folio_nr_pages(folio) - skip,
				mem->num_pages - mem->extents.num_pages);
		rc = mem_extents_add(&mem->extents, folio_pfn(folio) + skip,
				     num_pages, EXTENT_PINNED_PER_FOLIO);
		if (rc)
			break;
	}
	if (i < num)
		unpin_folios(folios + i, num - i);
	return rc;
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

static struct pinned_mem *pinned_mem_new(enum pinned_mem_source source,
					 unsigned long start,
					 unsigned long num_pages, bool writable)
{
	struct pinned_mem *mem;

	mem = kzalloc_obj(*mem, GFP_KERNEL_ACCOUNT);
	if (!mem)
		return NULL;
	refcount_set(&mem->refs, 1);
	mutex_init(&mem->lock);
	mem->state = PINNED_MEM_REGISTERED;
	mem->source = source;
	mem->writable = writable;
	mem->may_exceed = capable(CAP_IPC_LOCK);
	mem->mm = current->mm;
	mmgrab(mem->mm);
	mem->task = current->group_leader;
	get_task_struct(mem->task);
	mem->start = start;
	mem->num_pages = num_pages;
	mem_extents_init(&mem->extents);
	return mem;
}

/**
 * pinned_mem_from_user - Register memory of the calling process
 * @addr: Address
 * @length: Length in bytes, not 0; @addr + @length does not wrap
 * @writable: Devices may write
 *
 * The pages that @addr and @length touch are meant; a slice of the result
 * starts at offset_in_page(@addr).
 *
 * Return: Memory with one reference, or -ENOMEM.
 */
struct pinned_mem *pinned_mem_from_user(unsigned long addr,
					unsigned long length, bool writable)
{
	unsigned long start = addr & PAGE_MASK;
	unsigned long last = (addr + length - 1) & PAGE_MASK;
	struct pinned_mem *mem;

	mem = pinned_mem_new(PINNED_MEM_USER, start,
			     ((last - start) >> PAGE_SHIFT) + 1, writable);
	return mem ?: ERR_PTR(-ENOMEM);
}

/**
 * pinned_mem_from_file - Register a range of a shmem or hugetlbfs file
 * @fd: File of the calling process
 * @offset: Offset in the file in bytes
 * @length: Length in bytes, not 0; @offset + @length does not wrap
 * @writable: Devices may write
 *
 * Return: Memory with one reference, or -EBADF: no such file; -EINVAL: not such
 * a file, or shorter than the range; -EACCES: not opened for the access;
 * -EPERM: sealed against it; -ENOMEM.
 */
struct pinned_mem *pinned_mem_from_file(int fd, unsigned long offset,
					unsigned long length, bool writable)
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
			     writable);
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
	if (mem->file)
		fput(mem->file);
	put_task_struct(mem->task);
	mmdrop(mem->mm);
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
	bool remote = mem->mm != current->mm;
	int rc;

	if (ioasid_lock_killable(&mem->lock))
		return -EINTR;
	if (mem->state == PINNED_MEM_PINNED) {
		refcount_inc(&mem->num_pins);
		mutex_unlock(&mem->lock);
		return 0;
	}

	rc = -EFAULT;
	if (remote && !mmget_not_zero(mem->mm))
		goto out_unlock;
	rc = pinned_mem_charge(mem);
	if (rc)
		goto out_mmput;
	rc = mem->source == PINNED_MEM_FILE ? pin_file(mem) : pin_user(mem);
	if (rc) {
		pinned_mem_release(mem);
		pinned_mem_uncharge(mem);
		goto out_mmput;
	}
	mem->state = PINNED_MEM_PINNED;
	refcount_set(&mem->num_pins, 1);
out_mmput:
	if (remote)
		mmput_async(mem->mm);
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
	if (!refcount_dec_and_mutex_lock(&mem->num_pins, &mem->lock))
		return;
	pinned_mem_release(mem);
	if (mem->source == PINNED_MEM_FILE && mem->writable)
		mapping_unmap_writable(mem->file->f_mapping);
	pinned_mem_uncharge(mem);
	mem->state = PINNED_MEM_REGISTERED;
	mutex_unlock(&mem->lock);
}
