// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model of attachments: which page table a device comes to use, what speaks
 * against it, and what is pinned for it.
 */
#include <errno.h>
#include <string.h>

#include "model.h"

const __u32 slot_pasids[NUM_SLOTS] = { 0, 1, 77, 255 };

/* ---- what speaks against it ---- */

static bool has_pasids(const struct instance *on)
{
	return on->max_pasid;
}

static bool same_kind(const struct instance *a, const struct instance *b)
{
	return has_pasids(a) == has_pasids(b) &&
	       a->snoop_control == b->snoop_control;
}

/* Whether an IOMMU takes a page table that was made for another. */
static bool takes_table(const struct instance *on, const struct instance *other)
{
	return on == other ||
	       (same_kind(on, other) && on->shares_tables &&
		other->shares_tables);
}

static const struct table *find_table(const struct ioas *ioas,
				      const struct instance *on, bool only_own)
{
	unsigned int i;

	for (i = 0; i < ioas->num_tables; i++) {
		const struct instance *owner = ioas->tables[i].owner;

		if (owner == on || (!only_own && takes_table(on, owner)))
			return &ioas->tables[i];
	}
	return NULL;
}

/* What the IOASID demands of an IOMMU */
static int demand_error(const struct ioas *ioas, const struct instance *on)
{
	if (ioas->dirty && on->no_dirty)
		return -EOPNOTSUPP;
	if (ioas->snoop == IOMMU_SNOOP_ENFORCE && !on->snoop_control)
		return -EINVAL;
	if (ioas->snoop == IOMMU_SNOOP_OFF && on->snoop_control)
		return -EOPNOTSUPP;
	return 0;
}

static int reserved_error(const struct ioas *ioas, const struct instance *on)
{
	unsigned int i, j;

	for (i = 0; i < on->num_reserved; i++) {
		if (mapping_over(ioas, on->reserved[i]))
			return -EADDRINUSE;
		for (j = 0; j < ioas->num_exact; j++)
			if (overlap(ioas->exact[j], on->reserved[i]))
				return -EADDRINUSE;
	}
	return 0;
}

static int new_table_error(const struct ioas *ioas, const struct instance *on)
{
	unsigned int i;

	if (ioas->width && on->aperture.last < last_of_width(ioas->width))
		return -EINVAL;
	for (i = 0; i < ioas->num_exact; i++)
		if (!contains(on->aperture, ioas->exact[i]))
			return -EADDRINUSE;
	for (i = 0; i < ioas->num_maps; i++)
		if (!contains(on->aperture, ioas->maps[i]->range))
			return -EADDRINUSE;
	return 0;
}

static int pin_error(const struct model *m, const struct ioas *root)
{
	unsigned int i;

	if (keeps_pins(m, root))
		return 0;
	for (i = 0; i < root->num_maps; i++)
		if (!may_pin(root->maps[i]->src, root->maps[i]->by_file,
			     root->maps[i]->prot))
			return -EFAULT;
	return 0;
}

/* @plan: Output, if there is no error: what will be done */
int attach_error(const struct model *m, const struct device *dev,
		 unsigned int slot, struct ioas *ioas, struct plan *plan)
{
	const struct slot *now = &dev->group->slots[slot];
	const struct instance *on = dev->group->on;
	bool replace = now->members & dev->member;
	const struct table *table;
	int rc;

	*plan = (struct plan){ .owner = on };
	if (!ioas)
		return -ENOENT;
	if (ioas->type != IOMMU_IOASID_TYPE_KERNEL)
		return -EINVAL;
	if (slot && (!has_pasids(on) || slot_pasids[slot] > on->max_pasid))
		return -EINVAL;
	rc = pin_error(m, root_of(ioas));
	if (rc)
		return rc;
	if (replace && now->ioas == ioas) {
		plan->nothing = true;
		return 0;
	}
	if (now->ioas && now->ioas != ioas && !replace)
		return -EINVAL;
	rc = demand_error(ioas, on);
	if (!rc && !slot)
		rc = reserved_error(ioas, on);
	if (rc)
		return rc;
	if (now->ioas == ioas) {
		plan->owner = now->owner;
		return 0;
	}
	table = find_table(ioas, on, replace);
	if (table) {
		plan->owner = table->owner;
		return 0;
	}
	plan->new_table = true;
	return new_table_error(ioas, on);
}

/* ---- what comes of it ---- */

static void table_get(struct ioas *ioas, const struct instance *owner)
{
	unsigned int i;

	for (i = 0; i < ioas->num_tables; i++) {
		if (ioas->tables[i].owner == owner) {
			ioas->tables[i].users++;
			return;
		}
	}
	ioas->tables[ioas->num_tables++] =
		(struct table){ .owner = owner, .users = 1 };
}

static void table_put(struct ioas *ioas, const struct instance *owner)
{
	unsigned int i = 0;

	while (ioas->tables[i].owner != owner)
		i++;
	if (--ioas->tables[i].users)
		return;
	ioas->num_tables--;
	memmove(&ioas->tables[i], &ioas->tables[i + 1],
		(ioas->num_tables - i) * sizeof(ioas->tables[0]));
}

/* Tells whether there is a device now and was none before, or the other way round. */
static void expect_used(struct model *m, const struct ioas *ioas,
			unsigned int before)
{
	unsigned int now = num_attached(m, ioas);

	if (!before != !now)
		event_expect(m, now ? IOMMU_EVENT_USED : IOMMU_EVENT_UNUSED,
			     ioas, 0, 0);
}

static void unpin_idle(struct model *m, struct ioas *root)
{
	if (!keeps_pins(m, root))
		mappings_unpin(root);
}

void attach_commit(struct model *m, struct device *dev, unsigned int slot,
		   struct ioas *ioas, const struct plan *plan)
{
	struct slot *now = &dev->group->slots[slot];
	struct ioas *old = now->ioas == ioas ? NULL : now->ioas;
	unsigned int before = num_attached(m, ioas);
	unsigned int before_old = old ? num_attached(m, old) : 0;

	if (plan->nothing)
		return;
	mappings_pin(root_of(ioas));
	now->members |= dev->member;
	if (now->ioas != ioas) {
		/* All devices of the group move along. */
		if (old)
			table_put(old, now->owner);
		table_get(ioas, plan->owner);
		now->ioas = ioas;
		now->owner = plan->owner;
	}
	expect_used(m, ioas, before);
	if (old) {
		unpin_idle(m, root_of(old));
		expect_used(m, old, before_old);
	}
}

void detach_commit(struct model *m, struct device *dev, unsigned int slot)
{
	struct slot *now = &dev->group->slots[slot];
	struct ioas *ioas = now->ioas;
	unsigned int before;

	if (!(now->members & dev->member))
		return;
	before = num_attached(m, ioas);
	now->members &= ~dev->member;
	if (!now->members) {
		table_put(ioas, now->owner);
		now->ioas = NULL;
		now->owner = NULL;
		unpin_idle(m, root_of(ioas));
	}
	expect_used(m, ioas, before);
}
