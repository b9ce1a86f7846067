// SPDX-License-Identifier: GPL-2.0-only
/*
 * UNMAP_DMA with REVOKE: what goes with the memory of a parent, what keeps it,
 * who is told, and what devices and other threads see meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "access_utils.h"
#include "device_utils.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	64
#define PIECE		4	/* pages of each mapping of the root */
#define ROOT		0x2000000ULL
#define CHILD		0x4000000ULL
#define SIBLING		0x5000000ULL
#define GRANDCHILD	0x6000000ULL
#define BYTES		128

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
	COUNTS_BEGIN(&self->counts);
	if (dev_find_alone(&self->dev, 1) < 1)
		SKIP(return, "no DMA device in an IOMMU group of its own");
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, dev_open_bind(&self->dev, self->iommu));
	self->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0x11, MEM_PAGES * PAGE);
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
	dev_close(&self->dev);
	close(self->iommu);
	COUNTS_END(&self->counts);
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

static __u64 num_mappings(struct _test_data_revoke *self, __u32 ioasid)
{
	struct iommu_ioasid_info info;

	if (ioasid_totals(self->iommu, ioasid, &info))
		return 999;
	return info.num_mappings;
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
	char cdev[2][64];
	__u32 dev_id;
	int rc;

	if (access_missing(cdev))
		return -ENODEV;
	self->access = vfio_open(cdev[0]);
	if (self->access < 0)
		return self->access;
	rc = vfio_bind(self->access, self->iommu, &dev_id);
	return rc ? rc : vfio_attach(self->access, ioasid);
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
	ASSERT_EQ(0, pin_below(self));
	ASSERT_EQ(0, access_policy(self->access, IOASID_ACCESS_STUBBORN));
	while (!event_next(self->events, &(struct iommu_event){}))
		;
	ASSERT_EQ(0, graph_read(self, &before));
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
	ASSERT_EQ(0, pin_below(self));
	ASSERT_EQ(0, access_policy(self->access, IOASID_ACCESS_STUBBORN));
	while (!event_next(self->events, &(struct iommu_event){}))
		;
	ASSERT_EQ(0, graph_read(self, &before));
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
	ASSERT_EQ(0, pin_below(self));
	ASSERT_EQ(0, access_policy(self->access, IOASID_ACCESS_STUBBORN));
	while (!event_next(self->events, &(struct iommu_event){}))
		;
	ASSERT_EQ(0, graph_read(self, &before));
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

/* ---- a device that streams meanwhile ---- */

#define PATTERN		0x1111111111111111ULL
#define HALF		(MEM_PAGES / 2)

/* On and on, 64 bytes at a time */
static int stream(struct dma_device *dev, unsigned int channel, __u32 flags,
		  __u64 iova, unsigned int pages)
{
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_FOREVER | flags,
		.iova = iova,
		.length = pages * PAGE,
		.step = 64,
		.pattern = PATTERN,
	};

	return test_device_run(dev, channel, &command);
}

/* The machine's device makes room for one that streams through a grandchild. */
static int use_streamer(struct _test_data_revoke *self)
{
	int rc;

	if (test_iommu_missing())
		return -ENODEV;
	dev_close(&self->dev);
	rc = test_iommu_remove_all();
	if (!rc)
		rc = test_iommu_make("a", NULL);
	if (!rc)
		rc = test_device_make("a", "one", NULL, &self->dev);
	if (!rc)
		rc = dev_open_bind(&self->dev, self->iommu);
	return rc ? rc : vfio_attach(self->dev.fd, self->grandchild);
}

static void end_streamer(struct __test_metadata *_metadata,
			 struct _test_data_revoke *self)
{
	dev_close(&self->dev);
	EXPECT_EQ(0, test_iommu_remove_all());
}

/* The first half is what will go, the second half is what stays. */
static int show_halves(struct _test_data_revoke *self)
{
	int rc = show_child(self, 0, 0, HALF);

	if (!rc)
		rc = show_child(self, HALF, HALF, HALF);
	if (!rc)
		rc = show_grandchild(self, 0, 0, HALF);
	return rc ? rc : show_grandchild(self, HALF, HALF, HALF);
}

static int map_first_half(struct _test_data_revoke *self)
{
	return ioasid_map(self->iommu, self->root, READ_WRITE, self->mem, ROOT,
			  HALF * PAGE);
}

/*
 * Channel 1 is in the middle of its DMA when the memory beside goes, and does not
 * notice. Channel 0 is stopped, and nothing of the memory that went is written
 * any more, though that is the kernel's again.
 */
TEST_F_TIMEOUT(revoke, under_stream, 120)
{
	struct ioasid_test_status before, after, ended;
	int i, across = 0;

	if (use_streamer(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, revoke_root(self, 0, HALF));
	ASSERT_EQ(0, map_first_half(self));
	ASSERT_EQ(0, show_halves(self));
	ASSERT_EQ(0, stream(&self->dev, 1, 0, GRANDCHILD + HALF * PAGE, HALF));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, stream(&self->dev, 0, 0, GRANDCHILD, HALF));
		ASSERT_EQ(0, test_device_progress(&self->dev, 0));
		ASSERT_EQ(0, test_device_progress(&self->dev, 1));
		ASSERT_EQ(0, test_device_status(&self->dev, 1, &before));
		ASSERT_EQ(0, revoke_root(self, 0, HALF));
		ASSERT_EQ(0, test_device_status(&self->dev, 1, &after));
		/* Other memory at once, perhaps of the same pages */
		ASSERT_EQ(0, munmap(self->mem, HALF * PAGE));
		ASSERT_EQ(self->mem,
			  mmap(self->mem, HALF * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
			       MAP_POPULATE, -1, 0));
		ASSERT_EQ(0, test_device_wait(&self->dev, 0, &ended));
		EXPECT_EQ(IOASID_TEST_FAULT_NOT_PRESENT, ended.fault);
		EXPECT_TRUE(all_bytes(self->mem, HALF * PAGE, 0));
		EXPECT_EQ(1, after.running);
		across += before.rounds == after.rounds;

		ASSERT_EQ(0, map_first_half(self));
		ASSERT_EQ(0, show_child(self, 0, 0, HALF));
		ASSERT_EQ(0, show_grandchild(self, 0, 0, HALF));
	}
	/* A round that began before a revoke went on after it. */
	EXPECT_LT(0, across);
	ASSERT_EQ(0, test_device_progress(&self->dev, 1));
	ASSERT_EQ(0, test_device_stop(&self->dev, 1, &ended));
	EXPECT_EQ(0, ended.faults);
	EXPECT_LT(0, ended.rounds);
	end_streamer(_metadata, self);
}

/* ---- everything at the same time ---- */

#define SECONDS	4

struct racer {
	struct _test_data_revoke *self;
	unsigned int seed;
	const bool *stop;
	unsigned long done;
	int bad;
};

static bool stopped(const struct racer *racer)
{
	return __atomic_load_n(racer->stop, __ATOMIC_SEQ_CST);
}

static void check_rc(struct racer *racer, int rc, bool expected)
{
	if (!rc)
		racer->done++;
	else if (!expected)
		racer->bad = rc;
}

/* Takes pieces away from the root, and puts them back. */
static void *race_root(void *arg)
{
	struct racer *racer = arg;
	struct _test_data_revoke *self = racer->self;
	unsigned int page;
	int rc;

	while (!stopped(racer)) {
		page = rand_r(&racer->seed) % (MEM_PAGES / PIECE) * PIECE;
		/* Two pieces, or one and a hole: nobody can be in the way. */
		rc = revoke_root(self, page, page + PIECE < MEM_PAGES ?
						     2 * PIECE : PIECE);
		check_rc(racer, rc, false);
		rc = ioasid_map(self->iommu, self->root, READ_WRITE,
				self->mem + page * PAGE, ROOT + page * PAGE,
				PIECE * PAGE);
		check_rc(racer, rc, rc == -EEXIST);
	}
	return NULL;
}

/* Shows and hides whatever is there, in one of the address spaces below. */
static void race_below(struct racer *racer, __u32 ioasid, __u64 base)
{
	unsigned int from, to, pages;
	int rc;

	while (!stopped(racer)) {
		from = rand_r(&racer->seed) % (MEM_PAGES - 8);
		to = rand_r(&racer->seed) % (MEM_PAGES - 8);
		pages = rand_r(&racer->seed) % 8 + 1;
		rc = show(racer->self, ioasid, base, from, to, pages);
		check_rc(racer, rc,
			 rc == -ENOENT || rc == -EBUSY || rc == -EEXIST);
		to = rand_r(&racer->seed) % 8 * 8;
		rc = ioasid_revoke(racer->self->iommu, ioasid, base + to * PAGE,
				   8 * PAGE, NULL);
		check_rc(racer, rc, rc == -EINVAL);
	}
}

static void *race_child(void *arg)
{
	struct racer *racer = arg;

	race_below(racer, racer->self->child, CHILD);
	return NULL;
}

static void *race_grandchild(void *arg)
{
	struct racer *racer = arg;

	race_below(racer, racer->self->grandchild, GRANDCHILD);
	return NULL;
}

static void *race_events(void *arg)
{
	struct racer *racer = arg;
	struct iommu_event event;

	while (!stopped(racer))
		if (event_next(racer->self->events, &event))
			usleep(1000);
		else
			racer->done++;
	return NULL;
}

/* Moves the device to and fro below the root. */
static void *race_attach(void *arg)
{
	struct racer *racer = arg;
	struct _test_data_revoke *self = racer->self;
	int rc;

	while (!stopped(racer)) {
		rc = vfio_attach(self->dev.fd,
				 rand_r(&racer->seed) % 2 ? self->child :
							    self->grandchild);
		check_rc(racer, rc, false);
		usleep(1000);
	}
	return NULL;
}

static void *(*const racers[])(void *) = {
	race_root, race_root, race_child, race_child, race_grandchild,
	race_grandchild, race_events, race_attach,
};

TEST_F_TIMEOUT(revoke, race, 120)
{
	struct racer racer[ARRAY_SIZE(racers)];
	pthread_t thread[ARRAY_SIZE(racers)];
	struct counts now;
	bool stop = false;
	size_t i;

	if (use_streamer(self))
		SKIP(return, "no test IOMMU");
	ASSERT_EQ(0, stream(&self->dev, 0, IOASID_TEST_KEEP_GOING, GRANDCHILD,
			    MEM_PAGES));
	for (i = 0; i < ARRAY_SIZE(racers); i++) {
		racer[i] = (struct racer){
			.self = self, .seed = i, .stop = &stop,
		};
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, racers[i],
					    &racer[i]));
	}
	sleep(SECONDS);
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < ARRAY_SIZE(racers); i++) {
		ASSERT_EQ(0, pthread_join(thread[i], NULL));
		EXPECT_EQ(0, racer[i].bad) {
			TH_LOG("racer %zu", i);
		}
		EXPECT_LT(0, racer[i].done) {
			TH_LOG("racer %zu", i);
		}
	}
	ASSERT_EQ(0, ioasid_revoke(self->iommu, self->root, 0, 1ULL << 40,
				   NULL));
	EXPECT_EQ(0, num_mappings(self, self->root));
	EXPECT_EQ(0, num_mappings(self, self->child));
	EXPECT_EQ(0, num_mappings(self, self->grandchild));
	ASSERT_EQ(0, counts_read(&now));
	EXPECT_TRUE(counts_equal(&self->counts, &now));
	end_streamer(_metadata, self);
}

TEST_HARNESS_MAIN
