/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/host.h - what the VM daemon needs of its host beside processes, streams
 * and time. Cut by concern. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/spawn.h"

struct host;
struct vmt_err;

#define HOST_DNS_MAX 8
#define HOST_DNS_TEXT_MAX 256

/* Name servers and search domains of the host; each text NUL-terminated. */
struct host_dns {
    char servers[HOST_DNS_MAX][HOST_DNS_TEXT_MAX];
    size_t nservers;
    char domains[HOST_DNS_MAX][HOST_DNS_TEXT_MAX];
    size_t ndomains;
};

struct host_fact_ops {
    uint32_t (*cpus)(struct host *host);    /* online and ours to use, at least 1 */
    uint64_t (*mem_mib)(struct host *host); /* RAM that we may use */
    /* Fill buf with unpredictable bytes. Returns 0 or -errno. */
    int (*random)(struct host *host, void *buf, size_t len, struct vmt_err *err);
    /* IANA name of the host's time zone, "" when nothing names it. cap is at least 1. */
    void (*zone)(struct host *host, char *buf, size_t cap);
    /* What the kernel says of a defect of the processor ("l1tf", "mds"), a line. Returns
     * false when it says nothing. cap is at least 1. */
    bool (*vulnerability)(struct host *host, const char *name, char *buf, size_t cap);
    /* What the host's resolver uses; empty lists when that is not known. */
    void (*dns)(struct host *host, struct host_dns *ret_dns);
};

#define HOST_PLACE_MAX 512

/* Which file, and where it is. */
struct host_place {
    char path[HOST_PLACE_MAX]; /* absolute; "": it has no name, or a longer one */
    uint64_t device, inode;
};

struct host_file_ops {
    /* Open a disk image for a caller: absolute path, no symbolic link at its end, a
     * regular file or a block device, and the file of a caller who is neither root nor
     * ourselves. Returns 0 and a descriptor, or -EINVAL, -EACCES, -ELOOP, -errno. */
    int (*image_open)(struct host *host, const char *path, bool writable, uint32_t uid,
                      int *ret_fd, struct vmt_err *err);
    /* Open the folder of an image of a caller, by the same rules: beneath the descriptor
     * it stays the one that was looked at, whatever becomes of the path. Returns 0 or as
     * image_open. */
    int (*image_folder)(struct host *host, const char *path, uint32_t uid, int *ret_fd,
                        struct vmt_err *err);
    /* May a descriptor that a caller sent serve as an image? A pipe or socket would block
     * the hypervisor. Returns 0 and whether it is open for writing, or -EINVAL. */
    int (*image_check)(struct host *host, int fd, bool *ret_writable,
                       struct vmt_err *err);
    /* Open the file of a descriptor once more for reading only, because a hypervisor
     * looks at how a descriptor was opened. Returns 0 or -errno. */
    int (*image_reopen)(struct host *host, int fd, int *ret_fd, struct vmt_err *err);
    /* Where the file of a descriptor is now. */
    void (*image_place)(struct host *host, int fd, struct host_place *ret_place);
    void (*close)(struct host *host, int fd); /* below 0: nothing */
    /* A listening unix stream socket at path; what was there is replaced. */
    int (*listen)(struct host *host, const char *path, int *ret_fd, struct vmt_err *err);
    /* Make a directory of its own for one VM, 0700, with a name that no other has.
     * *ret_path is malloc'ed. */
    int (*dir_make)(struct host *host, char **ret_path, struct vmt_err *err);
    /* Remove a directory that dir_make made, with all in it. A missing one is success. */
    int (*dir_remove)(struct host *host, const char *path, struct vmt_err *err);
    /* Call fn with every directory that dir_make made; fn may remove it. */
    int (*dir_each)(struct host *host, void (*fn)(void *arg, const char *path), void *arg,
                    struct vmt_err *err);
    /* Processes of our own uid, but not ourselves, whose command line names path, which
     * must be a directory of dir_make, and begins an argument with mark (NULL: any).
     * Writes at most max. Returns how many. */
    size_t (*dir_users)(struct host *host, const char *path, const char *mark,
                        struct spawn_id *ids, size_t max);
};

/* Logs that another process writes to: console output, last words. A path below is
 * absolute; what was cut off by trim is kept beside it. */
#define HOST_LOGS_KEPT 5u

struct host_log_ops {
    /* Start the log anew: empty it, drop what was kept, and open it for appending. */
    int (*open)(struct host *host, const char *path, int *ret_fd, struct vmt_err *err);
    /* Bytes in the log now; 0 when there is none. */
    uint64_t (*size)(struct host *host, const char *path);
    /* The last bytes, at most max, across a cut. *ret_data is malloc'ed, NUL-terminated.
     * Returns 0, -ENOENT, -errno. */
    int (*tail)(struct host *host, const char *path, size_t max, char **ret_data,
                size_t *ret_len, struct vmt_err *err);
    /* When the log is longer than max, keep its last max bytes beside it, with those of
     * HOST_LOGS_KEPT - 1 times before, and empty it. Returns 1 when it was cut, 0, or
     * -errno. */
    int (*trim)(struct host *host, const char *path, uint64_t max, struct vmt_err *err);
};

/* Small records that survive the daemon, but not the host: name is a plain file name. */
struct host_store_ops {
    /* Replace a record; it is there whole or not at all. Returns 0 or -errno. */
    int (*save)(struct host *host, const char *name, const void *data, size_t len,
                struct vmt_err *err);
    /* Forget a record; a missing one is fine. */
    void (*remove)(struct host *host, const char *name);
    /* Read one record. *ret_data is malloc'ed. Returns 0, -ENOENT, -errno. */
    int (*load)(struct host *host, const char *name, void **ret_data, size_t *ret_len,
                struct vmt_err *err);
    /* Call fn with the name of every record; fn may save and remove. */
    int (*each)(struct host *host, void (*fn)(void *arg, const char *name), void *arg,
                struct vmt_err *err);
};

/* One thing in a directory of host_state_ops. */
struct host_state_entry {
    const char *name; /* plain file name */
    bool is_dir;
    uint64_t bytes;  /* of a file on the disk: holes take none */
    int64_t used_ms; /* when it was written or touched last, of the wall clock */
};

/* Saved states of VMs and what belongs to them. They survive the host, too. A path is
 * relative to one directory of the daemon: parts of letters, digits, '=', '-', '_' and
 * '.', none beginning with '.', joined by '/'; anything else is -EINVAL. */
struct host_state_ops {
    /* Which file a descriptor stands for, and as of which change of it, as one line of
     * printable text. Returns 0, or -ENOTSUP for what can change unseen: no regular file.
     */
    int (*identify)(struct host *host, int fd, char *buf, size_t cap,
                    struct vmt_err *err);
    /* The absolute path that a descriptor was opened by. Returns 0, or -ENOENT when the
     * file has none any more. */
    int (*path_of)(struct host *host, int fd, char *buf, size_t cap, struct vmt_err *err);
    /* The absolute path of path, for another process; malloc'ed. Its directory is made.
     */
    int (*place)(struct host *host, const char *path, char **ret_place,
                 struct vmt_err *err);
    /* A new empty file in directory dir, which is made if missing, open for reading and
     * writing. It is nowhere until commit; drop closes it, and it is gone. */
    int (*create)(struct host *host, const char *dir, int *ret_fd, struct vmt_err *err);
    /* Make fd the file at path, in the directory that it was made in; what stood there is
     * replaced. fd stays the caller's. The content reaches the disk when it does. */
    int (*commit)(struct host *host, int fd, const char *path, struct vmt_err *err);
    void (*drop)(struct host *host, int fd); /* below 0: nothing */
    /* For reading only. Returns 0, -ENOENT, -errno. */
    int (*open)(struct host *host, const char *path, int *ret_fd, uint64_t *ret_bytes,
                struct vmt_err *err);
    /* Write a small file; it is there whole or not at all. */
    int (*save)(struct host *host, const char *path, const void *data, size_t len,
                struct vmt_err *err);
    /* Read one. *ret_data is malloc'ed. Returns 0, -ENOENT, -errno. */
    int (*load)(struct host *host, const char *path, void **ret_data, size_t *ret_len,
                struct vmt_err *err);
    void (*touch)(struct host *host, const char *path); /* it was used now */
    /* Remove a file, or a directory with all in it; a missing one is fine. */
    void (*remove)(struct host *host, const char *path);
    /* Call fn with every entry of a directory; fn may remove. A missing one is empty. */
    int (*each)(struct host *host, const char *dir,
                void (*fn)(void *arg, const struct host_state_entry *entry), void *arg,
                struct vmt_err *err);
    /* Remove what an earlier daemon's death left of create in a directory. */
    void (*sweep)(struct host *host, const char *dir);
    /* Let a process that was just started have only the processor time that nobody else
     * wants. */
    void (*background)(struct host *host, const struct spawn_id *id);
};

/* Memory of the host in bytes; shares are hundredths of a percent of the last 10 s. What
 * nobody measures is 0. */
struct host_memory {
    uint64_t total;
    uint64_t
        available; /* could be given to programs without swapping, to ours at least */
    uint32_t some_stalled, all_stalled; /* tasks that waited for memory */
};

struct host_device_ops;   /* host_device.h */
struct host_handover_ops; /* host_handover.h */

struct host_memory_ops {
    /* How it is now; cheap enough for every second. */
    void (*now)(struct host *host, struct host_memory *ret_memory);
};

struct host_disk {
    uint64_t bytes;        /* as its user sees it; of a qcow2 image the virtual size */
    uint64_t used_bytes;   /* on the host */
    bool user_chosen_size; /* preallocated, or resized or imported by its owner */
    int vm_type;           /* number of vm_tools.apps.VmType, -1: not known */
};

/* Disk images: plain files, one directory per owner below a place that the host knows. An
 * owner is [0-9A-Fa-f]+, a file a name without slash. No symbolic link is followed, and
 * nothing but regular files is touched. */
struct host_disk_ops {
    /* Make the directory of an owner where it is missing. Returns 0 or -errno. */
    int (*prepare)(struct host *host, const char *owner, struct vmt_err *err);
    /* Absolute path of a file that need not exist. *ret_path is malloc'ed. Returns 0 or
     * -ENOMEM. */
    int (*path)(struct host *host, const char *owner, const char *file, char **ret_path,
                struct vmt_err *err);
    /* Is path what the call above gives for some file of the owner? *ret_file points into
     * path. */
    bool (*is_inside)(struct host *host, const char *owner, const char *path,
                      const char **ret_file);
    /* Returns 0, -ENOENT, -EINVAL for what is no regular file, -errno. */
    int (*stat)(struct host *host, const char *owner, const char *file,
                struct host_disk *ret, struct vmt_err *err);
    /* Call fn with the name of every file; fn may remove it. No directory: no file. */
    int (*each)(struct host *host, const char *owner,
                void (*fn)(void *arg, const char *file), void *arg, struct vmt_err *err);
    /* Open a file that exists, and lock it for as long as a copy of the descriptor is
     * open anywhere: alone when it is opened for writing, else beside other readers.
     * Returns 0, -EBUSY when somebody else has it, -ENOENT, -EINVAL, -errno. */
    int (*open)(struct host *host, const char *owner, const char *file, bool writable,
                int *ret_fd, struct vmt_err *err);
    /* Returns 0, -ENOENT, -errno; what is known about the file goes with it. */
    int (*remove)(struct host *host, const char *owner, const char *file,
                  struct vmt_err *err);
    /* Returns 0, -EEXIST when to is there, -ENOENT, -errno. */
    int (*rename)(struct host *host, const char *owner, const char *from, const char *to,
                  struct vmt_err *err);
    /* Remember that the owner chose the size of a file that exists. */
    int (*set_user_chosen)(struct host *host, const char *owner, const char *file,
                           struct vmt_err *err);
    /* May a descriptor that a caller sent be read from start to end, or be written? A
     * regular file, a pipe or a stream socket, open for it. Returns 0 or -EINVAL. */
    int (*source_check)(struct host *host, int fd, struct vmt_err *err);
    int (*target_check)(struct host *host, int fd, struct vmt_err *err);
    /* Path of the log that a worker writes its progress to, for struct host_log_ops;
     * name is a plain file name. *ret_path is malloc'ed. */
    int (*progress_path)(struct host *host, const char *name, char **ret_path,
                         struct vmt_err *err);
    /* Call fn with the name of every such log; fn may remove it. */
    int (*progress_each)(struct host *host, void (*fn)(void *arg, const char *name),
                         void *arg, struct vmt_err *err);
    void (*progress_remove)(struct host *host, const char *name);
    /* The process that has such a log open, should one of an earlier daemon do so.
     * Returns 0, or -ESRCH. */
    int (*progress_writer)(struct host *host, const char *name, struct spawn_id *ret_id);
};

/* Space on the file systems that hold disk images. */
struct host_space_ops {
    /* The directory of an image, by its path or else its descriptor. *ret_place is
     * malloc'ed. Returns 0 or -errno. */
    int (*place)(struct host *host, int fd, const char *path, char **ret_place);
    /* Bytes that may still be written there. Blocks for as long as the server of a
     * network file system is silent, so it is for a child process. Returns 0 or -errno.
     */
    int (*free_bytes)(struct host *host, const char *place, uint64_t *ret_bytes);
    /* Memory for one number that a child process of spawn_spec.call can write and we can
     * read; the caller's until number_free, which takes NULL. Returns 0 or -ENOMEM. */
    int (*number_new)(struct host *host, uint64_t **ret_number);
    void (*number_free)(struct host *host, uint64_t *number);
};

/* What to push out of the host's RAM. */
struct host_reclaim {
    struct spawn_id id; /* of the hypervisor */
    const char *group;  /* of host_cgroup_ops, NULL: none; borrowed */
    uint64_t bytes;     /* at most, about */
};

struct host_reclaim_ops {
    /* Bytes of a process that are in RAM; 0: not known. */
    uint64_t (*resident)(struct host *host, int32_t pid);
    /* Push out. Blocks, so it is for a child process. Returns 0 when the kernel was
     * asked, however much it did, or -errno. */
    int (*run)(struct host *host, const struct host_reclaim *what);
};

/* Groups of processes that share a weight: one per VM, below the daemon's own. name is a
 * plain file name. */
struct host_cgroup_ops {
    /* Get ready. Returns 0, or -errno with words that say what would have to change: then
     * VMs have no groups, and nothing below is called. Costs something only once. */
    int (*prepare)(struct host *host, struct vmt_err *err);
    /* Make a group, or find the one there is. *ret_fd is for spawn_spec, close it by
     * files->close. */
    int (*make)(struct host *host, const char *name, int *ret_fd, struct vmt_err *err);
    /* Its share of processor time beside others when there is not enough, 1 .. 10000; 100
     * is usual. Returns 0, -ENOTSUP where the host did not delegate it, -errno. */
    int (*set_weight)(struct host *host, const char *name, uint32_t weight,
                      struct vmt_err *err);
    /* End what is left in a group, and remove it. Returns 0, also for a missing one, or
     * -EBUSY while something is still ending. */
    int (*remove)(struct host *host, const char *name);
    /* Call fn with the name of every group that make made; fn may remove it. */
    void (*each)(struct host *host, void (*fn)(void *arg, const char *name), void *arg);
    /* Processors that the daemon and its VMs may fill all the time, rounded up; 0: no
     * limit beside those there are. */
    uint32_t (*cpu_limit)(struct host *host);
};

struct host {
    const struct host_fact_ops *facts;
    const struct host_file_ops *files;
    const struct host_log_ops *logs;
    const struct host_store_ops *store;
    const struct host_state_ops *state;
    const struct host_memory_ops *memory;
    const struct host_device_ops *devices;
    const struct host_disk_ops *disks;
    const struct host_cgroup_ops *cgroups;
    const struct host_reclaim_ops *reclaim;
    const struct host_space_ops *space;
    const struct host_handover_ops *handover;
};
