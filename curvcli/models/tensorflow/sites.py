"""Where the parameters enter a flat graph, and the operation each of them is linear in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from curvcli.models.base import Site, Uses
from curvcli.models.data_loss import DataLoss
from curvcli.models.sites import linear_site
from curvcli.models.tensorflow.bends import bent_by, tensors_after
from curvcli.models.tensorflow.confirm import NOT_CONFIRMED, Located, not_confirmed, numbered, weight_of
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.graph import Entry, full
from curvcli.models.tensorflow.operations import readable
from curvcli.models.tensorflow.rules import Context, data_operand, linear_use
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.shapes import Measured, changing, measure
from curvcli.models.tensorflow.uses import output_of, sums_of

Mixed = Callable[[tuple[str, ...]], list[str]]


def read_sites(
    forward: Forward, data_loss: DataLoss, located: dict[str, Located], names: Sequence[str], samples: int, mixed: Mixed
) -> dict[str, Site]:
    """Where each parameter enters; one pass over the first batch tells the shapes, one or two the rows' order.

    Args:
        forward: runs the graph.
        data_loss: for its data.
        located: the canonical forms; added to.
        names: of the parameters.
        samples: of the first batch.
        mixed: of some parameters, those of whose z some row is reached from another sample's output.
    """
    sites: dict[str, Site] = {}
    single: dict[str, Entry] = {}
    several: dict[str, list[str]] = {}
    live = forward.reader.live(forward.output)
    for name in names:
        entries = forward.reader.entries(name, live)
        if not forward.reader.reached(name, live):
            sites[name] = Site(name, reached=False)
        elif isinstance(entries, str):
            sites[name] = Site(name, reached=True, why_not=entries)
        elif not entries:
            sites[name] = Site(name, reached=True, why_not="it never meets the data")
        elif len(entries) > 1:
            sites[name] = Site(name, reached=True, why_not=f"it is used {len(entries)} times")
            if len({entry.node for entry in entries}) == len(entries):
                several[name] = [numbered(name, i) for i in range(len(entries))]
                single |= dict(zip(several[name], entries, strict=True))
        else:
            single[name] = entries[0]
    if not single:
        return sites
    numbers = {number for one in several.values() for number in one}
    nodes = list(dict.fromkeys(e.node for name, e in single.items() if name not in numbers))
    z = [f"{e.node}:0" for e in single.values()]
    data = [full(data_operand(forward.reader, e)) for e in single.values()]
    chains = {part: sums_of(forward.reader, single[part].node, live) for parts in several.values() for part in parts}
    sums = [f"{name}:0" for chain in chains.values() for name in chain]
    wanted = dict.fromkeys((*z, *data, *sums, *tensors_after(forward, nodes)))
    measured = measure(forward, list(wanted), data_loss.first_batch())
    around = {tensor: measured[tensor] for tensor in (*z, *data)}
    why_not = _unsuited(forward, single, measured, changing(forward, data_loss.batches(), around, z))
    bent = bent_by(forward, nodes, measured)
    first = dict(zip(nodes, [after.first for after in bent.after], strict=True))
    bends = dict(zip(nodes, bent.bends(samples), strict=True))
    suited = {name: entry for name, entry in single.items() if name not in why_not}
    why_not |= _locate(forward, located, suited, measured, samples, mixed)
    for name, parts in several.items():
        if not why_not.keys() & set(parts):
            for part in parts:
                located[part] = replace(located[part], output=output_of(chains[part], measured))
            sites[name] = replace(sites[name], uses=_uses([located[part] for part in parts]))
    for name, entry in single.items():
        if name in numbers:
            continue
        operation = forward.reader.nodes[entry.node].op
        if name in why_not:
            sites[name] = Site(name, reached=True, why_not=why_not[name], operation=operation)
            continue
        bending = first[entry.node]
        blocker = None if bending is None else readable(forward.reader.nodes[bending].op)
        layout = located[name].use.layout
        sites[name] = linear_site(name, entry.node, operation, layout, blocker=blocker, bends=bends[entry.node])
    return sites


def _uses(located: Sequence[Located]) -> Uses:
    layouts = [one.use.layout for one in located]
    places = sorted(one.output for one in located)
    return Uses("|".join(places), sum(layout.channels * layout.positions for layout in layouts))


def _unsuited(
    forward: Forward, entries: Mapping[str, Entry], measured: Mapping[str, Measured], changing: Set[str]
) -> dict[str, str]:
    """The parameters whose z no canonical form can describe, and why."""
    why_not = {}
    for name, entry in entries.items():
        z, data = f"{entry.node}:0", full(data_operand(forward.reader, entry))
        dtype = tensorflow().as_dtype(measured[z].dtype)
        if changing & {z, data}:
            why_not[name] = "its output's shape depends on the data"
        elif dtype != forward.dtype:
            why_not[name] = f"its output is {dtype.name}"
    return why_not


def _locate(
    forward: Forward,
    located: dict[str, Located],
    entries: Mapping[str, Entry],
    measured: Mapping[str, Measured],
    samples: int,
    mixed: Mixed,
) -> dict[str, str]:
    """Find the canonical forms and how the rows of each z belong to samples; returns what has none, and why."""
    why_not: dict[str, str] = {}
    operands = {name: full(data_operand(forward.reader, entry)) for name, entry in entries.items()}
    contexts = {
        name: Context(
            forward.reader,
            entry,
            tuple(int(n) for n in forward.weights[weight_of(name)].shape),
            measured[f"{entry.node}:0"].shape,
            measured[operands[name]].shape,
            samples,
            interleaved=False,
        )
        for name, entry in entries.items()
    }
    open_names = list(entries)
    for interleaved in (False, True):
        if not open_names:
            break
        for name in open_names:
            use = linear_use(replace(contexts[name], interleaved=interleaved))
            if isinstance(use, str):
                why_not[name] = use
            else:
                located[name] = Located(entries[name], use)
        # All together: in a deep network it is tracing the graph that takes time.
        open_names = mixed(tuple(name for name in open_names if name not in why_not))
    for name in open_names:
        del located[name]
        why_not[name] = "samples influence each other between it and the loss"
    left = {name: located[name] for name in entries if name not in why_not}
    for name in not_confirmed(forward, left, {n: measured[operands[n]] for n in left}, samples):
        del located[name]
        why_not[name] = NOT_CONFIRMED
    return why_not
