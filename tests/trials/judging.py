"""Whether what a script said of a bad input is one clear sentence."""

from __future__ import annotations

import re

from tests.trials.bad_values import FINE, Input

SECONDS = 60.0  # within which a script must have refused, on a busy machine
LENGTH = 2100  # characters of a sentence that can be read; lists of known names take most of them
EXPECTS = re.compile(  # how sentences say what would have been right
    r"must be|expected|Known|between|[Uu]se |[Nn]ame |is for |are for |needs |wants |Did you mean|there is no |does not exist|"
    r"is no |has no |lies in|cannot |may |set |choose|give|say |is given twice|has another name|at most|too |use |starts? |"
    r"is not |neither|reads? |install|is the most|does not answer|are \d+ labels|leave|lower|holds|"
    r"but the pool has|All options|at least|too long|change nothing|is the same|takes "
)


def wrong_with(given: Input, code: int, said: str, errors: str, seconds: float) -> str:
    """What is wrong with the end of a script, in words; '' where it ended as it must."""
    if "Traceback" in said + errors:
        return f"a traceback: {errors[-500:]}"
    sentences = [line for line in errors.splitlines() if line.startswith("Refused: ")]
    if given.expected == FINE:
        return "" if code == 0 else f"is valid, but it ended with {code}: {errors[-400:]}"
    if code == 0:
        return f"taken: {said[-200:]}"
    if seconds > SECONDS:
        return f"it took {seconds:.0f} s"
    if len(sentences) != 1:
        return f"{len(sentences)} sentences: {errors[-400:]!r}"
    (sentence,) = sentences
    after = errors.partition(sentence)[2].strip()
    if after and not sentence.rstrip().endswith((":", ".")):
        return f"more behind the sentence: {after[:200]!r}"
    if len(sentence) > LENGTH:
        return f"a sentence of {len(sentence)} characters"
    if not any(named in sentence for named in _names(given)):
        return f"it names neither option nor value: {sentence}"
    if not EXPECTS.search(sentence):
        return f"it does not say what was expected: {sentence}"
    if not sentence.isprintable():
        return f"signs that cannot be printed: {sentence!r}"
    return ""


def _names(given: Input) -> list[str]:
    """What a sentence may name: the option, its value, or that of another word of the input."""
    found = [given.option, given.option.replace("_", " "), "''" if "no name" in given.kind else given.option]
    for word in given.words:
        name, _, value = word.partition("=")
        parts = re.findall(
            r"[^\s{}\[\]'\":,.=]{2,}|[^\x00-\x7f]", word
        )  # entries of a dictionary, the name behind a prefix
        found += [each[:40] for each in (name, value, repr(value)[1:-1], word, repr(word)[1:-1], *parts) if each]
    return found
