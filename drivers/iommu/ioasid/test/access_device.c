// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO devices without hardware that use the memory of an address space.
 *
 * They do what drivers of mediated devices do, on command: pin pages and look
 * into them, read and write by address, and let go in dma_unmap(). Commands
 * come through region 0, see access_device.h.
 *
 * Two kinds of locks, taken in this order:
 *
 * - slot_lock[] serializes the use of a slot of the region. User memory is
 *   copied under it.
 * - lock protects the pins and the counters. It is also held while pages are
 *   being pinned, so that dma_unmap() can never miss a pin that the provider
 *   has granted but that is not in the list yet. Hence the provider must not
 *   make a pin wait for a dma_unmap(); other drivers rely on that, too.
 *
 * dma_unmap() takes only the latter and holds it while it unpins. It is called
 * under VFIO's dev_set->lock when an attachment ends, so that lock is never
 * taken under ours.
 *
 * Devices that are opened through a VFIO group work with the type1 container,
 * too. Lockdep complains there when dma_unmap() unpins: vfio_iommu_type1 takes
 * its device_list_lock and its lock in either order.
 */
#include <linux/cleanup.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "access_device.h"

#define MAX_DEVICES 64

static unsigned int num_devices = 2;
module_param(num_devices, uint, 0444);
MODULE_PARM_DESC(num_devices, "Number of devices, 1 to 64 (default 2)");

static struct platform_device *platform_devices[MAX_DEVICES];
static unsigned int num_platform_devices;

/**
 * struct access_pin - Pages that are pinned together and unpinned together
 * @entry: In access_device.pins, the latest first
 * @iova: Address of the first page
 * @last: Address of the last byte
 * @writable: Pinned for writing
 * @num_pages: How many pages
 * @pages: The pages
 */
struct access_pin {
	struct list_head entry;
	u64 iova;
	u64 last;
	bool writable;
	unsigned int num_pages;
	struct page *pages[] __counted_by(num_pages);
};

/**
 * struct access_device - A device
 * @vdev: What VFIO knows of it
 * @slot_lock: Each protects one slot of @region
 * @region: The region's content while the device is open
 * @lock: Protects the members below
 * @pins: struct access_pin
 * @policy: What dma_unmap() does
 * @stat: Counters
 */
struct access_device {
	struct vfio_device vdev;
	struct mutex slot_lock[IOASID_ACCESS_NUM_SLOTS]; /* a slot each */
	void *region;

	struct mutex lock; /* what follows */
	struct list_head pins;
	enum ioasid_access_policy policy;
	struct ioasid_access_stat stat;
};

static struct access_device *to_access_device(struct vfio_device *vdev)
{
	return container_of(vdev, struct access_device, vdev);
}

/* ---- pins ---- */

static void access_pin_undo(struct access_device *adev, struct access_pin *pin)
{
	lockdep_assert_held(&adev->lock);

	vfio_unpin_pages(&adev->vdev, pin->iova, pin->num_pages);
	adev->stat.num_pins--;
	adev->stat.num_pages -= pin->num_pages;
	list_del(&pin->entry);
	kfree(pin);
}

static struct access_pin *access_pin_covering(struct access_device *adev,
					      u64 iova, u64 length,
					      bool writable)
{
	struct access_pin *pin;

	lockdep_assert_held(&adev->lock);

	list_for_each_entry(pin, &adev->pins, entry)
		if (pin->iova <= iova && iova <= pin->last &&
		    length - 1 <= pin->last - iova &&
		    (pin->writable || !writable))
			return pin;
	return NULL;
}

static int access_do_pin(struct access_device *adev,
			 struct ioasid_access_cmd *cmd)
{
	struct access_pin *pin __free(kfree) = NULL;
	unsigned int num_pages = cmd->length >> PAGE_SHIFT;
	int prot = 0;
	int ret;

	if (cmd->flags & IOASID_ACCESS_PIN_READ)
		prot |= IOMMU_READ;
	if (cmd->flags & IOASID_ACCESS_PIN_WRITE)
		prot |= IOMMU_WRITE;

	pin = kzalloc_flex(*pin, pages, num_pages, GFP_KERNEL_ACCOUNT);
	if (!pin)
		return -ENOMEM;
	pin->num_pages = num_pages;
	pin->iova = cmd->iova;
	pin->last = cmd->iova + cmd->length - 1;
	pin->writable = prot & IOMMU_WRITE;

	guard(mutex)(&adev->lock);
	if (adev->stat.num_pins == IOASID_ACCESS_NUM_PINS)
		return -ENOSPC;
	ret = vfio_pin_pages(&adev->vdev, cmd->iova, num_pages, prot,
			     pin->pages);
	if (ret < 0)
		return ret;
	adev->stat.num_pins++;
	adev->stat.num_pages += num_pages;
	list_add(&no_free_ptr(pin)->entry, &adev->pins);
	return 0;
}

static int access_do_unpin(struct access_device *adev,
			   struct ioasid_access_cmd *cmd)
{
	u64 last = cmd->iova + cmd->length - 1;
	struct access_pin *pin;

	guard(mutex)(&adev->lock);
	list_for_each_entry(pin, &adev->pins, entry) {
		if (pin->iova == cmd->iova && pin->last == last) {
			access_pin_undo(adev, pin);
			return 0;
		}
	}
	return -ENOENT;
}

/* PEEK and POKE */
static int access_do_touch(struct access_device *adev,
			   struct ioasid_access_cmd *cmd)
{
	bool write = cmd->op == IOASID_ACCESS_POKE;
	struct access_pin *pin;
	size_t done = 0;

	guard(mutex)(&adev->lock);
	pin = access_pin_covering(adev, cmd->iova, cmd->length, write);
	if (!pin)
		return -ENOENT;

	while (done < cmd->length) {
		u64 pos = cmd->iova - pin->iova + done;
		struct page *page = pin->pages[pos >> PAGE_SHIFT];
		size_t offset = offset_in_page(pos);
		size_t len = min(cmd->length - done, PAGE_SIZE - offset);

		if (write)
			memcpy_to_page(page, offset, cmd->data + done, len);
		else
			memcpy_from_page(cmd->data + done, page, offset, len);
		done += len;
	}
	return 0;
}

/* READ and WRITE */
static int access_do_copy(struct access_device *adev,
			  struct ioasid_access_cmd *cmd)
{
	return vfio_dma_rw(&adev->vdev, cmd->iova, cmd->data, cmd->length,
			   cmd->op == IOASID_ACCESS_WRITE);
}

static int access_do_policy(struct access_device *adev,
			    struct ioasid_access_cmd *cmd)
{
	guard(mutex)(&adev->lock);
	adev->policy = cmd->flags;
	return 0;
}

static int access_do_stat(struct access_device *adev,
			  struct ioasid_access_cmd *cmd)
{
	guard(mutex)(&adev->lock);
	memcpy(cmd->data, &adev->stat, sizeof(adev->stat));
	if (cmd->flags & IOASID_ACCESS_STAT_RESET) {
		adev->stat = (struct ioasid_access_stat) {
			.num_pins = adev->stat.num_pins,
			.num_pages = adev->stat.num_pages,
		};
	}
	return 0;
}

/*
 * The range may hold no pin at all, and the call may come when the device is
 * closed already.
 */
static void access_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct access_device *adev = to_access_device(vdev);
	bool all = !iova && length == ULONG_MAX;
	struct access_pin *pin, *next;
	u64 last;

	guard(mutex)(&adev->lock);
	adev->stat.num_unmaps++;
	adev->stat.last_iova = iova;
	adev->stat.last_length = length;
	if (!length)
		return;
	if (check_add_overflow(iova, length - 1, &last))
		last = U64_MAX;

	list_for_each_entry_safe(pin, next, &adev->pins, entry) {
		if (pin->iova > last || pin->last < iova)
			continue;
		adev->stat.hit_iova = iova;
		adev->stat.hit_length = length;
		if (adev->policy == IOASID_ACCESS_STUBBORN && !all) {
			adev->stat.num_kept++;
			continue;
		}
		adev->stat.num_released++;
		access_pin_undo(adev, pin);
	}
}

/* ---- region ---- */

/* Whether the device understands a command that came with @num_data bytes. */
static int access_check(const struct ioasid_access_cmd *cmd, size_t num_data)
{
	u32 flags = 0;

	if (cmd->result || cmd->__reserved)
		return -EINVAL;
	if (cmd->iova != (dma_addr_t)cmd->iova)
		return -EOVERFLOW;

	switch (cmd->op) {
	case IOASID_ACCESS_PIN:
		flags = IOASID_ACCESS_PIN_READ | IOASID_ACCESS_PIN_WRITE;
		if (!(cmd->flags & flags))
			return -EINVAL;
		fallthrough;
	case IOASID_ACCESS_UNPIN:
		if (!PAGE_ALIGNED(cmd->iova) || !PAGE_ALIGNED(cmd->length) ||
		    !cmd->length ||
		    cmd->length >> PAGE_SHIFT > IOASID_ACCESS_PIN_PAGES)
			return -EINVAL;
		break;
	case IOASID_ACCESS_WRITE:
	case IOASID_ACCESS_POKE:
		if (cmd->length > num_data)
			return -EINVAL;
		fallthrough;
	case IOASID_ACCESS_READ:
	case IOASID_ACCESS_PEEK:
		if (!cmd->length || cmd->length > IOASID_ACCESS_MAX_DATA)
			return -EINVAL;
		break;
	case IOASID_ACCESS_POLICY:
		if (cmd->flags > IOASID_ACCESS_STUBBORN || cmd->iova ||
		    cmd->length)
			return -EINVAL;
		return 0;
	case IOASID_ACCESS_STAT:
		flags = IOASID_ACCESS_STAT_RESET;
		if (cmd->iova || cmd->length)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	return cmd->flags & ~flags ? -EINVAL : 0;
}

static int access_execute(struct access_device *adev,
			  struct ioasid_access_cmd *cmd)
{
	switch (cmd->op) {
	case IOASID_ACCESS_PIN:
		return access_do_pin(adev, cmd);
	case IOASID_ACCESS_UNPIN:
		return access_do_unpin(adev, cmd);
	case IOASID_ACCESS_PEEK:
	case IOASID_ACCESS_POKE:
		return access_do_touch(adev, cmd);
	case IOASID_ACCESS_READ:
	case IOASID_ACCESS_WRITE:
		return access_do_copy(adev, cmd);
	case IOASID_ACCESS_POLICY:
		return access_do_policy(adev, cmd);
	case IOASID_ACCESS_STAT:
		return access_do_stat(adev, cmd);
	default:
		return -EINVAL;
	}
}

static ssize_t access_write(struct vfio_device *vdev, const char __user *buf,
			    size_t count, loff_t *ppos)
{
	struct access_device *adev = to_access_device(vdev);
	struct ioasid_access_cmd *cmd;
	int ret;

	if (*ppos < 0 || *ppos >= IOASID_ACCESS_REGION_SIZE ||
	    *ppos % IOASID_ACCESS_SLOT_SIZE ||
	    count < sizeof(*cmd) || count > IOASID_ACCESS_SLOT_SIZE)
		return -EINVAL;
	cmd = adev->region + *ppos;

	guard(mutex)(&adev->slot_lock[*ppos / IOASID_ACCESS_SLOT_SIZE]);
	memset(cmd, 0, IOASID_ACCESS_SLOT_SIZE);
	if (copy_from_user(cmd, buf, count))
		return -EFAULT;
	ret = access_check(cmd, count - sizeof(*cmd));
	if (ret)
		return ret;
	cmd->result = access_execute(adev, cmd);
	*ppos += count;
	return count;
}

static ssize_t access_read(struct vfio_device *vdev, char __user *buf,
			   size_t count, loff_t *ppos)
{
	struct access_device *adev = to_access_device(vdev);
	unsigned int slot;
	size_t offset;

	if (*ppos < 0 || *ppos >= IOASID_ACCESS_REGION_SIZE)
		return -EINVAL;
	slot = *ppos / IOASID_ACCESS_SLOT_SIZE;
	offset = *ppos % IOASID_ACCESS_SLOT_SIZE;
	if (count > IOASID_ACCESS_SLOT_SIZE - offset)
		return -EINVAL;

	guard(mutex)(&adev->slot_lock[slot]);
	if (copy_to_user(buf, adev->region + *ppos, count))
		return -EFAULT;
	*ppos += count;
	return count;
}

/* ---- VFIO ---- */

static int access_open_device(struct vfio_device *vdev)
{
	struct access_device *adev = to_access_device(vdev);

	adev->region = kvzalloc(IOASID_ACCESS_REGION_SIZE, GFP_KERNEL_ACCOUNT);
	if (!adev->region)
		return -ENOMEM;

	guard(mutex)(&adev->lock);
	adev->policy = IOASID_ACCESS_RELEASE;
	adev->stat = (struct ioasid_access_stat) {};
	return 0;
}

static void access_close_device(struct vfio_device *vdev)
{
	struct access_device *adev = to_access_device(vdev);
	struct access_pin *pin, *next;

	scoped_guard(mutex, &adev->lock) {
		list_for_each_entry_safe(pin, next, &adev->pins, entry)
			access_pin_undo(adev, pin);
	}
	kvfree(adev->region);
	adev->region = NULL;
}

static int access_get_info(void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = 0;
	info.num_regions = 1;
	info.num_irqs = 0;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long access_ioctl(struct vfio_device *vdev, unsigned int cmd,
			 unsigned long arg)
{
	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return access_get_info((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int access_get_region_info(struct vfio_device *vdev,
				  struct vfio_region_info *info,
				  struct vfio_info_cap *caps)
{
	if (info->index)
		return -EINVAL;
	info->offset = 0;
	info->size = IOASID_ACCESS_REGION_SIZE;
	info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	return 0;
}

static const struct vfio_device_ops access_device_ops = {
	.name = IOASID_ACCESS_DRIVER,
	.open_device = access_open_device,
	.close_device = access_close_device,
	.read = access_read,
	.write = access_write,
	.ioctl = access_ioctl,
	.get_region_info_caps = access_get_region_info,
	.dma_unmap = access_dma_unmap,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
};

static int access_probe(struct platform_device *pdev)
{
	struct access_device *adev;
	unsigned int i;
	int ret;

	adev = vfio_alloc_device(access_device, vdev, &pdev->dev,
				 &access_device_ops);
	if (IS_ERR(adev))
		return PTR_ERR(adev);
	for (i = 0; i < IOASID_ACCESS_NUM_SLOTS; i++)
		mutex_init(&adev->slot_lock[i]);
	mutex_init(&adev->lock);
	INIT_LIST_HEAD(&adev->pins);

	ret = vfio_register_emulated_iommu_dev(&adev->vdev);
	if (ret) {
		vfio_put_device(&adev->vdev);
		return ret;
	}
	platform_set_drvdata(pdev, adev);
	return 0;
}

static void access_remove(struct platform_device *pdev)
{
	struct access_device *adev = platform_get_drvdata(pdev);

	vfio_unregister_group_dev(&adev->vdev);
	vfio_put_device(&adev->vdev);
}

static struct platform_driver access_driver = {
	.probe = access_probe,
	.remove = access_remove,
	.driver = {
		.name = IOASID_ACCESS_DRIVER,
	},
	.driver_managed_dma = true,
};

static void access_unregister(void)
{
	while (num_platform_devices)
		platform_device_unregister(platform_devices[--num_platform_devices]);
	platform_driver_unregister(&access_driver);
}

static int __init access_init(void)
{
	struct platform_device *pdev;
	int ret;

	if (!num_devices || num_devices > MAX_DEVICES)
		return -EINVAL;
	ret = platform_driver_register(&access_driver);
	if (ret)
		return ret;

	while (num_platform_devices < num_devices) {
		pdev = platform_device_register_simple(IOASID_ACCESS_DRIVER,
						       num_platform_devices,
						       NULL, 0);
		if (IS_ERR(pdev)) {
			ret = PTR_ERR(pdev);
			goto err_unregister;
		}
		platform_devices[num_platform_devices++] = pdev;
	}
	return 0;

err_unregister:
	access_unregister();
	return ret;
}

static void __exit access_exit(void)
{
	access_unregister();
}

module_init(access_init);
module_exit(access_exit);

MODULE_DESCRIPTION("VFIO devices without hardware, for tests of in-kernel access");
MODULE_LICENSE("GPL");
