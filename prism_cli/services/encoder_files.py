"""The encoders of an evaluation: which there are, whether they are here, and how they are fetched.

Nothing is loaded for it, torch included.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from prism_cli import paths
from prism_cli.backbones import hub_cache
from prism_cli.errors import BaseRefused, EncoderNotDownloaded
from prism_cli.services.events import OnEvent, ignore

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
_MAIN = "main"  # what is pinned where nothing was before
_CONFIGS = ("config.json", "preprocessor_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSource:
    """An encoder of the Hub.

    name: as it stands beside a number. texts: the files of its tokenizer. size: of its weights, in
    bytes, for the question before the download.
    """

    name: str
    repository: str
    texts: tuple[str, ...] = ()
    size: int


# What mends the practice base's scorer, and an encoder of the Hub.
INSTALL_AGAIN = "install prism again, with pip's --force-reinstall"
PULL_AGAIN = "delete that folder and run the same command again"
# DreamBooth names DINO ViT-S/16 (section 4.1) and no CLIP; Custom Diffusion's evaluation, which
# most follow, has CLIP ViT-B/32. Weights: four bytes for each of 151 and 22 million.
CLIP = EncoderSource(
    name="CLIP ViT-B/32",
    repository="openai/clip-vit-base-patch32",
    texts=("tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt"),
    size=605_200_000,
)
DINO = EncoderSource(name="DINO ViT-S/16", repository="facebook/dino-vits16", size=86_700_000)
ENCODERS = (CLIP, DINO)


def missing_encoders() -> tuple[EncoderSource, ...]:
    """Those that are not on this machine, or not whole."""
    return tuple(source for source in ENCODERS if _here(source) is None)


def encoder_folder(source: EncoderSource) -> Path:
    """Where the encoder lies, at the commit that it is pinned to from now on.

    Raises EncoderNotDownloaded where it is not here.
    """
    commit = _here(source)
    if commit is None:
        raise refusal((source,))
    hub_cache.pin(source.repository, commit, paths.encoders_dir())
    return hub_cache.snapshot(source.repository, commit)


def refusal(missing: Collection[EncoderSource]) -> EncoderNotDownloaded:
    """What is raised where encoders are needed that are not here."""
    names = " and ".join(f"{source.name} ({source.repository})" for source in missing)
    return EncoderNotDownloaded(
        f"the evaluation looks with {names}, not on this machine",
        hint="run it again with --yes to download what is missing",
    )


def pull_encoder(source: EncoderSource, on_event: OnEvent = ignore) -> None:
    """Download an encoder, check it, and use it at this commit from now on.

    Raises BaseRefused, HubUnreachable, DownloadDamaged, StorageFailed.
    """
    from prism_cli.services.downloads import pull_files
    from prism_cli.services.hub_requests import Source

    records = paths.encoders_dir()
    revision = hub_cache.pinned(source.repository, records) or _MAIN
    again = "prism eval NAME --yes"
    pulled = pull_files(
        Source(source.repository, source.repository, revision, again),
        lambda files: _wanted(source, files),
        on_event,
    )
    hub_cache.pin(source.repository, pulled.revision, records)


def _here(source: EncoderSource) -> str | None:
    """The commit at which all of it is in the cache."""
    commit = hub_cache.pinned(source.repository, paths.encoders_dir())
    if commit is None:
        return None
    files = hub_cache.files_in(hub_cache.snapshot(source.repository, commit))
    return commit if _lacking(source, files) is None else None


def _wanted(source: EncoderSource, files: Collection[str]) -> list[str]:
    """The files that an encoder is loaded from. The Hub's newest has other forms beside them."""
    lacking = _lacking(source, files)
    if lacking is not None:
        raise BaseRefused(
            f"{source.repository} has no {lacking}, which prism would load",
            hint="look at its page; with HF_ENDPOINT set, at the mirror's",
        )
    weights = next(name for name in _WEIGHTS if name in files)
    return [*_CONFIGS, *(name for name in source.texts if name in files), weights]


def _lacking(source: EncoderSource, files: Collection[str]) -> str | None:
    """The first file that it cannot be loaded without; None if it is whole."""
    needed = (*_CONFIGS, *(name for name in source.texts if name in ("vocab.json", "merges.txt")))
    for name in needed:
        if name not in files:
            return name
    return None if any(name in files for name in _WEIGHTS) else _WEIGHTS[0]
