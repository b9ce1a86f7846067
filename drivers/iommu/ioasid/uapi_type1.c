// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that come through a VFIO group whose container is /dev/iommu, and the
 * ioctls of a container with a type1 IOMMU.
 *
 * Such a device cannot name an IOASID, so the context has one for all of them,
 * made when the first group is added, or chosen with IOMMU_VFIO_IOAS. It is an
 * address space like any other; one that was made for groups ends with the context
 * only.
 *
 * With type1's first version a program may remove any part of a mapping, so the
 * page tables have small pages only.
 */
#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/iommufd.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/vfio.h>

#include "ioasid_private.h"

/* ---- the address space ---- */

/* With a short hold, for ioasid_put(); -ENODEV if there is none */
static struct ioasid *get_compat(struct iommufd_ctx *ictx)
{
	guard(mutex)(&ictx->compat_lock);
	if (!ictx->compat_ioas ||
	    !ioasid_object_tryget(&ictx->compat_ioas->obj))
		return ERR_PTR(-ENODEV);
	return ictx->compat_ioas;
}

/* Takes the context's use of what was made for groups away. */
static void drop_compat(struct iommufd_ctx *ictx)
{
	lockdep_assert_held(&ictx->compat_lock);

	if (ictx->compat_made)
		refcount_dec(&ictx->compat_ioas->obj.users);
	ictx->compat_made = false;
	ictx->compat_ioas = NULL;
}

/**
 * ioasid_set_compat - Choose the IOASID of devices of VFIO groups
 * @ictx: The context
 * @ioas: The address space, or NULL for none
 */
void ioasid_set_compat(struct iommufd_ctx *ictx, struct ioasid *ioas)
{
	guard(mutex)(&ictx->compat_lock);
	drop_compat(ictx);
	ictx->compat_ioas = ioas;
}

/**
 * ioasid_leave_compat - Note that an address space ends
 * @ioas: The address space; nobody can find it
 */
void ioasid_leave_compat(struct ioasid *ioas)
{
	struct iommufd_ctx *ictx = ioas->ictx;

	guard(mutex)(&ictx->compat_lock);
	if (ictx->compat_ioas == ioas)
		ictx->compat_ioas = NULL;
}

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
	const struct ioasid_params params = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.snoop = IOMMU_SNOOP_AUTO,
	};
	struct ioasid *ioas;

	guard(mutex)(&ictx->compat_lock);
	if (ictx->no_iommu)
		return -EINVAL;
	if (ictx->compat_ioas)
		return 0;
	ioas = ioasid_alloc(ictx, &params);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	/* The context uses it, so that the user cannot free it. */
	refcount_inc(&ioas->obj.users);
	ictx->compat_ioas = ioas;
	ictx->compat_made = true;
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
	WRITE_ONCE(ictx->no_iommu, true);
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_vfio_compat_set_no_iommu, "IOMMUFD_VFIO");

/* ---- mappings ---- */

static int map_user(struct ioasid *ioas, const struct vfio_iommu_type1_dma_map *map)
{
	bool writable = map->flags & VFIO_DMA_MAP_FLAG_WRITE;
	struct ioasid_map args = {
		.first = map->iova,
		.length = map->size,
		.offset = offset_in_page(map->vaddr),
		.phase = map->vaddr,
		.prot = (writable ? IOMMU_WRITE : 0) |
			(map->flags & VFIO_DMA_MAP_FLAG_READ ? IOMMU_READ : 0),
	};
	int rc;

	args.mem = pinned_mem_from_user(ioas->ictx, map->vaddr, map->size,
					writable, PINNED_MEM_ACCOUNT_MM);
	if (IS_ERR(args.mem))
		return PTR_ERR(args.mem);
	rc = ioasid_map(ioas, &args);
	if (rc)
		pinned_mem_put(args.mem);
	return rc;
}

static int check_range(u64 iova, u64 size)
{
	unsigned long last;

	if (overflows_type(iova, last) || overflows_type(size, last))
		return -EOVERFLOW;
	if (!size)
		return -EINVAL;
	if (check_add_overflow((unsigned long)iova, (unsigned long)size - 1,
			       &last))
		return -EOVERFLOW;
	return 0;
}

static int type1_map(struct iommufd_ctx *ictx, void __user *arg)
{
	const u32 access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	size_t size = offsetofend(struct vfio_iommu_type1_dma_map, size);
	struct vfio_iommu_type1_dma_map map;
	struct ioasid *ioas;
	int rc;

	if (copy_from_user(&map, arg, size))
		return -EFAULT;
	if (map.argsz < size || map.flags & ~access || !(map.flags & access))
		return -EINVAL;
	ioas = get_compat(ictx);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = check_range(map.iova, map.size);
	if (!rc)
		rc = check_range(map.vaddr, map.size);
	if (!rc)
		rc = map_user(ioas, &map);
	ioasid_put(ioas);
	return rc;
}

static int unmap_range(struct ioasid *ioas, u64 iova, u64 size, u64 *unmapped)
{
	int rc;

	rc = check_range(iova, size);
	if (!rc && READ_ONCE(ioas->single_pages)) {
		if (iova)
			rc = ioasid_cut(ioas, iova - 1);
		if (!rc)
			rc = ioasid_cut(ioas, iova + size - 1);
	}
	if (!rc)
		rc = ioasid_unmap(ioas, iova, iova + size - 1, NULL, false,
				  unmapped);
	/* As for IOMMU_IOAS_UNMAP: part of a mapping is none. */
	return rc == -EINVAL && size ? -ENOENT : rc;
}

static int type1_unmap(struct iommufd_ctx *ictx, void __user *arg)
{
	size_t size = offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap unmap;
	struct ioasid *ioas;
	u64 unmapped;
	int rc;

	if (copy_from_user(&unmap, arg, size))
		return -EFAULT;
	if (unmap.argsz < size || unmap.flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	ioas = get_compat(ictx);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	if (!(unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL))
		rc = unmap_range(ioas, unmap.iova, unmap.size, &unmapped);
	else if (unmap.iova || unmap.size)
		rc = -EINVAL;
	else
		rc = ioasid_unmap(ioas, 0, ULONG_MAX, NULL, false, &unmapped);
	ioasid_put(ioas);
	if (rc)
		return rc;
	unmap.size = unmapped;
	return copy_to_user(arg, &unmap, size) ? -EFAULT : 0;
}

/* ---- information ---- */

/* Of all page tables; smaller than PAGE_SIZE is of no use to a container. */
static u64 page_sizes(struct ioasid *ioas)
{
	const struct iommufd_hw_pagetable *pt;
	unsigned long sizes = ULONG_MAX;

	guard(mutex)(&ioas->lock);
	list_for_each_entry(pt, &ioas->tables, entry)
		sizes &= pt->domain->pgsize_bitmap;
	if (sizes & ~PAGE_MASK)
		sizes = (sizes & PAGE_MASK) | PAGE_SIZE;
	return max(sizes, ioas->alignment);
}

/* The capabilities as they come behind struct vfio_iommu_type1_info */
struct info_caps {
	struct vfio_iommu_type1_info_dma_avail avail;
	u32 pad;
	struct vfio_iommu_type1_info_cap_iova_range ranges;
};

static struct info_caps *make_caps(struct ioasid *ioas, size_t *size)
{
	const size_t start = sizeof(struct vfio_iommu_type1_info);
	const struct iova_ranges *permitted;
	struct info_caps *caps;
	unsigned int i;

	guard(mutex)(&ioas->lock);
	permitted = ioas->permitted;
	*size = struct_size(caps, ranges.iova_ranges, permitted->num);
	caps = kzalloc(*size, GFP_KERNEL_ACCOUNT);
	if (!caps)
		return NULL;
	caps->avail.header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
	caps->avail.header.version = 1;
	caps->avail.header.next = start + offsetof(struct info_caps, ranges);
	/* Not U16_MAX, as type1 has it: some programs believe it. */
	caps->avail.avail = U32_MAX;
	caps->ranges.header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
	caps->ranges.header.version = 1;
	caps->ranges.nr_iovas = permitted->num;
	for (i = 0; i < permitted->num; i++) {
		caps->ranges.iova_ranges[i].start = permitted->range[i].first;
		caps->ranges.iova_ranges[i].end = permitted->range[i].last;
	}
	return caps;
}

static int type1_get_info(struct iommufd_ctx *ictx, void __user *arg)
{
	size_t size = offsetofend(struct vfio_iommu_type1_info, iova_pgsizes);
	struct vfio_iommu_type1_info info = {};
	struct info_caps *caps;
	struct ioasid *ioas;
	size_t caps_size;
	int rc = 0;

	BUILD_BUG_ON(offsetof(struct info_caps, ranges) % sizeof(u64));

	if (copy_from_user(&info, arg, size))
		return -EFAULT;
	if (info.argsz < size)
		return -EINVAL;
	size = min_t(size_t, info.argsz, sizeof(info));
	ioas = get_compat(ictx);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info.iova_pgsizes = page_sizes(ioas);
	caps = make_caps(ioas, &caps_size);
	ioasid_put(ioas);
	if (!caps)
		return -ENOMEM;

	/* All or none: who has too little room is told how much it takes. */
	info.cap_offset = 0;
	if (info.argsz >= sizeof(info) + caps_size) {
		info.cap_offset = sizeof(info);
		if (copy_to_user(arg + sizeof(info), caps, caps_size))
			rc = -EFAULT;
	}
	info.argsz = sizeof(info) + caps_size;
	kfree(caps);
	if (!rc && copy_to_user(arg, &info, size))
		rc = -EFAULT;
	return rc;
}

/* Whether KVM may leave the caches alone */
static int all_coherent(struct iommufd_ctx *ictx)
{
	const struct iommufd_hw_pagetable *pt;
	struct ioasid *ioas;
	int coherent = 1;

	ioas = get_compat(ictx);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	scoped_guard(mutex, &ioas->lock)
		list_for_each_entry(pt, &ioas->tables, entry)
			if (!pt->coherent)
				coherent = 0;
	ioasid_put(ioas);
	return coherent;
}

static int type1_check_extension(struct iommufd_ctx *ictx, unsigned long arg)
{
	switch (arg) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return !READ_ONCE(ictx->no_iommu);
	case VFIO_NOIOMMU_IOMMU:
		return IS_ENABLED(CONFIG_VFIO_NOIOMMU);
	case VFIO_DMA_CC_IOMMU:
		return all_coherent(ictx);
	default:
		return 0;
	}
}

static int type1_set_iommu(struct iommufd_ctx *ictx, unsigned long type)
{
	bool no_iommu = READ_ONCE(ictx->no_iommu);
	struct ioasid *ioas;
	int rc = 0;

	if (IS_ENABLED(CONFIG_VFIO_NOIOMMU) && no_iommu &&
	    type == VFIO_NOIOMMU_IOMMU)
		return capable(CAP_SYS_RAWIO) ? 0 : -EPERM;
	if (no_iommu ||
	    (type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU))
		return -EINVAL;
	ioas = get_compat(ictx);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	if (type == VFIO_TYPE1_IOMMU)
		rc = ioasid_set_single_pages(ioas, true);
	ioasid_put(ioas);
	return rc;
}

/**
 * ioasid_type1_ioctl - Do an ioctl of a VFIO container
 * @ictx: The context
 * @cmd: Its number, from the user
 * @arg: Its argument
 *
 * Return: What the ioctl returns; -ENOTTY: it is none of these.
 */
int ioasid_type1_ioctl(struct iommufd_ctx *ictx, unsigned int cmd,
		       unsigned long arg)
{
	void __user *uptr = (void __user *)arg;

	switch (cmd) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return type1_check_extension(ictx, arg);
	case VFIO_SET_IOMMU:
		return type1_set_iommu(ictx, arg);
	case VFIO_IOMMU_GET_INFO:
		return type1_get_info(ictx, uptr);
	case VFIO_IOMMU_MAP_DMA:
		return type1_map(ictx, uptr);
	case VFIO_IOMMU_UNMAP_DMA:
		return type1_unmap(ictx, uptr);
	default:
		return -ENOTTY;
	}
}
