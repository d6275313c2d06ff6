/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/poweroff.h - Shutdown where the machine belongs to another
 * init, which is asked. */
#pragma once

struct agent;
struct rpc_server_call;

/* Ask logind, then systemctl, then poweroff(8), whichever is there and agrees; without
 * any of them the kernel. The call is answered as soon as one of them agreed, or all have
 * refused; NULL: nobody called, the application of the machine ended. */
void poweroff_ask(struct agent *agent, struct rpc_server_call *call);
