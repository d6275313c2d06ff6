# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by ./run and ./test: install what packaging/packages lists. Needs $top and die().

# packages_missing SECTION...: print the packages of these sections that are not installed.
packages_missing()
{
    local want installed
    want=$(awk -v wanted=" $* " \
        '$1 !~ /^#/ && index(wanted, " " $1 " ") { print $2 }' "$top/packaging/packages" | sort)
    # shellcheck disable=SC2016 # dpkg-query's own fields
    installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null |
        awk '$1 == "ii" { print $2 }' | sort -u)
    comm -23 <(printf '%s\n' "$want") <(printf '%s\n' "$installed")
}

# packages_install SECTION...: install what is missing, with sudo when we are not root.
packages_install()
{
    local -a missing as_root=()
    local log

    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
        die "this is no Debian: install the packages that packaging/packages names" \
            "with your package manager, then build with cmake --preset release"
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "packages are missing and there is no sudo; as root, run:" \
                "apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get -q update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get -q install -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        die "apt-get could not install ${missing[*]}" \
            "(is there a network, and is this Debian 12?)"
    fi
    rm -f "$log"
}
