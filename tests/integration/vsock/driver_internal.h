/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/vsock/driver_internal.h - what the files of the driver share. */
#pragma once

#include "tests/integration/vsock/driver.h"

struct sockaddr_un;

/* Where the two rings of a queue start, from its descriptors on. */
enum { RING_AVAIL = 0x1000, RING_USED = 0x2000 };

/* A stream socket, and the address of name in dir. The descriptor is the caller's. */
int driver_unix_socket(const char *dir, const char *name, struct sockaddr_un *addr);
/* A socket that listens there. */
int driver_unix_listen(const char *dir, const char *name);
/* Waits until there is something to read, or the end. */
void driver_wait_readable(int fd);
