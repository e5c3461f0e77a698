"""Runs the host `slow_host.py HOST` with 20 ms more for each answer, so that a test can kill it before the images end."""

import os
import runpy
import sys
import time

sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))

from rareclip_host import Session  # noqa: E402

answer = Session.answer


def slow(self, header, arrays):
    time.sleep(0.02)
    return answer(self, header, arrays)


Session.answer = slow
runpy.run_path(sys.argv[0], run_name="__main__")
