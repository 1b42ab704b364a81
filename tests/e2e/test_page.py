"""The report's page in a browser: what a person clicks, types and reads; skipped where no browser is.

It takes playwright (`pip install -e '.[page]'`) and a chromium: the system's, or the one that playwright has installed.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from srd.config import Dataset
from srd.datasets.pydoc import load
from srd.report.page import page as html_of
from tests.conftest import Cli
from tests.pages import HOSTILE, contents

pytestmark = pytest.mark.slow
ARMS = ["plain", "SRD", "random", "half"]
WIDTHS = (390, 800, 1600)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e '.[page]'")
    with playwright.sync_playwright() as running:
        own = Path(running.chromium.executable_path)
        path = shutil.which("chromium") or (str(own) if own.is_file() else None)
        if path is None:
            pytest.skip("no chromium: apt install chromium, or playwright install chromium")
        started = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page in a browser, and whatever it complained of or asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1600, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: asked.url.startswith("file:") or self.complaints.append(asked.url))
        self.page.goto(path.as_uri())

    def rows(self, place: str) -> list[str]:
        """The texts of the lines of samples that the document holds."""
        return self.page.locator(f"#{place} tbody tr").all_inner_texts()

    def count(self, place: str) -> str:
        return self.page.locator(f"#{place} [role=status]").first.inner_text()


def pairs_of(count: int) -> list[tuple[str, str]]:
    return [(f"prompt {i} <b>", f"reference {i} " + "abc"[i % 3]) for i in range(count)]


@pytest.fixture
def small(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    """A study of 120 training and 60 held-out samples and four arms."""
    path = tmp_path / "report.html"
    path.write_text(html_of(contents(pairs_of(120), 60, ARMS)), encoding="utf-8")
    opened = Opened(browser, path)
    yield opened
    assert opened.complaints == []
    opened.page.close()


def test_search_finds_samples_by_their_words(small: Opened) -> None:
    assert small.count("training-samples") == "120 training samples, 1 to 25 shown"
    small.page.locator("#training-samples input[type=search]").fill(" REFERENCE 57 ")
    assert small.count("training-samples") == "1 training sample, 1 to 1 shown"
    assert "prompt 57 <b>" in small.rows("training-samples")[0]
    assert small.page.locator("#training-samples mark").inner_text() == "reference 57"
    small.page.locator("#held-out-0 input[type=search]").fill("answer 7 of half")
    assert small.count("held-out-0") == "1 held-out sample, 1 to 1 shown"
    small.page.locator("#held-out-0 input[type=search]").fill("nowhere")
    assert small.count("held-out-0") == "0 held-out samples"


def test_a_heading_sorts_up_and_then_down(small: Opened) -> None:
    heading = small.page.locator("#training-samples th", has_text="ROUGE-L")
    values = small.page.locator("#training-samples td[data-title='ROUGE-L']")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert set(values.all_inner_texts()) == {"0.00", "1.00"}  # 18 of 120 numbers are a multiple of seven
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert set(values.all_inner_texts()) == {"6.00", "5.00"}
    phases = small.page.locator("#training-samples th", has_text="phase").get_by_role("button")
    for _ in range(2):
        phases.click()
        assert "dropped" not in small.rows("training-samples")[0]
        small.page.locator("#training-samples").get_by_text("last »").click()
        assert "dropped" in small.rows("training-samples")[-1]


def test_samples_are_kept_by_phase_and_by_gain(small: Opened) -> None:
    chosen = small.page.locator("#training-samples").get_by_label("Enters in")
    assert chosen.locator("option").all_inner_texts() == ["all", "phase 1", "phase 2", "phase 3", "dropped"]
    counts = []
    for phase in ("phase 1", "phase 2", "phase 3", "dropped"):
        chosen.select_option(phase)
        counts.append(small.count("training-samples").partition(" ")[0])
    assert counts == ["30", "30", "30", "30"]
    place = small.page.locator("#held-out-0")
    place.get_by_label("Gain of").select_option("half")
    place.get_by_label("over").select_option("SRD")
    place.get_by_label("Show").select_option("largest gains first")
    assert small.count("held-out-0").startswith("60 held-out samples")
    assert set(place.locator("td.gain").all_inner_texts()) == {"+2.00"}  # arm 3 scores i + 3, arm 1 i + 1
    place.get_by_label("Show").select_option("largest losses first")
    assert small.count("held-out-0") == "0 held-out samples"
    place.get_by_label("Gain of").select_option("plain")
    assert set(place.locator("td.loss").all_inner_texts()) == {"-1.00"}


def test_a_sample_opens_to_every_answer_with_its_score(small: Opened) -> None:
    button = small.page.locator("#held-out-0 tbody button").nth(4)
    button.focus()
    small.page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    told = small.page.locator("#held-out-0 dl").inner_text()
    for number, arm in enumerate(ARMS):
        assert f"{arm}, ROUGE-L {4 + number}.00\nanswer 4 of {arm}" in told
    assert "student (tiny), ROUGE-L 4.00\nbefore" in told
    small.page.keyboard.press("Enter")
    assert small.page.locator("#held-out-0 dl").count() == 0


def test_plots_answer_the_pointer_and_the_keyboard(small: Opened) -> None:
    plots = {name: small.page.locator(f"#{name}") for name in ("forest", "cost", "training", "difficulty")}
    told: dict[str, list[str]] = {}
    for name, plot in plots.items():
        drawing, tip = plot.locator(".plot > svg").first, plot.locator(".tip").first
        drawing.focus()
        told[name] = []
        for key in ("ArrowRight", "End", "ArrowDown", "Home"):
            small.page.keyboard.press(key)
            told[name].append(tip.inner_text())
        small.page.keyboard.press("Escape")
        assert tip.inner_text() == ""
    assert told["forest"][0].startswith("SRD − plain, heldout\n+1.00 ROUGE-L (+0.50 … +1.50), better")
    assert told["cost"][0].startswith("plain\n20.00 ROUGE-L (19.00 … 21.00)\nseconds, scoring included: 10")
    assert "on the Pareto front" in told["cost"][0]
    assert [text.splitlines()[1] for text in told["training"][:2]] == ["step 1, phase 1: 2.99", "step 100, phase 2: 2"]
    assert [text.splitlines()[0] for text in told["training"][1:]] == ["plain", "SRD", "SRD"]
    assert "phase 2" in told["difficulty"][3]
    mark = plots["cost"].locator(".plot > svg > rect")  # the second arm's shape
    mark.hover()
    assert plots["cost"].locator(".tip").inner_text().startswith("SRD\n21.00")
    small.page.keyboard.press("Enter")


def test_a_legend_hides_an_arm(small: Opened) -> None:
    assert small.page.locator("#cost .plot > svg > rect").count() == 1
    small.page.locator("#cost .legend").get_by_text("SRD", exact=True).click()
    assert small.page.locator("#cost .plot > svg > rect").count() == 0


@pytest.mark.parametrize("way", ["keyboard", "mouse", "finger"])
def test_a_dot_leads_to_its_sample(browser: Any, tmp_path: Path, way: str) -> None:
    """Also where the samples of its phase were filtered out; a finger's first tap shows what is there."""
    path = tmp_path / "report.html"
    path.write_text(html_of(contents(pairs_of(120), 60, ARMS)), encoding="utf-8")
    opened = Opened(browser, path, 390, has_touch=way == "finger")
    opened.page.locator("#training-samples").get_by_label("Enters in").select_option("dropped")
    dots = opened.page.locator("#difficulty .plot > svg")
    if way == "keyboard":
        dots.focus()
        opened.page.keyboard.press("ArrowRight")
        opened.page.keyboard.press("Enter")
    else:
        # The first dot of the first phase, which the keyboard finds first too.
        x, y = re.findall(r"M([\d.]+),([\d.]+)h", dots.locator("path.dots").first.get_attribute("d"))[0]
        at = {"x": float(x), "y": float(y)}
        if way == "finger":
            dots.tap(position=at)
            assert "prompt 0 <b>" in opened.page.locator("#difficulty .tip").inner_text()
            assert opened.count("training-samples").startswith("30 training samples")
            dots.tap(position=at)
        else:
            dots.click(position=at)
    assert opened.count("training-samples") == "1 training sample, 1 to 1 shown"
    assert "prompt 0 <b>" in opened.rows("training-samples")[0]
    assert opened.complaints == []
    opened.page.close()


def test_everything_is_reached_with_the_tab_key_and_shows_that_it_is(small: Opened) -> None:
    reached = set()
    for _ in range(400):
        small.page.keyboard.press("Tab")
        where = small.page.evaluate(
            "() => { const e = document.activeElement; return [e.tagName, e.closest('[id]')?.id ?? '', "
            "getComputedStyle(e).outlineStyle]; }"
        )
        if where[0] == "BODY":
            break
        assert where[2] == "solid", where
        reached.add((where[0].lower(), where[1]))
    assert {("svg", name) for name in ("forest", "cost", "training", "difficulty")} <= reached
    for place in ("training-samples", "held-out-0"):
        assert {("input", place), ("select", place), ("button", place)} <= reached
    assert ("summary", "tables-section") in reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(browser: Any, tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "report.html"
    long = [("word" * 200, "reference " * 80)] * 30
    arms = ["an arm with a name " * 6, "x" * 90, *(f"arm {i}" for i in range(30))]
    path.write_text(html_of(contents(long, 30, arms)), encoding="utf-8")
    grounds = set()
    for width in WIDTHS:
        opened = Opened(browser, path, width, color_scheme=scheme)
        opened.page.locator("#held-out-0 tbody button").first.click()
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        grounds.add(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert opened.complaints == []
        opened.page.close()
    assert grounds == {"rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 26)"}


def test_texts_of_a_study_are_shown_and_not_obeyed(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(html_of(contents([(HOSTILE, HOSTILE)] * 8, 8, [HOSTILE, "SRD"])), encoding="utf-8")
    opened = Opened(browser, path)
    opened.page.locator("#training-samples tbody button").first.click()
    assert HOSTILE in opened.page.locator("#training-samples dl").inner_text()
    assert opened.page.title() == "made <i>up</i> · srd"
    assert opened.page.locator("main img").count() == 0
    assert opened.complaints == []
    opened.page.close()


def test_the_demo_s_page_is_under_three_megabytes(browser: Any, tmp_path: Path) -> None:
    """Its prompts and references, with answers as long as the references."""
    rows = load(Dataset(name="pydoc"))
    pairs = [(row["instruction"], row["output"] * 2) for _, row in zip(range(3600), rows, strict=False)]
    assert len(pairs) == 3600
    path = tmp_path / "report.html"
    path.write_text(html_of(contents(pairs, 500, [*ARMS, "teacher"])), encoding="utf-8")
    assert 500_000 < path.stat().st_size < 3_000_000
    assert "texts are cut" not in path.read_text(encoding="utf-8")


def test_fifteen_thousand_long_samples_are_paged_and_what_was_cut_is_said(browser: Any, tmp_path: Path) -> None:
    long = [(f"prompt {i} " + "much to say " * 40, f"reference {i} " + "and more " * 40) for i in range(15_000)]
    path = tmp_path / "report.html"
    path.write_text(html_of(contents(long, 500, ARMS)), encoding="utf-8")
    opened = Opened(browser, path)
    assert opened.count("training-samples") == "15,000 training samples, 1 to 25 shown"
    assert len(opened.rows("training-samples")) == 25
    section = opened.page.locator("#training-samples-section")
    assert "texts are cut to 120 characters" in section.inner_text()
    assert path.stat().st_size < 10_000_000
    section.get_by_text("next ›").click()
    assert opened.count("training-samples").endswith("26 to 50 shown")
    section.get_by_text("last »").click()
    assert opened.count("training-samples").endswith("14,976 to 15,000 shown")
    section.get_by_role("spinbutton").fill("300")
    section.get_by_role("spinbutton").press("Enter")
    assert opened.count("training-samples").endswith("7,476 to 7,500 shown")
    assert opened.page.evaluate("document.querySelectorAll('*').length") < 3000
    section.get_by_label("Search").fill("prompt 14999 ")
    assert opened.count("training-samples") == "1 training sample, 1 to 1 shown"
    assert opened.complaints == []
    opened.page.close()


def test_a_study_that_ran_is_shown(browser: Any, cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    """Two arms and three training seeds: what the page, the terminal and the other files say is one verdict."""
    cli("run", "-m", "experiment=demo/plain,demo/srd", *smoke, "study=smoke", "distill.seed=1,2,3", cwd=tmp_path)
    printed = cli("report", "smoke", cwd=tmp_path).stdout
    folder = tmp_path / "outputs/report/smoke"
    assert f"{(folder / 'report.html').relative_to(tmp_path)} (beside it report.md, report.tex, report.json)" in printed
    found = re.search(r"^KD with SRD is .* plain KD on heldout .*; 3 training seeds\.$", printed, flags=re.MULTILINE)
    assert found is not None
    assert found[0] in (folder / "report.md").read_text().split("## ")[0]
    assert r"\toprule" in (folder / "report.tex").read_text()
    assert {path.name for path in folder.glob("*.png")} == {
        "differences.png",
        "cost.png",
        "training.png",
        "difficulty.png",
    }
    opened = Opened(browser, folder / "report.html")
    assert opened.page.locator(".verdict").inner_text().replace("\xa0", " ") == found[0]
    assert opened.count("training-samples").startswith("8 training samples")
    assert sorted(text.split("\t")[2] for text in opened.rows("training-samples")) == [
        "1",
        "1",
        "2",
        "2",
        "3",
        "3",
        "dropped",
        "dropped",
    ]
    assert opened.count("held-out-0").startswith("4 held-out samples")
    assert opened.page.locator("#held-out-0 th").all_inner_texts()[-2:] == ["plain KD", "KD with SRD"]
    assert opened.page.locator("svg[role=application]").count() == 5
    assert opened.complaints == []
    opened.page.close()
