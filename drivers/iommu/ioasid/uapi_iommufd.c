// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of include/uapi/linux/iommufd.h, for programs that were written for
 * the kernel's iommufd. An IOAS is an address space whose tables have no PASIDs
 * unless a HWPT with them is asked for; a HWPT is one of its page tables, or one
 * that the user fills.
 *
 * No lock is held here but where user memory is not touched.
 */
#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/log2.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <uapi/linux/iommufd.h>

#include "ioasid_private.h"

#ifdef CONFIG_IOMMUFD_TEST
#include "../iommufd/iommufd_test.h"
#endif

/* ---- objects ---- */

static int iommufd_destroy(struct ioasid_ucmd *ucmd)
{
	struct iommu_destroy *cmd = ucmd->cmd;
	struct iommufd_object *obj;
	int rc;

	obj = ioasid_object_get(ucmd->ictx, cmd->id, IOMMUFD_OBJ_ANY);
	if (IS_ERR(obj))
		return PTR_ERR(obj);
	/* What ends by itself is in use as long as it can be found. */
	if (!ioasid_object_user_owned(obj->type) ||
	    (obj->type == IOMMUFD_OBJ_HWPT_PAGING && to_hwpt(obj)->automatic)) {
		ioasid_object_put(ucmd->ictx, obj);
		return -EBUSY;
	}
	rc = ioasid_object_retire(ucmd->ictx, obj);
	if (!rc)
		ioasid_object_destroy(obj);
	return rc;
}

/* ---- address spaces ---- */

static int iommufd_ioas_alloc(struct ioasid_ucmd *ucmd)
{
	const struct ioasid_params params = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.snoop = IOMMU_SNOOP_AUTO,
	};
	struct iommu_ioas_alloc *cmd = ucmd->cmd;
	struct ioasid *ioas;

	if (cmd->flags)
		return -EOPNOTSUPP;
	ioas = ioasid_alloc(ucmd->ictx, &params);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	ioas->auto_pasid = false;
	ucmd->new_obj = &ioas->obj;
	cmd->out_ioas_id = ioas->obj.id;
	return 0;
}

/* A copy, so that user memory is not touched with the lock held. */
static struct iova_ranges *copy_permitted(struct ioasid *ioas,
					  u64 *alignment)
{
	guard(mutex)(&ioas->lock);
	*alignment = ioas->alignment;
	return iova_ranges_dup(ioas->permitted);
}

static int iommufd_ioas_iova_ranges(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioas_iova_ranges *cmd = ucmd->cmd;
	struct iommu_iova_range __user *user =
		u64_to_user_ptr(cmd->allowed_iovas);
	u32 i, room = cmd->num_iovas;
	struct iova_ranges *ranges;
	struct ioasid *ioas;
	int rc = 0;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	ioas = ioasid_get(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	ranges = copy_permitted(ioas, &cmd->out_iova_alignment);
	ioasid_put(ioas);
	if (!ranges)
		return -ENOMEM;

	for (i = 0; i < min(room, ranges->num) && !rc; i++) {
		struct iommu_iova_range range = {
			.start = ranges->range[i].first,
			.last = ranges->range[i].last,
		};

		if (copy_to_user(&user[i], &range, sizeof(range)))
			rc = -EFAULT;
	}
	cmd->num_iovas = ranges->num;
	kfree(ranges);
	if (!rc)
		rc = ioasid_respond(ucmd, sizeof(*cmd));
	return rc ?: cmd->num_iovas > room ? -EMSGSIZE : 0;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct iova_range *left = a, *right = b;

	return left->first < right->first ? -1 : left->first > right->first;
}

/* What one call may promise; it is sorted in memory of the kernel. */
#define MAX_ALLOWED_RANGES 4096

/* NULL for none */
static struct iova_ranges *load_allowed(const struct iommu_ioas_allow_iovas *cmd)
{
	struct iommu_iova_range __user *user =
		u64_to_user_ptr(cmd->allowed_iovas);
	struct iova_ranges *ranges;
	int rc = -EFAULT;
	u32 i;

	if (!cmd->num_iovas)
		return NULL;
	if (cmd->num_iovas > MAX_ALLOWED_RANGES)
		return ERR_PTR(-ENOSPC);
	ranges = iova_ranges_alloc(cmd->num_iovas);
	if (!ranges)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < cmd->num_iovas; i++) {
		struct iommu_iova_range range;

		if (copy_from_user(&range, &user[i], sizeof(range)))
			goto err_free;
		rc = -EINVAL;
		if (range.start >= range.last || range.last > ULONG_MAX)
			goto err_free;
		ranges->range[i].first = range.start;
		ranges->range[i].last = range.last;
		rc = -EFAULT;
	}
	ranges->num = cmd->num_iovas;
	sort(ranges->range, ranges->num, sizeof(ranges->range[0]),
	     compare_ranges, NULL);
	rc = -EINVAL;
	for (i = 1; i < ranges->num; i++)
		if (ranges->range[i].first <= ranges->range[i - 1].last)
			goto err_free;
	return ranges;

err_free:
	kfree(ranges);
	return ERR_PTR(rc);
}

static int iommufd_ioas_allow_iovas(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioas_allow_iovas *cmd = ucmd->cmd;
	struct iova_ranges *allowed;
	struct ioasid *ioas;
	int rc;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	ioas = ioasid_get(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	allowed = load_allowed(cmd);
	if (IS_ERR(allowed)) {
		rc = PTR_ERR(allowed);
	} else {
		rc = ioasid_set_allowed(ioas, allowed);
		if (rc)
			kfree(allowed);
	}
	ioasid_put(ioas);
	return rc;
}

/* ---- mappings ---- */

#define MAP_FLAGS (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | \
		   IOMMU_IOAS_MAP_READABLE)

static int check_map(u32 flags, u64 iova, u64 length)
{
	if (flags & ~MAP_FLAGS)
		return -EOPNOTSUPP;
	if (iova >= ULONG_MAX || length >= ULONG_MAX)
		return -EOVERFLOW;
	if (!(flags & (IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)) ||
	    !length)
		return -EINVAL;
	return 0;
}

static int map_prot(u32 flags)
{
	return (flags & IOMMU_IOAS_MAP_WRITEABLE ? IOMMU_WRITE : 0) |
	       (flags & IOMMU_IOAS_MAP_READABLE ? IOMMU_READ : 0);
}

/*
 * Programs rely on it that an address is as much aligned as the length, and the
 * source, allow; if there is no such place, huge pages of the source must do.
 */
static int set_alignment(struct ioasid_map *args)
{
	unsigned long align, source = args->phase;

	if (args->length >= ULONG_MAX / 2)
		return -EOVERFLOW;
	align = roundup_pow_of_two(args->length);
	args->align = clamp(align, PAGE_SIZE, (unsigned long)SZ_1G);
	if (source)
		align = min(align, 1UL << __ffs(source));
	args->least_align = clamp(align, PAGE_SIZE, (unsigned long)PMD_SIZE);
	return 0;
}

/* @args says what. On success *@iova is where. */
static int set_place(struct ioasid_map *args, u32 flags, u64 iova)
{
	unsigned long last;

	args->prot = map_prot(flags);
	args->alloc = !(flags & IOMMU_IOAS_MAP_FIXED_IOVA);
	args->first = args->alloc ? 0 : iova;
	if (args->alloc)
		return set_alignment(args);
	return check_add_overflow(args->first, args->length - 1, &last) ?
		       -EOVERFLOW : 0;
}

static int map_one(struct ioasid *ioas, struct pinned_mem *mem,
		   unsigned long source, unsigned long length, u32 flags,
		   u64 *iova)
{
	struct ioasid_map args = {
		.mem = mem,
		.offset = offset_in_page(source),
		.length = length,
		.phase = source,
	};
	int rc;

	if (IS_ERR(mem))
		return PTR_ERR(mem);
	rc = set_place(&args, flags, *iova);
	if (!rc)
		rc = ioasid_map(ioas, &args);
	if (rc)
		pinned_mem_put(mem);
	else
		*iova = args.first;
	return rc;
}

static enum pinned_mem_account account_of(const struct iommufd_ctx *ictx)
{
	if (capable(CAP_IPC_LOCK))
		return PINNED_MEM_ACCOUNT_NONE;
	return READ_ONCE(ictx->account_mm) ? PINNED_MEM_ACCOUNT_MM :
					     PINNED_MEM_ACCOUNT_USER;
}

static int iommufd_ioas_map(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioas_map *cmd = ucmd->cmd;
	unsigned long source, last;
	struct ioasid *ioas;
	int rc;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	rc = check_map(cmd->flags, cmd->iova, cmd->length);
	if (rc)
		return rc;
	source = cmd->user_va;
	if (source != cmd->user_va ||
	    check_add_overflow(source, (unsigned long)cmd->length - 1, &last))
		return -EOVERFLOW;
	ioas = ioasid_get(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = map_one(ioas,
		     pinned_mem_from_user(ucmd->ictx, source, cmd->length,
					  cmd->flags & IOMMU_IOAS_MAP_WRITEABLE,
					  account_of(ucmd->ictx)),
		     source, cmd->length, cmd->flags, &cmd->iova);
	ioasid_put(ioas);
	return rc;
}

static struct pinned_mem *get_source(struct iommufd_ctx *ictx,
				     const struct iommu_ioas_map_file *cmd)
{
	bool writable = cmd->flags & IOMMU_IOAS_MAP_WRITEABLE;
	struct pinned_mem *mem;

	mem = pinned_mem_from_dma_buf(cmd->fd, cmd->start, cmd->length,
				      writable);
	if (PTR_ERR(mem) != -ENOTTY)
		return mem;
	return pinned_mem_from_file(ictx, cmd->fd, cmd->start, cmd->length,
				    writable, account_of(ictx));
}

static int iommufd_ioas_map_file(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioas_map_file *cmd = ucmd->cmd;
	unsigned long start, last;
	struct ioasid *ioas;
	int rc;

	rc = check_map(cmd->flags, cmd->iova, cmd->length);
	if (rc)
		return rc;
	start = cmd->start;
	if (start != cmd->start ||
	    check_add_overflow(start, (unsigned long)cmd->length - 1, &last))
		return -EOVERFLOW;
	ioas = ioasid_get(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = map_one(ioas, get_source(ucmd->ictx, cmd), start, cmd->length,
		     cmd->flags, &cmd->iova);
	ioasid_put(ioas);
	return rc;
}

/* What is shared may not be written if it was not registered for that. */
static int check_parts(const struct ioasid_parts *parts, u32 flags)
{
	unsigned int i;

	if (!(flags & IOMMU_IOAS_MAP_WRITEABLE))
		return 0;
	for (i = 0; i < parts->num; i++) {
		if (!parts->part[i].mem->writable)
			return -EPERM;
		cond_resched();
	}
	return 0;
}

static unsigned long phase_of(const struct ioasid_map *part)
{
	const struct pinned_mem *mem = part->mem;

	return part->offset + (mem->source == PINNED_MEM_USER ?
				       mem->start : mem->start << PAGE_SHIFT);
}

static int copy_range(struct ioasid *src, struct ioasid *dst,
		      struct iommu_ioas_copy *cmd)
{
	struct ioasid_map args = { .length = cmd->length };
	struct ioasid_parts parts;
	unsigned long last;
	int rc;

	if (check_add_overflow((unsigned long)cmd->src_iova,
			       (unsigned long)cmd->length - 1, &last))
		return -EOVERFLOW;
	rc = ioasid_get_parts(src, cmd->src_iova, cmd->length, &parts);
	if (rc)
		return rc;
	args.phase = phase_of(&parts.part[0]);
	rc = check_parts(&parts, cmd->flags);
	if (!rc)
		rc = set_place(&args, cmd->flags, cmd->dst_iova);
	if (!rc)
		rc = ioasid_map_parts(dst, &args, &parts);
	if (!rc)
		cmd->dst_iova = args.first;
	ioasid_put_parts(&parts);
	return rc;
}

static int iommufd_ioas_copy(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioas_copy *cmd = ucmd->cmd;
	struct ioasid *src, *dst;
	int rc;

	if (cmd->flags & ~MAP_FLAGS)
		return -EOPNOTSUPP;
	if (cmd->src_iova >= ULONG_MAX)
		return -EOVERFLOW;
	rc = check_map(cmd->flags, cmd->dst_iova, cmd->length);
	if (rc)
		return rc;
	src = ioasid_get(ucmd->ictx, cmd->src_ioas_id);
	if (IS_ERR(src))
		return PTR_ERR(src);
	dst = ioasid_get(ucmd->ictx, cmd->dst_ioas_id);
	if (IS_ERR(dst)) {
		rc = PTR_ERR(dst);
	} else {
		rc = copy_range(src, dst, cmd);
		ioasid_put(dst);
	}
	ioasid_put(src);
	return rc;
}

static int unmap_range(struct ioasid *ioas, u64 iova, u64 length, u64 *unmapped)
{
	unsigned long last;
	int rc;

	if (!iova && length == U64_MAX)
		return ioasid_unmap(ioas, 0, ULONG_MAX, NULL, false, unmapped);
	if (iova >= ULONG_MAX || length >= ULONG_MAX)
		return -EOVERFLOW;
	if (!length)
		return -EINVAL;
	if (check_add_overflow((unsigned long)iova, (unsigned long)length - 1,
			       &last))
		return -EOVERFLOW;
	rc = ioasid_unmap(ioas, iova, last, NULL, false, unmapped);
	/* Part of a mapping is none. */
	if (rc == -EINVAL || (!rc && !*unmapped))
		rc = -ENOENT;
	return rc;
}

static int iommufd_ioas_unmap(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioas_unmap *cmd = ucmd->cmd;
	struct ioasid *ioas;
	u64 unmapped;
	int rc;

	ioas = ioasid_get(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = unmap_range(ioas, cmd->iova, cmd->length, &unmapped);
	ioasid_put(ioas);
	if (!rc)
		cmd->length = unmapped;
	return rc;
}

/* ---- options ---- */

static int option_rlimit_mode(struct ioasid_ucmd *ucmd)
{
	struct iommu_option *cmd = ucmd->cmd;
	struct iommufd_ctx *ictx = ucmd->ictx;

	if (cmd->object_id)
		return -EOPNOTSUPP;
	switch (cmd->op) {
	case IOMMU_OPTION_OP_GET:
		cmd->val64 = READ_ONCE(ictx->account_mm);
		return 0;
	case IOMMU_OPTION_OP_SET:
		if (!capable(CAP_SYS_RESOURCE))
			return -EPERM;
		if (atomic_read(&ictx->num_objects))
			return -EBUSY;
		if (cmd->val64 > 1)
			return -EINVAL;
		/* An object that comes at this moment sees one or the other. */
		WRITE_ONCE(ictx->account_mm, cmd->val64);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int option_huge_pages(struct ioasid *ioas, struct iommu_option *cmd)
{
	switch (cmd->op) {
	case IOMMU_OPTION_OP_GET:
		cmd->val64 = !READ_ONCE(ioas->single_pages);
		return 0;
	case IOMMU_OPTION_OP_SET:
		if (cmd->val64 > 1)
			return -EINVAL;
		return ioasid_set_single_pages(ioas, !cmd->val64);
	default:
		return -EOPNOTSUPP;
	}
}

static int iommufd_option(struct ioasid_ucmd *ucmd)
{
	struct iommu_option *cmd = ucmd->cmd;
	struct ioasid *ioas;
	int rc;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if (cmd->option_id == IOMMU_OPTION_RLIMIT_MODE)
		return option_rlimit_mode(ucmd);
	if (cmd->option_id != IOMMU_OPTION_HUGE_PAGES)
		return -EOPNOTSUPP;
	ioas = ioasid_get(ucmd->ictx, cmd->object_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = option_huge_pages(ioas, cmd);
	ioasid_put(ioas);
	return rc;
}

/* ---- another process ---- */

/* A piece of memory, which may come more than once, and who was charged for it */
struct takeover {
	struct list_head entry;
	struct pinned_mem *mem;
	struct mem_owner *old;
	bool done;
};

static int collect_memory(struct ioasid *ioas, struct list_head *all)
{
	struct takeover *cur;
	struct mapping *map;

	guard(mutex)(&ioas->lock);
	/* What children show is their root's. */
	if (ioas->parent)
		return 0;
	for_each_mapping(map, &ioas->mappings, 0, ULONG_MAX) {
		if (map->mem->source != PINNED_MEM_FILE)
			return -EINVAL;
		if (ioasid_killed())
			return -EINTR;
		cur = kzalloc_obj(*cur, GFP_KERNEL_ACCOUNT);
		if (!cur)
			return -ENOMEM;
		pinned_mem_get(map->mem);
		cur->mem = map->mem;
		list_add_tail(&cur->entry, all);
		cond_resched();
	}
	return 0;
}

static int collect_all(struct iommufd_ctx *ictx, struct list_head *all)
{
	struct iommufd_object *obj;
	unsigned long id;
	int rc = 0;

	xa_for_each(&ictx->objects, id, obj) {
		struct ioasid *ioas = ioasid_get(ictx, id);

		if (IS_ERR(ioas))
			continue;
		rc = collect_memory(ioas, all);
		ioasid_put(ioas);
		if (rc)
			break;
	}
	return rc;
}

static int take_over_all(struct iommufd_ctx *ictx, struct list_head *all)
{
	struct takeover *cur;
	int rc;

	list_for_each_entry(cur, all, entry) {
		rc = pinned_mem_take_over(ictx, cur->mem, &cur->old);
		if (rc)
			return rc;
		cur->done = true;
		cond_resched();
	}
	return 0;
}

/* What was taken over is given back if @rc says so, in the opposite order. */
static void finish_takeover(struct list_head *all, int rc)
{
	struct takeover *cur, *next;

	list_for_each_entry_safe_reverse(cur, next, all, entry) {
		if (cur->done && rc)
			pinned_mem_give_back(cur->mem, cur->old);
		else if (cur->done)
			mem_owner_put(cur->old);
		pinned_mem_put(cur->mem);
		kfree(cur);
		cond_resched();
	}
}

static int iommufd_ioas_change_process(struct ioasid_ucmd *ucmd)
{
	struct iommu_ioas_change_process *cmd = ucmd->cmd;
	LIST_HEAD(all);
	int rc;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	rc = collect_all(ucmd->ictx, &all);
	if (!rc)
		rc = take_over_all(ucmd->ictx, &all);
	finish_takeover(&all, rc);
	return rc;
}

/* ---- the address space of VFIO groups ---- */

static int iommufd_vfio_ioas(struct ioasid_ucmd *ucmd)
{
	struct iommu_vfio_ioas *cmd = ucmd->cmd;
	struct ioasid *ioas;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->op) {
	case IOMMU_VFIO_IOAS_GET:
		return iommufd_vfio_compat_ioas_get_id(ucmd->ictx,
						       &cmd->ioas_id);
	case IOMMU_VFIO_IOAS_SET:
		ioas = ioasid_get(ucmd->ictx, cmd->ioas_id);
		if (IS_ERR(ioas))
			return PTR_ERR(ioas);
		ioasid_set_compat(ucmd->ictx, ioas);
		ioasid_put(ioas);
		return 0;
	case IOMMU_VFIO_IOAS_CLEAR:
		ioasid_set_compat(ucmd->ictx, NULL);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* ---- table ---- */

#define IOCTL_AT(_cmd, _struct, _last, _output, _execute, _result)            \
	[(_cmd) - IOMMUFD_CMD_BASE] = {                                       \
		.size = sizeof(_struct) +                                     \
			BUILD_BUG_ON_ZERO(sizeof(_struct) > IOASID_CMD_MAX),  \
		.min_size = offsetofend(_struct, _last),                      \
		.flags = U32_MAX,                                             \
		.output_flags = (_output) ? IOASID_ALWAYS_OUTPUT : 0,         \
		.result = (_result),                                          \
		.execute = (_execute),                                        \
	}

#define IOCTL(_cmd, _struct, _last, _output, _execute)                        \
	IOCTL_AT(_cmd, _struct, _last, _output, _execute, 0)

/* All that it returns is one u64 of the first version. */
#define IOCTL_RESULT(_cmd, _struct, _last, _execute, _result)                 \
	IOCTL_AT(_cmd, _struct, _last, true, _execute,                        \
		 offsetof(_struct, _result))

static_assert(sizeof_field(struct iommu_ioas_map, iova) == sizeof(u64));
static_assert(sizeof_field(struct iommu_ioas_map_file, iova) == sizeof(u64));
static_assert(sizeof_field(struct iommu_ioas_unmap, length) == sizeof(u64));

static const struct ioasid_ioctl iommufd_ioctls[] = {
	IOCTL(IOMMUFD_CMD_DESTROY, struct iommu_destroy, id, false,
	      iommufd_destroy),
	IOCTL(IOMMUFD_CMD_FAULT_QUEUE_ALLOC, struct iommu_fault_alloc,
	      out_fault_fd, false, ioasid_fault_queue_alloc),
	IOCTL(IOMMUFD_CMD_GET_HW_INFO, struct iommu_hw_info, __reserved, true,
	      ioasid_get_hw_info),
	IOCTL(IOMMUFD_CMD_HWPT_ALLOC, struct iommu_hwpt_alloc, __reserved, true,
	      ioasid_hwpt_alloc),
	IOCTL(IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP,
	      struct iommu_hwpt_get_dirty_bitmap, data, false,
	      ioasid_hwpt_get_dirty),
	IOCTL(IOMMUFD_CMD_HWPT_INVALIDATE, struct iommu_hwpt_invalidate,
	      __reserved, false, ioasid_hwpt_invalidate),
	IOCTL(IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING,
	      struct iommu_hwpt_set_dirty_tracking, __reserved, false,
	      ioasid_hwpt_set_dirty),
	IOCTL(IOMMUFD_CMD_HW_QUEUE_ALLOC, struct iommu_hw_queue_alloc, length,
	      true, ioasid_hw_queue_alloc),
	IOCTL(IOMMUFD_CMD_IOAS_ALLOC, struct iommu_ioas_alloc, out_ioas_id,
	      true, iommufd_ioas_alloc),
	IOCTL(IOMMUFD_CMD_IOAS_ALLOW_IOVAS, struct iommu_ioas_allow_iovas,
	      allowed_iovas, false, iommufd_ioas_allow_iovas),
	IOCTL(IOMMUFD_CMD_IOAS_CHANGE_PROCESS,
	      struct iommu_ioas_change_process, __reserved, false,
	      iommufd_ioas_change_process),
	IOCTL(IOMMUFD_CMD_IOAS_COPY, struct iommu_ioas_copy, src_iova, true,
	      iommufd_ioas_copy),
	IOCTL(IOMMUFD_CMD_IOAS_IOVA_RANGES, struct iommu_ioas_iova_ranges,
	      out_iova_alignment, false, iommufd_ioas_iova_ranges),
	IOCTL_RESULT(IOMMUFD_CMD_IOAS_MAP, struct iommu_ioas_map, iova,
		     iommufd_ioas_map, iova),
	IOCTL_RESULT(IOMMUFD_CMD_IOAS_MAP_FILE, struct iommu_ioas_map_file,
		     iova, iommufd_ioas_map_file, iova),
	IOCTL_RESULT(IOMMUFD_CMD_IOAS_UNMAP, struct iommu_ioas_unmap, length,
		     iommufd_ioas_unmap, length),
	IOCTL(IOMMUFD_CMD_OPTION, struct iommu_option, val64, true,
	      iommufd_option),
	IOCTL(IOMMUFD_CMD_VDEVICE_ALLOC, struct iommu_vdevice_alloc, virt_id,
	      true, ioasid_vdevice_alloc),
	IOCTL(IOMMUFD_CMD_VEVENTQ_ALLOC, struct iommu_veventq_alloc,
	      out_veventq_fd, false, ioasid_veventq_alloc),
	IOCTL(IOMMUFD_CMD_VFIO_IOAS, struct iommu_vfio_ioas, __reserved, true,
	      iommufd_vfio_ioas),
	IOCTL(IOMMUFD_CMD_VIOMMU_ALLOC, struct iommu_viommu_alloc,
	      out_viommu_id, true, ioasid_viommu_alloc),
#ifdef CONFIG_IOMMUFD_TEST
	IOCTL(_IOC_NR(IOMMU_TEST_CMD), struct iommu_test_cmd, last, false,
	      ioasid_mock_ioctl),
#endif
};

/**
 * ioasid_iommufd_ioctl - Find an ioctl of iommufd
 * @cmd: Its number, from the user
 *
 * Return: The ioctl or NULL.
 */
const struct ioasid_ioctl *ioasid_iommufd_ioctl(unsigned int cmd)
{
	unsigned int i = cmd - _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE);
	const struct ioasid_ioctl *op;

	if (i >= ARRAY_SIZE(iommufd_ioctls))
		return NULL;
	i = array_index_nospec(i, ARRAY_SIZE(iommufd_ioctls));
	op = &iommufd_ioctls[i];
	return op->execute ? op : NULL;
}
