// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOASIDs with a parent. Where the kernel keeps what is behind a mapping of a child,
 * the model asks the parent each time, page by page.
 */
#include <errno.h>

#include "model.h"

/* ---- the tree ---- */

/* IOASIDs from the root to this one, both counted */
unsigned int depth_of(const struct ioas *ioas)
{
	unsigned int depth = 0;

	for (; ioas; ioas = ioas->parent)
		depth++;
	return depth;
}

struct ioas *root_of(struct ioas *ioas)
{
	while (ioas->parent)
		ioas = ioas->parent;
	return ioas;
}

/* Whether all mappings of a root are pinned: for whoever is attached below it */
bool keeps_pins(const struct model *m, const struct ioas *root)
{
	unsigned int i;

	if (root->type == IOMMU_IOASID_TYPE_PREREG)
		return true;
	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[i] && root_of(m->ioases[i]) == root &&
		    num_attached(m, m->ioases[i]))
			return true;
	return false;
}

unsigned int num_children(const struct model *m, const struct ioas *parent)
{
	unsigned int i, num = 0;

	for (i = 0; i < MAX_IOASIDS; i++)
		num += m->ioases[i] && m->ioases[i]->parent == parent;
	return num;
}

/* ---- what children show ---- */

struct range shown_by(const struct mapping *map)
{
	return (struct range){ map->source,
			       map->source + mapping_length(map) - 1 };
}

/* How many mappings of children show some of a range */
unsigned int num_shadows(const struct model *m, const struct ioas *parent,
			 struct range range)
{
	unsigned int i, j, num = 0;

	for (i = 0; i < MAX_IOASIDS; i++) {
		const struct ioas *child = m->ioases[i];

		if (!child || child->parent != parent)
			continue;
		for (j = 0; j < child->num_maps; j++)
			num += overlap(shown_by(child->maps[j]), range);
	}
	return num;
}

/* The mapping of the root that a page comes from, and which of its pages it is */
static const struct mapping *origin_at(const struct ioas *ioas, __u64 at,
				       size_t *page)
{
	const struct mapping *map = mapping_at(ioas, at);

	while (ioas->parent) {
		at = map->source + (at - map->range.first);
		ioas = ioas->parent;
		map = mapping_at(ioas, at);
	}
	*page = (at - map->range.first) / PAGE;
	return map;
}

/* What a device reaches at a page that is mapped; the root's mappings are pinned. */
struct page *page_at(const struct ioas *ioas, __u64 at)
{
	size_t page;
	const struct mapping *origin = origin_at(ioas, at, &page);

	return origin->pinned[page];
}

/*
 * Whether memory that does not go on from what is before it begins at a page of the
 * parent; @page is which it is of the root's mapping.
 */
static bool begins_piece(const struct ioas *parent, struct range shown,
			 __u64 at, size_t *page)
{
	const struct mapping *origin = origin_at(parent, at, page);
	size_t before;

	return at == shown.first ||
	       origin_at(parent, at - PAGE, &before) != origin ||
	       before + 1 != *page;
}

unsigned int num_pieces(const struct ioas *parent, struct range shown)
{
	unsigned int num = 0;
	size_t page;
	__u64 at;

	for (at = shown.first; at < shown.last; at += PAGE)
		num += begins_piece(parent, shown, at, &page);
	return num;
}

/* All must begin at multiples of what the child maps in, there and in the root. */
static int pieces_error(const struct ioas *child, struct range shown)
{
	size_t page;
	__u64 at;

	for (at = shown.first; at < shown.last; at += PAGE)
		if (begins_piece(child->parent, shown, at, &page) &&
		    ((at - shown.first) | page * PAGE) & (child->alignment - 1))
			return -EINVAL;
	return 0;
}

/* What MAP in a child says to the addresses of the parent that it is to show */
int show_error(const struct ioas *ioas, const struct iommu_map_dma *cmd)
{
	struct range range = { cmd->src, cmd->src + cmd->length - 1 };
	__u64 next = range.first;
	unsigned int i;

	for (i = 0; i < ioas->parent->num_maps; i++) {
		const struct mapping *map = ioas->parent->maps[i];

		if (!overlap(map->range, range))
			continue;
		if (map->range.first > next)
			return -ENOENT;
		if (cmd->flags & READ_WRITE & ~map->prot)
			return -EPERM;
		if (map->range.last >= range.last)
			return pieces_error(ioas, range);
		next = map->range.last + 1;
	}
	return -ENOENT;
}

/* ---- REVOKE ---- */

static void revoke_from(struct model *m, struct ioas *child, struct range range)
{
	unsigned int i, left = 0;

	for (i = 0; i < child->num_maps; i++) {
		struct mapping *map = child->maps[i];

		if (!overlap(shown_by(map), range)) {
			child->maps[left++] = map;
			continue;
		}
		revoke_commit(m, child, map->range);
		event_expect(m, IOMMU_EVENT_REVOKED, child, map->range.first,
			     mapping_length(map));
		mapping_free(map);
	}
	child->num_maps = left;
}

/* What shows some of a range goes, and what shows that. */
void revoke_commit(struct model *m, const struct ioas *parent,
		   struct range range)
{
	unsigned int i;

	for (i = 0; i < MAX_IOASIDS; i++)
		if (m->ioases[i] && m->ioases[i]->parent == parent)
			revoke_from(m, m->ioases[i], range);
}
