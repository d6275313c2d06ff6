/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/session_internal.h - what the files of a session share. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "core/adapter/clock.h"
#include "core/base/buf.h"
#include "core/vsh/server.h"
#include "platform/guest/vshd/session.h"

struct account;
struct event;
struct vmt_err;

enum session_phase {
    SESSION_WAITING,  /* for the request */
    SESSION_STARTING, /* forked; exec is not known to have worked */
    SESSION_RUNNING,
    SESSION_DRAINING, /* the command ended, output may be left */
    SESSION_CLOSING,  /* everything was sent; the client closes */
    SESSION_DONE,
};

/* One output of the command. */
struct session_output {
    struct vshd_session *session; /* borrowed */
    int fd;                       /* owned, -1 when closed */
    struct event *ev;             /* owned */
    enum vsh_stream stream;
    bool dry; /* nothing was left to read when the drain time was over */
};

struct vshd_session {
    struct vmt_list node;
    struct vshd_session_config config;
    enum session_phase phase;
    struct stream *stream;    /* owned */
    struct vsh_server *proto; /* owned */
    struct vmt_timer *timer;  /* owned; the deadline of the phase */
    bool pty;
    pid_t pid;       /* 0: none, or reaped */
    int wait_status; /* of wait(2), once exited */
    char *command;   /* owned; argv[0] or the shell, for words */

    int status_fd;           /* owned: the child's report on exec, -1 once known */
    struct event *status_ev; /* owned */

    int in_fd;            /* owned, -1 when closed */
    struct event *in_ev;  /* owned */
    struct vmt_buf input; /* from the client, not yet taken by the command */
    bool in_ended;        /* close in_fd after input */
    bool in_paused;       /* the stream waits for the command to read */

    struct session_output outputs[2];
    size_t drained;  /* bytes read since the command ended */
    bool drain_over; /* DRAIN_MS passed */
};

/* session.c */
/* The session is over for good; see vshd_session_done_fn. May be called again. */
void session_done(struct vshd_session *session);
/* Set the deadline of the phase in place of the one before. */
void session_timer_set(struct vshd_session *session, unsigned ms, vmt_timer_fn *fn);
/* The command has ended and its output is sent: tell the client and close. */
void session_send_exit(struct vshd_session *session);
/* Free an event and close its descriptor, which are NULL and -1 afterwards. */
void session_event_close(struct event **ev, int *fd);

/* session_io.c */
/* The command was reaped: send what is left of its output, then its exit. */
void session_start_drain(struct vshd_session *session);
/* The client takes output: from the start on, and again after it was slow. */
void session_on_stream_drain(void *arg);
void session_on_stdin(void *arg, const uint8_t *data, size_t len);
void session_on_readable(int fd, short what, void *arg); /* arg: session_output */
void session_on_writable(int fd, short what, void *arg); /* arg: vshd_session */

/* session_start.c */
/* Start what the client asks for. Returns 0 and the phase is SESSION_STARTING, or -errno
 * with words for the client. on_status is told when the child reported on its exec. */
int session_start(struct vshd_session *session, const struct vsh_request *request,
                  struct vmt_err *err);
void session_on_status(struct vshd_session *session);
