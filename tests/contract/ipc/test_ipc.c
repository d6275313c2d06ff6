/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/test_ipc.c - what every IPC backend does: contract_ipc BACKEND
 * DAEMON
 */
#include <protobuf-c/protobuf-c.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "tests/contract/ipc/world.h"
#include "tests/unit/test.h"
#include "vmt_ipc.pb-c.h"

#define DEADLINE_S 120
#define PARALLEL 200
#define NOBODY 65534u

static const char *backend, *daemon_path;

static int
setup(void **state)
{
    static struct world w;

    world_start(&w, backend, daemon_path);
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    world_stop(*state);
    return 0;
}

static struct client *
client_new(struct world *w)
{
    struct client *c = w->ops->connect(w->address);

    assert_non_null(c);
    return c;
}

static time_t
now_s(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

static void
wait_done(struct client *c, struct answer *answers, size_t n)
{
    time_t end = now_s() + DEADLINE_S;

    for (size_t i = 0; i < n; i++) {
        while (!answers[i].done) {
            assert_true(now_s() < end);
            c->ops->turn(c);
        }
    }
}

static void
answer_done(struct answer *a)
{
    for (size_t i = 0; i < a->nfds; i++)
        vmt_closep(&a->fds[i]);
    a->nfds = 0;
    if (a->message)
        protobuf_c_message_free_unpacked(a->message, NULL);
    a->message = NULL;
}

static void
call(struct client *c, const struct call_spec *spec, struct answer *a)
{
    c->ops->start(c, spec, a);
    wait_done(c, a, 1);
}

/* Call a method without argument that answers with a text or number; it lives until the
 * next call. */
static const char *
ask(struct client *c, const char *method)
{
    static char text[64];
    struct call_spec spec = {.method = method, .reply = &vmt__signal__descriptor};
    struct answer a;

    call(c, &spec, &a);
    assert_true(a.ok);
    (void)snprintf(text, sizeof(text), "%s", ((const Vmt__Signal *)a.message)->name);
    answer_done(&a);
    return text;
}

static void
signal_init(Vmt__Signal *m, const char *name)
{
    vmt__signal__init(m);
    m->name = (char *)(uintptr_t)name;
}

/* A call that must fail with code. */
static void
refused(struct client *c, struct call_spec spec, enum ipc_error code)
{
    struct answer a;

    call(c, &spec, &a);
    assert_false(a.ok);
    assert_int_equal(a.code, code);
    answer_done(&a);
}

static int
own_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void
a_message_comes_back_as_it_was_sent(void **state)
{
    struct client *c = client_new(*state);
    static const size_t sizes[] = {0, 1, 65536, 1024 * 1024};
    uint8_t *big = malloc(sizes[3]);

    assert_non_null(big);
    for (size_t i = 0; i < sizes[3]; i++)
        big[i] = (uint8_t)(i * 7 + (i >> 8));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(sizes); i++) {
        struct call_spec spec = {.method = "Echo", .reply = &vmt__signal__descriptor};
        const Vmt__Signal *got;
        struct answer a;
        Vmt__Signal m;

        signal_init(&m, "n\xc3\xa4me");
        m.message.data = big;
        m.message.len = sizes[i];
        spec.message = &m.base;
        call(c, &spec, &a);
        assert_true(a.ok);
        got = (const Vmt__Signal *)a.message;
        assert_string_equal(got->name, "n\xc3\xa4me");
        assert_int_equal(got->message.len, sizes[i]);
        if (sizes[i])
            assert_memory_equal(got->message.data, big, sizes[i]);
        answer_done(&a);
    }
    free(big);
    c->ops->close(c);
}

static void
a_method_may_have_neither_argument_nor_result(void **state)
{
    struct client *c = client_new(*state);
    struct call_spec spec = {.method = "Nothing"};
    struct answer a;

    call(c, &spec, &a);
    assert_true(a.ok);
    assert_null(a.message);
    c->ops->close(c);
}

static void
an_error_arrives_with_its_kind_and_words(void **state)
{
    struct client *c = client_new(*state);

    for (uint8_t code = IPC_ERROR_FAILED; code <= IPC_ERROR_NO_MEMORY; code++) {
        struct call_spec spec = {.method = "Fail", .reply = &vmt__signal__descriptor};
        struct answer a;
        Vmt__Signal m;

        signal_init(&m, "no such vm: \xc3\xa4%s");
        m.message.data = &code;
        m.message.len = 1;
        spec.message = &m.base;
        call(c, &spec, &a);
        assert_false(a.ok);
        assert_int_equal(a.code, code);
        assert_string_equal(a.text, "no such vm: \xc3\xa4%s");
        signal_init(&m, "no text: \xff"); /* which no bus would carry */
        call(c, &spec, &a);
        assert_false(a.ok);
        assert_non_null(strstr(a.text, "no text"));
    }
    c->ops->close(c);
}

static void
what_is_no_call_of_the_service_is_refused(void **state)
{
    struct client *c = client_new(*state);
    struct call_spec spec = {.method = "NoSuchMethod", .reply = &vmt__signal__descriptor};
    Vmt__Signal m;

    signal_init(&m, "x");
    spec.message = &m.base;
    refused(c, spec, IPC_ERROR_UNKNOWN_METHOD);
    spec.message = NULL;
    spec.method = "Echo";
    spec.bytes = (const uint8_t *)"\x08\x01"; /* name is no number */
    spec.len = 2;
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    assert_true(atoi(ask(c, "CountFds")) > 0); /* and the connection lives on */
    c->ops->close(c);
}

static void
descriptors_travel_both_ways_and_none_leaks(void **state)
{
    struct client *c = client_new(*state);
    int before = atoi(ask(c, "CountFds")), own = own_fds();
    Vmt__Signal m;

    signal_init(&m, "fds");
    for (int round = 0; round < 30; round++) {
        struct call_spec spec = {.method = "Join",
                                 .message = &m.base,
                                 .reply = &vmt__signal__descriptor,
                                 .nfds = 3,
                                 .fds_shape = "ah"};
        struct stat sent[3], got;
        struct answer a;
        int pipes[4];

        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        pipes[2] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        spec.fds = pipes;
        for (int i = 0; i < 3; i++)
            assert_int_equal(fstat(pipes[i], &sent[i]), 0);
        call(c, &spec, &a);
        assert_true(a.ok);
        assert_int_equal(a.nfds, 3);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(fstat(a.fds[i], &got), 0);
            assert_int_equal(got.st_ino, sent[2 - i].st_ino);
            assert_true(fcntl(a.fds[i], F_GETFD) & FD_CLOEXEC);
            vmt_closep(&pipes[i]);
        }
        answer_done(&a);
    }
    assert_int_equal(atoi(ask(c, "CountFds")), before);
    assert_int_equal(own_fds(), own);
    c->ops->close(c);
}

static void
a_descriptor_that_was_sent_can_be_read(void **state)
{
    struct client *c = client_new(*state);
    struct call_spec spec = {
        .method = "Read", .reply = &vmt__signal__descriptor, .nfds = 1, .fds_shape = "h"};
    const Vmt__Signal *got;
    struct answer a;
    Vmt__Signal m;
    int fds[2];

    signal_init(&m, "");
    spec.message = &m.base;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], "hello", 5), 5);
    spec.fds = fds;
    call(c, &spec, &a);
    assert_true(a.ok);
    got = (const Vmt__Signal *)a.message;
    assert_int_equal(got->message.len, 5);
    assert_memory_equal(got->message.data, "hello", 5);
    answer_done(&a);
    (void)close(fds[0]);
    (void)close(fds[1]);
    c->ops->close(c);
}

static void
a_wrong_number_of_descriptors_is_refused_and_none_leaks(void **state)
{
    struct client *c = client_new(*state);
    int before = atoi(ask(c, "CountFds"));
    struct call_spec spec = {.reply = &vmt__signal__descriptor};
    struct answer a;
    int fds[2] = {STDIN_FILENO, STDOUT_FILENO};
    Vmt__Signal m;

    signal_init(&m, "");
    spec.message = &m.base;
    spec.method = "Read";
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    spec.fds = fds;
    spec.nfds = 2;
    spec.fds_shape = "hh";
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    spec.method = "Echo";
    spec.nfds = 1;
    refused(c, spec, IPC_ERROR_INVALID_ARGS);
    spec.method = "Optional";
    spec.nfds = 0;
    spec.fds_shape = "";
    for (; spec.nfds <= 2; spec.nfds += 2, spec.fds_shape = "ah") {
        call(c, &spec, &a);
        assert_true(a.ok);
        assert_int_equal(atoi(((const Vmt__Signal *)a.message)->name), spec.nfds);
        answer_done(&a);
    }
    assert_int_equal(atoi(ask(c, "CountFds")), before);
    c->ops->close(c);
}

static void
calls_in_parallel_get_their_own_answers(void **state)
{
    struct client *c = client_new(*state);
    struct client *other = client_new(*state);
    static struct answer answers[PARALLEL];
    char names[PARALLEL][16];

    for (int i = 0; i < PARALLEL; i++) {
        struct call_spec spec = {.method = "Later", .reply = &vmt__signal__descriptor};
        Vmt__Signal m;

        (void)snprintf(names[i], sizeof(names[i]), "call %d", i);
        signal_init(&m, names[i]);
        spec.message = &m.base;
        c->ops->start(c, &spec, &answers[i]);
    }
    for (int released = 0; released < PARALLEL;) { /* some may still be on their way */
        c->ops->turn(c);
        released += atoi(ask(other, "Release"));
    }
    wait_done(c, answers, PARALLEL);
    for (int i = 0; i < PARALLEL; i++) {
        assert_true(answers[i].ok);
        assert_string_equal(((const Vmt__Signal *)answers[i].message)->name, names[i]);
        answer_done(&answers[i]);
    }
    other->ops->close(other);
    c->ops->close(c);
}

static void
signals_reach_every_subscriber_and_nobody_else(void **state)
{
    struct signals_seen seen[3] = {{0}};
    struct client *c[3], *other = client_new(*state);
    time_t end = now_s() + DEADLINE_S;
    Vmt__Signal m;

    signal_init(&m, "up");
    for (int i = 0; i < 3; i++) {
        c[i] = client_new(*state);
        c[i]->ops->subscribe(c[i], &seen[i]);
        while (!seen[i].ready && now_s() < end)
            c[i]->ops->turn(c[i]);
        assert_true(seen[i].ready);
    }
    for (int i = 0; i < 5; i++) {
        struct call_spec spec = {.method = "Raise", .message = &m.base};
        struct answer a;

        call(i % 2 ? other : c[0], &spec, &a);
        assert_true(a.ok);
    }
    for (int i = 0; i < 3; i++) {
        while (seen[i].count < 5 && now_s() < end)
            c[i]->ops->turn(c[i]);
        assert_int_equal(seen[i].count, 5);
        assert_int_equal(seen[i].len, 4);
        assert_memory_equal(seen[i].bytes, "\x0a\x02up", 4);
        c[i]->ops->close(c[i]);
    }
    other->ops->close(other);
}

static void
a_client_that_dies_costs_nobody_anything(void **state)
{
    struct client *c = client_new(*state);
    int before = atoi(ask(c, "CountFds"));
    time_t end = now_s() + DEADLINE_S;
    int fds[2] = {STDIN_FILENO, STDOUT_FILENO};
    struct signals_seen seen = {0};
    Vmt__Signal m;

    signal_init(&m, "last words");
    for (int i = 0; i < 10; i++) {
        struct client *dying = client_new(*state);
        struct call_spec later = {
            .method = "Later", .message = &m.base, .reply = &vmt__signal__descriptor};
        struct call_spec join = {.method = "Join",
                                 .message = &m.base,
                                 .reply = &vmt__signal__descriptor,
                                 .fds = fds,
                                 .nfds = 2,
                                 .fds_shape = "ah"};
        static struct answer a[2];

        assert_true(atoi(ask(dying, "CountFds")) > 0);
        dying->ops->subscribe(dying, &seen);
        dying->ops->start(dying, &later, &a[0]);
        dying->ops->start(dying, &join, &a[1]);
        dying->ops->turn(dying);
        dying->ops->close(dying);
        answer_done(&a[0]);
        answer_done(&a[1]);
    }
    (void)ask(c, "Release"); /* answers for the dead go nowhere */
    while (atoi(ask(c, "CountFds")) != before)
        assert_true(now_s() < end);
    c->ops->close(c);
}

static void
the_caller_is_who_the_kernel_says(void **state)
{
    struct client *c;
    struct call_spec spec = {.method = "Owned",
                             .reply = &vm_tools__concierge__list_vms_request__descriptor};
    VmTools__Concierge__ListVmsRequest m;
    char owner[IPC_OWNER_MAX];
    struct answer a;

    if (getuid() != 0) {
        c = client_new(*state);
        assert_int_equal(atoi(ask(c, "GetCaller")), getuid());
        c->ops->close(c);
        return;
    }
    assert_int_equal(seteuid(NOBODY), 0);
    c = client_new(*state);
    assert_int_equal(strtoul(ask(c, "GetCaller"), NULL, 10), NOBODY);
    assert_int_equal(strtoul(ask(c, "GetCaller"), NULL, 10), NOBODY);
    vm_tools__concierge__list_vms_request__init(&m);
    spec.message = &m.base;
    m.owner_id = owner;
    ipc_owner_for_uid(0, owner);
    refused(c, spec, IPC_ERROR_ACCESS_DENIED);
    ipc_owner_for_uid(NOBODY, owner);
    call(c, &spec, &a);
    assert_true(a.ok);
    answer_done(&a);
    c->ops->close(c);
    assert_int_equal(seteuid(0), 0);
    c = client_new(*state);
    assert_int_equal(atoi(ask(c, "GetCaller")), 0);
    c->ops->close(c);
}

static void
a_daemon_that_ends_leaves_no_call_waiting(void **state)
{
    struct world *w = *state;
    struct client *c = client_new(w);
    struct call_spec spec = {.method = "Later", .reply = &vmt__signal__descriptor};
    struct answer a;
    Vmt__Signal m;

    signal_init(&m, "");
    spec.message = &m.base;
    c->ops->start(c, &spec, &a);
    assert_true(atoi(ask(c, "CountFds")) > 0); /* the first call has arrived, too */
    assert_int_equal(kill(w->daemon, SIGTERM), 0);
    assert_int_equal(world_wait(w->daemon), 0);
    w->daemon = 0;
    wait_done(c, &a, 1);
    assert_false(a.ok);
    c->ops->close(c);
}

static void
the_name_belongs_to_one_daemon(void **state)
{
    struct world *w = *state;
    pid_t pid = 0;

    if (strcmp(backend, "dbus") != 0)
        return;
    assert_int_equal(world_start_daemon(w, daemon_path, &pid), 1);
    assert_int_equal(pid, 0);
}

static void
a_daemon_is_told_when_its_bus_is_gone(void **state)
{
    struct world *w = *state;

    if (!w->bus)
        return;
    assert_int_equal(kill(w->bus, SIGKILL), 0);
    (void)world_wait(w->bus);
    w->bus = 0;
    assert_int_equal(world_wait(w->daemon), 3);
    w->daemon = 0;
}

static void
a_subscriber_that_does_not_read_is_dropped(void **state)
{
    struct world *w = *state;
    struct client *slow = client_new(w), *c = client_new(w);
    struct signals_seen seen = {0};
    size_t len = 64 * 1024;
    uint8_t *big = calloc(1, len);
    Vmt__Signal m;

    assert_non_null(big);
    signal_init(&m, "");
    m.message.data = big;
    m.message.len = len;
    slow->ops->subscribe(slow, &seen);
    slow->ops->turn(slow);
    for (int i = 0; i < 200; i++) { /* 12 MiB */
        struct call_spec spec = {.method = "Raise", .message = &m.base};
        struct answer a;

        call(c, &spec, &a);
        assert_true(a.ok);
    }
    if (!w->bus) { /* a bus keeps signals for its clients, that is its affair */
        while (!slow->ops->lost(slow) && !seen.ended)
            slow->ops->turn(slow);
        assert_true(seen.count < 200);
    }
    free(big);
    slow->ops->close(slow);
    c->ops->close(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_comes_back_as_it_was_sent),
        TEST(a_method_may_have_neither_argument_nor_result),
        TEST(an_error_arrives_with_its_kind_and_words),
        TEST(what_is_no_call_of_the_service_is_refused),
        TEST(descriptors_travel_both_ways_and_none_leaks),
        TEST(a_descriptor_that_was_sent_can_be_read),
        TEST(a_wrong_number_of_descriptors_is_refused_and_none_leaks),
        TEST(calls_in_parallel_get_their_own_answers),
        TEST(signals_reach_every_subscriber_and_nobody_else),
        TEST(a_client_that_dies_costs_nobody_anything),
        TEST(the_caller_is_who_the_kernel_says),
        TEST(a_daemon_that_ends_leaves_no_call_waiting),
        TEST(the_name_belongs_to_one_daemon),
        TEST(a_daemon_is_told_when_its_bus_is_gone),
        TEST(a_subscriber_that_does_not_read_is_dropped),
    };

    if (argc != 3)
        return 2;
    backend = argv[1];
    daemon_path = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
