"""What truly happens to an image that nobody signed, at every door of this host.

Each door gets an image of its own, made for this one time, so that nothing on the host
can know it. It is sent as a user would send it; what is told is what happened, never
what is configured. Whatever was made is removed again, and what an earlier run that was
killed left is removed by the next.
"""

from enforcer.host.prove.outcome import DoorResult, Result, is_proven
from enforcer.host.prove.proving import DOORS, prove

__all__ = ["DOORS", "DoorResult", "Result", "is_proven", "prove"]
