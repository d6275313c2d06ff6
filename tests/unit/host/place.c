/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/host/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/os/paths.h"
#include "tests/unit/test.h"

int
place_setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    char records[128], logs[128], states[128], disks[128];
    struct linux_host_config config = {
        .record_dir = records, .log_dir = logs, .state_dir = states, .disk_dir = disks};

    if (!p)
        return -1;
    (void)snprintf(p->root, sizeof(p->root), "/tmp/vmt-host-XXXXXX");
    if (!mkdtemp(p->root))
        return -1;
    (void)snprintf(records, sizeof(records), "%s/records", p->root);
    (void)snprintf(logs, sizeof(logs), "%s/logs", p->root);
    (void)snprintf(states, sizeof(states), "%s/states", p->root);
    (void)snprintf(disks, sizeof(disks), "%s/disks", p->root);
    config.run_root = p->root;
    *state = p;
    return linux_host_new(&config, &p->host, NULL);
}

int
place_teardown(void **state)
{
    struct place *p = *state;
    int r;

    linux_host_free(p->host);
    r = os_remove_tree(p->root, NULL);
    free(p);
    return r;
}

const char *
place_path(struct place *p, const char *name)
{
    (void)snprintf(p->path, sizeof(p->path), "%s/%s", p->root, name);
    return p->path;
}

void
place_write(struct place *p, const char *name, const char *text)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen(place_path(p, name), "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
}
