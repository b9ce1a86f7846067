// SPDX-License-Identifier: GPL-2.0-only
/*
 * POWER: devices behind DMA windows with TCE tables, on bare metal (powernv) and
 * below a hypervisor (pseries).
 *
 * The kernel's IOMMU API has no page tables for these machines. The platform
 * describes what a partitionable endpoint has by a struct iommu_table_group: up to
 * two windows, each a table of its own with its own size of pages. What is attached
 * is a struct tce_domain, which has those windows and looks to the core like any
 * other page table. On powernv several endpoints can use its tables; a hypervisor
 * gives each endpoint its own, so there is a page table for each, and the core
 * enters every mapping in all of them.
 *
 * What is special here:
 *
 * Who claims the DMA of a group makes the platform close its own windows (the core
 * attaches the blocking domain, whose driver does that), and gives them back when
 * the claim ends. The group keeps the blocking domain all the time: what is attached
 * to it is known only here, and iommu_attach_*() must not be called. When a device
 * is reset, the IOMMU core takes its DMA for blocked already, so the windows stay
 * open.
 *
 * The platform does not know whose windows these are. When a device is added to an
 * endpoint that is claimed, it closes them as if they were its own. So every table
 * is held by a reference, and looked for in the endpoint before it is used; one that
 * is not there is lost until the next attachment, and the user is told. That is looked
 * for without the lock of who adds devices, which is not to be had.
 *
 * Below a hypervisor a window is there, for the device too, as soon as its table is
 * made, and its table is empty when it is closed: so a page table that no endpoint
 * has any more cannot come back. A window that the hypervisor refuses to make may
 * never be made again, not even the default one: so whatever can be checked is
 * checked before.
 *
 * The claim can only be given back when both windows are closed.
 *
 * Memory of devices is not mapped: the tables hold memory that has a struct page. It
 * is pinned and charged by the core: the platform's own list of registered memory
 * (mm_iommu_*()) has one owner for each process, and is for its container.
 * KVM's handling of TCE hypercalls inside of the kernel is not offered.
 */
#include <linux/iommu.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <asm/eeh.h>
#include <asm/firmware.h>
#include <asm/iommu.h>

#include "../ioasid_private.h"

#define NUM_SLOTS IOMMU_TABLE_GROUP_MAX_TABLES

/* Where the second window is on bare metal: an address bit selects it. */
#define BARE_METAL_BASE BIT(59)

/* Largest level of a table that is asked for without need, in bytes */
#define EASY_LEVEL_SIZE SZ_4M

/**
 * struct tce_slot - A window of a page table
 * @tbl: Its table, a reference; NULL if there is none
 * @charge: Who is charged for it
 * @first: First address
 * @last: Last address
 * @lost: The platform has closed it for some endpoint
 */
struct tce_slot {
	struct iommu_table *tbl;
	struct mem_charge *charge;
	unsigned long first;
	unsigned long last;
	bool lost;
};

/**
 * struct tce_group - An endpoint that a page table is attached to
 * @entry: In tce_domain.groups
 * @tg: The platform's view of it
 */
struct tce_group {
	struct list_head entry;
	struct iommu_table_group *tg;
};

/**
 * struct tce_domain - A page table
 * @domain: What the core sees
 * @lock: Protects what follows, and pt->ended. The lock of the address space is not
 *        enough: who replaces the table holds that of the other address space.
 * @pt: The core's record of it, once it is attached
 * @groups: struct tce_group
 * @slot: Its windows
 */
struct tce_domain {
	struct iommu_domain domain;
	struct mutex lock; /* see above */
	struct iommufd_hw_pagetable *pt;
	struct list_head groups;
	struct tce_slot slot[NUM_SLOTS];
};

static struct tce_domain *to_tce(struct iommu_domain *domain)
{
	return container_of(domain, struct tce_domain, domain);
}

static struct iommu_table_group *
table_group_of(const struct iommufd_device *idev)
{
	return iommu_group_get_iommudata(idev->group->group);
}

/* It decides what the windows are like. */
static struct iommu_table_group *first_endpoint(const struct tce_domain *tce)
{
	return list_first_entry(&tce->groups, struct tce_group, entry)->tg;
}

static bool below_hypervisor(void)
{
	return firmware_has_feature(FW_FEATURE_LPAR);
}

/* ---- entries ---- */

static unsigned long slot_page(const struct tce_slot *slot)
{
	return 1UL << slot->tbl->it_page_shift;
}

/* On bare metal, whoever takes the default window away closes the other one, too. */
static bool is_lost(const struct tce_domain *tce, unsigned int num)
{
	const struct tce_group *group;

	list_for_each_entry(group, &tce->groups, entry)
		if (group->tg->tables[num] != tce->slot[num].tbl)
			return true;
	return num && tce->slot[0].tbl && !below_hypervisor() && is_lost(tce, 0);
}

/*
 * Whether a window can be changed. Below a hypervisor there is nothing left of one
 * that was closed; on bare metal the table is our own, and other endpoints may use it.
 */
static bool slot_is_there(struct tce_domain *tce, unsigned int num)
{
	struct tce_slot *slot = &tce->slot[num];
	bool lost = is_lost(tce, num);

	if (lost && !slot->lost)
		ioasid_window_lost_event(tce->pt->ioas, slot->first,
					 slot->last);
	slot->lost = lost;
	return !lost || !below_hypervisor();
}

static int find_slot(const struct tce_domain *tce, unsigned long first,
		     unsigned long last)
{
	unsigned int i;

	for (i = 0; i < NUM_SLOTS; i++)
		if (tce->slot[i].tbl && tce->slot[i].first <= first &&
		    tce->slot[i].last >= last)
			return i;
	return -EINVAL;
}

/* At most so many entries are handled without a pause: whole levels, for ->clear(). */
#define AT_ONCE 0x10000UL

/* Makes the platform forget entries; a call for many of them takes its time. */
static void kill_entries(struct iommu_table *tbl, unsigned long entry,
			 unsigned long num)
{
	unsigned long part;

	for (; num; num -= part, entry += part) {
		part = min(num, AT_ONCE);
		iommu_tce_kill(tbl, entry, part);
		cond_resched();
	}
	iommu_flush_tce(tbl);
}

/* Takes entries out: some of a table with one level, or whole levels of another. */
static void clear_levels(struct iommu_table *tbl, unsigned long entry,
			 unsigned long num)
{
	unsigned long part;

	for (; num; num -= part, entry += part) {
		part = min(num, AT_ONCE);
		tbl->it_ops->clear(tbl, entry, part);
		cond_resched();
	}
	iommu_flush_tce(tbl);
}

/*
 * Takes entries out. Not ->clear() where tables have levels: in 7.2 it skips the
 * wrong entries behind a level that is missing, if it does not start at one.
 */
static void clear_entries(struct iommu_table *tbl, unsigned long entry,
			  unsigned long num)
{
	enum dma_data_direction direction;
	unsigned long phys, i;

	if (!tbl->it_indirect_levels) {
		clear_levels(tbl, entry, num);
		return;
	}
	for (i = 0; i < num; i++) {
		phys = 0;
		direction = DMA_NONE;
		tbl->it_ops->xchg_no_kill(tbl, entry + i, &phys, &direction);
		cond_resched();
	}
	kill_entries(tbl, entry, num);
}

static enum dma_data_direction direction_of(int prot)
{
	if (!(prot & IOMMU_WRITE))
		return DMA_TO_DEVICE;
	return prot & IOMMU_READ ? DMA_BIDIRECTIONAL : DMA_FROM_DEVICE;
}

/*
 * Each entry is exchanged as a whole, for whoever replaces a mapping. Who has the
 * memory that was there before is the core's business.
 */
static int enter_entries(struct iommu_table *tbl, unsigned long entry,
			 unsigned long num, unsigned long phys, int prot,
			 gfp_t gfp)
{
	bool may_fail = !(gfp & __GFP_NOFAIL), killed = false;
	enum dma_data_direction direction;
	unsigned long old, i;
	int rc = 0;

	for (i = 0; i < num && !rc; i++) {
		killed = may_fail && i && !(i % AT_ONCE) && ioasid_killed();
		if (killed)
			break;
		old = phys + (i << tbl->it_page_shift);
		direction = direction_of(prot);
		/* A number of the hypervisor, or -ENOMEM */
		rc = may_fail && i == num / 2 && ioasid_should_fail() ? -ENOMEM :
		     tbl->it_ops->xchg_no_kill(tbl, entry + i, &old,
					       &direction);
		cond_resched();
	}
	kill_entries(tbl, entry, i);
	if (!rc && !killed)
		return 0;
	clear_entries(tbl, entry, i);
	if (killed)
		return -EINTR;
	return rc == -ENOMEM ? -ENOMEM : -EIO;
}

/* What speaks against a range in a table that will get its windows */
static int check_range(const struct ioasid *ioas, unsigned long iova,
		       phys_addr_t phys, unsigned long size)
{
	const struct ioasid_window *window;

	list_for_each_entry(window, &ioas->windows, entry)
		if (window->first <= iova && window->last >= iova + size - 1)
			return IS_ALIGNED(iova | phys | size,
					  window->page_size) ? 0 : -EINVAL;
	return -EINVAL;
}

/* The range is looked at as a whole before anything of it is entered. */
static int tce_map(struct iommufd_hw_pagetable *pt, unsigned long iova,
		   phys_addr_t phys, unsigned long size, unsigned int prot,
		   gfp_t gfp)
{
	struct tce_domain *tce = to_tce(pt->domain);
	struct iommu_table *tbl;
	int num;

	guard(mutex)(&tce->lock);
	/* There is nothing left to be entered anywhere. */
	if (pt->ended)
		return 0;
	if (list_empty(&tce->groups))
		return check_range(pt->ioas, iova, phys, size);
	num = find_slot(tce, iova, iova + size - 1);
	if (num < 0)
		return num;
	tbl = tce->slot[num].tbl;
	/* Some platforms take a misaligned address for a bug of the kernel. */
	if (!IS_ALIGNED(iova | phys | size, slot_page(&tce->slot[num])))
		return -EINVAL;
	if (!slot_is_there(tce, num))
		return 0;
	return enter_entries(tbl, iova >> tbl->it_page_shift,
			     size >> tbl->it_page_shift, phys, prot, gfp);
}

/*
 * Mappings that follow each other may lie in several windows. When the last endpoint
 * has gone, so have those.
 */
static void tce_unmap(struct iommufd_hw_pagetable *pt, unsigned long iova,
		      unsigned long size)
{
	struct tce_domain *tce = to_tce(pt->domain);
	unsigned long first, last, cleared = 0;
	struct tce_slot *slot;
	unsigned int i, shift;

	guard(mutex)(&tce->lock);
	for (i = 0; i < NUM_SLOTS; i++) {
		slot = &tce->slot[i];
		if (!slot->tbl)
			continue;
		first = max(iova, slot->first);
		last = min(iova + size - 1, slot->last);
		if (first > last)
			continue;
		cleared += last - first + 1;
		/* Whole pages, in any case: nothing may be left of it. */
		WARN_ON_ONCE(!IS_ALIGNED(first | (last + 1), slot_page(slot)));
		shift = slot->tbl->it_page_shift;
		if (slot_is_there(tce, i))
			clear_entries(slot->tbl, first >> shift,
				      (last >> shift) - (first >> shift) + 1);
	}
	WARN_ON_ONCE(!pt->ended && !list_empty(&tce->groups) &&
		     cleared != size);
}

static void tce_domain_free(struct iommu_domain *domain)
{
	struct tce_domain *tce = to_tce(domain);

	WARN_ON(!list_empty(&tce->groups));
	mutex_destroy(&tce->lock);
	kfree(tce);
}

/* Nobody calls iommu_map() with it: pages are counted there, which replacing upsets. */
static const struct iommu_domain_ops tce_domain_ops = {
	.free = tce_domain_free,
};

static u64 page_sizes(const struct iommu_table_group *tg)
{
	return tg->pgsizes | SZ_4K;
}

static struct iommu_domain *tce_alloc_domain(struct iommufd_device *idev,
					     bool pasid, bool dirty)
{
	struct tce_domain *tce;

	if (dirty)
		return ERR_PTR(-EOPNOTSUPP);
	tce = kzalloc_obj(*tce, GFP_KERNEL_ACCOUNT);
	if (!tce)
		return ERR_PTR(-ENOMEM);
	mutex_init(&tce->lock);
	INIT_LIST_HEAD(&tce->groups);
	tce->domain.type = IOMMU_DOMAIN_UNMANAGED;
	tce->domain.ops = &tce_domain_ops;
	tce->domain.pgsize_bitmap = page_sizes(table_group_of(idev));
	return &tce->domain;
}

/* What the core may pass in one call; each window has its own limit. */
static void update_page_sizes(struct tce_domain *tce)
{
	unsigned int i, shift = ilog2(SZ_1G);

	for (i = 0; i < NUM_SLOTS; i++)
		if (tce->slot[i].tbl)
			shift = min_t(unsigned int, shift,
				      tce->slot[i].tbl->it_page_shift);
	if (!tce->slot[0].tbl && !tce->slot[1].tbl)
		shift = ilog2(SZ_4K);
	tce->domain.pgsize_bitmap = GENMASK(ilog2(SZ_1G), shift);
}

/* ---- windows of an endpoint ---- */

static unsigned int max_windows(const struct iommu_table_group *tg)
{
	/*
	 * A platform says so if there is nothing but the default window. Then it
	 * cannot be made anew when it was taken away, and must not be tried.
	 */
	if (tg->max_dynamic_windows_supported > NUM_SLOTS)
		return 0;
	return tg->max_dynamic_windows_supported;
}

static unsigned long default_size(const struct iommu_table_group *tg)
{
	return tg->tce32_size ? rounddown_pow_of_two(tg->tce32_size) : 0;
}

static unsigned long window_size(const struct ioasid_window *window)
{
	return window->last - window->first + 1;
}

static bool is_for_default(const struct iommu_table_group *tg,
			   const struct ioasid_window *window)
{
	return window_size(window) <= default_size(tg) &&
	       (!below_hypervisor() || window->page_size == SZ_4K);
}

static unsigned int levels_of(const struct iommu_table_group *tg,
			      const struct ioasid_window *window)
{
	unsigned int entries = ilog2(window_size(window) / window->page_size);
	unsigned int levels;

	if (window->levels)
		return window->levels;
	for (levels = 1; levels < tg->max_levels; levels++)
		if (sizeof(u64) << DIV_ROUND_UP(entries, levels) <=
		    EASY_LEVEL_SIZE)
			break;
	return levels;
}

/*
 * What speaks against a window, as far as it can be known. -EOPNOTSUPP: pages or
 * levels that there are not; -EINVAL: its size; -ENOSPC: no such window.
 */
static int check_window(const struct iommu_table_group *tg, unsigned int num,
			const struct ioasid_window *window)
{
	/* The default window always can have small ones. */
	if (!((num ? tg->pgsizes : page_sizes(tg)) & window->page_size))
		return -EOPNOTSUPP;
	if (window->levels > max(tg->max_levels, 1U))
		return -EOPNOTSUPP;
	if (!is_power_of_2(window_size(window)))
		return -EINVAL;
	if (!num && !is_for_default(tg, window))
		return -EINVAL;
	if (num && max_windows(tg) < NUM_SLOTS &&
	    tg->max_dynamic_windows_supported != 1)
		return -ENOSPC;
	return 0;
}

/*
 * Charges for the table of a window. Who holds that lock of the process may have to
 * wait for a user, so it is not waited for without a way out.
 */
static struct mem_charge *charge_table(const struct iommu_table_group *tg,
				       const struct ioasid_window *window)
{
	struct mem_charge *charge;
	unsigned long bytes, pages;
	int rc;

	bytes = tg->ops->get_table_size(ilog2(window->page_size),
					window_size(window),
					levels_of(tg, window));
	if (!bytes)
		return ERR_PTR(-EINVAL);
	pages = DIV_ROUND_UP(bytes, PAGE_SIZE);
	charge = kzalloc_obj(*charge, GFP_KERNEL_ACCOUNT);
	if (!charge)
		return ERR_PTR(-ENOMEM);
	rc = mmap_write_lock_killable(current->mm);
	if (!rc) {
		rc = __account_locked_vm(current->mm, pages, true, current,
					 capable(CAP_IPC_LOCK));
		mmap_write_unlock(current->mm);
	}
	if (rc) {
		kfree(charge);
		return ERR_PTR(rc);
	}
	charge->mm = current->mm;
	charge->pages = pages;
	mmgrab(charge->mm);
	return charge;
}

static void count_charge(struct tce_domain *tce, const struct mem_charge *charge,
			 bool added)
{
	unsigned long pages = added ? charge->pages : -charge->pages;

	WRITE_ONCE(tce->pt->charged, tce->pt->charged + pages);
}

/*
 * On bare metal, a platform that takes a default window for its own drops a reference
 * that who has made the table should have.
 */
static bool platform_drops_more(unsigned int num)
{
	return !num && !below_hypervisor();
}

/* Opens the window for an endpoint. */
static int set_window(struct iommu_table_group *tg, unsigned int num,
		      struct iommu_table *tbl)
{
	if (ioasid_should_fail() || tg->ops->set_window(tg, num, tbl))
		return -EIO;
	/* Not all that can fail in there is reported. */
	if (tg->tables[num] != tbl) {
		tg->ops->unset_window(tg, num);
		return -EIO;
	}
	if (platform_drops_more(num))
		iommu_tce_table_get(tbl);
	return 0;
}

/* Closes the window of an endpoint, if the platform has not done so. */
static int unset_window(struct iommu_table_group *tg, unsigned int num,
			const struct tce_slot *slot)
{
	int rc;

	if (tg->tables[num] != slot->tbl)
		return 0;
	rc = tg->ops->unset_window(tg, num) ? -EIO : 0;
	if (!rc && platform_drops_more(num))
		iommu_tce_table_put(slot->tbl);
	return rc;
}

static void clear_slot(const struct tce_slot *slot)
{
	struct iommu_table *tbl = slot->tbl;

	clear_levels(tbl, slot->first >> tbl->it_page_shift,
		     (slot->last - slot->first + 1) >> tbl->it_page_shift);
}

static void close_slot(struct tce_domain *tce, unsigned int num)
{
	struct tce_slot *slot = &tce->slot[num];
	struct tce_group *group;
	int rc = 0;

	/*
	 * A hypervisor closes only what is empty. On bare metal that would take as long
	 * as the window is large, and closing it makes hardware forget all of it.
	 */
	if (below_hypervisor() && !is_lost(tce, num))
		clear_slot(slot);
	list_for_each_entry(group, &tce->groups, entry)
		rc |= unset_window(group->tg, num, slot);
	if (!rc) {
		iommu_tce_table_put(slot->tbl);
	} else {
		/* What hardware still knows must not be freed, nor lead anywhere. */
		pr_err("cannot close a DMA window, its table is lost\n");
		if (!below_hypervisor()) {
			clear_slot(slot);
			/* For what is cached of it */
			list_for_each_entry(group, &tce->groups, entry)
				group->tg->ops->unset_window(group->tg, num);
		}
	}
	count_charge(tce, slot->charge, false);
	mem_uncharge_later(slot->charge);
	*slot = (struct tce_slot){};
}

static int platform_errno(long rc)
{
	return rc == -ENOMEM || rc == -EINVAL ? rc : -EIO;
}

/* Makes the table of a window, which a hypervisor opens then. Takes over *@charge. */
static int create_table(struct tce_domain *tce, struct iommu_table_group *tg,
			unsigned int num, const struct ioasid_window *window,
			struct mem_charge **charge)
{
	unsigned int levels = levels_of(tg, window);
	unsigned int shift = ilog2(window->page_size);
	unsigned long size = window_size(window);
	struct tce_slot *slot = &tce->slot[num];
	struct iommu_table *tbl;
	long rc;

	rc = ioasid_should_fail() ? -ENOMEM :
	     tg->ops->create_table(tg, num, shift, size, levels, &tbl);
	if (rc)
		return platform_errno(rc);
	count_charge(tce, *charge, true);
	slot->tbl = tbl;
	slot->charge = *charge;
	*charge = NULL;
	slot->first = tbl->it_offset << tbl->it_page_shift;
	slot->last = slot->first + size - 1;
	slot->lost = false;
	return 0;
}

/* Opens a window in all endpoints, where the first one has it. Takes over *@charge. */
static int open_slot(struct tce_domain *tce, unsigned int num,
		     struct ioasid_window *window, bool fixed,
		     struct mem_charge **charge)
{
	struct tce_slot *slot = &tce->slot[num];
	struct tce_group *group;
	int rc;

	rc = create_table(tce, first_endpoint(tce), num, window, charge);
	if (rc)
		return rc;
	rc = -EADDRINUSE;
	if (fixed && slot->first != window->first)
		goto err_close;
	list_for_each_entry(group, &tce->groups, entry) {
		rc = set_window(group->tg, num, slot->tbl);
		if (rc)
			goto err_close;
	}
	window->first = slot->first;
	window->last = slot->last;
	update_page_sizes(tce);
	return 0;

err_close:
	close_slot(tce, num);
	return rc;
}

/* ---- attachment ---- */

static bool tce_owns(struct iommufd_device *idev)
{
	const struct iommu_table_group *tg;

	if (!dev_is_pci(idev->dev))
		return false;
	tg = table_group_of(idev);
	return tg && tg->ops && tg->ops->create_table && tg->ops->set_window &&
	       tg->ops->unset_window && tg->ops->get_table_size;
}

/* The endpoints are kept from each other's interrupts by the host bridge. */
static bool tce_isolated_msi(struct iommufd_device *idev)
{
	return true;
}

/*
 * On bare metal an endpoint reaches all memory by its second window while the kernel
 * has it. The platform closes that when the endpoint is claimed, but not if it could
 * not make the default window when the last claim ended. What is attached has windows
 * of ours.
 */
static int tce_claimed(struct iommufd_device *idev)
{
	struct iommu_table_group *tg = table_group_of(idev);
	unsigned int i;

	if (below_hypervisor() || !xa_empty(&idev->group->slots))
		return 0;
	for (i = 0; i < NUM_SLOTS; i++)
		if (!tg->tables[i] && tg->ops->unset_window(tg, i))
			return -EIO;
	return 0;
}

static unsigned int slot_of(const struct iommu_table_group *tg,
			    const struct ioasid_window *window)
{
	return window->first == tg->tce32_start ? 0 : 1;
}

/* Whether an endpoint can have all windows that the address space has */
static int check_windows(const struct iommu_table_group *tg,
			 const struct ioasid *ioas)
{
	const struct ioasid_window *window;
	unsigned int num, used = 0;

	if (ioas->num_windows > max_windows(tg))
		return -EADDRINUSE;
	list_for_each_entry(window, &ioas->windows, entry) {
		num = slot_of(tg, window);
		if (used & BIT(num) || check_window(tg, num, window) ||
		    (num && !below_hypervisor() &&
		     window->first != BARE_METAL_BASE))
			return -EADDRINUSE;
		used |= BIT(num);
	}
	return 0;
}

static int tce_prepare(struct iommufd_hw_pagetable *pt,
		       struct iommufd_device *idev)
{
	struct iommu_table_group *tg = table_group_of(idev);
	unsigned long size = default_size(tg);

	if (!max_windows(tg) || !size)
		return -EOPNOTSUPP;
	/* Also if the user has closed those that there were. */
	if (pt->ioas->num_windows || ioasid_needs_windows(pt->ioas))
		return check_windows(tg, pt->ioas);
	return ioasid_default_window(pt->ioas, tg->tce32_start,
				     tg->tce32_start + size - 1, SZ_4K);
}

static void close_slots(struct tce_domain *tce)
{
	unsigned int i = NUM_SLOTS;

	/* The default window last: what makes it anew closes the other one. */
	while (i--)
		if (tce->slot[i].tbl)
			close_slot(tce, i);
}

/* What is needed before a page table gets its first endpoint */
struct tce_charges {
	struct mem_charge *of[NUM_SLOTS];
};

static void drop_charges(struct tce_charges *charges)
{
	unsigned int i;

	for (i = 0; i < NUM_SLOTS; i++)
		if (charges->of[i])
			mem_uncharge_later(charges->of[i]);
}

/* Before anything is taken away, and without the lock of a page table. */
static int charge_windows(struct iommufd_hw_pagetable *pt,
			  const struct iommu_table_group *tg,
			  struct tce_charges *charges)
{
	struct tce_domain *tce = to_tce(pt->domain);
	const struct ioasid *ioas = pt->ioas;
	const struct ioasid_window *window;
	struct mem_charge **charge;

	/* One that has ended opens none, and the lock of its address space may be free. */
	scoped_guard(mutex, &tce->lock)
		if (!list_empty(&tce->groups) || pt->ended)
			return 0;
	lockdep_assert_held(&ioas->lock);
	list_for_each_entry(window, &ioas->windows, entry) {
		charge = &charges->of[slot_of(tg, window)];
		if (*charge)
			return -EADDRINUSE;
		*charge = charge_table(tg, window);
		if (IS_ERR(*charge)) {
			int rc = PTR_ERR(*charge);

			*charge = NULL;
			return rc;
		}
	}
	return 0;
}

/* The default window first, because it cannot follow the other one. */
static int open_slots(struct tce_domain *tce, struct iommu_table_group *tg,
		      struct ioasid *ioas, struct tce_charges *charges)
{
	struct ioasid_window *window, copy;
	unsigned int num;
	int rc;

	lockdep_assert_held(&ioas->lock);

	for (num = 0; num < NUM_SLOTS; num++)
		list_for_each_entry(window, &ioas->windows, entry) {
			if (slot_of(tg, window) != num)
				continue;
			copy = *window;
			rc = open_slot(tce, num, &copy, true,
				       &charges->of[num]);
			if (rc) {
				close_slots(tce);
				return rc;
			}
		}
	return 0;
}

/* On bare metal, endpoints of a kind can share tables. */
static bool tce_suits(const struct iommufd_hw_pagetable *pt,
		      const struct iommufd_device *idev)
{
	const struct iommu_table_group *tg = table_group_of(idev);
	struct tce_domain *tce = to_tce(pt->domain);
	const struct iommu_table_group *first;

	guard(mutex)(&tce->lock);
	if (list_empty(&tce->groups))
		return !pt->ended;
	first = first_endpoint(tce);
	return !below_hypervisor() && first->ops == tg->ops &&
	       first->tce32_start == tg->tce32_start &&
	       first->tce32_size == tg->tce32_size &&
	       page_sizes(first) == page_sizes(tg);
}

static int set_windows(struct tce_domain *tce, struct iommu_table_group *tg)
{
	unsigned int i;

	for (i = 0; i < NUM_SLOTS; i++) {
		if (!tce->slot[i].tbl)
			continue;
		if (set_window(tg, i, tce->slot[i].tbl)) {
			while (i--)
				if (tce->slot[i].tbl)
					unset_window(tg, i, &tce->slot[i]);
			return -EIO;
		}
	}
	return 0;
}

/*
 * @group is taken over if this succeeds. It needs no memory but the tables' if it is
 * the first endpoint, and none if it is not.
 */
static int attach_locked(struct iommufd_hw_pagetable *pt,
			 struct tce_group *group, struct tce_charges *charges)
{
	struct tce_domain *tce = to_tce(pt->domain);
	int rc;

	lockdep_assert_held(&tce->lock);

	if (!list_empty(&tce->groups)) {
		rc = set_windows(tce, group->tg);
		if (!rc)
			list_add_tail(&group->entry, &tce->groups);
		return rc;
	}
	tce->pt = pt;
	list_add_tail(&group->entry, &tce->groups);
	rc = open_slots(tce, group->tg, pt->ioas, charges);
	if (rc) {
		list_del(&group->entry);
		return rc;
	}
	/* It is the windows that say where it ends. */
	tce->domain.geometry.aperture_end = U64_MAX;
	return 0;
}

static struct tce_group *group_new(struct iommufd_device *idev)
{
	struct tce_group *group = kzalloc_obj(*group, GFP_KERNEL_ACCOUNT);

	if (group)
		group->tg = table_group_of(idev);
	return group;
}

static int tce_attach(struct iommufd_hw_pagetable *pt,
		      struct iommufd_device *idev,
		      struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	struct tce_domain *tce = to_tce(pt->domain);
	struct tce_group *group = group_new(idev);
	struct tce_charges charges = {};
	int rc;

	if (!group)
		return -ENOMEM;
	rc = charge_windows(pt, group->tg, &charges);
	if (!rc) {
		guard(mutex)(&tce->lock);
		/* What it had may be lost: it suits nobody. */
		rc = pt->ended ? -EINVAL : attach_locked(pt, group, &charges);
	}
	drop_charges(&charges);
	if (rc)
		kfree(group);
	return rc;
}

static struct tce_group *find_group(struct tce_domain *tce,
				    const struct iommu_table_group *tg)
{
	struct tce_group *group;

	list_for_each_entry(group, &tce->groups, entry)
		if (group->tg == tg)
			return group;
	return NULL;
}

static void detach_locked(struct iommufd_hw_pagetable *pt,
			  struct iommu_table_group *tg)
{
	struct tce_domain *tce = to_tce(pt->domain);
	struct tce_group *group = find_group(tce, tg);
	unsigned int i;

	lockdep_assert_held(&tce->lock);

	/* It was lost when it should have been replaced. */
	if (!group)
		return;
	if (list_is_singular(&tce->groups)) {
		close_slots(tce);
		WRITE_ONCE(pt->ended, true);
	} else {
		/* What hardware still knows must not be freed with the others. */
		for (i = 0; i < NUM_SLOTS; i++)
			if (tce->slot[i].tbl &&
			    unset_window(tg, i, &tce->slot[i]))
				iommu_tce_table_get(tce->slot[i].tbl);
	}
	list_del(&group->entry);
	kfree(group);
	/* Else the platform will not take the endpoint back. */
	for (i = 0; i < NUM_SLOTS; i++)
		WARN_ON(tg->tables[i]);
}

static void tce_detach(struct iommufd_hw_pagetable *pt,
		       struct iommufd_device *idev, ioasid_t pasid)
{
	struct tce_domain *tce = to_tce(pt->domain);

	guard(mutex)(&tce->lock);
	detach_locked(pt, table_group_of(idev));
}

/*
 * There is a gap: an endpoint cannot have two tables for a window. An old table that
 * others use as well is there for it again if the new one fails.
 */
static int replace_locked(struct iommufd_hw_pagetable *pt,
			  struct iommufd_hw_pagetable *old,
			  struct iommufd_device *idev, struct tce_group *group,
			  struct tce_charges *charges)
{
	int rc;

	/* Nothing has been done yet, so that it can be tried again. */
	if (pt->ended) {
		kfree(group);
		return -EBUSY;
	}
	detach_locked(old, group->tg);
	rc = attach_locked(pt, group, charges);
	if (!rc)
		return 0;
	if (!old->ended) {
		if (!attach_locked(old, group, NULL))
			return rc;
		dev_err(idev->dev,
			"cannot go back to the old DMA windows: DMA stays blocked\n");
	}
	kfree(group);
	return rc;
}

/*
 * Maps may be under way in both tables, and either may be about to lose its last
 * endpoint. What can fail without the platform does so before.
 */
static int tce_replace(struct iommufd_hw_pagetable *pt,
		       struct iommufd_hw_pagetable *old,
		       struct iommufd_device *idev,
		       struct ioasid_attach_handle *handle, ioasid_t pasid)
{
	struct tce_domain *one = to_tce(pt->domain);
	struct tce_domain *two = to_tce(old->domain);
	struct tce_charges charges = {};
	struct tce_group *group;
	int rc;

	if (WARN_ON_ONCE(pt == old))
		return -EBUSY;
	group = group_new(idev);
	if (!group)
		return -ENOMEM;
	rc = charge_windows(pt, group->tg, &charges);
	if (rc) {
		kfree(group);
		drop_charges(&charges);
		return rc;
	}
	if (one > two)
		swap(one, two);
	mutex_lock(&one->lock);
	mutex_lock_nested(&two->lock, SINGLE_DEPTH_NESTING);
	rc = replace_locked(pt, old, idev, group, &charges);
	mutex_unlock(&two->lock);
	mutex_unlock(&one->lock);
	drop_charges(&charges);
	return rc;
}

static int tce_ranges(struct iommufd_device *idev,
		      const struct iommu_domain *domain,
		      struct iova_ranges **ranges)
{
	const struct iommu_table_group *tg = table_group_of(idev);

	*ranges = iova_ranges_alloc(1);
	if (!*ranges)
		return -ENOMEM;
	if (default_size(tg))
		iova_ranges_set(*ranges, tg->tce32_start,
				tg->tce32_start + default_size(tg) - 1);
	return 0;
}

/* ---- windows that the user asks for ---- */

static void tce_windows(struct iommufd_device *idev,
			struct ioasid_window_limits *limits)
{
	const struct iommu_table_group *tg = table_group_of(idev);

	limits->num = max_windows(tg);
	limits->levels = max(tg->max_levels, 1U);
	limits->page_sizes = page_sizes(tg);
}

static int choose_slot(const struct tce_domain *tce,
		       const struct iommu_table_group *tg,
		       const struct ioasid_window *window, bool fixed)
{
	if (fixed)
		return slot_of(tg, window);
	return !tce->slot[0].tbl && is_for_default(tg, window) &&
	       !(below_hypervisor() && tce->slot[1].tbl) ? 0 : 1;
}

static int tce_window_create(struct iommufd_hw_pagetable *pt,
			     struct ioasid_window *window, bool fixed)
{
	struct tce_domain *tce = to_tce(pt->domain);
	struct iommu_table_group *tg;
	struct mem_charge *charge;
	int num, rc;

	guard(mutex)(&tce->lock);
	/* It has ended, and nobody will miss the window. */
	if (list_empty(&tce->groups))
		return 1;
	tg = first_endpoint(tce);
	num = choose_slot(tce, tg, window, fixed);
	rc = check_window(tg, num, window);
	if (rc)
		return rc;
	if (tce->slot[num].tbl ||
	    (tce->slot[!num].tbl && max_windows(tg) < NUM_SLOTS))
		return -ENOSPC;
	/* To make the default window anew would close the other one. */
	if (!num && below_hypervisor() && tce->slot[1].tbl)
		return -EBUSY;
	charge = charge_table(tg, window);
	if (IS_ERR(charge))
		return PTR_ERR(charge);
	rc = open_slot(tce, num, window, fixed, &charge);
	if (charge)
		mem_uncharge_later(charge);
	return rc;
}

static void tce_window_remove(struct iommufd_hw_pagetable *pt,
			      const struct ioasid_window *window)
{
	struct tce_domain *tce = to_tce(pt->domain);
	int num;

	guard(mutex)(&tce->lock);
	num = find_slot(tce, window->first, window->last);
	if (num < 0)
		return;
	close_slot(tce, num);
	update_page_sizes(tce);
}

/* ---- errors ---- */

#ifdef CONFIG_EEH
/*
 * Who takes a device away holds its lock, and that of all PCI devices, and waits for
 * this. So nothing is asked of the platform that may wait for those.
 */

/* EEH_OPT_ENABLE does that, too, but resets some devices instead. */
static int enable_endpoint(struct eeh_pe *pe)
{
	int rc;

	switch (eeh_pe_get_state(pe)) {
	case EEH_PE_STATE_NORMAL:
		return 0;
	case EEH_PE_STATE_STOPPED_IO_DMA:
	case EEH_PE_STATE_STOPPED_DMA:
		rc = eeh_pe_set_option(pe, EEH_OPT_THAW_MMIO);
		return rc ? rc : eeh_pe_set_option(pe, EEH_OPT_THAW_DMA);
	default:
		return -EIO;
	}
}

static int set_eeh_option(struct eeh_pe *pe, u32 op)
{
	switch (op) {
	case IOMMU_EEH_DISABLE:
		return eeh_pe_set_option(pe, EEH_OPT_DISABLE);
	case IOMMU_EEH_ENABLE:
		return enable_endpoint(pe);
	case IOMMU_EEH_UNFREEZE_IO:
		return eeh_pe_set_option(pe, EEH_OPT_THAW_MMIO);
	case IOMMU_EEH_UNFREEZE_DMA:
		return eeh_pe_set_option(pe, EEH_OPT_THAW_DMA);
	default:
		return -EINVAL;
	}
}

/*
 * On bare metal, a hot reset is one of the bus, for all devices of which it takes the
 * lock, and so does a look for a bus that is not known any more.
 */
static int reset_endpoint(struct eeh_pe *pe, u32 op)
{
	int hot = below_hypervisor() ? EEH_RESET_HOT : EEH_RESET_FUNDAMENTAL;

	if (!below_hypervisor() && !(pe->type & (EEH_PE_PHB | EEH_PE_VF)) &&
	    !(pe->state & EEH_PE_PRI_BUS))
		return -EIO;
	switch (op) {
	case IOMMU_EEH_RESET_HOT:
		return eeh_pe_reset(pe, hot, true);
	case IOMMU_EEH_RESET_FUNDAMENTAL:
		return eeh_pe_reset(pe, EEH_RESET_FUNDAMENTAL, true);
	default:
		return eeh_pe_reset(pe, EEH_RESET_DEACTIVATE, true);
	}
}

static int do_eeh(struct eeh_pe *pe, struct iommu_device_eeh *cmd)
{
	int rc;

	switch (cmd->op) {
	case IOMMU_EEH_GET_STATE:
		rc = eeh_pe_get_state(pe);
		if (rc >= 0)
			cmd->state = rc;
		return min(rc, 0);
	case IOMMU_EEH_RESET_DEACTIVATE:
	case IOMMU_EEH_RESET_HOT:
	case IOMMU_EEH_RESET_FUNDAMENTAL:
		return reset_endpoint(pe, cmd->op);
	case IOMMU_EEH_CONFIGURE:
		return eeh_pe_configure(pe);
	case IOMMU_EEH_INJECT_ERR:
		if (below_hypervisor())
			return -EIO;
		return eeh_pe_inject_err(pe, cmd->err_type, cmd->err_func,
					 cmd->err_addr, cmd->err_mask);
	default:
		return set_eeh_option(pe, cmd->op);
	}
}

static int tce_eeh(struct iommufd_device *idev, struct iommu_device_eeh *cmd)
{
	struct eeh_pe *pe = eeh_iommu_group_to_pe(idev->group->group);
	int rc;

	if (!pe)
		return -ENODEV;
	rc = do_eeh(pe, cmd);
	/* A platform may answer with numbers of its own. */
	if (rc && rc != -EINVAL && rc != -ENODEV)
		rc = -EIO;
	return rc;
}
#endif

const struct ioasid_backend ioasid_backend_tce = {
	.name = "TCE",
	.overwrites = true,
	.restores = true,
	.owns = tce_owns,
	.isolated_msi = tce_isolated_msi,
	.claimed = tce_claimed,
	.suits = tce_suits,
	.alloc_domain = tce_alloc_domain,
	.map = tce_map,
	.unmap = tce_unmap,
	.prepare = tce_prepare,
	.attach = tce_attach,
	.detach = tce_detach,
	.replace = tce_replace,
	.ranges = tce_ranges,
	.windows = tce_windows,
	.window_create = tce_window_create,
	.window_remove = tce_window_remove,
#ifdef CONFIG_EEH
	.eeh = tce_eeh,
#endif
};
