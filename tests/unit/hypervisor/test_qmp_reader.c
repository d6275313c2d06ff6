/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/qmp_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/unit/test.h"

/* As QEMU 7.2.22 sent it. */
static const char session[] =
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "
    "\"package\": \"Debian\"}, \"capabilities\": [\"oob\"]}}\r\n"
    "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"STOP\"}\r\n"
    "\r\n"
    "{\"return\": {}, \"id\": 1}\r\n"
    "{\"id\": 2, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no x\"}}\r\n"
    "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"SHUTDOWN\", "
    "\"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\r\n"
    "{\"something\": \"new\"}\n";

static const enum qmp_kind kinds[] = {QMP_KIND_GREETING, QMP_KIND_EVENT, QMP_KIND_REPLY,
                                      QMP_KIND_ERROR,    QMP_KIND_EVENT, QMP_KIND_OTHER};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Take all messages that are there and compare them with kinds from *at on. */
static void
take_messages(struct qmp_reader *reader, size_t *at)
{
    struct qmp_message m;

    while (qmp_reader_next(reader, &m, NULL) == 1) {
        assert_true(*at < NKINDS);
        assert_int_equal(m.kind, kinds[*at]);
        if (m.kind == QMP_KIND_REPLY)
            assert_int_equal(m.id, 1);
        if (m.kind == QMP_KIND_ERROR) {
            assert_int_equal(m.id, 2);
            assert_string_equal(m.name, "CommandNotFound");
            assert_string_equal(m.text, "no x");
        }
        if (*at == 4) {
            assert_string_equal(m.name, "SHUTDOWN");
            assert_string_equal(json_string_value(json_object_get(m.data, "reason")),
                                "guest-reset");
        }
        qmp_message_done(&m);
        ++*at;
    }
}

static void
a_session_reads_the_same_cut_at_each_byte(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof(session); cut++) {
        struct qmp_reader reader = {0};
        size_t at = 0;

        assert_int_equal(qmp_reader_feed(&reader, session, cut, NULL), 0);
        take_messages(&reader, &at);
        assert_int_equal(
            qmp_reader_feed(&reader, session + cut, sizeof(session) - 1 - cut, NULL), 0);
        take_messages(&reader, &at);
        assert_int_equal(at, NKINDS);
        qmp_reader_done(&reader);
    }
}

static void
a_session_reads_the_same_one_byte_at_a_time(void **state)
{
    struct qmp_reader reader = {0};
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(session) - 1; i++) {
        assert_int_equal(qmp_reader_feed(&reader, session + i, 1, NULL), 0);
        take_messages(&reader, &at);
    }
    assert_int_equal(at, NKINDS);
    qmp_reader_done(&reader);
}

/* QEMU's balloon, for what a guest does not report. */
static void
numbers_of_64_bits_are_no_garbage(void **state)
{
    static const char line[] =
        "{\"return\":{\"a\":18446744073709551615,\"b\":4096},\"id\":7}\n";
    struct qmp_reader reader = {0};
    struct qmp_message m;

    (void)state;
    assert_int_equal(qmp_reader_feed(&reader, line, strlen(line), NULL), 0);
    assert_int_equal(qmp_reader_next(&reader, &m, NULL), 1);
    assert_int_equal(m.kind, QMP_KIND_REPLY);
    assert_int_equal(m.id, 7);
    assert_true(json_number_value(json_object_get(m.data, "a")) > 9.3e18);
    assert_true(json_number_value(json_object_get(m.data, "b")) == 4096.0);
    qmp_message_done(&m);
    qmp_reader_done(&reader);
}

static void
garbage_is_a_protocol_error(void **state)
{
    static const char *const lines[] = {
        "hello\r\n",
        "[1]\r\n",
        "{\"a\":\r\n",
        "{} {}\r\n",
        "\"x\"\n",
        "{\"a\":\"\\u0000\"}\n",
        "{\"id\":1,\"id\":2}\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct qmp_reader reader = {0};
        struct qmp_message m;
        struct vmt_err err = {0};

        assert_int_equal(qmp_reader_feed(&reader, lines[i], strlen(lines[i]), NULL), 0);
        assert_int_equal(qmp_reader_next(&reader, &m, &err), -EPROTO);
        assert_int_equal(err.code, EPROTO);
        qmp_reader_done(&reader);
    }
}

static void
members_of_the_wrong_type_mean_nothing(void **state)
{
    static const char *const lines[] = {
        "{\"event\":1}\n",
        "{\"error\":\"x\"}\n",
        "{\"QMP\":1}\n",
        "{}\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct qmp_reader reader = {0};
        struct qmp_message m;

        assert_int_equal(qmp_reader_feed(&reader, lines[i], strlen(lines[i]), NULL), 0);
        assert_int_equal(qmp_reader_next(&reader, &m, NULL), 1);
        assert_int_equal(m.kind, QMP_KIND_OTHER);
        qmp_message_done(&m);
        qmp_reader_done(&reader);
    }
}

static void
a_line_without_end_is_refused_at_the_cap(void **state)
{
    struct qmp_reader reader = {0};
    struct qmp_message m;
    struct vmt_err err = {0};
    char chunk[4096];
    int r = 0;

    (void)state;
    memset(chunk, ' ', sizeof(chunk));
    for (size_t fed = 0; fed < QMP_LINE_MAX; fed += sizeof(chunk)) {
        r = qmp_reader_feed(&reader, chunk, sizeof(chunk), &err);
        assert_int_equal(r, 0);
        assert_int_equal(qmp_reader_next(&reader, &m, &err), 0);
    }
    assert_int_equal(qmp_reader_feed(&reader, chunk, 1, &err), -EMSGSIZE);
    assert_int_equal(err.code, EMSGSIZE);
    qmp_reader_done(&reader);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_reads_the_same_cut_at_each_byte),
        cmocka_unit_test(a_session_reads_the_same_one_byte_at_a_time),
        cmocka_unit_test(numbers_of_64_bits_are_no_garbage),
        cmocka_unit_test(garbage_is_a_protocol_error),
        cmocka_unit_test(members_of_the_wrong_type_mean_nothing),
        cmocka_unit_test(a_line_without_end_is_refused_at_the_cap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
