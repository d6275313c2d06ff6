/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/console.c - the guest's console output, which is hostile text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"

#define TAIL_BYTES 16384u
#define LINE_MAX_BYTES 160u

char *
console_path(struct concierge *c, const struct vm_id *id)
{
    char key[VM_KEY_MAX];
    size_t len = strlen(c->config.console_dir) + sizeof(key) + 8;
    char *path = malloc(len);

    if (path)
        (void)snprintf(path, len, "%s/%s.log", c->config.console_dir, vm_id_key(id, key));
    return path;
}

static size_t
escape_byte(char *out, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";

    if (byte == '\r')
        return 0;
    if (byte == '\n' || byte == '\t' || (byte >= 0x20 && byte < 0x7f)) {
        out[0] = (char)byte;
        return 1;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex[byte >> 4];
    out[3] = hex[byte & 15];
    return 4;
}

char *
console_escape(const char *data, size_t len)
{
    char *out = malloc(len * 4 + 1);
    size_t at = 0;

    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i++)
        at += escape_byte(out + at, (unsigned char)data[i]);
    out[at] = '\0';
    return out;
}

/* Where the last lines begin; one newline at the very end does not count. */
static size_t
last_lines(const char *data, size_t len, unsigned lines)
{
    size_t at = len > 0 && data[len - 1] == '\n' ? len - 1 : len;

    while (at > 0) {
        if (data[at - 1] == '\n' && --lines == 0)
            break;
        at--;
    }
    return at;
}

char *
console_last_lines(struct concierge_vm *vm, unsigned lines)
{
    struct host *host = vm->c->config.host;
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    size_t len = 0, from;

    if (host->logs->tail(host, vm->console, TAIL_BYTES, &data, &len, NULL) < 0)
        return strdup("");
    from = last_lines(data, len, lines);
    return console_escape(data + from, len - from);
}

/* The log is text with a NUL at its end; a NUL of the guest's only hides what follows. */
char *
console_find_line(struct concierge_vm *vm, const char *words)
{
    struct host *host = vm->c->config.host;
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    const char *found = NULL;
    size_t len = 0;

    if (host->logs->tail(host, vm->console, TAIL_BYTES, &data, &len, NULL) < 0)
        return NULL;
    for (const char *p = strstr(data, words); p; p = strstr(p + 1, words))
        found = p;
    if (!found)
        return NULL;
    len = strcspn(found, "\r\n");
    return console_escape(found, len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES);
}

static void
trim(struct concierge_vm *vm, const char *path)
{
    struct host *host = vm->c->config.host;
    struct vmt_err err = {0};
    int r = path ? host->logs->trim(host, path, CONSOLE_LOG_MAX, &err) : 0;

    if (r < 0)
        vmt_log_warning("log not kept within its bounds: %s vm=%s", err.msg, vm->key);
}

static void
on_log_timer(void *arg)
{
    struct concierge *c = arg;

    c->log_timer = NULL;
    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        trim(vm, vm->console);
        trim(vm, vm->companion_log);
    }
    if (!vmt_list_empty(&c->vms))
        console_watch(c);
}

void
console_watch(struct concierge *c)
{
    struct vmt_clock *clock = c->config.clock;

    if (c->log_timer)
        return;
    if (clock->ops->timer_start(clock, LOG_CHECK_MS, on_log_timer, c, &c->log_timer) < 0)
        vmt_log_error("no memory for the timer that bounds console logs");
}
