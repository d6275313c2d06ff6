/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/sink.h - write stdout or stderr of any kind from the loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "platform/linux/vsh/local_fd.h"

struct event;
struct os_loop;
struct vmt_err;

struct sink {
    struct local_fd local;
    struct event *ev; /* owned; NULL: closed or broken */
    struct vmt_buf queue;
    bool ending; /* close after the queue */
    bool plain;  /* write lines of printable ASCII only; set by who opens it */
    /* Some of the queue was written, or the sink closed; error is a negative errno when
     * it broke. Runs from the loop. */
    void (*on_progress)(void *arg, int error);
    void *arg; /* borrowed */
};

/* Set on_progress and arg before. Returns 0 or -ENOMEM. */
int sink_open(struct sink *sink, struct os_loop *loop, int fd, struct vmt_err *err);
/* Write or queue a copy; dropped when the sink is closed or broken. Returns 0, -ENOMEM,
 * or what broke the sink just now. */
int sink_write(struct sink *sink, const uint8_t *data, size_t len);
/* Close when all is written. */
void sink_end(struct sink *sink);
/* Drop what is queued; the descriptor itself stays open. */
void sink_close(struct sink *sink);
