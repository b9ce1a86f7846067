// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU_TEST_CMD: devices that tests ask for, and the dispatch of operations.
 */
#include <linux/array_size.h>
#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "../../iommu-priv.h"
#include "mock.h"

/**
 * struct mock_object - What stands for a mock device in its context
 * @obj: Its identifier
 * @rcu: Frees it
 * @mdev: The device, which belongs to it
 * @idev: The device as bound to the context
 */
struct mock_object {
	struct iommufd_object obj;
	struct rcu_head rcu;
	struct mock_device *mdev;
	struct iommufd_device *idev;
};

static struct mock_object *to_mock_object(struct iommufd_object *obj)
{
	return container_of(obj, struct mock_object, obj);
}

/* ---- attachment ---- */

static int attach(struct mock_object *mobj, ioasid_t pasid, u32 *pt_id)
{
	guard(rwsem_write)(&mobj->mdev->attach_lock);
	return iommufd_device_attach(mobj->idev, pasid, pt_id);
}

static int replace(struct mock_object *mobj, ioasid_t pasid, u32 *pt_id)
{
	guard(rwsem_write)(&mobj->mdev->attach_lock);
	return iommufd_device_replace(mobj->idev, pasid, pt_id);
}

static void detach(struct mock_object *mobj, ioasid_t pasid)
{
	guard(rwsem_write)(&mobj->mdev->attach_lock);
	iommufd_device_detach(mobj->idev, pasid);
}

/* Nobody else can attach or detach the device any more. */
static void detach_all(struct mock_object *mobj)
{
	struct ioasid_slot *slot;
	unsigned long pasid;

	xa_for_each_start(&mobj->idev->group->slots, pasid, slot,
			  IOMMU_NO_PASID + 1)
		detach(mobj, pasid);
	detach(mobj, IOMMU_NO_PASID);
}

/* ---- life ---- */

/* Return: 0 with the results in @cmd, or a negative errno. */
static int make_object(struct ioasid_ucmd *ucmd, struct mock_object *mobj,
		       struct iommu_test_cmd *cmd, u32 flags)
{
	u32 idev_id, pt_id = cmd->id;
	int rc;

	mobj->mdev = mock_device_create(flags);
	if (IS_ERR(mobj->mdev))
		return PTR_ERR(mobj->mdev);
	mobj->idev = iommufd_device_bind(ucmd->ictx, &mobj->mdev->dev,
					 &idev_id);
	if (IS_ERR(mobj->idev)) {
		rc = PTR_ERR(mobj->idev);
		goto err_device;
	}
	rc = attach(mobj, IOMMU_NO_PASID, &pt_id);
	if (rc)
		goto err_unbind;

	cmd->mock_domain.out_stdev_id = mobj->obj.id;
	cmd->mock_domain.out_hwpt_id = pt_id;
	cmd->mock_domain.out_idev_id = idev_id;
	return 0;

err_unbind:
	iommufd_device_unbind(mobj->idev);
err_device:
	mock_device_destroy(mobj->mdev);
	return rc;
}

static void unmake_object(struct mock_object *mobj)
{
	detach_all(mobj);
	iommufd_device_unbind(mobj->idev);
	mock_device_destroy(mobj->mdev);
}

static int create_object(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd,
			 u32 flags)
{
	struct mock_object *mobj;
	int rc;

	mobj = kzalloc_obj(*mobj, GFP_KERNEL_ACCOUNT);
	if (!mobj)
		return -ENOMEM;
	rc = ioasid_object_init(ucmd->ictx, &mobj->obj, IOMMUFD_OBJ_SELFTEST);
	if (rc)
		goto err_free;
	rc = make_object(ucmd, mobj, cmd, flags);
	if (rc)
		goto err_abort;
	rc = ioasid_respond(ucmd, sizeof(*cmd));
	if (rc)
		goto err_unmake;
	ioasid_object_publish(ucmd->ictx, &mobj->obj);
	return 0;

err_unmake:
	unmake_object(mobj);
err_abort:
	ioasid_object_abort(ucmd->ictx, &mobj->obj);
err_free:
	kfree(mobj);
	return rc;
}

static int mock_domain(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	return create_object(ucmd, cmd, 0);
}

static int mock_domain_flags(struct ioasid_ucmd *ucmd,
			     struct iommu_test_cmd *cmd)
{
	return create_object(ucmd, cmd, cmd->mock_domain_flags.dev_flags);
}

/**
 * ioasid_mock_destroy - End a mock device
 * @obj: The object that stands for it. Nobody can reach it any more. It is freed
 *       after a grace period.
 *
 * Context: No lock is held.
 */
void ioasid_mock_destroy(struct iommufd_object *obj)
{
	struct mock_object *mobj = to_mock_object(obj);

	unmake_object(mobj);
	kfree_rcu(mobj, rcu);
}

/* ---- operations on a device ---- */

/* For ioasid_object_put(). It keeps the device bound. */
static struct mock_object *get_object(struct iommufd_ctx *ictx, u32 id)
{
	struct iommufd_object *obj =
		ioasid_object_get(ictx, id, IOMMUFD_OBJ_SELFTEST);

	return IS_ERR(obj) ? ERR_CAST(obj) : to_mock_object(obj);
}

static int mock_domain_replace(struct ioasid_ucmd *ucmd,
			       struct iommu_test_cmd *cmd)
{
	struct mock_object *mobj = get_object(ucmd->ictx, cmd->id);
	int rc;

	if (IS_ERR(mobj))
		return PTR_ERR(mobj);
	rc = replace(mobj, IOMMU_NO_PASID, &cmd->mock_domain_replace.pt_id);
	ioasid_object_put(ucmd->ictx, &mobj->obj);
	return rc ? rc : ioasid_respond(ucmd, sizeof(*cmd));
}

static int mock_pasid_attach(struct ioasid_ucmd *ucmd,
			     struct iommu_test_cmd *cmd)
{
	struct mock_object *mobj = get_object(ucmd->ictx, cmd->id);
	u32 pasid = cmd->pasid_attach.pasid;
	int rc;

	if (IS_ERR(mobj))
		return PTR_ERR(mobj);
	rc = attach(mobj, pasid, &cmd->pasid_attach.pt_id);
	if (!rc) {
		rc = ioasid_respond(ucmd, sizeof(*cmd));
		if (rc)
			detach(mobj, pasid);
	}
	ioasid_object_put(ucmd->ictx, &mobj->obj);
	return rc;
}

static int mock_pasid_replace(struct ioasid_ucmd *ucmd,
			      struct iommu_test_cmd *cmd)
{
	struct mock_object *mobj = get_object(ucmd->ictx, cmd->id);
	int rc;

	if (IS_ERR(mobj))
		return PTR_ERR(mobj);
	rc = replace(mobj, cmd->pasid_replace.pasid, &cmd->pasid_replace.pt_id);
	ioasid_object_put(ucmd->ictx, &mobj->obj);
	return rc ? rc : ioasid_respond(ucmd, sizeof(*cmd));
}

static int mock_pasid_detach(struct ioasid_ucmd *ucmd,
			     struct iommu_test_cmd *cmd)
{
	struct mock_object *mobj = get_object(ucmd->ictx, cmd->id);

	if (IS_ERR(mobj))
		return PTR_ERR(mobj);
	detach(mobj, cmd->pasid_detach.pasid);
	ioasid_object_put(ucmd->ictx, &mobj->obj);
	return 0;
}

/* @domain: what should be attached, NULL if nothing should */
static int check_attached(struct mock_device *mdev, ioasid_t pasid,
			  const struct iommu_domain *domain)
{
	const struct iommu_attach_handle *handle;

	lockdep_assert_held(&mdev->attach_lock);

	handle = iommu_attach_handle_get(mdev->dev.iommu_group, pasid, 0);
	return (IS_ERR(handle) ? NULL : handle->domain) == domain ? 0 : -EINVAL;
}

static int check_hwpt(struct ioasid_ucmd *ucmd, struct mock_device *mdev,
		      ioasid_t pasid, u32 hwpt_id)
{
	struct iommufd_hw_pagetable *hwpt;
	int rc;

	/*
	 * The handle stays as long as nothing is detached. Who detaches waits for
	 * whoever holds the table, so the lock comes first.
	 */
	guard(rwsem_read)(&mdev->attach_lock);
	if (!hwpt_id)
		return check_attached(mdev, pasid, NULL);
	hwpt = ioasid_get_hwpt(ucmd->ictx, hwpt_id);
	if (IS_ERR(hwpt))
		return PTR_ERR(hwpt);
	rc = check_attached(mdev, pasid, hwpt->domain);
	ioasid_object_put(ucmd->ictx, &hwpt->obj);
	return rc;
}

static int mock_pasid_check(struct ioasid_ucmd *ucmd,
			    struct iommu_test_cmd *cmd)
{
	struct mock_object *mobj = get_object(ucmd->ictx, cmd->id);
	int rc;

	if (IS_ERR(mobj))
		return PTR_ERR(mobj);
	rc = check_hwpt(ucmd, mobj->mdev, cmd->pasid_check.pasid,
			cmd->pasid_check.hwpt_id);
	ioasid_object_put(ucmd->ictx, &mobj->obj);
	return rc;
}

/* ---- reports of a device ---- */

/* For ioasid_object_put() */
static struct iommufd_device *get_mock_idev(struct iommufd_ctx *ictx, u32 id)
{
	struct iommufd_object *obj =
		ioasid_object_get(ictx, id, IOMMUFD_OBJ_DEVICE);

	if (IS_ERR(obj))
		return ERR_CAST(obj);
	if (ioasid_mock_device(to_idev(obj)->dev))
		return to_idev(obj);
	ioasid_object_put(ictx, obj);
	return ERR_PTR(-EINVAL);
}

static int mock_trigger_iopf(struct ioasid_ucmd *ucmd,
			     struct iommu_test_cmd *cmd)
{
	struct iopf_fault report = {
		.fault.type = IOMMU_FAULT_PAGE_REQ,
		.fault.prm = {
			.flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE,
			.pasid = cmd->trigger_iopf.pasid,
			.grpid = cmd->trigger_iopf.grpid,
			.perm = cmd->trigger_iopf.perm,
			.addr = cmd->trigger_iopf.addr,
		},
	};
	struct iommufd_device *idev =
		get_mock_idev(ucmd->ictx, cmd->trigger_iopf.dev_id);

	if (IS_ERR(idev))
		return PTR_ERR(idev);
	if (cmd->trigger_iopf.pasid != IOMMU_NO_PASID)
		report.fault.prm.flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;

	/* Nobody tells a device whether what it reports is heard. */
	scoped_guard(rwsem_read, &to_mock_device(idev->dev)->attach_lock)
		iommu_report_device_fault(idev->dev, &report);
	ioasid_object_put(ucmd->ictx, &idev->obj);
	return 0;
}

static int mock_trigger_vevent(struct ioasid_ucmd *ucmd,
			       struct iommu_test_cmd *cmd)
{
	struct iommufd_device *idev =
		get_mock_idev(ucmd->ictx, cmd->trigger_vevent.dev_id);
	struct mock_device *mdev;
	int rc = -ENOENT;

	if (IS_ERR(idev))
		return PTR_ERR(idev);
	mdev = to_mock_device(idev->dev);
	scoped_guard(rwsem_read, &mdev->attach_lock)
		if (mdev->viommu)
			rc = mock_viommu_report(mdev->viommu, mdev->virt_id);
	ioasid_object_put(ucmd->ictx, &idev->obj);
	return rc;
}

/* ---- dispatch ---- */

static mock_op_fn *const mock_ops[] = {
	[IOMMU_TEST_OP_ADD_RESERVED] = mock_add_reserved,
	[IOMMU_TEST_OP_MOCK_DOMAIN] = mock_domain,
	[IOMMU_TEST_OP_MD_CHECK_MAP] = mock_check_map,
	[IOMMU_TEST_OP_MD_CHECK_REFS] = mock_check_refs,
	[IOMMU_TEST_OP_CREATE_ACCESS] = mock_access_create,
	[IOMMU_TEST_OP_DESTROY_ACCESS_PAGES] = mock_access_unpin,
	[IOMMU_TEST_OP_ACCESS_PAGES] = mock_access_pin,
	[IOMMU_TEST_OP_ACCESS_RW] = mock_access_rw,
	[IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT] = mock_set_memory_limit,
	[IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE] = mock_domain_replace,
	[IOMMU_TEST_OP_ACCESS_REPLACE_IOAS] = mock_access_replace,
	[IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS] = mock_domain_flags,
	[IOMMU_TEST_OP_DIRTY] = mock_set_dirty,
	[IOMMU_TEST_OP_MD_CHECK_IOTLB] = mock_check_iotlb,
	[IOMMU_TEST_OP_TRIGGER_IOPF] = mock_trigger_iopf,
	[IOMMU_TEST_OP_DEV_CHECK_CACHE] = mock_check_device_cache,
	[IOMMU_TEST_OP_TRIGGER_VEVENT] = mock_trigger_vevent,
	[IOMMU_TEST_OP_PASID_ATTACH] = mock_pasid_attach,
	[IOMMU_TEST_OP_PASID_REPLACE] = mock_pasid_replace,
	[IOMMU_TEST_OP_PASID_DETACH] = mock_pasid_detach,
	[IOMMU_TEST_OP_PASID_CHECK_HWPT] = mock_pasid_check,
	[IOMMU_TEST_OP_DMABUF_GET] = mock_dmabuf_get,
	[IOMMU_TEST_OP_DMABUF_REVOKE] = mock_dmabuf_revoke,
};

/**
 * ioasid_mock_ioctl - Do IOMMU_TEST_CMD
 * @ucmd: The ioctl; its structure is struct iommu_test_cmd
 *
 * Context: No lock is held.
 *
 * Return: 0; a file descriptor, for IOMMU_TEST_OP_DMABUF_GET; -EOPNOTSUPP: no
 * such operation; or what the operation says. It has copied its results to the
 * user.
 */
int ioasid_mock_ioctl(struct ioasid_ucmd *ucmd)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	unsigned int op = cmd->op;

	if (op >= ARRAY_SIZE(mock_ops))
		return -EOPNOTSUPP;
	op = array_index_nospec(op, ARRAY_SIZE(mock_ops));
	if (!mock_ops[op])
		return -EOPNOTSUPP;
	return mock_ops[op](ucmd, cmd);
}

/**
 * ioasid_mock_init - Make the mock IOMMU
 *
 * Context: Before /dev/iommu can be opened.
 *
 * Return: 0 or a negative errno.
 */
int __init ioasid_mock_init(void)
{
	return mock_iommu_init();
}

/**
 * ioasid_mock_exit - Undo ioasid_mock_init()
 *
 * Context: No file of /dev/iommu is open, and none can be opened.
 */
void ioasid_mock_exit(void)
{
	mock_iommu_exit();
}
