// SPDX-License-Identifier: GPL-2.0-only
/* The configuration of test IOMMUs; see test_iommu_utils.h. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ioasid_utils.h"
#include "test_iommu_utils.h"

/* What tests make has this before its name; the rest is not theirs. */
#define OURS	"selftest-"

/* An IOMMU if @device is NULL, and an attribute of either if there is one */
struct path {
	char text[512];
};

static struct path path_of(const char *iommu, const char *device,
			   const char *attribute)
{
	struct path path;

	snprintf(path.text, sizeof(path.text),
		 IOASID_TEST_CONFIGFS "/" OURS "%s%s%s%s%s", iommu,
		 device ? "/" : "", device ?: "",
		 attribute ? "/" : "", attribute ?: "");
	return path;
}

static int make_dir(struct path path)
{
	return mkdir(path.text, 0755) ? -errno : 0;
}

static int remove_dir(struct path path)
{
	return rmdir(path.text) ? -errno : 0;
}

/* What is missing for the tests, or NULL. */
const char *test_iommu_missing(void)
{
	int iommu, rc;
	__u64 value;

	if (access(IOASID_TEST_CONFIGFS, F_OK))
		return "no configfs of module ioasid_test_iommu";
	iommu = iommu_open();
	if (iommu < 0)
		return "/dev/iommu cannot be opened";
	rc = iommu_extension(iommu, IOMMU_EXT_MAP_TYPE1V2, 0, &value);
	close(iommu);
	return rc ? "/dev/iommu is not that of CONFIG_IOASID" : NULL;
}

static int write_attribute(const char *iommu, const char *device,
			   const char *attribute, const char *value)
{
	struct path path = path_of(iommu, device, attribute);

	return file_write(path.text, value);
}

static int read_attribute(const char *iommu, const char *device,
			  const char *attribute, char *text, size_t size)
{
	struct path path = path_of(iommu, device, attribute);
	int rc = file_read(path.text, text, size);

	if (rc < 0)
		return rc;
	/* A value of one line is nicer without the end of the line. */
	if (rc && strchr(text, '\n') == text + rc - 1)
		text[rc - 1] = 0;
	return 0;
}

/* @settings: "<attribute>=<value>;..." or NULL */
static int write_settings(const char *iommu, const char *device,
			  const char *settings)
{
	char *copy, *rest, *setting, *value;
	int rc = 0;

	copy = strdup(settings ?: "");
	if (!copy)
		return -ENOMEM;
	rest = copy;
	while (!rc && (setting = strsep(&rest, ";"))) {
		setting += strspn(setting, " ");
		if (!*setting)
			continue;
		value = strchr(setting, '=');
		if (value) {
			*value++ = 0;
			rc = write_attribute(iommu, device, setting, value);
		} else {
			rc = -EINVAL;
		}
	}
	free(copy);
	return rc;
}

/* ---- IOMMUs ---- */

/*
 * Makes an IOMMU and enables it. @settings: "width=40;msi=mapped", what differs
 * from the defaults, or NULL. If it fails there is none.
 */
int test_iommu_make(const char *iommu, const char *settings)
{
	int rc = make_dir(path_of(iommu, NULL, NULL));

	if (rc)
		return rc;
	rc = write_settings(iommu, NULL, settings);
	if (!rc)
		rc = test_iommu_set(iommu, "enabled", "1");
	if (rc)
		test_iommu_remove(iommu);
	return rc;
}

int test_iommu_set(const char *iommu, const char *attribute, const char *value)
{
	return write_attribute(iommu, NULL, attribute, value);
}

int test_iommu_get(const char *iommu, const char *attribute, char *text,
		   size_t size)
{
	return read_attribute(iommu, NULL, attribute, text, size);
}

/* One number of the attribute stats. */
int test_iommu_stat(const char *iommu, const char *name, __u64 *value)
{
	char text[1024], *line, *rest = text;
	size_t length = strlen(name);
	int rc;

	rc = test_iommu_get(iommu, "stats", text, sizeof(text));
	if (rc)
		return rc;
	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, name, length) && line[length] == ' ') {
			*value = strtoull(line + length, NULL, 10);
			return 0;
		}
	}
	return -ENOENT;
}

/* With its devices, which nobody may have open. */
int test_iommu_remove(const char *iommu)
{
	struct path path = path_of(iommu, NULL, NULL);
	struct dirent *de;
	int rc = 0;
	DIR *dir;

	dir = opendir(path.text);
	if (!dir)
		return -errno;
	while ((de = readdir(dir)))
		if (de->d_type == DT_DIR && de->d_name[0] != '.')
			rc = test_device_remove(iommu, de->d_name) ?: rc;
	closedir(dir);
	return remove_dir(path) ?: rc;
}

static bool is_vfio_device(const char *file)
{
	return strstr(file, "/dev/vfio/devices/") ||
	       strstr(file, "[vfio-device]");
}

/*
 * Removing a device waits until it is closed: what a test that has failed left
 * open, or mapped into its memory, would be waited for without end.
 */
static void close_devices(void)
{
	unsigned long first, end;
	char line[512];
	struct dirent *de;
	ssize_t n;
	FILE *f;
	DIR *dir;

	f = fopen("/proc/self/maps", "re");
	while (f && fgets(line, sizeof(line), f))
		if (is_vfio_device(line) &&
		    sscanf(line, "%lx-%lx", &first, &end) == 2)
			munmap((void *)first, end - first);
	if (f)
		fclose(f);

	dir = opendir("/proc/self/fd");
	while (dir && (de = readdir(dir))) {
		n = readlinkat(dirfd(dir), de->d_name, line, sizeof(line) - 1);
		line[n < 0 ? 0 : n] = 0;
		if (is_vfio_device(line))
			close(atoi(de->d_name));
	}
	if (dir)
		closedir(dir);
}

/*
 * All that this and earlier tests have made. Closes whatever VFIO devices the
 * process has open, but not those of its children.
 */
int test_iommu_remove_all(void)
{
	struct dirent *de;
	int rc = 0;
	DIR *dir;

	close_devices();
	dir = opendir(IOASID_TEST_CONFIGFS);
	if (!dir)
		return -errno;
	while ((de = readdir(dir)))
		if (!strncmp(de->d_name, OURS, strlen(OURS)))
			rc = test_iommu_remove(de->d_name + strlen(OURS)) ?: rc;
	closedir(dir);
	return rc;
}

/*
 * @op of the IOMMU ("alloc", "map", ...) is to fail once with the errno @error,
 * which is positive, when it has succeeded @after times more. NULL: none is.
 */
int test_iommu_fail(const char *iommu, const char *op, unsigned int after,
		    int error)
{
	char text[64] = "none";

	if (op)
		snprintf(text, sizeof(text), "%s %u %d", op, after, error);
	return test_iommu_set(iommu, "fail", text);
}

/*
 * Return: how many successes there will be before the failure, -ENOENT if it
 * has happened, or another negative errno.
 */
int test_iommu_fail_left(const char *iommu)
{
	char text[64], op[32];
	unsigned int left;
	int rc;

	rc = test_iommu_get(iommu, "fail", text, sizeof(text));
	if (rc)
		return rc;
	if (!strcmp(text, "none"))
		return -ENOENT;
	return sscanf(text, "%31s %u", op, &left) == 2 ? (int)left : -EIO;
}

/* ---- devices ---- */

int test_device_set(const char *iommu, const char *device,
		    const char *attribute, const char *value)
{
	return write_attribute(iommu, device, attribute, value);
}

int test_device_get(const char *iommu, const char *device,
		    const char *attribute, char *text, size_t size)
{
	return read_attribute(iommu, device, attribute, text, size);
}

/*
 * Enables a device that is there. @dev: told its name, and what there is to be
 * opened if VFIO has it, or NULL.
 */
int test_device_plug(const char *iommu, const char *device,
		     struct dma_device *dev)
{
	char name[32];
	int rc;

	rc = test_device_set(iommu, device, "enabled", "1");
	if (rc || !dev)
		return rc;
	rc = read_attribute(iommu, device, "name", name, sizeof(name));
	if (rc)
		return rc;
	dev_probe(&test_device_kind, name, dev);
	return 0;
}

/* Disables it: if it is open, this waits until it is closed. */
int test_device_unplug(const char *iommu, const char *device)
{
	return test_device_set(iommu, device, "enabled", "0");
}

/*
 * Makes a device behind an IOMMU that is enabled, and enables it. @settings:
 * "group=both;kind=none", what differs from the defaults, or NULL. @dev: see
 * test_device_plug(). If it fails there is none.
 */
int test_device_make(const char *iommu, const char *device,
		     const char *settings, struct dma_device *dev)
{
	int rc = make_dir(path_of(iommu, device, NULL));

	if (rc)
		return rc;
	rc = write_settings(iommu, device, settings);
	if (!rc)
		rc = test_device_plug(iommu, device, dev);
	if (rc)
		test_device_remove(iommu, device);
	return rc;
}

/* Unplugs it, too. */
int test_device_remove(const char *iommu, const char *device)
{
	int rc = test_device_unplug(iommu, device);

	return remove_dir(path_of(iommu, device, NULL)) ?: rc;
}

/* An IOMMU "a" with @settings, and behind it a device "one" that is bound */
int test_device_begin(const char *settings, struct dma_device *dev, int iommu)
{
	int rc = test_iommu_make("a", settings);

	if (!rc)
		rc = test_device_make("a", "one", NULL, dev);
	return rc ? rc : dev_open_bind(dev, iommu);
}

/* The same in place of another device, which is closed */
int test_device_instead(const char *settings, struct dma_device *dev, int iommu)
{
	int rc;

	if (test_iommu_missing())
		return -ENODEV;
	dev_close(dev);
	rc = test_iommu_remove_all();
	return rc ? rc : test_device_begin(settings, dev, iommu);
}

/* Takes back what either has done. */
int test_device_end(struct dma_device *dev)
{
	dev_close(dev);
	return test_iommu_remove_all();
}
