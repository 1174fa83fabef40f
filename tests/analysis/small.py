"""A run of tiny nets whose Hessians can be written out."""

from pathlib import Path

from click.testing import CliRunner

from mpifl.cli import main

CONFIG = """
name = "tiny"
seed = 3
rounds = 2
clients = 3
participation.fraction = 1.0
results = { weights_every = 1, clients_every = 2 }
[data]
name = "synthetic"
options = { shape = [1, 8, 8], classes = 4, train = 90, test = 30 }
augment = { crop = 1, flip = 0.5 }
[partition]
name = "iid"
[model]
name = "mlp"
hidden = [5]
norm = "batch"
[local]
steps = 20
lr = 0.1
batch = 10
"""


def make(folder: Path, *overrides: str) -> None:
    """Run CONFIG into `folder`."""
    config = folder.with_suffix(".toml")
    config.write_text(CONFIG, encoding="utf-8")
    done = CliRunner().invoke(main, ["run", str(config), *overrides, "--out", str(folder)])
    assert done.exit_code == 0, done.output
