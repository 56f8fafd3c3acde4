"""Small traces that ask for much: knobs, waves, formulas, replies, programs, tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hostile.making import (
    MB,
    Case,
    Json,
    between,
    bomb,
    data_of,
    played,
    remade,
    voted,
)


def knobs() -> Iterator[Case]:
    for env, of_task, of_workflow in (
        ("arithmetic/chain", {}, {"workers": 10**9}),
        ("arithmetic/voting", {}, {"votes": 10**7}),
        ("arithmetic/solo", {"terms": 10**7}, {}),
        ("arithmetic/solo", {"test_size": 10**8}, {}),
        ("arithmetic/solo", {"digits": 100, "terms": 100, "test_size": 20_000}, {}),
        ("arithmetic/solo", {"digits": 3, "operators": "+-*" * 100_000, "test_size": 20_000}, {}),
        ("arithmetic/eval_opt", {}, {"rounds": 10**30}),
        ("atlas/solo", {"size": 20_000, "test_size": 20_000}, {}),
        ("atlas/solo", {"size": 5, "test_size": 20_000}, {}),
        ("snippets/solo", {"steps": 3, "test_size": 20_000}, {}),
        ("snippets/solo", {"cpu_s": 1e9}, {}),
        ("atlas/swarm", {}, {"workers": 1000, "rounds": 1000, "tool_calls": 1000}),
    ):
        given = " ".join(f"{name}={str(value)[:12]}" for name, value in (of_task | of_workflow).items())
        line = remade(env=f"{env}-v1", task_knobs=of_task, workflow_knobs=of_workflow)
        yield Case(f"{env} {given}", between(line), ".", fast="terms=1000" in given)
    several = [remade(env="atlas/solo-v1", task_knobs={"size": 20_000, "test_size": 19_000 + i}) for i in range(30)]
    yield Case("thirty worlds of 20,000", between(*several), "CPU seconds|not looked at|question", good=1, bad=31)


def waves() -> Iterator[Case]:
    """Small traces of which a workflow makes something large."""
    text = "x" * 2000
    yield Case(
        "a debate of a thousand",
        between(lambda: bomb("debate", {"debaters": 1000}, lambda call: text, 1000)),
        "MB of memory|CPU seconds",
    )
    yield Case(
        "a mixture of a thousand",
        between(lambda: bomb("mixture", {"proposers": 1000}, lambda call: text, 1000)),
        "MB of memory|CPU seconds|event|not over",
    )
    yield Case(
        "a thousand who all broadcast",
        between(lambda: bomb("topology", {"agents": 1000}, lambda call: "broadcast_all", 1000)),
        "CPU seconds|MB of memory",
    )
    yield Case(
        "sixty who all broadcast",
        between(lambda: bomb("topology", {"agents": 60}, lambda call: "broadcast_all", 60)),
        "not over|event",
        fast=True,
    )
    plan = "\n".join(f"STRATEGY {i}: {'y' * 1900}" for i in range(1, 1000))
    yield Case(
        "a thousand strategies",
        between(lambda: bomb("orch_workers", {"workers": 1000}, lambda call: plan, 1)),
        "not over|event|MB|CPU",
    )
    script = {"spawner_0": "999", "delegator_0": "all", "stopper_0": "continue"}
    links = "\n".join(f"worker_{i} -> all" for i in range(999))

    def swarm(call: Any) -> str:
        return links if call.agent == "communicator_0" else script.get(call.agent, "z" * 2000)

    yield Case(
        "a swarm in which all read all",
        between(lambda: bomb("swarm", {"workers": 999}, swarm, 3 + 999 + 1)),
        "MB of memory|CPU seconds",
    )
    yield Case("a dozen bombs", between(*map(one_of_many, range(12))), "MB|CPU|not looked at", good=1, bad=13)


def one_of_many(number: int) -> Callable[[], bytes]:
    return lambda: bomb("debate", {"debaters": 300 + number}, lambda call: "x" * 7000, 300 + number)


FORMULAS = {
    "a tower": "9^{9^{9^{9}}}",
    "ten to a billion": "10**(10**9)",
    "a factorial": "(10^9)!",
    "an integral": "\\int_0^{100}\\sin(x^2)e^{x}dx",
    "an integral of a tower": "\\int_0^{100} \\sin(x^{x^{x}}) dx",
    "sines of sines": "\\sin(\\cos(\\tan(\\sin(\\cos(9)))))",
    "a product of powers": "(a+b+c+d+e+f)^{40}(a-b)^{40}",
    "a sum": "\\sum_{n=1}^{10^{12}} \\frac{\\sin(n^n)}{n}",
    "a product": "\\prod_{k=1}^{10000000} (x+k)",
    "a power of a sum": "(a+b+c+d+e+f)^{4000}",
    "roots of roots": "\\sqrt{2+" * 40 + "2" + "}" * 40,
    "a hundred thousand brackets": "(" * 100_000 + "1" + ")" * 100_000,
    "braces": "{" * 50_000,
    "a long number": "9" * 100_000,
    "a matrix": "\\begin{pmatrix}" + "1&" * 3000 + "1\\end{pmatrix}",
    "spaces": "1" + " " * 100_000 + "2",
    "binomials": "\\binom{10^{8}}{10^{7}}",
    "commas": "1," * 30_000,
}


def formulas(data_dir: str) -> Iterator[Case]:
    """In answers to a question of MATH-500."""
    for name, text in FORMULAS.items():
        trace = played("math500/solo", f"\\boxed{{{text}}}", data_dir=data_dir)
        yield Case(name, between(trace.to_json().encode()), good=3, bad=0, value=0.0)
    late = [f"\\boxed{{\\int_0^{{{i}}}\\sin(x^2)e^{{x}}dx}}" for i in range(100, 150)]
    trace = voted("math500", late, data_dir)
    yield Case("fifty integrals", between(trace), good=3, bad=0, value=0.0)


REGEXES = {
    "tags that do not close": "<think>" * 200_000,
    "tags that close": "</think>" * 200_000,
    "boxes that do not close": "\\boxed{" * 100_000,
    "dollars": "$" * 500_000,
    "stars": "**" * 300_000 + "Correct",
    "fences": "```python\n" * 100_000,
    "backticks": "`" * 1_000_000,
    "line ends": "\n" * 1_000_000 + "18",
    "spaces before a mark": " " * 1_000_000 + "####",
    "phrases": "the answer is " * 100_000,
    "digits and commas": "1,000," * 150_000,
    "angles": "<" * 1_000_000,
    "combining marks": "e" + "\u0301" * 500_000,
    "ligatures": "\ufdfa" * 300_000,
}


def regexes() -> Iterator[Case]:
    for name, text in REGEXES.items():
        for task in ("arithmetic", "atlas", "snippets"):
            make = between(lambda task=task, text=text: played(f"{task}/solo", text).to_json().encode())
            yield Case(f"{name}, {task}", make, good=3, bad=0, value=0.0)


PROGRAMS = {
    "it never ends": "while True: pass",
    "it eats memory": "x = []\nwhile True: x.append(bytearray(10**7))",
    "it eats memory at once": "x = bytearray(10**12)",
    "ten to a billion": "x = 10**(10**9)",
    "it recurses": "def f(x): return f(x)\nf(1)",
    "it sleeps": "import time\ntime.sleep(10**6)",
    "it forks": "import os\nwhile True: os.fork()",
    "it starts threads": "import threading\nwhile True: threading.Thread(target=lambda: 1 / 0).start()",
    "it prints without end": "while True: print('x' * 10**6)",
    "it writes files without end": "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'w').write('x' * 10**6)",
    "it kills": "import os\nos.kill(-1, 9)",
    "a deep expression": "x = " + "(" * 5000 + "1" + ")" * 5000,
    "it is long": "x = 1\n" * 10_000,
    "values without end": "def solve(v):\n    return iter(int, 1)",
    "a huge value": "def solve(v):\n    return [0] * 10**8",
}


def programs() -> Iterator[Case]:
    for name, text in PROGRAMS.items():
        trace = played("snippets/solo", f"```python\n{text}\n```")
        yield Case(name, between(trace.to_json().encode()), good=3, bad=0, value=0.0)
    loops = [f"```python\ndef solve(v):\n    while True: v = {i}\n```" for i in range(200)]
    yield Case("two hundred that never end", between(voted("snippets", loops)), good=3, bad=0, value=0.0)
    slow = remade(played("snippets/solo", loops[0]), task_knobs={"cpu_s": 60})
    yield Case("a minute for a program", between(slow), good=3, bad=0, value=0.0)


# Tools.


def tools() -> Iterator[Case]:
    trace = played(
        "atlas/search_answer",
        "<search>river</search>",
        "<stop>",
        "<answer>x</answer>",
        size=200,
        train_size=5,
        test_size=5,
    )
    data = data_of(trace)
    at = next(i for i, event in enumerate(data["events"]) if event["event"] == "UseTool")
    call = data["events"][at]

    def other(**changes: Any) -> list[Json]:
        return [event | (changes if i == at else {}) for i, event in enumerate(data["events"])]

    for name, changes, says in (
        ("a server", {"task_knobs": data["task_knobs"] | {"retriever": "http://127.0.0.1:9/"}}, ""),
        ("a file as a server", {"task_knobs": data["task_knobs"] | {"retriever": "file:///etc/passwd"}}, ""),
        ("a corpus", {"task_knobs": data["task_knobs"] | {"corpus": "/etc/passwd"}}, "corpus"),
        ("a corpus up the tree", {"task_knobs": data["task_knobs"] | {"corpus": "../" * 40 + "etc/passwd"}}, "corpus"),
        ("a result that is invented", {"events": other(reply='Doc 1(Title: "x") x')}, "event"),
        ("a tool that is not there", {"events": other(tool="shell", args={"command": "id"})}, "event"),
        ("an argument too many", {"events": other(args=call["args"] | {"question": "x"})}, "event"),
        ("arguments of 5 MB", {"events": other(args={"query": "river " * MB})}, "event"),
        ("no arguments", {"events": other(args={})}, "event"),
        ("a result of 5 MB", {"events": other(reply="x" * 5 * MB)}, "event"),
        ("it worked better", {"events": other(worked=0.5)}, "event|worked"),
    ):
        line = remade(trace, **changes)
        yield Case(
            name,
            between(line),
            says,
            good=2 if says else 3,
            bad=1 if says else 0,
            tools=True,
            value=None if says else 0.0,
        )
    dear = "<search>" + "river " * 150 + "</search>"
    made = played("atlas/search_answer", dear, "<stop>", "<answer>x</answer>", size=200, train_size=5, test_size=5)
    yield Case("a long query", between(made.to_json().encode()), good=3, bad=0, tools=True, value=0.0)
