/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/end_message_internal.h - room for a message of how a VM ended. */
#pragma once

#include "vmt_life.pb-c.h"

struct end_message {
    Vmt__VmEnd end;
    Vmt__ApplicationEnd application; /* end points to it, or not */
};
