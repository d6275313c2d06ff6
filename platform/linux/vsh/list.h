/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/list.h - the sessions that a guest's vshd serves. */
#pragma once

#include <stdbool.h>

struct os_loop;
struct vsh_endpoint;

/* Ask for them and print them to stdout, as a table or as JSON; program is who speaks.
 * Runs the loop, which must have no other business. Returns the exit code for our own
 * process, having said on stderr what went wrong. */
int vsh_list(struct os_loop *loop, const char *program,
             const struct vsh_endpoint *endpoint, bool json);
