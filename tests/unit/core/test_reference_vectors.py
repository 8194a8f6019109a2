"""Our reading of references, against what real engines made of the same texts.

The answers in tests/vectors/references.json were observed, and tests/real observes them
anew. A name that we place elsewhere than the engine that runs it would be judged by a
statement that is not about it.
"""

from itertools import chain, combinations

import pytest

from enforcer.core.errors import clip
from enforcer.core.reference import InvalidReferenceError, Reference, parse_reference
from tests.vectors.references import ENGINES, LITERAL, NORMALISING, REFUSED, Row, load

ROWS = load()
HUB = "docker.io/"
HUB_SERVER = "registry-1.docker.io"  # where containerd fetches docker.io from
MAX_MESSAGE = 200 * len(r"\U0001f433") + 200  # a clipped text, escaped; our own words
HEX = "a" * 64

# What engines accept and we refuse, and why.
STRICTER: dict[str, tuple[str, ...]] = {
    "over 255 characters with its host: Docker 20.10 and containerd 1.6 refuse it": (
        f"{'a' * 238}:1",
        f"acme/{'a' * 241}:1",
        f"reg.io/{'a' * 249}:1",
        f"reg.io/{'a' * 255}:1",
        f"reg.io/{'/'.join('a' * 125)}:1",
        f"{'h' * 255}.io/app:1",
    ),
    "no port has six digits": ("reg.io:100000/app:1", f"reg.io:{'9' * 30}/app:1"),
    "no host name: Docker takes all of it for a path, below no host": (
        "under_score.io/app:1",
    ),
    "Docker shortens it to another registry's name": (
        "docker.io/foo.bar/app:1",
        "docker.io/foo.bar/library/app:1",
        "docker.io/localhost/app:1",
        "docker.io/docker.io/app:1",
        "index.docker.io/foo.bar/app:1",
    ),
    "Docker reads it as an id, or shortens it to one": (
        HEX,
        "0123456789abcdef" * 4,
        f"docker.io/{HEX}",
        f"{HEX}@sha256:{HEX}",
        f"sha256:{HEX}",
        f"sha384:{'a' * 96}",
        f"sha512:{'a' * 128}",
        f"library/sha256:{HEX}",
        f"docker.io/library/sha256:{HEX}",
    ),
    "Docker makes a container from no image at all": ("",),
}
# What containerd fetches though everyone else refuses it, and we do: it reads a URL.
ONLY_CONTAINERD: dict[str, tuple[str, ...]] = {
    "it drops what stands before @ or after a port's colon": (
        "user:secret@reg.io/app:1", "reg.io@evil.com/app:1", "reg.io:/app:1",
        "reg:/app:1", "[::1]:/app:1",
    ),
    "it takes all that follows the first colon or @ for a tag": (
        "reg.io/app:5000/b:1", "docker.io/reg:5000/app:1", "reg.io/app:1@",
    ),
    "it drops what a URL has behind its path": ("reg.io/app:1?x=y", "reg.io/app:1#x"),
    "it walks the path, out of the host if told": (
        "docker.io//app:1", "docker.io/:1", "./reg.io/app:1", "app/:1", "a//b:1",
        "reg.io//app:1", "a/./b:1", "a/../b:1", "reg.io/a/../b:1", "reg.io/../b:1",
        "reg.io/./b:1", "reg.io/a/..:1", "reg.io/:1", "./app:1", "../app:1",
    ),
    "it decodes %xx": ("reg.io/a%2fb:1", "reg.io/a%2Fb:1", "reg.io/%61pp:1"),
    "it has no grammar for hosts": (
        "reg.io:5000:5000/app:1", ":5000/app:1", "::1/app:1", "docker.io./app:1",
        "[::ffff:127.0.0.1]/app:1", "reg.io./app:1", ".reg.io/app:1", "reg..io/app:1",
        "_reg.io/app:1", "-reg.io/app:1", "reg-.io/app:1", "reg.io-/app:1", "a./c:1",
        "local./app:1", "-/app:1", "_/app:1", "~/app:1",
    ),
    "it has no grammar for paths": (
        "acme/_app:1", "acme/app_:1", "acme/-app:1", "acme/app-:1", "acme/.app:1",
        "acme/app.:1", "acme/App:1", "reg.io/App:1", f"reg.io/{'a' * 256}:1",
        f"reg.io/{'/'.join('a' * 129)}:1", "reg.io/ app:1", "reg.io/app;x:1",
        "reg.io/app,x:1", "reg.io/app&x:1", "reg.io/*:1", "reg.io/$(id):1",
        "reg.io/app'x:1", 'reg.io/app"x:1',
    ),
    "it takes letters that look like ASCII": (
        "docker.i\u043e/app:1", "reg.io/\u0430pp:1", "d\u043ecker.io/app:1",
        "\u212a.io/app:1", "reg.io/\u212aube:1", "reg\uff0eio/app:1",
        "reg\u3002io/app:1", "reg.io\u2215evil/app:1", "b\u00fccher.io/app:1",
        "e\u0301.io/app:1",
    ),
}  # fmt: skip


def _read(text: str) -> Reference | None:
    try:
        return parse_reference(text)
    except InvalidReferenceError:
        return None


READ = [(row, reference) for row in ROWS if (reference := _read(row.text))]
REFUSALS = [row for row in ROWS if _read(row.text) is None]


def _is_refused_by(row: Row, engines: tuple[str, ...]) -> bool:
    return all(row.answers[engine] is REFUSED for engine in engines)


def _label(value: object) -> str:
    return clip(value.text, limit=40) if isinstance(value, Row) else ""


def test_the_table_is_whole() -> None:
    """An empty table would prove nothing, nor would one with holes."""
    assert len(ROWS) >= 300
    assert len({row.text for row in ROWS}) == len(ROWS)
    assert all(set(row.answers) == set(ENGINES) for row in ROWS)
    assert len(READ) >= 100


@pytest.mark.parametrize(("row", "reference"), READ, ids=_label)
def test_a_name_is_where_each_engine_places_it(row: Row, reference: Reference) -> None:
    """An engine that refuses it starts nothing by it; all others must agree with us."""
    ours = reference.repository(local=False)
    answers = {row.answers[engine] for engine in NORMALISING}

    assert answers - {REFUSED} <= {ours}


@pytest.mark.parametrize(("row", "reference"), READ, ids=_label)
def test_a_name_without_a_host_is_local(row: Row, reference: Reference) -> None:
    """`local/` and the engine's name without `docker.io/library/`; else as above."""
    ours = reference.repository(local=True)
    full = reference.repository(local=False)
    short = full.removeprefix(HUB)
    if short.count("/") == 1:
        short = short.removeprefix("library/")

    assert ours == (full if reference.host else f"local/{short}")


@pytest.mark.parametrize(("row", "reference"), READ, ids=_label)
def test_containerd_fetches_exactly_what_was_written(
    row: Row, reference: Reference
) -> None:
    """It completes nothing: host, path and tag end for us where they end for it."""
    server = HUB_SERVER if reference.host == "docker.io" else reference.host
    written = f"{server}/{reference.path}".removeprefix("/")

    assert row.answers[LITERAL] in (REFUSED, written)


@pytest.mark.parametrize("row", ROWS, ids=_label)
def test_what_every_engine_refuses_is_refused(row: Row) -> None:
    """Nothing can run under such a name, so nobody but an attacker would ask for it."""
    if _is_refused_by(row, ENGINES):
        assert _read(row.text) is None


def test_every_name_that_only_we_refuse_is_listed_with_a_reason() -> None:
    """Stricter than the engines on purpose, and nowhere by accident."""
    stricter = {row.text for row in REFUSALS if not _is_refused_by(row, NORMALISING)}
    own = {row.text for row in REFUSALS if _is_refused_by(row, NORMALISING)}
    fetched = {row.text for row in ROWS if row.answers[LITERAL] is not REFUSED}

    assert stricter == set(chain.from_iterable(STRICTER.values()))
    assert own & fetched == set(chain.from_iterable(ONLY_CONTAINERD.values()))


@pytest.mark.parametrize("engine", NORMALISING)
def test_one_repository_is_one_scope_and_two_are_two(engine: str) -> None:
    """Over all pairs: no spelling escapes a statement or falls under another's."""
    known = [(row.answers[engine], ref) for row, ref in READ if row.answers[engine]]
    assert len(known) >= 100

    for (first, one), (second, other) in combinations(known, 2):
        ours = one.repository(local=False) == other.repository(local=False)
        assert ours == (first == second), (one.text, other.text)


@pytest.mark.parametrize("engine", NORMALISING)
def test_local_names_are_as_distinct_as_the_engine_s(engine: str) -> None:
    """`app` and `library/app` are one image, so they cannot be two scopes."""
    known = [
        (row.answers[engine], reference.repository(local=True))
        for row, reference in READ
        if row.answers[engine] and not reference.host
    ]
    assert len(known) >= 40

    for (first, one), (second, other) in combinations(known, 2):
        assert (one == other) == (first == second)


@pytest.mark.parametrize("row", REFUSALS, ids=_label)
def test_a_refusal_is_printable_and_bounded(row: Row) -> None:
    """Names carry escapes, line ends and megabytes; messages reach terminals."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference(row.text)

    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) <= MAX_MESSAGE
