"""The search for better settings of the chosen family: tried on folds of the training rows, never on the holdout.

Trial 0 is what params.yaml says now, so that a proposal is never worse than that by the same folds. The others come
from a tree-structured Parzen estimator (Bergstra et al., 2011; Watanabe, 2023), seeded by `train.seed`. With a time, a
fold is fitted on what came before the block that judges it; without, each of the folds judges once.
"""

from __future__ import annotations

from mergeline.tune.fold import make_folds
from mergeline.tune.log import log
from mergeline.tune.search import Search, search
from mergeline.tune.spaces import SPACES, Choice, Range, suggestion
from mergeline.tune.trial import Trial

__all__ = ["SPACES", "Choice", "Range", "Search", "Trial", "log", "make_folds", "search", "suggestion"]
