// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP_BATCH, by ioctl and by io_uring, and MAP_DMA with REPLACE: what takes
 * effect, what does not, and what devices see meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "access_utils.h"
#include "device_utils.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"
#include "uring_utils.h"

#define MEM_PAGES	64
#define REG		0x123400000000ULL
#define UNMAP		IOMMU_BATCH_ENTRY_UNMAP
#define REPLACE		IOMMU_MAP_DMA_REPLACE
#define BYTES		128

FIXTURE(batch) {
	int iommu;
	struct uring ring;
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
	self->ring.fd = -1;
	self->child = variant->child;
	COUNTS_BEGIN(&self->counts);
	if (dev_find_alone(&self->dev, 1) < 1)
		SKIP(return, "no DMA device in an IOMMU group of its own");
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, dev_open_bind(&self->dev, self->iommu));
	self->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0x11, MEM_PAGES * PAGE);
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
	uring_close(&self->ring);
	dev_close(&self->dev);
	close(self->iommu);
	COUNTS_END(&self->counts);
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

/* ---- what takes effect ---- */

static void maps_and_unmaps(struct __test_metadata *_metadata,
			    struct _test_data_batch *self, unsigned int num,
			    unsigned int step)
{
	struct counts now;
	unsigned int i;

	fill_maps(self, num, step);
	EXPECT_BATCH(0, num, num, 0);
	EXPECT_PAGES(num);
	EXPECT_TRUE(device_copies(self, step, 1, (num - 1) * step, num - 1, 1));
	EXPECT_EQ(-EEXIST, map_one(self, READ_WRITE, 0, (num / 2) * step, 1));

	/* Every second one goes, and comes back elsewhere. */
	for (i = 0; i < num; i += 2) {
		self->entries[i] = unmap_entry(i * step, 1);
		self->entries[i + 1] = map_entry(self, i, (num + i) * step, 1);
	}
	EXPECT_BATCH(0, num, num, num / 2);
	EXPECT_PAGES(num);
	EXPECT_EQ(-EEXIST, map_one(self, READ_WRITE, 0, step, 1));
	EXPECT_TRUE(device_copies(self, step, 1, (num + 2) * step, 2, 2));
	fill_pattern(self->mem + PAGE, BYTES, 3);
	memset(self->mem, 0, PAGE);
	dev_dma_copy(&self->dev, at(step), at(0), BYTES);
	EXPECT_TRUE(all_bytes(self->mem, PAGE, 0));

	/* All in one */
	self->entries[0] = unmap_entry(0, 2 * num * step);
	EXPECT_BATCH(0, 1, 1, num);
	EXPECT_PAGES(0);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->prereg, NULL));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_TRUE(counts_equal(&self->counts, &now));
}

TEST_F(batch, adjacent)
{
	maps_and_unmaps(_metadata, self, 512, 1);
}

TEST_F(batch, scattered)
{
	maps_and_unmaps(_metadata, self, 512, 7);
}

TEST_F(batch, largest)
{
	__u64 max;

	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_MAP_BATCH, 0,
				     &max));
	EXPECT_EQ(IOMMU_MAP_BATCH_MAX, max);
	maps_and_unmaps(_metadata, self, IOMMU_MAP_BATCH_MAX, 2);
}

TEST_F(batch, in_order)
{
	/* Unmapping what the same call has mapped, and nothing at all */
	self->entries[0] = map_entry(self, 0, 0, 4);
	self->entries[1] = map_entry(self, 4, 8, 4);
	self->entries[2] = unmap_entry(0, 4);
	self->entries[3] = unmap_entry(0, 4);
	self->entries[4] = map_entry(self, 8, 0, 2);
	EXPECT_BATCH(0, 5, 5, 4);
	EXPECT_EQ(-EEXIST, map_one(self, READ_WRITE, 0, 1, 1));
	EXPECT_EQ(0, map_one(self, READ_WRITE, 0, 2, 1));
	EXPECT_TRUE(device_copies(self, 0, 8, 8, 4, 1));
	EXPECT_TRUE(device_copies(self, 2, 0, 1, 9, 2));
}

/* The old memory and the new one in the same call, again and again */
TEST_F(batch, other_memory)
{
	unsigned int i, n;

	fill_maps(self, 16, 1);
	EXPECT_BATCH(0, 16, 16, 0);
	for (n = 1; n < 4; n++) {
		for (i = 0; i < 16; i++) {
			self->entries[2 * i] = unmap_entry(i, 1);
			self->entries[2 * i + 1] =
				map_entry(self, n * 16 + i, i, 1);
		}
		EXPECT_BATCH(0, 32, 32, 16);
		EXPECT_TRUE(device_copies(self, 3, n * 16 + 3, 12, n * 16 + 12,
					  n));
	}
	EXPECT_PAGES(16);
}

TEST_F(batch, large_entries)
{
	struct iommu_ioasid_info info;

	self->entries[0] = map_entry(self, 0, 0, 32);
	self->entries[1] = map_entry(self, 32, 32, 32);
	self->entries[2] = unmap_entry(0, 32);
	self->entries[3] = map_entry(self, 1, 0, 31);
	self->entries[3].flags = READ_ONLY;
	EXPECT_BATCH(0, 4, 4, 32);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(63 * PAGE, info.mapped_bytes);
	EXPECT_TRUE(device_copies(self, 2, 3, 40, 40, 1));
	/* To be read only */
	EXPECT_FALSE(device_copies(self, 40, 40, 2, 3, 2));
}

TEST_F(batch, file)
{
	int fd = memfd_create("ioasid", MFD_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 4 * PAGE));
	self->entries[0] = map_entry(self, 0, 0, 1);
	self->entries[1] = (struct iommu_batch_entry){
		.flags = READ_WRITE | IOMMU_MAP_DMA_FILE,
		.fd = fd,
		.iova = at(1),
		.length = 4 * PAGE,
	};
	if (self->child) {
		EXPECT_BATCH(-EINVAL, 2, 1, 0);
	} else {
		EXPECT_BATCH(0, 2, 2, 0);
		fill_pattern(self->mem, BYTES, 5);
		ASSERT_EQ(0, dev_dma_copy(&self->dev, at(0), at(3), BYTES));
		EXPECT_EQ(BYTES, pread(fd, self->mem + PAGE, BYTES, 2 * PAGE));
		EXPECT_TRUE(has_pattern(self->mem + PAGE, BYTES, 5));
	}
	close(fd);
}

/* ---- what does not ---- */

/* A file of memory, or -1 */
static int file_to_write_only(void)
{
	char path[32];
	int memfd = memfd_create("ioasid", MFD_CLOEXEC), fd;

	if (memfd < 0 || ftruncate(memfd, PAGE))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	close(memfd);
	return fd;
}

/*
 * The third of four is bad: the two before it stand, the one behind has changed
 * nothing.
 */
TEST_F(batch, stops)
{
	const bool child = self->child;
	struct iommu_batch_entry good = map_entry(self, 8, 8, 1);
	const int unreadable = file_to_write_only();
	struct {
		const char *what;
		int rc;
		struct iommu_batch_entry entry;
	} cases[] = {
		{ "unknown flag", -EOPNOTSUPP, { .flags = 1U << 31 } },
		{ "the flag behind UNMAP", -EOPNOTSUPP,
		  { .flags = UNMAP << 1 } },
		{ "ALLOC_IOVA", -EOPNOTSUPP,
		  { .flags = READ_WRITE | IOMMU_MAP_DMA_ALLOC_IOVA } },
		{ "UNMAP and READ", -EOPNOTSUPP,
		  { .flags = UNMAP | READ_ONLY, .src = 0 } },
		{ "UNMAP and REPLACE", -EOPNOTSUPP,
		  { .flags = UNMAP | REPLACE, .src = 0 } },
		{ "UNMAP with a source", -EINVAL,
		  { .flags = UNMAP, .src = PAGE } },
		{ "UNMAP with a file", -EINVAL,
		  { .flags = UNMAP, .fd = 1, .src = 0 } },
		{ "UNMAP that cuts", -EINVAL,
		  { .flags = UNMAP, .iova = at(2), .src = 0 } },
		{ "neither READ nor WRITE", -EINVAL, { .flags = 0 } },
		{ "fd without FILE", -EINVAL, { .flags = READ_WRITE, .fd = 1 } },
		{ "misaligned", -EINVAL,
		  { .flags = READ_WRITE, .iova = at(8) + 1 } },
		{ "wraps", -EOVERFLOW,
		  { .flags = READ_WRITE, .src = 0 - PAGE,
		    .length = 2 * PAGE } },
		{ "taken", -EEXIST, { .flags = READ_WRITE, .iova = at(3) } },
		{ "REPLACE that cuts", -EINVAL,
		  { .flags = READ_WRITE | REPLACE, .iova = at(3) } },
		{ "no file", child ? -EINVAL : -EBADF,
		  { .flags = READ_WRITE | IOMMU_MAP_DMA_FILE, .fd = 1000,
		    .src = 0 } },
		{ "file that cannot be read", child ? -EINVAL : -EACCES,
		  { .flags = READ_WRITE | IOMMU_MAP_DMA_FILE,
		    .fd = unreadable, .src = 0 } },
		{ "no memory there", child ? -ENOENT : -EFAULT,
		  { .flags = READ_WRITE, .src = PAGE } },
		{ "not permitted", -EINVAL,
		  { .flags = READ_WRITE, .iova = MSI_FIRST } },
	};
	struct iommu_batch_entry *bad = &self->entries[2];
	size_t i;

	ASSERT_LE(0, unreadable);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 32, 4));
		self->entries[0] = map_entry(self, 0, 1, 4);
		self->entries[1] = unmap_entry(32, 4);
		*bad = cases[i].entry;
		bad->iova = bad->iova ?: good.iova;
		bad->length = bad->length ?: good.length;
		/* Else it is what it was said to be. */
		if (!(bad->flags & (UNMAP | IOMMU_MAP_DMA_FILE)))
			bad->src = bad->src ?: good.src;
		self->entries[3] = map_entry(self, 12, 40, 1);
		EXPECT_BATCH(cases[i].rc, 4, 2, 4);
		EXPECT_EQ(0, map_one(self, READ_WRITE, 8, 8, 1)) {
			TH_LOG("%s", cases[i].what);
		}
		EXPECT_EQ(0, map_one(self, READ_WRITE, 8, 40, 1));
		self->entries[0] = unmap_entry(0, 64);
		EXPECT_BATCH(0, 1, 1, 6);
		EXPECT_PAGES(0);
	}
	close(unreadable);
}

TEST_F(batch, bad_calls)
{
	struct iommu_batch_entry *edge;
	char *pages = mem_alloc(2 * PAGE);
	__u32 num;

	fill_maps(self, 4, 1);
	EXPECT_BATCH(-EINVAL, 0, 0, 0);
	EXPECT_BATCH(-EINVAL, IOMMU_MAP_BATCH_MAX + 1, 0, 0);
	EXPECT_BATCH(-EINVAL, UINT_MAX, 0, 0);
	num = 4;
	EXPECT_EQ(-ENOENT, ioasid_batch(self->iommu, self->dev.dev_id,
					self->entries, &num, NULL));
	num = 4;
	EXPECT_EQ(-EFAULT, ioasid_batch(self->iommu, self->ioasid, NULL, &num,
					NULL));
	EXPECT_EQ(0, num);
	/* The last one cannot be read. */
	ASSERT_NE(NULL, pages);
	ASSERT_EQ(0, mprotect(pages + PAGE, PAGE, PROT_NONE));
	edge = (void *)(pages + PAGE - 3 * sizeof(*edge) - 8);
	memcpy(edge, self->entries, 3 * sizeof(*edge));
	num = 4;
	EXPECT_EQ(-EFAULT, ioasid_batch(self->iommu, self->ioasid, edge, &num,
					NULL));
	EXPECT_EQ(0, num);
	EXPECT_PAGES(0);
	munmap(pages, 2 * PAGE);
	EXPECT_BATCH(0, 4, 4, 0);
}

/* Where they are nothing can be written. */
TEST_F(batch, entries_are_only_read)
{
	struct iommu_batch_entry *entries = mem_alloc(PAGE);
	__u32 num = 2;

	ASSERT_NE(NULL, entries);
	entries[0] = map_entry(self, 0, 0, 4);
	entries[1] = map_entry(self, 4, 2, 1);
	ASSERT_EQ(0, mprotect(entries, PAGE, PROT_READ));
	EXPECT_EQ(-EEXIST, ioasid_batch(self->iommu, self->ioasid, entries,
					&num, NULL));
	EXPECT_EQ(1, num);
	EXPECT_TRUE(device_copies(self, 0, 0, 3, 3, 1));
}

/* The result cannot be written: what took effect stands. */
TEST_F(batch, nowhere_to_tell)
{
	struct iommu_map_batch *cmd = mem_alloc(PAGE);

	ASSERT_NE(NULL, cmd);
	fill_maps(self, 4, 1);
	*cmd = (struct iommu_map_batch){
		.size = sizeof(*cmd),
		.ioasid = self->ioasid,
		.num_entries = 4,
		.entries = (uintptr_t)self->entries,
	};
	ASSERT_EQ(0, mprotect(cmd, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, iommu_call(self->iommu, IOMMU_MAP_BATCH, cmd));
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
}

TEST_F(batch, needs_a_device)
{
	__u32 num = 2, ioasid;
	int iommu = iommu_open();

	ASSERT_LE(0, iommu);
	ASSERT_EQ(0, ioasid_alloc(iommu, &ioasid));
	self->entries[0] = unmap_entry(0, 4);
	self->entries[1] = map_entry(self, 0, 0, 1);
	EXPECT_EQ(-EPERM, ioasid_batch(iommu, ioasid, self->entries, &num,
				       NULL));
	/* As UNMAP_DMA does, unmapping needs none. */
	num = 1;
	EXPECT_EQ(0, ioasid_batch(iommu, ioasid, self->entries, &num, NULL));
	EXPECT_EQ(1, num);
	close(iommu);
}

TEST_F(batch, memlock_limit)
{
	struct rlimit limit;
	struct counts now;

	if (self->child)
		return;
	limit.rlim_cur = self->counts.locked + 8 * PAGE;
	limit.rlim_max = limit.rlim_cur;
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	ASSERT_EQ(0, drop_ipc_lock());
	fill_maps(self, 12, 1);
	EXPECT_BATCH(-ENOMEM, 12, 8, 0);
	EXPECT_PAGES(8);
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(8 * PAGE, now.locked - self->counts.locked);
	self->entries[0] = unmap_entry(0, 8);
	EXPECT_BATCH(0, 1, 1, 8);
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(0, now.locked - self->counts.locked);
}

/* Whoever is killed in the middle has done some of it. */
TEST_F_TIMEOUT(batch, killed, 60)
{
	struct iommu_ioasid_info info;
	int i, status;
	pid_t pid;

	for (i = 0; i < 10; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			fill_maps(self, IOMMU_MAP_BATCH_MAX, 1);
			for (;;) {
				__u32 num = IOMMU_MAP_BATCH_MAX;

				do_batch(self, &num, NULL);
				ioasid_unmap_all(self->iommu, self->ioasid,
						 NULL);
			}
		}
		usleep(20000 + 5000 * i);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
		EXPECT_EQ(info.num_mappings * PAGE, info.mapped_bytes);
		EXPECT_EQ(self->child ? 0 : info.mapped_bytes,
			  info.pinned_bytes);
		ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	}
}

/* ---- REPLACE ---- */

TEST_F(batch, replace)
{
	struct iommu_ioasid_info info;
	struct counts now;

	/* Over nothing, over the same range, over several, and some nothing */
	ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, 0, 0, 4));
	ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, 8, 0, 4));
	EXPECT_TRUE(device_copies(self, 0, 8, 3, 11, 1));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 4, 2));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 4, 8, 2));
	ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, 16, 0, 16));
	EXPECT_TRUE(device_copies(self, 1, 17, 15, 31, 2));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_mappings);
	EXPECT_EQ(16 * PAGE, info.mapped_bytes);
	EXPECT_EQ(self->child ? 0 : 16 * PAGE, info.pinned_bytes);
	/* With other permissions */
	ASSERT_EQ(0, map_one(self, READ_ONLY | REPLACE, 16, 0, 16));
	EXPECT_FALSE(device_copies(self, 1, 17, 15, 31, 3));

	if (self->child)
		return;
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(16, now.pins - self->counts.pins);
	EXPECT_EQ(16 * PAGE, now.locked - self->counts.locked);
}

/* The old mappings are as they were, and the device still sees them. */
#define EXPECT_NOT_REPLACED(error, call) do { \
	struct iommu_ioasid_info __before, __after; \
	EXPECT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &__before)); \
	EXPECT_EQ((error), (call)); \
	EXPECT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &__after)); \
	EXPECT_EQ(0, memcmp(&__before, &__after, sizeof(__before))); \
	EXPECT_TRUE(device_copies(self, 1, 1, 6, 6, __LINE__)); \
} while (0)

TEST_F(batch, replace_fails)
{
	const __u32 flags = READ_WRITE | REPLACE;
	__u64 bad = PAGE;

	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 4));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 4, 4, 4));
	/* What cuts, at either end */
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 1, 7));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 0, 7));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 2, 1));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, REPLACE, 16, 0, 8));
	EXPECT_NOT_REPLACED(-EINVAL,
			    map_one(self, flags | IOMMU_MAP_DMA_ALLOC_IOVA, 16,
				    0, 8));
	/* Memory that is not there, all or some of it */
	EXPECT_NOT_REPLACED(self->child ? -ENOENT : -EFAULT,
			    ioasid_show(self->iommu, self->ioasid, flags, bad,
					at(0), 8 * PAGE));
	munmap(self->mem + 60 * PAGE, 4 * PAGE);
	if (!self->child)
		EXPECT_NOT_REPLACED(-EFAULT, map_one(self, flags, 56, 0, 8));
	/* Where nothing may be */
	EXPECT_NOT_REPLACED(-EINVAL,
			    ioasid_show(self->iommu, self->ioasid, flags,
					source(self, 16), MSI_FIRST, PAGE));
	ASSERT_EQ(0, map_one(self, flags, 16, 0, 8));
}

TEST_F(batch, replace_in_a_batch)
{
	unsigned int i;

	fill_maps(self, 32, 1);
	EXPECT_BATCH(0, 32, 32, 0);
	for (i = 0; i < 32; i++) {
		self->entries[i] = map_entry(self, 32 + i, i, 1);
		self->entries[i].flags |= REPLACE;
	}
	/* Replaced is not unmapped. */
	self->entries[32] = unmap_entry(16, 2);
	EXPECT_BATCH(0, 33, 33, 2);
	EXPECT_PAGES(30);
	EXPECT_TRUE(device_copies(self, 1, 33, 31, 63, 1));

	/* One that fails leaves the old one. */
	self->entries[0].src = source(self, 0);
	self->entries[1].src = PAGE;
	EXPECT_BATCH(self->child ? -ENOENT : -EFAULT, 3, 1, 0);
	EXPECT_TRUE(device_copies(self, 0, 0, 1, 33, 2));
	EXPECT_TRUE(device_copies(self, 2, 34, 1, 33, 3));
}

TEST_F(batch, replace_tracked)
{
	__u32 ioasid;

	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &ioasid));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, ioasid, READ_WRITE | REPLACE,
				      self->mem, TEST_IOVA, PAGE));
}

/* Nor where the user can have a page table tell what is written */
TEST_F(batch, replace_in_tracked_table)
{
	__u32 hwpt;

	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 4));
	if (hwpt_alloc(self->iommu, self->dev.dev_id, self->ioasid,
		       IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt)) {
		/* Not every IOMMU can. */
		EXPECT_EQ(0, map_one(self, READ_WRITE | REPLACE, 8, 0, 4));
		return;
	}
	EXPECT_EQ(-EINVAL, map_one(self, READ_WRITE | REPLACE, 8, 0, 4));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, hwpt));
	EXPECT_EQ(0, map_one(self, READ_WRITE | REPLACE, 8, 0, 4));
}

/* What an exporter may take back cannot come back when a map fails. */
TEST_F(batch, replace_device_memory)
{
	const __u32 flags = READ_WRITE | REPLACE;
	int fd;

	if (self->child)
		return;
	fd = dmabuf_make(self->iommu, 4 * PAGE);
	if (fd < 0)
		SKIP(return, "no memory that stands for that of a device");
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 8));
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->ioasid, IOAS_RW, fd, 0,
				   at(8), 4 * PAGE));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 12, 12, 4));
	fill_pattern(self->mem, BYTES, 1);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, at(0), at(9), BYTES));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 8, 4));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 0, 16));
	EXPECT_NOT_REPLACED(-EINVAL, map_one(self, flags, 16, 8, 8));
	self->entries[0] = map_entry(self, 32, 16, 1);
	self->entries[1] = map_entry(self, 16, 0, 16);
	self->entries[1].flags = flags;
	EXPECT_BATCH(-EINVAL, 2, 1, 0);
	/* The device still finds there what it has written. */
	ASSERT_EQ(0, dev_dma_copy(&self->dev, at(9), at(13), BYTES));
	EXPECT_TRUE(has_pattern(self->mem + 13 * PAGE, BYTES, 1));

	/* Around it, and where it was, others are replaced. */
	EXPECT_EQ(0, map_one(self, flags, 16, 0, 8));
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, at(8), 4 * PAGE,
				  NULL));
	EXPECT_EQ(0, map_one(self, flags, 16, 0, 16));
	EXPECT_TRUE(device_copies(self, 8, 24, 13, 29, 2));
	close(fd);
}

/* One that takes the place of others needs no more entries than it frees. */
TEST_F(batch, replace_at_the_limit)
{
	long limit = param_get("dma_entry_limit");
	int rc[4];

	ASSERT_LT(0, limit);
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 1));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 1, 1, 1));
	ASSERT_EQ(0, param_set("dma_entry_limit", 2));
	rc[0] = map_one(self, READ_WRITE | REPLACE, 2, 2, 1);
	rc[1] = map_one(self, READ_WRITE | REPLACE, 2, 1, 1);
	rc[2] = map_one(self, READ_WRITE | REPLACE, 4, 0, 4);
	rc[3] = map_one(self, READ_WRITE | REPLACE, 2, 4, 1);
	ASSERT_EQ(0, param_set("dma_entry_limit", limit));
	EXPECT_EQ(-ENOSPC, rc[0]);
	EXPECT_EQ(0, rc[1]);
	EXPECT_EQ(0, rc[2]);
	EXPECT_EQ(0, rc[3]);
	EXPECT_TRUE(device_copies(self, 3, 7, 4, 2, 1));
}

TEST_F(batch, replace_what_is_shown)
{
	const __u32 flags = READ_WRITE | REPLACE;
	__u32 below;

	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->ioasid, &below));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 4));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 4, 4, 4));
	ASSERT_EQ(0, ioasid_show(self->iommu, below, READ_WRITE, at(2), at(0),
				 PAGE));
	EXPECT_NOT_REPLACED(-EBUSY, map_one(self, flags, 16, 0, 4));
	EXPECT_NOT_REPLACED(-EBUSY, map_one(self, flags, 16, 0, 8));
	EXPECT_EQ(0, map_one(self, flags, 4, 4, 4));
	self->entries[0] = map_entry(self, 4, 4, 4);
	self->entries[1] = map_entry(self, 16, 0, 4);
	self->entries[0].flags = flags;
	self->entries[1].flags = flags;
	EXPECT_BATCH(-EBUSY, 2, 1, 0);
	/* Nor is it unmapped by a batch. */
	self->entries[1] = unmap_entry(0, 4);
	EXPECT_BATCH(-EBUSY, 2, 1, 0);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, below, NULL));
	EXPECT_BATCH(0, 2, 2, 4);
}

TEST_F(batch, replace_what_is_pinned)
{
	char cdev[2][64];
	__u32 dev_id;
	int device;

	if (access_missing(cdev))
		SKIP(return, "no access test device");
	device = vfio_open(cdev[0]);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, vfio_bind(device, self->iommu, &dev_id));
	ASSERT_EQ(0, vfio_attach(device, self->ioasid));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, 4));
	ASSERT_EQ(0, map_one(self, READ_WRITE, 4, 4, 4));
	ASSERT_EQ(0, access_pin(device, at(2), PAGE, PIN_WRITE));
	EXPECT_NOT_REPLACED(-EBUSY,
			    map_one(self, READ_WRITE | REPLACE, 16, 0, 8));
	EXPECT_EQ(0, access_poke(device, at(2), "poke", 5));
	EXPECT_EQ(0, strcmp(self->mem + 2 * PAGE, "poke"));
	ASSERT_EQ(0, access_unpin(device, at(2), PAGE));
	ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, 16, 0, 8));
	EXPECT_EQ(0, access_write(device, at(2), "new", 4));
	EXPECT_EQ(0, strcmp(self->mem + 18 * PAGE, "new"));

	/* An unmap asks for pins back, in a batch too. */
	ASSERT_EQ(0, access_pin(device, at(2), PAGE, PIN_WRITE));
	ASSERT_EQ(0, access_policy(device, IOASID_ACCESS_STUBBORN));
	self->entries[0] = map_entry(self, 0, 16, 1);
	self->entries[1] = unmap_entry(0, 8);
	EXPECT_BATCH(-EBUSY, 2, 1, 0);
	ASSERT_EQ(0, access_policy(device, IOASID_ACCESS_RELEASE));
	self->entries[0] = map_entry(self, 0, 17, 1);
	EXPECT_BATCH(0, 2, 2, 8);
	EXPECT_EQ(0, access_num_pins(device));
	close(device);
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
	if (test_iommu_missing())
		return -ENODEV;
	dev_close(&self->dev);
	rc = test_iommu_remove_all();
	if (!rc)
		rc = test_iommu_make("a", NULL);
	if (!rc)
		rc = test_device_make("a", "one", NULL, &self->dev);
	if (!rc)
		rc = dev_open_bind(&self->dev, self->iommu);
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
	dev_close(&self->dev);
	EXPECT_EQ(0, test_iommu_remove_all());
}

/* Unmap and map of the same range: the old memory is let go after the flush. */
TEST_F_TIMEOUT(batch, stream_other_memory, 60)
{
	unsigned int i, n;

	fill_maps(self, HALF, 1);
	EXPECT_BATCH(0, HALF, HALF, 0);
	if (begin_stream(self))
		SKIP(return, "no test IOMMU");
	for (n = 1; n < 20; n++) {
		for (i = 0; i < HALF; i++) {
			self->entries[2 * i] = unmap_entry(i, 1);
			self->entries[2 * i + 1] =
				map_entry(self, n % 2 * HALF + i, i, 1);
		}
		ASSERT_EQ(0, test_device_progress(&self->dev, 1));
		EXPECT_BATCH(0, 2 * HALF, 2 * HALF, HALF);
		EXPECT_TRUE(device_finds(self, n % 2 ? NEW : OLD));
	}
	end_stream(_metadata, self);
}

TEST_F_TIMEOUT(batch, stream_replace, 60)
{
	unsigned int n;

	ASSERT_EQ(0, map_one(self, READ_WRITE, 0, 0, HALF));
	if (begin_stream(self))
		SKIP(return, "no test IOMMU");
	for (n = 1; n < 20; n++) {
		ASSERT_EQ(0, test_device_progress(&self->dev, 1));
		ASSERT_EQ(0, map_one(self, READ_WRITE | REPLACE, n % 2 * HALF,
				     0, HALF));
		EXPECT_TRUE(device_finds(self, n % 2 ? NEW : OLD));
	}
	/* One that the IOMMU's driver refuses */
	ASSERT_EQ(0, test_iommu_fail("a", "map", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, map_one(self, READ_WRITE | REPLACE, 0, 0, HALF));
	EXPECT_TRUE(device_finds(self, NEW));
	end_stream(_metadata, self);
}

/* What was unmapped before an entry fails is as far away as what was asked for. */
TEST_F_TIMEOUT(batch, stream_error_flushes, 60)
{
	struct ioasid_test_globals before, after;
	unsigned int i;

	fill_maps(self, HALF, 1);
	EXPECT_BATCH(0, HALF, HALF, 0);
	if (begin_stream(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, test_device_progress(&self->dev, 1));
	ASSERT_EQ(0, test_device_stop(&self->dev, 1, NULL));
	EXPECT_TRUE(device_finds(self, OLD));
	for (i = 0; i < 8; i++)
		self->entries[i] = unmap_entry(i, 1);
	self->entries[8] = map_entry(self, 0, 20, 1);
	EXPECT_BATCH(-EEXIST, 9, 8, 8);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
			  test_device_fill(&self->dev, at(i), 8, NEW));
	ASSERT_EQ(0, test_device_globals(&self->dev, &before));
	EXPECT_EQ(0, test_device_fill(&self->dev, at(8), 8, NEW));
	ASSERT_EQ(0, test_device_globals(&self->dev, &after));
	EXPECT_EQ(before.faults, after.faults);
	dev_close(&self->dev);
	EXPECT_EQ(0, test_iommu_remove_all());
}

/* ---- io_uring ---- */

static void by_uring(struct __test_metadata *_metadata,
		     struct _test_data_batch *self, unsigned int flags)
{
	struct iommu_map_batch cmd = {
		.size = sizeof(cmd),
		.ioasid = self->ioasid,
		.num_entries = 512,
		.entries = (uintptr_t)self->entries,
	}, bad;
	struct counts now;
	long charge = self->child ? MEM_PAGES : 512;

	if (uring_open(&self->ring, flags))
		SKIP(return, "no io_uring");
	fill_maps(self, 512, 1);
	ASSERT_EQ(0, uring_call(&self->ring, self->iommu, IOMMU_MAP_BATCH, &cmd,
				0));
	EXPECT_EQ(512, cmd.num_entries);
	EXPECT_PAGES(512);
	EXPECT_TRUE(device_copies(self, 1, 1, 511, 511, 1));
	/* This process pays, whichever thread has done it. */
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(charge, now.pins - self->counts.pins);
	EXPECT_EQ(charge * PAGE, now.locked - self->counts.locked);

	self->entries[0] = unmap_entry(0, 511);
	self->entries[1] = map_entry(self, 0, 511, 1);
	cmd.num_entries = 2;
	EXPECT_EQ(-EEXIST, uring_call(&self->ring, self->iommu, IOMMU_MAP_BATCH,
				      &cmd, 0));
	EXPECT_EQ(1, cmd.num_entries);
	EXPECT_EQ(511 * PAGE, cmd.unmapped);
	EXPECT_PAGES(1);

	cmd.num_entries = 1;
	bad = cmd;
	EXPECT_EQ(-EINVAL, uring_call(&self->ring, self->iommu, IOMMU_MAP_BATCH,
				      &bad, 1));
	EXPECT_EQ(-EFAULT, uring_call(&self->ring, self->iommu, IOMMU_MAP_BATCH,
				      NULL, 0));
	bad.size--;
	EXPECT_EQ(-EINVAL, uring_call(&self->ring, self->iommu, IOMMU_MAP_BATCH,
				      &bad, 0));
	bad = cmd;
	bad.flags = 1;
	EXPECT_EQ(-EOPNOTSUPP, uring_call(&self->ring, self->iommu,
					  IOMMU_MAP_BATCH, &bad, 0));
	bad = cmd;
	bad.ioasid = UINT_MAX;
	EXPECT_EQ(-ENOENT, uring_call(&self->ring, self->iommu, IOMMU_MAP_BATCH,
				      &bad, 0));
	/* Commands that are none, and one that is not for io_uring */
	EXPECT_EQ(-ENOTTY, uring_call(&self->ring, self->iommu, _IO(';', 0xff),
				      &cmd, 0));
	EXPECT_EQ(-ENOTTY, uring_call(&self->ring, self->iommu, 0, &cmd, 0));
	EXPECT_EQ(-ENOTTY, uring_call(&self->ring, self->iommu,
				      IOMMU_IOASID_FREE, &cmd, 0));
	EXPECT_PAGES(1);
	EXPECT_EQ(0, uring_call(&self->ring, self->iommu, IOMMU_MAP_BATCH, &cmd,
				0));
}

TEST_F(batch, uring)
{
	__u64 value = 0;

	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_URING_CMD, 0,
				     &value));
	EXPECT_EQ(1, value);
	by_uring(_metadata, self, 0);
}

/* A thread of the kernel takes the requests. */
TEST_F(batch, uring_polled)
{
	by_uring(_metadata, self, IORING_SETUP_SQPOLL);
}

TEST_HARNESS_MAIN
