"""A process that begins again is the same process to others, and holds nothing of what it was."""

import os
import subprocess
import sys

SCRIPT = """
import os, sys, threading, time
from stream_allocator.stream.afresh import begin_again
open_now = sorted(int(n) for n in os.listdir("/dev/fd"))
print(os.getpid(), threading.active_count(), len(open_now), sys.argv[1:], flush=True)
if not os.path.exists(sys.argv[1]):
    open(sys.argv[1], "w").close()
    for _ in range(5):
        for fd in os.pipe():
            os.set_inheritable(fd, True)  # as those of a client library are
    threading.Thread(target=time.sleep, args=(60,)).start()  # a thread that nobody can end
    begin_again()
"""


def test_a_process_begins_again_without_threads_and_descriptors_of_its_past(tmp_path):
    script = tmp_path / "again.py"
    script.write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(script), str(tmp_path / "was here"), "more words"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    first, second = run.stdout.splitlines()
    assert first == second
