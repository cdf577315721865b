"""The tests of others that cannot have the same outcome with us, and why.

An environment is named VERSION-SIGNALS-BACKEND, such as "3.11-stop-futex".
"""

from __future__ import annotations

from compare import Expected

EXPECTED: tuple[Expected, ...] = ()
