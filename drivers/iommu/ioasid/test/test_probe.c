// SPDX-License-Identifier: GPL-2.0-only
/*
 * Always built in: what the IOMMU core has for built-in code only.
 *
 * On real machines the firmware says which IOMMU a device is behind, and code
 * of the bus notes it before the device is added; and drivers of interrupt
 * controllers are no modules.
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "../../iommu-priv.h"
#include "test_iommu.h"

/**
 * ioasid_test_device_add - Add a platform device that is behind an IOMMU
 * @pdev: From platform_device_alloc(); put by the caller if this fails
 * @iommu_fwnode: fwnode of the IOMMU's own device
 *
 * Context: Process context.
 *
 * Return: 0 or a negative errno. Success does not tell whether the IOMMU has
 * taken the device: that is so if it has an IOMMU group.
 */
int ioasid_test_device_add(struct platform_device *pdev,
			   struct fwnode_handle *iommu_fwnode)
{
	struct device *dev = &pdev->dev;
	int rc;

	scoped_guard(mutex, &iommu_probe_device_lock)
		rc = iommu_fwspec_init(dev, iommu_fwnode);
	if (rc)
		return rc;
	rc = platform_device_add(pdev);
	if (rc) {
		guard(mutex)(&iommu_probe_device_lock);
		if (dev->iommu)
			dev_iommu_free(dev);
	}
	return rc;
}
EXPORT_SYMBOL_GPL(ioasid_test_device_add);

/**
 * ioasid_test_device_probe - Put a device that is there behind an IOMMU
 * @dev: The device, without a driver or an IOMMU
 * @iommu_fwnode: fwnode of the IOMMU's own device
 *
 * Context: Process context; the device is locked.
 *
 * Return: 0, or a negative errno: then it is as it was.
 */
int ioasid_test_device_probe(struct device *dev,
			     struct fwnode_handle *iommu_fwnode)
{
	int rc;

	scoped_guard(mutex, &iommu_probe_device_lock)
		rc = iommu_fwspec_init(dev, iommu_fwnode);
	if (!rc)
		rc = iommu_probe_device(dev);
	if (rc) {
		guard(mutex)(&iommu_probe_device_lock);
		if (dev->iommu && !dev->iommu_group)
			dev_iommu_free(dev);
	}
	return rc;
}
EXPORT_SYMBOL_GPL(ioasid_test_device_probe);

/**
 * ioasid_test_prepare_msi - Give a doorbell an address that a device reaches
 * @desc: The interrupt
 * @doorbell: Physical address of the doorbell
 *
 * Context: Process context.
 *
 * Return: As iommu_dma_prepare_msi().
 */
int ioasid_test_prepare_msi(struct msi_desc *desc, phys_addr_t doorbell)
{
	return iommu_dma_prepare_msi(desc, doorbell);
}
EXPORT_SYMBOL_GPL(ioasid_test_prepare_msi);
