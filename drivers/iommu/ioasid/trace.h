/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints: what changes an address space, and how it ended. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ioasid

#if !defined(_IOASID_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _IOASID_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>

TRACE_EVENT(ioasid_map,
	TP_PROTO(u32 ioasid, unsigned long iova, unsigned long length, int prot,
		 int result),
	TP_ARGS(ioasid, iova, length, prot, result),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(unsigned long, iova)
		__field(unsigned long, length)
		__field(int, prot)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->iova = iova;
		__entry->length = length;
		__entry->prot = prot;
		__entry->result = result;
	),
	TP_printk("ioasid=%u iova=0x%lx length=0x%lx prot=0x%x result=%d",
		  __entry->ioasid, __entry->iova, __entry->length,
		  __entry->prot, __entry->result)
);

TRACE_EVENT(ioasid_unmap,
	TP_PROTO(u32 ioasid, unsigned long first, unsigned long last,
		 u64 unmapped, int result),
	TP_ARGS(ioasid, first, last, unmapped, result),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(unsigned long, first)
		__field(unsigned long, last)
		__field(u64, unmapped)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->first = first;
		__entry->last = last;
		__entry->unmapped = unmapped;
		__entry->result = result;
	),
	TP_printk("ioasid=%u first=0x%lx last=0x%lx unmapped=0x%llx result=%d",
		  __entry->ioasid, __entry->first, __entry->last,
		  __entry->unmapped, __entry->result)
);

TRACE_EVENT(ioasid_batch,
	TP_PROTO(u32 ioasid, unsigned int num, unsigned int done, int result),
	TP_ARGS(ioasid, num, done, result),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(unsigned int, num)
		__field(unsigned int, done)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->num = num;
		__entry->done = done;
		__entry->result = result;
	),
	TP_printk("ioasid=%u entries=%u done=%u result=%d", __entry->ioasid,
		  __entry->num, __entry->done, __entry->result)
);

TRACE_EVENT(ioasid_dirty_track,
	TP_PROTO(u32 ioasid, bool on, int result),
	TP_ARGS(ioasid, on, result),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(bool, on)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->on = on;
		__entry->result = result;
	),
	TP_printk("ioasid=%u on=%d result=%d", __entry->ioasid, __entry->on,
		  __entry->result)
);

TRACE_EVENT(ioasid_dirty_get,
	TP_PROTO(u32 ioasid, unsigned long first, unsigned long last,
		 unsigned long page_size, int result),
	TP_ARGS(ioasid, first, last, page_size, result),
	TP_STRUCT__entry(
		__field(u32, ioasid)
		__field(unsigned long, first)
		__field(unsigned long, last)
		__field(unsigned long, page_size)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->ioasid = ioasid;
		__entry->first = first;
		__entry->last = last;
		__entry->page_size = page_size;
		__entry->result = result;
	),
	TP_printk("ioasid=%u first=0x%lx last=0x%lx page_size=0x%lx result=%d",
		  __entry->ioasid, __entry->first, __entry->last,
		  __entry->page_size, __entry->result)
);

TRACE_EVENT(ioasid_attach,
	TP_PROTO(struct device *dev, u32 pasid, u32 ioasid, int result),
	TP_ARGS(dev, pasid, ioasid, result),
	TP_STRUCT__entry(
		__string(dev, dev_name(dev))
		__field(u32, pasid)
		__field(u32, ioasid)
		__field(int, result)
	),
	TP_fast_assign(
		__assign_str(dev);
		__entry->pasid = pasid;
		__entry->ioasid = ioasid;
		__entry->result = result;
	),
	TP_printk("dev=%s pasid=%u ioasid=%u result=%d", __get_str(dev),
		  __entry->pasid, __entry->ioasid, __entry->result)
);

TRACE_EVENT(ioasid_detach,
	TP_PROTO(struct device *dev, u32 pasid, u32 ioasid),
	TP_ARGS(dev, pasid, ioasid),
	TP_STRUCT__entry(
		__string(dev, dev_name(dev))
		__field(u32, pasid)
		__field(u32, ioasid)
	),
	TP_fast_assign(
		__assign_str(dev);
		__entry->pasid = pasid;
		__entry->ioasid = ioasid;
	),
	TP_printk("dev=%s pasid=%u ioasid=%u", __get_str(dev), __entry->pasid,
		  __entry->ioasid)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
