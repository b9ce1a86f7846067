// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty tracking: the operations, and what a bitmap may hold after them. Writes
 * are noted by mark_written().
 */
#include <errno.h>
#include <string.h>

#include "model.h"

/* ---- what was written ---- */

__u64 bitmap[MAX_BITS / 64 + 1];

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
void bitmap_compare(struct model *m, const struct ioas *ioas,
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

/* For an operation: mostly one that may be tracked, and @tracking or not */
static struct ioas *some_dirty_ioas(struct model *m, bool tracking)
{
	struct ioas *ioas;

	do
		ioas = some_ioas(m);
	while (ioas && !(ioas->dirty && ioas->tracking == tracking) &&
	       !one_in(m, 20));
	return ioas;
}

static void do_track(struct model *m, bool on)
{
	struct ioas *ioas = some_dirty_ioas(m, !on);
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
			want = arm_table(m, ioas, "dirty", 1 + ioas->num_maps);
		else
			arm_table(m, ioas, "dirty", 1);
	}
	doing(m, "dirty %s %u flags 0x%x reserved %u failing in %s",
	      on ? "start" : "stop", cmd.ioasid, cmd.flags, cmd.__reserved,
	      armed(m));
	rc = iommu_call(m->iommu, on ? IOMMU_DIRTY_START : IOMMU_DIRTY_STOP,
			&cmd);
	disarm(m);
	if (returned(m, want, rc) && !rc)
		tracking_commit(ioas, on);
}

void op_dirty_start(struct model *m)
{
	do_track(m, true);
}

void op_dirty_stop(struct model *m)
{
	do_track(m, false);
}

__u64 random_page_size(struct model *m)
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

void op_dirty_get(struct model *m)
{
	struct ioas *ioas = some_dirty_ioas(m, true);
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
		want = arm_table(m, ioas, "dirty", over);
	doing(m, "dirty get %u flags 0x%x 0x%llx length 0x%llx page size 0x%llx%s failing in %s",
	      cmd.ioasid, cmd.flags, cmd.iova, cmd.length, cmd.page_size,
	      cmd.bitmap ? "" : " no bitmap", armed(m));
	memset(bitmap, 0xff, sizeof(bitmap));
	rc = iommu_call(m->iommu, IOMMU_DIRTY_GET, &cmd);
	disarm(m);
	if (!returned(m, want, rc) || rc)
		return;
	bitmap_compare(m, ioas, range, cmd.page_size, false);
	if (!(cmd.flags & IOMMU_DIRTY_GET_NO_CLEAR))
		report_commit(ioas, range);
}

