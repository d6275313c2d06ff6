/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/scale_daemon.c - vm_concierge with everything real but the hypervisor.
 *
 *   bench_scale_daemon FOLDER VSOCK_PROGRAM
 *
 * Serves FOLDER/concierge.sock; prints a newline when it does. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/scale_null.h"
#include "core/adapter/hypervisor.h"
#include "core/adapter/transport.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge.h"
#include "core/concierge/service.h"
#include "core/ipc/ipc.h"
#include "platform/linux/host/host.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/process.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/unix_ipc/unix_server.h"

#define BACKLOG 128

struct program {
    char records[256], logs[256], disks[256], socket[256];
    struct os_loop *loop;
    struct host *host;
    struct spawn *spawn;
    struct transport *transport;
    struct hypervisor *hv;
    struct concierge *c;
    struct ipc *ipc;
};

static int
make_adapters(struct program *p, const char *folder, struct vmt_err *err)
{
    const struct linux_host_config host = {
        .run_root = folder,
        .record_dir = p->records,
        .state_dir = p->records,
        .disk_dir = p->disks,
        .log_dir = p->logs,
    };
    int r = os_loop_new(&p->loop, err);

    if (r == 0)
        r = linux_host_new(&host, &p->host, err);
    if (r == 0)
        r = os_spawn_new(p->loop, &p->spawn, err);
    if (r == 0)
        r = transport_hybrid_new(p->loop, &p->transport, err);
    if (r == 0)
        r = scale_null_new(os_loop_clock(p->loop), &p->hv);
    return r;
}

static int
make_concierge(struct program *p, const char *vsock, struct vmt_err *err)
{
    const struct concierge_config config = {
        .clock = os_loop_clock(p->loop),
        .transport = p->transport,
        .spawn = p->spawn,
        .host = p->host,
        .hypervisor = p->hv,
        .vm_vsock = vsock,
        .vm_disk = "vm_disk",
        .console_dir = p->logs,
    };
    const struct ipc_identity self = {.uid = geteuid(), .clock = os_loop_clock(p->loop)};
    int r = concierge_new(&config, &p->c, err);

    if (r == 0)
        r = ipc_new(&concierge_service, p->c, &self, &p->ipc, err);
    if (r == 0)
        concierge_set_ipc(p->c, p->ipc);
    return r;
}

static int
serve(struct program *p, struct vmt_err *err)
{
    struct unix_server_config config = {.listen_fd = -1};
    struct ipc_server *server = NULL;
    int r = os_unix_listen(p->socket, 0600, BACKLOG, &config.listen_fd, err);

    if (r == 0)
        r = unix_server_new(p->loop, p->ipc, &config, &server, err);
    return r == 0 ? ipc_add_server(p->ipc, server, err) : r;
}

static void
on_stopped(void *arg)
{
    os_loop_stop(arg, 0);
}

static void
on_term(void *arg, int sig)
{
    struct program *p = arg;

    (void)sig;
    concierge_shutdown(p->c, on_stopped, p->loop);
}

static int
run(struct program *p, char **argv, struct vmt_err *err)
{
    int r = make_adapters(p, argv[1], err);

    if (r == 0)
        r = make_concierge(p, argv[2], err);
    if (r == 0)
        r = serve(p, err);
    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGTERM, on_term, p, err);
    if (r < 0)
        return r;
    (void)puts("");
    (void)fflush(stdout);
    return os_loop_run(p->loop);
}

int
main(int argc, char **argv)
{
    struct program p = {.loop = NULL};
    struct vmt_err err = {0};

    os_process_init();
    vmt_log_init("bench_scale_daemon", NULL, NULL);
    vmt_log_set_level(VMT_LOG_WARNING);
    os_raise_nofile();
    if (argc != 3 || strlen(argv[1]) > 200) {
        (void)fprintf(stderr, "usage: bench_scale_daemon FOLDER VSOCK_PROGRAM\n");
        return EXIT_FAILURE;
    }
    (void)snprintf(p.records, sizeof(p.records), "%s/vms", argv[1]);
    (void)snprintf(p.logs, sizeof(p.logs), "%s/console", argv[1]);
    (void)snprintf(p.disks, sizeof(p.disks), "%s/disks", argv[1]);
    (void)snprintf(p.socket, sizeof(p.socket), "%s/concierge.sock", argv[1]);
    if (run(&p, argv, &err) < 0) {
        vmt_log_error("%s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    ipc_free(p.ipc);
    concierge_free(p.c);
    p.hv->ops->free(p.hv);
    p.transport->ops->free(p.transport);
    os_spawn_free(p.spawn);
    linux_host_free(p.host);
    os_loop_free(p.loop);
    return EXIT_SUCCESS;
}
