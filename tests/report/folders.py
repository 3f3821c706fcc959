"""Run folders as commands leave them, written by hand."""

import json
from pathlib import Path

import numpy as np

from ritz.folders.config import signed
from ritz.folders.saved import manifest_checksum
from ritz.folders.timing import write_timing


def lattice_run(folder: Path, field: float = 1.0, steps: int = 40) -> Path:
    """A run of 40 steps whose energy decays to -10 - field, with an evaluation."""
    folder.mkdir(parents=True)
    config = f"system: {{class_path: TransverseIsing, init_args: {{field: {field}}}}}\nseed: 0\n"
    (folder / "config.yaml").write_bytes(signed(config.encode(), "lattice"))
    lines = ["step,Energy.Mean,Energy.Variance,Energy.Sigma,acceptance,v_score,wallclock"]
    for step in range(steps):
        energy = -10 - field + 0.8**step
        lines.append(f"{step},{energy},0.5,0.02,0.6,{0.9**step},{0.01 * step}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    result = {
        "energy": -10 - field,
        "error": 0.0123,
        "steps": steps,
        "seconds": 0.4,
        "stop_reason": "FINISHED",
        "message": "finished all steps",
    }
    text = {"result_of": "train", **result, "exact": -10.5 - field, "train": result}
    (folder / "summary.json").write_text(json.dumps(text))
    return folder


def add_evaluation(folder: Path) -> None:
    """A digest of the energy and of a magnetisation whose chains disagree."""
    entries = {
        "Energy": {"mean": -11.0, "error": 0.0004, "r_hat": 1.001, "reliable": True, "suspect": ""},
        "m_x": {"mean": 0.61, "error": 0.03, "r_hat": 1.4, "reliable": True, "suspect": "r_hat"},
    }
    rest = {"variance": 0.3, "autocorrelation_time": 1.5, "n_steps": 50, "n_samples": 51200}
    columns = {f"{n}.{k}": np.asarray(v) for n, e in entries.items() for k, v in (e | rest).items()}
    np.savez(folder / "digest.npz", n_steps=50, **columns)


def add_details(folder: Path) -> None:
    """Warnings, time spent in hooks, and predicted and known values."""
    (folder / "warnings.log").write_text(
        "2026-01-02 03:04:05 <b>careful</b> & so on\n"
        "2026-01-02 03:05:05 Run ended at step 59: stopped by Plateau.\n"
        "2026-01-02 03:06:05 Run ended at step 59: all done. Its last row is suspect: r_hat.\n"
    )
    write_timing(
        folder, [("Mine", "on_step_end", 40, 0.25, 0.625), ("the rest", "", 0, 0.15, 0.375)]
    )
    known = np.linspace(-1, 1, 5000)
    pairs = {"force": np.stack([known, known + 0.1])}
    np.savez(folder / "parity.npz", energy=np.array([[-3.0, -2.0], [-2.998, -2.002]]), **pairs)


def molecule_run(folder: Path) -> Path:
    """A run of a molecule, whose acceptance is logged as one number for each walker."""
    rows = [f"{s},{-7.5 + 0.5**s},{10 * 0.5**s},0.01,0.5,0.6" for s in range(20)]
    header = "step,energy.Mean,energy.Variance,energy.Sigma,acceptance.first,acceptance.second"
    result = {"energy": -7.4999, "error": 0.0004, "steps": 20, "stop_reason": "FINISHED"}
    return _run(folder, "molecule", "molecule: Li\n", {"train.csv": [header, *rows]}, result)


def training_run(folder: Path, rmse: float = 0.002) -> Path:
    """A training of a potential, with predicted and known values."""
    rows = [f"{s},{0.5**s},{rmse + 0.1**s},{0.05 + 0.1**s}" for s in range(20)]
    header = "step,loss,RMSE_test,RMSE_force_test"
    result = {"RMSE_energy": rmse, "RMSE_force": 0.05, "steps": 20, "stop_reason": "FINISHED"}
    run = _run(folder, "mlip", f"width: {rmse}\n", {"train.csv": [header, *rows]}, result)
    known = np.array([-3.0, -2.0, np.nan])
    np.savez(run / "parity.npz", energy=np.stack([known, known + rmse]))
    return run


def relaxation_run(folder: Path, table: str = "relaxed.csv") -> Path:
    """A relaxation of two structures, of which the second one has not converged."""
    rows = [f"{s},{0.5**s},2" for s in range(20)]
    structures = [
        "file,frame,formula,atoms,energy,fmax,status,steps,reason",
        "a.cif,0,Cu2,2,-1.25,0.01,converged,7,",
        "b.cif,0,Au2,2,-2.5,0.3,unconverged,20,too few steps",
    ]
    result = {"converged": 1, "structures": 2, "steps": 20, "stop_reason": "FINISHED"}
    files = {"relax.csv": ["step,fmax,running", *rows], table: structures}
    return _run(folder, "relax", f"table: {table}\n", files, result)


def add_checkpoint(place: Path, step: int, saved: str, **more: object) -> Path:
    """A checkpoint without arrays, in the folder of a stage."""
    body = {
        "step": step,
        "elapsed": 2.5,
        "saved": saved,
        "loss": None,
        "ended": None,
        "versions": {"jax": "0.9"},
        **more,
    }
    checkpoint = place / f"{step:08d}"
    (checkpoint / "manifest").mkdir(parents=True)
    signed_body = {"checksum": manifest_checksum(body), "body": body}
    (checkpoint / "manifest" / "metadata").write_text(json.dumps(signed_body))
    return checkpoint


def _run(
    folder: Path, domain: str, config: str, files: dict[str, list[str]], result: dict[str, object]
) -> Path:
    """A run folder with a configuration, tables given as lines, and a result."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_bytes(signed(config.encode(), domain))
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "summary.json").write_text(json.dumps(result))
    return folder
