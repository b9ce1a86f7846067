// SPDX-License-Identifier: GPL-2.0-only
/*
 * vIOMMUs, the part of an IOMMU that a virtual machine sees, and what belongs to
 * them: vDEVICEs, queues that the hardware reads from the memory of the guest,
 * and ranges of device memory for mmap().
 *
 * The objects are structures of the IOMMU driver that begin with ours; the
 * driver says how large they are. A vIOMMU is used by its vDEVICEs, queues and
 * event queues, and uses the page table that nested tables are built on.
 *
 * A vDEVICE does not keep its device. While the two are connected, each points
 * to the other, under ioasid_group.lock. What ends first disconnects them: the
 * end of the vDEVICE, or the unbinding of the device. The latter also ends the
 * vDEVICE, and leaves its identifier reserved; if the ioctl that makes or ends
 * the vDEVICE is still at work, that goes on with one that has no device. So
 * unbind waits for no ioctl that sleeps for user memory.
 *
 * The locks of drivers and iommufd_viommu.vdevs' are taken under
 * ioasid_group.lock. User memory is touched with no lock held, and no device.
 */
#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "viommu.h"

static struct iommufd_viommu *to_viommu(struct iommufd_object *obj)
{
	return container_of(obj, struct iommufd_viommu, obj);
}

static struct iommufd_vdevice *to_vdevice(struct iommufd_object *obj)
{
	return container_of(obj, struct iommufd_vdevice, obj);
}

static struct iommufd_hw_queue *to_hw_queue(struct iommufd_object *obj)
{
	return container_of(obj, struct iommufd_hw_queue, obj);
}

/*
 * A new object of the size that the driver wants. If the ioctl fails later, the
 * dispatcher destroys it.
 */
static struct iommufd_object *new_object(struct ioasid_ucmd *ucmd, size_t size,
					 enum iommufd_object_type type)
{
	struct iommufd_object *obj = kzalloc(size, GFP_KERNEL_ACCOUNT);
	int rc;

	if (!obj)
		return ERR_PTR(-ENOMEM);
	rc = ioasid_object_init(ucmd->ictx, obj, type);
	if (rc) {
		kfree(obj);
		return ERR_PTR(rc);
	}
	return obj;
}

/* ---- vIOMMUs ---- */

static struct iommufd_viommu *viommu_new(struct ioasid_ucmd *ucmd,
					 struct iommufd_hw_pagetable *pt,
					 struct iommufd_device *idev,
					 size_t size)
{
	const struct iommu_viommu_alloc *cmd = ucmd->cmd;
	struct iommufd_viommu *viommu;
	struct iommufd_object *obj;

	if (!pt->nest_parent)
		return ERR_PTR(-EINVAL);
	obj = new_object(ucmd, size, IOMMUFD_OBJ_VIOMMU);
	if (IS_ERR(obj))
		return ERR_CAST(obj);

	viommu = to_viommu(obj);
	xa_init_flags(&viommu->vdevs, XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&viommu->veventqs);
	init_rwsem(&viommu->veventqs_rwsem);
	viommu->type = cmd->type;
	viommu->ictx = ucmd->ictx;
	/* A driver whose IOMMUs can go away keeps this one in viommu_init. */
	viommu->iommu_dev = __iommu_get_iommu_dev(idev->dev);
	viommu->hwpt = (struct iommufd_hwpt_paging *)pt;
	refcount_inc(&pt->obj.users);
	ucmd->new_obj = obj;
	return viommu;
}

/* A vIOMMU that its driver does not know yet. */
static struct iommufd_viommu *viommu_create(struct ioasid_ucmd *ucmd,
					    struct iommufd_device *idev)
{
	const struct iommu_viommu_alloc *cmd = ucmd->cmd;
	const struct iommu_ops *ops = dev_iommu_ops(idev->dev);
	struct iommufd_viommu *viommu;
	struct iommufd_object *obj;
	size_t size;

	if (!ops->get_viommu_size || !ops->viommu_init)
		return ERR_PTR(-EOPNOTSUPP);
	size = ops->get_viommu_size(idev->dev, cmd->type);
	if (!size || WARN_ON_ONCE(size < sizeof(*viommu)))
		return ERR_PTR(-EOPNOTSUPP);

	obj = ioasid_object_get(ucmd->ictx, cmd->hwpt_id,
				IOMMUFD_OBJ_HWPT_PAGING);
	if (IS_ERR(obj))
		return ERR_CAST(obj);
	viommu = viommu_new(ucmd, to_hwpt(obj), idev, size);
	ioasid_object_put(ucmd->ictx, obj);
	return viommu;
}

static int viommu_start(struct iommufd_viommu *viommu,
			const struct iommu_ops *ops,
			const struct iommu_viommu_alloc *cmd)
{
	const struct iommu_user_data user_data = {
		.type = cmd->type,
		.uptr = u64_to_user_ptr(cmd->data_uptr),
		.len = cmd->data_len,
	};
	int rc;

	if (ioasid_should_fail())
		return -EIO;
	rc = ops->viommu_init(viommu, viommu_table(viommu)->domain,
			      user_data.len ? &user_data : NULL);
	if (rc)
		return rc;
	return WARN_ON_ONCE(!viommu->ops) ? -EOPNOTSUPP : 0;
}

/**
 * ioasid_viommu_alloc - IOMMU_VIOMMU_ALLOC
 * @ucmd: The call
 *
 * Context: No lock is held.
 *
 * Return: 0; -EOPNOTSUPP: flags, no type, or one that the device's IOMMU does
 * not have; -ENOENT: no such device or page table; -EINVAL: nothing can be
 * nested in the table; -ENOSPC: too many objects in the context; -ENOMEM; or
 * what the driver says.
 */
int ioasid_viommu_alloc(struct ioasid_ucmd *ucmd)
{
	struct iommu_viommu_alloc *cmd = ucmd->cmd;
	struct iommufd_viommu *viommu;
	const struct iommu_ops *ops;
	struct iommufd_device *idev;
	int rc;

	if (cmd->flags || cmd->__reserved ||
	    cmd->type == IOMMU_VIOMMU_TYPE_DEFAULT)
		return -EOPNOTSUPP;

	idev = ioasid_get_device(ucmd->ictx, cmd->dev_id);
	if (IS_ERR(idev))
		return PTR_ERR(idev);
	viommu = viommu_create(ucmd, idev);
	/*
	 * viommu_init copies user memory, and unbind must not wait for that: keep
	 * the driver, not the device, which viommu_init does not get to see.
	 */
	ops = dev_iommu_ops(idev->dev);
	__module_get(ops->owner);
	ioasid_object_put(ucmd->ictx, &idev->obj);

	rc = PTR_ERR_OR_ZERO(viommu);
	if (!rc)
		rc = viommu_start(viommu, ops, cmd);
	module_put(ops->owner);
	if (rc)
		return rc;
	cmd->out_viommu_id = viommu->obj.id;
	return 0;
}

/**
 * ioasid_viommu_destroy - Free a vIOMMU
 * @obj: Its object, which has ended or was never published. The driver may not
 *       have accepted it.
 */
void ioasid_viommu_destroy(struct iommufd_object *obj)
{
	struct iommufd_viommu *viommu = to_viommu(obj);

	if (viommu->ops && viommu->ops->destroy)
		viommu->ops->destroy(viommu);
	refcount_dec(&viommu_table(viommu)->obj.users);
	xa_destroy(&viommu->vdevs);
	kfree_rcu_mightsleep(viommu);
}

/* ---- vDEVICEs ---- */

static int vdevice_start(struct iommufd_vdevice *vdev)
{
	const struct iommufd_viommu_ops *ops = vdev->viommu->ops;
	int rc = 0;

	if (ioasid_should_fail())
		return -EIO;
	if (ops->vdevice_init)
		rc = ops->vdevice_init(vdev);
	if (rc && vdev->destroy)
		vdev->destroy(vdev);
	return rc;
}

static int vdevice_connect(struct iommufd_vdevice *vdev,
			   struct iommufd_device *idev)
{
	struct iommufd_viommu *viommu = vdev->viommu;
	int rc;

	guard(mutex)(&idev->group->lock);
	if (idev->leaving)
		return -ENOENT;
	if (idev->vdev)
		return -EEXIST;

	/* Until the driver has accepted it, a look-up finds nothing. */
	rc = ioasid_xa_insert(&viommu->vdevs, vdev->virt_id, NULL);
	if (rc)
		return rc == -EBUSY ? -EEXIST : rc;
	vdev->idev = idev;
	rc = vdevice_start(vdev);
	if (rc) {
		vdev->idev = NULL;
		xa_release(&viommu->vdevs, vdev->virt_id);
		return rc;
	}
	/* The reserved entry has its memory, so this does not fail. */
	xa_store(&viommu->vdevs, vdev->virt_id, vdev, GFP_KERNEL);
	idev->vdev = vdev;
	return 0;
}

static void vdevice_disconnect(struct iommufd_vdevice *vdev,
			       struct iommufd_device *idev)
{
	lockdep_assert_held(&idev->group->lock);

	if (vdev->destroy)
		vdev->destroy(vdev);
	xa_erase(&vdev->viommu->vdevs, vdev->virt_id);
	idev->vdev = NULL;
	/*
	 * Drivers have found the device through the entry only. An ioctl that
	 * sees that it is gone frees the vDEVICE at once.
	 */
	smp_store_release(&vdev->idev, NULL);
}

static struct iommufd_vdevice *vdevice_new(struct ioasid_ucmd *ucmd,
					   struct iommufd_viommu *viommu)
{
	const struct iommu_vdevice_alloc *cmd = ucmd->cmd;
	size_t size = sizeof(struct iommufd_vdevice);
	struct iommufd_vdevice *vdev;
	struct iommufd_object *obj;

	if (viommu->ops->vdevice_size) {
		if (WARN_ON_ONCE(viommu->ops->vdevice_size < size ||
				 !viommu->ops->vdevice_init))
			return ERR_PTR(-EOPNOTSUPP);
		size = viommu->ops->vdevice_size;
	}
	obj = new_object(ucmd, size, IOMMUFD_OBJ_VDEVICE);
	if (IS_ERR(obj))
		return ERR_CAST(obj);
	vdev = to_vdevice(obj);
	vdev->virt_id = cmd->virt_id;
	vdev->viommu = viommu;
	refcount_inc(&viommu->obj.users);
	ucmd->new_obj = obj;
	return vdev;
}

static int vdevice_create(struct ioasid_ucmd *ucmd,
			  struct iommufd_viommu *viommu,
			  struct iommufd_device *idev)
{
	struct iommu_vdevice_alloc *cmd = ucmd->cmd;
	struct iommufd_vdevice *vdev;

	if (viommu->iommu_dev != __iommu_get_iommu_dev(idev->dev))
		return -EINVAL;
	vdev = vdevice_new(ucmd, viommu);
	if (IS_ERR(vdev))
		return PTR_ERR(vdev);
	cmd->out_vdevice_id = vdev->obj.id;
	return vdevice_connect(vdev, idev);
}

/**
 * ioasid_vdevice_alloc - IOMMU_VDEVICE_ALLOC
 * @ucmd: The call
 *
 * Context: No lock is held.
 *
 * Return: 0; -EINVAL: @virt_id is too large, or the device is behind another
 * IOMMU; -ENOENT: no such vIOMMU or device; -EEXIST: the device has a vDEVICE, or
 * the vIOMMU has one with that @virt_id; -ENOSPC: too many objects in the
 * context; -ENOMEM; or what the driver says.
 */
int ioasid_vdevice_alloc(struct ioasid_ucmd *ucmd)
{
	struct iommu_vdevice_alloc *cmd = ucmd->cmd;
	struct iommufd_object *viommu;
	struct iommufd_device *idev;
	int rc;

	/* It is an index of an xarray. */
	if (cmd->virt_id > ULONG_MAX)
		return -EINVAL;

	viommu = ioasid_object_get(ucmd->ictx, cmd->viommu_id,
				   IOMMUFD_OBJ_VIOMMU);
	if (IS_ERR(viommu))
		return PTR_ERR(viommu);
	idev = ioasid_get_device(ucmd->ictx, cmd->dev_id);
	if (IS_ERR(idev)) {
		rc = PTR_ERR(idev);
	} else {
		rc = vdevice_create(ucmd, to_viommu(viommu), idev);
		ioasid_object_put(ucmd->ictx, &idev->obj);
	}
	ioasid_object_put(ucmd->ictx, viommu);
	return rc;
}

/*
 * A hold of the device, or NULL if there is none. One that cannot be held has
 * been unbound so far that the two are disconnected.
 */
static struct iommufd_device *
vdevice_get_device(const struct iommufd_vdevice *vdev)
{
	struct iommufd_device *idev;

	guard(rcu)();
	/* Pairs with the release in vdevice_disconnect(). */
	idev = smp_load_acquire(&vdev->idev);
	return idev && ioasid_object_tryget(&idev->obj) ? idev : NULL;
}

/**
 * ioasid_vdevice_destroy - Free a vDEVICE
 * @obj: Its object, which has ended or was never published. Its device may be
 *       gone.
 *
 * Context: Process context. The lock of the device's group is not held.
 */
void ioasid_vdevice_destroy(struct iommufd_object *obj)
{
	struct iommufd_vdevice *vdev = to_vdevice(obj);
	struct iommufd_device *idev = vdevice_get_device(vdev);

	if (idev) {
		scoped_guard(mutex, &idev->group->lock)
			if (idev->vdev == vdev)
				vdevice_disconnect(vdev, idev);
		ioasid_object_put(idev->ictx, &idev->obj);
	}
	refcount_dec(&vdev->viommu->obj.users);
	kfree_rcu_mightsleep(vdev);
}

/**
 * ioasid_device_leave_viommu - Let no vDEVICE stand for a device any more
 * @idev: The device, which is about to be unbound, with nothing attached
 *
 * A vDEVICE ends; its identifier is not used again as long as the context lives.
 *
 * Context: Process context. Before the object of the device is removed.
 */
void ioasid_device_leave_viommu(struct iommufd_device *idev)
{
	struct iommufd_vdevice *vdev;
	bool ended = false;

	scoped_guard(mutex, &idev->group->lock) {
		idev->leaving = true;
		vdev = idev->vdev;
		if (vdev) {
			/*
			 * Nobody who holds a vDEVICE waits for the lock. An
			 * ioctl that ends it at the same time does so without.
			 */
			ended = ioasid_object_bury(idev->ictx, &vdev->obj);
			vdevice_disconnect(vdev, idev);
		}
	}
	if (!ended)
		return;
	ioasid_vdevice_destroy(&vdev->obj);
	/* The identifier stays taken, but no memory is. */
	atomic_dec(&idev->ictx->num_objects);
}

/* ---- queues that the hardware reads ---- */

/* The pages that the queue lies in. It does not wrap around. */
static unsigned long hw_queue_start(const struct iommufd_hw_queue *hw_queue)
{
	return PAGE_ALIGN_DOWN(hw_queue->base_addr);
}

static unsigned long hw_queue_pages(const struct iommufd_hw_queue *hw_queue)
{
	return ((hw_queue->base_addr + hw_queue->length - 1) >> PAGE_SHIFT) -
	       (hw_queue->base_addr >> PAGE_SHIFT) + 1;
}

static bool pages_are_contiguous(struct page **pages, unsigned long num)
{
	unsigned long i;

	if (ioasid_should_fail())
		return false;
	for (i = 1; i < num; i++)
		if (page_to_pfn(pages[i]) != page_to_pfn(pages[0]) + i)
			return false;
	return true;
}

static void hw_queue_unpin(struct iommufd_hw_queue *hw_queue)
{
	iommufd_access_unpin_pages(hw_queue->access, hw_queue_start(hw_queue),
				   hw_queue_pages(hw_queue) * PAGE_SIZE);
}

static int hw_queue_pin_pages(struct iommufd_hw_queue *hw_queue,
			      struct page **pages, unsigned long num,
			      phys_addr_t *base_pa)
{
	int rc;

	rc = iommufd_access_pin_pages(hw_queue->access,
				      hw_queue_start(hw_queue),
				      num * PAGE_SIZE, pages, 0);
	if (rc)
		return rc;
	if (!pages_are_contiguous(pages, num)) {
		hw_queue_unpin(hw_queue);
		return -EFAULT;
	}
	*base_pa = page_to_phys(pages[0]) + offset_in_page(hw_queue->base_addr);
	return 0;
}

/*
 * The hardware reads the queue by physical addresses, past the page table in
 * which the user could unmap it. So the pages must be contiguous, and pinned
 * such that UNMAP over them is refused.
 */
static int hw_queue_pin(struct iommufd_hw_queue *hw_queue, phys_addr_t *base_pa)
{
	struct ioasid *ioas = viommu_table(hw_queue->viommu)->ioas;
	unsigned long num = hw_queue_pages(hw_queue);
	struct iommufd_access *access;
	struct page **pages;
	int rc;

	/* The user chooses how many, so it may be too many. */
	pages = kvmalloc_objs(*pages, num, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pages)
		return -ENOMEM;
	access = ioasid_access_create_internal(ioas);
	if (IS_ERR(access)) {
		rc = PTR_ERR(access);
		goto out_free;
	}
	hw_queue->access = access;
	rc = hw_queue_pin_pages(hw_queue, pages, num, base_pa);
	if (rc) {
		hw_queue->access = NULL;
		ioasid_access_destroy_internal(access);
	}

out_free:
	kvfree(pages);
	return rc;
}

static struct iommufd_hw_queue *hw_queue_new(struct ioasid_ucmd *ucmd,
					     struct iommufd_viommu *viommu)
{
	const struct iommu_hw_queue_alloc *cmd = ucmd->cmd;
	const struct iommufd_viommu_ops *ops = viommu->ops;
	struct iommufd_hw_queue *hw_queue;
	struct iommufd_object *obj;
	size_t size;

	if (!ops->get_hw_queue_size || !ops->hw_queue_init_phys)
		return ERR_PTR(-EOPNOTSUPP);
	size = ops->get_hw_queue_size(viommu, cmd->type);
	if (!size || WARN_ON_ONCE(size < sizeof(*hw_queue)))
		return ERR_PTR(-EOPNOTSUPP);
	obj = new_object(ucmd, size, IOMMUFD_OBJ_HW_QUEUE);
	if (IS_ERR(obj))
		return ERR_CAST(obj);

	hw_queue = to_hw_queue(obj);
	hw_queue->type = cmd->type;
	hw_queue->base_addr = cmd->nesting_parent_iova;
	hw_queue->length = cmd->length;
	hw_queue->viommu = viommu;
	refcount_inc(&viommu->obj.users);
	ucmd->new_obj = obj;
	return hw_queue;
}

static int hw_queue_start_at(struct iommufd_hw_queue *hw_queue, u32 index,
			     phys_addr_t base_pa)
{
	if (ioasid_should_fail())
		return -EIO;
	return hw_queue->viommu->ops->hw_queue_init_phys(hw_queue, index,
							 base_pa);
}

/* The span of pages is shorter than the address space. */
static bool hw_queue_spans_too_much(const struct iommu_hw_queue_alloc *cmd)
{
	size_t span;

	return check_add_overflow(offset_in_page(cmd->nesting_parent_iova),
				  cmd->length, &span) ||
	       check_add_overflow(span, PAGE_SIZE - 1, &span);
}

/**
 * ioasid_hw_queue_alloc - IOMMU_HW_QUEUE_ALLOC
 * @ucmd: The call
 *
 * Context: No lock is held. Sleeps for user memory.
 *
 * Return: 0; -EOPNOTSUPP: flags, no type, or one that the vIOMMU does not have;
 * -EINVAL: no length, or what the memory is of cannot be pinned; -EOVERFLOW: the
 * queue wraps around; -ERANGE: it is as long as the address space; -ENOENT: no
 * such vIOMMU, or a part is not mapped; -EFAULT: the memory is not contiguous;
 * -ENOSPC: too many objects in the context; -ENOMEM; or what pinning or the
 * driver says.
 */
int ioasid_hw_queue_alloc(struct ioasid_ucmd *ucmd)
{
	struct iommu_hw_queue_alloc *cmd = ucmd->cmd;
	struct iommufd_hw_queue *hw_queue;
	struct iommufd_object *obj;
	phys_addr_t base_pa;
	unsigned long last;
	int rc;

	if (cmd->flags || cmd->type == IOMMU_HW_QUEUE_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->length)
		return -EINVAL;
	if (check_add_overflow(cmd->nesting_parent_iova, cmd->length - 1,
			       &last))
		return -EOVERFLOW;

	obj = ioasid_object_get(ucmd->ictx, cmd->viommu_id, IOMMUFD_OBJ_VIOMMU);
	if (IS_ERR(obj))
		return PTR_ERR(obj);
	hw_queue = hw_queue_new(ucmd, to_viommu(obj));
	ioasid_object_put(ucmd->ictx, obj);
	if (IS_ERR(hw_queue))
		return PTR_ERR(hw_queue);

	if (hw_queue_spans_too_much(cmd))
		return -ERANGE;
	rc = hw_queue_pin(hw_queue, &base_pa);
	if (rc)
		return rc;
	rc = hw_queue_start_at(hw_queue, cmd->index, base_pa);
	if (rc)
		return rc;
	cmd->out_hw_queue_id = hw_queue->obj.id;
	return 0;
}

/**
 * ioasid_hw_queue_destroy - Free a queue that the hardware reads
 * @obj: Its object, which has ended or was never published. The driver may not
 *       have accepted it, nor its memory be pinned.
 */
void ioasid_hw_queue_destroy(struct iommufd_object *obj)
{
	struct iommufd_hw_queue *hw_queue = to_hw_queue(obj);

	if (hw_queue->destroy)
		hw_queue->destroy(hw_queue);
	if (hw_queue->access) {
		hw_queue_unpin(hw_queue);
		ioasid_access_destroy_internal(hw_queue->access);
	}
	refcount_dec(&hw_queue->viommu->obj.users);
	kfree_rcu_mightsleep(hw_queue);
}

/* ---- mmap() ---- */

static void mmap_vma_open(struct vm_area_struct *vma)
{
	struct ioasid_mmap_range *range = vma->vm_private_data;

	refcount_inc(&range->owner->users);
}

static void mmap_vma_close(struct vm_area_struct *vma)
{
	struct ioasid_mmap_range *range = vma->vm_private_data;

	refcount_dec(&range->owner->users);
}

static const struct vm_operations_struct mmap_vma_ops = {
	.open = mmap_vma_open,
	.close = mmap_vma_close,
};

/* That very range, with its owner used by the caller, or NULL */
static struct ioasid_mmap_range *mmap_get_range(struct iommufd_ctx *ictx,
						unsigned long pgoff,
						unsigned long length)
{
	struct ioasid_mmap_range *range;
	unsigned long offset;

	if (check_shl_overflow(pgoff, PAGE_SHIFT, &offset))
		return NULL;

	MA_STATE(mas, &ictx->mmaps, offset, offset);

	/* The lock keeps the range, and with it the owner. */
	guard(spinlock)(&ictx->mmaps.ma_lock);
	range = mas_walk(&mas);
	if (!range || mas.index != offset || mas.last - offset != length - 1 ||
	    !ioasid_object_use(ictx, range->owner))
		return NULL;
	return range;
}

/**
 * ioasid_mmap - Map device memory that a driver has offered
 * @ictx: The context
 * @vma: Where to. Its offset and length must be exactly those of a range.
 *
 * The owner of the range cannot be destroyed as long as it is mapped.
 *
 * Context: mmap() of /dev/iommu.
 *
 * Return: 0; -EINVAL: not shared; -EPERM: executable; -ENXIO: no such range;
 * -ENOMEM.
 */
int ioasid_mmap(struct iommufd_ctx *ictx, struct vm_area_struct *vma)
{
	struct ioasid_mmap_range *range;
	int rc = -EAGAIN;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;

	range = mmap_get_range(ictx, vma->vm_pgoff,
			       vma->vm_end - vma->vm_start);
	if (!range)
		return -ENXIO;

	vm_flags_clear(vma, VM_MAYEXEC);
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	if (!ioasid_should_fail())
		rc = io_remap_pfn_range(vma, vma->vm_start, PHYS_PFN(range->addr),
					vma->vm_end - vma->vm_start,
					vma->vm_page_prot);
	if (rc) {
		refcount_dec(&range->owner->users);
		return rc;
	}
	vma->vm_private_data = range;
	vma->vm_ops = &mmap_vma_ops;
	return 0;
}
