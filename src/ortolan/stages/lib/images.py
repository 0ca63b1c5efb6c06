"""Reads a folder of images as model inputs: decode, turn upright, resize, scale, lay out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .refused import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_ROUNDING = 1e-3  # how far from a whole number scaled pixels may lie


def images(root: Path, spec: Mapping[str, Any], dtype: str) -> Iterator[tuple[str, NDArray[Any], int | None]]:
    """Yield ``(path, array, label)`` per image, ordered by path; the array is [C,H,W] or [H,W,C] as ``spec['layout']`` says.

    The label is the index of the image's sub-folder among all sub-folders with images, sorted by name; ``None`` where images
    stand in the folder itself. A ``limit`` takes images evenly from the whole order, so that every class keeps its share.
    """
    if not (root / spec["images"]).is_dir():
        raise Refused(f"{spec['images']} is not a folder", hint="[data] images = ... names a folder of images")
    paths = _paths(root / spec["images"])
    classes = _classes(paths, spec["images"])
    for path in _spread(paths, spec["limit"]):
        name = f"{spec['images']}/{path.as_posix()}"
        label = classes.index(path.parts[0]) if classes else None
        yield name, _array(root / spec["images"] / path, name, spec, dtype), label


def _paths(folder: Path) -> list[Path]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(found, key=lambda path: path.parts)


def _classes(paths: list[Path], folder: str) -> list[str]:
    """The sub-folders' names, sorted; none when the images stand in the folder itself."""
    loose = [path for path in paths if len(path.parts) == 1]
    if loose and len(loose) < len(paths):
        why = f"{loose[0]} stands in {folder} itself, {next(p for p in paths if len(p.parts) > 1)} in a sub-folder"
        raise Refused(
            f"{folder} mixes labelled and unlabelled images", why=why, hint="one sub-folder per class, or no sub-folders"
        )
    return [] if loose else sorted({path.parts[0] for path in paths})


def _spread(paths: list[Path], limit: int | None) -> list[Path]:
    count = min(limit or len(paths), len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def _array(path: Path, name: str, spec: Mapping[str, Any], dtype: str) -> NDArray[Any]:
    import numpy as np

    pixels = _pixels(path, name, spec)
    channels = pixels.shape[2]
    mean, std = (_per_channel(spec[key], key, channels) for key in ("mean", "std"))
    values = (pixels.astype(np.float32) * np.float32(spec["scale"]) - mean) / std
    if spec["layout"] == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(_cast(values, np.dtype(dtype), name))


def _pixels(path: Path, name: str, spec: Mapping[str, Any]) -> NDArray[Any]:
    """The image as uint8 [H,W,C]."""
    import numpy as np

    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise Refused(
            "images cannot be read here", why="this runtime has no Pillow", hint="add pillow to its requirements"
        ) from None
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("L" if spec["color"] == "L" else "RGB")
            pixels = np.asarray(upright.resize(tuple(spec["size"]), Image.Resampling.BILINEAR))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow raises SyntaxError for broken PNGs
        why = str(error).replace(str(path), name)
        raise Refused(f"{name} cannot be read as an image", why=why, hint="replace or remove it") from None
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return pixels[:, :, ::-1] if spec["color"] == "BGR" else pixels


def _per_channel(values: list[float], key: str, channels: int) -> NDArray[Any]:
    import numpy as np

    if len(values) not in {1, channels}:
        raise Refused(
            f"[data] {key} has {len(values)} values",
            why=f"the images have {channels} channels",
            hint="give one value per channel, or one for all",
        )
    return np.asarray(values, np.float32)


def _cast(values: NDArray[Any], dtype: Any, name: str) -> NDArray[Any]:
    """``values`` as ``dtype``; for integers they must be whole numbers that fit."""
    import numpy as np

    if dtype.kind == "f":
        return values.astype(dtype)
    whole: NDArray[Any] = np.rint(values)
    info = np.iinfo(dtype)
    if np.any(np.abs(values - whole) > _ROUNDING) or whole.min() < info.min or whole.max() > info.max:
        why = f"scaled pixels lie in [{float(values.min()):.6g}, {float(values.max()):.6g}]"
        raise Refused(
            f"{name} does not give {dtype} values", why=why, hint="set scale = 1.0, mean = [0.0] and std = [1.0] in [data]"
        )
    return whole.astype(dtype)
