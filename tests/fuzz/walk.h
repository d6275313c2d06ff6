/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fuzz/walk.h - tell libFuzzer which fields of a message came. */
#pragma once

struct ProtobufCMessage;

/* The parser is a library without coverage of its own, so that a new field is no news to
 * the fuzzer: count every field that is there, and how many of a repeated one, in
 * counters that it takes for coverage. */
void fuzz_walk(const struct ProtobufCMessage *message);
