/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/tail_internal.h - the last bytes that a process wrote to a pipe. */
#pragma once

#include <stddef.h>

struct event;
struct event_base;
struct vmt_err;

/* QEMU's refusals are one or two lines; an assertion with its context stays below this.
 */
#define QEMU_TAIL_MAX 4096

/* Half of what is kept is read at once, so that a reader who looks after each piece
 * misses nothing that lies across two. */
#define QEMU_TAIL_CHUNK_MAX (QEMU_TAIL_MAX / 2)

/* Pieces that a drain takes, 128 KiB: twice what a pipe holds by default (pipe(7)), so
 * the last words of a dead process are among them. Who got a copy of the other end could
 * write for ever. */
#define QEMU_TAIL_DRAIN_ROUNDS 64u

/* Embedded; all zeroes with fd -1 is a tail that never gets anything. */
struct qemu_tail {
    int fd; /* owned read end, -1: none or ended */
    struct event *readable;
    void (*on_data)(void *arg); /* after bytes came, from the loop or a drain; or NULL */
    void *arg;                  /* borrowed */
    size_t len;
    char bytes[QEMU_TAIL_MAX];
};

/* Make a pipe and watch it. *ret_write_fd is the caller's, close-on-exec. */
int qemu_tail_init(struct qemu_tail *tail, struct event_base *base, int *ret_write_fd,
                   struct vmt_err *err);

/* Add words of ours, as a line. */
void qemu_tail_add(struct qemu_tail *tail, const char *line);

/* The writer is gone: take in what the pipe still holds, but no more than
 * QEMU_TAIL_DRAIN_ROUNDS pieces. */
void qemu_tail_drain(struct qemu_tail *tail);

/* The tail as one printable line, QEMU's lines joined by "; ". Writes at most cap bytes
 * (at least 4), the NUL included, and returns buf. */
const char *qemu_tail_text(const struct qemu_tail *tail, char *buf, size_t cap);

void qemu_tail_done(struct qemu_tail *tail);
