"""axe-core in a page of a test's browser: what a person who cannot see or point would stumble over."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from browser import Browser
from filelock import FileLock
from tools import tool, unavailable

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".mergeline" / "axe"
GRAVE = ("serious", "critical")
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations'], preload: false}).then(found => done(found.violations), done);
"""


def grave(page: Browser) -> list[str]:
    """The serious and critical findings in the page as it lies open, each with the first elements that it is about."""
    page.run(source())
    page.driver.set_script_timeout(60)
    violations: list[dict[str, Any]] = page.driver.execute_async_script(RUN)
    return [
        f"{each['id']} ({each['impact']}): {'; '.join(node['html'][:120] for node in each['nodes'][:3])}"
        for each in violations
        if each["impact"] in GRAVE
    ]


@cache
def source() -> str:
    """The script of axe-core, at the locked version; it is installed where it is not yet."""
    (npm,) = tool("npm")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    script = INSTALLED / "node_modules" / "axe-core" / "axe.min.js"
    lock = HERE / "package-lock.json"
    with FileLock(INSTALLED.with_suffix(".lock")):
        if not script.exists() or script.stat().st_mtime < lock.stat().st_mtime:
            for name in ("package.json", lock.name):
                shutil.copy(HERE / name, INSTALLED)
            done = subprocess.run(
                [str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=INSTALLED,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                unavailable(f"npm ci of axe-core failed: {done.stderr.strip()[-300:]}")
            script.touch()
    return script.read_text(encoding="utf-8")
