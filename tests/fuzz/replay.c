/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fuzz/replay.c - feed every file of the given folders to a fuzz target, once. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

static void
replay_closedirp(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}

static int
replay_read(const char *path, struct vmt_buf *buf)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen(path, "re");
    uint8_t chunk[4096];
    size_t n;

    if (!f)
        return -errno;
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0) {
        if (vmt_buf_append(buf, chunk, n) < 0)
            return -ENOMEM;
    }
    return ferror(f) ? -EIO : 0;
}

static int
replay_file(const char *path)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};
    VMT_CLEANUP(vmt_freep) uint8_t *exact = NULL;
    int r = replay_read(path, &buf);

    if (r < 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(-r));
        return r;
    }
    /* A copy of exactly that size, so that the sanitizer sees a read beyond it. */
    exact = malloc(buf.len ? buf.len : 1);
    if (!exact)
        return -ENOMEM;
    if (buf.len)
        memcpy(exact, buf.data, buf.len);
    (void)printf("%s\n", path);
    (void)fflush(stdout);
    (void)LLVMFuzzerTestOneInput(exact, buf.len);
    return 0;
}

/* Returns the number of files, or -errno. */
static int
replay_folder(const char *folder)
{
    VMT_CLEANUP(replay_closedirp) DIR *dir = opendir(folder);
    struct dirent *entry;
    int count = 0;

    if (!dir) {
        (void)fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        return -ENOENT;
    }
    while ((entry = readdir(dir))) {
        VMT_CLEANUP(vmt_freep) char *path = NULL;
        int r;

        if (entry->d_name[0] == '.')
            continue;
        if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0)
            return -ENOMEM;
        r = replay_file(path);
        if (r < 0)
            return r;
        count++;
    }
    return count;
}

int
main(int argc, char **argv)
{
    int total = 0;

    for (int i = 1; i < argc; i++) {
        int n = replay_folder(argv[i]);

        if (n < 0)
            return 1;
        total += n;
    }
    (void)printf("%d inputs\n", total);
    return total > 0 ? 0 : 1;
}
