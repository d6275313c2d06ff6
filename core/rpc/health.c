/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/health.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/rpc/server_internal.h"
#include "grpc/health/v1/health.file.h"
#include "grpc/health/v1/health.pb-c.h"

/* A name whose status was set. */
struct health_name {
    struct vmt_list node;
    enum rpc_health_status status;
    char name[]; /* at most RPC_HEALTH_NAME_MAX bytes and NUL */
};

/* A call to Watch. A connection can have as many as it can have calls. */
struct health_watcher {
    struct vmt_list node;
    struct rpc_health *health;    /* borrowed */
    struct rpc_server_call *call; /* borrowed until finished or cancelled */
    const char *service;          /* borrowed from the request, as long as call */
    enum rpc_health_status sent;  /* 0: nothing yet */
};

struct rpc_health {
    struct rpc_server *server; /* borrowed */
    struct vmt_list names;
    size_t nnames;
    struct vmt_list watchers;
    bool shut_down;
};

static void
watcher_free(struct health_watcher *w)
{
    vmt_list_remove(&w->node);
    free(w);
}

void
rpc_health_free(struct rpc_health *health)
{
    if (!health)
        return;
    VMT_LIST_FOREACH(node, next, &health->watchers)
    watcher_free(VMT_CONTAINER_OF(node, struct health_watcher, node));
    VMT_LIST_FOREACH(node, next, &health->names)
    free(VMT_CONTAINER_OF(node, struct health_name, node));
    free(health);
}

static struct health_name *
health_find(const struct rpc_health *health, const char *service)
{
    VMT_LIST_FOREACH(node, next, &health->names)
    {
        struct health_name *n = VMT_CONTAINER_OF(node, struct health_name, node);

        if (strcmp(n->name, service) == 0)
            return n;
    }
    return NULL;
}

static bool
health_serves(const struct rpc_health *health, const char *service)
{
    if (service[0] == '\0')
        return true;
    VMT_LIST_FOREACH(node, next, &health->server->services)
    {
        if (strcmp(VMT_CONTAINER_OF(node, struct server_service, node)->service->name,
                   service) == 0)
            return true;
    }
    return false;
}

static enum rpc_health_status
health_status(const struct rpc_health *health, const char *service)
{
    const struct health_name *n = health_find(health, service);
    enum rpc_health_status status = RPC_HEALTH_SERVICE_UNKNOWN;

    if (n)
        status = n->status;
    else if (health_serves(health, service))
        status = RPC_HEALTH_SERVING;
    if (health->shut_down && status == RPC_HEALTH_SERVING)
        status = RPC_HEALTH_NOT_SERVING;
    return status;
}

static void
health_response(Grpc__Health__V1__HealthCheckResponse *response,
                enum rpc_health_status status)
{
    grpc__health__v1__health_check_response__init(response);
    response->status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
}

static bool
health_name_ok(struct rpc_server_call *call, const char *service)
{
    if (strlen(service) <= RPC_HEALTH_NAME_MAX)
        return true;
    rpc_server_call_fail(call, RPC_INVALID_ARGUMENT,
                         "a service name has at most %d bytes", RPC_HEALTH_NAME_MAX);
    return false;
}

static void
handle_check(void *ctx, struct rpc_server_call *call,
             const struct ProtobufCMessage *message)
{
    const char *service =
        ((const Grpc__Health__V1__HealthCheckRequest *)message)->service;
    Grpc__Health__V1__HealthCheckResponse response;
    enum rpc_health_status status;

    if (!health_name_ok(call, service))
        return;
    status = health_status(ctx, service);
    if (status == RPC_HEALTH_SERVICE_UNKNOWN) {
        rpc_server_call_fail(call, RPC_NOT_FOUND, "unknown service");
        return;
    }
    health_response(&response, status);
    rpc_server_call_reply(call, &response.base);
}

/* Send the newest status unless it was sent last. One that does not read gets only the
 * newest, once it reads. */
static void
watcher_update(struct health_watcher *w)
{
    enum rpc_health_status status = health_status(w->health, w->service);
    Grpc__Health__V1__HealthCheckResponse response;
    struct rpc_server_call *call = w->call;

    if (status == w->sent || rpc_server_call_queued(call) > 0)
        return;
    health_response(&response, status);
    w->sent = status;
    /* -EPIPE: the client is gone, and the cancel callback is on its way. */
    if (rpc_server_call_send(call, &response.base, NULL, 0) != -ENOMEM)
        return;
    watcher_free(w);
    rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
}

/* Nothing will change any more. */
static void
watcher_end(struct health_watcher *w)
{
    enum rpc_health_status status = health_status(w->health, w->service);
    Grpc__Health__V1__HealthCheckResponse response;
    struct rpc_server_call *call = w->call;

    health_response(&response, status);
    if (status != w->sent)
        (void)rpc_server_call_send(call, &response.base, NULL, 0);
    watcher_free(w);
    rpc_server_call_fail(call, RPC_UNAVAILABLE, "the server is shutting down");
}

static void
watcher_on_cancel(void *arg)
{
    watcher_free(arg);
}

static void
watcher_on_drain(void *arg)
{
    watcher_update(arg);
}

static void
handle_watch(void *ctx, struct rpc_server_call *call,
             const struct ProtobufCMessage *message)
{
    const char *service =
        ((const Grpc__Health__V1__HealthCheckRequest *)message)->service;
    struct rpc_health *health = ctx;
    struct health_watcher *w;

    if (!health_name_ok(call, service))
        return;
    w = calloc(1, sizeof(*w));
    if (!w) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    w->health = health;
    w->call = call;
    w->service = service;
    vmt_list_append(&health->watchers, &w->node);
    if (health->shut_down) {
        watcher_end(w);
        return;
    }
    rpc_server_call_on_cancel(call, watcher_on_cancel, w);
    rpc_server_call_on_drain(call, watcher_on_drain, w);
    watcher_update(w);
}

/* What List gives: an entry of the map, and what it points to. */
struct health_row {
    Grpc__Health__V1__HealthListResponse__StatusesEntry entry;
    Grpc__Health__V1__HealthCheckResponse response;
};

struct health_rows {
    struct health_row *rows;                                       /* owned */
    Grpc__Health__V1__HealthListResponse__StatusesEntry **entries; /* owned */
    size_t n;
};

static void
rows_done(struct health_rows *r)
{
    free(r->rows);
    free(r->entries);
}

static void
rows_add(struct health_rows *r, const struct rpc_health *health, const char *service)
{
    enum rpc_health_status status = health_status(health, service);
    struct health_row *row = &r->rows[r->n];

    if (status == RPC_HEALTH_SERVICE_UNKNOWN)
        return;
    grpc__health__v1__health_list_response__statuses_entry__init(&row->entry);
    row->entry.key = (char *)(uintptr_t)service; /* packed, not written to */
    row->entry.value = &row->response;
    health_response(&row->response, status);
    r->entries[r->n++] = &row->entry;
}

static int
rows_fill(struct health_rows *r, const struct rpc_health *health)
{
    size_t max = 1 + health->nnames;

    VMT_LIST_FOREACH(node, next, &health->server->services)
    max++;
    r->rows = calloc(max, sizeof(*r->rows));
    r->entries =
        calloc(max, sizeof(Grpc__Health__V1__HealthListResponse__StatusesEntry *));
    if (!r->rows || !r->entries)
        return -ENOMEM;
    rows_add(r, health, "");
    VMT_LIST_FOREACH(node, next, &health->server->services)
    rows_add(r, health,
             VMT_CONTAINER_OF(node, struct server_service, node)->service->name);
    VMT_LIST_FOREACH(node, next, &health->names)
    {
        const char *name = VMT_CONTAINER_OF(node, struct health_name, node)->name;

        if (!health_serves(health, name))
            rows_add(r, health, name);
    }
    return 0;
}

static void
handle_list(void *ctx, struct rpc_server_call *call,
            const struct ProtobufCMessage *message)
{
    VMT_CLEANUP(rows_done) struct health_rows rows = {0};
    Grpc__Health__V1__HealthListResponse response;

    (void)message;
    if (rows_fill(&rows, ctx) < 0) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    grpc__health__v1__health_list_response__init(&response);
    response.statuses = rows.entries;
    response.n_statuses = rows.n;
    rpc_server_call_reply(call, &response.base);
}

static const struct rpc_server_method methods[] = {
    {.name = "Check",
     .request = &grpc__health__v1__health_check_request__descriptor,
     .handle = handle_check},
    {.name = "List",
     .request = &grpc__health__v1__health_list_request__descriptor,
     .handle = handle_list},
    {.name = "Watch",
     .request = &grpc__health__v1__health_check_request__descriptor,
     .handle = handle_watch,
     .server_streams = true},
};

static const struct rpc_server_service service = {
    .name = "grpc.health.v1.Health",
    .methods = methods,
    .nmethods = VMT_ARRAY_SIZE(methods),
    .file = &proto_file_grpc_health_v1_health,
};

int
rpc_health_add(struct rpc_server *server, struct vmt_err *err)
{
    struct rpc_health *health;
    int r;

    if (server->health)
        return vmt_err_set(err, EEXIST, "add service %s", service.name);
    health = calloc(1, sizeof(*health));
    if (!health)
        return vmt_err_set(err, ENOMEM, "add service %s", service.name);
    health->server = server;
    vmt_list_init(&health->names);
    vmt_list_init(&health->watchers);
    r = rpc_server_add(server, &service, health, err);
    if (r < 0)
        rpc_health_free(health);
    else
        server->health = health;
    return r;
}

int
rpc_health_set(struct rpc_server *server, const char *name, enum rpc_health_status status)
{
    struct rpc_health *health = server->health;
    size_t len = strlen(name);
    struct health_name *n;

    if (!health)
        return -ENOENT;
    if (len > RPC_HEALTH_NAME_MAX)
        return -EINVAL;
    n = health_find(health, name);
    if (!n) {
        if (health->nnames >= RPC_HEALTH_NAMES_MAX)
            return -ENOSPC;
        n = calloc(1, sizeof(*n) + len + 1);
        if (!n)
            return -ENOMEM;
        memcpy(n->name, name, len + 1);
        vmt_list_append(&health->names, &n->node);
        health->nnames++;
    }
    n->status = status;
    VMT_LIST_FOREACH(node, next, &health->watchers)
    {
        struct health_watcher *w = VMT_CONTAINER_OF(node, struct health_watcher, node);

        if (strcmp(w->service, name) == 0)
            watcher_update(w);
    }
    return 0;
}

void
rpc_health_shutdown(struct rpc_server *server)
{
    struct rpc_health *health = server->health;

    if (!health)
        return;
    health->shut_down = true;
    while (!vmt_list_empty(&health->watchers))
        watcher_end(VMT_CONTAINER_OF(health->watchers.next, struct health_watcher, node));
}
