// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations of a run, and what the kernel tells after each of them. To add
 * one: write a function that chooses, predicts, says what it is doing(), makes
 * the call, and changes the model if it has returned() 0; and a row in the table
 * at the end.
 */
#include <errno.h>
#include <string.h>

#include "model.h"

/* Never the number of an object */
#define NO_ID	0x7ffffffe

/* ---- what the kernel tells ---- */

static void compare_number(struct model *m, const struct ioas *ioas,
			   const char *what, __u64 want, __u64 seen)
{
	if (want != seen)
		mismatch(m, "%s of %u is 0x%llx, not 0x%llx", what, ioas->id,
			 seen, want);
}

void ioas_compare(struct model *m, const struct ioas *ioas)
{
	struct iommu_range ranges[MAX_RANGES];
	struct iommu_ioasid_info info = {
		.num_ranges = MAX_RANGES,
		.ranges = (uintptr_t)ranges,
	};
	struct ranges want;
	unsigned int i;
	int rc;

	rc = ioasid_info(m->iommu, ioas->id, &info);
	if (rc) {
		mismatch(m, "GET_INFO of %u: %d", ioas->id, rc);
		return;
	}
	permitted_ranges(m, ioas, &want);
	compare_number(m, ioas, "type", ioas->type, info.type);
	compare_number(m, ioas, "parent", ioas->parent ? ioas->parent->id : 0,
		       info.parent);
	compare_number(m, ioas, "addr_width", ioas->width, info.addr_width);
	compare_number(m, ioas, "snoop", ioas->snoop, info.snoop);
	compare_number(m, ioas, "state",
		       (ioas->dirty ? IOMMU_IOASID_STATE_DIRTY : 0) |
		       (ioas->tracking ? IOMMU_IOASID_STATE_TRACKING : 0),
		       info.state);
	compare_number(m, ioas, "num_devices", num_attached(m, ioas),
		       info.num_devices);
	compare_number(m, ioas, "num_accesses", 0, info.num_accesses);
	compare_number(m, ioas, "num_tables", ioas->num_tables,
		       info.num_tables);
	compare_number(m, ioas, "num_mappings", ioas->num_maps,
		       info.num_mappings);
	compare_number(m, ioas, "mapped_bytes", mapped_bytes(ioas, false),
		       info.mapped_bytes);
	compare_number(m, ioas, "pinned_bytes", mapped_bytes(ioas, true),
		       info.pinned_bytes);
	compare_number(m, ioas, "alignment", ioas->alignment, info.alignment);
	compare_number(m, ioas, "num_children", num_children(m, ioas),
		       info.num_children);
	compare_number(m, ioas, "num_shadows",
		       num_shadows(m, ioas, (struct range){ 0, ~0ULL }),
		       info.num_shadows);
	compare_number(m, ioas, "num_ranges", want.num, info.num_ranges);
	for (i = 0; i < want.num && i < info.num_ranges; i++) {
		compare_number(m, ioas, "first address", want.range[i].first,
			       ranges[i].first);
		compare_number(m, ioas, "last address", want.range[i].last,
			       ranges[i].last);
	}
}

/* ---- IOASIDs ---- */

struct ioas *random_ioas(struct model *m)
{
	unsigned int first = random_below(m, MAX_IOASIDS), i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[(first + i) % MAX_IOASIDS])
			return m->ioases[(first + i) % MAX_IOASIDS];
	return NULL;
}

/*
 * For an operation. NULL, which stands for one that is not there, is rare. More
 * comes of one that has devices.
 */
struct ioas *some_ioas(struct model *m)
{
	struct ioas *ioas = random_ioas(m);
	unsigned int tries;

	for (tries = 0; tries < 2 && ioas && !num_attached(m, ioas); tries++)
		if (one_in(m, 2))
			ioas = random_ioas(m);
	if (one_in(m, 100))
		ioas = NULL;
	m->subject.ioas = ioas;
	return ioas;
}

void about_iova(struct model *m, __u64 iova)
{
	m->subject.has_iova = true;
	m->subject.iova = iova;
}

static void about_device(struct model *m, struct device *dev, unsigned int slot)
{
	m->subject.dev = dev;
	m->subject.slot = slot;
}

__u32 id_of(const struct ioas *ioas)
{
	return ioas ? ioas->id : NO_ID;
}

static bool id_in_use(const struct model *m, __u32 id)
{
	unsigned int i;

	if (ioas_of_id(m, id))
		return true;
	for (i = 0; i < m->num_devices; i++)
		if (m->devices[i].dma.fd >= 0 &&
		    m->devices[i].dma.dev_id == id)
			return true;
	return false;
}

/* Deep trees are rare if nobody wants them. */
static const struct ioas *random_parent(struct model *m)
{
	const struct ioas *parent = random_ioas(m), *other;
	unsigned int tries;

	for (tries = 0; tries < 3; tries++) {
		other = random_ioas(m);
		if (one_in(m, 2) && depth_of(other) > depth_of(parent))
			parent = other;
	}
	return parent;
}

/* Ranges in ascending order; some devices cannot have all of them. */
static void choose_ranges(struct model *m, struct iommu_ioasid_alloc *cmd,
			  struct iommu_range *ranges)
{
	static const struct iommu_range some[] = {
		{ 0, 0x17ffff }, { 0x180001, 0x2ffffe }, { 0x400000, 0x5ffffff },
		{ 0x8000000, 0x80fffff }, { 0x40000000, 0x4fffffff },
		{ 0x100000000, ~0ULL },
	};
	unsigned int i;

	for (i = 0; i < lengthof(some) && cmd->num_ranges < MAX_EXACT; i++)
		if (one_in(m, 2))
			ranges[cmd->num_ranges++] = some[i];
	cmd->ranges = (uintptr_t)ranges;
}

static void spoil_ranges(struct model *m, struct iommu_ioasid_alloc *cmd,
			 struct iommu_range *ranges)
{
	if (!cmd->num_ranges)
		return;
	switch (random_below(m, 5)) {
	case 0:
		ranges[0].first = ranges[0].last + 1;
		break;
	case 1:
		ranges[cmd->num_ranges - 1].first = ranges[0].last + 1;
		break;
	case 2:
		ranges[cmd->num_ranges - 1].first = ranges[0].first;
		break;
	case 3:
		cmd->num_ranges = 1025;
		break;
	case 4:
		cmd->ranges = 0;
		break;
	}
}

static void choose_alloc(struct model *m, struct iommu_ioasid_alloc *cmd,
			 struct iommu_range *ranges)
{
	static const __u32 widths[] = { 20, 32, 39, 40, 48, 64, 11, 65 };

	memset(cmd, 0, sizeof(*cmd));
	cmd->size = sizeof(*cmd);
	cmd->type = IOMMU_IOASID_TYPE_KERNEL;
	if (random_ioas(m) && !one_in(m, 3))
		cmd->parent = random_parent(m)->id;
	else if (one_in(m, 2))
		cmd->type = IOMMU_IOASID_TYPE_PREREG;
	if (one_in(m, 4))
		cmd->addr_width = widths[random_below(m, lengthof(widths))];
	if (one_in(m, 4))
		cmd->snoop = random_below(m, IOMMU_SNOOP_OFF + 2);
	if (one_in(m, 8))
		cmd->page_size = PAGE << random_below(m, 4);
	if (one_in(m, 8))
		choose_ranges(m, cmd, ranges);
	if (cmd->type == IOMMU_IOASID_TYPE_KERNEL && one_in(m, 2))
		cmd->flags = IOMMU_IOASID_ALLOC_DIRTY;
}

static void spoil_alloc(struct model *m, struct iommu_ioasid_alloc *cmd,
			struct iommu_range *ranges)
{
	switch (random_below(m, 6)) {
	case 0:
		cmd->type = random_below(m, 4);
		break;
	case 1:
		cmd->parent = NO_ID;
		break;
	case 2:
		cmd->flags |= 1U << random_below(m, 32);
		break;
	case 3:
		cmd->page_size = random_below(m, 2) ? PAGE / 2 : 3 * PAGE;
		break;
	default:
		spoil_ranges(m, cmd, ranges);
	}
}

static bool has_room_for_ioas(const struct model *m)
{
	unsigned int i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (!m->ioases[i])
			return true;
	return false;
}

static void op_alloc(struct model *m)
{
	struct iommu_range ranges[MAX_EXACT];
	struct iommu_ioasid_alloc cmd;
	int want, rc;

	if (!has_room_for_ioas(m))
		return;
	choose_alloc(m, &cmd, ranges);
	if (one_in(m, 8))
		spoil_alloc(m, &cmd, ranges);
	want = alloc_error(m, &cmd);
	doing(m, "alloc type %u parent %u flags 0x%x width %u snoop %u ranges %u page size 0x%llx",
	      cmd.type, cmd.parent, cmd.flags, cmd.addr_width, cmd.snoop,
	      cmd.num_ranges, cmd.page_size);
	rc = iommu_call(m->iommu, IOMMU_IOASID_ALLOC, &cmd);
	if (!returned(m, want, rc) || rc)
		return;
	if (!cmd.ioasid || id_in_use(m, cmd.ioasid))
		mismatch(m, "%u is in use already", cmd.ioasid);
	else
		ioas_new(m, &cmd);
}

static void op_free(struct model *m)
{
	struct ioas *ioas;
	int rc;

	do
		ioas = some_ioas(m);
	while (free_error(m, ioas) && !one_in(m, 2));
	doing(m, "free %u", id_of(ioas));
	rc = ioasid_free(m->iommu, id_of(ioas));
	if (returned(m, free_error(m, ioas), rc) && !rc)
		ioas_delete(m, ioas);
}

/* ---- attachments ---- */

/* NULL if none is open */
static struct device *random_open_device(struct model *m)
{
	unsigned int first = random_below(m, m->num_devices), i;

	for (i = 0; i < m->num_devices; i++) {
		struct device *dev = &m->devices[(first + i) % m->num_devices];

		if (dev->dma.fd >= 0)
			return dev;
	}
	return NULL;
}

static unsigned int random_slot(struct model *m)
{
	return one_in(m, 2) ? 0 : random_below(m, NUM_SLOTS);
}

static void op_attach(struct model *m)
{
	struct device *dev;
	unsigned int slot;
	struct ioas *ioas;
	struct plan plan;
	int want, rc;

	do {
		dev = random_open_device(m);
		slot = random_slot(m);
		ioas = some_ioas(m);
		if (!dev)
			return;
		want = attach_error(m, dev, slot, ioas, &plan);
	} while (want && !one_in(m, 3));
	if (!want && !dev->group->slots[slot].ioas && one_in(m, 4))
		try_attach(m, dev, slot, ioas);
	if (!want && one_in(m, 8))
		want = arm_attach(m, dev, slot, ioas, &plan);
	doing(m, "attach %s pasid %u to %u%s", dev->name, slot_pasids[slot],
	      id_of(ioas), m->armed ? " failing" : "");
	rc = slot ? vfio_attach_pasid(dev->dma.fd, slot_pasids[slot],
				      id_of(ioas)) :
		    vfio_attach(dev->dma.fd, id_of(ioas));
	disarm(m);
	about_device(m, dev, slot);
	if (returned(m, want, rc) && !rc)
		attach_commit(m, dev, slot, ioas, &plan);
}

static void op_detach(struct model *m)
{
	struct device *dev;
	unsigned int slot;
	int rc;

	/* Mostly one that is attached */
	do {
		dev = random_open_device(m);
		slot = random_slot(m);
		if (!dev)
			return;
	} while (!(dev->group->slots[slot].members & dev->member) &&
		 !one_in(m, 4));
	doing(m, "detach %s pasid %u", dev->name, slot_pasids[slot]);
	rc = slot ? vfio_detach_pasid(dev->dma.fd, slot_pasids[slot]) :
		    vfio_detach(dev->dma.fd);
	about_device(m, dev, slot);
	if (returned(m, 0, rc))
		detach_commit(m, dev, slot);
}

static void op_open(struct model *m)
{
	struct device *dev = &m->devices[random_below(m, m->num_devices)];
	int rc;

	if (dev->dma.fd >= 0)
		return;
	doing(m, "open %s", dev->name);
	rc = device_open(m, dev);
	about_device(m, dev, 0);
	if (returned(m, 0, rc))
		device_compare(m, dev);
}

static void op_close(struct model *m)
{
	struct device *dev = &m->devices[random_below(m, m->num_devices)];
	unsigned int i;

	if (one_in(m, 8)) {
		doing(m, "close all devices");
		for (i = 0; i < m->num_devices; i++)
			device_close(m, &m->devices[i]);
	} else if (dev->dma.fd >= 0) {
		doing(m, "close %s", dev->name);
		device_close(m, dev);
	}
}

/* ---- what devices and the process do to memory ---- */

static void op_dma(struct model *m)
{
	static const __u32 ops[] = {
		IOASID_TEST_READ, IOASID_TEST_WRITE, IOASID_TEST_COPY,
		IOASID_TEST_FILL,
	};
	struct ioasid_test_command command = {};
	struct device *dev;
	unsigned int slot;
	__u64 i;
	int rc;

	device_random(m, &dev, &slot);
	if (!dev)
		return;
	command.op = ops[random_below(m, lengthof(ops))];
	command.iova = device_random_iova(m, dev, slot);
	command.length = 1 + (one_in(m, 2) ? random_below(m, MAX_DMA) :
					     random_below(m, 64));
	command.step = one_in(m, 2) ? 0 : 1ULL << random_below(m, 13);
	/* Not more than so many accesses */
	if (command.step && command.length / command.step > 64)
		command.length = command.step * 64;
	command.pattern = random_number(m);
	command.flags = one_in(m, 3) ? IOASID_TEST_KEEP_GOING : 0;
	command.other = command.op == IOASID_TEST_COPY ?
			device_random_iova(m, dev, slot) :
			random_below(m, MAX_DMA);
	if (command.iova + command.length < command.iova)
		command.iova -= command.length;
	if (command.other + command.length < command.other)
		command.other -= command.length;
	doing(m, "%s pasid %u does %u at 0x%llx length 0x%llx other 0x%llx step %llu%s",
	      dev->name, slot_pasids[slot], command.op, command.iova,
	      command.length, command.other, command.step,
	      command.flags ? " to the end" : "");
	if (command.op == IOASID_TEST_WRITE) {
		char *data = dev->buffer + command.other;

		for (i = 0; i < command.length; i++)
			data[i] = random_number(m);
		rc = test_device_buffer_write(&dev->dma, command.other, data,
					      command.length);
		if (!returned(m, 0, rc))
			return;
	}
	device_dma(m, dev, slot, &command);
}

static struct source *random_writable(struct model *m, bool only_small)
{
	struct source *src;

	do
		src = &m->sources[random_below(m, SOURCE_READ_ONLY)];
	while (!src->num_pages || (only_small && src->unit > 1));
	return src;
}

static void op_write(struct model *m)
{
	struct source *src = random_writable(m, false);
	size_t length = 1 + random_below(m, 256);
	size_t offset = random_below(m, src->num_pages * PAGE - length);

	doing(m, "write %s at 0x%zx length 0x%zx", src->name, offset, length);
	memory_write(m, src, offset, length);
}

static void op_renew(struct model *m)
{
	struct source *src = random_writable(m, true);
	size_t num = 1 + random_below(m, 4);
	size_t page = random_below(m, src->num_pages - num);

	doing(m, "renew %zu pages of %s from %zu on", num, src->name, page);
	returned(m, 0, memory_renew(m, src, page, num));
}

/* ---- after each step ---- */

/* @all: Else the one that the operation was about, and another in turn */
void operations_check(struct model *m, bool all)
{
	unsigned int i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[i] && (all || m->ioases[i] == m->subject.ioas ||
				     i == m->step % MAX_IOASIDS))
			ioas_compare(m, m->ioases[i]);
}

/* ---- the table ---- */

struct operation operations[] = {
	{ .name = "alloc", .weight = 10, .run = op_alloc },
	{ .name = "free", .weight = 4, .run = op_free },
	{ .name = "map", .weight = 36, .run = op_map },
	{ .name = "map wrong", .weight = 6, .run = op_map_wrong },
	{ .name = "unmap", .weight = 20, .run = op_unmap },
	{ .name = "unmap wrong", .weight = 4, .run = op_unmap_wrong },
	{ .name = "unmap all", .weight = 2, .run = op_unmap_all },
	{ .name = "batch", .weight = 16, .run = op_batch },
	{ .name = "dirty start", .weight = 8, .run = op_dirty_start },
	{ .name = "dirty stop", .weight = 2, .run = op_dirty_stop },
	{ .name = "dirty get", .weight = 24, .run = op_dirty_get },
	{ .name = "attach", .weight = 20, .run = op_attach },
	{ .name = "detach", .weight = 8, .run = op_detach },
	{ .name = "open", .weight = 8, .run = op_open },
	{ .name = "close", .weight = 2, .run = op_close },
	{ .name = "dma", .weight = 40, .run = op_dma },
	{ .name = "events", .weight = 1, .run = op_events },
	{ .name = "write", .weight = 6, .run = op_write },
	{ .name = "renew", .weight = 6, .run = op_renew,
	  .changes_memory = true },
};

const size_t num_operations = lengthof(operations);
