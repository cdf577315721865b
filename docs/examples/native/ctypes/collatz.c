/* A library that knows neither Python nor gracefulexit:
 *     cc -O2 -shared -fPIC collatz.c -o libcollatz.so */

/* Steps from n to 1, by n/2 and 3n+1. */
static unsigned
steps(unsigned long long n)
{
    unsigned count = 0;

    for (; n != 1; n = n % 2 ? 3 * n + 1 : n / 2) {
        count++;
    }
    return count;
}

/* Look for the longest way to 1 while *stopping is 0. An atomic load, or the
 * compiler would read it once, before the loop. */
unsigned
search(const int *stopping, unsigned long long *checked)
{
    unsigned most = 0;

    while (!__atomic_load_n(stopping, __ATOMIC_RELAXED)) {
        unsigned count = steps(++*checked);

        most = count > most ? count : most;
    }
    return most;
}
