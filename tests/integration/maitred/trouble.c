/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/maitred/trouble.c - what programs of a guest do to its process 1 and
 * to its shutdown. Usage: trouble forge              a SIGSEGV for process 1 that says it
 * comes from process 1 trouble hop DIR            live in DIR by forking for ever, deaf
 * for SIGTERM trouble map NAME DEVICE    a mapped device over the whole of another one
 * trouble orphans N          N children that are left to process 1 at once */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECTOR 512

static int
forge(void)
{
    siginfo_t info = {.si_signo = SIGSEGV, .si_code = SI_QUEUE};

    info.si_pid = 1;
    return syscall(SYS_rt_sigqueueinfo, 1, SIGSEGV, &info) < 0;
}

/* Whoever lists the processes finds only one that is gone already. */
static int
hop(const char *dir)
{
    if (chdir(dir) < 0)
        return 1;
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGCHLD, SIG_IGN);
    for (;;)
        if (fork() > 0)
            _exit(0);
}

static int
orphans(long n)
{
    int gate[2];
    char byte;

    if (pipe(gate) < 0)
        return 1;
    for (long i = 0; i < n; i++) {
        pid_t pid = fork();

        if (pid < 0)
            return 1;
        if (pid == 0) {
            (void)close(gate[1]);
            (void)!read(gate[0], &byte, 1); /* until the parent is gone */
            _exit(0);
        }
    }
    return 0;
}

/* A request of dm-ioctl.h with room for one target. */
struct request {
    struct dm_ioctl head;
    struct dm_target_spec target;
    char parameters[128];
};

static void
prepare(struct request *r, const char *name)
{
    *r = (struct request){.head = {.version = {DM_VERSION_MAJOR, 0, 0},
                                   .data_size = sizeof(*r),
                                   .data_start = sizeof(r->head)}};
    (void)snprintf(r->head.name, sizeof(r->head.name), "%s", name);
}

static int
map(const char *name, const char *device)
{
    int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    int disk = open(device, O_RDONLY | O_CLOEXEC);
    struct request r;
    uint64_t bytes = 0;

    if (control < 0 || disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes) < 0)
        return 1;
    prepare(&r, name);
    if (ioctl(control, DM_DEV_CREATE, &r) < 0)
        return 2;
    prepare(&r, name);
    r.head.target_count = 1;
    r.target.length = bytes / SECTOR;
    (void)snprintf(r.target.target_type, sizeof(r.target.target_type), "linear");
    (void)snprintf(r.parameters, sizeof(r.parameters), "%s 0", device);
    if (ioctl(control, DM_TABLE_LOAD, &r) < 0)
        return 3;
    prepare(&r, name);
    return ioctl(control, DM_DEV_SUSPEND, &r) < 0 ? 4 : 0; /* without its flag: resume */
}

int
main(int argc, char **argv)
{
    int r = 2;

    if (argc == 2 && strcmp(argv[1], "forge") == 0)
        r = forge();
    else if (argc == 3 && strcmp(argv[1], "hop") == 0)
        r = hop(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "orphans") == 0)
        r = orphans(strtol(argv[2], NULL, 10));
    else if (argc == 4 && strcmp(argv[1], "map") == 0)
        r = map(argv[2], argv[3]);
    if (r)
        (void)fprintf(stderr, "trouble %s: %d, %s\n", argc > 1 ? argv[1] : "", r,
                      strerror(errno));
    return r;
}
