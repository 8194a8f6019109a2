"""`verify --lost`: what real `docker tag` and `docker push` leave behind, and the cure.

Scenarios 4 and 5: promoted to another repository, acquired from a vendor and re-hosted.
"""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.dockerd import Dockerd
from tests.engines.enforced import EnforcedHost
from tests.engines.images import write_layout
from tests.engines.process import run
from tests.engines.registry import running_registry
from tests.real.stage import Done

Registries = tuple[str, str]


@pytest.fixture
def host(engines: Path) -> Iterator[EnforcedHost]:
    with EnforcedHost() as host:
        yield host


@pytest.fixture(scope="module")
def registries(
    engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registries]:
    """The vendor's, and ours."""
    vendor, own = (tmp_path_factory.mktemp(name) for name in ("wabbit", "acme"))
    with running_registry(vendor) as wabbit, running_registry(own) as acme:
        yield wabbit, acme


def published(
    host: EnforcedHost, registry: str, folder: Path, *, index: bool = False
) -> str:
    """Have the vendor sign an image and publish it; return where."""
    word = folder.name
    layout = folder / "image"
    digest = write_layout(layout, text=word, tag="monitor:1", index=index)
    host.notation.sign_layout(layout, digest)
    host.notation.sign_layout(layout, digest, key=host.stranger.name)
    where = f"{registry}/{word.replace('_', '-')}/monitor:1"
    host.enforcer("copy", f"oci-layout:{layout}:1", where)
    return where


def promote(docker: Dockerd, source: str, to: str) -> None:
    """What people do: pull, tag, push."""
    docker.docker("pull", source)
    docker.docker("tag", source, to)
    docker.docker("push", to)


def lost(host: EnforcedHost, source: str, to: str) -> Done:
    return host.enforcer("verify", "--lost", source, to, check=False)


def lost_json(host: EnforcedHost, source: str, to: str) -> Any:
    done = host.enforcer("verify", "--lost", source, to, "-o", "json", check=False)
    return json.loads(done.stdout)


def next_commands(done: Done) -> list[list[str]]:
    """The commands that it says to type, as a shell would read them."""
    lines = [line.strip() for line in done.stdout.splitlines()]
    said = [line.partition("next")[2] for line in lines if line.startswith("next ")]
    return [shlex.split(text[text.index("enforcer ") + 9 :]) for text in said]


@pytest.mark.parametrize("index", [False, True], ids=["manifest", "index"])
def test_a_push_from_containerds_store_loses_the_signatures(
    host: EnforcedHost, docker: Dockerd, registries: Registries, tmp_path: Path,
    index: bool,  # noqa: FBT001 - pytest's
) -> None:  # fmt: skip
    """The content is the same, and what is said first brings everything there."""
    wabbit, acme = registries
    host.configure(docker)
    source = published(host, wabbit, tmp_path, index=index)
    to = source.replace(wabbit, acme)
    promote(docker, source, to)

    done = lost(host, source, to)
    assert done.returncode == 1
    assert "LOST  2 of 2 signature(s) of SRC are not at DST [ENF-2831]" in done.stdout
    assert "content    the same content" in done.stdout
    assert "CN=stranger,O=stranger,ST=WA,C=US (as it says itself)" in done.stdout
    assert f'SRC        ALLOWED: {source} is signed by "CN=acme,O=acme' in done.stdout
    assert f"DST        DENIED: {to} is not signed" in done.stdout

    host.enforcer(*next_commands(done)[0])
    done = lost(host, source, to)
    assert done.returncode == 0
    assert "COMPLETE  all 2 signature(s) of SRC are at DST" in done.stdout
    assert f"DST        ALLOWED: {to} is signed" in done.stdout


def test_a_push_from_overlay2_writes_another_manifest(
    host: EnforcedHost, graph_docker: Dockerd, registries: Registries, tmp_path: Path
) -> None:
    """And no signature can be about it: the one that was signed has to be put there."""
    wabbit, acme = registries
    host.configure(graph_docker)
    source = published(host, wabbit, tmp_path)
    to = source.replace(wabbit, acme)
    promote(graph_docker, source, to)

    done = lost(host, source, to)
    found = lost_json(host, source, to)
    assert done.returncode == 1
    assert "DST is not what is signed at SRC [ENF-2832]" in done.stdout
    assert "`docker push` from an overlay2 store writes a new one" in done.stdout
    assert found["content"] == "same image"
    assert found["source"]["digest"] != found["destination"]["digest"]
    assert (found["complete"], len(found["lost"])) == (False, 2)

    # On this host the image is found by its configuration, whatever it was pushed as.
    assert "next       for this host alone: enforcer cache import" in done.stdout
    here = ("verify", f"docker:{to}")
    assert host.enforcer(*here, check=False).returncode == 1
    host.enforcer(*next_commands(done)[1])
    assert host.enforcer(*here, check=False).returncode == 0
    assert len(next_commands(lost(host, source, to))) == 2

    host.enforcer(*next_commands(done)[0])
    found = lost_json(host, source, to)
    assert (found["complete"], found["content"], found["code"]) == (
        True, "same", "ENF-1000",
    )  # fmt: skip
    assert found["destination"]["allowed"] is True


@pytest.mark.parametrize("store", ["docker", "graph_docker"])
def test_what_an_engine_here_would_start_is_found_by_this_hosts_cache(
    host: EnforcedHost, registries: Registries, tmp_path: Path, store: str,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """A pull brings no signature; what is said imports it, and the image starts."""
    wabbit, _ = registries
    engine: Dockerd = request.getfixturevalue(store)
    host.configure(engine)
    source = published(host, wabbit, tmp_path)
    engine.docker("pull", source)
    here = f"docker:{source}"

    done = lost(host, source, here)
    assert (done.returncode, "[ENF-2832]" in done.stdout) == (1, False)
    assert "LOST  2 of 2 signature(s) of SRC are not at DST [ENF-2831]" in done.stdout
    assert "DST        DENIED" in done.stdout

    host.enforcer(*next_commands(done)[-1])
    done = lost(host, source, here)
    assert (done.returncode, "COMPLETE" in done.stdout) == (0, True)
    assert "in this host's cache" in done.stdout
    assert "DST        ALLOWED" in done.stdout


def test_what_was_signed_here_and_pushed_is_brought_from_the_cache(
    host: EnforcedHost, docker: Dockerd, registries: Registries, tmp_path: Path
) -> None:
    """Build, sign, tag, push: the signature stays in the builder's cache."""
    _, acme = registries
    host.configure(docker)
    to = f"{acme}/{tmp_path.name.replace('_', '-')}/app:1"
    layout = tmp_path / "image"
    write_layout(layout, text=tmp_path.name, tag=to)
    run(["tar", "-cf", tmp_path / "image.tar", "-C", layout, "."], env={})
    docker.docker("load", "--input", tmp_path / "image.tar")
    host.sign(f"docker:{to}")
    docker.docker("push", to)

    done = lost(host, f"docker:{to}", to)
    assert done.returncode == 1
    assert "lost       sha256:" in done.stdout
    assert "in this host's cache" in done.stdout
    assert f"DST here   ALLOWED: {to} is signed" in done.stdout

    assert next_commands(done)[0][:2] == ["copy", "--with-cache"]
    host.enforcer(*next_commands(done)[0])
    assert lost(host, f"docker:{to}", to).returncode == 0
    host.notation.notation("verify", "--insecure-registry", to)


def test_skopeo_loses_them_and_oras_does_not(
    host: EnforcedHost, registries: Registries, tmp_path: Path
) -> None:
    """Other tools people promote with (facts 5.5)."""
    from tests.engines.oras import Oras

    wabbit, acme = registries
    source = published(host, wabbit, tmp_path)
    by_skopeo, by_oras = (source.replace(wabbit, f"{acme}/{n}") for n in ("s", "o"))
    run(
        [
            "/usr/bin/skopeo", "copy", "--insecure-policy", "--src-tls-verify=false",
            "--dest-tls-verify=false", f"docker://{source}", f"docker://{by_skopeo}",
        ],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    Oras(tmp_path / "oras").oras(
        "cp", "-r", "--from-plain-http", "--to-plain-http", source, by_oras
    )

    assert lost_json(host, source, by_skopeo)["code"] == "ENF-2831"
    assert lost_json(host, source, by_oras)["complete"] is True


def test_other_content_under_the_name_is_said(
    host: EnforcedHost, registries: Registries, tmp_path: Path
) -> None:
    wabbit, acme = registries
    source = published(host, wabbit, tmp_path)
    other = published(host, acme, tmp_path / "other")

    done = lost(host, source, other)

    assert done.returncode == 1
    assert "content    other content" in done.stdout
    assert "[ENF-2832]" in done.stdout


def test_places_that_are_not_there_and_words_that_do_not_go_together(
    host: EnforcedHost, registries: Registries, tmp_path: Path
) -> None:
    wabbit, acme = registries
    source = published(host, wabbit, tmp_path)
    asked = {
        (source, f"{acme}/none:1"): (3, "[ENF-2601]"),
        (f"oci-layout:{tmp_path}/none", source): (3, "not an OCI layout"),
        (source, source, source): (2, "takes --scope alone"),
        (source, source, "--online"): (2, "takes --scope alone"),
        (source,): (2, "expected 2 arguments"),
    }
    for words, (status, said) in asked.items():
        done = host.enforcer("verify", "--lost", *words, check=False)
        assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_without_a_policy_it_still_says_what_is_where(
    host: EnforcedHost, registries: Registries, tmp_path: Path
) -> None:
    """A build machine has no policy, and layouts have no name to judge under."""
    wabbit, _ = registries
    source = published(host, wabbit, tmp_path)
    layout = f"oci-layout:{tmp_path}/image:1"
    host.configure(notationConfig=str(tmp_path / "none"))

    found = lost_json(host, layout, source)

    assert found["complete"] is True
    assert found["source"]["allowed"] is None
    assert len(found["kept"]) == 2
