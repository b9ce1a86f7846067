// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model of IOASIDs and mappings. The *_error() functions tell what a call
 * returns, 0 or the errno that include/uapi/linux/iommu.h has for it; the
 * *_commit() functions do what a call does that succeeds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model.h"

/* ---- ranges ---- */

bool overlap(struct range a, struct range b)
{
	return a.first <= b.last && b.first <= a.last;
}

bool contains(struct range outer, struct range inner)
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

unsigned int num_mappings_over(const struct ioas *ioas, struct range range)
{
	unsigned int i, num = 0;

	for (i = 0; i < ioas->num_maps; i++)
		num += overlap(ioas->maps[i]->range, range);
	return num;
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
bool may_pin(const struct source *src, bool by_file, __u32 prot)
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

void mapping_free(struct mapping *map)
{
	mapping_unpin(map);
	free(map->marks);
	free(map);
}

/* Those of a root; children's pin nothing. */
void mappings_pin(struct ioas *root)
{
	unsigned int i;

	for (i = 0; i < root->num_maps; i++)
		mapping_pin(root->maps[i]);
}

void mappings_unpin(struct ioas *root)
{
	unsigned int i;

	for (i = 0; i < root->num_maps; i++)
		mapping_unpin(root->maps[i]);
}

/* Takes a mapping out of its place. */
static void mapping_remove(struct ioas *ioas, struct mapping *map)
{
	unsigned int i = 0;

	while (ioas->maps[i] != map)
		i++;
	ioas->num_maps--;
	memmove(&ioas->maps[i], &ioas->maps[i + 1],
		(ioas->num_maps - i) * sizeof(ioas->maps[0]));
	mapping_free(map);
}

static void mapping_add(struct ioas *ioas, struct mapping *map)
{
	unsigned int i;

	for (i = ioas->num_maps++;
	     i && ioas->maps[i - 1]->range.first > map->range.first; i--)
		ioas->maps[i] = ioas->maps[i - 1];
	ioas->maps[i] = map;
}

/* ---- IOASIDs ---- */

__u64 last_of_width(__u32 width)
{
	return width && width < 64 ? (1ULL << width) - 1 : ~0ULL;
}

struct ioas *ioas_of_id(const struct model *m, __u32 id)
{
	unsigned int i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[i] && m->ioases[i]->id == id)
			return m->ioases[i];
	return NULL;
}

static int exact_error(const struct iommu_ioasid_alloc *cmd)
{
	const struct iommu_range *range = (void *)(uintptr_t)cmd->ranges;
	unsigned int i;

	if (!cmd->num_ranges)
		return 0;
	if (cmd->num_ranges > 1024)
		return -EINVAL;
	if (!range)
		return -EFAULT;
	for (i = 0; i < cmd->num_ranges; i++) {
		if (range[i].first > range[i].last ||
		    range[i].last > last_of_width(cmd->addr_width))
			return -EINVAL;
		if (i && (range[i].first <= range[i - 1].last ||
			  range[i].first - range[i - 1].last == 1))
			return -EINVAL;
	}
	return 0;
}

int alloc_error(const struct model *m, const struct iommu_ioasid_alloc *cmd)
{
	bool prereg = cmd->type == IOMMU_IOASID_TYPE_PREREG;
	const struct ioas *parent;
	int rc;

	if (cmd->flags & ~IOMMU_IOASID_ALLOC_DIRTY)
		return -EOPNOTSUPP;
	if (cmd->type != IOMMU_IOASID_TYPE_KERNEL && !prereg)
		return -EOPNOTSUPP;
	if (prereg && (cmd->parent || cmd->flags))
		return -EINVAL;
	if ((cmd->addr_width && cmd->addr_width < 12) ||
	    cmd->addr_width > 64 || cmd->snoop > IOMMU_SNOOP_OFF)
		return -EINVAL;
	if (cmd->page_size && (cmd->page_size < PAGE ||
			       cmd->page_size & (cmd->page_size - 1)))
		return -EINVAL;
	rc = exact_error(cmd);
	if (rc || !cmd->parent)
		return rc;
	parent = ioas_of_id(m, cmd->parent);
	if (!parent)
		return -ENOENT;
	return depth_of(parent) < IOMMU_IOASID_MAX_DEPTH ? 0 : -EINVAL;
}

int free_error(const struct model *m, const struct ioas *ioas)
{
	if (!ioas)
		return -ENOENT;
	return num_attached(m, ioas) || num_children(m, ioas) ? -EBUSY : 0;
}

struct ioas *ioas_new(struct model *m, const struct iommu_ioasid_alloc *cmd)
{
	const struct iommu_range *ranges = (void *)(uintptr_t)cmd->ranges;
	struct ioas *ioas = calloc(1, sizeof(*ioas));
	unsigned int i;

	ioas->id = cmd->ioasid;
	ioas->type = cmd->type;
	ioas->parent = cmd->parent ? ioas_of_id(m, cmd->parent) : NULL;
	ioas->width = cmd->addr_width;
	ioas->snoop = cmd->snoop;
	ioas->dirty = cmd->flags & IOMMU_IOASID_ALLOC_DIRTY;
	ioas->alignment = cmd->page_size ?: PAGE;
	ioas->num_exact = cmd->num_ranges;
	for (i = 0; i < cmd->num_ranges; i++)
		ioas->exact[i] = (struct range){ ranges[i].first,
						 ranges[i].last };
	for (i = 0; m->ioases[i]; i++)
		;
	m->ioases[i] = ioas;
	if (m->deepest < depth_of(ioas))
		m->deepest = depth_of(ioas);
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
 * What was asked for; else what all page tables reach, less what is reserved for the
 * devices that are attached with their plain DMA.
 */
void permitted_ranges(const struct model *m, const struct ioas *ioas,
		      struct ranges *ranges)
{
	struct range reach = { 0, last_of_width(ioas->width) };
	unsigned int i, j;

	ranges->num = 0;
	for (i = 0; i < ioas->num_exact; i++)
		ranges_add(ranges, ioas->exact[i].first, ioas->exact[i].last);
	if (ioas->num_exact)
		return;
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
		__u64 first = (free.range[i].first + ioas->alignment - 1) &
			      -ioas->alignment;

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

static int map_args_error(struct model *m, const struct ioas *ioas,
			  const struct iommu_map_dma *cmd)
{
	bool alloc = cmd->flags & IOMMU_MAP_DMA_ALLOC_IOVA;
	bool file = cmd->flags & IOMMU_MAP_DMA_FILE;

	if (!cmd->length)
		return -EINVAL;
	if (cmd->iova + cmd->length - 1 < cmd->iova ||
	    cmd->src + cmd->length - 1 < cmd->src)
		return -EOVERFLOW;
	if (!(cmd->flags & READ_WRITE))
		return -EINVAL;
	if ((!file && cmd->fd) || (file && ioas->parent))
		return -EINVAL;
	if (alloc && cmd->iova)
		return -EINVAL;
	if (cmd->flags & IOMMU_MAP_DMA_REPLACE && (alloc || ioas->dirty))
		return -EINVAL;
	if ((cmd->iova | cmd->src | cmd->length) & (ioas->alignment - 1))
		return -EINVAL;
	return file ? file_error(m, cmd) : 0;
}

/* Whether a range ends, or begins, inside of a mapping */
static bool cuts_mapping(const struct ioas *ioas, struct range range)
{
	const struct mapping *first = mapping_at(ioas, range.first);
	const struct mapping *last = mapping_at(ioas, range.last);

	return (first && first->range.first != range.first) ||
	       (last && last->range.last != range.last);
}

static int map_place_error(const struct model *m, const struct ioas *ioas,
			   const struct iommu_map_dma *cmd)
{
	struct range range = { cmd->iova, cmd->iova + cmd->length - 1 };
	bool replace = cmd->flags & IOMMU_MAP_DMA_REPLACE;
	unsigned int over = num_mappings_over(ioas, range);
	struct ranges permitted;

	if (cmd->flags & IOMMU_MAP_DMA_ALLOC_IOVA) {
		if (!has_room(m, ioas, cmd->length))
			return -ENOSPC;
		return ioas->num_maps < MAX_MAPPINGS ? 0 : -ENOSPC;
	}
	if (over && !replace)
		return -EEXIST;
	if (cuts_mapping(ioas, range))
		return -EINVAL;
	if (num_shadows(m, ioas, range))
		return -EBUSY;
	if (ioas->num_maps - over == MAX_MAPPINGS)
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
			   IOMMU_MAP_DMA_FILE | IOMMU_MAP_DMA_REPLACE))
		return -EOPNOTSUPP;
	if (!ioas)
		return -ENOENT;
	if (!any_open(m))
		return -EPERM;
	rc = map_args_error(m, ioas, cmd);
	if (!rc)
		rc = map_place_error(m, ioas, cmd);
	if (rc)
		return rc;
	if (ioas->parent)
		return show_error(ioas, cmd);
	if (!keeps_pins(m, ioas))
		return 0;
	src = source_at(m, cmd->src, cmd->length);
	return may_pin(src, cmd->flags & IOMMU_MAP_DMA_FILE, cmd->flags) ?
		       0 : -EFAULT;
}

static struct mapping *mapping_new(struct model *m, struct ioas *ioas,
				   const struct iommu_map_dma *cmd)
{
	struct mapping *map = calloc(1, sizeof(*map));

	map->range.first = cmd->iova;
	map->range.last = cmd->iova + cmd->length - 1;
	map->prot = cmd->flags & READ_WRITE;
	map->marks = calloc(cmd->length / PAGE, 1);
	map->by_file = cmd->flags & IOMMU_MAP_DMA_FILE;
	if (ioas->parent) {
		map->source = cmd->src;
		m->pieces += num_pieces(ioas->parent, shown_by(map)) > 1;
		return map;
	}
	if (map->by_file) {
		map->src = source_of_fd(m, cmd->fd) ?: &m->sources[SOURCE_MEMFD];
		map->page = cmd->src / PAGE;
	} else {
		map->src = source_at(m, cmd->src, cmd->length);
		map->page = (cmd->src - (uintptr_t)map->src->mem) / PAGE;
	}
	if (keeps_pins(m, ioas))
		mapping_pin(map);
	return map;
}

/*
 * @cmd: With the address that the kernel has chosen. Return: 0, or -EINVAL if it
 * should not have.
 */
int map_commit(struct model *m, struct ioas *ioas,
	       const struct iommu_map_dma *cmd)
{
	struct iommu_map_dma fixed = *cmd;
	struct mapping *map, *old;

	fixed.flags &= ~IOMMU_MAP_DMA_ALLOC_IOVA;
	if (fixed.iova & (ioas->alignment - 1) ||
	    map_place_error(m, ioas, &fixed))
		return -EINVAL;
	if (!cmd->iova && cmd->flags & IOMMU_MAP_DMA_ALLOC_IOVA)
		return -EINVAL;
	map = mapping_new(m, ioas, cmd);
	while ((old = mapping_over(ioas, map->range)))
		mapping_remove(ioas, old);
	mapping_add(ioas, map);
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

static int unmap_args_error(const struct ioas *ioas,
			    const struct iommu_unmap_dma *cmd)
{
	bool get_dirty = cmd->flags & IOMMU_UNMAP_DMA_GET_DIRTY;
	struct range range = unmap_range(cmd);

	if (cmd->iova & (ioas->alignment - 1))
		return -EINVAL;
	if (get_dirty ? cmd->flags & (IOMMU_UNMAP_DMA_ALL |
				      IOMMU_UNMAP_DMA_REVOKE) :
			cmd->page_size || cmd->bitmap)
		return -EINVAL;
	if (cmd->flags & IOMMU_UNMAP_DMA_ALL)
		return cmd->iova || cmd->length ? -EINVAL : 0;
	if (!cmd->length || cmd->length & (ioas->alignment - 1))
		return -EINVAL;
	if (range.last < range.first)
		return -EOVERFLOW;
	return get_dirty ? bitmap_error(ioas, cmd->iova, cmd->length,
					cmd->page_size, cmd->bitmap) : 0;
}

int unmap_error(const struct model *m, const struct ioas *ioas,
		const struct iommu_unmap_dma *cmd)
{
	int rc;

	if (cmd->flags & ~(IOMMU_UNMAP_DMA_ALL | IOMMU_UNMAP_DMA_GET_DIRTY |
			   IOMMU_UNMAP_DMA_REVOKE))
		return -EOPNOTSUPP;
	if (cmd->__reserved)
		return -EINVAL;
	if (!ioas)
		return -ENOENT;
	rc = unmap_args_error(ioas, cmd);
	if (rc)
		return rc;
	if (cuts_mapping(ioas, unmap_range(cmd)))
		return -EINVAL;
	if (!(cmd->flags & IOMMU_UNMAP_DMA_REVOKE) &&
	    num_shadows(m, ioas, unmap_range(cmd)))
		return -EBUSY;
	return 0;
}

/* Return: how many bytes it removes. */
__u64 unmap_commit(struct model *m, struct ioas *ioas,
		   const struct iommu_unmap_dma *cmd)
{
	struct range range = unmap_range(cmd);
	unsigned int i, left = 0;
	__u64 bytes = 0;

	revoke_commit(m, ioas, range);
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

/* ---- MAP_BATCH ---- */

static struct iommu_map_dma batch_map(const struct iommu_batch_entry *entry)
{
	return (struct iommu_map_dma){
		.flags = entry->flags,
		.fd = entry->fd,
		.iova = entry->iova,
		.src = entry->src,
		.length = entry->length,
	};
}

static struct iommu_unmap_dma batch_unmap(const struct iommu_batch_entry *entry)
{
	return (struct iommu_unmap_dma){
		.iova = entry->iova,
		.length = entry->length,
	};
}

/* What an entry says when those before it have taken effect */
int batch_entry_error(struct model *m, const struct ioas *ioas,
		      const struct iommu_batch_entry *entry)
{
	struct iommu_unmap_dma unmap = batch_unmap(entry);
	struct iommu_map_dma map = batch_map(entry);

	if (!(entry->flags & IOMMU_BATCH_ENTRY_UNMAP))
		return map.flags & IOMMU_MAP_DMA_ALLOC_IOVA ?
			       -EOPNOTSUPP : map_error(m, ioas, &map);
	if (entry->flags != IOMMU_BATCH_ENTRY_UNMAP)
		return -EOPNOTSUPP;
	if (entry->fd || entry->src)
		return -EINVAL;
	return unmap_error(m, ioas, &unmap);
}

/* Return: how many bytes it removes that it does not replace. */
__u64 batch_entry_commit(struct model *m, struct ioas *ioas,
			 const struct iommu_batch_entry *entry)
{
	struct iommu_unmap_dma unmap = batch_unmap(entry);
	struct iommu_map_dma map = batch_map(entry);

	if (entry->flags == IOMMU_BATCH_ENTRY_UNMAP)
		return unmap_commit(m, ioas, &unmap);
	map_commit(m, ioas, &map);
	return 0;
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
