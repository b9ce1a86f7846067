// SPDX-License-Identifier: GPL-2.0-only
/*
 * In-kernel users of address spaces: mediated devices, whose driver does in
 * software what a device's DMA would do.
 *
 * A pin or a transfer finds the mappings, pins their memory if nothing else has
 * yet, and counts itself in each of them. A mapping that is counted stays:
 * UNMAP asks the accesses to let go, and gives up if one does not. Memory that
 * was pinned for an access stays pinned until the mapping or the access goes.
 *
 * Where it may be tracked what is written, a transfer marks the pages that it
 * has written, and pins are kept in ioasid.pins: a page counts as written as long
 * as it is pinned, and is marked when it is let go.
 *
 * access.lock is held while memory is pinned. Unpinning does not take it, so
 * that a user's callback never waits for user memory.
 */
#include <linux/highmem.h>
#include <linux/slab.h>

#include "ioasid_private.h"

/* ---- life ---- */

/**
 * iommufd_access_create - Bind an in-kernel user to a context
 * @ictx: The context
 * @ops: What the user does when memory goes; stays with the caller
 * @data: For @ops
 * @id: Output: identifier of the access in the context
 *
 * Context: Process context; VFIO holds dev_set->lock.
 *
 * Return: The access, for iommufd_access_destroy(), or an error pointer:
 * -ENOSPC: too many objects in the context; -ENOMEM.
 */
struct iommufd_access *
iommufd_access_create(struct iommufd_ctx *ictx,
		      const struct iommufd_access_ops *ops, void *data, u32 *id)
{
	struct iommufd_access *access;
	int rc;

	access = kzalloc_obj(*access, GFP_KERNEL_ACCOUNT);
	if (!access)
		return ERR_PTR(-ENOMEM);
	rc = ioasid_object_init(ictx, &access->obj, IOMMUFD_OBJ_ACCESS);
	if (rc) {
		kfree(access);
		return ERR_PTR(rc);
	}
	access->ictx = ictx;
	access->ops = ops;
	access->data = data;
	INIT_LIST_HEAD(&access->entry);
	mutex_init(&access->lock);
	iommufd_ctx_get(ictx);
	atomic_inc(&ictx->num_bound);
	*id = access->obj.id;
	ioasid_object_publish(ictx, &access->obj);
	return access;
}
EXPORT_SYMBOL_NS_GPL(iommufd_access_create, "IOMMUFD");

/* Who pins pages can do nothing with mappings that share one. */
static bool needs_pages(const struct iommufd_access *access)
{
	return access->ops && access->ops->needs_pin_pages;
}

static void end_pages(struct ioasid *ioas)
{
	guard(mutex)(&ioas->lock);
	ioas->num_page_users--;
	ioasid_update_alignment(ioas);
}

/*
 * Ends an attachment: no new pins, then the user lets go of the old ones. The
 * caller owns the access; only pins run beside this.
 */
static void access_leave(struct iommufd_access *access)
{
	struct ioasid *ioas;

	mutex_lock(&access->lock);
	ioas = access->ioas;
	access->ioas = NULL;
	mutex_unlock(&access->lock);

	if (READ_ONCE(access->num_pins))
		ioasid_revoke_access(ioas, access);
	/* The users' contract is that this range means everything. */
	if (READ_ONCE(access->num_pins) && access->ops && access->ops->unmap)
		access->ops->unmap(access->data, 0, ULONG_MAX);

	mutex_lock(&ioas->lock);
	WARN_ON(access->num_pins);
	access->ioas_unpin = NULL;
	list_del_init(&access->entry);
	WRITE_ONCE(ioas->num_accesses, ioas->num_accesses - 1);
	mutex_unlock(&ioas->lock);
	if (needs_pages(access))
		end_pages(ioas);
	if (ioas->parent)
		ioasid_pinners_put(ioas, 1);
	else
		ioasid_unpin_idle(ioas);
	refcount_dec(&ioas->obj.users);
}

static int prepare_pages(struct ioasid *ioas)
{
	int rc;

	guard(mutex)(&ioas->lock);
	rc = ioasid_check_alignment(ioas, PAGE_SIZE);
	if (!rc) {
		ioas->num_page_users++;
		ioasid_update_alignment(ioas);
	}
	return rc;
}

/* What of joining may fail. Undone by access_leave(), after access_join(). */
static int access_prepare(struct iommufd_access *access, struct ioasid *ioas)
{
	int rc = 0;

	if (!ioasid_may(ioas, IOMMU_IOASID_OP_ACCESS))
		return -EINVAL;
	if (needs_pages(access)) {
		rc = prepare_pages(ioas);
		if (rc)
			return rc;
	}
	/* A child has no pins of its own that could wait until they are needed. */
	if (ioas->parent)
		rc = ioasid_pinners_get(ioas, 1);
	if (rc && needs_pages(access))
		end_pages(ioas);
	return rc;
}

static void access_join(struct iommufd_access *access, struct ioasid *ioas)
{
	refcount_inc(&ioas->obj.users);
	mutex_lock(&ioas->lock);
	list_add_tail(&access->entry, &ioas->accesses);
	WRITE_ONCE(ioas->num_accesses, ioas->num_accesses + 1);
	mutex_unlock(&ioas->lock);

	mutex_lock(&access->lock);
	access->ioas = ioas;
	access->ioas_unpin = ioas;
	mutex_unlock(&access->lock);
}

/**
 * iommufd_access_destroy - Undo iommufd_access_create()
 * @access: The access, attached or not. The caller makes no other call on it.
 *
 * The user is asked to let go of all it has pinned, and no callback runs or
 * comes any more when this returns.
 *
 * Context: Process context; VFIO holds dev_set->lock. The callbacks run.
 */
void iommufd_access_destroy(struct iommufd_access *access)
{
	struct iommufd_ctx *ictx = access->ictx;

	if (access->ioas)
		access_leave(access);
	ioasid_object_remove(ictx, &access->obj);
	mutex_destroy(&access->lock);
	kfree_rcu(access, rcu);
	atomic_dec(&ictx->num_bound);
	iommufd_ctx_put(ictx);
}
EXPORT_SYMBOL_NS_GPL(iommufd_access_destroy, "IOMMUFD");

/**
 * iommufd_access_attach - Give an in-kernel user an address space
 * @access: The access, not attached
 * @ioas_id: The IOASID
 *
 * Context: The caller serializes attach, replace, detach and destroy.
 *
 * Return: 0; -ENOENT: no such IOASID; -EINVAL: its type takes no in-kernel
 * users, or @access is attached; -EADDRINUSE: a mapping is not aligned to pages, and
 * the user pins some; where the IOASID has a parent, what pinning its root's memory
 * says.
 */
int iommufd_access_attach(struct iommufd_access *access, u32 ioas_id)
{
	struct ioasid *ioas;
	int rc;

	if (WARN_ON(access->ioas))
		return -EINVAL;
	ioas = ioasid_get(access->ictx, ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	rc = access_prepare(access, ioas);
	if (!rc)
		access_join(access, ioas);
	ioasid_put(ioas);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(iommufd_access_attach, "IOMMUFD");

/**
 * iommufd_access_replace - Give an in-kernel user another address space
 * @access: The access, attached
 * @ioas_id: The IOASID
 *
 * The user is asked to let go of what it has pinned in the old one.
 *
 * Context: As iommufd_access_attach().
 *
 * Return: 0; -ENOENT: no such IOASID, or @access is not attached; -EINVAL and
 * -EADDRINUSE as iommufd_access_attach(). The old one stays then.
 */
int iommufd_access_replace(struct iommufd_access *access, u32 ioas_id)
{
	struct ioasid *ioas;
	int rc = 0;

	if (!access->ioas)
		return -ENOENT;
	ioas = ioasid_get(access->ictx, ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	if (ioas != access->ioas) {
		rc = access_prepare(access, ioas);
		if (!rc) {
			access_leave(access);
			access_join(access, ioas);
		}
	}
	ioasid_put(ioas);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(iommufd_access_replace, "IOMMUFD");

/**
 * iommufd_access_detach - Take an in-kernel user's address space away
 * @access: The access, attached
 *
 * The user is asked to let go of what it has pinned.
 *
 * Context: As iommufd_access_attach().
 */
void iommufd_access_detach(struct iommufd_access *access)
{
	if (WARN_ON(!access->ioas))
		return;
	access_leave(access);
}
EXPORT_SYMBOL_NS_GPL(iommufd_access_detach, "IOMMUFD");

/**
 * ioasid_access_unmap - Ask an in-kernel user to let go of a range
 * @access: The user
 * @first: First address
 * @last: Last address
 *
 * Context: No lock of an address space but unmap_lock is held.
 */
void ioasid_access_unmap(struct iommufd_access *access, unsigned long first,
			 unsigned long last)
{
	/* All 2^64 bytes, which only a test could map, have no length. */
	unsigned long length = last - first == ULONG_MAX ? ULONG_MAX :
							   last - first + 1;

	if (access->ops && access->ops->unmap)
		access->ops->unmap(access->data, first, length);
}

/* A hold of the attached access with the next higher identifier, or NULL. */
static struct iommufd_access *next_access(struct ioasid *ioas, u32 id)
{
	guard(mutex)(&ioas->lock);
	for (;;) {
		struct iommufd_access *access, *next = NULL;

		/* Internal ones have no identifier. */
		list_for_each_entry(access, &ioas->accesses, entry)
			if (access->obj.id > id &&
			    (!next || access->obj.id < next->obj.id))
				next = access;
		/* One that ends lets go by itself. */
		if (!next || ioasid_object_tryget(&next->obj))
			return next;
		id = next->obj.id;
	}
}

/**
 * ioasid_access_notify - Ask all in-kernel users to let go of a range
 * @ioas: The address space
 * @first: First address
 * @last: Last address
 *
 * Context: ioas->unmap_lock is held, ioas->lock is not. The callbacks run.
 */
void ioasid_access_notify(struct ioasid *ioas, unsigned long first,
			  unsigned long last)
{
	struct iommufd_access *access;
	u32 id = 0;

	while ((access = next_access(ioas, id))) {
		id = access->obj.id;
		ioasid_access_unmap(access, first, last);
		ioasid_object_put(ioas->ictx, &access->obj);
	}
}

/* ---- for objects of a context ---- */

/**
 * ioasid_access_create_internal - Make an access that is not a driver's
 * @ioas: The address space, which the caller keeps from ending
 *
 * It pins one range at most. As long as it does, UNMAP of that is -EBUSY.
 *
 * Return: The access, attached, for ioasid_access_destroy_internal(), or an error
 * pointer: -EINVAL: the type takes no in-kernel users; -ENOMEM.
 */
struct iommufd_access *ioasid_access_create_internal(struct ioasid *ioas)
{
	struct iommufd_access *access;
	int rc;

	access = kzalloc_obj(*access, GFP_KERNEL_ACCOUNT);
	if (!access)
		return ERR_PTR(-ENOMEM);
	access->ictx = ioas->ictx;
	access->locks = true;
	INIT_LIST_HEAD(&access->entry);
	mutex_init(&access->lock);
	rc = access_prepare(access, ioas);
	if (rc) {
		kfree(access);
		return ERR_PTR(rc);
	}
	access_join(access, ioas);
	return access;
}

/**
 * ioasid_access_destroy_internal - Undo ioasid_access_create_internal()
 * @access: The access, with nothing pinned
 */
void ioasid_access_destroy_internal(struct iommufd_access *access)
{
	access_leave(access);
	mutex_destroy(&access->lock);
	kfree(access);
}

/**
 * access_locks - The slow part of ioasid_access_locked()
 * @ioas: The address space
 * @first: First address
 * @last: Last address
 *
 * Return: As that.
 */
bool access_locks(const struct ioasid *ioas, unsigned long first,
		  unsigned long last)
{
	const struct iommufd_access *access;

	list_for_each_entry(access, &ioas->accesses, entry)
		if (access->locks && access->num_pins &&
		    access->first <= last && access->last >= first)
			return true;
	return false;
}

/* ---- memory ---- */

static void mark_written(struct ioasid *ioas, unsigned long first,
			 unsigned long last)
{
	struct mapping *map;

	lockdep_assert_held(&ioas->lock);

	for_each_mapping(map, &ioas->mappings, first, last)
		if (map->prot & IOMMU_WRITE)
			dirty_mark(map, max(first, map->first),
				   min(last, map->last));
}

static void pin_remove(struct ioasid *ioas, unsigned long first,
		       unsigned long last)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&ioas->lock);

	for (node = interval_tree_iter_first(&ioas->pins, first, last); node;
	     node = interval_tree_iter_next(node, first, last)) {
		if (node->start != first || node->last != last)
			continue;
		mark_written(ioas, first, last);
		interval_tree_remove(node, &ioas->pins);
		kfree(node);
		return;
	}
	WARN_ON_ONCE(1);
}

static int prot_of(unsigned int flags)
{
	return flags & IOMMUFD_ACCESS_RW_WRITE ? IOMMU_WRITE : IOMMU_READ;
}

static void end_access(struct ioasid *ioas, unsigned long first,
		       unsigned long last)
{
	struct mapping *map;

	lockdep_assert_held(&ioas->lock);

	for_each_mapping(map, &ioas->mappings, first, last) {
		if (WARN_ON_ONCE(!map->num_accesses))
			continue;
		map->num_accesses--;
	}
	WRITE_ONCE(ioas->num_access_ends, ioas->num_access_ends + 1);
	wake_up_all(&ioas->access_wait);
}

/*
 * Counts an access in the mapping that holds @addr, with its memory pinned.
 * Drops and takes ioas->lock. Return: The mapping, which stays until
 * end_access(), or an error pointer.
 */
static struct mapping *begin_access(struct ioasid *ioas, unsigned long addr,
				    int prot)
{
	struct mapping *map;
	int rc;

	lockdep_assert_held(&ioas->lock);

	for (;;) {
		map = mapping_find(&ioas->mappings, addr);
		if (!map || map->first > addr)
			return ERR_PTR(-ENOENT);
		if (mapping_is_leaving(map) ||
		    map->mem->source == PINNED_MEM_DMA_BUF)
			return ERR_PTR(-EINVAL);
		if (!(map->prot & prot))
			return ERR_PTR(-EPERM);
		if (map->pinned || ioas->parent) {
			map->num_accesses++;
			return map;
		}
		rc = ioasid_pin_mapping(ioas, map);
		if (rc)
			return ERR_PTR(rc);
	}
}

static struct page *mapping_page(const struct mapping *map, unsigned long addr)
{
	const struct mem_extents *extents;
	const struct mem_extent *extent;
	struct mapping_piece piece;
	unsigned long index;

	mapping_piece_at(map, addr, &piece);
	extents = &piece.mem->extents;
	index = piece.offset >> PAGE_SHIFT;
	extent = &extents->extent[mem_extents_find(extents, index)];
	return pfn_to_page(extent->pfn + (index - extent->index));
}

static bool pages_aligned(const struct mapping *map, unsigned long first,
			  unsigned long last)
{
	return PAGE_ALIGNED(map->offset + (first - map->first)) &&
	       PAGE_ALIGNED(last - first + 1);
}

/* @node is for ioasid.pins, NULL if it has none. */
static int pin_range(struct iommufd_access *access,
		     struct interval_tree_node *node, unsigned long first,
		     unsigned long last, struct page **pages, int prot)
{
	struct ioasid *ioas = access->ioas;
	unsigned long cur = first;
	int rc;

	guard(mutex)(&ioas->lock);
	for (;;) {
		struct mapping *map = begin_access(ioas, cur, prot);
		unsigned long map_last;

		if (IS_ERR(map)) {
			rc = PTR_ERR(map);
			goto err_end;
		}
		map_last = min(map->last, last);
		if (!pages_aligned(map, cur, map_last)) {
			rc = -EINVAL;
			end_access(ioas, cur, cur);
			goto err_end;
		}
		for (;;) {
			*pages++ = mapping_page(map, cur);
			if (map_last - cur < PAGE_SIZE)
				break;
			cur += PAGE_SIZE;
		}
		if (map_last == last) {
			if (node)
				interval_tree_insert(node, &ioas->pins);
			access->first = first;
			access->last = last;
			WRITE_ONCE(access->num_pins, access->num_pins + 1);
			return 0;
		}
		cur = map_last + 1;
	}

err_end:
	if (cur != first)
		end_access(ioas, first, cur - 1);
	return rc;
}

/**
 * iommufd_access_pin_pages - Pin the pages of a range of addresses
 * @access: The access
 * @iova: First address, a multiple of PAGE_SIZE
 * @length: Length in bytes, a multiple of PAGE_SIZE
 * @out_pages: Output: the pages, @length / PAGE_SIZE of them
 * @flags: IOMMUFD_ACCESS_RW_READ or IOMMUFD_ACCESS_RW_WRITE
 *
 * The memory of each mapping in the range is pinned and charged as a whole when
 * it is first used, and stays so until the mapping or the access goes.
 *
 * Context: Process context, may sleep for user memory.
 *
 * Return: 0, or with nothing pinned -EINVAL: @length is 0, a page of the range
 * is not a page of memory but of a device or shared, or the mapping is being
 * removed; -EOVERFLOW: the
 * range wraps; -ENOENT: not attached, or not all mapped; -EPERM: mapped without
 * that permission; or what pinning says.
 */
int iommufd_access_pin_pages(struct iommufd_access *access, unsigned long iova,
			     unsigned long length, struct page **out_pages,
			     unsigned int flags)
{
	struct interval_tree_node *node = NULL;
	unsigned long last;
	int rc;

	if (!length)
		return -EINVAL;
	if (check_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;

	guard(mutex)(&access->lock);
	if (!access->ioas)
		return -ENOENT;
	if (access->ioas->dirty) {
		node = kzalloc_obj(*node, GFP_KERNEL_ACCOUNT);
		if (!node)
			return -ENOMEM;
		node->start = iova;
		node->last = last;
	}
	rc = pin_range(access, node, iova, last, out_pages, prot_of(flags));
	if (rc)
		kfree(node);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(iommufd_access_pin_pages, "IOMMUFD");

/**
 * iommufd_access_unpin_pages - Undo iommufd_access_pin_pages()
 * @access: The access
 * @iova: As it was pinned
 * @length: As it was pinned
 *
 * Context: Process context, also from the user's callback.
 */
void iommufd_access_unpin_pages(struct iommufd_access *access,
				unsigned long iova, unsigned long length)
{
	struct ioasid *ioas = READ_ONCE(access->ioas_unpin);
	unsigned long last;

	if (WARN_ON(!length) ||
	    WARN_ON(check_add_overflow(iova, length - 1, &last)) ||
	    WARN_ON(!ioas))
		return;

	/* The pin keeps the address space. */
	guard(mutex)(&ioas->lock);
	if (WARN_ON(!access->num_pins))
		return;
	WRITE_ONCE(access->num_pins, access->num_pins - 1);
	if (ioas->dirty)
		pin_remove(ioas, iova, last);
	end_access(ioas, iova, last);
}
EXPORT_SYMBOL_NS_GPL(iommufd_access_unpin_pages, "IOMMUFD");

static void copy_mapping(const struct mapping *map, unsigned long first,
			 unsigned long last, void *data, bool write)
{
	size_t left = last - first + 1;

	while (left) {
		size_t offset = offset_in_page(map->offset +
					       (first - map->first));
		size_t len = min(left, PAGE_SIZE - offset);

		if (write)
			memcpy_to_page(mapping_page(map, first), offset, data,
				       len);
		else
			memcpy_from_page(data, mapping_page(map, first), offset,
					 len);
		first += len;
		data += len;
		left -= len;
		cond_resched();
	}
}

/**
 * iommufd_access_rw - Copy from or to a range of addresses
 * @access: The access
 * @iova: First address, any
 * @data: Kernel memory
 * @length: Length in bytes, any
 * @flags: IOMMUFD_ACCESS_RW_READ: from the range to @data;
 *         IOMMUFD_ACCESS_RW_WRITE: to the range; IOMMUFD_ACCESS_RW_KTHREAD is
 *         allowed and makes no difference
 *
 * Context: Process context, may sleep for user memory.
 *
 * Return: 0, or as iommufd_access_pin_pages(); a part may have been copied.
 */
int iommufd_access_rw(struct iommufd_access *access, unsigned long iova,
		      void *data, size_t length, unsigned int flags)
{
	unsigned long last, cur = iova;
	struct ioasid *ioas;

	if (!length)
		return -EINVAL;
	if (check_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;

	guard(mutex)(&access->lock);
	ioas = access->ioas;
	if (!ioas)
		return -ENOENT;

	for (;;) {
		struct mapping *map;
		unsigned long map_last;

		mutex_lock(&ioas->lock);
		map = begin_access(ioas, cur, prot_of(flags));
		mutex_unlock(&ioas->lock);
		if (IS_ERR(map))
			return PTR_ERR(map);

		map_last = min(map->last, last);
		copy_mapping(map, cur, map_last, data,
			     flags & IOMMUFD_ACCESS_RW_WRITE);

		mutex_lock(&ioas->lock);
		if (ioas->dirty && flags & IOMMUFD_ACCESS_RW_WRITE)
			dirty_mark(map, cur, map_last);
		end_access(ioas, cur, cur);
		mutex_unlock(&ioas->lock);

		if (map_last == last)
			return 0;
		data += map_last - cur + 1;
		cur = map_last + 1;
	}
}
EXPORT_SYMBOL_NS_GPL(iommufd_access_rw, "IOMMUFD");
