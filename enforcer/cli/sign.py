"""`enforcer sign TARGET`: sign a local image into the cache, and a layout if asked."""

import argparse
import re
from datetime import timedelta
from pathlib import Path

from enforcer.assembly import assemble
from enforcer.audit.clock import HostClock
from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.targets import FORMS, Target, open_target
from enforcer.cli.verify import parse_pair
from enforcer.core.collected import SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE, build_signature_manifest
from enforcer.core.signing import parse_signer, sign_jws, thumbprints
from enforcer.files import read_file
from enforcer.sources.layout_writer import add_to_layout

MAX_PEM_BYTES = 1024 * 1024
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("target", help=FORMS)
    parser.add_argument(
        "--key", type=Path, required=True, metavar="PEM", help="unencrypted PKCS#8"
    )
    parser.add_argument(
        "--cert",
        type=Path,
        metavar="CHAIN",
        help="PEM, signing certificate first, root last (default: in the key's file)",
    )
    parser.add_argument("--expiry", type=_duration, metavar="24h")
    parser.add_argument(
        "-m", "--user-metadata", action="append", type=parse_pair, metavar="K=V",
        default=[],
    )  # fmt: skip
    parser.add_argument(
        "--write-layout",
        action="store_true",
        help="put the signature into the layout as well (oci-layout: only)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Sign, store, and say what was signed."""
    settings = settings_of(arguments)
    at = HostClock().now().replace(microsecond=0)
    key = read_file(arguments.key, max_bytes=MAX_PEM_BYTES)
    chain = read_file(arguments.cert or arguments.key, max_bytes=MAX_PEM_BYTES)
    signer = parse_signer(key, chain, at=at)
    host = assemble(settings)
    with open_target(arguments.target, host) as target:
        if arguments.write_layout and not arguments.target.startswith("oci-layout:"):
            raise UsageError("--write-layout goes with an oci-layout: target")
        described = target.contents[0].descriptor
        envelope = sign_jws(
            described,
            signer,
            at=at,
            expires_at=at + arguments.expiry if arguments.expiry else None,
            user_metadata=dict(arguments.user_metadata),
        )
        manifest = build_signature_manifest(
            Descriptor.of(JWS_MEDIA_TYPE, envelope),
            described,
            thumbprints(signer.chain),
            at,
        )
        signature = SignatureFile(manifest, envelope)
        host.cache.add([*target.contents, signature])
        if arguments.write_layout and target.folder:
            add_to_layout(target.folder, signature)
    _show(target, described, envelope, arguments)
    return DONE


def _show(
    target: Target,
    described: Descriptor,
    envelope: bytes,
    arguments: argparse.Namespace,
) -> None:
    signature = Descriptor.of(JWS_MEDIA_TYPE, envelope)
    if is_json(arguments):
        print_json(
            {
                "target": target.shown,
                "digest": str(described.digest),
                "mediaType": described.media_type,
                "signature": str(signature.digest),
            }
        )
    else:
        print(f"signed {target.shown} ({described.digest})")
        print(f"  signature {signature.digest} is in the cache")


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("expected a number and s, m, h or d: 24h")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])
