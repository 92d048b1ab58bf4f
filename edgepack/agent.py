"""The agent as one file, and the line that starts it on a device.

The file is a zipapp made from `resources.agent_source()`, the same bytes for the same
sources, and is named by its digest. The line is what docs/protocol.md calls "Start": it needs
a POSIX shell and a Python on the device, and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from edgepack import added, prose, resources
from edgepack.model import Device

_PACKAGE = "edgepack_agent"
_MEMBER = "modules"
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can say

# The first half of the conversation on the device, in Python >= 3.0 syntax, and then the agent
# in the same process: another Python takes a second to start on a small board. It reads exactly
# the agent's bytes from descriptor 0 (a buffered reader, or busybox's head, would swallow the
# messages behind them). No single quote, backslash or exclamation mark: it travels inside
# single quotes through whatever login shell the user has.
_BOOTSTRAP = """\
import errno, hashlib, json, os, select, sys, zipimport
def say(**fields):
    fields["event"] = "agent"
    os.write(1, (chr(30) + json.dumps(fields) + chr(10)).encode())
def stop(kind, what):
    say(error=kind, what=str(what))
    sys.exit(4)
if sys.version_info < (3, 8):
    stop("no-python", sys.executable + " is Python " + sys.version.split()[0])
digest, size = sys.argv[1], int(sys.argv[2])
home = os.environ.get("EDGEPACK_AGENT_HOME") or os.path.expanduser("~/.cache/edgepack")
path = os.path.join(home, "agent", digest + ".pyz")
part = path + "." + str(os.getpid()) + ".part"
def intact():
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == digest
    except FileNotFoundError:
        return False
def fetch():
    data = b""
    while len(data) < size:
        more = select.select([0], [], [], 30)[0] and os.read(0, size - len(data))
        if not more:
            sys.exit(4)
        data += more
    if hashlib.sha256(data).hexdigest() != digest:
        stop("damaged", "the agent arrived with another digest")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)
os.umask(0o77)
try:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.chmod(home, 0o700)
    have = intact()
    say(have=have)
    if not have:
        fetch()
except OSError as error:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    stop("no-space" if full else "no-home", error)
sys.argv[:] = [path, "serve"]
sys.path.insert(0, path)
exec(zipimport.zipimporter(path).get_code("__main__"), {"__name__": "__main__"})
"""

_NO_PYTHON = '{\\"event\\":\\"agent\\",\\"error\\":\\"no-python\\",\\"what\\":\\"not found\\"}'


@dataclass(frozen=True, kw_only=True)
class AgentBundle:
    """The agent's file: its bytes and their SHA-256."""

    sha256: str
    data: bytes


def bundle() -> AgentBundle:
    """The agent of this edgepack; the same bytes for the same sources and zlib.

    Made once, however many threads ask at the same time: all devices' do, and CPython 3.11 fails
    when two of them parse.
    """
    with _making:
        return _bundle()


_making = threading.Lock()


@cache
def _bundle() -> AgentBundle:
    return bundle_of(resources.agent_source(), added.sources())


def bundle_of(source: Path, more: Mapping[str, str] | None = None) -> AgentBundle:
    """The zipapp of the package at `source`: its `.py` files, sorted, with fixed dates and
    modes, deflated as one member (see the agent's `loader`); without comments and docstrings,
    and with the same lines. The schemas beside them are for those who talk to the agent, and
    stay here. more: modules of plug-ins, by the path that they take in the package."""
    start = source / "loader.py"
    content = {
        "__main__.py": prose.strip(start.read_text(encoding="utf-8")).encode(),
        _MEMBER: _modules(_texts(source, start) | dict(more or {})),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # Unix, whatever this host is
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, compresslevel=9)
    whole = buffer.getvalue()
    return AgentBundle(sha256=hashlib.sha256(whole).hexdigest(), data=whole)


def _texts(source: Path, start: Path) -> dict[str, str]:
    """The sources by their path in the package, sorted, without the one that starts them."""
    return {
        file.relative_to(source).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted({*source.rglob("*.py")} - {start})
    }


def _modules(texts: Mapping[str, str]) -> bytes:
    """The modules as the agent's `loader` reads them, short ones first: of the simple orders the
    one that deflates best."""
    modules = []
    for path, content in sorted(texts.items(), key=lambda module: (len(module[1]), module[0])):
        place = PurePosixPath(path).with_suffix("")
        package = place.name == "__init__"
        name = ".".join([_PACKAGE, *(place.parent if package else place).parts])
        text = prose.strip(content)
        if "\0" in text:
            raise ValueError(f"{path}: a NUL would end the module")
        modules.append(f"{name}{'/' if package else ''}\n{text}")
    return "\0".join(modules).encode()


def _word(text: str) -> str:
    """`text` and an x as one word of sh that comes through the quotes of any login shell.

    Quoting is not enough: fish takes a backslash before a single quote for an escape, csh sees
    its history in an exclamation mark. The x keeps a newline at the end.
    """
    if re.fullmatch(r"[\w/.+-]+", text, re.ASCII):
        return f"{text}x"
    octal = "".join(f"\\0{byte:03o}" for byte in os.fsencode(f"{text}x"))
    return f'$(printf %b "{octal}")'


def command(device: Device, bundle: AgentBundle) -> str:
    """The line that the device's login shell runs: it makes sure of the agent, starts it.

    Only `device.python` in it comes from a user, and it is encoded. The line works in any
    shell that knows single quotes; what is inside needs `/bin/sh`.
    """
    # As a Python string on one line: csh knows no newline inside quotes.
    code = f"exec({json.dumps(_BOOTSTRAP)})"
    script = (
        f"p={_word(device.python)}; p=${{p%x}}; "
        f'command -v "$p" >/dev/null 2>&1 || {{ printf "\\036{_NO_PYTHON}\\n"; exit 4; }}; '
        f'exec "$p" -I -c {shlex.quote(code)} {bundle.sha256} {len(bundle.data)}'
    )
    return f"exec /bin/sh -c {shlex.quote(script)}"
