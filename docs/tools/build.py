"""Build the site, strictly: `python docs/tools/build.py [FOLDER]`, by default `site/`.

The pages are those of `docs/`, and these, which are made from other files: the README
is the home page; each namespace of `reference.md` gets a page with the docstrings of
its names; and `examples.md` shows the files that it lists. They are written to
`build/docs`, from where MkDocs takes them: this file is a hook of it, so that `mkdocs
build` and `mkdocs serve` work alone, too.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS, PAGES = ROOT / "docs", ROOT / "build" / "docs"
REPORTS = ROOT / "build" / "reports"  # of docs/tools/reports.py, where it was run
TOP = "roboopt"
COPIES = {"README.md": "index.md"}
COPIES |= {f"{name.upper()}.md": f"{name}.md" for name in ("contributing", "changelog")}
SECTION = re.compile(r"^## `(roboopt[.\w]*)`\n\n(.*?)(?=^## |\Z)", re.DOTALL | re.M)
ROW = re.compile(r"^\| `(\w+)` \|", re.M)
EXAMPLE = re.compile(r"\]\((?:\.\./)*examples/(\w+)\.py\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(((?:\.\./)*images/(\w+))\.png\)")
PICTURE = (
    '<picture><source media="(max-width: 45em)" srcset="{1}_phone.png">'
    '<img src="{1}.png" alt="{0}"></picture>'
)
BOOST = "---\nsearch:\n  boost: {}\n---\n\n"
FOUND_LESS = BOOST.format(0.3)
BOOSTS = {"faq": BOOST.format(2)} | dict.fromkeys(
    ("benchmarks", "changelog", "contributing", "design"), FOUND_LESS
)


def namespaces() -> dict[str, tuple[str, list[str]]]:
    """Return the introduction and the names of each namespace of the reference."""
    found = {}
    for name, text in SECTION.findall((DOCS / "reference.md").read_text()):
        found[name] = text.partition("|")[0].strip(), ROW.findall(text)
    return found


def home(name: str, namespace: str) -> str:
    """Return the namespace that describes a name: the top only if no other has it."""
    if namespace == TOP:
        others = (n for n, (_, names) in namespaces().items() if name in names)
        return next((n for n in others if n != TOP), TOP)
    return namespace


def reference_page(namespace: str, introduction: str, names: list[str]) -> str:
    """Return a page with the docstrings of the names that are described there.

    Those that another namespace describes are links.
    """
    homes = {name: home(name, namespace) for name in names}
    own = [f"::: {namespace}.{n}" for n, at in homes.items() if at == namespace]
    others = [
        f"[`{name}`]({at}.md#{at}.{name})"
        for name, at in homes.items()
        if at != namespace
    ]
    also = [f"Described on other pages: {', '.join(others)}."] if others else []
    blocks = "\n\n".join([introduction, *also, *own])
    return f"{FOUND_LESS}# `{namespace}`\n\n{blocks}\n"


def linked(section: re.Match[str]) -> str:
    """Return a section of the reference whose names lead to their docstrings."""

    def row(match: re.Match[str]) -> str:
        at = home(match[1], section[1])
        return f"| [`{match[1]}`](reference/{at}.md#{at}.{match[1]}) |"

    return ROW.sub(row, section[0])


def sources(markdown: str) -> str:
    """Return the examples that a page links to, each under a heading."""
    text = ""
    for name in dict.fromkeys(EXAMPLE.findall(markdown)):
        code = (ROOT / "examples" / f"{name}.py").read_text()
        text += f"\n\n## {name}.py {{#{name}}}\n\n```python\n{code}```\n"
    return text


def picture(found: re.Match[str]) -> str:
    """Return an image, another one on phones where there is one."""
    phone = DOCS / "images" / f"{found[3]}_phone.png"
    return PICTURE.format(*found.groups()) if phone.exists() else found[0]


def write_pages() -> None:
    """Write all pages to `build/docs`."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(DOCS, PAGES, ignore=shutil.ignore_patterns("tools"))
    for source, target in COPIES.items():
        text = (ROOT / source).read_text()
        for name, other in COPIES.items():
            text = text.replace(f"]({name}", f"]({other}")
        text = text.replace("](docs/", "](").replace('src="docs/', 'src="')
        (PAGES / target).write_text(text)
    if REPORTS.exists():
        shutil.copytree(REPORTS, PAGES / "reports")
        links = (f"- [{r.stem}](reports/{r.name})\n" for r in REPORTS.glob("*.html"))
        with (PAGES / "gallery.md").open("a") as gallery:
            gallery.write("\n## Whole reports, to open\n\n" + "".join(sorted(links)))
    (PAGES / "reference").mkdir()
    for namespace, (introduction, names) in namespaces().items():
        page = PAGES / "reference" / f"{namespace}.md"
        page.write_text(reference_page(namespace, introduction, names))
    reference, examples = PAGES / "reference.md", PAGES / "examples.md"
    reference.write_text(SECTION.sub(linked, reference.read_text()))
    text = examples.read_text()
    examples.write_text(text + sources(text))
    for name, boost in BOOSTS.items():
        page = PAGES / f"{name}.md"
        page.write_text(boost + page.read_text())
    for page in PAGES.rglob("*.md"):
        up = "../" * (len(page.relative_to(PAGES).parts) - 1)
        text = IMAGE.sub(picture, page.read_text())
        text = EXAMPLE.sub(rf"]({up}examples.md#\1)", text)
        for name, other in COPIES.items():
            text = text.replace(f"]({up}../{name}", f"]({up}{other}")
        page.write_text(text)


def on_config(config: Any) -> Any:
    """Write all pages, and let MkDocs build these."""
    write_pages()
    config.docs_dir = str(PAGES)
    return config


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the site, strictly.")
    parser.add_argument(
        "folder", nargs="?", type=Path, default=ROOT / "site", help="of the site"
    )
    folder = parser.parse_args().folder.resolve()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    failed = subprocess.run(command, cwd=ROOT).returncode
    if not failed:
        print(f"To read and search it: python -m http.server -d {folder}")
    sys.exit(failed)
