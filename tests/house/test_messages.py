"""The messages of the package speak with one voice: see tests/messages.py, which lists them."""

import pytest
from messages import messages, odd

MESSAGES = list(messages())
NAMES = ("Sobol indices",)  # that begin a sentence
PARTS = (
    "its configuration is",
    "its checksum is",
    "raw_per_unit has",
    "{arguments.listed(FACTS)} are",
)  # of a sentence
PARTS += (
    "folder is no path",
    "{literal} is no number of JSON",
    "{array.dtype} is no type",
    "only polynomial rules are",
)
PARTS += ("a read-out needs its weights",)


def test_the_list_holds_what_is_raised_and_warned_of():
    assert len(MESSAGES) > 500
    assert {m.kind for m in MESSAGES} >= {"ValueError", "StudyError", "ImportError", "warning"}
    assert any("reach beyond" in m.text or "must lie in" in m.text for m in MESSAGES)


@pytest.mark.parametrize("start", [*NAMES, *PARTS])
def test_what_is_let_through_is_still_there(start):
    assert any(m.text.startswith(start) for m in MESSAGES)


def test_messages_speak_with_one_voice():
    found = [(m.place, m.text, odd(m)) for m in MESSAGES if odd(m) and not m.text.startswith((*NAMES, *PARTS))]
    assert not found, "\n".join(map(str, found))
