"""The loss's slope in TensorFlow, whose derivative is the loss's own closed form where it has one."""

from __future__ import annotations

from typing import Any

from curvcli.losses.interface import Loss
from curvcli.models.tensorflow.loss_operations import TENSORFLOW
from curvcli.models.tensorflow.runtime import tensorflow


def slope_of(loss: Loss, o: Any, truth: Any, weight: Any) -> Any:
    """∂ℓ/∂o, as a function of o that can be differentiated again.

    Args:
        loss: which.
        o: the output.
        truth: ``Targets.truth``.
        weight: ``Targets.weight`` · ``Targets.scale``.
    """
    if not loss.closed:
        return loss.slope(TENSORFLOW, o, truth, weight)

    def with_product(output: Any) -> tuple[Any, Any]:
        # The output alone is kept, and everything else made anew for every product.
        return loss.slope(TENSORFLOW, output, truth, weight), lambda vector: loss.slope_product(
            TENSORFLOW, output, weight, vector
        )

    return tensorflow().custom_gradient(with_product)(o)
