"""The direction of dependencies, read from the imports of the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import fqrewrite

ROOT = Path(fqrewrite.__file__).parent
HEAVY = ("tensorflow", "numpy", "rich", "yaml")

# What each part may import of fqrewrite. `plans.items` are the records; the rest of `plans` makes them.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "codes": set(),
    "proto": {"errors"},
    "ir": {"errors", "proto"},
    "match": {"errors", "proto", "ir"},
    "model": {"errors", "proto", "ir"},
    "config": {"errors"},
    "plans.items": set(),
    "rules": {"proto", "ir", "match"},
    "plans": {"errors", "codes", "proto", "ir", "match", "config", "rules", "plans.items", "version"},
    "transform": {"errors", "proto", "ir", "match", "plans.items", "version"},
    "outline": {"errors", "proto", "ir", "match", "model", "plans.items", "transform"},
    "run": {"errors", "proto", "ir", "match", "model"},
    "check": {"errors", "proto", "ir", "match", "model", "plans"},
    "live": {"errors", "proto", "ir", "match", "model"},
    "report": {"errors", "codes", "plans.items", "version"},
    "source": {
        *("errors", "proto", "ir", "match", "model", "config", "plans", "plans.items", "transform", "outline"),
        "version",
    },
    "verbs": {
        *("errors", "proto", "ir", "match", "model", "config", "plans", "plans.items", "transform", "version"),
        *("outline", "run", "check", "source"),
    },
}
# Reports join a plan with what its application returned: they name those records' types. And the table of
# rules in README is made of the rules themselves.
EXCEPTIONS = {
    ("report.build", "ir.editor"),
    ("report.build", "verbs.rewrite"),
    ("report.calibration", "verbs.calibrate"),
    ("report.comparison", "verbs.compare"),
    ("report.comparison", "run.noise"),
    ("report.checks", "check.records"),
    ("report.explain", "rules"),
    ("report.provenance", "source.provenance"),
    ("report.warm_start", "verbs.warm_start"),
}


class Import(NamedTuple):
    """One import.

    Attributes:
        module: who imports.
        imported, names: what: ``from imported import names``.
        at_start: whether it happens when the module is imported.
        types_only: whether it never happens, but for type checkers.
    """

    module: str
    imported: str
    names: tuple[str, ...]
    at_start: bool
    types_only: bool


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@cache
def _imports() -> list[Import]:
    found = []
    for module, path in _modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types, later = set[int](), set[int]()
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for_types |= {id(inner) for inner in ast.walk(node)}
            elif isinstance(node, ast.FunctionDef):
                later |= {id(inner) for inner in ast.walk(node)}
        for node in ast.walk(tree):
            when = (id(node) not in later | for_types, id(node) in for_types)
            if isinstance(node, ast.Import):
                found += [Import(module, alias.name, (), *when) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} has a relative import"
                names = tuple(alias.name for alias in node.names)
                found.append(Import(module, node.module or "", names, *when))
    return found


def _targets(entry: Import) -> list[str]:
    """The parts of fqrewrite that an import reaches."""
    package, _, rest = entry.imported.partition(".")
    if package != "fqrewrite":
        return []
    if rest:
        return [rest]
    return ["version" if name == "__version__" else name for name in entry.names]


def _part(module: str) -> str:
    return module if module == "plans.items" else module.partition(".")[0]


def _named(entries: list[Import]) -> list[str]:
    return [f"{entry.module} imports {entry.imported} {', '.join(entry.names)}" for entry in entries]


@pytest.mark.parametrize("part", ALLOWED)
def test_dependencies_point_one_way(part: str) -> None:
    entries = [entry for entry in _imports() if _part(entry.module) == part]
    assert entries
    allowed = ALLOWED[part] | {part}
    wrong = [
        entry
        for entry in entries
        for target in _targets(entry)
        if _part(target) not in allowed and (entry.module, target) not in EXCEPTIONS
    ]
    assert _named(wrong) == []


def test_exceptions_are_needed() -> None:
    assert {(entry.module, target) for entry in _imports() for target in _targets(entry)} >= EXCEPTIONS


def test_every_part_has_its_place() -> None:
    # These put the parts together.
    above = {"", "__main__", "api", "cli", "tf1"}
    assert {_part(module) for module, _ in _modules()} - above == set(ALLOWED)


def test_nothing_imports_the_command_line() -> None:
    wrong = [entry for entry in _imports() if "cli" in _targets(entry) and entry.module != "__main__"]
    assert _named(wrong) == []


def test_reports_never_see_a_graph() -> None:
    """What `report` takes from the graph's side is for type checkers only, and is no graph."""
    entries = [entry for entry in _imports() if _part(entry.module) == "report"]
    targets = {target for entry in entries if not entry.types_only for target in _targets(entry)}
    assert {_part(target) for target in targets} <= {"report", "rules", "version"} | ALLOWED["report"]
    names = {name for entry in entries for name in entry.names}
    assert not names & {"Graph", "Node", "Value", "Editor", "Model", "Analysis"}


def test_only_the_editor_fills_graphs() -> None:
    """`Graph.index` and `reindex_op` are for the editor; emitters and rules go through it."""
    for module, path in _modules():
        if not module.startswith("ir."):
            assert "reindex_op" not in path.read_text(encoding="utf-8"), module


@pytest.mark.parametrize(("package", "home"), [("click", "cli"), ("yaml", "config")])
def test_one_home_for_each_library(package: str, home: str) -> None:
    users = {_part(entry.module) for entry in _imports() if entry.imported.partition(".")[0] == package}
    assert users == {home}


def test_schemas_are_made_where_formats_are() -> None:
    """JSON schemas belong to the formats that users see: config files and reports."""
    users = {module for module, path in _modules() if "msgspec.json.schema" in path.read_text(encoding="utf-8")}
    assert {_part(module) for module in users} == {"config", "report"}


def _loaded_with(roots: set[str]) -> set[str]:
    """Modules of fqrewrite that are imported when these are."""
    existing = {module for module, _ in _modules()}
    loaded, queue = set(roots), list(roots)
    assert loaded <= existing
    for module in queue:
        for entry in _imports():
            if entry.module != module or not entry.at_start:
                continue
            for target in _targets(entry):
                members = {f"{target}.{name}" for name in entry.names} | {target}
                new = members & existing - loaded
                loaded |= new
                queue += sorted(new)
    return loaded


def test_the_rewriting_path_starts_light() -> None:
    """rich, yaml and numpy cost 15 to 70 ms each, of a budget of 200; who needs them imports them then."""
    rules = {module for module, _ in _modules() if _part(module) == "rules"}
    loaded = _loaded_with(
        rules
        | {
            "cli",
            "verbs.rewrite",
            "report.build",
            "report.render",
            "plans.serialise",
            "config.resolve",
            "model.container",
        }
    )
    heavy = [entry for entry in _imports() if entry.at_start and entry.imported.partition(".")[0] in HEAVY]
    assert _named([entry for entry in heavy if entry.module in loaded]) == []


def test_the_rewriting_path_never_imports_tensorflow() -> None:
    """Checkpoints do, in one place, when they are read or written."""
    users = [entry for entry in _imports() if entry.imported.partition(".")[0] in ("tensorflow", "keras")]
    assert {(entry.module, entry.at_start) for entry in users} == {("model.tensorflow_import", False)}


def test_any_stands_for_messages_only() -> None:
    """Rules and matching are typed throughout; `Any` is for protobuf messages."""
    users = {
        entry.module
        for entry in _imports()
        if entry.imported == "typing" and "Any" in entry.names and _part(entry.module) in ("match", "rules")
    }
    assert users == set()


def test_files_have_one_idea_each() -> None:
    sizes = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in _modules()}
    assert {module: size for module, size in sizes.items() if size > 350} == {}
    assert not {module.rpartition(".")[2] for module in sizes} & {"utils", "helpers", "common", "misc"}
