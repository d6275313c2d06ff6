#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every man page is accepted by scdoc, and names the program that it is about.
set -euo pipefail
command -v scdoc >/dev/null || { echo "scdoc is not installed"; exit 77; }
n=0
for page in docs/man/*.scd; do
    scdoc <"$page" >/dev/null
    name=${page##*/}
    name=${name%%.*}
    grep -q "$name" "$page"
    n=$((n + 1))
done
echo "$n pages"
((n > 0))
