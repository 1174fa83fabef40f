"""A model, as in  model = { name = "patches", size = 4, width = 64, norm = "group" }."""

from torch import Tensor, nn

from mpifl import register
from mpifl.models import Model, Output
from mpifl.models.layers import Conv
from mpifl.models.network import Network
from mpifl.models.output import HiddenLayers, Recorder
from mpifl.options import Count, options


@register("patches")
@options
class Patches(Model):
    """Patches that do not overlap -> features of each -> norm -> GELU -> linear classifier."""

    size: Count = 2
    """height and width of a patch"""
    width: Count = 32
    """features of a patch"""

    def build(self, shape: tuple[int, int, int], classes: int) -> Network:
        self.check_size(shape, self.size)
        patches = (shape[1] // self.size) * (shape[2] // self.size)
        embed = Conv(shape[0], self.width, self.size, self.size)
        net = PatchNet()
        net.embed = nn.Sequential(embed, self.make_norm(self.width, embed))
        net.classify = nn.Linear(patches * self.width, classes)
        return net


class PatchNet(Network):
    hidden_layers = HiddenLayers(1)

    def forward(self, x: Tensor, *, keep: frozenset[str] = frozenset()) -> Output:
        recorder = Recorder(keep)
        features = recorder.gelu(self.embed(x)).flatten(1)
        return recorder.output(self.classify(features), features)
