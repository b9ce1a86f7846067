// SPDX-License-Identifier: GPL-2.0-only
/*
 * Always built in: endpoints of POWER that are frozen, as by an error of a device.
 * No emulated host bridge freezes any, so this comes between the kernel's EEH code and
 * the platform, and has the state of one endpoint; all else goes to the platform.
 */
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <asm/eeh.h>

/* Protects what follows; the state is asked for with interrupts off. */
static DEFINE_RAW_SPINLOCK(eeh_test_lock);
static struct eeh_pe *frozen;
static bool io_frozen, dma_frozen;

/* Of the platform; does not change once the file has been written to */
static struct eeh_ops *platform_ops;
static struct eeh_ops test_ops;

static int test_get_state(struct eeh_pe *pe, int *delay)
{
	int state = platform_ops->get_state(pe, delay);

	guard(raw_spinlock_irqsave)(&eeh_test_lock);
	if (pe != frozen || state < 0)
		return state;
	if (io_frozen)
		state &= ~(EEH_STATE_MMIO_ACTIVE | EEH_STATE_MMIO_ENABLED);
	if (dma_frozen)
		state &= ~(EEH_STATE_DMA_ACTIVE | EEH_STATE_DMA_ENABLED);
	return state;
}

static int test_set_option(struct eeh_pe *pe, int option)
{
	scoped_guard(raw_spinlock_irqsave, &eeh_test_lock) {
		if (pe == frozen && option == EEH_OPT_THAW_MMIO)
			io_frozen = false;
		if (pe == frozen && option == EEH_OPT_THAW_DMA)
			dma_frozen = false;
	}
	return platform_ops->set_option(pe, option);
}

static void freeze(struct eeh_pe *pe)
{
	guard(raw_spinlock_irqsave)(&eeh_test_lock);
	if (!platform_ops) {
		platform_ops = eeh_ops;
		test_ops = *eeh_ops;
		test_ops.get_state = test_get_state;
		test_ops.set_option = test_set_option;
		/* Whoever finds them finds them filled in. */
		smp_store_release(&eeh_ops, &test_ops);
	}
	frozen = pe;
	io_frozen = true;
	dma_frozen = true;
}

/* The name of a PCI device freezes the endpoint that it is in. */
static ssize_t freeze_write(struct file *file, const char __user *text,
			    size_t length, loff_t *pos)
{
	char name[32] = {};
	struct eeh_dev *edev;
	struct device *dev;
	bool known;

	if (length >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, text, length))
		return -EFAULT;
	dev = bus_find_device_by_name(&pci_bus_type, NULL, strim(name));
	if (!dev)
		return -ENODEV;
	edev = pci_dev_to_eeh_dev(to_pci_dev(dev));
	known = edev && edev->pe;
	if (known)
		freeze(edev->pe);
	put_device(dev);
	return known ? length : -ENODEV;
}

static const struct file_operations freeze_fops = {
	.open = simple_open,
	.write = freeze_write,
};

static int __init test_eeh_init(void)
{
	debugfs_create_file("ioasid_test_freeze", 0200, NULL, NULL,
			    &freeze_fops);
	return 0;
}
late_initcall(test_eeh_init);
