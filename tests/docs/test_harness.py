"""The tests of the documents would notice: a command that fails, output that differs, a target that is gone."""
import pytest
from expected_output import missing_line
from fenced_blocks import Block, read_blocks
from test_commands import check_document


def document(tmp_path, text, monkeypatch):
    path = tmp_path / "document.md"
    path.write_text(text)
    monkeypatch.setattr("test_commands.ROOT", tmp_path)
    (tmp_path / "Makefile").write_text("build:\n\ttrue\n")
    return path


@pytest.mark.parametrize("text, complaint", [
    ("# A\n\n```sh\ntrue\nls /nowhere\ntrue\n```\n", "document.md:5: fails with 2"),
    ("```sh\nx=$(false)\n```\n", "document.md:2: fails with 1"),
    ("```sh\necho 1\n```\n\n```text\n2\n```\n", "document.md:5: the output of line 1 lacks '2'"),
    ("```sh\nmake nothing\n```\n", "the Makefile has no target nothing"),
    ("```sh\ntrue   # refused\n```\n", "is not refused"),
    ("```python\nprint(1)\nraise SystemExit(3)\n```\n", "document.md:1: fails with 3"),
])
def test_is_noticed(tmp_path, monkeypatch, text, complaint):
    directory = tmp_path / "run"
    directory.mkdir()
    with pytest.raises(AssertionError) as error:
        check_document(document(tmp_path, text, monkeypatch), directory)
    assert complaint in str(error.value)


def test_passes(tmp_path, monkeypatch):
    directory = tmp_path / "run"
    directory.mkdir()
    text = ("```sh\nmake build\nx=7   # kept\ncat >file <<E\n$x\nE\nls /nowhere   # refused\n```\n\n```\npicture\n```\n\n"
            "```sh\ncat file; echo a   b 9.7 ms\n```\n\n```text\n7\na b … ms\n```\n")
    check_document(document(tmp_path, text, monkeypatch), directory)


def test_samples_and_lines():
    sample = Block("text", 1, ("TENANT  CPU %", "red  99"), True)
    assert missing_line(sample, "x\nTENANT CPU %\nblue 1\n") is None
    assert missing_line(sample, "TENANT\n") == "TENANT  CPU %"
    assert missing_line(Block("text", 1, ("b", "a"), False), "a\nb\n") == "a"


def test_blocks(tmp_path):
    path = tmp_path / "d.md"
    path.write_text("a\n```sh\nx\n```\n<!-- sample -->\n\n```text\ny\n```\n")
    blocks = read_blocks(path)
    assert [(b.language, b.line, b.end, b.sample) for b in blocks] == [("sh", 2, 4, False), ("text", 7, 9, True)]
