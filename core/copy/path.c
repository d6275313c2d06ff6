/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/copy/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PART_MAX 255u

static bool
part_ok(const char *part, size_t len)
{
    if (len == 0 || len > PART_MAX)
        return false;
    if (part[0] == '.' && (len == 1 || (len == 2 && part[1] == '.')))
        return false;
    return strncmp(part, COPY_TEMPORARY, strlen(COPY_TEMPORARY)) != 0;
}

bool
copy_path_ok(const char *path)
{
    if (strlen(path) > COPY_PATH_MAX)
        return false;
    for (;;) {
        size_t len = strcspn(path, "/");

        if (!part_ok(path, len))
            return false;
        if (path[len] == '\0')
            return true;
        path += len + 1;
    }
}

bool
copy_path_below(const char *path, const char *first)
{
    size_t len = strlen(first);

    return strncmp(path, first, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

int
copy_path_name(const char *path, char **ret_name)
{
    size_t end = strlen(path), begin;
    char *name;

    while (end > 0 && path[end - 1] == '/')
        end--;
    begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    if (!part_ok(path + begin, end - begin))
        return -EINVAL;
    name = strndup(path + begin, end - begin);
    if (!name)
        return -ENOMEM;
    *ret_name = name;
    return 0;
}

const char *
copy_path_colon(const char *word)
{
    size_t n = strcspn(word, ":/");

    return n > 0 && word[n] == ':' ? word + n : NULL;
}
