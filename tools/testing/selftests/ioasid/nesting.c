// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOASIDs in IOASIDs: what a child can show of its parent, what it keeps the
 * parent from, and what devices and in-kernel users reach through it. REVOKE is
 * the business of revoke.c.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "access_utils.h"
#include "device_fixture.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"

#define MEM_PAGES	64
/* In the root, which may be a root that devices attach to: edu has 28 bits. */
#define ROOT		0x2000000ULL
#define CHILD		0x4000000ULL
#define GRANDCHILD	0x6000000ULL
#define BYTES		128

FIXTURE(nesting) {
	int iommu;
	int access;
	struct dma_device dev;
	__u32 root;
	__u32 child;
	__u32 grandchild;
	char *mem;
	struct counts counts;
};

FIXTURE_VARIANT(nesting) {
	bool prereg;
};

/* Pinned when it is registered */
FIXTURE_VARIANT_ADD(nesting, prereg) {
	.prereg = true,
};

/* Pinned when somebody needs it, here or below */
FIXTURE_VARIANT_ADD(nesting, kernel) {
	.prereg = false,
};

FIXTURE_SETUP(nesting)
{
	self->access = -1;
	if (!DEVICE_BEGIN())
		return;
	ASSERT_EQ(0, variant->prereg ?
			     ioasid_alloc_prereg(self->iommu, &self->root) :
			     ioasid_alloc(self->iommu, &self->root));
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->root, &self->child));
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->child,
					&self->grandchild));
	MEM_BEGIN(MEM_PAGES * PAGE);
}

FIXTURE_TEARDOWN(nesting)
{
	if (self->access >= 0)
		close(self->access);
	DEVICE_END();
}

static int root_map(struct _test_data_nesting *self, __u32 flags,
		    unsigned int page, unsigned int pages)
{
	return ioasid_map(self->iommu, self->root, flags,
			  self->mem + page * PAGE, ROOT + page * PAGE,
			  pages * PAGE);
}

/* A child shows so many pages of the root, from page @from on, at page @to. */
static int show(struct _test_data_nesting *self, __u32 flags, unsigned int from,
		unsigned int to, unsigned int pages)
{
	return ioasid_show(self->iommu, self->child, flags, ROOT + from * PAGE,
			   CHILD + to * PAGE, pages * PAGE);
}

/* The same from the child to the grandchild */
static int show_again(struct _test_data_nesting *self, __u32 flags,
		      unsigned int from, unsigned int to, unsigned int pages)
{
	return ioasid_show(self->iommu, self->grandchild, flags,
			   CHILD + from * PAGE, GRANDCHILD + to * PAGE,
			   pages * PAGE);
}

static int unmap(struct _test_data_nesting *self, __u32 ioasid, __u64 iova,
		 unsigned int pages)
{
	return ioasid_unmap(self->iommu, ioasid, iova, pages * PAGE, NULL);
}

/* All that GET_INFO says of the three */
struct graph {
	struct iommu_ioasid_info info[3];
	struct counts counts;
};

static int graph_read(struct _test_data_nesting *self, struct graph *graph)
{
	int rc = ioasid_totals(self->iommu, self->root, &graph->info[0]);

	if (!rc)
		rc = ioasid_totals(self->iommu, self->child, &graph->info[1]);
	if (!rc)
		rc = ioasid_totals(self->iommu, self->grandchild,
				   &graph->info[2]);
	return rc ? rc : counts_read(&graph->counts);
}

/* A call fails and changes nothing, as far as anybody can tell. */
#define EXPECT_REFUSED(error, call) do { \
	struct graph __before, __after; \
	EXPECT_EQ(0, graph_read(self, &__before)); \
	EXPECT_EQ((error), (call)); \
	EXPECT_EQ(0, graph_read(self, &__after)); \
	EXPECT_EQ(0, memcmp(&__before, &__after, sizeof(__before))); \
} while (0)

/* Where all IOMMUs reach, and nothing else is */
#define MANY_AT 0x40000000ULL

#define EXPECT_PINNED(pages) do { \
	struct counts __now; \
	long __pages = (pages); \
	EXPECT_EQ(0, counts_read(&__now)); \
	EXPECT_EQ(__pages * (long)PAGE, \
		  __now.locked - self->counts.locked); \
	EXPECT_EQ(__pages, __now.pins - self->counts.pins); \
} while (0)

static __u64 num_shadows(struct _test_data_nesting *self, __u32 ioasid)
{
	struct iommu_ioasid_info info;

	if (ioasid_totals(self->iommu, ioasid, &info))
		return ULLONG_MAX;
	return info.num_shadows;
}

/* Whether the device copies from @from, which is @mem_from, to @to */
static bool device_copies(struct _test_data_nesting *self, __u64 from,
			  char *mem_from, __u64 to, char *mem_to,
			  unsigned int seed)
{
	fill_pattern(mem_from, BYTES, seed);
	memset(mem_to, 0, BYTES);
	return !dev_dma_copy(&self->dev, from, to, BYTES) &&
	       has_pattern(mem_to, BYTES, seed);
}

/* ---- the tree ---- */

TEST_F(nesting, depth)
{
	__u32 ids[IOMMU_IOASID_MAX_DEPTH + 1] = { self->root };
	struct iommu_ioasid_info info;
	__u64 depth;
	int i;

	ASSERT_EQ(0, iommu_extension(self->iommu, IOMMU_EXT_NESTING, 0,
				     &depth));
	EXPECT_EQ(IOMMU_IOASID_MAX_DEPTH, depth);
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	for (i = 1; i < IOMMU_IOASID_MAX_DEPTH; i++) {
		ASSERT_EQ(0, ioasid_alloc_child(self->iommu, ids[i - 1],
						&ids[i]));
		ASSERT_EQ(0, ioasid_show(self->iommu, ids[i], READ_WRITE,
					 ROOT + (i - 1) * PAGE,
					 ROOT + i * PAGE, 8 * PAGE));
	}
	EXPECT_REFUSED(-EINVAL, ioasid_alloc_child(self->iommu, ids[i - 1],
						   &ids[i]));
	for (i = 0; i < IOMMU_IOASID_MAX_DEPTH; i++) {
		ASSERT_EQ(0, ioasid_totals(self->iommu, ids[i], &info));
		EXPECT_EQ(i ? ids[i - 1] : 0, info.parent);
		EXPECT_EQ(i == IOMMU_IOASID_MAX_DEPTH - 1 ? 0 : i ? 1 : 2,
			  info.num_children);
		EXPECT_EQ(i == IOMMU_IOASID_MAX_DEPTH - 1 ? 0 : 1,
			  info.num_shadows);
	}

	/* The device is at the bottom. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, ids[7]));
	EXPECT_TRUE(device_copies(self, ROOT + 9 * PAGE, self->mem + 2 * PAGE,
				  ROOT + 12 * PAGE, self->mem + 5 * PAGE, 1));
	EXPECT_PINNED(8);
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_PINNED(variant->prereg ? 8 : 0);
	for (i = IOMMU_IOASID_MAX_DEPTH - 1; i; i--) {
		EXPECT_EQ(-EBUSY, ioasid_free(self->iommu, ids[i - 1]));
		EXPECT_EQ(0, ioasid_free(self->iommu, ids[i]));
	}
	EXPECT_EQ(0, num_shadows(self, self->root));
}

TEST_F(nesting, parent_must_be_there)
{
	struct iommu_ioasid_alloc cmd = { .type = IOMMU_IOASID_TYPE_KERNEL };
	int other = iommu_open();
	__u32 freed, ioasid;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &freed));
	ASSERT_EQ(0, ioasid_free(self->iommu, freed));
	cmd.parent = freed;
	EXPECT_EQ(-ENOENT, ioasid_alloc_call(self->iommu, &cmd, &ioasid));
	cmd.parent = UINT_MAX;
	EXPECT_EQ(-ENOENT, ioasid_alloc_call(self->iommu, &cmd, &ioasid));
	cmd.parent = self->dev.dev_id;
	EXPECT_EQ(-ENOENT, ioasid_alloc_call(self->iommu, &cmd, &ioasid));
	cmd.parent = self->grandchild;
	EXPECT_EQ(-ENOENT, ioasid_alloc_call(other, &cmd, &ioasid));
	close(other);
}

/* What a child is like does not depend on its parent, nor the other way round. */
TEST_F(nesting, attributes_of_its_own)
{
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.flags = IOMMU_IOASID_ALLOC_DIRTY,
		.parent = self->root,
		.addr_width = 32,
		.snoop = IOMMU_SNOOP_ENFORCE,
		.page_size = 4 * PAGE,
	};
	struct iommu_device_info device = {};
	struct iommu_ioasid_info info;
	__u64 far = MANY_AT;
	__u32 strict;
	bool tracks;

	ASSERT_EQ(0, ioasid_alloc_call(self->iommu, &cmd, &strict));
	ASSERT_EQ(0, ioasid_totals(self->iommu, strict, &info));
	EXPECT_EQ(32, info.addr_width);
	EXPECT_EQ(IOMMU_SNOOP_ENFORCE, info.snoop);
	EXPECT_EQ(IOMMU_IOASID_STATE_DIRTY, info.state);
	EXPECT_EQ(4 * PAGE, info.alignment);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->root, &info));
	EXPECT_EQ(0, info.addr_width);
	EXPECT_EQ(IOMMU_SNOOP_AUTO, info.snoop);
	EXPECT_EQ(0, info.state);
	EXPECT_EQ(PAGE, info.alignment);

	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	EXPECT_REFUSED(-EINVAL, ioasid_show(self->iommu, strict, READ_WRITE,
					    ROOT, 1ULL << 32, 4 * PAGE));
	EXPECT_REFUSED(-EINVAL, ioasid_show(self->iommu, strict, READ_WRITE,
					    ROOT + PAGE, CHILD, 4 * PAGE));
	EXPECT_EQ(0, ioasid_show(self->iommu, strict, READ_WRITE, ROOT, CHILD,
				 4 * PAGE));

	/* Its child may again be like any other. */
	cmd = (struct iommu_ioasid_alloc){
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.parent = strict,
	};
	ASSERT_EQ(0, ioasid_alloc_call(self->iommu, &cmd, &cmd.ioasid));
	if (!dev_num_windows(&self->dev, self->iommu))
		far = 1ULL << 40;
	EXPECT_EQ(0, ioasid_show(self->iommu, cmd.ioasid, READ_WRITE,
				 CHILD + PAGE, far, PAGE));
	EXPECT_EQ(0, vfio_attach(self->dev.fd, cmd.ioasid));
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &device));
	/* Its IOMMU may lack one of what is asked for, or both. */
	tracks = device.caps & IOMMU_DEVICE_CAP_DIRTY;
	if (!tracks || !(device.caps & IOMMU_DEVICE_CAP_ENFORCE_SNOOP))
		EXPECT_EQ(tracks ? -EINVAL : -EOPNOTSUPP,
			  vfio_attach(self->dev.fd, strict));
}

TEST_F(nesting, free_with_children)
{
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	ASSERT_EQ(0, show(self, READ_WRITE, 0, 0, 8));
	ASSERT_EQ(0, show_again(self, READ_WRITE, 2, 0, 4));
	EXPECT_REFUSED(-EBUSY, ioasid_free(self->iommu, self->root));
	EXPECT_REFUSED(-EBUSY, ioasid_free(self->iommu, self->child));
	EXPECT_REFUSED(-EBUSY, unmap(self, self->child, CHILD, 8));
	/* What a child shows ends with it. */
	ASSERT_EQ(0, ioasid_free(self->iommu, self->grandchild));
	EXPECT_EQ(0, num_shadows(self, self->child));
	EXPECT_EQ(1, num_shadows(self, self->root));
	EXPECT_EQ(0, unmap(self, self->child, CHILD, 8));
	EXPECT_EQ(0, num_shadows(self, self->root));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->child));
	EXPECT_EQ(0, unmap(self, self->root, ROOT, 8));
	EXPECT_EQ(0, ioasid_free(self->iommu, self->root));
	EXPECT_PINNED(0);
}

/* ---- what can be shown ---- */

/* Mappings of the root: pages 0 to 3, 4, 8 to 15; nothing at 5 to 7. */
static int map_pieces(struct _test_data_nesting *self)
{
	int rc = root_map(self, READ_WRITE, 0, 4);

	if (!rc)
		rc = root_map(self, READ_WRITE, 4, 1);
	return rc ? rc : root_map(self, READ_WRITE, 8, 8);
}

TEST_F(nesting, holes)
{
	ASSERT_EQ(0, map_pieces(self));
	ASSERT_EQ(0, show(self, READ_WRITE, 0, 0, 5));
	EXPECT_REFUSED(-ENOENT, show(self, READ_WRITE, 6, 16, 4));
	EXPECT_REFUSED(-ENOENT, show(self, READ_WRITE, 3, 16, 6));
	EXPECT_REFUSED(-ENOENT, show(self, READ_WRITE, 12, 16, 5));
	EXPECT_REFUSED(-ENOENT, show(self, READ_WRITE, 5, 16, 3));
	EXPECT_REFUSED(-ENOENT, show(self, READ_WRITE, 0, 16, 17));
	EXPECT_REFUSED(-ENOENT,
		       ioasid_show(self->iommu, self->child, READ_WRITE,
				   0 - 2 * PAGE, CHILD + 16 * PAGE, PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	EXPECT_REFUSED(-ENOENT, show(self, READ_WRITE, 3, 16, 6));
	EXPECT_REFUSED(-ENOENT, show_again(self, READ_WRITE, 4, 0, 2));
	/* With the hole filled it works. */
	ASSERT_EQ(0, root_map(self, READ_WRITE, 5, 3));
	EXPECT_EQ(0, show(self, READ_WRITE, 3, 16, 6));
	EXPECT_TRUE(device_copies(self, CHILD + 16 * PAGE, self->mem + 3 * PAGE,
				  CHILD + 20 * PAGE, self->mem + 7 * PAGE, 1));
}

TEST_F(nesting, permissions)
{
	ASSERT_EQ(0, root_map(self, READ_ONLY, 0, 4));
	ASSERT_EQ(0, root_map(self, READ_WRITE, 4, 4));
	ASSERT_EQ(0, root_map(self, WRITE_ONLY, 8, 4));
	EXPECT_REFUSED(-EPERM, show(self, READ_WRITE, 2, 0, 4));
	EXPECT_REFUSED(-EPERM, show(self, WRITE_ONLY, 3, 0, 1));
	EXPECT_REFUSED(-EPERM, show(self, READ_ONLY, 4, 0, 8));
	ASSERT_EQ(0, show(self, READ_ONLY, 0, 0, 8));
	ASSERT_EQ(0, show(self, READ_WRITE, 4, 8, 4));
	ASSERT_EQ(0, show(self, WRITE_ONLY, 4, 12, 8));
	/* What the child has given up the grandchild does not have. */
	EXPECT_REFUSED(-EPERM, show_again(self, READ_WRITE, 4, 0, 4));
	EXPECT_REFUSED(-EPERM, show_again(self, READ_ONLY, 12, 0, 1));
	EXPECT_EQ(0, show_again(self, READ_WRITE, 8, 0, 4));
	EXPECT_EQ(0, show_again(self, READ_ONLY, 8, 4, 4));

	/* A device cannot write what its address space only reads. */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->grandchild));
	fill_pattern(self->mem + 4 * PAGE, BYTES, 2);
	memset(self->mem + 5 * PAGE, 0, BYTES);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, GRANDCHILD,
				  GRANDCHILD + 5 * PAGE, BYTES));
	EXPECT_TRUE(all_bytes(self->mem + 5 * PAGE, BYTES, 0));
	ASSERT_EQ(0, dev_dma_copy(&self->dev, GRANDCHILD + 4 * PAGE,
				  GRANDCHILD + PAGE, BYTES));
	EXPECT_TRUE(has_pattern(self->mem + 5 * PAGE, BYTES, 2));
}

TEST_F(nesting, errors)
{
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	ASSERT_EQ(0, show(self, READ_WRITE, 0, 0, 4));
	EXPECT_REFUSED(-EEXIST, show(self, READ_WRITE, 0, 3, 2));
	EXPECT_REFUSED(-EINVAL, show(self, READ_WRITE, 0, 8, 0));
	EXPECT_REFUSED(-EINVAL, show(self, 0, 0, 8, 1));
	EXPECT_REFUSED(-EOVERFLOW,
		       ioasid_show(self->iommu, self->child, READ_WRITE,
				   0 - PAGE, CHILD + 8 * PAGE, 2 * PAGE));
	EXPECT_REFUSED(-EINVAL,
		       ioasid_show(self->iommu, self->child, READ_WRITE,
				   ROOT + 1, CHILD + 8 * PAGE, PAGE));
	/* A file, or memory of the process, is for a root. */
	EXPECT_REFUSED(-EINVAL,
		       ioasid_map_file(self->iommu, self->child, READ_WRITE, 0,
				       0, CHILD + 8 * PAGE, PAGE));
	EXPECT_REFUSED(-ENOENT,
		       ioasid_map(self->iommu, self->child, READ_WRITE,
				  self->mem, CHILD + 8 * PAGE, PAGE));
	/* What is taken comes before what is not there. */
	EXPECT_REFUSED(-EEXIST, show(self, READ_WRITE, 16, 3, 2));
	EXPECT_REFUSED(-EINVAL, unmap(self, self->child, CHILD, 3));
}

/* One mapping of the child over many of the root, from small to huge pages. */
TEST_F(nesting, many_sources)
{
	char *huge = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE_2M,
			  -1, 0);
	int fd = memfd_create("ioasid", MFD_CLOEXEC);
	size_t size = 8 * PAGE + HUGE_SIZE + 16 * PAGE, at;
	char *file;

	if (huge == MAP_FAILED)
		SKIP(return, "no two free huge pages");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 16 * PAGE));
	file = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	for (at = 0; at < 8; at++)
		ASSERT_EQ(0, root_map(self, READ_WRITE, at, 1));
	ASSERT_EQ(0, ioasid_map(self->iommu, self->root, READ_WRITE,
				huge + HUGE_SIZE / 2, ROOT + 8 * PAGE,
				HUGE_SIZE));
	ASSERT_EQ(0, ioasid_map_file(self->iommu, self->root, READ_WRITE, fd, 0,
				     ROOT + 8 * PAGE + HUGE_SIZE, 16 * PAGE));
	ASSERT_EQ(0, ioasid_show(self->iommu, self->child, READ_WRITE,
				 ROOT + PAGE, CHILD, size - 2 * PAGE));
	EXPECT_EQ(1, num_shadows(self, self->root));
	/* Offsets within, so that nothing starts where a mapping does */
	ASSERT_EQ(0, ioasid_show(self->iommu, self->grandchild, READ_WRITE,
				 CHILD + 2 * PAGE, GRANDCHILD + 5 * PAGE,
				 size - 5 * PAGE));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->grandchild));
#define AT(offset) (GRANDCHILD + 5 * PAGE - 3 * PAGE + (offset))
	EXPECT_TRUE(device_copies(self, AT(3 * PAGE), self->mem + 3 * PAGE,
				  AT(8 * PAGE + 64), huge + HUGE_SIZE / 2 + 64,
				  1));
	EXPECT_TRUE(device_copies(self, AT(8 * PAGE + HUGE_SIZE - PAGE),
				  huge + HUGE_SIZE * 3 / 2 - PAGE,
				  AT(8 * PAGE + HUGE_SIZE / 2),
				  huge + HUGE_SIZE, 2));
	EXPECT_TRUE(device_copies(self, AT(8 * PAGE + HUGE_SIZE / 2),
				  huge + HUGE_SIZE,
				  AT(8 * PAGE + HUGE_SIZE + 13 * PAGE),
				  file + 13 * PAGE, 3));
	/* Over the border between two */
	fill_pattern(self->mem, BYTES, 5);
	memcpy(huge + HUGE_SIZE * 3 / 2 - BYTES / 2, self->mem, BYTES / 2);
	memcpy(file, self->mem + BYTES / 2, BYTES / 2);
	ASSERT_EQ(0, dev_dma_copy(&self->dev,
				  AT(8 * PAGE + HUGE_SIZE - BYTES / 2),
				  AT(5 * PAGE), BYTES));
	EXPECT_TRUE(has_pattern(self->mem + 5 * PAGE, BYTES, 5));
#undef AT

	/* The root can go when nobody shows it any more. */
	EXPECT_REFUSED(-EBUSY, unmap(self, self->root, ROOT + 3 * PAGE, 1));
	/* But page 0 is not shown. */
	EXPECT_EQ(0, unmap(self, self->root, ROOT, 1));
	EXPECT_REFUSED(-EBUSY, ioasid_unmap_all(self->iommu, self->root, NULL));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->grandchild, NULL));
	EXPECT_REFUSED(-EBUSY, ioasid_unmap_all(self->iommu, self->root, NULL));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->child, NULL));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->root, NULL));
	EXPECT_PINNED(0);
	munmap(huge, 2 * HUGE_SIZE);
	munmap(file, 16 * PAGE);
	close(fd);
}

/* An exporter takes it back from who has mapped it, and knows of nobody else. */
TEST_F(nesting, device_memory)
{
	int fd = dmabuf_make(self->iommu, 4 * PAGE);

	if (fd < 0)
		SKIP(return, "no memory that stands for that of a device");
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	/* Nothing is pinned of it, so that it cannot be registered. */
	if (variant->prereg) {
		EXPECT_REFUSED(true, ioas_map_file(self->iommu, self->root,
						   IOAS_RW, fd, 0,
						   ROOT + 8 * PAGE,
						   4 * PAGE) == -EOPNOTSUPP);
		close(fd);
		return;
	}
	ASSERT_EQ(0, ioas_map_file(self->iommu, self->root, IOAS_RW, fd, 0,
				   ROOT + 8 * PAGE, 4 * PAGE));
	EXPECT_REFUSED(-EINVAL, show(self, READ_WRITE, 8, 0, 4));
	EXPECT_REFUSED(-EINVAL, show(self, READ_ONLY, 9, 0, 1));
	EXPECT_REFUSED(-EINVAL, show(self, READ_WRITE, 4, 0, 8));
	ASSERT_EQ(0, show(self, READ_WRITE, 4, 0, 4));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	EXPECT_REFUSED(-EINVAL, show(self, READ_WRITE, 8, 4, 4));
	EXPECT_TRUE(device_copies(self, CHILD, self->mem + 4 * PAGE,
				  CHILD + PAGE, self->mem + 5 * PAGE, 1));
	EXPECT_EQ(0, unmap(self, self->root, ROOT + 8 * PAGE, 4));
	close(fd);
}

TEST_F(nesting, unmap_of_what_is_shown)
{
	ASSERT_EQ(0, map_pieces(self));
	ASSERT_EQ(0, show(self, READ_WRITE, 1, 0, 2));
	ASSERT_EQ(0, show(self, READ_ONLY, 1, 8, 1));
	ASSERT_EQ(0, show(self, READ_WRITE, 12, 4, 4));
	EXPECT_EQ(3, num_shadows(self, self->root));
	EXPECT_REFUSED(-EBUSY, unmap(self, self->root, ROOT, 4));
	/* All or nothing, and what cuts comes first. */
	EXPECT_REFUSED(-EBUSY, unmap(self, self->root, ROOT, 16));
	EXPECT_REFUSED(-EINVAL, unmap(self, self->root, ROOT, 2));
	EXPECT_EQ(0, unmap(self, self->root, ROOT + 4 * PAGE, 1));
	ASSERT_EQ(0, unmap(self, self->child, CHILD, 2));
	EXPECT_REFUSED(-EBUSY, unmap(self, self->root, ROOT, 4));
	ASSERT_EQ(0, unmap(self, self->child, CHILD + 8 * PAGE, 1));
	EXPECT_EQ(0, unmap(self, self->root, ROOT, 4));
	EXPECT_EQ(1, num_shadows(self, self->root));
	/* A new mapping of the parent shows up nowhere by itself. */
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 4));
	ASSERT_EQ(0, show(self, READ_WRITE, 0, 0, 4));
}

TEST_F(nesting, alloc_iova)
{
	struct iommu_map_dma cmd = {
		.size = sizeof(cmd),
		.flags = READ_WRITE | IOMMU_MAP_DMA_ALLOC_IOVA,
		.ioasid = self->child,
		.src = ROOT + 2 * PAGE,
		.length = 4 * PAGE,
	};

	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_MAP_DMA, &cmd));
	EXPECT_EQ(-EEXIST, ioasid_show(self->iommu, self->child, READ_WRITE,
				       ROOT, cmd.iova, PAGE));
	/* Too far for a device with few address bits, perhaps. */
	if (cmd.iova < 1ULL << 28)
		EXPECT_TRUE(device_copies(self, cmd.iova, self->mem + 2 * PAGE,
					  cmd.iova + 2 * PAGE,
					  self->mem + 4 * PAGE, 1));
	cmd.src = ROOT + 6 * PAGE;
	cmd.iova = 0;
	EXPECT_REFUSED(-ENOENT, iommu_call(self->iommu, IOMMU_MAP_DMA, &cmd));
}

/* ---- who uses it ---- */

TEST_F(nesting, device_at_the_child)
{
	long root_pages = variant->prereg ? 8 : 0;
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	ASSERT_EQ(0, show(self, READ_WRITE, 2, 0, 4));
	EXPECT_PINNED(root_pages);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	/* All of the root, as it is there that memory is pinned. */
	EXPECT_PINNED(8);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->root, &info));
	EXPECT_EQ(8 * PAGE, info.pinned_bytes);
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(0, info.num_tables);
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->child, &info));
	EXPECT_EQ(0, info.pinned_bytes);
	EXPECT_EQ(1, info.num_devices);
	EXPECT_EQ(1, info.num_tables);
	EXPECT_TRUE(device_copies(self, CHILD, self->mem + 2 * PAGE,
				  CHILD + 3 * PAGE, self->mem + 5 * PAGE, 1));

	/* While it is attached, what comes is pinned, and what goes is not. */
	ASSERT_EQ(0, root_map(self, READ_WRITE, 8, 4));
	EXPECT_PINNED(12);
	ASSERT_EQ(0, show(self, READ_WRITE, 8, 8, 4));
	EXPECT_TRUE(device_copies(self, CHILD + 8 * PAGE, self->mem + 8 * PAGE,
				  CHILD + 3 * PAGE, self->mem + 5 * PAGE, 2));
	ASSERT_EQ(0, unmap(self, self->child, CHILD + 8 * PAGE, 4));
	fill_pattern(self->mem + 5 * PAGE, BYTES, 3);
	dev_dma_copy(&self->dev, CHILD + 3 * PAGE, CHILD + 8 * PAGE, BYTES);
	EXPECT_TRUE(has_pattern(self->mem + 8 * PAGE, BYTES, 2));
	ASSERT_EQ(0, unmap(self, self->root, ROOT + 8 * PAGE, 4));
	EXPECT_PINNED(8);

	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_PINNED(root_pages);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	EXPECT_TRUE(device_copies(self, CHILD, self->mem + 2 * PAGE,
				  CHILD + 3 * PAGE, self->mem + 5 * PAGE, 4));
}

TEST_F(nesting, device_at_the_grandchild)
{
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->grandchild));
	ASSERT_EQ(0, map_pieces(self));
	EXPECT_PINNED(13);
	ASSERT_EQ(0, show(self, READ_WRITE, 0, 0, 5));
	ASSERT_EQ(0, show(self, READ_WRITE, 10, 5, 4));
	/* From one mapping of the child into the next */
	ASSERT_EQ(0, show_again(self, READ_WRITE, 2, 1, 6));
	EXPECT_TRUE(device_copies(self, GRANDCHILD + 2 * PAGE,
				  self->mem + 3 * PAGE,
				  GRANDCHILD + 6 * PAGE, self->mem + 12 * PAGE,
				  1));
	EXPECT_TRUE(device_copies(self, GRANDCHILD + 4 * PAGE,
				  self->mem + 10 * PAGE, GRANDCHILD + 3 * PAGE,
				  self->mem + 4 * PAGE, 2));
	EXPECT_PINNED(13);
	EXPECT_REFUSED(-EBUSY, unmap(self, self->root, ROOT + 4 * PAGE, 1));
	EXPECT_REFUSED(-EBUSY, unmap(self, self->child, CHILD, 5));
}

/* Root and child both have a table, and each shows what it has. */
TEST_F(nesting, devices_at_root_and_child)
{
	struct dma_device devs[2], *second = &devs[1];

	if (variant->prereg)
		return;
	if (dev_find_alone(devs, 2) < 2)
		SKIP(return, "no second DMA device");
	ASSERT_EQ(0, dev_open_bind(second, self->iommu));
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	ASSERT_EQ(0, show(self, READ_WRITE, 2, 0, 4));
	ASSERT_EQ(0, vfio_attach(second->fd, self->root));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	EXPECT_PINNED(8);
	EXPECT_TRUE(device_copies(self, CHILD, self->mem + 2 * PAGE,
				  CHILD + PAGE, self->mem + 3 * PAGE, 1));
	fill_pattern(self->mem, BYTES, 2);
	ASSERT_EQ(0, dev_dma_copy(second, ROOT, ROOT + 7 * PAGE, BYTES));
	EXPECT_TRUE(has_pattern(self->mem + 7 * PAGE, BYTES, 2));
	ASSERT_EQ(0, vfio_detach(second->fd));
	EXPECT_PINNED(8);
	EXPECT_TRUE(device_copies(self, CHILD, self->mem + 2 * PAGE,
				  CHILD + PAGE, self->mem + 3 * PAGE, 3));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	EXPECT_PINNED(0);
	/* From the one to the other */
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->root));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	EXPECT_PINNED(8);
	EXPECT_TRUE(device_copies(self, CHILD, self->mem + 2 * PAGE,
				  CHILD + PAGE, self->mem + 3 * PAGE, 4));
	dev_close(second);
}

static void access_below(struct __test_metadata *_metadata,
			 struct _test_data_nesting *self, __u32 ioasid,
			 __u64 iova, unsigned int page)
{
	char bytes[8];

	self->access = access_open(self->iommu, ioasid);
	if (self->access == -ENODEV)
		SKIP(return, "no access test device");
	ASSERT_LE(0, self->access);
	EXPECT_EQ(0, access_write(self->access, iova + 3, "written", 8));
	EXPECT_EQ(0, strcmp(self->mem + page * PAGE + 3, "written"));
	memcpy(self->mem + (page + 1) * PAGE, "to read", 8);
	EXPECT_EQ(0, access_read(self->access, iova + PAGE, bytes, 8));
	EXPECT_EQ(0, strcmp(bytes, "to read"));

	ASSERT_EQ(0, access_pin(self->access, iova, 2 * PAGE, PIN_WRITE));
	EXPECT_EQ(0, access_poke(self->access, iova + PAGE, "poked", 6));
	EXPECT_EQ(0, strcmp(self->mem + (page + 1) * PAGE, "poked"));
	EXPECT_EQ(-ENOENT, access_pin(self->access, iova + 1024 * PAGE, PAGE,
				      PIN_READ));
	EXPECT_REFUSED(-EBUSY, ioasid_unmap_all(self->iommu, self->root, NULL));
	/* It lets go when its own address space is unmapped. */
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, ioasid, NULL));
	EXPECT_EQ(0, access_num_pins(self->access));
	EXPECT_EQ(-ENOENT, access_read(self->access, iova, bytes, 8));
}

TEST_F(nesting, access_to_child)
{
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	ASSERT_EQ(0, show(self, READ_WRITE, 2, 1, 4));
	access_below(_metadata, self, self->child, CHILD + 2 * PAGE, 3);
	EXPECT_EQ(0, ioasid_unmap_all(self->iommu, self->root, NULL));
	EXPECT_PINNED(0);
}

TEST_F(nesting, access_to_grandchild)
{
	ASSERT_EQ(0, map_pieces(self));
	ASSERT_EQ(0, show(self, READ_WRITE, 0, 0, 5));
	ASSERT_EQ(0, show_again(self, READ_WRITE, 2, 0, 3));
	/* Pages 3 and 4 are two mappings of the root. */
	access_below(_metadata, self, self->grandchild, GRANDCHILD + PAGE, 3);
}

/* A child that is tracked notes what is written through itself. */
TEST_F(nesting, dirty_child)
{
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.flags = IOMMU_IOASID_ALLOC_DIRTY,
		.parent = self->root,
	};
	struct iommu_device_info info = {};
	__u64 bits = 0;
	__u32 ioasid;

	ASSERT_EQ(0, ioasid_alloc_call(self->iommu, &cmd, &ioasid));
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	ASSERT_EQ(0, ioasid_show(self->iommu, ioasid, READ_WRITE,
				 ROOT + 2 * PAGE, CHILD, 4 * PAGE));
	ASSERT_EQ(0, dirty_start(self->iommu, ioasid));
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	if (!(info.caps & IOMMU_DEVICE_CAP_DIRTY)) {
		EXPECT_EQ(-EOPNOTSUPP, vfio_attach(self->dev.fd, ioasid));
		return;
	}
	ASSERT_EQ(0, vfio_attach(self->dev.fd, ioasid));
	EXPECT_TRUE(device_copies(self, CHILD, self->mem + 2 * PAGE,
				  CHILD + PAGE, self->mem + 3 * PAGE, 1));
	ASSERT_EQ(0, dirty_get(self->iommu, ioasid, 0, CHILD, 4 * PAGE, PAGE,
			       &bits));
	EXPECT_EQ(1 << 1, bits);
}

/* A root that is tracked does not note what is written through its children. */
TEST_F(nesting, dirty_root)
{
	__u64 bits = ~0ULL;
	__u32 root, child;

	if (variant->prereg)
		return;
	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &root));
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, root, &child));
	ASSERT_EQ(0, ioasid_map(self->iommu, root, READ_WRITE, self->mem, ROOT,
				8 * PAGE));
	ASSERT_EQ(0, ioasid_show(self->iommu, child, READ_WRITE, ROOT, CHILD,
				 8 * PAGE));
	ASSERT_EQ(0, dirty_start(self->iommu, root));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, child));
	EXPECT_TRUE(device_copies(self, CHILD, self->mem, CHILD + PAGE,
				  self->mem + PAGE, 1));
	ASSERT_EQ(0, dirty_get(self->iommu, root, 0, ROOT, 8 * PAGE, PAGE,
			       &bits));
	EXPECT_EQ(0, bits);

	self->access = access_open(self->iommu, child);
	if (self->access == -ENODEV)
		SKIP(return, "no access test device");
	ASSERT_LE(0, self->access);
	EXPECT_EQ(0, access_write(self->access, CHILD + 2 * PAGE, "written",
				  8));
	ASSERT_EQ(0, dirty_get(self->iommu, root, 0, ROOT, 8 * PAGE, PAGE,
			       &bits));
	EXPECT_EQ(0, bits);
	ASSERT_EQ(0, vfio_attach(self->access, root));
	EXPECT_EQ(0, access_write(self->access, ROOT + 3 * PAGE, "written", 8));
	ASSERT_EQ(0, dirty_get(self->iommu, root, 0, ROOT, 8 * PAGE, PAGE,
			       &bits));
	EXPECT_EQ(1 << 3, bits);
}

/* ---- the end, and the other interface ---- */

TEST_F(nesting, close_with_all)
{
	struct counts now;
	long tables;

	ASSERT_EQ(0, map_pieces(self));
	ASSERT_EQ(0, show(self, READ_WRITE, 0, 0, 5));
	ASSERT_EQ(0, show_again(self, READ_WRITE, 2, 0, 3));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->grandchild));
	tables = tables_charged();
	close(self->iommu);
	self->iommu = -1;
	/* Nobody can ask for its tables any more. */
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_EQ(13, now.pins - self->counts.pins);
	EXPECT_EQ(13 * PAGE + tables, now.locked - self->counts.locked);
	EXPECT_TRUE(device_copies(self, GRANDCHILD, self->mem + 2 * PAGE,
				  GRANDCHILD + PAGE, self->mem + 3 * PAGE, 1));
	dev_close(&self->dev);
	EXPECT_PINNED(0);
}

/* Programs for iommufd know nothing of parents. */
TEST_F(nesting, iommufd)
{
	__u64 unmapped = 0;
	__u32 ioas, hwpt;

	ASSERT_EQ(0, ioas_alloc(self->iommu, &ioas));
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, 8));
	ASSERT_EQ(0, show(self, READ_WRITE, 0, 0, 8));
	EXPECT_REFUSED(true, ioas_map(self->iommu, self->child, IOAS_RW,
				      self->mem, CHILD + 16 * PAGE, PAGE) < 0);
	EXPECT_REFUSED(true, ioas_copy(self->iommu, self->root, ROOT,
				       self->child, CHILD + 16 * PAGE, PAGE,
				       IOAS_RW) < 0);
	EXPECT_REFUSED(true, ioas_unmap(self->iommu, self->root, ROOT,
					8 * PAGE, &unmapped) < 0);
	EXPECT_REFUSED(true, iommufd_destroy(self->iommu, self->root) < 0);
	EXPECT_REFUSED(true, iommufd_destroy(self->iommu, self->child) < 0);
	/* No device, not even by way of a page table */
	if (variant->prereg)
		EXPECT_REFUSED(true, hwpt_alloc(self->iommu, self->dev.dev_id,
						self->root, 0, &hwpt) < 0);
	/* As any root it can be mapped to, with what the child needs whole. */
	ASSERT_EQ(0, ioas_map(self->iommu, self->root, IOAS_RW,
			      self->mem + 16 * PAGE + 64, ROOT + 16 * PAGE + 64,
			      2 * PAGE));
	EXPECT_REFUSED(-EINVAL, show(self, READ_WRITE, 18, 18, 1));
	EXPECT_EQ(0, show(self, READ_WRITE, 17, 17, 1));
	/* A child must not be kept from what it shows, whatever this says. */
	ioas_copy(self->iommu, self->child, CHILD, ioas, TEST_IOVA, PAGE,
		  IOAS_RW);
	ioas_huge_pages(self->iommu, self->root, false);
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->child));
	EXPECT_TRUE(device_copies(self, CHILD, self->mem, CHILD + PAGE,
				  self->mem + PAGE, 1));
}

/* ---- an attachment that takes long ---- */

struct attacher {
	struct _test_data_nesting *self;
	/* How many mappings it enters */
	unsigned int many;
	int rc;
	int done;
};

static void *attach(void *arg)
{
	struct attacher *attacher = arg;

	attacher->rc = vfio_attach(attacher->self->dev.fd,
				   attacher->self->child);
	__atomic_store_n(&attacher->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static int map_many(struct _test_data_nesting *self, unsigned int many)
{
	struct iommu_batch_entry *entries;
	unsigned int i, at;
	__u32 num;
	int rc = 0;

	entries = calloc(IOMMU_MAP_BATCH_MAX, sizeof(*entries));
	for (at = 0; entries && !rc && at < many; at += num) {
		for (i = 0; i < IOMMU_MAP_BATCH_MAX; i++)
			entries[i] = (struct iommu_batch_entry){
				.flags = READ_WRITE,
				.iova = MANY_AT + (at + i) * PAGE,
				.src = ROOT + i % MEM_PAGES * PAGE,
				.length = PAGE,
			};
		num = IOMMU_MAP_BATCH_MAX;
		rc = ioasid_batch(self->iommu, self->child, entries, &num, NULL);
	}
	free(entries);
	return rc;
}

/* A map and an unmap: in a sibling, in the root, and where nothing is shared */
static int map_elsewhere(struct _test_data_nesting *self, __u32 sibling,
			 __u32 other)
{
	int rc;

	rc = ioasid_show(self->iommu, sibling, READ_WRITE, ROOT, CHILD, PAGE);
	if (!rc)
		rc = unmap(self, sibling, CHILD, 1);
	if (!rc)
		rc = ioasid_map(self->iommu, self->root, READ_WRITE, self->mem,
				ROOT + MEM_PAGES * PAGE, PAGE);
	if (!rc)
		rc = unmap(self, self->root, ROOT + MEM_PAGES * PAGE, 1);
	if (!rc)
		rc = ioasid_map(self->iommu, other, READ_WRITE, self->mem, ROOT,
				PAGE);
	return rc ? rc : unmap(self, other, ROOT, 1);
}

/* While a device gets its page table, maps go on everywhere else. */
TEST_F_TIMEOUT(nesting, attach_keeps_nobody_waiting, 120)
{
	struct attacher attacher = {
		.self = self,
		.many = 16 * IOMMU_MAP_BATCH_MAX,
	};
	unsigned int maps = 0;
	__u32 sibling, other;
	pthread_t thread;

	/* Nothing goes beyond 2 GiB, where windows end and messages go. */
	if (PAGE > 4096)
		attacher.many = (1U << 30) / PAGE - IOMMU_MAP_BATCH_MAX;
	ASSERT_EQ(0, ioasid_alloc_child(self->iommu, self->root, &sibling));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &other));
	ASSERT_EQ(0, root_map(self, READ_WRITE, 0, MEM_PAGES));
	ASSERT_EQ(0, map_many(self, attacher.many));
	ASSERT_EQ(0, pthread_create(&thread, NULL, attach, &attacher));
	while (!__atomic_load_n(&attacher.done, __ATOMIC_ACQUIRE)) {
		ASSERT_EQ(0, map_elsewhere(self, sibling, other));
		maps++;
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(0, attacher.rc);
	/* Each would be one if it waited for the other. */
	EXPECT_LE(20, maps);
	TH_LOG("%u times while %u mappings were entered", maps, attacher.many);
}

TEST_HARNESS_MAIN
