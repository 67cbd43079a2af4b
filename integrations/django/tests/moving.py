"""Sessions that other engines have made, for tests that move them."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
TABLES = {
    "before_django": "django_session",
    "before_qsessions": "qsessions_session",
    "before_user_sessions": "user_sessions_session",
}


def environment(settings, **more):
    """Returns the environment of a process of the project that moves, with these settings."""
    paths = [str(HERE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    path = os.pathsep.join(filter(None, paths))
    return os.environ | {"DJANGO_SETTINGS_MODULE": f"moving_shop.{settings}", "PYTHONPATH": path} | more


def run(settings, *arguments, stdin=None, **more):
    """Runs Python in an environment, and returns what it has printed."""
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(settings, **more), input=stdin, capture_output=True, text=True,
        check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Maker:
    """A process that makes sessions by an old engine; see moving_shop/make.py."""

    def __init__(self, settings, **more):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moving_shop.make"], env=environment(settings, **more), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.make([])

    def make(self, wanted):
        """Makes sessions, and returns their keys."""
        print(json.dumps(wanted), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(timeout=60) == 0
