// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU_TEST_CMD: an IOMMU without hardware, and the devices behind it.
 *
 * Page tables of the kernel are real, but nothing walks them except tests. Those
 * of users are a few numbers that stand for cached translations.
 */
#include <linux/cleanup.h>
#include <linux/device/faux.h>
#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/property.h>
#include <linux/slab.h>

#include "../../iommu-pages.h"
#include "../../iommu-priv.h"
#include "mock.h"

static const struct iommu_domain_ops mock_table_ops;
static const struct iommu_domain_ops mock_nested_ops;

static const struct bus_type mock_bus = {
	.name = "iommufd_mock",
};

static struct notifier_block mock_bus_notifier;
static struct faux_device *mock_iommu_parent;
static struct iommu_device mock_iommu;
static struct iopf_queue *mock_iopf_queue;
static DEFINE_IDA(mock_numbers);

/* ---- page tables of the kernel ---- */

/**
 * to_mock_table - The page table that a domain is
 * @domain: Any domain
 *
 * Return: The table, or NULL if it is none of this driver.
 */
struct mock_table *to_mock_table(struct iommu_domain *domain)
{
	return domain->ops == &mock_table_ops ?
		       container_of(domain, struct mock_table, domain) : NULL;
}

static void mock_iotlb_sync(struct iommu_domain *domain,
			    struct iommu_iotlb_gather *gather)
{
	iommu_put_pages_list(&gather->freelist);
}

static int mock_set_dirty_tracking(struct iommu_domain *domain, bool enabled)
{
	WRITE_ONCE(to_mock_table(domain)->track_dirty, enabled);
	return 0;
}

static const struct iommu_dirty_ops mock_dirty_ops = {
	IOMMU_PT_DIRTY_OPS(amdv1_mock),
	.set_dirty_tracking = mock_set_dirty_tracking,
};

static int init_table(struct mock_table *table, u32 type)
{
	const struct pt_iommu_amdv1_cfg cfg = {
		.common.hw_max_vasz_lg2 = 56,
		.common.hw_max_oasz_lg2 = 51,
		.starting_level = 2,
	};
	struct iommu_domain *domain = &table->domain;
	int rc;

	table->iommu.nid = NUMA_NO_NODE;
	rc = pt_iommu_amdv1_mock_init(&table->amdv1, &cfg, GFP_KERNEL_ACCOUNT);
	if (rc)
		return rc;
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->ops = &mock_table_ops;
	if (type == MOCK_IOMMUPT_HUGE) {
		/* Large pages, and what every address space must be able to. */
		domain->pgsize_bitmap = MOCK_HUGE_PAGE_SIZE | PAGE_SIZE;
	} else {
		domain->geometry.aperture_start = MOCK_APERTURE_START;
		domain->geometry.aperture_end = MOCK_APERTURE_LAST;
	}
	return 0;
}

/* What the user says about a page table of the kernel's is optional. */
static int get_table_type(const struct iommu_user_data *user_data, u32 *type)
{
	struct iommu_hwpt_selftest data = {};
	int rc;

	*type = MOCK_IOMMUPT_DEFAULT;
	if (!user_data || user_data->type == IOMMU_HWPT_DATA_NONE)
		return 0;
	if (user_data->type != IOMMU_HWPT_DATA_SELFTEST)
		return -EOPNOTSUPP;
	rc = iommu_copy_struct_from_user(&data, user_data,
					 IOMMU_HWPT_DATA_SELFTEST, iotlb);
	if (rc)
		return rc;
	if (data.pagetable_type > MOCK_IOMMUPT_HUGE)
		return -EOPNOTSUPP;
	*type = data.pagetable_type;
	return 0;
}

static struct iommu_domain *
mock_domain_alloc_paging_flags(struct device *dev, u32 flags,
			       const struct iommu_user_data *user_data)
{
	u32 known = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID;
	struct mock_table *table;
	u32 type;
	int rc;

	if (!(to_mock_device(dev)->flags & MOCK_FLAGS_DEVICE_NO_DIRTY))
		known |= IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	if (flags & ~known)
		return ERR_PTR(-EOPNOTSUPP);
	rc = get_table_type(user_data, &type);
	if (rc)
		return ERR_PTR(rc);

	table = kzalloc_obj(*table, GFP_KERNEL_ACCOUNT);
	if (!table)
		return ERR_PTR(-ENOMEM);
	rc = init_table(table, type);
	if (rc) {
		kfree(table);
		return ERR_PTR(rc);
	}
	if (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING)
		table->domain.dirty_ops = &mock_dirty_ops;
	return &table->domain;
}

static void mock_table_free(struct iommu_domain *domain)
{
	struct mock_table *table = to_mock_table(domain);

	pt_iommu_deinit(&table->iommu);
	kfree(table);
}

/* ---- page tables of users ---- */

/**
 * to_mock_nested - The page table of a user that a domain is
 * @domain: Any domain
 *
 * Return: The table, or NULL if it is none of this driver.
 */
struct mock_nested *to_mock_nested(struct iommu_domain *domain)
{
	return domain->ops == &mock_nested_ops ?
		       container_of(domain, struct mock_nested, domain) : NULL;
}

/**
 * mock_nested_alloc - Make a page table that the user fills
 * @viommu: What makes it, or NULL. It outlives the table.
 * @flags: IOMMU_HWPT_ALLOC_PASID
 * @user_data: struct iommu_hwpt_selftest
 *
 * Context: May sleep for user memory.
 *
 * Return: Its domain, or an error pointer: -EOPNOTSUPP: other flags or other
 * data; -EINVAL, -EFAULT: not such a structure; -ENOMEM.
 */
struct iommu_domain *
mock_nested_alloc(struct mock_viommu *viommu, u32 flags,
		  const struct iommu_user_data *user_data)
{
	struct iommu_hwpt_selftest data;
	struct mock_nested *nested;
	unsigned int i;
	int rc;

	if (flags & ~IOMMU_HWPT_ALLOC_PASID ||
	    user_data->type != IOMMU_HWPT_DATA_SELFTEST)
		return ERR_PTR(-EOPNOTSUPP);
	rc = iommu_copy_struct_from_user(&data, user_data,
					 IOMMU_HWPT_DATA_SELFTEST, iotlb);
	if (rc)
		return ERR_PTR(rc);

	nested = kzalloc_obj(*nested, GFP_KERNEL_ACCOUNT);
	if (!nested)
		return ERR_PTR(-ENOMEM);
	nested->domain.type = IOMMU_DOMAIN_NESTED;
	nested->domain.ops = &mock_nested_ops;
	nested->viommu = viommu;
	for (i = 0; i < MOCK_NESTED_DOMAIN_IOTLB_NUM; i++)
		nested->iotlb[i] = data.iotlb;
	return &nested->domain;
}

static struct iommu_domain *
mock_domain_alloc_nested(struct device *dev, struct iommu_domain *parent,
			 u32 flags, const struct iommu_user_data *user_data)
{
	if (!to_mock_table(parent))
		return ERR_PTR(-EINVAL);
	return mock_nested_alloc(NULL, flags, user_data);
}

static void mock_nested_free(struct iommu_domain *domain)
{
	kfree(to_mock_nested(domain));
}

static int invalidate_entry(struct mock_nested *nested,
			    struct iommu_user_data_array *array, u32 index)
{
	struct iommu_hwpt_invalidate_selftest inv;
	unsigned int i;
	int rc;

	rc = iommu_copy_struct_from_user_array(&inv, array,
					       IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
					       index, iotlb_id);
	if (rc)
		return rc;
	if (inv.flags & ~IOMMU_TEST_INVALIDATE_FLAG_ALL)
		return -EOPNOTSUPP;
	if (inv.flags & IOMMU_TEST_INVALIDATE_FLAG_ALL) {
		for (i = 0; i < MOCK_NESTED_DOMAIN_IOTLB_NUM; i++)
			WRITE_ONCE(nested->iotlb[i], 0);
		return 0;
	}
	if (inv.iotlb_id > MOCK_NESTED_DOMAIN_IOTLB_ID_MAX)
		return -EINVAL;
	WRITE_ONCE(nested->iotlb[inv.iotlb_id], 0);
	return 0;
}

static int mock_cache_invalidate_user(struct iommu_domain *domain,
				      struct iommu_user_data_array *array)
{
	struct mock_nested *nested = to_mock_nested(domain);
	u32 done = 0;
	int rc = 0;

	if (array->type != IOMMU_HWPT_INVALIDATE_DATA_SELFTEST)
		rc = -EINVAL;
	while (!rc && done < array->entry_num) {
		rc = invalidate_entry(nested, array, done);
		if (!rc)
			done++;
	}
	array->entry_num = done;
	return rc;
}

/* ---- attachment ---- */

static int iopf_begin(struct mock_device *mdev,
		      const struct iommu_domain *domain)
{
	int rc;

	if (!domain->iopf_handler)
		return 0;
	if (!mdev->num_iopf) {
		rc = iopf_queue_add_device(mock_iopf_queue, &mdev->dev);
		if (rc)
			return rc;
	}
	mdev->num_iopf++;
	return 0;
}

static void iopf_end(struct mock_device *mdev,
		     const struct iommu_domain *domain)
{
	if (!domain || !domain->iopf_handler)
		return;
	if (!--mdev->num_iopf)
		iopf_queue_remove_device(mock_iopf_queue, &mdev->dev);
}

static int check_attach(const struct mock_device *mdev,
			const struct iommu_domain *domain)
{
	return domain->dirty_ops && mdev->flags & MOCK_FLAGS_DEVICE_NO_DIRTY ?
		       -EINVAL : 0;
}

static int mock_attach_dev(struct iommu_domain *domain, struct device *dev,
			   struct iommu_domain *old)
{
	struct mock_device *mdev = to_mock_device(dev);
	struct mock_nested *nested = to_mock_nested(domain);
	struct mock_viommu *viommu = nested ? nested->viommu : NULL;
	unsigned long virt_id = 0;
	int rc;

	iommu_group_mutex_assert(dev);

	rc = check_attach(mdev, domain);
	if (rc)
		return rc;
	if (viommu) {
		rc = mock_viommu_virt_id(viommu, dev, &virt_id);
		if (rc)
			return rc;
	}
	rc = iopf_begin(mdev, domain);
	if (rc)
		return rc;

	/* From here on nothing fails, so the vIOMMU is that of what is used. */
	iopf_end(mdev, mdev->domain);
	mdev->domain = domain;
	mdev->viommu = viommu;
	mdev->virt_id = virt_id;
	return 0;
}

/*
 * A test sees what becomes of a failure halfway: of two attachments to
 * IOMMU_TEST_PASID_RESERVED, the second fails, if they are not separated by a
 * detachment.
 */
static int fail_reserved_pasid(struct mock_device *mdev,
			       const struct iommu_domain *domain)
{
	if (domain->type == IOMMU_DOMAIN_BLOCKED) {
		mdev->fail_next = false;
		return 0;
	}
	mdev->fail_next = !mdev->fail_next;
	return mdev->fail_next ? 0 : -ENOMEM;
}

static int mock_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
			      ioasid_t pasid, struct iommu_domain *old)
{
	struct mock_device *mdev = to_mock_device(dev);
	int rc;

	iommu_group_mutex_assert(dev);

	rc = check_attach(mdev, domain);
	if (rc)
		return rc;
	if (pasid == IOMMU_TEST_PASID_RESERVED) {
		rc = fail_reserved_pasid(mdev, domain);
		if (rc)
			return rc;
	}
	rc = iopf_begin(mdev, domain);
	if (rc)
		return rc;
	iopf_end(mdev, old);
	return 0;
}

static const struct iommu_domain_ops mock_table_ops = {
	IOMMU_PT_DOMAIN_OPS(amdv1_mock),
	.attach_dev = mock_attach_dev,
	.set_dev_pasid = mock_set_dev_pasid,
	.iotlb_sync = mock_iotlb_sync,
	.free = mock_table_free,
};

static const struct iommu_domain_ops mock_nested_ops = {
	.attach_dev = mock_attach_dev,
	.set_dev_pasid = mock_set_dev_pasid,
	.cache_invalidate_user = mock_cache_invalidate_user,
	.free = mock_nested_free,
};

static const struct iommu_domain_ops mock_blocked_ops = {
	.attach_dev = mock_attach_dev,
	.set_dev_pasid = mock_set_dev_pasid,
};

static struct iommu_domain mock_blocked_domain = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &mock_blocked_ops,
};

/* ---- the IOMMU ---- */

static bool mock_capable(struct device *dev, enum iommu_cap cap)
{
	switch (cap) {
	case IOMMU_CAP_CACHE_COHERENCY:
		return true;
	case IOMMU_CAP_DIRTY_TRACKING:
		return !(to_mock_device(dev)->flags &
			 MOCK_FLAGS_DEVICE_NO_DIRTY);
	default:
		return false;
	}
}

static void *mock_hw_info(struct device *dev, u32 *length,
			  enum iommu_hw_info_type *type)
{
	struct iommu_test_hw_info *info;

	if (*type != IOMMU_HW_INFO_TYPE_DEFAULT &&
	    *type != IOMMU_HW_INFO_TYPE_SELFTEST)
		return ERR_PTR(-EOPNOTSUPP);
	info = kzalloc_obj(*info, GFP_KERNEL_ACCOUNT);
	if (!info)
		return ERR_PTR(-ENOMEM);
	info->test_reg = IOMMU_HW_INFO_SELFTEST_REGVAL;
	*type = IOMMU_HW_INFO_TYPE_SELFTEST;
	*length = sizeof(*info);
	return info;
}

static struct iommu_device *mock_probe_device(struct device *dev)
{
	return ioasid_mock_device(dev) ? &mock_iommu : ERR_PTR(-ENODEV);
}

/* No device waits for it. */
static void mock_page_response(struct device *dev, struct iopf_fault *fault,
			       struct iommu_page_response *response)
{
}

static const struct iommu_ops mock_iommu_ops = {
	.capable = mock_capable,
	.hw_info = mock_hw_info,
	.domain_alloc_paging_flags = mock_domain_alloc_paging_flags,
	.domain_alloc_nested = mock_domain_alloc_nested,
	.probe_device = mock_probe_device,
	.device_group = generic_device_group,
	.page_response = mock_page_response,
	.get_viommu_size = mock_viommu_size,
	.viommu_init = mock_viommu_init,
	.blocked_domain = &mock_blocked_domain,
	.default_domain = &mock_blocked_domain,
	.user_pasid_table = true,
	.owner = THIS_MODULE,
};

/* ---- devices ---- */

/**
 * ioasid_mock_device - Whether a device is a mock device
 * @dev: Any device
 *
 * Return: Whether it is.
 */
bool ioasid_mock_device(struct device *dev)
{
	return dev->bus == &mock_bus;
}

static void mock_device_release(struct device *dev)
{
	struct mock_device *mdev = to_mock_device(dev);

	fwnode_remove_software_node(dev_fwnode(dev));
	ida_free(&mock_numbers, mdev->number);
	kfree(mdev);
}

static const struct property_entry mock_pasid_properties[] = {
	PROPERTY_ENTRY_U32("pasid-num-bits", MOCK_PASID_WIDTH),
	{}
};

/* How the IOMMU core learns that a device can use PASIDs. */
static int add_pasid_property(struct mock_device *mdev)
{
	struct fwnode_handle *fwnode;

	if (!(mdev->flags & MOCK_FLAGS_DEVICE_PASID))
		return 0;
	fwnode = fwnode_create_software_node(mock_pasid_properties, NULL);
	if (IS_ERR(fwnode))
		return PTR_ERR(fwnode);
	device_set_node(&mdev->dev, fwnode);
	return 0;
}

static int add_device(struct mock_device *mdev)
{
	int rc;

	rc = dev_set_name(&mdev->dev, "iommufd_mock%d", mdev->number);
	if (rc)
		return rc;
	rc = add_pasid_property(mdev);
	if (rc)
		return rc;
	rc = iommu_mock_device_add(&mdev->dev, &mock_iommu);
	if (rc) {
		/* The core forgets it if it has no memory for what is in it. */
		kfree(mdev->dev.iommu);
		mdev->dev.iommu = NULL;
	}
	return rc;
}

/**
 * mock_device_create - Make a device behind the mock IOMMU
 * @flags: MOCK_FLAGS_DEVICE_*
 *
 * Return: The device, for mock_device_destroy(), or an error pointer: -EINVAL:
 * no such flags; -ENOMEM, or what the driver core says. If the IOMMU core could
 * not make it a group, it cannot be bound.
 */
struct mock_device *mock_device_create(u32 flags)
{
	struct mock_device *mdev;
	unsigned int i;
	int rc;

	if (flags & ~(MOCK_FLAGS_DEVICE_NO_DIRTY | MOCK_FLAGS_DEVICE_PASID))
		return ERR_PTR(-EINVAL);
	mdev = kzalloc_obj(*mdev, GFP_KERNEL_ACCOUNT);
	if (!mdev)
		return ERR_PTR(-ENOMEM);
	mdev->number = ida_alloc(&mock_numbers, GFP_KERNEL);
	if (mdev->number < 0) {
		rc = mdev->number;
		kfree(mdev);
		return ERR_PTR(rc);
	}
	mdev->flags = flags;
	init_rwsem(&mdev->attach_lock);
	for (i = 0; i < MOCK_DEV_CACHE_NUM; i++)
		mdev->cache[i] = IOMMU_TEST_DEV_CACHE_DEFAULT;
	mdev->dev.bus = &mock_bus;
	mdev->dev.release = mock_device_release;
	device_initialize(&mdev->dev);

	rc = add_device(mdev);
	if (rc) {
		put_device(&mdev->dev);
		return ERR_PTR(rc);
	}
	return mdev;
}

/**
 * mock_device_destroy - Undo mock_device_create()
 * @mdev: The device, not bound
 */
void mock_device_destroy(struct mock_device *mdev)
{
	device_unregister(&mdev->dev);
}

/* ---- start and end ---- */

/**
 * mock_iommu_init - Register the mock IOMMU
 *
 * Return: 0 or a negative errno.
 */
int __init mock_iommu_init(void)
{
	int rc = -ENOMEM;

	/* Without the core's support for page faults there is none. */
	mock_iopf_queue = iopf_queue_alloc("iommufd_mock");
	if (IS_ENABLED(CONFIG_IOMMU_IOPF) && !mock_iopf_queue)
		return -ENOMEM;
	mock_iommu_parent = faux_device_create("iommufd_mock_iommu", NULL, NULL);
	if (!mock_iommu_parent)
		goto err_queue;
	rc = bus_register(&mock_bus);
	if (rc)
		goto err_parent;
	rc = iommu_device_sysfs_add(&mock_iommu, &mock_iommu_parent->dev, NULL,
				    "iommufd_mock_iommu");
	if (rc)
		goto err_bus;
	mock_iommu.max_pasids = 1 << MOCK_PASID_WIDTH;
	rc = iommu_device_register_bus(&mock_iommu, &mock_iommu_ops, &mock_bus,
				       &mock_bus_notifier);
	if (rc)
		goto err_sysfs;
	return 0;

err_sysfs:
	iommu_device_sysfs_remove(&mock_iommu);
err_bus:
	bus_unregister(&mock_bus);
err_parent:
	faux_device_destroy(mock_iommu_parent);
err_queue:
	iopf_queue_free(mock_iopf_queue);
	return rc;
}

/**
 * mock_iommu_exit - Undo mock_iommu_init()
 *
 * Context: All devices are gone.
 */
void mock_iommu_exit(void)
{
	iommu_device_sysfs_remove(&mock_iommu);
	iommu_device_unregister_bus(&mock_iommu, &mock_bus, &mock_bus_notifier);
	bus_unregister(&mock_bus);
	faux_device_destroy(mock_iommu_parent);
	iopf_queue_free(mock_iopf_queue);
	ida_destroy(&mock_numbers);
}

MODULE_IMPORT_NS("GENERIC_PT_IOMMU");
