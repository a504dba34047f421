"""What a method costs and what its maps are worth, in figures and words."""
