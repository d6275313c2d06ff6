/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

/* The length of the name in NAME=VALUE, or 0 if word is no such thing. */
static size_t
name_length(const char *word)
{
    static const char letters[] = "_abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char more[] = "_abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t n = strspn(word, more);

    return strspn(word, letters) > 0 && word[n] == '=' ? n : 0;
}

static int
words_add(struct vsh_words *words, const char *name, size_t len, const char *value)
{
    char *copy = strndup(name, len);

    if (!copy)
        return -ENOMEM;
    words->names[words->nenv] = copy;
    words->env[words->nenv++] = (struct vsh_env){.name = copy, .value = value};
    return 0;
}

int
vsh_words_split(char *const *args, size_t nargs, struct vsh_words *ret_words,
                struct vmt_err *err)
{
    VMT_CLEANUP(vsh_words_done) struct vsh_words words = {0};
    const char *term = getenv("TERM");
    size_t at = 0, len;
    int r = 0;

    words.env = calloc(nargs + 1, sizeof(*words.env));
    words.names = calloc(nargs + 1, sizeof(char *));
    if (!words.env || !words.names)
        return vmt_err_set(err, ENOMEM, "read the command line");
    if (term && *term)
        r = words_add(&words, "TERM", 4, term);
    for (; r == 0 && at < nargs && (len = name_length(args[at])) > 0; at++)
        r = words_add(&words, args[at], len, args[at] + len + 1);
    if (r < 0)
        return vmt_err_set(err, -r, "read the command line");
    words.argv = (const char *const *)(args + at);
    words.argc = nargs - at;
    *ret_words = words;
    memset(&words, 0, sizeof(words));
    return 0;
}

void
vsh_words_done(struct vsh_words *words)
{
    for (size_t i = 0; i < words->nenv; i++)
        free(words->names[i]);
    free(words->names);
    free(words->env);
    memset(words, 0, sizeof(*words));
}
