"""Which terms does a rule have, and which connections a circuit? About two minutes on two cores."""

from pathlib import Path

import torch

import sbirules as sr
from sbirules.simulators import OptomotorCircuit, PolicyNetwork, circuit_posterior
from sbirules.tasks import ChoiceTask

OUT = Path("runs/tutorials/structures")


def pretend_animals(path: Path) -> None:
    """Twelve animals that choose between two options whose payoffs swap, and learn by c rd with forgetting, as a CSV."""
    task = ChoiceTask(reward="bandit", probabilities=[[0.85, 0.15], [0.15, 0.85]], block=(20, 40))
    network = PolicyNetwork(sr.TaylorRule(["c rd", "w"]), task, nuisance=(), num_trials=300)
    network.animals(torch.tensor([[0.6, -0.15]]).repeat(12, 1), seed=7).write(path)


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    pretend_animals(OUT / "bandit.csv")

    # --8<-- [start:problem]
    grammar = sr.RuleGrammar(["c", "d", "w", "r", "rd"], degree=2, max_terms=3)
    problem = sr.ChoiceProblem(OUT / "bandit.csv", grammar, nuisance=())
    print(problem.grammar)
    # --8<-- [end:problem]

    # --8<-- [start:smc]
    found = sr.search(problem, method="smc", budget=600, folder=OUT / "search", seed=1)
    print(found.answer)
    print(found.term_probabilities())
    print(found.values(found.most_probable))
    # --8<-- [end:smc]

    # --8<-- [start:tree]
    found.pareto_figure().figure.savefig(OUT / "pareto.png")
    sr.report_search(OUT / "search.html", found)
    # --8<-- [end:tree]

    # --8<-- [start:own]
    def propose(parent, score, history, rng):
        """What a language model of yours would answer, given the parent and what was refused before."""
        drafts = ["c (r - w)", "d*rd", "c rd - 0.1 w", "0.5 c rd + c r + w", "__import__('os')"]
        return drafts[int(rng.integers(len(drafts)))]

    tried = sr.search(problem, proposer=propose, budget=20, seed=2)
    print(tried.best, tried.refused)
    # --8<-- [end:own]

    # --8<-- [start:circuit]
    circuit = OptomotorCircuit()
    activity = circuit.simulate(["inward", "leftward", "rightward"], num_trials=10, seed=3)
    connections = circuit_posterior(activity, num_draws=200)
    likely = connections.connected > 0.5
    print(f"{int((likely & circuit.mask).sum())} of {int(circuit.mask.sum())} connections are found,")
    print(f"{int((likely & ~circuit.mask).sum())} are said to be there and are not")
    # --8<-- [end:circuit]

    # --8<-- [start:signs]
    figure = sr.figures.connections(connections.excitatory - connections.inhibitory, connections.units).figure
    figure.savefig(OUT / "connections.png")
    # --8<-- [end:signs]


if __name__ == "__main__":
    main()
