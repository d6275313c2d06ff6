/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/client.h - what the suite asks of a client of either backend. */
#pragma once

#include "core/adapter/ipc.h"
#include "core/base/limits.h"

struct ProtobufCMessage;
struct client;

struct answer {
    bool done, ok;
    enum ipc_error code;              /* when not ok; 0: something else */
    char text[512];                   /* of the error */
    struct ProtobufCMessage *message; /* owned; NULL: no result */
    int fds[VMT_FDS_MAX];             /* owned */
    size_t nfds;
};

struct call_spec {
    const char *method;
    /* The request: a message, or bytes that are none, or neither. */
    const struct ProtobufCMessage *message;
    const uint8_t *bytes;
    size_t len;
    const struct ProtobufCMessageDescriptor *reply; /* NULL: no result */
    const int *fds;
    size_t nfds;
    const char *fds_shape; /* "", "h" or "ah" */
};

/* Signals that came; the last one's message. */
struct signals_seen {
    bool ready, ended;
    size_t count;
    size_t len;
    uint8_t bytes[64];
};

struct client_ops {
    const char *name; /* first argument of the daemon */
    /* NULL when the daemon cannot be reached. */
    struct client *(*connect)(const char *address);
    void (*start)(struct client *c, const struct call_spec *spec, struct answer *a);
    /* seen is borrowed until close. */
    void (*subscribe)(struct client *c, struct signals_seen *seen);
    /* Wait at most 50 ms for something to happen. */
    void (*turn)(struct client *c);
    bool (*lost)(const struct client *c);
    /* Whether there is a daemon behind the connection. */
    bool (*served)(const struct client *c);
    void (*close)(struct client *c);
};

struct client {
    const struct client_ops *ops;
};

extern const struct client_ops client_unix_ops;
extern const struct client_ops client_dbus_ops;
