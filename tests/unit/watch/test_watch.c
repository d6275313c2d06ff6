/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that are replaced in all the ways that programs know. */
#include "platform/linux/watch/watch.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/test.h"

#define PATIENCE_MS 10000

struct bed {
    char root[64];
    char resolv[PATH_MAX], resolved[PATH_MAX], zone[PATH_MAX];
    const char *dns_files[3], *zone_files[2];
    struct linux_watch_config config;
    struct os_loop *loop;
    struct host_watch *watch;
    unsigned changes[HOST_CHANGE_COUNT];
    bool late;
};

static void
on_change(void *arg, enum host_change what)
{
    struct bed *b = arg;

    b->changes[what]++;
    os_loop_stop(b->loop, 0);
}

static void
path_in(const struct bed *b, const char *name, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/%s", b->root, name);
}

static void
bed_init(struct bed *b)
{
    memset(b, 0, sizeof(*b));
    (void)snprintf(b->root, sizeof(b->root), "/tmp/vmt-watch-XXXXXX");
    assert_non_null(mkdtemp(b->root));
    path_in(b, "resolv.conf", b->resolv);
    path_in(b, "run/resolve/resolv.conf", b->resolved);
    path_in(b, "localtime", b->zone);
    b->dns_files[0] = b->resolv;
    b->dns_files[1] = b->resolved;
    b->zone_files[0] = b->zone;
    b->config = (struct linux_watch_config){b->dns_files, b->zone_files};
    assert_int_equal(os_loop_new(&b->loop, NULL), 0);
    assert_int_equal(linux_watch_new(b->loop, &b->config, &b->watch, NULL), 0);
}

static void
bed_start(struct bed *b)
{
    assert_int_equal(b->watch->ops->start(b->watch, on_change, b, NULL), 0);
}

static void
bed_done(struct bed *b)
{
    linux_watch_free(b->watch);
    os_loop_free(b->loop);
    assert_int_equal(os_remove_tree(b->root, NULL), 0);
}

static void
on_late(void *arg)
{
    struct bed *b = arg;

    b->late = true;
    os_loop_stop(b->loop, 0);
}

/* Wait for a change of that kind. */
static void
expect(struct bed *b, enum host_change what)
{
    struct vmt_clock *clock = os_loop_clock(b->loop);
    struct vmt_timer *timer = NULL;

    assert_int_equal(clock->ops->timer_start(clock, PATIENCE_MS, on_late, b, &timer), 0);
    while (!b->changes[what] && !b->late)
        (void)os_loop_run(b->loop);
    assert_false(b->late);
    clock->ops->timer_cancel(clock, timer);
    memset(b->changes, 0, sizeof(b->changes));
}

static void
put(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void
a_file_is_written_replaced_removed_and_made_anew(void **state)
{
    struct bed b;
    char other[PATH_MAX];

    (void)state;
    bed_init(&b);
    put(b.resolv, "a");
    bed_start(&b);
    put(b.resolv, "b");
    expect(&b, HOST_CHANGE_DNS);
    path_in(&b, "new", other);
    put(other, "c");
    assert_int_equal(rename(other, b.resolv), 0);
    expect(&b, HOST_CHANGE_DNS);
    put(b.resolv, "d"); /* of the new one, too */
    expect(&b, HOST_CHANGE_DNS);
    assert_int_equal(unlink(b.resolv), 0);
    expect(&b, HOST_CHANGE_DNS);
    put(b.resolv, "e");
    expect(&b, HOST_CHANGE_DNS);
    bed_done(&b);
}

static void
links_are_followed_wherever_they_lead(void **state)
{
    struct bed b;
    char dir[PATH_MAX], far[PATH_MAX], link[PATH_MAX];

    (void)state;
    bed_init(&b);
    path_in(&b, "far", dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    path_in(&b, "far/one", far);
    put(far, "one");
    assert_int_equal(symlink("far/one", b.resolv), 0);
    bed_start(&b);
    put(far, "two");
    expect(&b, HOST_CHANGE_DNS);
    path_in(&b, "far/two", far);
    put(far, "two");
    path_in(&b, "link", link);
    assert_int_equal(symlink(far, link), 0); /* absolute */
    assert_int_equal(rename(link, b.resolv), 0);
    expect(&b, HOST_CHANGE_DNS);
    put(far, "three");
    expect(&b, HOST_CHANGE_DNS);
    bed_done(&b);
}

static void
folders_may_come_later_and_go(void **state)
{
    struct bed b;
    char dir[PATH_MAX];

    (void)state;
    bed_init(&b);
    bed_start(&b);
    path_in(&b, "run", dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    expect(&b, HOST_CHANGE_DNS);
    path_in(&b, "run/resolve", dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    expect(&b, HOST_CHANGE_DNS);
    put(b.resolved, "a");
    expect(&b, HOST_CHANGE_DNS);
    assert_int_equal(unlink(b.resolved), 0);
    expect(&b, HOST_CHANGE_DNS);
    assert_int_equal(rmdir(dir), 0);
    expect(&b, HOST_CHANGE_DNS);
    assert_int_equal(mkdir(dir, 0700), 0);
    expect(&b, HOST_CHANGE_DNS);
    bed_done(&b);
}

static void
the_zone_is_told_apart_from_the_name_servers(void **state)
{
    struct bed b;
    char link[PATH_MAX];

    (void)state;
    bed_init(&b);
    assert_int_equal(symlink("/usr/share/zoneinfo/Europe/Berlin", b.zone), 0);
    bed_start(&b);
    path_in(&b, "link", link);
    assert_int_equal(symlink("/usr/share/zoneinfo/Asia/Tokyo", link), 0);
    assert_int_equal(rename(link, b.zone), 0);
    while (!b.changes[HOST_CHANGE_ZONE])
        (void)os_loop_run(b.loop);
    assert_int_equal(b.changes[HOST_CHANGE_DNS], 0);
    bed_done(&b);
}

/* As where a container manager mounts the file: its folder does not see the change. */
static void
a_file_that_is_written_by_another_way_is_noticed(void **state)
{
    struct bed b;
    char dir[PATH_MAX], other[PATH_MAX];

    (void)state;
    bed_init(&b);
    put(b.resolv, "a");
    path_in(&b, "elsewhere", dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    path_in(&b, "elsewhere/file", other);
    assert_int_equal(link(b.resolv, other), 0);
    bed_start(&b);
    put(other, "b");
    expect(&b, HOST_CHANGE_DNS);
    put(other, "c"); /* still */
    expect(&b, HOST_CHANGE_DNS);
    bed_done(&b);
}

/* A link to itself is no reason to hang. */
static void
a_circle_of_links_ends(void **state)
{
    struct bed b;

    (void)state;
    bed_init(&b);
    assert_int_equal(symlink("resolv.conf", b.resolv), 0);
    bed_start(&b);
    assert_int_equal(unlink(b.resolv), 0);
    expect(&b, HOST_CHANGE_DNS);
    bed_done(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_written_replaced_removed_and_made_anew),
        cmocka_unit_test(links_are_followed_wherever_they_lead),
        cmocka_unit_test(folders_may_come_later_and_go),
        cmocka_unit_test(the_zone_is_told_apart_from_the_name_servers),
        cmocka_unit_test(a_file_that_is_written_by_another_way_is_noticed),
        cmocka_unit_test(a_circle_of_links_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
