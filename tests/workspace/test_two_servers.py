"""Several servers over one workspace: they see one sandbox, lose nothing to each other, and either may go."""

from __future__ import annotations

import anyio

from tests.contract.stores import entry_of
from tests.workspace.conftest import ServerFactory
from tests.workspace.helpers import opened, path, run, shell
from vaporform_mcp.sandboxes.base import RunState

ROUNDS = 25


async def test_two_servers_see_the_same_files_processes_and_ports(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        one, two = await opened(first.manager), await opened(second.manager)
        started = await run(one, "echo from one; python3 -m http.server 8123", background=True)
        assert started.result.ports == {8123}
        checked = await two.check(started.result.process_id, wait_s=0.1, data=None, offset=0, limit=1000)
        assert checked.status.state is RunState.RUNNING
        assert checked.output.data.startswith(b"from one")
        await two.write(path("a.txt"), b"from two", made_by="write_to_file")
        assert (await one.read(path("a.txt"))).content == b"from two"
        assert (await one.stop(started.result.process_id)).state is RunState.KILLED


async def test_interleaved_writes_of_two_servers_are_all_kept_in_one_line_of_revisions(
    start_server: ServerFactory,
) -> None:
    async with start_server() as first, start_server() as second:
        workspaces = [await opened(first.manager), await opened(second.manager)]
        numbers: list[int | None] = []

        async def write(which: int) -> None:
            for number in range(ROUNDS):
                content = f"{which} {number}".encode()
                written = await workspaces[which].write(path(f"{which}/{number}.txt"), content, made_by="write")
                assert written.mirrored
                numbers.append(written.revision)

        async with anyio.create_task_group() as group:
            group.start_soon(write, 0)
            group.start_soon(write, 1)
        assert len(set(numbers)) == 2 * ROUNDS
        head = await first.store.head(workspaces[0].record.id)
        log = await first.store.log(workspaces[0].record.id, limit=10 * ROUNDS)
        assert [revision.number for revision in log] == list(range(head.number, 0, -1))
        assert len(await first.store.tree(workspaces[0].record.id)) == 2 * ROUNDS


async def test_two_servers_that_write_one_file_leave_the_mirror_as_the_sandbox(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        workspaces = [await opened(first.manager), await opened(second.manager)]

        async def write(which: int) -> None:
            for number in range(ROUNDS):
                written = await workspaces[which].write(path("one.txt"), f"{which}-{number}".encode(), made_by="write")
                assert written.mirrored

        async with anyio.create_task_group() as group:
            group.start_soon(write, 0)
            group.start_soon(write, 1)
        in_sandbox = (await workspaces[0].read(path("one.txt"))).content
        entry = await entry_of(first.store, workspaces[0].record.id, path("one.txt"))
        assert entry is not None
        assert (await first.store.get_blobs({entry.digest}))[entry.digest] == in_sandbox


async def test_when_one_server_heals_the_other_goes_on_with_the_new_sandbox(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        one, two = await opened(first.manager), await opened(second.manager)
        await one.write(path("a.txt"), b"kept\n", made_by="write_to_file")
        await first.provider.destroy(one.record.id, 1)
        async with anyio.create_task_group() as group:
            group.start_soon(shell, one, "cat a.txt")
            group.start_soon(shell, two, "cat a.txt")
        await two.write(path("b.txt"), b"from two\n", made_by="write_to_file")
        assert await shell(one, "cat a.txt b.txt") == "kept\nfrom two\n"
        assert (await first.store.head(one.record.id)).epoch == 2


async def test_a_server_that_leaves_takes_nothing_from_the_other(start_server: ServerFactory) -> None:
    async with start_server() as second:
        async with start_server() as first:
            one = await opened(first.manager)
            two = await opened(second.manager)
            started = await run(one, "sleep 600", wait_s=0)
        status = (await two.check(started.result.process_id, wait_s=0, data=None, offset=0, limit=10)).status
        assert status.state is RunState.RUNNING


async def test_a_process_outlives_its_server_within_the_linger_time(start_server: ServerFactory) -> None:
    async with start_server() as server:
        started = await run(await opened(server.manager), "sleep 600", wait_s=0)
    async with start_server() as server:
        workspace = await opened(server.manager)
        status = (await workspace.check(started.result.process_id, wait_s=0, data=None, offset=0, limit=10)).status
        assert status.state is RunState.RUNNING


async def test_a_sandbox_that_nobody_uses_ends_after_the_linger_time(start_server: ServerFactory) -> None:
    async with start_server() as server:
        started = await run(await opened(server.manager), "sleep 600", wait_s=0)
    await anyio.sleep(4)  # the linger time of these servers is 2 s
    async with start_server() as server:
        workspace = await opened(server.manager)
        status = (await workspace.check(started.result.process_id, wait_s=0, data=None, offset=0, limit=10)).status
        assert status.state is RunState.LOST


async def test_a_server_goes_on_where_another_pruned_the_revisions_that_it_knew(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        one, two = await opened(first.manager), await opened(second.manager)
        for name in ("kept.txt", "removed.txt", "shared.txt"):
            await one.write(path(name), b"from one\n", made_by="write_to_file")
        await one.sync(made_by="test")
        await two.write(path("shared.txt"), b"from two\n", made_by="write_to_file")
        await shell(two, "rm removed.txt; echo made > made.txt")
        head = (await two.sync(made_by="test")).revision
        report = await second.store.prune(one.record.id, keep_after=head - 1, grace_s=0.0)
        assert report.revisions == head - 1
        written = await one.write(path("shared.txt"), b"from one again\n", made_by="write_to_file")
        assert (written.mirrored, written.revision) == (True, head + 1)
        await shell(one, "echo more >> kept.txt")
        assert (await one.sync(made_by="test")).problems == []
        tree = await first.store.tree(one.record.id)
        assert set(tree) == {"kept.txt", "made.txt", "shared.txt"}
        contents = await first.store.get_blobs({entry.digest for entry in tree.values()})
        assert contents[tree[path("shared.txt")].digest] == b"from one again\n"
        assert contents[tree[path("kept.txt")].digest] == b"from one\nmore\n"
