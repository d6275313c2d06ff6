# SPDX-License-Identifier: BSD-3-Clause
# Compiler and linker flags of every target of ours, on one interface target.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# Assertions stay in every build; CMake would switch them off.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_MINSIZEREL "-Os")

add_library(vmt_flags INTERFACE)
add_library(vmt::flags ALIAS vmt_flags)
target_compile_options(vmt_flags INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
    -Wconversion -Wno-sign-conversion -fstack-protector-strong
    # Messages and debug information speak of the tree, not of where it was checked out.
    -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
# Clang also warns where protobuf-c's initializers, macros of its headers, cast text constants.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(vmt_flags INTERFACE -Wcast-qual)
endif()
target_include_directories(vmt_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_link_options(vmt_flags INTERFACE -Wl,-z,relro,-z,now)
if(VMT_WERROR)
    target_compile_options(vmt_flags INTERFACE -Werror)
endif()
if(VMT_SANITIZE)
    target_compile_options(vmt_flags INTERFACE
        -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    target_link_options(vmt_flags INTERFACE -fsanitize=address,undefined)
endif()
