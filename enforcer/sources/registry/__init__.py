"""Registries: manifests, signatures and blobs over HTTP, believed by digest."""
