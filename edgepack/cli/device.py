"""`edgepack device`: register boards, pin their host keys, check them, bring them runtimes."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepack import addresses, config
from edgepack.cli import options
from edgepack.errors import EdgepackError, ExitCode
from edgepack.model import Device
from edgepack.registry import LOCAL, Registry, check_name

if TYPE_CHECKING:
    from edgepack.doctor import Diagnosis

_WIDTH = 32  # devices at once, as in a run

_FINGERPRINT = click.option(
    "--fingerprint",
    metavar="SHA256:…",
    help="Pin the host key with this fingerprint, without asking.",
)
_ASK_PASSWORD = click.option(
    "--ask-password",
    is_flag=True,
    help="Log in with a password, asked for on the terminal each time and kept nowhere.",
)


@click.group()
def device() -> None:
    """Register devices, pin host keys, check them, bring runtimes."""


@device.command("add")
@click.argument("name")
@click.option("--host", help="Address, or a name that ~/.ssh/config knows. Default: NAME.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: ~/.ssh/config's, or 22.")
@click.option("--user", help="Login name. Default: ~/.ssh/config's, or yours here.")
@click.option(
    "--key",
    metavar="FILE",
    help="Private key. Default: ~/.ssh/config's IdentityFile, and the ssh-agent's keys.",
)
@click.option("--jump", metavar="DEVICE", help="A registered device to go through.")
@_ASK_PASSWORD
@click.option(
    "--transport",
    default="ssh",
    show_default=True,
    help="How to reach it: ssh, or a plug-in's (see edgepack plugin ls), which pins no host key.",
)
@click.option(
    "--profile",
    required=True,
    shell_complete=options.complete_profile,
    help="Kind of hardware: see edgepack profile ls.",
)
@click.option("--tag", "tags", multiple=True, help="For choosing devices: -d tag:NAME.")
@click.option("--python", default="python3", show_default=True, help="Python on the device.")
@click.option(
    "--allowed-signers",
    metavar="FILE",
    help="Take only packages signed by one of these (OpenSSH's allowed-signers format).",
)
@_FINGERPRINT
def add_device(name: str, fingerprint: str | None, tags: tuple[str, ...], **where: Any) -> None:
    """Register a board; its host key is shown and pinned on a yes or a matching fingerprint."""
    check_name(name)
    config.load_profile(where["profile"])
    registry = _registry()
    new = _with_full_paths(Device(name=name, tags=tags, **where))
    addresses.check(new)
    if any(known.name == name for known in registry.all()):
        registry.add(new)  # says EP107 before the network is used
    if new.transport == "ssh":
        new = _trusted(new, fingerprint)
    else:
        _check_transport(new.transport)
    registry.add(new)
    click.echo(f"registered {name}", err=True)


def _with_full_paths(new: Device) -> Device:
    """The device's files named for any current folder; EP105 for one that is not there.

    Links stay as they are named: where one leads to may change, and counts when it is read.
    """
    key, signers = (_full_path(each) for each in (new.key, new.allowed_signers))
    # Of a key that the ssh-agent holds, the public half is enough.
    if key is not None and not any(Path(key + end).is_file() for end in ("", ".pub")):
        hint = "Name a private key; ssh-keygen makes one."
        raise EdgepackError("EP105", "There is no such key.", where=key, hint=hint)
    if signers is not None and not Path(signers).is_file():
        hint = "Write one: a line of an identity and the public key for each signer."
        what = "There is no such file of allowed signers."
        raise EdgepackError("EP105", what, where=signers, hint=hint)
    return replace(new, key=key, allowed_signers=signers)


def _full_path(name: str | None) -> str | None:
    return None if name is None else os.path.abspath(os.path.expanduser(name))  # noqa: PTH100,PTH111


def _check_transport(name: str) -> None:
    """EP105, EP109 unless a plug-in brings the transport."""
    from edgepack import plugins
    from edgepack.transport import GROUP

    entry = plugins.found(GROUP).get(name)
    if entry is None:
        raise plugins.unknown(GROUP, name)
    plugins.load(entry)


@device.command("import")
@click.argument("inventory", type=click.Path(dir_okay=False))
@click.option("--profile", help="Kind of hardware of hosts without edgepack_profile.")
def import_devices(inventory: str, profile: str | None) -> None:
    """Register the hosts of an Ansible inventory (INI or YAML); groups become tags.

    Their host keys are not pinned: trust each with `edgepack device trust NAME`.
    """
    from edgepack.inventory import read

    found = read(Path(inventory), profile)
    registry = _registry()
    known = {entry.name for entry in registry.all()}
    for new in found.devices:
        check_name(new.name)
        config.load_profile(new.profile)
    for sentence in found.left_out:
        click.echo(sentence, err=True)
    for new in found.devices:
        if new.name in known:
            click.echo(f"{new.name} is registered already and stays as it is", err=True)
            continue
        registry.add(new)
        click.echo(f"registered {new.name}; next: edgepack device trust {new.name}")


@device.command("trust")
@click.argument("name")
@_FINGERPRINT
def trust_device(name: str, fingerprint: str | None) -> None:
    """Pin a registered board's present host key in place of the old one."""
    from edgepack import devices

    registry = _registry()
    known = registry.get(name)
    if known.transport != "ssh":
        raise EdgepackError("EP105", f"'{name}' has no host key.", hint="Only SSH devices do.")
    for old in devices.fingerprints(known):
        click.echo(f"pinned so far: {old}", err=True)
    # The host key alone: a person took time to compare it, and the rest may be another by now.
    registry.update(name, host_keys=_trusted(known, fingerprint).host_keys)
    click.echo(f"pinned the host key of {name}", err=True)


def _trusted(new: Device, fingerprint: str | None) -> Device:
    """The device with its key pinned; EP402 when nobody vouches for the key."""
    from edgepack import devices

    if fingerprint is not None:
        return devices.pin(new, devices.find_host_key(new, fingerprint))
    key = devices.scan_host_key(new)
    click.echo(f"{_place(new)} shows {key.type} {key.fingerprint}", err=True)
    if sys.stdin.isatty() and click.confirm("Is that the board's own host key?", err=True):
        return devices.pin(new, key)
    raise EdgepackError(
        "EP402",
        f"The host key of '{new.name}' was not confirmed; nothing was pinned.",
        where=_place(new),
        hint=f"Check it on the board's own console, then give --fingerprint {key.fingerprint}",
    )


@device.command("ls")
@click.argument("patterns", nargs=-1)
@options.json_option
def list_devices(patterns: tuple[str, ...], as_json: bool) -> None:
    """List devices: all, or those that PATTERNS (names, globs, tag:…, profile:…) choose."""
    registry = _registry()
    found = registry.select(patterns) if patterns else registry.all()
    if as_json:
        rows = [_document(entry) for entry in found]
        click.echo(json.dumps({"schema": "edgepack.devices/1", "devices": rows}, indent=1))
        return
    width = max(len(entry.name) for entry in found)
    kinds = max(len(entry.profile) for entry in found)
    for entry in found:
        tags = f"  [{', '.join(entry.tags)}]" if entry.tags else ""
        click.echo(f"{entry.name:{width}}  {entry.profile:{kinds}}  {_place(entry)}{tags}")


@device.command("show")
@click.argument("name")
@options.json_option
def show_device(name: str, as_json: bool) -> None:
    """Show one device with its pinned fingerprints."""
    document = _document(_registry().get(name))
    if as_json:
        click.echo(json.dumps({"schema": "edgepack.device/1", **document}, indent=1))
        return
    for key, value in document.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        if shown:
            click.echo(f"{key:15}  {shown}")


@device.command("rm")
@click.argument("names", nargs=-1, required=True)
def remove_devices(names: tuple[str, ...]) -> None:
    """Forget devices and their pinned host keys."""
    _registry().remove(*names)
    for name in dict.fromkeys(names):
        click.echo(f"removed {name}", err=True)


@device.command("doctor")
@click.argument("patterns", nargs=-1)
@_ASK_PASSWORD
@options.json_option
def examine_devices(patterns: tuple[str, ...], ask_password: bool, as_json: bool) -> int:
    """Say whether devices are fit to measure on: all, or those that PATTERNS choose.

    Exit code 4 when a check fails.
    """
    from concurrent.futures import ThreadPoolExecutor

    from edgepack.doctor import Level, diagnose_registered, document

    registry = _registry()
    chosen = registry.select(patterns) if patterns else registry.all()
    if ask_password:
        chosen = [replace(each, ask_password=True) for each in chosen]
    with ThreadPoolExecutor(_WIDTH) as pool:
        diagnoses = list(pool.map(diagnose_registered, chosen))
    if as_json:
        click.echo(json.dumps(document(diagnoses), indent=1))
    else:
        for diagnosis in diagnoses:
            _show_diagnosis(diagnosis)
    failed = any(diagnosis.level is Level.FAIL for diagnosis in diagnoses)
    return int(ExitCode.DEVICE_FAILED if failed else ExitCode.OK)


def _show_diagnosis(diagnosis: Diagnosis) -> None:
    from edgepack.cli.doctor import show_findings

    click.echo(f"{diagnosis.device.name} ({diagnosis.device.profile})")
    show_findings(diagnosis.findings)


@device.command("provision")
@click.argument("patterns", nargs=-1, required=True)
@click.option(
    "--runtime",
    metavar="NAME[==VERSION]",
    help="Bring this one (ai-edge-litert, tflite-runtime). Default: the profile's first that fits.",
)
@_ASK_PASSWORD
def provision_devices(patterns: tuple[str, ...], runtime: str | None, ask_password: bool) -> int:
    """Bring a runtime to devices that need no network, no pip and no root for it.

    The wheels are found with this machine's pip and pushed over SSH; runs use them from then on.
    This machine, `local`, is left out of what a pattern chooses: it has a runtime.
    A device that fails does not keep the others from theirs; the exit code is then the last
    failure's.
    """
    from edgepack.cli.main import say_error

    registry = _registry()
    chosen = registry.select(patterns)
    others = [each for each in chosen if each.name != LOCAL]
    if LOCAL in patterns or not others:
        hint = "Install another into the environment of edgepack: pip install."
        raise EdgepackError("EP105", "'local' uses the runtime beside edgepack.", hint=hint)
    if len(others) < len(chosen):
        click.echo("local is left out: it uses the runtime beside edgepack", err=True)
    code = ExitCode.OK
    for each in others:
        try:
            _provision_one(registry, each, runtime, ask_password)
        except EdgepackError as error:
            click.echo(f"{each.name} was not provisioned:", err=True)
            say_error(error)
            code = error.exit_code
    return int(code)


def _provision_one(
    registry: Registry, known: Device, runtime: str | None, ask_password: bool
) -> None:
    from edgepack.provision import provision

    done = provision(
        replace(known, ask_password=known.ask_password or ask_password),
        config.load_profile(known.profile),
        runtime=runtime,
        cache=config.cache_dir(),
        say=lambda text: click.echo(text, err=True),
    )
    registry.update(
        known.name, runtime=done.device.runtime, runtime_digest=done.device.runtime_digest
    )
    how = f"{done.sent_bytes:,} bytes sent" if done.fresh else "it was there already"
    click.echo(f"{known.name}: {done.device.runtime}; {', '.join(done.packages)} ({how})")


def _registry() -> Registry:
    return Registry(config.devices_file())


def _place(entry: Device) -> str:
    if entry.name == LOCAL:
        return "this machine"
    if entry.transport != "ssh":
        return f"{entry.transport}:{entry.host or entry.name}"
    user = f"{entry.user}@" if entry.user else ""
    through = f" through {entry.jump}" if entry.jump else ""
    return f"{user}{entry.host or entry.name}:{entry.port or 22}{through}"


def _document(entry: Device) -> dict[str, Any]:
    from edgepack import devices

    return {
        "name": entry.name,
        "profile": entry.profile,
        "transport": entry.transport,
        "host": entry.host,
        "port": entry.port,
        "user": entry.user,
        "key": entry.key,
        "jump": entry.jump,
        "ask_password": entry.ask_password,
        "tags": list(entry.tags),
        "python": entry.python,
        "runtime": entry.runtime,
        "runtime_digest": entry.runtime_digest,
        "allowed_signers": entry.allowed_signers,
        "fingerprints": list(devices.fingerprints(entry)),
    }
