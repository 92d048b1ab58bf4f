"""The README's pictures, taken of a real demo: `python docs/pictures.py` (make picture).

Runs `edgepack demo` on a terminal of 100 columns in a home of its own, and writes

    docs/pictures/demo.svg     what the terminal shows, by rich
    docs/pictures/report.png   the report's first screen, by headless Chromium
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parent / "pictures"
COLUMNS = 100
MOST_BYTES = 300_000
COMMAND = "edgepack demo"


def recorded(folder: Path) -> str:
    """What the demo prints on a terminal, with its colours; the report is made in `folder`."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k != "NO_COLOR" and k[:9] != "EDGEPACK_"}
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepack.cli.main", *COMMAND.split()[1:]],
        cwd=folder,
        env={**kept, "EDGEPACK_HOME": str(folder / "home"), "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,  # progress; the terminal of a reader shows it while it goes on
    )
    os.close(terminal)
    said = b""
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:  # how a terminal ends whose last writer is gone
            break
        said += piece
    if process.wait() != 0:
        raise SystemExit(f"{COMMAND} failed with code {process.returncode}:\n{said.decode()}")
    return said.decode().replace("\r\n", "\n")


def drawn(text: str) -> str:
    """The terminal's text as an SVG that asks no server for a font."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {COMMAND}\n{text.rstrip()}"), highlight=False)
    form = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title=COMMAND, code_format=form, unique_id="demo")


def photographed(page: Path, target: Path) -> None:
    """The page's first screen as a PNG of few colours."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("Chromium is missing (Debian: apt-get install chromium)")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += ["--window-size=1200,1150", f"--screenshot={target}"]
    subprocess.run([chromium, *options, page.as_uri()], check=True, capture_output=True)
    picture = Image.open(target).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    picture.save(target, optimize=True)
    if target.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{target} has {target.stat().st_size} bytes, more than {MOST_BYTES}")


def main() -> None:
    """Take both."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgepack-pictures-") as name:
        folder = Path(name)
        text = recorded(folder)
        # Nothing of this machine's folders is shown.
        text = text.replace(f"{folder}/", "")
        (FOLDER / "demo.svg").write_text(drawn(text), encoding="utf-8")
        photographed(folder / "edgepack-demo.html", FOLDER / "report.png")


if __name__ == "__main__":
    main()
