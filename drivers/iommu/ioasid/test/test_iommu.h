/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A software IOMMU and the devices behind it: what their files share.
 *
 *   test_config.c  configfs: makes and removes IOMMUs and devices
 *   test_iommu.c   the IOMMU driver: domains, attachment, invalidation
 *   test_walk.c    the "hardware": walks page tables and caches what it finds
 *   test_device.c  the VFIO device and its DMA engine
 *   test_msi.c     the interrupts of the devices
 *   test_pci.c     PCI functions that are behind it in name only
 *   test_probe.c   built in: what the IOMMU core has for built-in code only
 *
 * Locks, in the order in which they are taken:
 *
 *   test_device.lock    attributes and state of a device in configfs
 *   test_iommu.lock     the same of an IOMMU
 *   (a PCI function's own lock, to put it behind an IOMMU)
 *   (the IOMMU core's locks; the driver's callbacks run under them)
 *   test_device.fault_sem  held for reading while a fault is being reported, and
 *                       for writing when the device is detached: no fault is
 *                       reported for what is not attached. When it is attached
 *                       to something else, the IOMMU core may still find who
 *                       listened to the faults of what was there before.
 *   test_dma_lock       held for reading by each access to memory, from the
 *                       look at what the device is attached to until the memory
 *                       was copied; held for writing to change an attachment or
 *                       to drop translations. So who held it for writing knows
 *                       that no access under way uses what was there before.
 *   xa_lock of a cache; test_domain.top_lock; test_device.msg_lock
 *
 * VFIO's locks are outside of all but the first two, which are never held when
 * VFIO is called, except that a device is plugged and unplugged under its lock.
 */
#ifndef IOASID_TEST_IOMMU_H
#define IOASID_TEST_IOMMU_H

#include <linux/configfs.h>
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/msi.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "test_device.h"

#define TEST_MAX_RESERVED	16

/* Where interrupts are written to. */
#define TEST_MSI_DIRECT		0xfee00000UL
#define TEST_MSI_MAPPED		0x08000000UL
#define TEST_MSI_SIZE		0x00100000UL

/**
 * enum test_msi - How interrupts get through the IOMMU
 * @TEST_MSI_MODE_DIRECT: By a window that is not translated
 * @TEST_MSI_MODE_MAPPED: By a page that the kernel maps
 * @TEST_MSI_MODE_UNSAFE: As DIRECT, and any device may raise any interrupt
 * @TEST_NUM_MSI_MODES: How many there are
 */
enum test_msi {
	TEST_MSI_MODE_DIRECT,
	TEST_MSI_MODE_MAPPED,
	TEST_MSI_MODE_UNSAFE,
	TEST_NUM_MSI_MODES,
};

/* Operations of the driver that can be made to fail */
enum test_op {
	TEST_OP_ALLOC,
	TEST_OP_NESTED,
	TEST_OP_ATTACH,
	TEST_OP_PASID,
	TEST_OP_MAP,
	TEST_OP_ENFORCE,
	TEST_OP_DIRTY,
	TEST_OP_INVALIDATE,
	TEST_OP_PROBE,
	TEST_NUM_OPS,
};

struct test_reserved {
	u64 first;
	u64 last;
	enum iommu_resv_type type;
};

/**
 * struct test_features - What an IOMMU is configured to be
 * @page_sizes: A bit for each
 * @width: Bits of the largest address
 * @first: First address of the aperture
 * @last: Last address of the aperture
 * @pasid_bits: Width of PASIDs, 0 for none
 * @snoop_control: DMA can be made to snoop the caches
 * @pri: Page requests
 * @dirty: Dirty tracking
 * @nesting: Page tables in user memory
 * @hitless: A device that gets another address space loses no DMA
 * @attach_first: The format of a page table is decided when it is attached
 * @shares_tables: Takes page tables that were made for another IOMMU
 * @msi: How interrupts get through
 */
struct test_features {
	u64 page_sizes;
	u32 width;
	u64 first;
	u64 last;
	u32 pasid_bits;
	bool snoop_control;
	bool pri;
	bool dirty;
	bool nesting;
	bool hitless;
	bool attach_first;
	bool shares_tables;
	enum test_msi msi;
};

/**
 * struct test_iommu - An IOMMU
 * @group: In configfs
 * @lock: Protects what follows, up to @pdev; the features do not change while
 *        it is enabled
 * @enabled: The IOMMU core knows it
 * @num_enabled: Devices that are plugged
 * @features: What it can do
 * @reserved: Addresses that are not translated
 * @num_reserved: How many
 * @pdev: The IOMMU's own device, whose fwnode its devices name
 * @fwnode: That fwnode
 * @iommu: For the IOMMU core
 * @iopf: Queue of page requests, if it has any
 * @members_lock: Protects @members
 * @members: struct test_device that the IOMMU core has probed
 * @fail_lock: Protects the next three
 * @fail_op: Operation that is to fail, TEST_NUM_OPS if none is
 * @fail_after: After so many that do not
 * @fail_error: With this error
 * @lose_flushes: So many flushes are yet to be forgotten: a broken IOMMU
 * @num_flushes: How often translations were dropped
 * @race: What test_race_write() and test_race_read() are about
 */
struct test_iommu {
	struct config_group group;
	struct mutex lock; /* what follows, up to pdev */
	bool enabled;
	unsigned int num_enabled;
	struct test_features features;
	struct test_reserved reserved[TEST_MAX_RESERVED];
	unsigned int num_reserved;
	struct platform_device *pdev;
	struct fwnode_handle *fwnode;
	struct iommu_device iommu;
	struct iopf_queue *iopf;
	spinlock_t members_lock; /* members */
	struct list_head members;
	spinlock_t fail_lock; /* what follows */
	enum test_op fail_op;
	unsigned int fail_after;
	int fail_error;
	atomic_t lose_flushes;
	atomic64_t num_flushes;
	unsigned long race;
};

enum test_kind {
	TEST_KIND_VFIO,
	TEST_KIND_KERNEL,
	TEST_KIND_NONE,
	TEST_KIND_PCI,
};

/**
 * struct test_address - Where a PCI function is
 * @valid: It was set
 * @domain: As in Linux
 * @bus: Number of the bus
 * @devfn: Number of device and function
 */
struct test_address {
	bool valid;
	u32 domain;
	u8 bus;
	u8 devfn;
};

#define TEST_GROUP_NAME	32

/**
 * struct test_device - A device behind an IOMMU
 * @group: In configfs
 * @lock: Protects what follows, up to @dev
 * @owner: The IOMMU
 * @kind: What driver it is for
 * @address: Of the PCI function, if that is the kind; under @requests_lock, too
 * @group_name: Devices with the same name share an IOMMU group, "" if alone
 * @id: Number in its name
 * @dev: The device when it is plugged, else NULL; a platform device or, of that
 *       kind, a PCI function
 * @entry: In test_iommu.members
 * @in_iopf: It is in its IOMMU's queue of page requests
 * @fault_sem: See above; written to change what faults are reported for
 * @domain: What plain DMA is attached to, NULL if blocked; under test_dma_lock
 * @pasids: What DMA with a PASID is attached to; under test_dma_lock
 * @requests_lock: Protects @requests and @next_request, and what can be read
 *                 while the device is being unplugged
 * @requests: struct test_request that wait for an answer
 * @next_request: Number of the next
 * @name: Of @dev, "" if there is none; under @requests_lock
 * @msg_lock: Protects @msg
 * @msg: Messages of its interrupts, by vector
 */
struct test_device {
	struct config_group group;
	struct mutex lock; /* what follows, up to dev */
	struct test_iommu *owner;
	enum test_kind kind;
	struct test_address address;
	char group_name[TEST_GROUP_NAME];
	int id;
	struct device *dev;
	struct list_head entry;
	bool in_iopf;
	struct rw_semaphore fault_sem;
	struct iommu_domain *domain;
	struct xarray pasids;
	spinlock_t requests_lock; /* requests, next_request */
	struct list_head requests;
	u32 next_request;
	char name[32];
	raw_spinlock_t msg_lock; /* msg */
	struct msi_msg msg[IOASID_TEST_NUM_MSI];
};

#ifdef CONFIG_PCI
struct test_device *test_pci_device(const struct device *dev);
int test_pci_claim(struct test_device *tdev);
void test_pci_release(struct test_device *tdev);
#else
static inline struct test_device *test_pci_device(const struct device *dev)
{
	return NULL;
}

static inline int test_pci_claim(struct test_device *tdev)
{
	return -EOPNOTSUPP;
}

static inline void test_pci_release(struct test_device *tdev)
{
}
#endif

static inline struct test_device *test_device_of(struct device *dev)
{
	if (dev_is_pci(dev))
		return test_pci_device(dev);
	return *(struct test_device **)dev_get_platdata(dev);
}

/* ---- walks and caches (test_walk.c) ---- */

extern rwlock_t test_dma_lock;

/**
 * struct test_tlb - Translations that were found
 * @entries: By IOVA in units of 4 KiB
 * @num: How many
 */
struct test_tlb {
	struct xarray entries;
	atomic_t num;
};

void test_tlb_init(struct test_tlb *tlb);
void test_tlb_drop(struct test_tlb *tlb, u64 first, u64 last);
void test_tlb_drop_all(struct test_tlb *tlb);

/**
 * struct test_domain - A page table that the kernel writes
 * @domain: For the IOMMU core
 * @amdv1: The page table
 * @generic_ops: Operations of the page table's format
 * @ops: The same, with failures on demand
 * @iommu: The IOMMU it was made for; a reference is held
 * @features: Those of the IOMMU
 * @flags: IOMMU_HWPT_ALLOC_*
 * @coherent: DMA is made to snoop
 * @attached: It has been attached
 * @track_dirty: Writes are noted in the page table
 * @top_lock: Protects the change of @top
 * @top: Address of the top table, and the number of levels in the low bits
 * @tlb: What was found in it
 * @nested: struct test_nested that it is the parent of; under test_dma_lock
 */
struct test_domain {
	union {
		struct iommu_domain domain;
		struct pt_iommu_amdv1 amdv1;
	};
	const struct pt_iommu_ops *generic_ops;
	struct pt_iommu_ops ops;
	struct test_iommu *iommu;
	struct test_features features;
	u32 flags;
	bool coherent;
	bool attached;
	bool track_dirty;
	spinlock_t top_lock; /* change of top */
	u64 top;
	struct test_tlb tlb;
	struct list_head nested;
};

#define TEST_TOP_LEVELS	0x7ULL

/**
 * struct test_nested - A page table in user memory
 * @domain: For the IOMMU core
 * @parent: Translates the addresses in it
 * @entry: In the parent's list
 * @table: Address of the top table
 * @levels: 3 to 5
 * @flags: IOMMU_HWPT_ALLOC_*
 * @tlb: What was found in it, translated by the parent, too
 */
struct test_nested {
	struct iommu_domain domain;
	struct test_domain *parent;
	struct list_head entry;
	u64 table;
	u32 levels;
	u32 flags;
	struct test_tlb tlb;
};

static inline struct test_domain *to_test_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct test_domain, domain);
}

static inline struct test_nested *to_test_nested(struct iommu_domain *domain)
{
	return container_of(domain, struct test_nested, domain);
}

bool test_is_nested(const struct iommu_domain *domain);

enum ioasid_test_fault test_translate(struct iommu_domain *domain, u64 iova,
				      bool write, phys_addr_t *phys, bool *hit);
void *test_memory(phys_addr_t phys);

/* ---- the IOMMU (test_iommu.c) ---- */

int test_iommu_register(struct test_iommu *iommu, const char *name);
void test_iommu_unregister(struct test_iommu *iommu);
int test_should_fail(struct test_iommu *iommu, enum test_op op);
struct iommu_domain *test_attached(struct test_device *tdev, u32 flags,
				   u32 pasid);
enum ioasid_test_fault test_page_request(struct test_device *tdev, u32 flags,
					 u32 pasid, u64 iova, bool write,
					 const atomic_t *stoppers);
void test_page_requests_end(struct test_device *tdev, const atomic_t *stoppers);

/* ---- devices (test_device.c), interrupts (test_msi.c) ---- */

int test_drivers_register(void);
void test_drivers_unregister(void);

int test_msi_init(void);
void test_msi_exit(void);
void test_msi_set_domain(struct test_device *tdev, struct device *dev);
bool test_msi_is_doorbell(phys_addr_t phys);
void test_msi_write(struct msi_desc *desc, struct msi_msg *msg);
void test_msi_clear(struct test_device *tdev);
bool test_msi_send(struct test_device *tdev, struct device *dev,
		   unsigned int vector);

/* ---- built in (test_probe.c) ---- */

int ioasid_test_device_add(struct platform_device *pdev,
			   struct fwnode_handle *iommu_fwnode);
int ioasid_test_device_probe(struct device *dev,
			     struct fwnode_handle *iommu_fwnode);
int ioasid_test_prepare_msi(struct msi_desc *desc, phys_addr_t doorbell);

#endif
