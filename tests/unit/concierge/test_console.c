/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/concierge/concierge_internal.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

static void
hostile_bytes_are_made_harmless(void **state)
{
    static const char raw[] = "a\tb\r\n\x1b]0;x\x07\0\xff\\n\n";
    VMT_CLEANUP(vmt_freep) char *text = console_escape(raw, sizeof(raw) - 1);

    (void)state;
    assert_string_equal(text, "a\tb\n\\x1b]0;x\\x07\\x00\\xff\\n\n");
}

static void
start_and_append(struct world *w, struct client_call *call, const char *text)
{
    world_init(w);
    client_start_name(w, "demo", call);
    world_run(w, 100);
    fake_host_append(w->host, "/state/console/", text);
}

static void
end(struct world *w, struct client_call *start)
{
    struct client_call stop;

    client_stop(w, "demo", &stop);
    world_run(w, 3000);
    client_call_done(&stop);
    client_call_done(start);
    world_done(w);
}

static void
the_tail_has_twenty_lines(void **state)
{
    struct world w;
    struct client_call start, stop;
    char text[512] = "", want[512] = "";

    (void)state;
    for (int i = 0; i < 25; i++) {
        char line[16];

        (void)snprintf(line, sizeof(line), "line %d\n", i);
        strcat(text, line);
        if (i >= 5)
            strcat(want, line);
    }
    start_and_append(&w, &start, text);
    client_stop(&w, "demo", &stop);
    world_run(&w, 3000);
    client_call_done(&stop);
    assert_string_equal(start_reply(&start)->console_tail, want);
    client_call_done(&start);
    world_done(&w);
}

static void
logs_are_given_to_their_owner(void **state)
{
    VmTools__Concierge__GetVmLogsRequest request;
    struct world w;
    struct client_call start, call;

    vm_tools__concierge__get_vm_logs_request__init(&request);
    (void)state;
    start_and_append(&w, &start, "hello\x01\n");
    request.name = (char *)(uintptr_t) "demo";
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&w, "GetVmLogs", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    assert_string_equal(((VmTools__Concierge__GetVmLogsResponse *)call.reply)->log,
                        "hello\\x01\n");
    client_call_done(&call);
    client_call(&w, "GetVmLogs", WORLD_UID + 1, &request.base, NULL, 0, &call);
    assert_int_equal(call.code, IPC_ERROR_ACCESS_DENIED);
    request.name = (char *)(uintptr_t) "nobody";
    client_call(&w, "GetVmLogs", WORLD_UID, &request.base, NULL, 0, &call);
    assert_true(call.failed);
    assert_string_equal(call.text, "the VM was never started");
    request.name = (char *)(uintptr_t) "";
    client_call(&w, "GetVmLogs", WORLD_UID, &request.base, NULL, 0, &call);
    assert_true(call.failed);
    end(&w, &start);
}

static void
a_log_that_grows_is_cut(void **state)
{
    struct world w;
    struct client_call start;
    char *much = malloc(CONSOLE_LOG_MAX + 2);

    (void)state;
    memset(much, 'x', CONSOLE_LOG_MAX + 1);
    much[CONSOLE_LOG_MAX + 1] = '\0';
    start_and_append(&w, &start, much);
    free(much);
    assert_int_equal(fake_host_trims(w.host), 0);
    world_run(&w, 2 * LOG_CHECK_MS);
    assert_int_equal(fake_host_trims(w.host), 1);
    end(&w, &start);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_bytes_are_made_harmless),
        cmocka_unit_test(the_tail_has_twenty_lines),
        cmocka_unit_test(logs_are_given_to_their_owner),
        cmocka_unit_test(a_log_that_grows_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
