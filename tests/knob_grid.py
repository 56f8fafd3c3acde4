"""The knob settings under which every workflow is tested."""

from __future__ import annotations

GRID = [
    ("solo", {}),
    *(("eval_opt", {"rounds": rounds}) for rounds in (1, 2, 3, 6)),
    *(("eval_opt", {"refine": refine, "memory": m}) for refine in ("feedback", "different") for m in (False, True)),
    ("eval_opt", {"unparseable": "accept"}),
    *(("voting", {"votes": votes}) for votes in (1, 2, 3, 12)),
    *(("voting", {"fallback": fallback}) for fallback in ("digit", "first", "none")),
    *(("orch_workers", {"workers": workers}) for workers in (1, 3, 5)),
    *(("orch_workers", {"too_many": m, "unparseable": u}) for m in ("fail", "cut") for u in ("direct", "fail")),
    *(("search_answer", {"turns": turns, "every_turn": e}) for turns in (1, 4) for e in (False, True)),
    *(("search_answer", {"unparseable": u, "abstain": a, "tag": t}) for u, a, t in [("retry", True, "think"), ("stop", False, "reason")]),
    ("search_answer", {"given": ("one passage", "another")}),
    ("search_answer", {"style": "short", "abstain": True, "turns": 2}),
    *(("route_search", {"turns": turns, "missing": m}) for turns in (1, 4) for m in ("yes", "no")),
    *(("rewrite_rerank_answer", {"queries": q, "keep": k}) for q, k in [(1, 1), (3, 3), (5, 10)]),
    *(("solve_verify", {"loops": loops, "missing": m}) for loops in (1, 2, 4) for m in ("approve", "reject")),
    *(("debate", {"debaters": n, "rounds": r, "early": e}) for n, r, e in [(1, 1, False), (3, 2, True), (5, 3, False)]),
    *(("debate", {"decide": decide}) for decide in ("majority", "judge")),
    *(("chain", {"workers": workers}) for workers in (1, 3, 7)),
    *(("mixture", {"proposers": p, "layers": n}) for p, n in [(1, 1), (3, 2), (4, 3)]),
    *(("propose_review", {"bundles": n, "rounds": t}) for n, t in [(1, 1), (2, 5), (3, 8)]),
    *(("propose_review", {"controllers": c, "state": s}) for c, s in [("proposer", "vote"), ("reviewer", "time"), ("none", "both")]),
    *(("propose_review", {k: v}) for k, v in [("review", False), ("feedback", False), ("history", 0), ("keep_answer", True), ("stop_votes", 1)]),
    *(("code_and_tests", {"rounds": rounds}) for rounds in (1, 3)),
    *(("topology", {"agents": agents, "rounds": rounds}) for agents, rounds in [(2, 1), (3, 2), (6, 3)]),
    *(("swarm", {"workers": w, "rounds": r, "messages": m}) for w, r, m in [(1, 1, True), (4, 3, True), (8, 4, False)]),
    *(("swarm", {"tools": tools, "tool_calls": n}) for tools, n in [(("search",), 2), (("python", "run_examples"), 1), (("search",), 0)]),
]  # fmt: skip
