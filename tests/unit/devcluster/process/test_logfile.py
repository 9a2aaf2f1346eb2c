"""A container's output on its way to the log."""

import os
from pathlib import Path

from kagenti_devcluster.process.logfile import LogFile as ContainerLog
from kagenti_devcluster.process.logfile import copy as copy_output


def test_a_containers_output_fills_its_log_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "main.log"
    path.write_text("before\n")
    reading, writing = os.pipe()
    log = ContainerLog(str(path), max_bytes=20)
    for text in ("one\n", "two\n", "three\n", "four\n"):
        os.write(writing, text.encode())
        log.write(os.read(reading, 100))
    os.write(writing, b"five\n")
    os.close(writing)
    copy_output(reading, log)
    os.close(reading)
    assert (tmp_path / "main.log.1").read_text() == "before\none\ntwo\n"
    assert path.read_text() == "three\nfour\nfive\n"
