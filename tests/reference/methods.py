"""Checks of what methods make of the held-out text: measures, densities, points and curves."""

import numpy as np

import measures as m
from samples import sampling_floor

SHIFTS = {"identity", "mean_shift", "unicorn", "gr_clip", "realign"}


def check_power_law(c, path, values):
    """The least squares over the range that the report gives."""
    law = c.get(path)
    if law is None:
        c.info(f"{path}: not fitted")
        return
    exponent, r_squared = m.power_law(values, law["first"], law["last"])
    rounding = 1e-9 + 1e-14 * values[0] / values[law["last"] - 1]
    c.compare(f"{path}.exponent", exponent, rounding)
    c.compare(f"{path}.r_squared", r_squared, rounding)


def check_method(c, rows, index):
    """What one method makes of the text."""
    path = f"methods.{index}"
    name = c.get(f"{path}.name")
    text, image = rows.names(name)
    c.equal(f"{path}.moves_images", f"{name}/image" in rows.samples)
    c.compare(f"{path}.fit_gap", m.gap(*map(rows.unit, rows.names(name, "fit"))), 1e-7, 1e-9)
    c.compare(f"{path}.gap", m.gap(rows.unit(text), rows.unit(image)), 1e-7, 1e-9)
    floor = rows.once(("floor", name), lambda: sampling_floor(rows, name))
    c.compare(f"{path}.sampling_floor", floor, 1e-8)
    fit_floor = rows.once(("fit floor", name), lambda: sampling_floor(rows, name, "fit"))
    c.compare(f"{path}.expected_gap", float(np.hypot(floor, fit_floor)), 1e-8)
    matrix, values, _ = rows.moments(text)
    c.compare(f"{path}.trace", float(np.trace(matrix)))
    c.compare(f"{path}.effective_rank", m.effective_rank(values))
    check_power_law(c, f"{path}.power_law", values)
    c.compare(f"{path}.covariance_gap", m.relative_covariance_gap(rows.moments(image)[0], matrix))
    c.compare(f"{path}.eigenvalues", values)
    check_neighbours(c, rows, name, path)
    before = rows.cosines("text_held_out", "image_held_out")[0]
    after = rows.cosines(text, image)[0]
    c.compare(f"{path}.psi", float(np.corrcoef(before, after)[0, 1]), 1e-8)
    own = np.sum(rows.unit("text_held_out") * rows.unit(text), axis=1)
    probed = own[rows.samples["text_probe"]]
    c.one_of(
        f"{path}.phi",
        [("all held-out rows", float(own.mean())), ("probe rows", float(probed.mean()))],
        1e-8,
    )
    bandwidth, grid = c.get("cosines.bandwidth"), c.get("cosines.grid")
    within, target, across = rows.densities(text, image, bandwidth, grid)
    c.compare(f"{path}.js_within", m.divergence(within, target), 0, 1e-6)
    c.compare(f"{path}.js_across", m.divergence(across, target), 0, 1e-6)
    check_method_pairs(c, rows, text, image, f"{path}.pairs")
    check_rows(c, rows, name, path)


def check_neighbours(c, rows, name, path):
    """The neighbours themselves, then mixing, support and Omega of them."""
    texts, images = rows.probes(*rows.names(name))
    before, after = rows.samples["text_neighbours"], rows.samples[f"{name}/text_neighbours"]
    pooled, probe = (
        rows.samples[f"{name}/neighbours"],
        rows.probes("text_held_out", "image_held_out")[0],
    )
    sets = (
        (f"{name}/neighbours", pooled, lambda: np.concatenate([texts, images])),
        (f"{name}/text_neighbours", after, lambda: texts),
        ("text_neighbours", before, lambda: probe),
    )
    for key, given, where in sets:
        errors = rows.once(("neighbours", key), lambda: m.neighbour_errors(where(), given))
        c.record(f"samples {key}: members", errors[0], 1e-12)
        c.record(f"samples {key}: order", errors[1], 1e-12)
    for field, values in (
        ("mixing", m.mixing(pooled, len(texts))),
        ("support", m.support(pooled, len(texts))),
    ):
        for key, value in values.items():
            c.compare(f"{path}.{field}.{key}", value)
    c.compare(f"{path}.omega", m.kept_share(before, after))


def check_method_pairs(c, rows, text, image, path):
    """Cosine, distribution gap, anisotropy and recall of pairs."""
    if not rows.paired:
        c.equal(path, None)
        return
    pairs = rows.samples["pairs_held_out"]
    texts, images = rows.unit(text), rows.unit(image)
    difference = images[pairs[:, 1]] - texts[pairs[:, 0]]
    c.compare(f"{path}.cosine", float(m.pair_cosines(texts, images, pairs).mean()), 1e-8)
    c.compare(f"{path}.distribution_gap", m.distribution_gap(difference), 1e-8)
    second = rows.once(
        ("second moment", text), lambda: m.eigen(difference.T @ difference / len(pairs))[0]
    )
    c.compare(f"{path}.anisotropy", m.anisotropy(second))
    place = np.full(len(texts), -1)
    place[rows.samples["text_probe"]] = np.arange(len(rows.samples["text_probe"]))
    probed = (place[pairs[:, 0]] >= 0) & np.isin(pairs[:, 1], rows.samples["image_probe"])
    pairs = np.column_stack([place[pairs[probed, 0]], pairs[probed, 1]])
    texts = texts[rows.samples["text_probe"]]
    for k in (1, 10):
        c.within(
            f"{path}.recall_at_{k}",
            *rows.once(("recall", text, k), lambda: m.recall_bounds(texts, images, pairs, k)),
        )


def check_rows(c, rows, name, path):
    """The aligned rows of a deterministic method, from its definition fitted on the fit half."""
    readings = rows.readings(name, c.get("settings.ridge"), c.get("settings.energy"))
    if not readings:
        c.info(f"{name}: no definition here, aligned rows not recomputed")
        return
    c.compare(f"{path}.noise", 0.0)
    for kind, half in ((kind, half) for kind in ("text", "image") for half in rows.halves):
        key = f"{name}/{kind}{rows.halves[half]}"
        if key not in rows.samples:
            continue
        results = []
        for reading in readings:
            apply = getattr(reading, kind) or (lambda given: given)
            difference = np.abs(apply(rows.unit(f"{kind}_{half}")) - rows.unit(key)).max()
            results.append((difference, reading.condition, reading.label))
        difference, condition, label = min(results)
        note = f"  ({label})" if label else ""
        if condition > 1e8:
            c.info(f"rows of {key}: difference {difference:.2e}, condition {condition:.1e}{note}")
        else:
            c.record(
                f"rows of {key}",
                difference,
                2e-6 if name.replace("-", "_") in SHIFTS else 1e-5,
                note,
            )


def check_cosines(c, rows):
    """The densities of cosines on the grid, the bandwidth."""
    lengths = {len(pairs) for key, pairs in rows.samples.items() if key.startswith("cosine_pairs_")}
    c.compare("cosines.pairs", max(lengths) if len(lengths) == 1 else np.nan)
    c.compare("cosines.bandwidth", m.scott(rows.cosines("text_held_out", "image_held_out")[1]))
    c.equal_names("cosines.methods")
    bandwidth, grid = c.get("cosines.bandwidth"), c.get("cosines.grid")
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    c.record("cosines.grid is uniform", float(np.abs(np.diff(grid) - step).max()), 1e-9)
    image = rows.densities("text_held_out", "image_held_out", bandwidth, grid)[1]
    c.compare("cosines.image", image, 0, 1e-6 * float(image.max()))
    for i, entry in enumerate(c.get("cosines.methods")):
        names = rows.names(entry["method"])
        within, prior, across = rows.densities(*names, bandwidth, grid)
        if names[1] == "image_held_out":
            c.equal(f"cosines.methods.{i}.prior", None)
        else:
            c.compare(f"cosines.methods.{i}.prior", prior, 0, 1e-6 * float(prior.max()))
        for field, values in (("within", within), ("across", across)):
            c.compare(f"cosines.methods.{i}.{field}", values, 0, 1e-6 * float(values.max()))


def nearest_projection(given, names, rows, axes, probe):
    """Of all held-out rows and the probe rows, those that the points are: expected coordinates."""
    options = [rows.unit(names), rows.unit(names)[rows.samples[probe]]]
    options = [option[: len(given)] @ axes.T for option in options if len(option) >= len(given)]
    spread = lambda option: np.sum(
        np.abs(np.abs(option - option.mean(0)) - np.abs(given - np.mean(given, axis=0)))
    )
    return min(options, key=spread)


def check_projection(c, rows):
    """Points in the plane, up to the sign of each axis and one origin for all."""
    axes, shares = rows.once(
        "axes", lambda: m.projection_axes(rows.unit("text_fit"), rows.unit("image_fit"))
    )
    c.compare("projection.explained", shares, 1e-8)
    given = np.asarray(c.get("projection.image"))
    expected = nearest_projection(given, "image_held_out", rows, axes, "image_probe")
    signs = np.sign(np.sum((given - given.mean(0)) * (expected - expected.mean(0)), axis=0))
    origin = np.median(given - signs * expected, axis=0)
    c.equal_names("projection.methods")
    c.info(f"projection: signs {signs.tolist()}, origin at {(-origin * signs).tolist()}")
    c.compare("projection.image", signs * expected + origin, 0, 4e-6)
    for i, entry in enumerate(c.get("projection.methods")):
        text, image = rows.names(entry["method"])
        for field, name, probe in (("text", text, "text_probe"), ("image", image, "image_probe")):
            if name == "image_held_out":
                c.equal(f"projection.methods.{i}.image", None)
                continue
            points = np.asarray(entry[field])
            nearest = nearest_projection(points, name, rows, axes, probe)
            c.compare(f"projection.methods.{i}.{field}", signs * nearest + origin, 0, 4e-6)


def check_efficiency(c, rows):
    """The predicted gaps; of the measured ones only whether the last are those of the method."""
    trace = float(np.trace(rows.moments("image_fit")[0]))
    methods = {method["name"]: method for method in c.get("methods")}
    for i, curve in enumerate(c.get("sample_efficiency")):
        name = curve["method"]
        floor = rows.once(("floor", name), lambda: sampling_floor(rows, name))
        for j, point in enumerate(curve["points"]):
            own = float(np.trace(rows.moments(f"{name}/text_fit")[0]))
            predicted = float(np.sqrt((trace + own) / point["rows"] + floor**2))
            c.compare(f"sample_efficiency.{i}.points.{j}.predicted", predicted, 1e-8)
        gaps = curve["points"][-1]["gaps"]
        if np.ptp(gaps) < 1e-9:
            difference = abs(gaps[0] - methods[name]["gap"])
            c.info(
                f"sample_efficiency of {name}: last point is {difference:.2e} from the method's gap"
            )
