"""Sections may be nested; the signal is delivered when the outermost is left.

    protected_nested.py FILE

Nor is it lost where code between the levels swallows `SystemExit`, as many test
runners, frameworks and `except:` clauses do.
"""

import sys

from gracefulexit import TerminateProtected


def write_first_part(target):
    with TerminateProtected():
        target.write("first\n")
        target.flush()
        print("ready", flush=True)
        sys.stdin.readline()  # the signal comes here
    print("inner section left", flush=True)
    sys.exit("a library's own way to give up")


def main(path):
    with open(path, "w") as target:
        with TerminateProtected():
            try:
                write_first_part(target)
            except SystemExit:
                print("SystemExit swallowed", flush=True)
            target.write("second\n")
            target.flush()
        print("not reached")


if __name__ == "__main__":
    main(sys.argv[1])
