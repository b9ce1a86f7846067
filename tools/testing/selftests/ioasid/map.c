// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP_DMA and UNMAP_DMA: their errors and the order of these, what overlaps and
 * what cuts, the permitted ranges, and what memory is pinned and charged when.
 * Whether devices reach the memory is the business of dma.c.
 */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"

#define MEM_PAGES 32

/* ---- with a device attached and without ---- */

FIXTURE(map) {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	char *mem;
	struct counts counts;
};

FIXTURE_VARIANT(map) {
	bool attached;
};

FIXTURE_VARIANT_ADD(map, idle) {
	.attached = false,
};

FIXTURE_VARIANT_ADD(map, attached) {
	.attached = true,
};

FIXTURE_SETUP(map)
{
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	if (variant->attached)
		ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	MEM_BEGIN(MEM_PAGES * PAGE);
}

FIXTURE_TEARDOWN(map)
{
	DEVICE_END();
}

static int do_map(struct _test_data_map *self, __u64 iova, __u64 length)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  iova, length);
}

static int do_unmap(struct _test_data_map *self, __u64 iova, __u64 length,
		    __u64 *unmapped)
{
	return ioasid_unmap(self->iommu, self->ioasid, iova, length, unmapped);
}

/* The numbers of mappings, of bytes that are mapped and of those pinned. */
#define EXPECT_MAPPINGS(num, bytes) do { \
	struct iommu_ioasid_info __info; \
	__u64 __bytes = (bytes); \
	EXPECT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &__info)); \
	EXPECT_EQ((num), __info.num_mappings); \
	EXPECT_EQ(__bytes, __info.mapped_bytes); \
	EXPECT_EQ(__info.num_devices ? __bytes : 0, __info.pinned_bytes); \
} while (0)

/* What this process pays for now, compared to the start of the test. */
#define EXPECT_CHARGED(bytes) do { \
	struct counts __now; \
	long __bytes = (bytes); \
	EXPECT_EQ(0, counts_read(&__now)); \
	EXPECT_EQ(__bytes, __now.locked - self->counts.locked); \
	EXPECT_EQ(__bytes / (long)PAGE, __now.pins - self->counts.pins); \
} while (0)

TEST_F(map, map_and_unmap)
{
	long charge = variant->attached ? 4 * PAGE : 0;
	__u64 unmapped = 0;

	ASSERT_EQ(0, do_map(self, TEST_IOVA, 4 * PAGE));
	EXPECT_MAPPINGS(1, 4 * PAGE);
	EXPECT_CHARGED(charge);
	ASSERT_EQ(0, do_unmap(self, TEST_IOVA, 4 * PAGE, &unmapped));
	EXPECT_EQ(4 * PAGE, unmapped);
	EXPECT_MAPPINGS(0, 0);
	EXPECT_CHARGED(0);
}

TEST_F(map, address_zero)
{
	__u64 unmapped = 0;

	ASSERT_EQ(0, do_map(self, 0, PAGE));
	EXPECT_EQ(-EEXIST, do_map(self, 0, PAGE));
	ASSERT_EQ(0, do_unmap(self, 0, PAGE, &unmapped));
	EXPECT_EQ(PAGE, unmapped);
}

/* The same memory may be shown many times; each is pinned for itself. */
TEST_F(map, same_memory_twice)
{
	long charge = variant->attached ? 2 * PAGE : 0;

	ASSERT_EQ(0, do_map(self, TEST_IOVA, PAGE));
	ASSERT_EQ(0, do_map(self, TEST_IOVA + PAGE, PAGE));
	EXPECT_CHARGED(charge);
	ASSERT_EQ(0, do_unmap(self, TEST_IOVA, PAGE, NULL));
	EXPECT_CHARGED(charge / 2);
	EXPECT_MAPPINGS(1, PAGE);
}

TEST_F(map, overlap)
{
	struct {
		long first;
		long pages;
		int rc;
	} cases[] = {
		{ 4, 4, -EEXIST },	/* the same */
		{ 5, 2, -EEXIST },	/* within */
		{ 2, 8, -EEXIST },	/* around */
		{ 2, 3, -EEXIST },	/* its first page */
		{ 7, 4, -EEXIST },	/* its last page */
		{ 2, 2, 0 },		/* ends just before */
		{ 8, 2, 0 },		/* starts just behind */
		{ 3, 6, -EEXIST },	/* three at once */
	};
	size_t i;

	ASSERT_EQ(0, do_map(self, TEST_IOVA + 4 * PAGE, 4 * PAGE));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].rc,
			  do_map(self, TEST_IOVA + cases[i].first * PAGE,
				 cases[i].pages * PAGE))
			TH_LOG("%ld pages at %ld", cases[i].pages,
			       cases[i].first);
	}
	EXPECT_MAPPINGS(3, 8 * PAGE);
}

TEST_F(map, unmap_nothing)
{
	__u64 unmapped = 99;

	EXPECT_EQ(0, do_unmap(self, TEST_IOVA, PAGE, &unmapped));
	EXPECT_EQ(0, unmapped);
	unmapped = 99;
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, &unmapped));
	EXPECT_EQ(0, unmapped);

	/* Beside a mapping, and far beyond what may be mapped. */
	ASSERT_EQ(0, do_map(self, TEST_IOVA, PAGE));
	unmapped = 99;
	EXPECT_EQ(0, do_unmap(self, TEST_IOVA + PAGE, PAGE, &unmapped));
	EXPECT_EQ(0, unmapped);
	unmapped = 99;
	EXPECT_EQ(0, do_unmap(self, TEST_IOVA - PAGE, PAGE, &unmapped));
	EXPECT_EQ(0, unmapped);
	unmapped = 99;
	EXPECT_EQ(0, do_unmap(self, 0 - PAGE, PAGE, &unmapped));
	EXPECT_EQ(0, unmapped);
	EXPECT_MAPPINGS(1, PAGE);
}

TEST_F(map, unmap_several)
{
	__u64 unmapped = 0;

	/* Two neighbours, a hole, and one more. */
	ASSERT_EQ(0, do_map(self, TEST_IOVA, 2 * PAGE));
	ASSERT_EQ(0, do_map(self, TEST_IOVA + 2 * PAGE, PAGE));
	ASSERT_EQ(0, do_map(self, TEST_IOVA + 8 * PAGE, 4 * PAGE));
	ASSERT_EQ(0, do_map(self, TEST_IOVA + 20 * PAGE, PAGE));
	EXPECT_MAPPINGS(4, 8 * PAGE);

	/* More than they cover, but not the last. */
	ASSERT_EQ(0, do_unmap(self, TEST_IOVA - 3 * PAGE, 18 * PAGE,
			      &unmapped));
	EXPECT_EQ(7 * PAGE, unmapped);
	EXPECT_MAPPINGS(1, PAGE);
	EXPECT_CHARGED(variant->attached ? PAGE : 0);
}

TEST_F(map, unmap_cuts)
{
	struct {
		long first;
		long pages;
	} cuts[] = {
		{ 5, 2 },	/* out of the middle */
		{ 4, 2 },	/* the first half */
		{ 6, 2 },	/* the second half */
		{ 2, 4 },	/* what lies before, and the first half */
		{ 6, 8 },	/* the second half, and what lies behind */
		{ 0, 11 },	/* all of the first, half of the second */
		{ 6, 6 },	/* half of the first, all of the second */
		{ 5, 6 },	/* half of each */
	};
	__u64 unmapped = 0;
	size_t i;

	ASSERT_EQ(0, do_map(self, TEST_IOVA + 4 * PAGE, 4 * PAGE));
	ASSERT_EQ(0, do_map(self, TEST_IOVA + 10 * PAGE, 2 * PAGE));
	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		unmapped = 99;
		EXPECT_EQ(-EINVAL,
			  do_unmap(self, TEST_IOVA + cuts[i].first * PAGE,
				   cuts[i].pages * PAGE, &unmapped))
			TH_LOG("%ld pages at %ld", cuts[i].pages,
			       cuts[i].first);
		/* Not even the mappings that were not cut. */
		EXPECT_MAPPINGS(2, 6 * PAGE);
	}
	ASSERT_EQ(0, do_unmap(self, TEST_IOVA + 4 * PAGE, 8 * PAGE, &unmapped));
	EXPECT_EQ(6 * PAGE, unmapped);
}

/* Mappings never merge, even if they show neighbouring memory. */
TEST_F(map, neighbours_stay_apart)
{
	__u64 unmapped = 0;
	int i;

	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
					self->mem + i * PAGE,
					TEST_IOVA + i * PAGE, PAGE));
	for (i = 6; i >= 0; i -= 2) {
		ASSERT_EQ(0, do_unmap(self, TEST_IOVA + i * PAGE, PAGE,
				      &unmapped));
		EXPECT_EQ(PAGE, unmapped);
	}
	EXPECT_MAPPINGS(4, 4 * PAGE);
}

TEST_F(map, unmap_all)
{
	__u64 unmapped = 0;

	ASSERT_EQ(0, do_map(self, 0, PAGE));
	ASSERT_EQ(0, do_map(self, TEST_IOVA, 4 * PAGE));
	ASSERT_EQ(0, do_map(self, TEST_IOVA + 8 * PAGE, 4 * PAGE));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, &unmapped));
	EXPECT_EQ(9 * PAGE, unmapped);
	EXPECT_MAPPINGS(0, 0);
	EXPECT_CHARGED(0);
	ASSERT_EQ(0, do_map(self, TEST_IOVA, 4 * PAGE));
}

/* From the first to the last address, by its size. */
TEST_F(map, unmap_everything_by_range)
{
	__u64 unmapped = 0;

	ASSERT_EQ(0, do_map(self, TEST_IOVA, PAGE));
	ASSERT_EQ(0, do_unmap(self, PAGE, 0 - PAGE, &unmapped));
	EXPECT_EQ(PAGE, unmapped);
}

TEST_F(map, last_page)
{
	struct iommu_range ranges[16];
	struct iommu_ioasid_info info = {
		.num_ranges = ARRAY_SIZE(ranges),
		.ranges = (uintptr_t)ranges,
	};
	__u64 last, unmapped = 0;

	ASSERT_EQ(0, ioasid_info(self->iommu, self->ioasid, &info));
	ASSERT_GE(ARRAY_SIZE(ranges), info.num_ranges);
	last = ranges[info.num_ranges - 1].last;
	EXPECT_EQ(PAGE - 1, last % PAGE);
	if (!variant->attached)
		EXPECT_EQ(ULLONG_MAX, last);

	ASSERT_EQ(0, do_map(self, last - PAGE + 1, PAGE));
	EXPECT_EQ(-EEXIST, do_map(self, last - PAGE + 1, PAGE));
	EXPECT_MAPPINGS(1, PAGE);
	ASSERT_EQ(0, do_unmap(self, last - PAGE + 1, PAGE, &unmapped));
	EXPECT_EQ(PAGE, unmapped);
	if (last != ULLONG_MAX) {
		EXPECT_EQ(-EINVAL, do_map(self, last + 1, PAGE));
		EXPECT_EQ(-EINVAL, do_map(self, last - PAGE + 1, 2 * PAGE));
	} else {
		EXPECT_EQ(-EOVERFLOW, do_map(self, last - PAGE + 1, 2 * PAGE));
	}
	EXPECT_MAPPINGS(0, 0);
}

/* ---- errors of MAP_DMA, and which comes first ---- */

/*
 * TEST_IOVA is taken, and in the attached variant msi_first is not permitted.
 * Each case has the error that is named, and as many of the later ones as go
 * with it.
 */
TEST_F(map, map_errors_in_order)
{
	const __u32 alloc = IOMMU_MAP_DMA_ALLOC_IOVA;
	const __u32 file = IOMMU_MAP_DMA_FILE;
	const __u64 src = (uintptr_t)self->mem;
	struct {
		const char *what;
		int rc;
		__u32 flags;
		int fd;
		__u64 iova;
		__u64 src;
		__u64 length;
	} cases[] = {
		{ "length 0", -EINVAL,
		  READ_WRITE, 0, TEST_IOVA + PAGE, src, 0 },
		{ "length 0, no flags", -EINVAL,
		  0, 0, TEST_IOVA, src, 0 },
		{ "length 0, at address 0", -EINVAL,
		  READ_WRITE, 0, 0, 0, 0 },
		{ "length 0, bad fd", -EINVAL,
		  READ_WRITE | file, -1, TEST_IOVA, 0, 0 },

		{ "iova wraps", -EOVERFLOW,
		  READ_WRITE, 0, 0 - PAGE, src, 2 * PAGE },
		{ "iova wraps by the largest length", -EOVERFLOW,
		  READ_WRITE, 0, PAGE, 0, 0 - PAGE + 1 },
		{ "source wraps", -EOVERFLOW,
		  READ_WRITE, 0, TEST_IOVA, 0 - PAGE, 2 * PAGE },
		{ "iova wraps, no flags", -EOVERFLOW,
		  0, 0, 0 - PAGE, src, 2 * PAGE },
		{ "iova wraps, misaligned", -EOVERFLOW,
		  READ_WRITE, 0, ULLONG_MAX, src, PAGE },
		{ "source wraps, misaligned, taken", -EOVERFLOW,
		  READ_WRITE, 0, TEST_IOVA, ULLONG_MAX, PAGE },
		{ "iova wraps, with ALLOC_IOVA", -EOVERFLOW,
		  READ_WRITE | alloc, 0, 0 - PAGE, src, 2 * PAGE },
		{ "source wraps, fd without FILE", -EOVERFLOW,
		  READ_WRITE, 1, TEST_IOVA, 0 - PAGE, 2 * PAGE },
		{ "offset wraps, bad fd", -EOVERFLOW,
		  READ_WRITE | file, -1, TEST_IOVA, 0 - PAGE, 2 * PAGE },

		{ "neither READ nor WRITE", -EINVAL,
		  0, 0, TEST_IOVA + 16 * PAGE, src, PAGE },
		{ "neither READ nor WRITE, taken", -EINVAL,
		  0, 0, TEST_IOVA, src, PAGE },
		{ "only ALLOC_IOVA", -EINVAL,
		  alloc, 0, 0, src, PAGE },
		{ "only FILE, bad fd", -EINVAL,
		  file, -1, TEST_IOVA, 0, PAGE },
		{ "fd without FILE", -EINVAL,
		  READ_WRITE, 1, TEST_IOVA + 16 * PAGE, src, PAGE },
		{ "fd -1 without FILE", -EINVAL,
		  READ_WRITE, -1, TEST_IOVA + 16 * PAGE, src, PAGE },
		{ "fd without FILE, taken", -EINVAL,
		  READ_WRITE, 1, TEST_IOVA, src, PAGE },
		{ "iova with ALLOC_IOVA", -EINVAL,
		  READ_WRITE | alloc, 0, TEST_IOVA + 16 * PAGE, src, PAGE },
		{ "iova with ALLOC_IOVA, bad fd", -EINVAL,
		  READ_WRITE | alloc | file, -1, TEST_IOVA, 0, PAGE },
		{ "iova misaligned", -EINVAL,
		  READ_WRITE, 0, TEST_IOVA + 16 * PAGE + 1, src, PAGE },
		{ "iova misaligned by half a page, taken", -EINVAL,
		  READ_WRITE, 0, TEST_IOVA + PAGE / 2, src, PAGE },
		{ "source misaligned, taken", -EINVAL,
		  READ_WRITE, 0, TEST_IOVA, src + 1, PAGE },
		{ "length misaligned, taken", -EINVAL,
		  READ_WRITE, 0, TEST_IOVA, src, PAGE + 1 },
		{ "length misaligned", -EINVAL,
		  READ_WRITE, 0, TEST_IOVA + 16 * PAGE, src, PAGE / 2 },
		{ "offset misaligned, bad fd", -EINVAL,
		  READ_WRITE | file, -1, TEST_IOVA, 8, PAGE },

		{ "bad fd, taken", -EBADF,
		  READ_WRITE | file, -1, TEST_IOVA, 0, PAGE },
		{ "closed fd, taken", -EBADF,
		  READ_WRITE | file, 1000, TEST_IOVA, 0, PAGE },
		{ "not a file for this, taken", -EINVAL,
		  READ_WRITE | file, self->iommu, TEST_IOVA, 0, PAGE },

		{ "taken, no memory there", -EEXIST,
		  READ_WRITE, 0, TEST_IOVA, 0, PAGE },
		{ "reaches into a taken range", -EEXIST,
		  READ_WRITE, 0, TEST_IOVA - PAGE, 0, 2 * PAGE },
	};
	size_t i;

	ASSERT_EQ(0, do_map(self, TEST_IOVA, 4 * PAGE));
	/* An IOASID that does not exist comes first. */
	EXPECT_EQ(-ENOENT, ioasid_map(self->iommu, self->ioasid + 99, 0, NULL,
				      1, 0));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct iommu_map_dma map = {
			.size = sizeof(map),
			.flags = cases[i].flags,
			.ioasid = self->ioasid,
			.fd = cases[i].fd,
			.iova = cases[i].iova,
			.src = cases[i].src,
			.length = cases[i].length,
		};

		EXPECT_EQ(cases[i].rc,
			  iommu_call(self->iommu, IOMMU_MAP_DMA, &map))
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(cases[i].iova, map.iova);
	}
	EXPECT_MAPPINGS(1, 4 * PAGE);
	EXPECT_CHARGED(variant->attached ? 4 * PAGE : 0);
}

TEST_F(map, unmap_errors_in_order)
{
	const __u32 all = IOMMU_UNMAP_DMA_ALL;
	struct {
		const char *what;
		int rc;
		__u32 flags;
		__u64 iova;
		__u64 length;
	} cases[] = {
		{ "iova misaligned", -EINVAL, 0, TEST_IOVA + 1, PAGE },
		{ "iova misaligned, nothing there", -EINVAL, 0,
		  TEST_IOVA + 64 * PAGE + 8, PAGE },
		{ "iova misaligned, wraps", -EINVAL, 0, ULLONG_MAX, PAGE },
		{ "length misaligned", -EINVAL, 0, TEST_IOVA, PAGE + 1 },
		{ "length misaligned, wraps", -EINVAL, 0, 0 - PAGE, PAGE + 1 },
		{ "length 0", -EINVAL, 0, TEST_IOVA, 0 },
		{ "length 0, at address 0", -EINVAL, 0, 0, 0 },
		{ "iova with ALL", -EINVAL, all, TEST_IOVA, 0 },
		{ "length with ALL", -EINVAL, all, 0, 4 * PAGE },
		{ "range with ALL", -EINVAL, all, TEST_IOVA, 4 * PAGE },
		{ "range with ALL, wraps", -EINVAL, all, 0 - PAGE, 2 * PAGE },
		{ "wraps", -EOVERFLOW, 0, 0 - PAGE, 2 * PAGE },
		{ "wraps, cuts", -EOVERFLOW, 0, TEST_IOVA + PAGE, 0 - PAGE },
		{ "cuts", -EINVAL, 0, TEST_IOVA, PAGE },
	};
	size_t i;

	ASSERT_EQ(0, do_map(self, TEST_IOVA, 4 * PAGE));
	/* An IOASID that does not exist comes first. */
	EXPECT_EQ(-ENOENT, ioasid_unmap(self->iommu, self->ioasid + 99, 1, 0,
					NULL));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct iommu_unmap_dma unmap = {
			.size = sizeof(unmap),
			.flags = cases[i].flags,
			.ioasid = self->ioasid,
			.iova = cases[i].iova,
			.length = cases[i].length,
		};

		EXPECT_EQ(cases[i].rc,
			  iommu_call(self->iommu, IOMMU_UNMAP_DMA, &unmap))
			TH_LOG("%s", cases[i].what);
		/* The length is an output of calls that succeed only. */
		EXPECT_EQ(cases[i].length, unmap.length);
	}
	EXPECT_MAPPINGS(1, 4 * PAGE);
}

/* The limit goes before what is permitted, and behind what is taken. */
TEST_F(map, dma_entry_limit)
{
	long limit = param_get("dma_entry_limit");
	int i, again, rc[7];
	__u32 ioasid;
	__u64 iova;

	ASSERT_LT(0, limit);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, param_set("dma_entry_limit", 3));
	rc[0] = ioasid_alloc_attr(self->iommu, 32, 0, &ioasid);
	if (variant->attached)
		rc[0] |= vfio_attach(self->dev.fd, ioasid);
	for (i = 0; i < 4; i++)
		rc[i + 1] = ioasid_map(self->iommu, ioasid, READ_WRITE,
				       self->mem, TEST_IOVA + i * PAGE, PAGE);
	rc[5] = ioasid_map(self->iommu, ioasid, READ_WRITE, self->mem,
			   TEST_IOVA, PAGE);
	rc[6] = ioasid_map(self->iommu, ioasid, READ_WRITE, self->mem,
			   1ULL << 32, PAGE);
	again = ioasid_map_alloc(self->iommu, ioasid, READ_WRITE, self->mem,
				 PAGE, &iova);
	ASSERT_EQ(0, param_set("dma_entry_limit", limit));
	EXPECT_EQ(0, rc[0]);
	EXPECT_EQ(0, rc[1]);
	EXPECT_EQ(0, rc[2]);
	EXPECT_EQ(0, rc[3]);
	EXPECT_EQ(-ENOSPC, rc[4]);
	EXPECT_EQ(-EEXIST, rc[5]);
	EXPECT_EQ(-ENOSPC, rc[6]);
	EXPECT_EQ(-ENOSPC, again);

	/* A failed call keeps no entry, and UNMAP gives one back. */
	ASSERT_EQ(0, param_set("dma_entry_limit", 3));
	rc[0] = ioasid_unmap(self->iommu, ioasid, TEST_IOVA, PAGE, NULL);
	rc[1] = ioasid_map(self->iommu, ioasid, READ_WRITE, self->mem,
			   TEST_IOVA, PAGE);
	rc[2] = ioasid_map(self->iommu, ioasid, READ_WRITE, self->mem,
			   TEST_IOVA + 8 * PAGE, PAGE);
	ASSERT_EQ(0, param_set("dma_entry_limit", limit));
	EXPECT_EQ(0, rc[0]);
	EXPECT_EQ(0, rc[1]);
	EXPECT_EQ(-ENOSPC, rc[2]);
}

TEST_F(map, addr_width)
{
	__u64 end = 1ULL << 32;
	__u32 ioasid;

	if (variant->attached && dev_num_windows(&self->dev, self->iommu))
		SKIP(return, "it has windows, which end before");
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 32, 0, &ioasid));
	if (variant->attached)
		ASSERT_EQ(0, vfio_attach(self->dev.fd, ioasid));
	EXPECT_EQ(0, ioasid_map(self->iommu, ioasid, READ_WRITE, self->mem,
				end - PAGE, PAGE));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, ioasid, READ_WRITE,
				      self->mem, end, PAGE));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, ioasid, READ_WRITE,
				      self->mem, 1ULL << 40, PAGE));
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, ioasid, NULL));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, ioasid, READ_WRITE,
				      self->mem, end - PAGE, 2 * PAGE));
}

/* ---- ALLOC_IOVA ---- */

TEST_F(map, alloc_iova)
{
	__u64 iovas[8], lengths[8];
	int i, j;

	for (i = 0; i < 8; i++) {
		lengths[i] = (i + 1) * PAGE;
		iovas[i] = 1;
		ASSERT_EQ(0, ioasid_map_alloc(self->iommu, self->ioasid,
					      READ_WRITE, self->mem,
					      lengths[i], &iovas[i]));
		EXPECT_EQ(0, iovas[i] % PAGE);
		for (j = 0; j < i; j++)
			EXPECT_TRUE(iovas[i] + lengths[i] <= iovas[j] ||
				    iovas[j] + lengths[j] <= iovas[i]);
		/* It is a mapping as every other. */
		EXPECT_EQ(-EEXIST, do_map(self, iovas[i], PAGE));
	}
	EXPECT_MAPPINGS(8, 36 * PAGE);
	for (i = 0; i < 8; i++) {
		__u64 unmapped = 0;

		EXPECT_EQ(0, do_unmap(self, iovas[i], lengths[i], &unmapped));
		EXPECT_EQ(lengths[i], unmapped);
	}
}

TEST_F(map, alloc_iova_no_room)
{
	unsigned int i, num, max = (1U << 18) / PAGE;
	__u64 iova, iovas[64];
	__u32 ioasid;
	int rc = 0;

	ASSERT_GE(ARRAY_SIZE(iovas), max);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 18, 0, &ioasid));
	if (variant->attached)
		ASSERT_EQ(0, vfio_attach(self->dev.fd, ioasid));
	for (num = 0; num < max; num++) {
		rc = ioasid_map_alloc(self->iommu, ioasid, READ_WRITE,
				      self->mem, PAGE, &iovas[num]);
		if (rc)
			break;
		EXPECT_GT(1U << 18, iovas[num]);
		for (i = 0; i < num; i++)
			EXPECT_NE(iovas[i], iovas[num]);
	}
	/* Address 0 may be kept back for whoever asks for it. */
	EXPECT_LE(max - 1, num);
	EXPECT_EQ(-ENOSPC, ioasid_map_alloc(self->iommu, ioasid, READ_WRITE,
					    self->mem, PAGE, &iova));

	/* The only room is where one goes, and two do not fit. */
	ASSERT_EQ(0, ioasid_unmap(self->iommu, ioasid, iovas[num / 2], PAGE,
				  NULL));
	EXPECT_EQ(-ENOSPC, ioasid_map_alloc(self->iommu, ioasid, READ_WRITE,
					    self->mem, 2 * PAGE, &iova));
	ASSERT_EQ(0, ioasid_map_alloc(self->iommu, ioasid, READ_WRITE,
				      self->mem, PAGE, &iova));
	EXPECT_EQ(iovas[num / 2], iova);

	/* More than the whole space. */
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, ioasid, NULL));
	EXPECT_EQ(-ENOSPC, ioasid_map_alloc(self->iommu, ioasid, READ_WRITE,
					    self->mem, 1 << 19, &iova));
}

/* ---- memory that cannot be had ---- */

static int map_at(struct _test_data_map *self, __u32 flags, const void *src,
		  __u64 length)
{
	return ioasid_map(self->iommu, self->ioasid, flags, src, TEST_IOVA,
			  length);
}

/*
 * With a device attached MAP_DMA says so at once, else the attach does. Nothing
 * is pinned, charged or attached afterwards, and the next try is a new one.
 */
static int map_or_attach(struct _test_data_map *self,
			 const struct _fixture_variant_map *variant,
			 __u32 flags, const void *src, __u64 length)
{
	int rc, unmap;

	rc = map_at(self, flags, src, length);
	if (rc || variant->attached)
		return rc;
	rc = vfio_attach(self->dev.fd, self->ioasid);
	if (!rc)
		return 0;
	unmap = ioasid_unmap_all(self->iommu, self->ioasid, NULL);
	return unmap ? unmap : rc;
}

TEST_F(map, memory_not_accessible)
{
	char *mem = mem_alloc(8 * PAGE);
	void *regs;

	ASSERT_NE(NULL, mem);
	memset(mem, 1, 8 * PAGE);

	/* Not mapped at all. */
	EXPECT_EQ(-EFAULT, map_or_attach(self, variant, READ_WRITE, NULL,
					 PAGE));
	EXPECT_CHARGED(0);
	/* Addresses of the kernel. */
	EXPECT_EQ(-EFAULT, map_or_attach(self, variant, READ_WRITE,
					 (void *)(0 - 16 * PAGE), PAGE));
	/* No access. */
	ASSERT_EQ(0, mprotect(mem, 8 * PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, map_or_attach(self, variant, READ_ONLY, mem, PAGE));
	EXPECT_EQ(-EFAULT, map_or_attach(self, variant, READ_WRITE, mem, PAGE));
	/* Access that ends in the middle. */
	ASSERT_EQ(0, mprotect(mem, 4 * PAGE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(-EFAULT, map_or_attach(self, variant, READ_WRITE, mem,
					 8 * PAGE));
	EXPECT_CHARGED(0);
	/* To be written, but read-only. */
	ASSERT_EQ(0, mprotect(mem, 8 * PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, map_or_attach(self, variant, READ_WRITE, mem, PAGE));
	EXPECT_EQ(-EFAULT, map_or_attach(self, variant, WRITE_ONLY, mem, PAGE));
	/* Registers of a device. */
	ASSERT_EQ(0, dev_mmap(&self->dev, PAGE, &regs));
	EXPECT_EQ(-EFAULT, map_or_attach(self, variant, READ_WRITE, regs,
					 PAGE));
	ASSERT_EQ(0, munmap(regs, PAGE));

	EXPECT_MAPPINGS(0, 0);
	EXPECT_CHARGED(0);
	/* Reading what is read-only is fine, and all of it works afterwards. */
	EXPECT_EQ(0, map_or_attach(self, variant, READ_ONLY, mem, 8 * PAGE));
	EXPECT_CHARGED(8 * PAGE);
}

/* What is taken or not permitted is noticed before the memory is looked at. */
TEST_F(map, memory_comes_last)
{
	ASSERT_EQ(0, do_map(self, TEST_IOVA, PAGE));
	EXPECT_EQ(-EEXIST, map_at(self, READ_WRITE, NULL, PAGE));
	if (variant->attached)
		EXPECT_EQ(-EINVAL,
			  ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				     NULL, msi_first, PAGE));
}

static int set_memlock(unsigned long bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	return setrlimit(RLIMIT_MEMLOCK, &limit) ? -errno : 0;
}

/* What is locked when the device is attached and nothing is mapped, or an errno */
static long with_tables(struct _test_data_map *self,
			const struct _fixture_variant_map *variant)
{
	long locked = self->counts.locked;
	int rc = vfio_attach(self->dev.fd, self->ioasid);

	locked += tables_charged();
	if (!rc && !variant->attached)
		rc = vfio_detach(self->dev.fd);
	return rc ? rc : locked;
}

TEST_F(map, memlock_limit)
{
	long base = with_tables(self, variant);

	ASSERT_LE(0, base);
	ASSERT_EQ(0, set_memlock(base + 8 * PAGE));
	/* Who may exceed it, may exceed it. */
	ASSERT_EQ(0, map_or_attach(self, variant, READ_WRITE, self->mem,
				   9 * PAGE));
	EXPECT_CHARGED(9 * PAGE);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	if (!variant->attached)
		ASSERT_EQ(0, vfio_detach(self->dev.fd));

	ASSERT_EQ(0, drop_ipc_lock());
	EXPECT_EQ(-ENOMEM, map_or_attach(self, variant, READ_WRITE, self->mem,
					 9 * PAGE));
	EXPECT_MAPPINGS(0, 0);
	EXPECT_CHARGED(0);
	/* It is looked at before the memory, and tables of windows after it. */
	if (base == self->counts.locked)
		EXPECT_EQ(-ENOMEM, map_or_attach(self, variant, READ_WRITE,
						 NULL, 9 * PAGE));
	EXPECT_CHARGED(0);
	/* To the last byte. */
	EXPECT_EQ(0, map_or_attach(self, variant, READ_WRITE, self->mem,
				   8 * PAGE));
	EXPECT_CHARGED(8 * PAGE);
	/* Now a device is attached in both variants. */
	EXPECT_EQ(-ENOMEM, do_map(self, TEST_IOVA + 16 * PAGE, PAGE));
	EXPECT_EQ(-EEXIST, do_map(self, TEST_IOVA, PAGE));
	EXPECT_EQ(-EINVAL, do_map(self, msi_first, PAGE));
	EXPECT_MAPPINGS(1, 8 * PAGE);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(0, do_map(self, TEST_IOVA + 16 * PAGE, PAGE));
	EXPECT_CHARGED(PAGE);
}

/* While no device is attached the limit is of no concern. */
TEST_F(map, memlock_limit_at_attach)
{
	long base = with_tables(self, variant);

	ASSERT_LE(0, base);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, set_memlock(base + 8 * PAGE));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, do_map(self, TEST_IOVA, 6 * PAGE));
	ASSERT_EQ(0, do_map(self, TEST_IOVA + 6 * PAGE, 6 * PAGE));
	EXPECT_CHARGED(0);
	EXPECT_EQ(-ENOMEM, vfio_attach(self->dev.fd, self->ioasid));
	/* The mapping that would have fitted is let go again. */
	EXPECT_CHARGED(0);
	EXPECT_MAPPINGS(2, 12 * PAGE);
	ASSERT_EQ(0, do_unmap(self, TEST_IOVA, 6 * PAGE, NULL));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_CHARGED(6 * PAGE);
}

/* ---- large pages ---- */

TEST_F(map, huge_pages)
{
	struct counts now;
	char *mem;

	mem = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (mem == MAP_FAILED)
		SKIP(return, "no two free huge pages");
	ASSERT_EQ(0, map_or_attach(self, variant, READ_WRITE, mem,
				   2 * HUGE_SIZE));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(2 * HUGE_SIZE, now.locked - self->counts.locked);
	EXPECT_LE(2, now.pins - self->counts.pins);
	EXPECT_MAPPINGS(1, 2 * HUGE_SIZE);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_CHARGED(0);

	/* Parts of them: over the border, and from the middle of one. */
	ASSERT_EQ(0, map_at(self, READ_WRITE, mem + HUGE_SIZE - PAGE,
			    2 * PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_ONLY,
				mem + 5 * PAGE, TEST_IOVA + HUGE_SIZE, PAGE));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(3 * PAGE, now.locked - self->counts.locked);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_CHARGED(0);
	munmap(mem, 2 * HUGE_SIZE);
}

/* THP that is split under the mapping's feet. */
TEST_F(map, transparent_huge_pages)
{
	size_t size = 3 * HUGE_SIZE;
	char *mem, *aligned;
	struct counts now;

	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	aligned = (char *)(((uintptr_t)mem + 8 * PAGE + HUGE_SIZE - 1) &
			   -HUGE_SIZE);
	madvise(mem, size, MADV_HUGEPAGE);
	memset(mem, 0x22, size);
	/* A hole in the first, another page in its place. */
	ASSERT_EQ(0, madvise(aligned + 7 * PAGE, PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, map_or_attach(self, variant, READ_WRITE,
				   aligned - 3 * PAGE, HUGE_SIZE + 4 * PAGE));
	EXPECT_MAPPINGS(1, HUGE_SIZE + 4 * PAGE);
	ASSERT_EQ(0, madvise(aligned, HUGE_SIZE / 2, MADV_DONTNEED));
	ASSERT_EQ(0, munmap(mem, size));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(HUGE_SIZE + 4 * PAGE, now.locked - self->counts.locked);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_CHARGED(0);
}

/* ---- who pins and pays, and for how long ---- */

FIXTURE(account) {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(account)
{
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	MEM_BEGIN(MEM_PAGES * PAGE);
}

FIXTURE_TEARDOWN(account)
{
	DEVICE_END();
}

static int acc_map(struct _test_data_account *self, __u64 iova, __u64 length)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  iova, length);
}

TEST_F(account, every_step)
{
	__u32 second;

	EXPECT_CHARGED(0);
	ASSERT_EQ(0, acc_map(self, TEST_IOVA, 8 * PAGE));
	ASSERT_EQ(0, acc_map(self, TEST_IOVA + 16 * PAGE, 3 * PAGE));
	EXPECT_CHARGED(0);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_CHARGED(11 * PAGE);
	ASSERT_EQ(0, acc_map(self, TEST_IOVA + 32 * PAGE, 2 * PAGE));
	EXPECT_CHARGED(13 * PAGE);
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, TEST_IOVA,
				  8 * PAGE, NULL));
	EXPECT_CHARGED(5 * PAGE);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_CHARGED(0);
	EXPECT_MAPPINGS(2, 5 * PAGE);

	/* The mappings are still there for the next who attaches. */
	ASSERT_EQ(0, acc_map(self, TEST_IOVA, PAGE));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid,
				  TEST_IOVA + 32 * PAGE, 2 * PAGE, NULL));
	EXPECT_CHARGED(0);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_CHARGED(4 * PAGE);

	/* A move to another address space. */
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &second));
	ASSERT_EQ(0, ioasid_map(self->iommu, second, READ_WRITE, self->mem,
				TEST_IOVA, 16 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, second));
	EXPECT_CHARGED(16 * PAGE);
	ASSERT_EQ(0, ioasid_free(self->iommu, self->ioasid));
	EXPECT_CHARGED(16 * PAGE);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_free(self->iommu, second));
	EXPECT_CHARGED(0);
}

TEST_F(account, free_while_mapped)
{
	ASSERT_EQ(0, acc_map(self, TEST_IOVA, 8 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_free(self->iommu, self->ioasid));
	EXPECT_CHARGED(0);
}

TEST_F(account, close_while_attached)
{
	ASSERT_EQ(0, acc_map(self, TEST_IOVA, 8 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_CHARGED(8 * PAGE);
	dev_close(&self->dev);
	EXPECT_CHARGED(0);
	EXPECT_MAPPINGS(1, 8 * PAGE);
	close(self->iommu);
	self->iommu = -1;
	EXPECT_CHARGED(0);
}

/* Attaching twice pins once. */
TEST_F(account, two_devices)
{
	struct dma_device devs[2];

	if (dev_find_alone(devs, 2) < 2)
		SKIP(return, "no second DMA device");
	ASSERT_EQ(0, dev_open_bind(&devs[1], self->iommu));
	ASSERT_EQ(0, acc_map(self, TEST_IOVA, 8 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(devs[1].fd, self->ioasid));
	EXPECT_CHARGED(8 * PAGE);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_CHARGED(8 * PAGE);
	ASSERT_EQ(0, acc_map(self, TEST_IOVA + 8 * PAGE, PAGE));
	EXPECT_CHARGED(9 * PAGE);
	dev_close(&devs[1]);
	EXPECT_CHARGED(0);
}

TEST_F(account, large)
{
	size_t size = 16UL << 20;
	char *mem = mem_alloc(size);

	/* Never touched before: pinning makes the pages. */
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE, mem,
				TEST_IOVA, size));
	EXPECT_CHARGED(size);
	/* The process may forget it. */
	ASSERT_EQ(0, munmap(mem, size));
	EXPECT_CHARGED(size);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_CHARGED(0);
}

/* ---- MAP_DMA needs a bound device ---- */

TEST(no_device)
{
	char *mem = mem_alloc(PAGE);
	struct dma_device dev;
	__u64 unmapped = 1;
	int iommu;
	__u32 ioasid;

	ASSERT_NE(NULL, mem);
	if (dev_find_alone(&dev, 1) < 1)
		SKIP(return, "no DMA device in an IOMMU group of its own");
	iommu = iommu_open();
	ASSERT_LE(0, iommu);
	ASSERT_EQ(0, ioasid_alloc(iommu, &ioasid));
	EXPECT_EQ(-EPERM, ioasid_map(iommu, ioasid, READ_WRITE, mem, TEST_IOVA,
				     PAGE));
	/* What all commands check goes before that ... */
	EXPECT_EQ(-ENOENT, ioasid_map(iommu, ioasid + 1, READ_WRITE, mem,
				      TEST_IOVA, PAGE));
	EXPECT_EQ(-EOPNOTSUPP, ioasid_map(iommu, ioasid, READ_WRITE | 1U << 31,
					  mem, TEST_IOVA, PAGE));
	/* ... and that before everything else. */
	EXPECT_EQ(-EPERM, ioasid_map(iommu, ioasid, 0, mem, 0, 0));
	EXPECT_EQ(-EPERM, ioasid_map(iommu, ioasid, READ_WRITE, mem, 0 - PAGE,
				     2 * PAGE));
	EXPECT_EQ(-EPERM, ioasid_map(iommu, ioasid, READ_WRITE, mem, 1, PAGE));
	EXPECT_EQ(-EPERM, ioasid_map_file(iommu, ioasid, READ_WRITE, -1, 0,
					  TEST_IOVA, PAGE));
	/* UNMAP_DMA, GET_INFO and FREE do without. */
	EXPECT_EQ(0, ioasid_unmap_all(iommu, ioasid, &unmapped));
	EXPECT_EQ(0, unmapped);

	/* A binding is what counts, not an attachment; and only its context. */
	ASSERT_EQ(0, dev_open(&dev));
	EXPECT_EQ(-EPERM, ioasid_map(iommu, ioasid, READ_WRITE, mem, TEST_IOVA,
				     PAGE));
	ASSERT_EQ(0, dev_bind(&dev, iommu));
	EXPECT_EQ(0, ioasid_map(iommu, ioasid, READ_WRITE, mem, TEST_IOVA,
				PAGE));
	dev_close(&dev);
	EXPECT_EQ(-EPERM, ioasid_map(iommu, ioasid, READ_WRITE, mem,
				     TEST_IOVA + PAGE, PAGE));
	EXPECT_EQ(0, ioasid_unmap_all(iommu, ioasid, &unmapped));
	EXPECT_EQ(PAGE, unmapped);
	EXPECT_EQ(0, ioasid_free(iommu, ioasid));
	close(iommu);
}

/* ---- several processes with one context ---- */

/* Runs in a child; what it returns, up to 127, comes back as positive errno. */
static int in_child(int (*run)(struct _test_data_account *self),
		    struct _test_data_account *self)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(-run(self));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -ECHILD;
	return -WEXITSTATUS(status);
}

static int child_exit(struct _test_data_account *self)
{
	return 0;
}

static int child_map(struct _test_data_account *self)
{
	return acc_map(self, TEST_IOVA, 8 * PAGE);
}

static int child_unmap_all(struct _test_data_account *self)
{
	return ioasid_unmap_all(self->iommu, self->ioasid, NULL);
}

TEST_F(account, child_exits)
{
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, acc_map(self, TEST_IOVA, 8 * PAGE));
	ASSERT_EQ(0, in_child(child_exit, self));
	EXPECT_CHARGED(8 * PAGE);
	EXPECT_MAPPINGS(1, 8 * PAGE);
}

/* The parent mapped and paid; the refund is the parent's, too. */
TEST_F(account, child_unmaps)
{
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, acc_map(self, TEST_IOVA, 8 * PAGE));
	EXPECT_CHARGED(8 * PAGE);
	ASSERT_EQ(0, in_child(child_unmap_all, self));
	EXPECT_CHARGED(0);
	EXPECT_MAPPINGS(0, 0);
}

/* Pinned pages outlive the process that they came from. */
TEST_F(account, child_maps_and_exits)
{
	struct counts now;

	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, in_child(child_map, self));
	EXPECT_MAPPINGS(1, 8 * PAGE);
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(8, now.pins - self->counts.pins);
	/* It was the child that paid. */
	EXPECT_EQ(self->counts.locked, now.locked);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_CHARGED(0);
}

/* Memory that has gone before it was pinned cannot be had any more. */
TEST_F(account, child_maps_and_is_gone)
{
	ASSERT_EQ(0, in_child(child_map, self));
	EXPECT_MAPPINGS(1, 8 * PAGE);
	EXPECT_EQ(-EFAULT, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_CHARGED(0);
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
}

static int child_attach(struct _test_data_account *self)
{
	return vfio_attach(self->dev.fd, self->ioasid);
}

/* Who attaches is not who mapped: memory and bill are still the mapper's. */
TEST_F(account, child_attaches)
{
	struct counts now;

	ASSERT_EQ(0, acc_map(self, TEST_IOVA, 8 * PAGE));
	ASSERT_EQ(0, in_child(child_attach, self));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(8, now.pins - self->counts.pins);
	/* A table is not in our bill, either. */
	EXPECT_EQ(8 * PAGE - tables_charged(), now.locked - self->counts.locked);
	EXPECT_MAPPINGS(1, 8 * PAGE);
}

/* ---- permitted ranges ---- */

static bool permitted(const struct iommu_range *ranges, unsigned int num,
		      __u64 first, __u64 last)
{
	unsigned int i;

	for (i = 0; i < num; i++)
		if (ranges[i].first <= first && last <= ranges[i].last)
			return true;
	return false;
}

static bool touches(const struct iommu_range *ranges, unsigned int num,
		    __u64 first, __u64 last)
{
	unsigned int i;

	for (i = 0; i < num; i++)
		if (ranges[i].first <= last && first <= ranges[i].last)
			return true;
	return false;
}

TEST_F(account, device_ranges)
{
	struct iommu_range ranges[16], ioasid_ranges[16];
	struct iommu_device_info device = {
		.num_ranges = ARRAY_SIZE(ranges),
		.ranges = (uintptr_t)ranges,
	};
	struct iommu_ioasid_info info = {
		.num_ranges = ARRAY_SIZE(ioasid_ranges),
		.ranges = (uintptr_t)ioasid_ranges,
	};
	unsigned long long first, last;
	char path[128], type[32];
	unsigned int i;
	FILE *f;

	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id,
				       &device));
	ASSERT_GE(ARRAY_SIZE(ranges), device.num_ranges);
	for (i = 0; i < device.num_ranges; i++) {
		EXPECT_LT(ranges[i].first, ranges[i].last);
		EXPECT_EQ(0, ranges[i].first % PAGE);
		EXPECT_EQ(PAGE - 1, ranges[i].last % PAGE);
		/* In order, and with something between them. */
		if (i)
			EXPECT_LT(ranges[i - 1].last + 1, ranges[i].first);
	}
	if (!device.num_windows && device.addr_width < 64)
		EXPECT_EQ((1ULL << device.addr_width) - 1, ranges[i - 1].last);
	EXPECT_FALSE(touches(ranges, device.num_ranges, msi_first, msi_last));

	/* The IOMMU core has a list of its own. */
	snprintf(path, sizeof(path),
		 "/sys/kernel/iommu_groups/%d/reserved_regions",
		 self->dev.group);
	f = fopen(path, "r");
	ASSERT_NE(NULL, f);
	while (fscanf(f, "%llx %llx %31s", &first, &last, type) == 3) {
		if (!strcmp(type, "direct-relaxable"))
			continue;
		EXPECT_FALSE(touches(ranges, device.num_ranges, first, last))
			TH_LOG("0x%llx to 0x%llx is %s", first, last, type);
	}
	fclose(f);

	/* With this device alone the address space has the same. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_info(self->iommu, self->ioasid, &info));
	ASSERT_EQ(device.num_ranges, info.num_ranges);
	EXPECT_EQ(0, memcmp(ranges, ioasid_ranges,
			    device.num_ranges * sizeof(*ranges)));
}

TEST_F(account, msi_window)
{
	struct iommu_range ranges[16];
	struct iommu_ioasid_info info = {
		.num_ranges = ARRAY_SIZE(ranges),
		.ranges = (uintptr_t)ranges,
	};
	int rc;

	if (dev_num_windows(&self->dev, self->iommu))
		SKIP(return, "messages are no business of its windows");
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_EQ(-EINVAL, acc_map(self, msi_first, PAGE));
	EXPECT_EQ(-EINVAL, acc_map(self, (msi_first + msi_last + 1) / 2, PAGE));
	EXPECT_EQ(-EINVAL, acc_map(self, msi_last - PAGE + 1, PAGE));
	EXPECT_EQ(-EINVAL, acc_map(self, msi_first - PAGE, 2 * PAGE));
	EXPECT_EQ(-EINVAL, acc_map(self, msi_last - PAGE + 1, 2 * PAGE));
	EXPECT_EQ(0, acc_map(self, msi_first - PAGE, PAGE));
	EXPECT_EQ(0, acc_map(self, msi_last + 1, PAGE));
	EXPECT_MAPPINGS(2, 2 * PAGE);
	/* What is taken is noticed before what is not permitted. */
	EXPECT_EQ(-EEXIST, acc_map(self, msi_first - PAGE, 2 * PAGE));

	/* Without a device, too, the ranges and MAP_DMA are of one opinion. */
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_info(self->iommu, self->ioasid, &info));
	ASSERT_GE(ARRAY_SIZE(ranges), info.num_ranges);
	rc = permitted(ranges, info.num_ranges, msi_first,
		       msi_first + PAGE - 1) ? 0 : -EINVAL;
	EXPECT_EQ(rc, acc_map(self, msi_first, PAGE));
}

/* A device that may not have what is mapped is refused, and all stays. */
TEST_F(account, attach_conflicts)
{
	struct iommu_device_info device = {};

	ASSERT_EQ(0, acc_map(self, TEST_IOVA, PAGE));
	ASSERT_EQ(0, acc_map(self, msi_first - PAGE, 2 * PAGE));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_CHARGED(0);
	EXPECT_MAPPINGS(2, 3 * PAGE);
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, msi_first - PAGE,
				  2 * PAGE, NULL));

	/* What the IOMMU does not reach. */
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id,
				       &device));
	if (!device.num_windows && device.addr_width < 64) {
		ASSERT_EQ(0, acc_map(self, 1ULL << device.addr_width, PAGE));
		EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
		EXPECT_CHARGED(0);
		ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid,
					  1ULL << device.addr_width, PAGE,
					  NULL));
		ASSERT_EQ(0, acc_map(self, 0 - PAGE, PAGE));
		EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->ioasid));
		ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, 0 - PAGE,
					  PAGE, NULL));
	}
	EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_CHARGED(PAGE);
}

/* A width that the device's IOMMU does not have. */
TEST_F(account, attach_too_wide)
{
	struct iommu_device_info device = {};
	__u32 fits, wide;

	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id,
				       &device));
	if (device.num_windows || device.addr_width >= 64)
		SKIP(return, "the IOMMU reaches every address");
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, device.addr_width, 0,
				       &fits));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, device.addr_width + 1, 0,
				       &wide));
	EXPECT_EQ(-EINVAL, vfio_attach(self->dev.fd, wide));
	EXPECT_EQ(0, ioasid_free(self->iommu, wide));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, fits));
}

TEST_HARNESS_MAIN
