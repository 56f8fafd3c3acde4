"""A server's cgroup: where it is made, what it is told, and what its verdict is; on invented files and, as root, on a real one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from cases import every

from llm_marl_envs.tools.sandbox import JobLimits, Sandbox, cgroup, places, variants
from llm_marl_envs.tools.sandbox.jobs import Part
from llm_marl_envs.tools.sandbox.server import ServerLost

HERE = [name for name, reason in variants().items() if reason is None]
MOUNT = "30 23 0:26 {root} {at} rw,nosuid - cgroup2 cgroup2 rw\n"
BOTH = "cpu memory pids"


def machine(folder: Path, own: str, groups: dict[str, tuple[str, str]], root: str = "/") -> Path:
    """Invented files: the mount and our own cgroup in /proc/self, and groups with (controllers, those handed on)."""
    proc, mount = folder / "proc", folder / "mount"
    proc.mkdir(parents=True)
    (proc / "mountinfo").write_text(f"21 1 0:5 / / rw - ext4 /dev/a rw\n{MOUNT.format(root=root, at=mount)}")
    (proc / "cgroup").write_text(f"4:memory:/old\n0::{own}\n")
    for name, (controllers, handed_on) in groups.items():
        (mount / name).mkdir(parents=True, exist_ok=True)
        for file, text in {
            "cgroup.controllers": controllers,
            "cgroup.subtree_control": handed_on,
            "cgroup.procs": "",
        }.items():
            (mount / name / file).write_text(text)
    return mount


@every(
    ("own", "groups", "root", "expected"),
    [
        ("/", {"": (BOTH, BOTH)}, "/", ""),
        ("/a/b", {"a": (BOTH, ""), "a/b": (BOTH, BOTH)}, "/", "a/b"),
        ("/a/b", {"a": (BOTH, BOTH), "a/b": ("cpu", "")}, "/", "a"),
        ("/outer/a", {"": (BOTH, BOTH), "a": (BOTH, BOTH)}, "/outer", "a"),
        (
            "/a/b",
            {"a": (BOTH, "memory"), "a/b": ("memory", "")},
            "/",
            "a has processes of its own and hands no control on",
        ),
        ("/a", {"": ("", ""), "a": ("cpu", "cpu")}, "/", "does not control memory and pids"),
        ("/a", {"": ("cpu memory", "memory"), "a": ("cpu memory", "memory")}, "/", "does not control pids"),
        ("/gone", {}, "/", "gone is not to be seen here"),
        ("/../elsewhere", {"": (BOTH, BOTH)}, "/", "is not to be seen here"),
        ("/elsewhere", {"": (BOTH, BOTH)}, "/outer", "no cgroups of version 2 are to be seen"),
    ],
)
def test_where_groups_are_made(own, groups, root, expected, tmp_path, monkeypatch):
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    mount = machine(folder, own, groups, root)
    monkeypatch.setattr(cgroup, "PROC", folder / "proc")
    # the kernel does not let a group with processes hand on what it has
    monkeypatch.setattr(Path, "write_text", lambda *_: (_ for _ in ()).throw(OSError("busy")))
    place, reason = cgroup.home()
    monkeypatch.undo()
    if place is None:
        assert reason.endswith(expected), reason
        assert len(expected) > 5
    else:
        assert (place, reason) == (mount / expected if expected else mount, "")


def test_a_machine_without_groups_or_leave_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "PROC", tmp_path / "nothing")
    assert cgroup.home() == (None, "no cgroups of version 2 are to be seen")
    machine(tmp_path, "/", {"": (BOTH, BOTH)})
    monkeypatch.setattr(cgroup, "PROC", tmp_path / "proc")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cgroup.home()[1].endswith("may not be written to")


def test_our_own_group_is_told_to_hand_on(tmp_path, monkeypatch):
    mount = machine(tmp_path, "/", {"": (BOTH, "")})
    monkeypatch.setattr(cgroup, "PROC", tmp_path / "proc")
    assert cgroup.home()[0] is None, "invented files do not obey"
    assert (mount / "cgroup.subtree_control").read_text() == "+memory +pids"


@pytest.fixture
def invented(tmp_path, monkeypatch):
    """Groups of invented files, which are removed like others: with all that is in them."""
    mount = machine(tmp_path, "/", {"": (BOTH, BOTH)})
    monkeypatch.setattr(cgroup, "PROC", tmp_path / "proc")
    rmdir = os.rmdir

    def remove(folder: str, **named: int | None) -> None:
        for file in Path(folder).iterdir() if not named else ():
            file.unlink()
        rmdir(folder, **named)

    monkeypatch.setattr(os, "rmdir", remove)
    return mount


@pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")
def test_a_server_joins_and_a_job_has_its_limit(invented, monkeypatch):
    """Its address space, its four files, and the work folder, for one process or two; 64 MB for the server."""

    def lose(seconds: float) -> bytes:
        raise ServerLost("the kernel has ended the server, too")

    starved = [False]
    monkeypatch.setattr(cgroup.Cgroup, "starved", lambda self: starved[0])
    with Sandbox(HERE[0], workers=1) as box:
        limits = JobLimits(memory_mb=100, output_kb=64, files_mb=2)
        assert box.run("print(1)", limits=limits).stdout == "1\n"
        (group,) = invented.glob("llm-marl-server-*")
        assert (group / "cgroup.procs").read_text() == "0\n"
        assert (group / "pids.max").read_text() == str(2 * 256 + 16)
        assert (group / "memory.swap.max").read_text() == "0"
        part = (100 + 64) << 20
        assert int((group / "memory.max").read_text()) == part + 5 * ((2 << 20) + 1) + (64 << 20)
        assert box.examine("def f(): return 1", "assert f() == 1", limits).status == "ok"
        assert int((group / "memory.max").read_text()) == 2 * part + 9 * ((2 << 20) + 1) + (64 << 20)
        assert box.run("1 / 0").status == "error"
        starved[0] = True
        assert box.run("1 / 0").status == "memory"
        assert box.run("print(1)").status == "ok", "another process may have been ended"
        (server,) = box._servers
        monkeypatch.setattr(server, "_answer", lose)
        run, goes_on = server.play((Part("program", "pass"),), JobLimits())
        assert (run.status, goes_on) == ("memory", False)
    assert not group.exists()


def test_who_was_starved(invented):
    group = cgroup.Cgroup(invented, 100)
    events = group.folder / "memory.events"
    seen = []
    for count in (0, 2, 2, 3):
        events.write_text(f"low 0\noom {count}\noom_kill {count}\n")
        seen.append(group.starved())
    assert seen == [False, True, False, True]
    group.close()
    assert not group.folder.exists()


def real() -> Path | None:
    """Where cgroups of version 2 can be made, whatever they control."""
    with contextlib.suppress(OSError, ValueError):
        mount, _ = cgroup._mount()
        probe = mount / f"{places.NAME}probe"
        probe.mkdir()
        probe.rmdir()
        return mount
    return None


@pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")
def test_a_real_group_is_joined_and_removed(monkeypatch):
    """All but the limits, for which the kernel must control memory in groups of version 2."""
    if (mount := real()) is None:
        pytest.skip("no cgroups of version 2 can be made here")
    write = cgroup.Cgroup._write
    monkeypatch.setattr(cgroup, "home", lambda: (mount, ""))
    monkeypatch.setattr(
        cgroup.Cgroup, "_write", lambda self, name, text: write(self, name, text) if "cgroup" in name else None
    )
    with Sandbox(HERE[0], workers=1) as box:
        assert box.run("print(1)").stdout == "1\n"
        (server,) = box._servers
        assert server.group is not None
        inside = {int(line) for line in (server.group.folder / "cgroup.procs").read_text().split()}
        assert server.process.pid in inside
        assert len(inside) >= 6, "the server and the processes that wait for jobs are all in it"
        assert os.getpid() not in inside
        folder = server.group.folder
    assert not folder.exists()
