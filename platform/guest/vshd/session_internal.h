/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/session_internal.h - what the files of a session share. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "core/adapter/clock.h"
#include "core/base/buf.h"
#include "core/vsh/server.h"
#include "platform/guest/vshd/cgroup.h"
#include "platform/guest/vshd/session.h"

struct account;
struct event;
struct vmt_err;

enum session_phase {
    SESSION_WAITING,    /* for the request */
    SESSION_CONNECTING, /* sockets of its are being made */
    SESSION_RELAYING,   /* carries a connection; the relay has the stream */
    SESSION_STARTING,   /* forked; exec is not known to have worked */
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
    bool ended; /* the client is still to be told */
    bool dry;   /* nothing was left to read when the drain time was over */
};

struct vshd_session {
    struct vmt_list node;
    struct vshd_session_config config;
    enum session_phase phase;
    struct stream *stream;    /* owned */
    struct vsh_server *proto; /* owned */
    struct vmt_timer *timer;  /* owned; the deadline of the phase */
    bool pty;
    bool carries;    /* a connection, or it is about to */
    pid_t pid;       /* 0: none, or reaped */
    int wait_status; /* of wait(2), once exited */
    char *command;   /* owned; argv[0] or the shell, for words */
    char *place;     /* owned; what it carries a connection to, or NULL */

    uid_t uid;
    char *user; /* owned; NULL before it is known */
    char tty[32];
    char cgroup[SESSION_CGROUP_MAX];
    int64_t since;     /* seconds since 1970-01-01 UTC */
    uint64_t since_ms; /* on the loop's clock */

    struct session_forward *forward; /* owned; NULL: nothing is forwarded */

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
void session_timer_cancel(struct vshd_session *session);
/* The command has ended and its output is sent: tell the client and close. */
void session_send_exit(struct vshd_session *session);
/* Tell the client why not and close. */
void session_refuse(struct vshd_session *session, int exit_code, const char *text);
/* Start the command of the request, or none. Returns as session_start. */
int session_run(struct vshd_session *session, const struct vsh_request *request,
                struct vmt_err *err);
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
/* Who the session is for. The account is the caller's. Returns 0 or -errno with words. */
int session_choose_user(const struct vshd_session *session,
                        const struct vsh_request *request, struct account *ret_account,
                        struct vmt_err *err);
/* Whether its processes take the account's ids. */
bool session_switches_user(const struct vshd_session *session,
                           const struct account *account);

/* session_forward.c */
/* Become the carrier of a connection: to where the request says, or of one that a
 * listener accepted. Return 0, and the client is answered now or later, or -errno with
 * words for it. */
int session_connect(struct vshd_session *session, const struct vsh_request *request,
                    struct vmt_err *err);
int session_take_accepted(struct vshd_session *session, const struct vsh_request *request,
                          struct vmt_err *err);
/* Make the listeners of the request, then go on with session_run. Returns likewise. */
int session_listen(struct vshd_session *session, const struct vsh_request *request,
                   struct vmt_err *err);
/* Answer the client: the command runs, if there is one; its listeners accept. Returns 0
 * or -errno. */
int session_send_ready(struct vshd_session *session);
/* Is there a socket for the agent? Its path is borrowed. */
bool session_agent_path(const struct vshd_session *session, const char **ret_path);
/* Remove listeners and end connections. */
void session_forward_free(struct vshd_session *session);
