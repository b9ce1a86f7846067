// SPDX-License-Identifier: GPL-2.0-only
/* What the tests of /dev/iommu share; see ioasid_utils.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/capability.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ioasid_utils.h"

unsigned long page_size;

static void __attribute__((constructor)) page_size_init(void)
{
	page_size = sysconf(_SC_PAGESIZE);
}

__u64 msi_first = MSI_FIRST, msi_last = MSI_LAST;

/* Return: whether there is such a region in a group's list. */
static bool msi_window_of(const char *path)
{
	unsigned long long first, last;
	bool found = false;
	char type[32];
	FILE *f;

	f = fopen(path, "r");
	if (!f)
		return false;
	while (!found && fscanf(f, "%llx %llx %31s", &first, &last, type) == 3)
		found = !strcmp(type, "msi");
	fclose(f);
	if (found) {
		msi_first = first;
		msi_last = last;
	}
	return found;
}

/* It is the same for all devices that were there when the program began. */
static void __attribute__((constructor)) msi_window_init(void)
{
	glob_t groups;
	size_t i;

	if (glob("/sys/kernel/iommu_groups/*/reserved_regions", 0, NULL,
		 &groups))
		return;
	for (i = 0; i < groups.gl_pathc; i++)
		if (msi_window_of(groups.gl_pathv[i]))
			break;
	globfree(&groups);
}

/* ---- which errors were met ---- */

#define COMMANDS	64
#define ERRNOS		134

/*
 * Shared by the processes of a program. At its end it says which command failed
 * with which errno, so that somebody can tell what no test has provoked.
 */
static unsigned char (*met)[ERRNOS];
static pid_t met_owner;

static void __attribute__((constructor)) met_begin(void)
{
	met = mmap(NULL, COMMANDS * ERRNOS, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (met == MAP_FAILED)
		met = NULL;
	met_owner = getpid();
}

static void __attribute__((destructor)) met_end(void)
{
	if (!met || getpid() != met_owner)
		return;
	for (int command = 0; command < COMMANDS; command++)
		for (int error = 0; error < ERRNOS; error++)
			if (met[command][error])
				printf("# met 0x%x %s\n",
				       IOMMU_NATIVE_CMD_BASE + command,
				       strerrorname_np(error));
}

/* Nothing is to be allocated while allocations are made to fail. */
static void met_touch(void)
{
	if (met)
		madvise(met, COMMANDS * ERRNOS, MADV_POPULATE_WRITE);
}

static void met_note(unsigned long command, int error)
{
	unsigned int number = _IOC_NR(command) - IOMMU_NATIVE_CMD_BASE;

	if (met && number < COMMANDS && error < ERRNOS)
		met[number][error] = 1;
}

/* ---- calls ---- */

int iommu_open(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	met_touch();
	return fd < 0 ? -errno : fd;
}

int iommu_call(int iommu, unsigned long command, void *arg)
{
	int rc = ioctl(iommu, command, arg) ? -errno : 0;

	if (rc)
		met_note(command, -rc);
	return rc;
}

int iommu_extension(int iommu, __u32 extension, __u32 arg, __u64 *value)
{
	struct iommu_check_extension check = {
		.size = sizeof(check),
		.extension = extension,
		.arg = arg,
	};
	int rc = iommu_call(iommu, IOMMU_CHECK_EXTENSION, &check);

	if (!rc)
		*value = check.value;
	return rc;
}

/* The caller sets the arrays and their room in @info, or leaves them zero. */
int iommu_device_info(int iommu, __u32 dev_id, struct iommu_device_info *info)
{
	info->size = sizeof(*info);
	info->flags = 0;
	info->dev_id = dev_id;
	return iommu_call(iommu, IOMMU_DEVICE_GET_INFO, info);
}

int iommu_device_cookie(int iommu, __u32 dev_id, __u64 cookie)
{
	struct iommu_device_cookie cmd = {
		.size = sizeof(cmd),
		.dev_id = dev_id,
		.cookie = cookie,
	};

	return iommu_call(iommu, IOMMU_DEVICE_SET_COOKIE, &cmd);
}

/* The caller sets what is not 0; the size is set here. */
int ioasid_alloc_call(int iommu, struct iommu_ioasid_alloc *cmd, __u32 *ioasid)
{
	int rc;

	cmd->size = sizeof(*cmd);
	rc = iommu_call(iommu, IOMMU_IOASID_ALLOC, cmd);
	if (!rc)
		*ioasid = cmd->ioasid;
	return rc;
}

int ioasid_alloc_attr(int iommu, __u32 addr_width, __u32 snoop, __u32 *ioasid)
{
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.addr_width = addr_width,
		.snoop = snoop,
	};

	return ioasid_alloc_call(iommu, &cmd, ioasid);
}

int ioasid_alloc(int iommu, __u32 *ioasid)
{
	return ioasid_alloc_attr(iommu, 0, IOMMU_SNOOP_AUTO, ioasid);
}

/* One whose writes can be tracked */
int ioasid_alloc_dirty(int iommu, __u32 *ioasid)
{
	struct iommu_ioasid_alloc cmd = {
		.flags = IOMMU_IOASID_ALLOC_DIRTY,
		.type = IOMMU_IOASID_TYPE_KERNEL,
	};

	return ioasid_alloc_call(iommu, &cmd, ioasid);
}

/* One that pins memory for others */
int ioasid_alloc_prereg(int iommu, __u32 *ioasid)
{
	struct iommu_ioasid_alloc cmd = { .type = IOMMU_IOASID_TYPE_PREREG };

	return ioasid_alloc_call(iommu, &cmd, ioasid);
}

/* One whose mappings show addresses of @parent */
int ioasid_alloc_child(int iommu, __u32 parent, __u32 *ioasid)
{
	struct iommu_ioasid_alloc cmd = {
		.type = IOMMU_IOASID_TYPE_KERNEL,
		.parent = parent,
	};

	return ioasid_alloc_call(iommu, &cmd, ioasid);
}

int ioasid_free(int iommu, __u32 ioasid)
{
	struct iommu_ioasid_free cmd = {
		.size = sizeof(cmd),
		.ioasid = ioasid,
	};

	return iommu_call(iommu, IOMMU_IOASID_FREE, &cmd);
}

/* The caller sets the array and its room in @info, or leaves them zero. */
int ioasid_info(int iommu, __u32 ioasid, struct iommu_ioasid_info *info)
{
	info->size = sizeof(*info);
	info->flags = 0;
	info->ioasid = ioasid;
	/* Not what an earlier call has left there. */
	if (!info->ranges)
		info->num_ranges = 0;
	return iommu_call(iommu, IOMMU_IOASID_GET_INFO, info);
}

/* The same without the ranges. */
int ioasid_totals(int iommu, __u32 ioasid, struct iommu_ioasid_info *info)
{
	memset(info, 0, sizeof(*info));
	return ioasid_info(iommu, ioasid, info);
}

int ioasid_map(int iommu, __u32 ioasid, __u32 flags, const void *src,
	       __u64 iova, __u64 length)
{
	return ioasid_show(iommu, ioasid, flags, (uintptr_t)src, iova, length);
}

int ioasid_map_alloc(int iommu, __u32 ioasid, __u32 flags, const void *src,
		     __u64 length, __u64 *iova)
{
	struct iommu_map_dma cmd = {
		.size = sizeof(cmd),
		.flags = flags | IOMMU_MAP_DMA_ALLOC_IOVA,
		.ioasid = ioasid,
		.src = (uintptr_t)src,
		.length = length,
	};
	int rc = iommu_call(iommu, IOMMU_MAP_DMA, &cmd);

	if (!rc)
		*iova = cmd.iova;
	return rc;
}

int ioasid_map_file(int iommu, __u32 ioasid, __u32 flags, int fd, __u64 offset,
		    __u64 iova, __u64 length)
{
	struct iommu_map_dma cmd = {
		.size = sizeof(cmd),
		.flags = flags | IOMMU_MAP_DMA_FILE,
		.ioasid = ioasid,
		.fd = fd,
		.iova = iova,
		.src = offset,
		.length = length,
	};

	return iommu_call(iommu, IOMMU_MAP_DMA, &cmd);
}

/* @src is an address of the parent. */
int ioasid_show(int iommu, __u32 child, __u32 flags, __u64 src, __u64 iova,
		__u64 length)
{
	struct iommu_map_dma cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.ioasid = child,
		.iova = iova,
		.src = src,
		.length = length,
	};

	return iommu_call(iommu, IOMMU_MAP_DMA, &cmd);
}

/* @unmapped: told how much was mapped, or NULL */
int ioasid_unmap_call(int iommu, __u32 ioasid, __u32 flags, __u64 iova,
		      __u64 length, __u64 *unmapped)
{
	struct iommu_unmap_dma cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.ioasid = ioasid,
		.iova = iova,
		.length = length,
	};
	int rc = iommu_call(iommu, IOMMU_UNMAP_DMA, &cmd);

	if (!rc && unmapped)
		*unmapped = cmd.length;
	return rc;
}

int ioasid_unmap(int iommu, __u32 ioasid, __u64 iova, __u64 length,
		 __u64 *unmapped)
{
	return ioasid_unmap_call(iommu, ioasid, 0, iova, length, unmapped);
}

int ioasid_unmap_all(int iommu, __u32 ioasid, __u64 *unmapped)
{
	return ioasid_unmap_call(iommu, ioasid, IOMMU_UNMAP_DMA_ALL, 0, 0,
				 unmapped);
}

/* With all that descendants show of it */
int ioasid_revoke(int iommu, __u32 ioasid, __u64 iova, __u64 length,
		  __u64 *unmapped)
{
	return ioasid_unmap_call(iommu, ioasid, IOMMU_UNMAP_DMA_REVOKE, iova,
				 length, unmapped);
}

/*
 * @num: How many entries there are; told how many took effect, whether the call
 * fails or not. @unmapped: told what they have unmapped, or NULL
 */
int ioasid_batch(int iommu, __u32 ioasid,
		 const struct iommu_batch_entry *entries, __u32 *num,
		 __u64 *unmapped)
{
	struct iommu_map_batch cmd = {
		.size = sizeof(cmd),
		.ioasid = ioasid,
		.num_entries = *num,
		.entries = (uintptr_t)entries,
	};
	int rc = iommu_call(iommu, IOMMU_MAP_BATCH, &cmd);

	*num = cmd.num_entries;
	if (unmapped)
		*unmapped = cmd.unmapped;
	return rc;
}

/* Return: a file whose reads do not wait, or a negative errno. */
/* @iova: the address that is asked for with FIXED; the one that was given */
int ioasid_window_create(int iommu, __u32 ioasid, __u32 flags, __u64 page_size,
			 __u64 *iova, __u64 length)
{
	struct iommu_window_create cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.ioasid = ioasid,
		.page_size = page_size,
		.iova = *iova,
		.length = length,
	};
	int rc = iommu_call(iommu, IOMMU_WINDOW_CREATE, &cmd);

	if (!rc)
		*iova = cmd.iova;
	return rc;
}

int ioasid_window_remove(int iommu, __u32 ioasid, __u64 iova)
{
	struct iommu_window_remove cmd = {
		.size = sizeof(cmd),
		.ioasid = ioasid,
		.iova = iova,
	};

	return iommu_call(iommu, IOMMU_WINDOW_REMOVE, &cmd);
}

/* The ranges that may be mapped; @num is the room for them, and how many there are. */
int ioasid_ranges(int iommu, __u32 ioasid, struct iommu_range *ranges,
		  __u32 *num)
{
	struct iommu_ioasid_info info = {
		.num_ranges = *num,
		.ranges = (uintptr_t)ranges,
	};
	int rc = ioasid_info(iommu, ioasid, &info);

	*num = info.num_ranges;
	return rc;
}

/* Whether these ranges may be mapped, and no others */
bool ioasid_permits(int iommu, __u32 ioasid, const struct iommu_range *ranges,
		    __u32 num)
{
	struct iommu_range *found = calloc(num + 1, sizeof(*found));
	__u32 room = num + 1;
	bool same = found && !ioasid_ranges(iommu, ioasid, found, &room) &&
		    room == num && !memcmp(found, ranges, num * sizeof(*ranges));

	free(found);
	return same;
}

int event_open(int iommu)
{
	struct iommu_event_fd cmd = { .size = sizeof(cmd) };
	int rc = iommu_call(iommu, IOMMU_EVENT_FD, &cmd);

	if (rc)
		return rc;
	if (fcntl(cmd.fd, F_SETFL, O_NONBLOCK)) {
		close(cmd.fd);
		return -EIO;
	}
	return cmd.fd;
}

/* Return: 0, -EAGAIN if there is none, -ENODATA if there will be no more. */
int event_next(int events, struct iommu_event *event)
{
	ssize_t n = read(events, event, sizeof(*event));

	if (n < 0)
		return -errno;
	if (!n)
		return -ENODATA;
	return n == sizeof(*event) ? 0 : -EIO;
}

int ioasid_unmap_dirty(int iommu, __u32 ioasid, __u64 iova, __u64 length,
		       __u64 size, void *bitmap)
{
	struct iommu_unmap_dma cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_UNMAP_DMA_GET_DIRTY,
		.ioasid = ioasid,
		.iova = iova,
		.length = length,
		.page_size = size,
		.bitmap = (uintptr_t)bitmap,
	};

	return iommu_call(iommu, IOMMU_UNMAP_DMA, &cmd);
}

int dirty_start(int iommu, __u32 ioasid)
{
	struct iommu_dirty_start cmd = {
		.size = sizeof(cmd),
		.ioasid = ioasid,
	};

	return iommu_call(iommu, IOMMU_DIRTY_START, &cmd);
}

int dirty_stop(int iommu, __u32 ioasid)
{
	struct iommu_dirty_stop cmd = {
		.size = sizeof(cmd),
		.ioasid = ioasid,
	};

	return iommu_call(iommu, IOMMU_DIRTY_STOP, &cmd);
}

int dirty_get(int iommu, __u32 ioasid, __u32 flags, __u64 iova, __u64 length,
	      __u64 size, void *bitmap)
{
	struct iommu_dirty_get cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.ioasid = ioasid,
		.iova = iova,
		.length = length,
		.page_size = size,
		.bitmap = (uintptr_t)bitmap,
	};

	return iommu_call(iommu, IOMMU_DIRTY_GET, &cmd);
}

int vfio_open(const char *cdev)
{
	int fd = open(cdev, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int vfio_bind(int device, int iommu, __u32 *dev_id)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommu,
	};

	if (ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		return -errno;
	*dev_id = bind.out_devid;
	return 0;
}

int vfio_attach(int device, __u32 ioasid)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = ioasid,
	};

	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		return -errno;
	return 0;
}

int vfio_detach(int device)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
	};

	if (ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
		return -errno;
	return 0;
}

/* Another address space of the device, for DMA that is tagged with @pasid. */
int vfio_attach_pasid(int device, __u32 pasid, __u32 ioasid)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.flags = VFIO_DEVICE_ATTACH_PASID,
		.pt_id = ioasid,
		.pasid = pasid,
	};

	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		return -errno;
	return 0;
}

int vfio_detach_pasid(int device, __u32 pasid)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
		.flags = VFIO_DEVICE_DETACH_PASID,
		.pasid = pasid,
	};

	if (ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
		return -errno;
	return 0;
}

/* ---- what the kernel counts ---- */

static long find_number(const char *text, const char *key)
{
	const char *at = text;
	size_t length = strlen(key);

	while ((at = strstr(at, key))) {
		if ((at == text || at[-1] == '\n') &&
		    (at[length] == ' ' || at[length] == ':'))
			return strtol(at + length + 1, NULL, 10);
		at += length;
	}
	return -1;
}

/* What tables of windows are charged for, in all contexts that have a file here */
long tables_charged(void)
{
	char path[320], text[16384];
	const char *at;
	struct dirent *de;
	long sum = 0;
	ssize_t n;
	DIR *dir;

	dir = opendir("/proc/self/fd");
	while (dir && (de = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/fd/%s", de->d_name);
		n = readlink(path, text, sizeof(text) - 1);
		text[n < 0 ? 0 : n] = 0;
		if (strcmp(text, "/dev/iommu"))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", de->d_name);
		if (file_read(path, text, sizeof(text)) < 0)
			continue;
		for (at = text; (at = strstr(at, " charged ")); at++)
			sum += strtol(at + strlen(" charged "), NULL, 10);
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* Tables are no business of those who count the memory that they have mapped. */
int counts_read(struct counts *counts)
{
	char text[32768];
	long acquired, released;
	int rc;

	/* Each CPU keeps a part of the counters until it is asked for it. */
	file_read("/proc/sys/vm/stat_refresh", text, sizeof(text));
	rc = file_read("/proc/vmstat", text, sizeof(text));
	if (rc < 0)
		return rc;
	acquired = find_number(text, "nr_foll_pin_acquired");
	released = find_number(text, "nr_foll_pin_released");
	if (acquired < 0 || released < 0)
		return -ENOENT;
	counts->pins = acquired - released;

	rc = file_read("/proc/self/status", text, sizeof(text));
	if (rc < 0)
		return rc;
	counts->locked = find_number(text, "VmLck") * 1024;
	counts->pinned = find_number(text, "VmPin") * 1024;
	if (counts->locked < 0 || counts->pinned < 0)
		return -ENOENT;
	counts->locked -= tables_charged();
	return 0;
}

/* VmLck of another process, in bytes, or a negative errno */
long process_locked(pid_t pid)
{
	char path[32], text[8192];
	long kib;
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	rc = file_read(path, text, sizeof(text));
	if (rc < 0)
		return rc;
	kib = find_number(text, "VmLck");
	return kib < 0 ? -ENOENT : kib * 1024;
}

bool counts_equal(const struct counts *a, const struct counts *b)
{
	return a->pins == b->pins && a->locked == b->locked &&
	       a->pinned == b->pinned;
}

/*
 * The end of a process or of a file may be worked on behind our back: give it
 * two seconds. Return: whether the counts have become equal to @want.
 */
bool counts_settle(const struct counts *want, struct counts *now)
{
	int tries;

	for (tries = 0; tries < 40; tries++) {
		if (!counts_read(now) && counts_equal(want, now))
			return true;
		usleep(50000);
	}
	return false;
}

/* ---- odds and ends ---- */

/* Private memory in small pages, not touched yet; NULL if there is none. */
void *mem_alloc(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	madvise(mem, size, MADV_NOHUGEPAGE);
	return mem;
}

static unsigned char pattern_byte(size_t i, unsigned int seed)
{
	return (i * 7 + (i >> 8) * 13 + seed * 31 + 1) ^ (i >> 12);
}

void fill_pattern(void *mem, size_t length, unsigned int seed)
{
	unsigned char *p = mem;
	size_t i;

	for (i = 0; i < length; i++)
		p[i] = pattern_byte(i, seed);
}

bool has_pattern(const void *mem, size_t length, unsigned int seed)
{
	const unsigned char *p = mem;
	size_t i;

	for (i = 0; i < length; i++)
		if (p[i] != pattern_byte(i, seed))
			return false;
	return true;
}

bool all_bytes(const void *mem, size_t length, unsigned char value)
{
	const unsigned char *p = mem;
	size_t i;

	for (i = 0; i < length; i++)
		if (p[i] != value)
			return false;
	return true;
}

/* Return: length of the text, which is NUL-terminated, or a negative errno. */
int file_read(const char *path, char *buf, size_t size)
{
	size_t length = 0;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf + length, size - 1 - length);
		if (n > 0)
			length += n;
	} while (n > 0 && length < size - 1);
	n = n < 0 ? -errno : 0;
	close(fd);
	buf[length] = 0;
	return n < 0 ? n : (int)length;
}

int file_write(const char *path, const char *text)
{
	int fd, rc = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		rc = -errno;
	close(fd);
	return rc;
}

#define PARAMETERS "/sys/module/iommufd/parameters"

long param_get(const char *name)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), PARAMETERS "/%s", name);
	if (file_read(path, text, sizeof(text)) < 0)
		return -1;
	/* A bool is shown as Y or N. */
	return text[0] == 'Y' ? 1 : strtol(text, NULL, 0);
}

int param_set(const char *name, long value)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), PARAMETERS "/%s", name);
	snprintf(text, sizeof(text), "%ld", value);
	return file_write(path, text);
}

/* From here on RLIMIT_MEMLOCK counts for this thread. */
int drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -errno;
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	if (syscall(SYS_capset, &header, data))
		return -errno;
	return 0;
}

double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* ---- another process ---- */

static void act_until_end(int from, int to, int (*act)(void *arg, int step),
			  void *arg)
{
	int step, rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(from, &step, sizeof(step)) == sizeof(step)) {
		rc = act(arg, step);
		if (write(to, &rc, sizeof(rc)) != sizeof(rc))
			break;
	}
	_exit(0);
}

/* A fork of this process, which calls @act with each step that it is told. */
int actor_start(struct actor *actor, int (*act)(void *arg, int step),
		void *arg)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC))
		return -errno;
	if (pipe2(from, O_CLOEXEC)) {
		close(to[0]);
		close(to[1]);
		return -errno;
	}
	actor->pid = fork();
	if (!actor->pid) {
		close(to[1]);
		close(from[0]);
		act_until_end(to[0], from[1], act, arg);
	}
	actor->to = to[1];
	actor->from = from[0];
	close(to[0]);
	close(from[1]);
	return actor->pid < 0 ? -ECHILD : 0;
}

/* Return: what @act did, or -EPIPE if the process, or its program, has ended. */
int actor_do(struct actor *actor, int step)
{
	int rc;

	if (write(actor->to, &step, sizeof(step)) != sizeof(step) ||
	    read(actor->from, &rc, sizeof(rc)) != sizeof(rc))
		return -EPIPE;
	return rc;
}

void actor_end(struct actor *actor)
{
	close(actor->to);
	close(actor->from);
	kill(actor->pid, SIGKILL);
	waitpid(actor->pid, NULL, 0);
}
