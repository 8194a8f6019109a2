"""`enforcer policy`: lint the host's policy, say what applies, help to write one."""

import argparse
import json
import os
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import yaml

from enforcer.assembly import break_glass, engines, load_policy
from enforcer.audit.clock import HostClock
from enforcer.cli.admin_log import MAX_REASON, record
from enforcer.cli.main import DONE, MISCONFIGURED, REFUSED, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.policy_show import shown_policy, shown_target, tell
from enforcer.cli.targets import parse_digest
from enforcer.core.errors import clip
from enforcer.core.host_policy.from_notation import from_notation
from enforcer.core.policy import (
    MAX_POLICY_BYTES,
    PolicyInvalidError,
    parse_trust_policy,
)
from enforcer.files import read_file
from enforcer.settings import Settings

EXEMPT_DAYS = 180  # what `system-images` proposes; a person decides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    check = words.add_parser("check", help="lint; puts nothing in force")
    check.add_argument(
        "path", nargs="?", type=Path, help="a file or folder; without it the host's"
    )
    show = words.add_parser("show", help="which statement an image falls under, why")
    show.add_argument("image", help="a reference, or a target as for `verify`")
    take = words.add_parser("import", help="translate a Notation trust policy")
    take.add_argument("file", type=Path, help="trustpolicy.json")
    words.add_parser("system-images", help="the engines' own images, to exempt by hand")
    words.add_parser("schema", help="the JSON Schema of policy.d/*.yaml, for editors")
    glass = words.add_parser(
        "break-glass", help="let one digest start till the next boot, 24 h at most"
    )
    glass.add_argument("digest", nargs="?", help="without it: what is broken now")
    glass.add_argument("--reason", metavar="TEXT", help="is recorded")
    glass.add_argument("--mend", action="store_true", help="end it for this digest")


def run(arguments: argparse.Namespace) -> int:
    """Do what the word says."""
    words = {
        "check": _check,
        "show": _show,
        "import": _import,
        "system-images": _system_images,
        "schema": _schema,
        "break-glass": _break_glass,
    }
    return words[arguments.word](arguments)


def _check(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    if arguments.path:
        settings = replace(settings, notation_config=None, policy_dir=arguments.path)
    try:
        force = load_policy(settings, trusted=arguments.path is None)
    except PolicyInvalidError as error:
        if not error.problems:
            raise
        if is_json(arguments):
            print_json({"problems": list(error.problems)})
        for problem in error.problems:
            print(f"enforcer: {clip(problem, limit=500)}", file=sys.stderr)
        return MISCONFIGURED
    found = shown_policy(force, HostClock().now())
    if is_json(arguments):
        print_json(found)
    else:
        tell(found)
    return MISCONFIGURED if found["unusable"] else DONE


def _show(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    force = load_policy(settings)
    found = shown_target(arguments.image, settings, force, HostClock().now())
    if is_json(arguments):
        print_json(found)
    else:
        tell(found)
    return DONE if found["covered"] else REFUSED


def _import(arguments: argparse.Namespace) -> int:
    raw = read_file(arguments.file, max_bytes=MAX_POLICY_BYTES)
    imported = from_notation(parse_trust_policy(raw))
    for unsaid in imported.unsaid:
        print(f"enforcer: {clip(unsaid, limit=1000)}", file=sys.stderr)
    stores = arguments.file.absolute().parent / "truststore" / "x509"
    if is_json(arguments):
        print_json({"policy": imported.document, "unsaid": imported.unsaid})
    else:
        print(f"# From {clip(str(arguments.file))}. Its trust stores move unchanged:")
        print(f"# {clip(str(stores))} -> /etc/enforcer/trust/x509")
        print(yaml.safe_dump(imported.document, sort_keys=False), end="")
    return REFUSED if imported.unsaid else DONE


def _system_images(arguments: argparse.Namespace) -> int:
    until = f"{HostClock().now().year + 1}-01-01"
    found = [
        {
            "digest": str(digest),
            "role": "sandbox",
            "reason": f"{clip(name)}, pinned by containerd",
            "until": until,
        }
        for engine in engines(settings_of(arguments)).containerds
        for name, digest in engine.pinned_images()
    ]
    if is_json(arguments):
        print_json({"exempt": found})
    elif found:
        print("# Nothing is changed. Paste into a file of policy.d what you mean:")
        print("exempt:")
        for item in found:
            print(f"  - {json.dumps(item)}")
    else:
        print("# No engine here has an image of its own.")
    return DONE


def _schema(_: argparse.Namespace) -> int:
    path = resources.files("enforcer.core.host_policy") / "policy.schema.json"
    print(path.read_text(encoding="utf-8"), end="")
    return DONE


def _break_glass(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    if arguments.digest is None:
        return _list_broken(settings, arguments)
    digest = parse_digest(arguments.digest)
    glass = break_glass(settings)
    if arguments.mend:
        record(settings, "break-glass mended", digest=str(digest))
        print(f"mended: {digest}" if glass.mend(digest) else f"not broken: {digest}")
        return DONE
    reason = clip((arguments.reason or "").strip(), limit=MAX_REASON)
    if not reason:
        raise UsageError("break-glass DIGEST needs --reason TEXT, or --mend")
    record(settings, "break-glass", digest=str(digest), reason=reason)
    broken = glass.break_for(digest, reason)
    told = f"broken by uid {os.getuid()} for {broken}; it ends with this boot"
    print(f"enforcer: {told}", file=sys.stderr)
    print("It starts from now on. A deny list still wins; `status` shows it.")
    return DONE


def _list_broken(settings: Settings, arguments: argparse.Namespace) -> int:
    found = break_glass(settings).all()
    if is_json(arguments):
        print_json(
            [
                {
                    "digest": str(one.digest),
                    "reason": one.reason,
                    "secondsLeft": one.seconds_left,
                }
                for one in found
            ]
        )
    for one in found if not is_json(arguments) else ():
        print(one)
    return DONE
