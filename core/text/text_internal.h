/* SPDX-License-Identifier: BSD-3-Clause */
/* core/text/text_internal.h - the parts of the text format parser. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct vmt_buf;
struct vmt_err;

enum text_kind {
    TEXT_END,
    TEXT_IDENT,
    TEXT_NUMBER, /* digits, hex digits, '.', exponent; the sign is a symbol */
    TEXT_STRING, /* with its quotes */
    TEXT_SYMBOL, /* one byte */
};

/* One token; start points into the text. */
struct text_token {
    enum text_kind kind;
    const char *start;
    size_t len;
    unsigned line, column;
};

struct text_lexer {
    const char *at, *end; /* borrowed */
    unsigned line, column;
    struct text_token token; /* the current one */
    struct vmt_err *err;     /* borrowed; may be NULL */
};

/* Start at the first token. Returns 0 or -EINVAL. */
int text_lexer_init(struct text_lexer *lx, const char *text, size_t len,
                    struct vmt_err *err);
/* Go to the next token. Returns 0 or -EINVAL with err set. */
int text_next(struct text_lexer *lx);
bool text_is_symbol(const struct text_lexer *lx, char symbol);
bool text_is_word(const struct text_lexer *lx, const char *word);
/* Say what is wrong with the current token. Returns -EINVAL, -ENOMEM as given. */
int text_fail(const struct text_lexer *lx, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Append what the quoted token means to out. Returns 0, -EINVAL, -ENOMEM. */
int text_unquote(const struct text_lexer *lx, struct vmt_buf *out);

/* Read one scalar or enum at the current token and store it at member, which is the
 * struct's member or a slot of a repeated one; go past it. On failure the member is
 * untouched. */
int text_scalar(struct text_lexer *lx, const ProtobufCFieldDescriptor *field,
                void *member);
