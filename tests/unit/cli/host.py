"""A host in a folder: settings, policy, trust store, keys, an image. No engine."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from enforcer.cli.main import main
from enforcer.core.digest import Digest
from tests.engines.images import describe
from tests.unit.sources.signed import compact, pems

SCOPE = "registry.example/app"


@dataclass(frozen=True)
class Done:
    """What a command left: exit status and both outputs."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # any shape: tests say which
        return json.loads(self.out)


class Host:
    """Runs the command line in this process, with folders of its own."""

    def __init__(
        self, root: Path, image: Path, capture: pytest.CaptureFixture[str]
    ) -> None:
        """Make it in `root`, with a copy of the layout `image`."""
        self.root = root
        self._capture = capture
        for name in ("config", "state", "run", "notation"):
            (root / name).mkdir()
        self.notation = root / "notation"
        self.layout = root / "layout"
        shutil.copytree(image, self.layout)
        self.digest = Digest.parse(describe(image).top)
        self.target = f"oci-layout:{self.layout}"
        self.settings(notationConfig=str(self.notation))
        self.policy()
        self.trust("acme")
        for name in ("acme", "wabbit"):
            self.write_keys(name)

    def settings(self, **members: object) -> None:
        document = {"apiVersion": "enforcer/v1", **members}
        (self.root / "config" / "enforcer.yaml").write_bytes(compact(document))

    def policy(self, level: str = "strict", scope: str = "*", **more: object) -> None:
        trusts = {"trustStores": ["ca:acme"], "trustedIdentities": ["*"]}
        statement = {
            "name": "default",
            "registryScopes": [scope],
            "signatureVerification": {"level": level},
            **({} if level == "skip" else trusts),
        }
        document = {"version": "1.0", "trustPolicies": [statement | more]}
        (self.notation / "trustpolicy.json").write_bytes(compact(document))

    def trust(self, name: str) -> None:
        folder = self.notation / "truststore" / "x509" / "ca" / "acme"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.crt").write_bytes(pems(name)[2])

    def write_keys(self, name: str) -> None:
        key, chain, _ = pems(name)
        (self.root / f"{name}.key").write_bytes(key)
        (self.root / f"{name}.crt").write_bytes(chain)

    def keys(self, name: str = "acme") -> list[str]:
        return [
            "--key", str(self.root / f"{name}.key"),
            "--cert", str(self.root / f"{name}.crt"),
        ]  # fmt: skip

    def folders(self) -> list[str]:
        names = ("config", "state", "run")
        return [w for n in names for w in (f"--{n}-dir", str(self.root / n))]

    def run(self, *words: str | Path, folders: bool = True) -> Done:
        given = self.folders() if folders else []
        try:
            status = main([*given, *map(str, words)])
        except SystemExit as exit_:  # argparse
            status = exit_.code if isinstance(exit_.code, int) else 1
        out, err = self._capture.readouterr()
        assert "Traceback" not in err
        return Done(status, out, err)

    def sign(self, *words: str, by: str = "acme") -> Done:
        done = self.run("sign", self.target, *self.keys(by), *words)
        assert done.status == 0, done.err
        return done

    def verify(self, *words: str | Path) -> Done:
        return self.run("verify", self.target, *words)
