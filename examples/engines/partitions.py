"""What a query engine has the program burn-revision do with each of its partitions.

A partition is a stream of Arrow batches. The program reads files, so the machine that has the partition writes it to a
temporary one. Statistics come back as the bytes of the program's files, kilobytes for each partition, and `stats merge`
makes them one.
"""

import pathlib
import platform
import subprocess
import tempfile
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Program:
    """The program, which every machine has under this name, and the column of embeddings."""

    path: str
    column: str

    def moments(self, role, batches):
        """Moments of a partition of the `text` or the `image` set; None where it has no row."""
        with tempfile.TemporaryDirectory() as folder:
            rows = self._write(folder, batches)
            return rows and self._fit(folder, "--moments", f"--{role}", rows)

    def centroid(self, begun, batches):
        """Merged moments after the centroid pass over a partition of the texts; None where it has no row."""
        with tempfile.TemporaryDirectory() as folder:
            rows = self._write(folder, batches)
            return rows and self._fit(folder, "--from", _file(folder, "begun", begun), "--text", rows)

    def merge(self, parts):
        """The statistics of all partitions."""
        if len(parts) < 2:
            if not parts:
                raise ValueError(f"column {self.column}: expected rows, found none in any partition")
            return parts[0]
        with tempfile.TemporaryDirectory() as folder:
            files = [_file(folder, f"part{number}", part) for number, part in enumerate(parts)]
            merged = pathlib.Path(folder, "merged.safetensors")
            self._run(folder, "stats", "merge", *files, "--output", merged)
            return merged.read_bytes()

    def apply(self, statistics, batches):
        """The batches of a partition of the texts, their embeddings moved, in float32; other columns stay as they are."""
        with tempfile.TemporaryDirectory() as folder:
            rows = self._write(folder, batches)
            if rows is None:
                return
            output = pathlib.Path(folder, "aligned.npy")
            stats = _file(folder, "statistics", statistics)
            self._run(folder, "apply", "--stats", stats, "--text", rows, *self._reading(), "--output", output)
            aligned, source = np.load(output, mmap_mode="r"), pq.ParquetFile(pathlib.Path(folder, rows))
            if len(aligned) != source.metadata.num_rows:
                found = f"expected {source.metadata.num_rows} aligned rows, found {len(aligned)}"
                raise ValueError(f"{found}: statistics whose policy is skip leave rows out")
            first = 0
            for batch in source.iter_batches():
                part = aligned[first : first + batch.num_rows]
                first += batch.num_rows
                offsets = np.arange(len(part) + 1, dtype=np.int32) * part.shape[1]
                lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(part.ravel()))
                yield batch.set_column(batch.schema.get_field_index(self.column), self.column, lists)

    def _write(self, folder, batches):
        """The partition as a file, by its name in the folder; None where it has no row, which the program would refuse."""
        name, writer = "partition.parquet", None
        for batch in batches:
            if batch.num_rows == 0:
                continue
            if writer is None:
                writer = pq.ParquetWriter(pathlib.Path(folder, name), batch.schema, use_dictionary=False, compression="none")
            writer.write_batch(batch)
        if writer is None:
            return None
        writer.close()
        return name

    def _fit(self, folder, *arguments):
        output = pathlib.Path(folder, "fitted.safetensors")
        self._run(folder, "fit", *arguments, *self._reading(), "--output", output)
        return output.read_bytes()

    def _reading(self):
        # The engine gives each core a partition of its own.
        return ["--key", self.column, "--ids", "rows", "--threads", "1"]

    def _run(self, folder, *arguments):
        command = [self.path, *map(str, arguments), "--quiet"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        except OSError as error:
            raise RuntimeError(f"--program {self.path}: cannot be run on {platform.node()}: {error.strerror}") from None
        if done.returncode != 0:
            raise RuntimeError(f"burn-revision {arguments[0]}: {done.stderr.strip()}")


def _file(folder, name, statistics):
    path = pathlib.Path(folder, f"{name}.safetensors")
    path.write_bytes(statistics)
    return path
