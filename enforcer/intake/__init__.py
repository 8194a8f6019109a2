"""What comes onto this host, and is kept as far as it counts: signatures and evidence.

Signatures come from a registry by way of the fetcher, evidence from wherever it was
carried or fetched. Never from inside a decision.
"""
