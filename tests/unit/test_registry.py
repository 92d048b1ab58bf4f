"""devices.toml: what is kept, what is refused, what a pattern chooses."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.registry import Registry

PI4 = Device(
    name="pi4",
    profile="raspberry-pi-4",
    host="10.0.0.4",
    port=2222,
    user="pi",
    key="~/.ssh/boards",
    host_keys=("ssh-ed25519 AAAAC3Nz",),
    tags=("lab", "arm"),
)
NANO = Device(name="nano", profile="jetson-nano", host="10.0.0.5", user="jet", tags=("lab",))

COMMENTED = """\
# the boards of the second floor
[device.pi4]
profile = "raspberry-pi-4"  # with a fan
host = "10.0.0.4"

# do not touch: runs the door
[device.door]
profile = "raspberry-pi-3"
host = "10.0.0.9"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "devices.toml"


@pytest.fixture
def registry(path: Path) -> Registry:
    return Registry(path)


def code(caught: pytest.ExceptionInfo[EdgepackError]) -> str:
    return caught.value.code


def test_local_is_there_without_a_file(registry: Registry) -> None:
    local = registry.get("local")
    assert (local.transport, local.profile) == ("local", "desktop")
    assert registry.all() == [local]


def test_a_device_comes_back_as_it_was_added(registry: Registry, path: Path) -> None:
    registry.add(PI4)
    registry.add(NANO)
    assert registry.get("pi4") == PI4
    assert Registry(path).all()[1:] == [PI4, NANO]
    assert path.stat().st_mode & 0o777 == 0o600
    assert {file.name for file in path.parent.iterdir()} <= {path.name, path.name + ".lock"}


def test_edits_keep_comments_and_the_other_devices(registry: Registry, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(COMMENTED)
    registry.add(NANO)
    registry.replace(replace(registry.get("pi4"), host_keys=("ssh-ed25519 BBBB",)))
    text = path.read_text()
    for comment in ("# the boards of the second floor", "# with a fan", "# do not touch"):
        assert comment in text
    assert registry.get("pi4").host_keys == ("ssh-ed25519 BBBB",)
    registry.remove("nano")
    assert [device.name for device in registry.all()] == ["local", "pi4", "door"]


def test_a_taken_name_is_refused(registry: Registry) -> None:
    registry.add(PI4)
    with pytest.raises(EdgepackError) as caught:
        registry.add(replace(PI4, host="other"))
    assert code(caught) == "EP107"
    assert registry.get("pi4") == PI4


@pytest.mark.parametrize("name", ["local", "", "a b", "-rf", "a/b", "a;b", "ä", "tag:x", "pi*"])
def test_unfit_names_are_refused(registry: Registry, path: Path, name: str) -> None:
    with pytest.raises(EdgepackError) as caught:
        registry.add(replace(PI4, name=name))
    assert code(caught) == "EP105"
    assert not path.exists()


def test_an_unknown_device_names_the_nearest(registry: Registry) -> None:
    registry.add(PI4)
    for act in (registry.get, registry.remove, lambda name: registry.select([name])):
        with pytest.raises(EdgepackError) as caught:
            act("pi5")
        assert code(caught) == "EP101"
        assert "'pi4'" in caught.value.hint


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["pi4"], ["pi4"]),
        (["p*"], ["pi4", "pi5"]),
        (["tag:lab"], ["pi4", "nano"]),
        (["profile:jetson-*"], ["nano"]),
        (["nano", "tag:lab", "local"], ["nano", "pi4", "local"]),
        (["*"], ["local", "pi4", "nano", "pi5"]),
    ],
)
def test_patterns_choose_each_device_once(
    registry: Registry, patterns: list[str], names: list[str]
) -> None:
    for device in (PI4, NANO, replace(PI4, name="pi5", tags=())):
        registry.add(device)
    assert [device.name for device in registry.select(patterns)] == names


@pytest.mark.parametrize("pattern", ["tag:none", "profile:pi", "x*"])
def test_a_pattern_that_matches_nothing_is_an_error(registry: Registry, pattern: str) -> None:
    registry.add(PI4)
    with pytest.raises(EdgepackError) as caught:
        registry.select([pattern])
    assert code(caught) == "EP101"


@pytest.mark.parametrize(
    "text",
    [
        "[device.x\n",
        "[devices.x]\nprofile='a'\n",
        "[device.x]\nhost='a'\n",
        "[device.x]\nprofile='a'\nport='22'\n",
        "[device.x]\nprofile='a'\nport=70000\n",
        "[device.x]\nprofile='a'\ntags='lab'\n",
        "[device.x]\nprofile='a'\nhots='b'\n",
        "[device.local]\nprofile='a'\n",
        "[device]\nx = 1\n",
    ],
)
def test_a_malformed_file_is_an_error_and_stays(registry: Registry, path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    for act in (registry.all, lambda: registry.add(PI4)):
        with pytest.raises(EdgepackError) as caught:
            act()
        assert code(caught) == "EP104"
        assert caught.value.where == str(path)
    assert path.read_text() == text


def test_many_writers_lose_nothing(path: Path) -> None:
    names = [f"board{number}" for number in range(12)]
    threads = [
        threading.Thread(target=Registry(path).add, args=(replace(PI4, name=name),))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {device.name for device in Registry(path).all()} == {"local", *names}
