/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/guest_init.c - the suite as PID 1 of a VM: loads the modules
 * that /lib/modules/load.list names, runs the vsock suite, says so on the console, powers
 * off. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "core/adapter/transport.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/transports.h"
#include "tests/contract/transport/transport_contract.h"

static void
open_console(void)
{
    int fd;

    (void)mkdir("/dev", 0755);
    (void)mount("dev", "/dev", "devtmpfs", 0, "");
    fd = open("/dev/console", O_RDWR);
    for (int to = 0; fd >= 0 && to <= 2; to++)
        (void)dup2(fd, to);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
}

static void
load_modules(void)
{
    FILE *list = fopen("/lib/modules/load.list", "re");
    char name[256], path[512];

    while (list && fgets(name, sizeof(name), list)) {
        int fd;

        name[strcspn(name, "\n")] = '\0';
        (void)snprintf(path, sizeof(path), "/lib/modules/%s", name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
            (void)printf("cannot load %s: %s\n", path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
    }
    if (list)
        (void)fclose(list);
}

static void
on_accept(void *arg, struct stream *s, const struct stream_peer *peer)
{
    (void)arg;
    (void)s;
    (void)peer;
}

/* Without any module the kernel has no such family, and the error says what to do. */
static int
check_missing_family(void)
{
    struct os_loop *loop;
    struct transport *t;
    struct transport_listener *l;
    struct vmt_err err = {0};
    int r;

    if (os_loop_new(&loop, NULL) < 0 || transport_vsock_new(loop, &t, NULL) < 0)
        return 1;
    r = t->ops->listen(t, 1, on_accept, NULL, &l, &err);
    t->ops->free(t);
    os_loop_free(loop);
    if (r == -EAFNOSUPPORT && strstr(err.msg, "hybrid"))
        return 0;
    (void)printf("FAIL vsock: missing family: %d %s\n", r, err.msg);
    return 1;
}

int
main(void)
{
    int failed;

    open_console();
    os_process_init();
    failed = check_missing_family();
    load_modules();
    os_raise_nofile();
    failed += transport_contract_run("vsock", contract_world_vsock);
    (void)printf("contract: %d failed\n", failed);
    (void)fflush(stdout);
    (void)reboot(RB_POWER_OFF);
    return 0;
}
