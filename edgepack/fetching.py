"""Models and data named by URL: fetched through fsspec into the cache, under their SHA-256.

`s3://bucket/model.keras`, `https://host/d.npz#sha256=HEX`, `file:///srv/images`: any protocol
that fsspec knows, files and (where a protocol lists them) folders. What is fetched is bytes and
nothing else: afterwards it is opened like any file, with the same checks and refusals. With a
digest in the URL nothing else is accepted, and what the cache has is not fetched again.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from edgepack import config, plugins, private
from edgepack.errors import EdgepackError, did_you_mean
from edgepack.model import Event

Emit = Callable[[Event], None]

DATASETS = "edgepack.datasets"
NO_MODEL, NO_DATA = "EP201", "EP301"
_CHUNK = 1 << 20
_PIN = re.compile(r"(?P<url>.*)#sha256=(?P<sha256>[0-9a-fA-F]{64})")
_SILENT_S, _CONNECT_S = 60.0, 20.0
# Protocols that wrap others, cache elsewhere or hold the content themselves: a URL names a place.
_WRAPPERS = frozenset(
    {
        *("async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "data", "dir"),
        *("filecache", "generic", "reference", "root", "simplecache"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a URL gave. path: in the cache, with the URL's own file name. sha256: of a file's
    bytes, or of the names and digests of a folder's files."""

    path: Path
    sha256: str
    bytes: int


def model(spec: str, emit: Emit) -> str:
    """The path of a model; a URL is fetched first. EP105, EP110, EP201."""
    return str(fetch(spec, NO_MODEL, emit).path) if "://" in spec else spec


def data(spec: str | None, emit: Emit) -> str | None:
    """What `--data` names, a URL fetched first; a plug-in's reader goes before fsspec's.

    EP105, EP110, EP301.
    """
    return str(fetch(spec, NO_DATA, emit).path) if spec and _is_data(spec) else spec


def pinned_model(spec: str, emit: Emit) -> str:
    """A model's URL with the digest of what it gives now; a path as it is."""
    return _pinned(spec, fetch(spec, NO_MODEL, emit)) if "://" in spec else spec


def pinned_data(spec: str | None, emit: Emit) -> str | None:
    """A dataset's URL with the digest of what it gives now; anything else as it is."""
    return _pinned(spec, fetch(spec, NO_DATA, emit)) if spec and _is_data(spec) else spec


def fetch(url: str, missing: str, emit: Emit) -> Fetched:
    """Fetch what a URL names, or find it in the cache by the digest in the URL.

    missing: the code of the error where there is nothing.

    Raises:
        EdgepackError: EP105 not a URL to fetch; EP110 it cannot be fetched, or has another
            digest; `missing`.
    """
    place, wanted = _split(url)
    found = _cached(wanted) if wanted else None
    if found is None:
        emit(Event(kind="stage", stage="fetch", message=f"fetching {shown(place)}"))
        found = _fetched(place, missing)
        if wanted not in (None, found.sha256):
            shutil.rmtree(found.path.parent)
            raise _unfetched(
                place, f"its SHA-256 is {found.sha256}, not {wanted}", "Check where it comes from."
            )
    message = f"{shown(place)}: {found.bytes:,} bytes, sha256 {found.sha256}"
    emit(Event(kind="fact", stage="fetch", message=message))
    return found


def shown(url: str) -> str:
    """A URL as it may be told: without a query, which may hold a signature."""
    return config.without_password(url.partition("?")[0])


def _is_data(spec: str) -> bool:
    protocol, mark, _ = spec.partition("://")
    return bool(mark) and protocol not in plugins.found(DATASETS) and _known(protocol)


def _known(protocol: str) -> bool:
    from fsspec.registry import known_implementations

    return protocol in known_implementations and protocol not in _WRAPPERS


def _split(url: str) -> tuple[str, str | None]:
    """The URL and the digest in it. EP105 for a protocol or a form that is not fetched."""
    found = _PIN.fullmatch(url)
    place, digest = (found["url"], found["sha256"].lower()) if found else (url, None)
    protocol = place.partition("://")[0]
    if not _known(protocol):
        from fsspec.registry import known_implementations

        names = [name for name in known_implementations if name not in _WRAPPERS]
        raise EdgepackError(
            "EP105",
            f"Nothing is fetched by the protocol '{protocol}'",
            where=shown(place),
            hint=did_you_mean(protocol, names),
        )
    if urlsplit(place).password:
        raise EdgepackError(
            "EP105",
            "There is a password in the URL",
            where=shown(place),
            hint=f"Put it where {protocol}:// looks for credentials: its environment variables, "
            "or fsspec's configuration files.",
        )
    return place, digest


def _pinned(url: str, found: Fetched) -> str:
    return f"{_split(url)[0]}#sha256={found.sha256}"


# ---------------------------------------------------------------- the cache


def _root() -> Path:
    return config.cache_dir() / "fetched"


def _cached(sha256: str) -> Fetched | None:
    """What the cache has of that digest; a damaged entry counts as none."""
    folder = _root() / sha256
    try:
        [path] = [one for one in folder.iterdir() if one.name != _ORIGIN]
        digest, size = _measured(path)
    except (OSError, ValueError):
        return None
    return Fetched(path=path, sha256=sha256, bytes=size) if digest == sha256 else None


# Beside what was fetched; a fetched file's name never begins with a dot.
_ORIGIN = ".origin.json"


def _measured(path: Path) -> tuple[str, int]:
    """The digest and size of a file or folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    total, size = hashlib.sha256(), 0
    for file_path in sorted(one for one in path.rglob("*") if one.is_file()):
        digest, count = _measured(file_path)
        total.update(f"{file_path.relative_to(path).as_posix()}\0{digest}\n".encode())
        size += count
    return total.hexdigest(), size


def _settled(path: Path, url: str) -> Fetched:
    """What was fetched, moved to the place that its digest names."""
    sha256, size = _measured(path)
    origin = {"url": shown(url), "sha256": sha256, "bytes": size}
    (path.parent / _ORIGIN).write_text(json.dumps(origin, indent=1), encoding="utf-8")
    private.close(path.parent)
    final = _root() / sha256
    shutil.rmtree(final, ignore_errors=True)
    path.parent.rename(final)
    return Fetched(path=final / path.name, sha256=sha256, bytes=size)


# ---------------------------------------------------------------- fetching


def _fetched(url: str, missing: str) -> Fetched:
    private.folder(_root())
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=_root()))
    try:
        with _errors(url, missing):
            path = _copied(url, fresh)
        return _settled(path, url)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _copied(url: str, into: Path) -> Path:
    """The file or folder copied to its own name below `into`."""
    import fsspec

    system, place = fsspec.url_to_fs(url, **_options(url))
    target = into / _name(urlsplit(url).path or place)
    if not url.startswith("http") and system.isdir(place):
        for name in system.find(place):
            _copy(system, name, target / _inside(name, place))
    else:
        _copy(system, place, target)
    return target


def _options(url: str) -> dict[str, Any]:
    """How long a server may be silent: HTTP's default limits the whole transfer instead."""
    if not url.startswith("http"):
        return {}
    import aiohttp

    limit = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENT_S)
    return {"client_kwargs": {"timeout": limit}}


def _copy(system: Any, place: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with system.open(place, "rb") as source, target.open("xb") as copy:
        shutil.copyfileobj(source, copy, _CHUNK)


def _name(path: str) -> str:
    """The last part of a path, safe as a name of a file and never hidden."""
    name = re.sub(r"[^\w.=+-]+", "_", PurePosixPath(path).name).lstrip(".")
    return name[-100:] or "fetched"


def _inside(name: str, folder: str) -> Path:
    """A listed file's place in its folder. ValueError for one that would lie elsewhere."""
    inner = PurePosixPath(name.removeprefix(folder).lstrip("/"))
    if not name.startswith(folder) or inner.is_absolute() or ".." in inner.parts:
        raise ValueError(f"it lists a file outside of itself: {name}")
    return Path(inner)


@contextmanager
def _errors(url: str, missing: str) -> Iterator[None]:
    """What backends raise, as errors with a code."""
    try:
        yield
    except FileNotFoundError as error:
        if not _is_absent(error):
            raise _unreached(url, error.__cause__ or error) from error
        raise EdgepackError(
            missing, "There is nothing at that URL", where=shown(url), hint="Check its spelling."
        ) from error
    except ImportError as error:
        raise _unfetched(
            url,
            f"fsspec lacks its backend: {error}",
            "Install it beside edgepack; its extras s3, gcs and http name some.",
        ) from error
    except Exception as error:  # backends raise what their clients raise, of any kind
        raise _unreached(url, error) from error


def _is_absent(error: FileNotFoundError) -> bool:
    """Whether it is not there: fsspec's HTTP says so of a server that does not answer, too."""
    cause = error.__cause__
    gone = getattr(cause, "status", None) in (404, 410)
    return cause is None or gone or isinstance(cause, FileNotFoundError)


def _unreached(url: str, error: BaseException) -> EdgepackError:
    said = str(error).replace(url, shown(url))
    return _unfetched(
        url,
        f"{type(error).__name__}: {said[:300]}",
        "Try the backend's own client, and check its credentials.",
    )


def _unfetched(url: str, what: str, hint: str) -> EdgepackError:
    return EdgepackError("EP110", f"It cannot be fetched: {what}", where=shown(url), hint=hint)
