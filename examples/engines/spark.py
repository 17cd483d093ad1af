"""Aligns texts by the machines of a Spark cluster, or by the cores of this one.

    python spark.py --text captions/ --image pictures/ --statistics realign.safetensors --output aligned/
    spark-submit --master yarn spark.py ...

Spark reads the tables and cuts them into partitions. Each is handed to burn-revision by `mapInArrow`: for its statistics,
which the driver merges, and in the end to be moved. Workers take the Python that PYSPARK_PYTHON names, or `python3`.
"""

import pathlib

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

from arguments import finish, parse


def gather(table, column, function):
    """The statistics of every partition that has rows."""

    def partition(batches):
        statistics = function(batches)
        if statistics is not None:
            yield pa.RecordBatch.from_pydict({"statistics": [statistics]})

    rows = table.select(f"`{column}`").mapInArrow(partition, "statistics binary").collect()
    return [bytes(row.statistics) for row in rows]


def fit(program, text, image):
    """Statistics of ReAlign: moments of both sets, then the centroid pass over the texts."""
    moments = gather(text, program.column, lambda batches: program.moments("text", batches))
    moments += gather(image, program.column, lambda batches: program.moments("image", batches))
    begun = program.merge(moments)
    return program.merge(gather(text, program.column, lambda batches: program.centroid(begun, batches)))


def apply(program, statistics, text):
    """The texts with their embeddings moved."""
    rows = StructField(program.column, ArrayType(FloatType()))
    schema = StructType([rows if field.name == program.column else field for field in text.schema])
    return text.mapInArrow(lambda batches: program.apply(statistics, batches), schema)


def main():
    options, program = parse(__doc__.splitlines()[0])
    spark = SparkSession.builder.appName("ReAlign").getOrCreate()
    spark.sparkContext.addPyFile(str(pathlib.Path(__file__).with_name("partitions.py")))
    text, image = spark.read.parquet(options.text), spark.read.parquet(options.image)
    if options.partitions:
        text, image = text.repartition(options.partitions), image.repartition(options.partitions)
    statistics = fit(program, text, image)
    if options.output:
        apply(program, statistics, text).write.parquet(options.output)
    finish(options, statistics, options.output and spark.read.parquet(options.output).count())
    spark.stop()


if __name__ == "__main__":
    main()
