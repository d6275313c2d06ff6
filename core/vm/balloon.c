/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/balloon.h"

#define MIB (UINT64_C(1) << 20)

/* spec 12. */
#define GUEST_CRITICAL (400 * MIB)
#define SLACK (10 * MIB)
#define NEAR MIB         /* so close to its margin a side is always helped */
#define SMALL_CHANGE 100 /* a change below a hundredth of both margins is left out */
#define FULL_PERCENT 95

/* What a guest says is some seconds old, what a balloon holds is not: to go by both while
 * the balloon moves, and a little longer, would overshoot. A guest without a driver that
 * listens never gets there, and a slow one is not waited for. */
#define SETTLE_LOOKS 4u
#define SETTLE_WHILE_MOVING 16u

/* Of its RAM a guest keeps a quarter, whatever happens on the host. */
#define BALLOON_MAX(ram) ((ram) / 4 * 3)

/* The critical mark falls to what a guest really runs with, but a host in need must not
 * talk it down to nothing. */
#define FLOOR_DIVISOR 16
#define FLOOR_MIN (16 * MIB)

/* What the host keeps for itself: a twentieth of its RAM, at least 128 MiB as far as that
 * is not more than a quarter. */
#define HOST_DIVISOR 20
#define HOST_MIN (128 * MIB)

/* A host whose tasks wait for memory has less than it says. Above 2 % of the time each
 * further percent counts as a 160th of its RAM, at most an eighth in all; the average
 * that this comes from covers 10 s, so the penalty goes as slowly: by a sixteenth per
 * step. */
#define STALL_FREE 200u
#define STALL_UNIT 100u
#define STALL_DIVISOR 160
#define PENALTY_DIVISOR 8
#define PENALTY_DECAY 16

static uint64_t
min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Byte counts of hosts fit in 60 bits; one that does not is cut, so that differences fit
 * in an int64_t. */
static int64_t
bytes(uint64_t n)
{
    return (int64_t)min_of(n, UINT64_C(1) << 60);
}

static uint64_t
host_margin(uint64_t total)
{
    return max_of(total / HOST_DIVISOR, min_of(HOST_MIN, total / 4));
}

static uint64_t
stall_penalty(const struct balloon_host *host)
{
    uint64_t stalled = (uint64_t)host->some_stalled + host->all_stalled;
    uint64_t units;

    if (stalled <= STALL_FREE)
        return 0;
    units = min_of(stalled - STALL_FREE, 20000) / STALL_UNIT;
    return min_of(host->total / STALL_DIVISOR * units, host->total / PENALTY_DIVISOR);
}

void
balloon_budget_begin(struct balloon_budget *budget, const struct balloon_host *host)
{
    uint64_t left = budget->penalty - budget->penalty / PENALTY_DECAY;

    budget->penalty = max_of(stall_penalty(host), left < MIB ? 0 : left);
    budget->above = bytes(min_of(host->available, host->total)) -
                    bytes(host_margin(host->total)) - bytes(budget->penalty);
}

static uint64_t
guest_floor(uint64_t ram)
{
    return min_of(max_of(ram / FLOOR_DIVISOR, FLOOR_MIN), GUEST_CRITICAL);
}

bool
balloon_wants_look(const struct balloon_budget *budget, const struct balloon_guest *guest)
{
    int64_t most = bytes(guest->ram) - bytes(guest_floor(guest->ram));

    return guest->balloon > 0 || guest->target > 0 || budget->above < (int64_t)NEAR ||
           most > budget->above;
}

/* A guest that lives below the mark with no balloon to blame has a mark of its own. */
static void
learn_critical(struct balloon_guest *guest, uint64_t available, uint64_t balloon)
{
    bool full = balloon >= BALLOON_MAX(guest->ram) / 100 * FULL_PERCENT;
    bool low;

    if (guest->critical == 0 || available >= GUEST_CRITICAL)
        guest->critical = GUEST_CRITICAL;
    low = available < guest->critical && !full;
    if (low && guest->was_low)
        guest->critical = max_of(guest->previous, guest_floor(guest->ram));
    guest->was_low = low;
    guest->previous = available;
    guest->balloon = balloon;
}

/* A change must help somebody in need or be worth its while. */
static bool
is_worth(int64_t delta, int64_t guest_above, int64_t host_above)
{
    int64_t size = delta < 0 ? -delta : delta;

    return guest_above < (int64_t)NEAR || host_above < (int64_t)NEAR ||
           size > guest_above / SMALL_CHANGE || size > host_above / SMALL_CHANGE;
}

/* Neither side goes further below its mark than SLACK for the other; a guest that is
 * there gets back what it lacks, but from a host in need no faster than SLACK. */
static int64_t
clamp_change(int64_t delta, int64_t guest_above, int64_t host_above)
{
    int64_t most = guest_above + (int64_t)SLACK;
    int64_t least = -((host_above > 0 ? host_above : 0) + (int64_t)SLACK);

    if (delta > most)
        delta = most;
    return delta < least ? least : delta;
}

/* A guest reports every few seconds; what it said before its balloon moved is off by
 * that much. One that says the same for longer means it. */
#define REPEATS_MAX 8u

static uint64_t
available_now(struct balloon_guest *guest, uint64_t said, uint64_t actual)
{
    int64_t now;

    if (said != guest->said || ++guest->repeats > REPEATS_MAX) {
        guest->said = said;
        guest->said_at = actual;
        guest->repeats = 0;
    }
    now = bytes(said) - bytes(actual) + bytes(guest->said_at);
    return now < 0 ? 0 : min_of((uint64_t)now, guest->ram);
}

/* Is it too early to go by what this guest says? */
static bool
is_settling(struct balloon_guest *guest, uint64_t before)
{
    if (guest->settling == 0)
        return false;
    guest->settling--;
    if (guest->balloon == before && guest->settling > SETTLE_LOOKS)
        guest->settling = SETTLE_LOOKS;
    return guest->settling > 0;
}

static int64_t
limit_target(const struct balloon_guest *guest, int64_t target)
{
    int64_t most = bytes(BALLOON_MAX(guest->ram));

    return target < 0 ? 0 : target > most ? most : target;
}

bool
balloon_decide(struct balloon_budget *budget, struct balloon_guest *guest,
               const struct balloon_sample *sample, uint64_t *ret_target)
{
    uint64_t actual = min_of(sample->balloon, guest->ram), before = guest->balloon;
    uint64_t available =
        available_now(guest, min_of(sample->available, guest->ram), actual);
    bool settling;
    int64_t guest_above, delta, target;

    learn_critical(guest, available, actual);
    guest_above = bytes(available) - bytes(guest->critical);
    settling = is_settling(guest, before);
    delta = clamp_change((guest_above - budget->above) / 2, guest_above, budget->above);
    target = limit_target(guest, bytes(actual) + delta);
    if (settling && (guest_above >= 0 || target > bytes(guest->target))) {
        budget->above += bytes(guest->target) - bytes(actual);
        return false;
    }
    if (!is_worth(delta, guest_above, budget->above) ||
        (target == bytes(actual) && target == bytes(guest->target)))
        return false;
    budget->above += target - bytes(actual);
    guest->target = *ret_target = (uint64_t)target;
    guest->settling = SETTLE_WHILE_MOVING;
    return true;
}
