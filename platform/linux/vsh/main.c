/* SPDX-License-Identifier: BSD-3-Clause */
/* vsh - a shell or command in a VM.
 * Source: platform2 3050786c, vm_tools/vsh/vsh.cc. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/paths.h"
#include "platform/linux/vsh/again.h"
#include "platform/linux/vsh/bus.h"
#include "platform/linux/vsh/concierge_client.h"
#include "platform/linux/vsh/connect.h"
#include "platform/linux/vsh/forward.h"
#include "platform/linux/vsh/list.h"
#include "platform/linux/vsh/options.h"
#include "platform/linux/vsh/run.h"

VMT_DEFINE_FREEP(struct concierge_client, concierge_client_free)
VMT_DEFINE_FREEP(struct os_loop, os_loop_free)
VMT_DEFINE_FREEP(struct vsh_forward, vsh_forward_free)

static int
fail(const struct vmt_err *err)
{
    (void)fprintf(stderr, "vsh: %s\n", vmt_err_text(err));
    return VSH_EXIT_LOCAL;
}

/* NULL when nothing was asked for. */
static int
make_forward(const struct options *options, struct os_loop *loop,
             struct vsh_forward **ret_forward, struct vmt_err *err)
{
    struct vsh_forward_config config = {
        .program = "vsh",
        .endpoint = &options->endpoint,
        .user = options->user,
        .local = options->local,
        .nlocal = options->nlocal,
        .remote = options->remote,
        .nremote = options->nremote,
        .agent = options->agent ? getenv("SSH_AUTH_SOCK") : NULL,
    };

    *ret_forward = NULL;
    if (options->agent && (!config.agent || !*config.agent))
        return vmt_err_setx(err, ENOENT, "-A: SSH_AUTH_SOCK names no agent");
    if (config.nlocal + config.nremote == 0 && !config.agent && !options->no_command)
        return 0;
    return vsh_forward_new(loop, &config, ret_forward, err);
}

/* The daemon of a VM. Whoever asks for it later, asks the same. */
struct finder {
    struct os_loop *loop; /* borrowed */
    bool system;
};

/* By the socket of our own vm_concierge, or that of the system's. */
static int
open_daemon(void *arg, struct concierge_client **ret_client, struct vmt_err *err)
{
    VMT_CLEANUP(os_paths_done) struct os_paths paths = {0};
    const struct finder *finder = arg;
    char path[PATH_MAX];
    int r = finder->system ? 0 : os_paths_init(false, &paths, err);

    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "%s/concierge.sock",
                   finder->system ? "/run/vm_tools" : paths.runtime);
    return concierge_client_new(finder->loop, path, ret_client, err);
}

static int
run(const struct options *options, struct vsh_endpoint *endpoint, struct finder *finder)
{
    struct os_loop *loop = finder->loop;
    /* For a vshd that does not know of sessions without a command. */
    static const char *const nothing[] = {"true"};
    VMT_CLEANUP(vsh_forward_freep) struct vsh_forward *forward = NULL;
    struct vmt_err err;
    struct vsh_request request = {
        .target = VSH_TARGET_VM,
        .user = options->user,
        .env = options->words.env,
        .nenv = options->words.nenv,
        .argv = options->words.argv,
        .argc = options->words.argc,
        .cwd = options->cwd,
        .cwd_pid = options->cwd_pid,
    };
    struct vsh_run_config config = {
        .program = "vsh",
        .endpoint = endpoint,
        .request = &request,
        .retry_ms = VSH_RETRY_MS,
        .tty = options->tty,
        .escape = options->escape,
        .keepalive_ms = options->keepalive_ms,
    };
    struct vsh_again again = {
        .vm_name = options->vm_name,
        .owner = options->owner_id,
        .reconnect = options->reconnect,
        .open = open_daemon,
        .arg = finder,
    };

    if (options->no_command) {
        request.no_command = true;
        request.argv = nothing;
        request.argc = VMT_ARRAY_SIZE(nothing);
    }
    if (make_forward(options, loop, &forward, &err) < 0)
        return fail(&err);
    config.forward = forward;
    if (options->vm_name)
        return vsh_run_again(loop, &again, &config, endpoint);
    return vsh_run(loop, &config);
}

/* The daemon serves on the bus what it serves on its socket; that of ChromiumOS has no
 * socket. What went wrong there matters only if there is a daemon. */
static int
find_on_bus(struct options *options, struct vmt_err *err)
{
    struct concierge_vm vm = {0};
    struct vmt_err why;
    int r = vsh_bus_vm(options->vm_name, options->owner_id, &vm, &why);

    if (r == 0)
        return concierge_vm_endpoint(&vm, options->vm_name, &options->endpoint, err);
    if (r == -ENOENT || r == -ECONNREFUSED || r == -ENOTSUP)
        return -ENOENT; /* err says already that there is none */
    return vmt_err_setx(err, -r, "%s", why.msg);
}

/* Who is asked first and does not know the VM does not end the search, but says how. */
static int
find_vm(struct finder *finder, struct options *options, struct vmt_err *err)
{
    int first = 0;

    (void)vmt_err_setx(err, ENOENT, "vm_concierge does not run; start the VM with vmc");
    for (int system = 0; system < 2; system++) {
        VMT_CLEANUP(concierge_client_freep) struct concierge_client *client = NULL;
        struct vmt_err why;
        int r;

        finder->system = system;
        r = open_daemon(finder, &client, &why);
        if (r < 0) {
            if (first == 0 && r != -ENOENT && r != -ECONNREFUSED)
                *err = why;
            continue;
        }
        r = concierge_client_endpoint(client, options->vm_name, options->owner_id,
                                      &options->endpoint, &why);
        if (r == 0)
            return 0;
        if (first == 0)
            *err = why;
        first = first ? first : r;
        if (first != -ENOENT)
            break;
    }
    return first ? first : find_on_bus(options, err);
}

static int
stdin_from_nothing(struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
        return vmt_err_set(err, errno, "open /dev/null");
    return 0;
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(options_done) struct options options = {0};
    VMT_CLEANUP(os_loop_freep) struct os_loop *loop = NULL;
    struct finder finder = {.loop = NULL};
    struct vmt_err err;

    os_process_init();
    vmt_log_init("vsh", NULL, NULL);
    if (options_parse(argc, argv, &options, &err) < 0) {
        (void)fprintf(stderr, "vsh: %s; vsh --help lists the options\n", err.msg);
        return VSH_EXIT_LOCAL;
    }
    if (options.help || options.version) {
        (void)fputs(options.help ? options_usage : "vsh (vm_tools) " VMT_VERSION "\n",
                    stdout);
        return EXIT_SUCCESS;
    }
    if (os_loop_new(&loop, &err) < 0)
        return fail(&err);
    finder.loop = loop;
    if (options.vm_name && find_vm(&finder, &options, &err) < 0)
        return fail(&err);
    if (options.list)
        return vsh_list(loop, "vsh", &options.endpoint, options.json);
    if (options.no_stdin && stdin_from_nothing(&err) < 0)
        return fail(&err);
    return run(&options, &options.endpoint, &finder);
}
