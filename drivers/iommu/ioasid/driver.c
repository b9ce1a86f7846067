// SPDX-License-Identifier: GPL-2.0-only
/*
 * The half that is always built in: what IOMMU drivers and the IOMMU core call.
 * It calls nothing of the module.
 *
 * Locks: iommufd_ctx.sw_msi_lock, under the mutex of an IOMMU group. A vIOMMU's
 * veventqs_rwsem and the lock of its event queue. The lock of iommufd_ctx.mmaps.
 * The xa_lock of a vIOMMU's vdevs. iommufd_ctx.objects' under any of them.
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "viommu.h"

/* The context that a driver's object belongs to, or NULL */
static struct iommufd_ctx *driver_object_ctx(struct iommufd_object *obj)
{
	switch (obj->type) {
	case IOMMUFD_OBJ_VIOMMU:
		return container_of(obj, struct iommufd_viommu, obj)->ictx;
	case IOMMUFD_OBJ_VDEVICE:
		return container_of(obj, struct iommufd_vdevice, obj)
			->viommu->ictx;
	case IOMMUFD_OBJ_HW_QUEUE:
		return container_of(obj, struct iommufd_hw_queue, obj)
			->viommu->ictx;
	default:
		return NULL;
	}
}

/**
 * _iommufd_object_depend - Let an object of a driver depend on another
 * @obj_dependent: The object
 * @obj_depended: What it depends on: an object of the same type
 *
 * The user cannot destroy @obj_depended before _iommufd_object_undepend().
 *
 * Context: Process context. Locks of the driver's keep @obj_depended from being
 * freed.
 *
 * Return: 0; -EINVAL: they are the same, of different types, or not of a
 * driver's types; -ENOENT: @obj_depended is being destroyed, or the call that
 * allocates it has not come to its end.
 */
int _iommufd_object_depend(struct iommufd_object *obj_dependent,
			   struct iommufd_object *obj_depended)
{
	struct iommufd_ctx *ictx = driver_object_ctx(obj_depended);

	if (!ictx || obj_dependent == obj_depended ||
	    obj_dependent->type != obj_depended->type)
		return -EINVAL;
	return ioasid_object_use(ictx, obj_depended) ? 0 : -ENOENT;
}
EXPORT_SYMBOL_NS_GPL(_iommufd_object_depend, "IOMMUFD");

/**
 * _iommufd_object_undepend - Undo _iommufd_object_depend()
 * @obj_dependent: The object
 * @obj_depended: What it depends on
 *
 * Context: Process context.
 */
void _iommufd_object_undepend(struct iommufd_object *obj_dependent,
			      struct iommufd_object *obj_depended)
{
	if (WARN_ON_ONCE(obj_dependent == obj_depended ||
			 obj_dependent->type != obj_depended->type))
		return;
	refcount_dec(&obj_depended->users);
}
EXPORT_SYMBOL_NS_GPL(_iommufd_object_undepend, "IOMMUFD");

/**
 * _iommufd_alloc_mmap - Offer a range of device memory for mmap()
 * @ictx: The context
 * @owner: The object that the range belongs to
 * @mmio_addr: Physical address, a multiple of the page size
 * @length: Length in bytes, a multiple of the page size
 * @offset: Output: offset for mmap(), not 0
 *
 * The user can map the range when @owner is complete. As long as it is mapped,
 * he cannot destroy @owner.
 *
 * Context: Process context.
 *
 * Return: 0; -EINVAL: not a number of whole pages; -EBUSY: no free offset;
 * -ENOMEM.
 */
int _iommufd_alloc_mmap(struct iommufd_ctx *ictx, struct iommufd_object *owner,
			phys_addr_t mmio_addr, size_t length,
			unsigned long *offset)
{
	struct ioasid_mmap_range *range;
	int rc;

	if (!PAGE_ALIGNED(mmio_addr) || !length || !PAGE_ALIGNED(length))
		return -EINVAL;

	range = kzalloc_obj(*range, GFP_KERNEL_ACCOUNT);
	if (!range)
		return -ENOMEM;
	range->owner = owner;
	range->addr = mmio_addr;

	/* Not 0, so that the driver's user sees that there is one. */
	rc = mtree_alloc_range(&ictx->mmaps, offset, range, length, PAGE_SIZE,
			       ULONG_MAX, GFP_KERNEL_ACCOUNT);
	if (rc)
		kfree(range);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(_iommufd_alloc_mmap, "IOMMUFD");

/**
 * _iommufd_destroy_mmap - Undo _iommufd_alloc_mmap()
 * @ictx: The context
 * @owner: The object, which is being destroyed or was never complete
 * @offset: The offset
 *
 * Context: Process context.
 */
void _iommufd_destroy_mmap(struct iommufd_ctx *ictx,
			   struct iommufd_object *owner, unsigned long offset)
{
	struct ioasid_mmap_range *range = mtree_erase(&ictx->mmaps, offset);

	WARN_ON_ONCE(!range || range->owner != owner);
	kfree(range);
}
EXPORT_SYMBOL_NS_GPL(_iommufd_destroy_mmap, "IOMMUFD");

/**
 * iommufd_vdevice_to_device - The device behind a vDEVICE
 * @vdev: The vDEVICE
 *
 * Context: Called from the driver's vdevice_init or iommufd_vdevice.destroy, or
 * with the xa_lock of iommufd_viommu.vdevs for one that is found there.
 *
 * Return: The device; it is bound as long as the context lasts.
 */
struct device *iommufd_vdevice_to_device(struct iommufd_vdevice *vdev)
{
	return vdev->idev->dev;
}
EXPORT_SYMBOL_NS_GPL(iommufd_vdevice_to_device, "IOMMUFD");

/**
 * iommufd_viommu_find_dev - Find a device by its number in a vIOMMU
 * @viommu: The vIOMMU
 * @vdev_id: The number
 *
 * Context: The xa_lock of iommufd_viommu.vdevs is held, and the device is bound
 * as long as it is.
 *
 * Return: The device, or NULL if there is none.
 */
struct device *iommufd_viommu_find_dev(struct iommufd_viommu *viommu,
				       unsigned long vdev_id)
{
	struct iommufd_vdevice *vdev;

	lockdep_assert_held(&viommu->vdevs.xa_lock);

	vdev = xa_load(&viommu->vdevs, vdev_id);
	return vdev ? iommufd_vdevice_to_device(vdev) : NULL;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_find_dev, "IOMMUFD");

/**
 * iommufd_viommu_get_vdev_id - The number of a device in a vIOMMU
 * @viommu: The vIOMMU
 * @dev: The device
 * @vdev_id: Output: the number
 *
 * Context: Any; drivers call when they attach the device.
 *
 * Return: 0; -ENOENT: it has none; -EINVAL: no @vdev_id.
 */
int iommufd_viommu_get_vdev_id(struct iommufd_viommu *viommu,
			       struct device *dev, unsigned long *vdev_id)
{
	struct iommufd_vdevice *vdev;
	unsigned long index;
	int rc = -ENOENT;

	if (WARN_ON_ONCE(!vdev_id))
		return -EINVAL;

	xa_lock(&viommu->vdevs);
	xa_for_each(&viommu->vdevs, index, vdev) {
		if (iommufd_vdevice_to_device(vdev) == dev) {
			*vdev_id = index;
			rc = 0;
			break;
		}
	}
	xa_unlock(&viommu->vdevs);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_get_vdev_id, "IOMMUFD");

/*
 * Queues an event, or notes that it is lost, if there is none or no room. A gap
 * in the numbers tells the user so too, hence only the newest loss is noted.
 * Return: whether the queue owns the event now.
 */
static bool veventq_add(struct ioasid_veventq *veventq,
			struct ioasid_vevent *event)
{
	u32 sequence = veventq->sequence;

	lockdep_assert_held(&veventq->common.lock);

	veventq->sequence = (sequence + 1) & INT_MAX;
	veventq->lost = !event || veventq->num_events == veventq->depth;
	if (veventq->lost) {
		veventq->lost_sequence = sequence;
		return false;
	}
	event->header.sequence = sequence;
	list_add_tail(&event->entry, &veventq->common.deliver);
	veventq->num_events++;
	return true;
}

/**
 * iommufd_viommu_report_event - Report an event of a vIOMMU to its user
 * @viommu: The vIOMMU
 * @type: Type of the event
 * @event_data: The event, as include/uapi/linux/iommufd.h has it for @type
 * @data_len: Its length in bytes, not 0
 *
 * If as many events wait as the user has asked for, this one is lost, and the
 * user told so.
 *
 * Context: Process context, such as the driver's threaded interrupt handler. The
 * driver keeps @viommu.
 *
 * Return: 0, also if the event is lost for want of room; -EOPNOTSUPP: the user
 * has no queue for @type; -EINVAL: no event; -ENOMEM: it is lost.
 */
int iommufd_viommu_report_event(struct iommufd_viommu *viommu,
				enum iommu_veventq_type type, void *event_data,
				size_t data_len)
{
	struct ioasid_veventq *veventq;
	struct ioasid_vevent *event;
	bool queued;

	if (WARN_ON_ONCE(!event_data || !data_len))
		return -EINVAL;

	guard(rwsem_read)(&viommu->veventqs_rwsem);
	veventq = viommu_find_veventq(viommu, type);
	if (!veventq)
		return -EOPNOTSUPP;

	/* Better one event is lost than that interrupts wait for memory. */
	event = kzalloc_flex(*event, data, data_len, GFP_NOWAIT);
	if (event) {
		event->len = data_len;
		memcpy(event->data, event_data, data_len);
	}

	scoped_guard(spinlock, &veventq->common.lock)
		queued = veventq_add(veventq, event);
	wake_up_interruptible_poll(&veventq->common.wait,
				   EPOLLIN | EPOLLRDNORM);
	if (!queued)
		kfree(event);
	return event ? 0 : -ENOMEM;
}
EXPORT_SYMBOL_NS_GPL(iommufd_viommu_report_event, "IOMMUFD");

/* ---- page tables ---- */

/**
 * ioasid_map_nosync - Enter a run of pages into a page table
 * @domain: The IOMMU driver's view of the table
 * @iova: First address
 * @phys: Physical address
 * @size: In bytes
 * @prot: IOMMU_READ, IOMMU_WRITE, IOMMU_CACHE
 * @gfp: For memory of the table
 *
 * The IOMMU may not see it before ioasid_sync_map(). The IOMMU core exports this
 * only as one step with that, which would be a step for each page of memory that is
 * scattered.
 *
 * Return: 0, or as iommu_map().
 */
int ioasid_map_nosync(struct iommu_domain *domain, unsigned long iova,
		      phys_addr_t phys, size_t size, int prot, gfp_t gfp)
{
	return iommu_map_nosync(domain, iova, phys, size, prot, gfp);
}
EXPORT_SYMBOL_NS_GPL(ioasid_map_nosync, "IOMMUFD_INTERNAL");

/**
 * ioasid_sync_map - Make the IOMMU see what was entered
 * @domain: The IOMMU driver's view of the table
 * @iova: First address
 * @size: In bytes; all of it is entered
 *
 * Return: 0, or what the driver says; then the caller takes it out.
 */
int ioasid_sync_map(struct iommu_domain *domain, unsigned long iova,
		    size_t size)
{
	return iommu_sync_map(domain, iova, size);
}
EXPORT_SYMBOL_NS_GPL(ioasid_sync_map, "IOMMUFD_INTERNAL");

static void mem_uncharge(struct work_struct *work)
{
	struct mem_charge *charge = container_of(work, struct mem_charge, work);

	mmap_write_lock(charge->mm);
	__account_locked_vm(charge->mm, charge->pages, false, current, true);
	mmap_write_unlock(charge->mm);
	mmdrop(charge->mm);
	kfree(charge);
}

/**
 * mem_uncharge_later - Give back what was charged as locked memory
 * @charge: What was charged; it is gone then
 *
 * Somebody else does it, who can wait for the process's lock. The module may be gone
 * by then, so this is no part of it.
 *
 * Context: Any lock may be held.
 */
void mem_uncharge_later(struct mem_charge *charge)
{
	INIT_WORK(&charge->work, mem_uncharge);
	schedule_work(&charge->work);
}
EXPORT_SYMBOL_NS_GPL(mem_uncharge_later, "IOMMUFD_INTERNAL");

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
	struct iommufd_hw_pagetable *pt = domain->iommufd_hwpt;
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
	/* The user fills a nested table, and maps the address to this one. */
	rc = ioasid_sw_msi_install(pt->parent ? pt->parent : pt, page);
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
