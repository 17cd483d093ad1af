"""Checks the checker: it passes on a synthetic report and notices any number that is off.

    python selftest.py [STRIDE]

The report is filled in by the checker itself, so this test says nothing about the definitions
except for `test_definitions`, which holds some of them against known answers. With STRIDE s only
every s-th leaf of a long list is perturbed.
"""

import copy
import fnmatch
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.stats import gaussian_kde
from sklearn.neighbors import NearestNeighbors

import measures as m
from geometry import check
from samples import Checks, Rows

DIM, K, PROBE, GRID = 24, 10, 50, 31
METHODS = ["identity", "mean_shift", "realign", "unicorn", "gr_clip", "whitening", "gaussian_ot"]
METHODS += ["blockwise", "c3"]

UNCHECKED = {
    "created_by": "a text",
    "notes.*": "texts",
    "seconds.*": "times",
    "settings.seed": "nothing sampled is drawn again",
    "settings.pair_by": "a text",
    "settings.non_finite": "a text",
    "settings.rows": "an upper bound of the rows read",
    "settings.ridge": "without pairs only through rows of methods, below their tolerance",
    "settings.energy": "only through the rank that it leads to",
    "data.*.place": "a text",
    "data.*.stored": "an upper bound of the rows read",
    "data.*.read": "between the rows that are accounted for and those stored",
    "data.*.left_out": "bounded by the rows read",
    "*.energy.*.share": "only through the rank that it leads to",
    "methods.*.source": "a text",
    "methods.8.noise": "the noise of a method that is not defined here",
    "sample_efficiency.*.gaps.*": "the draws are not among the samples",
    "domains.field": "a text",
    "domains.names.*": "texts",
    "lengths.field": "a text",
    "lengths.slices.*.shortest": "captions are not among the samples",
    "lengths.slices.*.longest": "captions are not among the samples",
    "lengths.slices.*.captions": "captions are not among the samples",
}


def halves(rng, texts, images):
    """Anisotropic rows of one half: images, and texts of which some have two images."""
    mixing = rng.normal(size=(DIM, DIM)) / np.arange(1, DIM + 1) ** 0.7
    centres = rng.normal(size=(2, DIM)) * 0.6

    def half():
        own = np.concatenate([np.arange(texts), rng.integers(0, texts, images - texts)])
        latent = rng.normal(size=(texts, DIM))
        text = centres[0] + (latent + 0.3 * rng.normal(size=latent.shape)) @ mixing.T
        noise = rng.normal(size=(images, DIM)) * 0.4
        image = centres[1] + (latent[own] + noise) @ mixing.T * np.linspace(1.3, 0.6, DIM)
        pairs = np.stack([own, np.arange(images)], axis=1).astype(np.int32)
        return text.astype(np.float32), image.astype(np.float32), pairs

    return half(), half()


def neighbours(rows):
    """The K nearest neighbours."""
    search = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(rows)
    return search.kneighbors(None, return_distance=False).astype(np.int32)


def make_samples(rng, paired, settings):
    """What the program would write with `--samples`."""
    fit, held_out = halves(rng, 380, 400)
    samples = {}
    for name, (text, image, pairs) in (("fit", fit), ("held_out", held_out)):
        samples |= {f"text_{name}": text, f"image_{name}": image}
        samples |= {f"pairs_{name}": pairs} if paired else {}
    for kind in ("text", "image"):
        count = len(samples[f"{kind}_held_out"])
        samples[f"{kind}_probe"] = rng.permutation(count)[:PROBE].astype(np.int32)
    for name in ("within_text", "within_image", "across"):
        samples[f"cosine_pairs_{name}"] = rng.integers(0, PROBE, (600, 2)).astype(np.int32)
    rows = Rows(samples, {})
    for half in ("fit", "held_out"):
        samples[f"frame_{half}"] = rows.frame(settings["energy"], half)[0].T.copy()
    samples["text_neighbours"] = neighbours(rows.probes("text_held_out", "image_held_out")[0])
    for name in METHODS:
        add_method(rng, rows, name, settings)
    domains = {
        key: [sorted(rng.permutation(len(samples[key]))[:count].tolist()) for count in (150, 120)]
        for key in ("text_fit", "image_fit", "text_held_out", "image_held_out")
    }
    return samples, {"domains": domains, "lengths": [list(range(0, 90)), list(range(200, 290))]}


def add_method(rng, rows, name, settings):
    """The aligned rows of a method and their neighbours."""
    samples = rows.samples
    noisy = m.Reading("", lambda given: m.unit(given + 0.05 * rng.normal(size=given.shape)))
    reading = (rows.readings(name, settings["ridge"], settings["energy"]) or [noisy])[0]
    for half, suffix in rows.halves.items():
        aligned = reading.text(rows.unit(f"text_{half}"))
        samples[f"{name}/text{suffix}"] = aligned.astype(np.float32)
        if reading.image:
            moved = reading.image(rows.unit(f"image_{half}"))
            samples[f"{name}/image{suffix}"] = moved.astype(np.float32)
    texts, images = rows.probes(*rows.names(name))
    samples[f"{name}/neighbours"] = neighbours(np.concatenate([texts, images]))
    samples[f"{name}/text_neighbours"] = neighbours(texts)


def spectrum(rank):
    """What the checker reads of a spectrum."""
    energy = [{"share": share, "rank": 0} for share in (0.5, 0.9, 0.99)]
    law = {"first": 2, "last": 20}
    return {"power_law": law, "condition": {"leading_rank": rank}, "energy": energy}


def make_report(rng, samples, settings, rank):
    """The parts of a report that the checker takes as given; it fills in the rest."""
    side = lambda: {"place": "p", "stored": 900, "read": 850, "left_out": 2}
    modality = lambda: {"spectrum": spectrum(rank)}
    residual = {
        "geometry": {},
        "spectrum": spectrum(rank),
        "kappa_u": {"leading_rank": rank},
        "kappa_v": {"leading_rank": DIM - rank},
        "coupling": {},
    }
    drift = {"from_direction": {}, "from_centroid": {}}
    paired = "pairs_fit" in samples
    method = lambda name: {
        "name": name,
        "source": "s",
        "noise": 0.1,
        "power_law": {"first": 1, "last": 20},
        "mixing": {},
        "support": {},
        "pairs": {} if paired else None,
    }
    curve = {
        "method": "realign",
        "points": [{"rows": n, "gaps": list(rng.random(3))} for n in (50, 380)],
    }
    slices = [{"shortest": 1 + 9 * i, "longest": 9 + 9 * i, "captions": 95} for i in range(2)]
    return {
        "version": 1,
        "created_by": "selftest",
        "settings": settings,
        "notes": ["n"],
        "data": {"text": side(), "image": side(), "pairs": {}},
        "geometry": {"text": modality(), "image": modality(), "overlap": {"q": 6}, "frame": {}},
        "gap": {"residual": residual, "phantom_drift": drift},
        "methods": [method(name) for name in METHODS],
        "cosines": {
            "grid": np.linspace(-1, 1, GRID).tolist(),
            "methods": [{"method": name} for name in METHODS],
        },
        "projection": make_projection(samples),
        "sample_efficiency": [curve],
        "domains": {"field": "f", "method": "realign", "names": ["a", "b"]},
        "lengths": {"field": "f", "method": "realign", "slices": slices},
        "seconds": [["part", 1.5]],
    }


def make_projection(samples):
    """Probe rows in the plane, as float32, with an axis mirrored and the origin moved."""
    rows = Rows(samples, {})
    axes, shares = m.projection_axes(rows.unit("text_fit"), rows.unit("image_fit"))
    plane = lambda unit: ((unit @ axes.T) * [1, -1] + [0.1, 0.2]).astype(np.float32).tolist()
    methods = []
    for name in METHODS:
        text, image = (plane(part) for part in rows.probes(*rows.names(name)))
        moves = f"{name}/image" in samples
        methods.append({"method": name, "text": text, "image": image if moves else None})
    image = plane(rows.probes("text_held_out", "image_held_out")[1])
    return {"explained": shares.tolist(), "image": image, "methods": methods}


def make(paired):
    """A complete report with its samples; the filled report must pass as it is read from JSON."""
    rng = np.random.default_rng(7)
    settings = {
        "seed": 7,
        "pair_by": None,
        "k": K,
        "energy": 0.9,
        "rows": 1000,
        "probe": PROBE,
        "ridge": 1e-6,
        "non_finite": "error",
    }
    samples, extra = make_samples(rng, paired, settings)
    report = make_report(rng, samples, settings, len(samples["frame_fit"]))
    rows = Rows(samples, extra)
    check(Checks(report, fill=True, quiet=True), rows)
    report = json.loads(json.dumps(report))
    assert check(Checks(report), rows), "a report of the checker's own numbers fails"
    return report, rows


def leaves(value, path=""):
    """The paths of all leaves."""
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path


def position(path):
    """The position of a leaf in a list of numbers or of points; 0 for a leaf that is in none."""
    keys = path.split(".")[-2:]
    return int(next((key for key in keys if key.isdigit()), 0)) if keys[-1].isdigit() else 0


def perturbed(value, scale):
    """A value that is off by 1e-3 of itself or of a scale, or the next whole number."""
    if value is None:
        return 1.0
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, str)):
        return value + (1 if isinstance(value, int) else "x")
    return value + 1e-3 * (scale or abs(value) or 1.0)


def notices(report, rows, path, scale=None):
    """Whether a perturbed leaf makes a check fail: first its own section, then all."""
    c = Checks(report, quiet=True)
    before = c.get(path)
    c.set(path, perturbed(before, scale))
    keys = path.split(".")
    own = {"data": ["settings"], "geometry": ["geometry", "frame"], "methods": [".".join(keys[:2])]}
    failed = not check(c, rows, own.get(keys[0], keys[:1])) or not check(c, rows)
    c.set(path, before)
    return failed


def test_perturbations(report, rows, stride):
    """Every leaf: noticed, known to be unchecked, or smaller than what the tolerance can see."""
    noticed, small, unchecked, wrong = 0, 0, {}, []
    for path in (path for path in leaves(report) if position(path) % stride == 0):
        if notices(report, rows, path):
            noticed += 1
            continue
        pattern = next((p for p in UNCHECKED if fnmatch.fnmatch(path, p)), None)
        siblings = Checks(report).get(path.rpartition(".")[0]) if "." in path else None
        if pattern:
            unchecked[pattern] = unchecked.get(pattern, 0) + 1
        elif isinstance(siblings, list) and notices(report, rows, path, np.max(np.abs(siblings))):
            small += 1
        else:
            wrong.append(path)
    print(f"{noticed} leaves noticed; {small} noticed at 1e-3 of the largest of their list")
    for pattern, count in unchecked.items():
        print(f"unchecked: {pattern} ({count}): {UNCHECKED[pattern]}")
    assert not wrong, f"not noticed: {wrong}"


def test_samples(report, rows):
    """Samples that do not belong to the report are noticed."""

    def turn(name, row, column, value):
        changed = dict(rows.samples)
        changed[name] = np.array(changed[name])
        changed[name][row, column] = value(changed[name][row, column])
        return not check(Checks(report, quiet=True), Rows(changed, rows.extra))

    for name in METHODS:
        assert turn(f"{name}/text", 3, 4, lambda v: v + 0.01), name
        listed = rows.samples[f"{name}/neighbours"][0]
        stranger = next(i for i in range(1, 2 * PROBE) if i not in listed)
        assert turn(f"{name}/neighbours", 0, K - 1, lambda v: stranger), name
        assert turn(f"{name}/text_neighbours", 0, 0, lambda v: 0), name
    assert turn("frame_fit", 0, 0, lambda v: v + 1e-6)
    assert turn("text_fit", 0, 0, lambda v: v + 0.1)
    assert turn("image_held_out", 0, 0, lambda v: v + 0.1)


def test_definitions():
    """Measures against answers that are known without them."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(60, 5))
    assert np.allclose(m.covariance(rows), np.cov(rows.T, bias=True))
    assert abs(m.chance_entropy(10**7, 5 * 10**6, 20) - 0.9630) < 1e-4
    assert np.isclose(m.effective_rank(np.ones(7)), 7) and np.isclose(m.anisotropy(np.ones(7)), 1)
    assert np.allclose(m.power_law(np.arange(1, 30.0) ** -1.33, 3, 20), [1.33, 1])
    values, grid = rng.normal(size=50), np.linspace(-4, 4, 90)
    kernel = gaussian_kde(values)
    assert np.allclose(kernel(grid), m.density(values, m.scott(values), grid))
    assert np.isclose(m.divergence(np.array([1, 0]), np.array([0, 1])), 1)
    target = m.covariance(rng.normal(size=(60, 5)) * np.arange(1, 6))
    own = m.covariance(rows)
    colour = m.root(target) @ m.root(own, inverse=True)
    assert np.allclose(colour @ own @ colour.T, target)
    half, inverse = m.root(own), m.root(own, inverse=True)
    transport = inverse @ m.root(half @ target @ half) @ inverse
    assert np.allclose(transport @ own @ transport, target)
    mu, a = np.array([1.0, 0.0]), 0.1
    cloud = np.array([[1, a], [1, -a]])
    drift = m.phantom_drift(cloud, mu + np.array([[0, a], [0, -a]]))["from_direction"]
    assert np.isclose(drift["measured"], 1 - 1 / np.sqrt(1 + a**2))
    assert np.isclose(drift["predicted"], a**2 / 2)
    small = m.unit(np.array([0.5, 0.3, 0, 0, 0]) + 0.02 * rows)
    other = m.unit(np.array([0.4, 0.1, 0.2, 0, 0]) + 0.02 * rng.normal(size=(60, 5)))
    drift = m.phantom_drift(small, other)
    assert drift["from_centroid"]["relative_error"] < 0.2, drift
    truth = rng.normal(size=(3, 2))
    norm, r_squared, _ = m.coupling(rows[:, :3], rows[:, :3] @ truth, 0.0)
    assert np.isclose(norm, np.linalg.norm(truth, 2)) and np.isclose(r_squared, 1)
    assert m.neighbour_errors(m.unit(rows), neighbours(m.unit(rows))) == (0, 0)


def test_program(report, rows):
    """The program on a folder: its exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tensors = {key: np.ascontiguousarray(value) for key, value in rows.samples.items()}
        save_file(tensors, folder / "samples.safetensors")
        (folder / "samples.json").write_text(json.dumps(rows.extra))
        wrong = copy.deepcopy(report)
        wrong["gap"]["beta"] *= 1.001
        for given, code in ((report, 0), (wrong, 1)):
            (folder / "report.json").write_text(json.dumps(given))
            script = Path(__file__).with_name("geometry.py")
            done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
            assert done.returncode == code, done.stdout + done.stderr


if __name__ == "__main__":
    stride = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    test_definitions()
    for paired in (True, False):
        made = make(paired)
        test_program(*made)
        test_samples(*made)
        test_perturbations(*made, stride)
    print("all good")
