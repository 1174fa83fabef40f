"""`mpifl explain`: every section, option and name is found and has a meaning."""

from __future__ import annotations

import json
import tomllib
from typing import get_args

import pytest
from click.testing import CliRunner

from mpifl.algorithms import ALGORITHMS
from mpifl.cli import main
from mpifl.data.partition import PARTITIONS
from mpifl.losses import LOSSES
from mpifl.models import MODELS
from mpifl.models.layers import NormKind
from mpifl.plan.explain import PAPERS_NAMES
from mpifl.plan.reference import SECTION, topics
from mpifl.runner.schema import resolve
from mpifl.schedules import SCHEDULES

TOPICS = [topic for topic in topics() if topic.path]


def explained(*words: str) -> str:
    result = CliRunner().invoke(main, ["explain", *words], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.title)
def test_every_section_and_name_says_what_it_is_and_what_each_option_means(topic):
    assert topic.summary
    for option in topic.options:
        if topic.path != "data.name":
            assert option.meaning, option.name
            assert option.allowed, option.name


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.title)
def test_every_section_and_name_is_found_by_each_word_for_it(topic):
    for word in {topic.path if not topic.name else topic.name, topic.path.rpartition(".")[2]}:
        printed = explained(word)
        for option in topic.options if word == topic.name else ():
            assert f" {option.name} " in printed


@pytest.mark.parametrize("table", [ALGORITHMS, LOSSES, MODELS, PARTITIONS, SCHEDULES])
def test_the_overview_has_all_names(table):
    words = explained().replace(",", " ").split()
    assert set(table) <= set(words)


def test_a_section_is_printed_with_defaults_what_is_allowed_and_meanings():
    [lr] = [line for line in explained("local").splitlines() if line.startswith(" lr ")]
    assert lr.split("  ", 1)[0] == " lr"
    assert "0.1" in lr
    assert "number above 0" in lr
    assert "learning rate: the step size, before the schedule's factor" in lr


def test_an_option_is_found_wherever_it_is():
    printed = explained("lr")
    assert " local.lr " in printed
    assert " algorithm.server_optimizer.lr (adagrad, adam, yogi) " in printed
    assert explained("local.lr").count("number above 0") == 1


def test_an_option_that_is_a_number_or_a_word_is_found_by_the_word_and_says_both():
    assert "auto; or integer from 1 to 16" in explained("lanes")
    assert "runtime.lanes" in explained("auto")


@pytest.mark.parametrize("name", PAPERS_NAMES)
def test_what_papers_call_a_choice_is_found_and_can_be_pasted_into_a_config(name):
    printed, *_ = explained(name.upper()).split("\n\n")
    before, _, config = printed.partition(" in a config:")
    assert before == f"{name.upper()},"
    assert resolve(tomllib.loads(config))


@pytest.mark.parametrize("name", PAPERS_NAMES)
def test_all_that_makes_it_is_explained(name):
    printed = explained(name)
    for word in PAPERS_NAMES[name].words:
        path, _, last = word.rpartition(".")
        begins = (f'{path} = "{last}"', f'algorithm = "{word}"', f"options called {word}")
        assert any(begin in printed for begin in begins)


def test_a_name_may_be_written_as_its_paper_writes_it():
    assert explained("FedRep") == explained("fedrep")


def test_every_word_that_an_option_may_be_is_found_with_the_option():
    names: dict[str, set[str]] = {}
    for topic in topics():
        for option in topic.options:
            for word in option.words:
                names.setdefault(word, set()).add(topic.full_name(option))
    assert set(get_args(NormKind)) <= set(names)
    printed = explained(*names)
    for word, options in names.items():
        _, _, of_word = printed.partition(f"options that may be {word}\n")
        found, _, _ = of_word.partition("options that may be")
        assert all(f" {name} " in found for name in options), word


def test_a_method_is_printed_with_its_paper():
    assert "FedDyn (Acar et al. 2021, algorithm 1)" in explained("feddyn")
    assert "Yashwanth et al. 2024" in explained("local.loss=man")


def test_an_inherited_option_has_its_meaning():
    assert "whether norms learn a scale and a shift" in explained("resnet56")


def test_a_word_that_means_nothing_is_refused_with_a_suggestion():
    result = CliRunner().invoke(main, ["explain", "momentun"])
    assert result.exit_code == 2
    assert result.output == (
        "mpifl: explain: expected a section, an option, a name or a value; got 'momentun'; "
        "did you mean momentum?; `mpifl explain` lists them, and `mpifl curves --help` what is "
        "measured\n"
    )


def test_no_section_is_listed_as_an_option():
    assert SECTION not in explained("local")


def test_the_schema_is_json_with_every_section_and_meanings():
    result = CliRunner().invoke(main, ["schema"])
    printed = json.loads(result.output)
    assert {"rounds", "local", "model", "runtime"} <= set(printed["properties"])
    assert "learning rate" in printed["$defs"]["Local"]["properties"]["lr"]["description"]
    models = {one.get("title"): one for one in printed["properties"]["model"]["oneOf"]}
    assert "scale and a shift" in models["ResNet56"]["properties"]["norm_affine"]["description"]
