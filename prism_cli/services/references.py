"""The photos that a concept was learned from, found again by their hash: they are in no archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from PIL import Image

from prism_cli.errors import PhotosRefused
from prism_cli.registry.manifest import Manifest
from prism_cli.services.events import Note, OnEvent, ignore
from prism_cli.services.photo_files import Decoded, picture_files, read_pictures
from prism_cli.services.photo_likeness import Look, alike, look_at
from prism_cli.services.photo_notes import remembered_folder
from prism_cli.services.photos import Photo, views


@dataclass(frozen=True, slots=True)
class ReferencePhotos:
    """Square pictures at the base's size.

    references: those that were trained on, by their place in the manifest. held_out: the others,
    but for copies of those; none where one that was trained on is not there.
    """

    references: Mapping[int, Image.Image] = field(default_factory=dict)
    held_out: tuple[Image.Image, ...] = ()


def squares(photos: Sequence[Photo], size: int) -> list[Image.Image]:
    """Photos as they are compared with: their middle, at the base's size."""
    return [_square(photo.image, size) for photo in photos]


def match_photos(
    manifest: Manifest,
    folder: Path | None,
    size: int,
    on_event: OnEvent,
    *,
    least: int | None = None,
) -> ReferencePhotos:
    """The photos in `folder`, told into those that the concept was learned from and others.

    folder: None for where they were; nothing is found where that is gone. size: of what is given,
    px. least: as in `read_picture`. Only the very same files count as learned from. One that intake
    would call nearly the same picture as one of those is left out: it would pass a copied photo off
    as one that was not seen. So might any of them where one that was learned from is missing, as a
    program may have written it anew. Raises FileMissing, or PhotosRefused where none of those in a
    folder that was given was.
    """
    where = remembered_folder(manifest) if folder is None else folder
    if where is None:
        return ReferencePhotos()
    places = {photo.sha256: place for place, photo in enumerate(manifest.photos)}
    references: dict[int, Image.Image] = {}
    learned: dict[str, Look] = {}
    others: dict[str, tuple[Look, Image.Image]] = {}
    for path, found in read_pictures(picture_files(where), size, on_event, least):
        if not isinstance(found, Decoded):
            on_event(Note(f"{path.name}: {found.sentence}", "warning"))
            continue
        picture, look = _square(found.image, size), look_at(found.image)
        place = places.get(found.sha256)
        if place is None:
            others[path.name] = (look, picture)
        else:
            references[place], learned[path.name] = picture, look
    if not references and folder is not None:
        raise PhotosRefused(
            f"none of the photos in {folder} is one that {manifest.name!r} was trained on",
            hint="give the folder it was trained from, its files unchanged",
        )
    if not references:
        return ReferencePhotos()
    missing = len(manifest.photos) - len(references)
    held_out = () if missing else tuple(_unlike(others, learned, on_event))
    on_event(
        Note(
            f"photos: {len(references)} of {len(manifest.photos)} that were trained on, "
            f"{len(held_out)} held out"
        )
    )
    if missing and others:
        on_event(
            Note(
                f"{missing} of those that were trained on {'is' if missing == 1 else 'are'} not"
                " there as it was, and any other may be such a one, changed: none is held out",
                "warning",
            )
        )
    return ReferencePhotos(dict(sorted(references.items())), held_out)


def _square(image: Image.Image, size: int) -> Image.Image:
    (square,) = views(image, size, "center", 1, Random(0))  # which draws nothing
    return Image.fromarray(square)


def _unlike(
    others: Mapping[str, tuple[Look, Image.Image]], learned: Mapping[str, Look], on_event: OnEvent
) -> Iterator[Image.Image]:
    """Those of the other photos that are no copy of one that was learned from, by file name."""
    for name, (look, picture) in others.items():
        twin = next((known for known, seen in learned.items() if alike(look, seen)), None)
        if twin is None:
            yield picture
        else:
            on_event(
                Note(
                    f"{name}: nearly the same picture as {twin}, which was trained on: "
                    "not held out",
                    "warning",
                )
            )


def find_photos(manifest: Manifest, folder: Path | None, size: int) -> list[Image.Image] | None:
    """Each photo of the concept, in the manifest's order; None where they are gone.

    folder, size: as in `match_photos`. Raises PhotosRefused where a folder that was given has not
    all of them, FileMissing.
    """
    found = match_photos(manifest, folder, size, ignore).references
    missing = len(manifest.photos) - len(found)
    if missing and folder is not None:
        raise PhotosRefused(
            f"{missing} of the {len(manifest.photos)} photos that {manifest.name!r} was learned "
            f"from are not in {folder}",
            hint="give the folder it was trained on, unchanged, or leave out --photos",
        )
    return None if missing else [found[place] for place in range(len(manifest.photos))]
