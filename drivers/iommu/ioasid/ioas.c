// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O address spaces: their types, their life, and what may be mapped where.
 */
#include <linux/slab.h>

#include "ioasid_private.h"

/* ---- types ---- */

static const u64 type_ops[] = {
	[IOMMU_IOASID_TYPE_KERNEL] = BIT_ULL(IOMMU_IOASID_OP_ROOT) |
				     BIT_ULL(IOMMU_IOASID_OP_MAP) |
				     BIT_ULL(IOMMU_IOASID_OP_ATTACH) |
				     BIT_ULL(IOMMU_IOASID_OP_ATTACH_PASID) |
				     BIT_ULL(IOMMU_IOASID_OP_ACCESS) |
				     BIT_ULL(IOMMU_IOASID_OP_DIRTY) |
				     BIT_ULL(IOMMU_IOASID_OP_WINDOW) |
				     BIT_ULL(IOMMU_IOASID_OP_CHILD) |
				     BIT_ULL(IOMMU_IOASID_OP_PARENT),
	[IOMMU_IOASID_TYPE_PREREG] = BIT_ULL(IOMMU_IOASID_OP_ROOT) |
				     BIT_ULL(IOMMU_IOASID_OP_MAP) |
				     BIT_ULL(IOMMU_IOASID_OP_ACCESS) |
				     BIT_ULL(IOMMU_IOASID_OP_PARENT),
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

/* ---- life ---- */

static void drop_reserved(struct ioasid *ioas, struct iommufd_device *idev);

/*
 * What mappings are aligned to at least, whatever devices there are: bits of
 * mappings are for pages, and so is what children show, unless they have windows
 * with smaller ones.
 */
static unsigned long least_alignment(const struct ioasid *ioas)
{
	unsigned long alignment = ioas->dirty || ioas->parent ? PAGE_SIZE : 1;

	if (ioas->window_page)
		alignment = ioas->window_page;
	return max(alignment, ioas->page_size);
}

static void init_nesting(struct ioasid *ioas, struct ioasid *parent)
{
	ioas->parent = parent;
	ioas->root = parent ? parent->root : ioas;
	ioas->depth = parent ? parent->depth + 1 : 0;
	mutex_init(&ioas->revoke_lock);
	mutex_init(&ioas->tree_lock);
	ioas->spans = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&ioas->revoked);
	INIT_LIST_HEAD(&ioas->revoke_entry);
	/* A REVOKE holds the parent's when it takes this one. */
	mutex_init(&ioas->unmap_lock);
	lockdep_set_subclass(&ioas->unmap_lock, ioas->depth);
}

static void join_parent(struct ioasid *ioas)
{
	struct ioasid *parent = ioas->parent;

	if (!parent)
		return;
	refcount_inc(&parent->obj.users);
	guard(mutex)(&ioas->root->tree_lock);
	parent->num_children++;
}

static int init_ranges(struct ioasid *ioas, const struct ioasid_params *params)
{
	ioas->last = ULONG_MAX;
	if (ioas->addr_width && ioas->addr_width < BITS_PER_LONG)
		ioas->last = (1UL << ioas->addr_width) - 1;
	if (params->ranges) {
		ioas->permitted = iova_ranges_dup(params->ranges);
	} else {
		ioas->permitted = iova_ranges_alloc(1);
		if (ioas->permitted)
			iova_ranges_set(ioas->permitted, 0, ioas->last);
	}
	return ioas->permitted ? 0 : -ENOMEM;
}

/**
 * ioasid_alloc - Make an address space
 * @ictx: The context
 * @params: What it shall be; its type allows it
 *
 * Return: The address space, not published, or -ENOSPC or -ENOMEM. Until it is
 * published, ioasid_object_abort() and ioasid_destroy() undo this.
 */
struct ioasid *ioasid_alloc(struct iommufd_ctx *ictx,
			    const struct ioasid_params *params)
{
	struct ioasid *ioas;
	int rc;

	ioas = kzalloc_obj(*ioas, GFP_KERNEL_ACCOUNT);
	if (!ioas)
		return ERR_PTR(-ENOMEM);

	ioas->ictx = ictx;
	ioas->type = params->type;
	ioas->ops = ioasid_type_ops(params->type);
	ioas->snoop = params->snoop;
	ioas->addr_width = params->addr_width;
	ioas->dirty = params->dirty;
	ioas->page_size = params->page_size;
	rc = init_ranges(ioas, params);
	if (rc)
		goto err_free;
	init_nesting(ioas, params->parent);
	mutex_init(&ioas->lock);
	ioas->auto_pasid = true;
	ioas->mappings = MAPPING_TREE_INIT;
	ioas->alignment = least_alignment(ioas);
	INIT_LIST_HEAD(&ioas->tables);
	INIT_LIST_HEAD(&ioas->reserved);
	INIT_LIST_HEAD(&ioas->windows);
	INIT_LIST_HEAD(&ioas->accesses);
	init_waitqueue_head(&ioas->access_wait);
	ioas->pins = RB_ROOT_CACHED;

	rc = ioasid_object_init(ictx, &ioas->obj, IOMMUFD_OBJ_IOAS);
	if (rc)
		goto err_permitted;
	ioas->exact = params->ranges;
	ioas->allowed = params->ranges;
	join_parent(ioas);
	return ioas;

err_permitted:
	kfree(ioas->permitted);
err_free:
	kfree(ioas);
	return ERR_PTR(rc);
}

/* A REVOKE looks at the children that it has found for as long as it lasts. */
static void leave_parent(struct ioasid *ioas)
{
	struct ioasid *parent = ioas->parent;
	struct mapping *map;

	if (!parent)
		return;
	mutex_lock(&ioas->root->revoke_lock);
	mutex_lock(&ioas->root->tree_lock);
	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
		shadow_leave(to_shadow(map));
		cond_resched();
	}
	parent->num_children--;
	mutex_unlock(&ioas->root->tree_lock);
	mutex_unlock(&ioas->root->revoke_lock);
	refcount_dec(&parent->obj.users);
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
	leave_parent(ioas);
	WARN_ON(!list_empty(&ioas->tables) || !list_empty(&ioas->reserved) ||
		!list_empty(&ioas->accesses) || ioas->num_children);

	rbtree_postorder_for_each_entry_safe(map, next, &ioas->mappings.root,
					     node) {
		ioasid_mapping_free(map);
		cond_resched();
	}
	ioasid_free_windows(ioas);
	kfree(ioas->permitted);
	kfree(ioas->allowed);
	mutex_destroy(&ioas->lock);
	mutex_destroy(&ioas->unmap_lock);
	mutex_destroy(&ioas->tree_lock);
	mutex_destroy(&ioas->revoke_lock);
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
	unsigned long alignment = least_alignment(ioas);

	lockdep_assert_held(&ioas->lock);

	if (ioas->single_pages || ioas->num_page_users)
		alignment = max(alignment, PAGE_SIZE);
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
		if (!mapping_is_aligned(map, alignment))
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

/*
 * How far the MSI pages of a table reach, in bytes. One lies no further into the
 * window than its number says.
 */
static unsigned long sw_msi_room(const struct iommufd_hw_pagetable *pt)
{
	return (find_last_bit(pt->sw_msi.bits, IOASID_MAX_SW_MSI) + 1) *
	       PAGE_SIZE;
}

static void compute_reachable(const struct ioasid *ioas,
			      struct iova_ranges *ranges)
{
	const struct iommufd_hw_pagetable *pt;
	const struct reserved_range *res;
	unsigned long first = 0, last = ioas->last;

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
					pt->sw_msi_start + sw_msi_room(pt) - 1);
}

static void compute_permitted(const struct ioasid *ioas,
			      struct iova_ranges *ranges)
{
	compute_reachable(ioas, ranges);
	ioasid_cut_windows(ioas, ranges);
}

/* Room for all that can be cut out, and a window more */
static struct iova_ranges *alloc_permitted(const struct ioasid *ioas)
{
	return iova_ranges_alloc(ioas->num_reserved + ioas->num_tables +
				 ioas->num_windows + 2);
}

/**
 * ioasid_ranges_without_windows - What may be mapped if there were no windows
 * @ioas: The address space
 *
 * Context: ioas->lock is held.
 *
 * Return: The ranges, for kfree(), or NULL.
 */
struct iova_ranges *ioasid_ranges_without_windows(const struct ioasid *ioas)
{
	struct iova_ranges *ranges = alloc_permitted(ioas);

	if (ranges)
		compute_reachable(ioas, ranges);
	return ranges;
}

/**
 * ioasid_update_permitted - Narrow what may be mapped
 * @ioas: An address space that got a page table, a reserved range or a window
 *
 * Context: ioas->lock is held.
 *
 * Return: 0, or -ENOMEM with nothing changed.
 */
int ioasid_update_permitted(struct ioasid *ioas)
{
	struct iova_ranges *ranges;

	lockdep_assert_held(&ioas->lock);

	/* What was asked for does not change. */
	if (!ioas->exact) {
		ranges = alloc_permitted(ioas);
		if (!ranges)
			return -ENOMEM;
		compute_permitted(ioas, ranges);
		kfree(ioas->permitted);
		ioas->permitted = ranges;
	}
	ioasid_update_alignment(ioas);
	return 0;
}

/**
 * ioasid_widen_permitted - Widen what may be mapped
 * @ioas: An address space that lost a page table, a reserved range or a window
 *
 * There is room: the set was made for more of them.
 *
 * Context: ioas->lock is held.
 */
void ioasid_widen_permitted(struct ioasid *ioas)
{
	lockdep_assert_held(&ioas->lock);
	if (!ioas->exact)
		compute_permitted(ioas, ioas->permitted);
	ioasid_update_alignment(ioas);
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
 * Return: 0; -EADDRINUSE: some of it may not be mapped; -EINVAL: the ranges were
 * fixed when the address space was made; -ENOMEM.
 */
int ioasid_set_allowed(struct ioasid *ioas, struct iova_ranges *allowed)
{
	unsigned int i;

	if (ioas->exact)
		return -EINVAL;
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
		    !RB_EMPTY_ROOT(&ioas->mappings.root))
			return -EINVAL;
		rc = ioasid_check_alignment(ioas, PAGE_SIZE);
	}
	if (!rc) {
		WRITE_ONCE(ioas->single_pages, on);
		ioasid_update_alignment(ioas);
	}
	return rc;
}
