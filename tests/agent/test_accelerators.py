"""Runtimes, XNNPACK, the GPU and external delegates: what was asked for and what was used."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from edgepack_agent.runtimes import compiled, npu
from edgepack_agent.runtimes.base import Ops

from .host import DATA, Event, Host, make_job, npz
from .test_measuring import decoded

Job = Callable[..., tuple[Event, dict[str, bytes]]]
Require = Callable[[object, str], None]

CHROMIUM = Path("/usr/lib/chromium")
CLASSIFIER = {"m": (DATA / "classifier_int8.tflite").read_bytes()}
SMALL = (DATA / "convolution_small.tflite").read_bytes()


def measured(host: Host, job: tuple[Event, dict[str, bytes]], name: str) -> Event:
    host.serve(*job)
    return host.results()[name]


@pytest.fixture
def swiftshader(require: Require, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vulkan on the CPU, which comes with Chromium: the GPU's whole path without a GPU."""
    driver = CHROMIUM / "vk_swiftshader_icd.json"
    require(driver.exists(), "Chromium's SwiftShader is not installed")
    monkeypatch.setenv("VK_DRIVER_FILES", str(driver))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(CHROMIUM))  # its libvulkan.so.1


def test_xnnpack_can_be_switched_off(host: Host, job: Job) -> None:
    host.serve(*job(xnnpack=False))
    for name, result in host.results().items():
        assert result["accelerator"]["ops_delegated"] == 0
        assert result["accelerator"]["xnnpack"] is False
        assert "FULLY_CONNECTED" in result["accelerator"]["ops_left"]
        assert result["quality"]["value"] == 1.0, name


def test_number_formats_of_the_operations(host: Host, job: Job) -> None:
    host.serve(*job())
    types = {name: found["accelerator"]["types"] for name, found in host.results().items()}
    assert "int8" not in types["float"] and types["float"]["float32"] >= 3
    assert "float32" not in types["int8"] and types["int8"]["int8"] >= 3


def test_compiled_model_computes_what_the_interpreter_computes(tmp_path: Path, job: Job) -> None:
    outputs: dict[str, list[np.ndarray]] = {}
    for api in ("interpreter", "compiled"):
        with Host(tmp_path / api / "home") as host:
            host.serve(*job(api=api))
            for name, result in host.results().items():
                assert result["runtime"]["api"] == api
                assert result["quality"]["value"] == 1.0, name
            outputs[api] = [decoded(event) for event in host.all("outputs")]
    for one, other in zip(*outputs.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_compiled_model_with_two_inputs(host: Host) -> None:
    tokens = np.arange(20).reshape(4, 5) % 16
    weights = np.ones((4, 2), np.float32)
    score = 3 * tokens.mean(axis=1, keepdims=True)
    data = npz(x_tokens=tokens, x_weights=weights, y=score)
    model = {"m": (DATA / "two_inputs.tflite").read_bytes()}
    job = make_job(model, data, task="regression", samples=4, api="compiled")
    assert measured(host, job, "m")["quality"]["value"] == pytest.approx(0, abs=1e-4)


@pytest.mark.usefixtures("swiftshader")
def test_gpu_takes_the_model_and_computes_what_the_cpu_computes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((8, 12, 12, 8), dtype=np.float32)
    data = npz(x_image=images, y=np.zeros(8, np.int64))
    with Host(tmp_path / "home") as host:
        job = make_job({"m": SMALL}, data, samples=8, api="compiled", accelerator="gpu")
        result = measured(host, job, "m")
        (output,) = map(decoded, host.all("outputs"))
    assert (result["status"], result["error"]) == ("ok", None)
    found = result["accelerator"]
    assert (found["requested"], found["actual"]) == ("gpu", "gpu")
    assert found["ops_total"] == found["ops_delegated"] > 0
    assert "SwiftShader" in found["adapter"]
    assert "software-gpu" in result["flags"], "a renderer on the CPU is not passed off as a GPU"
    assert not {"accelerator-fallback", "accelerator-partial"} & set(result["flags"])
    interpreter = Interpreter(model_content=SMALL)
    interpreter.allocate_tensors()
    expected = []
    for image in images[:4]:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    np.testing.assert_allclose(output, np.stack(expected), atol=2e-3)
    assert len(np.unique(output[:, 0])) == 4, "every inference has its own input and result"


@pytest.mark.usefixtures("swiftshader")
def test_operations_that_the_gpu_refuses_are_counted_named_and_flagged(tmp_path: Path) -> None:
    model = {"m": (DATA / "two_inputs.tflite").read_bytes()}
    with Host(tmp_path / "home") as host:
        result = measured(host, make_job(model, api="compiled", accelerator="gpu"), "m")
    assert result["status"] == "ok"
    assert result["accelerator"]["ops_total"] == 7
    assert 1 <= result["accelerator"]["ops_delegated"] < 7
    assert any("GATHER" in left for left in result["accelerator"]["ops_left"])
    assert "accelerator-partial" in result["flags"]


@pytest.mark.parametrize("api", ["interpreter", "compiled"])
def test_a_board_without_a_gpu_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "/nowhere.json")
    with Host(tmp_path / "home") as host:
        result = measured(host, make_job({"m": SMALL}, api=api, accelerator="gpu"), "m")
    assert (result["status"], result["error"]["code"]) == ("unsupported", "EP504")
    assert result["accelerator"]["actual"] == "none"
    assert not host.all("samples"), "nothing was measured in its place"


@pytest.mark.parametrize(
    ("ops", "taken", "flag"),
    [("99", 7, None), ("2", 2, "accelerator-partial"), ("0", 0, "accelerator-fallback")],
)
def test_what_an_external_delegate_took(
    host: Host, delegate: Path, ops: str, taken: int, flag: str | None
) -> None:
    asked = f"delegate:{delegate}"
    job = make_job(CLASSIFIER, accelerator=asked, delegate_options={"ops": ops})
    result = measured(host, job, "m")
    found = result["accelerator"]
    assert (result["status"], result["error"]) == ("ok", None)
    assert (found["ops_total"], found["ops_delegated"]) == (7, taken)
    assert found["actual"] == (asked if taken else "cpu")
    flags = {"accelerator-partial", "accelerator-fallback"} & set(result["flags"])
    assert flags == ({flag} if flag else set())


@pytest.mark.parametrize(
    ("library", "options", "reason"),
    [
        ("/nowhere/libedgetpu.so", {}, "No such file"),
        ("libm.so.6", {}, "not a TFLite delegate"),
        (None, {"speed": "max"}, "unknown option"),
    ],
)
def test_a_delegate_that_cannot_be_loaded_is_no_cpu_run(
    host: Host, delegate: Path, library: str | None, options: dict[str, str], reason: str
) -> None:
    asked = f"delegate:{library or delegate}"
    job = make_job(CLASSIFIER, accelerator=asked, delegate_options=options)
    result = measured(host, job, "m")
    assert (result["status"], result["error"]["code"]) == ("unsupported", "EP504")
    assert reason in result["error"]["what"]
    assert not host.all("samples")


def test_an_accelerator_and_an_interface_that_do_not_go_together(host: Host) -> None:
    host.serve(*make_job(CLASSIFIER, runtimes=("tflite-runtime",), api="compiled"))
    (error,) = host.all("error")
    assert error["code"] == "EP405" and "compiled" in error["what"]


def test_an_npu_whose_libraries_are_missing_is_told_and_no_cpu_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel's own dispatch library, without the vendor's libraries that it is made for."""
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    own = Path(ai_edge_litert.__file__).parent / "vendors"
    library = tmp_path / "npu" / "libLiteRtDispatch_Vendor.so"
    library.parent.mkdir()
    found = sorted(own.glob("*/dispatch/libLiteRtDispatch_*.so"))
    library.write_bytes(found[0].read_bytes() if found else b"no library")
    job = make_job(CLASSIFIER, api="compiled", accelerator=f"npu:{library.parent}")
    with Host(tmp_path / "home") as host:
        result = measured(host, job, "m")
        assert (result["status"], result["error"]["code"]) == ("unsupported", "EP504")
        assert "libLiteRtDispatch_Vendor.so cannot be loaded" in result["error"]["what"]
        assert not host.all("samples")


@pytest.mark.parametrize(
    ("api", "reason"), [("compiled", "no LiteRT dispatch library"), ("interpreter", "'npu:")]
)
def test_an_npu_that_is_not_there(host: Host, tmp_path: Path, api: str, reason: str) -> None:
    job = make_job(CLASSIFIER, api=api, accelerator=f"npu:{tmp_path}")
    error = measured(host, job, "m")["error"]
    assert error["code"] == "EP504" and reason in error["what"]


@pytest.fixture
def openvino() -> None:
    """Intel's dispatch library is in LiteRT's wheel; with OpenVINO in the version that it is made
    for it runs, on an NPU or, when told so, on the CPU."""
    library = next(Path(ai_edge_litert.__file__).parent.glob("vendors/intel*/dispatch/*.so"), None)
    if library is None:
        pytest.skip("this ai-edge-litert has no dispatch library of Intel's")
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        pytest.skip(f"OpenVINO in the version of this ai-edge-litert: {error}")


@pytest.mark.usefixtures("openvino")
def test_a_dispatch_library_takes_the_model_and_computes_what_the_cpu_computes(
    tmp_path: Path,
) -> None:
    images = np.random.default_rng(0).random((8, 12, 12, 8), dtype=np.float32)
    data = npz(x_image=images, y=np.zeros(8, np.int64))
    outputs = {}
    for accelerator, options in (("npu", {"graph_backend": "CPU"}), ("cpu", {})):
        with Host(tmp_path / accelerator / "home") as host:
            job = make_job(
                {"m": SMALL},
                data,
                samples=8,
                api="compiled",
                accelerator=accelerator,
                delegate_options=options,
            )
            result = measured(host, job, "m")
            assert (result["status"], result["error"]) == ("ok", None)
            assert result["accelerator"]["actual"] == accelerator
            assert ("software-npu" in result["flags"]) == (accelerator == "npu")
            assert not {"accelerator-fallback", "accelerator-partial"} & set(result["flags"])
            (outputs[accelerator],) = map(decoded, host.all("outputs"))
    np.testing.assert_allclose(outputs["npu"], outputs["cpu"], atol=2e-3)


@pytest.mark.usefixtures("openvino")
def test_a_machine_without_the_npu_is_unsupported_and_no_cpu_run(host: Host) -> None:
    """LiteRT itself would run it on the CPU and call it fully accelerated."""
    result = measured(host, make_job(CLASSIFIER, api="compiled", accelerator="npu"), "m")
    if result["status"] != "ok":  # there may be one
        assert (result["status"], result["error"]["code"]) == ("unsupported", "EP504")
        assert not host.all("samples")


@pytest.mark.usefixtures("openvino")
def test_an_option_that_the_vendor_does_not_have(host: Host) -> None:
    options = {"graph_backend": "TPU"}
    job = make_job(CLASSIFIER, api="compiled", accelerator="npu", delegate_options=options)
    error = measured(host, job, "m")["error"]
    assert error["code"] == "EP504" and "graph_backend=TPU" in error["what"]


SELECTED = "INFO: [compiler_plugin.cc:742] Partitioned subgraph<0>, selected 5 ops, from a total of 7 ops. resulted in 1 partitions.\n"  # noqa: E501
APPLIED = "INFO: [compiled_model.cc:1397] 1 compiler plugins were applied successfully: IntelOpenVINO compiler plugin (ver 0.1.0)\n"  # noqa: E501
FAILED = """INFO: [openvino_compiler_plugin.cc:642] Compiling partition 0 for device NPU
ERROR: [openvino_compiler_plugin.cc:714] Exception in compilation: Exception from core.cpp:117:
Cannot load library "libopenvino_intel_npu_compiler_loader.so"
ERROR: [compiled_model.cc:1400] Plugin errs: IntelOpenVINO compiler plugin (ver 0.1.0) ERROR:
"""


@pytest.mark.parametrize(
    ("log", "left", "taken"),
    [
        (SELECTED + APPLIED, (), 5),
        (SELECTED + FAILED, ("CONV_2D",), 0),
        ("", ("DISPATCH_OP", "SOFTMAX"), 1),
        ("", ("CONV_2D", "SOFTMAX"), 0),
    ],
)
def test_what_went_to_an_npu_is_counted_and_not_believed(
    log: str, left: tuple[str, ...], taken: int
) -> None:
    assert npu.taken(log, Ops(7, 0, {}, left)) == taken
    assert npu.failed(log) == (FAILED in log)


def test_why_an_npu_refused_is_told() -> None:
    error = npu.refused(SELECTED + FAILED, "it failed")
    assert error.code == "EP504"
    assert "Cannot load library" in error.what
    assert npu.device("INFO: [a.cc:1] Using Intel OpenVINO device: CPU\n").endswith("CPU")


@pytest.mark.parametrize(
    ("log", "hint"),
    [
        ("ERROR: No Vulkan adapters found", "Vulkan driver"),
        ("", "Vulkan driver"),
        ("WARNING: the delegate only supports static-sized tensors", "the model"),
    ],
)
def test_the_hint_is_about_what_refused_the_gpu(log: str, hint: str) -> None:
    assert hint in compiled._refused(log, "failed").hint
