"""The registered boards: `devices.toml`, edited in place so that comments stay.

    [device.pi4]
    profile = "raspberry-pi-4"
    host = "192.168.1.40"
    host_keys = ["ssh-ed25519 AAAA…"]

The device `local`, this machine, is always there.
"""

from __future__ import annotations

import fnmatch
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
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

    def replace(self, device: Device) -> None:
        """Change a registered device in place, its comments kept; EP101."""
        with self._edit() as document:
            table = document.get("device", {}).get(device.name)
            if table is None:
                raise self._unknown(device.name)
            new = _to_table(device)
            for key in [key for key in table if key not in new]:
                del table[key]
            for key, value in new.items():
                if table.get(key) != value:
                    table[key] = value

    def remove(self, name: str) -> None:
        """Forget a device; EP101 when there is none, EP105 for `local`."""
        check_name(name)
        with self._edit() as document:
            if name not in document.get("device", {}):
                raise self._unknown(name)
            del document["device"][name]

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
        user, _, place = spec.removeprefix("ssh://").rpartition("@")
        found = _PLACE.fullmatch(place)
        host, port = (found["six"] or found["host"], found["port"]) if found else (place, None)
        for device in self.all():
            same_user = not user or device.user in (None, user)
            same_port = port is None or int(port) == (device.port or 22)
            if spec == device.name or (device.host == host and same_user and same_port):
                return device
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

    def _edit(self) -> _Edit:
        self._read()  # a malformed file is an error, and stays as it is
        return _Edit(self._path)


class _Edit:
    """The parsed document under the file's lock; written back when the block ends well."""

    def __init__(self, path: Path) -> None:
        import filelock

        private.folder(path.parent)
        self._path = path
        self._lock = filelock.FileLock(f"{path}.lock", timeout=_LOCK_S, mode=private.FILE)

    def __enter__(self) -> Any:
        import filelock
        import tomlkit

        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise EdgepackError(
                "EP104",
                f"The registry of devices is locked for more than {_LOCK_S:g} s.",
                where=str(self._path),
                hint="Wait for the other edgepack to end.",
            ) from error
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        self._document = tomlkit.parse(text)
        return self._document

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._write(self._document.as_string())
        finally:
            self._lock.release()

    def _write(self, text: str) -> None:
        import tempfile

        # mkstemp makes it 0600, and os.replace leaves the old file or the new one.
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".devices-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
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
