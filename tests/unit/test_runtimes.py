"""Which runtime and accelerator a command asks for, and what the device is told."""

from __future__ import annotations

import itertools
import json

import pytest

from edgepack import config
from edgepack.analysis import like
from edgepack.cli.runtimes import adapted
from edgepack.errors import EdgepackError
from edgepack.fleet.messages import job_message
from edgepack.model import Accelerator, Device, Job, Profile, RuntimeSpec
from tests import builders

NOTHING = {"runtime": None, "accelerator": None, "xnnpack": None, "delegate_options": ()}


def asked(name: str = "desktop", **options: object) -> Profile:
    return adapted(config.load_profile(name), **{**NOTHING, **options})


def told(profile: Profile, **fields: str) -> dict:
    device = Device(name="d", profile=profile.name, transport="local", **fields)
    job = Job(job_id="j", device=device, profile=profile, variants=(), data=None, blobs=())
    return json.loads(job_message(job))


def test_nothing_asked_for_is_the_profile() -> None:
    assert asked() == config.load_profile("desktop")
    message = told(asked())
    assert (message["accelerator"], message["xnnpack"]) == ("cpu", True)
    assert {runtime["api"] for runtime in message["runtimes"]} == {"interpreter"}


def test_options_go_before_the_profile() -> None:
    profile = asked(
        runtime="ai-edge-litert/compiled==2.3.0",
        accelerator="delegate:/usr/lib/libedgetpu.so.1",
        delegate_options=("device=usb", "a=b=c"),
        xnnpack=False,
    )
    message = told(profile)
    wanted = {"name": "ai-edge-litert", "version": "2.3.0", "api": "compiled", "exact": True}
    assert message["runtimes"] == [wanted]
    assert message["accelerator"] == "delegate:/usr/lib/libedgetpu.so.1"
    assert message["delegate_options"] == {"device": "usb", "a": "b=c"}
    assert message["xnnpack"] is False


def test_the_version_that_was_asked_for_goes_before_the_provisioned_one() -> None:
    brought = {"runtime": "ai-edge-litert==2.2.0", "runtime_digest": "0" * 64}
    message = told(asked(runtime="ai-edge-litert==2.3.0"), **brought)
    assert (message["runtimes"][0]["version"], message["sys_path"]) == ("2.3.0", [])
    message = told(asked(runtime="ai-edge-litert==2.2.0"), **brought)
    assert message["sys_path"] == [f"runtime:{'0' * 64}"]
    message = told(asked(runtime="ai-edge-litert"), **brought)
    assert (message["runtimes"][0]["version"], message["runtimes"][0]["exact"]) == ("2.2.0", False)


def test_the_c_interface_can_be_asked_for() -> None:
    message = told(asked(runtime="ai-edge-litert/c"))
    (runtime,) = message["runtimes"]
    assert (runtime["api"], runtime["exact"]) == ("c", False)


@pytest.mark.parametrize("name", ["jetson", "jetson-orin-nano", "jetson-xavier-nx"])
def test_a_jetson_is_asked_for_its_gpu(name: str) -> None:
    message = told(asked(name))
    assert message["accelerator"] == "gpu"
    assert {runtime["api"] for runtime in message["runtimes"]} == {"compiled"}
    assert told(asked(name, accelerator="cpu"))["runtimes"][0]["api"] == "interpreter"


@pytest.mark.parametrize("accelerator", ["npu", "npu:/vendor/dispatch"])
def test_an_npu_is_reached_through_the_compiled_interface(accelerator: str) -> None:
    message = told(asked(accelerator=accelerator, delegate_options=("graph_backend=NPU",)))
    assert message["accelerator"] == accelerator
    assert message["delegate_options"] == {"graph_backend": "NPU"}
    assert {runtime["api"] for runtime in message["runtimes"]} == {"compiled"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"accelerator": "tpu"}, "unknown accelerator 'tpu'"),
        ({"accelerator": "delegate:"}, "unknown accelerator"),
        ({"accelerator": "npu:"}, "unknown accelerator"),
        ({"delegate_options": ("device=usb",)}, "no effect"),
        ({"accelerator": "gpu", "delegate_options": ("a=b",)}, "no effect"),
        ({"accelerator": "delegate:/x.so", "delegate_options": ("device",)}, "KEY=VALUE"),
        ({"runtime": "ai-edge-litert/fast"}, "no interface 'fast'"),
        ({"runtime": "tensorflow/c"}, "tensorflow has no interface 'c'"),
        ({"runtime": "nonsense"}, "unknown runtime 'nonsense'"),
        ({"runtime": "tflite-runtme==2.14.0"}, "unknown runtime"),
    ],
)
def test_what_there_is_not_is_refused(options: dict, said: str) -> None:
    with pytest.raises(EdgepackError, match=said) as caught:
        asked(**options)
    assert caught.value.code == "EP105"


def test_an_interface_or_xnnpack_makes_two_measurements_unlike() -> None:
    base = builders.measurement("a")
    others = [
        builders.measurement(
            "a", runtime=RuntimeSpec(name="ai-edge-litert", version="2.3.0", api=api)
        )
        for api in ("compiled", "c")
    ]
    for one, other in itertools.combinations([base, *others], 2):
        assert [each.what for each in like.differences(one, other)] == ["runtime"]
    assert [like.runtime(each) for each in others] == [
        "ai-edge-litert/compiled 2.3.0",
        "ai-edge-litert/c 2.3.0",
    ]
    plain = builders.measurement("a", accelerator=Accelerator(xnnpack=False))
    (found,) = like.differences(base, plain)
    assert str(found) == "accelerator cpu without XNNPACK instead of cpu"
