/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/channel_bed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "tests/unit/test.h"

static struct bed *
bed_of(struct connector *connector)
{
    return VMT_CONTAINER_OF(connector, struct bed, connector);
}

static int
bed_connector_connect(struct connector *connector, unsigned timeout_ms,
                      connector_done_fn *on_done, void *arg, struct vmt_err *err)
{
    struct bed *bed = bed_of(connector);

    assert_null(bed->on_done); /* one at a time */
    assert_true(timeout_ms > 0);
    bed->attempts++;
    bed->timeout_ms = timeout_ms;
    if (bed->refuse_at_once)
        return vmt_err_setx(err, ENETUNREACH, "no way there");
    bed->on_done = on_done;
    bed->on_done_arg = arg;
    return 0;
}

static void
bed_connector_cancel(struct connector *connector)
{
    bed_of(connector)->on_done = NULL;
}

static void
bed_connector_free(struct connector *connector)
{
    bed_of(connector)->on_done = NULL;
    bed_of(connector)->frees++;
}

static const struct connector_ops bed_connector_ops = {
    .connect = bed_connector_connect,
    .cancel = bed_connector_cancel,
    .free = bed_connector_free,
};

static void
bed_on_state(void *arg, enum rpc_channel_state state, const char *reason)
{
    struct bed *bed = arg;
    size_t used = strlen(bed->states);

    (void)snprintf(bed->states + used, sizeof(bed->states) - used, "%s ",
                   rpc_channel_state_name(state));
    (void)snprintf(bed->reason, sizeof(bed->reason), "%s", reason);
    if (bed->free_on_that_state && state == bed->free_on_state)
        bed_free_channel(bed);
}

void
bed_init(struct bed *bed, const struct rpc_channel_config *config)
{
    struct rpc_channel_config own = {0};

    memset(bed, 0, sizeof(*bed));
    bed->fake = fake_clock_new();
    assert_non_null(bed->fake);
    bed->clock = fake_clock_base(bed->fake);
    bed->connector.ops = &bed_connector_ops;
    if (config)
        own = *config;
    own.seed = own.seed ? own.seed : 1;
    own.on_state = bed_on_state;
    own.arg = bed;
    assert_int_equal(rpc_server_new(bed->clock, NULL, &bed->server, NULL), 0);
    assert_int_equal(rpc_server_add(bed->server, &rpctest_service, &bed->test, NULL), 0);
    assert_int_equal(
        rpc_channel_new(bed->clock, &bed->connector, &own, &bed->channel, NULL), 0);
}

void
bed_free_channel(struct bed *bed)
{
    rpc_channel_free(bed->channel);
    bed->channel = NULL;
}

void
bed_done(struct bed *bed)
{
    bed_free_channel(bed);
    assert_int_equal(bed->frees, 1);
    rpc_server_free(bed->server);
    stream_close(bed->theirs);
    bed_run(bed);
    assert_int_equal(fake_clock_pending(bed->fake), 0);
    fake_clock_free(bed->fake);
}

static void
bed_end_attempt(struct bed *bed, struct stream *s, const struct vmt_err *err)
{
    connector_done_fn *on_done = bed->on_done;

    assert_non_null(on_done);
    bed->on_done = NULL;
    on_done(bed->on_done_arg, s, err);
}

void
bed_refuse(struct bed *bed, int code, const char *why)
{
    struct vmt_err err;

    (void)vmt_err_setx(&err, code, "%s", why);
    bed_end_attempt(bed, NULL, &err);
    bed_run(bed);
}

void
bed_connect(struct bed *bed)
{
    struct stream *ends[2];

    if (fake_stream_pair(bed->clock, ends) < 0) {
        bed_refuse(bed, ENOMEM, "no memory");
        return;
    }
    stream_close(bed->theirs);
    bed->ours = ends[0];
    bed->theirs = ends[1];
    bed_end_attempt(bed, ends[0], NULL);
    bed_run(bed);
}

void
bed_open(struct bed *bed)
{
    struct stream *ends[2];

    if (fake_stream_pair(bed->clock, ends) < 0) {
        bed_refuse(bed, ENOMEM, "no memory");
        return;
    }
    bed->ours = ends[0];
    bed_end_attempt(bed, ends[0], NULL);
    rpc_server_accept(bed->server, ends[1], NULL);
}

void
bed_serve(struct bed *bed)
{
    bed_open(bed);
    bed_run(bed);
}

void
bed_run(struct bed *bed)
{
    fake_clock_advance(bed->fake, 0);
}

void
bed_advance(struct bed *bed, uint64_t ms)
{
    fake_clock_advance(bed->fake, ms);
}

static void
probe_on_message(void *arg, const struct ProtobufCMessage *message, const int *fds,
                 size_t nfds)
{
    const Vmt__Rpctest__Reply *reply = (const Vmt__Rpctest__Reply *)message;
    struct probe *probe = arg;

    (void)fds;
    assert_int_equal(nfds, 0);
    assert_int_equal(probe->dones, 0);
    probe->messages++;
    probe->number = reply->number;
    (void)snprintf(probe->text, sizeof(probe->text), "%s", reply->text);
    if (!probe->cancel_on_message)
        return;
    rpc_channel_cancel(probe->call);
    probe->call = NULL;
}

static void
probe_on_done(void *arg, const struct rpc_status *status)
{
    struct probe *probe = arg;

    assert_true(probe->started); /* not from inside rpc_channel_start */
    probe->dones++;
    probe->call = NULL;
    probe->status = *status;
    if (probe->free_on_done)
        bed_free_channel(probe->bed);
    if (probe->again > 0) {
        probe->again--;
        (void)bed_start(probe->bed, probe, RPCTEST_PATH("Echo"), 1, 0);
    }
}

static void
probe_on_initial(void *arg, const struct rpc_metadata *metadata)
{
    const struct rpc_metadata_entry *e = metadata->first;
    struct probe *probe = arg;
    size_t used = 0;

    probe->initials++;
    for (; e; e = e->next)
        used += (size_t)snprintf(probe->initial + used, sizeof(probe->initial) - used,
                                 "%s=%.*s;", e->key, (int)e->len, (const char *)e->value);
}

static void
probe_on_trailing(void *arg, const struct rpc_metadata *metadata)
{
    (void)metadata;
    ((struct probe *)arg)->trailings++;
}

static void
probe_on_drain(void *arg)
{
    ((struct probe *)arg)->drains++;
}

static const struct rpc_client_handler probe_handler = {
    .on_message = probe_on_message,
    .on_done = probe_on_done,
    .on_initial = probe_on_initial,
    .on_trailing = probe_on_trailing,
    .on_drain = probe_on_drain,
};

int
bed_start(struct bed *bed, struct probe *probe, const char *path, uint32_t number,
          uint32_t timeout_ms)
{
    const struct rpc_client_request request = {.path = path,
                                               .reply = &vmt__rpctest__reply__descriptor,
                                               .server_streams = strstr(path, "Count") ||
                                                                 strstr(path, "Chat"),
                                               .timeout_ms = timeout_ms,
                                               .handler = &probe_handler,
                                               .arg = probe,
                                               .fds = probe->fds,
                                               .nfds = probe->nfds,
                                               .client_streams = probe->client_streams,
                                               .metadata = probe->metadata,
                                               .wait_for_ready = probe->wait_for_ready,
                                               .encoding = probe->encoding};
    Vmt__Rpctest__Request message = rpctest_request();
    char text[] = "text";
    int r;

    probe->bed = bed;
    message.text = text;
    message.number = number;
    r = rpc_channel_start(bed->channel, &request,
                          probe->client_streams ? NULL : &message.base, &probe->call,
                          NULL);
    memset(text, '?', sizeof(text) - 1); /* it was copied */
    probe->started = r == 0;
    return r;
}

int
probe_send(struct probe *probe, uint32_t number)
{
    static uint8_t zeroes[500];
    Vmt__Rpctest__Request message = rpctest_request();

    message.number = number;
    message.data.data = zeroes;
    message.data.len = probe->data_len;
    return rpc_channel_send(probe->call, &message.base);
}

void
assert_ended(const struct probe *probe, enum rpc_code code, const char *text)
{
    assert_int_equal(probe->dones, 1);
    if (probe->status.code != code || !strstr(probe->status.text, text))
        fail_msg("%s: %s, expected %s: ...%s...", rpc_code_name(probe->status.code),
                 probe->status.text, rpc_code_name(code), text);
}
