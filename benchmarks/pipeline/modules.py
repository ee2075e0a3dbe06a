"""What a command imports, and what importing just that costs."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measurement import Usage
from benchmarks.pipeline.scratch import Scratch

LINE = re.compile(r"^import time: *\d+ \| *\d+ \| *([\w.]+)$", re.MULTILINE)
BARE_IMPORT = """
import importlib, sys
for name in open(sys.argv[1]).read().split():
    try:
        importlib.import_module(name)
    except Exception:  # one that only its own package can import; it comes along with that
        pass
"""


def imported(scratch: Scratch, command: Sequence[str]) -> Path:
    """Run the command once and write down what it imports, in the order in which the imports end."""
    _, text = scratch.read(*command, PYTHONPROFILEIMPORTTIME="1")
    path = scratch.root / f".{command[-1]}.modules"
    path.write_text("\n".join(dict.fromkeys(LINE.findall(text))), encoding="utf-8")
    return path


def bare_import(scratch: Scratch, modules: Path) -> Usage:
    """Start a process that imports the modules and ends."""
    return scratch.run(sys.executable, "-c", BARE_IMPORT, str(modules))
