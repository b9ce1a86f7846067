// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device is taken out of the machine while a program has it in use: attached,
 * with memory that is mapped, interrupts and DMA that is under way. VFIO asks the
 * program to let go; it does, or is killed. Then nothing is left, the address
 * space is as good as before, and so is the device when it comes again.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_utils.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	16
#define COPY		256
/* For what another takes its time for, in seconds */
#define PATIENCE	60

/* ---- ways to take it out and to put it in again ---- */

FIXTURE(unplug) {
	struct counts counts;
	struct dma_device dev;
	int iommu;
	int msi;
	int request;
	__u32 ioasid;
	char *mem;
	bool ready;

	pthread_t thread;
	bool waits;
	int rc;
};

/**
 * struct way - How a device comes and goes
 * @missing: Why that is not possible here, or NULL
 * @plug: Puts it in and sets &dma_device.kind and .name
 * @unplug: Takes it out, and may wait until nobody has it
 */
struct way {
	const char *(*missing)(void);
	int (*plug)(struct dma_device *dev);
	int (*unplug)(struct dma_device *dev);
};

FIXTURE_VARIANT(unplug) {
	struct way way;
};

/* Return: whether it is there, or is not, in so many seconds. */
static bool wait_device(const struct dma_device *dev, bool there,
			double patience)
{
	double end = seconds() + patience;
	char path[128];

	snprintf(path, sizeof(path), "%s/devices/%s", dev->kind->bus,
		 dev->name);
	while (!access(path, F_OK) != there) {
		if (seconds() > end)
			return false;
		usleep(10000);
	}
	return true;
}

/*
 * The port where devices come and go, with nothing in it: its address, or NULL.
 * Who runs the machine, and reads what tests say, tells it; see scripts/run-qemu.
 */
static const char *port(void)
{
	return getenv("hotplug_port");
}

/* Where the device in the slot behind the port is, without its function */
static int slot_address(char *address, size_t size)
{
	char path[96], text[32];
	int rc;

	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/secondary_bus_number", port());
	rc = file_read(path, text, sizeof(text));
	if (rc < 0)
		return rc;
	snprintf(address, size, "%.4s:%02x:00", port(), atoi(text));
	return 0;
}

/* Slots have names of their own: the one behind the port, in sysfs */
static int slot_find(char *path, size_t size)
{
	char address[32], file[320], text[32];
	struct dirent *de;
	int rc = -ENOENT;
	DIR *dir;

	if (!port() || slot_address(address, sizeof(address)))
		return rc;
	dir = opendir("/sys/bus/pci/slots");
	if (!dir)
		return rc;
	while (rc && (de = readdir(dir))) {
		snprintf(file, sizeof(file), "/sys/bus/pci/slots/%s/address",
			 de->d_name);
		if (file_read(file, text, sizeof(text)) < 0 ||
		    strncmp(text, address, strlen(address)))
			continue;
		snprintf(path, size, "/sys/bus/pci/slots/%.32s", de->d_name);
		rc = 0;
	}
	closedir(dir);
	return rc;
}

static const char *no_slot(void)
{
	char path[64];

	if (slot_find(path, sizeof(path)))
		return "the machine has no slot to put devices in";
	return NULL;
}

static int tell_machine(const char *text)
{
	size_t length = strlen(text);

	return write(STDOUT_FILENO, text, length) == (ssize_t)length ? 0 : -EIO;
}

/* A PCI device that is coming is given to VFIO. */
static int pci_take(struct dma_device *dev)
{
	double end = seconds() + PATIENCE;
	struct dma_device taken;

	dev->kind = &edu_kind;
	/* It is there before it has addresses, and before it can have a driver. */
	while (seconds() < end) {
		if (dev_probe(dev->kind, dev->name, &taken))
			return 0;
		if (!bus_device_set(dev->kind->bus, dev->name, "enable", "1") &&
		    !bus_device_set(dev->kind->bus, dev->name,
				    "driver_override", "vfio-pci"))
			bus_probe(dev->kind->bus, dev->name);
		usleep(10000);
	}
	return -ETIMEDOUT;
}

/* The last device may not be out of the slot yet: then nothing happens. */
static int slot_plug(struct dma_device *dev)
{
	double end = seconds() + PATIENCE;
	int rc = slot_address(dev->name, sizeof(dev->name));

	if (rc)
		return rc;
	strcat(dev->name, ".0");
	dev->kind = &edu_kind;
	do {
		rc = tell_machine("@plug\n");
		if (rc || seconds() > end)
			return rc ? rc : -ETIMEDOUT;
	} while (!wait_device(dev, true, 2));
	return pci_take(dev);
}

/* As if somebody had pressed the button at the slot */
static int slot_button(struct dma_device *dev)
{
	return tell_machine("@unplug\n");
}

/* By the kernel, which waits for the program */
static int slot_power_off(struct dma_device *dev)
{
	char path[64], power[80];
	int rc = slot_find(path, sizeof(path));

	if (rc)
		return rc;
	snprintf(power, sizeof(power), "%s/power", path);
	return file_write(power, "0");
}

static const char *no_pci_device(void)
{
	struct dma_device dev;

	if (dev_find_alone(&dev, 1) < 1 || dev.kind != &edu_kind)
		return "no PCI device in an IOMMU group of its own";
	return NULL;
}

/* One that is there from the start, and is again when this has run */
static int pci_find(struct dma_device *dev)
{
	int rc;

	if (dev->kind) {
		rc = file_write("/sys/bus/pci/rescan", "1");
		return rc ? rc : pci_take(dev);
	}
	return dev_find_alone(dev, 1) < 1 ? -ENODEV : 0;
}

static int pci_remove(struct dma_device *dev)
{
	return bus_device_set(dev->kind->bus, dev->name, "remove", "1");
}

static int test_plug(struct dma_device *dev)
{
	int rc;

	if (dev->kind)
		return test_device_plug("a", "one", dev);
	rc = test_iommu_remove_all();
	if (!rc)
		rc = test_iommu_make("a", NULL);
	return rc ? rc : test_device_make("a", "one", NULL, dev);
}

static int test_unplug(struct dma_device *dev)
{
	return test_device_unplug("a", "one");
}

FIXTURE_VARIANT_ADD(unplug, button) {
	.way = { no_slot, slot_plug, slot_button },
};

FIXTURE_VARIANT_ADD(unplug, power) {
	.way = { no_slot, slot_plug, slot_power_off },
};

FIXTURE_VARIANT_ADD(unplug, removed) {
	.way = { no_pci_device, pci_find, pci_remove },
};

FIXTURE_VARIANT_ADD(unplug, test_iommu) {
	.way = { test_iommu_missing, test_plug, test_unplug },
};

/* ---- a program that has it in use ---- */

static int put_in(struct dma_device *dev, const struct way *way)
{
	char name[sizeof(dev->name)];
	int rc = way->plug(dev);

	if (rc)
		return rc;
	memcpy(name, dev->name, sizeof(name));
	return dev_probe(dev->kind, name, dev) ? 0 : -ENODEV;
}

static int map_memory(struct _test_data_unplug *self)
{
	return ioasid_map(self->iommu, self->ioasid, READ_WRITE, self->mem,
			  TEST_IOVA, MEM_PAGES * PAGE);
}

/* Where VFIO signals what it has for the program */
static int want_events(struct _test_data_unplug *self)
{
	struct dma_device *dev = &self->dev;
	int rc = dev_irq(dev, dev->kind->request, 0, self->request);

	if (rc || dev_irqs(dev, dev->kind->msi) < 1)
		return rc;
	return dev_irq(dev, dev->kind->msi, 0, self->msi);
}

static int begin_use(struct _test_data_unplug *self)
{
	int rc;

	self->iommu = iommu_open();
	if (self->iommu < 0)
		return self->iommu;
	rc = dev_open_bind(&self->dev, self->iommu);
	if (!rc)
		rc = ioasid_alloc(self->iommu, &self->ioasid);
	if (!rc)
		rc = map_memory(self);
	if (!rc)
		rc = vfio_attach(self->dev.fd, self->ioasid);
	return rc ? rc : want_events(self);
}

static bool can_copy(struct _test_data_unplug *self, struct dma_device *dev)
{
	fill_pattern(self->mem, COPY, 5);
	memset(self->mem + PAGE, 0, COPY);
	if (dev_dma_copy(dev, TEST_IOVA, TEST_IOVA + PAGE, COPY))
		return false;
	return has_pattern(self->mem + PAGE, COPY, 5);
}

static bool signalled(int event)
{
	struct pollfd wait = { .fd = event, .events = POLLIN };

	return poll(&wait, 1, PATIENCE * 1000) == 1;
}

/* Whether an interrupt of it arrives, if it has any */
static bool can_interrupt(struct _test_data_unplug *self)
{
	struct dma_device *dev = &self->dev;
	__u64 number;

	if (dev_irqs(dev, dev->kind->msi) < 1)
		return true;
	return !dev->kind->raise(dev) && signalled(self->msi) &&
	       read(self->msi, &number, sizeof(number)) == sizeof(number);
}

/* ---- while somebody takes it out ---- */

struct hand {
	struct _test_data_unplug *self;
	const struct way *way;
};

static void *take_out(void *arg)
{
	struct hand *hand = arg;

	hand->self->rc = hand->way->unplug(&hand->self->dev);
	return NULL;
}

static int take_out_begin(struct hand *hand)
{
	return pthread_create(&hand->self->thread, NULL, take_out, hand);
}

/* Return: whether it is gone. */
static bool take_out_end(struct hand *hand)
{
	return !pthread_join(hand->self->thread, NULL) && !hand->self->rc &&
	       wait_device(&hand->self->dev, false, PATIENCE);
}

FIXTURE_SETUP(unplug)
{
	const char *missing = variant->way.missing();

	self->iommu = -1;
	self->dev.fd = -1;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, put_in(&self->dev, &variant->way));
	self->mem = mem_alloc(MEM_PAGES * PAGE);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0, MEM_PAGES * PAGE);
	self->msi = eventfd(0, EFD_CLOEXEC);
	self->request = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, self->msi);
	ASSERT_LE(0, self->request);
	COUNTS_BEGIN(&self->counts);
	self->ready = true;
}

/* The slot is empty again, and what was there from the start is there. */
FIXTURE_TEARDOWN(unplug)
{
	dev_close(&self->dev);
	if (self->iommu >= 0)
		close(self->iommu);
	if (!self->ready)
		return;
	COUNTS_END(&self->counts);
	if (variant->way.plug == slot_plug) {
		slot_power_off(&self->dev);
		EXPECT_TRUE(wait_device(&self->dev, false, PATIENCE));
	} else if (variant->way.plug == test_plug) {
		EXPECT_EQ(0, test_iommu_remove_all());
	} else if (!wait_device(&self->dev, true, 0)) {
		EXPECT_EQ(0, put_in(&self->dev, &variant->way));
	}
	close(self->msi);
	close(self->request);
}

TEST_F_TIMEOUT(unplug, closed, 240)
{
	struct hand hand = { .self = self, .way = &variant->way };
	__u32 dev_id;
	char cdev[64];
	struct iommu_device_info device = {};
	struct iommu_ioasid_info info;

	ASSERT_EQ(0, begin_use(self));
	EXPECT_TRUE(can_copy(self, &self->dev));
	EXPECT_TRUE(can_interrupt(self));
	ASSERT_EQ(0, take_out_begin(&hand));
	EXPECT_TRUE(signalled(self->request));
	/* It is the program's until that lets go. */
	EXPECT_TRUE(can_copy(self, &self->dev));
	EXPECT_TRUE(can_interrupt(self));
	dev_id = self->dev.dev_id;
	memcpy(cdev, self->dev.cdev, sizeof(cdev));
	EXPECT_EQ(0, dev_dma_start(&self->dev, TEST_IOVA + 2 * PAGE, COPY,
				   true));
	dev_close(&self->dev);
	ASSERT_TRUE(take_out_end(&hand));
	EXPECT_EQ(-1, access(cdev, F_OK));
	EXPECT_EQ(-ENOENT, iommu_device_info(self->iommu, dev_id, &device));

	/* The address space has all but the device, and no device means no pins. */
	ASSERT_EQ(0, ioasid_totals(self->iommu, self->ioasid, &info));
	EXPECT_EQ(0, info.num_devices);
	EXPECT_EQ(1, info.num_mappings);
	EXPECT_EQ(-EPERM, ioasid_map(self->iommu, self->ioasid, READ_WRITE,
				     self->mem, 2 * TEST_IOVA, PAGE));

	/* The device is taken again, and finds it so. */
	ASSERT_EQ(0, put_in(&self->dev, &variant->way));
	ASSERT_EQ(0, dev_open_bind(&self->dev, self->iommu));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, self->ioasid));
	ASSERT_EQ(0, want_events(self));
	EXPECT_TRUE(can_copy(self, &self->dev));
	EXPECT_TRUE(can_interrupt(self));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_FALSE(can_copy(self, &self->dev));
}

/* The address space, and another device in it, go on meanwhile. */
TEST_F_TIMEOUT(unplug, one_of_two, 240)
{
	struct hand hand = { .self = self, .way = &variant->way };
	struct dma_device other[2];
	int num, i;

	num = dev_find_alone(other, 2);
	for (i = 0; i < num && !strcmp(other[i].name, self->dev.name); i++)
		;
	if (i == num)
		SKIP(return, "no other device in an IOMMU group of its own");
	ASSERT_EQ(0, begin_use(self));
	ASSERT_EQ(0, dev_open_bind(&other[i], self->iommu));
	ASSERT_EQ(0, vfio_attach(other[i].fd, self->ioasid));
	EXPECT_TRUE(can_copy(self, &self->dev));
	EXPECT_TRUE(can_copy(self, &other[i]));
	ASSERT_EQ(0, take_out_begin(&hand));
	EXPECT_TRUE(signalled(self->request));
	EXPECT_TRUE(can_copy(self, &other[i]));
	dev_close(&self->dev);
	ASSERT_TRUE(take_out_end(&hand));
	EXPECT_TRUE(can_copy(self, &other[i]));
	ASSERT_EQ(0, ioasid_unmap_all(self->iommu, self->ioasid, NULL));
	EXPECT_FALSE(can_copy(self, &other[i]));
	ASSERT_EQ(0, map_memory(self));
	EXPECT_TRUE(can_copy(self, &other[i]));
	dev_close(&other[i]);
	ASSERT_EQ(0, put_in(&self->dev, &variant->way));
}

/* Copies until it is killed; tells when it has begun. */
static void victim(struct _test_data_unplug *self, int ready)
{
	char done = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (begin_use(self) || !can_copy(self, &self->dev))
		done = 0;
	if (write(ready, &done, 1) != 1 || !done)
		_exit(1);
	for (;;)
		dev_dma_copy(&self->dev, TEST_IOVA, TEST_IOVA + PAGE, COPY);
}

TEST_F_TIMEOUT(unplug, killed, 240)
{
	struct hand hand = { .self = self, .way = &variant->way };
	int ready[2], status;
	char done = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		victim(self, ready[1]);
	ASSERT_EQ(1, read(ready[0], &done, 1));
	ASSERT_EQ(1, done);
	ASSERT_EQ(0, take_out_begin(&hand));
	EXPECT_TRUE(signalled(self->request));
	/* It does not listen. */
	EXPECT_EQ(0, kill(pid, SIGKILL));
	ASSERT_TRUE(take_out_end(&hand));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(ready[0]);
	close(ready[1]);

	ASSERT_EQ(0, put_in(&self->dev, &variant->way));
	ASSERT_EQ(0, begin_use(self));
	EXPECT_TRUE(can_copy(self, &self->dev));
	EXPECT_TRUE(can_interrupt(self));
}

TEST_HARNESS_MAIN
