/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/paths.c - the folders of user mode and of system mode.
 * Source: XDG Base Directory Specification 0.8; an unset, empty or relative variable
 * counts as unset. */
#include "platform/linux/os/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

static const char *
paths_env(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] == '/' ? value : NULL;
}

/* $name/vm_tools, else $HOME/fallback/vm_tools. */
static int
paths_from_home(const char *name, const char *fallback, char **ret, struct vmt_err *err)
{
    const char *base = paths_env(name), *home = paths_env("HOME");
    int n;

    if (!base && !home)
        return vmt_err_setx(err, ENOENT, "neither %s nor HOME is set: set one", name);
    n = base ? asprintf(ret, "%s/vm_tools", base)
             : asprintf(ret, "%s/%s/vm_tools", home, fallback);
    if (n < 0) {
        *ret = NULL;
        return vmt_err_set(err, ENOMEM, "find the folder of %s", name);
    }
    return os_mkdir_p(*ret, 0700, err);
}

/* Others must not be able to put their sockets in the place of ours. */
static int
paths_check_private(const char *path, struct vmt_err *err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return vmt_err_set(err, errno, "look at %s", path);
    if (!S_ISDIR(st.st_mode))
        return vmt_err_setx(err, ENOTDIR, "%s is not a directory: remove it", path);
    if (st.st_uid != geteuid())
        return vmt_err_setx(err, EPERM,
                            "%s belongs to uid %u, not to us: set XDG_RUNTIME_DIR to a "
                            "directory of yours",
                            path, (unsigned)st.st_uid);
    if (st.st_mode & 0077)
        return vmt_err_setx(err, EPERM, "others can enter %s: chmod 0700 it", path);
    return 0;
}

static bool
paths_is_ours(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

static int
paths_user_runtime(char **ret, struct vmt_err *err)
{
    const char *base = paths_env("XDG_RUNTIME_DIR");
    unsigned uid = (unsigned)geteuid();
    char run_user[64];
    int n;

    (void)snprintf(run_user, sizeof(run_user), "/run/user/%u", uid);
    if (!base && paths_is_ours(run_user))
        base = run_user;
    n = base ? asprintf(ret, "%s/vm_tools", base)
             : asprintf(ret, "/tmp/vm_tools-%u", uid);
    if (n < 0) {
        *ret = NULL;
        return vmt_err_set(err, ENOMEM, "find the runtime directory");
    }
    if (base)
        n = os_mkdir_p(*ret, 0700, err);
    else if (mkdir(*ret, 0700) < 0 && errno != EEXIST)
        n = vmt_err_set(err, errno, "make runtime directory %s", *ret);
    return n < 0 ? n : paths_check_private(*ret, err);
}

static int
paths_user(struct os_paths *paths, struct vmt_err *err)
{
    int r = paths_user_runtime(&paths->runtime, err);

    if (r == 0)
        r = paths_from_home("XDG_STATE_HOME", ".local/state", &paths->state, err);
    if (r == 0)
        r = paths_from_home("XDG_DATA_HOME", ".local/share", &paths->data, err);
    if (r == 0)
        r = paths_from_home("XDG_CACHE_HOME", ".cache", &paths->cache, err);
    return r;
}

static int
paths_system_one(const char *path, char **ret, struct vmt_err *err)
{
    *ret = strdup(path);
    if (!*ret)
        return vmt_err_set(err, ENOMEM, "find %s", path);
    return os_mkdir_p(path, 0700, err);
}

static int
paths_system(struct os_paths *paths, struct vmt_err *err)
{
    int r = paths_system_one("/run/vm_tools", &paths->runtime, err);

    if (r == 0)
        r = paths_system_one("/var/lib/vm_tools", &paths->state, err);
    if (r == 0)
        r = paths_system_one("/var/lib/vm_tools", &paths->data, err);
    if (r == 0)
        r = paths_system_one("/var/cache/vm_tools", &paths->cache, err);
    return r;
}

int
os_paths_init(bool system_mode, struct os_paths *ret_paths, struct vmt_err *err)
{
    VMT_CLEANUP(os_paths_done) struct os_paths paths = {0};
    int r = system_mode ? paths_system(&paths, err) : paths_user(&paths, err);

    if (r < 0)
        return r;
    *ret_paths = paths;
    paths = (struct os_paths){0};
    return 0;
}

void
os_paths_done(struct os_paths *paths)
{
    free(paths->runtime);
    free(paths->state);
    free(paths->data);
    free(paths->cache);
    *paths = (struct os_paths){0};
}
