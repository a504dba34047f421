"""The study: a classifier trained on a folder of images, its maps scored beside baselines, by commands."""
