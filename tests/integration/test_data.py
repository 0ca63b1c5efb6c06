"""Data sets become checked model inputs, whatever kind they are and however they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from conftest import RunStage
from ortolan.stages.lib import data
from ortolan.stages.lib.refused import Refused
from quantise_models import IMAGE, Shape, calibration, convolutions, generator, graph, images, npz, save, value


def read(folder: Path, spec: dict[str, Any], *inputs: dict[str, Any]) -> list[data.Sample]:
    return list(data.samples(folder, spec, inputs or [IMAGE]))


def input_(
    name: str, shape: list[int | str], dtype: str = "float32", limits: tuple[float, float] | None = None
) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape, "range": limits}


def refusal(folder: Path, spec: dict[str, Any], *inputs: dict[str, Any]) -> str:
    with pytest.raises(Refused) as caught:
        read(folder, spec, *inputs)
    return f"{caught.value.what} | {caught.value.why} | {caught.value.hint}"


# --- how entries become samples ----------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["batch", 1])
def test_a_leading_axis_of_one(tmp_path: Path, axis: int | str) -> None:
    found = read(tmp_path, npz(tmp_path, image=images(3), label=np.array([4, 5, 6])), input_("image", [axis, 1, 8, 8]))
    assert [sample.label for sample in found] == [4, 5, 6]
    np.testing.assert_array_equal(np.concatenate([sample.feeds["image"] for sample in found]), images(3))


def test_a_fixed_batch_stacks_entries_and_leaves_the_rest(tmp_path: Path) -> None:
    found = read(tmp_path, npz(tmp_path, image=images(7), label=np.arange(7)), input_("image", [3, 1, 8, 8]))
    assert [sample.label.tolist() for sample in found] == [[0, 1, 2], [3, 4, 5]]  # type: ignore[union-attr]
    np.testing.assert_array_equal(found[1].feeds["image"], images(7)[3:6])


def test_too_few_entries_for_one_batch(tmp_path: Path) -> None:
    text = refusal(tmp_path, npz(tmp_path, image=images(2)), input_("image", [3, 1, 8, 8]))
    assert "it has 2 entries, and the model takes 3 at a time" in text


def test_entries_with_the_rank_of_the_input_are_whole(tmp_path: Path) -> None:
    """A recurrent model's state has no batch axis first."""
    spec = npz(tmp_path, image=images(4), state=np.zeros((4, 2, 1, 16), np.float32))
    found = read(tmp_path, spec, input_("image", [1, 1, 8, 8]), input_("state", [2, 1, 16]))
    assert len(found) == 4
    assert found[0].feeds["state"].shape == (2, 1, 16)


def test_scalars_and_sequences(tmp_path: Path) -> None:
    spec = npz(tmp_path, gain=np.arange(3, dtype=np.float32), tokens=np.ones((3, 5), np.int64))
    found = read(tmp_path, spec, input_("gain", []), input_("tokens", ["time"], "int64"))
    assert found[2].feeds["gain"] == 2
    assert found[2].feeds["tokens"].shape == (5,)


def test_inputs_that_stack_differently(tmp_path: Path) -> None:
    spec = npz(tmp_path, image=images(4), state=np.zeros((4, 2, 16), np.float32))
    text = refusal(tmp_path, spec, input_("image", [2, 1, 8, 8]), input_("state", [2, 16]))
    assert "'image' takes 2" in text


def test_big_endian_values_keep_their_meaning(tmp_path: Path) -> None:
    found = read(tmp_path, npz(tmp_path, image=images(2).astype(">f4")))
    np.testing.assert_array_equal(found[1].feeds["image"], images(2)[1:])


# --- what is refused ---------------------------------------------------------------------------------------------


def test_an_absent_array(tmp_path: Path) -> None:
    assert "data.npz has no array 'image' | input 'image' needs it; the file holds 'imge'" in refusal(
        tmp_path, npz(tmp_path, imge=images(2))
    )


def test_wrong_dtype(tmp_path: Path) -> None:
    text = refusal(tmp_path, npz(tmp_path, image=images(2).astype(np.float64)))
    assert text.startswith(
        "data.npz, sample 0: 'image' has dtype float64 | the model takes float32 | save array.astype('float32')"
    )


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 1, 8, 9), (3, 8, 8, 1), (3, 1, 1, 1, 8, 8), (3,)])
def test_wrong_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    text = refusal(tmp_path, npz(tmp_path, image=np.zeros(shape, np.float32)))
    assert f"data.npz, sample 0: 'image' has shape {list(shape[1:])} | the model takes [1, 8, 8]" in text


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path: Path, bad: float) -> None:
    array = images(3)
    array[2, 0, 4, 5] = bad
    text = refusal(tmp_path, npz(tmp_path, image=array))
    assert f"sample 2: 'image' is not finite | 1 of 64 values are NaN or infinite, the first at [0, 4, 5]: {bad}" in text


def test_out_of_range(tmp_path: Path) -> None:
    array = np.zeros((3, 1, 8, 8), np.float32)
    array[1, 0, 0, 0] = 255
    text = refusal(tmp_path, npz(tmp_path, image=array), input_("image", ["batch", 1, 8, 8], limits=(0, 1)))
    assert "sample 1: 'image' is out of range | its values lie in [0, 255], the recipe says [0, 1]" in text


def test_range_leaves_room_for_rounding(tmp_path: Path) -> None:
    spec = npz(tmp_path, image=np.full((1, 1, 8, 8), np.nextafter(np.float32(1), np.float32(2)), np.float32))
    assert len(read(tmp_path, spec, input_("image", ["batch", 1, 8, 8], limits=(0, 1)))) == 1


def test_an_empty_set(tmp_path: Path) -> None:
    assert "data.npz holds no sample | it has no entries" in refusal(tmp_path, npz(tmp_path, image=images(0)))


def test_labels_that_are_too_few(tmp_path: Path) -> None:
    text = refusal(tmp_path, npz(tmp_path, image=images(3), label=np.arange(2)))
    assert "data.npz: the arrays differ in their number of samples | 'image' has 3, 'label' has 2" in text


# --- callables ---------------------------------------------------------------------------------------------------


def test_a_generator_with_labels_and_neighbours(tmp_path: Path) -> None:
    code = "import numpy, near\ndef feeds():\n    for i in range(3): yield {'image': numpy.full((1, 8, 8), near.X, 'f')}, i"
    (tmp_path / "near.py").write_text("X = 7")
    found = read(tmp_path, generator(tmp_path, code, limit=2))
    assert [(sample.label, float(sample.feeds["image"].max())) for sample in found] == [(0, 7.0), (1, 7.0)]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("def feeds(:", "feeds.py:feeds raised SyntaxError"),
        ("import no_such_package", "raised ModuleNotFoundError: No module named 'no_such_package' | line 1 of feeds.py"),
        ("def feed(): pass", "feeds.py has no callable 'feeds' |  | did you mean 'feed'?"),
        (
            "def feeds():\n    yield 1 / 0",
            "feeds, sample 0 raised ZeroDivisionError: division by zero | line 2 of feeds.py",
        ),
        ("def feeds():\n    return 5", "feeds.py:feeds raised TypeError: 'int' object is not iterable"),
        ("import sys\ndef feeds():\n    sys.exit(0)", "feeds.py:feeds raised SystemExit: 0"),
        ("def feeds():\n    yield [1]", "feeds.py:feeds, sample 0 is a list"),
        ("def feeds():\n    yield {'imagee': 1}", "sample 0 has no 'image' | it has ['imagee'] | did you mean 'image'"),
        ("def feeds():\n    yield {'image': [1.0]}", "sample 0: 'image' is a list, not an array"),
        ("def feeds():\n    return iter([])", "feeds.py:feeds holds no sample"),
    ],
)
def test_mistakes_in_a_callable(tmp_path: Path, code: str, text: str) -> None:
    assert text in refusal(tmp_path, generator(tmp_path, code))


def test_an_absent_callable_file(tmp_path: Path) -> None:
    assert "feeds.py is missing" in refusal(tmp_path, {"kind": "callable", "callable": "feeds.py:feeds", "limit": None})


# --- images, which need Pillow: in a stage -----------------------------------------------------------------------

PICTURES = {
    "kind": "images",
    "size": [8, 8],
    "color": "RGB",
    "layout": "NCHW",
    "scale": 1 / 255,
    "mean": [0.0],
    "std": [1.0],
    "limit": None,
}


def passthrough(path: Path, shape: list[int | str]) -> Path:
    """A model whose activations are its input."""
    nodes = [helper.make_node("Relu", ["image"], ["out"], "relu")]
    return save(graph(nodes, [value("image", shape)], [value("out", shape)]), path)


def ppm(path: Path, *rows: list[tuple[int, int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6 %d %d 255\n" % (len(rows[0]), len(rows)) + bytes(v for row in rows for pixel in row for v in pixel))


def test_images_are_scaled_and_laid_out(tmp_path: Path, run_stage: RunStage) -> None:
    ppm(tmp_path / "data" / "faces" / "a.ppm", [(255, 51, 0)])
    spec = PICTURES | {"images": "faces", "mean": [0.5], "std": [0.25]}
    shape: Shape = ["n", 3, 8, 8]
    model = passthrough(tmp_path / "m.onnx", shape)
    run = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec, input_("image", shape)))
    assert run.facts is not None, run
    assert run.facts["samples"] == 1
    assert run.facts["inputs"]["image"] == pytest.approx([-2, 2])  # (0 - 0.5) / 0.25, (1 - 0.5) / 0.25


@pytest.mark.parametrize(
    ("change", "inputs", "text"),
    [
        ({"mean": [0.5, 0.5]}, [input_("image", ["n", 3, 8, 8])], "[data] mean has 2 values"),
        ({"layout": "NHWC"}, [input_("image", ["n", 3, 8, 8])], "faces/a.ppm: 'image' has shape [8, 8, 3]"),
        ({"color": "L"}, [input_("image", ["n", 3, 8, 8])], "faces/a.ppm: 'image' has shape [1, 8, 8]"),
        ({"images": "face"}, [input_("image", ["n", 3, 8, 8])], "face is not a folder"),
        ({}, [input_("image", ["n", 3, 8, 8], "uint8")], "faces/a.ppm does not give uint8 values"),
        ({}, [input_("image", ["n", 3, 8, 8]), input_("b", [1])], "a folder of images feeds one input"),
        ({"images": "empty"}, [input_("image", ["n", 3, 8, 8])], "empty holds no sample"),
        ({"images": "broken"}, [input_("image", ["n", 3, 8, 8])], "broken/a.png cannot be read as an image"),
        ({"images": "mixed"}, [input_("image", ["n", 3, 8, 8])], "mixed mixes labelled and unlabelled images"),
    ],
)
def test_images_that_do_not_fit(
    tmp_path: Path, run_stage: RunStage, change: dict[str, Any], inputs: list[dict[str, Any]], text: str
) -> None:
    folder = tmp_path / "data"
    for name in ("faces/a.ppm", "mixed/a.ppm", "mixed/class/b.ppm"):
        ppm(folder / name, [(255, 51, 0)])
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("no image")
    (folder / "broken").mkdir()
    (folder / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    model = passthrough(tmp_path / "m.onnx", ["n", 3, 8, 8])
    run = run_stage(
        "calibrate", "tools", {"model": model, "data": folder}, calibration(PICTURES | {"images": "faces"} | change, *inputs)
    )
    assert run.refused, run
    assert text in run.refused["what"]


def test_sub_folders_are_labels_and_a_limit_spreads(tmp_path: Path, run_stage: RunStage) -> None:
    """Red, green, blue in classes by sorted name; a model that answers with its brightest channel."""
    colours = {"z-red": (255, 0, 0), "a-green": (0, 255, 0), "m-blue": (0, 0, 255)}
    for name, colour in colours.items():
        for index in range(4):
            ppm(tmp_path / "data" / "set" / name / f"{index}.ppm", [colour])
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["p"], "pool"), helper.make_node("Flatten", ["p"], ["f"], "flat")]
    model = save(graph(nodes, [value("image", ["n", 3, 8, 8])], [value("f", ["n", 3])]), tmp_path / "m.onnx")
    spec = PICTURES | {"images": "set", "limit": 6}
    params = {"data": spec, "inputs": [input_("image", ["n", 3, 8, 8])], "metric": "top1"}
    run = run_stage("evaluate", "tools", {"fp32": model, "data": tmp_path / "data"}, params)
    # two of each class: green answers 1 (label 0), blue 2 (label 1), red 0 (label 2): none right
    assert run.facts is not None, run
    assert (run.facts["samples"], run.facts["metric"]["fp32"]) == (6, 0.0)
    for old, new in (("z-red", "1"), ("a-green", "2"), ("m-blue", "3")):
        (tmp_path / "data" / "set" / old).rename(tmp_path / "data" / "set" / new)
    run = run_stage("evaluate", "tools", {"fp32": model, "data": tmp_path / "data"}, params)
    assert run.facts is not None, run
    assert (run.facts["samples"], run.facts["metric"]["fp32"]) == (6, 1.0)


def test_every_problem_reaches_the_user_through_a_stage(tmp_path: Path, run_stage: RunStage) -> None:
    model = convolutions(tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", image=images(2).astype(np.float64))
    run = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec))
    assert run.refused, run
    assert run.refused["what"] == "data.npz, sample 0: 'image' has dtype float64"
