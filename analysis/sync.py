"""python -m analysis.sync SOURCE TARGET: bring a MongoDB to the content of a runs folder, or the other way round.

One of the two is a folder, the other an address that starts with mongodb://. Can be repeated at will: what is equal is
left as it is. From files, runs that the database lacks are added and those that differ are repaired. Into files, runs
that are missing are added, and those of which the database has more (a final status, more measurements) are completed;
what the files have is never replaced by less. Runs that are in progress are left alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pymongo.errors import PyMongoError

from analysis.wording import say
from experiments.tracking.database import open_database
from experiments.tracking.records import PATIENCE, is_mongo
from experiments.tracking.sync import to_database, to_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a runs folder, or mongodb://host:port/database")
    parser.add_argument("target", help="the other of the two")
    asked = parser.parse_args()
    if "" in (asked.source, asked.target) or is_mongo(asked.source) == is_mongo(asked.target):
        raise SystemExit("give a runs folder and an address that starts with mongodb://, in the order from, to")
    try:
        if is_mongo(asked.target):
            say(str(to_database(Path(asked.source), open_database(asked.target, PATIENCE))))
        else:
            say(str(to_folder(open_database(asked.source, PATIENCE), Path(asked.target))))
    except PyMongoError as error:
        raise SystemExit(f"MongoDB does not answer, or refused: {str(error)[:200]}") from None
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
