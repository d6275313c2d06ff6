/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/modules_root.c - modules of the root, by libkmod. */
#include <errno.h>
#include <libkmod.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/modules.h"

/* As modprobe(8) without -b does. */
#define PROBE_FLAGS KMOD_PROBE_APPLY_BLACKLIST_ALIAS_ONLY

/* What it says of a tree of modules goes where our own words go. */
__attribute__((format(printf, 6, 0))) static void
on_log(void *data, int priority, const char *file, int line, const char *fn,
       const char *format, va_list args)
{
    char text[256];

    (void)data;
    (void)priority;
    (void)file;
    (void)line;
    (void)vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\n")] = '\0';
    vmt_log_debug("%s: %s", fn, text);
}

static int
insert_all(struct kmod_list *found, const char *name, struct vmt_err *err)
{
    struct kmod_list *item;

    kmod_list_foreach(item, found)
    {
        struct kmod_module *mod = kmod_module_get_module(item);
        int r = kmod_module_probe_insert_module(mod, PROBE_FLAGS, NULL, NULL, NULL, NULL);

        if (r >= 0) /* above 0: it is on the blacklist */
            vmt_log_debug("module %s: %s", kmod_module_get_name(mod),
                          r > 0 ? "not wanted" : "there");
        (void)kmod_module_unref(mod);
        if (r < 0)
            return vmt_err_set(err, -r, "load module %s", name);
    }
    return 0;
}

int
modules_load_from_root(const char *name, struct vmt_err *err)
{
    struct kmod_ctx *ctx = kmod_new(NULL, NULL);
    struct kmod_list *found = NULL;
    int r;

    if (!ctx)
        return vmt_err_set(err, ENOMEM, "load module %s", name);
    kmod_set_log_fn(ctx, on_log, NULL);
    r = kmod_module_new_from_lookup(ctx, name, &found);
    if (r < 0 && r != -ENOENT)
        (void)vmt_err_set(err, -r, "look for module %s in %s", name,
                          kmod_get_dirname(ctx));
    else if (!found)
        r = vmt_err_setx(err, ENODEV, "there is no module %s in %s", name,
                         kmod_get_dirname(ctx));
    else
        r = insert_all(found, name, err);
    (void)kmod_module_unref_list(found);
    (void)kmod_unref(ctx);
    return r;
}

int
modules_load_wanted(void *arg, struct vmt_err *err)
{
    char *name, *save = NULL;
    int result = 0;

    for (name = strtok_r(arg, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        int r = modules_load_from_root(name, result < 0 ? NULL : err);

        result = result < 0 ? result : r;
    }
    return result;
}
