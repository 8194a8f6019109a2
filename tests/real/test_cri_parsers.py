"""Of an image's name containerd's parser reads what ours read, or ours refused."""

import ast
import os
import random
import re
from collections.abc import Iterator

import pytest

from enforcer.core.errors import EnforcerError
from enforcer.hooks.cri.judging import created_images
from enforcer.ttrpc import encode_fields
from tests.real.cri import CriError, Node, running_node

NAME = "no-such-image:1"
TRIES = 4000 if os.environ.get("ENFORCER_SOAK") else 2000
RESOLVING = re.compile(r'failed to resolve image ("(?:[^"\\]|\\.)*")')
# Tags and lengths that encoders never write, and such as end or begin a group.
ODD = (
    b"\x8a\x00",
    b"\x92\x80\x00",
    b"\x0b",
    b"\x0c",
    b"\x8a\x80\x80\x80\x80\x01",
    b"\x80",
)


@pytest.fixture(scope="module", params=["forky", "bookworm"])
def node(engines: object, request: pytest.FixtureRequest) -> Iterator[Node]:
    """containerd 2.1 and 1.6."""
    with running_node(request.param) as node:
        yield node


def _bent(request: bytes, chance: random.Random) -> bytes:
    """Change a request a little, anywhere in its first half, where the names are."""
    at = chance.randrange(len(request) // 2)
    end = at + chance.randrange(1, 24)
    kind = chance.randrange(5)
    if kind == 0:
        return request[:at] + bytes([chance.randrange(256)]) + request[at + 1 :]
    if kind == 1:
        return request[:at] + request[end:]
    if kind == 2:
        return request[:end] + request[at:]
    if kind == 3:
        return request[:at] + chance.choice(ODD) + request[at:]
    extra = encode_fields((2, encode_fields((1, "other:1"))))
    return request + encode_fields((2, extra))[: chance.randrange(1, 16)]


def test_both_parsers_read_the_same_name_or_ours_refuses(node: Node) -> None:
    """containerd says in its error which image it looked for in vain."""
    chance = random.Random(11)  # noqa: S311 - not a secret
    compared = refused = 0
    with node.pod() as pod:
        good = node.direct.creation(pod, "bent", encode_fields((1, NAME), (18, "x:1")))
        for _ in range(TRIES):
            request = _bent(good, chance)
            try:
                ours = created_images(request)
            except EnforcerError:
                refused += 1
                continue
            with pytest.raises(CriError) as caught:
                node.direct.call("RuntimeService/CreateContainer", request)
            found = RESOLVING.search(caught.value.text)
            if found:
                compared += 1
                # Go's %q
                assert ours[0] == ast.literal_eval(found[1]), request
    assert compared >= TRIES / 20
    assert refused >= TRIES / 20
    print(f"{compared} compared, {refused} refused, of {TRIES}")
