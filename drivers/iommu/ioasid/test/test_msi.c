// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupts of the test devices: messages that are written to a doorbell.
 *
 * The interrupt controller checks that a message comes from the device that its
 * interrupt belongs to, unless the IOMMU is configured to be unsafe.
 */
#include <linux/irq.h>
#include <linux/irqchip/irq-msi-lib.h>
#include <linux/irqdomain.h>
#include <linux/mm.h>
#include <linux/msi.h>
#include <linux/xarray.h>

#include "test_iommu.h"

#define TEST_NUM_IRQS	1024

/* What a mapped doorbell's translation leads to; nothing is ever written. */
static struct page *doorbell;

/* One that checks the sender, and one that does not. */
static struct irq_domain *safe_domain;
static struct irq_domain *unsafe_domain;

static DEFINE_XARRAY_ALLOC(irq_numbers);

/*
 * The mutex of an interrupt controller is taken under locks of the IOMMU core
 * and, to map a doorbell, the other way round; not that of the same controller.
 */
static struct lock_class_key domain_class;

/**
 * test_msi_is_doorbell - Whether an address belongs to interrupts
 * @phys: Physical address
 *
 * Return: Whether it does.
 */
bool test_msi_is_doorbell(phys_addr_t phys)
{
	return PHYS_PFN(phys) == page_to_pfn(doorbell);
}

static struct test_device *irq_device(struct irq_data *data)
{
	return test_device_of(msi_desc_to_dev(irq_data_get_msi_desc(data)));
}

static void test_compose_msi_msg(struct irq_data *data, struct msi_msg *msg)
{
	struct test_device *tdev = irq_device(data);

	msg->data = data->hwirq;
	if (tdev->owner->features.msi == TEST_MSI_MODE_MAPPED) {
		msi_msg_set_addr(irq_data_get_msi_desc(data), msg,
				 page_to_phys(doorbell));
	} else {
		msg->address_lo = TEST_MSI_DIRECT;
		msg->address_hi = 0;
	}
}

static void test_irq_nop(struct irq_data *data)
{
}

static int test_set_affinity(struct irq_data *data,
			     const struct cpumask *mask, bool force)
{
	return -EINVAL;
}

static struct irq_chip test_irq_chip = {
	.name = "ioasid-test",
	.irq_ack = test_irq_nop,
	.irq_mask = test_irq_nop,
	.irq_unmask = test_irq_nop,
	.irq_set_affinity = test_set_affinity,
	.irq_compose_msi_msg = test_compose_msi_msg,
};

static void test_irq_free(struct irq_domain *domain, unsigned int virq,
			  unsigned int num)
{
	unsigned int i;

	for (i = 0; i < num; i++) {
		struct irq_data *data =
			irq_domain_get_irq_data(domain, virq + i);

		xa_erase(&irq_numbers, data->hwirq);
		irq_domain_reset_irq_data(data);
	}
}

static int test_irq_alloc(struct irq_domain *domain, unsigned int virq,
			  unsigned int num, void *arg)
{
	msi_alloc_info_t *info = arg;
	struct test_device *tdev = test_device_of(msi_desc_to_dev(info->desc));
	unsigned int i;
	u32 number;
	int rc;

	if (tdev->owner->features.msi == TEST_MSI_MODE_MAPPED) {
		rc = ioasid_test_prepare_msi(info->desc,
					     page_to_phys(doorbell));
		if (rc)
			return rc;
	}
	for (i = 0; i < num; i++) {
		rc = xa_alloc(&irq_numbers, &number, tdev,
			      XA_LIMIT(1, TEST_NUM_IRQS), GFP_KERNEL);
		if (rc) {
			test_irq_free(domain, virq, i);
			return rc;
		}
		irq_domain_set_info(domain, virq + i, number, &test_irq_chip,
				    NULL, handle_edge_irq, NULL, NULL);
	}
	return 0;
}

static const struct irq_domain_ops test_irq_domain_ops = {
	.alloc = test_irq_alloc,
	.free = test_irq_free,
};

static const struct msi_parent_ops test_msi_parent_ops = {
	.supported_flags = MSI_GENERIC_FLAGS_MASK,
	.required_flags = MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS |
			  MSI_FLAG_NO_AFFINITY,
	.chip_flags = MSI_CHIP_FLAG_SET_ACK,
	.bus_select_token = DOMAIN_BUS_NEXUS,
	.prefix = "ioasid-",
	.init_dev_msi_info = msi_lib_init_dev_msi_info,
};

static struct irq_domain *make_domain(const char *name, unsigned int flags)
{
	struct fwnode_handle *fwnode = irq_domain_alloc_named_fwnode(name);
	struct irq_domain *domain;

	if (!fwnode)
		return NULL;
	domain = irq_domain_create_linear(fwnode, TEST_NUM_IRQS + 1,
					  &test_irq_domain_ops, NULL);
	if (!domain) {
		irq_domain_free_fwnode(fwnode);
		return NULL;
	}
	lockdep_set_class(&domain->mutex, &domain_class);
	irq_domain_update_bus_token(domain, DOMAIN_BUS_NEXUS);
	domain->flags |= IRQ_DOMAIN_FLAG_MSI_PARENT | flags;
	domain->msi_parent_ops = &test_msi_parent_ops;
	return domain;
}

static void free_domain(struct irq_domain *domain)
{
	struct fwnode_handle *fwnode;

	if (!domain)
		return;
	fwnode = domain->fwnode;
	irq_domain_remove(domain);
	irq_domain_free_fwnode(fwnode);
}

/**
 * test_msi_set_domain - Say where the interrupts of a device go
 * @tdev: The device
 * @dev: The same, before it is added
 */
void test_msi_set_domain(struct test_device *tdev, struct device *dev)
{
	bool unsafe = tdev->owner->features.msi == TEST_MSI_MODE_UNSAFE;

	dev_set_msi_domain(dev, unsafe ? unsafe_domain : safe_domain);
}

/**
 * test_msi_write - Set the message of an interrupt
 * @desc: The interrupt
 * @msg: The message
 */
void test_msi_write(struct msi_desc *desc, struct msi_msg *msg)
{
	struct test_device *tdev = test_device_of(msi_desc_to_dev(desc));

	guard(raw_spinlock_irqsave)(&tdev->msg_lock);
	tdev->msg[desc->msi_index] = *msg;
}

/**
 * test_msi_clear - Forget the messages of all interrupts
 * @tdev: The device
 */
void test_msi_clear(struct test_device *tdev)
{
	guard(raw_spinlock_irqsave)(&tdev->msg_lock);
	memset(tdev->msg, 0, sizeof(tdev->msg));
}

/* Whether a message gets through the IOMMU to the doorbell. */
static bool reaches_doorbell(struct test_device *tdev, u64 iova)
{
	phys_addr_t phys;
	bool hit;

	if (tdev->owner->features.msi != TEST_MSI_MODE_MAPPED)
		return iova == TEST_MSI_DIRECT;
	guard(read_lock)(&test_dma_lock);
	return tdev->domain &&
	       !test_translate(tdev->domain, iova, true, &phys, &hit) &&
	       test_msi_is_doorbell(phys);
}

/**
 * test_msi_send - Send the message of an interrupt
 * @tdev: The device
 * @dev: The same
 * @vector: Which
 *
 * Context: Interrupts are off.
 *
 * Return: Whether it has arrived.
 */
bool test_msi_send(struct test_device *tdev, struct device *dev,
		   unsigned int vector)
{
	struct test_device *whose;
	struct msi_msg msg;
	u64 iova;

	scoped_guard(raw_spinlock_irqsave, &tdev->msg_lock)
		msg = tdev->msg[vector];
	iova = (u64)msg.address_hi << 32 | msg.address_lo;
	if (!iova || !reaches_doorbell(tdev, iova))
		return false;
	whose = xa_load(&irq_numbers, msg.data);
	if (whose != tdev &&
	    (!whose || tdev->owner->features.msi != TEST_MSI_MODE_UNSAFE))
		return false;
	return !generic_handle_domain_irq_safe(dev_get_msi_domain(dev),
					       msg.data);
}

/**
 * test_msi_init - Make the interrupt controllers
 *
 * Return: 0 or -ENOMEM.
 */
int test_msi_init(void)
{
	doorbell = alloc_page(GFP_KERNEL | __GFP_ZERO);
	safe_domain = make_domain("ioasid-test", IRQ_DOMAIN_FLAG_ISOLATED_MSI);
	unsafe_domain = make_domain("ioasid-test-unsafe", 0);
	if (doorbell && safe_domain && unsafe_domain)
		return 0;
	test_msi_exit();
	return -ENOMEM;
}

/**
 * test_msi_exit - Undo test_msi_init()
 */
void test_msi_exit(void)
{
	free_domain(unsafe_domain);
	free_domain(safe_domain);
	if (doorbell)
		__free_page(doorbell);
}
