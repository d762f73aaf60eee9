"""The photos of a concept, found again: archives hold their SHA-256 and never the photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from prism_cli.errors import PhotosRefused
from prism_cli.registry.manifest import Manifest
from prism_cli.services.events import Note, OnEvent
from prism_cli.services.photo_files import Decoded, picture_files, read_picture
from prism_cli.services.photos import views


@dataclass(frozen=True, slots=True)
class ReferencePhotos:
    """Square pictures at the base's size.

    references: those that were trained on, by their place in the manifest. held_out: the others.
    """

    references: dict[int, Image.Image]
    held_out: tuple[Image.Image, ...]


def find_photos(folder: Path, manifest: Manifest, size: int, on_event: OnEvent) -> ReferencePhotos:
    """Match the photos in `folder` with those that the concept was learned from.

    Raises FileMissing, or PhotosRefused where none of them was.
    """
    places = {photo.sha256: place for place, photo in enumerate(manifest.photos)}
    references: dict[int, Image.Image] = {}
    held_out: list[Image.Image] = []
    for path in picture_files(folder):
        found = read_picture(path, size)
        if not isinstance(found, Decoded):
            on_event(Note(f"{path.name}: {found.sentence}", "warning"))
            continue
        picture = Image.fromarray(views(found.image, size, "center", 1, Random(0))[0])
        place = places.get(found.sha256)
        if place is None:
            held_out.append(picture)
        else:
            references[place] = picture
    if not references:
        raise PhotosRefused(
            f"none of the photos in {folder} is one that {manifest.name!r} was trained on",
            hint="give the folder it was trained from, its files unchanged",
        )
    on_event(
        Note(
            f"photos: {len(references)} of {len(manifest.photos)} that were trained on, "
            f"{len(held_out)} held out"
        )
    )
    return ReferencePhotos(dict(sorted(references.items())), tuple(held_out))
