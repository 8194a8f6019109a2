"""enforcer.yaml: every problem at once, with its line, and nothing else believed."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.quota import Quota
from enforcer.core.strictyaml import MAX_PROBLEMS
from enforcer.files import FileNotTrustedError
from enforcer.settings import (
    DEFAULT_ENGINES,
    Settings,
    SettingsError,
    SweepSettings,
    SyncSettings,
    load_settings,
)
from enforcer.settings.load import document

HEAD = "apiVersion: enforcer/v1\n"
ENGINE = "{kind: %s, socket: %s, root: /r, state: /s}"


def load(folder: Path, text: str | bytes) -> Settings:
    raw = text if isinstance(text, bytes) else text.encode()
    (folder / "enforcer.yaml").write_bytes(raw)
    return load_settings(folder)


def problem(folder: Path, text: str | bytes) -> str:
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    assert caught.value.code is Code.SETTINGS_INVALID
    return caught.value.what


def test_without_a_file_the_strict_defaults_hold(tmp_path: Path) -> None:
    found = load_settings(tmp_path)

    assert (found.mode, found.builds, found.notation.allow_levels) == (
        "enforce",
        "deny",
        (),
    )
    assert found.notation_config is None
    assert found.engines == DEFAULT_ENGINES
    assert found.cache_dir == Path("/var/lib/enforcer/cache")
    assert found.log_dir == Path("/var/log/enforcer")
    assert found.audit_dir == Path("/var/log/enforcer/audit")
    assert load_settings(tmp_path / "none").mode == "enforce"


def test_everything_can_be_said(tmp_path: Path) -> None:
    containerd, docker = ENGINE % ("containerd", "/c"), ENGINE % ("docker", "/c")
    found = load(
        tmp_path,
        HEAD + "mode: monitor\nnotationConfig: /n\nbuilds: allow\ndeadlineSeconds: 2\n"
        "notation: {allowLevels: [permissive, audit]}\n"
        f"engines: [{containerd}, {docker}]\n"
        "sweep: {every: 5m, onDenied: stop, graceSeconds: 10}\n"
        "cache: {maxBytes: 5GiB, maxFiles: 7}\n"
        "sync: {every: 6h, list: [r.example/app:1], registries: ['r.example:5000'],"
        " fetchOnPull: true}\n"
        "stateDir: /state\nrunDir: /run/e\n",
    )

    assert (found.mode, found.builds, found.deadline_seconds) == ("monitor", "allow", 2)
    assert found.notation.allow_levels == ("permissive", "audit")
    assert [engine.kind for engine in found.engines] == ["containerd", "docker"]
    assert found.engines[1].api == Path("/run/docker.sock")
    assert found.sweep == SweepSettings(300, "stop", 10)
    assert found.cache == Quota(5 * 1024**3, 7)
    assert found.sync == SyncSettings(
        6 * 3600, ("r.example/app:1",), None, ("r.example:5000",), on_pull=True
    )
    assert found.trust_dir == Path("/n/truststore/x509")
    assert (found.state_dir, found.run_dir) == (Path("/state"), Path("/run/e"))
    assert found.log_dir == Path("/state/log")


def test_folders_on_the_command_line_win_and_become_absolute(tmp_path: Path) -> None:
    (tmp_path / "enforcer.yaml").write_text(HEAD + "stateDir: /state\nrunDir: /r\n")

    found = load_settings(tmp_path, Path("a"), Path("b"))

    assert (found.state_dir, found.run_dir) == (Path.cwd() / "a", Path.cwd() / "b")
    assert found.log_dir == Path.cwd() / "a" / "log"


def test_all_problems_are_told_with_their_lines(tmp_path: Path) -> None:
    """An operator mends once, not five times."""
    text = "mode: off\nbuilds: 1\ntypo: x\nnotationConfig: rel/ative\n"
    path = tmp_path / "enforcer.yaml"

    said = problem(tmp_path, text)

    assert said.startswith(f"5 problems in {path}: ")
    assert f'{path}:1: "off" is not one of enforce, monitor' in said
    assert f'{path}:2: "1" is not one of deny, allow' in said
    assert f'{path}:3: unknown key "typo"; known are apiVersion, mode' in said
    assert f'{path}:4: "rel/ative" is not an absolute path' in said
    assert f'{path}:1: "apiVersion" is missing' in said


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n"])
def test_an_empty_file_is_no_settings(tmp_path: Path, text: str) -> None:
    """Half a write of an editor must not fall back to defaults unnoticed."""
    assert ":1: the file is empty" in problem(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\n", "expected a mapping"),
        ("- a\n", "expected a mapping"),
        ("text\n", "expected a mapping"),
        (HEAD + "a: [\n", "is not YAML"),
        (HEAD + "---\n" + HEAD, "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"\x00", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("apiVersion: enforcer/v2\n", '"enforcer/v2" is not one of enforcer/v1'),
        (HEAD + "mode: enforce\nmode: monitor\n", '"mode" is there twice'),
        (HEAD + "<<: {mode: monitor}\n", 'unknown key "?"'),
        (HEAD + "? [mode]\n: monitor\n", 'unknown key "?"'),
        (HEAD + "mode: !!python/name:os.system monitor\n", "is not one of"),
        (HEAD + "mode: !!python/object/apply:os.system [id]\n", "is not one of"),
        (HEAD + "mode: !monitor monitor\n", "is not one of"),
        (HEAD + "mode: [monitor]\n", "a list or mapping is not one of"),
        (HEAD + "mode: null\n", "is not one of"),
        (HEAD + "Mode: monitor\n", 'unknown key "Mode"'),
        (HEAD + "deadlineSeconds: 4\n", "expected one of 1, 2, 3 (seconds)"),
        (HEAD + "deadlineSeconds: '2'\n", "expected one of 1, 2, 3 (seconds)"),
        (HEAD + "deadlineSeconds: 0x2\n", "expected one of 1, 2, 3 (seconds)"),
        (HEAD + "notationConfig: /a/../b\n", "is not an absolute path"),
        (HEAD + 'notationConfig: "/a\\0b"\n', "is not an absolute path"),
        (HEAD + 'notationConfig: "/a\\ud800"\n', "is not"),
        (HEAD + "notationConfig: 7\n", '"7" is not an absolute path'),
        (HEAD + "notation: {crlCache: here}\n", '"here" is not an absolute path'),
        (
            HEAD + "notation: {plugins: [{name: p, path: /p}]}\n",
            '"digest" is missing',
        ),
        (
            HEAD + "notation: {plugins: [{name: p, path: /p, digest: md5:0}]}\n",
            '"md5:0" is not a digest',
        ),
        (HEAD + "notation: {allowLevels: audit}\n", "expected a list"),
        (HEAD + "notation: {allowLevels: [strict]}\n", '"strict" is not one of'),
        (HEAD + "cache: {size: 1}\n", "unknown key"),
        (HEAD + "cache: {maxBytes: 1GB}\n", '"1GB" is not a size such as 500MiB'),
        (HEAD + "cache: {maxBytes: 0}\n", '"0" is not a size such as 500MiB'),
        (HEAD + "cache: {maxBytes: 2000TiB}\n", "is not a size such as 500MiB"),
        (HEAD + "cache: {maxBytes: [1]}\n", "a list or mapping is not a size"),
        (HEAD + "cache: {maxFiles: 0}\n", '"0" is not a number of files'),
        (HEAD + "cache: {maxFiles: -1}\n", '"-1" is not a number of files'),
        (HEAD + "sync: {every: 30s}\n", '"30s" is not a time from 1m to 24h'),
        (HEAD + "sync: {list: images.txt}\n", "is not an absolute path"),
        (HEAD + "sync: {list: [app:1]}\n", '"app:1" names no registry'),
        (HEAD + "sync: {list: [r.example/A]}\n", "is not a lower-case repository"),
        (HEAD + "sync: {registries: [HTTP://x]}\n", "is not a lower-case HOST"),
        (HEAD + "sync: {fetchOnPull: 1}\n", '"1" is not true or false'),
        (HEAD + "sync: {credential: x}\n", "unknown key"),
        (HEAD + "sweep: {often: 1m}\n", "unknown key"),
        (HEAD + "sweep: {every: 59}\n", '"59" is not a time from 1m to 24h'),
        (HEAD + "sweep: {every: 25h}\n", '"25h" is not a time from 1m to 24h'),
        (HEAD + "sweep: {onDenied: kill}\n", '"kill" is not one of report, stop'),
        (HEAD + "sweep: {graceSeconds: 0}\n", "a number from 1 to 600"),
        (HEAD + "sweep: {graceSeconds: 601}\n", "a number from 1 to 600"),
        (
            HEAD + "engines: [{kind: containerd, socket: /s, root: /r, state: /s, "
            "api: /a}]\n",
            "api and authz are of a docker engine",
        ),
        (HEAD + "engines: {}\n", "expected a list"),
        (HEAD + "engines: [{kind: podman}]\n", '"podman" is not one of docker'),
        (HEAD + f"engines: [{ENGINE % ('docker', '/d')}]\n", "no containerd engine"),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, text: str | bytes, expected: str
) -> None:
    assert expected in problem(tmp_path, text)


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path: Path) -> None:
    """Ten lines of ten aliases each would be ten billion items."""
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    text = HEAD + "\n".join(lines) + "\nmode: *a9\nengines: *a9\n"

    said = problem(tmp_path, text)

    assert "a list or mapping is not one of enforce, monitor" in said
    assert len(said) < 20_000


def test_a_list_that_holds_itself_is_refused(tmp_path: Path) -> None:
    assert "expected a mapping" in problem(tmp_path, HEAD + "engines: &a [*a]\n")


def test_a_thousand_problems_are_counted_and_some_are_told(tmp_path: Path) -> None:
    said = problem(tmp_path, HEAD + "".join(f"k{n}: x\n" for n in range(1000)))

    assert said.startswith("1000 problems")
    assert said.count("unknown key") == MAX_PROBLEMS


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    assert "has more than 65536 bytes" in problem(tmp_path, HEAD + "#" * 70_000)


def test_others_must_not_be_able_to_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "enforcer.yaml"
    load(tmp_path, HEAD)

    path.chmod(0o666)
    with pytest.raises(FileNotTrustedError, match=r"enforcer\.yaml can be written by"):
        load_settings(tmp_path)

    path.chmod(0o600)
    tmp_path.chmod(0o777)
    with pytest.raises(FileNotTrustedError, match="can be written by group or others"):
        load_settings(tmp_path)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "dangling"])
def test_the_file_must_be_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "enforcer.yaml"
    (tmp_path / "real").write_text(HEAD + "mode: monitor\n")
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to("real"),
        "dangling": lambda: path.symlink_to("none"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    make[kind]()

    with pytest.raises(SettingsError, match=r"enforcer\.yaml"):
        load_settings(tmp_path)


@given(st.text() | st.binary())
def test_hostile_bytes_are_an_error_of_ours_and_nothing_else(raw: str | bytes) -> None:
    text = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
    with contextlib.suppress(SettingsError):
        document("f", text)


def test_a_docker_has_an_api_and_may_be_promised_a_plugin(tmp_path: Path) -> None:
    """What prove asks, and what it holds that Docker to."""
    listed = (ENGINE % ("containerd", "/c"), ENGINE % ("docker", "/c"))
    more = "{kind: docker, socket: /c, root: /r2, state: /s, api: /a, authz: ours}"

    found = load(tmp_path, f"{HEAD}engines: [{', '.join((*listed, more))}]\n")

    _, plain, promised = found.engines
    assert (plain.api, plain.authz) == (Path("/run/docker.sock"), "")
    assert (promised.api, promised.authz) == (Path("/a"), "ours")


@pytest.mark.parametrize("key", ["api: /a", "authz: ours"])
def test_what_is_docker_s_has_no_place_with_a_containerd(
    key: str, tmp_path: Path
) -> None:
    engine = (ENGINE % ("containerd", "/c")).replace("}", f", {key}}}")

    told = problem(tmp_path, f"{HEAD}engines: [{engine}]\n")

    assert "enforcer.yaml:2: api and authz are of a docker engine" in told
