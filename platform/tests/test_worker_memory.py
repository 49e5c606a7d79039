"""A worker's processes do not search for garbage in what was loaded before they were forked."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, multiprocessing, threading
from syncline.background.processes import follow_forks

def frozen(pipe):
    pipe.send(gc.get_freeze_count())

before = len(gc.get_objects())
follow_forks()
here, there = multiprocessing.Pipe()
child = multiprocessing.get_context("fork").Process(target=frozen, args=(there,))
child.start()
print(here.recv() >= 0.9 * before, len(gc.get_objects()) < 0.5 * before)
child.join()
"""


def test_what_was_loaded_is_kept_out_of_the_search_in_each_process() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == ["True", "True"]
