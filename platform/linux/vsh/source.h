/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/source.h - read stdin of any kind from the loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "platform/linux/vsh/local_fd.h"

struct event;
struct os_loop;
struct vmt_err;

struct source {
    struct local_fd local;
    struct event *ev; /* owned; NULL: not opened, or at its end */
    bool running;
    /* len 0: the end, with error a negative errno or 0. Nothing comes after it. */
    void (*on_data)(void *arg, const uint8_t *data, size_t len, int error);
    void *arg; /* borrowed */
};

/* Set on_data and arg before. Nothing is read until source_run. Returns 0 or -ENOMEM. */
int source_open(struct source *source, struct os_loop *loop, int fd, struct vmt_err *err);
/* Read, or pause. */
void source_run(struct source *source, bool run);
void source_close(struct source *source);
