#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Fetch Debian's source of libkmod into the cache, once: the static programs of the guest are built
# with it, see cmake/kmod.cmake. Run by tools/steps.sh, or by hand.

set -eu

# kmod_fetch URI TO SUM: by apt's own means, so that its proxies and keys of the archive count.
kmod_fetch()
{
    /usr/lib/apt/apt-helper -q download-file "$1" "$2" "SHA256:$3"
}

kmod_source()
{
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/vm_tools/kmod version=30+20221128
    local sum=00bc9ae4f1f9e1bbc1266d838452865bc7c24271d0853939edbe3029ad22af4e
    local name=kmod_30%2b20221128.orig.tar.xz
    local new uri pool=https://deb.debian.org/debian/pool/main/k/kmod
    if [ -f "$cache/kmod-$version/libkmod/libkmod.c" ]; then
        return
    fi
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/new.XXXXXX")
    # The source lies beside the package, on the mirror that apt is set to.
    uri=$(apt-get --print-uris download libkmod-dev 2>"$new/error" | sed -n "s/^'\([^']*\)'.*/\1/p")
    kmod_fetch "${uri%/*}/$name" "$new/tar.xz" "$sum" || kmod_fetch "$pool/$name" "$new/tar.xz" "$sum" || {
        rm -rf "$new"
        echo "libkmod's source cannot be fetched: is there a network? try \`apt update\`" >&2
        return 1
    }
    tar -C "$new" -xf "$new/tar.xz"
    # Another build may have been faster.
    mv -T "$new/kmod-$version" "$cache/kmod-$version" 2>/dev/null || true
    rm -rf "$new"
    [ -f "$cache/kmod-$version/libkmod/libkmod.c" ]
}

kmod_source
