"""The gradient in two parts at a layer's output, as a quantity of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from curvcli.analysis.options.quantities import SplitOptions
from curvcli.analysis.quantities.base import Piece, PlanRow, RunPlan, target_row, worst
from curvcli.analysis.targets import Target
from curvcli.curvature.pointwise.chain import ChainWork, Factor
from curvcli.curvature.work import OnStep
from curvcli.errors import ModelError, UsageError
from curvcli.files import size_text
from curvcli.models.base import Array, Objective
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.split import SplitPart, SplitRecord
from curvcli.wording import option, shell_option


class SplitPiece:
    """One layer's ``ChainWork`` as a piece (see ``Piece``)."""

    repeats = at_most = False

    def __init__(self, work: ChainWork, target: Target, run: RunPlan) -> None:
        """Look at the first batch, which tells z's shape and so the cost."""
        self.work = work
        self.key = f"split:{target.name}:{','.join(f.name for f in work.factors)}"
        self.title = f"{target.name}: split"
        self.targets: tuple[str, ...] = (target.name,)
        self._run = run
        next(work.batches(run.session.objective))
        size = int(np.prod(work.z_shape))
        whole = work.whole(self.samples)
        per_factor = {f.name: 1 + (size if f.name in whole else 1) for f in work.factors}
        self.passes_per_batch = 1 + sum(per_factor.values())
        self.passes = self.passes_per_batch * run.batches

    @property
    def samples(self) -> int:
        """As many as z has; a model that returns one number per batch makes the data one sample."""
        session = self._run.session
        return 1 if session.objective.scalar else len(session.samples)

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Do the rest; by the session's own objective, as nothing is gained from kept batches."""
        session = self._run.session
        self.work.run(session.objective, len(session.samples), on_step)

    def state(self) -> dict[str, Array]:
        """The work's."""
        return self.work.state()

    def restore(self, state: dict[str, Array]) -> int:
        """Give it back to the work."""
        return self.work.restore(state)

    def release(self) -> None:
        """Let go of the Jacobians."""
        del self.work


class SplitQuantity:
    """Both parts of the gradient for every target (see ``Quantity``)."""

    name = "split"

    def __init__(self, run: RunPlan, options: SplitOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            UsageError: ``by`` names nothing that the model has.
            ModelError: no layer has a single output.
        """
        self.options = options
        self._run = run
        self._pieces: dict[str, SplitPiece] = {}
        self._without_output: dict[str, ModelError] = {}
        for target in run.targets:
            try:
                self._pieces[target.name] = self._piece(target)
            except ModelError as error:
                self._without_output[target.name] = error
        if not self._pieces:
            raise next(iter(self._without_output.values()))
        self.pieces: Sequence[Piece] = list(self._pieces.values())
        run.pieces.update({piece.key: piece for piece in self.pieces})

    def _piece(self, target: Target) -> SplitPiece:
        work = ChainWork(target.block.names, self._factors(target), self.options.jacobian_limit)
        return SplitPiece(work, target, self._run)

    def _factors(self, target: Target) -> list[Factor]:
        own = {p.label: p for p in target.block.parameters}
        if not self.options.by:
            return [Factor(p.name, False, p.shape) for p in own.values()]
        session = self._run.session
        every = {p.name: p for layer in session.model.layers for p in layer.parameters}
        inputs = {name: self._input_shape(name) for name in session.objective.differentiable_inputs()}
        found = {}
        for name in self.options.by:
            parameter = own.get(name) or every.get(name)
            if parameter is not None and name in inputs:
                raise UsageError(
                    f"{option('by', name)}: both a parameter of {target.name} and an input; write {parameter.name}."
                )
            if parameter is not None:
                found[parameter.name] = Factor(parameter.name, False, parameter.shape)
            elif name in inputs:
                found[name] = Factor(name, True, inputs[name])
            else:
                known = ", ".join([*own, *inputs])
                raise UsageError(f"{option('by', name)}: {target.name} has {known}; another layer's by its full name.")
        return list(found.values())

    def _input_shape(self, name: str) -> tuple[int, ...]:
        session = self._run.session
        shape = session.samples.input_shapes[name]
        return (len(session.samples), *shape) if session.objective.scalar else shape

    def plan(self) -> list[PlanRow]:
        """One row per layer and factor; one for a layer without a single output."""
        rows = []
        for target in self._run.targets:
            if target.name in self._without_output:
                why = str(self._without_output[target.name])
                rows.append(target_row(self.name, target, "none", why, None, self._run.batches))
                continue
            piece = self._pieces[target.name]
            for factor in piece.work.factors:
                whole, reason = self._kept(piece, factor)
                rows.append(
                    PlanRow(
                        quantity=self.name,
                        layer=target.name,
                        parameter=self._label(target, factor),
                        kind=target.kind,
                        entries=int(np.prod(factor.shape)),
                        method="whole" if whole else "products",
                        passes=piece.passes_per_batch,
                        shared_by=len(piece.work.factors),
                        reason=reason,
                        work=piece.key,
                    )
                )
        return rows

    def _kept(self, piece: SplitPiece, factor: Factor) -> tuple[bool, str]:
        needed = size_text(piece.work.jacobian_bytes(factor, piece.samples))
        if factor.name in piece.work.whole(piece.samples):
            return True, f"the whole Jacobian takes {needed}"
        limit = size_text(self.options.jacobian_limit)
        return (
            False,
            f"the whole Jacobian would take {needed}, {shell_option('jacobian_limit')} is {limit} for all together",
        )

    @staticmethod
    def _label(target: Target, factor: Factor) -> str:
        own = {p.name: p.label for p in target.block.parameters}
        return own.get(factor.name, factor.name)

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a layer's split, or say why it has none."""
        if target.name in self._without_output:
            why = str(self._without_output[target.name])
            parameters = tuple(replace(p, reason=why, status="failed") for p in record.parameters)
            return replace(record, parameters=parameters, status="failed")
        session, piece = self._run.session, self._pieces[target.name]
        work, denominator = piece.work, session.objective.denominator
        kind = np.float64 if session.dtype == "float64" else np.float32
        delta = work.output_gradient(denominator)
        parts = []
        for factor in work.factors:
            _, reason = self._kept(piece, factor)
            product, gradient = work.product(factor, denominator), work.gradient(factor, denominator)
            rest, scale = np.linalg.norm(product - gradient), np.linalg.norm(gradient)
            jacobian = work.jacobian(factor)
            parts.append(
                SplitPart(
                    by=self._label(target, factor),
                    kind="input" if factor.is_input else "parameter",
                    shape=factor.shape,
                    jacobian=None if jacobian is None else jacobian.astype(kind),
                    kept="products" if jacobian is None else "whole",
                    reason=reason,
                    product=product.astype(kind),
                    gradient=gradient.astype(kind),
                    difference=float(np.abs(product - gradient).max(initial=0.0)),
                    relative_difference=float(rest / scale) if scale else float(np.inf if rest else 0.0),
                    passes=work.passes[factor.name],
                )
            )
        split = SplitRecord(
            operation=work.operation,
            z_shape=work.z_shape,
            z_axes=tuple(f"z_{i}" for i in range(len(work.z_shape))),
            output_gradient=delta.astype(kind),
            rows=np.asarray(session.samples.rows[: piece.samples], dtype=np.int64),
            parts=tuple(parts),
        )
        finite = np.isfinite(delta).all() and all(np.isfinite(part.product).all() for part in parts)
        return replace(record, split=split, status=worst(record.status, "done" if finite else "nonfinite"))
