"""The report of an evaluation says what its numbers say, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xaimed_bench.cli import main
from xaimed_reports.store.jsonform import UnreadableError
from xaimed_reports.study.evaluation import Accuracy, Cell, Cost, Evaluation, Pair, Spent, load, store
from xaimed_reports.study.report import report_in_short, report_markdown, report_page
from xaimed_reports.study.words import findings

PAPER = ("gradcam++", "xgradcam", "eigengradcam", "layercam", "ablationcam")
BEST = {"before": "ablationcam", "last": "xgradcam"}


def likeness(layer: str, method: str) -> float:
    return 1.0 if method == "ablationcam" else {"before": 0.4, "last": 0.995}[layer]


def made() -> Evaluation:
    """Two layers; at each one method is best, and a baseline lies between it and the rest."""
    cells = [
        Cell(layer, method, "road", group, 100, mean, mean - 0.01, mean + 0.01)
        for layer, best in BEST.items()
        for method in PAPER
        for group, mean in (("all", 0.2 if method == best else 0.1), ("class glioma_tumor", 0.125))
    ]
    cells += [
        Cell(layer, method, "like ablationcam", "all", 100, likeness(layer, method))
        for layer in BEST
        for method in PAPER
    ]
    cells += [Cell("", "random", "road", "all", 100, 0.15, 0.14, 0.16)]
    return Evaluation(
        network="Net", init="weights of a file", data="made", split="testing",
        layers={"last": "bn2", "before": "conv_head"}, images=100, classes=("glioma_tumor", "no_tumor"),
        removed=(0.2, 0.8), accuracy=(Accuracy("all images", 100, 0.75),), cells=tuple(cells),
        pairs=(
            Pair("last", "road", "ablationcam", "xgradcam", -0.1, 100, 1e-9, True),
            Pair("before", "road", "ablationcam", "xgradcam", 0.1, 100, 0.3, False),
        ),
        costs=(Cost("last", "ablationcam", 3.0, 2.9, 3.1, 2**20), Cost("last", "xgradcam", 1.5, 1.4, 1.6, None)),
        machine="a machine", negative={"last": 0.0, "before": 0.52}, recipe={"init": "imagenet"},
        command="xaimed evaluate made", steps=20, threshold="0.5",
    )  # fmt: skip


def test_it_is_stored_and_read_back(tmp_path) -> None:
    (tmp_path / "summary.json").write_text(store(made()))
    assert load(tmp_path / "summary.json") == made()
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(UnreadableError, match=r"other\.json: .*xaimed evaluate"):
        load(tmp_path / "other.json")


def test_the_paper_s_values_stand_beside_with_init_and_accuracy_in_every_row() -> None:
    text = report_markdown(made())
    table = text[text.index("## ROAD at 20%, 80% removed") :].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "[" in line
    ]
    assert len(rows) == 11
    published = {row[1]: row[-3] for row in rows}
    assert published == {"xgradcam": "+0.12", "gradcam++": "+0.09", "layercam": "+0.08", "eigengradcam": "-",
                         "ablationcam": "-", "random (baseline)": "-"}  # fmt: skip
    assert {(row[-2], row[-1]) for row in rows} == {("imagenet", "75.0%")}
    assert all("+0.125" in row[5] for row in rows if row[0])
    assert "Command: `xaimed evaluate made`" in text


def test_what_it_took_is_said_in_the_forwards_that_it_needed() -> None:
    assert not [said for said in findings(made()) if "took" in said]
    took = Spent(needed=1217, batch=4, batches=25, whole=1.118, parts={"maps": 0.02, "faithfulness": 1.098})
    assert (
        "The evaluation took 1.12x the 1,217 forwards that an image needs (maps 0.02, faithfulness 1.1; "
        "medians of 25 x 4 images)."
    ) in findings(replace(made(), spent=took))
    weighed = replace(took, tenth_bytes=2**30, peak_bytes=3 * 2**29)
    said = "Peak memory of a process: 1 GiB after a tenth of the images, 1.5 GiB after all 100."
    assert said in findings(replace(made(), spent=weighed))


def test_the_paper_s_values_for_glioma_stand_beside_no_other_disease() -> None:
    other = replace(made(), cells=tuple(c for c in made().cells if c.group != "class glioma_tumor"))
    assert "published, glioma" not in report_markdown(other)
    assert "published, glioma" not in report_in_short(other)


def test_findings_name_the_best_method_of_each_layer_and_what_it_is_worth() -> None:
    said = " ".join(findings(made()))
    assert "The network is right about 75.0% of 100 (all images)." in said
    assert (
        "At last (bn2) xgradcam has the highest ROAD, +0.200 [+0.190, +0.210], better than ablationcam"
        in said
    )
    assert "At before (conv_head) ablationcam has the highest ROAD, +0.200" in said
    assert "and no method differs from it" in said
    assert said.count("1 of 5 maps are clearly above it") == 2
    assert "AblationCAM scores 0.100 lower than XGradCAM, at 2x its time, 3x a forward pass." in said
    assert "AblationCAM scores no different from XGradCAM, not timed here." in said
    assert len(findings(made())) == 4, "the network, two layers, the hypothesis"


@pytest.mark.parametrize(
    ("negative", "like", "verdict"),
    [
        ({"last": 0.0, "before": 0.5}, {}, "It holds here"),
        ({"last": 0.0, "before": 0.5}, {"last": 0.9}, "It holds in part"),
        ({"last": 0.5, "before": 0.0}, {}, "It fails here"),
        ({"last": 0.0, "before": 0.0}, {}, "no layer with values of both signs"),
        ({"last": 0.2, "before": 0.5}, {}, "no layer with values of one sign"),
    ],
)
def test_the_hypothesis_is_judged_by_the_sign_of_each_layer(negative, like, verdict) -> None:
    e = made()
    cells = tuple(
        replace(c, mean=like.get(c.layer, c.mean)) if c.metric == "like ablationcam" else c for c in e.cells
    )
    (said,) = [line for line in findings(replace(e, negative=negative, cells=cells)) if "Hypothesis" in line]
    assert verdict in said


def test_without_layers_of_known_sign_nothing_is_said_of_the_hypothesis() -> None:
    assert not [line for line in findings(replace(made(), negative={})) if "Hypothesis" in line]


def test_the_page_opens_anywhere_and_draws_cost_against_worth() -> None:
    page = report_page(made(), [("a caption", "data:image/png;base64,AA==")])
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg") == 1, "costs are known at one layer"
    assert '<img src="data:image/png;base64,AA==" alt="a caption">' in page


def test_a_class_with_markup_in_its_name_is_shown_as_text() -> None:
    e = made()
    cells = (*e.cells, Cell("last", "xgradcam", "road", "class <b>|x", 3, 0.1))
    assert "<b>" not in report_page(replace(e, cells=cells)).split("</style>")[1]
    assert "&lt;b>\\|x" in report_markdown(replace(e, cells=cells))


def test_the_command_shows_it_as_text_markdown_and_page(tmp_path, capsys) -> None:
    file = tmp_path / "summary.json"
    file.write_text(store(made()))
    assert main(["report", str(file)]) == 0
    assert "What maps are worth: Net on made" in capsys.readouterr().out
    assert (
        main(["report", str(file), "--html", str(tmp_path / "p.html"), "--markdown", str(tmp_path / "p.md")])
        == 0
    )
    assert "<h1>What maps are worth: Net on made</h1>" in (tmp_path / "p.html").read_text()
    assert main(["report", str(file), "--section", "in-short", "--markdown", "-"]) == 0
    short = capsys.readouterr().out
    assert all(sentence in short for sentence in findings(made()))
    assert main(["report", str(file), "--export", "bencher", str(tmp_path / "x.json")]) == 2


def test_where_only_lesions_were_found_the_report_speaks_of_nothing_else() -> None:
    found = made()
    cells = tuple(replace(c, metric="auprc") for c in found.cells if c.metric == "road")
    pairs = tuple(replace(p, metric="auprc") for p in found.pairs)
    only = replace(found, cells=cells, pairs=pairs, costs=())
    text = report_markdown(only)
    assert "ROAD at" not in text
    assert "ROAD by class" not in text
    said = " ".join(findings(only))
    assert (
        "At last (bn2) xgradcam has the highest pixel AUPRC, +0.200 [+0.190, +0.210], better than ablationcam"
        in said
    )
    assert "**How well maps find the lesion**" in report_in_short(only)
