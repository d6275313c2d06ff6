/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/qmp_internal.h - one QMP connection: negotiation, commands, events. */
#pragma once

#include <stdint.h>

#include <jansson.h>

struct event_base;
struct qmp;
struct vmt_clock;
struct vmt_err;

/* QEMU answers a command within milliseconds, but its main loop may wait for a vcpu
 * thread on a busy host that emulates. */
#define QMP_COMMAND_DEADLINE_MS 30000u

/* From the connection to the end of negotiation: QEMU may still load a kernel of 64 MiB,
 * or serve the daemon before us, and only then accept. */
#define QMP_GREETING_DEADLINE_MS 120000u

/* Commands without an answer at one time. Core sends them one by one; more means that
 * QEMU does not answer any more. */
#define QMP_PENDING_MAX 32u

/* The largest piece that is read at once. */
#define QMP_CHUNK_MAX 4096u

/* Pieces that qmp_finish takes, 256 KiB: more than a socket holds at the kernel's default
 * of 208 KiB (net.core.wmem_default), so the last words of a dead QEMU are among them.
 * Who got a copy of its end could write for ever. */
#define QMP_FINISH_ROUNDS 64u

/* All run from the loop only. The table is borrowed until close; qmp_close may be called
 * from inside each of them. */
struct qmp_handler {
    /* Negotiation is done: commands may be sent. */
    void (*on_ready)(void *arg);
    /* data is NULL or borrowed for the call. */
    void (*on_event)(void *arg, const char *name, const json_t *data);
    /* The connection ended (0), or broke (negative errno). Runs at most once, last; every
     * pending command has failed with -ENOTCONN before. */
    void (*on_end)(void *arg, int status);
};

/* result 0, or -EIO when QEMU refused the command (err has its words), -ETIMEDOUT,
 * -ENOTCONN. err is NULL on success, else borrowed for the call. */
typedef void qmp_reply_fn(void *arg, int result, const struct vmt_err *err);

/* What a command came to: result as above, data what QEMU returned (borrowed, NULL on
 * failure), error_class QEMU's own class of a refusal, or NULL. */
struct qmp_answer {
    int result;
    const json_t *data;
    const char *error_class;
    const struct vmt_err *err;
};
typedef void qmp_answer_fn(void *arg, const struct qmp_answer *answer);

struct qmp_request {
    const char *command;
    json_t *arguments; /* an object, borrowed for the call, or NULL */
    int fd; /* goes with the command (getfd, add-fd), borrowed for the call; -1: none */
    qmp_answer_fn *answer; /* NULL: nobody wants to know */
    void *arg;             /* borrowed until the answer */
};

struct qmp_config {
    struct event_base *base; /* borrowed, as clock, until close */
    struct vmt_clock *clock;
    const struct qmp_handler *handler;
    void *arg; /* borrowed until close */
};

/* Connect to QEMU's listening socket at path. The connection is made at once, but QEMU
 * may not have accepted it yet; on_ready tells. Returns 0, -ENAMETOOLONG, or what
 * connect(2) gave. */
int qmp_open(const struct qmp_config *config, const char *path, struct qmp **ret_qmp,
             struct vmt_err *err);

/* Send a command without arguments. reply (may be NULL) runs exactly once, unless the
 * connection is closed before. Returns 0, -ENOTCONN before on_ready and after on_end,
 * -EBUSY with QMP_PENDING_MAX commands in flight, -ENOMEM. */
int qmp_execute(struct qmp *qmp, const char *command, qmp_reply_fn *reply, void *arg);

/* The same for a command with arguments or a descriptor. Also what dup(2) gives. */
int qmp_request(struct qmp *qmp, const struct qmp_request *req);

/* QEMU is gone: take in what the socket still holds, because its last event tells why,
 * but no more than QMP_FINISH_ROUNDS pieces, and end the connection. Handlers run from
 * inside this call, so it is called from the loop. */
void qmp_finish(struct qmp *qmp);

/* No callback runs any more. qmp may be NULL. */
void qmp_close(struct qmp *qmp);
