"""Many clients at once of `burn-revision serve`, a third of which behave badly, and what becomes of its memory.

    burn-revision serve --model runs/stage2/model &
    python tests/reference/serve/load.py --picture cat.jpg --pid $! --seconds 600

Needs Python alone. Good clients ask, streaming or not, and come back later where they are told to; the others hang up in
the middle, send rubbish, half a request, or pictures that are too large. Expected are an answer to every good request, no
panic, and a memory that does not grow after the first minute.
"""

import argparse
import asyncio
import base64
import json
import pathlib
import random
import time
import urllib.parse
import zlib
import struct


def large_picture(side=20_000):
    """A PNG of `side` times `side` pixels in a few hundred kilobytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Load:
    def __init__(self, options):
        self.options = options
        url = urllib.parse.urlsplit(options.url)
        self.host, self.port = url.hostname, url.port
        self.picture = base64.b64encode(options.picture.read_bytes()).decode()
        self.large = base64.b64encode(large_picture()).decode()
        self.counts, self.seconds, self.first, self.problems = {}, [], [], []
        self.end = time.monotonic() + options.seconds

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def body(self, picture, **settings):
        image = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}}
        text = [{"type": "text", "text": self.options.question}] if self.options.question else []
        messages = [{"role": "user", "content": [image, *text]}]
        return json.dumps({"model": self.options.model, "messages": messages, **settings}).encode()

    def head(self, length):
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"Connection: close\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    async def open(self):
        return await asyncio.open_connection(self.host, self.port)

    async def exchange(self, body):
        """Status, headers and body of an answer, and the seconds to its first event."""
        begun = time.monotonic()
        reader, writer = await self.open()
        try:
            writer.write(self.head(len(body)) + body)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first = time.monotonic() - begun
            rest = await reader.read()
        finally:
            writer.close()
        lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        return int(lines[0].split()[1]), headers, rest, first

    async def good(self, chance):
        is_streamed = chance.random() < 0.5
        settings = {"max_tokens": chance.randint(4, self.options.tokens), "temperature": chance.choice([0, 1])}
        body = self.body(self.picture, stream=is_streamed, **settings)
        begun = time.monotonic()
        while True:
            status, headers, answer, first = await self.exchange(body)
            if status not in (429, 503):
                break
            self.count(f"told to come back ({status})")
            await asyncio.sleep(min(int(headers["retry-after"]), 5) * chance.random())
        if status == 200 and (b"[DONE]" in answer if is_streamed else b'"finish_reason"' in answer):
            self.count("good, answered")
            self.seconds.append(time.monotonic() - begun)
            if is_streamed:
                self.first.append(first)
        else:
            self.count("good, NOT answered")
            self.problems.append(f"{status}: {answer[:300]!r}")

    async def expecting(self, what, body, *statuses):
        status, _, answer, _ = await self.exchange(body)
        if status == 429:
            self.count("bad, told to come back")
        elif status in statuses:
            self.count(f"{what}, refused ({status})")
        else:
            self.problems.append(f"{what}: {status}: {answer[:300]!r}")

    async def bad(self, chance):
        kind = chance.randrange(6)
        if kind == 0:
            reader, writer = await self.open()
            body = self.body(self.picture, stream=True, max_tokens=self.options.tokens)
            writer.write(self.head(len(body)) + body)
            await writer.drain()
            await asyncio.sleep(chance.random())
            self.count("hung up in the middle of an answer")
            writer.close()
        elif kind == 1:
            reader, writer = await self.open()
            body = self.body(self.picture)
            writer.write(self.head(len(body)) + body[: len(body) // 2])
            await writer.drain()
            await asyncio.sleep(chance.random())
            self.count("hung up in the middle of a request")
            writer.close()
        elif kind == 2:
            reader, writer = await self.open()
            writer.write(bytes(chance.randrange(256) for _ in range(2000)))
            try:
                await asyncio.wait_for(reader.read(), 5)
            except (TimeoutError, asyncio.TimeoutError, ConnectionError):
                pass
            self.count("sent rubbish")
            writer.close()
        elif kind == 3:
            await self.expecting("no JSON", b"{" * 1000, 400)
        elif kind == 4:
            rubbish = base64.b64encode(bytes(chance.randrange(256) for _ in range(5000))).decode()
            await self.expecting("no picture", self.body(rubbish), 400)
        else:
            await self.expecting("too many pixels", self.body(self.large), 400)

    async def client(self, number):
        chance = random.Random(number)
        while time.monotonic() < self.end:
            try:
                await (self.bad if number % 3 == 0 else self.good)(chance)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                if number % 3:
                    self.count("good, NOT answered")
                    self.problems.append(repr(error))
            except Exception as error:
                self.problems.append(repr(error))
            await asyncio.sleep(chance.random() * 0.05)

    def memory(self):
        """Resident megabytes of the server."""
        lines = pathlib.Path(f"/proc/{self.options.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    async def watch(self):
        begun = time.monotonic()
        found = []
        while time.monotonic() < self.end:
            await asyncio.sleep(self.options.seconds / 20)
            found.append((time.monotonic() - begun, self.memory()))
            answered = self.counts.get("good, answered", 0)
            print(f"{found[-1][0]:6.0f} s  {found[-1][1]:7.1f} MB  {answered} answered", flush=True)
        return found

    async def run(self):
        memory = asyncio.create_task(self.watch()) if self.options.pid else None
        await asyncio.gather(*(self.client(number) for number in range(self.options.clients)))
        for what, count in sorted(self.counts.items()):
            print(f"{count:7} {what}")
        middle = lambda values: sorted(values)[len(values) // 2] if values else float("nan")
        print(f"median seconds of a good answer {middle(self.seconds):.2f}, to its head {middle(self.first):.2f}")
        for problem in self.problems[:10]:
            print("problem:", problem)
        if memory:
            found = await memory
            rows = [size for seconds, size in found if seconds > min(60, self.options.seconds / 4)]
            print(f"memory after the first minute: {min(rows):.1f} to {max(rows):.1f} MB")
        assert not self.problems, f"{len(self.problems)} problems"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="burn-revision")
    parser.add_argument("--picture", type=pathlib.Path, required=True)
    parser.add_argument("--question", default="What is it?", help="empty for a model of captions")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pid", type=int, help="of the server, to watch its memory")
    asyncio.run(Load(parser.parse_args()).run())


if __name__ == "__main__":
    main()
