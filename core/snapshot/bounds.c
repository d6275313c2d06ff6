/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/snapshot/bounds.h"

#include <string.h>

/* The least recently used that is still there, of group, or of all for NULL. */
static struct snapshot_entry *
oldest(struct snapshot_entry *entries, size_t n, const char *group)
{
    struct snapshot_entry *found = NULL;

    for (size_t i = 0; i < n; i++) {
        struct snapshot_entry *e = &entries[i];

        if (e->evict || (group && strcmp(e->group, group) != 0))
            continue;
        if (!found || e->used_ms < found->used_ms)
            found = e;
    }
    return found;
}

static size_t
count(const struct snapshot_entry *entries, size_t n, const char *group)
{
    size_t there = 0;

    for (size_t i = 0; i < n; i++)
        there += !entries[i].evict && strcmp(entries[i].group, group) == 0;
    return there;
}

static uint64_t
total(const struct snapshot_entry *entries, size_t n)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        if (!entries[i].evict) /* sizes of files: they do not overflow together */
            bytes += entries[i].bytes;
    return bytes;
}

bool
snapshot_bounds_apply(const struct snapshot_bounds *bounds,
                      struct snapshot_entry *entries, size_t n, const char *need_group,
                      uint64_t need)
{
    if (need > bounds->bytes || (need_group && bounds->per_group == 0))
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *group = entries[i].group;
        size_t mine = need_group && strcmp(group, need_group) == 0;

        while (count(entries, n, group) + mine > bounds->per_group)
            oldest(entries, n, group)->evict = true;
    }
    while (total(entries, n) > bounds->bytes - need)
        oldest(entries, n, NULL)->evict = true;
    return true;
}
