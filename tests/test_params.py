"""params.yaml: what is written is what is read, and what cannot be meant is refused by its dotted key."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tables import raw_params

from mergeline import params
from mergeline.errors import ConfigurationError
from mergeline.params import (
    PRIMARY_METRICS,
    DriftParams,
    GateParams,
    Params,
    TorchMlp,
    load,
    load_sections,
    parse,
    parse_gates,
    parse_yaml,
)
from mergeline.params.engine import EngineParams
from mergeline.params.section import SECTIONS
from mergeline.schema import Task

MINIMAL = """\
data:
  task: binary
  target: bought
  time: placed
  numeric: [amount, visits]
  categorical: [shop]
  holdout: {days: 5}
"""

# A file, the whole line that it is answered with (its name aside), and what is wrong with it.
BAD_FILES = [
    pytest.param("", ": expected a mapping of sections, found nothing", id="an empty file"),
    pytest.param("- a\n", ": expected a mapping of sections, found ['a']", id="a list"),
    pytest.param("just words\n", ": expected a mapping of sections, found 'just words'", id="a text"),
    pytest.param(
        "data: [1\ntrain: 2\n", ":2:6: not valid YAML: expected ',' or ']', but got ':'", id="YAML that does not close"
    ),
    pytest.param(
        "data:\n\ttask: binary\n",
        ":2:1: not valid YAML: found character '\\t' that cannot start any token",
        id="a tab as indentation",
    ),
    pytest.param(
        "data: 1\ndata: 2\n",
        ':2:1: not valid YAML: found duplicate key "data" with value "2" (original value: "1")',
        id="a key twice",
    ),
    pytest.param("train: {}\n", ": data: missing", id="a section that has to be there"),
    pytest.param(MINIMAL + "trian: {}\n", ": trian: unknown key; did you mean 'train'?", id="a misspelt section"),
    pytest.param(
        MINIMAL + "train: {sede: 1}\n", ": train.sede: unknown key; did you mean 'seed'?", id="a misspelt setting"
    ),
    pytest.param(
        MINIMAL + "train: {torch_mlp: {layers: [3]}}\n", ": train.torch_mlp.layers: unknown key", id="an invented one"
    ),
    pytest.param(
        MINIMAL + "validate: {columns: {shop: {mising: 0}}}\n",
        ": validate.columns.shop.mising: unknown key; did you mean 'missing'?",
        id="a misspelt rule of a column",
    ),
    pytest.param(
        MINIMAL.replace("visits]", "'a`b']"),
        ": data: expected features without quotes, backslashes, backticks and control signs, found 'a`b'; rename it",
        id="a feature that no refusal could name",
    ),
    pytest.param(
        MINIMAL.replace("  holdout", "  personal: [shpo]\n  holdout"),
        ": data: personal: 'shpo' is no feature; did you mean 'shop'?",
        id="a personal column that is no feature",
    ),
    pytest.param(
        MINIMAL + "sources: {base: {fles: a.csv}}\n",
        ": sources.base.fles: unknown key; did you mean 'files'?",
        id="a misspelt setting of a source",
    ),
    pytest.param(
        MINIMAL + "train: {seed: '1'}\n", ": train.seed: expected a valid integer, found '1'", id="text for a number"
    ),
    pytest.param(
        MINIMAL + "train: {seed: -1}\n",
        ": train.seed: expected a number greater than or equal to 0, found -1",
        id="a number out of range",
    ),
    pytest.param(
        MINIMAL + "train: {refit: 1}\n", ": train.refit: expected a valid boolean, found 1", id="a number for a switch"
    ),
    pytest.param(
        MINIMAL + "train: {torch_mlp: {hidden: 8}}\n",
        ": train.torch_mlp.hidden: expected a list, found 8",
        id="a number for a list",
    ),
    pytest.param(MINIMAL + "evaluate: 3\n", ": evaluate: expected a mapping, found 3", id="a number for a section"),
    pytest.param(MINIMAL + "1: 2\n", ": 1: expected a key that is text", id="a number for a key"),
    pytest.param(
        MINIMAL + "train: {family: xgboost}\n",
        ": train.family: expected 'hist_gradient_boosting', 'random_forest', 'logistic_regression' or 'torch_mlp',"
        " found 'xgboost'",
        id="a family that is not there",
    ),
    pytest.param(
        MINIMAL + "train: {threshold: f2}\n",
        ": train.threshold: expected f1 or a number between 0 and 1, found 'f2'",
        id="an unknown rule for the threshold",
    ),
    pytest.param(
        MINIMAL + "train: {threshold: 1.0}\n",
        ": train.threshold: expected f1 or a number between 0 and 1, found 1.0",
        id="a threshold that nothing passes",
    ),
    pytest.param(
        MINIMAL + "train: {logistic_regression: {c: .inf}}\n",
        ": train.logistic_regression.c: expected a finite number, found inf",
        id="infinity",
    ),
    pytest.param(
        MINIMAL + "validate: {columns: {amount: {missing: .nan}}}\n",
        ": validate.columns.amount.missing: expected a finite number, found nan",
        id="NaN for a share",
    ),
    pytest.param(
        MINIMAL + "validate: {columns: {amount: {min: .nan}}}\n",
        ": validate.columns.amount.min: expected a finite number, found nan",
        id="NaN for a limit, which nothing would break",
    ),
    pytest.param(
        MINIMAL + "validate: {columns: {amount: {min: 5, max: 1}}}\n",
        ": validate.columns.amount: expected min not above max, found 5 and 1",
        id="limits that nothing keeps",
    ),
    pytest.param(
        MINIMAL + 'validate: {columns: {placed: {min: 5, max: "2024-01-01"}}}\n',
        ": validate.columns.placed: expected min and max to be two numbers or two dates, found 5 and 2024-01-01",
        id="a number and a date",
    ),
    pytest.param(
        MINIMAL + "validate: {columns: {placed: {min: 5}}}\n",
        ": validate.columns.placed: expected dates as limits of data.time, found numbers",
        id="a number as the limit of time",
    ),
    pytest.param(
        MINIMAL + "validate: {columns: {shop: {values: [a, [b]]}}}\n",
        ": validate.columns.shop.values.1: expected a number, a text, true or false, found ['b']",
        id="a list among values",
    ),
    pytest.param(
        MINIMAL + "validate: {columns: {shoop: {missing: 0}}}\n",
        ": validate.columns: 'shoop' is no column of data; did you mean 'shop'?",
        id="a rule for a column that is not there",
    ),
    pytest.param(
        MINIMAL + "evaluate: {slices: [region]}\n",
        ": evaluate.slices: 'region' is no column of data",
        id="slices of a column that is not there",
    ),
    pytest.param(
        MINIMAL.replace("binary", "multiclass") + "train: {calibration: sigmoid}\n",
        ": train.calibration: expected none for this task, sigmoid is for a binary one",
        id="calibration of many classes",
    ),
    pytest.param(
        MINIMAL + "  as_of: 2024-02-01\n",
        ": data.as_of: expected a date in quotes (DVC takes no bare one), found 2024-02-01",
        id="a bare date",
    ),
    pytest.param(
        MINIMAL + "  as_of: soon\n", ": data.as_of: expected a date such as \"2013-07-01\", found 'soon'", id="no date"
    ),
    pytest.param(
        MINIMAL.replace("shop", "bought"),
        ": data: expected the target not to be a feature, found 'bought' among them",
        id="the target among the features",
    ),
    pytest.param(
        MINIMAL + "  id: shop\n",
        ": data: expected the id not to be a feature, found 'shop' among them",
        id="the id among the features",
    ),
    pytest.param(
        MINIMAL + "  id: bought\n",
        ": data: expected the target not to be the id or the time, found 'bought'",
        id="one column as target and as id",
    ),
    pytest.param(
        MINIMAL.replace("visits", "amount"), ": data: expected each feature once, found amount again", id="a double"
    ),
    pytest.param(
        MINIMAL.replace("visits", "score"),
        ": data: expected no feature called 'score', which is the model's own column; rename it",
        id="a feature with the name of the answer",
    ),
    pytest.param(
        MINIMAL.replace("[amount, visits]", "[]").replace("[shop]", "[]"),
        ": data: expected at least one column under numeric or categorical",
        id="no feature",
    ),
    pytest.param(
        MINIMAL.replace("days: 5", "days: 5, share: 0.2"),
        ": data.holdout: expected exactly one of days and share",
        id="both sizes of the holdout",
    ),
    pytest.param(
        MINIMAL.replace("{days: 5}", "{}"),
        ": data.holdout: expected exactly one of days and share",
        id="no size of the holdout",
    ),
    pytest.param(
        MINIMAL.replace("  time: placed\n", ""),
        ": data: holdout.days needs data.time; name a time column or use holdout.share",
        id="days without a time",
    ),
    pytest.param(
        MINIMAL.replace("task: binary", "task: binry") + "train: {seed: x, sede: 1}\nevaluation: {}\n",
        ": data.task: expected 'binary', 'multiclass' or 'regression', found 'binry';"
        " train.seed: expected a valid integer, found 'x'; train.sede: unknown key; did you mean 'seed'?;"
        " evaluation: unknown key; did you mean 'evaluate'?",
        id="four problems at once",
    ),
    pytest.param(
        MINIMAL.replace("shop", "bought") + "  id: amount\n",
        ": data: expected the target not to be a feature, found 'bought' among them;"
        " expected the id not to be a feature, found 'amount' among them",
        id="two problems of one section",
    ),
    pytest.param(
        MINIMAL + "validate: {columns: {a: {}}}\nevaluate: {slices: [b]}\n",
        ": validate.columns: 'a' is no column of data; evaluate.slices: 'b' is no column of data",
        id="two problems between sections",
    ),
    pytest.param(
        MINIMAL + "gates: {improvment: {margin: 0.1}}\n",
        ": gates.improvment: unknown key; did you mean 'improvement'?",
        id="a misspelt gate",
    ),
    pytest.param(
        MINIMAL + "gates: {slices: {min_row: 10}}\n",
        ": gates.slices.min_row: unknown key; did you mean 'min_rows'?",
        id="a misspelt setting of a gate",
    ),
    pytest.param(
        MINIMAL + "gates: {fairness: {columns: [shopp, region]}}\n",
        ": gates.fairness.columns: 'shopp' is no column of data; did you mean 'shop'?;"
        " gates.fairness.columns: 'region' is no column of data",
        id="fairness between groups of columns that are not there",
    ),
    pytest.param(
        MINIMAL + "gates: {behaviour: {invariant: [visit], directions: {placed: up}}}\n",
        ": gates.behaviour.invariant: 'visit' is no feature of data; did you mean 'visits'?;"
        " gates.behaviour.directions: 'placed' is no feature of data",
        id="behaviour on what is no feature, the time among them",
    ),
    pytest.param(
        MINIMAL + "gates: {behaviour: {directions: {visits: more}}}\n",
        ": gates.behaviour.directions.visits: expected 'up' or 'down', found 'more'",
        id="a direction that is none",
    ),
    pytest.param(
        MINIMAL + "evaluate: {primary: rmse}\n",
        ": evaluate.primary: expected one of roc_auc, average_precision, log_loss, brier_score, accuracy, precision,"
        " recall, f1, found 'rmse'",
        id="the primary metric of another task",
    ),
    pytest.param(
        MINIMAL + "gates: {improvement: {margin: -0.01}}\n",
        ": gates.improvement.margin: expected a number greater than or equal to 0, found -0.01",
        id="a negative margin",
    ),
    pytest.param(
        MINIMAL + "gates: {improvement: {margin: .inf}, slices: {margin: .nan}}\n",
        ": gates.improvement.margin: expected a finite number, found inf;"
        " gates.slices.margin: expected a finite number, found nan",
        id="margins that nothing exceeds",
    ),
    pytest.param(
        MINIMAL + "gates: {slices: {confidence: 1.0}, fairness: {confidence: 0.5}}\n",
        ": gates.slices.confidence: expected a number less than 1, found 1.0;"
        " gates.fairness.confidence: expected a number greater than 0.5, found 0.5",
        id="a confidence that no interval has",
    ),
    pytest.param(
        MINIMAL + "gates: {floors: {roc_auc: high}}\n",
        ": gates.floors.roc_auc: expected a valid number, found 'high'",
        id="a floor that is no number",
    ),
    pytest.param(MINIMAL + "gates: [size]\n", ": gates: expected a mapping, found ['size']", id="a list of gates"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_bad_file_is_one_line_with_each_problem_and_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value) == f"{path}{message}"
    assert caught.value.exit_code == 2


def test_the_file_that_the_bad_ones_start_from_is_good(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(MINIMAL)
    loaded = load(path)
    assert loaded.data.task is Task.BINARY
    assert loaded.data.features == ("amount", "visits", "shop")
    assert loaded.data.columns == ("placed", "amount", "visits", "shop", "bought")


def test_what_is_left_out_has_a_default_and_a_family_keeps_its_settings_when_another_is_chosen() -> None:
    loaded = parse(raw_params(train={"family": "torch_mlp", "random_forest": {"trees": 7}}))
    assert isinstance(loaded.train.settings, TorchMlp)
    assert loaded.train.random_forest.trees == 7
    assert loaded.train.preprocessing.max_categories == 1000
    assert loaded.validation.derived == "warn"
    assert loaded.sources is None


def test_settings_cannot_be_changed_after_they_were_checked() -> None:
    loaded = parse(raw_params())
    with pytest.raises(ValueError, match="frozen"):
        loaded.train.seed = 5


@pytest.mark.parametrize("value", [True, 1, 1.0, "yes"])
def test_a_value_keeps_the_type_that_it_was_written_in(value: Any) -> None:
    loaded = parse(raw_params(data={"positive": value}))
    assert loaded.data.positive == value
    assert type(loaded.data.positive) is type(value)


def test_a_date_in_quotes_is_a_day_and_a_limit() -> None:
    loaded = parse(raw_params(data={"as_of": "2024-02-01"}, validate={"columns": {"placed": {"min": "2023-12-31"}}}))
    assert loaded.data.as_of == dt.date(2024, 2, 1)
    assert loaded.validation.columns["placed"].min == dt.date(2023, 12, 31)


def test_words_that_yaml_1_1_takes_for_switches_stay_words_as_dvc_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(MINIMAL + "validate: {columns: {shop: {values: [NO, on, yes, 010]}}}\n")
    assert load(path).validation.columns["shop"].values == ("NO", "on", "yes", 10)


def test_a_file_that_is_not_there_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"params\.yaml: no such file; `mergeline init TABLE --target COLUMN`"):
        load(tmp_path / "params.yaml")


def test_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a readable file, found Is a directory"):
        load(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_bytes(MINIMAL.encode() + b"\xff")
    with pytest.raises(ConfigurationError, match="expected UTF-8 text, found byte 0xff"):
        load(path)
    path.write_bytes(MINIMAL.encode() + b"\x00")
    with pytest.raises(ConfigurationError, match="not valid YAML: unacceptable character") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_long_value_is_shown_in_short() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(raw_params(data={"target": ["x" * 500] * 500}))
    assert len(str(caught.value)) < 300


# ---- The policy alone, as it stands on another branch ----------------------------------------------------------------


def test_the_default_policy_is_read_back_from_its_own_dump_and_from_nothing() -> None:
    policy = GateParams()
    assert parse_gates(policy.model_dump(mode="json"), "main") == policy
    assert parse_gates(policy.model_dump(), "main") == policy
    assert parse_gates({}, "main") == parse_gates(None, "main") == policy


@pytest.mark.parametrize("name", list(GateParams.model_fields))
def test_each_gate_of_the_default_policy_may_be_written_out_alone(name: str) -> None:
    written = {name: GateParams().model_dump(mode="json")[name]}
    assert parse_gates(written, "main") == GateParams()
    assert parse(raw_params() | {"gates": written}).gates == GateParams()


def test_a_policy_of_which_nothing_is_a_default_is_read_back() -> None:
    written = {
        "holdout": {"budget": None, "smaller": True},
        "improvement": {"confidence": 0.9, "margin": 0.1, "non_inferiority": True},
        "floors": {"roc_auc": 0.7, "log_loss": 1},
        "slices": {"margin": 0.2, "confidence": 0.8, "min_rows": 2, "min_class_rows": 3},
        "calibration": {"max_error": None},
        "latency": {"max_ratio": None},
        "size": {"max_mib": 1},
        "parity": {"tolerance": 0.1},
        "behaviour": {"invariant": ["noise"], "directions": {"amount": "up"}, "tolerance": 0.0},
        "leakage": {"max_explained": 0.5, "max_gain": None},
        "fairness": {"columns": ["shop"], "max_gap": 0.3, "confidence": 0.6, "min_rows": 9},
    }
    policy = parse_gates(written, "main")
    assert policy.model_dump(mode="json") == written
    assert parse_gates(policy.model_dump(mode="json"), "main") == policy
    default = GateParams().model_dump(mode="json")
    assert all(written[name] != default[name] for name in default)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"improvment": {}}, "improvment: unknown key; did you mean 'improvement'?"),
        ({"holdout": {"smaller": 1}}, "holdout.smaller: expected a valid boolean, found 1"),
        ({"holdout": {"smaler": True}}, "holdout.smaler: unknown key; did you mean 'smaller'?"),
        ({"size": {"max_mb": 1}}, "size.max_mb: unknown key; did you mean 'max_mib'?"),
        ({"slices": {"margin": -1}}, "slices.margin: expected a number greater than or equal to 0, found -1"),
        (["size"], "expected a mapping, found ['size']"),
        ("strict", "expected a mapping, found 'strict'"),
        ({"luck": {}, "size": 3}, "size: expected a mapping, found 3; luck: unknown key"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_one_line_with_its_place(raw: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_gates(raw, "main:params.yaml: gates")
    assert str(caught.value) == f"main:params.yaml: gates: {message}"


def test_a_smaller_holdout_is_not_allowed_until_a_policy_says_so() -> None:
    assert not parse_gates({"holdout": {"budget": 3}}, "main").holdout.smaller
    assert parse_gates({"holdout": {"smaller": True}}, "main").holdout.smaller


def test_the_columns_of_a_policy_are_not_looked_for_where_it_stands_alone() -> None:
    assert parse_gates({"fairness": {"columns": ["of another branch"]}}, "main").fairness.columns == (
        "of another branch",
    )


@pytest.mark.parametrize("task", list(Task))
def test_each_task_turns_on_its_first_metric_unless_another_of_its_own_is_named(task: Task) -> None:
    assert parse(raw_params(task)).primary == PRIMARY_METRICS[task][0]
    for metric in PRIMARY_METRICS[task]:
        assert parse(raw_params(task, evaluate={"primary": metric})).primary == metric


def test_yaml_is_read_from_a_text_and_what_is_none_is_named_with_its_place() -> None:
    assert parse_yaml("a: [1, x]\n") == {"a": [1, "x"]}
    assert parse_yaml("") is None
    with pytest.raises(ConfigurationError, match=r"^main:params\.yaml:2:1: not valid YAML: "):
        parse_yaml("a: [1\n", "main:params.yaml")
    with pytest.raises(ConfigurationError, match=r"^params\.yaml: not valid YAML: ") as caught:
        parse_yaml("a: \x00")
    assert "\n" not in str(caught.value)


# ---- Some sections alone ---------------------------------------------------------------------------------------------


def sections(folder: Path, text: str) -> Any:
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return load_sections(folder / "params.yaml", drift=DriftParams, engine=EngineParams)


def test_the_sections_are_those_of_the_whole() -> None:
    assert {field.alias or name for name, field in Params.model_fields.items()} == set(SECTIONS)


def test_sections_alone_are_what_the_whole_file_says_of_them(tmp_path: Path) -> None:
    text = f"{MINIMAL}drift: {{k: 2, n: 5}}\nengine: {{name: ray, workers: 3}}\n"
    found, whole = sections(tmp_path, text), load(tmp_path / "params.yaml")
    assert (found["drift"], found["engine"]) == (whole.drift, whole.engine)
    assert sections(tmp_path, MINIMAL) == {"drift": DriftParams(), "engine": EngineParams()}


def test_a_mistake_in_another_section_silences_nobody(tmp_path: Path) -> None:
    text = f"{MINIMAL}drift: {{k: 2}}\ntrain: {{famly: x}}\n"
    assert sections(tmp_path, text)["drift"].k == 2
    with pytest.raises(ConfigurationError, match="famly"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "more",
    [
        "drift: {k: 5}\n",
        "drift: {kk: 1}\n",
        "drift: {k: x}\n",
        "drift:\n",
        "engine: {name: spark}\n",
        "drfit: {k: 2}\n",
    ],
)
def test_a_mistake_in_a_section_or_in_its_name_is_said_as_of_the_whole_file(tmp_path: Path, more: str) -> None:
    with pytest.raises(ConfigurationError) as alone:
        sections(tmp_path, f"{MINIMAL}{more}\n")
    with pytest.raises(ConfigurationError) as whole:
        load(tmp_path / "params.yaml")
    assert str(alone.value) == str(whole.value)


def test_every_name_of_the_package_is_there_and_no_other() -> None:
    assert sorted(params.__all__) == sorted(name for names in params.MODULES.values() for name in names)
    assert all(getattr(params, name) is not None for name in params.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Parms'"):
        getattr(params, "Parms")  # noqa: B009  by name, as a module asks


@pytest.mark.parametrize(
    ("asked", "others"),
    [("import mergeline.params.reading", False), ("from mergeline.params import load, Params", True)],
)
def test_who_asks_for_one_section_loads_no_other(asked: str, *, others: bool) -> None:
    program = f"import sys, mergeline.params.drift; {asked}; print('mergeline.params.gates' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{others}\n"
