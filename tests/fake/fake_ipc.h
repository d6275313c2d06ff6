/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_ipc.h - a service of four methods and a backend that remembers. */
#pragma once

#include <sys/types.h>

#include "core/ipc/ipc.h"

#define FAKE_UID_DAEMON 500u
#define FAKE_UID_USER 1000u

/* What became of one call; its address is the token. */
struct fake_answer {
    int replies, failures;
    uint8_t bytes[256];
    size_t len;
    bool has_bytes;
    size_t nfds;
    enum ipc_error code;
    char text[256];
};

/* The ctx of the handlers: they keep the call, the test answers it. */
struct fake_daemon {
    int handled;
    struct ipc_call *call;
    const struct ProtobufCMessage *request;
};

/* A server that counts. */
struct fake_server {
    struct ipc_server base;
    int emitted, freed;
    const struct ipc_signal *signal;
    uint8_t bytes[256];
    size_t len;
};

extern const struct ipc_service fake_service;
extern const struct ipc_answer_ops fake_answer_ops;

void fake_server_init(struct fake_server *s);
struct ipc *fake_ipc_new(struct fake_daemon *d);
/* Dispatch a call with bytes (may be NULL) from uid. */
void fake_call(struct ipc *ipc, const char *method, uint32_t uid, const uint8_t *bytes,
               size_t len, const int *fds, size_t nfds, struct fake_answer *answer);
bool fake_fd_is_open(int fd);
