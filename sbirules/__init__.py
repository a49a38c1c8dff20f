"""Simulation-based inference over families of synaptic plasticity rules.

    import sbirules as sr
    from sbirules.simulators import RateRNN
    from sbirules.priors import uniform

sbi, zuko, ArviZ and pyro are imported when they are used.
"""

import sys as _sys
from importlib.metadata import version as _version

import sbirules.support.installed as _installed  # noqa: F401 - first, before anything comes from elsewhere
from sbirules import figures
from sbirules.checks import references as reference
from sbirules.checks.calibrating import Calibration, calibrate
from sbirules.checks.checking import check
from sbirules.checks.choice_recovery import ChoiceRecovery
from sbirules.checks.collected import Checks
from sbirules.checks.family_recovery import FamilyRecovery, recover_families
from sbirules.checks.overlap import PosteriorComparison, compare_posteriors
from sbirules.checks.recovering import recover
from sbirules.checks.recovery import Recovery
from sbirules.importance.overview import Sensitivity, sensitivity
from sbirules.inference.choice_families import ChoiceComparison
from sbirules.inference.comparing_families import compare_families
from sbirules.inference.estimators import LikelihoodSettings, NPESettings
from sbirules.inference.families import FamilyComparison
from sbirules.inference.fitting import fit
from sbirules.inference.posterior import Posterior
from sbirules.inference.questions import (
    ChoicesCheck,
    ConstraintCheck,
    ObservationCheck,
    Question,
    RecordingsCheck,
    SessionsCheck,
    TrialsCheck,
)
from sbirules.inference.recording_families import RecordingComparison
from sbirules.inference.rounds.filtering import FilterRound, RuleFilter, filter_rules
from sbirules.inference.rounds.recalibrating import recalibrate
from sbirules.inference.rounds.refining import refine
from sbirules.inference.session_families import LawComparison
from sbirules.inference.session_forecasts import SessionForecast, choose_session, forecast_sessions
from sbirules.model import summaries, tasks
from sbirules.model.choices import ChoiceColumns
from sbirules.model.constraints import Constraints
from sbirules.model.curves import CurveBand
from sbirules.model.fields import Field, Layout
from sbirules.model.recording_summary import RecordingsSummary
from sbirules.model.recordings import Recordings
from sbirules.model.rules import (
    BCM,
    Backpropagation,
    BCMLaw,
    Coefficient,
    Covariance,
    DriftLaw,
    FeedbackAlignment,
    HebbianLaw,
    HebbianLayer,
    LatentLaw,
    Law,
    LayeredRule,
    LocalRule,
    MLPRule,
    MotifCircuit,
    NodePerturbation,
    Oja,
    OjaLaw,
    OjaLayer,
    PolicyRule,
    PolynomialRule,
    RuleFamily,
    SpikePairRule,
    SpikeRule,
    TaylorRule,
    ThreeFactorRule,
    TripletRule,
    vogels2011,
)
from sbirules.model.runs import Recording, Status, Trajectory
from sbirules.model.session_scales import SessionScales
from sbirules.model.session_summary import SessionsSummary
from sbirules.model.sessions import Sessions
from sbirules.model.simulator import Simulator
from sbirules.model.spikes import SpikeTrains
from sbirules.model.structures import ExpressionRule, RuleGrammar, Structure, TraceExpression, parse_structure
from sbirules.model.summaries import Summary, summary
from sbirules.model.table_summary import TrialsSummary
from sbirules.model.tables import Trials
from sbirules.model.tasks import Task, TrialTensors
from sbirules.model.verdicts import Verdict
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.optimise.bptl import BPTL
from sbirules.optimise.comparing import PointComparison, compare_point
from sbirules.optimise.learning_regimes import Regimes, regimes
from sbirules.optimise.points import PointEstimate
from sbirules.reporting.searches import report_search
from sbirules.reporting.writing import report
from sbirules.samplers.smc import SamplerSettings
from sbirules.searches.learning import LearningProblem
from sbirules.searches.problems import ChoiceProblem, OwnProblem, Problem
from sbirules.searches.result import StructureSearch
from sbirules.searches.searching import search
from sbirules.stores.filling import simulate
from sbirules.stores.merging import merge
from sbirules.stores.store import SimulationStore
from sbirules.studies.study import Study

__version__ = _version("sbirules")

# modules among the public names can be imported from by that name, too: from sbirules.tasks import DelayedDiscrimination
for _module in (reference, summaries, tasks):
    _sys.modules[f"{__name__}.{_module.__name__.rsplit('.', 1)[-1].replace('references', 'reference')}"] = _module

__all__ = [
    "BCM",
    "BPTL",
    "BCMLaw",
    "Backpropagation",
    "Calibration",
    "Checks",
    "ChoiceColumns",
    "ChoiceComparison",
    "ChoiceProblem",
    "ChoiceRecovery",
    "ChoicesCheck",
    "Coefficient",
    "ConstraintCheck",
    "Constraints",
    "Covariance",
    "CurveBand",
    "DriftLaw",
    "EnsembleSettings",
    "ExpressionRule",
    "FamilyComparison",
    "FamilyRecovery",
    "FeedbackAlignment",
    "Field",
    "FilterRound",
    "HebbianLaw",
    "HebbianLayer",
    "LatentLaw",
    "Law",
    "LawComparison",
    "LayeredRule",
    "Layout",
    "LearningProblem",
    "LikelihoodSettings",
    "LocalRule",
    "MLPRule",
    "MotifCircuit",
    "NPESettings",
    "NodePerturbation",
    "ObservationCheck",
    "Oja",
    "OjaLaw",
    "OjaLayer",
    "OwnProblem",
    "PointComparison",
    "PointEstimate",
    "PolicyRule",
    "PolynomialRule",
    "Posterior",
    "PosteriorComparison",
    "Problem",
    "Question",
    "Recording",
    "RecordingComparison",
    "Recordings",
    "RecordingsCheck",
    "RecordingsSummary",
    "Recovery",
    "Regimes",
    "RuleFamily",
    "RuleFilter",
    "RuleGrammar",
    "SamplerSettings",
    "Sensitivity",
    "SessionForecast",
    "SessionScales",
    "Sessions",
    "SessionsCheck",
    "SessionsSummary",
    "SimulationStore",
    "Simulator",
    "SpikePairRule",
    "SpikeRule",
    "SpikeTrains",
    "Status",
    "Structure",
    "StructureSearch",
    "Study",
    "Summary",
    "Task",
    "TaylorRule",
    "ThreeFactorRule",
    "TraceExpression",
    "Trajectory",
    "TrialTensors",
    "Trials",
    "TrialsCheck",
    "TrialsSummary",
    "TripletRule",
    "Verdict",
    "calibrate",
    "check",
    "choose_session",
    "compare_families",
    "compare_point",
    "compare_posteriors",
    "figures",
    "filter_rules",
    "fit",
    "forecast_sessions",
    "merge",
    "parse_structure",
    "recalibrate",
    "recover",
    "recover_families",
    "reference",
    "refine",
    "regimes",
    "report",
    "report_search",
    "search",
    "sensitivity",
    "simulate",
    "summaries",
    "summary",
    "tasks",
    "vogels2011",
]
