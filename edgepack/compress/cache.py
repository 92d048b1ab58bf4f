"""The build cache: one folder a variant, named by everything that could change its bytes.

key = SHA-256 of (source model, canonical recipe, data digest, tool versions, edgepack's own
compressing code). A hit reads two files and imports no TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock

from edgepack import __version__, codec, private
from edgepack.compress import passes, recipes
from edgepack.model import Recipe, Variant

_DISTRIBUTIONS = (
    "ai-edge-litert",
    "ai-edge-quantizer",
    "keras",
    "numpy",
    "tensorflow",
    "tensorflow-model-optimization",
    "tf-keras",
)


@cache
def tools() -> Mapping[str, str]:
    """Name -> version of everything that takes part in a build; "" where not installed."""
    found = {"edgepack": __version__, "python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def key(source_sha256: str, recipe: Recipe, data_digest: str, device: str = "") -> str:
    """The name of a variant's place in the cache (hex).

    device: where the recipe's passes measure (`Site.device`); it counts only where one does.
    """
    document = {
        "source": source_sha256,
        "recipe": recipes.canonical(recipe),
        "data": data_digest,
        "tools": dict(tools()),
        "machine": platform.machine(),
        "device": device if any(passes.make(spec).measures for spec in recipe.passes) else "",
        "code": _code_digest(recipe),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _code_digest(recipe: Recipe) -> str:
    """SHA-256 over edgepack's compressing code and the modules of the recipe's passes."""
    files = set()
    for spec in recipe.passes:
        module = sys.modules[type(passes.make(spec)).__module__]
        files.add(Path(str(module.__file__)))
    total = hashlib.sha256(_own_code())
    for file in sorted(files):
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


@cache
def _own_code() -> bytes:
    """A digest of edgepack's compressing code, read once a process."""
    total = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.digest()


class Cache:
    """Variants on disk under `root`. Safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, name: str, recipe: Recipe) -> tuple[Variant, Path] | None:
        """The variant and its file, or None; a damaged entry counts as none."""
        folder = self._root / name
        try:
            text = (folder / "variant.json").read_text(encoding="utf-8")
            variant = codec.from_json(Variant, json.loads(text))
            content = (folder / "model.tflite").read_bytes()
        except (OSError, ValueError):
            return None
        if hashlib.sha256(content).hexdigest() != variant.sha256:
            return None
        # Recipes that build alike share an entry, whatever they are called.
        return replace(variant, name=recipe.name, recipe=recipe), folder / "model.tflite"

    def put(self, name: str, variant: Variant, content: bytes) -> Path:
        """Store a variant: written aside, then renamed into place. Gives the file's path."""
        private.folder(self._root)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        try:
            private.write(fresh / "model.tflite", content)
            document = json.dumps(codec.to_json(variant), sort_keys=True)
            private.write(fresh / "variant.json", document.encode())
            shutil.rmtree(self._root / name, ignore_errors=True)
            fresh.rename(self._root / name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return self._root / name / "model.tflite"

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held while an entry is built, so that a second build waits and then hits."""
        private.folder(self._root)
        with FileLock(self._root / f"{name}.lock", mode=private.FILE):
            yield
