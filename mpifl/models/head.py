"""The end of every model: projection head and feature norm, both optional, and the classifier."""

from __future__ import annotations

from torch import Tensor, nn

from mpifl.models.layers import FeatureNorm, Linear, feature_norm
from mpifl.models.output import Recorder


class Head(nn.Module):
    """From pooled features [B, q] to logits [B, classes].

    With `projection` > 0, MOON's head (Li et al., 2021) comes before the classifier: Linear(q, q),
    ReLU, Linear(q, projection).
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

    def forward(self, f: Tensor, recorder: Recorder, narrow: bool = False) -> tuple[Tensor, Tensor]:
        """The logits and the features that enter the classifier; `recorder` applies the ReLU.

        In a `narrow` pass the features are those of a sub-network: the first of the q.
        """
        if self.hidden is not None and self.project is not None:
            width = f.shape[1] if narrow else None
            f = recorder.relu(self.hidden(f, width))
            f = _linear(self.project, f, narrow)
        f = feature_norm(f, self.normalise)
        return _linear(self.classifier, f, narrow), f


def _linear(layer: Linear, f: Tensor, narrow: bool) -> Tensor:
    """All outputs of the layer; in a `narrow` pass from its first inputs."""
    return layer(f, layer.out_features if narrow else None)
