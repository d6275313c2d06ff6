/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory and devices of a running VM. A backend without the capability skips. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/contract/hypervisor/suite.h"
#include "tests/unit/test.h"

#define NEEDS(s, cap)                                                                    \
    do {                                                                                 \
        if (!((s)->hv->ops->caps & (cap)))                                               \
            skip();                                                                      \
    } while (0)

/* The result of one call that was accepted. */
#define RESULT(s, call)                                                                  \
    ((s)->dones = 0, (s)->inside = true, assert_int_equal((call), 0),                    \
     (s)->inside = false, suite_wait((s), &(s)->dones), (s)->done_result)

static void
start_with(struct suite *s, const struct hypervisor_disk *disks, size_t ndisks)
{
    struct vm_spec spec = suite_spec(s, "console=ttyS0 quiet vmt_test=devices");

    spec.disks = disks;
    spec.ndisks = ndisks;
    spec.spare_slots = 3;
    suite_start(s, &spec);
    suite_wait(s, &s->controls);
}

static void
devices_need_the_control_channel(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = suite_spec(s, "quiet");
    const struct hypervisor_ops *ops = s->hv->ops;

    suite_start(s, &spec);
    if (ops->caps & HYPERVISOR_CAP_BALLOON)
        assert_int_equal(ops->balloon_set(s->vm, 0, suite_on_done, s), -ENOTCONN);
    if (ops->caps & HYPERVISOR_CAP_BALLOON)
        assert_int_equal(ops->memory(s->vm, suite_on_memory, s), -ENOTCONN);
    if (ops->caps & HYPERVISOR_CAP_DISK_RESIZE)
        assert_int_equal(ops->disk_resize(s->vm, "a", 4096, suite_on_done, s), -ENOTCONN);
    if (ops->caps & HYPERVISOR_CAP_DISK_HOTPLUG)
        assert_int_equal(ops->disk_remove(s->vm, "a", suite_on_done, s), -ENOTCONN);
    if (ops->caps & HYPERVISOR_CAP_NIC_HOTPLUG)
        assert_int_equal(ops->nic_remove(s->vm, "a", suite_on_done, s), -ENOTCONN);
    if (ops->caps & HYPERVISOR_CAP_USB)
        assert_int_equal(ops->usb_detach(s->vm, 1, suite_on_done, s), -ENOTCONN);
    assert_int_equal(ops->kill(s->vm, SIGKILL), 0);
    suite_wait(s, &s->exits);
    assert_int_equal(s->dones, 0);
}

static void
the_balloon_takes_and_gives_back(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;

    NEEDS(s, HYPERVISOR_CAP_BALLOON);
    start_with(s, NULL, 0);
    suite_wait_console(s, "devices are watched");
    assert_int_equal(RESULT(s, ops->balloon_set(s->vm, 256ull << 20, suite_on_done, s)),
                     -EINVAL);
    assert_int_equal(RESULT(s, ops->balloon_set(s->vm, 64ull << 20, suite_on_done, s)),
                     0);
    assert_int_equal(RESULT(s, ops->balloon_set(s->vm, 0, suite_on_done, s)), 0);
    suite_quit_and_exit(s);
}

static void
a_guest_tells_of_its_memory_when_it_can(void **state)
{
    struct suite *s = *state;
    int r = -EAGAIN;

    NEEDS(s, HYPERVISOR_CAP_BALLOON);
    start_with(s, NULL, 0);
    assert_int_equal(s->hv->ops->balloon_set(s->vm, 32ull << 20, NULL, NULL), 0);
    if (s->backend->tell_memory)
        s->backend->tell_memory(s);
    for (int i = 0; i < 1000; i++) {
        r = RESULT(s, s->hv->ops->memory(s->vm, suite_on_memory, s));
        if (r != -EAGAIN && (r != 0 || s->memory.balloon == 32ull << 20))
            break;
        suite_pass(s, 50); /* it reports every other second */
    }
    assert_int_equal(r, 0);
    assert_int_equal(s->memory.balloon, 32ull << 20);
    assert_true(s->memory.total > 128ull << 20 && s->memory.total < 256ull << 20);
    assert_true(s->memory.available > 0 && s->memory.available < 256ull << 20);
    assert_true(s->memory.free > 0 && s->memory.free < 256ull << 20);
    suite_quit_and_exit(s);
}

static void
a_disk_is_known_by_its_serial_when_it_grows(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    const struct hypervisor_disk disks[] = {{.fd = suite_disk(), .serial = "other"},
                                            {.fd = suite_disk(), .serial = "state"}};

    NEEDS(s, HYPERVISOR_CAP_DISK_RESIZE);
    start_with(s, disks, 2);
    suite_wait_console(s, "disk state 1048576");
    assert_int_equal(
        RESULT(s, ops->disk_resize(s->vm, "state", 2 << 20, suite_on_done, s)), 0);
    suite_wait_console(s, "disk state 2097152");
    assert_int_equal(
        RESULT(s, ops->disk_resize(s->vm, "nobody", 2 << 20, suite_on_done, s)), -ENOENT);
    suite_quit_and_exit(s);
    close(disks[0].fd);
    close(disks[1].fd);
}

static void
disks_come_and_go_while_the_guest_runs(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    struct hypervisor_disk disk = {.fd = suite_disk(), .serial = "plugged"};
    const struct hypervisor_disk root = {.fd = suite_disk(), .serial = "root"};

    NEEDS(s, HYPERVISOR_CAP_DISK_HOTPLUG);
    start_with(s, &root, 1);
    suite_wait_console(s, "devices are watched");
    for (int i = 0; i < 5; i++) { /* more often than there are slots */
        assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), 0);
        assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)),
                         -EEXIST);
        if (i == 0)
            suite_wait_console(s, "disk plugged 1048576");
        assert_int_equal(RESULT(s, ops->disk_remove(s->vm, "plugged", suite_on_done, s)),
                         0);
        if (i == 0)
            suite_wait_console(s, "no disk plugged");
    }
    assert_int_equal(RESULT(s, ops->disk_remove(s->vm, "plugged", suite_on_done, s)),
                     -ENOENT);
    assert_int_equal(RESULT(s, ops->disk_remove(s->vm, "root", suite_on_done, s)),
                     -EPERM);
    suite_quit_and_exit(s);
    close(disk.fd);
    close(root.fd);
}

static void
slots_are_counted_and_known_after_adoption(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    struct hypervisor_disk disk = {.fd = suite_disk(), .serial = "a", .slot = 2};
    struct spawn_id id;

    NEEDS(s, HYPERVISOR_CAP_DISK_HOTPLUG);
    start_with(s, NULL, 0);
    suite_wait_console(s, "devices are watched");
    assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), 0);
    ops->id(s->vm, &id);
    ops->vm_free(s->vm);
    s->vm = NULL;
    s->controls = 0;
    assert_int_equal(ops->adopt(s->hv, s->dir, &id, &suite_events, s, &s->vm, NULL), 0);
    suite_wait(s, &s->controls);
    assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), -EEXIST);
    disk.serial = "b";
    assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), -EBUSY);
    disk.slot = 4;
    assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), -ENOSPC);
    disk.slot = 0;
    assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), 0);
    disk.serial = "c";
    assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), 0);
    disk.serial = "d";
    assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), -ENOSPC);
    assert_int_equal(RESULT(s, ops->disk_remove(s->vm, "a", suite_on_done, s)), 0);
    assert_int_equal(RESULT(s, ops->disk_add(s->vm, &disk, suite_on_done, s)), 0);
    suite_quit_and_exit(s);
    close(disk.fd);
}

static void
a_disk_may_boot_in_a_slot_and_leave_it(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    struct hypervisor_disk disk = {.fd = suite_disk(), .serial = "booted", .slot = 1};

    NEEDS(s, HYPERVISOR_CAP_DISK_HOTPLUG);
    start_with(s, &disk, 1);
    suite_wait_console(s, "disk booted 1048576");
    assert_int_equal(RESULT(s, ops->disk_remove(s->vm, "booted", suite_on_done, s)), 0);
    suite_wait_console(s, "no disk booted");
    suite_quit_and_exit(s);
    close(disk.fd);
}

static void
a_usb_port_takes_what_is_a_usb_device(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    NEEDS(s, HYPERVISOR_CAP_USB);
    start_with(s, NULL, 0);
    suite_wait_console(s, "devices are watched");
    assert_int_equal(RESULT(s, ops->usb_attach(s->vm, 0, fd, suite_on_done, s)), -EINVAL);
    assert_int_equal(RESULT(s, ops->usb_attach(s->vm, HYPERVISOR_USB_PORT_MAX + 1, fd,
                                               suite_on_done, s)),
                     -EINVAL);
    assert_int_equal(RESULT(s, ops->usb_detach(s->vm, 3, suite_on_done, s)), -ENOENT);
    assert_int_equal(RESULT(s, ops->usb_attach(s->vm, 3, fd, suite_on_done, s)),
                     s->backend->usb_null_result);
    assert_int_equal(RESULT(s, ops->usb_detach(s->vm, 3, suite_on_done, s)),
                     s->backend->usb_null_result == 0 ? 0 : -ENOENT);
    suite_quit_and_exit(s);
    close(fd);
}

/* In a child, in a network of its own: -1 without the right to make one. */
static int
make_tap(void)
{
    struct ifreq rq = {.ifr_name = "tap0",
                       .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd;

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 && unshare(CLONE_NEWNET) < 0)
        return -1;
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0 && ioctl(fd, TUNSETIFF, &rq) == 0 ? fd : -1;
}

/* Hand fd to the other end of a socket, or only say that there is none. */
static void
send_fd(int socket, int fd)
{
    char byte = 0, control[CMSG_SPACE(sizeof(fd))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *c = (struct cmsghdr *)(void *)control;

    if (fd >= 0) {
        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    (void)sendmsg(socket, &msg, 0);
}

static int
receive_fd(int socket)
{
    char byte, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    int fd = -1;

    if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) > 0 && CMSG_FIRSTHDR(&msg))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    return fd;
}

/* A tap of a network that nobody else sees, or -1. */
static int
foreign_tap(void)
{
    int ends[2], fd;
    pid_t child;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        send_fd(ends[1], make_tap());
        _exit(0);
    }
    close(ends[1]);
    fd = receive_fd(ends[0]);
    close(ends[0]);
    (void)waitpid(child, NULL, 0);
    return fd;
}

static void
network_devices_come_and_go(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_ops *ops = s->hv->ops;
    struct hypervisor_nic nic = {.id = "nic1", .mac = {0x52, 0x54, 0, 1, 2, 3}};
    struct spawn_id id;

    NEEDS(s, HYPERVISOR_CAP_NIC_HOTPLUG);
    nic.tap_fd = foreign_tap();
    if (nic.tap_fd < 0)
        skip();
    start_with(s, NULL, 0);
    suite_wait_console(s, "devices are watched");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(RESULT(s, ops->nic_add(s->vm, &nic, suite_on_done, s)), 0);
        assert_int_equal(RESULT(s, ops->nic_add(s->vm, &nic, suite_on_done, s)), -EEXIST);
        suite_wait_console(s, "nic 52:54:00:01:02:03");
        assert_int_equal(RESULT(s, ops->nic_remove(s->vm, "nic1", suite_on_done, s)), 0);
        suite_wait_console(s, "no nic 52:54:00:01:02:03");
    }
    assert_int_equal(RESULT(s, ops->nic_remove(s->vm, "nic1", suite_on_done, s)),
                     -ENOENT);
    /* Also one that an earlier daemon has plugged. */
    assert_int_equal(RESULT(s, ops->nic_add(s->vm, &nic, suite_on_done, s)), 0);
    ops->id(s->vm, &id);
    ops->vm_free(s->vm);
    s->vm = NULL;
    s->controls = 0;
    assert_int_equal(ops->adopt(s->hv, s->dir, &id, &suite_events, s, &s->vm, NULL), 0);
    suite_wait(s, &s->controls);
    assert_int_equal(RESULT(s, ops->nic_remove(s->vm, "nic1", suite_on_done, s)), 0);
    suite_quit_and_exit(s);
    close(nic.tap_fd);
}

/* A private copy, as each VM has one. */
static int
copy_of(const char *path)
{
    char chunk[4096];
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = memfd_create("variables", MFD_CLOEXEC);
    ssize_t n;

    assert_true(from >= 0 && to >= 0);
    while ((n = read(from, chunk, sizeof(chunk))) > 0)
        assert_int_equal(write(to, chunk, (size_t)n), n);
    close(from);
    return to;
}

static bool
differs(int fd, const char *path)
{
    char a[4096], b[4096];
    int other = open(path, O_RDONLY | O_CLOEXEC);
    bool same = true;
    ssize_t n;

    for (off_t at = 0; same && (n = pread(fd, a, sizeof(a), at)) > 0; at += n)
        same = pread(other, b, sizeof(b), at) == n && memcmp(a, b, (size_t)n) == 0;
    close(other);
    return !same;
}

static void
firmware_boots_and_keeps_its_variables(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = suite_spec(s, NULL);

    NEEDS(s, HYPERVISOR_CAP_FIRMWARE);
    if (!s->backend->firmware || access(s->backend->firmware, R_OK) != 0) {
        skip();
        return; /* skip does not come back, which not every reader knows */
    }
    spec.kernel_fd = spec.initrd_fd = -1;
    spec.net = HYPERVISOR_NET_NONE; /* nothing to boot from */
    spec.firmware_fd = open(s->backend->firmware, O_RDONLY | O_CLOEXEC);
    spec.pflash_fd = copy_of(s->backend->variables);
    suite_start(s, &spec);
    close(spec.firmware_fd);
    suite_wait(s, &s->controls);
    suite_wait_console(s, s->backend->firmware_text);
    suite_quit_and_exit(s);
    assert_true(differs(spec.pflash_fd, s->backend->variables));
    close(spec.pflash_fd);
}

static void
huge_pages_are_taken_where_there_are_any(void **state)
{
    struct suite *s = *state;
    struct vm_spec spec = suite_spec(s, "quiet");

    NEEDS(s, HYPERVISOR_CAP_HUGEPAGES);
    spec.hugepages = true;
    suite_start(s, &spec);
    suite_wait(s, &s->controls);
    suite_quit_and_exit(s);
}

static void
device_calls_in_flight_fail_before_the_exit(void **state)
{
    struct suite *s = *state;
    const struct hypervisor_disk disk = {.fd = suite_disk(), .serial = "plugged"};

    NEEDS(s, HYPERVISOR_CAP_DISK_HOTPLUG);
    start_with(s, NULL, 0);
    s->backend->freeze(s);
    assert_int_equal(s->hv->ops->disk_add(s->vm, &disk, suite_on_done, s), 0);
    close(disk.fd);
    assert_int_equal(s->hv->ops->kill(s->vm, SIGKILL), 0);
    suite_wait(s, &s->exits);
    assert_int_equal(s->done_result, -ENOTCONN);
    assert_string_equal(s->log, "control done exit");
}

int
suite_devices_run(void)
{
    const struct CMUnitTest tests[] = {
        SUITE_TEST(devices_need_the_control_channel),
        SUITE_TEST(the_balloon_takes_and_gives_back),
        SUITE_TEST(a_guest_tells_of_its_memory_when_it_can),
        SUITE_TEST(a_disk_is_known_by_its_serial_when_it_grows),
        SUITE_TEST(disks_come_and_go_while_the_guest_runs),
        SUITE_TEST(slots_are_counted_and_known_after_adoption),
        SUITE_TEST(a_disk_may_boot_in_a_slot_and_leave_it),
        SUITE_TEST(a_usb_port_takes_what_is_a_usb_device),
        SUITE_TEST(network_devices_come_and_go),
        SUITE_TEST(firmware_boots_and_keeps_its_variables),
        SUITE_TEST(huge_pages_are_taken_where_there_are_any),
        SUITE_TEST(device_calls_in_flight_fail_before_the_exit),
    };

    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
