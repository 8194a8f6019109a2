"""`enforcer sign TARGET`: sign a local image into the cache, and a layout if asked."""

import argparse
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from enforcer.assembly import signature_cache
from enforcer.audit.clock import HostClock
from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.target import Target
from enforcer.cli.targets import LOCAL_FORMS, open_target
from enforcer.cli.verify import parse_pair
from enforcer.core.certificate import signature_algorithm
from enforcer.core.collected import Origin, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.envelope.untrusted import HASHES, EnvelopeFormat
from enforcer.core.signature_manifest import build_signature_manifest
from enforcer.core.signer import Signer
from enforcer.core.signing import parse_signer, sign_envelope, thumbprints
from enforcer.core.statement import StoreName, StoreType
from enforcer.core.truststore import parse_store_file
from enforcer.files import read_file
from enforcer.sources.layout.add import add_to_layout

MAX_PEM_BYTES = 1024 * 1024
CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
MAX_EXPIRY = timedelta(days=36_500)  # times end with the year 9999


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("target", help=LOCAL_FORMS)
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
        "--signature-format",
        type=EnvelopeFormat,
        choices=list(EnvelopeFormat),
        default=EnvelopeFormat.JWS,
    )
    parser.add_argument("--tsa", metavar="URL", help="countersign by this RFC 3161 TSA")
    parser.add_argument(
        "--tsa-root", type=Path, metavar="CERT", help="PEM or DER, what to verify it by"
    )
    parser.add_argument(
        "-m", "--user-metadata", action="append", type=parse_pair, metavar="K=V",
        default=[],
    )  # fmt: skip
    parser.add_argument(
        "--write-layout",
        action="store_true",
        help="put the signature into the layout as well (oci-layout: only)",
    )


def asks_nobody(arguments: argparse.Namespace) -> bool:
    """Whether this needs no internet: all but a time stamp."""
    return not arguments.tsa


def run(arguments: argparse.Namespace) -> int:
    """Sign, store, and say what was signed."""
    if arguments.write_layout and not arguments.target.startswith("oci-layout:"):
        raise UsageError("--write-layout goes with an oci-layout: target")
    if bool(arguments.tsa) != bool(arguments.tsa_root):
        raise UsageError("--tsa and --tsa-root go together")
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
        envelope = sign_envelope(
            arguments.signature_format,
            described,
            signer,
            at=at,
            expires_at=at + arguments.expiry if arguments.expiry else None,
            user_metadata=dict(arguments.user_metadata),
            timestamp=_timestamper(signer, arguments, at) if arguments.tsa else None,
        )
        layer = Descriptor.of(arguments.signature_format.media_type, envelope)
        manifest = build_signature_manifest(
            layer,
            described,
            thumbprints(signer.chain),
            at,
        )
        signature = SignatureFile(manifest, envelope)
        origin = Origin("signed on this host", at)
        signature_cache(settings).add([*target.contents, signature], origin=origin)
        if arguments.write_layout and target.folder:
            add_to_layout(target.folder, signature)
    _show(target, described, layer, arguments)
    return DONE


def _timestamper(
    signer: Signer, arguments: argparse.Namespace, at: datetime
) -> Callable[[bytes], bytes]:
    """Return what asks the TSA about a signature, and verifies the answer."""
    from enforcer.sources.tsa import request_timestamp  # needs the network's libraries

    store = StoreName(StoreType.TSA, "tsa-root")
    raw = read_file(arguments.tsa_root, max_bytes=MAX_PEM_BYTES)
    roots = parse_store_file(raw, store=store, file_name=arguments.tsa_root.name)
    hashed = HASHES[signature_algorithm(signer.chain.leaf.public_key())]
    return partial(
        request_timestamp, arguments.tsa, hash_name=hashed.name, roots=roots, at=at
    )


def _show(
    target: Target,
    described: Descriptor,
    signature: Descriptor,
    arguments: argparse.Namespace,
) -> None:
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
