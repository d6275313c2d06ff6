/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/concierge/template_calls.h - what tests of templates do again and again. */
#pragma once

#include "tests/unit/concierge/world.h"

/* What the guest of a template says on its console when it can be saved. */
#define TEMPLATE_READY "vm_tools-template-ready\n"

struct fake_process;
struct guest;

/* As world_init, with templates. */
void template_init(struct world *w);
/* The throw-away VM, or NULL. */
struct fake_process *template_builder(struct world *w);
/* The builder's console. */
void template_say(struct world *w, const char *text);
/* Of a start that worked: "cold" or "warm". */
const char *template_mode_of(const struct client_call *call);
/* Let the guest of a start that waits report ready; the caller frees it. */
struct guest *template_get_ready(struct world *w, const char *name);
/* Start, and say how it went, until the next call: "cold" or "warm". */
const char *template_run(struct world *w, struct start_args *args,
                         struct guest **ret_guest);
/* The same, and stop it again. */
const char *template_run_once(struct world *w, const char *name);
/* Have a template made. */
void template_make(struct world *w);
