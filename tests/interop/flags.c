/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/interop/flags.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"

static const struct flag *
flag_find(const struct flag *flags, size_t nflags, const char *name, size_t len)
{
    for (size_t i = 0; i < nflags; i++)
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
            return &flags[i];
    return NULL;
}

static int
flag_set_bool(const struct flag *flag, const char *value)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "1") != 0 &&
        strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
        return -EINVAL;
    *flag->is_set = value[0] == 't' || value[0] == '1';
    return 0;
}

static int
flag_set(const struct flag *flag, const char *value)
{
    uint64_t port;
    int r = 0;

    if (flag->is_set)
        return flag_set_bool(flag, value);
    if (flag->text) {
        *flag->text = value;
        return 0;
    }
    r = vmt_parse_u64(value, UINT16_MAX, &port);
    if (r == 0)
        *flag->port = (uint16_t)port;
    return r;
}

static void
flags_help(const struct flag *flags, size_t nflags, const char *program)
{
    (void)printf("Usage: %s [--FLAG=VALUE]...\n\n", program);
    for (size_t i = 0; i < nflags; i++)
        (void)printf("  --%-20s %s\n", flags[i].name, flags[i].help);
}

static int
flags_complain(const char *program, const char *what, const char *arg)
{
    (void)fprintf(stderr, "%s: %s: %s\nTry --help.\n", program, what, arg);
    return -EINVAL;
}

/* One argument and, if it has no '=', maybe the next. Returns how many were used. */
static int
flags_take(const struct flag *flags, size_t nflags, char **argv)
{
    const char *name = argv[0] + strspn(argv[0], "-");
    const char *equals = strchr(name, '=');
    const struct flag *flag =
        flag_find(flags, nflags, name, equals ? (size_t)(equals - name) : strlen(name));
    const char *value = equals ? equals + 1 : argv[1];
    int used = equals ? 1 : 2;

    if (name == argv[0] || name - argv[0] > 2 || !flag)
        return -ENOENT;
    if (flag->is_set && !equals && (!value || flag_set_bool(flag, value) < 0)) {
        value = "true"; /* the next argument is not its value */
        used = 1;
    }
    return value && flag_set(flag, value) == 0 ? used : -EINVAL;
}

int
flags_parse(const struct flag *flags, size_t nflags, int argc, char **argv)
{
    for (int i = 1; i < argc;) {
        int n = flags_take(flags, nflags, argv + i);

        if (n == -ENOENT && strcmp(argv[i], "--help") == 0) {
            flags_help(flags, nflags, argv[0]);
            return 1;
        }
        if (n < 0)
            return flags_complain(argv[0], n == -ENOENT ? "unknown flag" : "bad value",
                                  argv[i]);
        i += n;
    }
    return 0;
}
