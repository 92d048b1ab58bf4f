"""An Ansible inventory read as devices: hosts, groups as tags, and how to log in.

Understood: INI and YAML inventories with groups, `:vars`, `:children`, ranges (`pi[01:10]`),
ports (`pi:2222`) and the variables ansible_host, ansible_port, ansible_user,
ansible_ssh_private_key_file, ansible_python_interpreter and edgepack_profile. Values that only
Ansible can know (vault, Jinja) are refused; passwords are never taken over. Nearer groups win over
farther ones, `all` is the farthest.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepack import addresses
from edgepack.errors import EdgepackError
from edgepack.model import Device

_UNTAGGED = ("all", "ungrouped")
_SECTION = re.compile(r"\[([^\[\]]+)\]\s*(?:[#;].*)?")
_RANGE = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]")
_MOST_HOSTS = 10_000

# Ansible's variable, older spelling included -> the device's field.
_FIELDS: Mapping[str, str] = {
    "ansible_host": "host",
    "ansible_ssh_host": "host",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_ssh_private_key_file": "key",
    "ansible_private_key_file": "key",
    "ansible_python_interpreter": "python",
    "edgepack_profile": "profile",
}


@dataclass
class _Group:
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The devices of an inventory, and what of it was left out, as sentences."""

    devices: tuple[Device, ...]
    left_out: tuple[str, ...]


def read(path: Path, profile: str | None) -> Inventory:
    """The inventory's devices, host keys not pinned.

    profile: for hosts that set no edgepack_profile.

    Raises:
        EdgepackError: EP104 a file that cannot be read or understood; EP105 a value that only
            Ansible can know, or a host without a profile.
    """
    try:
        text = path.read_text(encoding="utf-8")
        is_yaml = path.suffix.lower() in (".yml", ".yaml")
        groups = _from_yaml(text) if is_yaml else _from_ini(text)
        return _inventory(groups, profile, path)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise EdgepackError(
            "EP104",
            f"The inventory cannot be read: {error}",
            where=str(path),
            hint="Give a static Ansible inventory in INI or YAML form.",
        ) from error


def _inventory(groups: Mapping[str, _Group], profile: str | None, path: Path) -> Inventory:
    left_out: list[str] = []
    devices = []
    for host in dict.fromkeys(name for group in groups.values() for name in group.hosts):
        member_of = _groups_of(host, groups)
        variables: dict[str, Any] = {}
        for name in reversed(member_of):
            variables.update(groups[name].variables)
        for name in reversed(member_of):
            variables.update(groups[name].hosts.get(host, {}))
        tags = sorted(name for name in member_of if name not in _UNTAGGED)
        devices.append(_device(host, variables, tags, profile, path))
        others = sorted(
            key for key in variables if key.startswith("ansible_") and key not in _FIELDS
        )
        left_out += [f"{host}: {key} is not taken over" for key in others]
    return Inventory(devices=tuple(devices), left_out=tuple(left_out))


def _groups_of(host: str, groups: Mapping[str, _Group]) -> list[str]:
    """The groups that hold the host, nearest first, `all` last."""
    found = [name for name, group in groups.items() if host in group.hosts and name != "all"]
    for name in found:  # grows while it is walked: parents of parents
        found += [
            parent
            for parent, group in groups.items()
            if name in group.children and parent not in (*found, "all")
        ]
    return [*found, "all"] if "all" in groups else found


def _device(
    host: str, variables: Mapping[str, Any], tags: list[str], profile: str | None, path: Path
) -> Device:
    fields: dict[str, Any] = {"profile": profile}
    for key, value in variables.items():
        if key in _FIELDS:
            fields[_FIELDS[key]] = _plain(host, key, value, path)
    if fields["profile"] is None:
        raise EdgepackError(
            "EP105",
            f"Nothing says what kind of hardware '{host}' is.",
            where=str(path),
            hint="Give --profile, or set edgepack_profile for the host or its group.",
        )
    if "port" in fields:
        fields["port"] = _port(host, fields["port"])
    if "key" in fields and not fields["key"].startswith("~"):
        fields["key"] = str(Path(fields["key"]).absolute())  # it is used from other folders, too
    fields.setdefault("host", host)
    device = Device(name=host, tags=tuple(tags), **fields)
    addresses.check(device, str(path))
    return device


def _plain(host: str, key: str, value: Any, path: Path) -> str:
    """The value as text; EP105 for one that only Ansible can know."""
    if isinstance(value, _Secret) or "$ANSIBLE_VAULT" in str(value):
        what = "is encrypted with ansible-vault"
    elif "{{" in str(value) or "{%" in str(value):
        what = "is a Jinja template"
    elif isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    else:
        what = f"is {value!r}, no plain text"
    raise EdgepackError(
        "EP105",
        f"{key} of '{host}' {what}; edgepack does not resolve it.",
        where=str(path),
        hint="Write the value itself, or import what `ansible-inventory --list --yaml` resolves.",
    )


def _port(host: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"ansible_port of '{host}' is '{text}'")
    return int(text)


# ---------------------------------------------------------------- INI


def _from_ini(text: str) -> dict[str, _Group]:
    groups: dict[str, _Group] = {"all": _Group(), "ungrouped": _Group()}
    name, kind = "ungrouped", "hosts"
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        section = _SECTION.fullmatch(line)
        if section:
            name, _, kind = section[1].partition(":")
            kind = kind or "hosts"
            if kind not in ("hosts", "vars", "children"):
                raise ValueError(f"line {number}: a section of kind '{kind}'")
            groups.setdefault(name, _Group())
        elif kind == "children":
            groups[name].children.append(line.split("#")[0].strip())
        elif kind == "vars":
            key, separator, value = line.partition("=")
            if not separator:
                raise ValueError(f"line {number}: '{line}' is no variable")
            groups[name].variables[key.strip()] = _unquoted(value.strip())
        else:
            words = shlex.split(line, comments=True)
            pairs = [word.partition("=") for word in words[1:]]
            if any(not separator for _, separator, _ in pairs):
                raise ValueError(f"line {number}: '{line}' is no host with variables")
            pattern, own = _own_port(words[0])
            for host in _hosts(pattern):
                groups[name].hosts[host] = {**own, **{key: value for key, _, value in pairs}}
    return groups


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _own_port(written: str) -> tuple[str, dict[str, str]]:
    """`pi[1:3]:2222` -> the pattern without its port, and the port as a variable of its hosts.

    As Ansible has it: an IPv6 address with a port stands in brackets, one without has none.
    """
    pattern, colon, port = written.rpartition(":")
    six = pattern.startswith("[") and pattern.endswith("]") and not _RANGE.fullmatch(pattern)
    if not colon or not port.isdecimal() or (":" in _RANGE.sub("", pattern) and not six):
        return written, {}
    return (pattern[1:-1] if six else pattern), {"ansible_port": port}


def _hosts(pattern: str) -> Iterator[str]:
    """The hosts of a pattern; several ranges in one multiply."""
    for count, host in enumerate(_expand(pattern)):
        if count >= _MOST_HOSTS:
            raise ValueError(f"more than {_MOST_HOSTS} hosts in {pattern}")
        yield host


def _expand(pattern: str) -> Iterator[str]:
    """`pi[01:03].lab` -> pi01.lab, pi02.lab, pi03.lab; letters too, and a step."""
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last, step = found[1], found[2], int(found[3] or 1)
    numbers = first.isdecimal() and last.isdecimal()
    if not numbers and not (len(first) == len(last) == 1):
        raise ValueError(f"the range {found[0]}")
    low, high = (int(first), int(last)) if numbers else (ord(first), ord(last))
    if step < 1 or not 0 <= high - low < _MOST_HOSTS:
        raise ValueError(f"the range {found[0]}")
    for each in range(low, high + 1, step):
        middle = str(each).zfill(len(first)) if numbers else chr(each)
        yield from _expand(pattern[: found.start()] + middle + pattern[found.end() :])


# ---------------------------------------------------------------- YAML


class _Secret(str):
    """A value under `!vault`: known to be there, never read."""


def _from_yaml(text: str) -> dict[str, _Group]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain data, and `!vault` as a mark."""

    for tag in ("!vault", "!vault-encrypted"):
        Loader.add_constructor(tag, lambda loader, node: _Secret("vault"))
    try:
        document = yaml.load(text, Loader)  # noqa: S506  (derived from SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    groups: dict[str, _Group] = {}
    most = iter(range(_MOST_HOSTS))  # aliases make a small file name a billion groups
    for name, body in _mapping(document, "the inventory").items():
        _take_group(str(name), body, groups, most)
    return groups


def _take_group(name: str, body: Any, groups: dict[str, _Group], most: Iterator[int]) -> None:
    if next(most, None) is None:
        raise ValueError(f"more than {_MOST_HOSTS} groups")
    table = _mapping(body, name)
    unknown = sorted(set(table) - {"hosts", "children", "vars"})
    if unknown:
        raise ValueError(f"the group '{name}' has {unknown}")
    group = groups.setdefault(name, _Group())
    for written, variables in _mapping(table.get("hosts"), name).items():
        pattern, own = _own_port(str(written))
        for host in _hosts(pattern):
            group.hosts.setdefault(host, {}).update({**own, **_mapping(variables, host)})
    group.variables.update(_mapping(table.get("vars"), name))
    for child, inner in _mapping(table.get("children"), name).items():
        group.children.append(str(child))
        _take_group(str(child), inner, groups, most)


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"'{what}' holds {type(value).__name__} where a mapping is due")
    return value
