// SPDX-License-Identifier: GPL-2.0-only
/* UNMAP_DMA with REVOKE: what devices and other threads see meanwhile. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "revoke.h"
#include "test_iommu_utils.h"

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
	int rc = test_device_instead(NULL, &self->dev, self->iommu);

	return rc ? rc : vfio_attach(self->dev.fd, self->grandchild);
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
	EXPECT_EQ(0, test_device_end(&self->dev));
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
	EXPECT_EQ(0, test_device_end(&self->dev));
}

TEST_HARNESS_MAIN
