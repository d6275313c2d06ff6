# SPDX-License-Identifier: BSD-3-Clause
# Outside libraries, all from Debian 12, each with the reason why it is here.
find_package(PkgConfig REQUIRED)

# With VMT_STATIC the guest programs take the libraries' static archives; pkg-config's plain
# output already names all that they need. CMake looks every library up by its full path.
if(VMT_STATIC)
    set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
endif()
function(vmt_dep name module reason)
    pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
    message(STATUS "${module} ${${name}_VERSION}: ${reason}")
endfunction()

vmt_dep(protobufc libprotobuf-c "every message of the wire")
vmt_dep(nghttp2 libnghttp2 "HTTP/2 below gRPC, in core/rpc only")
vmt_dep(zlib zlib "gzip messages of gRPC, in core/rpc only")
vmt_dep(event libevent_core "the event loop of every daemon, in platform/linux/os")
if(VMT_HOST)
    vmt_dep(jansson jansson "QMP, image manifests, --json")
    vmt_dep(crypto libcrypto "SHA-256 of images, random identifiers")
    vmt_dep(ssl libssl "TLS 1.3 for the remote interface, in platform/linux/tls only")
    vmt_dep(archive libarchive "initramfs (cpio) and root file system archives")
    vmt_dep(lzma liblzma "Debian's bzImage is xz inside")
    vmt_dep(elf libelf "the PVH note of a kernel")
    vmt_dep(kmod libkmod "modules.dep: what to load before what")
endif()
if(VMT_DBUS AND VMT_HOST)
    vmt_dep(dbus dbus-1 "the original's bus interface, in platform/linux/dbus only")
endif()
if(VMT_TESTS)
    vmt_dep(cmocka cmocka "unit tests")
endif()
