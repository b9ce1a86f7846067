/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel's own selftests of /dev/iommu talk to: IOMMU_TEST_CMD.
 *
 * Its structures and constants are those of iommufd_test.h, which the programs
 * in tools/testing/selftests/iommu are compiled with. An IOMMU without hardware
 * stands behind a bus of its own. A test asks for devices on that bus; each is
 * alone in its group and is bound to the context that asked for it, and an
 * object of the context stands for it (struct mock_object). So all of it goes
 * with the file.
 *
 * Nothing here trusts the user: what is looked up by identifier may belong to
 * somebody else, so it is asked whether it is of this kind before it is used.
 *
 * Locks, outermost first. Those of the core that are named here are described in
 * ioasid_private.h.
 *
 *	mock_access.attach_lock
 *	mock_device.attach_lock
 *	ioasid.unmap_lock
 *	mock_access.lock
 *	iommufd_access.lock
 *	ioasid_group.lock
 *	ioasid.lock
 *	iommu_group's mutex
 *
 *	mock_viommu.lock	on its own
 */
#ifndef _IOASID_MOCK_H
#define _IOASID_MOCK_H

#include <linux/device.h>
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/rwsem.h>

#include "../ioasid_private.h"
#include "../../iommufd/iommufd_test.h"

struct mock_viommu;

/**
 * struct mock_device - A device behind the mock IOMMU
 * @dev: The device
 * @number: Part of its name
 * @flags: MOCK_FLAGS_DEVICE_*
 * @cache: What stands for a cache of translations in the device
 * @attach_lock: Held for writing while something is attached or detached, for
 *               reading while the device reports something to what is attached
 * @domain: What its DMA without PASID is translated by; under the mutex of its
 *          group
 * @num_iopf: Attached domains that want to know of page faults; under the mutex
 *            of its group
 * @fail_next: The next attachment to IOMMU_TEST_PASID_RESERVED fails; under the
 *             mutex of its group
 * @viommu: The vIOMMU that @domain was made by, or NULL; under @attach_lock
 * @virt_id: Identifier of the device in @viommu; under @attach_lock
 */
struct mock_device {
	struct device dev;
	int number;
	u32 flags;
	u32 cache[MOCK_DEV_CACHE_NUM];
	struct rw_semaphore attach_lock;

	struct iommu_domain *domain;
	unsigned int num_iopf;
	bool fail_next;

	struct mock_viommu *viommu;
	unsigned long virt_id;
};

/* Only of a device that ioasid_mock_device() says it is */
static inline struct mock_device *to_mock_device(struct device *dev)
{
	return container_of(dev, struct mock_device, dev);
}

/**
 * struct mock_table - Page table of the kernel's
 * @domain: The IOMMU core's view of it
 * @iommu: The generic page table code's view of it
 * @amdv1: The table, in AMD's format but with pages of MOCK_PAGE_SIZE
 * @track_dirty: What is written shall be noted
 */
struct mock_table {
	union {
		struct iommu_domain domain;
		struct pt_iommu iommu;
		struct pt_iommu_amdv1 amdv1;
	};
	bool track_dirty;
};

PT_IOMMU_CHECK_DOMAIN(struct mock_table, iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct mock_table, amdv1.iommu, domain);

/**
 * struct mock_nested - Page table of the user's, which is never walked
 * @domain: The IOMMU core's view of it
 * @viommu: What it was made by, or NULL
 * @iotlb: What stands for a cache of its translations
 */
struct mock_nested {
	struct iommu_domain domain;
	struct mock_viommu *viommu;
	u32 iotlb[MOCK_NESTED_DOMAIN_IOTLB_NUM];
};

/* mock_iommu.c */
struct mock_device *mock_device_create(u32 flags);
void mock_device_destroy(struct mock_device *mdev);
struct mock_table *to_mock_table(struct iommu_domain *domain);
struct mock_nested *to_mock_nested(struct iommu_domain *domain);
struct iommu_domain *
mock_nested_alloc(struct mock_viommu *viommu, u32 flags,
		  const struct iommu_user_data *user_data);
int mock_iommu_init(void);
void mock_iommu_exit(void);

/* mock_viommu.c */
size_t mock_viommu_size(struct device *dev, enum iommu_viommu_type type);
int mock_viommu_init(struct iommufd_viommu *core, struct iommu_domain *parent,
		     const struct iommu_user_data *user_data);
int mock_viommu_virt_id(struct mock_viommu *viommu, struct device *dev,
			unsigned long *virt_id);
int mock_viommu_report(struct mock_viommu *viommu, unsigned long virt_id);

/*
 * Operations. @cmd is @ucmd's copy of the user's structure. Return: 0, or what
 * the ioctl is to return, or a negative errno.
 */
typedef int mock_op_fn(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd);

/* mock_check.c */
mock_op_fn mock_add_reserved;
mock_op_fn mock_check_map;
mock_op_fn mock_check_refs;
mock_op_fn mock_check_iotlb;
mock_op_fn mock_check_device_cache;
mock_op_fn mock_set_dirty;
mock_op_fn mock_set_memory_limit;

/* mock_access.c */
mock_op_fn mock_access_create;
mock_op_fn mock_access_replace;
mock_op_fn mock_access_pin;
mock_op_fn mock_access_unpin;
mock_op_fn mock_access_rw;

/* mock_dmabuf.c */
mock_op_fn mock_dmabuf_get;
mock_op_fn mock_dmabuf_revoke;

#endif
