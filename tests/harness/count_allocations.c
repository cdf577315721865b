/* For ctypes.PyDLL: how often does the interpreter ask for memory? */
#include <stddef.h>

/* Python's own, as its documentation has them; there are no headers here. */
struct allocator {
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t number, size_t size);
    void *(*realloc)(void *context, void *old, size_t size);
    void (*free)(void *context, void *old);
};

enum { DOMAINS = 3 }; /* raw, mem, object */

extern void PyMem_GetAllocator(int domain, struct allocator *found);
extern void PyMem_SetAllocator(int domain, struct allocator *wanted);

static struct allocator original[DOMAINS];
static _Atomic long calls;

static void *
count_malloc(void *context, size_t size)
{
    struct allocator *a = context;

    calls++;
    return a->malloc(a->context, size);
}

static void *
count_calloc(void *context, size_t number, size_t size)
{
    struct allocator *a = context;

    calls++;
    return a->calloc(a->context, number, size);
}

static void *
count_realloc(void *context, void *old, size_t size)
{
    struct allocator *a = context;

    calls++;
    return a->realloc(a->context, old, size);
}

static void
pass_free(void *context, void *old)
{
    struct allocator *a = context;

    a->free(a->context, old);
}

void
install(void)
{
    for (int domain = 0; domain < DOMAINS; domain++) {
        struct allocator ours = { &original[domain], count_malloc,
                                  count_calloc, count_realloc, pass_free };

        PyMem_GetAllocator(domain, &original[domain]);
        PyMem_SetAllocator(domain, &ours);
    }
}

long
allocations(void)
{
    return calls;
}
