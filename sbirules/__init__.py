"""Simulation-based inference over families of synaptic plasticity rules.

    import sbirules as sr
    from sbirules.simulators import RateRNN
    from sbirules.priors import uniform

sbi, zuko, ArviZ and pyro are imported when they are used.
"""

from sbirules import figures, reference, summaries, tasks
from sbirules.amortised import NPESettings
from sbirules.bptl import BPTL
from sbirules.calibration import Calibration, calibrate
from sbirules.check import check
from sbirules.compare_point import PointComparison, compare_point
from sbirules.constraints import Constraints
from sbirules.ensemble import EnsembleSettings
from sbirules.families import FamilyComparison, compare_families
from sbirules.filtering import FilterRound, RuleFilter, filter_rules
from sbirules.fit import fit
from sbirules.likelihood import LikelihoodSettings
from sbirules.merge import merge
from sbirules.point import PointEstimate
from sbirules.polynomial import PolynomialRule
from sbirules.posterior import Posterior
from sbirules.recover import Recovery, recover
from sbirules.recover_families import FamilyRecovery, recover_families
from sbirules.refine import refine
from sbirules.regimes import Regimes, regimes
from sbirules.report import report
from sbirules.resimulation import ConstraintCheck, CurveBand, ObservationCheck, TrialsCheck
from sbirules.rules import Coefficient, RuleFamily
from sbirules.sensitivity import Sensitivity, sensitivity
from sbirules.simulate import simulate
from sbirules.simulator import Simulator
from sbirules.smc import SamplerSettings
from sbirules.store import SimulationStore
from sbirules.study import Study
from sbirules.summaries import Summary, summary
from sbirules.task import Task, TrialTensors
from sbirules.trajectory import Recording, Status, Trajectory
from sbirules.trials import Trials
from sbirules.verdicts import Checks, Verdict

__version__ = "0.1.0"

__all__ = [
    "BPTL",
    "Calibration",
    "Checks",
    "Coefficient",
    "ConstraintCheck",
    "Constraints",
    "CurveBand",
    "EnsembleSettings",
    "FamilyComparison",
    "FamilyRecovery",
    "FilterRound",
    "LikelihoodSettings",
    "NPESettings",
    "ObservationCheck",
    "PointComparison",
    "PointEstimate",
    "PolynomialRule",
    "Posterior",
    "Recording",
    "Recovery",
    "Regimes",
    "RuleFamily",
    "RuleFilter",
    "SamplerSettings",
    "Sensitivity",
    "SimulationStore",
    "Simulator",
    "Status",
    "Study",
    "Summary",
    "Task",
    "Trajectory",
    "TrialTensors",
    "Trials",
    "TrialsCheck",
    "Verdict",
    "calibrate",
    "check",
    "compare_families",
    "compare_point",
    "figures",
    "filter_rules",
    "fit",
    "merge",
    "recover",
    "recover_families",
    "reference",
    "refine",
    "regimes",
    "report",
    "sensitivity",
    "simulate",
    "summaries",
    "summary",
    "tasks",
]
