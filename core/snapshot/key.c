/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/snapshot/key.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"

/* Raised when the meaning of a key, or what the agent does in a template, changes. */
#define KEY_VERSION 1

static int
add_text(struct vmt_buf *key, const char *name, const char *value)
{
    int r = vmt_buf_append(key, name, strlen(name));

    if (r == 0)
        r = vmt_buf_append(key, "=", 1);
    if (r == 0)
        r = vmt_buf_append(key, value, strlen(value));
    return r == 0 ? vmt_buf_append(key, "\n", 1) : r;
}

static int
add_number(struct vmt_buf *key, const char *name, unsigned long value)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%lu", value);
    return add_text(key, name, text);
}

int
snapshot_key(const struct snapshot_facts *facts, char **ret_key, struct vmt_err *err)
{
    const struct {
        const char *name, *value;
    } texts[] = {{"owner", facts->owner},     {"hypervisor", facts->hypervisor},
                 {"build", facts->build_id},  {"accel", facts->accel},
                 {"cmdline", facts->cmdline}, {"kernel", facts->kernel},
                 {"initrd", facts->initrd},   {"root", facts->root}};
    const struct {
        const char *name;
        unsigned long value;
    } numbers[] = {{"version", KEY_VERSION},      {"cpus", facts->cpus},
                   {"mem", facts->mem_mib},       {"net", facts->net},
                   {"slots", facts->spare_slots}, {"hugepages", facts->hugepages}};
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf key = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < VMT_ARRAY_SIZE(numbers); i++)
        r = add_number(&key, numbers[i].name, numbers[i].value);
    for (size_t i = 0; r == 0 && i < VMT_ARRAY_SIZE(texts); i++) {
        if (strchr(texts[i].value, '\n'))
            return vmt_err_setx(err, EINVAL, "%s holds a newline", texts[i].name);
        r = add_text(&key, texts[i].name, texts[i].value);
    }
    *ret_key = r == 0 ? strndup((const char *)key.data, key.len) : NULL;
    return *ret_key ? 0 : vmt_err_set(err, ENOMEM, "make the key of a state");
}

/* FNV-1a, 64 bits. Source: draft-eastlake-fnv, section 6. */
static uint64_t
fnv1a(const char *text, uint64_t hash)
{
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

const char *
snapshot_name(const char *text, char name[SNAPSHOT_NAME_MAX])
{
    uint64_t a = fnv1a(text, 0xcbf29ce484222325u);
    /* The second half begins where the first one ended, and so differs from it. */
    uint64_t b = fnv1a(text, a);

    (void)snprintf(name, SNAPSHOT_NAME_MAX, "%016llx%016llx", (unsigned long long)a,
                   (unsigned long long)b);
    return name;
}
