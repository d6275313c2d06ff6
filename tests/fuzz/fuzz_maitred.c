/* SPDX-License-Identifier: BSD-3-Clause */
/* The small parsers of PID 1: kernel command line, mountinfo, modules.dep, device events.
 * The first byte says which; each gets a block of exactly its size. */
#include <stdlib.h>
#include <string.h>

#include "platform/guest/maitred/agent/mountinfo.h"
#include "platform/guest/maitred/init/cmdline.h"
#include "platform/guest/maitred/init/modules.h"
#include "platform/guest/maitred/init/uevent.h"
#include "tests/fuzz/fuzz.h"

static void
try_cmdline(char *text, size_t len)
{
    struct cmdline c;

    (void)len;
    cmdline_parse(text, &c);
    if (strlen(c.root) >= CMDLINE_VALUE_MAX)
        abort();
    cmdline_done(&c);
}

static void
try_mountinfo(char *text, size_t len)
{
    struct mountinfo m;

    if (mountinfo_parse(text, &m) &&
        (strlen(m.target) > len || strlen(m.type) > len || strlen(m.source) > len))
        abort();
}

static void
try_modules(char *text, size_t len)
{
    const char *line;
    size_t n = modules_dep_find(text, len, "9pnet_fd", &line);

    if (n && (line < text || line + n > text + len))
        abort();
}

static void
try_uevent(char *text, size_t len)
{
    const char *value = uevent_find(text, len, "DEVNAME");

    if (value && (value < text || value > text + len))
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(char *text, size_t len) = {try_cmdline, try_mountinfo,
                                                            try_modules, try_uevent};
    char *text;

    if (size == 0)
        return 0;
    text = calloc(size, 1); /* the text without the first byte, and a NUL */
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    tries[data[0] % 4](text, size - 1);
    free(text);
    return 0;
}
