"""The page in a real browser: what a person can do with it, and that it stays on the machine."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from benchmark.store import Store

from .conftest import EVIL, TRIGGERS, trial, victim

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Reader:
    """The open report, and what the browser complained of."""

    def __init__(self, browser, file: Path, **settings):
        self.page = browser.new_context(**settings).new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]", state="attached")

    def figures(self):
        self.page.wait_for_selector("html[data-drawn=all]", state="attached")
        return self.page.locator(".js-plotly-plot")

    def column(self, number, section=".ranked"):
        cells = self.page.locator(f".leaderboard {section} tr.row:visible > :nth-child({number})")
        return [text.split("\n")[0] for text in cells.all_inner_texts()]

    def colour(self, what="background-color", where="body"):
        script = f"(place) => getComputedStyle(place)['{what}']"
        return self.page.locator(where).first.evaluate(script)


@pytest.fixture(scope="module")
def desktop(browser, report):
    reader = Reader(browser, report, viewport={"width": 1280, "height": 900})
    yield reader
    reader.page.context.close()


@pytest.fixture
def reader(desktop):
    """The open report as it is when it was just opened, but for what was drawn."""
    page = desktop.page
    for box in page.locator("input[type=search]").all():
        box.fill("")
    for box in page.locator("#trial-tools select").all():
        box.select_option("")
    return desktop


def test_it_opens_in_silence_and_offline(reader, report):
    assert reader.figures().count() == 3
    assert reader.complaints == []
    assert reader.requests == [report.as_uri()]
    assert reader.page.locator("#trouble").is_hidden()
    assert reader.page.evaluate("window.hurt") is None


def test_a_click_sorts_each_section_by_itself(reader):
    header = reader.page.get_by_role("columnheader", name="ASR after")
    for order in (["mesa", "pixel", EVIL], [EVIL, "pixel", "mesa"]):
        header.first.get_by_role("button").click()
        assert reader.column(2) == order
    assert header.first.get_attribute("aria-sort") == "descending"
    sections = [row.split("\n")[0] for row in reader.page.locator("tr.head").all_inner_texts()]
    assert [text.split(":")[0].split()[0] for text in sections] == [
        *("Floor", "Controls", "Ranked", "Oracle")
    ]
    reader.page.get_by_role("columnheader", name="Clean acc. after").get_by_role("button").click()
    assert reader.column(2) == [EVIL, "mesa", "pixel"]


def test_typing_filters_the_leaderboard(reader):
    reader.page.get_by_label("Show rows with").fill("PIXEL")
    assert reader.column(2) == ["pixel"]
    assert reader.page.locator("#found-0").inner_text() == "1 of 6 rows"
    assert reader.page.locator("tr.head:visible").count() == 1


def test_every_trigger_has_a_bar_of_each_defense_and_its_picture(reader):
    grid = reader.figures().first
    assert grid.locator(".bars .point path").count() == 4 * 4
    assert grid.locator("image").count() == 4
    reader.page.get_by_label("pixel", exact=True).first.uncheck()
    assert grid.locator(".bars .point path").count() == 3 * 4
    assert EVIL in grid.locator(".xaxislayer-above").text_content()
    reader.page.get_by_label("pixel", exact=True).first.check()


def test_the_numbers_of_a_figure_can_be_read_as_a_table(reader):
    place = reader.page.locator(".figure").first
    place.locator("summary").click()
    place.locator("tbody tr").nth(3).wait_for()  # the table is made when it is opened
    rows = place.locator("tbody tr").all_inner_texts()
    assert rows[0].split("\t") == ["0", "97.0", "50.0", "3.0", "12.0 ± 4.0", "20.0", "2.0"]
    assert len(rows) == 4


def test_trials_are_filtered_and_opened_with_the_keyboard(reader):
    page = reader.page
    page.locator("#trial-status").select_option("failed")
    assert page.locator("#trial-found").inner_text() == "1 of 25 trials"
    page.locator("#trial-list tbody button").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(f"Failed: out of {EVIL}").wait_for()
    assert page.evaluate("location.hash") == "#trial=ffailed"
    page.keyboard.press("Escape")
    assert dialog.is_hidden()
    assert page.evaluate("document.activeElement.textContent") == "ffailed"


def test_a_trial_shows_its_curves_triggers_examples_and_log(reader):
    page = reader.page
    page.get_by_role("button", name="mesa", exact=True).first.click()
    assert page.locator("#trial-found").inner_text() == "5 of 25 trials"
    page.locator("#trial-list tbody button").nth(1).click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".curve .scatterlayer .trace").nth(1).wait_for()
    assert [place.get_attribute("aria-label") for place in dialog.get_by_role("img").all()] == [
        "original trigger 170",
        "20 recovered triggers",
        "first two components (truncated SVD) of 20 recovered triggers",
        "t-SNE of 20 recovered triggers",
        "test image of class 1 (one), stamped",
    ]
    assert "before: 1 (one); stamped: 0 (zero)" in dialog.inner_text()
    assert dialog.locator("pre").inner_text() == f"one\n{EVIL}\n"
    dialog.get_by_role("button", name="Next").click()
    dialog.get_by_role("heading", name="mesa on trigger 27").wait_for()
    dialog.get_by_role("button", name="Close").click()
    assert reader.complaints == []


def test_a_link_opens_a_trial(browser, report):
    reader = Reader(browser, report)
    reader.page.goto(f"{report.as_uri()}#trial=22abcdef")
    reader.page.reload()
    reader.page.get_by_role("heading", name="mesa on trigger 170").wait_for()
    reader.page.context.close()


def test_light_dark_and_paper(reader):
    axis = ".js-plotly-plot .xtitle"
    reader.figures()
    colours = {"light": ("rgb(255, 255, 255)", "rgb(27, 31, 36)")}
    colours["dark"] = ("rgb(20, 23, 27)", "rgb(232, 234, 237)")
    for scheme, expected in colours.items():
        reader.page.emulate_media(color_scheme=scheme)
        for _ in range(100):  # figures are drawn anew
            if (seen := (reader.colour(), reader.colour("fill", axis))) == expected:
                break
            reader.page.wait_for_timeout(100)
        assert seen == expected, scheme
    reader.page.emulate_media(color_scheme="dark", media="print")
    assert reader.colour() == "rgb(255, 255, 255)"
    assert reader.page.locator("nav").is_hidden()
    reader.page.emulate_media(color_scheme="light", media="screen")


def test_a_phone_scrolls_in_one_direction(browser, report):
    reader = Reader(browser, report, viewport={"width": 390, "height": 844})
    reader.figures()
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= 390
    reader.page.context.close()


def test_an_old_browser_still_has_the_tables(browser, report):
    context = browser.new_context()
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    page.goto(report.as_uri())
    page.get_by_role("alert").get_by_text("this browser is too old").wait_for()
    assert page.locator(".leaderboard tr.row").count() == 6
    context.close()


@pytest.fixture
def many(tmp_path):
    """Two thousand trials like the paper's: 50 epochs of three sub-models, 128 triggers kept."""
    draw = np.random.default_rng(0)
    rounds = [{"series": "retrain", "epoch": n, "loss": draw.random()} for n in range(10)]
    with Store.open(tmp_path / "many", write=True, create=True) as store:
        for number, trigger in enumerate(TRIGGERS):
            store.put_model(victim(number, trigger))
        for number in range(2000):
            triggers = draw.random((128, 3, 3, 3), dtype=np.float32)
            search = [
                {"series": "search", "epoch": epoch, "level": level}
                | {name: draw.random() for name in ("hinge", "information", "asr", "saturated")}
                for epoch in range(50)
                for level in (0.9, 0.8, 0.5)
            ]
            at = number % len(TRIGGERS)
            made = trial("mesa", at, list(TRIGGERS)[at], trial=f"t{number}", series=search + rounds)
            kept = store.artifacts.add(save({"triggers": triggers}))
            fields = {"seed": number // len(TRIGGERS), "triggers_artifact": kept}
            store.put_trial(replace(made, log="a line\n" * 40, **fields))
    return tmp_path / "many"


@pytest.mark.slow
def test_two_thousand_trials_are_small_and_open_at_once(browser, make_page, many, cache):
    file = make_page(many, cache)
    print(json.dumps({"bytes": file.stat().st_size}))
    assert file.stat().st_size <= 20_000_000
    reader = Reader(browser, file)
    spent = reader.page.evaluate("performance.now()")
    print(json.dumps({"ms until everything can be used": spent}))
    assert spent <= 3000
