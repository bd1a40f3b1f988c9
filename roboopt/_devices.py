"""Several devices, of one host or of many, as one axis that samples are laid along.

XLA divides each program (Xu et al., 2021, GSPMD): every device computes its share of
the samples, and sums over samples are exchanged. With `jax.distributed` every process
runs the same program on the same data, and holds the shares of its own devices. A
decision that depends on the clock is the first process's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from roboopt._errors import RobooptError, require

AXIS = "device"


class Devices(eqx.Module):
    """Devices that share the work on samples."""

    mesh: Mesh = eqx.field(static=True)

    @classmethod
    def of(cls, devices: Sequence[Any] | None) -> "Devices | None":
        """Read the argument `devices`; None stays None.

        Raises:
            RobooptError: unless these are different devices of every process.
        """
        if devices is None:
            return None
        rule = "be a list of different devices, such as jax.devices()"
        listed = isinstance(devices, Sequence) and len(devices) > 0
        valid = listed and all(isinstance(d, jax.Device) for d in devices)
        require(valid and len(set(devices)) == len(devices), "devices", rule, devices)
        missing = set(range(jax.process_count())) - {d.process_index for d in devices}
        if missing:
            raise RobooptError(
                "`devices` must hold a device of every process, as jax.devices() does, "
                f"got none of process {min(missing)}."
            )
        return cls(Mesh(np.array(devices), (AXIS,)))

    @property
    def count(self) -> int:
        """Return the number of devices."""
        return self.mesh.size

    @property
    def shared(self) -> NamedSharding:
        """Return the layout in which the devices share the first axis."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    @property
    def whole(self) -> NamedSharding:
        """Return the layout in which every device has all of an array."""
        return NamedSharding(self.mesh, PartitionSpec())

    def share(self, tree: Any, argument: str, what: str = "samples") -> Any:
        """Lay the first axis of all arrays along the devices; single numbers stay.

        Raises:
            RobooptError: if the arrays differ in the number of samples, or the devices
                do not divide it. The message names the `argument`.
        """
        sizes = {np.shape(x)[0] for x in jax.tree.leaves(tree) if np.ndim(x)}
        if len(sizes) != 1:
            raise RobooptError(
                f"`{argument}` must hold {what} along the first axis, the same number "
                f"in every array, to be shared by `devices`, got {sorted(sizes)}."
            )
        self.require_equal_shares(sizes.pop(), argument, what)
        return jax.tree.map(
            lambda x: _placed(x, self.shared if np.ndim(x) else self.whole), tree
        )

    def copy(self, tree: Any) -> Any:
        """Give every device a copy of all arrays."""
        return jax.tree.map(lambda x: _placed(x, self.whole), tree)

    def local(self, tree: Any) -> Any:
        """Return arrays that every device has a copy of as arrays of this process."""

        def one(x: Any) -> Any:
            own = x.addressable_data(0) if isinstance(x, jax.Array) else x
            if jnp.issubdtype(own.dtype, jax.dtypes.prng_key):
                return own
            # Through NumPy: the array is then bound to no device.
            return jnp.asarray(np.asarray(own))

        return jax.tree.map(one, tree)

    def map(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return `function(whole, shares)`, run by each device on its own shares."""
        split = PartitionSpec(AXIS)
        specs = {"in_specs": (PartitionSpec(), split), "out_specs": split}
        return jax.shard_map(function, mesh=self.mesh, **specs, check_vma=False)

    def require_equal_shares(self, count: int, argument: str, what: str) -> None:
        """Raise a `RobooptError` unless the devices divide `count`."""
        rest = count % self.count
        if rest:
            raise RobooptError(
                f"`{argument}` must hold a number of {what} that {self.count} "
                f"`devices` divide equally, got {count}: leave out {rest}, or use "
                "fewer devices."
            )


def agreed(devices: Devices | None, *values: int) -> tuple[int, ...]:
    """Return the values of the first process, in every process."""
    if devices is None or jax.process_count() == 1:
        return values
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return tuple(broadcast_one_to_all(np.array(values, np.int32)).tolist())


def _placed(x: Any, layout: NamedSharding) -> jax.Array:
    if isinstance(x, Tracer):
        return jax.lax.with_sharding_constraint(x, layout)
    own = not isinstance(x, jax.Array) or x.is_fully_addressable
    if not own or not layout.mesh.is_multi_process:
        return jax.device_put(x, layout)
    # Each process has all of the array, and hands its devices their shares.
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    values = np.asarray(jax.random.key_data(x) if is_key else x)
    made = jax.make_array_from_callback(values.shape, layout, lambda i: values[i])
    return jax.random.wrap_key_data(made) if is_key else made
