"""MPI: every rank makes the same calls with its own rows, on as many threads as it has cores.

All verbs are collective and rest on one exchange (`MPIBackend.share`), in which each rank says what it
has, or how it failed. So ranks go on together or raise the same error together.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.backends import Backend, OpenMPBackend, Request, current_call
from parallel_ridge.exceptions import BackendUnavailable
from parallel_ridge.mpi._shards import ShardSource, as_shard
from parallel_ridge.numerics import LARGEST_SUM, pairwise_sum
from parallel_ridge.progress import showing
from parallel_ridge.reductions import Reduction, Value, in_floats, largest, pack, unpack
from parallel_ridge.sources import Source, Target
from parallel_ridge.streams import Stream
from parallel_ridge.threads import default_threads

S = TypeVar("S")
T = TypeVar("T")
V = TypeVar("V", bound=Value)
# Most numbers per MPI call: some libraries do not support counts beyond 2^31.
PIECE = 2**27
# Variables in which launchers tell each process how many they started.
LAUNCHERS = {
    "PMI_SIZE": "MPICH's, Intel MPI's or Slurm's PMI launcher",
    "OMPI_COMM_WORLD_SIZE": "Open MPI's mpiexec",
    "MV2_COMM_WORLD_SIZE": "MVAPICH's launcher",
    "SLURM_STEP_NUM_TASKS": "Slurm's srun",
}
# Variables with the number of processes on this machine.
NEIGHBOURS = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")


@dataclass
class Report:
    """What a backend has done since it was made, or since its report was replaced.

    Attributes
    ----------
    fold_seconds : float
        Spent on this rank's rows.
    reduce_seconds : float
        Spent on adding the values of all ranks, including the wait for the others.
    solve_seconds : float
        Spent on this rank's solves.
    reduced : list of int
        Bytes that this rank contributed to each all-reduce.
    exchanged_bytes : int
        Bytes that this rank contributed to small exchanges: agreement and results of solves.
    """

    fold_seconds: float = 0.0
    reduce_seconds: float = 0.0
    solve_seconds: float = 0.0
    reduced: list[int] = field(default_factory=list)
    exchanged_bytes: int = 0


@dataclass
class MPIBackend(Backend):
    """Run passes over the rows of all ranks, and distribute independent solves over the ranks.

    Every rank makes the same calls, each with its own rows (any number, including zero). Copies for
    other processes (pickles) hold the configuration without the communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, default=None
        Ranks that take part; None is ``MPI.COMM_WORLD``.
    n_threads : int, default=None
        Threads of this rank, as `n_jobs` of :class:`~parallel_ridge.OpenMPBackend`. None: the cores
        that this rank may use, shared evenly with the ranks that may use the same ones.
    features : str or sequence of str, default=None
        Feature columns of a table or a dataset, as of :class:`~parallel_ridge.OpenMPBackend`.

    Attributes
    ----------
    report : Report
        Times, and bytes that were sent.
    """

    comm: Any = None
    n_threads: int | None = None
    features: str | Sequence[str] | None = field(default=None, repr=False)
    report: Report = field(default_factory=Report, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return MPIBackend, (None, self.n_threads, self.features)

    def __deepcopy__(self, memo: dict[int, Any]) -> MPIBackend:
        return MPIBackend(self.comm, self.n_threads, self.features)

    def reduce(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Reduce this rank's rows and add the values of all ranks, arrays by an in-place all-reduce."""
        comm = self.communicator()
        value: Any = None

        def here() -> list[float]:
            nonlocal value
            start = time.perf_counter()
            own: Source = source.local if isinstance(source, ShardSource) else source
            with showing(False) if comm.rank else nullcontext():
                value = self._threads().reduce(reduction, own)
            self.report.fold_seconds += time.perf_counter() - start
            return largest(value)

        bounds = self.share("reduce", here)
        if comm.size == 1:
            return value
        start = time.perf_counter()
        floats = [sum(some) >= LARGEST_SUM for some in zip(*bounds, strict=True)]
        value = in_floats(reduction, value, floats)
        arrays = pack(value)
        if arrays is None:
            value = pairwise_sum(self.share("values", lambda: value))
        else:
            for array in arrays:
                self._add_up(comm, array)
            value = unpack(value, arrays)
        self.report.reduce_seconds += time.perf_counter() - start
        return value

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Distribute items over the ranks; every rank gets all results, with the same bits."""
        comm, items = self.communicator(), list(items)
        mine = range(comm.rank, len(items), comm.size)

        def here() -> list[S]:
            start = time.perf_counter()
            results = self._threads().map(lambda i: function(items[i]), mine)
            self.report.solve_seconds += time.perf_counter() - start
            return results

        results: list[Any] = [None] * len(items)
        for rank, part in enumerate(self.share("map", here)):
            results[rank :: comm.size] = part
        return results

    def gather(self, function: Callable[[], T]) -> list[T]:
        """Call `function` on every rank; return results in order of rank."""
        return self.share("gather", function)

    def can_read(self, X: Any) -> bool:
        """No: each rank reads arrays only."""
        return False

    def source(self, request: Request) -> tuple[Source, Target]:
        """The rows of one rank, with the facts of the rows of all ranks."""
        comm = self.communicator()
        if comm.size == 1:
            return super().source(request)
        return as_shard(self, comm.rank, request)

    def own_part(self, stream: Stream) -> Stream:
        """The rank's share of files that all ranks see; other streams are each rank's own."""
        comm = self.communicator()
        return stream.share(comm.rank, comm.size)

    def solve_threads(self) -> int:
        """Threads that a solve on this rank may use; asks no other rank."""
        return self._threads().n_threads()

    def communicator(self) -> Any:
        """The communicator; the first call is collective.

        Raises
        ------
        BackendUnavailable
            If mpi4py or its MPI library is missing, or if the launcher is not the library's.
        """
        try:
            from mpi4py import MPI  # importing it initialises MPI, so wait until it is needed
        except (ImportError, RuntimeError) as error:
            raise BackendUnavailable(
                f"backend='mpi' could not import mpi4py.MPI ({error}). Install "
                "parallel-ridge[mpi-embedded], which brings an MPI library, or parallel-ridge[mpi] "
                "beside one; or choose backend='openmp'."
            ) from error
        comm = MPI.COMM_WORLD if self.comm is None else self.comm
        if MPI.COMM_WORLD.size == 1:
            _refuse_lonely(MPI)
        if comm.Get_attr(_keyval(MPI)) is None:
            comm.Set_attr(_keyval(MPI), _fair_threads(comm, MPI))
        return comm

    def share(self, call: str, function: Callable[[], T]) -> list[T]:
        """Results of a function on all ranks, in order; the same list on each.

        Raises
        ------
        Exception
            The error of the first rank that failed, with the rank in its message, on every rank.
        """
        comm = self.communicator()
        rank, size = comm.rank, comm.size
        if size == 1:
            return [function()]
        failure: BaseException | None = None
        mine: Any = None
        try:
            mine = function()
            content = pickle.dumps(mine, protocol=5)
        except BaseException as error:
            failure = _named(error, rank, size)
            content = _pickled(failure, rank)
        # Ranks that make different public calls meet in the same exchange, and so detect it.
        head = f"{int(failure is not None)}{' '.join([current_call(), call]).strip()}\n".encode()
        messages = [_opened(message) for message in self._exchange(comm, head + content)]
        failed = [i for i, (head, _) in enumerate(messages) if head[0] == "1"]
        if failed:
            theirs = pickle.loads(messages[failed[0]][1])
            if failed[0] == rank and failure is not None and type(failure) is type(theirs):
                raise failure  # with its own traceback
            raise theirs from failure
        calls = [head[1:] for head, _ in messages]
        if len(set(calls)) > 1:
            raise RuntimeError(
                f"Ranks make different calls: {calls}, in order of rank. Every rank must make the same "
                "calls in the same order, such as fit and score, also ranks without rows."
            )
        return [
            mine if i == rank else pickle.loads(content) for i, (_, content) in enumerate(messages)
        ]

    def _exchange(self, comm: Any, message: bytes) -> list[memoryview]:
        """Messages of all ranks, in order."""
        self.report.exchanged_bytes += len(message)
        sizes = np.empty(comm.size, np.int64)
        comm.Allgather(np.array([len(message)]), sizes)
        ends = np.cumsum(sizes)
        received = np.empty(ends[-1], np.uint8)
        own = np.frombuffer(message, np.uint8)
        if len(received) <= PIECE:
            comm.Allgatherv(own, [received, sizes])
        else:
            received[ends[comm.rank] - len(own) : ends[comm.rank]] = own
            for root, (end, size) in enumerate(zip(ends, sizes, strict=True)):
                for piece in _pieces(received[end - size : end]):
                    comm.Bcast(piece, root)
        return [received[end - size : end].data for end, size in zip(ends, sizes, strict=True)]

    def _add_up(self, comm: Any, array: NDArray[Any]) -> None:
        """Sum of an array over the ranks, in place, with the same bits on each."""
        from mpi4py import MPI
        from xxhash import xxh3_64_intdigest

        flat = array.reshape(-1)
        for piece in _pieces(flat):
            comm.Allreduce(MPI.IN_PLACE, piece)
        self.report.reduced.append(flat.nbytes)
        # The MPI standard does not promise the same rounding on all ranks.
        if flat.dtype.kind == "f" and len(set(comm.allgather(xxh3_64_intdigest(flat.data)))) > 1:
            for piece in _pieces(flat):
                comm.Bcast(piece)

    def _threads(self) -> OpenMPBackend:
        """The backend for this rank's own rows."""
        return OpenMPBackend(self._default_threads() if self.n_threads is None else self.n_threads)

    def _default_threads(self) -> int:
        most = default_threads()
        MPI = sys.modules.get("mpi4py.MPI")
        if MPI is not None and MPI.Is_initialized() and not MPI.Is_finalized():
            fair = (MPI.COMM_WORLD if self.comm is None else self.comm).Get_attr(_keyval(MPI))
            if fair is not None:
                return min(most, int(fair))
        neighbours = max([1, *(int(os.environ.get(name) or 1) for name in NEIGHBOURS)])
        return min(most, max(1, len(_cores()) // neighbours))


def named(n_jobs: int | None = None) -> MPIBackend:
    """The backend that ``backend="mpi"`` means."""
    return MPIBackend(n_threads=n_jobs)


_keyvals: list[int] = []


def _keyval(MPI: Any) -> int:
    """The key under which a communicator stores the threads of its ranks."""
    if not _keyvals:
        _keyvals.append(MPI.Comm.Create_keyval())
    return _keyvals[0]


def _refuse_lonely(MPI: Any) -> None:
    """Raise if a launcher started several processes but each of them sees only itself."""
    for name, launcher in LAUNCHERS.items():
        started = os.environ.get(name, "")
        if started.isdigit() and int(started) > 1:
            library = MPI.Get_library_version().splitlines()[0].strip("\0 ")
            raise BackendUnavailable(
                f"{launcher} started {started} processes ({name}={started}), but the MPI library that "
                f"mpi4py has loaded ({library}) sees one: each would fit to its own rows alone. The "
                "launcher is another library's. Start with the mpiexec of the library that mpi4py "
                "uses (with srun: --mpi=pmi2 or pmix, as it was built), or keep only one MPI library "
                "in this environment; MPI4PY_LIBMPI chooses between two."
            )


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _fair_threads(comm: Any, MPI: Any) -> int:
    """Threads of this rank such that all ranks on this machine share the cores evenly."""
    import joblib

    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    mine = _cores()
    others = node.allgather(mine)
    share = sum(1.0 / sum(core in cores for cores in others) for core in mine)
    if joblib.cpu_count() < len(mine):  # all ranks in a container share its quota
        share = min(share, joblib.cpu_count() / node.size)
    node.Free()
    return max(1, int(share + 1e-9))


def _opened(message: memoryview) -> tuple[str, memoryview]:
    """Split a message into its first line and the rest."""
    end = bytes(message[:200]).index(b"\n")
    return bytes(message[:end]).decode(), message[end + 1 :]


def _pieces(array: NDArray[Any]) -> list[NDArray[Any]]:
    return [array[i : i + PIECE] for i in range(0, len(array), PIECE)]


def _named(error: BaseException, rank: int, size: int) -> BaseException:
    """The error with its rank in the message."""
    where = f"(rank {rank} of {size})"
    if isinstance(error, OSError) and error.strerror is not None:
        more = () if error.filename is None else (error.filename,)
        twin = type(error)(error.errno, f"{error.strerror} {where}", *more)
        return twin.with_traceback(error.__traceback__)
    if error.args and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]} {where}", *error.args[1:])
    else:
        error.add_note(where)
    return error


def _pickled(error: BaseException, rank: int) -> bytes:
    """Pickle an error with its traceback as a note; as a RuntimeError if it cannot be pickled."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    note = f"Raised on rank {rank} ({socket.gethostname()}):\n{trace}"
    try:
        twin = pickle.loads(pickle.dumps(error))
        if type(twin) is not type(error) or str(twin) != str(error):
            raise TypeError
        twin.add_note(note)
        return pickle.dumps(twin)
    except Exception:  # user-defined exceptions may fail in any way
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(note)
        return pickle.dumps(plain)
