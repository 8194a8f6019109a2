"""A private enforcerd with its gate, policy and command line, for real engines."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from enforcer.files import write_file
from enforcer.gate.render import render_gate
from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd
from tests.engines.notation import Notation, Signer, statement
from tests.engines.path import REAL_RUNC
from tests.engines.process import run, wait_until
from tests.engines.service import Service

SYSTEM_PYTHON = Path("/usr/bin/python3")
# Whom enforcerd runs as: nobody this machine knows. Without root it is whoever tests.
USER = 64999 if os.geteuid() == 0 else os.geteuid()
# Whom what speaks to networks runs as: another one.
FETCH_USER = 64998 if os.geteuid() == 0 else os.geteuid()
POLICY_SECONDS = 60  # a change is in force within one; the machine may be busy


class EnforcedHost:
    """Folders, one daemon and one gate below a short folder in /tmp.

    Make engines with `gate=host.gate`, then `configure` and `start`. One signer,
    `acme`, is trusted in `ca:acme` for every name; `stranger` is not trusted. With
    `write_policy` the host has a host policy instead, and nobody is trusted until
    `trust` says so. `before` is a program that starts both daemons for us.
    """

    def __init__(self, *, before: Sequence[str] = ()) -> None:
        self._before = before
        self.home = Path(tempfile.mkdtemp(prefix="enf-", dir="/tmp"))
        self.config = self.home / "etc"
        self.state = self.home / "var"
        self.run = self.home / "run"
        self.gate = self.home / "gate"
        for folder in (self.config, self.state, self.gate, self.run):
            folder.mkdir(mode=0o755)
        self.notation = Notation(self.home / "notation")
        self.acme: Signer = self.notation.add_signer("acme")
        self.stranger: Signer = self.notation.add_signer("stranger")
        self.notation.trust("acme", self.acme)
        self.notation.write_policy(statement("everything", stores=["ca:acme"]))
        self.settings: dict[str, object] = {
            "apiVersion": "enforcer/v1",
            "notationConfig": str(self.notation.config),
            "engines": [],
        }
        self.write_gate()
        self.configure()
        self._give_folders()
        inner, logs = self.run / "inner", self.audit_log.parent
        self._daemon = Service(
            "enforcer.service",
            "enforcer.daemon",
            self.folders,
            self.home / "enforcerd.log",
            user=USER,
            writable=(self.state, logs, inner),
        )
        self._resolver = Service(
            "enforcer-resolver.service",
            "enforcer.resolver",
            self.folders,
            self.home / "resolver.log",
            writable=(self.run,),
        )

        self.fetcher = Service(
            "enforcer-fetcher.service",
            "enforcer.fetcher",
            self.folders,
            self.home / "fetcher.log",
            user=FETCH_USER,
        )

    def _give_folders(self) -> None:
        """Give enforcerd's user what tmpfiles.d and its unit give it, at each start."""
        self.home.chmod(0o711)
        log = self.state / "log"
        log.mkdir(mode=0o755, exist_ok=True)
        for folder in (self.state, self.audit_log.parent, self.run / "inner"):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, USER, USER)
        self.state.chmod(0o711)  # root's own log is in it, which others may read

    def write_gate(self) -> None:
        """Put the gate in place, as the only `runc` of its folder."""
        gate = self.gate / "runc"
        gate.write_text(
            render_gate(
                runc=REAL_RUNC,
                python=SYSTEM_PYTHON,
                run_dir=self.run,
                config_dir=self.config,
                log_dir=self.state / "log",
            )
        )
        gate.chmod(0o755)

    def configure(self, *engines: Containerd | Dockerd, **settings: object) -> None:
        """Write enforcer.yaml for these engines; `settings` are further keys of it."""
        if engines:
            self.settings["engines"] = [
                part for engine in engines for part in _engine_settings(engine)
            ]
        self.settings |= settings
        text = yaml.safe_dump(self.settings)
        (self.config / "enforcer.yaml").write_text(text)

    def write_policy(
        self, policy: str | Mapping[str, object], name: str = "10-policy.yaml"
    ) -> Path:
        """Put one file of a host policy in place, whole; return where it is."""
        if self.settings.pop("notationConfig", None):
            self.configure()
        text = policy if isinstance(policy, str) else json.dumps(policy, indent=2)
        path = self.config / "policy.d" / name
        path.parent.mkdir(exist_ok=True)
        write_file(path, text.encode(), mode=0o644)
        return path

    def trust(self, store: str, *signers: Signer) -> None:
        """Put signers' CAs into `ca:STORE` of the host policy."""
        self.enforcer("trust", "add", "--store", store, *(s.ca for s in signers))

    def policy(self) -> dict[str, str]:
        """Return `path`, `digest` and `problem` of the policy in force, by status."""
        done = self.enforcer("status", "-o", "json", check=False)
        found: dict[str, str] = json.loads(done.stdout)["policy"]
        return found

    @contextlib.contextmanager
    def policy_changes(self) -> Iterator[None]:
        """Wait at the end until another policy than at the beginning is in force."""
        before = self.policy()["digest"]
        yield
        wait_until(
            lambda: self.policy()["digest"] not in ("", before),
            "another policy is in force",
            POLICY_SECONDS,
        )

    @contextlib.contextmanager
    def also(self, **part: object) -> Iterator[None]:
        """Have one more file in the policy for a while, as `deny=[...]`."""
        with self.policy_changes():
            added = self.write_policy({"apiVersion": "enforcer/v1"} | part, "50.yaml")
        try:
            yield
        finally:
            with self.policy_changes():
                added.unlink()

    @property
    def log(self) -> str:
        """What the daemon logged."""
        return self._daemon.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return self._daemon.pid

    @property
    def resolver(self) -> Service:
        """The process that reads the engines."""
        return self._resolver

    def start(self, *, before: Sequence[str] = ()) -> Self:
        """Start both processes and wait until they serve.

        `before` is a program that starts the daemon alone for us.
        """
        self._give_folders()
        if not self._resolver.is_running:
            self.start_resolver()
        modes = {"ask.sock": 0o600, "enforcer.sock": 0o660, "admin.sock": 0o600}
        sockets = {self.run / name: (modes[name], 0) for name in modes}
        self._daemon.serve(sockets, before=before or self._before)
        return self

    def start_resolver(self) -> None:
        """Start what reads the engines; enforcerd alone may ask it."""
        sockets = {self.run / "resolver.sock": (0o600, USER)}
        self._resolver.serve(sockets, before=self._before)

    def start_fetcher(self) -> None:
        """Start what fetches from networks; enforcerd and root may ask it."""
        self.fetcher.serve({self.run / "fetcher.sock": (0o600, USER)})

    def stop(self) -> None:
        """Stop all as a service manager would."""
        self.fetcher.stop()
        self._daemon.stop()
        self._resolver.stop()

    def kill(self) -> None:
        """Kill the daemon, as a crash would."""
        self._daemon.kill()

    def close(self) -> None:
        """Stop the daemon and remove everything."""
        self.stop()
        shutil.rmtree(self.home)

    def enforcer(
        self, *words: str | Path, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line with this host's folders."""
        return run(
            [sys.executable, "-m", "enforcer", *self.folders, *words],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
            check=check,
        )

    def sign(self, target: str, signer: Signer | None = None) -> None:
        """Sign a target into the cache, as `acme` unless somebody else is named."""
        by = signer or self.acme
        self.enforcer("sign", target, "--key", by.key, "--cert", by.chain)

    def decisions(self, *, sweeps: bool = False) -> list[dict[str, Any]]:
        """Return the audit log, with what the sweep says of what runs if wanted.

        A line that is being written has no end yet, and its answer has not left.
        """
        if not self.audit_log.exists():
            return []
        *lines, _ = self.audit_log.read_text().split("\n")
        records: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [r for r in records if sweeps or r["asked_by"] != "sweep"]

    @property
    def audit_log(self) -> Path:
        """The audit log's file."""
        return self.state / "log" / "audit" / "audit.jsonl"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def folders(self) -> Sequence[str]:
        """The options that give this host's folders to a program of ours."""
        named = {"config": self.config, "state": self.state, "run": self.run}
        return [word for n, p in named.items() for word in (f"--{n}-dir", str(p))]


def _engine_settings(engine: Containerd | Dockerd) -> list[dict[str, str]]:
    containerd = engine.containerd if isinstance(engine, Dockerd) else engine
    found = [
        {
            "kind": "containerd",
            "socket": str(containerd.socket),
            "root": str(containerd.root),
            "state": str(containerd.state),
        }
    ]
    if isinstance(engine, Dockerd):
        found.append(
            {
                "kind": "docker",
                "socket": str(containerd.socket),
                "root": str(engine.data_root),
                "state": str(engine.exec_root),
                "api": str(engine.socket),
            }
        )
    return found
