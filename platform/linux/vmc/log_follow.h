/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/log_follow.h - what is new in a log that is read again and again. */
#pragma once

/* The part of now that stands behind what before ended with, inside now. A log that grew
 * too long lost its begin meanwhile: then the end of before is looked for in now. All of
 * now when nothing of it is known, as after a new start of the VM. */
const char *log_follow_new(const char *before, const char *now);
