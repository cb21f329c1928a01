"""The devices that programs are compiled for, none of which needs to be there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# With the first three libtpu asks no metadata server, and is quiet. The type need not be that of the topology. By
# default one process alone may load libtpu, for the sake of chips; here there are none.
_TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
ENVIRONMENT: Mapping[str, str] = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", **_TPU_ENVIRONMENT}
"""What must be set before keras and jax are imported: the programs are built on the CPU."""


@dataclass(frozen=True)
class Target:
    """A kind of chip, by the maker's figures.

    kind: of `tfmodels.backend.devices`. platform: JAX's name. topologies: JAX's names of machines, by their chips.
    gigahertz: of the clock that the compiler counts in. teraflops: the most products of 16 bits in a second.
    gigabytes_per_second: of the main memory. gigabytes: its size. config: a file with the figures that a GPU's compiler
    needs.
    """

    kind: str
    platform: str
    topologies: Mapping[int, str]
    gigahertz: float
    teraflops: float
    gigabytes_per_second: float
    gigabytes: float
    config: Path | None = None

    def devices(self, count: int) -> list[Any]:
        """So many chips of this kind, to compile for.

        Raises:
            ValueError: more chips than the largest machine has.
            RuntimeError: the compiler is not installed.
        """
        from jax.experimental import topologies

        if self.config is None:
            sizes = [chips for chips in self.topologies if chips >= count]
            if not sizes:
                raise ValueError(f"chips must be at most {max(self.topologies)}. Received: chips={count}")
            name = self.topologies[min(sizes)]
            found = topologies.get_topology_desc(platform=self.platform, topology_name=name)
        else:
            text = self.config.read_text(encoding="utf-8")
            shape = f"1x1x{count}"  # slices, hosts, chips of a host
            found = topologies.get_topology_desc(
                platform=self.platform, topology_name="", topology=shape, target_config=text
            )
        return list(found.devices[:count])


TARGETS: dict[str, Target] = {
    "v5e": Target("tpu", "tpu", {4: "v5e:2x2", 16: "v5e:4x4"}, 1.5, 197, 819, 16),
    "v5p": Target("tpu", "tpu", {4: "v5p:2x2x1", 16: "v5p:2x2x4"}, 1.75, 459, 2765, 95),
    "h100": Target("gpu", "cuda", {}, 1.98, 989, 3352, 80, Path(__file__).with_name("h100.txtpb")),
}


def set_environment() -> None:
    """Set `ENVIRONMENT`, and a lower number of messages. Call it before keras and jax are imported."""
    os.environ.update(ENVIRONMENT)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
