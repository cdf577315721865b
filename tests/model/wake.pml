/* Who wakes whom at a signal: handler, watcher, waiters, dispatcher. Searched
 * completely by spin, as section.pml is; check.sh runs both.
 *
 * A step here is one atomic operation there; an inline has the name of the
 * function it stands for. A sequence number is modelled by what is done with
 * it: whether it has changed since somebody has read it. Left out: sections,
 * HURRY, the deadline.
 *
 * What is promised, once nobody can do anything any more: each killer's flag
 * is up, nobody sleeps who waits for it, the dispatcher and the descriptors
 * have been told of every handler run, and no handler has touched a cell, or
 * the ends of a pipe, that were not there for it.
 *
 * Killer 0 is there from the beginning, killer 1 is made while the signals
 * come, unless they are to be closed.
 *
 * The shapes:
 *   SIGNALS=n  how often the signal is sent
 *   WAITERS=n  how many wait for the stop; else, DISPATCHER: the dispatcher is
 *              there instead, which has a place of its own to sleep at
 *   OTHER      somebody else pokes the watcher, too
 *   PIPE       the watcher sleeps on the pipe, not on the futex
 *   STRANGER   and somebody closes both its ends, and takes the numbers
 *   CLOSER     both killers are closed while the signals come
 *   STOPPER    watcher and dispatcher are stopped while they come
 *
 * And the faults, each of which must be found: see BROKEN_ below. */

#ifndef SIGNALS
#define SIGNALS 2
#endif
#ifndef WAITERS
#define WAITERS 2
#endif
#define KILLERS 2

/* Who is counted in matters only where somebody waits for it to leave. */
#if defined(CLOSER) || defined(STRANGER) || defined(STOPPER)
#define COUNTED
#endif

/* ge_mailbox.c, ge_handler.c */
bool stopping;          /* the state */
bool cell[KILLERS];     /* it is in its slot */
bool flag[KILLERS];     /* what the cell holds */
bool attached[KILLERS];
byte count;             /* handler runs */
bit phase;
byte inflight[2];

/* The wake-up: ge_wake_futex.c or ge_wake_pipe.c */
bool backend = true;    /* there is one */
bool poked;             /* the word has changed, or there is a packet */
bool asleep;
bool blocked;           /* the watcher, in its system call */
bool whole = true;      /* the numbers of the pipe are ours */
byte using;             /* handlers that look at the numbers */
bool quit;

/* ge_latch_futex.c: waiters 0 and 1 at one place, the dispatcher at another */
bool changed[KILLERS];
bool sleeping[KILLERS];
byte sleepers;
bool news;
bool idle;
byte idlers;

/* _dispatcher.py */
bool dispatcher_quit;

/* What is promised, as seen from outside. */
bool gone[KILLERS];     /* no handler will touch the cell any more */
byte fed;               /* of count, to the descriptors */
byte told;              /* of count, as the dispatcher has seen it */
bool told_stop;
byte ended;             /* waiters that have returned */
bool watcher_ended;
bool dispatcher_ended;

/* ---- ge_handler.h, ge_mailbox.c ------------------------------------------- */

inline ge__enter(side)
{
#ifdef COUNTED
    side = phase;
    inflight[side]++
#else
    skip
#endif
}

inline ge__leave(side)
{
#ifdef COUNTED
    inflight[side]--
#else
    skip
#endif
}

/* One at a time: nobody else does it here, as there is one closer or one
 * watcher that mends. */
inline ge__quiesce(was)
{
    atomic { was = phase; phase = 1 - phase };
    inflight[was] == 0;
#ifndef BROKEN_ONE_SIDE
    atomic { was = phase; phase = 1 - phase };
    inflight[was] == 0
#endif
}

/* ---- the latches ---------------------------------------------------------- */

inline wake_stop(some)
{
    d_step { changed[0] = true; changed[1] = true };
    if
    :: sleepers != 0 && !some ->
       d_step { sleeping[0] = false; sleeping[1] = false }
    :: sleepers != 0 && some -> /* fewer than there are */
       atomic {
           if
           :: sleeping[0] -> sleeping[0] = false
           :: sleeping[1] -> sleeping[1] = false
           :: else
           fi
       }
    :: sleepers == 0
    fi
}

inline wake_news()
{
#ifdef DISPATCHER
#ifdef BROKEN_SLEEPERS_FIRST
    if
    :: idlers != 0 -> news = true; idle = false
    :: idlers == 0 -> news = true
    fi
#else
    news = true;
    if
    :: idlers != 0 -> idle = false
    :: idlers == 0
    fi
#endif
#else
    skip
#endif
}

/* ---- the wake-up ---------------------------------------------------------- */

inline poke()
{
    if
    :: !backend
    :: backend ->
#ifdef PIPE
       using++;
       if
       :: whole -> poked = true /* send(), which does no harm to others */
       :: !whole
       fi;
       using--
#else
#ifdef BROKEN_ASLEEP_FIRST
       if
       :: asleep -> poked = true; blocked = false
       :: !asleep -> poked = true
       fi
#else
       poked = true;
       if
       :: asleep -> blocked = false
       :: !asleep
       fi
#endif
#endif
    fi
}

inline ge_poke(side)
{
    ge__enter(side);
    poke();
    ge__leave(side)
}

/* ---- the handler ---------------------------------------------------------- */

inline flip(i)
{
    if
    :: cell[i] ->
       assert(!gone[i]);
       flag[i] = true
    :: !cell[i]
    fi
}

proctype Signal()
{
    bit side;
    bool entered;

    ge__enter(side);
#ifdef BROKEN_WAKE_FIRST
    poke();
#endif
    count++;
    atomic { entered = !stopping; stopping = true };
#ifdef BROKEN_LOSER_LEAVES
    if
    :: entered -> flip(0); flip(1)
    :: !entered
    fi;
#else
    flip(0);
    flip(1);
#endif
    assert(flag[0] || !cell[0]); /* heard when the handler returns */
    if
    :: entered -> wake_stop(true) /* ge__latch_rouse() */
    :: !entered
    fi;
#ifndef BROKEN_WAKE_FIRST
    poke();
#endif
    ge__leave(side)
}

/* ---- the watcher ---------------------------------------------------------- */

inline turn()
{
    if
#ifdef BROKEN_WAKE_ONCE
    :: stopping && !woken -> woken = true; wake_stop(false)
    :: !stopping || woken
#else
#ifdef BROKEN_ROUSE_ALONE
    :: true
#else
    :: stopping -> wake_stop(false)
    :: !stopping
#endif
#endif
    fi;
    fed = count;
    wake_news()
}

inline close_backend(was)
{
    backend = false;
#ifndef BROKEN_NO_QUIESCE_AT_CLOSE
    ge__quiesce(was);
#endif
    assert(using == 0)
}

/* Not at once: meanwhile the watcher looks by the clock, and does here what
 * it does then, a turn. */
inline mend_pipe(was)
{
    if
    :: !whole ->
       close_backend(was);
       d_step { whole = true; poked = false };
       backend = true
    :: whole
    fi
}

#ifdef PIPE
/* First it looks now and then. Then it sleeps in recv(), on the socket, which
 * a close of the other end ends, too. */
inline ge__wake_pipe_wait()
{
    if
    :: !whole
    :: whole ->
#ifdef BROKEN_POLL
       /* poll() looks up the number again, and finds a silent stranger. */
end_poll:
       poked && whole
#else
end_recv:
       poked || !whole
#endif
    fi
}
#else
inline ge__wake_futex_wait()
{
    asleep = true;
    atomic {
        if
        :: poked
        :: else -> blocked = true
        fi
    };
end_futex:
    !blocked;
    asleep = false
}
#endif

active proctype Watcher()
{
    bit was;
#ifdef BROKEN_WAKE_ONCE
    bool woken;
#endif

    do
    ::
#if defined(PIPE) && !defined(BROKEN_MEND_LATE)
       mend_pipe(was);
#endif
#ifdef BROKEN_QUIT_FIRST
       if
       :: quit -> break
       :: !quit
       fi;
       poked = false;
#else
#ifndef BROKEN_SEEN_LATE
       poked = false; /* seen: the number is read, or the pipe emptied */
#endif
       if
       :: quit -> break
       :: !quit
       fi;
#endif
       turn();
#ifdef BROKEN_SEEN_LATE
       poked = false;
#endif
#ifdef PIPE
#ifdef BROKEN_MEND_LATE
       mend_pipe(was);
#endif
       ge__wake_pipe_wait()
#else
       ge__wake_futex_wait()
#endif
    od;
    watcher_ended = true
}

/* ---- the threads of the program ------------------------------------------- */

inline ge_cell_add(i)
{
#ifdef BROKEN_STATE_FIRST
    if
    :: stopping -> cell[i] = true; flag[i] = true
    :: !stopping -> cell[i] = true
    fi
#else
    cell[i] = true;
    if
    :: stopping -> flag[i] = true
    :: !stopping
    fi
#endif
}

proctype Waiter(byte me)
{
#ifndef CLOSER
    if
    :: me == 1 -> attached[me] = true; ge_cell_add(me)
    :: me == 0
    fi;
#endif
    do
    ::
#ifndef BROKEN_LOOK_FIRST
       changed[me] = false; /* ge_seen() */
#endif
       if
       :: flag[me] || !attached[me] -> break
       :: !flag[me] && attached[me]
       fi;
#ifdef BROKEN_LOOK_FIRST
       changed[me] = false;
#endif
       sleepers++;
       atomic {
           if
           :: changed[me]
           :: else -> sleeping[me] = true
           fi
       };
end_waiter:
       !sleeping[me];
       sleepers--
    od;
    ended++
}

#ifdef DISPATCHER
active proctype Dispatcher()
{
    do
    :: dispatcher_quit -> break
    :: !dispatcher_quit ->
       news = false;
       told_stop = stopping;
       told = count;
#ifndef BROKEN_NO_SECOND_LOOK
       if
       :: dispatcher_quit -> break
       :: !dispatcher_quit
       fi;
#endif
       idlers++;
       atomic {
           if
           :: news
           :: else -> idle = true
           fi
       };
end_dispatcher:
       !idle;
       idlers--
    od;
    dispatcher_ended = true
}
#endif

#ifdef OTHER
/* Who adds a descriptor, for instance. */
active proctype Other()
{
    bit side;

    ge_poke(side)
}
#endif

#ifdef CLOSER
inline close_killer(i)
{
    attached[i] = false;
    cell[i] = false;
#ifndef BROKEN_NO_QUIESCE
    ge__quiesce(was);
#endif
    gone[i] = true;
#ifndef BROKEN_SILENT_DETACH
    wake_stop(false)
#endif
}

proctype Closer()
{
    bit was;

    close_killer(0);
    close_killer(1)
}
#endif

#ifdef STRANGER
active proctype Stranger()
{
    whole -> whole = false
}
#endif

#ifdef STOPPER
active proctype Stopper()
{
    bit side;

    dispatcher_quit = true;
    wake_news();
    quit = true;
    ge_poke(side);
    watcher_ended;
    close_backend(side)
}
#endif

init {
    atomic {
        byte i;

        attached[0] = true;
        cell[0] = true;
#ifdef CLOSER
        attached[1] = true;
        cell[1] = true;
        run Closer();
#endif
#ifndef DISPATCHER
        for (i : 0 .. WAITERS - 1) {
            run Waiter(i)
        }
#endif
#if SIGNALS > 0
        for (i : 1 .. SIGNALS) {
            run Signal()
        }
#endif
    }
    /* Nobody can do anything any more. */
    timeout;
    assert(count == SIGNALS && inflight[0] == 0 && inflight[1] == 0);
#ifdef STOPPER
    assert(watcher_ended);
#else
    assert(fed == SIGNALS);
#endif
#ifndef DISPATCHER
    assert(ended == WAITERS && sleepers == 0)
#else
#ifdef STOPPER
    assert(dispatcher_ended)
#else
    assert(told == SIGNALS && told_stop)
#endif
#endif
}
