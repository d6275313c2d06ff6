/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/daemon.c - serves echo.h:
 *   ipc_echo_daemon unix PATH | dbus ADDRESS [UID SERVICE_UID]
 * With UID, which needs root, it runs as that user and as a system daemon, to which
 * SERVICE_UID belongs, too.
 * It writes one byte to stdout when clients may come, and ends with SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/unix_socket.h"
#include "platform/linux/unix_ipc/unix_server.h"
#include "tests/contract/ipc/echo.h"
#ifdef VMT_TEST_DBUS
#include "platform/linux/dbus/dbus_server.h"
#endif

static void
on_signal(void *arg, int sig)
{
    (void)sig;
    os_loop_stop(arg, 0);
}

static int
serve_unix(struct os_loop *loop, struct ipc *ipc, const char *path,
           struct ipc_server **ret_server, struct vmt_err *err)
{
    struct unix_server_config config = {.listen_fd = -1};
    VMT_CLEANUP(vmt_closep) int fd = -1;
    int r = os_unix_listen(path, 0666, 128, &fd, err);

    if (r < 0)
        return r;
    config.listen_fd = fd;
    r = unix_server_new(loop, ipc, &config, ret_server, err);
    if (r == 0)
        (void)vmt_take_fd(&fd);
    return r;
}

static int
serve_dbus(struct os_loop *loop, struct ipc *ipc, const char *address,
           struct ipc_server **ret_server, struct vmt_err *err)
{
#ifdef VMT_TEST_DBUS
    struct dbus_server_config config = {.address = address};

    return dbus_server_new(loop, ipc, &config, ret_server, err);
#else
    (void)loop, (void)ipc, (void)address, (void)ret_server;
    return vmt_err_setx(err, 95, "built without D-Bus");
#endif
}

static int
run(struct os_loop *loop, char **argv, struct vmt_err *err)
{
    uint32_t service = argv[3] ? (uint32_t)atoi(argv[4]) : 0;
    struct ipc_identity self = {.uid = (uint32_t)getuid(),
                                .system = argv[3] != NULL,
                                .services = &service,
                                .nservices = argv[3] ? 1 : 0,
                                .clock = os_loop_clock(loop)};
    struct ipc_server *server = NULL;
    static const char *const capabilities[] = {"test:echo", "test:more"};
    struct echo echo = {0};
    int r = ipc_new(&echo_service, &echo, &self, &echo.ipc, err);

    if (r < 0)
        return r;
    ipc_set_capabilities(echo.ipc, capabilities, VMT_ARRAY_SIZE(capabilities));
    if (strcmp(argv[1], "unix") == 0)
        r = serve_unix(loop, echo.ipc, argv[2], &server, err);
    else
        r = serve_dbus(loop, echo.ipc, argv[2], &server, err);
    if (r == 0)
        r = ipc_add_server(echo.ipc, server, err);
    if (r == 0)
        r = os_loop_on_signal(loop, SIGTERM, on_signal, loop, err);
    if (r == 0 && write(STDOUT_FILENO, "\n", 1) == 1)
        r = os_loop_run(loop);
    ipc_free(echo.ipc);
    echo_done(&echo);
    return r;
}

/* Be dumpable again afterwards, which the leak checker needs. */
static bool
become(uid_t uid)
{
    return setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0 &&
           prctl(PR_SET_DUMPABLE, 1) == 0;
}

int
main(int argc, char **argv)
{
    struct os_loop *loop = NULL;
    struct vmt_err err = {0};
    int r;

    os_process_init();
    vmt_log_init("ipc_echo_daemon", NULL, NULL);
    if (argc != 3 && argc != 5) {
        (void)fprintf(stderr, "usage: ipc_echo_daemon unix PATH | dbus ADDRESS "
                              "[UID SERVICE_UID]\n");
        return 2;
    }
    if (argc == 5 && !become((uid_t)atoi(argv[3])))
        return 1;
    r = os_loop_new(&loop, &err);
    if (r == 0)
        r = run(loop, argv, &err);
    os_loop_free(loop);
    if (r < 0)
        vmt_log_error("%s", vmt_err_text(&err));
    return r < 0 ? 1 : r;
}
