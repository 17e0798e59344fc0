"""A real Chromium for the pages: Debian's if it is installed, else the one that playwright brought."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from report_samples import full_model, write_model
from tersor.report import report


@pytest.fixture(scope="module")  # not longer: while playwright runs, asyncio.run fails in other tests
def browser() -> Iterator[Browser]:
    """Chromium without a network."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two archives, one with a history that fills every section, one without any."""
    folder = tmp_path_factory.mktemp("pages")
    archives = [full_model(folder / "small"), write_model(folder / "plain")]
    report(archives, folder / "report.html")
    return folder / "report.html"
