"""Memory to be had, as the system's files tell it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tomotwin_lib.embedding.memory import available_host_memory, available_memory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "proc/meminfo", "MemTotal:  16000 kB\nMemFree: 100 kB\nMemAvailable:   8000 kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_the_machine_has_left(root: Path) -> None:
    assert available_host_memory(root) == 8000 * 1024


def test_the_limit_of_a_group_or_of_one_above_it(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/jobs/mine\n")
    write(root / "sys/fs/cgroup/jobs/mine/memory.max", "max\n")
    write(root / "sys/fs/cgroup/jobs/mine/memory.current", "1000\n")
    assert available_host_memory(root) == 8000 * 1024
    write(root / "sys/fs/cgroup/jobs/memory.max", "5000\n")
    write(root / "sys/fs/cgroup/jobs/memory.current", "3000\n")
    assert available_host_memory(root) == 2000
    write(root / "sys/fs/cgroup/jobs/memory.stat", "anon 100\ninactive_file 700\nactive_file 40\n")
    assert available_host_memory(root) == 2740


def test_a_container_sees_its_group_as_the_root(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/docker/abc\n")
    write(root / "sys/fs/cgroup/memory.max", "5000\n")
    write(root / "sys/fs/cgroup/memory.current", "6000\n")
    assert available_host_memory(root) == 0


def test_the_first_version_of_groups(root: Path) -> None:
    write(root / "proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n")
    write(root / "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4000\n")
    write(root / "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1000\n")
    write(root / "sys/fs/cgroup/memory/a/memory.stat", "total_inactive_file 10\n")
    assert available_host_memory(root) == 3010


def test_this_machine() -> None:
    assert 2**24 < available_memory(torch.device("cpu")) < 2**50
