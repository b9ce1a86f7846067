// SPDX-License-Identifier: GPL-2.0-only
/*
 * What iommufd's interface refuses: every errno of every call, and that a call
 * that fails changes nothing; whose limits count for what is pinned; files that
 * are not what they should be.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "test_iommu_utils.h"

#define MEM_PAGES	16
#define MARK		0xa5a5a5a5a5a5a5a5ULL
#define WIDTH		40
/* Where device memory of programs is not; not mapped here */
#define NOWHERE		0x10000
/* On any CPU that this runs on */
#define LARGEST_PAGE	0x10000
#define ADDR(n)		(TEST_IOVA + (n) * (__u64)LARGEST_PAGE)

FIXTURE(refuses)
{
	struct counts begin;
	struct dma_device one;
	struct dma_device two;
	int iommu;
	char *mem;
	__u32 ioas;
	__u32 other;
	__u32 automatic;
	__u32 hwpt;
	__u32 parent;
	__u32 nested;
	__u32 fault;
	int fault_fd;
};

FIXTURE_SETUP(refuses)
{
	const char *missing = test_iommu_missing();

	self->one.fd = -1;
	self->two.fd = -1;
	self->iommu = -1;
	self->mem = NULL;
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, test_iommu_remove_all());
	COUNTS_BEGIN(&self->begin);
	self->mem = mem_alloc(MEM_PAGES * LARGEST_PAGE);
	ASSERT_NE(NULL, self->mem);
	self->iommu = iommu_open();
	ASSERT_LE(0, self->iommu);
}

FIXTURE_TEARDOWN(refuses)
{
	if (!self->mem)
		return;
	dev_close(&self->one);
	dev_close(&self->two);
	if (self->iommu >= 0)
		close(self->iommu);
	EXPECT_EQ(0, test_iommu_remove_all());
	munmap(self->mem, MEM_PAGES * LARGEST_PAGE);
	COUNTS_END(&self->begin);
}

static int begin(struct _test_data_refuses *self)
{
	int rc = test_device_begin("width=40", &self->one, self->iommu);

	if (!rc)
		rc = ioas_alloc(self->iommu, &self->ioas);
	return rc ? rc : ioas_alloc(self->iommu, &self->other);
}

/* One of all objects that there are, and four mappings */
static int begin_all(struct _test_data_refuses *self)
{
	struct ioasid_test_hwpt_data data = {
		.table = ADDR(0),
		.levels = 4,
	};
	unsigned int i;
	int rc;

	rc = begin(self);
	for (i = 0; i < 4 && !rc; i++)
		rc = ioas_map(self->iommu, self->ioas, i ? IOAS_RW : IOAS_READ,
			      self->mem + i * LARGEST_PAGE, ADDR(i),
			      LARGEST_PAGE);
	self->automatic = self->ioas;
	if (!rc)
		rc = vfio_attach_id(self->one.fd, &self->automatic);
	if (!rc)
		rc = hwpt_alloc(self->iommu, self->one.dev_id, self->ioas, 0,
				&self->hwpt);
	if (!rc)
		rc = hwpt_alloc(self->iommu, self->one.dev_id, self->ioas,
				IOMMU_HWPT_ALLOC_NEST_PARENT, &self->parent);
	if (!rc)
		rc = hwpt_alloc_data(self->iommu, self->one.dev_id,
				     self->parent, 0, 0, &data, sizeof(data),
				     &self->nested);
	if (rc)
		return rc;
	self->fault_fd = fault_queue_alloc(self->iommu, &self->fault);
	return self->fault_fd < 0 ? self->fault_fd : 0;
}

/* ---- what must not change ---- */

struct state {
	struct counts counts;
	char fdinfo[4096];
};

static int state_read(struct _test_data_refuses *self, struct state *state)
{
	char path[64];
	int rc;

	memset(state, 0, sizeof(*state));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->iommu);
	rc = file_read(path, state->fdinfo, sizeof(state->fdinfo));
	return rc < 0 ? rc : counts_read(&state->counts);
}

/* ---- calls that are wrong in one place ---- */

/* Values that are known when the test runs */
enum {
	ID_NONE = 0x1d000001,
	ID_IOAS,
	ID_OTHER,
	ID_DEVICE,
	ID_AUTOMATIC,
	ID_HWPT,
	ID_PARENT,
	ID_NESTED,
	ID_FAULT,
	THE_MEMORY,
	READ_ONLY_FILE,
	SEALED_FILE,
	SMALL_FILE,
	NO_MEMORY_FILE,
	REVERSED_RANGE,
	OVERLAPPING_RANGES,
	RESERVED_RANGE,
	WIDE_RANGE,
	ID_END,
};

static struct {
	int read_only;
	int sealed;
	int small;
	int event;
} files;

static struct iommu_iova_range reversed[] = { { .start = 10, .last = 9 } };
static struct iommu_iova_range overlapping[] = {
	{ .start = 0x200000, .last = 0x2fffff },
	{ .start = 0x100000, .last = 0x200000 },
};

static struct iommu_iova_range reserved[] = {
	{ .start = MSI_FIRST - 0x1000, .last = MSI_FIRST + 0xfff },
};

static struct iommu_iova_range wide[] = {
	{ .start = 0x100000, .last = 1ULL << WIDTH },
};

static int make_files(void)
{
	char path[64];
	int fd;

	fd = memfd_create("ioasid", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, LARGEST_PAGE))
		return -errno;
	files.small = fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	files.read_only = open(path, O_RDONLY | O_CLOEXEC);
	files.sealed = memfd_create("ioasid", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (files.sealed < 0 || ftruncate(files.sealed, LARGEST_PAGE) ||
	    fcntl(files.sealed, F_ADD_SEALS, F_SEAL_WRITE))
		return -errno;
	files.event = eventfd(0, EFD_CLOEXEC);
	return files.event < 0 || files.read_only < 0 ? -errno : 0;
}

static void close_files(void)
{
	close(files.small);
	close(files.read_only);
	close(files.sealed);
	close(files.event);
}

static __u64 resolve(struct _test_data_refuses *self, __u64 value)
{
	switch (value) {
	case ID_NONE:
		return 0x7ffffff0;
	case ID_IOAS:
		return self->ioas;
	case ID_OTHER:
		return self->other;
	case ID_DEVICE:
		return self->one.dev_id;
	case ID_AUTOMATIC:
		return self->automatic;
	case ID_HWPT:
		return self->hwpt;
	case ID_PARENT:
		return self->parent;
	case ID_NESTED:
		return self->nested;
	case ID_FAULT:
		return self->fault;
	case THE_MEMORY:
		return (uintptr_t)self->mem;
	case READ_ONLY_FILE:
		return files.read_only;
	case SEALED_FILE:
		return files.sealed;
	case SMALL_FILE:
		return files.small;
	case NO_MEMORY_FILE:
		return files.event;
	case REVERSED_RANGE:
		return (uintptr_t)reversed;
	case OVERLAPPING_RANGES:
		return (uintptr_t)overlapping;
	case RESERVED_RANGE:
		return (uintptr_t)reserved;
	case WIDE_RANGE:
		return (uintptr_t)wide;
	default:
		return value;
	}
}

#define MAX_FIELDS	8
#define MAX_SIZE	96

/**
 * struct field - A field of a call's structure
 * @offset: Where it is
 * @size: Its size, 0 behind the last field
 * @value: What it is set to; may be one of the names above
 */
struct field {
	unsigned short offset;
	unsigned short size;
	__u64 value;
};

/* A call that would succeed */
struct good {
	const char *name;
	unsigned long request;
	size_t size;
	struct field fields[MAX_FIELDS];
};

#define FIELD(_struct, _field, _value) {				\
	.offset = offsetof(struct _struct, _field),			\
	.size = sizeof(((struct _struct *)NULL)->_field),		\
	.value = (_value),						\
}

#define GOOD(_request, _struct, ...) {					\
	.name = #_request,						\
	.request = IOMMU_##_request,					\
	.size = sizeof(struct _struct),					\
	.fields = { __VA_ARGS__ },					\
}

#define FIXED_RW	(IOMMU_IOAS_MAP_FIXED_IOVA | IOAS_RW)

static const struct good goods[] = {
	GOOD(DESTROY, iommu_destroy, FIELD(iommu_destroy, id, ID_OTHER)),
	GOOD(IOAS_ALLOC, iommu_ioas_alloc, {}),
	GOOD(IOAS_IOVA_RANGES, iommu_ioas_iova_ranges,
	     FIELD(iommu_ioas_iova_ranges, ioas_id, ID_OTHER),
	     FIELD(iommu_ioas_iova_ranges, num_iovas, 1),
	     FIELD(iommu_ioas_iova_ranges, allowed_iovas, REVERSED_RANGE)),
	GOOD(IOAS_ALLOW_IOVAS, iommu_ioas_allow_iovas,
	     FIELD(iommu_ioas_allow_iovas, ioas_id, ID_IOAS)),
	GOOD(IOAS_MAP, iommu_ioas_map,
	     FIELD(iommu_ioas_map, flags, FIXED_RW),
	     FIELD(iommu_ioas_map, ioas_id, ID_IOAS),
	     FIELD(iommu_ioas_map, user_va, THE_MEMORY),
	     FIELD(iommu_ioas_map, iova, ADDR(8)),
	     FIELD(iommu_ioas_map, length, LARGEST_PAGE)),
	GOOD(IOAS_MAP_FILE, iommu_ioas_map_file,
	     FIELD(iommu_ioas_map_file, flags, FIXED_RW),
	     FIELD(iommu_ioas_map_file, ioas_id, ID_IOAS),
	     FIELD(iommu_ioas_map_file, fd, SMALL_FILE),
	     FIELD(iommu_ioas_map_file, iova, ADDR(8)),
	     FIELD(iommu_ioas_map_file, length, LARGEST_PAGE)),
	GOOD(IOAS_COPY, iommu_ioas_copy,
	     FIELD(iommu_ioas_copy, flags, FIXED_RW),
	     FIELD(iommu_ioas_copy, dst_ioas_id, ID_IOAS),
	     FIELD(iommu_ioas_copy, src_ioas_id, ID_IOAS),
	     FIELD(iommu_ioas_copy, src_iova, ADDR(1)),
	     FIELD(iommu_ioas_copy, dst_iova, ADDR(8)),
	     FIELD(iommu_ioas_copy, length, LARGEST_PAGE)),
	GOOD(IOAS_UNMAP, iommu_ioas_unmap,
	     FIELD(iommu_ioas_unmap, ioas_id, ID_IOAS),
	     FIELD(iommu_ioas_unmap, iova, ADDR(1)),
	     FIELD(iommu_ioas_unmap, length, LARGEST_PAGE)),
	GOOD(OPTION, iommu_option,
	     FIELD(iommu_option, option_id, IOMMU_OPTION_HUGE_PAGES),
	     FIELD(iommu_option, op, IOMMU_OPTION_OP_GET),
	     FIELD(iommu_option, object_id, ID_IOAS)),
	GOOD(IOAS_CHANGE_PROCESS, iommu_ioas_change_process, {}),
	GOOD(VFIO_IOAS, iommu_vfio_ioas,
	     FIELD(iommu_vfio_ioas, ioas_id, ID_IOAS),
	     FIELD(iommu_vfio_ioas, op, IOMMU_VFIO_IOAS_CLEAR)),
	GOOD(HWPT_ALLOC, iommu_hwpt_alloc,
	     FIELD(iommu_hwpt_alloc, dev_id, ID_DEVICE),
	     FIELD(iommu_hwpt_alloc, pt_id, ID_IOAS)),
	GOOD(HWPT_INVALIDATE, iommu_hwpt_invalidate,
	     FIELD(iommu_hwpt_invalidate, hwpt_id, ID_NESTED),
	     FIELD(iommu_hwpt_invalidate, data_uptr, THE_MEMORY),
	     FIELD(iommu_hwpt_invalidate, data_type, IOASID_TEST_DATA_TYPE),
	     FIELD(iommu_hwpt_invalidate, entry_len,
		   sizeof(struct ioasid_test_invalidate)),
	     FIELD(iommu_hwpt_invalidate, entry_num, 1)),
	GOOD(GET_HW_INFO, iommu_hw_info,
	     FIELD(iommu_hw_info, dev_id, ID_DEVICE)),
	GOOD(FAULT_QUEUE_ALLOC, iommu_fault_alloc, {}),
	GOOD(VIOMMU_ALLOC, iommu_viommu_alloc,
	     FIELD(iommu_viommu_alloc, type, 1),
	     FIELD(iommu_viommu_alloc, dev_id, ID_DEVICE),
	     FIELD(iommu_viommu_alloc, hwpt_id, ID_PARENT)),
	GOOD(VDEVICE_ALLOC, iommu_vdevice_alloc,
	     FIELD(iommu_vdevice_alloc, dev_id, ID_DEVICE)),
	GOOD(VEVENTQ_ALLOC, iommu_veventq_alloc,
	     FIELD(iommu_veventq_alloc, type, 1),
	     FIELD(iommu_veventq_alloc, veventq_depth, 1)),
	GOOD(HW_QUEUE_ALLOC, iommu_hw_queue_alloc,
	     FIELD(iommu_hw_queue_alloc, type, 1),
	     FIELD(iommu_hw_queue_alloc, length, 4096)),
};

/* The same with one field, or two, that are wrong */
struct bad {
	unsigned long request;
	int error;
	int line;
	struct field fields[3];
};

#define BAD(_request, _error, ...) {					\
	.request = IOMMU_##_request,					\
	.error = -(_error),						\
	.line = __LINE__,						\
	.fields = { __VA_ARGS__ },					\
}

static const struct bad bads[] = {
	BAD(DESTROY, ENOENT, FIELD(iommu_destroy, id, ID_NONE)),
	BAD(DESTROY, ENOENT, FIELD(iommu_destroy, id, 0)),
	BAD(DESTROY, EBUSY, FIELD(iommu_destroy, id, ID_DEVICE)),
	BAD(DESTROY, EBUSY, FIELD(iommu_destroy, id, ID_AUTOMATIC)),
	BAD(DESTROY, EBUSY, FIELD(iommu_destroy, id, ID_IOAS)),
	BAD(DESTROY, EBUSY, FIELD(iommu_destroy, id, ID_PARENT)),
	BAD(DESTROY, EBUSY, FIELD(iommu_destroy, id, ID_FAULT)),

	BAD(IOAS_ALLOC, EOPNOTSUPP, FIELD(iommu_ioas_alloc, flags, 1)),

	BAD(IOAS_IOVA_RANGES, EOPNOTSUPP,
	    FIELD(iommu_ioas_iova_ranges, __reserved, 1)),
	BAD(IOAS_IOVA_RANGES, ENOENT,
	    FIELD(iommu_ioas_iova_ranges, ioas_id, ID_NONE)),
	BAD(IOAS_IOVA_RANGES, ENOENT,
	    FIELD(iommu_ioas_iova_ranges, ioas_id, ID_DEVICE)),
	BAD(IOAS_IOVA_RANGES, ENOENT,
	    FIELD(iommu_ioas_iova_ranges, ioas_id, ID_HWPT)),
	BAD(IOAS_IOVA_RANGES, EFAULT,
	    FIELD(iommu_ioas_iova_ranges, allowed_iovas, NOWHERE)),
	BAD(IOAS_IOVA_RANGES, EMSGSIZE,
	    FIELD(iommu_ioas_iova_ranges, num_iovas, 0)),

	BAD(IOAS_ALLOW_IOVAS, EOPNOTSUPP,
	    FIELD(iommu_ioas_allow_iovas, __reserved, 1)),
	BAD(IOAS_ALLOW_IOVAS, ENOENT,
	    FIELD(iommu_ioas_allow_iovas, ioas_id, ID_NONE)),
	BAD(IOAS_ALLOW_IOVAS, ENOENT,
	    FIELD(iommu_ioas_allow_iovas, ioas_id, ID_NESTED)),
	BAD(IOAS_ALLOW_IOVAS, EFAULT,
	    FIELD(iommu_ioas_allow_iovas, num_iovas, 1),
	    FIELD(iommu_ioas_allow_iovas, allowed_iovas, NOWHERE)),
	BAD(IOAS_ALLOW_IOVAS, ENOSPC,
	    FIELD(iommu_ioas_allow_iovas, num_iovas, 65537),
	    FIELD(iommu_ioas_allow_iovas, allowed_iovas, REVERSED_RANGE)),
	BAD(IOAS_ALLOW_IOVAS, EINVAL,
	    FIELD(iommu_ioas_allow_iovas, num_iovas, 1),
	    FIELD(iommu_ioas_allow_iovas, allowed_iovas, REVERSED_RANGE)),
	BAD(IOAS_ALLOW_IOVAS, EINVAL,
	    FIELD(iommu_ioas_allow_iovas, num_iovas, 2),
	    FIELD(iommu_ioas_allow_iovas, allowed_iovas, OVERLAPPING_RANGES)),
	BAD(IOAS_ALLOW_IOVAS, EADDRINUSE,
	    FIELD(iommu_ioas_allow_iovas, num_iovas, 1),
	    FIELD(iommu_ioas_allow_iovas, allowed_iovas, RESERVED_RANGE)),
	BAD(IOAS_ALLOW_IOVAS, EADDRINUSE,
	    FIELD(iommu_ioas_allow_iovas, num_iovas, 1),
	    FIELD(iommu_ioas_allow_iovas, allowed_iovas, WIDE_RANGE)),

	BAD(IOAS_MAP, EOPNOTSUPP, FIELD(iommu_ioas_map, flags, FIXED_RW | 8)),
	BAD(IOAS_MAP, EOPNOTSUPP, FIELD(iommu_ioas_map, __reserved, 1)),
	BAD(IOAS_MAP, EINVAL,
	    FIELD(iommu_ioas_map, flags, IOMMU_IOAS_MAP_FIXED_IOVA)),
	BAD(IOAS_MAP, EINVAL, FIELD(iommu_ioas_map, length, 0)),
	BAD(IOAS_MAP, EOVERFLOW, FIELD(iommu_ioas_map, length, ~0ULL)),
	BAD(IOAS_MAP, EOVERFLOW, FIELD(iommu_ioas_map, iova, ~0ULL)),
	BAD(IOAS_MAP, EOVERFLOW,
	    FIELD(iommu_ioas_map, iova, -(__u64)LARGEST_PAGE),
	    FIELD(iommu_ioas_map, length, 2 * LARGEST_PAGE)),
	BAD(IOAS_MAP, EOVERFLOW,
	    FIELD(iommu_ioas_map, user_va, -(__u64)LARGEST_PAGE),
	    FIELD(iommu_ioas_map, length, 2 * LARGEST_PAGE)),
	BAD(IOAS_MAP, EOVERFLOW, FIELD(iommu_ioas_map, flags, IOAS_RW),
	    FIELD(iommu_ioas_map, user_va, 0),
	    FIELD(iommu_ioas_map, length, 1ULL << 63)),
	BAD(IOAS_MAP, ENOENT, FIELD(iommu_ioas_map, ioas_id, ID_NONE)),
	BAD(IOAS_MAP, ENOENT, FIELD(iommu_ioas_map, ioas_id, ID_DEVICE)),
	BAD(IOAS_MAP, ENOENT, FIELD(iommu_ioas_map, ioas_id, ID_AUTOMATIC)),
	BAD(IOAS_MAP, ENOENT, FIELD(iommu_ioas_map, ioas_id, ID_FAULT)),
	BAD(IOAS_MAP, EFAULT, FIELD(iommu_ioas_map, user_va, NOWHERE)),
	BAD(IOAS_MAP, EEXIST, FIELD(iommu_ioas_map, iova, ADDR(2))),
	BAD(IOAS_MAP, EEXIST, FIELD(iommu_ioas_map, iova, ADDR(0) - 4096),
	    FIELD(iommu_ioas_map, length, 2 * LARGEST_PAGE)),
	BAD(IOAS_MAP, EINVAL, FIELD(iommu_ioas_map, iova, ADDR(8) + 512)),
	BAD(IOAS_MAP, EINVAL,
	    FIELD(iommu_ioas_map, length, LARGEST_PAGE - 512)),
	BAD(IOAS_MAP, EINVAL, FIELD(iommu_ioas_map, iova, MSI_FIRST)),
	BAD(IOAS_MAP, EINVAL, FIELD(iommu_ioas_map, iova, 1ULL << WIDTH)),
	BAD(IOAS_MAP, ENOSPC, FIELD(iommu_ioas_map, flags, IOAS_RW),
	    FIELD(iommu_ioas_map, length, 2ULL << WIDTH)),

	BAD(IOAS_MAP_FILE, EOPNOTSUPP,
	    FIELD(iommu_ioas_map_file, flags, FIXED_RW | 8)),
	BAD(IOAS_MAP_FILE, EINVAL,
	    FIELD(iommu_ioas_map_file, flags, IOMMU_IOAS_MAP_FIXED_IOVA)),
	BAD(IOAS_MAP_FILE, EINVAL, FIELD(iommu_ioas_map_file, length, 0)),
	BAD(IOAS_MAP_FILE, EOVERFLOW,
	    FIELD(iommu_ioas_map_file, length, ~0ULL)),
	BAD(IOAS_MAP_FILE, EOVERFLOW, FIELD(iommu_ioas_map_file, iova, ~0ULL)),
	BAD(IOAS_MAP_FILE, EOVERFLOW,
	    FIELD(iommu_ioas_map_file, iova, -4096ULL)),
	BAD(IOAS_MAP_FILE, EOVERFLOW,
	    FIELD(iommu_ioas_map_file, start, -4096ULL)),
	BAD(IOAS_MAP_FILE, ENOENT,
	    FIELD(iommu_ioas_map_file, ioas_id, ID_NONE)),
	BAD(IOAS_MAP_FILE, ENOENT,
	    FIELD(iommu_ioas_map_file, ioas_id, ID_HWPT)),
	BAD(IOAS_MAP_FILE, EBADF, FIELD(iommu_ioas_map_file, fd, -1ULL)),
	BAD(IOAS_MAP_FILE, EINVAL,
	    FIELD(iommu_ioas_map_file, fd, NO_MEMORY_FILE)),
	BAD(IOAS_MAP_FILE, EACCES,
	    FIELD(iommu_ioas_map_file, fd, READ_ONLY_FILE)),
	BAD(IOAS_MAP_FILE, EPERM, FIELD(iommu_ioas_map_file, fd, SEALED_FILE)),
	BAD(IOAS_MAP_FILE, EINVAL,
	    FIELD(iommu_ioas_map_file, length, 2 * LARGEST_PAGE)),
	BAD(IOAS_MAP_FILE, EINVAL,
	    FIELD(iommu_ioas_map_file, start, LARGEST_PAGE)),
	BAD(IOAS_MAP_FILE, EINVAL, FIELD(iommu_ioas_map_file, start, 512),
	    FIELD(iommu_ioas_map_file, length, 4096)),
	BAD(IOAS_MAP_FILE, EEXIST, FIELD(iommu_ioas_map_file, iova, ADDR(2))),
	BAD(IOAS_MAP_FILE, EINVAL,
	    FIELD(iommu_ioas_map_file, iova, MSI_FIRST)),

	BAD(IOAS_COPY, EOPNOTSUPP,
	    FIELD(iommu_ioas_copy, flags, FIXED_RW | 8)),
	BAD(IOAS_COPY, EINVAL,
	    FIELD(iommu_ioas_copy, flags, IOMMU_IOAS_MAP_FIXED_IOVA)),
	BAD(IOAS_COPY, EINVAL, FIELD(iommu_ioas_copy, length, 0)),
	BAD(IOAS_COPY, EOVERFLOW, FIELD(iommu_ioas_copy, length, ~0ULL)),
	BAD(IOAS_COPY, EOVERFLOW, FIELD(iommu_ioas_copy, src_iova, ~0ULL)),
	BAD(IOAS_COPY, EOVERFLOW, FIELD(iommu_ioas_copy, src_iova, -4096ULL)),
	BAD(IOAS_COPY, EOVERFLOW, FIELD(iommu_ioas_copy, dst_iova, ~0ULL)),
	BAD(IOAS_COPY, EOVERFLOW, FIELD(iommu_ioas_copy, dst_iova, -4096ULL)),
	BAD(IOAS_COPY, ENOENT, FIELD(iommu_ioas_copy, src_ioas_id, ID_NONE)),
	BAD(IOAS_COPY, ENOENT, FIELD(iommu_ioas_copy, dst_ioas_id, ID_NONE)),
	BAD(IOAS_COPY, ENOENT, FIELD(iommu_ioas_copy, src_ioas_id, ID_HWPT)),
	BAD(IOAS_COPY, ENOENT, FIELD(iommu_ioas_copy, dst_ioas_id, ID_DEVICE)),
	BAD(IOAS_COPY, ENOENT, FIELD(iommu_ioas_copy, src_ioas_id, ID_OTHER)),
	BAD(IOAS_COPY, ENOENT, FIELD(iommu_ioas_copy, src_iova, ADDR(4))),
	BAD(IOAS_COPY, ENOENT,
	    FIELD(iommu_ioas_copy, length, 4 * LARGEST_PAGE)),
	BAD(IOAS_COPY, ENOENT, FIELD(iommu_ioas_copy, src_iova, ADDR(0) - 4096),
	    FIELD(iommu_ioas_copy, length, 2 * LARGEST_PAGE)),
	BAD(IOAS_COPY, EPERM, FIELD(iommu_ioas_copy, src_iova, ADDR(0))),
	BAD(IOAS_COPY, EEXIST, FIELD(iommu_ioas_copy, dst_iova, ADDR(1))),
	BAD(IOAS_COPY, EINVAL, FIELD(iommu_ioas_copy, dst_iova, MSI_FIRST)),
	BAD(IOAS_COPY, EINVAL, FIELD(iommu_ioas_copy, src_iova, ADDR(1) + 512),
	    FIELD(iommu_ioas_copy, length, 4096)),
	BAD(IOAS_COPY, EINVAL,
	    FIELD(iommu_ioas_copy, dst_iova, ADDR(8) + 512)),

	BAD(IOAS_UNMAP, ENOENT, FIELD(iommu_ioas_unmap, ioas_id, ID_NONE)),
	BAD(IOAS_UNMAP, ENOENT, FIELD(iommu_ioas_unmap, ioas_id, ID_PARENT)),
	BAD(IOAS_UNMAP, EINVAL, FIELD(iommu_ioas_unmap, length, 0)),
	BAD(IOAS_UNMAP, EOVERFLOW, FIELD(iommu_ioas_unmap, length, ~0ULL)),
	BAD(IOAS_UNMAP, EOVERFLOW, FIELD(iommu_ioas_unmap, iova, ~0ULL)),
	BAD(IOAS_UNMAP, EOVERFLOW, FIELD(iommu_ioas_unmap, iova, -4096ULL)),
	BAD(IOAS_UNMAP, ENOENT, FIELD(iommu_ioas_unmap, length, 4096),
	    FIELD(iommu_ioas_unmap, iova, ADDR(8))),
	BAD(IOAS_UNMAP, ENOENT, FIELD(iommu_ioas_unmap, length, 512)),
	BAD(IOAS_UNMAP, ENOENT, FIELD(iommu_ioas_unmap, iova, ADDR(1) + 512)),
	BAD(IOAS_UNMAP, ENOENT,
	    FIELD(iommu_ioas_unmap, length, 2 * LARGEST_PAGE - 512)),

	BAD(OPTION, EOPNOTSUPP, FIELD(iommu_option, __reserved, 1)),
	BAD(OPTION, EOPNOTSUPP, FIELD(iommu_option, option_id, 2)),
	BAD(OPTION, EOPNOTSUPP, FIELD(iommu_option, op, 2)),
	BAD(OPTION, ENOENT, FIELD(iommu_option, object_id, ID_NONE)),
	BAD(OPTION, ENOENT, FIELD(iommu_option, object_id, ID_DEVICE)),
	BAD(OPTION, ENOENT, FIELD(iommu_option, object_id, ID_HWPT)),
	BAD(OPTION, EINVAL, FIELD(iommu_option, op, IOMMU_OPTION_OP_SET),
	    FIELD(iommu_option, val64, 2)),
	/* Too late */
	BAD(OPTION, EINVAL, FIELD(iommu_option, op, IOMMU_OPTION_OP_SET),
	    FIELD(iommu_option, val64, 0)),
	BAD(OPTION, EOPNOTSUPP,
	    FIELD(iommu_option, option_id, IOMMU_OPTION_RLIMIT_MODE)),
	BAD(OPTION, EOPNOTSUPP,
	    FIELD(iommu_option, option_id, IOMMU_OPTION_RLIMIT_MODE),
	    FIELD(iommu_option, object_id, 0), FIELD(iommu_option, op, 2)),
	BAD(OPTION, EBUSY,
	    FIELD(iommu_option, option_id, IOMMU_OPTION_RLIMIT_MODE),
	    FIELD(iommu_option, object_id, 0),
	    FIELD(iommu_option, op, IOMMU_OPTION_OP_SET)),

	BAD(IOAS_CHANGE_PROCESS, EOPNOTSUPP,
	    FIELD(iommu_ioas_change_process, __reserved, 1)),
	/* There is memory of the process. */
	BAD(IOAS_CHANGE_PROCESS, EINVAL, {}),

	BAD(VFIO_IOAS, EOPNOTSUPP, FIELD(iommu_vfio_ioas, __reserved, 1)),
	BAD(VFIO_IOAS, EOPNOTSUPP, FIELD(iommu_vfio_ioas, op, 3)),
	BAD(VFIO_IOAS, ENODEV,
	    FIELD(iommu_vfio_ioas, op, IOMMU_VFIO_IOAS_GET)),
	BAD(VFIO_IOAS, ENOENT,
	    FIELD(iommu_vfio_ioas, op, IOMMU_VFIO_IOAS_SET),
	    FIELD(iommu_vfio_ioas, ioas_id, ID_NONE)),
	BAD(VFIO_IOAS, ENOENT,
	    FIELD(iommu_vfio_ioas, op, IOMMU_VFIO_IOAS_SET),
	    FIELD(iommu_vfio_ioas, ioas_id, ID_HWPT)),

	BAD(HWPT_ALLOC, EOPNOTSUPP, FIELD(iommu_hwpt_alloc, flags, 1 << 4)),
	BAD(HWPT_ALLOC, EOPNOTSUPP, FIELD(iommu_hwpt_alloc, __reserved, 1)),
	BAD(HWPT_ALLOC, EOPNOTSUPP,
	    FIELD(iommu_hwpt_alloc, flags, IOMMU_HWPT_ALLOC_NEST_PARENT |
		  IOMMU_HWPT_FAULT_ID_VALID),
	    FIELD(iommu_hwpt_alloc, fault_id, ID_FAULT)),
	BAD(HWPT_ALLOC, EINVAL, FIELD(iommu_hwpt_alloc, data_type, 1)),
	BAD(HWPT_ALLOC, EINVAL, FIELD(iommu_hwpt_alloc, data_len, 1)),
	BAD(HWPT_ALLOC, ENOENT, FIELD(iommu_hwpt_alloc, dev_id, ID_NONE)),
	BAD(HWPT_ALLOC, ENOENT, FIELD(iommu_hwpt_alloc, dev_id, ID_IOAS)),
	BAD(HWPT_ALLOC, ENOENT, FIELD(iommu_hwpt_alloc, dev_id, ID_HWPT)),
	BAD(HWPT_ALLOC, EINVAL, FIELD(iommu_hwpt_alloc, pt_id, ID_NONE)),
	BAD(HWPT_ALLOC, EINVAL, FIELD(iommu_hwpt_alloc, pt_id, ID_DEVICE)),
	BAD(HWPT_ALLOC, EINVAL, FIELD(iommu_hwpt_alloc, pt_id, ID_FAULT)),
	BAD(HWPT_ALLOC, EINVAL, FIELD(iommu_hwpt_alloc, pt_id, ID_NESTED)),
	BAD(HWPT_ALLOC, ENOENT,
	    FIELD(iommu_hwpt_alloc, flags, IOMMU_HWPT_FAULT_ID_VALID),
	    FIELD(iommu_hwpt_alloc, fault_id, ID_NONE)),
	BAD(HWPT_ALLOC, ENOENT,
	    FIELD(iommu_hwpt_alloc, flags, IOMMU_HWPT_FAULT_ID_VALID),
	    FIELD(iommu_hwpt_alloc, fault_id, ID_HWPT)),
	/* A nested one that has no description, or no parent that can be one */
	BAD(HWPT_ALLOC, EOPNOTSUPP, FIELD(iommu_hwpt_alloc, pt_id, ID_PARENT)),

	BAD(HWPT_INVALIDATE, EOPNOTSUPP,
	    FIELD(iommu_hwpt_invalidate, __reserved, 1)),
	BAD(HWPT_INVALIDATE, ENOENT,
	    FIELD(iommu_hwpt_invalidate, hwpt_id, ID_NONE)),
	BAD(HWPT_INVALIDATE, EINVAL,
	    FIELD(iommu_hwpt_invalidate, hwpt_id, ID_HWPT)),
	BAD(HWPT_INVALIDATE, EINVAL,
	    FIELD(iommu_hwpt_invalidate, hwpt_id, ID_IOAS)),
	BAD(HWPT_INVALIDATE, EINVAL,
	    FIELD(iommu_hwpt_invalidate, data_uptr, 0)),
	BAD(HWPT_INVALIDATE, EINVAL,
	    FIELD(iommu_hwpt_invalidate, entry_len, 0)),
	BAD(HWPT_INVALIDATE, EINVAL,
	    FIELD(iommu_hwpt_invalidate, entry_len, LARGEST_PAGE + 1)),
	BAD(HWPT_INVALIDATE, EINVAL,
	    FIELD(iommu_hwpt_invalidate, entry_num, (1 << 19) + 1)),
	BAD(HWPT_INVALIDATE, EINVAL,
	    FIELD(iommu_hwpt_invalidate, data_type, 1)),
	BAD(HWPT_INVALIDATE, EFAULT,
	    FIELD(iommu_hwpt_invalidate, data_uptr, NOWHERE)),

	BAD(GET_HW_INFO, EOPNOTSUPP, FIELD(iommu_hw_info, flags, 2)),
	BAD(GET_HW_INFO, EOPNOTSUPP, FIELD(iommu_hw_info, __reserved[2], 1)),
	BAD(GET_HW_INFO, ENOENT, FIELD(iommu_hw_info, dev_id, ID_NONE)),
	BAD(GET_HW_INFO, ENOENT, FIELD(iommu_hw_info, dev_id, ID_IOAS)),
	BAD(GET_HW_INFO, EFAULT, FIELD(iommu_hw_info, data_len, 8),
	    FIELD(iommu_hw_info, data_uptr, NOWHERE)),
	BAD(GET_HW_INFO, EOPNOTSUPP,
	    FIELD(iommu_hw_info, flags, IOMMU_HW_INFO_FLAG_INPUT_TYPE),
	    FIELD(iommu_hw_info, in_data_type, 0x123)),

	BAD(FAULT_QUEUE_ALLOC, EOPNOTSUPP, FIELD(iommu_fault_alloc, flags, 1)),

	BAD(VIOMMU_ALLOC, EOPNOTSUPP, FIELD(iommu_viommu_alloc, flags, 1)),
	BAD(VIOMMU_ALLOC, EOPNOTSUPP, FIELD(iommu_viommu_alloc, type, 0)),
	BAD(VIOMMU_ALLOC, ENOENT, FIELD(iommu_viommu_alloc, dev_id, ID_NONE)),
	BAD(VIOMMU_ALLOC, ENOENT, FIELD(iommu_viommu_alloc, dev_id, ID_HWPT)),
	/* The test IOMMU has none. */
	BAD(VIOMMU_ALLOC, EOPNOTSUPP, {}),

	BAD(VDEVICE_ALLOC, ENOENT, {}),
	BAD(VDEVICE_ALLOC, ENOENT,
	    FIELD(iommu_vdevice_alloc, viommu_id, ID_HWPT)),

	BAD(VEVENTQ_ALLOC, EOPNOTSUPP, FIELD(iommu_veventq_alloc, flags, 1)),
	BAD(VEVENTQ_ALLOC, EOPNOTSUPP,
	    FIELD(iommu_veventq_alloc, __reserved, 1)),
	BAD(VEVENTQ_ALLOC, EOPNOTSUPP, FIELD(iommu_veventq_alloc, type, 0)),
	BAD(VEVENTQ_ALLOC, EINVAL,
	    FIELD(iommu_veventq_alloc, veventq_depth, 0)),
	BAD(VEVENTQ_ALLOC, EINVAL,
	    FIELD(iommu_veventq_alloc, veventq_depth, (1 << 19) + 1)),
	BAD(VEVENTQ_ALLOC, ENOENT, {}),
	BAD(VEVENTQ_ALLOC, ENOENT,
	    FIELD(iommu_veventq_alloc, viommu_id, ID_NESTED)),

	BAD(HW_QUEUE_ALLOC, EOPNOTSUPP, FIELD(iommu_hw_queue_alloc, flags, 1)),
	BAD(HW_QUEUE_ALLOC, EOPNOTSUPP, FIELD(iommu_hw_queue_alloc, type, 0)),
	BAD(HW_QUEUE_ALLOC, EINVAL, FIELD(iommu_hw_queue_alloc, length, 0)),
	BAD(HW_QUEUE_ALLOC, EOVERFLOW,
	    FIELD(iommu_hw_queue_alloc, nesting_parent_iova, -1ULL)),
	BAD(HW_QUEUE_ALLOC, ENOENT, {}),
	BAD(HW_QUEUE_ALLOC, ENOENT,
	    FIELD(iommu_hw_queue_alloc, viommu_id, ID_IOAS)),
};

static const struct good *good_of(unsigned long request)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(goods); i++)
		if (goods[i].request == request)
			return &goods[i];
	return NULL;
}

static void set_fields(struct _test_data_refuses *self, char *call,
		       const struct field *field, unsigned int max)
{
	__u64 value;

	for (; max-- && field->size; field++) {
		value = resolve(self, field->value);
		/* Little-endian, as all machines that this runs on */
		memcpy(call + field->offset, &value, field->size);
	}
}

static void make_call(struct _test_data_refuses *self, const struct good *good,
		      char *call)
{
	__u32 size = good->size;

	memset(call, 0, MAX_SIZE);
	set_fields(self, call, good->fields, MAX_FIELDS);
	memcpy(call, &size, sizeof(size));
}

TEST_F_TIMEOUT(refuses, each_argument, 60)
{
	static struct state before, after;
	char call[MAX_SIZE];
	unsigned int i;
	int rc;

	ASSERT_EQ(0, begin_all(self));
	ASSERT_EQ(0, make_files());
	ASSERT_EQ(0, state_read(self, &before));
	for (i = 0; i < ARRAY_SIZE(bads); i++) {
		const struct good *good = good_of(bads[i].request);

		ASSERT_NE(NULL, good);
		make_call(self, good, call);
		set_fields(self, call, bads[i].fields, 3);
		rc = iommu_call(self->iommu, good->request, call);
		EXPECT_EQ(bads[i].error, rc) {
			TH_LOG("%s, line %d", good->name, bads[i].line);
		}
		ASSERT_EQ(0, state_read(self, &after));
		ASSERT_EQ(0, memcmp(&before, &after, sizeof(before))) {
			TH_LOG("%s, line %d: something is left behind",
			       good->name, bads[i].line);
		}
	}
	close_files();
	close(self->fault_fd);
}

/* Each call would succeed, but for its size or for where its structure is. */
TEST_F_TIMEOUT(refuses, each_structure, 60)
{
	static struct state before, after;
	char *page = mem_alloc(2 * PAGE);
	unsigned int i, size;

	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, begin_all(self));
	ASSERT_EQ(0, make_files());
	memset(page, 0, PAGE);
	/* The next page stays where nothing can be read. */
	ASSERT_EQ(0, mprotect(page + PAGE, PAGE, PROT_NONE));
	ASSERT_EQ(0, state_read(self, &before));
	for (i = 0; i < ARRAY_SIZE(goods); i++) {
		const struct good *good = &goods[i];
		char *call = page + 64;

		make_call(self, good, call);
		for (size = 0; size <= 4; size += 4) {
			memcpy(call, &size, sizeof(size));
			EXPECT_EQ(-EINVAL, iommu_call(self->iommu,
						      good->request, call)) {
				TH_LOG("%s of %u bytes", good->name, size);
			}
		}
		size = PAGE + 8;
		memcpy(call, &size, sizeof(size));
		EXPECT_EQ(-E2BIG, iommu_call(self->iommu, good->request, call));
		size = good->size + 8;
		memcpy(call, &size, sizeof(size));
		call[good->size + 7] = 1;
		EXPECT_EQ(-E2BIG, iommu_call(self->iommu, good->request, call));
		call[good->size + 7] = 0;
		EXPECT_EQ(-EFAULT, iommu_call(self->iommu, good->request,
					      page + PAGE));
		call = page + PAGE - 8;
		size = good->size;
		memcpy(call, &size, sizeof(size));
		if (good->size > 8)
			EXPECT_EQ(-EFAULT, iommu_call(self->iommu,
						      good->request, call));
		memset(page, 0, PAGE);
		ASSERT_EQ(0, state_read(self, &after));
		ASSERT_EQ(0, memcmp(&before, &after, sizeof(before))) {
			TH_LOG("%s: something is left behind", good->name);
		}
	}
	close_files();
	close(self->fault_fd);
	munmap(page, 2 * PAGE);
}

/* Results that cannot be returned are found out before anything happens. */
TEST_F(refuses, results_in_read_only_memory)
{
	static const unsigned long requests[] = {
		IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE,
		IOMMU_IOAS_COPY, IOMMU_IOAS_UNMAP, IOMMU_HWPT_ALLOC,
		IOMMU_GET_HW_INFO, IOMMU_FAULT_QUEUE_ALLOC, IOMMU_OPTION,
		IOMMU_IOAS_IOVA_RANGES, IOMMU_HWPT_INVALIDATE,
	};
	static struct state before, after;
	char *page = mem_alloc(PAGE);
	unsigned int i;
	int next;

	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, begin_all(self));
	ASSERT_EQ(0, make_files());
	next = dup(self->iommu);
	close(next);
	ASSERT_EQ(0, state_read(self, &before));
	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		ASSERT_EQ(0, mprotect(page, PAGE, PROT_READ | PROT_WRITE));
		make_call(self, good_of(requests[i]), page);
		ASSERT_EQ(0, mprotect(page, PAGE, PROT_READ));
		EXPECT_EQ(-EFAULT, iommu_call(self->iommu, requests[i], page)) {
			TH_LOG("%s", good_of(requests[i])->name);
		}
		ASSERT_EQ(0, state_read(self, &after));
		ASSERT_EQ(0, memcmp(&before, &after, sizeof(before))) {
			TH_LOG("%s: something is left behind",
			       good_of(requests[i])->name);
		}
	}
	/* No file has been left open either. */
	EXPECT_EQ(next, dup(self->iommu));
	close(next);
	close_files();
	close(self->fault_fd);
	munmap(page, PAGE);
}

TEST_HARNESS_MAIN
