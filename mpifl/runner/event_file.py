"""TensorBoard's event files, with its own records and events, without torch or TensorFlow."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mpifl.options import BadInput


def check_installed(wanted_for: str) -> None:
    """Raise BadInput unless TensorBoard is installed; `wanted_for` is who needs it."""
    try:
        import_module("tensorboard")
    except ImportError:
        raise BadInput(
            f"{wanted_for}: expected TensorBoard; got none; `pip install 'mpifl[tensorboard]'`"
        ) from None


EVENT_FILES = "events.out.tfevents.*.mpifl"
"""names of the files that are written here"""


class EventFile:
    """A new event file in a folder. TensorBoard reads all those of a folder as one run."""

    def __init__(self, folder: Path, first_round: int) -> None:
        """What earlier files of the folder say of `first_round` and later is no longer shown."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._event = Event
        self._writer = RecordWriter((folder / _next_name(folder)).open("xb"))
        now = time.time()
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=now, step=first_round, session_log=start))

    def scalars(self, round: int, values: Mapping[str, float], moment: float | None = None) -> None:
        """Add a round's numbers; `moment` is when it ended, in seconds since 1970 [now]."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(round, Summary(value=found), moment)

    def text(self, name: str, text: str, moment: float | None = None) -> None:
        """Add a text that TensorBoard shows as it is."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        indented = "\n".join(f"    {line}" for line in text.splitlines())  # Markdown's code
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[indented.encode()], tensor_shape=shape)
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        value = Summary.Value(
            tag=f"{name}/text_summary", metadata=SummaryMetadata(plugin_data=plugin), tensor=tensor
        )
        self._add(0, Summary(value=[value]), moment)

    def flush(self) -> None:
        """Write what was added, so that TensorBoard sees it."""
        self._writer.flush()

    def close(self) -> None:
        """Write the rest, and close the file."""
        self._writer.close()

    def _add(self, round: int, summary: Any, moment: float | None) -> None:
        wall_time = time.time() if moment is None else moment
        self._write(self._event(wall_time=wall_time, step=round, summary=summary))

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


def _next_name(folder: Path) -> str:
    """The name of a new event file.

    TensorBoard reads files in the order of their names, which begin with the second at which each
    was made. So this one's is later than those of all others, also where the clock says otherwise.
    """
    second = int(time.time())
    for earlier in folder.glob(EVENT_FILES):
        made = earlier.name.split(".")[3]
        if made.isdecimal():
            second = max(second, int(made) + 1)
    return f"events.out.tfevents.{second:010d}.{socket.gethostname()}.{os.getpid()}.mpifl"
