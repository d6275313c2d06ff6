/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/dbus/dbus_loop.c - libdbus driven by the event loop of the process. */
#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>

#include "platform/linux/dbus/dbus_internal.h"

/* Messages dispatched per turn, so that a busy bus does not starve the other sources. */
#define DBUS_DISPATCH_BATCH 32

struct dbus_loop_watch {
    struct dbus_loop *owner; /* borrowed */
    DBusWatch *watch;        /* borrowed; removes this */
    struct event *ev;        /* owned */
};

/* A timer of no length, not event_active: what an event activates from its own callback
 * runs again before any descriptor is looked at. */
static void
dispatch_schedule(struct dbus_loop *d)
{
    static const struct timeval now = {0};

    (void)event_add(d->dispatch, &now);
}

/* Whether the bus has so much of ours to read that calls have to wait. Then libdbus reads
 * up to its limit and no further, and watch_on_event goes on. */
static bool
dispatch_is_paused(const struct dbus_loop *d)
{
    return dbus_connection_get_outgoing_size(d->conn) > DBUS_OUTGOING_PAUSE &&
           dbus_connection_get_is_connected(d->conn);
}

/* Handle what has been read, up to a batch of it. */
static void
dispatch_run(struct dbus_loop *d)
{
    DBusDispatchStatus status = dbus_connection_get_dispatch_status(d->conn);

    if (dispatch_is_paused(d))
        return;
    for (int i = 0; i < DBUS_DISPATCH_BATCH && status == DBUS_DISPATCH_DATA_REMAINS; i++)
        status = dbus_connection_dispatch(d->conn);
    if (status != DBUS_DISPATCH_COMPLETE)
        dispatch_schedule(d);
    else
        (void)event_del(d->dispatch);
}

static void
dispatch_on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    dispatch_run(arg);
}

static void
watch_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct dbus_loop_watch *w = arg;
    struct dbus_loop *d = w->owner;
    unsigned flags = 0;

    (void)fd;
    if (what & EV_READ)
        flags |= DBUS_WATCH_READABLE;
    if (what & EV_WRITE)
        flags |= DBUS_WATCH_WRITABLE;
    (void)dbus_watch_handle(w->watch, flags);
    /* At once, which saves a turn of the loop for each call; libdbus is not on the stack.
     */
    if (d->conn)
        dispatch_run(d);
}

static void
watch_toggled(DBusWatch *watch, void *arg)
{
    struct dbus_loop_watch *w = dbus_watch_get_data(watch);

    (void)arg;
    if (!w)
        return;
    if (dbus_watch_get_enabled(watch))
        (void)event_add(w->ev, NULL);
    else
        (void)event_del(w->ev);
}

static dbus_bool_t
watch_add(DBusWatch *watch, void *arg)
{
    struct dbus_loop *d = arg;
    unsigned flags = dbus_watch_get_flags(watch);
    struct dbus_loop_watch *w = calloc(1, sizeof(*w));
    short what = EV_PERSIST;

    if (!w)
        return FALSE;
    if (flags & DBUS_WATCH_READABLE)
        what |= EV_READ;
    if (flags & DBUS_WATCH_WRITABLE)
        what |= EV_WRITE;
    w->owner = d;
    w->watch = watch;
    w->ev = event_new(d->base, dbus_watch_get_unix_fd(watch), what, watch_on_event, w);
    if (!w->ev) {
        free(w);
        return FALSE;
    }
    dbus_watch_set_data(watch, w, NULL);
    watch_toggled(watch, d);
    return TRUE;
}

static void
watch_remove(DBusWatch *watch, void *arg)
{
    struct dbus_loop_watch *w = dbus_watch_get_data(watch);

    (void)arg;
    dbus_watch_set_data(watch, NULL, NULL);
    if (!w)
        return;
    event_free(w->ev);
    free(w);
}

static void
timeout_on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)dbus_timeout_handle(arg);
}

static void
timeout_toggled(DBusTimeout *timeout, void *arg)
{
    struct event *ev = dbus_timeout_get_data(timeout);
    int ms = dbus_timeout_get_interval(timeout);
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000L};

    (void)arg;
    if (!ev)
        return;
    (void)event_del(ev);
    if (dbus_timeout_get_enabled(timeout))
        (void)event_add(ev, &tv);
}

static dbus_bool_t
timeout_add(DBusTimeout *timeout, void *arg)
{
    struct dbus_loop *d = arg;
    struct event *ev = event_new(d->base, -1, EV_PERSIST, timeout_on_event, timeout);

    if (!ev)
        return FALSE;
    dbus_timeout_set_data(timeout, ev, NULL);
    timeout_toggled(timeout, d);
    return TRUE;
}

static void
timeout_remove(DBusTimeout *timeout, void *arg)
{
    struct event *ev = dbus_timeout_get_data(timeout);

    (void)arg;
    dbus_timeout_set_data(timeout, NULL, NULL);
    if (ev)
        event_free(ev);
}

static void
dispatch_status(DBusConnection *conn, DBusDispatchStatus status, void *arg)
{
    (void)conn;
    if (status != DBUS_DISPATCH_COMPLETE)
        dispatch_schedule(arg);
}

int
dbus_loop_attach(struct dbus_loop *d, DBusConnection *conn, struct event_base *base)
{
    d->conn = conn;
    d->base = base;
    d->dispatch = event_new(d->base, -1, 0, dispatch_on_event, d);
    if (!d->dispatch)
        return -ENOMEM;
    if (!dbus_connection_set_watch_functions(d->conn, watch_add, watch_remove,
                                             watch_toggled, d, NULL) ||
        !dbus_connection_set_timeout_functions(d->conn, timeout_add, timeout_remove,
                                               timeout_toggled, d, NULL))
        return -ENOMEM;
    dbus_connection_set_dispatch_status_function(d->conn, dispatch_status, d, NULL);
    /* What came in while the name was requested is there already. */
    dispatch_schedule(d);
    return 0;
}

void
dbus_loop_detach(struct dbus_loop *d)
{
    if (d->conn) {
        dbus_connection_set_dispatch_status_function(d->conn, NULL, NULL, NULL);
        (void)dbus_connection_set_watch_functions(d->conn, NULL, NULL, NULL, NULL, NULL);
        (void)dbus_connection_set_timeout_functions(d->conn, NULL, NULL, NULL, NULL,
                                                    NULL);
    }
    if (d->dispatch)
        event_free(d->dispatch);
    d->dispatch = NULL;
    d->conn = NULL;
}
