"""How good the default family is and what its fit costs, beside LightGBM and the torch family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage, alternate, difference, number, ratio
from benchmarks.part import Part
from benchmarks.pipeline.fit import LEARNING_RATE, LEAVES, ROUNDS, THREADS
from benchmarks.pipeline.scratch import Scratch

OURS, PEER = "hist_gradient_boosting", "lightgbm"


def models(folder: Path, runs: int) -> Part:
    """Fit both boosters on the same matrix, in turn; then run the pipeline with each family once."""
    scratch = Scratch.make(folder / "models")
    found = alternate(runs, {name: lambda name=name: _fitted(scratch, name) for name in (OURS, PEER)})  # type: ignore[misc]
    aucs, families = _families(scratch)
    usages = {f"{name}, the whole process": [each[0] for each in pairs] for name, pairs in found.items()} | families
    facts = {name: [each[1] for each in pairs] for name, pairs in found.items()}
    whole, alone, cpu = (_ratio(facts, *keys) for keys in (("prepared_s", "fit_s"), ("fit_s",), ("fit_cpu_s",)))
    gap = difference([each["auc"] for each in facts[PEER]], [each["auc"] for each in facts[OURS]])
    goals = (
        Goal("default family's AUC below LightGBM's, same features", 0.002, "AUC", gap),
        Goal("default family's fit, encoding included, against LightGBM's (paired)", 1.7, "x", whole),
        Goal("default family's fit on the encoded matrix against LightGBM's (paired)", 1.7, "x", alone),
        Goal("torch_mlp's AUC below the default's", 0.02, "AUC", Summary.of([aucs[OURS] - aucs["torch_mlp"]])),
    )
    note = (
        f"{facts[OURS][0]['rows']:,} training rows, {ROUNDS} rounds of {LEAVES} leaves, learning rate {LEARNING_RATE},"
        f" {THREADS} threads each. By processor time the fits on the encoded matrix compare as {cpu.sentence()}."
    )
    columns = ("", "encoding s", "fit s", "fit, min to max", "fit cpu s", "AUC on the holdout")
    of_fits = Table(columns, tuple((name, *_cells(each)) for name, each in facts.items()))
    of_families = Table(("family", "AUC on the holdout"), tuple((name, f"{auc:.4f}") for name, auc in aucs.items()))
    return Part("Models on the flights", (of_fits, of_families, Table.of_usages(usages)), goals, (note,), usages)


def _ratio(facts: dict[str, list[dict[str, Any]]], *keys: str) -> Summary:
    """The ratios of the sums of these figures, run by run."""
    ours, peers = ([sum(each[key] for key in keys) for each in facts[name]] for name in (OURS, PEER))
    return ratio(ours, peers)


def _fitted(scratch: Scratch, name: str) -> tuple[Usage, dict[str, Any]]:
    usage, text = scratch.python("fit.py", name, OMP_NUM_THREADS=str(THREADS))
    return usage, json.loads(text.splitlines()[-1])


def _families(scratch: Scratch) -> tuple[dict[str, float], dict[str, list[Usage]]]:
    """The AUC that the pipeline itself reports of each family, and what its run costs."""
    aucs, usages = {}, {}
    for family in (OURS, "torch_mlp"):
        scratch.set_param("family", family)
        usages[f"mergeline repro with {family}"] = [scratch.run("mergeline", "repro")]
        aucs[family] = json.loads((scratch.root / "reports" / "metrics.json").read_text(encoding="utf-8"))["roc_auc"]
    return aucs, usages


def _cells(each: list[dict[str, Any]]) -> tuple[str, ...]:
    fits = Summary.of([one["fit_s"] for one in each])
    prepared, cpu = (Summary.of([one[key] for one in each]).median for key in ("prepared_s", "fit_cpu_s"))
    spread = f"{number(fits.low)} to {number(fits.high)}"
    return (number(prepared), number(fits.median), spread, number(cpu), f"{each[0]['auc']:.5f}")
