"""Ending processes with all that they have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from pytest_gpuexp import processes

SLEEPER = [sys.executable, "-S", "-c", "import time; print(1, flush=True); time.sleep(60)"]


def script(code: str) -> str:
    """Run ``code`` in an interpreter of its own and return what it printed."""
    head = "import os, signal, subprocess, sys, time\nfrom pytest_gpuexp import processes\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_signal_reaches_the_whole_group() -> None:
    code = (
        "leader = subprocess.Popen(['sh', '-c', 'sleep 60 & echo $!; wait'],"
        " stdout=subprocess.PIPE, start_new_session=True)\n"
        "member = int(leader.stdout.readline())\n"
        "processes.adopt_orphans()\n"
        "processes.signal_group(leader.pid, signal.SIGKILL)\n"
        "print(leader.wait(), os.waitpid(member, 0)[1])\n"
    )

    assert script(code) == "-9 9\n"


def test_a_signal_reaches_a_process_that_leads_no_group_yet() -> None:
    process = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()

    processes.signal_group(process.pid, signal.SIGKILL)
    process.stdout.close()

    assert process.wait() == -signal.SIGKILL


def test_a_signal_to_nobody_is_no_error() -> None:
    process = subprocess.Popen(["true"])
    process.wait()

    processes.signal_group(process.pid, signal.SIGTERM)


def test_orphans_are_adopted_and_ended_and_those_that_are_known_are_not() -> None:
    code = (
        "processes.adopt_orphans()\n"
        "known = subprocess.Popen(['sleep', '60'])\n"
        "orphan = 'if os.fork(): os._exit(0)\\nos.setsid()\\nos.fork()\\n'\n"
        "orphan += 'os.write(1, b\".\\\\n\")\\ntime.sleep(60)'\n"
        "words = [sys.executable, '-c', 'import os, time\\n' + orphan]\n"
        "parent = subprocess.Popen(words, stdout=subprocess.PIPE)\n"
        "parent.stdout.readline(), parent.stdout.readline(), parent.wait()\n"
        "print(processes.end_orphans({known.pid}), known.poll())\n"
        "print(processes.children() == [known.pid])\n"
        "known.kill(); known.wait()\n"
        "print(processes.end_orphans(()))\n"
    )

    assert script(code) == "2 None\nTrue\n0\n"


def test_a_process_ends_with_its_parent() -> None:
    code = (
        "processes.adopt_orphans()\n"
        "read, write = os.pipe()\n"
        "parent = os.fork()\n"
        "if not parent:\n"
        "    if not os.fork():\n"
        "        processes.end_with_parent()\n"
        "        os.write(write, b'x'); time.sleep(60); os._exit(0)\n"
        "    time.sleep(60)\n"
        "os.read(read, 1)\n"
        "os.kill(parent, 9)\n"
        "print(sorted(os.waitpid(-1, 0)[1] for _ in range(2)))\n"
    )

    assert script(code) == "[9, 9]\n"


def test_a_process_may_outlive_its_parent_and_is_known_as_its_heir() -> None:
    code = (
        "processes.adopt_orphans()\n"
        "read, write = os.pipe()\n"
        "parent = os.fork()\n"
        "if not parent:\n"
        "    if not os.fork():\n"
        "        processes.end_with_parent()\n"
        "        processes.outlive_parent()\n"
        "        os.write(write, b'x'); time.sleep(60); os._exit(0)\n"
        "    time.sleep(60)\n"
        "os.read(read, 1)\n"
        "os.kill(parent, 9), os.waitpid(parent, 0)\n"
        "print(processes.has_heirs(parent), processes.has_heirs(os.getpid()))\n"
        "[heir] = processes.children()\n"
        "os.kill(heir, 9), os.waitpid(heir, 0)\n"
        "print(processes.has_heirs(parent))\n"
    )

    assert script(code) == "True False\nFalse\n"


def test_a_process_is_told_by_pid_and_start() -> None:
    me = processes.start_time(os.getpid())
    first = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE)
    started = processes.start_time(first.pid)
    first.kill()
    first.wait()
    assert first.stdout is not None
    first.stdout.close()

    assert me == processes.start_time(os.getpid())
    assert started is not None
    assert int(started) >= int(me or 0)
    assert processes.start_time(first.pid) is None


def test_kills_for_memory_only_become_more() -> None:
    assert 0 <= processes.oom_kills() <= processes.oom_kills()


def test_the_memory_that_this_process_holds_is_told_as_it_is_now() -> None:
    before = processes.resident_bytes()
    held = bytearray(os.urandom(1)) * (64 << 20)

    assert processes.resident_bytes() - before > len(held) // 2
    del held
    assert processes.resident_bytes() - before < 32 << 20
