/* The protocol of protected sections, searched completely by spin: check.sh
 * runs this file, in several shapes and with several faults put in.
 *
 * A step here is one atomic operation there; an inline has the name of the
 * function it stands for. One signal is modelled, sent SIGNALS times: what is
 * done for one is done for each. Left out: forks, timeouts, layer 1 (Python's
 * table), which only main touches.
 *
 * Time is not there. Which phase the gate is in, is one of:
 *   (default)  anybody's guess each time somebody looks: for safety
 *   ALWAYS     shut for ever: what ends by itself drains without any phase
 *   CLOCK      a process that opens it again and again, and leaves it open
 *              until who waits is through: for progress
 *
 * The shapes:
 *   SIGNALS=n  how often the signal is sent
 *   WORKERS=n  threads beside main
 *   ENDER      HURRY comes at some moment, and the process is to end
 *   DEFAULT    nobody handles the signal: it ends the process where it stands
 *   CYCLE      a section of worker 1 waits for one of worker 2
 *   FOREVER    workers open sections again and again
 *   SLEEPER    main ends up in a system call that nothing but a signal ends
 *
 * And the faults, each of which must be found: see BROKEN_ below. */

#ifndef SIGNALS
#define SIGNALS 1
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#define MAIN 0
#define THREADS (WORKERS + 1)
#define NOBODY 255

#define HOLD 1 /* the roles of the signal */
#define TRIP 2

mtype = { OK, CANCELED, BUSY, AGAIN };         /* what an entry returns */

/* ge_section.c: the one word, and since when the gate is shut. */
byte opened;
bool look, gate, closed;
bool since;

/* ge_mailbox.c, ge_trap.c */
byte roles;        /* atomic, read by the handler */
bool ours;         /* our handler is in the kernel's table */
bool laid;         /* it is held, whatever comes: sections need not lay it */
byte held;         /* which of the signals sent */
byte inflight;     /* handlers that run */

/* Python */
byte lock = NOBODY; /* process.lock */
byte handed;        /* which signals main is to take over */
byte handed_by;     /* the thread that did so last */
bool itself = true; /* CPython calls the handler in main by itself */
#ifdef LIVE
bool wants[THREADS];
#endif
byte tripped;       /* CPython's own note that a handler is due */
bool hurry;
bool woken;         /* a nudge has reached main in its system call */
bool sleeping;

/* What is promised, as seen from outside. */
bool body[THREADS];   /* is in the block of a section */
byte holds[THREADS];  /* signals that came while it was, and were held */
byte owed;            /* sent, and no delivery since */
byte ended;           /* threads that have ended */
bool through;         /* worker 2 has been in a section */

#ifdef ALWAYS
#define SHUT_PHASE true
#define OPEN_PHASE false
#else
#ifdef CLOCK
bool phase;           /* true: open */
bool waits[THREADS];   /* at the gate, or on its way through it */
#define SHUT_PHASE (!phase)
#define OPEN_PHASE phase
#else
#define SHUT_PHASE true
#define OPEN_PHASE true
#endif
#endif

#ifdef DEFAULT
#define MAIN_OWES (handed != 0)
#else
#define MAIN_OWES (handed != 0 && !itself)
#endif

inline ghost_no_body()
{
    assert(!body[0] && !body[1]);
#if WORKERS > 1
    assert(!body[2]);
#endif
}

inline ghost_held(sig)
{
    holds[0] = (body[0] -> holds[0] | sig : holds[0]);
    holds[1] = (body[1] -> holds[1] | sig : holds[1]);
#if WORKERS > 1
    holds[2] = (body[2] -> holds[2] | sig : holds[2]);
#endif
}

/* The owner's handler runs in main, or GracefulExit is raised there. */
inline deliver(sigs)
{
    d_step {
        assert(!body[MAIN]);
        assert((holds[0] & sigs) == 0 && (holds[1] & sigs) == 0);
#if WORKERS > 1
        assert((holds[2] & sigs) == 0);
#endif
        owed = 0; /* of several that wait, POSIX delivers one */
        sigs = 0;
    }
}

/* The signal goes where it went before us. */
inline to_owner(sig)
{
    d_step {
#ifdef DEFAULT
        ghost_no_body(); /* it ends the process */
        owed = 0;
#else
        tripped = tripped | sig;
#endif
    }
}

/* It joins one that is on its way to main. */
inline to_main(sig)
{
#ifdef DEFAULT
    handed = handed | sig
#else
    tripped = tripped | sig
#endif
}

/* ---- ge_section.c ------------------------------------------------------- */

#ifdef BROKEN_NO_LOOK
#define LOOK_REFUSES false
#else
#define LOOK_REFUSES look
#endif

inline enter(inside, refused, rc)
{
    atomic {
        if
        :: closed -> rc = CANCELED
        :: !closed && refused -> rc = BUSY
        :: !closed && !(refused) && gate && since && !inside && SHUT_PHASE ->
           rc = AGAIN
        :: !closed && !(refused) && (!gate || !since || inside || OPEN_PHASE) ->
           opened++;
           rc = OK
        fi
    }
}

inline ge_section_enter(inside, rc)
{
    enter(inside, LOOK_REFUSES, rc)
}

inline ge_section_enter_locked(inside, rc)
{
    enter(inside, false, rc)
}

inline ge_section_leave(last)
{
    d_step {
        assert(opened > 0);
        opened--;
        last = opened == 0;
    }
}

/* The compare-exchange of `since` and the bit are two steps. */
inline ge_gate_shut()
{
#ifndef BROKEN_NO_GATE
    since = true;
    gate = true
#else
    skip
#endif
}

/* A step to HURRY that comes meanwhile keeps it shut. */
inline ge_gate_lift()
{
    if
    :: d_step { gate -> gate = false };
       since = false;
#ifndef BROKEN_LIFT_IN_HURRY
       if
       :: hurry -> ge_gate_shut()
       :: else
       fi
#endif
    :: !gate
    fi
}

/* Signals and pending calls run in main meanwhile. */
inline gate_wait(me)
{
#ifdef CLOCK
    waits[me] = true;
#endif
    if
    :: !gate || !since || closed || OPEN_PHASE
    :: me == MAIN && (MAIN_OWES || tripped != 0)
    fi
}

inline ge_section_close()
{
#ifdef BROKEN_SEPARATE_CLOSED
    opened == 0;
    closed = true;
#else
    atomic { opened == 0 -> closed = true };
#endif
}

/* ---- ge_trap.c: one signal of ge_trap_set() ------------------------------- */

/* Handlers that run have seen the roles as they were. */
inline ge__quiesce()
{
    inflight == 0
}

#ifdef BROKEN_COVERED_BEFORE_SWAP
#define GE_COVERED ((roles & HOLD) != 0)
#else
#define GE_COVERED laid
#endif

inline ge_trap_set(want)
{
    if
    :: want == 0 && roles != 0 ->
       d_step { roles = 0; laid = false };
#ifndef BROKEN_NO_QUIESCE
       ge__quiesce();
#endif
       ours = false
    :: want != 0 && roles != want ->
       if
       :: (want & HOLD) == 0 ->
          d_step { roles = want; laid = false };
          ours = true
       :: else ->
          roles = want;
          ours = true
       fi;
       if
#ifndef BROKEN_NO_QUIESCE_ON_TAKING
       :: want & HOLD -> ge__quiesce(); laid = true
#else
       :: want & HOLD -> laid = true
#endif
#ifndef BROKEN_NO_QUIESCE_ON_CHANGE
       :: else -> ge__quiesce()
#else
       :: else
#endif
       fi
    :: else
    fi
}

/* ---- _process.py ---------------------------------------------------------- */

#ifdef LIVE
/* Nobody waits for ever: whose turn it is goes round. */
inline acquire(me)
{
    atomic {
        if
        :: lock == NOBODY -> lock = me
        :: lock != NOBODY -> wants[me] = true
        fi
    }
    lock == me
}

inline release(me)
{
    d_step {
        if
        :: wants[(me + 1) % THREADS] ->
           lock = (me + 1) % THREADS;
           wants[lock] = false
        :: !wants[(me + 1) % THREADS] && wants[(me + 2) % THREADS] ->
           lock = (me + 2) % THREADS;
           wants[lock] = false
        :: else -> lock = NOBODY
        fi
    }
}
#else
inline acquire(me)
{
    atomic { lock == NOBODY -> lock = me }
}

inline release(me)
{
    lock = NOBODY
}
#endif

/* Process.refresh, under the lock: what killers and sections want. Only who
 * settles drops what was held by sections, for it collects what had come. */
#ifdef BROKEN_REFRESH_DROPS_HOLD
#define KEEPS false
#else
#define KEEPS ((roles & HOLD) && !settling)
#endif

inline refresh(settling, was, want)
{
    d_step { was = look; look = true };
    d_step {
        want = (opened > 0 || KEEPS -> HOLD : 0) | (handed != 0 -> TRIP : 0)
    }
    ge_trap_set(want);
#ifdef BROKEN_LOOK_NOT_RESTORED
    look = false;
#else
    look = was;
#endif
    d_step { was = false; want = 0 }
}

/* ---- _delivery.py --------------------------------------------------------- */

/* What was held goes to `due` in main, else into `handed`, and nobody holds
 * any more. Under the lock, none is open. */
inline take_held(me, due, came, was, want)
{
    do
    :: came = held;
       if
       :: me == MAIN -> due = due | came
       :: else ->
          d_step {
              handed = handed | came;
              handed_by = (came != 0 -> me : handed_by)
          }
       fi;
       refresh(true, was, want);
       if
       :: came != 0 -> held = 0 /* of one signal there is one */
       :: else
       fi;
#ifdef BROKEN_NO_SECOND_LOOK
       if
       :: came == 0 -> break
       :: else -> came = 0
       fi
#else
       came = 0;
       if
       :: held == 0 -> break
       :: else
       fi
#endif
    od
}

/* By a worker that has handed over. Default: a pending call has main take over.
 * Else CPython calls the handler in main by itself, unless main is in a section
 * of its own: then layer 1 has noticed, and main takes over when it leaves. */
inline trip_main()
{
    d_step {
#ifndef DEFAULT
        tripped = ((roles & TRIP) -> tripped | handed : tripped);
#endif
        woken = woken || sleeping
    }
}

inline wake_main(me, was, want)
{
#ifdef BROKEN_TRIPPED_LATER
    trip_main();
#endif
#ifndef DEFAULT
    acquire(me);
#ifdef BROKEN_NOTICED_IS_POPPED
    d_step { handed = (handed_by == me -> 0 : handed) };
#else
#ifdef BROKEN_TRIPPED_LATER
    d_step { handed = (itself -> 0 : handed) };
#else
    d_step { handed = (itself && handed_by == me -> 0 : handed) };
#endif
#endif
    refresh(false, was, want);
    release(me)
#else
    skip
#endif
}

/* Delivery.settle and the steps after it. */
inline settle(me, due, came, was, want)
{
    acquire(me);
#ifdef BROKEN_GIVE_BACK_BEFORE_COUNT
    take_held(me, due, came, was, want);
#endif
    look = true;
    if
    :: opened == 0 ->
#ifndef BROKEN_GIVE_BACK_BEFORE_COUNT
       take_held(me, due, came, was, want);
#endif
       ge_gate_lift()
    :: opened != 0
    fi;
    look = false;
#ifndef BROKEN_TRIPPED_LATER
    if
    :: me != MAIN && handed != 0 -> trip_main()
    :: else
    fi;
#endif
    release(me);
    if
    :: me != MAIN && handed != 0 -> wake_main(me, was, want)
    :: else
    fi;
    if
    :: due != 0 -> deliver(due)
    :: else
    fi
}

/* Delivery._take_over, in main and in no section. */
inline take_over(due, came, was, want)
{
    acquire(MAIN);
    d_step { due = due | handed; handed = 0; itself = true };
    refresh(false, was, want); /* open sections hold what comes from now on */
    release(MAIN);
    if
    :: due != 0 -> deliver(due)
    :: else
    fi
}

/* What main does between two bytecodes. */
inline check_signals(inside, due, came, was, want)
{
    if
    :: tripped != 0 && !inside ->
       d_step { due = tripped; tripped = 0 }
       deliver(due)
    :: tripped != 0 && inside && handed != 0 -> /* layer 1 has noticed */
       d_step { handed = handed | tripped; tripped = 0; itself = false }
    :: tripped != 0 && inside && handed == 0 -> /* and forwards it */
       d_step {
           held = held | tripped;
           ghost_held(tripped);
           tripped = 0
       }
       ge_gate_shut()
    :: else
    fi;
    if
    :: MAIN_OWES && !inside -> take_over(due, came, was, want)
    :: else
    fi
}

/* ---- _protect.py, section.c ----------------------------------------------- */

inline open_section(me, inside, rc, due, came, was, want)
{
    do
    :: ge_section_enter(inside, rc);
       if
       :: rc == AGAIN ->
          gate_wait(me);
          if
          :: me == MAIN -> check_signals(false, due, came, was, want)
          :: else
          fi
       :: rc == BUSY ->
          acquire(me);
          ge_section_enter_locked(inside, rc);
          if
          :: rc == OK && !GE_COVERED -> refresh(false, was, want)
          :: else
          fi;
          release(me);
          if
          :: rc == AGAIN
          :: else -> break
          fi
       :: rc == OK ->
          if
          :: GE_COVERED
          :: else ->
             acquire(me);
             if
             :: GE_COVERED
             :: else -> refresh(false, was, want)
             fi;
             release(me)
          fi;
          break
       :: rc == CANCELED -> break
       fi
    od;
#ifdef CLOCK
    waits[me] = false
#else
    skip
#endif
}

inline close_section(me, last, due, came, was, want)
{
    ge_section_leave(last);
    if
    :: last && ((roles & HOLD) || gate) -> settle(me, due, came, was, want)
    :: else
    fi
}

/* A section with or without another one in it. */
inline section(me, rc, last, due, came, was, want)
{
    open_section(me, false, rc, due, came, was, want);
    if
    :: rc == OK ->
       d_step { body[me] = true; assert(!closed) };
#ifdef CYCLE
       if
       :: me == 1 -> through
       :: else
       fi;
#endif
       if
       :: me == MAIN -> check_signals(true, due, came, was, want)
       :: else
       fi;
#ifdef NESTED
       if
       :: true ->
          open_section(me, true, rc, due, came, was, want);
          if
          :: rc == OK -> close_section(me, last, due, came, was, want)
          :: else
          fi
       :: true
       fi;
#endif
       d_step { body[me] = false; holds[me] = 0 };
       close_section(me, last, due, came, was, want)
    :: else
    fi
}

active proctype Main()
{
    mtype rc;
    bool last;
    byte due, came, want;
    bool was;

#ifndef IDLE_MAIN
    section(MAIN, rc, last, due, came, was, want);
#endif
    /* The rest of its program: it goes on until nothing is left to be done. */
end_main:
    do
    :: MAIN_OWES || tripped != 0 -> check_signals(false, due, came, was, want)
#ifdef SLEEPER
    :: sleeping = true;
end_sleep:
       woken;
       d_step { sleeping = false; woken = false }
#endif
    od
}

proctype Worker(byte me)
{
    mtype rc;
    bool last;
    byte due, came, want;
    bool was;

#ifdef FOREVER
    do
    :: rc != CANCELED -> section(me, rc, last, due, came, was, want)
    :: rc == CANCELED -> break
    od;
#else
    section(me, rc, last, due, came, was, want);
#endif
    skip;
    d_step {
        ended++;
        through = through || me == 2
    }
}

/* The sender, and then ge__on_signal() in whatever thread it is. */
proctype Signal(byte sig)
{
    byte seen;

    atomic {
        owed = owed | sig;
        if
        :: !ours -> to_owner(sig); goto end
        :: ours
        fi
    }
    inflight++; /* ge__enter() */
    seen = roles;
    if
    :: seen == 0 -> to_owner(sig)
    :: seen & HOLD ->
       d_step { held = held | sig; ghost_held(sig) };
       ge_gate_shut();
#ifdef BROKEN_HELD_AND_TRIPPED
       if
       :: seen & TRIP -> to_owner(sig)
       :: else
       fi
#endif
    :: seen == TRIP -> to_main(sig)
    fi;
    inflight-- /* ge__leave() */
end:
    skip
}

#ifdef SLEEPER
/* The nudge at 1, 10, 100 ms: the first can fall between main's look and its
 * system call. */
active proctype Nudge()
{
end_nudge:
    do
#ifndef BROKEN_ONE_NUDGE
    :: atomic { (MAIN_OWES || tripped != 0) && sleeping && !woken -> woken = true }
#else
    :: false
#endif
    od
}
#endif

#ifdef ENDER
/* The watcher, once the step to HURRY was accepted by some handler. */
active proctype Ender()
{
    hurry = true;
    ge_gate_shut();
    ge_section_close();
    ghost_no_body() /* the process ends here */
}
#endif

#ifdef CLOCK
active proctype Clock()
{
end_clock:
    do
    :: !phase -> phase = true
    :: phase && !waits[0] && !waits[1] && !waits[THREADS - 1] -> phase = false
    od
}
#endif

init {
    atomic {
        byte i;
        for (i : 1 .. WORKERS) {
            run Worker(i)
        }
        run Signal(1);
#if SIGNALS > 1
        run Signal(2);
#endif
    }
#ifndef LIVE
    /* Nobody can do anything any more. */
    timeout;
    assert(ended == WORKERS);
    assert(opened == 0 && !look && lock == NOBODY && inflight == 0);
    assert(held == 0 && handed == 0 && tripped == 0 && owed == 0);
    assert(roles == 0 && !ours);
    assert(gate == hurry && since == hurry)
#endif
}

#ifdef LIVE
#ifdef CYCLE
ltl goes_on { <> (ended == WORKERS) }
#else
#ifdef ENDER
ltl ends { [] (hurry -> <> closed) }
#else
ltl drains { [] (owed != 0 -> <> (owed == 0)) }
#endif
#endif
#endif
