"""One run on several devices: as many processes go through the same loop, step by step, each with a device of its own.

All of them hold the same model and the same options, and so come to every call of this module with the same thing to
do. Nothing is divided but what takes the time: batches that are scored (`shared`) and the rows of a training batch (see
`dividing`). The first process is the user's own, which alone has a record, a lock, files and a voice; with one device
there is no other, and every function here gives back what it was given.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from data.names import Refused

Item = TypeVar("Item")
Made = TypeVar("Made")
LONGEST = timedelta(days=7)  # that a process waits for one that is busy; that one has ended is noticed at once
PAUSE = 5e-5  # s between two looks at whether the others are there
LOOK = 0.02  # s between two looks at whether all have met
NOTICED = 10.0  # s in which the end of a process is known after its connection broke


@dataclass(frozen=True)
class Group:
    """The processes of a run, as one of them sees them."""

    rank: int = 0
    size: int = 1
    sync_batchnorm: bool = True
    watch: Callable[[], None] = lambda: None  # raises where another one has ended
    end: Callable[[], None] = lambda: None  # ends the others, if they are this one's to end
    on_device: Any = None  # torch's group for tensors on GPUs; None where they travel through the CPU


ALONE = Group()
_group = ALONE


def group() -> Group:
    """The processes of this run."""
    return _group


@contextmanager
def joined(group: Group, folder: Path, device: torch.device) -> Iterator[None]:
    """Be one of the processes for a block. They meet in `folder`, which is empty before and theirs alone.

    CPUs, and GPUs that share one device, exchange numbers by gloo, GPUs of their own by NCCL.
    """
    import torch.distributed as dist

    global _group
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody beyond this machine can reach them
    store = dist.FileStore(str(folder / "store"), group.size)  # type: ignore[attr-defined]
    way = {"store": store, "rank": group.rank, "world_size": group.size, "timeout": LONGEST}
    _watched(lambda: dist.init_process_group("gloo", **way), group)
    try:
        _group = group
        places = gathered(device.index or 0)  # once all have met here the folder may go
        if device.type == "cuda" and len(set(places)) == group.size:
            torch.cuda.set_device(device.index or 0)
            _group = replace(group, on_device=_watched(lambda: _met_on(device), group))
        yield
    except BaseException:
        group.end()  # or what they still have to send would be waited for
        raise
    finally:
        _group = ALONE
        dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Compute for a block without the others, as when a picture is drawn."""
    global _group
    before, _group = _group, ALONE
    try:
        yield
    finally:
        _group = before


def shared(work: Callable[[int, Item], Made], items: Sequence[Item], device: torch.device | None = None) -> Iterator:
    """`work(number, item)` of all items in their order; each process does every n-th and gets the others' results.

    Tensors of others arrive on `device`. What is refused is refused by all processes, as by one: at the first item.
    """
    if _group.size == 1:
        yield from (work(number, item) for number, item in enumerate(items))
        return
    for first in range(0, len(items), _group.size):
        number, made = first + _group.rank, None
        try:
            made = work(number, items[number]) if number < len(items) else None
        except Refused as refused:
            made = refused
        for result in gathered(made)[: len(items) - first]:
            if isinstance(result, Refused):
                raise result
            yield moved(result, device) if device is not None else result


def first_says(value: Made) -> Made:
    """The value of the first process, for all of them."""
    if _group.size == 1:
        return value
    return gathered(value if _group.rank == 0 else None)[0]  # type: ignore[return-value] - the first is no None


def gathered(value: Made) -> list[Made]:
    """The values of all processes; tensors on the CPU."""
    if _group.size == 1:
        return [value]
    mine = torch.frombuffer(bytearray(pickle.dumps(moved(value, torch.device("cpu")))), dtype=torch.uint8)
    lengths = [int(length) for length in rows_of_all(torch.tensor([len(mine)]))]
    padded = torch.zeros(max(lengths), dtype=torch.uint8)
    padded[: len(mine)] = mine
    found = rows_of_all(padded).view(_group.size, -1)
    return [pickle.loads(row[:length].numpy().tobytes()) for row, length in zip(found, lengths, strict=True)]


def rows_of_all(rows: Tensor) -> Tensor:
    """The rows of all processes, of which each has as many, one process after the other."""
    import torch.distributed as dist

    place = rows.device if _group.on_device else torch.device("cpu")
    mine = rows.detach().to(place).contiguous().reshape(-1).view(torch.uint8)  # bytes: every type can travel
    found = [torch.empty_like(mine) for _ in range(_group.size)]
    _done(dist.all_gather(found, mine, group=_on(place), async_op=True))
    whole = torch.cat(found).view(rows.dtype).view(-1, *rows.shape[1:])
    return whole.to(rows.device)


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, the same to the last bit in each."""
    import torch.distributed as dist

    place = values.device if _group.on_device else torch.device("cpu")
    total = values.detach().to(place, copy=True).contiguous()
    _done(dist.all_reduce(total, group=_on(place), async_op=True))
    return total.to(values.device)


def require_alike(model: nn.Module, what: str) -> None:
    """Refused where the weights of the processes have come to differ, which their picks would after them."""
    if _group.size == 1:
        return
    digest = 0
    for value in model.state_dict().values():  # tensors, and what else a model keeps, such as the names of its head
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest = zlib.crc32(flat.numpy().tobytes(), digest)
        else:
            digest = zlib.crc32(repr(value).encode(), digest)
    if len(set(gathered(digest))) > 1:
        raise Refused(f"the devices of this run disagree on {what}: use devices=1, which needs no agreement")


def moved(value: Any, device: torch.device) -> Any:
    """The same with its tensors on a device."""
    if isinstance(value, Tensor):
        return value.detach().to(device)
    if isinstance(value, dict):
        return {name: moved(part, device) for name, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(moved(part, device) for part in value)
    return value


def _watched(meet: Callable[[], Made], group: Group) -> Made:
    """What comes of a meeting that hears nothing until all are there; the end of another one and Ctrl-C are heard."""
    made, failed = list[Made](), list[Exception]()

    def run() -> None:
        try:
            made.append(meet())
        except Exception as error:
            failed.append(error)

    meeting = Thread(target=run, daemon=True)  # one that nobody comes to is left behind
    meeting.start()
    while meeting.is_alive():
        group.watch()
        meeting.join(LOOK)
    if failed:
        _told(group)
        raise failed[0]
    return made[0]


def _met_on(device: torch.device) -> Any:
    """torch's group for tensors on GPUs of their own, after a first exchange: they meet in the folder."""
    import torch.distributed as dist

    torch.cuda.set_device(device)  # of this thread
    found = dist.new_group(backend="nccl", timeout=LONGEST)
    dist.all_reduce(torch.zeros(1, device=device), group=found)
    torch.cuda.synchronize(device)
    return found


def _on(place: torch.device) -> Any:
    """torch's group for tensors there; None is that of the CPU."""
    return _group.on_device if place.type == "cuda" else None


def _done(work: Any) -> None:
    """Wait for an exchange; a process that has ended is noticed, and Ctrl-C is heard, while nothing comes."""
    while not work.is_completed():
        _group.watch()
        time.sleep(PAUSE)
    try:
        work.wait()
    except RuntimeError:  # the connection broke, before anything else is known of the other process
        _told(_group)
        raise


def _told(group: Group) -> None:
    """Raises if another process turns out to have ended."""
    end = time.monotonic() + NOTICED
    while time.monotonic() < end:
        group.watch()
        time.sleep(0.05)
