"""The kernels in C, compiled for another processor and run in an emulator."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "parallel_ridge" / "kernels"
FLAGS = {"portable": [], "dotprod": ["-march=armv8.2-a+dotprod"]}


def tool(*names):
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"{names[0]} cannot be found: apt-get install gcc-aarch64-linux-gnu qemu-user")
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if not KERNELS.exists():
        pytest.skip("the sources are not beside the tests")
    gcc, folder = tool("aarch64-linux-gnu-gcc"), tmp_path_factory.mktemp("arm")
    common = [
        "-O2",
        "-std=gnu11",
        "-Wall",
        "-Wno-unknown-pragmas",
        f"-I{KERNELS}",
        "-DFOLD_DOTPROD",
        "-c",
    ]
    sources = [(KERNELS / "fold.c", []), (Path(__file__).parent / "levels.c", [])]
    for level, flags in FLAGS.items():
        for name in ("fold_level.c", "decide_level.c"):
            sources.append((KERNELS / name, [f"-DLEVEL={level}", *flags]))
    objects = []
    for i, (source, flags) in enumerate(sources):
        objects.append(str(folder / f"{i}.o"))
        subprocess.run([gcc, *common, *flags, str(source), "-o", objects[-1]], check=True)
    path = folder / "levels"
    subprocess.run([gcc, "-static", *objects, "-lm", "-o", str(path)], check=True)
    return path


@pytest.mark.parametrize(
    ("processor", "levels"),
    [("neoverse-n1", ["dotprod", "portable"]), ("cortex-a57", ["portable"])],
)
def test_integers_have_the_same_bits_on_arm(program, processor, levels):
    qemu = tool("qemu-aarch64", "qemu-aarch64-static")
    found = subprocess.run(
        [qemu, "-cpu", processor, str(program)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout
    assert found.stdout.split() == levels


def test_the_dot_product_instruction_is_used(program):
    objdump = tool("aarch64-linux-gnu-objdump")
    code = subprocess.run([objdump, "-d", program], capture_output=True, text=True, check=True)
    assert re.search(r"\budot\b", code.stdout) and re.search(r"\bsdot\b", code.stdout)
