"""Open sections are known by names that are never used again."""

from __future__ import annotations


def test_none_is_closed_in_place_of_another(passes) -> None:
    """Two threads close the same section, and at once another one is opened, which
    may lie where the first one lay: the slower thread leaves that one alone."""
    passes(
        """
        import sysconfig
        from gracefulexit import _core
        # With an interpreter lock the two take turns, and a turn takes 5 ms.
        ROUNDS = 5000 if sysconfig.get_config_var("Py_GIL_DISABLED") else 100
        section = TerminateProtected()
        given, done = (0, 0), 0
        def close(serial):
            try:
                section._shut(serial)
            except RuntimeError:
                pass  # the other one was faster
        def work():
            global done
            while done < ROUNDS:
                number, serial = given
                if number > done:
                    close(serial)
                    done = number
        with TerminateProtected():
            threading.Thread(target=work, daemon=True).start()
            for number in range(1, ROUNDS + 1):
                first, second = _core.new_serial(), _core.new_serial()
                equal(0, section._try(first, False, _core.INSIDE))
                given = number, first
                close(first)
                equal(0, section._try(second, False, _core.INSIDE))
                while done < number:
                    pass
                equal((number, True), (number, _core.is_open(second)))
                close(second)
        """
    )
