import pytest

from mpifl import config
from mpifl.options import BadInput
from mpifl.runner import schema


def resolve(text="", *assignments):
    return schema.resolve(config.override(config.parse(text, "test"), assignments))


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def test_every_default_stands_in_the_text_and_the_text_gives_the_config_again():
    text = schema.text(resolve("seed = 7"))
    options = (
        "alpha = 0.5",
        "[algorithm.server_step]",
        "nesterov = false",
        'kind = "fixed"',
        'name = "constant"',
    )
    for key in (*options, 'loss = "ce(smoothing=0.0)"'):
        assert key in text
    assert schema.text(resolve(text)) == text


def test_the_demo_config_round_trips():
    once = schema.resolve(config.read("configs/demo.toml"))
    assert schema.text(schema.resolve(config.parse(schema.text(once), "text"))) == schema.text(once)


def test_extends_lays_later_keys_over_earlier_ones(tmp_path):
    write(
        tmp_path,
        base='rounds = 3\n[partition]\nname = "dirichlet"\nalpha = 0.1\n[local]\nlr = 0.5\nbatch = 8',
        middle='extends = "base.toml"\nrounds = 4\n[local]\nlr = 0.25',
        top='extends = "middle.toml"\n[local]\nepochs = 2',
    )
    got = schema.resolve(config.read(tmp_path / "top.toml"))
    assert (got.rounds, got.local.lr, got.local.batch, got.local.epochs) == (4, 0.25, 8, 2)
    assert got.partition.alpha == 0.1


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_may_be_given_before_or_after_its_options(order):
    given = ["model=resnet20", "model.norm=group"][::order]
    assert config.override({"model": {"name": "cnn", "projection": 8}}, given)["model"] == {
        "name": "resnet20",
        "norm": "group",
    }


def test_a_section_that_changes_its_name_starts_afresh(tmp_path):
    write(
        tmp_path,
        base='[partition]\nname = "dirichlet"\nalpha = 0.1\nminimum = 2',
        top='extends = "base.toml"\n[partition]\nname = "iid"',
    )
    assert schema.resolve(config.read(tmp_path / "top.toml")).partition.name == "iid"


@pytest.mark.parametrize(
    ("assignment", "path", "expected"),
    [
        ("rounds=3", "rounds", 3),
        ("local.lr=1e-3", "local.lr", 1e-3),
        ("local.lr=1", "local.lr", 1.0),
        ("model=resnet20", "model.name", "resnet20"),
        ("model.norm=group", "model.norm", "group"),
        ("name=my run", "name", "my run"),
        ("local.loss=ce(smoothing=0.1)", "local.loss", "ce(smoothing=0.1)"),
        ("participation={kind='bernoulli',fraction=0.1}", "participation.kind", "bernoulli"),
    ],
)
def test_overrides_are_toml_or_plain_text(assignment, path, expected):
    value = resolve('model = "cnn"', assignment)
    for part in path.split("."):
        value = getattr(value, part)
    assert value == expected


MISTAKES = {
    "rouns = 3": r"rouns: unknown key; did you mean rounds\?",
    "[local]\nlearning_rate = 1": r"local.learning_rate: unknown key; .*allowed: .*lr",
    "rounds = 'x'": r"rounds: expected a valid integer; got 'x'",
    "rounds = 2.5": r"rounds: expected a valid integer; got 2.5",
    "rounds = 0": r"rounds: expected greater than or equal to 1; got 0",
    "rounds = true": r"rounds: expected a valid integer; got True",
    "[local]\nlr = -1.0": r"local.lr: expected greater than 0; got -1.0",
    "[local]\nlr = nan": r"local.lr: expected a finite number; got nan",
    "local = 3": r"local: expected a table of options; got 3",
    "model = 3": r"model: expected a name, or a table with a name; got 3",
    "[model]\nname = 'resnet65'": r"model.name: unknown name 'resnet65'; did you mean resnet56\?",
    "[model]\nname = 'cnn'\nnorm = 'bach'": r"model.norm: expected 'batch', 'group', .* 'shift' or 'none'; got 'bach'",
    "[partition]\nname = 'dirichlet'\nalpha = 0.0": r"partition.alpha: expected greater than .*; got 0.0",
    "[algorithm]\nname = 'fedagv'": r"algorithm.name: unknown name 'fedagv'; did you mean fedavg\?",
    "[local]\nloss = 'cee'": r"local.loss: unknown loss 'cee'; did you mean ce\?",
    "[local]\nloss = 'ce + '": r"local.loss: expected terms such as",
    "[local]\nloss = 'ce(0.1)'": r"local.loss: .* whose options lack names",
    "[local]\nloss = 'ce(smoothing=2.0)'": r"local.loss: ce.smoothing: expected less than or equal to 1; got 2.0",
    "[local]\nloss = 'ce(__import__(\"os\"))'": r"local.loss: ",
    "[local]\nloss = 'ce(smoothing=open(\"x\"))'": r"local.loss: .*not plain values",
    "[local]\nnesterov = true": r"local.nesterov: expected a local.momentum above 0",
    "[participation]\nfraction = 0.0": r"participation.fraction: expected greater than 0; got 0.0",
    "[data]\nname = 'cifar10'": r"data.path: expected a file packed by `mpifl data NAME --out FILE`",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_that_says_where_expected_got(text):
    with pytest.raises(BadInput, match=MISTAKES[text]) as caught:
        resolve(text)
    assert "\n" not in str(caught.value)


def test_a_circle_of_extends_is_refused(tmp_path):
    write(tmp_path, a='extends = "b.toml"', b='extends = "a.toml"')
    with pytest.raises(BadInput, match="circle"):
        config.read(tmp_path / "a.toml")


@pytest.mark.parametrize("text", ["rounds = ", "rounds = 1\nrounds = 2", "[local", "= 3"])
def test_broken_toml_names_file_and_place(tmp_path, text):
    write(tmp_path, a=text)
    with pytest.raises(BadInput, match=r"a.toml: expected TOML; got: .*\((at line|at end)"):
        config.read(tmp_path / "a.toml")


@pytest.mark.parametrize("assignment", ["rounds", "=3", "local..lr=1", ".=1"])
def test_an_override_without_key_or_value_is_refused(assignment):
    with pytest.raises(BadInput, match="command line: expected key.path=value"):
        config.override({}, [assignment])
