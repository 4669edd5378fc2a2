"""In which order instructions run where the samples do not fit in fast memory: tile by tile, in several passes.

What varies over the samples is computed for some hundred of them, a tile, and forgotten. What sums samples up is known
when every tile has been seen; what builds on it needs another pass over the tiles. An instruction's stage is the number
of such sums that lie one beneath another below it. The way back goes through the stages in reverse: a pass over the
tiles collects the gradients of what was known at a stage, and that of the lowest stage gives the logits'.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lossml.backend.bytecode import LEAVES, NONE, SAMPLE, Code


class Pass(NamedTuple):
    """Instructions by number, run once or for each tile.

    Attributes:
        tiled: whether for each tile.
        forward: whose values are computed.
        backward: whose gradients are handed on, in this order.
        ends: whether the gradients reach the logits.
    """

    tiled: bool
    forward: Sequence[int] = ()
    backward: Sequence[int] = ()
    ends: bool = False


def straight(code: Code) -> Pass:
    """Run everything on one tile; on several, what sums up nothing but its mean loss, last."""
    everything = range(len(code.instructions))
    back = [k for k in reversed(everything) if code.slopes[k + len(LEAVES)]]
    return Pass(tiled=True, forward=everything, backward=back, ends=True)


def staged(code: Code) -> list[Pass]:
    """Run a program on several tiles; nothing where `straight` can."""
    work = _Stages(code)
    if work.sums in ([], [len(code.instructions) - 1]):
        return []
    up = [work.whole(0, back=False)]
    for stage in range(work.top):
        up += [work.gather(stage), work.whole(stage + 1, back=False)]
    down: list[Pass] = []
    for stage in reversed(range(work.top)):
        down += [work.whole(stage + 1, back=True), work.spread(stage)]
    return [one for one in (*up, *down) if one.forward or one.backward or one.ends]


class _Stages:
    """The stage of each instruction; a leaf while passes are made."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.stages = [0] * len(LEAVES)
        for one in code.instructions:
            below = max((self.stages[place] for place in (one.a, one.b) if place != NONE), default=0)
            self.stages.append(below + self._sums(one.a, one.shape))
        self.everything = range(len(code.instructions))
        self.sums = [k for k in self.everything if self._sums(code.instructions[k].a, code.instructions[k].shape)]
        self.top = max(self.stages)

    def _sums(self, argument: int, shape: int) -> bool:
        return argument != NONE and bool(self.code.shapes[argument] & SAMPLE) and not shape & SAMPLE

    def _stage(self, k: int) -> int:
        return self.stages[k + len(LEAVES)]

    def _tiled(self, k: int) -> bool:
        return bool(self.code.instructions[k].shape & SAMPLE)

    def whole(self, stage: int, *, back: bool) -> Pass:
        """Compute what does not vary over the samples, or go back through it."""
        some = [k for k in self.everything if self._stage(k) == stage and not self._tiled(k) and k not in self.sums]
        return Pass(tiled=False, backward=self._sloped(some)) if back else Pass(tiled=False, forward=some)

    def gather(self, stage: int) -> Pass:
        """Add up the sums of a stage."""
        sums = [k for k in self.sums if self._stage(k) == stage + 1]
        return Pass(tiled=True, forward=sorted([*self._needed(sums), *sums]))

    def spread(self, stage: int) -> Pass:
        """Take the gradients of a stage's sums, and of all above, to what lies below."""
        sums = [k for k in self.sums if self._stage(k) > stage]
        tiled = [k for k in self.everything if self._tiled(k)]
        kept = [k for k in tiled if not self._known(k) or self._known_at(k) == stage]
        return Pass(tiled=True, forward=tiled, backward=self._sloped([*kept, *sums]), ends=stage == 0)

    def _known(self, k: int) -> bool:
        """Say whether an instruction broadcasts to the samples what is the same for all tiles."""
        return not self.code.shapes[self.code.instructions[k].a] & SAMPLE

    def _known_at(self, k: int) -> int:
        return self.stages[self.code.instructions[k].a]

    def _sloped(self, some: Iterable[int]) -> list[int]:
        return sorted((k for k in some if self.code.slopes[k + len(LEAVES)]), reverse=True)

    def _needed(self, some: Iterable[int]) -> set[int]:
        """Find what is computed for each tile before some instructions can be."""
        found: set[int] = set()
        waiting = [place for k in some for place in (self.code.instructions[k].a, self.code.instructions[k].b)]
        while waiting:
            k = waiting.pop() - len(LEAVES)
            if k >= 0 and k not in found and self._tiled(k):
                found.add(k)
                waiting += [self.code.instructions[k].a, self.code.instructions[k].b]
        return found
