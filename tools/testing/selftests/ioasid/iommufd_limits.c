// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is pinned through iommufd's interface: whose limit it counts against, who
 * takes it over, and which files it may be.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	32
#define ADDR(n)		(TEST_IOVA + (n) * PAGE)
#define MARK		0xa5a5a5a5a5a5a5a5ULL
/* One that nothing else belongs to */
#define SOMEBODY	4242

FIXTURE(limits)
{
	struct counts begin;
	struct dma_device dev;
	int iommu;
	__u32 ioas;
	__u32 other;
	char *mem;
	int file;
};

FIXTURE_SETUP(limits)
{
	const char *missing = test_iommu_missing();

	self->dev.fd = -1;
	self->iommu = -1;
	self->mem = NULL;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->begin);
	self->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, self->mem);
	self->file = memfd_create("ioasid", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, ftruncate(self->file, MEM_PAGES * PAGE));
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
}

FIXTURE_TEARDOWN(limits)
{
	if (!self->mem)
		return;
	ASSERT_EQ(0, setresuid(0, 0, 0));
	dev_close(&self->dev);
	close(self->file);
	close(self->iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	munmap(self->mem, MEM_PAGES * PAGE);
	COUNTS_END(&self->begin);
}

/* Two address spaces, a device in the first one */
static int begin(struct _test_data_limits *self)
{
	int rc = test_device_begin(NULL, &self->dev, self->iommu);

	if (!rc)
		rc = ioas_alloc(self->iommu, &self->ioas);
	if (!rc)
		rc = ioas_alloc(self->iommu, &self->other);
	return rc ? rc : vfio_attach(self->dev.fd, self->ioas);
}

static int set_limit(unsigned int pages)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return -errno;
	limit.rlim_cur = pages * PAGE;
	return setrlimit(RLIMIT_MEMLOCK, &limit) ? -errno : 0;
}

/* Without the right to exceed limits, but with a way back */
static int become_somebody(void)
{
	return setresuid(SOMEBODY, SOMEBODY, 0) ? -errno : 0;
}

static int map(struct _test_data_limits *self, unsigned int page,
	       unsigned int num)
{
	return ioas_map(self->iommu, self->ioas, IOAS_RW,
			self->mem + page * PAGE, ADDR(page), num * PAGE);
}

static int map_file(struct _test_data_limits *self, __u32 ioas,
		    unsigned int page, unsigned int num)
{
	return ioas_map_file(self->iommu, ioas, IOAS_RW, self->file,
			     page * PAGE, ADDR(page), num * PAGE);
}

static int unmap(struct _test_data_limits *self, unsigned int page,
		 unsigned int num)
{
	return ioas_unmap(self->iommu, self->ioas, ADDR(page), num * PAGE,
			  NULL);
}

/* In pages, since @begin, or of the process if that is NULL */
static bool charged(const struct counts *begin, long pinned, long locked)
{
	static const struct counts none;
	struct counts now;

	begin = begin ?: &none;
	return !counts_read(&now) &&
	       now.pinned - begin->pinned == pinned * (long)PAGE &&
	       now.locked - begin->locked == locked * (long)PAGE;
}

/* Return: what @child returns in a process of its own, 255 if that is killed. */
static int in_child(struct _test_data_limits *self,
		    int (*child)(struct _test_data_limits *self))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(child(self));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 255;
	return WEXITSTATUS(status);
}

/* ---- limits ---- */

static int child_maps(struct _test_data_limits *self)
{
	return -map(self, 20, 1);
}

/* All processes of a user share one limit, which VmLck does not show. */
TEST_F(limits, of_the_user)
{
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, become_somebody());
	ASSERT_EQ(0, set_limit(8));
	ASSERT_EQ(0, map(self, 0, 6));
	EXPECT_TRUE(charged(&self->begin, 6, 0));
	EXPECT_EQ(-ENOMEM, map(self, 6, 3));
	EXPECT_TRUE(charged(&self->begin, 6, 0));
	ASSERT_EQ(0, map(self, 6, 2));
	EXPECT_EQ(ENOMEM, in_child(self, child_maps));
	/* What is pinned already costs nothing. */
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioas, ADDR(0), self->ioas,
			       ADDR(10), 8 * PAGE, IOAS_RW));
	EXPECT_TRUE(charged(&self->begin, 8, 0));
	ASSERT_EQ(0, unmap(self, 16, 2));
	EXPECT_EQ(-ENOMEM, map(self, 20, 1));
	ASSERT_EQ(0, unmap(self, 6, 2));
	EXPECT_TRUE(charged(&self->begin, 6, 0));
	EXPECT_EQ(0, in_child(self, child_maps));
	ASSERT_EQ(0, map(self, 8, 1));
	EXPECT_EQ(-ENOMEM, map(self, 9, 1));
	/* Whose memory that was is gone. */
	ASSERT_EQ(0, unmap(self, 20, 1));
	EXPECT_EQ(0, map(self, 9, 1));
	EXPECT_TRUE(charged(&self->begin, 8, 0));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, 0, ~0ULL, NULL));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
	ASSERT_EQ(0, map(self, 0, 8));
}

/* Each process has its own. */
TEST_F(limits, of_the_process)
{
	ASSERT_EQ(0, iommufd_account_mm(self->iommu, true));
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, become_somebody());
	ASSERT_EQ(0, set_limit(8));
	ASSERT_EQ(0, map(self, 0, 6));
	EXPECT_TRUE(charged(&self->begin, 6, 6));
	EXPECT_EQ(-ENOMEM, map(self, 6, 3));
	EXPECT_TRUE(charged(&self->begin, 6, 6));
	ASSERT_EQ(0, map(self, 6, 2));
	EXPECT_EQ(0, in_child(self, child_maps));
	EXPECT_TRUE(charged(&self->begin, 8, 8));
	/* The native interface counts there, too. */
	EXPECT_EQ(-ENOMEM, ioasid_map(self->iommu, self->ioas, READ_WRITE,
				      self->mem, ADDR(24), PAGE));
	/* Files are no exception. */
	EXPECT_EQ(-ENOMEM, map_file(self, self->ioas, 24, 1));
	ASSERT_EQ(0, unmap(self, 0, 6));
	EXPECT_TRUE(charged(&self->begin, 2, 2));
	EXPECT_EQ(0, map_file(self, self->ioas, 24, 6));
	EXPECT_TRUE(charged(&self->begin, 8, 8));
}

/* Attach pins what was mapped before, or nothing. */
TEST_F(limits, attach_over_the_limit)
{
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, become_somebody());
	ASSERT_EQ(0, set_limit(8));
	ASSERT_EQ(0, map(self, 0, 6));
	ASSERT_EQ(0, map(self, 6, 6));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
	EXPECT_EQ(-ENOMEM, vfio_attach(self->dev.fd, self->ioas));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
	ASSERT_EQ(0, unmap(self, 6, 6));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioas));
	EXPECT_TRUE(charged(&self->begin, 6, 0));
	EXPECT_EQ(0, test_device_fill(&self->dev, ADDR(0), 6 * PAGE, MARK));
}

/* Who may exceed limits is not counted, but by the native interface. */
TEST_F(limits, of_nobody)
{
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, set_limit(0));
	ASSERT_EQ(0, map(self, 0, 8));
	EXPECT_TRUE(charged(&self->begin, 8, 0));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioas, READ_WRITE, self->mem,
				ADDR(8), 4 * PAGE));
	EXPECT_TRUE(charged(&self->begin, 12, 4));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, 0, ~0ULL, NULL));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
}

TEST_F(limits, option)
{
	struct iommu_option cmd = {
		.size = sizeof(cmd),
		.option_id = IOMMU_OPTION_RLIMIT_MODE,
		.op = IOMMU_OPTION_OP_GET,
		.val64 = 7,
	};

	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_OPTION, &cmd));
	EXPECT_EQ(0, cmd.val64);
	ASSERT_EQ(0, iommufd_account_mm(self->iommu, true));
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_OPTION, &cmd));
	EXPECT_EQ(1, cmd.val64);
	cmd.op = IOMMU_OPTION_OP_SET;
	cmd.val64 = 2;
	EXPECT_EQ(-EINVAL, iommu_call(self->iommu, IOMMU_OPTION, &cmd));
	ASSERT_EQ(0, become_somebody());
	EXPECT_EQ(-EPERM, iommufd_account_mm(self->iommu, false));
	ASSERT_EQ(0, setresuid(0, 0, 0));
	ASSERT_EQ(0, ioas_alloc(self->iommu, &self->ioas));
	EXPECT_EQ(-EBUSY, iommufd_account_mm(self->iommu, false));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, self->ioas));
	EXPECT_EQ(0, iommufd_account_mm(self->iommu, false));
}

/* ---- another process ---- */

/* As process memory, all that was charged for the parent is for the child now. */
static int child_takes_over(struct _test_data_limits *self)
{
	if (!charged(NULL, 0, 0))
		return 1;
	if (ioas_change_process(self->iommu))
		return 2;
	if (!charged(NULL, 12, 12))
		return 3;
	/* What it unmaps is not charged any more, what it pins is. */
	if (unmap(self, 0, 4) || !charged(NULL, 8, 8))
		return 4;
	if (map_file(self, self->ioas, 0, 1) || !charged(NULL, 9, 9))
		return 5;
	return 0;
}

static int child_has_too_little(struct _test_data_limits *self)
{
	if (set_limit(11))
		return 1;
	if (ioas_change_process(self->iommu) != -ENOMEM)
		return 2;
	return charged(NULL, 0, 0) ? 0 : 3;
}

static int begin_files(struct _test_data_limits *self)
{
	unsigned int i;
	int rc;

	rc = iommufd_account_mm(self->iommu, true);
	if (!rc)
		rc = begin(self);
	if (!rc)
		rc = become_somebody();
	/* Pieces of their own */
	for (i = 0; i < 12 && !rc; i += i < 4 ? 4 : 1)
		rc = map_file(self, self->ioas, i, i < 4 ? 4 : 1);
	return rc;
}

TEST_F(limits, change_process)
{
	ASSERT_EQ(0, begin_files(self));
	EXPECT_TRUE(charged(&self->begin, 12, 12));
	EXPECT_EQ(0, in_child(self, child_takes_over));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
	/* Devices have not noticed, and the process is gone. */
	EXPECT_EQ(0, test_device_fill(&self->dev, ADDR(4), 8 * PAGE, MARK));
	EXPECT_EQ(0, ioas_change_process(self->iommu));
	EXPECT_TRUE(charged(&self->begin, 9, 9));
	/* Who has it already changes nothing. */
	EXPECT_EQ(0, ioas_change_process(self->iommu));
	EXPECT_TRUE(charged(&self->begin, 9, 9));
}

/* Some of it could be taken over, but not all. */
TEST_F(limits, change_process_over_the_limit)
{
	ASSERT_EQ(0, begin_files(self));
	EXPECT_EQ(0, in_child(self, child_has_too_little));
	EXPECT_TRUE(charged(&self->begin, 12, 12));
	EXPECT_EQ(0, test_device_fill(&self->dev, ADDR(0), 12 * PAGE, MARK));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, 0, ~0ULL, NULL));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
}

/* Process memory stays with its process, and so does everything else then. */
TEST_F(limits, change_process_of_memory)
{
	ASSERT_EQ(0, begin_files(self));
	ASSERT_EQ(0, ioas_map(self->iommu, self->other, IOAS_RW, self->mem,
			      ADDR(0), PAGE));
	EXPECT_EQ(-EINVAL, ioas_change_process(self->iommu));
	EXPECT_TRUE(charged(&self->begin, 12, 12));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->other, ADDR(0), PAGE, NULL));
	EXPECT_EQ(0, ioas_change_process(self->iommu));
	EXPECT_TRUE(charged(&self->begin, 12, 12));
}

static int child_just_takes(struct _test_data_limits *self)
{
	return ioas_change_process(self->iommu) || !charged(NULL, 12, 12);
}

/* What is not pinned is pinned for whom it belongs to, if that still lives. */
TEST_F(limits, change_process_not_pinned)
{
	ASSERT_EQ(0, begin_files(self));
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->other, IOAS_RW,
				   self->file, 0, ADDR(0), 5 * PAGE));
	EXPECT_EQ(0, in_child(self, child_just_takes));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
	EXPECT_EQ(-EFAULT, vfio_attach(self->dev.fd, self->other));
	EXPECT_EQ(0, test_device_fill(&self->dev, ADDR(0), 12 * PAGE, MARK));
	ASSERT_EQ(0, ioas_change_process(self->iommu));
	EXPECT_TRUE(charged(&self->begin, 12, 12));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->other));
	EXPECT_TRUE(charged(&self->begin, 5, 5));
	EXPECT_EQ(0, test_device_compare(&self->dev, ADDR(0), 5 * PAGE, MARK));
}

/* One piece that two mappings share is taken over once, and counted once. */
TEST_F(limits, change_process_of_copies)
{
	ASSERT_EQ(0, begin_files(self));
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioas, ADDR(2), self->other,
			       ADDR(0), 6 * PAGE, IOAS_RW));
	EXPECT_TRUE(charged(&self->begin, 12, 12));
	EXPECT_EQ(0, in_child(self, child_just_takes));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
	ASSERT_EQ(0, ioas_change_process(self->iommu));
	EXPECT_TRUE(charged(&self->begin, 12, 12));
	ASSERT_EQ(0, ioas_unmap(self->iommu, self->ioas, 0, ~0ULL, NULL));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
}

/* ---- files ---- */

TEST_F(limits, file_that_is_only_read)
{
	char path[64], *mem;
	int fd;

	ASSERT_EQ(0, begin(self));
	mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->file,
		   0);
	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 0xa5, PAGE);
	munmap(mem, PAGE);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EACCES, ioas_map_file(self->iommu, self->ioas, IOAS_RW, fd,
					 0, ADDR(0), PAGE));
	EXPECT_EQ(-EACCES, ioas_map_file(self->iommu, self->ioas,
					 IOMMU_IOAS_MAP_WRITEABLE, fd, 0,
					 ADDR(0), PAGE));
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->ioas, IOAS_READ, fd, 0,
				   ADDR(0), PAGE));
	close(fd);
	EXPECT_EQ(0, test_device_compare(&self->dev, ADDR(0), PAGE, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_PERMISSION,
		  test_device_fill(&self->dev, ADDR(0), 8, 0));
	/* A copy does not do what the file was not opened for. */
	EXPECT_EQ(-EPERM, ioas_copy(self->iommu, self->ioas, ADDR(0),
				    self->ioas, ADDR(1), PAGE, IOAS_RW));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EACCES, ioas_map_file(self->iommu, self->ioas,
					 IOMMU_IOAS_MAP_WRITEABLE, fd, 0,
					 ADDR(1), PAGE));
	close(fd);
}

/* A seal says that nobody writes from now on. */
TEST_F(limits, sealed_file)
{
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, map_file(self, self->ioas, 0, 2));
	EXPECT_EQ(-1, fcntl(self->file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	/* The copy lets devices write as long as it is there. */
	ASSERT_EQ(0, ioas_copy(self->iommu, self->ioas, ADDR(0), self->ioas,
			       ADDR(8), PAGE, IOAS_RW));
	ASSERT_EQ(0, unmap(self, 0, 2));
	EXPECT_EQ(-1, fcntl(self->file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(0, test_device_fill(&self->dev, ADDR(8), PAGE, MARK));
	ASSERT_EQ(0, unmap(self, 8, 1));
	ASSERT_EQ(0, fcntl(self->file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(-EPERM, map_file(self, self->ioas, 0, 2));
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->ioas, IOAS_READ,
				   self->file, 0, ADDR(0), 2 * PAGE));
	EXPECT_EQ(0, test_device_compare(&self->dev, ADDR(0), PAGE, MARK));
}

/* It was mapped while it could be, and is pinned when it cannot. */
TEST_F(limits, sealed_before_it_is_pinned)
{
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, map_file(self, self->other, 0, 2));
	ASSERT_EQ(0, fcntl(self->file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(-EPERM, vfio_attach(self->dev.fd, self->other));
	EXPECT_TRUE(charged(&self->begin, 0, 0));
}

/* Memory of the page allocator that is full of something */
static void soil_free_memory(void)
{
	const size_t size = 32UL << 20;
	char *mem = mem_alloc(size);

	if (!mem)
		return;
	memset(mem, 0xa5, size);
	munmap(mem, size);
}

TEST_F_TIMEOUT(limits, never_written_reads_as_zero, 120)
{
	ASSERT_EQ(0, begin(self));
	soil_free_memory();
	ASSERT_EQ(0, fallocate(self->file, 0, 0, MEM_PAGES / 2 * PAGE));
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->ioas, IOAS_READ,
				   self->file, 0, ADDR(0), MEM_PAGES * PAGE));
	EXPECT_EQ(0, test_device_compare(&self->dev, ADDR(0), MEM_PAGES * PAGE,
					 0));
	/* What a device has written is not cleared afterwards. */
	ASSERT_EQ(0, unmap(self, 0, MEM_PAGES));
	ASSERT_EQ(0, ftruncate(self->file, 0));
	ASSERT_EQ(0, ftruncate(self->file, MEM_PAGES * PAGE));
	ASSERT_EQ(0, fallocate(self->file, 0, 0, MEM_PAGES / 2 * PAGE));
	ASSERT_EQ(0, map_file(self, self->ioas, 0, MEM_PAGES));
	EXPECT_EQ(0, test_device_fill(&self->dev, ADDR(3), PAGE, MARK));
	EXPECT_EQ(0, test_device_fill(&self->dev, ADDR(30), PAGE, MARK));
	ASSERT_EQ(0, unmap(self, 0, MEM_PAGES));
	ASSERT_EQ(PAGE, pread(self->file, self->mem, PAGE, 3 * PAGE));
	EXPECT_TRUE(all_bytes(self->mem, PAGE, 0xa5));
	ASSERT_EQ(PAGE, pread(self->file, self->mem, PAGE, 30 * PAGE));
	EXPECT_TRUE(all_bytes(self->mem, PAGE, 0xa5));
	ASSERT_EQ(PAGE, pread(self->file, self->mem, PAGE, 4 * PAGE));
	EXPECT_TRUE(all_bytes(self->mem, PAGE, 0));
}

/* Parts of pages of a file, as far as the IOMMU's pages go */
TEST_F(limits, parts_of_files)
{
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(PAGE, pwrite(self->file, memset(self->mem, 0xa5, PAGE), PAGE,
			       2 * PAGE));
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->ioas, IOAS_RW, self->file,
				   2 * PAGE, ADDR(0), PAGE));
	EXPECT_EQ(0, test_device_compare(&self->dev, ADDR(0), PAGE, MARK));
	EXPECT_EQ(-EINVAL, ioas_map_file(self->iommu, self->ioas, IOAS_RW,
					 self->file, 2 * PAGE, ADDR(1), 512));
	/* Nobody is there to mind. */
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->other, IOAS_RW,
				   self->file, 2 * PAGE + 100, ADDR(0) + 10,
				   512));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->dev.fd, self->other));
	EXPECT_TRUE(charged(&self->begin, 1, 0));
}

TEST_HARNESS_MAIN
