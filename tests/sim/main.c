/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/sim/main.c - lives by chance, each made by a seed.
 *
 *   sim [--first SEED] [--count N] [--deeds N]
 *
 * Lives run in child processes, so that the seed of one that fails, hangs or crashes is
 * known: it is printed with the command that replays it. VMT_TEST_LOG=1 shows the
 * daemon's log meanwhile. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/str.h"
#include "tests/sim/sim.h"
#include "tests/unit/test.h"

#define BATCH 500u
#define HANG_S 120u /* of one life: a thousand times what it takes */
#define DEEDS 80u

/* What a child leaves behind. */
struct shared {
    uint64_t seed;
    struct sim_totals totals;
    char journal[JOURNAL_MAX];
};

static uint64_t first, count = 1000, deeds = DEEDS;

static void
live(struct shared *shared, uint64_t seed)
{
    static struct sim s;

    memset(&s, 0, sizeof(s));
    shared->seed = seed;
    s.random = seed * 2 + 1;
    s.totals = &shared->totals;
    s.names = sim_dice(&s, 8) ? 3 : SIM_NAMES_MAX; /* few that meet often, or many */
    s.saves = sim_dice(&s, 3) == 0;
    world_init(&s.w);
    s.w.on_signal = sim_on_signal;
    if (sim_dice(&s, 2))
        sim_give_taps(&s);
    if (sim_dice(&s, 2))
        sim_give_templates(&s);
    (void)alarm(HANG_S);
    for (uint64_t i = 0; i < deeds; i++) {
        sim_deed(&s);
        sim_check(&s);
        memcpy(shared->journal, s.w.journal, sizeof(shared->journal));
    }
    sim_calm_down(&s);
    memcpy(shared->journal, s.w.journal, sizeof(shared->journal));
    sim_check_end(&s);
    shared->totals.lives++;
}

static int
run_batch(struct shared *shared, uint64_t from, uint64_t n)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        for (uint64_t i = 0; i < n; i++)
            live(shared, from + i);
        exit(EXIT_SUCCESS);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("sim");
        return -1;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    (void)printf(
        "seed %llu failed, %s %d; its signals:\n%s\nreplay: sim --first %llu "
        "--count 1 --deeds %llu\n",
        (unsigned long long)shared->seed, WIFEXITED(status) ? "exit code" : "signal",
        WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), shared->journal,
        (unsigned long long)shared->seed, (unsigned long long)deeds);
    return -1;
}

static int
parse(int argc, char **argv)
{
    static const struct option options[] = {{"first", required_argument, NULL, 'f'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"deeds", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    int c, r = 0;

    while (r == 0 && (c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (c == '?')
            return -1;
        r = vmt_parse_u64(optarg, UINT64_MAX / 2,
                          c == 'f'   ? &first
                          : c == 'c' ? &count
                                     : &deeds);
    }
    return r < 0 || optind != argc ? -1 : 0;
}

int
main(int argc, char **argv)
{
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED || parse(argc, argv) < 0) {
        (void)fprintf(stderr, "usage: sim [--first SEED] [--count N] [--deeds N]\n");
        return EXIT_FAILURE;
    }
    for (uint64_t done = 0; done < count; done += BATCH) {
        uint64_t n = count - done < BATCH ? count - done : BATCH;

        if (run_batch(shared, first + done, n) < 0)
            return EXIT_FAILURE;
    }
    (void)printf(
        "%llu lives from seed %llu on: %llu deeds, %llu calls, %llu starts, %llu "
        "deaths of the daemon, %llu faults; all invariants held\n",
        (unsigned long long)shared->totals.lives, (unsigned long long)first,
        (unsigned long long)shared->totals.deeds,
        (unsigned long long)shared->totals.calls,
        (unsigned long long)shared->totals.starts,
        (unsigned long long)shared->totals.restarts,
        (unsigned long long)shared->totals.faults);
    return EXIT_SUCCESS;
}
