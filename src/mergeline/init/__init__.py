"""The first params.yaml of a table: what its columns look like, guessed by written rules, for a person to check.

| role | rule |
|---|---|
| task | two values: binary; text, or at most 10 whole numbers, each in 10 rows: multiclass; other numbers: regression |
| positive | true; else the larger number; else a word of POSITIVE_WORDS; else what the other denies; else the rarer |
| time | dates in every row (ISO 8601 where they are text), no birthday or deadline; the rows' own order before a name |
| id | text or whole numbers, none missing or twice: named like an id, else text without blanks, else row numbers |
| categorical | text that repeats, whole numbers that are named like a code and repeat |
| numeric | other numbers (few whole ones too: their order counts), truth values, dates |
| left out | empty and constant columns, what says the same as the target, text that hardly repeats, further ids, |
|          | numbers among which one word stands for a gap |
"""

from __future__ import annotations

from mergeline.init.features import LEAK
from mergeline.init.guess import Guess, guess
from mergeline.init.reading import read, typed
from mergeline.init.roles import Wishes
from mergeline.init.settings import limits
from mergeline.init.text import params_text, summary

__all__ = ["LEAK", "Guess", "Wishes", "guess", "limits", "params_text", "read", "summary", "typed"]
