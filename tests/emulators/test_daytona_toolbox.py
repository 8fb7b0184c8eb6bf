"""Files and commands in a sandbox of the emulated Daytona, through the real SDK."""

from __future__ import annotations

import aiohttp
import pytest
from daytona import AsyncDaytona, AsyncSandbox, CreateSandboxFromImageParams, FileDownloadRequest, FileUpload
from daytona.common.errors import (
    DaytonaBadRequestError,
    DaytonaError,
    DaytonaNotFoundError,
    DaytonaProcessExecutionTimeoutError,
)

from tests.emulators.daytona.emulator import Emulator


async def test_commands_run_as_an_ordinary_user_in_its_home(sandbox: AsyncSandbox) -> None:
    done = await sandbox.process.exec("id -un; id -u; pwd; echo $HOME; touch /nothing || echo refused")
    assert done.exit_code == 0
    assert done.result.splitlines()[:4] == ["daytona", "1000", "/home/daytona", "/home/daytona"]
    assert done.result.endswith("refused\n")
    assert await sandbox.get_work_dir() == "/home/daytona"
    assert await sandbox.get_user_home_dir() == "/home/daytona"


async def test_programs_of_an_ordinary_image_are_there(sandbox: AsyncSandbox) -> None:
    there = "node -v && npm -v && git --version && bash --version && sh -c :"
    done = await sandbox.process.exec(f"python3 -c 'import json, ssl, venv' && {there}")
    assert done.exit_code == 0, done.result


async def test_a_bare_image_has_no_python(daytona: AsyncDaytona) -> None:
    bare = await daytona.create(CreateSandboxFromImageParams(image="bare:latest"))
    done = await bare.process.exec("python3 -c ''")
    assert done.exit_code == 127
    assert (await bare.process.exec("echo a | grep -c a && git --version")).exit_code == 0


async def test_output_is_merged_and_a_failure_is_a_result(sandbox: AsyncSandbox) -> None:
    done = await sandbox.process.exec("echo out; echo err >&2; exit 3")
    assert (done.exit_code, done.result) == (3, "out\nerr\n")


async def test_commands_that_cannot_begin_are_told_in_their_own_ways(sandbox: AsyncSandbox) -> None:
    lost = await sandbox.process.exec("true", cwd="/no/such/folder")
    assert lost.exit_code == -1
    assert "fork/exec" in lost.result
    with pytest.raises(DaytonaBadRequestError):
        await sandbox.process.exec(" ")
    with pytest.raises(DaytonaBadRequestError):
        await sandbox.process.exec("true", env={"not a name": "x"})


async def test_a_timeout_kills_the_group(sandbox: AsyncSandbox) -> None:
    with pytest.raises(DaytonaProcessExecutionTimeoutError) as failure:
        await sandbox.process.exec("sleep 777 & sleep 777", timeout=1)
    assert failure.value.status_code == 408
    assert (await sandbox.process.exec("pgrep -fc 'sleep 777'")).result == "0\n"


async def test_a_script_comes_on_standard_input_so_a_reading_program_swallows_it(sandbox: AsyncSandbox) -> None:
    assert (await sandbox.process.exec("cat\necho second")).result.strip() == "echo second"


async def test_the_answer_waits_for_whoever_holds_the_output(sandbox: AsyncSandbox) -> None:
    done = await sandbox.process.exec("(sleep 0.3; echo late) & echo soon")
    assert done.result == "soon\nlate\n"
    redirected = await sandbox.process.exec("sleep 600 >/dev/null 2>&1 & echo soon")
    assert redirected.result == "soon\n"


async def test_output_that_is_no_text_is_lossy(sandbox: AsyncSandbox) -> None:
    assert (await sandbox.process.exec(r"printf '\377a'")).result == "�a"


async def test_files_go_up_and_come_down_in_one_request_each(sandbox: AsyncSandbox) -> None:
    names = ["plain.txt", "deep/er/file", 'quo"ted', "naïve 文字.bin", "empty"]
    contents = {name: b"" if name == "empty" else name.encode() * 1000 for name in names}
    await sandbox.fs.upload_files([FileUpload(source=content, destination=name) for name, content in contents.items()])
    got = await sandbox.fs.download_files([FileDownloadRequest(source=name) for name in [*names, "none", "deep"]])
    assert {each.source: each.result for each in got[:-2]} == contents
    missing, folder = got[-2:]
    assert missing.error_details is not None
    assert folder.error_details is not None
    assert (missing.result, missing.error_details.error_code) == (None, "FILE_NOT_FOUND")
    assert (folder.result, folder.error_details.error_code) == (None, "INVALID_FILE_PATH")


async def test_one_bad_destination_fails_the_upload_and_the_others_are_written(sandbox: AsyncSandbox) -> None:
    files = [FileUpload(source=b"good", destination="good"), FileUpload(source=b"bad", destination="/proc/no/bad")]
    with pytest.raises(DaytonaError) as failure:
        await sandbox.fs.upload_files(files)
    assert failure.value.status_code == 400
    assert "good" not in str(failure.value)
    assert await sandbox.fs.download_file("good") == b"good"


async def test_an_upload_of_nothing_is_an_error(sandbox: AsyncSandbox) -> None:
    with pytest.raises(DaytonaError, match="invalid multipart form"):
        await sandbox.fs.upload_files([])


async def test_folders_files_and_their_modes_can_be_seen_and_changed(sandbox: AsyncSandbox) -> None:
    await sandbox.fs.create_folder("src", "755")
    await sandbox.fs.upload_file(b"#!/bin/sh\necho run\n", "src/run.sh")
    await sandbox.fs.set_file_permissions("src/run.sh", mode="755")
    info = await sandbox.fs.get_file_info("src/run.sh")
    assert (info.name, info.size, info.is_dir, info.permissions) == ("run.sh", 19, False, "0755")
    await sandbox.fs.move_files("src/run.sh", "src/go.sh")
    assert [each.name for each in await sandbox.fs.list_files("src")] == ["go.sh"]
    assert (await sandbox.fs.search_files(".", "*.sh")).files == ["/home/daytona/./src/go.sh"]
    found = await sandbox.fs.find_files("src", "echo")
    assert [(each.line, each.content) for each in found] == [(2, "echo run")]
    await sandbox.fs.delete_file("src", recursive=True)
    assert await sandbox.fs.list_files(".") == []


async def test_text_is_replaced_in_files_and_each_tells_how_it_went(sandbox: AsyncSandbox) -> None:
    await sandbox.fs.upload_file(b"a red door", "note")
    results = await sandbox.fs.replace_in_files(["note", "none"], "red", "blue")
    assert [each.success for each in results] == [True, False]
    assert await sandbox.fs.download_file("note") == b"a blue door"


async def test_files_ports_and_errors_are_also_there_for_plain_requests(
    sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    await sandbox.fs.upload_file(b"content", "note")
    base = f"{emulator.url}/toolbox/{sandbox.id}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {emulator.key}"}) as client:
        async with client.get(f"{base}/files/download?path=note") as answer:
            assert await answer.read() == b"content"
        async with client.get(f"{base}/files/download?path=none") as answer:
            said = await answer.json()
            assert (answer.status, said["code"], said["source"]) == (404, "FILE_NOT_FOUND", "DAYTONA_DAEMON")
        async with client.get(f"{base}/port") as answer:
            assert await answer.json() == {"ports": []}
        async with client.get(f"{base}/port/3000/in-use") as answer:
            assert await answer.json() == {"isInUse": False}
        async with client.post(f"{base}/process/execute", data=b"no JSON") as answer:
            assert answer.status == 400
    async with aiohttp.ClientSession() as client, client.get(f"{base}/port") as answer:
        assert answer.status == 401


async def test_errors_of_lists_infos_and_deletions_have_no_words(sandbox: AsyncSandbox) -> None:
    await sandbox.fs.create_folder("folder", "755")
    for call in (sandbox.fs.list_files("none"), sandbox.fs.get_file_info("none"), sandbox.fs.delete_file("none")):
        with pytest.raises(DaytonaNotFoundError) as failure:
            await call
        assert str(failure.value).endswith(": ")
    with pytest.raises(DaytonaBadRequestError) as refused:
        await sandbox.fs.delete_file("folder")
    assert str(refused.value).endswith(": ")
