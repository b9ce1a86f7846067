// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP, UNMAP and MAP_BATCH: arguments that make sense, and such that do not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

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
__u64 random_iova(struct model *m, const struct ioas *ioas, __u64 length)
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

/* Where it goes on from a mapping without a hole: the last address, or before */
static __u64 random_end(struct model *m, const struct ioas *ioas,
			unsigned int map)
{
	while (map + 1 < ioas->num_maps && !one_in(m, 4) &&
	       ioas->maps[map]->range.last + 1 ==
		       ioas->maps[map + 1]->range.first)
		map++;
	return ioas->maps[map]->range.last;
}

/* Something that the parent maps; or that it does not, or not as it is asked for */
static void choose_shown(struct model *m, const struct ioas *parent,
			 struct iommu_map_dma *cmd)
{
	const struct mapping *map;
	unsigned int first;
	__u64 length;

	if (!parent->num_maps) {
		cmd->src = random_iova(m, parent, cmd->length);
		return;
	}
	first = random_below(m, parent->num_maps);
	map = parent->maps[first];
	cmd->src = map->range.first;
	if (one_in(m, 2))
		cmd->src += random_below(m, mapping_length(map) / PAGE) * PAGE;
	length = random_end(m, parent, first) - cmd->src + 1;
	if (one_in(m, 3))
		length = (1 + random_below(m, length / PAGE)) * PAGE;
	if (!one_in(m, 10))
		cmd->length = length;
	if (!one_in(m, 8))
		cmd->flags &= map->prot;
	if (!(cmd->flags & READ_WRITE))
		cmd->flags |= map->prot;
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

/* Instead of what is mapped there: mostly whole mappings */
static void choose_replaced(struct model *m, const struct ioas *ioas,
			    struct iommu_map_dma *cmd)
{
	unsigned int first = random_below(m, ioas->num_maps);

	cmd->flags |= IOMMU_MAP_DMA_REPLACE;
	cmd->iova = ioas->maps[first]->range.first;
	if (!one_in(m, 6))
		cmd->length = random_end(m, ioas, first) - cmd->iova + 1;
}

static void align_map(const struct ioas *ioas, struct iommu_map_dma *cmd)
{
	__u64 mask = ioas->alignment - 1;

	/* All sources are large enough for that. */
	cmd->iova &= ~mask;
	cmd->src &= ~mask;
	cmd->length = (cmd->length + mask) & ~mask;
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
	if (ioas && ioas->num_maps && !ioas->dirty && one_in(m, 8))
		choose_replaced(m, ioas, cmd);
	if (ioas && ioas->parent)
		choose_shown(m, ioas->parent, cmd);
	else
		choose_source(m, cmd);
	if (!(cmd->flags & IOMMU_MAP_DMA_REPLACE)) {
		if (one_in(m, 6))
			cmd->flags |= IOMMU_MAP_DMA_ALLOC_IOVA;
		else
			cmd->iova = random_iova(m, ioas, cmd->length);
	}
	if (ioas && !one_in(m, 20))
		align_map(ioas, cmd);
}

/* Makes something wrong with it. */
static void spoil_map(struct model *m, struct iommu_map_dma *cmd)
{
	const struct source *memfd = &m->sources[SOURCE_MEMFD];

	switch (random_below(m, 18)) {
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
		cmd->flags |= 1U << (5 + random_below(m, 27));
		return;
	case 10:
		cmd->src = (uintptr_t)m->sources[SOURCE_NONE].mem;
		cmd->length = PAGE;
		cmd->flags &= ~IOMMU_MAP_DMA_FILE;
		cmd->fd = 0;
		return;
	case 11:
		cmd->flags |= IOMMU_MAP_DMA_REPLACE;
		return;
	case 12:
		cmd->flags |= IOMMU_MAP_DMA_REPLACE | IOMMU_MAP_DMA_ALLOC_IOVA;
		cmd->iova = 0;
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

static void call_map(struct model *m, struct ioas *ioas,
		     struct iommu_map_dma *cmd, int want)
{
	int rc;

	doing(m, "map %u flags 0x%x fd %d src 0x%llx iova 0x%llx length 0x%llx failing in %s",
	      cmd->ioasid, cmd->flags, cmd->fd, cmd->src, cmd->iova,
	      cmd->length, armed(m));
	rc = iommu_call(m->iommu, IOMMU_MAP_DMA, cmd);
	disarm(m);
	about_iova(m, cmd->iova);
	if (!returned(m, want, rc) || rc)
		return;
	if (map_commit(m, ioas, cmd))
		mismatch(m, "0x%llx is a bad choice of the kernel", cmd->iova);
}

static void do_map(struct model *m, struct ioas *ioas,
		   struct iommu_map_dma *cmd)
{
	bool replace = cmd->flags & IOMMU_MAP_DMA_REPLACE;
	int want = map_error(m, ioas, cmd);

	if (!want && one_in(m, 10))
		try_map(m, ioas, cmd);
	/* If nothing has changed, then it succeeds the next time. */
	if (!want && ioas->num_tables && one_in(m, replace ? 3 : 20))
		call_map(m, ioas, cmd, arm_table(m, ioas, "map", 1));
	call_map(m, ioas, cmd, want);
}

void op_map(struct model *m)
{
	struct ioas *ioas;
	struct iommu_map_dma cmd;

	/* What is refused is much easier to find than what is not. */
	do {
		ioas = some_ioas(m);
		choose_map(m, ioas, &cmd);
	} while (map_error(m, ioas, &cmd) && !one_in(m, 4));
	do_map(m, ioas, &cmd);
}

void op_map_wrong(struct model *m)
{
	struct ioas *ioas = some_ioas(m);
	struct iommu_map_dma cmd;

	choose_map(m, ioas, &cmd);
	spoil_map(m, &cmd);
	do_map(m, ioas, &cmd);
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
	switch (random_below(m, 10)) {
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
		cmd->flags |= 1U << (3 + random_below(m, 29));
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
	case 9:
		cmd->flags |= IOMMU_UNMAP_DMA_REVOKE;
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
	want = unmap_error(m, ioas, cmd);
	if (!want && cmd->flags & IOMMU_UNMAP_DMA_GET_DIRTY)
		over = num_mappings_over(ioas, range);
	/* The mappings go even so. */
	if (over && ioas->num_tables && one_in(m, 12))
		arm_table(m, ioas, "dirty", over);
	vague = m->armed;
	doing(m, "unmap %u flags 0x%x iova 0x%llx length 0x%llx page size 0x%llx%s failing in %s",
	      cmd->ioasid, cmd->flags, cmd->iova, cmd->length, cmd->page_size,
	      cmd->bitmap ? " bitmap" : "", armed(m));
	memset(bitmap, 0xff, sizeof(bitmap));
	if (!want && !cmd->bitmap && one_in(m, 10))
		rc = try_unmap(m, cmd);
	else
		rc = iommu_call(m->iommu, IOMMU_UNMAP_DMA, cmd);
	disarm(m);
	about_iova(m, cmd->iova);
	if (!returned(m, want, rc) || rc)
		return;
	if (asked.flags & IOMMU_UNMAP_DMA_GET_DIRTY)
		bitmap_compare(m, ioas, range, asked.page_size, vague);
	bytes = unmap_commit(m, ioas, &asked);
	if (cmd->length != bytes)
		mismatch(m, "0x%llx bytes were removed, not 0x%llx",
			 cmd->length, bytes);
}

void op_unmap(struct model *m)
{
	static const struct range all = { 0, ~0ULL };
	struct ioas *ioas = some_ioas(m);
	struct iommu_unmap_dma cmd = {};

	choose_unmap(m, ioas, &cmd);
	if (one_in(m, ioas && num_shadows(m, ioas, all) ? 2 : 8))
		cmd.flags |= IOMMU_UNMAP_DMA_REVOKE;
	else if (ioas && (ioas->tracking ? one_in(m, 2) : one_in(m, 30)))
		choose_unmap_dirty(m, &cmd);
	do_unmap(m, ioas, &cmd);
}

void op_unmap_wrong(struct model *m)
{
	struct ioas *ioas = some_ioas(m);
	struct iommu_unmap_dma cmd = {};

	choose_unmap(m, ioas, &cmd);
	if (one_in(m, 2))
		choose_unmap_dirty(m, &cmd);
	spoil_unmap(m, &cmd);
	do_unmap(m, ioas, &cmd);
}

void op_unmap_all(struct model *m)
{
	struct iommu_unmap_dma cmd = { .flags = IOMMU_UNMAP_DMA_ALL };

	if (one_in(m, 3))
		cmd.flags |= IOMMU_UNMAP_DMA_REVOKE;
	do_unmap(m, some_ioas(m), &cmd);
}

/* ---- MAP_BATCH ---- */

/* Mostly few; sometimes more than the kernel takes at a time */
#define MANY_ENTRIES	1100
#define FEW_ENTRIES	24

static void choose_map_entry(struct model *m, const struct ioas *ioas,
			     struct iommu_batch_entry *entry)
{
	struct iommu_map_dma cmd;

	choose_map(m, ioas, &cmd);
	if (cmd.flags & IOMMU_MAP_DMA_ALLOC_IOVA) {
		cmd.flags &= ~IOMMU_MAP_DMA_ALLOC_IOVA;
		cmd.iova = random_iova(m, ioas, cmd.length);
		if (ioas)
			align_map(ioas, &cmd);
	}
	if (one_in(m, 60))
		spoil_map(m, &cmd);
	entry->flags = cmd.flags;
	entry->fd = cmd.fd;
	entry->iova = cmd.iova;
	entry->src = cmd.src;
	entry->length = cmd.length;
}

static void choose_unmap_entry(struct model *m, const struct ioas *ioas,
			       struct iommu_batch_entry *entry)
{
	struct iommu_unmap_dma cmd = {};

	choose_unmap(m, ioas, &cmd);
	entry->flags = IOMMU_BATCH_ENTRY_UNMAP;
	entry->fd = one_in(m, 100);
	entry->src = one_in(m, 100) ? PAGE : 0;
	entry->iova = cmd.iova;
	entry->length = cmd.length;
	if (one_in(m, 100))
		entry->flags |= 1U << random_below(m, 8);
}

/* What is left when a mapping has come and gone is what there was. */
static void choose_entry(struct model *m, const struct ioas *ioas,
			 const struct iommu_batch_entry *last,
			 struct iommu_batch_entry *entry)
{
	bool full = ioas && ioas->num_maps > MAX_MAPPINGS / 2;

	memset(entry, 0, sizeof(*entry));
	if (last && !(last->flags & IOMMU_BATCH_ENTRY_UNMAP) && !one_in(m, 4)) {
		entry->flags = IOMMU_BATCH_ENTRY_UNMAP;
		entry->iova = last->iova;
		entry->length = last->length;
	} else if (one_in(m, full ? 3 : 2)) {
		choose_map_entry(m, ioas, entry);
	} else {
		choose_unmap_entry(m, ioas, entry);
	}
}

/* What a batch comes to */
struct batch_result {
	int rc;
	unsigned int done;
	__u64 unmapped;
};

/*
 * Chooses entries, each for what the model holds when those before it have taken
 * effect; so they take effect here already. If @failing, then the first map that is to
 * reach a page table fails there.
 */
static void choose_batch(struct model *m, struct ioas *ioas, bool failing,
			 struct iommu_batch_entry *entries, unsigned int num,
			 struct batch_result *want)
{
	struct iommu_batch_entry *entry;
	unsigned int i, tries;

	*want = (struct batch_result){ .rc = ioas ? 0 : -ENOENT };
	for (i = 0; i < num; i++) {
		entry = &entries[i];
		/* Else few batches would come to their end. */
		for (tries = 0; !want->rc && tries < 8; tries++) {
			choose_entry(m, ioas, i && !tries ? entry - 1 : NULL,
				     entry);
			if (!batch_entry_error(m, ioas, entry))
				break;
		}
		/* Nobody gets there. */
		if (want->rc) {
			choose_entry(m, ioas, NULL, entry);
			continue;
		}
		want->rc = batch_entry_error(m, ioas, entry);
		if (!want->rc && failing &&
		    !(entry->flags & IOMMU_BATCH_ENTRY_UNMAP))
			want->rc = arm_table(m, ioas, "map", 1);
		if (want->rc)
			continue;
		want->unmapped += batch_entry_commit(m, ioas, entry);
		want->done++;
	}
}

static void compare_batch(struct model *m, const struct batch_result *want,
			  const struct iommu_map_batch *cmd)
{
	if (cmd->num_entries != want->done)
		mismatch(m, "%u entries took effect, not %u", cmd->num_entries,
			 want->done);
	if (cmd->unmapped != want->unmapped)
		mismatch(m, "0x%llx bytes were removed, not 0x%llx",
			 cmd->unmapped, want->unmapped);
}

static void do_batch(struct model *m, struct ioas *ioas, unsigned int num)
{
	struct iommu_batch_entry *entries = calloc(num, sizeof(*entries));
	struct iommu_map_batch cmd = {
		.size = sizeof(cmd),
		.ioasid = id_of(ioas),
		.num_entries = num,
		.entries = (uintptr_t)entries,
	};
	bool failing = ioas && ioas->num_tables && one_in(m, 12);
	const struct iommu_batch_entry *last;
	struct batch_result want;
	int rc;

	choose_batch(m, ioas, failing, entries, num, &want);
	last = &entries[want.rc ? want.done : num - 1];
	doing(m, "batch %u of %u: %d after %u: 0x%x %d 0x%llx 0x%llx length 0x%llx failing in %s",
	      cmd.ioasid, num, want.rc, want.done, last->flags, last->fd,
	      last->src, last->iova, last->length, armed(m));
	about_iova(m, entries[0].iova);
	if (!m->armed && ioas && one_in(m, 10))
		rc = try_batch(m, &cmd);
	else
		rc = iommu_call(m->iommu, IOMMU_MAP_BATCH, &cmd);
	disarm(m);
	if (returned(m, want.rc, rc) && ioas)
		compare_batch(m, &want, &cmd);
	free(entries);
}

/* None of these gets to its entries. */
static void do_batch_wrong(struct model *m, struct ioas *ioas)
{
	struct iommu_batch_entry entry = {};
	struct iommu_map_batch cmd = {
		.size = sizeof(cmd),
		.ioasid = id_of(ioas),
		.num_entries = 1,
		.entries = (uintptr_t)&entry,
	};
	int want = -EINVAL;

	switch (random_below(m, 4)) {
	case 0:
		cmd.num_entries = 0;
		break;
	case 1:
		cmd.num_entries = IOMMU_MAP_BATCH_MAX + 1;
		break;
	case 2:
		cmd.flags = 1U << random_below(m, 32);
		want = -EOPNOTSUPP;
		break;
	case 3:
		cmd.entries = 0;
		want = -EFAULT;
		break;
	}
	if (!ioas && want != -EOPNOTSUPP)
		want = -ENOENT;
	doing(m, "batch of %u in %u flags 0x%x entries at 0x%llx",
	      cmd.num_entries, cmd.ioasid, cmd.flags, cmd.entries ? 1ULL : 0);
	returned(m, want, iommu_call(m->iommu, IOMMU_MAP_BATCH, &cmd));
}

void op_batch(struct model *m)
{
	struct ioas *ioas = some_ioas(m);

	if (one_in(m, 20))
		do_batch_wrong(m, ioas);
	else if (one_in(m, 40))
		do_batch(m, ioas, 1 + random_below(m, MANY_ENTRIES));
	else
		do_batch(m, ioas, 1 + random_below(m, FEW_ENTRIES));
}
