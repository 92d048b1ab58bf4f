"""Settings, folders and profiles as a user meets them."""

import pytest

from edgepack import config
from edgepack.errors import EdgepackError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPACK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGEPACK_STORE", raising=False)
    monkeypatch.delenv("EDGEPACK_DEVICES", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_home_moves_everything(home):
    for place in (config.config_dir(), config.cache_dir(), config.data_dir()):
        assert place.is_relative_to(home / "home")
    assert str(home / "home") in config.store_url()


def test_project_file_wins_over_the_users(home):
    (home / "home" / "config").mkdir(parents=True)
    (home / "home" / "config" / "config.toml").write_text('[run]\nseed = 1\ndata = "a.npz"\n')
    (home / "edgepack.toml").write_text("[run]\nseed = 2\n")
    assert config.defaults() == {"run": {"seed": 2, "data": "a.npz"}}


def test_pyproject_table_is_read(home):
    (home / "pyproject.toml").write_text('[tool.edgepack.run]\ndevice = ["pi4"]\n')
    assert config.defaults() == {"run": {"device": ["pi4"]}}


@pytest.mark.parametrize(
    ("text", "named"),
    [("[rnu]\n", "Did you mean 'run'"), ("[run]\nsede = 1\n", "Did you mean 'seed'"), ("[run", "")],
)
def test_a_bad_settings_file_is_one_coded_error(home, text, named):
    (home / "edgepack.toml").write_text(text)
    with pytest.raises(EdgepackError) as caught:
        config.defaults()
    assert caught.value.code == "EP104"
    assert caught.value.where == "edgepack.toml"
    assert named in caught.value.hint


SHIPPED = {
    "desktop",
    "raspberry-pi-3",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "raspberry-pi-zero-2w",
    "jetson-nano",
    "jetson-xavier-nx",
    "jetson-orin-nano",
}


def test_every_shipped_profile_loads():
    assert set(config.profile_names()) >= SHIPPED
    for name in config.profile_names():
        profile = config.load_profile(name)
        assert profile.runtimes[0].name == "ai-edge-litert"
        assert profile.threads >= 1


def test_extends_fills_in_what_is_not_said(home):
    folder = config.config_dir() / "profiles"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        'extends = "raspberry-pi-zero-2w"\nthreads = 2\n[budget]\nlatency_p90_ms = 5.0\n'
    )
    profile = config.load_profile("mine")
    assert profile.threads == 2
    assert profile.arch == ("aarch64", "armv7l")
    assert profile.budget == {"memory_bytes": 150_000_000, "latency_p90_ms": 5.0}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('extends = "mine"', "circle"),
        ('extends = "desktop"\nthread = 2', "thread"),
        ('extends = "desktop"\nthreads = "two"', "threads"),
        ('title = "x"', "missing"),
        ('extends = "desktop"\nruntimes = [{ name = 3 }]', "runtimes.name"),
        ('extends = "desktop"\nruntimes = ["ai-edge-litert"]', "runtimes"),
        ('extends = "desktop"\narch = [3]', "arch"),
        ('extends = "desktop"\nruntimes = [{ name = "x", exact = true }]', "no 'version'"),
        ("extends = 3", "extends"),
        ('extends = "raspberry-pi-4"\nbudget = 3', "budget"),
        ('extends = "desktop"\nthreads = true', "threads"),
        ('extends = "desktop"\nruntimes = [{ nmae = "x" }]', "runtime"),
    ],
)
def test_a_bad_profile_is_one_coded_error(home, text, word):
    folder = config.config_dir() / "profiles"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(text)
    with pytest.raises(EdgepackError) as caught:
        config.load_profile("mine")
    assert caught.value.code == "EP104"
    assert word in caught.value.what


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(EdgepackError) as caught:
        config.load_profile("raspberrypi-4")
    assert caught.value.code == "EP103"
    assert "raspberry-pi-4" in caught.value.hint
