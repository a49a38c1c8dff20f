"""The figures of a report, by section, each with a caption; drawn only when asked for."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from sbirules import figures
from sbirules.checks.collected import Checks
from sbirules.importance import Sensitivity
from sbirules.inference.animals import AnimalDraws
from sbirules.inference.choice_families import ChoiceComparison
from sbirules.inference.parts import clear_of_zero
from sbirules.inference.posterior import Posterior
from sbirules.model.prior import Sparse
from sbirules.model.simulator import Simulator
from sbirules.optimise.comparing import PointComparison
from sbirules.reporting.downloads import svg_of, table_of
from sbirules.reporting.spikes import spike_figures
from sbirules.reporting.tables import apart_of, unit_of
from sbirules.support.files import make_folder, write_bytes

PREDICTIONS, DISTRIBUTION, TRUST, MACHINERY = (
    "Does it predict?",
    "The distribution over rules",
    "Can it be trusted?",
    "How it was learned",
)
OF_MACHINERY = ("training", "simulations", "sampler")  # checks that are about how the posterior was made
OF_TRUST = ("calibration", "coverage", "misspecification")
WIDE = 480  # pixels of a page, above which a picture may have a narrow form

__all__ = [
    "DISTRIBUTION",
    "MACHINERY",
    "PREDICTIONS",
    "TRUST",
    "ReportFigure",
    "drawable",
    "make_figures",
    "slug",
    "write_figures",
]


@dataclass(frozen=True)
class ReportFigure:
    """One figure.

    Arguments:
        name: File name without its ending.
        group: Section of the report.
        draw: Draws it and returns axes, or an array of them.
        caption: What it shows, with numbers.
    """

    name: str
    group: str
    draw: Callable[[], Any]
    caption: str

    @cached_property
    def _figure(self) -> Any:
        """Drawn for light pages."""
        with figures.theme():
            return _settled(figure_of(self.draw()))

    @cached_property
    def light(self) -> bytes:
        """As a PNG for light pages."""
        with figures.theme():
            return _png_of(self._figure)

    @cached_property
    def svg(self) -> bytes:
        """As an SVG for light pages, its text as text."""
        with figures.theme():
            return svg_of(self._figure)

    @cached_property
    def table(self) -> bytes:
        """What is drawn, as CSV."""
        return table_of(self._figure)

    @cached_property
    def dark(self) -> bytes:
        """As a PNG for dark pages."""
        return self._png(dark=True)

    @cached_property
    def narrow(self) -> tuple[bytes, ...]:
        """As PNGs for narrow pages, light and dark, where panels can stand below each other; empty where they need not."""
        if self.width(self.light) <= WIDE:
            return ()
        made = self._png(dark=False, narrow=True)
        return (made, self._png(dark=True, narrow=True)) if self.width(made) < self.width(self.light) else ()

    @staticmethod
    def width(png: bytes) -> int:
        """Of a picture, in the pixels of a page."""
        return int.from_bytes(png[16:20], "big") * 96 // 130  # figures have 130 dots per inch, pages 96

    def _png(self, dark: bool, narrow: bool = False) -> bytes:
        with figures.theme(dark=dark, narrow=narrow):
            return _png_of(_settled(figure_of(self.draw())))


def _settled(figure: Any) -> Any:
    """Its panels where the layout puts them, for good: matplotlib would lay it out and draw it twice each time it is saved."""
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    return figure


def _png_of(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def make_figures(
    posterior: Posterior,
    simulator: Simulator,
    checked: Checks | None = None,
    sensitivity: Sensitivity | None = None,
    bridge: PointComparison | None = None,
    compared: ChoiceComparison | None = None,
) -> list[ReportFigure]:
    """All figures that there is something to show in."""
    out: list[ReportFigure] = []
    apart, units = apart_of(simulator), unit_of(simulator)

    def add(name: str, group: str, draw: Callable[[], Any], caption: str) -> None:
        out.append(ReportFigure(name, group, draw, caption))

    group = PREDICTIONS
    if checked is not None:
        for name, (draw, caption) in checked.figures().items():
            add(slug(name), MACHINERY if name in OF_MACHINERY else TRUST if name in OF_TRUST else group, draw, caption)
        if checked.question is not None and checked.resimulation is not None:
            for name, draw, caption in checked.question.figures(checked.resimulation, simulator):
                add(name, group, draw, caption)
    for name, draw, caption in spike_figures(posterior, simulator):
        add(name, group, draw, caption)
    if compared is not None:
        add(
            "baselines",
            group,
            compared.figure,
            f"Share of a coin's deviance explained: a point for each animal, a line at the median. {compared.plasticity}",
        )
    group = DISTRIBUTION
    if all(n.startswith("theta_") and n[6:].isdigit() and len(n) == 8 for n in posterior.names[:1]):
        add(
            "rule",
            group,
            lambda: figures.rule_matrix(posterior),
            f"Coefficients as a matrix: rows are powers of the presynaptic rate, columns of the postsynaptic deviation. "
            f"{_clear(posterior)}",
        )
    mixed = any(p.log for p in simulator.parameters if p.name in apart)  # of scales that no one axis shows
    add(
        "marginals",
        group,
        lambda: figures.marginals(posterior, apart=apart, units=units, as_shares=mixed),
        "Posterior of each coefficient: mean, 50 % and 95 % interval; the prior's 95 % interval in grey."
        + (f" Below: {figures.NOT_RULE}." if apart else ""),
    )
    differ = posterior.of_animals
    if differ is not None:
        rule = tuple(name for name in posterior.names if name not in apart)
        for name, shown, what in (("forest", rule, "the rule"), ("forest_policy", apart, figures.NOT_RULE)):
            if shown:
                add(
                    name,
                    group,
                    partial(_forest, differ, posterior.names, shown),
                    f"Coefficients by animal ({what}): mean and 95 % interval; the centre of the population in orange, where "
                    f"they are pooled.",
                )
    if isinstance(posterior.prior, Sparse):
        add(
            "inclusion",
            group,
            lambda: figures.inclusion(posterior),
            "Probability that each term is present, beside the prior's.",
        )
    if len(posterior.names) > 1:
        add(
            "pairs",
            group,
            lambda: figures.pairs(posterior, units=units),
            "Coefficients whose posterior differs most from the prior, one by one and in pairs (r: correlation).",
        )
        add(
            "correlations",
            group,
            lambda: figures.correlations(posterior),
            f"Posterior correlations: strongly correlated coefficients can stand in for each other. {_strongest(posterior)}",
        )
    if posterior.predicted_success(posterior.draws[:1]) is not None and len(posterior.names) > 1:
        first, second = (posterior.names[k] for k in _two(posterior))
        add(
            "success_over",
            group,
            lambda: figures.success_over(posterior, first, second),
            f"Predicted probability that the constraints hold in one network, over {first} and {second}; the other "
            f"coefficients at the rule of highest density.",
        )
    if bridge is not None:
        add(
            "bridge",
            "The optimised rule",
            lambda: figures.pairs(posterior, points=bridge.ends, units=units),
            f"End points of the optimiser (orange, the best filled) in the posterior: outside its "
            f"{100 * bridge.joint_level:.1f} % region of highest density.",
        )
    if sensitivity is not None:
        for name, (draw, caption) in sensitivity.figures().items():
            add(f"sensitivity_{name}", "Which coefficients matter", draw, caption)
    return out


def _forest(differ: AnimalDraws, names: Sequence[str], shown: Sequence[str]) -> Any:
    """Some of the coefficients by animal."""
    at = [list(names).index(name) for name in shown]
    centre = None if differ.centre is None else differ.centre[:, at]
    return figures.forest(differ.names, shown, differ.draws[:, :, at], centre)


def slug(name: str) -> str:
    """A name as a file and an anchor: letters, digits, _ and -."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")


def _clear(posterior: Posterior) -> str:
    """Which coefficients' 95 % interval excludes zero."""
    return f"The 95 % interval excludes zero for {', '.join(clear_of_zero(posterior)) or 'none'}."


def _strongest(posterior: Posterior) -> str:
    import torch

    r = torch.corrcoef(posterior.draws.double().T).fill_diagonal_(0.0)
    i, j = divmod(int(r.abs().argmax()), len(r))
    return f"The strongest: {posterior.names[i]} and {posterior.names[j]}, {float(r[i, j]):+.2f}."


def _two(posterior: Posterior) -> list[int]:
    two = figures.most_informed(posterior, 2)
    return two if len(two) == 2 else [0, 1]


def figure_of(drawn: Any) -> Any:
    """The matplotlib figure of what a figure function returned."""
    return drawn.figure if hasattr(drawn, "figure") else drawn.flat[0].figure


def drawable(made: list[ReportFigure]) -> list[ReportFigure]:
    """Those that can be drawn; the others are left out with a warning that says why, so that a report is written."""
    out = []
    for item in made:
        try:
            _ = item.light
        except (MemoryError, OSError):
            raise
        except Exception as error:
            warnings.warn(f"the figure {item.name} is left out: it cannot be drawn ({type(error).__name__}: {error}).")
        else:
            out.append(item)
    return out


def write_figures(made: list[ReportFigure], folder: Path) -> None:
    """Every figure in a folder: as PNG and SVG, and what is drawn in it as CSV."""
    make_folder(folder)
    for item in made:
        for ending, content in (("png", item.light), ("svg", item.svg), ("csv", item.table)):
            write_bytes(folder / f"{item.name}.{ending}", content)
