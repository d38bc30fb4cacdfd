"""What a torch program returns for a batch: every output with the softmax or sigmoid that it comes from."""

from __future__ import annotations

from curvcli.data.interface import Batch
from curvcli.models.returned import Returned, class_axes
from curvcli.models.torch import bus
from curvcli.models.torch.final import final_of_graph, final_of_program
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.parameters import Parameters
from curvcli.models.torch.program import Program


def returned_by(program: Program, parameters: Parameters, where: str, batch: Batch) -> tuple[Returned, ...]:
    """All outputs, in the model's order.

    Raises:
        DataError: the data do not fit the model.
        ModelError: the forward pass fails, or returns no tensors.
    """
    parameters.require(list(parameters))
    forward = Forward(program, parameters, None, where)
    arguments = forward.tensors(batch)
    outputs = forward.outputs(arguments)
    all_outputs = []
    for name, tensor in outputs.items():
        one = Forward(program, parameters, name if len(outputs) > 1 else None, where)
        finals = {}
        for axis in class_axes(tuple(tensor.shape)):
            cut = final_of_program(one, arguments, axis)
            final = final_of_graph(tensor, axis) if cut is None else cut.name
            if final is not None:
                finals[axis] = final
        all_outputs.append(Returned(name, bus.to_host(tensor), finals))
    return tuple(all_outputs)
