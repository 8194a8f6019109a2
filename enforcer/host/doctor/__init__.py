"""`enforcer doctor`: what this host is really set up to do, and what is amiss.

A module a subject. Each looks at running processes and asks running daemons; files
count only where nobody can be asked. What cannot be found out is a finding too. It
changes nothing.
"""

from enforcer.host.doctor.examine import examine
from enforcer.host.doctor.finding import Finding, Report, Severity
from enforcer.host.doctor.look import Look, Places

__all__ = ["Finding", "Look", "Places", "Report", "Severity", "examine"]
