/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test.h - cmocka and the headers that it wants before itself. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
