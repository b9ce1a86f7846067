// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that come through a VFIO group whose container is /dev/iommu.
 *
 * Such a device cannot name an IOASID, so the context has one for all of them,
 * made when the first group is added. It is an address space like any other,
 * but ends with the context only.
 */
#include <linux/export.h>
#include <linux/iommufd.h>

#include "ioasid_private.h"

/**
 * iommufd_vfio_compat_ioas_get_id - The IOASID of devices of VFIO groups
 * @ictx: The context
 * @out_ioas_id: Output: the IOASID
 *
 * Context: VFIO holds group_lock, dev_set->lock or both.
 *
 * Return: 0, or -ENODEV if there is none.
 */
int iommufd_vfio_compat_ioas_get_id(struct iommufd_ctx *ictx, u32 *out_ioas_id)
{
	guard(mutex)(&ictx->compat_lock);
	if (!ictx->compat_ioas)
		return -ENODEV;
	*out_ioas_id = ictx->compat_ioas->obj.id;
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_vfio_compat_ioas_get_id, "IOMMUFD_VFIO");

/**
 * iommufd_vfio_compat_ioas_create - Make the IOASID of devices of VFIO groups
 * @ictx: The context
 *
 * Does nothing if there is one.
 *
 * Context: VFIO holds group_lock.
 *
 * Return: 0; -EINVAL: the context has a no-IOMMU group; -ENOSPC: too many
 * objects in the context; -ENOMEM.
 */
int iommufd_vfio_compat_ioas_create(struct iommufd_ctx *ictx)
{
	struct ioasid *ioas;

	guard(mutex)(&ictx->compat_lock);
	if (ictx->no_iommu)
		return -EINVAL;
	if (ictx->compat_ioas)
		return 0;
	ioas = ioasid_alloc(ictx, IOMMU_IOASID_TYPE_KERNEL, IOMMU_SNOOP_AUTO,
			    0, false);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	/* The context uses it, so that the user cannot free it. */
	refcount_inc(&ioas->obj.users);
	ictx->compat_ioas = ioas;
	ioasid_object_publish(ictx, &ioas->obj);
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_vfio_compat_ioas_create, "IOMMUFD_VFIO");

/**
 * iommufd_vfio_compat_set_no_iommu - Note that a no-IOMMU group was added
 * @ictx: The context
 *
 * Context: VFIO holds group_lock.
 *
 * Return: 0, or -EINVAL if the context has groups with an IOMMU.
 */
int iommufd_vfio_compat_set_no_iommu(struct iommufd_ctx *ictx)
{
	guard(mutex)(&ictx->compat_lock);
	if (ictx->compat_ioas)
		return -EINVAL;
	ictx->no_iommu = true;
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_vfio_compat_set_no_iommu, "IOMMUFD_VFIO");
