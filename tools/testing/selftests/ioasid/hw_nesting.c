// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables of the user's own that the IOMMU walks on top of the kernel's: a
 * vIOMMU of ARM's SMMUv3. The memory of a guest is an address space, below which
 * there is a page table that others can be nested in, the second stage. What the
 * test does in the place of a guest's kernel is to write, into that memory, a
 * context descriptor and the tables of a first stage, by the addresses that the
 * guest knows.
 */
#include <errno.h>
#include <linux/iommufd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "msi_utils.h"

/* The guest's memory, by its addresses, and in the IOASID that has registered it */
#define GUEST		0x40000000ULL
#define MEM_PAGES	32
#define REGISTERED	0x200000000ULL
/* The device, as the guest knows it */
#define STREAM		0x23
#define SPACE		7
#define BYTES		512

/* The first stage has pages of 4 KiB and 39 bits. */
#define S1_PAGE		0x1000ULL
#define S1_LEAF		0x740ULL
#define S1_READ_ONLY	0x80ULL
#define S1_BLOCK	0x1ULL
#define S1_VALID	0x3ULL

#define STE_ABORT	0x1ULL
#define STE_BYPASS	0x9ULL
#define STE_FIRST_STAGE	0xbULL
/* Without substreams, and with tables in cacheable memory */
#define STE_MORE	0xd6ULL

#define CMD_CD		0x05ULL
#define CMD_ALL_NH	0x10ULL
#define CMD_SPACE	0x11ULL
#define CMD_ADDRESS	0x12ULL
#define CMD_ALL		0x30ULL
#define CMD_SYNC	0x46ULL

#define EVENT_TRANSLATION	0x10
#define EVENT_PERMISSION	0x13

/* What is in the pages of the guest's memory */
enum {
	DESCRIPTOR,
	LEVEL1,
	LEVEL2,
	LEVEL3,
	OTHER_LEVEL1,
	OTHER_LEVEL2,
	OTHER_LEVEL3,
	DATA = 16,
};

FIXTURE(hw_nesting) {
	int iommu;
	int msi;
	int events;
	struct dma_device dev;
	__u32 prereg;
	__u32 ioasid;
	__u32 parent;
	__u32 viommu;
	__u32 vdevice;
	__u32 nested;
	char *mem;
	struct counts counts;
};

FIXTURE_VARIANT(hw_nesting) {
	bool child;
};

FIXTURE_VARIANT_ADD(hw_nesting, root) {
	.child = false,
};

/* The second stage shows registered memory. */
FIXTURE_VARIANT_ADD(hw_nesting, child) {
	.child = true,
};

/* ---- calls ---- */

static int viommu_alloc(int iommu, __u32 dev_id, __u32 hwpt, __u32 *viommu)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3,
		.dev_id = dev_id,
		.hwpt_id = hwpt,
	};
	int rc = iommu_call(iommu, IOMMU_VIOMMU_ALLOC, &cmd);

	*viommu = cmd.out_viommu_id;
	return rc;
}

static int vdevice_alloc(int iommu, __u32 dev_id, __u32 viommu, __u32 *vdevice)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = viommu,
		.dev_id = dev_id,
		.virt_id = STREAM,
	};
	int rc = iommu_call(iommu, IOMMU_VDEVICE_ALLOC, &cmd);

	*vdevice = cmd.out_vdevice_id;
	return rc;
}

static int nested_alloc(int iommu, __u32 dev_id, __u32 on, __u64 ste0,
			__u64 ste1, __u32 *hwpt)
{
	struct iommu_hwpt_arm_smmuv3 ste = { .ste = { ste0, ste1 } };
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.dev_id = dev_id,
		.pt_id = on,
		.data_type = IOMMU_HWPT_DATA_ARM_SMMUV3,
		.data_len = sizeof(ste),
		.data_uptr = (uintptr_t)&ste,
	};
	int rc = iommu_call(iommu, IOMMU_HWPT_ALLOC, &cmd);

	*hwpt = cmd.out_hwpt_id;
	return rc;
}

/* Return: how many commands took effect, or a negative errno if none did */
static int invalidate(struct _test_data_hw_nesting *self,
		      struct iommu_viommu_arm_smmuv3_invalidate *commands,
		      __u32 num)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = self->viommu,
		.data_uptr = (uintptr_t)commands,
		.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
		.entry_len = sizeof(*commands),
		.entry_num = num,
	};
	int rc = iommu_call(self->iommu, IOMMU_HWPT_INVALIDATE, &cmd);

	return rc && !cmd.entry_num ? rc : (int)cmd.entry_num;
}

static int invalidate_one(struct _test_data_hw_nesting *self, __u64 low,
			  __u64 high)
{
	struct iommu_viommu_arm_smmuv3_invalidate command = {
		.cmd = { low, high },
	};

	return invalidate(self, &command, 1);
}

static int invalidate_address(struct _test_data_hw_nesting *self, __u64 va)
{
	return invalidate_one(self, CMD_ADDRESS | (__u64)SPACE << 48, va);
}

static int events_open(struct _test_data_hw_nesting *self)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd),
		.viommu_id = self->viommu,
		.type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3,
		.veventq_depth = 64,
	};
	int rc = iommu_call(self->iommu, IOMMU_VEVENTQ_ALLOC, &cmd);

	return rc ? rc : (int)cmd.out_veventq_fd;
}

/* The next event of the guest's SMMU, for which it waits a while */
static int event_read(int fd, struct iommu_vevent_arm_smmuv3 *event)
{
	struct {
		struct iommufd_vevent_header header;
		struct iommu_vevent_arm_smmuv3 event;
	} room;
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	if (poll(&wait, 1, 10000) != 1)
		return -ETIMEDOUT;
	if (read(fd, &room, sizeof(room)) != sizeof(room))
		return -EIO;
	*event = room.event;
	return 0;
}

/* ---- what a guest does ---- */

static __u64 ipa(unsigned int page)
{
	return GUEST + page * PAGE;
}

static __u64 va(unsigned int page)
{
	return TEST_IOVA + page * S1_PAGE;
}

static char *data(struct _test_data_hw_nesting *self, unsigned int page)
{
	return self->mem + (DATA + page) * PAGE;
}

static void put(struct _test_data_hw_nesting *self, unsigned int page,
		unsigned int index, __u64 value)
{
	__u64 *entry = (__u64 *)(self->mem + page * PAGE) + index;

	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* Page @page of the device's addresses is to be at @ipa. */
static void set_leaf(struct _test_data_hw_nesting *self, unsigned int level3,
		     unsigned int page, __u64 ipa, __u64 more)
{
	put(self, level3, page, ipa | S1_LEAF | S1_VALID | more);
}

/* Data page @page is where @to says; the rest is not mapped. */
static void make_tables(struct _test_data_hw_nesting *self,
			unsigned int level1, const unsigned char to[4])
{
	unsigned int level2 = level1 + 1, level3 = level1 + 2, i;

	memset(self->mem + level1 * PAGE, 0, 3 * PAGE);
	put(self, level1, TEST_IOVA >> 30, ipa(level2) | S1_VALID);
	put(self, level2, TEST_IOVA >> 21 & 511, ipa(level3) | S1_VALID);
	for (i = 0; i < 4; i++)
		set_leaf(self, level3, i, ipa(DATA + to[i]), 0);
	/* Interrupt messages go where the kernel has mapped the doorbell. */
	put(self, level2, msi_first >> 21 & 511,
	    (msi_first & ~0x1fffffULL) | S1_LEAF | S1_BLOCK);
}

static void make_descriptor(struct _test_data_hw_nesting *self,
			    unsigned int level1)
{
	memset(self->mem + DESCRIPTOR * PAGE, 0, 64);
	put(self, DESCRIPTOR, 1, ipa(level1));
	/* All memory is normal. */
	put(self, DESCRIPTOR, 3, ~0ULL);
	/* Addresses of 39 bits become such of 40, faults are reported. */
	put(self, DESCRIPTOR, 0,
	    25 | 1 << 8 | 1 << 10 | 3 << 12 | 1ULL << 30 | 1ULL << 31 |
	    2ULL << 32 | 1ULL << 41 | 1ULL << 45 | 1ULL << 46 | 1ULL << 47 |
	    (__u64)SPACE << 48);
}

/* Whether the device reaches data page @to, and no other, at @page of its own */
static bool reaches(struct _test_data_hw_nesting *self, __u64 at,
		    unsigned int to)
{
	unsigned int i;

	memset(data(self, 0), 0x11, 8 * PAGE);
	fill_pattern(data(self, to), BYTES, to + 1);
	if (dev_dma_copy(&self->dev, at, at + BYTES, BYTES))
		return false;
	for (i = 0; i < 8; i++)
		if (i != to && !all_bytes(data(self, i), PAGE, 0x11))
			return false;
	return has_pattern(data(self, to), BYTES, to + 1) &&
	       has_pattern(data(self, to) + BYTES, BYTES, to + 1) &&
	       all_bytes(data(self, to) + 2 * BYTES, PAGE - 2 * BYTES, 0x11);
}

/* Nothing in the memory of the guest changes when the device writes there. */
static bool is_hole(struct _test_data_hw_nesting *self, __u64 at)
{
	memset(data(self, 0), 0x11, 8 * PAGE);
	return !dev_dma(&self->dev, at, BYTES, true) &&
	       all_bytes(data(self, 0), 8 * PAGE, 0x11);
}

/* ---- fixture ---- */

static int map_memory(struct _test_data_hw_nesting *self, __u32 flags,
		      unsigned int page, unsigned int pages)
{
	__u64 src = self->prereg ? REGISTERED + page * PAGE :
				   (uintptr_t)self->mem + page * PAGE;

	return ioasid_show(self->iommu, self->ioasid, flags, src, ipa(page),
			   pages * PAGE);
}

static int unmap_memory(struct _test_data_hw_nesting *self, unsigned int page,
			unsigned int pages)
{
	return ioasid_unmap(self->iommu, self->ioasid, ipa(page),
			    pages * PAGE, NULL);
}

static const unsigned char straight[] = { 0, 1, 2, 3 };
static const unsigned char crossed[] = { 3, 0, 6, 1 };

static __u64 first_stage(void)
{
	return STE_FIRST_STAGE | ipa(DESCRIPTOR);
}

static int make_nested(struct _test_data_hw_nesting *self, __u32 *nested)
{
	return nested_alloc(self->iommu, self->dev.dev_id, self->viommu,
			    first_stage(), STE_MORE, nested);
}

FIXTURE_SETUP(hw_nesting)
{
	int rc;

	self->msi = -1;
	self->events = -1;
	self->prereg = 0;
	if (!DEVICE_BEGIN())
		return;
	MEM_BEGIN(MEM_PAGES * PAGE);
	if (variant->child) {
		ASSERT_EQ(0, ioasid_alloc_prereg(self->iommu, &self->prereg));
		ASSERT_EQ(0, ioasid_map(self->iommu, self->prereg, READ_WRITE,
					self->mem, REGISTERED,
					MEM_PAGES * PAGE));
		ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->prereg,
						&self->ioasid));
	} else {
		ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
	}
	ASSERT_EQ(0, map_memory(self, READ_WRITE, 0, DATA));
	ASSERT_EQ(0, map_memory(self, READ_WRITE, DATA, 4));
	ASSERT_EQ(0, map_memory(self, READ_WRITE, DATA + 4, 4));
	rc = hwpt_alloc(self->iommu, self->dev.dev_id, self->ioasid,
			IOMMU_HWPT_ALLOC_NEST_PARENT, &self->parent);
	if (!rc)
		rc = viommu_alloc(self->iommu, self->dev.dev_id, self->parent,
				  &self->viommu);
	if (rc == -EOPNOTSUPP)
		SKIP(return, "no SMMUv3 with two stages");
	ASSERT_EQ(0, rc);
	ASSERT_EQ(0, vdevice_alloc(self->iommu, self->dev.dev_id, self->viommu,
				   &self->vdevice));
	make_tables(self, LEVEL1, crossed);
	make_descriptor(self, LEVEL1);
	ASSERT_EQ(0, make_nested(self, &self->nested));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->nested));
}

FIXTURE_TEARDOWN(hw_nesting)
{
	if (self->msi >= 0)
		close(self->msi);
	if (self->events >= 0)
		close(self->events);
	DEVICE_END();
}

/* ---- translation ---- */

TEST_F(hw_nesting, both_stages)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		EXPECT_TRUE(reaches(self, va(i), crossed[i]));
	/* The addresses of the guest are none of the device. */
	EXPECT_TRUE(is_hole(self, va(4)));
	EXPECT_TRUE(is_hole(self, ipa(DATA) & 0xfffffff));
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
}

TEST_F(hw_nesting, holes_of_the_second_stage)
{
	/* Never mapped, past the end, and not any more */
	set_leaf(self, LEVEL3, 4, ipa(MEM_PAGES + 8), 0);
	set_leaf(self, LEVEL3, 5, 0x100000, 0);
	EXPECT_TRUE(is_hole(self, va(4)));
	EXPECT_TRUE(is_hole(self, va(5)));
	ASSERT_EQ(0, unmap_memory(self, DATA + 4, 4));
	EXPECT_TRUE(is_hole(self, va(2)));
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
	ASSERT_EQ(0, map_memory(self, READ_WRITE, DATA + 4, 4));
	EXPECT_TRUE(reaches(self, va(2), crossed[2]));
}

/* The tables of the first stage are read through the second one, too. */
TEST_F(hw_nesting, tables_go_away)
{
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
	ASSERT_EQ(0, unmap_memory(self, 0, DATA));
	EXPECT_TRUE(is_hole(self, va(0)));
	EXPECT_TRUE(is_hole(self, va(1)));
	ASSERT_EQ(0, map_memory(self, READ_WRITE, 0, DATA));
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
}

TEST_F(hw_nesting, permissions)
{
	set_leaf(self, LEVEL3, 4, ipa(DATA), S1_READ_ONLY);
	EXPECT_TRUE(is_hole(self, va(4)));
	/* What the first stage allows, the second one refuses. */
	ASSERT_EQ(0, unmap_memory(self, DATA + 4, 4));
	ASSERT_EQ(0, map_memory(self, READ_ONLY, DATA + 4, 4));
	EXPECT_TRUE(is_hole(self, va(2)));
	fill_pattern(data(self, 6), BYTES, 9);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, va(2), va(1), BYTES));
	EXPECT_TRUE(has_pattern(data(self, crossed[1]), BYTES, 9));
}

TEST_F(hw_nesting, revoked_below)
{
	__u64 unmapped;

	if (!variant->child)
		return;
	EXPECT_TRUE(reaches(self, va(2), crossed[2]));
	EXPECT_EQ(-EBUSY, ioasid_unmap(self->iommu, self->prereg, REGISTERED,
				       MEM_PAGES * PAGE, NULL));
	ASSERT_EQ(0, ioasid_revoke(self->iommu, self->prereg, REGISTERED,
				   MEM_PAGES * PAGE, &unmapped));
	EXPECT_EQ(MEM_PAGES * PAGE, unmapped);
	EXPECT_TRUE(is_hole(self, va(2)));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->prereg, READ_WRITE,
				self->mem, REGISTERED, MEM_PAGES * PAGE));
	ASSERT_EQ(0, map_memory(self, READ_WRITE, 0, DATA + 8));
	EXPECT_TRUE(reaches(self, va(2), crossed[2]));
}

/* ---- the guest changes its tables ---- */

TEST_F(hw_nesting, invalidate_tables)
{
	__u64 commands[] = { CMD_ALL_NH, CMD_ALL,
			     CMD_SPACE | (__u64)SPACE << 48 };
	unsigned int i;

	for (i = 0; i < 8; i++) {
		EXPECT_TRUE(reaches(self, va(1), i ? i - 1 : crossed[1]));
		set_leaf(self, LEVEL3, 1, ipa(DATA + i), 0);
		EXPECT_EQ(1, i < 3 ? invalidate_one(self, commands[i], 0) :
				     invalidate_address(self, va(1)));
	}
	EXPECT_TRUE(reaches(self, va(1), 7));
	/* A page that is taken away */
	put(self, LEVEL3, 1, 0);
	EXPECT_EQ(1, invalidate_address(self, va(1)));
	EXPECT_TRUE(is_hole(self, va(1)));
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
}

TEST_F(hw_nesting, invalidate_descriptor)
{
	struct iommu_viommu_arm_smmuv3_invalidate commands[] = {
		{ { CMD_CD | (__u64)STREAM << 32, 1 } },
		{ { CMD_SPACE | (__u64)SPACE << 48, 0 } },
	};
	unsigned int i;

	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
	make_tables(self, OTHER_LEVEL1, straight);
	make_descriptor(self, OTHER_LEVEL1);
	EXPECT_EQ(2, invalidate(self, commands, 2));
	for (i = 0; i < 4; i++)
		EXPECT_TRUE(reaches(self, va(i), i));
}

/* A guest sends what it likes; what is wrong is told, and how far it went. */
TEST_F(hw_nesting, invalidate_refuses)
{
	struct iommu_viommu_arm_smmuv3_invalidate commands[] = {
		{ { CMD_ALL_NH, 0 } },
		{ { CMD_SPACE | (__u64)SPACE << 48, 0 } },
		{ { CMD_CD | (__u64)(STREAM + 1) << 32, 1 } },
		{ { CMD_ALL_NH, 0 } },
	};

	EXPECT_EQ(-EIO, invalidate_one(self, CMD_SYNC, 0));
	EXPECT_EQ(-EIO, invalidate_one(self, 0, 0));
	EXPECT_EQ(-EIO, invalidate_one(self, CMD_CD, 0));
	EXPECT_EQ(1, invalidate_one(self, CMD_ALL_NH, 0));
	EXPECT_EQ(2, invalidate(self, commands, 4));
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
}

/* ---- attachment ---- */

TEST_F(hw_nesting, bypass_and_abort)
{
	__u32 bypass, abort, again;
	__u64 low = 0x4000000;

	ASSERT_EQ(0, nested_alloc(self->iommu, self->dev.dev_id, self->viommu,
				  STE_BYPASS, 0, &bypass));
	ASSERT_EQ(0, nested_alloc(self->iommu, self->dev.dev_id, self->viommu,
				  STE_ABORT, 0, &abort));
	/* Where edu reaches it without a first stage */
	ASSERT_EQ(0, ioasid_show(self->iommu, self->ioasid, READ_WRITE,
				 self->prereg ? REGISTERED + (DATA + 5) * PAGE :
						(uintptr_t)data(self, 5),
				 low, PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, bypass));
	EXPECT_TRUE(reaches(self, low, 5));
	EXPECT_TRUE(is_hole(self, va(0)));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, abort));
	EXPECT_TRUE(is_hole(self, low));
	EXPECT_TRUE(is_hole(self, va(0)));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->nested));
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
	EXPECT_TRUE(is_hole(self, low));
	/* The second stage alone, and what the kernel makes of the IOASID */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->parent));
	EXPECT_TRUE(reaches(self, low, 5));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	EXPECT_TRUE(reaches(self, low, 5));
	ASSERT_EQ(0, make_nested(self, &again));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, again));
	EXPECT_TRUE(reaches(self, va(1), crossed[1]));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_TRUE(is_hole(self, va(1)));
	EXPECT_TRUE(is_hole(self, low));
}

/* The driver wants to know first which stream the device is. */
TEST_F(hw_nesting, needs_a_vdevice)
{
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	ASSERT_EQ(0, iommufd_destroy(self->iommu, self->vdevice));
	EXPECT_EQ(-ENOENT, vfio_attach(self->dev.fd, self->nested));
	EXPECT_TRUE(is_hole(self, va(0)));
	ASSERT_EQ(0, vdevice_alloc(self->iommu, self->dev.dev_id, self->viommu,
				   &self->vdevice));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->nested));
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));
}

/* What others are built on stays. */
TEST_F(hw_nesting, is_used)
{
	__u32 other;

	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->nested));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->viommu));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->iommu, self->parent));
	EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, self->ioasid));
	EXPECT_EQ(-EEXIST, vdevice_alloc(self->iommu, self->dev.dev_id,
					 self->viommu, &other));
	EXPECT_TRUE(reaches(self, va(0), crossed[0]));

	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->nested));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->vdevice));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->viommu));
	EXPECT_EQ(0, iommufd_destroy(self->iommu, self->parent));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->ioasid));
}

TEST_F(hw_nesting, refuses)
{
	struct {
		__u64 ste[2];
		int rc;
	} cases[] = {
		/* A field that is the kernel's, one that is nobody's */
		{ { first_stage(), STE_MORE | 1ULL << 30 }, -EIO },
		{ { first_stage() | 1ULL << 52, STE_MORE }, -EIO },
		/* A second stage of the user's */
		{ { 0xdULL, 0 }, -EIO },
		{ { 0xfULL, 0 }, -EIO },
		/* Not valid is as good as abort. */
		{ { 0, ~0ULL }, 0 },
	};
	__u32 hwpt, viommu, i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		EXPECT_EQ(cases[i].rc,
			  nested_alloc(self->iommu, self->dev.dev_id,
				       self->viommu, cases[i].ste[0],
				       cases[i].ste[1], &hwpt))
			TH_LOG("case %u", i);
	/* Not without a vIOMMU, and not on a table that is no parent */
	EXPECT_EQ(-EOPNOTSUPP,
		  nested_alloc(self->iommu, self->dev.dev_id, self->parent,
			       first_stage(), STE_MORE, &hwpt));
	ASSERT_EQ(0, hwpt_alloc(self->iommu, self->dev.dev_id, self->ioasid, 0,
				&hwpt));
	EXPECT_EQ(-EINVAL, viommu_alloc(self->iommu, self->dev.dev_id, hwpt,
					&viommu));
	EXPECT_EQ(-EOPNOTSUPP,
		  hwpt_alloc(self->iommu, self->dev.dev_id, self->ioasid,
			     IOMMU_HWPT_ALLOC_NEST_PARENT |
			     IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt));
}

/* ---- events and interrupts ---- */

/* The guest is told of the faults of its tables, by the name it has for the device. */
TEST_F(hw_nesting, events)
{
	struct iommu_vevent_arm_smmuv3 event;

	self->events = events_open(self);
	ASSERT_LE(0, self->events);
	EXPECT_TRUE(is_hole(self, va(4)));
	ASSERT_EQ(0, event_read(self->events, &event));
	EXPECT_EQ(EVENT_TRANSLATION, event.evt[0] & 0xff);
	EXPECT_EQ(STREAM, event.evt[0] >> 32);
	EXPECT_EQ(va(4), event.evt[2] & ~0xfffULL);

	set_leaf(self, LEVEL3, 5, ipa(DATA), S1_READ_ONLY);
	EXPECT_TRUE(is_hole(self, va(5)));
	do {
		ASSERT_EQ(0, event_read(self->events, &event));
	} while ((event.evt[0] & 0xff) == EVENT_TRANSLATION);
	EXPECT_EQ(EVENT_PERMISSION, event.evt[0] & 0xff);
	EXPECT_EQ(va(5), event.evt[2] & ~0xfffULL);
}

/*
 * The doorbell is in the second stage, and the first one leads there. The device is
 * moved meanwhile; none of its interrupts is lost.
 */
TEST_F(hw_nesting, interrupts)
{
	__u32 at[] = { self->nested, self->nested, self->parent, self->ioasid };
	unsigned int i;

	self->msi = msi_open(&self->dev);
	ASSERT_LE(0, self->msi);
	for (i = 0; i < 1000; i++) {
		if (i % 10 == 0)
			ASSERT_EQ(0, vfio_attach(self->dev.fd, at[i / 10 % 4]));
		ASSERT_TRUE(msi_arrives(&self->dev, self->msi))
			TH_LOG("interrupt %u is lost", i);
	}
	/* It is in the way of mappings, and none of those that are unmapped. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->nested));
	EXPECT_EQ(-EINVAL, ioasid_show(self->iommu, self->ioasid, READ_WRITE,
				       self->prereg ? REGISTERED :
						      (uintptr_t)self->mem,
				       msi_first, PAGE));
	EXPECT_TRUE(msi_arrives(&self->dev, self->msi));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->parent));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_TRUE(msi_arrives(&self->dev, self->msi));
}

/* Without a way to it in the first stage there are none: the guest's own business. */
TEST_F(hw_nesting, doorbell_is_the_guests)
{
	self->msi = msi_open(&self->dev);
	ASSERT_LE(0, self->msi);
	EXPECT_TRUE(msi_arrives(&self->dev, self->msi));
	put(self, LEVEL2, msi_first >> 21 & 511, 0);
	EXPECT_EQ(1, invalidate_one(self, CMD_ALL_NH, 0));
	EXPECT_FALSE(msi_arrives_in(&self->dev, self->msi, 500));
	put(self, LEVEL2, msi_first >> 21 & 511,
	    (msi_first & ~0x1fffffULL) | S1_LEAF | S1_BLOCK);
	EXPECT_TRUE(msi_arrives(&self->dev, self->msi));
}

/* ---- who cannot ---- */

FIXTURE(any_iommu) {
	int iommu;
	struct dma_device dev;
	__u32 ioasid;
	struct counts counts;
};

FIXTURE_SETUP(any_iommu)
{
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &self->ioasid));
}

FIXTURE_TEARDOWN(any_iommu)
{
	DEVICE_END();
}

/* Both stages, or none of it, and the answer says so. */
TEST_F(any_iommu, nests_or_says_so)
{
	struct iommu_hw_info_arm_smmuv3 smmu = {};
	struct iommu_hw_info info = {
		.size = sizeof(info),
		.dev_id = self->dev.dev_id,
		.data_len = sizeof(smmu),
		.data_uptr = (uintptr_t)&smmu,
	};
	__u32 plain, parent, viommu, nested;
	bool both;
	int rc;

	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_GET_HW_INFO, &info));
	both = info.out_data_type == IOMMU_HW_INFO_TYPE_ARM_SMMUV3 &&
	       (smmu.idr[0] & 3) == 3;
	rc = hwpt_alloc(self->iommu, self->dev.dev_id, self->ioasid,
			IOMMU_HWPT_ALLOC_NEST_PARENT, &parent);
	if (info.out_data_type == IOMMU_HW_INFO_TYPE_ARM_SMMUV3)
		ASSERT_EQ(both ? 0 : -EOPNOTSUPP, rc);
	if (rc) {
		ASSERT_EQ(-EOPNOTSUPP, rc);
		parent = self->ioasid;
	}
	rc = hwpt_alloc(self->iommu, self->dev.dev_id, self->ioasid, 0, &plain);
	if (dev_num_windows(&self->dev, self->iommu)) {
		/* The user names IOASIDs there, and they make their tables. */
		EXPECT_EQ(-EOPNOTSUPP, rc);
		return;
	}
	ASSERT_EQ(0, rc);
	if (!both) {
		/* AMD's driver has vIOMMUs, of whatever kind it is asked for. */
		rc = viommu_alloc(self->iommu, self->dev.dev_id, parent,
				  &viommu);
		EXPECT_TRUE(rc == -EOPNOTSUPP || rc == -ENOENT);
		rc = viommu_alloc(self->iommu, self->dev.dev_id, plain,
				  &viommu);
		EXPECT_TRUE(rc == -EOPNOTSUPP || rc == -EINVAL);
	}
	/* Never on a table that is no parent */
	rc = nested_alloc(self->iommu, self->dev.dev_id, plain, STE_ABORT, 0,
			  &nested);
	EXPECT_TRUE(rc == -EOPNOTSUPP || rc == -EINVAL);
	/* The device works without it. */
	EXPECT_EQ(0, vfio_attach(self->dev.fd, plain));
}

TEST_HARNESS_MAIN
