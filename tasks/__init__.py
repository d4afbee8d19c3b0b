"""The tasks, one file per family. Registered ids point at their classes by string."""
