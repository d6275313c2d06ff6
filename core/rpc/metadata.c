/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/metadata_internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/base/cleanup.h"

static const char hex_digits[] = "0123456789ABCDEF";

static bool
text_is_plain(uint8_t c)
{
    return c >= 0x20 && c <= 0x7e && c != '%';
}

/* Bytes of a UTF-8 character by its first byte; 1 for what cannot start one. */
static size_t
text_char_len(uint8_t c)
{
    if (c >= 0xf0)
        return 4;
    if (c >= 0xe0)
        return 3;
    return c >= 0xc0 ? 2 : 1;
}

size_t
rpc_text_whole(const char *text, size_t len)
{
    size_t back = 0;

    while (back < 3 && back < len && ((uint8_t)text[len - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == len || text_char_len((uint8_t)text[len - 1 - back]) <= back + 1)
        return len;
    return len - back - 1;
}

size_t
rpc_text_encode(char *out, const char *text)
{
    size_t len = strnlen(text, RPC_MESSAGE_TEXT_MAX);
    size_t used = 0;

    if (len == RPC_MESSAGE_TEXT_MAX)
        len = rpc_text_whole(text, len - 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];

        if (text_is_plain(c)) {
            out[used++] = (char)c;
            continue;
        }
        out[used++] = '%';
        out[used++] = hex_digits[c >> 4];
        out[used++] = hex_digits[c & 15];
    }
    out[used] = '\0';
    return used;
}

static int
hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void
rpc_text_decode(char *out, const uint8_t *value, size_t len)
{
    size_t used = 0;
    size_t i = 0;

    while (i < len && used < RPC_MESSAGE_TEXT_MAX - 1) {
        uint8_t c = value[i++];

        if (c == '%' && len - i >= 2 && hex_value(value[i]) >= 0 &&
            hex_value(value[i + 1]) >= 0) {
            c = (uint8_t)(hex_value(value[i]) << 4 | hex_value(value[i + 1]));
            i += 2;
        }
        out[used++] = c ? (char)c : '?';
    }
    if (i < len)
        used = rpc_text_whole(out, used);
    out[used] = '\0';
}

size_t
rpc_timeout_format(char *out, uint32_t timeout_ms)
{
    bool fits = timeout_ms <= 99999999u;
    uint32_t number = fits ? timeout_ms : timeout_ms / 1000 + (timeout_ms % 1000 != 0);
    size_t len = 1;

    /* By hand, since nearly every call has one. */
    for (uint32_t rest = number; rest >= 10; rest /= 10)
        len++;
    for (size_t i = len; i > 0; i--, number /= 10)
        out[i - 1] = (char)('0' + number % 10);
    out[len++] = fits ? 'm' : 'S';
    out[len] = '\0';
    return len;
}

int
rpc_number_parse(const uint8_t *value, size_t len, uint32_t max, uint32_t *ret)
{
    uint64_t number = 0;

    if (len == 0 || len > 10)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -EINVAL;
        number = number * 10 + (value[i] - '0');
    }
    if (number > max)
        return -ERANGE;
    *ret = (uint32_t)number;
    return 0;
}

int
rpc_timeout_parse(const uint8_t *value, size_t len, uint64_t *ret_ms)
{
    static const struct {
        uint8_t unit;
        uint32_t mul, div;
    } units[] = {{'H', 3600000, 1}, {'M', 60000, 1}, {'S', 1000, 1},
                 {'m', 1, 1},       {'u', 1, 1000},  {'n', 1, 1000000}};
    uint32_t number;

    if (len < 2 || len > 9 || rpc_number_parse(value, len - 1, 99999999, &number) < 0)
        return -EINVAL;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(units); i++) {
        if (value[len - 1] != units[i].unit)
            continue;
        *ret_ms = ((uint64_t)number * units[i].mul + units[i].div - 1) / units[i].div;
        return 0;
    }
    return -EINVAL;
}

bool
rpc_content_type_ok(const uint8_t *value, size_t len)
{
    static const char base[] = "application/grpc";
    static const char proto[] = "+proto";

    if (len < sizeof(base) - 1 ||
        strncasecmp((const char *)value, base, sizeof(base) - 1) != 0)
        return false;
    value += sizeof(base) - 1;
    len -= sizeof(base) - 1;
    if (len >= sizeof(proto) - 1 &&
        strncasecmp((const char *)value, proto, sizeof(proto) - 1) == 0) {
        value += sizeof(proto) - 1;
        len -= sizeof(proto) - 1;
    }
    return len == 0 || *value == ';' || *value == ' ';
}

enum rpc_code
rpc_code_parse(const uint8_t *value, size_t len)
{
    uint32_t number;

    if (rpc_number_parse(value, len, RPC_CODE_COUNT - 1, &number) < 0)
        return RPC_UNKNOWN;
    return (enum rpc_code)number;
}

enum rpc_code
rpc_code_from_http(uint32_t http_status)
{
    static const struct {
        uint32_t http;
        enum rpc_code code;
    } map[] = {{400, RPC_INTERNAL},          {401, RPC_UNAUTHENTICATED},
               {403, RPC_PERMISSION_DENIED}, {404, RPC_UNIMPLEMENTED},
               {429, RPC_UNAVAILABLE},       {502, RPC_UNAVAILABLE},
               {503, RPC_UNAVAILABLE},       {504, RPC_UNAVAILABLE}};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(map); i++) {
        if (map[i].http == http_status)
            return map[i].code;
    }
    return RPC_UNKNOWN;
}

enum rpc_code
rpc_code_from_h2(uint32_t error_code)
{
    switch (error_code) {
    case 0x7: /* REFUSED_STREAM */
        return RPC_UNAVAILABLE;
    case 0x8: /* CANCEL */
        return RPC_CANCELLED;
    case 0xb: /* ENHANCE_YOUR_CALM */
        return RPC_RESOURCE_EXHAUSTED;
    case 0xc: /* INADEQUATE_SECURITY */
        return RPC_PERMISSION_DENIED;
    default:
        return RPC_INTERNAL;
    }
}
