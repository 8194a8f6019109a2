"""What is on a disk, byte for byte: to compare a host with what it was before."""

import json

from tests.machine.machine import Machine

# Walks one file system: /proc, /sys, /dev, /run, /tmp and the engines' stores are
# others, each with a device number of its own, and are noted as folders only.
_WALK = """
import hashlib, json, os, stat, sys

top = os.lstat("/").st_dev
found, todo = {}, ["/"]
while todo:
    folder = todo.pop()
    for entry in os.scandir(folder):
        about = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(about.st_mode)
        content = ""
        if kind == stat.S_IFLNK:
            content = os.readlink(entry.path)
        elif kind == stat.S_IFREG:
            with open(entry.path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        elif kind == stat.S_IFDIR and about.st_dev == top:
            todo.append(entry.path)
        names = sorted(os.listxattr(entry.path, follow_symlinks=False))
        values = [os.getxattr(entry.path, n, follow_symlinks=False) for n in names]
        found[entry.path] = (
            oct(about.st_mode), about.st_uid, about.st_gid, content,
            " ".join(f"{n}={v.hex()}" for n, v in zip(names, values)),
        )
json.dump(found, sys.stdout)
"""

Manifest = dict[str, list[str | int]]


def take(machine: Machine) -> Manifest:
    """Every path of the machine's disk: type and mode, owner, content, attributes."""
    done = machine.run("python3", "-ISB", "-", given=_WALK)
    return dict(json.loads(done.stdout))


def differences(
    before: Manifest, after: Manifest, apart_from: tuple[str, ...]
) -> list[str]:
    """Say what is new, gone or other, apart from some folders and all in them."""

    def counts(path: str) -> bool:
        return not any(path == top or path.startswith(f"{top}/") for top in apart_from)

    changed = {
        path for path in before.keys() & after.keys() if before[path] != after[path]
    }
    said = [f"+ {path}" for path in after.keys() - before.keys()]
    said += [f"- {path}" for path in before.keys() - after.keys()]
    said += [f"! {path}: {before[path]} -> {after[path]}" for path in changed]
    return sorted(line for line in said if counts(line[2:].partition(": ")[0]))
