"""What a gap report measures, written from the definitions in float64 with NumPy and SciPy.

`geometry.py` compares a report with these functions. Covariances have the divisor N; rows are
unit vectors; x stands for images, y for texts, z for aligned texts.
"""

from collections import namedtuple

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import hypergeom
from sklearn.neighbors import NearestNeighbors

EPS = np.finfo(np.float64).eps


def unit(rows):
    """Rows of length 1; rows without direction stay as they are."""
    rows = np.asarray(rows, np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms < 1e-10, 1.0, norms)


def covariance(rows):
    """The covariance with divisor N."""
    centred = rows - rows.mean(axis=0)
    return centred.T @ centred / len(rows)


def eigen(matrix):
    """Eigenvalues, descending, and eigenvectors in columns."""
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1], vectors[:, ::-1]


def gap(first, second):
    """The distance of two centroids."""
    return float(np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)))


def rank_bounds(values, rows):
    """The fewest and the most eigenvalues above rounding, for a threshold known up to 10."""
    threshold = max(rows, len(values)) * EPS * values[0]
    return int(np.sum(values > 10 * threshold)), int(np.sum(values > threshold / 10))


def effective_rank(values):
    """`exp` of the entropy of the normalised eigenvalues."""
    shares = values[values > 0] / values[values > 0].sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def participation_ratio(values):
    """`tr(S)^2 / tr(S^2)`."""
    return float(values.sum() ** 2 / np.sum(values**2))


def energy_ranks(values, share):
    """The fewest eigenvalues that hold a share of the trace, with and without rounding."""
    held = np.cumsum(values) / values.sum()
    return [min(int(np.sum(held < share + slack)) + 1, len(values)) for slack in (0, -1e-12, 1e-12)]


def power_law(values, first, last):
    """Exponent and R^2 of the line through `ln lambda_k` over `ln k`, k from first to last."""
    x, y = np.log(np.arange(first, last + 1)), np.log(values[first - 1 : last])
    slope, offset = np.polyfit(x, y, 1)
    residual = y - slope * x - offset
    return float(-slope), float(1 - np.sum(residual**2) / np.sum((y - y.mean()) ** 2))


def relative_covariance_gap(image, text):
    """`||S_x - S_z||_F / ||S_x||_F` of two covariances."""
    return float(np.linalg.norm(image - text) / np.linalg.norm(image))


def overlap(first, second):
    """`||U^T V||_F^2 / q` for orthonormal columns."""
    return float(np.sum((first.T @ second) ** 2) / first.shape[1])


def distribution_gap(difference):
    """`E||r||` of the differences of pairs about their mean."""
    return float(np.linalg.norm(difference - difference.mean(axis=0), axis=1).mean())


def anisotropy(values):
    """`lambda_max d / tr S`."""
    return float(values[0] * len(values) / values.sum())


def frame(text, image, energy):
    """U and V in orthonormal columns, and the eigenvalues of the sum of two covariances."""
    values, vectors = eigen(text + image)
    held = np.cumsum(values) / values.sum()
    rank = min(int(np.sum(held < energy - 1e-12)) + 1, len(values))
    return vectors[:, :rank], vectors[:, rank:], values


def coupling(delta, zeta, ridge):
    """`||L||_2`, R^2 and readings of R^2 by chance: zeta regressed on delta, both centred."""
    pairs, rank = delta.shape
    own = delta.T @ delta / pairs
    shift = ridge * np.trace(own) / rank
    weights = np.linalg.solve(own + shift * np.eye(rank), delta.T @ zeta / pairs)
    left = np.sum((zeta - delta @ weights) ** 2) / np.sum(zeta**2)
    values = eigen(own)[0]
    freedom = float(np.sum(values / (values + shift)))
    chance = [rank / pairs, rank / (pairs - 1), freedom / pairs, freedom / (pairs - 1)]
    return float(np.linalg.norm(weights, 2)), float(1 - left), [min(1.0, c) for c in chance]


def phantom_drift(text, image):
    """Radius, spread and both comparisons of the drift that the projection causes."""
    mu_y, mu_x, sigma = text.mean(axis=0), image.mean(axis=0), covariance(text)
    trace_x = np.sum((image - mu_x) ** 2) / len(image)
    s2 = trace_x / np.trace(sigma)
    mean = unit(mu_x + np.sqrt(s2) * (text - mu_y)).mean(axis=0)
    radius = float(np.linalg.norm(mu_x))
    a = mu_x / radius
    spherical = -sigma @ a - a * np.trace(sigma) / 2 + 1.5 * a * (a @ sigma @ a)
    w = mu_x - np.sqrt(s2) * mu_y
    centroid = -s2 * sigma @ w + 1.5 * s2 * (w @ sigma @ w) * mu_x
    return {
        "radius": radius,
        "spread": float(np.sqrt(trace_x) / radius),
        "from_direction": drift_comparison(mean - a, s2 / radius**2 * spherical),
        "from_centroid": drift_comparison(mean - mu_x, centroid),
    }


def drift_comparison(measured, predicted):
    """Both norms and the norm of the difference relative to the measured one."""
    norm = float(np.linalg.norm(measured))
    error = float(np.linalg.norm(measured - predicted)) / norm
    return {
        "measured": norm,
        "predicted": float(np.linalg.norm(predicted)),
        "relative_error": error,
    }


def neighbour_errors(rows, given):
    """How far given neighbour lists are from the true ones: members, then order, as cosines.

    A member that scikit-learn does not list costs the difference to the k-th cosine; a row that is
    listed twice or that is its own neighbour costs infinity.
    """
    count, k = given.shape
    true = (
        NearestNeighbors(n_neighbors=k, algorithm="brute")
        .fit(rows)
        .kneighbors(None, return_distance=False)
    )
    member = order = 0.0
    for row in range(count):
        listed = set(given[row].tolist())
        if len(listed) < k or row in listed or min(listed) < 0 or max(listed) >= count:
            return np.inf, np.inf
        cosines = rows[given[row]] @ rows[row]
        order = max(order, float(np.max(np.diff(cosines), initial=0.0)))
        strangers = sorted(listed - set(true[row].tolist()))
        if strangers:
            last = np.min(rows[true[row]] @ rows[row])
            member = max(member, float(np.max(np.abs(last - rows[strangers] @ rows[row]))))
    return member, order


def mixing(neighbours, texts):
    """Text to image, image to text, pooled; the first `texts` rows are texts."""
    other = (neighbours >= texts) != (np.arange(len(neighbours)) >= texts)[:, None]
    share = other.mean(axis=1)
    names = ("text_to_image", "image_to_text", "pooled")
    return dict(zip(names, map(float, (share[:texts].mean(), share[texts:].mean(), share.mean()))))


def binary_entropy(shares):
    """The entropy in bits of a choice of two."""
    inner = np.clip(shares, 1e-300, 1 - EPS)
    bits = -inner * np.log2(inner) - (1 - inner) * np.log2(1 - inner)
    return np.where((shares <= 0) | (shares >= 1), 0.0, bits)


def chance_entropy(total, images, k):
    """The mean entropy of k labels drawn from `total` of which `images` are images."""
    counts = np.arange(k + 1)
    return float(hypergeom(total, images, k).pmf(counts) @ binary_entropy(counts / k))


def support(neighbours, texts):
    """Score, penetration, coverage and normaliser of the local support."""
    total, k = neighbours.shape
    images = total - texts
    bits = binary_entropy((neighbours >= texts).mean(axis=1))
    pooled = chance_entropy(total, images, k)
    return {
        "score": float(bits.mean() / pooled),
        "penetration": float(bits[:texts].mean() / chance_entropy(total - 1, images, k)),
        "coverage": float(bits[texts:].mean() / chance_entropy(total - 1, images - 1, k)),
        "normalizer": pooled,
    }


def kept_share(before, after):
    """`Omega_k`: the mean share of the neighbours before that are neighbours after."""
    return float(
        np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(before.tolist(), after.tolist())])
    )


def pair_cosines(first, second, pairs):
    """The cosines of given pairs of rows."""
    return np.einsum("ij,ij->i", first[pairs[:, 0]], second[pairs[:, 1]])


def scott(values):
    """Scott's bandwidth."""
    return float(np.std(values, ddof=1) * len(values) ** -0.2)


def density(values, bandwidth, grid):
    """The exact density of Gaussian kernels at the points of a grid."""
    at = [np.mean(np.exp(-0.5 * ((point - values) / bandwidth) ** 2)) for point in grid]
    return np.array(at) / (bandwidth * np.sqrt(2 * np.pi))


def divergence(first, second):
    """The Jensen-Shannon divergence in bits of two densities on one grid."""
    # Halves of the smallest numbers round to zero, and SciPy then finds an infinite divergence.
    first, second = (np.where(density < 1e-300, 0, density) for density in (first, second))
    return float(jensenshannon(first, second, base=2) ** 2)


def recall_bounds(text, image, pairs, k):
    """The least and the largest recall at k: all near ties against the pair, or none."""
    worst, best = [], []
    for part in np.array_split(pairs, max(1, len(pairs) // 500)):
        cosines = image[part[:, 1]] @ text.T
        own = cosines[np.arange(len(part)), part[:, 0]][:, None]
        worst.append(np.sum(cosines >= own - 1e-12, axis=1) <= k)
        best.append(np.sum(cosines > own + 1e-12, axis=1) < k)
    return float(np.concatenate(worst).mean()), float(np.concatenate(best).mean())


def projection_axes(text, image):
    """The direction of the gap, the first principal component across it, both shares."""
    along = image.mean(axis=0) - text.mean(axis=0)
    along = along / np.linalg.norm(along)
    pooled = covariance(np.concatenate([text, image]))
    across = np.eye(len(along)) - np.outer(along, along)
    axes = np.stack([along, eigen(across @ pooled @ across)[1][:, 0]])
    return axes, np.einsum("ai,ij,aj->a", axes, pooled, axes) / np.trace(pooled)


Reading = namedtuple("Reading", "label text image condition", defaults=(None, 1.0))


def root(matrix, inverse=False):
    """The symmetric square root of a covariance, or its (pseudo-)inverse."""
    values, vectors = eigen(matrix)
    held = values > len(values) * EPS * values[0]
    powers = np.where(held, np.where(held, values, 1.0) ** (-0.5 if inverse else 0.5), 0.0)
    return (vectors * powers) @ vectors.T


def ridged(matrix, ridge, dimensions=None):
    """A covariance plus a share of its mean eigenvalue."""
    return matrix + ridge * np.trace(matrix) / (dimensions or len(matrix)) * np.eye(len(matrix))


def fit_shift(text, image, centre_both=False, target=True):
    """Mean shifts: onto the images' mean, or each modality (or the text alone) onto 0."""
    mu_y, mu_x = text.mean(axis=0), image.mean(axis=0)
    to_text = (
        (lambda rows: unit(rows - mu_y + mu_x)) if target else (lambda rows: unit(rows - mu_y))
    )
    return [Reading("", to_text, (lambda rows: unit(rows - mu_x)) if centre_both else None)]


def fit_realign(text, image):
    """ReAlign with means rounded to float32, as in the authors' script."""
    mu_y = text.mean(axis=0).astype(np.float32).astype(np.float64)
    mu_x = image.mean(axis=0).astype(np.float32).astype(np.float64)
    traces = [np.sum((rows - mu) ** 2) / len(rows) for rows, mu in ((image, mu_x), (text, mu_y))]
    scale = np.sqrt(traces[0] / (traces[1] + 1e-10))
    step = lambda rows: unit(mu_x + scale * (rows - mu_y))
    drifted = step(text).mean(axis=0)
    return [Reading("", lambda rows: unit(step(rows) - drifted + mu_x))]


def fit_whitening(text, image, ridge):
    """Whitening with the text's covariance, colouring with that of the images."""
    mu_y, mu_x = text.mean(axis=0), image.mean(axis=0)
    own = ridged(covariance(text), ridge)
    matrix = root(covariance(image)) @ root(own, inverse=True)
    return [
        Reading("", lambda rows: unit(mu_x + (rows - mu_y) @ matrix.T), None, np.linalg.cond(own))
    ]


def fit_gaussian_ot(text, image, ridge):
    """Optimal transport of Gaussians; the ridge in the inverse alone, or throughout."""
    mu_y, mu_x, target = text.mean(axis=0), image.mean(axis=0), covariance(image)
    own = ridged(covariance(text), ridge)
    readings = []
    for label, source in (("ridge in the inverse", covariance(text)), ("ridge throughout", own)):
        half, inverse = root(source), root(own, inverse=True)
        matrix = inverse @ root(half @ target @ half) @ inverse
        apply = lambda rows, matrix=matrix: unit(mu_x + (rows - mu_y) @ matrix.T)
        readings.append(Reading(label, apply, None, np.linalg.cond(own)))
    return readings


def fit_blockwise(text, image, ridge, blocks):
    """Blockwise covariance alignment; blocks are orthonormal columns of U and V."""
    mu_y, mu_x, dim = text.mean(axis=0), image.mean(axis=0), text.shape[1]
    shift = lambda rows: unit(rows - mu_y + mu_x)
    sigma_a, sigma_b = covariance(shift(text)), covariance(image)
    readings = []
    for label, mean_over in (
        ("mean eigenvalue of the block", None),
        ("mean eigenvalue over d", dim),
    ):
        matrix, condition = np.zeros((dim, dim)), 1.0
        for block in (b for b in blocks if b.shape[1]):
            own = ridged(block.T @ sigma_a @ block, ridge, mean_over)
            target = root(block.T @ sigma_b @ block)
            matrix += block @ target @ root(own, inverse=True) @ block.T
            condition = max(condition, np.linalg.cond(own))
        step = lambda rows, matrix=matrix: unit(shift(rows) @ matrix.T)
        drifted = step(text).mean(axis=0)
        apply = lambda rows, step=step, drifted=drifted: unit(step(rows) - drifted + mu_x)
        readings.append(Reading(label, apply, None, condition))
    return readings


def fit_method(name, text, image, ridge, blocks):
    """The readings of a deterministic method fitted on unit rows; nothing for an unknown one."""
    fits = {
        "identity": lambda: [Reading("", lambda rows: rows)],
        "mean_shift": lambda: fit_shift(text, image),
        "unicorn": lambda: fit_shift(text, image, centre_both=True, target=False),
        "gr_clip": lambda: fit_shift(text, image, centre_both=True, target=False),
        "realign": lambda: fit_realign(text, image),
        "whitening": lambda: fit_whitening(text, image, ridge),
        "gaussian_ot": lambda: fit_gaussian_ot(text, image, ridge),
        "blockwise": lambda: fit_blockwise(text, image, ridge, blocks),
    }
    fit = fits.get(name.replace("-", "_"))
    return fit() if fit else []
