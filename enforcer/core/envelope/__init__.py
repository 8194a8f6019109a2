"""Signature envelopes: bytes to untrusted values, one module per format.

Nothing here trusts anybody. Import the format's own module.
"""
