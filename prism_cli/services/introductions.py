"""What a command says first: which base was chosen and why, and what a practice base is."""

from __future__ import annotations

from dataclasses import replace

from prism_cli.backbones.catalog import BaseEntry
from prism_cli.runtime import Runtime, check_compiler
from prism_cli.services.events import Note, OnEvent


def introduce(entry: BaseEntry, why: str, runtime: Runtime, on_event: OnEvent) -> None:
    """Report the choice of `entry`; `why` completes the sentence in brackets."""
    on_event(Note(f"base: {entry.id} at {entry.size} px on {runtime.device.type} ({why})"))
    if entry.practice:
        on_event(
            Note(
                f"{entry.id} is the embedded practice base: it draws {entry.size} px icons and "
                "knows no photographs; for real ones name another with --base (prism bases)"
            )
        )


def compiling(runtime: Runtime, on_event: OnEvent) -> Runtime:
    """`runtime` with compiled blocks; OptionRefused where there is no compiler for them."""
    check_compiler(runtime.device)
    on_event(Note("the denoiser's blocks are compiled: the first steps of each stage wait for it"))
    return replace(runtime, compiled=True)
