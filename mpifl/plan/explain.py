"""`mpifl explain`: print what sections, options and names mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mpifl.options import BadInput, similar
from mpifl.plan.reference import SECTION, Option, Topic, topics
from mpifl.terminal import say, say_paragraph, say_table, table


class Choice(NamedTuple):
    """How something that papers name is had here."""

    config: tuple[str, ...]
    """the options, as a config has them at its top"""
    words: tuple[str, ...]
    """what explains them"""


def _optimizer(text: str, name: str) -> Choice:
    option = "algorithm.server_optimizer"
    return Choice((f"{option} = {text}",), (f"{option}.{name}",))


def _loss(text: str, name: str) -> Choice:
    return Choice((f'local.loss = "{text}"',), (f"local.loss.{name}",))


def _with_sam(rule: str, rho: float, name: str) -> Choice:
    sam = f'local.gradient = {{ name = "sam", rho = {rho} }}'
    return Choice((f"algorithm = {rule}", sam), (f"algorithm.{name}", "local.gradient.sam"))


PAPERS_NAMES = {
    "fedavgm": _optimizer('{ name = "sgd", momentum = 0.9 }', "sgd"),
    "fedadagrad": _optimizer('{ name = "adagrad", lr = 0.01 }', "adagrad"),
    "fedadam": _optimizer('{ name = "adam", lr = 0.01 }', "adam"),
    "fedyogi": _optimizer('{ name = "yogi", lr = 0.01 }', "yogi"),
    "fedsam": Choice(('local.gradient = "sam"',), ("local.gradient.sam",)),
    "fedasam": Choice(('local.gradient = "asam"',), ("local.gradient.asam",)),
    "fedasam-swa": Choice(
        (
            'local.gradient = { name = "asam", rho = 0.7 }',
            'local.schedule = "cyclic"',
            'evaluation.average = "swa"',
            'evaluation.models = ["average"]',
        ),
        ("local.gradient.asam", "evaluation.average.swa", "local.schedule.cyclic"),
    ),
    "mofedsam": _with_sam('{ name = "fedcm", alpha = 0.1 }', 0.1, "fedcm"),
    "fedgamma": _with_sam('"scaffold"', 0.01, "scaffold"),
    "fednsam": _with_sam('{ name = "fedacg", lam = 0.85, mu = 0.0 }', 0.05, "fedacg"),
    "fedlesam-s": Choice(
        ('algorithm = { name = "fedlesam", rho = 0.5, rule = "scaffold" }',),
        ("algorithm.fedlesam", "scaffold"),
    ),
    "fedlesam-d": Choice(
        ('algorithm = { name = "fedlesam", rule = { name = "feddyn", alpha = 0.1 } }',),
        ("algorithm.fedlesam", "feddyn"),
    ),
    "fedntd": _loss("ce + ntd", "ntd"),
    "fedlmd": _loss("ce + ntd(leave_out='frequent')", "ntd"),
    "feddecorr": _loss("ce + decorr", "decorr"),
    "feduv": _loss("ce + uv", "uv"),
    "fedrs": _loss("rs", "rs"),
    "fedrcl": Choice(('model = "resnet18"', 'local.loss = "ce + rcl"'), ("local.loss.rcl",)),
    "batchnorm": Choice(('model.norm = "batch"',), ("model.norm",)),
    "groupnorm": Choice(('model.norm = "group"',), ("model.norm",)),
    "fedln": Choice(('model.norm = "layer"',), ("model.norm",)),
    "fedwon": Choice(('model.norm = "weight"',), ("model.norm",)),
    "fedfn": Choice(("model.feature_norm = true",), ("model.feature_norm",)),
}
"""what papers call a choice, in small letters"""


def explain(words: Sequence[str]) -> None:
    """Print what is known under each word; without words, what there is. Raises BadInput."""
    if not words:
        _print_overview()
    for word in words:
        _print_all(word)


def _print_overview() -> None:
    config, *sections = [topic for topic in topics() if not topic.name]
    own = [option for option in config.options if option.allowed != SECTION]
    _print_options("options of no section", own)
    made = table("section", "what it is", texts=2)
    for section in sections:
        made.add_row(section.title, section.summary)
    say_table("sections", made)
    made = table("section or option", "names", texts=2)
    for path, named in _by_path().items():
        made.add_row(path, ", ".join(topic.name for topic in named))
    say_table("names", made)
    say_paragraph("`mpifl explain` with any of these words, or of an option, says what it means.")


def _print_all(word: str) -> None:
    """Print what a paper's name stands for, or all that the word may mean."""
    choice = PAPERS_NAMES.get(word.lower())
    if choice is None:
        _print_meanings(word)
        return
    if len(choice.config) == 1:
        say(f"{word}, in a config: {choice.config[0]}\n")
    else:
        say("\n".join([f"{word}, in a config:", *choice.config, ""]))
    for explained in choice.words:
        _print_meanings(explained)
    _print_settable(word.lower())


def _print_meanings(word: str) -> None:
    """Print every section, option and name that the word may mean."""
    if word.lower() in _known_words():
        word = word.lower()
    meant = [topic for topic in topics() if topic.is_called(word)]
    tables = {path: named for path, named in _by_path().items() if _is_called(path, word)}
    options = _options_where(lambda name, option: _is_called(name, word))
    if not any((meant, tables, options, _settable(word))):
        raise BadInput(
            f"explain: expected a section, an option, a name or a value; got {word!r}"
            f"{similar(word, _known_words())}; `mpifl explain` lists them, "
            "and `mpifl curves --help` what is measured"
        )
    for topic in meant:
        _print_topic(topic)
    for path, named in tables.items():
        _print_names(path, named)
    if options:
        _print_options(f"options called {word}", options)
    _print_settable(word)


def _settable(word: str) -> list[Option]:
    return _options_where(lambda name, option: word in option.words)


def _print_settable(word: str) -> None:
    """Print the options that this word is a value of."""
    settable = _settable(word)
    if settable:
        _print_options(f"options that may be {word}", settable)


def _chosen(option: str, value: str) -> str:
    """The word that explains a choice: its name, or the option where the choice has no options."""
    for topic in topics():
        if topic.path == option and f'"{topic.name}"' in value:
            return f"{option}.{topic.name}"
    return option


def _print_topic(topic: Topic) -> None:
    say(f"{topic.title}\n{topic.text}")
    if topic.options:
        _print_options("", topic.options)
    else:
        say("It has no options.\n")


def _print_names(path: str, named: Iterable[Topic]) -> None:
    made = table("name", "what it is", texts=2)
    for topic in named:
        made.add_row(topic.name, topic.summary)
    say_table(f"names of {path}", made)


def _print_options(title: str, options: Iterable[Option]) -> None:
    made = table("option", "default", "allowed", "meaning", texts=4)
    for option in options:
        made.add_row(option.name, option.default, option.allowed, option.meaning)
    say_table(title, made)


def _by_path() -> dict[str, list[Topic]]:
    """The names that each section or option may have."""
    found: dict[str, list[Topic]] = {}
    for topic in topics():
        if topic.name:
            found.setdefault(topic.path, []).append(topic)
    return found


def _options_where(is_meant: Callable[[str, Option], bool]) -> list[Option]:
    """The options for which `is_meant(full name, option)`, under their full names.

    The names have the methods that have the option.
    """
    found = []
    owners: dict[Option, list[str]] = {}
    for topic in topics():
        for option in topic.options:
            full_name = topic.full_name(option)
            if is_meant(full_name, option) and option.allowed != SECTION:
                alike = option._replace(name=full_name)
                owners.setdefault(alike, []).append(topic.name)
    for option, names in owners.items():
        label = f"{option.name} ({', '.join(names)})" if names != [""] else option.name
        found.append(option._replace(name=label))
    return found


def _is_called(path: str, word: str) -> bool:
    """Whether a word is a dotted path or the last part of it."""
    return word in (path, path.rpartition(".")[2])


def _known_words() -> set[str]:
    words = set(_by_path())
    for topic in topics():
        words |= {topic.path, topic.name}
        words |= {option.name for option in topic.options}
        words |= {topic.full_name(option) for option in topic.options}
        for option in topic.options:
            words.update(option.words)
    return words - {""}
