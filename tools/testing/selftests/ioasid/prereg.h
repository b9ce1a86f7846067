/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of registered memory begin with: an IOASID of type PREREG, a child
 * of it, and a device that is not attached yet.
 */
#ifndef PREREG_H
#define PREREG_H

#include "device_fixture.h"

#define MEM_PAGES	32
/* Of registrations: addresses that mean nothing to a device */
#define REG		0x123400000000ULL
#define OTHER_REG	(REG + (1ULL << 32))
/* Where the memory of another process is shown */
#define OTHER_IOVA	(2 * TEST_IOVA)

FIXTURE(prereg) {
	int iommu;
	struct dma_device dev;
	struct actor actor;
	__u32 prereg;
	__u32 child;
	char *mem;
	struct counts counts;
};

FIXTURE_SETUP(prereg)
{
	self->actor.pid = 0;
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, ioasid_alloc_prereg(self->iommu, &self->prereg));
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->prereg,
					&self->child));
	MEM_BEGIN(MEM_PAGES * PAGE);
}

FIXTURE_TEARDOWN(prereg)
{
	if (self->actor.pid > 0)
		actor_end(&self->actor);
	DEVICE_END();
}

/* What this process pays for, and what is pinned, since the test began */
#define EXPECT_CHARGED(bytes, num_pins) do { \
	struct counts __now; \
	EXPECT_EQ(0, counts_read(&__now)); \
	EXPECT_EQ((long)(bytes), __now.locked - self->counts.locked); \
	EXPECT_EQ((long)(num_pins), __now.pins - self->counts.pins); \
} while (0)

#define EXPECT_PINNED(bytes) do { \
	struct iommu_ioasid_info __info; \
	__u64 __bytes = (bytes); \
	EXPECT_EQ(0, ioasid_totals(self->iommu, self->prereg, &__info)); \
	EXPECT_EQ(__bytes, __info.pinned_bytes); \
	EXPECT_EQ(__bytes, __info.mapped_bytes); \
} while (0)

static int reg(struct _test_data_prereg *self, __u32 flags, __u64 at,
	       __u64 length)
{
	return ioasid_map(self->iommu, self->prereg, flags, self->mem, at,
			  length);
}

static int unreg(struct _test_data_prereg *self, __u64 at, __u64 length)
{
	return ioasid_unmap(self->iommu, self->prereg, at, length, NULL);
}

static int show(struct _test_data_prereg *self, __u32 flags, __u64 at,
		__u64 iova, __u64 length)
{
	return ioasid_show(self->iommu, self->child, flags, at, iova, length);
}

/* All of the memory, from the registration to the device */
static int reg_show_attach(struct _test_data_prereg *self, __u32 flags)
{
	int rc = reg(self, flags, REG, MEM_PAGES * PAGE);

	if (!rc)
		rc = show(self, flags, REG, TEST_IOVA, MEM_PAGES * PAGE);
	return rc ? rc : vfio_attach(self->dev.fd, self->child);
}

/* Whether the device finds @from at @iova, as it copies that to @iova + @to */
static bool device_copies(struct _test_data_prereg *self, char *mem,
			  __u64 iova, size_t to, unsigned int seed)
{
	fill_pattern(mem, 128, seed);
	memset(mem + to, 0, 128);
	return !dev_dma_copy(&self->dev, iova, iova + to, 128) &&
	       has_pattern(mem + to, 128, seed);
}

#endif
