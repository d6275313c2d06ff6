/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/progress.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/base/str.h"

#define LINE_MAX_BYTES 512
#define TOTAL_MAX (UINT64_MAX / 100)

static const struct {
    const char *word;
    enum disk_result result;
} results[] = {{"ok", DISK_RESULT_OK},
               {"nospace", DISK_RESULT_NO_SPACE},
               {"badimage", DISK_RESULT_BAD_IMAGE},
               {"exists", DISK_RESULT_EXISTS},
               {"busy", DISK_RESULT_BUSY}};

static void
take_progress(char *rest, struct disk_progress *p)
{
    char *space = strchr(rest, ' ');
    uint64_t done, total;

    if (!space)
        return;
    *space++ = '\0';
    if (vmt_parse_u64(rest, TOTAL_MAX, &done) < 0 ||
        vmt_parse_u64(space, TOTAL_MAX, &total) < 0 || total == 0)
        return;
    p->percent = done >= total ? 99 : (unsigned)(done * 100 / total);
    if (p->percent > 99)
        p->percent = 99;
}

static void
take_result(char *rest, struct disk_progress *p)
{
    char *space = strchr(rest, ' ');
    const char *text = space ? space + 1 : "";

    if (space)
        *space = '\0';
    p->done = true;
    p->result = DISK_RESULT_FAILED; /* also for words that only say more exactly why */
    for (size_t i = 0; i < VMT_ARRAY_SIZE(results); i++)
        if (strcmp(rest, results[i].word) == 0)
            p->result = results[i].result;
    (void)vmt_log_escape(p->text, sizeof(p->text), text, strlen(text));
}

static void
take_line(const char *at, size_t len, struct disk_progress *p)
{
    char line[LINE_MAX_BYTES];

    if (len >= sizeof(line))
        len = sizeof(line) - 1;
    memcpy(line, at, len);
    line[len] = '\0';
    if (vmt_str_has_prefix(line, "progress "))
        take_progress(line + strlen("progress "), p);
    else if (vmt_str_has_prefix(line, "result "))
        take_result(line + strlen("result "), p);
}

void
disk_progress_parse(const char *data, size_t len, struct disk_progress *ret)
{
    const char *end = data + len, *newline;

    *ret = (struct disk_progress){.percent = 0};
    for (; (newline = memchr(data, '\n', (size_t)(end - data))); data = newline + 1)
        take_line(data, (size_t)(newline - data), ret);
}
