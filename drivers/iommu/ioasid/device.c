// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices and their IOMMU groups.
 *
 * Binding a device claims its whole group for the context: the IOMMU core
 * refuses drivers that would do DMA for the kernel, and all DMA of the group is
 * blocked until something is attached.
 *
 * ctx->groups_lock protects the set of groups and their references.
 */
#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include "ioasid_private.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Bind devices even if they could raise interrupts of others, which weakens security (default: N)");

/* ---- groups ---- */

static struct ioasid_group *group_new(struct iommufd_ctx *ictx,
				      struct iommu_group *iommu_group)
{
	struct ioasid_group *group;

	group = kzalloc_obj(*group, GFP_KERNEL_ACCOUNT);
	if (!group)
		return NULL;
	group->ictx = ictx;
	group->group = iommu_group;
	mutex_init(&group->lock);
	xa_init_flags(&group->slots, XA_FLAGS_ACCOUNT);
	group->sw_msi_start = PHYS_ADDR_MAX;
	return group;
}

static struct ioasid_group *group_get(struct iommufd_ctx *ictx,
				      struct device *dev)
{
	struct iommu_group *iommu_group = iommu_group_get(dev);
	struct ioasid_group *group;
	int rc = -ENOMEM;

	if (!iommu_group)
		return ERR_PTR(-ENODEV);

	guard(mutex)(&ictx->groups_lock);
	group = xa_load(&ictx->groups, iommu_group_id(iommu_group));
	if (group) {
		iommu_group_put(iommu_group);
		group->refs++;
		return group;
	}

	group = group_new(ictx, iommu_group);
	if (!group)
		goto err_put;
	rc = ioasid_xa_insert(&ictx->groups, iommu_group_id(iommu_group),
			      group);
	if (rc)
		goto err_free;
	group->refs = 1;
	return group;

err_free:
	kfree(group);
err_put:
	iommu_group_put(iommu_group);
	return ERR_PTR(rc);
}

static void group_put(struct ioasid_group *group)
{
	struct iommufd_ctx *ictx = group->ictx;

	scoped_guard(mutex, &ictx->groups_lock) {
		if (--group->refs)
			return;
		xa_erase(&ictx->groups, iommu_group_id(group->group));
	}
	WARN_ON(!xa_empty(&group->slots));
	xa_destroy(&group->slots);
	iommu_group_put(group->group);
	mutex_destroy(&group->lock);
	kfree(group);
}

/**
 * iommufd_ctx_has_group - Whether a context owns the DMA of a group
 * @ictx: The context, or NULL
 * @group: The group, or NULL
 *
 * Context: VFIO holds dev_set->lock.
 *
 * Return: Whether it does.
 */
bool iommufd_ctx_has_group(struct iommufd_ctx *ictx, struct iommu_group *group)
{
	struct ioasid_group *owned;

	if (!ictx || !group)
		return false;
	guard(mutex)(&ictx->groups_lock);
	owned = xa_load(&ictx->groups, iommu_group_id(group));
	return owned && atomic_read(&owned->num_owned);
}
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_has_group, "IOMMUFD");

/* ---- bind ---- */

static int check_isolated_msi(struct iommufd_device *idev)
{
	if (idev->backend->isolated_msi(idev))
		return 0;
	if (!allow_unsafe_interrupts)
		return -EPERM;
	dev_warn(idev->dev,
		 "allow_unsafe_interrupts: the device can raise any interrupt\n");
	return 0;
}

static int claim_group(struct device *dev, struct iommufd_ctx *ictx)
{
	return ioasid_should_fail() ? -EBUSY :
				      iommu_device_claim_dma_owner(dev, ictx);
}

/**
 * iommufd_device_bind - Bind a physical device to a context
 * @ictx: The context
 * @dev: The device. Its driver is bound, has driver_managed_dma set, and lets
 *       no DMA happen before this returns.
 * @id: Output: identifier of the device in the context
 *
 * The DMA of the device's IOMMU group is blocked from now on.
 *
 * Context: Process context; VFIO holds dev_set->lock.
 *
 * Return: The device, for iommufd_device_unbind(), or an error pointer:
 * -EINVAL: no IOMMU, or one that cannot keep caches coherent; -ENODEV: no
 * group; -EPERM: the device can raise others' interrupts, or another context or
 * a kernel driver has a member of the group; -EBUSY: the group is attached to
 * something else; -ENOSPC: too many objects in the context; -ENOMEM.
 */
struct iommufd_device *iommufd_device_bind(struct iommufd_ctx *ictx,
					   struct device *dev, u32 *id)
{
	struct iommufd_device *idev;
	struct ioasid_group *group;
	bool mock = ioasid_mock_device(dev);
	int rc;

	if (!device_iommu_capable(dev, IOMMU_CAP_CACHE_COHERENCY))
		return ERR_PTR(-EINVAL);

	idev = kzalloc_obj(*idev, GFP_KERNEL_ACCOUNT);
	if (!idev)
		return ERR_PTR(-ENOMEM);
	group = group_get(ictx, dev);
	if (IS_ERR(group)) {
		rc = PTR_ERR(group);
		goto err_free;
	}
	idev->dev = dev;
	idev->group = group;
	idev->backend = ioasid_find_backend(idev);
	rc = mock ? 0 : check_isolated_msi(idev);
	if (rc)
		goto err_group;
	rc = ioasid_object_init(ictx, &idev->obj, IOMMUFD_OBJ_DEVICE);
	if (rc)
		goto err_group;
	rc = claim_group(dev, ictx);
	if (rc)
		goto err_object;
	if (idev->backend->claimed) {
		scoped_guard(mutex, &group->lock)
			rc = idev->backend->claimed(idev);
		if (rc)
			goto err_claim;
	}

	idev->ictx = ictx;
	idev->can_enforce =
		device_iommu_capable(dev, IOMMU_CAP_ENFORCE_CACHE_COHERENCY);
	/* A device that the context owns must not keep the context. */
	if (!mock)
		iommufd_ctx_get(ictx);
	atomic_inc(&group->num_owned);
	atomic_inc(&ictx->num_bound);
	*id = idev->obj.id;
	ioasid_object_publish(ictx, &idev->obj);
	return idev;

err_claim:
	iommu_device_release_dma_owner(dev);
err_object:
	ioasid_object_abort(ictx, &idev->obj);
err_group:
	group_put(group);
err_free:
	kfree(idev);
	return ERR_PTR(rc);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_bind, "IOMMUFD");

/**
 * iommufd_device_unbind - Undo iommufd_device_bind()
 * @idev: The device, with nothing attached. It is gone when this returns.
 *
 * Waits for ioctls that look at the device; none of them sleeps for user
 * memory meanwhile.
 *
 * Context: Process context; VFIO holds dev_set->lock.
 */
void iommufd_device_unbind(struct iommufd_device *idev)
{
	bool mock = ioasid_mock_device(idev->dev);
	struct iommufd_ctx *ictx = idev->ictx;

	ioasid_device_leave_viommu(idev);
	ioasid_object_remove(ictx, &idev->obj);
	atomic_dec(&idev->group->num_owned);
	iommu_device_release_dma_owner(idev->dev);
	group_put(idev->group);
	kfree_rcu(idev, rcu);
	atomic_dec(&ictx->num_bound);
	if (!mock)
		iommufd_ctx_put(ictx);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_unbind, "IOMMUFD");

/**
 * iommufd_device_to_ictx - The context that a device is bound to
 * @idev: The device
 *
 * Return: The context; no reference is taken.
 */
struct iommufd_ctx *iommufd_device_to_ictx(struct iommufd_device *idev)
{
	return idev->ictx;
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_to_ictx, "IOMMUFD");

/**
 * iommufd_device_to_id - The identifier of a device
 * @idev: The device
 *
 * Return: The identifier, 1 to INT_MAX.
 */
u32 iommufd_device_to_id(struct iommufd_device *idev)
{
	return idev->obj.id;
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_to_id, "IOMMUFD");

/**
 * ioasid_get_device - Look a device up and take a short hold of it
 * @ictx: The context
 * @id: Its identifier, from the user
 *
 * Context: As ioasid_object_get(): unbind waits for whoever holds it.
 *
 * Return: The device, for ioasid_object_put(), or -ENOENT.
 */
struct iommufd_device *ioasid_get_device(struct iommufd_ctx *ictx, u32 id)
{
	struct iommufd_object *obj =
		ioasid_object_get(ictx, id, IOMMUFD_OBJ_DEVICE);

	return IS_ERR(obj) ? ERR_CAST(obj) : to_idev(obj);
}

/* ---- what a device can tell ---- */

struct member_list {
	struct device **devs;
	unsigned int num;
	unsigned int max;
};

static int collect_member(struct device *dev, void *data)
{
	struct member_list *list = data;

	if (list->num < list->max)
		list->devs[list->num] = get_device(dev);
	list->num++;
	return 0;
}

static bool driver_does_kernel_dma(struct device *dev)
{
	if (dev_is_pci(dev))
		return !to_pci_driver(dev->driver)->driver_managed_dma;
	if (dev_is_platform(dev))
		return !to_platform_driver(dev->driver)->driver_managed_dma;
	return false;
}

static void describe_member(struct iommufd_ctx *ictx, struct device *dev,
			    struct iommu_group_member *member)
{
	struct iommufd_object *obj;
	unsigned long id;

	strscpy(member->name, dev_name(dev));

	scoped_guard(rcu)
		xa_for_each(&ictx->objects, id, obj)
			if (obj->type == IOMMUFD_OBJ_DEVICE &&
			    to_idev(obj)->dev == dev) {
				member->dev_id = id;
				member->flags |= IOMMU_GROUP_MEMBER_BOUND;
				break;
			}

	/*
	 * The lock is held while a driver is being removed, and that may wait
	 * for the user to close the device, which waits for this call.
	 */
	if (!device_trylock(dev)) {
		member->flags |= IOMMU_GROUP_MEMBER_CHANGING;
		return;
	}
	if (dev->driver) {
		member->flags |= IOMMU_GROUP_MEMBER_DRIVER;
		strscpy(member->driver, dev->driver->name);
		if (driver_does_kernel_dma(dev))
			member->flags |= IOMMU_GROUP_MEMBER_CONFLICT;
	}
	device_unlock(dev);
}

/**
 * ioasid_device_members - Describe the members of a device's group
 * @idev: The device
 * @members: Output: array, for kfree()
 * @num: Output: its length
 * @viable: Output: no member's driver does DMA for the kernel
 *
 * Context: No lock is held.
 *
 * Return: 0 or -ENOMEM.
 */
int ioasid_device_members(struct iommufd_device *idev,
			  struct iommu_group_member **members,
			  unsigned int *num, bool *viable)
{
	struct iommu_group *group = idev->group->group;
	struct iommu_group_member *array;
	struct member_list list = {};
	unsigned int i;

	iommu_group_for_each_dev(group, &list, collect_member);
	list.max = list.num;
	list.num = 0;
	list.devs = kcalloc(list.max, sizeof(*list.devs), GFP_KERNEL_ACCOUNT);
	array = kcalloc(list.max, sizeof(*array), GFP_KERNEL_ACCOUNT);
	if (!list.devs || !array) {
		kfree(list.devs);
		kfree(array);
		return -ENOMEM;
	}
	/* One that is just being added is missed. */
	iommu_group_for_each_dev(group, &list, collect_member);
	list.num = min(list.num, list.max);

	*viable = true;
	for (i = 0; i < list.num; i++) {
		describe_member(idev->ictx, list.devs[i], &array[i]);
		if (array[i].flags & IOMMU_GROUP_MEMBER_CONFLICT)
			*viable = false;
		put_device(list.devs[i]);
	}
	kfree(list.devs);
	*members = array;
	*num = list.num;
	return 0;
}
