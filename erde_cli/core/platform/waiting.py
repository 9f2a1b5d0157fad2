"""Limit how long OpenMP threads spin before they sleep, which helps on a busy machine.

Threads that share an operator wait for the last one. libgomp lets them spin for milliseconds. If
another process holds the core that the last thread needs, the spinning wastes time. Results do not
depend on the setting.
"""

from __future__ import annotations

import os

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_SPINS = "2000"  # tens of microseconds; see docs/speed.md


def spin_briefly() -> None:
    """Set libgomp's spin count for this process, unless the user has set a policy.

    torch reads it at its first import. The setting affects the whole process, so only the command
    line calls this.
    """
    if not any(name in os.environ for name in VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = _SPINS
