"""The page in a real browser: everything drawn, nothing fetched, readable on any screen and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from report_samples import N_LAYERS, ROLES, compress_entry, finetune_entry, ner_entry, write_model
from tersor.report import report

DRAWN = "body[data-charts=done]"
DESKTOP, PHONE = (1280, 900), (390, 844)


class Opened:
    """A page, and what the browser said and asked for meanwhile."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.messages: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("dialog", lambda dialog: self.messages.append(f"dialog {dialog.message}"))

    def evaluate(self, script: str) -> Any:
        return self.page.evaluate(script)


@contextmanager
def opened(browser: Browser, path: Path, size: tuple[int, int] = DESKTOP, **context: Any) -> Iterator[Opened]:
    made = browser.new_context(viewport={"width": size[0], "height": size[1]}, **context)
    try:
        made.set_default_timeout(5_000)
        found = Opened(made.new_page())
        found.page.goto(path.as_uri())
        found.page.wait_for_selector(DRAWN, timeout=20_000)
        yield found
    finally:
        made.close()


@pytest.fixture(scope="module")
def desktop(browser: Browser, full_page: Path) -> Iterator[Opened]:
    with opened(browser, full_page) as found:
        yield found


def n_marks(page: Page, title: str, kind: str) -> int:
    """Marks of a kind ("rect", "symbol", "rule", "line") in the first chart with this title."""
    figure = page.locator("figure", has=page.locator("figcaption", has_text=title)).first
    return figure.locator(f"g.mark-{kind}.role-mark path, g.mark-{kind}.role-mark line").count()


def test_every_chart_is_drawn(desktop: Opened) -> None:
    page = desktop.page
    n_plots = page.locator(".plot").count()
    assert n_plots == page.locator(".plot[data-state=drawn] svg").count() > 15
    assert page.locator(".plot[data-state=failed]").count() == 0


def test_marks_are_as_many_as_the_facts(desktop: Opened) -> None:
    page, n_matrices = desktop.page, N_LAYERS * len(ROLES) + 1
    assert (
        n_marks(page, "Where the bytes go", "rect") == n_matrices + 1
    )  # and the vector; the tied head has no bytes
    assert n_marks(page, "Bits per weight by layer", "symbol") == n_matrices
    assert n_marks(page, "Relative error by layer", "symbol") == n_matrices
    assert n_marks(page, "Sensitivity by layer", "symbol") == n_matrices
    assert n_marks(page, "Sensitivity curves", "symbol") == 2 * 3
    assert n_marks(page, "f1 [%] against size", "symbol") == 2
    assert n_marks(page, "F1 entities", "symbol") == 2 * 2
    assert n_marks(page, "F1 tags", "symbol") == 2 * 3
    assert n_marks(page, "eval_f1", "symbol") == 6


def test_nothing_is_fetched_and_nothing_goes_wrong(desktop: Opened, full_page: Path) -> None:
    assert desktop.requests == [full_page.as_uri()]
    assert desktop.messages == []


def test_page_is_small(full_page: Path) -> None:
    assert full_page.stat().st_size <= 1_200_000


@pytest.mark.parametrize("size", [DESKTOP, (768, 1024), PHONE, (320, 640)], ids=str)
def test_page_never_scrolls_sideways(desktop: Opened, size: tuple[int, int]) -> None:
    desktop.page.set_viewport_size({"width": size[0], "height": size[1]})
    desktop.page.wait_for_timeout(50)
    assert desktop.evaluate("document.documentElement.scrollWidth") <= size[0]
    widest = (
        "Math.max(...[...document.querySelectorAll('.plot svg')].map(s => s.getBoundingClientRect().right))"
    )
    assert desktop.evaluate(widest) <= size[0]


def test_phone_draws_charts_at_its_own_width(browser: Browser, full_page: Path) -> None:
    with opened(browser, full_page, PHONE, has_touch=True, is_mobile=True) as found:
        assert found.messages == []
        assert found.requests == [full_page.as_uri()]
        assert found.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        widths = found.evaluate(
            "[...document.querySelectorAll('.plot svg')].map(s => s.viewBox.baseVal.width)"
        )
        assert min(widths) > 200
        assert max(widths) <= PHONE[0]


COLOURS = """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
    getComputedStyle(document.querySelector('.plot .role-axis-label text')).fill,
    getComputedStyle(document.querySelector('.plot .mark-symbol.role-mark path')).fill]"""


def luminance(colour: str) -> float:
    red, green, blue = (int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(","))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_charts_can_be_read_in_light_and_dark(desktop: Opened, scheme: str) -> None:
    desktop.page.emulate_media(color_scheme=scheme)
    paper, ink, label, mark = desktop.evaluate(COLOURS)
    assert (luminance(paper) < 0.1) == (scheme == "dark")
    assert contrast(paper, ink) >= 7
    assert contrast(paper, label) >= 4.5
    assert contrast(paper, mark) >= 3


def test_print_is_light_and_fits_the_paper(desktop: Opened) -> None:
    desktop.page.emulate_media(media="print", color_scheme="dark")
    assert luminance(desktop.evaluate(COLOURS)[0]) > 0.9
    assert not desktop.page.locator("nav").is_visible()
    desktop.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert (
        desktop.page.locator("details.numbers[open]").count()
        == desktop.page.locator("details.numbers").count()
    )
    desktop.evaluate("dispatchEvent(new Event('afterprint'))")
    assert desktop.page.locator("details.numbers[open]").count() == 0
    desktop.page.emulate_media(media="screen", color_scheme="light")


def column_of(page: Page, table: str, title: str) -> list[str]:
    """The cells below a title, top to bottom, of the table in the region of that name."""
    script = """([table, title]) => {
        const found = document.querySelector(`[aria-label="${table}"] table`);
        const place = [...found.tHead.rows[0].cells].findIndex(cell => cell.textContent.trim() === title);
        return [...found.tBodies[0].rows].map(row => row.cells[place].textContent.trim());
    }"""
    cells: list[str] = page.evaluate(script, [table, title])
    return cells


def test_tables_sort_by_click_and_by_keyboard(desktop: Opened) -> None:
    page, table = desktop.page, "Bits per code"
    title = page.locator(f'[aria-label="{table}"]').first.get_by_role("button", name="codes", exact=True)
    head = title.locator("xpath=..")
    before = column_of(page, table, "codes")
    title.click()
    assert head.get_attribute("aria-sort") == "descending"
    numbers = [int(cell.replace(",", "")) for cell in column_of(page, table, "codes")]
    assert numbers == sorted(numbers, reverse=True)
    title.focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [int(cell.replace(",", "")) for cell in column_of(page, table, "codes")] == sorted(numbers)
    names = page.locator(f'[aria-label="{table}"]').first.get_by_role("button", name="tensors", exact=True)
    names.press("Space")
    assert column_of(page, table, "tensors") == sorted(column_of(page, table, "tensors"))
    assert head.get_attribute("aria-sort") is None
    assert sorted(before) == sorted(column_of(page, table, "codes"))


def test_cells_without_a_number_stay_at_the_end(desktop: Opened) -> None:
    page, table = desktop.page, "Figures: ner on eng.testb"
    button = page.locator(f'[aria-label="{table}"]').get_by_role("button", name="p", exact=True)
    for _ in range(2):
        button.click()
        assert column_of(page, table, "p")[-2:] == ["–", "–"]


def test_first_tab_skips_to_the_content_and_focus_can_be_seen(desktop: Opened) -> None:
    page = desktop.page
    desktop.evaluate("document.body.tabIndex = -1; document.body.focus()")  # where Tab starts
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    assert page.locator(":focus").bounding_box()["x"] >= 0  # type: ignore[index]
    page.keyboard.press("Tab")
    assert desktop.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_everything_has_a_name_for_those_who_cannot_see_it(desktop: Opened) -> None:
    unnamed = """[...document.querySelectorAll('.plot svg g.root, .plot svg[role], [role=region]')].filter(
        e => !e.closest('[aria-label], [aria-labelledby]') && !e.querySelector('[aria-label]')).length"""
    assert desktop.evaluate(unnamed) == 0
    described = "[...document.querySelectorAll('.plot')].map(p => [p.role, p.ariaLabel])"
    assert all(role == "graphics-document" and label for role, label in desktop.evaluate(described))
    levels = desktop.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    ids = desktop.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_tables_are_there_without_javascript(browser: Browser, full_page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(full_page.as_uri())
    assert "Charts need JavaScript" in (page.locator("noscript").text_content() or "")
    assert page.get_by_role("cell", name="86.6", exact=True).count() > 2
    context.close()


EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>\"'onfocus=hacked=3 \u202e\x1b["


def test_hostile_names_and_texts_are_shown_and_never_run(browser: Browser, tmp_path: Path) -> None:
    history: list[dict[str, Any]] = [compress_entry(EVIL), finetune_entry(), ner_entry(EVIL, EVIL, 9_000)]
    history[0]["steps"][0]["step"] = {EVIL: {EVIL: EVIL}}
    history[1] |= {"task": EVIL, "stage": EVIL, "settings": {EVIL: EVIL}}
    history[1]["log"] = [{"step": step, EVIL: 1.0 / step} for step in (1, 2, 3)]
    history[2] |= {"task": EVIL, "data": EVIL}
    for model in history[2]["models"]:
        model["metrics"][0]["name"] = model["metrics"][0]["unit"] = EVIL
        model["details"] = {EVIL: [{"name": EVIL, "f1": 1, "low": 0, "high": 2, EVIL: 5}]}
    facts = {"machine": EVIL, "source": EVIL, "recipe": {EVIL: EVIL}, "libraries": {EVIL: EVIL}}
    archive = write_model(tmp_path / "evil", history, prefix=EVIL, **facts)
    report([archive], tmp_path / "page.html", title=EVIL)
    with opened(browser, tmp_path / "page.html") as found:
        assert found.messages == []
        assert len(found.requests) == 1
        assert found.evaluate("window.hacked") is None
        assert found.page.locator("img, iframe, object, embed, link[rel=stylesheet]").count() == 0
        assert found.page.locator("script").count() == 4
        found.page.locator(".plot .mark-rect.role-mark path").first.hover()
        tip = found.page.locator("#vg-tooltip-element")
        tip.wait_for(state="visible")
        assert "<img" in tip.inner_text()
        assert "\\u202e" in tip.inner_text()
        assert found.evaluate("window.hacked") is None
        assert found.page.locator("h1").inner_text().startswith("</script><script>")


def test_policy_stops_a_script_that_escaping_missed(
    browser: Browser, full_page: Path, tmp_path: Path
) -> None:
    broken = full_page.read_text().replace("<main", "<script>window.hacked=1</script><main", 1)
    (tmp_path / "broken.html").write_text(broken)
    with opened(browser, tmp_path / "broken.html") as found:
        assert found.evaluate("window.hacked") is None
        assert "Content Security Policy" in found.messages[0]
