"""Ask enforcerd whether containerd may pull an image. Exit 20: it may. 10: not.

Run by the verifier, through `__main__.py`: `pull --socket S --conf C --gate-log L --
-name REFERENCE -digest DIGEST -stdin-media-type TYPE`, a descriptor on standard input
(containerd's docs/image-verification.md). Nothing of the image is here yet but its
digest. It refuses when it does not get a plain yes from a daemon that root runs.
"""

import os
import time
from select import select

from enforcer.gate import ask

DESCRIPTOR = "application/vnd.oci.descriptor.v1+json"
FLAGS = ("-name", "-digest", "-stdin-media-type")
MAX_DESCRIPTOR_BYTES = 64 * 1024  # annotations and all; a pipe holds as much
READ_SECONDS = 0.5  # containerd has written it before we run; our answer is due in 5 s


def main(argv: list[str]) -> int:
    """Return the exit status for the verifier; say why not on standard output."""
    own, containerds = ask.split(argv[1:])
    try:
        name, digest = parse_call(containerds)
        check_descriptor(read_input(0), digest)
        ask.verify(own["socket"], (1, "bindir"), (2, name), (3, digest), (7, b""))
    except ask.NO_YES as error:
        message = ask.objection(own, error, "nothing is pulled")
        if message:
            _say(message)
            return ask.REFUSED
    return ask.YES


def parse_call(argv: list[str]) -> tuple[str, str]:
    """Return reference and digest of containerd's call; each flag once, in full.

    Go's own reader lets the last of two count, and others take `-d` for `-digest`.

    Raises:
        RefusalError: Anything else, or what no reference has in it.
    """
    values = dict(zip(argv[::2], argv[1::2], strict=False))
    if len(argv) != 2 * len(FLAGS) or set(values) != set(FLAGS):
        raise _unknown(f"arguments {' '.join(argv)}")
    if values["-stdin-media-type"] != DESCRIPTOR:
        raise _unknown(f"input of type {values['-stdin-media-type']}")
    for word in values.values():
        if not word or ask.shown(word) != word:  # bounded, printable ASCII
            raise _unknown(f"argument {word}")
    return values["-name"], values["-digest"]


def read_input(handle: int) -> bytes:
    """Return all of a short input, or raise RefusalError."""
    end = time.monotonic() + READ_SECONDS
    found = b""
    while len(found) <= MAX_DESCRIPTOR_BYTES:
        if not select([handle], [], [], max(end - time.monotonic(), 0))[0]:
            raise _unknown("input that does not end")
        read = os.read(handle, MAX_DESCRIPTOR_BYTES)
        if not read:
            return found
        found += read
    raise _unknown(f"input of more than {MAX_DESCRIPTOR_BYTES} bytes")


def check_descriptor(untrusted: bytes, digest: str) -> None:
    """Return if input and arguments are about the same content, or raise RefusalError.

    Not parsed, which takes as long as all the rest: an encoder escapes the quotes of a
    text, so that this is nowhere but where a key `digest` has that value.
    """
    if f'"digest":"{digest}"'.encode() not in untrusted:
        raise _unknown(f"input that is not about {digest}")


def _unknown(what: str) -> ask.RefusalError:
    why = f"the verifier does not know this call of containerd: {ask.shown(what)}"
    return ask.RefusalError(
        f"{why}, so nothing is pulled [ENF-1551]; next: enforcer explain ENF-1551"
    )


def _say(message: str) -> None:
    """Write where containerd takes its reason from; that it cannot changes nothing."""
    try:  # noqa: SIM105 - contextlib costs milliseconds
        os.write(1, f"{message}\n".encode("ascii", "backslashreplace"))
    except OSError:
        pass
