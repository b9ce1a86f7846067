/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Commands to the access test device, for the driver and its users.
 *
 * Region 0 of the device is an array of slots. A write() of a command at the
 * start of a slot executes the command; a read() of the slot gives the command
 * back with its results. Commands in different slots run in parallel, so each
 * thread takes a slot of its own.
 */
#ifndef _IOASID_ACCESS_DEVICE_H
#define _IOASID_ACCESS_DEVICE_H

#include <linux/types.h>

#define IOASID_ACCESS_DRIVER "ioasid_access_test"

#define IOASID_ACCESS_NUM_SLOTS 16
#define IOASID_ACCESS_SLOT_SIZE 16384
#define IOASID_ACCESS_REGION_SIZE \
	(IOASID_ACCESS_NUM_SLOTS * IOASID_ACCESS_SLOT_SIZE)

/* The most pages of one pin, and the most pins at a time. */
#define IOASID_ACCESS_PIN_PAGES 512
#define IOASID_ACCESS_NUM_PINS 1024

/**
 * enum ioasid_access_op - What the device can be told to do
 * @IOASID_ACCESS_PIN: Pin @length bytes from @iova on, both multiples of the
 *                     page size, for what @flags says. The same range may be
 *                     pinned several times. -ENOSPC if there are too many pins.
 * @IOASID_ACCESS_UNPIN: Undo the latest pin of exactly @iova and @length.
 *                       -ENOENT if there is none.
 * @IOASID_ACCESS_PEEK: Copy from pinned pages to @data. -ENOENT if no single
 *                      pin covers the range.
 * @IOASID_ACCESS_POKE: Copy from @data to pinned pages. -ENOENT if no single
 *                      pin for writing covers the range.
 * @IOASID_ACCESS_READ: Copy from the address space to @data without a pin.
 * @IOASID_ACCESS_WRITE: Copy from @data to the address space without a pin.
 * @IOASID_ACCESS_POLICY: What to do with pins that an unmap wants back; @flags
 *                        is one of &enum ioasid_access_policy.
 * @IOASID_ACCESS_STAT: Put a &struct ioasid_access_stat into @data.
 */
enum ioasid_access_op {
	IOASID_ACCESS_PIN = 1,
	IOASID_ACCESS_UNPIN = 2,
	IOASID_ACCESS_PEEK = 3,
	IOASID_ACCESS_POKE = 4,
	IOASID_ACCESS_READ = 5,
	IOASID_ACCESS_WRITE = 6,
	IOASID_ACCESS_POLICY = 7,
	IOASID_ACCESS_STAT = 8,
};

/**
 * enum ioasid_access_flags - Flags of commands
 * @IOASID_ACCESS_PIN_READ: PIN: the device will read the pages.
 * @IOASID_ACCESS_PIN_WRITE: PIN: the device will write the pages. At least one
 *                           of the two must be set.
 * @IOASID_ACCESS_STAT_RESET: STAT: clear the counters after they were read.
 */
enum ioasid_access_flags {
	IOASID_ACCESS_PIN_READ = 1 << 0,
	IOASID_ACCESS_PIN_WRITE = 1 << 1,
	IOASID_ACCESS_STAT_RESET = 1 << 0,
};

/**
 * enum ioasid_access_policy - What happens to pins that an unmap wants back
 * @IOASID_ACCESS_RELEASE: They are undone, as every driver has to do.
 * @IOASID_ACCESS_STUBBORN: They are kept, unless the whole address space is
 *                          taken away, where nobody could handle that.
 */
enum ioasid_access_policy {
	IOASID_ACCESS_RELEASE = 0,
	IOASID_ACCESS_STUBBORN = 1,
};

/**
 * struct ioasid_access_cmd - A command and its results
 * @op: One of &enum ioasid_access_op
 * @flags: As @op says, else 0
 * @result: Output: 0 or a negative errno. Input: must be 0
 * @__reserved: Must be 0
 * @iova: Address in the address space, 0 where @op has none
 * @length: Length in bytes, 0 where @op has none
 * @data: Data to copy, or copied; up to the end of the slot
 *
 * The write() fails, with -EINVAL in most cases, if the device does not
 * understand the command; the slot is undefined then. Otherwise it succeeds and
 * @result says what became of the command.
 */
struct ioasid_access_cmd {
	__u32 op;
	__u32 flags;
	__s32 result;
	__u32 __reserved;
	__aligned_u64 iova;
	__aligned_u64 length;
	__u8 data[];
};

#define IOASID_ACCESS_MAX_DATA \
	(IOASID_ACCESS_SLOT_SIZE - sizeof(struct ioasid_access_cmd))

/**
 * struct ioasid_access_stat - State and counters of the device
 * @num_pins: Pins that it holds
 * @num_pages: Pages of all these pins together
 * @num_unmaps: Calls of dma_unmap since the device was opened, or since RESET
 * @num_released: Pins that those calls have undone
 * @num_kept: Pins that those calls should have undone but have not
 * @last_iova: Range of the latest call
 * @last_length: Range of the latest call
 * @hit_iova: Range of the latest call that asked for a pin
 * @hit_length: Range of the latest call that asked for a pin
 */
struct ioasid_access_stat {
	__aligned_u64 num_pins;
	__aligned_u64 num_pages;
	__aligned_u64 num_unmaps;
	__aligned_u64 num_released;
	__aligned_u64 num_kept;
	__aligned_u64 last_iova;
	__aligned_u64 last_length;
	__aligned_u64 hit_iova;
	__aligned_u64 hit_length;
};

#endif
