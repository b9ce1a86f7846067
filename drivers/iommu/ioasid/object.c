// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects and their identifiers.
 *
 * An object has two counters. users counts what is built on the object, such as
 * attachments, above 1; it only grows under a short hold. wait_cnt counts short
 * holds: calls that have looked the object up and are still at work, above 1
 * as long as the object may be found. Whoever ends an object first makes its
 * identifier find nothing, then waits for the short holds.
 *
 * An identifier is reserved first and published last, when nothing can fail any
 * more: from then on another thread may use the object, or end it.
 *
 * Look-ups are under RCU; objects are freed after a grace period.
 */
#include <linux/nospec.h>
#include <linux/slab.h>

#include "ioasid_private.h"

static int reserve_id(struct iommufd_ctx *ictx, struct iommufd_object *obj)
{
	int rc;

	if (ioasid_should_fail())
		return -ENOMEM;
	rc = xa_alloc(&ictx->objects, &obj->id, XA_ZERO_ENTRY, xa_limit_31b,
		      GFP_KERNEL_ACCOUNT);
	return rc == -EBUSY ? -ENOSPC : rc;
}

/**
 * ioasid_object_init - Give a new object an identifier
 * @ictx: The context
 * @obj: The object, all zero
 * @type: Its type
 *
 * The object cannot be found before ioasid_object_publish().
 *
 * Return: 0; -ENOSPC: the context has too many objects; -ENOMEM.
 */
int ioasid_object_init(struct iommufd_ctx *ictx, struct iommufd_object *obj,
		       enum iommufd_object_type type)
{
	int rc;

	if (atomic_inc_return(&ictx->num_objects) >
	    READ_ONCE(ioasid_max_objects)) {
		rc = -ENOSPC;
		goto err_count;
	}

	obj->type = type;
	refcount_set(&obj->users, 1);
	refcount_set(&obj->wait_cnt, 1);
	rc = reserve_id(ictx, obj);
	if (rc)
		goto err_count;
	return 0;

err_count:
	atomic_dec(&ictx->num_objects);
	return rc;
}

/**
 * ioasid_object_abort - Give back the identifier of an unpublished object
 * @ictx: The context
 * @obj: The object; the caller owns it
 */
void ioasid_object_abort(struct iommufd_ctx *ictx, struct iommufd_object *obj)
{
	xa_erase(&ictx->objects, obj->id);
	atomic_dec(&ictx->num_objects);
}

/**
 * ioasid_object_publish - Let an object be found
 * @ictx: The context
 * @obj: The object, complete
 */
void ioasid_object_publish(struct iommufd_ctx *ictx,
			   struct iommufd_object *obj)
{
	u32 id = obj->id;

	/* Whoever ends it clears this after what comes next. */
	if (id < IOASID_NUM_FEW)
		rcu_assign_pointer(ictx->few[id], obj);
	/*
	 * The reserved entry has its memory, so this does not fail. From now on
	 * others may end the object, and it may be gone.
	 */
	WARN_ON(xa_is_err(xa_store(&ictx->objects, id, obj, GFP_KERNEL)));
}

/**
 * ioasid_object_tryget - Take a short hold of an object that is on some list
 * @obj: The object; something else keeps its memory
 *
 * Return: Whether it is not about to end.
 */
bool ioasid_object_tryget(struct iommufd_object *obj)
{
	return refcount_inc_not_zero(&obj->wait_cnt);
}

/**
 * ioasid_object_get - Look an object up and take a short hold of it
 * @ictx: The context
 * @id: Its identifier, from the user
 * @type: Its type, or IOMMUFD_OBJ_ANY
 *
 * Context: Whoever holds a device or an access may not sleep for user memory,
 * because unbind waits for it.
 *
 * Return: The object, for ioasid_object_put(), or -ENOENT.
 */
struct iommufd_object *ioasid_object_get(struct iommufd_ctx *ictx, u32 id,
					 enum iommufd_object_type type)
{
	struct iommufd_object *obj;

	guard(rcu)();
	if (likely(id < IOASID_NUM_FEW))
		obj = rcu_dereference(ictx->few[array_index_nospec(id, IOASID_NUM_FEW)]);
	else
		obj = xa_load(&ictx->objects, id);
	if (!obj || (type != IOMMUFD_OBJ_ANY && obj->type != type) ||
	    !ioasid_object_tryget(obj))
		return ERR_PTR(-ENOENT);
	return obj;
}

/**
 * ioasid_object_put - Drop a short hold
 * @ictx: The context
 * @obj: The object
 */
void ioasid_object_put(struct iommufd_ctx *ictx, struct iommufd_object *obj)
{
	if (refcount_dec_and_test(&obj->wait_cnt))
		wake_up_all(&ictx->object_wait);
}

/* Whether this call is the one that made the identifier find nothing. */
static bool ioasid_object_hide(struct iommufd_ctx *ictx,
			       struct iommufd_object *obj)
{
	if (xa_cmpxchg(&ictx->objects, obj->id, obj, XA_ZERO_ENTRY,
		       GFP_KERNEL) != obj)
		return false;
	if (obj->id < IOASID_NUM_FEW)
		RCU_INIT_POINTER(ictx->few[obj->id], NULL);
	return true;
}

/* Return: 0 or -ERESTARTSYS. */
static int wait_for_holds(struct iommufd_ctx *ictx, struct iommufd_object *obj)
{
	if (ioasid_should_fail())
		return -ERESTARTSYS;
	return wait_event_killable(ictx->object_wait,
				   !refcount_read(&obj->wait_cnt));
}

/**
 * ioasid_object_retire - End an object at the user's request
 * @ictx: The context
 * @obj: The object, with one short hold of the caller's, which is dropped
 *       whatever happens
 *
 * Return: 0: nobody can reach the object, and its identifier is free; the
 * caller frees it after a grace period. -EBUSY: something is built on it.
 * -ENOENT: somebody else ends it. -EINTR: fatal signal.
 */
int ioasid_object_retire(struct iommufd_ctx *ictx, struct iommufd_object *obj)
{
	int rc = -EBUSY;

	if (refcount_read(&obj->users) != 1)
		goto out_put;
	rc = -ENOENT;
	if (!ioasid_object_hide(ictx, obj))
		goto out_put;

	/* Drop the hold of the caller and the one that stands for "alive". */
	ioasid_object_put(ictx, obj);
	ioasid_object_put(ictx, obj);
	rc = wait_for_holds(ictx, obj);
	if (rc) {
		/* Not found by anybody, so zero means that all are gone. */
		if (refcount_inc_not_zero(&obj->wait_cnt)) {
			rc = -EINTR;
			goto out_publish;
		}
		rc = 0;
	}

	/* A call that was under way may have built something. */
	if (refcount_read(&obj->users) != 1) {
		refcount_set(&obj->wait_cnt, 1);
		rc = -EBUSY;
		goto out_publish;
	}
	ioasid_object_abort(ictx, obj);
	return 0;

out_publish:
	ioasid_object_publish(ictx, obj);
	return rc;

out_put:
	ioasid_object_put(ictx, obj);
	return rc;
}

/**
 * ioasid_object_bury - End an object whose user may end it, too
 * @ictx: The context
 * @obj: The object, published, nothing built on it. Something else keeps its
 *       memory until this returns.
 *
 * Waits for the short holds. The identifier stays taken as long as the context,
 * and finds nothing.
 *
 * Return: Whether this is what has ended the object: then nobody can reach it, and
 * the caller frees it after a grace period.
 */
bool ioasid_object_bury(struct iommufd_ctx *ictx, struct iommufd_object *obj)
{
	if (!ioasid_object_hide(ictx, obj))
		return false;
	ioasid_object_put(ictx, obj);
	wait_event(ictx->object_wait, !refcount_read(&obj->wait_cnt));
	WARN_ON(refcount_read(&obj->users) != 1);
	return true;
}

/**
 * ioasid_object_remove - End an object at the kernel's request
 * @ictx: The context
 * @obj: The object, published, nothing built on it, and not ended by others
 *
 * Waits for the short holds. Afterwards nobody can reach the object, and the
 * caller frees it after a grace period.
 */
void ioasid_object_remove(struct iommufd_ctx *ictx, struct iommufd_object *obj)
{
	WARN_ON(!ioasid_object_bury(ictx, obj));
	ioasid_object_abort(ictx, obj);
}

static void destroy_ioas(struct iommufd_object *obj)
{
	ioasid_destroy(to_ioasid(obj));
}

static void destroy_hwpt(struct iommufd_object *obj)
{
	ioasid_hwpt_destroy(to_hwpt(obj));
}

/* Objects that users end. Devices and accesses end with what has bound them. */
static void (*const destroy_ops[IOMMUFD_OBJ_MAX])(struct iommufd_object *obj) = {
	[IOMMUFD_OBJ_IOAS] = destroy_ioas,
	[IOMMUFD_OBJ_HWPT_PAGING] = destroy_hwpt,
	[IOMMUFD_OBJ_HWPT_NESTED] = destroy_hwpt,
	[IOMMUFD_OBJ_FAULT] = ioasid_fault_destroy,
	[IOMMUFD_OBJ_VIOMMU] = ioasid_viommu_destroy,
	[IOMMUFD_OBJ_VDEVICE] = ioasid_vdevice_destroy,
	[IOMMUFD_OBJ_VEVENTQ] = ioasid_veventq_destroy,
	[IOMMUFD_OBJ_HW_QUEUE] = ioasid_hw_queue_destroy,
#ifdef CONFIG_IOMMUFD_TEST
	[IOMMUFD_OBJ_SELFTEST] = ioasid_mock_destroy,
#endif
};

/**
 * ioasid_object_destroy - Free an object
 * @obj: The object, of a type that users end. Nobody can reach it any more, and
 *       its identifier is free again, or was never published.
 *
 * Undoes what the object is built on.
 *
 * Context: No lock is held; may sleep.
 */
void ioasid_object_destroy(struct iommufd_object *obj)
{
	destroy_ops[obj->type](obj);
}

/**
 * ioasid_object_user_owned - Whether the user ends objects of a type
 * @type: The type
 *
 * Return: Whether ioasid_object_destroy() knows the type.
 */
bool ioasid_object_user_owned(enum iommufd_object_type type)
{
	return destroy_ops[type];
}
