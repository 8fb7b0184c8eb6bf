"""What a session has to be like, line by line, with sandboxes on this machine and at Daytona.

The tests look at what one session for each left behind: `story.py` plays it.
"""

from __future__ import annotations

import pytest

from tests.e2e import shop
from tests.e2e.judging import assert_fit, assert_refused
from tests.e2e.places import PLACES
from tests.e2e.story import Story, the_story

EACH = pytest.mark.parametrize("story", PLACES, indirect=True)
DAYTONA = pytest.mark.parametrize("story", ["daytona"], indirect=True)
pytestmark = pytest.mark.timeout(240)  # the first test plays, the others wait for it


@pytest.fixture
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, namespaces: None) -> Story:
    return the_story(request.param, tmp_path_factory)


@EACH
def test_create_a_project_with_a_github_import(story: Story) -> None:
    opened = story.results["open"]
    assert (opened.facts["state"], opened.facts["created"]) == ("ready", True)
    assert story.inside["README.md"] == b"# Shop\n"
    assert story.inside[".git/HEAD"] == b"ref: refs/heads/main\n"
    assert (opened.facts["revision"], opened.facts["files"]) == (1, len(story.mirror["held"]))
    assert story.mirror["held"].keys() == {"README.md", ".gitignore", ".git/vaporform/state"}
    assert any(path.startswith("/shop.git/") for path in story.seen["asked"])


@DAYTONA
def test_the_workspace_is_created_with_public_true(story: Story) -> None:
    assert story.seen["sandbox"]["public"] is True
    assert "anyone with the link" in story.results["open"].text
    assert "sleeps after 15 minutes" in story.results["open"].text


@EACH
def test_it_reaches_running_before_any_tool_runs(story: Story) -> None:
    """A read was asked for in the moment in which the workspace began to be made."""
    read = story.results["read while it opens"]
    assert (read.text, read.facts["source"]) == ("# Shop\n", "sandbox")


@DAYTONA
def test_nothing_is_asked_of_a_sandbox_before_the_service_says_that_it_runs(story: Story) -> None:
    asked = [(route, status) for route, status in story.seen["requests"] if route != "list_sandboxes"]
    routes = [route for route, _ in asked]
    created, first = routes.index("create_sandbox"), routes.index("execute")
    assert set(routes[created + 1 : first]) == {"get_sandbox"}
    assert all(status == 200 for route, status in asked if route in {"execute", "upload_files"})
    assert any(each["message"].startswith("creating: ") for each in story.progress)


@EACH
def test_an_agent_generates_code(story: Story) -> None:
    for path, content in shop.GENERATED.items():
        assert not story.results[path].is_error
        assert story.inside[path] == content.encode()


@EACH
def test_files_reach_the_sandbox_first(story: Story) -> None:
    """While another process held the store."""
    assert story.inside["first.txt"] == b"first\n"
    assert "first.txt" not in story.mirror["held"]


@EACH
def test_then_the_mirror(story: Story) -> None:
    written = story.results["write"]
    assert written.facts["mirrored"] is True
    assert written.facts["revision"] > story.results["open"].facts["revision"]
    assert story.mirror["let go"]["first.txt"] == b"first\n"


@EACH
def test_dependencies_are_installed_during_generation(story: Story) -> None:
    assert story.results["install"].facts["exit_code"] == 0
    assert story.inside["installed"] == shop.GREETING["index.js"].encode()
    assert b"greeting-1.0.0.tgz" in story.mirror["complete"]["package-lock.json"]
    calls = list(story.results)
    assert calls.index("page.html") < calls.index("install") < calls.index("sell") < calls.index("complete")
    assert not any(path.startswith("node_modules/") for path in story.mirror["complete"])


@EACH
def test_the_dev_server_starts_during_generation(story: Story) -> None:
    served = story.results["serve"].facts
    assert (served["state"], story.seen["page"]) == ("running", "<h1>Welcome to the shop</h1>" + shop.PAGE)
    assert story.results["sell"].facts["mirrored"]
    assert story.seen["page later"] == "<h1>Welcome to the shop</h1><p>A lamp.</p>\n"


@EACH
def test_the_preview_needs_no_token(story: Story) -> None:
    """It was fetched with its URL alone."""
    preview = story.results["preview"].facts
    assert preview["url"] == story.seen["url"]
    assert "?" not in preview["url"]
    assert "expires_at" not in preview
    assert preview["public"] is ("sandbox" in story.seen)


@EACH
def test_attempt_completion_is_called(story: Story) -> None:
    completed = story.results["complete"]
    assert completed.structured is not None
    assert completed.structured["checkpoint"].startswith("complete-")
    assert completed.structured["tech_stack"]["package_manager"] == "npm"
    assert completed.structured["preview_url"] == story.seen["url"]
    assert [each["status"] for each in completed.structured["previews"]] == [200]
    assert completed.structured["warnings"] == []


@EACH
def test_its_backup_runs(story: Story) -> None:
    """No revision had last.txt when it was called, and nothing had told the server of it."""
    completed = story.results["complete"].facts
    assert completed["mirrored"] is True
    assert "last.txt" not in story.mirror["called"]
    assert story.mirror["complete"]["last.txt"] == b"last\n"
    assert len(story.mirror["complete"]) == completed["files_total"]
    (checkpoint,) = [each for each in story.revisions if each.label == completed["checkpoint"]]
    assert (checkpoint.number, checkpoint.made_by) == (completed["revision"], "attempt_completion")


@EACH
def test_nothing_is_installed_or_built_twice(story: Story) -> None:
    assert story.inside["runs"] == b"installed\nbuilt\n"
    assert [path for path in story.seen["asked"] if path.endswith(".tgz")] == ["/npm/greeting-1.0.0.tgz"]
    server = story.results["complete"].facts["dev_server"]
    assert (server["started"], server["process_id"]) == (False, story.results["serve"].facts["process_id"])
    running = [each for each in story.results["processes"].facts["processes"] if each["state"] == "running"]
    assert [each["command"] for each in running] == [shop.SERVE]


@EACH
def test_write_to_file_creates_the_file_in_the_sandbox(story: Story) -> None:
    assert story.inside["server.js"] == shop.GENERATED["server.js"].encode()
    assert story.results["server.js"].facts["size"] == len(shop.GENERATED["server.js"])


@EACH
def test_and_mirrors_it(story: Story) -> None:
    assert story.results["server.js"].facts["mirrored"] is True
    assert story.mirror["complete"]["server.js"] == shop.GENERATED["server.js"].encode()


@EACH
def test_read_file_reads_the_sandbox_first(story: Story) -> None:
    """The file was changed there while nothing could be written to the store."""
    read = story.results["read"]
    assert (read.text, read.facts["source"]) == ("changed\n", "sandbox")
    assert story.mirror["read"]["first.txt"] == b"first\n"


@EACH
def test_and_falls_back_to_the_mirror(story: Story) -> None:
    read = story.results["read what is gone"]
    assert (read.facts["source"], read.facts["revision"]) == ("mirror", story.results["write"].facts["revision"])
    assert read.text.startswith("[first.txt is gone from the sandbox.")
    assert read.text.endswith("]\nfirst\n")


@EACH
def test_the_workspace_fails_to_start_the_error_reaches_the_agent_with_its_reason(story: Story) -> None:
    assert_refused(story.results["start"], "sandbox_unavailable")
    reason = "the runner lost its disk" if "sandbox" in story.seen else "folder cannot be made"
    assert reason in story.results["start"].text
    assert story.seen.get("left over", set()) == set()
    assert story.results["start again"].facts["state"] == "ready"


@EACH
def test_a_write_to_the_sandbox_fails_handled_said_nothing_half_written(story: Story) -> None:
    at_daytona = "sandbox" in story.seen
    path = story.seen["refused path"]
    assert_refused(story.results["refused"], "limit" if at_daytona else "permission_denied")
    assert path in story.results["refused"].text
    assert story.inside["refused"] == b"kept\n"
    assert story.mirror["refused"] == {path: b"kept\n"}
    files = [each["path"] for each in story.results["listed"].facts["entries"] if each["kind"] == "file"]
    assert files == [path]


@EACH
def test_the_mirror_fails_logged_reported_generation_goes_on(story: Story) -> None:
    for name in ("unmirrored", "written meanwhile"):
        written = story.results[name]
        assert not written.is_error
        assert written.facts["mirrored"] is False
        assert "the store file" in written.facts["mirror_error"]
        assert "not mirrored" in written.text
        assert_fit(written)
    assert story.results["goes on"].text.startswith("Exit code 0")
    assert "kept inside" in story.results["goes on"].text
    logged = [line for line in story.logged.splitlines() if " WARNING " in line and "the mirror of" in line]
    assert len([line for line in logged if "is behind" in line and "the store file" in line]) == 1
    assert "can be written again" in logged[-1]
    assert story.mirror["again"]["unmirrored.txt"] == b"kept inside\n"


@EACH
def test_the_dev_server_fails_to_start_the_agent_can_retry_or_mend_it(story: Story) -> None:
    broken = story.results["broken"]
    assert not broken.is_error
    assert "SyntaxError" in broken.facts["dev_server"]["error"]
    assert "did not come up" in broken.text
    assert (broken.facts["mirrored"], broken.facts["preview_url"]) == (True, None)
    mended = story.results["mended"].facts
    assert "error" not in mended["dev_server"]
    assert [each["status"] for each in mended["previews"]] == [200]
    assert mended["preview_url"]
