"""Where it is measured: profiles of hardware, and the devices of which they speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RUNTIMES = ("ai-edge-litert", "tensorflow", "tflite-runtime")
"""The runtimes that the agent can load, by the name of their distribution."""

INTERFACES = ("interpreter", "compiled", "c")
"""What a `RuntimeSpec.api` may be."""


@dataclass(frozen=True, kw_only=True)
class RuntimeSpec:
    """A TFLite runtime: its distribution on PyPI and the version a profile pins.

    api: "interpreter", "compiled" for LiteRT's CompiledModel, or "c" for its C interface, timed
    in C; None: what the accelerator needs ("compiled" for the GPU). exact: another version is
    refused (EP405), not used and flagged.
    """

    name: str
    version: str | None = None
    api: str | None = None
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A kind of hardware, read from `profiles/<name>.toml`.

    accelerator: "cpu", "gpu", "delegate:" and a library's path on the device, or "npu", with or
    without a colon and the folder of its dispatch library; the last two are given
    `delegate_options`; xnnpack: whether XNNPACK may take operations on the CPU.
    memory_limit_bytes: that each measured variant's process may take; 0 for no limit, None for
    the board's memory on the CPU and no limit elsewhere.
    """

    name: str
    title: str
    arch: tuple[str, ...]
    runtimes: tuple[RuntimeSpec, ...]
    threads: int = 1
    accelerator: str = "cpu"
    xnnpack: bool = True
    delegate_options: Mapping[str, str] = field(default_factory=dict)
    probes: tuple[str, ...] = ("generic",)
    memory_limit_bytes: int | None = None
    channel_multiple: int = 8
    budget: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A registered board. `host_keys` are the pinned public keys ("ssh-ed25519 AAAA…").

    host: an address, or a name that the OpenSSH configuration knows; None: `name` is one.
    jump: the registered device to go through. ask_password: log in with a password that is
    asked for each time. runtime, runtime_digest: what was provisioned ("ai-edge-litert==2.3.0")
    and the digest that names its folder on the device. allowed_signers: the file of those who
    may sign for it (OpenSSH's format); with one, the device takes signed packages only.
    """

    name: str
    profile: str
    transport: str = "ssh"
    host: str | None = None
    port: int | None = None
    user: str | None = None
    key: str | None = None
    host_keys: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    jump: str | None = None
    python: str = "python3"
    ask_password: bool = False
    runtime: str | None = None
    runtime_digest: str | None = None
    allowed_signers: str | None = None
