"""Ansible inventories as devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepack import inventory
from edgepack.errors import EdgepackError
from edgepack.model import Device

INI = """\
# the lab
jump.lab

[pi4]
pi[01:02].lab ansible_user=pi  # two of them
pi3.lab ansible_host=192.0.2.3 ansible_port=2222 ansible_user='root'

[jetson]
nano ansible_ssh_private_key_file="~/keys/na no" edgepack_profile=jetson-nano

[boards:children]
pi4
jetson

[boards:vars]
ansible_user=edge
ansible_become=true

[all:vars]
ansible_user=everybody
"""

YAML = """\
all:
  vars: {ansible_user: everybody}
  hosts:
    jump.lab:
  children:
    boards:
      vars: {ansible_user: edge, ansible_become: true}
      children:
        pi4:
          hosts:
            pi[01:02].lab: {ansible_user: pi}
            pi3.lab: {ansible_host: 192.0.2.3, ansible_port: 2222, ansible_user: root}
        jetson:
          hosts:
            nano: {ansible_ssh_private_key_file: ~/keys/na no, edgepack_profile: jetson-nano}
"""


def read(tmp_path: Path, text: str, name: str, profile: str | None = "raspberry-pi-4"):
    file = tmp_path / name
    file.write_text(text)
    return inventory.read(file, profile)


@pytest.mark.parametrize(("text", "name"), [(INI, "hosts.ini"), (YAML, "hosts.yml")])
def test_hosts_groups_and_variables(tmp_path: Path, text: str, name: str) -> None:
    found = read(tmp_path, text, name)
    devices = {device.name: device for device in found.devices}
    assert sorted(devices) == ["jump.lab", "nano", "pi01.lab", "pi02.lab", "pi3.lab"]
    assert devices["jump.lab"] == Device(
        name="jump.lab", host="jump.lab", profile="raspberry-pi-4", user="everybody"
    )
    assert devices["pi02.lab"].user == "pi"
    assert devices["pi02.lab"].tags == ("boards", "pi4")
    assert devices["pi3.lab"].host == "192.0.2.3"
    assert devices["pi3.lab"].port == 2222
    assert devices["nano"].user == "edge"
    assert devices["nano"].key == "~/keys/na no"
    assert devices["nano"].profile == "jetson-nano"
    assert not any(device.host_keys for device in found.devices)
    assert "nano: ansible_become is not taken over" in found.left_out


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("pi ansible_host={{lookup}}\n", "h.ini", "Jinja"),
        ('pi ansible_user="{{ who }}"\n', "h.ini", "ansible_user of 'pi'"),
        ("all: {hosts: {pi: {ansible_host: !vault '$ANSIBLE_VAULT;1.1'}}}", "h.yml", "vault"),
        ("all: {hosts: {pi: {ansible_user: [a]}}}", "h.yml", "no plain text"),
    ],
)
def test_what_only_ansible_can_know_is_refused(
    tmp_path: Path, text: str, name: str, says: str
) -> None:
    with pytest.raises(EdgepackError, match=says) as caught:
        read(tmp_path, text, name)
    assert caught.value.code == "EP105"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[a:b]\n", "h.ini"),
        ("pi nonsense\n", "h.ini"),
        ("pi[9:1]\n", "h.ini"),
        ("pi[0:99999999]\n", "h.ini"),
        ("pi ansible_port=ssh\n", "h.ini"),
        ("pi 'unclosed\n", "h.ini"),
        ("a: [1, 2", "h.yml"),
        ("- a\n", "h.yml"),
        ("all: {host: {}}", "h.yml"),
        ("all: !!python/object/apply:os.system [true]", "h.yml"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str, name: str) -> None:
    with pytest.raises(EdgepackError) as caught:
        read(tmp_path, text, name)
    assert caught.value.code == "EP104"
    assert name in str(caught.value.where)


def test_passwords_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    found = read(tmp_path, "pi ansible_ssh_pass=hunter2\n", "h.ini")
    assert found.left_out == ("pi: ansible_ssh_pass is not taken over",)
    assert "hunter2" not in repr(found)


def test_a_host_without_a_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgepackError, match="what kind of hardware 'pi'"):
        read(tmp_path, "pi\n", "h.ini", None)


@pytest.mark.parametrize(
    ("written", "hosts", "port"),
    [
        ("pi:2222", ["pi"], 2222),
        ("pi[08:10].lab:2222", ["pi08.lab", "pi09.lab", "pi10.lab"], 2222),
        ("pi[1:2]", ["pi1", "pi2"], None),
        ("pi:2222 ansible_port=23", ["pi"], 23),
        ("[2001:db8::7]:2222", ["2001:db8::7"], 2222),
        ("2001:db8::7", ["2001:db8::7"], None),
    ],
)
def test_a_port_after_the_name_is_one_as_for_ansible(
    tmp_path: Path, written: str, hosts: list[str], port: int | None
) -> None:
    found = read(tmp_path, f"{written}\n[all:vars]\nansible_user=pi\n", "h.ini").devices
    assert [(each.name, each.host, each.port) for each in found] == [
        (host, host, port) for host in hosts
    ]
    name, _, rest = written.partition(" ")
    line = f"all: {{hosts: {{'{name}': {{{rest.replace('=', ': ')}}}}}}}"
    assert [each.port for each in read(tmp_path, line, "h.yml").devices] == [port] * len(hosts)


@pytest.mark.parametrize("written", ["pi:0", "pi:70000"])
def test_a_port_that_is_none_is_told(tmp_path: Path, written: str) -> None:
    with pytest.raises(EdgepackError, match="ansible_port of 'pi'") as caught:
        read(tmp_path, f"{written}\n", "h.ini")
    assert caught.value.code == "EP104"


def test_a_key_of_this_folder_is_one_from_elsewhere_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = read(tmp_path, "pi ansible_ssh_private_key_file=keys/pi\n", "h.ini").devices
    assert found[0].key == str(tmp_path / "keys" / "pi")


def test_a_host_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgepackError, match=r"'host' cannot be 'pi\.\.local'") as caught:
        read(tmp_path, "pi ansible_host=pi..local\n", "h.ini")
    assert caught.value.code == "EP105"
    assert "h.ini" in str(caught.value.where)
