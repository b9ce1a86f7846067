// SPDX-License-Identifier: GPL-2.0-only
/*
 * UNMAP_DMA with REVOKE: what goes with the memory of a parent, what keeps it, and
 * who is told.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access_utils.h"
#include "revoke.h"

#define BYTES		128

/* All that GET_INFO says */
struct graph {
	struct iommu_ioasid_info info[4];
	struct counts counts;
};

static int graph_read(struct _test_data_revoke *self, struct graph *graph)
{
	__u32 ids[] = {
		self->root, self->child, self->sibling, self->grandchild,
	};
	int i, rc = counts_read(&graph->counts);

	for (i = 0; !rc && i < 4; i++)
		rc = ioasid_totals(self->iommu, ids[i], &graph->info[i]);
	return rc;
}

/* Events come in any order. Return: whether this one was in @events, once. */
static bool take_event(struct iommu_event *events, int num, __u32 ioasid,
		       __u64 iova, unsigned int pages)
{
	int i;

	for (i = 0; i < num; i++) {
		if (events[i].type != IOMMU_EVENT_REVOKED ||
		    events[i].ioasid != ioasid || events[i].iova != iova ||
		    events[i].length != pages * PAGE)
			continue;
		events[i].type = 0;
		return true;
	}
	return false;
}

#define MAX_EVENTS	16

static int read_events(struct _test_data_revoke *self,
		       struct iommu_event events[MAX_EVENTS])
{
	int num;

	for (num = 0; num < MAX_EVENTS; num++)
		if (event_next(self->events, &events[num]))
			break;
	return num;
}

static bool device_copies(struct _test_data_revoke *self, __u64 from, char *src,
			  __u64 to, char *dst, unsigned int seed)
{
	fill_pattern(src, BYTES, seed);
	memset(dst, 0, BYTES);
	return !dev_dma_copy(&self->dev, from, to, BYTES) &&
	       has_pattern(dst, BYTES, seed);
}

/* ---- what goes ---- */

TEST_F(revoke, whole_mappings)
{
	struct iommu_event events[MAX_EVENTS];
	__u64 unmapped = 0;
	int num;

	/* Pieces of the root end at 4, 8, 12, and so on. */
	ASSERT_EQ(0, show_child(self, 2, 0, 4));
	ASSERT_EQ(0, show_child(self, 6, 4, 2));
	ASSERT_EQ(0, show_child(self, 8, 6, 8));
	ASSERT_EQ(0, show_sibling(self, 0, 0, 16));
	ASSERT_EQ(0, show_sibling(self, 4, 32, 1));
	ASSERT_EQ(0, show_grandchild(self, 3, 0, 3));
	ASSERT_EQ(0, show_grandchild(self, 5, 8, 4));
	ASSERT_EQ(0, show_grandchild(self, 4, 16, 1));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->grandchild));
	while (!event_next(self->events, events))
		;

	/* Pages 0 to 3 are shown by three, directly and by way of the child. */
	ASSERT_EQ(0, ioasid_revoke(self->iommu, self->root, ROOT, PIECE * PAGE,
				   &unmapped));
	EXPECT_EQ(PIECE * PAGE, unmapped);
	EXPECT_EQ(MEM_PAGES / PIECE - 1, num_mappings(self, self->root));
	EXPECT_EQ(2, num_mappings(self, self->child));
	EXPECT_EQ(1, num_mappings(self, self->sibling));
	EXPECT_EQ(2, num_mappings(self, self->grandchild));
	num = read_events(self, events);
	EXPECT_EQ(3, num);
	EXPECT_TRUE(take_event(events, num, self->child, CHILD, 4));
	EXPECT_TRUE(take_event(events, num, self->sibling, SIBLING, 16));
	EXPECT_TRUE(take_event(events, num, self->grandchild, GRANDCHILD, 3));

	/* Where they were is nothing, and the rest is as before. */
	EXPECT_TRUE(device_copies(self, GRANDCHILD + 8 * PAGE,
				  self->mem + 7 * PAGE, GRANDCHILD + 10 * PAGE,
				  self->mem + 9 * PAGE, 1));
	fill_pattern(self->mem + 7 * PAGE, BYTES, 2);
	memset(self->mem + 3 * PAGE, 0, 2 * PAGE);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, GRANDCHILD + 8 * PAGE, GRANDCHILD,
				  BYTES));
	EXPECT_TRUE(all_bytes(self->mem + 3 * PAGE, 2 * PAGE, 0));
	EXPECT_EQ(-ENOENT, show_child(self, 2, 0, 4));
	EXPECT_EQ(0, show_child(self, 4, 0, 4));
	EXPECT_EQ(0, show_grandchild(self, 0, 0, 2));
	EXPECT_TRUE(device_copies(self, GRANDCHILD, self->mem + 4 * PAGE,
				  GRANDCHILD + PAGE, self->mem + 5 * PAGE, 3));
}

TEST_F(revoke, middle_of_the_tree)
{
	struct iommu_event events[MAX_EVENTS];
	int num;

	ASSERT_EQ(0, show_child(self, 0, 0, 8));
	ASSERT_EQ(0, show_grandchild(self, 0, 0, 4));
	ASSERT_EQ(0, show_grandchild(self, 4, 4, 4));
	ASSERT_EQ(0, ioasid_revoke(self->iommu, self->child, CHILD, 8 * PAGE,
				   NULL));
	num = read_events(self, events);
	EXPECT_EQ(2, num);
	EXPECT_TRUE(take_event(events, num, self->grandchild, GRANDCHILD, 4));
	EXPECT_TRUE(take_event(events, num, self->grandchild,
			       GRANDCHILD + 4 * PAGE, 4));
	EXPECT_EQ(0, num_mappings(self, self->child));
	EXPECT_EQ(MEM_PAGES / PIECE, num_mappings(self, self->root));
}

TEST_F(revoke, all)
{
	struct iommu_unmap_dma cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_UNMAP_DMA_ALL | IOMMU_UNMAP_DMA_REVOKE,
		.ioasid = self->root,
	};
	struct counts now;

	ASSERT_EQ(0, show_child(self, 0, 0, 32));
	ASSERT_EQ(0, show_sibling(self, 30, 0, 32));
	ASSERT_EQ(0, show_grandchild(self, 0, 0, 32));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->grandchild));
	ASSERT_EQ(0, iommu_call(self->iommu, IOMMU_UNMAP_DMA, &cmd));
	EXPECT_EQ(MEM_PAGES * PAGE, cmd.length);
	EXPECT_EQ(0, num_mappings(self, self->root));
	EXPECT_EQ(0, num_mappings(self, self->child));
	EXPECT_EQ(0, num_mappings(self, self->sibling));
	EXPECT_EQ(0, num_mappings(self, self->grandchild));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_TRUE(counts_equal(&self->counts, &now));
}

/* Without anything that shows it this is an unmap as any other. */
TEST_F(revoke, nobody_shows_it)
{
	struct iommu_event event;
	__u64 unmapped = 99;

	ASSERT_EQ(0, show_child(self, 8, 0, 4));
	EXPECT_EQ(-EINVAL, revoke_root(self, 1, 2));
	EXPECT_EQ(-EINVAL, revoke_root(self, 8, 6));
	EXPECT_EQ(-EINVAL, revoke_root(self, 0, 0));
	EXPECT_EQ(1, num_mappings(self, self->child));
	EXPECT_EQ(0, revoke_root(self, 0, 8));
	EXPECT_EQ(0, ioasid_revoke(self->iommu, self->root, ROOT, 4 * PAGE,
				   &unmapped));
	EXPECT_EQ(0, unmapped);
	EXPECT_EQ(1, num_mappings(self, self->child));
	EXPECT_EQ(-EAGAIN, event_next(self->events, &event));
}

/* Who wants to know what was written asks for that first. */
TEST_F(revoke, not_with_dirty)
{
	__u64 bits = ~0ULL;
	struct iommu_unmap_dma cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_UNMAP_DMA_GET_DIRTY | IOMMU_UNMAP_DMA_REVOKE,
		.iova = ROOT,
		.length = 4 * PAGE,
		.page_size = PAGE,
		.bitmap = (uintptr_t)&bits,
	};
	__u32 root;

	ASSERT_EQ(0, ioasid_alloc_dirty(self->iommu, &root));
	ASSERT_EQ(0, ioasid_map(self->iommu, root, READ_WRITE, self->mem, ROOT,
				4 * PAGE));
	ASSERT_EQ(0, dirty_start(self->iommu, root));
	cmd.ioasid = root;
	EXPECT_EQ(-EINVAL, iommu_call(self->iommu, IOMMU_UNMAP_DMA, &cmd));
	EXPECT_EQ(1, num_mappings(self, root));
	EXPECT_EQ(0, ioasid_revoke(self->iommu, root, ROOT, 4 * PAGE, NULL));
}

/* ---- what keeps it ---- */

static int use_access(struct _test_data_revoke *self, __u32 ioasid)
{
	self->access = access_open(self->iommu, ioasid);
	return self->access < 0 ? self->access : 0;
}

/* Pages 4 to 9 of memory are pages 1 to 6 of the grandchild, of which 2 is pinned. */
static int pin_below(struct _test_data_revoke *self)
{
	int rc = show_child(self, 0, 0, 16);

	if (!rc)
		rc = show_sibling(self, 0, 0, 16);
	if (!rc)
		rc = show_grandchild(self, 4, 1, 6);
	if (!rc)
		rc = vfio_attach(self->dev.fd, self->sibling);
	return rc ? rc : access_pin(self->access, GRANDCHILD + 2 * PAGE, PAGE,
				    PIN_WRITE);
}

/* The one who has pinned does not let go. What there is then, with no events left */
static int hold_on(struct _test_data_revoke *self, struct graph *before)
{
	int rc = pin_below(self);

	if (!rc)
		rc = access_policy(self->access, IOASID_ACCESS_STUBBORN);
	while (!event_next(self->events, &(struct iommu_event){}))
		;
	return rc ? rc : graph_read(self, before);
}

/* Everything is as before, also for the one who did not let go. */
static void nothing_changed(struct __test_metadata *_metadata,
			    struct _test_data_revoke *self,
			    const struct graph *before)
{
	struct iommu_event event;
	struct graph after;

	ASSERT_EQ(0, graph_read(self, &after));
	EXPECT_EQ(0, memcmp(before, &after, sizeof(after)));
	EXPECT_EQ(-EAGAIN, event_next(self->events, &event));
	EXPECT_TRUE(device_copies(self, SIBLING, self->mem,
				  SIBLING + 5 * PAGE, self->mem + 5 * PAGE, 1));
	EXPECT_EQ(0, access_poke(self->access, GRANDCHILD + 2 * PAGE, "poke",
				 5));
	EXPECT_EQ(0, strcmp(self->mem + 5 * PAGE, "poke"));
	EXPECT_EQ(0, access_write(self->access, GRANDCHILD + 4 * PAGE, "write",
				  6));
	EXPECT_EQ(0, strcmp(self->mem + 7 * PAGE, "write"));
	EXPECT_EQ(0, access_pin(self->access, GRANDCHILD + PAGE, PAGE,
				PIN_READ));
	EXPECT_EQ(0, access_unpin(self->access, GRANDCHILD + PAGE, PAGE));
	EXPECT_EQ(0, show_sibling(self, 4, 40, 4));
	EXPECT_EQ(0, ioasid_unmap(self->iommu, self->sibling,
				  SIBLING + 40 * PAGE, 4 * PAGE, NULL));
}

TEST_F(revoke, refused_by_access)
{
	struct ioasid_access_stat stat;
	struct graph before;

	if (use_access(self, self->grandchild))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, hold_on(self, &before));
	EXPECT_EQ(-EBUSY, revoke_root(self, 4, 4));
	nothing_changed(_metadata, self, &before);
	EXPECT_EQ(-EBUSY, ioasid_revoke(self->iommu, self->child, CHILD,
					16 * PAGE, NULL));
	nothing_changed(_metadata, self, &before);
	ASSERT_EQ(0, access_stat(self->access, &stat));
	EXPECT_LE(2, stat.num_kept);
	EXPECT_EQ(0, stat.num_released);

	ASSERT_EQ(0, access_policy(self->access, IOASID_ACCESS_RELEASE));
	EXPECT_EQ(0, revoke_root(self, 4, 4));
	EXPECT_EQ(0, access_num_pins(self->access));
	EXPECT_EQ(0, num_mappings(self, self->grandchild));
	EXPECT_EQ(-ENOENT, access_pin(self->access, GRANDCHILD + 2 * PAGE, PAGE,
				      PIN_READ));
}

/* One that has pinned something else is no obstacle. */
TEST_F(revoke, access_elsewhere)
{
	if (use_access(self, self->child))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, show_child(self, 0, 0, 4));
	ASSERT_EQ(0, show_child(self, 4, 4, 4));
	ASSERT_EQ(0, access_pin(self->access, CHILD + 4 * PAGE, PAGE,
				PIN_WRITE));
	ASSERT_EQ(0, access_policy(self->access, IOASID_ACCESS_STUBBORN));
	EXPECT_EQ(0, revoke_root(self, 0, 4));
	EXPECT_EQ(1, access_num_pins(self->access));
	EXPECT_EQ(0, access_poke(self->access, CHILD + 4 * PAGE, "poke", 5));
	EXPECT_EQ(0, strcmp(self->mem + 4 * PAGE, "poke"));
	EXPECT_EQ(-EBUSY, revoke_root(self, 4, 4));
}

static void *revoke_thread(void *arg)
{
	return (void *)(long)revoke_root(arg, 4, 4);
}

/* While it waits for somebody, nobody comes to the memory that is to go. */
TEST_F(revoke, no_new_maps_meanwhile)
{
	bool busy = false, other = false;
	struct graph before;
	pthread_t thread;
	void *result;
	int rc;

	if (use_access(self, self->grandchild))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, hold_on(self, &before));
	ASSERT_EQ(0, pthread_create(&thread, NULL, revoke_thread, self));
	while (pthread_tryjoin_np(thread, &result)) {
		rc = show_sibling(self, 6, 40, 4);
		busy |= rc == -EBUSY;
		EXPECT_TRUE(!rc || rc == -EBUSY);
		if (!rc)
			EXPECT_EQ(0, ioasid_unmap(self->iommu, self->sibling,
						  SIBLING + 40 * PAGE,
						  4 * PAGE, NULL));
		/* Beside it there is nothing to wait for. */
		rc = show_sibling(self, 8, 48, 4);
		other |= !rc && busy;
		EXPECT_EQ(0, rc);
		EXPECT_EQ(0, ioasid_unmap(self->iommu, self->sibling,
					  SIBLING + 48 * PAGE, 4 * PAGE, NULL));
	}
	EXPECT_EQ(-EBUSY, (long)result);
	EXPECT_TRUE(busy);
	EXPECT_TRUE(other);
	nothing_changed(_metadata, self, &before);
}

TEST_F(revoke, killed)
{
	struct ioasid_access_stat stat = {};
	struct graph before;
	int tries, status;
	pid_t pid;

	if (use_access(self, self->grandchild))
		SKIP(return, "no access test device");
	ASSERT_EQ(0, hold_on(self, &before));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		revoke_root(self, 4, 4);
		_exit(0);
	}
	for (tries = 0; !stat.num_kept && tries < 10000; tries++)
		ASSERT_EQ(0, access_stat(self->access, &stat));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	nothing_changed(_metadata, self, &before);
}

TEST_HARNESS_MAIN
