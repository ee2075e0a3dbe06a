"""A decision as people read it: a sentence, and the issue that says what to do."""

from __future__ import annotations

from typing import Final

from mergeline.monitor.decide.decision import Decision, Outcome, shown
from mergeline.params.conditions import FACTS
from mergeline.params.decide import Action
from mergeline.report.escape import code, prose

SAYS: Final = {
    Action.ROLL_BACK: "Take production back to the release before",
    Action.RETRAIN: "Train again on the newest labelled rows",
    Action.ASK_FOR_LABELS: "Get labels",
    Action.WAIT: "Wait",
}
THEN: Final = {
    Action.ROLL_BACK: "The branch `rollback/production` takes it back, byte for byte; merge its pull request.",
    Action.RETRAIN: "The branch `retrain/auto` carries the new rows that `mergeline collect` finds due; its pull"
    " request trains, compares and is judged like any other. Merge it where its gate is green.",
    Action.ASK_FOR_LABELS: "Feed what turned out with `mergeline labels add FILE`, or find out why it no longer comes;"
    " docs/experiments.md says what the file holds.",
    Action.WAIT: "Nothing is to be done by this rule.",
}

KEPT: Final = (
    "This text is kept up to date, and closed when nothing is to be done any more. docs/decide.md says what each rule"
    " means."
)


def sentence(decision: Decision) -> str:
    """Return what is to be done and why, in one sentence."""
    return f"{SAYS[decision.action]}: {'; '.join(decision.why)}"


def needs_a_person(decision: Decision) -> bool:
    """Whether an issue is to be open: something is to be done, or something is wrong that no rule decides on."""
    held = any(each.outcome is Outcome.HELD_BACK for each in decision.considered)
    return decision.action is not Action.WAIT or bool(decision.beside) or held


def markdown(decision: Decision) -> str:
    """Return the issue: what to do, why, what else is wrong, each rule, and the figures."""
    at = decision.evidence.at
    lines = [
        f"**{SAYS[decision.action]}.** {_then(decision)}",
        "",
        *(f"- {prose(each)}" for each in decision.why),
        *([""] if decision.beside else []),
        *(f"- **{prose(_beside(each.action, each.share, each.replicas))}** {prose(each.rule)}: {prose(each.why)}"
          for each in decision.beside),
        *_moved(decision),
        "",
        "<details><summary>Every rule, and why it did or did not fire</summary>",
        "",
        "| rule | asks for | | why |",
        "|---|---|---|---|",
        *(f"| {prose(each.rule)} | {each.action} | {each.outcome} | {prose(each.why)} |"
          for each in decision.considered),
        "",
        "</details>",
        "<details><summary>The figures</summary>",
        "",
        "| fact | value | what it says |",
        "|---|---|---|",
        *(f"| {code(name)} | {'not known' if value is None else prose(shown(value))} | {FACTS[name].says} |"
          for name, value in decision.facts.items()),
        "",
        "</details>",
        "",
        f"As of {at:%Y-%m-%d %H:%M} UTC. {KEPT}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _then(decision: Decision) -> str:
    """What there is to do; of a retraining, from when on its rows are, as far as that is known."""
    partition, then = decision.evidence.partition, THEN[decision.action]
    if decision.action is not Action.RETRAIN:
        return then
    if partition.due:
        return f"{then} The rows are those from {partition.name} on."
    return f"{then} Whether any partition is due is not known; without one there is no branch."


def _beside(action: Action, share: float | None, replicas: tuple[int, int] | None) -> str:
    if action is Action.CHALLENGER_SHARE:
        return f"Give the challenger a share of {share:g}."
    if action is Action.SCALE_BOUNDS and replicas:
        return f"Run {replicas[0]} to {replicas[1]} pods."
    return "Look at this:"


def _moved(decision: Decision) -> list[str]:
    names = decision.evidence.drift.features
    if not names:
        return []
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ["", f"What has moved: {', '.join(code(each) for each in names[:20])}{more}."]
