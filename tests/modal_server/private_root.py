"""Gives a process a root directory of its own, then becomes the container's runtime.

``python -I -S private_root.py PLAN`` reads what to do from a JSON file: ``binds`` are pairs of a
folder or file of this machine and the path where the container has it; all else of the machine's
root is seen unchanged. Nothing is made on the machine, and all is gone with the process. It takes
root, or user namespaces.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_BIND, _RECURSIVE, _PRIVATE, _UNBINDABLE = 4096, 16384, 1 << 18, 1 << 17
_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    if plan["binds"]:
        _unshare()
        _mount("none", "/", _RECURSIVE | _PRIVATE)
        root = plan["root"]
        _mount("tmpfs", root, 0, "tmpfs")
        _mount("none", root, _UNBINDABLE)
        targets = sorted(plan["binds"], key=lambda pair: pair[1].count("/"))
        _show("/", root, [target for _, target in targets])
        for source, target in targets:
            _show_at(source, root + target)
        os.chroot(root)
    os.makedirs(plan["workdir"], exist_ok=True)
    os.chdir(plan["workdir"])
    os.execve(plan["words"][0], plan["words"], plan["environ"])


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    if _LIBC.unshare(_NEW_MOUNTS if uid == 0 else _NEW_MOUNTS | _NEW_USER):
        error = os.strerror(ctypes.get_errno())
        sys.exit(f"a container needs a root of its own, and this machine gives none: {error}")
    if uid:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {uid} 1"),
            ("gid_map", f"0 {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def _mount(source: str, target: str, flags: int, kind: str | None = None) -> None:
    words = (source.encode(), target.encode(), kind.encode() if kind else None)
    if _LIBC.mount(*words, ctypes.c_ulong(flags), None):
        error = os.strerror(ctypes.get_errno())
        sys.exit(f"cannot mount {source} at {target}: {error}")


def _show(folder: str, root: str, targets: list[str]) -> None:
    """Show what is in ``folder``; folders on the way to a target are made anew, entry by entry."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if path in targets:
            continue
        if any(target.startswith(path + "/") for target in targets) and os.path.isdir(path):
            os.makedirs(root + path, exist_ok=True)
            _show(path, root, targets)
        elif os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.exists(path):
            _show_at(path, root + path)


def _show_at(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "x").close()
    _mount(source, target, _BIND | _RECURSIVE)


if __name__ == "__main__":
    main()
