"""The end of every model: an optional projection head, an optional feature norm, and the
classifier.
"""

from __future__ import annotations

from torch import Tensor, nn

from mpifl.models.layers import FeatureNorm, Linear, feature_norm
from mpifl.models.output import Kept


class Head(nn.Module):
    """Pooled features [B, q] to logits [B, classes].

    `projection` > 0 puts MOON's head (Li et al., 2021) between them: Linear(q, q), ReLU, Linear(q,
    projection); the classifier then stands on the projection. Features narrower than q use the
    first columns of the first weights.
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
    def sites(self) -> int:
        """How many nonlinearities it has."""
        return 0 if self.hidden is None else 1

    def forward(self, f: Tensor, kept: Kept) -> tuple[Tensor, Tensor]:
        """Return logits and the features that the classifier saw; the projection's ReLU is
        `kept`'s.
        """
        if self.hidden is not None:
            f = self.project(kept.relu(self.hidden(f, f.shape[1])))
        f = feature_norm(f, self.normalise)
        return self.classifier(f), f
