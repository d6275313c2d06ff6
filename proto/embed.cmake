# SPDX-License-Identifier: BSD-3-Clause
# cmake -DNAME=a/b.proto -DSOURCE=... -DSET=... -DOUTPUT=... -P embed.cmake
#
# Write OUTPUT.file.c and OUTPUT.file.h, see proto/file.h. SET is what protoc made of NAME alone
# with --descriptor_set_out, SOURCE the .proto file itself: its imports name what to link.
function(proto_symbol name ret_symbol)
    string(REGEX REPLACE "\\.proto$" "" symbol ${name})
    string(REGEX REPLACE "[^A-Za-z0-9]" "_" symbol ${symbol})
    set(${ret_symbol} proto_file_${symbol} PARENT_SCOPE)
endfunction()

# A set of one file is the tag 0x0a, the length of the file as a varint, and the file.
file(READ ${SET} hex HEX)
if(NOT hex MATCHES "^0a([89a-f][0-9a-f])*[0-7][0-9a-f]")
    message(FATAL_ERROR "${SET} is no set of files")
endif()
string(LENGTH "${CMAKE_MATCH_0}" start)
string(SUBSTRING "${hex}" ${start} -1 hex)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REPEAT "....." 16 line)
string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")

file(STRINGS ${SOURCE} imports REGEX "^import .*\"[^\"]+\";")
foreach(import ${imports})
    string(REGEX REPLACE ".*\"([^\"]+)\".*" "\\1" import "${import}")
    string(REGEX REPLACE "\\.proto$" ".file.h" header ${import})
    proto_symbol(${import} symbol)
    string(APPEND includes "#include \"${header}\"\n")
    string(APPEND list "&${symbol}, ")
endforeach()

proto_symbol(${NAME} symbol)
string(REGEX REPLACE "\\.proto$" ".file.h" header ${NAME})
file(WRITE ${OUTPUT}.file.h "#pragma once
#include \"proto/file.h\"
extern const struct proto_file ${symbol};
")
file(WRITE ${OUTPUT}.file.c "#include \"${header}\"
${includes}
static const uint8_t bytes[] = {
${bytes}
};
static const struct proto_file *const imports[] = {${list}NULL};
const struct proto_file ${symbol} = {\"${NAME}\", bytes, sizeof(bytes), imports};
")
