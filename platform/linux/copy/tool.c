/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/tool.c - the side of a copy that runs in the guest: what vshd
 * starts for the target /vm_copy. Its stream is stdin or stdout. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "platform/linux/copy/copy.h"

#define PROGRAM "vmc cp" /* for whom it works: its stderr is theirs */

struct tool {
    const char *label;
    bool recursive, keep, folder;
};

static const struct option options[] = {
    {"label", required_argument, NULL, 'l'},
    {"recursive", no_argument, NULL, 'r'},
    {"keep", no_argument, NULL, 'k'},
    {"folder", no_argument, NULL, 'f'},
    {NULL, 0, NULL, 0},
};

static int
options_read(struct tool *tool, int argc, char **argv)
{
    int key;

    while ((key = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (key == 'l')
            tool->label = optarg;
        else if (key == 'r')
            tool->recursive = true;
        else if (key == 'k')
            tool->keep = true;
        else if (key == 'f')
            tool->folder = true;
        else
            return -EINVAL;
    }
    return 0;
}

static int
finish(const struct copy_side *side, int r, const struct vmt_err *err)
{
    /* Who went away knows why. */
    if (r < 0 && r != -EPIPE)
        (void)fprintf(stderr, "%s: %s\n", side->program, vmt_err_text(err));
    return r < 0 || side->complaints > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int
run_send(const struct tool *tool, char **sources, int n)
{
    struct copy_send send = {
        .side = {.program = PROGRAM, .label = tool->label},
        .out = STDOUT_FILENO,
        .recursive = tool->recursive,
        .sources = (const char *const *)sources,
        .nsources = (size_t)n,
        .content = -1,
    };
    struct vmt_err err;
    int r = copy_send(&send, &err);

    return finish(&send.side, r, &err);
}

static int
run_receive(const struct tool *tool, char **destination, int n)
{
    struct copy_receive receive = {
        .side = {.program = PROGRAM, .label = tool->label},
        .in = STDIN_FILENO,
        .destination = n > 0 ? destination[0] : "",
        .want_folder = tool->folder,
        .keep = tool->keep,
        .content = -1,
    };
    struct vmt_err err;
    int r = copy_receive(&receive, &err);

    return finish(&receive.side, r, &err);
}

int
copy_tool_main(int argc, char **argv)
{
    struct tool tool = {.label = ""};
    bool sends = argc > 1 && strcmp(argv[1], "send") == 0;

    if (argc < 2 || (!sends && strcmp(argv[1], "receive") != 0) ||
        options_read(&tool, argc - 1, argv + 1) < 0) {
        (void)fputs("vm_copy: this is for vmc cp\n", stderr);
        return EXIT_FAILURE;
    }
    copy_watch_signals();
    argc -= 1 + optind;
    argv += 1 + optind;
    return sends ? run_send(&tool, argv, argc) : run_receive(&tool, argv, argc);
}
