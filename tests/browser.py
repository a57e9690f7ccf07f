"""The browser that tests of pages use, where there is one, and what judges how accessible a page is."""

from __future__ import annotations

import shutil
from importlib.resources import files

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")


def axe() -> str:
    """The script of axe-core, for a page to evaluate."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
