"""sbirules."""
from sbirules import tasks
from sbirules.polynomial import PolynomialRule
