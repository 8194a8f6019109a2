"""A unit's sandbox, as the kernel makes it: namespaces, capabilities, system calls."""

import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.reach import open_way

NAMESPACES = {
    "PrivateMounts": 0x00020000,
    "ProtectHostname": 0x04000000,
    "PrivateIPC": 0x08000000,
    "PrivateNetwork": 0x40000000,
}
ANY_NAMESPACE = 0x7E020080  # every CLONE_NEW*
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_SLAVE = (
    2,
    4,
    8,
    4096,
    16384,
    1 << 19,
)
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000  # Linux 5.12
READ_ONLY, NO_EXEC = 1, 8  # MOUNT_ATTR_*
CAPBSET_DROP, SET_NO_NEW_PRIVS, SET_MDWE = 24, 38, 65  # prctl(2)
EPERM, ENOSYS = 1, 38
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # libseccomp's actions
EQUAL, MASKED_EQUAL = 4, 7  # and comparisons
SET_ID = 0o6000
LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")
# Those that units here keep (linux/capability.h); all others go by number.
CAPABILITIES = {"CAP_DAC_READ_SEARCH": 2, "CAP_SYS_PTRACE": 19}

_LIBC = ctypes.CDLL(None, use_errno=True)


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp: one condition on an argument of a call."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


class Sandbox:
    """What one unit demands, in the order in which it can be had."""

    def __init__(
        self,
        unit: Mapping[str, Sequence[str]],
        *,
        writable: Sequence[str],
        program: Sequence[str],
    ) -> None:
        self._unit = unit
        self._writable = writable
        self._program = program
        self._last = int(LAST_CAPABILITY.read_text())  # not to be read later

    def separate(self) -> None:
        """Give it namespaces of its own, and what it sees there of the file system."""
        flags = 0
        for name, flag in NAMESPACES.items():
            flags |= flag if self._is("PrivateMounts") and self._is(name) else 0
        _checked(_LIBC.unshare(flags), "unshare")
        _mount("", "/", "", MS_REC | MS_SLAVE)
        open_way()
        for folder in self._writable:
            _mount(folder, folder, "", MS_BIND | MS_REC)
        _set_attributes("/", on=READ_ONLY, flags=AT_RECURSIVE)
        for folder in self._writable:
            _set_attributes(folder, on=NO_EXEC, off=READ_ONLY, flags=AT_RECURSIVE)
        for path in self._closed():
            _mount("none", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=4k,mode=0000")
        hide = (
            ["hidepid=invisible"] if self._unit["ProtectProc"] == ["invisible"] else []
        )
        hide += ["subset=pid"] if self._unit["ProcSubset"] == ["pid"] else []
        _mount(
            "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ",".join(hide)
        )

    def drop_capabilities(self) -> None:
        """Leave those that the unit's bounding set names, now and for ever."""
        kept = {CAPABILITIES[name] for name in self._unit["CapabilityBoundingSet"]}
        for number in set(range(self._last + 1)) - kept:
            _checked(_LIBC.prctl(CAPBSET_DROP, number, 0, 0, 0), f"drop {number}")

    def filter_calls(self) -> None:
        """Let only those system calls through that the unit names; last of all."""
        if self._is("MemoryDenyWriteExecute"):
            _LIBC.prctl(SET_MDWE, 1, 0, 0, 0)  # Linux 6.3
        _checked(_LIBC.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
        library = ctypes.CDLL("libseccomp.so.2")
        library.seccomp_init.restype = ctypes.c_void_p
        filter_ = ctypes.c_void_p(library.seccomp_init(ERRNO | EPERM))
        for name, action, conditions in self._rules():
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number < 0:  # another architecture's
                continue
            compared = (_Compare * len(conditions))(
                *(_Compare(*condition) for condition in conditions)
            )
            _checked(
                library.seccomp_rule_add_array(
                    filter_, action, number, len(conditions), compared
                ),
                name,
            )
        _checked(library.seccomp_load(filter_), "seccomp")

    def _rules(self) -> Iterator[tuple[str, int, list[tuple[int, int, int, int]]]]:
        calls = allowed_calls(self._unit["SystemCallFilter"])
        calls -= {"unshare", "setns", "personality", "clone", "clone3", "socket"}
        modes = {"chmod": 1, "fchmod": 1, "fchmodat": 2}
        if not self._is("RestrictSUIDSGID"):
            modes = {}
        elif "openat2" in calls:  # the mode is behind a pointer, so systemd has none
            calls -= {"openat2"}
            yield "openat2", ERRNO | ENOSYS, []
        for name in sorted(calls - modes.keys()):
            yield name, ALLOW, []
        # RestrictNamespaces; as under systemd, the C library then takes clone.
        yield "clone", ALLOW, [(0, MASKED_EQUAL, ANY_NAMESPACE, 0)]
        yield "clone3", ERRNO | ENOSYS, []
        for family in self._unit["RestrictAddressFamilies"]:
            yield "socket", ALLOW, [(0, EQUAL, FAMILIES[family], 0)]
        for name, argument in modes.items():  # RestrictSUIDSGID
            yield name, ALLOW, [(argument, MASKED_EQUAL, SET_ID, 0)]

    def _closed(self) -> Iterator[str]:
        """Name the folders it may not look into, as far as they are there."""
        homes = ["/home", "/root", "/run/user"] if self._is("ProtectHome") else []
        named = [
            path.removeprefix("-") for path in self._unit.get("InaccessiblePaths", ())
        ]
        for path in (*homes, *named):
            needed = any(word.startswith(f"{path}/") for word in self._program)
            if (
                Path(path).is_dir()
                and not needed
                and not Path.cwd().is_relative_to(path)
            ):
                yield path

    def _is(self, name: str) -> bool:
        return list(self._unit.get(name, ())) == ["yes"]


def allowed_calls(words: Sequence[str]) -> set[str]:
    """Return the calls that SystemCallFilter lets through, its groups by systemd."""
    groups = _groups()
    allowed: set[str] = set()
    taken_away = False
    for word in words:
        taken_away = taken_away or word.startswith("~")
        calls = _calls(word.removeprefix("~"), groups)
        allowed = allowed - calls if taken_away else allowed | calls
    return allowed


def _calls(name: str, groups: Mapping[str, Sequence[str]]) -> set[str]:
    if not name.startswith("@"):
        return {name}
    return {call for word in groups[name] for call in _calls(word, groups)}


def _groups() -> dict[str, list[str]]:
    """Return systemd's groups, which may name each other."""
    command = ("systemd-analyze", "syscall-filter", "--no-pager")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    groups: dict[str, list[str]] = {}
    name = ""
    for line in done.stdout.splitlines():
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        if line.startswith("@"):
            name = word
            groups[name] = []
        elif name:
            groups[name].append(word)
    return groups


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _checked(
        _LIBC.mount(
            source.encode(), target.encode(), kind.encode(), flags, data.encode()
        ),
        f"mount {target}",
    )


def _set_attributes(path: str, *, on: int, off: int = 0, flags: int = 0) -> None:
    attributes = (ctypes.c_uint64 * 4)(on, off, 0, 0)
    done = _LIBC.syscall(
        MOUNT_SETATTR,
        AT_FDCWD,
        path.encode(),
        flags,
        attributes,
        ctypes.sizeof(attributes),
    )
    _checked(done, f"set attributes of {path}")


def _checked(result: int, what: str) -> None:
    """Raise for what was refused: half a sandbox would prove nothing."""
    if result < 0:
        number = ctypes.get_errno() or -result
        raise OSError(number, f"{what}: {os.strerror(number)}")
