/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/doctor_daemon.c - does the daemon that runs answer? Starts none. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "core/base/cleanup.h"
#include "grpc/health/v1/health.pb-c.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/unix_ipc/unix_client.h"
#include "platform/linux/vmc/doctor.h"
#include "platform/linux/vmc/vmc.h"

/* It answers in milliseconds; one that takes so long hangs. */
#define ANSWER_MS 5000u

#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING

struct health_answer {
    struct os_loop *loop; /* borrowed */
    struct rpc_status status;
    bool serves;
};

static void
on_answer(void *arg, const struct rpc_status *status,
          const struct ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    struct health_answer *answer = arg;

    (void)fds, (void)nfds; /* a Check gives none */
    answer->status = *status;
    answer->serves =
        reply &&
        ((const Grpc__Health__V1__HealthCheckResponse *)reply)->status == SERVING;
    os_loop_stop(answer->loop, 0);
}

VMT_DEFINE_FREEP(struct unix_client, unix_client_free)

/* Returns 0 when there is an answer, or what connecting gave. */
static int
ask_health(struct os_loop *loop, const char *path, struct health_answer *answer,
           struct vmt_err *err)
{
    const struct unix_client_config config = {.path = path,
                                              .service = "grpc.health.v1.Health"};
    const struct unix_client_request request = {
        .method = "Check", /* without a message: of the daemon as a whole */
        .reply = &grpc__health__v1__health_check_response__descriptor,
        .timeout_ms = ANSWER_MS,
        .on_done = on_answer,
        .arg = answer};
    VMT_CLEANUP(unix_client_freep) struct unix_client *client = NULL;
    int r = unix_client_new(loop, &config, &client, err);

    if (r == 0)
        r = unix_client_start(client, &request, NULL, err);
    if (r == 0)
        (void)os_loop_run(loop);
    return r;
}

static void
add_absent(struct doctor *doctor)
{
    if (doctor->vmc->system)
        doctor_add(doctor, DOCTOR_BAD, "daemon", "start its service",
                   "vm_concierge of the system does not run");
    else
        doctor_add(doctor, DOCTOR_OK, "daemon", NULL,
                   "vm_concierge does not run; vmc starts it when it is needed");
}

static void
add_answer(struct doctor *doctor, const struct health_answer *answer, const char *path)
{
    char safe[sizeof(answer->status.text)];

    if (answer->serves)
        doctor_add(doctor, DOCTOR_OK, "daemon", NULL, "vm_concierge serves on %s", path);
    else if (answer->status.code == RPC_OK)
        doctor_add(doctor, DOCTOR_NOTE, "daemon", "wait until its VMs have stopped",
                   "vm_concierge on %s is about to end", path);
    else if (answer->status.code == RPC_DEADLINE_EXCEEDED)
        doctor_add(doctor, DOCTOR_BAD, "daemon",
                   "kill it (SIGKILL): VMs run on, and the next one takes them over",
                   "vm_concierge on %s did not answer within %u s", path,
                   ANSWER_MS / 1000);
    else
        doctor_add(
            doctor, DOCTOR_BAD, "daemon", "restart it: it may be of another version",
            "what listens on %s says: %s: %s", path, rpc_code_name(answer->status.code),
            vmc_escape(safe, sizeof(safe), answer->status.text));
}

void
doctor_check_daemon(struct doctor *doctor)
{
    struct health_answer answer = {.loop = doctor->vmc->loop};
    char path[PATH_MAX];
    struct vmt_err err;
    int r;

    vmc_socket_path(doctor->vmc, path, sizeof(path));
    r = ask_health(doctor->vmc->loop, path, &answer, &err);
    if (r == -ENOENT || r == -ECONNREFUSED)
        add_absent(doctor);
    else if (r < 0)
        doctor_add(doctor, DOCTOR_BAD, "daemon", NULL, "%s", err.msg);
    else
        add_answer(doctor, &answer, path);
}
