// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/iommu: contexts and the dispatch of their ioctls.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommufd.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "ioasid_private.h"

unsigned int ioasid_dma_entry_limit __read_mostly = SZ_16M;
module_param_named(dma_entry_limit, ioasid_dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit,
		 "Mappings that an I/O address space may have (default: 16777216)");

unsigned int ioasid_max_objects __read_mostly = 65536;
module_param_named(max_objects, ioasid_max_objects, uint, 0644);
MODULE_PARM_DESC(max_objects,
		 "I/O address spaces and devices that a context may have (default: 65536)");

static int ioasid_fops_open(struct inode *inode, struct file *file)
{
	struct iommufd_ctx *ictx;

	ictx = kzalloc_obj(*ictx, GFP_KERNEL_ACCOUNT);
	if (!ictx)
		return -ENOMEM;
	ictx->file = file;
	xa_init_flags(&ictx->objects, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	init_waitqueue_head(&ictx->object_wait);
	mutex_init(&ictx->groups_lock);
	xa_init_flags(&ictx->groups, XA_FLAGS_ACCOUNT);
	mutex_init(&ictx->sw_msi_lock);
	INIT_LIST_HEAD(&ictx->sw_msi_list);
	mutex_init(&ictx->compat_lock);
	file->private_data = ictx;
	return 0;
}

/*
 * Devices and accesses hold references to the file, so only address spaces are
 * left, and nothing is attached to them.
 */
static int ioasid_fops_release(struct inode *inode, struct file *file)
{
	struct iommufd_ctx *ictx = file->private_data;
	struct sw_msi_page *page, *next;
	struct iommufd_object *obj;
	unsigned long id;

	if (ictx->compat_ioas)
		refcount_dec(&ictx->compat_ioas->obj.users);
	xa_for_each(&ictx->objects, id, obj) {
		if (WARN_ON(obj->type != IOMMUFD_OBJ_IOAS))
			continue;
		ioasid_object_remove(ictx, obj);
		ioasid_destroy(to_ioasid(obj));
	}
	list_for_each_entry_safe(page, next, &ictx->sw_msi_list, entry)
		kfree(page);
	WARN_ON(!xa_empty(&ictx->groups));
	xa_destroy(&ictx->groups);
	xa_destroy(&ictx->objects);
	mutex_destroy(&ictx->compat_lock);
	mutex_destroy(&ictx->sw_msi_lock);
	mutex_destroy(&ictx->groups_lock);
	kfree(ictx);
	return 0;
}

static void finish_new_object(struct ioasid_ucmd *ucmd, int rc)
{
	if (!ucmd->new_obj)
		return;
	if (!rc) {
		ioasid_object_publish(ucmd->ictx, ucmd->new_obj);
		return;
	}
	ioasid_object_abort(ucmd->ictx, ucmd->new_obj);
	ioasid_destroy(to_ioasid(ucmd->new_obj));
}

static long ioasid_fops_ioctl(struct file *file, unsigned int cmd,
			      unsigned long arg)
{
	const struct ioasid_ioctl *op = ioasid_native_ioctl(cmd);
	struct ioasid_ucmd ucmd = { .ictx = file->private_data };
	void __user *uptr = (void __user *)arg;
	/* Every structure starts with size and flags. */
	union {
		struct {
			u32 size;
			u32 flags;
		};
		struct iommu_check_extension check_extension;
		struct iommu_device_info device_info;
		struct iommu_device_cookie device_cookie;
		struct iommu_ioasid_alloc ioasid_alloc;
		struct iommu_ioasid_free ioasid_free;
		struct iommu_ioasid_info ioasid_info;
		struct iommu_map_dma map_dma;
		struct iommu_unmap_dma unmap_dma;
		struct iommu_dirty_start dirty_start;
		struct iommu_dirty_stop dirty_stop;
		struct iommu_dirty_get dirty_get;
	} buf;
	bool output;
	u32 usize;
	int rc;

	if (!op)
		return -ENOTTY;
	if (WARN_ON_ONCE(op->size > sizeof(buf)))
		return -ENOTTY;
	if (get_user(usize, (u32 __user *)uptr))
		return -EFAULT;
	if (usize < op->min_size)
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	rc = copy_struct_from_user(&buf, op->size, uptr, usize);
	if (rc)
		return rc;
	if (buf.flags & ~op->flags)
		return -EOPNOTSUPP;

	/* Find out before anything changes that results cannot be returned. */
	output = op->output_flags == IOASID_ALWAYS_OUTPUT ||
		 (buf.flags & op->output_flags);
	if (output && copy_to_user(uptr, &buf, min(usize, op->size)))
		return -EFAULT;

	ucmd.cmd = &buf;
	rc = op->execute(&ucmd);
	if (!rc && output && copy_to_user(uptr, &buf, min(usize, op->size)))
		rc = -EFAULT;
	finish_new_object(&ucmd, rc);
	return rc;
}

static void ioasid_fops_show_fdinfo(struct seq_file *seq, struct file *file)
{
	ioasid_show_fdinfo(seq, file->private_data);
}

static const struct file_operations ioasid_fops = {
	.owner = THIS_MODULE,
	.open = ioasid_fops_open,
	.release = ioasid_fops_release,
	.unlocked_ioctl = ioasid_fops_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = ioasid_fops_show_fdinfo,
};

/**
 * iommufd_ctx_get - Take another reference to a context
 * @ictx: A context that the caller holds a reference to
 */
void iommufd_ctx_get(struct iommufd_ctx *ictx)
{
	get_file(ictx->file);
}
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_get, "IOMMUFD");

/**
 * iommufd_ctx_from_file - The context of an open file
 * @file: The file
 *
 * Return: The context with a reference, for iommufd_ctx_put(), or -EBADFD if
 * @file is not an open /dev/iommu.
 */
struct iommufd_ctx *iommufd_ctx_from_file(struct file *file)
{
	struct iommufd_ctx *ictx;

	if (file->f_op != &ioasid_fops)
		return ERR_PTR(-EBADFD);
	ictx = file->private_data;
	iommufd_ctx_get(ictx);
	return ictx;
}
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_from_file, "IOMMUFD");

/**
 * iommufd_ctx_from_fd - The context of a file descriptor
 * @fd: File descriptor of the calling process
 *
 * Return: The context with a reference, for iommufd_ctx_put(); -EBADF: no such
 * file descriptor; -EBADFD: not an open /dev/iommu.
 */
struct iommufd_ctx *iommufd_ctx_from_fd(int fd)
{
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (file->f_op != &ioasid_fops) {
		fput(file);
		return ERR_PTR(-EBADFD);
	}
	/* The reference to the file is the one to the context. */
	return file->private_data;
}
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_from_fd, "IOMMUFD");

/**
 * iommufd_ctx_put - Drop a reference to a context
 * @ictx: The context; it may be gone when this returns
 */
void iommufd_ctx_put(struct iommufd_ctx *ictx)
{
	fput(ictx->file);
}
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_put, "IOMMUFD");

static struct miscdevice ioasid_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "iommu",
	.fops = &ioasid_fops,
	.nodename = "iommu",
	.mode = 0660,
};

static int __init ioasid_init(void)
{
	return misc_register(&ioasid_misc);
}

static void __exit ioasid_exit(void)
{
	misc_deregister(&ioasid_misc);
}

module_init(ioasid_init);
module_exit(ioasid_exit);

MODULE_IMPORT_NS("IOMMUFD_INTERNAL");
MODULE_IMPORT_NS("IOMMUFD");
MODULE_DESCRIPTION("I/O address space graphs for user space: /dev/iommu");
MODULE_LICENSE("GPL");
