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
	IOMMU_NATIVE_CMD_WINDOW_CREATE = 0xc6,
	IOMMU_NATIVE_CMD_WINDOW_REMOVE = 0xc7,
	IOMMU_NATIVE_CMD_MAP_DMA = 0xc8,
	IOMMU_NATIVE_CMD_UNMAP_DMA = 0xc9,
	IOMMU_NATIVE_CMD_MAP_BATCH = 0xca,
	IOMMU_NATIVE_CMD_EVENT_FD = 0xcc,
	IOMMU_NATIVE_CMD_DIRTY_START = 0xcd,
	IOMMU_NATIVE_CMD_DIRTY_STOP = 0xce,
	IOMMU_NATIVE_CMD_DIRTY_GET = 0xcf,
	IOMMU_NATIVE_CMD_DEVICE_EEH = 0xd0,
};

/**
 * enum iommu_ioasid_type - What an IOASID is
 * @IOMMU_IOASID_TYPE_KERNEL: A page table that the kernel manages: MAP_DMA and
 *                            UNMAP_DMA change it, devices attach to it. With a
 *                            parent it is mapped in the parent's addresses.
 * @IOMMU_IOASID_TYPE_PREREG: Memory that is registered for others: MAP_DMA pins
 *                            and charges it, once, and IOASIDs with this parent
 *                            map it by its addresses here, as often as they like,
 *                            without pinning or charging anything. No device
 *                            attaches.
 */
enum iommu_ioasid_type {
	IOMMU_IOASID_TYPE_KERNEL = 1,
	IOMMU_IOASID_TYPE_PREREG = 2,
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
 * @IOMMU_IOASID_OP_CHILD: May be allocated with a parent.
 * @IOMMU_IOASID_OP_PARENT: May be a parent.
 * @IOMMU_IOASID_OP_WINDOW: WINDOW_CREATE and WINDOW_REMOVE.
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
	IOMMU_IOASID_OP_CHILD = 6,
	IOMMU_IOASID_OP_PARENT = 7,
	IOMMU_IOASID_OP_WINDOW = 8,
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
 * @IOMMU_EXT_NESTING: How deep IOASIDs can be nested in IOASIDs, the root
 *                     counted: IOASID_ALLOC takes a parent, and UNMAP_DMA knows
 *                     @IOMMU_UNMAP_DMA_REVOKE.
 * @IOMMU_EXT_MAP_REPLACE: MAP_DMA knows @IOMMU_MAP_DMA_REPLACE: 1.
 * @IOMMU_EXT_MAP_BATCH: How many entries MAP_BATCH takes at most.
 * @IOMMU_EXT_EVENT_FD: There is EVENT_FD: 1.
 * @IOMMU_EXT_ALLOC_RANGES: IOASID_ALLOC takes ranges and a page size: 1.
 * @IOMMU_EXT_URING_CMD: MAP_BATCH can be called through io_uring: 1.
 * @IOMMU_EXT_WINDOWS: How many windows an IOASID can have at most: there are
 *                     WINDOW_CREATE and WINDOW_REMOVE.
 * @IOMMU_EXT_DEVICE_EEH: This kernel has DEVICE_EEH for the devices of POWER: 1.
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
	IOMMU_EXT_NESTING = 9,
	IOMMU_EXT_MAP_REPLACE = 10,
	IOMMU_EXT_MAP_BATCH = 11,
	IOMMU_EXT_EVENT_FD = 12,
	IOMMU_EXT_ALLOC_RANGES = 13,
	IOMMU_EXT_URING_CMD = 14,
	IOMMU_EXT_WINDOWS = 15,
	IOMMU_EXT_DEVICE_EEH = 16,
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
 * @size: sizeof(struct iommu_device_info); the first version ended with @members
 * @flags: Must be 0
 * @dev_id: The device, as VFIO_DEVICE_BIND_IOMMUFD returned it
 * @group_id: Output: number of the IOMMU group, as in /sys/kernel/iommu_groups
 * @cookie: Output: what DEVICE_SET_COOKIE has set, 0 before
 * @caps: Output: combination of &enum iommu_device_caps
 * @pgsize_bitmap: Output: page sizes of the IOMMU, a bit each. MAP_DMA never
 *                 needs finer alignment than the CPU's page size.
 * @addr_width: Output: bits of the largest address that can be mapped, 0 if
 *              the IOMMU's driver decides on it when the device attaches (there
 *              are no @ranges then), or if the device has windows
 * @pasid_bits: Output: width of the device's PASIDs, 0 if it has none
 * @num_ranges: Input: room at @ranges, in elements. Output: how many there are.
 * @num_members: Input: room at @members, in elements. Output: how many there
 *               are.
 * @ranges: Address of an array of &struct iommu_range for the ranges that may
 *          be mapped for this device: what the IOMMU reaches, less the reserved
 *          regions and the MSI window; or the window that it has by default. Not
 *          touched if @num_ranges is 0.
 * @members: Address of an array of &struct iommu_group_member for the devices
 *           of the IOMMU group. Not touched if @num_members is 0.
 * @num_windows: Output: how many windows the IOMMU can translate for the device;
 *               0 if windows only say what the program wants to map, or, with
 *               @window_page_sizes, if the platform leaves it none: it cannot be
 *               attached then
 * @window_levels: Output: levels that the table of a window can have, 0 if windows
 *                 have none
 * @window_page_sizes: Output: page sizes that a window can have, a bit each, 0
 *                     likewise
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
	__u32 num_windows;
	__u32 window_levels;
	__aligned_u64 window_page_sizes;
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
 * enum iommu_limits - What there may be at most
 * @IOMMU_IOASID_MAX_DEPTH: IOASIDs on the way from a root to a leaf, both counted
 * @IOMMU_IOASID_MAX_RANGES: Ranges that IOASID_ALLOC can be asked for
 * @IOMMU_IOASID_MAX_WINDOWS: Windows of an IOASID
 * @IOMMU_MAP_BATCH_MAX: Entries of a MAP_BATCH
 *
 * A later kernel may have others than &enum iommu_limits: @IOMMU_EXT_NESTING,
 * @IOMMU_EXT_WINDOWS and @IOMMU_EXT_MAP_BATCH tell.
 */
enum iommu_limits {
	IOMMU_IOASID_MAX_DEPTH = 8,
	IOMMU_IOASID_MAX_RANGES = 1024,
	IOMMU_IOASID_MAX_WINDOWS = 16,
	IOMMU_MAP_BATCH_MAX = 4096,
};

/**
 * struct iommu_ioasid_alloc - ioctl(IOMMU_IOASID_ALLOC)
 * @size: sizeof(struct iommu_ioasid_alloc); the first version ended with
 *        @num_ranges, which it had to leave 0
 * @flags: Combination of &enum iommu_ioasid_alloc_flags
 * @type: One of &enum iommu_ioasid_type
 * @parent: The IOASID in whose addresses this one will be mapped, 0 for a root
 * @addr_width: 0, or 12 to 64: bits of the largest address that the program
 *              will map. MAP_DMA beyond it fails, and attach refuses a device
 *              whose IOMMU does not reach as far.
 * @snoop: One of &enum iommu_snoop_policy
 * @ioasid: Output: the new IOASID
 * @num_ranges: Number of elements at @ranges, at most IOMMU_IOASID_MAX_RANGES
 * @ranges: Address of an array of &struct iommu_range. If there are any, these and
 *          no other addresses may be mapped, now and later: a device that would
 *          take away some of them is refused at attach (EADDRINUSE). They are in
 *          ascending order, do not touch each other and lie within @addr_width.
 *          Not touched if @num_ranges is 0.
 * @page_size: 0, or a power of two that is at least the page size of the CPU: what
 *             the address, the source and the length of MAP_DMA will be multiples
 *             of. MAP_DMA refuses others from the start, and a device whose IOMMU
 *             needs larger ones is refused at attach (EADDRINUSE). If it is 0,
 *             an attach may ask for more than was needed before.
 *
 * The attributes never change. Needs no device, and nothing is pinned.
 *
 * A child has its own addresses, ranges, snoop policy and tracking; the parent
 * lives at least as long as the child. An IOASID that is allocated with
 * @IOMMU_IOASID_ALLOC_DIRTY notes what is written through itself, and not what is
 * written through its children.
 *
 * -EOPNOTSUPP: this kernel does not have the @type. -EINVAL: the @type does not
 * allow to be a root or a child as @parent asks, or what @flags asks for;
 * @addr_width, @snoop, @page_size or the ranges are not as said above; or there are
 * already IOMMU_IOASID_MAX_DEPTH IOASIDs from the root to @parent, or the type of
 * that cannot be a parent. -EOVERFLOW: a value does not fit the kernel's native
 * word. -ENOSPC: the context has as
 * many objects as the module parameter max_objects allows.
 */
struct iommu_ioasid_alloc {
	__u32 size;
	__u32 flags;
	__u32 type;
	__u32 parent;
	__u32 addr_width;
	__u32 snoop;
	__u32 ioasid;
	__u32 num_ranges;
	__aligned_u64 ranges;
	__aligned_u64 page_size;
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
 * -EBUSY: a device or an in-kernel user is attached, it has children, it was made
 * for VFIO groups (@IOMMU_EXT_GROUP_IOASID), or it has a page table of IOMMU_HWPT_ALLOC in
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
 * @size: sizeof(struct iommu_ioasid_info); the first version ended with @ranges
 * @flags: Must be 0
 * @ioasid: The IOASID
 * @type: Output: its &enum iommu_ioasid_type
 * @parent: Output: its parent, 0 if it is a root
 * @addr_width: Output: as given at ALLOC
 * @snoop: Output: as given at ALLOC
 * @num_devices: Output: attachments of devices; a device counts once for its plain
 *               DMA and once for each PASID
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
 *          MAP_DMA accepts now. They shrink when a device attaches, unless they
 *          were asked for at ALLOC. Not touched if @num_ranges is 0; filled as far
 *          as it goes if too short.
 * @num_children: Output: IOASIDs that it is the parent of
 * @num_shadows: Output: mappings of these that show some of it
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
	__aligned_u64 num_children;
	__aligned_u64 num_shadows;
};

#define IOMMU_IOASID_GET_INFO \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_IOASID_GET_INFO)

/**
 * enum iommu_window_create_flags - Flags of WINDOW_CREATE
 * @IOMMU_WINDOW_CREATE_FIXED: The window must start at iova. Else the kernel says
 *                             where it does.
 */
enum iommu_window_create_flags {
	IOMMU_WINDOW_CREATE_FIXED = 1 << 0,
};

/**
 * struct iommu_window_create - ioctl(IOMMU_WINDOW_CREATE)
 * @size: sizeof(struct iommu_window_create)
 * @flags: Combination of &enum iommu_window_create_flags
 * @ioasid: The IOASID
 * @levels: How many levels the table of the window may have, 0 if the kernel shall
 *          decide. Of no effect where windows have no tables of their own.
 * @page_size: Size of its pages: a power of two, at least 4096. Addresses and lengths
 *             of mappings in the window are multiples of it, and their memory must
 *             lie in such pages: for more than the page size of the CPU that means
 *             huge pages. It may be less than the page size of the CPU; so can
 *             mappings be then (@alignment of &struct iommu_ioasid_info).
 * @iova: First address with FIXED, a multiple of @page_size; else it must be 0 and
 *        is an output
 * @length: Length of the window, a multiple of @page_size, not 0
 *
 * Opens a window: as soon as an IOASID has one, nothing can be mapped outside of its
 * windows, and each has pages of its own. They are its permitted ranges.
 *
 * Where the IOMMU of a device translates nothing but windows (@num_windows of
 * &struct iommu_device_info), as on POWER, each is a table in hardware. A device that
 * is attached to an IOASID without windows brings one along then: the 32-bit window
 * of its platform, with pages of 4 KiB. When the last device has gone, that one ends,
 * unless something is mapped in it. Windows that were asked for stay, and a device
 * that attaches later must be able to have all of them where they are (EADDRINUSE).
 * With attached devices, those say what windows there can be: the 32-bit one, and one
 * of any power of two in size where the platform puts it, on pseries only as long as
 * the hypervisor's memory allows. Tables are charged as locked memory of the process
 * whose call opens them.
 *
 * With other IOMMUs, and as long as no device is attached, a window says what the
 * program wants to map, and lies anywhere.
 *
 * Errors, checked in this order:
 *
 * - -EPERM: no device, physical or mediated, is bound to this context.
 * - -EINVAL: the type of the IOASID has no windows.
 * - -EOVERFLOW: a value does not fit the kernel's native word.
 * - -EINVAL: @page_size, @length or @iova is not as said above.
 * - -EOVERFLOW: @iova + @length wraps.
 * - -EINVAL: what may be mapped was asked for when the IOASID was made, or with
 *   iommufd's IOMMU_IOAS_ALLOW_IOVAS.
 * - -ENOSPC: it has as many windows as there can be.
 * - -EEXIST: it has a window there.
 * - -EOPNOTSUPP: the IOMMU of an attached device does not have such pages or levels;
 *   or the IOASID itself wants larger pages.
 * - On POWER EINVAL: the platform has no windows of that size; ENOSPC: it has no
 *   more windows; EBUSY: below a hypervisor, the 32-bit window cannot come back
 *   while there is another one; ENOMEM: more locked memory than RLIMIT_MEMLOCK;
 *   EIO: the platform has failed.
 * - -EADDRINUSE: the window cannot be at @iova, or nowhere if FIXED is not set.
 * - -EBUSY: it would be the first window, and something is mapped outside of it or
 *   not on its pages.
 */
struct iommu_window_create {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 levels;
	__aligned_u64 page_size;
	__aligned_u64 iova;
	__aligned_u64 length;
};

#define IOMMU_WINDOW_CREATE \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_WINDOW_CREATE)

/**
 * struct iommu_window_remove - ioctl(IOMMU_WINDOW_REMOVE)
 * @size: sizeof(struct iommu_window_remove)
 * @flags: Must be 0
 * @ioasid: The IOASID
 * @__reserved: Must be 0
 * @iova: First address of the window
 *
 * Closes a window, also one that has come with a device. If it was the last one, all
 * that devices reach is permitted again; where devices need windows, that is nothing.
 *
 * -EINVAL: the type of the IOASID has no windows. -ENOENT: no window starts there.
 * -EBUSY: something is mapped in it, or what may be mapped was asked for as
 * WINDOW_CREATE says.
 */
struct iommu_window_remove {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 __reserved;
	__aligned_u64 iova;
};

#define IOMMU_WINDOW_REMOVE \
	_IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_WINDOW_REMOVE)

/**
 * enum iommu_map_dma_flags - Flags of MAP_DMA
 * @IOMMU_MAP_DMA_READ: Devices may read the memory.
 * @IOMMU_MAP_DMA_WRITE: Devices may write the memory.
 * @IOMMU_MAP_DMA_ALLOC_IOVA: The kernel chooses iova and returns it.
 * @IOMMU_MAP_DMA_FILE: The source is a file: memfd, tmpfs or hugetlbfs. Not for an
 *                      IOASID with a parent.
 * @IOMMU_MAP_DMA_REPLACE: Takes the place of mappings that lie inside of the range.
 *                         A device sees the old or the new memory, or faults (not
 *                         on POWER: entries are exchanged); when
 *                         the call returns, no device reaches the old any more. If
 *                         the call fails, the old mappings are there, but a device
 *                         may have found nothing for a moment. Not with ALLOC_IOVA,
 *                         and not where it can be tracked what is written.
 */
enum iommu_map_dma_flags {
	IOMMU_MAP_DMA_READ = 1 << 0,
	IOMMU_MAP_DMA_WRITE = 1 << 1,
	IOMMU_MAP_DMA_ALLOC_IOVA = 1 << 2,
	IOMMU_MAP_DMA_FILE = 1 << 3,
	IOMMU_MAP_DMA_REPLACE = 1 << 4,
};

/**
 * struct iommu_map_dma - ioctl(IOMMU_MAP_DMA)
 * @size: sizeof(struct iommu_map_dma)
 * @flags: Combination of &enum iommu_map_dma_flags
 * @ioasid: The IOASID
 * @fd: File to map with @IOMMU_MAP_DMA_FILE, else it must be 0
 * @iova: Address in the IOASID. With @IOMMU_MAP_DMA_ALLOC_IOVA it must be 0 and
 *        is an output.
 * @src: Address in the memory of the calling process, offset in the file, or, if the
 *       IOASID has a parent, address in the parent
 * @length: Length of the mapping
 *
 * From the return of this call on, devices attached to the IOASID reach the
 * memory at @iova.
 *
 * If the IOASID has a parent, then all of [@src, @src + @length) must be mapped
 * there, by one or several mappings, with the permissions that are asked for.
 * Nothing is pinned or charged. As long as the mapping exists, what it shows of the
 * parent cannot be unmapped there without @IOMMU_UNMAP_DMA_REVOKE.
 *
 * Memory of an IOASID of type PREREG is pinned and charged by this call, and the
 * same memory registered twice is charged twice. The rest is about roots of the
 * other type. Their memory is pinned as long as a device is attached, to the IOASID
 * or to one that descends from it, and charged as locked memory of the calling
 * process (RLIMIT_MEMLOCK, CAP_IPC_LOCK). While no device is attached a mapping is
 * only recorded: nothing is pinned or charged until one attaches, or an in-kernel
 * user first touches the mapping. A mapping follows the pages that were there when
 * they were pinned; what the process does to its address space later has no effect
 * on it.
 *
 * Errors, checked in this order:
 *
 * - -EPERM: no device, physical or mediated, is bound to this context.
 * - -EINVAL: the type of the IOASID has no MAP_DMA.
 * - -EOVERFLOW: a value does not fit the kernel's native word.
 * - -EINVAL: @length is 0.
 * - -EOVERFLOW: @iova + @length or @src + @length wraps.
 * - -EINVAL: neither READ nor WRITE; @fd or @iova not 0 where it must be; flags
 *   that exclude each other; FILE where there is a parent; REPLACE where what is
 *   written can be tracked; or @iova, @src or @length is not a multiple of the
 *   IOASID's alignment.
 * - -EBADF: @fd is not an open file. -EINVAL: the file is not a memfd, tmpfs or
 *   hugetlbfs file. -EACCES: the file is not open for reading, or for WRITE not
 *   open for writing or append-only. -EPERM: WRITE to a file that is sealed against writing.
 *   -EINVAL: the range ends beyond the end of the file.
 * - -EINVAL: more pages than a mapping of an IOASID with
 *   @IOMMU_IOASID_ALLOC_DIRTY can have.
 * - -EEXIST: a mapping overlaps the range; with REPLACE instead -EINVAL: the first
 *   or the last byte of the range cuts a mapping, a page table can tell what is
 *   written, or it would replace memory of a device; -EBUSY: an in-kernel user or a
 *   child uses a mapping that is to be replaced.
 * - -ENOSPC: the IOASID has as many mappings as the module parameter
 *   dma_entry_limit allows, or has no room for ALLOC_IOVA.
 * - -EINVAL: the range is not inside one of the permitted ranges.
 * - With a parent -ENOENT: some of the source is not mapped there. -EPERM: it is
 *   mapped with fewer permissions. -EBUSY: it is just being unmapped there, or among
 *   several mappings that another call is just adding. -EINVAL: the parent shows
 *   memory of a device, or a mapping of it ends inside of a page.
 * - -ENOMEM: more locked memory than RLIMIT_MEMLOCK, or no memory.
 * - -EFAULT: the memory is not accessible to the process as the flags ask, it
 *   cannot be read from swap, or it is memory that cannot be pinned, such as
 *   that of a device. -EPERM,
 *   -EINVAL: the file was sealed or has shrunk meanwhile.
 * - -EINVAL: the memory lies in smaller physical pieces than the smallest page of
 *   an attached device's IOMMU.
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
 * @IOMMU_UNMAP_DMA_REVOKE: Remove first what children have mapped of the range, and
 *                          what their children have mapped of that: always whole
 *                          mappings, also if a part of one lies elsewhere. Each is
 *                          reported by EVENT_FD.
 */
enum iommu_unmap_dma_flags {
	IOMMU_UNMAP_DMA_ALL = 1 << 0,
	IOMMU_UNMAP_DMA_GET_DIRTY = 1 << 1,
	IOMMU_UNMAP_DMA_REVOKE = 1 << 2,
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
 *   ALL or REVOKE, or @page_size or @bitmap is not 0 without GET_DIRTY; @iova or
 *   @length is not 0 with ALL; or without it @length is 0 or not a multiple of
 *   the alignment.
 * - -EOVERFLOW: @iova + @length wraps.
 * - With GET_DIRTY -EOVERFLOW, -EINVAL, -EFAULT, -ENOMEM, -EINTR as DIRTY_GET.
 * - -EINVAL: the first or the last byte of the range cuts a mapping.
 * - -EBUSY: a child shows some of the range, without REVOKE; or an in-kernel user,
 *   with REVOKE also one of a descendant, does not let go. Nothing was removed.
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
 * enum iommu_batch_entry_flags - What an entry of a MAP_BATCH is, besides a map
 * @IOMMU_BATCH_ENTRY_UNMAP: It is an unmap. All other flags must be 0 (-EOPNOTSUPP),
 *                           and so must fd and src (-EINVAL).
 */
enum iommu_batch_entry_flags {
	IOMMU_BATCH_ENTRY_UNMAP = 1 << 8,
};

/**
 * struct iommu_batch_entry - One of many maps and unmaps
 * @flags: Combination of &enum iommu_map_dma_flags but ALLOC_IOVA, or one of
 *         &enum iommu_batch_entry_flags
 * @fd: As in &struct iommu_map_dma
 * @iova: As in &struct iommu_map_dma or &struct iommu_unmap_dma
 * @src: As in &struct iommu_map_dma
 * @length: As in &struct iommu_map_dma or &struct iommu_unmap_dma
 */
struct iommu_batch_entry {
	__u32 flags;
	__s32 fd;
	__aligned_u64 iova;
	__aligned_u64 src;
	__aligned_u64 length;
};

/**
 * struct iommu_map_batch - ioctl(IOMMU_MAP_BATCH)
 * @size: sizeof(struct iommu_map_batch)
 * @flags: Must be 0
 * @ioasid: The IOASID
 * @num_entries: Input: number of elements at @entries, 1 to IOMMU_MAP_BATCH_MAX.
 *               Output: how many of them took effect
 * @entries: Address of an array of &struct iommu_batch_entry; it is only read
 * @unmapped: Output: sum of the lengths of the mappings that were removed,
 *            without those that were replaced
 *
 * Does what MAP_DMA and UNMAP_DMA would do for each entry, in this order, and stops
 * at the first that fails, with the errno of that. It and those behind it have
 * changed nothing. @num_entries and @unmapped are written if it fails, too.
 *
 * The IOMMU is flushed as often as needed and not for each entry: when the call
 * returns, no device reaches what was unmapped.
 *
 * The same can be asked for through io_uring: an IORING_OP_URING_CMD on the open
 * /dev/iommu with cmd_op = IOMMU_MAP_BATCH, and the address of this structure as
 * the first 8 bytes of cmd (&struct iommu_uring_cmd). The completion's result is 0
 * or the negative errno.
 *
 * -EINVAL: @num_entries is 0 or too large. -EOPNOTSUPP: flags of an entry that this
 * kernel does not know, or that do not go together with UNMAP. What MAP_DMA and
 * UNMAP_DMA fail with: -EACCES, -EBADF, -EBUSY, -EEXIST, -EFAULT, -EINTR, -EINVAL,
 * -ENOENT, -ENOMEM, -ENOSPC, -EOVERFLOW, -EPERM.
 */
struct iommu_map_batch {
	__u32 size;
	__u32 flags;
	__u32 ioasid;
	__u32 num_entries;
	__aligned_u64 entries;
	__aligned_u64 unmapped;
};

#define IOMMU_MAP_BATCH _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_MAP_BATCH)

/**
 * struct iommu_uring_cmd - What cmd of an IORING_OP_URING_CMD holds
 * @arg: Address of the structure that the ioctl with the number cmd_op takes
 * @__reserved: Must be 0 (-EINVAL)
 *
 * There is IOMMU_MAP_BATCH; any other cmd_op fails with -ENOTTY.
 */
struct iommu_uring_cmd {
	__aligned_u64 arg;
	__aligned_u64 __reserved;
};

/**
 * enum iommu_event_type - What has happened
 * @IOMMU_EVENT_USED: A first device is attached to the IOASID, with its plain DMA or
 *                    with a PASID: from before this event on hardware follows what
 *                    is mapped. @iova and @length are 0.
 * @IOMMU_EVENT_UNUSED: The last one has been detached. @iova and @length are 0.
 * @IOMMU_EVENT_REVOKED: A mapping was removed because its source was, by
 *                       @IOMMU_UNMAP_DMA_REVOKE. @iova and @length say which.
 * @IOMMU_EVENT_WINDOW_LOST: The platform has closed a window for a device, because
 *                           another device was added to its partitionable endpoint
 *                           (POWER). It comes back when the device is detached and
 *                           attached again. @iova and @length say which.
 * @IOMMU_EVENT_LOST: Events that came here were lost, because nobody has read
 *                    for too long. All else is 0.
 */
enum iommu_event_type {
	IOMMU_EVENT_USED = 1,
	IOMMU_EVENT_UNUSED = 2,
	IOMMU_EVENT_REVOKED = 3,
	IOMMU_EVENT_LOST = 4,
	IOMMU_EVENT_WINDOW_LOST = 5,
};

/**
 * struct iommu_event - What an event file is read in units of
 * @type: One of &enum iommu_event_type
 * @ioasid: The IOASID that it happened to
 * @iova: First address
 * @length: Length in bytes
 */
struct iommu_event {
	__u32 type;
	__u32 ioasid;
	__aligned_u64 iova;
	__aligned_u64 length;
};

/**
 * struct iommu_event_fd - ioctl(IOMMU_EVENT_FD)
 * @size: sizeof(struct iommu_event_fd)
 * @flags: Must be 0
 * @fd: Output: a new file descriptor, close-on-exec
 * @__reserved: Must be 0
 *
 * From now on, what happens to IOASIDs of this context can be read from @fd, as many
 * &struct iommu_event as there are and fit; read() waits for one unless the file
 * is non-blocking (EAGAIN) and refuses room for less than one (EINVAL). poll() says
 * when there is one (EPOLLIN), and that the context has gone (EPOLLHUP); read() then
 * returns what is left, and 0.
 *
 * The file does not keep the context. 1024 events wait to be read at most.
 *
 * -EBUSY: the context has one already, which is still open. Fails as open() does if
 * no file descriptor is free.
 */
struct iommu_event_fd {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 __reserved;
};

#define IOMMU_EVENT_FD _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_EVENT_FD)

/**
 * enum iommu_eeh_op - What DEVICE_EEH does
 * @IOMMU_EEH_DISABLE: Freeze the endpoint on errors no more.
 * @IOMMU_EEH_ENABLE: Freeze it on errors. If it is frozen, let it go on.
 * @IOMMU_EEH_UNFREEZE_IO: Let a frozen endpoint's registers be read and written.
 * @IOMMU_EEH_UNFREEZE_DMA: Let a frozen endpoint do DMA.
 * @IOMMU_EEH_GET_STATE: Tell the endpoint's state.
 * @IOMMU_EEH_RESET_DEACTIVATE: End a reset.
 * @IOMMU_EEH_RESET_HOT: Begin a hot reset.
 * @IOMMU_EEH_RESET_FUNDAMENTAL: Begin a fundamental reset.
 * @IOMMU_EEH_CONFIGURE: Configure bridges and devices after a reset.
 * @IOMMU_EEH_INJECT_ERR: Let an error happen. EIO below a hypervisor.
 *
 * They are numbered and do what VFIO_EEH_PE_OP of a VFIO container does, but for
 * INJECT_ERR. On bare metal a hot reset is a fundamental one.
 */
enum iommu_eeh_op {
	IOMMU_EEH_DISABLE = 0,
	IOMMU_EEH_ENABLE = 1,
	IOMMU_EEH_UNFREEZE_IO = 2,
	IOMMU_EEH_UNFREEZE_DMA = 3,
	IOMMU_EEH_GET_STATE = 4,
	IOMMU_EEH_RESET_DEACTIVATE = 5,
	IOMMU_EEH_RESET_HOT = 6,
	IOMMU_EEH_RESET_FUNDAMENTAL = 7,
	IOMMU_EEH_CONFIGURE = 8,
	IOMMU_EEH_INJECT_ERR = 9,
};

/**
 * struct iommu_device_eeh - ioctl(IOMMU_DEVICE_EEH)
 * @size: sizeof(struct iommu_device_eeh)
 * @flags: Must be 0
 * @dev_id: The device, as VFIO_DEVICE_BIND_IOMMUFD returned it
 * @op: One of &enum iommu_eeh_op
 * @err_type: With INJECT_ERR as type of struct vfio_eeh_pe_err in linux/vfio.h, else 0
 * @err_func: With INJECT_ERR as func of that, else 0
 * @state: Output of GET_STATE: what VFIO_EEH_PE_GET_STATE in linux/vfio.h would return
 * @__reserved: Must be 0
 * @err_addr: With INJECT_ERR as addr of that, else 0
 * @err_mask: With INJECT_ERR as mask of that, else 0
 *
 * On POWER, an error of a device freezes its partitionable endpoint: reads give all
 * ones, and DMA is blocked. The program finds that out by GET_STATE, and recovers the
 * endpoint by a reset, or by letting it go on. That concerns all devices of the
 * endpoint; the kernel does nothing by itself as long as VFIO has one of them open.
 *
 * -EINVAL: no such @op, or what must be 0 is not. -EOPNOTSUPP: the device is not
 * behind such a host bridge. Behind one, ENODEV: the platform does not know it; EIO:
 * the platform has failed or refused.
 */
struct iommu_device_eeh {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__u32 op;
	__u32 err_type;
	__u32 err_func;
	__u32 state;
	__u32 __reserved;
	__aligned_u64 err_addr;
	__aligned_u64 err_mask;
};

#define IOMMU_DEVICE_EEH _IO(IOMMU_NATIVE_TYPE, IOMMU_NATIVE_CMD_DEVICE_EEH)

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
