"""Drives the page of `burn-revision serve` in headless Chromium, and takes pictures of it.

    pip install -r tests/reference/serve/requirements.txt        # and a Chromium: `playwright install chromium`, or apt
    burn-revision serve --model runs/stage2/model &
    python tests/reference/serve/page.py --picture cat.jpg --output screenshots/ --question 'What is it?' 'What colour is it?'

Chooses the picture, asks the questions, and expects answers that are streamed, an error for what is no picture, and that
everything can be reached with a keyboard. `desktop-light.png` is what the book and the README show.
"""

import argparse
import pathlib
import shutil

from playwright.sync_api import expect, sync_playwright

SIZES = {"desktop": {"width": 1180, "height": 720}, "phone": {"width": 390, "height": 780}}


def ask(page, picture, questions):
    """A conversation about a picture; returns the answers."""
    page.set_input_files("#file", picture)
    expect(page.locator("#about")).to_contain_text(picture.name)
    answers = []
    for number, question in enumerate(questions):
        if page.locator("#question").is_visible():
            page.locator("#question").fill(question)
            page.keyboard.press("Enter")
        else:
            page.locator("#send").click()
        answer = page.locator(".turn:not(.mine)").nth(number)
        expect(answer.locator(".meta span").first).to_be_visible(timeout=120_000)
        answers.append(answer.locator(".text span").last.inner_text())
    assert page.locator(".turn.bad").count() == 0, page.locator(".turn.bad").all_inner_texts()
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--picture", type=pathlib.Path, required=True)
    parser.add_argument("--question", nargs="+", default=["What is it?", "Describe the picture."])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("."))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    broken = options.output / "page.png"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for size, viewport in SIZES.items():
            for colours in ("light", "dark"):
                context = browser.new_context(viewport=viewport, color_scheme=colours, device_scale_factor=2)
                page = context.new_page()
                problems, outside = [], []
                page.on("pageerror", lambda error, problems=problems: problems.append(str(error)))
                page.on("request", lambda request, outside=outside: outside.append(request.url))
                page.goto(options.url)
                expect(page.locator("#send")).to_be_visible()
                page.screenshot(path=options.output / f"{size}-{colours}-empty.png")
                answers = ask(page, options.picture, options.question)
                print(size, colours, answers)
                assert all(answer.strip() for answer in answers)
                status = page.locator("#status").inner_text()
                assert status == f"Answer: {answers[-1]}", (answers, status)
                page.screenshot(path=options.output / f"{size}-{colours}.png")
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, f"{size}: the page is {wide} pixels too wide"

                # What is no picture: the server says so, and the conversation can go on.
                broken.write_bytes(b"<html>")
                page.set_input_files("#file", broken)
                expect(page.locator("#about")).to_contain_text("page.png")
                if page.locator("#question").is_visible():
                    page.locator("#question").fill("What is it?")
                page.locator("#send").click()
                error = page.locator(".turn.bad")
                expect(error).to_contain_text("expected a PNG, JPEG")
                page.screenshot(path=options.output / f"{size}-{colours}-error.png")
                assert ask(page, options.picture, options.question[:1]) == answers[:1]

                # With the keyboard alone, and by the names that a screen reader says.
                names = page.evaluate(
                    """[...document.querySelectorAll('button, input, textarea, summary, [tabindex]')]
                       .filter(e => e.checkVisibility()).map(e => e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText)"""
                )
                assert all(name and name.strip() for name in names), names
                page.keyboard.press("Tab")
                assert page.evaluate("document.activeElement !== document.body")
                assert all(url.startswith((options.url, "data:", "blob:")) for url in outside), outside
                assert not problems, problems
                context.close()
        broken.unlink()
        browser.close()
    print("all as expected")


if __name__ == "__main__":
    main()
