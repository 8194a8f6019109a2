"""Put enforcer on a host and take it off again: small steps, each undone by a journal.

What takes it off (`undo` and all it imports) is the standard library and nothing else:
install copies it to where any python3 runs it, so that a broken environment, or none,
does not keep enforcer on a host.
"""
