/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Interface of the software IOMMU's test devices, as programs see it.
 *
 * A test device is a VFIO device whose DMA is done by the CPU, through the
 * translation of a software IOMMU. IOMMUs and devices are made and removed
 * below /sys/kernel/config/ioasid_test, see test_config.c.
 *
 * All addresses are I/O virtual addresses, all lengths and offsets are in
 * bytes, all numbers in the byte order of the CPU.
 */
#ifndef IOASID_TEST_DEVICE_H
#define IOASID_TEST_DEVICE_H

#include <linux/types.h>

/* Names of the platform devices: this, a dot, a number. */
#define IOASID_TEST_DEVICE	"ioasid-test"
/* A device of kind "kernel" has this driver, which does DMA for the kernel. */
#define IOASID_TEST_KERNEL	"ioasid-test-kernel"
#define IOASID_TEST_CONFIGFS	"/sys/kernel/config/ioasid_test"

/**
 * enum ioasid_test_region - VFIO regions of the device
 * @IOASID_TEST_REGISTERS: Global registers, then a page of registers for each
 *                         channel. For read() and write(), not for mmap().
 * @IOASID_TEST_BUFFER: Memory of the device, for read(), write() and mmap().
 *                      What is mapped cannot be pinned, as that of a BAR.
 * @IOASID_TEST_NUM_REGIONS: How many there are
 */
enum ioasid_test_region {
	IOASID_TEST_REGISTERS = 0,
	IOASID_TEST_BUFFER = 1,
	IOASID_TEST_NUM_REGIONS,
};

#define IOASID_TEST_BUFFER_SIZE		0x10000
#define IOASID_TEST_NUM_CHANNELS	4
#define IOASID_TEST_CHANNEL_SIZE	0x1000
/* Offset of the registers of a channel in region 0 */
#define IOASID_TEST_CHANNEL(n)		((1 + (n)) * IOASID_TEST_CHANNEL_SIZE)
#define IOASID_TEST_REGISTERS_SIZE	IOASID_TEST_CHANNEL(IOASID_TEST_NUM_CHANNELS)

/**
 * enum ioasid_test_irq - VFIO interrupts of the device, all by eventfd
 * @IOASID_TEST_IRQ_MSI: The device raises them: IOASID_TEST_NUM_MSI vectors
 * @IOASID_TEST_IRQ_REQ: VFIO asks the program to close the device
 * @IOASID_TEST_NUM_IRQS: How many there are
 */
enum ioasid_test_irq {
	IOASID_TEST_IRQ_MSI = 0,
	IOASID_TEST_IRQ_REQ = 1,
	IOASID_TEST_NUM_IRQS,
};

#define IOASID_TEST_NUM_MSI	8

#define IOASID_TEST_MAGIC	0x10a51d01

/**
 * struct ioasid_test_globals - Global registers, at offset 0 of region 0
 * @magic: IOASID_TEST_MAGIC
 * @num_channels: How many channels there are
 * @accesses: Accesses to memory, each within one 4 KiB page
 * @tlb_hits: Accesses whose translation was in the IOMMU's cache
 * @walks: Walks of page tables
 * @faults: Accesses that the IOMMU has refused
 * @page_requests: Page requests
 * @page_responses: Those that were answered with "success"
 * @interrupts: Interrupts that were raised
 * @delivered: Those that have arrived at the CPU
 * @raise: Write only: raises the interrupt with this number
 * @reset: Write only: any value stops all channels and clears the counters
 *
 * Counters count since the device was opened. Read only but for the last two;
 * these are written alone, as four bytes.
 */
struct ioasid_test_globals {
	__u32 magic;
	__u32 num_channels;
	__u64 accesses;
	__u64 tlb_hits;
	__u64 walks;
	__u64 faults;
	__u64 page_requests;
	__u64 page_responses;
	__u64 interrupts;
	__u64 delivered;
	__u32 raise;
	__u32 reset;
};

/**
 * enum ioasid_test_op - What a channel does
 * @IOASID_TEST_STOP: Stop a channel that runs on; writing it waits for the end
 *                    of the access under way.
 * @IOASID_TEST_READ: Copy from @iova to the device's buffer at @other.
 * @IOASID_TEST_WRITE: Copy from the device's buffer at @other to @iova.
 * @IOASID_TEST_COPY: Copy from @iova to the address @other.
 * @IOASID_TEST_FILL: Write @pattern to @iova.
 * @IOASID_TEST_COMPARE: Compare what is at @iova to @pattern and @pattern2.
 * @IOASID_TEST_TOUCH_READ: Read, and forget.
 *
 * Patterns are eight bytes that repeat from an address that is a multiple of
 * eight.
 */
enum ioasid_test_op {
	IOASID_TEST_STOP = 0,
	IOASID_TEST_READ = 1,
	IOASID_TEST_WRITE = 2,
	IOASID_TEST_COPY = 3,
	IOASID_TEST_FILL = 4,
	IOASID_TEST_COMPARE = 5,
	IOASID_TEST_TOUCH_READ = 6,
};

/**
 * enum ioasid_test_flags - How a channel does it
 * @IOASID_TEST_ASYNC: The write() that starts it does not wait for its end.
 * @IOASID_TEST_FOREVER: Do it again and again, until a fault or STOP; implies
 *                       ASYNC.
 * @IOASID_TEST_KEEP_GOING: A fault does not end it: what it hit is skipped.
 * @IOASID_TEST_PASID: DMA is tagged with @pasid.
 * @IOASID_TEST_PAGE_REQUEST: Where the IOMMU has no translation, or not this
 *                            permission, ask for it by a page request and try
 *                            again when that was answered.
 * @IOASID_TEST_IRQ: Raise interrupt @irq at the end, with FOREVER at the end of
 *                   each round.
 */
enum ioasid_test_flags {
	IOASID_TEST_ASYNC = 1 << 0,
	IOASID_TEST_FOREVER = 1 << 1,
	IOASID_TEST_KEEP_GOING = 1 << 2,
	IOASID_TEST_PASID = 1 << 3,
	IOASID_TEST_PAGE_REQUEST = 1 << 4,
	IOASID_TEST_IRQ = 1 << 5,
};

/**
 * enum ioasid_test_fault - Why an access was refused
 * @IOASID_TEST_FAULT_NONE: It was not.
 * @IOASID_TEST_FAULT_BLOCKED: The device, or the PASID, has no address space.
 * @IOASID_TEST_FAULT_ADDRESS: The address has more bits than the IOMMU.
 * @IOASID_TEST_FAULT_NOT_PRESENT: There is no translation.
 * @IOASID_TEST_FAULT_PERMISSION: It does not allow this access.
 * @IOASID_TEST_FAULT_TABLE: An entry of a page table is malformed.
 * @IOASID_TEST_FAULT_NO_MEMORY: It leads to something that is no memory.
 * @IOASID_TEST_FAULT_REQUEST: A page request was denied.
 * @IOASID_TEST_FAULT_INTERRUPT: The address belongs to interrupts.
 */
enum ioasid_test_fault {
	IOASID_TEST_FAULT_NONE = 0,
	IOASID_TEST_FAULT_BLOCKED = 1,
	IOASID_TEST_FAULT_ADDRESS = 2,
	IOASID_TEST_FAULT_NOT_PRESENT = 3,
	IOASID_TEST_FAULT_PERMISSION = 4,
	IOASID_TEST_FAULT_TABLE = 5,
	IOASID_TEST_FAULT_NO_MEMORY = 6,
	IOASID_TEST_FAULT_REQUEST = 7,
	IOASID_TEST_FAULT_INTERRUPT = 8,
};

/**
 * struct ioasid_test_command - What a program writes to a channel
 * @op: enum ioasid_test_op
 * @flags: enum ioasid_test_flags
 * @pasid: With PASID
 * @irq: With IRQ
 * @iova: Where
 * @other: The other address, or offset in the buffer
 * @length: How much; 0 does nothing
 * @step: Size of an access, 1 to 4096, a power of two; 0 is 4096. No access
 *        crosses a multiple of it.
 * @pattern: For FILL and COMPARE
 * @pattern2: For COMPARE
 *
 * Written as a whole, at the channel's offset. A running channel is -EBUSY for
 * all but STOP. Without ASYNC the write() returns when all is done, or with
 * -EINTR when the process is killed.
 */
struct ioasid_test_command {
	__u32 op;
	__u32 flags;
	__u32 pasid;
	__u32 irq;
	__u64 iova;
	__u64 other;
	__u64 length;
	__u64 step;
	__u64 pattern;
	__u64 pattern2;
};

/**
 * struct ioasid_test_status - What a channel tells, behind its command
 * @running: 1 while it runs
 * @fault: enum ioasid_test_fault of the latest fault
 * @fault_iova: Its address
 * @faults: How many there were
 * @rounds: How often the whole command was done
 * @bytes: Bytes done, over all rounds
 * @matches: COMPARE: accesses that found nothing but @pattern
 * @matches2: COMPARE: accesses that found nothing but @pattern2
 * @mismatches: COMPARE: accesses that found anything else
 * @mismatch_iova: COMPARE: where the first of those was
 *
 * Counts since the command was written.
 */
struct ioasid_test_status {
	__u32 running;
	__u32 fault;
	__u64 fault_iova;
	__u64 faults;
	__u64 rounds;
	__u64 bytes;
	__u64 matches;
	__u64 matches2;
	__u64 mismatches;
	__u64 mismatch_iova;
};

/* Offset of the status in a channel's registers */
#define IOASID_TEST_STATUS	0x100

/**
 * struct ioasid_test_hwpt_data - Data for a stage-1 table in user memory
 * @table: Address of the top table, in the address space of the parent
 * @levels: 3, 4 or 5
 * @__reserved: Must be 0
 *
 * Format: IA-32e paging, as VT-d's first-stage translation (Intel VT-d
 * specification, 3.6): bits P, R/W, PS and the address; U/S must be set, and
 * A and D are never updated. Used with the data type IOASID_TEST_DATA_TYPE.
 */
struct ioasid_test_hwpt_data {
	__u64 table;
	__u32 levels;
	__u32 __reserved;
};

/**
 * struct ioasid_test_invalidate - An invalidation of a stage-1 table
 * @first: First address
 * @last: Last address, inclusive
 */
struct ioasid_test_invalidate {
	__u64 first;
	__u64 last;
};

/**
 * struct ioasid_test_hw_info - Hardware information of the IOMMU
 * @page_sizes: As configured
 * @width: As configured
 * @nesting: Whether stage-1 tables can be in user memory
 */
struct ioasid_test_hw_info {
	__u64 page_sizes;
	__u32 width;
	__u32 nesting;
};

#define IOASID_TEST_DATA_TYPE	0x10a51d

#endif
