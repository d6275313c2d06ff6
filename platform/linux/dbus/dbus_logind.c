/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/dbus/dbus_logind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/dbus/dbus_internal.h"
#include "platform/linux/os/loop.h"

#define LOGIND_NAME "org.freedesktop.login1"
#define LOGIND_PATH "/org/freedesktop/login1"
#define LOGIND_MANAGER "org.freedesktop.login1.Manager"
#define LOGIND_WHO "vm_tools"
#define LOGIND_WHY "Virtual machines are suspended first"

#define LOGIND_STEP_TIMEOUT_MS 25000
#define LOGIND_RETRY_MIN_S 1
#define LOGIND_RETRY_MAX_S 60
/* When logind does not say. Source: logind.conf(5), InhibitDelayMaxSec. */
#define LOGIND_DELAY_MS 5000
#define LOGIND_DELAY_MAX_MS 600000

/* Both kinds of news: sleep, and a logind that came anew, without our inhibitor. */
static const char *const matches[] = {
    "type='signal',sender='" LOGIND_NAME "',path='" LOGIND_PATH
    "',interface='" LOGIND_MANAGER "',member='PrepareForSleep'",
    "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
    "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" LOGIND_NAME "'",
};

struct dbus_logind {
    struct host_sleep base;
    struct event_base *loop; /* borrowed */
    char *address;           /* owned */
    struct dbus_loop drive;
    DBusConnection *conn;     /* owned; NULL: none */
    struct event *retry;      /* owned */
    struct event *lost;       /* owned */
    DBusPendingCall *step;    /* owned; of connecting */
    DBusPendingCall *inhibit; /* owned; of the inhibitor */
    DBusPendingCall *delay;   /* owned; of how long it may last */
    size_t matched;           /* how many of matches are in place */
    int retry_s;
    int lock;                               /* the inhibitor; owned, -1: none */
    uint32_t delay_ms;                      /* 0: we have no inhibitor that would count */
    bool preparing;                         /* announced, and not over yet */
    const struct host_sleep_events *events; /* borrowed, NULL: stopped */
    void *arg;
};

typedef void answer_fn(DBusPendingCall *pending, void *arg);

static void
drop_call(DBusPendingCall **call)
{
    if (!*call)
        return;
    dbus_pending_call_cancel(*call);
    dbus_pending_call_unref(vmt_take_ptr(call));
}

/* Not from inside libdbus. */
static void
disconnect(struct dbus_logind *l)
{
    drop_call(&l->step);
    drop_call(&l->inhibit);
    drop_call(&l->delay);
    vmt_closep(&l->lock);
    l->lock = -1;
    dbus_loop_detach(&l->drive);
    if (!l->conn)
        return;
    dbus_connection_close(l->conn);
    dbus_connection_unref(vmt_take_ptr(&l->conn));
}

static void
lose(struct dbus_logind *l)
{
    event_active(l->lost, 0, 0);
}

/* Send msg, which is taken; done gets the answer. */
static void
ask(struct dbus_logind *l, DBusMessage *msg, DBusPendingCall **call, answer_fn *done)
{
    bool sent;

    drop_call(call);
    sent = msg &&
           dbus_connection_send_with_reply(l->conn, msg, call, LOGIND_STEP_TIMEOUT_MS) &&
           *call && dbus_pending_call_set_notify(*call, done, l, NULL);
    if (msg)
        dbus_message_unref(msg);
    if (!sent)
        lose(l);
}

/* The answer of a call that is over, NULL if it is an error. */
static DBusMessage *
take_answer(DBusPendingCall **call)
{
    VMT_CLEANUP(dbus_message_unrefp)
    DBusMessage *answer = dbus_pending_call_steal_reply(*call);

    dbus_pending_call_unref(vmt_take_ptr(call));
    if (answer && dbus_message_get_type(answer) == DBUS_MESSAGE_TYPE_METHOD_RETURN)
        return vmt_take_ptr(&answer);
    return NULL;
}

static void
on_inhibit(DBusPendingCall *pending, void *arg)
{
    struct dbus_logind *l = arg;
    VMT_CLEANUP(dbus_message_unrefp) DBusMessage *answer = take_answer(&l->inhibit);
    int fd = -1;

    (void)pending;
    if (!answer ||
        !dbus_message_get_args(answer, NULL, DBUS_TYPE_UNIX_FD, &fd, DBUS_TYPE_INVALID)) {
        vmt_log_info("logind is not there or grants no delay: VMs are suspended as far "
                     "as there is time when the host sleeps");
        return;
    }
    vmt_closep(&l->lock);
    l->lock = fd;
    vmt_log_debug("logind waits for us before the host sleeps, up to %u ms", l->delay_ms);
}

/* Take the inhibitor, unless it is there. */
static void
inhibit(struct dbus_logind *l)
{
    const char *what = "sleep", *who = LOGIND_WHO, *why = LOGIND_WHY, *mode = "delay";
    DBusMessage *msg;

    if (!l->conn || l->lock >= 0 || l->inhibit || l->preparing)
        return;
    msg =
        dbus_message_new_method_call(LOGIND_NAME, LOGIND_PATH, LOGIND_MANAGER, "Inhibit");
    if (msg) {
        dbus_message_set_auto_start(msg, FALSE);
        if (!dbus_message_append_args(msg, DBUS_TYPE_STRING, &what, DBUS_TYPE_STRING,
                                      &who, DBUS_TYPE_STRING, &why, DBUS_TYPE_STRING,
                                      &mode, DBUS_TYPE_INVALID))
            dbus_message_unref(vmt_take_ptr(&msg));
    }
    ask(l, msg, &l->inhibit, on_inhibit);
}

static void
on_delay(DBusPendingCall *pending, void *arg)
{
    struct dbus_logind *l = arg;
    VMT_CLEANUP(dbus_message_unrefp) DBusMessage *answer = take_answer(&l->delay);
    DBusMessageIter it, value;
    dbus_uint64_t us = 0;

    (void)pending;
    l->delay_ms = LOGIND_DELAY_MS;
    if (!answer || !dbus_message_has_signature(answer, "v"))
        return;
    (void)dbus_message_iter_init(answer, &it);
    dbus_message_iter_recurse(&it, &value);
    if (dbus_message_iter_get_arg_type(&value) != DBUS_TYPE_UINT64)
        return;
    dbus_message_iter_get_basic(&value, &us);
    us /= 1000;
    l->delay_ms = us < LOGIND_DELAY_MAX_MS ? (uint32_t)us : LOGIND_DELAY_MAX_MS;
}

static void
ask_delay(struct dbus_logind *l)
{
    const char *interface = LOGIND_MANAGER, *name = "InhibitDelayMaxUSec";
    DBusMessage *msg = dbus_message_new_method_call(
        LOGIND_NAME, LOGIND_PATH, "org.freedesktop.DBus.Properties", "Get");

    if (msg) {
        dbus_message_set_auto_start(msg, FALSE);
        if (!dbus_message_append_args(msg, DBUS_TYPE_STRING, &interface, DBUS_TYPE_STRING,
                                      &name, DBUS_TYPE_INVALID))
            dbus_message_unref(vmt_take_ptr(&msg));
    }
    ask(l, msg, &l->delay, on_delay);
}

static void
prepare(struct dbus_logind *l)
{
    if (l->preparing)
        return;
    l->preparing = true;
    l->events->on_prepare(l->arg, l->lock >= 0 ? l->delay_ms : 0);
}

static void
wake(struct dbus_logind *l)
{
    if (!l->preparing)
        return;
    l->preparing = false;
    l->events->on_wake(l->arg);
    inhibit(l);
}

static void
on_signal(struct dbus_logind *l, DBusMessage *msg)
{
    const char *name = "", *old = "", *new = "";
    dbus_bool_t starts = FALSE;

    if (dbus_message_is_signal(msg, LOGIND_MANAGER, "PrepareForSleep") &&
        dbus_message_get_args(msg, NULL, DBUS_TYPE_BOOLEAN, &starts, DBUS_TYPE_INVALID)) {
        if (starts)
            prepare(l);
        else
            wake(l);
    }
    if (!dbus_message_is_signal(msg, DBUS_INTERFACE_DBUS, "NameOwnerChanged") ||
        !dbus_message_get_args(msg, NULL, DBUS_TYPE_STRING, &name, DBUS_TYPE_STRING, &old,
                               DBUS_TYPE_STRING, &new, DBUS_TYPE_INVALID) ||
        strcmp(name, LOGIND_NAME) != 0)
        return;
    vmt_closep(&l->lock);
    l->lock = -1;
    wake(l); /* the one that announced it will not say when it is over */
    if (*new) {
        ask_delay(l);
        inhibit(l);
    }
}

static DBusHandlerResult
filter(DBusConnection *conn, DBusMessage *msg, void *arg)
{
    struct dbus_logind *l = arg;

    (void)conn;
    if (dbus_message_is_signal(msg, DBUS_INTERFACE_LOCAL, "Disconnected"))
        lose(l);
    /* One for us alone may come from anybody; for the others the bus knows the sender. */
    else if (l->events && dbus_message_get_type(msg) == DBUS_MESSAGE_TYPE_SIGNAL &&
             !dbus_message_get_destination(msg))
        on_signal(l, msg);
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

static void next_match(struct dbus_logind *l);

static void
on_match(DBusPendingCall *pending, void *arg)
{
    struct dbus_logind *l = arg;
    VMT_CLEANUP(dbus_message_unrefp) DBusMessage *answer = take_answer(&l->step);

    (void)pending;
    if (!answer) {
        lose(l);
        return;
    }
    l->matched++;
    next_match(l);
}

static void
next_match(struct dbus_logind *l)
{
    DBusMessage *msg;

    if (l->matched == VMT_ARRAY_SIZE(matches)) {
        l->retry_s = LOGIND_RETRY_MIN_S;
        ask_delay(l);
        inhibit(l);
        return;
    }
    msg = dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS,
                                       DBUS_INTERFACE_DBUS, "AddMatch");
    if (msg && !dbus_message_append_args(msg, DBUS_TYPE_STRING, &matches[l->matched],
                                         DBUS_TYPE_INVALID))
        dbus_message_unref(vmt_take_ptr(&msg));
    ask(l, msg, &l->step, on_match);
}

static void
on_hello(DBusPendingCall *pending, void *arg)
{
    struct dbus_logind *l = arg;
    VMT_CLEANUP(dbus_message_unrefp) DBusMessage *answer = take_answer(&l->step);
    const char *name;

    (void)pending;
    if (!answer ||
        !dbus_message_get_args(answer, NULL, DBUS_TYPE_STRING, &name,
                               DBUS_TYPE_INVALID) ||
        !dbus_bus_set_unique_name(l->conn, name)) {
        lose(l);
        return;
    }
    l->matched = 0;
    next_match(l);
}

static void
try_later(struct dbus_logind *l)
{
    struct timeval wait = {.tv_sec = l->retry_s};

    (void)event_add(l->retry, &wait);
    l->retry_s =
        2 * l->retry_s < LOGIND_RETRY_MAX_S ? 2 * l->retry_s : LOGIND_RETRY_MAX_S;
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct dbus_logind *l = arg;

    (void)fd;
    (void)what;
    l->conn = dbus_connection_open_private(l->address, NULL);
    if (!l->conn) {
        try_later(l);
        return;
    }
    dbus_connection_set_exit_on_disconnect(l->conn, FALSE);
    if (!dbus_connection_add_filter(l->conn, filter, l, NULL) ||
        dbus_loop_attach(&l->drive, l->conn, l->loop) < 0)
        lose(l);
    else
        ask(l,
            dbus_message_new_method_call(DBUS_SERVICE_DBUS, DBUS_PATH_DBUS,
                                         DBUS_INTERFACE_DBUS, "Hello"),
            &l->step, on_hello);
}

static void
on_lost(evutil_socket_t fd, short what, void *arg)
{
    struct dbus_logind *l = arg;

    (void)fd;
    (void)what;
    disconnect(l);
    wake(l); /* nobody else would say so */
    try_later(l);
}

static struct dbus_logind *
self_of(struct host_sleep *sleep)
{
    return VMT_CONTAINER_OF(sleep, struct dbus_logind, base);
}

static void
logind_start(struct host_sleep *sleep, const struct host_sleep_events *events, void *arg)
{
    static const struct timeval now = {0};
    struct dbus_logind *l = self_of(sleep);

    l->events = events;
    l->arg = arg;
    (void)event_add(l->retry, &now);
}

static void
logind_ready(struct host_sleep *sleep)
{
    struct dbus_logind *l = self_of(sleep);

    vmt_closep(&l->lock);
    l->lock = -1;
}

static void
logind_stop(struct host_sleep *sleep)
{
    struct dbus_logind *l = self_of(sleep);

    (void)event_del(l->retry);
    (void)event_del(l->lost);
    disconnect(l);
    l->events = NULL;
    l->preparing = false;
}

static const struct host_sleep_ops ops = {
    .start = logind_start, .ready = logind_ready, .stop = logind_stop};

static void
logind_free(struct dbus_logind *l)
{
    if (!l)
        return;
    if (l->retry)
        event_free(l->retry);
    if (l->lost)
        event_free(l->lost);
    free(l->address);
    free(l);
}
VMT_DEFINE_FREEP(struct dbus_logind, logind_free)

int
dbus_logind_new(struct os_loop *loop, const char *address, struct host_sleep **ret_sleep,
                struct vmt_err *err)
{
    VMT_CLEANUP(logind_freep) struct dbus_logind *l = calloc(1, sizeof(*l));

    if (!l)
        return vmt_err_set(err, ENOMEM, "listen to logind");
    l->base.ops = &ops;
    l->loop = os_loop_base(loop);
    l->lock = -1;
    l->retry_s = LOGIND_RETRY_MIN_S;
    l->address = dbus_bus_address(address);
    l->retry = event_new(l->loop, -1, 0, on_retry, l);
    l->lost = event_new(l->loop, -1, 0, on_lost, l);
    if (!l->address || !l->retry || !l->lost)
        return vmt_err_set(err, ENOMEM, "listen to logind");
    *ret_sleep = &vmt_take_ptr(&l)->base;
    return 0;
}

void
dbus_logind_free(struct host_sleep *sleep)
{
    if (!sleep)
        return;
    logind_stop(sleep);
    logind_free(self_of(sleep));
}
