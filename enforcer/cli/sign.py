"""`enforcer sign TARGET`: sign a local image into the cache, and a layout if asked."""

import argparse
import re
from datetime import timedelta
from pathlib import Path

from enforcer.audit.clock import HostClock
from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.target import Target
from enforcer.cli.targets import FORMS, open_target
from enforcer.cli.verify import parse_pair
from enforcer.core.collected import SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE, build_signature_manifest
from enforcer.core.signing import parse_signer, sign_jws, thumbprints
from enforcer.files import read_file
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout_writer import add_to_layout

MAX_PEM_BYTES = 1024 * 1024
CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
MAX_EXPIRY = timedelta(days=36_500)  # times end with the year 9999


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
        help="PEM, signing certificate first, root last (default: after the key)",
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
    if arguments.write_layout and not arguments.target.startswith("oci-layout:"):
        raise UsageError("--write-layout goes with an oci-layout: target")
    settings = settings_of(arguments)
    at = HostClock().now().replace(microsecond=0)
    key = read_file(arguments.key, max_bytes=MAX_PEM_BYTES)
    if arguments.cert:
        chain = read_file(arguments.cert, max_bytes=MAX_PEM_BYTES)
    else:
        chain = b"".join(key.partition(CERTIFICATE)[1:])
    signer = parse_signer(key, chain, at=at)
    with open_target(arguments.target, settings) as target:
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
        DiskCache(settings.cache_dir).add([*target.contents, signature])
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
        places = "the cache and the layout" if arguments.write_layout else "the cache"
        print(f"  signature {signature.digest} is in {places}")


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("expected a number and s, m, h or d: 24h")
    found = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    if found > MAX_EXPIRY:
        raise argparse.ArgumentTypeError(f"expected at most {MAX_EXPIRY.days}d")
    return found
