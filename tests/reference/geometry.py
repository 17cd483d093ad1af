"""Checks the numbers of a gap report against NumPy, SciPy and scikit-learn.

    python geometry.py DIR

DIR holds `report.json` and what the program writes with `--samples`: `samples.safetensors` and
`samples.json`. Everything is computed again in float64 from the sampled rows (`measures.py`) and
compared (here and in `methods.py`); one line for each check. Exit code 0: all agree; 1: some do
not; 77: a package is missing.
"""

import json
import sys
from pathlib import Path

try:
    import numpy as np
    from safetensors.numpy import load_file
    from scipy.linalg import subspace_angles

    import measures as m
    import methods
    from samples import Checks, Rows
except ModuleNotFoundError as missing:
    if missing.name.split(".")[0] not in {"numpy", "scipy", "sklearn", "safetensors"}:
        raise
    print(f"skipped: needs numpy, scipy, scikit-learn and safetensors ({missing})")
    sys.exit(77)


def check_settings(c, rows):
    """Counts, and what the samples say about the settings."""
    c.compare("version", 1)
    c.equal("settings.paired", rows.paired)
    c.equal("settings.methods", [method["name"] for method in c.get("methods")])
    c.compare("settings.k", rows.samples["text_neighbours"].shape[1])
    c.compare("data.dim", rows.samples["text_fit"].shape[1])
    for kind in ("text", "image"):
        for half in ("fit", "held_out", "probe"):
            c.compare(f"data.{kind}.{half}", len(rows.samples[f"{kind}_{half}"]))
        data = c.get(f"data.{kind}")
        c.compare(f"data.{kind}.probe", min(c.get("settings.probe"), data["held_out"]))
        known = data["fit"] + data["held_out"] + data["left_out"]
        c.compare_to_bounds(
            f"data.{kind}.read", data["read"], known, min(data["stored"], c.get("settings.rows"))
        )
    if rows.paired:
        for half in ("fit", "held_out"):
            c.compare(f"data.pairs.{half}", len(rows.samples[f"pairs_{half}"]))
    else:
        c.equal("data.pairs", None)


def check_spectrum(c, path, values, count):
    """All that is said of one spectrum."""
    c.compare(f"{path}.eigenvalues", values)
    c.within(f"{path}.rank", *m.rank_bounds(values, count))
    methods.check_power_law(c, f"{path}.power_law", values)
    c.compare(f"{path}.effective_rank", m.effective_rank(values))
    c.compare(f"{path}.participation_ratio", m.participation_ratio(values))
    check_condition(c, f"{path}.condition", values, count)
    for i, entry in enumerate(c.get(f"{path}.energy")):
        ranks = m.energy_ranks(values, entry["share"])
        c.one_of(f"{path}.energy.{i}.rank", [("", rank) for rank in ranks])


def check_condition(c, path, values, count):
    """Both condition numbers, over the ranks that the report gives."""
    c.within(f"{path}.retained_rank", *m.rank_bounds(values, count))
    for name in ("retained", "leading"):
        number = float(values[0] / values[c.get(f"{path}.{name}_rank") - 1])
        c.compare(f"{path}.{name}", number, 1e-9 + 1e-14 * abs(number))


def check_geometry(c, rows):
    """Both modalities and the frame, fit half."""
    for kind in ("text", "image"):
        unit, path = rows.unit(f"{kind}_fit"), f"geometry.{kind}"
        matrix, values, _ = rows.moments(f"{kind}_fit")
        c.compare(f"{path}.rows", len(unit))
        c.compare(f"{path}.mean_norm", float(np.linalg.norm(unit.mean(axis=0))))
        c.compare(f"{path}.trace", float(np.trace(matrix)))
        check_spectrum(c, f"{path}.spectrum", values, len(unit))
    (text, text_values, text_axes), (image, image_values, image_axes) = map(
        rows.moments, ("text_fit", "image_fit")
    )
    c.compare("geometry.mean_gap", m.gap(rows.unit("text_fit"), rows.unit("image_fit")))
    c.compare("geometry.covariance_gap", m.relative_covariance_gap(image, text))
    both = min(c.get("geometry.text.spectrum.rank"), c.get("geometry.image.spectrum.rank"))
    if both >= 3:
        logs = np.log(text_values[:both]), np.log(image_values[:both])
        rounding = 1e-9 + 1e-14 * max(
            text_values[0] / text_values[both - 1], image_values[0] / image_values[both - 1]
        )
        c.compare("geometry.spectral_correlation", float(np.corrcoef(*logs)[0, 1]), rounding)
    else:
        c.equal("geometry.spectral_correlation", None)
    q = c.get("geometry.overlap.q")
    c.compare("geometry.overlap.value", m.overlap(text_axes[:, :q], image_axes[:, :q]), 1e-8)
    c.compare("geometry.overlap.random", q / len(text))


def check_frame(c, rows):
    """The subspaces of both halves and their angles."""
    fit, _, values = rows.frame(c.get("settings.energy"))
    c.compare("geometry.frame.rank", fit.shape[1])
    c.compare("geometry.frame.energy", float(values[: fit.shape[1]].sum() / values.sum()))
    frames = []
    for half in ("fit", "held_out"):
        given = np.asarray(rows.samples[f"frame_{half}"], np.float64).T
        vectors = np.hstack(rows.frame(c.get("settings.energy"), half)[:2])
        frames.append(vectors[:, : given.shape[1]])
        c.record(
            f"samples frame_{half}: orthonormal",
            np.abs(given.T @ given - np.eye(given.shape[1])).max(),
            1e-10,
        )
        c.record(
            f"samples frame_{half}: subspace", np.max(subspace_angles(given, frames[-1])), 1e-8
        )
    c.record("samples frame_fit: rank", abs(len(rows.samples["frame_fit"]) - fit.shape[1]), 0)
    angles = np.sort(subspace_angles(fit, frames[1]))
    c.compare("geometry.frame.angles", angles, 0, 1e-8)
    c.compare("geometry.frame.sin_theta", float(np.sin(angles[-1])), 0, 1e-8)


def check_gap(c, rows):
    """The gap along and across the frame, held-out half; the phantom drift, fit half."""
    along, across, _ = rows.frame(c.get("settings.energy"))
    mean = rows.unit("image_held_out").mean(axis=0) - rows.unit("text_held_out").mean(axis=0)
    for name, value in (("norm", mean), ("beta", along.T @ mean), ("gamma", across.T @ mean)):
        c.compare(f"gap.{name}", float(np.linalg.norm(value)), 1e-8)
    if rows.paired:
        check_residual(c, rows, along, across, across.T @ mean)
    else:
        c.equal("gap.residual", None)
    if c.get("gap.phantom_drift") is None:
        c.info("gap.phantom_drift: not measured")
        return
    text = rows.unit("text_fit")
    c.compare("gap.phantom_drift.rows", len(text))
    for name, value in rows.once(
        "drift", lambda: m.phantom_drift(text, rows.unit("image_fit"))
    ).items():
        for field, number in value.items() if isinstance(value, dict) else [(None, value)]:
            c.compare(f"gap.phantom_drift.{name}" + (f".{field}" if field else ""), number, 1e-8)


def check_residual(c, rows, along, across, gamma):
    """The centred residual of pairs; its means are over the pairs."""
    pairs, path = rows.samples["pairs_held_out"], "gap.residual"
    text, image = rows.unit("text_held_out")[pairs[:, 0]], rows.unit("image_held_out")[pairs[:, 1]]
    difference = image - text
    mean = difference.mean(axis=0)
    residual = difference - mean
    values = m.eigen(m.covariance(difference))[0]
    gap_energy, energy = float(mean @ mean), float(values.sum())
    c.compare(f"{path}.pairs", len(pairs))
    for name, basis in (("beta", along), ("gamma", across)):
        c.compare(f"{path}.{name}", float(np.linalg.norm(basis.T @ mean)), 1e-8)
    c.compare(f"{path}.paired_cosine", float(np.mean(np.sum(text * image, axis=1))))
    lengths = np.linalg.norm(residual, axis=1).mean(), np.linalg.norm(difference, axis=1).mean()
    for name, value in (
        ("gap_energy", gap_energy),
        ("residual_energy", energy),
        ("energy_ratio", energy / (gap_energy + energy)),
        ("distance_ratio", float(lengths[0] / lengths[1])),
        ("anisotropy", m.anisotropy(values)),
        ("effective_dim", m.participation_ratio(values)),
    ):
        c.compare(f"{path}.geometry.{name}", value)
    check_spectrum(c, f"{path}.spectrum", values, len(pairs))
    delta, zeta = residual @ along, residual @ across
    for name, kappa, part in (("delta_trace", "kappa_u", delta), ("zeta_trace", "kappa_v", zeta)):
        c.compare(f"{path}.{name}", float(np.sum(part**2) / len(pairs)), 1e-8)
        if part.shape[1]:
            check_condition(c, f"{path}.{kappa}", m.eigen(m.covariance(part))[0], len(pairs))
    if min(np.linalg.norm(gamma), np.sum(zeta**2)) > 0:
        cosine = abs(gamma @ m.eigen(m.covariance(zeta))[1][:, 0]) / np.linalg.norm(gamma)
        c.compare(f"{path}.gamma_angle", float(np.degrees(np.arccos(min(1.0, cosine)))), 0, 1e-6)
    c.compare(f"{path}.coupling.ridge", c.get("settings.ridge"))
    norm, r_squared, chance = m.coupling(delta, zeta, c.get(f"{path}.coupling.ridge"))
    c.compare(f"{path}.coupling.norm", norm, 1e-7)
    c.compare(f"{path}.coupling.r_squared", r_squared, 1e-7)
    labels = ("r / n", "r / (n - 1)", "freedom / n", "freedom / (n - 1)")
    c.one_of(f"{path}.coupling.r_squared_of_chance", list(zip(labels, chance)))


def check_domains(c, rows):
    """Gaps within and between domains."""
    domains = rows.extra.get("domains")
    if domains is None:
        c.equal("domains", None)
        return
    name, count = c.get("domains.method"), len(c.get("domains.names"))
    c.record(
        "domains.method is one of the report's",
        0.0 if name in c.get("settings.methods") else np.inf,
        0,
    )
    part = lambda kind, half, i: rows.unit(f"{kind}_{half}")[
        np.array(domains[f"{kind}_{half}"][i], dtype=int)
    ]
    for half in ("fit", "held_out"):
        sizes = np.array(
            [[len(part(kind, half, i)) for kind in ("text", "image")] for i in range(count)]
        )
        c.compare(f"domains.{half}_rows", sizes)
    raw = [m.gap(part("text", "held_out", i), part("image", "held_out", i)) for i in range(count)]
    c.compare("domains.raw", np.array(raw), 0, 1e-6)
    gaps, blocks = np.full((count, count), np.nan), rows.frame(c.get("settings.energy"))[:2]
    for i in range(count):
        fitted = m.fit_method(
            name, part("text", "fit", i), part("image", "fit", i), c.get("settings.ridge"), blocks
        )
        if not fitted:
            c.info(f"domains: no definition of {name} here")
            return
        for j in range(count):
            image = part("image", "held_out", j)
            moved = fitted[0].image(image) if fitted[0].image else image
            gaps[i, j] = m.gap(fitted[0].text(part("text", "held_out", j)), moved)
    c.compare("domains.gap", gaps, 0, 1e-6)


def check_lengths(c, rows):
    """Captions by length, on the rows that the program drew."""
    slices = rows.extra.get("lengths")
    if slices is None:
        c.equal("lengths", None)
        return
    aligned, moved = rows.names(c.get("lengths.method"))
    images = rows.unit("image_held_out")
    c.record("lengths.slices: number", abs(len(slices) - len(c.get("lengths.slices"))), 0)
    for i, positions in enumerate(slices):
        path, text = f"lengths.slices.{i}", rows.unit("text_held_out")[positions]
        entry = c.get(path)
        c.compare(f"{path}.rows", len(positions))
        c.compare_to_bounds(
            f"{path}.captions", entry["captions"], len(positions), len(rows.unit("text_held_out"))
        )
        c.compare_to_bounds(f"{path}.longest", entry["longest"], entry["shortest"], np.inf)
        matrix = m.covariance(text)
        c.compare(f"{path}.raw_gap", m.gap(text, images))
        c.compare(f"{path}.gap", m.gap(rows.unit(aligned)[positions], rows.unit(moved)), 1e-7, 1e-9)
        c.compare(f"{path}.effective_rank", m.effective_rank(m.eigen(matrix)[0]), 1e-8)
        c.compare(f"{path}.trace", float(np.trace(matrix)))
        if not rows.paired:
            c.equal(f"{path}.paired_cosine", None)
            continue
        pairs = rows.samples["pairs_held_out"]
        pairs = pairs[np.isin(pairs[:, 0], positions)]
        c.compare(
            f"{path}.paired_cosine",
            float(m.pair_cosines(rows.unit("text_held_out"), images, pairs).mean()),
        )


def sections(report):
    """The checks by the part of the report that they read."""
    parts = [
        ("settings", check_settings),
        ("geometry", check_geometry),
        ("frame", check_frame),
        ("gap", check_gap),
    ]
    parts += [("cosines", methods.check_cosines)]
    for i in range(len(report["methods"])):
        parts.append((f"methods.{i}", lambda c, rows, i=i: methods.check_method(c, rows, i)))
    parts += [
        ("projection", methods.check_projection),
        ("sample_efficiency", methods.check_efficiency),
    ]
    return parts + [("domains", check_domains), ("lengths", check_lengths)]


def check(c, rows, only=None):
    """All checks, or those of some sections; a section that cannot be read fails."""
    for name, section in sections(c.report):
        if only is None or name in only:
            try:
                section(c, rows)
            except (
                ArithmeticError,
                IndexError,
                KeyError,
                TypeError,
                ValueError,
                np.linalg.LinAlgError,
            ) as error:
                c.record(f"{name}: {type(error).__name__}: {error}", np.inf, 0)
    return c.failed == 0


def main(folder):
    """Reads a folder and checks it; the exit code."""
    report = json.loads((folder / "report.json").read_text())
    rows = Rows(
        load_file(folder / "samples.safetensors"), json.loads((folder / "samples.json").read_text())
    )
    c = Checks(report)
    good = check(c, rows)
    print(f"{c.count} checks, {c.failed} failed")
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
