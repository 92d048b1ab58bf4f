"""Where edgepack keeps things, the user's settings, and the hardware profiles.

`EDGEPACK_HOME` moves configuration, cache and store into one folder. A setting is looked up
in this order: flag, `EDGEPACK_*` variable, `./edgepack.toml` or `[tool.edgepack]` of
`./pyproject.toml`, the user's `config.toml`, the device's profile, the built-in default.
Light on purpose: nothing here imports more than the standard library and platformdirs.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack import private, resources
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Profile, RuntimeSpec
from edgepack.model.hardware import RUNTIMES, is_accelerator
from edgepack.model.profile_keys import KEYS, RUNTIME_KEYS, Key

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PROFILES = "edgepack.profiles"

# The commands whose options a configuration file may set, and which options those are.
SETTABLE: Mapping[str, frozenset[str]] = {
    "run": frozenset(
        {
            "data",
            "recipe",
            "device",
            "budget",
            "threads",
            "max_seconds",
            "ci",
            "seed",
            "runtime",
            "mode",
        }
    ),
    "build": frozenset({"data", "recipe", "output"}),
    "compare": frozenset({"baseline"}),
    "gate": frozenset({"budget"}),
}


def _dir(kind: str) -> Path:
    moved = os.environ.get("EDGEPACK_HOME")
    if moved:
        return Path(moved) / kind
    import platformdirs

    of_kind = {
        "config": platformdirs.user_config_path,
        "cache": platformdirs.user_cache_path,
        "data": platformdirs.user_data_path,
    }
    return of_kind[kind]("edgepack", appauthor=False)


def config_dir() -> Path:
    """The folder of `config.toml` and `devices.toml`."""
    return _dir("config")


def cache_dir() -> Path:
    """The folder of everything that can be made again: builds, agents, wheels."""
    return _dir("cache")


def data_dir() -> Path:
    """The folder of what must not be lost: the store and its packages."""
    return _dir("data")


def make_private() -> None:
    """Make the three folders, for nobody but this user (0700), where they are not there yet.

    Where they cannot be made, whoever needs one says so.
    """
    for folder in (config_dir(), cache_dir(), data_dir()):
        with contextlib.suppress(OSError):
            private.folder(folder)


def store_url() -> str:
    """The store's SQLAlchemy URL: `EDGEPACK_STORE`, else SQLite under `data_dir()`."""
    return os.environ.get("EDGEPACK_STORE") or f"sqlite:///{data_dir() / 'runs.db'}"


def without_password(url: str) -> str:
    """A store's URL as it may be shown: passwords in it, quoted properly or not, are masked."""
    masked = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1***", masked)


def devices_file() -> Path:
    """The registry of devices: `EDGEPACK_DEVICES`, else `devices.toml` of `config_dir()`."""
    named = os.environ.get("EDGEPACK_DEVICES")
    return Path(named) if named else config_dir() / "devices.toml"


def ssh_config_file() -> Path:
    """The user's OpenSSH configuration: `EDGEPACK_SSH_CONFIG`, else `~/.ssh/config`."""
    named = os.environ.get("EDGEPACK_SSH_CONFIG")
    return Path(named) if named else Path.home() / ".ssh" / "config"


# ---------------------------------------------------------------- settings


def read_toml(path: Path) -> dict[str, Any]:
    """The parsed TOML file; EP104 when it cannot be read, with the parser's own place."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise EdgepackError(
            "EP104", f"cannot read it: {error}", where=str(path), hint="Correct the file."
        ) from error


def _checked(settings: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    for command, options in settings.items():
        if command not in SETTABLE:
            hint = did_you_mean(command, list(SETTABLE))
            raise EdgepackError("EP104", f"unknown table [{command}]", where=str(path), hint=hint)
        if not isinstance(options, dict):
            raise EdgepackError(
                "EP104", f"[{command}] is not a table", where=str(path), hint="Write a table."
            )
        for option in options:
            if option not in SETTABLE[command]:
                hint = did_you_mean(option, sorted(SETTABLE[command]))
                raise EdgepackError(
                    "EP104", f"unknown setting {command}.{option}", where=str(path), hint=hint
                )
    return {command: dict(options) for command, options in settings.items()}


def settings_files() -> list[tuple[Path, dict[str, dict[str, Any]]]]:
    """Each settings file that exists with its content, the strongest first. EP104."""
    found: list[tuple[Path, dict[str, dict[str, Any]]]] = []
    project, pyproject = Path("edgepack.toml"), Path("pyproject.toml")
    user = config_dir() / "config.toml"
    if project.is_file():
        found.append((project, _checked(read_toml(project), project)))
    elif pyproject.is_file():
        table = read_toml(pyproject).get("tool", {}).get("edgepack")
        if table is not None:
            found.append((pyproject, _checked(table, pyproject)))
    if user.is_file():
        found.append((user, _checked(read_toml(user), user)))
    return found


def defaults() -> dict[str, dict[str, Any]]:
    """Option defaults by command, from the settings files, the stronger file winning."""
    merged: dict[str, dict[str, Any]] = {}
    for _, settings in reversed(settings_files()):
        for command, options in settings.items():
            merged.setdefault(command, {}).update(options)
    return merged


# ---------------------------------------------------------------- profiles


def _profile_dirs() -> list[Path]:
    return [config_dir() / "profiles", resources.profiles_dir()]


def profile_names() -> list[str]:
    """Names of all profiles: the user's own (`<config>/profiles`), shipped, of plug-ins."""
    files = {file.stem for folder in _profile_dirs() for file in folder.glob("*.toml")}
    return sorted(files | set(_plugged_profiles()))


def _plugged_profiles() -> Mapping[str, EntryPoint]:
    from edgepack import plugins

    return plugins.found(PROFILES)


def plugged_profile(entry: EntryPoint) -> dict[str, Any]:
    """The table of a plug-in's profile. EP109."""
    from edgepack import plugins

    table = plugins.load(entry)
    if not isinstance(table, dict):
        raise plugins.unavailable(entry, "it is not a dict")
    return dict(table)


def _profile_table(name: str) -> tuple[Path, dict[str, Any]]:
    """Where the profile is written, and its table: the user's own, shipped, or a plug-in's."""
    for folder in _profile_dirs():
        file = folder / f"{name}.toml"
        if file.stem == name and file.is_file():  # a name, and no way out of the folder
            return file, read_toml(file)
    entry = _plugged_profiles().get(name)
    if entry is not None:
        return Path(entry.value), plugged_profile(entry)
    raise EdgepackError(
        "EP103", f"unknown profile '{name}'", hint=did_you_mean(name, profile_names())
    )


def _resolved(name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The profile's table with everything it `extends` filled in, nearest first."""
    file, table = _profile_table(name)
    if name in seen:
        raise EdgepackError(
            "EP104",
            f"profiles extend each other in a circle: {' -> '.join((*seen, name))}",
            where=str(file),
            hint="Remove one 'extends'.",
        )
    _check_keys(file, table, KEYS)
    parent = table.pop("extends", None)
    base = _resolved(parent, (*seen, name)) if parent else {}
    merged = {**base, **table}
    if "budget" in base and "budget" in table:
        merged["budget"] = {**base["budget"], **table["budget"]}
    return merged


def _check_keys(
    file: Path, table: Mapping[str, Any], keys: Mapping[str, Key], within: str = ""
) -> None:
    """EP104 for a key that there is not, and for a value of another type."""
    for key, value in table.items():
        if key not in keys:
            hint = did_you_mean(key, list(keys))
            raise _profile_error(file, f"unknown key '{within}{key}'", hint)
        if not _is_of(value, keys[key]):
            hint = f"Its type is: {keys[key].type}."
            raise _profile_error(file, f"'{within}{key}' has the wrong type", hint)


def _is_of(value: Any, key: Key) -> bool:
    if isinstance(value, bool):  # which Python takes for an integer
        return key.kind is bool
    items = value if isinstance(value, list) else ()
    return isinstance(value, key.kind) and all(isinstance(item, key.of) for item in items)


def _profile_error(file: Path, what: str, hint: str) -> EdgepackError:
    return EdgepackError("EP104", what, where=str(file), hint=hint)


def load_profile(name: str) -> Profile:
    """The profile of that name. EP103 unknown (with did-you-mean), EP104 malformed."""
    file, table = _profile_table(name)[0], _resolved(name)
    if table.get("memory_limit_bytes", 0) < 0:
        raise _profile_error(file, "'memory_limit_bytes' is negative", "Write 0 for no limit.")
    missing = [key for key in ("title", "arch", "runtimes") if not table.get(key)]
    if missing:
        raise _profile_error(file, f"missing: {', '.join(missing)}", "Add them, or 'extends'.")
    for runtime in table["runtimes"]:
        _check_keys(file, runtime, RUNTIME_KEYS, "runtimes.")
    try:
        runtimes = tuple(RuntimeSpec(**runtime) for runtime in table["runtimes"])
    except TypeError as error:
        raise _profile_error(
            file,
            "a runtime is a table with 'name', perhaps 'version', 'api' and 'exact'",
            "Correct it.",
        ) from error
    unpinned = next((each.name for each in runtimes if each.exact and not each.version), None)
    if unpinned is not None:
        what = f"'runtimes.exact' of '{unpinned}' has no 'version'"
        raise _profile_error(file, what, "Pin the version that it must be.")
    table.update({key: tuple(table[key]) for key in ("arch", "probes") if key in table})
    profile = Profile(**{**table, "name": name, "runtimes": runtimes})
    try:
        check_accelerator(profile)
    except EdgepackError as error:
        raise _profile_error(file, error.what, error.hint) from error
    return profile


def check_accelerator(profile: Profile) -> None:
    """EP105 for an accelerator or a runtime that there is not, and for options that would have no
    effect."""
    kind = profile.accelerator.partition(":")[0]
    if not is_accelerator(profile.accelerator):
        raise EdgepackError(
            "EP105",
            f"unknown accelerator '{profile.accelerator}'",
            hint="Give cpu, gpu, delegate: and the library's path on the device, or npu, perhaps "
            "with a colon and the folder of its dispatch library.",
        )
    if profile.delegate_options and kind not in ("delegate", "npu"):
        raise EdgepackError(
            "EP105",
            f"delegate options have no effect with accelerator '{profile.accelerator}'",
            hint="Give --accelerator delegate:FILE as well.",
        )
    if not all(isinstance(value, str) for value in profile.delegate_options.values()):
        raise EdgepackError(
            "EP105", "a delegate option is not a text", hint='Write device = "usb".'
        )
    for runtime in profile.runtimes:
        check_runtime(runtime)


def check_runtime(runtime: RuntimeSpec) -> None:
    """EP105 for a runtime that no agent knows, or an interface that it does not have."""
    interfaces = RUNTIMES.get(runtime.name)
    if interfaces is None:
        hint = did_you_mean(runtime.name, list(RUNTIMES))
        raise EdgepackError("EP105", f"unknown runtime '{runtime.name}'", hint=hint)
    if runtime.api not in (None, *interfaces):
        raise EdgepackError(
            "EP105",
            f"{runtime.name} has no interface '{runtime.api}'",
            hint=f"It has {', '.join(interfaces)}.",
        )
