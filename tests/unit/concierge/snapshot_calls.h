/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/concierge/snapshot_calls.h - what tests of snapshots do again and again; the
 * VM is "demo". */
#pragma once

#include <stddef.h>

#include "tests/unit/concierge/world.h"

struct guest;

/* Ask for a snapshot of this name, or for the VM from it; the answer comes later. */
void take_snapshot(struct world *w, const char *name, struct client_call *call);
void restore_snapshot(struct world *w, const char *name, struct client_call *call);
/* Of take_snapshot, which is answered. NULL: it worked; else why not. */
const char *snapshot_outcome(const struct client_call *call);
/* How many the owner has. */
size_t count_snapshots(struct world *w);
void delete_snapshot(struct world *w, const char *name);
/* Stop the VM, and free its guest. */
void stop_vm(struct world *w, struct guest *g);
/* As if nothing had happened. */
void expect_vm_goes_on(struct world *w);
