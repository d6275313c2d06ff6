/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/test_callers.c - who calls, what they may do, and what the log says
 * about it. */
#include <protobuf-c/protobuf-c.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/ipc/ipc.h"
#include "tests/contract/ipc/calls.h"
#include "tests/unit/test.h"
#include "vmt_ipc.pb-c.h"

#define OTHER 7 /* a user who never calls */

/* Call Owned for the owner that stands for uid. */
static bool
may_touch(struct client *c, uid_t uid)
{
    struct call_spec spec = {.method = "Owned"};
    VmTools__Concierge__ListVmsRequest m;
    char owner[IPC_OWNER_MAX];
    struct answer a;

    vm_tools__concierge__list_vms_request__init(&m);
    ipc_owner_for_uid(uid, owner);
    m.owner_id = owner;
    spec.message = &m.base;
    call(c, &spec, &a);
    if (!a.ok)
        assert_int_equal(a.code, IPC_ERROR_ACCESS_DENIED);
    answer_done(&a);
    return a.ok;
}

static bool
may_call(struct client *c, const char *method)
{
    struct call_spec spec = {.method = method};
    struct answer a;

    call(c, &spec, &a);
    if (!a.ok)
        assert_int_equal(a.code, IPC_ERROR_ACCESS_DENIED);
    answer_done(&a);
    return a.ok;
}

static void
expect_caller(struct client *c, uid_t uid)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "%u %d", uid, getpid());
    assert_string_equal(ask(c, "GetCaller"), text);
    assert_string_equal(ask(c, "GetCaller"), text);
}

static void
the_caller_is_who_the_kernel_says(void **state)
{
    struct client *c;

    c = client_new(*state);
    expect_caller(c, getuid());
    c->ops->close(c);
    if (getuid() != 0)
        return;
    c = client_new_as(*state, NOBODY);
    expect_caller(c, NOBODY);
    assert_false(may_touch(c, 0));
    assert_true(may_touch(c, NOBODY));
    c->ops->close(c);
}

static void
a_system_daemon_lets_in_whom_the_class_of_a_method_names(void **state)
{
    struct world *w = *state;
    struct {
        uid_t uid;
        bool others, service, root;
    } rows[] = {{0, true, true, true},
                {w->daemon_uid, true, true, false},
                {w->service_uid, true, true, false},
                {NOBODY, false, false, false}};

    if (getuid() != 0) /* needs more uids */
        skip();
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        struct client *c = client_new_as(w, rows[i].uid);

        assert_true(may_touch(c, rows[i].uid));
        assert_int_equal(may_touch(c, OTHER), rows[i].others);
        assert_int_equal(may_call(c, "ServiceOnly"), rows[i].service);
        assert_int_equal(may_call(c, "RootOnly"), rows[i].root);
        assert_true(may_call(c, "Nothing"));
        c->ops->close(c);
    }
}

static void
the_log_says_who_was_refused_and_who_used_a_privilege(void **state)
{
    struct world *w = *state;
    struct client *c;
    char line[128];

    if (getuid() != 0) /* needs more uids */
        skip();
    c = client_new_as(w, NOBODY);
    assert_false(may_call(c, "RootOnly"));
    c->ops->close(c);
    c = client_new_as(w, w->service_uid);
    assert_true(may_call(c, "ServiceOnly"));
    c->ops->close(c);
    (void)snprintf(line, sizeof(line),
                   "call refused: method=RootOnly needs=root uid=%u pid=%d", NOBODY,
                   getpid());
    assert_true(world_logged(w, line));
    (void)snprintf(line, sizeof(line),
                   "call by privilege: method=ServiceOnly needs=service uid=%u pid=%d",
                   w->service_uid, getpid());
    assert_true(world_logged(w, line));
}

static void
in_user_mode_the_user_may_do_everything(void **state)
{
    struct client *c = client_new(*state);

    assert_true(may_call(c, "RootOnly"));
    assert_true(may_call(c, "ServiceOnly"));
    assert_true(may_touch(c, OTHER));
    c->ops->close(c);
}

#define TEST_SYSTEM(name) cmocka_unit_test_setup_teardown(name, setup_system, teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_caller_is_who_the_kernel_says),
        TEST_SYSTEM(a_system_daemon_lets_in_whom_the_class_of_a_method_names),
        TEST_SYSTEM(the_log_says_who_was_refused_and_who_used_a_privilege),
        TEST(in_user_mode_the_user_may_do_everything),
    };

    if (!suite_args(argc, argv))
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
