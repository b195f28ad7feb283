"""Threads: how many, and BLAS held to them."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import pytest
from _data.estimators import NAN, SOLVERS, at, make_data, run_python
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits

from parallel_ridge import (
    OpenMPBackend,
    ParallelRidgeClassifier,
    threads,
)

CORES = joblib.cpu_count()


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def watched_backend(n_jobs=None):
    """A backend that keeps, for each block, the most threads that the kernel and BLAS could use."""

    class WatchedBackend(OpenMPBackend):  # local, so that it travels to worker processes by value
        def reduce(self, reduction, source):
            self.seen, add = [], reduction.add

            def watched(total, block):
                pools = threadpool_info()
                blas = [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]
                self.seen.append(max([getattr(total, "n_threads", 1), *blas]))
                add(total, block)

            reduction.add = watched
            return super().reduce(reduction, source)

    return WatchedBackend(n_jobs)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fold_uses_the_threads_it_was_given_and_gives_blas_its_own_back(solver):
    X, y = make_data(500, 8)
    before = blas_threads()
    for n_jobs in (1, 2):
        backend = watched_backend(n_jobs)
        model = ParallelRidgeClassifier(backend=backend, solver=solver).fit(X, y)
        assert max(backend.seen) <= n_jobs
        assert blas_threads() == before
        with pytest.raises(ValueError, match="NaN"):
            model.fit(at(X, NAN), y)
        model.predict(X)
        assert blas_threads() == before


def test_fits_at_once_give_the_same_bits_and_give_blas_its_threads_back():
    X, y = make_data(20_000, 60)
    before = blas_threads()
    alone = ParallelRidgeClassifier(n_jobs=1, store_statistics=True).fit(X, y)
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(ParallelRidgeClassifier(n_jobs=n, store_statistics=True).fit, X, y)
            for n in (1, 2, None, 1, 2, None)
        ]
        assert all(job.result().statistics_ == alone.statistics_ for job in jobs)
    assert blas_threads() == before


def test_blas_has_its_threads_back_when_the_last_of_several_fits_ends():
    # threadpoolctl lets one living thread alone set the limit of an OpenBLAS with its own threads:
    # whoever comes first and goes first must not take the way back along.
    before = blas_threads()
    first_is_in, second_is_in, first_is_out, end = (threading.Event() for _ in range(4))

    def first():
        with threads.blas_threads(1):
            first_is_in.set()
            second_is_in.wait(10)
        first_is_out.set()
        end.wait(10)

    def second():
        first_is_in.wait(10)
        with threads.blas_threads(1):
            second_is_in.set()
            first_is_out.wait(10)
            assert set(blas_threads()) == {1}

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        try:
            pool.submit(second).result()
            assert blas_threads() == before
        finally:
            end.set()
    assert blas_threads() == before


def test_a_fit_does_not_keep_other_threads_from_limiting_blas():
    X, y = make_data()
    before = blas_threads()
    ParallelRidgeClassifier(n_jobs=1).fit(X, y)

    def limited():
        with threadpool_limits(1, user_api="blas"):
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        assert set(pool.submit(limited).result()) == {1}
        backend = watched_backend(1)
        pool.submit(ParallelRidgeClassifier(backend=backend).fit, X, y).result()
        assert max(backend.seen) == 1
    assert blas_threads() == before


def test_worker_threads_of_joblib_use_one_thread_each():
    threads = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(lambda: OpenMPBackend().n_threads())() for _ in range(6)
    )
    assert threads == [1] * 6


@pytest.mark.parametrize("workers", ["threading", "loky"])
def test_a_grid_search_never_uses_more_threads_than_cores(workers):
    X, y = make_data()

    def most_threads(model, X, y):  # in place of a score, to come back from the worker
        return max(OpenMPBackend().n_threads(), *model.backend.seen)

    model = ParallelRidgeClassifier(backend=watched_backend())
    with joblib.parallel_config(backend=workers):
        search = GridSearchCV(model, {"alpha": [1, 2]}, n_jobs=2, cv=2, scoring=most_threads)
        search.fit(X, y)
    assert search.cv_results_["mean_test_score"].max() * 2 <= max(2, CORES)


def test_limits_of_threadpoolctl_hold():
    X, y = make_data()
    with threadpool_limits(1):
        assert OpenMPBackend().n_threads() == 1
        backend = watched_backend()
        ParallelRidgeClassifier(backend=backend).fit(X, y)
        assert max(backend.seen) == 1 and set(blas_threads()) == {1}


def test_negative_jobs_count_from_all_cores():
    assert OpenMPBackend(-1).n_threads() == CORES
    assert OpenMPBackend(-CORES).n_threads() == OpenMPBackend(-CORES - 5).n_threads() == 1
    assert OpenMPBackend(3).n_threads() == 3


def test_omp_num_threads_is_respected():
    code = "from parallel_ridge import OpenMPBackend; print(OpenMPBackend().n_threads())"
    assert run_python(code, OMP_NUM_THREADS="1").strip() == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_of_a_process_that_has_fitted_can_fit():
    # GNU OpenMP's pool of threads does not survive a fork: a child that waits for it waits forever.
    code = """
        import os, signal, time
        import numpy as np
        from parallel_ridge import ParallelRidgeClassifier
        X, y = np.random.default_rng(0).normal(size=(9000, 100)), np.arange(9000) % 3
        coef = ParallelRidgeClassifier().fit(X, y).coef_
        child = os.fork()
        if not child:
            os._exit(not np.allclose(ParallelRidgeClassifier().fit(X, y).coef_, coef))
        for _ in range(200):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.05)
        else:
            os.kill(child, signal.SIGKILL)
            status = "hangs"
        print(status)
    """
    assert run_python(code).strip() == "0"
