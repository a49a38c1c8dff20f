"""`ChoiceTask`: trials of choices and rewards, in which simulated animals choose in closed loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from sbirules.model.tasks.choice_arguments import block_range
from sbirules.model.tasks.choice_rewards import ChoiceState, baited, block_lengths, next_block, picked, uniform, walked
from sbirules.model.tasks.choice_settings import ChoiceSettings
from sbirules.model.tasks.task import MOST, TrialTensors
from sbirules.support import arguments
from sbirules.support.typed import typed_class

__all__ = ["ChoiceTask", "check_choice", "check_decision"]


@typed_class
@dataclass(frozen=True)
class ChoiceTask(ChoiceSettings):
    """Trials of choices and rewards.

    All settings are plain, so that a study file can give them; `[task] name = "choice"` and:

    A table of choices whose rewards come from a world that is not known (the default): animals of it can be fitted, not
    simulated.

        options = ["left", "right"]

    A stationary bandit; the list has a probability for each option.

        reward = "bandit"
        probabilities = [0.8, 0.2]

    Reversals (two-armed bandits of mice, e.g. Beron et al. 2022): a list of contingencies, of which each holds for a block of
    60 to 100 trials.

        reward = "bandit"
        probabilities = [[0.8, 0.2], [0.2, 0.8]]
        block = [60, 100]

    Baits (Sugrue et al. 2004; Lau and Glimcher 2005): in each trial an option that has no reward waiting gets one, with its
    probability, which then waits until it is collected.

        reward = "baited"
        probabilities = [[0.3, 0.1], [0.1, 0.3]]
        block = [80, 120]

    A restless bandit (Daw et al. 2006): probabilities walk, `centre + decay (p - centre) + drift N(0, 1)`, reflected within
    `bounds`. The given probabilities are those of a session's first trial. Rewards are drawn with them: payoffs are not graded.

        reward = "restless"
        options = ["1", "2", "3", "4"]
        probabilities = [0.5, 0.5, 0.5, 0.5]
        drift = 0.028
        decay = 0.9836
        centre = 0.5

    A contingency of stimulus and option, go / no-go among them: one row for each label (of several stimuli with labels: rows
    within rows, in the order of `stimuli`), with a probability for each option.

        reward = "bandit"
        options = ["go", "no-go"]
        stimuli = {odour = ["A", "B"]}
        probabilities = [[0.9, 0.0], [0.0, 0.9]]

    Go / no-go as accepting or rejecting one offer after another: a probability for each label, got by accepting. What is
    rejected has no reward, and the next offer belongs to the same trial, up to `max_offers`.

        reward = "bandit"
        accept = true
        max_offers = 1
        stimuli = {odour = ["A", "B"]}
        probabilities = [0.9, 0.1]

    A contrast with a prior (International Brain Laboratory 2021): negative contrasts are on the side of the first option,
    and its side is right with `left_probability`, one for each block; a reward is given for the right side.

        reward = "contrast"
        options = ["left", "right"]
        stimuli = {contrast = [-1.0, -0.25, -0.125, -0.0625, 0.0, 0.0625, 0.125, 0.25, 1.0]}
        left_probability = [0.8, 0.2]
        order = "random"
        block = [20, 100]
        block_scale = 60.0

    Arguments:
        options: Names of the answers, by code; with `accept` what to reject and to accept are called.
        reward: `"unknown"`, `"bandit"`, `"baited"`, `"restless"` or `"contrast"`.
        stimuli: What is shown: names of labels, or numbers, by the name of the stimulus. Each is drawn independently, anew
            for every decision. With rewards unknown a list may be empty: the numbers are the table's.
        shown: Probabilities of a stimulus' values, by its name; equal where left out. With contrasts they hold within a side,
            and for 0.
        probabilities: Of a reward, for each option; see above.
        block: Trials of a block, or (shortest, longest), all lengths between them being equally likely.
        block_scale: Makes long blocks rarer: P(n) ~ exp(-n / block_scale) within the range.
        order: Of blocks: `"in turn"` from the first, or `"random"`, each followed by any other.
        drift: S.d. of a walk's step.
        decay: Share of its distance from `centre` that a walk keeps.
        centre: What a walk decays to.
        bounds: Of a walk.
        left_probability: Probability that the first option is right, one for each block.
        zero: Which side is right at contrast 0: by `"prior"`, or `"random"` with probability 1/2.
        magnitudes: Size of a reward, for each option (with labels: for each cell, if it is shaped so); 1 where left out.
        punishment: What is got where no reward is given.
        accept: Whether the animal accepts or rejects what is shown.
        max_offers: Of a trial with `accept`; None for no limit.
        num_trials: Decisions of a simulated animal; None for what the simulator says.
        session_length: Trials of a session, with which blocks, baits and walks start anew; None for one session.

    Raises:
        ValueError: If an argument is out of its range or does not belong to the kind of reward.
    """

    def tensors(self, dt: float) -> TrialTensors:
        """A choice task has none.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "a choice task has no time course for networks with read-outs: use the simulator policy_network, or a task such as "
            "DelayedDiscrimination."
        )

    # Trials ---------------------------------------------------------------------------------------

    def start(self, batch: int, generator: Generator) -> ChoiceState:
        """Animals before their first decision; nothing is drawn yet."""
        if not self.known:
            raise ValueError(
                'rewards are not known, so that no animal can be simulated: give reward, such as reward = "bandit".'
            )
        cells = self._magnitudes.numel() if self.reward in ("baited", "restless") else 0
        return ChoiceState.first(arguments.whole("batch", batch, 1, MOST), cells, len(self.stimuli))

    def stimulus(self, trial: int, state: ChoiceState, generator: Generator) -> tuple[Tensor, ChoiceState]:
        """What each animal is shown at its next decision.

        Arguments:
            trial: Number of the decision, 0, 1, ...: decisions come one after another.
            state: Where animals stand.
            generator: Source of randomness.

        Returns:
            Stimuli `(batch, S)`, numbers or codes of labels in the order of `meaning.stimuli`, and where animals stand then.
        """
        check_decision(trial, state.decision)
        state = self.begun(state, generator)
        return self.seeing(self._drawn(state, generator), state, generator)

    def begun(self, state: ChoiceState, generator: Generator, session: Tensor | None = None) -> ChoiceState:
        """Animals in the trial of their next decision: new blocks, baits and steps of walks, where a trial begins.

        Arguments:
            state: Where they stand.
            generator: Source of randomness.
            session: Session of each animal, `(batch,)`; by `session_length` if left out.
        """
        fresh, batch = state.fresh, len(state.trial)
        if session is None:
            length = self.session_length
            session = torch.zeros_like(state.trial) if length is None else state.trial // length
        if session.shape != fresh.shape:
            raise ValueError(f"session must have shape ({batch},), one for each animal, got {tuple(session.shape)}.")
        restart = (fresh & (state.trial == 0)) | (session != state.session)
        trial = state.trial + (restart & ~fresh).long()  # an offer still open when its session ends
        offers, fresh = torch.where(restart, 0, state.offers), fresh | restart
        block, left, cells = state.block, state.left, state.cells
        rows = self._contingencies
        if len(rows) > 1:
            over = fresh & ~restart & (left == 0)
            block = next_block(block, len(rows), restart, over, self.order, generator)
            lengths = block_lengths(batch, *block_range(self.block), self.block_scale, generator)
            left = torch.where(restart | over, lengths, left) - fresh.long()
        if self.reward == "baited":
            none = torch.where(restart[:, None], 0.0, cells)
            cells = torch.where(fresh[:, None], baited(none, rows[block], generator), cells)
        elif self.reward == "restless":
            moved = walked(cells, self.drift, self.decay, self.centre, self.bounds, generator)
            cells = torch.where(restart[:, None], rows[0], torch.where(fresh[:, None], moved, cells))
        done = torch.zeros_like(fresh)
        return replace(
            state, trial=trial, session=session, offers=offers, fresh=done, block=block, left=left, cells=cells
        )

    def _drawn(self, state: ChoiceState, generator: Generator) -> Tensor:
        """Stimuli of a decision, `(batch, S)`."""
        columns = []
        for name, values in self.stimuli.items():
            chances = self._chances[name]
            at = picked(chances[state.block] if len(chances) > 1 else chances.expand(len(state.block), -1), generator)
            labels = name in self.meaning.labels
            columns.append(at.double() if labels else torch.tensor(values, dtype=torch.float64)[at])
        return torch.stack(columns, dim=1) if columns else state.shown

    def seeing(self, shown: Tensor, state: ChoiceState, generator: Generator) -> tuple[Tensor, ChoiceState]:
        """Animals that are shown these stimuli `(batch, S)`, and the stimuli."""
        if self.reward != "contrast":
            return shown, replace(state, shown=shown)
        contrast = shown[:, self.meaning.stimuli.index(self._numbers[0])]
        left = self._contingencies[state.block, 0] if self.zero == "prior" else torch.tensor(0.5)
        chance = (uniform(generator, len(shown)) >= left).long()
        side = torch.where(contrast == 0, chance, (contrast > 0).long())
        return shown, replace(state, shown=shown, side=side)

    def better(self, state: ChoiceState) -> Tensor:
        """Code of the option that pays best in each animal's block, `(batch,)`; NaN where there is none such."""
        return self._best[state.block]

    def outcome(
        self, choice: Tensor, trial: int, state: ChoiceState, generator: Generator
    ) -> tuple[Tensor, ChoiceState]:
        """What each animal gets for its choice.

        Arguments:
            choice: Codes of the answers, `(batch,)`.
            trial: Number of the decision, as for `stimulus`, which comes before.
            state: Where animals stand.
            generator: Source of randomness.

        Returns:
            Rewards `(batch,)`, NaN where an offer is rejected, and where animals stand then.
        """
        check_decision(trial, state.decision)
        check_choice(choice, len(state.trial), len(self.options))
        taken = choice == 1 if self.accept else torch.ones_like(choice, dtype=torch.bool)
        cell = self._cell(choice, state)
        if self.reward == "contrast":
            prob = (choice == state.side).double()
        elif self.reward == "bandit":
            prob = self._contingencies[state.block, cell]
        else:
            prob = state.cells.gather(1, cell[:, None])[:, 0]
        paid = uniform(generator, len(choice)) < prob
        reward = torch.where(paid, self._magnitudes[cell], self.punishment)
        reward = torch.where(taken, reward, math.nan)
        cells = state.cells
        if self.reward == "baited":  # what is collected is gone
            gone = torch.where(taken, 0.0, prob)
            cells = cells.scatter(1, cell[:, None], gone[:, None])
        offers = torch.where(taken, 0, state.offers + 1)
        over = taken if self.max_offers is None else taken | (offers >= self.max_offers)
        return reward, replace(
            state,
            decision=state.decision + 1,
            trial=state.trial + over.long(),
            offers=torch.where(over, 0, offers),
            fresh=over,
            cells=cells,
        )

    def _cell(self, choice: Tensor, state: ChoiceState) -> Tensor:
        """Which cell of a contingency each choice is in, `(batch,)`."""
        cell = torch.zeros_like(choice)
        if self.reward != "contrast":
            for name, names in self.meaning.labels.items():
                cell = cell * len(names) + state.shown[:, self.meaning.stimuli.index(name)].long()
        return cell if self.accept else cell * len(self.options) + choice


def check_choice(choice: Tensor, batch: int, answers: int) -> None:
    """Raises ValueError unless there is the code of an answer for each animal."""
    if choice.is_floating_point() or choice.dtype == torch.bool or tuple(choice.shape) != (batch,):
        raise ValueError(
            f"choice must be whole numbers of shape ({batch},), one for each animal, got {choice.dtype} of shape "
            f"{tuple(choice.shape)}."
        )
    if int(choice.min()) < 0 or int(choice.max()) >= answers:
        raise ValueError(
            f"choice must be codes of answers, 0...{answers - 1}, got {int(choice.min())}...{int(choice.max())}."
        )


def check_decision(trial: int, decision: int) -> None:
    """Raises ValueError unless a decision is the one that comes next."""
    if trial != decision:
        raise ValueError(
            f"trial must be {decision}, the decision that comes next in this state, got {trial}; start() begins anew."
        )
