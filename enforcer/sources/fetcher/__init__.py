"""Registries, lists and responders, as seen by who may use no network.

A process of its own asks them; whoever asks that one believes no byte of its answer.
Both ends of fetcher.sock are spelled here; `enforcer.fetcher` serves it.
"""

from enforcer.sources.fetcher.client import Fetched, FetcherClient, FetcherError
from enforcer.sources.fetcher.wire import Wanted

__all__ = ["Fetched", "FetcherClient", "FetcherError", "Wanted"]
