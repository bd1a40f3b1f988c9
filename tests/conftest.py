"""Every test runs in double precision, with shapes checked at each call."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("roboopt", "beartype.beartype")
