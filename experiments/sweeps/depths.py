"""The same relative depth of both models: --source and --target of twelve blocks.

    python -m launch.sweep --experiment=fit --workdir=runs/depths --file=depths \
      -- --source=A --target=B --data=NAME_FILE_OR_FOLDER
"""


def settings():
    """Every third block."""
    for layer in (3, 6, 9, 12):
        yield {"source_layer": layer, "target_layer": layer}
