"""Engines' configuration files, changed where they stand."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.host.install.edits import Edit, EditError, Setting
from enforcer.host.install.plan import AUTHZ_EDIT

KEY, ITEM = AUTHZ_EDIT.key, AUTHZ_EDIT.item
BINDIR = ("plugins", "io.containerd.image-verifier.v1.bindir")
OPTIONS = ("plugins", "cri", "containerd", "runtimes", "runc", "options")
SETTINGS = (
    Setting(BINDIR, "bin_dir", "/opt/enforcer/verifiers"),
    Setting(OPTIONS, "BinaryName", "/usr/sbin/runc"),
)
TOML_EDIT = Edit("toml", settings=SETTINGS)

_names = st.text(
    st.characters(codec="utf-8", exclude_characters="\x7f", exclude_categories=["Cs"]),
    max_size=8,
).filter(lambda name: name.casefold() != KEY)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9999, 9999) | _names,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3)
    ),
    max_leaves=8,
)


def _unique(document: dict[str, Any]) -> bool:
    """Strict JSON has no names that differ only by case (nor do Go's readers)."""
    try:
        AUTHZ_EDIT.apply(json.dumps(document).encode())
    except EditError:
        return False
    return True


_documents = st.dictionaries(_names, _values, max_size=5).filter(_unique)
_plugins = st.none() | st.lists(st.sampled_from(["opa", "twistlock", "x"]), unique=True)
_indents = st.sampled_from([None, 0, 1, 2, 4, "\t"])


@given(_documents, _plugins, _indents, st.sampled_from(["", "\n", "\r\n \n"]))
def test_only_the_list_of_a_json_file_gets_one_item_more(
    document: dict[str, Any],
    plugins: list[str] | None,
    indent: int | str | None,
    end: str,
) -> None:
    """A host's own settings, and its other plug-ins, are none of our business."""
    if plugins is not None:
        document[KEY] = plugins
    raw = (json.dumps(document, indent=indent) + end).encode()

    changed = AUTHZ_EDIT.apply(raw)

    assert json.loads(changed) == document | {KEY: [*(plugins or []), ITEM]}
    assert changed.endswith(end.encode())
    without = json.loads(AUTHZ_EDIT.remove(changed))
    assert without == {k: v for k, v in document.items() if k != KEY or v}
    assert AUTHZ_EDIT.apply(changed) == changed


def test_a_json_file_keeps_order_and_indentation() -> None:
    """People read the diff; what is not meant is not in it."""
    raw = b'{\n\t"z": 1,\n\t"authorization-plugins": ["opa"],\n\t"a": {"b":2}\n}\n'

    changed = AUTHZ_EDIT.apply(raw)

    assert changed == raw.replace(b'["opa"]', b'["opa", "enforcer"]')
    assert AUTHZ_EDIT.remove(changed) == raw
    new = AUTHZ_EDIT.apply(b'{\n    "log-level": "info"\n}')
    assert new == (
        b'{\n    "log-level": "info",\n    "authorization-plugins": ["enforcer"]\n}'
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"a": 1} {}',
        b'{"a": 1, // why\n "b": 2}',
        b'{"a": 1, "a": 2}',
        b'{"Authorization-Plugins": []}',
        b'{"authorization-plugins": "enforcer"}',
        b'{"authorization-plugins": null}',
        b"\xef\xbb\xbf{}",
        b"\xff{}",
    ],
)
def test_what_is_not_strict_json_is_refused(raw: bytes) -> None:
    """dockerd may read it as something else than we do."""
    with pytest.raises(EditError, match="it cannot be edited"):
        AUTHZ_EDIT.apply(raw)


_comments = st.sampled_from(["", "  # a comment", '# [plugins."x"]', "#bin_dir = 1"])
_keys = st.sampled_from(["a", "bin_dir", "BinaryName", '"x y"', "version2", "root"])
_texts = st.sampled_from(
    ['"s"', "'l'", "3", "true", '["a", "b"]', '"""\n[a]\nb=1\n"""']
)
_tables = st.sampled_from(
    [
        "grpc",
        "plugins",
        'plugins."io.containerd.image-verifier.v1.bindir"',
        "plugins.cri.containerd.runtimes.runc",
        "plugins.cri.containerd.runtimes.runc.options",
        "  plugins . 'cri' . containerd ",
        "plugins.cri.containerd.runtimes.other.options",
    ]
)


@st.composite
def _toml(draw: st.DrawFn) -> str:
    """A file with comments, odd spellings and strings that look like tables."""
    lines = [f"version = 2{draw(_comments)}"]
    for table in draw(st.lists(_tables, unique=True, max_size=5)):
        lines += [draw(_comments), f"[{table}]{draw(_comments)}"]
        for key in draw(st.lists(_keys, unique=True, max_size=3)):
            lines.append(f"    {key} = {draw(_texts)} {draw(_comments)}")
    text = draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    return text + draw(st.sampled_from(["", "\n"]))


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text.replace("\r\n", "\n"))
    except ValueError:
        return False
    return True


@given(_toml().filter(_is_toml))
def test_only_the_settings_meant_change_in_a_toml_file(text: str) -> None:
    """And every line that was there is there still, comments and all."""
    expected = tomllib.loads(text.replace("\r\n", "\n"))
    replaced = set()
    for setting in SETTINGS:
        table = expected
        for name in setting.table:
            table = table.setdefault(name, {})
        if setting.key in table:
            replaced.add(setting.key)
        table[setting.key] = setting.value

    try:
        changed = TOML_EDIT.apply(text.encode()).decode()
    except EditError:
        assert replaced  # a value of many lines, which is nobody's to guess about
        return

    assert tomllib.loads(changed.replace("\r\n", "\n")) == expected
    kept = [line.strip() for line in changed.splitlines()]
    for line in text.splitlines():
        assert line.strip() in kept or any(key in line for key in replaced)


@given(_toml().filter(_is_toml))
def test_what_was_added_to_a_toml_file_comes_out_again(text: str) -> None:
    """Also when somebody has written more into the file meanwhile."""
    document = tomllib.loads(text.replace("\r\n", "\n"))
    plugins = document.get("plugins", {})
    if "bin_dir" in plugins.get(BINDIR[1], {}) or "BinaryName" in str(plugins):
        return

    changed = TOML_EDIT.apply(text.encode()) + b"\n[later]\n  by = 'somebody'\n"

    removed = TOML_EDIT.remove(changed).decode()
    found = tomllib.loads(removed.replace("\r\n", "\n"))
    assert found.pop("later") == {"by": "somebody"}
    assert _without_empty(found) == _without_empty(document)


def _without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _without_empty(v) for name, v in value.items()}
    return {name: v for name, v in inner.items() if v != {}}


def test_a_former_value_comes_back() -> None:
    """Ours was put over it."""
    raw = b'[a]\n  k = "old"  # why\n'
    edit = Edit("toml", settings=(Setting(("a",), "k", "new", was="old"),))

    changed = edit.apply(raw)

    assert changed == b'[a]\n  k = "new"  # why\n'
    assert edit.remove(changed) == raw


def test_a_table_written_in_one_line_is_refused() -> None:
    """It cannot grow a line, and is not rewritten."""
    raw = b'plugins = {"io.containerd.image-verifier.v1.bindir" = {}}\n'

    with pytest.raises(EditError, match="more than the setting would change"):
        TOML_EDIT.apply(raw)
