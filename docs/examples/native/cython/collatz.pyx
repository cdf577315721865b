# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""A long loop without the interpreter lock, which sees the stop by itself."""

cdef extern from "gracefulexit.h" nogil:
    int gracefulexit_import() except -1 with gil
    bint gracefulexit_stopping()

gracefulexit_import()


cdef unsigned int steps(unsigned long long n) noexcept nogil:
    """Steps from n to 1, by n/2 and 3n+1."""
    cdef unsigned int count = 0
    while n != 1:
        n = 3 * n + 1 if n % 2 else n // 2
        count += 1
    return count


def search():
    """Look for the longest way to 1 until the program stops."""
    cdef unsigned long long checked = 0
    cdef unsigned int most = 0
    with nogil:
        while not gracefulexit_stopping():
            checked += 1
            most = max(most, steps(checked))
    return checked, most
