/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of the benchmark: memory whose physical layout is known, and the
 * interfaces that are compared. Calls return 0 or a negative errno.
 */
#ifndef BENCH_H
#define BENCH_H

#include "device_utils.h"
#include "ioasid_utils.h"

/* ---- memory ---- */

/**
 * enum layout - Memory whose physical layout is made, not found
 * @SCATTERED: Small pages, no two neighbours of which are physically adjacent
 * @CONTIGUOUS: Small pages in physical runs of 2 MiB
 * @THP: Transparent huge pages of 2 MiB
 * @HUGETLB: hugetlb pages of 2 MiB
 * @MEMFD: A memfd of small pages in physical runs of 2 MiB
 *
 * No two neighbouring runs or huge pages are adjacent either. What a fresh
 * machine would give differs from boot to boot, and long runs are cheaper.
 */
enum layout {
	SCATTERED,
	CONTIGUOUS,
	THP,
	HUGETLB,
	MEMFD,
};

/**
 * struct memory - Memory to map
 * @layout: Its layout
 * @at: Where the process has it
 * @size: Its size in bytes
 * @fd: The file that it is mapped from, or -1
 * @reserved: The address space around it
 * @reserved_size: Size of that
 */
struct memory {
	enum layout layout;
	char *at;
	size_t size;
	int fd;
	char *reserved;
	size_t reserved_size;
};

int memory_make(struct memory *memory, enum layout layout, size_t size);
void memory_free(struct memory *memory);
int memory_runs(const struct memory *memory, size_t part, __u64 *pages,
		__u64 *runs);

/* ---- candidates ---- */

/**
 * struct session - An address space and two devices, through one candidate
 * @apart: Set before it is opened: the devices are behind an IOMMU each, so that
 *         they cannot share a page table
 * @iommu: Context: /dev/iommu, or the container
 * @space: Identifier of the address space, if the candidate has any
 * @parent: Of the address space in whose addresses that one is mapped, or 0
 * @dev: The devices; of VFIO groups, @group stands for them
 * @group: Open files of the devices' VFIO groups, or -1
 */
struct session {
	bool apart;
	int iommu;
	__u32 space;
	__u32 parent;
	struct dma_device dev[2];
	int group[2];
};

/**
 * struct candidate - An interface to give memory to devices
 * @name: What it is called
 * @memfd: How it maps a memfd
 * @maps_before_attach: Whether memory can be mapped before the first device is
 *                      attached
 * @open: Makes the address space; both devices are opened and bound, neither is
 *        attached
 * @close: Closes everything
 * @attach: Attaches device 0 or 1; 0 comes first
 * @detach: Detaches it
 * @map: Maps memory of the process, to be read and written
 * @map_file: Maps a memfd; NULL if only its pages in the process can be mapped
 * @unmap: Removes what one or many calls of @map have mapped
 * @open_child: As @open, but the memory is registered at an address of a parent,
 *              and what is mapped then are addresses of the parent; NULL if there
 *              is no such thing
 * @vector: Many maps and unmaps in one call, which tells how many bytes it has
 *          removed; NULL if there is none
 * @another: Makes one more address space of the same kind in the same context,
 *           with the same devices; it is closed with the first. NULL if that needs
 *           another context
 */
struct candidate {
	const char *name;
	const char *memfd;
	bool maps_before_attach;
	int (*open)(struct session *session);
	void (*close)(struct session *session);
	int (*attach)(struct session *session, int which);
	int (*detach)(struct session *session, int which);
	int (*map)(struct session *session, __u64 iova, void *at, size_t size);
	int (*map_file)(struct session *session, __u64 iova, int fd,
			__u64 offset, size_t size);
	int (*unmap)(struct session *session, __u64 iova, size_t size);
	int (*open_child)(struct session *session, __u64 at, void *memory,
			  size_t size);
	int (*vector)(struct session *session,
		      const struct iommu_batch_entry *entries,
		      unsigned int num, __u64 *unmapped);
	int (*another)(const struct session *session, struct session *other);
};

extern const struct candidate candidates[];
extern const int num_candidates;

const struct candidate *candidate_find(const char *name);
bool devices_found(bool apart);

/*
 * The edges of what is profiled, found in a trace by their addresses; here and
 * not where they are called, so that they are calls.
 */
void bench_begin(void);
void bench_end(void);

#endif
