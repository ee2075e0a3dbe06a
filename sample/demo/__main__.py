"""`python -m sample.demo`: play the whole loop on this machine; `make demo` sets up what it needs first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sample.demo.interruption import Interruption, interruptible
from sample.demo.play import PAGE, play

from mergeline.errors import MergelineError
from mergeline.files import LOCAL_STATE

TEMPLATE = Path(__file__).parents[2]
FOLDER = TEMPLATE / LOCAL_STATE / "demo"
TESTED = (1, 8)  # by whoever runs `make demo`, and by the tests; with other rows a gate may say something else


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, and return the exit code: 0 where every act held, else that of what did not."""
    parser = argparse.ArgumentParser(
        prog="python -m sample.demo",
        description="Play the whole loop in a throw-away clone: pull requests, traffic, drift, a canary, a way back.",
    )
    text = "where it plays: none yet, empty, or an earlier demo's, which is made anew (default: %(default)s)"
    parser.add_argument("--folder", type=Path, default=FOLDER, help=text)
    text = "play with every flight (1) or, for a quicker look, with one in eight (8) (default: %(default)s)"
    parser.add_argument("--every", type=int, default=1, choices=TESTED, help=text)
    parsed = parser.parse_args(arguments)
    folder = parsed.folder.resolve()
    try:
        with interruptible():
            shown = play(TEMPLATE, folder, lambda line: print(line, flush=True), every=parsed.every)
    except MergelineError as err:
        print(err, file=sys.stderr)
        return err.exit_code
    except Interruption as err:
        print(f"demo: {err}; nothing that it has started runs on", file=sys.stderr)
        return err.exit_code
    print(f"{len(shown)} acts held in {sum(act.seconds for act in shown):.0f} s")
    print(f"see {folder / PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
