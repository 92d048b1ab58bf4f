"""The import contracts find what they forbid: a violation planted in a copy fails each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLANTED = {
    "imports run one way": ("edgepack/model/event.py", "import edgepack.store"),
    "TensorFlow is imported only under compress": ("edgepack/pipeline.py", "import tensorflow"),
    "paramiko is imported only in transport.ssh": ("edgepack/fleet/errand.py", "import paramiko"),
    "rich is imported only for the terminal": ("edgepack/store/runs.py", "import rich.table"),
}


def test_each_contract_finds_its_planted_violation(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "edgepack", tmp_path / "edgepack")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in PLANTED.values():
        path = tmp_path / file
        path.write_text(f"{path.read_text()}\n{line}\n")
    code = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    for name in PLANTED:
        assert f"{name} BROKEN" in done.stdout, done.stdout
