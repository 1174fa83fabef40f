"""What CONTRIBUTING.md names is there. tests/test_examples.py runs the examples that it shows."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_file_that_it_names_is_there():
    package = REPOSITORY / "mpifl"
    named = re.findall(r"`(?:mpifl/)?([a-z_0-9]+(?:/[a-z_0-9]+)*\.py)`", TEXT)
    files = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    leaves = {Path(file).name for file in files}
    for name in named:
        is_there = name in files or (REPOSITORY / name).is_file()
        assert is_there or ("/" not in name and name in leaves), name
