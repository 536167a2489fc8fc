"""From activities to what a user reads: `run` (a program and inputs into a `Result`), `table`, `export`, `figures`."""
