"""The world that the documentation speaks of: a model, data, boards, keys, runs, in one folder."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepack import config
from edgepack.cli import main as entry
from edgepack.model import Device
from edgepack.registry import Registry
from tests.ssh.sshd import Sshd

# The hosts of the documentation, and one of ours that answers for all of them.
HOSTS = "192.0.2.* 10.0.0.5 gate.example.net"
BOARDS = ("pi4", "jetson", "pi5")
BUDGET = '[budget."*"]\nvariant = "int8"\nlatency_p90_ms = 5000.0\nbytes = 400_000\n'


class World:
    """Where the commands run; made once, for all pages."""

    def __init__(self, folder: Path, board: Sshd) -> None:
        self.board = board
        self._write_model(folder)
        (folder / "budget.toml").write_text(BUDGET)
        (folder / "b.toml").write_text(BUDGET)
        (folder / "inventory.yml").write_text(
            "all:\n  hosts:\n    pi7: {ansible_host: 192.0.2.30, ansible_user: pi}\n"
        )
        home = Path(os.environ["HOME"])
        (home / ".ssh").mkdir(parents=True)
        key = home / ".ssh" / "release_ed25519"
        self.call("config", "show")  # makes edgepack's own folders
        for name in BOARDS:
            Registry(config.devices_file()).add(self.device(name))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        public = key.with_suffix(".pub").read_text()
        allowed = f'release@example.org namespaces="edgepack-package" {public}'
        (folder / "signers").write_text(allowed)
        words = ["model.keras", "--data", "d.npz", "-r", "int8"]
        for tags in (["v1.2", "release"], ["golden"]):
            named = [word for tag in tags for word in ("--tag", tag)]
            assert self.call("run", *words, "-d", "pi4", *named) == 0
        assert (
            self.call("build", "model.keras", "--data", "d.npz", "-r", "int8", "-o", "package") == 0
        )
        assert self.call("package", "sign", "package", "--key", str(key)) == 0
        assert self.call("agent", "export", "-o", "agent.pyz") == 0

    def call(self, *words: str) -> int:
        """One edgepack command in this process: its exit code."""
        return entry._run(list(words))

    def device(self, name: str) -> Device:
        """A board of that name: the sshd of this world."""
        return replace(self.board.device(name), tags=("lab",) if name == "pi4" else ())

    def _write_model(self, folder: Path) -> None:
        """Four classes told apart by the bright corner, and a net that has learnt them."""
        import keras

        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 4, 256)
        images = rng.normal(0, 0.1, (256, 8, 8, 1)).astype(np.float32)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 2)
            image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
        layers = keras.layers
        net = keras.Sequential(
            [
                keras.Input((8, 8, 1), name="image"),
                layers.Conv2D(16, 3, padding="same", activation="relu"),
                layers.AveragePooling2D(4),
                layers.Flatten(),
                layers.Dense(4, activation="softmax"),
            ]
        )
        net.compile("adam", "sparse_categorical_crossentropy")
        net.fit(images, labels, epochs=20, batch_size=32, verbose=0)
        net.save(folder / "model.keras")
        np.savez(
            folder / "d.npz",
            x_train=images[:192], y_train=labels[:192], x_test=images[192:], y_test=labels[192:],
        )  # fmt: skip

    def adapted(self, line: str) -> str:
        """A line of the documentation with this world's user, interpreter, key and run."""
        line = re.sub(r"--user \w+", f"--user {getpass.getuser()}", line)
        if line.startswith("edgepack device add "):
            name = line.split()[3]
            registry = Registry(config.devices_file())
            if name in [device.name for device in registry.all()]:
                registry.remove(name)
            line = re.sub(r"--profile [\w-]+", "--profile desktop", line)
            line += f" --python {sys.executable} --fingerprint {self.board.fingerprint()}"
        if line.startswith("edgepack device trust "):
            line += f" --fingerprint {self.board.fingerprint()}"
        if line.startswith("edgepack runs rm "):
            line += " --yes"
        return re.sub(r"\b2026\d{4}T\d{6}-\w{6}\b", "golden", line)


@contextmanager
def made(folder: Path, board: Sshd) -> Iterator[World]:
    """The world, with this process in it: folder, home, OpenSSH's configuration, short runs."""
    (folder / "ssh_config").write_text(
        f"Host {HOSTS}\n  HostName {board.address}\n  Port {board.port}\n"
        f"  IdentityFile {board.key}\n  IdentitiesOnly yes\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("EDGEPACK_HOME", str(folder / "edgepack-home"))
        patch.setenv("EDGEPACK_SSH_CONFIG", str(folder / "ssh_config"))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        for command in ("RUN", "BENCH"):
            patch.setenv(f"EDGEPACK_{command}_MAX_SECONDS", "0.5")
        yield World(folder, board)
