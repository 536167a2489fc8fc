"""From a model and inputs to a `Trace`: what every weight layer sees, recorded from a real run."""
