"""`python -m sample.demo`: play the whole loop on this machine; `make demo` sets up what it needs first."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sample.demo.play import PAGE, play

from mergeline.errors import MergelineError
from mergeline.files import LOCAL_STATE

TEMPLATE = Path(__file__).parents[2]
FOLDER = TEMPLATE / LOCAL_STATE / "demo"
MOST_LEFT_OUT = 20  # with fewer flights there are too few for a verdict


def main() -> int:
    """Play, and return the exit code: 0 where every act held, else that of what did not."""
    parser = argparse.ArgumentParser(
        prog="python -m sample.demo",
        description="Play the whole loop in a throw-away clone: pull requests, traffic, drift, a canary, a way back.",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where it plays, made anew (default: %(default)s)")
    text = "keep one flight in N, for a quicker look (default: all)"
    parser.add_argument("--every", type=int, default=1, metavar="N", help=text)
    parsed = parser.parse_args()
    folder = parsed.folder.resolve()
    if not 1 <= parsed.every <= MOST_LEFT_OUT:
        parser.error(f"--every: expected 1 to {MOST_LEFT_OUT}, found {parsed.every}")
    try:
        shown = play(TEMPLATE, folder, lambda line: print(line, flush=True), every=parsed.every)
    except MergelineError as err:
        print(err, file=sys.stderr)
        return err.exit_code
    print(f"{len(shown)} acts held in {sum(act.seconds for act in shown):.0f} s")
    print(f"see {folder / PAGE}")
    return 0


sys.exit(main())
