// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/iommu: contexts and the dispatch of their ioctls.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io_uring/cmd.h>
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
	record_pool_init(&ictx->mems, sizeof(struct mem_with_mapping));
	record_pool_init(&ictx->shadows, sizeof(struct shadow));
	init_waitqueue_head(&ictx->object_wait);
	mutex_init(&ictx->groups_lock);
	xa_init_flags(&ictx->groups, XA_FLAGS_ACCOUNT);
	mutex_init(&ictx->sw_msi_lock);
	INIT_LIST_HEAD(&ictx->sw_msi_list);
	mutex_init(&ictx->compat_lock);
	spin_lock_init(&ictx->event_lock);
	mt_init_flags(&ictx->mmaps, MT_FLAGS_ALLOC_RANGE);
	file->private_data = ictx;
	return 0;
}

/* Objects that nothing is built on any more. Return: whether there were some. */
static bool destroy_leaves(struct iommufd_ctx *ictx)
{
	struct iommufd_object *obj;
	bool progress = false;
	unsigned long id;

	xa_for_each(&ictx->objects, id, obj) {
		if (!ioasid_object_user_owned(obj->type) ||
		    refcount_read(&obj->users) != 1)
			continue;
		ioasid_object_remove(ictx, obj);
		ioasid_object_destroy(obj);
		progress = true;
		cond_resched();
	}
	return progress;
}

/*
 * Devices and accesses hold references to the file, so only what the user has made
 * is left.
 */
static int ioasid_fops_release(struct inode *inode, struct file *file)
{
	struct iommufd_ctx *ictx = file->private_data;
	struct sw_msi_page *page, *next;
	struct iommufd_object *obj;
	unsigned long id;

	ioasid_events_orphan(ictx);
	ioasid_eventqs_orphan(ictx);
	ioasid_set_compat(ictx, NULL);
	while (destroy_leaves(ictx))
		;
	xa_for_each(&ictx->objects, id, obj)
		WARN_ON(1);
	list_for_each_entry_safe(page, next, &ictx->sw_msi_list, entry)
		kfree(page);
	WARN_ON(!mtree_empty(&ictx->mmaps));
	mtree_destroy(&ictx->mmaps);
	WARN_ON(!xa_empty(&ictx->groups));
	xa_destroy(&ictx->groups);
	xa_destroy(&ictx->objects);
	mutex_destroy(&ictx->compat_lock);
	mutex_destroy(&ictx->sw_msi_lock);
	mutex_destroy(&ictx->groups_lock);
	mem_owner_forget(ictx);
	record_pool_end(&ictx->shadows);
	record_pool_end(&ictx->mems);
	kfree(ictx);
	return 0;
}

static void finish_new_object(struct ioasid_ucmd *ucmd, int rc)
{
	if (!rc) {
		ioasid_object_publish(ucmd->ictx, ucmd->new_obj);
		return;
	}
	ioasid_object_abort(ucmd->ictx, ucmd->new_obj);
	ioasid_object_destroy(ucmd->new_obj);
}

static const struct ioasid_ioctl *find_ioctl(unsigned int cmd)
{
	return ioasid_native_ioctl(cmd) ?: ioasid_iommufd_ioctl(cmd);
}

/* Room for any structure: each starts with its size, the native ones with flags, too. */
union command {
	struct {
		u32 size;
		u32 flags;
	};
	u64 word[IOASID_CMD_MAX / sizeof(u64)];
};

static __always_inline int return_results(const struct ioasid_ioctl *op,
					  const union command *buf, u32 usize,
					  void __user *uptr)
{
	if (op->result)
		return put_user(buf->word[op->result / sizeof(u64)],
				(u64 __user *)(uptr + op->result));
	return copy_to_user(uptr, buf, min(usize, op->size)) ? -EFAULT : 0;
}

static __always_inline int run_ioctl(struct iommufd_ctx *ictx,
				     const struct ioasid_ioctl *op,
				     void __user *uptr)
{
	struct ioasid_ucmd ucmd = {
		.ictx = ictx,
		.ubuffer = uptr,
	};
	union command buf __uninitialized;
	bool output;
	u32 usize;
	int rc;

	if (get_user(usize, (u32 __user *)uptr))
		return -EFAULT;
	if (usize < op->min_size)
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	if (likely(usize == op->size))
		rc = copy_from_user(&buf, uptr, usize) ? -EFAULT : 0;
	else
		rc = copy_struct_from_user(&buf, op->size, uptr, usize);
	if (unlikely(rc))
		return rc;
	if (buf.flags & ~op->flags)
		return -EOPNOTSUPP;

	/* Find out before anything changes that results cannot be returned. */
	output = op->output_flags == IOASID_ALWAYS_OUTPUT ||
		 (buf.flags & op->output_flags);
	if (output && return_results(op, &buf, usize, uptr))
		return -EFAULT;

	ucmd.user_size = usize;
	ucmd.cmd = &buf;
	rc = op->execute(&ucmd);
	if (!rc && output)
		rc = return_results(op, &buf, usize, uptr);
	if (unlikely(ucmd.new_obj))
		finish_new_object(&ucmd, rc);
	return rc;
}

static long ioasid_fops_ioctl(struct file *file, unsigned int cmd,
			      unsigned long arg)
{
	const struct ioasid_ioctl *op = find_ioctl(cmd);
	struct iommufd_ctx *ictx = file->private_data;

	if (!op)
		return ioasid_type1_ioctl(ictx, cmd, arg);
	return run_ioctl(ictx, op, (void __user *)arg);
}

static int ioasid_fops_uring_cmd(struct io_uring_cmd *ioucmd,
				 unsigned int issue_flags)
{
	const struct iommu_uring_cmd *cmd =
		io_uring_sqe_cmd(ioucmd->sqe, struct iommu_uring_cmd);
	u64 arg = READ_ONCE(cmd->arg);

	if (ioucmd->cmd_op != IOMMU_MAP_BATCH)
		return -ENOTTY;
	if (READ_ONCE(cmd->__reserved))
		return -EINVAL;
	/* It sleeps: a worker does it, with the memory and limits of the task. */
	if (issue_flags & IO_URING_F_NONBLOCK)
		return -EAGAIN;
	return run_ioctl(ioucmd->file->private_data,
			 ioasid_native_ioctl(IOMMU_MAP_BATCH),
			 u64_to_user_ptr(arg));
}

static void ioasid_fops_show_fdinfo(struct seq_file *seq, struct file *file)
{
	ioasid_show_fdinfo(seq, file->private_data);
}

static int ioasid_fops_mmap(struct file *file, struct vm_area_struct *vma)
{
	return ioasid_mmap(file->private_data, vma);
}

static const struct file_operations ioasid_fops = {
	.owner = THIS_MODULE,
	.open = ioasid_fops_open,
	.release = ioasid_fops_release,
	.unlocked_ioctl = ioasid_fops_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.uring_cmd = ioasid_fops_uring_cmd,
	.mmap = ioasid_fops_mmap,
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

/**
 * ioasid_device - The device that stands for the subsystem
 *
 * Return: A device without a driver or an IOMMU.
 */
struct device *ioasid_device(void)
{
	return ioasid_misc.this_device;
}

static int __init ioasid_init(void)
{
	int rc;

	rc = ioasid_mock_init();
	if (rc)
		return rc;
	rc = misc_register(&ioasid_misc);
	if (rc)
		ioasid_mock_exit();
	return rc;
}

static void __exit ioasid_exit(void)
{
	misc_deregister(&ioasid_misc);
	ioasid_mock_exit();
}

module_init(ioasid_init);
module_exit(ioasid_exit);

MODULE_IMPORT_NS("IOMMUFD_INTERNAL");
MODULE_IMPORT_NS("IOMMUFD");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_DESCRIPTION("I/O address space graphs for user space: /dev/iommu");
MODULE_LICENSE("GPL");
