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
 * is entered by one call, and the IOMMU made to see all of them by one more; a
 * mapping is one iommu_unmap_fast(). None of these spans two mappings, because a
 * driver may join what it is given at once into an entry that it cannot cut again.
 */
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "ioasid_private.h"

/**
 * pgtable_alloc_domain - Allocate an IOMMU domain for a device
 * @idev: The device
 * @pasid: It shall be usable with PASIDs, too
 * @dirty: It must be able to track what is written
 *
 * Return: The domain, for iommu_domain_free(), or an error pointer.
 */
struct iommu_domain *pgtable_alloc_domain(struct iommufd_device *idev,
					  bool pasid, bool dirty)
{
	if (ioasid_should_fail())
		return ERR_PTR(-EOPNOTSUPP);
	return idev->backend->alloc_domain(idev, pasid, dirty);
}

/* Whether the device's DMA must be made to snoop in this address space. */
static bool wants_coherent(const struct ioasid *ioas,
			   const struct iommufd_device *idev)
{
	return idev->can_enforce && ioas->snoop != IOMMU_SNOOP_OFF;
}

/**
 * pgtable_fits - Whether a page table is one that would be made for a device
 * @pt: The page table
 * @idev: The device
 *
 * Whether it can track is no question: all tables that are made for attachments
 * to an address space do, or none does.
 *
 * Return: Whether it is. The driver may still refuse to attach it.
 */
bool pgtable_fits(const struct iommufd_hw_pagetable *pt,
		  const struct iommufd_device *idev)
{
	return pt->automatic && pgtable_suits(pt, idev) &&
	       pt->pasid == (pt->ioas->auto_pasid &&
			     idev->dev->iommu->max_pasids) &&
	       pt->coherent == wants_coherent(pt->ioas, idev);
}

/**
 * pgtable_suits - Whether a device may be given a page table that the user names
 * @pt: The page table
 * @idev: The device
 *
 * VFIO promises KVM that DMA of a device that can be made to snoop does.
 *
 * Return: Whether it may. The driver may still refuse to attach it.
 */
bool pgtable_suits(const struct iommufd_hw_pagetable *pt,
		   const struct iommufd_device *idev)
{
	const struct iommufd_hw_pagetable *paging = pt->parent ?: pt;

	return pt->ops == dev_iommu_ops(idev->dev) &&
	       (paging->coherent || !wants_coherent(pt->ioas, idev));
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
	unsigned long alignment = 1UL << __ffs(domain->pgsize_bitmap);
	const struct iova_ranges *allowed = ioas->allowed;
	struct mapping *map;

	if (ioas->addr_width && geometry->aperture_end < ioas->last)
		return -EINVAL;
	if (ioas->page_size && alignment > ioas->page_size)
		return -EADDRINUSE;
	if (allowed && allowed->num &&
	    (allowed->range[0].first < geometry->aperture_start ||
	     allowed->range[allowed->num - 1].last > geometry->aperture_end))
		return -EADDRINUSE;

	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
		cond_resched();
		if (map->first < geometry->aperture_start ||
		    map->last > geometry->aperture_end)
			return -EADDRINUSE;
		if (!mapping_is_aligned(map, alignment))
			return -EADDRINUSE;
	}
	return ioasid_check_windows(ioas);
}

/*
 * Some formats have pages for which several entries of a table lie side by side.
 * The kernel's generic_pt reports such a page as dirty without the last of them
 * (record_dirty() in iommu_pt.h): use only pages that are one entry of some level
 * of the table. The format's smallest page tells where the levels are; a table is
 * as large as that, and at least 4 KiB.
 *
 * Nor is anything larger than what is looked at in one go.
 */
static void use_single_entries(struct iommu_domain *domain)
{
	struct pt_iommu *table = iommupt_from_domain(domain);
	unsigned long sizes = BIT(__ffs(domain->pgsize_bitmap));
	struct pt_iommu_info info;
	unsigned int shift, per_level;

	domain->pgsize_bitmap &= 2 * PGTABLE_LARGEST_DIRTY - 1;
	if (!table)
		return;
	table->ops->get_info(table, &info);
	shift = __ffs64(info.pgsize_bitmap);
	per_level = max(shift, ilog2(SZ_4K)) - ilog2(sizeof(u64));
	for (; shift < BITS_PER_LONG; shift += per_level)
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

	if (pt->dirty)
		use_single_entries(pt->domain);
	rc = check_geometry(pt->ioas, pt->domain);
	if (rc)
		return rc;
	for_each_mapping(map, &pt->ioas->mappings, 0, ULONG_MAX) {
		rc = pgtable_map(pt, map);
		if (rc)
			goto err_unmap;
		cond_resched();
	}
	pt->filled = true;
	ioasid_keep_windows(pt->ioas);
	return 0;

err_unmap:
	for_each_mapping(undo, &pt->ioas->mappings, 0, ULONG_MAX) {
		if (undo == map)
			break;
		pgtable_unmap(pt, undo);
	}
	pgtable_sync(pt);
	return rc;
}

/**
 * pgtable_check_fill - Whether all mappings can be entered, before anything changes
 * @pt: A page table without a format, of a backend that enters mappings itself
 *
 * Context: ioas->lock is held.
 *
 * Return: 0, or what pgtable_fill() would say.
 */
int pgtable_check_fill(struct iommufd_hw_pagetable *pt)
{
	struct mapping *map;
	int rc;

	lockdep_assert_held(&pt->ioas->lock);

	for_each_mapping(map, &pt->ioas->mappings, 0, ULONG_MAX) {
		rc = pgtable_map(pt, map);
		if (rc)
			return rc;
		cond_resched();
	}
	return 0;
}

/**
 * pgtable_new - Make the record of a page table
 * @idev: The device that it is for
 * @domain: The IOMMU driver's; on success it is taken over
 * @type: IOMMUFD_OBJ_HWPT_PAGING or IOMMUFD_OBJ_HWPT_NESTED
 *
 * Return: The page table, not published, for pgtable_free(), or an error pointer:
 * -ENOSPC: too many objects in the context; -ENOMEM.
 */
struct iommufd_hw_pagetable *pgtable_new(struct iommufd_device *idev,
					 struct iommu_domain *domain,
					 enum iommufd_object_type type)
{
	struct iommufd_hw_pagetable *pt;
	int rc;

	pt = kzalloc_obj(*pt, GFP_KERNEL_ACCOUNT);
	if (!pt)
		return ERR_PTR(-ENOMEM);
	rc = ioasid_object_init(idev->ictx, &pt->obj, type);
	if (rc) {
		kfree(pt);
		return ERR_PTR(rc);
	}
	domain->cookie_type = IOMMU_COOKIE_IOMMUFD;
	domain->iommufd_hwpt = pt;
	INIT_LIST_HEAD(&pt->entry);
	pt->lost_first = ULONG_MAX;
	pt->ictx = idev->ictx;
	pt->domain = domain;
	pt->backend = idev->backend;
	pt->windows = idev->backend->window_create;
	pt->own_map = idev->backend->map;
	pt->overwrites = idev->backend->overwrites;
	pt->ops = dev_iommu_ops(idev->dev);
	pt->iommu_dev = idev->dev->iommu->iommu_dev;
	iommu_iotlb_gather_init(&pt->gather);
	return pt;
}

/**
 * pgtable_free - Free a page table
 * @pt: The page table, on no list; its identifier is free again
 */
void pgtable_free(struct iommufd_hw_pagetable *pt)
{
	iommu_domain_free(pt->domain);
	kfree_rcu(pt, rcu);
}

/**
 * pgtable_add - Put a new page table below an address space
 * @pt: The page table, empty
 * @ioas: The address space; the memory of every mapping is pinned
 * @idev: The device that it is for; the snoop policy allows it
 *
 * The page table holds all mappings, unless its driver decides on its format when
 * it attaches it: then the caller attaches it first, for plain DMA, and calls
 * pgtable_fill(). What the device does meanwhile faults.
 *
 * The caller updates what is permitted.
 *
 * Context: ioas->lock is held.
 *
 * Return: 0; -EINVAL: the device cannot do the address space's width, or the
 * memory lies in smaller pieces than its pages; -EADDRINUSE: it cannot hold its mappings or
 * allowed ranges; -EIO: its driver cannot start tracking; -ENOMEM; -EINTR.
 */
int pgtable_add(struct iommufd_hw_pagetable *pt, struct ioasid *ioas,
		struct iommufd_device *idev)
{
	int rc;

	lockdep_assert_held(&ioas->lock);

	pt->ioas = ioas;
	pt->coherent = wants_coherent(ioas, idev);
	/* VFIO promises KVM that a device that can be enforced is. */
	if (pt->coherent && !enforce_coherency(pt->domain))
		return -EINVAL;
	if (ioas->tracking && !pgtable_track(pt, true))
		return -EIO;
	if (format_is_known(pt->domain)) {
		rc = pgtable_fill(pt);
		if (rc)
			return rc;
	}
	list_add_tail(&pt->entry, &ioas->tables);
	WRITE_ONCE(ioas->num_tables, ioas->num_tables + 1);
	return 0;
}

/**
 * pgtable_remove - Undo pgtable_add()
 * @pt: The page table; no device is attached to it
 *
 * What devices have written through it is not forgotten. The caller updates what
 * is permitted.
 *
 * Context: ioas->lock is held.
 */
void pgtable_remove(struct iommufd_hw_pagetable *pt)
{
	struct ioasid *ioas = pt->ioas;
	struct mapping *map;

	lockdep_assert_held(&ioas->lock);

	if (pt->filled) {
		for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
			if (ioas->tracking)
				pgtable_keep_dirty(pt, map);
			pgtable_unmap(pt, map);
			cond_resched();
		}
		pgtable_sync(pt);
	}
	list_del_init(&pt->entry);
	WRITE_ONCE(ioas->num_tables, ioas->num_tables - 1);
	if (list_empty(&ioas->tables))
		ioasid_end_default_windows(ioas);
}

/**
 * pgtable_create - Make a page table of the kind that a device needs
 * @ioas: The address space; the memory of every mapping is pinned
 * @idev: The device; the snoop policy allows it
 *
 * The caller attaches it and then takes the first reference to it, with
 * pgtable_get(), and publishes it; it goes with the last one. Else
 * pgtable_abort() undoes this.
 *
 * Context: ioas->lock is held.
 *
 * Return: The page table, or an error pointer as pgtable_add() and pgtable_new().
 */
struct iommufd_hw_pagetable *pgtable_create(struct ioasid *ioas,
					    struct iommufd_device *idev)
{
	struct iommufd_hw_pagetable *pt;
	struct iommu_domain *domain;
	int rc;

	domain = pgtable_alloc_domain(idev, ioas->auto_pasid, ioas->dirty);
	if (IS_ERR(domain))
		return ERR_CAST(domain);
	pt = pgtable_new(idev, domain, IOMMUFD_OBJ_HWPT_PAGING);
	if (IS_ERR(pt)) {
		iommu_domain_free(domain);
		return pt;
	}
	pt->automatic = true;
	pt->pasid = ioas->auto_pasid && idev->dev->iommu->max_pasids;
	pt->dirty = ioas->dirty;
	rc = pgtable_add(pt, ioas, idev);
	if (rc) {
		ioasid_object_abort(pt->ictx, &pt->obj);
		pgtable_free(pt);
		return ERR_PTR(rc);
	}
	return pt;
}

/**
 * pgtable_abort - Undo pgtable_create()
 * @pt: The page table, not attached and not published
 *
 * Context: The lock of the address space is held.
 */
void pgtable_abort(struct iommufd_hw_pagetable *pt)
{
	pgtable_remove(pt);
	ioasid_object_abort(pt->ictx, &pt->obj);
	pgtable_free(pt);
}

/**
 * pgtable_get - Note that a slot uses a page table
 * @pt: The page table
 *
 * Context: The lock of the address space is held.
 */
void pgtable_get(struct iommufd_hw_pagetable *pt)
{
	lockdep_assert_held(&pt->ioas->lock);
	refcount_inc(&pt->obj.users);
}

/**
 * pgtable_put - Undo pgtable_get()
 * @pt: The page table, not attached for the slot any more
 *
 * The caller updates what is permitted.
 *
 * Context: The lock of the address space is held.
 *
 * Return: Whether it has ended: then the caller calls pgtable_dispose().
 */
bool pgtable_put(struct iommufd_hw_pagetable *pt)
{
	lockdep_assert_held(&pt->ioas->lock);

	refcount_dec(&pt->obj.users);
	if (!pt->automatic || refcount_read(&pt->obj.users) != 1)
		return false;
	pgtable_remove(pt);
	return true;
}

/**
 * pgtable_dispose - Free a page table that pgtable_put() has ended
 * @pt: The page table, or NULL
 *
 * Waits for ioctls that look at it; none of them sleeps for user memory
 * meanwhile.
 *
 * Context: No lock of an address space or a group is held.
 */
void pgtable_dispose(struct iommufd_hw_pagetable *pt)
{
	if (!pt)
		return;
	ioasid_object_remove(pt->ictx, &pt->obj);
	pgtable_free(pt);
}

static noinline int map_single_pages(struct iommufd_hw_pagetable *pt,
				     unsigned long iova, phys_addr_t phys,
				     unsigned long size, unsigned int prot,
				     gfp_t gfp)
{
	unsigned long done, step;
	int rc;

	for (done = 0; done < size; done += step) {
		step = min(size - done, PAGE_SIZE);
		rc = iommu_map(pt->domain, iova + done, phys + done, step, prot,
			       gfp);
		if (rc) {
			if (done)
				iommu_unmap(pt->domain, iova, done);
			return rc;
		}
		cond_resched();
	}
	return 0;
}

/* Takes out what the IOMMU has not seen yet. */
static void unmap_undo(struct iommufd_hw_pagetable *pt, unsigned long iova,
		       unsigned long size)
{
	if (pt->own_map)
		pt->backend->unmap(pt, iova, size);
	else
		iommu_unmap(pt->domain, iova, size);
}

static __always_inline int sync_map(struct iommufd_hw_pagetable *pt,
				    unsigned long iova, unsigned long size)
{
	return unlikely(pt->own_map) ? 0 :
				       ioasid_sync_map(pt->domain, iova, size);
}

static __always_inline int map_extent(struct iommufd_hw_pagetable *pt,
				      unsigned long iova, phys_addr_t phys,
				      unsigned long size, unsigned int prot,
				      gfp_t gfp)
{
	if (!(gfp & __GFP_NOFAIL) && ioasid_should_fail())
		return -ENOMEM;
	if (unlikely(pt->own_map))
		return pt->backend->map(pt, iova, phys, size, prot, gfp);
	if (unlikely(pt->ioas->single_pages))
		return map_single_pages(pt, iova, phys, size, prot, gfp);
	return ioasid_map_nosync(pt->domain, iova, phys, size, prot, gfp);
}

/* Where in the memory an extent starts and ends, in bytes */
static unsigned long extent_start(const struct mem_extents *extents,
				  unsigned int i)
{
	return (unsigned long)extents->extent[i].index << PAGE_SHIFT;
}

static unsigned long extent_end(const struct mem_extents *extents,
				unsigned int i)
{
	return mem_extent_end(extents, i) << PAGE_SHIFT;
}

/*
 * Enters memory from @pos to @end at @iova. Return: 0 or an errno; *@entered is
 * increased by what has been entered.
 */
static int map_memory(struct iommufd_hw_pagetable *pt, unsigned long iova,
		      const struct mem_extents *extents, unsigned long pos,
		      unsigned long end, unsigned int prot, gfp_t gfp,
		      unsigned long *entered)
{
	unsigned int i = mem_extents_find(extents, pos >> PAGE_SHIFT);
	unsigned long skip, size;
	int rc;

	for (;; i++) {
		skip = pos - extent_start(extents, i);
		size = min(end, extent_end(extents, i)) - pos;
		rc = map_extent(pt, iova + *entered,
				PFN_PHYS(extents->extent[i].pfn) + skip, size,
				prot, gfp);
		if (rc)
			return rc;
		*entered += size;
		pos += size;
		if (pos == end)
			return 0;
		if (!(gfp & __GFP_NOFAIL) && ioasid_killed())
			return -EINTR;
		cond_resched();
	}
}

static noinline int map_pieces(struct iommufd_hw_pagetable *pt,
			       const struct mapping *map, gfp_t gfp)
{
	unsigned long length = mapping_length(map), entered = 0;
	struct mapping_piece piece;
	int rc;

	do {
		mapping_piece_at(map, map->first + entered, &piece);
		rc = map_memory(pt, map->first, &piece.mem->extents,
				piece.offset, piece.offset + piece.length,
				map->prot, gfp, &entered);
		if (!rc && !(gfp & __GFP_NOFAIL) && ioasid_killed())
			rc = -EINTR;
		cond_resched();
	} while (!rc && entered != length);
	if (!rc)
		rc = sync_map(pt, map->first, length);
	if (rc && entered)
		unmap_undo(pt, map->first, entered);
	return rc;
}

/* Enters a mapping that lies in one extent, as most small ones do. */
static __always_inline int map_run(struct iommufd_hw_pagetable *pt,
				   const struct mapping *map, phys_addr_t phys,
				   gfp_t gfp)
{
	unsigned long length = mapping_length(map);
	int rc;

	rc = map_extent(pt, map->first, phys, length, map->prot, gfp);
	if (unlikely(rc))
		return rc;
	rc = sync_map(pt, map->first, length);
	if (unlikely(rc))
		unmap_undo(pt, map->first, length);
	return rc;
}

static __always_inline int enter_mapping(struct iommufd_hw_pagetable *pt,
					 const struct mapping *map, gfp_t gfp)
{
	const struct mem_extents *extents = &map->mem->extents;
	unsigned long start;
	unsigned int i;

	if (unlikely(map->mem->source == PINNED_MEM_DMA_BUF))
		return dma_buf_enter(pt, map);
	if (unlikely(map->is_shadow && to_shadow(map)->span))
		return map_pieces(pt, map, gfp);
	i = mem_extents_find(extents, map->offset >> PAGE_SHIFT);
	start = extent_start(extents, i);
	if (map->offset + mapping_length(map) > extent_end(extents, i))
		return map_pieces(pt, map, gfp);
	return map_run(pt, map, PFN_PHYS(extents->extent[i].pfn) +
			       (map->offset - start), gfp);
}

/* Users know no other errno for memory that no page of the IOMMU fits. */
static int table_errno(int rc)
{
	return rc == -ENXIO ? -EINVAL : rc;
}

/**
 * pgtable_map - Enter a mapping into a page table
 * @pt: The page table
 * @map: The mapping; its memory is pinned
 *
 * Context: ioas->lock is held.
 *
 * Return: 0; -EINTR: fatal signal; -EINVAL: the memory lies in smaller pieces than
 * the IOMMU's pages; or what iommu_map() says. Nothing is entered by a failure.
 */
int pgtable_map(struct iommufd_hw_pagetable *pt, const struct mapping *map)
{
	int rc = enter_mapping(pt, map, GFP_KERNEL_ACCOUNT);

	return unlikely(rc) ? table_errno(rc) : 0;
}

/**
 * pgtable_restore - Enter again what has just been taken out
 * @pt: The page table
 * @map: The mapping; its memory is pinned
 *
 * Waits for memory as long as it takes, so that whoever could not replace a mapping
 * leaves it as it was.
 *
 * Context: ioas->lock is held.
 */
void pgtable_restore(struct iommufd_hw_pagetable *pt,
		     const struct mapping *map)
{
	WARN_ON_ONCE(enter_mapping(pt, map, GFP_KERNEL_ACCOUNT | __GFP_NOFAIL));
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
	if (map->mem->source == PINNED_MEM_DMA_BUF)
		dma_buf_take_out(pt, map);
	else
		pgtable_unmap_range(pt, map->first, map->last);
}

/**
 * pgtable_unmap_range - Take mappings that follow each other out of a page table
 * @pt: The page table
 * @first: First address of the first one
 * @last: Last address of the last one; there is no hole, and no memory of a device
 *
 * Devices may reach the memory until pgtable_sync().
 *
 * Context: ioas->lock is held. Allocates nothing.
 */
void pgtable_unmap_range(struct iommufd_hw_pagetable *pt, unsigned long first,
			 unsigned long last)
{
	size_t length = last - first + 1;

	/*
	 * All addresses that there are: more than a length can say. Where they
	 * have 64 bits, there is no such memory.
	 */
	if (!IS_ENABLED(CONFIG_64BIT) && !length) {
		pgtable_unmap_range(pt, first, last / 2);
		first = last / 2 + 1;
		length = last - first + 1;
	}
	if (unlikely(pt->own_map))
		pt->backend->unmap(pt, first, length);
	else
		WARN_ON_ONCE(iommu_unmap_fast(pt->domain, first, length,
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
	if (likely(!pt->own_map))
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
	struct iommu_iotlb_gather *gather = &args->pt->gather;
	struct iommu_dirty_bitmap dirty = {
		.bitmap = bitmap,
		.gather = gather,
	};
	int rc;

	rc = domain->dirty_ops->read_and_clear_dirty(domain, args->first,
						     args->length, args->flags,
						     &dirty);
	/* What use_single_entries() is for concerns the smallest pages, too. */
	if (gather->end)
		gather->end |= BIT(__ffs(domain->pgsize_bitmap)) - 1;
	return rc;
}

/**
 * pgtable_read_dirty - Add what a page table knows to bits
 * @pt: A page table that can be tracked
 * @window: The bits
 * @first: First address; not inside of an entry of the table
 * @last: Last address; not inside of an entry of the table
 * @clear: The page table shall note anew what is written from the next
 *         pgtable_sync() on
 *
 * Context: The lock of the address space is held. Allocates nothing.
 *
 * Return: 0, or what the driver says. What it has cleared is in the bits anyway.
 */
int pgtable_read_dirty(struct iommufd_hw_pagetable *pt,
		       const struct dirty_window *window, unsigned long first,
		       unsigned long last, bool clear)
{
	struct read_dirty args = {
		.pt = pt,
		.first = first,
		.length = last - first + 1,
		.flags = clear ? 0 : IOMMU_DIRTY_NO_CLEAR,
	};

	if (ioasid_should_fail())
		return -EIO;
	return ioasid_fill_bits(window, read_dirty, &args);
}

/**
 * pgtable_clear_dirty - Let a page table forget what was written
 * @pt: A page table that can be tracked
 *
 * Context: The lock of the address space is held. Allocates nothing.
 *
 * Return: 0, or what the driver says.
 */
int pgtable_clear_dirty(struct iommufd_hw_pagetable *pt)
{
	struct read_dirty args = { .pt = pt };
	struct mapping *map;
	int rc = 0;

	for_each_mapping(map, &pt->ioas->mappings, 0, ULONG_MAX) {
		if (!may_be_dirty(map))
			continue;
		args.first = map->first;
		args.length = mapping_length(map);
		rc = ioasid_should_fail() ? -EIO :
					    read_dirty(NULL, 0, 0, &args);
		if (rc)
			break;
		cond_resched();
	}
	pgtable_sync(pt);
	return rc;
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
	struct dirty_window window = dirty_window_of(map);

	if (!may_be_dirty(map))
		return;
	if (pgtable_read_dirty(pt, &window, map->first, map->last, false) &&
	    map->prot & IOMMU_WRITE)
		dirty_mark(map, map->first, map->last);
}
