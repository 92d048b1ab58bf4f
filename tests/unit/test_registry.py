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
    registry.update("pi4", host_keys=("ssh-ed25519 BBBB",))
    text = path.read_text()
    for comment in ("# the boards of the second floor", "# with a fan", "# do not touch"):
        assert comment in text
    assert registry.get("pi4").host_keys == ("ssh-ed25519 BBBB",)
    registry.remove("nano")
    assert [device.name for device in registry.all()] == ["local", "pi4", "door"]


def test_an_update_leaves_what_others_changed_meanwhile(registry: Registry, path: Path) -> None:
    """Between reading a device and writing of it, provisioning takes minutes."""
    registry.add(PI4)
    Registry(path).update("pi4", host_keys=("ssh-ed25519 NEWER",), user=None)
    path.write_text(path.read_text().replace("2222", "22  # moved"))
    registry.update("pi4", runtime="tflite-runtime==2.14.0", runtime_digest="ab")
    wanted = replace(PI4, host_keys=("ssh-ed25519 NEWER",), user=None, port=22)
    assert registry.get("pi4") == replace(
        wanted, runtime="tflite-runtime==2.14.0", runtime_digest="ab"
    )
    assert "# moved" in path.read_text()
    with pytest.raises(EdgepackError) as caught:
        registry.update("gone", runtime="x")
    assert code(caught) == "EP101"


def test_a_file_that_breaks_while_its_lock_is_awaited_is_an_error(
    registry: Registry, path: Path
) -> None:
    import filelock

    registry.add(PI4)
    caught: list[EdgepackError] = []

    def act() -> None:
        try:
            registry.update("pi4", runtime="x")
        except EdgepackError as error:
            caught.append(error)

    thread = threading.Thread(target=act)
    with filelock.FileLock(f"{path}.lock"):
        thread.start()
        thread.join(0.2)
        path.write_text("[device.x\n")
    thread.join()
    assert [error.code for error in caught] == ["EP104"]
    assert path.read_text() == "[device.x\n"


def test_a_linked_file_is_written_through_the_link(registry: Registry, path: Path) -> None:
    real = path.parent.parent / "dotfiles" / "boards.toml"
    path.parent.mkdir()
    path.symlink_to(real)
    registry.add(PI4)
    registry.update("pi4", user="me")
    assert path.is_symlink()
    assert Registry(real).get("pi4").user == "me"
    assert list(path.parent.iterdir()) == [path]


def test_all_are_removed_or_none(registry: Registry) -> None:
    registry.add(PI4)
    registry.add(NANO)
    with pytest.raises(EdgepackError) as caught:
        registry.remove("pi4", "nosuch", "nano")
    assert code(caught) == "EP101"
    assert registry.all()[1:] == [PI4, NANO]
    registry.remove("pi4", "nano", "pi4")
    assert len(registry.all()) == 1


@pytest.mark.parametrize(
    ("spec", "name", "user"),
    [
        ("bob@127.0.0.1:1", "two", "bob"),
        ("ann@127.0.0.1:1", "open", "ann"),
        ("127.0.0.1:1", "open", None),
        ("127.0.0.1", "open", None),
        ("two", "two", "bob"),
        ("ann@10.0.0.9", None, None),
    ],
)
def test_a_gateway_is_entered_as_the_user_that_is_named(
    registry: Registry, spec: str, name: str | None, user: str | None
) -> None:
    local = Device(name="open", profile="desktop", host="127.0.0.1", port=1)
    registry.add(local)
    registry.add(replace(local, name="two", user="bob"))
    registry.add(replace(local, name="eve", host="10.0.0.9", user="eve"))
    if name is None:
        with pytest.raises(EdgepackError, match="jump host"):
            registry.gateway(spec)
    else:
        found = registry.gateway(spec)
        assert (found.name, found.user) == (name, user)


@pytest.mark.parametrize("host", ["pi..local", ".local", "a" * 64 + ".local", "-x", "a b", "a;b"])
def test_what_is_no_host_is_refused(registry: Registry, path: Path, host: str) -> None:
    with pytest.raises(EdgepackError) as caught:
        registry.add(replace(PI4, host=host))
    assert code(caught) == "EP105"
    registry.add(PI4)
    with pytest.raises(EdgepackError) as caught:
        registry.update("pi4", host=host)
    assert code(caught) == "EP105"
    path.write_text(path.read_text().replace(str(PI4.host), host))
    with pytest.raises(EdgepackError, match="'host' cannot be") as caught:
        registry.all()
    assert code(caught) == "EP104"


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
