"""Recipes of full training: every key checked, shipped ones whole, short variants short."""

import pytest

from lossml import zoo
from lossml.benchmark import recipe, sources
from lossml.benchmark.networks import NETWORKS, SEGMENTING
from lossml.errors import RecipeError

MASKS = {"voc2012", "coco-stuff", "camvid"}


@pytest.mark.parametrize("name", recipe.names())
@pytest.mark.parametrize("short", [False, True])
def test_a_shipped_recipe_names_what_there_is(name, short):
    """Its data set, network and losses are known and fit each other; the short variant is shorter."""
    found = recipe.read(name, short=short)
    assert found.data in sources.SOURCES
    assert found.network in NETWORKS
    assert (found.network in SEGMENTING) == (found.data in MASKS) == (found.augment == "scale")
    assert found.losses[0] == "ce"
    assert all(loss in zoo.FOREIGN or zoo.program_of(loss) for loss in found.losses)
    assert found.needs
    assert recipe.read(name, short=True).epochs < recipe.read(name).epochs


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("batch_size", 1),
        ("optimizer", "lion"),
        ("learning_rate", 0),
        ("schedule", "linear"),
        ("warmup", 1.0),
        ("ema", 1.0),
        ("clip", -1),
        ("precision", "16-mixed"),
        ("compile", 1),
        ("size", [32]),
        ("size", [32, 4]),
        ("size", 32),
        ("scales", [1.0, 0.0]),
        ("augment", "mixup"),
        ("objective", "f1"),
        ("validation", 0.9),
        ("losses", []),
        ("learning_rates", [0.0]),
        ("tuning", 17),
        ("seeds", 1),
        ("alpha", 0.9),
        ("match_gradients", "yes"),
    ],
)
def test_a_bad_value_is_refused_with_key_value_and_rule(key, value):
    """Whoever gives a bad value reads which key, what was given, and what it must be."""
    with pytest.raises(RecipeError, match=rf"{key} is .*; it must"):
        recipe.read("cifar10", {key: value})


def test_what_is_written_wins_in_order(tmp_path):
    """Options over the table [short] over the file."""
    path = tmp_path / "mine.toml"
    path.write_text((recipe.folder() / "cifar10.toml").read_text())
    assert recipe.read(str(path)).epochs == 100
    assert recipe.read(str(path), short=True).name == "mine-short"
    assert recipe.read(str(path), {"epochs": 3}, short=True).epochs == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean 'epochs'"),
        ('data = "cifar10"', "lacks network, epochs"),
        ("data = ", "is no TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(tmp_path, text, words):
    """The message names the file and what to mend."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"bad\.toml") as caught:
        recipe.read(str(path))
    assert words in str(caught.value)


def test_parts_of_a_batch_are_of_one_size():
    """A batch that cannot be cut into its parts is refused."""
    with pytest.raises(RecipeError, match="parts of a batch"):
        recipe.read("cifar10", {"accumulate": 3})


def test_an_unknown_recipe_gets_the_nearest():
    """A misspelt name is answered with one that there is."""
    with pytest.raises(RecipeError, match="did you mean 'imagenet'"):
        recipe.read("imagnet")


def test_settings_are_read_as_toml():
    """Numbers, lists and bare words; what is no pair is refused."""
    given = ["epochs=2", "size=[64, 64]", "network=resnet18", 'data = "x"', "compile=true"]
    assert recipe.settings(given) == {
        "epochs": 2,
        "size": [64, 64],
        "network": "resnet18",
        "data": "x",
        "compile": True,
    }
    with pytest.raises(RecipeError, match="KEY=VALUE"):
        recipe.settings(["epochs"])
