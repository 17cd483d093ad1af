"""The options of both engines' programs."""

import argparse
import os
import shutil

from partitions import Program


def parse(description):
    """The options, and the program that they name."""
    parser = argparse.ArgumentParser(description=description)
    place = "Parquet, in a folder or at an address of an object store"
    parser.add_argument("--text", required=True, metavar="PLACE", help=f"the texts: {place}")
    parser.add_argument("--image", required=True, metavar="PLACE", help="the images, likewise")
    parser.add_argument("--statistics", required=True, metavar="PATH", help="the file of statistics to write")
    parser.add_argument("--output", metavar="PLACE", help="where the aligned texts go; without it only statistics are fitted")
    parser.add_argument("--column", default="embedding", help="the column of embeddings (default: embedding)")
    parser.add_argument("--program", default="burn-revision", help="the program, under the same name on each machine")
    parser.add_argument("--partitions", type=int, metavar="N", help="cut each table into so many parts (default: as the engine does)")
    options = parser.parse_args()
    program = shutil.which(options.program)
    if program is None:
        parser.error(f"--program {options.program}: expected a program, found none of this name")
    for option in ["statistics", "output"]:
        place = getattr(options, option)
        if place and os.path.exists(place):
            parser.error(f"--{option} {place}: expected nothing there, found a file or folder")
    # By full paths: workers have working folders of their own.
    options.text, options.image, options.output = map(everywhere, [options.text, options.image, options.output])
    return options, Program(os.path.abspath(program), options.column)


def everywhere(place):
    """A place, named so that it is the same in every folder."""
    return os.path.abspath(place) if place and "://" not in place else place


def finish(options, statistics, rows):
    """Keeps the statistics and says what was done."""
    with open(options.statistics, "xb") as file:
        file.write(statistics)
    print(f"statistics in {options.statistics}")
    if options.output:
        print(f"{rows} aligned rows")
