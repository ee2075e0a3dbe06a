"""The text of a guess: params.yaml with its comments, and the summary for a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from mergeline.errors import ConfigurationError
from mergeline.init.guess import Guess
from mergeline.init.values import kept, listed, scalar
from mergeline.params import TrainParams, ValidateParams, parse
from mergeline.schema import Task

HEAD = "Guessed from a table by `mergeline init`, for a person to correct.\n\n"
RULES = """
What stops a run: a column that is missing or of another type, an id twice, another class, too few rows.
What warns, being a guess: values outside of what was seen and a tenth beyond, and more missing ones.
Without its `severity: warn` a rule stops a run too.
"""


def params_text(found: Guess) -> str:
    """Return the params.yaml of a guess: commented, and read back to exactly its settings.

    Raises `ConfigurationError` where a value would not come back from the file, or from dvc.lock.
    """
    from ruamel.yaml import YAML

    document = _document(found)
    stream = io.StringIO()
    _yaml().dump(document, stream)
    text = stream.getvalue()
    read_back = YAML(typ="safe").load(text)
    if parse(read_back) != found.params or not kept(read_back):
        raise ConfigurationError("init: params.yaml or dvc.lock would not keep the table's values; clean its text")
    return text


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1 << 20  # a name that is folded over two lines is hard to find
    return yaml


def _document(found: Guess) -> Any:
    """The sections with their comments, as ruamel.yaml keeps them."""
    from ruamel.yaml.comments import CommentedMap

    params = found.params
    document = CommentedMap(
        data=_data_section(found),
        validate=_validate_section(params.validation),
        train=_train_section(params.train, params.data.task),
        evaluate=CommentedMap(slices=_flow(params.evaluate.slices), min_slice_rows=params.evaluate.min_slice_rows),
    )
    document.yaml_set_start_comment(HEAD)
    document.yaml_set_comment_before_after_key("validate", before=RULES)
    for section in ("train", "evaluate"):
        document.yaml_set_comment_before_after_key(section, before="\n")
    return document


def _data_section(found: Guess) -> Any:
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    data = found.params.data
    section = CommentedMap(task=str(data.task), target=scalar(data.target))
    if data.positive is not None:
        section["positive"] = scalar(data.positive)
    for role, name in (("time", data.time), ("id", data.id)):
        if name is not None:
            section[role] = scalar(name)
    if data.as_of is not None:
        section["as_of"] = DoubleQuotedScalarString(data.as_of.isoformat())
        section.yaml_add_eol_comment("the newest day; rows after it stop a run, so move it with the data", "as_of", 30)
    for group, names in (("numeric", data.numeric), ("categorical", data.categorical)):
        section[group] = [scalar(name) for name in names]
    section["holdout"] = CommentedMap(share=data.holdout.share)
    section["holdout"].yaml_add_eol_comment(found.reasons["holdout"], "share", 30)
    if found.left_out:
        said = "\n".join(f"left out: {each.sentence}" for each in found.left_out)
        section.yaml_set_comment_before_after_key("holdout", before=said, indent=2)
    for role in ("task", "positive", "time", "id"):
        if role in section and role in found.reasons:
            section.yaml_add_eol_comment(found.reasons[role], role, 30)
    return section


def _validate_section(validation: ValidateParams) -> Any:
    from ruamel.yaml.comments import CommentedMap

    rules = CommentedMap()
    for name, rule in validation.columns.items():
        written: dict[str, Any] = {"min": rule.min, "max": rule.max, "missing": rule.missing, "severity": rule.severity}
        if rule.values is not None:
            written = {"values": _flow(rule.values), **written}
        if rule.severity == "error":
            del written["severity"]
        rules[scalar(name)] = _flow({key: scalar(value) for key, value in written.items() if value is not None})
    section = CommentedMap(min_rows=validation.min_rows, columns=rules)
    section.yaml_add_eol_comment("a partition: half of the smallest one", "min_rows", 30)
    return section


def _train_section(train: TrainParams, task: Task) -> Any:
    from ruamel.yaml.comments import CommentedMap

    boosting = train.hist_gradient_boosting
    names = ("iterations", "learning_rate", "leaves", "min_leaf_rows")
    section = CommentedMap(family=train.family, seed=train.seed)
    if task is Task.BINARY:
        section["threshold"] = train.threshold
    section["hist_gradient_boosting"] = _flow({name: getattr(boosting, name) for name in names})
    return section


def _flow(value: Any) -> Any:
    """A mapping or a list on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    made = CommentedMap(value) if isinstance(value, dict) else CommentedSeq(map(scalar, value))
    made.fa.set_flow_style()
    return made


def summary(found: Guess, rows: int, partitions: Sequence[str]) -> str:
    """Return what was guessed, a line a role, and what to do next."""
    data = found.params.data
    lines = [("target", repr(data.target)), ("task", f"{data.task} ({found.reasons['task']})")]
    if data.positive is not None:
        lines.append(("positive", f"{data.positive!r} ({found.reasons['positive']})"))
    for role, name in (("time", data.time), ("id", data.id)):
        lines.append((role, f"{repr(name) if name else 'none'} ({found.reasons[role]})"))
    for role, names in (("numeric", data.numeric), ("categorical", data.categorical)):
        lines.append((role, f"{len(names)}: {listed(names)}" if names else "none"))
    lines += [("LEAK" if each.name in found.leaks else "left out", each.sentence) for each in found.left_out]
    lines.append(("holdout", found.reasons["holdout"]))
    in_all = f"{len(partitions)} partition" + "s" * (len(partitions) != 1)
    lines.append(("wrote", f"params.yaml, data/ ({rows:,} rows in {in_all}), data.dvc"))
    lines.append(("next", "read params.yaml, correct it, then `mergeline repro`"))
    width = max(len(role) for role, _ in lines)
    return "\n".join(f"{role:<{width}}  {text}" for role, text in lines)
