"""Scripts by which shells complete the command line, made from its parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sbirules.commands.exits import EXIT
from sbirules.commands.parsing import parser

__all__ = ["Argument", "Command", "commands_of", "run"]

KINDS = {"DIR": "folder", "FILE": "file", "STUDY.toml": "study"}  # what arguments are, by how help calls them


@dataclass(frozen=True)
class Argument:
    """An option, or a positional argument.

    Arguments:
        options: How it is written, such as `--out`; empty of a positional one.
        text: What help says of it.
        choices: What it may be, where that is listed.
        kind: `"folder"`, `"file"` or `"study"` of a path, else empty.
        valued: Whether something follows it.
        many: Whether there may be several.
    """

    options: tuple[str, ...]
    text: str
    choices: tuple[str, ...]
    kind: str
    valued: bool
    many: bool


@dataclass(frozen=True)
class Command:
    """A command: what help says of it, and what it takes."""

    text: str
    arguments: tuple[Argument, ...]

    @property
    def options(self) -> list[Argument]:
        return [a for a in self.arguments if a.options]

    @property
    def positional(self) -> list[Argument]:
        return [a for a in self.arguments if not a.options]


def run(args: argparse.Namespace) -> int:
    """Prints the script of a shell."""
    print("\n".join(SCRIPTS[args.shell](commands_of(parser()))))
    return EXIT["done"]


def commands_of(whole: argparse.ArgumentParser) -> dict[str, Command]:
    """What can be completed, by command; the parser's own options stand under an empty name."""
    found = {"": Command("", tuple(_arguments(whole)))}
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {pseudo.dest: pseudo.help or "" for pseudo in action._get_subactions()}
            for name, inner in action.choices.items():
                found[name] = Command(texts.get(name, ""), tuple(_arguments(inner)))
    return found


def _arguments(whole: argparse.ArgumentParser) -> Iterator[Argument]:
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        yield Argument(
            tuple(action.option_strings),
            (action.help or "").replace("%%", "%"),
            tuple(map(str, action.choices or ())),
            KINDS.get(str(action.metavar), ""),
            action.nargs != 0,
            action.nargs in ("+", "*"),
        )


# bash ------------------------------------------------------------------------------------------------

BASH = {  # what fills COMPREPLY
    "folder": 'compgen -d -- "$word"',
    "file": 'compgen -f -- "$word"',
    "study": """compgen -f -X '!*.toml' -- "$word"; compgen -d -- "$word\"""",
}


def _bash(commands: Mapping[str, Command]) -> Iterator[str]:
    yield "# completion of sbirules for bash"
    yield "_sbirules() {"
    yield '    local IFS=$\'\\n\' word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command= k'
    yield "    COMPREPLY=()"
    yield "    for ((k = 1; k < COMP_CWORD; k++)); do"
    yield '        if [[ "${COMP_WORDS[k]}" != -* ]]; then command="${COMP_WORDS[k]}"; break; fi'
    yield "    done"
    yield '    case "$command" in'
    for name, command in commands.items():
        yield f"        {name or chr(39) * 2})"
        valued = [a for a in command.options if a.valued]
        if valued:
            yield '            case "$before" in'
            for a in valued:
                yield f"                {'|'.join(a.options)}) {_bash_fill(a)} return ;;"
            yield "            esac"
        words = [option for a in command.options for option in a.options]
        yield f'            if [[ "$word" == -* ]]; then {_bash_words(words)}'
        first = [n for n in commands if n] if not name else [c for a in command.positional for c in a.choices]
        paths = [a for a in command.positional if a.kind]
        if first:
            yield f"            else {_bash_words(first)}"
        elif paths:
            yield f"            else {_bash_fill(paths[0])}"
        yield "            fi ;;"
    yield "    esac"
    yield "}"
    yield "complete -F _sbirules sbirules"


def _bash_words(words: list[str]) -> str:
    listed = "\\n".join(words)
    return f"COMPREPLY=($(compgen -W $'{listed}' -- \"$word\"));"


def _bash_fill(a: Argument) -> str:
    if a.choices:
        return _bash_words(list(a.choices))
    # names of files may hold what has to be quoted, and folders get a slash
    return f"compopt -o filenames 2>/dev/null; COMPREPLY=($({BASH[a.kind]}));" if a.kind else ""


# zsh -------------------------------------------------------------------------------------------------

ZSH = {"folder": "_files -/", "file": "_files", "study": '_files -g "*.toml"'}


def _zsh(commands: Mapping[str, Command]) -> Iterator[str]:
    yield "#compdef sbirules"
    yield "_sbirules() {"
    yield "    local context state state_descr line"
    yield "    typeset -A opt_args"
    yield "    _arguments -C \\"
    for a in commands[""].options:
        yield f"        {_zsh_option(a)} \\"
    yield "        '1:command:->command' '*::argument:->argument'"
    yield '    case "$state" in'
    yield "        command)"
    yield "            local -a commands"
    yield "            commands=("
    for name, command in commands.items():
        if name:
            yield f"                {_quoted(name + ':' + command.text)}"
    yield "            )"
    yield "            _describe -t commands command commands ;;"
    yield "        argument)"
    yield '            case "$words[1]" in'
    for name, command in commands.items():
        if name:
            specs = [_zsh_option(a) for a in command.options]
            specs += [
                _quoted(f"{'*' if a.many else k}:{_plain(a.text)}:{_zsh_value(a)}")
                for k, a in enumerate(command.positional, start=1)
            ]
            yield f"                {name}) _arguments {' '.join(specs)} ;;"
    yield "            esac ;;"
    yield "    esac"
    yield "}"
    yield 'if [ "$funcstack[1]" = "_sbirules" ]; then _sbirules "$@"; else compdef _sbirules sbirules; fi'


def _zsh_option(a: Argument) -> str:
    value = f":{a.options[-1].lstrip('-')}:{_zsh_value(a)}" if a.valued else ""
    excluded = f"({' '.join(a.options)})" if len(a.options) > 1 else ""
    return " ".join(_quoted(f"{excluded}{option}[{_plain(a.text)}]{value}") for option in a.options)


def _zsh_value(a: Argument) -> str:
    return f"({' '.join(a.choices)})" if a.choices else ZSH.get(a.kind, " ")


def _plain(text: str) -> str:
    """Without what has a meaning in zsh's specifications."""
    return text.replace("[", "(").replace("]", ")").replace(":", ",")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# fish ------------------------------------------------------------------------------------------------

FISH = {"folder": "(__fish_complete_directories)", "study": "(__fish_complete_suffix .toml)"}


def _fish(commands: Mapping[str, Command]) -> Iterator[str]:
    yield "# completion of sbirules for fish"
    yield "complete -c sbirules -f"
    for name, command in commands.items():
        when = f"'__fish_seen_subcommand_from {name}'" if name else "__fish_use_subcommand"
        if name:
            yield f"complete -c sbirules -n __fish_use_subcommand -a {name} -d {_fish_quoted(command.text)}"
        for a in command.arguments:
            names = " ".join(f"-{'l' if o.startswith('--') else 's'} {o.lstrip('-')}" for o in a.options)
            value = "-F" if a.kind == "file" else ""
            if a.choices or a.kind in FISH:
                value = f"-a {_fish_quoted(' '.join(a.choices) or FISH[a.kind])}"
            if not names and not value:
                continue
            if not names:
                yield f"complete -c sbirules -n {when} {value}"
            else:
                need = (f" -x {value}".rstrip() if value != "-F" else " -r -F") if a.valued else ""
                yield f"complete -c sbirules -n {when} {names}{need} -d {_fish_quoted(a.text)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: Mapping[str, Callable[[Mapping[str, Command]], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
