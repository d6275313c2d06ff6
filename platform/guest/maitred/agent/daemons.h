/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/daemons.h - programs of ours that PID 1 keeps running. */
#pragma once

struct agent;

/* Start them; one that does not start is in the report. */
void daemons_start(struct agent *agent);

/* A shell on the console. */
void daemons_start_shell(struct agent *agent);
