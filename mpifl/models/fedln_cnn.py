"""The bias-free CNN of FedLN, a study of layer normalisation in skewed federated learning.

See arXiv 2308.09565.
"""

from __future__ import annotations

from mpifl.models.base import ConvModel, Shape
from mpifl.models.cnn import DENSE, LAYERS
from mpifl.models.convnet import Plain, convnet
from mpifl.models.layers import NormKind
from mpifl.options import options


@options
class FedLnCnn(ConvModel):
    """The layers of `cnn` without biases, normed at every hidden layer.

    797,248 weights for CIFAR-10.

    By default norms have no scale and shift and stand after the ReLU, before pooling. FedFN is norm
    = "none" with feature_norm = true; the study's code strings are norm = "scale" for [v,v,v,v],
    "l2" for [n,n,n,n], "shift" with feature_norm = true for [s,s,s,sv]. Small images are padded as
    in `cnn`.
    """

    name = "fedln_cnn"
    supports = frozenset({"pooling"})
    norm: NormKind = "layer"
    norm_affine: bool = False
    norm_after_activation: bool = True
    bias: bool = False
    """whether weight layers have biases: 797,962 parameters for CIFAR-10"""

    def build(self, shape: Shape, classes: int) -> Plain:
        return convnet(self, shape, classes, LAYERS, DENSE, bias=self.bias, norm_dense=True)
