/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/op.h"
#include "tests/unit/test.h"

#define MANY 200

static struct disk_op ops[MANY];

static struct disk_op *
op_make(struct disk_op_table *table, int n, const char *owner)
{
    struct disk_op *op = &ops[n];

    memset(op, 0, sizeof(*op));
    (void)snprintf(op->uuid, sizeof(op->uuid), "uuid-%d", n);
    (void)snprintf(op->id.owner, sizeof(op->id.owner), "%s", owner);
    (void)snprintf(op->id.name, sizeof(op->id.name), "vm%d", n);
    op->kind = DISK_OP_EXPORT;
    disk_op_begin(table, op);
    return op;
}

static void
one_operation_works_on_an_image(void **state)
{
    struct disk_op_table table;
    struct vmt_err err;
    struct disk_op *op;
    struct vm_id other;

    (void)state;
    disk_op_table_init(&table);
    op = op_make(&table, 0, "aa");
    assert_int_equal(disk_op_may_begin(&table, &op->id, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "an export"));
    other = op->id;
    other.name[0] = 'x';
    assert_int_equal(disk_op_may_begin(&table, &other, &err), 0);
    assert_ptr_equal(disk_op_find_running(&table, "aa", "vm0"), op);
    disk_op_end(op, DISK_RESULT_OK, 5);
    assert_null(disk_op_find_running(&table, "aa", "vm0"));
    assert_int_equal(disk_op_may_begin(&table, &op->id, &err), 0);
    assert_ptr_equal(disk_op_find(&table, "uuid-0"), op);
    assert_null(disk_op_find(&table, "uuid-1"));
}

static void
an_owner_has_a_share_of_the_host(void **state)
{
    struct disk_op_table table;
    struct vm_id id = {"aa", "more"}, other = {"bb", "more"};
    struct vmt_err err;

    (void)state;
    disk_op_table_init(&table);
    for (int i = 0; i < DISK_OPS_RUNNING_PER_OWNER_MAX; i++)
        (void)op_make(&table, i, "aa");
    assert_int_equal(disk_op_may_begin(&table, &id, &err), -EAGAIN);
    assert_int_equal(disk_op_may_begin(&table, &other, &err), 0);
}

static void
progress_never_falls_and_ends_at_100(void **state)
{
    struct disk_op_table table;
    struct disk_op *op;

    (void)state;
    disk_op_table_init(&table);
    op = op_make(&table, 0, "aa");
    disk_op_advance(op, 40);
    disk_op_advance(op, 30);
    assert_int_equal(op->progress, 40);
    disk_op_advance(op, 1000);
    assert_int_equal(op->progress, 99);
    disk_op_end(op, DISK_RESULT_FAILED, 1);
    assert_int_equal(op->progress, 100);
    disk_op_advance(op, 3);
    assert_int_equal(op->progress, 100);
}

static void
signals_come_first_then_each_second_and_last(void **state)
{
    struct disk_op_table table;
    struct disk_op *op;

    (void)state;
    disk_op_table_init(&table);
    op = op_make(&table, 0, "aa");
    assert_true(disk_op_wants_signal(op, 0)); /* also at the very begin of time */
    assert_false(disk_op_wants_signal(op, 999));
    assert_true(disk_op_wants_signal(op, 1000));
    assert_false(disk_op_wants_signal(op, 1001));
    disk_op_end(op, DISK_RESULT_OK, 1002);
    assert_true(disk_op_wants_signal(op, 1002));
    op = op_make(&table, 1, "aa");
    op->secret = true;
    assert_false(disk_op_wants_signal(op, 0));
}

static void
what_nobody_asks_for_is_forgotten(void **state)
{
    struct disk_op_table table;
    struct disk_op *op;

    (void)state;
    disk_op_table_init(&table);
    op = op_make(&table, 0, "aa");
    assert_null(disk_op_find_expired(&table, UINT64_MAX));
    assert_false(disk_op_has_ended(&table));
    disk_op_end(op, DISK_RESULT_OK, 100);
    assert_true(disk_op_has_ended(&table));
    assert_null(disk_op_find_expired(&table, 100 + DISK_OP_KEEP_MS - 1));
    assert_ptr_equal(disk_op_find_expired(&table, 100 + DISK_OP_KEEP_MS), op);
    op->cancelled = true;
    assert_ptr_equal(disk_op_find_expired(&table, 100), op);
    vmt_list_remove(&op->node);
    for (int i = 0; i <= DISK_OPS_KEPT_PER_OWNER_MAX; i++)
        disk_op_end(op_make(&table, i, "aa"), DISK_RESULT_OK, 100);
    assert_ptr_equal(disk_op_find_expired(&table, 100), &ops[0]); /* the oldest */
    vmt_list_remove(&ops[0].node);
    assert_null(disk_op_find_expired(&table, 100));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_operation_works_on_an_image),
        cmocka_unit_test(an_owner_has_a_share_of_the_host),
        cmocka_unit_test(progress_never_falls_and_ends_at_100),
        cmocka_unit_test(signals_come_first_then_each_second_and_last),
        cmocka_unit_test(what_nobody_asks_for_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
