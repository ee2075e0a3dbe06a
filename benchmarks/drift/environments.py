"""The peers' environments: one each, since no two of them agree on their dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = {
    "evidently": ("evidently==0.7.23", "pandas==2.3.3", "pyarrow==25.0.1"),
    "nannyml": ("nannyml==0.13.1", "pandas==2.3.3", "pyarrow==25.0.1", "statsmodels==0.14.6"),
    "whylogs": ("whylogs[viz]==1.6.4", "pandas==2.3.3", "pyarrow==25.0.1"),
}


def python(name: str) -> str:
    """Return the interpreter of a peer's environment; make it where it is not there."""
    folder = ROOT / ".mergeline" / "drift-peers" / name
    found, done = folder / "bin" / "python", folder / ".made"
    wanted = " ".join(PEERS[name])
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        print(f"installing {wanted} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([found, "-m", "pip", "install", "--quiet", *PEERS[name]], check=True)
        done.write_text(wanted, encoding="utf-8")
    return str(found)
