"""The command line's promises: quick help, exit codes, coded errors, no traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgepack import config
from edgepack.cli import main as entry
from edgepack.model import Device
from edgepack.registry import Registry
from edgepack.store import open_store
from tests import builders

DATA = Path(__file__).parents[1] / "data"
HEAVY = ("tensorflow", "keras", "numpy", "paramiko", "pydantic", "rich", "scipy", "sqlalchemy")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def edgepack(*args):
    """Run the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "edgepack.cli.main", *args], capture_output=True, text=True
    )


@pytest.mark.parametrize("args", [["--help"], ["device", "ls"], ["profile", "ls"]])
def test_light_commands_import_nothing_heavy(args):
    code = (
        "import sys; from edgepack.cli.main import _run\n"
        f"code = _run({args!r}) if {args!r} != ['--help'] else 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip().endswith("[]")


def test_help_lists_every_command_and_the_exit_codes():
    done = edgepack("--help")
    assert done.returncode == 0
    for name in entry.COMMANDS:
        assert f"  {name} " in done.stdout
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("name", list(entry.COMMANDS))
def test_every_command_exists_and_explains_itself(name):
    done = edgepack(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: edgepack" in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (["rnu"], 2, "Did you mean 'run'"),
        (["run"], 2, "MODEL"),
        (["run", "no.keras", "-d", "local"], 3, "EP201"),
        (["run", "no.keras", "-d", "pi9"], 2, "EP101"),
        (["run", "no.keras", "-r", "int9"], 2, "EP102"),
        (["run", "no.keras", "--data", "no.npz"], 2, "EP301"),
        (["profile", "show", "raspberrypi-4"], 2, "EP103"),
        (["compare", "latest"], 2, "EP601"),
        (["gate", "--budget", "no.toml"], 2, "EP106"),
        (["package", "show", "no"], 3, "EP208"),
        (["report", "-o", "x.docx"], 2, "EP"),
    ],
)
def test_a_users_mistake_is_one_clear_error(args, code, word):
    done = edgepack(*args)
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("output", ["file", "file/x"])
def test_a_build_is_refused_first_where_its_output_is_a_file(tmp_path, output):
    (tmp_path / "file").write_text("")
    done = edgepack("build", str(DATA / "classifier_float.tflite"), "-o", str(tmp_path / output))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error EP105"), "before anything is said of building"


@pytest.mark.parametrize(
    ("model", "code", "word"),
    [
        ("convolution_small.tflite", 2, "EP105: a search takes a Keras model"),
        ("none.keras", 3, "EP201"),
    ],
)
def test_a_search_of_what_is_no_model_to_convert_leaves_nothing(tmp_path, model, code, word):
    done = edgepack("search", str(DATA / model))
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert not (tmp_path / "home" / "data" / "searches.db").exists()


def test_without_a_terminal_yes_has_to_be_said(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPACK_STORE", f"sqlite:///{tmp_path / 'runs.db'}")
    with open_store(f"sqlite:///{tmp_path / 'runs.db'}") as store:
        store.save(builders.run(["float"], ["local"]))
    refused = edgepack("runs", "rm", "latest")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert edgepack("runs", "rm", "latest", "--yes").returncode == 0


def test_a_bad_settings_file_stops_every_command(tmp_path):
    (tmp_path / "edgepack.toml").write_text("[run]\nsede = 3\n")
    done = edgepack("profile", "ls")
    assert done.returncode == 2
    assert "EP104" in done.stderr


def test_settings_file_and_environment_set_options(tmp_path, monkeypatch):
    (tmp_path / "edgepack.toml").write_text('[run]\nrecipe = ["int8"]\nseed = 7\n')
    assert "recipe   int8" in edgepack("run", "m.keras", "--dry-run").stdout
    assert "seed 7" in edgepack("run", "m.keras", "--dry-run").stdout
    monkeypatch.setenv("EDGEPACK_RUN_SEED", "8")
    assert "seed 8" in edgepack("run", "m.keras", "--dry-run").stdout
    assert "seed 9" in edgepack("run", "m.keras", "--dry-run", "--seed", "9").stdout


def test_a_bug_exits_70_and_says_so(monkeypatch, capsys):
    monkeypatch.setitem(entry.COMMANDS, "profile", ("edgepack.cli.profile", "nothing", "x"))
    assert entry._run(["profile"]) == 70
    assert "bug" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["profile", "ls"], 0),
        (["--help"], 0),
        (["device", "provision", "local"], 2),
        (["device", "doctor", "gone", "--json"], 4),
    ],
)
def test_a_reader_that_went_away_changes_no_exit_code(args, code, unbuffered):
    """As in `edgepack gate | true`, where 1 would be a failed gate."""
    Registry(config.devices_file()).add(Device(name="gone", profile="vanished"))
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "edgepack.cli.main", *args],
        stdout=theirs,
        stderr=theirs if code == 2 else subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(theirs)
    assert done.returncode == code
    assert not done.stderr


def test_a_broken_pipe_elsewhere_is_no_verdict(monkeypatch, capsys):
    def command():
        raise BrokenPipeError(errno.EPIPE, "some socket")

    broken = click.Command("break", callback=command)
    monkeypatch.setattr("edgepack.cli.profile.broken", broken, raising=False)
    monkeypatch.setitem(entry.COMMANDS, "profile", ("edgepack.cli.profile", "broken", "x"))
    assert entry._run(["profile"]) == 70
    assert "some socket" in capsys.readouterr().err
