"""`enforcer trust`: the trust stores, and certificates for trying things out."""

import argparse
import os
import sys
from pathlib import Path

from enforcer.audit.clock import HostClock
from enforcer.cli import trust_remove
from enforcer.cli.main import DONE, MISCONFIGURED, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.trust_listed import listed
from enforcer.core.errors import clip
from enforcer.core.policy import StoreName, StoreType
from enforcer.core.signing import generate_test_chain
from enforcer.core.truststore import MAX_STORE_FILE_BYTES, parse_store_file
from enforcer.files import FileError, make_folder, read_file, write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    add = words.add_parser("add", help="put certificates into a trust store")
    _add_store(add)
    add.add_argument("file", nargs="+", type=Path, help="PEM or DER certificates")
    words.add_parser("list", help="every trusted certificate")
    remove = words.add_parser("remove", help="take certificates out of a trust store")
    _add_store(remove)
    trust_remove.add_arguments(remove)
    generate = words.add_parser(
        "generate-test", help="a CA and a signing key; trusts nothing by itself"
    )
    generate.add_argument("name", help="the common name, such as acme.test")
    generate.add_argument("--out", type=Path, required=True, metavar="DIR")


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--type", choices=[str(t) for t in StoreType], default="ca")
    parser.add_argument("--store", required=True, metavar="NAME")


def run(arguments: argparse.Namespace) -> int:
    """Do what the word says."""
    words = {
        "add": _add,
        "list": _list,
        "remove": trust_remove.run,
        "generate-test": _generate,
    }
    return words[arguments.word](arguments)


def _add(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    store = StoreName(StoreType(arguments.type), arguments.store)
    folder = settings.trust_dir / arguments.type / arguments.store
    checked: dict[Path, bytes] = {}
    for file in arguments.file:  # all are checked before one is written
        raw = read_file(file, max_bytes=MAX_STORE_FILE_BYTES)
        parse_store_file(raw, store=store, file_name=file.name)
        place = folder / file.name
        if checked.get(place, _present(place, raw)) != raw:
            raise FileError(
                f"{place} holds another certificate",
                remedy="Give the file another name, or remove the old one first "
                "(`enforcer trust remove`).",
            )
        checked[place] = raw
    make_folder(folder, mode=0o755)
    for place, raw in checked.items():
        write_file(place, raw, mode=0o644)
        print(f"trusted in {store}: {place}")
    print("a running enforcerd puts it in force within a second")
    return DONE


def _present(place: Path, wanted: bytes) -> bytes:
    """Return what is at a place already; what is wanted there if nothing is."""
    if not os.path.lexists(place):
        return wanted
    return read_file(place, max_bytes=MAX_STORE_FILE_BYTES, follow=False)


def _list(arguments: argparse.Namespace) -> int:
    found, problems = listed(settings_of(arguments))
    if is_json(arguments):
        print_json(found)
    else:
        for item in found:
            print("  ".join(v for name, v in item.items() if name != "key"))
    for problem in problems:
        print(f"enforcer: {clip(str(problem), limit=500)}", file=sys.stderr)
    return MISCONFIGURED if problems else DONE


def _generate(arguments: argparse.Namespace) -> int:
    name = arguments.name
    if "/" in name or name.startswith("."):
        raise UsageError(f'"{clip(name)}" cannot be a file name')
    key, chain, root = generate_test_chain(name, at=HostClock().now())
    make_folder(arguments.out, mode=0o755)
    written = {f"{name}.key": (key, 0o600), f"{name}.crt": (chain, 0o644)}
    written[f"{name}-ca.crt"] = (root, 0o644)
    for file in written:
        if (arguments.out / file).exists():
            raise FileError(
                f"{arguments.out / file} is there already",
                remedy="Name another folder; nothing was written.",
            )
    for file, (content, mode) in written.items():
        write_file(arguments.out / file, content, mode=mode)
        print(f"wrote {arguments.out / file}")
    print(
        f"nothing trusts it yet: enforcer trust add --type ca --store {name} "
        f"{arguments.out / f'{name}-ca.crt'}"
    )
    return DONE
