"""The reference names every public name."""

import importlib
import inspect
import re
from pathlib import Path

import roboopt as ro

PAGE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()


def test_every_public_name_is_in_the_reference():
    sections = re.split(r"^## `(roboopt[.\w]*)`$", PAGE, flags=re.MULTILINE)[1:]
    listed = {
        name: set(re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE))
        for name, text in zip(sections[::2], sections[1::2], strict=True)
    }
    for name, found in listed.items():
        module = importlib.import_module(name)
        public = {
            n
            for n in dir(module)
            if not n.startswith("_") and not inspect.ismodule(getattr(module, n))
        }
        assert found == public, name
    top = {n for n in dir(ro) if inspect.ismodule(getattr(ro, n))}
    assert {f"roboopt.{n}" for n in top} <= set(listed)
