"""Do something every minute until the stop, which does not wait for the minute."""

from gracefulexit import GracefulKiller


def tick():
    print("tick", flush=True)


def main():
    with GracefulKiller() as killer:
        tick()
        print("ready", flush=True)
        while not killer.wait(60):
            tick()
    print("stopped by", killer.reason.signal.name)
    killer.exit()


if __name__ == "__main__":
    main()
