"""A PostgreSQL cluster of our own, from Debian's `postgresql`: made, started and thrown away."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.leash import Leash

PASSWORD = "p@ss:w0rd/secret"
USER = "edgepack"


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest version; None when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return Path(named).parent if named else None


class Cluster:
    """A server on a free port of 127.0.0.1, in a temporary folder, with a password.

    It ends with this process, however that ends. PostgreSQL refuses to run as root: then it
    runs as Debian's `postgres` user.
    """

    def __init__(self, bin_dir: Path) -> None:
        self._bin = bin_dir
        self.folder = Path(tempfile.mkdtemp(prefix="edgepack-pg-"))
        self._numbers = itertools.count()
        self._data = str(self.folder / "data")
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(self.folder, "postgres", "postgres")
        self.port = _free_port()
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        stop = shlex.join(self._command("pg_ctl", "-D", self._data, "stop", "-m", "immediate"))
        # In "/": the server's user cannot enter every folder that tests are started in.
        self._leash = Leash(f"cd /; {stop}; rm -rf {shlex.quote(str(self.folder))}")
        self._run("initdb", "-D", self._data, "-U", USER, f"--pwfile={secret}",
                  "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        # fsync off: what is tested are crashes of processes, which the system's cache outlives.
        options = f"-p {self.port} -c fsync=off -c listen_addresses=127.0.0.1 -k {self.folder}"
        self._control("start", "-w", "-t", "60", "-o", options, "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; "immediate" is a crash."""
        self._control("stop", "-w", "-m", mode)

    def database(self) -> str:
        """The URL of an empty schema: as good as a database of its own, and made at once."""
        import psycopg

        name = f"t{next(self._numbers)}"
        where = f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres"
        with psycopg.connect(where, password=PASSWORD, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url('postgres')}?options=-csearch_path%3D{name}"

    def url(self, database: str, password: str = PASSWORD) -> str:
        """A store's URL of that database."""
        from urllib.parse import quote

        user = f"{USER}:{quote(password, safe='')}"
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def remove(self) -> None:
        """Stop it and take the folder away."""
        self._leash.release()
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", self._data, *arguments)

    def _run(self, *command: str) -> None:
        subprocess.run(
            self._command(*command), check=True, stdout=subprocess.DEVNULL, cwd=self.folder
        )

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [*self._as, str(self._bin / program), *arguments]


def sql(url: str, statement: str, **values: object) -> list[tuple[object, ...]]:
    """One statement in a store's database of either kind, beside the store; its rows, if any."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.begin() as connection:
        done = connection.execute(text(statement), values)
        rows = [tuple(row) for row in done.fetchall()] if done.returns_rows else []
    engine.dispose()
    return rows


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
