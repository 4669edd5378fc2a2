"""Recipes: three layers, every key checked, TOML out and in again."""

import tomllib
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossml.errors import RecipeError, UsageError
from lossml.resources import recipe_names, recipe_path
from lossml.search.recipe import KEYS, MAY_CHANGE, Recipe, make_recipe, read_toml, resumed

BAD = [
    ("budget", 0),
    ("budget", True),
    ("budget", 1.5),
    ("budget", "ten"),
    ("seed", -1),
    ("proposer", "oracle"),
    ("pruner", "hyperbanana"),
    ("cohort", 0),
    ("rungs", []),
    ("rungs", [1, 4]),
    ("rungs", [4, 1, 16]),
    ("rungs", [0, 16]),
    ("rungs", [True, 16]),
    ("rungs", 16),
    ("label_noise", 1.0),
    ("label_noise", float("nan")),
    ("label_noise", -0.1),
    ("long_tail", 0.5),
    ("schedules", 1),
    ("schedules", "true"),
    ("objective", "f1"),
    ("time_limit", -1),
    ("confirm_seeds", 1),
    ("tuning_seeds", 0),
    ("learning_rates", []),
    ("learning_rates", [0.0]),
    ("learning_rates", "fast"),
    ("baselines", []),
    ("baselines", [1]),
    ("alpha", 0.0),
    ("alpha", 0.9),
    ("confirm_on", "digits"),
    ("confirm_on", [3]),
    ("workers", -2),
    ("dataset", ""),
    ("seeds", ""),
    ("data_root", 3),
    ("device", None),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_bad_value_is_refused_with_key_value_and_rule(key, value):
    """Whoever gives a bad value reads which key, what was given, and what it must be."""
    with pytest.raises(RecipeError, match=rf"{key} is .*; it must") as caught:
        make_recipe({"dataset": "digits", key: value})
    given_value = tuple(value) if isinstance(value, list) else value
    assert repr(given_value)[:20] in str(caught.value)


@pytest.mark.parametrize(("key", "near"), [("buget", "budget"), ("label-noise", "label_noise"), ("pruners", "pruner")])
def test_an_unknown_key_is_refused_with_a_near_one(tmp_path, key, near):
    """A misspelt key in a file never passes silently; the message names the file and the key that was meant."""
    file = tmp_path / "mine.toml"
    file.write_text(f'dataset = "digits"\n"{key}" = 1\n')
    with pytest.raises(RecipeError, match=f"mine.toml: unknown key '{key}'; did you mean '{near}'"):
        make_recipe({}, str(file))


def test_a_key_like_none_is_refused_with_all_there_are():
    """Where nothing is near, all keys are listed."""
    with pytest.raises(RecipeError, match="there are dataset, budget"):
        make_recipe({"dataset": "digits", "qqqqqq": 1})


def test_flags_win_over_the_file_and_the_file_over_the_shipped_recipe_and_that_over_defaults(tmp_path):
    """The four layers, each seen to win over the next."""
    file = tmp_path / "mine.toml"
    file.write_text("budget = 33\nseed = 4\ncandidates = 1\n")
    shipped = read_toml(recipe_path("digits"))
    recipe = make_recipe({"dataset": "digits", "budget": 55}, str(file))
    assert (recipe.budget, recipe.seed, recipe.candidates) == (55, 4, 1)
    assert shipped["confirm_seeds"] != Recipe("digits").confirm_seeds
    assert recipe.confirm_seeds == shipped["confirm_seeds"]
    assert recipe.alpha == Recipe("digits").alpha


def test_a_recipe_without_a_data_set_says_what_to_give():
    """There is no silent default for what a search is about."""
    with pytest.raises(RecipeError, match="--dataset digits"):
        make_recipe({})


def test_an_unknown_baseline_is_refused_before_anything_trains():
    """A misspelt baseline would otherwise come to light after the search."""
    with pytest.raises(UsageError, match="focal"):
        make_recipe({"dataset": "digits", "baselines": ["focl"]})


def test_under_a_long_tail_logit_adjustment_is_a_baseline_unless_baselines_are_given():
    """The standard answer to a long tail is confirmed beside what was found."""
    plain, tailed = (make_recipe({"dataset": "digits", "long_tail": ratio}) for ratio in (1.0, 50.0))
    assert tailed.baselines == (*plain.baselines, "logit-adjustment")
    assert make_recipe({"dataset": "digits", "long_tail": 50.0, "baselines": ["ce"]}).baselines == ("ce",)


@pytest.mark.parametrize("content", [b"budget = ", b"\xff\xfe", b"a = " + b"[" * 5000, b"x" * 2000])
def test_what_is_no_toml_is_refused_with_the_file(tmp_path, content):
    """Malformed, undecodable and absurdly nested files get a sentence."""
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"bad\.toml"):
        read_toml(file)


def test_a_missing_recipe_file_is_refused(tmp_path):
    """A path that is not there, or is a folder, gets a sentence."""
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(RecipeError, match="cannot read the recipe"):
            read_toml(path)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
recipes = st.builds(
    Recipe,
    dataset=texts.filter(bool),
    seeds=texts.filter(bool),
    data_root=texts,
    budget=st.integers(1, 1_000_000),
    label_noise=st.floats(0.0, 0.95),
    time_limit=st.floats(0.0, 1e9),
    long_tail=st.floats(1.0, 1e4),
    schedules=st.booleans(),
    alpha=st.floats(1e-6, 0.5),
    learning_rates=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4).map(tuple),
)


@given(recipes)
def test_a_written_recipe_is_read_back_the_same(tmp_path_factory, recipe):
    """Whatever texts and numbers it holds: a run's recipe.toml is the run's recipe."""
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe(**read_toml(file)) == recipe
    assert set(tomllib.loads(recipe.to_toml())) == set(KEYS)


@pytest.mark.parametrize("key", sorted(set(KEYS) - MAY_CHANGE))
def test_a_resumed_run_refuses_what_would_change_its_results(key):
    """Every key outside MAY_CHANGE is locked, and the message names it."""
    stored = Recipe("digits")
    other = {
        "dataset": "cifar10",
        "seeds": "none",
        "proposer": "random",
        "pruner": "none",
        "objective": "nll",
        "baselines": ["ce"],
        "learning_rates": [1.0],
        "rungs": [4, 16],
        "device": "cuda",
        "label_noise": 0.3,
        "label_noise_kind": "asymmetric",
        "train_size": 100,
        "network": "small",
        "long_tail": 5.0,
        "also_on": ["camvid"],
        "schedules": True,
        "alpha": 0.01,
    }
    value = other.get(key, 7)
    with pytest.raises(UsageError, match=rf"{key} = "):
        resumed(stored, {key: value})


def test_a_resumed_run_takes_a_larger_budget_and_the_same_values():
    """What does not change results may be set anew; repeating a stored value is no change."""
    stored = Recipe("digits")
    same = {key: value for key, value in asdict(stored).items() if not isinstance(value, tuple)}
    more = resumed(replace(stored, confirm_on=("camvid",)), {"confirm_on": ["cifar10"]})
    assert more.confirm_on == ("camvid", "cifar10")
    assert resumed(stored, same) == stored
    assert resumed(stored, {"learning_rates": list(stored.learning_rates)}) == stored
    assert resumed(stored, {"budget": 999, "workers": 1}) == replace(stored, budget=999, workers=1)


def test_one_recipe_serves_every_folder_of_masks():
    """The folder's path stays, what is searched for comes from the recipe; a module of that name has no part in it."""
    recipe = make_recipe({"dataset": "segmentation-folder:a/b:c"})
    assert recipe.dataset == "segmentation-folder:a/b:c"
    assert recipe.objective == "miou"
    assert "dice+ce" in recipe.baselines
    assert make_recipe({"dataset": "camvid:task"}).objective == "accuracy"


def test_a_baseline_that_is_no_program_needs_its_library(monkeypatch):
    """Lovász-Softmax is taken where its library is installed, else the extra to install is named."""
    assert make_recipe({"dataset": "camvid", "baselines": ["ce", "lovasz"]}).baselines == ("ce", "lovasz")
    monkeypatch.setattr("lossml.zoo.foreign.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'lossml\[segmentation\]'"):
        make_recipe({"dataset": "camvid", "baselines": ["ce", "lovasz"]})


@pytest.mark.parametrize("name", recipe_names())
def test_each_shipped_recipe_is_a_recipe(name):
    """Shipped files hold known keys and allowed values, and name their data set."""
    assert make_recipe({}, name).dataset == name
    assert make_recipe({"dataset": name}) == make_recipe({}, name)
