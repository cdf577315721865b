/* gracefulexit for native code: is the program stopping?
 *
 * For extension modules whose loops run without the interpreter lock. A poll
 * is one load from memory; nothing here takes a lock or calls Python, but for
 * gracefulexit_import(). Nothing is linked: compile with the folder that
 * gracefulexit.get_include() names. Any C from C99 on, any C++ from C++11 on;
 * gcc or clang.
 *
 *     #include <Python.h>
 *     #include <gracefulexit.h>
 *
 *     in the init function of the module, with the interpreter lock:
 *         if (gracefulexit_import() < 0) {
 *             return NULL;
 *         }
 *
 *     in the loop, without it:
 *         while (!gracefulexit_stopping()) {
 *             ...
 *         }
 *
 * The flag is the process's, not a killer's: up from the stop until the last
 * killer is closed, and down while there is none. In a child of os.fork() it
 * begins as down; one that C code forks keeps what it was.
 *
 * All source files of an extension share what one gracefulexit_import() has
 * found. A file that knows no Python.h says, before it includes this one,
 *     #define GRACEFULEXIT_NO_IMPORT
 */
#ifndef GRACEFULEXIT_H
#define GRACEFULEXIT_H

#if !defined(__GNUC__)
#error "gracefulexit.h needs gcc or clang; compile the extension with one"
#endif

#ifndef GRACEFULEXIT_NO_IMPORT
#include <Python.h>
#endif

#include <stddef.h>
#include <stdint.h>

/* Of the struct below, as this header knows it. */
#define GRACEFULEXIT_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/* What the package offers. New members join at the end, with a new version;
 * `oldest_abi` moves when one that was there has changed. Not for users. */
struct gracefulexit_api {
    int newest_abi;
    int oldest_abi;
    const int *stopping;
    int (*wait_ns)(int64_t ns);
};

/* Weak, so that the source files of an extension share one of each, and
 * hidden, so that two extensions do not. */
#define GRACEFULEXIT_SHARED __attribute__((weak, visibility("hidden")))

GRACEFULEXIT_SHARED int gracefulexit_not_imported_ = 0;
GRACEFULEXIT_SHARED const int *gracefulexit_flag_ =
    &gracefulexit_not_imported_;
GRACEFULEXIT_SHARED int (*gracefulexit_wait_)(int64_t ns) = NULL;

#undef GRACEFULEXIT_SHARED

/* Not 0 while the program is stopping. 0 before gracefulexit_import().
 *
 * From any thread, with or without the interpreter lock. One relaxed load: it
 * orders no other memory. */
static inline int
gracefulexit_stopping(void)
{
    return __atomic_load_n(gracefulexit_flag_, __ATOMIC_RELAXED);
}

/* Sleep until the stop, or for `ns` nanoseconds; with a negative number for as
 * long as it takes, as poll() does.
 *
 * From any thread, without the interpreter lock: release it before. Handlers
 * of signals that are written in Python run after it, not meanwhile. Without a
 * killer there is no stop, and it sleeps its time.
 *
 * Returns 1 once the program is stopping, at once if it is already; 0 after
 * the time; -1 at once before gracefulexit_import(). */
static inline int
gracefulexit_wait_ns(int64_t ns)
{
    return gracefulexit_wait_ == NULL ? -1 : gracefulexit_wait_(ns);
}

#ifndef GRACEFULEXIT_NO_IMPORT

/* Find the package. Once for each extension, with the interpreter lock held,
 * best in the init function of its module.
 *
 * Returns 0; or -1 with an ImportError set, for the init function to hand on:
 * the package is missing, or speaks another version of this interface. */
static inline int
gracefulexit_import(void)
{
    const struct gracefulexit_api *api =
        (const struct gracefulexit_api *)PyCapsule_Import(
            "gracefulexit._core._C_API", 0);

    if (api == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_SetString(PyExc_ImportError,
                            "the installed gracefulexit has no C interface "
                            "yet; upgrade it: python -m pip install -U "
                            "gracefulexit");
        }
        return -1;
    }
    if (GRACEFULEXIT_ABI_VERSION < api->oldest_abi ||
        GRACEFULEXIT_ABI_VERSION > api->newest_abi) {
        PyErr_Format(PyExc_ImportError,
                     "this extension was compiled for version %d of "
                     "gracefulexit's C interface, and the installed "
                     "gracefulexit has versions %d to %d; rebuild the "
                     "extension with the gracefulexit that is installed here",
                     GRACEFULEXIT_ABI_VERSION, api->oldest_abi,
                     api->newest_abi);
        return -1;
    }
    gracefulexit_flag_ = api->stopping;
    gracefulexit_wait_ = api->wait_ns;
    return 0;
}

#endif

#ifdef __cplusplus
}
#endif
#endif
