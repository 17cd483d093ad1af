"""Scores random captions with `pycocoevalcap`, for the tests of CIDEr-D: writes cider.json beside this file.

    python make_cider_fixture.py [CORPORA SAMPLES]

Needs pycocoevalcap (made with 1.2) and numpy. Captions are words apart already, so that no tokeniser is part of this.
"""

import json
import pathlib
import random
import sys

from pycocoevalcap.cider.cider import Cider

WORDS = "a the red green apple tree man woman dog runs sits on under table with grass 7 2nd grün".split()


def caption(rng, longest):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, longest)))


def near(rng, text):
    """A caption that shares most of its words with another one."""
    words = [word for word in text.split() if rng.random() < 0.85]
    return " ".join(words + [rng.choice(WORDS) for _ in range(rng.randint(0, 2))])


def corpus(rng, samples):
    result = []
    for _ in range(samples):
        first = caption(rng, 12)
        references = [first] + [near(rng, first) for _ in range(rng.randint(0, 3))]
        candidate = rng.choice([first, near(rng, first), caption(rng, 25), ""])
        result.append({"candidate": candidate, "references": references})
    return result


def main(corpora=3, samples=4):
    rng = random.Random(7)
    result = []
    for _ in range(corpora):
        items = corpus(rng, samples)
        references = {i: item["references"] for i, item in enumerate(items)}
        mean, scores = Cider().compute_score(references, {i: [item["candidate"]] for i, item in enumerate(items)})
        result.append({"samples": items, "scores": scores.tolist(), "mean": float(mean)})
    path = pathlib.Path(__file__).parent / "cider.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
