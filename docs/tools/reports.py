"""Make the reports of the tutorials: `python docs/tools/reports.py [NAME ...]`.

The commands are those that a tutorial prints, run in a folder of their own. Reports go
to `build/reports`, from where `build.py` takes them into the site, and pictures to
`docs/images`: the top of each report, and the sections that the tutorial shows.
`derivative` makes the figures of the page on derivatives.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
REPORTS, IMAGES = ROOT / "build" / "reports", ROOT / "docs" / "images"
DERIVATIVE = "derivative"
EXPLAINED = {
    "derivative_slope": (("def loss(",), "ro.explain(loss, 0.5, (1.5, 3.0))"),
    "derivative": (("def loss(", "EnergyTaskCost("), "found"),
}
"""By picture, words of the blocks of that page to run, and what is then explained."""
UNSHOWN = {
    "derivative_slope": "figcaption, .panel:first-child { display: none }",
    "derivative": "figcaption { display: none }",
}
"""By picture, what is hidden."""
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
BASH = re.compile(r"```bash\n(.*?)```", re.DOTALL)
RUNS = {
    "tune": "first",
    "identify": "arm",
    "clone": "swing-up",
    "reinforce": "balance",
    "chain": "tuned",
}
"""The run of each tutorial whose report is shown."""
SECTIONS = {
    "tune": ("replay-in-3d", "motions-before-and-after"),
    "identify": ("predicted-and-measured-motion", "simulation-of-whole-recordings"),
    "clone": ("the-training", "motions"),
    "reinforce": ("learning", "gradient-health"),
    "chain": ("motions-before-and-after",),
}
SIZE: Any = {"width": 900, "height": 1200}  # [pixels], of a picture
PHONE: Any = {"width": 390, "height": 1200}
STILL = "h2, summary, .bar, .replay figcaption { display: none }"
"""Hides what a picture cannot do, and what the page with the picture says itself."""
SEEK = "s => { s.value = 0.3 * s.max; s.dispatchEvent(new Event('input')); }"
UNFOLD = """() => document.querySelectorAll("details").forEach(
    d => { d.open ||= d.querySelector("svg"); })"""
MARGIN = 8  # [pixels], of pictures of sections
WHOLE = """height => 16 + Math.max(
    ...[...document.querySelectorAll("p, table, video, figure")]
    .map(node => node.getBoundingClientRect().bottom).filter(y => y < height))"""
"""The height at which a picture cuts no block."""
WEBGL = "--use-angle=swiftshader", "--enable-unsafe-swiftshader"  # on a CPU


def make(name: str) -> Path:
    """Run the commands of a tutorial until its report is there, and return it."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    page = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        made = Path(folder) / "runs" / RUNS[name] / "report.html"
        for line in "".join(BASH.findall(page)).replace("\\\n", "").splitlines():
            if not made.exists():
                command = [sys.executable, "-m", *shlex.split(line)]
                subprocess.run(command, cwd=folder, check=True)
        return Path(shutil.copy(made, REPORTS / f"{name}.html"))


def write_picture(shot: bytes, name: str, margin: int = 0) -> None:
    """Write a picture of few colors, within a white margin."""
    framed = ImageOps.expand(Image.open(BytesIO(shot)).convert("RGB"), margin, "white")
    small = framed.quantize(256)
    small.save(IMAGES / f"{name}.png", optimize=True)


def top_of(page: Any) -> bytes:
    """Return a picture of the top of a page, which cuts no block."""
    size = page.viewport_size
    height = page.evaluate(WHOLE, size["height"])
    return page.screenshot(
        clip={"x": 0, "y": 0, "width": size["width"], "height": height}
    )


def pages(playwright: Any, report: Path) -> Iterator[tuple[Any, str]]:
    """Yield a report in a window of a desk and of a phone, and how names end then."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    options = {"executable_path": chromium, "args": ["--no-sandbox", *WEBGL]}
    browser = playwright.chromium.launch(**options)
    for size, scale, end in ((SIZE, 1, ""), (PHONE, 2, "_phone")):
        page = browser.new_page(viewport=size, device_scale_factor=scale)
        page.goto(report.as_uri())
        page.wait_for_timeout(1000)
        yield page, end
        page.close()
    browser.close()


def photograph(report: Path) -> None:
    """Write pictures of the top and of the sections of a report."""
    name = report.stem
    with sync_playwright() as playwright:
        for page, end in pages(playwright, report):
            write_picture(top_of(page), f"report_{name}{end}")
            page.add_style_tag(content=STILL)
            page.evaluate(UNFOLD)
            for slider in page.locator("#replay-in-3d input[type=range]").all():
                slider.evaluate(SEEK)
                page.wait_for_timeout(1000)
            for section in SECTIONS[name]:
                shot = page.locator(f"#{section}").screenshot()
                said = f"{name}_{section.replace('-', '_')}{end}"
                write_picture(shot, said, MARGIN)


def explained() -> None:
    """Write pictures of the first figures of the reports of the page on derivatives."""
    blocks = PYTHON.findall((ROOT / "docs" / f"{DERIVATIVE}.md").read_text())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for name, (words, result) in EXPLAINED.items():
            report = Path(folder) / f"{name}.html"
            code = [next(b for b in blocks if word in b) for word in words]
            code.append(f"({result}).report({str(report)!r})")
            command = [sys.executable, "-c", "\n".join(code)]
            subprocess.run(command, cwd=folder, check=True)
            for page, end in pages(playwright, report):
                page.add_style_tag(content=STILL + UNSHOWN[name])
                shot = page.locator("figure").first.screenshot()
                write_picture(shot, f"{name}{end}", MARGIN)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    for name in sys.argv[1:] or (*RUNS, DERIVATIVE):
        if name == DERIVATIVE:
            explained()
        else:
            photograph(make(name))
