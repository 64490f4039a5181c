"""The official Python client against `arkit serve`: what it sends is understood, and it understands what it gets."""
import asyncio
import sys
import tempfile

import openai
from serving import Server, make_model


def check(true, what):
    if not true:
        raise AssertionError(what)


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def talk(client):
    check([m.id for m in client.models.list()] == ["tiny"], "models")
    one = client.completions.create(model="tiny", prompt=["the cat", "hello"], max_tokens=8, temperature=0, logprobs=2, n=2, seed=1)
    check(len(one.choices) == 4 and one.choices[0].text == one.choices[1].text, one)
    check(len(one.choices[0].logprobs.token_logprobs) == one.usage.completion_tokens // 4, one)
    pieces = list(client.completions.create(model="tiny", prompt="the cat", max_tokens=8, temperature=0, stream=True))
    check("".join(p.choices[0].text for p in pieces) == one.choices[0].text, pieces)
    said = [{"role": "user", "content": "hello"}]
    chat = client.chat.completions.create(model="tiny", messages=said, max_completion_tokens=8, temperature=0, logprobs=True, top_logprobs=3)
    check(chat.choices[0].message.role == "assistant" and chat.choices[0].finish_reason in ("stop", "length"), chat)
    check(len(chat.choices[0].logprobs.content[0].top_logprobs) == 3, chat)
    stream = client.chat.completions.create(model="tiny", messages=said, max_tokens=8, temperature=0, stream=True,
                                            stream_options={"include_usage": True})
    events = list(stream)
    check("".join(e.choices[0].delta.content or "" for e in events if e.choices) == chat.choices[0].message.content, events)
    check(events[-1].usage.total_tokens == chat.usage.total_tokens, events[-1])
    check(refused(openai.NotFoundError, lambda: client.completions.create(model="gpt", prompt="a")).code == "model_not_found", "code")
    check(refused(openai.BadRequestError, lambda: client.completions.create(model="tiny", prompt="a", temperature=-3)).param == "temperature", "param")
    refused(openai.BadRequestError, lambda: client.embeddings.create(model="tiny", input="a"))
    refused(openai.AuthenticationError, lambda: client.with_options(api_key="wrong").models.list())


async def many(address, key):
    async with openai.AsyncOpenAI(base_url=address, api_key=key, max_retries=0) as client:
        async def ask(i):
            answer = await client.completions.create(model="tiny", prompt=f"one {i}", max_tokens=10, temperature=0)
            return answer.choices[0].text
        together = await asyncio.gather(*(ask(i) for i in range(64)))
        alone = [await ask(i) for i in range(64)]
        check(together == alone, "64 at once are the same as one by one")


with tempfile.TemporaryDirectory() as folder:
    server = Server(sys.argv[1], make_model(sys.argv[2], folder), "--api_key", "a-key")
    address = f"http://127.0.0.1:{server.port}/v1"
    with openai.OpenAI(base_url=address, api_key="a-key", max_retries=0) as one_client:
        talk(one_client)
    asyncio.run(many(address, "a-key"))
    check(server.stop()[0] == 0, "exit code")
