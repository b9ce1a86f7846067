// SPDX-License-Identifier: GPL-2.0-only
/*
 * The half that is always built in: what IOMMU drivers and the IOMMU core call.
 *
 * There are no vIOMMU objects yet, so there is no argument with which the calls
 * on them could be made; they answer that no such object exists.
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "ioasid_private.h"

/**
 * _iommufd_object_depend - Let an object of a driver depend on another
 * @obj_dependent: The object
 * @obj_depended: What it depends on
 *
 * Return: -EOPNOTSUPP: drivers have no objects.
 */
int _iommufd_object_depend(struct iommufd_object *obj_dependent,
			   struct iommufd_object *obj_depended)
{
	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_NS_GPL(_iommufd_object_depend, "IOMMUFD");

/**
 * _iommufd_object_undepend - Undo _iommufd_object_depend()
 * @obj_dependent: The object
 * @obj_depended: What it depends on
 */
void _iommufd_object_undepend(struct iommufd_object *obj_dependent,
			      struct iommufd_object *obj_depended)
{
}
EXPORT_SYMBOL_NS_GPL(_iommufd_object_undepend, "IOMMUFD");

/**
 * _iommufd_alloc_mmap - Offer a range of device memory for mmap()
 * @ictx: The context
 * @owner: The object that the range belongs to
 * @mmio_addr: Physical address
 * @length: Length in bytes
 * @offset: Output: offset for mmap()
 *
 * Return: -EOPNOTSUPP: drivers have no objects.
 */
int _iommufd_alloc_mmap(struct iommufd_ctx *ictx, struct iommufd_object *owner,
			phys_addr_t mmio_addr, size_t length,
			unsigned long *offset)
{
	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_NS_GPL(_iommufd_alloc_mmap, "IOMMUFD");

/**
 * _iommufd_destroy_mmap - Undo _iommufd_alloc_mmap()
 * @ictx: The context
 * @owner: The object
 * @offset: The offset
 */
void _iommufd_destroy_mmap(struct iommufd_ctx *ictx,
			   struct iommufd_object *owner, unsigned long offset)
{
}
EXPORT_SYMBOL_NS_GPL(_iommufd_destroy_mmap, "IOMMUFD");

/**
 * iommufd_vdevice_to_device - The device behind a vDEVICE
 * @vdev: The vDEVICE
 *
 * Return: NULL: there is none.
 */
struct device *iommufd_vdevice_to_device(struct iommufd_vdevice *vdev)
{
	return NULL;
}
EXPORT_SYMBOL_NS_GPL(iommufd_vdevice_to_device, "IOMMUFD");

/**
 * iommufd_viommu_find_dev - Find a device by its number in a vIOMMU
 * @viommu: The vIOMMU
 * @vdev_id: The number
 *
 * Return: NULL: there is none.
 */
struct device *iommufd_viommu_find_dev(struct iommufd_viommu *viommu,
				       unsigned long vdev_id)
{
	return NULL;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_find_dev, "IOMMUFD");

/**
 * iommufd_viommu_get_vdev_id - The number of a device in a vIOMMU
 * @viommu: The vIOMMU
 * @dev: The device
 * @vdev_id: Output: the number
 *
 * Return: -ENOENT: it has none.
 */
int iommufd_viommu_get_vdev_id(struct iommufd_viommu *viommu,
			       struct device *dev, unsigned long *vdev_id)
{
	return -ENOENT;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_get_vdev_id, "IOMMUFD");

/**
 * iommufd_viommu_report_event - Report an event of a vIOMMU to its user
 * @viommu: The vIOMMU
 * @type: Type of the event
 * @event_data: The event
 * @data_len: Its length in bytes
 *
 * Return: -EOPNOTSUPP: nobody listens.
 */
int iommufd_viommu_report_event(struct iommufd_viommu *viommu,
				enum iommu_veventq_type type, void *event_data,
				size_t data_len)
{
	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_report_event, "IOMMUFD");

#ifdef CONFIG_IRQ_MSI_IOMMU
/**
 * ioasid_sw_msi_install - Map an MSI page in a page table
 * @pt: The page table
 * @page: The page
 *
 * Context: sw_msi_lock of the context is held.
 *
 * Return: 0, or what iommu_map() says.
 */
int ioasid_sw_msi_install(struct iommufd_hw_pagetable *pt,
			  const struct sw_msi_page *page)
{
	int rc;

	if (test_bit(page->id, pt->sw_msi.bits))
		return 0;
	if (ioasid_should_fail())
		return -ENOMEM;
	rc = iommu_map(pt->domain,
		       page->sw_msi_start + (u64)page->pgoff * PAGE_SIZE,
		       page->msi_addr, PAGE_SIZE,
		       IOMMU_READ | IOMMU_WRITE | IOMMU_MMIO,
		       GFP_KERNEL_ACCOUNT);
	if (!rc) {
		pt->sw_msi_start = page->sw_msi_start;
		__set_bit(page->id, pt->sw_msi.bits);
	}
	return rc;
}
EXPORT_SYMBOL_NS_GPL(ioasid_sw_msi_install, "IOMMUFD_INTERNAL");

/* A page has one address in the whole context, whatever it is attached to. */
static struct sw_msi_page *get_sw_msi_page(struct ioasid_group *group,
					   phys_addr_t msi_addr)
{
	struct iommufd_ctx *ictx = group->ictx;
	struct sw_msi_page *page;
	unsigned int pgoff = 0;

	lockdep_assert_held(&ictx->sw_msi_lock);

	list_for_each_entry(page, &ictx->sw_msi_list, entry) {
		if (page->sw_msi_start != group->sw_msi_start)
			continue;
		if (page->msi_addr == msi_addr)
			return page;
		pgoff++;
	}
	if (ictx->num_sw_msi == IOASID_MAX_SW_MSI ||
	    pgoff >= group->sw_msi_pages)
		return ERR_PTR(-EOVERFLOW);

	page = kzalloc_obj(*page);
	if (!page)
		return ERR_PTR(-ENOMEM);
	page->sw_msi_start = group->sw_msi_start;
	page->msi_addr = msi_addr;
	page->pgoff = pgoff;
	page->id = ictx->num_sw_msi++;
	list_add_tail(&page->entry, &ictx->sw_msi_list);
	return page;
}

/**
 * iommufd_sw_msi - Give an MSI doorbell an address that a device reaches
 * @domain: The domain that the device is attached to
 * @desc: The interrupt
 * @msi_addr: Physical address of the doorbell
 *
 * Context: The mutex of the IOMMU group is held, which keeps the attachment.
 *
 * Return: 0, also if the address needs no change; -EOVERFLOW: too many MSI
 * pages in the context; -ENOMEM; or what iommu_map() says.
 */
int iommufd_sw_msi(struct iommu_domain *domain, struct msi_desc *desc,
		   phys_addr_t msi_addr)
{
	struct device *dev = msi_desc_to_dev(desc);
	struct iommu_attach_handle *handle;
	struct ioasid_group *group;
	struct sw_msi_page *page;
	int rc;

	iommu_group_mutex_assert(dev);
	handle = iommu_attach_handle_get(dev->iommu_group, IOMMU_NO_PASID, 0);
	if (IS_ERR(handle))
		return 0;
	group = container_of(handle, struct ioasid_attach_handle, handle)->group;
	if (group->sw_msi_start == PHYS_ADDR_MAX)
		return 0;

	guard(mutex)(&group->ictx->sw_msi_lock);
	page = get_sw_msi_page(group, msi_addr & PAGE_MASK);
	if (IS_ERR(page))
		return PTR_ERR(page);
	rc = ioasid_sw_msi_install(domain->iommufd_hwpt, page);
	if (rc)
		return rc;
	__set_bit(page->id, group->sw_msi.bits);
	msi_desc_set_iommu_msi_iova(desc,
				    page->sw_msi_start +
					    (u64)page->pgoff * PAGE_SIZE,
				    PAGE_SHIFT);
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_sw_msi, "IOMMUFD");
#endif

MODULE_IMPORT_NS("IOMMUFD_INTERNAL");
MODULE_DESCRIPTION("Built-in half of /dev/iommu");
MODULE_LICENSE("GPL");
