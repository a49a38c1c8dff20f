"""Models of choice without a plasticity rule, beside which a rule is shown: "needed" only if it predicts better.

Their table is in `catalogue`: some are compiled, which is slow to import.
"""

from .base import Baseline

__all__ = ["Baseline"]
