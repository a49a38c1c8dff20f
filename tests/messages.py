"""All messages that the package gives to people, in one list from its source: what is raised as an error, or warned of.

A program of its own, to read through what users may read:

    python tests/messages.py [WORD]      with WORD only messages that hold it
    python tests/messages.py --odd       only those that break a rule of `odd`, and which

What is filled in later stands in braces, as in the source.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("sbirules", "simulators", "priors")
RAISED = ("ValueError", "TypeError", "StudyError", "OSError", "ImportError", "RuntimeError", "ArgumentTypeError")
WARNED = ("warnings.warn", "warn")
AMERICAN = re.compile(
    r"\b\w*(?:color|behavior|neighbor|favor(?!ite)|analyz|normaliz|initializ|summariz|optimiz|recogniz|organiz|standardiz"
    r"|labeled|modeled|canceled)\w*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Message:
    """A message, and where it stands."""

    place: str
    kind: str  # the exception, or "warning"
    text: str


def messages() -> Iterator[Message]:
    """Every message whose text stands in the source; errors that are handed on are left out."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    called = node.exc
                elif isinstance(node, ast.Call):
                    called = node
                else:
                    continue
                name = ast.unparse(called.func)
                raised = isinstance(node, ast.Raise) and name.rsplit(".", 1)[-1] in RAISED
                if not called.args or not (raised or name in WARNED):
                    continue
                text = written(called.args[0])
                if text:
                    kind = name.rsplit(".", 1)[-1] if raised else "warning"
                    yield Message(f"{path.relative_to(ROOT)}:{node.lineno}", kind, text)


def written(node: ast.expr) -> str:
    """The text of an expression, its fields in braces; empty where there is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(written(v) if isinstance(v, ast.Constant) else filled(v) for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return written(node.left) + written(node.right)
    if isinstance(node, ast.IfExp):
        return f"{written(node.body)} | {written(node.orelse)}"
    if isinstance(node, ast.List):
        return " ".join(map(written, node.elts))
    return ""


def filled(node: ast.expr) -> str:
    return "{" + ast.unparse(node.value) + "}" if isinstance(node, ast.FormattedValue) else ""


def odd(message: Message) -> list[str]:
    """Which rules of the house's voice a message breaks; a list to look at, since names may begin with a capital."""
    text = message.text.strip()
    found = []
    if re.match(r"[A-Z][a-z]+ ", text) and message.kind != "warning":
        found.append("begins with a capital")
    if not text.endswith((".", "}", "?")) and message.kind not in (
        "ArgumentTypeError",
    ):  # argparse's have no full stop
        found.append("no full stop")
    if re.search(r"\bplease\b|!(?!=|r\}|[sra]:)", re.sub(r"\{[^}]*\}", "", text), re.IGNORECASE):
        found.append("please, or an exclamation mark")
    american = AMERICAN.search(re.sub(r"\{[^}]*\}", "", text))
    if american:
        found.append(f"American spelling: {american.group()}")
    return found


def main(arguments: list[str]) -> None:
    only_odd = "--odd" in arguments
    words = [word for word in arguments if word != "--odd"]
    for message in messages():
        broken = odd(message) if only_odd else []
        if (only_odd and not broken) or any(word.lower() not in message.text.lower() for word in words):
            continue
        note = f"   [{'; '.join(broken)}]" if broken else ""
        print(f"{message.place}  {message.kind}: {message.text}{note}")


if __name__ == "__main__":
    main(sys.argv[1:])
