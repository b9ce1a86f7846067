// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices behind an IOMMU whose driver the kernel's IOMMU API knows page tables of:
 * Intel VT-d, AMD-Vi, ARM SMMUv3, the test IOMMU. What is special about one of
 * them its driver keeps to itself.
 *
 * Any device that gets as far as this has such a driver, so this backend is the
 * last one to be asked.
 */
#include <linux/iommu.h>

#include "../../iommu-priv.h"
#include "../ioasid_private.h"

static bool iommu_api_owns(struct iommufd_device *idev)
{
	return true;
}

static bool iommu_api_isolated_msi(struct iommufd_device *idev)
{
	return iommu_group_has_isolated_msi(idev->group->group);
}

/*
 * A device's plain DMA and its PASIDs need the same kind. Not all IOMMUs that
 * have PASIDs have domains of their own for them.
 */
static struct iommu_domain *iommu_api_alloc_domain(struct iommufd_device *idev,
						   bool pasid, bool dirty)
{
	u32 flags = dirty ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0;
	struct iommu_domain *domain;

	if (pasid && idev->dev->iommu->max_pasids) {
		domain = iommu_paging_domain_alloc_flags(idev->dev,
							 flags |
							 IOMMU_HWPT_ALLOC_PASID);
		if (PTR_ERR(domain) != -EOPNOTSUPP)
			return domain;
	}
	return iommu_paging_domain_alloc_flags(idev->dev, flags);
}

static int iommu_api_attach(struct iommufd_hw_pagetable *pt,
			    struct iommufd_device *idev,
			    struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	if (pasid != IOMMU_NO_PASID)
		return iommu_attach_device_pasid(pt->domain, idev->dev, pasid,
						 &handle->handle);
	return iommu_attach_group_handle(pt->domain, idev->group->group,
					 &handle->handle);
}

static void iommu_api_detach(struct iommufd_hw_pagetable *pt,
			     struct iommufd_device *idev, ioasid_t pasid)
{
	if (pasid != IOMMU_NO_PASID)
		iommu_detach_device_pasid(pt->domain, idev->dev, pasid);
	else
		iommu_detach_group_handle(pt->domain, idev->group->group);
}

static int iommu_api_replace(struct iommufd_hw_pagetable *pt,
			     struct iommufd_hw_pagetable *old,
			     struct iommufd_device *idev,
			     struct ioasid_attach_handle *handle,
			     ioasid_t pasid)
{
	if (pasid != IOMMU_NO_PASID)
		return iommu_replace_device_pasid(pt->domain, idev->dev, pasid,
						  &handle->handle);
	return iommu_replace_group_handle(idev->group->group, pt->domain,
					  &handle->handle);
}

static int iommu_api_ranges(struct iommufd_device *idev,
			    const struct iommu_domain *domain,
			    struct iova_ranges **ranges)
{
	struct iommu_resv_region *region;
	LIST_HEAD(regions);
	unsigned long first, last;

	iommu_get_resv_regions(idev->dev, &regions);
	*ranges = iova_ranges_alloc(list_count_nodes(&regions) + 1);
	/* Nothing is known if the driver decides when it attaches a device. */
	if (*ranges && domain->geometry.aperture_end) {
		iova_ranges_set(*ranges, domain->geometry.aperture_start,
				min_t(u64, domain->geometry.aperture_end,
				      ULONG_MAX));
		list_for_each_entry(region, &regions, list)
			if (reserved_bounds(region, &first, &last))
				iova_ranges_cut(*ranges, first, last);
	}
	iommu_put_resv_regions(idev->dev, &regions);
	return *ranges ? 0 : -ENOMEM;
}

const struct ioasid_backend ioasid_backend_iommu_api = {
	.name = "IOMMU API",
	.owns = iommu_api_owns,
	.isolated_msi = iommu_api_isolated_msi,
	.alloc_domain = iommu_api_alloc_domain,
	.attach = iommu_api_attach,
	.detach = iommu_api_detach,
	.replace = iommu_api_replace,
	.ranges = iommu_api_ranges,
};
