// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU_TEST_CMD: what the mock IOMMU shows to a guest.
 *
 * A vIOMMU offers memory to mmap(), has queues that depend on each other, tells
 * of events and invalidates the caches of devices.
 */
#include <linux/cleanup.h>
#include <linux/gfp.h>
#include <linux/iommu.h>
#include <linux/mutex.h>

#include "mock.h"

/* Pages that a vIOMMU offers to mmap() */
#define MOCK_MMAP_ORDER 1
#define MOCK_MMAP_SIZE (PAGE_SIZE << MOCK_MMAP_ORDER)

/**
 * struct mock_hw_queue - A queue
 * @core: What the core knows of it
 * @viommu: The vIOMMU
 * @previous: The queue with the next lower index, or NULL. It lives longer.
 * @index: Its index
 */
struct mock_hw_queue {
	struct iommufd_hw_queue core;
	struct mock_viommu *viommu;
	struct mock_hw_queue *previous;
	u32 index;
};

/**
 * struct mock_viommu - A vIOMMU
 * @core: What the core knows of it
 * @parent: What guest physical addresses are translated by
 * @memory: What the user can map, or NULL
 * @mmap_offset: Where, in the file
 * @lock: Protects @queues
 * @queues: Queues by index
 */
struct mock_viommu {
	struct iommufd_viommu core;
	struct iommu_domain *parent;
	u32 *memory;
	unsigned long mmap_offset;
	struct mutex lock;	/* @queues */
	struct mock_hw_queue *queues[IOMMU_TEST_HW_QUEUE_MAX];
};

static struct mock_viommu *to_mock_viommu(struct iommufd_viommu *core)
{
	return container_of(core, struct mock_viommu, core);
}

static struct mock_hw_queue *to_mock_hw_queue(struct iommufd_hw_queue *core)
{
	return container_of(core, struct mock_hw_queue, core);
}

/* ---- queues ---- */

static size_t mock_hw_queue_size(struct iommufd_viommu *core,
				 enum iommu_hw_queue_type type)
{
	return type == IOMMU_HW_QUEUE_TYPE_SELFTEST ?
		       HW_QUEUE_STRUCT_SIZE(struct mock_hw_queue, core) : 0;
}

static void mock_hw_queue_destroy(struct iommufd_hw_queue *core)
{
	struct mock_hw_queue *queue = to_mock_hw_queue(core);

	guard(mutex)(&queue->viommu->lock);
	queue->viommu->queues[queue->index] = NULL;
	if (queue->previous)
		iommufd_hw_queue_undepend(queue, queue->previous, core);
}

static int mock_hw_queue_init(struct iommufd_hw_queue *core, u32 index,
			      phys_addr_t base_phys)
{
	struct mock_viommu *viommu = to_mock_viommu(core->viommu);
	struct mock_hw_queue *queue = to_mock_hw_queue(core);
	struct mock_hw_queue *previous = NULL;
	int rc;

	if (index >= IOMMU_TEST_HW_QUEUE_MAX)
		return -EINVAL;

	guard(mutex)(&viommu->lock);
	if (viommu->queues[index])
		return -EEXIST;
	if (index) {
		previous = viommu->queues[index - 1];
		if (!previous)
			return -EIO;
	}
	/* The core has looked it up, and keeps it. */
	if (iommu_iova_to_phys(viommu->parent, core->base_addr) != base_phys)
		return -EFAULT;
	if (previous) {
		rc = iommufd_hw_queue_depend(queue, previous, core);
		if (rc)
			return rc;
	}
	queue->viommu = viommu;
	queue->previous = previous;
	queue->index = index;
	viommu->queues[index] = queue;
	core->destroy = mock_hw_queue_destroy;
	return 0;
}

/* ---- caches of devices ---- */

static int invalidate_cache(struct mock_device *mdev,
			    const struct iommu_viommu_invalidate_selftest *inv)
{
	unsigned int i;

	if (inv->flags & IOMMU_TEST_INVALIDATE_FLAG_ALL) {
		for (i = 0; i < MOCK_DEV_CACHE_NUM; i++)
			WRITE_ONCE(mdev->cache[i], 0);
		return 0;
	}
	if (inv->cache_id > MOCK_DEV_CACHE_ID_MAX)
		return -EINVAL;
	WRITE_ONCE(mdev->cache[inv->cache_id], 0);
	return 0;
}

static int invalidate_entry(struct iommufd_viommu *core,
			    struct iommu_user_data_array *array, u32 index)
{
	struct iommu_viommu_invalidate_selftest inv;
	struct device *dev;
	int rc;

	rc = iommu_copy_struct_from_user_array(&inv, array,
					       IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
					       index, cache_id);
	if (rc)
		return rc;
	if (inv.flags & ~IOMMU_TEST_INVALIDATE_FLAG_ALL)
		return -EOPNOTSUPP;

	/* The device is bound as long as it is found. */
	xa_lock(&core->vdevs);
	dev = iommufd_viommu_find_dev(core, inv.vdev_id);
	rc = dev ? invalidate_cache(to_mock_device(dev), &inv) : -EINVAL;
	xa_unlock(&core->vdevs);
	return rc;
}

static int mock_viommu_invalidate(struct iommufd_viommu *core,
				  struct iommu_user_data_array *array)
{
	u32 done = 0;
	int rc = 0;

	if (array->type != IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST)
		rc = -EINVAL;
	while (!rc && done < array->entry_num) {
		rc = invalidate_entry(core, array, done);
		if (!rc)
			done++;
	}
	array->entry_num = done;
	return rc;
}

/* ---- the vIOMMU ---- */

static void free_memory(struct mock_viommu *viommu)
{
	if (!viommu->memory)
		return;
	iommufd_viommu_destroy_mmap(&viommu->core, viommu->mmap_offset);
	free_pages((unsigned long)viommu->memory, MOCK_MMAP_ORDER);
}

static void mock_viommu_destroy(struct iommufd_viommu *core)
{
	struct mock_viommu *viommu = to_mock_viommu(core);

	free_memory(viommu);
	mutex_destroy(&viommu->lock);
}

static struct iommu_domain *
mock_viommu_alloc_nested(struct iommufd_viommu *core, u32 flags,
			 const struct iommu_user_data *user_data)
{
	return mock_nested_alloc(to_mock_viommu(core), flags, user_data);
}

static const struct iommufd_viommu_ops mock_viommu_ops = {
	.destroy = mock_viommu_destroy,
	.alloc_domain_nested = mock_viommu_alloc_nested,
	.cache_invalidate = mock_viommu_invalidate,
	.get_hw_queue_size = mock_hw_queue_size,
	.hw_queue_init_phys = mock_hw_queue_init,
};

/**
 * mock_viommu_size - Size of a vIOMMU
 * @dev: A mock device
 * @type: Type of vIOMMU
 *
 * Return: The size in bytes, 0 if the type is not supported.
 */
size_t mock_viommu_size(struct device *dev, enum iommu_viommu_type type)
{
	return type == IOMMU_VIOMMU_TYPE_SELFTEST ?
		       VIOMMU_STRUCT_SIZE(struct mock_viommu, core) : 0;
}

static int alloc_memory(struct mock_viommu *viommu)
{
	unsigned long memory = __get_free_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO,
						MOCK_MMAP_ORDER);
	int rc;

	if (!memory)
		return -ENOMEM;
	rc = iommufd_viommu_alloc_mmap(&viommu->core, __pa(memory),
				       MOCK_MMAP_SIZE, &viommu->mmap_offset);
	if (rc) {
		free_pages(memory, MOCK_MMAP_ORDER);
		return rc;
	}
	viommu->memory = (u32 *)memory;
	return 0;
}

/* A test reads its number back in two ways. */
static int exchange_data(struct mock_viommu *viommu,
			 const struct iommu_user_data *user_data)
{
	struct iommu_viommu_selftest data;
	int rc;

	rc = iommu_copy_struct_from_user(&data, user_data,
					 IOMMU_VIOMMU_TYPE_SELFTEST, out_data);
	if (rc)
		return rc;
	rc = alloc_memory(viommu);
	if (rc)
		return rc;
	*viommu->memory = data.in_data;
	data.out_data = data.in_data;
	data.out_mmap_offset = viommu->mmap_offset;
	data.out_mmap_length = MOCK_MMAP_SIZE;
	rc = iommu_copy_struct_to_user(user_data, &data,
				       IOMMU_VIOMMU_TYPE_SELFTEST, out_data);
	if (rc)
		free_memory(viommu);
	return rc;
}

/**
 * mock_viommu_init - Complete a vIOMMU
 * @core: What the core knows of it, the start of struct mock_viommu
 * @parent: What guest physical addresses are translated by. It lives longer.
 * @user_data: struct iommu_viommu_selftest, or NULL
 *
 * Context: May sleep for user memory.
 *
 * Return: 0, and then the core calls ops->destroy() at the end; or a negative
 * errno, and it does not.
 */
int mock_viommu_init(struct iommufd_viommu *core, struct iommu_domain *parent,
		     const struct iommu_user_data *user_data)
{
	struct mock_viommu *viommu = to_mock_viommu(core);
	int rc;

	if (user_data) {
		rc = exchange_data(viommu, user_data);
		if (rc)
			return rc;
	}
	viommu->parent = parent;
	mutex_init(&viommu->lock);
	core->ops = &mock_viommu_ops;
	return 0;
}

/**
 * mock_viommu_virt_id - What a guest calls a device
 * @viommu: The vIOMMU
 * @dev: The device
 * @virt_id: Output: its virtual identifier
 *
 * Context: The mutex of the device's group is held.
 *
 * Return: 0 or -ENOENT: no vDEVICE stands for it.
 */
int mock_viommu_virt_id(struct mock_viommu *viommu, struct device *dev,
			unsigned long *virt_id)
{
	return iommufd_viommu_get_vdev_id(&viommu->core, dev, virt_id);
}

/**
 * mock_viommu_report - Report an event to a guest
 * @viommu: The vIOMMU
 * @virt_id: What the guest calls the device that it is about
 *
 * Return: 0 or what iommufd_viommu_report_event() says.
 */
int mock_viommu_report(struct mock_viommu *viommu, unsigned long virt_id)
{
	struct iommu_viommu_event_selftest event = { .virt_id = virt_id };

	return iommufd_viommu_report_event(&viommu->core,
					   IOMMU_VEVENTQ_TYPE_SELFTEST, &event,
					   sizeof(event));
}
