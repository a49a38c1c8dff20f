"""Mutations of files: bytes at random, and parts of their content replaced by what should not be there."""

import copy
import json
import math
import random
import tomllib

import tomli_w

WORDS = ("", "x", "nan", "-1", "1e400", "a" * 300, "../..", "\n", "\0", "ü", "None", "[]", "theta_00")
ODD = (
    None, True, False, -1, 0, 1, 2, 7, 10**9, 10**18, -(10**30), 0.5, -0.0, 1e308, 1e-320, math.nan, math.inf, -math.inf,
    [], {}, [1], [None], [[]], {"a": 1}, [1, [2, [3]]], {"name": {"name": {}}}, *WORDS,
)  # fmt: skip


def nodes(value, path=()):
    """Places in nested content."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from nodes(part, (*path, key))


def changed(value, draws):
    """The content with one part replaced, left out, added or moved."""
    out = copy.deepcopy(value)
    places = [p for p in nodes(out) if p]
    if not places:
        return draws.choice(ODD)
    *way, last = draws.choice(places)
    holder = out
    for key in way:
        holder = holder[key]
    how = draws.randrange(6)
    if how <= 2:
        holder[last] = copy.deepcopy(draws.choice(ODD))
    elif how == 3:
        del holder[last]
    elif how == 4 and isinstance(holder, dict):
        holder[draws.choice(WORDS)] = copy.deepcopy(draws.choice(ODD))
    elif how == 4:
        holder.insert(draws.randrange(len(holder) + 1), copy.deepcopy(draws.choice(ODD)))
    elif isinstance(holder, dict):
        holder[draws.choice(WORDS)] = holder.pop(last)
    else:
        draws.shuffle(holder)
    return out


def scrambled(content, draws):
    """Bytes with a few of them changed, cut out, doubled or added; or cut short."""
    out = bytearray(content)
    for _ in range(draws.choice((1, 1, 2, 5))):
        at = draws.randrange(len(out) + 1)
        # half of the time near the beginning, where headers are
        at = draws.randrange(min(len(out), 400) + 1) if draws.random() < 0.5 else at
        span = draws.choice((1, 2, 8, 100))
        how = draws.randrange(7)
        if how <= 1 and at < len(out):
            out[at] ^= 1 << draws.randrange(8)
        elif how == 2:
            del out[at : at + span]
        elif how == 3:
            out[at:at] = out[at : at + span]
        elif how == 4:
            out[at:at] = draws.randbytes(span)
        elif how == 5:
            out = out[:at]
        else:
            out[at : at + span] = bytes(len(out[at : at + span]))
    return bytes(out)


def of_json(content, draws):
    """A JSON file, mutated."""
    if draws.random() < 0.4:
        return scrambled(content, draws)
    value = json.loads(content)
    for _ in range(draws.choice((1, 1, 2))):
        value = changed(value, draws)
    return json.dumps(value, indent=2).encode("utf-8", "replace")


def of_toml(content, draws):
    """A TOML file, mutated."""
    if draws.random() < 0.4:
        return scrambled(content, draws)
    value = tomllib.loads(content.decode())
    for _ in range(draws.choice((1, 1, 2))):
        value = changed(value, draws)
    try:
        return tomli_w.dumps(value).encode("utf-8", "replace")
    except (TypeError, AttributeError, ValueError):  # what TOML cannot say
        return scrambled(content, draws)


def of_tensors(content, draws):
    """A safetensors file, mutated: its bytes, its header, or what the header says of us."""
    if draws.random() < 0.5:
        return scrambled(content, draws)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if draws.random() < 0.5:
        mine = changed(json.loads(header["__metadata__"]["sbirules"]), draws)
        header["__metadata__"]["sbirules"] = json.dumps(mine)
    else:
        header = changed(header, draws)
    text = json.dumps(header).encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def mutations(content, of, number, seed):
    """So many mutations of a file's content, none of them the content itself."""
    draws = random.Random(seed)
    made = 0
    while made < number:
        out = of(content, draws)
        if out != content:
            made += 1
            yield out
