"""Does enforcer agree with notation 1.3.2, and never allow what that denies?

Judged as `enforcer verify oci-layout:DIR@DIGEST --scope NAME` does, in-process; the
notation is real. ENFORCER_SOAK=1 asks for ten times as many cases, ENFORCER_SEED for
others.
"""

import base64
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from enforcer.core.cbor import parse_cbor
from enforcer.core.descriptor import Descriptor
from enforcer.core.envelope.formats import parse_envelope
from enforcer.core.signature_manifest import build_signature_manifest
from enforcer.core.signing import (
    EnvelopeFormat,
    parse_signer,
    sign_envelope,
    thumbprints,
)
from tests.differential.certificates import recertified
from tests.differential.envelopes import (
    damaged,
    draft,
    edited,
    oddly_signed,
    spliced,
)
from tests.differential.layouts import artifact_form, relaid
from tests.differential.listed import clause_for
from tests.differential.timestamps import stamped
from tests.differential.tree import Pairs
from tests.differential.world import (
    COSE,
    JWS,
    Case,
    Verdict,
    World,
    read,
    seeded,
    write,
)
from tests.pki import NOTARY, pems

# cryptography warns of certificates it reads all the same; in a test that would be an
# error, and the daemon would judge otherwise than what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SEED = int(os.environ.get("ENFORCER_SEED", "20260601"))
CASES = 20_000 if os.environ.get("ENFORCER_SOAK") else 2_000
DENIED_SAMPLE = CASES // 10  # of those that we deny, notation is asked about so many
WORKERS = 4

ALGORITHMS = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
FORMATS = tuple(EnvelopeFormat)


@pytest.fixture(scope="module")
def world(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Make signers, a policy and an image, once."""
    return World(tmp_path_factory.mktemp("world") / "notation")


@dataclass(frozen=True)
class Asker:
    """Asks notation about cases, each in a folder of its own."""

    world: World
    folder: Path
    numbers: Iterator[int]

    def __call__(self, case: Case) -> Verdict:
        place = self.folder / str(next(self.numbers))
        verdict = self.world.theirs(case, place)
        shutil.rmtree(place)
        return verdict


@pytest.fixture
def ask(world: World, tmp_path: Path) -> Asker:
    """Lend a way to ask notation."""
    return Asker(world, tmp_path, count())


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_we_sign_notation_accepts(
    world: World, ask: Asker, algorithm: str, format_: EnvelopeFormat
) -> None:
    """Six algorithms, two formats, with and without expiry and user metadata."""
    chain = world.chains[algorithm]
    signer = parse_signer(chain[0].key_pem, pems(chain), at=world.now)
    for expires_at, user_metadata in (
        (None, {}),
        (world.now + timedelta(days=1), {"buildId": "42", "<&>": "\u2028é"}),
    ):
        envelope = sign_envelope(
            format_,
            world.target,
            signer,
            at=world.now,
            expires_at=expires_at,
            user_metadata=user_metadata,
        )
        manifest = build_signature_manifest(
            Descriptor.of(format_.media_type, envelope),
            world.target,
            thumbprints(signer.chain),
            world.now,
        )
        files = world.signed(envelope, format_.media_type, manifest=manifest)
        case = Case("ours", algorithm, files, str(world.target.digest))

        verdict = ask(case)

        assert verdict.allows, verdict.said
        assert world.ours(case).allows


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_notation_signs_we_accept(
    world: World, tmp_path: Path, algorithm: str, format_: EnvelopeFormat
) -> None:
    """And we would have written the very same protected header."""
    write(tmp_path / "layout", world.image)
    about = str(world.target.digest)
    world.notation.sign_layout(
        tmp_path / "layout",
        about,
        key=algorithm,
        envelope=format_.value,
        extra=["--expiry", "24h", "--user-metadata", "a=1"],
    )
    files = read(tmp_path / "layout")

    verdict = world.ours(Case("theirs", algorithm, files, about))

    assert verdict.allows, verdict.said
    raw = files[f"blobs/sha256/{verdict.signature[7:]}"]
    theirs = parse_envelope(format_, raw)
    assert theirs.attributes.signing_time is not None
    chain = world.chains[algorithm]
    ours = sign_envelope(
        format_,
        world.target,
        parse_signer(chain[0].key_pem, pems(chain), at=world.now),
        at=theirs.attributes.signing_time,
        expires_at=theirs.attributes.expiry,
        user_metadata={"a": "1"},
    )
    assert parse_envelope(format_, ours).attributes == theirs.attributes
    assert _protected(format_, ours) == _protected(format_, raw)


@dataclass(frozen=True)
class Tried:
    """A case, and what we said."""

    number: int
    case: Case
    ours: Verdict


def test_mutations_never_open_what_notation_keeps_shut(
    world: World, ask: Asker
) -> None:
    """Law 9: laxer than notation is a hole, or on the list with its clause."""
    tried = [_try(world, number) for number in range(1, CASES + 1)]
    allowed = [one for one in tried if one.ours.allows]
    denied = [one for one in tried if not one.ours.allows]
    sample = seeded(SEED, 0).sample(denied, min(DENIED_SAMPLE, len(denied)))

    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(ask, [one.case for one in allowed]))
        sampled = list(pool.map(ask, [one.case for one in sample]))

    holes, listed = [], Counter[str]()
    for one, theirs in zip(allowed, answers, strict=True):
        if not theirs.allows:
            clause = clause_for(world, one.case, one.ours, ask)
            listed[clause or "NONE"] += 1
            holes += [] if clause else [_shown(one, theirs)]
    stricter = Counter(
        f"{one.case.kind}, sampled: only notation allows"
        for one, theirs in zip(sample, sampled, strict=True)
        if theirs.allows
    )
    print(f"\nseed {SEED}, {CASES} mutations: allowed {len(allowed)}, denied the rest")
    print(f"of {len(sample)} sampled that we deny, notation allows {stricter.total()}")
    print(f"of those that we allow, notation denies {listed.total()}, by this clause:")
    kinds = Counter(f"{one.case.kind}, allowed {one.ours.allows}" for one in tried)
    counted = (*listed.most_common(), *sorted((kinds + stricter).items()))
    for name, number in counted:
        print(f"  {number:6}  {name}")
    assert not holes, f"{len(holes)} holes\n" + "\n".join(holes[:10])


def test_where_we_are_laxer_a_clause_says_so(world: World, ask: Asker) -> None:
    """Each entry of the list that chance meets rarely, made on purpose."""
    cases = (
        artifact_form(world.right),
        _protected_chain(world),
        _look_alike(world),
    )
    verdicts = [world.ours(case) for case in cases]

    found = [
        clause_for(world, case, verdict, ask)
        for case, verdict in zip(cases, verdicts, strict=True)
    ]

    assert [verdict.allows for verdict in verdicts] == [True] * 3
    assert [ask(case).allows for case in cases] == [False] * 3
    assert [clause and clause.partition(":")[0] for clause in found] == [
        "facts 2.3, signature-specification.md 247-251",
        "facts 2.3, signature-envelope-cose.md 185",
        "facts 2.3, RFC 7515 4",
    ]


_MAKERS = (
    *(edited,) * 5, damaged, *(spliced,) * 2, oddly_signed, *(recertified,) * 3,
    *(relaid,) * 3, stamped,
)  # fmt: skip


def _try(world: World, number: int) -> Tried:
    rng = seeded(SEED, number)
    while True:
        try:
            case = rng.choice(_MAKERS)(world, rng)
        except UnicodeEncodeError:  # half a surrogate pair, which no file can hold
            continue
        return Tried(number, case, world.ours(case))


def _shown(tried: Tried, theirs: Verdict) -> str:
    """Everything it takes to make the layout again."""
    files = {
        path: base64.b64encode(raw).decode() for path, raw in tried.case.files.items()
    }
    return (
        f"case {SEED}/{tried.number}, {tried.case.kind}: {tried.case.done}\n"
        f"  enforcer: {tried.ours.said}\n  notation: {theirs.said}\n"
        f"  layout: {json.dumps(files)}"
    )


def _protected(format_: EnvelopeFormat, raw: bytes) -> object:
    if format_ is EnvelopeFormat.JWS:
        return json.loads(raw)["protected"]
    message = parse_cbor(raw[1:], what="it", max_bytes=len(raw))
    assert isinstance(message, list)
    return message[0]


def _protected_chain(world: World) -> Case:
    right = draft(world, "cose", "ES256", world.chains["ES256"], seeded(SEED, 0))
    chain = (33, right.header.get(33))
    protected = Pairs([*right.protected, chain])
    raw = replace(right, protected=protected, header=Pairs()).write()
    return world.case("listed", "x5chain protected", raw, COSE)


def _look_alike(world: World) -> Case:
    rng = seeded(SEED, 0)
    right = draft(world, "jws", "ES256", world.chains["ES256"], rng, plain=True)
    other = (f"{NOTARY}Expiry", "2099-01-01T00:00:00Z")
    raw = replace(right, protected=Pairs([*right.protected, other])).write()
    return world.case("listed", "look-alike", raw, JWS)
