"""Pages in headless Chromium, where it is installed: for tests of HTML."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = "chromium", "chromium-browser", "google-chrome"
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
# WebGL is drawn in software, and the pages without it, in a quarter of the time.
SOFTWARE_GL = "--use-angle=swiftshader", "--enable-unsafe-swiftshader"
ARGUMENTS = "--no-sandbox", "--disable-gpu-compositing", *SOFTWARE_GL
MAX_BYTES = 3_000_000
WIDTHS = 1280, 768, 390  # px: a computer, a tablet, a phone

needs_chromium = pytest.mark.skipif(
    FOUND is None, reason=f"needs one of {', '.join(NAMES)} on the PATH"
)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Yield a browser of Playwright that downloads nothing."""
    from playwright.sync_api import sync_playwright

    assert FOUND is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND, args=ARGUMENTS)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: Any, page: Path | str, width: int, **options: Any) -> Iterator[Any]:
    """Yield a page that is open at a width [px], and check it before and after.

    No error is on its console, nothing is asked of a network, and nothing is wider than
    the page.

    Args:
        browser: of `chromium`.
        page: a file, or an address, whose own files may be loaded.
        width: of the window [px].
        **options: of Playwright's `new_page`, such as `color_scheme`.
    """
    address = page.absolute().as_uri() if isinstance(page, Path) else page
    own = ("data:", "blob:", address.rpartition("/")[0] if "://" in address else "")
    faults: list[str] = []
    view = browser.new_page(viewport={"width": width, "height": 900}, **options)
    view.on("console", lambda m: m.type == "error" and faults.append(m.text))
    view.on("pageerror", lambda error: faults.append(str(error)))
    view.on(
        "request",
        lambda r: r.url.startswith(own) or faults.append(f"asks for {r.url}"),
    )
    view.goto(address)
    assert not faults, faults
    assert_nothing_is_cut_off(view)
    assert_no_table_scrolls(view)
    yield view
    assert not faults, faults
    view.close()


def assert_nothing_is_cut_off(view: Any) -> None:
    """Check that no element reaches over the page's right edge, unless it scrolls."""
    wide = view.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(node => {
            if (node.closest("svg") && node.tagName != "svg") return false;
            for (let p = node.parentElement; p; p = p.parentElement)
                if (/auto|scroll/.test(getComputedStyle(p).overflowX)) return false;
            return node.getBoundingClientRect().right > innerWidth + 1;
        }).map(node => node.outerHTML.slice(0, 200))"""
    )
    assert not wide, wide
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")


def check_page(page: Path | str) -> None:
    """Open a page at all widths, in light and dark, and check it.

    A file has at most 3 MB. Without a browser no more is checked; `needs_chromium`
    skips with the reason.
    """
    if isinstance(page, Path):
        assert page.stat().st_size <= MAX_BYTES
    if FOUND is None:
        return
    with chromium() as browser:
        for width, scheme in zip(WIDTHS, ("light", "dark", "dark"), strict=True):
            with opened(browser, page, width, color_scheme=scheme):
                pass


def assert_no_table_scrolls(view: Any) -> None:
    """Check that tables are shown whole, without scrolling sideways."""
    assert not (wide := scrolling(view, ".wide, .md-typeset__scrollwrap")), wide


def scrolling(view: Any, selector: str) -> list[str]:
    """Return the beginnings of the elements that scroll sideways."""
    return view.evaluate(
        """selector => [...document.querySelectorAll(selector)]
            .filter(node => node.scrollWidth > node.clientWidth + 1)
            .map(node => node.innerText.slice(0, 200))""",
        selector,
    )
