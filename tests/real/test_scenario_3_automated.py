"""Scenario 3: a pipeline builds and signs an image and a Helm chart; both are deployed.

One policy says who must have signed either. The deployment is a script that stops at
the first thing that is not signed by the key the policy wants.
"""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.engines.images import dockerfile_context
from tests.real.acme import policy
from tests.real.nodes import PAIRS, Node

# A chart as `helm push` writes it.
CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

PIPELINE = """set -eu
docker build -q -t {image} {app}
docker push -q {image}
oras push --plain-http --no-tty --config {app}.json:{config} {chart} {app}.tgz:{content}
for artifact in {signed}; do
    notation sign --insecure-registry --key {key} $artifact
done
"""
# What is read is what was verified: tar is handed those bytes.
DEPLOYMENT = """set -eu
enforcer verify --exec tar -xzOf {{}} {app}/values.yaml {chart} > {app}.values
image=$(sed -n 's/^image: //p' {app}.values)
test "$image" = {image}
enforcer cache import $image
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A pipeline, production, and the registry between them."""

    pipeline: Node
    production: Node
    registry: str

    def release(self, key: str = "acme-release", *, sign: str = "image chart") -> str:
        """Run the pipeline for a new application; return that's name."""
        app = self.production.stage.name("net-monitor")
        self._write_chart(app)
        dockerfile_context(self.pipeline.folder / app, f"{app} is deployed")
        names = self._names(app)
        signed = " ".join(names[word] for word in sign.split())
        self._script(
            "pipeline.sh", self.pipeline, PIPELINE, signed=signed, key=key, **names
        )
        return app

    def deploy(self, app: str, *words: str) -> None:
        """Run the deployment; with `words` it has to fail and to say them."""
        self._script(
            "deploy.sh", self.production, DEPLOYMENT, *words, **self._names(app)
        )

    def image(self, app: str) -> str:
        """Return the name of an application's image."""
        return self._names(app)["image"]

    def _names(self, app: str) -> dict[str, str]:
        kinds = ("image", "chart")
        return {"app": app} | {k: f"{self.registry}/{k}s/{app}:1" for k in kinds}

    def _write_chart(self, app: str) -> None:
        """Write a chart and its configuration, as `helm package` does."""
        about = {"apiVersion": "v2", "name": app, "version": "1.0.0"}
        values = f"image: {self.image(app)}\n"
        members = {"Chart.yaml": json.dumps(about), "values.yaml": values}
        folder = self.pipeline.folder
        (folder / f"{app}.json").write_text(json.dumps(about))
        with tarfile.open(folder / f"{app}.tgz", "w:gz") as archive:
            for name, text in members.items():
                entry = tarfile.TarInfo(f"{app}/{name}")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text.encode()))

    def _script(
        self, name: str, node: Node, text: str, *words: str, **names: str
    ) -> None:
        script = text.format(config=CONFIG, content=CHART, **names)
        (node.folder / name).write_text(script)
        if words:
            node.fails(f"sh {name}", *words)
        else:
            node.types(f"sh {name}")


@pytest.fixture(scope="module", params=PAIRS, ids="-to-".join)
def delivery(
    node_with: Callable[[str, str], Node],
    acme_registry: str,
    request: pytest.FixtureRequest,
) -> Delivery:
    """Run a node that builds, and production, which wants one key for all it takes."""
    builder, target = request.param
    production = node_with("target", target).called("production", "3")
    scopes = [f"{acme_registry}/images/*", f"{acme_registry}/charts/*"]
    rules = policy("acme-release", {"released": (scopes, "acme-release")})
    production.obeys(rules)
    pipeline = node_with("builder", builder).called("pipeline", "3")
    return Delivery(pipeline, production, acme_registry)


def test_what_the_pipeline_signed_is_deployed(delivery: Delivery) -> None:
    """Image and chart, by the same policy, from one registry."""
    app = delivery.release()

    delivery.deploy(app)

    delivery.production.pulls(delivery.image(app))
    delivery.production.starts(delivery.image(app), f"{app} is deployed")


@pytest.mark.parametrize(
    ("key", "sign", "code"),
    [
        ("acme-release", "image", "[ENF-1001]"),
        ("acme-dev", "image chart", "[ENF-1017]"),
        ("stranger", "image chart", "[ENF-1004]"),
    ],
    ids=["chart unsigned", "another key of ours", "a stranger"],
)
def test_a_chart_that_production_does_not_trust_stops_the_deployment(
    key: str, sign: str, code: str, delivery: Delivery
) -> None:
    """Before anything in it was read; and a specific key is wanted, not just any."""
    app = delivery.release(key, sign=sign)

    delivery.deploy(app, code)

    assert (delivery.production.folder / f"{app}.values").read_text() == ""


def test_an_image_that_is_not_signed_does_not_start_whatever_the_chart_is(
    delivery: Delivery,
) -> None:
    """The signature of a chart says nothing about the image that it names."""
    app = delivery.release(sign="chart")
    image = delivery.image(app)

    delivery.deploy(app)

    delivery.production.pulls(image)
    delivery.production.refuses(image, f"{image} is not signed", "[ENF-1001]")
