"""Kinds of questions, and the table of them: what `fit`, `check`, files and study files can ask."""

from sbirules.inference.questions.base import Fitted, Fresh, FreshData, Predictive, Question, Resimulation
from sbirules.inference.questions.constraints import ConstraintsQuestion
from sbirules.inference.questions.learners import LearnersQuestion
from sbirules.inference.questions.learning import TrialsCheck
from sbirules.inference.questions.observation import ObservationCheck, ObservationQuestion
from sbirules.inference.questions.success import ConstraintCheck

__all__ = [
    "QUESTIONS",
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
    "Resimulation",
    "TrialsCheck",
]

QUESTIONS: dict[str, type[Question]] = {
    kind.kind: kind for kind in (ConstraintsQuestion, LearnersQuestion, ObservationQuestion)
}
