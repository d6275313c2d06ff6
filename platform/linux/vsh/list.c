/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "core/adapter/clock.h"
#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/vsh/client.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vsh/connect.h"
#include "platform/linux/vsh/run.h"

#define TIMEOUT_MS 30000u
#define SESSIONS_MAX 4096u /* far above what a vshd serves; a guest may say anything */
#define TEXT_MAX 512

struct list {
    struct os_loop *loop;        /* borrowed */
    const char *program;         /* borrowed */
    struct vsh_connect *connect; /* owned */
    struct stream *stream;       /* owned */
    struct vsh_client *client;   /* owned */
    struct vmt_timer *timer;     /* owned */
    json_t *sessions;            /* owned */
    bool over;
};

static void
list_done(struct list *list)
{
    struct vmt_clock *clock = os_loop_clock(list->loop);

    clock->ops->timer_cancel(clock, list->timer);
    vsh_connect_free(list->connect);
    stream_close(list->stream);
    vsh_client_free(list->client);
    json_decref(list->sessions);
}

static void
list_end(struct list *list, const char *problem)
{
    char safe[TEXT_MAX];

    if (list->over)
        return;
    list->over = true;
    if (problem)
        (void)fprintf(stderr, "%s: %s\n", list->program,
                      vmt_log_escape(safe, sizeof(safe), problem, strlen(problem)));
    os_loop_stop(list->loop, problem ? VSH_EXIT_LOCAL : EXIT_SUCCESS);
}

static void
list_on_timeout(void *arg)
{
    struct list *list = arg;

    list->timer = NULL;
    list_end(list, "vshd did not answer in time");
}

/* Words of the guest; those that are no UTF-8 are shown byte by byte. */
static json_t *
words(const char *text)
{
    char safe[TEXT_MAX];
    json_t *json = json_string(text);

    return json ? json
                : json_string(vmt_log_escape(safe, sizeof(safe), text, strlen(text)));
}

static void
client_on_session(void *arg, const struct vsh_session_info *info)
{
    struct list *list = arg;
    json_t *one;

    if (json_array_size(list->sessions) >= SESSIONS_MAX)
        return;
    one = json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "id",
                    (json_int_t)info->id, "pid", (json_int_t)info->pid, "uid",
                    (json_int_t)info->uid, "user", words(info->user), "tty",
                    words(info->tty), "command", words(info->command), "forward",
                    words(info->forward), "cgroup", words(info->cgroup), "since",
                    (json_int_t)info->since, "seconds", (json_int_t)info->seconds);
    if (!one || json_array_append_new(list->sessions, one) < 0)
        list_end(list, "out of memory");
}

static void
client_on_ready(void *arg, int32_t pid)
{
    struct list *list = arg;

    (void)pid;
    if (!(vsh_client_features(list->client) & VSH_FEATURE_SESSIONS))
        list_end(list, "vshd in the guest does not know how to list its sessions");
}

static void
client_on_output(void *arg, enum vsh_stream stream, const uint8_t *data, size_t len)
{
    (void)arg;
    (void)stream;
    (void)data;
    (void)len;
}

static void
client_on_end(void *arg, const struct vsh_end *end)
{
    list_end(arg, end->kind == VSH_END_EXITED ? NULL : end->text);
}

static int
client_send(void *arg, const uint8_t *frame, size_t len)
{
    struct list *list = arg;

    return list->stream->ops->send(list->stream, frame, len, NULL, 0);
}

static void
stream_on_data(void *arg, const uint8_t *data, size_t len)
{
    struct list *list = arg;

    vsh_client_receive(list->client, data, len);
}

static void
stream_on_end(void *arg, int status)
{
    (void)status;
    list_end(arg, "vshd closed the connection");
}

/* The argv is for a vshd that takes this for a command: it does nothing then. */
static void
list_on_connect(void *arg, struct stream *stream, const struct vmt_err *err)
{
    static const struct stream_handler handler = {.on_data = stream_on_data,
                                                  .on_end = stream_on_end};
    static const char *const nothing[] = {"true"};
    static const struct vsh_request request = {.target = VSH_TARGET_VM,
                                               .list_sessions = true,
                                               .nopty = true,
                                               .argv = nothing,
                                               .argc = VMT_ARRAY_SIZE(nothing)};
    struct list *list = arg;
    struct vmt_err own;

    if (!stream) {
        list_end(list, vmt_err_text(err));
        return;
    }
    list->stream = stream;
    stream->ops->set_handler(stream, &handler, list);
    if (vsh_client_start(list->client, &request, &own) < 0)
        list_end(list, own.msg);
}

static int
list_open(struct list *list, const struct vsh_endpoint *endpoint, struct vmt_err *err)
{
    static const struct vsh_client_ops ops = {
        .send = client_send,
        .on_ready = client_on_ready,
        .on_output = client_on_output,
        .on_end = client_on_end,
        .on_session = client_on_session,
    };
    struct vsh_connect_config config = {
        .endpoint = endpoint,
        .timeout_ms = TIMEOUT_MS,
        .retry_ms = VSH_RETRY_MS,
        .on_done = list_on_connect,
        .arg = list,
    };
    struct vmt_clock *clock = os_loop_clock(list->loop);

    list->sessions = json_array();
    if (!list->sessions || vsh_client_new(&ops, list, &list->client) < 0 ||
        clock->ops->timer_start(clock, TIMEOUT_MS, list_on_timeout, list, &list->timer) <
            0)
        return vmt_err_set(err, ENOMEM, "list sessions");
    return vsh_connect_new(list->loop, &config, &list->connect, err);
}

static const char *
field(const json_t *session, const char *name, char *buf)
{
    const char *text = json_string_value(json_object_get(session, name));

    return text && *text ? vmt_log_escape(buf, TEXT_MAX, text, strlen(text)) : "-";
}

static void
print_row(const json_t *session)
{
    char user[TEXT_MAX], tty[TEXT_MAX], what[TEXT_MAX], since[32];
    time_t at = (time_t)json_integer_value(json_object_get(session, "since"));
    const char *carried = json_string_value(json_object_get(session, "forward"));
    bool carries = carried && *carried;
    struct tm tm;

    if (!localtime_r(&at, &tm) ||
        strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", &tm) == 0)
        (void)snprintf(since, sizeof(since), "-");
    (void)printf("%-5lld %-7lld %-12s %-12s %-19s %s%s\n",
                 (long long)json_integer_value(json_object_get(session, "id")),
                 (long long)json_integer_value(json_object_get(session, "pid")),
                 field(session, "user", user), field(session, "tty", tty), since,
                 carries ? "to " : "",
                 field(session, carries ? "forward" : "command", what));
}

static int
print(const struct list *list, bool json)
{
    if (json && json_dumpf(list->sessions, stdout, JSON_INDENT(2) | JSON_SORT_KEYS) == 0)
        (void)putchar('\n');
    if (!json)
        (void)printf("%-5s %-7s %-12s %-12s %-19s %s\n", "ID", "PID", "USER", "TTY",
                     "SINCE", "COMMAND");
    for (size_t i = 0; !json && i < json_array_size(list->sessions); i++)
        print_row(json_array_get(list->sessions, i));
    return fflush(stdout) == 0 ? EXIT_SUCCESS : VSH_EXIT_LOCAL;
}

int
vsh_list(struct os_loop *loop, const char *program, const struct vsh_endpoint *endpoint,
         bool json)
{
    VMT_CLEANUP(list_done) struct list list = {.loop = loop, .program = program};
    struct vmt_err err;
    int code;

    if (list_open(&list, endpoint, &err) < 0) {
        (void)fprintf(stderr, "%s: %s\n", program, err.msg);
        return VSH_EXIT_LOCAL;
    }
    code = os_loop_run(loop);
    return code == EXIT_SUCCESS ? print(&list, json) : code;
}
