# SPDX-License-Identifier: BSD-3-Clause
# libkmod for the guest programs: what modprobe knows about modules, in platform/guest/maitred. PID 1
# is static, and Debian has libkmod as a shared library only, so with VMT_STATIC it is built from
# Debian's source of it, which tools/kmod.sh fetches and unpacks. It is LGPL 2.1: the objects of
# maitred can be linked with another build of it, see docs/development.md.
add_library(vmt_kmod INTERFACE)
add_library(vmt::kmod ALIAS vmt_kmod)
if(NOT VMT_STATIC)
    if(NOT TARGET PkgConfig::kmod)
        vmt_dep(kmod libkmod "modules of the root")
    endif()
    target_link_libraries(vmt_kmod INTERFACE PkgConfig::kmod)
    return()
endif()

set(kmod_cache "$ENV{XDG_CACHE_HOME}")
if(NOT kmod_cache)
    set(kmod_cache "$ENV{HOME}/.cache")
endif()
set(VMT_KMOD_SOURCE "${kmod_cache}/vm_tools/kmod/kmod-30+20221128" CACHE PATH
    "Unpacked source of libkmod for the static guest programs")
if(NOT EXISTS "${VMT_KMOD_SOURCE}/libkmod/libkmod.c")
    message(FATAL_ERROR "The source of libkmod is not in ${VMT_KMOD_SOURCE}: run tools/kmod.sh, "
                        "or give its place as -DVMT_KMOD_SOURCE")
endif()
file(GLOB kmod_sources CONFIGURE_DEPENDS "${VMT_KMOD_SOURCE}/libkmod/libkmod*.c"
     "${VMT_KMOD_SOURCE}/shared/*.c")
# What its configure would find on Linux with glibc. Without compression: Debian's modules are plain
# files.
file(WRITE "${CMAKE_BINARY_DIR}/kmod/config.h" [[
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#define SYSCONFDIR "/etc"
#define ROOTPREFIX ""
#define HAVE_SECURE_GETENV 1
#define HAVE_STATIC_ASSERT 1
#define HAVE_NORETURN 1
#define HAVE_DECL_STRNDUPA 1
#define HAVE_DECL_BE32TOH 1
#define HAVE___BUILTIN_CLZ 1
#define HAVE___BUILTIN_TYPES_COMPATIBLE_P 1
#define HAVE___BUILTIN_UADDL_OVERFLOW 1
#define HAVE___BUILTIN_UADDLL_OVERFLOW 1
#define KMOD_FEATURES ""
]])
add_library(vmt_kmod_static STATIC ${kmod_sources})
# Warnings of code that is not ours are not ours to heed.
target_compile_options(vmt_kmod_static PRIVATE -w -ffunction-sections -include
                                               "${CMAKE_BINARY_DIR}/kmod/config.h")
target_include_directories(vmt_kmod_static PRIVATE "${VMT_KMOD_SOURCE}")
target_include_directories(vmt_kmod INTERFACE "${VMT_KMOD_SOURCE}/libkmod")
target_link_libraries(vmt_kmod INTERFACE vmt_kmod_static)
