"""The engines on this host, read through their records and their disks.

Nothing here asks Docker's API: inside `runc create` that deadlocks. What a record
says is checked against the file system that is really mounted.
"""

from enforcer.sources.engines.host import HostEngines

__all__ = ["HostEngines"]
