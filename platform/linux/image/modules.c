/* SPDX-License-Identifier: BSD-3-Clause */
/* What must be loaded, in which order, for a module: depmod's tables read by libkmod. */
#include <errno.h>
#include <libkmod.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/image/image_internal.h"

typedef struct kmod_ctx kmod_ctx;

static void
kmod_unrefp(kmod_ctx **ctx)
{
    if (*ctx)
        (void)kmod_unref(*ctx);
}

struct paths {
    char **v; /* owned strings */
    size_t n, cap;
};

void
image_strings_free(char **strings, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(strings[i]);
    free(strings);
}

static int
paths_add(struct paths *paths, const char *path)
{
    for (size_t i = 0; i < paths->n; i++) {
        if (strcmp(paths->v[i], path) == 0)
            return 0;
    }
    if (paths->n == paths->cap) {
        size_t cap = paths->cap ? paths->cap * 2 : 32;
        char **grown = realloc(paths->v, cap * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        paths->v = grown;
        paths->cap = cap;
    }
    paths->v[paths->n] = strdup(path);
    if (!paths->v[paths->n])
        return -ENOMEM;
    paths->n++;
    return 0;
}

/* Dependencies first, in the order in which they must be loaded. */
static int
module_add(struct kmod_module *mod, struct paths *paths)
{
    struct kmod_list *deps = kmod_module_get_dependencies(mod);
    struct kmod_list *item;
    const char *path;
    int r = 0;

    kmod_list_foreach(item, deps)
    {
        struct kmod_module *dep = kmod_module_get_module(item);

        path = kmod_module_get_path(dep);
        if (r == 0 && path)
            r = paths_add(paths, path);
        (void)kmod_module_unref(dep);
    }
    (void)kmod_module_unref_list(deps);
    path = kmod_module_get_path(mod);
    if (r == 0 && path)
        r = paths_add(paths, path);
    return r;
}

static int
module_resolve(struct kmod_ctx *ctx, const char *name, struct paths *paths,
               struct vmt_err *err)
{
    struct kmod_list *found = NULL;
    struct kmod_list *item;
    int r = kmod_module_new_from_lookup(ctx, name, &found);

    if (r < 0)
        return vmt_err_set(err, -r, "look up kernel module %s", name);
    if (!found)
        return vmt_err_setx(err, ENOENT, "the kernel package has no module %s", name);
    kmod_list_foreach(item, found)
    {
        struct kmod_module *mod = kmod_module_get_module(item);

        if (r == 0)
            r = module_add(mod, paths);
        (void)kmod_module_unref(mod);
    }
    (void)kmod_module_unref_list(found);
    return r < 0 ? vmt_err_set(err, -r, "resolve kernel module %s", name) : 0;
}

int
image_modules_resolve(const char *kernel_dir, const char *release,
                      const char *const *names, char ***ret_paths, size_t *ret_n,
                      struct vmt_err *err)
{
    VMT_CLEANUP(kmod_unrefp) kmod_ctx *ctx = NULL;
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    const char *no_config = NULL;
    struct paths paths = {0};
    int r = 0;

    if (asprintf(&dir, "%s/lib/modules/%s", kernel_dir, release) < 0)
        return vmt_err_set(err, ENOMEM, "resolve kernel modules");
    ctx = kmod_new(dir, &no_config);
    if (!ctx)
        return vmt_err_set(err, errno ? errno : ENOMEM, "read modules in %s", dir);
    for (; *names && r == 0; names++)
        r = module_resolve(ctx, *names, &paths, err);
    if (r < 0) {
        image_strings_free(paths.v, paths.n);
        return r;
    }
    *ret_paths = paths.v;
    *ret_n = paths.n;
    return 0;
}
