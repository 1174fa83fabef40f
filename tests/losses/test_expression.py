"""The text of a loss: what it builds, and the error line for a mistake in it."""

import re
from dataclasses import fields

import pytest

from mpifl.losses import LOSSES
from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.losses.expression import parse, render, shortened
from mpifl.losses.gradaug import GradAug
from mpifl.losses.man import Man
from mpifl.losses.mixup import Mixup
from mpifl.losses.prox import Prox
from mpifl.losses.stochdepth import StochDepth
from mpifl.options import BadInput
from mpifl.schedules import Cosine


def read(text):
    return parse(text, LOSSES)


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("ce", CrossEntropy()),
        ("ce()", CrossEntropy()),
        ("  (ce(smoothing=0.1)) ", CrossEntropy(smoothing=0.1)),
        ("mixup(ce)", Mixup(loss=CrossEntropy())),
        ("mixup(ce, gamma=0.3)", Mixup(loss=CrossEntropy(), gamma=0.3)),
        ("mixup(stochdepth(ce, keep=1))", Mixup(loss=StochDepth(loss=CrossEntropy(), keep=1.0))),
    ],
)
def test_a_single_loss_is_itself(text, loss):
    assert read(text) == loss


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("ce + man(zeta=1)", [CrossEntropy(), Man(zeta=1.0)]),
        ("ce + (man + prox(mu=1e-3))", [CrossEntropy(), Man(), Prox(mu=1e-3)]),
        ("mixup(ce) + man", [Mixup(loss=CrossEntropy()), Man()]),
        ("ce + gradaug(resolutions=(1.0, 0.5))", [CrossEntropy(), GradAug(resolutions=(1.0, 0.5))]),
        ("ce + gradaug(resolutions=[1.0, 0.5])", [CrossEntropy(), GradAug(resolutions=(1.0, 0.5))]),
        (
            'ce + man(layers="blocks", pooled=True)',
            [CrossEntropy(), Man(layers="blocks", pooled=True)],
        ),
        (
            "ce + man(schedule=cosine(warmup=5)) + man(schedule=constant, layers=[0, 2])",
            [CrossEntropy(), Man(schedule=Cosine(warmup=5)), Man(layers=(0, 2))],
        ),
        ("ce + man(pooled=true) + man(pooled=false)", [CrossEntropy(), Man(pooled=True), Man()]),
    ],
)
def test_terms_add_in_their_order(text, terms):
    assert list(read(text).terms) == terms


@pytest.mark.parametrize(
    "text",
    [
        "ce",
        "ce(smoothing=0.1) + man(pooled=true, power=1) + prox(mu=1e-5)",
        "ce + man(schedule=milestones(at=(0.5,)), layers=(1, 2))",
        "mixup(stochdepth(fedlc + man(layers='blocks'), keep=0.5) + gradaug(resolutions=(1.0,)), "
        "gamma=0.3) + fedalign",
    ],
)
def test_a_rendered_loss_has_every_option_and_reads_as_the_same_loss(text):
    once = render(read(text), LOSSES)
    assert render(read(once), LOSSES) == once
    for name in set(re.findall(r"\w+", text)) & LOSSES.keys():
        options = (option.name for option in fields(LOSSES[name]) if option.name != "loss")
        assert all(f"{option}=" in once for option in options)


@pytest.mark.parametrize("text", ["ce", "ce + man", "mixup(ce) + man(zeta=0.3)"])
def test_a_rendered_loss_is_shortened_to_what_somebody_would_write(text):
    assert shortened(render(read(text), LOSSES), LOSSES) == text


def test_a_written_loss_is_not_shortened():
    assert shortened("ce + man(zeta=0.15)", LOSSES) == "ce + man(zeta=0.15)"


def test_a_rendered_loss_reads_as_it_was_written():
    got = render(read("mixup(ce) + moon(tau=1)"), LOSSES)
    expected = "mixup(ce(smoothing=0.0), gamma=0.1) + moon(mu=1.0, tau=1.0, first='initial')"
    assert got == expected


def test_a_wrapper_takes_a_whole_sum():
    inside = read("mixup(ce + man)")
    assert isinstance(inside, Mixup)
    assert list(inside.loss.terms) == [CrossEntropy(), Man()]


def test_what_a_sum_asks_for_is_what_its_terms_ask_for():
    loss = read(
        "mixup(stochdepth(ce + moon + prox(mu=0.25)) + gradaug + prox(mu=0.5)) + "
        "man(layers='blocks')"
    )
    assert loss.needs == {
        "gates",
        "projection",
        "previous",
        "width",
        "activations",
        "stages",
        "squares",
    }
    assert loss.pull == 0.75


MISTAKES = {
    "": "got ''",
    "ce +": "got 'ce +'",
    "ce - man": "got 'ce - man'",
    "2 * ce": "got '2 * ce'",
    "ce + 1": "got '1'",
    "'ce'": "got \"'ce'\"",
    "a.b(ce)": "got 'a.b(ce)'",
    "ce; import os": "got 'ce; import os'",
    "cee": "unknown loss 'cee'; did you mean ce? allowed: ce, fedlc",
    "mixup": "but mixup wraps one loss: mixup(ce)",
    "mixup(ce, man)": "but mixup wraps one loss: mixup(ce)",
    "mixup(gamma=0.1)": "but mixup wraps one loss: mixup(ce)",
    "mixup(mixup)": "but mixup wraps one loss: mixup(ce)",
    "ce(0.1)": "whose options lack names",
    "ce + man(zetta=1)": "man.zetta: unknown key; did you mean zeta?",
    "ce + man(zeta=-1)": "man.zeta: expected greater than or equal to 0; got -1",
    "ce + man(zeta=True)": "man.zeta: expected a valid number; got True",
    "ce + man(zeta='1')": "man.zeta: expected a valid number; got '1'",
    "ce + man(zeta=1e999)": "man.zeta: expected a finite number; got inf",
    "ce + man(zeta=nan)": "whose options are not plain values",
    "ce + man(zeta=__import__('os'))": "whose options are not plain values",
    "ce + man(zeta={[]: 1})": "whose options are not plain values",
    "ce + man(schedule=0.5)": "man.schedule: expected an instance of Schedule; got 0.5",
    "ce + man(schedule=cosine(0.5))": "whose options lack names",
    "ce + man(schedule=cosine(warm=2))": "man.schedule.warm: unknown key; did you mean warmup?",
    "ce + man(schedule=cosine(warmup=0))": (
        "man.schedule.warmup: expected greater than or equal to 1; got 0"
    ),
    "ce + man(zeta=cosine)": "man.zeta: expected a valid number; got Cosine(",
    "ce + man(layers=())": (
        "man.layers: expected 'hidden', 'hidden and logits', 'blocks' or 'stages', or"
    ),
    "ce + man(layers='block')": "'blocks' or 'stages', or a list; got 'block'",
    "ce + man(layers=(0, -1))": "'stages', or greater than or equal to 0; got (0, -1)",
    "ce + man(tiny_paper_bug=true, pooled=true)": "expected tiny_paper_bug alone",
    "ce + man(pooled=True())": "whose options are not plain values",
    "ce + man(pooled=truth)": (
        "whose options are not plain values, nor schedules (constant, exponential,"
    ),
    "ce + man(pooled='true')": "man.pooled: expected a valid boolean; got 'true'",
    "ce + man(zeta=1, zeta=2)": "which gives an option twice",
    "ce + man(**{'zeta': 1})": "which unpacks options",
    "stochdepth(ce, keep=0.0)": "stochdepth.keep: expected greater than 0; got 0.0",
    "man": "expected a term that looks at the labels, one of ce, fedlc, rs; got 'man'",
    "mixup(man + prox) + gradaug": "expected a term that looks at the labels, one of ce, fedlc",
    "(" * 500 + "ce" + ")" * 500: "local.loss: expected terms",
    "+".join(["ce"] * 20000): "local.loss: expected terms",
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:32] or "nothing")
def test_a_mistake_is_one_line_that_says_where_and_what(text):
    with pytest.raises(BadInput) as error:
        read(text)
    line = str(error.value)
    assert line.startswith("local.loss: ")
    assert "\n" not in line
    assert MISTAKES[text] in line
