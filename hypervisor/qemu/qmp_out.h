/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/qmp_out.h - lines on their way to QEMU, each with at most one
 * descriptor. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/list.h"

/* qmp_out_init makes it usable, qmp_out_done releases all. */
struct qmp_out {
    struct vmt_buf buf;
    struct vmt_list fds; /* owned, by offset */
    uint64_t sent;       /* bytes that left, ever */
};

void qmp_out_init(struct qmp_out *out);
void qmp_out_done(struct qmp_out *out);

/* Append a line; fd, borrowed, goes with its first byte unless it is negative. Returns 0,
 * -ENOMEM, or what dup(2) gave; nothing was appended then. */
int qmp_out_add(struct qmp_out *out, const void *line, size_t len, int fd);

/* Send what a stream socket takes without blocking. Returns 1 when more waits, 0 when all
 * is sent, or -errno. */
int qmp_out_flush(struct qmp_out *out, int socket);
