"""Before any work: does the model give the same answer twice, and each sample's whatever its company?"""

from __future__ import annotations

import numpy as np

from curvcli.analysis.progress import Voice
from curvcli.analysis.session import Session
from curvcli.curvature.repeatability import largest_difference
from curvcli.errors import ModelError
from curvcli.wording import option

# Classes that are named where a random subset misses them.
_NAMED = 5


def is_deterministic(session: Session, voice: Voice, *, allow_random: bool) -> bool:
    """Whether equal passes gave equal results; False only where that is allowed.

    Raises:
        ModelError: they did not, and it is not; or a batch norm makes each answer depend on the batch.
    """
    objective, where = session.objective, session.path
    if objective.uncompared is not None:
        voice.warn(
            f"{where} does not run here as it was saved ({objective.uncompared}): what is computed is its graph "
            "written out in other operations, which could not be compared with it"
        )
    if objective.widened:
        voice.warn(
            f"{where} rounds to 16 bits on its way; here all is computed in {session.dtype}, and differs by that"
        )
    if objective.caveat is not None:
        voice.warn(f"{where}: {objective.caveat}")
    if objective.undecided is not None:
        voice.warn(f"{session.loaded.path.name}: {objective.undecided}")
    if missed := _missed_classes(session):
        voice.note(missed)
    names = [p.name for one in session.model.layers for p in one.parameters]
    apart = largest_difference(objective, names, session.dtype)
    suspects = ", ".join(objective.random)
    if apart and not allow_random:
        reason = f"its graph has {suspects}" if suspects else "does it draw random numbers?"
        raise ModelError(
            f"{where}: two passes over the same data differ by {apart:.2g} of the largest number: {reason}.\n"
            "Save it in inference mode (model.eval() before tracing or exporting); "
            f"{option('allow_random', True)} computes it as it is, and calls nothing exact."
        )
    if apart:
        voice.warn(f"{where} draws random numbers ({suspects or 'for an unknown reason'}): nothing is called exact")
        return False
    if objective.samples_interact():
        if objective.batch_statistics:
            raise ModelError(
                f"{where}: a batch norm uses the statistics of the batch, so that a sample's answer depends on the "
                "others.\nSave the model in inference mode: model.eval() before torch.jit.trace or script; in Keras "
                "model.export, or training=False."
            )
        voice.warn(
            f"{where}: a sample's output depends on the other samples of its batch: the loss is that of batches of "
            f"{objective.batch_size}, and changes with {option('batch_size')}"
        )
    return True


def _missed_classes(session: Session) -> str:
    """What a person should know of a random subset without some of the classes; empty where there is nothing."""
    samples, classes = session.samples, session.objective.classes
    targets = samples.targets()
    if classes is None or targets is None or targets.size != len(samples) or len(samples) == samples.available:
        return ""
    missed = np.setdiff1d(np.arange(classes), targets)
    if not len(missed):
        return ""
    names = ", ".join(map(str, missed[:_NAMED])) + (", …" if len(missed) > _NAMED else "")
    advice = "" if session.loaded.spec.sampling.stratify else f"; {option('stratify', True)} keeps the classes' shares"
    return (
        f"of {classes} classes the random subset of {len(samples)} samples has none of {len(missed)} ({names}){advice}"
    )
