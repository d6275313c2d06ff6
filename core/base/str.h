/* SPDX-License-Identifier: BSD-3-Clause */
/* core/base/str.h - small text helpers that every room needs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool vmt_str_has_prefix(const char *text, const char *prefix);

/* Parse an unsigned decimal number that fills text wholly. Returns 0, or -EINVAL for
 * anything else, or -ERANGE above max; *ret is written only on success. */
int vmt_parse_u64(const char *text, uint64_t max, uint64_t *ret);

/* Write len bytes as 2 * len lower-case digits and a NUL. */
void vmt_hex_encode(char *out, const uint8_t *data, size_t len);
