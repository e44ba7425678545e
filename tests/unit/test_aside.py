from __future__ import annotations

import threading

import pytest

from services.landing.aside import Aside


def test_work_runs_beside_its_owner_until_it_is_finished() -> None:
    may_end, done = threading.Event(), []

    def work() -> None:
        assert may_end.wait(10)
        done.append(threading.current_thread().name)

    with Aside() as aside:
        assert not aside.is_running() and not aside.finish()
        aside.start(work)
        assert aside.is_running()
        may_end.set()
        assert aside.finish() and not aside.is_running()
        assert done and done != [threading.current_thread().name]
        assert not aside.finish()


def test_what_the_work_raised_is_raised_when_it_is_finished() -> None:
    with Aside() as aside:
        aside.start(_fail)
        with pytest.raises(ValueError, match="of the work"):
            aside.finish()
        assert not aside.finish()


def test_leaving_waits_and_raises() -> None:
    with pytest.raises(ValueError, match="of the work"), Aside() as aside:
        aside.start(_fail)


def test_what_the_owner_raised_comes_first() -> None:
    done = []
    with pytest.raises(KeyError), Aside() as aside:
        aside.start(lambda: done.append(1))
        raise KeyError
    assert done


def _fail() -> None:
    raise ValueError("of the work")
