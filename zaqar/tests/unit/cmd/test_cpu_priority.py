# SPDX-License-Identifier: Apache-2.0
"""Priority of a process that is loading."""

from __future__ import annotations

import pathlib
import subprocess
import sys

from benchmarks import target

#: In a process of its own, since not everybody may raise the priority again.
_PROGRAM = """
import os
import threading
from zaqar.cmd import cpu_priority

# Other work may keep it from a processor for longer than usual.
cpu_priority.PATIENCE = 600
usual = os.sched_getscheduler(0)
is_lowered = cpu_priority.lower()
ended = threading.Event()
thread = threading.Thread(target=ended.wait)
thread.start()
numbers = [0, thread.native_id]
lowered = [os.sched_getscheduler(number) for number in numbers]
cpu_priority.restore()
restored = [os.sched_getscheduler(number) for number in numbers]
ended.set()
idle = {os.SCHED_IDLE}
print(not is_lowered, set(lowered) == idle, set(restored) == {usual})
"""


def test_a_lowered_priority_is_restored_for_all_threads() -> None:
    unchanged, lowered, restored = _run(_PROGRAM).split()
    assert restored == 'True'
    assert lowered != unchanged


#: Without a folder that lists its threads.
_BLIND = """
import os
from zaqar.cmd import cpu_priority

cpu_priority._THREADS = '/proc/self/missing'
usual = os.sched_getscheduler(0)
assert not cpu_priority.lower()
assert os.sched_getscheduler(0) == usual
"""

#: While it is still loading.
_SLOW = """
import os
import time
from zaqar.cmd import cpu_priority

cpu_priority.PATIENCE = 0.01
usual = os.sched_getscheduler(0)
cpu_priority.lower()
end = time.monotonic() + 60
while os.sched_getscheduler(0) != usual:
    assert time.monotonic() < end
    time.sleep(0.01)
"""

#: While it closes its stores.
_CLOSING = """
import os
import sys
import time
from zaqar.cmd import cpu_priority, server

cpu_priority.PATIENCE = 0.01
usual = os.sched_getscheduler(0)
words = ['--config-file', sys.argv[1]]
with server._running(words, lambda service: None) as (service, _):
    close = service.close

    def slow():
        end = time.monotonic() + 60
        while os.sched_getscheduler(0) != usual:
            assert time.monotonic() < end
            time.sleep(0.01)
        close()
        print('closed', flush=True)

    service.close = slow
"""

#: In a child of the supervisor; the parent writes a line.
_CHILD = """
import os
from zaqar.cmd import cpu_priority
from zaqar.cmd.supervisor import Child, Supervisor

def fail():
    raise RuntimeError

cpu_priority.lower = fail
_, writing = os.pipe()
try:
    pid = Supervisor([])._start(Child('child', lambda ready: None), writing)
    os.waitpid(pid, 0)
finally:
    print('The parent ends', flush=True)
"""


def _run(program: str, *words: str) -> str:
    return subprocess.run(
        [sys.executable, '-c', program, *words],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_priority_that_could_not_be_restored_stays() -> None:
    _run(_BLIND)


def test_a_priority_is_restored_in_time_even_while_loading() -> None:
    _run(_SLOW)


def test_a_priority_is_restored_in_time_even_while_stores_are_closed(
    tmp_path: pathlib.Path,
) -> None:
    conf = tmp_path / 'zaqar.conf'
    uri = f'sqlite:///{tmp_path}/zaqar.sqlite'
    conf.write_text(target.settings(uri))
    assert _run(_CLOSING, str(conf)).endswith('closed\n')


def test_a_child_that_fails_at_its_start_does_not_go_on_as_the_parent() -> (
    None
):
    assert _run(_CHILD) == 'The parent ends\n'
