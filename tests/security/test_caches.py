"""What lies on the host between two commands: private, and never believed unchecked."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack import config
from edgepack.cli import main as entry
from edgepack.compress.cache import Cache
from edgepack.model import Recipe, Signature, Variant


def test_a_tampered_build_is_never_read(tmp_path: Path) -> None:
    content = random.Random(0).randbytes(3000)
    recipe = Recipe(name="int8")
    variant = Variant(
        name="int8",
        recipe=recipe,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        gzip_bytes=1,
        signature=Signature(inputs=(), outputs=()),
    )
    cache = Cache(tmp_path)
    file = cache.put("key", variant, content)
    assert cache.get("key", recipe) == (replace(variant, recipe=recipe), file)
    rng = random.Random(1)
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(changed)
        assert cache.get("key", recipe) is None


def test_the_hosts_folders_are_private(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o022)
    try:
        assert entry._run(["runs", "ls"]) == 0
    finally:
        os.umask(before)
    for folder in (config.config_dir(), config.cache_dir(), config.data_dir()):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
