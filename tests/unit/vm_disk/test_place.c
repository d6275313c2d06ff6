/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/disk/attrs.h"
#include "platform/linux/disk/place.h"
#include "tests/unit/test.h"

/* A folder, and the place of "a.img" in it. */
struct world {
    char dir[64];
    struct disk_place place;
};

static char *
path_of(const struct world *w, const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", w->dir, name);
    return path;
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    (void)strcpy(w->dir, "/tmp/vmt-place.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(disk_place_open(-1, path_of(w, "a.img"), &w->place, NULL), 0);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    char command[96];

    disk_place_done(&w->place);
    (void)snprintf(command, sizeof(command), "rm -r %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static bool
exists(const struct world *w, const char *name)
{
    return access(path_of(w, name), F_OK) == 0;
}

static void
make(const struct world *w, const char *name, const char *text)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen(path_of(w, name), "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
}

static void
assert_content(const struct world *w, const char *name, const char *text)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen(path_of(w, name), "re");
    char got[64] = "";

    assert_non_null(f);
    (void)!fread(got, 1, sizeof(got) - 1, f);
    assert_string_equal(got, text);
}

static void
temp_make(struct world *w, bool named, struct disk_temp *temp)
{
    assert_int_equal(disk_temp_open(&w->place, named, temp, NULL), 0);
    assert_int_equal(write(temp->fd, "new", 3), 3);
}

static void
temporary_is_gone_unless_it_was_placed(void **state)
{
    struct world *w = *state;
    struct disk_temp temp;

    for (int named = 0; named < 2; named++) {
        temp_make(w, named, &temp);
        assert_int_equal(exists(w, ".a.img.tmp"), named);
        disk_temp_done(&w->place, &temp);
        assert_false(exists(w, ".a.img.tmp"));
        assert_false(exists(w, "a.img"));
    }
}

static void
placed_temporary_is_the_image(void **state)
{
    struct world *w = *state;
    struct disk_temp temp;

    for (int named = 0; named < 2; named++) {
        temp_make(w, named, &temp);
        assert_int_equal(disk_temp_place(&w->place, &temp, false, NULL), 0);
        disk_temp_done(&w->place, &temp);
        assert_content(w, "a.img", "new");
        assert_false(exists(w, ".a.img.tmp") || exists(w, ".a.img.new"));
        assert_int_equal(unlink(path_of(w, "a.img")), 0);
    }
}

static void
image_that_is_there_is_replaced_only_when_asked(void **state)
{
    struct world *w = *state;
    struct disk_temp temp;

    for (int named = 0; named < 2; named++) {
        make(w, "a.img", "old");
        temp_make(w, named, &temp);
        assert_int_equal(disk_temp_place(&w->place, &temp, false, NULL), -EEXIST);
        assert_content(w, "a.img", "old");
        make(w, ".a.img.new", "of one that was killed");
        assert_int_equal(disk_temp_place(&w->place, &temp, true, NULL), 0);
        disk_temp_done(&w->place, &temp);
        assert_content(w, "a.img", "new");
        if (!named)
            assert_false(exists(w, ".a.img.new"));
        (void)unlink(path_of(w, ".a.img.new"));
    }
}

static void
named_temporary_of_a_killed_one_is_replaced(void **state)
{
    struct world *w = *state;
    struct disk_temp temp;

    make(w, ".a.img.tmp", "of one that was killed");
    temp_make(w, true, &temp);
    assert_content(w, ".a.img.tmp", "new");
    disk_temp_done(&w->place, &temp);
}

static void
names_that_are_no_images_are_refused(void **state)
{
    static const char *const names[] = {"", ".", "..", ".lock", "/tmp/", "/"};
    struct disk_place place;
    char longest[512];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++)
        assert_int_equal(disk_place_open(-1, names[i], &place, NULL), -EINVAL);
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(disk_place_open(-1, longest, &place, NULL), -ENAMETOOLONG);
    assert_int_equal(disk_place_open(-1, "/nowhere/a.img", &place, NULL), -ENOENT);
}

static void
folder_is_no_link_and_not_left(void **state)
{
    struct world *w = *state;
    struct disk_place place;

    assert_int_equal(mkdir(path_of(w, "real"), 0700), 0);
    assert_int_equal(symlink("real", path_of(w, "link")), 0);
    assert_int_equal(disk_place_open(-1, path_of(w, "link/a.img"), &place, NULL),
                     -ENOTDIR);
    assert_int_equal(mkdir(path_of(w, "real/sub"), 0700), 0);
    assert_int_equal(disk_place_open(w->place.dir_fd, "link/a.img", &place, NULL),
                     -ENOTDIR);
    assert_int_equal(disk_place_open(w->place.dir_fd, "link/sub/a.img", &place, NULL),
                     -ELOOP);
    assert_int_equal(disk_place_open(w->place.dir_fd, "../a.img", &place, NULL), -EXDEV);
    assert_int_equal(disk_place_open(w->place.dir_fd, "/a.img", &place, NULL), -EXDEV);
    assert_int_equal(disk_place_open(w->place.dir_fd, "real/a.img", &place, NULL), 0);
    disk_place_done(&place);
}

static void
name_is_locked_by_one_and_others_are_free(void **state)
{
    struct world *w = *state;
    struct disk_place same, other;

    assert_int_equal(disk_place_open(-1, path_of(w, "a.img"), &same, NULL), 0);
    assert_int_equal(disk_place_open(-1, path_of(w, "b.img"), &other, NULL), 0);
    assert_int_equal(disk_place_busy(&same), 0);
    assert_int_equal(disk_place_lock(&w->place, NULL), 0);
    assert_int_equal(disk_place_busy(&same), 1);
    assert_int_equal(disk_place_lock(&same, NULL), -EBUSY);
    assert_int_equal(disk_place_lock(&other, NULL), 0);
    disk_place_done(&w->place);
    assert_int_equal(disk_place_lock(&same, NULL), 0);
    disk_place_done(&same);
    disk_place_done(&other);
    w->place = (struct disk_place){.dir_fd = -1, .lock_fd = -1};
}

static int
image_open(const struct world *w)
{
    int fd = open(path_of(w, "a.img"), O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void
image_is_locked_as_crosvm_does(void **state)
{
    struct world *w = *state;
    VMT_CLEANUP(vmt_closep) int vm = -1;
    VMT_CLEANUP(vmt_closep) int ours = -1;

    make(w, "a.img", "disk");
    vm = image_open(w);
    ours = image_open(w);
    assert_int_equal(flock(vm, LOCK_EX), 0);
    assert_int_equal(disk_image_lock(ours, true, NULL), -EBUSY);
    assert_int_equal(flock(vm, LOCK_UN), 0);
    assert_int_equal(disk_image_lock(ours, false, NULL), 0);
    assert_int_equal(flock(vm, LOCK_SH | LOCK_NB), -1);
}

/* QEMU that writes: it uses read, write and resize, and denies write and resize. */
static void
image_is_locked_as_qemu_does(void **state)
{
    static const off_t bytes[] = {100, 101, 103, 201, 203};
    struct world *w = *state;
    VMT_CLEANUP(vmt_closep) int vm = -1;

    make(w, "a.img", "disk");
    vm = image_open(w);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bytes); i++) {
        struct flock lock = {.l_type = F_RDLCK, .l_start = bytes[i], .l_len = 1};

        assert_int_equal(fcntl(vm, F_OFD_SETLK, &lock), 0);
    }
    for (int shared = 0; shared < 2; shared++) {
        VMT_CLEANUP(vmt_closep) int ours = image_open(w);

        assert_int_equal(disk_image_lock(ours, shared, NULL), -EBUSY);
    }
}

static void
readers_share_an_image_and_writers_do_not(void **state)
{
    struct world *w = *state;
    VMT_CLEANUP(vmt_closep) int one = -1;
    VMT_CLEANUP(vmt_closep) int two = -1;
    VMT_CLEANUP(vmt_closep) int writer = -1;

    make(w, "a.img", "disk");
    one = image_open(w);
    two = image_open(w);
    writer = image_open(w);
    assert_int_equal(disk_image_lock(one, true, NULL), 0);
    assert_int_equal(disk_image_lock(two, true, NULL), 0);
    assert_int_equal(disk_image_lock(writer, false, NULL), -EBUSY);
}

static void
cleaning_spares_what_is_in_use(void **state)
{
    struct world *w = *state;
    struct disk_place other;
    unsigned removed = 0;

    assert_int_equal(disk_place_open(-1, path_of(w, "f.img"), &other, NULL), 0);
    make(w, "a.img", "disk");
    make(w, ".a.img.tmp", "in use");
    make(w, ".b.img.tmp", "left");
    make(w, ".c.img.new", "left");
    make(w, ".tmp", "no name in it");
    make(w, "d.tmp", "of somebody");
    make(w, ".e.attrs", "attributes");
    make(w, ".f.img.new", "left before its image was locked");
    make(w, ".a.img.attrs.new", "attributes that are being written");
    make(w, ".b.img.attrs.new", "left");
    make(w, ".f.img.attrs.new", "left");
    assert_int_equal(disk_place_lock(&w->place, NULL), 0);
    assert_int_equal(disk_place_lock(&other, NULL), 0);
    assert_int_equal(disk_place_clean(&other, &removed, NULL), 0);
    disk_place_done(&other);
    assert_int_equal(removed, 5);
    assert_true(exists(w, ".a.img.attrs.new") && exists(w, "a.img") &&
                exists(w, ".a.img.tmp") && exists(w, ".tmp") && exists(w, "d.tmp") &&
                exists(w, ".e.attrs"));
    assert_false(exists(w, ".b.img.tmp") || exists(w, ".c.img.new") ||
                 exists(w, ".f.img.new") || exists(w, ".b.img.attrs.new") ||
                 exists(w, ".f.img.attrs.new"));
}

static void
attributes_are_kept_one_by_one(void **state)
{
    struct world *w = *state;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    const struct disk_attrs type = {false, 12}, chosen = {true, DISK_VM_TYPE_UNKNOWN};
    struct disk_attrs got;

    make(w, "a.img", "disk");
    fd = image_open(w);
    assert_int_equal(disk_attrs_read(w->place.dir_fd, "a.img", fd, &got, NULL), 0);
    assert_true(got.vm_type == DISK_VM_TYPE_UNKNOWN && !got.user_chosen_size);
    assert_int_equal(disk_attrs_write(w->place.dir_fd, "a.img", fd, &type, NULL), 0);
    assert_int_equal(disk_attrs_write(w->place.dir_fd, "a.img", fd, &chosen, NULL), 0);
    assert_int_equal(disk_attrs_read(w->place.dir_fd, "a.img", fd, &got, NULL), 0);
    assert_true(got.vm_type == 12 && got.user_chosen_size);
    assert_int_equal(disk_attrs_remove(w->place.dir_fd, "a.img", NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(temporary_is_gone_unless_it_was_placed),
        TEST(placed_temporary_is_the_image),
        TEST(image_that_is_there_is_replaced_only_when_asked),
        TEST(named_temporary_of_a_killed_one_is_replaced),
        TEST(names_that_are_no_images_are_refused),
        TEST(folder_is_no_link_and_not_left),
        TEST(name_is_locked_by_one_and_others_are_free),
        TEST(image_is_locked_as_crosvm_does),
        TEST(image_is_locked_as_qemu_does),
        TEST(readers_share_an_image_and_writers_do_not),
        TEST(cleaning_spares_what_is_in_use),
        TEST(attributes_are_kept_one_by_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
