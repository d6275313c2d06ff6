/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/host/place.h - a host in a temporary directory. */
#pragma once

#include "platform/linux/host/host.h"

struct place {
    char root[64];
    char path[256]; /* of the last place_path */
    struct host *host;
};

int place_setup(void **state);
int place_teardown(void **state);

/* root/name, until the next call. */
const char *place_path(struct place *p, const char *name);
void place_write(struct place *p, const char *name, const char *text);
