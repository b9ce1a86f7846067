/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What most tests begin with: a context, and a device bound to it that is alone in
 * its IOMMU group. Their fixtures have the members iommu, dev and counts, for
 * MEM_BEGIN() also mem; their setup begins with
 *
 *	if (!DEVICE_BEGIN())
 *		return;
 *	MEM_BEGIN(MEM_PAGES * PAGE);
 *
 * and DEVICE_END() is the end of their teardown.
 */
#ifndef DEVICE_FIXTURE_H
#define DEVICE_FIXTURE_H

#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_utils.h"
#include "ioasid_utils.h"

/* Return: whether there is such a device; if not, the test is skipped. */
static inline bool device_begin(struct __test_metadata *_metadata,
				struct counts *counts, struct dma_device *dev,
				int *iommu)
{
	COUNTS_BEGIN(counts);
	if (dev_find_alone(dev, 1) < 1)
		SKIP(return false, "no DMA device in an IOMMU group of its own");
	*iommu = iommu_open();
	ASSERT_LE(0, *iommu);
	ASSERT_EQ(0, dev_open_bind(dev, *iommu));
	return true;
}

#define DEVICE_BEGIN() \
	device_begin(_metadata, &self->counts, &self->dev, &self->iommu)

/* A test that has closed the context says so with -1. */
#define DEVICE_END() do { \
	dev_close(&self->dev); \
	if (self->iommu >= 0) \
		close(self->iommu); \
	COUNTS_END(&self->counts); \
} while (0)

#define MEM_BEGIN(size) do { \
	size_t __size = (size); \
	self->mem = mem_alloc(__size); \
	ASSERT_NE(NULL, self->mem); \
	memset(self->mem, 0x11, __size); \
} while (0)

#endif
