"""Small files in the formats of published benchmarks, with answers and the scores that the benchmarks' rules give them.

    python make_benchmark_fixtures.py ../fixtures/benchmarks

Questions, pictures and answers are made up.  The rules are those of LLaVA's `eval_pope.py` and `eval_science_qa.py`, MME's
`calculation.py`, MMStar's `mmstar.py`, VLMEvalKit's matching for MMBench, and VQA v2's `vqaEval.py`, written down here with
Python's standard library alone.  `--vqa-script FILE` also runs VQA's own script (ported to Python 3) and compares.
"""

import argparse
import collections
import csv
import json
import pathlib
import random
import re
import statistics

LETTERS = "ABCDE"
RANDOM = random.Random(7)


def group_means(pairs, metric, times):
    """[category, metric, mean] in the order of the categories."""
    groups = collections.defaultdict(list)
    for category, value in pairs:
        groups[category].append(value)
    return [[category, metric, times * statistics.fmean(values)] for category, values in groups.items()]


# POPE


def pope(folder):
    answers, scores = [], []
    phrases = ["Yes", "No", "yes, there is.", "No, there is not. Yes", "It is not", "I see no dog", "There is nothing", "no,", "NO", "Yes. There is no cat", "", "Not at all"]
    for category in ("random", "popular"):
        lines, counts = [], collections.Counter()
        for number in range(14):
            label = RANDOM.choice(["yes", "no"])
            lines.append({"question_id": number + 1, "image": f"COCO_val2014_{number // 2:012}.jpg", "text": f"Is there a {RANDOM.choice(['cat', 'bus'])} in the image?", "label": label})
            answer = RANDOM.choice(phrases)
            answers.append(answer)
            first = answer[: answer.find(".")] if "." in answer else answer
            said = "no" if {"No", "no", "not"} & set(first.replace(",", "").split(" ")) else "yes"
            counts[said, label] += 1
        (folder / f"coco_pope_{category}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
        tp, fp, tn, fn = counts["yes", "yes"], counts["yes", "no"], counts["no", "no"], counts["no", "yes"]
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        scores += [
            [category, "accuracy", (tp + tn) / 14],
            [category, "precision", precision],
            [category, "recall", recall],
            [category, "f1", 2 * precision * recall / (precision + recall)],
            [category, "yes_ratio", (tp + fp) / 14],
        ]
    for at in range(5):
        scores.append(["overall", scores[at][1], (scores[at][2] + scores[at + 5][2]) / 2])
    return answers, scores


# MME


def mme(folder):
    folder.mkdir(exist_ok=True)
    (folder / "code_reasoning" / "questions_answers_YN").mkdir(parents=True, exist_ok=True)
    answers, scores, totals = [], [], collections.Counter()
    phrases = ["Yes", "No", "yes.", "No, it is", "I know", "Maybe yes", "The answer is no", "  no", "noyes", ""]
    # In the order of their names, as folders are read.
    for subtask, pictures, group in (("OCR", 5, "perception"), ("code_reasoning", 3, "cognition"), ("count", 4, "perception")):
        single = both = 0
        lines = []
        for picture in range(pictures):
            right = 0
            texts = []
            for truth in RANDOM.choice([("Yes", "No"), ("No", "Yes")]):
                question = f"Is it number {RANDOM.randrange(9)}? Please answer yes or no."
                answer = RANDOM.choice(phrases)
                answers.append(answer)
                start = answer.lower()[:4]
                said = "yes" if "yes" in start else "no" if "no" in start else "other"
                right += said == truth.lower()
                texts.append(f"{question}\t{truth}")
            single += right
            both += right == 2
            if subtask == "code_reasoning":
                (folder / subtask / "questions_answers_YN" / f"{picture:04}.txt").write_text("\n".join(texts) + "\n")
            lines += [f"{picture:04}.jpg\t{text}\n" for text in texts]
        if subtask != "code_reasoning":
            (folder / f"{subtask}.txt").write_text("".join(lines))
        accuracy, plus = 100 * single / (2 * pictures), 100 * both / pictures
        totals[group] += accuracy + plus
        scores += [[subtask, "accuracy", accuracy], [subtask, "accuracy_plus", plus], [subtask, "score", accuracy + plus]]
    scores += [[group, "score", total] for group, total in totals.items()] + [["overall", "score", sum(totals.values())]]
    return answers, scores


# ScienceQA


def science_qa_letter(text):
    text = text.replace("\n", ". ")
    if text.strip() in list(LETTERS):
        return text.strip()
    if len(text) >= 3 and text[0] in LETTERS and text[1:3] == ". ":
        return text[0]
    found = re.search(r"The answer is ([A-E])\.", text) or re.search(r"The answer is ([A-E])", text)
    return found.group(1) if found else None


def science_qa(folder):
    problems, answers, values = {}, [], []
    phrases = ["{}", "{}. Because", "{}\nso", "The answer is {}.", "The answer is {}", "I think The answer is A or The answer is {}.", "({})", "It is {}", "{}, yes", ""]
    for number in range(1, 41):
        choices = [f"choice {letter}" for letter in range(RANDOM.randrange(2, 6))]
        answer = RANDOM.randrange(len(choices))
        split = "test" if number % 4 else "val"
        problems[str(number)] = {
            "question": f"Which is number {number}?",
            "choices": choices,
            "answer": answer,
            "hint": RANDOM.choice(["", "It is not the last."]),
            "image": RANDOM.choice([None, "image.png"]),
            "subject": RANDOM.choice(["natural science", "social science", "language science"]),
            "split": split,
        }
        if split == "test":
            said = RANDOM.choice(phrases).format(LETTERS[answer] if RANDOM.random() < 0.7 else RANDOM.choice(LETTERS))
            answers.append(said)
            letter = science_qa_letter(said)
            right = float(letter is not None and letter in LETTERS[: len(choices)] and LETTERS.index(letter) == answer)
            values.append((problems[str(number)], right))
    (folder / "problems.json").write_text(json.dumps(problems, indent=1) + "\n")
    scores = group_means([("overall", right) for _, right in values], "accuracy", 100)
    scores += group_means([("image", right) for problem, right in values if problem["image"]], "accuracy", 100)
    return answers, scores + group_means([(problem["subject"], right) for problem, right in values], "accuracy", 100)


# MMStar


def mmstar(path):
    answers, rows, values = [], [], []
    phrases = ["{}", "{}. text", "({}) it is", "Option {}", "The answer is {}.", "the answer is ({})", "It is {}", " {}\n", "Answer: {}", "", "option  {}"]
    abilities = {"coarse perception": ["image emotion", "image style & quality"], "math": ["geometry"]}
    for index in range(36):
        category = RANDOM.choice(list(abilities))
        ability = RANDOM.choice(abilities[category])
        letter = RANDOM.choice("ABCD")
        said = RANDOM.choice(phrases).format(letter if RANDOM.random() < 0.7 else RANDOM.choice("ABCD"))
        rows.append([index, "What is it?\nOptions: A: one, B: two, C: three, D: four", letter, category, ability, "MMMU"])
        answers.append(said)
        predicted, expected = said.lower().strip().replace("\n", " "), letter.lower()
        right = any(predicted[len(start) :][:1] == expected for start in ("", "(", "option ", "the answer is ") if predicted.startswith(start))
        values.append((category, ability, float(right)))
    write_table(path, ["index", "question", "answer", "category", "l2_category", "bench"], rows)
    scores = group_means([("overall", right) for *_, right in values], "accuracy", 1)
    scores += group_means([(category, right) for category, _, right in values], "accuracy", 1)
    return answers, scores + group_means([(f"{category} ({ability})", right) for category, ability, right in values], "accuracy", 1)


def write_table(path, header, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# MMBench


def choice_of(answer, choices):
    """Letters to texts; the letter that is named, or None."""
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", answer).split()
    named = [letter for letter in choices if letter in words]
    if len(named) == 1:
        return named[0]
    if not named and "Z" in words:
        return None
    if len(answer) > 2 * sum(len(text) for text in choices.values()):
        return None
    quoted = [letter for letter, text in choices.items() if text.lower() in answer.lower()]
    return quoted[0] if len(quoted) == 1 else None


def turned(texts, by):
    return texts[by:] + texts[:by]


def mmbench(path, copies):
    """With `copies`, the table holds the turned questions; without, they are asked in turn."""
    rows, asked = [], []
    for index in range(12):
        texts = RANDOM.sample(["red", "a bus", "Two cats", "the sea", "nothing"], RANDOM.randrange(2, 5))
        right = RANDOM.randrange(len(texts))
        category = RANDOM.choice(["action_recognition", "ocr", "image_style"])
        ability = {"action_recognition": "finegrained_perception", "ocr": "finegrained_perception", "image_style": "coarse_perception"}[category]
        hint = RANDOM.choice(["", "nan", "Look at the left."])
        for by in range(len(texts)):
            cells = turned(texts, by) + [""] * (4 - len(texts))
            place = (right - by) % len(texts)
            row = [index + by * 1_000_000, "What is shown?", hint, *cells, LETTERS[place], category, ability, "dev"]
            if by == 0 or copies:
                rows.append((by, row))
            asked.append((by, index, dict(zip(LETTERS, turned(texts, by))), LETTERS[place], category, ability))
    if copies:  # all first, then all that are turned once, and so on
        rows.sort(key=lambda row: row[0])
        asked.sort(key=lambda question: question[0])
    write_table(path, ["index", "question", "hint", *"ABCD", "answer", "category", "l2-category", "split"], [row for _, row in rows])
    answers, solved = [], {}
    for _, index, choices, letter, category, ability in asked:
        said = letter if RANDOM.random() < 0.85 else RANDOM.choice(list(choices))
        said = RANDOM.choice(["{}", "{}.", "({}) is right", "It is {}", "Answer: {}, I am sure", "{text}", "I see {text}!", "{text}"]).format(said, text=choices[said])
        if RANDOM.random() < 0.04:
            said = RANDOM.choice(["", "A or B", "Z", "none of these is what the picture shows, which I could not say for certain in any case at all"])
        answers.append(said)
        right = choice_of(said, choices) == letter
        before = solved.get(index, (category, ability, True))[2]
        solved[index] = (category, ability, before and right)
    values = [(category, ability, float(right)) for category, ability, right in solved.values()]
    scores = group_means([("overall", right) for *_, right in values], "accuracy", 1)
    scores += group_means([(ability, right) for _, ability, right in values], "accuracy", 1)
    return answers, scores + group_means([(category, right) for category, _, right in values], "accuracy", 1)


# VQA

MARKS = [";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!"]
NUMBERS = dict(zip("none zero one two three four five six seven eight nine ten".split(), "0 0 1 2 3 4 5 6 7 8 9 10".split()))
# A part of the script's table, for the words that are used below.
APOSTROPHES = {"dont": "don't", "couldntve": "couldntve", "couldnt've": "couldn't've", "couldn'tve": "couldn't've", "its": "its", "oclock": "o'clock", "somebody'd": "somebodyd", "yall'd've": "y'all'd've", "lets": "lets", "shes": "shes"}


def vqa_normal(text):
    result = text
    for mark in MARKS:
        drop = f"{mark} " in text or f" {mark}" in text or re.search(r"\d,\d", text)
        result = result.replace(mark, "" if drop else " ")
    result = re.sub(r"\.(?!\d)", "", result, count=32)
    words = [NUMBERS.get(word, word) for word in result.lower().split()]
    return " ".join(APOSTROPHES.get(word, word) for word in words if word not in ("a", "an", "the"))


def vqa_accuracy(answer, truths):
    clean = lambda text: text.replace("\n", " ").replace("\t", " ").strip()  # noqa: E731
    answer, truths = clean(answer), [clean(truth) for truth in truths]
    if len(set(truths)) > 1:
        answer, truths = vqa_normal(answer), [vqa_normal(truth) for truth in truths]
    return statistics.fmean(min(1, sum(other == answer for at, other in enumerate(truths) if at != own) / 3) for own in range(len(truths)))


def vqa(folder):
    pool = ["yes", "Yes.", "no", "two", "2", "2.5", "a cat", "The cat", "cat", "don't", "dont", "couldnt've", "couldn'tve", "o'clock 5", "oclock 5", "1,000", "1000", "red/blue", "red / blue", "red blue", "well-known", "well known", "somebody'd", "somebodyd", "yall'd've", "lets go", "let's go", "none", "0", "e.g. this", "eg this", "x\ny", "x y", "...", "wait... what?", "." * 40]
    questions, annotations, answers, values = [], [], [], []
    for number in range(60):
        few = RANDOM.sample(pool, RANDOM.choice([1, 2, 3, 4]))
        truths = [RANDOM.choice(few) for _ in range(10)]
        answer = RANDOM.choice(few + RANDOM.sample(pool, 1))
        question_type, answer_type = RANDOM.choice(["what is", "is the", "how many"]), RANDOM.choice(["yes/no", "number", "other"])
        questions.append({"question_id": 100 + number, "image_id": number, "question": f"What is it, {number}?"})
        annotations.append(
            {
                "question_id": 100 + number,
                "image_id": number,
                "question_type": question_type,
                "answer_type": answer_type,
                "answers": [{"answer": truth, "answer_confidence": "yes", "answer_id": at + 1} for at, truth in enumerate(truths)],
                "multiple_choice_answer": truths[0],
            }
        )
        answers.append(answer)
        values.append((answer_type, question_type, vqa_accuracy(answer, truths)))
    about = {"data_type": "mscoco", "data_subtype": "val2014", "task_type": "Open-Ended"}
    (folder / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps({**about, "questions": questions}, indent=1) + "\n")
    (folder / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({**about, "annotations": annotations}) + "\n")
    scores = group_means([("overall", value) for *_, value in values], "accuracy", 100)
    scores += group_means([(kind, value) for kind, _, value in values], "accuracy", 100)
    return answers, scores + group_means([(kind, value) for _, kind, value in values], "accuracy", 100)


def check_vqa(script, folder, answers, scores):
    """The benchmark's own class on the same files; it rounds to `n` digits."""
    names = {}
    exec(compile(pathlib.Path(script).read_text(), script, "exec"), names)
    load = lambda name, key: {entry["question_id"]: entry for entry in json.loads((folder / name).read_text())[key]}  # noqa: E731
    questions, truths = load("v2_OpenEnded_mscoco_val2014_questions.json", "questions"), load("v2_mscoco_val2014_annotations.json", "annotations")

    class Side:
        def __init__(self, qa):
            self.qa = qa

        def getQuesIds(self):
            return list(self.qa)

    results = {question: {"answer": answer} for question, answer in zip(questions, answers)}
    run = names["VQAEval"](Side(truths), Side(results), n=9)
    run.evaluate()
    theirs = {"overall": run.accuracy["overall"], **run.accuracy["perAnswerType"], **run.accuracy["perQuestionType"]}
    for category, _, value in scores:
        assert abs(theirs[category] - value) < 1e-6, (category, theirs[category], value)
    print("\nVQA's own script gives the same accuracies")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--vqa-script", metavar="FILE")
    args = parser.parse_args()
    folder = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "pope": pope(folder),
        "mme": mme(folder / "mme"),
        "scienceqa": science_qa(folder),
        "mmstar": mmstar(folder / "MMStar.tsv"),
        "mmbench": mmbench(folder / "mmbench_dev.tsv", copies=False),
        "mmbench_copies": mmbench(folder / "mmbench_dev_circular.tsv", copies=True),
        "vqa": vqa(folder),
    }
    if args.vqa_script:
        check_vqa(args.vqa_script, folder, *made["vqa"])
    expected = {name: {"answers": answers, "scores": scores} for name, (answers, scores) in made.items()}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
