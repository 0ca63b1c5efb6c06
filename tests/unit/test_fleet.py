"""The fleet file: its mistakes with their lines, and which devices a word means."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest

from ortolan.errors import RecipeError
from ortolan.recipe.fleet import chosen, load_fleet
from ortolan.recipe.jsonschema import schemas

GOOD = """\
[device.kitchen]
host = "pi@pi5"
target = "raspberry-pi-5"
labels = ["lab", "arm"]
python = "~/venv/bin/python"

[device.line-3]
host = "orin"
target = "jetson-orin"
labels = ["lab"]
"""
TARGETS = ["jetson-orin", "raspberry-pi-5"]


def write(folder: Path, text: str) -> Path:
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes" / "fleet.toml").write_text(text)
    return folder


def test_words_mean_devices_labels_all_or_hosts(tmp_path: Path) -> None:
    fleet = load_fleet(write(tmp_path, GOOD), TARGETS)

    def names(word: str) -> list[str]:
        return [one.name for one in chosen(fleet, word)]

    assert names("all") == names("lab") == ["kitchen", "line-3"]
    assert names("arm") == names("kitchen") == ["kitchen"]
    (one,) = chosen(fleet, "kitchen")
    assert (one.host, one.python, one.target) == ("pi@pi5", "~/venv/bin/python", "raspberry-pi-5")
    (other,) = chosen(fleet, "me@elsewhere")
    assert (other.name, other.host, other.python, other.target) == ("me@elsewhere", "me@elsewhere", "python3", "")
    assert [one.meant for word in ("kichen", "me@elsewhere") for one in chosen(fleet, word)] == ["Did you mean kitchen?", ""]
    groups = {word: {one.group for one in chosen(fleet, word)} for word in ("all", "arm", "kitchen", "me@elsewhere")}
    assert groups == {"all": {True}, "arm": {True}, "kitchen": {False}, "me@elsewhere": {False}}


@pytest.mark.parametrize(
    ("word", "machine"),
    [("emulated", "arm64"), ("emulated:arm64", "arm64"), ("emulated:riscv64", "riscv64"), ("me@emulated", "")],
)
def test_one_word_means_the_emulated_arm(tmp_path: Path, word: str, machine: str) -> None:
    (one,) = chosen(load_fleet(tmp_path, TARGETS), word)
    assert (one.name, one.machine) == (word, machine)
    fleet = load_fleet(write(tmp_path, GOOD.replace('"orin"', f'"{word}"')), TARGETS)
    assert chosen(fleet, "line-3")[0].machine == machine


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('host = "orin"\n', ""), ('host = "orin"', 'host = "-x"'), ("labels", "lables"), ("[device.line-3]", '[device."a b"]'),
        ("[device.line-3]", "[devices.line-3]"), ('"~/venv/bin/python"', "3"),
    ],
)  # fmt: skip
def test_editors_see_mistakes_by_the_schema(old: str, new: str) -> None:
    checks = jsonschema.Draft202012Validator(schemas()["fleet"])
    assert checks.is_valid(tomllib.loads(GOOD))
    assert old in GOOD
    assert not checks.is_valid(tomllib.loads(GOOD.replace(old, new)))


def test_without_the_file_there_are_no_devices(tmp_path: Path) -> None:
    assert load_fleet(tmp_path, TARGETS).device == {}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'target = "jetson-orin"',
            'target = "jetson-orn"',
            "9: device.line-3.target: no target is named 'jetson-orn'. Did you mean jetson-orin?",
        ),
        ('host = "orin"\n', "", "7: device.line-3.host: missing. Add host = a string"),
        ('host = "orin"', 'host = "-oProxyCommand=x"', "8: device.line-3.host: '-oProxyCommand=x' is not a host"),
        ('host = "orin"', 'host = "two words"', "8: device.line-3.host: 'two words' is not a host"),
        ('labels = ["lab"]', 'labels = ["lab", "lab"]', '10: device.line-3.labels[1]: the label "lab" stands here twice'),
        ('labels = ["lab"]', 'labels = ["all"]', '10: device.line-3.labels[0]: "all" means every device'),
        ('labels = ["lab"]', 'lables = ["lab"]', "10: device.line-3.lables: unknown key. Did you mean labels?"),
        ("[device.line-3]", "[device.lab]", "7: device.lab: lab is also a label"),
        ("[device.line-3]", "[device.all]", '7: device.all: "all" means every device'),
        ("[device.line-3]", "[device.this-machine]", '7: device.this-machine: "this-machine" is what results of this machine'),
        ("[device.line-3]", "[device.emulated]", '7: device.emulated: "emulated" means the ARM'),
        ("[device.line-3]", '[device."a b"]', "7: device.'a b': 'a b' is not a name"),
        ("[device.line-3]", "[devices.line-3]", "7: devices: unknown key. Did you mean device?"),
        ('python = "~/venv/bin/python"', "python = 3", "5: device.kitchen.python: wants a string, found the integer 3"),
        ('python = "~/venv/bin/python"', 'python = "-c"', "5: device.kitchen.python: '-c' is not an interpreter"),
        ('host = "pi@pi5"', "host = pi@pi5", "2: column 8: not valid TOML"),
    ],
)
def test_mistakes_have_their_lines(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(RecipeError) as raised:
        load_fleet(write(tmp_path, GOOD.replace(old, new)), TARGETS)
    assert f"fleet.toml:{said}" in raised.value.what


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('"orin"', '"-x"').replace("3]", "3]\nnew = 1").replace('"~/venv/bin/python"', '""')
    with pytest.raises(RecipeError) as raised:
        load_fleet(write(tmp_path, text), TARGETS)
    assert len(raised.value.what.splitlines()) == 3
