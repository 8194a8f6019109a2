"""Revocation evidence: gathered from responders and lists, kept, and remembered.

`store` and `floors` only use the disk, and are all the daemon needs. `fetch`, `gather`
and `sync` use the network: import them only where that is meant, so nothing is
exported here.
"""
