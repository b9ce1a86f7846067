// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty tracking of single page tables, as iommufd's interface has it: what a
 * device writes is reported and not lost, whatever range is asked for and
 * whatever becomes of the bitmap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	64
#define ADDR(n)		(TEST_IOVA + (n) * PAGE)
#define MARK		0xa5a5a5a5a5a5a5a5ULL
#define OTHER		0x5a5a5a5a5a5a5a5aULL
#define NO_CLEAR	IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR
#define BIT(n)		(1ULL << (n))

FIXTURE(dirty)
{
	struct counts begin;
	struct dma_device dev;
	int iommu;
	__u32 ioas;
	__u32 hwpt;
	char *mem;
	size_t size;
};

/* @huge: the memory is in huge pages, and so are the tables */
FIXTURE_VARIANT(dirty)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(dirty, small)
{
	.huge = false,
};

FIXTURE_VARIANT_ADD(dirty, huge)
{
	.huge = true,
};

FIXTURE_SETUP(dirty)
{
	const char *missing = test_iommu_missing();
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char settings[32];

	self->dev.fd = -1;
	self->iommu = -1;
	self->mem = MAP_FAILED;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->begin);
	self->size = variant->huge ? 2 * HUGE_SIZE : MEM_PAGES * PAGE;
	self->mem = mmap(NULL, self->size, PROT_READ | PROT_WRITE,
			 variant->huge ? flags | MAP_HUGETLB : flags, -1, 0);
	if (self->mem == MAP_FAILED)
		SKIP(return, "no two free huge pages");
	snprintf(settings, sizeof(settings), "page_sizes=0x%lx",
		 variant->huge ? PAGE | HUGE_SIZE : PAGE);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, test_device_begin(settings, &self->dev, self->iommu));
	ASSERT_EQ(0, ioas_alloc(self->iommu, &self->ioas));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, self->mem,
			      TEST_IOVA, self->size));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->dev.dev_id, self->ioas,
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &self->hwpt));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->hwpt));
}

FIXTURE_TEARDOWN(dirty)
{
	if (self->mem == MAP_FAILED)
		return;
	dev_close(&self->dev);
	if (self->iommu >= 0)
		close(self->iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	munmap(self->mem, self->size);
	COUNTS_END(&self->begin);
}

static int get(struct _test_data_dirty *self, __u32 flags, __u64 iova,
	       __u64 length, __u64 size, void *bitmap)
{
	return hwpt_dirty(self->iommu, self->hwpt, flags, iova, length, size,
			  bitmap);
}

/*
 * The whole memory in 64 parts, one bit for each; a negative errno looks like
 * all of them.
 */
static __u64 get_all(struct _test_data_dirty *self, __u32 flags)
{
	__u64 bits = 0;

	if (get(self, flags, TEST_IOVA, self->size, self->size / 64, &bits))
		return ~0ULL;
	return bits;
}

/* The device writes to part @n of 64. */
static int write_part(struct _test_data_dirty *self, unsigned int n)
{
	return test_device_fill(&self->dev, TEST_IOVA + n * (self->size / 64),
				8, MARK);
}

/* What is reported when part @n was written: an entry of the table */
static __u64 reported(const struct _fixture_variant_dirty *variant,
		      unsigned int n)
{
	if (variant->huge)
		return n < 32 ? 0xffffffff : 0xffffffffULL << 32;
	return BIT(n);
}

TEST_F(dirty, written_is_reported_once)
{
	EXPECT_EQ(0, write_part(self, 1));
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, get_all(self, 0));
	EXPECT_EQ(0, test_device_compare(&self->dev, TEST_IOVA + 64, 8, 0));
	EXPECT_EQ(0, get_all(self, 0));
	EXPECT_EQ(0, write_part(self, 3));
	EXPECT_EQ(reported(variant, 3), get_all(self, NO_CLEAR));
	EXPECT_EQ(reported(variant, 3), get_all(self, NO_CLEAR));
	EXPECT_EQ(reported(variant, 3), get_all(self, 0));
	EXPECT_EQ(0, get_all(self, 0));
	/* The device has the translation in its cache, as dirty. */
	EXPECT_EQ(0, write_part(self, 3));
	EXPECT_EQ(0, write_part(self, 63));
	EXPECT_EQ(reported(variant, 3) | reported(variant, 63),
		  get_all(self, 0));
	EXPECT_EQ(0, get_all(self, 0));
}

/* When it begins nothing is dirty, whatever has been before. */
TEST_F(dirty, starts_clean)
{
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, write_part(self, 3));
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, false));
	EXPECT_EQ(0, write_part(self, 40));
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, get_all(self, 0));
	/* Also if it is on already */
	EXPECT_EQ(0, write_part(self, 3));
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, get_all(self, 0));
	EXPECT_EQ(0, write_part(self, 3));
	EXPECT_EQ(reported(variant, 3), get_all(self, 0));
}

/*
 * An entry of the table has one bit. Who asks about a part of what it maps does
 * not take it away from who asks about the rest.
 */
TEST_F(dirty, parts_lose_nothing)
{
	__u64 part = self->size / 64, first = TEST_IOVA + 4 * part, bits = 0;
	__u64 want = reported(variant, 3) | reported(variant, 35);

	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, write_part(self, 3));
	EXPECT_EQ(0, write_part(self, 35));
	/* From the middle of an entry to the middle of the next */
	ASSERT_EQ(0, get(self, 0, first, 30 * part, part, &bits));
	EXPECT_EQ(variant->huge ? BIT(30) - 1 : 0, bits);
	EXPECT_EQ(want, get_all(self, NO_CLEAR));
	/* The first of it, in small pages; and a part in the middle of one */
	bits = 0;
	ASSERT_EQ(0, get(self, 0, TEST_IOVA, PAGE, PAGE, &bits));
	EXPECT_EQ(variant->huge, bits);
	bits = 0;
	ASSERT_EQ(0, get(self, 0, first + part, PAGE, PAGE, &bits));
	EXPECT_EQ(variant->huge, bits);
	EXPECT_EQ(want, get_all(self, NO_CLEAR));

	/* One entry whole, and the end of the one before it */
	bits = 0;
	ASSERT_EQ(0, get(self, 0, first, 60 * part, part, &bits));
	EXPECT_EQ(want >> 4, bits);
	EXPECT_EQ(variant->huge ? 0xffffffff : reported(variant, 3),
		  get_all(self, 0));
	EXPECT_EQ(0, get_all(self, 0));
}

TEST_F(dirty, bits_of_all_sizes)
{
	const __u64 sizes[] = { PAGE, self->size / 64, self->size / 2,
				self->size };
	static __u64 bitmap[4 * HUGE_SIZE / 4096 / 64 + 2];
	unsigned int i, n;

	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, write_part(self, 0));
	EXPECT_EQ(0, write_part(self, 63));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		n = self->size / sizes[i];
		memset(bitmap, 0, sizeof(bitmap));
		ASSERT_EQ(0, get(self, NO_CLEAR, TEST_IOVA, self->size,
				 sizes[i], bitmap));
		EXPECT_TRUE(bitmap[0] & 1);
		EXPECT_TRUE(bitmap[(n - 1) / 64] & BIT((n - 1) % 64));
		/* And nothing behind its end. */
		EXPECT_TRUE(!(n % 64) || !(bitmap[n / 64] >> n % 64));
		EXPECT_EQ(0, bitmap[n / 64 + 1]);
	}
	/*
	 * Smaller than any page: as the entry. A page of 64 KiB has several, and Linux
	 * 7.2 leaves out the last.
	 */
	memset(bitmap, 0, sizeof(bitmap));
	ASSERT_EQ(0, get(self, 0, TEST_IOVA, PAGE, 512, bitmap));
	n = PAGE > 4096 ? (PAGE - 4096) / 512 : PAGE / 512;
	for (i = 0; i < n; i++)
		EXPECT_TRUE(bitmap[i / 64] & BIT(i % 64));
	EXPECT_EQ(0, bitmap[(PAGE / 512 + 63) / 64]);
}

/* The user's bits stay. */
TEST_F(dirty, bits_are_added)
{
	const __u64 before = 0x8000000000000100ULL;
	__u64 bits[3] = { 0x1234, before, 0x5678 };

	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, write_part(self, 20));
	ASSERT_EQ(0, get(self, 0, TEST_IOVA, self->size, self->size / 64,
			 &bits[1]));
	EXPECT_EQ(before | reported(variant, 20), bits[1]);
	EXPECT_EQ(0x1234, bits[0]);
	EXPECT_EQ(0x5678, bits[2]);
	ASSERT_EQ(0, get(self, 0, TEST_IOVA, self->size, self->size / 64,
			 &bits[1]));
	EXPECT_EQ(before | reported(variant, 20), bits[1]);
	EXPECT_EQ(0, write_part(self, 40));
	ASSERT_EQ(0, get(self, 0, TEST_IOVA, self->size, self->size / 64,
			 &bits[1]));
	EXPECT_EQ(before | reported(variant, 20) | reported(variant, 40),
		  bits[1]);
}

/* Anywhere in memory, across pages, too */
TEST_F(dirty, bitmap_anywhere)
{
	const int offsets[] = { 1, 3, 4, 7, -1, -4, -5 };
	char *mem = mem_alloc(2 * PAGE);
	unsigned int i;
	__u64 bits;
	char *at;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		EXPECT_EQ(0, write_part(self, 9 + i));
		memset(mem, 0, 2 * PAGE);
		at = mem + PAGE + offsets[i];
		ASSERT_EQ(0, get(self, 0, TEST_IOVA, self->size,
				 self->size / 64, at));
		memcpy(&bits, at, sizeof(bits));
		EXPECT_EQ(reported(variant, 9 + i), bits);
		EXPECT_TRUE(all_bytes(mem, at - mem, 0));
		EXPECT_TRUE(all_bytes(at + 8, mem + 2 * PAGE - at - 8, 0));
	}
	munmap(mem, 2 * PAGE);
}

/* Found out before anything is cleared */
TEST_F(dirty, bitmap_that_cannot_be_written)
{
	char *mem = mem_alloc(2 * PAGE);

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, write_part(self, 5));
	ASSERT_EQ(0, mprotect(mem + PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, get(self, 0, TEST_IOVA, self->size, self->size / 64,
			       mem + PAGE));
	EXPECT_EQ(-EFAULT, get(self, 0, TEST_IOVA, self->size, self->size / 64,
			       mem + PAGE - 4));
	ASSERT_EQ(0, mprotect(mem + PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, get(self, 0, TEST_IOVA, self->size, self->size / 64,
			       mem + PAGE));
	EXPECT_EQ(-EFAULT, get(self, 0, TEST_IOVA, self->size, self->size / 64,
			       NULL));
	EXPECT_EQ(-EFAULT, get(self, 0, TEST_IOVA, self->size, self->size / 64,
			       (void *)-8UL));
	/* What is not asked for need not be there. */
	EXPECT_EQ(0, get(self, NO_CLEAR, TEST_IOVA, self->size,
			 self->size / 64, mem + PAGE - 8));
	EXPECT_EQ(reported(variant, 5), get_all(self, 0));
	EXPECT_EQ(0, get_all(self, 0));
	munmap(mem, 2 * PAGE);
}

/*
 * A program that copies what has changed until nothing does, as for live
 * migration, has all of it when the device stops.
 */
TEST_F_TIMEOUT(dirty, copy_while_device_writes, 60)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_FOREVER,
		.step = 64,
	};
	unsigned int parts = self->size / PAGE, round, i;
	static __u64 bitmap[2 * HUGE_SIZE / 4096 / 64];
	char *shadow = mem_alloc(self->size);
	unsigned int channel = 0;

	ASSERT_NE(NULL, shadow);
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	memcpy(shadow, self->mem, self->size);
	for (round = 0; round < 40; round++) {
		/* Each time other parts, and other bytes, at other times */
		if (round % 4 == 0) {
			ASSERT_EQ(0, test_device_stop(&self->dev, channel,
						      NULL));
			channel = round / 4 % 2;
			command.iova = TEST_IOVA +
				       (round * 7 % 60) * (self->size / 64);
			command.length = self->size / 32 + PAGE / 2;
			command.pattern = round * 0x0101010101010101ULL + 1;
			ASSERT_EQ(0, test_device_run(&self->dev, channel,
						     &command));
		}
		ASSERT_EQ(0, round < 39 ?
				     test_device_progress(&self->dev, channel) :
				     test_device_stop(&self->dev, channel,
						      NULL));
		memset(bitmap, 0, sizeof(bitmap));
		ASSERT_EQ(0, get(self, 0, TEST_IOVA, self->size, PAGE, bitmap));
		for (i = 0; i < parts; i++)
			if (bitmap[i / 64] & BIT(i % 64))
				memcpy(shadow + i * PAGE, self->mem + i * PAGE,
				       PAGE);
	}
	EXPECT_EQ(0, memcmp(shadow, self->mem, self->size));
	EXPECT_EQ(0, get_all(self, 0));
	munmap(shadow, self->size);
}

/*
 * A page that several entries of a table make is clean as a whole when it was read, and
 * noted again, wherever in it something is written.
 */
TEST_F(dirty, end_of_a_page)
{
	const __u64 size = variant->huge || PAGE > 4096 ? 0x10000 : PAGE;
	struct dma_device other;
	char settings[64];
	__u64 bits;
	__u32 hwpt;
	int i;

	snprintf(settings, sizeof(settings), "page_sizes=0x%llx", size);
	ASSERT_EQ(0, test_iommu_make("b", settings));
	ASSERT_EQ(0, test_device_make("b", "two", NULL, &other));
	ASSERT_EQ(0, dev_open_bind(&other, self->iommu));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, other.dev_id, self->ioas,
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt));
	ASSERT_EQ(0, vfio_attach(other.fd, hwpt));
	ASSERT_EQ(0, hwpt_track(self->iommu, hwpt, true));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, test_device_fill(&other, TEST_IOVA + size - 8, 8,
					      MARK));
		bits = 0;
		ASSERT_EQ(0, hwpt_dirty(self->iommu, hwpt, 0, TEST_IOVA, size,
					size, &bits));
		EXPECT_EQ(1, bits);
	}
	dev_close(&other);
}

/* Each table knows what has gone through it, also when the device has left. */
TEST_F(dirty, tables_know_by_themselves)
{
	__u64 bits = 0;
	__u32 other;

	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->dev.dev_id, self->ioas,
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &other));
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	ASSERT_EQ(0, hwpt_track(self->iommu, other, true));
	EXPECT_EQ(0, write_part(self, 2));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, other));
	EXPECT_EQ(0, write_part(self, 50));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(reported(variant, 2), get_all(self, 0));
	ASSERT_EQ(0, hwpt_dirty(self->iommu, other, 0, TEST_IOVA, self->size,
				self->size / 64, &bits));
	EXPECT_EQ(reported(variant, 50), bits);
}

TEST_F(dirty, what_is_refused)
{
	__u64 bits = 0, part = self->size / 64;
	struct iommu_hwpt_get_dirty_bitmap cmd = {
		.size = sizeof(cmd),
		.hwpt_id = self->hwpt,
		.iova = TEST_IOVA,
		.length = self->size,
		.page_size = part,
		.data = (uintptr_t)&bits,
	}, bad;
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set),
		.hwpt_id = self->hwpt,
	};
	__u32 plain, table = self->ioas;

	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, write_part(self, 5));

	bad = cmd;
	bad.flags = 2;
	EXPECT_EQ(-EOPNOTSUPP,
		  iommu_call(self->iommu, IOMMU_HWPT_GET_DIRTY_BITMAP, &bad));
	bad = cmd;
	bad.__reserved = 1;
	EXPECT_EQ(-EOPNOTSUPP,
		  iommu_call(self->iommu, IOMMU_HWPT_GET_DIRTY_BITMAP, &bad));
	set.flags = 2;
	EXPECT_EQ(-EOPNOTSUPP, iommu_call(self->iommu,
					  IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	set.flags = 0;
	set.__reserved = 1;
	EXPECT_EQ(-EOPNOTSUPP, iommu_call(self->iommu,
					  IOMMU_HWPT_SET_DIRTY_TRACKING, &set));

	/* Sizes that are none, and ranges that do not fit them */
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, self->size, 0, &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, self->size, 256, &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, self->size, 3 * PAGE,
			       &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, self->size, PAGE + 1,
			       &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, self->size, 2 * self->size,
			       &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, 0, part, &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA + 8, part, part, &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, part + 8, part, &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA + 512, 512, 512, &bits));
	EXPECT_EQ(-EOVERFLOW, get(self, 0, -PAGE, 2 * PAGE, PAGE, &bits));

	/* Not all of it is mapped. */
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, self->size + part, part,
			       &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA - part, self->size, part,
			       &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA - part, part, part, &bits));
	EXPECT_EQ(-EINVAL, get(self, 0, 0, PAGE, PAGE, &bits));

	/* Of the wrong kind */
	EXPECT_EQ(-ENOENT, hwpt_dirty(self->iommu, self->ioas, 0, TEST_IOVA,
				      part, part, &bits));
	EXPECT_EQ(-ENOENT, hwpt_track(self->iommu, self->dev.dev_id, true));
	EXPECT_EQ(-ENOENT, hwpt_track(self->iommu, 0, true));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->dev.dev_id, self->ioas, 0,
				&plain));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_track(self->iommu, plain, true));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_dirty(self->iommu, plain, 0, TEST_IOVA,
					  part, part, &bits));
	ASSERT_EQ(0, test_iommu_fail("a", "dirty", 0, EIO));
	EXPECT_EQ(-EIO, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(-ENOENT, test_iommu_fail_left("a"));

	/* None of that has taken anything away. */
	EXPECT_EQ(0, bits);
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	EXPECT_EQ(0, write_part(self, 5));
	EXPECT_EQ(-EINVAL, get(self, 0, TEST_IOVA, self->size + part, part,
			       &bits));
	EXPECT_EQ(reported(variant, 5), get_all(self, 0));
	ASSERT_EQ(0, vfio_attach_id(self->dev.fd, &table));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_track(self->iommu, table, true));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_dirty(self->iommu, table, 0, TEST_IOVA,
					  part, part, &bits));
}

TEST_F(dirty, an_iommu_that_cannot)
{
	struct dma_device other;
	__u32 hwpt;

	ASSERT_EQ(0, test_iommu_make("b", "dirty=0"));
	ASSERT_EQ(0, test_device_make("b", "two", NULL, &other));
	ASSERT_EQ(0, dev_open_bind(&other, self->iommu));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_alloc(self->iommu, other.dev_id, self->ioas,
					  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
					  &hwpt));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, other.dev_id, self->ioas, 0,
				&hwpt));
	EXPECT_EQ(-EOPNOTSUPP, hwpt_track(self->iommu, hwpt, true));
	EXPECT_NE(0, vfio_attach(other.fd, self->hwpt));
	dev_close(&other);
}

/* ---- more than is read in one go ---- */

/* Behind what interrupts take */
#define FAR_IOVA	(4ULL << 30)
#define LARGE		(8ULL << 30)

/* The same memory all over @size bytes from FAR_IOVA on */
static int multiply(struct _test_data_dirty *self, __u64 size)
{
	__u64 have;
	int rc;

	rc = ioas_copy(self->iommu, self->ioas, TEST_IOVA, self->ioas, FAR_IOVA,
		       self->size, IOAS_RW);
	for (have = self->size; have < size && !rc; have *= 2)
		rc = ioas_copy(self->iommu, self->ioas, FAR_IOVA, self->ioas,
			       FAR_IOVA + have, have, IOAS_RW);
	return rc;
}

TEST_F_TIMEOUT(dirty, large_range, 120)
{
	const __u64 part = HUGE_SIZE, count = LARGE / part;
	static __u64 bitmap[LARGE / HUGE_SIZE / 64];
	const __u64 at[] = { 0, 511, 512, 1000, LARGE / HUGE_SIZE - 1 };
	unsigned int i, n = 0;

	/* Small mappings would be too many. */
	if (!variant->huge)
		return;
	ASSERT_EQ(0, multiply(self, LARGE));
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, test_device_fill(&self->dev,
					      FAR_IOVA + at[i] * part + 64, 8,
					      MARK));
	ASSERT_EQ(0, get(self, NO_CLEAR, FAR_IOVA, LARGE, part, bitmap));
	for (i = 0; i < count; i++)
		n += !!(bitmap[i / 64] & BIT(i % 64));
	EXPECT_EQ(5, n);
	for (i = 0; i < 5; i++)
		EXPECT_TRUE(bitmap[at[i] / 64] & BIT(at[i] % 64));

	/* All from the second part on, so that words and bits do not agree. */
	memset(bitmap, 0, sizeof(bitmap));
	ASSERT_EQ(0, get(self, 0, FAR_IOVA + part, LARGE - part, part,
			 bitmap));
	for (i = 1; i < 5; i++)
		EXPECT_TRUE(bitmap[(at[i] - 1) / 64] & BIT((at[i] - 1) % 64));
	memset(bitmap, 0, sizeof(bitmap));
	ASSERT_EQ(0, get(self, 0, FAR_IOVA, LARGE, part, bitmap));
	EXPECT_EQ(1, bitmap[0]);
	EXPECT_TRUE(all_bytes(&bitmap[1], sizeof(bitmap) - 8, 0));
}

/*
 * The end of the bitmap cannot be written, which is found out when the first part
 * has been reported and cleared: it is reported again.
 */
TEST_F_TIMEOUT(dirty, bitmap_ends_too_early, 120)
{
	/* Where what is read in one go ends */
	const __u64 border = FAR_IOVA + (1ULL << 30), length = 2ULL << 30;
	const size_t bytes = (1ULL << 30) / 4096 / 8;
	char *mem, *whole, *end, *bitmap;

	/* Small mappings would be too many. */
	if (!variant->huge)
		return;
	mem = mem_alloc(bytes + 3 * PAGE);
	whole = mem_alloc(length / 4096 / 8);
	ASSERT_NE(NULL, mem);
	ASSERT_NE(NULL, whole);
	end = mem + (bytes / PAGE + 2) * PAGE;
	bitmap = end - bytes;
	ASSERT_EQ(0, multiply(self, length));
	ASSERT_EQ(0, hwpt_track(self->iommu, self->hwpt, true));
	ASSERT_EQ(0, test_device_fill(&self->dev, FAR_IOVA + HUGE_SIZE, 8,
				      MARK));
	ASSERT_EQ(0, test_device_fill(&self->dev, border + HUGE_SIZE, 8, MARK));
	ASSERT_EQ(0, mprotect(end, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, get(self, 0, FAR_IOVA, length, 4096, bitmap));
	EXPECT_EQ(0xff, (unsigned char)bitmap[HUGE_SIZE / 4096 / 8]);
	ASSERT_EQ(0, get(self, 0, FAR_IOVA, length, 4096, whole));
	EXPECT_EQ(0xff, (unsigned char)whole[HUGE_SIZE / 4096 / 8]);
	EXPECT_EQ(0xff, (unsigned char)whole[bytes + HUGE_SIZE / 4096 / 8]);
	memset(whole, 0, length / 4096 / 8);
	ASSERT_EQ(0, get(self, 0, FAR_IOVA, length, 4096, whole));
	EXPECT_TRUE(all_bytes(whole, length / 4096 / 8, 0));
	munmap(mem, bytes + 3 * PAGE);
	munmap(whole, length / 4096 / 8);
}

/* ---- tables of different pages ---- */

/*
 * Transparent huge pages, beside small ones: whatever the tables are made of,
 * nothing that is written is missing, and what has been reported is not again.
 */
TEST_F_TIMEOUT(dirty, transparent_huge_pages, 60)
{
	const size_t size = 3 * HUGE_SIZE;
	static __u64 bitmap[3 * HUGE_SIZE / 4096 / 64];
	unsigned int parts = size / PAGE, i, n = 0;
	const __u64 iova = TEST_IOVA + 8 * HUGE_SIZE;
	struct dma_device other;
	char *mem, *start;
	__u32 hwpt;

	mem = mmap(NULL, size + HUGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	start = (char *)(((uintptr_t)mem + HUGE_SIZE - 1) & -HUGE_SIZE);
	madvise(start, size, MADV_HUGEPAGE);
	madvise(start + HUGE_SIZE, HUGE_SIZE, MADV_NOHUGEPAGE);
	memset(start, 0, size);
	/* An IOMMU with pages of all sizes */
	ASSERT_EQ(0, test_iommu_make("b", NULL));
	ASSERT_EQ(0, test_device_make("b", "two", NULL, &other));
	ASSERT_EQ(0, dev_open_bind(&other, self->iommu));
	ASSERT_EQ(0, ioas_map(self->iommu, self->ioas, IOAS_RW, start, iova,
			      size));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, other.dev_id, self->ioas,
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt));
	ASSERT_EQ(0, vfio_attach(other.fd, hwpt));
	ASSERT_EQ(0, hwpt_track(self->iommu, hwpt, true));
	for (i = 0; i < parts; i += 37)
		ASSERT_EQ(0, test_device_fill(&other, iova + i * PAGE, 8,
					      OTHER));
	/* In pieces that are not those of the tables */
	for (i = 0; i < parts; i += 64)
		ASSERT_EQ(0, hwpt_dirty(self->iommu, hwpt, 0, iova + i * PAGE,
					PAGE * (parts - i < 64 ? parts - i : 64),
					PAGE, &bitmap[i / 64]));
	for (i = 0; i < parts; i += 37)
		EXPECT_TRUE(bitmap[i / 64] & BIT(i % 64));
	ASSERT_EQ(0, hwpt_dirty(self->iommu, hwpt, 0, iova, size, PAGE,
				bitmap));
	memset(bitmap, 0, sizeof(bitmap));
	ASSERT_EQ(0, hwpt_dirty(self->iommu, hwpt, 0, iova, size, PAGE,
				bitmap));
	for (i = 0; i < parts; i++)
		n += !!(bitmap[i / 64] & BIT(i % 64));
	EXPECT_EQ(0, n);
	dev_close(&other);
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, iova, size, NULL));
	munmap(mem, size + HUGE_SIZE);
}

TEST_HARNESS_MAIN
