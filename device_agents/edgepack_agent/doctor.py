"""What a person should know of this device before measuring on it: facts, without judgement.

The host turns them into checks (`edgepack device doctor`) and picks wheels by them
(`edgepack device provision`).
"""

import os
import platform
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from edgepack_agent import probes, runtimes
from edgepack_agent.errors import AgentError

# Where Debian, Alpine, Arch, Fedora and macOS keep the file transfer that sshd starts.
_SFTP = (
    "usr/lib/openssh/sftp-server",
    "usr/lib/ssh/sftp-server",
    "usr/lib64/misc/sftp-server",
    "usr/libexec/openssh/sftp-server",
    "usr/libexec/sftp-server",
)
_NARROW = {"aarch64": "armv7l", "x86_64": "i686"}

Ask = Callable[[Dict[str, Any]], Dict[str, Any]]


def parse_musl(text: str) -> Optional[str]:
    """What musl's loader says of itself -> "1.2.4"; None when it is something else."""
    found = re.search(r"^musl libc.*\n^Version ([\d.]+)", text, re.MULTILINE)
    return found.group(1) if found else None


def libc(root: Path = Path("/")) -> Tuple[Optional[str], Optional[str]]:
    """("glibc", "2.36"), ("musl", "1.2.4") or (None, None)."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        if name == "glibc":
            return name, version
    except (ValueError, OSError):
        pass  # not a glibc
    for loader in sorted((root / "lib").glob("ld-musl-*.so.1")):
        # The loader takes no option of this kind: it prints its version to stderr and fails.
        try:
            said = subprocess.run([str(loader)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        except OSError:
            break  # nothing that this machine can run
        return "musl", parse_musl(said.stderr.decode("utf-8", "replace"))
    return None, None


def architecture(machine: str, pointer_bytes: int) -> str:
    """What wheels must be for: a 32-bit userland under a 64-bit kernel says the kernel's."""
    return _NARROW.get(machine, machine) if pointer_bytes == 4 else machine


def examine(
    names: Sequence[str], probe_names: Sequence[str], home: Path, ask: Optional[Ask]
) -> Dict[str, Any]:
    """The facts of this device.

    names: the runtimes to look for; ask: has a worker child try an import, None to leave that
    out because somebody is measuring.
    """
    kind, version = libc()
    machine = platform.machine()
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": sys.implementation.name,
            "executable": sys.executable,
            "abiflags": getattr(sys, "abiflags", ""),
        },
        "platform": {
            "machine": machine,
            "arch": architecture(machine, struct.calcsize("P")),
            "libc": kind,
            "libc_version": version,
        },
        "environment": probes.environment(probe_names),
        "disk": _disk(home),
        "runtimes": [runtime(name, ask) for name in names],
        "numpy": _numpy(ask),
        "sftp": next(("/" + path for path in _SFTP if (Path("/") / path).exists()), None),
    }


def _disk(home: Path) -> Dict[str, Any]:
    disk = os.statvfs(str(home))
    return {
        "home": str(home),
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "total_bytes": disk.f_blocks * disk.f_frsize,
        "writable": os.access(str(home), os.W_OK),
    }


def runtime(name: str, ask: Optional[Ask]) -> Dict[str, Any]:
    """Name, version and why it cannot be used (None: it can) of one runtime."""
    if ask is None:
        return {"name": name, "version": runtimes.version(name), "unusable": "not tried"}
    try:
        reply = ask({"do": "probe", "runtime": name})
    except AgentError as error:
        return {"name": name, "version": runtimes.version(name), "unusable": error.what}
    return {key: reply[key] for key in ("name", "version", "unusable")}


def _numpy(ask: Optional[Ask]) -> Dict[str, Any]:
    if ask is None:
        return {"version": runtimes.version("numpy"), "unusable": "not tried"}
    try:
        return {"version": ask({"do": "numpy"})["version"], "unusable": None}
    except AgentError as error:
        return {"version": runtimes.version("numpy"), "unusable": error.what}


def read(message: Dict[str, Any]) -> Tuple[List[str], List[str], List[str]]:
    """Runtimes, probes and sys_path of a `doctor` message. AgentError EP105 or EP501."""
    found = []
    for key in ("runtimes", "probes", "sys_path"):
        value = message.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise AgentError(
                "EP501",
                "the doctor's field '%s' is %.80r" % (key, value),
                "Use the agent that comes with this edgepack.",
            )
        found.append(value)
    probes.check(found[1])
    return found[0], found[1], found[2]
