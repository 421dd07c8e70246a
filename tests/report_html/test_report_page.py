"""What is in the page: all of it, escaped, and nothing that a browser would fetch or run."""

import base64
import gzip
import json
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from benchmark.report.html.contents import read_contents
from benchmark.report.html.provenance import command_of
from benchmark.store import Store

CONTENT = ["data", "chunk-0", "plotly"]
"""Names of the packed parts."""


class Elements(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = [("", {})]
        self.words: list[str] = []
        self.packed: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        tag, attributes = self.tags[-1]
        if tag == "script" and attributes.get("id") and data.strip():
            self.packed[attributes["id"]] = data
        elif tag not in ("script", "style"):
            self.words.append(data)

    def json(self, name):
        return json.loads(gzip.decompress(base64.b64decode(self.packed[name])))


@pytest.fixture(scope="module")
def page(report):
    return Elements(report.read_text("utf-8"))


def details_of(page, identity):
    data = page.json("data")
    at = [row[0] for row in data["trials"]].index(identity)
    return page.json(f"chunk-{at // data['chunk']}")[at % data["chunk"]]


def section(details, title):
    return dict(next(pairs for name, pairs in details["sections"] if name.startswith(title)))


def test_names_are_text_wherever_they_stand(page, report):
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert [one.get("id") for one in scripts] == [*CONTENT, None]
    assert "img" not in [tag for tag, _ in page.tags]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    evil = "[red]x</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>"
    assert sum(evil in words for words in page.words) >= 4
    assert "{{7*7}}" in "".join(page.words)
    assert "window.hurt=1</script>" not in report.read_text("utf-8")


def test_nothing_is_fetched(page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data"):
            value = attributes.get(name) or ""
            assert value == "" or value[0] == "#" or value == "data:,", (tag, value)
    policy = next(a["content"] for _, a in page.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_the_leaderboard_needs_no_script(page):
    words = " ".join(" ".join(page.words).split())
    for told in ("4.5 ± 1.3", "of 2 models: ± 4.0", "5 (1)"):
        assert told in words, told
    assert words.index("Floor:") < words.index("Controls:") < words.index("Ranked defenses")


def test_a_trial_is_told_completely(page):
    found = details_of(page, "22abcdef")
    assert section(found, "trial 22abcdef")["attack"] == "bw3x3, trigger 170, target class 0"
    assert section(found, "options") == {"attack.lr": "0.05"}
    assert section(found, "environment") == {"python": "3.11.7", "device": "cpu"}
    assert found["log"].startswith("one\n[red]x</script>")
    (hinge,) = found["charts"]
    assert (hinge["stage"], hinge["quantity"], hinge["step"]) == ("search", "hinge", "epoch")
    assert [line["label"] for line in hinge["lines"]] == ["level 0.9", "level 0.5"]
    assert hinge["lines"][1]["y"] == [0.5, 0.25, 0.1667, 0.125]
    assert found["recovered"]["count"] == found["kept"] == 20
    for plane in (found["components"], found["tsne"]):
        assert np.array(plane["points"]).shape == (20, 2)
        assert 1 < len(plane["drawn"]) == plane["patches"]["count"] <= 20


def test_the_failure_is_told(page):
    data = page.json("data")
    (failed,) = [row for row in data["trials"] if row[0] == "ffailed"]
    row = dict(zip(data["columns"], failed, strict=True))
    assert (row["status"], row["after"]) == ("failed", None)
    assert row["error"].startswith("out of [red]x</script>")


def test_examples_come_from_the_cache_of_prepared_data(page):
    data = page.json("data")
    examples = details_of(page, "22abcdef")["examples"]
    assert examples == {"rows": [[0, 1, 4, 1, 1, 0, 1, 1]], "names": ["zero", "one"]}
    (picture,) = data["pictures"]
    assert base64.b64decode(picture["pixels"]) == bytes([2]) * 8 * 8 * 3


def test_without_the_data_the_page_says_why_there_are_no_examples(
    make_page, results, cache, tmp_path
):
    damaged = shutil.copytree(cache, tmp_path / "cache")
    (file,) = damaged.glob("datasets/*/test.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    page = Elements(make_page(results, damaged).read_text("utf-8"))
    told = details_of(page, "22abcdef")["examples"]["missing"]
    assert "does not have the prepared data 0123456789abcdef0123" in told
    assert page.json("data")["pictures"] == []


def test_lost_triggers_are_told_and_cost_nothing_else(make_page, results, cache, tmp_path):
    copy = shutil.copytree(results, tmp_path / "results")
    (file,) = copy.glob("artifacts/*/*")
    file.write_bytes(b"other")
    found = details_of(Elements(make_page(copy, cache).read_text("utf-8")), "22abcdef")
    assert "the recovered triggers cannot be read: artifact" in found["unreadable"]
    assert found["charts"]


def test_most_bounds_what_is_costly(make_page, results, cache):
    page = Elements(make_page(results, cache, most=1).read_text("utf-8"))
    made = ["tsne" in details_of(page, f"2{n}abcdef") for n in range(4)]
    assert sum(made) == 1
    assert all("components" in details_of(page, f"2{n}abcdef") for n in range(4))


def test_how_it_was_made_is_told(page):
    words = " ".join(page.words)
    command = "bench run --preset quick --dataset digits --model small --attack bw3x3 --seeds 2"
    for told in ("0123456789abcdef0123", command, "bench report -o", "3.11.7", "run 1"):
        assert told in words, told
    assert "/home/me" not in words
    assert "options set by hand for one defense and files of your own" in words


@pytest.mark.parametrize(
    ("seeds", "asks"),
    [
        ([0], ""),
        ([0, 1], "--seeds 2"),
        ([3], "--first-seed 3"),
        ([1, 3], "--first-seed 1 --seeds 3"),
    ],
)
def test_the_command_plans_the_seeds_that_are_there(results, seeds, asks):
    with Store.open(results, write=False) as store:
        board = read_contents(store).boards[0]
    said = command_of(board, seeds, ["quick"])
    assert said.partition(" --attack bw3x3")[2].partition("--defense")[0].strip() == asks


def test_the_command_of_several_runs_plans_the_triggers_of_all(results):
    with Store.open(results, write=False) as store:
        board = read_contents(store).boards[0]
    settings = ["quick, attack.epochs=2, attack.triggers=0", "quick, attack.epochs=2"]
    said = command_of(board, [0], settings)
    names = ",".join(sorted({name for row in board.rows for name in row.triggers}))
    asked = ["--set", "attack.epochs=2", "--set", f"attack.triggers={names}"]
    assert shlex.split(said)[-4:] == asked
    same = command_of(board, [0], settings[:1])
    assert same.endswith("--set attack.epochs=2 --set attack.triggers=0")


@pytest.mark.parametrize(
    "settings", [("my-study",), ("cifar10-cpu", "my-study"), ("quick, base.epochs=3", "my-study")]
)
def test_without_one_shipped_preset_no_command_is_made_up(
    make_page, results, cache, tmp_path, settings
):
    with Store.open(results, write=False) as store:
        trials = list(store.trials())
    folder = tmp_path / "results"
    with Store.open(folder, write=True, create=True) as store:
        for trial, setting in zip(trials, settings, strict=False):
            store.put_trial(replace(trial, setting=setting))
    words = " ".join(" ".join(Elements(make_page(folder, cache).read_text("utf-8")).words).split())
    assert "bench run" not in words
    told = "of several presets, or of a preset file: see “Command as it was typed” below"
    assert told in words
    assert words.index(told) < words.index("Command as it was typed Trials")


def test_the_same_results_make_the_same_page(make_page, results, cache, report):
    again = Elements(make_page(results, cache).read_text("utf-8"))
    assert again.packed == Elements(report.read_text("utf-8")).packed
