// SPDX-License-Identifier: GPL-2.0-only
/*
 * In-kernel access to address spaces, as mediated devices use it: pins,
 * transfers, and letting go of memory that is unmapped. Needs the devices of
 * the ioasid_access_test module.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/iommu.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "access_utils.h"
#include "ioasid_utils.h"

#define MEM_PAGES	8

/* ---- the device ---- */

/* Whether the last dma_unmap() for a pin had a range around this one. */
static bool stat_hit(const struct ioasid_access_stat *stat, __u64 iova,
		     __u64 length)
{
	return stat->hit_iova <= iova && stat->hit_length &&
	       iova + length - 1 - stat->hit_iova <= stat->hit_length - 1;
}

static int open_bind(const char *cdev, int iommu, int *device, __u32 *dev_id)
{
	int rc;

	*device = vfio_open(cdev);
	if (*device < 0)
		return *device;
	rc = vfio_bind(*device, iommu, dev_id);
	if (rc) {
		close(*device);
		*device = -1;
	}
	return rc;
}

/* A device may still be held by a process that is just being killed. */
static int open_bind_wait(const char *cdev, int iommu, int *device,
			  __u32 *dev_id)
{
	int tries, rc = -EAGAIN;

	for (tries = 0; rc && tries < 100; tries++) {
		rc = open_bind(cdev, iommu, device, dev_id);
		if (rc)
			usleep(20000);
	}
	return rc;
}

/* ------------------------------------------------------------------------- */

FIXTURE(unattached) {
	char cdev[2][64];
	struct counts counts;
	int iommu;
	int device;
	__u32 dev_id;
	__u32 ioasid;
	char *mem;
};

FIXTURE_SETUP(unattached)
{
	const char *missing;

	self->iommu = -1;
	self->device = -1;
	missing = access_missing(self->cdev);
	if (missing)
		SKIP(return, "%s", missing);
	self->mem = mem_alloc(MEM_PAGES * page_size);
	ASSERT_NE(NULL, self->mem);
	COUNTS_BEGIN(&self->counts);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
}

FIXTURE_TEARDOWN(unattached)
{
	if (self->device >= 0)
		close(self->device);
	if (self->iommu < 0)
		return;
	close(self->iommu);
	COUNTS_END(&self->counts);
}

/* Mapping needs a device, and one without hardware will do. */
TEST_F(unattached, map_needs_device)
{
	EXPECT_EQ(-EPERM, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				     self->mem, TEST_IOVA, page_size));
	ASSERT_EQ(0, open_bind(self->cdev[0], self->iommu, &self->device,
			       &self->dev_id));
	EXPECT_LT(0, (int)self->dev_id);
	EXPECT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, page_size));
	EXPECT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, TEST_IOVA,
				  page_size, NULL));

	close(self->device);
	self->device = -1;
	EXPECT_EQ(-EPERM, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				     self->mem, TEST_IOVA, page_size));
}

TEST_F(unattached, identity)
{
	struct iommu_device_info info = {};

	ASSERT_EQ(0, open_bind(self->cdev[0], self->iommu, &self->device,
			       &self->dev_id));
	EXPECT_NE(self->ioasid, self->dev_id);
	EXPECT_EQ(-ENOENT, iommu_device_info(self->iommu, self->dev_id, &info));
	EXPECT_EQ(-ENOENT, ioasid_free(self->iommu, self->dev_id));
	EXPECT_EQ(-ENOENT, vfio_attach(self->device, self->dev_id));
}

TEST_F(unattached, access_fails)
{
	char byte = 1;

	ASSERT_EQ(0, open_bind(self->cdev[0], self->iommu, &self->device,
			       &self->dev_id));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, page_size));
	EXPECT_EQ(-ENOENT, access_pin(self->device, TEST_IOVA, page_size,
				      PIN_READ));
	EXPECT_EQ(-ENOENT, access_read(self->device, TEST_IOVA, &byte, 1));
	EXPECT_EQ(-ENOENT, access_write(self->device, TEST_IOVA, &byte, 1));

	ASSERT_EQ(0, vfio_attach(self->device, self->ioasid));
	EXPECT_EQ(0, access_write(self->device, TEST_IOVA, &byte, 1));
	ASSERT_EQ(0, vfio_detach(self->device));
	EXPECT_EQ(-ENOENT, access_write(self->device, TEST_IOVA, &byte, 1));
	/* VFIO takes a second one for done. */
	EXPECT_EQ(0, vfio_detach(self->device));
}

TEST_F(unattached, attach_errors)
{
	int other;
	__u32 elsewhere[2];

	ASSERT_EQ(0, open_bind(self->cdev[0], self->iommu, &self->device,
			       &self->dev_id));
	EXPECT_EQ(-ENOENT, vfio_attach(self->device, 0));
	EXPECT_EQ(-ENOENT, vfio_attach(self->device, INT_MAX));
	EXPECT_EQ(-ENOENT, vfio_attach(self->device, UINT_MAX));

	/* Identifiers mean nothing to another context. */
	other = iommu_open();
	ASSERT_LE(0, other);
	ASSERT_EQ(0, ioasid_alloc(other, &elsewhere[0]));
	do {
		ASSERT_EQ(0, ioasid_alloc(other, &elsewhere[1]));
	} while (elsewhere[1] <= self->dev_id ||
		 elsewhere[1] <= self->ioasid);
	EXPECT_EQ(-ENOENT, vfio_attach(self->device, elsewhere[1]));
	close(other);

	EXPECT_EQ(0, vfio_attach(self->device, self->ioasid));
}

/* The device file keeps the context alive. */
TEST_F(unattached, close_iommu_first)
{
	struct counts now;
	char byte = 0x5a;

	ASSERT_EQ(0, open_bind(self->cdev[0], self->iommu, &self->device,
			       &self->dev_id));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, MEM_PAGES * page_size));
	ASSERT_EQ(0, vfio_attach(self->device, self->ioasid));
	ASSERT_EQ(0, access_pin(self->device, TEST_IOVA, page_size, PIN_WRITE));
	close(self->iommu);

	EXPECT_EQ(0, access_write(self->device, TEST_IOVA + page_size, &byte,
				  1));
	EXPECT_EQ(0x5a, self->mem[page_size]);
	EXPECT_EQ(0, access_poke(self->device, TEST_IOVA, &byte, 1));
	EXPECT_EQ(0x5a, self->mem[0]);
	EXPECT_EQ(0, access_pin(self->device, TEST_IOVA + page_size, page_size,
				PIN_WRITE));

	close(self->device);
	self->device = -1;
	EXPECT_TRUE(counts_settle(&self->counts, &now));
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
}

/* A process that is killed leaves nothing behind, and its device is free. */
TEST_F(unattached, killed_with_pins)
{
	struct counts now;
	int fds[2], status, i;
	char byte = 0;
	pid_t child;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pipe(fds));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			bool ok = true;
			int iommu, device;
			__u32 id, ioasid;

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			iommu = iommu_open();
			ok = ok && iommu >= 0;
			ok = ok && !open_bind_wait(self->cdev[0], iommu,
						   &device, &id);
			ok = ok && !ioasid_alloc(iommu, &ioasid);
			ok = ok && !ioasid_map(iommu, ioasid, READ_WRITE,
					       self->mem, TEST_IOVA,
					       MEM_PAGES * page_size);
			ok = ok && !vfio_attach(device, ioasid);
			ok = ok && !access_pin(device, TEST_IOVA,
					       MEM_PAGES * page_size,
					       PIN_WRITE);
			ok = ok && !access_pin(device, TEST_IOVA, page_size,
					       PIN_READ);
			ok = ok && !access_policy(device,
						  IOASID_ACCESS_STUBBORN);
			byte = ok;
			if (write(fds[1], &byte, 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		close(fds[1]);
		ASSERT_EQ(1, read(fds[0], &byte, 1));
		close(fds[0]);
		EXPECT_EQ(1, byte);
		EXPECT_EQ(0, counts_read(&now));
		EXPECT_LT(self->counts.pins, now.pins);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}

	ASSERT_EQ(0, open_bind_wait(self->cdev[0], self->iommu, &self->device,
				    &self->dev_id));
	EXPECT_EQ(0, access_num_pins(self->device));
	EXPECT_TRUE(counts_settle(&self->counts, &now));
}

/* ------------------------------------------------------------------------- */

/* Where an IOASID shows the memory of a test. */
struct window {
	int iommu;
	__u32 ioasid;
	char *mem;
};

/* Two devices, the first one attached to the first IOASID. */
FIXTURE(access) {
	char cdev[2][64];
	struct counts counts;
	int iommu;
	int device;
	int second;
	__u32 dev_id;
	__u32 second_id;
	__u32 ioasid;
	__u32 other;
	struct window window;
	char *mem;
	char *buf;
};

FIXTURE_SETUP(access)
{
	const char *missing;

	self->iommu = -1;
	self->device = -1;
	self->second = -1;
	missing = access_missing(self->cdev);
	if (missing)
		SKIP(return, "%s", missing);
	self->mem = mem_alloc(MEM_PAGES * page_size);
	ASSERT_NE(NULL, self->mem);
	fill_pattern(self->mem, MEM_PAGES * page_size, 1);
	self->buf = malloc(MEM_PAGES * page_size);
	ASSERT_NE(NULL, self->buf);
	memset(self->buf, 0, MEM_PAGES * page_size);
	COUNTS_BEGIN(&self->counts);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->other));
	self->window.iommu = self->iommu;
	self->window.ioasid = self->ioasid;
	self->window.mem = self->mem;
	ASSERT_EQ(0, open_bind(self->cdev[0], self->iommu, &self->device,
			       &self->dev_id));
	ASSERT_EQ(0, open_bind(self->cdev[1], self->iommu, &self->second,
			       &self->second_id));
	ASSERT_EQ(0, vfio_attach(self->device, self->ioasid));
}

FIXTURE_TEARDOWN(access)
{
	if (self->device >= 0)
		close(self->device);
	if (self->second >= 0)
		close(self->second);
	if (self->iommu < 0)
		return;
	close(self->iommu);
	COUNTS_END(&self->counts);
}

/* The @page-th page of the first IOASID. */
static __u64 at(unsigned int page)
{
	return TEST_IOVA + page * page_size;
}

/* Maps pages of memory, by their number, to the same page of the IOASID. */
static int map_pages(const struct window *window, unsigned int from,
		     unsigned int num, __u32 prot)
{
	return ioasid_map(window->iommu, window->ioasid, prot,
			  window->mem + from * page_size, at(from),
			  num * page_size);
}

static int unmap_pages(const struct window *window, unsigned int from,
		       unsigned int num)
{
	return ioasid_unmap(window->iommu, window->ioasid, at(from),
			    num * page_size, NULL);
}

/* ---- the device itself ---- */

TEST_F(access, region)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info region = { .argsz = sizeof(region) };

	ASSERT_EQ(0, ioctl(self->device, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(1, info.num_regions);
	EXPECT_EQ(0, info.num_irqs);
	ASSERT_EQ(0, ioctl(self->device, VFIO_DEVICE_GET_REGION_INFO, &region));
	EXPECT_EQ(IOASID_ACCESS_REGION_SIZE, region.size);
	EXPECT_EQ(0, region.offset);
	region.index = 1;
	EXPECT_EQ(-1, ioctl(self->device, VFIO_DEVICE_GET_REGION_INFO,
			    &region));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(access, malformed)
{
	struct ioasid_access_cmd cmd = { .op = IOASID_ACCESS_STAT };
	const off_t end = IOASID_ACCESS_REGION_SIZE;
	char byte;
	int fd = self->device;

	ASSERT_EQ(0, mprotect(self->mem, page_size, PROT_NONE));
	EXPECT_EQ(sizeof(cmd), pwrite(fd, &cmd, sizeof(cmd), 0));
	EXPECT_EQ(-1, pwrite(fd, &cmd, sizeof(cmd), 8));
	EXPECT_EQ(-1, pwrite(fd, &cmd, sizeof(cmd), end));
	EXPECT_EQ(-1, pwrite(fd, &cmd, sizeof(cmd) - 1, 0));
	EXPECT_EQ(-1, pwrite(fd, self->mem, sizeof(cmd), 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pread(fd, &byte, 1, end));
	EXPECT_EQ(1, pread(fd, &byte, 1, end - 1));
	EXPECT_EQ(-1, pread(fd, self->mem, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pread(fd, self->buf, 2, end - 1));
	cmd.__reserved = 1;
	EXPECT_EQ(-1, pwrite(fd, &cmd, sizeof(cmd), 0));
	EXPECT_EQ(EINVAL, errno);

	EXPECT_EQ(-EINVAL, access_run(fd, 0, 0, 0, 0, 0, NULL));
	EXPECT_EQ(-EINVAL, access_run(fd, 0, 99, 0, 0, 0, NULL));
	EXPECT_EQ(-EINVAL, access_pin(fd, at(0), page_size, 0));
	EXPECT_EQ(-EINVAL, access_pin(fd, at(0), page_size, 4 | PIN_READ));
	EXPECT_EQ(-EINVAL, access_pin(fd, at(0), 0, PIN_READ));
	EXPECT_EQ(-EINVAL, access_pin(fd, at(0), 1, PIN_READ));
	EXPECT_EQ(-EINVAL, access_pin(fd, at(0) + 1, page_size, PIN_READ));
	EXPECT_EQ(-EINVAL, access_pin(fd, at(0), (IOASID_ACCESS_PIN_PAGES + 1) *
				      page_size, PIN_READ));
	EXPECT_EQ(-EINVAL, access_policy(fd, 2));
	EXPECT_EQ(-ENOENT, access_unpin(fd, at(0), page_size));
	EXPECT_EQ(-ENOENT, access_peek(fd, at(0), &byte, 1));
	EXPECT_EQ(-ENOENT, access_poke(fd, at(0), "", 1));
}

/* ---- transfers ---- */

TEST_F(access, transfer_bytes)
{
	size_t most = page_size < IOASID_ACCESS_MAX_DATA ?
		      page_size : IOASID_ACCESS_MAX_DATA;

	ASSERT_EQ(0, map_pages(&self->window, 0, 1, READ_WRITE));

	EXPECT_EQ(0, access_read(self->device, at(0), self->buf, most));
	EXPECT_TRUE(has_pattern(self->buf, most, 1));

	EXPECT_EQ(0, access_write(self->device, at(0) + 3, "seven", 5));
	EXPECT_EQ(0, memcmp(self->mem + 3, "seven", 5));
	EXPECT_EQ(0, access_write(self->device, at(1) - 1, "!", 1));
	EXPECT_EQ('!', self->mem[page_size - 1]);
	EXPECT_EQ(0, access_read(self->device, at(0) + 3, self->buf, 5));
	EXPECT_EQ(0, memcmp(self->buf, "seven", 5));

	/* What was not written is as it was. */
	memcpy(self->buf, "seven", 5);
	fill_pattern(self->buf, page_size, 1);
	memcpy(self->buf + 3, "seven", 5);
	self->buf[page_size - 1] = '!';
	EXPECT_EQ(0, memcmp(self->mem, self->buf, page_size));
}

/* Pages 0 to 2 of the IOASID show pages 2, 0 and 5 of the memory. */
TEST_F(access, transfer_across_mappings)
{
	const unsigned int source[] = { 2, 0, 5 };
	size_t length = page_size + 2 * 7;
	int i;

	if (length > IOASID_ACCESS_MAX_DATA)
		SKIP(return, "pages are too large for the device");
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
					self->mem + source[i] * page_size,
					at(i), page_size));

	fill_pattern(self->buf, length, 2);
	ASSERT_EQ(0, access_write(self->device, at(1) - 7, self->buf, length));
	EXPECT_EQ(0, memcmp(self->mem + 3 * page_size - 7, self->buf, 7));
	EXPECT_EQ(0, memcmp(self->mem, self->buf + 7, page_size));
	EXPECT_EQ(0, memcmp(self->mem + 5 * page_size,
			    self->buf + 7 + page_size, 7));

	memset(self->buf, 0, length);
	ASSERT_EQ(0, access_read(self->device, at(1) - 7, self->buf, length));
	EXPECT_TRUE(has_pattern(self->buf, length, 2));
}

TEST_F(access, transfer_errors)
{
	ASSERT_EQ(0, map_pages(&self->window, 1, 2, READ_WRITE));

	EXPECT_EQ(-EINVAL, access_read(self->device, at(1), self->buf, 0));
	EXPECT_EQ(-ENOENT, access_read(self->device, at(0), self->buf, 1));
	EXPECT_EQ(-ENOENT, access_read(self->device, at(3), self->buf, 1));
	EXPECT_EQ(-ENOENT, access_read(self->device, at(1) - 1, self->buf, 2));
	EXPECT_EQ(-ENOENT, access_read(self->device, at(3) - 1, self->buf, 2));
	EXPECT_EQ(-ENOENT, access_write(self->device, at(3), "a", 1));
	EXPECT_EQ(-ENOENT, access_read(self->device, ULONG_MAX, self->buf, 1));
	EXPECT_EQ(-EOVERFLOW, access_read(self->device, ULONG_MAX, self->buf,
					  2));
	EXPECT_EQ(-EOVERFLOW, access_write(self->device, ULONG_MAX - 3, "abcde",
					   5));

	/* A hole between two mappings */
	ASSERT_EQ(0, map_pages(&self->window, 4, 1, READ_WRITE));
	if (page_size + 2 <= IOASID_ACCESS_MAX_DATA)
		EXPECT_EQ(-ENOENT, access_read(self->device, at(3) - 1,
					       self->buf, page_size + 2));
}

/* Reading takes READ and writing takes WRITE. */
TEST_F(access, transfer_permissions)
{
	ASSERT_EQ(0, map_pages(&self->window, 0, 1, READ_ONLY));
	ASSERT_EQ(0, map_pages(&self->window, 1, 1, WRITE_ONLY));
	ASSERT_EQ(0, map_pages(&self->window, 2, 1, READ_WRITE));

	EXPECT_EQ(0, access_read(self->device, at(0), self->buf, 16));
	EXPECT_TRUE(has_pattern(self->buf, 16, 1));
	EXPECT_EQ(-EPERM, access_write(self->device, at(0), "abcd", 4));
	EXPECT_TRUE(has_pattern(self->mem, page_size, 1));

	EXPECT_EQ(-EPERM, access_read(self->device, at(1), self->buf, 1));
	EXPECT_EQ(0, access_write(self->device, at(1), "abcd", 4));
	EXPECT_EQ(0, memcmp(self->mem + page_size, "abcd", 4));

	/* Both ends of a transfer count. */
	EXPECT_EQ(-EPERM, access_read(self->device, at(1) - 1, self->buf, 2));
	EXPECT_EQ(-EPERM, access_read(self->device, at(2) - 1, self->buf, 2));
	EXPECT_EQ(0, access_write(self->device, at(2) - 1, "ab", 2));
}

/* Memory that its owner may not write cannot be written for him. */
TEST_F(access, protected_memory)
{
	ASSERT_EQ(0, mprotect(self->mem, page_size, PROT_READ));
	ASSERT_EQ(0, map_pages(&self->window, 0, 1, READ_WRITE));
	EXPECT_EQ(-EFAULT, access_pin(self->device, at(0), page_size,
				      PIN_WRITE));
	EXPECT_EQ(-EFAULT, access_write(self->device, at(0), "a", 1));
	EXPECT_TRUE(has_pattern(self->mem, page_size, 1));
	ASSERT_EQ(0, mprotect(self->mem, page_size, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, access_pin(self->device, at(0), page_size, PIN_WRITE));
	EXPECT_EQ(0, access_write(self->device, at(0), "a", 1));
	EXPECT_EQ('a', self->mem[0]);
}

/* A mapping of memory that is gone by the time of its first use. */
TEST_F(access, vanished_memory)
{
	ASSERT_EQ(0, map_pages(&self->window, 0, MEM_PAGES, READ_WRITE));
	ASSERT_EQ(0, munmap(self->mem + page_size, page_size));
	EXPECT_EQ(-EFAULT, access_pin(self->device, at(0),
				      MEM_PAGES * page_size, PIN_READ));
	EXPECT_EQ(-EFAULT, access_read(self->device, at(1), self->buf, 1));
	EXPECT_EQ(0, access_num_pins(self->device));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, MEM_PAGES));
}

/* Whoever asks the device, the memory is that of the process that mapped it. */
TEST_F(access, foreign_process)
{
	char expected[10];
	pid_t child;
	int status;

	ASSERT_EQ(0, map_pages(&self->window, 0, 3, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(0), page_size, PIN_WRITE));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		bool ok;

		memcpy(expected, self->mem + 2 * page_size + 10, 10);
		memset(self->mem, 0, 3 * page_size);
		ok = !access_poke(self->device, at(0), "poke", 4);
		ok = ok && !access_write(self->device, at(2) - 2, "write", 5);
		ok = ok && !access_read(self->device, at(2) + 10, self->buf,
					10);
		/* Nothing of that in the child's copy */
		ok = ok && all_bytes(self->mem, 3 * page_size, 0);
		ok = ok && !memcmp(self->buf, expected, 10);
		_exit(!ok);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, memcmp(self->mem, "poke", 4));
	EXPECT_EQ(0, memcmp(self->mem + 2 * page_size - 2, "write", 5));
}

/* The process that mapped is gone: its pins hold, its memory does not. */
TEST_F(access, departed_process)
{
	pid_t child;
	int status;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		bool ok;

		memcpy(self->mem, "mine", 4);
		ok = !map_pages(&self->window, 0, 1, READ_WRITE);
		ok = ok && !map_pages(&self->window, 1, 1, READ_WRITE);
		ok = ok && !access_pin(self->device, at(0), page_size,
				       PIN_WRITE);
		_exit(!ok);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_TRUE(has_pattern(self->mem, page_size, 1));
	EXPECT_EQ(0, access_peek(self->device, at(0), self->buf, 4));
	EXPECT_EQ(0, memcmp(self->buf, "mine", 4));
	EXPECT_EQ(0, access_poke(self->device, at(0), "ours", 4));
	EXPECT_TRUE(has_pattern(self->mem, page_size, 1));

	EXPECT_EQ(-EFAULT, access_pin(self->device, at(1), page_size,
				      PIN_READ));
	EXPECT_EQ(-EFAULT, access_read(self->device, at(1), self->buf, 1));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, 2));
	EXPECT_EQ(0, access_num_pins(self->device));
}

/* ---- pins ---- */

/* A pin gives the very pages that the process sees. */
TEST_F(access, pin_pages)
{
	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(1), 2 * page_size,
				PIN_READ | PIN_WRITE));

	EXPECT_EQ(0, access_peek(self->device, at(1), self->buf, 8));
	EXPECT_EQ(0, memcmp(self->buf, self->mem + page_size, 8));
	EXPECT_EQ(0, access_poke(self->device, at(2) - 2, "poke", 4));
	EXPECT_EQ(0, memcmp(self->mem + 2 * page_size - 2, "poke", 4));
	self->mem[3 * page_size - 1] = 0x42;
	EXPECT_EQ(0, access_peek(self->device, at(3) - 1, self->buf, 1));
	EXPECT_EQ(0x42, self->buf[0]);

	/* What is written without the pin is seen through it. */
	EXPECT_EQ(0, access_write(self->device, at(1) + 5, "xyz", 3));
	EXPECT_EQ(0, access_peek(self->device, at(1) + 5, self->buf, 3));
	EXPECT_EQ(0, memcmp(self->buf, "xyz", 3));

	EXPECT_EQ(-ENOENT, access_peek(self->device, at(1) - 1, self->buf, 1));
	EXPECT_EQ(-ENOENT, access_peek(self->device, at(3) - 1, self->buf, 2));
	EXPECT_EQ(-ENOENT, access_unpin(self->device, at(1), page_size));
	EXPECT_EQ(0, access_unpin(self->device, at(1), 2 * page_size));
	EXPECT_EQ(-ENOENT, access_peek(self->device, at(1), self->buf, 1));
}

TEST_F(access, pin_across_mappings)
{
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
					self->mem + (3 - i) * page_size, at(i),
					page_size));
	ASSERT_EQ(0, access_pin(self->device, at(0), 4 * page_size, PIN_WRITE));
	for (i = 0; i < 4; i++) {
		char byte = 'a' + i;

		EXPECT_EQ(0, access_poke(self->device, at(i), &byte, 1));
		EXPECT_EQ(byte, self->mem[(3 - i) * page_size]);
	}
	EXPECT_EQ(0, access_unpin(self->device, at(0), 4 * page_size));
}

/* A slice of a larger run of memory that was pinned by somebody before. */
TEST_F(access, pin_repeated)
{
	int i;

	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, access_pin(self->device, at(0), 4 * page_size,
					PIN_READ));
	EXPECT_EQ(0, access_pin(self->device, at(1), page_size, PIN_WRITE));
	EXPECT_EQ(0, access_pin(self->device, at(1), 2 * page_size, PIN_READ));
	EXPECT_EQ(5, access_num_pins(self->device));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, access_unpin(self->device, at(0), 4 * page_size));
	EXPECT_EQ(-ENOENT, access_unpin(self->device, at(0), 4 * page_size));
	EXPECT_EQ(0, access_poke(self->device, at(1), "z", 1));
	EXPECT_EQ('z', self->mem[page_size]);
	EXPECT_EQ(0, access_unpin(self->device, at(1), page_size));
	EXPECT_EQ(0, access_unpin(self->device, at(1), 2 * page_size));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, 4));
}

TEST_F(access, pin_errors)
{
	__u64 top = ~(__u64)page_size + 1;

	ASSERT_EQ(0, map_pages(&self->window, 1, 2, READ_WRITE));
	ASSERT_EQ(0, map_pages(&self->window, 4, 1, READ_ONLY));
	ASSERT_EQ(0, map_pages(&self->window, 5, 1, WRITE_ONLY));

	EXPECT_EQ(-ENOENT, access_pin(self->device, at(0), page_size,
				      PIN_READ));
	EXPECT_EQ(-ENOENT, access_pin(self->device, at(0), 2 * page_size,
				      PIN_READ));
	EXPECT_EQ(-ENOENT, access_pin(self->device, at(2), 2 * page_size,
				      PIN_READ));
	EXPECT_EQ(-ENOENT, access_pin(self->device, at(1), 4 * page_size,
				      PIN_READ));
	EXPECT_EQ(-ENOENT, access_pin(self->device, top, page_size, PIN_READ));
	EXPECT_EQ(-EOVERFLOW, access_pin(self->device, top, 2 * page_size,
					 PIN_READ));

	EXPECT_EQ(-EPERM, access_pin(self->device, at(4), page_size,
				     PIN_WRITE));
	EXPECT_EQ(-EPERM, access_pin(self->device, at(5), page_size,
				     PIN_READ));
	EXPECT_EQ(-EPERM, access_pin(self->device, at(4), 2 * page_size,
				     PIN_READ));
	EXPECT_EQ(-EPERM, access_pin(self->device, at(4), 2 * page_size,
				     PIN_WRITE));
	EXPECT_EQ(0, access_pin(self->device, at(4), page_size, PIN_READ));
	EXPECT_EQ(0, access_pin(self->device, at(5), page_size, PIN_WRITE));

	/* A pin that failed half-way does not hold its first half. */
	EXPECT_EQ(2, access_num_pins(self->device));
	EXPECT_EQ(0, access_stat_reset(self->device));
	EXPECT_EQ(0, unmap_pages(&self->window, 1, 2));
	EXPECT_EQ(2, access_num_pins(self->device));
}

TEST_F(access, pin_many)
{
	int i;

	ASSERT_EQ(0, map_pages(&self->window, 0, MEM_PAGES, READ_WRITE));
	for (i = 0; i < IOASID_ACCESS_NUM_PINS; i++)
		ASSERT_EQ(0, access_pin(self->device, at(i % MEM_PAGES),
					page_size, PIN_WRITE));
	EXPECT_EQ(-ENOSPC, access_pin(self->device, at(0), page_size,
				      PIN_WRITE));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, MEM_PAGES));
	EXPECT_EQ(0, access_num_pins(self->device));
}

/* Pins show in the accounts while they are there, and then no more. */
TEST_F(access, accounting)
{
	struct counts now;

	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	EXPECT_EQ(0, counts_read(&now));
	EXPECT_TRUE(counts_equal(&self->counts, &now));

	ASSERT_EQ(0, access_pin(self->device, at(0), page_size, PIN_WRITE));
	EXPECT_EQ(0, counts_read(&now));
	EXPECT_LT(self->counts.pins, now.pins);
	EXPECT_LT(self->counts.pinned, now.pinned);
	EXPECT_GE(self->counts.pinned + 4 * page_size, now.pinned);

	/* Memory is charged once, however often it is pinned. */
	ASSERT_EQ(0, access_pin(self->device, at(0), 4 * page_size, PIN_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(2), page_size, PIN_READ));
	ASSERT_EQ(0, vfio_attach(self->second, self->ioasid));
	ASSERT_EQ(0, access_pin(self->second, at(0), 4 * page_size, PIN_READ));
	EXPECT_EQ(0, counts_read(&now));
	EXPECT_EQ(self->counts.pinned + 4 * page_size, now.pinned);

	EXPECT_EQ(0, unmap_pages(&self->window, 0, 4));
	EXPECT_TRUE(counts_settle(&self->counts, &now));

	/* The same at the end of an attachment */
	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(0), 4 * page_size, PIN_WRITE));
	ASSERT_EQ(0, access_pin(self->second, at(1), page_size, PIN_WRITE));
	ASSERT_EQ(0, access_write(self->device, at(0), "a", 1));
	ASSERT_EQ(0, vfio_detach(self->device));
	EXPECT_EQ(0, access_num_pins(self->device));
	EXPECT_EQ(1, access_num_pins(self->second));
	EXPECT_EQ(0, access_poke(self->second, at(1), "b", 1));
	EXPECT_EQ('b', self->mem[page_size]);
	ASSERT_EQ(0, vfio_detach(self->second));
	EXPECT_TRUE(counts_settle(&self->counts, &now));
}

TEST_F(access, close_with_pins)
{
	struct counts now;

	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(0), 4 * page_size, PIN_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(0), page_size, PIN_READ));
	ASSERT_EQ(0, access_policy(self->device, IOASID_ACCESS_STUBBORN));
	close(self->device);
	EXPECT_TRUE(counts_settle(&self->counts, &now));

	/* The mapping is still there for the next one. */
	ASSERT_EQ(0, open_bind(self->cdev[0], self->iommu, &self->device,
			       &self->dev_id));
	EXPECT_EQ(0, access_num_pins(self->device));
	ASSERT_EQ(0, vfio_attach(self->device, self->ioasid));
	EXPECT_EQ(0, access_pin(self->device, at(0), 4 * page_size, PIN_WRITE));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, 4));
}

TEST_F(access, file)
{
	struct counts now;
	char *map;
	int fd;

	fd = memfd_create("ioasid-access", MFD_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 8 * page_size));
	map = mmap(NULL, 8 * page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   0);
	ASSERT_NE(MAP_FAILED, map);
	fill_pattern(map, 8 * page_size, 3);

	/* Two slices that are neighbours in the IOASID but not in the file */
	ASSERT_EQ(0, ioasid_map_file(self->iommu, self->ioasid, READ_WRITE, fd,
				     4 * page_size, at(0), 2 * page_size));
	ASSERT_EQ(0, ioasid_map_file(self->iommu, self->ioasid, READ_WRITE, fd,
				     page_size, at(2), page_size));
	ASSERT_EQ(0, ioasid_map_file(self->iommu, self->ioasid, READ_ONLY, fd,
				     7 * page_size, at(3), page_size));

	EXPECT_EQ(0, access_read(self->device, at(2) - 8, self->buf, 16));
	EXPECT_EQ(0, memcmp(self->buf, map + 6 * page_size - 8, 8));
	EXPECT_EQ(0, memcmp(self->buf + 8, map + page_size, 8));
	EXPECT_EQ(0, access_write(self->device, at(2) - 4, "acrossit", 8));
	EXPECT_EQ(0, memcmp(map + 6 * page_size - 4, "acro", 4));
	EXPECT_EQ(0, memcmp(map + page_size, "ssit", 4));

	EXPECT_EQ(-EPERM, access_pin(self->device, at(3), page_size,
				     PIN_WRITE));
	EXPECT_EQ(-EPERM, access_write(self->device, at(3), "a", 1));
	ASSERT_EQ(0, access_pin(self->device, at(0), 3 * page_size, PIN_WRITE));
	EXPECT_EQ(0, access_poke(self->device, at(1) - 2, "poke", 4));
	EXPECT_EQ(0, memcmp(map + 5 * page_size - 2, "poke", 4));
	EXPECT_EQ(0, access_poke(self->device, at(2) + 100, "poke", 4));
	EXPECT_EQ(0, memcmp(map + page_size + 100, "poke", 4));

	/* The file's memory outlives the file. */
	munmap(map, 8 * page_size);
	close(fd);
	EXPECT_EQ(0, access_read(self->device, at(2) + 100, self->buf, 4));
	EXPECT_EQ(0, memcmp(self->buf, "poke", 4));
	EXPECT_EQ(0, access_peek(self->device, at(0), self->buf, 4));

	EXPECT_EQ(0, unmap_pages(&self->window, 0, 4));
	EXPECT_EQ(0, access_num_pins(self->device));
	EXPECT_TRUE(counts_settle(&self->counts, &now));
}

/* ---- unmap ---- */

TEST_F(access, unmap_released)
{
	struct ioasid_access_stat stat;
	__u64 unmapped;

	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	ASSERT_EQ(0, map_pages(&self->window, 4, 1, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(1), 2 * page_size, PIN_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(4), page_size, PIN_WRITE));

	/* One that is over several mappings goes with the first of them. */
	ASSERT_EQ(0, access_pin(self->device, at(3), 2 * page_size, PIN_WRITE));

	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, at(0),
				  4 * page_size, &unmapped));
	EXPECT_EQ(4 * page_size, unmapped);
	ASSERT_EQ(0, access_stat(self->device, &stat));
	EXPECT_LE(1, stat.num_unmaps);
	EXPECT_EQ(2, stat.num_released);
	EXPECT_EQ(1, stat.num_pins);
	EXPECT_TRUE(stat_hit(&stat, at(1), 2 * page_size));
	EXPECT_EQ(0, access_poke(self->device, at(4), "a", 1));
	EXPECT_EQ('a', self->mem[4 * page_size]);
	EXPECT_EQ(-ENOENT, access_read(self->device, at(1), self->buf, 1));
	EXPECT_EQ(-ENOENT, access_pin(self->device, at(1), page_size,
				      PIN_READ));
	EXPECT_EQ(-ENOENT, access_peek(self->device, at(1), self->buf, 1));

	/* The range can be used again at once. */
	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	EXPECT_EQ(0, access_pin(self->device, at(1), 2 * page_size, PIN_WRITE));

	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, &unmapped));
	EXPECT_EQ(5 * page_size, unmapped);
	EXPECT_EQ(0, access_num_pins(self->device));
}

/* A device that is attached but has no pin there is no obstacle. */
TEST_F(access, unmap_without_pins)
{
	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	ASSERT_EQ(0, map_pages(&self->window, 4, 4, READ_WRITE));
	ASSERT_EQ(0, access_policy(self->device, IOASID_ACCESS_STUBBORN));
	ASSERT_EQ(0, access_write(self->device, at(0), "a", 1));
	ASSERT_EQ(0, access_pin(self->device, at(4), page_size, PIN_WRITE));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, 4));
	EXPECT_EQ(1, access_num_pins(self->device));
	ASSERT_EQ(0, access_unpin(self->device, at(4), page_size));
	EXPECT_EQ(0, unmap_pages(&self->window, 4, 4));
}

TEST_F(access, unmap_refused)
{
	struct ioasid_access_stat stat;
	__u64 unmapped;

	ASSERT_EQ(0, map_pages(&self->window, 0, 2, READ_WRITE));
	ASSERT_EQ(0, map_pages(&self->window, 2, 2, READ_WRITE));
	ASSERT_EQ(0, map_pages(&self->window, 4, 2, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(3), page_size, PIN_WRITE));
	ASSERT_EQ(0, access_policy(self->device, IOASID_ACCESS_STUBBORN));

	EXPECT_EQ(-EBUSY, unmap_pages(&self->window, 0, 6));
	ASSERT_EQ(0, access_stat(self->device, &stat));
	EXPECT_EQ(1, stat.num_pins);
	EXPECT_LE(1, stat.num_kept);
	EXPECT_EQ(0, stat.num_released);
	EXPECT_TRUE(stat_hit(&stat, at(3), page_size));

	/* Nothing was removed, and all works as before. */
	EXPECT_EQ(0, access_poke(self->device, at(3), "poke", 4));
	EXPECT_EQ(0, memcmp(self->mem + 3 * page_size, "poke", 4));
	EXPECT_EQ(0, access_write(self->device, at(2) - 2, "write", 5));
	EXPECT_EQ(0, memcmp(self->mem + 2 * page_size - 2, "write", 5));
	EXPECT_EQ(0, access_read(self->device, at(5), self->buf, 1));
	EXPECT_EQ(0, access_pin(self->device, at(0), 6 * page_size, PIN_WRITE));
	EXPECT_EQ(0, access_unpin(self->device, at(0), 6 * page_size));
	EXPECT_EQ(-EEXIST, map_pages(&self->window, 0, 2, READ_WRITE));

	/* It is no obstacle elsewhere. */
	EXPECT_EQ(0, unmap_pages(&self->window, 4, 2));
	EXPECT_EQ(0, map_pages(&self->window, 4, 2, READ_WRITE));

	ASSERT_EQ(0, access_policy(self->device, IOASID_ACCESS_RELEASE));
	EXPECT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, at(0),
				  6 * page_size, &unmapped));
	EXPECT_EQ(6 * page_size, unmapped);
	EXPECT_EQ(0, access_num_pins(self->device));
}

/* An UNMAP that is killed while a device holds on has removed nothing. */
TEST_F(access, unmap_killed)
{
	struct ioasid_access_stat stat = {};
	int status, tries, rc;
	pid_t pid;

	ASSERT_EQ(0, map_pages(&self->window, 0, 2, READ_WRITE));
	ASSERT_EQ(0, map_pages(&self->window, 2, 2, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(1), page_size, PIN_WRITE));
	ASSERT_EQ(0, access_policy(self->device, IOASID_ACCESS_STUBBORN));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		unmap_pages(&self->window, 0, 4);
		_exit(0);
	}
	for (tries = 0; !stat.num_kept && tries < 10000; tries++)
		ASSERT_EQ(0, access_stat(self->device, &stat));
	rc = access_pin(self->device, at(0), page_size, PIN_READ);
	if (!rc)
		ASSERT_EQ(0, access_unpin(self->device, at(0), page_size));
	/* It waits for half a second; on a busy machine that may be over. */
	if (!waitpid(pid, &status, WNOHANG)) {
		/* Nobody may come to where the device is to go. */
		EXPECT_EQ(-EINVAL, rc);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
	}

	EXPECT_EQ(-EEXIST, map_pages(&self->window, 0, 1, READ_WRITE));
	EXPECT_EQ(-EEXIST, map_pages(&self->window, 2, 1, READ_WRITE));
	EXPECT_EQ(0, access_poke(self->device, at(1), "poke", 4));
	EXPECT_EQ(0, access_pin(self->device, at(0), 4 * page_size, PIN_READ));
	EXPECT_EQ(0, access_unpin(self->device, at(0), 4 * page_size));
	ASSERT_EQ(0, access_policy(self->device, IOASID_ACCESS_RELEASE));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, 4));
}

/* All devices are asked, and each can refuse. */
TEST_F(access, unmap_two_devices)
{
	struct ioasid_access_stat stat;

	ASSERT_EQ(0, vfio_attach(self->second, self->ioasid));
	ASSERT_EQ(0, map_pages(&self->window, 0, 2, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(0), page_size, PIN_WRITE));
	ASSERT_EQ(0, access_pin(self->second, at(0), page_size, PIN_WRITE));
	ASSERT_EQ(0, access_policy(self->second, IOASID_ACCESS_STUBBORN));
	EXPECT_EQ(-EBUSY, unmap_pages(&self->window, 0, 2));
	EXPECT_EQ(1, access_num_pins(self->second));
	EXPECT_EQ(0, access_poke(self->second, at(0), "a", 1));
	EXPECT_EQ('a', self->mem[0]);

	ASSERT_EQ(0, access_policy(self->second, IOASID_ACCESS_RELEASE));
	EXPECT_EQ(0, access_pin(self->device, at(1), page_size, PIN_WRITE));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, 2));
	EXPECT_EQ(0, access_num_pins(self->device));
	EXPECT_EQ(0, access_num_pins(self->second));
	ASSERT_EQ(0, access_stat(self->second, &stat));
	EXPECT_EQ(1, stat.num_released);
}

struct late_unpin {
	int device;
	int rc;
};

static void *late_unpin(void *arg)
{
	struct late_unpin *late = arg;

	usleep(10000);
	late->rc = access_unpin(late->device, at(0), page_size);
	return NULL;
}

/* Letting go a little late is a refusal, or it is not. */
TEST_F(access, unmap_late_release)
{
	struct late_unpin late = { .device = self->device };
	pthread_t thread;
	int i, rc;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, map_pages(&self->window, 0, 2, READ_WRITE));
		ASSERT_EQ(0, access_pin(self->device, at(0), page_size,
					PIN_WRITE));
		ASSERT_EQ(0, access_policy(self->device,
					   IOASID_ACCESS_STUBBORN));
		ASSERT_EQ(0, pthread_create(&thread, NULL, late_unpin, &late));
		rc = unmap_pages(&self->window, 0, 2);
		EXPECT_TRUE(!rc || rc == -EBUSY);
		pthread_join(thread, NULL);
		EXPECT_EQ(0, late.rc);
		EXPECT_EQ(0, unmap_pages(&self->window, 0, 2));
	}
}

/* ---- attachments ---- */

/* What GET_INFO says, without the ranges. */
static int fresh_info(int iommu, __u32 ioasid, struct iommu_ioasid_info *info)
{
	memset(info, 0, sizeof(*info));
	return ioasid_info(iommu, ioasid, info);
}

TEST_F(access, info)
{
	struct iommu_ioasid_info info = {};

	ASSERT_EQ(0, fresh_info(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_accesses);
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(page_size, info.alignment);
	ASSERT_EQ(0, vfio_attach(self->second, self->ioasid));
	ASSERT_EQ(0, fresh_info(self->iommu, self->ioasid, &info));
	EXPECT_EQ(2, info.num_accesses);
	ASSERT_EQ(0, vfio_attach(self->second, self->other));
	ASSERT_EQ(0, fresh_info(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_accesses);
	ASSERT_EQ(0, fresh_info(self->iommu, self->other, &info));
	EXPECT_EQ(1, info.num_accesses);
	ASSERT_EQ(0, vfio_detach(self->second));
	ASSERT_EQ(0, fresh_info(self->iommu, self->other, &info));
	EXPECT_EQ(0, info.num_accesses);

	ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
	ASSERT_EQ(0, map_pages(&self->window, 4, 1, READ_WRITE));
	ASSERT_EQ(0, fresh_info(self->iommu, self->ioasid, &info));
	EXPECT_EQ(2, info.num_mappings);
	EXPECT_EQ(5 * page_size, info.mapped_bytes);
	EXPECT_EQ(0, info.pinned_bytes);
	ASSERT_EQ(0, access_pin(self->device, at(0), page_size, PIN_WRITE));
	ASSERT_EQ(0, fresh_info(self->iommu, self->ioasid, &info));
	EXPECT_LE(page_size, info.pinned_bytes);
	EXPECT_GE(4 * page_size, info.pinned_bytes);
	close(self->device);
	self->device = -1;
	ASSERT_EQ(0, fresh_info(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_accesses);
	EXPECT_EQ(0, info.pinned_bytes);
	EXPECT_EQ(2, info.num_mappings);
}

TEST_F(access, free_attached)
{
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioasid));
	ASSERT_EQ(0, map_pages(&self->window, 0, 1, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(0), page_size, PIN_WRITE));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioasid));
	EXPECT_EQ(0, access_poke(self->device, at(0), "a", 1));
	EXPECT_EQ('a', self->mem[0]);
	ASSERT_EQ(0, vfio_detach(self->device));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
	EXPECT_EQ(-ENOENT, vfio_attach(self->device, self->ioasid));
}

TEST_F(access, replace_with_pins)
{
	struct ioasid_access_stat stat;

	ASSERT_EQ(0, map_pages(&self->window, 0, 2, READ_WRITE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->other, READ_WRITE,
				self->mem + 4 * page_size, at(0), page_size));
	ASSERT_EQ(0, access_pin(self->device, at(0), 2 * page_size, PIN_WRITE));

	/* The same one again is nothing new. */
	ASSERT_EQ(0, vfio_attach(self->device, self->ioasid));
	EXPECT_EQ(1, access_num_pins(self->device));

	/* One that cannot be attached changes nothing. */
	EXPECT_EQ(-ENOENT, vfio_attach(self->device, INT_MAX));
	EXPECT_EQ(1, access_num_pins(self->device));
	EXPECT_EQ(0, access_write(self->device, at(0), "one", 3));
	EXPECT_EQ(0, memcmp(self->mem, "one", 3));

	/* Even a stubborn device loses its pins with the address space. */
	ASSERT_EQ(0, access_policy(self->device, IOASID_ACCESS_STUBBORN));
	ASSERT_EQ(0, vfio_attach(self->device, self->other));
	ASSERT_EQ(0, access_stat(self->device, &stat));
	EXPECT_EQ(0, stat.num_pins);
	EXPECT_EQ(1, stat.num_released);
	EXPECT_TRUE(stat_hit(&stat, at(0), 2 * page_size));

	EXPECT_EQ(0, access_write(self->device, at(0), "two", 3));
	EXPECT_EQ(0, memcmp(self->mem, "one", 3));
	EXPECT_EQ(0, memcmp(self->mem + 4 * page_size, "two", 3));
	EXPECT_EQ(-ENOENT, access_read(self->device, at(1), self->buf, 1));
	EXPECT_EQ(0, access_pin(self->device, at(0), page_size, PIN_WRITE));
	EXPECT_EQ(0, access_poke(self->device, at(0), "pin", 3));
	EXPECT_EQ(0, memcmp(self->mem + 4 * page_size, "pin", 3));

	EXPECT_EQ(0, unmap_pages(&self->window, 0, 2));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
	EXPECT_EQ(1, access_num_pins(self->device));
	ASSERT_EQ(0, vfio_detach(self->device));
	EXPECT_EQ(0, access_num_pins(self->device));
}

/* Two devices in one address space, one of which goes. */
TEST_F(access, replace_one_of_two)
{
	ASSERT_EQ(0, vfio_attach(self->second, self->ioasid));
	ASSERT_EQ(0, map_pages(&self->window, 0, 2, READ_WRITE));
	ASSERT_EQ(0, access_pin(self->device, at(0), 2 * page_size, PIN_WRITE));
	ASSERT_EQ(0, access_pin(self->second, at(0), 2 * page_size, PIN_WRITE));
	ASSERT_EQ(0, vfio_attach(self->device, self->other));
	EXPECT_EQ(0, access_num_pins(self->device));
	EXPECT_EQ(1, access_num_pins(self->second));
	EXPECT_EQ(0, access_poke(self->second, at(0), "a", 1));
	EXPECT_EQ('a', self->mem[0]);
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioasid));
	EXPECT_EQ(0, unmap_pages(&self->window, 0, 2));
	EXPECT_EQ(0, access_num_pins(self->second));
}

/* ---- races ---- */

#define RACE_SECONDS	2.0
#define RACE_PATIENCE	30.0
#define RACE_THREADS	5

/*
 * What the threads of a race share. @bad is the first result that must not be,
 * @bad_in the thread that has got it.
 */
struct race {
	int iommu;
	int device[2];
	__u32 ioasid[2];
	char *mem;
	double end;
	unsigned int num_threads;
	int bad;
	const char *bad_in;
	unsigned long done[RACE_THREADS];
};

struct race_thread {
	struct race *race;
	unsigned int number;
	pthread_t thread;
};

static void race_bad(struct race *race, const char *where, int rc)
{
	int none = 0;

	if (__atomic_compare_exchange_n(&race->bad, &none, rc, false,
					__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		race->bad_in = where;
}

/* What an access may say while mappings and attachments come and go. */
static bool race_may_fail(int rc)
{
	return rc == -ENOENT || rc == -EINVAL || rc == -EBUSY;
}

/* On a busy machine, two seconds may not be enough for everybody to get through. */
static bool race_goes_on(struct race *race)
{
	double late = seconds() - race->end;
	bool all = true;
	unsigned int i;

	for (i = 0; i < race->num_threads; i++)
		all &= __atomic_load_n(&race->done[i], __ATOMIC_RELAXED) > 0;
	return (late < 0 || (!all && late < RACE_PATIENCE)) &&
	       !__atomic_load_n(&race->bad, __ATOMIC_RELAXED);
}

/* Maps and unmaps in one IOASID. */
static void *race_map(void *arg)
{
	struct race_thread *self = arg;
	struct race *race = self->race;
	int rc;

	while (race_goes_on(race)) {
		rc = ioasid_map(race->iommu, race->ioasid[0], READ_WRITE,
				race->mem, at(0), 2 * page_size);
		if (rc)
			race_bad(race, "map", rc);
		rc = ioasid_map(race->iommu, race->ioasid[0], READ_WRITE,
				race->mem + 2 * page_size, at(2),
				2 * page_size);
		if (rc)
			race_bad(race, "second map", rc);
		rc = ioasid_unmap(race->iommu, race->ioasid[0], at(0),
				  4 * page_size, NULL);
		if (rc)
			race_bad(race, "unmap", rc);
		race->done[self->number]++;
	}
	return NULL;
}

/* Pins, looks and lets go on the first device, which stays attached. */
static void *race_pin(void *arg)
{
	struct race_thread *self = arg;
	struct race *race = self->race;
	unsigned int slot = self->number;
	int device = race->device[0];
	__u64 iova = at(self->number % 3);
	char byte = slot;
	int rc;

	while (race_goes_on(race)) {
		rc = access_run(device, slot, IOASID_ACCESS_PIN, PIN_WRITE,
				iova, 2 * page_size, NULL);
		if (rc) {
			if (!race_may_fail(rc))
				race_bad(race, "pin", rc);
			continue;
		}
		rc = access_run(device, slot, IOASID_ACCESS_POKE, 0,
				iova + 256, 1, &byte);
		if (rc && rc != -ENOENT)
			race_bad(race, "poke", rc);
		rc = access_run(device, slot, IOASID_ACCESS_UNPIN, 0, iova,
				2 * page_size, NULL);
		if (rc && rc != -ENOENT)
			race_bad(race, "unpin", rc);
		race->done[self->number]++;
	}
	return NULL;
}

/* Writes a number that nobody else writes, and looks whether it is there. */
static void *race_transfer(void *arg)
{
	struct race_thread *self = arg;
	struct race *race = self->race;
	unsigned int slot = self->number;
	int device = race->device[0];
	size_t offset = 2 * page_size - 4;
	__u64 stamp = 1, back;
	int rc;

	for (; race_goes_on(race); stamp++) {
		rc = access_run(device, slot, IOASID_ACCESS_WRITE, 0,
				at(0) + offset, sizeof(stamp), &stamp);
		if (rc) {
			if (!race_may_fail(rc))
				race_bad(race, "write", rc);
			continue;
		}
		memcpy(&back, race->mem + offset, sizeof(back));
		if (back != stamp)
			race_bad(race, "written data", -EIO);
		rc = access_run(device, slot, IOASID_ACCESS_READ, 0,
				at(0) + offset, sizeof(back), &back);
		if (rc && !race_may_fail(rc))
			race_bad(race, "read", rc);
		if (!rc && back != stamp)
			race_bad(race, "read data", -EIO);
		race->done[self->number]++;
	}
	return NULL;
}

/* Moves the second device around, while others use it. */
static void *race_attach(void *arg)
{
	struct race_thread *self = arg;
	struct race *race = self->race;
	int device = race->device[1];
	unsigned int slot = self->number;
	char byte = slot;
	int rc, i;

	while (race_goes_on(race)) {
		for (i = 0; i < 2; i++) {
			rc = vfio_attach(device, race->ioasid[i]);
			if (rc)
				race_bad(race, "attach", rc);
			rc = access_run(device, slot, IOASID_ACCESS_PIN,
					PIN_WRITE, at(1), page_size, NULL);
			if (rc && !race_may_fail(rc))
				race_bad(race, "pin after attach", rc);
			rc = access_run(device, slot, IOASID_ACCESS_POKE, 0,
					at(1) + 64, 1, &byte);
			if (rc && rc != -ENOENT)
				race_bad(race, "poke after attach", rc);
		}
		rc = vfio_detach(device);
		if (rc)
			race_bad(race, "detach", rc);
		race->done[self->number]++;
	}
	return NULL;
}

static void *race_second(void *arg)
{
	struct race_thread *self = arg;
	struct race *race = self->race;
	unsigned int slot = self->number;
	int device = race->device[1];
	char byte = slot;
	int rc;

	while (race_goes_on(race)) {
		rc = access_run(device, slot, IOASID_ACCESS_PIN, PIN_WRITE,
				at(0), 2 * page_size, NULL);
		if (rc && !race_may_fail(rc))
			race_bad(race, "pin of second device", rc);
		rc = access_run(device, slot, IOASID_ACCESS_UNPIN, 0, at(0),
				2 * page_size, NULL);
		if (rc && rc != -ENOENT)
			race_bad(race, "unpin of second device", rc);
		rc = access_run(device, slot, IOASID_ACCESS_WRITE, 0,
				at(0) + 128, 1, &byte);
		if (rc && !race_may_fail(rc))
			race_bad(race, "write of second device", rc);
		race->done[self->number]++;
	}
	return NULL;
}

static void race_run(struct __test_metadata *_metadata, struct race *race,
		     void *(*const *functions)(void *), unsigned int num)
{
	struct race_thread threads[RACE_THREADS];
	unsigned int i;

	race->end = seconds() + RACE_SECONDS;
	race->num_threads = num;
	for (i = 0; i < num; i++) {
		threads[i].race = race;
		threads[i].number = i;
		ASSERT_EQ(0, pthread_create(&threads[i].thread, NULL,
					    functions[i], &threads[i]));
	}
	for (i = 0; i < num; i++) {
		pthread_join(threads[i].thread, NULL);
		EXPECT_LT(0, race->done[i])
			TH_LOG("thread %u has never got through", i);
	}
	EXPECT_EQ(0, race->bad)
		TH_LOG("%s: %s", race->bad_in, strerror(-race->bad));
}

TEST_F_TIMEOUT(access, race_with_unmap, 120)
{
	void *(*const functions[])(void *) = {
		race_map, race_pin, race_pin, race_transfer,
	};
	struct race race = {
		.iommu = self->iommu,
		.device = { self->device, self->second },
		.ioasid = { self->ioasid, self->other },
		.mem = self->mem,
	};

	race_run(_metadata, &race, functions, 4);
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(0, access_num_pins(self->device));
}

TEST_F_TIMEOUT(access, race_with_attach, 120)
{
	void *(*const functions[])(void *) = {
		race_map, race_pin, race_transfer, race_attach, race_second,
	};
	struct race race = {
		.iommu = self->iommu,
		.device = { self->device, self->second },
		.ioasid = { self->ioasid, self->other },
		.mem = self->mem,
	};

	ASSERT_EQ(0, ioasid_map(self->iommu, self->other, READ_WRITE,
				self->mem + 4 * page_size, at(0),
				4 * page_size));
	race_run(_metadata, &race, functions, 5);
	EXPECT_EQ(0, vfio_detach(self->second));
	EXPECT_EQ(0, access_num_pins(self->second));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->other));
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(0, access_num_pins(self->device));
}

/* The last reference to a device goes while its memory is being unmapped. */
TEST_F_TIMEOUT(access, race_with_close, 120)
{
	double end = seconds() + RACE_SECONDS;
	unsigned long rounds;

	for (rounds = 0; seconds() < end; rounds++) {
		pid_t child;
		int status;

		ASSERT_EQ(0, vfio_attach(self->second, self->ioasid));
		ASSERT_EQ(0, map_pages(&self->window, 0, 4, READ_WRITE));
		ASSERT_EQ(0, access_pin(self->second, at(0), 4 * page_size,
					PIN_WRITE));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			usleep(rounds % 16 * 250);
			_exit(0);
		}
		close(self->second);
		EXPECT_EQ(0, unmap_pages(&self->window, 0, 4));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_EQ(0, open_bind_wait(self->cdev[1], self->iommu,
					    &self->second, &self->second_id));
	}
	EXPECT_LT(0, rounds);
}

TEST_HARNESS_MAIN
