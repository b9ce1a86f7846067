// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attachment of devices to address spaces.
 *
 * What is attached is attached to the whole group, once per PASID; the devices
 * of the group that share the slot are only counted. ioasid_group.lock is held
 * from the look at a slot to its change.
 *
 * An attachment pins first, with no lock held, then finds or makes a page table
 * that is complete before a device sees it.
 */
#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "ioasid_private.h"
#include "trace.h"

#ifdef CONFIG_IRQ_MSI_IOMMU
/* A page table that replaces another must know the MSI pages in use. */
static int setup_sw_msi(struct ioasid_group *group,
			struct iommufd_hw_pagetable *pt)
{
	struct iommufd_ctx *ictx = group->ictx;
	const struct sw_msi_page *page;
	int rc;

	if (group->sw_msi_start == PHYS_ADDR_MAX)
		return 0;

	guard(mutex)(&ictx->sw_msi_lock);
	list_for_each_entry(page, &ictx->sw_msi_list, entry) {
		if (page->sw_msi_start != group->sw_msi_start ||
		    !test_bit(page->id, group->sw_msi.bits))
			continue;
		rc = ioasid_sw_msi_install(pt, page);
		if (rc)
			return rc;
	}
	return 0;
}
#else
static int setup_sw_msi(struct ioasid_group *group,
			struct iommufd_hw_pagetable *pt)
{
	return 0;
}
#endif

/* ---- the IOMMU core's side of a slot ---- */

static struct ioasid_attach_handle *handle_new(struct ioasid_group *group)
{
	struct ioasid_attach_handle *handle;

	handle = kzalloc_obj(*handle, GFP_KERNEL_ACCOUNT);
	if (handle)
		handle->group = group;
	return handle;
}

/* The device is being reset, or its driver does not take the page table. */
static int injected_failure(void)
{
	if (ioasid_should_fail())
		return -EBUSY;
	return ioasid_should_fail() ? -EINVAL : 0;
}

static int core_attach(struct iommufd_hw_pagetable *pt,
		       struct iommufd_device *idev,
		       struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	int rc = injected_failure();

	if (rc)
		return rc;
	if (pasid != IOMMU_NO_PASID)
		return iommu_attach_device_pasid(pt->domain, idev->dev, pasid,
						 &handle->handle);
	rc = pt->filled ? setup_sw_msi(idev->group, pt) : 0;
	if (rc)
		return rc;
	return iommu_attach_group_handle(pt->domain, idev->group->group,
					 &handle->handle);
}

static void core_detach(struct iommufd_hw_pagetable *pt,
			struct iommufd_device *idev, ioasid_t pasid)
{
	if (pasid != IOMMU_NO_PASID)
		iommu_detach_device_pasid(pt->domain, idev->dev, pasid);
	else
		iommu_detach_group_handle(pt->domain, idev->group->group);
}

/* ---- attach ---- */

static int check_pasid(const struct ioasid *ioas,
		       const struct iommufd_device *idev, ioasid_t pasid)
{
	if (pasid == IOMMU_NO_PASID)
		return ioasid_may(ioas, IOMMU_IOASID_OP_ATTACH) ? 0 : -EINVAL;
	if (!ioasid_may(ioas, IOMMU_IOASID_OP_ATTACH_PASID))
		return -EINVAL;
	if (!idev->dev->iommu->max_pasids)
		return -EOPNOTSUPP;
	return pasid < idev->dev->iommu->max_pasids ? 0 : -EINVAL;
}

/*
 * A page table without a format gets it from the driver when it is attached,
 * and can only then be filled: with MSI pages first, as a lost interrupt is not
 * repeated.
 */
static int fill_attached(struct ioasid *ioas, struct iommufd_device *idev,
			 struct iommufd_hw_pagetable *pt)
{
	int rc = setup_sw_msi(idev->group, pt);

	if (!rc)
		rc = pgtable_fill(pt);
	return rc ? rc : ioasid_update_permitted(ioas);
}

static int attach_new_table(struct ioasid *ioas, struct iommufd_device *idev,
			    struct iommufd_hw_pagetable *pt,
			    struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	int rc;

	if (pt->filled) {
		rc = ioasid_update_permitted(ioas);
		return rc ? rc : core_attach(pt, idev, handle, pasid);
	}
	if (pasid != IOMMU_NO_PASID)
		return -EOPNOTSUPP;
	rc = core_attach(pt, idev, handle, pasid);
	if (rc)
		return rc;
	rc = fill_attached(ioas, idev, pt);
	if (rc)
		core_detach(pt, idev, pasid);
	return rc;
}

/*
 * Attaches the first page table of the right kind that the driver takes, and
 * makes one if there is none.
 */
static struct iommufd_hw_pagetable *
attach_some_table(struct ioasid *ioas, struct iommufd_device *idev,
		  struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	struct iommufd_hw_pagetable *pt;
	int rc;

	lockdep_assert_held(&ioas->lock);

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pgtable_fits(pt, idev))
			continue;
		rc = core_attach(pt, idev, handle, pasid);
		if (rc == -EINVAL)
			continue;
		if (rc)
			return ERR_PTR(rc);
		pt->num_users++;
		return pt;
	}

	pt = pgtable_create(ioas, idev);
	if (IS_ERR(pt))
		return pt;
	rc = attach_new_table(ioas, idev, pt, handle, pasid);
	if (rc) {
		pgtable_put(pt);
		ioasid_widen_permitted(ioas);
		return ERR_PTR(rc);
	}
	return pt;
}

static int attach_slot(struct ioasid_slot *slot, struct ioasid *ioas,
		       struct iommufd_device *idev, ioasid_t pasid)
{
	struct iommufd_hw_pagetable *pt;
	int rc;

	guard(mutex)(&ioas->lock);
	rc = pgtable_check_device(ioas, idev);
	if (rc)
		return rc;
	/* The IOMMU could treat the members of a group differently. */
	if (slot->ioas && !pgtable_fits(slot->pt, idev))
		return -EINVAL;
	if (pasid == IOMMU_NO_PASID) {
		rc = ioasid_reserve(ioas, idev);
		if (rc)
			return rc;
	}
	if (slot->ioas)
		return 0;

	pt = attach_some_table(ioas, idev, slot->handle, pasid);
	if (IS_ERR(pt)) {
		if (pasid == IOMMU_NO_PASID)
			ioasid_unreserve(ioas, idev);
		return PTR_ERR(pt);
	}
	slot->ioas = ioas;
	slot->pt = pt;
	return 0;
}

static struct ioasid_slot *slot_new(struct iommufd_device *idev)
{
	struct ioasid_slot *slot;

	slot = kzalloc_obj(*slot, GFP_KERNEL_ACCOUNT);
	if (!slot)
		return NULL;
	slot->handle = handle_new(idev->group);
	if (!slot->handle) {
		kfree(slot);
		return NULL;
	}
	xa_init_flags(&slot->devices, XA_FLAGS_ACCOUNT);
	return slot;
}

static void slot_free(struct ioasid_slot *slot)
{
	WARN_ON(slot->num_devices);
	xa_destroy(&slot->devices);
	kfree(slot->handle);
	kfree(slot);
}

static int attach_group(struct ioasid_group *group, struct ioasid *ioas,
			struct iommufd_device *idev, ioasid_t pasid)
{
	struct ioasid_slot *slot, *new_slot = NULL;
	int rc;

	lockdep_assert_held(&group->lock);

	slot = xa_load(&group->slots, pasid);
	if (slot && slot->ioas != ioas)
		return -EINVAL;
	if (!slot) {
		new_slot = slot_new(idev);
		if (!new_slot)
			return -ENOMEM;
		rc = ioasid_xa_insert(&group->slots, pasid, new_slot);
		if (rc)
			goto err_slot;
		slot = new_slot;
	}
	rc = ioasid_xa_insert(&slot->devices, idev->obj.id, idev);
	if (rc)
		goto err_erase;
	rc = attach_slot(slot, ioas, idev, pasid);
	if (rc)
		goto err_device;
	slot->num_devices++;
	return 0;

err_device:
	xa_erase(&slot->devices, idev->obj.id);
err_erase:
	if (new_slot)
		xa_erase(&group->slots, pasid);
err_slot:
	if (new_slot)
		slot_free(new_slot);
	return rc;
}

static int attach_ioasid(struct iommufd_device *idev, struct ioasid *ioas,
			 ioasid_t pasid)
{
	int rc;

	rc = check_pasid(ioas, idev, pasid);
	if (rc)
		return rc;
	rc = ioasid_pinners_get(ioas, 1);
	if (rc)
		return rc;
	refcount_inc(&ioas->obj.users);
	scoped_guard(mutex, &idev->group->lock)
		rc = attach_group(idev->group, ioas, idev, pasid);
	if (rc) {
		ioasid_pinners_put(ioas, 1);
		refcount_dec(&ioas->obj.users);
	}
	return rc;
}

static int change_ioasid(struct iommufd_device *idev, ioasid_t pasid, u32 id,
			 int (*change)(struct iommufd_device *idev,
				       struct ioasid *ioas, ioasid_t pasid))
{
	struct ioasid *ioas = ioasid_get(idev->ictx, id);
	int rc;

	if (IS_ERR(ioas)) {
		rc = PTR_ERR(ioas);
	} else {
		rc = change(idev, ioas, pasid);
		ioasid_put(ioas);
	}
	trace_ioasid_attach(idev->dev, pasid, id, rc);
	return rc;
}

/**
 * iommufd_device_attach - Give a device an address space
 * @idev: The device
 * @pasid: PASID of the DMA that is meant, IOMMU_NO_PASID for plain DMA
 * @pt_id: The IOASID; it stays as it is
 *
 * Context: Process context; VFIO holds dev_set->lock and serializes the calls
 * on a device. May sleep for user memory.
 *
 * Return: 0; -ENOENT: no such IOASID; -EINVAL: its type does not allow this,
 * another IOASID is attached to the device's group, or its mappings,
 * attributes or permitted ranges do not suit the device; -EOPNOTSUPP: no
 * PASIDs, snoop policy "off" where the IOMMU could enforce, or an IOMMU that
 * cannot track what is written where that may be asked for; -EBUSY: attached
 * already, or the device is being reset; -EIO: the driver cannot start tracking;
 * what pinning says; -ENOMEM.
 *
 * Where the driver decides on the format of a page table when it attaches it,
 * DMA under way may fault until the table is filled.
 */
int iommufd_device_attach(struct iommufd_device *idev, ioasid_t pasid,
			  u32 *pt_id)
{
	return change_ioasid(idev, pasid, *pt_id, attach_ioasid);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_attach, "IOMMUFD");

/* ---- detach ---- */

static void detach_device(struct ioasid *ioas, struct ioasid_slot *slot,
			  struct iommufd_device *idev, ioasid_t pasid)
{
	guard(mutex)(&ioas->lock);
	if (!slot->num_devices) {
		core_detach(slot->pt, idev, pasid);
		pgtable_put(slot->pt);
	}
	if (pasid == IOMMU_NO_PASID)
		ioasid_unreserve(ioas, idev);
	else
		ioasid_widen_permitted(ioas);
}

/**
 * iommufd_device_detach - Take a device's address space away
 * @idev: The device
 * @pasid: As it was attached
 *
 * If no other device of the group has it, the group's DMA with that PASID is
 * blocked from now on. Nothing happens if nothing is attached.
 *
 * Context: As iommufd_device_attach(), but does not sleep for user memory.
 */
void iommufd_device_detach(struct iommufd_device *idev, ioasid_t pasid)
{
	struct ioasid_group *group = idev->group;
	struct ioasid_slot *slot;
	struct ioasid *ioas;

	scoped_guard(mutex, &group->lock) {
		slot = xa_load(&group->slots, pasid);
		if (!slot || !xa_erase(&slot->devices, idev->obj.id))
			return;
		slot->num_devices--;
		ioas = slot->ioas;
		detach_device(ioas, slot, idev, pasid);
		if (!slot->num_devices) {
			xa_erase(&group->slots, pasid);
			slot_free(slot);
		}
	}
	trace_ioasid_detach(idev->dev, pasid, ioas->obj.id);
	ioasid_pinners_put(ioas, 1);
	refcount_dec(&ioas->obj.users);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_detach, "IOMMUFD");

/* ---- replace ---- */

static int check_slot_devices(const struct ioasid *ioas, struct ioasid_slot *slot)
{
	struct iommufd_device *idev;
	unsigned long id;
	int rc = 0;

	xa_for_each(&slot->devices, id, idev) {
		rc = pgtable_check_device(ioas, idev);
		if (rc)
			break;
	}
	return rc;
}

static int reserve_slot(struct ioasid *ioas, struct ioasid_slot *slot)
{
	struct iommufd_device *idev, *undo;
	unsigned long id, undo_id;
	int rc;

	xa_for_each(&slot->devices, id, idev) {
		rc = ioasid_reserve(ioas, idev);
		if (rc)
			goto err_unreserve;
	}
	return 0;

err_unreserve:
	xa_for_each(&slot->devices, undo_id, undo) {
		if (undo_id == id)
			break;
		ioasid_unreserve(ioas, undo);
	}
	return rc;
}

static void unreserve_slot(struct ioasid *ioas, struct ioasid_slot *slot)
{
	struct iommufd_device *idev;
	unsigned long id;

	xa_for_each(&slot->devices, id, idev)
		ioasid_unreserve(ioas, idev);
}

/*
 * A page table that is sure to suit the device. A driver may stop the device's
 * DMA before it finds out that a table does not, so none is tried: it is one
 * that was made for the same IOMMU instance, or a new one.
 */
static struct iommufd_hw_pagetable *get_own_table(struct ioasid *ioas,
						  struct iommufd_device *idev)
{
	struct iommufd_hw_pagetable *pt;
	int rc;

	lockdep_assert_held(&ioas->lock);

	list_for_each_entry(pt, &ioas->tables, entry)
		if (pgtable_fits(pt, idev) &&
		    pt->iommu_dev == idev->dev->iommu->iommu_dev) {
			pt->num_users++;
			return pt;
		}

	pt = pgtable_create(ioas, idev);
	if (IS_ERR(pt) || !pt->filled)
		return pt;
	rc = ioasid_update_permitted(ioas);
	if (rc) {
		pgtable_put(pt);
		return ERR_PTR(rc);
	}
	return pt;
}

static int core_replace(struct iommufd_hw_pagetable *pt,
			struct iommufd_device *idev,
			struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	int rc = injected_failure();

	if (rc)
		return rc;
	if (pasid != IOMMU_NO_PASID)
		return iommu_replace_device_pasid(pt->domain, idev->dev, pasid,
						  &handle->handle);
	return iommu_replace_group_handle(idev->group->group, pt->domain,
					  &handle->handle);
}

/* Attaches the old table of plain DMA again. */
static void restore_slot(struct ioasid_slot *slot, struct iommufd_device *idev,
			 struct ioasid_attach_handle **spare)
{
	core_detach(slot->pt, idev, IOMMU_NO_PASID);
	swap(slot->handle, *spare);
	if (core_attach(slot->pt, idev, slot->handle, IOMMU_NO_PASID))
		dev_err(idev->dev,
			"cannot go back to the old I/O address space: DMA stays blocked\n");
}

/* The slot's devices move to @ioas, which has one pinner for all of them yet. */
static int enter_slot(struct ioasid_slot *slot, struct ioasid *ioas,
		      struct iommufd_device *idev, ioasid_t pasid,
		      struct ioasid_attach_handle *handle,
		      struct ioasid_attach_handle **spare)
{
	bool plain = pasid == IOMMU_NO_PASID;
	struct iommufd_hw_pagetable *pt;
	int rc;

	guard(mutex)(&ioas->lock);
	rc = check_slot_devices(ioas, slot);
	if (rc)
		return rc;
	if (plain) {
		rc = reserve_slot(ioas, slot);
		if (rc)
			return rc;
	}
	pt = get_own_table(ioas, idev);
	if (IS_ERR(pt)) {
		rc = PTR_ERR(pt);
		goto err_unreserve;
	}
	if (!plain && !pt->filled) {
		rc = -EOPNOTSUPP;
		goto err_table;
	}
	rc = plain && pt->filled ? setup_sw_msi(idev->group, pt) : 0;
	if (rc)
		goto err_table;
	rc = core_replace(pt, idev, handle, pasid);
	if (rc) {
		/*
		 * The driver may have left the device without any table, though
		 * the core says that the old one is attached; it would do
		 * nothing if that were attached again. With -EBUSY the core has
		 * not asked the driver, because the device is being reset.
		 */
		if (plain && rc != -EBUSY)
			restore_slot(slot, idev, spare);
		goto err_table;
	}
	if (!pt->filled)
		rc = fill_attached(ioas, idev, pt);
	/* An interrupt may have been set up in the old table meanwhile. */
	else if (plain)
		rc = setup_sw_msi(idev->group, pt);
	if (rc) {
		restore_slot(slot, idev, spare);
		goto err_table;
	}
	slot->pt = pt;
	slot->ioas = ioas;
	WRITE_ONCE(ioas->num_pinners, ioas->num_pinners + slot->num_devices - 1);
	refcount_add(slot->num_devices, &ioas->obj.users);
	return 0;

err_table:
	pgtable_put(pt);
err_unreserve:
	if (plain)
		unreserve_slot(ioas, slot);
	ioasid_widen_permitted(ioas);
	return rc;
}

static void leave_ioasid(struct ioasid_slot *slot, struct ioasid *ioas,
			 struct iommufd_hw_pagetable *pt, ioasid_t pasid)
{
	guard(mutex)(&ioas->lock);
	pgtable_put(pt);
	if (pasid == IOMMU_NO_PASID)
		unreserve_slot(ioas, slot);
	ioasid_widen_permitted(ioas);
}

static int switch_slot(struct ioasid_slot *slot, struct ioasid *ioas,
		       struct iommufd_device *idev, ioasid_t pasid)
{
	struct ioasid_attach_handle *handle = handle_new(idev->group);
	struct ioasid_attach_handle *spare = handle_new(idev->group);
	struct iommufd_hw_pagetable *old_pt = slot->pt;
	struct ioasid *old = slot->ioas;
	int rc = -ENOMEM;

	if (handle && spare)
		rc = enter_slot(slot, ioas, idev, pasid, handle, &spare);
	if (!rc) {
		swap(slot->handle, handle);
		leave_ioasid(slot, old, old_pt, pasid);
	}
	kfree(spare);
	kfree(handle);
	return rc;
}

static int replace_ioasid(struct iommufd_device *idev, struct ioasid *ioas,
			  ioasid_t pasid)
{
	struct ioasid_group *group = idev->group;
	struct ioasid *old = NULL;
	struct ioasid_slot *slot;
	unsigned int num = 0;
	int rc;

	rc = check_pasid(ioas, idev, pasid);
	if (rc)
		return rc;
	rc = ioasid_pinners_get(ioas, 1);
	if (rc)
		return rc;

	scoped_guard(mutex, &group->lock) {
		slot = xa_load(&group->slots, pasid);
		if (!slot || !xa_load(&slot->devices, idev->obj.id)) {
			rc = -EINVAL;
		} else if (slot->ioas != ioas) {
			old = slot->ioas;
			rc = switch_slot(slot, ioas, idev, pasid);
			num = slot->num_devices;
		}
	}
	if (rc || !old) {
		ioasid_pinners_put(ioas, 1);
	} else {
		ioasid_pinners_put(old, num);
		WARN_ON(refcount_sub_and_test(num, &old->obj.users));
	}
	return rc;
}

/**
 * iommufd_device_replace - Give an attached device another address space
 * @idev: The device
 * @pasid: As it was attached
 * @pt_id: The IOASID; it stays as it is
 *
 * All devices of the group that are attached with @pasid move along. DMA meets
 * the old or the new address space, never another; whether DMA under way is
 * lost in between depends on the IOMMU driver.
 *
 * Context: As iommufd_device_attach().
 *
 * Return: 0, or as iommufd_device_attach(), with -EINVAL also if nothing is
 * attached. The old address space stays then; if the driver of the IOMMU fails
 * half way and refuses to go back as well, DMA is blocked until the next
 * replace, and the kernel log says so.
 */
int iommufd_device_replace(struct iommufd_device *idev, ioasid_t pasid,
			   u32 *pt_id)
{
	return change_ioasid(idev, pasid, *pt_id, replace_ioasid);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_replace, "IOMMUFD");
