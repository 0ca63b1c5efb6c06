"""The data of execution providers: complete, sourced, and what ONNX Runtime itself says; the table made from it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from ortolan.errors import RecipeError
from ortolan.recipe import provider_data
from ortolan.recipe.load import load_target
from ortolan.recipe.provider_data import FOLDER, Asked, Option, ProviderData, find, read
from ortolan.recipe.rules import KNOWN, SUFFIX
from ortolan.recipe.schema import Target

FILES = sorted(FOLDER.glob("*.toml"))
DATA = {path.stem: read(path) for path in FILES}
PAGE = ROOT / "docs" / "providers.md"
START, END = "<!-- generated from src/ortolan/recipe/providers by tests/unit/test_providers.py --update -->\n", "<!-- end -->"


# --- the data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_fact_has_a_source_and_every_source_a_fact(path: Path) -> None:
    table = tomllib.loads(path.read_text())
    assert set(table) - {"name", "title", "web_name", "sources"} == set(table["sources"])


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_names_are_those_of_onnx_runtime(data: ProviderData) -> None:
    assert data.name.removesuffix(SUFFIX) in KNOWN
    assert set(data.before) <= {other.name for other in DATA.values()}


@pytest.mark.parametrize("stem", [stem for stem in DATA if stem != "wasm"])
def test_a_provider_is_found_by_its_name(stem: str) -> None:
    assert find(DATA[stem].name) == DATA[stem]


@pytest.mark.parametrize("name", ["AcmeExecutionProvider", "../cpuExecutionProvider", "", "ExecutionProvider", "cpu/../cpu"])
def test_there_is_no_data_of_others(name: str) -> None:
    assert find(name) is None


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_options_make_sense(data: ProviderData) -> None:
    for name, option in data.options.items():
        assert option.type in {"bool", "word", "flag", "int", "text", "json", "address"}, name
        assert bool(option.pattern) == bool(option.wants), f"{name}: a pattern and its words go together"
        assert option.type == "int" or (option.min is None and option.max is None), name
        assert not (option.values and option.pattern), name
    named = {*sum(data.together, ()), *sum(data.either, ()), *((data.int8.enable, data.int8.table) if data.int8 else ())}
    assert named <= set(data.options)


def test_a_key_that_no_field_is_for_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('name = "x"\ntitle = "x"\nshape = "fixed"\n[options]\n[sources]\n')
    with pytest.raises(TypeError, match="shape"):
        read(tmp_path / "x.toml")


# --- the checks ----------------------------------------------------------------------------------------------------

BOARD = """description = "A board"
platform = "linux/amd64"
[runtime]
versions = ["1.31.1"]
opset = 17
[quantize]
activations = "{activations}"
symmetric_activations = true
[session]
enable_mem_pattern = false
intra_op_num_threads = 1
[[provider]]
name = "{name}"
[provider.options]
{options}
[[provider]]
name = "CPUExecutionProvider"
"""


MISTAKES = [  # provider, options, what the user is told of the first; tests/bad_recipes holds more of them
    ("CUDA", "threads = 4", "threads: CUDA has no such option. docs/providers.md lists its 23 options."),
    ("ArmNN", "fast = true", "fast: Arm NN has no such option. It has none."),
    ("CUDA", 'gpu_mem_limit = "2 GB"', 'gpu_mem_limit: wants an integer, found "2 GB"'),
    ("CUDA", "gpu_mem_limit = 1.5", "gpu_mem_limit: wants an integer, found 1.5"),
    ("CUDA", "device_id = true", "device_id: wants an integer, found true"),
    ("CUDA", "device_id = -1", "device_id: wants at least 0, found -1"),
    ("CUDA", "user_compute_stream = 12", ("user_compute_stream: is an address in the running process, which no recipe knows. "
     "Set it in the program.")),
    ("Tensorrt", "trt_builder_optimization_level = 9", "trt_builder_optimization_level: wants at most 5, found 9"),
    ("Tensorrt", 'trt_profile_min_shapes = "1x3"\ntrt_profile_opt_shapes = "x:1x3"\ntrt_profile_max_shapes = "x:8x3"',
     'trt_profile_min_shapes: wants shapes like input:1x3x224x224, found "1x3"'),
    ("Tensorrt", 'trt_profile_min_shapes = "x:1x3"\ntrt_profile_max_shapes = "x:8x3"', ("trt_profile_opt_shapes: missing. "
     "trt_profile_min_shapes, trt_profile_opt_shapes, trt_profile_max_shapes are set together or not at all.")),
    ("Tensorrt", 'trt_int8_calibration_table_name = "ranges"', ("trt_int8_calibration_table_name: a model with Q/DQ nodes takes "
     'no table. Leave it out, or say [quantize] policy = "never".')),
    ("OpenVINO", 'load_config = "{CPU: 1}"', 'load_config: wants JSON, found "{CPU: 1}"'),
    ("OpenVINO", "disable_dynamic_shapes = 1", "disable_dynamic_shapes: wants true or false, found 1"),
    ("OpenVINO", 'device_type = "CPU_FP32"', ("device_type: wants CPU, GPU, GPU.0, NPU, or AUTO, HETERO, MULTI, BATCH with a "
     'list like AUTO:GPU,CPU, found "CPU_FP32"')),
    ("QNN", 'backend_type = "htp"\nbackend_path = "a.so"', "backend_path: backend_type says the same. Keep one of them."),
    ("QNN", 'htp_arch = "73,99"', 'htp_arch: "99" is not one of "0", "68", "69", "73", "75", "79", "81"'),
    ("Xnnpack", "intra_op_num_threads = 8", ("intra_op_num_threads: wants at most 4 with XNNPACK, found 8. More of them only "
     "wait for each other.")),
]  # fmt: skip


def board(name: str, options: str = "", activations: str = "") -> str:
    """A target with this provider and the CPU, with activations that the provider takes unless told."""
    data = find(name)
    wanted = data.qdq.activations[0] if data and data.qdq else "int8"
    return BOARD.format(name=name, options=options, activations=activations or wanted)


def load(folder: Path, text: str) -> Target:
    (folder / "board.toml").write_text(text)
    return load_target(folder / "board.toml")


def told(folder: Path, text: str) -> list[str]:
    """What is said of a target with mistakes, from the line's number on."""
    with pytest.raises(RecipeError) as caught:
        load(folder, text)
    return [line.partition("board.toml:")[2] for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("name", "options", "expected"), MISTAKES, ids=[f"{m[0]}-{m[1].split()[0]}-{m[1][-5:]}" for m in MISTAKES]
)
def test_a_wrong_option(name: str, options: str, expected: str, tmp_path: Path) -> None:
    (line,) = told(tmp_path, board(f"{name}ExecutionProvider", options))
    assert line.partition(": provider[0].options.")[2] == expected


def test_an_option_that_the_oldest_of_the_fleet_does_not_know(tmp_path: Path) -> None:
    text = board("TensorrtExecutionProvider", "trt_bf16_enable = true")
    load(tmp_path, text)
    (line,) = told(tmp_path, text.replace('["1.31.1"]', '["1.31.1", "1.20.1"]'))
    expected = "trt_bf16_enable: ONNX Runtime 1.20.1, the oldest of the fleet, does not know it. 1.20.2 does not either."
    assert line == f"15: provider[0].options.{expected}"


@pytest.mark.parametrize(("name", "wrong", "right"), [("QNN", "int8", "uint8"), ("NvTensorRTRTX", "uint8", "int8")])
def test_the_types_of_activations(name: str, wrong: str, right: str, tmp_path: Path) -> None:
    (line,) = told(tmp_path, board(f"{name}ExecutionProvider", activations=wrong))
    assert line.endswith(f'Say activations = "{right}".')
    assert line.startswith("7: quantize.activations: ")
    load(tmp_path, board(f"{name}ExecutionProvider", activations=wrong).replace("[quantize]", '[quantize]\npolicy = "never"'))


@pytest.mark.parametrize("name", ["Nnapi", "Xnnpack"])
def test_types_that_are_a_wish_are_no_mistake(name: str, tmp_path: Path) -> None:
    for activations in ("int8", "uint8"):
        load(tmp_path, board(f"{name}ExecutionProvider", activations=activations))


def test_directml_runs_one_node_after_the_other(tmp_path: Path) -> None:
    text = board("DmlExecutionProvider").replace("[session]", '[session]\nexecution_mode = "parallel"')
    expected = '10: session.execution_mode: DirectML needs "sequential". Say execution_mode = "sequential".'
    assert told(tmp_path, text) == [expected]


@pytest.mark.parametrize(("name", "meant"), [("wasm", "CPU"), ("DirectMLExecutionProvider", "Dml"), ("trt", "Tensorrt")])
def test_other_names_of_providers(name: str, meant: str, tmp_path: Path) -> None:
    (line,) = told(tmp_path, board(name))
    assert line.endswith(f'Did you mean "{meant}ExecutionProvider"?')


def samples(option: Option) -> list[Any]:
    """Values that an option takes, as a recipe may write them."""
    if option.values or option.wants:
        examples = {"shapes": "a:1x2", "CPU": "AUTO:GPU.1,CPU", "bounds": "x[1,2]", "the": 43, "a num": 8, "-1": "50%"}
        return [*option.values] or [value for start, value in examples.items() if option.wants.startswith(start)]
    least = option.min or 0
    given: dict[str, list[Any]] = {
        "bool": [True, False, "True", "0", 1],
        "word": [True, "false"],
        "flag": [True, "1", 0],
        "int": [least, str(least)],
        "json": ["{}"],
    }
    return given.get(option.type, ["/a b", "ä", 7])


@pytest.mark.parametrize("stem", [stem for stem in DATA if stem not in {"cpu", "wasm"}])
def test_what_a_provider_takes_loads(stem: str, tmp_path: Path) -> None:
    data = DATA[stem]
    alone = {*sum(data.together, ()), *([data.int8.table] if data.int8 else ()), "backend_type", "backend_path"}  # of QNN: HTP's
    for name, option in data.options.items():
        if option.type != "address" and name not in alone:
            assert samples(option), name
            for value in samples(option):
                load(tmp_path, board(data.name, f"{name} = {json.dumps(value)}"))
    for group in data.together:
        load(tmp_path, board(data.name, "\n".join(f'{name} = "x:0:1x3,y:2"' for name in group)))


def test_a_plug_in_that_nobody_knows_keeps_its_options(tmp_path: Path) -> None:
    load(tmp_path, board("AcmeExecutionProvider", 'speed = "ludicrous"'))


@pytest.mark.parametrize("stem", [stem for stem, data in DATA.items() if any(o.type == "flag" for o in data.options.values())])
def test_a_flag_takes_no_words(stem: str, tmp_path: Path) -> None:
    name = next(name for name, option in DATA[stem].options.items() if option.type == "flag")
    (line,) = told(tmp_path, board(DATA[stem].name, f'{name} = "true"'))
    assert line.endswith('wants true or false, found "true"')


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("TensorrtExecutionProvider", "trt_fp16_enable", "True"),
        ("OpenVINOExecutionProvider", "disable_dynamic_shapes", "True"),
        ("CUDAExecutionProvider", "use_tf32", True),
        ("QNNExecutionProvider", "offload_graph_io_quantization", True),
        ("AcmeExecutionProvider", "fast", True),
    ],
)
def test_true_is_spelt_as_the_provider_takes_it(name: str, option: str, expected: str | bool, tmp_path: Path) -> None:
    """What stays a boolean is written as 1 or 0 where ONNX Runtime gets it."""
    assert load(tmp_path, board(name, f"{option} = true")).provider[0].options == {option: expected}


def test_several_providers_say_each_thing_once(tmp_path: Path) -> None:
    text = board("TensorrtExecutionProvider", activations="uint8")
    text = text.replace('[[provider]]\nname = "CPU', '[[provider]]\nname = "CUDAExecutionProvider"\n[[provider]]\nname = "CPU')
    assert told(tmp_path, text.replace("intra_op_num_threads = 1", "intra_op_num_threads = 3")) == [
        '7: quantize.activations: TensorRT needs "int8". Say activations = "int8".',
        "11: session.intra_op_num_threads: wants at most 2 with TensorRT, found 3. More of them only wait for each other.",
    ]


def test_a_table_of_ranges_serves_a_model_without_nodes(tmp_path: Path) -> None:
    options = 'trt_int8_enable = true\ntrt_int8_calibration_table_name = "ranges"'
    load(tmp_path, board("TensorrtExecutionProvider", options).replace("[quantize]", '[quantize]\npolicy = "never"'))


def test_only_the_data_of_named_providers_is_read() -> None:
    code = """
import sys
from pathlib import Path
read = []
def note(event, args):
    if event == "open" and "/providers/" in str(args[0]):
        read.append(Path(args[0]).stem)
sys.addaudithook(note)
from ortolan.recipe.load import load_target
for target in ("arm64-cpu", "x86-cpu", "raspberry-pi-5"):
    load_target(Path("recipes/targets", f"{target}.toml"))
print(read)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['xnnpack']\n"


# --- the page ------------------------------------------------------------------------------------------------------


def page() -> str:
    """A table of all providers, then one of options for each, with the sources."""
    rows = ["| provider | shapes | Q/DQ | highest opset | found in | not in |", "|---|---|---|---|---|---|"]
    for data in DATA.values():
        cells = [f"[{data.title}](#{data.title.lower().replace(' ', '-')})", data.shapes or "?", _scheme(data)]
        cells += [str(data.max_opset or "its ONNX Runtime's"), _packages(data)]
        cells += [", ".join(f"`{name}`" for name in data.absent_from) or "–"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, *(line for data in DATA.values() for line in _section(data))]) + "\n"


def _scheme(data: ProviderData) -> str:
    if data.qdq is None:
        return "?"
    words = [f"activations {'/'.join(data.qdq.activations)}, weights {'/'.join(data.qdq.weights)}"]
    words += ["symmetric"] * bool(data.qdq.symmetric_activations)
    words += [] if data.qdq.quantized_bias is None else [f"bias {'' if data.qdq.quantized_bias else 'not '}quantised"]
    words += [f"no scheme but {' and '.join(data.quantize_schemes)}"] if data.quantize_schemes else []
    return ", ".join(words) + ("" if data.qdq.required else " (others go elsewhere)")


def _packages(data: ProviderData) -> str:
    found = (f"{one.registry} `{one.name}` {one.version}".strip() + f" ({', '.join(one.platforms)})" for one in data.package)
    return "<br>".join(found) or "own builds"


def _section(data: ProviderData) -> list[str]:
    spelt = f", `{data.web_name}` in onnxruntime-web" if data.web_name else ""
    lines = ["", f"## {data.title}", "", f"`{data.name}`{spelt}", *_rules(data)]
    if data.options:
        lines += ["", "| option | takes | newer than |", "|---|---|---|"]
        lines += [f"| `{name}` | {_takes(option)} | {option.newer_than or '–'} |" for name, option in data.options.items()]
    return [*lines, "", "Sources", "", *(f"- {key}: {text}" for key, text in data.sources.items())]


def _rules(data: ProviderData) -> list[str]:
    rules = [f"Stands before {', '.join(data.before)}."] if data.before else []
    wants = {one.name: getattr(data.session, one.name) for one in fields(data.session)}
    rules += [f"Session: `{key} = {json.dumps(value)}`." for key, value in wants.items() if value is not None]
    rules += [f"All or none of {', '.join(f'`{name}`' for name in group)}." for group in data.together]
    rules += [f"One of {', '.join(f'`{name}`' for name in group)}." for group in data.either]
    rules += [f"ONNX Runtime has it when built with `{data.build_flag}`."] if data.build_flag else []
    rules += [f"Which nodes it takes: {_asked(one)}." for one in data.evidence]
    rules += [f"Engines for compute capabilities {', '.join(data.compute_capabilities)}."] if data.compute_capabilities else []
    return ["", *(f"- {rule}" for rule in rules)] if rules else []


def _asked(one: Asked) -> str:
    where = "the fleet's oldest runtime" if one.runtime == provider_data.FLEET else f"runtime `{one.runtime}`"
    table = f", table `{one.table}`" if one.table else ""
    return f"stage `{one.stage}` in {where}{table}" + (f", for {', '.join(one.platforms)}" if one.platforms else "")


def _takes(option: Option) -> str:
    if option.values or option.wants:
        words = ", ".join(f"`{value}`" for value in option.values) or option.wants
    else:
        words = {"address": "an address, so not in a recipe", "int": "an integer", "json": "JSON"}.get(option.type, option.type)
        words = dict.fromkeys(("bool", "word", "flag"), "true, false").get(words, words)
    limits = [f"from {option.min}"] * (option.min is not None) + [f"to {option.max}"] * (option.max is not None)
    return " ".join([words, *limits]) + (", several parted by commas" if option.many else "")


def test_the_page_of_providers_is_current(request: pytest.FixtureRequest) -> None:
    head, _, rest = PAGE.read_text().partition(START)
    found, _, tail = rest.partition(END)
    if request.config.getoption("--update"):
        PAGE.write_text(head + START + page() + END + tail)
        found = page()
    assert found == page(), "run pytest tests/unit/test_providers.py --update"


def test_the_page_shows_every_field() -> None:
    """A new kind of fact must not stay out of the page unnoticed."""
    shown = {"name", "title", "options", "sources", "shapes", "max_opset", "web_name", "before", "together", "either"}
    shown |= {"evidence", "build_flag", "compute_capabilities"}
    shown |= {
        "session",
        "qdq",
        "package",
        "absent_from",
        "int8",
        "quantize_schemes",
    }  # int8 speaks in the checks, and by its source
    assert {one.name for one in fields(provider_data.ProviderData)} == shown
    assert all(one.default is not MISSING or one.default_factory is not MISSING for one in fields(Option) if one.name != "type")
