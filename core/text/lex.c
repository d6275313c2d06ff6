/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/text/text_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/log.h"

#define TOKEN_SHOWN_MAX 40

static bool
is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int
text_fail(const struct text_lexer *lx, const char *fmt, ...)
{
    char what[VMT_ERR_MSG_MAX / 2], shown[TOKEN_SHOWN_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (lx->token.kind == TEXT_END)
        return vmt_err_setx(lx->err, EINVAL, "line %u, column %u: %s, at the end",
                            lx->token.line, lx->token.column, what);
    return vmt_err_setx(
        lx->err, EINVAL, "line %u, column %u: %s, at '%s'", lx->token.line,
        lx->token.column, what,
        vmt_log_escape(shown, sizeof(shown), lx->token.start, lx->token.len));
}

static void
skip_space(struct text_lexer *lx)
{
    bool comment = false;

    for (; lx->at < lx->end; lx->at++) {
        char c = *lx->at;

        if (c == '\n') {
            comment = false;
            lx->line++;
            lx->column = 1;
            continue;
        }
        if (c == '#')
            comment = true;
        else if (!comment && c != ' ' && c != '\t' && c != '\r' && c != '\v' && c != '\f')
            return;
        lx->column++;
    }
}

/* Length of the string that starts at the quote *at, both quotes included; 0 when it does
 * not end on its line. */
static size_t
string_len(const char *at, const char *end)
{
    for (const char *p = at + 1; p < end; p++) {
        if (*p == '\n')
            return 0;
        if (*p == *at)
            return (size_t)(p - at) + 1;
        if (*p == '\\' && p + 1 < end && p[1] != '\n')
            p++;
    }
    return 0;
}

static size_t
number_len(const char *at, const char *end)
{
    bool hex = end - at > 1 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X');
    const char *p = at;

    for (; p < end; p++) {
        bool sign_of_exponent =
            (*p == '+' || *p == '-') && !hex && p > at && (p[-1] == 'e' || p[-1] == 'E');

        if (!is_alpha(*p) && !is_digit(*p) && *p != '.' && !sign_of_exponent)
            break;
    }
    return (size_t)(p - at);
}

static size_t
word_len(const char *at, const char *end)
{
    const char *p = at;

    while (p < end && (is_alpha(*p) || is_digit(*p)))
        p++;
    return (size_t)(p - at);
}

/* Find kind and length of the token at lx->at, which is not the end. */
static int
classify(struct text_lexer *lx)
{
    struct text_token *t = &lx->token;
    char c = *lx->at;

    if (c == '"' || c == '\'') {
        t->kind = TEXT_STRING;
        t->len = string_len(lx->at, lx->end);
        if (t->len)
            return 0;
        t->len = 1;
        return text_fail(lx, "string does not end on its line");
    }
    if (is_digit(c) || (c == '.' && lx->end - lx->at > 1 && is_digit(lx->at[1]))) {
        t->kind = TEXT_NUMBER;
        t->len = number_len(lx->at, lx->end);
    } else if (is_alpha(c)) {
        t->kind = TEXT_IDENT;
        t->len = word_len(lx->at, lx->end);
    } else {
        t->kind = TEXT_SYMBOL;
        t->len = 1;
    }
    return 0;
}

int
text_next(struct text_lexer *lx)
{
    skip_space(lx);
    lx->token = (struct text_token){
        .kind = TEXT_END, .start = lx->at, .line = lx->line, .column = lx->column};
    if (lx->at == lx->end)
        return 0;
    if (classify(lx) < 0)
        return -EINVAL;
    lx->at += lx->token.len;
    lx->column += (unsigned)lx->token.len;
    return 0;
}

int
text_lexer_init(struct text_lexer *lx, const char *text, size_t len, struct vmt_err *err)
{
    *lx = (struct text_lexer){
        .at = text, .end = text + len, .line = 1, .column = 1, .err = err};
    return text_next(lx);
}

bool
text_is_symbol(const struct text_lexer *lx, char symbol)
{
    return lx->token.kind == TEXT_SYMBOL && *lx->token.start == symbol;
}

bool
text_is_word(const struct text_lexer *lx, const char *word)
{
    return lx->token.kind == TEXT_IDENT && lx->token.len == strlen(word) &&
           memcmp(lx->token.start, word, lx->token.len) == 0;
}

/* The value of up to max digits of base 8 or 16 at *p, which moves past them. Returns how
 * many there were. */
static unsigned
take_digits(const char **p, const char *end, unsigned base, unsigned max,
            uint32_t *ret_value)
{
    unsigned n = 0;
    uint32_t v = 0;

    for (; n < max && *p < end; n++, (*p)++) {
        char c = **p;
        unsigned d = is_digit(c)              ? (unsigned)(c - '0')
                     : (c >= 'a' && c <= 'f') ? (unsigned)(c - 'a') + 10
                     : (c >= 'A' && c <= 'F') ? (unsigned)(c - 'A') + 10
                                              : base;

        if (d >= base)
            break;
        v = v * base + d;
    }
    *ret_value = v;
    return n;
}

/* UTF-8 of a code point, RFC 3629. Returns its length, 0 for what is no code point. */
static size_t
encode_utf8(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return c >= 0xd800 && c < 0xe000 ? 0 : 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return c < 0x110000 ? 4 : 0;
}

/* \x, \u, \U and octal escapes; *p is behind the backslash. Returns the number of bytes
 * in out, 0 for a bad escape. */
static size_t
numeric_escape(const char **p, const char *end, uint8_t out[4])
{
    char kind = **p;
    uint32_t v;

    if (kind >= '0' && kind <= '7') {
        (void)take_digits(p, end, 8, 3, &v);
        out[0] = (uint8_t)v;
        return v < 256 ? 1 : 0;
    }
    (*p)++;
    if (kind == 'x' || kind == 'X') {
        if (take_digits(p, end, 16, 2, &v) == 0)
            return 0;
        out[0] = (uint8_t)v;
        return 1;
    }
    if (kind == 'u')
        return take_digits(p, end, 16, 4, &v) == 4 ? encode_utf8(v, out) : 0;
    if (kind == 'U')
        return take_digits(p, end, 16, 8, &v) == 8 ? encode_utf8(v, out) : 0;
    return 0;
}

/* As numeric_escape, for all escapes. */
static size_t
escape(const char **p, const char *end, uint8_t out[4])
{
    static const char names[] = "abfnrtv\\'\"?";
    static const char values[] = "\a\b\f\n\r\t\v\\'\"?";
    const char *found = **p ? strchr(names, **p) : NULL;

    if (!found)
        return numeric_escape(p, end, out);
    (*p)++;
    out[0] = (uint8_t)values[found - names];
    return 1;
}

int
text_unquote(const struct text_lexer *lx, struct vmt_buf *out)
{
    const char *p = lx->token.start + 1;
    const char *end = lx->token.start + lx->token.len - 1;

    while (p < end) {
        const char *from = p;
        uint8_t bytes[4];
        size_t n;

        while (p < end && *p != '\\')
            p++;
        if (vmt_buf_append(out, from, (size_t)(p - from)) < 0)
            return vmt_err_set(lx->err, ENOMEM, "read text format");
        if (p == end)
            break;
        p++;
        n = escape(&p, end, bytes);
        if (n == 0)
            return text_fail(lx, "unknown or incomplete escape in a string");
        if (vmt_buf_append(out, bytes, n) < 0)
            return vmt_err_set(lx->err, ENOMEM, "read text format");
    }
    return 0;
}
