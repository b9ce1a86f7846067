// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the threads of the stress test can do; see stress.h.
 *
 * Files that somebody uses are closed under a lock: else a thread would use the
 * number for what is opened next.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "access_utils.h"
#include "ioasid_utils.h"
#include "iommufd_utils.h"
#include "stress.h"

/* Engines are threads of the kernel, which take their time from all others. */
#define MAX_STREAMS	2
#define MAX_BATCH	16
#define MAX_ROOTS	5
#define NUM_PASIDS	3

/* Held for writing while another process has copies of all open files */
static pthread_rwlock_t fork_lock = PTHREAD_RWLOCK_INITIALIZER;

static pthread_rwlock_t device_locks[NUM_DEVICES] = {
	[0 ... NUM_DEVICES - 1] = PTHREAD_RWLOCK_INITIALIZER,
};

static pthread_rwlock_t file_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t events_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- IOASIDs ---- */

/* A bit each, to look for several */
enum kind {
	KIND_ROOT = 1,
	KIND_PREREG = 2,
	KIND_DIRTY = 4,
	KIND_CHILD = 8,
};

#define ROOTS	(KIND_ROOT | KIND_PREREG | KIND_DIRTY)
#define ANY	(ROOTS | KIND_CHILD)

/* It may have ended, and be another one by now, when it is used. */
struct space {
	__u32 id;
	enum kind kind;
	unsigned int depth;
};

static __u64 word_of(const struct space *space)
{
	return space->id | (__u64)space->kind << 32 | (__u64)space->depth << 48;
}

/* Return: whether there is one. */
static bool read_word(__u64 word, struct space *space)
{
	space->id = word;
	space->kind = word >> 32 & 0xffff;
	space->depth = word >> 48;
	return word;
}

static __u64 *random_slot(struct worker *worker)
{
	return &worker->world->spaces[random_below(worker, NUM_SPACES)];
}

/* Finds some IOASID of these kinds, unless there are only few. */
static bool pick(struct worker *worker, unsigned int kinds, struct space *space)
{
	int tries;

	for (tries = 0; tries < NUM_SPACES; tries++) {
		__u64 word = __atomic_load_n(random_slot(worker),
					     __ATOMIC_RELAXED);

		if (read_word(word, space) && kinds & space->kind)
			return true;
	}
	return false;
}

/* Return: whether there was a slot without one. */
static bool add_space(struct worker *worker, const struct space *space)
{
	int tries;

	for (tries = 0; tries < NUM_SPACES; tries++) {
		__u64 none = 0;

		if (__atomic_compare_exchange_n(random_slot(worker), &none,
						word_of(space), false,
						__ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			return true;
	}
	return false;
}

/* Only some: most places are for children. */
static bool room_for_root(const struct world *world)
{
	unsigned int i, num = 0;
	struct space space;

	for (i = 0; i < NUM_SPACES; i++) {
		if (read_word(__atomic_load_n(&world->spaces[i],
					      __ATOMIC_RELAXED), &space) &&
		    space.depth == 1)
			num++;
	}
	return num < MAX_ROOTS;
}

static int alloc_space(int iommu, __u32 type, __u32 parent, __u32 flags,
		       __u32 *id)
{
	struct iommu_ioasid_alloc cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.type = type,
		.parent = parent,
	};
	int rc = iommu_call(iommu, IOMMU_IOASID_ALLOC, &cmd);

	*id = cmd.ioasid;
	return rc;
}

/* ---- where ---- */

/* Most lie in a grid, so that what one maps can be what another unmaps. */
static void pick_range(struct worker *worker, __u64 *first, __u64 *length)
{
	static const unsigned int sizes[] = { 1, 1, 1, 2, 2, 4, 8, 8 };
	unsigned int pages, at;

	pages = one_in(worker, 32) ? SMALL_PAGES :
				     sizes[random_below(worker, 8)];
	if (one_in(worker, 8))
		at = random_below(worker, SMALL_PAGES - pages + 1);
	else
		at = random_below(worker, SMALL_PAGES / pages) * pages;
	*first = TEST_IOVA + at * PAGE;
	*length = pages * PAGE;
}

static __u32 pick_prot(struct worker *worker)
{
	switch (random_below(worker, 10)) {
	case 0:
		return READ_ONLY;
	case 1:
		return WRITE_ONLY;
	default:
		return READ_WRITE;
	}
}

/* What to map there, as an entry of a batch says it */
static void pick_map(struct worker *worker, const struct space *space,
		     struct iommu_batch_entry *entry)
{
	struct world *world = worker->world;
	unsigned int at;

	memset(entry, 0, sizeof(*entry));
	entry->flags = pick_prot(worker);
	if (one_in(worker, 16)) {
		entry->iova = LARGE_IOVA;
		entry->length = HUGE_SIZE;
		entry->src = space->kind == KIND_CHILD ?
				     LARGE_IOVA : (uintptr_t)world->large;
		return;
	}
	pick_range(worker, &entry->iova, &entry->length);
	at = random_below(worker, SMALL_PAGES - entry->length / PAGE + 1);
	if (space->kind == KIND_CHILD) {
		entry->src = TEST_IOVA + at * PAGE;
	} else if (one_in(worker, 8)) {
		entry->flags |= IOMMU_MAP_DMA_FILE;
		entry->fd = world->file;
		entry->src = at * PAGE;
	} else {
		entry->src = (uintptr_t)world->small + at * PAGE;
	}
}

/* As long as the file is named by its number; a process of its own has its own. */
static void file_begin(struct worker *worker)
{
	if (!worker->forked)
		pthread_rwlock_rdlock(&file_lock);
}

static void file_end(struct worker *worker)
{
	if (!worker->forked)
		pthread_rwlock_unlock(&file_lock);
}

/* ---- MAP and UNMAP ---- */

static void map_one(struct worker *worker, __u32 flags)
{
	struct iommu_batch_entry entry;
	struct iommu_map_dma cmd;
	struct space space;

	if (!pick(worker, ANY, &space))
		return;
	file_begin(worker);
	pick_map(worker, &space, &entry);
	cmd = (struct iommu_map_dma){
		.size = sizeof(cmd),
		.flags = entry.flags | flags,
		.ioasid = space.id,
		.fd = entry.fd,
		.iova = flags & IOMMU_MAP_DMA_ALLOC_IOVA ? 0 : entry.iova,
		.src = entry.src,
		.length = entry.length,
	};
	result(worker, iommu_call(worker->world->iommu, IOMMU_MAP_DMA, &cmd));
	file_end(worker);
}

static void op_map(struct worker *worker)
{
	map_one(worker, 0);
}

static void op_replace(struct worker *worker)
{
	map_one(worker, IOMMU_MAP_DMA_REPLACE);
}

static void op_map_alloc(struct worker *worker)
{
	map_one(worker, IOMMU_MAP_DMA_ALLOC_IOVA);
}

static void unmap_some(struct worker *worker, __u32 flags)
{
	__u64 iova = LARGE_IOVA, length = HUGE_SIZE;
	struct space space;

	if (!pick(worker, ANY, &space))
		return;
	if (!one_in(worker, 8))
		pick_range(worker, &iova, &length);
	result(worker, ioasid_unmap_call(worker->world->iommu, space.id, flags,
					 iova, length, NULL));
}

static void op_unmap(struct worker *worker)
{
	unmap_some(worker, 0);
}

static void op_revoke(struct worker *worker)
{
	unmap_some(worker, IOMMU_UNMAP_DMA_REVOKE);
}

static void unmap_everything(struct worker *worker, __u32 flags)
{
	struct space space;

	if (pick(worker, ANY, &space))
		result(worker, ioasid_unmap_call(worker->world->iommu, space.id,
						 flags | IOMMU_UNMAP_DMA_ALL, 0,
						 0, NULL));
}

static void op_unmap_all(struct worker *worker)
{
	unmap_everything(worker, 0);
}

static void op_revoke_all(struct worker *worker)
{
	unmap_everything(worker, IOMMU_UNMAP_DMA_REVOKE);
}

static int map_batch(int iommu, __u32 ioasid,
		     struct iommu_batch_entry *entries, __u32 num)
{
	struct iommu_map_batch cmd = {
		.size = sizeof(cmd),
		.ioasid = ioasid,
		.num_entries = num,
		.entries = (uintptr_t)entries,
	};

	return iommu_call(iommu, IOMMU_MAP_BATCH, &cmd);
}

static void op_batch(struct worker *worker)
{
	struct iommu_batch_entry entries[MAX_BATCH] = {};
	unsigned int i, num = 1 + random_below(worker, MAX_BATCH);
	struct space space;

	if (!pick(worker, ANY, &space))
		return;
	file_begin(worker);
	for (i = 0; i < num; i++) {
		if (one_in(worker, 4)) {
			pick_range(worker, &entries[i].iova,
				   &entries[i].length);
			entries[i].flags = IOMMU_BATCH_ENTRY_UNMAP;
			continue;
		}
		pick_map(worker, &space, &entries[i]);
		if (space.kind != KIND_DIRTY && !one_in(worker, 4))
			entries[i].flags |= IOMMU_MAP_DMA_REPLACE;
	}
	result(worker, map_batch(worker->world->iommu, space.id, entries, num));
	file_end(worker);
}

/* All memory, in mappings that can go one by one */
static int map_all(const struct world *world, int iommu, __u32 ioasid,
		   bool child)
{
	struct iommu_batch_entry entries[9];
	unsigned int i;

	for (i = 0; i < 8; i++) {
		__u64 offset = i * SMALL_PAGES / 8 * PAGE;

		entries[i] = (struct iommu_batch_entry){
			.flags = READ_WRITE,
			.iova = TEST_IOVA + offset,
			.src = child ? TEST_IOVA + offset :
				       (uintptr_t)world->small + offset,
			.length = SMALL_PAGES / 8 * PAGE,
		};
	}
	entries[8] = (struct iommu_batch_entry){
		.flags = READ_WRITE,
		.iova = LARGE_IOVA,
		.src = child ? LARGE_IOVA : (uintptr_t)world->large,
		.length = HUGE_SIZE,
	};
	return map_batch(iommu, ioasid, entries, 9);
}

/* Many mappings come at once, so that descendants find something to show. */
static void op_map_all(struct worker *worker)
{
	struct world *world = worker->world;
	struct space space;

	if (pick(worker, ANY, &space))
		result(worker, map_all(world, world->iommu, space.id,
				       space.kind == KIND_CHILD));
}

/* ---- life of IOASIDs ---- */

static void op_alloc_root(struct worker *worker)
{
	static const struct {
		enum kind kind;
		__u32 type, flags;
	} kinds[] = {
		{ KIND_ROOT, IOMMU_IOASID_TYPE_KERNEL, 0 },
		{ KIND_PREREG, IOMMU_IOASID_TYPE_PREREG, 0 },
		{ KIND_PREREG, IOMMU_IOASID_TYPE_PREREG, 0 },
		{ KIND_DIRTY, IOMMU_IOASID_TYPE_KERNEL, IOMMU_IOASID_ALLOC_DIRTY },
	};
	unsigned int at = random_below(worker, 4);
	struct space space = { .kind = kinds[at].kind, .depth = 1 };
	struct world *world = worker->world;

	if (!room_for_root(world) ||
	    !result(worker, alloc_space(world->iommu, kinds[at].type, 0,
					kinds[at].flags, &space.id)))
		return;
	if (!add_space(worker, &space))
		result(worker, ioasid_free(world->iommu, space.id));
}

static void op_alloc_child(struct worker *worker)
{
	struct space parent, child = { .kind = KIND_CHILD };
	struct world *world = worker->world;
	__u32 flags = 0;

	if (!pick(worker, ANY, &parent) || parent.depth == MAX_DEPTH)
		return;
	child.depth = parent.depth + 1;
	if (one_in(worker, 8))
		flags = IOMMU_IOASID_ALLOC_DIRTY;
	if (!result(worker, alloc_space(world->iommu, IOMMU_IOASID_TYPE_KERNEL,
					parent.id, flags, &child.id)))
		return;
	if (!add_space(worker, &child))
		result(worker, ioasid_free(world->iommu, child.id));
}

static void op_free(struct worker *worker)
{
	struct space space;
	int rc;

	if (!read_word(__atomic_exchange_n(random_slot(worker), 0,
					   __ATOMIC_RELAXED), &space))
		return;
	rc = ioasid_free(worker->world->iommu, space.id);
	result(worker, rc);
	/* Without a place it is found again at the end. */
	if (rc == -EBUSY)
		add_space(worker, &space);
}

static void op_info(struct worker *worker)
{
	struct iommu_range ranges[4];
	struct iommu_ioasid_info info = {
		.num_ranges = 4,
		.ranges = (uintptr_t)ranges,
	};
	struct space space;

	if (pick(worker, ANY, &space))
		result(worker, ioasid_info(worker->world->iommu, space.id,
					   &info));
}

/* What /proc shows of the context looks at all of it. */
static void op_fdinfo(struct worker *worker)
{
	long num = context_objects(worker->world->iommu);

	result(worker, num < 0 ? num : 0);
}

/* ---- devices ---- */

static unsigned int pick_device(struct worker *worker)
{
	unsigned int device = random_below(worker, NUM_DEVICES);

	pthread_rwlock_rdlock(&device_locks[device]);
	return device;
}

static void put_device(unsigned int device)
{
	pthread_rwlock_unlock(&device_locks[device]);
}

static void op_attach(struct worker *worker)
{
	struct world *world = worker->world;
	unsigned int device;
	struct space space;

	if (!pick(worker, ANY, &space))
		return;
	device = pick_device(worker);
	result(worker, vfio_attach(world->devices[device].fd, space.id));
	put_device(device);
}

static void op_detach(struct worker *worker)
{
	unsigned int device = pick_device(worker);

	result(worker, vfio_detach(worker->world->devices[device].fd));
	put_device(device);
}

static __u32 pick_pasid(struct worker *worker)
{
	return 1 + random_below(worker, NUM_PASIDS);
}

static void op_attach_pasid(struct worker *worker)
{
	struct world *world = worker->world;
	unsigned int device;
	struct space space;

	if (!pick(worker, ANY, &space))
		return;
	device = pick_device(worker);
	result(worker, vfio_attach_pasid(world->devices[device].fd,
					 pick_pasid(worker), space.id));
	put_device(device);
}

static void op_detach_pasid(struct worker *worker)
{
	unsigned int device = pick_device(worker);

	result(worker, vfio_detach_pasid(worker->world->devices[device].fd,
					 pick_pasid(worker)));
	put_device(device);
}

static void op_device_info(struct worker *worker)
{
	struct iommu_group_member members[2];
	struct iommu_range ranges[4];
	struct iommu_device_info info = {
		.num_ranges = 4,
		.num_members = 2,
		.ranges = (uintptr_t)ranges,
		.members = (uintptr_t)members,
	};
	unsigned int device = pick_device(worker);
	struct world *world = worker->world;
	__u32 id = world->devices[device].dev_id;

	result(worker, iommu_device_cookie(world->iommu, id,
					   random_below(worker, 1000)));
	result(worker, iommu_device_info(world->iommu, id, &info));
	put_device(device);
}

/* Whatever the device is about to do, it has to end before it is closed. */
static void op_rebind(struct worker *worker)
{
	unsigned int device = random_below(worker, NUM_DEVICES);
	struct world *world = worker->world;

	pthread_rwlock_rdlock(&fork_lock);
	pthread_rwlock_wrlock(&device_locks[device]);
	dev_close(&world->devices[device]);
	memset(world->streams[device], 0, sizeof(world->streams[device]));
	result(worker, dev_open_bind(&world->devices[device], world->iommu));
	pthread_rwlock_unlock(&device_locks[device]);
	pthread_rwlock_unlock(&fork_lock);
}

/* ---- what devices do meanwhile ---- */

static unsigned int num_streams(const struct world *world)
{
	unsigned int device, channel, num = 0;

	for (device = 0; device < NUM_DEVICES; device++)
		for (channel = 0; channel < IOASID_TEST_NUM_CHANNELS; channel++)
			if (__atomic_load_n(&world->streams[device][channel],
					    __ATOMIC_RELAXED))
				num++;
	return num;
}

/* Stops a channel. All that it has met was MARK. */
void device_check(struct world *world, unsigned int device,
		  unsigned int channel)
{
	struct dma_device *dev = &world->devices[device];
	struct ioasid_test_status status;
	int rc = test_device_stop(dev, channel, &status);

	__atomic_store_n(&world->streams[device][channel], false,
			 __ATOMIC_RELAXED);
	if (rc)
		failure(world, "a device cannot be stopped: %d", rc);
	else if (status.mismatches)
		failure(world, "a device has found something else at 0x%llx, %llu times",
			status.mismatch_iova, status.mismatches);
	else if (status.fault == IOASID_TEST_FAULT_TABLE ||
		 status.fault == IOASID_TEST_FAULT_NO_MEMORY)
		failure(world, "a device has found a broken table at 0x%llx",
			status.fault_iova);
}

/* Reads, writes or copies on and on, plain or with a PASID. */
static void op_stream(struct worker *worker)
{
	static const __u32 ops[] = {
		IOASID_TEST_COMPARE, IOASID_TEST_COMPARE, IOASID_TEST_FILL,
		IOASID_TEST_COPY,
	};
	unsigned int channel = random_below(worker, IOASID_TEST_NUM_CHANNELS);
	struct ioasid_test_command command = {
		.op = ops[random_below(worker, 4)],
		.flags = IOASID_TEST_FOREVER | IOASID_TEST_KEEP_GOING,
		.iova = one_in(worker, 4) ? LARGE_IOVA : TEST_IOVA,
		.other = TEST_IOVA,
		.length = SMALL_PAGES * PAGE,
		.step = 512,
		.pattern = MARK,
		.pattern2 = MARK,
	};
	unsigned int device = pick_device(worker);
	struct world *world = worker->world;
	int rc = -EBUSY;

	if (one_in(worker, 2)) {
		command.flags |= IOASID_TEST_PASID;
		command.pasid = pick_pasid(worker);
	}
	if (num_streams(world) < MAX_STREAMS) {
		rc = test_device_run(&world->devices[device], channel,
				     &command);
		result(worker, rc);
	}
	if (rc == -EBUSY)
		device_check(world, device, channel);
	else
		__atomic_store_n(&world->streams[device][channel], true,
				 __ATOMIC_RELAXED);
	put_device(device);
}

/* Does the same once, as fast as it can. */
static void op_dma(struct worker *worker)
{
	struct ioasid_test_command command = {
		.op = one_in(worker, 2) ? IOASID_TEST_COMPARE :
					  IOASID_TEST_FILL,
		.flags = IOASID_TEST_KEEP_GOING,
		.step = 64,
		.pattern = MARK,
		.pattern2 = MARK,
	};
	unsigned int device = pick_device(worker);
	struct world *world = worker->world;
	struct ioasid_test_status status;
	int rc;

	pick_range(worker, &command.iova, &command.length);
	rc = test_device_run(&world->devices[device], 0, &command);
	if (result(worker, rc) &&
	    !test_device_status(&world->devices[device], 0, &status) &&
	    status.mismatches)
		failure(world, "a device has found something else at 0x%llx",
			status.mismatch_iova);
	put_device(device);
}

/* ---- in-kernel users ---- */

static int pick_access(struct worker *worker)
{
	return worker->world->accesses[random_below(worker, NUM_ACCESSES)];
}

static void op_access_attach(struct worker *worker)
{
	struct space space;

	if (pick(worker, ANY, &space))
		result(worker, vfio_attach(pick_access(worker), space.id));
}

static void op_access_detach(struct worker *worker)
{
	result(worker, vfio_detach(pick_access(worker)));
}

static int access_do(struct worker *worker, int access, __u32 op, __u32 flags,
		     __u64 iova, __u64 length, void *data)
{
	return access_run(access, worker->number, op, flags, iova, length, data);
}

/* Some pins are left for UNMAP, and for the end of the attachment. */
static void op_pin(struct worker *worker)
{
	__u32 flags = one_in(worker, 2) ? PIN_READ : PIN_READ | PIN_WRITE;
	int access = pick_access(worker);
	__u64 iova, length, data[8];

	pick_range(worker, &iova, &length);
	if (!result(worker, access_do(worker, access, IOASID_ACCESS_PIN, flags,
				      iova, length, NULL)))
		return;
	if (result(worker, access_do(worker, access, IOASID_ACCESS_PEEK, 0,
				     iova, sizeof(data), data)) &&
	    !is_marked(data, sizeof(data)))
		failure(worker->world, "other memory is pinned at 0x%llx", iova);
	mark(data, sizeof(data));
	if (flags & PIN_WRITE)
		result(worker, access_do(worker, access, IOASID_ACCESS_POKE, 0,
					 iova, sizeof(data), data));
	if (!one_in(worker, 4))
		result(worker, access_do(worker, access, IOASID_ACCESS_UNPIN, 0,
					 iova, length, NULL));
}

static void op_access_read(struct worker *worker)
{
	__u64 iova, length, data[64];

	pick_range(worker, &iova, &length);
	iova += random_below(worker, length - sizeof(data) + 1);
	if (result(worker, access_do(worker, pick_access(worker),
				     IOASID_ACCESS_READ, 0, iova, sizeof(data),
				     data)) &&
	    !is_marked(data, sizeof(data)))
		failure(worker->world, "other memory is read at 0x%llx", iova);
}

static void op_access_write(struct worker *worker)
{
	__u64 iova, length, data[64];

	pick_range(worker, &iova, &length);
	iova += random_below(worker, length - sizeof(data) + 1);
	mark(data, sizeof(data));
	result(worker, access_do(worker, pick_access(worker),
				 IOASID_ACCESS_WRITE, 0, iova, sizeof(data),
				 data));
}

/* For a moment it does not let go of what it has pinned. */
static void op_stubborn(struct worker *worker)
{
	int access = pick_access(worker);

	result(worker, access_do(worker, access, IOASID_ACCESS_POLICY,
				 IOASID_ACCESS_STUBBORN, 0, 0, NULL));
	usleep(random_below(worker, 2000));
	result(worker, access_do(worker, access, IOASID_ACCESS_POLICY,
				 IOASID_ACCESS_RELEASE, 0, 0, NULL));
}

/* ---- what is written ---- */

static void op_dirty_start(struct worker *worker)
{
	struct space space;

	if (pick(worker, KIND_DIRTY, &space))
		result(worker, dirty_start(worker->world->iommu, space.id));
}

static void op_dirty_stop(struct worker *worker)
{
	struct space space;

	if (pick(worker, KIND_DIRTY, &space))
		result(worker, dirty_stop(worker->world->iommu, space.id));
}

static void op_dirty_get(struct worker *worker)
{
	__u32 flags = one_in(worker, 4) ? IOMMU_DIRTY_GET_NO_CLEAR : 0;
	__u64 bitmap[SMALL_PAGES / 64];
	struct space space;

	if (pick(worker, KIND_DIRTY, &space))
		result(worker, dirty_get(worker->world->iommu, space.id, flags,
					 TEST_IOVA, SMALL_PAGES * PAGE, PAGE,
					 bitmap));
}

static void op_unmap_dirty(struct worker *worker)
{
	__u64 bitmap[SMALL_PAGES / 64], iova, length;
	struct space space;

	if (!pick(worker, KIND_DIRTY, &space))
		return;
	pick_range(worker, &iova, &length);
	result(worker, ioasid_unmap_dirty(worker->world->iommu, space.id, iova,
					  length, PAGE, bitmap));
}

/* ---- events ---- */

int events_open(struct world *world)
{
	struct iommu_event_fd cmd = { .size = sizeof(cmd) };
	int rc = iommu_call(world->iommu, IOMMU_EVENT_FD, &cmd);

	if (rc)
		return rc;
	if (fcntl(cmd.fd, F_SETFL, O_NONBLOCK)) {
		rc = -errno;
		close(cmd.fd);
		return rc;
	}
	world->events = cmd.fd;
	return 0;
}

static bool event_makes_sense(const struct iommu_event *event)
{
	switch (event->type) {
	case IOMMU_EVENT_USED:
	case IOMMU_EVENT_UNUSED:
		return event->ioasid && !event->iova && !event->length;
	case IOMMU_EVENT_REVOKED:
		return event->ioasid && event->length;
	case IOMMU_EVENT_LOST:
		return !event->ioasid && !event->iova && !event->length;
	default:
		return false;
	}
}

static void op_events_read(struct worker *worker)
{
	struct world *world = worker->world;
	struct iommu_event events[16];
	struct pollfd poll_events = { .events = POLLIN };
	ssize_t n, i;

	pthread_rwlock_rdlock(&events_lock);
	poll_events.fd = world->events;
	poll(&poll_events, 1, random_below(worker, 3));
	n = read(world->events, events, sizeof(events));
	result(worker, n < 0 ? -errno : 0);
	pthread_rwlock_unlock(&events_lock);
	for (i = 0; i < n / (ssize_t)sizeof(events[0]); i++)
		if (!event_makes_sense(&events[i]))
			failure(world, "an event of type %u, IOASID %u",
				events[i].type, events[i].ioasid);
}

static void op_events_open(struct worker *worker)
{
	struct world *world = worker->world;

	pthread_rwlock_rdlock(&fork_lock);
	pthread_rwlock_wrlock(&events_lock);
	close(world->events);
	result(worker, events_open(world));
	pthread_rwlock_unlock(&events_lock);
	pthread_rwlock_unlock(&fork_lock);
}

/* ---- iommufd's interface ---- */

static void op_copy(struct worker *worker)
{
	struct space from, to;
	__u64 src, dst, length;

	if (!pick(worker, ROOTS, &from) || !pick(worker, ROOTS, &to))
		return;
	pick_range(worker, &src, &length);
	dst = TEST_IOVA +
	      random_below(worker, SMALL_PAGES - length / PAGE + 1) * PAGE;
	result(worker, ioas_copy(worker->world->iommu, from.id, src, to.id, dst,
				 length, one_in(worker, 4) ? IOAS_READ : IOAS_RW));
}

/* One that nobody has attached to meanwhile goes again. */
static void op_table(struct worker *worker)
{
	unsigned int device = pick_device(worker);
	struct world *world = worker->world;
	struct space space;
	__u32 id;

	if (pick(worker, ANY, &space) &&
	    result(worker, hwpt_alloc(world->iommu,
				      world->devices[device].dev_id, space.id,
				      0, &id)))
		result(worker, iommufd_destroy(world->iommu, id));
	put_device(device);
}

/* ---- memory ---- */

/* New pages take the place of old ones, which are free if nobody has them pinned. */
static void exchange(struct worker *worker, char *at, size_t size, bool large)
{
	size_t room = large ? 2 * HUGE_SIZE : size;
	char *new, *from;

	new = mmap(NULL, room, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (new == MAP_FAILED) {
		result(worker, -errno);
		return;
	}
	from = new;
	if (large)
		from = (char *)(((uintptr_t)new + HUGE_SIZE - 1) &
				~(HUGE_SIZE - 1));
	madvise(from, size, large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	mark(from, size);
	result(worker, mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
			      at) == MAP_FAILED ? -errno : 0);
	/* What lies around it; the rest has moved. */
	if (large) {
		munmap(new, from - new);
		munmap(from + size, room - size - (from - new));
	}
}

static void op_exchange(struct worker *worker)
{
	struct world *world = worker->world;
	__u64 first, length;

	if (one_in(worker, 16)) {
		exchange(worker, world->large, HUGE_SIZE, true);
		return;
	}
	pick_range(worker, &first, &length);
	exchange(worker, world->small + (first - TEST_IOVA), length, false);
}

static void op_exchange_file(struct worker *worker)
{
	struct world *world = worker->world;
	int fd = make_file();

	if (!result(worker, fd < 0 ? fd : 0))
		return;
	pthread_rwlock_rdlock(&fork_lock);
	pthread_rwlock_wrlock(&file_lock);
	close(world->file);
	world->file = fd;
	pthread_rwlock_unlock(&file_lock);
	pthread_rwlock_unlock(&fork_lock);
}

/* ---- other contexts and processes ---- */

static int use_context(struct world *world, int iommu)
{
	struct dma_device *dev = &world->spare;
	__u32 prereg, child;
	int rc;

	rc = alloc_space(iommu, IOMMU_IOASID_TYPE_PREREG, 0, 0, &prereg);
	if (!rc)
		rc = alloc_space(iommu, IOMMU_IOASID_TYPE_KERNEL, prereg, 0,
				 &child);
	if (!rc)
		rc = map_all(world, iommu, prereg, false);
	if (!rc)
		rc = map_all(world, iommu, child, true);
	if (!rc)
		rc = vfio_attach(dev->fd, child);
	if (!rc)
		rc = test_device_compare(dev, TEST_IOVA, SMALL_PAGES * PAGE,
					 MARK);
	if (!rc)
		rc = ioasid_revoke(iommu, prereg, TEST_IOVA,
				   SMALL_PAGES / 8 * PAGE, NULL);
	return rc;
}

/* Opens, uses and closes another context, whose device streams to the end. */
static void op_context(struct worker *worker)
{
	struct dma_device *dev = &worker->world->spare;
	struct ioasid_test_command command = {
		.op = IOASID_TEST_FILL,
		.flags = IOASID_TEST_FOREVER | IOASID_TEST_KEEP_GOING,
		.iova = TEST_IOVA,
		.length = SMALL_PAGES * PAGE,
		.pattern = MARK,
	};
	int iommu, rc;

	if (pthread_mutex_trylock(&spare_lock))
		return;
	pthread_rwlock_rdlock(&fork_lock);
	iommu = iommu_open();
	rc = iommu < 0 ? iommu : dev_open_bind(dev, iommu);
	if (!rc)
		rc = use_context(worker->world, iommu);
	if (!rc)
		rc = test_device_run(dev, 0, &command);
	result(worker, rc);
	if (one_in(worker, 2)) {
		close(iommu);
		dev_close(dev);
	} else {
		dev_close(dev);
		close(iommu);
	}
	pthread_rwlock_unlock(&fork_lock);
	pthread_mutex_unlock(&spare_lock);
}

static void forked(struct worker *parent)
{
	struct worker worker = *parent;

	worker.forked = true;
	switch (random_below(&worker, 3)) {
	case 0:
		break;
	case 1:
		/* Pages that were shared are copied now, or were when forking. */
		mark(worker.world->small, SMALL_PAGES / 2 * PAGE);
		break;
	default:
		for (;;)
			step(&worker);
	}
	_exit(0);
}

static void op_fork(struct worker *worker)
{
	int status;
	pid_t pid;

	pthread_rwlock_wrlock(&fork_lock);
	pid = fork();
	if (!pid)
		forked(worker);
	if (pid > 0) {
		usleep(random_below(worker, 20000));
		kill(pid, SIGKILL);
		if (waitpid(pid, &status, 0) != pid)
			failure(worker->world, "a process does not end");
	}
	result(worker, pid < 0 ? -errno : 0);
	pthread_rwlock_unlock(&fork_lock);
}

/* ---- all of it ---- */

/*
 * -ENOENT: it has ended, or its number is that of something else now. For the same
 * reason, what is meant for one kind of IOASID may reach another.
 */
const struct operation operations[] = {
	{ "map", 30, true, op_map,
	  { ENOENT, EEXIST, EINVAL, EPERM, EBUSY, EFAULT } },
	{ "replace", 10, true, op_replace,
	  { ENOENT, EINVAL, EPERM, EBUSY, EFAULT } },
	{ "map-alloc", 3, true, op_map_alloc,
	  { ENOENT, EINVAL, EPERM, EBUSY, EFAULT, ENOSPC } },
	{ "map-all", 12, true, op_map_all,
	  { ENOENT, EEXIST, EINVAL, EPERM, EBUSY, EFAULT } },
	{ "unmap", 8, true, op_unmap, { ENOENT, EINVAL, EBUSY } },
	{ "revoke", 5, true, op_revoke, { ENOENT, EINVAL, EBUSY } },
	{ "unmap-all", 1, true, op_unmap_all, { ENOENT, EBUSY } },
	{ "revoke-all", 1, true, op_revoke_all, { ENOENT, EBUSY } },
	{ "batch", 10, true, op_batch,
	  { ENOENT, EEXIST, EINVAL, EPERM, EBUSY, EFAULT } },
	{ "alloc-root", 4, false, op_alloc_root, {} },
	{ "alloc-child", 10, false, op_alloc_child, { ENOENT } },
	{ "free", 5, false, op_free, { ENOENT, EBUSY } },
	{ "info", 4, true, op_info, { ENOENT } },
	{ "fdinfo", 1, true, op_fdinfo, {} },
	{ "attach", 10, false, op_attach,
	  { ENOENT, EINVAL, EFAULT, EOPNOTSUPP } },
	{ "detach", 3, false, op_detach, {} },
	{ "attach-pasid", 8, false, op_attach_pasid,
	  { ENOENT, EINVAL, EFAULT, EOPNOTSUPP } },
	{ "detach-pasid", 3, false, op_detach_pasid, {} },
	{ "device-info", 3, false, op_device_info, {} },
	{ "rebind", 1, false, op_rebind, {} },
	{ "stream", 4, false, op_stream, { EBUSY } },
	{ "dma", 4, false, op_dma, { EBUSY } },
	{ "access-attach", 3, false, op_access_attach,
	  { ENOENT, EINVAL, EFAULT } },
	{ "access-detach", 1, false, op_access_detach, {} },
	{ "pin", 8, false, op_pin, { ENOENT, EINVAL, EPERM, EFAULT, ENOSPC } },
	{ "access-read", 4, false, op_access_read,
	  { ENOENT, EINVAL, EPERM, EFAULT } },
	{ "access-write", 4, false, op_access_write,
	  { ENOENT, EINVAL, EPERM, EFAULT } },
	{ "stubborn", 1, false, op_stubborn, {} },
	{ "dirty-start", 2, false, op_dirty_start, { ENOENT, EINVAL } },
	{ "dirty-stop", 1, false, op_dirty_stop, { ENOENT, EINVAL } },
	{ "dirty-get", 3, false, op_dirty_get, { ENOENT, EINVAL } },
	{ "unmap-dirty", 3, false, op_unmap_dirty, { ENOENT, EINVAL, EBUSY } },
	{ "events-read", 4, false, op_events_read, { EAGAIN } },
	{ "events-open", 1, false, op_events_open, {} },
	{ "copy", 4, false, op_copy, { ENOENT, EEXIST, EINVAL, EPERM, EFAULT } },
	{ "table", 2, false, op_table,
	  { ENOENT, EINVAL, EBUSY, EFAULT, EOPNOTSUPP } },
	{ "exchange", 6, false, op_exchange, {} },
	{ "exchange-file", 1, false, op_exchange_file, {} },
	{ "context", 1, false, op_context, {} },
	{ "fork", 1, false, op_fork, {} },
};

const unsigned int num_operations = ARRAY_SIZE(operations);
