"""Refuse to start a container whose image is not signed by those the policy names.

The judgement is in `core`, the story in `admission`; every other room asks,
fetches, keeps or shows. CONTRIBUTING.md has the map.
"""

__version__ = "0.1.0"
