"""Models and data by URL: what is fetched is known by its digest, and opened like any file."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from edgepack import data, fetching
from edgepack.errors import EdgepackError
from edgepack.model import Event

MODEL = Path(__file__).parents[1] / "data" / "classifier_int8.tflite"
SHA256 = hashlib.sha256(MODEL.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server with the model."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(MODEL.read_bytes())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def refused(url: str, missing: str = fetching.NO_MODEL) -> EdgepackError:
    with pytest.raises(EdgepackError) as caught:
        fetching.fetch(url, missing, lambda event: None)
    return caught.value


def leftovers(home: Path) -> list[Path]:
    return list((home / "home" / "cache" / "fetched").glob(".new-*"))


def test_a_file_comes_whole_under_its_name_and_its_digest_is_recorded(home, served) -> None:
    for url in (MODEL.as_uri(), f"{served}/model.tflite?token=secret"):
        told: list[Event] = []
        found = fetching.fetch(url, fetching.NO_MODEL, told.append)
        assert found.path.read_bytes() == MODEL.read_bytes()
        assert (found.sha256, found.bytes) == (SHA256, MODEL.stat().st_size)
        assert found.path.name == url.partition("?")[0].rpartition("/")[2]
        origin = json.loads((found.path.parent / ".origin.json").read_text())
        assert origin["sha256"] == SHA256
        said = f"{origin} {[event.message for event in told]}"
        assert SHA256 in said and "secret" not in said
    assert leftovers(home) == []


def test_a_server_without_the_file_is_not_a_server_that_does_not_answer(home, served) -> None:
    assert refused(f"{served}/other.keras").code == "EP201"


def test_data_and_folders_are_read_as_if_they_were_here(home, memory) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    with memory.open("/sets/d.npz", "wb") as file:
        np.savez(file, x_test=rng.normal(size=(6, 4)).astype("float32"), y_test=np.arange(6) % 2)
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        with memory.open(f"/sets/images/test/{name}", "wb") as file:
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    named = fetching.data("memory://sets/d.npz", lambda event: None)
    assert named is not None and data.load(named).test_samples == 6
    folder = fetching.data("memory://sets/images", lambda event: None)
    assert folder is not None and data.load(folder).classes == ("cat", "dog")
    assert leftovers(home) == []


def test_with_a_digest_the_cache_is_enough_and_nothing_else_will_do(home, memory) -> None:
    memory.pipe("/m.tflite", MODEL.read_bytes())
    pinned = fetching.pinned_model("memory://m.tflite", lambda event: None)
    assert pinned == f"memory://m.tflite#sha256={SHA256}"
    memory.pipe("/m.tflite", b"another")
    assert Path(fetching.model(pinned, lambda event: None)).read_bytes() == MODEL.read_bytes()
    Path(fetching.model(pinned, lambda event: None)).write_bytes(b"damaged in the cache")
    error = refused(pinned)
    assert error.code == "EP110" and SHA256 in error.what
    assert leftovers(home) == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("memory://nothing/here.keras", "EP201"),
        ("file:///no/such/model.keras", "EP201"),
        ("nonsense://x/model.keras", "EP105"),
        ("simplecache::memory://x", "EP105"),
        ("reference://x", "EP105"),
        ("https://user:secret@example.invalid/model.keras", "EP105"),
        ("http://127.0.0.1:9/model.keras", "EP110"),
    ],
)
def test_mistakes_have_codes(home, memory, url, code) -> None:
    error = refused(url)
    assert error.code == code
    assert "secret" not in str(error) and error.hint
    assert leftovers(home) == []


def test_missing_data_is_missing_data_and_a_missing_backend_is_named(home, monkeypatch) -> None:
    assert refused("memory://nothing.npz", fetching.NO_DATA).code == "EP301"

    def absent(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", absent)
    error = refused("s3://bucket/model.keras")
    assert error.code == "EP110" and "s3fs" in error.what


def test_a_listing_cannot_name_files_outside(home, memory, monkeypatch) -> None:
    memory.pipe("/folder/a", b"a")
    monkeypatch.setattr(type(memory), "find", lambda *_: ["/folder/../../evil"])
    assert refused("memory://folder").code == "EP110"
    assert not list(home.rglob("evil"))


def test_a_plug_ins_reader_goes_first_and_paths_stay_paths(monkeypatch) -> None:
    monkeypatch.setattr(fetching.plugins, "found", lambda group: {"memory": object()})
    assert fetching.data("memory://x", lambda event: None) == "memory://x"
    assert fetching.model("net.keras", lambda event: None) == "net.keras"
    assert fetching.data("device:/srv/d.npz", lambda event: None) == "device:/srv/d.npz"
    assert fetching.data(None, lambda event: None) is None


def test_what_was_fetched_is_refused_like_any_file(home, memory) -> None:
    """A pickle from a bucket is a pickle."""
    import pickle

    from edgepack.compress import sources

    memory.pipe("/m.keras", pickle.dumps({"a": 1}))
    with pytest.raises(EdgepackError) as caught:
        sources.identify(fetching.model("memory://m.keras", lambda event: None))
    assert caught.value.code == "EP203"


def test_a_build_takes_urls(home, memory) -> None:
    import edgepack

    memory.pipe("/m.tflite", MODEL.read_bytes())
    built = edgepack.build("memory://m.tflite", output=home / "package")
    assert built.package.source_name == "m.tflite"
    assert built.package.source_sha256 == SHA256
