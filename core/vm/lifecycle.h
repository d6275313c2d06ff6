/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/lifecycle.h - the life of a VM as a pure table: (state, event) -> (state,
 * action). */
#pragma once

enum vm_state {
    VM_STATE_NONE = 0, /* no such transition */
    VM_CREATED,        /* all checks passed, the accelerator is being chosen */
    VM_SPAWNING,       /* announced; processes start */
    VM_BOOTING,        /* the hypervisor answers, the guest does not yet */
    VM_FALLING_BACK, /* its restored guest is of no use, the hypervisor is being ended */
    VM_REBOOTING,    /* that is over; it boots next, within the same start */
    VM_CONFIGURING,  /* the agent reported ready and is being set up */
    VM_RUNNING,      /* the start has been answered */
    VM_PREPARING,    /* the agent was asked to get ready for a suspension */
    VM_PAUSING,      /* the hypervisor was told to halt the processors */
    VM_SUSPENDED,    /* they are halted */
    VM_RESUMING,     /* the hypervisor was told to let them run */
    VM_ASKING,       /* the agent was asked to shut down */
    VM_WAITING,      /* the agent said yes, the hypervisor has to end by itself */
    VM_QUITTING,     /* the hypervisor was told to end by its control channel */
    VM_TERMINATING,  /* SIGTERM was sent */
    VM_KILLING,      /* SIGKILL was sent */
    VM_STUCK,        /* it survived SIGKILL */
    VM_RELEASING,    /* the hypervisor is gone, its companion has to follow */
    VM_GONE,         /* everything was released */
    VM_STATE_COUNT
};

enum vm_event {
    VM_EV_PROBED = 0,     /* the accelerator is known */
    VM_EV_CONTROL,        /* the hypervisor's control channel answers */
    VM_EV_READY,          /* the agent reported ready */
    VM_EV_FALL_BACK,      /* the guest that was restored from a template is of no use */
    VM_EV_CONFIGURED,     /* the agent did all that a start needs */
    VM_EV_FAILED,         /* something that the VM needs broke; the cause is recorded */
    VM_EV_STOP,           /* somebody wants the VM to end */
    VM_EV_AGENT_OK,       /* the agent agreed to shut down */
    VM_EV_AGENT_FAILED,   /* it did not, or did not answer */
    VM_EV_TIMEOUT,        /* the time of this step is over */
    VM_EV_EXIT,           /* the hypervisor is gone, or never came to be */
    VM_EV_COMPANION_EXIT, /* the companion is gone, or there is none */
    VM_EV_SUSPEND,        /* somebody wants the VM to be suspended */
    VM_EV_RESUME,         /* somebody wants it to go on */
    VM_EV_PAUSED,         /* the hypervisor halted the processors */
    VM_EV_UNPAUSED,       /* they run */
    VM_EV_PAUSE_FAILED,   /* the hypervisor refused the one or the other */
    VM_EVENT_COUNT
};

enum vm_action {
    VM_ACT_NONE = 0,
    VM_ACT_LAUNCH,         /* take resources, announce, start the processes */
    VM_ACT_FALL_BACK,      /* end the hypervisor, which nobody needs any more */
    VM_ACT_START_OVER,     /* leave its callback, then launch again */
    VM_ACT_RELAUNCH,       /* start the hypervisor once more, to boot */
    VM_ACT_CONFIGURE,      /* connect to the agent and set the guest up */
    VM_ACT_ANNOUNCE,       /* say that it runs, answer the start */
    VM_ACT_ASK,            /* ask the agent to shut down */
    VM_ACT_WAIT,           /* give it time */
    VM_ACT_QUIT,           /* end the hypervisor by its control channel */
    VM_ACT_TERM,           /* SIGTERM */
    VM_ACT_KILL,           /* SIGKILL */
    VM_ACT_GIVE_UP,        /* tell all who wait that it cannot be stopped */
    VM_ACT_RELEASE,        /* close what is ours, end the companion */
    VM_ACT_KILL_COMPANION, /* it did not end in time */
    VM_ACT_FINISH,         /* release the rest, say that it stopped, answer all */
    VM_ACT_PREPARE,        /* ask the agent to get ready for a suspension */
    VM_ACT_PAUSE,          /* halt the processors */
    VM_ACT_REST,           /* say that it is suspended */
    VM_ACT_HOLD,           /* make true what an earlier daemon wrote down: suspended */
    VM_ACT_UNPAUSE,        /* let the processors run */
    VM_ACT_CATCH_UP,       /* it runs again: tell it what it missed, and all who wait */
    VM_ACT_STAY,           /* it was not suspended: undo, tell all who wait */
    VM_ACT_SLEEP_ON,       /* it was not resumed: tell all who wait */
    VM_ACT_WAKE,           /* let it run and ask the agent to shut down */
    VM_ACTION_COUNT
};

struct vm_cell {
    enum vm_state state; /* VM_STATE_NONE: the event is meaningless here */
    enum vm_action action;
};

/* What happens to a VM in state when event comes. Pure. Both in range. */
struct vm_cell vm_lifecycle_next(enum vm_state state, enum vm_event event);

/* Lower-case names for logs; never NULL. */
const char *vm_state_name(enum vm_state state);
const char *vm_event_name(enum vm_event event);
const char *vm_action_name(enum vm_action action);
