// SPDX-License-Identifier: GPL-2.0-only
/*
 * Failures that a run orders: of the driver of an IOMMU, which make a call fail in
 * a way that can be predicted; and of allocations, with which anything may come of
 * a call, but nothing may be left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "model.h"

/* ---- failures of the driver ---- */

/*
 * Makes the driver of an IOMMU fail, where the call that is next is sure to ask
 * it @calls times at least. Return: what the call will return.
 */
int arm(struct model *m, const struct instance *on, const char *op,
	unsigned int calls)
{
	/* -EINVAL says "this page table does not suit", -EBUSY "in reset". */
	static const int errors[] = { ENOMEM, EIO, ENOSPC };
	int error = errors[random_below(m, lengthof(errors))];
	int rc;

	rc = test_iommu_fail(on->name, op, random_below(m, calls), error);
	if (rc)
		mismatch(m, "fail %s of %s: %d", op, on->name, rc);
	m->armed = on;
	if (!strcmp(op, "dirty"))
		return -EIO;
	return strcmp(op, "enforce") ? -error : -EINVAL;
}

/* One that has a page table of the IOASID. Return: as arm() */
int arm_table(struct model *m, const struct ioas *ioas, const char *op,
	      unsigned int calls)
{
	const struct table *table =
		&ioas->tables[random_below(m, ioas->num_tables)];

	return arm(m, table->owner, op, calls);
}

/* For doing() */
const char *armed(const struct model *m)
{
	return m->armed ? m->armed->name : "nothing";
}

/* After the call: it must have asked. */
void disarm(struct model *m)
{
	if (!m->armed)
		return;
	if (test_iommu_fail_left(m->armed->name) != -ENOENT)
		mismatch(m, "the driver of %s was not asked", m->armed->name);
	test_iommu_fail(m->armed->name, NULL, 0, 0);
	m->armed = NULL;
	m->injected++;
}

/* Something that an attachment asks of the driver. Return: as arm() */
int arm_attach(struct model *m, const struct device *dev, unsigned int slot,
	       const struct ioas *ioas, const struct plan *plan)
{
	const struct instance *on = dev->group->on;
	bool joins = dev->group->slots[slot].ioas == ioas;

	if (plan->nothing || joins)
		return 0;
	if (plan->new_table) {
		switch (random_below(m, 5)) {
		case 0:
			return arm(m, on, "alloc", 1);
		case 1:
			if (on->snoop_control)
				return arm(m, on, "enforce", 1);
			break;
		case 2:
			if (ioas->num_maps)
				return arm(m, on, "map", ioas->num_maps);
			break;
		case 3:
			if (ioas->tracking)
				return arm(m, on, "dirty", 1);
			break;
		}
	}
	return arm(m, on, slot ? "pasid" : "attach", dev->group->num_members);
}

/* ---- failures of allocations ---- */

/* The @nth thing in this thread's calls that may fail does, or nothing if 0. */
bool fail_nth(struct model *m, unsigned int nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", nth);

	return m->fail_nth >= 0 &&
	       pwrite(m->fail_nth, text, length, 0) == length;
}

/*
 * How a call ends while something in it fails is not for the run to depend on:
 * it is undone, and what the kernel tells must be as before.
 */
static void tried(struct model *m, const struct ioas *ioas, int rc)
{
	fail_nth(m, 0);
	m->tried++;
	switch (rc) {
	case 0:
	case -ENOMEM:
	case -EFAULT:
	case -EINTR:
	case -EINVAL:
	case -EPERM:
	case -EBUSY:
	case -EOPNOTSUPP:
	case -EIO:
		break;
	default:
		mismatch(m, "%d was returned when something failed", rc);
	}
	ioas_compare(m, ioas);
}

void try_map(struct model *m, const struct ioas *ioas,
	     const struct iommu_map_dma *cmd)
{
	struct iommu_map_dma copy = *cmd;
	int rc;

	/* What is chosen next depends on what was chosen before. */
	if (cmd->flags & (IOMMU_MAP_DMA_ALLOC_IOVA | IOMMU_MAP_DMA_REPLACE) ||
	    !fail_nth(m, 1 + random_below(m, 30)))
		return;
	rc = iommu_call(m->iommu, IOMMU_MAP_DMA, &copy);
	fail_nth(m, 0);
	if (!rc)
		rc = ioasid_unmap(m->iommu, ioas->id, cmd->iova, cmd->length,
				  NULL);
	tried(m, ioas, rc);
}

/* The slot of the device is empty. */
void try_attach(struct model *m, const struct device *dev, unsigned int slot,
		const struct ioas *ioas)
{
	int rc;

	/* One that is refused may be followed by another that is not. */
	if (ioas->num_tables || !fail_nth(m, 1 + random_below(m, 60)))
		return;
	if (slot) {
		rc = vfio_attach_pasid(dev->dma.fd, slot_pasids[slot],
				       ioas->id);
		fail_nth(m, 0);
		vfio_detach_pasid(dev->dma.fd, slot_pasids[slot]);
	} else {
		rc = vfio_attach(dev->dma.fd, ioas->id);
		fail_nth(m, 0);
		vfio_detach(dev->dma.fd);
	}
	tried(m, ioas, rc);
	events_tried(m, ioas);
}

/*
 * UNMAP cannot be undone. If it fails nothing has changed, so it is called once
 * more. @cmd: It will succeed
 */
int try_unmap(struct model *m, struct iommu_unmap_dma *cmd)
{
	struct iommu_unmap_dma copy = *cmd;
	int rc;

	if (!fail_nth(m, 1 + random_below(m, 12)))
		return iommu_call(m->iommu, IOMMU_UNMAP_DMA, cmd);
	rc = iommu_call(m->iommu, IOMMU_UNMAP_DMA, cmd);
	fail_nth(m, 0);
	m->tried++;
	if (!rc)
		return 0;
	if (rc != -EINTR && rc != -ENOMEM && rc != -EFAULT)
		mismatch(m, "%d was returned when something failed", rc);
	*cmd = copy;
	return iommu_call(m->iommu, IOMMU_UNMAP_DMA, cmd);
}

/*
 * MAP_BATCH tells how far it has come: the rest is for another call. Together they do
 * what one would have done.
 */
int try_batch(struct model *m, struct iommu_map_batch *cmd)
{
	struct iommu_map_batch rest = *cmd;
	bool failing = fail_nth(m, 1 + random_below(m, 60));
	int rc;

	rc = iommu_call(m->iommu, IOMMU_MAP_BATCH, cmd);
	if (!failing)
		return rc;
	fail_nth(m, 0);
	m->tried++;
	/* Where it ends may not be told, but then it has not begun. */
	if (rc && cmd->num_entries == rest.num_entries)
		cmd->num_entries = 0;
	if (!rc)
		return rc;
	rest.entries += cmd->num_entries * sizeof(struct iommu_batch_entry);
	rest.num_entries -= cmd->num_entries;
	rc = iommu_call(m->iommu, IOMMU_MAP_BATCH, &rest);
	cmd->num_entries += rest.num_entries;
	cmd->unmapped += rest.unmapped;
	return rc;
}

/* Without this kind of fault injection nothing is tried. */
void failures_setup(struct model *m)
{
	static const char *const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_ioasid/verbose", "0" },
	};
	char path[96];
	size_t i;

	m->fail_nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	for (i = 0; i < lengthof(settings); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s",
			 settings[i][0]);
		file_write(path, settings[i][1]);
	}
}

void failures_teardown(struct model *m)
{
	if (m->fail_nth >= 0)
		close(m->fail_nth);
}
