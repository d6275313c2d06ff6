# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by ./run and ./test: one line per step on stderr, with the time it took.

die()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# step TEXT COMMAND...: run COMMAND with its output kept aside; show its end when it fails. It runs
# in a shell of its own, so that its die() ends up here, too.
step()
{
    local text=$1 log begin r
    shift
    log=$(mktemp)
    begin=$(date +%s%N)
    printf '  %-34s ' "$text" >&2
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1 </dev/null
    r=$?
    set -e
    if ((r)); then
        printf 'failed\n' >&2
        tail -n 40 "$log" >&2
        rm -f "$log"
        exit 1
    fi
    printf '%s\n' "$(since "$begin")" >&2
    rm -f "$log"
}

# since NANOSECONDS: "1.2 s" from then to now.
since()
{
    local ms=$((($(date +%s%N) - $1) / 1000000))
    printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# need_space PATH MIB REMEDY: PATH need not be there yet.
need_space()
{
    local path=$1 free
    while [ ! -e "$path" ]; do
        path=$(dirname "$path")
    done
    free=$(df -Pm "$path" | awk 'NR == 2 { print $4 }')
    ((free >= $2)) || die "$1 has $free MiB free and $2 MiB are needed: make room, or $3"
}

# need_all_space MIB: that much for the build; and what packages and image take, unless they are
# there.
need_all_space()
{
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/vm_tools
    local image=${XDG_DATA_HOME:-$HOME/.local/share}/vm_tools/images/debian

    need_space "$top" "$1" "move this folder to another disk"
    [ -d "$cache" ] || need_space "$cache" 600 "set XDG_CACHE_HOME to a folder on another disk"
    [ -d "$image" ] || need_space "$image" 150 "set XDG_DATA_HOME to a folder on another disk"
}

# build_preset PRESET [TARGET...]: configure once, then build.
build_preset()
{
    local preset=$1 launcher=()
    shift
    if command -v ccache >/dev/null; then
        launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    fi
    if [ "$preset" = guest ]; then
        "$top/tools/kmod.sh"
    fi
    [ -f "$top/build/$preset/build.ninja" ] ||
        (cd "$top" && cmake --preset "$preset" "${launcher[@]}")
    cmake --build "$top/build/$preset" "${@/#/--target=}"
}
