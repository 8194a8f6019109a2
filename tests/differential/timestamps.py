"""Countersignatures of one envelope in another, and others that are not quite right."""

import base64
import functools
import random
from dataclasses import replace

from tests.differential.envelopes import TIMESTAMP, Draft, draft, media_type
from tests.differential.tree import Node, Pairs
from tests.differential.world import STAMPED, Case, World


def stamped(world: World, rng: random.Random) -> Case:
    """Two right envelopes, and a token about one of them in a mix of both."""
    format_ = rng.choice(["jws", "cose"])
    names = [rng.choice(["ES256", "ES384", "PS256"]) for _ in range(2)]
    one, other = (
        _once(draft(world, format_, name, world.chains[name], rng, plain=True))
        for name in names
    )
    about = rng.choice(["one", "one", "other", "payload", "nothing"])
    message = {
        "one": one.signs(one.message()),
        "other": other.signs(other.message()),
        "payload": one.message(),
        "nothing": b"",
    }[about]
    token, how = _token(world, message, rng)
    parts = [p for p in ("protected", "payload", "header") if rng.random() < 0.15]
    mixed = replace(one, **{part: getattr(other, part) for part in parts})
    header = Pairs([*mixed.header, (TIMESTAMP, _value(token, format_))])
    signer = rng.choice([one, one, one, other])
    raw = replace(mixed, header=header, signs=signer.signs).write(parts=signer)
    done = f"{names}, {parts} of the other, a {how} token about {about}"
    if signer is other:
        done += ", signature of the other"
    case = world.case(f"{format_} stamped", done, raw, media_type(format_))
    return replace(case, scope=STAMPED)


def _once(right: Draft) -> Draft:
    """The same, but signing the same message twice gives the same signature."""
    return replace(right, signs=functools.cache(right.signs))


def _token(
    world: World, message: bytes, rng: random.Random
) -> tuple[bytes | None, str]:
    how = rng.choice(["right", "right", "sha384", "damaged", "cut", "strange", "no"])
    token = world.clock.token(message, hash="sha384" if how == "sha384" else "sha256")
    at = rng.randrange(len(token))
    changed: dict[str, bytes | None] = {
        "damaged": token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :],
        "cut": token[:at],
        "strange": rng.randbytes(40),
        "no": None,
    }
    return changed.get(how, token), how


def _value(token: bytes | None, format_: str) -> Node:
    if token is None or format_ == "cose":
        return token
    return base64.b64encode(token).decode()
