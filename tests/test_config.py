import time
from contextlib import suppress
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from mpifl import config
from mpifl.algorithms import ALGORITHMS
from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedopt import Adam
from mpifl.models.mlp import Mlp
from mpifl.options import BadInput, Named, options, similar
from mpifl.runner import schema
from mpifl.schedules import Cosine
from mpifl.training.gradients import Sam
from mpifl.training.local import Local


def resolve(text="", *assignments):
    return schema.resolve(config.override(config.parse(text, "test"), assignments))


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def test_every_default_stands_in_the_text_and_the_text_gives_the_config_again():
    text = schema.text(resolve("seed = 7"))
    options = (
        "alpha = 0.5",
        "[algorithm.server_optimizer]",
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
        base='rounds = 3\n[partition]\nname = "dirichlet"\nalpha = 0.1\n'
        "[local]\nlr = 0.5\nbatch = 8",
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
    "[model]\nname = 'cnn'\nnorm = 'bach'": (
        r"model.norm: expected 'batch', 'group', .* 'weight' or 'none'; got 'bach'"
    ),
    "[partition]\nname = 'dirichlet'\nalpha = 0.0": (
        r"partition.alpha: expected greater than .*; got 0.0"
    ),
    "[algorithm]\nname = 'fedagv'": r"algorithm.name: unknown name 'fedagv'; did you mean fedavg\?",
    "[local]\nloss = 'cee'": r"local.loss: unknown loss 'cee'; did you mean ce\?",
    "[local]\nloss = 'ce + '": r"local.loss: expected terms such as",
    "[local]\nloss = 'ce(0.1)'": r"local.loss: .* whose options lack names",
    "[local]\nloss = 'ce(smoothing=2.0)'": (
        r"local.loss: ce.smoothing: expected less than or equal to 1; got 2.0"
    ),
    "[local]\nloss = 'ce(__import__(\"os\"))'": r"local.loss: ",
    "[local]\nloss = 'ce(smoothing=open(\"x\"))'": r"local.loss: .*not plain values",
    "[local]\nnesterov = true": r"local.nesterov: expected a local.momentum above 0",
    "[participation]\nfraction = 0.0": r"participation.fraction: expected greater than 0; got 0.0",
    "[data]\nname = 'cifar10'": (
        r"data.path: expected a file packed by `mpifl data NAME --out FILE`"
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_that_says_where_expected_got(text):
    with pytest.raises(BadInput, match=MISTAKES[text]) as caught:
        resolve(text)
    assert "\n" not in str(caught.value)


def test_a_sweep_in_place_of_a_config_is_named_with_the_command_for_it(tmp_path):
    write(tmp_path, sweep='base = "demo.toml"\n[grid]\nseed = [1, 2]')
    with pytest.raises(
        BadInput, match="expected a config; got a sweep.*`mpifl sweep .*sweep.toml`"
    ):
        schema.raw(str(tmp_path / "sweep.toml"), [])


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


OLD_NAMES = {
    "a name": 'algorithm = { name = "fedavg", server_step = "adam" }',
    "a table": '[algorithm.server_step]\nname = "adam"',
    "a table under another algorithm": '[algorithm]\nname = "scaffold"\nserver_step.lr = 0.5',
}


@pytest.mark.parametrize("case", OLD_NAMES)
def test_an_old_name_of_an_option_means_the_same_as_the_name_today(case):
    old = OLD_NAMES[case]
    new = old.replace("server_step", "server_optimizer")
    assert new != old
    assert resolve(old) == resolve(new) != resolve()
    assert "server_step" not in schema.text(resolve(old))


def test_an_old_name_in_a_dict_or_on_the_command_line_means_the_same():
    expected = resolve("[algorithm.server_optimizer]\nname = 'yogi'\nlr = 0.5")
    given = ["algorithm.server_step=yogi", "algorithm.server_step.lr=0.5"]
    assert resolve("", *given) == expected
    assert schema.resolve({"algorithm": {"server_step": {"name": "yogi", "lr": 0.5}}}) == expected


def test_old_and_new_names_in_different_files_are_one_option(tmp_path):
    write(
        tmp_path,
        base='[algorithm.server_step]\nname = "adam"\nlr = 0.5',
        top='extends = "base.toml"\n[algorithm.server_optimizer]\nbeta1 = 0.5',
    )
    got = schema.resolve(config.read(tmp_path / "top.toml"))
    assert got.algorithm.server_optimizer == Adam(lr=0.5, beta1=0.5)


def test_old_and_new_name_in_one_table_are_refused():
    both = "algorithm = { server_step = 'adam', server_optimizer = 'yogi' }"
    with pytest.raises(
        BadInput, match="algorithm.server_optimizer: expected it once; got it twice"
    ):
        resolve(both)


def test_a_dict_may_hold_instances_in_place_of_tables():
    got = schema.resolve(
        {
            "algorithm": FedAvg(server_optimizer=Adam(lr=0.5)),
            "model": Mlp(hidden=(8, 4)),
            "local": Local(lr=0.5, gradient=Sam(rho=0.1), schedule=Cosine(warmup=3)),
        }
    )
    assert got == schema.resolve(
        {
            "algorithm": {"server_optimizer": {"name": "adam", "lr": 0.5}},
            "model": {"name": "mlp", "hidden": [8, 4]},
            "local": {
                "lr": 0.5,
                "gradient": {"name": "sam", "rho": 0.1},
                "schedule": {"name": "cosine", "warmup": 3},
            },
        }
    )
    assert schema.text(resolve(schema.text(got))) == schema.text(got)


def test_a_config_made_in_python_is_checked_for_what_does_not_go_together():
    good = schema.Config(model=Mlp(hidden=(8,)))
    assert schema.resolve(good) == good
    with pytest.raises(BadInput, match="local.nesterov: expected a local.momentum above 0"):
        schema.resolve(schema.Config(local=Local(nesterov=True)))


@options
class Halved(FedAvg):
    """An algorithm that the tables do not have."""

    half: float = 0.5


def test_a_name_added_to_a_table_later_is_known_to_configs_errors_and_schema(monkeypatch):
    with pytest.raises(BadInput, match="algorithm: expected an instance of a class with a name"):
        schema.resolve({"algorithm": Halved()})
    monkeypatch.setitem(ALGORITHMS, "halved", Halved)
    got = schema.resolve({"algorithm": {"name": "halved", "half": 0.25}})
    assert got.algorithm == Halved(half=0.25)
    assert schema.text(resolve(schema.text(got))) == schema.text(got)
    assert schema.resolve({"algorithm": Halved()}).algorithm == Halved()
    with pytest.raises(BadInput, match="did you mean halved"):
        resolve("algorithm = 'halve'")
    assert "halved" in schema.json_schema()["properties"]["algorithm"]["oneOf"][0]["enum"]


NOT_TOML = {"none": None, "an object": object(), "a set": {1}, "a path": tuple}


@pytest.mark.parametrize("case", NOT_TOML)
def test_a_free_table_of_what_toml_cannot_write_is_refused(case):
    with pytest.raises(BadInput, match=r"data.options: expected values that TOML can write; got"):
        schema.resolve({"data": {"name": "digits", "options": {"x": NOT_TOML[case]}}})


@pytest.mark.parametrize("raw", [{1: 2}, {None: 3}, {("a", "b"): 4}])
def test_a_key_that_is_no_text_is_unknown(raw):
    with pytest.raises(BadInput, match="unknown key"):
        schema.resolve(raw)


def marks(kind, path=""):
    """Every option that is chosen by name: its dotted name, mark and default."""
    for name, option in kind.__pydantic_fields__.items():
        mark = next((mark for mark in option.metadata if isinstance(mark, Named)), None)
        if mark:
            yield f"{path}{name}", mark, option.default
            for inner in mark.table.values():
                yield from marks(inner, f"{path}{name}.")
        elif hasattr(option.annotation, "__pydantic_fields__"):
            yield from marks(option.annotation, f"{path}{name}.")


def test_a_table_without_a_name_means_the_default():
    found = list(marks(schema.Config))
    assert {path for path, _, _ in found} == schema.TABLES.keys()
    for _, mark, default in found:
        assert mark.name_of(default) == mark.default


SCHEMA = schema.json_schema()
AGREED = {
    "": True,
    "rounds = 3": True,
    "rounds = 0": False,
    "rouns = 3": False,
    "model = 'cnn'": True,
    "model = 'cnm'": False,
    "model = { projection = 8 }": True,
    "model = { name = 'mlp', hidden = [8, 8] }": True,
    "model = { name = 'mlp', hidden = 8 }": False,
    "model = { name = 'mlp', projection = 8 }": False,
    "[algorithm.server_optimizer]\nname = 'adam'\nbeta1 = 0.5": True,
    "[algorithm.server_optimizer]\nname = 'adam'\nbeta1 = 1.0": False,
    "[algorithm]\nname = 'feddyn'\nserver_optimizer = 'adam'": False,
    "[local]\nlr = -1.0": False,
    "[local]\nschedule = { name = 'milestones', at = [0.5, 0.9] }": True,
}


@pytest.mark.parametrize("text", AGREED)
def test_the_json_schema_accepts_what_is_accepted(text):
    raw = config.parse(text, "test")
    fits = jsonschema.Draft202012Validator(SCHEMA).is_valid(raw)
    assert fits == AGREED[text]
    if fits:
        schema.resolve(raw)
    else:
        with pytest.raises(BadInput):
            schema.resolve(raw)


def test_the_json_schema_accepts_the_demo_and_the_text_of_all_options():
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    validator.validate(config.read("configs/demo.toml"))
    validator.validate(config.parse(schema.text(resolve()), "text"))


def test_the_json_schema_describes_options():
    section = SCHEMA["$defs"]["Local"]["properties"]["epochs"]
    assert "passes over the client's samples" in section["description"]
    assert section["default"] == 1


def test_numbers_of_numpy_and_paths_are_taken_from_python():
    raw = {
        "rounds": np.int64(3),
        "seed": np.uint8(7),
        "local": {"lr": np.float32(0.5), "nesterov": np.bool_(False)},
        "model": {"name": "mlp", "hidden": np.array([8, 4])},
        "data": {"name": np.str_("mine"), "path": Path("data") / "mine.h5"},
        "published": {"top1_acc": np.float64(50.5)},
    }
    plain = """
rounds = 3
seed = 7
local.lr = 0.5
model = { name = "mlp", hidden = [8, 4] }
data = { name = "mine", path = "data/mine.h5" }
published.top1_acc = 50.5
"""
    assert schema.text(schema.resolve(raw)) == schema.text(resolve(plain))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Local(lr=-1.0), "Local.lr: expected greater than 0; got -1.0"),
        (
            lambda: Local(batch=np.int64(0)),
            "Local.batch: expected greater than or equal to 1; got 0",
        ),
        (
            lambda: Local(epoch=1),
            "Local.epoch: unknown key; did you mean epochs? allowed: epochs, ",
        ),
        (lambda: Local(0.1), "Local: expected options by name; got 0.1"),
        (
            lambda: schema.Config(local={"lr": -1}),
            "Config.local.lr: expected greater than 0; got -1",
        ),
        (lambda: schema.Config(model="frob"), "Config.model.name: unknown name 'frob'; allowed: "),
        (lambda: Mlp(hidden=(8, 0)), "Mlp.hidden.1: expected greater than or equal to 1; got 0"),
    ],
)
def test_a_mistake_in_options_built_in_python_is_one_line(build, message):
    with pytest.raises(BadInput) as refused:
        build()
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_long_list_of_names_is_cut_between_names():
    names = [f"section.option_number_{number}" for number in range(100)]
    line = str(BadInput(f"by: unknown option; allowed: {', '.join(names)}"))
    assert len(line) <= 1000
    start, end = line.split(" ... ")
    shown = [name.strip() for name in f"{start.partition('allowed: ')[2]},{end}".split(",")]
    assert set(shown) - {""} <= set(names)


def test_the_name_of_a_section_is_suggested_for_an_option_without_it():
    names = ["algorithm.server_optimizer.lr", "local.lr", "rounds"]
    assert similar("lr", names) == "; did you mean local.lr?"


def test_a_published_that_is_no_table_is_left_for_the_check_of_the_config():
    base = {"rounds": 5, "published": {"top1_acc": 50.0}}
    assert config.lay_over(base, {"published": 5}) == {"rounds": 5, "published": 5}


N = 1 << 20


def many_lines(line: str) -> str:
    return line * (N // len(line))


@pytest.mark.parametrize("size", [N, 1 << 16])
@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * (N // 2)) + " = 1",
        "[" + ".".join("a" * (N // 2)),
        "[ " + " . ".join("a" * (N // 4)),
        "a = " + "{a = " * (N // 5),
        "a = " + "[" * N,
        many_lines("[[a.b]]\n"),
        many_lines("[[a.b]]\n[[a.b.c]]\n"),
        "".join(f"[a.b{number}.c.d.e.f]\n" for number in range(N // 20)),
        "".join(f"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p{number} = 1\n" for number in range(N // 45)),
        "a" * N,
        '"' * N,
        "a " * (N // 2),
    ],
    ids=range(12),
)
def test_a_megabyte_of_nested_tables_is_answered_within_a_second(tmp_path, text, size):
    (tmp_path / "x.toml").write_text(text[: size - 1] + "\n")
    start = time.process_time()
    with suppress(BadInput):
        config.read(tmp_path / "x.toml")
    assert time.process_time() - start < 1


def test_a_symbolic_link_to_itself_is_refused(tmp_path):
    (tmp_path / "x.toml").symlink_to("x.toml")
    with pytest.raises(BadInput, match="expected a config file; got Too many levels"):
        config.read(tmp_path / "x.toml")


def test_a_key_with_many_dots_in_a_stored_config_is_refused():
    with pytest.raises(BadInput, match="x: expected TOML; got: a key with more than 100 dots"):
        config.toml(".".join("a" * 102) + " = 1", "x")
    assert config.toml("a = [" + "0.5, " * 300 + "]", "x")
