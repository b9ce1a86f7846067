// SPDX-License-Identifier: GPL-2.0-only
/* Commands to the access test devices; see access_utils.h. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "access_utils.h"
#include "ioasid_utils.h"

#define VFIO_CLASS	"/sys/class/vfio-dev"

/*
 * Finds access test devices. Return: how many of the two in @cdev were found.
 */
static int access_find(char cdev[2][64])
{
	char path[320], driver[256];
	struct dirent *de;
	int num = 0;
	ssize_t n;
	DIR *dir;

	dir = opendir(VFIO_CLASS);
	if (!dir)
		return 0;
	while (num < 2 && (de = readdir(dir))) {
		snprintf(path, sizeof(path), VFIO_CLASS "/%s/device/driver",
			 de->d_name);
		n = readlink(path, driver, sizeof(driver) - 1);
		if (n < 0)
			continue;
		driver[n] = 0;
		if (strcmp(strrchr(driver, '/') + 1, IOASID_ACCESS_DRIVER))
			continue;
		snprintf(cdev[num++], 64, "/dev/vfio/devices/%.31s",
			 de->d_name);
	}
	closedir(dir);
	return num;
}

/* What is missing for the tests, or NULL. */
const char *access_missing(char cdev[2][64])
{
	int iommu, rc;
	__u64 value;

	if (access_find(cdev) < 2)
		return "no two devices of module " IOASID_ACCESS_DRIVER;
	iommu = iommu_open();
	if (iommu < 0)
		return "/dev/iommu cannot be opened";
	rc = iommu_extension(iommu, IOMMU_EXT_MAP_TYPE1V2, 0, &value);
	close(iommu);
	return rc ? "/dev/iommu is not that of CONFIG_IOASID" : NULL;
}

/*
 * A device that is bound, and attached to @ioasid. Return: its file, -ENODEV if
 * there is none, or another negative errno
 */
int access_open(int iommu, __u32 ioasid)
{
	char cdev[2][64];
	__u32 dev_id;
	int device, rc;

	if (access_missing(cdev))
		return -ENODEV;
	device = vfio_open(cdev[0]);
	if (device < 0)
		return device;
	rc = vfio_bind(device, iommu, &dev_id);
	if (!rc)
		rc = vfio_attach(device, ioasid);
	if (!rc)
		return device;
	close(device);
	return rc;
}

/*
 * Executes a command in slot @slot. @data is what is copied, or room for it.
 * Return: 0 or a negative errno, of the command or of the device.
 */
int access_run(int device, unsigned int slot, __u32 op, __u32 flags,
	       __u64 iova, __u64 length, void *data)
{
	static __thread union {
		struct ioasid_access_cmd cmd;
		char bytes[IOASID_ACCESS_SLOT_SIZE];
	} buf;
	off_t pos = (off_t)slot * IOASID_ACCESS_SLOT_SIZE;
	size_t in = sizeof(buf.cmd), out = sizeof(buf.cmd);

	memset(&buf.cmd, 0, sizeof(buf.cmd));
	buf.cmd.op = op;
	buf.cmd.flags = flags;
	buf.cmd.iova = iova;
	buf.cmd.length = length;
	switch (op) {
	case IOASID_ACCESS_WRITE:
	case IOASID_ACCESS_POKE:
		if (length > IOASID_ACCESS_MAX_DATA)
			return -E2BIG;
		memcpy(buf.cmd.data, data, length);
		in += length;
		break;
	case IOASID_ACCESS_READ:
	case IOASID_ACCESS_PEEK:
		if (length > IOASID_ACCESS_MAX_DATA)
			return -E2BIG;
		out += length;
		break;
	case IOASID_ACCESS_STAT:
		out += sizeof(struct ioasid_access_stat);
		break;
	}

	if (pwrite(device, &buf, in, pos) != (ssize_t)in)
		return -errno;
	if (pread(device, &buf, out, pos) != (ssize_t)out)
		return -errno;
	if (!buf.cmd.result && out > sizeof(buf.cmd))
		memcpy(data, buf.cmd.data, out - sizeof(buf.cmd));
	return buf.cmd.result;
}

int access_pin(int device, __u64 iova, __u64 length, __u32 flags)
{
	return access_run(device, 0, IOASID_ACCESS_PIN, flags, iova, length,
			  NULL);
}

int access_unpin(int device, __u64 iova, __u64 length)
{
	return access_run(device, 0, IOASID_ACCESS_UNPIN, 0, iova, length,
			  NULL);
}

int access_peek(int device, __u64 iova, void *data, __u64 length)
{
	return access_run(device, 0, IOASID_ACCESS_PEEK, 0, iova, length, data);
}

int access_poke(int device, __u64 iova, const void *data, __u64 length)
{
	return access_run(device, 0, IOASID_ACCESS_POKE, 0, iova, length,
			  (void *)data);
}

int access_read(int device, __u64 iova, void *data, __u64 length)
{
	return access_run(device, 0, IOASID_ACCESS_READ, 0, iova, length, data);
}

int access_write(int device, __u64 iova, const void *data, __u64 length)
{
	return access_run(device, 0, IOASID_ACCESS_WRITE, 0, iova, length,
			  (void *)data);
}

int access_policy(int device, enum ioasid_access_policy policy)
{
	return access_run(device, 0, IOASID_ACCESS_POLICY, policy, 0, 0, NULL);
}

int access_stat(int device, struct ioasid_access_stat *stat)
{
	return access_run(device, 0, IOASID_ACCESS_STAT, 0, 0, 0, stat);
}

int access_stat_reset(int device)
{
	struct ioasid_access_stat stat;

	return access_run(device, 0, IOASID_ACCESS_STAT,
			  IOASID_ACCESS_STAT_RESET, 0, 0, &stat);
}

/* How many pins the device holds, or a negative errno. */
long access_num_pins(int device)
{
	struct ioasid_access_stat stat;
	int rc = access_stat(device, &stat);

	return rc ? rc : (long)stat.num_pins;
}
