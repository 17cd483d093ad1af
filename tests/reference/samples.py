"""The report and the sampled rows that it is checked against."""

import numpy as np

import measures as m


class Checks:
    """Compares values with those of a report, by dotted paths; `fill` writes them first."""

    def __init__(self, report, fill=False, quiet=False):
        self.report, self.fill, self.quiet, self.failed, self.count = report, fill, quiet, 0, 0

    def get(self, path):
        """The value at a path."""
        value = self.report
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        return value

    def set(self, path, value):
        """Writes a value at a path whose parent exists."""
        parent, _, key = path.rpartition(".")
        holder = self.get(parent) if parent else self.report
        holder[int(key) if isinstance(holder, list) else key] = value

    def info(self, text):
        """A line that decides nothing."""
        if not self.quiet:
            print(f"info    {text}")

    def record(self, name, difference, tolerance, note=""):
        """One line; a difference that is not a number fails."""
        good = bool(difference <= tolerance)
        self.count, self.failed = self.count + 1, self.failed + (not good)
        if not self.quiet:
            state = "ok    " if good else "FAILED"
            print(f"{state}  {name}  difference {difference:.2e}  tolerance {tolerance:.2e}{note}")

    def compare(self, path, expected, relative=1e-9, absolute=1e-12):
        """A number or an array of numbers; `relative` is relative to the largest magnitude."""
        self.one_of(path, [("", expected)], relative, absolute)

    def one_of(self, path, readings, relative=1e-9, absolute=1e-12):
        """The nearest of several labelled values; the line names which it was."""
        if self.fill:
            first = readings[0][1]
            self.set(path, first.tolist() if isinstance(first, np.ndarray) else first)
        results = [
            (*self.difference(path, value, relative, absolute), label) for label, value in readings
        ]
        difference, tolerance, label = min(results, key=lambda r: (not r[0] <= r[1], r[0]))
        self.record(path, difference, tolerance, f"  ({label})" if label else "")

    def difference(self, path, expected, relative, absolute):
        """The largest difference at a path, and the tolerance."""
        expected = np.asarray(expected, np.float64)
        scale = float(np.max(np.abs(expected), initial=0.0))
        try:
            given = np.asarray(self.get(path), np.float64)
            same = given.shape == expected.shape
        except (KeyError, IndexError, TypeError, ValueError):
            same = False
        difference = float(np.max(np.abs(given - expected), initial=0.0)) if same else np.inf
        return difference, absolute + relative * scale

    def within(self, path, low, high):
        """A number between two bounds."""
        if self.fill:
            self.set(path, low)
        self.compare_to_bounds(path, self.get(path), low, high)

    def compare_to_bounds(self, path, value, low, high):
        """The distance of a value to an interval."""
        value = np.nan if value is None else value
        self.record(path, max(low - value, value - high, 0.0) if value == value else np.nan, 1e-12)

    def equal(self, path, expected):
        """A text, a list of texts or a truth value."""
        if self.fill:
            self.set(path, expected)
        self.record(path, 0.0 if self.get(path) == expected else np.inf, 0.0)

    def equal_names(self, path):
        """Whether the entries of a list stand for all methods, in their order."""
        names = [method["name"] for method in self.get("methods")]
        same = [entry["method"] for entry in self.get(path)] == names
        self.record(f"{path}: the methods in order", 0.0 if same else np.inf, 0.0)


class Rows:
    """The sampled rows as unit vectors in float64, and what follows from them, kept."""

    def __init__(self, samples, extra):
        self.samples, self.extra, self.cache = samples, extra, {}
        self.paired = "pairs_held_out" in samples
        self.halves = {"fit": "_fit", "held_out": ""}

    def once(self, key, compute):
        """The value of a key, computed at its first use."""
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]

    def unit(self, name):
        """Unit rows of one tensor."""
        return self.once(("unit", name), lambda: m.unit(self.samples[name]))

    def moments(self, name):
        """Covariance, eigenvalues and eigenvectors of the rows of a tensor."""

        def compute():
            matrix = m.covariance(self.unit(name))
            return (matrix, *m.eigen(matrix))

        return self.once(("moments", name), compute)

    def names(self, method, half="held_out"):
        """The tensors of a method's text and images in one half."""
        image = f"{method}/image{self.halves[half]}"
        return f"{method}/text{self.halves[half]}", (
            image if image in self.samples else f"image_{half}"
        )

    def frame(self, energy, half="fit"):
        """U, V and the eigenvalues of the summed covariances."""
        both = lambda: m.frame(
            self.moments(f"text_{half}")[0], self.moments(f"image_{half}")[0], energy
        )
        return self.once(("frame", energy, half), both)

    def readings(self, name, ridge, energy):
        """The readings of a deterministic method, fitted on the fit half."""
        fit = lambda: m.fit_method(
            name, self.unit("text_fit"), self.unit("image_fit"), ridge, self.frame(energy)[:2]
        )
        return self.once(("method", name, ridge, energy), fit)

    def probes(self, text, image):
        """The probe rows of two tensors."""
        return (
            self.unit(text)[self.samples["text_probe"]],
            self.unit(image)[self.samples["image_probe"]],
        )

    def cosines(self, text, image):
        """The sampled cosines within the text, within the images and across."""

        def compute():
            texts, images = self.probes(text, image)
            parts = (
                ("within_text", texts, texts),
                ("within_image", images, images),
                ("across", texts, images),
            )
            return [
                m.pair_cosines(a, b, self.samples[f"cosine_pairs_{name}"]) for name, a, b in parts
            ]

        return self.once(("cosines", text, image), compute)

    def densities(self, text, image, bandwidth, grid):
        """The densities of these cosines, normalised to the sum 1."""

        def compute():
            return [
                d / d.sum()
                for d in (m.density(v, bandwidth, grid) for v in self.cosines(text, image))
            ]

        return self.once(("densities", text, image, bandwidth, tuple(grid)), compute)


def sampling_floor(rows, method, half="held_out"):
    """The gap that sampling of a half leaves: texts with their images are what is drawn."""
    text, image = map(rows.unit, rows.names(method, half))
    if rows.paired:
        pairs = rows.samples[f"pairs_{half}"]
        parts = -(text - text.mean(axis=0)) / len(text)
        np.add.at(parts, pairs[:, 0], (image - image.mean(axis=0))[pairs[:, 1]] / len(image))
        return float(np.sqrt(np.sum(parts**2)))
    return float(np.sqrt(sum(np.trace(m.covariance(part)) / len(part) for part in (text, image))))
