// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver of the software IOMMU.
 *
 * It is as any IOMMU driver: page tables come from the generic page table code,
 * and what the IOMMU does with them is in test_walk.c. Some of what drivers
 * differ in can be chosen for each instance, see struct test_features.
 */
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

#include "../../iommu-pages.h"
#include "test_iommu.h"

static const struct iommu_ops test_iommu_ops;
static const struct iommu_domain_ops test_domain_ops;
static const struct iommu_domain_ops test_nested_ops;
static const struct iommu_dirty_ops test_dirty_ops;

/**
 * test_should_fail - Whether an operation is to fail now
 * @iommu: The IOMMU
 * @op: The operation
 *
 * Return: 0 or the negative errno to fail with.
 */
int test_should_fail(struct test_iommu *iommu, enum test_op op)
{
	guard(spinlock)(&iommu->fail_lock);
	if (iommu->fail_op != op)
		return 0;
	if (iommu->fail_after) {
		iommu->fail_after--;
		return 0;
	}
	iommu->fail_op = TEST_NUM_OPS;
	return iommu->fail_error;
}

/* ---- a data race ---- */

/*
 * On purpose: KCSAN has to find it, which shows that it finds races, see
 * check_races() in scripts/check. Nothing keeps a thread that attaches from those
 * that map into other page tables of the same IOMMU.
 */
static noinline void test_race_write(struct test_iommu *iommu)
{
	if (IS_ENABLED(CONFIG_KCSAN))
		iommu->race++;
}

static noinline void test_race_read(struct test_iommu *iommu)
{
	unsigned long race;

	if (IS_ENABLED(CONFIG_KCSAN)) {
		race = iommu->race;
		barrier_data(&race);
	}
}

/* ---- invalidation ---- */

/* Waits for the accesses under way. */
static void flush(struct test_domain *tdom, u64 first, u64 last)
{
	struct test_nested *nested;

	atomic64_inc(&tdom->iommu->num_flushes);
	guard(write_lock)(&test_dma_lock);
	/* Page tables are not walked any more, even if this one is lost. */
	if (atomic_dec_if_positive(&tdom->iommu->lose_flushes) >= 0)
		return;
	if (first == 0 && last == U64_MAX)
		test_tlb_drop_all(&tdom->tlb);
	else
		test_tlb_drop(&tdom->tlb, first, last);
	/* They are by addresses that this table knows nothing of. */
	list_for_each_entry(nested, &tdom->nested, entry)
		test_tlb_drop_all(&nested->tlb);
}

static void test_iotlb_sync(struct iommu_domain *domain,
			    struct iommu_iotlb_gather *gather)
{
	if (gather->start <= gather->end)
		flush(to_test_domain(domain), gather->start, gather->end);
	iommu_put_pages_list(&gather->freelist);
}

static void test_flush_iotlb_all(struct iommu_domain *domain)
{
	flush(to_test_domain(domain), 0, U64_MAX);
}

static int invalidate_entry(struct test_nested *nested,
			    struct iommu_user_data_array *array, u32 index)
{
	struct ioasid_test_invalidate range;
	int rc;

	rc = test_should_fail(nested->parent->iommu, TEST_OP_INVALIDATE);
	if (rc)
		return rc;
	rc = iommu_copy_struct_from_user_array(&range, array,
					       IOASID_TEST_DATA_TYPE, index,
					       last);
	if (rc)
		return rc;
	if (range.last < range.first)
		return -EINVAL;
	guard(write_lock)(&test_dma_lock);
	test_tlb_drop(&nested->tlb, range.first, range.last);
	return 0;
}

static int test_cache_invalidate_user(struct iommu_domain *domain,
				      struct iommu_user_data_array *array)
{
	struct test_nested *nested = to_test_nested(domain);
	int rc = array->type == IOASID_TEST_DATA_TYPE ? 0 : -EINVAL;
	u32 done = 0;

	while (!rc && done < array->entry_num) {
		rc = invalidate_entry(nested, array, done);
		if (!rc)
			done++;
	}
	array->entry_num = done;
	return rc;
}

/* ---- page tables of the kernel ---- */

/* The top moves up when an address is mapped that it does not reach. */
static void test_change_top(struct pt_iommu *table, phys_addr_t top,
			    unsigned int level)
{
	struct test_domain *tdom =
		container_of(table, struct test_domain, amdv1.iommu);

	/* Who sees it sees what is in it. */
	smp_store_release(&tdom->top, top | (level + 1));
}

static spinlock_t *test_get_top_lock(struct pt_iommu *table)
{
	return &container_of(table, struct test_domain, amdv1.iommu)->top_lock;
}

static const struct pt_iommu_driver_ops test_table_ops = {
	.change_top = test_change_top,
	.get_top_lock = test_get_top_lock,
};

static int test_map_range(struct pt_iommu *table, dma_addr_t iova,
			  phys_addr_t paddr, dma_addr_t len, unsigned int prot,
			  gfp_t gfp, size_t *mapped)
{
	struct test_domain *tdom =
		container_of(table, struct test_domain, amdv1.iommu);
	int rc = test_should_fail(tdom->iommu, TEST_OP_MAP);

	test_race_read(tdom->iommu);
	if (rc)
		return rc;
	if (tdom->features.attach_first && !READ_ONCE(tdom->attached))
		return -ENODEV;
	return tdom->generic_ops->map_range(table, iova, paddr, len, prot, gfp,
					    mapped);
}

static void set_geometry(struct test_domain *tdom)
{
	tdom->domain.geometry.aperture_start = tdom->features.first;
	tdom->domain.geometry.aperture_end =
		min(tdom->features.last,
		    GENMASK_ULL(tdom->features.width - 1, 0));
	tdom->domain.geometry.force_aperture = true;
}

static int init_table(struct test_domain *tdom)
{
	struct pt_iommu_amdv1_cfg cfg = {
		.common.features = BIT(PT_FEAT_DYNAMIC_TOP) |
				   BIT(PT_FEAT_FLUSH_RANGE) |
				   BIT(PT_FEAT_AMDV1_ENCRYPT_TABLES) |
				   BIT(PT_FEAT_AMDV1_FORCE_COHERENCE),
		.common.hw_max_vasz_lg2 = tdom->features.width,
		.common.hw_max_oasz_lg2 = 52,
		.starting_level = 2,
	};
	struct pt_iommu_amdv1_hw_info info;
	int rc;

	tdom->amdv1.iommu.nid = NUMA_NO_NODE;
	tdom->amdv1.iommu.driver_ops = &test_table_ops;
	rc = pt_iommu_amdv1_init(&tdom->amdv1, &cfg, GFP_KERNEL_ACCOUNT);
	if (rc)
		return rc;
	tdom->generic_ops = tdom->amdv1.iommu.ops;
	tdom->ops = *tdom->generic_ops;
	tdom->ops.map_range = test_map_range;
	tdom->amdv1.iommu.ops = &tdom->ops;
	pt_iommu_amdv1_hw_info(&tdom->amdv1, &info);
	tdom->top = info.host_pt_root | info.mode;
	tdom->domain.pgsize_bitmap &= tdom->features.page_sizes;
	if (tdom->features.attach_first)
		tdom->domain.geometry = (struct iommu_domain_geometry){};
	else
		set_geometry(tdom);
	return 0;
}

/* A page table may live longer than all devices, and what it was made for. */
static struct test_iommu *hold_iommu(struct test_iommu *iommu)
{
	__module_get(THIS_MODULE);
	config_item_get(&iommu->group.cg_item);
	return iommu;
}

static void drop_iommu(struct test_iommu *iommu)
{
	config_item_put(&iommu->group.cg_item);
	module_put(THIS_MODULE);
}

static struct iommu_domain *
test_domain_alloc_paging_flags(struct device *dev, u32 flags,
			       const struct iommu_user_data *user_data)
{
	struct test_iommu *iommu = test_device_of(dev)->owner;
	struct test_features *features = &iommu->features;
	struct test_domain *tdom;
	u32 known = 0;
	int rc;

	if (features->nesting)
		known |= IOMMU_HWPT_ALLOC_NEST_PARENT;
	if (features->dirty)
		known |= IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	if (features->pasid_bits)
		known |= IOMMU_HWPT_ALLOC_PASID;
	if (flags & ~known || user_data)
		return ERR_PTR(-EOPNOTSUPP);
	rc = test_should_fail(iommu, TEST_OP_ALLOC);
	if (rc)
		return ERR_PTR(rc);

	tdom = kzalloc_obj(*tdom, GFP_KERNEL_ACCOUNT);
	if (!tdom)
		return ERR_PTR(-ENOMEM);
	tdom->iommu = hold_iommu(iommu);
	tdom->features = *features;
	tdom->flags = flags;
	spin_lock_init(&tdom->top_lock);
	INIT_LIST_HEAD(&tdom->nested);
	test_tlb_init(&tdom->tlb);
	rc = init_table(tdom);
	if (rc) {
		kfree(tdom);
		drop_iommu(iommu);
		return ERR_PTR(rc);
	}
	tdom->domain.ops = &test_domain_ops;
	if (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING)
		tdom->domain.dirty_ops = &test_dirty_ops;
	return &tdom->domain;
}

static void test_domain_free(struct iommu_domain *domain)
{
	struct test_domain *tdom = to_test_domain(domain);
	struct test_iommu *iommu = tdom->iommu;

	WARN_ON(!list_empty(&tdom->nested));
	test_tlb_drop_all(&tdom->tlb);
	pt_iommu_deinit(&tdom->amdv1.iommu);
	kfree(tdom);
	drop_iommu(iommu);
}

static bool test_enforce_cache_coherency(struct iommu_domain *domain)
{
	struct test_domain *tdom = to_test_domain(domain);

	if (!tdom->features.snoop_control ||
	    test_should_fail(tdom->iommu, TEST_OP_ENFORCE))
		return false;
	tdom->coherent = true;
	return true;
}

static int test_set_dirty_tracking(struct iommu_domain *domain, bool enabled)
{
	struct test_domain *tdom = to_test_domain(domain);
	int rc = test_should_fail(tdom->iommu, TEST_OP_DIRTY);

	if (rc)
		return rc;
	/* What is kept says nothing of writes while nobody asked. */
	WRITE_ONCE(tdom->track_dirty, enabled);
	flush(tdom, 0, U64_MAX);
	return 0;
}

static int test_read_and_clear_dirty(struct iommu_domain *domain,
				     unsigned long iova, size_t size,
				     unsigned long flags,
				     struct iommu_dirty_bitmap *dirty)
{
	int rc = test_should_fail(to_test_domain(domain)->iommu, TEST_OP_DIRTY);

	return rc ? rc :
		    pt_iommu_amdv1_read_and_clear_dirty(domain, iova, size,
							flags, dirty);
}

/* ---- page tables of users ---- */

static struct iommu_domain *
test_domain_alloc_nested(struct device *dev, struct iommu_domain *parent,
			 u32 flags, const struct iommu_user_data *user_data)
{
	struct test_iommu *iommu = test_device_of(dev)->owner;
	struct ioasid_test_hwpt_data data;
	struct test_domain *tparent;
	struct test_nested *nested;
	int rc;

	if (!iommu->features.nesting || flags & ~IOMMU_HWPT_ALLOC_PASID)
		return ERR_PTR(-EOPNOTSUPP);
	if (parent->ops != &test_domain_ops)
		return ERR_PTR(-EINVAL);
	tparent = to_test_domain(parent);
	if (!(tparent->flags & IOMMU_HWPT_ALLOC_NEST_PARENT))
		return ERR_PTR(-EINVAL);
	rc = iommu_copy_struct_from_user(&data, user_data,
					 IOASID_TEST_DATA_TYPE, __reserved);
	if (rc)
		return ERR_PTR(rc);
	if (data.__reserved || data.levels < 3 || data.levels > 5 ||
	    !IS_ALIGNED(data.table, SZ_4K))
		return ERR_PTR(-EINVAL);
	rc = test_should_fail(iommu, TEST_OP_NESTED);
	if (rc)
		return ERR_PTR(rc);

	nested = kzalloc_obj(*nested, GFP_KERNEL_ACCOUNT);
	if (!nested)
		return ERR_PTR(-ENOMEM);
	nested->domain.type = IOMMU_DOMAIN_NESTED;
	nested->domain.ops = &test_nested_ops;
	nested->parent = tparent;
	nested->table = data.table;
	nested->levels = data.levels;
	nested->flags = flags;
	test_tlb_init(&nested->tlb);
	scoped_guard(write_lock, &test_dma_lock)
		list_add(&nested->entry, &tparent->nested);
	return &nested->domain;
}

static void test_nested_free(struct iommu_domain *domain)
{
	struct test_nested *nested = to_test_nested(domain);

	scoped_guard(write_lock, &test_dma_lock)
		list_del(&nested->entry);
	test_tlb_drop_all(&nested->tlb);
	kfree(nested);
}

/* ---- attachment ---- */

/* Another instance can only share what it would have made itself. */
static bool same_format(const struct test_features *a,
			const struct test_features *b)
{
	return a->shares_tables && b->shares_tables &&
	       a->page_sizes == b->page_sizes && a->width == b->width &&
	       a->first == b->first && a->last == b->last &&
	       a->snoop_control == b->snoop_control;
}

static int check_attach(struct iommu_domain *domain, struct test_device *tdev)
{
	const struct test_features *features = &tdev->owner->features;
	const struct test_domain *tdom = test_is_nested(domain) ?
						 to_test_nested(domain)->parent :
						 to_test_domain(domain);

	if (tdom->iommu != tdev->owner &&
	    !same_format(&tdom->features, features))
		return -EINVAL;
	if (tdom->coherent && !features->snoop_control)
		return -EINVAL;
	if (domain->dirty_ops && !features->dirty)
		return -EINVAL;
	return 0;
}

static void set_plain(struct test_device *tdev, struct iommu_domain *domain)
{
	guard(write_lock)(&test_dma_lock);
	tdev->domain = domain;
}

static void set_pasid(struct test_device *tdev, ioasid_t pasid,
		      struct iommu_domain *domain)
{
	guard(write_lock)(&test_dma_lock);
	/* There is room already, which makes this safe here. */
	if (domain)
		xa_store(&tdev->pasids, pasid, domain, GFP_ATOMIC);
	else
		xa_erase(&tdev->pasids, pasid);
}

static void decide_format(struct iommu_domain *domain)
{
	struct test_domain *tdom;

	if (test_is_nested(domain))
		return;
	tdom = to_test_domain(domain);
	test_race_write(tdom->iommu);
	if (!tdom->attached && tdom->features.attach_first)
		set_geometry(tdom);
	WRITE_ONCE(tdom->attached, true);
}

/* Some IOMMUs take an entry away before they write the new one. */
static void linger(const struct test_device *tdev)
{
	if (!tdev->owner->features.hitless)
		usleep_range(500, 1000);
}

/**
 * test_attached - What a device's DMA is attached to
 * @tdev: The device
 * @flags: enum ioasid_test_flags
 * @pasid: With IOASID_TEST_PASID
 *
 * Each step of DMA comes here, so for KCSAN there would be little else.
 *
 * Context: test_dma_lock is held.
 *
 * Return: The domain, NULL if DMA is blocked.
 */
__no_kcsan
struct iommu_domain *test_attached(struct test_device *tdev, u32 flags,
				   u32 pasid)
{
	if (flags & IOASID_TEST_PASID)
		return xa_load(&tdev->pasids, pasid);
	return tdev->domain;
}

static int test_attach_dev(struct iommu_domain *domain, struct device *dev,
			   struct iommu_domain *old)
{
	struct test_device *tdev = test_device_of(dev);
	int rc;

	/* As drivers do that take the old entry away before they look. */
	if (!tdev->owner->features.hitless)
		set_plain(tdev, NULL);
	rc = check_attach(domain, tdev);
	if (!rc)
		rc = test_should_fail(tdev->owner, TEST_OP_ATTACH);
	if (rc)
		return rc;
	linger(tdev);
	decide_format(domain);
	guard(rwsem_write)(&tdev->fault_sem);
	set_plain(tdev, domain);
	return 0;
}

static int test_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
			      ioasid_t pasid, struct iommu_domain *old)
{
	struct test_device *tdev = test_device_of(dev);
	u32 flags = test_is_nested(domain) ? to_test_nested(domain)->flags :
					     to_test_domain(domain)->flags;
	int rc = check_attach(domain, tdev);

	if (rc)
		return rc;
	if (!(flags & IOMMU_HWPT_ALLOC_PASID))
		return -EINVAL;
	rc = test_should_fail(tdev->owner, TEST_OP_PASID);
	if (rc)
		return rc;
	rc = xa_reserve(&tdev->pasids, pasid, GFP_KERNEL);
	if (rc)
		return rc;
	decide_format(domain);
	guard(rwsem_write)(&tdev->fault_sem);
	set_pasid(tdev, pasid, domain);
	return 0;
}

static int test_blocked_attach_dev(struct iommu_domain *domain,
				   struct device *dev, struct iommu_domain *old)
{
	struct test_device *tdev = test_device_of(dev);

	guard(rwsem_write)(&tdev->fault_sem);
	set_plain(tdev, NULL);
	return 0;
}

static int test_blocked_set_dev_pasid(struct iommu_domain *domain,
				      struct device *dev, ioasid_t pasid,
				      struct iommu_domain *old)
{
	struct test_device *tdev = test_device_of(dev);

	guard(rwsem_write)(&tdev->fault_sem);
	set_pasid(tdev, pasid, NULL);
	return 0;
}

static const struct iommu_domain_ops test_domain_ops = {
	IOMMU_PT_DOMAIN_OPS(amdv1),
	.attach_dev = test_attach_dev,
	.set_dev_pasid = test_set_dev_pasid,
	.flush_iotlb_all = test_flush_iotlb_all,
	.iotlb_sync = test_iotlb_sync,
	.enforce_cache_coherency = test_enforce_cache_coherency,
	.free = test_domain_free,
};

static const struct iommu_dirty_ops test_dirty_ops = {
	.set_dirty_tracking = test_set_dirty_tracking,
	.read_and_clear_dirty = test_read_and_clear_dirty,
};

static const struct iommu_domain_ops test_nested_ops = {
	.attach_dev = test_attach_dev,
	.set_dev_pasid = test_set_dev_pasid,
	.cache_invalidate_user = test_cache_invalidate_user,
	.free = test_nested_free,
};

static const struct iommu_domain_ops test_blocked_ops = {
	.attach_dev = test_blocked_attach_dev,
	.set_dev_pasid = test_blocked_set_dev_pasid,
};

static struct iommu_domain test_blocked_domain = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &test_blocked_ops,
};

/*
 * What devices begin with. Not the same: where there is no IOMMU_DMA, the IOMMU
 * core takes the type of blocked domains, which is 0, for none at all.
 */
static struct iommu_domain test_default_domain = {
	.type = IOMMU_DOMAIN_PLATFORM,
	.ops = &test_blocked_ops,
};

/* ---- devices ---- */

static bool test_capable(struct device *dev, enum iommu_cap cap)
{
	const struct test_features *features =
		&test_device_of(dev)->owner->features;

	switch (cap) {
	case IOMMU_CAP_CACHE_COHERENCY:
		return true;
	case IOMMU_CAP_ENFORCE_CACHE_COHERENCY:
		return features->snoop_control;
	case IOMMU_CAP_DIRTY_TRACKING:
		return features->dirty;
	default:
		return false;
	}
}

static void *test_hw_info(struct device *dev, u32 *length,
			  enum iommu_hw_info_type *type)
{
	const struct test_features *features =
		&test_device_of(dev)->owner->features;
	struct ioasid_test_hw_info *info;

	if (*type != IOMMU_HW_INFO_TYPE_DEFAULT &&
	    (u32)*type != IOASID_TEST_DATA_TYPE)
		return ERR_PTR(-EOPNOTSUPP);
	info = kzalloc_obj(*info);
	if (!info)
		return ERR_PTR(-ENOMEM);
	info->page_sizes = features->page_sizes;
	info->width = features->width;
	info->nesting = features->nesting;
	*length = sizeof(*info);
	*type = IOASID_TEST_DATA_TYPE;
	return info;
}

static struct iommu_device *test_probe_device(struct device *dev)
{
	struct test_device *tdev;
	struct test_iommu *iommu;
	int rc;

	if (!dev_is_platform(dev) && !dev_is_pci(dev))
		return ERR_PTR(-ENODEV);
	tdev = test_device_of(dev);
	if (!tdev)
		return ERR_PTR(-ENODEV);
	iommu = tdev->owner;
	rc = test_should_fail(iommu, TEST_OP_PROBE);
	if (rc)
		return ERR_PTR(rc);
	dev_iommu_priv_set(dev, tdev);
	scoped_guard(spinlock, &iommu->members_lock)
		list_add_tail(&tdev->entry, &iommu->members);
	return &iommu->iommu;
}

static void test_probe_finalize(struct device *dev)
{
	struct test_device *tdev = test_device_of(dev);

	if (tdev->owner->iopf)
		tdev->in_iopf = !iopf_queue_add_device(tdev->owner->iopf, dev);
}

static void test_release_device(struct device *dev)
{
	struct test_device *tdev = test_device_of(dev);

	if (tdev->in_iopf)
		iopf_queue_remove_device(tdev->owner->iopf, dev);
	tdev->in_iopf = false;
	set_plain(tdev, NULL);
	/* The core does not detach a device's PASIDs from what the group has. */
	scoped_guard(write_lock, &test_dma_lock)
		xa_destroy(&tdev->pasids);
	scoped_guard(spinlock, &tdev->owner->members_lock)
		list_del(&tdev->entry);
}

static struct iommu_group *test_device_group(struct device *dev)
{
	struct test_device *tdev = test_device_of(dev), *other;
	struct test_iommu *iommu = tdev->owner;

	if (!tdev->group_name[0])
		return generic_device_group(dev);
	scoped_guard(spinlock, &iommu->members_lock) {
		list_for_each_entry(other, &iommu->members, entry) {
			struct iommu_group *group;

			if (other == tdev ||
			    strcmp(other->group_name, tdev->group_name))
				continue;
			group = other->dev->iommu_group;
			if (group)
				return iommu_group_ref_get(group);
		}
	}
	return generic_device_group(dev);
}

static void add_region(struct list_head *list, u64 first, u64 last, int prot,
		       enum iommu_resv_type type)
{
	struct iommu_resv_region *region;

	region = iommu_alloc_resv_region(first, last - first + 1, prot, type,
					 GFP_KERNEL);
	if (region)
		list_add_tail(&region->list, list);
}

static void test_get_resv_regions(struct device *dev, struct list_head *list)
{
	struct test_iommu *iommu = test_device_of(dev)->owner;
	unsigned int i;

	for (i = 0; i < iommu->num_reserved; i++)
		add_region(list, iommu->reserved[i].first,
			   iommu->reserved[i].last, IOMMU_READ | IOMMU_WRITE,
			   iommu->reserved[i].type);
	if (iommu->features.msi == TEST_MSI_MODE_MAPPED)
		add_region(list, TEST_MSI_MAPPED,
			   TEST_MSI_MAPPED + TEST_MSI_SIZE - 1,
			   IOMMU_WRITE | IOMMU_NOEXEC | IOMMU_MMIO,
			   IOMMU_RESV_SW_MSI);
	else
		add_region(list, TEST_MSI_DIRECT,
			   TEST_MSI_DIRECT + TEST_MSI_SIZE - 1, 0,
			   IOMMU_RESV_MSI);
}

/* ---- page requests ---- */

/**
 * struct test_request - A page request that waits for its answer
 * @entry: In test_device.requests
 * @number: Its number, as the group of the request
 * @stoppers: Identifies who has made it
 * @code: The answer
 * @done: Completed with it
 */
struct test_request {
	struct list_head entry;
	u32 number;
	const atomic_t *stoppers;
	enum iommu_page_response_code code;
	struct completion done;
};

static void answer(struct test_device *tdev, struct test_request *request,
		   enum iommu_page_response_code code)
{
	lockdep_assert_held(&tdev->requests_lock);
	list_del_init(&request->entry);
	request->code = code;
	complete(&request->done);
}

static void test_page_response(struct device *dev, struct iopf_fault *evt,
			       struct iommu_page_response *response)
{
	struct test_device *tdev = test_device_of(dev);
	struct test_request *request, *next;

	guard(spinlock)(&tdev->requests_lock);
	list_for_each_entry_safe(request, next, &tdev->requests, entry)
		if (request->number == response->grpid)
			answer(tdev, request, response->code);
}

/**
 * test_page_requests_end - Deny all page requests of a channel that wait
 * @tdev: The device
 * @stoppers: As it was given to test_page_request()
 */
void test_page_requests_end(struct test_device *tdev, const atomic_t *stoppers)
{
	struct test_request *request, *next;

	guard(spinlock)(&tdev->requests_lock);
	list_for_each_entry_safe(request, next, &tdev->requests, entry)
		if (request->stoppers == stoppers)
			answer(tdev, request, IOMMU_PAGE_RESP_INVALID);
}

/* What is not attached any more must not hear of faults. */
static bool is_attached(struct test_device *tdev, u32 flags, u32 pasid)
{
	guard(read_lock)(&test_dma_lock);
	return test_attached(tdev, flags, pasid);
}

/**
 * test_page_request - Ask for a page, and wait for the answer
 * @tdev: The device
 * @flags: enum ioasid_test_flags
 * @pasid: With IOASID_TEST_PASID
 * @iova: The address
 * @write: For writing
 * @stoppers: Not 0 before test_page_requests_end(), to end new ones, too
 *
 * Context: No lock is held.
 *
 * Return: IOASID_TEST_FAULT_NONE: try again; IOASID_TEST_FAULT_REQUEST: denied.
 */
enum ioasid_test_fault test_page_request(struct test_device *tdev, u32 flags,
					 u32 pasid, u64 iova, bool write,
					 const atomic_t *stoppers)
{
	struct device *dev = tdev->dev;
	struct test_request request = {
		.stoppers = stoppers,
		.code = IOMMU_PAGE_RESP_INVALID,
	};
	struct iopf_fault event = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = {
				.flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE,
				.perm = write ? IOMMU_FAULT_PERM_WRITE :
						IOMMU_FAULT_PERM_READ,
				.addr = iova & ~(u64)(SZ_4K - 1),
			},
		},
	};

	if (!tdev->in_iopf)
		return IOASID_TEST_FAULT_REQUEST;
	if (flags & IOASID_TEST_PASID) {
		event.fault.prm.flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
		event.fault.prm.pasid = pasid;
	}
	init_completion(&request.done);
	scoped_guard(spinlock, &tdev->requests_lock) {
		if (atomic_read(stoppers))
			return IOASID_TEST_FAULT_REQUEST;
		request.number = tdev->next_request++;
		list_add_tail(&request.entry, &tdev->requests);
	}
	event.fault.prm.grpid = request.number;

	/* If nobody takes it, it was answered when this returns. */
	scoped_guard(rwsem_read, &tdev->fault_sem) {
		if (is_attached(tdev, flags, pasid))
			iommu_report_device_fault(dev, &event);
		else
			test_page_requests_end(tdev, stoppers);
	}

	if (wait_for_completion_killable(&request.done)) {
		guard(spinlock)(&tdev->requests_lock);
		if (!list_empty(&request.entry))
			list_del(&request.entry);
		return IOASID_TEST_FAULT_REQUEST;
	}
	return request.code == IOMMU_PAGE_RESP_SUCCESS ?
		       IOASID_TEST_FAULT_NONE : IOASID_TEST_FAULT_REQUEST;
}

/* ---- the instance ---- */

static const struct iommu_ops test_iommu_ops = {
	.owner = THIS_MODULE,
	.capable = test_capable,
	.hw_info = test_hw_info,
	.domain_alloc_paging_flags = test_domain_alloc_paging_flags,
	.domain_alloc_nested = test_domain_alloc_nested,
	.probe_device = test_probe_device,
	.probe_finalize = test_probe_finalize,
	.release_device = test_release_device,
	.device_group = test_device_group,
	.get_resv_regions = test_get_resv_regions,
	.page_response = test_page_response,
	.default_domain = &test_default_domain,
	.blocked_domain = &test_blocked_domain,
	.default_domain_ops = &test_domain_ops,
};

/**
 * test_iommu_register - Make an IOMMU known to the IOMMU core
 * @iommu: The IOMMU, configured
 * @name: What it is called
 *
 * Return: 0 or a negative errno.
 */
int test_iommu_register(struct test_iommu *iommu, const char *name)
{
	struct platform_device_info info = {
		.name = "ioasid-test-iommu",
		.id = PLATFORM_DEVID_AUTO,
	};
	int rc;

	iommu->fwnode = fwnode_create_software_node(NULL, NULL);
	if (IS_ERR(iommu->fwnode))
		return PTR_ERR(iommu->fwnode);
	info.fwnode = iommu->fwnode;
	iommu->pdev = platform_device_register_full(&info);
	if (IS_ERR(iommu->pdev)) {
		rc = PTR_ERR(iommu->pdev);
		goto err_fwnode;
	}
	if (iommu->features.pri) {
		iommu->iopf = iopf_queue_alloc(dev_name(&iommu->pdev->dev));
		if (!iommu->iopf) {
			rc = -ENOMEM;
			goto err_pdev;
		}
	}
	memset(&iommu->iommu, 0, sizeof(iommu->iommu));
	if (iommu->features.pasid_bits)
		iommu->iommu.max_pasids = BIT(iommu->features.pasid_bits);
	rc = iommu_device_sysfs_add(&iommu->iommu, &iommu->pdev->dev, NULL,
				    "ioasid-test-%s", name);
	if (rc)
		goto err_iopf;
	rc = iommu_device_register(&iommu->iommu, &test_iommu_ops,
				   &iommu->pdev->dev);
	if (rc)
		goto err_sysfs;
	return 0;

err_sysfs:
	iommu_device_sysfs_remove(&iommu->iommu);
err_iopf:
	iopf_queue_free(iommu->iopf);
	iommu->iopf = NULL;
err_pdev:
	platform_device_unregister(iommu->pdev);
err_fwnode:
	fwnode_remove_software_node(iommu->fwnode);
	return rc;
}

/**
 * test_iommu_unregister - Undo test_iommu_register()
 * @iommu: The IOMMU, without devices
 */
void test_iommu_unregister(struct test_iommu *iommu)
{
	iommu_device_unregister(&iommu->iommu);
	iommu_device_sysfs_remove(&iommu->iommu);
	iopf_queue_free(iommu->iopf);
	iommu->iopf = NULL;
	platform_device_unregister(iommu->pdev);
	fwnode_remove_software_node(iommu->fwnode);
}

MODULE_IMPORT_NS("GENERIC_PT_IOMMU");
