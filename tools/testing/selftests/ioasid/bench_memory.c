// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory whose physical layout is made, not found; see bench.h.
 *
 * The allocator hands out neighbours one after the other. So all even units
 * (small pages, or huge ones) are touched first, then the odd ones, and a unit
 * that is adjacent to the one before it all the same is traded for another.
 * What results is read from /proc/self/pagemap, not believed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define THP_SETTINGS	"/sys/kernel/mm/transparent_hugepage"

/* Of /proc/self/pagemap */
#define PFN_BITS	55
#define PRESENT_BIT	63

#define TRADES		64

static __u64 bit(unsigned int n)
{
	return (__u64)1 << n;
}

/* What the memory is allocated in; CONTIGUOUS and MEMFD are split later. */
static size_t unit_of(enum layout layout)
{
	return layout == SCATTERED ? PAGE : HUGE_SIZE;
}

static int read_u64s(const char *path, __u64 first, __u64 *to, size_t num)
{
	size_t size = num * sizeof(*to), done = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (done < size) {
		n = pread(fd, (char *)to + done, size - done,
			  first * sizeof(*to) + done);
		if (n <= 0)
			break;
		done += n;
	}
	close(fd);
	return done == size ? 0 : -EIO;
}

/* The numbers of the page frames; the caller frees the array. */
static int frames(const struct memory *memory, __u64 **frame)
{
	size_t i, num = memory->size / PAGE;
	int rc;

	*frame = calloc(num, sizeof(**frame));
	if (!*frame)
		return -ENOMEM;
	rc = read_u64s("/proc/self/pagemap", (uintptr_t)memory->at / PAGE,
		       *frame, num);
	for (i = 0; i < num && !rc; i++) {
		if (!((*frame)[i] & bit(PRESENT_BIT)))
			rc = -EFAULT;
		(*frame)[i] &= bit(PFN_BITS) - 1;
		/* Zero for those who may not know. */
		if (!rc && !(*frame)[i])
			rc = -EPERM;
	}
	if (rc)
		free(*frame);
	return rc;
}

static void touch(const struct memory *memory, size_t unit, size_t i)
{
	memory->at[i * unit] = 1;
}

static void touch_all(const struct memory *memory, size_t unit)
{
	size_t i;

	for (i = 0; i < memory->size / unit; i++)
		touch(memory, unit, i);
}

static int let_go(const struct memory *memory, size_t unit, size_t i)
{
	int rc;

	if (memory->fd >= 0)
		rc = fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, i * unit, unit);
	else
		rc = madvise(memory->at + i * unit, unit, MADV_DONTNEED);
	return rc ? -errno : 0;
}

/* Unit @i and one far away get each other's page, or new ones. */
static int trade(const struct memory *memory, size_t unit, size_t i, int try)
{
	size_t num = memory->size / unit, other = (i + num / 2 + try) % num;
	int rc;

	rc = let_go(memory, unit, i);
	if (!rc)
		rc = let_go(memory, unit, other);
	if (rc)
		return rc;
	/* It is not said which of the two comes back first. */
	touch(memory, unit, try % 2 ? other : i);
	touch(memory, unit, try % 2 ? i : other);
	return 0;
}

/* Return: how many units were adjacent to the one before, or an errno. */
static long trade_adjacent(const struct memory *memory, size_t unit, int try)
{
	size_t i, pages = unit / PAGE, num = memory->size / unit;
	long adjacent = 0;
	__u64 *frame;
	int rc;

	rc = frames(memory, &frame);
	for (i = 1; i < num && !rc; i++) {
		if (frame[i * pages] != frame[(i - 1) * pages] + pages)
			continue;
		adjacent++;
		rc = trade(memory, unit, i, try);
	}
	if (rc)
		return rc;
	free(frame);
	return adjacent;
}

static int populate_apart(const struct memory *memory)
{
	size_t i, unit = unit_of(memory->layout), num = memory->size / unit;
	long adjacent = 1;
	int try;

	for (i = 0; i < num; i += 2)
		touch(memory, unit, i);
	for (i = 1; i < num; i += 2)
		touch(memory, unit, i);
	for (try = 0; try < TRADES && adjacent > 0; try++)
		adjacent = trade_adjacent(memory, unit, try);
	if (adjacent < 0)
		return adjacent;
	return adjacent ? -EAGAIN : 0;
}

/* Makes huge pages small ones that stay where they are. */
static int split(const struct memory *memory)
{
	char text[96];
	int rc;

	/* A page of zeroes would not stay where it is. */
	touch_all(memory, PAGE);
	snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", getpid(),
		 (unsigned long)memory->at,
		 (unsigned long)memory->at + memory->size);
	rc = file_write("/sys/kernel/debug/split_huge_pages", text);
	if (rc)
		return rc;
	/* Or they would be made huge again. */
	if (madvise(memory->at, memory->size, MADV_NOHUGEPAGE))
		return -errno;
	/* A file's pages are not in the process any more. */
	touch_all(memory, PAGE);
	return 0;
}

/*
 * Counts the pages, and the physically contiguous runs that they make. A run
 * ends where a part of @part bytes does, because each is mapped by itself.
 */
int memory_runs(const struct memory *memory, size_t part, __u64 *pages,
		__u64 *runs)
{
	size_t i, num = memory->size / PAGE;
	__u64 *frame;
	int rc;

	rc = frames(memory, &frame);
	if (rc)
		return rc;
	*pages = num;
	*runs = 0;
	for (i = 0; i < num; i++)
		if (i % (part / PAGE) == 0 || frame[i] != frame[i - 1] + 1)
			(*runs)++;
	free(frame);
	return 0;
}

/* The pages are of the kind that was asked for, and lie as they should. */
static int check_layout(const struct memory *memory)
{
	size_t i, num = memory->size / PAGE;
	__u64 compound = bit(KPF_COMPOUND_HEAD) | bit(KPF_COMPOUND_TAIL);
	__u64 *frame, flags, kind = 0, pages, runs;
	int rc;

	rc = memory_runs(memory, memory->size, &pages, &runs);
	if (rc)
		return rc;
	if (runs != memory->size / unit_of(memory->layout))
		return -EAGAIN;
	if (memory->layout == HUGETLB)
		kind = bit(KPF_HUGE);
	else if (memory->layout == THP)
		kind = bit(KPF_THP);
	rc = frames(memory, &frame);
	if (rc)
		return rc;
	for (i = 0; i < num && !rc; i += 97) {
		rc = read_u64s("/proc/kpageflags", frame[i], &flags, 1);
		if (!rc && (flags & (bit(KPF_HUGE) | bit(KPF_THP))) != kind)
			rc = -EAGAIN;
		if (!rc && !kind && flags & compound)
			rc = -EAGAIN;
	}
	free(frame);
	return rc;
}

static int reserve(struct memory *memory)
{
	memory->reserved_size = memory->size + HUGE_SIZE;
	memory->reserved = mmap(NULL, memory->reserved_size, PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				-1, 0);
	if (memory->reserved == MAP_FAILED)
		return -errno;
	memory->at = (char *)(((uintptr_t)memory->reserved + HUGE_SIZE - 1) &
			      ~(HUGE_SIZE - 1));
	return 0;
}

static int map_it(struct memory *memory)
{
	int flags = MAP_FIXED;
	bool huge = memory->layout == THP || memory->layout == CONTIGUOUS;

	if (memory->layout == MEMFD) {
		memory->fd = memfd_create("bench", MFD_CLOEXEC);
		if (memory->fd < 0 || ftruncate(memory->fd, memory->size))
			return -errno;
		flags |= MAP_SHARED;
	} else {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	}
	if (memory->layout == HUGETLB)
		flags |= MAP_HUGETLB;
	if (mmap(memory->at, memory->size, PROT_READ | PROT_WRITE, flags,
		 memory->fd, 0) == MAP_FAILED)
		return -errno;
	if (memory->layout == SCATTERED || huge)
		if (madvise(memory->at, memory->size,
			    huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
			return -errno;
	return 0;
}

static int shmem_huge(const char *when)
{
	return file_write(THP_SETTINGS "/shmem_enabled", when);
}

/* Memory of @size bytes, in the process, in small or huge pages as @layout says */
int memory_make(struct memory *memory, enum layout layout, size_t size)
{
	int rc;

	memset(memory, 0, sizeof(*memory));
	memory->layout = layout;
	memory->size = size;
	memory->fd = -1;
	rc = reserve(memory);
	if (rc)
		return rc;
	rc = map_it(memory);
	if (!rc && layout == MEMFD)
		rc = shmem_huge("always");
	if (!rc)
		rc = populate_apart(memory);
	if (!rc && layout == MEMFD)
		rc = shmem_huge("never");
	if (!rc && (layout == CONTIGUOUS || layout == MEMFD))
		rc = split(memory);
	if (!rc)
		rc = check_layout(memory);
	if (rc)
		memory_free(memory);
	return rc;
}

void memory_free(struct memory *memory)
{
	munmap(memory->reserved, memory->reserved_size);
	if (memory->fd >= 0)
		close(memory->fd);
}
