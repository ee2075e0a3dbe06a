"""Where everything lies in a repository, and which of it a run writes for Git."""

from __future__ import annotations

from pathlib import Path

DATA = Path("data")
DATA_FILE = Path("data.dvc")
LOCK = Path("dvc.lock")

REPORTS = Path("reports")
VALIDATION = REPORTS / "validation.json"
METRICS = REPORTS / "metrics.json"
EVALUATION = REPORTS / "evaluation.json"
COMPARISON = REPORTS / "comparison.json"
COMPARE = REPORTS / "compare"
CURVES = COMPARE / "curves.json"
REPORT_MARKDOWN = REPORTS / "report.md"
REPORT_HTML = REPORTS / "report.html"

CANDIDATE = Path("models/candidate")
TRAINING = CANDIDATE / "training.json"
REFERENCE = CANDIDATE / "reference.parquet"
PROFILE = CANDIDATE / "profile.json"
CHAMPION = Path("models/champion.json")
RECEIPT = Path("models/manifest.json")

OVERLAYS = Path("k8s/overlays")
STAGING = OVERLAYS / "staging" / "release.yaml"
PRODUCTION = OVERLAYS / "production" / "release.yaml"
RETIREMENTS = Path("k8s/retirements.yaml")
RETIREMENT_PATCH = OVERLAYS / "production" / "retirement.yaml"

TIMINGS = Path(".mergeline/timings.json")

# What `record` may commit; everything else on a branch is a person's.
RECORDS = (LOCK, VALIDATION, EVALUATION, METRICS, COMPARISON, CHAMPION, RECEIPT)
RECORDED = (*RECORDS, STAGING)
