/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper with workers and a VMM that the test plays. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vm_vsock/keeper_internal.h"
#include "platform/linux/vm_vsock/private.h"
#include "tests/unit/test.h"

#define DEADLINE_MS 60000
#define WORKERS_MAX 8u
#define TICK_MS 20u
#define PATIENCE_MS (10 * TICK_MS)

enum { GET_FEATURES = 1 };

/* Its process: what the keeper did to it, and the other end of its channel. */
struct spawn_child {
    struct vhost_channel channel;
    spawn_exit_fn *on_exit;
    void *arg;
    int signal; /* the last that it got */
};

static struct world {
    struct os_loop *loop;
    struct keeper *keeper;
    struct spawn spawn;
    struct spawn_child workers[WORKERS_MAX];
    unsigned started;
    struct sockaddr_un addr;
    socklen_t addr_len;
    struct vhost_channel vmm;
} world, *const w = &world;

static int
fake_start(struct spawn *sp, const struct spawn_spec *spec,
           struct spawn_child **ret_child, struct vmt_err *err)
{
    struct spawn_child *child = &w->workers[w->started];

    (void)sp;
    (void)err;
    assert_true(w->started < WORKERS_MAX);
    w->started++;
    *child = (struct spawn_child){.on_exit = spec->on_exit, .arg = spec->arg};
    child->channel.fd = fcntl(spec->fds[1].from, F_DUPFD_CLOEXEC, 0);
    assert_true(child->channel.fd >= 0);
    *ret_child = child;
    return 0;
}

static int
fake_kill(struct spawn_child *child, int sig)
{
    child->signal = sig;
    return 0;
}

static void
fake_release(struct spawn_child *child)
{
    (void)child;
}

static const struct spawn_ops fake_ops = {
    .start = fake_start, .kill = fake_kill, .release = fake_release};

static void
turn(void)
{
    struct timespec pause = {.tv_nsec = 1000000};

    assert_true(event_base_loop(os_loop_base(w->loop), EVLOOP_NONBLOCK) >= 0);
    (void)nanosleep(&pause, NULL);
}

/* Turns the loop until the condition holds. */
#define EVENTUALLY(condition)                                                            \
    do {                                                                                 \
        for (int ms = 0; !(condition) && ms < DEADLINE_MS; ms++)                         \
            turn();                                                                      \
        assert_true(condition);                                                          \
    } while (0)

static void
send_status(struct spawn_child *child, uint32_t request)
{
    const uint64_t status = 0;
    struct vhost_message msg = {.request = request,
                                .flags = VHOST_FLAG_VERSION | VHOST_FLAG_REPLY |
                                         VHOST_FLAG_STATUS,
                                .size = sizeof(status),
                                .body = (const uint8_t *)&status};

    assert_int_equal(vhost_channel_send(&child->channel, &msg, NULL, 0, NULL), 0);
}

/* The worker's next message has to be this. */
static void
expect_request(struct spawn_child *child, uint32_t request)
{
    struct vhost_message msg;

    EVENTUALLY(vhost_channel_read(&child->channel, &msg, NULL) > 0);
    assert_int_equal(msg.request, request);
    vhost_channel_next(&child->channel);
}

static void
accept_request(struct spawn_child *child, uint32_t request)
{
    expect_request(child, request);
    send_status(child, request);
}

/* The worker takes nothing any more. */
static void
stuff(struct keeper_worker *worker)
{
    static const uint8_t bytes[4096];

    while (send(worker->channel.fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
    while (send(worker->channel.fd, bytes, 1, MSG_DONTWAIT) > 0)
        ;
    assert_int_equal(errno, EAGAIN);
}

/* The process ends as its last signal says. */
static void
reap(struct spawn_child *child)
{
    struct spawn_exit how = {.kind = SPAWN_EXIT_SIGNAL, .code = child->signal};

    vhost_channel_close(&child->channel);
    child->on_exit(child->arg, &how);
}

static void
vmm_send(uint32_t request)
{
    struct vhost_message msg = {.request = request, .flags = VHOST_FLAG_VERSION};

    assert_int_equal(vhost_channel_send(&w->vmm, &msg, NULL, 0, NULL), 0);
}

static void
vmm_connect(void)
{
    w->vmm.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(w->vmm.fd >= 0);
    assert_int_equal(connect(w->vmm.fd, (struct sockaddr *)&w->addr, w->addr_len), 0);
}

static int
listener(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    w->addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    w->addr_len = sizeof(w->addr);
    /* No name: the kernel finds one, unix(7), "autobind". */
    assert_int_equal(bind(fd, (struct sockaddr *)&w->addr, sizeof(sa_family_t)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&w->addr, &w->addr_len), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static int
set_up(void **state)
{
    static const char *const argv[] = {"worker", NULL};
    struct keeper_config config = {
        .argv = argv, .worker_fd = 3, .vsock_fd = 4, .tick_ms = TICK_MS};

    (void)state;
    world = (struct world){.spawn = {&fake_ops}, .vmm = {.fd = -1}};
    assert_int_equal(os_loop_new(&w->loop, NULL), 0);
    config.loop = w->loop;
    config.spawn = &w->spawn;
    config.vhost = listener();
    config.vsock = open("/dev/null", O_RDWR | O_CLOEXEC);
    config.journal = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(keeper_new(&config, &w->keeper, NULL), 0);
    assert_int_equal(keeper_start(w->keeper, NULL), 0);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    keeper_free(w->keeper);
    vhost_channel_close(&w->vmm);
    for (unsigned i = 0; i < w->started; i++)
        vhost_channel_close(&w->workers[i].channel);
    os_loop_free(w->loop);
    return 0;
}

/* The worker has all that a worker gets before a VMM is there. */
static void
come_up(struct spawn_child *child)
{
    accept_request(child, VHOST_PRIVATE_HELLO);
    accept_request(child, VHOST_PRIVATE_SERVE);
    EVENTUALLY(w->keeper->worker->state == WORKER_IDLE);
}

static void
a_worker_that_takes_no_message_is_killed_and_replaced(void **state)
{
    struct spawn_child *first = &w->workers[0], *second = &w->workers[1];

    (void)state;
    stuff(w->keeper->worker);
    send_status(first, VHOST_PRIVATE_HELLO); /* what comes next does not reach it */
    EVENTUALLY(first->signal == SIGKILL);
    reap(first);
    EVENTUALLY(w->started == 2);
    come_up(second);
    assert_int_equal(second->signal, 0);
}

static void
a_message_of_the_vmm_that_a_worker_does_not_take_goes_to_the_next(void **state)
{
    struct spawn_child *first = &w->workers[0], *second = &w->workers[1];

    (void)state;
    come_up(first);
    vmm_connect();
    accept_request(first, VHOST_PRIVATE_BEGIN);
    EVENTUALLY(w->keeper->worker->state == WORKER_IDLE);
    stuff(w->keeper->worker);
    vmm_send(GET_FEATURES);
    EVENTUALLY(first->signal == SIGKILL);
    reap(first);
    EVENTUALLY(w->started == 2);
    accept_request(second, VHOST_PRIVATE_HELLO);
    accept_request(second, VHOST_PRIVATE_BEGIN);
    accept_request(second, VHOST_PRIVATE_SERVE);
    expect_request(second, GET_FEATURES);
}

static void
a_worker_that_says_no_hello_is_killed_and_replaced(void **state)
{
    struct spawn_child *first = &w->workers[0];

    (void)state;
    EVENTUALLY(first->signal == SIGKILL);
    reap(first);
    EVENTUALLY(w->started == 2);
    come_up(&w->workers[1]);
    /* One that has nothing to answer may take its time. */
    assert_false(evtimer_pending(w->keeper->worker->timer, NULL));
}

static void
a_worker_that_is_stuck_in_its_set_up_is_killed_and_replaced(void **state)
{
    struct spawn_child *first = &w->workers[0];

    (void)state;
    accept_request(first, VHOST_PRIVATE_HELLO);
    expect_request(first, VHOST_PRIVATE_SERVE);
    EVENTUALLY(first->signal == SIGKILL);
    reap(first);
    EVENTUALLY(w->started == 2);
    come_up(&w->workers[1]);
}

static void
a_message_of_the_vmm_without_an_answer_goes_to_the_next_worker(void **state)
{
    struct spawn_child *first = &w->workers[0], *second = &w->workers[1];

    (void)state;
    come_up(first);
    vmm_connect();
    accept_request(first, VHOST_PRIVATE_BEGIN);
    vmm_send(GET_FEATURES);
    expect_request(first, GET_FEATURES);
    EVENTUALLY(first->signal == SIGKILL);
    reap(first);
    EVENTUALLY(w->started == 2);
    accept_request(second, VHOST_PRIVATE_HELLO);
    accept_request(second, VHOST_PRIVATE_BEGIN);
    accept_request(second, VHOST_PRIVATE_SERVE);
    expect_request(second, GET_FEATURES);
}

static void
a_time_in_which_the_keeper_stood_still_is_not_held_against_the_worker(void **state)
{
    struct timespec pause = {.tv_nsec = 2 * PATIENCE_MS * 1000000L};
    struct spawn_child *first = &w->workers[0];

    (void)state;
    (void)nanosleep(&pause, NULL);
    turn();
    assert_int_equal(first->signal, 0);
    come_up(first);
    assert_int_equal(first->signal, 0);
}

static void
a_new_program_that_says_no_hello_leaves_the_old_worker_and_a_later_try(void **state)
{
    struct spawn_child *old = &w->workers[0], *mute = &w->workers[1];

    (void)state;
    come_up(old);
    keeper_replace(w->keeper);
    assert_int_equal(w->started, 2);
    EVENTUALLY(mute->signal == SIGKILL);
    reap(mute);
    assert_int_equal(old->signal, 0);
    assert_ptr_equal(w->keeper->worker->child, old);
    keeper_replace(w->keeper);
    assert_int_equal(w->started, 3);
    accept_request(&w->workers[2], VHOST_PRIVATE_HELLO);
    EVENTUALLY(old->signal == SIGTERM);
    reap(old);
    accept_request(&w->workers[2], VHOST_PRIVATE_SERVE);
    EVENTUALLY(w->keeper->worker->state == WORKER_IDLE);
}

static void
workers_that_never_answer_are_given_up_after_four(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        EVENTUALLY(w->started == i + 1);
        EVENTUALLY(w->workers[i].signal == SIGKILL);
        assert_false(w->keeper->stopping);
        reap(&w->workers[i]);
    }
    assert_true(w->keeper->stopping);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_worker_that_takes_no_message_is_killed_and_replaced),
        TEST(a_message_of_the_vmm_that_a_worker_does_not_take_goes_to_the_next),
        TEST(a_worker_that_says_no_hello_is_killed_and_replaced),
        TEST(a_worker_that_is_stuck_in_its_set_up_is_killed_and_replaced),
        TEST(a_message_of_the_vmm_without_an_answer_goes_to_the_next_worker),
        TEST(a_time_in_which_the_keeper_stood_still_is_not_held_against_the_worker),
        TEST(a_new_program_that_says_no_hello_leaves_the_old_worker_and_a_later_try),
        TEST(workers_that_never_answer_are_given_up_after_four),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
