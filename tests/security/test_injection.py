"""Hostile words never become shell words, paths elsewhere, or markup: 1,200 drawn cases."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgepack import addresses, agent, config, package
from edgepack.agent import AgentBundle
from edgepack.cli import main as entry
from edgepack.errors import EdgepackError
from edgepack.model import Device
from edgepack.package import signing
from edgepack.registry import check_name
from edgepack.transport.ssh.settings import target

# Bytes that mean something to some shell, in runs and among letters.
_SHELL = st.text(
    st.sampled_from("';\"`$(){}[]<>|&*?!~#%^\\ \t\n=,:@-+.abc/"), min_size=1, max_size=30
)
_ANY = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1)
HOSTILE = _SHELL | _ANY | st.sampled_from(
    ["$(touch marker)", "`touch marker`", "'; touch marker; '", "\n touch marker \n", "-c", "--",
     "x'$(touch marker)'", "!!", "%s%n", "~root", "../../x", "{a,b}", "\\'; touch marker #"]
)  # fmt: skip
SHELLS = [shell for shell in ("sh", "bash", "dash", "fish", "zsh", "tcsh") if shutil.which(shell)]
_BUNDLE = AgentBundle(sha256="0" * 64, data=b"x")


def said_by(shell: str, python: str, folder: Path) -> bytes:
    """What the start line prints when the device's login shell is this one."""
    line = agent.command(Device(name="d", profile="p", python=python), _BUNDLE)
    # On the path is a "python" that is found only by exactly its own name.
    done = subprocess.run(
        [shell, "-c", line], cwd=folder, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
    )
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(python=HOSTILE)
def test_a_devices_python_is_one_word_in_every_shell(
    shell: str, tmp_path: Path, python: str
) -> None:
    """Such a Python is not there; that, and nothing else, is what the line finds."""
    said = said_by(shell, f"/nowhere/{python}", tmp_path)
    assert b'"error":"no-python"' in said, said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_python_with_a_hostile_name_is_run_under_that_name(shell: str, tmp_path: Path) -> None:
    """The quoting loses nothing: the line starts exactly the file that was named."""
    for number, name in enumerate(("a b", "it's", "$(x)", 'q"q', "new\nline", "back\\slash", "!!")):
        folder = tmp_path / str(number)
        folder.mkdir()
        script = folder / name
        script.write_text("#!/bin/sh\nprintf 'I am it'\n")
        script.chmod(0o755)
        assert said_by(shell, str(script), tmp_path).endswith(b"I am it"), name


@settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_a_hostile_device_name_is_refused_or_plain(name: str) -> None:
    try:
        check_name(name)
    except EdgepackError as error:
        assert error.code == "EP105"
    else:
        assert name.replace(".", "").replace("_", "").replace("-", "").isalnum()
        assert name.isascii() and "/" not in name and not name.startswith(("-", "."))


@settings(max_examples=300, deadline=None)
@example(name="bom.cdx.json", digest=":")
@given(name=HOSTILE, digest=HOSTILE)
def test_a_hostile_manifest_names_no_file_elsewhere(name: str, digest: str) -> None:
    from edgepack.package import files

    manifest = {
        "schema": package.SCHEMA,
        "source": {"name": name, "sha256": digest},
        "variants": [],
        "data": None,
        "tools": {name: digest},
        "files": {name: digest},
    }
    with pytest.raises(EdgepackError) as caught:
        files.parse(json.dumps(manifest).encode(), Path("manifest.json"))
    assert caught.value.code == "EP208"


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=HOSTILE)
def test_a_hostile_release_name_is_refused_before_anything_is_signed(name: str) -> None:
    from edgepack.model import Release

    try:
        signing._check_release(Release(name=name, counter=1))
    except EdgepackError as error:
        assert error.code == "EP105"
    else:
        assert "/" not in name and not name.startswith((".", "-"))


# ---------------------------------------------------------------- this machine's own shell


@pytest.fixture
def proxied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a user whose every connection goes through a ProxyCommand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ssh_config").write_text("Host *\n ProxyCommand cat %h %p %r\n")
    monkeypatch.setenv("EDGEPACK_SSH_CONFIG", str(tmp_path / "ssh_config"))
    return tmp_path


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(field="host", word="$(touch${IFS}marker)")
@example(field="user", word="pi\nProxyCommand touch marker; cat")
@example(field="jump", word="gate\nProxyCommand touch marker; cat")
@given(field=st.sampled_from(["user", "host", "jump"]), word=HOSTILE)
def test_a_hostile_user_host_or_jump_runs_nothing_here(
    proxied: Path, field: str, word: str
) -> None:
    device = replace(Device(name="d", profile="p", host="h", user="u"), **{field: word})
    try:
        found = target(device)
    except EdgepackError as error:
        assert error.code == "EP105"
        return
    if found.jump is not None:
        assert field == "jump" and found.command is None
        return
    assert found.command is not None
    words = shlex.split(found.command, comments=True)
    assert words == found.command.split(" ") and len(words) == 4
    assert not set(found.command) & set("$`;&|<>()")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ansible_user", "pi\nProxyCommand touch marker; cat"),
        ("ansible_host", "$(touch${IFS}marker)"),
        ("ansible_host", "-oProxyCommand=touch${IFS}marker"),
    ],
)
def test_a_hostile_inventory_registers_and_runs_nothing(
    proxied: Path, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    def refusal(*words: str) -> str:
        assert entry._run(["device", *words]) == 2
        return capsys.readouterr().err

    (proxied / "hosts.yml").write_text(
        json.dumps({"all": {"hosts": {"pi": {"ansible_host": "192.0.2.1", variable: value}}}})
    )
    assert "EP105" in refusal("import", "hosts.yml", "--profile", "desktop")
    # The same words, written into devices.toml by hand, or by whoever shares one.
    table = {"profile": "desktop", "host": "192.0.2.1", variable.partition("_")[2]: value}
    file = config.devices_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[device.pi]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items()))
    assert "EP104" in refusal("trust", "pi")
    file.unlink()
    option = f"--{variable.partition('_')[2]}={value}"
    assert "EP105" in refusal("add", "pi", "--profile", "desktop", option)
    assert not (proxied / "marker").exists()


def test_what_the_ssh_configuration_yields_is_looked_at_before_a_shell_sees_it(
    proxied: Path,
) -> None:
    """Whatever way it came: OpenSSH 9.6 looks there, too."""
    for line in ("HostName $(touch${IFS}marker)", "User u;touch${IFS}marker"):
        (proxied / "ssh_config").write_text(f"Host *\n {line}\n ProxyCommand cat %h %p %r\n")
        with pytest.raises(EdgepackError, match="beside a ProxyCommand") as caught:
            target(Device(name="d", profile="p"))
        assert caught.value.code == "EP104"


@pytest.mark.parametrize(
    ("host", "user", "jump"),
    [
        ("fe80::1%eth0", "pi", "bob@[2001:db8::1]:2222"),
        ("[2001:db8::1]", "first.last", "gate, ssh://me@other:22"),
        ("b\u00fccher.example", "me@corp.example", "gate"),
        ("10.0.0.4", "svc_pi-2+x", None),
    ],
)
def test_proper_addresses_pass(host: str, user: str, jump: str | None) -> None:
    assert addresses.trouble(Device(name="d", profile="p", host=host, user=user, jump=jump)) is None
