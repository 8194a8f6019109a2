"""Whatever ends a writer half-way: kill -9, a power cut, a disk that is full or breaks.

`python -m tests.crash WORD --help` runs one of the campaigns by hand. Each runs the
same steps (`steps`) on a host's state (`host`), ends them somewhere, and looks at what
a reader and the next writer find. `naive` is a writer that must fail in every one.
"""
