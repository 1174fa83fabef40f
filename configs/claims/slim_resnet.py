"""ResNet-20 with a quarter of the channels, as in  model = { name = "slim_resnet", planes = 4 }."""

from mpifl import register
from mpifl.models.base import Shape
from mpifl.models.resnet import ConvSpec, ResNet, bottleneck, layout
from mpifl.models.resnet56 import CifarResNet
from mpifl.options import Count, options


@register("slim_resnet")
@options
class SlimResNet(CifarResNet):
    """Two bottlenecks a stage, of planes, 2 planes and 4 planes, and 4 times the outputs."""

    depth = 2
    planes: Count = 4
    """planes of the first stage; 16 is ResNet-20"""

    def build(self, shape: Shape, classes: int) -> ResNet:
        self.check_size(shape, 4)
        planes = (self.planes, 2 * self.planes, 4 * self.planes)
        stem = ConvSpec(self.planes, 3)
        stages = layout(bottleneck, planes, self.depth)
        return ResNet(self, shape[0], classes, stem=stem, pool=False, layout=stages)
