// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O address spaces: what MAP, UNMAP and attachment do to mappings, pinned
 * memory and page tables.
 *
 * Invariant under ioasid.lock: as long as there is a pinner, every mapping that
 * is not busy holds a pin and is in every page table. Pinning needs the lock
 * dropped, so whoever is about to break the invariant mends it first:
 *
 *  - MAP inserts a busy mapping, which reserves the range, then pins and enters
 *    it into the tables that there are, and makes it live in the same critical
 *    section in which it has seen that there is no pinner or the pin is there.
 *  - An attachment counts itself as a pinner, so that every MAP from then on
 *    pins, then pins what was live before, and only then makes a page table.
 *  - When the last pinner goes, its page table is gone already, and mappings
 *    drop their pins, but for those that in-kernel accesses use.
 */
#include <linux/log2.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "ioasid_private.h"
#include "trace.h"

/* ---- types ---- */

static const u64 type_ops[] = {
	[IOMMU_IOASID_TYPE_KERNEL] = BIT_ULL(IOMMU_IOASID_OP_ROOT) |
				     BIT_ULL(IOMMU_IOASID_OP_MAP) |
				     BIT_ULL(IOMMU_IOASID_OP_ATTACH) |
				     BIT_ULL(IOMMU_IOASID_OP_ATTACH_PASID) |
				     BIT_ULL(IOMMU_IOASID_OP_ACCESS) |
				     BIT_ULL(IOMMU_IOASID_OP_DIRTY),
};

/**
 * ioasid_type_ops - What a type of address space allows
 * @type: enum iommu_ioasid_type, or any number
 *
 * Return: A bit for each enum iommu_ioasid_op, 0 if there is no such type.
 */
u64 ioasid_type_ops(u32 type)
{
	if (type >= ARRAY_SIZE(type_ops))
		return 0;
	return type_ops[array_index_nospec(type, ARRAY_SIZE(type_ops))];
}

/**
 * ioasid_may - Look up whether an address space allows an operation
 * @ioas: The address space
 * @op: The operation
 *
 * Return: Whether it does.
 */
bool ioasid_may(const struct ioasid *ioas, enum iommu_ioasid_op op)
{
	return ioasid_type_ops(ioas->type) & BIT_ULL(op);
}

/* ---- life ---- */

static void drop_reserved(struct ioasid *ioas, struct iommufd_device *idev);

/**
 * ioasid_alloc - Make an address space
 * @ictx: The context
 * @type: Its type
 * @snoop: Its snoop policy
 * @addr_width: Bits of its largest address, 0 for all
 * @dirty: It may be tracked what is written
 *
 * Return: The address space, not published, or -ENOSPC or -ENOMEM. Until it is
 * published, ioasid_object_abort() and ioasid_destroy() undo this.
 */
struct ioasid *ioasid_alloc(struct iommufd_ctx *ictx,
			    enum iommu_ioasid_type type,
			    enum iommu_snoop_policy snoop,
			    unsigned int addr_width, bool dirty)
{
	struct ioasid *ioas;
	int rc;

	ioas = kzalloc_obj(*ioas, GFP_KERNEL_ACCOUNT);
	if (!ioas)
		return ERR_PTR(-ENOMEM);

	ioas->permitted = iova_ranges_alloc(1);
	if (!ioas->permitted) {
		rc = -ENOMEM;
		goto err_free;
	}
	ioas->ictx = ictx;
	ioas->type = type;
	ioas->snoop = snoop;
	ioas->addr_width = addr_width;
	ioas->dirty = dirty;
	ioas->last = ULONG_MAX;
	if (addr_width && addr_width < BITS_PER_LONG)
		ioas->last = (1UL << addr_width) - 1;
	mutex_init(&ioas->unmap_lock);
	mutex_init(&ioas->lock);
	ioas->auto_pasid = true;
	ioas->mappings = RB_ROOT;
	ioas->alignment = dirty ? PAGE_SIZE : 1;
	INIT_LIST_HEAD(&ioas->tables);
	INIT_LIST_HEAD(&ioas->reserved);
	INIT_LIST_HEAD(&ioas->accesses);
	init_waitqueue_head(&ioas->access_wait);
	ioas->pins = RB_ROOT_CACHED;
	iova_ranges_set(ioas->permitted, 0, ioas->last);

	rc = ioasid_object_init(ictx, &ioas->obj, IOMMUFD_OBJ_IOAS);
	if (rc)
		goto err_permitted;
	return ioas;

err_permitted:
	kfree(ioas->permitted);
err_free:
	kfree(ioas);
	return ERR_PTR(rc);
}

static struct mapping *mapping_new(const struct ioasid *ioas,
				   const struct ioasid_slice *slice, int prot)
{
	struct dirty_bits *dirty = NULL;
	struct mapping *map;

	if (ioas->dirty) {
		dirty = dirty_bits_alloc(slice->length, PAGE_SHIFT);
		if (IS_ERR(dirty))
			return ERR_CAST(dirty);
	}
	map = kzalloc_obj(*map, GFP_KERNEL_ACCOUNT);
	if (!map) {
		dirty_bits_free(dirty);
		return ERR_PTR(-ENOMEM);
	}
	map->mem = slice->mem;
	map->offset = slice->offset;
	map->prot = prot | IOMMU_CACHE;
	map->state = MAPPING_BUSY;
	map->dirty = dirty;
	return map;
}

static void mapping_abort(struct mapping *map)
{
	dirty_bits_free(map->dirty);
	kfree(map);
}

static void mapping_free(struct mapping *map)
{
	if (map->pinned)
		pinned_mem_unpin(map->mem);
	pinned_mem_put(map->mem);
	mapping_abort(map);
}

/**
 * ioasid_destroy - Free an address space
 * @ioas: The address space; nothing is attached and nobody can find it
 */
void ioasid_destroy(struct ioasid *ioas)
{
	struct mapping *map, *next;

	ioasid_leave_compat(ioas);
	drop_reserved(ioas, NULL);
	WARN_ON(!list_empty(&ioas->tables) || !list_empty(&ioas->reserved) ||
		!list_empty(&ioas->accesses));

	rbtree_postorder_for_each_entry_safe(map, next, &ioas->mappings, node) {
		mapping_free(map);
		cond_resched();
	}
	kfree(ioas->permitted);
	kfree(ioas->allowed);
	mutex_destroy(&ioas->lock);
	mutex_destroy(&ioas->unmap_lock);
	kfree_rcu(ioas, rcu);
}

/* ---- permitted ranges ---- */

/**
 * ioasid_update_alignment - Find out anew what mappings must be aligned to
 * @ioas: An address space that has other tables, accesses or options than before
 *
 * Context: ioas->lock is held.
 */
void ioasid_update_alignment(struct ioasid *ioas)
{
	const struct iommufd_hw_pagetable *pt;
	unsigned long alignment = 1;

	lockdep_assert_held(&ioas->lock);

	/* Bits of mappings are for pages. */
	if (ioas->single_pages || ioas->num_page_users || ioas->dirty)
		alignment = PAGE_SIZE;
	list_for_each_entry(pt, &ioas->tables, entry)
		if (pt->filled)
			alignment = max(alignment,
					1UL << __ffs(pt->domain->pgsize_bitmap));
	WRITE_ONCE(ioas->alignment, alignment);
}

/**
 * ioasid_check_alignment - Hold the mappings against a new alignment
 * @ioas: The address space
 * @alignment: The alignment in bytes
 *
 * Context: ioas->lock is held.
 *
 * Return: 0, or -EADDRINUSE: some mapping does not have it.
 */
int ioasid_check_alignment(struct ioasid *ioas, unsigned long alignment)
{
	struct mapping *map;

	lockdep_assert_held(&ioas->lock);

	if (alignment <= ioas->alignment)
		return 0;
	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
		if (!IS_ALIGNED(map->first | (map->last + 1) | map->offset,
				alignment))
			return -EADDRINUSE;
		cond_resched();
	}
	return 0;
}

struct reserved_range {
	struct list_head entry;
	struct iommufd_device *idev;
	unsigned long first;
	unsigned long last;
};

static void compute_permitted(struct ioasid *ioas, struct iova_ranges *ranges)
{
	const struct iommufd_hw_pagetable *pt;
	const struct reserved_range *res;
	unsigned long first = 0, last = ioas->last;

	ioasid_update_alignment(ioas);
	list_for_each_entry(pt, &ioas->tables, entry) {
		const struct iommu_domain *domain = pt->domain;

		if (!pt->filled)
			continue;
		first = max_t(u64, first, domain->geometry.aperture_start);
		last = min_t(u64, last, domain->geometry.aperture_end);
	}
	if (first > last) {
		ranges->num = 0;
		return;
	}
	iova_ranges_set(ranges, first, last);
	list_for_each_entry(res, &ioas->reserved, entry)
		iova_ranges_cut(ranges, res->first, res->last);
	/* MSI pages stay in a table when the device they are for has gone. */
	list_for_each_entry(pt, &ioas->tables, entry)
		if (!bitmap_empty(pt->sw_msi.bits, IOASID_MAX_SW_MSI))
			iova_ranges_cut(ranges, pt->sw_msi_start,
					pt->sw_msi_start +
					IOASID_MAX_SW_MSI * PAGE_SIZE - 1);
}

/**
 * ioasid_update_permitted - Narrow what may be mapped
 * @ioas: An address space that got a page table or a reserved range
 *
 * Context: ioas->lock is held.
 *
 * Return: 0, or -ENOMEM with nothing changed.
 */
int ioasid_update_permitted(struct ioasid *ioas)
{
	struct iova_ranges *ranges;

	lockdep_assert_held(&ioas->lock);

	ranges = iova_ranges_alloc(ioas->num_reserved + ioas->num_tables + 1);
	if (!ranges)
		return -ENOMEM;
	compute_permitted(ioas, ranges);
	kfree(ioas->permitted);
	ioas->permitted = ranges;
	return 0;
}

/**
 * ioasid_widen_permitted - Widen what may be mapped
 * @ioas: An address space that lost a page table or a reserved range
 *
 * There is room: the set was made for more of them.
 *
 * Context: ioas->lock is held.
 */
void ioasid_widen_permitted(struct ioasid *ioas)
{
	lockdep_assert_held(&ioas->lock);
	compute_permitted(ioas, ioas->permitted);
}

static void drop_reserved(struct ioasid *ioas, struct iommufd_device *idev)
{
	struct reserved_range *res, *next;

	list_for_each_entry_safe(res, next, &ioas->reserved, entry)
		if (res->idev == idev) {
			list_del(&res->entry);
			ioas->num_reserved--;
			kfree(res);
		}
}

/**
 * reserved_bounds - The addresses that a reserved region takes away
 * @region: The region
 * @first: Output: first address
 * @last: Output: last address
 *
 * Return: Whether it takes away any.
 */
bool reserved_bounds(const struct iommu_resv_region *region,
		     unsigned long *first, unsigned long *last)
{
	if (region->type == IOMMU_RESV_DIRECT_RELAXABLE || !region->length ||
	    region->start > ULONG_MAX)
		return false;
	*first = region->start;
	if (check_add_overflow(*first, region->length - 1, last))
		*last = ULONG_MAX;
	return true;
}

/* Whether something that was promised lies there */
static bool range_in_use(struct ioasid *ioas, unsigned long first,
			 unsigned long last)
{
	struct mapping *map = mapping_find(&ioas->mappings, first);

	return (map && map->first <= last) ||
	       (ioas->allowed && iova_ranges_touch(ioas->allowed, first, last));
}

static int add_reserved(struct ioasid *ioas, struct iommufd_device *idev,
			unsigned long first, unsigned long last)
{
	struct reserved_range *res;

	if (range_in_use(ioas, first, last))
		return -EADDRINUSE;
	res = kzalloc_obj(*res, GFP_KERNEL_ACCOUNT);
	if (!res)
		return -ENOMEM;
	res->idev = idev;
	res->first = first;
	res->last = last;
	list_add_tail(&res->entry, &ioas->reserved);
	ioas->num_reserved++;
	return 0;
}

/**
 * ioasid_reserve - Keep mappings out of what a device cannot translate
 * @ioas: The address space
 * @idev: The device, about to attach without PASID
 *
 * Notes where the device's MSI window is, too.
 *
 * Context: idev->group->lock and ioas->lock are held.
 *
 * Return: 0; -EADDRINUSE: a mapping or an allowed range is in the way; -ENOMEM.
 * Nothing changed then.
 */
int ioasid_reserve(struct ioasid *ioas, struct iommufd_device *idev)
{
	struct iommu_resv_region *region;
	unsigned long first, last;
	LIST_HEAD(regions);
	int rc = 0;

	lockdep_assert_held(&idev->group->lock);
	lockdep_assert_held(&ioas->lock);

	iommu_get_resv_regions(idev->dev, &regions);
	list_for_each_entry(region, &regions, list) {
		if (!reserved_bounds(region, &first, &last))
			continue;
		rc = add_reserved(ioas, idev, first, last);
		if (rc)
			break;
		if (region->type == IOMMU_RESV_SW_MSI) {
			idev->group->sw_msi_start = region->start;
			idev->group->sw_msi_pages =
				region->length >> PAGE_SHIFT;
		}
	}
	iommu_put_resv_regions(idev->dev, &regions);
	if (!rc)
		rc = ioasid_update_permitted(ioas);
	if (rc)
		drop_reserved(ioas, idev);
	return rc;
}

/**
 * ioasid_unreserve - Undo ioasid_reserve()
 * @ioas: The address space
 * @idev: The device
 *
 * Context: ioas->lock is held.
 */
void ioasid_unreserve(struct ioasid *ioas, struct iommufd_device *idev)
{
	lockdep_assert_held(&ioas->lock);
	drop_reserved(ioas, idev);
	ioasid_widen_permitted(ioas);
}

/**
 * ioasid_reserve_for_test - Keep mappings out of a range as if for a device
 * @ioas: The address space
 * @first: First address
 * @last: Last address
 *
 * Lasts as long as the address space.
 *
 * Return: 0 or as ioasid_reserve().
 */
int ioasid_reserve_for_test(struct ioasid *ioas, unsigned long first,
			    unsigned long last)
{
	int rc;

	guard(mutex)(&ioas->lock);
	rc = add_reserved(ioas, NULL, first, last);
	return rc ? rc : ioasid_update_permitted(ioas);
}

/**
 * ioasid_set_allowed - Promise ranges to the user
 * @ioas: The address space
 * @allowed: The ranges, or NULL for none. On success this is taken over.
 *
 * Context: No lock is held.
 *
 * Return: 0; -EADDRINUSE: some of it may not be mapped; -ENOMEM.
 */
int ioasid_set_allowed(struct ioasid *ioas, struct iova_ranges *allowed)
{
	unsigned int i;

	guard(mutex)(&ioas->lock);
	for (i = 0; allowed && i < allowed->num; i++)
		if (!iova_ranges_contain(ioas->permitted,
					 allowed->range[i].first,
					 allowed->range[i].last))
			return -EADDRINUSE;
	kfree(ioas->allowed);
	ioas->allowed = allowed;
	return 0;
}

/**
 * ioasid_set_single_pages - Let mappings be cut, or let page tables use large pages
 * @ioas: The address space
 * @on: Nothing larger than PAGE_SIZE from now on
 *
 * Context: No lock is held.
 *
 * Return: 0; -EINVAL: there may be large pages already; -EADDRINUSE: a mapping
 * is not aligned to pages.
 */
int ioasid_set_single_pages(struct ioasid *ioas, bool on)
{
	int rc = 0;

	guard(mutex)(&ioas->lock);
	if (on && !ioas->single_pages) {
		if (!list_empty(&ioas->tables) &&
		    !RB_EMPTY_ROOT(&ioas->mappings))
			return -EINVAL;
		rc = ioasid_check_alignment(ioas, PAGE_SIZE);
	}
	if (!rc) {
		WRITE_ONCE(ioas->single_pages, on);
		ioasid_update_alignment(ioas);
	}
	return rc;
}

/* ---- pins of mappings ---- */

static void mark_pinned(struct ioasid *ioas, struct mapping *map)
{
	map->pinned = true;
	WRITE_ONCE(ioas->pinned_bytes,
		   ioas->pinned_bytes + mapping_length(map));
}

static void mark_unpinned(struct ioasid *ioas, struct mapping *map)
{
	map->pinned = false;
	WRITE_ONCE(ioas->pinned_bytes,
		   ioas->pinned_bytes - mapping_length(map));
}

/**
 * ioasid_pin_mapping - Pin the memory of a mapping in the tree
 * @ioas: The address space
 * @map: A mapping without a pin, not busy
 *
 * Context: ioas->lock is held, and dropped and taken again: @map may be gone
 * afterwards, and so may be its pin.
 *
 * Return: 0, also if the mapping has gone; or what pinned_mem_pin() says.
 */
int ioasid_pin_mapping(struct ioasid *ioas, struct mapping *map)
{
	struct pinned_mem *mem = map->mem;
	unsigned long first = map->first;
	bool keep = false, gone = false;
	int rc;

	lockdep_assert_held(&ioas->lock);

	pinned_mem_get(mem);
	mutex_unlock(&ioas->lock);
	rc = pinned_mem_pin(mem);
	mutex_lock(&ioas->lock);
	/* The reference to the memory rules out another one there. */
	map = mapping_find(&ioas->mappings, first);
	if (!map || map->mem != mem || map->first != first ||
	    map->state == MAPPING_BUSY) {
		/* Gone: then it does not matter that it cannot be pinned. */
		gone = rc != -EINTR;
	} else if (!rc && !map->pinned) {
		mark_pinned(ioas, map);
		keep = true;
	}
	if (!keep) {
		mutex_unlock(&ioas->lock);
		if (!rc)
			pinned_mem_unpin(mem);
		pinned_mem_put(mem);
		mutex_lock(&ioas->lock);
		return gone ? 0 : rc;
	}
	pinned_mem_put(mem);
	return 0;
}

static int pin_all(struct ioasid *ioas)
{
	struct mapping *map;
	unsigned long first;
	int rc;

	map = mapping_find(&ioas->mappings, 0);
	while (map) {
		if (map->pinned || map->state == MAPPING_BUSY) {
			map = mapping_next(map);
			cond_resched();
			continue;
		}
		first = map->first;
		rc = ioasid_pin_mapping(ioas, map);
		if (rc)
			return rc;
		/* What comes to be there meanwhile is pinned by its MAP. */
		map = mapping_find(&ioas->mappings, first);
	}
	return 0;
}

/**
 * ioasid_unpin_idle - Unpin what nobody needs pinned
 * @ioas: The address space
 *
 * Does nothing while there is a pinner. Mappings that in-kernel accesses use
 * keep their pins.
 *
 * Context: No lock is held.
 */
void ioasid_unpin_idle(struct ioasid *ioas)
{
	struct pinned_mem *mem;
	struct mapping *map;
	unsigned long first;

	mutex_lock(&ioas->lock);
	map = mapping_find(&ioas->mappings, 0);
	while (map && !ioas->num_pinners) {
		if (!map->pinned || map->num_accesses ||
		    map->state == MAPPING_BUSY) {
			map = mapping_next(map);
			cond_resched();
			continue;
		}
		first = map->first;
		mem = map->mem;
		mark_unpinned(ioas, map);
		pinned_mem_get(mem);
		mutex_unlock(&ioas->lock);
		pinned_mem_unpin(mem);
		pinned_mem_put(mem);
		cond_resched();
		mutex_lock(&ioas->lock);
		map = mapping_find(&ioas->mappings, first);
	}
	mutex_unlock(&ioas->lock);
}

/**
 * ioasid_pinners_get - Have all mappings pinned from now on
 * @ioas: The address space
 * @num: How many attachments this stands for
 *
 * Context: No lock is held; sleeps for user memory.
 *
 * Return: 0, or what pinned_mem_pin() says, with nothing changed.
 */
int ioasid_pinners_get(struct ioasid *ioas, unsigned int num)
{
	int rc;

	mutex_lock(&ioas->lock);
	WRITE_ONCE(ioas->num_pinners, ioas->num_pinners + num);
	rc = pin_all(ioas);
	mutex_unlock(&ioas->lock);
	if (rc)
		ioasid_pinners_put(ioas, num);
	return rc;
}

/**
 * ioasid_pinners_put - Undo ioasid_pinners_get()
 * @ioas: The address space. If this is its last pinner it has no page table.
 * @num: As it was taken
 *
 * Context: No lock is held.
 */
void ioasid_pinners_put(struct ioasid *ioas, unsigned int num)
{
	bool last;

	mutex_lock(&ioas->lock);
	WRITE_ONCE(ioas->num_pinners, ioas->num_pinners - num);
	last = !ioas->num_pinners;
	WARN_ON(last && !list_empty(&ioas->tables));
	mutex_unlock(&ioas->lock);
	if (last)
		ioasid_unpin_idle(ioas);
}

/* ---- MAP ---- */

static int choose_range(struct ioasid *ioas, struct ioasid_map *args)
{
	const struct iova_ranges *ranges = ioas->allowed ?: ioas->permitted;
	unsigned long align[] = { max(args->align, ioas->alignment),
				  max(args->least_align, ioas->alignment) };
	unsigned int i;
	int rc;

	for (i = 0; i < ARRAY_SIZE(align); i++) {
		rc = mapping_find_room(&ioas->mappings, ranges,
				       ioas->next_first, args->length, align[i],
				       args->phase, &args->first);
		if (!rc || align[0] == align[1])
			break;
	}
	return rc;
}

static int insert_mapping(struct ioasid *ioas, struct mapping *map,
			  unsigned long first, unsigned long length)
{
	int rc;

	map->first = first;
	map->last = first + length - 1;
	rc = mapping_insert(&ioas->mappings, map);
	if (rc)
		return rc;
	WRITE_ONCE(ioas->num_mappings, ioas->num_mappings + 1);
	WRITE_ONCE(ioas->mapped_bytes, ioas->mapped_bytes + length);
	return 0;
}

static void erase_mapping(struct ioasid *ioas, struct mapping *map)
{
	mapping_erase(&ioas->mappings, map);
	WRITE_ONCE(ioas->num_mappings, ioas->num_mappings - 1);
	WRITE_ONCE(ioas->mapped_bytes,
		   ioas->mapped_bytes - mapping_length(map));
	if (map->pinned)
		WRITE_ONCE(ioas->pinned_bytes,
			   ioas->pinned_bytes - mapping_length(map));
}

static int insert_slices(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned long phase = args->slice[0].offset;
	struct ioasid_slice *slice = args->slice;
	unsigned long first;
	unsigned int i;
	int rc;

	for (i = 0; i < args->num_slices; i++) {
		phase |= slice[i].offset | slice[i].length;
		cond_resched();
	}
	if (!IS_ALIGNED(args->first | args->length | phase, ioas->alignment))
		return -EINVAL;
	if (args->alloc) {
		rc = choose_range(ioas, args);
		if (rc)
			return rc;
		ioas->next_first = args->first + args->length;
	}

	first = args->first;
	for (i = 0; i < args->num_slices; i++) {
		rc = insert_mapping(ioas, slice[i].map, first, slice[i].length);
		if (rc)
			goto err_erase;
		first += slice[i].length;
		cond_resched();
	}
	rc = -ENOSPC;
	if (ioas->num_mappings > READ_ONCE(ioasid_dma_entry_limit))
		goto err_erase;
	rc = -EINVAL;
	if (!iova_ranges_contain(ioas->permitted, args->first,
				 args->first + args->length - 1))
		goto err_erase;
	return 0;

err_erase:
	while (i--)
		erase_mapping(ioas, slice[i].map);
	return rc;
}

static int enter_mapping(struct ioasid *ioas, struct mapping *map)
{
	struct iommufd_hw_pagetable *pt;
	int rc;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		rc = pgtable_map(pt, map);
		if (rc)
			goto err_unmap;
	}
	return 0;

err_unmap:
	list_for_each_entry_continue_reverse(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		pgtable_unmap(pt, map);
		pgtable_sync(pt);
	}
	return rc;
}

static void take_out_mapping(struct ioasid *ioas, struct mapping *map)
{
	struct iommufd_hw_pagetable *pt;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		pgtable_unmap(pt, map);
		pgtable_sync(pt);
	}
}

/* The ranges are taken; pins and page tables follow. Drops and takes ioas->lock. */
static int pin_slices(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned int i;
	int rc = 0;

	if (!ioas->num_pinners)
		return 0;
	for (i = 0; i < args->num_slices && !rc; i++) {
		struct mapping *map = args->slice[i].map;

		mutex_unlock(&ioas->lock);
		rc = pinned_mem_pin(map->mem);
		mutex_lock(&ioas->lock);
		if (!rc)
			mark_pinned(ioas, map);
	}
	return rc;
}

static int enter_slices(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned int i;
	int rc;

	for (i = 0; i < args->num_slices; i++) {
		rc = enter_mapping(ioas, args->slice[i].map);
		if (rc)
			goto err_unmap;
	}
	return 0;

err_unmap:
	while (i--)
		take_out_mapping(ioas, args->slice[i].map);
	return rc;
}

static void settle_slice(struct ioasid *ioas, struct ioasid_slice *slice, int rc)
{
	struct mapping *map = slice->map;

	/* The last pinner may have gone while the lock was dropped. */
	slice->unpin = map->pinned && (rc || !ioas->num_pinners);
	if (slice->unpin) {
		mark_unpinned(ioas, map);
		pinned_mem_get(map->mem);
	}
	if (rc)
		erase_mapping(ioas, map);
	else
		map->state = MAPPING_LIVE;
}

static int map_slices(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned int i;
	int rc;

	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	rc = insert_slices(ioas, args);
	if (rc) {
		mutex_unlock(&ioas->lock);
		return rc;
	}
	rc = pin_slices(ioas, args);
	if (!rc)
		rc = enter_slices(ioas, args);
	for (i = 0; i < args->num_slices; i++) {
		settle_slice(ioas, &args->slice[i], rc);
		cond_resched();
	}
	mutex_unlock(&ioas->lock);

	/* The mapping may be gone by now, its memory is not. */
	for (i = 0; i < args->num_slices; i++)
		if (args->slice[i].unpin) {
			pinned_mem_unpin(args->slice[i].mem);
			pinned_mem_put(args->slice[i].mem);
		}
	return rc;
}

/**
 * ioasid_map - Add mappings
 * @ioas: The address space; its type allows it
 * @args: What to map. On success the mappings take over the caller's references
 *        to the memory of the slices.
 *
 * Context: No lock is held; sleeps for user memory.
 *
 * Return: 0, or an errno in the order that struct iommu_map_dma documents, with
 * nothing changed.
 */
int ioasid_map(struct ioasid *ioas, struct ioasid_map *args)
{
	unsigned int i, num = args->num_slices;
	int rc = 0;

	for (i = 0; i < num; i++) {
		struct mapping *map;

		map = mapping_new(ioas, &args->slice[i], args->prot);
		if (IS_ERR(map)) {
			rc = PTR_ERR(map);
			break;
		}
		args->slice[i].map = map;
	}
	if (!rc)
		rc = map_slices(ioas, args);
	while (rc && i--)
		mapping_abort(args->slice[i].map);
	trace_ioasid_map(ioas->obj.id, args->first, args->length, args->prot,
			 rc);
	return rc;
}

/**
 * ioasid_get_slices - Find the memory behind a range
 * @ioas: The address space
 * @first: First address
 * @length: In bytes, not 0; the range does not wrap
 * @args: Output: slices and length, for ioasid_put_slices()
 *
 * Context: No lock is held.
 *
 * Return: 0; -ENOENT: some of it is not mapped; -ENOMEM; -EINTR.
 */
int ioasid_get_slices(struct ioasid *ioas, unsigned long first,
		      unsigned long length, struct ioasid_map *args)
{
	unsigned long last = first + length - 1, cur = first;
	unsigned int max = 0, num = 0;
	struct ioasid_slice *slice;
	struct mapping *map;

	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	for_each_mapping(map, &ioas->mappings, first, last) {
		max++;
		cond_resched();
	}
	mutex_unlock(&ioas->lock);
	if (!max)
		return -ENOENT;
	if (ioasid_killed())
		return -EINTR;
	slice = kvcalloc(max, sizeof(*slice), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!slice)
		return -ENOMEM;

	mutex_lock(&ioas->lock);
	for_each_mapping(map, &ioas->mappings, first, last) {
		if (num == max || map->state == MAPPING_BUSY ||
		    map->first > cur)
			break;
		pinned_mem_get(map->mem);
		slice[num].mem = map->mem;
		slice[num].offset = map->offset + (cur - map->first);
		slice[num].length = min(map->last, last) - cur + 1;
		cur += slice[num++].length;
		if (map->last >= last)
			break;
		cond_resched();
	}
	mutex_unlock(&ioas->lock);

	args->slice = slice;
	args->num_slices = num;
	args->length = length;
	if (cur == last + 1)
		return 0;
	ioasid_put_slices(args);
	return -ENOENT;
}

/**
 * ioasid_put_slices - Undo ioasid_get_slices()
 * @args: The slices, if they have not been mapped
 */
void ioasid_put_slices(struct ioasid_map *args)
{
	unsigned int i;

	for (i = 0; i < args->num_slices; i++)
		pinned_mem_put(args->slice[i].mem);
	kvfree(args->slice);
}

/**
 * ioasid_cut - Divide the mapping that holds an address, if there is one
 * @ioas: The address space
 * @last: Becomes the last address of the first part
 *
 * Context: No lock is held.
 *
 * Return: 0, also if there is nothing to divide; -EINVAL: page tables may hold
 * it as something larger, in-kernel accesses use it, or the parts would not be
 * aligned; -EBUSY: it is being made or removed; -EOPNOTSUPP: memory of a device;
 * -ENOSPC: too many mappings; -ENOMEM; -EINTR.
 */
int ioasid_cut(struct ioasid *ioas, unsigned long last)
{
	struct mapping *map;
	int rc = 0;

	if (ioasid_lock_killable(&ioas->lock))
		return -EINTR;
	map = mapping_find(&ioas->mappings, last);
	if (!map || map->first > last || map->last == last)
		goto out_unlock;
	rc = -EBUSY;
	if (map->state != MAPPING_LIVE)
		goto out_unlock;
	rc = -EOPNOTSUPP;
	if (map->mem->source == PINNED_MEM_DMA_BUF)
		goto out_unlock;
	rc = -EINVAL;
	if (!IS_ALIGNED((last + 1) | (map->offset + (last + 1 - map->first)),
			ioas->alignment) || map->num_accesses ||
	    (!list_empty(&ioas->tables) && !ioas->single_pages))
		goto out_unlock;
	rc = -ENOSPC;
	if (ioas->num_mappings >= READ_ONCE(ioasid_dma_entry_limit))
		goto out_unlock;
	map = mapping_split(&ioas->mappings, map, last + 1);
	rc = PTR_ERR_OR_ZERO(map);
	if (!rc)
		WRITE_ONCE(ioas->num_mappings, ioas->num_mappings + 1);
out_unlock:
	mutex_unlock(&ioas->lock);
	return rc;
}

/* ---- UNMAP ---- */

/* Tries to let in-kernel accesses go, each followed by a wait of this long. */
#define ACCESS_TRIES 10
#define ACCESS_WAIT (HZ / 20)

static bool mapping_cut_by(struct ioasid *ioas, unsigned long addr, bool first)
{
	struct mapping *map = mapping_find(&ioas->mappings, addr);

	if (!map || map->first > addr || map->state == MAPPING_BUSY)
		return false;
	return first ? map->first != addr : map->last != addr;
}

/* One that cuts the range has come after the check: it is not there yet. */
static bool mapping_leaves(const struct mapping *map, unsigned long first,
			   unsigned long last)
{
	return map->state != MAPPING_BUSY && map->first >= first &&
	       map->last <= last;
}

static bool range_accessed(struct ioasid *ioas, unsigned long first,
			   unsigned long last)
{
	struct mapping *map;

	for_each_mapping(map, &ioas->mappings, first, last) {
		if (map->num_accesses && mapping_leaves(map, first, last))
			return true;
		cond_resched();
	}
	return false;
}

/* Return: what is left of the time, or -ERESTARTSYS. */
static long wait_for_access_end(struct ioasid *ioas, unsigned int seen,
				long time)
{
	if (ioasid_should_fail())
		return -ERESTARTSYS;
	return wait_event_killable_timeout(ioas->access_wait,
					   READ_ONCE(ioas->num_access_ends) !=
						   seen, time);
}

/* Drops and takes ioas->lock. Return: 0, -EBUSY after a while, or -EINTR. */
static int wait_for_accesses(struct ioasid *ioas, unsigned long first,
			     unsigned long last)
{
	long left = ACCESS_WAIT;

	while (left > 0 && range_accessed(ioas, first, last)) {
		unsigned int seen = ioas->num_access_ends;

		mutex_unlock(&ioas->lock);
		left = wait_for_access_end(ioas, seen, left);
		mutex_lock(&ioas->lock);
	}
	if (!range_accessed(ioas, first, last))
		return 0;
	return left < 0 ? -EINTR : -EBUSY;
}

static void set_range_state(struct ioasid *ioas, unsigned long first,
			    unsigned long last, enum mapping_state state)
{
	struct mapping *map;

	for_each_mapping(map, &ioas->mappings, first, last) {
		if (mapping_leaves(map, first, last))
			map->state = state;
		cond_resched();
	}
}

/*
 * Tells accesses of each mapping that is in use, by its own range: drivers may
 * look at every page of what they are told. Drops and takes ioas->lock.
 */
static void notify_accesses(struct ioasid *ioas, struct iommufd_access *only,
			    unsigned long first, unsigned long last)
{
	struct mapping *map = mapping_find(&ioas->mappings, first);
	struct iova_range range;

	while (map && map->first <= last) {
		if (!map->num_accesses) {
			map = mapping_next(map);
			cond_resched();
			continue;
		}
		range.first = map->first;
		range.last = map->last;
		mutex_unlock(&ioas->lock);
		if (only)
			ioasid_access_unmap(only, range.first, range.last);
		else
			ioasid_access_notify(ioas, range.first, range.last);
		mutex_lock(&ioas->lock);
		if (range.last >= last)
			return;
		map = mapping_find(&ioas->mappings, range.last + 1);
	}
}

/*
 * Asks in-kernel accesses to let go of a range. ioas->lock is dropped and taken
 * again. On success the mappings are leaving and not accessed. They are still
 * there, because unmap_lock is held.
 */
static int revoke_accesses(struct ioasid *ioas, unsigned long first,
			   unsigned long last)
{
	unsigned int tries;
	int rc = -EBUSY;

	lockdep_assert_held(&ioas->unmap_lock);

	set_range_state(ioas, first, last, MAPPING_LEAVING);
	for (tries = 0; tries < ACCESS_TRIES && rc == -EBUSY; tries++) {
		notify_accesses(ioas, NULL, first, last);
		rc = wait_for_accesses(ioas, first, last);
	}
	if (rc)
		set_range_state(ioas, first, last, MAPPING_LIVE);
	return rc;
}

/*
 * Takes what lies in the range out of all tables, flushed, and of the tree. No
 * IOMMU tells what it takes out, so the last look at whether an entry is dirty
 * comes right before.
 */
static u64 take_out(struct ioasid *ioas, unsigned long first,
		    unsigned long last, bool keep_dirty,
		    struct list_head *gone)
{
	struct iommufd_hw_pagetable *pt;
	struct mapping *map, *next;
	u64 bytes = 0;

	list_for_each_entry(pt, &ioas->tables, entry) {
		if (!pt->filled)
			continue;
		for_each_mapping(map, &ioas->mappings, first, last) {
			if (mapping_leaves(map, first, last)) {
				if (keep_dirty)
					pgtable_keep_dirty(pt, map);
				pgtable_unmap(pt, map);
			}
			cond_resched();
		}
		pgtable_sync(pt);
	}

	for (map = mapping_find(&ioas->mappings, first);
	     map && map->first <= last; map = next) {
		next = mapping_next(map);
		if (!mapping_leaves(map, first, last))
			continue;
		bytes += mapping_length(map);
		erase_mapping(ioas, map);
		list_add_tail(&map->entry, gone);
		cond_resched();
	}
	return bytes;
}

static int unmap_locked(struct ioasid *ioas, unsigned long first,
			unsigned long last, bool keep_dirty, u64 *unmapped,
			struct list_head *gone)
{
	int rc;

	guard(mutex)(&ioas->lock);
	if (keep_dirty && !ioas->tracking)
		return -EINVAL;
	if (mapping_cut_by(ioas, first, true) ||
	    mapping_cut_by(ioas, last, false))
		return -EINVAL;
	if (ioasid_access_locked(ioas, first, last))
		return -EBUSY;
	if (range_accessed(ioas, first, last)) {
		rc = revoke_accesses(ioas, first, last);
		if (rc)
			return rc;
	}
	*unmapped = take_out(ioas, first, last, keep_dirty, gone);
	return 0;
}

/**
 * ioasid_unmap - Remove mappings
 * @ioas: The address space; its type allows it
 * @first: First address
 * @last: Last address; [0, ULONG_MAX] removes all
 * @report: Where to report what was written, begun and for this range, or NULL
 * @unmapped: Output: sum of the lengths of what was removed
 *
 * What a MAP under way is about to add is not there yet.
 *
 * Context: No lock is held; calls in-kernel accesses back.
 *
 * Return: 0; -EINVAL: the range cuts a mapping, or is not tracked; -EBUSY: an
 * in-kernel access does not let go; -EINTR: fatal signal. Nothing was removed
 * then. -EFAULT: @report could be begun, but now it cannot be written; the
 * mappings are gone.
 */
int ioasid_unmap(struct ioasid *ioas, unsigned long first, unsigned long last,
		 struct dirty_report *report, u64 *unmapped)
{
	struct mapping *map, *next;
	LIST_HEAD(gone);
	int rc = -EINTR;

	*unmapped = 0;
	if (!ioasid_lock_killable(&ioas->unmap_lock)) {
		rc = unmap_locked(ioas, first, last, report, unmapped, &gone);
		mutex_unlock(&ioas->unmap_lock);
	}
	if (!rc && report)
		rc = dirty_report_gone(report, &gone);
	/* Flushed above: now the memory may go. */
	list_for_each_entry_safe(map, next, &gone, entry) {
		mapping_free(map);
		cond_resched();
	}
	trace_ioasid_unmap(ioas->obj.id, first, last, *unmapped, rc);
	return rc;
}

/**
 * ioasid_revoke_access - Ask one in-kernel user to let go of everything
 * @ioas: The address space
 * @access: The user
 *
 * Context: ioas->lock is not held. The callback runs.
 */
void ioasid_revoke_access(struct ioasid *ioas, struct iommufd_access *access)
{
	guard(mutex)(&ioas->lock);
	notify_accesses(ioas, access, 0, ULONG_MAX);
}
