"""Writes conversations in the forms in which other tools keep them, for the tests of `revision::conversation`.

    python make_conversation_fixtures.py       writes ../fixtures/conversations

Needs Python alone. `llava.json`, `wrapped.json`, `messages.jsonl` and `parts.jsonl` say the same, each
with the keys of its tool; the tests read the first and compare.
"""

import json
import pathlib

FOLDER = pathlib.Path(__file__).parent.parent / "fixtures" / "conversations"

# LLaVA's own form: `image`, and `conversations` of `from` and `value`.
LLAVA = [
    {
        "id": "1",
        "image": "coco/000123.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A \"grüner\" apple {and} more."},
            {"from": "human", "value": "Sure?"},
            {"from": "gpt", "value": "Yes."},
        ],
    },
    {
        "id": "2",
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "Hello"},
            {"from": "gpt", "value": "Hi."},
        ],
    },
]

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}

# `id` and `caption`, as in the training sets of the ReVision authors.
CAPTIONS = [{"id": "cc3m_7", "caption": "A red apple."}, {"id": 8, "caption": "Zwei Hunde."}]

CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}

# What has a use elsewhere: calls of tools and their answers, several pictures, moving pictures.
UNUSABLE = [
    {
        "id": "called",
        "messages": [
            {"role": "user", "content": "Look"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ],
    },
    {"id": "tool", "messages": [{"role": "user", "content": "Look"}, {"role": "tool", "content": "42"}]},
    {"id": "function", "conversations": [{"from": "function", "value": "42"}]},
    {"id": "observation", "conversations": [{"from": "observation", "value": "42"}]},
    {
        "id": "several",
        "images": ["a.jpg", "b.jpg"],
        "messages": [{"role": "user", "content": "<image><image>"}, {"role": "assistant", "content": "Two."}],
    },
    {"id": "video", "messages": [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "?"}]}]},
]


# What Python writes of a caption that was cut within an emoji, and of a score that is none.
LENIENT = [
    {"id": "cut", "caption": "A smile \ud83d", "score": float("nan")},
    {"id": "whole", "caption": "A smile \U0001f600", "score": [float("inf"), -1.0, float("-inf")]},
]


def message(turn):
    return {"role": ROLES[turn["from"]], "content": turn["value"]}


def messages(entry):
    named = {"images": [entry["image"]]} if "image" in entry else {}
    return {"id": entry["id"], "messages": [message(turn) for turn in entry["conversations"]], **named}


def parts(entry):
    """`content` as a list of parts, of which the picture names itself; a speaker without a picture may have text."""
    result = {"id": entry["id"], "messages": [message(turn) for turn in entry["conversations"]]}
    for turn in result["messages"]:
        text = turn["content"].removeprefix("<image>\n")
        if text != turn["content"]:
            turn["content"] = [{"type": "image", "image": entry["image"]}, {"type": "text", "text": text}]
        elif turn["role"] == "assistant":
            half = len(text) // 2
            turn["content"] = [{"type": "text", "text": text[:half]}, {"type": "text", "text": text[half:]}]
    return result


def lines(name, entries, **options):
    text = "".join(json.dumps(entry, **options) + "\n" for entry in entries)
    (FOLDER / name).write_text(text, encoding="utf-8")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "llava.json").write_text(json.dumps(LLAVA, indent=2), encoding="utf-8")
    about = {"version": "1.0", "about": {"array": [1, 2], "note": "a \"quoted\" [ {"}}
    (FOLDER / "wrapped.json").write_text(json.dumps({**about, "data": LLAVA, "count": 2}, indent=1), encoding="utf-8-sig")
    lines("messages.jsonl", [messages(entry) for entry in LLAVA])
    lines("parts.jsonl", [parts(entry) for entry in LLAVA], ensure_ascii=False)
    (FOLDER / "captions.json").write_text(json.dumps(CAPTIONS), encoding="utf-8")
    lines("lenient.jsonl", LENIENT)
    text = (FOLDER / "lenient.jsonl").read_text(encoding="utf-8")
    (FOLDER / "lenient.jsonl").write_text(text, encoding="utf-8-sig")
    lines("unusable.jsonl", [UNUSABLE[0], messages(LLAVA[0]), *UNUSABLE[1:], messages(LLAVA[1])])


if __name__ == "__main__":
    main()
