// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that was given to user space goes back to the kernel, whose driver does
 * DMA with it as before: a disk is read, taken away, and read again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "device_fixture.h"
#include "ioasid_utils.h"

#define PCI_BUS		"/sys/bus/pci"
#define CLASS_NVME	"0x010802"
#define DISK		"/dev/nvme0n1"
#define SIZE		0x40000
#define GIB		0x40000000ULL

FIXTURE(release) {
	char name[32];
	struct dma_device dev;
	int iommu;
	char *before;
	char *after;
	struct counts counts;
};

/* The only disk's address on the PCI bus. Return: whether there is one. */
static bool find_disk(char *name, size_t size)
{
	char path[320], class[32];
	bool found = false;
	struct dirent *de;
	DIR *dir;

	dir = opendir(PCI_BUS "/devices");
	while (dir && !found && (de = readdir(dir))) {
		snprintf(path, sizeof(path), PCI_BUS "/devices/%s/class",
			 de->d_name);
		if (file_read(path, class, sizeof(class)) <= 0 ||
		    strncmp(class, CLASS_NVME, strlen(CLASS_NVME)))
			continue;
		snprintf(name, size, "%.31s", de->d_name);
		found = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* From the driver that it has to another one */
static int change_driver(const char *name, const char *driver)
{
	char now[64];
	int rc;

	bus_driver(PCI_BUS, name, now, sizeof(now));
	rc = now[0] ? bus_unbind(PCI_BUS, name) : 0;
	if (!rc)
		rc = bus_device_set(PCI_BUS, name, "driver_override", driver);
	return rc ? rc : bus_probe(PCI_BUS, name);
}

/* By DMA, and not from memory. The disk may be a moment behind its driver. */
static int read_disk(char *data)
{
	ssize_t n;
	int tries, fd = -1;

	for (tries = 0; tries < 100 && fd < 0; tries++) {
		fd = open(DISK, O_RDONLY | O_DIRECT);
		if (fd < 0)
			usleep(100000);
	}
	if (fd < 0)
		return -errno;
	n = read(fd, data, SIZE);
	close(fd);
	return n == SIZE ? 0 : -EIO;
}

FIXTURE_SETUP(release)
{
	char driver[64];

	COUNTS_BEGIN(&self->counts);
	self->dev.fd = -1;
	self->iommu = -1;
	if (!find_disk(self->name, sizeof(self->name)))
		SKIP(return, "no NVMe disk");
	ASSERT_EQ(0, posix_memalign((void **)&self->before, 65536, SIZE));
	ASSERT_EQ(0, posix_memalign((void **)&self->after, 65536, SIZE));
	bus_driver(PCI_BUS, self->name, driver, sizeof(driver));
	if (strcmp(driver, "nvme"))
		ASSERT_EQ(0, change_driver(self->name, "nvme"));
	ASSERT_EQ(0, read_disk(self->before));
	/* There is something on it. */
	ASSERT_FALSE(all_bytes(self->before, SIZE, 0));
}

FIXTURE_TEARDOWN(release)
{
	dev_close(&self->dev);
	if (self->iommu >= 0)
		close(self->iommu);
	if (self->before)
		change_driver(self->name, "nvme");
	COUNTS_END(&self->counts);
}

/* Not a device for DMA by tests, but one that VFIO has. */
static int take(struct _test_data_release *self)
{
	static const struct dma_device_kind kind = { .bus = PCI_BUS };
	int rc = change_driver(self->name, "vfio-pci");

	if (rc)
		return rc;
	if (!dev_probe(&kind, self->name, &self->dev))
		return -ENODEV;
	self->iommu = iommu_open();
	rc = dev_open(&self->dev);
	return rc ? rc : vfio_bind(self->dev.fd, self->iommu, &self->dev.dev_id);
}

static void give_back(struct __test_metadata *_metadata,
		      struct _test_data_release *self)
{
	dev_close(&self->dev);
	close(self->iommu);
	self->iommu = -1;
	ASSERT_EQ(0, change_driver(self->name, "nvme"));
	memset(self->after, 0, SIZE);
	ASSERT_EQ(0, read_disk(self->after));
	EXPECT_EQ(0, memcmp(self->before, self->after, SIZE));
}

TEST_F(release, bound_only)
{
	ASSERT_EQ(0, take(self));
	give_back(_metadata, self);
}

TEST_F(release, detached)
{
	void *mem = mem_alloc(4 * PAGE);
	__u32 ioasid;

	ASSERT_EQ(0, take(self));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, ioasid));
	ASSERT_EQ(0, ioasid_map(self->iommu, ioasid, READ_WRITE, mem, TEST_IOVA,
				4 * PAGE));
	ASSERT_EQ(0, vfio_detach(self->dev.fd));
	give_back(_metadata, self);
}

/* The user leaves it as it is. */
TEST_F(release, closed)
{
	void *mem = mem_alloc(4 * PAGE);
	__u32 ioasid;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, take(self));
		ASSERT_EQ(0, ioasid_alloc(self->iommu, &ioasid));
		ASSERT_EQ(0, vfio_attach(self->dev.fd, ioasid));
		ASSERT_EQ(0, ioasid_map(self->iommu, ioasid, READ_WRITE, mem,
					TEST_IOVA, 4 * PAGE));
		give_back(_metadata, self);
	}
}

/* With all the windows that it can have, where they are tables in hardware */
TEST_F(release, windows)
{
	struct iommu_device_info info = {};
	__u64 base = 0;
	__u32 ioasid;

	ASSERT_EQ(0, take(self));
	ASSERT_EQ(0, iommu_device_info(self->iommu, self->dev.dev_id, &info));
	ASSERT_EQ(0, ioasid_alloc(self->iommu, &ioasid));
	ASSERT_EQ(0, vfio_attach(self->dev.fd, ioasid));
	if (info.num_windows > 1) {
		ASSERT_EQ(0, ioasid_window_create(self->iommu, ioasid, 0, 0x10000,
						  &base, 4 * GIB));
		/* Without the default one, which the kernel's driver needs */
		ASSERT_EQ(0, ioasid_window_remove(self->iommu, ioasid, 0));
	}
	give_back(_metadata, self);
}

TEST_HARNESS_MAIN
