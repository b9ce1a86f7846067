// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/<pid>/fdinfo/<fd>: the graph of a context in totals.
 *
 * Only RCU is held, and the counters are read as they are, so that a look at a
 * context never keeps its maps waiting.
 */
#include <linux/device.h>
#include <linux/seq_file.h>

#include "ioasid_private.h"

static void show_device(struct seq_file *seq, const struct iommufd_device *idev)
{
	seq_printf(seq, "device:\t%u group %d cookie 0x%llx %s\n", idev->obj.id,
		   iommu_group_id(idev->group->group), READ_ONCE(idev->cookie),
		   dev_name(idev->dev));
}

static const char *dirty_state(const struct ioasid *ioas)
{
	if (!ioas->dirty)
		return "";
	return READ_ONCE(ioas->tracking) ? " dirty on" : " dirty off";
}

static void show_ioasid(struct seq_file *seq, const struct ioasid *ioas)
{
	seq_printf(seq,
		   "ioasid:\t%u type %s parent %u devices %u accesses %u tables %u mappings %lu mapped %llu pinned %llu windows %u%s\n",
		   ioas->obj.id,
		   ioas->type == IOMMU_IOASID_TYPE_PREREG ? "prereg" : "kernel",
		   ioas->parent ? ioas->parent->obj.id : 0,
		   READ_ONCE(ioas->num_devices),
		   READ_ONCE(ioas->num_accesses), READ_ONCE(ioas->num_tables),
		   READ_ONCE(ioas->num_mappings),
		   READ_ONCE(ioas->mapped_bytes),
		   READ_ONCE(ioas->pinned_bytes),
		   READ_ONCE(ioas->num_windows), dirty_state(ioas));
}

static void show_hwpt(struct seq_file *seq,
		      const struct iommufd_hw_pagetable *pt)
{
	const char *kind = pt->automatic ? "automatic" : "asked";

	seq_printf(seq, "hwpt:\t%u ioasid %u %s charged %lu\n", pt->obj.id,
		   pt->ioas->obj.id, pt->parent ? "nested" : kind,
		   READ_ONCE(pt->charged) << PAGE_SHIFT);
}

/**
 * ioasid_show_fdinfo - Show the objects of a context
 * @seq: Where to
 * @ictx: The context
 */
void ioasid_show_fdinfo(struct seq_file *seq, struct iommufd_ctx *ictx)
{
	struct iommufd_object *obj;
	unsigned long id;

	seq_printf(seq, "ioasid-objects:\t%d\n",
		   atomic_read(&ictx->num_objects));

	guard(rcu)();
	xa_for_each(&ictx->objects, id, obj) {
		/* A hold keeps what the object refers to; drop it at once. */
		if (!ioasid_object_tryget(obj))
			continue;
		if (obj->type == IOMMUFD_OBJ_DEVICE)
			show_device(seq, to_idev(obj));
		else if (obj->type == IOMMUFD_OBJ_IOAS)
			show_ioasid(seq, to_ioasid(obj));
		else if (obj->type == IOMMUFD_OBJ_HWPT_PAGING ||
			 obj->type == IOMMUFD_OBJ_HWPT_NESTED)
			show_hwpt(seq, to_hwpt(obj));
		ioasid_object_put(ictx, obj);
	}
}
