// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations of a run, and what the kernel tells after each of them. To add
 * one: write a function that chooses, predicts, says what it is doing(), makes
 * the call, and changes the model if it has returned() 0; and a row in the table
 * at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model.h"

/* Never the number of an object */
#define NO_ID	0x7ffffffe

/* ---- failures of the driver ---- */

/*
 * Makes the driver of an IOMMU fail, where the call that is next is sure to ask
 * it @calls times at least. Return: what the call will return.
 */
static int arm(struct model *m, const struct instance *on, const char *op,
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

/* After the call: it must have asked. */
static void disarm(struct model *m)
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
static int arm_attach(struct model *m, const struct device *dev,
		      unsigned int slot, const struct ioas *ioas,
		      const struct plan *plan)
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

/* ---- what the kernel tells ---- */

static void compare_number(struct model *m, const struct ioas *ioas,
			   const char *what, __u64 want, __u64 seen)
{
	if (want != seen)
		mismatch(m, "%s of %u is 0x%llx, not 0x%llx", what, ioas->id,
			 seen, want);
}

static void ioas_compare(struct model *m, const struct ioas *ioas)
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
	compare_number(m, ioas, "type", IOMMU_IOASID_TYPE_KERNEL, info.type);
	compare_number(m, ioas, "parent", 0, info.parent);
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
	compare_number(m, ioas, "alignment", PAGE, info.alignment);
	compare_number(m, ioas, "num_ranges", want.num, info.num_ranges);
	for (i = 0; i < want.num && i < info.num_ranges; i++) {
		compare_number(m, ioas, "first address", want.range[i].first,
			       ranges[i].first);
		compare_number(m, ioas, "last address", want.range[i].last,
			       ranges[i].last);
	}
}

/* ---- failures of allocations ---- */

/* The @nth thing in this thread's calls that may fail does, or nothing if 0. */
static bool fail_nth(struct model *m, unsigned int nth)
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

static void try_map(struct model *m, const struct ioas *ioas,
		    const struct iommu_map_dma *cmd)
{
	struct iommu_map_dma copy = *cmd;
	int rc;

	/* What is chosen next depends on what was chosen before. */
	if (cmd->flags & IOMMU_MAP_DMA_ALLOC_IOVA ||
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
static void try_attach(struct model *m, const struct device *dev,
		       unsigned int slot, const struct ioas *ioas)
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
}

/* Without this kind of fault injection nothing is tried. */
void operations_setup(struct model *m)
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

void operations_teardown(struct model *m)
{
	if (m->fail_nth >= 0)
		close(m->fail_nth);
}

/* ---- IOASIDs ---- */

static struct ioas *random_ioas(struct model *m)
{
	unsigned int first = random_below(m, MAX_IOASIDS), i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[(first + i) % MAX_IOASIDS])
			return m->ioases[(first + i) % MAX_IOASIDS];
	return NULL;
}

/* For an operation. NULL, which stands for one that is not there, is rare. */
static struct ioas *some_ioas(struct model *m)
{
	struct ioas *ioas = one_in(m, 100) ? NULL : random_ioas(m);

	m->subject.ioas = ioas;
	return ioas;
}

static void about_iova(struct model *m, __u64 iova)
{
	m->subject.has_iova = true;
	m->subject.iova = iova;
}

static void about_device(struct model *m, struct device *dev, unsigned int slot)
{
	m->subject.dev = dev;
	m->subject.slot = slot;
}

static __u32 id_of(const struct ioas *ioas)
{
	return ioas ? ioas->id : NO_ID;
}

static bool id_in_use(const struct model *m, __u32 id)
{
	unsigned int i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[i] && m->ioases[i]->id == id)
			return true;
	for (i = 0; i < m->num_devices; i++)
		if (m->devices[i].dma.fd >= 0 &&
		    m->devices[i].dma.dev_id == id)
			return true;
	return false;
}

static int alloc_error(const struct iommu_ioasid_alloc *cmd)
{
	if (cmd->flags & ~IOMMU_IOASID_ALLOC_DIRTY)
		return -EOPNOTSUPP;
	if (cmd->type != IOMMU_IOASID_TYPE_KERNEL || cmd->parent)
		return -EOPNOTSUPP;
	if ((cmd->addr_width && cmd->addr_width < 12) ||
	    cmd->addr_width > 64 || cmd->snoop > IOMMU_SNOOP_OFF)
		return -EINVAL;
	return 0;
}

static void op_alloc(struct model *m)
{
	static const __u32 widths[] = { 20, 32, 39, 40, 48, 64, 11, 65 };
	struct iommu_ioasid_alloc cmd = {
		.size = sizeof(cmd),
		.type = IOMMU_IOASID_TYPE_KERNEL,
	};
	unsigned int i;
	int want, rc;

	for (i = 0; i < MAX_IOASIDS && m->ioases[i]; i++)
		;
	if (i == MAX_IOASIDS)
		return;
	if (one_in(m, 4))
		cmd.addr_width = widths[random_below(m, lengthof(widths))];
	if (one_in(m, 4))
		cmd.snoop = random_below(m, IOMMU_SNOOP_OFF + 2);
	if (one_in(m, 30))
		cmd.type = random_below(m, 3);
	if (one_in(m, 30))
		cmd.parent = id_of(random_ioas(m));
	if (one_in(m, 2))
		cmd.flags = IOMMU_IOASID_ALLOC_DIRTY;
	if (one_in(m, 30))
		cmd.flags |= 1U << 31;
	want = alloc_error(&cmd);
	doing(m, "alloc type %u parent %u flags 0x%x width %u snoop %u",
	      cmd.type, cmd.parent, cmd.flags, cmd.addr_width, cmd.snoop);
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
	struct ioas *ioas = some_ioas(m);
	int want = 0, rc;

	if (!ioas)
		want = -ENOENT;
	else if (num_attached(m, ioas))
		want = -EBUSY;
	doing(m, "free %u", id_of(ioas));
	rc = ioasid_free(m->iommu, id_of(ioas));
	if (returned(m, want, rc) && !rc)
		ioas_delete(m, ioas);
}

/* ---- MAP ---- */

static __u64 random_length(struct model *m)
{
	switch (random_below(m, 20)) {
	case 0:
		return (1 + random_below(m, 600)) * PAGE;
	case 1:
		return HUGE_SIZE;
	case 2 ... 4:
		return (1 + random_below(m, 64)) * PAGE;
	case 5 ... 10:
		return (1 + random_below(m, 8)) * PAGE;
	default:
		return PAGE;
	}
}

/* Few places, so that mappings touch each other and what is reserved. */
static __u64 random_iova(struct model *m, const struct ioas *ioas, __u64 length)
{
	static const __u64 edges[] = {
		0x10000, 0x8000000, 0x8100000, 0x40000000, 0x40010000,
		MSI_FIRST, MSI_LAST + 1, 1ULL << 32, (1ULL << 39) - 0x1000,
		1ULL << 39, 1ULL << 48, 0,
	};
	const struct mapping *map;
	__u64 edge;

	switch (random_below(m, 40)) {
	case 0:
		edge = edges[random_below(m, lengthof(edges))];
		/* Up to it, across it, or from it on */
		return edge - random_below(m, 3) * length / 2 / PAGE * PAGE;
	case 1 ... 10:
		if (!ioas || !ioas->num_maps)
			break;
		map = ioas->maps[random_below(m, ioas->num_maps)];
		if (one_in(m, 2))
			return map->range.last + 1;
		if (map->range.first >= length)
			return map->range.first - length;
		break;
	case 11 ... 20:
		return (1 + random_below(m, 16)) * HUGE_SIZE;
	}
	return 0x100000 + random_below(m, 512) * PAGE;
}

/* A source and a place in it that has room for @cmd->length */
static void choose_source(struct model *m, struct iommu_map_dma *cmd)
{
	struct source *src = &m->sources[random_below(m, SOURCE_READ_ONLY)];
	__u64 page;

	if (one_in(m, 40))
		src = &m->sources[SOURCE_READ_ONLY];
	if (!src->num_pages)
		src = &m->sources[SOURCE_SMALL];
	if (cmd->length > src->num_pages * PAGE)
		cmd->length = PAGE;
	page = random_below(m, src->num_pages - cmd->length / PAGE + 1);
	/* Often where a large page begins, and may be used by the IOMMU */
	if (cmd->length == HUGE_SIZE && one_in(m, 2))
		page = page * PAGE / HUGE_SIZE * (HUGE_SIZE / PAGE);
	cmd->src = page * PAGE;
	if (src->fd >= 0 && one_in(m, 2)) {
		cmd->flags |= IOMMU_MAP_DMA_FILE;
		cmd->fd = src->fd;
	} else {
		cmd->src += (uintptr_t)src->mem;
	}
}

static void choose_map(struct model *m, const struct ioas *ioas,
		       struct iommu_map_dma *cmd)
{
	static const __u32 prots[] = {
		READ_WRITE, READ_WRITE, READ_WRITE, READ_ONLY, WRITE_ONLY,
	};

	memset(cmd, 0, sizeof(*cmd));
	cmd->size = sizeof(*cmd);
	cmd->ioasid = id_of(ioas);
	cmd->length = random_length(m);
	cmd->flags = prots[random_below(m, lengthof(prots))];
	choose_source(m, cmd);
	if (one_in(m, 6))
		cmd->flags |= IOMMU_MAP_DMA_ALLOC_IOVA;
	else
		cmd->iova = random_iova(m, ioas, cmd->length);
}

/* Makes something wrong with it. */
static void spoil_map(struct model *m, struct iommu_map_dma *cmd)
{
	const struct source *memfd = &m->sources[SOURCE_MEMFD];

	switch (random_below(m, 16)) {
	case 0:
		cmd->length = 0;
		return;
	case 1:
		cmd->iova = -PAGE;
		cmd->length = 2 * PAGE;
		return;
	case 2:
		cmd->src = -PAGE;
		cmd->length = 2 * PAGE;
		return;
	case 3:
		cmd->flags &= ~READ_WRITE;
		return;
	case 4:
		cmd->flags &= ~IOMMU_MAP_DMA_FILE;
		cmd->fd = -1;
		return;
	case 5:
		cmd->flags |= IOMMU_MAP_DMA_ALLOC_IOVA;
		cmd->iova = PAGE;
		return;
	case 6:
		cmd->iova += 1 + random_below(m, PAGE - 1);
		return;
	case 7:
		cmd->src += 1 + random_below(m, PAGE - 1);
		return;
	case 8:
		cmd->length += 1 + random_below(m, PAGE - 1);
		return;
	case 9:
		cmd->flags |= 1U << (4 + random_below(m, 28));
		return;
	case 10:
		cmd->src = (uintptr_t)m->sources[SOURCE_NONE].mem;
		cmd->length = PAGE;
		cmd->flags &= ~IOMMU_MAP_DMA_FILE;
		cmd->fd = 0;
		return;
	}
	/* The rest is about files. */
	cmd->flags |= IOMMU_MAP_DMA_FILE | IOMMU_MAP_DMA_WRITE;
	cmd->src = 0;
	cmd->length = PAGE;
	switch (random_below(m, 5)) {
	case 0:
		cmd->fd = 100000;
		break;
	case 1:
		cmd->fd = m->other_fd;
		break;
	case 2:
		cmd->fd = m->read_only_fd;
		break;
	case 3:
		cmd->fd = m->sealed_fd;
		break;
	case 4:
		cmd->fd = memfd->fd;
		cmd->src = memfd->num_pages * PAGE;
		break;
	}
}

static int arm_map(struct model *m, const struct ioas *ioas)
{
	const struct table *table;

	if (!ioas->num_tables)
		return 0;
	table = &ioas->tables[random_below(m, ioas->num_tables)];
	return arm(m, table->owner, "map", 1);
}

static void do_map(struct model *m, struct ioas *ioas,
		   struct iommu_map_dma *cmd)
{
	int want = map_error(m, ioas, cmd), rc;

	if (!want && one_in(m, 10))
		try_map(m, ioas, cmd);
	if (!want && one_in(m, 20))
		want = arm_map(m, ioas);
	doing(m, "map %u flags 0x%x fd %d src 0x%llx iova 0x%llx length 0x%llx%s%s",
	      cmd->ioasid, cmd->flags, cmd->fd, cmd->src, cmd->iova,
	      cmd->length, m->armed ? " failing in " : "",
	      m->armed ? m->armed->name : "");
	rc = iommu_call(m->iommu, IOMMU_MAP_DMA, cmd);
	disarm(m);
	about_iova(m, cmd->iova);
	if (!returned(m, want, rc) || rc)
		return;
	if (map_commit(m, ioas, cmd))
		mismatch(m, "0x%llx is a bad choice of the kernel", cmd->iova);
}

static void op_map(struct model *m)
{
	struct ioas *ioas = some_ioas(m);
	struct iommu_map_dma cmd;

	choose_map(m, ioas, &cmd);
	do_map(m, ioas, &cmd);
}

static void op_map_wrong(struct model *m)
{
	struct ioas *ioas = some_ioas(m);
	struct iommu_map_dma cmd;

	choose_map(m, ioas, &cmd);
	spoil_map(m, &cmd);
	do_map(m, ioas, &cmd);
}

/* ---- what was written ---- */

/* More than the kernel holds of a bitmap at a time, with pages of 4 KiB */
#define MAX_BITS	65536

/* The last word is not for the kernel. */
static __u64 bitmap[MAX_BITS / 64 + 1];

static bool bit_of(const __u64 *bits, __u64 n)
{
	return bits[n / 64] >> (n % 64) & 1;
}

static void set_bit_of(__u64 *bits, __u64 n)
{
	bits[n / 64] |= 1ULL << (n % 64);
}

/*
 * Holds the bitmap against what must and what may be in it. @vague: a driver has
 * failed, so all that devices may write can have been written.
 */
static void bitmap_compare(struct model *m, const struct ioas *ioas,
			   struct range range, __u64 size, bool vague)
{
	static __u64 must[lengthof(bitmap)], may[lengthof(bitmap)];
	__u64 n, iova, num = (range.last - range.first) / size + 1;
	unsigned int i;

	memset(must, 0, sizeof(must));
	memset(may, 0, sizeof(may));
	for (i = 0; i < ioas->num_maps; i++) {
		const struct mapping *map = ioas->maps[i];

		for (n = 0; n < mapping_length(map) / PAGE; n++) {
			iova = map->range.first + n * PAGE;
			if (iova < range.first || iova > range.last)
				continue;
			iova = (iova - range.first) / size;
			if (map->marks[n] & MARK_WRITTEN)
				set_bit_of(must, iova);
			if (map->marks[n] ||
			    (vague && map->prot & IOMMU_MAP_DMA_WRITE))
				set_bit_of(may, iova);
		}
	}
	/* Bits of the last word that stand for nothing must be 0, too. */
	for (n = 0; n < (num + 63) / 64 * 64; n++) {
		iova = range.first + n * size;
		if (bit_of(must, n) && !bit_of(bitmap, n))
			mismatch(m, "the write to 0x%llx is lost", iova);
		if (!bit_of(may, n) && bit_of(bitmap, n))
			mismatch(m, "0x%llx was not written", iova);
		m->reported += bit_of(bitmap, n);
		m->beside += bit_of(bitmap, n) && !bit_of(must, n);
	}
	for (n = (num + 63) / 64; n < lengthof(bitmap); n++)
		if (bitmap[n] != ~0ULL)
			mismatch(m, "word %llu of the bitmap was written", n);
}

/* For an operation: mostly one that may be tracked */
static struct ioas *some_dirty_ioas(struct model *m)
{
	struct ioas *ioas;

	do
		ioas = some_ioas(m);
	while (ioas && !ioas->dirty && !one_in(m, 10));
	return ioas;
}

/* Return: what the call will return, if it would have returned 0. */
static int arm_table(struct model *m, const struct ioas *ioas,
		     unsigned int calls)
{
	const struct table *table =
		&ioas->tables[random_below(m, ioas->num_tables)];

	return arm(m, table->owner, "dirty", calls);
}

static void do_track(struct model *m, bool on)
{
	struct ioas *ioas = some_dirty_ioas(m);
	/* The other command has the same structure. */
	struct iommu_dirty_start cmd = {
		.size = sizeof(cmd),
		.ioasid = id_of(ioas),
	};
	int want, rc;

	if (one_in(m, 40))
		cmd.flags = 1U << random_below(m, 32);
	if (one_in(m, 40))
		cmd.__reserved = 1;
	want = tracking_error(ioas, &cmd);
	if (!want && ioas->tracking != on && ioas->num_tables && one_in(m, 6)) {
		/* START reads each mapping; a driver may refuse to stop. */
		if (on)
			want = arm_table(m, ioas, 1 + ioas->num_maps);
		else
			arm_table(m, ioas, 1);
	}
	doing(m, "dirty %s %u flags 0x%x reserved %u%s%s", on ? "start" : "stop",
	      cmd.ioasid, cmd.flags, cmd.__reserved,
	      m->armed ? " failing in " : "", m->armed ? m->armed->name : "");
	rc = iommu_call(m->iommu, on ? IOMMU_DIRTY_START : IOMMU_DIRTY_STOP,
			&cmd);
	disarm(m);
	if (returned(m, want, rc) && !rc)
		tracking_commit(ioas, on);
}

static void op_dirty_start(struct model *m)
{
	do_track(m, true);
}

static void op_dirty_stop(struct model *m)
{
	do_track(m, false);
}

static __u64 random_page_size(struct model *m)
{
	switch (random_below(m, 4)) {
	case 0:
		return PAGE << random_below(m, 10);
	case 1:
		return PAGE << random_below(m, 30);
	default:
		return PAGE;
	}
}

static void choose_get(struct model *m, const struct ioas *ioas,
		       struct iommu_dirty_get *cmd)
{
	const struct mapping *map;
	__u64 num, before;

	memset(cmd, 0, sizeof(*cmd));
	cmd->size = sizeof(*cmd);
	cmd->ioasid = id_of(ioas);
	cmd->flags = one_in(m, 3) ? IOMMU_DIRTY_GET_NO_CLEAR : 0;
	cmd->page_size = random_page_size(m);
	cmd->bitmap = (uintptr_t)bitmap;
	switch (random_below(m, 10)) {
	case 0:
		num = 1 + random_below(m, MAX_BITS);
		break;
	case 1 ... 7:
		num = 1 + random_below(m, 1024);
		break;
	default:
		num = 1 + random_below(m, 8);
	}
	cmd->length = num * cmd->page_size;
	if (!ioas || !ioas->num_maps || one_in(m, 20)) {
		cmd->iova = random_iova(m, ioas, PAGE);
	} else {
		map = ioas->maps[random_below(m, ioas->num_maps)];
		cmd->iova = map->range.first +
			    random_below(m, mapping_length(map));
	}
	cmd->iova &= -cmd->page_size;
	before = random_below(m, num) * cmd->page_size;
	if (before <= cmd->iova)
		cmd->iova -= before;
}

static void spoil_get(struct model *m, struct iommu_dirty_get *cmd)
{
	switch (random_below(m, 9)) {
	case 0:
		cmd->page_size = random_below(m, 2) * PAGE / 2;
		break;
	case 1:
		cmd->page_size += PAGE / 2;
		break;
	case 2:
		cmd->iova += 1 + random_below(m, cmd->page_size - 1);
		break;
	case 3:
		cmd->length += 1 + random_below(m, cmd->page_size - 1);
		break;
	case 4:
		cmd->length = 0;
		break;
	case 5:
		cmd->iova = -cmd->page_size;
		cmd->length = 2 * cmd->page_size;
		break;
	case 6:
		cmd->bitmap = 0;
		break;
	case 7:
		cmd->flags |= 1U << (1 + random_below(m, 31));
		break;
	case 8:
		cmd->__reserved = 1;
		break;
	}
}

static void op_dirty_get(struct model *m)
{
	struct ioas *ioas = some_dirty_ioas(m);
	struct iommu_dirty_get cmd;
	struct range range;
	unsigned int over;
	int want, rc;

	choose_get(m, ioas, &cmd);
	if (one_in(m, 12))
		spoil_get(m, &cmd);
	range.first = cmd.iova;
	range.last = cmd.iova + cmd.length - 1;
	want = report_error(ioas, &cmd);
	over = want ? 0 : num_mappings_over(ioas, range);
	if (over && ioas->num_tables && one_in(m, 12))
		want = arm_table(m, ioas, over);
	doing(m, "dirty get %u flags 0x%x iova 0x%llx length 0x%llx page size 0x%llx%s%s%s",
	      cmd.ioasid, cmd.flags, cmd.iova, cmd.length, cmd.page_size,
	      cmd.bitmap ? "" : " no bitmap", m->armed ? " failing in " : "",
	      m->armed ? m->armed->name : "");
	memset(bitmap, 0xff, sizeof(bitmap));
	rc = iommu_call(m->iommu, IOMMU_DIRTY_GET, &cmd);
	disarm(m);
	if (!returned(m, want, rc) || rc)
		return;
	bitmap_compare(m, ioas, range, cmd.page_size, false);
	if (!(cmd.flags & IOMMU_DIRTY_GET_NO_CLEAR))
		report_commit(ioas, range);
}

/* ---- UNMAP ---- */

static void choose_unmap(struct model *m, const struct ioas *ioas,
			 struct iommu_unmap_dma *cmd)
{
	const struct mapping *from, *to;
	unsigned int first;

	if (!ioas || !ioas->num_maps) {
		cmd->length = random_length(m);
		cmd->iova = random_iova(m, ioas, cmd->length);
		return;
	}
	first = random_below(m, ioas->num_maps);
	from = ioas->maps[first];
	to = from;
	/* Several, and the holes between them */
	if (one_in(m, 5))
		to = ioas->maps[first + random_below(m, ioas->num_maps - first)];
	cmd->iova = from->range.first;
	cmd->length = to->range.last - from->range.first + 1;
	switch (random_below(m, 10)) {
	case 0:
		cmd->length += PAGE;
		break;
	case 1:
		cmd->iova -= PAGE;
		cmd->length += PAGE;
		break;
	case 2:
		cmd->length -= PAGE;
		break;
	case 3:
		cmd->iova += PAGE;
		cmd->length -= PAGE;
		break;
	}
}

static void spoil_unmap(struct model *m, struct iommu_unmap_dma *cmd)
{
	switch (random_below(m, 9)) {
	case 0:
		cmd->iova += 1 + random_below(m, PAGE - 1);
		break;
	case 1:
		cmd->length += 1 + random_below(m, PAGE - 1);
		break;
	case 2:
		cmd->length = 0;
		break;
	case 3:
		cmd->iova = -PAGE;
		cmd->length = 2 * PAGE;
		break;
	case 4:
		cmd->flags |= IOMMU_UNMAP_DMA_ALL;
		break;
	case 5:
		cmd->flags |= 1U << (2 + random_below(m, 30));
		break;
	case 6:
		cmd->__reserved = 1;
		break;
	case 7:
		cmd->bitmap = cmd->bitmap ? 0 : (uintptr_t)bitmap;
		break;
	case 8:
		cmd->page_size += random_below(m, 3) * PAGE / 2;
		break;
	}
}

/* It shall report what was written, if the bitmap is long enough for that. */
static void choose_unmap_dirty(struct model *m, struct iommu_unmap_dma *cmd)
{
	__u64 size = random_page_size(m);

	/* Mostly one that suits */
	if (((cmd->iova | cmd->length) & (size - 1)) && !one_in(m, 8))
		size = PAGE;
	if (cmd->length / size > MAX_BITS)
		return;
	cmd->flags |= IOMMU_UNMAP_DMA_GET_DIRTY;
	cmd->page_size = size;
	cmd->bitmap = (uintptr_t)bitmap;
}

static void do_unmap(struct model *m, struct ioas *ioas,
		     struct iommu_unmap_dma *cmd)
{
	struct range range = { cmd->iova, cmd->iova + cmd->length - 1 };
	struct iommu_unmap_dma asked;
	unsigned int over = 0;
	int want, rc;
	__u64 bytes;
	bool vague;

	cmd->size = sizeof(*cmd);
	cmd->ioasid = id_of(ioas);
	asked = *cmd;
	want = unmap_error(ioas, cmd);
	if (!want && cmd->flags & IOMMU_UNMAP_DMA_GET_DIRTY)
		over = num_mappings_over(ioas, range);
	/* The mappings go even so. */
	if (over && ioas->num_tables && one_in(m, 12))
		arm_table(m, ioas, over);
	vague = m->armed;
	doing(m, "unmap %u flags 0x%x iova 0x%llx length 0x%llx page size 0x%llx%s%s%s",
	      cmd->ioasid, cmd->flags, cmd->iova, cmd->length, cmd->page_size,
	      cmd->bitmap ? " bitmap" : "", m->armed ? " failing in " : "",
	      m->armed ? m->armed->name : "");
	memset(bitmap, 0xff, sizeof(bitmap));
	rc = iommu_call(m->iommu, IOMMU_UNMAP_DMA, cmd);
	disarm(m);
	about_iova(m, cmd->iova);
	if (!returned(m, want, rc) || rc)
		return;
	if (asked.flags & IOMMU_UNMAP_DMA_GET_DIRTY)
		bitmap_compare(m, ioas, range, asked.page_size, vague);
	bytes = unmap_commit(ioas, &asked);
	if (cmd->length != bytes)
		mismatch(m, "0x%llx bytes were removed, not 0x%llx",
			 cmd->length, bytes);
}

static void op_unmap(struct model *m)
{
	struct ioas *ioas = some_ioas(m);
	struct iommu_unmap_dma cmd = {};

	choose_unmap(m, ioas, &cmd);
	if (ioas && (ioas->tracking ? one_in(m, 2) : one_in(m, 30)))
		choose_unmap_dirty(m, &cmd);
	do_unmap(m, ioas, &cmd);
}

static void op_unmap_wrong(struct model *m)
{
	struct ioas *ioas = some_ioas(m);
	struct iommu_unmap_dma cmd = {};

	choose_unmap(m, ioas, &cmd);
	if (one_in(m, 2))
		choose_unmap_dirty(m, &cmd);
	spoil_unmap(m, &cmd);
	do_unmap(m, ioas, &cmd);
}

static void op_unmap_all(struct model *m)
{
	struct iommu_unmap_dma cmd = { .flags = IOMMU_UNMAP_DMA_ALL };

	do_unmap(m, some_ioas(m), &cmd);
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
	struct device *dev = random_open_device(m);
	unsigned int slot = random_slot(m);
	struct ioas *ioas = some_ioas(m);
	struct plan plan;
	int want, rc;

	if (!dev)
		return;
	want = attach_error(m, dev, slot, ioas, &plan);
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
	struct device *dev = random_open_device(m);
	unsigned int slot = random_slot(m);
	int rc;

	if (!dev)
		return;
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

	if (one_in(m, 20)) {
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
	{ .name = "alloc", .weight = 6, .run = op_alloc },
	{ .name = "free", .weight = 4, .run = op_free },
	{ .name = "map", .weight = 36, .run = op_map },
	{ .name = "map wrong", .weight = 6, .run = op_map_wrong },
	{ .name = "unmap", .weight = 20, .run = op_unmap },
	{ .name = "unmap wrong", .weight = 4, .run = op_unmap_wrong },
	{ .name = "unmap all", .weight = 2, .run = op_unmap_all },
	{ .name = "dirty start", .weight = 8, .run = op_dirty_start },
	{ .name = "dirty stop", .weight = 2, .run = op_dirty_stop },
	{ .name = "dirty get", .weight = 24, .run = op_dirty_get },
	{ .name = "attach", .weight = 20, .run = op_attach },
	{ .name = "detach", .weight = 8, .run = op_detach },
	{ .name = "open", .weight = 8, .run = op_open },
	{ .name = "close", .weight = 2, .run = op_close },
	{ .name = "dma", .weight = 40, .run = op_dma },
	{ .name = "write", .weight = 6, .run = op_write },
	{ .name = "renew", .weight = 6, .run = op_renew,
	  .changes_memory = true },
};

const size_t num_operations = lengthof(operations);
