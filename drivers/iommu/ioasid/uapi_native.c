// SPDX-License-Identifier: GPL-2.0-only
/*
 * The native ioctls of include/uapi/linux/iommu.h: they translate arguments and
 * check them in the documented order. Sizes, unknown flags and the copying of
 * the structures are the dispatcher's.
 *
 * No lock is held here. User memory is not touched while a device is held.
 */
#include <linux/log2.h>
#include <linux/overflow.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "ioasid_private.h"

static int native_check_extension(struct ioasid_ucmd *ucmd)
{
	struct iommu_check_extension *cmd = ucmd->cmd;
	u32 id;

	/* A known extension that has no argument gets none. */
	if (cmd->extension && cmd->extension <= IOMMU_EXT_DEVICE_EEH &&
	    cmd->extension != IOMMU_EXT_TYPE_OPS && cmd->arg)
		return -EINVAL;

	switch (cmd->extension) {
	case IOMMU_EXT_MAP_TYPE1V2:
	case IOMMU_EXT_UNMAP_ALL:
	case IOMMU_EXT_MAP_ALLOC_IOVA:
	case IOMMU_EXT_MULTIDEV_GROUP:
	case IOMMU_EXT_DIRTY_TRACKING:
	case IOMMU_EXT_MAP_REPLACE:
	case IOMMU_EXT_EVENT_FD:
	case IOMMU_EXT_ALLOC_RANGES:
		cmd->value = 1;
		break;
	case IOMMU_EXT_NESTING:
		cmd->value = IOMMU_IOASID_MAX_DEPTH;
		break;
	case IOMMU_EXT_MAP_BATCH:
		cmd->value = IOMMU_MAP_BATCH_MAX;
		break;
	case IOMMU_EXT_WINDOWS:
		cmd->value = IOMMU_IOASID_MAX_WINDOWS;
		break;
	case IOMMU_EXT_DEVICE_EEH:
		cmd->value = ioasid_backends_have_eeh();
		break;
	case IOMMU_EXT_URING_CMD:
		cmd->value = IS_ENABLED(CONFIG_IO_URING);
		break;
	case IOMMU_EXT_MAP_FILE:
		cmd->value = IS_ENABLED(CONFIG_MEMFD_CREATE);
		break;
	case IOMMU_EXT_TYPE_OPS:
		cmd->value = ioasid_type_ops(cmd->arg);
		break;
	case IOMMU_EXT_GROUP_IOASID:
		cmd->value = iommufd_vfio_compat_ioas_get_id(ucmd->ictx, &id) ?
				     0 : id;
		break;
	default:
		cmd->value = 0;
		break;
	}
	return 0;
}

/* ---- devices ---- */

static int copy_array(u64 uptr, u32 room, const void *array, u32 num,
		      size_t size)
{
	if (copy_to_user(u64_to_user_ptr(uptr), array, min(room, num) * size))
		return -EFAULT;
	return 0;
}

static int copy_ranges(u64 uptr, u32 room, const struct iova_ranges *ranges)
{
	u32 num = min(room, ranges->num);
	struct iommu_range *array;
	unsigned int i;
	int rc;

	if (!num)
		return 0;
	array = kcalloc(num, sizeof(*array), GFP_KERNEL_ACCOUNT);
	if (!array)
		return -ENOMEM;
	for (i = 0; i < num; i++) {
		array[i].first = ranges->range[i].first;
		array[i].last = ranges->range[i].last;
	}
	rc = copy_array(uptr, room, array, num, sizeof(*array));
	kfree(array);
	return rc;
}

static u64 device_caps(struct iommufd_device *idev, bool viable)
{
	u64 caps = 0;

	if (viable)
		caps |= IOMMU_DEVICE_CAP_VIABLE;
	if (idev->can_enforce)
		caps |= IOMMU_DEVICE_CAP_ENFORCE_SNOOP;
	if (idev->backend->isolated_msi(idev))
		caps |= IOMMU_DEVICE_CAP_ISOLATED_MSI;
	if (device_iommu_capable(idev->dev, IOMMU_CAP_DIRTY_TRACKING))
		caps |= IOMMU_DEVICE_CAP_DIRTY;
	return caps;
}

struct device_details {
	struct iommu_group_member *members;
	unsigned int num_members;
	struct iova_ranges *ranges;
};

static int get_device_details(struct iommufd_device *idev,
			      struct iommu_device_info *cmd,
			      struct device_details *details)
{
	struct ioasid_window_limits windows = {};
	struct iommu_domain *domain;
	unsigned int max_pasids;
	bool viable;
	int rc;

	domain = pgtable_alloc_domain(idev, true, false);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	rc = idev->backend->ranges(idev, domain, &details->ranges);
	cmd->pgsize_bitmap = domain->pgsize_bitmap;
	cmd->addr_width = fls64(domain->geometry.aperture_end);
	iommu_domain_free(domain);
	if (rc)
		return rc;
	rc = ioasid_device_members(idev, &details->members,
				   &details->num_members, &viable);
	if (rc)
		return rc;

	max_pasids = idev->dev->iommu->max_pasids;
	cmd->pasid_bits = max_pasids ? ilog2(max_pasids) : 0;
	cmd->group_id = iommu_group_id(idev->group->group);
	cmd->cookie = READ_ONCE(idev->cookie);
	cmd->caps = device_caps(idev, viable);
	if (idev->backend->windows)
		idev->backend->windows(idev, &windows);
	cmd->num_windows = windows.num;
	cmd->window_levels = windows.levels;
	cmd->window_page_sizes = windows.page_sizes;
	return 0;
}

static int native_device_get_info(struct ioasid_ucmd *ucmd)
{
	struct iommu_device_info *cmd = ucmd->cmd;
	struct device_details details = {};
	struct iommufd_device *idev;
	int rc;

	idev = ioasid_get_device(ucmd->ictx, cmd->dev_id);
	if (IS_ERR(idev))
		return PTR_ERR(idev);
	rc = get_device_details(idev, cmd, &details);
	ioasid_object_put(ucmd->ictx, &idev->obj);
	if (rc)
		goto out_free;

	rc = copy_ranges(cmd->ranges, cmd->num_ranges, details.ranges);
	if (!rc)
		rc = copy_array(cmd->members, cmd->num_members, details.members,
				details.num_members, sizeof(*details.members));
	cmd->num_ranges = details.ranges->num;
	cmd->num_members = details.num_members;
out_free:
	kfree(details.members);
	kfree(details.ranges);
	return rc;
}

static int native_device_set_cookie(struct ioasid_ucmd *ucmd)
{
	struct iommu_device_cookie *cmd = ucmd->cmd;
	struct iommufd_device *idev;

	if (cmd->__reserved)
		return -EINVAL;
	idev = ioasid_get_device(ucmd->ictx, cmd->dev_id);
	if (IS_ERR(idev))
		return PTR_ERR(idev);
	WRITE_ONCE(idev->cookie, cmd->cookie);
	ioasid_object_put(ucmd->ictx, &idev->obj);
	return 0;
}

static int native_device_eeh(struct ioasid_ucmd *ucmd)
{
	struct iommu_device_eeh *cmd = ucmd->cmd;
	struct iommufd_device *idev;
	int rc;

	if (cmd->__reserved || cmd->op > IOMMU_EEH_INJECT_ERR)
		return -EINVAL;
	if (cmd->op != IOMMU_EEH_INJECT_ERR &&
	    (cmd->err_type || cmd->err_func || cmd->err_addr || cmd->err_mask))
		return -EINVAL;
	idev = ioasid_get_device(ucmd->ictx, cmd->dev_id);
	if (IS_ERR(idev))
		return PTR_ERR(idev);
	rc = idev->backend->eeh ? idev->backend->eeh(idev, cmd) : -EOPNOTSUPP;
	ioasid_object_put(ucmd->ictx, &idev->obj);
	return rc;
}

/* ---- address spaces ---- */

static int check_exact(const struct iova_ranges *ranges, unsigned int width)
{
	unsigned long last = width && width < BITS_PER_LONG ?
				     (1UL << width) - 1 : ULONG_MAX;
	unsigned int i;

	for (i = 0; i < ranges->num; i++) {
		const struct iova_range *range = &ranges->range[i];

		if (range->first > range->last || range->last > last)
			return -EINVAL;
		/* A gap is at least a byte, so this does not wrap. */
		if (i && (range->first <= range[-1].last ||
			  range->first - 1 == range[-1].last))
			return -EINVAL;
	}
	return 0;
}

static int load_exact(const struct iommu_ioasid_alloc *cmd,
		      struct iova_ranges *ranges)
{
	struct iommu_range __user *user = u64_to_user_ptr(cmd->ranges);
	struct iommu_range range;
	u32 i;

	for (i = 0; i < cmd->num_ranges; i++) {
		if (copy_from_user(&range, &user[i], sizeof(range)))
			return -EFAULT;
		if (overflows_type(range.first, ranges->range[i].first) ||
		    overflows_type(range.last, ranges->range[i].last))
			return -EOVERFLOW;
		ranges->range[i].first = range.first;
		ranges->range[i].last = range.last;
	}
	ranges->num = cmd->num_ranges;
	return check_exact(ranges, cmd->addr_width);
}

/* NULL for none */
static struct iova_ranges *get_exact(const struct iommu_ioasid_alloc *cmd)
{
	struct iova_ranges *ranges;
	int rc;

	if (!cmd->num_ranges)
		return NULL;
	if (cmd->num_ranges > IOMMU_IOASID_MAX_RANGES)
		return ERR_PTR(-EINVAL);
	ranges = iova_ranges_alloc(cmd->num_ranges);
	if (!ranges)
		return ERR_PTR(-ENOMEM);
	rc = load_exact(cmd, ranges);
	if (rc) {
		kfree(ranges);
		return ERR_PTR(rc);
	}
	return ranges;
}

static int check_alloc(const struct iommu_ioasid_alloc *cmd)
{
	u64 ops = ioasid_type_ops(cmd->type);
	unsigned long page_size;

	if (!ops)
		return -EOPNOTSUPP;
	if (!(ops & (cmd->parent ? BIT_ULL(IOMMU_IOASID_OP_CHILD) :
				   BIT_ULL(IOMMU_IOASID_OP_ROOT))))
		return -EINVAL;
	if ((cmd->addr_width && cmd->addr_width < 12) ||
	    cmd->addr_width > 64 || cmd->snoop > IOMMU_SNOOP_OFF)
		return -EINVAL;
	if (cmd->flags & IOMMU_IOASID_ALLOC_DIRTY &&
	    !(ops & BIT_ULL(IOMMU_IOASID_OP_DIRTY)))
		return -EINVAL;
	if (overflows_type(cmd->page_size, page_size))
		return -EOVERFLOW;
	if (cmd->page_size && (!is_power_of_2(cmd->page_size) ||
			       cmd->page_size < PAGE_SIZE))
		return -EINVAL;
	return 0;
}

static struct ioasid *get_parent(struct iommufd_ctx *ictx, u32 id)
{
	struct ioasid *parent;

	if (!id)
		return NULL;
	parent = ioasid_get(ictx, id);
	if (!IS_ERR(parent) && (!ioasid_may(parent, IOMMU_IOASID_OP_PARENT) ||
				parent->depth + 1 >= IOMMU_IOASID_MAX_DEPTH)) {
		ioasid_put(parent);
		parent = ERR_PTR(-EINVAL);
	}
	return parent;
}

static int native_ioasid_alloc(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioasid_alloc *cmd = ucmd->cmd;
	struct ioasid_params params = {
		.type = cmd->type,
		.snoop = cmd->snoop,
		.addr_width = cmd->addr_width,
		.dirty = cmd->flags & IOMMU_IOASID_ALLOC_DIRTY,
		.page_size = cmd->page_size,
	};
	struct ioasid *ioas;
	int rc;

	rc = check_alloc(cmd);
	if (rc)
		return rc;
	params.ranges = get_exact(cmd);
	if (IS_ERR(params.ranges))
		return PTR_ERR(params.ranges);
	params.parent = get_parent(ucmd->ictx, cmd->parent);
	ioas = IS_ERR(params.parent) ? params.parent :
				       ioasid_alloc(ucmd->ictx, &params);
	if (!IS_ERR_OR_NULL(params.parent))
		ioasid_put(params.parent);
	if (IS_ERR(ioas)) {
		kfree(params.ranges);
		return PTR_ERR(ioas);
	}
	ucmd->new_obj = &ioas->obj;
	cmd->ioasid = ioas->obj.id;
	return 0;
}

static int native_ioasid_free(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioasid_free *cmd = ucmd->cmd;
	struct ioasid *ioas;
	int rc;

	if (cmd->__reserved)
		return -EINVAL;
	ioas = ioasid_get(ucmd->ictx, cmd->ioasid);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = ioasid_object_retire(ucmd->ictx, &ioas->obj);
	if (!rc)
		ioasid_destroy(ioas);
	return rc;
}

/* Only in windows that the user has asked for, pages may be smaller than the CPU's. */
static unsigned long native_alignment(const struct ioasid *ioas)
{
	return max(READ_ONCE(ioas->alignment),
		   READ_ONCE(ioas->window_page) ?: PAGE_SIZE);
}

/* A copy, so that user memory is not touched with the lock held. */
static struct iova_ranges *get_ioasid_details(struct ioasid *ioas,
					      struct iommu_ioasid_info *cmd)
{
	struct iova_ranges *ranges;

	guard(mutex)(&ioas->lock);
	ranges = iova_ranges_dup(ioas->permitted);
	if (!ranges)
		return NULL;
	cmd->type = ioas->type;
	cmd->parent = ioas->parent ? ioas->parent->obj.id : 0;
	cmd->addr_width = ioas->addr_width;
	cmd->snoop = ioas->snoop;
	cmd->num_devices = READ_ONCE(ioas->num_devices);
	cmd->num_accesses = ioas->num_accesses;
	cmd->num_tables = ioas->num_tables;
	cmd->num_mappings = ioas->num_mappings;
	cmd->mapped_bytes = ioas->mapped_bytes;
	cmd->pinned_bytes = ioas->pinned_bytes;
	cmd->alignment = native_alignment(ioas);
	cmd->state = (ioas->dirty ? IOMMU_IOASID_STATE_DIRTY : 0) |
		     (ioas->tracking ? IOMMU_IOASID_STATE_TRACKING : 0);
	scoped_guard(mutex, &ioas->root->tree_lock) {
		cmd->num_children = ioas->num_children;
		cmd->num_shadows = ioas->num_shadows;
	}
	return ranges;
}

static int native_ioasid_get_info(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioasid_info *cmd = ucmd->cmd;
	struct iova_ranges *ranges;
	struct ioasid *ioas;
	int rc;

	ioas = ioasid_get(ucmd->ictx, cmd->ioasid);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	ranges = get_ioasid_details(ioas, cmd);
	ioasid_put(ioas);
	if (!ranges)
		return -ENOMEM;
	rc = copy_ranges(cmd->ranges, cmd->num_ranges, ranges);
	cmd->num_ranges = ranges->num;
	kfree(ranges);
	return rc;
}

/* ---- windows ---- */

static int check_window_args(const struct iommu_window_create *cmd)
{
	unsigned long last;

	if (overflows_type(cmd->iova, last) || overflows_type(cmd->length, last) ||
	    overflows_type(cmd->page_size, last))
		return -EOVERFLOW;
	if (cmd->page_size < SZ_4K || !is_power_of_2(cmd->page_size) ||
	    !cmd->length || !IS_ALIGNED(cmd->iova | cmd->length, cmd->page_size))
		return -EINVAL;
	if (!(cmd->flags & IOMMU_WINDOW_CREATE_FIXED) && cmd->iova)
		return -EINVAL;
	if (check_add_overflow((unsigned long)cmd->iova,
			       (unsigned long)cmd->length - 1, &last))
		return -EOVERFLOW;
	return 0;
}

static int create_window(struct ioasid *ioas, struct iommu_window_create *cmd)
{
	struct ioasid_window window = {
		.first = cmd->iova,
		.last = cmd->iova + cmd->length - 1,
		.page_size = cmd->page_size,
		.levels = cmd->levels,
	};
	int rc;

	/* It may cost memory, and says something about a device. */
	if (!atomic_read(&ioas->ictx->num_bound))
		return -EPERM;
	if (!ioasid_may(ioas, IOMMU_IOASID_OP_WINDOW))
		return -EINVAL;
	rc = check_window_args(cmd);
	if (rc)
		return rc;
	rc = ioasid_window_create(ioas, &window,
				  cmd->flags & IOMMU_WINDOW_CREATE_FIXED);
	cmd->iova = window.first;
	return rc;
}

static int native_window_create(struct ioasid_ucmd *ucmd)
{
	struct iommu_window_create *cmd = ucmd->cmd;
	struct ioasid *ioas;
	int rc;

	ioas = ioasid_get(ucmd->ictx, cmd->ioasid);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = create_window(ioas, cmd);
	ioasid_put(ioas);
	return rc;
}

static int native_window_remove(struct ioasid_ucmd *ucmd)
{
	struct iommu_window_remove *cmd = ucmd->cmd;
	unsigned long first;
	struct ioasid *ioas;
	int rc;

	if (cmd->__reserved)
		return -EINVAL;
	ioas = ioasid_get(ucmd->ictx, cmd->ioasid);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	if (!ioasid_may(ioas, IOMMU_IOASID_OP_WINDOW))
		rc = -EINVAL;
	else if (overflows_type(cmd->iova, first))
		rc = -ENOENT;
	else
		rc = ioasid_window_remove(ioas, cmd->iova);
	ioasid_put(ioas);
	return rc;
}

/* ---- mappings ---- */

static __always_inline int check_addresses(u64 iova, u64 src, u64 length)
{
	unsigned long last;

	if (overflows_type(iova, last) || overflows_type(src, last) ||
	    overflows_type(length, last))
		return -EOVERFLOW;
	if (!length)
		return -EINVAL;
	if (check_add_overflow((unsigned long)iova, (unsigned long)length - 1,
			       &last) ||
	    check_add_overflow((unsigned long)src, (unsigned long)length - 1,
			       &last))
		return -EOVERFLOW;
	return 0;
}

/* What only flags that are seldom set allow or forbid */
static noinline bool flags_fit(const struct ioasid *ioas,
			       const struct iommu_batch_entry *cmd)
{
	const u32 choose = IOMMU_MAP_DMA_ALLOC_IOVA;

	if (!(cmd->flags & IOMMU_MAP_DMA_FILE) && cmd->fd)
		return false;
	if (cmd->flags & choose && cmd->iova)
		return false;
	if (cmd->flags & IOMMU_MAP_DMA_FILE && ioas->parent)
		return false;
	return !(cmd->flags & IOMMU_MAP_DMA_REPLACE) ||
	       !(cmd->flags & choose || ioas->dirty);
}

static __always_inline int check_map(const struct ioasid *ioas,
				     const struct iommu_batch_entry *cmd)
{
	const u32 plain = IOMMU_MAP_DMA_READ | IOMMU_MAP_DMA_WRITE;
	int rc;

	rc = check_addresses(cmd->iova, cmd->src, cmd->length);
	if (rc)
		return rc;
	if (!(cmd->flags & plain))
		return -EINVAL;
	if (unlikely(cmd->flags & ~plain || cmd->fd) && !flags_fit(ioas, cmd))
		return -EINVAL;
	if (!IS_ALIGNED(cmd->iova | cmd->src | cmd->length,
			native_alignment(ioas)))
		return -EINVAL;
	return 0;
}

/*
 * Large pages need the address and the source to agree in the low bits. Ask for
 * that up to the largest page that the length could use.
 */
static unsigned long large_alignment(unsigned long length)
{
	unsigned long align = rounddown_pow_of_two(length);

	return clamp(align, PAGE_SIZE, (unsigned long)SZ_1G);
}

static struct pinned_mem *source_of(const struct ioasid *ioas,
				    const struct iommu_batch_entry *cmd)
{
	bool writable = cmd->flags & IOMMU_MAP_DMA_WRITE;

	if (unlikely(cmd->flags & IOMMU_MAP_DMA_FILE))
		return pinned_mem_from_file(ioas->ictx, cmd->fd, cmd->src,
					    cmd->length, writable,
					    PINNED_MEM_ACCOUNT_MM);
	return pinned_mem_from_user(ioas->ictx, cmd->src, cmd->length, writable,
				    PINNED_MEM_ACCOUNT_MM);
}

static void put_source(const struct ioasid_map *args)
{
	if (args->mem)
		pinned_mem_put(args->mem);
}

/* What the user wants to have mapped. On success put_source() undoes it. */
static __always_inline int get_map(const struct ioasid *ioas,
				   const struct iommu_batch_entry *cmd,
				   struct ioasid_map *args)
{
	int rc;

	rc = check_map(ioas, cmd);
	if (rc)
		return rc;
	if (ioas->parent) {
		/* Only what the parent maps is found by its address. */
		args->mem = NULL;
		args->offset = cmd->src;
	} else {
		args->mem = source_of(ioas, cmd);
		if (IS_ERR(args->mem))
			return PTR_ERR(args->mem);
		args->offset = offset_in_page(cmd->src);
	}
	args->first = cmd->iova;
	args->length = cmd->length;
	args->alloc = cmd->flags & IOMMU_MAP_DMA_ALLOC_IOVA;
	if (unlikely(args->alloc)) {
		args->phase = cmd->src;
		args->align = large_alignment(args->length);
		args->least_align = PAGE_SIZE;
	}
	args->replace = cmd->flags & IOMMU_MAP_DMA_REPLACE;
	args->hold = false;
	args->prot = (cmd->flags & IOMMU_MAP_DMA_WRITE ? IOMMU_WRITE : 0) |
		     (cmd->flags & IOMMU_MAP_DMA_READ ? IOMMU_READ : 0);
	return 0;
}

static __always_inline int map_ioasid(struct ioasid *ioas,
				      struct iommu_map_dma *cmd)
{
	const struct iommu_batch_entry entry = {
		.flags = cmd->flags,
		.fd = cmd->fd,
		.iova = cmd->iova,
		.src = cmd->src,
		.length = cmd->length,
	};
	struct ioasid_map args __uninitialized;
	int rc;

	rc = get_map(ioas, &entry, &args);
	if (rc)
		return rc;
	rc = ioasid_map(ioas, &args);
	if (rc)
		put_source(&args);
	else
		cmd->iova = args.first;
	return rc;
}

/* Who has no device may not make the kernel spend memory on mappings. */
static int may_map(const struct ioasid *ioas)
{
	if (!atomic_read(&ioas->ictx->num_bound))
		return -EPERM;
	return ioasid_may(ioas, IOMMU_IOASID_OP_MAP) ? 0 : -EINVAL;
}

static int native_map_dma(struct ioasid_ucmd *ucmd)
{
	struct iommu_map_dma *cmd = ucmd->cmd;
	struct ioasid *ioas;
	int rc;

	ioas = ioasid_get(ucmd->ictx, cmd->ioasid);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = may_map(ioas);
	if (!rc)
		rc = map_ioasid(ioas, cmd);
	ioasid_put(ioas);
	return rc;
}

/* Checks what both commands that fill a bitmap have, in the documented order. */
static int check_report(u64 iova, u64 length, u64 page_size, u64 bitmap,
			struct dirty_report *report)
{
	if (overflows_type(iova, report->first) ||
	    overflows_type(length, report->last) ||
	    overflows_type(page_size, report->last))
		return -EOVERFLOW;
	if (!is_power_of_2(page_size) || page_size < PAGE_SIZE || !length ||
	    !IS_ALIGNED(iova | length, page_size))
		return -EINVAL;
	report->first = iova;
	if (check_add_overflow(report->first, (unsigned long)length - 1,
			       &report->last))
		return -EOVERFLOW;
	report->shift = ilog2(page_size);
	report->bitmap = u64_to_user_ptr(bitmap);
	return 0;
}

static noinline int unmap_and_report(struct ioasid *ioas,
				     struct iommu_unmap_dma *cmd, u64 *unmapped)
{
	struct dirty_report report;
	int rc;

	rc = check_report(cmd->iova, cmd->length, cmd->page_size, cmd->bitmap,
			  &report);
	if (rc)
		return rc;
	if (!READ_ONCE(ioas->tracking))
		return -EINVAL;
	rc = dirty_report_begin(&report);
	if (rc)
		return rc;
	rc = ioasid_unmap(ioas, report.first, report.last, &report, false,
			  unmapped);
	dirty_report_end(&report);
	return rc;
}

static __always_inline int check_unmap(const struct ioasid *ioas, u64 iova,
				       u64 length, unsigned long *last)
{
	if (overflows_type(iova, *last) || overflows_type(length, *last))
		return -EOVERFLOW;
	if (!length || !IS_ALIGNED(iova | length, native_alignment(ioas)))
		return -EINVAL;
	return check_add_overflow((unsigned long)iova,
				  (unsigned long)length - 1, last) ?
		       -EOVERFLOW : 0;
}

static __always_inline int unmap_ioasid(struct ioasid *ioas,
					struct iommu_unmap_dma *cmd)
{
	bool all = cmd->flags & IOMMU_UNMAP_DMA_ALL;
	bool dirty = cmd->flags & IOMMU_UNMAP_DMA_GET_DIRTY;
	bool revoke = cmd->flags & IOMMU_UNMAP_DMA_REVOKE;
	unsigned long last = ULONG_MAX;
	u64 unmapped;
	int rc;

	if (overflows_type(cmd->iova, last) || overflows_type(cmd->length, last))
		return -EOVERFLOW;
	if (dirty ? all || revoke : cmd->page_size || cmd->bitmap)
		return -EINVAL;
	if (all)
		rc = cmd->iova || cmd->length ? -EINVAL : 0;
	else
		rc = check_unmap(ioas, cmd->iova, cmd->length, &last);
	if (rc)
		return rc;
	if (dirty)
		rc = unmap_and_report(ioas, cmd, &unmapped);
	else
		rc = ioasid_unmap(ioas, cmd->iova, last, NULL, revoke,
				  &unmapped);
	if (!rc)
		cmd->length = unmapped;
	return rc;
}

static int native_unmap_dma(struct ioasid_ucmd *ucmd)
{
	struct iommu_unmap_dma *cmd = ucmd->cmd;
	struct ioasid *ioas;
	int rc;

	if (cmd->__reserved)
		return -EINVAL;
	ioas = ioasid_get(ucmd->ictx, cmd->ioasid);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	if (!ioasid_may(ioas, IOMMU_IOASID_OP_MAP))
		rc = -EINVAL;
	else
		rc = unmap_ioasid(ioas, cmd);
	ioasid_put(ioas);
	return rc;
}

/* ---- batches ---- */

#define BATCH_MAP_FLAGS                                                   \
	(IOMMU_MAP_DMA_READ | IOMMU_MAP_DMA_WRITE |                       \
	 IOMMU_MAP_DMA_FILE | IOMMU_MAP_DMA_REPLACE)

/* Entries that are taken together: one flush */
#define BATCH_CHUNK 512

struct batch {
	struct ioasid *ioas;
	struct ioasid_batch_entry entry[BATCH_CHUNK];
	struct iommu_batch_entry user[BATCH_CHUNK];
};

static int get_batch_unmap(const struct ioasid *ioas,
			   const struct iommu_batch_entry *cmd,
			   struct ioasid_batch_entry *entry)
{
	unsigned long last;

	if (cmd->flags != IOMMU_BATCH_ENTRY_UNMAP)
		return -EOPNOTSUPP;
	if (cmd->fd || cmd->src)
		return -EINVAL;
	entry->unmap = true;
	entry->pin_rc = 0;
	entry->args.first = cmd->iova;
	entry->args.length = cmd->length;
	return check_unmap(ioas, cmd->iova, cmd->length, &last);
}

static int get_batch_map(struct ioasid *ioas,
			 const struct iommu_batch_entry *cmd,
			 struct ioasid_batch_entry *entry)
{
	int rc;

	if (cmd->flags & ~BATCH_MAP_FLAGS)
		return -EOPNOTSUPP;
	rc = may_map(ioas);
	if (rc)
		return rc;
	entry->unmap = false;
	entry->pin_rc = 0;
	rc = get_map(ioas, cmd, &entry->args);
	if (rc)
		return rc;
	rc = ioasid_map_prepare(ioas, &entry->args);
	if (rc)
		put_source(&entry->args);
	return rc;
}

/* Return: how many entries there are now; why not more is in @rc. */
static u32 get_entries(struct batch *batch, u32 num, int *rc)
{
	const struct iommu_batch_entry *cmd;
	u32 i;

	*rc = 0;
	for (i = 0; i < num; i++) {
		cmd = &batch->user[i];
		if (cmd->flags & IOMMU_BATCH_ENTRY_UNMAP)
			*rc = get_batch_unmap(batch->ioas, cmd,
					      &batch->entry[i]);
		else
			*rc = get_batch_map(batch->ioas, cmd, &batch->entry[i]);
		if (*rc)
			break;
		cond_resched();
	}
	return i;
}

static int run_chunk(struct batch *batch, u32 num, u32 *done, u64 *unmapped)
{
	int rc = 0, rc_get;
	u32 i;

	*done = 0;
	num = get_entries(batch, num, &rc_get);
	if (num)
		rc = ioasid_batch(batch->ioas, batch->entry, num, done,
				  unmapped);
	for (i = *done; i < num; i++)
		if (!batch->entry[i].unmap)
			put_source(&batch->entry[i].args);
	return rc ?: rc_get;
}

static int run_batch(struct ioasid *ioas, struct iommu_map_batch *cmd, u32 total)
{
	struct iommu_batch_entry __user *user = u64_to_user_ptr(cmd->entries);
	struct batch *batch;
	u32 num, done;
	int rc = 0;

	batch = kvmalloc_obj(*batch, GFP_KERNEL_ACCOUNT);
	if (!batch)
		return -ENOMEM;
	batch->ioas = ioas;
	while (!rc && cmd->num_entries < total) {
		num = min(total - cmd->num_entries, BATCH_CHUNK);
		rc = -EFAULT;
		if (copy_from_user(batch->user, user + cmd->num_entries,
				   num * sizeof(*user)))
			break;
		rc = run_chunk(batch, num, &done, &cmd->unmapped);
		cmd->num_entries += done;
	}
	kvfree(batch);
	return rc;
}

static int native_map_batch(struct ioasid_ucmd *ucmd)
{
	struct iommu_map_batch *cmd = ucmd->cmd;
	u32 total = cmd->num_entries;
	struct ioasid *ioas;
	int rc = -EINVAL;

	cmd->num_entries = 0;
	cmd->unmapped = 0;
	ioas = ioasid_get(ucmd->ictx, cmd->ioasid);
	if (IS_ERR(ioas)) {
		rc = PTR_ERR(ioas);
	} else {
		if (total && total <= IOMMU_MAP_BATCH_MAX)
			rc = run_batch(ioas, cmd, total);
		ioasid_put(ioas);
	}
	/* What has taken effect is said in any case. */
	if (rc && ioasid_respond(ucmd, sizeof(*cmd)))
		rc = -EFAULT;
	return rc;
}

static int native_event_fd(struct ioasid_ucmd *ucmd)
{
	struct iommu_event_fd *cmd = ucmd->cmd;

	if (cmd->__reserved)
		return -EINVAL;
	return ioasid_event_fd(ucmd);
}

/* ---- dirty tracking ---- */

/* One that may be tracked, for ioasid_put(), or an error pointer */
static struct ioasid *native_get_dirty(struct iommufd_ctx *ictx, u32 id)
{
	struct ioasid *ioas = ioasid_get(ictx, id);

	if (IS_ERR(ioas) || (ioasid_may(ioas, IOMMU_IOASID_OP_DIRTY) &&
			     ioas->dirty))
		return ioas;
	ioasid_put(ioas);
	return ERR_PTR(-EINVAL);
}

static int native_track(struct iommufd_ctx *ictx, u32 id,
			int (*change)(struct ioasid *ioas))
{
	struct ioasid *ioas = native_get_dirty(ictx, id);
	int rc;

	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = change(ioas);
	ioasid_put(ioas);
	return rc;
}

static int native_dirty_start(struct ioasid_ucmd *ucmd)
{
	struct iommu_dirty_start *cmd = ucmd->cmd;

	if (cmd->__reserved)
		return -EINVAL;
	return native_track(ucmd->ictx, cmd->ioasid, dirty_start);
}

static int native_dirty_stop(struct ioasid_ucmd *ucmd)
{
	struct iommu_dirty_stop *cmd = ucmd->cmd;

	if (cmd->__reserved)
		return -EINVAL;
	return native_track(ucmd->ictx, cmd->ioasid, dirty_stop);
}

static int native_dirty_get(struct ioasid_ucmd *ucmd)
{
	struct iommu_dirty_get *cmd = ucmd->cmd;
	struct dirty_report report;
	struct ioasid *ioas;
	int rc;

	if (cmd->__reserved)
		return -EINVAL;
	ioas = native_get_dirty(ucmd->ictx, cmd->ioasid);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = check_report(cmd->iova, cmd->length, cmd->page_size, cmd->bitmap,
			  &report);
	if (!rc)
		rc = dirty_get(ioas, &report,
			       !(cmd->flags & IOMMU_DIRTY_GET_NO_CLEAR));
	ioasid_put(ioas);
	return rc;
}

/* ---- table ---- */

#define IOCTL_AT(_cmd, _struct, _last, _flags, _output_flags, _execute, _result) \
	[(_cmd) - IOMMU_NATIVE_CMD_BASE] = {                            \
		.size = sizeof(_struct) +                               \
			BUILD_BUG_ON_ZERO(sizeof(_struct) >             \
					  IOASID_CMD_MAX),              \
		.min_size = offsetofend(_struct, _last),                \
		.flags = (_flags),                                      \
		.output_flags = (_output_flags),                        \
		.result = (_result),                                    \
		.execute = (_execute),                                  \
	}

#define IOCTL(_cmd, _struct, _last, _flags, _output_flags, _execute)    \
	IOCTL_AT(_cmd, _struct, _last, _flags, _output_flags, _execute, 0)

/* All that it returns is one u64 of the first version. */
#define IOCTL_RESULT(_cmd, _struct, _last, _flags, _output_flags, _execute, \
		     _result)                                           \
	IOCTL_AT(_cmd, _struct, _last, _flags, _output_flags, _execute, \
		 offsetof(_struct, _result))

static_assert(sizeof_field(struct iommu_map_dma, iova) == sizeof(u64));
static_assert(sizeof_field(struct iommu_unmap_dma, length) == sizeof(u64));

static const struct ioasid_ioctl native_ioctls[] = {
	IOCTL(IOMMU_NATIVE_CMD_CHECK_EXTENSION, struct iommu_check_extension,
	      value, 0, IOASID_ALWAYS_OUTPUT, native_check_extension),
	IOCTL(IOMMU_NATIVE_CMD_DEVICE_GET_INFO, struct iommu_device_info,
	      members, 0, IOASID_ALWAYS_OUTPUT, native_device_get_info),
	IOCTL(IOMMU_NATIVE_CMD_DEVICE_SET_COOKIE, struct iommu_device_cookie,
	      cookie, 0, 0, native_device_set_cookie),
	IOCTL(IOMMU_NATIVE_CMD_DEVICE_EEH, struct iommu_device_eeh, err_mask, 0,
	      IOASID_ALWAYS_OUTPUT, native_device_eeh),
	IOCTL(IOMMU_NATIVE_CMD_IOASID_ALLOC, struct iommu_ioasid_alloc,
	      num_ranges, IOMMU_IOASID_ALLOC_DIRTY, IOASID_ALWAYS_OUTPUT,
	      native_ioasid_alloc),
	IOCTL(IOMMU_NATIVE_CMD_IOASID_FREE, struct iommu_ioasid_free,
	      __reserved, 0, 0, native_ioasid_free),
	IOCTL(IOMMU_NATIVE_CMD_IOASID_GET_INFO, struct iommu_ioasid_info,
	      ranges, 0, IOASID_ALWAYS_OUTPUT, native_ioasid_get_info),
	IOCTL(IOMMU_NATIVE_CMD_WINDOW_CREATE, struct iommu_window_create,
	      length, IOMMU_WINDOW_CREATE_FIXED, IOASID_ALWAYS_OUTPUT,
	      native_window_create),
	IOCTL(IOMMU_NATIVE_CMD_WINDOW_REMOVE, struct iommu_window_remove,
	      iova, 0, 0, native_window_remove),
	IOCTL_RESULT(IOMMU_NATIVE_CMD_MAP_DMA, struct iommu_map_dma, length,
		     IOMMU_MAP_DMA_READ | IOMMU_MAP_DMA_WRITE |
		     IOMMU_MAP_DMA_ALLOC_IOVA | IOMMU_MAP_DMA_FILE |
		     IOMMU_MAP_DMA_REPLACE,
		     IOMMU_MAP_DMA_ALLOC_IOVA, native_map_dma, iova),
	IOCTL_RESULT(IOMMU_NATIVE_CMD_UNMAP_DMA, struct iommu_unmap_dma, length,
		     IOMMU_UNMAP_DMA_ALL | IOMMU_UNMAP_DMA_GET_DIRTY |
		     IOMMU_UNMAP_DMA_REVOKE,
		     IOASID_ALWAYS_OUTPUT, native_unmap_dma, length),
	IOCTL(IOMMU_NATIVE_CMD_MAP_BATCH, struct iommu_map_batch, unmapped, 0,
	      IOASID_ALWAYS_OUTPUT, native_map_batch),
	IOCTL(IOMMU_NATIVE_CMD_EVENT_FD, struct iommu_event_fd, __reserved, 0,
	      0, native_event_fd),
	IOCTL(IOMMU_NATIVE_CMD_DIRTY_START, struct iommu_dirty_start,
	      __reserved, 0, 0, native_dirty_start),
	IOCTL(IOMMU_NATIVE_CMD_DIRTY_STOP, struct iommu_dirty_stop, __reserved,
	      0, 0, native_dirty_stop),
	IOCTL(IOMMU_NATIVE_CMD_DIRTY_GET, struct iommu_dirty_get, bitmap,
	      IOMMU_DIRTY_GET_NO_CLEAR, 0, native_dirty_get),
};

/**
 * ioasid_native_ioctl - Find a native ioctl
 * @cmd: Its number, from the user
 *
 * Return: The ioctl or NULL.
 */
const struct ioasid_ioctl *ioasid_native_ioctl(unsigned int cmd)
{
	unsigned int i = cmd - _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_BASE);
	const struct ioasid_ioctl *op;

	if (i >= ARRAY_SIZE(native_ioctls))
		return NULL;
	op = &native_ioctls[array_index_nospec(i, ARRAY_SIZE(native_ioctls))];
	return op->execute ? op : NULL;
}
