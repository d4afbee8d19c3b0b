"""One module per case, each with a function `run() -> Outcome`."""
