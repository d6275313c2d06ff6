# SPDX-License-Identifier: BSD-3-Clause
# One static library per room. vmt_add_room(core_rpc SOURCES a.c b.c LINK vmt::base PRIVATE_LINK ...)
# makes the library vmt_core_rpc with the alias vmt::core_rpc. LINK is what the room's headers
# need, PRIVATE_LINK what only its sources need.
function(vmt_add_room name)
    cmake_parse_arguments(arg "PLATFORM" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
    add_library(vmt_${name} STATIC ${arg_SOURCES})
    add_library(vmt::${name} ALIAS vmt_${name})
    target_link_libraries(vmt_${name} PUBLIC ${arg_LINK} PRIVATE vmt::flags ${arg_PRIVATE_LINK})
    target_include_directories(vmt_${name} PUBLIC ${CMAKE_SOURCE_DIR})
    vmt_platform(vmt_${name} "${arg_PLATFORM}")
endfunction()

# One program per main.c. STATIC_IN_GUEST: linked statically when VMT_STATIC is set, and only then
# installed: it goes into images, to run before any library is there. vmc image build looks for it
# in lib/vm_tools.
function(vmt_add_program name)
    cmake_parse_arguments(arg "PLATFORM;STATIC_IN_GUEST" "" "SOURCES;PRIVATE_LINK" ${ARGN})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE vmt::flags ${arg_PRIVATE_LINK})
    vmt_platform(${name} "${arg_PLATFORM}")
    if(arg_STATIC_IN_GUEST AND VMT_STATIC)
        target_link_options(${name} PRIVATE -static)
        install(TARGETS ${name} RUNTIME DESTINATION lib/vm_tools COMPONENT guest)
    else()
        set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
        target_link_options(${name} PRIVATE -pie)
    endif()
endfunction()

# _GNU_SOURCE belongs to the platform rooms (and base, which uses vasprintf); core stays
# within POSIX.
function(vmt_platform target is_platform)
    if(is_platform)
        target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
    else()
        target_compile_definitions(${target} PRIVATE _POSIX_C_SOURCE=200809L)
    endif()
endfunction()

# One unit test binary per source file: vmt_add_unit(core_rpc_client SOURCES test_client.c LINK ...).
function(vmt_add_unit name)
    cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINK" ${ARGN})
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 60)
    endif()
    add_executable(unit_${name} ${arg_SOURCES})
    target_link_libraries(unit_${name} PRIVATE vmt::flags PkgConfig::cmocka ${arg_LINK})
    target_compile_definitions(unit_${name} PRIVATE _GNU_SOURCE)
    add_test(NAME unit/${name} COMMAND unit_${name})
    set_tests_properties(unit/${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()

# Add rooms below this folder.
function(vmt_add_rooms)
    foreach(room ${ARGN})
        add_subdirectory(${room})
    endforeach()
endfunction()
