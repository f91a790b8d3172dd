"""The science stands without the orchestration."""

from __future__ import annotations

import subprocess
import sys

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import tomotwin_lib
names = [module.name for module in pkgutil.walk_packages(tomotwin_lib.__path__, "tomotwin_lib.")]
for name in names:
    importlib.import_module(name)
strangers = [name for name in sys.modules if name.split(".")[0] in ("dagster", "tomotwin_assets")]
assert len(names) > 30, names
assert not strangers, strangers
"""


def test_the_library_never_imports_dagster() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
