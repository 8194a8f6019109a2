"""The signature cache of this host: OCI blobs on disk, and an index of them."""

from enforcer.sources.cache.disk import Check, DiskCache, Entry

__all__ = ["Check", "DiskCache", "Entry"]
