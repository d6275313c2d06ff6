/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_concierge - starts VMs and looks after them. Only wiring: decisions are made in
 * core/concierge. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/concierge/concierge.h"
#include "core/concierge/service.h"
#include "core/ipc/ipc.h"
#include "hypervisor/qemu/qemu.h"
#include "platform/linux/host/host.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/paths.h"
#include "platform/linux/os/process.h"
#include "platform/linux/os/transports.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/unix_ipc/unix_server.h"
#include "platform/linux/vm_concierge/bus.h"
#include "platform/linux/vm_concierge/network.h"
#include "platform/linux/vm_concierge/options.h"
#include "platform/linux/watch/watch.h"

#define EXIT_USAGE 2
#define BACKLOG 128

/* For clients to take their last answers. */
#define LEAVE_GRACE_MS 2000u
#define LEAVE_MS 1000u

/* Each member owned; NULL or -1 until it is there. */
struct program {
    struct options opt;
    struct os_paths paths;
    struct os_loop *loop;
    struct host *host;
    struct spawn *spawn;
    struct transport *transport;
    struct hypervisor *hypervisor;
    struct host_watch *watch;
    struct host_sleep *sleep;
    struct host_net *net;
    struct concierge *concierge;
    struct ipc *ipc;
    struct ipc_server *unix_server; /* borrowed: ipc's */
    struct vmt_timer *idle_timer;
    struct vmt_argv capabilities;
    uint32_t services[OPTIONS_SERVICES_MAX];
    int lock_fd; /* one daemon per runtime directory */
    char *socket_path, *vm_vsock, *vm_disk, *console_dir, *disk_dir;
    bool stopping;
};

static void
program_done(struct program *p)
{
    p->stopping = true;
    if (p->idle_timer)
        os_loop_clock(p->loop)->ops->timer_cancel(os_loop_clock(p->loop), p->idle_timer);
    ipc_free(p->ipc);
    concierge_free(p->concierge);
    bus_sleep_free(p->sleep);
    linux_watch_free(p->watch);
    if (p->hypervisor)
        p->hypervisor->ops->free(p->hypervisor);
    if (p->transport)
        p->transport->ops->free(p->transport);
    if (p->spawn)
        os_spawn_free(p->spawn);
    if (p->net)
        p->net->ops->free(p->net);
    linux_host_free(p->host);
    os_loop_free(p->loop);
    if (p->unix_server)
        (void)unlink(p->socket_path);
    vmt_argv_done(&p->capabilities);
    free(p->socket_path);
    free(p->vm_vsock);
    free(p->vm_disk);
    free(p->console_dir);
    free(p->disk_dir);
    os_paths_done(&p->paths);
    vmt_closep(&p->lock_fd);
}

/* malloc'ed, or NULL. */
static char *
join(const char *dir, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

/* Beside this program, where both are built and installed; else from PATH. */
static char *
find_program(const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash, *path;

    if (n <= 0)
        return strdup(name);
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return strdup(name);
    *slash = '\0';
    path = join(self, name);
    if (path && access(path, X_OK) == 0)
        return path;
    free(path);
    return strdup(name);
}

static int
qemu_make(struct program *p, struct vmt_err *err)
{
    const struct qemu_config config = {
        .base = os_loop_base(p->loop),
        .clock = os_loop_clock(p->loop),
        .spawn = p->spawn,
        .binary = p->opt.hypervisor_binary,
        .cache_dir = p->paths.cache,
        .no_sandbox = p->opt.no_sandbox,
    };

    return qemu_new(&config, &p->hypervisor, err);
}

static const struct {
    const char *name;
    int (*make)(struct program *p, struct vmt_err *err);
} hypervisors[] = {{"qemu", qemu_make}};

static int
make_hypervisor(struct program *p, struct vmt_err *err)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(hypervisors); i++)
        if (strcmp(p->opt.hypervisor, hypervisors[i].name) == 0)
            return hypervisors[i].make(p, err);
    return vmt_err_setx(err, ENOENT, "there is no hypervisor backend %s; there is: %s",
                        p->opt.hypervisor, hypervisors[0].name);
}

/* A second daemon would take the socket over and adopt the VMs of the first. */
static int
lock_runtime(struct program *p, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *path = join(p->paths.runtime, "vm_concierge.lock");

    if (!path)
        return vmt_err_set(err, ENOMEM, "lock the runtime directory");
    p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (p->lock_fd < 0)
        return vmt_err_set(err, errno, "open %s", path);
    if (flock(p->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return vmt_err_setx(err, EBUSY, "another vm_concierge serves %s already",
                            p->paths.runtime);
    return vmt_err_set(err, errno, "lock %s", path);
}

static int
make_paths(struct program *p, struct vmt_err *err)
{
    int r = os_paths_init(p->opt.system_mode, &p->paths, err);

    if (r < 0)
        return r;
    /* Everybody may talk to a system daemon; what is inside has rights of its own. */
    if (p->opt.system_mode && chmod(p->paths.runtime, 0755) < 0)
        return vmt_err_set(err, errno, "open %s to clients", p->paths.runtime);
    p->socket_path = join(p->paths.runtime, "concierge.sock");
    p->console_dir = join(p->paths.state, "console");
    p->disk_dir = join(p->paths.data, "vms");
    p->vm_vsock = p->opt.vm_vsock ? strdup(p->opt.vm_vsock) : find_program("vm_vsock");
    p->vm_disk = p->opt.vm_disk ? strdup(p->opt.vm_disk) : find_program("vm_disk");
    if (!p->socket_path || !p->console_dir || !p->disk_dir || !p->vm_vsock || !p->vm_disk)
        return vmt_err_set(err, ENOMEM, "find the paths");
    return lock_runtime(p, err);
}

static int
make_host(struct program *p, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *records = join(p->paths.runtime, "vms");
    const struct linux_host_config config = {
        .run_root = p->paths.runtime,
        .record_dir = records,
        .state_dir = p->paths.state,
        .log_dir = p->console_dir,
        .disk_dir = p->disk_dir,
    };

    if (!records)
        return vmt_err_set(err, ENOMEM, "find the paths");
    return linux_host_new(&config, &p->host, err);
}

static int
make_adapters(struct program *p, struct vmt_err *err)
{
    int r = os_loop_new(&p->loop, err);

    if (r == 0)
        r = make_host(p, err);
    if (r == 0)
        r = linux_watch_new(p->loop, &linux_watch_files, &p->watch, err);
    if (r == 0)
        r = bus_sleep_new(p->loop, p->opt.sleep_bus, &p->sleep, err);
    if (r == 0)
        r = network_make(&p->opt.network, p->opt.system_mode, p->paths.runtime, &p->net,
                         err);
    if (r == 0)
        r = os_spawn_new(p->loop, &p->spawn, err);
    if (r == 0)
        r = transport_hybrid_new(p->loop, &p->transport, err);
    if (r == 0)
        r = make_hypervisor(p, err);
    return r;
}

static void
on_idle_timer(void *arg)
{
    struct program *p = arg;

    p->idle_timer = NULL;
    vmt_log_info("nothing to do for %u s, ending", p->opt.idle_exit_s);
    os_loop_stop(p->loop, 0);
}

static void
check_idle(struct program *p, size_t clients)
{
    struct vmt_clock *clock = os_loop_clock(p->loop);

    if (!p->opt.idle_exit_s || p->stopping)
        return;
    clock->ops->timer_cancel(clock, p->idle_timer);
    p->idle_timer = NULL;
    if (clients > 0 || concierge_is_busy(p->concierge))
        return;
    if (clock->ops->timer_start(clock, p->opt.idle_exit_s * 1000ull, on_idle_timer, p,
                                &p->idle_timer) < 0)
        vmt_log_warning("no memory for the idle timer");
}

static void
on_clients(void *arg, size_t clients)
{
    check_idle(arg, clients);
}

static void
on_no_vms(void *arg)
{
    struct program *p = arg;

    check_idle(p, p->unix_server ? unix_server_clients(p->unix_server) : 0);
}

static const char *
bus_of(const struct program *p)
{
    return p->opt.dbus ? p->opt.dbus : p->opt.system_mode ? "system" : "none";
}

/* The uids of --service-user. Asked once, before the loop runs. */
static int
find_services(struct program *p, struct vmt_err *err)
{
    for (size_t i = 0; i < p->opt.nservice_users; i++) {
        const char *name = p->opt.service_users[i];
        const struct passwd *user = getpwnam(name);
        uint64_t uid = 0;

        if (!user && vmt_parse_u64(name, UINT32_MAX - 1, &uid) < 0)
            return vmt_err_setx(err, ENOENT, "there is no user %s (--service-user)",
                                name);
        p->services[i] = user ? user->pw_uid : (uint32_t)uid;
    }
    return 0;
}

/* What clients may ask for before they try it. */
static int
list_capabilities(struct program *p, struct vmt_err *err)
{
    int r;

    vmt_argv_addf(&p->capabilities, "hypervisor:%s", p->hypervisor->ops->name);
    vmt_argv_addf(&p->capabilities, "transport:%s", p->transport->ops->name);
    if (p->hypervisor->ops->caps & HYPERVISOR_CAP_USER_NET)
        vmt_argv_add(&p->capabilities, "network:user");
    if (p->hypervisor->ops->caps & HYPERVISOR_CAP_TAP)
        vmt_argv_add(&p->capabilities, "network:tap");
    vmt_argv_add(&p->capabilities, "ipc:unix");
    if (strcmp(bus_of(p), "none") != 0)
        vmt_argv_add(&p->capabilities, "ipc:dbus");
    for (size_t i = 0; i < concierge_service.nmethods; i++)
        if (!concierge_service.methods[i].refused)
            vmt_argv_addf(&p->capabilities, "method:%s",
                          concierge_service.methods[i].name);
    r = vmt_argv_finish(&p->capabilities, err);
    if (r == 0)
        ipc_set_capabilities(p->ipc, (const char *const *)p->capabilities.v,
                             p->capabilities.n);
    return r;
}

static int
make_concierge(struct program *p, struct vmt_err *err)
{
    const struct concierge_config config = {
        .clock = os_loop_clock(p->loop),
        .transport = p->transport,
        .spawn = p->spawn,
        .host = p->host,
        .hypervisor = p->hypervisor,
        /* The rest is for the clients to take their answers, and for us to leave. */
        .shutdown_limit_ms = p->opt.shutdown_limit_s * 1000 - LEAVE_GRACE_MS - LEAVE_MS,
        .require_mitigations = p->opt.require_mitigations,
        .watch = p->watch,
        .sleep = p->sleep,
        .net = p->net,
        .network = {.mode = p->opt.network.mode,
                    .prefer_tap = p->opt.system_mode,
                    .subnets = p->opt.network.subnets,
                    .containers = p->opt.network.containers},
        .vm_vsock = p->vm_vsock,
        .vm_disk = p->vm_disk,
        .console_dir = p->console_dir,
        .template_count = p->opt.template_count,
        .template_bytes = p->opt.template_bytes,
        .snapshot_count = p->opt.snapshot_count,
        .snapshot_bytes = p->opt.snapshot_bytes,
        .on_idle = on_no_vms,
        .arg = p,
    };
    const struct ipc_identity self = {.uid = geteuid(),
                                      .system = p->opt.system_mode,
                                      .services = p->services,
                                      .nservices = p->opt.nservice_users,
                                      .clock = os_loop_clock(p->loop)};
    int r = find_services(p, err);

    if (r == 0)
        r = concierge_new(&config, &p->concierge, err);
    if (r == 0)
        r = ipc_new(&concierge_service, p->concierge, &self, &p->ipc, err);
    if (r == 0)
        r = list_capabilities(p, err);
    if (r == 0)
        concierge_set_ipc(p->concierge, p->ipc);
    return r;
}

static int
serve_unix(struct program *p, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct unix_server_config config = {.on_clients = on_clients, .arg = p};
    struct ipc_server *server = NULL;
    int r;

    r = os_unix_listen(p->socket_path, p->opt.system_mode ? 0666 : 0600, BACKLOG, &fd,
                       err);
    if (r < 0)
        return r;
    config.listen_fd = fd;
    r = unix_server_new(p->loop, p->ipc, &config, &server, err);
    if (r < 0)
        return r;
    (void)vmt_take_fd(&fd);
    r = ipc_add_server(p->ipc, server, err);
    if (r < 0) {
        server->ops->free(server);
        return r;
    }
    p->unix_server = server;
    return 0;
}

static void
on_bus_lost(void *arg)
{
    (void)arg;
    vmt_log_warning("the bus is gone; the unix socket still serves");
}

static int
serve(struct program *p, struct vmt_err *err)
{
    const char *bus = bus_of(p);
    int r = serve_unix(p, err);

    if (r == 0 && strcmp(bus, "none") != 0)
        r = bus_serve(p->loop, p->ipc, bus, on_bus_lost, p, err);
    return r;
}

static void
on_drained(void *arg)
{
    struct program *p = arg;

    os_loop_stop(p->loop, 0);
}

/* Those who asked for what just happened get their answers first. */
static void
leave(struct program *p)
{
    if (!p->unix_server ||
        unix_server_drain(p->unix_server, LEAVE_GRACE_MS, on_drained, p, NULL) < 0)
        os_loop_stop(p->loop, 0);
}

static void
on_all_stopped(void *arg)
{
    leave(arg);
}

/* The second signal is for somebody who cannot wait: VMs that still run are left. */
static void
on_stop_signal(void *arg, int sig)
{
    struct program *p = arg;

    if (p->stopping) {
        os_loop_stop(p->loop, 0);
        return;
    }
    vmt_log_notice("signal %d: stopping all VMs", sig);
    p->stopping = true;
    if (p->unix_server) /* else it was just about to begin */
        unix_server_leaving(p->unix_server);
    concierge_shutdown(p->concierge, on_all_stopped, p);
}

static void
on_leave_signal(void *arg, int sig)
{
    struct program *p = arg;

    vmt_log_notice("signal %d: leaving, VMs run on", sig);
    p->stopping = true;
    leave(p);
}

static int
watch_signals(struct program *p, struct vmt_err *err)
{
    int r = os_loop_on_signal(p->loop, SIGTERM, on_stop_signal, p, err);

    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGINT, on_stop_signal, p, err);
    if (r == 0)
        r = os_loop_on_signal(p->loop, SIGHUP, on_leave_signal, p, err);
    return r;
}

static void
tell_ready(struct program *p)
{
    if (p->opt.ready_fd < 0)
        return;
    if (write(p->opt.ready_fd, "\n", 1) != 1)
        vmt_log_warning("nobody was told that the socket is ready");
    vmt_closep(&p->opt.ready_fd);
}

static int
run(struct program *p, struct vmt_err *err)
{
    int r = make_paths(p, err);

    if (r == 0)
        r = make_adapters(p, err);
    if (r == 0)
        r = make_concierge(p, err);
    if (r == 0)
        r = watch_signals(p, err);
    if (r < 0)
        return r;
    concierge_adopt(p->concierge);
    r = serve(p, err);
    if (r < 0)
        return r;
    vmt_log_info("serving on %s", p->socket_path);
    tell_ready(p);
    check_idle(p, 0);
    return os_loop_run(p->loop);
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(program_done) struct program p = {.lock_fd = -1};
    struct vmt_err err = {0};
    enum options_outcome outcome;

    os_process_init();
    vmt_log_init("vm_concierge", NULL, NULL);
    outcome = options_parse(argc, argv, &p.opt);
    if (outcome != OPTIONS_RUN)
        return outcome == OPTIONS_DONE ? EXIT_SUCCESS : EXIT_USAGE;
    vmt_log_set_level(p.opt.log_level);
    if (p.opt.release_cgroup && linux_host_release_cgroup(NULL, &err) == 0)
        return EXIT_SUCCESS;
    if (p.opt.release_cgroup) {
        vmt_log_error("%s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    os_raise_nofile();
    (void)umask(077);
    if (run(&p, &err) < 0) {
        vmt_log_error("%s", vmt_err_text(&err));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
