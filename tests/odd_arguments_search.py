"""Good arguments of what a search over structures takes."""

import math

import sbirules as sr

__all__ = ["INSTANCES", "OMITTED", "SPECIAL"]

GRAMMAR = sr.RuleGrammar(["c", "w", "r"], degree=2, max_terms=2)
PROBLEM = sr.OwnProblem(len, GRAMMAR)
STRUCTURE = sr.parse_structure("c r + w")


class Found:
    """A search, when it is asked for."""

    search = None

    @classmethod
    def get(cls):
        if cls.search is None:
            cls.search = sr.search(sr.OwnProblem(len, GRAMMAR, evidence=True), budget=5)
        return cls.search


FOUND = ("grammar", "nodes", "proposals", "method", "shares", "beyond")
INSTANCES = {
    "ExpressionRule": lambda c: sr.ExpressionRule("c r"),
    "TraceExpression": lambda c: sr.TraceExpression("pre deviation"),
    "RuleGrammar": lambda c: GRAMMAR,
    "Structure": lambda c: STRUCTURE,
    "StructureSearch": lambda c: Found.get(),
    "OwnProblem": lambda c: PROBLEM,
    "Problem": lambda c: PROBLEM,
    "ChoiceProblem": lambda c: PROBLEM,
    "LearningProblem": lambda c: PROBLEM,
}
SPECIAL = {
    "ExpressionRule(structure)": lambda c: "c r",
    "ExpressionRule(options)": lambda c: {},
    "TraceExpression(structure)": lambda c: "pre deviation",
    "TraceExpression(options)": lambda c: {},
    "parse_structure(text)": lambda c: "c r + w",
    "parse_structure(target)": lambda c: "policy",
    "search(problem)": lambda c: PROBLEM,
    "search(budget)": lambda c: 5,
    "search(proposer)": lambda c: None,
    "search(folder)": lambda c: None,
    "search(workers)": lambda c: 1,
    "RuleGrammar(variables)": lambda c: ["c", "w"],
    "RuleGrammar.parse(text)": lambda c: "c r",
    "RuleGrammar.without(terms)": lambda c: ["c r"],
    "RuleGrammar.*(structure)": lambda c: STRUCTURE,
    "OwnProblem(function)": lambda c: len,
    "OwnProblem(grammar)": lambda c: GRAMMAR,
    **{f"StructureSearch({name})": lambda c, name=name: getattr(Found.get(), name) for name in FOUND},
    "StructureSearch.values(structure)": lambda c: sr.parse_structure("0"),
    "figures.search_tree(parents)": lambda c: [-1, 0],
    "figures.search_tree(scores)": lambda c: [0.0, 1.0],
    "figures.search_tree(names)": lambda c: ["0", "c"],
    "figures.pareto_front(complexity)": lambda c: [0, 2],
    "figures.pareto_front(scores)": lambda c: [0.0, math.pi],
    "figures.pareto_front(front)": lambda c: [0, 1],
    "figures.pareto_front(names)": lambda c: ["0", "c"],
    "figures.connections(values)": lambda c: [[0.0, 1.0], [-1.0, 0.0]],
    "figures.connections(units)": lambda c: ["a", "b"],
    "report_search(found)": lambda c: Found.get(),
}
# what the package calls with arguments of its own; a problem of choices is tried as one of its own
OMITTED = {
    *(
        f"{name}.{hook}"
        for name in ("Problem", "OwnProblem", "ChoiceProblem", "LearningProblem")
        for hook in ("score", "family", "simulator", "prior")
    ),
    *(
        "Problem",
        "ChoiceProblem",
        "LearningProblem",
        "Structure",
        "Structure.of",
        "RuleGrammar.propose",
        "RuleGrammar.log_proposal",
        "RuleGrammar.sample",
    ),
    *("ExpressionRule.update", "TraceExpression.drive", "TraceExpression.trace"),
}
