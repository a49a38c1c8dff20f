"""Tasks: what one is, and the table that study files, `sbirules list` and documentation read."""

from collections.abc import Callable

from sbirules.model.tasks.catalogue import DelayedDiscrimination, DelayedNonMatchToSample, SelectiveIntegration
from sbirules.model.tasks.choice import ChoiceTask
from sbirules.model.tasks.choice_replayed import Replayed
from sbirules.model.tasks.gymnasium_task import GymnasiumTask
from sbirules.model.tasks.labelled import LabelledStimuli
from sbirules.model.tasks.task import Task, TrialTensors, steps_of

__all__ = [
    "TASKS",
    "ChoiceTask",
    "DelayedDiscrimination",
    "DelayedNonMatchToSample",
    "GymnasiumTask",
    "LabelledStimuli",
    "Replayed",
    "SelectiveIntegration",
    "Task",
    "TrialTensors",
    "steps_of",
]

TASKS: dict[str, Callable[..., Task]] = {
    "choice": ChoiceTask,
    "delayed_discrimination": DelayedDiscrimination,
    "delayed_non_match_to_sample": DelayedNonMatchToSample,
    "labelled_stimuli": LabelledStimuli,
    "selective_integration": SelectiveIntegration,
}
