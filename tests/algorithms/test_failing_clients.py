"""Clients that fail and are left out of a round: the server still holds the mean of what all
clients remember.
"""

import pytest
from quadratics import Quadratics, distance, mean, moments

from mpifl.algorithms.feddc import FedDC
from mpifl.algorithms.feddyn import FedDyn
from mpifl.algorithms.fedspeed import FedSpeed
from mpifl.algorithms.scaffold import Scaffold
from mpifl.training.local import Local
from mpifl.training.sampling import Participation

CASES = {
    "scaffold": (Scaffold(), ("c",)),
    "feddyn": (FedDyn(alpha=1.0), ("dual",)),
    "feddc": (FedDC(alpha=0.3), ("drift", "c")),
    "fedspeed": (FedSpeed(alpha=1.0, rho=0.1), ("dual",)),
}


class Failing(Quadratics):
    """Client 1 has no finite loss in rounds 2 and 3."""

    def __call__(self, step):
        fails = step.context.client == 1 and step.context.round in (2, 3)
        return super().__call__(step) * (float("nan") if fails else 1.0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("objective", ["samples", "uniform"])
@pytest.mark.parametrize("participation", [Participation(), Participation(fraction=0.75)])
def test_the_server_holds_the_mean_of_the_clients_states(case, objective, participation):
    q, (algorithm, names) = Failing(), CASES[case]
    local = Local(steps=3, batch=100, lr=0.1)
    x = q.experiment(algorithm, local, 6, participation, objective=objective, divergence="skip")
    history = moments(x)
    failed = [moment for moment in history if moment.failed]
    assert failed
    for moment in history:
        for name in names:
            assert (
                distance(moment.server[name], mean(q.share(objective), moment.clients, name))
                < 1e-12
            )
