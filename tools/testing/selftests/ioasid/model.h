/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A random test of /dev/iommu against a model of it.
 *
 * The model knows, in the simplest way there is, what IOASIDs hold, what devices
 * are attached to, and what is in memory. Each step does one operation: it
 * chooses arguments, predicts from the model what comes of them, makes the call
 * and compares; only what has succeeded changes the model. Then what the kernel
 * tells about the IOASIDs is compared, and some addresses as devices see them.
 *
 *	model_memory.c	memory, and what must be in it
 *	model_graph.c	IOASIDs and mappings; calls nothing
 *	model_attach.c	attachments; calls nothing
 *	model_nesting.c	IOASIDs with a parent; calls nothing
 *	model_events.c	what an event file must say
 *	model_device.c	devices, and what their DMA must do
 *	model_fail.c	failures that are ordered
 *	model_map.c	the operations that map and unmap
 *	model_dirty.c	those of dirty tracking
 *	model_ops.c	the others, and the table of all
 *	model.c		runs
 *
 * A run depends on nothing but its seed: every choice is drawn from it.
 */
#ifndef MODEL_H
#define MODEL_H

#include <linux/iommu.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "kselftest.h"
#include "ioasid_utils.h"
#include "test_iommu_utils.h"

#define MAX_IOASIDS	10
/* Of an IOASID; the run sets the module parameter dma_entry_limit to it. */
#define MAX_MAPPINGS	40
#define MAX_RANGES	(32 + MAX_MAPPINGS)
#define MAX_TABLES	16
#define MAX_MEMBERS	2
#define MAX_RESERVED	3
/* Ranges that IOASID_ALLOC asks for */
#define MAX_EXACT	4
/* Of one operation */
#define MAX_EVENTS	(MAX_IOASIDS * (MAX_MAPPINGS + 2))
/* Plain DMA, then PASIDs */
#define NUM_SLOTS	4
/* What a device moves at most in one operation, in bytes */
/* Its buffer has room for that from any offset below it. */
#define MAX_DMA		(4 * PAGE < IOASID_TEST_BUFFER_SIZE / 2 ? \
			 4 * PAGE : IOASID_TEST_BUFFER_SIZE / 2)
#define HISTORY		10

#define lengthof(array)	(sizeof(array) / sizeof((array)[0]))

/* ---- memory: model_memory.c ---- */

/**
 * struct page - A page of memory
 * @refs: The source that shows it now, and each mapping that has pinned it
 * @seen: Where the program sees it, NULL if only devices do
 * @data: What must be in it
 */
struct page {
	unsigned int refs;
	char *seen;
	char *data;
};

/**
 * struct source - Memory that can be mapped
 * @name: For messages
 * @mem: Where the process has it
 * @num_pages: How much that is
 * @unit: In how many pages at a time it is made, 512 for large pages
 * @fd: The file that is mapped at @mem, or -1
 * @prot: What the process may do there, as in PROT_READ and PROT_WRITE
 * @pages: The pages that are there now
 */
struct source {
	const char *name;
	char *mem;
	size_t num_pages;
	size_t unit;
	int fd;
	int prot;
	struct page **pages;
};

enum source_name {
	SOURCE_SMALL,		/* private, small pages */
	SOURCE_THP,		/* private, transparent huge pages */
	SOURCE_MEMFD,		/* a memfd, also by its address */
	SOURCE_HUGE_MEMFD,	/* the same of huge pages */
	SOURCE_READ_ONLY,	/* the process cannot write it */
	SOURCE_NONE,		/* the process cannot touch it */
	NUM_SOURCES,
};

struct model;
struct subject;

int memory_setup(struct model *m);
void memory_teardown(struct model *m);
struct source *source_at(struct model *m, __u64 address, __u64 length);
struct source *source_of_fd(struct model *m, int fd);
struct page *page_get(struct page *page);
void page_put(struct page *page);
void page_compare(struct model *m, const struct page *page, const char *when);
void memory_compare(struct model *m);
void memory_write(struct model *m, struct source *src, size_t offset,
		  size_t length);
int memory_renew(struct model *m, struct source *src, size_t page, size_t num);

/* ---- the graph: model_graph.c ---- */

struct range {
	__u64 first;
	__u64 last;
};

struct ranges {
	unsigned int num;
	struct range range[MAX_RANGES];
};

/**
 * struct instance - An IOMMU
 * @name: In configfs
 * @settings: What it is made with
 * @width: Bits of its addresses
 * @aperture: What its page tables reach
 * @max_pasid: Its largest PASID, 0 for none
 * @snoop_control: It can make DMA snoop
 * @attach_first: It tells what its tables reach when it attaches them
 * @shares_tables: It takes the tables of others that do
 * @translates_msi: No address is kept for interrupts
 * @only_small: Its page tables have no large pages
 * @no_dirty: It cannot track what is written
 * @reserved: What cannot be mapped for its devices
 * @num_reserved: How many of those there are
 */
struct instance {
	const char *name;
	const char *settings;
	unsigned int width;
	struct range aperture;
	__u32 max_pasid;
	bool snoop_control;
	bool attach_first;
	bool shares_tables;
	bool translates_msi;
	bool only_small;
	bool no_dirty;
	struct range reserved[MAX_RESERVED];
	unsigned int num_reserved;
};

/**
 * struct mapping - A mapping of an IOASID
 * @range: Its addresses
 * @prot: IOMMU_MAP_DMA_READ and _WRITE
 * @source: Of a child's: its first address in the parent. Nothing is in the next
 *          four then
 * @src: Where its memory comes from
 * @page: Index of its first page there
 * @by_file: Given as a file, not as an address
 * @pinned: The pages that were there when it was pinned, NULL if it is not
 * @marks: Of each page, MARK_ bits
 */
struct mapping {
	struct range range;
	__u32 prot;
	__u64 source;
	struct source *src;
	size_t page;
	bool by_file;
	struct page **pinned;
	__u8 *marks;
};

/* Written since START, and not reported since with clearing: it must be. */
#define MARK_WRITTEN	0x1
/* It may be reported: a large page of the IOMMU has it beside one that must be. */
#define MARK_BESIDE	0x2

/**
 * struct table - A page table of an IOASID
 * @owner: The IOMMU that it was made for
 * @users: Slots that are attached to it
 */
struct table {
	const struct instance *owner;
	unsigned int users;
};

/**
 * struct ioas - An IOASID
 * @id: Its number
 * @type: As given when it was made
 * @parent: The IOASID that it is mapped in, or NULL
 * @width: As given when it was made
 * @snoop: As given when it was made
 * @dirty: As given when it was made
 * @alignment: Of its mappings, because of the page size given when it was made
 * @exact: What may be mapped, if that was said then
 * @num_exact: How many ranges that is
 * @tracking: What is written to it is tracked
 * @maps: Its mappings, by address
 * @num_maps: How many
 * @tables: Its page tables, the oldest first
 * @num_tables: How many
 */
struct ioas {
	__u32 id;
	__u32 type;
	struct ioas *parent;
	__u32 width;
	__u32 snoop;
	bool dirty;
	__u64 alignment;
	struct range exact[MAX_EXACT];
	unsigned int num_exact;
	bool tracking;
	struct mapping *maps[MAX_MAPPINGS];
	unsigned int num_maps;
	struct table tables[MAX_TABLES];
	unsigned int num_tables;
};

/**
 * struct slot - What the DMA of a group is attached to, plain or with a PASID
 * @ioas: The IOASID, NULL for none
 * @owner: For which IOMMU the page table was made
 * @members: A bit for each device of the group that is attached
 */
struct slot {
	struct ioas *ioas;
	const struct instance *owner;
	unsigned int members;
};

/**
 * struct group - An IOMMU group
 * @on: Its IOMMU
 * @num_members: How many devices it has
 * @slots: What they are attached to
 */
struct group {
	const struct instance *on;
	unsigned int num_members;
	struct slot slots[NUM_SLOTS];
};

/**
 * struct device - A device
 * @name: In configfs
 * @group: Its group
 * @member: Its bit in &slot.members
 * @dma: As the tests drive it; its file is open if it is bound
 * @buffer: What must be in its buffer, the first 2 * MAX_DMA bytes
 */
struct device {
	const char *name;
	struct group *group;
	unsigned int member;
	struct dma_device dma;
	char *buffer;
};

/* What an attachment comes to, as it was predicted */
struct plan {
	const struct instance *owner;
	bool new_table;
	bool nothing;
};

bool overlap(struct range a, struct range b);
bool contains(struct range outer, struct range inner);
__u64 last_of_width(__u32 width);
struct mapping *mapping_at(const struct ioas *ioas, __u64 iova);
struct mapping *mapping_over(const struct ioas *ioas, struct range range);
unsigned int num_mappings_over(const struct ioas *ioas, struct range range);
__u64 mapping_length(const struct mapping *map);
void mapping_free(struct mapping *map);
bool may_pin(const struct source *src, bool by_file, __u32 prot);
void mappings_pin(struct ioas *root);
void mappings_unpin(struct ioas *root);
void permitted_ranges(const struct model *m, const struct ioas *ioas,
		      struct ranges *ranges);
void device_ranges(const struct instance *on, struct ranges *ranges);
bool ranges_contain(const struct ranges *ranges, struct range range);
bool has_room(const struct model *m, const struct ioas *ioas, __u64 length);
unsigned int num_attached(const struct model *m, const struct ioas *ioas);
__u64 mapped_bytes(const struct ioas *ioas, bool only_pinned);

int map_error(struct model *m, const struct ioas *ioas,
	      const struct iommu_map_dma *cmd);
int map_commit(struct model *m, struct ioas *ioas,
	       const struct iommu_map_dma *cmd);
int unmap_error(const struct model *m, const struct ioas *ioas,
		const struct iommu_unmap_dma *cmd);
__u64 unmap_commit(struct model *m, struct ioas *ioas,
		   const struct iommu_unmap_dma *cmd);
int batch_entry_error(struct model *m, const struct ioas *ioas,
		      const struct iommu_batch_entry *entry);
__u64 batch_entry_commit(struct model *m, struct ioas *ioas,
			 const struct iommu_batch_entry *entry);

int tracking_error(const struct ioas *ioas, const struct iommu_dirty_start *cmd);
void tracking_commit(struct ioas *ioas, bool on);
int report_error(const struct ioas *ioas, const struct iommu_dirty_get *cmd);
void report_commit(struct ioas *ioas, struct range range);
void mark_written(const struct slot *slot, __u64 iova);

int alloc_error(const struct model *m, const struct iommu_ioasid_alloc *cmd);
int free_error(const struct model *m, const struct ioas *ioas);
struct ioas *ioas_of_id(const struct model *m, __u32 id);
struct ioas *ioas_new(struct model *m, const struct iommu_ioasid_alloc *cmd);
void ioas_delete(struct model *m, struct ioas *ioas);

/* ---- attachments: model_attach.c ---- */

extern const __u32 slot_pasids[NUM_SLOTS];

int attach_error(const struct model *m, const struct device *dev,
		 unsigned int slot, struct ioas *ioas, struct plan *plan);
void attach_commit(struct model *m, struct device *dev, unsigned int slot,
		   struct ioas *ioas, const struct plan *plan);
void detach_commit(struct model *m, struct device *dev, unsigned int slot);

/* ---- parents and children: model_nesting.c ---- */

unsigned int depth_of(const struct ioas *ioas);
struct ioas *root_of(struct ioas *ioas);
bool keeps_pins(const struct model *m, const struct ioas *root);
unsigned int num_children(const struct model *m, const struct ioas *parent);
unsigned int num_shadows(const struct model *m, const struct ioas *parent,
			 struct range range);
struct page *page_at(const struct ioas *ioas, __u64 at);
int show_error(const struct ioas *ioas, const struct iommu_map_dma *cmd);
struct range shown_by(const struct mapping *map);
unsigned int num_pieces(const struct ioas *parent, struct range shown);
void revoke_commit(struct model *m, const struct ioas *parent,
		   struct range range);

/* ---- events: model_events.c ---- */

int events_setup(struct model *m);
void events_teardown(struct model *m);
void event_expect(struct model *m, __u32 type, const struct ioas *ioas,
		  __u64 iova, __u64 length);
void events_compare(struct model *m);
void events_tried(struct model *m, const struct ioas *ioas);
void op_events(struct model *m);

/* ---- devices: model_device.c ---- */

int devices_setup(struct model *m);
void devices_teardown(struct model *m);
int device_open(struct model *m, struct device *dev);
void device_close(struct model *m, struct device *dev);
void device_compare(struct model *m, struct device *dev);
void device_dma(struct model *m, struct device *dev, unsigned int slot,
		struct ioasid_test_command *command);
void device_sample(struct model *m, const struct subject *about);
void device_random(struct model *m, struct device **dev, unsigned int *slot);
__u64 device_random_iova(struct model *m, const struct device *dev,
			 unsigned int slot);

/* ---- operations: model_ops.c ---- */

/**
 * struct operation - Something that a step can do
 * @name: For messages
 * @weight: How often it is done, relative to the others
 * @changes_memory: Takes memory from under mappings, see &model.stale
 * @run: Does it
 * @done: How often it was done
 * @refused: How often it has failed, as it had to
 */
struct operation {
	const char *name;
	unsigned int weight;
	bool changes_memory;
	void (*run)(struct model *m);
	unsigned long done;
	unsigned long refused;
};

extern struct operation operations[];
extern const size_t num_operations;

void operations_check(struct model *m, bool all);
void ioas_compare(struct model *m, const struct ioas *ioas);
struct ioas *random_ioas(struct model *m);
struct ioas *some_ioas(struct model *m);
void about_iova(struct model *m, __u64 iova);
__u32 id_of(const struct ioas *ioas);

/* ---- some of them: model_map.c, model_dirty.c ---- */

/* More than the kernel holds of a bitmap at a time, with pages of 4 KiB */
#define MAX_BITS	65536

/* The last word is not for the kernel. */
extern __u64 bitmap[MAX_BITS / 64 + 1];

__u64 random_iova(struct model *m, const struct ioas *ioas, __u64 length);
void op_map(struct model *m);
void op_map_wrong(struct model *m);
void op_unmap(struct model *m);
void op_unmap_wrong(struct model *m);
void op_unmap_all(struct model *m);
void op_batch(struct model *m);

__u64 random_page_size(struct model *m);
void bitmap_compare(struct model *m, const struct ioas *ioas,
		    struct range range, __u64 size, bool vague);
void op_dirty_start(struct model *m);
void op_dirty_stop(struct model *m);
void op_dirty_get(struct model *m);

/* ---- failures: model_fail.c ---- */

void failures_setup(struct model *m);
void failures_teardown(struct model *m);
int arm(struct model *m, const struct instance *on, const char *op,
	unsigned int calls);
int arm_table(struct model *m, const struct ioas *ioas, const char *op,
	      unsigned int calls);
int arm_attach(struct model *m, const struct device *dev, unsigned int slot,
	       const struct ioas *ioas, const struct plan *plan);
const char *armed(const struct model *m);
void disarm(struct model *m);
bool fail_nth(struct model *m, unsigned int nth);
void try_map(struct model *m, const struct ioas *ioas,
	     const struct iommu_map_dma *cmd);
int try_unmap(struct model *m, struct iommu_unmap_dma *cmd);
int try_batch(struct model *m, struct iommu_map_batch *cmd);
void try_attach(struct model *m, const struct device *dev, unsigned int slot,
		const struct ioas *ioas);

/**
 * struct subject - What an operation was about; looked at when it is done
 * @ioas: An IOASID, or NULL
 * @dev: A device, or NULL
 * @slot: And what of it
 * @has_iova: Also an address
 * @iova: This
 */
struct subject {
	const struct ioas *ioas;
	struct device *dev;
	unsigned int slot;
	bool has_iova;
	__u64 iova;
};

/* ---- runs: model.c ---- */

/**
 * struct model - A run
 * @seed: What it has begun with
 * @random: What the next random number comes from
 * @step: Operations done
 * @stale: The IOMMUs lose flushes, so devices may reach what is not mapped any
 *         more: it must stay the process's own
 * @iommu: Open file
 * @instances: The IOMMUs
 * @num_instances: How many
 * @groups: Their groups
 * @num_groups: How many
 * @devices: The devices in these
 * @num_devices: How many
 * @sources: The memory
 * @read_only_fd: The memfd, not open for writing
 * @sealed_fd: A memfd that nobody may write
 * @other_fd: No memory
 * @ioases: The IOASIDs, NULL where there is none
 * @subject: What the operation of this step was about
 * @events: Open event file, or -1
 * @expected: What must be read from it after this step
 * @num_expected: How many
 * @read: Events that were read
 * @revoked: Of those, what REVOKE has taken out
 * @deepest: IOASIDs that there were at most from a root to a leaf
 * @fail_nth: Open file in which a failure can be ordered, or -1
 * @armed: The IOMMU that is to fail, or NULL
 * @counts: What the kernel counted at the beginning
 * @refused: Operations that have failed, as they had to
 * @injected: Of those, because the driver was made to
 * @tried: Calls that were made while an allocation failed
 * @accesses: DMA that was compared
 * @nested: Of that, what has reached memory that a parent maps
 * @pieces: Mappings of children that have shown memory of several mappings of the root
 * @reported: Bits of dirty pages that were reported
 * @beside: Of those, only because of a large page or a failure
 * @trace: Sum of all operations: that of a run that is repeated is the same
 * @history: The latest operations
 * @mismatch: What was wrong, empty if nothing is
 */
struct model {
	__u64 seed;
	__u64 random;
	unsigned long step;
	bool stale;
	int iommu;
	struct instance *instances;
	unsigned int num_instances;
	struct group *groups;
	unsigned int num_groups;
	struct device *devices;
	unsigned int num_devices;
	struct source sources[NUM_SOURCES];
	int read_only_fd;
	int sealed_fd;
	int other_fd;
	struct ioas *ioases[MAX_IOASIDS];
	struct subject subject;
	int events;
	struct iommu_event expected[MAX_EVENTS];
	unsigned int num_expected;
	unsigned long read;
	unsigned long revoked;
	unsigned int deepest;
	int fail_nth;
	const struct instance *armed;
	struct counts counts;
	unsigned long refused;
	unsigned long injected;
	unsigned long tried;
	unsigned long accesses;
	unsigned long nested;
	unsigned long pieces;
	unsigned long reported;
	unsigned long beside;
	__u64 trace;
	char history[HISTORY][200];
	char mismatch[300];
};

__u64 random_number(struct model *m);
__u64 random_below(struct model *m, __u64 limit);
bool one_in(struct model *m, unsigned int number);

void doing(struct model *m, const char *format, ...) __printf(2, 3);
void mismatch(struct model *m, const char *format, ...) __printf(2, 3);
bool returned(struct model *m, int want, int rc);

#endif
