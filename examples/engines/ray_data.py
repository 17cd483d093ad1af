"""Aligns texts by the machines of a Ray cluster, or by the cores of this one.

    python ray_data.py --text captions/ --image pictures/ --statistics realign.safetensors --output aligned/

Ray Data reads the tables and cuts them into blocks. burn-revision makes statistics of each block, as an aggregate function,
and moves the blocks of the texts.
"""

import functools
import pathlib

import pyarrow as pa
import ray
from ray.data.aggregate import AggregateFnV2
from ray.data.block import BlockAccessor

from arguments import finish, parse


class Statistics(AggregateFnV2):
    """The statistics of a dataset: `function` makes them for a block, the program merges them in the end."""

    def __init__(self, program, function):
        super().__init__("statistics", list, on=program.column, ignore_nulls=False)
        self.program, self.function = program, function

    def aggregate_block(self, block):
        statistics = self.function(BlockAccessor.for_block(block).to_arrow().to_batches())
        return [] if statistics is None else [statistics]

    def combine(self, current_accumulator, new):
        return [*current_accumulator, *new]

    def finalize(self, accumulator):
        return self.program.merge(accumulator)


def fit(program, text, image):
    """Statistics of ReAlign: moments of both sets, then the centroid pass over the texts."""

    def gather(data, function):
        return data.select_columns([program.column]).aggregate(Statistics(program, function))["statistics"]

    sets = {"text": text, "image": image}
    moments = [gather(data, functools.partial(program.moments, role)) for role, data in sets.items()]
    begun = program.merge(moments)
    return gather(text, lambda batches: program.centroid(begun, batches))


def apply(program, statistics, text):
    """The texts with their embeddings moved."""

    def moved(block):
        return pa.Table.from_batches(program.apply(statistics, block.to_batches()))

    return text.map_batches(moved, batch_format="pyarrow", batch_size=None)


def main():
    options, program = parse(__doc__.splitlines()[0])
    ray.init(runtime_env={"working_dir": str(pathlib.Path(__file__).parent.resolve())})
    text, image = ray.data.read_parquet(options.text), ray.data.read_parquet(options.image)
    if options.partitions:
        text, image = text.repartition(options.partitions), image.repartition(options.partitions)
    statistics = fit(program, text, image)
    if options.output:
        apply(program, statistics, text).write_parquet(options.output)
    finish(options, statistics, options.output and ray.data.read_parquet(options.output).count())


if __name__ == "__main__":
    main()
