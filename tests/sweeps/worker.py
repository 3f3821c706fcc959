"""Stands for `ritz` in sweeps: writes a summary, and dies or fails as its settings say."""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    given = dict(token.partition("=")[::2] for token in sys.argv[1:] if "=" in token)
    folder = Path(given["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "starts", "a") as file:
        file.write(f"{sys.argv[2]}\n")
    starts = (folder / "starts").read_text().splitlines().count(sys.argv[2])
    if given.get("stubborn") == "true":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(float(given.get("sleep", 0)))
    if starts <= int(given.get("die", 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    if given.get("fail") == "true":
        sys.stderr.write("ritz: fail: that was asked for\n")
        return 2
    x, iterations = float(given.get("x", 0)), int(given.get("train.iterations", 10))
    config = {"x": x, "seed": int(given.get("seed", 0)), "train": {"iterations": iterations}}
    (folder / "config.yaml").write_text(json.dumps(config))
    result = {"energy": x**2 + 1 / iterations, "error": 0.1, "steps": iterations}
    before = given.get("train.begin_from")
    if before:
        result["before"] = json.loads((Path(before) / "summary.json").read_text())["energy"]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    more = {"seconds": 1.0, "stop_reason": "FINISHED", "cores": len(cores)}
    more["compiled"] = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    action = sys.argv[2]
    file = folder / "summary.json"
    old = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**old, "result_of": action, **result, **more, action: result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
