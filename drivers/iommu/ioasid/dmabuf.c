// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of devices, which other drivers export as dma-bufs.
 *
 * Nothing of it is pinned or charged: the exporter keeps it until it takes it
 * back, and then no device may reach it any more when the call returns that says
 * so. So every page table that holds such memory is written down with it. What was
 * taken back stays away: the mapping is a hole until it is removed.
 *
 * The exporter calls with its reservation lock held, under which others may wait
 * for memory. So the lock here, innermost but for those of the IOMMU, is never
 * held while the allocator may reclaim.
 *
 *	ioasid.lock
 *	dma_resv		not nested with the one above
 *	pinned_dma_buf.lock
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vfio_pci_core.h>

#include "ioasid_private.h"

/* Tries to enter memory into a page table without waiting for free pages */
#define ENTER_TRIES 32

/**
 * struct pinned_dma_buf - What is known of a dma-buf
 * @attach: Our side of it
 * @lock: Protects @revoked and @entries
 * @phys: Where it lies
 * @revoked: It was taken back
 * @entries: struct dma_buf_entry
 */
struct pinned_dma_buf {
	struct dma_buf_attachment *attach;
	struct mutex lock; /* Protects @revoked and @entries. */
	struct phys_vec phys;
	bool revoked;
	struct list_head entries;
};

/* A page table that holds a part of it */
struct dma_buf_entry {
	struct list_head entry;
	struct iommu_domain *domain;
	unsigned long first;
	unsigned long length;
};

/* May come again, also for what is given back: nobody knows where it was. */
static void dma_buf_revoke(struct dma_buf_attachment *attach)
{
	struct pinned_dma_buf *buf = attach->importer_priv;
	struct dma_buf_entry *cur, *next;

	dma_resv_assert_held(attach->dmabuf->resv);

	guard(mutex)(&buf->lock);
	buf->revoked = true;
	list_for_each_entry_safe(cur, next, &buf->entries, entry) {
		WARN_ON_ONCE(iommu_unmap(cur->domain, cur->first,
					 cur->length) != cur->length);
		list_del_init(&cur->entry);
		kfree(cur);
	}
}

static const struct dma_buf_attach_ops attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = dma_buf_revoke,
};

/* VFIO needs this module, so it can be asked for only when it is there. */
static int get_phys(struct dma_buf_attachment *attach, struct phys_vec *phys)
{
	int rc = -EOPNOTSUPP;

#ifdef CONFIG_IOMMUFD_TEST
	rc = ioasid_mock_dma_buf_map(attach, phys);
	if (rc != -EOPNOTSUPP)
		return rc;
#endif
#if IS_ENABLED(CONFIG_VFIO_PCI_DMABUF)
	int (*map)(struct dma_buf_attachment *attach, struct phys_vec *phys);

	map = symbol_get(vfio_pci_dma_buf_iommufd_map);
	if (map) {
		rc = map(attach, phys);
		symbol_put(vfio_pci_dma_buf_iommufd_map);
	}
#endif
	return rc;
}

static int attach_dma_buf(struct pinned_dma_buf *buf, struct dma_buf *dma_buf)
{
	int rc;

	buf->attach = dma_buf_dynamic_attach(dma_buf, ioasid_device(),
					     &attach_ops, buf);
	if (IS_ERR(buf->attach))
		return PTR_ERR(buf->attach);

	dma_resv_lock(dma_buf->resv, NULL);
	rc = dma_buf_pin(buf->attach);
	if (!rc) {
		rc = get_phys(buf->attach, &buf->phys);
		if (rc)
			dma_buf_unpin(buf->attach);
	}
	dma_resv_unlock(dma_buf->resv);
	if (rc)
		dma_buf_detach(dma_buf, buf->attach);
	return rc;
}

/**
 * pinned_mem_from_dma_buf - Register a range of a dma-buf
 * @fd: dma-buf of the calling process
 * @offset: Offset in bytes
 * @length: Length in bytes, not 0; @offset + @length does not wrap
 * @writable: Devices may write
 *
 * Only what VFIO exports of PCI devices is supported.
 *
 * Return: Memory with one reference, or -ENOTTY: not a dma-buf; -EINVAL: shorter
 * than the range; -EOPNOTSUPP: of another exporter; -ENODEV: taken back;
 * -ENOMEM.
 */
struct pinned_mem *pinned_mem_from_dma_buf(int fd, unsigned long offset,
					   unsigned long length, bool writable)
{
	unsigned long start = offset >> PAGE_SHIFT;
	unsigned long last = (offset + length - 1) >> PAGE_SHIFT;
	struct pinned_dma_buf *buf;
	struct dma_buf *dma_buf;
	struct pinned_mem *mem;
	int rc;

	dma_buf = dma_buf_get(fd);
	if (IS_ERR(dma_buf))
		return ERR_PTR(-ENOTTY);
	rc = -EINVAL;
	if (dma_buf->size <= offset || length > dma_buf->size - offset)
		goto err_put;

	rc = -ENOMEM;
	buf = kzalloc_obj(*buf, GFP_KERNEL_ACCOUNT);
	if (!buf)
		goto err_put;
	mutex_init(&buf->lock);
	INIT_LIST_HEAD(&buf->entries);
	mem = pinned_mem_new(PINNED_MEM_DMA_BUF, start, last - start + 1,
			     writable);
	if (!mem)
		goto err_free;
	rc = attach_dma_buf(buf, dma_buf);
	if (rc)
		goto err_mem;
	mem->dma_buf = buf;
	return mem;

err_mem:
	pinned_mem_put(mem);
err_free:
	mutex_destroy(&buf->lock);
	kfree(buf);
err_put:
	dma_buf_put(dma_buf);
	return ERR_PTR(rc);
}

/**
 * pinned_mem_put_dma_buf - Undo pinned_mem_from_dma_buf()
 * @mem: The memory, in no page table
 */
void pinned_mem_put_dma_buf(struct pinned_mem *mem)
{
	struct pinned_dma_buf *buf = mem->dma_buf;
	struct dma_buf *dma_buf;

	if (!buf)
		return;
	dma_buf = buf->attach->dmabuf;
	WARN_ON(!list_empty(&buf->entries));
	dma_resv_lock(dma_buf->resv, NULL);
	dma_buf_unpin(buf->attach);
	dma_resv_unlock(dma_buf->resv);
	dma_buf_detach(dma_buf, buf->attach);
	dma_buf_put(dma_buf);
	mutex_destroy(&buf->lock);
	kfree(buf);
}

/* Return: 1 if it is entered, 0 if there is nothing to enter any more. */
static int try_enter(struct pinned_dma_buf *buf, struct dma_buf_entry *entry,
		     phys_addr_t offset, int prot)
{
	int rc;

	guard(mutex)(&buf->lock);
	if (buf->revoked || offset >= buf->phys.len ||
	    entry->length > buf->phys.len - offset)
		return 0;
	if (ioasid_should_fail())
		return -ENOMEM;
	rc = iommu_map(entry->domain, entry->first, buf->phys.paddr + offset,
		       entry->length, prot, GFP_NOWAIT | __GFP_ACCOUNT);
	if (rc)
		return rc;
	list_add_tail(&entry->entry, &buf->entries);
	return 1;
}

/* Makes the allocator free some pages. */
static void wait_for_memory(void)
{
	free_page(__get_free_page(GFP_KERNEL));
}

/**
 * dma_buf_enter - Enter a mapping of device memory into a page table
 * @pt: The page table
 * @map: The mapping
 *
 * Context: The lock of the address space is held.
 *
 * Return: 0, also if the memory was taken back: then nothing is entered; -EOPNOTSUPP:
 * the table is not for iommu_map(); or what iommu_map() says.
 */
int dma_buf_enter(struct iommufd_hw_pagetable *pt, const struct mapping *map)
{
	struct pinned_mem *mem = map->mem;
	phys_addr_t offset = ((phys_addr_t)mem->start << PAGE_SHIFT) +
			     map->offset;
	int prot = (map->prot & ~IOMMU_CACHE) | IOMMU_MMIO;
	struct dma_buf_entry *entry;
	unsigned int tries;
	int rc = -ENOMEM;

	if (pt->own_map)
		return -EOPNOTSUPP;
	entry = kzalloc_obj(*entry, GFP_KERNEL_ACCOUNT);
	if (!entry)
		return -ENOMEM;
	entry->domain = pt->domain;
	entry->first = map->first;
	entry->length = mapping_length(map);

	for (tries = 0; tries < ENTER_TRIES && rc == -ENOMEM; tries++) {
		if (tries)
			wait_for_memory();
		rc = try_enter(mem->dma_buf, entry, offset, prot);
	}
	if (rc > 0)
		return 0;
	kfree(entry);
	return rc;
}

/**
 * dma_buf_take_out - Take a mapping of device memory out of a page table
 * @pt: The page table
 * @map: The mapping
 *
 * Nothing can reach the memory through it when this returns.
 *
 * Context: The lock of the address space is held. Allocates nothing.
 */
void dma_buf_take_out(struct iommufd_hw_pagetable *pt,
		      const struct mapping *map)
{
	struct pinned_dma_buf *buf = map->mem->dma_buf;
	struct dma_buf_entry *cur;

	guard(mutex)(&buf->lock);
	list_for_each_entry(cur, &buf->entries, entry) {
		if (cur->domain != pt->domain || cur->first != map->first)
			continue;
		WARN_ON_ONCE(iommu_unmap(cur->domain, cur->first,
					 cur->length) != cur->length);
		list_del(&cur->entry);
		kfree(cur);
		return;
	}
}
