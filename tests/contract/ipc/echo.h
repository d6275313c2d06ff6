/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/ipc/echo.h - a small service that both ends of the suite know.
 *
 * Every message is a vmt.Signal. The methods:
 *   Cancelled () -> name: how many calls of Later lost their client
 *   CountFds  () -> name: how many descriptors the daemon has open
 *   Echo      what comes back is what was sent
 *   Fail      fails with the code that message[0] holds and the text in name
 *   GetCaller () -> name: "<uid> <pid>"
 *   Join      ah -> ah: the same descriptors in reverse order
 *   Later     like Echo, but answered by the next Release
 *   Nothing   () -> ()
 *   Optional  [ah] -> name: how many descriptors came
 *   Owned     [ah] -> (), for the owner that ListVmsRequest names
 *   Raise     () emits the signal Rose with what was sent
 *   Read      h -> message: what can be read from it
 *   Release   () answers all Later calls in reverse order, name: how many
 *   RootOnly, ServiceOnly  () -> (), for whom their names say
 *   Waiting   () -> name: how many calls of Later wait for their Release */
#pragma once

#include "core/ipc/ipc.h"

struct echo {
    struct ipc *ipc;         /* borrowed; to emit */
    struct ipc_call **later; /* owned array of borrowed calls, with their requests */
    const struct ProtobufCMessage **requests;
    size_t nlater, cap;
    unsigned cancelled;
};

extern const struct ipc_service echo_service;

void echo_done(struct echo *echo);
