#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every shell script of the tree, by its first line.
set -euo pipefail
command -v shellcheck >/dev/null || { echo "shellcheck is not installed"; exit 77; }
git ls-files | while read -r f; do
    [ -f "$f" ] || continue
    if head -n 1 "$f" | grep -qE '^#!.*\b(ba)?sh$'; then printf '%s\n' "$f"; fi
done | xargs shellcheck -x
