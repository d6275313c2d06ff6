/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_states.h - the saved states of a fake host, in memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/adapter/host.h"

extern const struct host_state_ops fake_states_ops;
void fake_states_free(const struct host *host);

/* Of the calls that can fail, the one after skip others gives -error; 0: none. */
void fake_states_fail_after(const struct host *host, unsigned skip, int error);
/* What every descriptor is identified as from now on; NULL: no regular file. Copied. */
void fake_states_set_identity(const struct host *host, const char *identity);

size_t fake_states_count(const struct host *host); /* files */
/* Descriptors from create that were neither committed nor dropped. */
size_t fake_states_open(const struct host *host);
/* The path of the file number index, oldest first, or NULL. */
const char *fake_states_path(const struct host *host, size_t index);
/* Make a file, of one byte. */
void fake_states_put(const struct host *host, const char *path);
/* Cut a file to len bytes. */
void fake_states_cut(const struct host *host, const char *path, size_t len);
/* Change one byte of a file. */
void fake_states_damage(const struct host *host, const char *path);
/* Processes that were put in the background so far. */
unsigned fake_states_backgrounds(const struct host *host);
