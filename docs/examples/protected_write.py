"""Both parts of a record are written, or none: no signal ends us in between.

    protected_write.py FILE

There is no killer here, and the program handles no signal. SIGTERM or Ctrl-C in
the section has its usual effect, at the section's end: the program ends, by
SIGTERM or with KeyboardInterrupt.
"""

import sys

from gracefulexit import TerminateProtected


def copy_records(source, target):
    while first := source.readline():
        with TerminateProtected():
            target.write(first)
            target.flush()
            print("ready", flush=True)  # half of the record is in the file
            target.write(source.readline())
            target.flush()
        print("next record", flush=True)


def main(path):
    with open(path, "w") as target:
        try:
            copy_records(sys.stdin, target)
        finally:
            print("finally")


if __name__ == "__main__":
    main(sys.argv[1])
