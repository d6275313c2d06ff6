# SPDX-License-Identifier: BSD-3-Clause
# C code of .proto files: what protobuf-c makes of them, and each file as server reflection gives
# it out (proto/file.h). The generated code goes to the build tree; nobody edits or commits it.
find_program(VMT_PROTOC protoc REQUIRED)
find_program(VMT_PROTOC_C protoc-gen-c REQUIRED)
find_path(VMT_PROTOBUF_INCLUDE google/protobuf/timestamp.proto REQUIRED)

# vmt_add_proto(vmt_proto FILES a.proto b/c.proto SYSTEM google/protobuf/timestamp.proto)
# makes a library of FILES, which stand in the current folder, and of SYSTEM, which come with
# protoc; LINK are such libraries that FILES import from.
function(vmt_add_proto name)
    cmake_parse_arguments(arg "" "" "FILES;SYSTEM;LINK" ${ARGN})
    set(gen ${CMAKE_CURRENT_BINARY_DIR})
    set(embed ${CMAKE_SOURCE_DIR}/proto/embed.cmake)
    set(protoc ${VMT_PROTOC} -I ${CMAKE_CURRENT_SOURCE_DIR} -I ${VMT_PROTOBUF_INCLUDE})
    list(TRANSFORM arg_FILES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE inputs)
    set(sources)
    foreach(file ${arg_FILES} ${arg_SYSTEM})
        string(REGEX REPLACE "\\.proto$" "" base ${file})
        list(APPEND sources ${gen}/${base}.pb-c.c ${gen}/${base}.pb-c.h)
    endforeach()
    add_custom_command(
        OUTPUT ${sources}
        COMMAND ${protoc} --c_out=${gen} ${arg_FILES} ${arg_SYSTEM}
        DEPENDS ${inputs}
        COMMENT "Generating protobuf-c code of ${name}"
        VERBATIM)
    foreach(file ${arg_FILES} ${arg_SYSTEM})
        string(REGEX REPLACE "\\.proto$" "" base ${file})
        set(source ${VMT_PROTOBUF_INCLUDE}/${file})
        if(file IN_LIST arg_FILES)
            set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
        endif()
        # Types of an imported file stand in the result with their full names.
        add_custom_command(
            OUTPUT ${gen}/${base}.file.c ${gen}/${base}.file.h
            COMMAND ${protoc} --descriptor_set_out=${gen}/${base}.set ${file}
            COMMAND ${CMAKE_COMMAND} -DNAME=${file} -DSOURCE=${source} -DSET=${gen}/${base}.set
                    -DOUTPUT=${gen}/${base} -P ${embed}
            DEPENDS ${inputs} ${embed} ${gen}/${base}.pb-c.h
            COMMENT "Embedding ${file}"
            VERBATIM)
        list(APPEND sources ${gen}/${base}.file.c ${gen}/${base}.file.h)
    endforeach()
    add_library(${name} STATIC ${sources})
    target_include_directories(${name} SYSTEM PUBLIC ${gen})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC PkgConfig::protobufc ${arg_LINK})
endfunction()
