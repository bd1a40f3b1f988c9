"""Datasets of Hugging Face on disk: a row an episode, as `imitation` saves them."""

from collections.abc import Iterator
from pathlib import Path

from roboopt.data._files import optional_package, read_as
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._parquet import column_numbers


def is_arrow_folder(path: Path) -> bool:
    """Return whether `path` is what `Dataset.save_to_disk` wrote."""
    return (path / "dataset_info.json").is_file() and any(path.glob("*.arrow"))


def read_arrow(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each episode: `obs`, `acts`, `rews` and `terminal`."""
    pa = optional_package("pyarrow", "datasets of Hugging Face", "pyarrow")
    left_out: set[str] = set()
    for file in sorted(path.glob("*.arrow")):
        with (
            read_as("be a dataset of Hugging Face", file),
            pa.memory_map(f"{file}") as f,
        ):
            batches = list(pa.ipc.open_stream(f))
        for batch in batches:
            for row in range(batch.num_rows):
                arrays = {}
                for name in batch.schema.names:
                    cell = batch.column(name)[row]
                    if not hasattr(cell, "values"):
                        arrays[name] = cell.as_py()
                    elif (values := column_numbers(cell.values)) is not None:
                        arrays[name] = values
                    else:
                        left_out.add(name)
                yield f"episode {row} of {file}", arrays
    if left_out:
        options.note(
            f"{path.name}: {', '.join(sorted(left_out))} left out: no vectors."
        )
