/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/ipc.h - methods and signals of a daemon, whatever bus carries them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct ipc_call;
struct ipc_server;
struct proto_file;
struct vmt_err;

/* Descriptors beside the message, as they stand in a D-Bus signature. */
enum ipc_fds {
    IPC_FDS_NONE = 0,
    IPC_FDS_ONE,            /* "h" */
    IPC_FDS_ARRAY,          /* "ah" */
    IPC_FDS_ARRAY_OPTIONAL, /* "ah" or left out */
};

/* Who may call. The owner is the owner_id or cryptohome_id field of the request. */
enum ipc_access {
    IPC_ACCESS_ANY = 0, /* every caller */
    IPC_ACCESS_OWNER,   /* the uid that the owner stands for, and whom SERVICE lets in */
    IPC_ACCESS_SERVICE, /* the daemons of this set, by their uids, and root */
    IPC_ACCESS_ROOT,    /* root; in user mode the one user whose daemon it is, too */
};

/* Taken from the kernel or the bus, never from a message. */
struct ipc_caller {
    uint32_t uid;
    int32_t pid;
    bool privileged; /* a daemon of this set, or root; core/ipc fills it in */
};

/* The request has been parsed and access checked. The handler answers exactly once, now
 * or later, with ipc_call_reply or ipc_call_fail; request is valid until then. */
typedef void ipc_handler_fn(void *ctx, struct ipc_call *call,
                            const struct ProtobufCMessage *request);

struct ipc_method {
    const char *name;
    const struct ProtobufCMessageDescriptor *request; /* NULL: no argument */
    const struct ProtobufCMessageDescriptor *reply;   /* NULL: no result */
    enum ipc_fds fds_in, fds_out;
    enum ipc_access access;
    ipc_handler_fn *handle;
    bool refused; /* only says why it does nothing here */
};

struct ipc_signal {
    const char *name;
    const struct ProtobufCMessageDescriptor *message;
};

struct ipc_service {
    const char *grpc_name; /* "vm_tools.concierge.VmConcierge" */
    const char *dbus_name; /* bus name and interface, "org.chromium.VmConcierge" */
    const char *dbus_path; /* "/org/chromium/VmConcierge" */
    const struct ipc_method *methods; /* sorted as in the wire tables */
    size_t nmethods;
    const struct ipc_signal *signals;
    size_t nsignals;
    const struct proto_file *file; /* the gRPC service, for reflection; NULL: none */
};

enum ipc_error {
    IPC_ERROR_FAILED = 1,     /* org.freedesktop.DBus.Error.Failed, gRPC UNKNOWN */
    IPC_ERROR_INVALID_ARGS,   /* ...InvalidArgs, INVALID_ARGUMENT */
    IPC_ERROR_ACCESS_DENIED,  /* ...AccessDenied, PERMISSION_DENIED */
    IPC_ERROR_UNKNOWN_METHOD, /* ...UnknownMethod, UNIMPLEMENTED */
    IPC_ERROR_NO_MEMORY,      /* ...NoMemory, RESOURCE_EXHAUSTED */
};

/* What a backend does; core/ipc calls it. A call belongs to the backend that made it. */
struct ipc_server_ops {
    const char *name; /* "dbus" or "unix" */
    /* Send a signal to every subscriber; a subscriber that does not read is dropped.
     * bytes is the serialized message, borrowed. */
    void (*emit)(struct ipc_server *server, const struct ipc_signal *signal,
                 const uint8_t *bytes, size_t len);
    /* Close the listener and all connections; calls in flight are cancelled. */
    void (*free)(struct ipc_server *server);
};

struct ipc_server {
    const struct ipc_server_ops *ops;
};
