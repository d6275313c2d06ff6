/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/victims.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/proc/table.h"
#include "platform/linux/os/dir.h"
#include "platform/linux/os/loop.h"

#define NAME_MAX_BYTES 64
#define NAMED_MAX 32u

struct victim {
    struct vmt_list node;
    struct victims *victims; /* borrowed */
    struct event *ev;        /* owned */
    int pidfd;               /* owned */
};

struct victims {
    struct os_loop *loop;    /* borrowed */
    struct vmt_list list;    /* of victim */
    struct vmt_timer *timer; /* owned by the clock: there was none to wait for */
    unsigned named;          /* that had to be killed */
    void (*on_gone)(void *arg);
    void *arg; /* borrowed */
};

static void
victim_free(struct victim *v)
{
    if (!v)
        return;
    vmt_list_remove(&v->node);
    if (v->ev)
        event_free(v->ev);
    vmt_closep(&v->pidfd);
    free(v);
}
VMT_DEFINE_FREEP(struct victim, victim_free)

static void
on_exit_of_victim(evutil_socket_t fd, short what, void *arg)
{
    struct victim *v = arg;
    struct victims *victims = v->victims;

    (void)fd;
    (void)what;
    victim_free(v);
    if (vmt_list_empty(&victims->list))
        victims->on_gone(victims->arg); /* may free victims */
}

static int
watch(struct victims *victims, pid_t pid, int *ret_pidfd)
{
    VMT_CLEANUP(victim_freep) struct victim *v = calloc(1, sizeof(*v));

    if (!v)
        return -ENOMEM;
    v->victims = victims;
    v->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (v->pidfd < 0)
        return -errno;
    v->ev =
        event_new(os_loop_base(victims->loop), v->pidfd, EV_READ, on_exit_of_victim, v);
    if (!v->ev || event_add(v->ev, NULL) < 0)
        return -ENOMEM;
    vmt_list_append(&victims->list, &v->node);
    *ret_pidfd = v->pidfd;
    (void)vmt_take_ptr(&v);
    return 0;
}

/* Kernel threads have no memory of their own, so no exe; a zombie has none either. */
static bool
is_program(const char *pid)
{
    char path[300], exe[8];

    (void)snprintf(path, sizeof(path), "/proc/%s/exe", pid);
    return readlink(path, exe, sizeof(exe)) >= 0 || errno != ENOENT;
}

static bool
same_pid_namespace(const char *pid)
{
    char path[300], theirs[64] = "", ours[64] = "";

    (void)snprintf(path, sizeof(path), "/proc/%s/ns/pid", pid);
    if (readlink(path, theirs, sizeof(theirs) - 1) < 0 ||
        readlink("/proc/self/ns/pid", ours, sizeof(ours) - 1) < 0)
        return true;
    return strcmp(theirs, ours) == 0;
}

static void
read_name(const char *pid, char name[NAME_MAX_BYTES])
{
    VMT_CLEANUP(vmt_freep) char *comm = NULL;
    char path[300];

    (void)snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    if (file_read(path, NAME_MAX_BYTES - 1, &comm) < 0)
        comm = NULL;
    (void)snprintf(name, NAME_MAX_BYTES, "%s", comm ? comm : "unknown");
    name[strcspn(name, "\n")] = '\0';
}

/* Does the process belong to a terminal? Field 7 of proc(5) stat; the name before it may
 * hold spaces and brackets. */
static bool
has_terminal(const char *pid)
{
    VMT_CLEANUP(vmt_freep) char *stat = NULL;
    char path[300];
    const char *rest;
    int tty = 0;

    (void)snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    if (file_read(path, 4096, &stat) < 0)
        return false;
    rest = strrchr(stat, ')');
    return rest && sscanf(rest, ") %*c %*d %*d %*d %d", &tty) == 1 && tty != 0;
}

static void
victim_signal(int pidfd, const char *pid, int sig)
{
    (void)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
    if (sig != SIGKILL && has_terminal(pid)) /* interactive shells ignore SIGTERM */
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGHUP, NULL, 0);
    if (sig != SIGKILL) /* who stands still hears of it when it goes on */
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0);
}

/* Is it the program of that name that we started? */
static bool
is_ours(const struct proc_table *procs, pid_t pid, const char *name)
{
    const char *program = proc_table_program(procs, pid);
    const char *base = program ? strrchr(program, '/') : NULL;

    return program && strcmp(base ? base + 1 : program, name) == 0;
}

static bool
is_of_kind(const struct victims_spec *spec, pid_t pid)
{
    static const char logger[] = "vm_syslog", containers[] = "tremplin";

    switch (spec->kind) {
    case VICTIMS_CONTAINERS:
        return is_ours(spec->procs, pid, containers);
    case VICTIMS_LOGGER:
        return is_ours(spec->procs, pid, logger);
    case VICTIMS_OTHERS:
        return !is_ours(spec->procs, pid, logger);
    case VICTIMS_ALL:
        break;
    }
    return true;
}

/* The first ones by name: a fork bomb would fill the console. */
static void
name_victim(struct victims *victims, const char *pid)
{
    char name[NAME_MAX_BYTES], shown[NAME_MAX_BYTES];

    if (victims->named++ >= NAMED_MAX)
        return;
    read_name(pid, name);
    vmt_log_warning("%s does not end and is killed pid=%s",
                    vmt_log_escape(shown, sizeof(shown), name, strlen(name)), pid);
}

static void
take_victim(struct victims *victims, const struct victims_spec *spec, const char *text)
{
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    int pidfd = -1;

    if (pid == getpid() || pid <= 1 || !is_program(text) || !is_of_kind(spec, pid) ||
        watch(victims, pid, &pidfd) < 0)
        return;
    if (spec->sig == SIGKILL)
        name_victim(victims, text);
    if (spec->sig == SIGKILL || same_pid_namespace(text))
        victim_signal(pidfd, text, spec->sig);
}

static void
on_none(void *arg)
{
    struct victims *victims = arg;

    victims->timer = NULL;
    victims->on_gone(victims->arg); /* may free victims */
}

int
victims_start(const struct victims_spec *spec, struct victims **ret_victims)
{
    struct vmt_clock *clock = os_loop_clock(spec->loop);
    struct victims *victims = calloc(1, sizeof(*victims));
    VMT_CLEANUP(os_closedirp) DIR *dir = opendir("/proc");
    struct dirent *entry;

    if (!victims)
        return -ENOMEM;
    *victims =
        (struct victims){.loop = spec->loop, .on_gone = spec->on_gone, .arg = spec->arg};
    vmt_list_init(&victims->list);
    while (dir && (entry = readdir(dir))) {
        if (isdigit((unsigned char)entry->d_name[0]))
            take_victim(victims, spec, entry->d_name);
    }
    if (victims->named > NAMED_MAX)
        vmt_log_warning("and %u more", victims->named - NAMED_MAX);
    if (vmt_list_empty(&victims->list) &&
        clock->ops->timer_start(clock, 0, on_none, victims, &victims->timer) < 0) {
        victims_free(victims);
        return -ENOMEM;
    }
    *ret_victims = victims;
    return 0;
}

void
victims_free(struct victims *victims)
{
    struct vmt_clock *clock;

    if (!victims)
        return;
    clock = os_loop_clock(victims->loop);
    clock->ops->timer_cancel(clock, victims->timer);
    VMT_LIST_FOREACH(at, next, &victims->list)
    victim_free(VMT_CONTAINER_OF(at, struct victim, node));
    free(victims);
}
