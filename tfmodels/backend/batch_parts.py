"""The parts of a batch that `keras.distribution` gives to devices (JAX), for sums over rows that are to wait.

A program under `keras.distribution` computes on the whole batch, and JAX divides it. A sum over rows, such as the
gradient of a weight, is then summed over the devices at once: in a loop, at each step. A sum for each part stays where
it is.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfmodels.backend.types import Tensor


def batch_parts(rows: Any) -> int:
    """The number of equal parts into which a batch of `rows` is divided; 1 if it is whole.

    >>> batch_parts(4)
    1
    """
    distribution = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if distribution is None or not isinstance(rows, int):
        return 1
    mesh = distribution.device_mesh
    sizes = dict(zip(mesh.axis_names, mesh.shape, strict=True))
    parts = int(sizes.get(distribution.batch_dim_name, 1))
    return parts if rows % parts == 0 else 1


def divides_batches_alone() -> bool:
    """Whether `keras.distribution` divides nothing but batches: no weights, and so no heads.

    >>> divides_batches_alone()
    True
    """
    distribution = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if distribution is None:
        return True
    mesh = distribution.device_mesh
    sizes = zip(mesh.axis_names, mesh.shape, strict=True)
    return all(size == 1 for name, size in sizes if name != distribution.batch_dim_name)


def of_each_part(
    function: Callable[..., list[Tensor]], parts: int, tensors: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The results of `function` for each part of a batch, on the devices of the part.

    Args:
        function: from a part of each tensor to a result with its rows first, and further results without rows.
        parts: from `batch_parts`.
        tensors: (B, ...).

    Returns:
        The first result (B, ...), and the others (parts, ...); without that axis for one part.

    >>> rows, sums = of_each_part(lambda x: [2 * x, ops.sum(x)], 1, [ops.ones((3, 2))])
    >>> rows.shape[0], [float(x) for x in sums]
    (3, [6.0])
    """
    if parts == 1:
        result, *others = function(*tensors)
        return result, others
    import jax

    split = [ops.reshape(x, (parts, x.shape[0] // parts, *x.shape[1:])) for x in tensors]
    result, *others = jax.vmap(function)(*split)
    return ops.reshape(result, (-1, *result.shape[2:])), [_on_its_devices(x) for x in others]


def zero_of_each_part(zero: Tensor, parts: int, shape: tuple[Any, ...]) -> Tensor:
    """A scalar zero as a start for sums of the further results of `of_each_part`, whose shape is `shape` for a part."""
    if parts == 1:
        return ops.broadcast_to(zero, shape)
    return _on_its_devices(ops.broadcast_to(zero, (parts, *shape)))


def total_of_parts(x: Tensor, parts: int) -> Tensor:
    """The sum over the parts of a further result of `of_each_part`."""
    return x if parts == 1 else ops.sum(x, axis=0)


def _on_its_devices(x: Tensor) -> Tensor:
    """`x` (parts, ...) with each part on the devices that have that part of a batch."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    distribution = keras.distribution.distribution()
    rest = [PartitionSpec.UNCONSTRAINED] * (len(x.shape) - 1)
    spec = PartitionSpec(distribution.batch_dim_name, *rest)
    return jax.lax.with_sharding_constraint(x, NamedSharding(distribution.device_mesh.backend_mesh, spec))
