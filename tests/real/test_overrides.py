"""What a host policy puts above signatures: deny lists, exemptions, broken glass."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.sources.break_glass import BreakGlassFolder
from tests.engines.images import describe
from tests.engines.process import wait_until
from tests.real.acme import (
    PRODUCTION,
    People,
    acme_stage,
    assert_refused,
    assert_runs,
    judged,
    sign,
)
from tests.real.stage import Image, Stage

WHY = {"since": "2026-01-02", "reason": "the build machine was entered"}
TEXT = "denied since 2026-01-02: the build machine was entered"
FAR = "2126-01-01"
LONG_ENOUGH = timedelta(seconds=30)  # to put an exemption in force, and start
NOBODY = 65534


@pytest.fixture(scope="module", params=["containerd", "docker", "graph-docker"])
def stage(people: People, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Run a production host with one kind of engine after another."""
    with acme_stage(request.param, people, PRODUCTION) as stage:
        yield stage


@pytest.fixture(scope="module")
def containerd_only(people: People) -> Iterator[Stage]:
    """Run a production host for what does not depend on the engine."""
    with acme_stage("containerd", people, PRODUCTION) as stage:
        yield stage


def _glass(stage: Stage) -> BreakGlassFolder:
    return BreakGlassFolder(stage.host.run / "break-glass")


def _config(image: Image) -> str:
    """What every engine knows an image by, signed or not."""
    return describe(image.layout).config


def _exempt(image: Image, until: str = FAR) -> dict[str, str]:
    why = {"role": "sandbox", "reason": "pause image", "until": until}
    return {"digest": _config(image)} | why


def test_a_denied_image_starts_for_no_reason_there_is(
    people: People, stage: Stage
) -> None:
    """A signature, an exemption and broken glass together do not outweigh the entry."""
    kinds = ("top", "manifest", "config", "chain_id")
    denied = {kind: stage.image("bad", index=True) for kind in kinds}
    # The same files, but another configuration; only the chain id is of both.
    same_files = {
        kind: stage.image("twin", text=denied[kind].text, cmd=("/bin/cat", "/message"))
        for kind in ("config", "chain_id")
    }
    named = {kind: getattr(describe(one.layout), kind) for kind, one in denied.items()}
    configs = [Digest.parse(_config(image)) for image in denied.values()]
    for image in (*denied.values(), *same_files.values()):
        sign(stage, image, people.release)
    for config in configs:
        _glass(stage).break_for(config, "on call")

    with stage.host.also(
        deny=[{"image": digest, **WHY} for digest in named.values()],
        exempt=[_exempt(image) for image in denied.values()],
    ):
        for kind, image in denied.items():
            assert_refused(stage, image, TEXT, named[kind][:19], "[ENF-1019]")
        assert_refused(stage, same_files["chain_id"], TEXT, "[ENF-1019]")
        assert_runs(stage, same_files["config"])

    for config in configs:
        _glass(stage).mend(config)
    for image in (*denied.values(), same_files["chain_id"]):
        assert_runs(stage, image)


@pytest.mark.parametrize("kind", ["signature", "key"])
def test_what_a_denied_key_signed_does_not_count(
    kind: str, people: People, stage: Stage
) -> None:
    """One signature was a mistake, or the key is in other hands."""
    image, other = stage.image("bad"), stage.image("other")
    for one in (image, other):
        sign(stage, one, people.release)
        assert_runs(stage, one)
    (report,) = judged(stage, image)["signatures"]
    denied = {kind: report["signed" if kind == "signature" else "key"], **WHY}

    with stage.host.also(deny=[denied]):
        assert_refused(stage, image, "local-builds", TEXT, "[ENF-1019]")
        if kind == "key":
            assert_refused(stage, other, TEXT, "[ENF-1019]")
            sign(stage, image, people.release)
            assert_refused(stage, image, TEXT, "[ENF-1019]")
        else:
            assert_runs(stage, other)
            sign(stage, image, people.release)  # the same key, another second
            assert_runs(stage, image)

    assert_runs(stage, image)


def test_an_exempt_digest_starts_and_its_name_lends_nothing(stage: Stage) -> None:
    """An exemption is of content, as a signature is."""
    image = stage.image("pause")
    assert_refused(stage, image, "is not signed", "[ENF-1001]")

    with stage.host.also(exempt=[_exempt(image)]):
        assert_runs(stage, image)
        record = stage.host.decisions()[-1]
        status = stage.host.enforcer("status").stdout
        other = stage.image("other", name=image.name)
        assert_refused(stage, other, "is not signed", "[ENF-1001]")
        stage.load(image)
        assert_runs(stage, image)

    assert (record["allowed"], record["code"]) == (True, "ENF-1020")
    assert "is exempt until 2126-01-01T00:00:00Z (sandbox: pause image)" in str(record)
    assert f"exempt until 2126-01-01T00:00:00Z: {_config(image)}" in status
    assert_refused(stage, image, "is not signed", "[ENF-1001]")


def test_an_exemption_ends_by_itself(containerd_only: Stage) -> None:
    """Nobody has to remember it, and nothing has to be read again."""
    stage = containerd_only
    image = stage.image("pause")
    until = datetime.now(UTC).replace(microsecond=0) + LONG_ENOUGH
    ends = format_rfc3339(until)

    with stage.host.also(exempt=[_exempt(image, ends)]):
        digest = stage.host.policy()["digest"]
        assert_runs(stage, image)
        wait_until(lambda: datetime.now(UTC) >= until, "the exemption is over")
        assert_refused(
            stage, image, "is not signed", f"; its exemption ended {ends}", "[ENF-1001]"
        )
        notices = stage.host.enforcer("status").stdout

    assert f"ended {ends} and does not count" in notices
    assert [r["policy"] for r in stage.host.decisions()[-2:]] == [digest, digest]


def test_broken_glass_lets_one_image_start_until_it_is_mended(stage: Stage) -> None:
    """Three in the morning, one image, a reason, and a record of it."""
    image, other = stage.image("urgent"), stage.image("other")
    digest = Digest.parse(_config(image))
    assert_refused(stage, image, "[ENF-1001]")

    _glass(stage).break_for(digest, "ticket 4711")
    assert_runs(stage, image)
    record = stage.host.decisions()[-1]
    status = stage.host.enforcer("status").stdout
    told = judged(stage, image)
    assert_refused(stage, other, "is not signed", "[ENF-1001]")
    _glass(stage).mend(digest)

    assert_refused(stage, image, "is not signed", "[ENF-1001]")
    assert (record["allowed"], record["code"]) == (True, "ENF-1021")
    assert "because root broke the glass (ticket 4711); otherwise: " in str(record)
    assert "is not signed" in record["message"]
    assert "[ENF-1001]" in record["message"]
    assert record["policy"] == stage.host.policy()["digest"]
    assert (told["allowed"], told["code"]) == (True, "ENF-1021")
    assert f"broken glass: {digest}, 23 h 59 min more: ticket 4711" in status


def _edited(path: Path, **members: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


def _since(path: Path) -> int:
    return int(json.loads(path.read_text())["since"])


def _linked(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


FORGERIES: dict[str, Callable[[Path], object]] = {
    "of another user": lambda path: os.chown(path, NOBODY, NOBODY),
    "writable for a group": lambda path: path.chmod(0o660),
    "of another boot": lambda path: _edited(path, boot="0" * 36),
    "of yesterday": lambda path: _edited(path, since=_since(path) - 25 * 3600),
    "of tomorrow": lambda path: _edited(path, since=_since(path) + 3600),
    "a link": _linked,
    "half": lambda path: path.write_text(path.read_text()[:-1]),
    "in a folder of a group": lambda path: path.parent.chmod(0o770),
    "in a folder of another user": lambda path: os.chown(path.parent, NOBODY, -1),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_break_glass_file_grants_nothing(
    forgery: str, containerd_only: Stage
) -> None:
    """Whoever can write one file somewhere has not become root."""
    stage = containerd_only
    image = stage.image("urgent")
    digest = Digest.parse(_config(image))
    folder = stage.host.run / "break-glass"
    _glass(stage).break_for(digest, "on call")
    assert_runs(stage, image)

    try:
        FORGERIES[forgery](folder / f"sha256-{digest.hex}.json")
        assert_refused(stage, image, "is not signed", "[ENF-1001]")
    finally:
        os.chown(folder, 0, 0)
        _glass(stage).mend(digest)
