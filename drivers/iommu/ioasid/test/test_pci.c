// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI functions that a test IOMMU claims, for tests that need one but no DMA: it
 * has an IOMMU group and is attached to page tables as any other, but what it
 * reads and writes passes by the IOMMU, which is none. A program that has such a
 * device reaches all memory; the kernel is tainted as with VFIO's no-IOMMU mode.
 *
 * A function that another IOMMU has is not taken. The IOMMU core lets go of a
 * device when that is removed from its bus, so a function is given back by that,
 * and by looking for it again.
 */
#include <linux/cleanup.h>
#include <linux/panic.h>
#include <linux/pci.h>

#include "test_iommu.h"

/* struct test_device by address of the struct device */
static DEFINE_XARRAY(functions);

/**
 * test_pci_device - Find out what is to be behind which IOMMU
 * @dev: A PCI function
 *
 * Return: The claimed device, or NULL.
 */
struct test_device *test_pci_device(const struct device *dev)
{
	return xa_load(&functions, (unsigned long)dev);
}

/* Its driver would not hear of an IOMMU that comes later. */
static int claim(struct test_device *tdev, struct device *dev)
{
	int rc;

	guard(device)(dev);
	if (dev->driver || dev->iommu_group)
		return -EBUSY;
	rc = xa_insert(&functions, (unsigned long)dev, tdev, GFP_KERNEL);
	if (rc)
		return rc;
	tdev->dev = dev;
	rc = ioasid_test_device_probe(dev, tdev->owner->fwnode);
	if (rc) {
		tdev->dev = NULL;
		xa_erase(&functions, (unsigned long)dev);
	}
	return rc;
}

/**
 * test_pci_claim - Put the function at a device's address behind its IOMMU
 * @tdev: The device, with an address
 *
 * Context: Process context; test_device.lock and test_iommu.lock are held.
 *
 * Return: 0; -EINVAL: it has no address; -ENODEV: nothing is there; -EBUSY: it
 * has a driver or an IOMMU; or what the IOMMU says.
 */
int test_pci_claim(struct test_device *tdev)
{
	const struct test_address *address = &tdev->address;
	struct pci_dev *pdev;
	int rc;

	if (!address->valid)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(address->domain, address->bus,
					   address->devfn);
	if (!pdev)
		return -ENODEV;
	rc = claim(tdev, &pdev->dev);
	if (rc) {
		pci_dev_put(pdev);
		return rc;
	}
	pci_info(pdev, "its DMA is not translated: the IOMMU is for tests\n");
	add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	return 0;
}

/**
 * test_pci_release - Undo test_pci_claim()
 * @tdev: The device
 *
 * Context: Process context; test_device.lock is held. Waits until programs have
 * closed the device.
 */
void test_pci_release(struct test_device *tdev)
{
	struct pci_dev *pdev = to_pci_dev(tdev->dev);

	pci_stop_and_remove_bus_device_locked(pdev);
	xa_erase(&functions, (unsigned long)tdev->dev);
	tdev->dev = NULL;
	pci_lock_rescan_remove();
	pci_rescan_bus(pdev->bus);
	pci_unlock_rescan_remove();
	pci_dev_put(pdev);
}
