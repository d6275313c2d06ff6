/* SPDX-License-Identifier: BSD-3-Clause */
/* core/base/limits.h - every cap that a peer can run into, with its reason. */
#pragma once

/* gRPC's own default for a received message. */
#define VMT_RPC_MESSAGE_MAX (4u * 1024 * 1024)

/* The newest of a VM's console that one answer holds: spec of GetVmLogs. It fits in a
 * message of a system bus, 32 MiB: dbus-daemon(1), max_message_size. */
#define VMT_VM_LOGS_MAX (30u * 1024 * 1024)

/* Bytes that a stream may queue for a slow reader before its source is paused; 256 KiB
 * hides a scheduling delay of milliseconds at full speed and bounds what a hostile peer
 * can hold. */
#define VMT_STREAM_HIGH_MARK (256u * 1024)
#define VMT_STREAM_LOW_MARK (64u * 1024)

/* Bytes of the name that a certificate gives its owner: the most that a SPIFFE ID has.
 * Source: spiffe/spiffe, standards/SPIFFE-ID.md, 2.3 "Maximum SPIFFE ID Length". */
#define VMT_IDENTITY_MAX 2048

/* File descriptors that may wait on one connection for the message that claims them: the
 * largest message of the original takes 6. */
#define VMT_FDS_MAX 16

/* StartVm's own limit on a name, spec: socket path budget of the original. */
#define VMT_VM_NAME_MAX 60

/* Ports with a meaning; source: platform2 vm_tools, constants of each daemon. */
#define VMT_PORT_STARTUP_LISTENER 7777
#define VMT_PORT_CRASH_LISTENER 7779
#define VMT_PORT_MAITRED 8888
#define VMT_PORT_VSHD 9001
#define VMT_PORT_LOG_COLLECTOR 9999

/* vsock(7): 0 and 1 are reserved (hypervisor, loopback), 2 is the host, UINT32_MAX is
 * "any". 3 to 31 are kept for static VMs by the original. */
#define VMT_CID_HOST 2u
#define VMT_CID_GUEST_MIN 3u
#define VMT_CID_FIRST 32u
