"""Write the tables of configs/README.md: methods, sweeps, and the runs of papers with numbers.

Type `python configs/index.py` after a config was added or changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from mpifl import config

HERE = Path(__file__).parent
README = HERE / "README.md"
MARK = "<!-- From here on made by `python configs/index.py`. -->\n"
WORDS = ("paper", "table", "note", "elsewhere")
"""keys of `[published]` that are not numbers"""


def folders() -> list[Path]:
    """The folders that hold a paper's runs, and a base.toml with what these share."""
    return sorted(base.parent for base in HERE.glob("*/*/base.toml"))


def runs(folder: Path) -> list[Path]:
    """The configs of a folder's runs, by name."""
    found = [path for path in folder.glob("*.toml") if path.name != "base.toml"]
    return sorted(found, key=lambda path: path.stem)


def tables(published: dict) -> dict[str, dict[str, float]]:
    """The numbers of a run in each table of its paper: table -> quantity -> number."""
    if "table" not in published:
        return {}
    numbers = {key: value for key, value in published.items() if key not in WORDS}
    return {published["table"]: numbers, **published.get("elsewhere", {})}


def quantity(numbers: dict[str, float], key: str) -> str:
    """A number as text, with its standard deviation if there is one."""
    deviation = numbers.get(f"{key}_std")
    if deviation is None:
        return str(numbers[key])
    return f"{numbers[key]} ± {deviation}"


def rows(path: Path) -> Iterator[str]:
    """The lines of a run: one for each table that has it. Only the first has its name and note."""
    published = config.read(path)["published"]
    name = f"[{path.stem}]({path.relative_to(HERE)})"
    note = published.get("note", "")
    for table, numbers in (tables(published) or {"": {}}).items():
        accuracy = quantity(numbers, "top1_acc") if "top1_acc" in numbers else ""
        yield f"| {name} | {table} | {accuracy} | {remarks(numbers, note)} |"
        name = ""
        note = ""


def remarks(numbers: dict[str, float], note: str) -> str:
    """All numbers but the accuracy, then the note."""
    others = [key for key in numbers if key != "top1_acc" and not key.endswith("_std")]
    listed = ", ".join(f"{key} {quantity(numbers, key)}" for key in others)
    return "; ".join(part for part in (listed, note) if part)


def methods() -> list[Path]:
    """The configs of the methods that are combinations of options."""
    return sorted(path for path in (HERE / "methods").glob("*.toml") if path.name != "base.toml")


def sweeps() -> list[Path]:
    """The sweep files: those with a base."""
    found = (*HERE.glob("*.toml"), *HERE.glob("*/*.toml"))
    return sorted(path for path in found if "base" in config.read(path))


def comment(path: Path) -> str:
    """The comment with which a file begins, as one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in takewhile(_is_comment, lines))


def _is_comment(line: str) -> bool:
    return line.startswith("# ")


def methods_listed() -> Iterator[str]:
    """The methods, their papers and options, as lines of Markdown."""
    yield from ("", "### methods", "", "Each runs at once, on the digits of the demo.", "")
    yield from ("| method | paper | options |", "|---|---|---|")
    for path in methods():
        lines = path.read_text(encoding="utf-8").splitlines()
        own = [line for line in lines if not line.startswith(("#", "extends", "name"))]
        options = "<br>".join(f"`{line}`" for line in own)
        yield f"| [{path.stem}]({path.relative_to(HERE)}) | {comment(path)} | {options} |"


def sweeps_listed() -> Iterator[str]:
    """The sweeps and what they are, as lines of Markdown."""
    yield from ("", "### sweeps", "", "`mpifl sweep FILE` lists the runs of each.", "")
    yield from ("| sweep | what it is |", "|---|---|")
    for path in sweeps():
        place = path.relative_to(HERE)
        sentence, _, _ = comment(path).partition(". ")
        yield f"| [{place}]({place}) | {sentence.removesuffix('.')}. |"


def listing() -> Iterator[str]:
    """Methods, sweeps, all folders and their runs, as lines of Markdown."""
    yield from methods_listed()
    yield from sweeps_listed()
    for folder in folders():
        first_line = (folder / "base.toml").read_text(encoding="utf-8").partition("\n")[0]
        summary = first_line.removeprefix("# ")
        yield from ("", f"### {folder.relative_to(HERE)}", "", summary, "")
        yield from ("| run | published in | top-1, % | besides |", "|---|---|---|---|")
        for path in runs(folder):
            yield from rows(path)


def renewed(text: str) -> str:
    """The README's text with new tables."""
    kept = text.partition(MARK)[0]
    return kept + MARK + "\n".join(listing()) + "\n"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
