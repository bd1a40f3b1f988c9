"""Make a real report of each verb: `python docs/tools/reports.py [VERB ...]`.

The commands run in a folder of their own. Reports go to `build/reports`, from where
`build.py` takes them into the site, and a picture of the top of each to `docs/images`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
REPORTS, IMAGES = ROOT / "build" / "reports", ROOT / "docs" / "images"
ARM = "examples/double_pendulum"
SWING = "roboopt/CartPoleSwingUp-v0"
COMMANDS = {
    "tune": "tune arm --robot two-link --steps 15 --episodes 20",
    "identify": f"identify {ARM}/recordings --urdf {ARM}/double_pendulum.urdf",
    "clone": f"clone demos.npz --env {SWING} --steps 3000 --episodes 20",
    "reinforce": "reinforce CartPole-v1 --timesteps 40000 --episodes 20",
}
BEFORE = {"clone": f"collect {SWING} --noise 0.2 --episodes 20 --out demos.npz"}
SIZE: Any = {"width": 1280, "height": 1700}  # [pixels], of a picture


def make(verb: str) -> Path:
    """Run the command of a verb, and return its report."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"{verb}.html"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        for line in (BEFORE.get(verb), f"{COMMANDS[verb]} --name run"):
            if line is not None:
                command = [sys.executable, "-m", "roboopt", *line.split()]
                subprocess.run(command, cwd=folder, check=True)
        shutil.copy(Path(folder) / "runs" / "run" / "report.html", report)
    return report


def photograph(report: Path) -> None:
    """Write a picture of the top of a report."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        options = {"executable_path": chromium, "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        page = browser.new_page(viewport=SIZE)
        page.goto(report.as_uri())
        page.wait_for_timeout(1000)
        picture = Image.open(BytesIO(page.screenshot()))
        browser.close()
    small = picture.convert("RGB").quantize(256)
    small.save(IMAGES / f"report_{report.stem}.png", optimize=True)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    for verb in sys.argv[1:] or COMMANDS:
        photograph(make(verb))
