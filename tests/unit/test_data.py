"""Datasets: what users have is read as they mean it, and what cannot be meant is refused."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgepack import data
from edgepack.data.npz import read_npz
from edgepack.errors import EdgepackError
from edgepack.model import Signature, TensorSpec, Transform

IMAGES = TensorSpec(name="image", shape=(None, 4, 4, 1), dtype="float32")
CLASSES = TensorSpec(name="label", shape=(None, 3), dtype="float32")
SIGNATURE = Signature(inputs=(IMAGES,), outputs=(CLASSES,))


def _arrays(samples: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (samples, 4, 4, 1), np.uint8)
    labels = np.arange(samples) % 3
    return {"x_train": pixels, "y_train": labels, "x_test": pixels, "y_test": labels}


def _npz(path: Path, **arrays: object) -> str:
    np.savez_compressed(path, **arrays)
    return str(path)


def _code(code: str):
    return pytest.raises(EdgepackError, check=lambda error: error.code == code)


def test_raw_uint8_stays_uint8_and_becomes_real_on_demand(tmp_path: Path) -> None:
    arrays = _arrays()
    spec = _npz(tmp_path / "d.npz", **arrays, scale=1 / 255, classes=np.array(["a", "b", "c"]))
    dataset = data.fit(data.load(spec), SIGNATURE)
    assert dataset.x_test["image"].dtype == np.uint8
    assert dataset.transforms == {"image": Transform(scale=1 / 255, offset=0.0)}
    assert (dataset.task, dataset.classes) == ("classification", ("a", "b", "c"))
    real = dataset.real("test", slice(0, 6))["image"]
    np.testing.assert_allclose(real, arrays["x_test"] / 255, rtol=1e-6)


def test_several_inputs_are_matched_by_name(tmp_path: Path) -> None:
    left, right = np.zeros((2, 3), np.float32), np.ones((2, 5), np.float32)
    spec = _npz(tmp_path / "d.npz", **{"x_test:b": right, "x_test:a": left})
    signature = Signature(
        inputs=(
            TensorSpec(name="a", shape=(None, 3), dtype="float32"),
            TensorSpec(name="b", shape=(None, 5), dtype="float32"),
        ),
        outputs=(CLASSES,),
    )
    dataset = data.fit(data.load(spec), signature)
    assert list(dataset.x_test) == ["a", "b"]
    assert dataset.x_test["b"].mean() == 1
    other = Signature(inputs=(signature.inputs[0], IMAGES), outputs=(CLASSES,))
    with _code("EP303"):
        data.fit(data.load(spec), other)


def test_the_digest_follows_everything_that_changes_a_build(tmp_path: Path) -> None:
    arrays = _arrays()
    digest = data.load(_npz(tmp_path / "a.npz", **arrays)).digest
    assert data.load(_npz(tmp_path / "same.npz", **arrays)).digest == digest
    assert data.load(_npz(tmp_path / "scaled.npz", **arrays, scale=2.0)).digest != digest
    arrays["x_test"] = arrays["x_test"].copy()
    arrays["x_test"][0, 0, 0, 0] ^= 1
    assert data.load(_npz(tmp_path / "b.npz", **arrays)).digest != digest


def test_evaluation_data_is_deterministic_and_complete(tmp_path: Path) -> None:
    dataset = data.fit(data.load(_npz(tmp_path / "d.npz", **_arrays(), scale=0.5)), SIGNATURE)
    first = data.write_eval(dataset, tmp_path / "one.npz")
    second = data.write_eval(dataset, tmp_path / "two.npz")
    assert first == second
    assert (first.samples, first.task, first.source) == (6, "classification", "dataset")
    assert first.bytes == (tmp_path / "one.npz").stat().st_size
    stored = read_npz(tmp_path / "one.npz")
    assert stored.keys() == {"x:image", "y"}
    np.testing.assert_array_equal(stored["x:image"], dataset.x_test["image"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.npz", "one.npz", "two.npz"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"x_test": np.zeros((2, 5, 5, 1))}, "EP303"),
        ({"y_test": np.array([0, 1, 2, 3, 1, 1])}, "EP303"),
        ({"y_test": np.array([0, 1])}, "EP302"),
        ({"x_test": np.full((6, 4, 4, 1), np.nan)}, "EP302"),
        ({"x_test": np.array(["a"] * 6)}, "EP302"),
        ({"x_test": np.zeros((0, 4, 4, 1))}, "EP302"),
        ({"scale": np.array([1.0, 2.0])}, "EP302"),
        ({"x_tset": np.zeros(3)}, "EP302"),
        ({"classes": np.array("cat")}, "EP302"),
        ({"classes": np.array([1, 2, 3])}, "EP302"),
        ({"x_test": np.array([{}] * 6, dtype=object)}, "EP302"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray], code: str
) -> None:
    arrays = {**_arrays(), **change}
    if code == "EP303" and "x_test" in change:
        arrays = {"x_test": change["x_test"]}
    spec = _npz(tmp_path / "d.npz", **arrays)
    with _code(code):
        data.fit(data.load(spec), SIGNATURE)


def test_an_array_of_python_objects_is_named_with_what_to_do(tmp_path: Path) -> None:
    objects = {"x_test": np.array([[1], [2, 3]], dtype=object)}
    spec = _npz(tmp_path / "d.npz", **objects)
    with _code("EP302") as caught:
        data.load(spec)
    told = str(caught.value)
    assert "'x_test' is an array of Python objects" in told
    assert "dtype=" in told
    assert "allow_pickle" not in told


def test_a_pickle_under_the_name_of_an_npz_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(pickle.dumps({"x_test": [1]}))
    with _code("EP302") as caught:
        data.load(str(tmp_path / "d.npz"))
    assert "not a whole .npz archive" in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with _code("EP301"):
        data.load(str(tmp_path / "none.npz"))
    with _code("EP301"):
        data.load("no_such_module_here:function")
    whole = Path(_npz(tmp_path / "d.npz", **_arrays())).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with _code("EP302"):
        data.load(str(tmp_path / "cut.npz"))
    np.save(tmp_path / "one.npy", np.zeros(3))
    with _code("EP302"):
        data.load(str(tmp_path / "one.npy"))


def test_one_hot_labels_become_class_numbers(tmp_path: Path) -> None:
    arrays = _arrays()
    arrays["y_test"] = np.eye(3)[arrays["y_test"]]
    dataset = data.load(_npz(tmp_path / "d.npz", **arrays))
    assert dataset.task == "classification"
    np.testing.assert_array_equal(dataset.y_test, np.arange(6) % 3)


def _image(path: Path, size: tuple[int, int], value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def test_class_folders_with_the_users_split(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for value, name in ((10, "cat"), (200, "dog")):
            for index in range(count):
                _image(tmp_path / split / name / f"{index}.png", (4, 4), value)
    dataset = data.load(str(tmp_path))
    assert dataset.classes == ("cat", "dog")
    assert (dataset.train_samples, dataset.test_samples) == (6, 4)
    assert dataset.notes == ()
    means = dataset.x_test[""].mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(means, np.where(dataset.y_test == 0, 10, 200))
    real = dataset.real("test", slice(0, 1))[""]
    assert real.max() <= 1.0


def test_class_folders_without_a_split_say_so(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for index in range(10):
            _image(tmp_path / name / f"{index}.png", (6, 4), index)
    dataset = data.load(f"{tmp_path}?size=4x4&color=gray")
    assert (dataset.train_samples, dataset.test_samples) == (16, 4)
    assert np.bincount(dataset.y_test).tolist() == [2, 2]
    assert "20%" in dataset.notes[0]
    assert dataset.x_test[""].shape == (4, 4, 4, 1)
    assert data.load(f"{tmp_path}?size=4x4&color=gray").digest == dataset.digest
    with _code("EP105"):
        data.load(f"{tmp_path}?sise=4x4")


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    _image(tmp_path / "test" / "a" / "1.png", (4, 4), 0)
    _image(tmp_path / "test" / "a" / "2.png", (5, 4), 0)
    with _code("EP302"):
        data.load(str(tmp_path))
    assert data.load(f"{tmp_path}?size=4x4").test_samples == 2
    (tmp_path / "test" / "a" / "3.png").write_bytes(b"not an image")
    with _code("EP302"):
        data.load(f"{tmp_path}?size=4x4")


def test_functions_and_their_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "their_data.py").write_text(
        "import numpy as np\n"
        "def good():\n"
        "    return (np.zeros((4, 2)), np.zeros(4, int)), (np.ones((3, 2)), np.ones(3, int))\n"
        "def named():\n"
        "    return {'x_test': {'a': np.ones((3, 2)), 'b': np.ones((3, 1))}}\n"
        "def broken():\n    raise RuntimeError('no network')\n"
        "def odd():\n    return 3\n"
    )
    assert data.load("their_data:good").train_samples == 4
    assert set(data.load("their_data:named").x_test) == {"a", "b"}
    for name in ("broken", "odd"):
        with _code("EP302"):
            data.load(f"their_data:{name}")
    with _code("EP301"):
        data.load("their_data:missing")


def test_idx_folders(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    header = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 3)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + pixels.tobytes()))
    labels = struct.pack(">HBBI", 0, 8, 1, 2) + bytes([1, 0])
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels)
    dataset = data.load(str(tmp_path))
    np.testing.assert_array_equal(dataset.x_test[""][..., 0], pixels)
    assert dataset.y_test.tolist() == [1, 0]
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels[:6])
    with _code("EP302"):
        data.load(str(tmp_path))


@pytest.mark.parametrize(("side", "samples"), [(96, 151), (224, 27), (640, 8)])
def test_random_inputs_of_large_images_are_few(side: int, samples: int) -> None:
    """Every device is sent them."""
    image = TensorSpec(name="image", shape=(None, side, side, 3), dtype="float32")
    made = data.random_inputs(Signature(inputs=(image,), outputs=(CLASSES,)))
    assert len(made.x_test["image"]) == samples


def test_random_inputs_are_seeded_and_fit() -> None:
    tokens = TensorSpec(name="tokens", shape=(1, 7), dtype="int32")
    signature = Signature(inputs=(IMAGES, tokens), outputs=(CLASSES,))
    one, two = data.random_inputs(signature), data.random_inputs(signature)
    assert one.digest == two.digest
    assert one.digest != data.random_inputs(signature, seed=1).digest
    assert one.source == "random"
    assert one.x_test["image"].shape == (256, 4, 4, 1)
    assert set(np.unique(one.x_test["tokens"])) == {0, 1}
    free = TensorSpec(name="f", shape=(None, None, 3), dtype="float32")
    with _code("EP303"):
        data.random_inputs(Signature(inputs=(free,), outputs=(CLASSES,)))
