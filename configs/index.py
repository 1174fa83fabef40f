"""Makes the tables of configs/README.md: every run of a paper, with the numbers the paper gives for
it.

`python configs/index.py` writes them anew, after a config was added or changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mpifl import config

HERE = Path(__file__).parent
README = HERE / "README.md"
MARK = "<!-- From here on made by `python configs/index.py`. -->\n"
WORDS = ("paper", "table", "note", "elsewhere")
"""what stands in `[published]` beside numbers"""


def folders() -> list[Path]:
    """The folders of papers' runs: each has a base.toml with what its runs share."""
    return sorted(base.parent for base in HERE.glob("*/*/base.toml"))


def runs(folder: Path) -> list[Path]:
    """The configs of a folder's runs."""
    return sorted(
        (path for path in folder.glob("*.toml") if path.name != "base.toml"),
        key=lambda path: path.stem,
    )


def tables(published: dict) -> dict[str, dict[str, float]]:
    """What each table of the paper says of a run: table -> quantity -> number."""
    if "table" not in published:
        return {}
    numbers = {key: value for key, value in published.items() if key not in WORDS}
    return {published["table"]: numbers, **published.get("elsewhere", {})}


def quantity(numbers: dict[str, float], key: str) -> str:
    """A number, with its standard deviation if there is one."""
    deviation = numbers.get(f"{key}_std")
    return f"{numbers[key]}" if deviation is None else f"{numbers[key]} ± {deviation}"


def rows(path: Path) -> Iterator[str]:
    """A run's lines: one for each table that has it."""
    published = config.read(path)["published"]
    name, note = f"[{path.stem}]({path.relative_to(HERE)})", published.get("note", "")
    for table, numbers in (tables(published) or {"": {}}).items():
        accuracy = quantity(numbers, "top1_acc") if "top1_acc" in numbers else ""
        others = [key for key in numbers if key != "top1_acc" and not key.endswith("_std")]
        besides = ", ".join(f"{key} {quantity(numbers, key)}" for key in others)
        yield f"| {name} | {table} | {accuracy} | {'; '.join(filter(None, (besides, note)))} |"
        name = note = ""


def listing() -> Iterator[str]:
    """All folders and their runs, in lines of Markdown."""
    for folder in folders():
        summary = (
            (folder / "base.toml").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        )
        yield from ("", f"### {folder.relative_to(HERE)}", "", summary, "")
        yield from ("| run | published in | top-1, % | besides |", "|---|---|---|---|")
        for path in runs(folder):
            yield from rows(path)


def renewed(text: str) -> str:
    """The README's text with its tables made anew."""
    kept = text.partition(MARK)[0]
    return kept + MARK + "\n".join(listing()) + "\n"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
