"""The first enforcer.yaml of a host, and a policy to start from."""

from collections.abc import Sequence

from enforcer.settings import EngineSettings

POLICY = b"""\
# Whom this host trusts, and who must have signed what. Rename this file to
# 10-host.yaml when it says what you mean, then: enforcer policy check
apiVersion: enforcer/v1
signers:
  acme: {x509: {trustStores: ["ca:acme"], identities: ["*"]}}  # enforcer trust add
always: acme                       # whatever an image is called
statements:                        # the most specific scope wins
  - {name: everything, scopes: ["*"], require: acme}
"""

_SETTINGS = """\
# Written by `enforcer install`; it is yours from now on. systemctl reload enforcer
apiVersion: enforcer/v1
# monitor: nothing is refused, all is recorded. To refuse: enforce, and remove
# /etc/enforcer/gate.conf, which is root's word to the gate that monitor is meant.
mode: {mode}
builds: deny                       # or allow: RUN steps of docker build
# What starts containers here; no other may. When that changes, reload is not enough:
# systemctl restart enforcer-resolver enforcer
engines:
"""


def settings_text(mode: str, engines: Sequence[EngineSettings]) -> bytes:
    """Return an enforcer.yaml for these engines."""
    lines = "".join(f"  - {{{engine.text}}}\n" for engine in engines)
    return (_SETTINGS.format(mode=mode) + lines).encode()
