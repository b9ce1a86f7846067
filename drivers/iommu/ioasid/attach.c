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
#include <linux/pci.h>
#include <linux/pci-ats.h>
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
	if (pt->parent)
		pt = pt->parent;

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

static struct ioasid_attach_handle *handle_new(struct iommufd_device *idev)
{
	struct ioasid_attach_handle *handle;

	handle = kzalloc_obj(*handle, GFP_KERNEL_ACCOUNT);
	if (handle) {
		handle->group = idev->group;
		handle->dev_id = idev->obj.id;
	}
	return handle;
}

/* A nested one is the user's to fill. */
static bool is_filled(const struct iommufd_hw_pagetable *pt)
{
	return pt->parent || pt->filled;
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
	if (pasid == IOMMU_NO_PASID && is_filled(pt))
		rc = setup_sw_msi(idev->group, pt);
	if (rc)
		return rc;
	return pt->backend->attach(pt, idev, handle, pasid);
}

/* Page faults that nobody has answered yet are answered here. */
static void core_detach(struct iommufd_hw_pagetable *pt,
			struct iommufd_device *idev,
			struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	pt->backend->detach(pt, idev, pasid);
	ioasid_fault_flush(pt, handle, NULL);
}

/* ---- attach ---- */

static int check_pasid(const struct ioasid *ioas,
		       const struct iommufd_device *idev, ioasid_t pasid)
{
	if (pasid == IOMMU_NO_PASID)
		return ioasid_may(ioas, IOMMU_IOASID_OP_ATTACH) ? 0 : -EINVAL;
	if (!ioasid_may(ioas, IOMMU_IOASID_OP_ATTACH_PASID))
		return -EINVAL;
	return pasid < idev->dev->iommu->max_pasids ? 0 : -EINVAL;
}

/*
 * What a device is to be attached to: an address space, and then the page table
 * with @id or, if that is 0, one that is chosen or made. What has ended on the way
 * is in @dead, for pgtable_dispose() when no lock is held.
 */
struct target {
	struct ioasid *ioas;
	u32 id;
	struct iommufd_hw_pagetable *dead;
};

/* A reference to the page table that the user has named, or an error pointer */
static struct iommufd_hw_pagetable *get_named_table(const struct target *target)
{
	struct iommufd_ctx *ictx = target->ioas->ictx;
	struct iommufd_hw_pagetable *pt;

	lockdep_assert_held(&target->ioas->lock);

	pt = ioasid_get_hwpt(ictx, target->id);
	if (IS_ERR(pt))
		return pt;
	/* It may have ended since it was looked up first, and be another now. */
	if (pt->ioas != target->ioas ||
	    (pt->automatic && list_empty(&pt->entry))) {
		ioasid_object_put(ictx, &pt->obj);
		return ERR_PTR(-ENOENT);
	}
	pgtable_get(pt);
	ioasid_object_put(ictx, &pt->obj);
	return pt;
}

static bool slot_is_at(const struct ioasid_slot *slot,
		       const struct target *target)
{
	if (READ_ONCE(slot->pt->ended))
		return false;
	if (target->id)
		return slot->pt->obj.id == target->id;
	return slot->ioas == target->ioas && slot->pt->automatic;
}

static bool backend_suits(const struct iommufd_hw_pagetable *pt,
			  const struct iommufd_device *idev)
{
	return !pt->backend->suits || pt->backend->suits(pt, idev);
}

/*
 * In some IOMMUs the tables of a device's plain DMA and of its PASIDs must be of
 * one kind. Functions of an SR-IOV device share its page requests, which nobody
 * keeps apart.
 */
static int check_table(struct ioasid_group *group,
		       const struct iommufd_hw_pagetable *pt,
		       const struct iommufd_device *idev, ioasid_t pasid)
{
	unsigned long index = IOMMU_NO_PASID;
	const struct ioasid_slot *plain;

	lockdep_assert_held(&group->lock);

	/* A nested table is for one IOMMU, and drivers notice that late. */
	if (!pgtable_suits(pt, idev) || !backend_suits(pt, idev) ||
	    (pt->parent && pt->iommu_dev != idev->dev->iommu->iommu_dev))
		return -EINVAL;
	if (pt->fault && dev_is_pci(idev->dev) &&
	    to_pci_dev(idev->dev)->is_virtfn &&
	    pci_pri_supported(to_pci_dev(idev->dev)))
		return -EINVAL;
	if (pasid == IOMMU_NO_PASID)
		return !pt->pasid && xa_find_after(&group->slots, &index,
						   ULONG_MAX, XA_PRESENT) ?
			       -EINVAL : 0;
	plain = xa_load(&group->slots, IOMMU_NO_PASID);
	return pt->pasid && (!plain || plain->pt->pasid) ? 0 : -EINVAL;
}

/* What can be said of a page table without a format, before it is attached */
static int prepare_table(struct ioasid *ioas, struct iommufd_device *idev,
			 struct iommufd_hw_pagetable *pt)
{
	int rc;

	if (!pt->backend->prepare)
		return 0;
	rc = pt->backend->prepare(pt, idev);
	if (!rc)
		rc = ioasid_check_windows(ioas);
	if (!rc)
		rc = pgtable_check_fill(pt);
	return rc;
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
	/* There is room: this was updated when the table came. */
	if (!rc)
		ioasid_widen_permitted(ioas);
	return rc;
}

static int attach_new_table(struct ioasid *ioas, struct iommufd_device *idev,
			    struct iommufd_hw_pagetable *pt,
			    struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	int rc;

	rc = check_table(idev->group, pt, idev, pasid);
	if (rc)
		return rc;
	rc = ioasid_update_permitted(ioas);
	if (rc)
		return rc;
	if (is_filled(pt))
		return core_attach(pt, idev, handle, pasid);
	if (pasid != IOMMU_NO_PASID)
		return -EOPNOTSUPP;
	rc = prepare_table(ioas, idev, pt);
	if (rc)
		return rc;
	rc = core_attach(pt, idev, handle, pasid);
	if (rc)
		return rc;
	rc = fill_attached(ioas, idev, pt);
	if (rc)
		core_detach(pt, idev, handle, pasid);
	return rc;
}

static struct iommufd_hw_pagetable *
attach_named_table(struct target *target, struct iommufd_device *idev,
		   struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	struct iommufd_hw_pagetable *pt = get_named_table(target);
	int rc;

	if (IS_ERR(pt))
		return pt;
	rc = attach_new_table(target->ioas, idev, pt, handle, pasid);
	if (!rc)
		return pt;
	if (pgtable_put(pt))
		target->dead = pt;
	return ERR_PTR(rc);
}

/*
 * Attaches the first page table of the right kind that the driver takes, and
 * makes one if there is none.
 */
static struct iommufd_hw_pagetable *
attach_some_table(struct target *target, struct iommufd_device *idev,
		  struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	struct ioasid *ioas = target->ioas;
	struct iommufd_hw_pagetable *pt;
	int rc;

	lockdep_assert_held(&ioas->lock);

	if (target->id)
		return attach_named_table(target, idev, handle, pasid);

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pgtable_fits(pt, idev) ||
		    check_table(idev->group, pt, idev, pasid))
			continue;
		rc = core_attach(pt, idev, handle, pasid);
		if (rc == -EINVAL)
			continue;
		if (rc)
			return ERR_PTR(rc);
		pgtable_get(pt);
		return pt;
	}

	pt = pgtable_create(ioas, idev);
	if (IS_ERR(pt))
		return pt;
	rc = attach_new_table(ioas, idev, pt, handle, pasid);
	if (rc) {
		pgtable_abort(pt);
		ioasid_widen_permitted(ioas);
		return ERR_PTR(rc);
	}
	pgtable_get(pt);
	ioasid_object_publish(pt->ictx, &pt->obj);
	return pt;
}

static int attach_slot(struct ioasid_slot *slot, struct target *target,
		       struct iommufd_device *idev, ioasid_t pasid)
{
	struct ioasid *ioas = target->ioas;
	struct iommufd_hw_pagetable *pt;
	int rc;

	guard(mutex)(&ioas->lock);
	rc = pgtable_check_device(ioas, idev);
	if (rc)
		return rc;
	/* The IOMMU could treat the members of a group differently. */
	if (slot->ioas && (!slot_is_at(slot, target) ||
			   !pgtable_suits(slot->pt, idev)))
		return -EINVAL;
	if (pasid == IOMMU_NO_PASID) {
		rc = ioasid_reserve(ioas, idev);
		if (rc)
			return rc;
	}
	if (slot->ioas)
		return 0;

	pt = attach_some_table(target, idev, slot->handle, pasid);
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
	slot->handle = handle_new(idev);
	if (!slot->handle) {
		kfree(slot);
		return NULL;
	}
	xa_init_flags(&slot->devices, XA_FLAGS_ACCOUNT);
	return slot;
}

static void slot_free(struct ioasid_slot *slot)
{
	/* An empty xarray needs no xa_destroy(). */
	WARN_ON(!xa_empty(&slot->devices));
	kfree(slot->handle);
	kfree(slot);
}

static int attach_group(struct ioasid_group *group, struct target *target,
			struct iommufd_device *idev, ioasid_t pasid)
{
	struct ioasid_slot *slot, *new_slot = NULL;
	int rc;

	lockdep_assert_held(&group->lock);

	slot = xa_load(&group->slots, pasid);
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
	rc = -EINVAL;
	if (slot->ioas && slot->ioas != target->ioas)
		goto err_device;
	rc = attach_slot(slot, target, idev, pasid);
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

static int attach_target(struct iommufd_device *idev, struct target *target,
			 ioasid_t pasid, u32 *out_id)
{
	struct ioasid_group *group = idev->group;
	struct ioasid *ioas = target->ioas;
	int rc;

	rc = check_pasid(ioas, idev, pasid);
	if (rc)
		return rc;
	rc = ioasid_pinners_get(ioas, 1);
	if (rc)
		return rc;
	refcount_inc(&ioas->obj.users);
	scoped_guard(mutex, &group->lock) {
		const struct ioasid_slot *slot;

		rc = attach_group(group, target, idev, pasid);
		if (!rc) {
			slot = xa_load(&group->slots, pasid);
			*out_id = slot->pt->obj.id;
			ioasid_count_devices(ioas, 1);
		}
	}
	if (rc) {
		ioasid_pinners_put(ioas, 1);
		refcount_dec(&ioas->obj.users);
	}
	return rc;
}

/*
 * Only the address space is held while memory is pinned: detach waits for whoever
 * holds a page table, and the user decides how long pinning takes.
 */
static int find_target(struct iommufd_ctx *ictx, u32 id, struct target *target)
{
	struct iommufd_object *obj = ioasid_object_get(ictx, id,
						       IOMMUFD_OBJ_ANY);
	int rc = 0;

	if (IS_ERR(obj))
		return PTR_ERR(obj);
	switch (obj->type) {
	case IOMMUFD_OBJ_IOAS:
		target->ioas = to_ioasid(obj);
		return 0;
	case IOMMUFD_OBJ_HWPT_PAGING:
	case IOMMUFD_OBJ_HWPT_NESTED:
		target->ioas = to_hwpt(obj)->ioas;
		target->id = id;
		if (!ioasid_object_tryget(&target->ioas->obj))
			rc = -ENOENT;
		break;
	default:
		rc = -EINVAL;
	}
	ioasid_object_put(ictx, obj);
	return rc;
}

static int change_target(struct iommufd_device *idev, ioasid_t pasid, u32 *id,
			 int (*change)(struct iommufd_device *idev,
				       struct target *target, ioasid_t pasid,
				       u32 *out_id))
{
	struct target target = {};
	u32 in_id = *id;
	int rc;

	rc = find_target(idev->ictx, in_id, &target);
	if (!rc) {
		rc = change(idev, &target, pasid, id);
		/* As long as it can be found, its address space must stay. */
		pgtable_dispose(target.dead);
		ioasid_put(target.ioas);
	}
	trace_ioasid_attach(idev->dev, pasid, in_id, rc);
	return rc;
}

/**
 * iommufd_device_attach - Give a device an address space
 * @idev: The device
 * @pasid: PASID of the DMA that is meant, IOMMU_NO_PASID for plain DMA
 * @pt_id: The IOASID, or a page table. Output: the page table, which may have
 *         been made for this, and then ends with the last attachment
 *
 * Context: Process context; VFIO holds dev_set->lock and serializes the calls
 * on a device. May sleep for user memory.
 *
 * Return: 0; -ENOENT: no such IOASID or page table; -EINVAL: its type does not
 * allow this, the device has no such PASID, something else is attached to the
 * device's group, or its width, attributes or alignment do not suit the device;
 * -EADDRINUSE: there are mappings or allowed ranges where the device cannot have
 * any; -EOPNOTSUPP: snoop policy "off" where the IOMMU could enforce, or an IOMMU
 * that cannot track what is written where that may be asked for; -EBUSY: attached
 * already, or the device is being reset; -EIO: the driver cannot start tracking;
 * what pinning says; -ENOMEM.
 *
 * Where the driver decides on the format of a page table when it attaches it,
 * DMA under way may fault until the table is filled.
 */
int iommufd_device_attach(struct iommufd_device *idev, ioasid_t pasid,
			  u32 *pt_id)
{
	return change_target(idev, pasid, pt_id, attach_target);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_attach, "IOMMUFD");

/* ---- detach ---- */

static u32 any_device(struct ioasid_slot *slot)
{
	unsigned long id = 0;

	xa_find(&slot->devices, &id, ULONG_MAX, XA_PRESENT);
	return id;
}

static void detach_device(struct ioasid_slot *slot, struct target *target,
			  struct iommufd_device *idev, ioasid_t pasid)
{
	struct ioasid *ioas = slot->ioas;

	guard(mutex)(&ioas->lock);
	if (slot->num_devices) {
		WRITE_ONCE(slot->handle->dev_id, any_device(slot));
		ioasid_fault_flush(slot->pt, slot->handle, idev->dev);
	} else {
		core_detach(slot->pt, idev, slot->handle, pasid);
		if (pgtable_put(slot->pt))
			target->dead = slot->pt;
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
	struct target target = {};
	struct ioasid_slot *slot;
	struct ioasid *ioas;

	scoped_guard(mutex, &group->lock) {
		slot = xa_load(&group->slots, pasid);
		if (!slot || !xa_erase(&slot->devices, idev->obj.id))
			return;
		slot->num_devices--;
		ioas = slot->ioas;
		detach_device(slot, &target, idev, pasid);
		ioasid_count_devices(ioas, -1);
		if (!slot->num_devices) {
			xa_erase(&group->slots, pasid);
			slot_free(slot);
		}
	}
	trace_ioasid_detach(idev->dev, pasid, ioas->obj.id);
	pgtable_dispose(target.dead);
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
 * A page table that is sure to suit the device, if the user has not named one. A
 * driver may stop the device's DMA before it finds out that a table does not, so
 * none is tried: it is one that was made for the same IOMMU instance, or a new one.
 * The caller has a reference to it, and publishes it if @fresh.
 */
static struct iommufd_hw_pagetable *get_table(struct target *target,
					      struct iommufd_device *idev,
					      bool *fresh)
{
	struct ioasid *ioas = target->ioas;
	struct iommufd_hw_pagetable *pt;
	int rc;

	lockdep_assert_held(&ioas->lock);

	*fresh = false;
	if (target->id)
		return get_named_table(target);
	list_for_each_entry(pt, &ioas->tables, entry)
		if (pgtable_fits(pt, idev) && backend_suits(pt, idev) &&
		    pt->iommu_dev == idev->dev->iommu->iommu_dev) {
			pgtable_get(pt);
			return pt;
		}

	pt = pgtable_create(ioas, idev);
	if (IS_ERR(pt))
		return pt;
	rc = ioasid_update_permitted(ioas);
	if (rc) {
		pgtable_abort(pt);
		return ERR_PTR(rc);
	}
	pgtable_get(pt);
	*fresh = true;
	return pt;
}

static void put_table(struct target *target, struct iommufd_hw_pagetable *pt,
		      bool fresh)
{
	if (fresh) {
		refcount_dec(&pt->obj.users);
		pgtable_abort(pt);
	} else if (pgtable_put(pt)) {
		target->dead = pt;
	}
}

static int core_replace(struct iommufd_hw_pagetable *pt,
			struct iommufd_hw_pagetable *old,
			struct iommufd_device *idev,
			struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	int rc = injected_failure();

	if (rc)
		return rc;
	return pt->backend->replace(pt, old, idev, handle, pasid);
}

/* Attaches the old table of plain DMA again, instead of @pt. */
static void restore_slot(struct ioasid_slot *slot,
			 struct iommufd_hw_pagetable *pt,
			 struct iommufd_device *idev,
			 struct ioasid_attach_handle **spare)
{
	core_detach(pt, idev, slot->handle, IOMMU_NO_PASID);
	ioasid_fault_flush(slot->pt, slot->handle, NULL);
	swap(slot->handle, *spare);
	if (core_attach(slot->pt, idev, slot->handle, IOMMU_NO_PASID))
		dev_err(idev->dev,
			"cannot go back to the old I/O address space: DMA stays blocked\n");
}

static int switch_table(struct ioasid_slot *slot,
			struct iommufd_hw_pagetable *pt,
			struct iommufd_device *idev, ioasid_t pasid,
			struct ioasid_attach_handle *handle,
			struct ioasid_attach_handle **spare)
{
	bool plain = pasid == IOMMU_NO_PASID;
	int rc;

	rc = check_table(idev->group, pt, idev, pasid);
	if (rc)
		return rc;
	if (!plain && !is_filled(pt))
		return -EOPNOTSUPP;
	if (!is_filled(pt))
		rc = prepare_table(pt->ioas, idev, pt);
	else if (plain)
		rc = setup_sw_msi(idev->group, pt);
	if (rc)
		return rc;
	rc = core_replace(pt, slot->pt, idev, handle, pasid);
	if (rc) {
		/*
		 * The driver may have left the device without any table, though
		 * the core says that the old one is attached; it would do
		 * nothing if that were attached again. With -EBUSY the core has
		 * not asked the driver, because the device is being reset; with
		 * -ENOENT it misses the vDEVICE, and has not begun.
		 */
		if (plain && rc != -EBUSY && rc != -ENOENT &&
		    (!pt->backend->restores || READ_ONCE(slot->pt->ended)))
			restore_slot(slot, slot->pt, idev, spare);
		return rc;
	}
	if (!is_filled(pt))
		rc = fill_attached(pt->ioas, idev, pt);
	/* An interrupt may have been set up in the old table meanwhile. */
	else if (plain)
		rc = setup_sw_msi(idev->group, pt);
	if (rc) {
		restore_slot(slot, pt, idev, spare);
		/* The new one was there for a moment. */
		ioasid_fault_flush(pt, handle, NULL);
	}
	return rc;
}

/* The slot's devices move to @target, which has one pinner for all of them yet. */
static int enter_slot(struct ioasid_slot *slot, struct target *target,
		      struct iommufd_device *idev, ioasid_t pasid,
		      struct ioasid_attach_handle *handle,
		      struct ioasid_attach_handle **spare)
{
	struct ioasid *ioas = target->ioas;
	bool moves = slot->ioas != ioas;
	bool reserve = moves && pasid == IOMMU_NO_PASID;
	struct iommufd_hw_pagetable *pt;
	bool fresh;
	int rc;

	guard(mutex)(&ioas->lock);
	rc = check_slot_devices(ioas, slot);
	if (rc)
		return rc;
	if (reserve) {
		rc = reserve_slot(ioas, slot);
		if (rc)
			return rc;
	}
	pt = get_table(target, idev, &fresh);
	if (IS_ERR(pt)) {
		rc = PTR_ERR(pt);
		goto err_unreserve;
	}
	rc = switch_table(slot, pt, idev, pasid, handle, spare);
	if (rc)
		goto err_table;
	if (fresh)
		ioasid_object_publish(pt->ictx, &pt->obj);
	slot->pt = pt;
	slot->ioas = ioas;
	if (moves) {
		WRITE_ONCE(ioas->num_pinners,
			   ioas->num_pinners + slot->num_devices - 1);
		refcount_add(slot->num_devices, &ioas->obj.users);
	}
	return 0;

err_table:
	put_table(target, pt, fresh);
err_unreserve:
	if (reserve)
		unreserve_slot(ioas, slot);
	ioasid_widen_permitted(ioas);
	return rc;
}

static void leave_table(struct ioasid_slot *slot, struct target *target,
			struct iommufd_hw_pagetable *pt,
			struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	struct ioasid *ioas = pt->ioas;

	guard(mutex)(&ioas->lock);
	ioasid_fault_flush(pt, handle, NULL);
	if (pgtable_put(pt))
		target->dead = pt;
	if (ioas != slot->ioas && pasid == IOMMU_NO_PASID)
		unreserve_slot(ioas, slot);
	ioasid_widen_permitted(ioas);
}

static int switch_slot(struct ioasid_slot *slot, struct target *target,
		       struct iommufd_device *idev, ioasid_t pasid)
{
	struct ioasid_attach_handle *handle = handle_new(idev);
	struct ioasid_attach_handle *spare = handle_new(idev);
	struct iommufd_hw_pagetable *old_pt = slot->pt;
	int rc = -ENOMEM;

	if (handle && spare)
		rc = enter_slot(slot, target, idev, pasid, handle, &spare);
	if (!rc) {
		swap(slot->handle, handle);
		leave_table(slot, target, old_pt, handle, pasid);
	}
	kfree(spare);
	kfree(handle);
	return rc;
}

static int replace_target(struct iommufd_device *idev, struct target *target,
			  ioasid_t pasid, u32 *out_id)
{
	struct ioasid_group *group = idev->group;
	struct ioasid *ioas = target->ioas;
	struct ioasid_slot *slot;
	struct ioasid *old = ioas;
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
			break;
		}
		if (!slot_is_at(slot, target)) {
			old = slot->ioas;
			rc = switch_slot(slot, target, idev, pasid);
		}
		num = slot->num_devices;
		*out_id = rc ? *out_id : slot->pt->obj.id;
		if (!rc && old != ioas) {
			ioasid_count_devices(ioas, num);
			ioasid_count_devices(old, -num);
		}
	}
	pgtable_dispose(target->dead);
	target->dead = NULL;
	if (rc || old == ioas) {
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
 * @pt_id: As for iommufd_device_attach()
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
	return change_target(idev, pasid, pt_id, replace_target);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_replace, "IOMMUFD");
