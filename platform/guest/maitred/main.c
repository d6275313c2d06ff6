/* SPDX-License-Identifier: BSD-3-Clause */
/* maitred - PID 1 of a VM and its agent; started by another init, the agent only. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/init/console.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/power.h"
#include "platform/linux/os/loop.h"

#define EXIT_USAGE 2
#define CMDLINE_MAX 65536

/* PID 1 has come to where it cannot go on: a reset tells the host more than a panic. */
static void __attribute__((noreturn)) give_up(const char *why)
{
    console_say("maitred: cannot go on: %s", why);
    console_drain();
    sync();
    while (true)
        power_down(CMDLINE_POWEROFF_REBOOT);
}

static void __attribute__((noreturn)) run_init(void)
{
    static struct agent agent;
    struct os_loop *loop;
    struct boot boot;
    struct vmt_err err;

    boot_run(&boot);
    if (os_loop_new(&loop, &err) < 0 || agent_start(&agent, loop, &boot, NULL, &err) < 0)
        give_up(err.msg);
    (void)os_loop_run(loop);
    give_up("the event loop ended");
}

static void
on_stop_signal(void *arg, int sig)
{
    (void)sig;
    os_loop_stop(arg, 0);
}

/* Tell a service manager that waits for it. Source: sd_notify(3), protocol. */
static void
notify_ready(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    VMT_CLEANUP(vmt_closep) int fd = -1;
    size_t len = path ? strlen(path) : 0;

    if (len == 0 || len >= sizeof(addr.sun_path))
        return;
    memcpy(addr.sun_path, path, len);
    if (*path == '@') /* an abstract socket */
        addr.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, "READY=1", strlen("READY=1"), MSG_NOSIGNAL,
                         (const struct sockaddr *)&addr,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        vmt_log_warning("tell the service manager: %s", strerror(errno));
    (void)unsetenv("NOTIFY_SOCKET"); /* what we start does not speak for us */
}

/* The ports are where the host put them, also for a service of the machine. */
static void
read_options(const char *unix_path, struct cmdline *ret)
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char none[] = "";

    if (unix_path || file_read("/proc/cmdline", CMDLINE_MAX, &text) < 0)
        text = NULL;
    cmdline_parse(text ? text : none, ret);
}

static int
run_service(const char *unix_path)
{
    struct boot boot = {.uevent_fd = -1, .old_root = -1, .is_complete = true};
    struct agent agent;
    struct os_loop *loop;
    struct vmt_err err;
    int r;

    os_process_init();
    read_options(unix_path, &boot.cmdline);
    vmt_log_init("maitred", NULL, NULL);
    r = os_loop_new(&loop, &err);
    if (r == 0) {
        (void)os_loop_on_signal(loop, SIGTERM, on_stop_signal, loop, NULL);
        (void)os_loop_on_signal(loop, SIGINT, on_stop_signal, loop, NULL);
        r = agent_start(&agent, loop, &boot, unix_path, &err);
        if (r == 0) {
            notify_ready();
            r = os_loop_run(loop);
        } else {
            vmt_log_error("%s", err.msg);
        }
        agent_done(&agent);
        os_loop_free(loop);
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void
print_help(void)
{
    (void)puts("Usage: maitred [--listen=unix:PATH]\n"
               "Agent of a VM: serves the calls of the host on vsock port 8888.\n"
               "As PID 1 it is also the init of the VM; see maitred(8).\n"
               "\n"
               "  --listen=unix:PATH  serve on a unix socket, for our own user only\n"
               "  --help, --version");
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    const char *unix_path = NULL;
    int c;

    if (getpid() == 1)
        run_init();
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h' || c == 'v') {
            if (c == 'h')
                print_help();
            else
                (void)puts("maitred " VMT_VERSION);
            return EXIT_SUCCESS;
        }
        if (c != 'l' || !vmt_str_has_prefix(optarg, "unix:")) {
            (void)fprintf(stderr, "maitred: --listen takes unix:PATH; see --help\n");
            return EXIT_USAGE;
        }
        unix_path = optarg + strlen("unix:");
    }
    return run_service(unix_path);
}
