"""Where the Hub's bases lie: in the cache that all tools share, each pinned to one commit.

Standard library only: what is here is found, listed and loaded without a word to the Hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from prism_cli import paths
from prism_cli.backbones.families import NAMES
from prism_cli.errors import BaseRefused, storage
from prism_cli.files import write_whole

INDEX = "model_index.json"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")

# The stem of the weights that a part is loaded from. Repositories hold the same weights in other
# forms beside them (.bin, .fp16., .non_ema., ONNX, one file for all), which nobody here reads.
_STEMS = {
    "text_encoder": "model",
    "text_encoder_2": "model",
    "transformer": "diffusion_pytorch_model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
_TEXTS = {".json", ".txt", ".model"}  # configs and tokenizers
_OTHER_FORM = re.compile(r"\.(bin|fp16|bf16|fp32|non_ema|ema|onnx|msgpack)\.")


def is_repository(text: str) -> bool:
    """Whether `text` can be a repository's id on the Hub: ``owner/name``."""
    return bool(_REPOSITORY.fullmatch(text)) and "--" not in text and ".." not in text


def is_commit(text: str) -> bool:
    """Whether `text` is a commit's full hash, which names one state of a repository for good."""
    return _COMMIT.fullmatch(text) is not None


def snapshot(repository: str, commit: str) -> Path:
    """The folder of a repository's files at a commit, whether it exists or not."""
    return _repository_folder(repository) / "snapshots" / commit


def mended_by(folder: Path) -> str:
    """What fetches the damaged files of a base again; of a folder of one's own nothing does."""
    repository = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    if folder.parent.name != "snapshots" or not is_repository(repository):
        return "get that folder again, or choose another --base"
    command = f"prism bases pull {NAMES.get(repository, repository)}"
    if folder.name != pinned(repository):
        command += f" --revision {folder.name}"
    return f"fetch what is damaged again: {command}"


def pinned(repository: str, records: Path | None = None) -> str | None:
    """The commit that `repository` is used at; None before it was ever pulled.

    Without a record of ours, what another tool downloaded last is taken. records: the folder of
    such records; None for that of the bases.
    """
    record = _record(repository, records)
    with storage("read", record):
        text = record.read_text("utf-8", "replace") if record.is_file() else None
    if text is None:
        return _last_main(repository)
    try:
        commit = str(json.loads(text)["revision"])
    except (ValueError, KeyError, TypeError):
        commit = ""
    if not is_commit(commit):
        raise BaseRefused(
            f"{record} does not say which revision of {repository} is used",
            hint=f"pin one: prism bases pull {repository} --revision main"
            if records is None
            else "delete that file, and the newest one is pinned",
        )
    return commit


def pin(repository: str, commit: str, records: Path | None = None) -> None:
    """Use `repository` at this commit from now on."""
    content = {"repository": repository, "revision": commit}
    write_whole(_record(repository, records), f"{json.dumps(content, indent=2)}\n".encode())


def is_pinned(repository: str) -> bool:
    """Whether a record of ours says at which commit `repository` is used."""
    return _record(repository).is_file()


def pinned_repositories() -> Iterator[str]:
    """Every repository that was ever pulled or used, by name."""
    for record in sorted(paths.bases_dir().glob("*.json")):
        with storage("read", record):
            text = record.read_text("utf-8", "replace")
        try:
            repository = str(json.loads(text)["repository"])
        except (ValueError, KeyError, TypeError):
            continue  # `pinned` says so of the one that is asked for
        if is_repository(repository):
            yield repository


def needed(files: Iterable[str], parts: Collection[str]) -> list[str]:
    """Those of a repository's `files` that a pipeline of these `parts` is loaded from."""
    return [file for file in files if file == INDEX or _is_needed(file, parts)]


def lacking(files: Collection[str], parts: Iterable[str]) -> str | None:
    """The first file that a pipeline of these `parts` cannot be loaded without; None if whole."""
    if INDEX not in files:
        return INDEX
    for part in parts:
        inside = {file.partition("/")[2] for file in files if file.startswith(f"{part}/")}
        if part in _STEMS:
            weights = f"{_STEMS[part]}.safetensors"
            if "config.json" not in inside:
                return f"{part}/config.json"
            if weights not in inside and not _whole_in_shards(inside, _STEMS[part]):
                return f"{part}/{weights}"
        elif not inside:
            return f"{part}/"
    return None


def files_in(folder: Path) -> set[str]:
    """The files below `folder`, relative to it; a link to a file that is gone is none."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def _is_needed(file: str, parts: Collection[str]) -> bool:
    part, _, name = file.partition("/")
    if part not in parts or "/" in name or _OTHER_FORM.search(name):
        return False
    stem = _STEMS.get(part, "")
    shard = rf"{stem}(-[0-9]{{5}}-of-[0-9]{{5}})?\.safetensors"
    return Path(name).suffix in _TEXTS or (bool(stem) and bool(re.fullmatch(shard, name)))


def _whole_in_shards(names: Collection[str], stem: str) -> bool:
    """Whether the weights are there in numbered pieces, with the index that says what is where."""
    pattern = rf"{stem}-[0-9]{{5}}-of-([0-9]{{5}})\.safetensors"
    counts = [int(match[1]) for name in names if (match := re.fullmatch(pattern, name))]
    return bool(counts) and len(counts) in counts and f"{stem}.safetensors.index.json" in names


def _last_main(repository: str) -> str | None:
    """The commit that the branch "main" had when some tool last looked."""
    reference = _repository_folder(repository) / "refs" / "main"
    with storage("read", reference):
        commit = reference.read_text("utf-8", "replace").strip() if reference.is_file() else ""
    return commit if is_commit(commit) else None


def _repository_folder(repository: str) -> Path:
    return paths.hub_cache() / f"models--{repository.replace('/', '--')}"


def _record(repository: str, records: Path | None = None) -> Path:
    name = NAMES.get(repository, repository.replace("/", "--"))
    return (records or paths.bases_dir()) / f"{name}.json"
