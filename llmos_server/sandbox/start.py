"""Runs within the sandbox, before the program and as its user: limits itself for good, and becomes the program.

Arguments: the interpreter, then `RLIMIT_NAME=number`s. It has the standard library alone.
"""

import os
import resource
import sys


def main(python: str, limits: list[str]) -> None:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # Where memory ends for all, this ends first.
    for limit in limits:
        name, _, number = limit.partition("=")
        resource.setrlimit(getattr(resource, name), (int(number), int(number)))
    os.execv(python, [python, "-I", "-S", "-B", "-X", "utf8", "/work/main.py"])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
