/* What this system can do. The only header that asks which system this is,
 * and the first include of every core .c file.
 *
 * Every branch that Linux could take can be forced with -DGE_FORCE_NO_..., and
 * `.ci/run rows` tests each; the others are compiled only. */
#ifndef GE_PLATFORM_H
#define GE_PLATFORM_H

#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* syscall, SOCK_CLOEXEC; before any header */
#endif

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Linux: the kernel's own compare-and-sleep, without a descriptor. */
#if defined(__linux__) && !defined(GE_FORCE_NO_FUTEX)
#define GE_HAVE_FUTEX 1
#else
#define GE_HAVE_FUTEX 0
#endif

/* macOS has sigwait(), which does not tell who sent the signal. */
#if defined(__APPLE__) || defined(GE_FORCE_NO_SIGWAITINFO)
#define GE_HAVE_SIGWAITINFO 0
#else
#define GE_HAVE_SIGWAITINFO 1
#endif

/* glibc's sigwaitinfo() hides whether a signal was sent to the thread alone.
 */
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define GE_SIGWAITINFO(set, info)                                             \
    (int)syscall(SYS_rt_sigtimedwait, set, info, NULL, (GE_NSIG + 6) / 8)
#else
#define GE_SIGWAITINFO(set, info) sigwaitinfo(set, info)
#endif

/* macOS has no flags for socketpair(); compat/socketpair.c needs three calls.
 */
#if defined(__APPLE__) || defined(GE_FORCE_NO_SOCK_CLOEXEC)
#define GE_HAVE_SOCK_CLOEXEC 0
#else
#define GE_HAVE_SOCK_CLOEXEC 1
#endif

/* Linux: a packet without a byte in it wakes the reader of a local packet
 * socket. macOS has no such sockets, and nobody has looked at FreeBSD. */
#if defined(__linux__) && !defined(GE_FORCE_NO_EMPTY_PACKET)
#define GE_HAVE_EMPTY_PACKET 1
#else
#define GE_HAVE_EMPTY_PACKET 0
#endif

/* Linux: a child that tells nobody of its end, and that ends with its parent.
 */
#if defined(__linux__) && !defined(GE_FORCE_NO_QUIET_CHILD)
#define GE_HAVE_QUIET_CHILD 1
#else
#define GE_HAVE_QUIET_CHILD 0
#endif

/* macOS cannot choose the clock of a condition variable. */
#if defined(__APPLE__)
#define GE_HAVE_CONDATTR_CLOCK 0
#else
#define GE_HAVE_CONDATTR_CLOCK 1
#endif

/* Linux: a folder for each thread, read without opendir(), whose closedir()
 * would close the descriptor of whoever has the number by then. */
#if defined(__linux__) && !defined(GE_FORCE_NO_TASK_FOLDERS)
#define GE_HAVE_TASK_FOLDERS 1
#define GE_GETDENTS(fd, to, size) syscall(SYS_getdents64, fd, to, size)
#else
#define GE_HAVE_TASK_FOLDERS 0
#endif

/* What ps -T, top and debuggers show; at most 15 characters. */
#if defined(__linux__)
#define GE_NAME_THREAD(thread, name) (void)pthread_setname_np(thread, name)
#else
#define GE_NAME_THREAD(thread, name) (void)(name)
#endif

/* One more than the highest signal number, so that ranges are half-open.
 * FreeBSD's NSIG leaves out the realtime signals, and FreeBSD and macOS
 * define NSIG as the highest number. */
#if defined(_SIG_MAXSIG)
#define GE_NSIG (_SIG_MAXSIG + 1)
#elif defined(__APPLE__)
#define GE_NSIG (NSIG + 1)
#elif defined(_NSIG)
#define GE_NSIG _NSIG
#else
#define GE_NSIG 65
#endif

/* si_code of a signal that was sent to one thread. */
#if defined(SI_TKILL)
#define GE_SI_THREAD SI_TKILL
#elif defined(SI_LWP)
#define GE_SI_THREAD SI_LWP
#else /* macOS fills si_code with 0 for every sender */
#define GE_SI_THREAD 0
#endif

/* Linux writes a "broken pipe" as SIGPIPE to the writing thread. The watcher
 * has every signal blocked, so nothing is needed here. */

/* Native stacks: Linux threads need room for the static TLS of every library
 * that is loaded (200 kB of it made 64 kB stacks fail with EINVAL). */
#define GE_STACK_SIZE (256 * 1024)

/* Ours stay out of the way of programs that close or reuse low numbers. */
#define GE_LOWEST_FD 64

#define GE_NS_PER_S INT64_C(1000000000)

/* CLOCK_MONOTONIC in nanoseconds. Call from: anywhere, a handler too. */
static inline int64_t
ge_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail: valid clock */
    return (int64_t)t.tv_sec * GE_NS_PER_S + (int64_t)t.tv_nsec;
}

/* The same, as of the last tick of the kernel: some milliseconds late, and a
 * quarter of the price. For what people read. */
static inline int64_t
ge_now_coarse(void)
{
#if defined(CLOCK_MONOTONIC_COARSE)
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * GE_NS_PER_S + (int64_t)t.tv_nsec;
#else
    return ge_now();
#endif
}

/* A time before the clock began is past as well; the system calls refuse it.
 */
static inline struct timespec
ge_timespec(int64_t ns)
{
    ns = ns < 0 ? 0 : ns;
    struct timespec t = { .tv_sec = (time_t)(ns / GE_NS_PER_S),
                          .tv_nsec = (long)(ns % GE_NS_PER_S) };
    return t;
}

#endif
