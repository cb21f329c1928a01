"""A document as its layers see it: whole, or the shard of a document whose length is divided over devices (JAX).

A layer computes on the tokens that it is given. What it needs of the others it asks of `current_document()`: sums over
the length, the neighbours' keys, the position of its first token. For a whole document, the default, every answer is
the question itself, and programs are what they would be without it.

Inside `divided` every device runs the same program on its own shard. Gradients are those of the whole: each device
holds a share of the gradient of what all of them hold, and the shares are summed where such a value was made.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from keras import ops

from tfmodels.backend.types import Tensor


class Document:
    """A whole document.

    >>> document = current_document()
    >>> document.is_divided, document.length(5)
    (False, 5)
    """

    is_divided = False

    def length(self, tokens: int | Tensor) -> int | Tensor:
        """The length of the document, of which a device holds `tokens`; padding to whole shards does not count."""
        return tokens

    def positions(self, count: int | Tensor) -> Tensor:
        """The positions of a device's `count` tokens, or blocks, in the document: int32 (count,)."""
        return ops.arange(count, dtype="int32")

    def total(self, x: Tensor) -> Tensor:
        """The sum over the devices of `x`, which is a sum over a shard's tokens."""
        return x

    def highest(self, x: Tensor) -> Tensor:
        """The maximum over the devices of `x`, which is a maximum over a shard's tokens; without a gradient."""
        return x

    def any(self, x: Tensor) -> Tensor:
        """Whether `x`, bool, holds on any device."""
        return x

    def running_sum(self, x: Tensor) -> Tensor:
        """The sum of int32 `x` (B, L) over all tokens up to each one."""
        return ops.cumsum(x, axis=1)

    def gathered(self, x: Tensor, axis: int, count: int | Tensor) -> Tensor:
        """The first `count` entries of an axis of all devices' `x`, one after another. For few entries only."""
        return x


@dataclass(frozen=True)
class DividedDocument(Document):
    """The shard of a document that a device of a mesh holds, inside `jax.shard_map`.

    Args:
        axis: the axis of the mesh over which the length is divided.
        devices: the size of that axis.
        tokens: the length of the document, without padding to whole shards.
    """

    axis: str
    devices: int
    tokens: int

    is_divided = True

    def shard(self) -> Tensor:
        """The place of this device's shard: int32 scalar."""
        import jax

        return jax.lax.axis_index(self.axis)

    def length(self, tokens: int | Tensor) -> int | Tensor:
        """See `Document`."""
        return self.tokens

    def positions(self, count: int | Tensor) -> Tensor:
        """See `Document`."""
        return self.shard() * count + ops.arange(count, dtype="int32")

    def total(self, x: Tensor) -> Tensor:
        """See `Document`."""
        import jax

        return jax.lax.psum(x, self.axis)

    def highest(self, x: Tensor) -> Tensor:
        """See `Document`."""
        import jax

        return jax.lax.pmax(ops.stop_gradient(x), self.axis)

    def any(self, x: Tensor) -> Tensor:
        """See `Document`."""
        return self.highest(ops.cast(x, "int32")) > 0

    def running_sum(self, x: Tensor) -> Tensor:
        """See `Document`."""
        import jax

        sums = ops.cumsum(x, axis=1)
        of_shards = jax.lax.all_gather(sums[:, -1], self.axis)  # (devices, B)
        is_before = ops.arange(self.devices, dtype="int32")[:, None] < self.shard()
        return sums + ops.sum(ops.where(is_before, of_shards, 0), axis=0)[:, None]

    def gathered(self, x: Tensor, axis: int, count: int | Tensor) -> Tensor:
        """See `Document`."""
        import jax

        whole = jax.lax.all_gather(x, self.axis, axis=axis, tiled=True)
        return whole[(*(slice(None),) * axis, slice(0, count))]

    def with_margins(self, x: Tensor, axis: int, margin: int) -> Tensor:
        """`x` between the `margin` entries of an axis that come before and after it; zeros beyond the document.

        A margin that is longer than a shard comes from several neighbours on each side.
        """
        own = x.shape[axis]
        before: list[Tensor] = []
        after: list[Tensor] = []
        for distance in range(1, -(-margin // own) + 1):
            count = min(own, margin - (distance - 1) * own)
            before.insert(0, self._from_neighbour(_entries(x, axis, own - count, own), -distance))
            after.append(self._from_neighbour(_entries(x, axis, 0, count), distance))
        return ops.concatenate([*before, x, *after], axis=axis)

    def _from_neighbour(self, x: Tensor, distance: int) -> Tensor:
        """The `x` of the device at this distance, zeros if there is none."""
        import jax

        pairs = [(place + distance, place) for place in range(self.devices)]
        return jax.lax.ppermute(x, self.axis, [pair for pair in pairs if 0 <= pair[0] < self.devices])


def _entries(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return x[(*(slice(None),) * axis, slice(start, stop))]


WHOLE = Document()
_document: ContextVar[Document] = ContextVar("document", default=WHOLE)


def current_document() -> Document:
    """The document of the call around."""
    return _document.get()


@contextlib.contextmanager
def divided(document: DividedDocument) -> Iterator[None]:
    """A scope whose layers see a shard of a document."""
    before = _document.set(document)
    try:
        yield
    finally:
        _document.reset(before)
