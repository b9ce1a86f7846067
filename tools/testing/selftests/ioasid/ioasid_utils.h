/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of /dev/iommu share: calls that return a negative errno, and
 * what the kernel counts.
 */
#ifndef IOASID_UTILS_H
#define IOASID_UTILS_H

#include <linux/iommu.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define READ_ONLY	IOMMU_MAP_DMA_READ
#define WRITE_ONLY	IOMMU_MAP_DMA_WRITE
#define READ_WRITE	(IOMMU_MAP_DMA_READ | IOMMU_MAP_DMA_WRITE)

/* Reachable with the 28 address bits of edu, and not 0. */
#define TEST_IOVA	0x1000000ULL

/* Where interrupt messages go that the test IOMMU does not translate, as on x86 */
#define MSI_FIRST	0xfee00000ULL
#define MSI_LAST	0xfeefffffULL

#define HUGE_SIZE	(2UL << 20)
/* For mmap() and memfd_create() */
#define HUGE_2M		(21U << 26)

/* Of the CPU, in bytes. */
extern unsigned long page_size;
#define PAGE page_size

/*
 * Where devices may have nothing else, because of their interrupts: as above, or a
 * window for the pages that the kernel maps for those.
 */
extern __u64 msi_first, msi_last;

/* ---- calls; 0 or a negative errno ---- */

int iommu_open(void);
int iommu_call(int iommu, unsigned long command, void *arg);
int iommu_extension(int iommu, __u32 extension, __u32 arg, __u64 *value);
int iommu_device_info(int iommu, __u32 dev_id, struct iommu_device_info *info);
int iommu_device_cookie(int iommu, __u32 dev_id, __u64 cookie);

int ioasid_alloc_call(int iommu, struct iommu_ioasid_alloc *cmd, __u32 *ioasid);
int ioasid_alloc(int iommu, __u32 *ioasid);
int ioasid_alloc_prereg(int iommu, __u32 *ioasid);
int ioasid_alloc_child(int iommu, __u32 parent, __u32 *ioasid);
int ioasid_alloc_attr(int iommu, __u32 addr_width, __u32 snoop, __u32 *ioasid);
int ioasid_alloc_dirty(int iommu, __u32 *ioasid);
int ioasid_free(int iommu, __u32 ioasid);
int ioasid_info(int iommu, __u32 ioasid, struct iommu_ioasid_info *info);
int ioasid_totals(int iommu, __u32 ioasid, struct iommu_ioasid_info *info);
int ioasid_map(int iommu, __u32 ioasid, __u32 flags, const void *src,
	       __u64 iova, __u64 length);
int ioasid_map_alloc(int iommu, __u32 ioasid, __u32 flags, const void *src,
		     __u64 length, __u64 *iova);
int ioasid_map_file(int iommu, __u32 ioasid, __u32 flags, int fd, __u64 offset,
		    __u64 iova, __u64 length);
int ioasid_show(int iommu, __u32 child, __u32 flags, __u64 src, __u64 iova,
		__u64 length);
int ioasid_unmap_call(int iommu, __u32 ioasid, __u32 flags, __u64 iova,
		      __u64 length, __u64 *unmapped);
int ioasid_unmap(int iommu, __u32 ioasid, __u64 iova, __u64 length,
		 __u64 *unmapped);
int ioasid_unmap_all(int iommu, __u32 ioasid, __u64 *unmapped);
int ioasid_revoke(int iommu, __u32 ioasid, __u64 iova, __u64 length,
		  __u64 *unmapped);
int ioasid_batch(int iommu, __u32 ioasid,
		 const struct iommu_batch_entry *entries, __u32 *num,
		 __u64 *unmapped);
int ioasid_window_create(int iommu, __u32 ioasid, __u32 flags, __u64 page_size,
			 __u64 *iova, __u64 length);
int ioasid_window_remove(int iommu, __u32 ioasid, __u64 iova);
bool ioasid_permits(int iommu, __u32 ioasid, const struct iommu_range *ranges,
		    __u32 num);
int ioasid_ranges(int iommu, __u32 ioasid, struct iommu_range *ranges,
		  __u32 *num);
int event_open(int iommu);
int event_next(int events, struct iommu_event *event);

int ioasid_unmap_dirty(int iommu, __u32 ioasid, __u64 iova, __u64 length,
		       __u64 size, void *bitmap);
int dirty_start(int iommu, __u32 ioasid);
int dirty_stop(int iommu, __u32 ioasid);
int dirty_get(int iommu, __u32 ioasid, __u32 flags, __u64 iova, __u64 length,
	      __u64 size, void *bitmap);

int vfio_open(const char *cdev);
int vfio_bind(int device, int iommu, __u32 *dev_id);
int vfio_attach(int device, __u32 ioasid);
int vfio_detach(int device);
int vfio_attach_pasid(int device, __u32 pasid, __u32 ioasid);
int vfio_detach_pasid(int device, __u32 pasid);

/* ---- what the kernel counts ---- */

/**
 * struct counts - Memory that the kernel keeps for somebody
 * @pins: Page pins that are taken, in the whole system
 * @locked: VmLck of this process, in bytes
 * @pinned: VmPin of this process, in bytes
 */
struct counts {
	long pins;
	long locked;
	long pinned;
};

long tables_charged(void);
int counts_read(struct counts *counts);
bool counts_equal(const struct counts *a, const struct counts *b);
bool counts_settle(const struct counts *want, struct counts *now);
long process_locked(pid_t pid);

/* ---- odds and ends ---- */

void *mem_alloc(size_t size);
void fill_pattern(void *mem, size_t length, unsigned int seed);
bool has_pattern(const void *mem, size_t length, unsigned int seed);
bool all_bytes(const void *mem, size_t length, unsigned char value);

int file_read(const char *path, char *buf, size_t size);
int file_write(const char *path, const char *text);
long param_get(const char *name);
int param_set(const char *name, long value);

int drop_ipc_lock(void);
double seconds(void);

/* ---- another process ---- */

/**
 * struct actor - A process that does one thing after the other when it is told to
 * @pid: Its number
 * @to: Where it is told what to do
 * @from: Where it says what came of it
 */
struct actor {
	pid_t pid;
	int to;
	int from;
};

int actor_start(struct actor *actor, int (*act)(void *arg, int step),
		void *arg);
int actor_do(struct actor *actor, int step);
void actor_end(struct actor *actor);

/*
 * For a fixture: COUNTS_BEGIN() in its setup; COUNTS_END() at the end of its
 * teardown, when all files are closed and all memory must be let go.
 */
#define COUNTS_BEGIN(begin) ASSERT_EQ(0, counts_read(begin))
#define COUNTS_END(begin) do { \
	const struct counts *__then = (begin); \
	struct counts __now; \
	bool __settled = counts_settle(__then, &__now); \
	EXPECT_TRUE(__settled); \
	if (!__settled) \
		TH_LOG("left behind: %ld pins, %ld bytes locked, %ld pinned", \
		       __now.pins - __then->pins, \
		       __now.locked - __then->locked, \
		       __now.pinned - __then->pinned); \
} while (0)

#endif
