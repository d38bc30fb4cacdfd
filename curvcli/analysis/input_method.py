"""How exact derivatives by the inputs are had: by backward products, or by Taylor coefficients where those are cheaper.

Coefficients are chosen only after a trial on the first samples, which holds them against products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curvcli.analysis.session import Session
from curvcli.curvature.pointwise.inputs import InputPlan
from curvcli.curvature.pointwise.trial import hold_orders, hold_second, tolerance
from curvcli.errors import CurvcliError, UsageError
from curvcli.models.pointwise import SampleFunction
from curvcli.wording import option

# Of fewer coordinates, products cost no more than recording the operations and holding them against a product.
_MANY = 16
# Up to this order, likewise.
_LOW = 2


def with_method(
    session: Session,
    inputs: Sequence[str],
    size: int,
    functions: Sequence[SampleFunction],
    plan: InputPlan,
    reason: str,
    method: str,
) -> tuple[InputPlan, str]:
    """The plan with the cheaper exact method, and why.

    Args:
        session: the opened model and data.
        inputs: by which the functions are differentiated.
        size: their coordinates.
        functions: of every sample.
        plan: by products.
        reason: why it is as it is.
        method: as requested.

    Raises:
        UsageError: Taylor coefficients are requested and can't be used.
    """
    forced = method == "taylor"
    second = plan.second == "products" and not plan.full and (forced or size >= _MANY)
    orders = bool(plan.coordinates) and (plan.order > _LOW or (forced and plan.order > 1))
    if method == "products" or not (second or orders):
        return plan, reason
    carried = replace(
        plan, second="taylor" if second else plan.second, orders=orders, double=session.dtype == "float64"
    )
    obstacle = _obstacle(session, inputs, functions, carried)
    if obstacle is not None:
        if forced:
            raise UsageError(f"{option('method', 'taylor')} can't be used with {session.path}: {obstacle}.")
        return plan, f"{reason}; not by Taylor coefficients: {obstacle}"
    if second:
        reason = f"exact: Taylor coefficients along {size} coordinates, held against a product in every batch"
    if orders:
        reason += f"; to order {plan.order} by Taylor coefficients"
    return carried, reason


def _obstacle(
    session: Session, inputs: Sequence[str], functions: Sequence[SampleFunction], plan: InputPlan
) -> str | None:
    """Why coefficients can't be used, told by the first samples; None if they can."""
    relative = tolerance(double=plan.double)
    # Entries of one output are computed by the same operations.
    for function in {one.output: one for one in reversed(functions)}.values():
        try:
            probe = session.objective.input_probe(function, inputs)
            series = probe.series()
            hold_second(probe, series, plan.seed, relative)
            if plan.orders:
                hold_orders(probe, series, plan.coordinates, plan.order, relative)
        except CurvcliError as error:
            return str(error).splitlines()[0].rstrip(".")
    return None
