"""Kinds of questions, and the table of them: what `fit`, `check`, files and study files can ask."""

from sbirules.inference.questions.base import Fitted, Predictive, Question
from sbirules.inference.questions.choice_checks import ChoicesCheck
from sbirules.inference.questions.choices import ChoicesQuestion
from sbirules.inference.questions.constraints import ConstraintsQuestion
from sbirules.inference.questions.fresh import Fresh, FreshData, Resimulation
from sbirules.inference.questions.learners import LearnersQuestion
from sbirules.inference.questions.learning import TrialsCheck
from sbirules.inference.questions.observation import ObservationCheck, ObservationQuestion
from sbirules.inference.questions.recording_checks import RecordingsCheck
from sbirules.inference.questions.recordings import RecordingsQuestion
from sbirules.inference.questions.session_checks import SessionsCheck
from sbirules.inference.questions.session_laws import SessionsQuestion
from sbirules.inference.questions.success import ConstraintCheck
from sbirules.inference.questions.tables import TableQuestion

__all__ = [
    "QUESTIONS",
    "ChoicesCheck",
    "ChoicesQuestion",
    "ConstraintCheck",
    "ConstraintsQuestion",
    "Fitted",
    "Fresh",
    "FreshData",
    "LearnersQuestion",
    "ObservationCheck",
    "ObservationQuestion",
    "Predictive",
    "Question",
    "RecordingsCheck",
    "RecordingsQuestion",
    "Resimulation",
    "SessionsCheck",
    "SessionsQuestion",
    "TableQuestion",
    "TrialsCheck",
]

QUESTIONS: dict[str, type[Question]] = {
    kind.kind: kind
    for kind in (
        ConstraintsQuestion,
        LearnersQuestion,
        ChoicesQuestion,
        RecordingsQuestion,
        SessionsQuestion,
        ObservationQuestion,
    )
}
