"""Every store: blobs."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import AsyncIterator

import anyio
import pytest

from tests.contract.stores import blob, digest_of, streamed
from vaporform_mcp.errors import InvalidArgument, NotFound, TooLarge
from vaporform_mcp.stores.base import MAX_BLOB_BATCH_BYTES, Blob, Store
from vaporform_mcp.types import Digest

MIB = 1024 * 1024
CONTENTS = [
    b"",
    b"x",
    b"print('hi')\n",
    bytes(range(256)),
    os.urandom(MIB - 1),
    os.urandom(MIB),
    os.urandom(MIB + 1),
    os.urandom(3 * MIB),
]
CONTENT = b"".join(number.to_bytes(4, "big") for number in range(5 * MIB // 4)) + b"odd"


async def read_whole(store: Store, digest: Digest) -> bytes:
    return b"".join([chunk async for chunk in store.stream_blob(digest)])


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: f"{len(content)}-bytes")
async def test_a_blob_reads_back_both_ways(store: Store, content: bytes) -> None:
    put = blob(content)
    await store.put_blobs([put])
    assert await store.get_blobs([put.digest]) == {put.digest: content}
    assert await read_whole(store, put.digest) == content
    assert await store.missing([put.digest]) == frozenset()


async def test_putting_a_blob_again_changes_nothing(store: Store) -> None:
    one, two = blob(b"one"), blob(b"two")
    await store.put_blobs([one, one])
    await store.put_blobs([two, one])
    assert await store.get_blobs([one.digest, two.digest]) == {one.digest: b"one", two.digest: b"two"}


async def test_putting_nothing_and_asking_for_nothing_is_fine(store: Store) -> None:
    await store.put_blobs([])
    assert await store.missing([]) == frozenset()
    assert await store.get_blobs([]) == {}


@pytest.mark.many
async def test_many_are_told_apart(store: Store) -> None:
    kept = [blob(b"kept %d" % number) for number in range(1500)]
    never = [digest_of(b"never %d" % number) for number in range(1500)]
    await store.put_blobs(kept)
    asked = [*never, *(each.digest for each in kept)]
    assert await store.missing(asked) == frozenset(never)
    assert await store.get_blobs(asked) == {each.digest: each.content for each in kept}


async def test_content_that_is_not_what_its_digest_says_is_refused_with_its_batch(store: Store) -> None:
    honest = blob(b"honest")
    lying = Blob(digest=digest_of(b"this"), content=b"that", mime_type="text/plain")
    with pytest.raises(InvalidArgument):
        await store.put_blobs([honest, lying])
    assert lying.digest in await store.missing([honest.digest, lying.digest])


async def test_a_batch_over_the_limit_is_refused_both_ways(store: Store) -> None:
    halves = [blob(bytes([number]) * (MAX_BLOB_BATCH_BYTES // 2 + 1)) for number in range(2)]
    with pytest.raises(TooLarge):
        await store.put_blobs(halves)
    for half in halves:
        await store.put_blobs([half])
    with pytest.raises(TooLarge):
        await store.get_blobs([half.digest for half in halves])


@pytest.mark.parametrize("piece", [1000, MIB, 64 * MIB], ids=["small", "even", "whole"])
async def test_a_stream_is_kept_and_comes_back(store: Store, piece: int) -> None:
    digest = digest_of(CONTENT)
    await store.put_large_blob(digest, len(CONTENT), streamed(CONTENT, piece), "application/octet-stream")
    assert await store.missing([digest]) == frozenset()
    assert await read_whole(store, digest) == CONTENT
    assert await store.get_blobs([digest]) == {digest: CONTENT}


async def test_an_empty_stream_is_an_empty_blob(store: Store) -> None:
    await store.put_large_blob(digest_of(b""), 0, streamed(b"", 1), "text/plain")
    assert await store.get_blobs([digest_of(b"")]) == {digest_of(b""): b""}


async def test_streaming_what_is_kept_is_fine(store: Store) -> None:
    await store.put_blobs([blob(b"twice")])
    for _ in range(2):
        await store.put_large_blob(digest_of(b"twice"), 5, streamed(b"twice", 2), "text/plain")
    assert await read_whole(store, digest_of(b"twice")) == b"twice"


@pytest.mark.parametrize(
    ("sent", "size"),
    [(CONTENT[:-1], len(CONTENT)), (CONTENT, len(CONTENT) - 1), (CONTENT[:-1] + b"!", len(CONTENT)), (b"", 1)],
    ids=["shorter", "longer", "other", "nothing"],
)
async def test_a_stream_that_is_not_as_announced_is_not_kept(store: Store, sent: bytes, size: int) -> None:
    digest = digest_of(CONTENT)
    with pytest.raises(InvalidArgument):
        await store.put_large_blob(digest, size, streamed(sent, MIB), "text/plain")
    assert await store.missing([digest]) == {digest}
    await store.put_large_blob(digest, len(CONTENT), streamed(CONTENT, MIB), "text/plain")
    assert await read_whole(store, digest) == CONTENT


async def test_a_stream_whose_source_fails_is_not_kept(store: Store) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[: 3 * MIB]
        raise NotFound("the file went away")

    with pytest.raises(NotFound, match="went away"):
        await store.put_large_blob(digest_of(CONTENT), len(CONTENT), broken(), "text/plain")
    assert await store.missing([digest_of(CONTENT)]) == {digest_of(CONTENT)}


async def test_a_stream_that_is_cancelled_is_not_kept(store: Store) -> None:
    with anyio.CancelScope() as scope:

        async def cancelling() -> AsyncIterator[bytes]:
            yield CONTENT[: 3 * MIB]
            scope.cancel()
            yield CONTENT[3 * MIB :]

        await store.put_large_blob(digest_of(CONTENT), len(CONTENT), cancelling(), "text/plain")
    assert scope.cancelled_caught
    assert await store.missing([digest_of(CONTENT)]) == {digest_of(CONTENT)}


async def test_two_streams_of_the_same_blob_are_one_blob(store: Store) -> None:
    digest = digest_of(CONTENT)
    async with anyio.create_task_group() as group:
        for piece in (MIB, 700_000):
            group.start_soon(store.put_large_blob, digest, len(CONTENT), streamed(CONTENT, piece), "text/plain")
    assert await read_whole(store, digest) == CONTENT


async def test_a_large_blob_passes_in_bounded_memory(store: Store) -> None:
    piece = os.urandom(MIB)
    content_digest = digest_of(piece * 48)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(48):
            yield bytes(piece)

    tracemalloc.start()
    try:
        await store.put_large_blob(content_digest, 48 * MIB, pieces(), "text/plain")
        size = 0
        async for chunk in store.stream_blob(content_digest):
            size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 48 * MIB
    assert peak < 16 * MIB


async def test_streaming_what_is_not_kept_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await read_whole(store, digest_of(b"never put"))
