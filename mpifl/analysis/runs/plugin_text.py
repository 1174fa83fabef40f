"""Print the text of a plugin that a run has stored, to be read. It is not run."""

from __future__ import annotations

from hashlib import sha256

from mpifl.options import BadInput
from mpifl.store import Run
from mpifl.terminal import say, say_exactly


def print_plugin(run: Run, name: str) -> None:
    """Print the newest text of a plugin of this name; raises BadInput where there is none.

    A text that is another than its stored digest says is told on stderr: no command will run it.
    """
    stored = {plugin.name: plugin for plugin in run.plugins if plugin.sha256}
    if name not in stored:
        allowed = ", ".join(stored) or "none"
        raise BadInput(
            f"{run.path}: expected one of its plugins' names; got {name!r}; allowed: {allowed}"
        )
    text = stored[name].text
    if sha256(text.encode()).hexdigest() != stored[name].sha256:
        say(f"warning: this is not the text of the SHA-256 that {run.path} stores", error=True)
    say_exactly(text)
