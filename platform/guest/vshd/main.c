/* SPDX-License-Identifier: BSD-3-Clause */
/* vshd - shells and commands in a guest or container, for vsh on the host.
 * Source: platform2 3050786c, vm_tools/vsh/vshd.cc. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/adapter/stream.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/vsh/message.h"
#include "platform/guest/vshd/options.h"
#include "platform/guest/vshd/service.h"
#include "platform/guest/vshd/syslog.h"
#include "platform/linux/copy/copy.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/os/unix_socket.h"

#define LISTEN_BACKLOG 32
#define FORWARD_TIMEOUT_MS 10000u

struct daemon {
    struct options options;
    struct os_loop *loop;                 /* owned */
    struct vshd_service *service;         /* owned */
    struct transport *transport;          /* owned, NULL with a unix socket */
    struct transport_listener *listening; /* owned */
    struct transport_op *forwarding;      /* owned while it runs */
    struct os_listener *listener;         /* owned */
};

static void
daemon_done(struct daemon *d)
{
    vshd_service_free(d->service);
    if (d->listener)
        os_listener_free(d->listener);
    if (d->forwarding)
        d->transport->ops->cancel(d->forwarding);
    if (d->listening)
        d->transport->ops->unlisten(d->listening);
    if (d->transport)
        d->transport->ops->free(d->transport);
    if (d->loop)
        os_loop_free(d->loop);
}

static void
daemon_on_accept(void *arg, struct stream *stream, const struct stream_peer *peer)
{
    struct daemon *d = arg;

    (void)peer; /* the transport refused everybody but the host */
    vshd_service_accept(d->service, stream);
}

static void
daemon_on_forwarded(void *arg, struct stream *stream, const struct vmt_err *err)
{
    struct daemon *d = arg;

    d->forwarding = NULL;
    if (!stream) {
        vmt_log_error("connect to the host failed: %s port=%u", vmt_err_text(err),
                      d->options.forward_to_host_port);
        os_loop_stop(d->loop, EXIT_FAILURE);
        return;
    }
    vshd_service_accept(d->service, stream);
}

/* A forwarded vshd serves one session. */
static void
daemon_on_session_end(void *arg)
{
    struct daemon *d = arg;

    if (d->options.forward_to_host_port)
        os_loop_stop(d->loop, EXIT_SUCCESS);
}

static void
daemon_on_terminate(void *arg, int sig)
{
    struct daemon *d = arg;

    vmt_log_info("ending on signal %d", sig);
    os_loop_stop(d->loop, EXIT_SUCCESS);
}

static int
daemon_listen_unix(struct daemon *d, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = os_unix_listen(d->options.listen_unix, 0600, LISTEN_BACKLOG, &fd, err);

    if (r < 0)
        return r;
    r = os_listener_new(d->loop, fd, NULL, daemon_on_accept, d, &d->listener, err);
    if (r == 0)
        (void)vmt_take_fd(&fd);
    return r;
}

/* Only the host is added, so nobody else in or beside the guest gets in. */
static int
daemon_open_vsock(struct daemon *d, struct vmt_err *err)
{
    struct transport_dial dial = {
        .cid = VMT_CID_HOST,
        .port = d->options.forward_to_host_port,
        .timeout_ms = FORWARD_TIMEOUT_MS,
        .on_done = daemon_on_forwarded,
        .arg = d,
    };
    int r = transport_vsock_new(d->loop, &d->transport, err);

    if (r == 0)
        r = d->transport->ops->vm_add(d->transport, VMT_CID_HOST, NULL, err);
    if (r < 0)
        return r;
    if (dial.port)
        return d->transport->ops->connect(d->transport, &dial, &d->forwarding, err);
    return d->transport->ops->listen(d->transport, VMT_PORT_VSHD, daemon_on_accept, d,
                                     &d->listening, err);
}

static int
daemon_start(struct daemon *d, struct vmt_err *err)
{
    struct vshd_config config = {
        .default_user = d->options.default_user,
        .allow_to_switch_user = d->options.allow_to_switch_user,
        .inherit_env = d->options.inherit_env,
        .on_session_end = daemon_on_session_end,
        .arg = d,
    };
    int r;

    /* We need many descriptors; the commands get what we were started with. */
    (void)getrlimit(RLIMIT_NOFILE, &config.nofile);
    os_raise_nofile();
    r = os_loop_new(&d->loop, err);
    if (r == 0)
        r = vshd_service_new(d->loop, &config, &d->service, err);
    if (r == 0)
        r = os_loop_on_signal(d->loop, SIGTERM, daemon_on_terminate, d, err);
    if (r == 0)
        r = os_loop_on_signal(d->loop, SIGINT, daemon_on_terminate, d, err);
    if (r < 0)
        return r;
    return d->options.listen_unix ? daemon_listen_unix(d, err)
                                  : daemon_open_vsock(d, err);
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(daemon_done) struct daemon d = {0};
    struct vmt_err err;

    /* A session with the target VSH_TARGET_COPY runs this program under that name. */
    if (argc > 0 && strcmp(argv[0], VSH_COPY_PROGRAM) == 0)
        return copy_tool_main(argc, argv);
    os_process_init();
    if (options_parse(argc, argv, &d.options, &err) < 0) {
        (void)fprintf(stderr, "vshd: %s; vshd --help lists the options\n", err.msg);
        return EXIT_FAILURE;
    }
    if (d.options.help || d.options.version) {
        (void)fputs(d.options.help ? options_usage : "vshd (vm_tools) " VMT_VERSION "\n",
                    stdout);
        return EXIT_SUCCESS;
    }
    guest_log_init(d.options.log_kmsg);
    if (daemon_start(&d, &err) < 0) {
        vmt_log_error("%s", err.msg);
        return EXIT_FAILURE;
    }
    return os_loop_run(d.loop);
}
