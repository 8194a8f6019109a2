"""Debian's packages, fetched with apt's own checks and without installing anything.

For scripts that run on the system's Python, before there is a virtual environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

SYSTEM_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
KEYRING_PACKAGE = "debian-archive-keyring"
CLEAN_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
PROXIES = ("http_proxy", "https_proxy", "no_proxy")


class FetchError(Exception):
    """Say what stopped us and what to do, and which exit status it deserves."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def os_release() -> dict[str, str]:
    """What /etc/os-release says; empty where there is none."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def refuse_wrong_machine() -> None:
    """Raise unless this is Debian and we are root."""
    words = os_release().get("ID", "")
    if words != "debian" or not shutil.which("apt-get"):
        raise FetchError(
            f"this machine is {words or 'unknown'}, not Debian; what the tests"
            " run are Debian packages: run this on Debian 12",
            status=3,
        )
    if os.geteuid() != 0:
        raise FetchError(
            "what the tests run needs root, so fetching it does too: run as root",
            status=3,
        )


# -- which mirror ---------------------------------------------------------------


def find_mirror(codename: str) -> str:
    """The address of the machine's own source that carries Debian's base suite."""
    parts = Path("/etc/apt/sources.list.d")
    deb822 = sorted(parts.glob("*.sources"))
    one_line = [Path("/etc/apt/sources.list"), *sorted(parts.glob("*.list"))]
    suites = {codename, "stable"} if codename else {"stable", "bookworm"}
    found = [entry for path in deb822 for entry in _parse_deb822(_text(path))]
    found += [entry for path in one_line for entry in _parse_one_line(_text(path))]
    for address, named, components in found:
        if suites & named and "main" in components:
            return address
    raise FetchError(
        f"no apt source of this machine has the suite {codename or 'stable'} with"
        " the component main; add a Debian mirror to /etc/apt/sources.list"
    )


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _parse_deb822(text: str) -> list[tuple[str, set[str], set[str]]]:
    """One (address, suites, components) for each enabled `deb` stanza."""
    entries = []
    without_comments = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n\s*\n", without_comments):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        fields = {
            key.strip().lower(): value.split()
            for key, _, value in (line.partition(":") for line in unfolded.split("\n"))
        }
        enabled = fields.get("enabled", ["yes"])[0].lower() not in ("no", "false")
        if enabled and "deb" in fields.get("types", []) and fields.get("uris"):
            suites, components = fields.get("suites", []), fields.get("components", [])
            entries.append((fields["uris"][0], set(suites), set(components)))
    return entries


def _parse_one_line(text: str) -> list[tuple[str, set[str], set[str]]]:
    """One (address, suites, components) for each `deb` line, options dropped."""
    pattern = re.compile(r"^\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+([^#\n]+)", re.M)
    lines = pattern.findall(text)
    return [
        (address, {suite}, set(components.split()))
        for address, suite, components in lines
        if not address.startswith("cdrom:")
    ]


# -- apt, in private ------------------------------------------------------------


def current_keyring(scratch: Path, mirror: str) -> Path:
    """The archive's keys as the newest bookworm package has them.

    A Debian 12 installed long ago may lack the key that signs forky today. The
    package that brings it is vouched for by bookworm, whose key it does have.
    """
    if not SYSTEM_KEYRING.is_file():
        raise FetchError(
            f"{SYSTEM_KEYRING} is missing: apt-get install {KEYRING_PACKAGE}"
        )
    apt = PrivateApt(scratch, mirror, "bookworm", SYSTEM_KEYRING)
    tree = scratch / "keyring"
    unpack(apt.download((KEYRING_PACKAGE,)), tree)
    keyring = tree / SYSTEM_KEYRING.relative_to("/")
    if not keyring.is_file():
        raise FetchError(f"package {KEYRING_PACKAGE} has no {SYSTEM_KEYRING}")
    return keyring


class PrivateApt:
    """apt-get with one source, and state of its own below `scratch`."""

    def __init__(self, scratch: Path, mirror: str, suite: str, keyring: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix=f"apt-{suite}-", dir=scratch))
        for name in ("state/lists/partial", "cache/archives/partial", "debs"):
            (self._home / name).mkdir(parents=True)
        (self._home / "status").touch()
        source = self._home / "sources.list"
        source.write_text(f"deb [signed-by={keyring}] {mirror} {suite} main\n")
        self._options = [
            f"Dir::Etc::sourcelist={source}",
            "Dir::Etc::sourceparts=-",
            "Dir::Etc::trusted=/dev/null",
            "Dir::Etc::trustedparts=/dev/null",
            "Dir::Etc::preferences=/dev/null",
            "Dir::Etc::preferencesparts=/dev/null",
            f"Dir::State={self._home}/state",
            f"Dir::State::status={self._home}/status",
            f"Dir::Cache={self._home}/cache",
            # A clone need not be readable by the user apt drops to.
            "APT::Sandbox::User=root",
            "APT::Get::AllowUnauthenticated=false",
            "APT::Update::Error-Mode=any",
            "Acquire::AllowInsecureRepositories=false",
            "Acquire::AllowWeakRepositories=false",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
        ]
        self._run("update")

    def download(self, packages: tuple[str, ...]) -> list[Path]:
        """Fetch packages whose hashes the signed release names; return the files."""
        self._run("download", *packages)
        return sorted((self._home / "debs").glob("*.deb"))

    def _run(self, *words: str) -> None:
        options = [part for option in self._options for part in ("-o", option)]
        given = {name: os.environ[name] for name in PROXIES if name in os.environ}
        done = subprocess.run(
            ["apt-get", "-q", *options, *words],
            cwd=self._home / "debs",
            env=CLEAN_ENVIRONMENT | given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise FetchError(f"apt-get {' '.join(words)} failed:\n{done.stdout}")


def unpack(debs: list[Path], tree: Path) -> list[str]:
    """Extract without running any maintainer script; return `package version`."""
    names = []
    for deb in debs:
        tree.mkdir(exist_ok=True)
        subprocess.run(["dpkg", "-x", deb, tree], check=True, env=CLEAN_ENVIRONMENT)
        shown = ["dpkg-deb", "--show", "--showformat=${Package} ${Version}", str(deb)]
        names.append(subprocess.check_output(shown, text=True, env=CLEAN_ENVIRONMENT))
        deb.unlink()
    return names
