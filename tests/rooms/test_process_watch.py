"""That no test of this suite can leave processes behind, or start them without end."""

from __future__ import annotations

import os
import subprocess
import sys

from tests import process_watch


def test_a_process_that_left_its_parent_is_still_seen(watch: process_watch.ProcessWatch) -> None:
    script = (
        "import os, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid(); print(os.getpid(), flush=True); time.sleep(60)\n"
    )

    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    orphan = int(process.stdout.readline())
    process.wait()
    seen = watch.alive()
    os.kill(orphan, 9)
    process.stdout.close()

    assert orphan in seen


def test_processes_beyond_the_limit_are_killed_from_outside() -> None:
    code = (
        "import subprocess, sys, os, pathlib, tempfile\n"
        "from tests import process_watch\n"
        "file = pathlib.Path(tempfile.mkdtemp()) / 'excess'\n"
        "os.environ[process_watch.MARK] = 'inner'\n"
        "sleepers = [subprocess.Popen(['sleep', '60']) for _ in range(5)]\n"
        "words = ['inner', str(os.getpid()), '3', str(file)]\n"
        "watch = subprocess.Popen([sys.executable, process_watch.__file__, *words])\n"
        "codes = {sleeper.wait(20) for sleeper in sleepers}\n"
        "watch.kill(); watch.wait()\n"
        "print(codes, file.read_text())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=os.path.dirname(os.path.dirname(process_watch.__file__)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "{-9} 5\n", done.stderr
