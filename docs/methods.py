"""Write docs/methods.md: every method, its rule, its paper, what proves it, paper against code.

Names, files and lines are the package's own; docs/methods.toml has what only a person knows, and
docs/formulas.toml the rules as TeX.
Type `python docs/methods.py` after a method was added or changed.
"""

from __future__ import annotations

import inspect
import re
import statistics
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from mpifl.algorithms import ALGORITHMS
from mpifl.losses import LOSSES
from mpifl.models import layers, standardise
from mpifl.plan.explain import PAPERS_NAMES
from mpifl.runner.schema import TABLES

HERE = Path(__file__).parent
PAGE = HERE / "methods.md"
TESTS = HERE.parent / "tests"
NOTES: dict[str, dict[str, Any]] = tomllib.loads((HERE / "methods.toml").read_text("utf-8"))
FORMULAS: dict[str, dict[str, Any]] = tomllib.loads((HERE / "formulas.toml").read_text("utf-8"))
LETTERS: dict[str, str] = FORMULAS["letters"]

NORMS = dict.fromkeys(get_args(layers.NormKind), layers.norm) | {
    "none": layers.NoNorm,
    "batch": layers.BatchNorm,
    "group": layers.GroupNorm,
    "layer": layers.GroupNorm,
    "scale": layers.scaled,
    "l2": layers.unit,
    "shift": layers.shifted,
    "weight": standardise.standardised,
}
GROUPS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "algorithm": ("Algorithms", ALGORITHMS),
    "algorithm.server_optimizer": ("Server optimizers", TABLES["algorithm.server_optimizer"]),
    "local.loss": ("Losses", LOSSES),
    "local.gradient": ("Gradients", TABLES["local.gradient"]),
    "local.optimizer": ("Local optimizers", TABLES["local.optimizer"]),
    "model.norm": ("Norms", NORMS),
    "evaluation.average": ("Averages of the server's models", TABLES["evaluation.average"]),
}
"""option -> title, and the class or function of each of its names"""

LEFT_OUT = {
    "FedNSAM as printed": "The paper (arXiv 2602.23827) perturbs along the global momentum, by a "
    "rule that was not to be had, and the released codes contradict each other: the last one is "
    "FedACG with SAM (`fednsam` above), an older one takes one gradient ahead, along the momentum, "
    "and perturbs nothing.",
    "FedVSSAM": "Only the abstract was to be had (arXiv 2605.09144), and no code.",
    "MOON's random start": "The authors' code has a network of random weights for each client that "
    "was never sampled. No message and no stored model has it; `moon(first = ...)` has the rest.",
    "FedWon's gains, clipping and blocks": "They were not to be had; see `weight` above.",
}
"""what a reader may look for, and why it is not here"""

INTRODUCTION = """# Methods

<!-- Made by `python docs/methods.py`. -->

What is here, by which rule, where it comes from, and what proves it. `mpifl explain NAME` prints a
method's options with their defaults. All names go together unless `mpifl run` says why not.

What proves a method:

- **Number of an independent program**: the weights after four rounds on two quadratic clients, to
  2e-8 (`tests/algorithms/test_reference_values.py`).
- **Equal to the bit**: with some options the method is a simpler one
  (`tests/algorithms/test_equalities.py`, `tests/losses/test_neutral.py`).
- Beside what is listed, every method trains with every other one
  (`tests/training/test_matrix.py`, `make matrix`), is resumed to the bit, and gives the same bits
  on any number of ranks (`tests/mpi`).
"""


def linked(paper: str) -> str:
    """A paper with links for its arXiv numbers and DOIs."""
    paper = re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)
    return re.sub(r"doi (\S+)", r"[doi \1](https://doi.org/\1)", paper)


def source(kind: Any) -> tuple[Path, int]:
    """The file of a class or function, and the lines that are about it."""
    path = Path(inspect.getfile(kind))
    if path.parent.name in ("algorithms", "losses") and path.name != "fedopt.py":
        return path, len(path.read_text("utf-8").splitlines())
    return path, len(inspect.getsourcelines(kind)[0])


def median_lines() -> float:
    """The median number of lines of an algorithm's file."""
    return statistics.median(source(kind)[1] for kind in ALGORITHMS.values())


def reference_values() -> list[str]:
    """The names of the rules with numbers of an independent program."""
    text = (TESTS / "algorithms/test_reference_values.py").read_text("utf-8")
    return re.findall(r'^    yield "([^"]+)"', text, re.MULTILINE)


def equalities() -> list[str]:
    """What equals a simpler algorithm to the bit, in words that begin with the algorithm's name."""
    text = (TESTS / "algorithms/test_equalities.py").read_text("utf-8")
    found = re.findall(r'^ {4,8}f?"([a-z]+ [^"{]+)', text, re.MULTILINE)
    return [words.removesuffix(", ") for words in found]


def neutral() -> set[str]:
    """The losses and gradients that change nothing at strength 0."""
    text = (TESTS / "losses/test_neutral.py").read_text("utf-8")
    return set(re.findall(r"(?:\b|')(\w+)(?=\((?:\w+, )?\w+=|\", )", text))


def independent(name: str) -> Iterator[str]:
    """Whether a rule has numbers of an independent program, and for which other variants."""
    cases = [case.partition(", ") for case in reference_values()]
    variants = [variant.replace(", ", " and ") for rule, _, variant in cases if rule == name]
    if variants:
        also = ", ".join(variant for variant in variants if variant)
        yield "number of an independent program" + (f" (also: {also})" if also else "")


def proofs(option: str, name: str) -> Iterator[str]:
    """What proves a method, each as a piece of Markdown."""
    if option == "algorithm":
        yield from independent(name)
        equal = [words for words in equalities() if words.split()[0] == name]
        if equal:
            yield "equal to the bit: " + ", ".join(dict.fromkeys(equal))
    if option in ("local.loss", "local.gradient") and name in neutral():
        yield "equal to the bit at strength 0"
    by_file: dict[str, list[str]] = {}
    for proof in NOTES[option][name]["proofs"]:
        file, _, words = proof.partition(": ")
        by_file.setdefault(file, []).append(words)
    for file, tests in by_file.items():
        yield f"`tests/{file}.py`: {', '.join(tests)}"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(cells)} |"


def display(formulas: list[str]) -> Iterator[str]:
    """Formulas, each on a line of its own."""
    for formula in formulas:
        yield from ("$$", formula, "$$", "")


def rule(formulas: Mapping[str, Any]) -> Iterator[str]:
    """The rule of a method, in formulas."""
    yield from display(formulas.get("formula", []))
    if "client" in formulas:
        yield from ("Client:", "", *display(formulas["client"]))
        yield from (f"Sent: {formulas['sent']}.", "")
    if "server" in formulas:
        yield from ("Server:", "", *display(formulas["server"]))
    if "where" in formulas:
        yield from (formulas["where"], "")


def method(option: str, name: str, kind: Any) -> Iterator[str]:
    """All that the page says of one name."""
    path, lines = source(kind)
    place = path.relative_to(HERE.parent).as_posix()
    note = NOTES[option][name]
    yield from (f"### `{name}`", "")
    paper = note["paper"][0].upper() + note["paper"][1:]
    yield from (f"{linked(paper)}. In `{place}`, {lines} lines.", "")
    yield from rule(FORMULAS[option][name])
    proven = "; ".join(proofs(option, name))
    if proven:
        yield f"- *Proven by:* {proven}."
    if note["differs"]:
        yield f"- *Paper and code:* {note['differs']}"
    yield ""


def overview(names: Mapping[str, Any], option: str) -> Iterator[tuple[str, ...]]:
    """The rows of a group's names: each with its paper and its file."""
    for name, kind in names.items():
        path, lines = source(kind)
        yield f"[`{name}`](#{name})", NOTES[option][name]["paper"], f"`{path.name}`", str(lines)


def combinations() -> Iterator[tuple[str, ...]]:
    """The rows of papers' names for combinations of options."""
    for name, choice in PAPERS_NAMES.items():
        config = "<br>".join(f"`{line}`" for line in choice.config)
        paper = linked(NOTES["combination"][name])
        yield name, paper, config, "; ".join(independent(name))


def page() -> str:
    """The text of docs/methods.md."""
    lines = [INTRODUCTION, "Letters that all rules share:", "", LETTERS["all"]]
    for option, (title, names) in GROUPS.items():
        lines += [f"## {title}", "", f"The option `{option}`.", ""]
        if option == "algorithm":
            lines += [f"The median of the files has {median_lines():g} lines.", ""]
        if option in ("algorithm", "local.loss"):
            lines += [*table(("name", "paper", "file", "lines"), overview(names, option)), ""]
        if option in LETTERS:
            lines += [LETTERS[option], ""]
        for name, kind in names.items():
            lines += method(option, name, kind)
    lines += ["## Papers' names for combinations", ""]
    lines += ["Each is a config that runs at once: `configs/methods/NAME.toml`.", ""]
    lines += [*table(("name", "paper", "options", "what proves it"), combinations()), ""]
    lines += ["## Left out", ""]
    lines += [f"- **{name}.** {reason}" for name, reason in LEFT_OUT.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
