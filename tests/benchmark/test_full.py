"""`lossml benchmark` on recipes, as a person runs it: real layouts, plans, tables, joined runs."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import warm

from lossml.benchmark import full, join, recipe, tables
from lossml.benchmark.entrant import Entrant
from lossml.benchmark.trainer import Where
from lossml.errors import RunError
from lossml.zoo import contender

SMALL = {
    "imagenet": {"network": "resnet18", "size": [32, 32], "resize": [36, 36]},
    "voc2012": {"network": "lraspp_mobilenet_v3_large", "size": [32, 32], "resize": [32, 48]},
    "coco-stuff": {"network": "lraspp_mobilenet_v3_large", "size": [32, 32], "resize": [32, 48]},
}
EPOCH = {"epochs": 1, "batch_size": 4, "heldout_size": 8, "seeds": 2, "learning_rates": [1.0], "validation": 0.2}


def lossml(*arguments, folder):
    command = [sys.executable, "-m", "lossml", "benchmark", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=280)


def run(name, given, losses, folder, data, where=None):
    entrants = [Entrant(loss, contender(loss)) for loss in losses]
    settings = full.Given(0, str(data), where or Where("cpu", workers=0))
    return full.benchmark_recipe(recipe.read(name, given), entrants, folder, settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tree", "losses"),
    [
        ("imagenet", "imagenet_tree", ["ce", "ngl"]),
        ("voc2012", "voc_tree", ["ce", "dice+ce"]),
        ("coco-stuff", "coco_tree", ["ce", "ohem"]),
    ],
)
def test_a_recipe_trains_on_its_data_sets_layout(name, tree, losses, request, tmp_path):
    """One short epoch from the real folders to the table, with torchvision's networks."""
    data = request.getfixturevalue(tree)
    size = {"train_size": 20} if name == "imagenet" else {}
    found = run(name, EPOCH | SMALL[name] | size, losses, tmp_path / "out", data)
    assert [row.contender.label for row in found.rows] == losses
    assert found.rows[0].verdict == "reference"
    assert len(list((tmp_path / "out" / "trainings").glob("*/heldout.json"))) == 4
    assert all(0.0 <= row.mean <= 1.0 for row in found.rows)
    assert found.samples == (8 if name == "imagenet" else 7)


@pytest.mark.slow
def test_a_recipe_trains_on_two_devices_from_the_command_line(voc_tree, tmp_path):
    """Two processes over gloo, from the command to the table."""
    keys = EPOCH | {"network": "small-unet", "width": 8, "size": [32, 32], "resize": [32, 48]}
    settings = [f"--set={key}={json.dumps(value)}" for key, value in keys.items()]
    command = ["voc2012", *settings, "--losses", "ce,dice+ce", "--devices", 2, "--device", "cpu"]
    done = lossml(*command, "--data-root", voc_tree, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row["verdict"] != "failed" for row in json.loads(done.stdout)["rows"]] == [True, True]
    assert json.loads((tmp_path / "benchmark-voc2012" / "run.json").read_text())["devices"] == 2


def test_the_plan_comes_first_and_is_held_to(tiny, tiles, tmp_path):
    """It names losses with programs and scales, seeds, rates, metric and versions; another one is refused, with why."""
    run(tiny, {}, ["ce", "brier"], tmp_path / "out", tiles)
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["losses"]["ce"] == {"program": "-sum_C(y*logp)", "scale": 1.0}
    assert plan["losses"]["brier"]["scale"] > 1.0
    assert plan["design"]["objective"] == "accuracy"
    assert plan["data"] == {"classes": 2, "train_validation_heldout": [36, 12, 12]}
    assert len(plan["seeds"]["seeds"]) == 2
    assert {"lossml", "torch", "torchmetrics"} <= plan["versions"].keys()
    with pytest.raises(RunError, match=r"another plan: recipe\.epochs is 2 there and 3 here"):
        run(tiny, {"epochs": 3}, ["ce", "brier"], tmp_path / "out", tiles)


def test_gradients_are_not_matched_where_a_recipe_says_so(tiny, tiles, tmp_path):
    """Then every loss trains as it is written."""
    run(tiny, {"match_gradients": False}, ["ce", "ngl"], tmp_path / "out", tiles)
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert [loss["scale"] for loss in plan["losses"].values()] == [1.0, 1.0]


def test_runs_are_joined_each_with_its_own_reference(tiny, tiles, tmp_path):
    """Two runs of one recipe are one table; its numbers are those of the runs, its correction that of them all."""
    one = run(tiny, {}, ["ce", "brier"], tmp_path / "one", tiles)
    two = run(tiny, {}, ["ce", "gce"], tmp_path / "two", tiles)
    joined = join.join([tmp_path / "one", tmp_path / "two"]).comparison
    assert [row.contender.label for row in joined.rows] == ["ce", "brier", "ce (two)", "gce"]
    assert joined.rows[1].difference == one.rows[1].difference
    assert joined.rows[3].difference == two.rows[1].difference
    assert joined.rows[3].p >= two.rows[1].p
    assert joined.rows[2].verdict == "reference"


@pytest.mark.parametrize(
    ("keys", "losses", "words"),
    [
        ({"epochs": 3}, ["ce", "gce"], "recipe.epochs is 2 there and 3 here"),
        ({"seeds": 3}, ["ce", "gce"], "their seeds are not paired: seeds is 2 there and 3 here"),
        ({"objective": "nll"}, ["ce", "gce"], "objective is"),
        ({}, ["gce", "mae"], "the reference is ce there and gce here"),
    ],
)
def test_what_is_not_comparable_is_not_joined(tiny, tiles, tmp_path, keys, losses, words):
    """The refusal names both folders and the first thing that differs."""
    run(tiny, {}, ["ce", "brier"], tmp_path / "one", tiles)
    run(tiny, keys, losses, tmp_path / "two", tiles)
    with pytest.raises(RunError, match="cannot be compared") as caught:
        join.join([tmp_path / "one", tmp_path / "two"])
    assert words in str(caught.value)


@pytest.mark.parametrize("plan", ["{}", '{"design": []}', '{"design": {"seeds": "x"}, "losses": {}}', '"no plan"', "["])
def test_a_plan_that_is_none_is_called_damaged(tmp_path, plan):
    """JSON that is no plan, or none at all, is named with its folder, in whichever folder it lies."""
    design = {"seeds": 2, "learning_rates": [1.0]}
    for name, text in (("whole", json.dumps({"design": design, "losses": {"ce": "x"}})), ("bad", plan)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text(text)
    for folders in (["whole", "bad"], ["bad", "whole"]):
        with pytest.raises(RunError, match=r"bad/plan\.json is damaged"):
            join.join([tmp_path / name for name in folders])


def test_a_comparison_is_written_in_every_format(tiny, tiles, tmp_path):
    """Each format has every loss; LaTeX escapes what means something there; the power is said in words."""
    found = run(tiny, {}, ["ce", "gce(q=0.5)"], tmp_path / "out", tiles)
    texts = {name: write(found) for name, write in tables.FORMATS.items()}
    assert all("gce(q=0.5)" in text for text in texts.values())
    assert r"ECE (\%)" in texts["latex"]
    assert "$\\pm$" in texts["latex"]
    assert texts["latex"].count(r"\\") == 3
    assert "2 paired seeds" in texts["markdown"]
    same = replace(found.rows[1], difference=0.0, verdict="no difference", detectable=0.02, needed=0)
    alike = tables.sentences(replace(found, rows=(found.rows[0], same)))[-1]
    assert alike.endswith("this design sees 2.00 points four times out of five; the one observed is exactly 0.")
    last = tables.sentences(found)[-1]
    assert "gce(q=0.5)" in last
    assert "no difference" not in last or "four times out of five" in last


def test_the_command_line_lists_refuses_and_explains(tmp_path):
    """Recipes are listed; what is missing, misplaced or unknown gets a sentence and exit code 2."""
    listed = warm.lossml("benchmark", "--list", folder=tmp_path)
    assert listed.returncode == 0
    assert "imagenet-vit" in listed.stdout
    cases = {
        ("imagenet", "--data-root", tmp_path): ["imagenet is not in", "image-net.org", "1000 class folders"],
        ("cifar10", "--label-noise", "0.1"): ["--label-noise", "--proxy"],
        ("digits", "--short"): ["--short", "no recipe"],
        ("cifar10", "--set", "epoch=1"): ["did you mean 'epochs'"],
        (): ["0 names are given"],
        ("--compare", tmp_path, tmp_path): ["is no benchmark"],
    }
    for arguments, words in cases.items():
        done = warm.lossml("benchmark", *arguments, folder=tmp_path)
        assert done.returncode == 2, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert all(word in done.stderr for word in words), (arguments, done.stderr)
