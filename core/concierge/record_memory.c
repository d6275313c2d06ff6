/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/record_memory.c - what survives the daemon about memory. */
#include "core/concierge/concierge_internal.h"
#include "core/concierge/record_internal.h"
#include "vmt_state.pb-c.h"

void
record_memory_fill(const struct concierge *c, Vmt__DaemonRecord *record)
{
    record->balloon_interval_chosen = c->balloons.interval_chosen;
    record->balloon_interval_ms = c->balloons.interval_ms;
}

void
record_memory_read(struct concierge *c, const Vmt__DaemonRecord *record)
{
    c->balloons.interval_chosen = record->balloon_interval_chosen;
    if (record->balloon_interval_chosen &&
        record->balloon_interval_ms <= BALLOON_INTERVAL_MAX_MS)
        c->balloons.interval_ms = record->balloon_interval_ms;
}
