/* SPDX-License-Identifier: BSD-3-Clause */
/* vm_disk - long work on the disk image of a VM: one process, one operation. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vm_disk/cancel.h"
#include "platform/linux/vm_disk/options.h"
#include "platform/linux/vm_disk/priority.h"
#include "platform/linux/vm_disk/work.h"

#define EXIT_USAGE 2

typedef int command_fn(struct work *work, struct outcome *ret_outcome,
                       struct vmt_err *err);

static command_fn *const commands[COMMAND_COUNT] = {
    [COMMAND_CREATE] = work_create,   [COMMAND_RESIZE] = work_resize,
    [COMMAND_EXPORT] = work_export,   [COMMAND_IMPORT] = work_import,
    [COMMAND_CONVERT] = work_convert, [COMMAND_CLEAN] = work_clean,
};

static int
run(const struct options *opt)
{
    VMT_CLEANUP(work_done)
    struct work work = {.place = {.dir_fd = -1, .lock_fd = -1}, .temp = {.fd = -1}};
    struct outcome outcome = {.format = opt->format, .vm_type = -1};
    struct vmt_err err = {0};
    int r = cancel_init(&err);

    if (r == 0)
        r = work_init(&work, opt, &err);
    if (r == 0)
        r = commands[opt->command](&work, &outcome, &err);
    cancel_hold(true);
    if (r < 0)
        vmt_log_error("failed: %s", vmt_err_text(&err));
    report_result(r, &err, &outcome);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
    VMT_CLEANUP(options_done) struct options opt = {0};
    struct vmt_err err = {0};

    os_process_init();
    vmt_log_init("vm_disk", NULL, NULL);
    if (options_parse(argc, argv, &opt, &err) < 0) {
        (void)fprintf(stderr, "vm_disk: %s (see vm_disk --help)\n", vmt_err_text(&err));
        return EXIT_USAGE;
    }
    if (opt.help || opt.version) {
        (void)fputs(opt.help ? options_usage : "vm_disk " VMT_VERSION "\n", stdout);
        return 0;
    }
    report_init(opt.progress_fd, opt.result_file);
    priority_set(opt.priority);
    return run(&opt);
}
