// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU_TEST_CMD: memory that stands for that of a device, as a DMA-buf.
 *
 * As with drivers of such devices, what an importer learns is where the memory
 * is, and it must forget that when it is told to.
 */
#include <linux/cleanup.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "mock.h"

#define MOCK_DMABUF_MAX_PAGES 512

/**
 * struct mock_dmabuf - The memory
 * @memory: Physically contiguous, whole pages
 * @length: In bytes
 * @revoked: Nobody may use it for now; under the DMA-buf's reservation lock
 */
struct mock_dmabuf {
	void *memory;
	size_t length;
	bool revoked;
};

static int mock_dmabuf_attach(struct dma_buf *dmabuf,
			      struct dma_buf_attachment *attachment)
{
	return 0;
}

static struct sg_table *
mock_dmabuf_map(struct dma_buf_attachment *attachment,
		enum dma_data_direction direction)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void mock_dmabuf_unmap(struct dma_buf_attachment *attachment,
			      struct sg_table *sgt,
			      enum dma_data_direction direction)
{
}

static void mock_dmabuf_free(struct mock_dmabuf *buf)
{
	free_pages_exact(buf->memory, buf->length);
	kfree(buf);
}

static void mock_dmabuf_release(struct dma_buf *dmabuf)
{
	mock_dmabuf_free(dmabuf->priv);
}

static const struct dma_buf_ops mock_dmabuf_ops = {
	.attach = mock_dmabuf_attach,
	.map_dma_buf = mock_dmabuf_map,
	.unmap_dma_buf = mock_dmabuf_unmap,
	.release = mock_dmabuf_release,
};

static struct mock_dmabuf *mock_dmabuf_alloc(size_t length)
{
	struct mock_dmabuf *buf;

	buf = kzalloc_obj(*buf, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return NULL;
	buf->length = length;
	buf->memory = alloc_pages_exact(length, GFP_KERNEL_ACCOUNT |
						__GFP_ZERO | __GFP_NOWARN);
	if (!buf->memory) {
		kfree(buf);
		return NULL;
	}
	return buf;
}

/**
 * mock_dmabuf_get - IOMMU_TEST_OP_DMABUF_GET
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Return: A file descriptor; -EINVAL: no length, or too long, or flags other
 * than O_CLOEXEC and those for access; -ENOMEM, or what the DMA-buf code says.
 */
int mock_dmabuf_get(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	size_t length = PAGE_ALIGN((size_t)cmd->dmabuf_get.length);
	u32 flags = cmd->dmabuf_get.open_flags;
	DEFINE_DMA_BUF_EXPORT_INFO(export);
	struct mock_dmabuf *buf;
	struct dma_buf *dmabuf;
	int fd;

	if (!length || length > MOCK_DMABUF_MAX_PAGES * PAGE_SIZE ||
	    flags & ~(u32)(O_CLOEXEC | O_ACCMODE))
		return -EINVAL;
	buf = mock_dmabuf_alloc(length);
	if (!buf)
		return -ENOMEM;

	export.ops = &mock_dmabuf_ops;
	export.size = length;
	export.flags = flags;
	export.priv = buf;
	dmabuf = dma_buf_export(&export);
	if (IS_ERR(dmabuf)) {
		mock_dmabuf_free(buf);
		return PTR_ERR(dmabuf);
	}
	fd = dma_buf_fd(dmabuf, flags);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

/**
 * mock_dmabuf_revoke - IOMMU_TEST_OP_DMABUF_REVOKE
 * @ucmd: The ioctl
 * @cmd: Its structure
 *
 * Importers are told in either case, to find out for themselves.
 *
 * Return: 0; -EBADF, -EINVAL: not a DMA-buf; -EOPNOTSUPP: somebody else's.
 */
int mock_dmabuf_revoke(struct ioasid_ucmd *ucmd, struct iommu_test_cmd *cmd)
{
	struct dma_buf *dmabuf = dma_buf_get(cmd->dmabuf_revoke.dmabuf_fd);
	struct mock_dmabuf *buf;
	int rc = -EOPNOTSUPP;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (dmabuf->ops == &mock_dmabuf_ops) {
		buf = dmabuf->priv;
		dma_resv_lock(dmabuf->resv, NULL);
		buf->revoked = cmd->dmabuf_revoke.revoked;
		dma_buf_invalidate_mappings(dmabuf);
		dma_resv_unlock(dmabuf->resv);
		rc = 0;
	}
	dma_buf_put(dmabuf);
	return rc;
}

/**
 * ioasid_mock_dma_buf_map - Where the memory of a test's DMA-buf is
 * @attachment: Attachment to any DMA-buf
 * @phys: Output: the memory
 *
 * Context: The DMA-buf's reservation lock is held. The answer is good until the
 * importer is told otherwise.
 *
 * Return: 0; -EOPNOTSUPP: not made by a test; -ENODEV: revoked.
 */
int ioasid_mock_dma_buf_map(struct dma_buf_attachment *attachment,
			    struct phys_vec *phys)
{
	struct dma_buf *dmabuf = attachment->dmabuf;
	struct mock_dmabuf *buf;

	dma_resv_assert_held(dmabuf->resv);

	if (dmabuf->ops != &mock_dmabuf_ops)
		return -EOPNOTSUPP;
	buf = dmabuf->priv;
	if (buf->revoked)
		return -ENODEV;
	phys->paddr = virt_to_phys(buf->memory);
	phys->len = buf->length;
	return 0;
}

MODULE_IMPORT_NS("DMA_BUF");
