/* count_syscalls PROGRAM [ARG...]: how many system calls are made between two
 * marks, exactly; those that the C library makes for itself too.
 *
 * A mark is getppid() with arguments that the kernel ignores:
 *
 *     syscall(NR, BEGIN, id)    count what this thread calls from now on
 *     syscall(NR, END, id)      and print it: id name=count ...
 *
 * NR is in the environment as COUNT_SYSCALLS_NR. Prints to descriptor 3.
 * Exits with 77 where the system does not let us trace. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/ptrace.h> /* before sys/ptrace.h: has struct syscall_info */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc's header declares the same enumerators as the kernel's. */
extern long ptrace(int request, ...);

enum { BEGIN = 0xbe61, END = 0xe4d, CALLS = 1024, NO_TRACE = 77 };

static const struct {
    long nr;
    const char *name;
} names[] = {
    { SYS_rt_sigaction, "sigaction" },
    { SYS_rt_sigprocmask, "sigprocmask" },
    { SYS_futex, "futex" },
    { SYS_clock_gettime, "clock_gettime" },
    { SYS_getpid, "getpid" },
    { SYS_gettid, "gettid" },
    { SYS_tgkill, "tgkill" },
    { SYS_mmap, "mmap" },
    { SYS_munmap, "munmap" },
    { SYS_brk, "brk" },
    { SYS_madvise, "madvise" },
};

static struct {
    pid_t counted; /* the thread between its marks, or 0 */
    unsigned long calls[CALLS];
} state;

static void
print(uint64_t id)
{
    dprintf(3, "%llu", (unsigned long long)id);
    for (long nr = 0; nr < CALLS; nr++) {
        const char *name = NULL;

        if (state.calls[nr] == 0) {
            continue;
        }
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (names[i].nr == nr) {
                name = names[i].name;
            }
        }
        if (name != NULL) {
            dprintf(3, " %s=%lu", name, state.calls[nr]);
        } else {
            dprintf(3, " %ld=%lu", nr, state.calls[nr]);
        }
    }
    dprintf(3, "\n");
}

static void
on_call(pid_t thread)
{
    struct ptrace_syscall_info info = { .op = 0 };

    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0 &&
        errno != ESRCH) {
        exit(NO_TRACE); /* Linux before 5.3; the rest dies with us */
    }
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) {
        return;
    }
    if (info.entry.nr == SYS_getppid && info.entry.args[0] == BEGIN) {
        memset(&state, 0, sizeof state);
        state.counted = thread;
    } else if (info.entry.nr == SYS_getppid && info.entry.args[0] == END) {
        print(info.entry.args[1]);
        state.counted = 0;
    } else if (thread == state.counted && info.entry.nr < CALLS) {
        state.calls[info.entry.nr]++;
    }
}

static void
become(char **argv)
{
    char number[32];

    (void)snprintf(number, sizeof number, "%d", SYS_getppid);
    if (setenv("COUNT_SYSCALLS_NR", number, 1) != 0 ||
        ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(NO_TRACE);
    }
    (void)raise(SIGSTOP);
    execvp(argv[0], argv);
    _exit(127);
}

int
main(int argc, char **argv)
{
    int status, options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
    pid_t main_thread;

    if (argc < 2) {
        return 2;
    }
    main_thread = fork();
    if (main_thread == 0) {
        become(argv + 1);
    }
    if (main_thread < 0 || waitpid(main_thread, &status, 0) < 0) {
        return NO_TRACE;
    }
    if (!WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, main_thread, NULL,
               options | PTRACE_O_EXITKILL) != 0 ||
        ptrace(PTRACE_SYSCALL, main_thread, NULL, NULL) != 0) {
        return WIFEXITED(status) ? WEXITSTATUS(status) : NO_TRACE;
    }
    while (true) {
        pid_t thread = waitpid(-1, &status, __WALL);
        int signum = 0;

        if (thread < 0) {
            return errno == ECHILD ? 0 : 1;
        }
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (thread == main_thread) {
                return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
            }
            continue;
        }
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            on_call(thread);
        } else if (WSTOPSIG(status) != SIGTRAP && status >> 16 == 0 &&
                   WSTOPSIG(status) != SIGSTOP) {
            signum = WSTOPSIG(status); /* its own: hand it on */
        }
        (void)ptrace(PTRACE_SYSCALL, thread, NULL, signum);
    }
}
