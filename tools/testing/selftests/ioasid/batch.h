/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of MAP_BATCH, of REPLACE and of io_uring begin with: an address
 * space with a device in it, and calls that number the pages of their memory.
 */
#ifndef BATCH_H
#define BATCH_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device_fixture.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	64
#define REG		0x123400000000ULL
#define UNMAP		IOMMU_BATCH_ENTRY_UNMAP
#define REPLACE		IOMMU_MAP_DMA_REPLACE
#define BYTES		128

FIXTURE(batch) {
	int iommu;
	struct dma_device dev;
	__u32 prereg;
	__u32 ioasid;
	bool child;
	char *mem;
	struct iommu_batch_entry *entries;
	struct counts counts;
};

FIXTURE_VARIANT(batch) {
	bool child;
};

/* Of memory of the process */
FIXTURE_VARIANT_ADD(batch, root) {
	.child = false,
};

/* Of memory that is registered */
FIXTURE_VARIANT_ADD(batch, child) {
	.child = true,
};

FIXTURE_SETUP(batch)
{
	self->child = variant->child;
	if (!DEVICE_BEGIN())
		return;
	MEM_BEGIN(MEM_PAGES * PAGE);
	self->entries = calloc(IOMMU_MAP_BATCH_MAX + 1,
			       sizeof(*self->entries));
	ASSERT_NE(NULL, self->entries);
	ASSERT_EQ(0, ioasid_alloc_prereg(self->iommu, &self->prereg));
	if (self->child) {
		ASSERT_EQ(0, ioasid_map(self->iommu, self->prereg, READ_WRITE,
					self->mem, REG, MEM_PAGES * PAGE));
		ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->prereg,
						&self->ioasid));
	} else {
		ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	}
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
}

FIXTURE_TEARDOWN(batch)
{
	DEVICE_END();
}

/* The source for some page of memory */
static __u64 source(struct _test_data_batch *self, unsigned int page)
{
	page %= MEM_PAGES;
	return (self->child ? REG : (uintptr_t)self->mem) + page * PAGE;
}

static __u64 at(unsigned int page)
{
	return TEST_IOVA + page * PAGE;
}

static struct iommu_batch_entry map_entry(struct _test_data_batch *self,
					  unsigned int page, unsigned int to,
					  unsigned int pages)
{
	return (struct iommu_batch_entry){
		.flags = READ_WRITE,
		.iova = at(to),
		.src = source(self, page),
		.length = pages * PAGE,
	};
}

static struct iommu_batch_entry unmap_entry(unsigned int from,
					    unsigned int pages)
{
	return (struct iommu_batch_entry){
		.flags = UNMAP,
		.iova = at(from),
		.length = pages * PAGE,
	};
}

static int map_one(struct _test_data_batch *self, __u32 flags,
		   unsigned int page, unsigned int to, unsigned int pages)
{
	return ioasid_show(self->iommu, self->ioasid, flags,
			   source(self, page), at(to), pages * PAGE);
}

static int do_batch(struct _test_data_batch *self, __u32 *num, __u64 *unmapped)
{
	return ioasid_batch(self->iommu, self->ioasid, self->entries, num,
			    unmapped);
}

/* What a call must say, which did @num entries and unmapped @pages */
#define EXPECT_BATCH(error, entries, done, pages) do { \
	__u32 __num = (entries); \
	__u64 __unmapped = 99; \
	EXPECT_EQ((error), do_batch(self, &__num, &__unmapped)); \
	EXPECT_EQ((__u32)(done), __num); \
	EXPECT_EQ((__u64)(pages) * PAGE, __unmapped); \
} while (0)

/* How many mappings of one page each there are, and what is pinned for them */
#define EXPECT_PAGES(num) do { \
	struct iommu_ioasid_info __info; \
	__u64 __num = (num); \
	EXPECT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &__info)); \
	EXPECT_EQ(__num, __info.num_mappings); \
	EXPECT_EQ(__num * PAGE, __info.mapped_bytes); \
	EXPECT_EQ(self->child ? 0 : __num * PAGE, __info.pinned_bytes); \
} while (0)

/* Whether the device copies page @from of memory, at @iova, to page @to of it */
static bool device_copies(struct _test_data_batch *self, unsigned int iova_from,
			  unsigned int from, unsigned int iova_to,
			  unsigned int to, unsigned int seed)
{
	char *src = self->mem + from % MEM_PAGES * PAGE;
	char *dst = self->mem + to % MEM_PAGES * PAGE;

	fill_pattern(src, BYTES, seed);
	memset(dst, 0, BYTES);
	return !dev_dma_copy(&self->dev, at(iova_from), at(iova_to), BYTES) &&
	       has_pattern(dst, BYTES, seed);
}

/* Page @n of the source goes to page n * @step. */
static void fill_maps(struct _test_data_batch *self, unsigned int num,
		      unsigned int step)
{
	unsigned int i;

	for (i = 0; i < num; i++)
		self->entries[i] = map_entry(self, i, i * step, 1);
}

/* ---- a device that streams meanwhile ---- */

#define OLD	0x1111111111111111ULL
#define NEW	0x2222222222222222ULL
#define HALF	(MEM_PAGES / 2)

/* It compares, in place of the machine's device; the halves are OLD and NEW. */
static int begin_stream(struct _test_data_batch *self)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_COMPARE,
		.flags = IOASID_TEST_FOREVER | IOASID_TEST_KEEP_GOING,
		.iova = TEST_IOVA,
		.length = HALF * PAGE,
		.step = 64,
		.pattern = OLD,
		.pattern2 = NEW,
	};
	__u64 *word = (void *)self->mem;
	size_t i, words = MEM_PAGES * PAGE / 8;
	int rc;

	for (i = 0; i < words; i++)
		word[i] = i < words / 2 ? OLD : NEW;
	rc = test_device_instead(NULL, &self->dev, self->iommu);
	if (!rc)
		rc = vfio_attach(self->dev.fd, self->ioasid);
	return rc ? rc : test_device_run(&self->dev, 1, &command);
}

/* Whether all that the device finds now is this */
static bool device_finds(struct _test_data_batch *self, __u64 pattern)
{
	return !test_device_compare(&self->dev, TEST_IOVA, HALF * PAGE,
				    pattern);
}

static void end_stream(struct __test_metadata *_metadata,
		       struct _test_data_batch *self)
{
	struct ioasid_test_status status;

	ASSERT_EQ(0, test_device_stop(&self->dev, 1, &status));
	EXPECT_EQ(0, status.mismatches);
	EXPECT_LT(0, status.matches);
	EXPECT_LT(0, status.matches2);
	EXPECT_EQ(0, test_device_end(&self->dev));
}

#endif
