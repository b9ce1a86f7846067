// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device sends interrupt messages while what its DMA reaches changes, and not
 * one is lost. The device is a PCI device behind the machine's IOMMU, if there is
 * one.
 *
 * On x86 and POWER messages do not go through page tables. On ARM they do: who is
 * attached to nothing cannot send any, so the device is never detached there.
 */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"

#define MEM_PAGES	16
#define COPY		256
#define INTERRUPTS	1000
/* There are more interrupts than that, if the changes take their time. */
#define CHANGES		200
#define MAX_INTERRUPTS	1000000

FIXTURE(interrupts) {
	int iommu;
	int event;
	struct dma_device dev;
	__u32 ioasid[2];
	char *mem;
	struct counts counts;

	/* Of the thread that makes the changes */
	unsigned int changes;
	int rc;
	bool stop;
};

/* What is called for each change, with a number that counts up */
FIXTURE_VARIANT(interrupts) {
	int (*change)(struct _test_data_interrupts *self, unsigned int number);
	bool detaches;
	bool replaces;
};

static int map_page(struct _test_data_interrupts *self, __u32 ioasid,
		    unsigned int page)
{
	return ioasid_map(self->iommu, ioasid, READ_WRITE,
			  self->mem + page * PAGE, TEST_IOVA + page * PAGE,
			  PAGE);
}

static int unmap_page(struct _test_data_interrupts *self, __u32 ioasid,
		      unsigned int page)
{
	return ioasid_unmap(self->iommu, ioasid, TEST_IOVA + page * PAGE, PAGE,
			    NULL);
}

/* All but the first two pages, which the test needs at the end */
static int map_and_unmap(struct _test_data_interrupts *self,
			 unsigned int number)
{
	unsigned int page = 2 + number % (MEM_PAGES - 2);
	int rc = map_page(self, self->ioasid[0], page);

	return rc ? rc : unmap_page(self, self->ioasid[0], page);
}

static int unmap_all_and_map(struct _test_data_interrupts *self,
			     unsigned int number)
{
	int rc = ioasid_unmap_all(self->iommu, self->ioasid[0], NULL);

	if (!rc)
		rc = map_page(self, self->ioasid[0], 0);
	return rc ? rc : map_page(self, self->ioasid[0], 1);
}

static int replace(struct _test_data_interrupts *self, unsigned int number)
{
	return vfio_attach(self->dev.fd, self->ioasid[number % 2]);
}

static int detach_and_attach(struct _test_data_interrupts *self,
			     unsigned int number)
{
	int rc = vfio_detach(self->dev.fd);

	return rc ? rc : replace(self, number);
}

/* All of it, one after the other */
static int everything(struct _test_data_interrupts *self, unsigned int number)
{
	int rc = map_and_unmap(self, number);

	if (!rc)
		rc = unmap_all_and_map(self, number);
	return rc ? rc : replace(self, number);
}

FIXTURE_VARIANT_ADD(interrupts, map) {
	.change = map_and_unmap,
};

FIXTURE_VARIANT_ADD(interrupts, unmap_all) {
	.change = unmap_all_and_map,
};

FIXTURE_VARIANT_ADD(interrupts, replace) {
	.change = replace,
	.replaces = true,
};

FIXTURE_VARIANT_ADD(interrupts, detach) {
	.change = detach_and_attach,
	.detaches = true,
};

FIXTURE_VARIANT_ADD(interrupts, everything) {
	.change = everything,
	.replaces = true,
};

static int prepare(struct _test_data_interrupts *self, unsigned int number)
{
	int rc = ioasid_alloc(self->iommu, &self->ioasid[number]);

	if (!rc)
		rc = map_page(self, self->ioasid[number], 0);
	return rc ? rc : map_page(self, self->ioasid[number], 1);
}

FIXTURE_SETUP(interrupts)
{
	self->event = -1;
	if (!DEVICE_BEGIN())
		return;
	MEM_BEGIN(MEM_PAGES * PAGE);
	if (dev_irqs(&self->dev, self->dev.kind->msi) < 1)
		SKIP(return, "the device has no interrupt messages");
	ASSERT_EQ(0, prepare(self, 0));
	ASSERT_EQ(0, prepare(self, 1));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid[0]));
	self->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, self->event);
	ASSERT_EQ(0, dev_irq(&self->dev, self->dev.kind->msi, 0, self->event));
}

FIXTURE_TEARDOWN(interrupts)
{
	DEVICE_END();
	if (self->event >= 0)
		close(self->event);
}

/* The changes want to know the variant, too. */
struct changes {
	struct _test_data_interrupts *self;
	int (*change)(struct _test_data_interrupts *self, unsigned int number);
};

static void *make_changes(void *arg)
{
	struct changes *changes = arg;
	struct _test_data_interrupts *self = changes->self;
	unsigned int number = 1;
	int rc = 0;

	while (!rc && !__atomic_load_n(&self->stop, __ATOMIC_RELAXED)) {
		rc = changes->change(self, number++);
		if (!rc)
			__atomic_fetch_add(&self->changes, 1, __ATOMIC_RELAXED);
	}
	self->rc = rc;
	return NULL;
}

/* Return: how many have arrived, at least one, or 0 if none does in 5 s. */
static __u64 arrived(struct _test_data_interrupts *self)
{
	struct pollfd wait = { .fd = self->event, .events = POLLIN };
	__u64 number;

	if (poll(&wait, 1, 5000) < 1 ||
	    read(self->event, &number, sizeof(number)) != sizeof(number))
		return 0;
	return number;
}

/*
 * One interrupt after the other: two that meet at the CPU are one there, with or
 * without an IOMMU. Return: how many were sent until one was lost, or all was done.
 */
static unsigned int send(struct _test_data_interrupts *self, bool *lost)
{
	unsigned int sent = 0;

	*lost = false;
	while (!*lost && sent < MAX_INTERRUPTS &&
	       (sent < INTERRUPTS ||
		__atomic_load_n(&self->changes, __ATOMIC_RELAXED) < CHANGES)) {
		if (self->dev.kind->raise(&self->dev))
			return 0;
		sent++;
		*lost = arrived(self) != 1;
	}
	return sent;
}

TEST_F_TIMEOUT(interrupts, none_is_lost, 240)
{
	struct changes changes = { .self = self, .change = variant->change };
	unsigned int sent;
	pthread_t thread;
	__u64 more;
	bool lost;

	if (variant->detaches && dev_translates_msi(&self->dev))
		SKIP(return, "messages go through the page table");
	/* Those of SMMUv3 do, and its driver makes the old entry invalid first. */
	if (variant->replaces && dev_translates_msi(&self->dev))
		SKIP(return, "the driver has a gap between two page tables");
	ASSERT_EQ(0, pthread_create(&thread, NULL, make_changes, &changes));
	sent = send(self, &lost);
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, self->rc);
	EXPECT_LE(CHANGES, self->changes);
	EXPECT_LE(INTERRUPTS, sent);
	EXPECT_FALSE(lost) {
		TH_LOG("interrupt %u, about change %u", sent, self->changes);
	}
	/* None arrives twice. */
	usleep(100000);
	EXPECT_EQ(-1, read(self->event, &more, sizeof(more)));

	/* It was attached to something all the time. */
	fill_pattern(self->mem, COPY, 1);
	ASSERT_EQ(0, dev_dma_copy(&self->dev, TEST_IOVA, TEST_IOVA + PAGE,
				  COPY));
	EXPECT_TRUE(has_pattern(self->mem + PAGE, COPY, 1));
}

TEST_HARNESS_MAIN
