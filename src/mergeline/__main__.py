"""`python -m mergeline`."""

from __future__ import annotations

import sys

from mergeline.cli import main

sys.exit(main())
