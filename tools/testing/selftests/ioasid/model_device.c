// SPDX-License-Identifier: GPL-2.0-only
/*
 * The IOMMUs of a run, the devices behind them, and what their DMA must do: it is
 * done to the copies of memory that the model has, then by the device, and both
 * must have come to the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

/* Devices translate in pages of this size, whatever the CPU's is. */
#define DEVICE_PAGE	4096ULL
#define BUFFER_SIZE	(2 * MAX_DMA)
#define SW_MSI_FIRST	0x8000000ULL
#define SW_MSI_LAST	0x80fffffULL
#define MSI_RANGE	{ MSI_FIRST, MSI_LAST }

/* ---- the machine ---- */

/* What differs between IOMMUs that the subsystem has to care about */
static struct instance instances[] = {
	{
		.name = "wide",
		.settings = "pasid_bits=8;shares_tables=1;"
			    "reserved=40000000 4000ffff reserved",
		.width = 48,
		.aperture = { 0, (1ULL << 48) - 1 },
		.max_pasid = 255,
		.shares_tables = true,
		.reserved = { MSI_RANGE, { 0x40000000, 0x4000ffff } },
		.num_reserved = 2,
	}, {
		.name = "twin",
		.settings = "pasid_bits=8;shares_tables=1;hitless=0",
		.width = 48,
		.aperture = { 0, (1ULL << 48) - 1 },
		.max_pasid = 255,
		.shares_tables = true,
		.reserved = { MSI_RANGE },
		.num_reserved = 1,
	}, {
		.name = "narrow",
		.settings = "width=39;aperture=10000 7fffffefff;pasid_bits=0;"
			    "page_sizes=0x40201000;hitless=0;msi=mapped;"
			    "reserved=50000000 50000fff direct-relaxable",
		.width = 39,
		.aperture = { 0x10000, 0x7fffffefff },
		.translates_msi = true,
		.reserved = { { SW_MSI_FIRST, SW_MSI_LAST } },
		.num_reserved = 1,
	}, {
		.name = "snoop",
		.settings = "snoop_control=1;pasid_bits=7;page_sizes=0x1000",
		.width = 48,
		.aperture = { 0, (1ULL << 48) - 1 },
		.max_pasid = 127,
		.snoop_control = true,
		.only_small = true,
		.reserved = { MSI_RANGE },
		.num_reserved = 1,
	}, {
		.name = "late",
		.settings = "attach_first=1;pasid_bits=0",
		.width = 48,
		.aperture = { 0, (1ULL << 48) - 1 },
		.attach_first = true,
		.reserved = { MSI_RANGE },
		.num_reserved = 1,
	}, {
		.name = "blind",
		.settings = "dirty=0;pasid_bits=0",
		.width = 48,
		.aperture = { 0, (1ULL << 48) - 1 },
		.no_dirty = true,
		.reserved = { MSI_RANGE },
		.num_reserved = 1,
	},
};

/* Groups by the IOMMU that they are behind */
static struct group groups[] = {
	{ .on = &instances[0], .num_members = 1 },
	{ .on = &instances[0], .num_members = 2 },
	{ .on = &instances[1], .num_members = 1 },
	{ .on = &instances[2], .num_members = 2 },
	{ .on = &instances[3], .num_members = 1 },
	{ .on = &instances[4], .num_members = 1 },
	{ .on = &instances[5], .num_members = 1 },
};

static struct device devices[] = {
	{ .name = "alone", .group = &groups[0], .member = 1 },
	{ .name = "left", .group = &groups[1], .member = 1 },
	{ .name = "right", .group = &groups[1], .member = 2 },
	{ .name = "twin", .group = &groups[2], .member = 1 },
	{ .name = "upper", .group = &groups[3], .member = 1 },
	{ .name = "lower", .group = &groups[3], .member = 2 },
	{ .name = "snoop", .group = &groups[4], .member = 1 },
	{ .name = "late", .group = &groups[5], .member = 1 },
	{ .name = "blind", .group = &groups[6], .member = 1 },
};

static int make_device(struct device *dev)
{
	char settings[32];

	dev->buffer = calloc(1, BUFFER_SIZE);
	snprintf(settings, sizeof(settings), "group=g%zu",
		 (size_t)(dev->group - groups));
	return test_device_make(dev->group->on->name, dev->name, settings,
				&dev->dma);
}

int devices_setup(struct model *m)
{
	size_t i;
	int rc;

	m->instances = instances;
	m->num_instances = lengthof(instances);
	m->groups = groups;
	m->num_groups = lengthof(groups);
	m->devices = devices;
	m->num_devices = lengthof(devices);
	for (i = 0; i < lengthof(devices); i++)
		devices[i].dma.fd = -1;
	for (i = 0; i < lengthof(instances); i++) {
		rc = test_iommu_make(instances[i].name, instances[i].settings);
		if (rc)
			return rc;
		if (m->stale)
			rc = test_iommu_set(instances[i].name, "lose_flushes",
					    "1000000000");
		if (rc)
			return rc;
	}
	for (i = 0; i < lengthof(devices); i++) {
		rc = make_device(&devices[i]);
		if (rc)
			return rc;
	}
	return 0;
}

void devices_teardown(struct model *m)
{
	size_t i;

	for (i = 0; i < m->num_devices; i++) {
		dev_close(&devices[i].dma);
		free(devices[i].buffer);
	}
	for (i = 0; i < lengthof(groups); i++)
		memset(groups[i].slots, 0, sizeof(groups[i].slots));
}

/* ---- open and close ---- */

int device_open(struct model *m, struct device *dev)
{
	int rc = dev_open_bind(&dev->dma, m->iommu);

	memset(dev->buffer, 0, BUFFER_SIZE);
	return rc;
}

void device_close(struct model *m, struct device *dev)
{
	unsigned int slot;

	dev_close(&dev->dma);
	for (slot = 0; slot < NUM_SLOTS; slot++)
		detach_commit(m, dev, slot);
}

/* What the kernel tells about a device */
void device_compare(struct model *m, struct device *dev)
{
	const struct instance *on = dev->group->on;
	struct ranges want;
	struct iommu_range ranges[MAX_RANGES] = {};
	struct iommu_device_info info = {
		.num_ranges = MAX_RANGES,
		.ranges = (uintptr_t)ranges,
	};
	unsigned int i;
	__u64 caps;
	int rc;

	rc = iommu_device_info(m->iommu, dev->dma.dev_id, &info);
	if (rc) {
		mismatch(m, "DEVICE_GET_INFO of %s: %d", dev->name, rc);
		return;
	}
	caps = IOMMU_DEVICE_CAP_VIABLE | IOMMU_DEVICE_CAP_ISOLATED_MSI;
	if (!on->no_dirty)
		caps |= IOMMU_DEVICE_CAP_DIRTY;
	if (on->snoop_control)
		caps |= IOMMU_DEVICE_CAP_ENFORCE_SNOOP;
	if ((info.caps | IOMMU_DEVICE_CAP_ISOLATED_MSI) != caps)
		mismatch(m, "%s can do 0x%llx, not 0x%llx", dev->name,
			 info.caps, caps);
	if (info.num_members != dev->group->num_members)
		mismatch(m, "%s has %u in its group, not %u", dev->name,
			 info.num_members, dev->group->num_members);
	if (on->max_pasid != (1U << info.pasid_bits) - 1)
		mismatch(m, "%s has %u bits of PASIDs", dev->name,
			 info.pasid_bits);

	device_ranges(on, &want);
	if (info.num_ranges != want.num)
		mismatch(m, "%s has %u ranges, not %u", dev->name,
			 info.num_ranges, want.num);
	for (i = 0; i < want.num && i < info.num_ranges; i++)
		if (ranges[i].first != want.range[i].first ||
		    ranges[i].last != want.range[i].last)
			mismatch(m, "range %u of %s is 0x%llx-0x%llx, not 0x%llx-0x%llx",
				 i, dev->name, ranges[i].first, ranges[i].last,
				 want.range[i].first, want.range[i].last);
}

/* ---- DMA ---- */

/* What a command comes to */
struct result {
	struct ioasid_test_status status;
	struct page *touched[16];
	unsigned int num_touched;
};

static enum ioasid_test_fault reach(const struct device *dev, unsigned int slot,
				    __u64 iova, bool write, struct page **page)
{
	const struct instance *on = dev->group->on;
	const struct ioas *ioas = dev->group->slots[slot].ioas;
	const struct mapping *map;

	if (!on->translates_msi && iova >= MSI_FIRST && iova <= MSI_LAST)
		return IOASID_TEST_FAULT_INTERRUPT;
	if (!ioas)
		return IOASID_TEST_FAULT_BLOCKED;
	if (iova >> on->width)
		return IOASID_TEST_FAULT_ADDRESS;
	map = mapping_at(ioas, iova);
	if (!map)
		return IOASID_TEST_FAULT_NOT_PRESENT;
	if (!(map->prot & (write ? WRITE_ONLY : READ_ONLY)))
		return IOASID_TEST_FAULT_PERMISSION;
	*page = page_at(ioas, iova);
	return IOASID_TEST_FAULT_NONE;
}

static void touch(struct result *result, struct page *page)
{
	unsigned int i;

	for (i = 0; i < result->num_touched; i++)
		if (result->touched[i] == page)
			return;
	if (i < lengthof(result->touched))
		result->touched[result->num_touched++] = page;
}

static char pattern_byte(__u64 pattern, __u64 iova)
{
	return pattern >> (iova % 8 * 8);
}

static bool has_bytes(const char *data, __u64 iova, __u64 length, __u64 pattern)
{
	__u64 i;

	for (i = 0; i < length; i++)
		if (data[i] != pattern_byte(pattern, iova + i))
			return false;
	return true;
}

static void compare_bytes(const struct ioasid_test_command *command,
			  struct ioasid_test_status *status, const char *data,
			  __u64 iova, __u64 length)
{
	if (has_bytes(data, iova, length, command->pattern))
		status->matches++;
	else if (has_bytes(data, iova, length, command->pattern2))
		status->matches2++;
	else if (!status->mismatches++)
		status->mismatch_iova = iova;
}

static bool writes(const struct ioasid_test_command *command)
{
	return command->op == IOASID_TEST_WRITE ||
	       command->op == IOASID_TEST_FILL;
}

/* Return: whether it was done. */
static bool do_access(const struct device *dev, unsigned int slot,
		      const struct ioasid_test_command *command, __u64 pos,
		      __u64 length, struct result *result)
{
	struct ioasid_test_status *status = &result->status;
	__u64 iova = command->iova + pos, other = command->other + pos, i;
	enum ioasid_test_fault fault;
	struct page *page, *target;
	__u64 at = iova;
	char *data;

	fault = reach(dev, slot, iova, writes(command), &page);
	if (!fault && command->op == IOASID_TEST_COPY) {
		at = other;
		fault = reach(dev, slot, other, true, &target);
	}
	if (fault) {
		status->fault = fault;
		status->fault_iova = at;
		status->faults++;
		return false;
	}
	if (writes(command) || command->op == IOASID_TEST_COPY)
		mark_written(&dev->group->slots[slot], at);
	data = page->data + iova % PAGE;
	switch (command->op) {
	case IOASID_TEST_READ:
		memcpy(dev->buffer + other, data, length);
		break;
	case IOASID_TEST_WRITE:
		memcpy(data, dev->buffer + other, length);
		break;
	case IOASID_TEST_COPY:
		memmove(target->data + other % PAGE, data, length);
		touch(result, target);
		break;
	case IOASID_TEST_FILL:
		for (i = 0; i < length; i++)
			data[i] = pattern_byte(command->pattern, iova + i);
		break;
	case IOASID_TEST_COMPARE:
		compare_bytes(command, status, data, iova, length);
		break;
	}
	touch(result, page);
	return true;
}

static __u64 access_length(const struct ioasid_test_command *command, __u64 pos)
{
	__u64 step = command->step ?: DEVICE_PAGE;
	__u64 length = step - (command->iova + pos) % step;
	__u64 room = DEVICE_PAGE - (command->other + pos) % DEVICE_PAGE;

	if (length > command->length - pos)
		length = command->length - pos;
	if (command->op == IOASID_TEST_COPY && length > room)
		length = room;
	return length;
}

static void predict(const struct device *dev, unsigned int slot,
		    const struct ioasid_test_command *command,
		    struct result *result)
{
	__u64 pos = 0, length;

	memset(result, 0, sizeof(*result));
	while (pos < command->length) {
		length = access_length(command, pos);
		if (do_access(dev, slot, command, pos, length, result))
			result->status.bytes += length;
		else if (!(command->flags & IOASID_TEST_KEEP_GOING))
			return;
		pos += length;
	}
	result->status.rounds = 1;
}

static void describe(const struct ioasid_test_status *status, char *text,
		     size_t size)
{
	snprintf(text, size,
		 "%llu bytes, %llu faults, last %u at 0x%llx, equal %llu/%llu, else %llu at 0x%llx",
		 status->bytes, status->faults, status->fault,
		 status->fault_iova, status->matches, status->matches2,
		 status->mismatches, status->mismatch_iova);
}

static void compare_status(struct model *m,
			   const struct ioasid_test_status *want,
			   const struct ioasid_test_status *seen)
{
	char wanted[140], found[140];

	if (!memcmp(want, seen, sizeof(*want)))
		return;
	describe(want, wanted, sizeof(wanted));
	describe(seen, found, sizeof(found));
	mismatch(m, "DMA: %s; not %s", found, wanted);
}

static void compare_buffer(struct model *m, struct device *dev)
{
	char *seen = malloc(BUFFER_SIZE);
	size_t i;
	int rc;

	rc = test_device_buffer_read(&dev->dma, 0, seen, BUFFER_SIZE);
	if (rc)
		mismatch(m, "buffer of %s: %d", dev->name, rc);
	for (i = 0; !rc && i < BUFFER_SIZE; i++) {
		if (seen[i] == dev->buffer[i])
			continue;
		mismatch(m, "%s has read 0x%02x to 0x%zx, not 0x%02x",
			 dev->name, (unsigned char)seen[i], i,
			 (unsigned char)dev->buffer[i]);
		break;
	}
	free(seen);
}

/* @command: Complete but for flags and PASID. Its data is in the buffer. */
void device_dma(struct model *m, struct device *dev, unsigned int slot,
		struct ioasid_test_command *command)
{
	struct ioasid_test_status status;
	struct result want;
	unsigned int i;
	int rc;

	if (slot) {
		command->flags |= IOASID_TEST_PASID;
		command->pasid = slot_pasids[slot];
	}
	predict(dev, slot, command, &want);
	rc = test_device_run(&dev->dma, 0, command);
	if (!rc)
		rc = test_device_wait(&dev->dma, 0, &status);
	if (rc) {
		mismatch(m, "DMA of %s: %d", dev->name, rc);
		return;
	}
	m->accesses++;
	m->nested += want.num_touched && dev->group->slots[slot].ioas->parent;
	compare_status(m, &want.status, &status);
	if (command->op == IOASID_TEST_READ)
		compare_buffer(m, dev);
	for (i = 0; i < want.num_touched; i++)
		page_compare(m, want.touched[i], "after DMA");
}

/* ---- choices ---- */

/* A device that is open and one of its slots, preferably attached; or NULL */
void device_random(struct model *m, struct device **dev, unsigned int *slot)
{
	unsigned int tries;

	*dev = NULL;
	for (tries = 0; tries < 8; tries++) {
		struct device *some =
			&m->devices[random_below(m, m->num_devices)];

		if (some->dma.fd < 0)
			continue;
		*dev = some;
		*slot = one_in(m, 2) ? 0 : random_below(m, NUM_SLOTS);
		if (some->group->slots[*slot].ioas)
			return;
	}
}

/* An address to try: most are in a mapping, or at the edge of one. */
__u64 device_random_iova(struct model *m, const struct device *dev,
			 unsigned int slot)
{
	static const __u64 places[] = {
		0, 0xffff, 0x10000, SW_MSI_FIRST, 0x40000000, MSI_FIRST - 1,
		MSI_FIRST, MSI_LAST, MSI_LAST + 1, 1ULL << 32,
		(1ULL << 39) - 1, 1ULL << 39, (1ULL << 48) - 1, 1ULL << 48,
		~0ULL,
	};
	const struct ioas *ioas = dev->group->slots[slot].ioas;
	const struct mapping *map;

	if (!ioas || !ioas->num_maps || one_in(m, 16))
		return places[random_below(m, lengthof(places))];
	map = ioas->maps[random_below(m, ioas->num_maps)];
	switch (random_below(m, 8)) {
	case 0:
		return map->range.first;
	case 1:
		return map->range.last;
	case 2:
		return map->range.first - 1;
	case 3:
		return map->range.last + 1;
	default:
		return map->range.first +
		       random_below(m, mapping_length(map));
	}
}

/*
 * One byte or eight of what a device sees somewhere, or writes there. @about:
 * what the operation was about.
 */
void device_sample(struct model *m, const struct subject *about)
{
	struct ioasid_test_command command = { .op = IOASID_TEST_COMPARE };
	struct page *page = NULL;
	struct device *dev;
	unsigned int slot;

	device_random(m, &dev, &slot);
	if (about->dev) {
		dev = about->dev;
		slot = about->slot;
	}
	if (!dev || dev->dma.fd < 0)
		return;
	command.iova = about->has_iova ? about->iova :
					 device_random_iova(m, dev, slot);
	command.length = one_in(m, 2) ? 1 : 8;
	command.iova &= ~(command.length - 1);
	if (one_in(m, 4)) {
		command.op = IOASID_TEST_FILL;
		command.pattern = random_number(m);
	} else if (!reach(dev, slot, command.iova, false, &page)) {
		memcpy(&command.pattern,
		       page->data + (command.iova & ~7ULL) % PAGE, 8);
		command.pattern2 = ~command.pattern;
	}
	device_dma(m, dev, slot, &command);
}
