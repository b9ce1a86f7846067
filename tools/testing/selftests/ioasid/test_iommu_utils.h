/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMUs that a test makes as it wants them, and the devices behind them, of
 * module ioasid_test_iommu. Calls return 0 or a negative errno.
 *
 * A fixture says SKIP if test_iommu_missing(), removes what a killed test has
 * left, and makes what it needs:
 *
 *	test_iommu_remove_all();
 *	test_iommu_make("narrow", "width=40;aperture=0 ffffffff");
 *	test_device_make("narrow", "one", "group=both", &self->one);
 *	test_device_make("narrow", "two", "group=both", &self->two);
 *
 * dev_open_bind(), dev_close() and dev_dma() work with these devices as with any
 * other; its teardown closes them and calls test_iommu_remove_all() again.
 */
#ifndef TEST_IOMMU_UTILS_H
#define TEST_IOMMU_UTILS_H

#include <linux/types.h>

#include "device_utils.h"
#include "../../../../drivers/iommu/ioasid/test/test_device.h"

/* ---- IOMMUs and devices, as configfs has them ---- */

const char *test_iommu_missing(void);
int test_iommu_make(const char *iommu, const char *settings);
int test_iommu_set(const char *iommu, const char *attribute, const char *value);
int test_iommu_get(const char *iommu, const char *attribute, char *text,
		   size_t size);
int test_iommu_stat(const char *iommu, const char *name, __u64 *value);
int test_iommu_remove(const char *iommu);
int test_iommu_remove_all(void);

int test_iommu_fail(const char *iommu, const char *op, unsigned int after,
		    int error);
int test_iommu_fail_left(const char *iommu);

int test_device_make(const char *iommu, const char *device,
		     const char *settings, struct dma_device *dev);
int test_device_plug(const char *iommu, const char *device,
		     struct dma_device *dev);
int test_device_unplug(const char *iommu, const char *device);
int test_device_set(const char *iommu, const char *device,
		    const char *attribute, const char *value);
int test_device_get(const char *iommu, const char *device,
		    const char *attribute, char *text, size_t size);
int test_device_remove(const char *iommu, const char *device);

int test_device_begin(const char *settings, struct dma_device *dev, int iommu);
int test_device_instead(const char *settings, struct dma_device *dev,
			int iommu);
int test_device_end(struct dma_device *dev);

/* ---- what a device that is bound does ---- */

int test_device_run(struct dma_device *dev, unsigned int channel,
		    const struct ioasid_test_command *command);
int test_device_status(struct dma_device *dev, unsigned int channel,
		       struct ioasid_test_status *status);
int test_device_wait(struct dma_device *dev, unsigned int channel,
		     struct ioasid_test_status *status);
int test_device_stop(struct dma_device *dev, unsigned int channel,
		     struct ioasid_test_status *status);
int test_device_try(struct dma_device *dev,
		    const struct ioasid_test_command *command);
int test_device_fill(struct dma_device *dev, __u64 iova, __u64 length,
		     __u64 pattern);
int test_device_compare(struct dma_device *dev, __u64 iova, __u64 length,
			__u64 pattern);
int test_device_progress(struct dma_device *dev, unsigned int channel);

int test_device_buffer_read(struct dma_device *dev, off_t offset, void *data,
			    size_t length);
int test_device_buffer_write(struct dma_device *dev, off_t offset,
			     const void *data, size_t length);

int test_device_globals(struct dma_device *dev,
			struct ioasid_test_globals *globals);
int test_device_raise(struct dma_device *dev, __u32 number);
int test_device_reset(struct dma_device *dev);

#endif
