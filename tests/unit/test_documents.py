"""Every document with a `schema` field has that schema committed, and obeys it."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from edgepack.cli.main import cli
from edgepack.store import open_store
from tests import builders, documents

DATA = Path(__file__).parents[1] / "data"
# What the host says to the device's agent: docs/protocol.md, and the agent refuses all else.
MESSAGES = {"edgepack.job/1", "edgepack.push/1", "edgepack.provision/1", "edgepack.calibrate/1"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGEPACK_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def printed(*words: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, words), "--json"], catch_exceptions=False)
    return done.stdout


def test_every_schema_that_the_code_names_is_committed() -> None:
    named = {
        name
        for file in documents.CODE.rglob("*.py")
        for name in re.findall(r'"(edgepack\.[a-z-]+/\d+)"', file.read_text())
    }
    assert named - MESSAGES == set(documents.SCHEMAS)


@pytest.mark.parametrize("name", sorted(documents.SCHEMAS))
def test_it_is_a_schema_that_leaves_nothing_open(name: str) -> None:
    schema = documents.SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False and "schema" in schema["required"]
    with pytest.raises(jsonschema.ValidationError):
        documents.check({"schema": name, "surprise": 1})


@pytest.mark.parametrize(
    "words",
    [
        "recipe ls",
        "recipe show slim50-int8",
        "profile ls",
        "profile show jetson-nano",
        "plugin ls",
        "config show",
        "cache ls",
        "device ls",
        "device show local",
        "runs ls",
    ],
)
def test_what_a_command_prints_obeys_its_schema(words: str, home: Path) -> None:
    (home / "cache" / "builds" / "one").mkdir(parents=True)
    Path("edgepack.toml").write_text('[run]\nrecipe = ["int8"]\nseed = 7\n')
    with open_store(f"sqlite:///{home / 'data' / 'runs.db'}") as store:
        store.save(builders.run(note="n", tags=("v1",), git_branch="main"))
    documents.parsed(printed(*words.split()))


def test_a_package_and_its_manifest_obey_theirs(tmp_path: Path) -> None:
    built = documents.parsed(
        printed("build", DATA / "classifier_int8.tflite", "-o", tmp_path / "pack", "-q")
    )
    shown = documents.parsed(printed("package", "show", tmp_path / "pack"))
    assert shown["package"] == built["package"]
    manifest = documents.parsed((tmp_path / "pack" / "manifest.json").read_text())
    (variant,) = manifest["variants"]
    assert manifest["files"][f"{variant['name']}.tflite"] == variant["sha256"]
