"""The site: built strictly, then opened and searched in Chromium as a reader does it.

`.ci/run` runs this file; a plain `pytest` does not.
"""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser import (
    WIDTHS,
    assert_no_table_scrolls,
    assert_nothing_is_cut_off,
    chromium,
    needs_chromium,
    scrolling,
)
from questions import QUESTIONS

import roboopt

ROOT = Path(__file__).parents[2]
RESULTS = 3  # an answer is among so many pages
pytestmark = pytest.mark.slow

LOADED = "() => [...document.images].every(i => i.complete)"
MISSING = "() => [...document.images].filter(i => !i.naturalWidth).map(i => i.src)"
# A flag begins at the end of a line and goes on in the next.
BROKEN_FLAGS = """() => [...document.querySelectorAll(".md-content code")]
    .flatMap(code => {
        const text = code.ownerDocument.createTreeWalker(code, NodeFilter.SHOW_TEXT);
        const found = [];
        for (let node; node = text.nextNode();)
            for (const flag of node.data.matchAll(/(?<![\\w-])--[a-z][\\w-]*/g)) {
                const range = document.createRange();
                range.setStart(node, flag.index);
                range.setEnd(node, flag.index + flag[0].length);
                if (new Set([...range.getClientRects()].map(r => r.top)).size > 1)
                    found.push(flag[0]);
            }
        return found;
    })"""
# Code that scrolls, without a shadow where it goes on.
UNSEEN = """() => [...document.querySelectorAll("pre > code")]
    .filter(code => code.scrollWidth > code.clientWidth + 1)
    .filter(code => getComputedStyle(code).backgroundImage == "none")
    .map(code => code.innerText)"""
# The index of the search is not built anew on each page.
NO_SEARCH = "window.Worker = class extends EventTarget { postMessage() {} }"
# Counts the answers of the search's worker.
COUNTED = """
window.answers = 0;
window.Worker = class extends Worker {
    constructor(...given) {
        super(...given);
        this.addEventListener("message", ({data}) => answers += data.type === 3);
    }
};
"""
# Types each question, and returns the links of its first results.
ASKED = """async ([questions, results]) => {
    const input = document.querySelector(".md-search__input");
    const frame = () => new Promise(requestAnimationFrame);
    const found = {};
    for (const question of questions) {
        const before = answers;
        input.value = question;
        input.dispatchEvent(new Event("keyup"));
        while (answers === before) await frame();
        await frame();
        await frame(); // which shows the answer
        const items = [...document.querySelectorAll(".md-search-result__item")];
        found[question] = items.slice(0, results).map(item =>
            [...item.querySelectorAll("a")].map(a => a.href.replace(/\\?h=[^#]*/, "")));
    }
    return found;
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "docs/tools/build.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(address, browser) -> Iterator[Any]:
    """Yield a page without errors on its console, which asks no other site."""
    page, wrong = browser.new_page(), []
    page.on(
        "request",
        lambda r: (
            r.url.startswith((address, "data:", "blob:"))
            or wrong.append(f"{page.url} asks {r.url}")
        ),
    )
    page.on(
        "console",
        lambda m: m.type == "error" and wrong.append(f"{page.url}: {m.text}"),
    )
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    yield page
    page.close()
    assert not wrong, "\n".join(wrong)


def test_the_site_builds_strictly(folder):
    assert (folder / "index.html").is_file()


def test_the_builder_says_how_it_is_called(tmp_path):
    command = [sys.executable, str(ROOT / "docs/tools/build.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "[folder]" in done.stdout
    assert not list(tmp_path.iterdir())


@needs_chromium
def test_every_page_is_whole_quiet_and_alone(folder, address, page):
    names = [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*.html"))
        if path.name != "404.html" and path.parent.name != "reports"
    ]
    assert len(names) > 40
    page.add_init_script(NO_SEARCH)
    for name in names:
        page.goto(address + name, wait_until="load")
        page.add_style_tag(content=".md-search { display: none }")  # beside the page
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function(LOADED)  # pictures of phones are others
            assert not page.evaluate(MISSING), (name, width)
            assert_nothing_is_cut_off(page)
            assert_no_table_scrolls(page)
            # Code of 88 columns fits a computer; commands wrap on a phone.
            code = "pre > code" if width == max(WIDTHS) else ".language-bash pre > code"
            assert not (wide := scrolling(page, code)), (name, width, wide)
            assert not (broken := page.evaluate(BROKEN_FLAGS)), (name, width, broken)
        # The last is a phone.
        assert not (unseen := page.evaluate(UNSEEN)), (name, unseen)


@needs_chromium
def test_the_search_answers(address, page):
    page.add_init_script(COUNTED)
    page.goto(address)
    page.evaluate("document.querySelector('#__search').click()")
    page.wait_for_selector(".md-search__input")
    found, wrong = page.evaluate(ASKED, [list(QUESTIONS), RESULTS]), []
    for question, (name, anchor) in QUESTIONS.items():
        wanted = f"{address}{name}" + (f"#{anchor}" if anchor else "")
        if not any(wanted in links for links in found[question]):
            wrong.append(f"{question}: {wanted} is not in {found[question]}")
    assert not wrong, "\n".join(wrong)


def test_the_reference_of_roboopt_leads_to_every_name(folder):
    page = (folder / "reference" / "roboopt.html").read_text()
    namespaces = {path.stem for path in (folder / "reference").glob("roboopt.*")}
    for name in dir(roboopt):
        if name.startswith("_"):
            continue
        if f"roboopt.{name}" in namespaces:
            continue
        assert re.search(rf'(href="[^"]*\.|id="roboopt\.){name}"', page), name
