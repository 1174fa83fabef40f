"""Print the text of a plugin that a run has stored, to be read. It is not run."""

from __future__ import annotations

from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.terminal import say_exactly


def print_plugin(run: Run, name: str) -> None:
    """Print the newest text of a plugin of this name; raises BadInput where there is none."""
    texts = {plugin.name: plugin.text for plugin in run.plugins if plugin.sha256}
    if name not in texts:
        allowed = ", ".join(texts) or "none"
        raise BadInput(
            f"{run.path}: expected one of its plugins' names; got {name!r}; allowed: {allowed}"
        )
    say_exactly(texts[name])
