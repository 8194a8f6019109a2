"""The engines, as enforcerd sees them: it asks the resolver, and believes no byte.

Both ends of resolver.sock are spelled here; `enforcer.resolver` serves it.
"""

from enforcer.sources.resolver.client import ResolverClient, ResolverError

__all__ = ["ResolverClient", "ResolverError"]
