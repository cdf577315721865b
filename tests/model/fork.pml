/* A fork at any moment, and what becomes of signals to parent and child.
 * Searched completely by spin, as section.pml is; check.sh runs both.
 *
 * A step here is one atomic operation there; an inline has the name of the
 * function it stands for. The child has one thread until it is repaired, so a
 * handler there runs from end to end between two steps of that thread. Left
 * out: sections, masks, Python's table.
 *
 * What is promised, once nobody can do anything any more: a signal to the
 * child has ended it, by the default action, or its own killer has heard it;
 * one to the parent the parent has heard, and its watcher too; neither has
 * done anything to the other. And a child that goes on with the program has
 * its killer, at work, whatever interrupted the repair.
 *
 * The shapes:
 *   (default)    os.fork(), and the child is repaired
 *   LIBRARY      multiprocessing and its like: the killer is not armed again
 *   FROM_C       fork() from C: only what pthread_atfork() has been given runs
 *   VFORK        the child has the parent's memory until its exec
 *   STRANGER     somebody in the parent closes both ends of the wake pipe
 *   INTERRUPTS=n so often Python code of the repair is cut short by an
 *                exception of a Python signal handler, and is repeated
 *
 * And the faults, each of which must be found: see BROKEN_ below. */

#ifndef INTERRUPTS
#define INTERRUPTS 0
#endif
#define PARENT 0
#define CHILD 1
#ifdef VFORK
#define MEMORY PARENT /* the child's */
#else
#define MEMORY CHILD
#endif

/* The kernel's, for each process: is our handler in its table? */
bool ours[2];
/* The one pipe that both may have: who can write to it. */
bool packet;
byte writers = 1;
bool whole = true;      /* in the parent the numbers are still the pipe's */
bool has_pipe;          /* the child can write to the parent's */

/* ge__mailbox and what else the core has, for each memory */
byte owner[2];          /* PARENT, CHILD */
bool role[2];
bool stopping[2];       /* also for the flag, which has no part in this */
byte inflight[2];
bool locked[2];         /* the locks of the core, by another thread */
bool watched[2];        /* there is a back end to poke */

/* _process.py, in the child */
bool marked;            /* _child */
bool killers = true;
bool inherited;

/* What is promised, as seen from outside. */
bool sent[2];
bool told;              /* the parent's watcher has seen the stop */
bool forked;
bool dead;              /* the child, of a signal */
bool goes_on;           /* the child has come out of the fork */

/* ---- ge_handler.c, in the child ------------------------------------------- */

inline ge__wake_pipe_close()
{
    d_step {
        if
        :: has_pipe -> has_pipe = false; writers--
        :: else
        fi
    }
}

inline ge__pass_default()
{
    dead = true;
    ge__wake_pipe_close() /* as the end of a process closes everything */
}

inline accept_signal()
{
    stopping[MEMORY] = true;
    if
    :: watched[MEMORY] && MEMORY == CHILD && owner[CHILD] == PARENT ->
       assert(!has_pipe) /* it would wake the parent */
    :: else
    fi
}

#ifdef BROKEN_NO_PID
#define STRANGE_PID false
#else
#define STRANGE_PID (owner[MEMORY] != CHILD)
#endif

inline ge__on_signal()
{
    if
    :: !ours[CHILD] || STRANGE_PID || !role[MEMORY] -> ge__pass_default()
    :: else -> accept_signal()
    fi
}

/* ---- the child ------------------------------------------------------------ */

inline ge__fork_adopt()
{
    owner[CHILD] = CHILD
}

/* Each of these is one call from Python, which no exception cuts short. */
inline ge_fork_child()
{
#ifdef BROKEN_ADOPT_FIRST
    ge__fork_adopt();
#endif
#ifndef BROKEN_LOCK_COPIED
    locked[CHILD] = false;
#endif
    role[CHILD] = false;
    ours[CHILD] = false;
    watched[CHILD] = false;
    ge__wake_pipe_close();
#ifndef BROKEN_INFLIGHT_COPIED
    inflight[CHILD] = 0;
#endif
#ifndef BROKEN_STOP_COPIED
    stopping[CHILD] = false;
#endif
#ifndef BROKEN_ADOPT_FIRST
    ge__fork_adopt()
#else
    skip
#endif
}

inline ge__quiesce()
{
    inflight[CHILD] == 0
}

/* Process.add(): the watcher, then the handler. */
inline add()
{
    !locked[CHILD];
    watched[CHILD] = true;
    ge__fork_adopt();
    killers = true;
    role[CHILD] = true;
    ours[CHILD] = true;
    ge__quiesce()
}

/* ---- _process.py ---------------------------------------------------------- */

/* What comes after it may not happen this time. */
inline step_of_python()
{
    if
    :: true
#if INTERRUPTS
    :: interrupts < INTERRUPTS -> interrupts++; goto again
#endif
    fi
}

inline forget_parent()
{
    ge_fork_child();
    step_of_python();
    ge__quiesce(); /* ge_main_is() */
    step_of_python();
#ifdef BROKEN_INHERITED_OVERWRITTEN
    inherited = killers;
#else
    inherited = inherited || killers;
#endif
    step_of_python();
    killers = false;
    step_of_python()
}

inline inherited_by_fork()
{
#ifndef LIBRARY
    if
    :: !killers -> add()
    :: killers
    fi
#else
    skip
#endif
}

proctype Child()
{
#if INTERRUPTS
    byte interrupts;
#endif

    {
#if !defined(VFORK) && !defined(BROKEN_PIPE_KEPT)
        ge__wake_pipe_close(); /* clean_child() */
#endif
#if !defined(VFORK) && !defined(FROM_C)
again:
        if
        :: !marked ->
#ifdef BROKEN_MARKED_FIRST
           marked = true;
           step_of_python();
           forget_parent()
#else
           forget_parent();
           marked = true
#endif
        :: marked
        fi;
        step_of_python();
        if
        :: inherited ->
#ifdef BROKEN_FORGOTTEN_FIRST
           inherited = false;
           step_of_python();
           inherited_by_fork()
#else
           inherited_by_fork();
           step_of_python();
           inherited = false
#endif
        :: !inherited
        fi;
        goes_on = true;
#endif
        skip
    } unless {
        dead
    }
}

proctype SignalToChild()
{
    atomic {
        if
        :: forked -> sent[CHILD] = true; ge__on_signal()
        :: true /* or it is never sent */
        fi
    }
}

/* ---- the parent ----------------------------------------------------------- */

proctype SignalToParent()
{
    sent[PARENT] = true;
    inflight[PARENT]++;
    stopping[PARENT] = true;
    if
    :: watched[PARENT] ->
       if
       :: whole -> packet = true
       :: !whole
       fi
    :: !watched[PARENT]
    fi;
    inflight[PARENT]--
}

/* A change of traps by another thread. */
proctype Locker()
{
    atomic { !locked[PARENT] -> locked[PARENT] = true };
    locked[PARENT] = false
}

proctype Watcher()
{
    do
    :: if
       :: whole
       :: !whole ->
          watched[PARENT] = false;
          inflight[PARENT] == 0; /* ge__quiesce() */
          d_step { whole = true; writers++; packet = false };
          watched[PARENT] = true
       fi;
       packet = false;
       told = stopping[PARENT];
end_recv:
       packet || writers == 0
    od
}

#ifdef STRANGER
proctype Stranger()
{
    d_step { whole = false; writers-- }
}
#endif

/* A thread that is not in the handler. */
proctype Forker()
{
    atomic {
        ours[CHILD] = ours[PARENT];
#ifndef VFORK
        owner[CHILD] = owner[PARENT];
        role[CHILD] = role[PARENT];
        stopping[CHILD] = stopping[PARENT];
        inflight[CHILD] = inflight[PARENT];
        locked[CHILD] = locked[PARENT];
        watched[CHILD] = true;
#endif
        if
        :: whole -> has_pipe = true; writers++
        :: !whole
        fi;
        forked = true;
        run Child()
    }
}

init {
    atomic {
        d_step {
            ours[PARENT] = true;
            role[PARENT] = true;
            watched[PARENT] = true;
        }
        run Watcher();
        run Locker();
        run SignalToParent();
        run SignalToChild();
        run Forker();
#ifdef STRANGER
        run Stranger();
#endif
    }
    /* Nobody can do anything any more. */
    timeout;
    assert(forked && stopping[PARENT] && told && inflight[PARENT] == 0);
    assert(owner[PARENT] == PARENT && role[PARENT] && ours[PARENT]);
#if defined(VFORK) || defined(FROM_C)
    assert(dead == sent[CHILD])
#else
#ifdef LIBRARY
    assert(dead == sent[CHILD]);
    assert(dead || !(role[CHILD] || ours[CHILD] || watched[CHILD]));
#else
    assert(sent[CHILD] == (dead || stopping[CHILD]));
    assert(dead || (role[CHILD] && ours[CHILD] && watched[CHILD]));
    assert(dead || (killers && owner[CHILD] == CHILD));
#endif
    assert(dead || (goes_on && marked && !inherited))
#endif
}
