"""A corpus of hostile files and streams, the same bytes every time; nothing in it is run.

Each case says what is opened how ("model", "data", "bundle", "inventory", "toml" or "stream")
and the codes that it may end with.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.agent.host import DATA

MUTANTS = 40
"""Structural mutants of a real `.tflite`, beside the ones made on purpose."""


@dataclass(frozen=True)
class Case:
    """What lies in the file `name`, and how it may end. may_pass: some damage does no harm."""

    name: str
    kind: str
    content: bytes
    codes: tuple[str, ...]
    may_pass: bool = False


class Evil:
    """Unpickled, it writes a file called `marker` into the current folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("marker"),)


# ---------------------------------------------------------------- Keras


def _config(*layers: dict[str, Any]) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4]}}
    return {"class_name": "Sequential", "config": {"name": "n", "layers": [first, *layers]}}


def _layer(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": {"name": "x", **config}}


LAMBDA = _layer("Lambda", function=["4wEAAAA=", None, None], function_type="lambda")


def _h5(config: Any = None, fill: Callable[[h5py.File], object] = lambda file: None) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config)
            file.attrs["model_config"] = text
        file.create_group("model_weights")
        fill(file)
    return buffer.getvalue()


def _keras(config: Any, **entries: bytes) -> bytes:
    files = {
        "metadata.json": b'{"keras_version": "3.5.0"}',
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": _h5(),
        **entries,
    }
    return _zip(files)


def _zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def _link(name: str, target: str) -> bytes:
    buffer = io.BytesIO(_keras(_config()))
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry, target)
    return buffer.getvalue()


def _nested(file: h5py.File) -> None:
    group: h5py.Group = file
    for _ in range(80):
        group = group.create_group("g")


def _keras_files() -> Iterator[Case]:
    code = ("EP203",)
    damaged = ("EP202",)
    for name in ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer"):
        config = _config(LAMBDA if name == "Lambda" else _layer(name, filepath="/x", module="gASV"))
        yield Case(f"{name}.keras", "model", _keras(config), code)
        yield Case(f"{name}.h5", "model", _h5(config), code)
    for module, name in (("os", "system"), ("builtins", "eval"), ("subprocess", "Popen")):
        evil = {**_layer(name), "module": module, "registered_name": f"{module}>{name}"}
        yield Case(f"{module}.keras", "model", _keras(_config(evil)), code)
    yield Case("model.pkl", "model", pickle.dumps(Evil()), code)
    inside = _keras(_config(), **{"assets/state.pkl": pickle.dumps(Evil())})
    yield Case("pickle-inside.keras", "model", inside, code)
    yield Case("zip-bomb.keras", "model", _keras(_config(), zeros=bytes(70 << 20)), damaged)
    for number, path in enumerate(("../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil")):
        yield Case(f"path{number}.keras", "model", _keras(_config(), **{path: b"x"}), damaged)
    yield Case("link.keras", "model", _link("assets/link", "/etc/passwd"), damaged)
    fills: dict[str, Callable[[h5py.File], object]] = {
        "2^40": lambda f: f.create_dataset("w", shape=(2**40,), dtype="f4", chunks=(2**20,)),
        "zeros": lambda f: f.create_dataset("w", data=np.zeros(20 << 20, "f4"), compression="gzip"),
        "external": lambda f: f.__setitem__("w", h5py.ExternalLink("/etc/passwd", "/x")),
        "soft": lambda f: f.__setitem__("w", h5py.SoftLink("/model_weights")),
        "nested": _nested,
    }
    for name, fill in fills.items():
        yield Case(f"{name}.h5", "model", _h5(_config(), fill), damaged)
    yield Case("deep-json.h5", "model", _h5("[" * 20_000 + "]" * 20_000), damaged)
    whole = _keras(_config())
    yield Case("half.keras", "model", whole[: len(whole) // 2], damaged)
    yield Case("half.h5", "model", _h5(_config())[:600], damaged)
    yield Case("nothing.keras", "model", b"", damaged)


# ---------------------------------------------------------------- TFLite


def tflite_files() -> Iterator[Case]:
    """Made on purpose, and mutants."""
    real = (DATA / "classifier_float.tflite").read_bytes()
    codes = ("EP202", "EP205", "EP303")
    yield Case("half.tflite", "model", real[: len(real) // 2], codes)
    yield Case("only-magic.tflite", "model", real[:8], codes)
    wild = b"\xff\xff\xff\x7fTFL3" + real[8:]
    yield Case("wild-root.tflite", "model", wild, codes)
    yield Case("zero-root.tflite", "model", b"\0\0\0\0TFL3" + real[8:], codes)
    yield Case("wild-everywhere.tflite", "model", real[:8] + b"\xf0\xff\xff\x7f" * 600, codes)
    yield Case("2^40.tflite", "model", _edited(_huge), codes)
    yield Case("negative-shape.tflite", "model", _edited(_negative), codes)
    yield Case("cyclic-ops.tflite", "model", _edited(_cycle), codes)
    yield Case("tensor-of-nowhere.tflite", "model", _edited(_nowhere), codes)
    yield Case("subgraph-calls-itself.tflite", "model", _edited(_calls_itself), codes)
    yield Case("no-subgraph.tflite", "model", _edited(_empty), codes)
    rng = random.Random(0)
    for number in range(MUTANTS):
        yield Case(f"mutant{number:02}.tflite", "model", _mutant(rng), codes, may_pass=True)


def _edited(change: Callable[[Any], None]) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    raw = (DATA / "classifier_float.tflite").read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(raw, 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _huge(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        tensor.shape = [2**20, 2**20]
        tensor.shapeSignature = None


def _negative(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        tensor.shape = [-5, -7]


def _cycle(model: Any) -> None:
    for operator in model.subgraphs[0].operators:
        operator.inputs = list(operator.outputs) * len(operator.inputs)


def _nowhere(model: Any) -> None:
    for operator in model.subgraphs[0].operators:
        operator.inputs = [10**6] * len(operator.inputs)


def _calls_itself(model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.WHILE
    model.operatorCodes.append(code)
    options = schema.WhileOptionsT()
    options.condSubgraphIndex = options.bodySubgraphIndex = 0
    operator = model.subgraphs[0].operators[0]
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.builtinOptionsType = schema.BuiltinOptions.WhileOptions
    operator.builtinOptions = options


def _empty(model: Any) -> None:
    model.subgraphs = []


def _mutant(rng: random.Random) -> bytes:
    """The classifier with a few of its tensors and operators changed; the file stays well formed,
    so that what reads it is the interpreter and not the flatbuffer's verifier."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        for _ in range(rng.randint(1, 3)):
            operator, tensor = rng.choice(graph.operators), rng.choice(graph.tensors)
            place = rng.randrange(6)
            if place == 0:
                operator.opcodeIndex = rng.randrange(len(model.operatorCodes))
            elif place == 1:
                operator.inputs = list(operator.inputs)
                other = rng.randrange(-1, len(graph.tensors))
                operator.inputs[rng.randrange(len(operator.inputs))] = other
            elif place == 2:
                tensor.shape = [rng.choice((0, 1, 4, 7, 2**30, -1)) for _ in tensor.shape]
            elif place == 3:
                tensor.type = rng.randrange(18)
            elif place == 4:
                tensor.buffer = rng.randrange(len(model.buffers))
            else:
                code = rng.choice(model.operatorCodes)
                code.builtinCode = code.deprecatedBuiltinCode = rng.randrange(127)

    return _edited(change)


# ---------------------------------------------------------------- data, packages, lists


def _npy(shape: tuple[int, ...], content: bytes = b"", dtype: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    head = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, head)
    return buffer.getvalue() + content


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x_test=np.array([Evil()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _data_files() -> Iterator[Case]:
    codes = ("EP302",)
    good = _npy((2, 2), bytes(16))
    code = b"__import__('os').system('touch marker')\n"
    # A header that ends inside a bracket: NumPy's own reader raises a TokenError.
    cut_header = b"\x93NUMPY\x01\x00\x08\x00{'shap(\n"
    evil_header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(code)) + code
    files = {
        "pickle": _pickled(),
        "2^40": _zip({"x_test.npy": _npy((2**40,), b"1234")}),
        "2^80": _zip({"x_test.npy": _npy((2**40, 2**40))}),
        "negative": _zip({"x_test.npy": _npy((-4, 2), bytes(32))}),
        "code-in-header": _zip({"x_test.npy": evil_header}),
        "cut-header": _zip({"x_test.npy": cut_header}),
        "no-array": _zip({"x_test.npy": b"hello"}),
        "no-zip": b"PK\x03\x04 and nothing else",
        "half": _zip({"x_test.npy": good})[:60],
        "lzma": _zip({"x_test.npy": good}, zipfile.ZIP_LZMA)[:-30],
        "structured": _zip({"x_test.npy": _npy((1,), bytes(8), "|V8")}),
    }
    for name, content in files.items():
        yield Case(f"{name}.npz", "data", content, codes)
    shape = struct.pack(">HBBIII", 0, 8, 3, 2**31, 2**31, 2**31)
    yield Case("2^93.idx.gz", "idx", gzip.compress(shape + bytes(100), mtime=0), codes)
    small = struct.pack(">HBBIII", 0, 8, 3, 1, 2, 2)
    yield Case("bomb.idx.gz", "idx", gzip.compress(small + bytes(80 << 20), mtime=0), codes)
    yield Case("rank-255.idx.gz", "idx", gzip.compress(b"\0\0\x08\xff" + bytes(8), mtime=0), codes)


def _bundle_files() -> Iterator[Case]:
    codes = ("EP208",)
    for number, path in enumerate(("../evil", "/tmp/evil", "a/b", "", ".hidden", "x\0y")):
        files = {path: b"x", "manifest.json": b"{}"}
        yield Case(f"path{number}.edgepack", "bundle", _zip(files, zipfile.ZIP_STORED), codes)
    bomb = _zip({"manifest.json": bytes(80 << 20)})
    yield Case("bomb.edgepack", "bundle", bomb, codes)
    deep = b"[" * 100_000 + b"]" * 100_000
    yield Case("deep.edgepack", "bundle", _zip({"manifest.json": deep}, zipfile.ZIP_STORED), codes)


def _list_files() -> Iterator[Case]:
    layers = "\n".join(
        f"g{n}: &g{n} {{children: {{a: *g{n - 1}, b: *g{n - 1}, c: *g{n - 1}}}}}"
        for n in range(1, 30)
    )
    laughs = f"g0: &g0 {{hosts: {{h: {{}}}}}}\n{layers}\n"
    yield Case("laughs.yml", "inventory", laughs.encode(), ("EP104",))
    yield Case("self.yml", "inventory", b"a: &a\n  children:\n    b: *a\n", ("EP104",))
    code = b"a: !!python/object/apply:os.system ['touch marker']\n"
    yield Case("code.yml", "inventory", code, ("EP104",))
    yield Case("deep.yml", "inventory", b"[" * 1_000, ("EP104",))
    yield Case("ranges.ini", "inventory", b"h[1:9999][1:9999][1:9999]\n", ("EP104",))
    lookup = b"h ansible_host=\"{{ lookup('pipe', 'id') }}\"\n"
    yield Case("lookup.ini", "inventory", lookup, ("EP105",))
    for name in ("profile", "recipe", "budget", "registry"):
        deep = b"x = " + b"[" * 50_000
        yield Case(f"deep-{name}.toml", name, deep, ("EP102", "EP104", "EP106"))
        yield Case(f"binary-{name}.toml", name, b"\xff\xfe\0", ("EP102", "EP104", "EP106"))


# ---------------------------------------------------------------- streams of a device

SHA = "a" * 64


def say(**fields: Any) -> bytes:
    return b"\x1e" + json.dumps(fields).encode() + b"\n"


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def _streams() -> Iterator[Case]:
    """Each follows a proper greeting, which the test makes: `need` is the first word here."""
    need = say(event="need", blobs=[], free_bytes=1)
    one = {"event": "samples", "variant": "int8", "round": 0, "start_ns": 0}
    outputs = {"event": "outputs", "variant": "int8", "output": "y", "dtype": "float32", "n": 1}
    environment: Any = {}
    for _ in range(400):
        environment = {"a": environment}
    streams = {
        "binary": bytes(range(256)) * 64,
        "endless-line": b"\x1e" + b"x" * (9 << 20),
        "deep": b"\x1e" + b"[" * 100_000 + b"\n",
        "nan": b'\x1e{"event":"done","seconds":NaN,"cancelled":false}\n',
        "twice": b'\x1e{"event":"done","event":"hello"}\n',
        "huge-number": b'\x1e{"event":"done","seconds":' + b"9" * 100_000 + b"}\n",
        "unknown": need + say(event="format-disk"),
        "foreign-blob": say(event="need", blobs=[{"sha256": SHA, "have": 0}], free_bytes=1),
        "path-as-digest": say(event="need", blobs=[{"sha256": "../../x", "have": 0}]),
        "before-its-start": say(event="need", blobs=[{"sha256": SHA, "have": -5}]),
        "samples-bomb": need + say(**one, ns=_packed(bytes(40 << 20))),
        "samples-negative": need + say(**one, ns=_packed(b"\xff" * 8)),
        "samples-odd": need + say(**one, ns=_packed(b"123")),
        "other-variant": need + say(**{**one, "variant": "../x"}, ns=_packed(bytes(8))),
        "2^40-outputs": need + say(**outputs, shape=[2**40, 2**40], data=_packed(bytes(4))),
        "outputs-object": need + say(**{**outputs, "dtype": "object"}, shape=[1], data=""),
        "deep-environment": need + say(event="environment", environment=environment),
        "result-of-nothing": need + say(event="result", variant="int8", status="ok", rounds=1),
        "only-done": need + say(event="done", seconds=1.0, cancelled=False),
        "silence": b"",
        "log-of-escapes": need + say(event="log", level="info", message="\x1b]0;x\x07" * 100),
        "error-with-escapes": say(event="error", code="EP502", what="\x1b[2J", hint="\x1b[31m"),
        "error-unknown": say(event="error", code="rm -rf", what="x", hint="y"),
        "second-greeting": say(event="agent", have=True) * 2,
    }
    for name, content in streams.items():
        yield Case(name, "stream", content, ("EP404", "EP407", "EP409", "EP501", "EP502"))


def cases() -> list[Case]:
    """All of them."""
    makers = (_keras_files, tflite_files, _data_files, _bundle_files, _list_files, _streams)
    return [case for make in makers for case in make()]
