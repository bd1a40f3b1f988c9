"""What arguments may be where either kind of array serves."""

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
