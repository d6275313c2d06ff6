/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/rpc/channel_bed.h - a channel whose attempts to connect end as the test
 * says, and servers for it. */
#pragma once

#include "core/adapter/connector.h"
#include "core/rpc/channel.h"
#include "core/rpc/server.h"
#include "tests/fake/fake_clock.h"
#include "tests/fake/fake_stream.h"
#include "tests/unit/rpc/service.h"

struct bed {
    struct fake_clock *fake;
    struct vmt_clock *clock;
    struct connector connector;
    connector_done_fn *on_done; /* of the attempt that runs; NULL: none */
    void *on_done_arg;
    unsigned timeout_ms; /* of the newest attempt */
    size_t attempts, frees;
    bool refuse_at_once; /* connect itself fails */
    struct rpc_channel *channel;
    struct rpc_server *server;
    struct rpctest test;
    struct stream *ours, *theirs; /* the newest connection */
    char states[1024];            /* "CONNECTING READY " and so on, as told */
    char reason[512];             /* as told last */
    enum rpc_channel_state free_on_state;
    bool free_on_that_state;
};

/* config may be NULL; its on_state is the bed's. The seed is 1 unless it has one. */
void bed_init(struct bed *bed, const struct rpc_channel_config *config);
/* Frees all; no timer may be left, and the connector must be gone. */
void bed_done(struct bed *bed);

/* End the attempt that runs: with an error, with a stream to bed->theirs that nobody
 * serves, or with a stream to the server (without memory for one, with an error). Then
 * run what is due. */
void bed_refuse(struct bed *bed, int code, const char *why);
void bed_connect(struct bed *bed);
void bed_serve(struct bed *bed);
/* The last without running anything. */
void bed_open(struct bed *bed);
/* Run what is due. */
void bed_run(struct bed *bed);
void bed_advance(struct bed *bed, uint64_t ms);
void bed_free_channel(struct bed *bed);

/* One call and what it gave. Flags before bed_start. */
struct probe {
    struct bed *bed;
    struct rpc_channel_call *call; /* NULL when over */
    size_t messages, dones, drains, initials, trailings;
    struct rpc_status status;
    uint32_t number;
    char text[100];
    bool started;
    bool wait_for_ready, client_streams;
    enum rpc_encoding encoding;
    size_t data_len; /* of zeroes in what probe_send sends, at most 500 */
    bool free_on_done, cancel_on_message;
    size_t again; /* so often it is started again when it is over */
    const struct rpc_metadata *metadata;
    const int *fds;
    size_t nfds;
    char initial[200];
};
/* Start a call of Echo, Hang, Count, Collect or Chat. Returns what rpc_channel_start
 * gave. */
int bed_start(struct bed *bed, struct probe *probe, const char *path, uint32_t number,
              uint32_t timeout_ms);
/* One more request of a stream. */
int probe_send(struct probe *probe, uint32_t number);
/* Fails the test unless the call is over with this code and text somewhere in its words.
 */
void assert_ended(const struct probe *probe, enum rpc_code code, const char *text);
