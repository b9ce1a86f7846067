// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMUs and devices are made and removed below /sys/kernel/config/ioasid_test:
 *
 *   <iommu>/            mkdir makes an IOMMU
 *     enabled           1 makes it known to the kernel
 *     page_sizes, ...   what it can do; see Documentation/driver-api/ioasid.rst
 *     <device>/         mkdir makes a device behind it
 *       enabled         1 plugs it
 *
 * Attributes do not change while what they are about is enabled, nor can it be
 * removed then.
 */
#include <linux/cleanup.h>
#include <linux/configfs.h>
#include <linux/ctype.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/property.h>
#include <linux/slab.h>

#include "test_iommu.h"

static DEFINE_IDA(device_ids);
static struct configfs_subsystem test_subsystem;

static struct test_iommu *to_test_iommu(struct config_item *item)
{
	return container_of(to_config_group(item), struct test_iommu, group);
}

static struct test_device *to_test_device(struct config_item *item)
{
	return container_of(to_config_group(item), struct test_device, group);
}

/* ---- devices ---- */

static const char *const kind_names[] = {
	[TEST_KIND_VFIO] = "vfio",
	[TEST_KIND_KERNEL] = "kernel",
	[TEST_KIND_NONE] = "none",
	[TEST_KIND_PCI] = "pci",
};

static const char *const driver_names[] = {
	[TEST_KIND_VFIO] = IOASID_TEST_DEVICE,
	[TEST_KIND_KERNEL] = IOASID_TEST_KERNEL,
	[TEST_KIND_NONE] = "ioasid-test-none",
};

static struct platform_device *make_pdev(struct test_device *tdev)
{
	const struct property_entry properties[] = {
		PROPERTY_ENTRY_U32("pasid-num-bits",
				   tdev->owner->features.pasid_bits),
		{}
	};
	struct platform_device *pdev;
	int rc;

	pdev = platform_device_alloc(driver_names[tdev->kind], tdev->id);
	if (!pdev)
		return ERR_PTR(-ENOMEM);
	rc = platform_device_add_data(pdev, &tdev, sizeof(tdev));
	if (!rc && tdev->owner->features.pasid_bits)
		rc = device_create_managed_software_node(&pdev->dev, properties,
							 NULL);
	if (rc) {
		platform_device_put(pdev);
		return ERR_PTR(rc);
	}
	return pdev;
}

static void set_name(struct test_device *tdev, const char *name)
{
	guard(spinlock)(&tdev->requests_lock);
	strscpy(tdev->name, name);
}

/* Makes a platform device. */
static int add_platform_device(struct test_device *tdev)
{
	struct platform_device *pdev;
	int rc;

	rc = ida_alloc(&device_ids, GFP_KERNEL);
	if (rc < 0)
		return rc;
	tdev->id = rc;
	pdev = make_pdev(tdev);
	if (IS_ERR(pdev)) {
		rc = PTR_ERR(pdev);
		goto err_id;
	}
	test_msi_set_domain(tdev, &pdev->dev);
	tdev->dev = &pdev->dev;
	rc = ioasid_test_device_add(pdev, tdev->owner->fwnode);
	if (rc) {
		platform_device_put(pdev);
		goto err_dev;
	}
	if (!pdev->dev.iommu_group ||
	    (tdev->kind != TEST_KIND_NONE && !pdev->dev.driver)) {
		platform_device_unregister(pdev);
		rc = -EIO;
		goto err_dev;
	}
	return 0;

err_dev:
	tdev->dev = NULL;
err_id:
	ida_free(&device_ids, tdev->id);
	return rc;
}

static void remove_platform_device(struct test_device *tdev)
{
	platform_device_unregister(to_platform_device(tdev->dev));
	tdev->dev = NULL;
	ida_free(&device_ids, tdev->id);
}

static int plug(struct test_device *tdev)
{
	struct test_iommu *iommu = tdev->owner;
	int rc;

	lockdep_assert_held(&tdev->lock);

	guard(mutex)(&iommu->lock);
	if (!iommu->enabled)
		return -ENODEV;
	/* It cannot be removed while it is plugged: that could take for ever. */
	rc = configfs_depend_item_unlocked(&test_subsystem,
					   &tdev->group.cg_item);
	if (rc)
		return rc;
	if (tdev->kind == TEST_KIND_PCI)
		rc = test_pci_claim(tdev);
	else
		rc = add_platform_device(tdev);
	if (rc) {
		configfs_undepend_item(&tdev->group.cg_item);
		return rc;
	}
	iommu->num_enabled++;
	set_name(tdev, dev_name(tdev->dev));
	return 0;
}

/* VFIO waits for who has opened the device. */
static void unplug(struct test_device *tdev)
{
	lockdep_assert_held(&tdev->lock);

	if (!tdev->dev)
		return;
	if (tdev->kind == TEST_KIND_PCI)
		test_pci_release(tdev);
	else
		remove_platform_device(tdev);
	set_name(tdev, "");
	configfs_undepend_item(&tdev->group.cg_item);
	guard(mutex)(&tdev->owner->lock);
	tdev->owner->num_enabled--;
}

static ssize_t test_device_enabled_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", !!READ_ONCE(to_test_device(item)->dev));
}

static ssize_t test_device_enabled_store(struct config_item *item,
					 const char *page, size_t count)
{
	struct test_device *tdev = to_test_device(item);
	bool on;
	int rc;

	rc = kstrtobool(page, &on);
	if (rc)
		return rc;
	guard(mutex)(&tdev->lock);
	if (!on)
		unplug(tdev);
	else if (!tdev->dev)
		rc = plug(tdev);
	return rc ? rc : count;
}
CONFIGFS_ATTR(test_device_, enabled);

static ssize_t test_device_name_show(struct config_item *item, char *page)
{
	struct test_device *tdev = to_test_device(item);

	/* Not the lock that unplugging holds as long as a program likes. */
	guard(spinlock)(&tdev->requests_lock);
	return sysfs_emit(page, "%s\n", tdev->name);
}
CONFIGFS_ATTR_RO(test_device_, name);

static ssize_t test_device_group_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", to_test_device(item)->group_name);
}

static ssize_t test_device_group_store(struct config_item *item,
				       const char *page, size_t count)
{
	struct test_device *tdev = to_test_device(item);
	size_t length = strcspn(page, "\n");

	guard(mutex)(&tdev->lock);
	if (tdev->dev)
		return -EBUSY;
	if (length >= TEST_GROUP_NAME)
		return -EINVAL;
	strscpy(tdev->group_name, page, length + 1);
	return count;
}
CONFIGFS_ATTR(test_device_, group);

static ssize_t test_device_kind_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", kind_names[to_test_device(item)->kind]);
}

static ssize_t test_device_kind_store(struct config_item *item,
				      const char *page, size_t count)
{
	struct test_device *tdev = to_test_device(item);
	int kind = sysfs_match_string(kind_names, page);

	if (kind < 0)
		return kind;
	guard(mutex)(&tdev->lock);
	if (tdev->dev)
		return -EBUSY;
	tdev->kind = kind;
	return count;
}
CONFIGFS_ATTR(test_device_, kind);

/* As in sysfs; nothing if there is none. */
static ssize_t test_device_address_show(struct config_item *item, char *page)
{
	struct test_device *tdev = to_test_device(item);
	struct test_address *address = &tdev->address;

	/* As for the name. */
	guard(spinlock)(&tdev->requests_lock);
	if (!address->valid)
		return sysfs_emit(page, "\n");
	return sysfs_emit(page, "%04x:%02x:%02x.%u\n", address->domain,
			  address->bus, PCI_SLOT(address->devfn),
			  PCI_FUNC(address->devfn));
}

static ssize_t test_device_address_store(struct config_item *item,
					 const char *page, size_t count)
{
	struct test_device *tdev = to_test_device(item);
	unsigned int domain, bus, slot, function;

	if (sscanf(page, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4 ||
	    bus > 0xff || slot > 0x1f || function > 7)
		return -EINVAL;
	guard(mutex)(&tdev->lock);
	if (tdev->dev)
		return -EBUSY;
	guard(spinlock)(&tdev->requests_lock);
	tdev->address = (struct test_address){
		.valid = true,
		.domain = domain,
		.bus = bus,
		.devfn = PCI_DEVFN(slot, function),
	};
	return count;
}
CONFIGFS_ATTR(test_device_, address);

static struct configfs_attribute *test_device_attrs[] = {
	&test_device_attr_enabled,
	&test_device_attr_name,
	&test_device_attr_group,
	&test_device_attr_kind,
	&test_device_attr_address,
	NULL,
};

static void test_device_release(struct config_item *item)
{
	struct test_device *tdev = to_test_device(item);

	xa_destroy(&tdev->pasids);
	kfree(tdev);
}

static struct configfs_item_operations test_device_item_ops = {
	.release = test_device_release,
};

static const struct config_item_type test_device_type = {
	.ct_item_ops = &test_device_item_ops,
	.ct_attrs = test_device_attrs,
	.ct_owner = THIS_MODULE,
};

/* ---- what an IOMMU can do ---- */

/* NUMBER(name, format, smallest, largest): an attribute for a feature */
#define NUMBER(member, format, smallest, largest)                              \
static ssize_t test_iommu_##member##_show(struct config_item *item, char *page)\
{                                                                              \
	return sysfs_emit(page, format "\n",                                   \
			  to_test_iommu(item)->features.member);               \
}                                                                              \
static ssize_t test_iommu_##member##_store(struct config_item *item,           \
					   const char *page, size_t count)     \
{                                                                              \
	u64 value;                                                             \
	int rc = parse_number(page, smallest, largest, &value);                \
									       \
	if (rc)                                                                \
		return rc;                                                     \
	guard(mutex)(&to_test_iommu(item)->lock);                              \
	if (to_test_iommu(item)->enabled)                                      \
		return -EBUSY;                                                 \
	to_test_iommu(item)->features.member = value;                          \
	return count;                                                          \
}                                                                              \
CONFIGFS_ATTR(test_iommu_, member)

static int parse_number(const char *page, u64 smallest, u64 largest, u64 *value)
{
	int rc = kstrtou64(page, 0, value);

	if (rc)
		return rc;
	return *value < smallest || *value > largest ? -EINVAL : 0;
}

#define LEAST_WIDTH 20

NUMBER(page_sizes, "0x%llx", SZ_4K, U64_MAX);
NUMBER(width, "%u", LEAST_WIDTH, 64);
NUMBER(pasid_bits, "%u", 0, 20);
NUMBER(snoop_control, "%u", 0, 1);
NUMBER(pri, "%u", 0, 1);
NUMBER(dirty, "%u", 0, 1);
NUMBER(nesting, "%u", 0, 1);
NUMBER(hitless, "%u", 0, 1);
NUMBER(attach_first, "%u", 0, 1);
NUMBER(shares_tables, "%u", 0, 1);

static ssize_t test_iommu_aperture_show(struct config_item *item, char *page)
{
	const struct test_features *features = &to_test_iommu(item)->features;

	return sysfs_emit(page, "0x%llx 0x%llx\n", features->first,
			  features->last);
}

static ssize_t test_iommu_aperture_store(struct config_item *item,
					 const char *page, size_t count)
{
	struct test_iommu *iommu = to_test_iommu(item);
	u64 first, last;

	if (sscanf(page, "%llx %llx", &first, &last) != 2 || first > last)
		return -EINVAL;
	guard(mutex)(&iommu->lock);
	if (iommu->enabled)
		return -EBUSY;
	iommu->features.first = first;
	iommu->features.last = last;
	return count;
}
CONFIGFS_ATTR(test_iommu_, aperture);

static const char *const msi_names[] = {
	[TEST_MSI_MODE_DIRECT] = "direct",
	[TEST_MSI_MODE_MAPPED] = "mapped",
	[TEST_MSI_MODE_UNSAFE] = "unsafe",
};

static ssize_t test_iommu_msi_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n",
			  msi_names[to_test_iommu(item)->features.msi]);
}

static ssize_t test_iommu_msi_store(struct config_item *item, const char *page,
				    size_t count)
{
	struct test_iommu *iommu = to_test_iommu(item);
	int msi = sysfs_match_string(msi_names, page);

	if (msi < 0)
		return msi;
	guard(mutex)(&iommu->lock);
	if (iommu->enabled)
		return -EBUSY;
	iommu->features.msi = msi;
	return count;
}
CONFIGFS_ATTR(test_iommu_, msi);

/* Nothing maps a "direct" one: the IOMMU's default is to block all DMA. */
static const struct {
	const char *name;
	enum iommu_resv_type type;
} region_types[] = {
	{ "reserved", IOMMU_RESV_RESERVED },
	{ "direct-relaxable", IOMMU_RESV_DIRECT_RELAXABLE },
};

static ssize_t test_iommu_reserved_show(struct config_item *item, char *page)
{
	struct test_iommu *iommu = to_test_iommu(item);
	unsigned int i, j;
	ssize_t at = 0;

	guard(mutex)(&iommu->lock);
	for (i = 0; i < iommu->num_reserved; i++)
		for (j = 0; j < ARRAY_SIZE(region_types); j++)
			if (region_types[j].type == iommu->reserved[i].type)
				at += sysfs_emit_at(page, at,
						    "0x%llx 0x%llx %s\n",
						    iommu->reserved[i].first,
						    iommu->reserved[i].last,
						    region_types[j].name);
	return at;
}

static int parse_reserved(const char *line, struct test_reserved *reserved)
{
	char name[24];
	unsigned int i;

	if (sscanf(line, "%llx %llx %23s", &reserved->first, &reserved->last,
		   name) != 3 || reserved->first > reserved->last)
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(region_types); i++) {
		if (!strcmp(name, region_types[i].name)) {
			reserved->type = region_types[i].type;
			return 0;
		}
	}
	return -EINVAL;
}

/* All lines at once; they replace those before. */
static ssize_t test_iommu_reserved_store(struct config_item *item,
					 const char *page, size_t count)
{
	struct test_iommu *iommu = to_test_iommu(item);
	struct test_reserved reserved[TEST_MAX_RESERVED];
	unsigned int num = 0;
	const char *line;
	int rc;

	for (line = page; *line; line += strcspn(line, "\n")) {
		line += strspn(line, "\n");
		if (!*line)
			break;
		if (num == TEST_MAX_RESERVED)
			return -ENOSPC;
		rc = parse_reserved(line, &reserved[num++]);
		if (rc)
			return rc;
	}
	guard(mutex)(&iommu->lock);
	if (iommu->enabled)
		return -EBUSY;
	memcpy(iommu->reserved, reserved, num * sizeof(reserved[0]));
	iommu->num_reserved = num;
	return count;
}
CONFIGFS_ATTR(test_iommu_, reserved);

/* ---- what goes wrong in it ---- */

static const char *const op_names[] = {
	[TEST_OP_ALLOC] = "alloc",
	[TEST_OP_NESTED] = "nested",
	[TEST_OP_ATTACH] = "attach",
	[TEST_OP_PASID] = "pasid",
	[TEST_OP_MAP] = "map",
	[TEST_OP_ENFORCE] = "enforce",
	[TEST_OP_DIRTY] = "dirty",
	[TEST_OP_INVALIDATE] = "invalidate",
	[TEST_OP_PROBE] = "probe",
	[TEST_NUM_OPS] = "none",
};

static ssize_t test_iommu_fail_show(struct config_item *item, char *page)
{
	struct test_iommu *iommu = to_test_iommu(item);

	guard(spinlock)(&iommu->fail_lock);
	if (iommu->fail_op == TEST_NUM_OPS)
		return sysfs_emit(page, "none\n");
	return sysfs_emit(page, "%s %u %d\n", op_names[iommu->fail_op],
			  iommu->fail_after, -iommu->fail_error);
}

static ssize_t test_iommu_fail_store(struct config_item *item, const char *page,
				     size_t count)
{
	struct test_iommu *iommu = to_test_iommu(item);
	unsigned int after = 0;
	int error = 0, op;
	char name[16];

	if (sscanf(page, "%15s %u %d", name, &after, &error) < 1)
		return -EINVAL;
	op = match_string(op_names, ARRAY_SIZE(op_names), name);
	if (op < 0)
		return op;
	if (op != TEST_NUM_OPS && (error <= 0 || error > MAX_ERRNO))
		return -EINVAL;
	guard(spinlock)(&iommu->fail_lock);
	iommu->fail_op = op;
	iommu->fail_after = after;
	iommu->fail_error = -error;
	return count;
}
CONFIGFS_ATTR(test_iommu_, fail);

/* So many flushes that do nothing: who tests the tests wants to see that. */
static ssize_t test_iommu_lose_flushes_show(struct config_item *item,
					    char *page)
{
	return sysfs_emit(page, "%d\n",
			  atomic_read(&to_test_iommu(item)->lose_flushes));
}

static ssize_t test_iommu_lose_flushes_store(struct config_item *item,
					     const char *page, size_t count)
{
	u64 number;
	int rc = parse_number(page, 0, INT_MAX, &number);

	if (rc)
		return rc;
	atomic_set(&to_test_iommu(item)->lose_flushes, number);
	return count;
}
CONFIGFS_ATTR(test_iommu_, lose_flushes);

static ssize_t test_iommu_stats_show(struct config_item *item, char *page)
{
	struct test_iommu *iommu = to_test_iommu(item);

	return sysfs_emit(page, "flushes %lld\n",
			  atomic64_read(&iommu->num_flushes));
}
CONFIGFS_ATTR_RO(test_iommu_, stats);

/* ---- IOMMUs ---- */

/*
 * What the attributes say must make sense together. Pages may be larger than those
 * of the CPU, but some of them fit, whatever the width.
 */
static int check_features(const struct test_features *features)
{
	u64 last = GENMASK_ULL(features->width - 1, 0);

	if (features->first > min(features->last, last) ||
	    !(features->page_sizes & GENMASK_ULL(LEAST_WIDTH - 1, 12)))
		return -EINVAL;
	return 0;
}

static ssize_t test_iommu_enabled_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", to_test_iommu(item)->enabled);
}

static ssize_t test_iommu_enabled_store(struct config_item *item,
					const char *page, size_t count)
{
	struct test_iommu *iommu = to_test_iommu(item);
	bool on;
	int rc;

	rc = kstrtobool(page, &on);
	if (rc)
		return rc;
	guard(mutex)(&iommu->lock);
	if (on == iommu->enabled)
		return count;
	if (!on) {
		if (iommu->num_enabled)
			return -EBUSY;
		test_iommu_unregister(iommu);
	} else {
		rc = check_features(&iommu->features);
		if (!rc)
			rc = test_iommu_register(iommu, config_item_name(item));
		if (rc)
			return rc;
	}
	iommu->enabled = on;
	return count;
}
CONFIGFS_ATTR(test_iommu_, enabled);

static struct configfs_attribute *test_iommu_attrs[] = {
	&test_iommu_attr_enabled,
	&test_iommu_attr_page_sizes,
	&test_iommu_attr_width,
	&test_iommu_attr_aperture,
	&test_iommu_attr_pasid_bits,
	&test_iommu_attr_snoop_control,
	&test_iommu_attr_pri,
	&test_iommu_attr_dirty,
	&test_iommu_attr_nesting,
	&test_iommu_attr_hitless,
	&test_iommu_attr_attach_first,
	&test_iommu_attr_shares_tables,
	&test_iommu_attr_msi,
	&test_iommu_attr_reserved,
	&test_iommu_attr_fail,
	&test_iommu_attr_lose_flushes,
	&test_iommu_attr_stats,
	NULL,
};

static struct config_group *test_iommu_make_device(struct config_group *group,
						   const char *name)
{
	struct test_device *tdev;

	tdev = kzalloc_obj(*tdev);
	if (!tdev)
		return ERR_PTR(-ENOMEM);
	mutex_init(&tdev->lock);
	init_rwsem(&tdev->fault_sem);
	spin_lock_init(&tdev->requests_lock);
	raw_spin_lock_init(&tdev->msg_lock);
	INIT_LIST_HEAD(&tdev->requests);
	xa_init(&tdev->pasids);
	tdev->owner = to_test_iommu(&group->cg_item);
	config_group_init_type_name(&tdev->group, name, &test_device_type);
	return &tdev->group;
}

static void test_iommu_release(struct config_item *item)
{
	kfree(to_test_iommu(item));
}

static struct configfs_item_operations test_iommu_item_ops = {
	.release = test_iommu_release,
};

static struct configfs_group_operations test_iommu_group_ops = {
	.make_group = test_iommu_make_device,
};

static const struct config_item_type test_iommu_type = {
	.ct_item_ops = &test_iommu_item_ops,
	.ct_group_ops = &test_iommu_group_ops,
	.ct_attrs = test_iommu_attrs,
	.ct_owner = THIS_MODULE,
};

static struct config_group *test_make_iommu(struct config_group *group,
					    const char *name)
{
	struct test_iommu *iommu;

	iommu = kzalloc_obj(*iommu);
	if (!iommu)
		return ERR_PTR(-ENOMEM);
	mutex_init(&iommu->lock);
	spin_lock_init(&iommu->members_lock);
	INIT_LIST_HEAD(&iommu->members);
	spin_lock_init(&iommu->fail_lock);
	iommu->fail_op = TEST_NUM_OPS;
	iommu->features = (struct test_features){
		.page_sizes = ~(u64)(SZ_4K - 1),
		.width = 48,
		.last = U64_MAX,
		.pasid_bits = 20,
		.dirty = true,
		.nesting = true,
		.hitless = true,
	};
	config_group_init_type_name(&iommu->group, name, &test_iommu_type);
	return &iommu->group;
}

static void test_drop_iommu(struct config_group *group,
			    struct config_item *item)
{
	struct test_iommu *iommu = to_test_iommu(item);

	scoped_guard(mutex, &iommu->lock) {
		if (iommu->enabled)
			test_iommu_unregister(iommu);
		iommu->enabled = false;
	}
	config_item_put(item);
}

static struct configfs_group_operations test_root_group_ops = {
	.make_group = test_make_iommu,
	.drop_item = test_drop_iommu,
};

static const struct config_item_type test_root_type = {
	.ct_group_ops = &test_root_group_ops,
	.ct_owner = THIS_MODULE,
};

static struct configfs_subsystem test_subsystem = {
	.su_group = {
		.cg_item = {
			.ci_namebuf = "ioasid_test",
			.ci_type = &test_root_type,
		},
	},
};

static int __init test_module_init(void)
{
	int rc;

	rc = test_msi_init();
	if (rc)
		return rc;
	rc = test_drivers_register();
	if (rc)
		goto err_msi;
	config_group_init(&test_subsystem.su_group);
	mutex_init(&test_subsystem.su_mutex);
	rc = configfs_register_subsystem(&test_subsystem);
	if (rc)
		goto err_drivers;
	return 0;

err_drivers:
	test_drivers_unregister();
err_msi:
	test_msi_exit();
	return rc;
}
module_init(test_module_init);

static void __exit test_module_exit(void)
{
	configfs_unregister_subsystem(&test_subsystem);
	test_drivers_unregister();
	test_msi_exit();
}
module_exit(test_module_exit);

MODULE_DESCRIPTION("Software IOMMU and devices behind it, for tests");
MODULE_LICENSE("GPL");
