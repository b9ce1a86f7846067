// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP_DMA with a file as its source: which files are taken, in which mode and
 * with which seals, and that devices see the same as who reads the file.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"

#define FILE_PAGES	16
#define COPY		512
/* Where the tests map what the device is to write what it has read. */
#define RESULT_IOVA	(TEST_IOVA + 0x1000000ULL)

FIXTURE(file) {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	int fd;
	size_t page;
	char *result;
	struct counts counts;
};

/* @huge: hugetlbfs instead of shmem; @attached: before MAP_DMA, not after */
FIXTURE_VARIANT(file) {
	bool huge;
	bool attached;
};

FIXTURE_VARIANT_ADD(file, memfd_idle) {
	.huge = false,
	.attached = false,
};

FIXTURE_VARIANT_ADD(file, memfd_attached) {
	.huge = false,
	.attached = true,
};

FIXTURE_VARIANT_ADD(file, hugetlb_idle) {
	.huge = true,
	.attached = false,
};

FIXTURE_VARIANT_ADD(file, hugetlb_attached) {
	.huge = true,
	.attached = true,
};

/* Whether there are as many free huge pages. */
static bool have_huge(int num)
{
	void *mem = mmap(NULL, num * HUGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (mem == MAP_FAILED)
		return false;
	munmap(mem, num * HUGE_SIZE);
	return true;
}

static size_t file_size(const struct _fixture_variant_file *variant)
{
	return variant->huge ? 2 * HUGE_SIZE : FILE_PAGES * PAGE;
}

FIXTURE_SETUP(file)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	if (!DEVICE_BEGIN())
		return;
	if (variant->huge && !have_huge(2))
		SKIP(return, "no two free huge pages");
	if (variant->huge)
		flags |= MFD_HUGETLB | (21U << 26);
	self->page = variant->huge ? HUGE_SIZE : PAGE;
	self->fd = memfd_create("ioasid", flags);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, file_size(variant)));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	self->result = mem_alloc(PAGE);
	ASSERT_NE(NULL, self->result);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->result, RESULT_IOVA, PAGE));
	if (variant->attached)
		ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
}

FIXTURE_TEARDOWN(file)
{
	if (self->fd >= 0)
		close(self->fd);
	DEVICE_END();
}

static int map_fd(struct _test_data_file *self, __u32 flags, int fd,
		  __u64 offset, __u64 length)
{
	return ioasid_map_file(self->iommu, self->ioasid, flags, fd, offset,
			       TEST_IOVA, length);
}

/* In the idle variants the device comes when all is mapped. */
static int attach(struct _test_data_file *self,
		  const struct _fixture_variant_file *variant)
{
	return variant->attached ? 0 : vfio_attach(self->dev.fd, self->ioasid);
}

/* Shows the file to the process. */
static char *file_mmap(struct _test_data_file *self, size_t size, int prot)
{
	char *mem = mmap(NULL, size, prot, MAP_SHARED, self->fd, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

/* Lets the device copy from @iova to the result page. */
static int device_reads(struct _test_data_file *self, __u64 iova)
{
	memset(self->result, 0xcc, COPY);
	return dev_dma_copy(&self->dev, iova, RESULT_IOVA, COPY);
}

/* Lets the device copy a pattern from the result page to @iova. */
static int device_writes(struct _test_data_file *self, __u64 iova,
			 unsigned int seed)
{
	fill_pattern(self->result, COPY, seed);
	return dev_dma_copy(&self->dev, RESULT_IOVA, iova, COPY);
}

/* ---- data ---- */

TEST_F(file, data_reaches_device)
{
	size_t size = file_size(variant);
	char *mem = file_mmap(self, size, PROT_READ | PROT_WRITE);

	ASSERT_NE(NULL, mem);
	memset(mem, 0, size);
	fill_pattern(mem, COPY, 1);
	fill_pattern(mem + size - COPY, COPY, 2);
	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, size));
	ASSERT_EQ(0, attach(self, variant));

	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(has_pattern(self->result, COPY, 1));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA + size - COPY));
	EXPECT_TRUE(has_pattern(self->result, COPY, 2));

	/* Both ways, and across a page: no copy is made anywhere. */
	ASSERT_EQ(0, device_writes(self, TEST_IOVA + self->page - COPY / 2, 3));
	EXPECT_TRUE(has_pattern(mem + self->page - COPY / 2, COPY, 3));
	fill_pattern(mem, COPY, 4);
	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(has_pattern(self->result, COPY, 4));
	munmap(mem, size);
}

TEST_F(file, offset)
{
	size_t size = file_size(variant);
	/* Not a multiple of the huge page, if it is one. */
	size_t offset = self->page + (variant->huge ? 3 * PAGE : 0);
	char *mem = file_mmap(self, size, PROT_READ | PROT_WRITE);

	ASSERT_NE(NULL, mem);
	memset(mem, 0, size);
	fill_pattern(mem + offset, COPY, 1);
	fill_pattern(mem + offset + PAGE, COPY, 2);
	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, offset, 2 * PAGE));
	ASSERT_EQ(0, attach(self, variant));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(has_pattern(self->result, COPY, 1));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA + PAGE));
	EXPECT_TRUE(has_pattern(self->result, COPY, 2));

	/* What lies around the mapping is out of reach. */
	memset(mem + offset + 2 * PAGE, 0x77, COPY);
	ASSERT_EQ(0, device_writes(self, TEST_IOVA + 2 * PAGE, 3));
	EXPECT_TRUE(all_bytes(mem + offset + 2 * PAGE, COPY, 0x77));
	munmap(mem, size);
}

TEST_F(file, mapping_keeps_the_file)
{
	char *mem = file_mmap(self, self->page, PROT_READ | PROT_WRITE);

	ASSERT_NE(NULL, mem);
	fill_pattern(mem, COPY, 1);
	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, self->page));
	munmap(mem, self->page);
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, attach(self, variant));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(has_pattern(self->result, COPY, 1));
}

TEST_F(file, pages_are_charged)
{
	size_t size = file_size(variant);
	struct iommu_ioasid_info info;
	struct counts now;

	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, size));
	ASSERT_EQ(0, attach(self, variant));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(size + PAGE, info.pinned_bytes);
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(size + PAGE, now.locked - self->counts.locked);
	EXPECT_LT(self->counts.pins, now.pins);
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_TRUE(counts_equal(&self->counts, &now));
}

/* Gives the page allocator pages back that are full of something. */
static void soil_free_memory(void)
{
	size_t size = 32UL << 20;
	char *mem = mem_alloc(size);

	if (!mem)
		return;
	memset(mem, 0xa5, size);
	munmap(mem, size);
}

/*
 * Pages that exist and were never written hold what the memory held before, as
 * long as nobody looks at them through the page cache.
 */
TEST_F(file, never_written_reads_as_zero)
{
	size_t size = file_size(variant), step = self->page, i;

	if (!variant->huge)
		soil_free_memory();
	/* The first half is allocated, the second is a hole. */
	ASSERT_EQ(0, fallocate(self->fd, 0, 0, size / 2));
	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, size));
	ASSERT_EQ(0, attach(self, variant));
	for (i = 0; i < size; i += 5 * step) {
		ASSERT_EQ(0, device_reads(self, TEST_IOVA + i));
		EXPECT_TRUE(all_bytes(self->result, COPY, 0)) {
			TH_LOG("at 0x%zx: 0x%x", i,
			       (unsigned char)self->result[0]);
		}
	}
	ASSERT_EQ(0, device_reads(self, TEST_IOVA + size - COPY));
	EXPECT_TRUE(all_bytes(self->result, COPY, 0));
}

/* Nor may they be cleared for the CPU when a device has written them. */
TEST_F(file, written_by_device_stays)
{
	size_t size = file_size(variant);
	char data[COPY], *mem;

	if (!variant->huge)
		soil_free_memory();
	ASSERT_EQ(0, fallocate(self->fd, 0, 0, size / 2));
	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, size));
	ASSERT_EQ(0, attach(self, variant));
	ASSERT_EQ(0, device_writes(self, TEST_IOVA, 1));
	ASSERT_EQ(0, device_writes(self, TEST_IOVA + size - COPY, 2));

	/* By read() while mapped, by mmap() afterwards. */
	ASSERT_EQ(COPY, pread(self->fd, data, COPY, 0));
	EXPECT_TRUE(has_pattern(data, COPY, 1));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	mem = file_mmap(self, size, PROT_READ);
	ASSERT_NE(NULL, mem);
	EXPECT_TRUE(has_pattern(mem, COPY, 1));
	EXPECT_TRUE(has_pattern(mem + size - COPY, COPY, 2));
	/* The rest of these pages is zero. */
	EXPECT_TRUE(all_bytes(mem + COPY, PAGE - COPY, 0));
	munmap(mem, size);
}

TEST_F(file, kernel_chooses_iova)
{
	struct iommu_map_dma map = {
		.size = sizeof(map),
		.flags = READ_WRITE | IOMMU_MAP_DMA_FILE |
			 IOMMU_MAP_DMA_ALLOC_IOVA,
		.fd = self->fd,
		.length = self->page,
	};
	char *mem = file_mmap(self, self->page, PROT_READ | PROT_WRITE);

	/* 28 bits are what an edu has. */
	ASSERT_NE(NULL, mem);
	fill_pattern(mem, COPY, 1);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 28, 0, &map.ioasid));
	ASSERT_EQ(0, ioasid_map(self->iommu, map.ioasid, READ_WRITE,
				self->result, RESULT_IOVA, PAGE));
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_MAP_DMA, &map));
	ASSERT_GT(1U << 28, map.iova);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, map.ioasid));
	ASSERT_EQ(0, device_reads(self, map.iova));
	EXPECT_TRUE(has_pattern(self->result, COPY, 1));
	munmap(mem, self->page);
}

/* What was pinned stays pinned, whatever becomes of the file. */
TEST_F(file, truncated_while_mapped)
{
	char *mem = file_mmap(self, self->page, PROT_READ | PROT_WRITE);
	char data[COPY];

	ASSERT_NE(NULL, mem);
	fill_pattern(mem, COPY, 1);
	munmap(mem, self->page);
	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, self->page));
	if (!variant->attached) {
		/* Not pinned yet: the pages have gone, none come instead. */
		ASSERT_EQ(0, ftruncate(self->fd, 0));
		EXPECT_EQ(-EINVAL, vfio_attach(self->dev.fd, self->ioasid));
		ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, TEST_IOVA,
					  self->page, NULL));
		EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
		return;
	}
	ASSERT_EQ(0, ftruncate(self->fd, 0));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(has_pattern(self->result, COPY, 1));
	/* A new page of the file is not the one that the device has. */
	ASSERT_EQ(0, ftruncate(self->fd, self->page));
	ASSERT_EQ(0, device_writes(self, TEST_IOVA, 2));
	if (!variant->huge) {
		ASSERT_EQ(COPY, pread(self->fd, data, COPY, 0));
		EXPECT_TRUE(all_bytes(data, COPY, 0));
	}
}

/* ---- which files ---- */

TEST_F(file, end_of_file)
{
	size_t size = file_size(variant);

	EXPECT_EQ(-EINVAL, map_fd(self, READ_WRITE, self->fd, size, PAGE));
	EXPECT_EQ(-EINVAL, map_fd(self, READ_WRITE, self->fd, size - PAGE,
				  2 * PAGE));
	EXPECT_EQ(-EINVAL, map_fd(self, READ_ONLY, self->fd, 0, size + PAGE));
	EXPECT_EQ(-EINVAL, map_fd(self, READ_ONLY, self->fd, 1ULL << 62,
				  PAGE));
	EXPECT_EQ(-EINVAL, map_fd(self, READ_ONLY, self->fd, LLONG_MAX - PAGE + 1,
				  PAGE));
	EXPECT_EQ(-EINVAL, map_fd(self, READ_ONLY, self->fd, 0 - 2 * PAGE,
				  PAGE));
	EXPECT_EQ(0, map_fd(self, READ_ONLY, self->fd, size - PAGE, PAGE));
	EXPECT_EQ(0, attach(self, variant));
}

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

TEST_F(file, mode)
{
	size_t size = file_size(variant);
	int rd = reopen(self->fd, O_RDONLY), wr = reopen(self->fd, O_WRONLY);

	ASSERT_LE(0, rd);
	ASSERT_LE(0, wr);
	EXPECT_EQ(-EACCES, map_fd(self, READ_WRITE, rd, 0, PAGE));
	EXPECT_EQ(-EACCES, map_fd(self, WRITE_ONLY, rd, 0, PAGE));
	EXPECT_EQ(-EACCES, map_fd(self, READ_ONLY, wr, 0, PAGE));
	EXPECT_EQ(-EACCES, map_fd(self, WRITE_ONLY, wr, 0, PAGE));
	EXPECT_EQ(-EACCES, map_fd(self, READ_WRITE, wr, 0, PAGE));
	/* It goes before the end of the file, and before what is taken. */
	EXPECT_EQ(-EACCES, map_fd(self, READ_WRITE, rd, size, PAGE));
	EXPECT_EQ(-EACCES, ioasid_map_file(self->iommu, self->ioasid,
					   READ_WRITE, rd, 0, RESULT_IOVA,
					   PAGE));
	EXPECT_EQ(0, map_fd(self, READ_ONLY, rd, 0, PAGE));
	EXPECT_EQ(0, attach(self, variant));
	close(rd);
	close(wr);
}

/* The device cannot write what was mapped for reading. */
TEST_F(file, read_only)
{
	char *mem = file_mmap(self, self->page, PROT_READ | PROT_WRITE);
	int rd = reopen(self->fd, O_RDONLY);

	ASSERT_NE(NULL, mem);
	ASSERT_LE(0, rd);
	fill_pattern(mem, COPY, 1);
	ASSERT_EQ(0, map_fd(self, READ_ONLY, rd, 0, self->page));
	ASSERT_EQ(0, attach(self, variant));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(has_pattern(self->result, COPY, 1));
	ASSERT_EQ(0, device_writes(self, TEST_IOVA, 2));
	EXPECT_TRUE(has_pattern(mem, COPY, 1));
	munmap(mem, self->page);
	close(rd);
}

/* ---- seals ---- */

TEST_F(file, sealed)
{
	size_t size = file_size(variant);
	int rd, seal, seals[] = { F_SEAL_FUTURE_WRITE, F_SEAL_WRITE };

	rd = reopen(self->fd, O_RDONLY);
	ASSERT_LE(0, rd);
	for (seal = 0; seal < 2; seal++) {
		ASSERT_EQ(0, fcntl(self->fd, F_ADD_SEALS, seals[seal]));
		EXPECT_EQ(-EPERM, map_fd(self, READ_WRITE, self->fd, 0, PAGE));
		EXPECT_EQ(-EPERM, map_fd(self, WRITE_ONLY, self->fd, 0, PAGE));
		/* Behind the mode, before the end of the file and the rest. */
		EXPECT_EQ(-EACCES, map_fd(self, READ_WRITE, rd, 0, PAGE));
		EXPECT_EQ(-EPERM, map_fd(self, READ_WRITE, self->fd, size,
					 PAGE));
		EXPECT_EQ(-EPERM, ioasid_map_file(self->iommu, self->ioasid,
						  READ_WRITE, self->fd, 0,
						  RESULT_IOVA, PAGE));
		EXPECT_EQ(0, map_fd(self, READ_ONLY, self->fd, 0, PAGE));
		EXPECT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, TEST_IOVA,
					  PAGE, NULL));
	}
	EXPECT_EQ(0, map_fd(self, READ_ONLY, self->fd, 0, PAGE));
	EXPECT_EQ(0, attach(self, variant));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(all_bytes(self->result, COPY, 0));
	close(rd);
}

TEST_F(file, other_seals_do_not_matter)
{
	ASSERT_EQ(0, fcntl(self->fd, F_ADD_SEALS,
			   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	EXPECT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, PAGE));
	EXPECT_EQ(0, attach(self, variant));
	ASSERT_EQ(0, device_writes(self, TEST_IOVA, 1));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(has_pattern(self->result, COPY, 1));
}

/*
 * A seal that is in force means that the contents do not change any more. So it
 * cannot come while a device may write; and if it comes while the mapping is
 * only recorded, the device cannot come.
 */
TEST_F(file, seal_while_mapped)
{
	int rc;

	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, PAGE));
	rc = fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE) ? -errno : 0;
	if (variant->attached || rc) {
		EXPECT_EQ(-EBUSY, rc);
		EXPECT_EQ(0, attach(self, variant));
		EXPECT_EQ(0, fcntl(self->fd, F_GET_SEALS));
		/* It can come when the device has gone. */
		EXPECT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, TEST_IOVA,
					  PAGE, NULL));
		EXPECT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE));
		EXPECT_EQ(-EPERM, map_fd(self, READ_WRITE, self->fd, 0, PAGE));
	} else {
		EXPECT_EQ(-EPERM, vfio_attach(self->dev.fd, self->ioasid));
		EXPECT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, TEST_IOVA,
					  PAGE, NULL));
		EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	}
}

/* The seal that lets those go on who write already. */
TEST_F(file, future_seal_while_mapped)
{
	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, PAGE));
	ASSERT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	if (!variant->attached) {
		EXPECT_EQ(-EPERM, vfio_attach(self->dev.fd, self->ioasid));
		return;
	}
	ASSERT_EQ(0, device_writes(self, TEST_IOVA, 1));
	ASSERT_EQ(0, device_reads(self, TEST_IOVA));
	EXPECT_TRUE(has_pattern(self->result, COPY, 1));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(-EPERM, vfio_attach(self->dev.fd, self->ioasid));
}

/* A detach ends the writing as an unmap does. */
TEST_F(file, seal_after_detach)
{
	ASSERT_EQ(0, map_fd(self, READ_WRITE, self->fd, 0, PAGE));
	ASSERT_EQ(0, attach(self, variant));
	EXPECT_EQ(-1, fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	if (fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE)) {
		EXPECT_EQ(EBUSY, errno);
		EXPECT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	} else {
		EXPECT_EQ(-EPERM, vfio_attach(self->dev.fd, self->ioasid));
	}
}

/* ---- files that are no source ---- */

FIXTURE(other) {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	char dir[32];
	struct counts counts;
};

FIXTURE_SETUP(other)
{
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	snprintf(self->dir, sizeof(self->dir), "/tmp/ioasid.XXXXXX");
	mkdir("/tmp", 01777);
	ASSERT_NE(NULL, mkdtemp(self->dir));
}

FIXTURE_TEARDOWN(other)
{
	umount2(self->dir, MNT_DETACH);
	rmdir(self->dir);
	DEVICE_END();
}

static int map_other(struct _test_data_other *self, int fd)
{
	return ioasid_map_file(self->iommu, self->ioasid, READ_WRITE, fd, 0,
			       TEST_IOVA, PAGE);
}

static int open_in(struct _test_data_other *self, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", self->dir, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

TEST_F(other, bad_fd)
{
	int fd = dup(self->iommu);

	close(fd);
	EXPECT_EQ(-EBADF, map_other(self, fd));
	EXPECT_EQ(-EBADF, map_other(self, -1));
	EXPECT_EQ(-EBADF, map_other(self, INT_MIN));
	EXPECT_EQ(-EBADF, map_other(self, INT_MAX));
}

TEST_F(other, not_memory)
{
	int i, pipes[2], fds[8], num = 0;

	ASSERT_EQ(0, pipe(pipes));
	fds[num++] = pipes[0];
	fds[num++] = pipes[1];
	fds[num++] = eventfd(0, 0);
	fds[num++] = open("/dev/zero", O_RDWR);
	fds[num++] = open("/proc/self/status", O_RDONLY);
	fds[num++] = open(self->dir, O_RDONLY | O_DIRECTORY);
	fds[num++] = dup(self->iommu);
	fds[num++] = dup(self->dev.fd);
	for (i = 0; i < num; i++) {
		EXPECT_LE(0, fds[i]) {
			TH_LOG("file %d", i);
		}
		/* What kind of file it is goes before its mode. */
		EXPECT_EQ(-EINVAL, map_other(self, fds[i])) {
			TH_LOG("file %d", i);
		}
		close(fds[i]);
	}
}

TEST_F(other, file_of_another_filesystem)
{
	char *zero;
	int fd;

	ASSERT_EQ(0, mount("none", self->dir, "ramfs", 0, NULL));
	fd = open_in(self, "file", O_RDWR | O_CREAT);
	ASSERT_LE(0, fd);
	zero = calloc(1, PAGE);
	ASSERT_EQ(PAGE, write(fd, zero, PAGE));
	EXPECT_EQ(-EINVAL, map_other(self, fd));
	close(fd);
	free(zero);
}

TEST_F(other, tmpfs)
{
	char data[COPY];
	int fd;

	ASSERT_EQ(0, mount("none", self->dir, "tmpfs", 0, NULL));
	fd = open_in(self, "file", O_RDWR | O_CREAT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 2 * PAGE));
	fill_pattern(data, COPY, 1);
	ASSERT_EQ(COPY, pwrite(fd, data, COPY, 0));
	ASSERT_EQ(0, ioasid_map_file(self->iommu, self->ioasid, READ_WRITE, fd,
				     0, TEST_IOVA, 2 * PAGE));
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA, TEST_IOVA + PAGE,
				  COPY));
	ASSERT_EQ(COPY, pread(fd, data, COPY, PAGE));
	EXPECT_TRUE(has_pattern(data, COPY, 1));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	close(fd);
}

/* What can only grow cannot be written at will. */
TEST_F(other, append_only)
{
	int fd, flags = FS_APPEND_FL;

	ASSERT_EQ(0, mount("none", self->dir, "tmpfs", 0, NULL));
	fd = open_in(self, "file", O_RDWR | O_CREAT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
		SKIP(close(fd); return, "tmpfs has no file attributes");
	EXPECT_EQ(-EACCES, map_other(self, fd));
	EXPECT_EQ(0, ioasid_map_file(self->iommu, self->ioasid, READ_ONLY, fd,
				     0, TEST_IOVA, PAGE));
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	close(fd);
}

TEST_F(other, hugetlbfs)
{
	char *mem;
	int fd;

	if (!have_huge(1))
		SKIP(return, "no free huge page");
	ASSERT_EQ(0, mount("none", self->dir, "hugetlbfs", 0, "pagesize=2M"));
	fd = open_in(self, "file", O_RDWR | O_CREAT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, HUGE_SIZE));
	mem = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	fill_pattern(mem, COPY, 1);
	memset(mem + HUGE_SIZE / 2, 0, COPY);
	ASSERT_EQ(0, ioasid_map_file(self->iommu, self->ioasid, READ_WRITE, fd,
				     0, TEST_IOVA, HUGE_SIZE));
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA,
				  TEST_IOVA + HUGE_SIZE / 2, COPY));
	EXPECT_TRUE(has_pattern(mem + HUGE_SIZE / 2, COPY, 1));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	munmap(mem, HUGE_SIZE);
	close(fd);
}

TEST_HARNESS_MAIN
