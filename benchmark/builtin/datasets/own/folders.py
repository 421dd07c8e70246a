"""A folder with one folder of image files a class, divided into training and test or not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.builtin.datasets.files import unreadable
from benchmark.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from benchmark.builtin.datasets.own.decoding import Opened

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_SPLITS = {"train": ("train", "training"), "test": ("test", "testing", "val", "validation")}


@dataclass(frozen=True)
class ClassFolders:
    """The files of each split (or of `all`) in the order of classes and names."""

    where: Path
    names: tuple[str, ...]
    files: Mapping[str, tuple[tuple[Path, int], ...]]

    @classmethod
    def found_in(cls, where: Path, hint: str) -> ClassFolders:
        """Look into the folder; raises `UserError` if there are no two classes of images."""
        parts = {
            split: next((where / name for name in known if (where / name).is_dir()), None)
            for split, known in _SPLITS.items()
        }
        given = {split: folder for split, folder in parts.items() if folder}
        if len(given) == 1:
            [there], [missing] = given, parts.keys() - given.keys()
            raise UserError(f"{where} has a folder of {there} images and none of {missing} images")
        folders = given or {"all": where}
        listed = {split: _classes(folder) for split, folder in folders.items()}
        names = sorted({name for found in listed.values() for name in found})
        if len(names) < 2:
            raise UserError(f"{where} has no two folders of images, one for each class", hint)
        numbers = {name: number for number, name in enumerate(names)}
        files = {
            split: tuple((path, numbers[name]) for name in sorted(found) for path in found[name])
            for split, found in listed.items()
        }
        return cls(where, tuple(names), files)

    def key(self) -> str:
        """Return a key of names, sizes and times of change."""
        digest = hashlib.sha256()
        for split, files in sorted(self.files.items()):
            for path, _ in files:
                try:
                    found = path.stat()
                except OSError as error:
                    raise unreadable(path, error) from error
                name = path.relative_to(self.where)
                digest.update(
                    f"{split}\0{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(
                        errors="surrogateescape"
                    )
                )
        return digest.hexdigest()

    def classes(self) -> tuple[str, ...]:
        """Return the names of the folders, sorted."""
        return self.names

    def labels(self) -> dict[str, Sequence[int]]:
        """Return the class numbers of each split."""
        return {split: [number for _, number in files] for split, files in self.files.items()}

    def first_size(self) -> tuple[int, int]:
        """Return height and width of the first image."""
        from benchmark.builtin.datasets.own.decoding import size_of

        path = next(iter(self.files.values()))[0][0]
        return size_of(path, str(path))

    def images(self, split: str, size: tuple[int, int], scaled: bool) -> np.ndarray:
        """Return the images of a split, decoded."""
        from benchmark.builtin.datasets.own.decoding import decode_all

        files = self.files[split]

        def opened(number: int) -> Opened:
            path = files[number][0]
            return path, str(path)

        return decode_all(len(files), opened, size, scaled)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of each class folder that has some."""
    try:
        folders = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
        found = {path.name: sorted(filter(_is_image, path.iterdir())) for path in folders}
    except OSError as error:
        raise unreadable(folder, error) from error
    return {name: files for name, files in found.items() if files}


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.name[0] != "."
