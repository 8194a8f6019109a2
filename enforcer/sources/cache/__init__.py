"""The signature cache of this host: OCI blobs on disk, and an index of them."""

from enforcer.sources.cache.disk import DiskCache
from enforcer.sources.cache.index import Entry
from enforcer.sources.cache.usage import CacheSize

__all__ = ["CacheSize", "DiskCache", "Entry"]
