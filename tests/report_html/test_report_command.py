"""`bench report` after a real run: the examples are those of the images that were scored."""

import base64
import gzip
import json
import re


def packed(text, name):
    found = re.search(f'id="{name}">([^<]*)<', text)
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def test_the_report_of_a_real_run_shows_its_examples(tiny_run, tmp_path):
    file = tmp_path / "report.html"
    done = tiny_run.command("report", "--out", tiny_run.out, "-o", file)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    text = file.read_text("utf-8")
    data = packed(text, "data")
    columns = data["columns"]
    answered = {"none": [], "oracle": []}
    for row, found in zip(data["trials"], packed(text, "chunk-0"), strict=True):
        trial = dict(zip(columns, row, strict=True))
        examples = found["examples"]
        assert examples["names"] == ["red", "green", "blue"]
        assert len(examples["rows"]) == 6
        for picture, *place, label, clean, stamped, _, after in examples["rows"]:
            assert data["pictures"][picture]["count"] == 1
            assert all(0 <= where <= 16 - 3 for where in place)
            assert label != trial["target"]
            assert clean in range(3)
            if trial["defense"] in answered:
                answered[trial["defense"]].append((stamped, after, trial["target"]))
    assert all(stamped == after for stamped, after, _ in answered["none"])
    hits = [stamped == target for stamped, _, target in answered["none"]]
    assert sum(hits) >= 0.5 * len(hits)
    assert sum(after == target for _, after, target in answered["oracle"]) < sum(hits)
