"""Bases of the Hub: downloaded by huggingface_hub from a server here, pinned, found, listed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants

from prism_cli import paths
from prism_cli.backbones import catalog, hub_cache
from prism_cli.backbones.families import FAMILIES, FLUX_RECIPE, NAMED
from prism_cli.backbones.footprint import Footprint
from prism_cli.errors import (
    BaseGated,
    BaseNotDownloaded,
    BaseNotFound,
    BaseRefused,
    DiskFull,
    DownloadDamaged,
    HubUnreachable,
    PrismError,
)
from prism_cli.services import bases, download_meter
from prism_cli.services.bases import default_base, list_bases, offer_for
from prism_cli.services.downloads import peek, pull
from prism_cli.services.events import Event, Note, StageBegan, StageEnded, StageMoved
from prism_cli.services.prepare import TrainRequest, prepare
from tests.bases import CPU
from tests.cli import worlds
from tests.hub import Fault, Hub, Status, connected, serving
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipeline import save_tiny_pipeline

TINY = "tiny/sd"
UNET = "unet/diffusion_pytorch_model.safetensors"
OTHERS = {  # what a repository holds besides, in the places of the published ones
    "README.md": b"---\nlicence: mit\n---",
    "v1-5-pruned.safetensors": b"one file for all" * 500,
    "unet/diffusion_pytorch_model.bin": b"pickle" * 500,
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half" * 500,
    "unet/diffusion_pytorch_model.non_ema.safetensors": b"twice" * 500,
    "unet/diffusion_pytorch_model.bin.index.json": b"{}",
    "text_encoder/model.onnx": b"onnx" * 500,
    "safety_checker/model.safetensors": b"safe" * 500,
    "vae_1_0/diffusion_pytorch_model.safetensors": b"older" * 500,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder, for reading."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def hub(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with one repository, and a cache that is empty."""
    monkeypatch.setattr(bases, "gpu_memory", lambda: None)
    with serving(Hub()) as hub:
        hub.commit(TINY, tiny, OTHERS)
        with connected(hub, tmp_path / "hf", monkeypatch):
            yield hub


def files_of(folder: Path) -> set[str]:
    """The files of a pipeline that was saved, all of which it is loaded from."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class TestPull:
    """A download that goes well."""

    def test_what_is_loaded_is_fetched_and_nothing_else(self, hub: Hub, tiny: Path) -> None:
        """The plain weights, configs and tokenizer, into the shared cache, at the commit."""
        events: list[Event] = []

        pulled = pull(TINY, on_event=events.append)

        assert hub.fetched() == files_of(tiny) == hub_cache.files_in(pulled.folder)
        assert pulled.revision == hub.branches[TINY]["main"]
        assert pulled.folder == hub_cache.snapshot(TINY, pulled.revision)
        assert pulled.folder.is_relative_to(paths.hub_cache())
        assert pulled.downloaded == pulled.size == sum(f.stat().st_size for f in tiny.rglob("*.*"))
        assert events == [
            StageBegan("download", 2, unit="MB"),
            StageMoved("download", 1),
            StageMoved("download", 2),
            StageEnded("download", 2, "done"),
        ]

    def test_it_is_used_without_the_hub(self, tiny: Path, tmp_path: Path) -> None:
        """With the server down a base is resolved, prepared for, pulled again and loaded."""
        worlds.photos(Path())
        with pytest.MonkeyPatch.context() as patch, serving(Hub()) as hub:
            hub.commit(TINY, tiny)
            with connected(hub, tmp_path / "hf", patch):
                commit = pull(TINY).revision
        with pytest.MonkeyPatch.context() as patch, connected(hub, tmp_path / "hf", patch):
            again = pull(TINY)
            entry = prepare(TrainRequest(folder=Path("photos"), base=TINY)).entry
            base = catalog.load(entry, CPU)

        assert (again.revision, again.downloaded) == (commit, 0)
        assert (entry.id, entry.revision) == (TINY, commit)
        theirs = catalog.load(catalog.resolve(str(tiny)), CPU)
        assert torch.equal(base.vocabulary()["clip_l"], theirs.vocabulary()["clip_l"])

    def test_a_revision_stays_until_another_is_asked_for(self, hub: Hub, tiny: Path) -> None:
        """A name means one commit; what was trained on an older one still finds it."""
        first = pull(TINY).revision
        second = hub.commit(TINY, tiny, {"scheduler/more.json": b"{}"})
        asked = len(hub.requests)

        assert pull(TINY).revision == first == catalog.resolve(TINY).revision
        assert len(hub.requests) == asked  # the Hub is not even asked
        assert pull(TINY, "main").revision == second == catalog.resolve(TINY).revision
        assert catalog.resolve_trained(TINY, first).revision == first
        assert pull(TINY, first).revision == first == catalog.resolve(TINY).revision

    def test_a_file_that_was_deleted_is_fetched_again(self, hub: Hub) -> None:
        """A base that is not whole is not here, and only what it lacks is downloaded."""
        pulled = pull(TINY)
        (pulled.folder / UNET).resolve().unlink()
        hub.requests.clear()

        with pytest.raises(BaseNotDownloaded, match=f"there is no {UNET}") as refused:
            catalog.resolve(TINY)
        again = pull(TINY)

        assert refused.value.hint == f"get it: prism bases pull {TINY}"
        assert hub.fetched() == {UNET}
        assert 0 < again.downloaded < again.size

    @pytest.mark.parametrize(
        "file", [UNET, "unet/config.json", "tokenizer/tokenizer_config.json", "model_index.json"]
    )
    def test_a_file_that_is_damaged_is_fetched_again(self, file: str, hub: Hub) -> None:
        """It alone, and it is said; a base that does not load is mended by the command it names."""
        pulled = pull(TINY)
        blob = (pulled.folder / file).resolve()
        whole = blob.read_bytes()
        blob.write_bytes(whole[:-9] + bytes(9))
        hub.requests.clear()
        events: list[Event] = []

        again = pull(TINY, on_event=events.append)

        assert hub.fetched() == {file} and (again.folder / file).read_bytes() == whole
        assert again.downloaded == len(whole)
        assert Note(f"{file} is damaged, and is fetched again", "warning") in events
        catalog.load(catalog.resolve(TINY), CPU)

    def test_a_damaged_file_stays_until_another_can_be_had(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may be a config that was edited, and there may be no network."""
        blob = (pull(TINY).folder / "unet/config.json").resolve()
        blob.write_bytes(blob.read_bytes() + b"\n")
        hub.faults, hub.for_good = {"/api/": [Status(500)]}, True

        with pytest.raises(HubUnreachable):
            pull(TINY)

        assert blob.is_file() and catalog.resolve(TINY).id == TINY

    def test_links_of_ones_own_and_files_of_other_tools_stay(
        self, hub: Hub, tmp_path: Path
    ) -> None:
        """Only what is loaded and what the Hub's cache keeps under its hash is compared with it."""
        folder = pull(TINY).folder
        mine = tmp_path / "mine.safetensors"
        mine.write_bytes(b"mine")
        (folder / UNET).unlink()
        (folder / UNET).symlink_to(mine)
        other = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
        other.symlink_to(folder.parents[1] / "blobs" / ("a" * 64))
        other.resolve().write_bytes(b"another tool's")

        assert pull(TINY).downloaded == 0
        assert mine.read_bytes() == b"mine" and other.is_file()

        pull(TINY, "main")  # compared with the Hub's own list, all is as it should be
        assert mine.read_bytes() == b"mine" and (folder / UNET).resolve() != mine

    def test_what_another_tool_downloaded_is_used(self, hub: Hub, tmp_path: Path) -> None:
        """Nothing is asked or copied, and from its first use on it is pinned like any other."""
        pulled = pull(TINY)
        shutil.rmtree(paths.bases_dir())
        reference = pulled.folder.parents[1] / "refs" / "main"
        reference.parent.mkdir(exist_ok=True)
        reference.write_text(pulled.revision)

        entry = catalog.resolve(TINY)
        catalog.remember(entry)
        reference.write_text("0" * 40)

        assert catalog.resolve(TINY) == entry
        assert entry.folder == pulled.folder

    def test_a_folder_of_that_name_is_not_in_the_way(self, hub: Hub) -> None:
        """`--base` takes the folder; what is pulled and listed stays the Hub's."""
        commit = pull(TINY).revision
        Path(TINY).mkdir(parents=True)

        again = pull(TINY)

        assert (again.revision, again.downloaded) == (commit, 0)
        assert [row.here for row in list_bases().bases if row.name == TINY] == [True]
        with pytest.raises(BaseRefused, match="does not hold a pipeline"):
            catalog.resolve(TINY)

    def test_a_short_name_is_pinned_under_it(self, hub: Hub, tiny: Path) -> None:
        """`sd15` and its Hub id are one base."""
        commit = hub.commit(NAMED["sd15"].repository, tiny)

        pull("sd15")

        record = json.loads((paths.bases_dir() / "sd15.json").read_text())
        assert record == {"repository": NAMED["sd15"].repository, "revision": commit}
        assert catalog.resolve("sd15") == catalog.resolve(NAMED["sd15"].repository)

    def test_flux(self, hub: Hub, tmp_path: Path) -> None:
        """Seven parts, T5's tokenizer among them; before it comes, what a CPU means for it."""
        folder = save_tiny_flux(tmp_path / "flux")
        hub.commit("tiny/flux", folder, OTHERS)
        events: list[Event] = []

        pull("tiny/flux", on_event=events.append)

        entry = catalog.resolve("tiny/flux")
        assert hub.fetched() == files_of(folder)
        assert (entry.parameterization, entry.size, entry.recipe) == ("flow", 512, FLUX_RECIPE)
        assert events[0] == Note(
            "tiny/flux wants an NVIDIA GPU, and none was found: its 16.9 billion weights take"
            " 67 GB of memory there",
            "warning",
        )


class TestPeek:
    """What a dry run fetches of a base that is not here."""

    def test_configs_only(self, hub: Hub, tiny: Path) -> None:
        """Enough to count it by, at the size that its files have on the Hub; nothing is pinned."""
        events: list[Event] = []

        ahead = peek(TINY, on_event=events.append)

        parts = ("text_encoder", "unet", "vae")
        configs = {f"{part}/config.json" for part in parts} | {
            *("model_index.json", "scheduler/scheduler_config.json")
        }
        whole = pull(TINY)
        fetched = sum((tiny / name).stat().st_size for name in configs)
        assert ahead.entry == catalog.resolve(TINY)
        assert (ahead.size, ahead.download) == (whole.size, whole.size - fetched)
        assert whole.downloaded == ahead.download
        assert Footprint(ahead.entry.folder).parts["unet"].parameters > 0
        (note,) = events
        assert isinstance(note, Note) and f"{fetched / 1000:.1f} kB" in note.text

    def test_it_is_not_taken_for_the_base(self, hub: Hub) -> None:
        """Still not here, and nothing larger came."""
        peek(TINY)

        with pytest.raises(BaseNotDownloaded):
            catalog.resolve(TINY)
        assert not any(name.endswith((".safetensors", ".txt")) for name in hub.fetched())
        assert not list(paths.bases_dir().glob("*"))


class TestFaults:
    """What can go wrong on the way."""

    def test_a_broken_connection_goes_on_in_the_middle(
        self, hub: Hub, tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Within a download what has arrived of a file is kept."""
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 512)
        hub.faults = {UNET: ["cut", "cut"]}

        pulled = pull(TINY)

        begins = [r.begin for r in hub.requests if r.method == "GET" and r.path.endswith(UNET)]
        assert len(begins) == 3 and 0 == begins[0] < begins[1] < begins[2]
        assert (pulled.folder / UNET).read_bytes() == (tiny / UNET).read_bytes()

    def test_an_interrupted_download_goes_on_with_the_next_file(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-C in the last file: nothing is pinned, and the others need not come again."""
        monkeypatch.setattr(download_meter, "megabytes", lambda count: count)
        total = sum(map(len, hub.contents[hub.branches[TINY]["main"]].values()))

        def stop(event: Event) -> None:
            if isinstance(event, StageMoved) and UNET in hub.requests[-1].path:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pull(TINY, on_event=stop)
        with pytest.raises(BaseNotDownloaded):
            catalog.resolve(TINY)
        hub.requests.clear()

        assert 0 < pull(TINY).downloaded < total
        assert hub.fetched() == {UNET}
        assert not list(paths.hub_cache().rglob("*.incomplete"))

    @pytest.mark.parametrize(
        ("where", "faults"),
        [
            ("/api/models/", [Status(500), Status(503)]),
            ("/tree/", [Status(502)]),
            (UNET, [Status(500), Status(429)]),
            (UNET, ["short"]),
            (UNET, ["changed"]),
            ("model_index.json", ["changed"]),
        ],
    )
    def test_what_may_pass_is_tried_again(
        self, hub: Hub, tiny: Path, where: str, faults: list[Fault]
    ) -> None:
        """A fault of the server, a file cut short, a byte that flipped: the next try mends it."""
        hub.faults = {where: faults}

        pulled = pull(TINY)

        assert faults == []
        assert (pulled.folder / UNET).read_bytes() == (tiny / UNET).read_bytes()

    @pytest.mark.parametrize(
        ("where", "fault", "error", "says", "mends"),
        [
            (
                "/resolve/",
                Status(401, "GatedRepo"),
                BaseGated,
                "accepted its licence",
                "auth login",
            ),
            ("/resolve/", Status(403, "GatedRepo"), BaseGated, "accepted its licence", "hf.co/x"),
            ("/api/", Status(403), BaseGated, "does not let you", "hf auth login"),
            ("/api/", Status(500), HubUnreachable, "answers 500", "bases pull tiny/sd"),
            (UNET, Status(503), HubUnreachable, "answers 503", "bases pull tiny/sd"),
            (UNET, "short", DownloadDamaged, f"{UNET} of tiny/sd arrived cut short", "again"),
            (UNET, "changed", DownloadDamaged, "is not what the Hub says", "again"),
        ],
    )
    def test_what_does_not_pass_is_told(
        self, hub: Hub, where: str, fault: Fault, error: type[PrismError], says: str, mends: str
    ) -> None:
        """A sentence each, with what mends it; the base is not taken for whole."""
        hub.faults, hub.for_good = {where: [fault]}, True

        with pytest.raises(error, match=says) as told:
            pull(TINY)

        assert mends.replace("hf.co/x", f"https://huggingface.co/{TINY}") in told.value.hint
        assert not list(paths.hub_cache().rglob("unet/*.safetensors"))
        with pytest.raises(BaseNotDownloaded):
            catalog.resolve(TINY)

    @pytest.mark.parametrize(
        ("base", "revision", "says", "mends"),
        [
            ("nobody/nothing", None, "no repository nobody/nothing", "hf auth login"),
            (TINY, "v9", "tiny/sd has no revision 'v9'", "--revision main"),
            ("sdlx", None, r"no base called 'sdlx'.*is it sdxl\?", "prism bases"),
        ],
    )
    def test_what_does_not_exist(
        self, hub: Hub, base: str, revision: str | None, says: str, mends: str
    ) -> None:
        """Neither the name nor the revision is taken for another."""
        with pytest.raises(BaseNotFound, match=says) as told:
            pull(base, revision)

        assert mends in told.value.hint

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"model_index.json": b'{"_class_name": "StableDiffusion3Pipeline"}'}, "'StableDiff"),
            ({"model_index.json": b"<html>"}, "no pipeline that an adapter serves"),
            ({"model_index.json": None}, "it has no model_index.json"),
            ({UNET: None}, f"has no {UNET}"),
            ({"vae/config.json": None}, "has no vae/config.json"),
        ],
    )
    def test_a_repository_that_cannot_be_used_costs_nothing(
        self, hub: Hub, change: dict[str, bytes | None], says: str
    ) -> None:
        """It is refused before anything large is fetched."""
        files = hub.contents[hub.branches[TINY]["main"]] | change
        hub.contents[hub.branches[TINY]["main"]] = {k: v for k, v in files.items() if v is not None}

        with pytest.raises(BaseRefused, match=says):
            pull(TINY)

        assert hub.fetched() <= {"model_index.json"}

    def test_a_disk_without_room(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is seen before the download, and said with both sizes."""
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))

        with pytest.raises(DiskFull, match=r"has 0\.0 GB free") as told:
            pull(TINY)

        assert "HF_HOME" in told.value.hint
        assert hub.fetched() == {"model_index.json"}

    def test_offline(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where HF_HUB_OFFLINE is set no request is made."""
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

        with pytest.raises(HubUnreachable, match="while HF_HUB_OFFLINE is set"):
            pull(TINY)

        assert hub.requests == []

    def test_no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody answers."""
        with serving(Hub()) as hub:
            pass

        with (
            connected(hub, tmp_path / "hf", monkeypatch),
            pytest.raises(HubUnreachable, match="cannot reach") as told,
        ):
            pull(TINY)

        assert "prism bases pull tiny/sd" in told.value.hint

    def test_mini_is_not_downloaded(self) -> None:
        """It is a part of prism."""
        with pytest.raises(BaseRefused, match="a part of prism"):
            pull("mini")


class TestResolution:
    """What a base is called, and what a concept says of its own."""

    @pytest.fixture(autouse=True)
    def _empty_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(bases, "gpu_memory", lambda: None)

    @pytest.mark.parametrize("base", [*NAMED, "owner/name"])
    def test_a_base_that_is_not_here(self, base: str) -> None:
        """It is known, and the command that gets it is said."""
        with pytest.raises(BaseNotDownloaded, match=f"the base {base} is not on") as told:
            catalog.resolve(base)

        assert told.value.hint == f"get it: prism bases pull {base}"

    def test_a_folder_of_that_name_is_a_folder(self, tiny: Path) -> None:
        """``owner/name`` is the Hub's only where there is no such folder."""
        shutil.copytree(tiny, "models/tiny")

        assert catalog.resolve("models/tiny").id == "local:tiny"

    def test_a_concept_names_its_revision(self) -> None:
        """One that the cache does not hold is said with the command that gets this very one."""
        with pytest.raises(BaseNotDownloaded) as told:
            catalog.resolve_trained("tiny/sd", "a" * 40)

        assert told.value.hint == f"get it: prism bases pull tiny/sd --revision {'a' * 40}"
        assert told.value.trained == ("tiny/sd", "a" * 40)

    @pytest.mark.parametrize(
        ("base_id", "revision"),
        [
            ("../../etc", "a" * 40),
            ("a/../b", "a" * 40),
            ("a/b", "../" * 13 + "a"),
            ("a--b/c", "a" * 40),
            ("a/b", "main"),
        ],
    )
    def test_an_archive_names_no_path(self, base_id: str, revision: str) -> None:
        """What is no repository or no commit is never looked up."""
        with pytest.raises(BaseNotFound, match="is not where it was") as told:
            catalog.resolve_trained(base_id, revision)

        assert not isinstance(told.value, BaseNotDownloaded)

    @pytest.mark.parametrize("text", ["", "{}", '{"revision": "main"}', "[1]"])
    def test_a_damaged_pin(self, text: str) -> None:
        """It is said, and not replaced by whatever is newest."""
        hub_cache.pin(TINY, "a" * 40)
        (paths.bases_dir() / "tiny--sd.json").write_text(text)

        with pytest.raises(BaseRefused, match="does not say which revision") as told:
            catalog.resolve(TINY)

        assert told.value.hint == "pin one: prism bases pull tiny/sd --revision main"

    @pytest.mark.parametrize(
        ("environ", "cache"),
        [
            ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
            ({"HUGGINGFACE_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
            ({"HF_HOME": "$PLACE/b"}, "/place/b/hub"),
            ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ],
    )
    def test_the_cache_is_where_the_hubs_own_tools_keep_it(
        self, environ: dict[str, str], cache: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same variables, in the same order."""
        monkeypatch.delenv("HF_HOME")
        for name, value in {"PLACE": "/place", **environ}.items():
            monkeypatch.setenv(name, value)

        assert paths.hub_cache() == Path(cache)

    def test_weights_in_pieces_are_whole_with_all_of_them_and_their_index(self) -> None:
        """FLUX's transformer comes in three."""
        parts = ("transformer",)
        stem = "transformer/diffusion_pytorch_model"
        pieces = [f"{stem}-0000{k}-of-00003.safetensors" for k in (1, 2, 3)]
        files = ["model_index.json", "transformer/config.json", *pieces]
        files.append(f"{stem}.safetensors.index.json")

        assert hub_cache.needed([*files, f"{stem}.fp16.safetensors"], parts) == files
        assert hub_cache.lacking(files, parts) is None
        for piece in (pieces[1], files[-1]):
            rest = [file for file in files if file != piece]
            assert hub_cache.lacking(rest, parts) == f"{stem}.safetensors"

    def test_what_would_be_downloaded(self) -> None:
        """Named with its size, and with a warning where this machine is too small for it."""
        assert offer_for(None) is None and offer_for("mini") is None
        flux, sdxl, other = offer_for("flux"), offer_for("sdxl"), offer_for("owner/name")

        assert flux is not None and flux.note is not None and "flux wants" in flux.note.text
        assert flux.size == 2 * 16_870_599_139
        assert sdxl is not None and sdxl.note is None and sdxl.size == 4 * 3_468_837_867
        assert other is not None and (other.size, other.note) == (None, None)


class TestListing:
    """`prism bases`."""

    def test_everything_that_was_used_is_listed(self, hub: Hub, tiny: Path, tmp_path: Path) -> None:
        """Named bases, the Hub's, folders, and what has become of them."""
        pull(TINY)
        moved = shutil.copytree(tiny, tmp_path / "moved")
        (moved / "vae" / "config.json").write_text("{}")
        entry = catalog.resolve(str(tiny))
        for folder, digits in ((tiny, "0" * 12), (moved, "1" * 12)):
            catalog.remember(replace(entry, folder=folder, revision=digits))
        shutil.rmtree(moved)

        rows = {row.name: row for row in list_bases().bases}

        assert list(rows) == ["mini", *NAMED, TINY, *sorted([str(tiny), str(moved)])]
        assert [name for name, row in rows.items() if row.here] == ["mini", TINY, str(tiny)]
        assert rows[TINY].disk == rows[str(tiny)].disk == pull(TINY).size
        assert (rows["flux"].gated, rows["sd15"].gated) == (True, False)
        assert rows["flux"].page == "https://huggingface.co/black-forest-labs/FLUX.1-dev"
        assert "no base called" in (rows[str(moved)].problem or "")

    @pytest.mark.parametrize(
        ("memory", "sdxl", "name", "why"),
        [
            (None, True, "mini", "no NVIDIA GPU"),
            (8 << 30, True, "mini", "and this one has 8.6 GB"),
            (24 << 30, False, "mini", "the base sdxl is not on this machine"),
            (24 << 30, True, "sdxl", "on a GPU with room"),
        ],
    )
    def test_the_default_and_why(
        self,
        memory: int | None,
        sdxl: bool,
        name: str,
        why: str,
        tiny: Path,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """SDXL where it is here and fits; `choose` takes it and says why."""
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(bases, "gpu_memory", lambda: memory)
        if sdxl:  # any pipeline that is whole
            shutil.copytree(tiny, hub_cache.snapshot(NAMED["sdxl"].repository, "b" * 40))
            hub_cache.pin(NAMED["sdxl"].repository, "b" * 40)

        assert default_base(memory)[0] == name
        assert why in default_base(memory)[1]
        entry, reason = bases.choose(None, cuda=True)
        assert entry == catalog.resolve(name) and why in reason
        assert bases.choose(None, cuda=False)[0].id == "mini"

    @pytest.mark.parametrize(
        ("answer", "visible", "memory"),
        [
            ("echo 24564; echo 8192", None, 8192 << 20),
            ("echo 24564", "", None),
            ("exit 9", None, None),
            ("echo No devices were found", None, None),
        ],
    )
    def test_the_gpu_is_asked_of_the_driver(
        self,
        answer: str,
        visible: str | None,
        memory: int | None,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Its tool prints MiB, a line for each card."""
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\n{answer}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tool.parent))
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

        assert bases.gpu_memory() == memory


def test_named_bases_have_a_family() -> None:
    """The tables agree with each other, and FLUX's recipe with the paper's code but for beta."""
    assert {named.pipeline for named in NAMED.values()} == set(FAMILIES)
    flat = FLUX_RECIPE.flat()
    assert [flat[k] for k in ("tokens.steps", "tokens.lr", "tokens.batch")] == [200, 1e-4, 1]
    assert [flat[k] for k in ("finetuning.steps", "finetuning.lr", "finetuning.batch")] == [
        *(500, 1e-4, 1)
    ]
    assert flat["tokens.beta"] == 0.05 and flat["finetuning.rank"] == 4
    assert (flat["drawing.steps"], flat["drawing.guidance"]) == (28, 3.5)
