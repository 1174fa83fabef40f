"""Sections of a config that are of the run itself: its data, what it writes, where it computes."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from annotated_types import Le

from mpifl.data.augmentation import Augmentation
from mpifl.options import Count, Free, NonNegative, NonNegativeInt, options
from mpifl.training.lanes import MOST_LANES
from mpifl.training.steps import Graphs

GENERATED = ("digits", "synthetic")
"""data sets that need no packed file"""


@options
class Data:
    """Which images, and how they are prepared."""

    name: str = ""
    """"digits" or "synthetic", which need no file, or a plugin's; for a packed file, a name to show
    """
    path: str = ""
    """a file packed by `mpifl data`; may contain ~ and $VARIABLES of the rank's environment"""
    options: Free = field(default_factory=dict)
    """options of data that need no file"""
    train_limit: NonNegativeInt = 0
    """number of training samples to use, chosen at random with the classes' shares kept; 0: all"""
    test_limit: NonNegativeInt = 0
    """the same for the test samples"""
    normalise: bool = True
    """whether each channel of the images is scaled to mean 0 and standard deviation 1; else pixels
    are in 0 to 1
    """
    augment: Augmentation = Augmentation()


@options
class Results:
    """What a run writes to disk, and how often."""

    weights_every: NonNegativeInt = 10
    """rounds between stored global weights; 0: only the last, which is always stored"""
    clients_every: NonNegativeInt = 0
    """rounds between stored weights of the clients, and of the global weights that they were sent;
    0: never
    """
    commit_seconds: NonNegative = 10.0
    """shortest time between two commits of results.h5"""
    checkpoint_rounds: NonNegativeInt = 0
    """rounds between checkpoints, from which --resume continues; 0: by time only, and at the end
    """
    checkpoint_minutes: NonNegative = 10.0
    """minutes between checkpoints; 0: by rounds only, and at the end"""

    def clients_rounds(self, rounds: int) -> frozenset[int]:
        """The rounds, in a run of `rounds`, whose clients' weights are stored."""
        every = self.clients_every
        if not every:
            return frozenset()
        return frozenset({rounds, *range(every, rounds + 1, every)})

    def weights_rounds(self, rounds: int) -> frozenset[int]:
        """The rounds, in a run of `rounds`, whose global weights are stored.

        For a round whose clients' weights are stored, so are the global weights before and after.
        """
        kept = {rounds}
        if self.weights_every:
            kept.update(range(self.weights_every, rounds + 1, self.weights_every))
        for after in self.clients_rounds(rounds):
            kept.add(after)
            if after > 1:
                kept.add(after - 1)
        return frozenset(kept)


@options
class Runtime:
    """Where a run computes, and how long it waits."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where ranks compute; auto: on a GPU, where there is one"""
    threads: NonNegativeInt = 0
    """threads of each rank; 0: as many as Slurm gives a task, or 1 without Slurm"""
    channels_last: Literal["auto", "yes", "no"] = "auto"
    """whether images are in channels-last memory format; auto: as the model has it
    (yes for ResNets). Try yes with another convolutional network: on some CPUs a step takes three
    quarters of the time, and `mpifl plan` says what one takes with each. The bits of the two
    differ, so a run does not choose by the clock
    """
    graphs: Graphs = "auto"
    """whether local steps are recorded once and replayed, on a GPU as CUDA graphs, with the same
    bits; auto: on a GPU, and for small models. Steps with dropout, with a loss that draws what it
    computes (stochdepth, gradaug) or counts (uv), or whose loss, gradient or model is yours, are
    not; with auto, nor are those of which a GPU can make no graph
    """
    lanes: Literal["auto"] | Annotated[Count, Le(MOST_LANES)] = 1
    """how many clients a rank trains at once, each on a network of its own, with the same bits: for
    small models on a GPU, which has room for more kernels than one client's. auto: 1, 2, 4 and so
    on are tried in the first rounds, while that saves a tenth of the time and there is room: a
    core for each, or memory of the GPU, and as many clients. Each takes the memory of a network
    and of a step (`mpifl plan` counts it). The algorithms and losses that come with mpifl allow it;
    one of yours must keep nothing of a client in itself. A client's seconds then include its waits
    for the others
    """
    grace_seconds: NonNegative = 20.0
    """after a signal to stop: how long the current round may still take, before it is abandoned,
    and a test, before it is left to be done when the run is resumed
    """
    patience_minutes: NonNegative = 10.0
    """how long a rank may be silent before all ranks end; six times as long while data or
    checkpoints are read or written; 0: no limit, as a debugger needs
    """
    states_folder: str = ""
    """folder in which each rank keeps its clients' states in a file; may contain ~ and $VARIABLES
    of the rank's environment; empty: states are kept in memory
    """
