// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model of IOASIDs, mappings and attachments. The *_error() functions tell
 * what a call returns, 0 or the errno that include/uapi/linux/iommu.h has for
 * it; the *_commit() functions do what a call does that succeeds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model.h"

const __u32 slot_pasids[NUM_SLOTS] = { 0, 1, 77, 255 };

/* ---- ranges ---- */

static bool overlap(struct range a, struct range b)
{
	return a.first <= b.last && b.first <= a.last;
}

static bool contains(struct range outer, struct range inner)
{
	return outer.first <= inner.first && inner.last <= outer.last;
}

static void ranges_add(struct ranges *ranges, __u64 first, __u64 last)
{
	ranges->range[ranges->num].first = first;
	ranges->range[ranges->num].last = last;
	ranges->num++;
}

static void ranges_cut(struct ranges *ranges, struct range out)
{
	struct ranges left;
	unsigned int i;

	left.num = 0;
	for (i = 0; i < ranges->num; i++) {
		struct range range = ranges->range[i];

		if (!overlap(range, out)) {
			ranges_add(&left, range.first, range.last);
			continue;
		}
		if (range.first < out.first)
			ranges_add(&left, range.first, out.first - 1);
		if (range.last > out.last)
			ranges_add(&left, out.last + 1, range.last);
	}
	ranges->num = 0;
	for (i = 0; i < left.num; i++)
		ranges_add(ranges, left.range[i].first, left.range[i].last);
}

bool ranges_contain(const struct ranges *ranges, struct range range)
{
	unsigned int i;

	for (i = 0; i < ranges->num; i++)
		if (contains(ranges->range[i], range))
			return true;
	return false;
}

/* ---- mappings ---- */

__u64 mapping_length(const struct mapping *map)
{
	return map->range.last - map->range.first + 1;
}

/* The lowest mapping that shares an address with a range, or NULL */
struct mapping *mapping_over(const struct ioas *ioas, struct range range)
{
	unsigned int i;

	for (i = 0; i < ioas->num_maps; i++)
		if (overlap(ioas->maps[i]->range, range))
			return ioas->maps[i];
	return NULL;
}

struct mapping *mapping_at(const struct ioas *ioas, __u64 iova)
{
	return mapping_over(ioas, (struct range){ iova, iova });
}

__u64 mapped_bytes(const struct ioas *ioas, bool only_pinned)
{
	__u64 sum = 0;
	unsigned int i;

	for (i = 0; i < ioas->num_maps; i++)
		if (ioas->maps[i]->pinned || !only_pinned)
			sum += mapping_length(ioas->maps[i]);
	return sum;
}

/* Whether what is there now can be pinned. A file needs no address. */
static bool may_pin(const struct source *src, bool by_file, __u32 prot)
{
	if (by_file)
		return true;
	if (!src || src->prot == PROT_NONE)
		return false;
	return !(prot & IOMMU_MAP_DMA_WRITE) || src->prot & PROT_WRITE;
}

static void mapping_pin(struct mapping *map)
{
	size_t i, num = mapping_length(map) / PAGE;

	if (map->pinned)
		return;
	map->pinned = calloc(num, sizeof(*map->pinned));
	for (i = 0; i < num; i++)
		map->pinned[i] = page_get(map->src->pages[map->page + i]);
}

static void mapping_unpin(struct mapping *map)
{
	size_t i, num = mapping_length(map) / PAGE;

	for (i = 0; map->pinned && i < num; i++)
		page_put(map->pinned[i]);
	free(map->pinned);
	map->pinned = NULL;
}

static void mapping_free(struct mapping *map)
{
	mapping_unpin(map);
	free(map->marks);
	free(map);
}

/* ---- IOASIDs ---- */

struct ioas *ioas_new(struct model *m, const struct iommu_ioasid_alloc *cmd)
{
	struct ioas *ioas = calloc(1, sizeof(*ioas));
	unsigned int i;

	ioas->id = cmd->ioasid;
	ioas->width = cmd->addr_width;
	ioas->snoop = cmd->snoop;
	ioas->dirty = cmd->flags & IOMMU_IOASID_ALLOC_DIRTY;
	for (i = 0; m->ioases[i]; i++)
		;
	m->ioases[i] = ioas;
	return ioas;
}

void ioas_delete(struct model *m, struct ioas *ioas)
{
	unsigned int i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[i] == ioas)
			m->ioases[i] = NULL;
	for (i = 0; i < ioas->num_maps; i++)
		mapping_free(ioas->maps[i]);
	free(ioas);
}

static __u64 ioas_last(const struct ioas *ioas)
{
	return ioas->width && ioas->width < 64 ? (1ULL << ioas->width) - 1 :
						 ~0ULL;
}

/* Attachments: each device once for its plain DMA and once for each PASID */
unsigned int num_attached(const struct model *m, const struct ioas *ioas)
{
	unsigned int i, j, num = 0;

	for (i = 0; i < m->num_groups; i++) {
		for (j = 0; j < NUM_SLOTS; j++) {
			const struct slot *slot = &m->groups[i].slots[j];

			if (slot->ioas == ioas)
				num += __builtin_popcount(slot->members);
		}
	}
	return num;
}

/*
 * What all page tables reach, less what is reserved for the devices that are
 * attached with their plain DMA.
 */
void permitted_ranges(const struct model *m, const struct ioas *ioas,
		      struct ranges *ranges)
{
	struct range reach = { 0, ioas_last(ioas) };
	unsigned int i, j;

	ranges->num = 0;
	for (i = 0; i < ioas->num_tables; i++) {
		struct range aperture = ioas->tables[i].owner->aperture;

		if (reach.first < aperture.first)
			reach.first = aperture.first;
		if (reach.last > aperture.last)
			reach.last = aperture.last;
	}
	if (reach.first > reach.last)
		return;
	ranges_add(ranges, reach.first, reach.last);
	for (i = 0; i < m->num_groups; i++) {
		const struct instance *on = m->groups[i].on;

		if (m->groups[i].slots[0].ioas != ioas)
			continue;
		for (j = 0; j < on->num_reserved; j++)
			ranges_cut(ranges, on->reserved[j]);
	}
}

/* What can be mapped for the devices behind an IOMMU, as far as is known */
void device_ranges(const struct instance *on, struct ranges *ranges)
{
	unsigned int i;

	ranges->num = 0;
	if (on->attach_first)
		return;
	ranges_add(ranges, on->aperture.first, on->aperture.last);
	for (i = 0; i < on->num_reserved; i++)
		ranges_cut(ranges, on->reserved[i]);
}

/* Whether there is a place that the kernel may choose, which is never 0. */
bool has_room(const struct model *m, const struct ioas *ioas, __u64 length)
{
	struct ranges free;
	unsigned int i;

	permitted_ranges(m, ioas, &free);
	ranges_cut(&free, (struct range){ 0, 0 });
	for (i = 0; i < ioas->num_maps; i++)
		ranges_cut(&free, ioas->maps[i]->range);
	for (i = 0; i < free.num; i++) {
		__u64 first = (free.range[i].first + PAGE - 1) & -PAGE;

		if (first < free.range[i].first)
			continue;
		if (first <= free.range[i].last &&
		    free.range[i].last - first >= length - 1)
			return true;
	}
	return false;
}

/* ---- MAP and UNMAP ---- */

static int file_error(struct model *m, const struct iommu_map_dma *cmd)
{
	const struct source *src = source_of_fd(m, cmd->fd);
	bool write = cmd->flags & IOMMU_MAP_DMA_WRITE;
	__u64 size;

	if (cmd->fd == m->other_fd)
		return -EINVAL;
	if (cmd->fd == m->read_only_fd && write)
		return -EACCES;
	if (cmd->fd == m->sealed_fd && write)
		return -EPERM;
	if (cmd->fd == m->read_only_fd || cmd->fd == m->sealed_fd)
		src = &m->sources[SOURCE_MEMFD];
	if (!src)
		return -EBADF;
	size = src->num_pages * PAGE;
	if (cmd->src > size || cmd->length > size - cmd->src)
		return -EINVAL;
	return 0;
}

static bool any_open(const struct model *m)
{
	unsigned int i;

	for (i = 0; i < m->num_devices; i++)
		if (m->devices[i].dma.fd >= 0)
			return true;
	return false;
}

static int map_args_error(struct model *m, const struct iommu_map_dma *cmd)
{
	if (!cmd->length)
		return -EINVAL;
	if (cmd->iova + cmd->length - 1 < cmd->iova ||
	    cmd->src + cmd->length - 1 < cmd->src)
		return -EOVERFLOW;
	if (!(cmd->flags & READ_WRITE))
		return -EINVAL;
	if (!(cmd->flags & IOMMU_MAP_DMA_FILE) && cmd->fd)
		return -EINVAL;
	if (cmd->flags & IOMMU_MAP_DMA_ALLOC_IOVA && cmd->iova)
		return -EINVAL;
	if ((cmd->iova | cmd->src | cmd->length) & (PAGE - 1))
		return -EINVAL;
	return cmd->flags & IOMMU_MAP_DMA_FILE ? file_error(m, cmd) : 0;
}

static int map_place_error(const struct model *m, const struct ioas *ioas,
			   const struct iommu_map_dma *cmd)
{
	struct range range = { cmd->iova, cmd->iova + cmd->length - 1 };
	struct ranges permitted;

	if (cmd->flags & IOMMU_MAP_DMA_ALLOC_IOVA) {
		if (!has_room(m, ioas, cmd->length))
			return -ENOSPC;
		return ioas->num_maps < MAX_MAPPINGS ? 0 : -ENOSPC;
	}
	if (mapping_over(ioas, range))
		return -EEXIST;
	if (ioas->num_maps == MAX_MAPPINGS)
		return -ENOSPC;
	permitted_ranges(m, ioas, &permitted);
	return ranges_contain(&permitted, range) ? 0 : -EINVAL;
}

int map_error(struct model *m, const struct ioas *ioas,
	      const struct iommu_map_dma *cmd)
{
	const struct source *src;
	int rc;

	if (cmd->flags & ~(READ_WRITE | IOMMU_MAP_DMA_ALLOC_IOVA |
			   IOMMU_MAP_DMA_FILE))
		return -EOPNOTSUPP;
	if (!ioas)
		return -ENOENT;
	if (!any_open(m))
		return -EPERM;
	rc = map_args_error(m, cmd);
	if (!rc)
		rc = map_place_error(m, ioas, cmd);
	if (rc || !num_attached(m, ioas))
		return rc;
	src = source_at(m, cmd->src, cmd->length);
	return may_pin(src, cmd->flags & IOMMU_MAP_DMA_FILE, cmd->flags) ?
		       0 : -EFAULT;
}

/*
 * @cmd: With the address that the kernel has chosen. Return: 0, or -EINVAL if it
 * should not have.
 */
int map_commit(struct model *m, struct ioas *ioas,
	       const struct iommu_map_dma *cmd)
{
	struct iommu_map_dma fixed = *cmd;
	struct mapping *map;
	unsigned int i;

	fixed.flags &= ~IOMMU_MAP_DMA_ALLOC_IOVA;
	if (fixed.iova & (PAGE - 1) || map_place_error(m, ioas, &fixed))
		return -EINVAL;
	if (!cmd->iova && cmd->flags & IOMMU_MAP_DMA_ALLOC_IOVA)
		return -EINVAL;

	map = calloc(1, sizeof(*map));
	map->range.first = cmd->iova;
	map->range.last = cmd->iova + cmd->length - 1;
	map->prot = cmd->flags & READ_WRITE;
	map->by_file = cmd->flags & IOMMU_MAP_DMA_FILE;
	if (map->by_file) {
		map->src = source_of_fd(m, cmd->fd) ?: &m->sources[SOURCE_MEMFD];
		map->page = cmd->src / PAGE;
	} else {
		map->src = source_at(m, cmd->src, cmd->length);
		map->page = (cmd->src - (uintptr_t)map->src->mem) / PAGE;
	}
	map->marks = calloc(cmd->length / PAGE, 1);
	if (num_attached(m, ioas))
		mapping_pin(map);

	for (i = ioas->num_maps++;
	     i && ioas->maps[i - 1]->range.first > map->range.first; i--)
		ioas->maps[i] = ioas->maps[i - 1];
	ioas->maps[i] = map;
	return 0;
}

/* What GET and UNMAP say to a bitmap and to the range that it is for */
static int bitmap_error(const struct ioas *ioas, __u64 iova, __u64 length,
			__u64 size, __u64 bitmap)
{
	if (size < PAGE || size & (size - 1))
		return -EINVAL;
	if (!length || (iova | length) & (size - 1))
		return -EINVAL;
	if (iova + length - 1 < iova)
		return -EOVERFLOW;
	if (!ioas->tracking)
		return -EINVAL;
	return bitmap ? 0 : -EFAULT;
}

static struct range unmap_range(const struct iommu_unmap_dma *cmd)
{
	if (cmd->flags & IOMMU_UNMAP_DMA_ALL)
		return (struct range){ 0, ~0ULL };
	return (struct range){ cmd->iova, cmd->iova + cmd->length - 1 };
}

int unmap_error(const struct ioas *ioas, const struct iommu_unmap_dma *cmd)
{
	bool get_dirty = cmd->flags & IOMMU_UNMAP_DMA_GET_DIRTY;
	struct range range = unmap_range(cmd);
	const struct mapping *map;
	int rc;

	if (cmd->flags & ~(IOMMU_UNMAP_DMA_ALL | IOMMU_UNMAP_DMA_GET_DIRTY))
		return -EOPNOTSUPP;
	if (cmd->__reserved)
		return -EINVAL;
	if (!ioas)
		return -ENOENT;
	if (cmd->iova & (PAGE - 1))
		return -EINVAL;
	if (get_dirty ? cmd->flags & IOMMU_UNMAP_DMA_ALL :
			cmd->page_size || cmd->bitmap)
		return -EINVAL;
	if (cmd->flags & IOMMU_UNMAP_DMA_ALL)
		return cmd->iova || cmd->length ? -EINVAL : 0;
	if (!cmd->length || cmd->length & (PAGE - 1))
		return -EINVAL;
	if (range.last < range.first)
		return -EOVERFLOW;
	rc = get_dirty ? bitmap_error(ioas, cmd->iova, cmd->length,
				      cmd->page_size, cmd->bitmap) : 0;
	if (rc)
		return rc;
	map = mapping_at(ioas, range.first);
	if (map && map->range.first != range.first)
		return -EINVAL;
	map = mapping_at(ioas, range.last);
	if (map && map->range.last != range.last)
		return -EINVAL;
	return 0;
}

/* Return: how many bytes it removes. */
__u64 unmap_commit(struct ioas *ioas, const struct iommu_unmap_dma *cmd)
{
	struct range range = unmap_range(cmd);
	unsigned int i, left = 0;
	__u64 bytes = 0;

	for (i = 0; i < ioas->num_maps; i++) {
		struct mapping *map = ioas->maps[i];

		if (!contains(range, map->range)) {
			ioas->maps[left++] = map;
			continue;
		}
		bytes += mapping_length(map);
		mapping_free(map);
	}
	ioas->num_maps = left;
	return bytes;
}

/* ---- dirty tracking ---- */

/* Of START and STOP */
int tracking_error(const struct ioas *ioas, const struct iommu_dirty_start *cmd)
{
	if (cmd->flags)
		return -EOPNOTSUPP;
	if (cmd->__reserved)
		return -EINVAL;
	if (!ioas)
		return -ENOENT;
	return ioas->dirty ? 0 : -EINVAL;
}

int report_error(const struct ioas *ioas, const struct iommu_dirty_get *cmd)
{
	if (cmd->flags & ~IOMMU_DIRTY_GET_NO_CLEAR)
		return -EOPNOTSUPP;
	if (cmd->__reserved)
		return -EINVAL;
	if (!ioas)
		return -ENOENT;
	if (!ioas->dirty)
		return -EINVAL;
	return bitmap_error(ioas, cmd->iova, cmd->length, cmd->page_size,
			    cmd->bitmap);
}

unsigned int num_mappings_over(const struct ioas *ioas, struct range range)
{
	unsigned int i, num = 0;

	for (i = 0; i < ioas->num_maps; i++)
		num += overlap(ioas->maps[i]->range, range);
	return num;
}

/* All of the range was reported, with clearing. */
void report_commit(struct ioas *ioas, struct range range)
{
	unsigned int i;
	size_t page;

	for (i = 0; i < ioas->num_maps; i++) {
		struct mapping *map = ioas->maps[i];
		size_t num = mapping_length(map) / PAGE;

		if (!overlap(map->range, range))
			continue;
		for (page = 0; page < num; page++) {
			__u64 iova = map->range.first + page * PAGE;

			if (iova >= range.first && iova <= range.last)
				map->marks[page] = 0;
		}
	}
}

/* START when nothing is tracked, and STOP, forget all. */
void tracking_commit(struct ioas *ioas, bool on)
{
	if (on != ioas->tracking)
		report_commit(ioas, (struct range){ 0, ~0ULL });
	ioas->tracking = on;
}

/*
 * A device has written there. The IOMMU may note that for all of 2 MiB if the
 * mapping holds these; no mapping is large enough for the next larger page.
 */
void mark_written(const struct slot *slot, __u64 iova)
{
	const struct ioas *ioas = slot->ioas;
	struct range large = { iova & ~(HUGE_SIZE - 1), iova | (HUGE_SIZE - 1) };
	struct mapping *map = mapping_at(ioas, iova);
	__u64 page;

	if (!ioas->tracking)
		return;
	map->marks[(iova - map->range.first) / PAGE] |= MARK_WRITTEN;
	if (slot->owner->only_small || !contains(map->range, large))
		return;
	page = (large.first - map->range.first) / PAGE;
	for (; large.first < large.last; large.first += PAGE)
		map->marks[page++] |= MARK_BESIDE;
}

/* ---- attach and detach ---- */

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
	unsigned int i;

	for (i = 0; i < on->num_reserved; i++)
		if (mapping_over(ioas, on->reserved[i]))
			return -EADDRINUSE;
	return 0;
}

static int new_table_error(const struct ioas *ioas, const struct instance *on)
{
	unsigned int i;

	if (ioas->width && on->aperture.last < ioas_last(ioas))
		return -EINVAL;
	for (i = 0; i < ioas->num_maps; i++)
		if (!contains(on->aperture, ioas->maps[i]->range))
			return -EADDRINUSE;
	return 0;
}

static int pin_error(const struct model *m, const struct ioas *ioas)
{
	unsigned int i;

	if (num_attached(m, ioas))
		return 0;
	for (i = 0; i < ioas->num_maps; i++)
		if (!may_pin(ioas->maps[i]->src, ioas->maps[i]->by_file,
			     ioas->maps[i]->prot))
			return -EFAULT;
	return 0;
}

/* @plan: Output, if there is no error: what will be done */
int attach_error(const struct model *m, const struct device *dev,
		 unsigned int slot, const struct ioas *ioas, struct plan *plan)
{
	const struct slot *now = &dev->group->slots[slot];
	const struct instance *on = dev->group->on;
	bool replace = now->members & dev->member;
	const struct table *table;
	int rc;

	*plan = (struct plan){ .owner = on };
	if (!ioas)
		return -ENOENT;
	if (slot && (!has_pasids(on) || slot_pasids[slot] > on->max_pasid))
		return -EINVAL;
	rc = pin_error(m, ioas);
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

static void slot_leave(struct model *m, struct slot *slot)
{
	struct ioas *ioas = slot->ioas;
	unsigned int i;

	table_put(ioas, slot->owner);
	slot->ioas = NULL;
	slot->owner = NULL;
	if (num_attached(m, ioas))
		return;
	for (i = 0; i < ioas->num_maps; i++)
		mapping_unpin(ioas->maps[i]);
}

void attach_commit(struct model *m, struct device *dev, unsigned int slot,
		   struct ioas *ioas, const struct plan *plan)
{
	struct slot *now = &dev->group->slots[slot];
	unsigned int i;

	if (plan->nothing)
		return;
	for (i = 0; i < ioas->num_maps; i++)
		mapping_pin(ioas->maps[i]);
	if (now->ioas == ioas) {
		now->members |= dev->member;
		return;
	}
	/* All devices of the group move along. */
	if (now->ioas)
		slot_leave(m, now);
	table_get(ioas, plan->owner);
	now->ioas = ioas;
	now->owner = plan->owner;
	now->members |= dev->member;
}

void detach_commit(struct model *m, struct device *dev, unsigned int slot)
{
	struct slot *now = &dev->group->slots[slot];

	if (!(now->members & dev->member))
		return;
	now->members &= ~dev->member;
	if (!now->members)
		slot_leave(m, now);
}
