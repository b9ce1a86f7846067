// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables below an address space: made for the first attachment that needs
 * their kind, filled from the extents of pinned memory, and never read back.
 *
 * Everything here is under the lock of the address space, taken by the caller,
 * except where MSI pages are mapped: they lie in a window that no mapping
 * touches, and iommu_map() only asks for exclusion by range.
 *
 * The IOMMU API takes page tables one range at a time: each extent of a mapping
 * is one iommu_map(), a mapping is one iommu_unmap_fast(). Neither spans two
 * mappings, because a driver may join what it is given at once into an entry
 * that it cannot cut again.
 */
#include <linux/iommu.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "ioasid_private.h"

/**
 * pgtable_alloc_domain - Allocate an IOMMU domain for a device
 * @idev: The device
 * @dirty: It must be able to track what is written
 *
 * The domain can also be used with PASIDs if the device has PASIDs and its
 * IOMMU has such domains: a device's plain DMA and its PASIDs need the same
 * kind.
 *
 * Return: The domain, for iommu_domain_free(), or an error pointer.
 */
struct iommu_domain *pgtable_alloc_domain(struct iommufd_device *idev,
					  bool dirty)
{
	u32 flags = dirty ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0;
	struct iommu_domain *domain;

	if (ioasid_should_fail())
		return ERR_PTR(-EOPNOTSUPP);
	if (idev->dev->iommu->max_pasids) {
		domain = iommu_paging_domain_alloc_flags(idev->dev,
							 flags |
							 IOMMU_HWPT_ALLOC_PASID);
		if (PTR_ERR(domain) != -EOPNOTSUPP)
			return domain;
	}
	return iommu_paging_domain_alloc_flags(idev->dev, flags);
}

/* Whether the device's DMA must be made to snoop in this address space. */
static bool wants_coherent(const struct ioasid *ioas,
			   const struct iommufd_device *idev)
{
	return idev->can_enforce && ioas->snoop != IOMMU_SNOOP_OFF;
}

/**
 * pgtable_fits - Whether a page table is of the kind that a device needs
 * @pt: The page table
 * @idev: The device
 *
 * Whether it can track is no question: all tables of an address space do, or
 * none does.
 *
 * Return: Whether it is. The driver may still refuse to attach it.
 */
bool pgtable_fits(const struct iommufd_hw_pagetable *pt,
		  const struct iommufd_device *idev)
{
	return pt->ops == dev_iommu_ops(idev->dev) &&
	       pt->pasid == !!idev->dev->iommu->max_pasids &&
	       pt->coherent == wants_coherent(pt->ioas, idev);
}

/**
 * pgtable_check_device - Hold a device against what an address space demands
 * @ioas: The address space
 * @idev: The device
 *
 * Return: 0; -EINVAL: snoop policy "enforce" and the device's IOMMU cannot;
 * -EOPNOTSUPP: policy "off" and it could, or it cannot track what is written and
 * should.
 */
int pgtable_check_device(const struct ioasid *ioas,
			 const struct iommufd_device *idev)
{
	if (ioas->dirty &&
	    !device_iommu_capable(idev->dev, IOMMU_CAP_DIRTY_TRACKING))
		return -EOPNOTSUPP;
	switch (ioas->snoop) {
	case IOMMU_SNOOP_ENFORCE:
		return idev->can_enforce ? 0 : -EINVAL;
	case IOMMU_SNOOP_OFF:
		return idev->can_enforce ? -EOPNOTSUPP : 0;
	default:
		return 0;
	}
}

static bool enforce_coherency(struct iommu_domain *domain)
{
	return !ioasid_should_fail() && domain->ops->enforce_cache_coherency &&
	       domain->ops->enforce_cache_coherency(domain);
}

static unsigned long domain_alignment(const struct iommu_domain *domain)
{
	return max(1UL << __ffs(domain->pgsize_bitmap), PAGE_SIZE);
}

/* Some drivers decide on the format of a page table when they attach it. */
static bool format_is_known(const struct iommu_domain *domain)
{
	return domain->geometry.aperture_end;
}

/* Whether a new page table can hold what the address space has promised. */
static int check_geometry(struct ioasid *ioas,
			  const struct iommu_domain *domain)
{
	const struct iommu_domain_geometry *geometry = &domain->geometry;
	unsigned long alignment = domain_alignment(domain);
	struct mapping *map;

	if (ioas->addr_width && geometry->aperture_end < ioas->last)
		return -EINVAL;

	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
		cond_resched();
		if (map->first < geometry->aperture_start ||
		    map->last > geometry->aperture_end)
			return -EINVAL;
		if (!IS_ALIGNED(map->first | (map->last + 1) | map->offset,
				alignment))
			return -EINVAL;
	}
	return 0;
}

/*
 * Some formats have pages for which several entries of a table lie side by side.
 * The kernel's generic_pt reports such a page as dirty without the last of them
 * (record_dirty() in iommu_pt.h): use only pages that are one entry of some level
 * of the table, where a table is as large as the smallest page.
 */
static void use_single_entries(struct iommu_domain *domain)
{
	unsigned int smallest = __ffs(domain->pgsize_bitmap);
	unsigned int per_level = smallest - ilog2(sizeof(u64));
	unsigned long sizes = 0;
	unsigned int shift;

	for (shift = smallest; shift < BITS_PER_LONG; shift += per_level)
		sizes |= BIT(shift);
	domain->pgsize_bitmap &= sizes;
}

/**
 * pgtable_fill - Enter all mappings into a new page table
 * @pt: The page table; its format is known
 *
 * Context: ioas->lock is held.
 *
 * Return: 0, or as pgtable_create(); then nothing is entered.
 */
int pgtable_fill(struct iommufd_hw_pagetable *pt)
{
	struct mapping *map, *undo;
	int rc;

	lockdep_assert_held(&pt->ioas->lock);

	if (pt->ioas->dirty)
		use_single_entries(pt->domain);
	rc = check_geometry(pt->ioas, pt->domain);
	if (rc)
		return rc;
	for_each_mapping(map, &pt->ioas->mappings, 0, ULONG_MAX) {
		if (map->state == MAPPING_BUSY)
			continue;
		rc = pgtable_map(pt, map);
		if (rc)
			goto err_unmap;
		cond_resched();
	}
	pt->filled = true;
	return 0;

err_unmap:
	for_each_mapping(undo, &pt->ioas->mappings, 0, ULONG_MAX) {
		if (undo == map)
			break;
		if (undo->state != MAPPING_BUSY)
			pgtable_unmap(pt, undo);
	}
	pgtable_sync(pt);
	return rc;
}

/**
 * pgtable_create - Make a page table of the kind that a device needs
 * @ioas: The address space; every mapping that is not busy is pinned
 * @idev: The device; the snoop policy allows it
 *
 * The page table is on the address space's list, holds all its mappings, and
 * has one user: pgtable_put() ends it. The caller updates what is permitted.
 *
 * It holds nothing yet if the driver decides on its format when it attaches it;
 * then the caller attaches it first, for plain DMA, and calls pgtable_fill().
 * What the device does meanwhile faults.
 *
 * Context: ioas->lock is held.
 *
 * Return: The page table or an error pointer: -EINVAL: the device cannot hold
 * the address space's mappings, width, or alignment; -EIO: its driver cannot
 * start tracking; -ENOMEM; -EINTR.
 */
struct iommufd_hw_pagetable *pgtable_create(struct ioasid *ioas,
					    struct iommufd_device *idev)
{
	struct iommufd_hw_pagetable *pt;
	struct iommu_domain *domain;
	int rc;

	lockdep_assert_held(&ioas->lock);

	pt = kzalloc_obj(*pt, GFP_KERNEL_ACCOUNT);
	if (!pt)
		return ERR_PTR(-ENOMEM);

	domain = pgtable_alloc_domain(idev, ioas->dirty);
	if (IS_ERR(domain)) {
		rc = PTR_ERR(domain);
		goto err_free;
	}
	domain->cookie_type = IOMMU_COOKIE_IOMMUFD;
	domain->iommufd_hwpt = pt;
	pt->ioas = ioas;
	pt->domain = domain;
	pt->ops = dev_iommu_ops(idev->dev);
	pt->iommu_dev = idev->dev->iommu->iommu_dev;
	pt->pasid = !!idev->dev->iommu->max_pasids;
	pt->coherent = wants_coherent(ioas, idev);
	pt->num_users = 1;
	iommu_iotlb_gather_init(&pt->gather);

	/* VFIO promises KVM that a device that can be enforced is. */
	if (pt->coherent && !enforce_coherency(domain)) {
		rc = -EINVAL;
		goto err_domain;
	}

	if (ioas->tracking && !pgtable_track(pt, true)) {
		rc = -EIO;
		goto err_domain;
	}

	if (format_is_known(domain)) {
		rc = pgtable_fill(pt);
		if (rc)
			goto err_domain;
	}

	list_add_tail(&pt->entry, &ioas->tables);
	WRITE_ONCE(ioas->num_tables, ioas->num_tables + 1);
	return pt;

err_domain:
	iommu_domain_free(domain);
err_free:
	kfree(pt);
	return ERR_PTR(rc);
}

/**
 * pgtable_put - Drop a user of a page table; the last one destroys it
 * @pt: The page table; if it is destroyed, no device is attached to it
 *
 * What devices have written through it is not forgotten. The caller updates what
 * is permitted.
 *
 * Context: ioas->lock is held.
 */
void pgtable_put(struct iommufd_hw_pagetable *pt)
{
	struct ioasid *ioas = pt->ioas;
	struct mapping *map;

	lockdep_assert_held(&ioas->lock);

	if (--pt->num_users)
		return;
	if (pt->filled) {
		for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
			if (map->state != MAPPING_BUSY) {
				if (ioas->tracking)
					pgtable_keep_dirty(pt, map);
				pgtable_unmap(pt, map);
			}
			cond_resched();
		}
		pgtable_sync(pt);
	}
	list_del(&pt->entry);
	WRITE_ONCE(ioas->num_tables, ioas->num_tables - 1);
	iommu_domain_free(pt->domain);
	kfree(pt);
}

static int map_extent(struct iommufd_hw_pagetable *pt, unsigned long iova,
		      phys_addr_t phys, unsigned long size, int prot)
{
	if (ioasid_should_fail())
		return -ENOMEM;
	return iommu_map(pt->domain, iova, phys, size, prot,
			 GFP_KERNEL_ACCOUNT);
}

/**
 * pgtable_map - Enter a mapping into a page table
 * @pt: The page table
 * @map: The mapping; it holds a pin
 *
 * Context: ioas->lock is held.
 *
 * Return: 0, -EINTR on a fatal signal, or what iommu_map() says. Nothing is
 * entered by a failure.
 */
int pgtable_map(struct iommufd_hw_pagetable *pt, const struct mapping *map)
{
	const struct mem_extents *extents = &map->mem->extents;
	unsigned long index = map->offset >> PAGE_SHIFT;
	unsigned long length = mapping_length(map);
	unsigned long done = 0;
	unsigned int i;
	int rc;

	for (i = mem_extents_find(extents, index); done < length; i++) {
		const struct mem_extent *extent = &extents->extent[i];
		/* Where in the extent this slice of the mapping starts. */
		unsigned long skip = map->offset + done -
				     ((unsigned long)extent->index << PAGE_SHIFT);
		unsigned long size =
			min(length - done,
			    (mem_extent_pages(extents, i) << PAGE_SHIFT) - skip);

		rc = map_extent(pt, map->first + done,
				PFN_PHYS(extent->pfn) + skip, size, map->prot);
		if (!rc && ioasid_killed()) {
			done += size;
			rc = -EINTR;
		}
		if (rc) {
			if (done)
				iommu_unmap(pt->domain, map->first, done);
			return rc;
		}
		done += size;
		cond_resched();
	}
	return 0;
}

/**
 * pgtable_unmap - Take a mapping out of a page table
 * @pt: The page table
 * @map: A mapping that it holds
 *
 * Devices may reach the memory until pgtable_sync().
 *
 * Context: ioas->lock is held. Allocates nothing.
 */
void pgtable_unmap(struct iommufd_hw_pagetable *pt, const struct mapping *map)
{
	size_t length = mapping_length(map);

	WARN_ON_ONCE(iommu_unmap_fast(pt->domain, map->first, length,
				      &pt->gather) != length);
}

/**
 * pgtable_sync - Make the IOMMU forget what was taken out
 * @pt: The page table
 *
 * Context: ioas->lock is held.
 */
void pgtable_sync(struct iommufd_hw_pagetable *pt)
{
	iommu_iotlb_sync(pt->domain, &pt->gather);
}

/**
 * pgtable_track - Start or stop to note what is written
 * @pt: A page table of an address space that may be tracked
 * @on: Start
 *
 * Context: ioas->lock is held.
 *
 * Return: Whether the driver could.
 */
bool pgtable_track(struct iommufd_hw_pagetable *pt, bool on)
{
	const struct iommu_dirty_ops *ops = pt->domain->dirty_ops;

	if (ioasid_should_fail())
		return !on;
	return ops && !ops->set_dirty_tracking(pt->domain, on);
}

struct read_dirty {
	struct iommufd_hw_pagetable *pt;
	unsigned long first;
	unsigned long length;
	unsigned long flags;
};

static int read_dirty(struct iova_bitmap *bitmap, unsigned long first,
		      size_t length, void *opaque)
{
	const struct read_dirty *args = opaque;
	struct iommu_domain *domain = args->pt->domain;
	/* Not initialized anew: it may hold what was taken out. */
	struct iommu_dirty_bitmap dirty = {
		.bitmap = bitmap,
		.gather = &args->pt->gather,
	};

	return domain->dirty_ops->read_and_clear_dirty(domain, args->first,
						       args->length,
						       args->flags, &dirty);
}

/**
 * pgtable_read_dirty - Add what a page table knows to the bits of a mapping
 * @pt: A page table of an address space that may be tracked
 * @map: A mapping that it holds
 * @first: First address; an extent of the mapping begins there
 * @last: Last address; an extent of the mapping ends there
 * @clear: The page table shall note anew what is written from the next
 *         pgtable_sync() on
 *
 * Context: ioas->lock is held. Allocates nothing.
 *
 * Return: Whether the driver could. What it has cleared is in the bits anyway.
 */
bool pgtable_read_dirty(struct iommufd_hw_pagetable *pt, struct mapping *map,
			unsigned long first, unsigned long last, bool clear)
{
	struct read_dirty args = {
		.pt = pt,
		.first = first,
		.length = last - first + 1,
		.flags = clear ? 0 : IOMMU_DIRTY_NO_CLEAR,
	};

	if (ioasid_should_fail())
		return false;
	return !ioasid_fill_bits(map->dirty, map->first, mapping_length(map),
				 read_dirty, &args);
}

/**
 * pgtable_keep_dirty - Save what a page table knows about a mapping
 * @pt: The page table
 * @map: A mapping that is about to be taken out of it
 *
 * If the driver cannot tell, all that devices may write counts as written.
 *
 * Context: ioas->lock is held. Allocates nothing.
 */
void pgtable_keep_dirty(struct iommufd_hw_pagetable *pt, struct mapping *map)
{
	if (!pgtable_read_dirty(pt, map, map->first, map->last, false) &&
	    map->prot & IOMMU_WRITE)
		dirty_mark(map, map->first, map->last);
}
