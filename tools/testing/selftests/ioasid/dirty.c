// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty tracking: what in-kernel users and devices write is reported, and is
 * reported once; nothing is lost, whatever happens meanwhile. Writes of devices
 * need the test IOMMU, no emulated one tracks them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "access_utils.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

/* As many as a word of a bitmap has bits */
#define MEM_PAGES	64
#define MEM_SIZE	(MEM_PAGES * PAGE)
#define ALL_PAGES	(~0ULL)
#define BIT(n)		(1ULL << (n))
#define ADDR(n)		(TEST_IOVA + (n) * PAGE)

/* What one page of a bitmap can report */
#define SPAN		(PAGE * 8 * PAGE)

#define NO_CLEAR	IOMMU_DIRTY_GET_NO_CLEAR

/* The 64 pages from TEST_IOVA on; a negative errno looks like all of them. */
static __u64 get_pages(int iommu, __u32 ioasid, __u32 flags)
{
	__u64 bits = 0x5555555555555555ULL;

	if (dirty_get(iommu, ioasid, flags, TEST_IOVA, MEM_SIZE, PAGE, &bits))
		return ALL_PAGES;
	return bits;
}

static __u32 state_of(int iommu, __u32 ioasid)
{
	struct iommu_ioasid_info info;

	return ioasid_totals(iommu, ioasid, &info) ? ~0U : info.state;
}

/* ---- a bitmap that goes away while it is being written ---- */

#define TRAP_PAGES	3

/*
 * Who writes to the last page of @mem waits until page @victim of it has become
 * inaccessible. The kernel writes a bitmap from its beginning on, twice.
 */
struct trap {
	char *mem;
	int victim;
	int uffd;
	pthread_t thread;
	bool sprung;
};

static void *trap_thread(void *arg)
{
	struct trap *trap = arg;
	struct pollfd pollfd = { .fd = trap->uffd, .events = POLLIN };
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)trap->mem + (TRAP_PAGES - 1) * PAGE,
		.range.len = PAGE,
	};
	struct uffd_msg msg;

	if (poll(&pollfd, 1, 10000) != 1 ||
	    read(trap->uffd, &msg, sizeof(msg)) != sizeof(msg))
		return NULL;
	trap->sprung = !mprotect(trap->mem + trap->victim * PAGE, PAGE,
				 PROT_NONE);
	if (ioctl(trap->uffd, UFFDIO_ZEROPAGE, &zero))
		trap->sprung = false;
	return NULL;
}

static int trap_set(struct trap *trap, int victim)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	trap->victim = victim;
	trap->sprung = false;
	trap->mem = mem_alloc(TRAP_PAGES * PAGE);
	trap->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (!trap->mem || trap->uffd < 0)
		return -errno;
	reg.range.start = (uintptr_t)trap->mem + (TRAP_PAGES - 1) * PAGE;
	reg.range.len = PAGE;
	if (ioctl(trap->uffd, UFFDIO_API, &api) ||
	    ioctl(trap->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return pthread_create(&trap->thread, NULL, trap_thread, trap);
}

/* Return: whether it has caught somebody. */
static bool trap_end(struct trap *trap)
{
	pthread_join(trap->thread, NULL);
	close(trap->uffd);
	munmap(trap->mem, TRAP_PAGES * PAGE);
	return trap->sprung;
}

/* ---- what in-kernel users write ---- */

FIXTURE(access) {
	int iommu;
	int device;
	__u32 ioasid;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(access)
{
	self->mem = mem_alloc(MEM_SIZE);
	ASSERT_NE(NULL, self->mem);
	COUNTS_BEGIN(&self->counts);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &self->ioasid));
	self->device = access_open(self->iommu, self->ioasid);
	if (self->device == -ENODEV)
		SKIP(return, "no access test device");
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, MEM_SIZE));
}

FIXTURE_TEARDOWN(access)
{
	close(self->device);
	close(self->iommu);
	COUNTS_END(&self->counts);
}

static int start(struct _test_data_access *self)
{
	return dirty_start(self->iommu, self->ioasid);
}

static int stop(struct _test_data_access *self)
{
	return dirty_stop(self->iommu, self->ioasid);
}

static __u64 get(struct _test_data_access *self, __u32 flags)
{
	return get_pages(self->iommu, self->ioasid, flags);
}

static int write_bytes(struct _test_data_access *self, __u64 iova, size_t n)
{
	char bytes[64] = "written";

	return access_write(self->device, iova, bytes, n);
}

static int get_at(struct _test_data_access *self, __u64 iova, __u64 length,
		  __u64 size, void *bitmap)
{
	return dirty_get(self->iommu, self->ioasid, 0, iova, length, size,
			 bitmap);
}

TEST_F(access, state)
{
	char path[64], text[2048];
	__u32 other;

	EXPECT_EQ(IOMMU_IOASID_STATE_DIRTY, state_of(self->iommu, self->ioasid));
	ASSERT_EQ(0, start(self));
	EXPECT_EQ(IOMMU_IOASID_STATE_DIRTY | IOMMU_IOASID_STATE_TRACKING,
		  state_of(self->iommu, self->ioasid));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->iommu);
	ASSERT_LT(0, file_read(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, " dirty on\n"));
	ASSERT_EQ(0, stop(self));
	EXPECT_EQ(IOMMU_IOASID_STATE_DIRTY, state_of(self->iommu, self->ioasid));
	ASSERT_LT(0, file_read(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, " dirty off\n"));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	EXPECT_EQ(0, state_of(self->iommu, other));
}

#define TRACING "/sys/kernel/tracing"

TEST_F(access, tracepoints)
{
	static char text[65536];
	char line[128];

	if (access(TRACING "/trace", F_OK))
		SKIP(return, "tracefs is not mounted");
	close(open(TRACING "/trace", O_WRONLY | O_TRUNC));
	ASSERT_EQ(0, file_write(TRACING "/events/ioasid/enable", "1"));
	EXPECT_EQ(0, start(self));
	EXPECT_EQ(0, get(self, 0));
	EXPECT_EQ(0, stop(self));
	ASSERT_EQ(0, file_write(TRACING "/events/ioasid/enable", "0"));
	ASSERT_LT(0, file_read(TRACING "/trace", text, sizeof(text)));
	snprintf(line, sizeof(line), "ioasid_dirty_track: ioasid=%u on=1 result=0",
		 self->ioasid);
	EXPECT_NE(NULL, strstr(text, line));
	snprintf(line, sizeof(line), "ioasid_dirty_get: ioasid=%u first=0x%llx",
		 self->ioasid, TEST_IOVA);
	EXPECT_NE(NULL, strstr(text, line));
	snprintf(line, sizeof(line), "ioasid_dirty_track: ioasid=%u on=0 result=0",
		 self->ioasid);
	EXPECT_NE(NULL, strstr(text, line));
}

TEST_F(access, writes)
{
	char bytes[64];

	/* What was before START does not count. */
	ASSERT_EQ(0, write_bytes(self, ADDR(1), 64));
	ASSERT_EQ(0, start(self));
	EXPECT_EQ(0, get(self, 0));

	ASSERT_EQ(0, write_bytes(self, ADDR(3), 1));
	ASSERT_EQ(0, write_bytes(self, ADDR(10) - 1, 2));
	ASSERT_EQ(0, write_bytes(self, ADDR(63) + 100, 64));
	ASSERT_EQ(0, access_read(self->device, ADDR(20), bytes, 64));
	EXPECT_EQ(BIT(3) | BIT(9) | BIT(10) | BIT(63), get(self, NO_CLEAR));
	EXPECT_EQ(BIT(3) | BIT(9) | BIT(10) | BIT(63), get(self, NO_CLEAR));
	EXPECT_EQ(BIT(3) | BIT(9) | BIT(10) | BIT(63), get(self, 0));
	EXPECT_EQ(0, get(self, 0));
	ASSERT_EQ(0, write_bytes(self, ADDR(3), 1));
	EXPECT_EQ(BIT(3), get(self, 0));
}

TEST_F(access, pinned_pages)
{
	ASSERT_EQ(0, access_pin(self->device, ADDR(7), PAGE, PIN_WRITE));
	ASSERT_EQ(0, start(self));
	/* Nobody says when they are written. */
	EXPECT_EQ(BIT(7), get(self, 0));
	EXPECT_EQ(BIT(7), get(self, 0));
	ASSERT_EQ(0, access_pin(self->device, ADDR(8), 2 * PAGE, PIN_READ));
	ASSERT_EQ(0, access_pin(self->device, ADDR(7), PAGE, PIN_READ));
	EXPECT_EQ(BIT(7) | BIT(8) | BIT(9), get(self, 0));
	EXPECT_EQ(BIT(7) | BIT(8) | BIT(9), get(self, NO_CLEAR));

	/* Not all before the last one has let go, and then once more. */
	ASSERT_EQ(0, access_unpin(self->device, ADDR(7), PAGE));
	EXPECT_EQ(BIT(7) | BIT(8) | BIT(9), get(self, 0));
	EXPECT_EQ(BIT(7) | BIT(8) | BIT(9), get(self, 0));
	ASSERT_EQ(0, access_unpin(self->device, ADDR(7), PAGE));
	ASSERT_EQ(0, access_unpin(self->device, ADDR(8), 2 * PAGE));
	EXPECT_EQ(BIT(7) | BIT(8) | BIT(9), get(self, 0));
	EXPECT_EQ(0, get(self, 0));

	/* A pin that ends with its device. */
	ASSERT_EQ(0, access_pin(self->device, ADDR(1), PAGE, PIN_WRITE));
	ASSERT_EQ(0, vfio_detach(self->device));
	EXPECT_EQ(BIT(1), get(self, 0));
	EXPECT_EQ(0, get(self, 0));
}

/* Nobody can write where devices cannot. */
TEST_F(access, pinned_read_only)
{
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_ONLY, self->mem,
				TEST_IOVA, MEM_SIZE));
	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, access_pin(self->device, ADDR(7), PAGE, PIN_READ));
	EXPECT_EQ(0, get(self, 0));
	ASSERT_EQ(0, access_unpin(self->device, ADDR(7), PAGE));
	EXPECT_EQ(0, get(self, 0));
}

TEST_F(access, start_and_stop)
{
	__u64 bits;

	EXPECT_EQ(0, stop(self));
	EXPECT_EQ(-EINVAL, get_at(self, TEST_IOVA, MEM_SIZE, PAGE, &bits));
	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	/* Once more changes nothing. */
	ASSERT_EQ(0, start(self));
	EXPECT_EQ(BIT(5), get(self, NO_CLEAR));
	ASSERT_EQ(0, stop(self));
	EXPECT_EQ(-EINVAL, get_at(self, TEST_IOVA, MEM_SIZE, PAGE, &bits));
	EXPECT_EQ(0, stop(self));
	ASSERT_EQ(0, start(self));
	EXPECT_EQ(0, get(self, 0));
}

TEST_F(access, mapped_while_tracking)
{
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, start(self));
	EXPECT_EQ(0, get(self, 0));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, 8 * PAGE));
	EXPECT_EQ(0, get(self, 0));
	ASSERT_EQ(0, write_bytes(self, ADDR(2), 1));
	/* What goes without being asked for is forgotten. */
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(0, get(self, 0));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, 8 * PAGE));
	EXPECT_EQ(0, get(self, 0));
}

/* Whatever the program's bitmap held before */
TEST_F(access, bitmap_is_overwritten)
{
	__u64 bits[4];

	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, write_bytes(self, ADDR(2), 1));
	ASSERT_EQ(0, write_bytes(self, ADDR(63), 1));
	memset(bits, 0xff, sizeof(bits));
	ASSERT_EQ(0, get_at(self, TEST_IOVA, 5 * PAGE, PAGE, bits));
	EXPECT_EQ(BIT(2), bits[0]);
	EXPECT_EQ(ALL_PAGES, bits[1]);

	/* Holes are clean, and a word that is begun is written to its end. */
	memset(bits, 0xff, sizeof(bits));
	ASSERT_EQ(0, get_at(self, TEST_IOVA - PAGE, 130 * PAGE, PAGE, bits));
	EXPECT_EQ(0, bits[0]);
	EXPECT_EQ(1, bits[1]);
	EXPECT_EQ(0, bits[2]);
	EXPECT_EQ(ALL_PAGES, bits[3]);
}

/* What is not asked about is not forgotten; words need not be aligned. */
TEST_F(access, parts)
{
	unsigned char bytes[32];
	__u64 bits;
	int n;

	ASSERT_EQ(0, start(self));
	for (n = 10; n < 14; n++)
		ASSERT_EQ(0, write_bytes(self, ADDR(n), 1));
	ASSERT_EQ(0, get_at(self, ADDR(12), PAGE, PAGE, &bits));
	EXPECT_EQ(1, bits);
	EXPECT_EQ(BIT(10) | BIT(11) | BIT(13), get(self, NO_CLEAR));
	memset(bytes, 0xff, sizeof(bytes));
	ASSERT_EQ(0, get_at(self, ADDR(11), 3 * PAGE, PAGE, bytes + 3));
	memcpy(&bits, bytes + 3, sizeof(bits));
	EXPECT_EQ(BIT(0) | BIT(2), bits);
	EXPECT_EQ(0xff, bytes[2]);
	EXPECT_EQ(0xff, bytes[11]);
	EXPECT_EQ(BIT(10), get(self, 0));
}

TEST_F(access, larger_pages)
{
	__u64 bits, size;

	ASSERT_EQ(0, start(self));
	for (size = PAGE; size <= TEST_IOVA; size <<= 1) {
		__u64 num = MEM_SIZE / size ?: 1;

		ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
		ASSERT_EQ(0, write_bytes(self, ADDR(62), 1));
		ASSERT_EQ(0, get_at(self, TEST_IOVA, num * size, size, &bits));
		EXPECT_EQ(BIT(5 * PAGE / size) | BIT(62 * PAGE / size), bits) {
			TH_LOG("page size 0x%llx", size);
		}
		EXPECT_EQ(0, get(self, 0));
	}
	/* One bit for half of the address space, and a last page. */
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	ASSERT_EQ(0, get_at(self, 0, 1ULL << 63, 1ULL << 63, &bits));
	EXPECT_EQ(1, bits);
	ASSERT_EQ(0, get_at(self, 1ULL << 63, 1ULL << 63, 1ULL << 63, &bits));
	EXPECT_EQ(0, bits);
	ASSERT_EQ(0, get_at(self, 0 - PAGE, PAGE, PAGE, &bits));
	EXPECT_EQ(0, bits);
	EXPECT_EQ(0, get(self, 0));
}

/* More than the kernel holds of a bitmap at a time */
TEST_F(access, large_range)
{
	size_t words = 3 * SPAN / PAGE / 64;
	__u64 *bits = calloc(words, sizeof(*bits));
	size_t i, n;

	ASSERT_NE(NULL, bits);
	ASSERT_EQ(0, start(self));
	for (i = 1; i < 3; i++) {
		ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
					self->mem, TEST_IOVA + i * SPAN - PAGE,
					2 * PAGE));
		ASSERT_EQ(0, write_bytes(self, TEST_IOVA + i * SPAN - 1, 2));
	}
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	ASSERT_EQ(0, get_at(self, TEST_IOVA, 3 * SPAN, PAGE, bits));
	EXPECT_EQ(BIT(5), bits[0]);
	EXPECT_EQ(BIT(63), bits[words / 3 - 1]);
	EXPECT_EQ(1, bits[words / 3]);
	EXPECT_EQ(BIT(63), bits[words / 3 * 2 - 1]);
	EXPECT_EQ(1, bits[words / 3 * 2]);
	for (i = 0, n = 0; i < words; i++)
		n += !!bits[i];
	EXPECT_EQ(5, n);
	ASSERT_EQ(0, get_at(self, TEST_IOVA, 3 * SPAN, PAGE, bits));
	for (i = 0, n = 0; i < words; i++)
		n += !!bits[i];
	EXPECT_EQ(0, n);
	free(bits);
}

TEST_F(access, get_errors)
{
	__u64 sizes[] = { 0, 1, PAGE / 2, PAGE - 1, 3 * PAGE, PAGE + 1,
			  BIT(63) | PAGE };
	__u64 bits[2] = { 0x1234, 0x5678 };
	__u32 other;
	char *two;
	size_t i;

	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	EXPECT_EQ(-EINVAL, dirty_start(self->iommu, other));
	EXPECT_EQ(-EINVAL, dirty_stop(self->iommu, other));
	EXPECT_EQ(-EINVAL, dirty_get(self->iommu, other, 0, TEST_IOVA, PAGE,
				     PAGE, bits));

	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		EXPECT_EQ(-EINVAL, get_at(self, TEST_IOVA, PAGE, sizes[i], bits));
	EXPECT_EQ(-EINVAL, get_at(self, TEST_IOVA, 0, PAGE, bits));
	EXPECT_EQ(-EINVAL, get_at(self, TEST_IOVA, PAGE + 1, PAGE, bits));
	EXPECT_EQ(-EINVAL, get_at(self, TEST_IOVA, PAGE, 2 * PAGE, bits));
	EXPECT_EQ(-EINVAL, get_at(self, TEST_IOVA + 1, PAGE, PAGE, bits));
	EXPECT_EQ(-EINVAL, get_at(self, ADDR(1), 2 * PAGE, 2 * PAGE, bits));
	EXPECT_EQ(-EOVERFLOW, get_at(self, 0 - PAGE, 2 * PAGE, PAGE, bits));
	EXPECT_EQ(-EOVERFLOW, get_at(self, BIT(63), 0 - PAGE, PAGE, bits));
	EXPECT_EQ(0x1234, bits[0]);
	EXPECT_EQ(0x5678, bits[1]);

	EXPECT_EQ(-EFAULT, get_at(self, TEST_IOVA, PAGE, PAGE, NULL));
	EXPECT_EQ(-EFAULT, get_at(self, TEST_IOVA, PAGE, PAGE,
				  (void *)(0 - PAGE)));
	EXPECT_EQ(-EFAULT, get_at(self, TEST_IOVA, PAGE, PAGE, (void *)-4));
	EXPECT_EQ(-EFAULT, get_at(self, TEST_IOVA, PAGE, PAGE,
				  (void *)BIT(63)));
	/* More than there can be memory for a bitmap */
	two = mem_alloc(2 * PAGE);
	ASSERT_NE(NULL, two);
	ASSERT_EQ(0, mprotect(two + PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, get_at(self, 0, 0 - PAGE, PAGE, two));
	EXPECT_EQ(BIT(5), get(self, 0));
}

/* What cannot be written is found before anything is forgotten. */
TEST_F(access, half_a_bitmap)
{
	char *bitmap = mem_alloc(2 * PAGE);
	__u64 bits;

	ASSERT_NE(NULL, bitmap);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA + SPAN, PAGE));
	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	ASSERT_EQ(0, write_bytes(self, TEST_IOVA + SPAN, 1));
	ASSERT_EQ(0, mprotect(bitmap + PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, get_at(self, TEST_IOVA, 2 * SPAN, PAGE, bitmap));
	EXPECT_EQ(-EFAULT, ioasid_unmap_dirty(self->iommu, self->ioasid,
					      TEST_IOVA, 2 * SPAN, PAGE,
					      bitmap));
	EXPECT_EQ(BIT(5), get(self, 0));
	ASSERT_EQ(0, get_at(self, TEST_IOVA + SPAN, PAGE, PAGE, &bits));
	EXPECT_EQ(1, bits);
	EXPECT_EQ(0, get(self, 0));
}

/*
 * The bitmap goes away when its first page has been reported: that is reported
 * again, and the rest has not been forgotten.
 */
TEST_F(access, bitmap_goes_away)
{
	struct trap trap;
	__u64 bits;

	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA + SPAN, 2 * PAGE));
	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	ASSERT_EQ(0, write_bytes(self, TEST_IOVA + SPAN, 1));
	ASSERT_EQ(0, trap_set(&trap, 1));
	EXPECT_EQ(-EFAULT, get_at(self, TEST_IOVA, 3 * SPAN, PAGE, trap.mem));
	EXPECT_TRUE(trap_end(&trap));
	EXPECT_EQ(BIT(5), get(self, 0) & BIT(5));
	EXPECT_EQ(0, get(self, 0));
	ASSERT_EQ(0, get_at(self, TEST_IOVA + SPAN, 2 * PAGE, PAGE, &bits));
	EXPECT_EQ(1, bits);

	/* Before anything was reported, all is as it was. */
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	ASSERT_EQ(0, trap_set(&trap, 0));
	EXPECT_EQ(-EFAULT, get_at(self, TEST_IOVA, 3 * SPAN, PAGE, trap.mem));
	EXPECT_TRUE(trap_end(&trap));
	EXPECT_EQ(BIT(5), get(self, 0));
}

TEST_F(access, unmap)
{
	__u64 bits[2] = { ALL_PAGES, ALL_PAGES };

	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, ADDR(80), PAGE));
	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	ASSERT_EQ(0, write_bytes(self, ADDR(7), 1));
	ASSERT_EQ(0, write_bytes(self, ADDR(80), 1));
	/* The driver is asked to let go, and then its pages count. */
	ASSERT_EQ(0, access_pin(self->device, ADDR(20), PAGE, PIN_WRITE));
	EXPECT_EQ(BIT(5) | BIT(7) | BIT(20), get(self, 0));
	ASSERT_EQ(0, write_bytes(self, ADDR(9), 1));
	EXPECT_EQ(0, ioasid_unmap_dirty(self->iommu, self->ioasid, TEST_IOVA,
					128 * PAGE, PAGE, bits));
	EXPECT_EQ(BIT(9) | BIT(20), bits[0]);
	EXPECT_EQ(BIT(16), bits[1]);
	EXPECT_EQ(-ENOENT, write_bytes(self, ADDR(9), 1));
	EXPECT_EQ(0, get(self, 0));

	/* Nothing there */
	bits[0] = ALL_PAGES;
	EXPECT_EQ(0, ioasid_unmap_dirty(self->iommu, self->ioasid, TEST_IOVA,
					MEM_SIZE, PAGE, bits));
	EXPECT_EQ(0, bits[0]);
	/* Small mappings in large pages */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, ADDR(1), PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, ADDR(2), PAGE));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, ADDR(9), PAGE));
	ASSERT_EQ(0, write_bytes(self, ADDR(2), 1));
	ASSERT_EQ(0, write_bytes(self, ADDR(9), 1));
	EXPECT_EQ(0, ioasid_unmap_dirty(self->iommu, self->ioasid, TEST_IOVA,
					16 * PAGE, 4 * PAGE, bits));
	EXPECT_EQ(BIT(0) | BIT(2), bits[0]);
}

TEST_F(access, unmap_errors)
{
	struct iommu_unmap_dma cmd = {
		.size = sizeof(cmd),
		.ioasid = self->ioasid,
		.iova = TEST_IOVA,
		.length = MEM_SIZE,
	};
	struct iommu_unmap_dma copy;
	__u64 bits = 0x1234;
	struct trap trap;

#define TRY() (copy = cmd, iommu_call(self->iommu, IOMMU_UNMAP_DMA, &copy))
	cmd.page_size = PAGE;
	EXPECT_EQ(-EINVAL, TRY());
	cmd.page_size = 0;
	cmd.bitmap = (uintptr_t)&bits;
	EXPECT_EQ(-EINVAL, TRY());
	cmd.page_size = PAGE;
	cmd.flags = IOMMU_UNMAP_DMA_GET_DIRTY;
	/* Not tracked */
	EXPECT_EQ(-EINVAL, TRY());
	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, write_bytes(self, ADDR(5), 1));
	cmd.flags = IOMMU_UNMAP_DMA_GET_DIRTY | IOMMU_UNMAP_DMA_ALL;
	EXPECT_EQ(-EINVAL, TRY());
	cmd.iova = 0;
	cmd.length = 0;
	EXPECT_EQ(-EINVAL, TRY());
	cmd.flags = IOMMU_UNMAP_DMA_GET_DIRTY;
	EXPECT_EQ(-EINVAL, TRY());
	cmd.iova = TEST_IOVA;
	cmd.length = MEM_SIZE;
	cmd.page_size = PAGE / 2;
	EXPECT_EQ(-EINVAL, TRY());
	cmd.page_size = 3 * PAGE;
	EXPECT_EQ(-EINVAL, TRY());
	cmd.page_size = 2 * MEM_SIZE;
	EXPECT_EQ(-EINVAL, TRY());
	cmd.page_size = PAGE;
	EXPECT_EQ(0x1234, bits);
	cmd.bitmap = 0;
	EXPECT_EQ(-EFAULT, TRY());
	cmd.bitmap = (uintptr_t)&bits;
	/* The range cuts the mapping. */
	cmd.length = PAGE;
	EXPECT_EQ(-EINVAL, TRY());
	EXPECT_EQ(BIT(5), get(self, NO_CLEAR));
	EXPECT_EQ(-EBUSY, ({
		access_pin(self->device, ADDR(1), PAGE, PIN_WRITE);
		access_policy(self->device, IOASID_ACCESS_STUBBORN);
		cmd.length = MEM_SIZE;
		TRY();
	}));
	access_policy(self->device, IOASID_ACCESS_RELEASE);
	EXPECT_EQ(BIT(1) | BIT(5), get(self, NO_CLEAR));

	/* Who takes its bitmap away must take the range as written. */
	ASSERT_EQ(0, trap_set(&trap, 0));
	cmd.bitmap = (uintptr_t)trap.mem;
	cmd.length = 3 * SPAN;
	EXPECT_EQ(-EFAULT, TRY());
	EXPECT_TRUE(trap_end(&trap));
	EXPECT_EQ(-ENOENT, write_bytes(self, ADDR(5), 1));
#undef TRY
}

/* Bits cost memory, which must not be had for nothing without limit. */
TEST_F(access, mapping_too_large)
{
	__u64 most = ((1ULL << 31) - 1) * PAGE;
	void *low = (void *)PAGE;
	__u32 other;

	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_ONLY, low,
				      TEST_IOVA + SPAN, most + PAGE));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	EXPECT_EQ(0, ioasid_map(self->iommu, other, READ_ONLY, low,
				TEST_IOVA + SPAN, most + PAGE));
}

/* ---- devices that cannot be tracked ---- */

static bool can_track(int iommu, struct dma_device *dev)
{
	struct iommu_device_info info = {};

	return !iommu_device_info(iommu, dev->dev_id, &info) &&
	       info.caps & IOMMU_DEVICE_CAP_DIRTY;
}

/* Of whatever IOMMU this machine has */
TEST(attach_as_it_says)
{
	struct iommu_ioasid_info info;
	struct dma_device dev;
	struct counts counts;
	__u32 ioasid, plain;
	int iommu, want;
	char *mem;

	COUNTS_BEGIN(&counts);
	if (dev_find_alone(&dev, 1) < 1)
		SKIP(return, "no DMA device in an IOMMU group of its own");
	iommu = iommu_open();
	ASSERT_LE(0, iommu);
	mem = mem_alloc(PAGE);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dev_open_bind(&dev, iommu));
	ASSERT_EQ(0, ioasid_alloc(iommu, &plain));
	ASSERT_EQ(0, ioasid_alloc_dirty(iommu, &ioasid));
	ASSERT_EQ(0, ioasid_map(iommu, ioasid, READ_WRITE, mem, TEST_IOVA,
				PAGE));
	want = can_track(iommu, &dev) ? 0 : -EOPNOTSUPP;
	EXPECT_EQ(want, vfio_attach(dev.fd, ioasid));
	ASSERT_EQ(0, ioasid_totals(iommu, ioasid, &info));
	EXPECT_EQ(!want, info.num_devices);
	EXPECT_EQ(want ? 0 : PAGE, info.pinned_bytes);
	ASSERT_EQ(0, vfio_attach(dev.fd, plain));
	EXPECT_EQ(want, vfio_attach(dev.fd, ioasid));
	dev_close(&dev);
	close(iommu);
	COUNTS_END(&counts);
}

/* ---- what devices write ---- */

FIXTURE(tracked) {
	int iommu;
	struct dma_device one;
	struct dma_device two;
	__u32 ioasid;
	__u32 other;
	char *mem;
	struct counts counts;
};

/*
 * @settings: Of the IOMMUs
 * @huge: They have pages of 2 MiB
 */
FIXTURE_VARIANT(tracked) {
	const char *settings;
	bool huge;
};

FIXTURE_VARIANT_ADD(tracked, small_pages) {
	.settings = "page_sizes=0x1000",
};

/*
 * 8 KiB, 16 KiB, and so on: small pages that happen to lie together must not be
 * one page of the IOMMU, which would not be reported as a whole.
 */
FIXTURE_VARIANT_ADD(tracked, all_pages) {
	.settings = NULL,
	.huge = true,
};

FIXTURE_VARIANT_ADD(tracked, no_pasids) {
	.settings = "pasid_bits=0;page_sizes=0x40201000;snoop_control=1",
	.huge = true,
};

FIXTURE_SETUP(tracked)
{
	const char *missing = test_iommu_missing();

	self->iommu = -1;
	self->one.fd = -1;
	self->two.fd = -1;
	if (missing)
		SKIP(return, "%s", missing);
	test_iommu_remove_all();
	COUNTS_BEGIN(&self->counts);
	ASSERT_EQ(0, test_iommu_make("one", variant->settings));
	ASSERT_EQ(0, test_device_make("one", "a", NULL, &self->one));
	ASSERT_EQ(0, test_iommu_make("two", variant->settings));
	ASSERT_EQ(0, test_device_make("two", "b", NULL, &self->two));
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, dev_open_bind(&self->one, self->iommu));
	ASSERT_EQ(0, dev_open_bind(&self->two, self->iommu));
	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &self->ioasid));
	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &self->other));
	self->mem = mem_alloc(MEM_SIZE);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0, MEM_SIZE);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, MEM_SIZE));
}

FIXTURE_TEARDOWN(tracked)
{
	dev_close(&self->one);
	dev_close(&self->two);
	if (self->iommu < 0)
		return;
	close(self->iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	COUNTS_END(&self->counts);
}

static int fill(struct dma_device *dev, __u64 iova, __u64 length, __u64 pattern)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.iova = iova,
		.length = length,
		.pattern = pattern,
	};

	return test_device_try(dev, &command);
}

/* A device writes page @n. */
static int touch(struct dma_device *dev, int n)
{
	return fill(dev, ADDR(n) + 24, 8, n);
}

#define EXPECT_WRITTEN(_written) do { \
	__u64 __written = (_written); \
	__u64 __bits = get_pages(self->iommu, self->ioasid, 0); \
	EXPECT_EQ(__written, __bits) { \
		TH_LOG("0x%llx was written, 0x%llx is reported", __written, \
		       __bits); \
	} \
} while (0)

TEST_F(tracked, writes)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_TOUCH_READ,
		.iova = TEST_IOVA,
		.length = MEM_SIZE,
	};
	__u64 bits;

	EXPECT_TRUE(can_track(self->iommu, &self->one));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 1));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	EXPECT_WRITTEN(0);
	ASSERT_EQ(0, test_device_try(&self->one, &command));
	EXPECT_WRITTEN(0);

	ASSERT_EQ(0, touch(&self->one, 3));
	ASSERT_EQ(0, fill(&self->one, ADDR(10) - 8, 16, 7));
	bits = get_pages(self->iommu, self->ioasid, NO_CLEAR);
	EXPECT_EQ(BIT(3) | BIT(9) | BIT(10), bits);
	EXPECT_EQ(bits, get_pages(self->iommu, self->ioasid, NO_CLEAR));
	EXPECT_EQ(bits, get_pages(self->iommu, self->ioasid, 0));
	EXPECT_WRITTEN(0);
	/* The IOMMU remembers the page as one that is dirty, or should not. */
	ASSERT_EQ(0, touch(&self->one, 3));
	EXPECT_WRITTEN(BIT(3));
	EXPECT_WRITTEN(0);

	ASSERT_EQ(0, touch(&self->one, 4));
	ASSERT_EQ(0, dirty_stop(self->iommu, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 5));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	EXPECT_WRITTEN(0);
	ASSERT_EQ(0, touch(&self->one, 5));
	EXPECT_WRITTEN(BIT(5));
}

TEST_F(tracked, with_pasid)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_PASID,
		.pasid = 5,
		.iova = ADDR(6),
		.length = 8,
	};
	int rc;

	rc = vfio_attach_pasid(self->one.fd, 5, self->ioasid);
	if (rc == -EINVAL)
		return;
	ASSERT_EQ(0, rc);
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	ASSERT_EQ(0, test_device_try(&self->one, &command));
	EXPECT_WRITTEN(BIT(6));
	ASSERT_EQ(0, test_device_try(&self->one, &command));
	ASSERT_EQ(0, vfio_detach_pasid(self->one.fd, 5));
	EXPECT_WRITTEN(BIT(6));
	EXPECT_WRITTEN(0);
}

/* Two page tables, one of them made while tracking */
TEST_F(tracked, tables)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 3));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	ASSERT_EQ(0, touch(&self->two, 60));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	ASSERT_EQ(2, info.num_tables);
	EXPECT_WRITTEN(BIT(3) | BIT(60));
	EXPECT_WRITTEN(0);
	ASSERT_EQ(0, touch(&self->one, 7));
	ASSERT_EQ(0, touch(&self->two, 7));
	EXPECT_WRITTEN(BIT(7));
	EXPECT_WRITTEN(0);

	/* Both from the beginning, and off with both */
	ASSERT_EQ(0, dirty_stop(self->iommu, self->ioasid));
	ASSERT_EQ(0, touch(&self->two, 8));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	EXPECT_WRITTEN(0);
	ASSERT_EQ(0, touch(&self->two, 8));
	EXPECT_WRITTEN(BIT(8));
}

/* A device that goes leaves what it has written. */
TEST_F(tracked, leave)
{
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 3));
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	EXPECT_WRITTEN(BIT(3));
	EXPECT_WRITTEN(0);

	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 4));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->other));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 5));
	dev_close(&self->one);
	EXPECT_WRITTEN(BIT(4) | BIT(5));
	EXPECT_WRITTEN(0);

	/* Also if the driver cannot tell: then it is all. */
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	ASSERT_EQ(0, test_iommu_fail("two", "dirty", 0, EIO));
	ASSERT_EQ(0, vfio_detach(self->two.fd));
	ASSERT_EQ(-ENOENT, test_iommu_fail_left("two"));
	EXPECT_EQ(ALL_PAGES, get_pages(self->iommu, self->ioasid, 0));
	EXPECT_WRITTEN(0);
}

TEST_F(tracked, unmap)
{
	__u64 bits[2];

	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, ADDR(64), PAGE));
	ASSERT_EQ(0, touch(&self->one, 3));
	EXPECT_WRITTEN(BIT(3));
	ASSERT_EQ(0, touch(&self->one, 5));
	ASSERT_EQ(0, touch(&self->two, 40));
	ASSERT_EQ(0, touch(&self->two, 64));
	ASSERT_EQ(0, ioasid_unmap_dirty(self->iommu, self->ioasid, TEST_IOVA,
					2 * MEM_SIZE, PAGE, bits));
	EXPECT_EQ(BIT(5) | BIT(40), bits[0]);
	EXPECT_EQ(1, bits[1]);
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT, touch(&self->one, 5));

	/* Of the same memory, what was written there before counts no more. */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, MEM_SIZE));
	EXPECT_WRITTEN(0);
	/* The driver cannot tell. */
	ASSERT_EQ(0, test_iommu_fail("two", "dirty", 0, EIO));
	ASSERT_EQ(0, ioasid_unmap_dirty(self->iommu, self->ioasid, TEST_IOVA,
					MEM_SIZE, PAGE, bits));
	EXPECT_EQ(ALL_PAGES, bits[0]);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_ONLY, self->mem,
				TEST_IOVA, MEM_SIZE));
	ASSERT_EQ(0, test_iommu_fail("two", "dirty", 0, EIO));
	ASSERT_EQ(0, ioasid_unmap_dirty(self->iommu, self->ioasid, TEST_IOVA,
					MEM_SIZE, PAGE, bits));
	EXPECT_EQ(0, bits[0]);
}

TEST_F(tracked, no_bitmap)
{
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 3));
	EXPECT_EQ(-EFAULT, dirty_get(self->iommu, self->ioasid, 0, TEST_IOVA,
				     MEM_SIZE, PAGE, NULL));
	EXPECT_EQ(-EFAULT, ioasid_unmap_dirty(self->iommu, self->ioasid,
					      TEST_IOVA, MEM_SIZE, PAGE, NULL));
	EXPECT_WRITTEN(BIT(3));
	EXPECT_WRITTEN(0);
}

/* A bitmap that goes away after the page table was read */
TEST_F(tracked, bitmap_goes_away)
{
	struct trap trap;

	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 3));
	ASSERT_EQ(0, trap_set(&trap, 0));
	EXPECT_EQ(-EFAULT, dirty_get(self->iommu, self->ioasid, 0, TEST_IOVA,
				     3 * SPAN, PAGE, trap.mem));
	EXPECT_TRUE(trap_end(&trap));
	EXPECT_WRITTEN(BIT(3));
	EXPECT_WRITTEN(0);
}

/* Drivers fail: START, the first or the second table, GET, attach */
TEST_F(tracked, driver_fails)
{
	const __u32 off = IOMMU_IOASID_STATE_DIRTY;
	struct iommu_ioasid_info info;
	unsigned int after;
	__u64 bits;

	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	for (after = 0; after < 2; after++) {
		ASSERT_EQ(0, test_iommu_fail("one", "dirty", after, ENOMEM));
		EXPECT_EQ(-EIO, dirty_start(self->iommu, self->ioasid));
		EXPECT_EQ(off, state_of(self->iommu, self->ioasid));
		ASSERT_EQ(0, test_iommu_fail("two", "dirty", after, EINVAL));
		EXPECT_EQ(-EIO, dirty_start(self->iommu, self->ioasid));
		EXPECT_EQ(off, state_of(self->iommu, self->ioasid));
	}
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	EXPECT_WRITTEN(0);

	ASSERT_EQ(0, touch(&self->one, 3));
	ASSERT_EQ(0, touch(&self->two, 50));
	ASSERT_EQ(0, test_iommu_fail("two", "dirty", 0, EINVAL));
	EXPECT_EQ(-EIO, dirty_get(self->iommu, self->ioasid, 0, TEST_IOVA,
				  MEM_SIZE, PAGE, &bits));
	EXPECT_WRITTEN(BIT(3) | BIT(50));
	EXPECT_WRITTEN(0);

	ASSERT_EQ(0, vfio_detach(self->two.fd));
	ASSERT_EQ(0, test_iommu_fail("two", "dirty", 0, EINVAL));
	EXPECT_EQ(-EIO, vfio_attach(self->two.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_devices);
	EXPECT_EQ(1, info.num_tables);
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));

	/* Who does not stop is not listened to. */
	ASSERT_EQ(0, test_iommu_fail("one", "dirty", 0, EINVAL));
	ASSERT_EQ(0, dirty_stop(self->iommu, self->ioasid));
	EXPECT_EQ(off, state_of(self->iommu, self->ioasid));
	ASSERT_EQ(0, touch(&self->one, 3));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	EXPECT_WRITTEN(0);
	ASSERT_EQ(0, touch(&self->one, 4));
	EXPECT_WRITTEN(BIT(4));
}

/* An IOMMU without dirty tracking beside one that has it */
TEST_F(tracked, not_all_can)
{
	struct iommu_ioasid_info info;
	struct dma_device dev;
	__u32 plain;

	ASSERT_EQ(0, test_iommu_make("none", "dirty=0"));
	ASSERT_EQ(0, test_device_make("none", "c", NULL, &dev));
	ASSERT_EQ(0, dev_open_bind(&dev, self->iommu));
	EXPECT_FALSE(can_track(self->iommu, &dev));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(-EOPNOTSUPP, vfio_attach(dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &plain));
	ASSERT_EQ(0, vfio_attach(dev.fd, plain));
	EXPECT_EQ(-EOPNOTSUPP, vfio_attach(dev.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_devices);
	ASSERT_EQ(0, ioasid_totals(self->iommu, plain, &info));
	EXPECT_EQ(1, info.num_devices);
	dev_close(&dev);
}

/*
 * An entry of the page table is for 2 MiB: whoever asks for a part of it first,
 * the others learn of it, too.
 */
TEST_F(tracked, large_page)
{
	const __u64 num = HUGE_SIZE / PAGE, half = HUGE_SIZE / 2;
	const __u64 iova = TEST_IOVA + (1 << 30);
	/* Of each half, in words of its own */
	const __u64 words = (half / PAGE + 63) / 64;
	__u64 *bits = calloc(2 * words, sizeof(*bits));
	__u64 i, set = 0;
	char *mem;

	ASSERT_NE(NULL, bits);
	mem = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (mem == MAP_FAILED)
		SKIP(return, "no free huge pages");
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE, mem,
				iova, 2 * HUGE_SIZE));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	ASSERT_EQ(0, fill(&self->one, iova + half + 3 * PAGE, 8, 1));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, dirty_get(self->iommu, self->ioasid, 0,
				       iova + i * half, half, PAGE,
				       bits + i * words));
	}
	for (i = 0; i < 2 * words * 64; i++)
		set += bits[i / 64] >> (i % 64) & 1;
	EXPECT_EQ(variant->huge ? num : 1, set);
	EXPECT_EQ(1, bits[words] >> 3 & 1);
	ASSERT_EQ(0, dirty_get(self->iommu, self->ioasid, 0, iova, 2 * HUGE_SIZE,
			       HUGE_SIZE, bits));
	EXPECT_EQ(0, bits[0]);
	free(bits);
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, iova,
				  2 * HUGE_SIZE, NULL));
	munmap(mem, 2 * HUGE_SIZE);
}

/* ---- while devices write all the time ---- */

struct writer {
	struct dma_device *dev;
	pthread_t thread;
	unsigned int seed;
	unsigned long writes;
	bool stop;
	int rc;
};

/* Random pages get values that were never there before. */
static void *writer_thread(void *arg)
{
	struct writer *writer = arg;

	while (!__atomic_load_n(&writer->stop, __ATOMIC_RELAXED) &&
	       !writer->rc) {
		int n = rand_r(&writer->seed) % MEM_PAGES;

		writer->rc = fill(writer->dev, ADDR(n), PAGE,
				  ++writer->writes);
	}
	return NULL;
}

static int writer_start(struct writer *writer, struct dma_device *dev,
			unsigned int seed)
{
	memset(writer, 0, sizeof(*writer));
	writer->dev = dev;
	writer->seed = seed;
	return pthread_create(&writer->thread, NULL, writer_thread, writer);
}

static int writer_end(struct writer *writer)
{
	__atomic_store_n(&writer->stop, true, __ATOMIC_RELAXED);
	pthread_join(writer->thread, NULL);
	return writer->rc;
}

static void copy_pages(char *to, const char *from, __u64 bits)
{
	int n;

	for (n = 0; n < MEM_PAGES; n++)
		if (bits & BIT(n))
			memcpy(to + n * PAGE, from + n * PAGE, PAGE);
}

#define MIGRATION_ROUNDS 300

/*
 * What a virtual machine that moves does: it copies everything, then what is
 * reported, and at the end, when the devices have stopped, what is left. Then
 * both sides are equal. Meanwhile a second device comes and goes.
 */
TEST_F_TIMEOUT(tracked, migration, 120)
{
	char *copy = mem_alloc(MEM_SIZE);
	struct writer one, two = {};
	bool second = false;
	int round, n;

	ASSERT_NE(NULL, copy);
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, writer_start(&one, &self->one, 1));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	copy_pages(copy, self->mem, ALL_PAGES);
	for (round = 0; round < MIGRATION_ROUNDS; round++) {
		__u64 bits = 0;

		if (round % 20 == 0 && !second) {
			ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
			ASSERT_EQ(0, writer_start(&two, &self->two, round));
			second = true;
		} else if (round % 20 == 10) {
			EXPECT_EQ(0, writer_end(&two));
			ASSERT_EQ(0, vfio_detach(self->two.fd));
			second = false;
		}
		ASSERT_EQ(0, dirty_get(self->iommu, self->ioasid,
				       round % 7 ? 0 : NO_CLEAR, TEST_IOVA,
				       MEM_SIZE, PAGE, &bits));
		copy_pages(copy, self->mem, bits);
	}
	if (second)
		EXPECT_EQ(0, writer_end(&two));
	EXPECT_EQ(0, writer_end(&one));
	EXPECT_LT(100, one.writes);
	copy_pages(copy, self->mem, get_pages(self->iommu, self->ioasid, 0));
	for (n = 0; n < MEM_PAGES; n++) {
		EXPECT_EQ(0, memcmp(copy + n * PAGE, self->mem + n * PAGE,
				    PAGE)) {
			TH_LOG("a write to page %d was lost", n);
		}
	}
	EXPECT_WRITTEN(0);
}

/* A page that was written after the last report, and before UNMAP, is reported. */
TEST_F_TIMEOUT(tracked, unmap_under_writes, 60)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_FOREVER | IOASID_TEST_KEEP_GOING,
		.iova = TEST_IOVA,
		.length = MEM_SIZE,
		.pattern = 1,
	};
	struct ioasid_test_status status;
	int round, tries;
	__u64 bits;

	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, dirty_start(self->iommu, self->ioasid));
	ASSERT_EQ(0, test_device_run(&self->one, 1, &command));
	for (round = 0; round < 50; round++) {
		__u64 rounds;

		ASSERT_EQ(0, dirty_get(self->iommu, self->ioasid, 0, TEST_IOVA,
				       MEM_SIZE, PAGE, &bits));
		ASSERT_EQ(0, test_device_status(&self->one, 1, &status));
		rounds = status.rounds;
		for (tries = 0; tries < 10000 && status.rounds < rounds + 2;
		     tries++) {
			usleep(100);
			ASSERT_EQ(0, test_device_status(&self->one, 1, &status));
		}
		ASSERT_LE(rounds + 2, status.rounds);
		bits = 0;
		ASSERT_EQ(0, ioasid_unmap_dirty(self->iommu, self->ioasid,
						TEST_IOVA, MEM_SIZE, PAGE,
						&bits));
		EXPECT_EQ(ALL_PAGES, bits);
		/* From now on nobody writes there. */
		memset(self->mem, 0x77, MEM_SIZE);
		usleep(200);
		EXPECT_TRUE(all_bytes(self->mem, MEM_SIZE, 0x77));
		ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
					self->mem, TEST_IOVA, MEM_SIZE));
	}
	ASSERT_EQ(0, test_device_stop(&self->one, 1, NULL));
}

TEST_HARNESS_MAIN
