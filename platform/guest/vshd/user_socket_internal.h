/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/user_socket_internal.h - what the helper process says. */
#pragma once

#include <stdint.h>

struct user_socket_spec;

#define USER_SOCKET_TEXT 256

/* One datagram. With it comes the socket, unless code says that there is none. */
struct user_socket_report {
    int32_t code;                /* 0 or positive errno */
    uint32_t port;               /* where a listener is */
    char text[USER_SOCKET_TEXT]; /* path of a listener, or words for code */
};

/* The helper's life, in its own process; channel is a seqpacket socket to vshd. */
void user_socket_child(const struct user_socket_spec *spec, int channel)
    __attribute__((noreturn));
