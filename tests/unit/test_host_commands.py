"""The commands about edgepack itself and this machine: doctor, plugin, completion, push."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgepack import package as packages
from edgepack.cli.main import cli
from tests import builders, documents

HOST_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIEx0r0QHhBqN0pTIUbHCw0TFbhMBQCJX9gfmT5CYGkhs"
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGEPACK_STORE", raising=False)
    return tmp_path / "home"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)


def document(*arguments: object) -> Any:
    return documents.parsed(call(*arguments, "--json").stdout)


# ---------------------------------------------------------------- doctor


def checks() -> dict[str, dict[str, str]]:
    return {each["check"]: each for each in document("doctor")["checks"]}


def test_a_machine_with_all_that_is_required_is_fit() -> None:
    done = call("doctor")
    assert done.return_value == 0, done.output
    found = checks()
    assert found["python"]["found"].startswith(sys.version.split()[0])
    assert found["tensorflow"]["status"] == "ok"
    assert found["store"] == {**found["store"], "status": "ok"}
    assert "no runs yet" in found["store"]["found"]
    assert found["plug-ins"]["status"] == "ok"


def test_doctor_makes_no_store(home: Path) -> None:
    call("doctor")
    assert not (home / "data" / "runs.db").exists()


def test_without_ssh_keygen_packages_cannot_be_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert checks()["ssh-keygen"]["status"] == "warn"


def test_a_store_and_a_registry_that_cannot_be_read_are_told(home: Path) -> None:
    (home / "data").mkdir(parents=True)
    (home / "data" / "runs.db").write_text("this is no database" * 100)
    (home / "config").mkdir()
    (home / "config" / "devices.toml").write_text("[device")
    done = call("doctor")
    assert done.return_value == 2
    found = checks()
    assert found["store"]["status"] == found["devices"]["status"] == "fail"
    assert "EP104" in found["devices"]["found"]
    assert found["devices"]["todo"]


def test_a_folder_that_is_not_ours_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)  # root may all
    assert checks()["data"]["status"] == "fail"


# ---------------------------------------------------------------- plugin, completion


def test_the_built_in_plug_ins_are_all_available() -> None:
    listed = document("plugin", "ls")
    found = {(each["group"], each["name"]): each for each in listed["plugins"]}
    assert found["edgepack.passes", "quantize.int8"]["package"] == "edgepack"
    assert found["edgepack.exporters", "csv"]["error"] is None
    assert "quantize.int8" in call("plugin", "ls").output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_asks_edgepack(shell: str, tmp_path: Path) -> None:
    done = call("completion", shell)
    assert "_EDGEPACK_COMPLETE" in done.output
    if shutil.which(shell) is not None and shell != "fish":
        script = tmp_path / "script"
        script.write_text(done.output)
        checked = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


def completed(line: str) -> list[str]:
    """What bash would offer for the last word of the line."""
    words = line.split(" ")
    asked = {
        **os.environ,
        "_EDGEPACK_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "edgepack.cli.main"], env=asked, capture_output=True, text=True
    )
    return [each.partition(",")[2] for each in done.stdout.split()]


def test_commands_and_devices_are_completed() -> None:
    assert "device" in completed("edgepack dev")
    assert completed("edgepack bench package -d lo") == ["local"]
    assert "raspberry-pi-4" in completed("edgepack profile show rasp")


# ---------------------------------------------------------------- push


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of one small model, without data."""
    file = DATA / "classifier_int8.tflite"
    variant = builders.variant("int8", file.stat().st_size)
    digest = packages.sha256_of(file)
    packages.write(
        tmp_path / "package",
        source_name="classifier.tflite",
        source_sha256=digest,
        variants=[replace(variant, sha256=digest)],
        files={digest: file},
        dataset=None,
        tools={},
    )
    return tmp_path / "package"


def test_what_was_pushed_is_on_the_device_and_never_sent_again(package: Path, home: Path) -> None:
    size = (DATA / "classifier_int8.tflite").stat().st_size
    first = document("push", package, "-d", "local")
    assert first["devices"] == [
        {"device": "local", "status": "ok", "sent_bytes": size, "error": None}
    ]
    digest = packages.sha256_of(DATA / "classifier_int8.tflite")
    kept = home / "cache" / "device" / "blobs" / digest
    assert kept.read_bytes() == (DATA / "classifier_int8.tflite").read_bytes()
    assert "it was there already" in call("push", package, "-d", "local").output


def test_a_device_that_cannot_be_reached_exits_4(package: Path, home: Path) -> None:
    (home / "config").mkdir(parents=True)
    (home / "config" / "devices.toml").write_text(
        '[device.gone]\nprofile = "desktop"\nhost = "127.0.0.1"\nport = 9\n'
        f'host_keys = ["ssh-ed25519 {HOST_KEY}"]\n'
    )
    done = call("push", package, "-d", "gone", "-d", "local", "--json")
    assert done.return_value == 4
    rows = {each["device"]: each for each in documents.parsed(done.stdout)["devices"]}
    assert rows["gone"]["error"]["code"] in ("EP401", "EP402")
    assert rows["local"]["status"] == "ok"


# ---------------------------------------------------------------- bench


def test_bench_names_its_run_and_writes_the_report(package: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    words = ["bench", package, "--max-seconds", "0.5", "--tag", "rc1", "--note", "after the fix"]
    shown = document(*words, "--report", page)
    (kept,) = document("runs", "ls")["runs"]
    assert (kept["run_id"], kept["tags"], kept["note"]) == (
        shown["run_id"],
        ["rc1"],
        "after the fix",
    )
    assert shown["run_id"] in page.read_text(encoding="utf-8")


def test_bench_refuses_a_bad_tag_before_it_measures(package: Path) -> None:
    done = call("bench", package, "--tag", "latest")
    assert getattr(done.exception, "code", None) == "EP105"
    assert document("runs", "ls")["runs"] == []


def test_bench_has_one_standard_output(package: Path) -> None:
    assert "choose one" in str(call("bench", package, "--json", "--events").exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--min-seconds", "5"), "'--min-seconds' cannot be given with --mode latency"),
        (("--mode", "offline", "--min-queries", "9"), "'--min-queries' cannot be given"),
        (("--mode", "sustained", "--ci", "0.1"), "'--ci' cannot be given with --mode sustained"),
        (("--mode", "single-stream", "--ci", "0.1"), "LoadGen's rules"),
    ],
)
def test_an_option_that_a_mode_would_ignore_is_refused(
    package: Path, words: tuple[str, ...], said: str
) -> None:
    done = call("bench", package, *words)
    assert isinstance(done.exception, click.UsageError)
    assert said in str(done.exception)


def test_a_mode_s_options_may_be_set_for_all_runs(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPACK_BENCH_MIN_QUERIES", "64")
    assert call("bench", package, "--max-seconds", "0.5", "-q").return_value == 0


@pytest.mark.parametrize("option", ["--json", "--events", "--watch"])
def test_a_dry_run_refuses_what_it_would_ignore(option: str) -> None:
    done = call("run", DATA / "classifier_float.tflite", "--dry-run", option)
    assert "cannot be given with --dry-run" in str(done.exception)


@pytest.mark.parametrize(
    ("name", "code"),
    [("r.txt", "EP105"), ("r", "EP105"), ("no/r.html", "EP603"), ("d.md", "EP603")],
)
def test_a_report_that_cannot_be_written_is_told_before_measuring(
    package: Path, tmp_path: Path, name: str, code: str
) -> None:
    (tmp_path / "d.md").mkdir()
    done = call("bench", package, "--report", tmp_path / name, "--max-seconds", "0.5")
    assert getattr(done.exception, "code", None) == code
    assert not documents.parsed(call("runs", "ls", "--json").stdout)["runs"]


def test_a_report_has_the_format_of_its_ending(package: Path, tmp_path: Path) -> None:
    done = call("bench", package, "--report", tmp_path / "r.md", "--max-seconds", "0.5", "-q")
    assert done.return_value == 0
    assert (tmp_path / "r.md").read_text().startswith("#")


def test_a_metric_that_fails_passes_no_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_metric.py").write_text("def boom(outputs, labels, dataset):\n    1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    images = np.random.default_rng(0).random((12, 4, 4, 1), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x_test=images, y_test=np.arange(12) % 4)
    (tmp_path / "b.toml").write_text('[budget."*"]\nquality = 0.5\n')
    words = ["run", DATA / "classifier_float.tflite", "--data", tmp_path / "d.npz"]
    words += ["--quality", "broken_metric:boom", "--budget", tmp_path / "b.toml"]
    done = call(*words, "--max-seconds", "0.5", "--json")
    assert done.return_value == 4, done.output
    found = documents.parsed(done.stdout)
    (one,) = found["measurements"]
    assert one["quality"] is None and "quality-failed" in one["flags"]
    assert found["verdict"]["status"] == "unmeasured"
    quiet = call(*words, "--max-seconds", "0.5", "-q")
    assert quiet.stderr.count("no quality: ") == 1 and "ZeroDivisionError" in quiet.stderr
