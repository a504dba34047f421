"""What the maps of a network are worth on a set of images: the records, the tables, and the words."""
