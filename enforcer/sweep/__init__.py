"""What runs is judged again whenever what it is judged by has changed, and on a timer.

It reports, and stops where the host says so. Nothing here lets anything start that the
gate would refuse, and a failure here keeps nothing from being judged at its start.
"""

from enforcer.sweep.report import Found, SweepRules, SweepView
from enforcer.sweep.sweep import Sweep

__all__ = ["Found", "Sweep", "SweepRules", "SweepView"]
