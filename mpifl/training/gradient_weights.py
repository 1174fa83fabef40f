"""How much each gradient, and the first momentum, have moved a client in its local steps.

FedNova (Wang et al. 2020) divides by it; SCAFFOLD's control variates and FedDyn's duals need it.
"""

from __future__ import annotations

from mpifl.training.local import Local


class GradientWeights:
    """The coefficients a = sum a_k and kappa in w - y = lr * (sum a_k g_k + kappa v_0).

    g_k are the steps' gradients, and v_0 is the momentum that the client began with. A quadratic
    term makes both coefficients smaller.
    """

    def __init__(self, local: Local, lr: float, pull: float) -> None:
        self._local = local
        self._shrink = lr * pull
        self.accumulated = 0.0
        self.carried = 0.0
        self._momentum_accumulated = 0.0
        self._momentum_carried = 1.0

    def add_step(self, factor: float) -> None:
        """Another step was taken, with `factor` on the learning rate."""
        accumulated = 1.0 - self._shrink * self.accumulated
        carried = -self._shrink * self.carried
        beta = self._local.momentum
        if beta:
            self._momentum_accumulated = beta * self._momentum_accumulated + accumulated
            self._momentum_carried = beta * self._momentum_carried + carried
            if self._local.nesterov:
                accumulated = accumulated + beta * self._momentum_accumulated
                carried = carried + beta * self._momentum_carried
            else:
                accumulated = self._momentum_accumulated
                carried = self._momentum_carried
        self.accumulated = self.accumulated + factor * accumulated
        self.carried = self.carried + factor * carried
