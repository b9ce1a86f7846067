// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that is mapped: each page has a copy of what must be in it. When the
 * process puts new memory in the place of old, mappings that have pinned the old
 * pages keep them; the process does not see them any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model.h"

#define SMALL_PAGES	256
#define HUGE_UNITS	2
#define READ_ONLY_PAGES	8

/* ---- pages ---- */

static struct page *page_new(char *seen)
{
	struct page *page = calloc(1, sizeof(*page));

	page->refs = 1;
	page->seen = seen;
	page->data = calloc(1, PAGE);
	return page;
}

struct page *page_get(struct page *page)
{
	page->refs++;
	return page;
}

void page_put(struct page *page)
{
	if (--page->refs)
		return;
	free(page->data);
	free(page);
}

void page_compare(struct model *m, const struct page *page, const char *when)
{
	size_t i;

	if (!page->seen || !memcmp(page->seen, page->data, PAGE))
		return;
	for (i = 0; page->seen[i] == page->data[i]; i++)
		;
	mismatch(m, "memory %s: byte 0x%zx of the page at %p is 0x%02x, not 0x%02x",
		 when, i, page->seen, (unsigned char)page->seen[i],
		 (unsigned char)page->data[i]);
}

void memory_compare(struct model *m)
{
	size_t i, j;

	for (i = 0; i < NUM_SOURCES; i++)
		for (j = 0; j < m->sources[i].num_pages; j++)
			if (m->sources[i].prot & PROT_READ)
				page_compare(m, m->sources[i].pages[j],
					     m->sources[i].name);
}

/* ---- sources ---- */

/* The source that holds all of a range of the process's addresses, or NULL. */
struct source *source_at(struct model *m, __u64 address, __u64 length)
{
	size_t i;

	for (i = 0; i < NUM_SOURCES; i++) {
		struct source *src = &m->sources[i];
		__u64 begin = (uintptr_t)src->mem;

		if (address >= begin && address - begin < src->num_pages * PAGE &&
		    length <= src->num_pages * PAGE - (address - begin))
			return src;
	}
	return NULL;
}

/* The source that is this file, or NULL. */
struct source *source_of_fd(struct model *m, int fd)
{
	size_t i;

	for (i = 0; i < NUM_SOURCES; i++)
		if (m->sources[i].fd == fd && fd >= 0)
			return &m->sources[i];
	return NULL;
}

/* The program writes @length random bytes. */
void memory_write(struct model *m, struct source *src, size_t offset,
		  size_t length)
{
	size_t i;

	for (i = offset; i < offset + length; i++) {
		char value = random_number(m);

		src->mem[i] = value;
		src->pages[i / PAGE]->data[i % PAGE] = value;
	}
}

/* Other memory comes to the place of the old. */
int memory_renew(struct model *m, struct source *src, size_t page, size_t num)
{
	char *mem = src->mem + page * PAGE;
	size_t i;
	int rc;

	if (src->fd >= 0)
		rc = fallocate(src->fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, page * PAGE, num * PAGE);
	else if (one_in(m, 2))
		rc = madvise(mem, num * PAGE, MADV_DONTNEED);
	else
		rc = mmap(mem, num * PAGE, src->prot, MAP_PRIVATE |
			  MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem ? 0 : -1;
	if (rc)
		return -errno;
	for (i = page; i < page + num; i++) {
		src->pages[i]->seen = NULL;
		page_put(src->pages[i]);
		src->pages[i] = page_new(src->mem + i * PAGE);
		memory_write(m, src, i * PAGE + random_below(m, PAGE - 8), 8);
	}
	return 0;
}

/*
 * What the kernel does may depend on addresses, so they are the same in each
 * run: each source has this much room, which is more than it needs.
 */
#define PLACE		0x100000000000ULL
#define ROOM		(1024UL << 20)

/* Return: 0 or a negative errno */
static int source_map(struct source *src, enum source_name name, int flags)
{
	void *place = (void *)(uintptr_t)(PLACE + name * ROOM);

	src->mem = mmap(place, src->num_pages * PAGE, src->prot,
			flags | MAP_FIXED_NOREPLACE, src->fd, 0);
	if (src->mem != MAP_FAILED)
		return 0;
	src->mem = NULL;
	return -errno;
}

static int source_map_private(struct source *src, enum source_name name,
			      int advice)
{
	int rc = source_map(src, name, MAP_PRIVATE | MAP_ANONYMOUS);

	/* Without THP in the kernel all pages are small. */
	if (!rc)
		madvise(src->mem, src->num_pages * PAGE, advice);
	return rc;
}

static int source_map_memfd(struct source *src, enum source_name name,
			    unsigned int flags)
{
	src->fd = memfd_create("model", MFD_CLOEXEC | flags);
	if (src->fd < 0)
		return -errno;
	if (ftruncate(src->fd, src->num_pages * PAGE))
		return -errno;
	return source_map(src, name, MAP_SHARED);
}

static int source_open(struct source *src, enum source_name name)
{
	src->prot = PROT_READ | PROT_WRITE;
	src->num_pages = SMALL_PAGES;
	src->unit = 1;
	switch (name) {
	case SOURCE_SMALL:
		src->name = "small";
		return source_map_private(src, name, MADV_NOHUGEPAGE);
	case SOURCE_THP:
		src->name = "thp";
		src->num_pages = HUGE_UNITS * HUGE_SIZE / PAGE;
		return source_map_private(src, name, MADV_HUGEPAGE);
	case SOURCE_MEMFD:
		src->name = "memfd";
		return source_map_memfd(src, name, MFD_ALLOW_SEALING);
	case SOURCE_HUGE_MEMFD:
		src->name = "huge memfd";
		src->num_pages = HUGE_UNITS * HUGE_SIZE / PAGE;
		src->unit = HUGE_SIZE / PAGE;
		return source_map_memfd(src, name, MFD_HUGETLB);
	case SOURCE_READ_ONLY:
		src->name = "read-only";
		src->num_pages = READ_ONLY_PAGES;
		return source_map_private(src, name, MADV_NOHUGEPAGE);
	default:
		src->name = "none";
		src->num_pages = READ_ONLY_PAGES;
		src->prot = PROT_NONE;
		return source_map_private(src, name, MADV_NOHUGEPAGE);
	}
}

static void source_fill(struct model *m, struct source *src)
{
	size_t i, j;

	src->pages = calloc(src->num_pages, sizeof(*src->pages));
	for (i = 0; i < src->num_pages; i++) {
		struct page *page = page_new(src->mem + i * PAGE);
		__u64 *data = (__u64 *)page->data;

		src->pages[i] = page;
		if (!(src->prot & PROT_WRITE))
			continue;
		for (j = 0; j < PAGE / sizeof(*data); j++)
			data[j] = random_number(m);
		memcpy(page->seen, page->data, PAGE);
	}
}

static int open_odd_files(struct model *m)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d",
		 m->sources[SOURCE_MEMFD].fd);
	m->read_only_fd = open(path, O_RDONLY | O_CLOEXEC);
	m->sealed_fd = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	m->other_fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	if (m->read_only_fd < 0 || m->sealed_fd < 0 || m->other_fd < 0)
		return -errno;
	if (ftruncate(m->sealed_fd, SMALL_PAGES * PAGE) ||
	    fcntl(m->sealed_fd, F_ADD_SEALS, F_SEAL_WRITE))
		return -errno;
	return 0;
}

int memory_setup(struct model *m)
{
	struct source *src;
	size_t i;
	int rc;

	m->read_only_fd = -1;
	m->sealed_fd = -1;
	m->other_fd = -1;
	for (i = 0; i < NUM_SOURCES; i++)
		m->sources[i].fd = -1;
	for (i = 0; i < NUM_SOURCES; i++) {
		rc = source_open(&m->sources[i], i);
		/* There may be no huge pages: then it is empty. */
		if (rc && i == SOURCE_HUGE_MEMFD)
			m->sources[i].num_pages = 0;
		else if (rc)
			return rc;
		source_fill(m, &m->sources[i]);
	}
	src = &m->sources[SOURCE_READ_ONLY];
	if (mprotect(src->mem, src->num_pages * PAGE, PROT_READ))
		return -errno;
	src->prot = PROT_READ;
	return open_odd_files(m);
}

/* Nothing is mapped any more. */
void memory_teardown(struct model *m)
{
	size_t i, j;

	for (i = 0; i < NUM_SOURCES; i++) {
		struct source *src = &m->sources[i];

		for (j = 0; src->pages && j < src->num_pages; j++)
			page_put(src->pages[j]);
		free(src->pages);
		if (src->mem)
			munmap(src->mem, src->num_pages * PAGE);
		if (src->fd >= 0)
			close(src->fd);
	}
	if (m->read_only_fd >= 0)
		close(m->read_only_fd);
	if (m->sealed_fd >= 0)
		close(m->sealed_fd);
	if (m->other_fd >= 0)
		close(m->other_fd);
}
