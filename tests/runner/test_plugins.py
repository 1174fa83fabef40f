"""Plugins: what a config may name, what they register, and one clear line for what goes wrong."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mpifl
from mpifl.analysis import reload_run
from mpifl.config import toml
from mpifl.losses import LOSSES
from mpifl.options import BadInput
from mpifl.runner import plugin_code, plugin_record, plugins, schema
from mpifl.runner.plugins import load_named

LOSS = """
import mpifl
from mpifl.losses.loss import Loss
from mpifl.options import options

@mpifl.register("{name}")
@options
class Mine(Loss):
    \"\"\"{text}\"\"\"
    strength: float = 1.0
    def __call__(self, step):
        return step.out.logits.square().mean()
"""
SMALL = {
    "rounds": 1,
    "clients": 2,
    "data": {"name": "digits", "train_limit": 40, "test_limit": 20},
    "model": {"name": "mlp", "hidden": [4]},
}


@pytest.fixture(autouse=True)
def folder(elsewhere, monkeypatch) -> Iterator[Path]:
    """The working directory, and a process in which no plugin has been loaded."""
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setenv("XDG_STATE_HOME", str(elsewhere / "state"))
    yield elsewhere
    plugins.use(())


def plugin(path: str, name: str = "mine", text: str = "A loss.") -> str:
    """A file that registers a loss."""
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(LOSS.format(name=name, text=text), encoding="utf-8")
    return path


def uses(name: str, *files: str) -> dict:
    """A raw config with plugins and a loss of this name."""
    return {**SMALL, "plugins": list(files), "local": {"loss": f"ce + {name}"}}


def test_files_of_a_config_are_relative_to_it_and_of_what_it_extends_to_that(folder):
    plugin("base/mine.py")
    Path("base/base.toml").write_text('plugins = ["mine.py"]\nlocal.loss = "ce + mine"\n')
    Path("top").mkdir()
    Path("top/top.toml").write_text('extends = "../base/base.toml"\nrounds = 3\n')
    config = schema.resolve(schema.raw("top/top.toml", []))
    [name] = config.plugins
    assert name.startswith("mine.py@")
    assert type(config.local).__name__ == "Local"


def test_files_of_the_command_line_and_of_a_dict_are_relative_to_the_current_folder(folder):
    plugin("mine.py")
    Path("elsewhere").mkdir()
    Path("elsewhere/config.toml").write_text("rounds = 3\n")
    assignments = ['plugins=["mine.py"]', "local.loss=ce + mine"]
    assert schema.resolve(schema.raw("elsewhere/config.toml", assignments)).plugins
    assert schema.resolve(load_named(uses("mine", Path("mine.py")))).plugins


def test_a_home_folder_and_variables_are_expanded(folder, monkeypatch):
    plugin("mine.py")
    monkeypatch.setenv("CODE", str(folder))
    assert schema.resolve(load_named(uses("mine", "$CODE/mine.py"))).plugins


def test_a_module_is_imported_and_stored_as_its_text(folder, monkeypatch):
    plugin("my_losses.py")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "my_losses", raising=False)
    config = schema.resolve(load_named(uses("mine", "my_losses")))
    assert config.plugins[0].startswith("my_losses@")
    [loaded] = [one for one in plugins.in_use() if one.name == "my_losses"]
    assert loaded.text == Path("my_losses.py").read_text()
    again = schema.resolve(load_named(uses("mine", "my_losses")))  # it is imported already
    assert again.plugins == config.plugins


def test_a_config_knows_its_own_plugins_and_no_others(folder):
    schema.resolve(load_named(uses("mine", plugin("mine.py"))))
    with pytest.raises(BadInput, match="unknown loss 'mine'"):
        schema.resolve({"local": {"loss": "ce + mine"}})
    assert "mine" not in LOSSES


def test_a_config_is_written_with_its_own_plugins_after_another_was_resolved(folder):
    first = schema.resolve(load_named(uses("mine", plugin("a.py", text="One."))))
    second = schema.resolve(load_named(uses("mine", plugin("b.py", text="Two."))))
    assert "mine(strength=1.0)" in schema.text(first)
    assert "mine(strength=1.0)" in schema.text(second)


def test_a_changed_file_is_loaded_again_in_the_same_process(folder):
    first = schema.resolve(load_named(uses("mine", plugin("mine.py"))))
    second = schema.resolve(load_named(uses("mine", plugin("mine.py", text="Changed."))))
    assert first.plugins != second.plugins
    assert LOSSES["mine"].__doc__ == "Changed."


def test_a_run_of_a_module_is_built_again_from_its_text_when_the_module_has_changed(
    folder, monkeypatch
):
    plugin("their_losses.py")
    monkeypatch.syspath_prepend(folder)
    run = mpifl.run(uses("mine", "their_losses"), out="run", quiet=True)
    shutil.rmtree("__pycache__", ignore_errors=True)
    plugin("their_losses.py", text="Changed.")
    plugins.use(())
    monkeypatch.setattr(plugins, "_loaded", {})  # as in another process
    monkeypatch.delitem(sys.modules, "their_losses")
    importlib.invalidate_caches()
    assert reload_run(run).config.plugins == (f"their_losses@{run.plugins[0].sha256}",)
    assert LOSSES["mine"].__doc__ == "A loss."


@pytest.fixture
def installed(folder, monkeypatch) -> Iterator[Callable[[str], None]]:
    """installed(version): a package `fancy` with a loss of that name; its last version counts."""
    monkeypatch.syspath_prepend(folder)

    def install(version: str) -> None:
        for old in folder.glob("*.dist-info"):
            shutil.rmtree(old)
        info = folder / f"fancy-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fancy\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("[mpifl.plugins]\nlosses = fancy_losses\n")
        begin_afresh()

    def begin_afresh() -> None:
        monkeypatch.setattr(plugins, "_in_use", [])
        LOSSES.pop("fancy", None)
        sys.modules.pop("fancy_losses", None)
        importlib.invalidate_caches()
        plugin_code.packages.cache_clear()

    yield install
    monkeypatch.undo()
    begin_afresh()


def test_an_installed_package_registers_by_an_entry_point_and_is_stored_where_it_is_used(
    installed,
):
    plugin("fancy_losses.py", "fancy")
    installed("1.5")
    used = mpifl.run(uses("fancy"), out="used", quiet=True)
    unused = mpifl.run(SMALL, out="unused", quiet=True)
    assert [(one.name, one.version, one.text) for one in used.plugins] == [("fancy", "1.5", "")]
    assert unused.plugins == []


def test_a_run_is_not_resumed_with_another_version_of_a_package(installed):
    plugin("fancy_losses.py", "fancy")
    installed("1.5")
    mpifl.run(uses("fancy"), out="run", quiet=True)
    installed("1.6")
    more = {**uses("fancy"), "rounds": 2}
    with pytest.raises(BadInput, match=r"plugins: expected fancy \(1.5\), .*got fancy \(1.6\)"):
        mpifl.run(more, out="run", resume=True, quiet=True)


def test_a_package_that_fails_is_told_with_its_version_and_entry_point(installed):
    Path("fancy_losses.py").write_text("1 / 0\n")
    installed("1.5")
    with pytest.raises(BadInput) as refused:
        schema.resolve(SMALL)
    said = "plugins: fancy 1.5, entry point losses: ZeroDivisionError: division by zero"
    assert str(refused.value) == said


REGISTER = "import mpifl\nfrom mpifl.losses.loss import Loss\nfrom mpifl.options import options\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef f(:\n", "mine.py, line 2: invalid syntax"),
        ("x = 1\n1 / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("import nowhere_at_all\n", "mine.py, line 1: ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"),
        ("x = 1\n", "mine.py: expected that it registers something (@mpifl.register); got nothing"),
        ("x = '\0'\n", "null bytes"),
        (
            LOSS.format(name="ce", text=""),
            "register: expected a new name for a loss; got 'ce', which mpifl itself has registered",
        ),
        (
            LOSS.format(name="a", text="") + LOSS.format(name="a", text=""),
            "expected a new name for a loss; got 'a', which",
        ),
        (
            "from mpifl.losses import LOSSES\nLOSSES['ce'] = LOSSES['man']\n",
            "mine.py: register: expected a new name for a loss; got 'ce', which mpifl itself",
        ),
        (LOSS.format(name="a-b", text=""), "expected a name of letters, digits and _; got 'a-b'"),
        (LOSS.format(name="a", text="").replace("@options", ""), "expected @options below @reg"),
        (
            REGISTER + "@mpifl.register('a')\n@options\nclass A(Loss):\n    pass\n",
            "expected all methods of a Loss; got A without __call__",
        ),
        ("import mpifl\nmpifl.register('a')(int)\n", "expected a class derived from one of Loss"),
        (
            "import mpifl\n@mpifl.register('a')\ndef load(folder):\n    pass\n",
            "expected a function load(root, download, *, option=default); got load(folder)",
        ),
    ],
)  # fmt: skip
def test_a_plugin_that_fails_is_refused_in_a_line_and_leaves_nothing(folder, text, said):
    before = dict(LOSSES)
    Path("mine.py").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        load_named(uses("mine", "mine.py"))
    assert said in str(refused.value)
    assert str(refused.value).startswith("plugins: ")
    assert before == LOSSES


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["absent.py"], "absent.py: expected a Python file; got No such file or directory"),
        ([""], "expected the name of a file or a module; got ''"),
        (["a b"], "expected a file (NAME.py) or a module (a.b); got 'a b'"),
        (["nowhere_at_all"], "nowhere_at_all: ModuleNotFoundError"),
        (["xml"], "expected that it registers something"),
        ("mine.py", "expected a list of files and modules; got 'mine.py'"),
        ([3], "expected the name of a file or a module; got 3"),
        (["$NO_SUCH/mine.py"], "expected variables that are set; got '$NO_SUCH/mine.py'"),
        (["mine.py", "mine.py"], "expected each text once; got mine.py@"),
        (["mine.py", "other.py"], "expected a new name for a loss; got 'mine', which"),
        (["x.py@" + "0" * 64], "x.py with SHA-256 0000000000"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_a_line(folder, given, said):
    plugin("mine.py")
    plugin("other.py", text="Another.")
    with pytest.raises(BadInput) as refused:
        load_named({"plugins": given})
    assert said in str(refused.value)


def test_a_name_taken_by_another_plugin_is_told_with_its_file(folder):
    plugin("mine.py")
    plugin("other.py", text="Another.")
    with pytest.raises(BadInput, match=r"other\.py.*which .*/mine\.py has registered"):
        load_named({"plugins": ["mine.py", "other.py"]})


EACH = """
import mpifl
from mpifl.algorithms.fedopt import ServerOptimizer
from mpifl.models.mlp import Mlp
from mpifl.options import options
from mpifl.schedules import Schedule
from mpifl.training.gradients import Gradient

@mpifl.register("halfway")
@options
class Halfway(ServerOptimizer):
    def init(self, w):
        return {}
    def __call__(self, w, target, state):
        return (w + target) / 2, state

@mpifl.register("double")
@options
class Double(Gradient):
    def __call__(self, minibatch, w):
        return 2 * minibatch(w)

@mpifl.register("falling")
@options
class Falling(Schedule):
    def __call__(self, round, rounds):
        return 1 / round

@mpifl.register("narrow")
@options
class Narrow(Mlp):
    def build(self, shape, classes):
        return Mlp(hidden=(3,)).build(shape, classes)
"""


def test_server_optimizers_gradients_schedules_and_models_train_and_are_stored(folder):
    Path("each.py").write_text(EACH)
    raw = {
        **SMALL,
        "plugins": ["each.py"],
        "model": "narrow",
        "algorithm": {"name": "fedavg", "server_optimizer": "halfway"},
        "local": {
            "gradient": "double",
            "schedule": "falling",
            "loss": "ce + man(schedule=falling)",
        },
    }
    run = mpifl.run(raw, out="run", quiet=True)
    stored = toml(run.config, "config")
    assert stored["model"]["name"] == "narrow"
    assert stored["algorithm"]["server_optimizer"] == {"name": "halfway"}
    assert stored["local"]["gradient"] == {"name": "double"}
    assert stored["local"]["schedule"] == {"name": "falling"}
    assert "schedule=falling" in stored["local"]["loss"]
    more = mpifl.run({**raw, "rounds": 2}, out="run", resume=True, quiet=True)
    assert more.rounds["lr"].tolist() == [0.1, 0.05]


def test_a_data_set_of_a_plugin_needs_no_file(folder):
    Path("blobs.py").write_text(
        """
import mpifl
from mpifl.data import synthetic

@mpifl.register("blobs")
def load(root, download, *, seed=0):
    \"\"\"Blobs of two classes.\"\"\"
    return synthetic.load(root, download, classes=2, train=20, test=10, shape=(1, 4, 4), seed=seed)
"""
    )
    data = {"name": "blobs", "options": {"seed": 3}}
    run = mpifl.run({**SMALL, "plugins": ["blobs.py"], "data": data}, out="run", quiet=True)
    assert run.plugins[0].name == "blobs.py"
    with pytest.raises(BadInput, match="data.path: expected a file packed by"):
        schema.resolve({**SMALL, "data": data})


def test_an_error_in_training_names_the_plugin_and_the_line(folder):
    text = LOSS.format(name="mine", text="").replace("step.out.logits", "step.out.no_such_thing")
    Path("mine.py").write_text(text)
    with pytest.raises(AttributeError) as failed:
        mpifl.run(uses("mine", "mine.py"), out="run", quiet=True)
    notes = "\n".join(failed.value.__notes__)
    assert "round 1, client" in notes
    assert f"in plugin mine.py: {folder}/mine.py, line 12, in __call__" in notes


def test_that_the_user_has_trained_with_a_plugin_is_noted_in_the_state_folder(folder):
    run = mpifl.run(uses("mine", plugin("mine.py")), out="run", quiet=True)
    assert plugin_record.recalled(run.plugins[0].sha256) == str(folder / "mine.py")
    assert plugin_record.recalled("../" + run.plugins[0].sha256) == ""


def test_a_state_folder_that_cannot_be_written_is_told_and_the_run_goes_on(folder, capsys):
    Path("state").write_text("no folder")
    assert mpifl.run(uses("mine", plugin("mine.py")), out="run").status == "complete"
    assert (
        "is not noted, so commands that build the model again will ask" in capsys.readouterr().out
    )


class TestResume:
    """A run goes on with the plugins that it was begun with."""

    def begun(self) -> mpifl.Run:
        return mpifl.run(uses("mine", plugin("mine.py")), out="run", quiet=True)

    @pytest.mark.slow
    def test_with_the_same_text_in_another_file_it_goes_on(self, folder):
        self.begun()
        plugin("other/mine.py")
        more = {**uses("mine", "other/mine.py"), "rounds": 2}
        run = mpifl.run(more, out="run", resume=True, quiet=True)
        assert (run.resumed_otherwise, len(run.plugins)) == ("", 1)

    def test_with_another_text_it_is_refused_in_a_line(self, folder):
        self.begun()
        plugin("mine.py", text="Changed.")
        more = {**uses("mine", "mine.py"), "rounds": 2}
        with pytest.raises(BadInput, match=r"plugins: expected mine.py \(SHA-256 .*allow-other"):
            mpifl.run(more, out="run", resume=True, quiet=True)
        assert len(mpifl.open("run").rounds["round"]) == 1

    @pytest.mark.slow
    def test_with_another_text_it_goes_on_when_told_to_and_is_marked(self, folder):
        first = self.begun()
        plugin("mine.py", text="Changed.")
        more = {**uses("mine", "mine.py"), "rounds": 2}
        run = mpifl.run(more, out="run", resume=True, allow_other_plugins=True, quiet=True)
        assert run.resumed_otherwise == "after round 1 with another mine.py"
        assert [one.after_round for one in run.plugins] == [0, 1]
        assert run.plugins[0] == first.plugins[0]
        again = mpifl.run({**more, "rounds": 3}, out="run", resume=True, quiet=True)
        assert again.resumed_otherwise == run.resumed_otherwise
        assert again.plugins == run.plugins

    def test_a_schedule_is_still_compared_after_that(self, folder):
        schedule = {"loss": "ce + mine", "schedule": "cosine"}
        config = {**uses("mine", plugin("mine.py")), "local": schedule, "rounds": 2}
        mpifl.run(config, out="run", quiet=True)
        plugin("mine.py", text="Changed.")
        with pytest.raises(BadInput, match="rounds: expected 2, since rounds 1 to 2"):
            mpifl.run(
                {**config, "rounds": 3},
                out="run",
                resume=True,
                allow_other_plugins=True,
                quiet=True,
            )
