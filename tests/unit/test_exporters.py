"""Runs leave and come back as they were; other tools get tables."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import random
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgepack import codec, exporters
from edgepack.cli.main import cli
from edgepack.errors import EdgepackError
from edgepack.exporters import archive
from edgepack.model import Quality
from edgepack.store import Store, open_store
from tests import builders
from tests.builders import numbered

NAN = builders.measurement("int8", quality=Quality(metric="mae", value=float("nan"), n=3))


@pytest.fixture
def store(store_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEPACK_STORE", store_url)
    with open_store(store_url) as opened:
        yield opened


def edgepack(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_export_and_import_are_a_round_trip(store: Store, tmp_path: Path) -> None:
    odd = numbered(1, note="a\0b\ud800", tags=("golden",), git_branch="main")
    runs = [odd, numbered(2), builders.run(replace={("pi4", "int8"): builders.failed("int8")})]
    store.save_all(runs)
    file = tmp_path / "runs.edgepack"
    assert "3 runs" in edgepack("runs", "export", "golden", "latest", "latest~1", "-o", file)
    for run in runs:
        store.remove(run.run_id)
    assert "3 stored" in edgepack("runs", "import", file)
    for run in runs:
        assert store.load(run.run_id) == run
    assert "0 stored, 3 stored already" in edgepack("runs", "import", file)


def test_a_quality_that_is_no_number_travels(store: Store, tmp_path: Path) -> None:
    run = dataclasses.replace(numbered(1), measurements=(NAN,))
    file = tmp_path / "runs.edgepack"
    archive.export([run], str(file))
    edgepack("runs", "import", file)
    assert "1 stored already" in edgepack("runs", "import", file)


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        archive.export([numbered(1)], str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_run_of_that_id_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "runs.edgepack"
    archive.export([numbered(2), numbered(1, git_commit="ff" * 20)], str(file))
    store.save(numbered(1))
    with pytest.raises(EdgepackError) as caught:
        edgepack("runs", "import", file)
    assert caught.value.code == "EP105"
    assert store.list()[0].run_id == numbered(1).run_id, "all of them or none"


def test_any_flipped_bit_and_any_cut_is_found(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    archive.export([numbered(1)], str(whole))
    data = whole.read_bytes()
    assert archive.read(whole) == [numbered(1)]
    rng = random.Random(5)
    places = [*range(110), *rng.sample(range(len(data)), 100), len(data) - 1]
    bad = tmp_path / "bad"
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        for damaged in (bytes(changed), data[:place], data[:place] + data[place + 1 :]):
            bad.write_bytes(damaged)
            with pytest.raises(EdgepackError) as caught:
                archive.read(bad)
            assert caught.value.code == "EP611"
    bad.write_bytes(data + b"\n")
    with pytest.raises(EdgepackError):
        archive.read(bad)


def forged(path: Path, payload: bytes) -> Path:
    """An archive with a digest that is right, whatever is in it."""
    head = f"edgepack-runs/1 sha256:{sha256(payload).hexdigest()} bytes:{len(payload)}\n"
    path.write_bytes(head.encode() + payload)
    return path


def document(**fields: object) -> bytes:
    made = codec.to_json(numbered(1)) | fields
    return gzip.compress(json.dumps(made).encode() + b"\n")


PACKAGE = codec.to_json(numbered(1).package)
HOSTILE = {
    "no run": b"",
    "not packed": b"plain text",
    "half packed": document()[:-20],
    "something after it": document() + b"x",
    "not JSON": gzip.compress(b"{]\n"),
    "nested": gzip.compress(b"[" * 100_000 + b"\n"),
    "a huge number": gzip.compress(b"9" * 10_000 + b"\n"),
    "no line's end": gzip.compress(b"{}"),
    "a list": gzip.compress(b"[]\n"),
    "a path as id": document(run_id="../../etc/passwd"),
    "an id with NUL": document(run_id="2026\0"),
    "an id beyond Unicode": document(run_id="\ud800"),
    "a digest that leads out": document(
        package=codec.to_json(numbered(1).package) | {"digest": "../x"}
    ),
    "negative times": document(
        measurements=[codec.to_json(dataclasses.replace(NAN, rounds=((-1,),)))]
    ),
    "a tag with an escape": document(tags=["\x1b[2J"]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_with_a_code(store: Store, tmp_path: Path, what: str) -> None:
    with pytest.raises(EdgepackError) as caught:
        edgepack("runs", "import", forged(tmp_path / "bad", HOSTILE[what]))
    assert caught.value.code in {"EP611", "EP610", "EP105"}
    assert store.list() == []


def test_a_bomb_is_refused_before_it_expands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_OF_A_RUN", 1 << 20)
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 21)
    for bomb in (b"0" * (1 << 24), (b"[]" + b" " * 1000 + b"\n") * 10):
        with pytest.raises(EdgepackError) as caught:
            archive.read(forged(tmp_path / "bomb", gzip.compress(bomb)))
        assert caught.value.code == "EP611"


def test_csv_is_a_table_without_formulas(store: Store, tmp_path: Path) -> None:
    evil = builders.measurement('=HYPERLINK("x")', "a\nb\x1b[0m\ud800", p50_us=100.0)
    store.save(dataclasses.replace(numbered(1), measurements=(evil,)))
    file = tmp_path / "runs.csv"
    edgepack("runs", "export", "latest", "-o", file, "--format", "csv")
    with file.open(encoding="utf-8", newline="") as text:
        (row,) = csv.DictReader(text)
    assert row["variant"] == '\'=HYPERLINK("x")'
    assert "\x1b" not in row["device"]
    assert float(row["latency_p50_us"]) == pytest.approx(100, rel=0.03)
    assert (row["rounds"], row["samples"], row["governor"]) == ("20", "9000", "performance")


def test_parquet_holds_every_sample(store: Store, tmp_path: Path) -> None:
    from pyarrow import parquet

    store.save(numbered(1))
    file = tmp_path / "runs.parquet"
    edgepack("runs", "export", "latest", "-o", file, "--format", "parquet")
    rows = parquet.read_table(file).to_pylist()
    for row, measured in zip(rows, numbered(1).measurements, strict=True):
        assert (row["variant"], row["bytes"] > 0) == (measured.variant, True)
        assert tuple(tuple(values) for values in row["rounds_ns"]) == measured.rounds
        assert row["quality"] == measured.quality.value


def test_mlflow_gets_each_measurement_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run = builders.run(
        ["float", "int8"], ["local"], replace={("local", "int8"): builders.failed("int8", "local")}
    )
    export = exporters.load("mlflow")
    assert export([run], uri) == "2 new MLflow runs"
    assert export([run], uri) == "0 new MLflow runs"
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("edgepack/fashion.keras")
    found = {r.data.params["variant"]: r for r in client.search_runs([experiment.experiment_id])}
    assert found["float"].info.status == "FINISHED"
    assert found["int8"].info.status == "FAILED"
    assert found["float"].data.metrics["latency_p50_us"] == pytest.approx(168, rel=0.05)
    assert found["float"].data.params["runtime_version"] == "2.3.0"


def test_what_cannot_be_exported_is_told(tmp_path: Path) -> None:
    assert set(exporters.names()) >= {"archive", "csv", "mlflow", "parquet"}
    with pytest.raises(EdgepackError) as caught:
        exporters.load("parkett")
    assert (caught.value.code, "parquet" in caught.value.hint) == ("EP105", True)
    with pytest.raises(EdgepackError) as caught:
        archive.export([numbered(1)], str(tmp_path / "no" / "folder"))
    assert caught.value.code == "EP612"
    assert not list(tmp_path.iterdir())
