/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc - the command that people use. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "hypervisor/qemu/qemu.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vmc/vmc.h"

static int
make_hypervisor(struct os_loop *loop, struct spawn *spawn, const char *cache_dir,
                struct hypervisor **ret_hv, struct vmt_err *err)
{
    struct qemu_config config = {
        .base = os_loop_base(loop),
        .clock = os_loop_clock(loop),
        .spawn = spawn,
        .cache_dir = cache_dir,
    };

    return qemu_new(&config, ret_hv, err);
}

static const struct vmc_command *
find_command(const char *name)
{
    for (const struct vmc_command *const *c = vmc_commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

/* The usual ways to ask for what are commands here. */
static const char *
command_name(const char *word)
{
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)
        return "help";
    return strcmp(word, "--version") == 0 ? "version" : word;
}

/* Commands of ChromiumOS' vmc that are verbs of a command here. */
static const struct {
    const char *name, *command, *verb;
} others[] = {
    {"destroy", "disk", "destroy"},  {"export", "disk", "export"},
    {"import", "disk", "import"},    {"disk-op-status", "disk", "status"},
    {"usb-attach", "usb", "attach"}, {"usb-detach", "usb", "detach"},
    {"usb-list", "usb", "list"},
};

/* Command and verb in the place of the one word; argv has room for one more. */
static int
split_command(int argc, char **argv)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(others); i++) {
        if (strcmp(argv[1], others[i].name) != 0)
            continue;
        memmove(argv + 3, argv + 2, (size_t)(argc - 1) * sizeof(*argv)); /* with NULL */
        argv[1] = (char *)(uintptr_t)others[i].command;
        argv[2] = (char *)(uintptr_t)others[i].verb;
        return argc + 1;
    }
    return argc;
}

/* Words with room for one more. */
static char **
copy_words(int argc, char **argv)
{
    char **words = calloc((size_t)argc + 2, sizeof(*words));

    if (words)
        memcpy(words, argv, (size_t)argc * sizeof(*words));
    return words;
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(vmc_done) struct vmc vmc = {.hypervisor = make_hypervisor};
    VMT_CLEANUP(vmt_freep) char **words = copy_words(argc, argv);
    const struct vmc_command *command;
    struct vmt_err err;

    os_process_init();
    vmt_log_init("vmc", NULL, NULL);
    vmt_log_set_level(VMT_LOG_WARNING);
    if (argc < 2) {
        (void)fputs("vmc: say what to do; vmc help lists the commands\n", stderr);
        return VMC_USAGE;
    }
    if (!words) {
        (void)fputs("vmc: out of memory\n", stderr);
        return VMC_FAILED;
    }
    vmc_command_first(argc, words);
    argc = split_command(argc, words);
    command = find_command(command_name(words[1]));
    if (!command) {
        (void)fprintf(stderr, "vmc: there is no command %s; vmc help lists them\n",
                      words[1]);
        return VMC_USAGE;
    }
    if (vmc_init(&vmc, &err) < 0)
        return vmc_fail(0, &err);
    return command->run(&vmc, argc - 1, words + 1);
}
