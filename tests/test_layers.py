"""The shape of the package: imports point one way, importing costs nothing, DVC knows what each stage runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

# Who may be imported by whom: a layer imports itself and those before it. What is in no list is an edge.
FACTS = ("mergeline.errors", "mergeline.schema", "mergeline.params", "mergeline.sources.declaration")
PURE = (
    *("mergeline.holdout", "mergeline.target", "mergeline.intervals", "mergeline.metrics", "mergeline.paired"),
    *("mergeline.gates", "mergeline.models", "mergeline.monitor", "mergeline.stages", "mergeline.report"),
    "mergeline.site",
    *("mergeline.release.champion", "mergeline.release.manifests", "mergeline.release.model"),
    *("mergeline.release.receipt", "mergeline.release.history", "mergeline.release.ledger"),
    *("mergeline.release.evidence", "mergeline.release.selection", "mergeline.release.dora"),
    *("mergeline.release.lineage", "mergeline.release.openlineage", "mergeline.release.printed"),
    "mergeline.release.retirement",
)
LAYERS = ("facts", "pure", "edges")
HEAVY = (
    *("pandas", "numpy", "scipy", "sklearn", "torch", "onnx", "onnxruntime", "skl2onnx", "pyarrow"),
    *("mlflow", "great_expectations", "dvc", "optuna", "sqlalchemy", "requests"),
)
SAMPLE_WORDS = ("flight", "carrier", "airport", "airline", "departure", "arrival", "plane", "runway", "weather")


# ---- Reading the source ----------------------------------------------------------------------------------------------


def modules(source: Path = SOURCE) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(source.glob("mergeline/**/*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(node: ast.AST, *, types: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements at any depth; those under TYPE_CHECKING if asked for."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif types or not only_for_types(child):
            yield from statements(child, types=types)


def imported(text: str, known: Iterable[str], *, types: bool) -> set[str]:
    """The package's modules that a source text imports, functions' own imports included."""
    found = set()
    for statement in statements(ast.parse(text), types=types):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif statement.module:
            names = {f"{statement.module}.{alias.name}" for alias in statement.names}
            found |= {statement.module, *names}
    return found & set(known)


def layer(module: str) -> int:
    """0 for facts, 1 for pure, 2 for edges."""
    for number, names in enumerate((FACTS, PURE)):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return number
    return 2


def wrong_ways(texts: Mapping[str, str]) -> list[str]:
    """The imports that point from a layer to a later one."""
    return [
        f"{module} ({LAYERS[layer(module)]}) imports {name} ({LAYERS[layer(name)]})"
        for module, text in texts.items()
        for name in sorted(imported(text, texts, types=True) - {"mergeline"})
        if layer(name) > layer(module) and not is_package_of_a_fact(name)
    ]


def is_package_of_a_fact(name: str) -> bool:
    """`from mergeline.sources.declaration import X` names the package mergeline.sources on its way."""
    return any(fact.startswith(f"{name}.") for fact in FACTS)


# ---- Layers ----------------------------------------------------------------------------------------------------------


def test_imports_point_from_edges_to_pure_stages_to_facts() -> None:
    assert wrong_ways({name: path.read_text(encoding="utf-8") for name, path in modules().items()}) == []


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("mergeline.stages.train", "from mergeline import tracking"),
        ("mergeline.stages.train", "def fit():\n    from mergeline.files import write_json"),
        ("mergeline.models.scorer", "if TYPE_CHECKING:\n    from mergeline.table import partitions"),
        ("mergeline.schema", "import mergeline.stages.train"),
        ("mergeline.errors", "import mergeline.models.encoder"),
    ],
)
def test_the_twin_an_import_the_other_way_is_found_wherever_it_stands(module: str, planted: str) -> None:
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    found = wrong_ways({**texts, module: f"{texts[module]}\n{planted}\n"})
    assert len(found) == 1
    assert found[0].startswith(f"{module} (")


def test_every_module_of_the_table_is_there() -> None:
    known = modules()
    assert [name for name in (*FACTS, *PURE) if name not in known] == []


@pytest.mark.parametrize("entry", ["mergeline.cli", "mergeline.params", "mergeline.stages.train", "mergeline.metrics"])
def test_importing_costs_nothing(entry: str) -> None:
    """No heavy library, no folder, no file; the stages and the metrics take numpy alone."""
    allowed = {"numpy"} if entry in ("mergeline.stages.train", "mergeline.metrics") else set()
    assert heavy_after(f"import {entry}") <= allowed


def test_declaring_every_verb_costs_nothing() -> None:
    assert heavy_after("from mergeline.cli import parser; parser()") == set()


def test_the_twin_a_heavy_import_is_seen() -> None:
    assert "pandas" in heavy_after("import mergeline.cli, pandas")


def heavy_after(statement: str) -> set[str]:
    """The heavy libraries that a fresh interpreter holds after a statement."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in ran.stdout.split()} & set(HEAVY)


# ---- The server's image ----------------------------------------------------------------------------------------------

NOT_IN_THE_IMAGE = (
    *("pandas", "scipy", "sklearn", "skl2onnx", "torch", "onnx", "mlflow", "great_expectations", "dvc", "optuna"),
    *("sqlalchemy", "requests", "pydantic", "boto3", "mergeline.stages", "mergeline.params", "mergeline.commands"),
)


def foreign_to_the_image(text: str) -> set[str]:
    """What a module of the server imports, at any depth but for types, that its image does not hold."""
    names = set()
    for statement in statements(ast.parse(text), types=False):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif statement.module:
            names |= {statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)}
    return {no for no in NOT_IN_THE_IMAGE for name in names if name == no or name.startswith(f"{no}.")}


def test_the_server_imports_no_stage_and_no_library_of_training() -> None:
    server = {name: path for name, path in modules().items() if name.startswith("mergeline.serve")}
    assert len(server) > 10
    found = {name: foreign_to_the_image(path.read_text(encoding="utf-8")) for name, path in server.items()}
    assert {name: foreign for name, foreign in found.items() if foreign} == {}


@pytest.mark.parametrize(
    "planted", ["def f():\n    import pandas as pd", "from mergeline.stages import train", "import scipy.stats"]
)
def test_the_twin_such_an_import_is_found(planted: str) -> None:
    assert len(foreign_to_the_image(planted)) == 1


# ---- The template is not about its sample ----------------------------------------------------------------------------


def sample_words(text: str) -> set[str]:
    return {word for word in SAMPLE_WORDS if re.search(rf"(?<![a-z]){word}(?:s|ures?)?(?![a-z])", text, re.IGNORECASE)}


def test_the_package_knows_nothing_of_the_sample_problem() -> None:
    found = {name: sample_words(path.read_text(encoding="utf-8")) for name, path in modules().items()}
    assert {name: words for name, words in found.items() if words} == {}


def test_the_twin_a_word_of_the_sample_is_found_and_words_around_it_are_not() -> None:
    assert sample_words('parser.add_argument("--Flights")') == {"flight"}
    assert sample_words("scheduled_departure") == {"departure"}
    assert sample_words("explanation of a planet, in flightless prose") == set()


# ---- dvc.yaml --------------------------------------------------------------------------------------------------------


def closure(start: str, texts: Mapping[str, str]) -> set[str]:
    """The modules that run when `start` runs."""
    found, waiting = set(), [start]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imported(texts[module], texts, types=False)
    return found


def has_code(text: str) -> bool:
    """Whether there is more in a module than its docstring and constants."""
    return any(
        not isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.ImportFrom) for node in ast.parse(text).body
    )


def undeclared(stage: str, deps: Iterable[str]) -> list[str]:
    """The files that a stage runs and that its deps do not name; a change of one would not run it again."""
    known = modules()
    texts = {name: path.read_text(encoding="utf-8") for name, path in known.items()}
    run = closure(f"mergeline.stages.{stage}", texts) - {"mergeline.errors"}
    needed = {known[name].relative_to(ROOT).as_posix() for name in run if has_code(texts[name])}
    return sorted(name for name in needed if not covered(name, deps))


def covered(name: str, deps: Iterable[str]) -> bool:
    """Whether a file is one of the deps or lies in one of them."""
    return any(name == dep or name.startswith(f"{dep}/") for dep in deps)


def declared() -> dict[str, list[str]]:
    """The deps of each stage of dvc.yaml."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage["deps"] for name, stage in stages.items()}


@pytest.mark.parametrize("stage", declared())
def test_the_deps_of_a_stage_name_every_module_that_it_runs(stage: str) -> None:
    assert undeclared(stage, declared()[stage]) == []


@pytest.mark.parametrize("stage", declared())
def test_a_stage_names_no_module_that_is_not_there(stage: str) -> None:
    assert [dep for dep in declared()[stage] if dep.startswith("src/") and not (ROOT / dep).exists()] == []


@pytest.mark.parametrize(
    ("stage", "dropped"),
    [
        ("validate", "src/mergeline/stages/facts.py"),
        ("train", "src/mergeline/models/torch_mlp.py"),
        ("evaluate", "src/mergeline/intervals"),
        ("compare", "src/mergeline/gates"),
    ],
)
def test_the_twin_a_dep_that_is_left_out_is_found(stage: str, dropped: str) -> None:
    found = undeclared(stage, [dep for dep in declared()[stage] if dep != dropped])
    assert found
    assert all(covered(name, [dropped]) for name in found)
