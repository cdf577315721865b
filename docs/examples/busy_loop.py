"""A loop that computes without a pause and looks at `kill_now` in each round.

`kill_now` is a plain attribute: to look costs a few nanoseconds.
"""

from gracefulexit import GracefulKiller


def main():
    with GracefulKiller() as killer:
        begun = done = 0
        print("ready", flush=True)
        while not killer.kill_now:
            begun += 1
            sum(range(10_000))  # the work of one round
            done += 1
    print("whole rounds:", begun == done)
    killer.exit()


if __name__ == "__main__":
    main()
