// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables that the user names: their allocation, and what iommufd's interface
 * does with them.
 *
 * A paging table is one more table below an address space, which lives until the
 * user ends it, and keeps the address space's memory pinned meanwhile. A nested
 * table is the user's own: the kernel passes its description on to the IOMMU
 * driver, and knows which of its tables translates what comes out of it.
 *
 * Drivers copy their part of the arguments from user memory themselves, with the
 * device held, for which unbind waits. So they do that with page faults off, and
 * again if it was not there.
 */
#include <linux/iommu.h>
#include <linux/log2.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

#include "../iommu-priv.h"
#include "ioasid_private.h"

/* How often memory of the user's may be away again when a driver copies it */
#define COPY_TRIES 16

/* What one call of HWPT_INVALIDATE may ask for */
#define MAX_INVALIDATIONS BIT(19)

/**
 * ioasid_get_hwpt - Look a page table up and take a short hold of it
 * @ictx: The context
 * @id: Its identifier, from the user
 *
 * Return: The page table, paging or nested, for ioasid_object_put(), or -ENOENT.
 */
struct iommufd_hw_pagetable *ioasid_get_hwpt(struct iommufd_ctx *ictx, u32 id)
{
	struct iommufd_object *obj = ioasid_object_get(ictx, id,
						       IOMMUFD_OBJ_ANY);

	if (IS_ERR(obj))
		return ERR_CAST(obj);
	if (obj->type == IOMMUFD_OBJ_HWPT_PAGING ||
	    obj->type == IOMMUFD_OBJ_HWPT_NESTED)
		return to_hwpt(obj);
	ioasid_object_put(ictx, obj);
	return ERR_PTR(-ENOENT);
}

static struct iommufd_hw_pagetable *get_paging(struct iommufd_ctx *ictx, u32 id)
{
	struct iommufd_object *obj = ioasid_object_get(ictx, id,
						       IOMMUFD_OBJ_HWPT_PAGING);

	return IS_ERR(obj) ? ERR_CAST(obj) : to_hwpt(obj);
}

/* ---- life ---- */

static void leave_ioasid(struct iommufd_hw_pagetable *pt)
{
	struct ioasid *ioas = pt->ioas;

	scoped_guard(mutex, &ioas->lock) {
		pgtable_remove(pt);
		ioasid_widen_permitted(ioas);
	}
	ioasid_pinners_put(ioas, 1);
	refcount_dec(&ioas->obj.users);
}

/**
 * ioasid_hwpt_destroy - Free a page table that the user has asked for
 * @pt: The page table; nothing uses it, and nobody can find it
 */
void ioasid_hwpt_destroy(struct iommufd_hw_pagetable *pt)
{
	struct iommufd_hw_pagetable *parent = pt->parent;
	struct iommufd_viommu *viommu = pt->viommu;
	struct ioasid_fault *fault = pt->fault;

	if (!parent)
		leave_ioasid(pt);
	pgtable_free(pt);
	if (viommu)
		refcount_dec(&viommu->obj.users);
	else if (parent)
		refcount_dec(&parent->obj.users);
	if (fault)
		refcount_dec(&ioasid_fault_object(fault)->users);
}

static int check_paging_flags(const struct iommu_hwpt_alloc *cmd,
			      const struct iommufd_device *idev)
{
	const u32 known = IOMMU_HWPT_ALLOC_NEST_PARENT |
			  IOMMU_HWPT_ALLOC_DIRTY_TRACKING |
			  IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_FAULT_ID_VALID;
	const struct iommu_ops *ops = dev_iommu_ops(idev->dev);

	if (cmd->flags & ~known ||
	    ((cmd->flags || cmd->data_len) && !ops->domain_alloc_paging_flags))
		return -EOPNOTSUPP;
	if (cmd->flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING &&
	    !device_iommu_capable(idev->dev, IOMMU_CAP_DIRTY_TRACKING))
		return -EOPNOTSUPP;
	/* Faults of the outer table are no business of who owns the inner one. */
	if (cmd->flags & IOMMU_HWPT_FAULT_ID_VALID &&
	    cmd->flags & IOMMU_HWPT_ALLOC_NEST_PARENT)
		return -EOPNOTSUPP;
	return 0;
}

static struct iommu_domain *
alloc_paging_domain(struct iommufd_device *idev, u32 flags,
		    const struct iommu_user_data *data)
{
	const struct iommu_ops *ops = dev_iommu_ops(idev->dev);
	struct iommu_domain *domain;

	if (ioasid_should_fail())
		return ERR_PTR(-EOPNOTSUPP);
	/* iommu_paging_domain_alloc_flags() has nothing for drivers' own data. */
	if (!data->len)
		return iommu_paging_domain_alloc_flags(idev->dev, flags);
	pagefault_disable();
	domain = ops->domain_alloc_paging_flags(idev->dev, flags, data);
	pagefault_enable();
	if (!IS_ERR(domain))
		domain->owner = ops;
	return domain;
}

static int join_ioasid(struct iommufd_hw_pagetable *pt, struct ioasid *ioas,
		       struct iommufd_device *idev)
{
	int rc;

	guard(mutex)(&ioas->lock);
	rc = pgtable_check_device(ioas, idev);
	if (rc)
		return rc;
	rc = pgtable_add(pt, ioas, idev);
	if (rc)
		return rc;
	rc = ioasid_update_permitted(ioas);
	if (rc)
		pgtable_remove(pt);
	return rc;
}

static struct iommufd_hw_pagetable *
new_paging(struct ioasid *ioas, struct iommufd_device *idev,
	   const struct iommu_hwpt_alloc *cmd,
	   const struct iommu_user_data *data)
{
	u32 flags = cmd->flags & ~IOMMU_HWPT_FAULT_ID_VALID;
	struct iommufd_hw_pagetable *pt;
	struct iommu_domain *domain;
	int rc;

	rc = check_paging_flags(cmd, idev);
	if (rc)
		return ERR_PTR(rc);
	if (ioas->dirty)
		flags |= IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	domain = alloc_paging_domain(idev, flags, data);
	if (IS_ERR(domain))
		return ERR_CAST(domain);
	pt = pgtable_new(idev, domain, IOMMUFD_OBJ_HWPT_PAGING);
	if (IS_ERR(pt)) {
		iommu_domain_free(domain);
		return pt;
	}
	pt->pasid = flags & IOMMU_HWPT_ALLOC_PASID;
	pt->nest_parent = flags & IOMMU_HWPT_ALLOC_NEST_PARENT;
	pt->dirty = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	rc = join_ioasid(pt, ioas, idev);
	if (rc) {
		ioasid_object_abort(pt->ictx, &pt->obj);
		pgtable_free(pt);
		return ERR_PTR(rc);
	}
	return pt;
}

/*
 * Pinning comes before the device is held, because unbind waits for whoever holds
 * it and the user decides how long pinning takes.
 */
static struct iommufd_hw_pagetable *
alloc_paging(struct ioasid *ioas, const struct iommu_hwpt_alloc *cmd,
	     const struct iommu_user_data *data)
{
	struct iommufd_hw_pagetable *pt;
	struct iommufd_device *idev;
	int rc;

	/* Who may not attach a device needs no page table. */
	if (!ioasid_may(ioas, IOMMU_IOASID_OP_ATTACH))
		return ERR_PTR(-EINVAL);
	rc = ioasid_pinners_get(ioas, 1);
	if (rc)
		return ERR_PTR(rc);
	refcount_inc(&ioas->obj.users);
	idev = ioasid_get_device(ioas->ictx, cmd->dev_id);
	if (IS_ERR(idev)) {
		pt = ERR_CAST(idev);
	} else {
		pt = new_paging(ioas, idev, cmd, data);
		ioasid_object_put(ioas->ictx, &idev->obj);
	}
	if (IS_ERR(pt)) {
		ioasid_pinners_put(ioas, 1);
		refcount_dec(&ioas->obj.users);
	}
	return pt;
}

static int check_nested(const struct iommu_hwpt_alloc *cmd)
{
	const u32 known = IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_FAULT_ID_VALID;

	return cmd->flags & ~known || !cmd->data_len ? -EOPNOTSUPP : 0;
}

/* Takes over the domain. The caller keeps what it is built on from ending. */
static struct iommufd_hw_pagetable *
new_nested(struct iommufd_hw_pagetable *parent, struct iommufd_device *idev,
	   const struct iommu_hwpt_alloc *cmd, struct iommu_domain *domain)
{
	struct iommufd_hw_pagetable *pt;

	if (IS_ERR(domain))
		return ERR_CAST(domain);
	if (WARN_ON_ONCE(domain->type != IOMMU_DOMAIN_NESTED))
		pt = ERR_PTR(-EOPNOTSUPP);
	else
		pt = pgtable_new(idev, domain, IOMMUFD_OBJ_HWPT_NESTED);
	if (IS_ERR(pt)) {
		iommu_domain_free(domain);
		return pt;
	}
	domain->owner = dev_iommu_ops(idev->dev);
	pt->pasid = cmd->flags & IOMMU_HWPT_ALLOC_PASID;
	pt->ioas = parent->ioas;
	pt->parent = parent;
	return pt;
}

static struct iommufd_hw_pagetable *
alloc_nested(struct iommufd_hw_pagetable *parent, struct iommufd_device *idev,
	     const struct iommu_hwpt_alloc *cmd,
	     const struct iommu_user_data *data)
{
	const struct iommu_ops *ops = dev_iommu_ops(idev->dev);
	u32 flags = cmd->flags & ~IOMMU_HWPT_FAULT_ID_VALID;
	struct iommufd_hw_pagetable *pt;
	struct iommu_domain *domain;
	int rc;

	rc = check_nested(cmd);
	if (rc)
		return ERR_PTR(rc);
	if (!ops->domain_alloc_nested)
		return ERR_PTR(-EOPNOTSUPP);
	if (parent->automatic || !parent->nest_parent || parent->ops != ops)
		return ERR_PTR(-EINVAL);
	pagefault_disable();
	domain = ops->domain_alloc_nested(idev->dev, parent->domain, flags,
					  data);
	pagefault_enable();
	pt = new_nested(parent, idev, cmd, domain);
	if (!IS_ERR(pt))
		refcount_inc(&parent->obj.users);
	return pt;
}

static struct iommufd_hw_pagetable *
alloc_by_viommu(struct iommufd_viommu *viommu, struct iommufd_device *idev,
		const struct iommu_hwpt_alloc *cmd,
		const struct iommu_user_data *data)
{
	u32 flags = cmd->flags & ~IOMMU_HWPT_FAULT_ID_VALID;
	struct iommufd_hw_pagetable *pt;
	struct iommu_domain *domain;
	int rc;

	if (viommu->iommu_dev != __iommu_get_iommu_dev(idev->dev))
		return ERR_PTR(-EINVAL);
	rc = check_nested(cmd);
	if (rc)
		return ERR_PTR(rc);
	if (!viommu->ops || !viommu->ops->alloc_domain_nested)
		return ERR_PTR(-EOPNOTSUPP);
	pagefault_disable();
	domain = viommu->ops->alloc_domain_nested(viommu, flags, data);
	pagefault_enable();
	pt = new_nested(viommu_table(viommu), idev, cmd, domain);
	if (!IS_ERR(pt)) {
		refcount_inc(&viommu->obj.users);
		pt->viommu = viommu;
	}
	return pt;
}

static struct iommufd_hw_pagetable *
alloc_on_object(struct iommufd_object *obj, struct iommufd_device *idev,
		const struct iommu_hwpt_alloc *cmd,
		const struct iommu_user_data *data)
{
	switch (obj->type) {
	case IOMMUFD_OBJ_HWPT_PAGING:
		return alloc_nested(to_hwpt(obj), idev, cmd, data);
	case IOMMUFD_OBJ_VIOMMU:
		return alloc_by_viommu(container_of(obj, struct iommufd_viommu,
						    obj), idev, cmd, data);
	default:
		return ERR_PTR(-EINVAL);
	}
}

static struct iommufd_hw_pagetable *
alloc_table(struct iommufd_ctx *ictx, const struct iommu_hwpt_alloc *cmd,
	    const struct iommu_user_data *data)
{
	struct iommufd_hw_pagetable *pt;
	struct iommufd_device *idev;
	struct iommufd_object *obj;

	idev = ioasid_get_device(ictx, cmd->dev_id);
	if (IS_ERR(idev))
		return ERR_CAST(idev);
	obj = ioasid_object_get(ictx, cmd->pt_id, IOMMUFD_OBJ_ANY);
	if (IS_ERR(obj)) {
		ioasid_object_put(ictx, &idev->obj);
		return ERR_PTR(-EINVAL);
	}
	if (obj->type == IOMMUFD_OBJ_IOAS) {
		ioasid_object_put(ictx, &idev->obj);
		pt = alloc_paging(to_ioasid(obj), cmd, data);
	} else {
		pt = alloc_on_object(obj, idev, cmd, data);
		ioasid_object_put(ictx, &idev->obj);
	}
	ioasid_object_put(ictx, obj);
	return pt;
}

/* Nothing but the driver's copy of @data fails with -EFAULT and is tried again. */
static struct iommufd_hw_pagetable *
alloc_table_again(struct iommufd_ctx *ictx, const struct iommu_hwpt_alloc *cmd,
		  const struct iommu_user_data *data)
{
	struct iommufd_hw_pagetable *pt;
	unsigned int tries = 0;

	do {
		pt = alloc_table(ictx, cmd, data);
		if (PTR_ERR(pt) != -EFAULT || !data->len)
			break;
		if (fault_in_readable(data->uptr, data->len))
			break;
		cond_resched();
	} while (++tries < COPY_TRIES && !fatal_signal_pending(current));
	return pt;
}

/* Not attached to anything yet, so nobody reads this. */
static int set_fault(struct iommufd_hw_pagetable *pt, u32 fault_id)
{
	struct ioasid_fault *fault = ioasid_fault_get(pt->ictx, fault_id);
	struct iommufd_object *obj;

	if (IS_ERR(fault))
		return PTR_ERR(fault);
	obj = ioasid_fault_object(fault);
	refcount_inc(&obj->users);
	ioasid_object_put(pt->ictx, obj);
	pt->fault = fault;
	pt->domain->iopf_handler = ioasid_fault_handler;
	return 0;
}

/**
 * ioasid_hwpt_alloc - Do IOMMU_HWPT_ALLOC
 * @ucmd: The call
 *
 * Context: No lock is held; sleeps for user memory.
 *
 * Return: 0; -EOPNOTSUPP: a flag or a description of a table that is not
 * supported; -EINVAL: arguments do not go together; -ENOENT: no such device or
 * fault queue; -ENOSPC: too many objects; as iommufd_device_attach(); or what the
 * driver says.
 */
int ioasid_hwpt_alloc(struct ioasid_ucmd *ucmd)
{
	struct iommu_hwpt_alloc *cmd = ucmd->cmd;
	const struct iommu_user_data data = {
		.type = cmd->data_type,
		.uptr = u64_to_user_ptr(cmd->data_uptr),
		.len = cmd->data_len,
	};
	struct iommufd_hw_pagetable *pt;

	if (cmd->__reserved || cmd->__reserved2)
		return -EOPNOTSUPP;
	if (cmd->data_type == IOMMU_HWPT_DATA_NONE ? cmd->data_len :
						     !cmd->data_len)
		return -EINVAL;

	/* Nobody's description is that long. */
	if (cmd->data_len > PAGE_SIZE)
		return -E2BIG;

	pt = alloc_table_again(ucmd->ictx, cmd, &data);
	if (IS_ERR(pt))
		return PTR_ERR(pt);
	ucmd->new_obj = &pt->obj;
	cmd->out_hwpt_id = pt->obj.id;
	if (cmd->flags & IOMMU_HWPT_FAULT_ID_VALID)
		return set_fault(pt, cmd->fault_id);
	return 0;
}

/* ---- invalidation ---- */

/* The driver says in @array how much it has done, also if it fails. */
static int invalidate(struct iommufd_object *obj,
		      struct iommu_user_data_array *array)
{
	const struct iommu_domain_ops *ops = NULL;
	struct iommufd_viommu *viommu = NULL;
	int rc = -EOPNOTSUPP;

	switch (obj->type) {
	case IOMMUFD_OBJ_HWPT_NESTED:
		ops = to_hwpt(obj)->domain->ops;
		break;
	case IOMMUFD_OBJ_VIOMMU:
		viommu = container_of(obj, struct iommufd_viommu, obj);
		break;
	default:
		rc = -EINVAL;
	}
	if (ops && ops->cache_invalidate_user)
		return ops->cache_invalidate_user(to_hwpt(obj)->domain, array);
	if (viommu && viommu->ops && viommu->ops->cache_invalidate)
		return viommu->ops->cache_invalidate(viommu, array);
	array->entry_num = 0;
	return rc;
}

static int check_invalidate(const struct iommu_hwpt_invalidate *cmd)
{
	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if (cmd->entry_num &&
	    (!cmd->data_uptr || !cmd->entry_len ||
	     cmd->entry_len > PAGE_SIZE || cmd->entry_num > MAX_INVALIDATIONS))
		return -EINVAL;
	return 0;
}

/**
 * ioasid_hwpt_invalidate - Do IOMMU_HWPT_INVALIDATE
 * @ucmd: The call. The number of requests that took effect is returned to the user
 *        whatever happens.
 *
 * Return: 0; -EINVAL; -EOPNOTSUPP; -ENOENT; or what the driver says.
 */
int ioasid_hwpt_invalidate(struct ioasid_ucmd *ucmd)
{
	struct iommu_hwpt_invalidate *cmd = ucmd->cmd;
	struct iommu_user_data_array array = {
		.type = cmd->data_type,
		.uptr = u64_to_user_ptr(cmd->data_uptr),
		.entry_len = cmd->entry_len,
		.entry_num = cmd->entry_num,
	};
	struct iommufd_object *obj;
	int rc;

	rc = check_invalidate(cmd);
	cmd->entry_num = 0;
	if (!rc) {
		obj = ioasid_object_get(ucmd->ictx, cmd->hwpt_id,
					IOMMUFD_OBJ_ANY);
		rc = PTR_ERR_OR_ZERO(obj);
	}
	if (!rc) {
		rc = invalidate(obj, &array);
		cmd->entry_num = array.entry_num;
		ioasid_object_put(ucmd->ictx, obj);
	}
	return ioasid_respond(ucmd, sizeof(*cmd)) ?: rc;
}

/* ---- dirty tracking of one table ---- */

/*
 * Whether it can be tracked by itself. Its address space is tracked as a whole if
 * it was made for that: what is read here would be missing there. Some drivers have
 * the operations also for tables that were not made for it, and those may have
 * entries of any size.
 */
static bool can_track(const struct iommufd_hw_pagetable *pt)
{
	return pt->dirty && pt->domain->dirty_ops && !pt->ioas->dirty;
}

/* For ioasid_object_put() */
static struct iommufd_hw_pagetable *get_tracked(struct iommufd_ctx *ictx,
						u32 id)
{
	struct iommufd_hw_pagetable *pt = get_paging(ictx, id);

	if (IS_ERR(pt) || can_track(pt))
		return pt;
	ioasid_object_put(ictx, &pt->obj);
	return ERR_PTR(-EOPNOTSUPP);
}

/**
 * ioasid_hwpt_set_dirty - Do IOMMU_HWPT_SET_DIRTY_TRACKING
 * @ucmd: The call
 *
 * Return: 0; -ENOENT: no such page table of the kernel's; -EOPNOTSUPP: it cannot;
 * -EINTR; or what the driver says.
 */
int ioasid_hwpt_set_dirty(struct ioasid_ucmd *ucmd)
{
	struct iommu_hwpt_set_dirty_tracking *cmd = ucmd->cmd;
	struct iommufd_hw_pagetable *pt;
	int rc;

	if (cmd->flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE || cmd->__reserved)
		return -EOPNOTSUPP;
	pt = get_tracked(ucmd->ictx, cmd->hwpt_id);
	if (IS_ERR(pt))
		return PTR_ERR(pt);
	rc = dirty_track_table(pt, cmd->flags &
				   IOMMU_HWPT_DIRTY_TRACKING_ENABLE);
	ioasid_object_put(ucmd->ictx, &pt->obj);
	return rc;
}

static int check_get_dirty(const struct iommu_hwpt_get_dirty_bitmap *cmd,
			   unsigned long alignment,
			   struct dirty_report *report)
{
	if (overflows_type(cmd->iova, report->first) ||
	    overflows_type(cmd->length, report->last) ||
	    overflows_type(cmd->page_size, report->last))
		return -EOVERFLOW;
	if (!cmd->length)
		return -EINVAL;
	report->first = cmd->iova;
	if (check_add_overflow(report->first, (unsigned long)cmd->length - 1,
			       &report->last))
		return -EOVERFLOW;
	if (!is_power_of_2(cmd->page_size) ||
	    cmd->page_size < DIRTY_LEAST_PAGE_SIZE ||
	    !IS_ALIGNED(cmd->iova | cmd->length,
			max_t(u64, alignment, cmd->page_size)))
		return -EINVAL;
	report->shift = ilog2(cmd->page_size);
	report->bitmap = u64_to_user_ptr(cmd->data);
	return 0;
}

/**
 * ioasid_hwpt_get_dirty - Do IOMMU_HWPT_GET_DIRTY_BITMAP
 * @ucmd: The call
 *
 * Return: 0; -EOPNOTSUPP; -ENOENT: no such page table of the kernel's; -EOVERFLOW:
 * the range wraps; -EINVAL: it is not aligned, or not all mapped; -EFAULT: the
 * bitmap cannot be written; -ENOMEM; -EINTR; or what the driver says.
 */
int ioasid_hwpt_get_dirty(struct ioasid_ucmd *ucmd)
{
	struct iommu_hwpt_get_dirty_bitmap *cmd = ucmd->cmd;
	struct iommufd_hw_pagetable *pt;
	struct dirty_report report;
	struct ioasid *ioas;
	int rc;

	if (cmd->flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR ||
	    cmd->__reserved)
		return -EOPNOTSUPP;
	pt = get_paging(ucmd->ictx, cmd->hwpt_id);
	if (IS_ERR(pt))
		return PTR_ERR(pt);
	ioas = pt->ioas;
	rc = check_get_dirty(cmd, READ_ONCE(ioas->alignment), &report);
	if (!rc && !can_track(pt))
		rc = -EOPNOTSUPP;
	if (!rc)
		rc = dirty_read_table(pt, &report,
				      !(cmd->flags &
					IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR));
	ioasid_object_put(ucmd->ictx, &pt->obj);
	return rc;
}

/* ---- what an IOMMU tells of itself ---- */

static u64 device_capabilities(struct iommufd_device *idev, u8 *pasid_bits)
{
	u64 caps = 0;
	int ctrl;

	if (device_iommu_capable(idev->dev, IOMMU_CAP_DIRTY_TRACKING))
		caps |= IOMMU_HW_CAP_DIRTY_TRACKING;
	if (!device_iommu_capable(idev->dev, IOMMU_CAP_PCI_ATS_SUPPORTED))
		caps |= IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;

	*pasid_bits = 0;
	if (!idev->dev->iommu->max_pasids)
		return caps;
	*pasid_bits = ilog2(idev->dev->iommu->max_pasids);
	if (dev_is_pci(idev->dev)) {
		ctrl = pci_pasid_status(to_pci_dev(idev->dev));
		if (ctrl > 0 && ctrl & PCI_PASID_CTRL_EXEC)
			caps |= IOMMU_HW_CAP_PCI_PASID_EXEC;
		if (ctrl > 0 && ctrl & PCI_PASID_CTRL_PRIV)
			caps |= IOMMU_HW_CAP_PCI_PASID_PRIV;
	}
	return caps;
}

/* Return: what the driver says, for kfree(), NULL if it says nothing, or an error. */
static void *get_driver_info(struct iommufd_device *idev,
			     struct iommu_hw_info *cmd, u32 *length)
{
	const struct iommu_ops *ops = dev_iommu_ops(idev->dev);
	void *info;

	*length = 0;
	if (!ops->hw_info) {
		cmd->out_data_type = IOMMU_HW_INFO_TYPE_NONE;
		return NULL;
	}
	if (ioasid_should_fail())
		return ERR_PTR(-ENODEV);
	info = ops->hw_info(idev->dev, length, &cmd->out_data_type);
	if (IS_ERR(info))
		return info;
	if (WARN_ON_ONCE(cmd->out_data_type == IOMMU_HW_INFO_TYPE_NONE)) {
		kfree(info);
		return ERR_PTR(-EOPNOTSUPP);
	}
	return info;
}

/**
 * ioasid_get_hw_info - Do IOMMU_GET_HW_INFO
 * @ucmd: The call
 *
 * Return: 0; -EOPNOTSUPP; -ENOENT: no such device; -EFAULT; or what the driver
 * says.
 */
int ioasid_get_hw_info(struct ioasid_ucmd *ucmd)
{
	struct iommu_hw_info *cmd = ucmd->cmd;
	void __user *uptr = u64_to_user_ptr(cmd->data_uptr);
	struct iommufd_device *idev;
	u32 length, copied;
	void *info;
	int rc = 0;

	if (cmd->flags & ~IOMMU_HW_INFO_FLAG_INPUT_TYPE ||
	    memchr_inv(cmd->__reserved, 0, sizeof(cmd->__reserved)))
		return -EOPNOTSUPP;
	/* The same word says which kind is wanted, if the flag says so. */
	if (!(cmd->flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE))
		cmd->in_data_type = IOMMU_HW_INFO_TYPE_DEFAULT;

	idev = ioasid_get_device(ucmd->ictx, cmd->dev_id);
	if (IS_ERR(idev))
		return PTR_ERR(idev);
	info = get_driver_info(idev, cmd, &length);
	cmd->out_capabilities = device_capabilities(idev,
						    &cmd->out_max_pasid_log2);
	ioasid_object_put(ucmd->ictx, &idev->obj);
	if (IS_ERR(info))
		return PTR_ERR(info);

	copied = min(cmd->data_len, length);
	if (copy_to_user(uptr, info, copied) ||
	    clear_user(uptr + copied, cmd->data_len - copied))
		rc = -EFAULT;
	cmd->data_len = length;
	kfree(info);
	return rc;
}
