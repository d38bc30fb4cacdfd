"""``open_model``, for paths and for what is in memory."""

from __future__ import annotations

from curvcli.api.live import AnyData, AnyModel, Loss, open_live
from curvcli.api.model import Model
from curvcli.api.turn import IN_PYTHON, TURN


def open_model(
    model: AnyModel,
    device: str = "cpu",
    dtype: str = "float32",
    *,
    data: AnyData | None = None,
    loss: Loss | None = None,
    threads: int | None = None,
    signature: str | None = None,
    tag_set: str | None = None,
) -> Model:
    """Open a saved model, or one in memory, as it is now: a copy is saved in a temporary folder and opened like a file.

    Nothing of a saved model is executed but its graph. A model in memory is exported in inference mode and left as it
    was; what is trained afterwards is not seen, so open it again.

    Args:
        model: the path of a torch.export archive (.pt2), a TensorFlow SavedModel directory, a Keras file or a
            TorchScript file; or a ``torch.nn.Module``, what ``torch.export.export`` or ``torch.jit.script`` returned,
            a Keras model or a ``tf.Module``.
        device: ``cpu``, ``cuda``, ``cuda:1`` ….
        dtype: ``float32`` or ``float64``: the whole model is converted.
        data: the path of a dataset spec; or samples in memory: ``(x, y)`` or ``(x, y, weight)`` of arrays or tensors,
            x a tuple or a dict of them if the model has several inputs; a dict with the targets as ``labels`` or ``y``;
            a torch ``DataLoader`` or ``Dataset``, a ``tf.data.Dataset``, or another iterable of batches. They are
            copied into a temporary file. A ``torch.nn.Module`` needs them: torch.export is shown a few samples.
        loss: of samples in memory: its name, such as ``cross_entropy``, ``bce`` or ``mse``, or a dict of a dataset
            spec's ``[loss]``: ``{"name": "cross_entropy", "label_smoothing": 0.1}``. Logits or probabilities are told
            apart by the model's graph. Without targets: ``output``, the model's own loss.
        threads: to compute on in calls with this model; see `diagonal`.
        signature: of a SavedModel that has several; its only one, or ``serving_default``, if None.
        tag_set: the tags of one graph of a SavedModel that has several, with commas between; its only one, or
            ``serve``, if None.

    Raises:
        UsageError: a wrong path or device, the framework is not installed, or data do not go with the model.
        DataError: samples that are no numbers, or not as many x as y.
        ModelError: the file can't be opened, or the object can't be saved.

    Example:
        >>> import curvcli
        >>> model = curvcli.open_model("sample_models/mlp_tanh.pt")
        >>> [layer.name for layer in model.layers]
        ['fc1', 'norm', 'fc2', 'fc3']
        >>> model.values("fc1.weight").shape
        (32, 64)
    """
    with IN_PYTHON, TURN:
        how = {
            "device": str(device),
            "dtype": dtype,
            "threads": threads,
            "signature": signature,
            "tag_set": tag_set,
        }
        return open_live(model, how, data, loss)
