"""The same signature in five places: the verdict and the evidence id are the same.

First each place is filled from what was signed, then from one another, by the tools
people have: what was signed once is never signed again on the way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from enforcer.core.digest import Digest
from enforcer.sources.layout import add_to_layout
from tests.engines.images import layout_to_tar
from tests.engines.oras import LAYOUT, Oras
from tests.engines.registry import running_registry
from tests.real.dependence.table import places
from tests.real.dependence.world import World
from tests.registry.fake import REPOSITORY, FakeRegistry
from tests.registry.server import Server, serving
from tests.revoker import Revoker
from tests.unit.cli.host import SCOPE, Host
