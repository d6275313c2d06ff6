/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/service.h - the methods and signals of org.chromium.VmConcierge. */
#pragma once

#include "core/adapter/ipc.h"

/* Every member that the original has, in the order of the wire table. The handlers expect
 * a struct concierge as their ctx. */
extern const struct ipc_service concierge_service;
