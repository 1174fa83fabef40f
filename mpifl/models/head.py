"""The end of every model: projection head and feature norm, both optional, and the classifier."""

from __future__ import annotations

from torch import Tensor, nn

from mpifl.models.layers import FeatureNorm, Linear, feature_norm
from mpifl.models.output import Recorder


class Head(nn.Module):
    """From pooled features [B, q] to logits [B, classes].

    With `projection` > 0, MOON's head (Li et al., 2021) comes before the classifier: Linear(q, q),
    ReLU, Linear(q, projection). Features narrower than q use the first columns of the first
    weights.
    """

    def __init__(
        self,
        q: int,
        classes: int,
        *,
        projection: int = 0,
        normalise: FeatureNorm = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.hidden = Linear(q, q, bias) if projection else None
        self.project = Linear(q, projection, bias) if projection else None
        self.classifier = Linear(projection or q, classes, bias)

    @property
    def hidden_layers(self) -> int:
        """The number of its nonlinearities."""
        return 0 if self.hidden is None else 1

    def forward(self, f: Tensor, recorder: Recorder) -> tuple[Tensor, Tensor]:
        """The logits and the features that enter the classifier; `recorder` applies the ReLU."""
        if self.hidden is not None and self.project is not None:
            f = self.project(recorder.relu(self.hidden(f, f.shape[1])))
        f = feature_norm(f, self.normalise)
        return self.classifier(f), f
