/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/mountinfo.h"

#include <string.h>

#include "core/base/cleanup.h"

/* Fields before the optional ones: id, parent, device, root, target, options. */
#define FIELD_TARGET 4
#define FIELDS_FIXED 6

static bool
is_octal(char c)
{
    return c >= '0' && c <= '7';
}

void
mountinfo_unescape(char *text)
{
    char *out = text;

    while (*text) {
        if (*text == '\\' && is_octal(text[1]) && is_octal(text[2]) &&
            is_octal(text[3])) {
            *out++ =
                (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

bool
mountinfo_parse(char *line, struct mountinfo *ret)
{
    char *save = NULL, *target = NULL, *type, *source;
    char *field = strtok_r(line, " ", &save);

    for (int i = 0; i < FIELDS_FIXED; i++) {
        if (!field)
            return false;
        if (i == FIELD_TARGET)
            target = field;
        field = strtok_r(NULL, " ", &save);
    }
    while (field && strcmp(field, "-") != 0) /* shared:1 and so on, any number */
        field = strtok_r(NULL, " ", &save);
    if (!field)
        return false;
    type = strtok_r(NULL, " ", &save);
    source = strtok_r(NULL, " ", &save);
    if (!type)
        return false;
    if (!source)
        source = type + strlen(type); /* a mount may have an empty source */
    mountinfo_unescape(target);
    mountinfo_unescape(source);
    *ret = (struct mountinfo){.target = target, .type = type, .source = source};
    return true;
}

bool
mountinfo_is_removable(const char *target)
{
    static const char *const kept[] = {"/dev", "/proc", "/sys"};

    if (strcmp(target, "/") == 0)
        return false;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(kept); i++) {
        size_t len = strlen(kept[i]);

        if (strncmp(target, kept[i], len) == 0 &&
            (target[len] == '\0' || target[len] == '/'))
            return false;
    }
    return true;
}
