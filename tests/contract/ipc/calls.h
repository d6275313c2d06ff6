/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/calls.h - what the files of the suite share: CONTRACT BACKEND DAEMON
 */
#pragma once

#include <time.h>

#include "tests/contract/ipc/world.h"
#include "vmt_ipc.pb-c.h"

#define DEADLINE_S 120
#define NOBODY 65534u

/* The arguments of the program. */
extern const char *backend, *daemon_path;
/* Whether they are complete. */
bool suite_args(int argc, char **argv);

/* Fixtures: a world of the backend as *state; with a system daemon, as root only. */
int setup(void **state);
int setup_system(void **state);
int teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

struct client *client_new(struct world *w);
/* The same for a client under another uid; as root only. */
struct client *client_new_as(struct world *w, uid_t uid);
time_t now_s(void);
void wait_done(struct client *c, struct answer *answers, size_t n);
void answer_done(struct answer *a);
void call(struct client *c, const struct call_spec *spec, struct answer *a);
/* Call a method without argument that answers with a text or number; it lives until the
 * next call. */
const char *ask(struct client *c, const char *method);
/* Wait until the daemon has that number of descriptors again. */
void await_fds(struct client *c, int n);
void signal_init(Vmt__Signal *m, const char *name);
/* A call that must fail with code. */
void refused(struct client *c, struct call_spec spec, enum ipc_error code);
