/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "common.pb-c.h"
#include "core/concierge/agent_internal.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define CALL_MS 5000u

struct agent_test {
    struct world w;
    struct guest *guest;
    struct vm_agent agent;
    unsigned opens, answers;
};

static void
on_open(void *arg, const struct vmt_err *err)
{
    struct agent_test *t = arg;

    assert_null(err);
    t->opens++;
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct agent_test *t = arg;

    (void)status;
    t->answers++;
}

static const struct rpc_client_handler handler = {.on_done = on_done};

static int
call(struct agent_test *t)
{
    const struct rpc_client_request request = {
        .path = "/vm_tools.Maitred/Shutdown",
        .reply = &vm_tools__empty_message__descriptor,
        .timeout_ms = CALL_MS,
        .handler = &handler,
        .arg = t,
    };
    VmTools__EmptyMessage message = VM_TOOLS__EMPTY_MESSAGE__INIT;

    return vm_agent_call(&t->agent, &request, &message.base, NULL);
}

static void
set_up(struct agent_test *t)
{
    *t = (struct agent_test){.opens = 0};
    world_init(&t->w);
    t->guest = world_run_vm(&t->w, "demo");
    t->agent = (struct vm_agent){
        .clock = fake_clock_base(t->w.clock), .transport = t->w.transport, .cid = 32};
    assert_int_equal(vm_agent_open(&t->agent, 1000, on_open, t, NULL), 0);
    world_run(&t->w, 1);
    assert_int_equal(t->opens, 1);
    assert_true(vm_agent_is_open(&t->agent));
}

static void
tear_down(struct agent_test *t)
{
    struct client_call stop;

    vm_agent_close(&t->agent);
    guest_set(t->guest, "Shutdown", GUEST_ANSWERS);
    client_stop(&t->w, "demo", &stop);
    world_run(&t->w, 60000);
    assert_true(stop_reply(&stop)->success);
    client_call_done(&stop);
    guest_free(t->guest);
    world_done(&t->w);
}

static void
a_connection_that_nobody_uses_is_closed(void **state)
{
    struct agent_test t;

    (void)state;
    set_up(&t);
    world_run(&t.w, VM_AGENT_IDLE_MS + 1);
    assert_false(vm_agent_is_open(&t.agent));
    assert_int_equal(call(&t), -ENOTCONN);
    assert_int_equal(vm_agent_open(&t.agent, 1000, on_open, &t, NULL), 0);
    world_run(&t.w, 1);
    assert_true(vm_agent_is_open(&t.agent));
    tear_down(&t);
}

static void
a_connection_stays_as_long_as_a_call_is_on_it(void **state)
{
    struct agent_test t;

    (void)state;
    set_up(&t);
    guest_set(t.guest, "Shutdown", GUEST_IGNORES);
    assert_int_equal(call(&t), 0);
    world_run(&t.w, CALL_MS - 1);
    assert_true(vm_agent_is_open(&t.agent));
    assert_int_equal(t.answers, 0);
    world_run(&t.w, 2 * VM_AGENT_IDLE_MS + 2);
    assert_int_equal(t.answers, 1);
    assert_false(vm_agent_is_open(&t.agent));
    tear_down(&t);
}

static void
a_call_renews_the_time_that_a_connection_has(void **state)
{
    struct agent_test t;

    (void)state;
    set_up(&t);
    guest_set(t.guest, "Shutdown", GUEST_FAILS);
    world_run(&t.w, VM_AGENT_IDLE_MS / 2);
    assert_int_equal(call(&t), 0);
    world_run(&t.w, VM_AGENT_IDLE_MS / 2 + 1);
    assert_int_equal(t.answers, 1);
    assert_true(vm_agent_is_open(&t.agent));
    tear_down(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_nobody_uses_is_closed),
        cmocka_unit_test(a_connection_stays_as_long_as_a_call_is_on_it),
        cmocka_unit_test(a_call_renews_the_time_that_a_connection_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
