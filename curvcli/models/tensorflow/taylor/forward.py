"""Taylor coefficients carried through the function being traced, as ``models.torch.taylor.forward`` describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import factorial, prod
from typing import Any

from curvcli.models.taylor.held import most_alive
from curvcli.models.taylor.order import Order
from curvcli.models.taylor.series import Coefficients, Contract, Series, Summed
from curvcli.models.tensorflow.operations import LOOPS, NOT_DIFFERENTIABLE, PIECEWISE_LINEAR, readable
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.taylor.call import Call, NoRuleError
from curvcli.models.tensorflow.taylor.rules import RULES

_PRODUCTS = frozenset(name for name in RULES if "MatMul" in name) | {"Mul", "Einsum"}
_CONVOLUTIONS = frozenset({"Conv2D", "Conv2DBackpropInput", "Conv3D", "DepthwiseConv2dNative"})


def by_sample(order: Order, tensor: Any, leading: int = 0) -> Any:
    """(leading axes, *shape) → (leading axes, samples, entries)."""
    tf = tensorflow()
    shape, axis = order.split(list(tensor.shape), leading)
    split = tf.reshape(tensor, shape)
    if axis != leading:
        axes = [i for i in range(len(shape)) if i != axis]
        split = tf.transpose(split, [*axes[:leading], axis, *axes[leading:]])
    return tf.reshape(split, [*tensor.shape[:leading], order.samples, -1])


class TracedGraph:
    """What lies between some inputs and the output, and ∂Σf/∂o, in the function being traced.

    Attributes:
        bent: outputs of operations that may be no linear function of what depends on the inputs.
    """

    def __init__(self, inputs: Sequence[Any], output: Any, slope: Any) -> None:
        """Read it.

        Raises:
            NoRuleError: an operation can't be followed.
        """
        self._inputs, self._output, self._slope = list(inputs), output, slope
        self._active: set[Any] = {one.ref() for one in inputs}
        self._operations = []
        missing, unsized = set[str](), ""
        for operation in _in_order([output, slope], inputs):
            if operation.type in NOT_DIFFERENTIABLE or not any(one.ref() in self._active for one in operation.inputs):
                continue
            outputs = [one for one in operation.outputs if not (one.dtype.is_integer or one.dtype.is_bool)]
            if not outputs:
                continue
            if operation.type not in RULES or not all(one.dtype.is_floating for one in outputs):
                missing.add("loops" if operation.type in LOOPS else readable(operation.type))
            elif any(one.shape.rank is None or None in one.shape.as_list() for one in (*operation.inputs, *outputs)):
                unsized = unsized or operation.type
            self._operations.append(operation)
            self._active.update(one.ref() for one in outputs)
        if not missing and unsized:
            raise NoRuleError(f"{readable(unsized)} of sizes that are computed")
        if missing:
            raise NoRuleError(", ".join(sorted(missing)))
        self.bent = [one.outputs[0] for one in self._operations if self._bends(one)]

    def _bends(self, operation: Any) -> bool:
        if operation.type in _PRODUCTS:
            return sum(one.ref() in self._active for one in operation.inputs) > 1
        return operation.type not in PIECEWISE_LINEAR | _CONVOLUTIONS | {"AvgPool3D"}

    @property
    def largest(self) -> int:
        """Entries of the largest value that depends on the inputs."""
        outputs = [prod(output.shape) for one in self._operations for output in one.outputs]
        return int(max([*outputs, *(prod(one.shape) for one in self._inputs)]))

    @property
    def alive(self) -> int:
        """Entries of all values that depend on the inputs and are held at the same time, at most."""
        last = {one.ref(): i for i, operation in enumerate(self._operations) for one in operation.inputs}
        over: list[list[Any]] = [[] for _ in self._operations]
        for value, i in last.items():
            over[i].append(value)
        made = [[one.ref() for one in operation.outputs] for operation in self._operations]
        sizes = {value: prod(value.deref().shape) for value in self._active}
        return int(most_alive([one.ref() for one in self._inputs], zip(made, over, strict=True), sizes))

    def slopes(self, weights: Any = None) -> list[Any]:
        """The derivative of Σ f_n, or Σ w_n f_n, by every bent output; zeros where there is no path."""
        tf = tensorflow()
        cotangent = tf.stop_gradient(self._slope)
        if weights is not None:
            cotangent *= weights
        if not self.bent:
            return []
        slopes = tf.gradients([self._output], self.bent, grad_ys=[cotangent])
        return [
            tf.zeros_like(x) if g is None else tf.convert_to_tensor(g) for g, x in zip(slopes, self.bent, strict=True)
        ]

    def derivatives(self, seeds: Sequence[Any], order: int, samples: int, orders: Sequence[Order | None] | None) -> Any:
        """∂^k f_n along every direction, for k = 1 … ``order``.

        Args:
            seeds: per input its directions, (directions, *shape).
            order: K.
            samples: N.
            orders: of every bent output, None where f does not depend on it; None as a whole where one can't be told,
                and the last coefficient is carried too.

        Returns:
            (directions, N, K).
        """
        tf = tensorflow()
        count = seeds[0].shape[0]
        collapsed = orders is not None and order > 1
        contracts = self._contracts(orders) if orders is not None and collapsed else {}
        series: dict[Any, Series] = {
            one.ref(): [one, seed, *[None] * (order - 1)] for one, seed in zip(self._inputs, seeds, strict=True)
        }
        last = tf.zeros([count, samples], self._output.dtype)
        for operation in self._operations:
            operands = tuple(series.get(one.ref()) for one in operation.inputs)
            if all(one is None for one in operands):
                continue
            contract = contracts.get(operation.outputs[0].ref(), _dropped) if collapsed else None
            made = RULES[operation.type](Call(operation, operands, order, contract))
            for output, coefficients in zip(operation.outputs, made, strict=True):
                if coefficients is None or output.ref() not in self._active:
                    continue
                if collapsed:
                    sums = _summed(coefficients[-1], contract)
                    last = last if sums is None else last + sums
                    coefficients = [*coefficients[:-1], None]  # noqa: PLW2901 - without what is added
                if any(c is not None for c in coefficients):
                    series[output.ref()] = [output, *coefficients]
        return self._of_function(series, count, order, samples, last if collapsed else None)

    def _contracts(self, orders: Sequence[Order | None]) -> dict[Any, Contract]:
        tf = tensorflow()
        contracts: dict[Any, Contract] = {}
        for output, slope, order in zip(self.bent, self.slopes(), orders, strict=True):
            if order is None:
                continue
            flat = by_sample(order, slope)

            def contract(weight: Any, left: Any, right: Any, order: Order = order, flat: Any = flat) -> Any:
                weights = flat if weight is None else by_sample(order, weight) * flat
                product = left if right is None else left * right
                return tf.einsum("dns,ns->dn", by_sample(order, product, 1), weights)

            contracts[output.ref()] = contract
        return contracts

    def _of_function(self, series: Mapping[Any, Series], count: int, order: int, samples: int, last: Any) -> Any:
        """From o and ∂f/∂o as series: f_k = Σ_j j ⟨s_{k−j}, o_j⟩ / k."""
        tf = tensorflow()
        output = series.get(self._output.ref(), [None] * (order + 1))
        slope = [self._slope, *series.get(self._slope.ref(), [None] * (order + 1))[1:]]
        by_order = []
        for k in range(1, order + 1):
            terms: Coefficients = [tf.zeros([count, samples], self._output.dtype)]
            for j in range(1, k + 1):
                first, second = slope[k - j], output[j]
                if first is not None and second is not None:
                    product = tf.reshape(first * second, [count, samples, -1])
                    terms.append((j / k) * tf.reduce_sum(product, axis=2))
            if k == order and last is not None:
                terms.append(last)
            by_order.append(factorial(k) * tf.add_n(terms))
        return tf.stack(by_order, axis=2)


def _dropped(*_: Any) -> None:
    """F does not depend on it."""


def _summed(coefficient: Any, contract: Callable[..., Any] | None) -> Any:
    """What an operation adds to the last coefficient of f."""
    if coefficient is None:
        return None
    if isinstance(coefficient, Summed):
        return coefficient.sums
    return None if contract is None else contract(None, coefficient, None)


def _in_order(ends: Sequence[Any], starts: Sequence[Any]) -> list[Any]:
    """The operations between, each after what it reads."""
    behind = {one.op for one in starts}
    order: list[Any] = []
    done: set[Any] = set()
    stack = [(end.op, False) for end in reversed(ends)]
    while stack:
        operation, expanded = stack.pop()
        if expanded:
            order.append(operation)
        elif operation not in done and operation not in behind:
            done.add(operation)
            stack.append((operation, True))
            stack.extend((one.op, False) for one in operation.inputs if one.op not in done)
    return order
