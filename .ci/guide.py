"""Runs the commands of a guide in their order, and compares what they print with what the guide says.

    python3 .ci/guide.py docs/es/guia.md --binary target/release/shoal --work FOLDER [--show]

A block of the language `bash` is run as it stands, in FOLDER, with the binary first in PATH. Variables live on from block to
block, as in one terminal. A comment on the line before a block says what is different:

    <!-- run: background until "are up" -->     goes on beside the others; the text has to come, SIGINT ends it after the last block
    <!-- run: exit 3 -->                        the block ends with this code, or `exit 0 or 1` with one of them
    <!-- run: not here, needs Docker -->        the block is left out, for the reason that stands there

A block of the language `text` after it is what the command prints. Each of its lines has to be printed, in this order; lines may be
left out. Blanks count as one, and `…` stands for anything. Versions, times, durations, sizes and ports may differ, and numbers
with a decimal point by 2 % or 0.02. <!-- run: varies --> before such a block says that it is an example only.

Ports that the guide names (127.0.0.1:8000, localhost:8000) become free ones, so that the guide runs beside other programs.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time

BLOCK_SECONDS = 120
START_SECONDS = 60

COMMENT = re.compile(r"<!-- run: (.*?) -->$")
ADDRESS = re.compile(r"\b(127\.0\.0\.1|localhost):(8\d\d\d)\b")

# What differs from run to run, and what takes its place before lines are compared.
VARIABLE = [
    (re.compile(r"\d{8}_\d{6}(_\d{3})?"), "VERSION"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?"), "TIME"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), "ADDRESS"),
    (re.compile(r"\b[\d.,]+ ?(ms|s|min|h)\b"), "DURATION"),
    (re.compile(r"\b[\d.,]+ ?([KMG]i?)?B\b"), "SIZE"),
]
DECIMAL = re.compile(r"-?\d+\.\d+")


class Block:
    def __init__(self, line, language, comment, text):
        self.line, self.language, self.comment, self.text = line, language, comment, text


def blocks(path):
    found, comment, fence, lines = [], None, None, []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file.read().split("\n"), 1):
            if fence is None and line.startswith("```"):
                fence, lines = (number, line[3:].strip()), []
            elif fence is not None and line.startswith("```"):
                found.append(Block(fence[0], fence[1], comment, "\n".join(lines)))
                fence, comment = None, None
            elif fence is not None:
                lines.append(line)
            elif match := COMMENT.match(line.strip()):
                comment = match[1]
            elif line.strip():
                comment = None
    return found


class Guide:
    def __init__(self, binary, work):
        self.work = os.path.abspath(work)
        self.ports, self.background = {}, []
        os.makedirs(self.work, exist_ok=True)
        self.variables = os.path.join(self.work, ".variables")
        open(self.variables, "w", encoding="utf-8").close()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOAL")}
        self.environment["PATH"] = os.path.dirname(os.path.abspath(binary)) + ":" + os.environ["PATH"]
        # Tables are as wide as a reader's window would show them.
        self.environment.update(COLUMNS="120", NO_COLOR="1")

    def port(self, match):
        """The free port that stands for a port of the guide."""
        if match[2] not in self.ports:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.ports[match[2]] = free.getsockname()[1]
        return f"{match[1]}:{self.ports[match[2]]}"

    def script(self, block):
        return (
            f"set -aeuo pipefail; source '{self.variables}'\n"
            f"trap 'export -p >{self.variables}' EXIT\n" + ADDRESS.sub(self.port, block.text) + "\n"
        )

    def run(self, block):
        """Runs a block, and returns what it prints, or raises what is wrong."""
        comment = block.comment or ""
        if match := re.fullmatch(r'background until "(.*)"', comment):
            return self.start(block, match[1])
        if comment and not re.fullmatch(r"exit \d+( or \d+)*", comment):
            raise Wrong(f"'{comment}' is no instruction that this script knows")
        expected = [int(code) for code in re.findall(r"\d+", comment)] or [0]
        try:
            done = subprocess.run(
                ["bash", "-c", self.script(block)], cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BLOCK_SECONDS, text=True, errors="replace",
            )
        except subprocess.TimeoutExpired as late:
            raise Wrong(f"not done after {BLOCK_SECONDS} s; printed so far:\n{late.stdout or ''}") from None
        if done.returncode not in expected:
            wanted = " or ".join(map(str, expected))
            raise Wrong(f"exit code {done.returncode}, and not {wanted}; it printed:\n{done.stdout}")
        return done.stdout

    def start(self, block, sign):
        path = os.path.join(self.work, f".background-{block.line}")
        with open(path, "w", encoding="utf-8") as output:
            process = subprocess.Popen(
                ["bash", "-c", self.script(block)], cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )
        self.background.append((block, process, path))
        give_up_at = time.monotonic() + START_SECONDS
        while True:
            with open(path, encoding="utf-8") as output:
                printed = output.read()
            if sign in printed:
                return printed
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise Wrong(f"'{sign}' did not come; it printed:\n{printed}")
            time.sleep(0.1)

    def stop(self):
        """Ends what runs beside, the last first, as Ctrl-C would."""
        faults = []
        for block, process, _ in reversed(self.background):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                faults.append(f"line {block.line}: still there 30 s after Ctrl-C")
        return faults


class Wrong(Exception):
    pass


def plain(line):
    for pattern, name in VARIABLE:
        line = pattern.sub(name, line)
    return " ".join(line.split())


def matches(expected, printed):
    """Whether a line that the guide shows is the printed one, both plain."""
    pattern, numbers, at = "", [], 0
    for match in re.finditer(rf"{DECIMAL.pattern}|…", expected):
        pattern += re.escape(expected[at:match.start()])
        if match[0] == "…":
            pattern += ".*"
        else:
            pattern += rf"({DECIMAL.pattern})"
            numbers.append(float(match[0]))
        at = match.end()
    found = re.fullmatch(pattern + re.escape(expected[at:]), printed)
    return found is not None and all(
        abs(number - float(other)) <= max(0.02, 0.02 * abs(number)) for number, other in zip(numbers, found.groups())
    )


def missing(expected, printed):
    """The first line of the guide that is not printed after those before it."""
    left = iter([plain(line) for line in printed.split("\n")])
    for line in expected.split("\n"):
        if plain(line) in ("", "…"):
            continue
        if not any(matches(plain(line), other) for other in left):
            return line
    return None


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("guide")
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--work", required=True)
    arguments.add_argument("--show", action="store_true", help="print what every block prints")
    args = arguments.parse_args()
    guide = Guide(args.binary, args.work)
    ran, compared, left_out, printed = 0, 0, [], None
    begun = time.monotonic()
    faults = []
    try:
        for block in blocks(args.guide):
            comment = block.comment or ""
            if block.language == "bash" and comment.startswith("not here, "):
                left_out.append(f"line {block.line}: {comment.removeprefix('not here, ')}")
                printed = None
            elif block.language == "bash":
                since = time.monotonic()
                printed = guide.run(block)
                ran += 1
                if args.show:
                    print(f"== line {block.line} ({time.monotonic() - since:.1f} s)\n{block.text}\n--\n{printed}", flush=True)
            elif block.language == "text" and printed is not None and comment != "varies":
                line = missing(block.text, printed)
                if line is not None:
                    raise Wrong(f"this line is not printed, or not in its place:\n{line}\nIt printed:\n{printed}")
                compared += 1
    except Wrong as wrong:
        faults.append(f"line {block.line}: {wrong}")
    finally:
        faults.extend(guide.stop())
    if faults:
        sys.exit("".join(f"{args.guide}, {fault}\n" for fault in faults))
    if not compared:
        sys.exit(f"{args.guide}: nothing was compared; are there no blocks?")
    print(f"{args.guide}: {ran} blocks ran, {compared} outputs are as it says ({time.monotonic() - begun:.0f} s)")
    for place in left_out:
        print(f"  left out, {place}")


main()
