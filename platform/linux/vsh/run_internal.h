/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/run_internal.h - what the files of a running session share. */
#pragma once

#include <stdbool.h>

#include "core/vsh/alive.h"
#include "platform/linux/vsh/escape.h"
#include "platform/linux/vsh/run.h"
#include "platform/linux/vsh/sink.h"
#include "platform/linux/vsh/source.h"

struct stream;
struct vmt_timer;
struct vsh_client;
struct vsh_connect;

/* Whether the guest is still there, see core/vsh/alive.h. */
struct run_alive {
    struct vsh_alive count;
    bool heard;               /* since the last tick */
    struct vmt_timer *timer;  /* owned; the next tick */
    struct vsh_connect *look; /* owned */
};

struct vsh_run {
    struct os_loop *loop;                /* borrowed */
    const struct vsh_run_config *config; /* borrowed */
    bool interactive;                    /* our terminal is the command's */
    struct vsh_connect *connect;         /* owned */
    struct stream *stream;               /* owned; NULL before and after the connection */
    struct vsh_client *client;           /* owned */
    struct vmt_timer *timer;             /* owned */
    struct vsh_escape escape;            /* of keys, when interactive */
    struct source in;
    struct sink out, errors;
    bool paused; /* the stream waits for stdout */
    bool over;   /* code is known; output may be left to write */
    int code;
    struct run_alive alive;
    bool told_to_end; /* a SIGTERM or SIGHUP was forwarded */
};

/* Both may be called again; the first one counts. */
void run_end(struct vsh_run *run, int code);
void run_fail(struct vsh_run *run, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void run_try_stop(struct vsh_run *run);

/* run_alive.c */
void run_alive_start(struct vsh_run *run);
void run_alive_stop(struct vsh_run *run);

/* run_escape.c */
#define RUN_TYPED_MAX 4096u
/* Bytes from the user's terminal: some may be for us. */
void run_typed(struct vsh_run *run, const uint8_t *data, size_t len);

/* run_signals.c */
/* Stop ourselves, with the terminal as it was, until somebody lets us go on. */
void run_suspend(struct vsh_run *run);
int run_watch_signals(struct vsh_run *run, struct vmt_err *err);
void run_ignore_signals(struct vsh_run *run);
