"""`xaimed evaluate`: what the maps of a network are worth on a folder of images, image by image."""
