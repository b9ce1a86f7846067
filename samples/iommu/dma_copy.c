// SPDX-License-Identifier: GPL-2.0-only
/*
 * A first program for /dev/iommu: lend memory to a device, then take it back.
 *
 * The device can copy memory to and from a buffer of its own. All its addresses
 * go through the IOMMU, so it reaches exactly what this program maps for it.
 * That is what is shown here: first that DMA works, then that there is no way
 * around the mapping.
 *
 * Usage: dma_copy [device]     for example: dma_copy 0000:00:04.0
 *
 * The device is QEMU's "edu" (PCI 1234:11e8). Run this as root, with the device
 * handed to vfio-pci:
 *
 *   echo vfio-pci > /sys/bus/pci/devices/0000:00:04.0/driver_override
 *   echo 0000:00:04.0 > /sys/bus/pci/drivers_probe
 *
 * On a machine without an IOMMU it is a device of module ioasid_test_iommu, with
 * an IOMMU that is software:
 *
 *   cd /sys/kernel/config/ioasid_test
 *   mkdir main && echo 1 > main/enabled
 *   mkdir main/device && echo 1 > main/device/enabled
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/iommu.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../drivers/iommu/ioasid/test/test_device.h"

/* Where the device finds our memory. Any page-aligned number will do. */
#define IOVA		0x100000ULL
#define COPY_SIZE	2048

static int failures;

static void die(const char *what, const char *hint)
{
	fprintf(stderr, "\n%s: %s\n", what, strerror(errno));
	if (hint)
		fprintf(stderr, "%s\n", hint);
	exit(1);
}

static void verdict(bool good, const char *what)
{
	printf("   %s: %s\n", good ? "ok" : "WRONG", what);
	failures += !good;
}

/* Every IOMMU ioctl takes a structure that starts with its own size. */
#define IOMMU_CALL(fd, command, arg) \
	do { \
		if (ioctl(fd, command, arg)) \
			die(#command, NULL); \
	} while (0)

/* Where pread() and pwrite() on the device's file find one of its regions. */
static off_t region(int device, __u32 index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		die("VFIO_DEVICE_GET_REGION_INFO", NULL);
	return info.offset;
}

/* ---- edu ---- */

/* Its registers, in BAR 0 */
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_CMD_RUN	0x1		/* reads as 1 until the copy is done */
#define EDU_CMD_TO_RAM	0x2		/* else from RAM */
#define EDU_BUFFER	0x40000		/* address of its buffer, for itself */

static int kmsg;

static bool is_edu(const char *name)
{
	char path[320], id[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/modalias", name);
	f = fopen(path, "r");
	if (f && !fgets(id, sizeof(id), f))
		id[0] = 0;
	if (f)
		fclose(f);
	return !strncmp(id, "pci:v00001234d000011E8", 22);
}

/* Let the device answer at its registers and do DMA. */
static void edu_start(int device)
{
	off_t config = region(device, VFIO_PCI_CONFIG_REGION_INDEX);
	__u16 command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	if (pwrite(device, &command, sizeof(command), config + PCI_COMMAND) !=
	    sizeof(command))
		die("PCI command register", NULL);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(kmsg, 0, SEEK_END);
}

static void edu_write(int device, off_t reg, __u32 value)
{
	reg += region(device, VFIO_PCI_BAR0_REGION_INDEX);
	if (pwrite(device, &value, sizeof(value), reg) != sizeof(value))
		die("write to a register", NULL);
}

static __u32 edu_read(int device, off_t reg)
{
	__u32 value;

	reg += region(device, VFIO_PCI_BAR0_REGION_INDEX);
	if (pread(device, &value, sizeof(value), reg) != sizeof(value))
		die("read of a register", NULL);
	return value;
}

static void edu_copy(int device, __u64 iova, bool to_ram)
{
	edu_write(device, EDU_DMA_SRC, to_ram ? EDU_BUFFER : iova);
	edu_write(device, EDU_DMA_DST, to_ram ? iova : EDU_BUFFER);
	edu_write(device, EDU_DMA_COUNT, COPY_SIZE);
	edu_write(device, EDU_DMA_CMD, EDU_CMD_RUN |
		  (to_ram ? EDU_CMD_TO_RAM : 0));
	while (edu_read(device, EDU_DMA_CMD) & EDU_CMD_RUN)
		usleep(1000);
}

/* It knows of no faults; the IOMMU reports in the kernel log what it refused. */
static void edu_print_fault(int device)
{
	char record[1024];
	int tries, found = 0;

	(void)device;
	for (tries = 0; tries < 10 && !found; tries++) {
		ssize_t n;

		usleep(50000);
		while ((n = read(kmsg, record, sizeof(record) - 1)) > 0) {
			char *text;

			record[n] = 0;
			record[strcspn(record, "\n")] = 0;
			text = strchr(record, ';');
			if (text && (strstr(text, "fault addr") ||
				     strstr(text, "IO_PAGE_FAULT"))) {
				printf("   kernel log: %s\n", text + 1);
				found = 1;
			}
		}
	}
	if (!found)
		printf("   (no report in the kernel log: it limits their rate)\n");
}

/* ---- a device of the test IOMMU ---- */

static bool is_test_device(const char *name)
{
	return !strncmp(name, IOASID_TEST_DEVICE ".",
			strlen(IOASID_TEST_DEVICE "."));
}

static void test_start(int device)
{
	off_t registers = region(device, IOASID_TEST_REGISTERS);
	struct ioasid_test_globals globals;

	if (pread(device, &globals, sizeof(globals), registers) !=
		    sizeof(globals) ||
	    globals.magic != IOASID_TEST_MAGIC)
		die("read of the registers", NULL);
}

/* The write() that gives the command returns when the copy is done. */
static void test_copy(int device, __u64 iova, bool to_ram)
{
	off_t channel = region(device, IOASID_TEST_REGISTERS) +
			IOASID_TEST_CHANNEL(0);
	struct ioasid_test_command command = {
		.op = to_ram ? IOASID_TEST_WRITE : IOASID_TEST_READ,
		.iova = iova,
		.length = COPY_SIZE,
	};

	if (pwrite(device, &command, sizeof(command), channel) !=
	    sizeof(command))
		die("write of a command", NULL);
}

static void test_print_fault(int device)
{
	off_t channel = region(device, IOASID_TEST_REGISTERS) +
			IOASID_TEST_CHANNEL(0);
	struct ioasid_test_status status;

	if (pread(device, &status, sizeof(status),
		  channel + IOASID_TEST_STATUS) != sizeof(status))
		die("read of the status", NULL);
	if (status.fault)
		printf("   the device tells: refused at 0x%llx, reason %u\n",
		       (unsigned long long)status.fault_iova, status.fault);
	else
		printf("   the device tells of no fault\n");
}

/* ---- what the rest of the program knows of the device ---- */

/**
 * struct driver - How to drive a kind of device
 * @bus: Folder of its bus in sysfs
 * @is: Whether the device of this name is one
 * @start: Makes one that is bound ready
 * @copy: Copies COPY_SIZE bytes between the address @iova, as the device sees
 *        it, and the device's own buffer
 * @print_fault: Tells what became of a copy that was refused
 */
struct driver {
	const char *bus;
	bool (*is)(const char *name);
	void (*start)(int device);
	void (*copy)(int device, __u64 iova, bool to_ram);
	void (*print_fault)(int device);
};

static const struct driver drivers[] = {
	{ "/sys/bus/pci", is_edu, edu_start, edu_copy, edu_print_fault },
	{ "/sys/bus/platform", is_test_device, test_start, test_copy,
	  test_print_fault },
	{}
};

/* Finds the device @name, or the first one behind an IOMMU if that is empty. */
static const struct driver *find_device(char *name, size_t size)
{
	const struct driver *driver;
	char path[320];
	struct dirent *de;
	DIR *dir;

	for (driver = drivers; driver->bus; driver++) {
		snprintf(path, sizeof(path), "%s/devices", driver->bus);
		dir = opendir(path);
		while (dir && (de = readdir(dir))) {
			snprintf(path, sizeof(path), "%s/devices/%s/iommu_group",
				 driver->bus, de->d_name);
			if (!driver->is(de->d_name) || access(path, F_OK) ||
			    (*name && strcmp(name, de->d_name)))
				continue;
			snprintf(name, size, "%s", de->d_name);
			closedir(dir);
			return driver;
		}
		if (dir)
			closedir(dir);
	}
	errno = ENODEV;
	die("No such device behind an IOMMU",
	    "Start QEMU with an IOMMU and -device edu, or see the top of dma_copy.c.");
	return NULL;
}

/* VFIO gives each of its devices a file of its own in /dev/vfio/devices. */
static int open_device(const char *bus, const char *name, char *path,
		       size_t size)
{
	char sysfs[320];
	struct dirent *de;
	DIR *dir;
	int fd;

	snprintf(sysfs, sizeof(sysfs), "%s/devices/%s/vfio-dev", bus, name);
	dir = opendir(sysfs);
	if (!dir)
		die(sysfs, "Is the device bound to vfio-pci?");
	path[0] = 0;
	while ((de = readdir(dir)))
		if (!strncmp(de->d_name, "vfio", 4))
			snprintf(path, size, "/dev/vfio/devices/%s", de->d_name);
	closedir(dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(path, "Are you root?");
	return fd;
}

static void print_device(int iommu, __u32 dev_id)
{
	struct iommu_group_member members[16] = {};
	struct iommu_range ranges[16] = {};
	struct iommu_device_info info = {
		.size = sizeof(info),
		.dev_id = dev_id,
		.num_ranges = 16,
		.num_members = 16,
		.ranges = (uintptr_t)ranges,
		.members = (uintptr_t)members,
	};
	unsigned int i;

	IOMMU_CALL(iommu, IOMMU_DEVICE_GET_INFO, &info);
	printf("   %u-bit addresses, page sizes 0x%llx, cookie 0x%llx\n",
	       info.addr_width, (unsigned long long)info.pgsize_bitmap,
	       (unsigned long long)info.cookie);
	/* The members of a group cannot be isolated from each other. */
	printf("   IOMMU group %u:\n", info.group_id);
	for (i = 0; i < info.num_members && i < 16; i++)
		printf("     %s, driver %s\n", members[i].name,
		       members[i].flags & IOMMU_GROUP_MEMBER_DRIVER ?
		       members[i].driver : "none");
	/* The holes between the ranges belong to interrupts and the platform. */
	printf("   may be given the addresses\n");
	for (i = 0; i < info.num_ranges && i < 16; i++)
		printf("     0x%llx to 0x%llx\n",
		       (unsigned long long)ranges[i].first,
		       (unsigned long long)ranges[i].last);
}

static bool all_bytes(const unsigned char *p, unsigned char value)
{
	size_t i;

	for (i = 0; i < COPY_SIZE; i++)
		if (p[i] != value)
			return false;
	return true;
}

static void print_graph(int iommu)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", iommu);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "ioasid:", 7) || !strncmp(line, "device:", 7))
			printf("     %s", line);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };
	struct iommu_device_cookie cookie = { .size = sizeof(cookie) };
	struct iommu_ioasid_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_ioasid_free ioasid_free = { .size = sizeof(ioasid_free) };
	struct iommu_unmap_dma unmap = { .size = sizeof(unmap) };
	struct iommu_map_dma map = { .size = sizeof(map) };
	long page = sysconf(_SC_PAGESIZE);
	unsigned char *memory, *source, *target, *neighbour;
	const struct driver *driver;
	char name[256] = "", path[320];
	int device, iommu, i;

	setvbuf(stdout, NULL, _IOLBF, 0);

	if (argc > 1)
		snprintf(name, sizeof(name), "%s", argv[1]);
	driver = find_device(name, sizeof(name));
	device = open_device(driver->bus, name, path, sizeof(path));
	printf("1. Device %s is %s\n", name, path);

	/*
	 * The file of the device and /dev/iommu know nothing of each other until
	 * they are bound. Before, the device cannot be touched at all.
	 */
	iommu = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (iommu < 0)
		die("/dev/iommu", "Is the module iommufd loaded?");
	bind.iommufd = iommu;
	if (ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		die("VFIO_DEVICE_BIND_IOMMUFD",
		    "Do all devices of its IOMMU group belong to vfio-pci?");
	printf("2. Bound to /dev/iommu, where it is device %u\n", bind.out_devid);

	/* A cookie is our own name for the device; the kernel only repeats it. */
	cookie.dev_id = bind.out_devid;
	cookie.cookie = 0xed0;
	IOMMU_CALL(iommu, IOMMU_DEVICE_SET_COOKIE, &cookie);
	printf("3. What the kernel says about it:\n");
	print_device(iommu, bind.out_devid);

	alloc.type = IOMMU_IOASID_TYPE_KERNEL;
	IOMMU_CALL(iommu, IOMMU_IOASID_ALLOC, &alloc);
	printf("4. Made an I/O address space: IOASID %u\n", alloc.ioasid);

	/* Three pages; the device is to reach the first two. */
	memory = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap", NULL);
	source = memory;
	target = memory + page;
	neighbour = memory + 2 * page;
	map.flags = IOMMU_MAP_DMA_READ | IOMMU_MAP_DMA_WRITE;
	map.ioasid = alloc.ioasid;
	map.iova = IOVA;
	map.src = (uintptr_t)memory;
	map.length = 2 * page;
	IOMMU_CALL(iommu, IOMMU_MAP_DMA, &map);
	printf("5. Mapped %ld bytes of our memory at 0x%llx in it\n", 2 * page,
	       IOVA);

	/* From here on the IOMMU translates the device's addresses with it. */
	attach.pt_id = alloc.ioasid;
	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		die("VFIO_DEVICE_ATTACH_IOMMUFD_PT", NULL);
	printf("6. Attached the device. The graph is now\n");
	print_graph(iommu);

	driver->start(device);
	for (i = 0; i < COPY_SIZE; i++)
		source[i] = i * 7 + i / 256;
	printf("7. The device copies our first page out and back into the second\n");
	driver->copy(device, IOVA, false);
	driver->copy(device, IOVA + page, true);
	verdict(!memcmp(source, target, COPY_SIZE), "every byte has arrived");

	memset(neighbour, 0x55, page);
	printf("8. The device writes to 0x%llx, just behind the mapping\n",
	       IOVA + 2 * page);
	driver->copy(device, IOVA + 2 * page, true);
	verdict(all_bytes(neighbour, 0x55), "the page after ours is untouched");
	driver->print_fault(device);

	unmap.ioasid = alloc.ioasid;
	unmap.iova = IOVA;
	unmap.length = 2 * page;
	IOMMU_CALL(iommu, IOMMU_UNMAP_DMA, &unmap);
	memset(target, 0xaa, page);
	printf("9. Unmapped %llu bytes; the device tries 0x%llx again\n",
	       (unsigned long long)unmap.length, IOVA + page);
	driver->copy(device, IOVA + page, true);
	verdict(all_bytes(target, 0xaa), "the memory is ours alone again");
	driver->print_fault(device);

	/* Closing the two files would do all of this as well. */
	if (ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
		die("VFIO_DEVICE_DETACH_IOMMUFD_PT", NULL);
	ioasid_free.ioasid = alloc.ioasid;
	IOMMU_CALL(iommu, IOMMU_IOASID_FREE, &ioasid_free);
	printf("10. Detached the device and freed the IOASID. The graph is now\n");
	print_graph(iommu);
	close(device);
	close(iommu);

	if (failures)
		printf("FAIL: %d of 3 checks went wrong\n", failures);
	else
		printf("PASS: the device reached what was mapped and nothing else\n");
	return failures ? 1 : 0;
}
