/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/os/support.h - a loop with a deadline, a stream that remembers, a folder. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/adapter/stream.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "tests/unit/test.h"

struct os_loop;

/* Far beyond what a loaded machine needs; only a broken test meets it. */
#define TEST_DEADLINE_MS 30000

/* Open descriptors of this process. */
size_t test_count_fds(void);

/* A loop for each test: setup and teardown, *state is the loop. The teardown checks that
 * as many descriptors are open as before. */
int test_loop_setup(void **state);
int test_loop_teardown(void **state);

/* Run until *done, or fail the test at the deadline. */
void test_run_until(struct os_loop *loop, const bool *done);
/* Run what is due already, and what that starts, for some turns. */
void test_run_turns(struct os_loop *loop, int turns);

/* What a stream told. */
struct test_sink {
    struct stream *s; /* borrowed */
    struct os_loop *loop;
    struct vmt_buf got;
    size_t want; /* reached is set at this many bytes */
    bool reached, ended, drained;
    int status;
    bool close_in_data, close_in_end, close_in_drain;
    bool discard; /* count only */
    size_t total;
    unsigned calls;
};
extern const struct stream_handler test_sink_handler;
void test_sink_attach(struct test_sink *sink, struct os_loop *loop, struct stream *s);

/* Close its stream and forget what it got. */
void test_sink_done(struct test_sink *sink);
void test_send_text(struct stream *s, const char *text);
/* A stream at one end, a plain blocking descriptor at the other. */
struct stream *test_stream_and_raw(struct os_loop *loop, int *ret_raw);

/* A fresh folder below /tmp; the caller frees the name and removes the folder. */
char *test_temp_dir(void);
