/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/coldplug.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/file.h"
#include "platform/guest/maitred/init/modules.h"
#include "platform/linux/os/dir.h"

#define ALIAS_BYTES_MAX (16ul * 1024 * 1024)
#define MODALIAS_MAX 512
#define LINE_MAX_BYTES 1024 /* a longer one is nobody's */

static const char *const buses[] = {"/sys/bus/pci/devices", "/sys/bus/virtio/devices"};

/* Base and sub class of PCI as modalias spells them: 06 is a bridge, 0c05 SMBus.
 * Source: Linux v6.1, include/linux/pci_ids.h. */
static const char *const without[] = {"bc06", "bc0Csc05"};

/* "alias PATTERN MODULE": cut into its words. False for any other line. */
static bool
cut_alias(char *line, const char **ret_pattern, const char **ret_module)
{
    char *save = NULL;
    const char *word = strtok_r(line, " ", &save);

    if (!word || strcmp(word, "alias") != 0)
        return false;
    *ret_pattern = strtok_r(NULL, " ", &save);
    *ret_module = strtok_r(NULL, " ", &save);
    return *ret_pattern && *ret_module && strlen(*ret_module) < COLDPLUG_NAME_MAX;
}

/* Most patterns differ from the alias before their first wildcard. */
static bool
may_match(const char *line, size_t len, const char *modalias)
{
    static const char word[] = "alias ";
    size_t at = sizeof(word) - 1;

    if (len <= at || memcmp(line, word, at) != 0)
        return false;
    for (size_t i = 0; at < len && modalias[i]; i++, at++) {
        if (strchr("*?[\\", line[at]))
            return true;
        if (line[at] != modalias[i])
            return false;
    }
    return true;
}

int
coldplug_match(const char *text, size_t len, const char *modalias, char *name)
{
    const char *at = text, *end = text + len, *pattern, *module;
    char line[LINE_MAX_BYTES];

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline ? newline : end) - at);

        if (n < sizeof(line) && may_match(at, n, modalias)) {
            memcpy(line, at, n);
            line[n] = '\0';
            if (cut_alias(line, &pattern, &module) &&
                fnmatch(pattern, modalias, 0) == 0) {
                (void)snprintf(name, COLDPLUG_NAME_MAX, "%s", module);
                return 0;
            }
        }
        at += n + 1;
    }
    return -ENODEV;
}

static bool
is_wanted(const char *modalias)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(without); i++)
        if (strstr(modalias, without[i]))
            return false;
    return *modalias != '\0';
}

/* The modalias of a device that no driver has; false if there is nothing to do. */
static bool
read_modalias(const char *device, char modalias[MODALIAS_MAX])
{
    VMT_CLEANUP(vmt_freep) char *text = NULL;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/driver", device);
    if (access(path, F_OK) == 0)
        return false;
    (void)snprintf(path, sizeof(path), "%s/modalias", device);
    if (file_read(path, MODALIAS_MAX - 1, &text) < 0)
        return false;
    (void)snprintf(modalias, MODALIAS_MAX, "%.*s", (int)strcspn(text, "\n"), text);
    return is_wanted(modalias);
}

static int
read_aliases(char **ret, size_t *ret_len)
{
    char path[PATH_MAX];
    struct utsname uts;
    long n;

    if (uname(&uts) < 0)
        return -errno;
    (void)snprintf(path, sizeof(path), "/lib/modules/%s/modules.alias", uts.release);
    n = file_read(path, ALIAS_BYTES_MAX, ret);
    *ret_len = n < 0 ? 0 : (size_t)n;
    return n < 0 ? (int)n : 0;
}

/* The aliases are read for the first device that wants some. */
static void
plug(const char *device, char **aliases, size_t *len)
{
    char modalias[MODALIAS_MAX], name[COLDPLUG_NAME_MAX];
    struct vmt_err err;

    if (!read_modalias(device, modalias) ||
        (!*aliases && read_aliases(aliases, len) < 0) ||
        coldplug_match(*aliases, *len, modalias, name) < 0)
        return;
    if (modules_load_from_root(name, &err) < 0)
        vmt_log_info("module %s for %s: %s", name, modalias, err.msg);
    else
        vmt_log_info("module %s was loaded for %s", name, modalias);
}

int
coldplug_run(void *arg, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *aliases = NULL;
    size_t len = 0;

    (void)arg;
    (void)err;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(buses); i++) {
        VMT_CLEANUP(os_closedirp) DIR *dir = opendir(buses[i]);
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
            char device[PATH_MAX / 2];

            if (entry->d_name[0] == '.')
                continue;
            (void)snprintf(device, sizeof(device), "%s/%s", buses[i], entry->d_name);
            plug(device, &aliases, &len);
        }
    }
    return 0;
}
