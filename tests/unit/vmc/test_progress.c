/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines are compared with tests/golden/vmc-snapshot-progress.txt; what a terminal does
 * with them is undone first. */
#include "platform/linux/vmc/progress.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"
#include "vmt_snapshot.pb-c.h"

#define TEXT_MAX 4096

struct shown {
    struct snapshot_progress progress;
    char *text;
    size_t len;
};

static void
begin(struct shown *s)
{
    memset(s, 0, sizeof(*s));
    s->progress = (struct snapshot_progress){
        .verb = "create", .owner = "1000", .vm = "demo", .snapshot = "one"};
    s->progress.out = open_memstream(&s->text, &s->len);
    assert_non_null(s->progress.out);
}

static void
end(struct shown *s)
{
    (void)fclose(s->progress.out);
    free(s->text);
}

static void
tell(struct shown *s, const char *vm, const char *step, uint64_t done, uint64_t total)
{
    Vmt__SnapshotProgress p = VMT__SNAPSHOT_PROGRESS__INIT;
    uint8_t bytes[256];

    p.owner_id = (char *)(uintptr_t) "1000";
    p.vm_name = (char *)(uintptr_t)vm;
    p.snapshot_name = (char *)(uintptr_t) "one";
    p.step = (char *)(uintptr_t)step;
    p.done_bytes = done;
    p.total_bytes = total;
    assert_true(vmt__snapshot_progress__get_packed_size(&p) <= sizeof(bytes));
    snapshot_progress_on_signal(&s->progress, "SnapshotProgress", bytes,
                                vmt__snapshot_progress__pack(&p, bytes));
}

/* "\rfirst   \rsecond \n" becomes "first\nsecond\n". */
static void
as_lines(const char *text, char lines[TEXT_MAX])
{
    size_t n = 0;

    lines[0] = '\0';
    for (const char *at = text; *at == '\r' && n < TEXT_MAX - 200;) {
        size_t len = strcspn(++at, "\r\n");
        size_t shown = len;

        while (shown > 0 && at[shown - 1] == ' ')
            shown--;
        n += (size_t)snprintf(lines + n, TEXT_MAX - n, "%.*s\n", (int)shown, at);
        at += len;
    }
}

static void
read_golden(char golden[TEXT_MAX])
{
    FILE *f = fopen(GOLDEN, "r");
    size_t n;

    assert_non_null(f);
    n = fread(golden, 1, TEXT_MAX - 1, f);
    golden[n] = '\0';
    (void)fclose(f);
}

static void
each_step_is_a_line_over_the_last_one(void **state)
{
    struct shown s;
    char lines[TEXT_MAX], golden[TEXT_MAX];

    (void)state;
    begin(&s);
    tell(&s, "demo", "freeze", 0, 0);
    tell(&s, "demo", "disks", 0, 0);
    tell(&s, "demo", "disks", 25, 100);
    tell(&s, "demo", "disks", UINT64_C(1) << 60, UINT64_C(1) << 60);
    tell(&s, "demo", "memory", 0, 256u << 20);
    tell(&s, "demo", "resume", 0, 0);
    tell(&s, "demo", "\x1b[2J", 0, 0); /* a terminal would act on it */
    tell(&s, "demo", "done", 7, 7);
    snapshot_progress_end(&s.progress);
    (void)fflush(s.progress.out);
    assert_int_equal(s.text[s.len - 1], '\n');
    as_lines(s.text, lines);
    read_golden(golden);
    assert_string_equal(lines, golden);
    end(&s);
}

static void
a_shorter_line_covers_a_longer_one(void **state)
{
    struct shown s;
    size_t first;

    (void)state;
    begin(&s);
    tell(&s, "demo", "memory", 100, 100);
    first = s.len;
    tell(&s, "demo", "done", 0, 0);
    assert_int_equal(s.len, 2 * first);
    end(&s);
}

static void
signals_of_others_draw_nothing(void **state)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff};
    struct shown s;

    (void)state;
    begin(&s);
    tell(&s, "other", "freeze", 0, 0);
    snapshot_progress_on_signal(&s.progress, "VmStoppedSignal", garbage, 0);
    snapshot_progress_on_signal(&s.progress, "SnapshotProgress", garbage,
                                sizeof(garbage));
    snapshot_progress_end(&s.progress);
    (void)fflush(s.progress.out);
    assert_int_equal(s.len, 0);
    end(&s);
}

static void
a_bar_is_full_at_most(void **state)
{
    char none[PROGRESS_LINE_MAX], full[PROGRESS_LINE_MAX], more[PROGRESS_LINE_MAX];

    (void)state;
    assert_string_equal(progress_bar(none, "resize", 0),
                        "resize [........................................]   0 %");
    assert_string_equal(progress_bar(full, "resize", 100),
                        progress_bar(more, "resize", 4000000000u));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_is_a_line_over_the_last_one),
        cmocka_unit_test(a_shorter_line_covers_a_longer_one),
        cmocka_unit_test(signals_of_others_draw_nothing),
        cmocka_unit_test(a_bar_is_full_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
