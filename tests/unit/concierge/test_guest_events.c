/* SPDX-License-Identifier: BSD-3-Clause */
/* What guests tell of themselves. */
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"
#include "vmt_agent.pb-c.h"
#include "vmt_life.pb-c.h"

/* An event and what it points to. */
struct news {
    Vmt__GuestEvent event;
    Vmt__ApplicationExit application;
    Vmt__OutOfMemory oom;
    Vmt__MemoryPressure pressure;
    Vmt__LastWords words;
};

static const Vmt__GuestEvent *
application(struct news *news, int exit_code, int sig)
{
    vmt__guest_event__init(&news->event);
    vmt__application_exit__init(&news->application);
    news->application.program = (char *)(uintptr_t) "serv\x1b[2Jer";
    news->application.exit_code = exit_code;
    news->application.signal = sig;
    news->event.event_case = VMT__GUEST_EVENT__EVENT_APPLICATION_EXIT;
    news->event.application_exit = &news->application;
    return &news->event;
}

static const Vmt__GuestEvent *
out_of_memory(struct news *news, const char *group, uint64_t killed)
{
    vmt__guest_event__init(&news->event);
    vmt__out_of_memory__init(&news->oom);
    news->oom.group = (char *)(uintptr_t)group;
    news->oom.killed = killed;
    news->event.event_case = VMT__GUEST_EVENT__EVENT_OUT_OF_MEMORY;
    news->event.out_of_memory = &news->oom;
    return &news->event;
}

static void
report(struct world *w, struct guest *g, const Vmt__GuestEvent *event)
{
    struct rpc_status status;
    int answers;

    guest_report(g, event, &status, &answers);
    world_run(w, 100);
    assert_int_equal(answers, 1);
    assert_int_equal(status.code, RPC_OK);
}

/* GetVmInfo; the caller frees. */
static const VmTools__Concierge__GetVmInfoResponse *
info(struct world *w, struct client_call *call)
{
    VmTools__Concierge__GetVmInfoRequest request;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, call);
    assert_int_equal(call->answers, 1);
    return (const VmTools__Concierge__GetVmInfoResponse *)call->reply;
}

static void
expect_application(struct world *w, int exit_code, int sig)
{
    const Vmt__VmEnd *end;
    struct client_call call;

    end = info(w, &call)->last_end;
    assert_non_null(end);
    assert_string_equal(end->cause, "poweroff");
    assert_non_null(end->application);
    assert_int_equal(end->application->exit_code, exit_code);
    assert_int_equal(end->application->signal, sig);
    assert_null(strchr(end->application->program, '\x1b'));
    client_call_done(&call);
}

static void
go_off(struct world *w, struct guest *g)
{
    fake_process_exit(fake_hypervisor_find(w->hv, "demo"), HYPERVISOR_EXIT_POWEROFF, "");
    world_run(w, 500);
    guest_free(g);
}

static void
the_exit_status_of_the_program_is_remembered(void **state)
{
    struct world w;
    struct news news;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    report(&w, g, application(&news, 42, 0));
    report(&w, g, application(&news, 7, 0)); /* the first one counts */
    go_off(&w, g);
    expect_application(&w, 42, 0);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    expect_application(&w, 42, 0);
    world_done(&w);
}

static void
the_next_daemon_knows_what_one_has_heard(void **state)
{
    struct world w;
    struct news news;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    report(&w, g, out_of_memory(&news, "job-x", 3));
    report(&w, g, application(&news, 0, 9));
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 100);
    assert_int_equal(info(&w, &call)->vm_info->oom_kills, 3);
    client_call_done(&call);
    go_off(&w, g);
    expect_application(&w, 0, 9);
    world_done(&w);
}

/* Else its end would make the start fail. */
static void
a_guest_is_held_until_its_start_was_answered(void **state)
{
    struct world w;
    struct news news;
    struct client_call call;
    struct start_args args;
    struct fake_process *process;
    struct rpc_status status, ready;
    int answers, readies;
    struct guest *g;

    (void)state;
    world_init(&w);
    start_args_init(&args, "demo");
    client_start(&w, &args, &call);
    world_run(&w, 100);
    process = fake_hypervisor_find(w.hv, "demo");
    g = guest_new(&w, fake_process_start(process)->cid);
    guest_report(g, application(&news, 5, 0), &status, &answers);
    world_run(&w, 1000);
    assert_int_equal(answers, 0);
    guest_call_ready(g, &ready, &readies);
    world_run(&w, 1000);
    assert_int_equal(readies, 1);
    assert_true(start_reply(&call)->success);
    assert_int_equal(answers, 1);
    assert_int_equal(status.code, RPC_OK);
    client_call_done(&call);
    go_off(&w, g);
    expect_application(&w, 5, 0);
    world_done(&w);
}

static void
lack_of_memory_is_counted_within_bounds(void **state)
{
    struct world w;
    struct news news;
    struct client_call call;
    const VmTools__Concierge__VmInfo *vm;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    report(&w, g, out_of_memory(&news, "job-\n10", 2));
    report(&w, g, out_of_memory(&news, "", 1));
    report(&w, g, out_of_memory(&news, "job-\n10", UINT64_MAX)); /* nonsense */
    vm = info(&w, &call)->vm_info;
    assert_int_equal(vm->oom_kills, 3);
    assert_string_equal(vm->oom_group, "");
    client_call_done(&call);
    vmt__guest_event__init(&news.event);
    vmt__memory_pressure__init(&news.pressure);
    news.pressure.some_permille = 4000000000u;
    news.event.event_case = VMT__GUEST_EVENT__EVENT_MEMORY_PRESSURE;
    news.event.memory_pressure = &news.pressure;
    report(&w, g, &news.event);
    assert_int_equal(info(&w, &call)->vm_info->memory_pressure_permille, 1000);
    client_call_done(&call);
    for (int i = 0; i < 300; i++) /* the log does not grow without end */
        report(&w, g, out_of_memory(&news, "job", 1));
    assert_int_equal(info(&w, &call)->vm_info->oom_kills, 303);
    client_call_done(&call);
    go_off(&w, g);
    world_done(&w);
}

static void
last_words_explain_the_end(void **state)
{
    struct world w;
    struct news news;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    vmt__guest_event__init(&news.event);
    vmt__last_words__init(&news.words);
    news.words.text = (char *)(uintptr_t) "caught fatal signal 11";
    news.event.event_case = VMT__GUEST_EVENT__EVENT_LAST_WORDS;
    news.event.last_words = &news.words;
    report(&w, g, &news.event);
    fake_process_exit(fake_hypervisor_find(w.hv, "demo"), HYPERVISOR_EXIT_RESET, "reset");
    world_run(&w, 500);
    guest_free(g);
    assert_string_equal(info(&w, &call)->last_end->text, "caught fatal signal 11");
    assert_string_equal(
        ((const VmTools__Concierge__GetVmInfoResponse *)call.reply)->last_end->cause,
        "reboot");
    client_call_done(&call);
    world_done(&w);
}

static void
an_empty_event_is_none(void **state)
{
    struct world w;
    struct news news;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    vmt__guest_event__init(&news.event);
    report(&w, g, &news.event);
    go_off(&w, g);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exit_status_of_the_program_is_remembered),
        cmocka_unit_test(the_next_daemon_knows_what_one_has_heard),
        cmocka_unit_test(a_guest_is_held_until_its_start_was_answered),
        cmocka_unit_test(lack_of_memory_is_counted_within_bounds),
        cmocka_unit_test(last_words_explain_the_end),
        cmocka_unit_test(an_empty_event_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
