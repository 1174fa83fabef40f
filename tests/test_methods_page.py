"""docs/methods.md: every registered name is there, and all that it says of the project is so."""

import re
import runpy
from pathlib import Path

from mpifl.plan.reference import topics

METHODS = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "methods.py"))
NOTES = METHODS["NOTES"]
PROOFS = [
    proof
    for option in METHODS["GROUPS"]
    for note in NOTES[option].values()
    for proof in note["proofs"]
]


def test_the_page_is_in_step():
    assert METHODS["PAGE"].read_text("utf-8") == METHODS["page"](), "run `python docs/methods.py`"


def test_every_name_has_its_paper_and_no_other_has_one():
    for option, (_, names) in METHODS["GROUPS"].items():
        assert set(NOTES[option]) == set(names), option


def test_every_name_has_its_rule_and_every_algorithm_says_what_is_sent():
    for option, (_, names) in METHODS["GROUPS"].items():
        formulas = METHODS["FORMULAS"][option]
        assert set(formulas) == set(names), option
        for name, rule in formulas.items():
            expected = {"client", "sent"} if option == "algorithm" else {"formula"}
            assert expected <= set(rule) <= expected | {"server", "where"}, name


def test_every_name_of_an_option_is_on_a_page_of_options():
    shown = set()
    for page in METHODS["HERE"].glob("options/*.md"):
        [paths] = re.findall(r"^```\{options\} (.+)$", page.read_text("utf-8"), re.MULTILINE)
        shown.update(paths.split())
    assert shown == {topic.path for topic in topics() if topic.name}


def test_every_papers_name_for_a_combination_has_its_paper():
    assert set(NOTES["combination"]) == set(METHODS["PAPERS_NAMES"])


def test_every_proof_is_a_test():
    texts = {}
    for proof in PROOFS:
        file, _, words = proof.partition(": ")
        if file not in texts:
            texts[file] = (METHODS["TESTS"] / f"{file}.py").read_text("utf-8")
        assert f"def test_{words.replace(' ', '_')}(" in texts[file], proof


def test_every_algorithm_has_a_proof_of_its_own_and_their_files_are_short():
    for name in METHODS["ALGORITHMS"]:
        assert any(METHODS["proofs"]("algorithm", name)), name
    assert METHODS["median_lines"]() < 60
