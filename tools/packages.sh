# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by ./run and ./test: install what packaging/packages lists. Needs $top and die().

# packages_listed SECTION...: print the packages of these sections, sorted.
packages_listed()
{
    awk -v wanted=" $* " 'NF && $1 !~ /^#/ && index(wanted, " " $1 " ") { print $2 }' \
        "$top/packaging/packages" | LC_ALL=C sort -u
}

# packages_missing SECTION...: print those of them that are not installed. One that the user holds
# back is installed, too.
packages_missing()
{
    local want installed
    want=$(packages_listed "$@") || return
    # shellcheck disable=SC2016 # dpkg-query's own fields
    installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' |
        awk '$1 ~ /^.i$/ { print $2 }' | LC_ALL=C sort -u) || return
    LC_ALL=C comm -23 <(echo "$want") <(echo "$installed")
}

# packages_install SECTION...: install what is missing, with sudo when we are not root.
packages_install()
{
    local -a missing as_root=()
    local list

    if ! { command -v apt-get && command -v dpkg-query; } >/dev/null; then
        die "this is no Debian: install what packaging/packages names with your package manager," \
            "then build with cmake --preset guest and cmake --preset release"
    fi
    list=$(packages_missing "$@") || die "cannot find out which packages are installed"
    [ -n "$list" ] || return 0
    mapfile -t missing <<<"$list"
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "packages are missing and there is no sudo; as root, run:" \
                "apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    # A new machine may be at its first updates: wait for their lock.
    if ! { "${as_root[@]}" apt-get -q update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y \
            --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"; }; then
        die "could not install ${missing[*]}" \
            "(are there rights and a network, and is this Debian 12?)"
    fi
}
