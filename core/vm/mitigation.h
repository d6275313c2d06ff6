/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/mitigation.h - may VMs run on processors with these defects? */
#pragma once

#include <stdbool.h>

/* l1tf and mds are the texts of the kernel's files of these names, NULL: there is none,
 * which is so on processors of other makes. Pure. Returns whether guests are kept apart
 * from each other and from the host; else *ret_why, a literal, says what is not.
 *
 * Accepted: "Not affected"; for l1tf also "Mitigation: PTE Inversion" whose field VMX, if
 * it is there, begins with "cache flushes" or "flush not necessary"; for mds also
 * "Mitigation: Clear CPU buffers". "SMT vulnerable" is tolerated in both: guests see no
 * SMT. Words that are not known, and more fields than these, count as vulnerable.
 * Source: specification of GetVmLaunchAllowed; Linux Documentation/admin-guide/hw-vuln.
 */
bool vm_mitigation_check(const char *l1tf, const char *mds, const char **ret_why);
