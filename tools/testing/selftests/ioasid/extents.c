// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registered memory while the kernel, or the process, moves pages about: swap,
 * migration, merging, MADV_DONTNEED, mremap, holes in files. The device stays
 * with the pages that were pinned, and what it has written is not lost after
 * they were let go. Fork is the business of prereg_process.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"

#define MEM_PAGES	64
#define REG		0x123400000000ULL
/* One page beside the memory, that the device copies to and from */
#define DESK_REG	(REG + (1ULL << 32))
#define DESK_IOVA	(4 * TEST_IOVA)
#define BYTES		256

FIXTURE(extents) {
	int iommu;
	struct dma_device dev;
	__u32 prereg;
	__u32 child;
	size_t size;
	char *mem;
	char *desk;
	struct counts counts;
};

FIXTURE_SETUP(extents)
{
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, ioasid_alloc_prereg(self->iommu, &self->prereg));
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->prereg,
					&self->child));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	self->desk = mem_alloc(PAGE);
	ASSERT_NE(NULL, self->desk);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->prereg, READ_WRITE,
				self->desk, DESK_REG, PAGE));
	ASSERT_EQ(0, ioasid_show(self->iommu, self->child, READ_WRITE,
				 DESK_REG, DESK_IOVA, PAGE));
	self->size = MEM_PAGES * PAGE;
	self->mem = mem_alloc(self->size);
	ASSERT_NE(NULL, self->mem);
}

static int unregister(struct _test_data_extents *self)
{
	int rc = ioasid_unmap(self->iommu, self->child, TEST_IOVA, self->size,
			      NULL);

	return rc ? rc : ioasid_unmap(self->iommu, self->prereg, REG,
				      self->size, NULL);
}

FIXTURE_TEARDOWN(extents)
{
	struct counts now;

	/* Unmapping is enough, the context need not go. */
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, self->child, NULL));
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, self->prereg, NULL));
	EXPECT_EQ(0, counts_read(&now));
	EXPECT_EQ(self->counts.pins, now.pins);
	DEVICE_END();
}

/* All of the memory becomes visible for the device. */
static int show_all(struct _test_data_extents *self, __u32 flags)
{
	return ioasid_show(self->iommu, self->child, flags, REG, TEST_IOVA,
			   self->size);
}

static int register_mem(struct _test_data_extents *self, __u32 flags)
{
	int rc = ioasid_map(self->iommu, self->prereg, flags, self->mem, REG,
			    self->size);

	return rc ? rc : show_all(self, flags);
}

static int register_file(struct _test_data_extents *self, __u32 flags, int fd)
{
	int rc = ioasid_map_file(self->iommu, self->prereg, flags, fd, 0, REG,
				 self->size);

	return rc ? rc : show_all(self, flags);
}

/* Whether this is what the device finds at an offset */
static bool device_sees(struct _test_data_extents *self, size_t offset,
			unsigned int seed)
{
	memset(self->desk, 0, BYTES);
	return !dev_dma_copy(&self->dev, TEST_IOVA + offset, DESK_IOVA,
			     BYTES) &&
	       has_pattern(self->desk, BYTES, seed);
}

static int device_writes(struct _test_data_extents *self, size_t offset,
			 unsigned int seed)
{
	fill_pattern(self->desk, BYTES, seed);
	return dev_dma_copy(&self->dev, DESK_IOVA, TEST_IOVA + offset, BYTES);
}

/* Process and device look at the same memory, at some places of it. */
static void same_memory(struct __test_metadata *_metadata,
			struct _test_data_extents *self, char *mem)
{
	size_t at[] = { 0, self->size / 2 + PAGE, self->size - PAGE };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		fill_pattern(mem + at[i], BYTES, 40 + i);
		EXPECT_TRUE(device_sees(self, at[i], 40 + i));
		ASSERT_EQ(0, device_writes(self, at[i], 50 + i));
		EXPECT_TRUE(has_pattern(mem + at[i], BYTES, 50 + i));
	}
}

static void fill_pages(char *mem, size_t size)
{
	size_t at;

	for (at = 0; at < size; at += PAGE)
		fill_pattern(mem + at, BYTES, at / PAGE);
}

/* Return: how many pages do not have what fill_pages() gave them. */
static size_t bad_pages(const char *mem, size_t size)
{
	size_t at, bad = 0;

	for (at = 0; at < size; at += PAGE)
		bad += !has_pattern(mem + at, BYTES, at / PAGE);
	return bad;
}

/* ---- swap ---- */

#define SWAP_DEVICE	"/dev/ram0"
#define SWAP_SIZE	(32UL << 20)

/* As mkswap does, for a device that holds nothing else. */
static int swap_begin(void)
{
	struct {
		char boot[1024];
		__u32 version;
		__u32 last_page;
		__u32 num_bad;
	} *header;
	char *page = calloc(1, PAGE);
	int rc = 0, fd;

	/* A test that has failed may have left it. */
	swapoff(SWAP_DEVICE);
	fd = open(SWAP_DEVICE, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || !page) {
		free(page);
		return -ENODEV;
	}
	header = (void *)page;
	header->version = 1;
	header->last_page = SWAP_SIZE / PAGE - 1;
	memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
	if (write(fd, page, PAGE) != PAGE || fsync(fd))
		rc = -EIO;
	close(fd);
	free(page);
	if (!rc && swapon(SWAP_DEVICE, 0))
		rc = -errno;
	return rc;
}

#define PAGEMAP_SWAPPED	0x4000000000000000ULL

/* Return: how many pages of a range are swapped out, or -1. */
static long num_swapped(const char *mem, size_t size)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long num = 0;
	size_t at;
	__u64 entry;

	for (at = 0; at < size && num >= 0; at += PAGE) {
		off_t pos = (uintptr_t)(mem + at) / PAGE * 8;

		if (pread(fd, &entry, 8, pos) != 8)
			num = -1;
		else if (entry & PAGEMAP_SWAPPED)
			num++;
	}
	close(fd);
	return num;
}

/* Swaps out what can be. Return: how many pages of it are. */
static long swap_out(char *mem, size_t size)
{
	int tries;
	long num = 0;

	for (tries = 0; tries < 20 && !num; tries++) {
		if (madvise(mem, size, MADV_PAGEOUT))
			return -1;
		num = num_swapped(mem, size);
		/* Pages may still be on their way to where reclaim sees them. */
		if (!num)
			usleep(20000);
	}
	return num;
}

TEST_F_TIMEOUT(extents, swap, 60)
{
	char *other = mem_alloc(self->size);

	ASSERT_NE(NULL, other);
	if (swap_begin())
		SKIP(return, "no " SWAP_DEVICE " for swap");
	fill_pages(self->mem, self->size);
	fill_pages(other, self->size);
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	/* What is not pinned goes, what is pinned stays. */
	EXPECT_LT(0, swap_out(other, self->size));
	EXPECT_EQ(0, madvise(self->mem, self->size, MADV_PAGEOUT));
	EXPECT_EQ(0, num_swapped(self->mem, self->size));
	EXPECT_EQ(0, bad_pages(other, self->size));
	EXPECT_EQ(0, bad_pages(self->mem, self->size));
	same_memory(_metadata, self, self->mem);

	/* What the device has written goes to swap with the page. */
	fill_pages(self->mem, self->size);
	ASSERT_EQ(0, device_writes(self, 5 * PAGE, 77));
	ASSERT_EQ(0, unregister(self));
	EXPECT_LT(0, swap_out(self->mem, self->size));
	EXPECT_TRUE(has_pattern(self->mem + 5 * PAGE, BYTES, 77));
	fill_pattern(self->mem + 5 * PAGE, BYTES, 5);
	EXPECT_EQ(0, bad_pages(self->mem, self->size));

	/* Registered while it is swapped out */
	EXPECT_LT(0, swap_out(self->mem, self->size));
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	EXPECT_EQ(0, num_swapped(self->mem, self->size));
	EXPECT_TRUE(device_sees(self, 9 * PAGE, 9));
	same_memory(_metadata, self, self->mem);
	EXPECT_EQ(0, swapoff(SWAP_DEVICE));
}

/* A page of a file that only the device has written is as good as any other. */
TEST_F_TIMEOUT(extents, swap_file, 60)
{
	int fd = memfd_create("ioasid", MFD_CLOEXEC);
	char *mem;

	if (swap_begin())
		SKIP(return, "no " SWAP_DEVICE " for swap");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, self->size));
	ASSERT_EQ(0, register_file(self, READ_WRITE, fd));
	ASSERT_EQ(0, device_writes(self, 0, 70));
	ASSERT_EQ(0, device_writes(self, 7 * PAGE, 77));
	ASSERT_EQ(0, unregister(self));
	mem = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	/* In the page table, so that MADV_PAGEOUT finds them */
	EXPECT_TRUE(has_pattern(mem, BYTES, 70));
	EXPECT_TRUE(has_pattern(mem + 7 * PAGE, BYTES, 77));
	EXPECT_EQ(0, madvise(mem, self->size, MADV_PAGEOUT));
	EXPECT_TRUE(has_pattern(mem, BYTES, 70));
	EXPECT_TRUE(has_pattern(mem + 7 * PAGE, BYTES, 77));
	ASSERT_EQ(0, register_file(self, READ_WRITE, fd));
	same_memory(_metadata, self, mem);
	ASSERT_EQ(0, unregister(self));
	munmap(mem, self->size);
	close(fd);
	EXPECT_EQ(0, swapoff(SWAP_DEVICE));
}

/* ---- what the process does to its address space ---- */

TEST_F(extents, dontneed)
{
	fill_pages(self->mem, self->size);
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	ASSERT_EQ(0, madvise(self->mem, self->size / 2, MADV_DONTNEED));
	/* The process starts anew, the device has the old pages. */
	EXPECT_TRUE(all_bytes(self->mem, self->size / 2, 0));
	EXPECT_TRUE(device_sees(self, 3 * PAGE, 3));
	ASSERT_EQ(0, device_writes(self, 4 * PAGE, 9));
	EXPECT_TRUE(device_sees(self, 4 * PAGE, 9));
	EXPECT_TRUE(all_bytes(self->mem, self->size / 2, 0));
	fill_pattern(self->mem + 3 * PAGE, BYTES, 99);
	EXPECT_TRUE(device_sees(self, 3 * PAGE, 3));
	/* The other half is still shared. */
	fill_pattern(self->mem + self->size - PAGE, BYTES, 99);
	EXPECT_TRUE(device_sees(self, self->size - PAGE, 99));

	/* Who registers it again gets what the process has now. */
	ASSERT_EQ(0, unregister(self));
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	EXPECT_TRUE(device_sees(self, 3 * PAGE, 99));
	same_memory(_metadata, self, self->mem);
}

TEST_F(extents, mremap)
{
	char *to = mmap(NULL, self->size, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, to);
	fill_pages(self->mem, self->size);
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	ASSERT_EQ(to, mremap(self->mem, self->size, self->size,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(0, bad_pages(to, self->size));
	same_memory(_metadata, self, to);

	/* Something else at the old place is nothing to the device. */
	ASSERT_EQ(self->mem, mmap(self->mem, self->size, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				  0));
	memset(self->mem, 0xee, self->size);
	same_memory(_metadata, self, to);
	EXPECT_TRUE(all_bytes(self->mem, self->size, 0xee));
	munmap(to, self->size);
}

TEST_F(extents, munmap)
{
	fill_pages(self->mem, self->size);
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	ASSERT_EQ(0, munmap(self->mem, self->size));
	EXPECT_TRUE(device_sees(self, 11 * PAGE, 11));
	ASSERT_EQ(0, device_writes(self, 12 * PAGE, 99));
	EXPECT_TRUE(device_sees(self, 12 * PAGE, 99));
}

TEST_F(extents, mprotect)
{
	fill_pages(self->mem, self->size);
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	ASSERT_EQ(0, mprotect(self->mem, self->size, PROT_NONE));
	EXPECT_TRUE(device_sees(self, 11 * PAGE, 11));
	ASSERT_EQ(0, device_writes(self, 12 * PAGE, 99));
	ASSERT_EQ(0, mprotect(self->mem, self->size, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(has_pattern(self->mem + 12 * PAGE, BYTES, 99));
	same_memory(_metadata, self, self->mem);
}

/* Not written before: no page of zeroes that everybody shares is pinned. */
TEST_F(extents, never_touched)
{
	/* Reading maps the page of zeroes. */
	EXPECT_TRUE(all_bytes(self->mem, self->size / 2, 0));
	ASSERT_EQ(0, register_mem(self, READ_ONLY));
	fill_pages(self->mem, self->size);
	EXPECT_TRUE(device_sees(self, 3 * PAGE, 3));
	EXPECT_TRUE(device_sees(self, self->size - PAGE, MEM_PAGES - 1));
}

/* ---- merged pages ---- */

#define KSM "/sys/kernel/mm/ksm/"

static long ksm_number(const char *name)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), KSM "%s", name);
	return file_read(path, text, sizeof(text)) < 0 ? -1 : atol(text);
}

/* Waits until all has been looked at often enough to be merged. */
static int ksm_scan(void)
{
	long end = ksm_number("full_scans") + 4;
	double until = seconds() + 30;

	while (ksm_number("full_scans") < end) {
		if (seconds() > until)
			return -ETIMEDOUT;
		usleep(20000);
	}
	return 0;
}

static int ksm_begin(void)
{
	int rc = file_write(KSM "pages_to_scan", "2000");

	if (!rc)
		rc = file_write(KSM "sleep_millisecs", "10");
	return rc ? rc : file_write(KSM "run", "1");
}

TEST_F_TIMEOUT(extents, merged_before, 60)
{
	if (ksm_begin())
		SKIP(return, "the kernel merges no pages");
	memset(self->mem, 0x77, self->size);
	ASSERT_EQ(0, madvise(self->mem, self->size, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_scan());
	EXPECT_LT(0, ksm_number("pages_shared"));
	/* Pinned pages are the process's own again, also if only to be read. */
	ASSERT_EQ(0, register_mem(self, READ_ONLY));
	EXPECT_TRUE(all_bytes(self->mem, self->size, 0x77));
	fill_pattern(self->mem + 3 * PAGE, BYTES, 3);
	EXPECT_TRUE(device_sees(self, 3 * PAGE, 3));
	EXPECT_TRUE(all_bytes(self->mem + 4 * PAGE, self->size - 4 * PAGE,
			      0x77));
	ASSERT_EQ(0, unregister(self));

	memset(self->mem, 0x78, self->size);
	ASSERT_EQ(0, ksm_scan());
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	ASSERT_EQ(0, device_writes(self, 5 * PAGE, 5));
	EXPECT_TRUE(has_pattern(self->mem + 5 * PAGE, BYTES, 5));
	EXPECT_TRUE(all_bytes(self->mem + 6 * PAGE, self->size - 6 * PAGE,
			      0x78));
	same_memory(_metadata, self, self->mem);
	EXPECT_EQ(0, file_write(KSM "run", "2"));
	EXPECT_EQ(0, file_write(KSM "run", "0"));
}

TEST_F_TIMEOUT(extents, merged_while_pinned, 60)
{
	char *other = mem_alloc(self->size);

	ASSERT_NE(NULL, other);
	if (ksm_begin())
		SKIP(return, "the kernel merges no pages");
	memset(self->mem, 0x79, self->size);
	memset(other, 0x79, self->size);
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	ASSERT_EQ(0, madvise(self->mem, self->size, MADV_MERGEABLE));
	ASSERT_EQ(0, madvise(other, self->size, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_scan());
	EXPECT_LT(0, ksm_number("pages_shared"));
	ASSERT_EQ(0, device_writes(self, 5 * PAGE, 5));
	EXPECT_TRUE(has_pattern(self->mem + 5 * PAGE, BYTES, 5));
	EXPECT_TRUE(all_bytes(other, self->size, 0x79));
	same_memory(_metadata, self, self->mem);
	EXPECT_EQ(0, file_write(KSM "run", "2"));
	EXPECT_EQ(0, file_write(KSM "run", "0"));
}

/* ---- pages that the kernel would like elsewhere ---- */

TEST_F_TIMEOUT(extents, compaction, 60)
{
	int i;

	fill_pages(self->mem, self->size);
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	for (i = 0; i < 4; i++) {
		if (file_write("/proc/sys/vm/compact_memory", "1"))
			SKIP(return, "the kernel does not compact memory");
		EXPECT_EQ(0, bad_pages(self->mem, self->size));
		EXPECT_TRUE(device_sees(self, (10 + i) * PAGE, 10 + i));
		same_memory(_metadata, self, self->mem);
		fill_pages(self->mem, self->size);
	}
}

/* Huge pages that are cut in the process's table, before and after */
TEST_F(extents, transparent_huge_pages)
{
	char *mem = mmap(NULL, 3 * HUGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *huge;

	ASSERT_NE(MAP_FAILED, mem);
	huge = (char *)(((uintptr_t)mem + HUGE_SIZE - 1) & -HUGE_SIZE);
	madvise(mem, 3 * HUGE_SIZE, MADV_HUGEPAGE);
	memset(huge, 0x22, 2 * HUGE_SIZE);
	ASSERT_EQ(0, madvise(huge + 7 * PAGE, PAGE, MADV_DONTNEED));
	/* From the middle of one to the middle of the next */
	self->mem = huge + 3 * PAGE;
	self->size = HUGE_SIZE + 4 * PAGE;
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	same_memory(_metadata, self, self->mem);
	EXPECT_TRUE(all_bytes(huge, 3 * PAGE, 0x22));

	fill_pattern(self->mem + PAGE, BYTES, 1);
	fill_pattern(huge + HUGE_SIZE, BYTES, 2);
	ASSERT_EQ(0, madvise(huge, HUGE_SIZE / 2, MADV_DONTNEED));
	ASSERT_EQ(0, mprotect(huge + HUGE_SIZE, 2 * PAGE, PROT_READ));
	EXPECT_TRUE(device_sees(self, PAGE, 1));
	EXPECT_TRUE(device_sees(self, HUGE_SIZE - 3 * PAGE, 2));
	ASSERT_EQ(0, device_writes(self, HUGE_SIZE - 2 * PAGE, 3));
	EXPECT_TRUE(has_pattern(huge + HUGE_SIZE + PAGE, BYTES, 3));
	ASSERT_EQ(0, munmap(mem, 3 * HUGE_SIZE));
	EXPECT_TRUE(device_sees(self, HUGE_SIZE - 2 * PAGE, 3));
}

TEST_F(extents, huge_pages)
{
	char *mem = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE_2M,
			 -1, 0);

	if (mem == MAP_FAILED)
		SKIP(return, "no two free huge pages");
	memset(mem, 0x33, 2 * HUGE_SIZE);
	self->mem = mem + HUGE_SIZE - 5 * PAGE;
	self->size = 10 * PAGE;
	ASSERT_EQ(0, register_mem(self, READ_WRITE));
	same_memory(_metadata, self, self->mem);
	EXPECT_TRUE(all_bytes(mem, HUGE_SIZE - 5 * PAGE, 0x33));
	EXPECT_TRUE(all_bytes(mem + HUGE_SIZE + 5 * PAGE, HUGE_SIZE - 5 * PAGE,
			      0x33));
	fill_pattern(self->mem, BYTES, 1);
	ASSERT_EQ(0, munmap(mem, 2 * HUGE_SIZE));
	EXPECT_TRUE(device_sees(self, 0, 1));
}

/* ---- files ---- */

static void file_loses_pages(struct __test_metadata *_metadata,
			     struct _test_data_extents *self, int flags,
			     size_t page)
{
	int fd = memfd_create("ioasid", MFD_CLOEXEC | flags);
	char *mem;

	if (fd < 0 && flags & MFD_HUGETLB)
		SKIP(return, "no free huge pages");
	ASSERT_LE(0, fd);
	if (self->size < 2 * page)
		self->size = 2 * page;
	if (ftruncate(fd, self->size) || fallocate(fd, 0, 0, self->size)) {
		close(fd);
		SKIP(return, "no two free huge pages");
	}
	mem = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, register_file(self, READ_WRITE, fd));
	same_memory(_metadata, self, mem);
	fill_pattern(mem, BYTES, 1);
	fill_pattern(mem + self->size - PAGE, BYTES, 2);

	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       0, page));
	EXPECT_TRUE(all_bytes(mem, BYTES, 0));
	EXPECT_TRUE(device_sees(self, 0, 1));
	ASSERT_EQ(0, ftruncate(fd, page));
	EXPECT_TRUE(device_sees(self, self->size - PAGE, 2));
	ASSERT_EQ(0, device_writes(self, self->size - PAGE, 3));
	EXPECT_TRUE(device_sees(self, self->size - PAGE, 3));
	/* The file has other pages when it grows again. */
	ASSERT_EQ(0, ftruncate(fd, self->size));
	EXPECT_TRUE(all_bytes(mem + self->size - PAGE, BYTES, 0));
	ASSERT_EQ(0, munmap(mem, self->size));
	close(fd);
}

TEST_F(extents, file_loses_pages)
{
	file_loses_pages(_metadata, self, 0, PAGE);
}

TEST_F(extents, huge_file_loses_pages)
{
	file_loses_pages(_metadata, self, MFD_HUGETLB | HUGE_2M, HUGE_SIZE);
}

TEST_HARNESS_MAIN
