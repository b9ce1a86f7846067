// SPDX-License-Identifier: GPL-2.0-only
/*
 * What only the test IOMMU can show: PASIDs, several page tables below one
 * IOASID, a device that streams while its address space changes, interrupts
 * that must not be lost, drivers that fail. And the test IOMMU itself: a
 * missing flush must be seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	32

#define OLD		0x1111111111111111ULL
#define NEW		0x2222222222222222ULL
#define MARK		0xa5a5a5a5a5a5a5a5ULL

FIXTURE(sw_iommu)
{
	struct counts begin;
	struct dma_device one;
	struct dma_device two;
	int iommu;
	__u32 ioasid;
	__u32 other;
	char *mem;
};

FIXTURE_SETUP(sw_iommu)
{
	const char *missing = test_iommu_missing();

	self->one.fd = -1;
	self->two.fd = -1;
	self->iommu = -1;
	self->mem = NULL;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->begin);
	self->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, self->mem);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->other));
}

FIXTURE_TEARDOWN(sw_iommu)
{
	if (!self->mem)
		return;
	dev_close(&self->one);
	dev_close(&self->two);
	if (self->iommu >= 0)
		close(self->iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	munmap(self->mem, MEM_PAGES * PAGE);
	COUNTS_END(&self->begin);
}

/* An IOMMU with one device that is bound and sees @mem at TEST_IOVA. */
static int begin(struct _test_data_sw_iommu *self, const char *settings)
{
	int rc = test_device_begin(settings, &self->one, self->iommu);

	return rc ? rc : ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				    self->mem, TEST_IOVA, MEM_PAGES * PAGE);
}

static int begin_attached(struct _test_data_sw_iommu *self,
			  const char *settings)
{
	int rc = begin(self, settings);

	return rc ? rc : vfio_attach(self->one.fd, self->ioasid);
}

/* One more, behind IOMMU @iommu. */
static int add_second(struct _test_data_sw_iommu *self, const char *iommu,
		      const char *settings)
{
	int rc = test_device_make(iommu, "two", settings, &self->two);

	return rc ? rc : dev_open_bind(&self->two, self->iommu);
}

/* What the engine says of one command on channel 0. */
static enum ioasid_test_fault run(struct dma_device *dev,
				  const struct ioasid_test_command *command,
				  struct ioasid_test_status *status)
{
	if (test_device_run(dev, 0, command) ||
	    test_device_status(dev, 0, status))
		return -1;
	return status->fault;
}

static enum ioasid_test_fault fill_at(struct dma_device *dev, __u64 iova,
				      __u64 length, __u64 pattern)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.iova = iova,
		.length = length,
		.pattern = pattern,
	};
	struct ioasid_test_status status;

	return run(dev, &command, &status);
}

static enum ioasid_test_fault fill_pasid(struct dma_device *dev, __u32 pasid,
					 __u64 iova, __u64 length,
					 __u64 pattern)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_PASID,
		.pasid = pasid,
		.iova = iova,
		.length = length,
		.pattern = pattern,
	};
	struct ioasid_test_status status;

	return run(dev, &command, &status);
}

static bool is_filled(const void *mem, size_t length, __u64 pattern)
{
	const __u64 *word = mem;
	size_t i;

	for (i = 0; i < length / 8; i++)
		if (word[i] != pattern)
			return false;
	return true;
}

/* ---- the device ---- */

TEST_F(sw_iommu, engine)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.iova = TEST_IOVA + 3,
		.length = 2 * PAGE,
		.step = 1,
		.pattern = 0x0807060504030201ULL,
	};
	struct ioasid_test_globals globals;
	struct ioasid_test_status status;
	char data[64];

	ASSERT_EQ(0, begin_attached(self, NULL));
	/* Single bytes, and not one more than was asked for. */
	ASSERT_EQ(IOASID_TEST_FAULT_NONE, run(&self->one, &command, &status));
	EXPECT_EQ(2 * PAGE, status.bytes);
	EXPECT_EQ(1, status.rounds);
	EXPECT_TRUE(all_bytes(self->mem, 3, 0));
	EXPECT_EQ(0, memcmp(self->mem + 3, "\4\5\6\7\10\1\2\3\4", 9));
	EXPECT_TRUE(all_bytes(self->mem + 3 + 2 * PAGE, PAGE, 0));
	ASSERT_EQ(0, test_device_globals(&self->one, &globals));
	EXPECT_EQ(IOASID_TEST_MAGIC, globals.magic);
	EXPECT_EQ(2 * PAGE, globals.accesses);
	EXPECT_EQ(globals.accesses, globals.tlb_hits + globals.walks);
	EXPECT_EQ(0, globals.faults);

	/* The same again needs no walk. */
	ASSERT_EQ(0, test_device_reset(&self->one));
	command.op = IOASID_TEST_COMPARE;
	ASSERT_EQ(IOASID_TEST_FAULT_NONE, run(&self->one, &command, &status));
	EXPECT_EQ(2 * PAGE, status.matches);
	EXPECT_EQ(0, status.mismatches);
	ASSERT_EQ(0, test_device_globals(&self->one, &globals));
	EXPECT_EQ(0, globals.walks);

	/* Two patterns, and something else. */
	command.step = 8;
	command.iova = TEST_IOVA;
	command.length = 24;
	command.pattern = OLD;
	command.pattern2 = NEW;
	memcpy(self->mem, (__u64[]){ OLD, NEW, OLD + 1 }, 24);
	ASSERT_EQ(IOASID_TEST_FAULT_NONE, run(&self->one, &command, &status));
	EXPECT_EQ(1, status.matches);
	EXPECT_EQ(1, status.matches2);
	EXPECT_EQ(1, status.mismatches);
	EXPECT_EQ(TEST_IOVA + 16, status.mismatch_iova);

	/* Memory to memory, across pages on both sides. */
	fill_pattern(self->mem, 3 * PAGE, 7);
	command.op = IOASID_TEST_COPY;
	command.step = 0;
	command.iova = TEST_IOVA + 100;
	command.other = TEST_IOVA + 8 * PAGE + 5;
	command.length = 2 * PAGE;
	ASSERT_EQ(IOASID_TEST_FAULT_NONE, run(&self->one, &command, &status));
	EXPECT_EQ(0, memcmp(self->mem + 8 * PAGE + 5, self->mem + 100,
			    2 * PAGE));

	/* From memory to the device and back. */
	command.op = IOASID_TEST_READ;
	command.iova = TEST_IOVA;
	command.other = 16;
	command.length = sizeof(data);
	ASSERT_EQ(IOASID_TEST_FAULT_NONE, run(&self->one, &command, &status));
	ASSERT_EQ(0, test_device_buffer_read(&self->one, 16, data,
					     sizeof(data)));
	EXPECT_EQ(0, memcmp(data, self->mem, sizeof(data)));
	command.op = IOASID_TEST_WRITE;
	command.iova = TEST_IOVA + 20 * PAGE;
	ASSERT_EQ(IOASID_TEST_FAULT_NONE, run(&self->one, &command, &status));
	EXPECT_EQ(0, memcmp(data, self->mem + 20 * PAGE, sizeof(data)));
}

TEST_F(sw_iommu, engine_refuses)
{
	struct ioasid_test_command good = {
		.op = IOASID_TEST_FILL,
		.iova = TEST_IOVA,
		.length = PAGE,
	}, bad = good;

	ASSERT_EQ(0, begin_attached(self, NULL));
	bad.op = IOASID_TEST_TOUCH_READ + 1;
	EXPECT_EQ(-EINVAL, test_device_run(&self->one, 0, &bad));
	bad = good;
	bad.flags = 1 << 31;
	EXPECT_EQ(-EINVAL, test_device_run(&self->one, 0, &bad));
	bad = good;
	bad.step = 3;
	EXPECT_EQ(-EINVAL, test_device_run(&self->one, 0, &bad));
	bad.step = 8192;
	EXPECT_EQ(-EINVAL, test_device_run(&self->one, 0, &bad));
	bad = good;
	bad.iova = -PAGE + 1;
	EXPECT_EQ(-EINVAL, test_device_run(&self->one, 0, &bad));
	bad = good;
	bad.op = IOASID_TEST_READ;
	bad.other = IOASID_TEST_BUFFER_SIZE - PAGE + 1;
	EXPECT_EQ(-EINVAL, test_device_run(&self->one, 0, &bad));
	bad.other = -1ULL;
	EXPECT_EQ(-EINVAL, test_device_run(&self->one, 0, &bad));
	bad = good;
	bad.irq = IOASID_TEST_NUM_MSI;
	EXPECT_EQ(-EINVAL, test_device_run(&self->one, 0, &bad));

	good.flags = IOASID_TEST_FOREVER;
	ASSERT_EQ(0, test_device_run(&self->one, 0, &good));
	EXPECT_EQ(-EBUSY, test_device_run(&self->one, 0, &good));
	EXPECT_EQ(0, test_device_run(&self->one, 1, &good));
}

TEST_F(sw_iommu, reasons_of_faults)
{
	__u64 end = TEST_IOVA + MEM_PAGES * PAGE;

	ASSERT_EQ(0, begin(self, "width=40"));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_at(&self->one, TEST_IOVA, 8, MARK));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, end - 8, 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->one, end, 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->one, TEST_IOVA - 8, 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_ADDRESS,
		  fill_at(&self->one, 1ULL << 40, 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_INTERRUPT,
		  fill_at(&self->one, 0xfee00000, 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_pasid(&self->one, 1, TEST_IOVA, 8, MARK));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_ONLY,
				self->mem, end, PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_PERMISSION,
		  fill_at(&self->one, end, 8, MARK));
	EXPECT_TRUE(all_bytes(self->mem, PAGE, 0));
}

/*
 * A test of the test: with a flush lost the device goes on with what it knows,
 * and writes where it must not.
 */
TEST_F(sw_iommu, lost_flush_is_seen)
{
	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	ASSERT_EQ(0, test_iommu_set("a", "lose_flushes", "1"));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, NEW));
	EXPECT_TRUE(is_filled(self->mem, PAGE, NEW));

	/* And the rest was not in its cache. */
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->one, TEST_IOVA + PAGE, PAGE, NEW));
}

static const char *unload_and_load(void)
{
	if (syscall(SYS_delete_module, "ioasid_test_iommu", O_NONBLOCK))
		return strerror(errno);
	return system("modprobe ioasid_test_iommu") ? "cannot be loaded" : NULL;
}

TEST_F(sw_iommu, unload)
{
	ASSERT_EQ(0, begin_attached(self, "pri=1"));
	ASSERT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	/* Not as long as there is something. */
	EXPECT_NE(0, syscall(SYS_delete_module, "ioasid_test_iommu",
			     O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	dev_close(&self->one);
	ASSERT_EQ(0, test_iommu_remove_all());
	/* On some machines others use it to the end. */
	if (access(IOASID_TEST_CONFIGFS "/main", F_OK))
		EXPECT_EQ(NULL, unload_and_load());

	/* It works again. */
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, begin_attached(self, NULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, NEW));
}

/* ---- attributes of the IOMMU ---- */

static int device_info(struct _test_data_sw_iommu *self,
		       struct iommu_device_info *info,
		       struct iommu_range *ranges, unsigned int num)
{
	memset(info, 0, sizeof(*info));
	info->ranges = (uintptr_t)ranges;
	info->num_ranges = num;
	return iommu_device_info(self->iommu, self->one.dev_id, info);
}

TEST_F(sw_iommu, what_it_is_told)
{
	struct iommu_range ranges[8];
	struct iommu_device_info info;

	ASSERT_EQ(0, begin(self, "width=36;pasid_bits=7;snoop_control=1;"
			   "aperture=0x100000 0xbfffffff;page_sizes=0x211000;"
			   "reserved=0x200000 0x2fffff reserved"));
	ASSERT_EQ(0, device_info(self, &info, ranges, 8));
	EXPECT_EQ(32, info.addr_width);
	EXPECT_EQ(7, info.pasid_bits);
	EXPECT_EQ(0x211000, info.pgsize_bitmap);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_ENFORCE_SNOOP);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_DIRTY);
	EXPECT_TRUE(info.caps & IOMMU_DEVICE_CAP_ISOLATED_MSI);
	ASSERT_EQ(2, info.num_ranges);
	EXPECT_EQ(0x100000, ranges[0].first);
	EXPECT_EQ(0x1fffff, ranges[0].last);
	EXPECT_EQ(0x300000, ranges[1].first);
	EXPECT_EQ(0xbfffffff, ranges[1].last);

	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, 0x200000, PAGE));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, 0, PAGE));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, 0xc0000000, PAGE));
}

TEST_F(sw_iommu, reserved_in_the_way)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, begin(self, "reserved=0x1004000 0x1004fff reserved"));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(0, info.pinned_bytes);
	/* Elsewhere it is none of its business. */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->other, READ_WRITE,
				self->mem, TEST_IOVA + 0x100000, PAGE));
	EXPECT_EQ(0, vfio_attach(self->one.fd, self->other));
}

TEST_F(sw_iommu, unsafe_interrupts)
{
	ASSERT_EQ(0, test_iommu_make("a", "msi=unsafe"));
	ASSERT_EQ(0, test_device_make("a", "one", NULL, &self->one));
	ASSERT_EQ(0, dev_open(&self->one));
	EXPECT_EQ(-EPERM, dev_bind_safely(&self->one, self->iommu));
}

TEST_F(sw_iommu, snoop)
{
	__u32 enforce, off;

	ASSERT_EQ(0, begin(self, "snoop_control=1"));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_ENFORCE,
				       &enforce));
	ASSERT_EQ(0, ioasid_alloc_attr(self->iommu, 0, IOMMU_SNOOP_OFF, &off));
	EXPECT_EQ(-EOPNOTSUPP, vfio_attach(self->one.fd, off));
	/* The driver has promised, and does not keep it. */
	ASSERT_EQ(0, test_iommu_fail("a", "enforce", 0, EINVAL));
	EXPECT_EQ(-EINVAL, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(0, vfio_attach(self->one.fd, enforce));
	EXPECT_EQ(0, vfio_attach(self->one.fd, self->ioasid));

	/* One that cannot gets another table, or nothing. */
	ASSERT_EQ(0, test_iommu_make("b", NULL));
	ASSERT_EQ(0, add_second(self, "b", NULL));
	EXPECT_EQ(-EINVAL, vfio_attach(self->two.fd, enforce));
	EXPECT_EQ(0, vfio_attach(self->two.fd, off));
	EXPECT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
}

/* ---- several tables ---- */

TEST_F(sw_iommu, two_tables)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(0, test_iommu_make("b", "width=40"));
	ASSERT_EQ(0, add_second(self, "b", NULL));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(2, info.num_devices);
	EXPECT_EQ(2, info.num_tables);
	EXPECT_EQ(MEM_PAGES * PAGE, info.pinned_bytes);

	/* What was there before, and what comes later. */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, 2 * TEST_IOVA, PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	EXPECT_TRUE(is_filled(self->mem, PAGE, OLD));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->two, 2 * TEST_IOVA, PAGE, NEW));
	EXPECT_TRUE(is_filled(self->mem, PAGE, NEW));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->two, TEST_IOVA, PAGE, OLD));

	/* What is unmapped is gone from both, and flushed in both. */
	ASSERT_EQ(0, ioasid_unmap(self->iommu, self->ioasid, TEST_IOVA,
				  MEM_PAGES * PAGE, NULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->one, TEST_IOVA, PAGE, NEW));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->two, TEST_IOVA, PAGE, NEW));

	/* The wider one reaches what the narrower one does not. */
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, 1ULL << 40, PAGE));
	ASSERT_EQ(0, vfio_detach(self->two.fd));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_tables);
	EXPECT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, 1ULL << 40, PAGE));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->two.fd, self->ioasid));
}

TEST_F(sw_iommu, one_table_for_two)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, begin_attached(self, "shares_tables=1"));
	ASSERT_EQ(0, test_iommu_make("b", "shares_tables=1"));
	ASSERT_EQ(0, add_second(self, "b", NULL));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(1, info.num_tables);
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->two, TEST_IOVA, PAGE, OLD));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->two, TEST_IOVA, PAGE, OLD));
	/* Whom it was made for leaves first, and all that there was of it. */
	dev_close(&self->one);
	ASSERT_EQ(0, test_iommu_remove("a"));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->two, TEST_IOVA, PAGE, NEW));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->two, TEST_IOVA, PAGE, OLD));
}

/* A driver that decides on the format of a table when it attaches it. */
TEST_F(sw_iommu, attach_first)
{
	struct iommu_ioasid_info info;
	struct iommu_device_info device;

	ASSERT_EQ(0, begin(self, "attach_first=1;width=40"));
	ASSERT_EQ(0, device_info(self, &device, NULL, 0));
	EXPECT_EQ(0, device.addr_width);
	EXPECT_EQ(0, device.num_ranges);
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	EXPECT_TRUE(is_filled(self->mem, PAGE, OLD));
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, 1ULL << 40, PAGE));

	/* The other one is filled behind the device's back. */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->other, READ_WRITE,
				self->mem + PAGE, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->other));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, NEW));
	EXPECT_TRUE(is_filled(self->mem + PAGE, PAGE, NEW));

	/* That fails, and it is back where it was. */
	ASSERT_EQ(0, test_iommu_fail("a", "map", 0, EBUSY));
	EXPECT_EQ(-EBUSY, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, MARK));
	EXPECT_TRUE(is_filled(self->mem + PAGE, PAGE, MARK));
	ASSERT_EQ(0, test_iommu_fail("a", "map", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	EXPECT_TRUE(is_filled(self->mem + PAGE, PAGE, OLD));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(0, info.pinned_bytes);
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	ASSERT_EQ(0, test_iommu_fail("a", "map", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	/* It is too narrow for what is mapped. */
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, 1ULL << 40, PAGE));
	EXPECT_EQ(-EADDRINUSE, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	EXPECT_EQ(-EOPNOTSUPP,
		  vfio_attach_pasid(self->one.fd, 1, self->other));
}

/* ---- PASIDs ---- */

TEST_F(sw_iommu, pasid)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, begin_attached(self, "pasid_bits=4"));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->other, READ_WRITE,
				self->mem + PAGE, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 5, self->other));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->other, &info));
	EXPECT_EQ(1, info.num_devices);
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_pasid(&self->one, 5, TEST_IOVA, PAGE, NEW));
	EXPECT_TRUE(is_filled(self->mem, PAGE, OLD));
	EXPECT_TRUE(is_filled(self->mem + PAGE, PAGE, NEW));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_pasid(&self->one, 4, TEST_IOVA, PAGE, NEW));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->other));

	/* Another address space for the same PASID, and for two. */
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 5, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_pasid(&self->one, 5, TEST_IOVA, PAGE, NEW));
	EXPECT_TRUE(is_filled(self->mem, PAGE, NEW));
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 6, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(3, info.num_devices);
	EXPECT_EQ(1, info.num_tables);

	/* What is unmapped is gone for all of them. */
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_pasid(&self->one, 5, TEST_IOVA, PAGE, NEW));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_pasid(&self->one, 6, TEST_IOVA, PAGE, NEW));

	ASSERT_EQ(0, vfio_detach_pasid(self->one.fd, 5));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_pasid(&self->one, 5, TEST_IOVA, PAGE, NEW));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_pasid(&self->one, 6, TEST_IOVA, PAGE, NEW));
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->one.fd, 16, self->other));
	/* Plain DMA may end while a PASID goes on. */
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_pasid(&self->one, 6, TEST_IOVA, PAGE, NEW));
}

TEST_F(sw_iommu, pasid_failures)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->other, READ_WRITE,
				self->mem + PAGE, TEST_IOVA, PAGE));
	ASSERT_EQ(0, test_iommu_fail("a", "pasid", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, vfio_attach_pasid(self->one.fd, 5, self->ioasid));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.pinned_bytes);
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 5, self->ioasid));
	ASSERT_EQ(0, test_iommu_fail("a", "pasid", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, vfio_attach_pasid(self->one.fd, 5, self->other));
	/* It is where it was. */
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_pasid(&self->one, 5, TEST_IOVA, PAGE, NEW));
	EXPECT_TRUE(is_filled(self->mem, PAGE, NEW));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->other, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.pinned_bytes);
}

TEST_F(sw_iommu, no_pasid)
{
	ASSERT_EQ(0, begin(self, "pasid_bits=0"));
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->one.fd, 1, self->ioasid));
}

/* ---- drivers that fail ---- */

TEST_F(sw_iommu, driver_fails)
{
	struct iommu_ioasid_info info;
	struct iommu_device_info device;

	ASSERT_EQ(0, begin(self, NULL));
	ASSERT_EQ(0, test_iommu_fail("a", "alloc", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, test_iommu_fail("a", "map", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, test_iommu_fail("a", "attach", 0, ENODEV));
	EXPECT_EQ(-ENODEV, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, test_iommu_fail("a", "alloc", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, device_info(self, &device, NULL, 0));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(0, info.pinned_bytes);
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_at(&self->one, TEST_IOVA, 8, MARK));

	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, test_iommu_fail("a", "map", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, 2 * TEST_IOVA, PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->one, 2 * TEST_IOVA, 8, MARK));
	EXPECT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, 2 * TEST_IOVA, PAGE));
	/* The device is made and does not get its IOMMU. */
	ASSERT_EQ(0, test_iommu_fail("a", "probe", 0, ENOMEM));
	EXPECT_EQ(-EIO, test_device_make("a", "two", NULL, &self->two));
}

/* One of several tables fails; the others must not keep anything. */
TEST_F(sw_iommu, map_fails_in_the_second_table)
{
	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(0, test_iommu_make("b", NULL));
	ASSERT_EQ(0, add_second(self, "b", NULL));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	ASSERT_EQ(0, test_iommu_fail("b", "map", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, 2 * TEST_IOVA, PAGE));
	EXPECT_EQ(-ENOENT, test_iommu_fail_left("b"));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->one, 2 * TEST_IOVA, 8, MARK));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->two, 2 * TEST_IOVA, 8, MARK));
	EXPECT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, 2 * TEST_IOVA, PAGE));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->two, 2 * TEST_IOVA, 8, MARK));
}

/* ---- a device that streams meanwhile ---- */

/* The whole memory, 64 bytes at a time, on and on. */
static int stream(struct dma_device *dev, __u32 op, __u32 flags, __u64 length)
{
	struct ioasid_test_command command = {
		.op = op,
		.flags = IOASID_TEST_FOREVER | flags,
		.iova = TEST_IOVA,
		.length = length,
		.step = 64,
		.pattern = OLD,
		.pattern2 = NEW,
	};

	return test_device_run(dev, 0, &command);
}

static int stop(struct dma_device *dev, struct ioasid_test_status *status)
{
	return test_device_stop(dev, 0, status);
}

/* Waits until the device has done something more. */
static int wait_progress(struct dma_device *dev)
{
	struct ioasid_test_status status;
	__u64 seen = 0;
	int tries, rc;

	for (tries = 0; tries < 20000; tries++) {
		rc = test_device_status(dev, 0, &status);
		if (rc)
			return rc;
		if (!status.running)
			return -EPIPE;
		if (!tries)
			seen = status.bytes + status.faults;
		else if (status.bytes + status.faults >= seen + 256)
			return 0;
		usleep(100);
	}
	return -ETIMEDOUT;
}

static void set_words(void *mem, size_t length, __u64 pattern)
{
	__u64 *word = mem;

	while (length) {
		*word++ = pattern;
		length -= 8;
	}
}

#define HALF	(MEM_PAGES / 2 * PAGE)

/* The device sees OLD in one address space and NEW in the other. */
static int prepare_replace(struct _test_data_sw_iommu *self,
			   const char *settings)
{
	int rc = begin(self, settings);

	if (!rc)
		rc = ioasid_unmap_all(self->iommu, self->ioasid, NULL);
	if (!rc)
		rc = ioasid_map(self->iommu, self->ioasid, READ_ONLY, self->mem,
				TEST_IOVA, HALF);
	if (!rc)
		rc = ioasid_map(self->iommu, self->other, READ_ONLY,
				self->mem + HALF, TEST_IOVA, HALF);
	set_words(self->mem, HALF, OLD);
	set_words(self->mem + HALF, HALF, NEW);
	return rc ? rc : vfio_attach(self->one.fd, self->ioasid);
}

/*
 * Moves the streaming device to and fro, with @pasid if that is not 0, and stops
 * it. It has seen nothing but the two address spaces, and both of them.
 */
static void move_often(struct __test_metadata *_metadata,
		       struct _test_data_sw_iommu *self, __u32 pasid,
		       struct ioasid_test_status *status)
{
	__u32 to;
	int i;

	for (i = 0; i < 50; i++) {
		to = i % 2 ? self->ioasid : self->other;
		ASSERT_EQ(0, wait_progress(&self->one));
		ASSERT_EQ(0, pasid ? vfio_attach_pasid(self->one.fd, pasid, to) :
				     vfio_attach(self->one.fd, to));
	}
	ASSERT_EQ(0, wait_progress(&self->one));
	ASSERT_EQ(0, stop(&self->one, status));
	EXPECT_EQ(0, status->mismatches);
	EXPECT_LT(0, status->matches);
	EXPECT_LT(0, status->matches2);
}

TEST_F_TIMEOUT(sw_iommu, replace_loses_nothing, 60)
{
	struct ioasid_test_status status;

	ASSERT_EQ(0, prepare_replace(self, "hitless=1"));
	ASSERT_EQ(0, stream(&self->one, IOASID_TEST_COMPARE, 0, HALF));
	move_often(_metadata, self, 0, &status);
	EXPECT_EQ(0, status.faults);
}

/* Where the driver takes one away first there is a gap, and nothing in it. */
TEST_F_TIMEOUT(sw_iommu, replace_with_a_gap, 60)
{
	struct ioasid_test_status status;

	ASSERT_EQ(0, prepare_replace(self, "hitless=0"));
	ASSERT_EQ(0, stream(&self->one, IOASID_TEST_COMPARE,
			    IOASID_TEST_KEEP_GOING, HALF));
	move_often(_metadata, self, 0, &status);
	EXPECT_LT(0, status.faults);
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED, status.fault);
}

/* The driver fails when it has taken the old one away already. */
TEST_F_TIMEOUT(sw_iommu, replace_fails, 60)
{
	struct ioasid_test_status status;
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, prepare_replace(self, "hitless=0"));
	ASSERT_EQ(0, test_iommu_fail("a", "attach", 0, ENOMEM));
	EXPECT_EQ(-ENOMEM, vfio_attach(self->one.fd, self->other));
	EXPECT_EQ(-ENOENT, test_iommu_fail_left("a"));
	ASSERT_EQ(0, stream(&self->one, IOASID_TEST_COMPARE, 0, HALF));
	ASSERT_EQ(0, wait_progress(&self->one));
	ASSERT_EQ(0, stop(&self->one, &status));
	EXPECT_EQ(0, status.faults);
	EXPECT_EQ(0, status.matches2);
	EXPECT_EQ(0, status.mismatches);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->other, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(0, info.pinned_bytes);
}

TEST_F_TIMEOUT(sw_iommu, replace_pasid_loses_nothing, 60)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_COMPARE,
		.flags = IOASID_TEST_FOREVER | IOASID_TEST_PASID,
		.pasid = 3,
		.iova = TEST_IOVA,
		.length = HALF,
		.step = 64,
		.pattern = OLD,
		.pattern2 = NEW,
	};
	struct ioasid_test_status status;

	ASSERT_EQ(0, prepare_replace(self, NULL));
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 3, self->ioasid));
	ASSERT_EQ(0, test_device_run(&self->one, 0, &command));
	move_often(_metadata, self, 3, &status);
	EXPECT_EQ(0, status.faults);
}

/* What UNMAP has returned is not written any more. */
TEST_F_TIMEOUT(sw_iommu, unmap_ends_a_stream, 60)
{
	struct ioasid_test_status status;
	int i;

	ASSERT_EQ(0, begin_attached(self, NULL));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, stream(&self->one, IOASID_TEST_FILL, 0,
				    MEM_PAGES * PAGE));
		ASSERT_EQ(0, wait_progress(&self->one));
		ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
		memset(self->mem, 0, MEM_PAGES * PAGE);
		ASSERT_EQ(0, test_device_wait(&self->one, 0, &status));
		EXPECT_TRUE(all_bytes(self->mem, MEM_PAGES * PAGE, 0));
		EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT, status.fault);
		ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
					self->mem, TEST_IOVA,
					MEM_PAGES * PAGE));
	}
}

TEST_F_TIMEOUT(sw_iommu, detach_ends_a_stream, 60)
{
	struct ioasid_test_status status;

	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(0, stream(&self->one, IOASID_TEST_FILL, 0,
			    MEM_PAGES * PAGE));
	ASSERT_EQ(0, wait_progress(&self->one));
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	memset(self->mem, 0, MEM_PAGES * PAGE);
	ASSERT_EQ(0, test_device_wait(&self->one, 0, &status));
	EXPECT_TRUE(all_bytes(self->mem, MEM_PAGES * PAGE, 0));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED, status.fault);
}

/* The device streams on while the process closes everything. */
TEST_F(sw_iommu, close_under_stream)
{
	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(0, stream(&self->one, IOASID_TEST_FILL, 0,
			    MEM_PAGES * PAGE));
	ASSERT_EQ(0, wait_progress(&self->one));
	close(self->iommu);
	self->iommu = -1;
	ASSERT_EQ(0, wait_progress(&self->one));
	dev_close(&self->one);
	memset(self->mem, 0, MEM_PAGES * PAGE);
	usleep(10000);
	EXPECT_TRUE(all_bytes(self->mem, MEM_PAGES * PAGE, 0));
}

/* ---- interrupts ---- */

#define INTERRUPTS	1000

/* Interrupts at the end of each round, while the address space changes. */
static int count_interrupts(struct _test_data_sw_iommu *self, int event,
			    __u64 *seen)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_TOUCH_READ,
		.flags = IOASID_TEST_FOREVER | IOASID_TEST_KEEP_GOING |
			 IOASID_TEST_IRQ,
		.irq = 3,
		.iova = TEST_IOVA,
		.length = 64,
	};
	struct ioasid_test_status status;
	__u64 value;
	int i, rc;

	*seen = 0;
	rc = test_device_run(&self->one, 0, &command);
	for (i = 0; !rc && (*seen < INTERRUPTS || i < 50); i++) {
		rc = vfio_attach(self->one.fd,
				 i % 2 ? self->ioasid : self->other);
		if (!rc && read(event, &value, sizeof(value)) == sizeof(value))
			*seen += value;
	}
	if (!rc)
		rc = test_device_stop(&self->one, 0, &status);
	if (read(event, &value, sizeof(value)) == sizeof(value))
		*seen += value;
	return rc;
}

static void check_interrupts(struct __test_metadata *_metadata,
			     struct _test_data_sw_iommu *self,
			     const char *settings)
{
	struct ioasid_test_globals globals;
	__u64 seen;
	int event;

	ASSERT_EQ(0, prepare_replace(self, settings));
	event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, event);
	ASSERT_EQ(0, dev_irq(&self->one, IOASID_TEST_IRQ_MSI, 3, event));
	ASSERT_EQ(0, count_interrupts(self, event, &seen));
	ASSERT_EQ(0, test_device_globals(&self->one, &globals));
	EXPECT_LE(INTERRUPTS, seen);
	EXPECT_EQ(globals.interrupts, seen);
	EXPECT_EQ(globals.interrupts, globals.delivered);
	close(event);
}

TEST_F_TIMEOUT(sw_iommu, interrupts_go_on, 60)
{
	check_interrupts(_metadata, self, "hitless=1;msi=direct");
}

/* A gap for DMA is none for interrupts that are not translated. */
TEST_F_TIMEOUT(sw_iommu, interrupts_go_on_in_the_gap, 60)
{
	check_interrupts(_metadata, self, "hitless=0;msi=direct");
}

/* The page that they are written to must be in the new table in time. */
TEST_F_TIMEOUT(sw_iommu, mapped_interrupts_go_on, 60)
{
	check_interrupts(_metadata, self, "hitless=1;msi=mapped");
}

TEST_F(sw_iommu, mapped_interrupts)
{
	struct ioasid_test_globals globals;
	struct iommu_ioasid_info info;
	struct iommu_range ranges[8];
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	__u64 value;

	ASSERT_LE(0, event);
	ASSERT_EQ(0, begin_attached(self, "msi=mapped"));
	ASSERT_EQ(0, dev_irq(&self->one, IOASID_TEST_IRQ_MSI, 0, event));
	ASSERT_EQ(0, test_device_raise(&self->one, 0));
	EXPECT_EQ(8, read(event, &value, 8));
	EXPECT_EQ(1, value);

	/* The window is nobody else's. */
	EXPECT_EQ(-EINVAL, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				      self->mem, 0x8000000, PAGE));
	memset(&info, 0, sizeof(info));
	info.ranges = (uintptr_t)ranges;
	info.num_ranges = 8;
	ASSERT_EQ(0, ioasid_info(self->iommu, self->ioasid, &info));
	ASSERT_EQ(2, info.num_ranges);
	EXPECT_EQ(0x7ffffff, ranges[0].last);
	EXPECT_EQ(0x8100000, ranges[1].first);
	/* It is no memory for DMA either. */
	EXPECT_EQ(IOASID_TEST_FAULT_INTERRUPT,
		  fill_at(&self->one, 0x8000000, 8, MARK));
	/* UNMAP of everything is not meant for it. */
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	ASSERT_EQ(0, test_device_raise(&self->one, 0));
	EXPECT_EQ(8, read(event, &value, 8));
	/* Without an address space nothing arrives. */
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	ASSERT_EQ(0, test_device_raise(&self->one, 0));
	EXPECT_EQ(-1, read(event, &value, 8));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->other));
	ASSERT_EQ(0, test_device_raise(&self->one, 0));
	EXPECT_EQ(8, read(event, &value, 8));
	ASSERT_EQ(0, test_device_globals(&self->one, &globals));
	EXPECT_EQ(4, globals.interrupts);
	EXPECT_EQ(3, globals.delivered);
	close(event);
}

/* The page of the interrupts comes first into a table that is filled late. */
TEST_F(sw_iommu, mapped_interrupts_attach_first)
{
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	__u64 value;

	ASSERT_LE(0, event);
	ASSERT_EQ(0, begin_attached(self, "msi=mapped;attach_first=1"));
	ASSERT_EQ(0, dev_irq(&self->one, IOASID_TEST_IRQ_MSI, 0, event));
	ASSERT_EQ(0, test_device_raise(&self->one, 0));
	EXPECT_EQ(8, read(event, &value, 8));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->other));
	ASSERT_EQ(0, test_device_raise(&self->one, 0));
	EXPECT_EQ(8, read(event, &value, 8));
	ASSERT_EQ(0, vfio_detach(self->one.fd));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, test_device_raise(&self->one, 0));
	EXPECT_EQ(8, read(event, &value, 8));
	close(event);
}

/* With up to two eventfds, which are none. */
static int set_irqs(struct dma_device *dev, __u32 index, __u32 flags,
		    __u32 start, __u32 count)
{
	__u64 room[4];
	struct vfio_irq_set *set = (void *)room;

	memset(room, 0xff, sizeof(room));
	set->argsz = sizeof(*set) + 2 * sizeof(__s32);
	set->index = index;
	set->flags = VFIO_IRQ_SET_ACTION_TRIGGER | flags;
	set->start = start;
	set->count = count;
	return ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, set) ? -errno : 0;
}

TEST_F(sw_iommu, odd_interrupts)
{
	ASSERT_EQ(0, begin_attached(self, NULL));
	EXPECT_EQ(-EINVAL, set_irqs(&self->one, IOASID_TEST_IRQ_REQ,
				    VFIO_IRQ_SET_DATA_EVENTFD, 0, 0));
	EXPECT_EQ(-EINVAL, set_irqs(&self->one, IOASID_TEST_IRQ_REQ,
				    VFIO_IRQ_SET_DATA_EVENTFD, 0, 2));
	EXPECT_EQ(0, set_irqs(&self->one, IOASID_TEST_IRQ_REQ,
			      VFIO_IRQ_SET_DATA_EVENTFD, 0, 1));
	EXPECT_EQ(-EINVAL, set_irqs(&self->one, IOASID_TEST_NUM_IRQS,
				    VFIO_IRQ_SET_DATA_EVENTFD, 0, 1));
	EXPECT_EQ(-EINVAL, set_irqs(&self->one, IOASID_TEST_IRQ_MSI,
				    VFIO_IRQ_SET_DATA_EVENTFD,
				    IOASID_TEST_NUM_MSI - 1, 2));
	EXPECT_EQ(0, set_irqs(&self->one, IOASID_TEST_IRQ_MSI,
			      VFIO_IRQ_SET_DATA_EVENTFD,
			      IOASID_TEST_NUM_MSI - 1, 1));
	EXPECT_EQ(0, set_irqs(&self->one, IOASID_TEST_IRQ_MSI,
			      VFIO_IRQ_SET_DATA_EVENTFD, 0, 0));
	EXPECT_EQ(0, set_irqs(&self->one, IOASID_TEST_IRQ_MSI,
			      VFIO_IRQ_SET_DATA_NONE, 0, 0));
	EXPECT_EQ(0, test_device_raise(&self->one, 0));
}

/* ---- several programs drive the device ---- */

struct racer {
	struct dma_device *dev;
	bool enough;
};

static void *start_again(void *arg)
{
	struct racer *racer = arg;

	while (!__atomic_load_n(&racer->enough, __ATOMIC_RELAXED))
		stream(racer->dev, IOASID_TEST_FILL, 0, PAGE);
	return NULL;
}

/* Who stops it gets away, however often somebody else starts it. */
TEST_F_TIMEOUT(sw_iommu, start_against_stop, 60)
{
	struct racer racer = { .dev = &self->one };
	struct ioasid_test_status status;
	pthread_t thread;
	int i;

	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, start_again, &racer));
	for (i = 0; i < 300; i++) {
		ASSERT_EQ(0, test_device_stop(&self->one, 0, &status));
		ASSERT_EQ(0, test_device_reset(&self->one));
	}
	__atomic_store_n(&racer.enough, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	ASSERT_EQ(0, test_device_stop(&self->one, 0, &status));
	EXPECT_EQ(0, status.running);
}

static void *fill_for_long(void *arg)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_KEEP_GOING,
		.iova = TEST_IOVA,
		.length = 1ULL << 40,
		.step = 8,
		.pattern = MARK,
	};

	return (void *)(long)test_device_run(arg, 0, &command);
}

/* A reset ends what another thread waits for, before it returns. */
TEST_F_TIMEOUT(sw_iommu, reset_under_command, 60)
{
	struct ioasid_test_globals globals;
	pthread_t thread;
	int tries;

	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, fill_for_long, &self->one));
	for (tries = 0; tries < 10000 && !self->mem[0]; tries++)
		usleep(1000);
	EXPECT_NE(0, self->mem[0]);
	ASSERT_EQ(0, ioctl(self->one.fd, VFIO_DEVICE_RESET));
	memset(self->mem, 0, MEM_PAGES * PAGE);
	ASSERT_EQ(0, test_device_globals(&self->one, &globals));
	EXPECT_EQ(0, globals.accesses);
	pthread_join(thread, NULL);
	EXPECT_TRUE(all_bytes(self->mem, MEM_PAGES * PAGE, 0));
}

/* What one has done with a device is nothing for the next. */
TEST_F(sw_iommu, open_again)
{
	struct ioasid_test_status status;
	char data[8];

	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(0, test_device_buffer_write(&self->one, 0, "secret!", 8));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->one, 2 * TEST_IOVA, 8, MARK));
	dev_close(&self->one);
	ASSERT_EQ(0, dev_open_bind(&self->one, self->iommu));
	ASSERT_EQ(0, test_device_buffer_read(&self->one, 0, data, 8));
	EXPECT_TRUE(all_bytes(data, 8, 0));
	ASSERT_EQ(0, test_device_status(&self->one, 0, &status));
	EXPECT_EQ(0, status.fault);
	EXPECT_EQ(0, status.fault_iova);
}

/* ---- groups, plugging ---- */

TEST_F(sw_iommu, group_of_two)
{
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, test_device_make("a", "one", "group=g", &self->one));
	ASSERT_EQ(0, dev_open_bind(&self->one, self->iommu));
	ASSERT_EQ(0, add_second(self, "a", "group=g"));
	ASSERT_EQ(self->one.group, self->two.group);
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	/* The group has one address space. */
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->two, TEST_IOVA, PAGE, OLD));
	EXPECT_EQ(-EINVAL, vfio_attach(self->two.fd, self->other));
	EXPECT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	EXPECT_EQ(0, vfio_attach_pasid(self->one.fd, 2, self->other));
	EXPECT_EQ(-EINVAL, vfio_attach_pasid(self->two.fd, 2, self->ioasid));
	/* One asks for another, and both move. */
	EXPECT_EQ(0, vfio_attach(self->two.fd, self->other));
	EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT,
		  fill_at(&self->one, TEST_IOVA, PAGE, NEW));
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->other, &info));
	EXPECT_EQ(3, info.num_devices);
}

/* The driver fails for the second member when the first has moved already. */
TEST_F(sw_iommu, group_half_moved)
{
	ASSERT_EQ(0, test_iommu_make("a", "hitless=0"));
	ASSERT_EQ(0, test_device_make("a", "one", "group=g", &self->one));
	ASSERT_EQ(0, dev_open_bind(&self->one, self->iommu));
	ASSERT_EQ(0, add_second(self, "a", "group=g"));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, test_iommu_fail("a", "attach", 1, ENOMEM));
	EXPECT_EQ(-ENOMEM, vfio_attach(self->one.fd, self->other));
	EXPECT_EQ(-ENOENT, test_iommu_fail_left("a"));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->two, TEST_IOVA, PAGE, NEW));
	EXPECT_TRUE(is_filled(self->mem, PAGE, NEW));
}

static void *unplug(void *arg)
{
	return (void *)(long)test_device_unplug("a", arg);
}

TEST_F_TIMEOUT(sw_iommu, unplug_under_dma, 60)
{
	int event = eventfd(0, EFD_CLOEXEC);
	struct pollfd poll_event = { .fd = event, .events = POLLIN };
	struct iommu_ioasid_info info;
	pthread_t thread;
	void *result;

	ASSERT_LE(0, event);
	ASSERT_EQ(0, begin_attached(self, NULL));
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 7, self->ioasid));
	ASSERT_EQ(0, dev_irq(&self->one, IOASID_TEST_IRQ_REQ, 0, event));
	ASSERT_EQ(0, stream(&self->one, IOASID_TEST_FILL, 0,
			    MEM_PAGES * PAGE));
	ASSERT_EQ(0, pthread_create(&thread, NULL, unplug, "one"));
	ASSERT_EQ(1, poll(&poll_event, 1, 30000));
	/* It is still there, and so is its memory. */
	EXPECT_EQ(0, wait_progress(&self->one));
	dev_close(&self->one);
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(NULL, result);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	EXPECT_EQ(0, info.pinned_bytes);

	/* And back. */
	ASSERT_EQ(0, test_device_plug("a", "one", &self->one));
	ASSERT_EQ(0, dev_open_bind(&self->one, self->iommu));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, NEW));
	close(event);
}

/* A device that is unplugged forgets the PASIDs of its group. */
TEST_F(sw_iommu, unplug_forgets_pasids)
{
	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, test_device_make("a", "one", "group=g", &self->one));
	ASSERT_EQ(0, dev_open_bind(&self->one, self->iommu));
	ASSERT_EQ(0, test_device_make("a", "two", "group=g", &self->two));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 2, self->ioasid));
	ASSERT_EQ(0, test_device_unplug("a", "two"));
	ASSERT_EQ(0, vfio_detach_pasid(self->one.fd, 2));
	ASSERT_EQ(0, test_device_plug("a", "two", &self->two));
	ASSERT_EQ(0, dev_open_bind(&self->two, self->iommu));
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  fill_pasid(&self->two, 2, TEST_IOVA, PAGE, NEW));
}

/* One that is plugged into a group in use joins what the group has. */
TEST_F(sw_iommu, plug_into_a_group)
{
	ASSERT_EQ(0, test_iommu_make("a", NULL));
	ASSERT_EQ(0, test_device_make("a", "one", "group=g", &self->one));
	ASSERT_EQ(0, dev_open_bind(&self->one, self->iommu));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				self->mem, TEST_IOVA, PAGE));
	ASSERT_EQ(0, vfio_attach(self->one.fd, self->ioasid));
	ASSERT_EQ(0, add_second(self, "a", "group=g"));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->two, TEST_IOVA, PAGE, NEW));
	ASSERT_EQ(0, vfio_attach(self->two.fd, self->ioasid));
	/* A driver of the kernel is not welcome. */
	EXPECT_EQ(-EIO, test_device_make("a", "three", "group=g;kind=kernel",
					 NULL));
	dev_close(&self->two);
	EXPECT_EQ(0, test_device_remove("a", "two"));
	EXPECT_EQ(IOASID_TEST_FAULT_NONE,
		  fill_at(&self->one, TEST_IOVA, PAGE, OLD));
}

/* ---- page requests ---- */

/* Nobody answers them yet: they are denied at once, and DMA ends. */
TEST_F(sw_iommu, page_request_without_handler)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_PAGE_REQUEST,
		.iova = TEST_IOVA - PAGE,
		.length = 2 * PAGE,
		.pattern = MARK,
	};
	struct ioasid_test_globals globals;
	struct ioasid_test_status status;

	ASSERT_EQ(0, begin_attached(self, "pri=1"));
	EXPECT_EQ(IOASID_TEST_FAULT_REQUEST,
		  run(&self->one, &command, &status));
	EXPECT_EQ(0, status.bytes);
	command.flags |= IOASID_TEST_PASID;
	command.pasid = 1;
	EXPECT_EQ(IOASID_TEST_FAULT_BLOCKED,
		  run(&self->one, &command, &status));
	ASSERT_EQ(0, vfio_attach_pasid(self->one.fd, 1, self->ioasid));
	EXPECT_EQ(IOASID_TEST_FAULT_REQUEST,
		  run(&self->one, &command, &status));
	ASSERT_EQ(0, test_device_globals(&self->one, &globals));
	EXPECT_EQ(2, globals.page_requests);
	EXPECT_EQ(0, globals.page_responses);
	EXPECT_EQ(3, globals.faults);
}

TEST_HARNESS_MAIN
