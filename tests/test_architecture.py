"""Which module may import which: cli -> services -> method -> backbones.base; what stays out."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "prism_cli").rglob("*.py"))
ROOTS = {
    *("errors", "evaluation_prompts", "files", "names", "paths", "placeholders", "prompts"),
    *("settings", "__init__"),
}
ANY = {
    "cli",
    "services",
    "method",
    "backbones",
    "captioners",
    "encoders",
    "registry",
    "reports",
    "runtime",
    "gemini_client",
}

# A layer, what it may import of prism besides the root modules and itself, and what it may not
# import of others' ("*" for anything outside the standard library that is not listed after it).
OWN: dict[str, set[str]] = {
    "cli": {"services", "registry"},
    "services": ANY - {"cli"},
    "method": {"backbones.base", "backbones.corruption"},  # formulas, no model
    "backbones": {"runtime"},
    # One needs the practice base's scorer, another the client that a judge shares with it.
    "captioners": {"encoders", "gemini_client"},
    "encoders": set(),
    "registry": set(),
    "reports": set(),
    "runtime": set(),
    "gemini_client": set(),  # at the root, as two layers ask through it; it is not light
    "__main__": {"cli"},
    **{name: set() for name in ROOTS},
}
FEW = {"platformdirs", "filelock", "prism_cli"}  # all that a listing may need to be installed
NEVER: dict[str, set[str]] = {"method": {"diffusers", "transformers", "peft", "PIL"}}


def layer(path: Path) -> str:
    """The first folder below prism_cli, or the name of a module at its root."""
    return path.relative_to(ROOT / "prism_cli").parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module that the file imports, anywhere in it, in full: prism_cli.errors, typer ..."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path} imports relatively"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def tops(path: Path) -> set[str]:
    """The packages that the file imports from."""
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    """A module imports its own layer, those below it, and the modules at the root."""
    own = {
        name.removeprefix("prism_cli.") for name in imports(path) if name.startswith("prism_cli.")
    }
    allowed = OWN[layer(path)] | ROOTS | {layer(path), "__version__"}

    outside = {
        name
        for name in own
        if not any(name == a or name.startswith(f"{a}.") for a in allowed)
        and not any(a.startswith(f"{name}.") for a in allowed)  # the package of an allowed module
    }

    assert not outside
    assert not NEVER.get(layer(path), set()) & tops(path)
    assert "click" not in tops(path)
    if layer(path) != "cli":
        assert not {"typer", "rich"} & tops(path)
    if layer(path) == "registry" or layer(path) in ROOTS:
        assert tops(path) <= FEW | sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_two_modules_print(path: Path) -> None:
    """Everything else returns or raises; results and progress go through render and progress."""
    calls = [
        n.func for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)
    ]
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    writes = {ast.unparse(func) for func in calls if isinstance(func, ast.Attribute)}

    if path.relative_to(ROOT / "prism_cli").as_posix() not in {"cli/render.py", "cli/progress.py"}:
        assert not {"print", "Console"} & names
        assert not {"sys.stdout.write", "sys.stderr.write", "typer.echo"} & writes
