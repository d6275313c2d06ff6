/* SPDX-License-Identifier: BSD-3-Clause */
/* spec 17, row 30 */
#include "core/vm/mitigation.h"

#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

#define SAFE "Not affected\n"

static void
texts_of_the_kernel_are_judged(void **state)
{
    static const struct {
        const char *l1tf, *mds;
        bool ok;
    } rows[] = {
        {NULL, NULL, true}, /* no such defect on this make */
        {SAFE, SAFE, true},
        {"Mitigation: PTE Inversion\n", SAFE, true},
        {"Mitigation: PTE Inversion; VMX: cache flushes, SMT vulnerable\n", SAFE, true},
        {"Mitigation: PTE Inversion; VMX: cache flushes, SMT disabled\n", SAFE, true},
        {"Mitigation: PTE Inversion; VMX: flush not necessary\n", SAFE, true},
        {"Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable\n",
         SAFE, false},
        {"Mitigation: PTE Inversion; VMX: vulnerable, SMT vulnerable\n", SAFE, false},
        {"Mitigation: PTE Inversion; VMX: cache flushes, something new\n", SAFE, false},
        {"Mitigation: PTE Inversion; EPT: off\n", SAFE, false},
        {"Vulnerable\n", SAFE, false},
        {"", SAFE, false},
        {SAFE, "Mitigation: Clear CPU buffers\n", true},
        {SAFE, "Mitigation: Clear CPU buffers; SMT vulnerable\n", true},
        {SAFE, "Mitigation: Clear CPU buffers; SMT Host state unknown\n", true},
        {SAFE, "Mitigation: Clear CPU buffers; SMT vulnerable; more\n", false},
        {SAFE, "Vulnerable: Clear CPU buffers attempted, no microcode\n", false},
        {SAFE, "Vulnerable; SMT vulnerable\n", false},
        /* The original does not look at mds here. */
        {"Mitigation: PTE Inversion; VMX: cache flushes, SMT vulnerable\n",
         "Vulnerable\n", false},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        const char *why = NULL;

        if (vm_mitigation_check(rows[i].l1tf, rows[i].mds, &why) != rows[i].ok)
            fail_msg("row %zu", i);
        assert_int_equal(why == NULL, rows[i].ok);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_the_kernel_are_judged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
