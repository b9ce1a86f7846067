// SPDX-License-Identifier: GPL-2.0-only
/*
 * What devices reach, by real DMA: all of what is mapped for them, in the way
 * that it is mapped, and nothing else. The device does not notice when the
 * IOMMU refuses its DMA, so the memory tells.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"

#define MEM_PAGES	16
#define COPY		1024

FIXTURE(dma) {
	int iommu;
	struct dma_device dev;
	struct dma_device second;
	__u32 ioasid;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(dma)
{
	struct dma_device devs[2];

	if (!DEVICE_BEGIN())
		return;
	self->second.fd = -1;
	if (dev_find_alone(devs, 2) > 1)
		self->second = devs[1];
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	self->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0, MEM_PAGES * PAGE);
}

FIXTURE_TEARDOWN(dma)
{
	dev_close(&self->second);
	DEVICE_END();
}

/* All of the memory at TEST_IOVA, and the device there. */
static int map_and_attach(struct _test_data_dma *self)
{
	int rc = ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			    TEST_IOVA, MEM_PAGES * PAGE);

	return rc ? rc : vfio_attach(self->dev.fd, self->ioasid);
}

/*
 * Whether the device can write to @iova, which shows @mem if anything, and
 * read it again. A page of @mem at a time.
 */
static bool can_write(struct dma_device *dev, __u64 iova, char *mem)
{
	memset(mem, 0x5a, COPY);
	/* The device's buffer holds what it read last; it is not 0x5a. */
	if (dev_dma(dev, iova, COPY, true))
		return false;
	return !all_bytes(mem, COPY, 0x5a);
}

/* Puts a pattern into the device's buffer, from memory at @iova. */
static int load(struct dma_device *dev, __u64 iova, char *mem, unsigned int seed)
{
	fill_pattern(mem, COPY, seed);
	return dev_dma(dev, iova, COPY, false);
}

TEST_F(dma, both_ways)
{
	size_t size = 2 * PAGE;

	ASSERT_EQ(0, map_and_attach(self));
	fill_pattern(self->mem, size, 1);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA, TEST_IOVA + 4 * PAGE,
				  size));
	EXPECT_TRUE(has_pattern(self->mem, size, 1));
	EXPECT_TRUE(has_pattern(self->mem + 4 * PAGE, size, 1));
	/* Not a byte more. */
	EXPECT_TRUE(all_bytes(self->mem + 2 * PAGE, 2 * PAGE, 0));
	EXPECT_TRUE(all_bytes(self->mem + 6 * PAGE, 10 * PAGE, 0));
}

TEST_F(dma, odd_addresses)
{
	ASSERT_EQ(0, map_and_attach(self));
	fill_pattern(self->mem + PAGE - 101, 333, 1);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA + PAGE - 101,
				  TEST_IOVA + 5 * PAGE - 7, 333));
	EXPECT_TRUE(has_pattern(self->mem + 5 * PAGE - 7, 333, 1));
	EXPECT_EQ(0, self->mem[5 * PAGE - 8]);
	EXPECT_EQ(0, self->mem[5 * PAGE - 7 + 333]);
}

/* One DMA over the border of two mappings, of memory that lies elsewhere. */
TEST_F(dma, across_mappings)
{
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + 8 * PAGE, TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + 2 * PAGE, TEST_IOVA + PAGE, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA + 2 * PAGE, PAGE));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA + 2 * PAGE, self->mem, 1));
	ASSERT_EQ(0, dev_dma(&self->dev, TEST_IOVA + PAGE - COPY / 2, COPY,
			     true));
	EXPECT_EQ(0, memcmp(self->mem, self->mem + 9 * PAGE - COPY / 2,
			    COPY / 2));
	EXPECT_EQ(0, memcmp(self->mem + COPY / 2, self->mem + 2 * PAGE,
			    COPY / 2));
}

/* Pages in another order than the process has them. */
TEST_F(dma, scattered_memory)
{
	int i;

	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	for (i = 0; i < MEM_PAGES; i++) {
		memset(self->mem + i * PAGE, i + 1, PAGE);
		ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
					self->mem + i * PAGE, TEST_IOVA +
					(i * 5 % MEM_PAGES) * PAGE, PAGE));
	}
	for (i = 0; i < MEM_PAGES; i += 5) {
		ASSERT_EQ(0, dev_dma(&self->dev, TEST_IOVA +
				     (i * 5 % MEM_PAGES) * PAGE, COPY, false));
		ASSERT_EQ(0, dev_dma(&self->dev, TEST_IOVA +
				     (1 * 5 % MEM_PAGES) * PAGE, COPY, true));
		EXPECT_TRUE(all_bytes(self->mem + PAGE, COPY, i + 1));
	}
}

TEST_F(dma, outside_is_out_of_reach)
{
	/* The neighbours of what is mapped, in memory as in address. */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + 4 * PAGE, TEST_IOVA + 4 * PAGE,
				2 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA + 4 * PAGE,
			  self->mem + 4 * PAGE, 1));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + 5 * PAGE,
			      self->mem + 5 * PAGE));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA + 3 * PAGE,
			       self->mem + 3 * PAGE));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA + 6 * PAGE,
			       self->mem + 6 * PAGE));
	EXPECT_FALSE(can_write(&self->dev, 0, self->mem));
}

TEST_F(dma, read_only)
{
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_ONLY, self->mem,
				TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + PAGE, TEST_IOVA + PAGE, PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
	EXPECT_TRUE(has_pattern(self->mem + PAGE, COPY, 1));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
}

TEST_F(dma, write_only)
{
	if (!dev_has_write_only(&self->dev, self->iommu))
		SKIP(return, "the IOMMU cannot refuse reads alone");
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, WRITE_ONLY,
				self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + PAGE, TEST_IOVA + PAGE, PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE, 1));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_TRUE(has_pattern(self->mem, COPY, 1));

	/* A secret is in it now, and must not come out. */
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 2));
	ASSERT_EQ(0, dev_dma(&self->dev, TEST_IOVA + PAGE, COPY, true));
	EXPECT_FALSE(has_pattern(self->mem + PAGE, COPY, 2));
}

/*
 * Memory that was never touched is all the zero page. Who pins it for reading
 * must still see what the process writes later.
 */
TEST_F(dma, read_only_sees_later_writes)
{
	char *fresh = mem_alloc(PAGE);

	ASSERT_NE(NULL, fresh);
	ASSERT_EQ(0, map_and_attach(self));
	/* Seen by the process as zero, which makes no page of its own. */
	ASSERT_EQ(0, fresh[0]);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_ONLY, fresh,
				TEST_IOVA + MEM_PAGES * PAGE, PAGE));
	fill_pattern(fresh, COPY, 1);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA + MEM_PAGES * PAGE,
				  TEST_IOVA, COPY));
	EXPECT_TRUE(has_pattern(self->mem, COPY, 1));
}

/* ---- the end of a mapping ---- */

TEST_F(dma, unmap_ends_it)
{
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + PAGE, TEST_IOVA + PAGE, PAGE));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	/* The IOMMU has the translation in its cache now. */
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, TEST_IOVA, PAGE,
				  NULL));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	/* Its neighbour is still there. */
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));

	/* Other memory at the same address. */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem + 2 * PAGE, TEST_IOVA, PAGE));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem + 2 * PAGE));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem + 2 * PAGE));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
}

/* The device follows the pages that were pinned, not the address of them. */
TEST_F(dma, process_changes_its_memory)
{
	char *other;

	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));

	/* New pages at the old place: the device still has the old ones. */
	ASSERT_EQ(self->mem + PAGE,
		  mmap(self->mem + PAGE, PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));

	/* Moved pages are the same. */
	other = mremap(self->mem + 2 * PAGE, PAGE, PAGE,
		       MREMAP_MAYMOVE | MREMAP_FIXED, self->mem + PAGE);
	ASSERT_EQ(self->mem + PAGE, other);
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + 2 * PAGE, other));
}

/* A child that writes to shared pages gets copies; the device does not. */
TEST_F(dma, fork)
{
	pid_t pid;
	int status;

	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		memset(self->mem + PAGE, 0x33, PAGE);
		_exit(!all_bytes(self->mem + PAGE, PAGE, 0x33));
	}
	/* The parent writes, too, and must not be the one that is copied. */
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
	EXPECT_TRUE(has_pattern(self->mem + PAGE, COPY, 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
}

#define KPF_DIRTY	0x10ULL

/* Flags of the page at @mem, as /proc/kpageflags gives them. */
static int page_flags(const void *mem, __u64 *flags)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	int kpageflags = open("/proc/kpageflags", O_RDONLY);
	__u64 entry;
	int rc = -EIO;

	if (pagemap >= 0 && kpageflags >= 0 &&
	    pread(pagemap, &entry, 8, (uintptr_t)mem / PAGE * 8) == 8 &&
	    (entry & (1ULL << 63)) &&
	    pread(kpageflags, flags, 8, (entry & ((1ULL << 55) - 1)) * 8) == 8)
		rc = 0;
	close(pagemap);
	close(kpageflags);
	return rc;
}

/*
 * The CPU notes in its own page tables what it writes; what a device writes
 * must be noted when the page is let go, or swapping loses it.
 */
TEST_F(dma, written_memory_is_dirty)
{
	__u64 flags;

	if (page_flags(self->mem, &flags))
		SKIP(return, "the kernel does not show page flags");
	EXPECT_EQ(0, flags & KPF_DIRTY);
	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE, 1));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, page_flags(self->mem, &flags));
	EXPECT_EQ(KPF_DIRTY, flags & KPF_DIRTY);
	EXPECT_TRUE(has_pattern(self->mem, COPY, 1));
}

/* Data that a device has put into a file is there for everybody else. */
TEST_F(dma, written_file_persists)
{
	int fd = memfd_create("ioasid", MFD_CLOEXEC);
	char data[COPY], *file;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE, file,
				TEST_IOVA + MEM_PAGES * PAGE, PAGE));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	ASSERT_EQ(0, dev_dma(&self->dev, TEST_IOVA + MEM_PAGES * PAGE, COPY,
			     true));
	ASSERT_EQ(0, munmap(file, PAGE));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(COPY, pread(fd, data, COPY, 0));
	EXPECT_TRUE(has_pattern(data, COPY, 1));
	close(fd);
}

TEST_F(dma, kernel_chooses_iova)
{
	__u64 first, second;
	__u32 ioasid;

	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 28, 0, &ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, ioasid));
	ASSERT_EQ(0, ioasid_map_alloc(self->iommu, ioasid, READ_WRITE,
				      self->mem, PAGE, &first));
	ASSERT_EQ(0, ioasid_map_alloc(self->iommu, ioasid, READ_WRITE,
				      self->mem + PAGE, PAGE, &second));
	fill_pattern(self->mem, COPY, 1);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, first, second, COPY));
	EXPECT_TRUE(has_pattern(self->mem + PAGE, COPY, 1));
}

/* Large pages in the page table, and a hole that is cut out beside them. */
TEST_F(dma, huge_pages)
{
	__u64 iova = 2 * HUGE_SIZE;
	char *mem;

	mem = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (mem == MAP_FAILED)
		SKIP(return, "no two free huge pages");
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE, mem,
				iova, HUGE_SIZE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				mem + HUGE_SIZE, iova + HUGE_SIZE, HUGE_SIZE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, load(&self->dev, iova + 5, mem + 5, 1));
	EXPECT_TRUE(can_write(&self->dev, iova + 2 * HUGE_SIZE - COPY,
			      mem + 2 * HUGE_SIZE - COPY));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, iova + HUGE_SIZE,
				  HUGE_SIZE, NULL));
	EXPECT_FALSE(can_write(&self->dev, iova + 2 * HUGE_SIZE - COPY,
			       mem + 2 * HUGE_SIZE - COPY));
	EXPECT_TRUE(can_write(&self->dev, iova + HUGE_SIZE - COPY,
			      mem + HUGE_SIZE - COPY));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	munmap(mem, 2 * HUGE_SIZE);
}

static char *map_over(char *at, size_t size, int flags)
{
	return mmap(at, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0);
}

/*
 * Small pages, two huge pages, more small pages and another huge page in one
 * mapping: how they are pinned changes within it, and within a huge page.
 */
TEST_F(dma, mixed_pages)
{
	const size_t at[] = {
		0, 3 * PAGE - COPY, 3 * PAGE, 3 * PAGE + HUGE_SIZE - COPY,
		3 * PAGE + HUGE_SIZE, 3 * PAGE + 2 * HUGE_SIZE - COPY,
		3 * PAGE + 2 * HUGE_SIZE, 3 * PAGE + 3 * HUGE_SIZE - COPY,
		3 * PAGE + 3 * HUGE_SIZE, 8 * PAGE + 3 * HUGE_SIZE - COPY,
	};
	size_t size = 8 * PAGE + 3 * HUGE_SIZE;
	__u64 iova = 8 * HUGE_SIZE - 3 * PAGE;
	char *room, *huge, *mem;
	struct counts now;
	unsigned int i;

	room = mmap(NULL, 6 * HUGE_SIZE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	huge = (char *)(((uintptr_t)room + 2 * HUGE_SIZE - 1) & -HUGE_SIZE);
	mem = huge - 3 * PAGE;
	ASSERT_EQ(mem, map_over(mem, size, 0));
	if (map_over(huge, 2 * HUGE_SIZE, MAP_HUGETLB) != huge ||
	    map_over(huge + 3 * HUGE_SIZE, HUGE_SIZE,
		     MAP_HUGETLB) == MAP_FAILED)
		SKIP(return, "no three free huge pages");
	memset(mem, 0, size);

	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE, mem,
				iova, size));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(size, now.locked - self->counts.locked);
	/* Each of the small pages between the huge ones, at least */
	EXPECT_LE(HUGE_SIZE / PAGE, now.pins - self->counts.pins);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		ASSERT_EQ(0, load(&self->dev, iova + at[i], mem + at[i], i));
		EXPECT_TRUE(can_write(&self->dev, iova + at[i], mem + at[i]));
	}
	/* The device is the last one that has the huge pages. */
	ASSERT_EQ(0, munmap(room, 6 * HUGE_SIZE));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(self->counts.pins, now.pins);
	EXPECT_EQ(self->counts.locked, now.locked);
}

/* ---- attach and detach ---- */

/* A device that was bound and never attached reaches nothing. */
TEST_F(dma, not_attached)
{
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, PAGE));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_FALSE(can_write(&self->dev, (uintptr_t)self->mem & 0xffff000,
			       self->mem));
}

TEST_F(dma, detach_ends_it)
{
	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	/* Once more is no error and changes nothing. */
	EXPECT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));

	/* The mappings have waited for the device. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + 15 * PAGE,
			      self->mem + 15 * PAGE));
}

TEST_F(dma, attach_again)
{
	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
}

TEST_F(dma, replace)
{
	__u32 other;

	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	/* The same address shows other memory there, and there is less. */
	ASSERT_EQ(0, ioasid_map(self->iommu, other, READ_WRITE,
				self->mem + 8 * PAGE, TEST_IOVA, PAGE));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, other));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem + 8 * PAGE));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
	/* The old one is free to go. */
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, other));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem + 8 * PAGE));
}

TEST_F(dma, replace_fails)
{
	struct iommu_ioasid_info info;
	__u32 conflict, gone, lost;
	char *nothing = mem_alloc(PAGE);

	ASSERT_NE(NULL, nothing);
	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &gone));
	ASSERT_EQ(0, ioasid_free(self->iommu, gone));
	EXPECT_EQ(-ENOENT, vfio_attach(self->dev.fd, gone));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));

	/* Something is mapped where the device's interrupts are. */
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &conflict));
	ASSERT_EQ(0, ioasid_map(self->iommu, conflict, READ_WRITE,
				self->mem + PAGE, TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, conflict, READ_WRITE,
				self->mem + PAGE, msi_first, PAGE));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, conflict));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem + PAGE));
	ASSERT_EQ(0, ioasid_totals(self->iommu, conflict, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.pinned_bytes);
	EXPECT_EQ(0, ioasid_free(self->iommu, conflict));

	/* The memory of a mapping is not there any more. */
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &lost));
	ASSERT_EQ(0, ioasid_map(self->iommu, lost, READ_WRITE, nothing,
				TEST_IOVA, PAGE));
	ASSERT_EQ(0, munmap(nothing, PAGE));
	EXPECT_EQ(-EFAULT, vfio_attach(self->dev.fd, lost));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_EQ(0, ioasid_free(self->iommu, lost));

	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_devices);
	EXPECT_EQ(MEM_PAGES * PAGE, info.pinned_bytes);
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
}

/* ---- two devices ---- */

TEST_F(dma, two_devices)
{
	struct iommu_ioasid_info info;
	__u32 other;

	if (!self->second.cdev[0])
		SKIP(return, "no second DMA device");
	ASSERT_EQ(0, dev_open_bind(&self->second, self->iommu));
	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	EXPECT_FALSE(can_write(&self->second, TEST_IOVA, self->mem));
	ASSERT_EQ(0, vfio_attach(self->second.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(2, info.num_devices);

	/* From one to the other through the memory that both see. */
	ASSERT_EQ(0, load(&self->second, TEST_IOVA, self->mem, 2));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
	EXPECT_TRUE(has_pattern(self->mem + PAGE, COPY, 1));
	EXPECT_TRUE(can_write(&self->second, TEST_IOVA + PAGE,
			      self->mem + PAGE));
	EXPECT_TRUE(has_pattern(self->mem + PAGE, COPY, 2));

	/* One leaves, the other stays. */
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_TRUE(can_write(&self->second, TEST_IOVA, self->mem));

	/* Each in its own. */
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	ASSERT_EQ(0, ioasid_map(self->iommu, other, READ_WRITE,
				self->mem + 8 * PAGE, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, other));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem + 8 * PAGE));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_TRUE(can_write(&self->second, TEST_IOVA, self->mem));

	/* What is unmapped is gone for both. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_FALSE(can_write(&self->second, TEST_IOVA, self->mem));
}

/* A device keeps its context; what it was given works to the end. */
TEST_F(dma, close_iommu_first)
{
	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	close(self->iommu);
	self->iommu = -1;
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	EXPECT_TRUE(has_pattern(self->mem, COPY, 1));
	dev_close(&self->dev);
}

/* What a device has left behind is nobody's: the next user starts at zero. */
TEST_F(dma, bind_again)
{
	int other = iommu_open();

	ASSERT_LE(0, other);
	ASSERT_EQ(0, map_and_attach(self));
	ASSERT_EQ(0, load(&self->dev, TEST_IOVA, self->mem, 1));
	EXPECT_TRUE(can_write(&self->dev, TEST_IOVA, self->mem));
	dev_close(&self->dev);
	ASSERT_EQ(0, dev_open_bind(&self->dev, other));
	EXPECT_FALSE(can_write(&self->dev, TEST_IOVA, self->mem));
	/* Its address spaces are in the other context. */
	EXPECT_EQ(-ENOENT, vfio_attach(self->dev.fd, self->ioasid));
	close(other);
}

TEST_HARNESS_MAIN
