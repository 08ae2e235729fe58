"""Runs that are stopped at a moment of their choice, in this process."""

import threading

from data import files


class Killed(BaseException):
    """Stands for a kill: nothing in the project catches it."""


def stop_at(monkeypatch, moment, *watched):
    """Raise at a moment: just before or after a file takes its place, or before a call of those in `watched`, pairs of
    a module and a name. Returns the moments that were passed.
    """
    passed = []

    def pass_by(what):
        if threading.current_thread() is not threading.main_thread():
            return  # a heartbeat of Sacred's, which comes when it likes
        passed.append(what)
        if len(passed) == moment:
            raise Killed

    def watch(module, name, after=False):
        real = getattr(module, name)

        def counted(*args, **kwargs):
            pass_by(name)
            done = real(*args, **kwargs)
            if after:
                pass_by(f"after {name}")
            return done

        monkeypatch.setattr(module, name, counted)

    watch(files.os, "replace", after=True)  # every file of a run is written so
    for module, name in watched:
        watch(module, name)
    return passed
