"""How a module declares its verbs: it calls what it is given with a name, what the verb calls and a sentence."""

from __future__ import annotations

import argparse
from collections.abc import Callable

# returns the verb's parser, for its options
Verb = Callable[[str, Callable[[argparse.Namespace], str | None], str], argparse.ArgumentParser]
