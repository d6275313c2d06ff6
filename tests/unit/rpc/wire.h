/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/rpc/wire.h - a clock and pairs of streams in memory, driven by hand. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "core/base/list.h"

/* A loop: pending timers in the order of their time. */
struct wire_clock {
    struct vmt_clock base;
    uint64_t now_ms;
    struct vmt_list timers;
    size_t ntimers;
};
void wire_clock_init(struct wire_clock *clock);

/* One end. Bytes that it sends wait in out until wire_step moves them. */
struct wire_end {
    struct stream base;
    struct wire *wire;
    const struct stream_handler *handler;
    void *arg;
    struct vmt_buf out;
    int out_fds[64];
    size_t out_fd_at[64]; /* offset in all bytes ever sent of the byte it goes with */
    size_t nout_fds;
    size_t sent_total, moved_total;
    int in_fds[64];
    size_t nin_fds;
    bool closed, over, shut, was_high, told_end;
    size_t nsends;
};

/* Two ends; ends[0] talks to ends[1]. */
struct wire {
    struct wire_end ends[2];
    size_t chunk;         /* most bytes moved at a time; 0: all */
    size_t split_at[2];   /* from end i nothing is moved across this byte; 0: none */
    size_t stop_after[2]; /* the direction from end i breaks after so many bytes */
    bool stall[2];        /* nothing is moved from end i */
    int cut_status;       /* what on_end says then */
};
void wire_init(struct wire *wire);
/* Release what is left; both ends are closed before. */
void wire_done(struct wire *wire);

/* Move what can be moved once in each direction. Returns whether anything happened. */
bool wire_step(struct wire *wire);
/* Break the stream for both ends with a negative errno, or 0 for an orderly end. */
void wire_cut(struct wire *wire, int status);
/* Run due timers. Returns whether any ran. */
bool wire_clock_run(struct wire_clock *clock);
/* Step wire and clock until nothing happens any more. */
void wire_settle(struct wire_clock *clock, struct wire *wire);
/* The same after ms have passed. */
void wire_advance(struct wire_clock *clock, struct wire *wire, uint64_t ms);
