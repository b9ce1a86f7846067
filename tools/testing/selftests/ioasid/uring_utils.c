// SPDX-License-Identifier: GPL-2.0-only
/* Commands through io_uring; see uring_utils.h. */
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/iommu.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ioasid_utils.h"
#include "uring_utils.h"

#define ENTRIES	4

/* @flags: IORING_SETUP_SQPOLL, or 0. Return: 0 or a negative errno. */
int uring_open(struct uring *ring, unsigned int flags)
{
	struct io_uring_params params = { .flags = flags };
	size_t end;

	memset(ring, 0, sizeof(*ring));
	params.sq_thread_idle = 100;
	ring->flags = flags;
	ring->fd = syscall(SYS_io_uring_setup, ENTRIES, &params);
	if (ring->fd < 0)
		return -errno;
	/* Both rings are in the same memory, in whatever order. */
	ring->size = params.cq_off.cqes +
		     params.cq_entries * sizeof(struct io_uring_cqe);
	end = params.sq_off.array + params.sq_entries * sizeof(unsigned int);
	if (ring->size < end)
		ring->size = end;
	ring->sqes_size = params.sq_entries * sizeof(struct io_uring_sqe);
	ring->sq = mmap(NULL, ring->size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, ring->fd,
			IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, ring->sqes_size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (ring->sq == MAP_FAILED || ring->sqes == MAP_FAILED) {
		uring_close(ring);
		return -ENOMEM;
	}
	ring->sq_tail = ring->sq + params.sq_off.tail;
	ring->sq_mask = *(unsigned int *)(ring->sq + params.sq_off.ring_mask);
	ring->sq_array = ring->sq + params.sq_off.array;
	ring->sq_flags = ring->sq + params.sq_off.flags;
	ring->cq_head = ring->sq + params.cq_off.head;
	ring->cq_tail = ring->sq + params.cq_off.tail;
	ring->cq_mask = *(unsigned int *)(ring->sq + params.cq_off.ring_mask);
	ring->cqes = ring->sq + params.cq_off.cqes;
	return 0;
}

void uring_close(struct uring *ring)
{
	if (ring->sq && ring->sq != MAP_FAILED)
		munmap(ring->sq, ring->size);
	if (ring->sqes && ring->sqes != MAP_FAILED)
		munmap(ring->sqes, ring->sqes_size);
	if (ring->fd >= 0)
		close(ring->fd);
	memset(ring, 0, sizeof(*ring));
	ring->fd = -1;
}

/* Tells the kernel that there is one request, and waits for a completion. */
static int submit(struct uring *ring)
{
	unsigned int flags = IORING_ENTER_GETEVENTS;

	if (ring->flags & IORING_SETUP_SQPOLL &&
	    __atomic_load_n(ring->sq_flags, __ATOMIC_SEQ_CST) &
		    IORING_SQ_NEED_WAKEUP)
		flags |= IORING_ENTER_SQ_WAKEUP;
	return syscall(SYS_io_uring_enter, ring->fd, 1, 1, flags, NULL, 0) < 0 ?
		       -errno : 0;
}

/*
 * The ioctl with the number @command as a request. @reserved: what its second
 * half is to hold. Return: what came of it, or why it could not be asked for.
 */
int uring_call(struct uring *ring, int fd, __u32 command, void *arg,
	       __u64 reserved)
{
	unsigned int tail = *ring->sq_tail, head = *ring->cq_head;
	unsigned int index = tail & ring->sq_mask;
	struct io_uring_sqe *sqe = &ring->sqes[index];
	struct iommu_uring_cmd cmd = {
		.arg = (uintptr_t)arg,
		.__reserved = reserved,
	};
	int rc;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = command;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
	ring->sq_array[index] = index;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_SEQ_CST);
	do {
		rc = submit(ring);
	} while (rc == -EINTR || (!rc && __atomic_load_n(ring->cq_tail,
							 __ATOMIC_SEQ_CST) ==
					 head));
	if (rc) {
		/* The kernel has not taken it, and must not do so later. */
		__atomic_store_n(ring->sq_tail, tail, __ATOMIC_SEQ_CST);
		return rc;
	}
	rc = ring->cqes[head & ring->cq_mask].res;
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_SEQ_CST);
	return rc;
}
