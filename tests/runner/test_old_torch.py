"""What is refused on a GPU where torch is old."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.torch_version import TorchVersion

from mpifl.options import BadInput
from mpifl.runner import ranks, schema


@pytest.mark.parametrize("version", ["2.7.1", "2.8.0", "2.13.0+cu130"])
@pytest.mark.parametrize("lanes", [1, 2, "auto"])
@pytest.mark.parametrize("graphs", ["auto", "no"])
@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_lanes_with_graphs_are_refused_where_torch_is_too_old_for_them(
    monkeypatch, version, lanes, graphs, kind
):
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    config = schema.resolve({"runtime": {"lanes": lanes, "graphs": graphs}})
    is_refused = (version, graphs, kind) == ("2.7.1", "auto", "cuda") and lanes != 1
    with pytest.raises(BadInput, match="torch is older than 2.8") if is_refused else nullcontext():
        ranks._refuse_lanes_of_old_torch(config, kind)
