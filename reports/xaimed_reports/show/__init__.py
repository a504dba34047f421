"""Results on a terminal, in Markdown and as a page."""
