"""The official `openai` client against `burn-revision serve`, unchanged.

    pip install -r tests/reference/serve/requirements.txt
    burn-revision serve --model runs/stage2/model &
    python tests/reference/serve/client.py --picture cat.jpg

Ends with "all as expected", or with the first expectation that is not met.
"""

import argparse
import base64
import mimetypes
import pathlib

import openai


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--key", default="none")
    parser.add_argument("--picture", type=pathlib.Path, required=True)
    parser.add_argument("--question", default="What is it?")
    options = parser.parse_args()

    client = openai.OpenAI(base_url=f"{options.url}/v1", api_key=options.key, max_retries=0)
    models = client.models.list().data
    assert len(models) == 1, models
    model = models[0].id
    assert client.models.retrieve(model).id == model
    print("model:", model)

    kind = mimetypes.guess_type(options.picture.name)[0]
    address = f"data:{kind};base64,{base64.b64encode(options.picture.read_bytes()).decode()}"
    takes_questions = models[0].burn_revision["takes_questions"]
    question = [{"type": "text", "text": options.question}] if takes_questions else []
    asked = [{"role": "user", "content": [*question, {"type": "image_url", "image_url": {"url": address}}]}]

    whole = client.chat.completions.create(model=model, messages=asked, max_tokens=40, seed=1)
    text = whole.choices[0].message.content
    print("answer:", text)
    assert whole.object == "chat.completion" and whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens

    stream = client.chat.completions.create(
        model=model, messages=asked, max_tokens=40, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == text, (pieces, text)
    assert chunks[-1].usage == whole.usage, (chunks[-1].usage, whole.usage)
    print("streamed in", len([piece for piece in pieces if piece]), "pieces")

    if takes_questions:
        history = [*asked, {"role": "assistant", "content": text}, {"role": "user", "content": "Are you sure?"}]
        longer = client.chat.completions.create(model=model, messages=history, max_tokens=8)
        assert longer.usage.prompt_tokens > whole.usage.prompt_tokens

    def fails(kind, words, messages=asked, model=model, **settings):
        try:
            client.chat.completions.create(model=model, messages=messages, **settings)
        except kind as error:
            assert words in str(error), (words, str(error))
            print(f"{kind.__name__}: {error.body['message']}")
            return
        raise AssertionError(f"{kind.__name__} was expected: {words}")

    def shown(url):
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]

    fails(openai.NotFoundError, "does not exist", model="gpt-4o")
    fails(openai.BadRequestError, "fetches nothing", messages=shown("https://example.com/cat.jpg"))
    page = base64.b64encode(b"<html>").decode()
    fails(openai.BadRequestError, "expected a PNG", messages=shown(f"data:image/png;base64,{page}"))
    fails(openai.BadRequestError, "expected system", messages=[{"role": "wizard", "content": "hi"}])
    fails(openai.BadRequestError, "send 1", n=2)
    fails(openai.BadRequestError, "from 0 to 2", temperature=9)
    print("all as expected")


if __name__ == "__main__":
    main()
