/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/freezer.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/adapter/clock.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/linux/os/dir.h"

#define POLL_MS 5u
#define GROUPS_MAX 1024u       /* right below the root; each container makes a few */
#define PIDS_MAX (1024 * 1024) /* bytes of cgroup.procs */
#define SMALL_FILE_MAX 4096

struct freezer {
    struct vmt_clock *clock; /* borrowed */
    const char *root;        /* borrowed */
    struct vmt_argv groups;  /* owned: names of those that we froze */
    bool on;
    struct vmt_timer *timer; /* owned by the clock: the next look */
    uint64_t deadline_ms;
    freezer_done_fn *on_done; /* NULL once told */
    void *arg;                /* borrowed until on_done */
};

int
freezer_new(struct vmt_clock *clock, const char *root, struct freezer **ret_freezer)
{
    struct freezer *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->clock = clock;
    f->root = root;
    *ret_freezer = f;
    return 0;
}

void
freezer_free(struct freezer *f)
{
    if (!f)
        return;
    f->clock->ops->timer_cancel(f->clock, f->timer);
    vmt_argv_done(&f->groups);
    free(f);
}

bool
freezer_is_on(const struct freezer *f)
{
    return f->on;
}

size_t
freezer_count(const struct freezer *f)
{
    return f->groups.n;
}

static int
group_path(const struct freezer *f, const char *name, const char *file,
           char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s/%s/%s", f->root, name, file);

    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int
group_set(const struct freezer *f, const char *name, bool frozen)
{
    char path[PATH_MAX];
    int r = group_path(f, name, "cgroup.freeze", path);

    return r < 0 ? r : file_write(path, frozen ? "1" : "0");
}

/* Does a file of the group hold the line? */
static bool
group_says(const struct freezer *f, const char *name, const char *file, const char *line)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char path[PATH_MAX];
    size_t len = strlen(line);

    if (group_path(f, name, file, path) < 0 || file_read(path, SMALL_FILE_MAX, &text) < 0)
        return false;
    for (const char *at = text; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, line, len) == 0 && (at[len] == '\n' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* A group that went away in between has nothing left that could run. */
static bool
group_is_frozen(const struct freezer *f, const char *name)
{
    char path[PATH_MAX];

    return group_says(f, name, "cgroup.events", "frozen 1") ||
           group_path(f, name, "cgroup.events", path) < 0 || access(path, F_OK) < 0;
}

static void
let_go(struct freezer *f)
{
    f->on = false;
    f->clock->ops->timer_cancel(f->clock, f->timer);
    f->timer = NULL;
    for (size_t i = 0; i < f->groups.n; i++) {
        int r = group_set(f, f->groups.v[i], false);

        if (r < 0 && r != -ENOENT && r != -ENODEV)
            vmt_log_error("thaw control group %s: %s", f->groups.v[i], strerror(-r));
    }
    vmt_argv_done(&f->groups);
}

static void
tell(struct freezer *f, int status, const struct vmt_err *err)
{
    freezer_done_fn *fn = f->on_done;

    f->on_done = NULL;
    if (fn)
        fn(f->arg, status, err);
}

void
freezer_thaw(struct freezer *f)
{
    struct vmt_err err;

    if (!f->on)
        return;
    let_go(f);
    (void)vmt_err_setx(&err, ECANCELED, "thawed before all was frozen");
    tell(f, -ECANCELED, &err);
}

/* The first group that still runs, or NULL. */
static const char *
find_running(const struct freezer *f)
{
    for (size_t i = 0; i < f->groups.n; i++)
        if (!group_is_frozen(f, f->groups.v[i]))
            return f->groups.v[i];
    return NULL;
}

static void
on_look(void *arg)
{
    struct freezer *f = arg;
    const char *running = find_running(f);
    bool late = f->clock->ops->now_ms(f->clock) >= f->deadline_ms;
    struct vmt_err err;

    f->timer = NULL;
    if (!running) {
        tell(f, 0, NULL);
        return;
    }
    if (!late &&
        f->clock->ops->timer_start(f->clock, POLL_MS, on_look, f, &f->timer) == 0)
        return;
    (void)vmt_err_setx(&err, ETIMEDOUT,
                       "a program of control group %s does not stop: it may wait for a "
                       "file system that does not answer",
                       running);
    let_go(f);
    tell(f, -ETIMEDOUT, &err);
}

/* Every name below the root that is a group, not frozen by another. */
static int
list_groups(struct freezer *f, struct vmt_err *err)
{
    VMT_CLEANUP(os_closedirp) DIR *dir = opendir(f->root);
    struct dirent *entry;

    if (!dir)
        return vmt_err_set(err, errno, "list control groups");
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.' ||
            !group_says(f, entry->d_name, "cgroup.freeze", "0"))
            continue;
        if (f->groups.n == GROUPS_MAX)
            return vmt_err_setx(err, E2BIG, "more than %u control groups", GROUPS_MAX);
        vmt_argv_add(&f->groups, entry->d_name);
    }
    return vmt_argv_finish(&f->groups, err);
}

/* A program of its own: not a kernel thread, which has none, nor a worker of ours. */
static bool
is_stray(const char *pid)
{
    char path[64], theirs[PATH_MAX] = "", ours[PATH_MAX] = "";

    (void)snprintf(path, sizeof(path), "/proc/%.20s/exe", pid);
    if (readlink(path, theirs, sizeof(theirs) - 1) < 0 ||
        readlink("/proc/self/exe", ours, sizeof(ours) - 1) < 0)
        return false;
    return strcmp(theirs, ours) != 0;
}

/* Who was moved to the root by hand would run on. */
static void
gather_strays(const struct freezer *f, const char *home)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char from[PATH_MAX], to[PATH_MAX], *pid, *save = NULL;

    if (snprintf(from, sizeof(from), "%s/cgroup.procs", f->root) >= PATH_MAX ||
        snprintf(to, sizeof(to), "%s/cgroup.procs", home) >= PATH_MAX ||
        file_read(from, PIDS_MAX, &text) < 0)
        return;
    for (pid = strtok_r(text, "\n", &save); pid; pid = strtok_r(NULL, "\n", &save)) {
        if (isdigit((unsigned char)*pid) && is_stray(pid) && file_write(to, pid) < 0)
            vmt_log_debug("process %s stays in the root control group", pid);
    }
}

static int
freeze_groups(struct freezer *f, struct vmt_err *err)
{
    for (size_t i = 0; i < f->groups.n; i++) {
        int r = group_set(f, f->groups.v[i], true);

        if (r < 0 && r != -ENOENT && r != -ENODEV)
            return vmt_err_set(err, -r, "freeze control group %s", f->groups.v[i]);
    }
    return 0;
}

int
freezer_freeze(struct freezer *f, const char *home, unsigned timeout_ms,
               freezer_done_fn *on_done, void *arg, struct vmt_err *err)
{
    int r;

    if (f->on)
        return vmt_err_setx(err, EALREADY, "the programs of this VM are frozen");
    gather_strays(f, home);
    f->on = true;
    r = list_groups(f, err);
    if (r == 0)
        r = freeze_groups(f, err);
    if (r == 0 && f->clock->ops->timer_start(f->clock, 0, on_look, f, &f->timer) < 0)
        r = vmt_err_set(err, ENOMEM, "freeze control groups");
    if (r < 0) {
        let_go(f);
        return r;
    }
    f->deadline_ms = f->clock->ops->now_ms(f->clock) + timeout_ms;
    f->on_done = on_done;
    f->arg = arg;
    return 0;
}
