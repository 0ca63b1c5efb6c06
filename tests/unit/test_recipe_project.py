"""A folder with recipes: names, files beside the recipes, and which target takes which model."""

from __future__ import annotations

from pathlib import Path

import pytest

from ortolan.errors import RecipeError
from ortolan.recipe.files import SourceFiles
from ortolan.recipe.project import NamedModel, Project, admits, model_files, model_from_file
from ortolan.root import find_root
from ortolan.verbs import pick

TARGET = 'description = "A board"\nplatform = "linux/arm64"\n{more}\n[runtime]\nversions = ["1.20.1"]\nopset = 17\n'
ONNX = '[source]\nkind = "onnx"\nfile = "net.onnx"\n'
INPUT = '[[input]]\nname = "x"\nshape = [1]\n'
PYTORCH = """[source]
kind = "pytorch"
factory = "net.py:build"
weights = "net.safetensors"
[[input]]
name = "x"
shape = [1]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("net.onnx", "net.py", "net.safetensors", "a.npz"):
        write(tmp_path / "recipes" / "models" / name)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def add(project: Project, name: str, text: str) -> Path:
    return write(project.root / "recipes" / f"{name}.toml", text)


def model(project: Project, text: str) -> NamedModel:
    add(project, "models/net", text)
    return project.model("net")


def complaint(project: Project, text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        model(project, text)
    return [line.removeprefix("recipes/models/") for line in str(caught.value).splitlines()]


def names(files: object) -> list[str]:
    assert isinstance(files, dict)
    return sorted(files)


# --- names ---------------------------------------------------------------------------------------------------------


def test_names_are_sorted_and_hidden_files_left_out(project: Project) -> None:
    for name in ("targets/b", "targets/a", "targets/.a", "models/z"):
        add(project, name, "")
    write(project.root / "recipes" / "targets" / "notes.md")
    assert (project.targets(), project.models()) == (["a", "b"], ["z"])


def test_a_project_without_folders_has_nothing(tmp_path: Path) -> None:
    assert (Project(tmp_path).targets(), Project(tmp_path).models()) == ([], [])


def test_an_unknown_name_asks_for_the_nearest(project: Project) -> None:
    add(project, "targets/raspberry-pi-5", "")
    with pytest.raises(RecipeError, match=r"recipes/targets: no target is named 'raspberypi5'\. Did you mean raspberry-pi-5\?"):
        project.target("raspberypi5")
    with pytest.raises(RecipeError, match=r"Did you mean raspberry-pi-5\?"):
        project.target("raspberry-pi-5.toml")
    with pytest.raises(RecipeError, match=r"no target is named 'zx81'\. There are: raspberry-pi-5\."):
        project.target("zx81")
    with pytest.raises(RecipeError, match=r"no model is named 'net'\. There are: none\."):
        project.model("net")


@pytest.mark.parametrize(("name", "better"), [("My Board", "my-board"), ("a..b", "a.b"), ("-é", "e"), ("模", "model")])
def test_a_name_must_fit_into_a_tag(project: Project, name: str, better: str) -> None:
    add(project, f"targets/{name}", TARGET)
    with pytest.raises(RecipeError, match=f"rename the file to {better}.toml"):
        project.target(name)


def test_the_root_is_the_nearest_folder_with_recipes(project: Project) -> None:
    inner = project.root / "sub" / "deeper"
    inner.mkdir(parents=True)
    assert find_root(inner) == project.root
    (inner / "recipes").mkdir()
    assert find_root(inner) == inner


def test_without_recipes_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="ortolan init") as caught:
        find_root(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("models", "targets", "expected"),
    [('["*"]', '["*"]', True), ('["n*"]', '["board"]', True), ('["other"]', '["*"]', False), ('["*"]', '["b?"]', False)],
)
def test_target_and_model_choose_each_other(project: Project, models: str, targets: str, expected: bool) -> None:
    add(project, "targets/board", TARGET.format(more=f"models = {models}"))
    assert admits(project.target("board"), model(project, f"targets = {targets}\n{ONNX}")) is expected


# --- files ---------------------------------------------------------------------------------------------------------


def test_files_by_role(project: Project) -> None:
    folder = project.root / "recipes" / "models"
    write(folder / "layers" / "conv.py")
    write(folder / "layers" / "__pycache__" / "conv.pyc")
    write(folder / "metric.py")
    source = PYTORCH.replace("weights", 'files = ["layers"]\nweights')
    data = '[data]\ncalibration = { npz = "a.npz" }\nevaluation = { callable = "net.py:data", files = ["a.npz"] }\n'
    found = model_files(model(project, f'{source}{data}[accuracy]\nmetric = "metric.py:score"\n'))
    assert found.source == {"net.py": folder / "net.py", "layers/conv.py": folder / "layers" / "conv.py"}
    assert found.weights == folder / "net.safetensors"
    assert [names(role) for role in (found.calibration, found.evaluation)] == [["a.npz"], ["a.npz", "net.py"]]
    assert names(found.metric) == ["metric.py"]


def test_a_folder_of_images_is_its_images(project: Project) -> None:
    pictures = project.root / "recipes" / "models" / "pictures"
    for name in ("cat/1.PNG", "dog/2.jpg", "readme.txt", "dog/.DS_Store"):
        write(pictures / name)
    found = model_files(model(project, f'{ONNX}[data]\ncalibration = {{ images = "pictures", size = [8, 8] }}\n{INPUT}'))
    assert found.calibration == {f"pictures/{name}": pictures / name for name in ("cat/1.PNG", "dog/2.jpg")}


def test_paths_above_the_recipe_are_staged_inside(project: Project) -> None:
    shared = write(project.root / "data" / "shared.npz")
    named = model(project, ONNX + '[data]\ncalibration = { npz = "../../data/shared.npz", limit = 3 }\n' + INPUT)
    assert {name: path.resolve() for name, path in model_files(named).calibration.items()} == {"data/shared.npz": shared}
    assert named.recipe.data.calibration is not None
    assert named.recipe.data.calibration.model_dump() == {"kind": "npz", "npz": "data/shared.npz", "labels": None, "limit": 3}


def test_a_factory_above_the_recipe_keeps_its_callable(project: Project) -> None:
    write(project.root / "src" / "net.py")
    named = model(project, PYTORCH.replace("net.py:build", "../../src/net.py:build"))
    assert named.recipe.source.kind == "pytorch"
    assert named.recipe.source.factory == "src/net.py:build"
    assert names(model_files(named).source) == ["src/net.py"]


def test_links_may_lead_out_of_the_project(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    far = write(tmp_path_factory.mktemp("far") / "big.npz")
    (project.root / "recipes" / "models" / "big.npz").symlink_to(far)
    assert names(model_files(model(project, ONNX + '[data]\ncalibration = { npz = "big.npz" }\n' + INPUT)).calibration) == [
        "big.npz"
    ]


def test_images_in_linked_folders_are_found(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    far = write(tmp_path_factory.mktemp("far") / "deep" / "1.png").parents[1]
    pictures = project.root / "recipes" / "models" / "pictures"
    write(pictures / "dog" / "1.png")
    (pictures / "cat").symlink_to(far)
    (pictures / "cat too").symlink_to(far)
    found = pictures_of(project)
    assert names(found.calibration) == [f"pictures/{name}/1.png" for name in ("cat too/deep", "cat/deep", "dog")]
    assert found.folders == {pictures / name for name in ("", "cat", "cat/deep", "cat too", "cat too/deep", "dog")}


def test_links_that_lead_back_end_the_search(project: Project) -> None:
    pictures = project.root / "recipes" / "models" / "pictures"
    write(pictures / "cat" / "1.png")
    write(pictures / "dog" / "1.png")
    (pictures / "cat" / "up").symlink_to("..")
    (pictures / "itself").symlink_to("itself")
    (pictures / "nowhere").symlink_to("nothing")
    assert names(pictures_of(project).calibration) == ["pictures/cat/1.png", "pictures/dog/1.png"]


def test_links_between_folders_end_the_search(project: Project) -> None:
    pictures = project.root / "recipes" / "models" / "pictures"
    write(pictures / "cat" / "1.png")
    write(pictures / "dog" / "2.png")
    (pictures / "cat" / "dog").symlink_to("../dog")
    (pictures / "dog" / "cat").symlink_to("../cat")
    expected = ["cat/1.png", "cat/dog/2.png", "dog/2.png", "dog/cat/1.png"]
    assert names(pictures_of(project).calibration) == [f"pictures/{name}" for name in expected]


def pictures_of(project: Project) -> SourceFiles:
    return model_files(model(project, f'{ONNX}[data]\ncalibration = {{ images = "pictures", size = [8, 8] }}\n{INPUT}'))


def test_every_missing_file_at_once_with_its_line(project: Project) -> None:
    text = (
        PYTORCH.replace("net.py", "nett.py")
        .replace("weights", 'files = [\n  "layers",\n]\nweights')
        .replace("net.safe", "n.safe")
    )
    assert complaint(project, text + '[data]\ncalibration = { npz = "b.npz" }\n') == [
        "net.toml:3: source.factory: nett.py does not exist. Did you mean net.py?",
        "net.toml:5: source.files[0]: layers does not exist. It is looked up in models/, beside the recipe.",
        "net.toml:7: source.weights: n.safetensors does not exist. Did you mean net.safetensors?",
        "net.toml:12: data.calibration.npz: b.npz does not exist. Did you mean a.npz?",
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("../../../net.onnx", "../../../net.onnx lies outside the project. Put it below {root}/, or link it."),
        ("/net.onnx", "/net.onnx is an absolute path. Write it relative to the recipe."),
        ("../models", "../models is a folder. Name a file."),
    ],
)
def test_paths_that_cannot_be(project: Project, path: str, expected: str) -> None:
    wanted = "net.toml:3: source.file: " + expected.format(root=project.root.name)
    assert complaint(project, ONNX.replace("net.onnx", path)) == [wanted]


def test_images_must_be_a_folder_with_images(project: Project) -> None:
    write(project.root / "recipes" / "models" / "empty" / "notes.txt")
    text = '[data]\ncalibration = { images = "a.npz", size = [8, 8] }\nevaluation = { images = "empty", size = [8, 8] }\n'
    text += INPUT
    assert complaint(project, ONNX + text) == [
        "net.toml:5: data.calibration.images: a.npz is a file. Name the folder that holds the images.",
        "net.toml:6: data.evaluation.images: empty holds no images",
    ]


def test_two_files_of_one_staged_name_are_refused(project: Project) -> None:
    write(project.root / "net.onnx.data")
    write(project.root / "recipes" / "models" / "net.onnx.data")
    found = complaint(project, ONNX + 'external_data = ["net.onnx.data", "../../net.onnx.data"]\n')
    assert len(found) == 1
    assert found[0].startswith("net.toml:4: source.external_data[1]: ")
    assert found[0].endswith("would both be net.onnx.data in the build. Rename one.")


# --- a model without a recipe ----------------------------------------------------------------------------------------


def test_an_onnx_file_alone(tmp_path: Path) -> None:
    named = model_from_file(write(tmp_path / "My Net (v2).onnx"))
    assert (named.name, named.folder, named.recipe.source.kind) == ("my-net-v2", tmp_path, "onnx")
    assert model_files(named).source == {"My Net (v2).onnx": tmp_path / "My Net (v2).onnx"}


def test_weights_beside_it_belong_to_it(tmp_path: Path) -> None:
    ours = ["net.data", "net.onnx.data", "net.onnx_data", "net.onnx_data_1", "net.weights.bin"]
    for name in [*ours, "net.onnx", "net2.data", "net.npz", "net.toml", "net.ort", "other.data", "net.data.bak"]:
        write(tmp_path / name)
    assert names(model_files(model_from_file(tmp_path / "net.onnx")).source) == sorted([*ours, "net.onnx"])


def test_real_external_data_is_found(shared_data: Path) -> None:
    named = model_from_file(shared_data / "odd" / "ext_weights_same_dir" / "ext_weights.onnx")
    assert names(model_files(named).source) == ["ext_weights.data", "ext_weights.onnx"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nett.onnx", r"no such file\. Did you mean net\.onnx\?"),
        ("folder.onnx", "this is a folder, and no model"),
        ("net.ort", "this is no model that Ortolan knows"),
    ],
)
def test_what_is_no_onnx_file(tmp_path: Path, name: str, expected: str) -> None:
    write(tmp_path / "net.onnx")
    write(tmp_path / "net.ort")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(RecipeError, match=expected):
        model_from_file(tmp_path / name)


# --- what a command line means --------------------------------------------------------------------------------------


def picked(project: Project, targets: list[str], *models: str) -> list[str]:
    return [job.name for job in pick.jobs(project, targets, models)]


def test_a_broken_recipe_blocks_only_targets_that_take_it(project: Project) -> None:
    add(project, "targets/board", TARGET.format(more='models = ["net*"]'))
    add(project, "targets/all", TARGET.format(more=""))
    add(project, "models/net", ONNX)
    add(project, "models/other", "kind = 3")
    add(project, "models/Bad Name", ONNX)
    assert picked(project, ["board"]) == ["net for board"]
    assert picked(project, ["all"], "net") == ["net for all"]
    for targets in (["all"], ["board", "all"]):
        with pytest.raises(RecipeError, match=r"models/other\.toml:1: kind: unknown key"):
            picked(project, targets)


def test_the_mistakes_of_all_recipes_are_told_at_once(project: Project) -> None:
    add(project, "targets/board", TARGET.format(more=""))
    add(project, "targets/broken", TARGET.format(more="colour = 1"))
    add(project, "models/a", ONNX.replace("net", "nett"))
    add(project, "models/b", ONNX + "colour = 1")
    with pytest.raises(RecipeError) as caught:
        picked(project, ["board", "broken", "bord"])
    starts = [line.partition(". ")[0] for line in str(caught.value).splitlines()]
    assert starts == [
        "recipes/targets/broken.toml:3: colour: unknown key",
        "recipes/targets: no target is named 'bord'",
        "recipes/models/a.toml:3: source.file: nett.onnx does not exist",
        "recipes/models/b.toml:4: source.colour: unknown key",
    ]


def test_two_models_of_one_name_are_refused(project: Project) -> None:
    add(project, "targets/board", TARGET.format(more=""))
    add(project, "models/net", ONNX)
    one, other = write(project.root / "one" / "net.onnx"), write(project.root / "other" / "Net.onnx")
    with pytest.raises(RecipeError, match=r"two models are named 'net'") as caught:
        picked(project, ["board"], "one/net.onnx", "other/Net.onnx")
    assert f"{one} and {other} would both be net" in str(caught.value)
    with pytest.raises(RecipeError, match=r"two models are named 'net'"):
        picked(project, ["board"], "net", "one/net.onnx")
    assert picked(project, ["board"], "one/net.onnx", "other/../one/net.onnx") == ["net for board"]
