"""The stock oras, in a home of its own: artifacts into layouts and registries."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.engines.path import program
from tests.engines.process import run

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
HELM_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
FIRMWARE = "application/vnd.acme-rockets.firmware.v1"

LAYOUT = "--oci-layout"


class Oras:
    """One user of oras. Files are named relative to `files`, as their titles are."""

    def __init__(self, home: Path) -> None:
        self.files = home / "files"
        self.files.mkdir(parents=True)
        self._environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}

    def push(
        self,
        target: str,
        files: Mapping[str, tuple[bytes, str]],
        *words: str,
        config: tuple[bytes, str] | None = None,
    ) -> str:
        """Push files, `name: (content, media type)`; return the manifest's digest."""
        listed = [self._write(name, *content) for name, content in files.items()]
        if config:
            words = (*words, "--config", self._write("config.json", *config))
        done = self.oras("push", *words, "--format", "json", target, *listed)
        return str(json.loads(done.stdout)["digest"])

    def attach(self, target: str, name: str, content: bytes, *words: str) -> str:
        """Attach a file to a manifest as its referrer; return the referrer's digest."""
        listed = self._write(name, content, "application/json")
        done = self.oras("attach", *words, "--format", "json", target, listed)
        return str(json.loads(done.stdout)["digest"])

    def oras(
        self, *words: str | Path, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run oras where its files are."""
        command = [program("oras"), *words]
        return run(command, env=self._environment, check=check, cwd=self.files)

    def _write(self, name: str, content: bytes, media_type: str) -> str:
        (self.files / name).write_bytes(content)
        return f"{name}:{media_type}"
