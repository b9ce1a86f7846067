/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that do everything with one context at the same time.
 *
 * All of them work on what struct world holds: some IOASIDs, which come and go,
 * and a few devices and in-kernel users. Whatever a call meets, its errno is one
 * of those that stand beside the operation. All memory is full of MARK all the
 * time, and nobody writes anything else there: a device or an in-kernel user that
 * finds something else has met memory that was given back.
 */
#ifndef STRESS_H
#define STRESS_H

#include <linux/types.h>
#include <pthread.h>
#include <stdbool.h>

#include "test_iommu_utils.h"

#define MARK		0x5a5a5a5a5a5a5a5aULL

#define NUM_SPACES	16
#define NUM_DEVICES	5
#define NUM_ACCESSES	2
#define MAX_THREADS	14
#define MAX_OPERATIONS	64
#define NUM_ERRNOS	134
/* Deep enough to have shadows of shadows of shadows */
#define MAX_DEPTH	4

/* Small pages, at TEST_IOVA in most IOASIDs */
#define SMALL_PAGES	64
/* A large one, which can be one entry of a page table */
#define LARGE_IOVA	(2 * TEST_IOVA)

/**
 * struct world - What all threads share, and the processes that they fork
 * @iommu: The context
 * @spaces: IOASIDs, each in a word that threads read and change as a whole: see
 *          struct space in stress_ops.c
 * @devices: Devices, all bound
 * @spare: A device for other contexts
 * @streams: Whether a channel of a device has been started
 * @accesses: In-kernel users, bound
 * @small: Memory, SMALL_PAGES pages
 * @large: Memory, HUGE_SIZE
 * @file: The same as @small in a file
 * @events: The file of the context's events
 * @stop: All is to end
 * @failed: Something is wrong, and @failure says what
 * @failure: Only the first one: what follows comes of it
 * @results: How often an operation has ended with which errno
 */
struct world {
	int iommu;
	__u64 spaces[NUM_SPACES];
	struct dma_device devices[NUM_DEVICES];
	struct dma_device spare;
	bool streams[NUM_DEVICES][IOASID_TEST_NUM_CHANNELS];
	int accesses[NUM_ACCESSES];
	char *small;
	char *large;
	int file;
	int events;
	bool stop;
	bool failed;
	char failure[256];
	unsigned long results[MAX_OPERATIONS][NUM_ERRNOS];
};

/**
 * struct worker - A thread
 * @world: What it works on
 * @number: Which it is
 * @random: State of its random numbers
 * @operation: What it does, index into operations
 * @forked: It is a process of its own, and may be killed at any time
 */
struct worker {
	struct world *world;
	unsigned int number;
	__u64 random;
	unsigned int operation;
	bool forked;
};

/**
 * struct operation - Something that a thread can do
 * @name: For people
 * @weight: How often, in relation to others
 * @forks: A process that may be killed can do it: it takes no lock, and leaves
 *         nothing to be tidied up
 * @run: Does it, and tells result() of each call
 * @errnos: What it may fail with, up to the first 0
 */
struct operation {
	const char *name;
	unsigned int weight;
	bool forks;
	void (*run)(struct worker *worker);
	int errnos[12];
};

extern const struct operation operations[];
extern const unsigned int num_operations;

/* stress.c */
__u64 random_below(struct worker *worker, __u64 limit);
bool one_in(struct worker *worker, unsigned int number);
void failure(struct world *world, const char *format, ...);
bool result(struct worker *worker, int rc);
void step(struct worker *worker);
bool is_marked(const void *mem, size_t length);
int make_file(void);
void mark(void *mem, size_t length);

/* stress_ops.c */
void device_check(struct world *world, unsigned int device,
		  unsigned int channel);
int events_open(struct world *world);

#endif
