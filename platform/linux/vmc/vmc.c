/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/vmc.c - the state of a run, and how it ends. */
#include "platform/linux/vmc/vmc.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vsh/concierge_client.h"

const struct vmc_command *const vmc_commands[] = {
    &vmc_start,      &vmc_run,         &vmc_stop,        &vmc_suspend,
    &vmc_resume,     &vmc_wait,        &vmc_list,        &vmc_info,
    &vmc_shell,      &vmc_exec,        &vmc_ps,          &vmc_cp,
    &vmc_logs,       &vmc_attach_disk, &vmc_detach_disk, &vmc_usb,
    &vmc_disk,       &vmc_snapshot,    &vmc_image,       &vmc_doctor,
    &vmc_completion, &vmc_version,     &vmc_help,        NULL,
};

int
vmc_init(struct vmc *vmc, struct vmt_err *err)
{
    const char *owner = getenv("VMC_OWNER");
    int r;

    ipc_owner_for_uid(getuid(), vmc->own_id);
    vmc->owner = owner && *owner ? owner : vmc->own_id;
    r = os_loop_new(&vmc->loop, err);
    return r < 0 ? r : os_paths_init(false, &vmc->paths, err);
}

void
vmc_done(struct vmc *vmc)
{
    concierge_client_free(vmc->client);
    os_paths_done(&vmc->paths);
    if (vmc->loop)
        os_loop_free(vmc->loop);
    memset(vmc, 0, sizeof(*vmc));
}

int
vmc_fail(int error, const struct vmt_err *err)
{
    static const struct {
        int error;
        enum vmc_exit code;
    } codes[] = {
        {ENOENT, VMC_NOT_FOUND},  {EBUSY, VMC_BUSY},          {ENOTCONN, VMC_DAEMON_AWAY},
        {ETIMEDOUT, VMC_TIMEOUT}, {EINTR, 128 + 2 /* INT */},
    };

    (void)fprintf(stderr, "vmc: %s\n", vmt_err_text(err));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(codes); i++)
        if (codes[i].error == -error)
            return (int)codes[i].code;
    return VMC_FAILED;
}

char *
vmc_program_dir(void)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (n <= 0)
        return NULL;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    return strdup(self);
}

char *
vmc_find_program(const char *name)
{
    VMT_CLEANUP(vmt_freep) char *dir = vmc_program_dir();
    char *path;

    if (dir && asprintf(&path, "%s/%s", dir, name) >= 0) {
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return strdup(name);
}

const char *
vmc_escape(char *buf, size_t cap, const char *text)
{
    return vmt_log_escape(buf, cap, text, strlen(text));
}

void
vmc_print_plain(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f))
            (void)fputc(c, out);
    }
}
