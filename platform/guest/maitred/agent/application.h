/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/application.h - the program that the machine is there for:
 * when it ends, the host hears how, and the machine goes off. */
#pragma once

struct agent;
struct application;
struct proc_exit;

/* It ended, or could not be started. The first one counts. As a service of another init
 * only the host hears of it. */
void application_ended(struct agent *agent, const char *program,
                       const struct proc_exit *how);

void application_free(struct application *application);
