"""How long threads spin for each other before they sleep: short, so that a busy machine goes on.

Threads that share an operator wait for the last one. libgomp lets them spin for milliseconds, and
while another process holds the core that the last one needs, they burn the time it could have had.
Weights and answers do not depend on it.
"""

from __future__ import annotations

import os

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_SPINS = "2000"  # tens of microseconds; see docs/speed.md


def spin_briefly() -> None:
    """Set libgomp's spin count for this process, unless its user has set a policy.

    It is read when torch is first imported, and it is a setting of the whole process, so the
    command line makes it and the library does not.
    """
    if not any(name in os.environ for name in VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = _SPINS
