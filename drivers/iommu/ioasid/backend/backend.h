/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What lies between the core and an IOMMU: page tables are made, given to devices
 * and taken away by a backend.
 *
 * A backend is one file here that defines a struct ioasid_backend with the name
 * ioasid_backend_<file>; the Makefile knows which files there are, and says so by
 * IOASID_BACKENDS and, with their addresses, IOASID_BACKEND_LIST.
 */
#ifndef _IOASID_BACKEND_H
#define _IOASID_BACKEND_H

#include <linux/types.h>

struct device;
struct ioasid;
struct ioasid_attach_handle;
struct ioasid_window;
struct iommu_device_eeh;
struct iommu_domain;
struct ioasid_window_limits;
struct iommufd_device;
struct iommufd_hw_pagetable;
struct iova_ranges;

/**
 * struct ioasid_backend - How page tables get to the devices of a kind of IOMMU
 * @name: For the log
 * @overwrites: What is entered may take the place of what is there, in one step for
 *              each page: devices see the old or the new
 * @restores: If @replace fails, the old page table is there again, unless it has
 *            ended: the core does nothing then
 * @owns: Whether a device is behind such an IOMMU. The first backend that says so
 *        has it. @idev is not published.
 * @isolated_msi: Whether none of the devices of a group can raise the interrupt of
 *                another's.
 * @claimed: The DMA of a device's group has been blocked, maybe not for the first
 *           time; NULL if there is nothing else to do. The lock of the group is
 *           held. Return: 0 or an errno of iommufd_device_bind().
 * @alloc_domain: Makes a page table for a device, for iommu_domain_free(). With
 *                @pasid it is to be usable with PASIDs, with @dirty it must be
 *                able to tell what is written. Return: it, or an error pointer;
 *                -EOPNOTSUPP: the IOMMU cannot.
 * @suits: Whether a page table can be given to a device besides those that have it,
 *         which nobody can if it has ended; NULL if only @attach can tell.
 * @map: Enters a physically contiguous range into a page table, all of it or nothing;
 *       NULL, as @unmap, if iommu_map() and iommu_unmap_fast() do. Of a page table
 *       without a format it only says what speaks against that, after @prepare.
 *       Return: 0 or as iommu_map().
 * @unmap: Takes entries out again; no device reaches them when it returns. It must
 *         cope with what is not there any more.
 * @prepare: What speaks against the address space of a page table that has no
 *           format yet, before anything changes; NULL if nothing does. Then @map
 *           is asked for all that is mapped. Return: 0 or as
 *           iommufd_device_attach().
 * @attach: Gives a page table to the group of a device. Return: 0; -EINVAL: it does
 *          not suit the device, and another one may; or as iommufd_device_attach().
 * @detach: Takes it away. DMA of the group is blocked from then on.
 * @replace: Gives another page table to the group of a device. If it fails, and the
 *           backend does not restore, the old one may be lost: the core detaches
 *           it and attaches it again, which fails if pt->ended is set.
 * @ranges: What may be mapped for a device; @domain was made for it. Return: 0 or
 *          -ENOMEM.
 * @windows: Describes the DMA windows of a device, NULL if it has none.
 * @window_create: Opens a window in an attached page table; where, if @fixed is not
 *                 set, the backend says. Return: 0, 1 if the table has ended, or as
 *                 IOMMU_WINDOW_CREATE.
 * @window_remove: Closes it; nothing is mapped there.
 * @eeh: Handles errors of a device, as IOMMU_DEVICE_EEH; NULL if the IOMMU does not
 *
 * The lock of the address space is held, and for what has to do with attachments
 * that of the group; @owns, @alloc_domain, @ranges and @windows are called with or
 * without it.
 */
struct ioasid_backend {
	const char *name;
	bool overwrites;
	bool restores;
	bool (*owns)(struct iommufd_device *idev);
	bool (*isolated_msi)(struct iommufd_device *idev);
	int (*claimed)(struct iommufd_device *idev);
	struct iommu_domain *(*alloc_domain)(struct iommufd_device *idev,
					     bool pasid, bool dirty);
	bool (*suits)(const struct iommufd_hw_pagetable *pt,
		      const struct iommufd_device *idev);
	int (*map)(struct iommufd_hw_pagetable *pt, unsigned long iova,
		   phys_addr_t phys, unsigned long size, unsigned int prot,
		   gfp_t gfp);
	void (*unmap)(struct iommufd_hw_pagetable *pt, unsigned long iova,
		      unsigned long size);
	int (*prepare)(struct iommufd_hw_pagetable *pt,
		       struct iommufd_device *idev);
	int (*attach)(struct iommufd_hw_pagetable *pt,
		      struct iommufd_device *idev,
		      struct ioasid_attach_handle *handle, ioasid_t pasid);
	void (*detach)(struct iommufd_hw_pagetable *pt,
		       struct iommufd_device *idev, ioasid_t pasid);
	int (*replace)(struct iommufd_hw_pagetable *pt,
		       struct iommufd_hw_pagetable *old,
		       struct iommufd_device *idev,
		       struct ioasid_attach_handle *handle, ioasid_t pasid);
	int (*ranges)(struct iommufd_device *idev,
		      const struct iommu_domain *domain,
		      struct iova_ranges **ranges);
	void (*windows)(struct iommufd_device *idev,
			struct ioasid_window_limits *limits);
	int (*window_create)(struct iommufd_hw_pagetable *pt,
			     struct ioasid_window *window, bool fixed);
	void (*window_remove)(struct iommufd_hw_pagetable *pt,
			      const struct ioasid_window *window);
	int (*eeh)(struct iommufd_device *idev, struct iommu_device_eeh *cmd);
};

extern const struct ioasid_backend IOASID_BACKENDS;

const struct ioasid_backend *ioasid_find_backend(struct iommufd_device *idev);
bool ioasid_backends_have_eeh(void);

#endif
