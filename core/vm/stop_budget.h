/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/stop_budget.h - how long each step of a stop may take. */
#pragma once

#include <stdint.h>

#include "core/vm/lifecycle.h"

/* No limit on the whole. */
#define STOP_NO_LIMIT UINT64_MAX

/* For the step that state stands for, ms. Without a limit each step has the time of the
 * original: 30 s for the agent, then 10 s each. When less than all of them is left, they
 * share it in the same proportions, so that SIGKILL comes before the end. Pure. 0 for a
 * state that is no step of a stop. */
uint32_t stop_budget_ms(enum vm_state state, uint64_t left_ms);
