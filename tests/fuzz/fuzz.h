/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fuzz/fuzz.h - the entry of every fuzz target, as libFuzzer names it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Feed one input; returns 0. A finding is a crash. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
