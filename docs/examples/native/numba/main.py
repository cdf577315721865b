"""Stops in the middle of a loop that Numba has compiled."""

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from gracefulexit import GracefulKiller


@intrinsic
def load(typingctx, address):
    """The C int at an address, by an atomic load: a plain one would be taken out of
    the loop."""

    def generate(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(32).as_pointer())
        return builder.load_atomic(pointer, "monotonic", 4)

    return types.int32(types.intp), generate


@njit("int64(int64)")
def steps(n):
    """Steps from n to 1, by n/2 and 3n+1."""
    count = 0
    while n != 1:
        n = 3 * n + 1 if n % 2 else n // 2
        count += 1
    return count


@njit("UniTuple(int64, 2)(intp)", nogil=True)
def search(flag):
    """Look for the longest way to 1 while the flag is down."""
    checked = most = 0
    while load(flag) == 0:
        checked += 1
        most = max(most, steps(checked))
    return checked, most


with GracefulKiller(grace=25) as killer:
    print("searching", flush=True)
    checked, most = search(killer.flag_address)
    print(f"checked {checked} numbers, at most {most} steps", flush=True)
killer.exit()
