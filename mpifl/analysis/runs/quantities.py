"""The names of quantities that tables and curves know, beside every other column of /rounds.

This file imports nothing, so that `--help` can list them at once.
"""

from __future__ import annotations

SHORT = {"accuracy": "test_accuracy", "loss": "test_loss"}
"""short names of columns of /rounds"""

ALSO = {
    "balanced_accuracy": "test_accuracy_balanced",
    "worst_class": "test_accuracy_worst_class",
    "top5": "test_accuracy_top5",
    "calibration_error": "test_calibration_error",
    "gap": "generalisation_gap",
    "own_accuracy_worst_decile": "own_accuracy_worst_tenth",
    "own_accuracy_best_decile": "own_accuracy_best_tenth",
    "unseen_accuracy_worst_decile": "unseen_accuracy_worst_tenth",
    "unseen_accuracy_best_decile": "unseen_accuracy_best_tenth",
}
"""what else columns of /rounds are called"""

MADE = ("flops", "bytes", "seconds", "training_loss", "training_accuracy")
"""computed from columns: flops, bytes (both ways), seconds since the start; means over clients"""

_ENDS = (
    "",
    "_pooled",
    "_deviation",
    "_p5",
    "_p25",
    "_p50",
    "_p75",
    "_p95",
    "_worst_client",
    "_worst_tenth",
    "_best_tenth",
)
"""of the names of an accuracy over clients"""

_OVER_CLIENTS = (*(f"accuracy{end}" for end in _ENDS), "loss", "loss_pooled")

OF_HESSIAN = (
    "lambda_max",
    "H_T",
    "H_N",
    "H_D",
    "lambda_max_local",
    "lambda_max_global",
    "flatness_gap",
    "inconsistency",
)
"""what `mpifl hessian` measures: columns of tables, and no columns of /rounds"""

MEASURES = {
    "the test set": (
        "accuracy",
        "loss",
        "test_accuracy_balanced",
        "test_accuracy_worst_class",
        "test_accuracy_top5",
        "test_calibration_error",
        "skewed_accuracy",
        "skewed_accuracy_worst_tenth",
        "skewed_accuracy_worst_client",
    ),
    "domains": (
        "test_accuracy_domains",
        "test_accuracy_worst_domain",
        "source_accuracy",
        "source_accuracy_pooled",
        "source_accuracy_worst_domain",
        "source_loss",
    ),
    "training samples": (
        "train_accuracy",
        "train_loss",
        "generalisation_gap",
        "generalisation_gap_loss",
    ),
    "clients' own test sets": (
        *(f"own_{name}" for name in _OVER_CLIENTS),
        *(f"own_accuracy_before{end}" for end in _ENDS),
        *(f"own_accuracy_after{end}" for end in _ENDS),
    ),
    "clients that never train": tuple(f"unseen_{name}" for name in _OVER_CLIENTS),
    "gaps between clients": (
        "participation_gap",
        "participation_gap_pooled",
        "participation_gap_loss",
        "participation_gap_loss_pooled",
        "out_of_sample_gap",
        "out_of_sample_gap_pooled",
        "out_of_sample_gap_loss",
        "out_of_sample_gap_loss_pooled",
    ),
}
"""columns about generalisation, by what they are measured on"""

HELP = """\
the test set     accuracy, loss, test_accuracy_balanced, _worst_class, _top5,
                 test_calibration_error, test_accuracy_class_3 (of class 3)
domains          accuracy_domain_sketch (of this domain), test_accuracy_domains (mean over
                 them), test_accuracy_worst_domain; with holdout.domains source_accuracy
                 (mean over the domains that train), _pooled, _worst_domain, source_loss
training         train_accuracy, train_loss, generalisation_gap, generalisation_gap_loss
                 (samples that train); training_accuracy, training_loss (as clients train)
own test sets    own_accuracy (mean over clients), own_accuracy_pooled (over samples),
                 _deviation, _p5, _p25, _p50, _p75, _p95, _worst_client, _worst_tenth,
                 _best_tenth; own_accuracy_before, _after (training), with the same ends;
                 own_loss, _pooled
unseen clients   unseen_accuracy, unseen_loss ...: the same of clients that never train
own classes      skewed_accuracy, _worst_tenth, _worst_client: the test set with the classes
                 as frequent as a client has them
gaps             participation_gap, out_of_sample_gap; of each also _pooled, _loss,
                 _loss_pooled
cost             flops (of training), bytes, seconds, and every other column of /rounds
"""
"""the names, for --help; a name that begins with _ goes on the one before"""

NEEDS = {
    "generalisation_gap": "evaluation.train_every",
    "train": "evaluation.train_every",
    "own": "[holdout]",
    "unseen": "holdout.clients",
    "participation_gap": "holdout.clients",
    "out_of_sample_gap": "[holdout] and evaluation.train_every",
    "source": "holdout.domains",
    "test_accuracy_domains": "data with domains",
    "test_accuracy_worst_domain": "data with domains",
    "own_accuracy_before": "[holdout] and evaluation.clients",
    "own_accuracy_after": "[holdout] and evaluation.clients",
}
"""the options with which a run measures a quantity, or those that begin with these words"""

SINCE = {"flops": "0.2"}
"""the version of mpifl that began to store a quantity"""

GENERALISATION = {
    "generalisation_gap": "gap to training",
    "test_accuracy_worst_domain": "worst tested domain",
    "source_accuracy": "source domains",
    "own_accuracy": "own test sets",
    "own_accuracy_worst_tenth": "worst tenth",
    "unseen_accuracy": "unseen clients",
    "participation_gap": "participation gap",
}
"""columns of /rounds that a table shows where runs have them, and their titles; fractions"""


def column_of(quantity: str) -> str:
    """The column of /rounds that a name means, or the name itself.

    >>> column_of("accuracy"), column_of("top5"), column_of("own_loss")
    ('test_accuracy', 'test_accuracy_top5', 'own_loss')
    """
    return SHORT.get(quantity, ALSO.get(quantity, quantity))


def needed_for(quantity: str) -> str:
    """The options with which a run measures a quantity; "" where none is known.

    >>> needed_for("own_accuracy_p5"), needed_for("own_accuracy_after"), needed_for("lr")
    ('[holdout]', '[holdout] and evaluation.clients', '')
    """
    for name in sorted(NEEDS, key=len, reverse=True):
        if quantity == name or quantity.startswith(f"{name}_"):
            return NEEDS[name]
    return ""


def measures() -> list[str]:
    """All of MEASURES."""
    return [name for names in MEASURES.values() for name in names]
