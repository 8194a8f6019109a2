"""The authorization plug-in on real dockerds: early refusals, and no way around."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enforcer.hooks.authz.content import RUNTIMES
from enforcer.hooks.authz.routes import ROUTES
from tests.engines.dockerd import Dockerd
from tests.engines.images import dockerfile_context, layout_to_tar, write_layout
from tests.engines.process import wait_until
from tests.real.authz import AuthzStage, send
from tests.real.authz_corpus import request as raw_request
from tests.real.authz_corpus import requests
from tests.real.stage import Done, Image, said

GENERATIONS = ("authz_docker", "authz_graph_docker", "authz_old_docker")
ALL = pytest.mark.parametrize("generation", GENERATIONS)
NEW = pytest.mark.parametrize("generation", GENERATIONS[:2])
HURRY_SECONDS = 5.0


@pytest.fixture(scope="module")
def authz_docker(engines: Path) -> Iterator[AuthzStage]:
    """Run Docker 28 with containerd's store."""
    with AuthzStage("containerd") as stage:
        yield stage


@pytest.fixture(scope="module")
def authz_graph_docker(engines: Path) -> Iterator[AuthzStage]:
    """Run Docker 28 with its own overlay2 store."""
    with AuthzStage("graphdriver") as stage:
        yield stage


@pytest.fixture(scope="module")
def authz_old_docker(engines: Path) -> Iterator[AuthzStage]:
    """Run Docker 20.10."""
    with AuthzStage("graphdriver", "bookworm") as stage:
        yield stage


@pytest.fixture
def stage(generation: str, request: pytest.FixtureRequest) -> AuthzStage:
    found: AuthzStage = request.getfixturevalue(generation)
    return found


@pytest.fixture
def pair(stage: AuthzStage) -> tuple[Image, Image]:
    """A signed image and an unsigned one."""
    good, bad = stage.image("good"), stage.image("bad")
    stage.sign(good)
    return good, bad


def _docker(stage: AuthzStage, *words: str, seconds: float = 60) -> Done:
    return stage.docker.docker(*words, check=False, timeout_seconds=seconds)


def _images_of_containers(stage: AuthzStage) -> list[str]:
    """What every container there is was made of: its image, or the id of one."""
    listed = _docker(stage, "ps", "--all", "--quiet", "--no-trunc").stdout.split()
    if not listed:
        return []
    return _docker(stage, "inspect", "--format={{json .}}", *listed).stdout.splitlines()


@ALL
def test_dockerd_lists_the_plugin(stage: AuthzStage) -> None:
    """Else nothing below would show anything."""
    done = _docker(stage, "info", "--format={{json .Plugins.Authorization}}")

    assert json.loads(done.stdout) == [stage.relay.name]


@ALL
@pytest.mark.alone
def test_an_unsigned_image_is_refused_at_create_and_nothing_hangs(
    stage: AuthzStage, pair: tuple[Image, Image]
) -> None:
    """Refused at start, `docker run --rm` would wait for ever (facts 0.9)."""
    _, bad = pair

    done = _docker(stage, "run", "--rm", bad.name, seconds=HURRY_SECONDS)

    assert done.returncode == 125
    assert re.search(
        r"authorization denied by plugin \S+: enforcer: "
        rf"{bad.name} is not signed: no signature about sha256:[0-9a-f]{{12}} is known "
        r"on this host \[ENF-1001\]; next: enforcer explain [0-9A-Z]{16}",
        said(done),
    )
    assert not any(bad.name in container for container in _images_of_containers(stage))
    (record,) = [r for r in stage.host.decisions() if r["reference"] == bad.name]
    assert (record["asked_by"], record["allowed"]) == ("authz", False)


@ALL
def test_an_image_is_judged_by_whatever_name_it_is_asked_for(
    stage: AuthzStage, pair: tuple[Image, Image]
) -> None:
    """Tag, whole id, short id: they all mean the same content."""
    done = {}
    for image in pair:
        ids = _docker(stage, "inspect", "--format={{.Id}}", image.name).stdout.strip()
        short = ids.removeprefix("sha256:")[:12]
        names = [image.name, ids, short, ids.removeprefix("sha256:")]
        if ids == image.digest:  # containerd's store knows it by its manifest
            names.append(f"{image.name.partition(':')[0]}@{image.digest}")
        for name in names:
            done[image.name, name] = _docker(stage, "run", "--rm", name)
    good, bad = pair

    for (image_name, name), result in done.items():
        if image_name == good.name:
            assert (result.returncode, result.stdout) == (0, f"{good.text}\n"), name
        else:
            assert result.returncode == 125, name
            assert bad.text not in said(result)
            assert "[ENF-1001]" in result.stderr


@ALL
def test_an_image_that_is_not_here_is_refused_with_advice(stage: AuthzStage) -> None:
    """What is not there cannot be judged, and could be there a moment later."""
    done = _docker(stage, "run", "--rm", "nowhere:1")

    assert done.returncode == 125
    assert "no image called nowhere:1" in done.stderr
    assert "docker pull comes first" in done.stderr


@ALL
def test_another_runtime_is_refused(
    stage: AuthzStage, pair: tuple[Image, Image]
) -> None:
    """Only the runc in dockerd's PATH has the gate in front (T-HK-11)."""
    good, _ = pair

    other = _docker(stage, "run", "--rm", "--runtime=crun", good.name)
    same = [
        _docker(stage, "run", "--rm", f"--runtime={name}", good.name)
        for name in ("runc", "io.containerd.runc.v2")
    ]

    assert other.returncode == 125
    assert "runtime crun is refused" in other.stderr
    assert "[ENF-1503]" in other.stderr
    assert [done.stdout for done in same] == [f"{good.text}\n"] * 2


@pytest.mark.parametrize("generation", ["authz_docker"])
def test_an_image_mount_is_judged(stage: AuthzStage, pair: tuple[Image, Image]) -> None:
    """`good` with the programs of another image in it (facts, matrix)."""
    good, bad = pair
    path = "/mnt/message"
    mounts = [f"--mount=type=image,src={image.name},dst=/mnt" for image in (bad, good)]

    refused, allowed = (
        _docker(stage, "run", "--rm", mount, good.name, "/bin/cat", path)
        for mount in mounts
    )

    assert refused.returncode == 125
    assert f"{bad.name} is not signed" in refused.stderr
    assert "is not signed" not in allowed.stderr


@ALL
def test_builds_follow_the_switch(stage: AuthzStage) -> None:
    """As a whole: the plug-in cannot see what a Dockerfile says."""
    context = dockerfile_context(stage.host.home / stage.name("context"), "hello")
    legacy = stage.docker.release == "bookworm"
    ways = ("0",) if legacy else ("0", "1")

    def build(way: str) -> Done:
        return stage.docker.docker(
            "build", "--network=none", "--no-cache", f"--tag={stage.name('b')}:1",
            context, check=False, env={"DOCKER_BUILDKIT": way},
        )  # fmt: skip

    refused = [build(way) for way in ways]
    stage.reconfigure(builds="allow")
    try:
        allowed = [build(way) for way in ways]
    finally:
        stage.reconfigure(builds="deny")

    for done in refused:
        assert done.returncode != 0
        assert "an image build (POST " in said(done)
        assert "this host denies builds. Build elsewhere, or set `builds: allow`" in (
            said(done)
        )
        assert "[ENF-1106]" in said(done)
    assert [done.returncode for done in allowed] == [0] * len(ways), allowed


@ALL
def test_docker_plugins_are_refused(stage: AuthzStage) -> None:
    """They are programs of root's that nobody judges (CVE-2026-33997)."""
    installed = _docker(stage, "plugin", "install", "--grant-all-permissions", "x/y")
    folder = stage.host.home / stage.name("plugin")
    (folder / "rootfs").mkdir(parents=True)
    (folder / "config.json").write_text('{"entrypoint":["/x"]}')
    created = _docker(stage, "plugin", "create", stage.name("plugin"), str(folder))
    enabled = _docker(stage, "plugin", "enable", "x/y")

    for done in (installed, created, enabled):
        assert done.returncode == 1
        assert "[ENF-1504]" in done.stderr
    assert _docker(stage, "plugin", "ls", "--quiet").stdout == ""


@ALL
def test_a_checkpoint_is_not_started(
    stage: AuthzStage, pair: tuple[Image, Image]
) -> None:
    """What was in memory once is nothing anybody signed."""
    good, _ = pair
    name = stage.name("held")
    _docker(stage, "create", "--name", name, good.name)

    reply = stage.call("POST", f"/containers/{name}/start?checkpoint=c1")
    plain = stage.call("POST", f"/containers/{name}/start")

    assert reply.status == 403
    assert "[ENF-1505]" in reply.text
    assert plain.status == 204


@ALL
def test_services_of_a_swarm_are_judged(
    stage: AuthzStage, pair: tuple[Image, Image]
) -> None:
    """Their tasks start with no call that a plug-in would see (facts 0.8)."""
    good, bad = pair
    _docker(stage, "swarm", "init", "--advertise-addr=127.0.0.1")
    try:
        refused = _docker(stage, "service", "create", "--detach", bad.name)
        allowed = _docker(
            stage, "service", "create", "--detach", "--name=web",
            "--restart-condition=none", good.name,
        )  # fmt: skip
        wait_until(
            lambda: "Complete" in _docker(stage, "service", "ps", "web").stdout,
            "the task of the service has run",
        )
        updated = _docker(
            stage, "service", "update", "--detach", f"--image={bad.name}", "web"
        )
        plugin = stage.call(
            "POST", "/services/create",
            {"Name": "p", "TaskTemplate": {"Runtime": "plugin", "PluginSpec": {}}},
        )  # fmt: skip
    finally:
        _docker(stage, "swarm", "leave", "--force")
        _docker(stage, "network", "rm", "docker_gwbridge")  # on the host's own network

    for done in (refused, updated):
        assert done.returncode == 1
        assert f"{bad.name} is not signed" in done.stderr
    assert allowed.returncode == 0
    assert (plugin.status, "[ENF-1504]" in plugin.text) == (403, True)


@ALL
def test_every_call_that_dockerd_knows_is_in_the_table(stage: AuthzStage) -> None:
    """What a newer Docker adds is refused until somebody wrote down its rule."""
    found = re.findall(
        r"Registering (?:route\" method=)?([A-Z]+),? (?:path=)?\\?\"?(/[^\"\s]*)",
        stage.docker.log,
    )
    acting = {(m, p) for m, p in found if m not in ("GET", "HEAD", "OPTIONS")}
    known = {_shape(call) for call, _ in ROUTES}

    unknown = {f"{m} {p}" for m, p in acting if _shape(f"{m} {p}") not in known}

    assert len(acting) > 60
    # Copying out of a container went with API 1.24; Docker 20.10 still has it.
    assert unknown <= {"POST /containers/{name:.*}/copy"}


def _shape(call: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", call)


@ALL
def test_no_request_makes_a_container_that_nobody_judged(
    stage: AuthzStage, pair: tuple[Image, Image]
) -> None:
    """T-HK-12: 0 cases, whatever two readers make of a request."""
    good, bad = pair
    cases = dict(requests(good.name, bad.name))

    replies = {
        name: stage.send(raw, timeout=HURRY_SECONDS) for name, raw in cases.items()
    }
    control = stage.send(raw_request("/containers/create", _image_body(good.name)))

    containers = [json.loads(text) for text in _images_of_containers(stage)]
    made_of = {container["Config"]["Image"] for container in containers}
    assert len(cases) >= 200
    assert bad.name not in made_of
    assert not any(bad.name in json.dumps(container) for container in containers)
    # Docker 20.10 leaves it empty until the start, and then takes its default.
    runtimes = {container["HostConfig"].get("Runtime", "") for container in containers}
    assert runtimes <= set(RUNTIMES)
    assert {name for name, reply in replies.items() if reply.status == 201} == set()
    assert control.status == 201
    assert sum(reply.status == 403 for reply in replies.values()) >= 100
    _remove_all(stage)


@pytest.mark.parametrize("engine", ["docker", "old_docker"])
def test_the_same_requests_do_make_containers_where_no_plugin_is(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Else the test above would show nothing."""
    docker: Dockerd = request.getfixturevalue(engine)
    for name in ("corpusgood:1", "corpusevil:1"):
        layout = tmp_path / name.partition(":")[0]
        write_layout(layout, text=name, tag=name)
        docker.docker(
            "load", "--input", layout_to_tar(layout, layout.with_suffix(".t"))
        )
    cases = dict(requests("corpusgood:1", "corpusevil:1"))

    replies = [send(docker, raw, timeout=HURRY_SECONDS) for raw in cases.values()]

    listed = docker.docker("ps", "--all", "--no-trunc", "--format={{.Image}}")
    evil = listed.stdout.split().count("corpusevil:1")
    docker.docker("rm", *docker.docker("ps", "--all", "--quiet").stdout.split())
    assert evil >= 40
    assert sum(reply.status == 201 for reply in replies) >= evil


def _image_body(name: str) -> bytes:
    return json.dumps({"Image": name}).encode()


def _remove_all(stage: AuthzStage) -> None:
    listed = _docker(stage, "ps", "--all", "--quiet").stdout.split()
    _docker(stage, "rm", "--force", *listed)


@ALL
def test_everyday_commands_work(stage: AuthzStage, pair: tuple[Image, Image]) -> None:
    """A table that forgets a call breaks somebody's morning."""
    good, bad = pair
    name, other, archive = stage.name("a"), stage.name("b"), stage.host.home / "a.tar"
    stop = ("--stop-signal=KILL", good.name, "/bin/sleep", "600")
    for line in (
        ("run", "--detach", "--network=none", "--name", name, *stop),
        ("exec", name, "/bin/true"),
        ("cp", f"{name}:/message", str(archive)),
        ("cp", str(archive), f"{name}:/copied"),
        ("pause", name),
        ("unpause", name),
        ("update", "--restart=no", name),
        ("rename", name, other),
        ("restart", other),
        ("stop", other),
        ("start", other),
        ("kill", other),
        ("wait", other),
        ("logs", other),
        ("commit", other, f"{other}:1"),
        ("rm", "--force", other),
        ("tag", bad.name, f"{other}:2"),
        ("save", "--output", str(archive), bad.name),
        ("rmi", f"{other}:1", f"{other}:2"),
        ("load", "--input", str(archive)),
        ("import", str(archive), f"{other}:3"),
        ("image", "prune", "--force"),
        ("volume", "create", other),
        ("volume", "rm", other),
        ("network", "create", "--driver=null", other),
        ("network", "ls"),
        ("system", "df"),
        ("container", "prune", "--force"),
        ("system", "prune", "--force"),
        ("info",),
        ("ps", "--all"),
    ):
        done = _docker(stage, *line)
        if line[:2] == ("network", "create"):  # dockerd has only one of that kind
            assert "authorization denied" not in done.stderr
        else:
            assert done.returncode == 0, (line, done.stderr)


@NEW
def test_compose_is_judged(stage: AuthzStage, pair: tuple[Image, Image]) -> None:
    """Its calls are its own, not the docker command's."""
    good, bad = pair
    ups = []
    for image in pair:
        file = stage.host.home / f"{stage.name('compose')}.yaml"
        service = {"image": image.name, "network_mode": "none"}
        file.write_text(json.dumps({"name": "c", "services": {"web": service}}))
        compose = ("compose", "--file", str(file))
        ups.append(_docker(stage, *compose, "up", "--pull=never"))
        _docker(stage, *compose, "down")

    assert (ups[0].returncode, good.text in ups[0].stdout) == (0, True), ups[0].stderr
    assert ups[1].returncode != 0
    assert f"{bad.name} is not signed" in said(ups[1])


@ALL
def test_in_monitor_mode_it_refuses_nothing_and_records_all(
    stage: AuthzStage, pair: tuple[Image, Image]
) -> None:
    """Both words are needed, the daemon's and root's own for the gate, as there."""
    _, bad = pair
    conf = stage.host.config / "gate.conf"
    conf.write_text("mode=monitor\n")
    conf.chmod(0o644)
    half = _docker(stage, "create", bad.name)
    stage.reconfigure(mode="monitor")
    try:
        whole = _docker(stage, "run", "--rm", bad.name)
        unknown = stage.call("POST", "/nothing")
    finally:
        conf.unlink()
        stage.reconfigure(mode="enforce")
    after = _docker(stage, "create", bad.name)

    assert (whole.returncode, whole.stdout) == (0, f"{bad.text}\n")
    assert unknown.status == 404
    assert [done.returncode for done in (half, after)] == [1, 1]
    records = [r for r in stage.host.decisions() if r["reference"] == bad.name]
    doors = [(r["asked_by"], r["allowed"], r["mode"]) for r in records]
    assert doors == [
        ("authz", False, "enforce"),
        ("authz", False, "monitor"),
        ("gate", False, "monitor"),
        ("authz", False, "enforce"),
    ]


@NEW
@pytest.mark.alone
def test_a_hundred_containers_at_once_are_all_judged(
    stage: AuthzStage, pair: tuple[Image, Image]
) -> None:
    """Bounds are there against floods; this is a Monday morning."""
    good, _ = pair

    def create(_: int) -> int:
        raw = raw_request("/containers/create", _image_body(good.name))
        return stage.send(raw).status

    with ThreadPoolExecutor(100) as threads:
        statuses = list(threads.map(create, range(100)))

    assert statuses == [201] * 100
    descriptors = Path(f"/proc/{stage.relay.pid}/fd")
    wait_until(lambda: len(list(descriptors.iterdir())) < 20, "all are closed")
    _remove_all(stage)
