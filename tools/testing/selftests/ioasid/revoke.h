/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of REVOKE begin with: a root that has the memory, in pieces, two
 * children and a grandchild, and a device that is not attached yet.
 */
#ifndef REVOKE_H
#define REVOKE_H

#include "device_fixture.h"

#define MEM_PAGES	64
#define PIECE		4	/* pages of each mapping of the root */
#define ROOT		0x2000000ULL
#define CHILD		0x4000000ULL
#define SIBLING		0x5000000ULL
#define GRANDCHILD	0x6000000ULL

FIXTURE(revoke) {
	int iommu;
	int events;
	int access;
	struct dma_device dev;
	__u32 root;
	__u32 child;
	__u32 sibling;
	__u32 grandchild;
	char *mem;
	struct counts counts;
};

FIXTURE_VARIANT(revoke) {
	bool prereg;
};

FIXTURE_VARIANT_ADD(revoke, prereg) {
	.prereg = true,
};

FIXTURE_VARIANT_ADD(revoke, kernel) {
	.prereg = false,
};

/* Four address spaces, and all of the memory in the root, in pieces */
static int make_graph(struct _test_data_revoke *self, bool prereg)
{
	unsigned int page;
	int rc = prereg ? ioasid_alloc_prereg(self->iommu, &self->root) :
			  ioasid_alloc(self->iommu, &self->root);

	if (!rc)
		rc = ioasid_alloc_child(self->iommu, self->root, &self->child);
	if (!rc)
		rc = ioasid_alloc_child(self->iommu, self->root,
					&self->sibling);
	if (!rc)
		rc = ioasid_alloc_child(self->iommu, self->child,
					&self->grandchild);
	for (page = 0; !rc && page < MEM_PAGES; page += PIECE)
		rc = ioasid_map(self->iommu, self->root, READ_WRITE,
				self->mem + page * PAGE, ROOT + page * PAGE,
				PIECE * PAGE);
	return rc;
}

FIXTURE_SETUP(revoke)
{
	self->access = -1;
	self->events = -1;
	if (!DEVICE_BEGIN())
		return;
	MEM_BEGIN(MEM_PAGES * PAGE);
	ASSERT_EQ(0, make_graph(self, variant->prereg));
	self->events = event_open(self->iommu);
	ASSERT_LE(0, self->events);
}

FIXTURE_TEARDOWN(revoke)
{
	if (self->access >= 0)
		close(self->access);
	if (self->events >= 0)
		close(self->events);
	DEVICE_END();
}

/* Page numbers of memory are those of the root. */
static int show(struct _test_data_revoke *self, __u32 ioasid, __u64 base,
		unsigned int from, unsigned int to, unsigned int pages)
{
	__u64 source = ioasid == self->grandchild ? CHILD : ROOT;

	return ioasid_show(self->iommu, ioasid, READ_WRITE,
			   source + from * PAGE, base + to * PAGE,
			   pages * PAGE);
}

static int show_child(struct _test_data_revoke *self, unsigned int from,
		      unsigned int to, unsigned int pages)
{
	return show(self, self->child, CHILD, from, to, pages);
}

static int show_sibling(struct _test_data_revoke *self, unsigned int from,
			unsigned int to, unsigned int pages)
{
	return show(self, self->sibling, SIBLING, from, to, pages);
}

static int show_grandchild(struct _test_data_revoke *self, unsigned int from,
			   unsigned int to, unsigned int pages)
{
	return show(self, self->grandchild, GRANDCHILD, from, to, pages);
}

static int revoke_root(struct _test_data_revoke *self, unsigned int page,
		       unsigned int pages)
{
	return ioasid_revoke(self->iommu, self->root, ROOT + page * PAGE,
			     pages * PAGE, NULL);
}

static __u64 num_mappings(struct _test_data_revoke *self, __u32 ioasid)
{
	struct iommu_ioasid_info info;

	if (ioasid_totals(self->iommu, ioasid, &info))
		return 999;
	return info.num_mappings;
}

#endif
