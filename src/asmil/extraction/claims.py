"""Claims on slides by lock files, so that processes and machines share one folder and survive each other's death."""

import json
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path

from asmil.errors import RunError
from asmil.files import file_system_time, safe_name
from asmil.progress import Listener

FOLDER = ".claims"
HEARTBEAT_SECONDS = 15.0
STALE_SECONDS = 180.0
"""A claim of another machine counts as dead when nothing was heard of it for so long."""


@dataclass(frozen=True)
class Owner:
    """Who holds a claim: a process, by its number and start (a number is given again), on a machine since its boot.

    `token` names this one claim; `deaths` is how many processes died over it before.
    """

    host: str
    machine: str
    pid: int
    started: str
    token: str
    deaths: int = 0

    @classmethod
    def here(cls) -> "Owner":
        """This process, with a new token."""
        pid = os.getpid()
        return cls(platform.node(), _machine(), pid, _started(pid), secrets.token_hex(6))

    def text(self) -> str:
        """What is written into a lock."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class _Seen:
    """A lock as it was looked at: the number of its file, its owner, and until when (monotonic) that is believed."""

    inode: int
    owner: Owner
    until: float


class Claim:
    """A slide that is ours until `release`; `deaths` is how many processes died over it before."""

    def __init__(self, path: Path, owner: Owner, on_release: Callable[["Claim"], None]):
        self.path, self._owner, self._on_release = path, owner, on_release
        self.deaths = owner.deaths

    def release(self) -> None:
        """Let go; of a claim that somebody took over meanwhile nothing is removed."""
        self._on_release(self)
        if read_owner(self.path) == self._owner:
            with suppress(FileNotFoundError):
                self.path.unlink()

    def beat(self) -> None:
        """Tell other machines that we live, by the time of the file."""
        with suppress(OSError):
            if read_owner(self.path) == self._owner:
                os.utime(self.path)


class Claims:
    """The claims in an output folder, `.claims/<slide>.lock` each.

    A lock appears whole, by one atomic step (a hard link; exclusive creation where there are none), also on NFS. A dead
    owner is one whose process is gone from this machine, or of whom another machine heard nothing for
    `STALE_SECONDS`. Who wants its lock must first claim the right to replace it, a lock named by the dead one's token:
    so only one does, and whoever dies while replacing is replaced in the same way. `close` ends the heartbeat.
    """

    def __init__(self, folder: str | Path, *, within: str = FOLDER):
        self.folder = Path(folder) / within
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held: set[Claim] = set()
        self._seen: dict[str, _Seen] = {}
        self._stop = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()

    def take(self, slide: str) -> Claim | None:
        """Claim a slide that nobody claimed; None where somebody has, dead or alive."""
        return self._take(self._path(slide))

    def take_over(self, slide: str) -> Claim | None:
        """Claim a slide that nobody claimed or whose owner is dead; None where one lives."""
        return self._take_over(self._path(slide))

    def busy(self) -> frozenset[str]:
        """The slides, by the names of their files, that somebody alive has claimed.

        One listing of the folder, whatever the number of slides. Of each lock the owner is read and, where it is of
        another machine, the time asked for as often as the owner renews it; whether a process here lives costs nothing.
        """
        now = cache(self._now)
        with os.scandir(self.folder) as entries:
            locks = [entry for entry in entries if entry.name.endswith(".lock") and not entry.name.startswith(".")]
        looked = {lock.name.removesuffix(".lock"): self._look(lock, now=now) for lock in locks}
        self._seen = {slide: seen for slide, seen in looked.items() if seen is not None}
        return frozenset(self._seen)

    def left_behind(self) -> list[str]:
        """Slides whose owner is dead."""
        locks = [path for path in self.folder.glob("[!.]*.lock") if _dead(path, now=self._now) is not None]
        return sorted(path.name.removesuffix(".lock") for path in locks)

    def sweep(self) -> None:
        """Remove what processes left that died while they wrote a lock."""
        for path in self.folder.glob(".*.partial"):
            if _dead(path, now=self._now) is not None or _writer_is_dead(path):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release what is held and end the heartbeat."""
        self._stop.set()
        for claim in list(self._held):
            claim.release()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, lock: os.DirEntry[str], *, now: Callable[[], float]) -> _Seen | None:
        """What is known of a lock, from before where that is still believed; None where its owner is dead."""
        path, seen = Path(lock.path), self._seen.get(lock.name.removesuffix(".lock"))
        if seen is not None and seen.inode == lock.inode() and time.monotonic() < seen.until:
            return None if _is_here(seen.owner) and _is_dead(seen.owner, path, now=now) else seen
        owner = read_owner(path)
        if owner is None or _is_dead(owner, path, now=now):
            return None
        return _Seen(lock.inode(), owner, time.monotonic() + HEARTBEAT_SECONDS)

    def _path(self, slide: str) -> Path:
        return self.folder / f"{safe_name(slide)}.lock"

    def _take(self, path: Path) -> Claim | None:
        owner = Owner.here()
        return self._hold(path, owner) if _create(path, owner) else None

    def _take_over(self, path: Path) -> Claim | None:
        claim = self._take(path)
        if claim is not None:
            return claim
        dead = _dead(path, now=self._now)
        right = self._take_over(path.with_name(f"{path.name}.{dead.token}")) if dead else None
        if dead is None or right is None:
            return None
        try:
            if read_owner(path) != dead:
                return None
            owner = replace(Owner.here(), deaths=dead.deaths + 1)
            _beside(path, owner).replace(path)
            return self._hold(path, owner)
        finally:
            right.release()

    def _hold(self, path: Path, owner: Owner) -> Claim:
        claim = Claim(path, owner, self._held.discard)
        self._held.add(claim)
        return claim

    def _now(self) -> float:
        return file_system_time(self.folder)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            for claim in list(self._held):
                claim.beat()


def _create(path: Path, owner: Owner) -> bool:
    partial = _beside(path, owner)
    try:
        os.link(partial, path)
        return True
    except FileExistsError:
        return os.stat(partial).st_nlink > 1  # a server's answer may be lost and the request be sent again
    except OSError:  # a file system without hard links
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            file.write(owner.text())
        return True
    finally:
        partial.unlink()


def _beside(path: Path, owner: Owner) -> Path:
    # its name says whose it is, too: who is killed as the file is made writes nothing into it
    partial = path.with_name(f".{_place(owner.machine)}-{owner.pid}-{owner.started}.{secrets.token_hex(8)}.partial")
    try:
        partial.write_text(owner.text())
    except OSError as error:  # a full disk lets a file be made and nothing be written into it, and names none
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    return partial


@contextmanager
def sole(folder: Path, *, within: str, what: str, hear: Listener, parts: Sequence[str] = ("",)) -> Iterator[None]:
    """Be the only process that does `what` in a folder, by a lock in its folder `within`, which is gone afterwards.

    Of work in several `parts` there is a lock of each. The lock of a dead process is taken over, and that is said.

    Raises:
        RunError: another process does it, or one of another machine did until a moment ago.
    """
    fresh = not folder.exists()
    with Claims(folder, within=within) as claims:
        for does in [f"{what} {part}".strip() for part in parts]:
            name = does.replace(" ", "-")
            lock = claims.folder / f"{safe_name(name)}.lock"
            before, claim = read_owner(lock), claims.take_over(name)
            if claim is None:
                raise _taken(does, folder, read_owner(lock) or before or _UNREADABLE)
            if claim.deaths and before is not None:
                hear.note(f"process {before.pid} on {before.host}, {does} here, has died: its lock was taken over")
        try:
            yield
        finally:
            claims.close()
            claims.sweep()
            with suppress(OSError):  # somebody else's lock may be there by now
                claims.folder.rmdir()
                if fresh:  # a start that is refused leaves no folder
                    folder.rmdir()


def _taken(does: str, folder: Path, owner: Owner) -> RunError:
    return RunError(
        f"another process is {does} in {folder}",
        found=f"process {owner.pid} on {owner.host or 'a machine that did not say its name'}",
        fix="wait until it has ended, or choose another --out. If it is gone from another machine, its lock is "
        f"free {STALE_SECONDS / 60:.0f} minutes after its last sign of life",
    )


_UNREADABLE = Owner(host="", machine="", pid=0, started="", token="unreadable")


def read_owner(path: Path) -> Owner | None:
    """Who holds it; None where nobody does."""
    try:
        return Owner(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return _UNREADABLE


def _dead(path: Path, *, now: Callable[[], float]) -> Owner | None:
    """The owner of a lock if it is dead, else None."""
    owner = read_owner(path)
    return owner if owner is not None and _is_dead(owner, path, now=now) else None


def _is_dead(owner: Owner, path: Path, *, now: Callable[[], float]) -> bool:
    """Whether the owner of the lock at `path` is dead; of a process here without a look at the lock."""
    if _is_here(owner):
        return _started(owner.pid) != owner.started
    try:  # a sign of life from the future is no newer: the clock went back, and who lives gives another
        return abs(now() - path.stat().st_mtime) > STALE_SECONDS
    except FileNotFoundError:
        return False


def _writer_is_dead(partial: Path) -> bool:
    """Whether a half lock, by its name, is of a process of this machine that is dead."""
    named = re.fullmatch(r"\.([0-9a-f]+)-(\d+)-(\d+)\.[0-9a-f]+\.partial", partial.name)
    return named is not None and named[1] == _place(_machine()) and _started(int(named[2])) != named[3]


def _place(machine: str) -> str:
    """What a machine is called in the name of a file."""
    return blake2b(machine.encode(), digest_size=6).hexdigest() if machine else "unknown"


def _is_here(owner: Owner) -> bool:
    return bool(owner.machine) and owner.machine == _machine()


@cache
def _machine() -> str:
    """What process numbers are unique in: a machine since its boot, a container; empty where this cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process of this machine was started, in ticks since boot; empty if it is dead or cannot be looked at."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
