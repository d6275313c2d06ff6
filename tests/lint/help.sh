#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# help.sh FOLDER PROGRAM...: the options that each program's --help explains are those that its
# man page explains.
set -euo pipefail
bin=$1
shift
option='--(\[no\])?[a-z][a-z_-]*'

# vmc explains the options of each command with that command.
help_text()
{
    local command

    "$bin/$1" --help
    [ "$1" = vmc ] || return 0
    "$bin/vmc" help | sed -nE 's/^  ([a-z][a-z-]*) .*/\1/p' | while read -r command; do
        "$bin/vmc" help "$command"
    done
}

# An option is explained where a line begins with it, up to the first two spaces, or named in a
# usage line. Other mentions may be of other programs' options.
help_options()
{
    help_text "$1" |
        awk '/^[Uu]sage:/ { print } /^ +--/ { sub(/^ +/, ""); sub(/  .*/, ""); print }' |
        grep -oE -e "$option" | sort -u
}

man_options()
{
    sed -nE 's/\\//g; /^\*--/p' "$1" | grep -oE -e "$option" | sort -u
}

status=0
for program; do
    pages=(docs/man/"$program".[18].scd)
    if [ ! -f "${pages[0]}" ]; then
        echo "$program has no man page"
        status=1
        continue
    fi
    help_options "$program" | grep -qxe --help || { echo "$program has no --help" && status=1; }
    diff=$(diff <(help_options "$program") <(man_options "${pages[0]}")) && continue
    printf '%s\n' "$program: <: only in --help, >: only in ${pages[0]}" "$diff"
    status=1
done
(($#)) || status=1
exit "$status"
