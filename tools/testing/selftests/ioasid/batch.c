// SPDX-License-Identifier: GPL-2.0-only
/* MAP_BATCH: what takes effect, what does not, and what devices see meanwhile. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch.h"

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
		  { .flags = READ_WRITE, .iova = msi_first } },
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
	limit.rlim_cur = self->counts.locked + tables_charged() + 8 * PAGE;
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

/* ---- a device that streams meanwhile ---- */

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
	EXPECT_EQ(0, test_device_end(&self->dev));
}

TEST_HARNESS_MAIN
