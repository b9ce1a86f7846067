/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Native user API of /dev/iommu: graphs of I/O address spaces.
 *
 * Each open of /dev/iommu is a context. It owns I/O address spaces (IOASIDs)
 * and the devices that were bound to it with VFIO_DEVICE_BIND_IOMMUFD. A
 * device is given an address space with VFIO_DEVICE_ATTACH_IOMMUFD_PT, with
 * the IOASID as pt_id (include/uapi/linux/vfio.h); what comes back as pt_id is
 * the page table that was found or made for it.
 *
 * The ioctls of include/uapi/linux/iommufd.h work on the same contexts, and what
 * they call an IOAS is an IOASID.
 */
#ifndef _UAPI_LINUX_IOMMU_H
#define _UAPI_LINUX_IOMMU_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: Conventions
 *
 * Every ioctl takes a pointer to a structure whose first member, size, is
 * sizeof() that structure as the program was compiled with it. A kernel that
 * knows a longer structure takes the missing tail as zero; a kernel that knows
 * a shorter one insists that what it does not know is zero. Results are written
 * back into the structure, and only if the ioctl succeeds, unless a command
 * says otherwise.
 *
 * Identifiers of IOASIDs, devices, page tables and whatever else a context has
 * come from one number space of its own, 1 to INT_MAX. They mean nothing to
 * another context. Addresses, lengths and offsets are in bytes. A range of
 * addresses is given as first and last, both inclusive.
 *
 * Every ioctl may fail with
 *
 * - -EFAULT: the structure, or memory that it points to, cannot be accessed.
 * - -EINVAL: size is smaller than the first version of the structure, or a
 *   member whose name starts with two underscores is not zero.
 * - -E2BIG: size is larger than the kernel's structure, and the part that the
 *   kernel does not know is not zero; or size is larger than a page.
 * - -EOPNOTSUPP: flags has a bit that this kernel does not know.
 * - -ENOENT: no such IOASID or device in this context.
 * - -ENOMEM: not enough kernel memory.
 * - -ENOTTY: no such command.
 *
 * These come before the errors that a command lists, except for -ENOMEM.
 */

#define IOMMU_NATIVE_TYPE (';')

enum {
	IOMMU_NATIVE_CMD_BASE = 0xc0,
	IOMMU_NATIVE_CMD_CHECK_EXTENSION = IOMMU_NATIVE_CMD_BASE,
	IOMMU_NATIVE_CMD_DEVICE_GET_INFO = 0xc1,
	IOMMU_NATIVE_CMD_DEVICE_SET_COOKIE = 0xc2,
	IOMMU_NATIVE_CMD_IOASID_ALLOC = 0xc3,
	IOMMU_NATIVE_CMD_IOASID_FREE = 0xc4,
	IOMMU_NATIVE_CMD_IOASID_GET_INFO = 0xc5,
	IOMMU_NATIVE_CMD_MAP_DMA = 0xc8,
	IOMMU_NATIVE_CMD_UNMAP_DMA = 0xc9,
	IOMMU_NATIVE_CMD_DIRTY_START = 0xcd,
	IOMMU_NATIVE_CMD_DIRTY_STOP = 0xce,
	IOMMU_NATIVE_CMD_DIRTY_GET = 0xcf,
};

/**
 * enum iommu_ioasid_type - What an IOASID is
 * @IOMMU_IOASID_TYPE_KERNEL: A page table that the kernel manages: MAP_DMA and
 *                            UNMAP_DMA change it, devices attach to it.
 */
enum iommu_ioasid_type {
	IOMMU_IOASID_TYPE_KERNEL = 1,
};

/**
 * enum iommu_ioasid_op - Operations that a type of IOASID may allow
 * @IOMMU_IOASID_OP_ROOT: May be allocated without a parent.
 * @IOMMU_IOASID_OP_MAP: MAP_DMA and UNMAP_DMA.
 * @IOMMU_IOASID_OP_ATTACH: A device may attach with its plain DMA.
 * @IOMMU_IOASID_OP_ATTACH_PASID: A device may attach with a PASID, where its
 *                                IOMMU has PASIDs.
 * @IOMMU_IOASID_OP_ACCESS: In-kernel users (mediated devices) may attach.
 * @IOMMU_IOASID_OP_DIRTY: May be allocated with @IOMMU_IOASID_ALLOC_DIRTY, for
 *                         DIRTY_START, DIRTY_STOP and DIRTY_GET.
 *
 * Bit numbers of the value that CHECK_EXTENSION gives for
 * @IOMMU_EXT_TYPE_OPS. An operation that is not allowed fails with -EINVAL.
 */
enum iommu_ioasid_op {
	IOMMU_IOASID_OP_ROOT = 0,
	IOMMU_IOASID_OP_MAP = 1,
	IOMMU_IOASID_OP_ATTACH = 2,
	IOMMU_IOASID_OP_ATTACH_PASID = 3,
	IOMMU_IOASID_OP_ACCESS = 4,
	IOMMU_IOASID_OP_DIRTY = 5,
};

/**
 * enum iommu_extension - What CHECK_EXTENSION can be asked
 * @IOMMU_EXT_MAP_TYPE1V2: MAP_DMA and UNMAP_DMA follow VFIO type1v2: 1.
 * @IOMMU_EXT_UNMAP_ALL: UNMAP_DMA knows @IOMMU_UNMAP_DMA_ALL: 1.
 * @IOMMU_EXT_MAP_ALLOC_IOVA: MAP_DMA knows @IOMMU_MAP_DMA_ALLOC_IOVA: 1.
 * @IOMMU_EXT_MAP_FILE: MAP_DMA knows @IOMMU_MAP_DMA_FILE: 1.
 * @IOMMU_EXT_MULTIDEV_GROUP: Devices of IOMMU groups with several members can
 *                            be bound: 1.
 * @IOMMU_EXT_TYPE_OPS: @arg is an &enum iommu_ioasid_type; the value has a bit
 *                      for each &enum iommu_ioasid_op that the type allows, 0
 *                      for a type that this kernel does not have.
 * @IOMMU_EXT_GROUP_IOASID: The IOASID of this context that devices of VFIO
 *                          groups are attached to, 0 if there is none. One is
 *                          made when the first group is given /dev/iommu as its
 *                          container, and cannot be freed. IOMMU_VFIO_IOAS of
 *                          linux/iommufd.h can choose another one.
 * @IOMMU_EXT_DIRTY_TRACKING: IOASID_ALLOC knows @IOMMU_IOASID_ALLOC_DIRTY, there
 *                            are DIRTY_START, DIRTY_STOP and DIRTY_GET, and
 *                            UNMAP_DMA knows @IOMMU_UNMAP_DMA_GET_DIRTY: 1.
 */
enum iommu_extension {
	IOMMU_EXT_MAP_TYPE1V2 = 1,
	IOMMU_EXT_UNMAP_ALL = 2,
	IOMMU_EXT_MAP_ALLOC_IOVA = 3,
	IOMMU_EXT_MAP_FILE = 4,
	IOMMU_EXT_MULTIDEV_GROUP = 5,
	IOMMU_EXT_TYPE_OPS = 6,
	IOMMU_EXT_GROUP_IOASID = 7,
	IOMMU_EXT_DIRTY_TRACKING = 8,
};

/**
 * struct iommu_check_extension - ioctl(IOMMU_CHECK_EXTENSION)
 * @size: sizeof(struct iommu_check_extension)
 * @flags: Must be 0
 * @extension: One of &enum iommu_extension. One that this kernel does not know
 *             is no error: its value is 0.
 * @arg: What the extension says, else it must be 0 (-EINVAL); for an extension
 *       that this kernel does not know it is ignored
 * @value: Output: what the extension says
 *
 * Needs no device.
 */
struct iommu_check_extension {
	__u32 size;
	__u32 flags;
	__u32 extension;
	__u32 arg;
	__aligned_u64 value;
};

#define IOMMU_CHECK_EXTENSION \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_CHECK_EXTENSION)

/**
 * struct iommu_range - A range of addresses
 * @first: First address of the range
 * @last: Last address of the range, inclusive
 */
struct iommu_range {
	__aligned_u64 first;
	__aligned_u64 last;
};

/**
 * enum iommu_group_member_flags - State of a member of an IOMMU group
 * @IOMMU_GROUP_MEMBER_BOUND: Bound to this context; dev_id is its identifier.
 * @IOMMU_GROUP_MEMBER_DRIVER: A driver is bound to the device; its name is in
 *                             driver.
 * @IOMMU_GROUP_MEMBER_CONFLICT: The driver does DMA for the kernel. The group
 *                               is not viable as long as it is there.
 * @IOMMU_GROUP_MEMBER_CHANGING: A driver is just being bound or unbound;
 *                               nothing more is known.
 */
enum iommu_group_member_flags {
	IOMMU_GROUP_MEMBER_BOUND = 1 << 0,
	IOMMU_GROUP_MEMBER_DRIVER = 1 << 1,
	IOMMU_GROUP_MEMBER_CONFLICT = 1 << 2,
	IOMMU_GROUP_MEMBER_CHANGING = 1 << 3,
};

/**
 * struct iommu_group_member - A device of an IOMMU group
 * @dev_id: Identifier of the device in this context, 0 if not bound to it
 * @flags: Combination of &enum iommu_group_member_flags
 * @name: Name of the device on its bus, for PCI its address, NUL-terminated
 * @driver: Name of its driver, NUL-terminated, may be cut
 */
struct iommu_group_member {
	__u32 dev_id;
	__u32 flags;
	char name[32];
	char driver[32];
};

/**
 * enum iommu_device_caps - What a device and its IOMMU can do
 * @IOMMU_DEVICE_CAP_VIABLE: No member of the device's group has a driver that
 *                           does DMA for the kernel.
 * @IOMMU_DEVICE_CAP_ENFORCE_SNOOP: The IOMMU can make every DMA of the device
 *                                  snoop the CPU's caches.
 * @IOMMU_DEVICE_CAP_ISOLATED_MSI: The device cannot raise another's interrupt.
 * @IOMMU_DEVICE_CAP_DIRTY: The IOMMU can track which pages are written.
 */
enum iommu_device_caps {
	IOMMU_DEVICE_CAP_VIABLE = 1 << 0,
	IOMMU_DEVICE_CAP_ENFORCE_SNOOP = 1 << 1,
	IOMMU_DEVICE_CAP_ISOLATED_MSI = 1 << 2,
	IOMMU_DEVICE_CAP_DIRTY = 1 << 3,
};

/**
 * struct iommu_device_info - ioctl(IOMMU_DEVICE_GET_INFO)
 * @size: sizeof(struct iommu_device_info)
 * @flags: Must be 0
 * @dev_id: The device, as VFIO_DEVICE_BIND_IOMMUFD returned it
 * @group_id: Output: number of the IOMMU group, as in /sys/kernel/iommu_groups
 * @cookie: Output: what DEVICE_SET_COOKIE has set, 0 before
 * @caps: Output: combination of &enum iommu_device_caps
 * @pgsize_bitmap: Output: page sizes of the IOMMU, a bit each. MAP_DMA never
 *                 needs finer alignment than the CPU's page size.
 * @addr_width: Output: bits of the largest address that can be mapped, 0 if
 *              the IOMMU's driver decides on it when the device attaches; there
 *              are no @ranges then
 * @pasid_bits: Output: width of the device's PASIDs, 0 if it has none
 * @num_ranges: Input: room at @ranges, in elements. Output: how many there are.
 * @num_members: Input: room at @members, in elements. Output: how many there
 *               are.
 * @ranges: Address of an array of &struct iommu_range for the ranges that may
 *          be mapped for this device: what the IOMMU reaches, less the reserved
 *          regions and the MSI window. Not touched if @num_ranges is 0.
 * @members: Address of an array of &struct iommu_group_member for the devices
 *           of the IOMMU group. Not touched if @num_members is 0.
 *
 * An array that is too short is filled as far as it goes. -ENOENT if @dev_id is
 * not a physical device of this context.
 */
struct iommu_device_info {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__u32 group_id;
	__aligned_u64 cookie;
	__aligned_u64 caps;
	__aligned_u64 pgsize_bitmap;
	__u32 addr_width;
	__u32 pasid_bits;
	__u32 num_ranges;
	__u32 num_members;
	__aligned_u64 ranges;
	__aligned_u64 members;
};

#define IOMMU_DEVICE_GET_INFO \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_DEVICE_GET_INFO)

/**
 * struct iommu_device_cookie - ioctl(IOMMU_DEVICE_SET_COOKIE)
 * @size: sizeof(struct iommu_device_cookie)
 * @flags: Must be 0
 * @dev_id: The device, as VFIO_DEVICE_BIND_IOMMUFD returned it
 * @__reserved: Must be 0
 * @cookie: Any number. The kernel gives it back where it names the device and
 *          never looks at it; it need not be unique.
 */
struct iommu_device_cookie {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__u32 __reserved;
	__aligned_u64 cookie;
};

#define IOMMU_DEVICE_SET_COOKIE \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_DEVICE_SET_COOKIE)

/**
 * enum iommu_snoop_policy - Whether DMA must snoop the CPU's caches
 * @IOMMU_SNOOP_AUTO: Enforced for every device whose IOMMU can enforce it.
 * @IOMMU_SNOOP_ENFORCE: Enforced; a device whose IOMMU cannot is refused at
 *                       attach (-EINVAL).
 * @IOMMU_SNOOP_OFF: Not enforced; a device whose IOMMU could enforce it is
 *                   refused at attach (-EOPNOTSUPP), because KVM relies on it.
 */
enum iommu_snoop_policy {
	IOMMU_SNOOP_AUTO = 0,
	IOMMU_SNOOP_ENFORCE = 1,
	IOMMU_SNOOP_OFF = 2,
};

/**
 * enum iommu_ioasid_alloc_flags - Flags of IOASID_ALLOC
 * @IOMMU_IOASID_ALLOC_DIRTY: DIRTY_START may be used, and iommufd's tracking of
 *                            single page tables may not. A device whose IOMMU
 *                            cannot track what is written is refused at attach
 *                            (-EOPNOTSUPP), see @IOMMU_DEVICE_CAP_DIRTY. Each
 *                            mapping costs a bit of kernel memory for each page,
 *                            and cannot have 2^31 pages or more.
 */
enum iommu_ioasid_alloc_flags {
	IOMMU_IOASID_ALLOC_DIRTY = 1 << 0,
};

/**
 * struct iommu_ioasid_alloc - ioctl(IOMMU_IOASID_ALLOC)
 * @size: sizeof(struct iommu_ioasid_alloc)
 * @flags: Combination of &enum iommu_ioasid_alloc_flags
 * @type: One of &enum iommu_ioasid_type
 * @parent: Must be 0: no type takes a parent yet
 * @addr_width: 0, or 12 to 64: bits of the largest address that the program
 *              will map. MAP_DMA beyond it fails, and attach refuses a device
 *              whose IOMMU does not reach as far.
 * @snoop: One of &enum iommu_snoop_policy
 * @ioasid: Output: the new IOASID
 * @__reserved: Must be 0
 *
 * The attributes never change. Needs no device, and nothing is pinned.
 *
 * -EOPNOTSUPP: this kernel does not have the @type, or the type takes no
 * @parent. -EINVAL: @addr_width or @snoop is none of the above, or the @type does
 * not allow what @flags asks for. -ENOSPC: the context has as many objects as the
 * module parameter max_objects allows.
 */
struct iommu_ioasid_alloc {
	__u32 size;
	__u32 flags;
	__u32 type;
	__u32 parent;
	__u32 addr_width;
	__u32 snoop;
	__u32 ioasid;
	__u32 __reserved;
};

#define IOMMU_IOASID_ALLOC \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_IOASID_ALLOC)

/**
 * struct iommu_ioasid_free - ioctl(IOMMU_IOASID_FREE)
 * @size: sizeof(struct iommu_ioasid_free)
 * @flags: Must be 0
 * @ioasid: The IOASID
 * @__reserved: Must be 0
 *
 * Its mappings go with it. Calls on the same IOASID that other threads have
 * under way are waited for.
 *
 * -EBUSY: a device or an in-kernel user is attached, it was made for VFIO groups
 * (@IOMMU_EXT_GROUP_IOASID), or it has a page table of IOMMU_HWPT_ALLOC in
 * linux/iommufd.h. -EINTR: a fatal signal came while waiting. The IOASID stays
 * then; calls on it by other threads may have got -ENOENT meanwhile.
 */
struct iommu_ioasid_free {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 __reserved;
};

#define IOMMU_IOASID_FREE \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_IOASID_FREE)

/**
 * enum iommu_ioasid_state - What an IOASID can do and does now
 * @IOMMU_IOASID_STATE_DIRTY: It was allocated with @IOMMU_IOASID_ALLOC_DIRTY.
 * @IOMMU_IOASID_STATE_TRACKING: What is written is tracked: DIRTY_START was
 *                               called, and DIRTY_STOP was not.
 */
enum iommu_ioasid_state {
	IOMMU_IOASID_STATE_DIRTY = 1 << 0,
	IOMMU_IOASID_STATE_TRACKING = 1 << 1,
};

/**
 * struct iommu_ioasid_info - ioctl(IOMMU_IOASID_GET_INFO)
 * @size: sizeof(struct iommu_ioasid_info)
 * @flags: Must be 0
 * @ioasid: The IOASID
 * @type: Output: its &enum iommu_ioasid_type
 * @parent: Output: its parent, 0 if it is a root
 * @addr_width: Output: as given at ALLOC
 * @snoop: Output: as given at ALLOC
 * @num_devices: Output: attachments of devices, done or just being done; a
 *               device counts once for its plain DMA and once for each PASID
 * @num_accesses: Output: attached in-kernel users
 * @num_tables: Output: page tables in hardware format that it has now, whoever
 *              has made them
 * @num_ranges: Input: room at @ranges, in elements. Output: how many there are.
 * @state: Output: combination of &enum iommu_ioasid_state
 * @num_mappings: Output: how many mappings it has
 * @mapped_bytes: Output: sum of their lengths
 * @pinned_bytes: Output: memory that is pinned for them, in bytes
 * @alignment: Output: what the address, the source and the length of MAP_DMA
 *             must be multiples of, in bytes
 * @ranges: Address of an array of &struct iommu_range for the ranges that
 *          MAP_DMA accepts now. They shrink when a device attaches. Not touched
 *          if @num_ranges is 0; filled as far as it goes if too short.
 */
struct iommu_ioasid_info {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 type;
	__u32 parent;
	__u32 addr_width;
	__u32 snoop;
	__u32 num_devices;
	__u32 num_accesses;
	__u32 num_tables;
	__u32 num_ranges;
	__u32 state;
	__aligned_u64 num_mappings;
	__aligned_u64 mapped_bytes;
	__aligned_u64 pinned_bytes;
	__aligned_u64 alignment;
	__aligned_u64 ranges;
};

#define IOMMU_IOASID_GET_INFO \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_IOASID_GET_INFO)

/**
 * enum iommu_map_dma_flags - Flags of MAP_DMA
 * @IOMMU_MAP_DMA_READ: Devices may read the memory.
 * @IOMMU_MAP_DMA_WRITE: Devices may write the memory.
 * @IOMMU_MAP_DMA_ALLOC_IOVA: The kernel chooses iova and returns it.
 * @IOMMU_MAP_DMA_FILE: The source is a file: memfd, tmpfs or hugetlbfs.
 */
enum iommu_map_dma_flags {
	IOMMU_MAP_DMA_READ = 1 << 0,
	IOMMU_MAP_DMA_WRITE = 1 << 1,
	IOMMU_MAP_DMA_ALLOC_IOVA = 1 << 2,
	IOMMU_MAP_DMA_FILE = 1 << 3,
};

/**
 * struct iommu_map_dma - ioctl(IOMMU_MAP_DMA)
 * @size: sizeof(struct iommu_map_dma)
 * @flags: Combination of &enum iommu_map_dma_flags
 * @ioasid: The IOASID
 * @fd: File to map with @IOMMU_MAP_DMA_FILE, else it must be 0
 * @iova: Address in the IOASID. With @IOMMU_MAP_DMA_ALLOC_IOVA it must be 0 and
 *        is an output.
 * @src: Address in the memory of the calling process, or offset in the file
 * @length: Length of the mapping
 *
 * From the return of this call on, devices attached to the IOASID reach the
 * memory at @iova. It is pinned as long as a device is attached, and charged as
 * locked memory of the calling process (RLIMIT_MEMLOCK, CAP_IPC_LOCK). While no
 * device is attached a mapping is only recorded: nothing is pinned or charged
 * until one attaches, or an in-kernel user first touches the mapping. A mapping
 * follows the pages that were there when they
 * were pinned; what the process does to its address space later has no effect
 * on it.
 *
 * Errors, checked in this order:
 *
 * - -EPERM: no device, physical or mediated, is bound to this context.
 * - -EINVAL: the type of the IOASID has no MAP_DMA.
 * - -EOVERFLOW: a value does not fit the kernel's native word.
 * - -EINVAL: @length is 0.
 * - -EOVERFLOW: @iova + @length or @src + @length wraps.
 * - -EINVAL: neither READ nor WRITE; @fd or @iova not 0 where it must be; or
 *   @iova, @src or @length is not a multiple of the IOASID's alignment.
 * - -EBADF: @fd is not an open file. -EINVAL: the file is not a memfd, tmpfs or
 *   hugetlbfs file. -EACCES: the file is not open for reading, or for WRITE not
 *   open for writing or append-only. -EPERM: WRITE to a file that is sealed against writing.
 *   -EINVAL: the range ends beyond the end of the file.
 * - -EINVAL: more pages than a mapping of an IOASID with
 *   @IOMMU_IOASID_ALLOC_DIRTY can have.
 * - -EEXIST: a mapping overlaps the range.
 * - -ENOSPC: the IOASID has as many mappings as the module parameter
 *   dma_entry_limit allows, or has no room for ALLOC_IOVA.
 * - -EINVAL: the range is not inside one of the permitted ranges.
 * - -ENOMEM: more locked memory than RLIMIT_MEMLOCK, or no memory.
 * - -EFAULT: the memory is not accessible to the process as the flags ask, it
 *   cannot be read from swap, or it is memory that cannot be pinned, such as
 *   that of a device. -EPERM,
 *   -EINVAL: the file was sealed or has shrunk meanwhile.
 * - -EINTR: a fatal signal.
 *
 * The two conditions on @fd and @iova and those on the file have no
 * counterpart in VFIO type1; the rest is its order.
 */
struct iommu_map_dma {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__s32 fd;
	__aligned_u64 iova;
	__aligned_u64 src;
	__aligned_u64 length;
};

#define IOMMU_MAP_DMA _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_MAP_DMA)

/**
 * enum iommu_unmap_dma_flags - Flags of UNMAP_DMA
 * @IOMMU_UNMAP_DMA_ALL: Remove every mapping of the IOASID.
 * @IOMMU_UNMAP_DMA_GET_DIRTY: Report what was written, too; not with ALL.
 */
enum iommu_unmap_dma_flags {
	IOMMU_UNMAP_DMA_ALL = 1 << 0,
	IOMMU_UNMAP_DMA_GET_DIRTY = 1 << 1,
};

/**
 * struct iommu_unmap_dma - ioctl(IOMMU_UNMAP_DMA)
 * @size: sizeof(struct iommu_unmap_dma); the first version ended with @length
 * @flags: Combination of &enum iommu_unmap_dma_flags
 * @ioasid: The IOASID
 * @__reserved: Must be 0
 * @iova: First address of the range; 0 with @IOMMU_UNMAP_DMA_ALL
 * @length: Length of the range; 0 with @IOMMU_UNMAP_DMA_ALL. Output: sum of the
 *          lengths of the mappings that were removed.
 * @page_size: With @IOMMU_UNMAP_DMA_GET_DIRTY as in &struct iommu_dirty_get,
 *             else 0
 * @bitmap: With @IOMMU_UNMAP_DMA_GET_DIRTY as in &struct iommu_dirty_get, else 0
 *
 * Removes the mappings inside the range. When it returns, no device reaches
 * their memory any more, and the memory is neither pinned nor charged for them,
 * unless another thread is just attaching or detaching: then that follows when
 * it has noticed. Nothing to remove is no error. In-kernel users of the memory are asked to let go.
 *
 * With GET_DIRTY, @bitmap has a bit for each page of the range that was written
 * since DIRTY_START and not reported yet. Without it, that is forgotten with the
 * mappings. What in-kernel users have written is all there. What devices have
 * written is all there if it was written before the call. If a device writes a
 * page for the first time while the call is under way, then the write may reach
 * the memory and not be reported: the last look at the page table comes right
 * before the entry is removed, and no IOMMU driver tells what it removes. A
 * program that cannot rule that out takes all pages that devices could write as
 * written.
 *
 * Errors, checked in this order:
 *
 * - -EINVAL: the type of the IOASID has no UNMAP_DMA.
 * - -EOVERFLOW: a value does not fit the kernel's native word.
 * - -EINVAL: @iova is not a multiple of the IOASID's alignment; GET_DIRTY with
 *   ALL, or @page_size or @bitmap is not 0 without GET_DIRTY; @iova or
 *   @length is not 0 with ALL; or without it @length is 0 or not a multiple of
 *   the alignment.
 * - -EOVERFLOW: @iova + @length wraps.
 * - With GET_DIRTY -EOVERFLOW, -EINVAL, -EFAULT, -ENOMEM, -EINTR as DIRTY_GET.
 * - -EINVAL: the first or the last byte of the range cuts a mapping.
 * - -EBUSY: an in-kernel user does not let go. Nothing was removed.
 * - -EINTR: a fatal signal came while waiting. Nothing was removed.
 * - -EFAULT: @bitmap could be written when the call began and now cannot, because
 *   another thread has unmapped it. The mappings are removed, and what was
 *   written is not known.
 */
struct iommu_unmap_dma {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 __reserved;
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 page_size;
	__aligned_u64 bitmap;
};

#define IOMMU_UNMAP_DMA _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_UNMAP_DMA)

/**
 * struct iommu_dirty_start - ioctl(IOMMU_DIRTY_START)
 * @size: sizeof(struct iommu_dirty_start)
 * @flags: Must be 0
 * @ioasid: The IOASID
 * @__reserved: Must be 0
 *
 * From the return of this call on it is tracked what is written: by devices that
 * are attached or will be, and by in-kernel users, in mappings that are there or
 * will be. Nothing counts as written before that. If it is tracked already,
 * nothing changes, and nothing is forgotten.
 *
 * -EINVAL: the IOASID was not allocated with @IOMMU_IOASID_ALLOC_DIRTY. -EIO: the
 * driver of an IOMMU has failed. -EINTR: a fatal signal. Nothing is tracked then.
 */
struct iommu_dirty_start {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 __reserved;
};

#define IOMMU_DIRTY_START _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_DIRTY_START)

/**
 * struct iommu_dirty_stop - ioctl(IOMMU_DIRTY_STOP)
 * @size: sizeof(struct iommu_dirty_stop)
 * @flags: Must be 0
 * @ioasid: The IOASID
 * @__reserved: Must be 0
 *
 * Ends what DIRTY_START began. What was not reported yet is forgotten. If nothing
 * is tracked, nothing changes.
 *
 * -EINVAL: the IOASID was not allocated with @IOMMU_IOASID_ALLOC_DIRTY. -EINTR: a
 * fatal signal, and nothing has changed.
 */
struct iommu_dirty_stop {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 __reserved;
};

#define IOMMU_DIRTY_STOP _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_DIRTY_STOP)

/**
 * enum iommu_dirty_get_flags - Flags of DIRTY_GET
 * @IOMMU_DIRTY_GET_NO_CLEAR: What is reported now is reported again next time.
 */
enum iommu_dirty_get_flags {
	IOMMU_DIRTY_GET_NO_CLEAR = 1 << 0,
};

/**
 * struct iommu_dirty_get - ioctl(IOMMU_DIRTY_GET)
 * @size: sizeof(struct iommu_dirty_get)
 * @flags: Combination of &enum iommu_dirty_get_flags
 * @ioasid: The IOASID
 * @__reserved: Must be 0
 * @iova: First address of the range, a multiple of @page_size
 * @length: Length of the range, a multiple of @page_size, not 0. It may have
 *          holes and cut mappings.
 * @page_size: What a bit stands for: a power of two, at least the page size of
 *             the CPU. It need not be a page size of the IOMMU.
 * @bitmap: Address of the bitmap: a 64-bit word for every 64 pages or part of
 *          them. Bit n % 64 of word n / 64 stands for the n-th page from @iova
 *          on. All words are written: what was there before does not matter,
 *          and bits without a page are 0.
 *
 * Reports the pages that were written since DIRTY_START or since they were last
 * reported, without NO_CLEAR. A write is reported by the first call that begins
 * after it, at the latest. IOMMUs note writes by the pages of their tables, which
 * may be large: all pages that such a page covers are reported then.
 *
 * In-kernel users count as writers of what they write. Pages that they hold
 * pinned, for whatever purpose, may be written at any time: if devices may write
 * the mapping, then these are reported by every call as long as they are pinned,
 * and by the first one after that. A device that is detached, or moved to another
 * IOASID, takes nothing with it: what it has written is still reported.
 *
 * Errors, checked in this order:
 *
 * - -EINVAL: the IOASID was not allocated with @IOMMU_IOASID_ALLOC_DIRTY.
 * - -EOVERFLOW: a value does not fit the kernel's native word.
 * - -EINVAL: @iova, @length or @page_size is not as said above.
 * - -EOVERFLOW: @iova + @length wraps.
 * - -EINVAL: nothing is tracked, because DIRTY_START was not called, or because
 *   DIRTY_STOP is called by another thread meanwhile.
 * - -EFAULT: the bitmap cannot be written.
 * - -ENOMEM: not enough kernel memory.
 * - -EIO: the driver of an IOMMU has failed.
 * - -EINTR: a fatal signal.
 *
 * After an error the content of the bitmap means nothing, and nothing is
 * forgotten: the next call reports at least what this one should have. It may
 * report more if the bitmap could be written when the call began and could not
 * later on.
 */
struct iommu_dirty_get {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 __reserved;
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 page_size;
	__aligned_u64 bitmap;
};

#define IOMMU_DIRTY_GET _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_DIRTY_GET)

#endif
