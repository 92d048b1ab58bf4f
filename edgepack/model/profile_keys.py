"""What the TOML file of a profile may say: `config` checks it, docs/reference/profiles.md lists it.

Defaults are those of `Profile` and `RuntimeSpec`.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import NamedTuple


class Key(NamedTuple):
    """One key. kind: what TOML gives for it, of: each item of a list; type: the same for a
    person; meaning: Markdown."""

    kind: builtins.type
    type: str
    meaning: str
    of: builtins.type = object


KEYS: Mapping[str, Key] = {
    "extends": Key(str, "name", "another profile; what is said here wins, `[budget]` is merged"),
    "title": Key(str, "text", "one line for people"),
    "arch": Key(
        list,
        "list of texts",
        "machine names as `uname -m` prints them; a device of another architecture is flagged",
        of=str,
    ),
    "runtimes": Key(
        list,
        "list of tables",
        "TFLite runtimes in order of preference, each with the keys below. A name may be there "
        "several times: provisioning takes the first that has wheels for the device's Python, "
        "glibc and architecture",
        of=dict,
    ),
    "threads": Key(
        int, "whole number", "threads of an inference unless `--threads` says otherwise"
    ),
    "accelerator": Key(
        str,
        "text",
        "`cpu`; `gpu`, through LiteRT's WebGPU (Vulkan) accelerator; `delegate:` and the path of "
        "an external delegate's library on the device; or `npu:` and the folder on the device "
        "that holds a vendor's LiteRT dispatch library (`npu` alone: the one in the "
        "`ai-edge-litert` wheel). A device that cannot give it is `unsupported`, never a silent "
        "CPU run; `--accelerator` overrides it",
    ),
    "delegate_options": Key(
        dict,
        "table of texts",
        'what an external delegate is given: `device = "usb"`; with `npu`, the vendor\'s options '
        'in LiteRT\'s Python interface: `graph_backend = "NPU"`',
    ),
    "memory_limit_bytes": Key(
        int,
        "whole number",
        "memory that the process of each measured variant may take, 0 for no limit; without it "
        "as much as the board has on the CPU, and no limit with accelerators, whose drivers map "
        "more than they use",
    ),
    "xnnpack": Key(
        bool, "true or false", "whether XNNPACK may take operations on the CPU (`--no-xnnpack`)"
    ),
    "probes": Key(
        list,
        "list of texts",
        "what reads the board's state: `generic`, `desktop`, `raspberry_pi`, `jetson`, and those "
        "of plug-ins",
        of=str,
    ),
    "channel_multiple": Key(
        int,
        "whole number",
        "channel counts that its kernels like; structured pruning rounds to them",
    ),
    "budget": Key(
        dict,
        "table of numbers",
        "limits that hold for every device of this profile when no budget file is given "
        "([which](../gating.md#gating))",
    ),
    "notes": Key(str, "text", "what a person should know before measuring"),
}

RUNTIME_KEYS: Mapping[str, Key] = {
    "name": Key(str, "text", "its distribution on PyPI"),
    "version": Key(
        str,
        "text",
        "the pin that `device provision` brings; another version is used but flagged",
    ),
    "exact": Key(
        bool,
        "true or false",
        "whether a device with another version is refused (EP405), as it is with "
        "`--runtime NAME==VERSION`",
    ),
    "api": Key(
        str,
        "text",
        "`interpreter`, `compiled` for LiteRT's CompiledModel, or `c` for its C interface with "
        "inferences timed in C (the CPU's; the board needs a C compiler); without it what the "
        "accelerator needs",
    ),
}
