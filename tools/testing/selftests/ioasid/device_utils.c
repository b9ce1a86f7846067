// SPDX-License-Identifier: GPL-2.0-only
/* Devices that do DMA; see device_utils.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device_utils.h"
#include "ioasid_utils.h"

static const struct dma_device_kind *const kinds[] = {
	&edu_kind,
	&test_device_kind,
};

/* Names that count are as long as each other, or end in a number. */
static int dev_compare(const void *a, const void *b)
{
	const struct dma_device *one = a, *two = b;
	size_t length = strlen(one->name), other = strlen(two->name);

	if (length != other)
		return length < other ? -1 : 1;
	return strcmp(one->name, two->name);
}

/* Fills in what sysfs tells. Return: whether VFIO has the device. */
bool dev_probe(const struct dma_device_kind *kind, const char *name,
	       struct dma_device *dev)
{
	char path[320], link[256];
	struct dirent *de;
	ssize_t n;
	DIR *dir;

	memset(dev, 0, sizeof(*dev));
	dev->kind = kind;
	dev->fd = -1;
	snprintf(dev->name, sizeof(dev->name), "%.31s", name);

	snprintf(path, sizeof(path), "%s/devices/%s/iommu_group", kind->bus,
		 name);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = 0;
	dev->group = atoi(strrchr(link, '/') + 1);

	snprintf(path, sizeof(path), "%s/devices/%s/vfio-dev", kind->bus, name);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((de = readdir(dir)))
		if (!strncmp(de->d_name, "vfio", 4))
			snprintf(dev->cdev, sizeof(dev->cdev),
				 "/dev/vfio/devices/%.31s", de->d_name);
	closedir(dir);
	return dev->cdev[0];
}

/* All of a kind in the order of their names. Return: how many. */
static int dev_list_kind(const struct dma_device_kind *kind,
			 struct dma_device *list, int max)
{
	struct dirent *de;
	char path[64];
	int num = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/devices", kind->bus);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (num < max && (de = readdir(dir)))
		if (kind->is(de->d_name) &&
		    dev_probe(kind, de->d_name, &list[num]))
			num++;
	closedir(dir);
	qsort(list, num, sizeof(*list), dev_compare);
	return num;
}

/* All that there are, edu devices first. Return: how many. */
int dev_list(struct dma_device *list, int max)
{
	size_t i;
	int num = 0;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		num += dev_list_kind(kinds[i], list + num, max - num);
	return num;
}

static int devs_in_group(const struct dma_device *list, int num, int group)
{
	int i, found = 0;

	for (i = 0; i < num; i++)
		found += list[i].group == group;
	return found;
}

/* Another device of its group, of any kind. Return: whether there is one. */
static bool dev_neighbour(const struct dma_device *dev, char *name, size_t size)
{
	struct dirent *de;
	bool found = false;
	char path[128];
	DIR *dir;

	snprintf(path, sizeof(path), "%s/devices/%s/iommu_group/devices",
		 dev->kind->bus, dev->name);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		if (de->d_name[0] == '.' || !strcmp(de->d_name, dev->name))
			continue;
		snprintf(name, size, "%.31s", de->d_name);
		found = true;
	}
	closedir(dir);
	return found;
}

/* Up to @num that have an IOMMU group of their own. Return: how many. */
int dev_find_alone(struct dma_device *list, int num)
{
	struct dma_device all[DEV_MAX];
	int i, found = 0, total = dev_list(all, DEV_MAX);
	char other[32];

	for (i = 0; i < total && found < num; i++)
		if (!dev_neighbour(&all[i], other, sizeof(other)))
			list[found++] = all[i];
	return found;
}

/*
 * A device whose only neighbour in the group is a device that is not for tests,
 * but on the same bus. Return: 1, or 0 if there is none.
 */
int dev_find_mixed(struct dma_device *dev, char *other, size_t size)
{
	struct dma_device all[DEV_MAX];
	int i, total = dev_list(all, DEV_MAX);

	for (i = 0; i < total; i++) {
		if (devs_in_group(all, total, all[i].group) == 1 &&
		    dev_neighbour(&all[i], other, size)) {
			*dev = all[i];
			return 1;
		}
	}
	return 0;
}

/* Two devices of the same group. Return: 2, or 0 if there are none. */
int dev_find_shared(struct dma_device pair[2])
{
	struct dma_device all[DEV_MAX];
	int i, j, total = dev_list(all, DEV_MAX);

	for (i = 0; i < total; i++) {
		for (j = i + 1; j < total; j++) {
			if (all[i].group != all[j].group)
				continue;
			pair[0] = all[i];
			pair[1] = all[j];
			return 2;
		}
	}
	return 0;
}

int dev_open(struct dma_device *dev)
{
	int fd = vfio_open(dev->cdev);

	if (fd < 0)
		return fd;
	dev->fd = fd;
	return 0;
}

/* Where a region of the device is in its file, which is bound already. */
int dev_region(struct dma_device *dev, __u32 index, off_t *offset)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = index,
	};

	if (ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -errno;
	*offset = info.offset;
	return 0;
}

/* Makes a device that is bound already ready for DMA. */
int dev_take_over(struct dma_device *dev)
{
	int rc = dev->kind->take_over(dev);

	/* A copy that a former user has started may still be under way. */
	return rc ? rc : dev_dma_wait(dev);
}

int dev_bind(struct dma_device *dev, int iommu)
{
	int rc = vfio_bind(dev->fd, iommu, &dev->dev_id);

	return rc ? rc : dev_take_over(dev);
}

/* As dev_bind() where no administrator has allowed unsafe interrupts. */
int dev_bind_safely(struct dma_device *dev, int iommu)
{
	static const char allow[] = "allow_unsafe_interrupts";
	long before = param_get(allow);
	int rc;

	rc = param_set(allow, 0);
	if (rc)
		return rc;
	rc = dev_bind(dev, iommu);
	return param_set(allow, before) ? -EIO : rc;
}

int dev_open_bind(struct dma_device *dev, int iommu)
{
	int rc = dev_open(dev);

	return rc ? rc : dev_bind(dev, iommu);
}

void dev_close(struct dma_device *dev)
{
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

/* Maps a part of the device into the process: memory that cannot be pinned. */
int dev_mmap(struct dma_device *dev, size_t size, void **mem)
{
	*mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dev->fd,
		    dev->memory);
	return *mem == MAP_FAILED ? -errno : 0;
}

/* Return: how many interrupts of that index it has, or a negative errno. */
int dev_irqs(struct dma_device *dev, __u32 index)
{
	struct vfio_irq_info info = {
		.argsz = sizeof(info),
		.index = index,
	};

	if (ioctl(dev->fd, VFIO_DEVICE_GET_IRQ_INFO, &info))
		return -errno;
	return info.count;
}

/* Interrupt @number of @index is to signal @eventfd, or nobody if it is -1. */
int dev_irq(struct dma_device *dev, __u32 index, unsigned int number,
	    int eventfd)
{
	union {
		struct vfio_irq_set set;
		char room[sizeof(struct vfio_irq_set) + sizeof(eventfd)];
	} irq = {
		.set = {
			.argsz = sizeof(irq),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD |
				 VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = index,
			.start = number,
			.count = 1,
		},
	};

	memcpy(irq.set.data, &eventfd, sizeof(eventfd));
	return ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, &irq) ? -errno : 0;
}

/*
 * Whether its interrupt messages go to an address that the page table must have.
 * Of a group that has addresses for them only those of x86 pass by the table.
 */
bool dev_translates_msi(const struct dma_device *dev)
{
	unsigned long long first, last;
	char path[64], type[32];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path),
		 "/sys/kernel/iommu_groups/%d/reserved_regions", dev->group);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fscanf(file, "%llx %llx %31s", &first, &last, type) == 3)
		if (!strcmp(type, "msi") && first != MSI_FIRST)
			found = true;
	fclose(file);
	return found;
}

/* Begins a copy between memory and the start of the device's buffer. */
int dev_dma_start(struct dma_device *dev, __u64 iova, size_t length,
		  bool to_ram)
{
	if (length > dev->kind->max)
		return -E2BIG;
	return dev->kind->start(dev, iova, length, to_ram);
}

int dev_dma_wait(struct dma_device *dev)
{
	int tries, rc;

	for (tries = 0; tries < 5000; tries++) {
		rc = dev->kind->busy(dev);
		if (rc <= 0)
			return rc;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

/*
 * Copies between memory and the device's buffer. What the IOMMU refuses is not
 * an error: who wants to know looks at the memory.
 */
int dev_dma(struct dma_device *dev, __u64 iova, size_t length, bool to_ram)
{
	int rc = dev_dma_start(dev, iova, length, to_ram);

	return rc ? rc : dev_dma_wait(dev);
}

/* Copies from memory to memory, through the device's buffer. */
int dev_dma_copy(struct dma_device *dev, __u64 from, __u64 to, size_t length)
{
	size_t max = dev->kind->max;

	while (length) {
		size_t part = length < max ? length : max;
		int rc;

		rc = dev_dma(dev, from, part, false);
		if (rc)
			return rc;
		rc = dev_dma(dev, to, part, true);
		if (rc)
			return rc;
		from += part;
		to += part;
		length -= part;
	}
	return 0;
}

/* Tables of a first stage, which drivers prefer, are those of CPUs. */
#define ECAP_FIRST_STAGE	0x800000000000ULL
#define SMMUV3_FIRST_STAGE	0x2

unsigned int dev_num_windows(const struct dma_device *dev, int iommu)
{
	struct iommu_device_info info = {};

	if (iommu_device_info(iommu, dev->dev_id, &info))
		return 0;
	return info.num_windows;
}

bool dev_has_write_only(const struct dma_device *dev, int iommu)
{
	union {
		struct iommu_hw_info_vtd vtd;
		struct iommu_hw_info_arm_smmuv3 smmu;
	} data = {};
	struct iommu_hw_info info = {
		.size = sizeof(info),
		.dev_id = dev->dev_id,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};

	if (dev->kind == &test_device_kind ||
	    !access("/sys/class/iommu/ivhd0", F_OK))
		return true;
	if (iommu_call(iommu, IOMMU_GET_HW_INFO, &info))
		return false;
	switch (info.out_data_type) {
	case IOMMU_HW_INFO_TYPE_INTEL_VTD:
		return !(data.vtd.ecap_reg & ECAP_FIRST_STAGE);
	case IOMMU_HW_INFO_TYPE_ARM_SMMUV3:
		return !(data.smmu.idr[0] & SMMUV3_FIRST_STAGE);
	}
	return false;
}

/* ---- drivers ---- */

/* Name of the driver, empty if there is none. */
void bus_driver(const char *bus, const char *name, char *driver, size_t size)
{
	char path[320], link[256];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/devices/%s/driver", bus, name);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	snprintf(driver, size, "%s",
		 strrchr(link, '/') ? strrchr(link, '/') + 1 : "");
}

/* Takes the driver away; one of VFIO waits until the device is closed. */
int bus_unbind(const char *bus, const char *name)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/devices/%s/driver/unbind", bus, name);
	return file_write(path, name);
}

int bus_device_set(const char *bus, const char *name, const char *file,
		   const char *text)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/devices/%s/%s", bus, name, file);
	return file_write(path, text);
}

/* Gives it the driver that claims it, if that one wants it now. */
int bus_probe(const char *bus, const char *name)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/drivers_probe", bus);
	return file_write(path, name);
}
