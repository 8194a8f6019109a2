"""What `enforcer sign` makes, the stock notation accepts: every kind of key allowed."""

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from enforcer.cli.main import main
from tests.engines.images import write_layout
from tests.engines.notation import Notation, Signer, statement
from tests.engines.path import program
from tests.pki import Key, Template, ca_template, issue, leaf_template, pems, rsa_key

SCOPE = "registry.example/app"
KEYS: dict[str, Callable[[], Key]] = {
    "RSA 2048": lambda: rsa_key(2048),
    "RSA 3072": lambda: rsa_key(3072),
    "RSA 4096": lambda: rsa_key(4096),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


@pytest.fixture
def notation(tmp_path: Path) -> Notation:
    """The stock notation; it needs no root, so nothing but its absence skips."""
    try:
        program("notation")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return Notation(tmp_path / "notation")


def now_valid(template: Template) -> Template:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    names = Template.__dataclass_fields__
    members = {name: getattr(template, name) for name in names}
    return Template(**members | {"starts": now - day, "ends": now + 30 * day})


def signer(folder: Path, key: Key) -> Signer:
    """A leaf with this key below a root with another, as files."""
    root = issue(now_valid(ca_template()))
    leaf = issue(now_valid(leaf_template()), root, key=key)
    folder.mkdir()
    made = Signer(
        "acme", folder / "key", folder / "chain", folder / "ca", "x509.subject: *"
    )
    made.key.write_bytes(leaf.key_pem)
    made.chain.write_bytes(pems((leaf, root)))
    made.ca.write_bytes(root.pem)
    return made


def enforcer(state: Path, *words: str | Path) -> int:
    folders = ["--config-dir", str(state), "--state-dir", str(state)]
    return main([*folders, *map(str, words)])


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("index", [False, True], ids=["manifest", "index"])
def test_notation_accepts_what_we_sign_and_refuses_what_we_did_not(
    notation: Notation, tmp_path: Path, kind: str, *, index: bool
) -> None:
    """Both ways: a signature notation takes without looking would prove nothing."""
    acme = signer(tmp_path / "keys", KEYS[kind]())
    notation.trust("test", acme)
    notation.write_policy(statement("default"))
    digest = write_layout(tmp_path / "l", text=kind, tag="app:1", index=index)
    target = f"oci-layout:{tmp_path / 'l'}"
    assert notation.verify_layout(tmp_path / "l", digest, SCOPE).returncode != 0

    keys = ("--key", acme.key, "--cert", acme.chain)
    words = ("-m", "build=7", "--expiry", "24h", "--write-layout")
    assert enforcer(tmp_path / "state", "sign", target, *keys, *words) == 0

    said = notation.verify_layout(tmp_path / "l", digest, SCOPE, check=True)
    assert "Successfully verified signature" in said.stdout
    policy = ("--scope", SCOPE, "--notation-config", notation.config)
    assert enforcer(tmp_path / "state", "verify", target, *policy) == 0


def test_what_notation_signs_we_accept(notation: Notation, tmp_path: Path) -> None:
    acme = notation.add_signer("acme")
    notation.trust("test", acme)
    notation.write_policy(statement("default"))
    digest = write_layout(tmp_path / "l", text="hi", tag="app:1")
    notation.sign_layout(tmp_path / "l", digest)

    target = f"oci-layout:{tmp_path / 'l'}"
    policy = ("--scope", SCOPE, "--notation-config", notation.config)
    assert enforcer(tmp_path / "state", "verify", target, *policy) == 0
    assert enforcer(tmp_path / "state", "cache", "import", target) == 0
