/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of a server that has stopped to answer: looking at them must not stop us, too. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "core/adapter/clock.h"
#include "core/adapter/ipc.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/opening_internal.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/process.h"
#include "tests/unit/host/place.h"
#include "tests/unit/os/support.h"
#include "tests/unit/test.h"

#define FILE_NODE 2u
#define FILE_BYTES 4096u
#define REQUEST_MAX 65536u /* at least FUSE_MIN_READ_BUFFER */
#define TOO_LONG_S 60u     /* a call of ours that hangs ends the test */

static struct fuse_attr
attr_of(uint64_t node)
{
    const struct fuse_attr folder = {
        .ino = FUSE_ROOT_ID, .mode = S_IFDIR | 0755, .nlink = 2};
    const struct fuse_attr file = {
        .ino = FILE_NODE, .mode = S_IFREG | 0600, .nlink = 1, .size = FILE_BYTES};

    return node == FUSE_ROOT_ID ? folder : file;
}

static void
answer(int dev, uint64_t unique, int error, const void *data, size_t len)
{
    struct {
        struct fuse_out_header header;
        char data[256];
    } out = {.header = {.unique = unique, .error = error}};

    memcpy(out.data, data, len);
    out.header.len = (uint32_t)(sizeof(out.header) + len);
    (void)write(dev, &out, out.header.len);
}

/* One file in the root, of which the kernel may believe nothing for any time. Source:
 * fuse(4), linux/fuse.h. */
static void
serve(int dev)
{
    static char request[REQUEST_MAX];
    const struct fuse_in_header *in = (const struct fuse_in_header *)request;
    const struct fuse_init_out init = {
        .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096, .time_gran = 1};
    const struct fuse_entry_out entry = {.nodeid = FILE_NODE, .attr = attr_of(FILE_NODE)};
    const struct fuse_open_out open_out = {.fh = 1};
    struct fuse_attr_out attr = {.attr_valid = 0};

    while (read(dev, request, sizeof(request)) > 0) {
        attr.attr = attr_of(in->nodeid);
        if (in->opcode == FUSE_INIT)
            answer(dev, in->unique, 0, &init, sizeof(init));
        else if (in->opcode == FUSE_LOOKUP)
            answer(dev, in->unique, 0, &entry, sizeof(entry));
        else if (in->opcode == FUSE_GETATTR)
            answer(dev, in->unique, 0, &attr, sizeof(attr));
        else if (in->opcode == FUSE_OPEN)
            answer(dev, in->unique, 0, &open_out, sizeof(open_out));
        else
            answer(dev, in->unique, -ENOSYS, "", 0);
    }
}

/* Mounts at path in a name space of our own. Returns the server's pid, 0: not possible.
 */
static pid_t
server_start(const char *path)
{
    VMT_CLEANUP(vmt_closep) int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char options[128];
    pid_t pid;

    if (dev < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 0;
    (void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0",
                   dev);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mount("silent", path, "fuse.silent", MS_NOSUID, options), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(dev);
        _exit(0);
    }
    return pid;
}

static void
a_silent_server_stops_no_look_at_a_descriptor(void **state)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct place *p = *state;
    struct host_place at;
    char path[512], text[512];
    bool writable;
    pid_t server;

    (void)snprintf(path, sizeof(path), "%s", place_path(p, "far"));
    server = server_start(path);
    if (!server)
        skip(); /* FUSE needs root and its device */
    fd = open(place_path(p, "far/disk"), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(kill(server, SIGSTOP), 0);
    (void)alarm(TOO_LONG_S);

    assert_int_equal(p->host->files->image_check(p->host, fd, &writable, NULL), 0);
    assert_true(writable);
    assert_int_equal(p->host->disks->source_check(p->host, fd, NULL), 0);
    assert_int_equal(p->host->disks->target_check(p->host, fd, NULL), 0);
    assert_int_equal(p->host->state->identify(p->host, fd, text, sizeof(text), NULL), 0);
    assert_int_equal(p->host->state->path_of(p->host, fd, text, sizeof(text), NULL), 0);
    assert_string_equal(text, place_path(p, "far/disk"));
    p->host->files->image_place(p->host, fd, &at);
    assert_string_equal(at.path, ""); /* nobody says that the name still stands for it */
    assert_int_equal(at.inode, FILE_NODE);

    (void)alarm(0);
    assert_int_equal(kill(server, SIGKILL), 0);
    assert_int_equal(waitpid(server, NULL, 0), server);
    assert_int_equal(umount2(path, MNT_DETACH), 0);
    assert_int_equal(rmdir(path), 0);
}

struct waiting {
    int answers, fd, code;
};

static void
on_opened(void *arg, int *fds, const struct vmt_err *err)
{
    struct waiting *w = arg;

    w->answers++;
    w->fd = fds ? vmt_take_fd(&fds[0]) : -1;
    w->code = err ? err->code : 0;
}

static void
on_tick(void *arg)
{
    *(bool *)arg = true;
}

/* Let the loop run for ms, which it would not if somebody held it. */
static void
run_for(struct os_loop *loop, uint64_t ms)
{
    struct vmt_clock *clock = os_loop_clock(loop);
    struct vmt_timer *timer = NULL;
    bool over = false;

    assert_int_equal(clock->ops->timer_start(clock, ms, on_tick, &over, &timer), 0);
    test_run_until(loop, &over);
}

static void
the_loop_goes_on_while_a_silent_server_is_asked_for_a_file(void **state)
{
    struct place *p = *state;
    struct concierge c = {.config = {.host = p->host}};
    const struct ipc_caller caller = {.uid = getuid()};
    char path[512];
    const struct opening_file file = {
        .kind = OPENING_IMAGE, .name = path, .writable = true};
    const struct opening_request request = {
        .owner = "0", .caller = &caller, .files = &file, .n = 1};
    struct waiting answered = {.fd = -1}, silent = {.fd = -1};
    struct opening *opening;
    struct os_loop *loop;
    pid_t server;

    (void)snprintf(path, sizeof(path), "%s", place_path(p, "far"));
    server = server_start(path);
    if (!server)
        skip(); /* FUSE needs root and its device */
    (void)snprintf(path, sizeof(path), "%s", place_path(p, "far/disk"));
    assert_int_equal(os_loop_new(&loop, NULL), 0);
    assert_int_equal(os_spawn_new(loop, &c.config.spawn, NULL), 0);
    c.config.clock = os_loop_clock(loop);
    vmt_list_init(&c.openings);
    (void)alarm(TOO_LONG_S);

    assert_int_equal(opening_start(&c, &request, on_opened, &answered, &opening, NULL),
                     0);
    while (!answered.answers)
        run_for(loop, 10);
    assert_int_equal(answered.code, 0);
    assert_int_equal(fcntl(answered.fd, F_GETFL) & O_ACCMODE, O_RDWR);

    assert_int_equal(kill(server, SIGSTOP), 0);
    assert_int_equal(opening_start(&c, &request, on_opened, &silent, &opening, NULL), 0);
    run_for(loop, 300);
    assert_int_equal(silent.answers, 0);
    opening_cancel(opening);
    run_for(loop, 100); /* its child may not end before the server does */

    assert_int_equal(kill(server, SIGKILL), 0);
    assert_int_equal(waitpid(server, NULL, 0), server);
    while (!vmt_list_empty(&c.openings)) /* now it does */
        run_for(loop, 10);
    (void)alarm(0);
    assert_int_equal(silent.answers, 0);
    vmt_closep(&answered.fd);
    os_spawn_free(c.config.spawn);
    os_loop_free(loop);
    assert_int_equal(umount2(place_path(p, "far"), MNT_DETACH), 0);
    assert_int_equal(rmdir(place_path(p, "far")), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_silent_server_stops_no_look_at_a_descriptor,
                                        place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(
            the_loop_goes_on_while_a_silent_server_is_asked_for_a_file, place_setup,
            place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
