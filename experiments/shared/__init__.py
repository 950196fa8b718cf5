"""What several programs share: flags, sides, tasks, maps and the wording of tables."""
