/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/respawn.h"

#include <string.h>

static void
drop_oldest(struct respawn *r, size_t n)
{
    r->n -= n;
    memmove(r->starts_ms, r->starts_ms + n, r->n * sizeof(r->starts_ms[0]));
}

unsigned
respawn_recent(const struct respawn *r, uint64_t now_ms)
{
    unsigned n = 0;

    for (size_t i = 0; i < r->n; i++)
        n += now_ms - r->starts_ms[i] < RESPAWN_WINDOW_MS;
    return n;
}

void
respawn_started(struct respawn *r, uint64_t now_ms)
{
    if (r->n == RESPAWN_STARTS_MAX)
        drop_oldest(r, 1);
    r->starts_ms[r->n++] = now_ms;
}

bool
respawn_next(struct respawn *r, uint64_t now_ms, uint64_t *ret_delay_ms)
{
    uint64_t delay = RESPAWN_DELAY_FIRST_MS;
    size_t old = 0;

    while (old < r->n && now_ms - r->starts_ms[old] >= RESPAWN_WINDOW_MS)
        old++;
    drop_oldest(r, old);
    if (r->n == RESPAWN_STARTS_MAX)
        return false;
    for (size_t i = 2; i < r->n && delay < RESPAWN_DELAY_MAX_MS; i++)
        delay *= 2;
    *ret_delay_ms = r->n < 2 ? 0 : delay;
    return true;
}
