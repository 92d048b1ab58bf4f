"""The registered boards: `devices.toml`, edited in place so that comments stay.

    [device.pi4]
    profile = "raspberry-pi-4"
    host = "192.168.1.40"
    host_keys = ["ssh-ed25519 AAAA…"]

The device `local`, this machine, is always there.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from edgepack import addresses, private
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Device

LOCAL = "local"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLACE = re.compile(r"(?:\[(?P<six>[^]]+)\]|(?P<host>[^:]*))(?::(?P<port>\d{1,5}))?")
_LOCK_S = 10.0
_LISTS = frozenset({"host_keys", "tags"})
_KEYS = frozenset(each.name for each in fields(Device)) - {"name"}


def local_device() -> Device:
    """This machine, measured with the Python that runs edgepack."""
    return Device(name=LOCAL, profile="desktop", transport="local", python=sys.executable)


class Registry:
    """The devices of one file. Every change is written at once, under a lock, atomically."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Device]:
        """All devices, `local` first, then in the file's order. EP104 for a malformed file."""
        return [local_device(), *self._read().values()]

    def get(self, name: str) -> Device:
        """The device of that name; EP101 with the nearest name when there is none."""
        for device in self.all():
            if device.name == name:
                return device
        raise self._unknown(name)

    def add(self, device: Device) -> None:
        """Register a device; EP105 for an unfit name or address, EP107 for a name that is taken."""
        check_name(device.name)
        addresses.check(device)
        with self._edit() as document:
            if device.name in document.setdefault("device", _table()):
                raise EdgepackError(
                    "EP107",
                    f"A device '{device.name}' is registered already.",
                    where=str(self._path),
                    hint=f"Choose another name, or: edgepack device rm {device.name}",
                )
            document["device"][device.name] = _to_table(device)

    def update(self, name: str, **changed: Any) -> None:
        """Set these fields of a registered device, and nothing else of it; EP101, EP105.

        What else the file says of the device by then stays: others may have changed it since
        the caller read it.
        """
        with self._edit() as document:
            table = document.get("device", {}).get(name)
            if table is None:
                raise self._unknown(name)
            device = replace(self.get(name), **changed)
            addresses.check(device)
            new = _to_table(device)
            for key in changed:
                if key not in new:
                    table.pop(key, None)
                elif table.get(key) != new[key]:
                    table[key] = new[key]

    def remove(self, *names: str) -> None:
        """Forget devices: all, or none with EP101 for an unknown one, EP105 for `local`."""
        for name in names:
            check_name(name)
        with self._edit() as document:
            tables = document.get("device", {})
            for name in names:
                if name not in tables:
                    raise self._unknown(name)
            for name in dict.fromkeys(names):
                del tables[name]

    def select(self, patterns: Sequence[str]) -> list[Device]:
        """The devices that the patterns name, each once, in the order they are named.

        A pattern is a name, a glob ("pi*"), "tag:<tag>" or "profile:<profile>" (globs too).
        EP101 for a pattern that matches nothing.
        """
        devices = self.all()
        chosen: dict[str, Device] = {}
        for pattern in patterns:
            found = [device for device in devices if _matches(device, pattern)]
            if not found:
                raise self._unknown(pattern)
            chosen.update({device.name: device for device in found})
        return list(chosen.values())

    def gateway(self, spec: str) -> Device:
        """The device that a jump host's spec means: its name, or "[user@]host[:port]".

        EP101 when no such device is registered: a machine in the middle is trusted like any
        other, by its pinned host key.
        """
        named = [device for device in self.all() if device.name == spec]
        if named:
            return named[0]
        user, _, place = spec.removeprefix("ssh://").rpartition("@")
        found = _PLACE.fullmatch(place)
        host, port = (found["six"] or found["host"], found["port"]) if found else (place, None)
        there = [
            device
            for device in self.all()
            if device.host == host and (port is None or int(port) == (device.port or 22))
        ]
        # One that says no user comes second: another may be registered for just this user.
        for wanted in (user or None, None):
            for device in there:
                if device.user == wanted:
                    return replace(device, user=user or None)
        if there and not user:
            return there[0]
        more = (f" --user {user}" if user else "") + (f" --port {port}" if port else "")
        raise EdgepackError(
            "EP101",
            f"The jump host '{spec}' is not a registered device.",
            where=str(self._path),
            hint="Register it, so that its host key is pinned as well: "
            f"edgepack device add NAME --host {host}{more} --profile desktop",
        )

    def _unknown(self, name: str) -> EdgepackError:
        known = [device.name for device in self.all()]
        known += sorted({f"tag:{tag}" for device in self.all() for tag in device.tags})
        return EdgepackError(
            "EP101",
            f"There is no device '{name}'.",
            where=str(self._path),
            hint=did_you_mean(name, known) + " Register one with: edgepack device add",
        )

    # ------------------------------------------------------------ the file

    def _read(self) -> dict[str, Device]:
        try:
            document = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise self._malformed(str(error)) from error
        tables = document.get("device", {})
        unknown = sorted(set(document) - {"device"})
        if unknown or not isinstance(tables, dict):
            raise self._malformed(f"only [device.NAME] tables belong here, not {unknown}")
        return {name: self._device(name, table) for name, table in tables.items()}

    def _device(self, name: str, table: Any) -> Device:
        where = f"[device.{name}]"
        if not isinstance(table, dict) or not _NAME.fullmatch(name) or name == LOCAL:
            raise self._malformed(f"{where} is not a table of a device with a proper name")
        for key, value in table.items():
            if key not in _KEYS:
                raise self._malformed(f"{where}: '{key}': {did_you_mean(key, sorted(_KEYS))}")
            if not _fits(key, value):
                raise self._malformed(f"{where}: '{key}' has the wrong type")
        if "profile" not in table:
            raise self._malformed(f"{where} has no 'profile'")
        lists = {key: tuple(table[key]) for key in _LISTS & set(table)}
        device = Device(name=name, **{**table, **lists})
        unfit = addresses.trouble(device)
        if unfit is not None:
            raise self._malformed(f"{where}: {unfit}", addresses.HINT)
        return device

    def _malformed(self, what: str, more: str = "") -> EdgepackError:
        return EdgepackError(
            "EP104",
            f"The registry of devices cannot be read: {what}",
            where=str(self._path),
            hint=f"Correct the file. {more}".strip(),
        )

    @contextlib.contextmanager
    def _edit(self) -> Iterator[Any]:
        """The parsed document under the file's lock; written back when the block ends well."""
        import tomlkit

        # A link stays one, and whoever comes by another path waits at the same lock.
        file = Path(os.path.realpath(self._path))
        private.folder(file.parent)
        with self._locked(file):
            self._read()  # a malformed file is an error, and stays as it is
            document = tomlkit.parse(file.read_text(encoding="utf-8") if file.exists() else "")
            yield document
            _write(file, document.as_string())

    @contextlib.contextmanager
    def _locked(self, file: Path) -> Iterator[None]:
        import filelock

        lock = filelock.FileLock(f"{file}.lock", timeout=_LOCK_S, mode=private.FILE)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise EdgepackError(
                "EP104",
                f"The registry of devices is locked for more than {_LOCK_S:g} s.",
                where=str(self._path),
                hint="Wait for the other edgepack to end.",
            ) from error
        try:
            yield
        finally:
            lock.release()


def _write(path: Path, text: str) -> None:
    import tempfile

    # mkstemp makes it 0600, and os.replace leaves the old file or the new one.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".devices-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_name(name: str) -> None:
    """EP105 unless the name can be a new device's: letters, digits, ".", "_", "-"."""
    if name == LOCAL:
        raise EdgepackError("EP105", "'local' is built in.", hint="Choose another name.")
    if not _NAME.fullmatch(name):
        raise EdgepackError(
            "EP105",
            f"'{name}' cannot be the name of a device.",
            hint="Use letters, digits, '.', '_' and '-', beginning with a letter or digit.",
        )


def _table() -> Any:
    import tomlkit

    return tomlkit.table(is_super_table=True)


def _to_table(device: Device) -> Mapping[str, Any]:
    """What is set and not the default; `profile` always."""
    import tomlkit

    default = asdict(Device(name=device.name, profile=""))
    table = tomlkit.table()
    for key, value in asdict(device).items():
        if key != "name" and value != default[key]:
            table[key] = list(value) if key in _LISTS else value
    return table


def _fits(key: str, value: Any) -> bool:
    if key in _LISTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if key == "ask_password":
        return isinstance(value, bool)
    if key == "port":
        return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536
    return isinstance(value, str)


def _matches(device: Device, pattern: str) -> bool:
    kind, _, rest = pattern.partition(":")
    if kind == "tag":
        return any(fnmatch.fnmatchcase(tag, rest) for tag in device.tags)
    if kind == "profile":
        return fnmatch.fnmatchcase(device.profile, rest)
    return fnmatch.fnmatchcase(device.name, pattern)
