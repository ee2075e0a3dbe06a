"""The model card: what a model is for, how it came about, how good it is, where it is weak (Mitchell et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mergeline.schema import Kind, Signature, Task

if TYPE_CHECKING:
    from mergeline.params import Params

PURPOSE = {
    Task.BINARY: "says how likely it is that `{target}` is `{positive}`, and calls it so from {threshold:.3g} on",
    Task.MULTICLASS: "says how likely each value of `{target}` is: {classes}",
    Task.REGRESSION: "predicts `{target}`, in its own unit",
}


def model_card(
    params: Params,
    signature: Signature,
    training: dict[str, Any],
    evaluation: dict[str, Any],
    validation: dict[str, Any],
) -> str:
    """Return the card as Markdown, from the records of the three stages."""
    sections = [
        f"# Model card: `{signature.target}`\n\nA {training['family']} model that {_purpose(signature)}.",
        _data(params, training, evaluation, validation),
        "## How good it is\n\n" + _holdout_sentence(evaluation) + "\n\n" + _metrics(evaluation),
        _slices(params, evaluation),
        _confusion(evaluation),
        _features(signature, evaluation),
        _training(training),
        _limits(params, evaluation),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a Markdown table; pipes and line breaks in cells are escaped.

    >>> print(table(["a", "b"], [[1, "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\|y |
    """
    lines = [head, *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    body = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join([body[0], "|" + "---|" * len(head), *body[1:]])


def interval(metric: dict[str, Any]) -> str:
    """Return a metric's record as `0.757 (95 % 0.751 to 0.763)`."""
    level = f"{metric['confidence'] * 100:g} %"
    return f"{metric['estimate']:.4g} ({level} {metric['low']:.4g} to {metric['high']:.4g})"


def _purpose(signature: Signature) -> str:
    return PURPOSE[signature.task].format(
        target=signature.target,
        positive=signature.classes[1] if len(signature.classes) > 1 else "",
        threshold=signature.threshold or 0.5,
        classes=", ".join(f"`{name}`" for name in signature.classes),
    )


def _data(params: Params, training: dict[str, Any], evaluation: dict[str, Any], validation: dict[str, Any]) -> str:
    quality = validation["quality"]
    failed = [each for each in validation["expectations"] if not each["passed"]]
    warned = f"; {len(failed)} expectations failed as warnings" if failed else ""
    rows = training["training_rows"] + training["tuning_rows"]
    parts = f"completeness {quality['completeness']:.3f}, consistency {quality['consistency']:.3f}"
    lines = [
        f"- trained on {rows:,} rows{_period(training)}",
        f"- judged on {evaluation['rows']:,} rows that nothing was fitted on{_period(evaluation)}",
        f"- {training['unlabelled_rows']:,} rows have no `{params.data.target}` and were left out",
        f"- data quality {quality['score']:.3f} of 1 ({parts}){warned}",
    ]
    return "## Data\n\n" + "\n".join(lines)


def _period(record: dict[str, Any]) -> str:
    return f", {record['first_time']} to {record['last_time']}" if record["first_time"] else ""


def _holdout_sentence(evaluation: dict[str, Any]) -> str:
    primary = next((each for each in evaluation["metrics"] if each["name"] == evaluation["primary"]), None)
    if primary is None:
        return f"`{evaluation['primary']}` is not defined on this holdout."
    return f"**{primary['name']} {interval(primary)}** on the holdout."


def _metrics(evaluation: dict[str, Any]) -> str:
    better = {True: "higher", False: "lower", None: ""}
    rows = [
        (
            each["name"],
            f"{each['estimate']:.4g}",
            f"{each['low']:.4g} to {each['high']:.4g}",
            better[each["greater_is_better"]],
        )
        for each in evaluation["metrics"]
    ]
    return table(["metric", "value", "interval", "better"], rows)


def _slices(params: Params, evaluation: dict[str, Any]) -> str:
    if not evaluation["slices"]:
        return ""
    rows = [
        (
            f"{each['column']} = {each['value']}",
            f"{each['rows']:,}",
            interval(each["metric"]) if each["metric"] else "not defined",
        )
        for each in evaluation["slices"]
    ]
    least = params.evaluate.min_slice_rows
    return f"## Slices\n\nOf {least} rows or more.\n\n" + table(["slice", "rows", evaluation["primary"]], rows)


def _confusion(evaluation: dict[str, Any]) -> str:
    confusion = evaluation["confusion"]
    if not confusion:
        return ""
    rows = [(name, *counts) for name, counts in zip(confusion["classes"], confusion["counts"], strict=True)]
    head = ["is \\ called", *confusion["classes"]]
    return "## Confusion\n\nRows of the holdout by what they are and what the model calls them.\n\n" + table(head, rows)


def _features(signature: Signature, evaluation: dict[str, Any]) -> str:
    kinds = {
        feature.name: f"category of {len(feature.categories)}" if feature.kind is Kind.CATEGORY else str(feature.kind)
        for feature in signature.features
    }
    rows = [
        (each["feature"], kinds[each["feature"]], f"{each['loss_increase']:.4g}") for each in evaluation["importance"]
    ]
    text = "Importance: the rise of the loss on the holdout when the feature's values are dealt to other rows."
    return f"## Features\n\n{text}\n\n" + table(["feature", "kind", "importance"], rows)


def _training(training: dict[str, Any]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in training["settings"].items())
    tuning = f"{training['tuning_rows']:,} rows for early stopping, calibration and threshold"
    lines = [
        f"- family {training['family']}: {settings}",
        f"- seed {training['seed']}, {training['rounds']} rounds, {tuning}",
        f"- the served ONNX model differs from the native one by at most {training['parity_difference']:.1g}",
    ]
    return "## Training\n\n" + "\n".join(lines)


def _limits(params: Params, evaluation: dict[str, Any]) -> str:
    lines = ["- It is as good as the rows after its holdout are like the holdout; drift is watched, not prevented."]
    weakest = _weakest(evaluation)
    if weakest:
        lines.append(f"- Of the slices it is weakest on {weakest}.")
    if params.data.time is None:
        lines.append("- The table has no time: the holdout is a random part of it and says nothing of the future.")
    return "## Limits\n\n" + "\n".join(lines)


def _weakest(evaluation: dict[str, Any]) -> str:
    measured = [each for each in evaluation["slices"] if each["metric"]]
    if not measured:
        return ""
    sign = 1 if measured[0]["metric"]["greater_is_better"] else -1
    worst = min(measured, key=lambda each: sign * each["metric"]["estimate"])
    return f"{worst['column']} = {worst['value']}: {evaluation['primary']} {interval(worst['metric'])}"
