"""What several programs share: flags, sides, tasks, maps, and the words of tables."""
