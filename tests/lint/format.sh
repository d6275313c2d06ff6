#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# .clang-format decides the layout.
set -euo pipefail
command -v clang-format >/dev/null || { echo "clang-format is not installed"; exit 77; }
git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror
