/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/power_button.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/input.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/guest/maitred/init/uevent.h"

#define BUTTONS_MAX 8 /* a PC has two: the fixed one and the one of the DSDT */
#define UEVENT_MAX 8192
#define EVENTS_MAX 64 /* that are read in one turn of the loop */

struct power_button {
    struct event_base *base;           /* borrowed */
    int uevent_fd;                     /* owned */
    struct event *uevent;              /* owned */
    struct event *inputs[BUTTONS_MAX]; /* owned, with their descriptors */
    size_t n;
    void (*on_press)(void *arg);
    void *arg; /* borrowed */
};

static void
drop_input(struct power_button *b, int fd)
{
    for (size_t i = 0; i < b->n; i++) {
        if (event_get_fd(b->inputs[i]) != fd)
            continue;
        event_free(b->inputs[i]);
        (void)close(fd);
        b->inputs[i] = b->inputs[--b->n];
        return;
    }
}

static void
on_input(evutil_socket_t fd, short what, void *arg)
{
    struct power_button *b = arg;
    struct input_event events[16];
    ssize_t n = read(fd, events, sizeof(events));
    bool is_pressed = false;

    (void)what;
    for (ssize_t i = 0; i < n / (ssize_t)sizeof(events[0]); i++) {
        if (events[i].type == EV_KEY && events[i].code == KEY_POWER &&
            events[i].value == 1)
            is_pressed = true;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) /* unplugged */
        drop_input(b, fd);
    if (is_pressed)
        b->on_press(b->arg);
}

static bool
has_power_key(int fd)
{
    uint8_t keys[KEY_MAX / 8 + 1] = {0};

    return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
           (keys[KEY_POWER / 8] & 1 << KEY_POWER % 8);
}

/* Watch /dev/input/<name> if it is a button. */
static void
add_input(struct power_button *b, const char *name)
{
    char path[PATH_MAX];
    VMT_CLEANUP(vmt_closep) int fd = -1;
    struct event *ev;

    (void)snprintf(path, sizeof(path), "/dev/input/%s", name);
    if (b->n == BUTTONS_MAX)
        return;
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || !has_power_key(fd))
        return;
    ev = event_new(b->base, fd, EV_READ | EV_PERSIST, on_input, b);
    if (!ev || event_add(ev, NULL) < 0) {
        if (ev)
            event_free(ev);
        return;
    }
    b->inputs[b->n++] = ev;
    (void)vmt_take_fd(&fd);
}

static void
on_uevent(evutil_socket_t fd, short what, void *arg)
{
    struct power_button *b = arg;
    char event[UEVENT_MAX];

    (void)what;
    for (int i = 0; i < EVENTS_MAX; i++) {
        int len = uevent_read(fd, event, sizeof(event));
        const char *name = len > 0 ? uevent_find(event, (size_t)len, "DEVNAME") : NULL;

        if (len < 0)
            return;
        if (name && vmt_str_has_prefix(event, "add@") &&
            vmt_str_has_prefix(name, "input/event"))
            add_input(b, name + strlen("input/"));
    }
}

static void
add_present(struct power_button *b)
{
    DIR *dir = opendir("/dev/input");
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        if (vmt_str_has_prefix(entry->d_name, "event"))
            add_input(b, entry->d_name);
    }
    (void)closedir(dir);
}

int
power_button_new(struct event_base *base, int uevent_fd, void (*on_press)(void *arg),
                 void *arg, struct power_button **ret_button, struct vmt_err *err)
{
    struct power_button *b = calloc(1, sizeof(*b));
    char old[UEVENT_MAX];

    if (!b)
        return vmt_err_set(err, ENOMEM, "watch the power button");
    *b = (struct power_button){
        .base = base, .uevent_fd = -1, .on_press = on_press, .arg = arg};
    while (uevent_read(uevent_fd, old, sizeof(old)) >= 0)
        ; /* what came during boot is found by looking */
    b->uevent = event_new(base, uevent_fd, EV_READ | EV_PERSIST, on_uevent, b);
    if (!b->uevent || event_add(b->uevent, NULL) < 0) {
        power_button_free(b);
        return vmt_err_set(err, ENOMEM, "watch the power button");
    }
    b->uevent_fd = uevent_fd;
    add_present(b);
    *ret_button = b;
    return 0;
}

void
power_button_free(struct power_button *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n; i++) {
        int fd = event_get_fd(b->inputs[i]);

        event_free(b->inputs[i]);
        (void)close(fd);
    }
    if (b->uevent)
        event_free(b->uevent);
    vmt_closep(&b->uevent_fd);
    free(b);
}
