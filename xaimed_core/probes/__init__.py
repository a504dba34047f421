"""What methods run after the one forward that all share: noisy images, single positions, attention written out."""
