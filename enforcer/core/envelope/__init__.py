"""Signature envelopes: bytes to untrusted values, one module per format.

Nothing here trusts anybody. `formats` knows which module reads what.
"""
