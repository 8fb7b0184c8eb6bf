"""The git repository of a workspace: kept in the mirror as what no remote has of it, and put together again from that.

The mirror holds no `.git` folder. Two files in it are mirrored like any other, so that they are versioned, exported and
restored with the rest: `.git/vaporform/state` (lines `origin URL`, `branch NAME`, `commit ID`) and
`.git/vaporform/commits.bundle` (https://git-scm.com/docs/git-bundle), the commits of all branches, tags and the newest
stash that no remote branch has. Both are made by git, inside the sandbox.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from vaporform_mcp.errors import InvalidPath, SandboxLost, VaporformError
from vaporform_mcp.exclusions import PRUNED_FOLDERS
from vaporform_mcp.sandboxes.base import (
    Command,
    CommandResult,
    FileContent,
    FileFault,
    FileStat,
    RunState,
    Sandbox,
)
from vaporform_mcp.types import WorkspacePath, parse_path
from vaporform_mcp.workspace.importing import GitAccess

__all__ = ["FOLDER", "STATE", "Repository", "Returned", "bring_back"]

STATE = WorkspacePath(".git/vaporform/state")
_BUNDLE = WorkspacePath(".git/vaporform/commits.bundle")
_TRACKED = WorkspacePath(".git/vaporform/tracked")
FOLDER = WorkspacePath(".git")
_SIGNS = [
    WorkspacePath(f".git/{name}")
    for name in ("HEAD", "index", "config", "packed-refs", "logs/HEAD", "refs", "refs/heads", "refs/tags")
]
"""What changes whenever there is a new commit, branch, stash or origin, or another path is tracked."""

_KEEP_S = 60.0
_FETCH_S = 120
_BACK_S = 300.0
_TAIL_BYTES = 300
_MAX_TRACKED_BYTES = 4 * 1024 * 1024

_GIT = r"""
export GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0 LC_ALL=C
git() { command git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c gc.auto=0 "$@"; }
at=.git/vaporform
"""

_KEEP = (
    _GIT
    + r"""
set -e
git rev-parse --git-dir >/dev/null
mkdir -p $at
new=$at/new.$$
trap 'rm -f $new.*' EXIT
stash=$(git rev-parse -q --verify refs/stash >/dev/null && echo refs/stash || true)
refs=$( (git for-each-ref; git rev-parse -q --verify HEAD || true) | git hash-object --stdin)
{
    git config --get remote.origin.url | head -n 1 | sed -E 's#^([a-z+]+://)[^/@]*@#\1#; s#^#origin #' || true
    git symbolic-ref -q --short HEAD | sed 's#^#branch #' || true
    git rev-parse -q --verify 'HEAD^{commit}' | sed 's#^#commit #' || true
    echo "refs $refs"
} > $new.state
git ls-files -z -- "$@" > $new.tracked
if ! grep -qsx "refs $refs" $at/state; then
    count=$(git rev-list --count HEAD --branches --tags $stash --not --remotes 2>/dev/null || echo 0)
    if [ "$count" -gt 0 ]; then
        git bundle create $new.bundle HEAD --branches --tags $stash --not --remotes 2>/dev/null
        mv $new.bundle $at/commits.bundle
    else
        rm -f $at/commits.bundle
    fi
fi
cmp -s $new.state $at/state || mv $new.state $at/state
mv $new.tracked $at/tracked
"""
)

# What it prints last tells how it went: see `Returned`.
_BRING_BACK = (
    _GIT
    + r"""
[ -e .git/HEAD ] && { echo whole; exit 0; }
command -v git >/dev/null || { echo no-git; exit 0; }
value() { sed -n "s/^$1 //p" $at/state | head -n 1; }
fetch() {
    timeout $FETCH_S git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c gc.auto=0 $OPTIONS fetch -q "$@" \
        >/dev/null 2>&1
}
lacking() {
    if [ -e $at/commits.bundle ]; then sed -n '/^$/q; s/^-\([0-9a-f]*\).*/\1/p' $at/commits.bundle
    else echo $commit; fi | while read -r each; do
        [ -z "$each" ] || git cat-file -e "$each^{commit}" 2>/dev/null || echo "$each"
    done
}
origin=$(value origin) branch=$(value branch) commit=$(value commit)
git init -q . || { echo failed; exit 0; }
[ -z "$branch" ] || git symbolic-ref HEAD "refs/heads/$branch"
if [ -n "$origin" ]; then
    git remote add origin "$origin"
    fetch $DEPTH --tags origin || unreached=1
    # What was made here may build on what no branch has now, or on what lies deeper.
    [ -n "$unreached" ] || [ -z "$(lacking)" ] || fetch $DEPTH origin $(lacking) || true
    if [ -z "$unreached" ] && [ -n "$(lacking)" ] && [ -e .git/shallow ]; then
        fetch --unshallow --tags origin || unreached=1
    fi
fi
if [ -e $at/commits.bundle ]; then
    git fetch -q --update-head-ok $at/commits.bundle '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*' \
        >/dev/null 2>&1 || true
    stash=$(git bundle list-heads $at/commits.bundle refs/stash 2>/dev/null | cut -d ' ' -f 1)
    if [ -n "$stash" ] && git fetch -q $at/commits.bundle refs/stash >/dev/null 2>&1; then
        git stash store -q "$stash" 2>/dev/null
    fi
fi
if [ -n "$commit" ]; then
    git cat-file -e "$commit^{commit}" 2>/dev/null || { rm -f .git/HEAD; echo ${unreached:+un}reached; exit 0; }
    if [ -n "$branch" ]; then git update-ref "refs/heads/$branch" "$commit"
    else git update-ref --no-deref HEAD "$commit"; fi
    git reset -q || { echo failed; exit 0; }
    [ -z "$branch" ] || git branch -q --set-upstream-to="origin/$branch" >/dev/null 2>&1
fi
echo ${unreached:+partly-}whole
"""
).replace("$FETCH_S", str(_FETCH_S))


class Returned(StrEnum):
    """What came back of a repository."""

    WHOLE = "whole"
    PARTLY = "partly-whole"  # all that was made here, but its origin could not be reached
    UNREACHED = "unreached"  # what was made here builds on commits of an origin that could not be reached
    LACKING = "reached"  # the commit it was at is neither in its origin any more nor was it kept
    NO_GIT = "no-git"
    FAILED = "failed"


class Repository:
    """Keeps the repository of one sandbox's workspace, if it has one, as a step of each sync."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._seen: Sequence[FileStat | FileFault | None] | None = None
        self._paths: Sequence[WorkspacePath] = ()
        self.problems: Sequence[str] = ()

    async def paths(self, *, is_there: bool, pruned: Collection[str]) -> Sequence[WorkspacePath]:
        """What of it is to be mirrored though a scan passes it over: the two files, and what git itself tracks in
        folders that are excluded by default. Git is asked only where its own files have changed.

        `is_there` says whether the workspace has the folder `FOLDER`."""
        if not is_there:
            self._seen, self._paths, self.problems = None, (), ()
            return ()
        seen = list(await self._sandbox.stat_files(_SIGNS))
        if seen != self._seen:
            self._paths = await self._keep(pruned)
            self._seen = seen
        return self._paths

    async def _keep(self, pruned: Collection[str]) -> Sequence[WorkspacePath]:
        names = sorted((PRUNED_FOLDERS & frozenset(pruned)) - {".git"})
        specs = " ".join(f"':(glob)**/{name}/**'" for name in names)
        result = await _run(self._sandbox, f"sh -s -- {specs} # keeps the commits that no remote has", _KEEP, _KEEP_S)
        self.problems = ()
        if result.exit_code != 0:
            said = (result.head + result.tail)[-_TAIL_BYTES:].decode(errors="replace").strip()
            self.problems = [f".git: its commits are not mirrored: {said or result.state.value}"]
            return (STATE, _BUNDLE)
        (read,) = await self._sandbox.read_files([_TRACKED], max_bytes=_MAX_TRACKED_BYTES, follow=False)
        if not isinstance(read, FileContent):
            self.problems = [f".git: files that it tracks in excluded folders are not mirrored: {read.error.message}"]
            return (STATE, _BUNDLE)
        return (STATE, _BUNDLE, *_parsed(read.content))


async def bring_back(sandbox: Sandbox, access: GitAccess, *, depth: int | None) -> Returned:
    """Make the repository of a workspace whose files were restored, among them `STATE`. Its files stay as they are.

    Its origin is fetched to that depth where that suffices, and with `access`.
    """
    script = _BRING_BACK.replace("$OPTIONS", access.options).replace("$DEPTH", f"--depth {depth}" if depth else "")
    try:
        result = await _run(sandbox, "sh -s # brings the git repository back", script, _BACK_S, access.env)
        return Returned((result.head + result.tail).decode(errors="replace").split()[-1])
    except (VaporformError, ValueError, IndexError):
        return Returned.FAILED


async def _run(
    sandbox: Sandbox, line: str, script: str, limit_s: float, env: Mapping[str, str] = MappingProxyType({})
) -> CommandResult:
    result = await sandbox.exec(Command(text=line, stdin=script.encode(), timeout_s=limit_s, env=env))
    if result.state is RunState.LOST:
        raise SandboxLost("the sandbox ended while git ran in it", hint="Repeat the call.")
    return result


def _parsed(content: bytes) -> list[WorkspacePath]:
    found: list[WorkspacePath] = []
    for raw in content.split(b"\0"):
        try:
            if raw:
                found.append(parse_path(raw.decode()))
        except (InvalidPath, UnicodeDecodeError):
            continue  # the scan names such files, where it sees them
    return found
