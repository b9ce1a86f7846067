/* SPDX-License-Identifier: GPL-2.0-only */
/* Commands to /dev/iommu through io_uring, without a library for it. */
#ifndef URING_UTILS_H
#define URING_UTILS_H

#include <linux/types.h>
#include <stddef.h>

/**
 * struct uring - A ring for one request at a time
 * @fd: Its file, or -1
 * @flags: What it was made with
 * @sq: Both rings, and their @size
 * @sqes: Entries for requests, and their @sqes_size
 * @sq_tail: Behind the last request
 * @sq_mask: Of indices
 * @sq_array: Which entry is meant
 * @sq_flags: What the kernel says of the ring
 * @size: Size of the rings, in bytes
 * @sqes_size: Size of @sqes, in bytes
 * @cq_head: The first completion that was not read
 * @cq_tail: Behind the last completion
 * @cq_mask: Of indices
 * @cqes: Completions
 */
struct uring {
	int fd;
	unsigned int flags;
	void *sq;
	size_t size;
	struct io_uring_sqe *sqes;
	size_t sqes_size;
	unsigned int *sq_tail;
	unsigned int sq_mask;
	unsigned int *sq_array;
	unsigned int *sq_flags;
	unsigned int *cq_head;
	unsigned int *cq_tail;
	unsigned int cq_mask;
	struct io_uring_cqe *cqes;
};

int uring_open(struct uring *ring, unsigned int flags);
void uring_close(struct uring *ring);
int uring_call(struct uring *ring, int fd, __u32 command, void *arg,
	       __u64 reserved);

#endif
