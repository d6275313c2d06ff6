/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/concierge/template_calls.h"

#include <stdio.h>
#include <string.h>

#include "tests/fake/fake_states.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

/* As world_init, with templates. */
void
template_init(struct world *w)
{
    world_init(w);
    world_kill_daemon(w);
    w->template_count = 2;
    w->template_bytes = 1 << 20;
    world_start_daemon(w);
}

/* The throw-away VM, or NULL. */
struct fake_process *
template_builder(struct world *w)
{
    for (size_t i = 0; i < fake_hypervisor_count(w->hv); i++) {
        struct fake_process *p = fake_hypervisor_process(w->hv, i);

        if (strstr(fake_process_start(p)->cmdline, "maitred.template") &&
            fake_process_start(p)->restore_fd <= 0)
            return p;
    }
    return NULL;
}

void
template_say(struct world *w, const char *text)
{
    assert_non_null(template_builder(w));
    fake_host_append(w->host, fake_process_start(template_builder(w))->run_dir, text);
}

const char *
template_mode_of(const struct client_call *call)
{
    assert_true(start_reply(call)->success);
    assert_string_equal(start_reply(call)->start_mode,
                        start_reply(call)->vm_info->start_mode);
    return start_reply(call)->start_mode;
}

/* Let the guest of a start that waits report ready. */
struct guest *
template_get_ready(struct world *w, const char *name)
{
    struct fake_process *p = fake_hypervisor_find(w->hv, name);
    struct guest *g;

    assert_non_null(p);
    g = guest_new(w, fake_process_start(p)->cid);
    guest_power_off_on_shutdown(g, name);
    world_become_ready(w, g);
    return g;
}

/* Start, and say how it went: "cold" or "warm". */
const char *
template_run(struct world *w, struct start_args *args, struct guest **ret_guest)
{
    static char mode[16];
    struct client_call call;

    client_start(w, args, &call);
    world_run(w, 500);
    *ret_guest = template_get_ready(w, args->request.name);
    (void)snprintf(mode, sizeof(mode), "%s", template_mode_of(&call));
    client_call_done(&call);
    return mode;
}

const char *
template_run_once(struct world *w, const char *name)
{
    struct start_args args;
    const char *mode;
    struct guest *g;

    start_args_init(&args, name);
    mode = template_run(w, &args, &g);
    world_stop_vm(w, name, g);
    return mode;
}

/* Have a template made. */
void
template_make(struct world *w)
{
    assert_string_equal(template_run_once(w, "first"), "cold");
    world_run(w, 4000);
    template_say(w, TEMPLATE_READY);
    world_run(w, 1000);
    assert_null(template_builder(w));
    assert_int_equal(fake_states_count(w->host), 2);
    world_run(w, 1000);
    w->journal[0] = '\0';
}
