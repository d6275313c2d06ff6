/* SPDX-License-Identifier: BSD-3-Clause */
/* A QEMU that a guest has taken over: the input is what it writes on its control socket,
 * after one byte that says in how large pieces it arrives. */
#include <stdlib.h>
#include <string.h>

#include "hypervisor/qemu/qmp_reader.h"
#include "tests/fuzz/fuzz.h"

static int
take_all(struct qmp_reader *reader)
{
    struct qmp_message m;
    int r;

    while ((r = qmp_reader_next(reader, &m, NULL)) > 0) {
        /* What is there must be readable. */
        if ((m.name && strlen(m.name) == SIZE_MAX) || !m.json)
            abort();
        qmp_message_done(&m);
    }
    if (r == 0 && reader->buf.len > QMP_LINE_MAX)
        abort(); /* grows without bound */
    return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qmp_reader reader = {0};
    size_t step = size > 0 ? (size_t)data[0] + 1 : 1;
    int r = 0;

    for (size_t at = 1; at < size && r == 0; at += step) {
        size_t len = size - at < step ? size - at : step;

        r = qmp_reader_feed(&reader, data + at, len, NULL);
        if (r == 0)
            r = take_all(&reader);
    }
    qmp_reader_done(&reader);
    return 0;
}
