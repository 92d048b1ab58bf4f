"""Is this machine fit to build and to reach devices? Nothing heavy is imported to find out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from edgepack import config, plugged
from edgepack.doctor.checks import Finding, Level
from edgepack.errors import EdgepackError
from edgepack.registry import Registry

_ENOUGH_BYTES = 2 << 30  # a build of a large model with its data, and the caches beside it
_SSH_S = 10.0
# What a user asks about first; the other requirements are named only where they fail.
_SHOWN = ("tensorflow", "keras", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert")


def examine() -> list[Finding]:
    """All checks, in the order in which things are needed."""
    return [
        _python(),
        *_packages(),
        _ssh_keygen(),
        *_folders(),
        _store(),
        _devices(),
        _plugins(),
    ]


def _python() -> Finding:
    version = sys.version.split()[0]
    return Finding(check="python", level=Level.OK, found=f"{version} ({sys.executable})")


def _packages() -> Iterator[Finding]:
    """The distributions that edgepack requires, held against the versions it requires."""
    from packaging.requirements import Requirement

    for text in metadata.requires("edgepack") or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = None
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield Finding(
                check=requirement.name,
                level=Level.FAIL,
                found=version or "not installed",
                todo=f"pip install '{requirement}'",
            )
        elif requirement.name in _SHOWN:
            yield Finding(check=requirement.name, level=Level.OK, found=version)


def _ssh_keygen() -> Finding:
    path = shutil.which("ssh-keygen")
    if path is None:
        return Finding(
            check="ssh-keygen",
            level=Level.WARN,
            found="not found",
            todo="Install OpenSSH's client (8.2 or newer) to sign and verify packages.",
        )
    return Finding(check="ssh-keygen", level=Level.OK, found=f"{path}, {_openssh()}")


def _openssh() -> str:
    try:
        said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=_SSH_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"version unknown ({type(error).__name__})"
    return said.stderr.strip().partition(",")[0] or "version unknown"


def _folders() -> Iterator[Finding]:
    for name, folder in (("cache", config.cache_dir()), ("data", config.data_dir())):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        said = f"{folder}, {free / 2**30:.1f} GiB free"
        if not os.access(there, os.W_OK):
            todo = "Make it yours, or move it: EDGEPACK_HOME=FOLDER."
            yield Finding(check=name, level=Level.FAIL, found=f"{said}, not writable", todo=todo)
        elif free < _ENOUGH_BYTES:
            todo = "Make room, for example: edgepack cache prune."
            yield Finding(check=name, level=Level.WARN, found=said, todo=todo)
        else:
            yield Finding(check=name, level=Level.OK, found=said)


def _store() -> Finding:
    """A SQLite file that is not there yet is fine: the first run makes it."""
    url = config.store_url()
    shown = config.without_password(url)
    file = url.removeprefix("sqlite:///")
    if file != url and not Path(file).exists():
        return Finding(check="store", level=Level.OK, found=f"{shown}, no runs yet")
    from edgepack.store import open_store

    try:
        with open_store(url) as store:
            newest = next((run.run_id for run in store.list(1)), "none")
    except EdgepackError as error:
        return _failed("store", error)
    return Finding(check="store", level=Level.OK, found=f"{shown}, newest run: {newest}")


def _devices() -> Finding:
    try:
        known = Registry(config.devices_file()).all()
    except EdgepackError as error:
        return _failed("devices", error)
    return Finding(check="devices", level=Level.OK, found=f"{len(known) - 1} beside this machine")


def _plugins() -> Finding:
    found = plugged.listing()
    broken = [f"{each.name} ({each.package})" for each in found if each.error is not None]
    if broken:
        said, todo = f"unavailable: {', '.join(broken)}", "The reasons: edgepack plugin ls."
        return Finding(check="plug-ins", level=Level.WARN, found=said, todo=todo)
    return Finding(check="plug-ins", level=Level.OK, found=f"{len(found)}, all available")


def _failed(check: str, error: EdgepackError) -> Finding:
    said = f"{error.code}: {error.what}"
    return Finding(check=check, level=Level.FAIL, found=said, todo=error.hint)
