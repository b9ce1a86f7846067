// SPDX-License-Identifier: GPL-2.0-only
/*
 * POWER: DMA windows that are TCE tables in hardware, by real DMA. Elsewhere the
 * tests are skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"

#define MEM_PAGES	64
#define FIXED		IOMMU_WINDOW_CREATE_FIXED
#define MIB		0x100000ULL
#define GIB		0x40000000ULL
#define TCE_4K		4096ULL
#define TCE_64K		65536ULL
#define COPY		1024
/* An address bit that selects the second window on bare metal */
#define BARE_METAL_BASE	0x800000000000000ULL
#define PCI_BUS		"/sys/bus/pci"

FIXTURE(tce) {
	int iommu;
	struct dma_device dev;
	struct dma_device second;
	struct iommu_device_info info;
	struct iommu_range window;
	__u32 ioasid;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(tce)
{
	struct dma_device devs[2];

	if (!DEVICE_BEGIN())
		return;
	MEM_BEGIN(MEM_PAGES * PAGE);
	self->second.fd = -1;
	self->info.num_ranges = 1;
	self->info.ranges = (uintptr_t)&self->window;
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id,
				       &self->info));
	if (!self->info.num_windows)
		SKIP(return, "no device with DMA windows");
	if (dev_find_alone(devs, 2) > 1)
		self->second = devs[1];
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
}

FIXTURE_TEARDOWN(tce)
{
	dev_close(&self->second);
	DEVICE_END();
}

static __u64 window_length(const struct _test_data_tce *self)
{
	return self->window.last - self->window.first + 1;
}

static int attach(struct _test_data_tce *self)
{
	return vfio_attach(self->dev.fd, self->ioasid);
}

static int map_at(struct _test_data_tce *self, char *mem, __u64 iova,
		  __u64 length)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, mem, iova,
			  length);
}

static int unmap_at(struct _test_data_tce *self, __u64 iova, __u64 length)
{
	return ioasid_unmap(self->iommu, self->ioasid, iova, length, NULL);
}

static int create(struct _test_data_tce *self, __u32 flags, __u64 page_size,
		  __u64 *iova, __u64 length)
{
	return ioasid_window_create(self->iommu, self->ioasid, flags, page_size,
				    iova, length);
}

static int drop(struct _test_data_tce *self, __u64 iova)
{
	return ioasid_window_remove(self->iommu, self->ioasid, iova);
}

static int second_bind(struct _test_data_tce *self)
{
	struct dma_device devs[2];

	if (dev_find_alone(devs, 2) < 2)
		return -ENODEV;
	self->second = devs[1];
	return dev_open_bind(&self->second, self->iommu);
}

/* Whether a device finds at @iova what lies at @mem, and writes there */
static bool reaches(struct dma_device *dev, __u64 iova, char *mem)
{
	fill_pattern(mem, COPY, 7);
	if (dev_dma(dev, iova, COPY, false))
		return false;
	memset(mem, 0, COPY);
	return !dev_dma(dev, iova, COPY, true) && has_pattern(mem, COPY, 7);
}

/* Whether nothing of @mem is reached at @iova */
static bool out_of_reach(struct dma_device *dev, __u64 iova, char *mem)
{
	memset(mem, 0x5a, COPY);
	return !dev_dma(dev, iova, COPY, true) && all_bytes(mem, COPY, 0x5a);
}

static bool permits(struct _test_data_tce *self, const struct iommu_range *want,
		    __u32 num)
{
	return ioasid_permits(self->iommu, self->ioasid, want, num);
}

static bool below_hypervisor(void)
{
	char cpu[4096];

	return file_read("/proc/cpuinfo", cpu, sizeof(cpu)) > 0 &&
	       strstr(cpu, "pSeries");
}

/* A program that asks for nothing special */
TEST_F(tce, just_works)
{
	const struct iommu_range all = { 0, -1 };

	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, attach(self));
	EXPECT_TRUE(permits(self, &self->window, 1));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, map_at(self, self->mem + PAGE, TEST_IOVA + PAGE, PAGE));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
	ASSERT_EQ(0, unmap_at(self, TEST_IOVA + PAGE, PAGE));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	/* Something is mapped, so the window stays for the next device. */
	EXPECT_TRUE(permits(self, &self->window, 1));
	ASSERT_EQ(0, attach(self));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, unmap_at(self, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_TRUE(permits(self, &all, 1));
}

TEST_F(tce, unmapped_is_out_of_reach)
{
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, 4 * PAGE));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA + 3 * PAGE,
			    self->mem + 3 * PAGE));
	ASSERT_EQ(0, unmap_at(self, TEST_IOVA, 4 * PAGE));
	EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA + 3 * PAGE,
				 self->mem + 3 * PAGE));
}

/* All of a range is looked at before any of it is entered. */
TEST_F(tce, whole_ranges)
{
	__u64 end = self->window.last + 1;

	ASSERT_EQ(0, attach(self));
	EXPECT_EQ(-EINVAL, map_at(self, self->mem, end - PAGE, 2 * PAGE));
	EXPECT_TRUE(out_of_reach(&self->dev, end - PAGE, self->mem));
	EXPECT_EQ(-EINVAL, map_at(self, self->mem, end, PAGE));
	EXPECT_EQ(0, map_at(self, self->mem, end - PAGE, PAGE));
	EXPECT_EQ(-EINVAL, map_at(self, self->mem, end - 2 * PAGE, PAGE / 2));
	/* UNMAP of a hole is no error. */
	EXPECT_EQ(0, unmap_at(self, TEST_IOVA, 16 * PAGE));
}

/* A second window, at the base that the platform gives it */
TEST_F(tce, dynamic_window)
{
	struct iommu_range both[2] = { self->window };
	__u64 base = 0, other;

	if (self->info.num_windows < 2)
		SKIP(return, "no dynamic windows");
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, create(self, 0, TCE_64K, &base, 4 * GIB));
	EXPECT_LT(self->window.last, base);
	if (!below_hypervisor())
		EXPECT_EQ(BARE_METAL_BASE, base);
	both[1].first = base;
	both[1].last = base + 4 * GIB - 1;
	EXPECT_TRUE(permits(self, both, 2));
	ASSERT_EQ(0, map_at(self, self->mem, base + 3 * GIB, 2 * TCE_64K));
	ASSERT_EQ(0, map_at(self, self->mem + 2 * TCE_64K, TEST_IOVA, TCE_64K));
	EXPECT_TRUE(reaches(&self->dev, base + 3 * GIB + TCE_64K,
			    self->mem + TCE_64K));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem + 2 * TCE_64K));
	/* There are no more. */
	other = 0;
	EXPECT_EQ(-ENOSPC, create(self, 0, TCE_64K, &other, 4 * GIB));
	EXPECT_EQ(-EBUSY, drop(self, base));
	/* The device changes, the windows stay. */
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_TRUE(permits(self, both, 2));
	ASSERT_EQ(0, attach(self));
	EXPECT_TRUE(reaches(&self->dev, base + 3 * GIB, self->mem));
	ASSERT_EQ(0, unmap_at(self, base + 3 * GIB, 2 * TCE_64K));
	EXPECT_EQ(0, drop(self, base));
	EXPECT_TRUE(permits(self, &self->window, 1));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem + 2 * TCE_64K));
	/* And it can be made anew, with other pages. */
	ASSERT_EQ(0, create(self, FIXED, TCE_4K, &base, GIB));
	ASSERT_EQ(0, map_at(self, self->mem, base, PAGE));
	EXPECT_TRUE(reaches(&self->dev, base, self->mem));
}

/* ---- large pages ---- */

#define POOL_PAGES 48

/* Where the huge pages of a pool lie, 0 if the kernel does not say */
static void find_pages(const char *pool, __u64 *phys)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int i;

	for (i = 0; i < POOL_PAGES; i++) {
		uintptr_t at = (uintptr_t)pool + i * HUGE_SIZE;

		if (pread(fd, &phys[i], 8, at / PAGE * 8) != 8)
			phys[i] = 0;
		phys[i] = (phys[i] & ((1ULL << 55) - 1)) * PAGE;
	}
	close(fd);
}

/* The page that lies at @at, or -1 */
static int page_at(const __u64 *phys, __u64 at)
{
	int i;

	for (i = 0; i < POOL_PAGES; i++)
		if (phys[i] == at)
			return i;
	return -1;
}

/* Whether @num pages from @first on lie in a row, aligned to their size */
static bool is_run(const __u64 *phys, __u64 first, int num)
{
	int i;

	if (!first || first % (num * HUGE_SIZE))
		return false;
	for (i = 1; i < num; i++)
		if (page_at(phys, first + i * HUGE_SIZE) < 0)
			return false;
	return true;
}

/*
 * Memory of one large page of an IOMMU, which is one run and aligned, made of huge
 * pages as they happen to lie. Return: NULL if they do not.
 */
static char *large_page(size_t size)
{
	int fd = memfd_create("large", MFD_CLOEXEC | MFD_HUGETLB);
	int num = size / HUGE_SIZE, first, k;
	__u64 phys[POOL_PAGES];
	char *pool, *mem;

	if (fd < 0 || ftruncate(fd, POOL_PAGES * HUGE_SIZE))
		return NULL;
	pool = mmap(NULL, POOL_PAGES * HUGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_POPULATE, fd, 0);
	if (pool == MAP_FAILED)
		return NULL;
	find_pages(pool, phys);
	munmap(pool, POOL_PAGES * HUGE_SIZE);
	for (first = 0; first < POOL_PAGES; first++)
		if (is_run(phys, phys[first], num))
			break;
	if (first == POOL_PAGES)
		return NULL;
	mem = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mem += -(uintptr_t)mem % size;
	for (k = 0; k < num; k++)
		if (mmap(mem + k * HUGE_SIZE, HUGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd,
			 page_at(phys, phys[first] + k * HUGE_SIZE) *
			 HUGE_SIZE) == MAP_FAILED)
			return NULL;
	close(fd);
	return mem;
}

static void window_of_large_pages(struct __test_metadata *_metadata,
				  struct _test_data_tce *self, __u64 size)
{
	struct iommu_ioasid_info info;
	__u64 base = 0, other = 0;
	char *mem;

	if (!(self->info.window_page_sizes & size))
		SKIP(return, "no such pages");
	mem = large_page(size);
	if (!mem)
		SKIP(return, "no memory that is so contiguous");
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, create(self, 0, size, &base, 64 * size));
	ASSERT_EQ(0, map_at(self, mem, base + size, size));
	EXPECT_TRUE(reaches(&self->dev, base + size, mem));
	EXPECT_TRUE(reaches(&self->dev, base + 2 * size - COPY,
			    mem + size - COPY));
	EXPECT_TRUE(out_of_reach(&self->dev, base, mem));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(size, info.mapped_bytes);
	/* It is all there for the next device. */
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, attach(self));
	EXPECT_TRUE(reaches(&self->dev, base + size, mem));
	EXPECT_EQ(-ENOSPC, create(self, 0, TCE_64K, &other, GIB));
	ASSERT_EQ(0, unmap_at(self, base + size, size));
	EXPECT_TRUE(out_of_reach(&self->dev, base + size, mem));
	EXPECT_EQ(0, drop(self, base));
}

TEST_F(tce, pages_of_2m)
{
	window_of_large_pages(_metadata, self, 2 * MIB);
}

TEST_F(tce, pages_of_16m)
{
	window_of_large_pages(_metadata, self, 16 * MIB);
}

/* Memory that can make no large page: two pages of the CPU are the same. */
static char *split_memory(size_t size)
{
	int fd = memfd_create("split", MFD_CLOEXEC);
	char *mem;

	if (fd < 0 || ftruncate(fd, size))
		return NULL;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED ||
	    mmap(mem + PAGE, PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		mem = NULL;
	close(fd);
	return mem;
}

/* Parts of a page, and memory that makes none */
static void refuse_small_pages(struct __test_metadata *_metadata,
			       struct _test_data_tce *self, __u64 size)
{
	char *mem = split_memory(size);
	__u64 base = 0;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, create(self, 0, size, &base, 64 * size));
	EXPECT_EQ(-EINVAL, map_at(self, mem, base, size / 2));
	EXPECT_EQ(-EINVAL, map_at(self, mem, base + size / 2, size));
	EXPECT_EQ(-EINVAL, map_at(self, mem, base, size));
	EXPECT_TRUE(out_of_reach(&self->dev, base, mem));
	EXPECT_TRUE(out_of_reach(&self->dev, base + size / 2, mem));
	EXPECT_EQ(0, drop(self, base));
	ASSERT_EQ(0, munmap(mem, size));
}

/* What makes no page of a window is refused before it is entered. */
TEST_F(tce, small_pages_in_large_ones)
{
	__u64 sizes = self->info.window_page_sizes & ~(TCE_4K | TCE_64K), size;

	ASSERT_NE(0, sizes);
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	for (size = 2 * MIB; size <= 16 * MIB; size *= 2)
		if (sizes & size)
			refuse_small_pages(_metadata, self, size);
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
}

/* ---- tables with levels ---- */

#define LEAF	(PAGE / 8 * TCE_4K)

static char *leaves;

static bool leaf_reached(struct _test_data_tce *self, __u64 base, __u64 offset,
			 __u64 in_mem)
{
	return reaches(&self->dev, base + offset, leaves + in_mem);
}

/* Mappings that begin, end and cross where one leaf of a table ends */
TEST_F(tce, levels)
{
	const struct iommu_range all = { 0, -1 };
	__u64 base = 0, length = 4 * GIB;
	struct iommu_window_create window = {
		.size = sizeof(window),
		.ioasid = self->ioasid,
		.levels = 2,
		.page_size = TCE_4K,
		.length = length,
	};
	int i;

	if (self->info.window_levels < 2)
		SKIP(return, "tables have one level");
	leaves = mem_alloc(LEAF + 4 * PAGE);
	ASSERT_NE(NULL, leaves);
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_WINDOW_CREATE, &window));
	base = window.iova;
	ASSERT_EQ(0, map_at(self, leaves, base + LEAF - 2 * PAGE,
			    LEAF + 4 * PAGE));
	ASSERT_EQ(0, map_at(self, self->mem, base + length - PAGE, PAGE));
	for (i = 0; i < 2; i++) {
		EXPECT_TRUE(leaf_reached(self, base, LEAF - 2 * PAGE, 0));
		EXPECT_TRUE(leaf_reached(self, base, LEAF - COPY,
					 2 * PAGE - COPY));
		EXPECT_TRUE(leaf_reached(self, base, LEAF, 2 * PAGE));
		EXPECT_TRUE(leaf_reached(self, base, 2 * LEAF, LEAF + 2 * PAGE));
		EXPECT_TRUE(leaf_reached(self, base, 2 * LEAF + 2 * PAGE - COPY,
					 LEAF + 4 * PAGE - COPY));
		EXPECT_TRUE(reaches(&self->dev, base + length - PAGE,
				    self->mem));
		EXPECT_TRUE(out_of_reach(&self->dev, base, leaves));
		EXPECT_TRUE(out_of_reach(&self->dev, base + 3 * LEAF, leaves));
		/* It is all there for the next device. */
		ASSERT_EQ(0, vfio_detach(self->dev.fd));
		ASSERT_EQ(0, attach(self));
	}
	ASSERT_EQ(0, unmap_at(self, base + LEAF - 2 * PAGE, LEAF + 4 * PAGE));
	EXPECT_TRUE(out_of_reach(&self->dev, base + LEAF - 2 * PAGE, leaves));
	EXPECT_TRUE(out_of_reach(&self->dev, base + LEAF, leaves + 2 * PAGE));
	EXPECT_TRUE(out_of_reach(&self->dev, base + 2 * LEAF,
				 leaves + LEAF + 2 * PAGE));
	EXPECT_TRUE(out_of_reach(&self->dev, base + 2 * LEAF + PAGE,
				 leaves + LEAF + 3 * PAGE));
	EXPECT_TRUE(reaches(&self->dev, base + length - PAGE, self->mem));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(0, drop(self, base));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_TRUE(permits(self, &all, 1));
}

/* ---- the default window ---- */

/* The default window gives way, and comes back. */
TEST_F(tce, default_window)
{
	__u64 base = self->window.first, dynamic = 0;

	ASSERT_EQ(0, attach(self));
	EXPECT_EQ(0, drop(self, base));
	EXPECT_TRUE(permits(self, NULL, 0));
	EXPECT_EQ(-EINVAL, map_at(self, self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, create(self, FIXED, TCE_4K, &base, 128 * MIB));
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
	EXPECT_EQ(-EINVAL, map_at(self, self->mem, base + 128 * MIB, PAGE));
	ASSERT_EQ(0, unmap_at(self, TEST_IOVA, PAGE));
	if (self->info.num_windows < 2)
		return;
	ASSERT_EQ(0, drop(self, base));
	ASSERT_EQ(0, create(self, 0, TCE_64K, &dynamic, 4 * GIB));
	ASSERT_EQ(0, map_at(self, self->mem, dynamic, TCE_64K));
	EXPECT_TRUE(reaches(&self->dev, dynamic, self->mem));
}

TEST_F(tce, window_errors)
{
	__u64 base = self->window.first, none = 0, off = 64 * MIB;
	struct iommu_window_create levels = {
		.size = sizeof(levels),
		.ioasid = self->ioasid,
		.levels = 1000,
		.page_size = TCE_64K,
		.length = GIB,
	};

	ASSERT_EQ(0, attach(self));
	EXPECT_EQ(-EEXIST, create(self, FIXED, TCE_4K, &base, MIB));
	/* Pages that there are not */
	EXPECT_EQ(-EOPNOTSUPP, create(self, 0, 8192, &none, GIB));
	EXPECT_EQ(-EOPNOTSUPP, iommu_call(self->iommu, IOMMU_WINDOW_CREATE,
					  &levels));
	/* No power of two */
	EXPECT_EQ(-EINVAL, create(self, 0, TCE_64K, &none, 3 * GIB));
	ASSERT_EQ(0, drop(self, base));
	/* Nothing starts there. */
	EXPECT_EQ(-EADDRINUSE, create(self, FIXED, TCE_64K, &off, 16 * MIB));
	/* More than there is room for below the second one */
	EXPECT_EQ(-EINVAL, create(self, FIXED, TCE_4K, &base, 64 * GIB));
	ASSERT_EQ(0, create(self, FIXED, TCE_4K, &base, 128 * MIB));
	EXPECT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
}

/* Windows that a device cannot have keep it away; nothing is changed. */
TEST_F(tce, attach_needs_the_windows)
{
	__u64 base = self->window.first + 16 * MIB;

	ASSERT_EQ(0, create(self, FIXED, TCE_64K, &base, 16 * MIB));
	EXPECT_EQ(-EADDRINUSE, attach(self));
	ASSERT_EQ(0, drop(self, base));
	ASSERT_EQ(0, map_at(self, self->mem, self->window.last + 1, PAGE));
	EXPECT_EQ(-EADDRINUSE, attach(self));
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	EXPECT_EQ(-EADDRINUSE, attach(self));
	/* It has brought no window. */
	EXPECT_EQ(0, map_at(self, self->mem, self->window.last + 1 + PAGE,
			    PAGE));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(0, attach(self));
}

/* ---- as a guest uses it ---- */

/* Memory of a guest, and a window of 4 KiB pages that shows it */
static int guest_begin(struct _test_data_tce *self, __u32 *window)
{
	__u64 base = self->window.first;
	__u32 memory;
	int rc;

	rc = ioasid_alloc_prereg(self->iommu, &memory);
	if (!rc)
		rc = ioasid_map(self->iommu, memory, READ_WRITE, self->mem, 0,
				MEM_PAGES * PAGE);
	if (!rc)
		rc = ioasid_alloc_child(self->iommu, memory, window);
	if (!rc)
		rc = vfio_attach(self->dev.fd, *window);
	if (!rc)
		rc = ioasid_window_remove(self->iommu, *window, base);
	return rc ? rc : ioasid_window_create(self->iommu, *window, FIXED, TCE_4K,
					      &base, 256 * MIB);
}

/* H_PUT_TCE */
static int put_tce(struct _test_data_tce *self, __u32 window, __u64 ioba,
		   __u64 addr)
{
	return ioasid_show(self->iommu, window,
			   READ_WRITE | IOMMU_MAP_DMA_REPLACE, addr, ioba,
			   TCE_4K);
}

TEST_F(tce, put_tce)
{
	__u32 window;

	ASSERT_EQ(0, guest_begin(self, &window));
	ASSERT_EQ(0, put_tce(self, window, TEST_IOVA, 5 * TCE_4K));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem + 5 * TCE_4K));
	/* The neighbours of the page, in the CPU's page too, are not reached. */
	EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA + TCE_4K,
				 self->mem + 6 * TCE_4K));
	ASSERT_EQ(0, put_tce(self, window, TEST_IOVA, 8 * TCE_4K));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem + 8 * TCE_4K));
	EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA,
				 self->mem + 5 * TCE_4K) ||
		    all_bytes(self->mem + 5 * TCE_4K, COPY, 0x5a));
	/* What the guest does not have is refused, and the old entry stays. */
	EXPECT_EQ(-ENOENT, put_tce(self, window, TEST_IOVA, 512 * MIB));
	EXPECT_EQ(-EINVAL, put_tce(self, window, 256 * MIB, 0));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem + 8 * TCE_4K));
	EXPECT_EQ(0, ioasid_unmap(self->iommu, window, TEST_IOVA, TCE_4K, NULL));
	EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA, self->mem + 8 * TCE_4K));
}

/* H_PUT_TCE_INDIRECT and H_STUFF_TCE: entries that can be cleared one by one */
TEST_F(tce, put_tce_indirect)
{
	struct iommu_batch_entry entries[512];
	__u32 window, num = 512;
	int i;

	ASSERT_EQ(0, guest_begin(self, &window));
	for (i = 0; i < 512; i++)
		entries[i] = (struct iommu_batch_entry){
			.flags = READ_WRITE | IOMMU_MAP_DMA_REPLACE,
			.iova = TEST_IOVA + i * TCE_4K,
			.src = i * TCE_4K % (MEM_PAGES * PAGE),
			.length = TCE_4K,
		};
	ASSERT_EQ(0, ioasid_batch(self->iommu, window, entries, &num, NULL));
	EXPECT_EQ(512, num);
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA + 33 * TCE_4K,
			    self->mem + 33 * TCE_4K));
	/* Again, all of them at once, and one that is wrong */
	entries[100].src = 512 * MIB;
	EXPECT_EQ(-ENOENT, ioasid_batch(self->iommu, window, entries, &num,
					NULL));
	EXPECT_EQ(100, num);
	EXPECT_EQ(0, ioasid_unmap(self->iommu, window, TEST_IOVA + 33 * TCE_4K,
				  TCE_4K, NULL));
	EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA + 33 * TCE_4K,
				 self->mem + 33 * TCE_4K));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA + 32 * TCE_4K,
			    self->mem + 32 * TCE_4K));
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, window, NULL));
}

/* ---- several endpoints ---- */

TEST_F(tce, several_endpoints)
{
	struct iommu_ioasid_info info;
	__u64 base = 0;

	if (second_bind(self))
		SKIP(return, "no second endpoint");
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach(self->second.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	/* A hypervisor gives each endpoint tables of its own. */
	EXPECT_EQ(below_hypervisor() ? 2 : 1, info.num_tables);
	EXPECT_TRUE(reaches(&self->second, TEST_IOVA, self->mem));
	ASSERT_EQ(0, map_at(self, self->mem + PAGE, TEST_IOVA + PAGE, PAGE));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
	EXPECT_TRUE(reaches(&self->second, TEST_IOVA + PAGE, self->mem + PAGE));
	if (self->info.num_windows > 1) {
		ASSERT_EQ(0, create(self, 0, TCE_64K, &base, 4 * GIB));
		ASSERT_EQ(0, map_at(self, self->mem, base, TCE_64K));
		EXPECT_TRUE(reaches(&self->dev, base, self->mem));
		EXPECT_TRUE(reaches(&self->second, base, self->mem));
	}
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_TRUE(reaches(&self->second, TEST_IOVA, self->mem));
	EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, unmap_at(self, TEST_IOVA, PAGE));
	EXPECT_TRUE(out_of_reach(&self->second, TEST_IOVA, self->mem));
	ASSERT_EQ(0, attach(self));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA + PAGE, self->mem + PAGE));
}

/* The map outlives the last device and is there for the next one. */
TEST_F(tce, start_and_stop)
{
	struct iommu_event event;
	int events, i;

	events = event_open(self->iommu);
	ASSERT_LE(0, events);
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EAGAIN, event_next(events, &event));
		ASSERT_EQ(0, attach(self));
		ASSERT_EQ(0, event_next(events, &event));
		EXPECT_EQ(IOMMU_EVENT_USED, event.type);
		EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
		ASSERT_EQ(0, vfio_detach(self->dev.fd));
		ASSERT_EQ(0, event_next(events, &event));
		EXPECT_EQ(IOMMU_EVENT_UNUSED, event.type);
	}
	close(events);
}

/* An attached device moves to another IOASID and back. */
TEST_F(tce, replace)
{
	__u32 other, bad;

	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &bad));
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, other, READ_WRITE,
				self->mem + PAGE, TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, bad, READ_WRITE, self->mem,
				self->window.last + 1, PAGE));
	ASSERT_EQ(0, attach(self));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, other));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem + PAGE));
	EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA, self->mem) ||
		    all_bytes(self->mem, COPY, 0x5a));
	/* What cannot be is found out before anything changes. */
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, bad));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem + PAGE));
	ASSERT_EQ(0, attach(self));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
}

/* A dma-buf of the start of the memory of a PCI device, or a negative errno */
static int device_memory(struct dma_device *dev)
{
	__u64 buffer[16] = { 0 };
	struct vfio_device_feature *feature = (void *)buffer;
	struct vfio_device_feature_dma_buf *get = (void *)feature->data;
	int fd;

	feature->argsz = sizeof(*feature) + sizeof(*get) +
			 sizeof(get->dma_ranges[0]);
	feature->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	get->region_index = VFIO_PCI_BAR0_REGION_INDEX;
	get->open_flags = O_CLOEXEC;
	get->nr_ranges = 1;
	get->dma_ranges[0].length = PAGE;
	fd = ioctl(dev->fd, VFIO_DEVICE_FEATURE, feature);
	return fd < 0 ? -errno : fd;
}

/* What is refused before anything changes leaves the old address space as it was. */
TEST_F(tce, replace_is_checked_before)
{
	__u64 base = below_hypervisor() ? 1ULL << 40 : BARE_METAL_BASE;
	__u32 other, large;
	char *split;
	int fd;

	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, attach(self));
	fd = device_memory(&self->dev);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	ASSERT_EQ(0, ioas_map_file(self->iommu, other, IOAS_RW, fd, 0,
				   TEST_IOVA, PAGE));
	EXPECT_EQ(-EOPNOTSUPP, vfio_attach(self->dev.fd, other));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
	close(fd);

	if (!(self->info.window_page_sizes & 2 * MIB))
		return;
	split = split_memory(2 * MIB);
	ASSERT_NE(NULL, split);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &large));
	ASSERT_EQ(0, ioasid_window_create(self->iommu, large, FIXED, 2 * MIB,
					  &base, GIB));
	ASSERT_EQ(0, ioasid_map(self->iommu, large, READ_WRITE, split, base,
				2 * MIB));
	EXPECT_EQ(-EINVAL, vfio_attach(self->dev.fd, large));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
}

/*
 * Where a window comes to lie only the hypervisor knows, so that a move to an address
 * space with others may fail when the old windows have gone. Nothing is lost but
 * the attachment.
 */
TEST_F(tce, replace_fails_late)
{
	__u64 base = 1ULL << 40;
	__u32 other;

	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	ASSERT_EQ(0, ioasid_window_create(self->iommu, other, FIXED, TCE_64K,
					  &base, GIB));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, other));
	if (below_hypervisor()) {
		EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA, self->mem));
		ASSERT_EQ(0, attach(self));
	}
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
	EXPECT_EQ(0, ioasid_window_remove(self->iommu, other, base));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, other));
	EXPECT_EQ(0, attach(self));
	EXPECT_TRUE(reaches(&self->dev, TEST_IOVA, self->mem));
}

/* What was charged is given back soon. */
static bool locked_settles(long want)
{
	int tries;

	for (tries = 0; tries < 100; tries++) {
		if (process_locked(getpid()) == want)
			return true;
		usleep(50000);
	}
	return false;
}

/* Tables count as locked memory. */
TEST_F(tce, tables_are_charged)
{
	struct rlimit old, none = { 0, 0 };
	long before = process_locked(getpid());
	__u64 base = 0;

	ASSERT_EQ(0, attach(self));
	/* An entry for each of 4 KiB, at least */
	EXPECT_LE(window_length(self) / 512, process_locked(getpid()) - before);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_TRUE(locked_settles(before));

	ASSERT_EQ(0, getrlimit(RLIMIT_MEMLOCK, &old));
	none.rlim_max = old.rlim_max;
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &none));
	ASSERT_EQ(0, drop_ipc_lock());
	if (self->info.num_windows > 1)
		EXPECT_EQ(-ENOMEM, create(self, 0, TCE_64K, &base, 4 * GIB));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(-ENOMEM, attach(self));
	EXPECT_TRUE(locked_settles(before));
}

/* Memory of a device has no place in a table, however it comes. */
TEST_F(tce, no_device_memory)
{
	const struct iommu_range all = { 0, -1 };
	void *mem;
	int fd;

	ASSERT_EQ(0, dev_mmap(&self->dev, PAGE, &mem));
	fd = device_memory(&self->dev);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, attach(self));
	EXPECT_EQ(-EFAULT, map_at(self, mem, TEST_IOVA, PAGE));
	EXPECT_EQ(-EOPNOTSUPP, ioas_map_file(self->iommu, self->ioasid, IOAS_RW,
					     fd, 0, TEST_IOVA, PAGE));
	EXPECT_TRUE(out_of_reach(&self->dev, TEST_IOVA, self->mem));
	/* One that has it already gets no table. */
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->ioasid, IOAS_RW, fd, 0,
				   TEST_IOVA, PAGE));
	EXPECT_EQ(-EOPNOTSUPP, attach(self));
	EXPECT_TRUE(permits(self, &all, 1));
	ASSERT_EQ(0, unmap_at(self, TEST_IOVA, PAGE));
	EXPECT_EQ(0, attach(self));
	close(fd);
	munmap(mem, PAGE);
}

/* ---- a device that comes ---- */

/*
 * The platform takes the windows of an endpoint away when a device is added to it;
 * the user is told, nothing is lost, and attaching again brings them back.
 */
TEST_F(tce, lost_window)
{
	struct dma_device pair[2], *dev = &pair[0];
	struct iommu_event event;
	__u64 base = 0;
	int events;

	if (dev_find_shared(pair) < 2)
		SKIP(return, "no endpoint with two devices");
	if (below_hypervisor())
		SKIP(return, "Linux warns of itself when it scans a bus in use");
	ASSERT_EQ(0, dev_open_bind(dev, self->iommu));
	events = event_open(self->iommu);
	ASSERT_LE(0, events);
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach(dev->fd, self->ioasid));
	EXPECT_EQ(0, event_next(events, &event));
	EXPECT_TRUE(reaches(dev, TEST_IOVA, self->mem));
	ASSERT_EQ(0, create(self, 0, TCE_64K, &base, GIB));
	ASSERT_EQ(0, map_at(self, self->mem, base, TCE_64K));
	EXPECT_TRUE(reaches(dev, base, self->mem));

	ASSERT_EQ(0, bus_device_set(PCI_BUS, pair[1].name, "remove", "1"));
	ASSERT_EQ(0, file_write(PCI_BUS "/rescan", "1"));
	EXPECT_TRUE(out_of_reach(dev, TEST_IOVA, self->mem));
	EXPECT_TRUE(out_of_reach(dev, base, self->mem));
	/* It is noticed when the table is used. */
	EXPECT_EQ(0, map_at(self, self->mem + PAGE, TEST_IOVA + PAGE, PAGE));
	ASSERT_EQ(0, event_next(events, &event));
	EXPECT_EQ(IOMMU_EVENT_WINDOW_LOST, event.type);
	EXPECT_EQ(self->ioasid, event.ioasid);
	EXPECT_EQ(self->window.first, event.iova);
	EXPECT_EQ(window_length(self), event.length);
	EXPECT_EQ(0, map_at(self, self->mem + 2 * PAGE, TEST_IOVA + 2 * PAGE,
			    PAGE));
	EXPECT_EQ(-EAGAIN, event_next(events, &event));
	EXPECT_EQ(0, unmap_at(self, TEST_IOVA + 2 * PAGE, PAGE));
	/* The other one has gone with it. */
	EXPECT_EQ(0, map_at(self, self->mem + TCE_64K, base + TCE_64K,
			    TCE_64K));
	ASSERT_EQ(0, event_next(events, &event));
	EXPECT_EQ(IOMMU_EVENT_WINDOW_LOST, event.type);
	EXPECT_EQ(base, event.iova);
	EXPECT_EQ(GIB, event.length);

	ASSERT_EQ(0, vfio_detach(dev->fd));
	ASSERT_EQ(0, vfio_attach(dev->fd, self->ioasid));
	EXPECT_TRUE(reaches(dev, TEST_IOVA, self->mem));
	EXPECT_TRUE(reaches(dev, TEST_IOVA + PAGE, self->mem + PAGE));
	EXPECT_TRUE(reaches(dev, base, self->mem));
	EXPECT_TRUE(reaches(dev, base + TCE_64K, self->mem + TCE_64K));
	close(events);
	dev_close(dev);
	/* As it was */
	ASSERT_EQ(0, bus_device_set(PCI_BUS, pair[1].name, "enable", "1"));
	ASSERT_EQ(0, bus_device_set(PCI_BUS, pair[1].name, "driver_override",
				    "vfio-pci"));
	ASSERT_EQ(0, bus_probe(PCI_BUS, pair[1].name));
}

/* ---- errors of endpoints ---- */

static int eeh(struct _test_data_tce *self, __u32 op, __u32 *state)
{
	struct iommu_device_eeh cmd = {
		.size = sizeof(cmd),
		.dev_id = self->dev.dev_id,
		.op = op,
	};
	int rc = iommu_call(self->iommu, IOMMU_DEVICE_EEH, &cmd);

	if (state)
		*state = cmd.state;
	return rc;
}

#define EEH_FREEZE "/sys/kernel/debug/ioasid_test_freeze"

/* What VFIO_EEH_PE_GET_STATE says of an endpoint */
#define EEH_NORMAL 0
#define EEH_FROZEN 2
#define EEH_DMA_FROZEN 4

static __u32 eeh_state(struct _test_data_tce *self)
{
	__u32 state = 77;

	return eeh(self, IOMMU_EEH_GET_STATE, &state) ? 99 : state;
}

/* As a program does it that cannot go on with what the device has done */
static int eeh_reset(struct _test_data_tce *self, __u32 how)
{
	int rc = eeh(self, how, NULL);

	if (!rc)
		rc = eeh(self, IOMMU_EEH_RESET_DEACTIVATE, NULL);
	return rc ? rc : eeh(self, IOMMU_EEH_CONFIGURE, NULL);
}

static bool works(struct _test_data_tce *self)
{
	return !dev_take_over(&self->dev) &&
	       reaches(&self->dev, TEST_IOVA, self->mem);
}

/* A frozen endpoint is reported, and recovered in either way. */
TEST_F(tce, eeh)
{
	__u32 state = 77;
	int rc;

	rc = eeh(self, IOMMU_EEH_GET_STATE, &state);
	if (rc == -ENODEV)
		SKIP(return, "the host bridge does not freeze endpoints");
	ASSERT_EQ(0, rc);
	EXPECT_EQ(EEH_NORMAL, state);
	ASSERT_EQ(0, attach(self));
	ASSERT_EQ(0, map_at(self, self->mem, TEST_IOVA, PAGE));
	EXPECT_EQ(0, eeh(self, IOMMU_EEH_ENABLE, NULL));
	ASSERT_EQ(0, eeh_reset(self, IOMMU_EEH_RESET_HOT));
	EXPECT_EQ(EEH_NORMAL, eeh_state(self));
	EXPECT_TRUE(works(self));

	ASSERT_EQ(0, file_write(EEH_FREEZE, self->dev.name));
	EXPECT_EQ(EEH_FROZEN, eeh_state(self));
	EXPECT_EQ(0, eeh(self, IOMMU_EEH_ENABLE, NULL));
	EXPECT_EQ(EEH_NORMAL, eeh_state(self));
	EXPECT_TRUE(works(self));

	ASSERT_EQ(0, file_write(EEH_FREEZE, self->dev.name));
	EXPECT_EQ(EEH_FROZEN, eeh_state(self));
	EXPECT_EQ(0, eeh(self, IOMMU_EEH_UNFREEZE_IO, NULL));
	EXPECT_EQ(EEH_DMA_FROZEN, eeh_state(self));
	EXPECT_EQ(0, eeh(self, IOMMU_EEH_UNFREEZE_DMA, NULL));
	EXPECT_EQ(EEH_NORMAL, eeh_state(self));
	EXPECT_TRUE(works(self));

	ASSERT_EQ(0, file_write(EEH_FREEZE, self->dev.name));
	EXPECT_EQ(EEH_FROZEN, eeh_state(self));
	ASSERT_EQ(0, eeh_reset(self, IOMMU_EEH_RESET_FUNDAMENTAL));
	EXPECT_EQ(EEH_NORMAL, eeh_state(self));
	EXPECT_TRUE(works(self));
	EXPECT_EQ(0, eeh(self, IOMMU_EEH_DISABLE, NULL));
	EXPECT_EQ(EEH_NORMAL, eeh_state(self));
	EXPECT_TRUE(works(self));
	/* The firmware that is emulated cannot make an error. */
	EXPECT_EQ(-EIO, eeh(self, IOMMU_EEH_INJECT_ERR, NULL));
	EXPECT_EQ(EEH_NORMAL, eeh_state(self));
}

TEST_HARNESS_MAIN
