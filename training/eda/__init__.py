"""What files of reviews hold, before training: counted at constant memory; must not know torch."""
